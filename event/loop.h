/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * event/loop.h: an event loop: descriptors, timers, deferred calls, and the
 * lock of the devices that belong to it.
 *
 * A machine has a control loop (main thread), a platform loop (a thread of its
 * own) and one loop per `iothread` object.  THE LOCKING RULE: a device belongs
 * to one loop, and whoever touches the device holds that loop's lock.  The loop
 * holds its own lock while it runs callbacks and drops it while it waits; a
 * vCPU takes it around each access to the device (the memory dispatcher does
 * this).  Locks are held for microseconds; nothing that blocks runs under one.
 */
#ifndef RHEA_EVENT_LOOP_H
#define RHEA_EVENT_LOOP_H

#include "event/clock.h"
#include "util/error.h"
#include "util/threadpool.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

typedef struct EventLoop EventLoop;

/* `name` is for logs and thread names; `clocks` must outlive the loop. */
EventLoop *loop_new(const char *name, ClockSet *clocks, Error **errp);
void loop_free(EventLoop *loop);
/*
 * Marks the machine's control loop: its lock comes before every device loop's in the
 * order, so holding it does not stand in the way of loop_lock_foreign().
 */
void loop_set_control(EventLoop *loop);
const char *loop_name(const EventLoop *loop);
ClockSet *loop_clocks(const EventLoop *loop);

/* Runs on the calling thread until loop_quit(). */
void loop_run(EventLoop *loop);
/* One round; waits for at most timeout_ns (-1: for ever). true if anything ran. */
bool loop_poll(EventLoop *loop, int64_t timeout_ns);
/*
 * Rounds until a callback of this loop has set *done: like loop_poll() again and again, but a
 * round's requests are submitted in the system call that waits for them.
 */
void loop_run_until(EventLoop *loop, const bool *done);
void loop_quit(EventLoop *loop); /* any thread */
/* Starts a thread that runs the loop; stop waits for its end. */
bool loop_start_thread(EventLoop *loop, Error **errp);
void loop_stop_thread(EventLoop *loop);
/* Does some thread run it (loop_run(), or a thread of its own)?  Else nobody would come. */
bool loop_is_served(const EventLoop *loop);
/* Does the calling thread run this loop right now? */
bool loop_is_current(const EventLoop *loop);
/* The loop the calling thread runs, or NULL (vCPU threads, workers). */
EventLoop *loop_current(void);

/*
 * The device lock.  May be taken recursively by its holder (DMA from one device
 * into another of the same loop).  loop_lock_foreign() is for the memory
 * dispatcher: it takes the lock unless this thread holds another loop's lock,
 * in which case waiting could deadlock and it returns false.
 */
void loop_lock(EventLoop *loop);
void loop_unlock(EventLoop *loop);
bool loop_lock_held(const EventLoop *loop);
bool loop_lock_foreign(EventLoop *loop);
/*
 * In a long operation under the lock, at a point where everything is in order: others get it
 * for a moment if they wait.  Does nothing if the lock was taken more than once, or
 * another loop's after it.  What the lock guards may have changed afterwards.
 */
void loop_yield(EventLoop *loop);
/*
 * The holder declares that this hold may be long: making, resetting and removing devices,
 * which the control thread does while the guest waits.  Holds not declared so are held for
 * microseconds; builds with lock_check= watch that (event/lock-check.h).
 */
void loop_allow_long(EventLoop *loop);
#define LOOP_LOCK_GUARD(loop) \
    __attribute__((cleanup(loop_unlock_guard))) EventLoop *loop_guard_ = loop_lock_guard(loop)
static inline EventLoop *loop_lock_guard(EventLoop *loop)
{
    loop_lock(loop);
    return loop;
}
static inline void loop_unlock_guard(EventLoop **loop)
{
    loop_unlock(*loop);
}

/* ---- descriptors ---- */
typedef void FdFn(void *opaque);
/*
 * Calls `readable`/`writable` (either may be NULL) when `fd` is ready; both NULL
 * removes it (before the descriptor is closed).  Level-triggered.  Under the loop's lock,
 * or before it runs.  Plain files, which are always ready, are fine.
 */
void loop_watch_fd(EventLoop *loop, int fd, FdFn *readable, FdFn *writable, void *opaque);

