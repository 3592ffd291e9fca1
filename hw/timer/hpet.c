/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The HPET.  The main counter is CLOCK_VIRTUAL in steps of 10 ns plus an offset;
 * it is not stepped.
 */
#include "hw/timer/hpet.h"

#include "util/log.h"
#include "util/trace.h"

TRACE_EVENT(hpet_write, "offset 0x%llx value 0x%llx size %u")
TRACE_EVENT(hpet_fire, "timer %u")

#define TICK_NS 10
#define PERIOD_FS (TICK_NS * 1000000u)
#define VENDOR_ID 0x8086u
#define MAX_TIMERS 32
/* Interrupts come no faster than this; a guest could not serve more. */
#define MIN_PERIOD (20 * NS_PER_US)

/* Registers: HPET specification 1.0a, 2.3. */
enum {
    REG_CAPABILITIES = 0x00,
    REG_CONFIG = 0x10,
    REG_STATUS = 0x20,
    REG_COUNTER = 0xf0,
    REG_TIMERS = 0x100,
};
#define CONFIG_ENABLE 1u
#define CONFIG_LEGACY 2u

#define TN_LEVEL BIT(1)
#define TN_ENABLE BIT(2)
#define TN_PERIODIC BIT(3)
#define TN_PERIODIC_CAP BIT(4)
#define TN_SIZE_CAP BIT(5)
#define TN_SETVAL BIT(6)
#define TN_32BIT BIT(8)
#define TN_ROUTE_SHIFT 9
#define TN_FSB BIT(14)
#define TN_FSB_CAP BIT(15)
#define TN_WRITABLE (TN_LEVEL | TN_ENABLE | TN_PERIODIC | TN_SETVAL | TN_32BIT | 0x3e00 | TN_FSB)

typedef struct HpetTimer {
    Hpet *hpet;
    uint8_t n;
    Timer timer;
    uint64_t config; /* low half: writable bits; high half: routes that can be chosen */
    uint64_t cmp, fsb;
    uint64_t period;  /* periodic mode */
    uint64_t expires; /* the full 64-bit count of the next match, while armed */
} HpetTimer;

struct Hpet {
    Device dev;
    Region io;
    IrqLine gsi[HPET_IRQS], isa[2], replaced;
    /* properties */
    uint8_t timers;
    bool msi;
    uint32_t intcap;

    uint64_t config, status;
    int64_t offset;   /* counter = CLOCK_VIRTUAL / 10 + offset, when enabled */
    uint64_t counter; /* when halted */
    uint8_t legacy_in[2];
    HpetTimer t[MAX_TIMERS];
};

#define HPET(o) OBJECT_CAST(Hpet, o, TYPE_HPET)

static bool enabled(const Hpet *s)
{
    return s->config & CONFIG_ENABLE;
}

static int64_t now(const Hpet *s)
{
    return clock_virtual(s->dev.machine->clocks);
}

static uint64_t counter(const Hpet *s)
{
    return enabled(s) ? (uint64_t)(now(s) / TICK_NS + s->offset) : s->counter;
}

static uint64_t width_mask(const HpetTimer *t)
{
    return t->config & TN_32BIT ? UINT32_MAX : UINT64_MAX;
}

static bool legacy(const HpetTimer *t)
{
    return (t->hpet->config & CONFIG_LEGACY) && t->n < 2;
}

static IrqLine route(const HpetTimer *t)
{
    return legacy(t) ? t->hpet->isa[t->n] : t->hpet->gsi[t->config >> TN_ROUTE_SHIFT & 31];
}

/* One interrupt of the timer, in the manner that its configuration asks for. */
static void fire(HpetTimer *t)
{
    Hpet *s = t->hpet;

    trace(hpet_fire, t->n);
    if (t->config & TN_LEVEL) {
        s->status |= BIT(t->n); /* whether or not interrupts are enabled */
    }
    if (!(t->config & TN_ENABLE) || !enabled(s)) {
        return;
    }
    if ((t->config & TN_FSB) && !legacy(t)) {
        uint8_t data[4];

        st_le32(data, (uint32_t)t->fsb);
        address_space_write(s->dev.machine->as_memory, t->fsb >> 32,
                            (MemAttrs){.requester = 0xfffe}, data, sizeof(data));
    } else if (t->config & TN_LEVEL) {
        irq_raise(route(t));
    } else {
        irq_pulse(route(t));
    }
}

static void release(HpetTimer *t)
{
    if (!(t->config & TN_FSB) && (t->config & TN_LEVEL)) {
        irq_lower(route(t));
    }
}

