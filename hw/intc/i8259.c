/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The 8259A pair.  Both chips work under the master's lock, because a request at
 * the slave changes the master's line 2 and an acknowledge cycle runs through both.
 */
#include "hw/intc/i8259.h"

#include "accel/accel.h"
#include "hw/core/machine.h"
#include "util/log.h"
#include "util/trace.h"

#include <inttypes.h>
#include <linux/kvm.h>
#include <pthread.h>

TRACE_EVENT(i8259_set, "line %d level %d")
TRACE_EVENT(i8259_ack, "vector 0x%02x")
TRACE_EVENT(i8259_write, "port 0x%x value 0x%02x")

#define CASCADE 2
/*
 * Lines 0 and 8, of the timers: their pulses may be over before a CPU whose thread
 * has just lost the host's processor looks, and time must not be lost for that.
 */
#define PULSED 0

struct I8259 {
    IsaDevice isa;
    Region io, elcr_io;
    /* properties */
    uint32_t iobase, elcr_addr;
    uint8_t elcr_mask;
    bool master;

    pthread_mutex_t own_lock;
    pthread_mutex_t *lock; /* the master's, of both */
    I8259 *slave;          /* at the master */
    I8259 *upper;          /* at the slave: its master */
    IrqLine out;

    uint8_t lines; /* levels at the inputs */
    uint8_t irr, imr, isr, elcr;
    uint8_t priority_add; /* line of highest priority */
    uint8_t vector_base;
    uint8_t init_state; /* which ICW comes next (2-4), or 0 */
    bool need_icw4, single, level_all;
    bool read_isr, poll, special_mask, special_nested, auto_eoi, rotate_auto;
    bool int_out;
    uint64_t acked[8]; /* for people */
};

#define I8259(o) OBJECT_CAST(I8259, o, TYPE_I8259)

/*
 * The lines whose requests last as long as their level.  The slave's is one of them,
 * so that a request which the slave takes back leaves no spurious interrupt behind.
 */
static uint8_t level_mask(const I8259 *s)
{
    return s->level_all ? 0xff : (uint8_t)(s->elcr | (s->slave ? 1u << CASCADE : 0));
}

static bool is_level(const I8259 *s, unsigned n)
{
    return level_mask(s) >> n & 1;
}

/* Lines by priority: 0 is highest; 8 if `mask` is empty. */
static unsigned best_priority(const I8259 *s, uint8_t mask)
{
    unsigned p = 0;

    while (p < 8 && !(mask >> ((p + s->priority_add) & 7) & 1)) {
        p++;
    }
    return p;
}

/* The line to be served now, or -1. */
static int pending_line(const I8259 *s)
{
    unsigned want = best_priority(s, s->irr & ~s->imr);
    uint8_t busy = s->isr;

    if (want == 8) {
        return -1;
    }
    if (s->special_mask) {
        busy &= ~s->imr;
    }
    if (s->special_nested && s->slave) {
        busy &= ~(1u << CASCADE);
    }
    return want < best_priority(s, busy) ? (int)((want + s->priority_add) & 7) : -1;
}

static void set_line(I8259 *s, unsigned n, bool level);

static void update(I8259 *s)
{
    bool out = pending_line(s) >= 0;

    if (s->upper) {
        s->int_out = out;
        set_line(s->upper, CASCADE, out);
    } else if (out != s->int_out) {
        s->int_out = out;
        irq_set(s->out, out);
    }
}

static void set_line(I8259 *s, unsigned n, bool level)
{
    uint8_t bit = (uint8_t)(1u << n);

    if (is_level(s, n)) {
        s->irr = level ? s->irr | bit : s->irr & ~bit;
    } else if (level) {
        s->irr |= s->lines & bit ? 0 : bit;
    } else if (n != PULSED) {
        /*
         * A request ends with its line (data sheet, "Edge and Level Triggered Modes"), so
         * that a driver which polls a device leaves no stale interrupt behind.
         */
        s->irr &= ~bit;
    }
    s->lines = level ? s->lines | bit : s->lines & ~bit;
    update(s);
}

