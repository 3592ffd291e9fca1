/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ISA bus and what all ISA devices share.
 */
#include "hw/isa/isa.h"

#include <string.h>

/* "0x03f8" for `info qtree`; devices without ports have no address. */
static char *isa_device_address(const Device *dev)
{
    const IsaDevice *d = (const IsaDevice *)dev;

    return d->ioport_id < 0 ? g_strdup("") : g_strdup_printf("isa.%04x", (unsigned)d->ioport_id);
}

/* "fdc@03f0", as Open Firmware names ISA functions. */
static char *isa_fw_path(const Device *dev)
{
    const IsaDevice *d = (const IsaDevice *)dev;
    const DeviceClass *k = device_class(dev);
    g_autofree char *name =
        k->fw_name ? k->fw_name((Device *)(uintptr_t)dev) : g_strdup(dev->obj.type->name);

    if (!name) {
        return NULL;
    }
    if (strchr(name, '@') || d->ioport_id < 0) {
        return g_steal_pointer(&name);
    }
    return g_strdup_printf("%s@%04x", name, (unsigned)d->ioport_id);
}

static const BusClass isa_bus_class = {
    .address_help = "ISA devices are placed by their iobase= and irq= properties",
    .device_address = isa_device_address,
    .fw_path = isa_fw_path,
};

OBJECT_TYPE(isa_bus_type, .name = TYPE_ISA_BUS, .parent = TYPE_BUS, .help = "ISA bus",
            .size = sizeof(IsaBus), .klass = &isa_bus_class)

static void isa_device_init(Object *obj)
{
    ((IsaDevice *)obj)->ioport_id = -1;
}

static const DeviceClass isa_device_class = {.bus_type = TYPE_ISA_BUS};

OBJECT_TYPE(isa_device_type, .name = TYPE_ISA_DEVICE, .parent = TYPE_DEVICE,
            .help = "base of ISA devices", .size = sizeof(IsaDevice), .klass = &isa_device_class,
            .init = isa_device_init, .abstract = true)

void isa_bus_init(IsaBus *bus, Device *parent, Machine *m, Region *io, Region *mem)
{
    bus_init(&bus->bus, sizeof(*bus), TYPE_ISA_BUS, parent, m, "isa.0");
    bus->io = io;
    bus->mem = mem;
    memset(bus->irqs, 0, sizeof(bus->irqs));
    bus->dma = NULL;
}

IrqLine isa_irq(IsaDevice *d, unsigned n)
{
    return n < 16 ? isa_device_bus(d)->irqs[n] : (IrqLine){0};
}

void isa_register_io(IsaDevice *d, Region *r, uint16_t port)
{
    region_add(isa_device_bus(d)->io, port, r);
    if (d->ioport_id < 0 || port < d->ioport_id) {
        d->ioport_id = port;
    }
}

IsaDevice *isa_new(const char *type)
{
    return ISA_DEVICE(device_new(type));
}
