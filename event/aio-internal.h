/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * event/aio-internal.h: what the engines of asynchronous file I/O share: a request under way,
 * and what takes it one step further.  Only for event/aio*.c.
 *
 * An engine belongs to a loop.  All of it is under that loop's lock.
 */
#ifndef RHEA_EVENT_AIO_INTERNAL_H
#define RHEA_EVENT_AIO_INTERNAL_H

#include "event/event-internal.h"
#include "util/iov.h"

#include <linux/aio_abi.h>

/* A request under way. */
typedef struct Op {
    AioRequest *req;
    EventLoop *loop;
    IoVec rest;      /* what is left of req->iov, which it borrows until something was moved */
    int64_t moved;   /* bytes so far */
    int64_t result;  /* worker threads: the end result */
    struct Op *next; /* in an engine's queue */
    struct iocb iocb;
} Op;

/* ---- requests that wait for their submission, first come, first served ---- */
typedef struct OpQueue {
    Op *first, **tail;
    unsigned n;
} OpQueue;

static inline void op_queue_init(OpQueue *q)
{
    *q = (OpQueue){.tail = &q->first};
}

static inline void op_queue_put(OpQueue *q, Op *op)
{
    op->next = NULL;
    *q->tail = op;
    q->tail = &op->next;
    q->n++;
}

/* The first one, which there must be. */
static inline Op *op_queue_take(OpQueue *q)
{
    Op *op = q->first;
    q->first = op->next;
    if (!q->first) {
        q->tail = &q->first;
    }
    q->n--;
    return op;
}

/* ---- aio.c ---- */
/*
 * Takes one step's result (bytes, or -errno) into account.  true: finished, with *result; false:
 * the rest is to be submitted again.
 */
bool op_step(Op *op, int64_t r, int64_t *result);
/* Tells the requester and frees the operation. */
void op_done(Op *op, int64_t result);
/* All of it, or what is left, is done by a worker thread. */
void op_to_worker(Op *op);

/* ---- aio-ring.c: io_uring ---- */
typedef struct AioRing AioRing;
/* NULL and an errno in *err: the host does not offer it. */
AioRing *aio_ring_new(EventLoop *loop, int *err);
void aio_ring_free(AioRing *ring);
/* Reads, writes and AIO_FSYNC only.  They go to the kernel with aio_ring_submit(). */
void aio_ring_queue(AioRing *ring, Op *op);
/* wait_follows: the next aio_ring_wait() of this thread, which is near, hands them over. */
void aio_ring_submit(AioRing *ring, bool wait_follows);
/* See aio_wait(), aio_reap(). */
bool aio_ring_wait(AioRing *ring, int64_t timeout_ns);
bool aio_ring_reap(AioRing *ring, bool *descriptors);
/* Not yet in the kernel. */
unsigned aio_ring_queued(const AioRing *ring);

/* ---- aio-native.c: Linux AIO ---- */
typedef struct AioNative AioNative;
/* NULL and an errno in *err: the host does not offer it (EAGAIN: no more contexts). */
AioNative *aio_native_new(EventLoop *loop, int *err);
void aio_native_free(AioNative *native);
/* Reads and writes only.  They go to the kernel with aio_native_submit(). */
void aio_native_queue(AioNative *native, Op *op);
void aio_native_submit(AioNative *native);
unsigned aio_native_queued(const AioNative *native);

#endif