/* Waits for the next match of counter and comparator. */
static void arm(HpetTimer *t)
{
    Hpet *s = t->hpet;
    uint64_t cur = counter(s), diff;
    int64_t wait;

    if (!enabled(s)) {
        timer_del(&t->timer);
        return;
    }
    diff = (t->cmp - cur) & width_mask(t);
    if (!diff) {
        diff = (t->config & TN_32BIT) ? 1ull << 32 : UINT64_MAX;
    }
    t->expires = cur + diff;
    wait = diff > INT64_MAX / 4 / TICK_NS ? INT64_MAX / 4 : (int64_t)diff * TICK_NS;
    timer_mod(&t->timer, now(s) + wait);
}

static void timer_fired(void *opaque)
{
    HpetTimer *t = opaque;
    Hpet *s = t->hpet;
    uint64_t cur = counter(s);

    if (!enabled(s)) {
        return;
    }
    if ((int64_t)(cur - t->expires) < 0) { /* the counter was moved, or the wait was clamped */
        arm(t);
        return;
    }
    if ((t->config & TN_PERIODIC) && t->period) {
        uint64_t gone = (cur - t->expires) / t->period + 1;

        t->cmp = (t->cmp + gone * t->period) & width_mask(t);
        arm(t);
        if (t->period < MIN_PERIOD / TICK_NS) {
            timer_mod(&t->timer, now(s) + MIN_PERIOD);
        }
    } else {
        arm(t); /* once more when the counter has gone round */
    }
    fire(t);
}

/* ---- registers ---- */

static uint64_t capabilities(const Hpet *s)
{
    return (uint64_t)PERIOD_FS << 32 | VENDOR_ID << 16 | 1u << 15 /* legacy */ |
           1u << 13 /* 64 bits */ | (s->timers - 1u) << 8 | 1u /* revision */;
}

uint32_t hpet_event_block_id(const Hpet *s)
{
    return (uint32_t)capabilities(s);
}

static uint64_t timer_config(const HpetTimer *t)
{
    return t->config | TN_PERIODIC_CAP | TN_SIZE_CAP | (t->hpet->msi ? TN_FSB_CAP : 0) |
           (uint64_t)t->hpet->intcap << 32;
}

static uint64_t reg_read(Hpet *s, hwaddr reg)
{
    if (reg >= REG_TIMERS) {
        const HpetTimer *t = &s->t[(reg - REG_TIMERS) / 0x20];

        if ((reg - REG_TIMERS) / 0x20 >= s->timers) {
            return 0;
        }
        switch (reg & 0x18) {
        case 0x00:
            return timer_config(t);
        case 0x08:
            return t->cmp;
        case 0x10:
            return t->fsb;
        default:
            return 0;
        }
    }
    switch (reg) {
    case REG_CAPABILITIES:
        return capabilities(s);
    case REG_CONFIG:
        return s->config;
    case REG_STATUS:
        return s->status;
    case REG_COUNTER:
        return counter(s);
    default:
        return 0;
    }
}

static void config_write(Hpet *s, uint64_t v)
{
    uint64_t old = s->config;

    v &= CONFIG_ENABLE | CONFIG_LEGACY;
    if ((v ^ old) & CONFIG_LEGACY) {
        for (unsigned i = 0; i < 2; i++) {
            /* Hand the two lines over: low from the one, then what the other says. */
            irq_lower(s->isa[i]);
        }
    }
    if ((old & CONFIG_ENABLE) && !(v & CONFIG_ENABLE)) {
        s->counter = counter(s);
    }
    s->config = v;
    if (!(old & CONFIG_ENABLE) && (v & CONFIG_ENABLE)) {
        s->offset = (int64_t)s->counter - now(s) / TICK_NS;
    }
    for (unsigned i = 0; i < 2; i++) {
        if (((v ^ old) & CONFIG_LEGACY) && !(v & CONFIG_LEGACY)) {
            irq_set(s->isa[i], s->legacy_in[i]);
        }
    }
    if ((v ^ old) & CONFIG_LEGACY) {
        irq_set(s->replaced, (v & CONFIG_LEGACY) != 0);
    }
    for (unsigned i = 0; i < s->timers; i++) {
        arm(&s->t[i]);
        if (!enabled(s)) {
            release(&s->t[i]);
        } else if (s->status & BIT(i)) {
            if ((s->t[i].config & (TN_LEVEL | TN_ENABLE)) == (TN_LEVEL | TN_ENABLE) &&
                !(s->t[i].config & TN_FSB)) {
                irq_raise(route(&s->t[i]));
            }
        }
    }
}

