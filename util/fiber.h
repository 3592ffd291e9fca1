/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * util/fiber.h: stackful coroutines, so that block code reads top to bottom.
 *
 * A fiber runs on whichever thread enters it, and only one thread at a time.
 * Stacks (256 KiB, with a guard page) are pooled per thread.  Knows nothing of
 * event loops: waking a fiber up again is the business of whoever it waits for.
 */
#ifndef RHEA_UTIL_FIBER_H
#define RHEA_UTIL_FIBER_H

#include <glib.h>
#include <stdbool.h>

typedef struct Fiber Fiber;
typedef void FiberFn(void *opaque);

/* A new fiber that will run fn(opaque) when first entered. Never fails. */
Fiber *fiber_new(FiberFn *fn, void *opaque);
/* Runs `f` until it yields or ends; it frees itself at the end. */
void fiber_enter(Fiber *f);
/* Back to whoever entered. Only inside a fiber. */
void fiber_yield(void);
/* The running fiber, or NULL outside of any. */
Fiber *fiber_self(void);
bool fiber_in(void);

/* A mutex among fibers of any loop; waiting yields.  First come, first served. */
typedef struct FiberMutex {
    bool locked;
    GQueue waiters;
    GMutex guard;
} FiberMutex;
void fiber_mutex_init(FiberMutex *m);
void fiber_mutex_destroy(FiberMutex *m);
void fiber_mutex_lock(FiberMutex *m);
void fiber_mutex_unlock(FiberMutex *m);

/* A queue of fibers waiting for a condition that is guarded by their loop. */
typedef struct FiberQueue {
    GQueue waiters;
} FiberQueue;
void fiber_queue_init(FiberQueue *q);
void fiber_queue_wait(FiberQueue *q);
/* Wakes the first (all) in the order of their arrival; true if there was one. */
bool fiber_queue_wake(FiberQueue *q);
void fiber_queue_wake_all(FiberQueue *q);

#endif
