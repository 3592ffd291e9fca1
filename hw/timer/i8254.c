/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The 8254.  Counters are not stepped: what they hold is computed from the time
 * since they were loaded.  One tick is 1/1193182 s of CLOCK_VIRTUAL.
 */
#include "hw/core/machine.h"
#include "hw/timer/i8254_int.h"
#include "util/log.h"
#include "util/trace.h"

TRACE_EVENT(i8254_control, "value 0x%02x")
TRACE_EVENT(i8254_load, "counter %u count %u mode %u")

/* Interrupts come no faster than this; a guest could not serve more. */
#define MIN_PERIOD (20 * NS_PER_US)
#define NEVER INT64_MAX

#define I8254(o) OBJECT_CAST(I8254, o, TYPE_I8254)

static int64_t now(const I8254 *s)
{
    return i8254_now(s);
}

static int64_t ns_to_ticks(int64_t ns)
{
    return (int64_t)((__int128)ns * I8254_HZ / NS_PER_SEC);
}

/* Rounded up, so that the tick has really passed by then. */
int64_t i8254_ticks_to_ns(int64_t ticks)
{
    return (int64_t)(((__int128)ticks * NS_PER_SEC + I8254_HZ - 1) / I8254_HZ);
}

int64_t i8254_now(const I8254 *s)
{
    return clock_virtual(loop_clocks(s->isa.dev.owner.loop));
}

static bool periodic(const Counter *c)
{
    return c->mode == 2 || c->mode == 3;
}

/* Ticks since loading; brings in a new period that was waiting for its turn. */
static int64_t elapsed(Counter *c, int64_t t)
{
    int64_t e = c->base + (c->counting ? ns_to_ticks(t - c->start) : 0);

    if (c->next_n && c->counting && e >= c->n) {
        /* The end of the period that ran when the count was written. */
        c->start += c->base < c->n ? i8254_ticks_to_ns(c->n - c->base) : 0;
        c->base = 0;
        c->n = c->next_n;
        c->next_n = 0;
        c->null_count = false;
        e = t > c->start ? ns_to_ticks(t - c->start) : 0;
    }
    return e;
}

/* The current value of the counting element. */
static uint32_t value(Counter *c, int64_t t)
{
    int64_t e = elapsed(c, t);
    uint32_t modulus = c->bcd ? 10000 : 65536;
    int64_t half;

    if (!c->n) {
        return 0;
    }
    switch (c->mode) {
    case 2:
        return (uint32_t)(c->n - e % c->n) % modulus;
    case 3:
        e %= c->n;
        half = (c->n + 1) / 2;
        if (e >= half) {
            e -= half;
        }
        return (uint32_t)((c->n & ~1u) - 2 * e) % modulus;
    default:
        return (uint32_t)(((int64_t)c->n - e % modulus + modulus) % modulus);
    }
}

static bool output(Counter *c, int64_t t)
{
    int64_t e = elapsed(c, t);

    if (!c->n) {
        return c->mode != 0;
    }
    switch (c->mode) {
    case 0:
        return e >= c->n;
    case 1:
        /* Idle until the first trigger, whose mark is `counting`. */
        return !c->counting || e >= c->n;
    case 2:
        return !c->gate || e % c->n != c->n - 1;
    case 3:
        return !c->gate || e % c->n < (c->n + 1) / 2;
    default:
        return e != c->n;
    }
}

/* When the output changes next after `t`; for mode 2 only its rising edges count. */
static int64_t next_change(Counter *c, int64_t t)
{
    int64_t e = elapsed(c, t), at;

    if (!c->counting || !c->n) {
        return NEVER;
    }
    switch (c->mode) {
    case 0:
    case 1:
        at = e < c->n ? c->n : NEVER;
        break;
    case 2:
        at = (e / c->n + 1) * c->n;
        break;
    case 3:
        at = e / c->n * c->n;
        at += e % c->n < (c->n + 1) / 2 ? (c->n + 1) / 2 : c->n;
        break;
    default:
        at = e < c->n ? c->n : e == c->n ? c->n + 1 : NEVER;
        break;
    }
    return at == NEVER ? NEVER : c->start + i8254_ticks_to_ns(at - c->base);
}

