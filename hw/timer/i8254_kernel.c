/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * "kvm-pit": the state of an 8254 that works in the kernel, in the device's own form, so that a
 * state does not say which engine it comes from.  The kernel's times are those of CLOCK_MONOTONIC,
 * the device's those of the guest.  While the machine stands still the kernel's counter 0 does.
 */
#include "accel/accel.h"
#include "hw/core/machine.h"
#include "hw/timer/i8254_int.h"

#include <linux/kvm.h>
#include <string.h>
#include <time.h>

#define MODE_OFF 0xff /* the kernel's: no timer */

/* Positions in a counter's two bytes, as the kernel has them; 1-3 are the modes of access. */
enum { AT_LOW = 1, AT_HIGH, AT_WORD_LOW, AT_WORD_HIGH };

enum { POLICY_DISCARD, POLICY_DELAY };
static const char *const policy_names[] = {"discard", "delay", "merge", "slew", NULL};

const AccelIrqchip *i8254_kernel(const Machine *m)
{
    const AccelIrqchip *c = m && m->accel ? m->accel->irqchip : NULL;

    return c && c->pit_create ? c : NULL;
}

static int64_t monotonic(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * NS_PER_SEC + t.tv_nsec;
}

/* ---- out of the kernel ---- */

static void counter_in(Counter *c, const struct kvm_pit_channel_state *k, int64_t shift)
{
    bool off = k->mode > 5;

    *c = (Counter){.mode = off ? c->mode : k->mode, /* what was to come is known here alone */
                   .rw = k->rw_mode >= 1 && k->rw_mode <= 3 ? k->rw_mode : 3,
                   .bcd = k->bcd != 0,
                   .gate = k->gate != 0,
                   .write_high = k->write_state == AT_WORD_HIGH,
                   .read_high = k->read_state == AT_WORD_HIGH,
                   .write_low = k->write_latch,
                   .latched = k->count_latched != 0,
                   .status_latched = k->status_latched != 0,
                   .latch = k->latched_count,
                   .status = k->status};
    if (c->rw == 3 && k->count_latched == AT_HIGH) {
        c->read_high = true;
    }
    c->n = off ? 0 : MIN(k->count, 65536u);
    c->n = c->bcd && c->n && c->n < 65536 ? i8254_from_bcd((uint16_t)c->n) : c->n;
    if (c->n == 1 && (c->mode == 2 || c->mode == 3)) {
        c->n = 2;
    }
    c->start = MAX(k->count_load_time + shift, 0);
    c->counting = c->n && (c->gate || c->mode == 1 || c->mode == 5);
}

void i8254_pull(I8254 *s)
{
    struct kvm_pit_state2 k;
    int64_t shift;

    if (!s->chip || !s->running || !s->chip->get_pit(s->isa.dev.machine->accel, &k)) {
        return;
    }
    shift = i8254_now(s) - monotonic();
    for (unsigned i = 0; i < 3; i++) {
        counter_in(&s->c[i], &k.channels[i], shift);
    }
}

/* ---- into the kernel ---- */

static void counter_out(const Counter *c, struct kvm_pit_channel_state *k, int64_t shift)
{
    uint32_t n = c->next_n ? c->next_n : c->n;

    *k = (struct kvm_pit_channel_state){
        .count = c->bcd && n ? (n == 10000 ? 65536 : i8254_to_bcd(n)) : n,
        .latched_count = c->latch,
        .count_latched = !c->latched    ? 0
                         : c->rw != 3   ? c->rw
                         : c->read_high ? AT_HIGH
                                        : AT_WORD_LOW,
        .status_latched = c->status_latched,
        .status = c->status,
        .read_state = c->rw != 3     ? c->rw
                      : c->read_high ? AT_WORD_HIGH
                                     : AT_WORD_LOW,
        .write_state = c->rw != 3      ? c->rw
                       : c->write_high ? AT_WORD_HIGH
                                       : AT_WORD_LOW,
        .write_latch = c->write_low,
        .rw_mode = c->rw,
        .mode = n ? c->mode : MODE_OFF,
        .bcd = c->bcd,
        .gate = c->gate,
        .count_load_time = c->start - shift - i8254_ticks_to_ns(c->base),
    };
}

static void push(I8254 *s, bool ticking)
{
    struct kvm_pit_state2 k = {.flags = s->hpet_legacy ? KVM_PIT_FLAGS_HPET_LEGACY : 0};
    int64_t shift = i8254_now(s) - monotonic();

    for (unsigned i = 0; i < 3; i++) {
        counter_out(&s->c[i], &k.channels[i], shift);
    }
    if (!ticking) {
        k.channels[0].mode = MODE_OFF;
    }
    s->chip->set_pit(s->isa.dev.machine->accel, &k);
}

void i8254_push(I8254 *s)
{
    if (s->chip && s->running) {
        push(s, true);
    }
}

/* ---- the machine goes on, or stands still; the HPET ---- */

static void running(void *opaque, bool run)
{
    I8254 *s = opaque;
    EventLoop *loop = s->isa.dev.owner.loop;

    loop_lock(loop);
    if (run) {
        s->running = true;
        push(s, true);
    } else if (s->running) {
        i8254_pull(s);
        push(s, false);
        s->running = false;
    }
    loop_unlock(loop);
}

static void set_legacy(void *opaque, int n, int level)
{
    I8254 *s = opaque;

    if (s->hpet_legacy != (level != 0)) {
        i8254_pull(s);
        s->hpet_legacy = level != 0;
        i8254_push(s);
    }
}

IrqLine i8254_legacy_line(I8254 *s)
{
    return s->chip ? (IrqLine){.set = set_legacy, .opaque = s} : (IrqLine){0};
}

/* ---- the device ---- */

static bool kvm_pit_realize(Device *dev, Error **errp)
{
    I8254 *s = OBJECT_CAST(I8254, dev, TYPE_KVM_PIT);

    s->chip = i8254_kernel(dev->machine);
    if (!s->chip) {
        error_set(errp, "kvm-pit: the engine has no interval timer of its own");
        return false;
    }
    if (s->policy != POLICY_DISCARD && s->policy != POLICY_DELAY) {
        error_set(errp, "kvm-pit: lost_tick_policy=%s is not possible here",
                  policy_names[s->policy]);
        error_hint(errp, "use lost_tick_policy=delay or discard");
        return false;
    }
    return i8254_realize(dev, errp) &&
           s->chip->pit_create(dev->machine->accel, s->policy == POLICY_DELAY, running, s, errp);
}

static const Property kvm_pit_props[] = {
    PROPERTY_ENUM("lost_tick_policy", I8254, policy, policy_names, POLICY_DELAY,
                  "ticks that the guest was too slow for: delay (they come later), discard"),
    {0},
};

static const DeviceClass kvm_pit_class = I8254_CLASS(kvm_pit_realize);

OBJECT_TYPE(kvm_pit_type, .name = TYPE_KVM_PIT, .parent = TYPE_I8254,
            .help = "8254 programmable interval timer in the kernel", .size = sizeof(I8254),
            .klass = &kvm_pit_class, .props = kvm_pit_props)