static void input_set(void *opaque, int n, int level)
{
    I8259 *m = opaque;

    trace(i8259_set, n, level);
    pthread_mutex_lock(m->lock);
    if (n < 8) {
        set_line(m, (unsigned)n, level);
    } else {
        set_line(m->slave, (unsigned)n - 8, level);
    }
    pthread_mutex_unlock(m->lock);
}

/* One chip's part of an INTA cycle. */
static void acknowledge(I8259 *s, unsigned n)
{
    s->acked[n]++;
    if (s->auto_eoi) {
        if (s->rotate_auto) {
            s->priority_add = (n + 1) & 7;
        }
    } else {
        s->isr |= 1u << n;
    }
    if (!is_level(s, n)) {
        s->irr &= ~(1u << n);
    }
}

int i8259_ack(void *master)
{
    I8259 *m = master;
    int n, vector;

    pthread_mutex_lock(m->lock);
    n = pending_line(m);
    if (n < 0) {
        vector = m->vector_base + 7;
    } else if (n == CASCADE && m->slave) {
        I8259 *s = m->slave;
        int n2 = pending_line(s);

        acknowledge(m, CASCADE);
        if (n2 >= 0) {
            acknowledge(s, (unsigned)n2);
        }
        vector = s->vector_base + (n2 < 0 ? 7 : n2);
        update(s);
    } else {
        acknowledge(m, (unsigned)n);
        vector = m->vector_base + n;
    }
    update(m);
    pthread_mutex_unlock(m->lock);
    trace(i8259_ack, (unsigned)vector);
    return vector;
}

bool i8259_pending(I8259 *master)
{
    return __atomic_load_n(&master->int_out, __ATOMIC_SEQ_CST);
}

/* ICW1 begins a new initialization (data sheet, "Initialization Command Words"). */
static void chip_init(I8259 *s, uint8_t icw1)
{
    s->need_icw4 = icw1 & 1;
    s->single = icw1 & 2;
    s->level_all = icw1 & 8;
    s->init_state = 2;
    s->imr = s->isr = 0;
    s->irr = s->lines & level_mask(s);
    s->priority_add = 0;
    s->read_isr = s->poll = s->special_mask = false;
    s->special_nested = s->auto_eoi = s->rotate_auto = false;
}

static void write_ocw2(I8259 *s, uint8_t v)
{
    unsigned line = v & 7, p;

    switch (v >> 5) {
    case 0: /* rotate in automatic EOI mode: clear */
    case 4: /* set */
        s->rotate_auto = v >> 7;
        break;
    case 1: /* non-specific EOI */
    case 5: /* and rotate */
        /* In special mask mode a masked line's in-service bit is left alone. */
        p = best_priority(s, s->special_mask ? s->isr & ~s->imr : s->isr);
        if (p < 8) {
            line = (p + s->priority_add) & 7;
            s->isr &= ~(1u << line);
            if (v >> 5 == 5) {
                s->priority_add = (line + 1) & 7;
            }
        }
        break;
    case 3: /* specific EOI */
        s->isr &= ~(1u << line);
        break;
    case 6: /* set priority */
        s->priority_add = (line + 1) & 7;
        break;
    case 7: /* specific EOI and rotate */
        s->isr &= ~(1u << line);
        s->priority_add = (line + 1) & 7;
        break;
    default: /* 2: no operation */
        break;
    }
}

static void write_ocw3(I8259 *s, uint8_t v)
{
    if (v & 4) {
        s->poll = true;
    }
    if (v & 2) {
        s->read_isr = v & 1;
    }
    if (v & 0x40) {
        s->special_mask = v >> 5 & 1;
    }
}

