/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * event/event-internal.h: what the files of this room know of each other.  Not
 * for other rooms.
 */
#ifndef RHEA_EVENT_INTERNAL_H
#define RHEA_EVENT_INTERNAL_H

#include "event/loop.h"

#include <glib.h>
#include <pthread.h>

typedef struct AioContext AioContext;

/* ---- clock.c ---- */
bool clock_is_running(const ClockSet *cs);
/* CLOCK_VIRTUAL has a source: see clock_virtual_source(). */
bool clock_is_driven(const ClockSet *cs);
/* The set wakes its loops when virtual time starts, stops or steps. */
void clock_set_join(ClockSet *cs, EventLoop *loop);
void clock_set_leave(ClockSet *cs, EventLoop *loop);

/* ---- loop.c ---- */
/* Makes a waiting loop look at its queues again. Any thread; cheap when already noted. */
void loop_notify(EventLoop *loop);
/* What it waits on for its descriptors. */
int loop_epoll_fd(const EventLoop *loop);
/* Does a thread wait for descriptors (or is about to), and not for requests of io_uring? */
bool loop_asleep(const EventLoop *loop);
/* Counts the calling thread as one that does, or no longer. */
void loop_set_asleep(EventLoop *loop, bool asleep);
bool loop_is_control(const EventLoop *loop);
/* Has it deferred calls, or (`timers`) virtual timers that are due? */
bool loop_has_work(EventLoop *loop, bool timers);

/* ---- timer.c ---- */
typedef struct TimerHeap {
    Timer **items;
    unsigned n, alloc;
} TimerHeap;
typedef struct TimerSet {
    pthread_mutex_t lock; /* a leaf: guards the heaps and every Timer's expire/heap_index */
    TimerHeap heaps[CLOCK_TYPES];
    int host_fd;          /* timerfd that reports jumps of the wall clock, or -1 */
    int64_t asleep_until; /* CLOCK_RT deadline of the wait under way; INT64_MIN: awake */
} TimerSet;
TimerSet *loop_timers(EventLoop *loop);
void timer_set_init(TimerSet *ts);
void timer_set_fini(TimerSet *ts);
/* The nearest deadline on CLOCK_RT, INT64_MAX if none; notes that the loop sleeps until
 * that or `limit`, whichever is earlier. */
int64_t timer_set_sleep(TimerSet *ts, const ClockSet *cs, int64_t limit);
void timer_set_awake(TimerSet *ts);
/* Is a timer of CLOCK_VIRTUAL due? */
bool timer_set_virtual_due(TimerSet *ts, const ClockSet *cs);
/*
 * Runs what is due on the clocks of `mask` (bit per ClockType), with the lock of `breathing`
 * (or NULL) given up for a moment after each. true if anything ran.
 */
bool timer_set_run(TimerSet *ts, const ClockSet *cs, unsigned mask, EventLoop *breathing);

/* ---- aio.c ---- */
AioContext **loop_aio_slot(EventLoop *loop);
/*
 * Hands queued submissions to the kernel; called before the loop waits.  wait_follows: this very
 * thread calls aio_wait() next, which may do it.  Under the loop's lock.
 */
void aio_flush(AioContext *ctx, bool wait_follows);
/*
 * Waits until a request of io_uring ends or a descriptor of the loop is ready, for at most
 * timeout_ns (-1: for ever).  false: it did not wait (no such request is under way, or the time is
 * 0), and descriptors are to be looked at.  Without the loop's lock.
 */
bool aio_wait(AioContext *ctx, int64_t timeout_ns);
/*
 * Tells the requesters of what io_uring has done; true if there was any.  *descriptors is set if
 * the wait saw the loop's descriptors.  Under the loop's lock, by each round.
 */
bool aio_reap(AioContext *ctx, bool *descriptors);
void aio_free(AioContext *ctx);

#endif
