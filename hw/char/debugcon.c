/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The debug console that firmware writes its log to: one port, no handshake.
 */
#include "hw/char/serial.h"

typedef struct Debugcon {
    IsaDevice isa;
    Region io;
    CharFrontend chr;
    /* properties */
    uint32_t iobase, readback;
    Object *chardev;
} Debugcon;
#define DEBUGCON(o) OBJECT_CAST(Debugcon, o, TYPE_ISA_DEBUGCON)

static uint64_t io_read(void *opaque, hwaddr off, unsigned size)
{
    return ((Debugcon *)opaque)->readback & 0xff;
}

static void io_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    uint8_t c = (uint8_t)v;

    char_write_all(&((Debugcon *)opaque)->chr, &c, 1);
}

static const RegionOps io_ops = {.read = io_read, .write = io_write, .impl_min = 1, .impl_max = 1};
static const CharHandlers handlers = {0};

static bool debugcon_realize(Device *dev, Error **errp)
{
    Debugcon *s = DEBUGCON(dev);

    if (s->iobase > 0xffff) {
        error_set(errp, "isa-debugcon: iobase=0x%x: ports end at 0xffff", s->iobase);
        return false;
    }
    if (!char_attach(&s->chr, (Chardev *)s->chardev, &handlers, s, dev->owner.loop, errp)) {
        return false;
    }
    region_init_io(&s->io, &dev->owner, &io_ops, s, "isa-debugcon", 1);
    isa_register_io(&s->isa, &s->io, (uint16_t)s->iobase);
    return true;
}

static void debugcon_unrealize(Device *dev)
{
    Debugcon *s = DEBUGCON(dev);

    region_fini(&s->io);
    char_detach(&s->chr);
}

static const Property debugcon_props[] = {
    PROPERTY_U32("iobase", Debugcon, iobase, 0xe9, "port"),
    PROPERTY_U32("readback", Debugcon, readback, 0xe9, "what the port reads as"),
    PROPERTY_LINK("chardev", Debugcon, chardev, TYPE_CHARDEV, "where the text goes"),
    {0},
};

static const DeviceClass debugcon_class = {
    .realize = debugcon_realize,
    .unrealize = debugcon_unrealize,
    .bus_type = TYPE_ISA_BUS,
    .category = DEVICE_CATEGORY_MISC,
    .user_creatable = true,
    .not_hotpluggable = true,
};

OBJECT_TYPE(debugcon_type, .name = TYPE_ISA_DEBUGCON, .parent = TYPE_ISA_DEVICE,
            .help = "debug console port", .size = sizeof(Debugcon), .klass = &debugcon_class,
            .props = debugcon_props)