static void write_data(I8259 *s, uint8_t v)
{
    switch (s->init_state) {
    case 2:
        s->vector_base = v & 0xf8;
        s->init_state = !s->single ? 3 : s->need_icw4 ? 4 : 0;
        break;
    case 3: /* the wiring of the cascade is fixed on a PC */
        s->init_state = s->need_icw4 ? 4 : 0;
        break;
    case 4:
        s->special_nested = v >> 4 & 1;
        s->auto_eoi = v >> 1 & 1;
        s->init_state = 0;
        if (!(v & 1)) {
            guest_error("i8259", "ICW4 0x%02x chooses 8080 mode, which no PC has", v);
        }
        break;
    default:
        s->imr = v;
        break;
    }
}

static void io_write(void *opaque, hwaddr off, uint64_t value, unsigned size)
{
    I8259 *s = opaque;
    uint8_t v = (uint8_t)value;

    trace(i8259_write, (unsigned)(s->iobase + off), v);
    pthread_mutex_lock(s->lock);
    if (off & 1) {
        write_data(s, v);
    } else if (v & 0x10) {
        chip_init(s, v);
    } else if (v & 8) {
        write_ocw3(s, v);
    } else {
        write_ocw2(s, v);
    }
    update(s);
    pthread_mutex_unlock(s->lock);
}

/* A poll word is an acknowledge cycle of this chip alone. */
static uint8_t read_poll(I8259 *s)
{
    int n = pending_line(s);

    s->poll = false;
    if (n < 0) {
        return 0;
    }
    acknowledge(s, (unsigned)n);
    update(s);
    return (uint8_t)(0x80 | n);
}

static uint64_t io_read(void *opaque, hwaddr off, unsigned size)
{
    I8259 *s = opaque;
    uint8_t v;

    pthread_mutex_lock(s->lock);
    if (s->poll) {
        v = read_poll(s);
    } else if (off & 1) {
        v = s->imr;
    } else {
        v = s->read_isr ? s->isr : s->irr;
    }
    pthread_mutex_unlock(s->lock);
    return v;
}

static uint64_t elcr_read(void *opaque, hwaddr off, unsigned size)
{
    I8259 *s = opaque;

    return __atomic_load_n(&s->elcr, __ATOMIC_RELAXED);
}

static void elcr_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    I8259 *s = opaque;

    pthread_mutex_lock(s->lock);
    s->elcr = (uint8_t)v & s->elcr_mask;
    s->irr = (s->irr & ~level_mask(s)) | (s->lines & level_mask(s));
    update(s);
    pthread_mutex_unlock(s->lock);
}

static const RegionOps io_ops = {.read = io_read, .write = io_write, .impl_min = 1, .impl_max = 1};
static const RegionOps elcr_ops = {
    .read = elcr_read, .write = elcr_write, .impl_min = 1, .impl_max = 1};

/* ---- an engine with 8259s of its own: these hold their state ---- */

static const AccelIrqchip *kernel_chip(const I8259 *s)
{
    const Machine *m = s->isa.dev.machine;

    return m && m->accel && m->accel->irqchip && m->accel->irqchip->board ? m->accel->irqchip
                                                                          : NULL;
}

static void to_kernel(const I8259 *s)
{
    struct kvm_irqchip c = {.chip_id = s->master ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE};
    struct kvm_pic_state *p = &c.chip.pic;

    *p = (struct kvm_pic_state){
        .last_irr = s->lines,
        .irr = s->irr,
        .imr = s->imr,
        .isr = s->isr,
        .priority_add = s->priority_add,
        .irq_base = s->vector_base,
        .read_reg_select = s->read_isr,
        .poll = s->poll,
        .special_mask = s->special_mask,
        .init_state = s->init_state ? s->init_state - 1 : 0,
        .auto_eoi = s->auto_eoi,
        .rotate_on_auto_eoi = s->rotate_auto,
        .special_fully_nested_mode = s->special_nested,
        .init4 = s->need_icw4,
        .elcr = s->elcr,
        .elcr_mask = s->elcr_mask,
    };
    kernel_chip(s)->set_chip(s->isa.dev.machine->accel, &c);
}

