/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * io_uring: reads, writes and syncs of a loop.
 *
 * While requests are under way the loop waits in the ring, in the same system call that submits
 * them: a completion would interrupt epoll_wait() first and end it at the second try.
 * For the loop's descriptors the ring then watches the epoll descriptor (a request that is asked for
 * anew after each event).  With no requests under way the loop waits for descriptors only, and
 * whoever submits one meanwhile wakes it.
 *
 * Submission entries, completions and counters are under the loop's lock.  The wait is not: it
 * only reads the ring's indices, and the kernel lets several threads enter at once.
 */
#include "config.h"
#include "event/aio-internal.h"

#include <errno.h>
#include <limits.h>

#ifdef CONFIG_LIBURING
#include <liburing.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RING_ENTRIES 128

struct AioRing {
    EventLoop *loop;
    struct io_uring ring;
    unsigned in_kernel; /* or submitted with the next wait; written under the lock, atomic */
    unsigned waiters;   /* threads in aio_ring_wait(); atomic */
    bool watching;      /* the loop's descriptors */
    OpQueue backlog;
};

AioRing *aio_ring_new(EventLoop *loop, int *err)
{
    AioRing *r = g_new0(AioRing, 1);
    int e = io_uring_queue_init(RING_ENTRIES, &r->ring, 0);
    if (e == 0 && !(r->ring.features & IORING_FEAT_EXT_ARG)) { /* Linux before 5.11 */
        io_uring_queue_exit(&r->ring);
        e = -ENOSYS;
    }
    if (e < 0) {
        *err = -e;
        g_free(r);
        return NULL;
    }
    r->loop = loop;
    op_queue_init(&r->backlog);
    return r;
}

void aio_ring_free(AioRing *r)
{
    if (r) {
        io_uring_queue_exit(&r->ring);
        g_free(r);
    }
}

/* ---- submission ---- */

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

/* Shown to the kernel and not yet taken by it. */
static unsigned unsubmitted(const AioRing *r)
{
    const struct io_uring_sq *sq = &r->ring.sq;
    return __atomic_load_n(sq->ktail, __ATOMIC_ACQUIRE) -
           __atomic_load_n(sq->khead, __ATOMIC_ACQUIRE);
}

unsigned aio_ring_queued(const AioRing *r)
{
    return r->backlog.n + unsubmitted(r);
}

static int enter(const AioRing *r, unsigned submit, unsigned wait, unsigned flags,
                 struct io_uring_getevents_arg *arg)
{
    long n = syscall(__NR_io_uring_enter, r->ring.ring_fd, submit, wait, flags, arg,
                     arg ? sizeof(*arg) : 0);
    return n < 0 ? -errno : (int)n;
}

/* Shows the entries made to the kernel, which does not look at them before it is entered. */
static void publish(AioRing *r)
{
    struct io_uring_sq *sq = &r->ring.sq;
    unsigned mask = *sq->kring_mask;
    for (; sq->sqe_head != sq->sqe_tail; sq->sqe_head++) {
        if (sq->array) {
            sq->array[sq->sqe_head & mask] = sq->sqe_head & mask;
        }
    }
    __atomic_store_n(sq->ktail, sq->sqe_tail, __ATOMIC_RELEASE);
}

/* As many entries as there is room for; the first one watches the descriptors if need be. */
static void fill(AioRing *r)
{
    struct io_uring_sqe *sqe;
    unsigned n = r->in_kernel;
    bool wanted = n || r->backlog.first || __atomic_load_n(&r->waiters, __ATOMIC_SEQ_CST);
    if (wanted && !r->watching && (sqe = io_uring_get_sqe(&r->ring)) != NULL) {
        io_uring_prep_poll_add(sqe, loop_epoll_fd(r->loop), POLLIN);
        io_uring_sqe_set_data(sqe, NULL);
        r->watching = true;
    }
    /* Never more in the kernel than its completion queue holds. */
    while (r->backlog.first && n < RING_ENTRIES && (sqe = io_uring_get_sqe(&r->ring)) != NULL) {
        prepare(sqe, op_queue_take(&r->backlog));
        n++;
    }
    publish(r);
    __atomic_store_n(&r->in_kernel, n, __ATOMIC_SEQ_CST);
    if (n && loop_asleep(r->loop)) {
        loop_notify(r->loop); /* it waits for descriptors only */
    }
}

