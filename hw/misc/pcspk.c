/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Port 61h.
 */
#include "hw/misc/pcspk.h"

#include "hw/core/machine.h"

#define GATE 0x01
#define SPEAKER 0x02
#define PARITY_OFF 0x0c
#define REFRESH 0x10
#define OUT2 0x20

/* Memory is refreshed every 15 µs; the bit toggles each time. */
#define REFRESH_NS 15085

typedef struct Pcspk {
    IsaDevice isa;
    Region io;
    uint32_t iobase;
    Object *pit;
    uint8_t value; /* bits 3:0 as written */
} Pcspk;
#define PCSPK(o) OBJECT_CAST(Pcspk, o, TYPE_PCSPK)

static uint64_t io_read(void *opaque, hwaddr off, unsigned size)
{
    Pcspk *s = opaque;
    int64_t t = clock_virtual(loop_clocks(s->isa.dev.owner.loop));

    return (uint64_t)(s->value | (t / REFRESH_NS & 1 ? REFRESH : 0) |
                      (i8254_out((I8254 *)s->pit, 2) ? OUT2 : 0));
}

static void io_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    Pcspk *s = opaque;

    s->value = v & (GATE | SPEAKER | PARITY_OFF);
    i8254_set_gate((I8254 *)s->pit, 2, v & GATE);
}

static const RegionOps io_ops = {.read = io_read, .write = io_write, .impl_min = 1, .impl_max = 1};

static void pcspk_reset(Device *dev)
{
    PCSPK(dev)->value = 0;
}

static bool pcspk_realize(Device *dev, Error **errp)
{
    Pcspk *s = PCSPK(dev);

    if (!s->pit) {
        error_set(errp, "isa-pcspk: pit= must name the timer whose counter 2 makes the sound");
        return false;
    }
    if (s->iobase > 0xffff) {
        error_set(errp, "isa-pcspk: iobase=0x%x: ports end at 0xffff", s->iobase);
        return false;
    }
    region_init_io(&s->io, &dev->owner, &io_ops, s, "pcspk", 1);
    isa_register_io(&s->isa, &s->io, (uint16_t)s->iobase);
    return true;
}

static void pcspk_unrealize(Device *dev)
{
    region_fini(&PCSPK(dev)->io);
}

static const StateDesc pcspk_state = {
    .name = TYPE_PCSPK,
    .version = 1,
    .fields = (const StateField[]){STATE_F_UINT_MAX(Pcspk, value, 0x0f), {0}},
};

static const Property pcspk_props[] = {
    PROPERTY_U32("iobase", Pcspk, iobase, 0x61, "port"),
    PROPERTY_LINK("pit", Pcspk, pit, TYPE_I8254, "the interval timer"),
    {0},
};

static const DeviceClass pcspk_class = {
    .realize = pcspk_realize,
    .unrealize = pcspk_unrealize,
    .reset = pcspk_reset,
    .state = &pcspk_state,
    .bus_type = TYPE_ISA_BUS,
    .category = DEVICE_CATEGORY_SOUND,
    .not_hotpluggable = true,
};

OBJECT_TYPE(pcspk_type, .name = TYPE_PCSPK, .parent = TYPE_ISA_DEVICE,
            .help = "port 61h: speaker gate, timer output, refresh", .size = sizeof(Pcspk),
            .klass = &pcspk_class, .props = pcspk_props)

bool pcspk_new(Machine *m, IsaBus *bus, I8254 *pit, Error **errp)
{
    Pcspk *s = PCSPK(isa_new(TYPE_PCSPK));

    object_set_link(&s->isa.dev.obj, "pit", (Object *)pit);
    return device_realize(&s->isa.dev, m, &bus->bus, errp);
}
