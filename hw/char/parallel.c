/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parallel port in its first form (IBM PC Technical Reference, "Parallel
 * Printer Adapter"): data, status, control; each strobe sends one byte to a
 * printer that is always ready.
 */
#include "hw/char/serial.h"
#include "util/trace.h"

TRACE_EVENT(parallel_write, "reg %u value 0x%02x")

#define STATUS_NOT_BUSY 0x80
#define STATUS_NOT_ACK 0x40
#define STATUS_SELECTED 0x10
#define STATUS_NOT_ERROR 0x08
#define CONTROL_STROBE 0x01
#define CONTROL_NOT_INIT 0x04
#define CONTROL_SELECT 0x08
#define CONTROL_IRQ 0x10

typedef struct Parallel {
    IsaDevice isa;
    Region io;
    CharFrontend chr;
    IrqLine irq;
    /* properties */
    uint32_t index, iobase, irq_number;
    Object *chardev;

    uint8_t data, control;
    bool ack_pending; /* the interrupt until the status is read */
} Parallel;
#define PARALLEL(o) OBJECT_CAST(Parallel, o, TYPE_ISA_PARALLEL)

static const uint16_t port_bases[3] = {0x378, 0x278, 0x3bc};

static void update_irq(Parallel *s)
{
    irq_set(s->irq, s->ack_pending && (s->control & CONTROL_IRQ));
}

static uint64_t io_read(void *opaque, hwaddr off, unsigned size)
{
    Parallel *s = opaque;
    uint8_t v;

    switch (off) {
    case 0:
        return s->data;
    case 1:
        /* ACK# is low for the one look after a byte was taken. */
        v = (uint8_t)(STATUS_NOT_BUSY | STATUS_NOT_ERROR | 0x07 | STATUS_SELECTED |
                      (s->ack_pending ? 0 : STATUS_NOT_ACK));
        s->ack_pending = false;
        update_irq(s);
        return v;
    case 2:
        return s->control | 0xc0u;
    default:
        return 0xff;
    }
}

static void io_write(void *opaque, hwaddr off, uint64_t value, unsigned size)
{
    Parallel *s = opaque;
    uint8_t v = (uint8_t)value;

    trace(parallel_write, (unsigned)off, v);
    if (off == 0) {
        s->data = v;
    } else if (off == 2) {
        bool strobe = (v & CONTROL_STROBE) && !(s->control & CONTROL_STROBE);

        s->control = v & 0x3f;
        if (strobe && (v & CONTROL_NOT_INIT)) {
            char_write_all(&s->chr, &s->data, 1);
            s->ack_pending = true;
        }
        update_irq(s);
    }
}

static const RegionOps io_ops = {.read = io_read, .write = io_write, .impl_min = 1, .impl_max = 1};
static const CharHandlers handlers = {0};

static uint32_t free_index(const Parallel *s)
{
    uint32_t used = 0, i = 0;

    for (GList *l = isa_device_bus(&s->isa)->bus.devices; l; l = l->next) {
        const Device *d = l->data;

        if (d != &s->isa.dev && object_is_a(&d->obj, TYPE_ISA_PARALLEL) &&
            ((const Parallel *)d)->index < 3) {
            used |= 1u << ((const Parallel *)d)->index;
        }
    }
    while (used >> i & 1) {
        i++;
    }
    return i;
}

static bool parallel_realize(Device *dev, Error **errp)
{
    Parallel *s = PARALLEL(dev);

    if (s->index == UINT32_MAX) {
        s->index = free_index(s);
    }
    if (s->index >= ARRAY_LEN(port_bases)) {
        error_set(errp, "isa-parallel: a PC has at most %zu parallel ports", ARRAY_LEN(port_bases));
        return false;
    }
    if (s->iobase == UINT32_MAX) {
        s->iobase = port_bases[s->index];
    }
    if (s->iobase > 0xfffc || s->irq_number > 15) {
        error_set(errp, "isa-parallel: iobase=0x%x, irq=%u: ports end at 0xffff, lines at 15",
                  s->iobase, s->irq_number);
        return false;
    }
    if (!char_attach(&s->chr, (Chardev *)s->chardev, &handlers, s, dev->owner.loop, errp)) {
        return false;
    }
    s->irq = isa_irq(&s->isa, s->irq_number);
    region_init_io(&s->io, &dev->owner, &io_ops, s, "parallel", 4);
    isa_register_io(&s->isa, &s->io, (uint16_t)s->iobase);
    return true;
}

static void parallel_unrealize(Device *dev)
{
    Parallel *s = PARALLEL(dev);

    region_fini(&s->io);
    char_detach(&s->chr);
}

static void parallel_reset(Device *dev)
{
    Parallel *s = PARALLEL(dev);

    s->data = 0xff;
    s->control = CONTROL_NOT_INIT | CONTROL_SELECT;
    s->ack_pending = false;
    update_irq(s);
}

static const StateDesc parallel_state = {
    .name = TYPE_ISA_PARALLEL,
    .version = 1,
    .fields =
        (const StateField[]){
            STATE_F_UINT(Parallel, data),
            STATE_F_UINT_MAX(Parallel, control, 0x3f),
            STATE_F_BOOL(Parallel, ack_pending),
            {0},
        },
};

static const Property parallel_props[] = {
    PROPERTY_U32("index", Parallel, index, UINT32_MAX, "0: LPT1; default: the first free"),
    PROPERTY_U32("iobase", Parallel, iobase, UINT32_MAX, "first port; default: by index"),
    PROPERTY_U32("irq", Parallel, irq_number, 7, "ISA line"),
    PROPERTY_LINK("chardev", Parallel, chardev, TYPE_CHARDEV, "the printer"),
    {0},
};

static const DeviceClass parallel_class = {
    .realize = parallel_realize,
    .unrealize = parallel_unrealize,
    .reset = parallel_reset,
    .state = &parallel_state,
    .bus_type = TYPE_ISA_BUS,
    .category = DEVICE_CATEGORY_MISC,
    .user_creatable = true,
    .not_hotpluggable = true,
};

OBJECT_TYPE(parallel_type, .name = TYPE_ISA_PARALLEL, .parent = TYPE_ISA_DEVICE,
            .help = "parallel (printer) port", .size = sizeof(Parallel), .klass = &parallel_class,
            .props = parallel_props)

bool isa_parallel_new(Machine *m, IsaBus *bus, unsigned index, Chardev *chr, Error **errp)
{
    IsaDevice *d = isa_new(TYPE_ISA_PARALLEL);

    object_set_uint(&d->dev.obj, "index", index);
    if (chr) {
        object_set_link(&d->dev.obj, "chardev", (Object *)chr);
    }
    return device_realize(&d->dev, m, &bus->bus, errp);
}
