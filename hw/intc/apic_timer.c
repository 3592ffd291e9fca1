/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The local APIC's timer: one-shot, periodic and TSC-deadline mode.  It counts at
 * 1 GHz (one count a nanosecond) before the divider.
 *
 * Set by the vCPU, fired by the platform loop: both work under timer_lock.
 */
#include "hw/intc/apic_int.h"
#include "util/trace.h"

TRACE_EVENT(apic_timer, "cpu %u next %lld")

enum { TIMER_ONE_SHOT, TIMER_PERIODIC, TIMER_DEADLINE };

/* A guest that asks for more than this gets it in this rhythm; it could not serve more. */
#define MIN_PERIOD (20 * NS_PER_US)

static int timer_mode(const Apic *a)
{
    return (int)(a->lvt[LVT_TIMER] >> LVT_TIMER_MODE_SHIFT & 3);
}

static int64_t now(const Apic *a)
{
    return clock_virtual(a->bus->machine->clocks);
}

/* log2 of the divisor (SDM, figure "Divide Configuration Register"). */
static unsigned divide_shift(const Apic *a)
{
    return (((a->divide & 3) | (a->divide >> 1 & 4)) + 1) & 7;
}

static void arm(Apic *a, int64_t when)
{
    a->timer_next = when;
    trace(apic_timer, a->index, (long long)when);
    if (when < 0) {
        timer_del(&a->timer);
    } else {
        timer_mod(&a->timer, when);
    }
}

/* When the TSC will read `tsc`, in CLOCK_VIRTUAL. */
static int64_t tsc_to_ns(const Apic *a, uint64_t tsc)
{
    const CPUX86 *cpu = &a->vcpu->cpu;
    uint64_t hz = cpu->config.tsc_hz ? cpu->config.tsc_hz : 1000000000u;
    uint64_t cur = cpu_tsc(cpu);
    __uint128_t wait;

    if (tsc <= cur) {
        return now(a);
    }
    wait = (__uint128_t)(tsc - cur) * NS_PER_SEC / hz;
    return wait > INT64_MAX / 4 ? INT64_MAX / 2 : now(a) + (int64_t)wait;
}

/* The next expiry after `t`, or -1: the counting modes. */
static int64_t next_expiry(const Apic *a, int64_t t)
{
    int64_t period = (int64_t)a->initial_count << divide_shift(a);
    int64_t next;

    if (!a->initial_count) {
        return -1;
    }
    if (timer_mode(a) != TIMER_PERIODIC) {
        next = a->timer_start + period;
        return next > t ? next : -1;
    }
    next = a->timer_start + ((t - a->timer_start) / period + 1) * period;
    return next - t < MIN_PERIOD && period < MIN_PERIOD ? t + MIN_PERIOD : next;
}

static void rearm(Apic *a)
{
    if (timer_mode(a) == TIMER_DEADLINE) {
        arm(a, a->tsc_deadline ? tsc_to_ns(a, a->tsc_deadline) : -1);
    } else {
        arm(a, next_expiry(a, now(a)));
    }
}

static void expired(void *opaque)
{
    Apic *a = opaque;
    int64_t t = now(a);
    bool due;

    pthread_mutex_lock(&a->timer_lock);
    due = a->timer_next >= 0 && t >= a->timer_next;
    if (due) {
        if (timer_mode(a) == TIMER_DEADLINE) {
            a->tsc_deadline = 0;
            arm(a, -1);
        } else {
            arm(a, next_expiry(a, t));
        }
    }
    pthread_mutex_unlock(&a->timer_lock);
    if (due) {
        apic_local(a, LVT_TIMER);
    }
}

void apic_timer_init(Apic *a, EventLoop *loop)
{
    timer_init(&a->timer, loop, CLOCK_VIRTUAL, expired, a);
}

void apic_timer_reset(Apic *a)
{
    pthread_mutex_lock(&a->timer_lock);
    a->initial_count = a->divide = 0;
    a->timer_start = 0;
    a->tsc_deadline = 0;
    arm(a, -1);
    pthread_mutex_unlock(&a->timer_lock);
}

void apic_timer_set_count(Apic *a, uint32_t v)
{
    pthread_mutex_lock(&a->timer_lock);
    /* In TSC-deadline mode the count register ignores writes (SDM, "TSC-Deadline Mode"). */
    if (timer_mode(a) != TIMER_DEADLINE) {
        a->initial_count = v;
        a->timer_start = now(a);
        /* Not by the clock: on a busy host a short count may have passed meanwhile. */
        arm(a, next_expiry(a, a->timer_start));
    }
    pthread_mutex_unlock(&a->timer_lock);
}

void apic_timer_set_divide(Apic *a, uint32_t v)
{
    pthread_mutex_lock(&a->timer_lock);
    if (v != a->divide) {
        a->divide = v;
        if (timer_mode(a) != TIMER_DEADLINE) {
            rearm(a);
        }
    }
    pthread_mutex_unlock(&a->timer_lock);
}

void apic_timer_set_lvt(Apic *a, uint32_t v)
{
    int old;

    pthread_mutex_lock(&a->timer_lock);
    old = timer_mode(a);
    APIC_STORE(a->lvt[LVT_TIMER], v);
    if (timer_mode(a) != old) {
        /* A change to or from TSC-deadline mode disarms the timer. */
        if (old == TIMER_DEADLINE || timer_mode(a) == TIMER_DEADLINE) {
            a->initial_count = 0;
            a->tsc_deadline = 0;
        }
        rearm(a);
    }
    pthread_mutex_unlock(&a->timer_lock);
}

uint32_t apic_timer_count(Apic *a)
{
    uint32_t count = 0;

    pthread_mutex_lock(&a->timer_lock);
    if (a->initial_count && timer_mode(a) != TIMER_DEADLINE) {
        uint64_t gone = (uint64_t)(now(a) - a->timer_start) >> divide_shift(a);

        if (timer_mode(a) == TIMER_PERIODIC) {
            count = a->initial_count - (uint32_t)(gone % a->initial_count);
        } else if (gone < a->initial_count) {
            count = a->initial_count - (uint32_t)gone;
        }
    }
    pthread_mutex_unlock(&a->timer_lock);
    return count;
}

void apic_timer_set_deadline(Apic *a, uint64_t tsc)
{
    pthread_mutex_lock(&a->timer_lock);
    if (timer_mode(a) == TIMER_DEADLINE) {
        a->tsc_deadline = tsc;
        rearm(a);
    }
    pthread_mutex_unlock(&a->timer_lock);
}

uint64_t apic_timer_deadline(Apic *a)
{
    uint64_t v;

    pthread_mutex_lock(&a->timer_lock);
    v = a->tsc_deadline;
    pthread_mutex_unlock(&a->timer_lock);
    return v;
}

void apic_timer_rearm(Apic *a)
{
    pthread_mutex_lock(&a->timer_lock);
    rearm(a);
    pthread_mutex_unlock(&a->timer_lock);
}

void apic_timer_set_current(Apic *a, uint32_t initial, uint32_t current, uint64_t deadline)
{
    pthread_mutex_lock(&a->timer_lock);
    a->initial_count = initial;
    a->tsc_deadline = deadline;
    a->timer_start = now(a) - ((int64_t)(initial - MIN(current, initial)) << divide_shift(a));
    a->timer_start = MAX(a->timer_start, 0);
    pthread_mutex_unlock(&a->timer_lock);
}
