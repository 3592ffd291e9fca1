/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The clocks of a machine: a sequence lock around two words, so that reading takes no lock. */
#include "event/clock.h"

#include "event/event-internal.h"
#include "util/sanitize.h"

#include <assert.h>
#include <glib.h>
#include <pthread.h>
#include <time.h>

struct ClockSet {
    pthread_mutex_t lock; /* writers, and the list of loops */
    uint32_t seq;         /* odd while a writer is at work */
    bool running, manual;
    int64_t base; /* running: virtual = monotonic + base; else virtual = base */
    int64_t (*source)(void *opaque);
    void *source_opaque;
    ClockType wall_type;
    int64_t wall_offset;
    GPtrArray *loops; /* EventLoop*, to be woken when virtual time changes its pace */
};

static int64_t host_clock(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

ClockSet *clock_set_new(void)
{
    ClockSet *cs = g_new0(ClockSet, 1);
    pthread_mutex_init(&cs->lock, NULL);
    cs->wall_type = CLOCK_HOST;
    cs->loops = g_ptr_array_new();
    return cs;
}

void clock_set_free(ClockSet *cs)
{
    if (!cs) {
        return;
    }
    assert(cs->loops->len == 0); /* loops keep a pointer to their clocks */
    g_ptr_array_free(cs->loops, TRUE);
    pthread_mutex_destroy(&cs->lock);
    g_free(cs);
}

static uint32_t read_begin(const ClockSet *cs)
{
    uint32_t seq;
    while ((seq = __atomic_load_n(&cs->seq, __ATOMIC_ACQUIRE)) & 1) {
        __builtin_ia32_pause();
    }
    return seq;
}

static bool read_retry(const ClockSet *cs, uint32_t seq)
{
    atomic_fence_acquire();
    return __atomic_load_n(&cs->seq, __ATOMIC_RELAXED) != seq;
}

/* The writer's bracket; the caller holds cs->lock. */
static void write_begin(ClockSet *cs)
{
    __atomic_store_n(&cs->seq, cs->seq + 1, __ATOMIC_RELAXED);
    atomic_fence_release();
}

static void write_end(ClockSet *cs)
{
    __atomic_store_n(&cs->seq, cs->seq + 1, __ATOMIC_RELEASE);
}

/* Readers may look at any time and retry: what they read are atomic words. */
static void set_base(ClockSet *cs, int64_t base)
{
    __atomic_store_n(&cs->base, base, __ATOMIC_RELAXED);
}

bool clock_is_manual(const ClockSet *cs)
{
    return __atomic_load_n(&cs->manual, __ATOMIC_RELAXED);
}

bool clock_is_running(const ClockSet *cs)
{
    return __atomic_load_n(&cs->running, __ATOMIC_RELAXED);
}

int64_t clock_virtual(const ClockSet *cs)
{
    int64_t base;
    bool moving;
    int64_t (*source)(void *);
    void *opaque;
    uint32_t seq;
    do {
        seq = read_begin(cs);
        base = __atomic_load_n(&cs->base, __ATOMIC_RELAXED);
        moving = clock_is_running(cs) && !clock_is_manual(cs);
        source = __atomic_load_n(&cs->source, __ATOMIC_RELAXED);
        opaque = __atomic_load_n(&cs->source_opaque, __ATOMIC_RELAXED);
    } while (read_retry(cs, seq));
    if (source) {
        return source(opaque);
    }
    return moving ? host_clock(CLOCK_MONOTONIC) + base : base;
}

int64_t clock_now(const ClockSet *cs, ClockType type)
{
    switch (type) {
    case CLOCK_RT:
        return host_clock(CLOCK_MONOTONIC);
    case CLOCK_HOST:
        return host_clock(CLOCK_REALTIME);
    default:
        return clock_virtual(cs);
    }
}

int64_t clock_guest_wall(const ClockSet *cs)
{
    return clock_now(cs, cs->wall_type) + cs->wall_offset;
}

void clock_guest_wall_set(ClockSet *cs, ClockType type, int64_t offset_ns)
{
    cs->wall_type = type;
    cs->wall_offset = offset_ns;
}

/* Loops that sleep towards a virtual deadline must look again. Lock held. */
static void wake_loops(ClockSet *cs)
{
    for (unsigned i = 0; i < cs->loops->len; i++) {
        loop_notify(cs->loops->pdata[i]);
    }
}

/* Changes the pace without a step: the present value is kept across the change. */
static void set_pace(ClockSet *cs, bool running, bool manual)
{
    pthread_mutex_lock(&cs->lock);
    bool was_moving = cs->running && !cs->manual;
    bool moving = running && !manual;
    write_begin(cs);
    if (moving && !was_moving) {
        set_base(cs, cs->base - host_clock(CLOCK_MONOTONIC));
    } else if (!moving && was_moving) {
        set_base(cs, cs->base + host_clock(CLOCK_MONOTONIC));
    }
    __atomic_store_n(&cs->running, running, __ATOMIC_RELAXED);
    __atomic_store_n(&cs->manual, manual, __ATOMIC_RELAXED);
    write_end(cs);
    wake_loops(cs);
    pthread_mutex_unlock(&cs->lock);
}

void clock_virtual_enable(ClockSet *cs, bool run)
{
    if (cs->running != run) {
        set_pace(cs, run, cs->manual);
    }
}

void clock_virtual_manual(ClockSet *cs, bool manual)
{
    if (cs->manual != manual) {
        set_pace(cs, cs->running, manual);
    }
}

void clock_virtual_set(ClockSet *cs, int64_t ns)
{
    assert(!cs->running || cs->manual);
    pthread_mutex_lock(&cs->lock);
    write_begin(cs);
    set_base(cs, ns);
    write_end(cs);
    wake_loops(cs);
    pthread_mutex_unlock(&cs->lock);
}

void clock_virtual_source(ClockSet *cs, int64_t (*now)(void *opaque), void *opaque)
{
    pthread_mutex_lock(&cs->lock);
    write_begin(cs);
    __atomic_store_n(&cs->source, now, __ATOMIC_RELAXED);
    __atomic_store_n(&cs->source_opaque, opaque, __ATOMIC_RELAXED);
    write_end(cs);
    wake_loops(cs);
    pthread_mutex_unlock(&cs->lock);
}

bool clock_is_driven(const ClockSet *cs)
{
    return __atomic_load_n(&cs->source, __ATOMIC_RELAXED) != NULL;
}

int64_t clock_virtual_deadline(ClockSet *cs)
{
    int64_t first = -1;
    pthread_mutex_lock(&cs->lock);
    for (unsigned i = 0; i < cs->loops->len; i++) {
        EventLoop *loop = cs->loops->pdata[i];
        int64_t when = loop_is_control(loop) ? -1 : loop_next_deadline(loop);
        first = when >= 0 && (first < 0 || when < first) ? when : first;
    }
    pthread_mutex_unlock(&cs->lock);
    return first;
}

static void run_timers(void *opaque)
{
    loop_run_timers(opaque);
}

/* Timers and calls may make others; not without end. */
#define SETTLE_ROUNDS 16

bool clock_virtual_run(ClockSet *cs)
{
    bool ran = false, more = true;
    pthread_mutex_lock(&cs->lock); /* no loop ends meanwhile */
    for (unsigned round = 0; more && round < SETTLE_ROUNDS; round++) {
        more = false;
        for (unsigned i = 0; i < cs->loops->len; i++) {
            EventLoop *loop = cs->loops->pdata[i];
            if (!loop_is_control(loop) && loop_has_work(loop, cs->running)) {
                loop_call(loop, run_timers, loop);
                more = ran = true;
            }
        }
    }
    pthread_mutex_unlock(&cs->lock);
    return ran;
}

void clock_set_join(ClockSet *cs, EventLoop *loop)
{
    pthread_mutex_lock(&cs->lock);
    g_ptr_array_add(cs->loops, loop);
    pthread_mutex_unlock(&cs->lock);
}

void clock_set_leave(ClockSet *cs, EventLoop *loop)
{
    pthread_mutex_lock(&cs->lock);
    g_ptr_array_remove(cs->loops, loop);
    pthread_mutex_unlock(&cs->lock);
}