static void from_kernel(I8259 *s)
{
    struct kvm_irqchip c = {.chip_id = s->master ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE};
    const struct kvm_pic_state *p = &c.chip.pic;

    if (!kernel_chip(s)->get_chip(s->isa.dev.machine->accel, &c)) {
        return;
    }
    s->lines = p->last_irr;
    s->irr = p->irr;
    s->imr = p->imr;
    s->isr = p->isr;
    s->priority_add = p->priority_add & 7;
    s->vector_base = p->irq_base;
    s->read_isr = p->read_reg_select;
    s->poll = p->poll;
    s->special_mask = p->special_mask;
    s->init_state = p->init_state ? (uint8_t)((p->init_state & 3) + 1) : 0;
    s->auto_eoi = p->auto_eoi;
    s->rotate_auto = p->rotate_on_auto_eoi;
    s->special_nested = p->special_fully_nested_mode;
    s->need_icw4 = p->init4;
    s->elcr = p->elcr;
}

static void chip_pre_save(void *obj)
{
    if (kernel_chip(obj)) {
        from_kernel(obj);
    }
}

static void chip_loaded(void *obj)
{
    if (kernel_chip(obj)) {
        to_kernel(obj);
    }
}

static void chip_reset(Device *dev)
{
    I8259 *s = I8259(dev);

    pthread_mutex_lock(s->lock);
    s->elcr = 0;
    s->vector_base = 0;
    chip_init(s, 0);
    s->init_state = 0;
    if (kernel_chip(s)) {
        to_kernel(s);
    } else {
        update(s);
    }
    pthread_mutex_unlock(s->lock);
}

static bool chip_realize(Device *dev, Error **errp)
{
    I8259 *s = I8259(dev);

    if (s->iobase > 0xfffe || (s->elcr_addr != UINT32_MAX && s->elcr_addr > 0xffff)) {
        error_set(errp, "isa-i8259: iobase and elcr_addr must be I/O ports below 0x10000");
        return false;
    }
    dev->owner.loop = NULL; /* a leaf: our own lock is enough */
    region_init_io(&s->io, &dev->owner, &io_ops, s, "pic", 2);
    isa_register_io(&s->isa, &s->io, (uint16_t)s->iobase);
    if (s->elcr_addr != UINT32_MAX) {
        region_init_io(&s->elcr_io, &dev->owner, &elcr_ops, s, "elcr", 1);
        isa_register_io(&s->isa, &s->elcr_io, (uint16_t)s->elcr_addr);
        s->isa.ioport_id = (int)s->iobase;
    }
    return true;
}

static void chip_unrealize(Device *dev)
{
    I8259 *s = I8259(dev);

    region_fini(&s->elcr_io);
    region_fini(&s->io);
}

static void chip_instance_init(Object *obj)
{
    I8259 *s = (I8259 *)obj;

    pthread_mutex_init(&s->own_lock, NULL);
    s->lock = &s->own_lock;
}

static void chip_finalize(Object *obj)
{
    pthread_mutex_destroy(&((I8259 *)obj)->own_lock);
}

/* The outputs travel as int_out; whoever hears them has a state of its own. */
static const StateDesc i8259_state = {
    .name = "i8259",
    .version = 1,
    .pre_save = chip_pre_save,
    .loaded = chip_loaded,
    .fields =
        (const StateField[]){
            STATE_F_UINT(I8259, lines),
            STATE_F_UINT(I8259, irr),
            STATE_F_UINT(I8259, imr),
            STATE_F_UINT(I8259, isr),
            STATE_F_UINT(I8259, elcr),
            STATE_F_UINT_MAX(I8259, priority_add, 7),
            STATE_F_UINT(I8259, vector_base),
            STATE_F_UINT_MAX(I8259, init_state, 4),
            STATE_F_BOOL(I8259, need_icw4),
            STATE_F_BOOL(I8259, single),
            STATE_F_BOOL(I8259, level_all),
            STATE_F_BOOL(I8259, read_isr),
            STATE_F_BOOL(I8259, poll),
            STATE_F_BOOL(I8259, special_mask),
            STATE_F_BOOL(I8259, special_nested),
            STATE_F_BOOL(I8259, auto_eoi),
            STATE_F_BOOL(I8259, rotate_auto),
            STATE_F_BOOL(I8259, int_out),
            {0},
        },
};