/* Follows counter 0's output on the interrupt line and waits for its next change. */
static void update_irq(I8254 *s, bool tick)
{
    Counter *c = &s->c[0];
    int64_t t = now(s), next;
    bool level;

    if (s->chip) {
        return; /* the engine's timer does that */
    }
    level = output(c, t);

    if (tick && c->mode == 2) {
        /* The pulse of one tick is over before anybody could look at it. */
        irq_set(s->irq, 0);
        irq_set(s->irq, 1);
        s->irq_level = true;
    } else if (level != s->irq_level || tick) {
        s->irq_level = level;
        irq_set(s->irq, level);
    }
    next = next_change(c, t);
    if (next == NEVER) {
        timer_del(&s->timer);
    } else {
        timer_mod(&s->timer, MAX(next, t + MIN_PERIOD));
    }
}

static void timer_fired(void *opaque)
{
    update_irq(opaque, true);
}

uint32_t i8254_from_bcd(uint16_t v)
{
    return (v >> 12) * 1000u + (v >> 8 & 15) * 100u + (v >> 4 & 15) * 10u + (v & 15);
}

uint16_t i8254_to_bcd(uint32_t v)
{
    v %= 10000;
    return (uint16_t)(v / 1000 << 12 | v / 100 % 10 << 8 | v / 10 % 10 << 4 | v % 10);
}

static void load(I8254 *s, unsigned i, uint16_t raw)
{
    Counter *c = &s->c[i];
    uint32_t n = c->bcd ? i8254_from_bcd(raw) : raw;

    if (!n) {
        n = c->bcd ? 10000 : 65536;
    }
    if (n == 1 && periodic(c)) {
        guest_error("i8254", "counter %u: a count of 1 is illegal in mode %u", i, c->mode);
        n = 2;
    }
    trace(i8254_load, i, n, c->mode);
    if (periodic(c) && c->counting && c->n) {
        elapsed(c, now(s));
        c->next_n = n;
        c->null_count = true;
        return;
    }
    c->n = n;
    c->next_n = 0;
    c->null_count = false;
    if (c->mode != 1 && c->mode != 5) {
        c->base = 0;
        c->start = now(s);
        c->counting = c->gate;
    }
}

static void latch_count(I8254 *s, Counter *c)
{
    if (!c->latched) {
        uint32_t v = value(c, now(s));

        c->latch = c->bcd ? i8254_to_bcd(v) : (uint16_t)v;
        c->latched = true;
    }
}

static void latch_status(I8254 *s, Counter *c)
{
    if (!c->status_latched) {
        bool out = output(c, now(s));

        c->status = (uint8_t)(out << 7 | c->null_count << 6 | c->rw << 4 | c->mode << 1 | c->bcd);
        c->status_latched = true;
    }
}

static void write_control(I8254 *s, uint8_t v)
{
    unsigned i = v >> 6;
    Counter *c;

    trace(i8254_control, v);
    if (i == 3) { /* read-back */
        for (i = 0; i < 3; i++) {
            if (v & 2u << i) {
                if (!(v & 0x20)) {
                    latch_count(s, &s->c[i]);
                }
                if (!(v & 0x10)) {
                    latch_status(s, &s->c[i]);
                }
            }
        }
        return;
    }
    c = &s->c[i];
    if (!(v & 0x30)) {
        latch_count(s, c);
        return;
    }
    c->rw = v >> 4 & 3;
    c->mode = v >> 1 & 7;
    if (c->mode > 5) {
        c->mode &= 3; /* bit 2 is a don't-care for modes 2 and 3 */
    }
    c->bcd = v & 1;
    c->n = c->next_n = 0;
    c->base = 0;
    c->counting = false;
    c->null_count = true;
    c->write_high = c->read_high = false;
    c->latched = c->status_latched = false;
    if (i == 0) {
        update_irq(s, false);
    }
}

