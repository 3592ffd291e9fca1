/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The DSDT's legacy devices: what systems do not find by looking.
 */
#include "hw/char/serial.h"
#include "hw/i386/acpi.h"
#include "hw/input/i8042.h"
#include "hw/misc/pvpanic.h"

static Aml *isa_device(const char *name, const char *hid, Aml *crs)
{
    Aml *dev = aml_device(name);

    aml_append(dev, aml_name("_HID", aml_eisaid(hid)));
    aml_append(dev, aml_name("_STA", aml_int(0xf)));
    aml_append(dev, aml_name("_CRS", crs));
    return dev;
}

static void clock_and_keyboard(PcMachine *pc, Aml *isa)
{
    Aml *crs = aml_resources();

    aml_append(crs, aml_io(0x70, 1, 8));
    aml_append(crs, aml_irq(8));
    aml_append(isa, isa_device("RTC", "PNP0B00", crs));
    if (!pc->i8042) {
        return;
    }
    crs = aml_resources();
    aml_append(crs, aml_io(0x60, 1, 1));
    aml_append(crs, aml_io(0x64, 1, 1));
    aml_append(crs, aml_irq(1));
    aml_append(isa, isa_device("KBD", "PNP0303", crs));
    crs = aml_resources();
    aml_append(crs, aml_irq(12));
    aml_append(isa, isa_device("MOU", "PNP0F13", crs));
}

/* Drive, type, geometry and timing as the BIOS's diskette parameter table has them. */
static Aml *floppy_drive(unsigned unit, FloppyDriveType type)
{
    static const uint8_t timing[] = {0xaf, 0x02, 0x25, 0x02, 0x12, 0x1b,
                                     0xff, 0x6c, 0xf6, 0x0f, 0x08};
    uint8_t cylinder, head, sector;
    g_autofree char *name = g_strdup_printf("FLP%c", 'A' + (int)unit);
    Aml *dev = aml_device(name), *fdi = aml_package();

    floppy_max_geometry(type, &cylinder, &head, &sector);
    aml_append(dev, aml_name("_ADR", aml_int(unit)));
    aml_append(fdi, aml_int(unit));
    aml_append(fdi, aml_int(floppy_cmos_type(type)));
    aml_append(fdi, aml_int(cylinder));
    aml_append(fdi, aml_int(sector));
    aml_append(fdi, aml_int(head));
    for (size_t i = 0; i < ARRAY_LEN(timing); i++) {
        aml_append(fdi, aml_int(timing[i]));
    }
    aml_append(dev, aml_name("_FDI", fdi));
    return dev;
}

static void floppy(PcMachine *pc, Aml *isa)
{
    uint32_t present[5] = {0, 0, 0, 0, 2 /* no tape */};
    uint8_t fde[20];
    Aml *crs = aml_resources(), *dev;

    aml_append(crs, aml_io(0x3f2, 0, 4));
    aml_append(crs, aml_io(0x3f7, 0, 1));
    aml_append(crs, aml_irq(6));
    aml_append(crs, aml_dma(2));
    dev = isa_device("FDC0", "PNP0700", crs);
    for (unsigned unit = 0; unit < 2; unit++) {
        FloppyDriveType type = isa_fdc_drive_type(pc->fdc, unit);

        if (type != FLOPPY_DRIVE_NONE) {
            present[unit] = 1;
            aml_append(dev, floppy_drive(unit, type));
        }
    }
    for (unsigned i = 0; i < 5; i++) {
        st_le32(fde + 4 * i, present[i]);
    }
    aml_append(dev, aml_name("_FDE", aml_buffer(fde, sizeof(fde))));
    aml_append(isa, dev);
}

