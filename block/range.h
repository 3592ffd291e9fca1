/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block/range.h: locks on ranges of a disk, for fibers of one loop: requests that may run
 * side by side hold theirs shared, whoever must be alone with a range holds it exclusively.
 */
#ifndef RHEA_BLOCK_RANGE_H
#define RHEA_BLOCK_RANGE_H

#include "util/fiber.h"

#include <stdint.h>

typedef struct RangeLock {
    GQueue held; /* RangeHold* */
    FiberQueue waits;
} RangeLock;

typedef struct RangeHold { /* lies on the holder's stack */
    uint64_t start, end;
    bool exclusive;
    GList link;
} RangeHold;

static inline void range_lock_init(RangeLock *l)
{
    g_queue_init(&l->held);
    fiber_queue_init(&l->waits);
}

static inline bool range_lock_conflict(RangeLock *l, const RangeHold *h)
{
    for (GList *i = l->held.head; i; i = i->next) {
        const RangeHold *o = i->data;
        if (o->start < h->end && h->start < o->end && (o->exclusive || h->exclusive)) {
            return true;
        }
    }
    return false;
}

/* Waits (a fiber) while somebody holds a part of [off, off + len) who does not share it. */
static inline void range_lock(RangeLock *l, RangeHold *h, uint64_t off, uint64_t len,
                              bool exclusive)
{
    *h = (RangeHold){.start = off, .end = off + len, .exclusive = exclusive};
    while (range_lock_conflict(l, h)) {
        fiber_queue_wait(&l->waits);
    }
    h->link.data = h;
    g_queue_push_tail_link(&l->held, &h->link);
}

static inline void range_unlock(RangeLock *l, RangeHold *h)
{
    g_queue_unlink(&l->held, &h->link);
    fiber_queue_wake_all(&l->waits);
}

#endif
