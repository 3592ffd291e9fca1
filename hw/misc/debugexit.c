/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing v ends Rhea with exit status 2v + 1 (never 0, which means a clean end).
 */
#include "hw/misc/debugexit.h"

#include "hw/core/machine.h"
#include "hw/isa/isa.h"

typedef struct DebugExit {
    IsaDevice isa;
    Region io;
    uint32_t iobase, iosize;
} DebugExit;
#define DEBUG_EXIT(o) OBJECT_CAST(DebugExit, o, TYPE_ISA_DEBUG_EXIT)

static uint64_t io_read(void *opaque, hwaddr off, unsigned size)
{
    return 0;
}

static void io_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    DebugExit *s = opaque;

    machine_request_shutdown(s->isa.dev.machine, SHUTDOWN_GUEST, (int)((v << 1 | 1) & 0xff));
}

static const RegionOps io_ops = {.read = io_read,
                                 .write = io_write,
                                 .valid_min = 1,
                                 .valid_max = 4,
                                 .impl_min = 1,
                                 .impl_max = 4};

static bool debug_exit_realize(Device *dev, Error **errp)
{
    DebugExit *s = DEBUG_EXIT(dev);

    if (!s->iosize || s->iosize > 0x10000 || s->iobase > 0x10000 - s->iosize) {
        error_set(errp, "isa-debug-exit: iobase=0x%x, iosize=%u do not fit into 64 Ki ports",
                  s->iobase, s->iosize);
        return false;
    }
    region_init_io(&s->io, &dev->owner, &io_ops, s, TYPE_ISA_DEBUG_EXIT, s->iosize);
    isa_register_io(&s->isa, &s->io, (uint16_t)s->iobase);
    return true;
}

static void debug_exit_unrealize(Device *dev)
{
    region_fini(&DEBUG_EXIT(dev)->io);
}

static const Property debug_exit_props[] = {
    PROPERTY_U32("iobase", DebugExit, iobase, 0x501, "first port"),
    PROPERTY_U32("iosize", DebugExit, iosize, 2, "how many ports"),
    {0},
};

static const DeviceClass debug_exit_class = {
    .realize = debug_exit_realize,
    .unrealize = debug_exit_unrealize,
    .bus_type = TYPE_ISA_BUS,
    .category = DEVICE_CATEGORY_MISC,
    .user_creatable = true,
    .not_hotpluggable = true,
};

OBJECT_TYPE(debug_exit_type, .name = TYPE_ISA_DEBUG_EXIT, .parent = TYPE_ISA_DEVICE,
            .help = "a port that ends the emulator", .size = sizeof(DebugExit),
            .klass = &debug_exit_class, .props = debug_exit_props)