void aio_ring_submit(AioRing *r, bool wait_follows)
{
    fill(r);
    for (unsigned n; !wait_follows && (n = unsubmitted(r)) != 0;) {
        int ret = enter(r, n, 0, 0, NULL);
        if (ret <= 0 && ret != -EINTR) {
            return; /* EAGAIN, EBUSY: again after the next completion or round */
        }
        fill(r);
    }
}

/* ---- waiting and completions ---- */

static unsigned completions(const AioRing *r)
{
    const struct io_uring_cq *cq = &r->ring.cq;
    return __atomic_load_n(cq->ktail, __ATOMIC_ACQUIRE) -
           __atomic_load_n(cq->khead, __ATOMIC_ACQUIRE);
}

/* Submits `n` entries and waits for a completion. */
static void enter_and_wait(const AioRing *r, unsigned n, int64_t timeout_ns)
{
    const unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
    struct __kernel_timespec ts = {.tv_sec = timeout_ns / NS_PER_SEC,
                                   .tv_nsec = timeout_ns % NS_PER_SEC};
    struct io_uring_getevents_arg arg = {.ts = timeout_ns > 0 ? (uintptr_t)&ts : 0};
    int ret = enter(r, n, 1, flags, &arg);
    if (ret == -EAGAIN || ret == -EBUSY || ret == -ENOMEM) {
        /* The kernel is short of something, which what is under way may give back. */
        ts = (struct __kernel_timespec){.tv_nsec = NS_PER_MS};
        arg.ts = (uintptr_t)&ts;
        enter(r, 0, 1, flags, &arg);
    }
}

bool aio_ring_wait(AioRing *r, int64_t timeout_ns)
{
    /* Who takes the last completion out of the ring sees who still waits there, or is seen here. */
    __atomic_add_fetch(&r->waiters, 1, __ATOMIC_SEQ_CST);
    bool here = __atomic_load_n(&r->in_kernel, __ATOMIC_SEQ_CST) && timeout_ns != 0;
    unsigned n = unsubmitted(r);
    if (here && !completions(r)) {
        loop_set_asleep(r->loop, false);
        enter_and_wait(r, n, timeout_ns);
        loop_set_asleep(r->loop, true);
    } else if (n) {
        enter(r, n, 0, 0, NULL);
    }
    __atomic_sub_fetch(&r->waiters, 1, __ATOMIC_SEQ_CST);
    return here;
}

bool aio_ring_reap(AioRing *r, bool *descriptors)
{
    struct io_uring_cqe *cqe;
    bool any = false;
    /* A bounded number per round, so that timers and other descriptors get their turn. */
    for (unsigned i = 0; i < 2 * RING_ENTRIES && completions(r); i++) {
        unsigned head = *r->ring.cq.khead;
        cqe = &r->ring.cq.cqes[head & *r->ring.cq.kring_mask];
        Op *op = io_uring_cqe_get_data(cqe);
        int64_t step = cqe->res, result;
        io_uring_cq_advance(&r->ring, 1);
        if (!op) {
            r->watching = false;
            *descriptors = true;
            continue;
        }
        any = true;
        __atomic_store_n(&r->in_kernel, r->in_kernel - 1, __ATOMIC_SEQ_CST);
        if (op_step(op, step, &result)) {
            op_done(op, result);
        } else {
            op_queue_put(&r->backlog, op);
        }
    }
    return any;
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

void aio_ring_submit(AioRing *r, bool wait_follows)
{
}

bool aio_ring_wait(AioRing *r, int64_t timeout_ns)
{
    return false;
}

bool aio_ring_reap(AioRing *r, bool *descriptors)
{
    return false;
}
#endif
