/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Claims on ranges of the guest's disk, first come, first served. */
#include "block/qcow2/qcow2.h"

static bool conflicts(const Qcow2Range *a, const Qcow2Range *b)
{
    return a->start < b->end && b->start < a->end && (a->exclusive || b->exclusive);
}

/* Does anything that came before stand in the way, at work or waiting? */
static bool blocked(Qcow2 *s, const Qcow2Range *r)
{
    for (GList *l = s->ranges.head; l && l->data != r; l = l->next) {
        if (conflicts(l->data, r)) {
            return true;
        }
    }
    return false;
}

void qcow2_range_begin(Qcow2 *s, Qcow2Range *r, uint64_t off, uint64_t len, bool exclusive)
{
    r->start = qcow2_cluster_start(s, off);
    r->end = ALIGN_UP(off + len, s->cluster_size);
    r->exclusive = exclusive;
    g_queue_push_tail(&s->ranges, r);
    while (blocked(s, r)) {
        fiber_queue_wait(&s->range_wait);
    }
}

void qcow2_range_end(Qcow2 *s, Qcow2Range *r)
{
    g_queue_remove(&s->ranges, r);
    fiber_queue_wake_all(&s->range_wait);
}
