/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VGA on PCI: "VGA" (with the legacy ports) and "secondary-vga" (without).
 * BAR 0: video RAM; BAR 2: EDID (0), VGA registers (400h), VBE registers (500h),
 * byte-order register (600h); ROM: the distribution's vgabios-stdvga.bin.
 */
#include "hw/display/vga.h"
#include "hw/pci/pci.h"
#include "util/log.h"

#include <string.h>

#define MMIO_SIZE 0x1000
#define MMIO_VGA 0x400
#define MMIO_VBE 0x500
#define MMIO_EXT 0x600
#define EXT_SIZE 8

typedef struct VgaPci {
    PciDevice pci;
    VgaState vga;
    Region mmio;
    uint32_t vgamem_mb, xres, yres;
    bool mmio_enabled, edid, ext_regs;
    uint8_t edid_block[128];
} VgaPci;

#define ENDIAN_LITTLE 0x1e1e1e1eu
#define ENDIAN_BIG 0xbebebebeu

/* One byte of EDID, VGA or extended registers. */
static uint8_t mmio_read_byte(VgaPci *d, hwaddr off)
{
    if (off < MMIO_VGA) {
        return d->edid && off < sizeof(d->edid_block) ? d->edid_block[off] : 0;
    }
    if (off < MMIO_VGA + 0x20) {
        return vga_port_read(&d->vga, (uint16_t)(0x3c0 + off - MMIO_VGA));
    }
    if (d->ext_regs && off >= MMIO_EXT && off < MMIO_EXT + EXT_SIZE) {
        uint32_t v = off - MMIO_EXT < 4 ? EXT_SIZE : ENDIAN_LITTLE;
        return (uint8_t)(v >> ((off & 3) * 8));
    }
    return 0;
}

static uint64_t mmio_read(void *opaque, hwaddr off, unsigned size)
{
    VgaPci *d = opaque;
    if (off >= MMIO_VBE && off < MMIO_VBE + VBE_REGS * 2) {
        uint16_t v = vga_vbe_read(&d->vga, (unsigned)(off - MMIO_VBE) / 2);
        return (off & 1) ? v >> 8 : size == 1 ? v & 0xff : v;
    }
    uint64_t v = mmio_read_byte(d, off);
    return size == 1 ? v : v | (uint64_t)mmio_read_byte(d, off + 1) << 8;
}

static void mmio_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    VgaPci *d = opaque;
    if (off >= MMIO_VGA && off < MMIO_VGA + 0x20) {
        vga_port_write(&d->vga, (uint16_t)(0x3c0 + off - MMIO_VGA), (uint8_t)v);
        if (size == 2) {
            vga_port_write(&d->vga, (uint16_t)(0x3c1 + off - MMIO_VGA), (uint8_t)(v >> 8));
        }
    } else if (off >= MMIO_VBE && off < MMIO_VBE + VBE_REGS * 2 && size == 2 && !(off & 1)) {
        vga_vbe_write(&d->vga, (unsigned)(off - MMIO_VBE) / 2, (uint16_t)v);
    } else if (d->ext_regs && off == MMIO_EXT + 4 && (v & 0xff) == (ENDIAN_BIG & 0xff)) {
        guest_error("vga", "a big-endian frame buffer is not offered");
    }
}

static const RegionOps mmio_ops = {.read = mmio_read,
                                   .write = mmio_write,
                                   .valid_min = 1,
                                   .valid_max = 4,
                                   .impl_min = 1,
                                   .impl_max = 2};

static bool vga_pci_realize_common(VgaPci *d, Error **errp)
{
    d->vga.xres = d->xres;
    d->vga.yres = d->yres;
    if (!vga_realize(&d->vga, &d->pci.dev, d->vgamem_mb, errp)) {
        return false;
    }
    edid_generate(d->edid_block, d->xres, d->yres);
    pci_register_bar(&d->pci, 0, PCI_BASE_ADDRESS_MEM_PREFETCH, &d->vga.vram);
    if (d->mmio_enabled) {
        region_init_io(&d->mmio, &d->pci.dev.owner, &mmio_ops, d, "vga.mmio", MMIO_SIZE);
        pci_register_bar(&d->pci, 2, 0, &d->mmio);
    }
    return true;
}

static bool vga_pci_realize(Device *dev, Error **errp)
{
    VgaPci *d = (VgaPci *)dev;
    if (!vga_pci_realize_common(d, errp)) {
        return false;
    }
    vga_map_legacy(&d->vga, pci_device_bus(&d->pci)->mem, pci_device_bus(&d->pci)->io);
    return true;
}

static bool secondary_realize(Device *dev, Error **errp)
{
    return vga_pci_realize_common((VgaPci *)dev, errp);
}

static void vga_pci_unrealize(Device *dev)
{
    VgaPci *d = (VgaPci *)dev;
    region_fini(&d->mmio);
    vga_unrealize(&d->vga);
}

static void vga_pci_reset(Device *dev)
{
    vga_reset(&((VgaPci *)dev)->vga);
}

static const StateField vga_pci_fields[] = {
    STATE_F_PCI(VgaPci, pci),
    STATE_F_STRUCT(VgaPci, vga, vga_state_desc),
    {0},
};
static const StateDesc vga_pci_state = {.name = "vga-pci", .version = 1, .fields = vga_pci_fields};

#define VGA_PCI_CLASS(realize_fn, class_code, rom)                             \
    {                                                                          \
        .device = {.realize = (realize_fn),                                    \
                   .unrealize = vga_pci_unrealize,                             \
                   .reset = vga_pci_reset,                                     \
                   .state = &vga_pci_state,                                    \
                   .bus_type = TYPE_PCI_BUS,                                   \
                   .category = DEVICE_CATEGORY_DISPLAY,                        \
                   .user_creatable = true,                                     \
                   .not_hotpluggable = (class_code) == PCI_CLASS_DISPLAY_VGA}, \
        .vendor_id = PCI_VENDOR_ID_BOCHS, .device_id = 0x1111, .revision = 2,  \
        .class_id = (class_code), .romfile = (rom),                            \
    }
static const PciClass vga_class =
    VGA_PCI_CLASS(vga_pci_realize, PCI_CLASS_DISPLAY_VGA, "vgabios-stdvga.bin");
static const PciClass secondary_class = VGA_PCI_CLASS(secondary_realize, 0x0380, NULL);

static const Property vga_props[] = {
    PROPERTY_U32("vgamem_mb", VgaPci, vgamem_mb, 16, "video memory in MiB, a power of two"),
    PROPERTY_BOOL("mmio", VgaPci, mmio_enabled, true, "registers in BAR 2 as well"),
    PROPERTY_BOOL("edid", VgaPci, edid, true, "offer a monitor's EDID in BAR 2"),
    PROPERTY_BOOL("qemu-extended-regs", VgaPci, ext_regs, true, "byte-order register in BAR 2"),
    PROPERTY_U32("xres", VgaPci, xres, 0, "preferred width; 0: 1280"),
    PROPERTY_U32("yres", VgaPci, yres, 0, "preferred height; 0: 800"),
    {0},
};

OBJECT_TYPE(vga_type, .name = "VGA", .parent = TYPE_PCI_DEVICE, .size = sizeof(VgaPci),
            .help = "standard VGA with Bochs VBE", .klass = &vga_class, .props = vga_props)
OBJECT_TYPE(secondary_vga_type, .name = "secondary-vga", .parent = TYPE_PCI_DEVICE,
            .size = sizeof(VgaPci), .help = "VBE display without VGA compatibility",
            .klass = &secondary_class, .props = vga_props)