/* ---- deferred calls ---- */
typedef void DeferFn(void *opaque);
/* Runs fn(opaque) once on the loop's thread, under its lock, soon. Any thread. */
void loop_defer(EventLoop *loop, DeferFn *fn, void *opaque);
/* Drops calls not yet made with this opaque. Under the loop's lock. */
void loop_defer_cancel(EventLoop *loop, void *opaque);
/*
 * Runs fn(opaque) on the loop's thread and waits for its end.  From the control
 * thread to device loops only; runs directly when called on that loop's thread.
 */
void loop_call(EventLoop *loop, DeferFn *fn, void *opaque);

/* ---- timers ---- */
typedef struct Timer {
    EventLoop *loop;
    ClockType clock;
    void (*fn)(void *opaque);
    void *opaque;
    int64_t expire; /* ns, or -1: not armed */
    unsigned heap_index;
} Timer;
/* A timer is a field of its owner. */
void timer_init(Timer *t, EventLoop *loop, ClockType clock, void (*fn)(void *), void *opaque);
/* Arms (or moves) to the absolute time. Any thread; `fn` runs on the loop, locked. */
void timer_mod(Timer *t, int64_t expire_ns);
void timer_del(Timer *t);
bool timer_pending(const Timer *t);
int64_t timer_expire(const Timer *t); /* -1 if not armed */
/* Disarms and detaches; idempotent, fine on a zeroed Timer. */
void timer_fini(Timer *t);
/* For manual clocks: runs every CLOCK_VIRTUAL timer due by now, in order. Locked. */
void loop_run_timers(EventLoop *loop);
/* The earliest armed CLOCK_VIRTUAL timer, or -1. */
int64_t loop_next_deadline(EventLoop *loop);

/* ---- asynchronous file I/O: io_uring, Linux AIO, or worker threads ---- */
typedef enum AioOp {
    AIO_READ,
    AIO_WRITE,
    AIO_FSYNC,    /* data and what is needed to reach it */
    AIO_DISCARD,  /* punch a hole */
    AIO_ZERO,     /* zero, keeping allocation unless `unmap` */
    AIO_TRUNCATE, /* the file gets `len` bytes */
} AioOp;
typedef struct AioRequest {
    AioOp op;
    int fd;
    const struct iovec *iov; /* valid until done */
    unsigned niov;
    uint64_t offset, len;
    bool unmap;
    bool fua; /* AIO_WRITE: durable when done */
    /* As many that wait in the loop go to the kernel at once (0: the engine decides). */
    unsigned max_batch;
    /* On the loop's thread, locked: bytes moved (short reads were resubmitted;
     * less than asked means end of file), or -errno. */
    void (*done)(struct AioRequest *req, int64_t result);
    void *priv; /* the loop's own */
} AioRequest;
typedef enum AioEngine { AIO_ENGINE_IO_URING, AIO_ENGINE_THREADS, AIO_ENGINE_NATIVE } AioEngine;
/* Can the loop have this engine?  The error says why not and what else there is. */
bool loop_aio_available(EventLoop *loop, AioEngine engine, Error **errp);
/* A limit for max_batch of all requests (0: none). */
void loop_set_aio_batch(EventLoop *loop, unsigned max_batch);
unsigned loop_aio_batch(const EventLoop *loop);
/*
 * Never fails synchronously: what an engine does not do, or one that is not to be had, is
 * done by worker threads.  On the loop's thread or under its lock.
 */
void loop_aio_submit(EventLoop *loop, AioEngine engine, AioRequest *req);
/* Fiber form of the same: yields until done, returns the result; `done`, `priv` are not used. */
int64_t loop_aio(EventLoop *loop, AioEngine engine, const AioRequest *what);
/*
 * May a request of `bytes` be done on the spot, without waiting, by the loop's thread?  There is a
 * limit for each round, so that one who finds all in memory leaves time for others.
 */
bool loop_spend(EventLoop *loop, size_t bytes);
/*
 * No asynchronous request is under way and no deferred call waits: who may block at all keeps
 * nothing else from being done.  Under the loop's lock.
 */
bool loop_is_idle(EventLoop *loop);
ThreadPool *loop_thread_pool(EventLoop *loop);

#endif