static void timer_config_write(HpetTimer *t, uint64_t v)
{
    Hpet *s = t->hpet;

    if ((v & TN_FSB) && !s->msi) {
        v &= ~TN_FSB;
    }
    v &= TN_WRITABLE;
    if (!legacy(t) && !(v & TN_FSB) && (v & TN_ENABLE) &&
        !(s->intcap >> (v >> TN_ROUTE_SHIFT & 31) & 1)) {
        guest_error("hpet", "timer %u cannot be routed to interrupt %u", t->n,
                    (unsigned)(v >> TN_ROUTE_SHIFT & 31));
        v = (v & ~0x3e00ull) | (t->config & 0x3e00);
    }
    release(t);
    t->config = v;
    if (v & TN_32BIT) {
        t->cmp &= UINT32_MAX;
        t->period &= UINT32_MAX;
    }
    if (!(v & TN_LEVEL)) {
        s->status &= ~BIT(t->n);
    } else if ((s->status & BIT(t->n)) && (v & TN_ENABLE) && enabled(s) && !(v & TN_FSB)) {
        irq_raise(route(t));
    }
    arm(t);
}

/* `half`: 0 low dword, 1 high, 2 both. */
static uint64_t merge(uint64_t old, uint64_t v, int half)
{
    switch (half) {
    case 0:
        return (old & ~(uint64_t)UINT32_MAX) | (v & UINT32_MAX);
    case 1:
        return (old & UINT32_MAX) | v << 32;
    default:
        return v;
    }
}

static void comparator_write(HpetTimer *t, uint64_t v, int half)
{
    bool set_value = !(t->config & TN_PERIODIC) || (t->config & TN_SETVAL);

    if (half == 1 && (t->config & TN_32BIT)) {
        return;
    }
    if (set_value) {
        t->cmp = merge(t->cmp, v, half) & width_mask(t);
    }
    if (t->config & TN_PERIODIC) {
        t->period = merge(t->period, v, half) & width_mask(t);
    }
    /* A 64-bit value written in two halves keeps the permission for the second one. */
    if (half != 0 || (t->config & TN_32BIT) || !(t->config & TN_SETVAL)) {
        t->config &= ~TN_SETVAL;
    }
    arm(t);
}

static void reg_write(Hpet *s, hwaddr reg, uint64_t v, int half)
{
    if (reg >= REG_TIMERS) {
        unsigned n = (unsigned)(reg - REG_TIMERS) / 0x20;

        if (n >= s->timers) {
            guest_error("hpet", "write of timer %u, of %u", n, s->timers);
            return;
        }
        switch (reg & 0x18) {
        case 0x00:
            if (half != 1) {
                timer_config_write(&s->t[n], v);
            }
            break;
        case 0x08:
            comparator_write(&s->t[n], v, half);
            break;
        case 0x10:
            s->t[n].fsb = merge(s->t[n].fsb, v, half);
            break;
        default:
            break;
        }
        return;
    }
    switch (reg) {
    case REG_CONFIG:
        if (half != 1) {
            config_write(s, v);
        }
        break;
    case REG_STATUS:
        v = merge(0, v, half);
        for (unsigned i = 0; i < s->timers; i++) {
            if ((v & BIT(i)) && (s->status & BIT(i))) {
                s->status &= ~BIT(i);
                release(&s->t[i]);
            }
        }
        break;
    case REG_COUNTER:
        if (enabled(s)) {
            guest_error("hpet", "write of the running main counter");
        }
        v = merge(counter(s), v, half);
        s->counter = v;
        s->offset = (int64_t)v - now(s) / TICK_NS;
        for (unsigned i = 0; i < s->timers; i++) {
            arm(&s->t[i]);
        }
        break;
    default:
        guest_error("hpet", "write at offset 0x%x", (unsigned)reg);
        break;
    }
}

static uint64_t io_read(void *opaque, hwaddr off, unsigned size)
{
    uint64_t v = reg_read(opaque, off & ~7ull);

    return size == 8 ? v : v >> ((off & 4) * 8) & UINT32_MAX;
}

static void io_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    trace(hpet_write, (unsigned long long)off, (unsigned long long)v, size);
    reg_write(opaque, off & ~7ull, v, size == 8 ? 2 : off & 4 ? 1 : 0);
}

static const RegionOps io_ops = {
    .read = io_read,
    .write = io_write,
    .valid_min = 4,
    .valid_max = 8,
    .aligned_only = true,
    .impl_min = 4,
    .impl_max = 8,
};

/* ---- lines ---- */

static void legacy_set(void *opaque, int n, int level)
{
    Hpet *s = opaque;

    s->legacy_in[n] = level != 0;
    if (!(s->config & CONFIG_LEGACY)) {
        irq_set(s->isa[n], level);
    }
}

IrqLine hpet_legacy_input(Hpet *s, unsigned n)
{
    return n < 2 ? (IrqLine){.set = legacy_set, .opaque = s, .n = (int)n} : (IrqLine){0};
}

