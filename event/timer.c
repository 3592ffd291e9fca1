/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Timers: one binary heap per clock and loop, guarded by a leaf mutex. */
#include "event/event-internal.h"
#include "event/lock-check.h"

#include <assert.h>
#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

void timer_set_init(TimerSet *ts)
{
    pthread_mutex_init(&ts->lock, NULL);
    ts->host_fd = -1;
    ts->asleep_until = INT64_MIN;
}

void timer_set_fini(TimerSet *ts)
{
    for (unsigned c = 0; c < CLOCK_TYPES; c++) {
        for (unsigned i = 0; i < ts->heaps[c].n; i++) {
            ts->heaps[c].items[i]->expire = -1;
        }
        g_free(ts->heaps[c].items);
    }
    if (ts->host_fd >= 0) {
        close(ts->host_fd);
    }
    pthread_mutex_destroy(&ts->lock);
}

/* Both are also read without the lock. */
static void set_expire(Timer *t, int64_t ns)
{
    __atomic_store_n(&t->expire, ns, __ATOMIC_RELAXED);
}

static void set_count(TimerHeap *h, unsigned n)
{
    __atomic_store_n(&h->n, n, __ATOMIC_RELAXED);
}

/* ---- the heap: item i's children are 2i+1 and 2i+2 ---- */
static void heap_place(TimerHeap *h, unsigned i, Timer *t)
{
    h->items[i] = t;
    t->heap_index = i;
}

static void heap_up(TimerHeap *h, unsigned i)
{
    Timer *t = h->items[i];
    while (i > 0) {
        unsigned p = (i - 1) / 2;
        if (h->items[p]->expire <= t->expire) {
            break;
        }
        heap_place(h, i, h->items[p]);
        i = p;
    }
    heap_place(h, i, t);
}

static void heap_down(TimerHeap *h, unsigned i)
{
    Timer *t = h->items[i];
    for (;;) {
        unsigned c = 2 * i + 1;
        if (c >= h->n) {
            break;
        }
        if (c + 1 < h->n && h->items[c + 1]->expire < h->items[c]->expire) {
            c++;
        }
        if (t->expire <= h->items[c]->expire) {
            break;
        }
        heap_place(h, i, h->items[c]);
        i = c;
    }
    heap_place(h, i, t);
}

static void heap_insert(TimerHeap *h, Timer *t)
{
    if (h->n == h->alloc) {
        h->alloc = h->alloc ? h->alloc * 2 : 16;
        h->items = g_renew(Timer *, h->items, h->alloc);
    }
    set_count(h, h->n + 1);
    heap_place(h, h->n - 1, t);
    heap_up(h, h->n - 1);
}

static void heap_remove(TimerHeap *h, Timer *t)
{
    unsigned i = t->heap_index;
    assert(i < h->n && h->items[i] == t);
    Timer *last = h->items[h->n - 1];
    set_count(h, h->n - 1);
    if (last != t) {
        heap_place(h, i, last);
        heap_up(h, i);
        heap_down(h, last->heap_index);
    }
    set_expire(t, -1);
}

/* ---- the wall clock's jumps ---- */
static void host_jumped(void *opaque)
{
    TimerSet *ts = opaque;
    uint64_t n;
    if (read(ts->host_fd, &n, sizeof(n)) < 0 && errno == EAGAIN) {
        return;
    }
    /* Far in the future, only to be told when somebody sets the clock. */
    struct itimerspec far = {.it_value = {.tv_sec = INT32_MAX}};
    timerfd_settime(ts->host_fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &far, NULL);
}

static void watch_host_clock(void *opaque)
{
    EventLoop *loop = opaque;
    TimerSet *ts = loop_timers(loop);
    if (ts->host_fd >= 0) {
        return;
    }
    ts->host_fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (ts->host_fd >= 0) {
        struct itimerspec far = {.it_value = {.tv_sec = INT32_MAX}};
        timerfd_settime(ts->host_fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &far, NULL);
        loop_watch_fd(loop, ts->host_fd, host_jumped, NULL, ts);
    }
}

/* ---- public ---- */
void timer_init(Timer *t, EventLoop *loop, ClockType clock, void (*fn)(void *), void *opaque)
{
    *t = (Timer){.loop = loop, .clock = clock, .fn = fn, .opaque = opaque, .expire = -1};
}

/* The guest's time stands, and only a start (of which the loops are told) will change that. */
static bool stands(const ClockSet *cs, ClockType clock)
{
    return clock != CLOCK_RT && clock != CLOCK_HOST && !clock_is_running(cs) &&
           !clock_is_manual(cs);
}

/* The moment on CLOCK_RT at which `expire` of `clock` will come, as far as known now. */
static int64_t to_rt(const EventLoop *loop, const ClockSet *cs, ClockType clock, int64_t expire)
{
    if (clock == CLOCK_RT) {
        return expire;
    }
    if (clock != CLOCK_HOST && clock_is_driven(cs) && !loop_is_control(loop)) {
        return INT64_MAX;
    }
    int64_t now = clock_now(cs, clock);
    if (stands(cs, clock) || (clock != CLOCK_HOST && expire > now && clock_is_manual(cs))) {
        return INT64_MAX;
    }
    int64_t rt = clock_now(cs, CLOCK_RT), when;
    if (expire <= now) {
        return rt;
    }
    return __builtin_add_overflow(rt, expire - now, &when) ? INT64_MAX : when;
}

