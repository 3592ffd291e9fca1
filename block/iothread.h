/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block/iothread.h: `-object iothread`: one more device loop.  A device or an export given one
 * belongs to that loop and contends with no other.  Control thread.
 *
 * It lives among the disks because disks are what it is for; its clocks are those of the block
 * graph, so that it serves a machine and a tool without one alike.
 */
#ifndef RHEA_BLOCK_IOTHREAD_H
#define RHEA_BLOCK_IOTHREAD_H

#include "event/loop.h"
#include "qom/object.h"

#define TYPE_IOTHREAD "iothread"

typedef struct IoThread {
    Object obj;
    EventLoop *loop; /* running, once the object is complete */
    int tid;
    unsigned max_batch; /* aio-max-batch, 0: no limit */
} IoThread;

/* The object `id` below /objects of the tree of `any`; borrowed. */
IoThread *iothread_find(Object *any, const char *id, Error **errp);

#endif