static void serial_and_parallel(PcMachine *pc, Aml *isa)
{
    static const struct {
        uint16_t port;
        uint8_t irq;
    } com[4] = {{0x3f8, 4}, {0x2f8, 3}, {0x3e8, 4}, {0x2e8, 3}}, lpt[2] = {{0x378, 7}, {0x278, 5}};

    for (guint i = 0; i < MIN(pc->m.serials->len, 4); i++) {
        g_autofree char *name = g_strdup_printf("COM%u", i + 1);
        Aml *crs, *dev;

        if (!pc->m.serials->pdata[i]) {
            continue;
        }
        crs = aml_resources();
        aml_append(crs, aml_io(com[i].port, 0, 8));
        aml_append(crs, aml_irq(com[i].irq));
        dev = isa_device(name, "PNP0501", crs);
        aml_append(dev, aml_name("_UID", aml_int(i + 1)));
        aml_append(isa, dev);
    }
    for (guint i = 0; i < MIN(pc->m.parallels->len, 2); i++) {
        g_autofree char *name = g_strdup_printf("LPT%u", i + 1);
        Aml *crs, *dev;

        if (!pc->m.parallels->pdata[i]) {
            continue;
        }
        crs = aml_resources();
        aml_append(crs, aml_io(lpt[i].port, 8, 8));
        aml_append(crs, aml_irq(lpt[i].irq));
        dev = isa_device(name, "PNP0400", crs);
        aml_append(dev, aml_name("_UID", aml_int(i + 1)));
        aml_append(isa, dev);
    }
}

/* ---- pvpanic ---- */
static Aml *pvpanic(uint16_t port)
{
    Aml *crs = aml_resources(), *dev = aml_device("PEVT"), *f, *m;

    aml_append(dev, aml_name("_HID", aml_string("QEMU0001")));
    aml_append(crs, aml_io(port, 1, 1));
    aml_append(dev, aml_name("_CRS", crs));
    aml_append(dev, aml_name("_STA", aml_int(0xf)));
    aml_append(dev, aml_operation_region("PEOR", AML_SYSTEM_IO, port, 1));
    f = aml_field("PEOR", AML_BYTE);
    aml_append(f, aml_field_unit("PEPT", 8));
    aml_append(dev, f);
    m = aml_method("RDPT", 0, false);
    aml_append(m, aml_return(aml_ref("PEPT")));
    aml_append(dev, m);
    m = aml_method("WRPT", 1, false);
    aml_append(m, aml_store(aml_arg(0), aml_ref("PEPT")));
    aml_append(dev, m);
    return dev;
}

static void find_pvpanic(Device *dev, void *opaque)
{
    if (object_is_a(&dev->obj, TYPE_PVPANIC_ISA)) {
        *(Device **)opaque = dev;
    }
}

static uint16_t pvpanic_port(PcMachine *pc)
{
    Device *dev = NULL;
    Json *v;
    uint64_t port = 0;

    device_each(&pc->m, find_pvpanic, &dev);
    if (dev) {
        v = object_get(&dev->obj, "ioport", NULL);
        if (v && !json_get_uint(v, &port)) {
            port = 0;
        }
        json_unref(v);
    }
    return (uint16_t)port;
}

/* The firmware configuration device, which drivers look for by this name. */
static Aml *fw_cfg_device(void)
{
    Aml *dev = aml_device("FWCF"), *crs = aml_resources();

    aml_append(dev, aml_name("_HID", aml_string("QEMU0002")));
    aml_append(dev, aml_name("_STA", aml_int(0xb)));
    aml_append(crs, aml_io(0x510, 1, 12));
    aml_append(dev, aml_name("_CRS", crs));
    return dev;
}

void pc_dsdt_isa(PcMachine *pc, Aml *dsdt)
{
    Aml *isa = aml_scope("\\_SB.PCI0.ISA"), *root = aml_scope("\\_SB.PCI0");
    uint16_t port = pvpanic_port(pc);

    clock_and_keyboard(pc, isa);
    if (pc->fdc) {
        floppy(pc, isa);
    }
    serial_and_parallel(pc, isa);
    if (port) {
        aml_append(isa, pvpanic(port));
    }
    aml_append(dsdt, isa);
    aml_append(root, fw_cfg_device());
    aml_append(dsdt, root);
}
