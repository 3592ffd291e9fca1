/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x87 errors as IRQ 13, and port F0h. */
#include "hw/isa/ferr.h"

#include "accel/accel.h"
#include "hw/core/machine.h"
#include "util/trace.h"

TRACE_EVENT(ferr, "level %d ignored %d")

#define FERR_IRQ 13
#define FERR_PORT 0xf0

typedef struct IsaFerr {
    IsaDevice isa;
    Region io;
    IrqLine irq;
    uint8_t level;  /* FERR#; atomic, as vCPU threads change it */
    uint8_t ignore; /* IGNNE#, from the write to the port until FERR# falls; atomic */
} IsaFerr;
#define ISA_FERR(o) OBJECT_CAST(IsaFerr, o, TYPE_ISA_FERR)

/* From a vCPU's thread, without the device's lock. */
static void ferr_set(void *opaque, int level)
{
    IsaFerr *s = opaque;

    __atomic_store_n(&s->level, (uint8_t)level, __ATOMIC_SEQ_CST);
    if (!level) {
        __atomic_store_n(&s->ignore, 0, __ATOMIC_SEQ_CST);
        irq_lower(s->irq);
    } else if (!__atomic_load_n(&s->ignore, __ATOMIC_SEQ_CST)) {
        irq_raise(s->irq);
    }
    trace(ferr, level, s->ignore);
}

static uint64_t ferr_read(void *opaque, hwaddr off, unsigned size)
{
    return UINT64_MAX;
}

static void ferr_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    IsaFerr *s = opaque;

    __atomic_store_n(&s->ignore, __atomic_load_n(&s->level, __ATOMIC_SEQ_CST), __ATOMIC_SEQ_CST);
    irq_lower(s->irq);
}

static const RegionOps ferr_ops = {
    .read = ferr_read, .write = ferr_write, .impl_min = 1, .impl_max = 1};

static void ferr_reset(Device *dev)
{
    IsaFerr *s = ISA_FERR(dev);

    s->level = s->ignore = 0;
    irq_lower(s->irq);
}

static bool ferr_realize(Device *dev, Error **errp)
{
    IsaFerr *s = ISA_FERR(dev);

    s->irq = isa_irq(&s->isa, FERR_IRQ);
    region_init_io(&s->io, &dev->owner, &ferr_ops, s, "ioportF0", 1);
    isa_register_io(&s->isa, &s->io, FERR_PORT);
    return true;
}

static void ferr_unrealize(Device *dev)
{
    region_fini(&ISA_FERR(dev)->io);
}

static const StateDesc ferr_state = {
    .name = TYPE_ISA_FERR,
    .version = 1,
    .fields =
        (const StateField[]){STATE_F_UINT(IsaFerr, level), STATE_F_UINT(IsaFerr, ignore), {0}},
};

static const DeviceClass ferr_class = {
    .realize = ferr_realize,
    .unrealize = ferr_unrealize,
    .reset = ferr_reset,
    .state = &ferr_state,
    .bus_type = TYPE_ISA_BUS,
    .category = DEVICE_CATEGORY_MISC,
    .not_hotpluggable = true,
};

OBJECT_TYPE(ferr_type, .name = TYPE_ISA_FERR, .parent = TYPE_ISA_DEVICE,
            .help = "x87 errors as IRQ 13, port F0h", .size = sizeof(IsaFerr), .klass = &ferr_class)

bool isa_ferr_new(Machine *m, IsaBus *bus, Error **errp)
{
    IsaDevice *isa = isa_new(TYPE_ISA_FERR);
    IsaFerr *s = ISA_FERR(&isa->dev);

    if (!device_realize(&isa->dev, m, &bus->bus, errp)) {
        return false;
    }
    for (unsigned i = 0; m->cpus && i < m->cpus->len; i++) {
        Vcpu *v = g_ptr_array_index(m->cpus, i);

        v->cpu.ferr = ferr_set;
        v->cpu.ferr_opaque = s;
    }
    return true;
}
