/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io_uring: reads, writes and syncs of a loop. */
#include "config.h"
#include "event/aio-internal.h"

#include <errno.h>
#include <limits.h>

#ifdef CONFIG_LIBURING
#include <liburing.h>

#define RING_ENTRIES 128

struct AioRing {
    EventLoop *loop;
    struct io_uring ring;
    unsigned unsubmitted, in_kernel;
    OpQueue backlog;
};

static void ring_ready(void *opaque);

AioRing *aio_ring_new(EventLoop *loop, int *err)
{
    AioRing *r = g_new0(AioRing, 1);
    int e = io_uring_queue_init(RING_ENTRIES, &r->ring, 0);
    if (e < 0) {
        *err = -e;
        g_free(r);
        return NULL;
    }
    r->loop = loop;
    op_queue_init(&r->backlog);
    loop_watch_fd(loop, r->ring.ring_fd, ring_ready, NULL, r);
    return r;
}

void aio_ring_free(AioRing *r)
{
    if (r) {
        loop_watch_fd(r->loop, r->ring.ring_fd, NULL, NULL, NULL);
        io_uring_queue_exit(&r->ring);
        g_free(r);
    }
}

static void prepare(struct io_uring_sqe *sqe, Op *op)
{
    const AioRequest *r = op->req;
    uint64_t at = r->offset + (uint64_t)op->moved;
    unsigned n = op->rest.n < IOV_MAX ? op->rest.n : IOV_MAX;
    switch (r->op) {
    case AIO_READ:
        io_uring_prep_readv(sqe, r->fd, op->rest.iov, n, at);
        break;
    case AIO_WRITE:
        io_uring_prep_writev2(sqe, r->fd, op->rest.iov, n, at, r->fua ? RWF_DSYNC : 0);
        break;
    default:
        io_uring_prep_fsync(sqe, r->fd, IORING_FSYNC_DATASYNC);
        break;
    }
    io_uring_sqe_set_data(sqe, op);
}

void aio_ring_queue(AioRing *r, Op *op)
{
    op_queue_put(&r->backlog, op);
}

unsigned aio_ring_queued(const AioRing *r)
{
    return r->backlog.n + r->unsubmitted;
}

/* Moves the backlog into free submission entries and those to the kernel. */
void aio_ring_submit(AioRing *r)
{
    for (;;) {
        /* Never more in the kernel than its completion queue holds. */
        while (r->backlog.first && r->in_kernel < RING_ENTRIES) {
            struct io_uring_sqe *sqe = io_uring_get_sqe(&r->ring);
            if (!sqe) {
                break;
            }
            prepare(sqe, op_queue_take(&r->backlog));
            r->unsubmitted++;
            r->in_kernel++;
        }
        if (!r->unsubmitted) {
            return;
        }
        int n = io_uring_submit(&r->ring);
        if (n > 0) {
            r->unsubmitted -= (unsigned)n;
        } else if (n != -EINTR) {
            return; /* EAGAIN, EBUSY: again after the next completion or round */
        }
    }
}

static void ring_ready(void *opaque)
{
    AioRing *r = opaque;
    struct io_uring_cqe *cqe;
    /* A bounded number per round, so that timers and other descriptors get their turn. */
    for (unsigned i = 0; i < 2 * RING_ENTRIES && io_uring_peek_cqe(&r->ring, &cqe) == 0; i++) {
        Op *op = io_uring_cqe_get_data(cqe);
        int64_t step = cqe->res, result;
        io_uring_cqe_seen(&r->ring, cqe);
        r->in_kernel--;
        if (op_step(op, step, &result)) {
            op_done(op, result);
        } else {
            op_queue_put(&r->backlog, op);
        }
    }
    aio_ring_submit(r);
}

#else
AioRing *aio_ring_new(EventLoop *loop, int *err)
{
    *err = ENOSYS;
    return NULL;
}

void aio_ring_free(AioRing *r)
{
}

void aio_ring_queue(AioRing *r, Op *op)
{
    op_to_worker(op);
}

unsigned aio_ring_queued(const AioRing *r)
{
    return 0;
}

void aio_ring_submit(AioRing *r)
{
}
#endif
