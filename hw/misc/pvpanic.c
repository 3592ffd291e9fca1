/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvpanic on ISA and on PCI.
 */
#include "hw/misc/pvpanic.h"

#include "hw/core/machine.h"
#include "hw/nvram/fw_cfg.h"
#include "hw/pci/pci.h"
#include "util/log.h"

#define EVENTS_ALL (PVPANIC_PANICKED | PVPANIC_CRASH_LOADED | PVPANIC_SHUTDOWN)

typedef struct Panic {
    Region io;
    Machine *machine;
    uint8_t events; /* property */
} Panic;

static uint64_t io_read(void *opaque, hwaddr off, unsigned size)
{
    return ((Panic *)opaque)->events;
}

static void crash_loaded(Machine *m)
{
    Json *data = json_object();

    json_put_string(data, "action", "run");
    machine_event(m, "GUEST_CRASHLOADED", data);
}

static void io_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    Panic *s = opaque;
    Machine *m = s->machine;

    if (v & ~(uint64_t)EVENTS_ALL) {
        guest_error("pvpanic", "event 0x%02x does not exist", (unsigned)v);
    }
    v &= s->events;
    if (v & PVPANIC_PANICKED) {
        if (m->hooks && m->hooks->panicked) {
            m->hooks->panicked(m, NULL);
        }
    } else if (v & PVPANIC_CRASH_LOADED) {
        crash_loaded(m);
    } else if (v & PVPANIC_SHUTDOWN) {
        machine_event(m, "GUEST_PVSHUTDOWN", NULL);
        machine_request_shutdown(m, SHUTDOWN_GUEST, 0);
    }
}

static const RegionOps io_ops = {.read = io_read, .write = io_write, .impl_min = 1, .impl_max = 1};

static void panic_init(Panic *s, Device *dev, uint64_t size)
{
    s->machine = dev->machine;
    region_init_io(&s->io, &dev->owner, &io_ops, s, "pvpanic", size);
}

/* ---- ISA ---- */

typedef struct PanicIsa {
    IsaDevice isa;
    Panic panic;
    uint16_t ioport;
} PanicIsa;
#define PANIC_ISA(o) OBJECT_CAST(PanicIsa, o, TYPE_PVPANIC_ISA)

static bool panic_isa_realize(Device *dev, Error **errp)
{
    PanicIsa *s = PANIC_ISA(dev);

    if (dev->machine->fw_cfg) {
        uint8_t port[2];

        st_le16(port, s->ioport);
        if (!fw_cfg_modify_file(dev->machine->fw_cfg, "etc/pvpanic-port", port, 2, errp)) {
            return false;
        }
    }
    panic_init(&s->panic, dev, 1);
    isa_register_io(&s->isa, &s->panic.io, s->ioport);
    return true;
}

static void panic_isa_unrealize(Device *dev)
{
    region_fini(&PANIC_ISA(dev)->panic.io);
}

static const Property panic_isa_props[] = {
    PROPERTY_U16("ioport", PanicIsa, ioport, 0x505, "port"),
    PROPERTY_U8("events", PanicIsa, panic.events, EVENTS_ALL, "mask of events the guest may send"),
    {0},
};

static const DeviceClass panic_isa_class = {
    .realize = panic_isa_realize,
    .unrealize = panic_isa_unrealize,
    .bus_type = TYPE_ISA_BUS,
    .category = DEVICE_CATEGORY_MISC,
    .user_creatable = true,
    .not_hotpluggable = true,
};

OBJECT_TYPE(panic_isa_type, .name = TYPE_PVPANIC_ISA, .parent = TYPE_ISA_DEVICE,
            .help = "guest panic notification", .size = sizeof(PanicIsa), .klass = &panic_isa_class,
            .props = panic_isa_props)

/* ---- PCI ---- */

typedef struct PanicPci {
    PciDevice pci;
    Panic panic;
} PanicPci;
#define PANIC_PCI(o) OBJECT_CAST(PanicPci, o, TYPE_PVPANIC_PCI)

static bool panic_pci_realize(Device *dev, Error **errp)
{
    PanicPci *s = PANIC_PCI(dev);

    panic_init(&s->panic, dev, 16);
    pci_register_bar(&s->pci, 0, PCI_BASE_ADDRESS_SPACE_MEMORY, &s->panic.io);
    return true;
}

static void panic_pci_unrealize(Device *dev)
{
    region_fini(&PANIC_PCI(dev)->panic.io);
}

static const StateDesc panic_pci_state = {
    .name = TYPE_PVPANIC_PCI,
    .version = 1,
    .fields = (const StateField[]){STATE_F_PCI(PanicPci, pci), {0}},
};

static const Property panic_pci_props[] = {
    PROPERTY_U8("events", PanicPci, panic.events, EVENTS_ALL, "mask of events the guest may send"),
    {0},
};

static const PciClass panic_pci_class = {
    .device =
        {
            .realize = panic_pci_realize,
            .unrealize = panic_pci_unrealize,
            .state = &panic_pci_state,
            .bus_type = TYPE_PCI_BUS,
            .category = DEVICE_CATEGORY_MISC,
            .user_creatable = true,
        },
    .vendor_id = 0x1b36,
    .device_id = 0x0011,
    .class_id = 0x0880,
    .revision = 1,
};

OBJECT_TYPE(panic_pci_type, .name = TYPE_PVPANIC_PCI, .parent = TYPE_PCI_DEVICE,
            .help = "guest panic notification", .size = sizeof(PanicPci), .klass = &panic_pci_class,
            .props = panic_pci_props)