void hpet_set_replaced_line(Hpet *s, IrqLine line)
{
    s->replaced = line;
}

/* ---- the device ---- */

static void hpet_reset(Device *dev)
{
    Hpet *s = HPET(dev);

    for (unsigned i = 0; i < s->timers; i++) {
        HpetTimer *t = &s->t[i];

        release(t);
        timer_del(&t->timer);
        t->config = 0;
        t->cmp = UINT64_MAX;
        t->period = t->fsb = t->expires = 0;
    }
    s->config = s->status = s->counter = 0;
    s->offset = 0;
    irq_set(s->replaced, 0);
}

static bool hpet_realize(Device *dev, Error **errp)
{
    Hpet *s = HPET(dev);

    if (s->timers < 3 || s->timers > MAX_TIMERS) {
        error_set(errp, "hpet: timers=%u is not possible: there are 3 to %d", s->timers,
                  MAX_TIMERS);
        return false;
    }
    for (unsigned i = 0; i < s->timers; i++) {
        s->t[i].hpet = s;
        s->t[i].n = (uint8_t)i;
        timer_init(&s->t[i].timer, dev->owner.loop, CLOCK_VIRTUAL, timer_fired, &s->t[i]);
    }
    region_init_io(&s->io, &dev->owner, &io_ops, s, "hpet", 0x400);
    return true;
}

static void hpet_unrealize(Device *dev)
{
    Hpet *s = HPET(dev);

    for (unsigned i = 0; i < s->timers; i++) {
        timer_fini(&s->t[i].timer);
    }
    region_fini(&s->io);
}

static void hpet_loaded(void *obj)
{
    Hpet *s = obj;

    if (enabled(s)) {
        s->offset = (int64_t)s->counter - now(s) / TICK_NS;
    }
    for (unsigned i = 0; i < s->timers; i++) {
        arm(&s->t[i]);
    }
    irq_set(s->replaced, (s->config & CONFIG_LEGACY) != 0);
}

static void hpet_pre_save(void *obj)
{
    Hpet *s = obj;

    s->counter = counter(s);
}

static const StateDesc timer_state = {
    .name = "hpet-timer",
    .version = 1,
    .fields =
        (const StateField[]){
            STATE_F_UINT_MAX(HpetTimer, config, TN_WRITABLE),
            STATE_F_UINT(HpetTimer, cmp),
            STATE_F_UINT(HpetTimer, fsb),
            STATE_F_UINT(HpetTimer, period),
            {0},
        },
};

static const StateDesc hpet_state = {
    .name = "hpet",
    .version = 1,
    .fields =
        (const StateField[]){
            STATE_F_UINT_MAX(Hpet, config, 3),
            STATE_F_UINT_MAX(Hpet, status, UINT32_MAX),
            STATE_F_UINT(Hpet, counter),
            STATE_F_UINT_ARRAY(Hpet, legacy_in),
            STATE_F_STRUCT_ARRAY(Hpet, t, timer_state),
            {0},
        },
    .pre_save = hpet_pre_save,
    .loaded = hpet_loaded,
};

static const Property hpet_props[] = {
    PROPERTY_U8("timers", Hpet, timers, 3, "comparators, 3 to 32"),
    PROPERTY_BOOL("msi", Hpet, msi, false, "timers can send messages (FSB delivery)"),
    PROPERTY_U32("hpet-intcap", Hpet, intcap, 0, "mask of I/O APIC inputs to choose from"),
    {0},
};

static const DeviceClass hpet_class = {
    .realize = hpet_realize,
    .unrealize = hpet_unrealize,
    .reset = hpet_reset,
    .state = &hpet_state,
    .category = DEVICE_CATEGORY_MISC,
    .not_hotpluggable = true,
};

OBJECT_TYPE(hpet_type, .name = TYPE_HPET, .parent = TYPE_DEVICE,
            .help = "high precision event timers", .size = sizeof(Hpet), .klass = &hpet_class,
            .props = hpet_props)

Hpet *hpet_new(Machine *m, uint32_t intcap, const IrqLine *gsi, IrqLine isa0, IrqLine isa8,
               Error **errp)
{
    Hpet *s = HPET(device_new(TYPE_HPET));

    object_set_uint(&s->dev.obj, "hpet-intcap", intcap);
    for (unsigned i = 0; i < HPET_IRQS; i++) {
        s->gsi[i] = gsi[i];
    }
    s->isa[0] = isa0;
    s->isa[1] = isa8;
    return device_realize(&s->dev, m, NULL, errp) ? s : NULL;
}

Region *hpet_region(Hpet *s)
{
    return &s->io;
}