static const Property i8259_props[] = {
    PROPERTY_U32("iobase", I8259, iobase, UINT32_MAX, "first of the two ports"),
    PROPERTY_U32("elcr_addr", I8259, elcr_addr, UINT32_MAX,
                 "port of the edge/level register; 4294967295: none"),
    PROPERTY_U8("elcr_mask", I8259, elcr_mask, 0xff, "lines that may be level-triggered"),
    PROPERTY_BOOL("master", I8259, master, false, "the first of the pair"),
    {0},
};

static const DeviceClass i8259_class = {
    .realize = chip_realize,
    .unrealize = chip_unrealize,
    .reset = chip_reset,
    .state = &i8259_state,
    .bus_type = TYPE_ISA_BUS,
    .category = DEVICE_CATEGORY_MISC,
    .not_hotpluggable = true,
};

OBJECT_TYPE(i8259_type, .name = TYPE_I8259, .parent = TYPE_ISA_DEVICE,
            .help = "8259A interrupt controller", .size = sizeof(I8259), .klass = &i8259_class,
            .props = i8259_props, .init = chip_instance_init, .finalize = chip_finalize)

static I8259 *new_chip(Machine *m, IsaBus *bus, bool master, Error **errp)
{
    IsaDevice *d = isa_new(TYPE_I8259);

    object_set_uint(&d->dev.obj, "iobase", master ? 0x20 : 0xa0);
    object_set_uint(&d->dev.obj, "elcr_addr", master ? 0x4d0 : 0x4d1);
    /* Lines 0, 1, 2, 8 and 13 are edges by wiring. */
    object_set_uint(&d->dev.obj, "elcr_mask", master ? 0xf8 : 0xde);
    object_set_bool(&d->dev.obj, "master", master);
    return device_realize(&d->dev, m, &bus->bus, errp) ? I8259(d) : NULL;
}

I8259 *i8259_new_pair(Machine *m, IsaBus *bus, IrqLine out, Error **errp)
{
    I8259 *master = new_chip(m, bus, true, errp);
    I8259 *slave;

    if (!master) {
        return NULL;
    }
    slave = new_chip(m, bus, false, errp);
    if (!slave) {
        device_unrealize(&master->isa.dev);
        return NULL;
    }
    slave->lock = &master->own_lock;
    slave->upper = master;
    master->slave = slave;
    master->out = out;
    return master;
}

IrqLine i8259_input(I8259 *master, unsigned n)
{
    if (n > 15 || n == CASCADE) {
        return (IrqLine){0};
    }
    return (IrqLine){.set = input_set, .opaque = master, .n = (int)n};
}

void i8259_print(I8259 *master, GString *out)
{
    pthread_mutex_lock(master->lock);
    for (int i = 0; i < 2; i++) {
        I8259 *s = i ? master->slave : master;

        chip_pre_save(s);

        g_string_append_printf(out,
                               "pic%d: irr=%02x imr=%02x isr=%02x hprio=%d irq_base=%02x "
                               "rr_sel=%d elcr=%02x fnm=%d\n",
                               i, s->irr, s->imr, s->isr, s->priority_add, s->vector_base,
                               s->read_isr, s->elcr, s->special_nested);
    }
    pthread_mutex_unlock(master->lock);
}

void i8259_print_counts(I8259 *master, GString *out)
{
    pthread_mutex_lock(master->lock);
    for (int i = 0; i < 2; i++) {
        const I8259 *s = i ? master->slave : master;

        g_string_append_printf(out, "IRQ statistics for pic%d:\n", i);
        for (int n = 0; n < 8; n++) {
            if (s->acked[n]) {
                g_string_append_printf(out, "%2d: %" PRIu64 "\n", 8 * i + n, s->acked[n]);
            }
        }
    }
    pthread_mutex_unlock(master->lock);
}