static void write_count(I8254 *s, unsigned i, uint8_t v)
{
    Counter *c = &s->c[i];

    switch (c->rw) {
    case 1:
        load(s, i, v);
        break;
    case 2:
        load(s, i, (uint16_t)(v << 8));
        break;
    default:
        if (!c->write_high) {
            c->write_low = v;
            c->write_high = true;
            if (c->mode == 0) { /* the first byte stops the counting */
                c->base = elapsed(c, now(s));
                c->counting = false;
            }
            return;
        }
        c->write_high = false;
        load(s, i, (uint16_t)(v << 8 | c->write_low));
        break;
    }
    if (i == 0) {
        update_irq(s, false);
    }
}

/* With the engine's timer the guest does not come here, only debuggers do. */
static void io_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    i8254_pull(opaque);
    if (off == 3) {
        write_control(opaque, (uint8_t)v);
    } else {
        write_count(opaque, (unsigned)off, (uint8_t)v);
    }
    i8254_push(opaque);
}

static uint64_t read_port(I8254 *s, hwaddr off)
{
    Counter *c = &s->c[off];
    uint32_t v;
    bool high;

    if (off == 3) {
        return 0xff; /* the control word cannot be read */
    }
    if (c->status_latched) {
        c->status_latched = false;
        return c->status;
    }
    if (c->latched) {
        v = c->latch;
    } else {
        v = value(c, now(s));
        v = c->bcd ? i8254_to_bcd(v) : v;
    }
    high = c->rw == 2 || (c->rw == 3 && c->read_high);
    if (c->rw == 3) {
        c->read_high = !c->read_high;
    }
    if (c->rw != 3 || !c->read_high) {
        c->latched = false;
    }
    return high ? v >> 8 & 0xff : v & 0xff;
}

static uint64_t io_read(void *opaque, hwaddr off, unsigned size)
{
    uint64_t v;

    i8254_pull(opaque);
    v = read_port(opaque, off);
    i8254_push(opaque);
    return v;
}

static const RegionOps io_ops = {.read = io_read, .write = io_write, .impl_min = 1, .impl_max = 1};

/* Data sheet, figure "Gate Pin Operations Summary". */
void i8254_set_gate(I8254 *s, unsigned i, bool level)
{
    Counter *c = &s->c[i];
    int64_t t = now(s);

    i8254_pull(s);
    if (level == c->gate) {
        return;
    }
    switch (c->mode) {
    case 0:
    case 4:
        c->base = elapsed(c, t);
        c->start = t;
        c->counting = level && c->n;
        break;
    case 1:
    case 5:
        if (level && c->n) {
            c->base = 0;
            c->start = t;
            c->counting = true;
        }
        break;
    default:
        if (c->next_n) {
            c->n = c->next_n;
            c->next_n = 0;
            c->null_count = false;
        }
        c->base = 0;
        c->start = t;
        c->counting = level && c->n;
        break;
    }
    c->gate = level;
    if (i == 0) {
        update_irq(s, false);
    }
    i8254_push(s);
}

bool i8254_gate(I8254 *s, unsigned i)
{
    i8254_pull(s);
    return s->c[i].gate;
}

bool i8254_out(I8254 *s, unsigned i)
{
    i8254_pull(s);
    return output(&s->c[i], now(s));
}

unsigned i8254_frequency(I8254 *s, unsigned i)
{
    const Counter *c = &s->c[i];

    i8254_pull(s);
    return c->mode == 3 && c->n && c->gate ? I8254_HZ / c->n : 0;
}