void timer_mod(Timer *t, int64_t expire_ns)
{
    TimerSet *ts = loop_timers(t->loop);
    TimerHeap *h = &ts->heaps[t->clock];
    bool wake = false, need_host;
    if (expire_ns < 0) {
        expire_ns = 0; /* long past: due at once */
    }
    pthread_mutex_lock(&ts->lock);
    if (t->expire != expire_ns) {
        if (t->expire >= 0) {
            set_expire(t, expire_ns);
            heap_up(h, t->heap_index);
            heap_down(h, t->heap_index);
        } else {
            set_expire(t, expire_ns);
            heap_insert(h, t);
        }
        wake = h->items[0] == t && ts->asleep_until != INT64_MIN &&
               to_rt(t->loop, loop_clocks(t->loop), t->clock, expire_ns) < ts->asleep_until;
    }
    need_host = t->clock == CLOCK_HOST && ts->host_fd < 0;
    pthread_mutex_unlock(&ts->lock);
    if (need_host) {
        loop_defer(t->loop, watch_host_clock, t->loop);
    } else if (wake) {
        loop_notify(t->loop);
    }
}

void timer_del(Timer *t)
{
    TimerSet *ts = loop_timers(t->loop);
    pthread_mutex_lock(&ts->lock);
    if (t->expire >= 0) {
        heap_remove(&ts->heaps[t->clock], t);
    }
    pthread_mutex_unlock(&ts->lock);
}

void timer_fini(Timer *t)
{
    if (t->loop) {
        timer_del(t);
        t->loop = NULL;
    }
}

int64_t timer_expire(const Timer *t)
{
    return t->loop ? __atomic_load_n(&t->expire, __ATOMIC_RELAXED) : -1;
}

bool timer_pending(const Timer *t)
{
    return timer_expire(t) >= 0;
}

int64_t loop_next_deadline(EventLoop *loop)
{
    TimerSet *ts = loop_timers(loop);
    pthread_mutex_lock(&ts->lock);
    TimerHeap *h = &ts->heaps[CLOCK_VIRTUAL];
    int64_t when = h->n ? h->items[0]->expire : -1;
    h = &ts->heaps[CLOCK_VIRTUAL_RT];
    if (h->n && (when < 0 || h->items[0]->expire < when)) {
        when = h->items[0]->expire;
    }
    pthread_mutex_unlock(&ts->lock);
    return when;
}

bool timer_set_virtual_due(TimerSet *ts, const ClockSet *cs)
{
    int64_t now = clock_virtual(cs);
    bool due = false;
    pthread_mutex_lock(&ts->lock);
    for (unsigned c = 0; c < CLOCK_TYPES; c++) {
        if (c != CLOCK_RT && c != CLOCK_HOST) {
            due |= ts->heaps[c].n && ts->heaps[c].items[0]->expire <= now;
        }
    }
    pthread_mutex_unlock(&ts->lock);
    return due;
}

void loop_run_timers(EventLoop *loop)
{
    timer_set_run(loop_timers(loop), loop_clocks(loop), 1 << CLOCK_VIRTUAL | 1 << CLOCK_VIRTUAL_RT,
                  NULL);
}

/* ---- for the loop ---- */
int64_t timer_set_sleep(TimerSet *ts, const ClockSet *cs, int64_t limit)
{
    int64_t when = INT64_MAX;
    pthread_mutex_lock(&ts->lock);
    for (unsigned c = 0; c < CLOCK_TYPES; c++) {
        if (ts->heaps[c].n) {
            const Timer *t = ts->heaps[c].items[0];
            int64_t rt = to_rt(t->loop, cs, c, t->expire);
            when = rt < when ? rt : when;
        }
    }
    ts->asleep_until = when < limit ? when : limit;
    pthread_mutex_unlock(&ts->lock);
    return when;
}

void timer_set_awake(TimerSet *ts)
{
    pthread_mutex_lock(&ts->lock);
    ts->asleep_until = INT64_MIN;
    pthread_mutex_unlock(&ts->lock);
}

/* The earliest timer of one clock that was due at `now`, taken off the heap. */
static Timer *take_due(TimerSet *ts, unsigned clock, int64_t now)
{
    pthread_mutex_lock(&ts->lock);
    TimerHeap *h = &ts->heaps[clock];
    Timer *t = h->n && h->items[0]->expire <= now ? h->items[0] : NULL;
    if (t) {
        heap_remove(h, t);
    }
    pthread_mutex_unlock(&ts->lock);
    return t;
}

bool timer_set_run(TimerSet *ts, const ClockSet *cs, unsigned mask, EventLoop *breathing)
{
    bool ran = false;
    for (unsigned c = 0; c < CLOCK_TYPES; c++) {
        if (!(mask & (1u << c)) || !__atomic_load_n(&ts->heaps[c].n, __ATOMIC_RELAXED)) {
            continue;
        }
        if (stands(cs, c)) {
            continue;
        }
        int64_t now = clock_now(cs, c);
        Timer *t;
        /* A guest may program a period of (nearly) nothing: others get their turn, too. */
        for (unsigned i = 0; i < 1000 && (t = take_due(ts, c, now)); i++) {
            lock_check_note(t->fn, NULL);
            t->fn(t->opaque);
            ran = true;
            if (breathing) {
                loop_yield(breathing);
            }
        }
    }
    return ran;
}
