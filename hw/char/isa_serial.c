/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COM ports: UARTs on the ISA bus.
 */
#include "hw/char/serial.h"
#include "hw/core/machine.h"

typedef struct IsaSerial {
    IsaDevice isa;
    Serial uart;
    /* properties */
    uint32_t index, iobase, irq;
    bool wakeup;
    Object *chardev;
} IsaSerial;
#define ISA_SERIAL(o) OBJECT_CAST(IsaSerial, o, TYPE_ISA_SERIAL)

#define MAX_PORTS 4
static const uint16_t port_bases[MAX_PORTS] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};
static const uint8_t port_irqs[MAX_PORTS] = {4, 3, 4, 3};

static void wake(void *opaque)
{
    Machine *m = opaque;

    if (m->hooks && m->hooks->wakeup) {
        m->hooks->wakeup(m, "other");
    }
}

/* The first COM port whose place is free. */
static uint32_t free_index(const IsaSerial *s)
{
    bool used[MAX_PORTS] = {false};

    for (GList *l = isa_device_bus(&s->isa)->bus.devices; l; l = l->next) {
        const Device *d = l->data;

        if (d != &s->isa.dev && object_is_a(&d->obj, TYPE_ISA_SERIAL)) {
            uint32_t i = ((const IsaSerial *)d)->index;

            if (i < MAX_PORTS) {
                used[i] = true;
            }
        }
    }
    for (uint32_t i = 0; i < MAX_PORTS; i++) {
        if (!used[i]) {
            return i;
        }
    }
    return UINT32_MAX;
}

static bool isa_serial_realize(Device *dev, Error **errp)
{
    IsaSerial *s = ISA_SERIAL(dev);

    if (s->index == UINT32_MAX) {
        s->index = free_index(s);
    }
    if (s->index >= MAX_PORTS) {
        error_set(errp, "isa-serial: a PC has at most %d serial ports", MAX_PORTS);
        return false;
    }
    if (s->iobase == UINT32_MAX) {
        s->iobase = port_bases[s->index];
    }
    if (s->irq == UINT32_MAX) {
        s->irq = port_irqs[s->index];
    }
    if (s->iobase > 0xfff8 || s->irq > 15) {
        error_set(errp, "isa-serial: iobase=0x%x, irq=%u: ports end at 0xffff, lines at 15",
                  s->iobase, s->irq);
        return false;
    }
    s->uart.name = dev->id ? dev->id : TYPE_ISA_SERIAL;
    s->uart.irq = isa_irq(&s->isa, s->irq);
    if (s->wakeup) {
        s->uart.wakeup = wake;
        s->uart.wakeup_opaque = dev->machine;
    }
    if (!serial_realize(&s->uart, dev, (Chardev *)s->chardev, errp)) {
        return false;
    }
    isa_register_io(&s->isa, &s->uart.io, (uint16_t)s->iobase);
    return true;
}

static void isa_serial_unrealize(Device *dev)
{
    serial_unrealize(&ISA_SERIAL(dev)->uart);
}

static void isa_serial_reset(Device *dev)
{
    serial_reset(&ISA_SERIAL(dev)->uart);
}

static char *isa_serial_fw_name(Device *dev)
{
    return g_strdup("serial");
}

static const StateDesc isa_serial_state = {
    .name = TYPE_ISA_SERIAL,
    .version = 1,
    .fields = (const StateField[]){STATE_F_STRUCT(IsaSerial, uart, serial_state), {0}},
};

static const Property isa_serial_props[] = {
    PROPERTY_LINK("chardev", IsaSerial, chardev, TYPE_CHARDEV, "where the line leads"),
    PROPERTY_U32("index", IsaSerial, index, UINT32_MAX, "0: COM1; default: the first free"),
    PROPERTY_U32("iobase", IsaSerial, iobase, UINT32_MAX, "first port; default: by index"),
    PROPERTY_U32("irq", IsaSerial, irq, UINT32_MAX, "ISA line; default: by index"),
    PROPERTY_U32("baudbase", IsaSerial, uart.baudbase, 115200, "baud at divisor 1"),
    PROPERTY_BOOL("wakeup", IsaSerial, wakeup, false, "input wakes a machine that is asleep"),
    {0},
};

static const DeviceClass isa_serial_class = {
    .realize = isa_serial_realize,
    .unrealize = isa_serial_unrealize,
    .reset = isa_serial_reset,
    .state = &isa_serial_state,
    .bus_type = TYPE_ISA_BUS,
    .category = DEVICE_CATEGORY_INPUT,
    .user_creatable = true,
    .not_hotpluggable = true,
    .fw_name = isa_serial_fw_name,
};

OBJECT_TYPE(isa_serial_type, .name = TYPE_ISA_SERIAL, .parent = TYPE_ISA_DEVICE,
            .help = "serial port (16550A UART)", .size = sizeof(IsaSerial),
            .klass = &isa_serial_class, .props = isa_serial_props)

bool isa_serial_new(Machine *m, IsaBus *bus, unsigned index, Chardev *chr, Error **errp)
{
    IsaDevice *d = isa_new(TYPE_ISA_SERIAL);

    object_set_uint(&d->dev.obj, "index", index);
    if (chr) {
        object_set_link(&d->dev.obj, "chardev", (Object *)chr);
    }
    return device_realize(&d->dev, m, &bus->bus, errp);
}