void i8254_reset(Device *dev)
{
    I8254 *s = I8254(dev);

    for (unsigned i = 0; i < 3; i++) {
        /* The gates of counters 0 and 1 are tied high. */
        s->c[i] = (Counter){.mode = 3, .rw = 3, .gate = i != 2};
    }
    s->irq_level = false;
    update_irq(s, false);
    i8254_push(s);
}

bool i8254_realize(Device *dev, Error **errp)
{
    I8254 *s = I8254(dev);

    if (s->iobase > 0xfffc) {
        error_set(errp, "isa-pit: iobase 0x%x leaves no room for four ports", s->iobase);
        return false;
    }
    if (!s->chip && !irq_connected(s->irq)) {
        s->irq = isa_irq(&s->isa, 0);
    }
    timer_init(&s->timer, dev->owner.loop, CLOCK_VIRTUAL, timer_fired, s);
    region_init_io(&s->io, &dev->owner, &io_ops, s, "pit", 4);
    isa_register_io(&s->isa, &s->io, (uint16_t)s->iobase);
    return true;
}

void i8254_unrealize(Device *dev)
{
    I8254 *s = I8254(dev);

    timer_fini(&s->timer);
    region_fini(&s->io);
}

static void i8254_loaded(void *obj)
{
    I8254 *s = obj;
    int64_t next = next_change(&s->c[0], now(s));

    if (s->chip) {
        i8254_push(s);
        return;
    }
    if (next == NEVER) {
        timer_del(&s->timer);
    } else {
        timer_mod(&s->timer, next);
    }
}

static const StateDesc counter_state = {
    .name = "i8254-counter",
    .version = 1,
    .fields =
        (const StateField[]){
            STATE_F_UINT_MAX(Counter, n, 65536),
            STATE_F_UINT_MAX(Counter, next_n, 65536),
            STATE_F_INT_RANGE(Counter, start, 0, INT64_MAX / 4),
            STATE_F_INT_RANGE(Counter, base, 0, INT64_MAX / 4),
            STATE_F_BOOL(Counter, counting),
            STATE_F_UINT_MAX(Counter, mode, 5),
            STATE_F_UINT_MAX(Counter, rw, 3),
            STATE_F_BOOL(Counter, bcd),
            STATE_F_BOOL(Counter, gate),
            STATE_F_BOOL(Counter, null_count),
            STATE_F_BOOL(Counter, write_high),
            STATE_F_BOOL(Counter, read_high),
            STATE_F_UINT(Counter, write_low),
            STATE_F_BOOL(Counter, latched),
            STATE_F_BOOL(Counter, status_latched),
            STATE_F_UINT(Counter, latch),
            STATE_F_UINT(Counter, status),
            {0},
        },
};

static void i8254_pre_save(void *obj)
{
    i8254_pull(obj);
}

const StateDesc i8254_state = {
    .name = "i8254",
    .version = 1,
    .fields =
        (const StateField[]){
            STATE_F_STRUCT_ARRAY(I8254, c, counter_state),
            STATE_F_BOOL(I8254, irq_level),
            {0},
        },
    .pre_save = i8254_pre_save,
    .loaded = i8254_loaded,
};

static const Property i8254_props[] = {
    PROPERTY_U32("iobase", I8254, iobase, 0x40, "first of the four ports"),
    {0},
};

static const DeviceClass i8254_class = I8254_CLASS(i8254_realize);

OBJECT_TYPE(i8254_type, .name = TYPE_I8254, .parent = TYPE_ISA_DEVICE,
            .help = "8254 programmable interval timer", .size = sizeof(I8254),
            .klass = &i8254_class, .props = i8254_props)

I8254 *i8254_new(Machine *m, IsaBus *bus, IrqLine irq, Error **errp)
{
    I8254 *s = I8254(isa_new(i8254_kernel(m) ? TYPE_KVM_PIT : TYPE_I8254));

    s->irq = irq;
    return device_realize(&s->isa.dev, m, &bus->bus, errp) ? s : NULL;
}
