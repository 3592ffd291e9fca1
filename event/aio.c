/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asynchronous file I/O: reads, writes and syncs go to an io_uring of the loop, or
 * to worker threads; what the kernel would hand to a worker of its own anyway
 * (fallocate, truncate) always goes to ours.
 */
#include "config.h"
#include "event/event-internal.h"
#include "util/bits.h"
#include "util/fiber.h"
#include "util/iov.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/uio.h>
#include <unistd.h>
#ifdef CONFIG_LIBURING
#include <liburing.h>
#endif

#define RING_ENTRIES 128

/* A request under way. */
typedef struct Op {
    AioRequest *req;
    EventLoop *loop;
    IoVec rest;      /* what is left of req->iov */
    int64_t moved;   /* bytes so far */
    int64_t result;  /* worker threads: the end result */
    struct Op *next; /* waiting for a free submission entry */
} Op;

struct AioContext {
    EventLoop *loop;
    bool ring_ok, ring_failed;
    int ring_errno;
    unsigned unsubmitted, in_kernel;
    Op *backlog, **backlog_tail; /* the ring was full */
#ifdef CONFIG_LIBURING
    struct io_uring ring;
#endif
};

static AioContext *context(EventLoop *loop)
{
    AioContext **slot = loop_aio_slot(loop);
    if (!*slot) {
        *slot = g_new0(AioContext, 1);
        (*slot)->loop = loop;
        (*slot)->backlog_tail = &(*slot)->backlog;
    }
    return *slot;
}

static bool is_transfer(const Op *op)
{
    return op->req->op == AIO_READ || op->req->op == AIO_WRITE;
}

static void op_done(Op *op, int64_t result)
{
    AioRequest *req = op->req;
    iovec_free(&op->rest);
    g_free(op);
    req->priv = NULL;
    req->done(req, result);
}

/*
 * Takes one step's result into account.  true: finished, with *result; false: the
 * rest is to be submitted again.
 */
static bool op_step(Op *op, int64_t r, int64_t *result)
{
    if (r == -EINTR || r == -EAGAIN) {
        return false;
    }
    if (r < 0 || !is_transfer(op)) {
        *result = r;
        return true;
    }
    op->moved += r;
    *result = op->moved;
    if (r == 0 || (size_t)r >= op->rest.size) {
        return true; /* all of it, or the end of the file */
    }
    IoVec rest = IOVEC_INIT;
    iovec_concat(&rest, &op->rest, (size_t)r, op->rest.size - (size_t)r);
    iovec_free(&op->rest);
    op->rest = rest;
    return false;
}

/* ---- worker threads ---- */
static int64_t work_transfer(Op *op)
{
    const AioRequest *r = op->req;
    int64_t result;
    for (;;) {
        unsigned n = op->rest.n < IOV_MAX ? op->rest.n : IOV_MAX;
        off_t at = (off_t)(r->offset + (uint64_t)op->moved);
        ssize_t got = r->op == AIO_READ
                          ? preadv(r->fd, op->rest.iov, (int)n, at)
                          : pwritev2(r->fd, op->rest.iov, (int)n, at, r->fua ? RWF_DSYNC : 0);
        if (op_step(op, got < 0 ? -errno : got, &result)) {
            return result;
        }
    }
}

static int64_t work_zero(const AioRequest *r)
{
    off_t off = (off_t)r->offset, len = (off_t)r->len;
    if (r->unmap && fallocate(r->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len) == 0) {
        return 0;
    }
    if (fallocate(r->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, off, len) == 0) {
        return 0;
    }
    if (errno != EOPNOTSUPP && errno != ENOSYS) {
        return -errno;
    }
    /* tmpfs, NFS: a hole, filled again so that later writes cannot run out of space. */
    if (fallocate(r->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len) < 0) {
        return errno == EOPNOTSUPP || errno == ENOSYS ? -ENOTSUP : -errno;
    }
    if (!r->unmap && fallocate(r->fd, FALLOC_FL_KEEP_SIZE, off, len) < 0 && errno == ENOSPC) {
        return -errno;
    }
    return 0;
}

static int64_t work_discard(const AioRequest *r)
{
    int e = fallocate(r->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)r->offset,
                      (off_t)r->len);
    if (e < 0) {
        return errno == EOPNOTSUPP || errno == ENOSYS ? -ENOTSUP : -errno;
    }
    return 0;
}

static int work(void *opaque)
{
    Op *op = opaque;
    const AioRequest *r = op->req;
    switch (r->op) {
    case AIO_READ:
    case AIO_WRITE:
        op->result = work_transfer(op);
        break;
    case AIO_FSYNC:
        op->result = fdatasync(r->fd) < 0 ? -errno : 0;
        break;
    case AIO_DISCARD:
        op->result = work_discard(r);
        break;
    case AIO_ZERO:
        op->result = work_zero(r);
        break;
    case AIO_TRUNCATE:
        op->result = ftruncate(r->fd, (off_t)r->len) < 0 ? -errno : 0;
        break;
    }
    return 0;
}

static void work_on_loop(void *opaque)
{
    Op *op = opaque;
    op_done(op, op->result);
}

static void work_done(void *opaque, int result)
{
    Op *op = opaque;
    loop_defer(op->loop, work_on_loop, op);
}

/* ---- io_uring ---- */
#ifdef CONFIG_LIBURING
static void ring_queue(AioContext *ctx, Op *op)
{
    op->next = NULL;
    *ctx->backlog_tail = op;
    ctx->backlog_tail = &op->next;
}

static void ring_prepare(struct io_uring_sqe *sqe, const Op *op)
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
    io_uring_sqe_set_data(sqe, (void *)op);
}

/* Moves the backlog into free submission entries and those to the kernel. */
static void ring_submit(AioContext *ctx)
{
    for (;;) {
        /* Never more in the kernel than its completion queue holds. */
        while (ctx->backlog && ctx->in_kernel < RING_ENTRIES) {
            struct io_uring_sqe *sqe = io_uring_get_sqe(&ctx->ring);
            if (!sqe) {
                break;
            }
            Op *op = ctx->backlog;
            ctx->backlog = op->next;
            if (!ctx->backlog) {
                ctx->backlog_tail = &ctx->backlog;
            }
            ring_prepare(sqe, op);
            ctx->unsubmitted++;
            ctx->in_kernel++;
        }
        if (!ctx->unsubmitted) {
            return;
        }
        int n = io_uring_submit(&ctx->ring);
        if (n > 0) {
            ctx->unsubmitted -= (unsigned)n;
        } else if (n != -EINTR) {
            return; /* EAGAIN, EBUSY: again after the next completion or round */
        }
    }
}

static void ring_ready(void *opaque)
{
    AioContext *ctx = opaque;
    struct io_uring_cqe *cqe;
    /* A bounded number per round, so that timers and other descriptors get their turn. */
    for (unsigned i = 0; i < 2 * RING_ENTRIES && io_uring_peek_cqe(&ctx->ring, &cqe) == 0; i++) {
        Op *op = io_uring_cqe_get_data(cqe);
        int64_t r = cqe->res, result;
        io_uring_cqe_seen(&ctx->ring, cqe);
        ctx->in_kernel--;
        if (op_step(op, r, &result)) {
            op_done(op, result);
        } else {
            ring_queue(ctx, op);
        }
    }
    ring_submit(ctx);
}

static bool ring_start(AioContext *ctx)
{
    if (ctx->ring_ok || ctx->ring_failed) {
        return ctx->ring_ok;
    }
    int e = io_uring_queue_init(RING_ENTRIES, &ctx->ring, 0);
    if (e < 0) {
        ctx->ring_failed = true;
        ctx->ring_errno = -e;
        return false;
    }
    ctx->ring_ok = true;
    loop_watch_fd(ctx->loop, ctx->ring.ring_fd, ring_ready, NULL, ctx);
    return true;
}
#endif

void aio_flush(AioContext *ctx)
{
#ifdef CONFIG_LIBURING
    if (ctx && ctx->ring_ok && (ctx->backlog || ctx->unsubmitted)) {
        ring_submit(ctx);
    }
#endif
}

void aio_free(AioContext *ctx)
{
#ifdef CONFIG_LIBURING
    if (ctx && ctx->ring_ok) {
        loop_watch_fd(ctx->loop, ctx->ring.ring_fd, NULL, NULL, NULL);
        io_uring_queue_exit(&ctx->ring);
    }
#endif
    g_free(ctx);
}

/* ---- public ---- */
bool loop_aio_available(EventLoop *loop, AioEngine engine, Error **errp)
{
    switch (engine) {
    case AIO_ENGINE_THREADS:
        return true;
    case AIO_ENGINE_IO_URING:
#ifdef CONFIG_LIBURING
    {
        LOOP_LOCK_GUARD(loop);
        AioContext *ctx = context(loop);
        if (ring_start(ctx)) {
            return true;
        }
        error_set_errno(errp, ctx->ring_errno, "io_uring is not available on this host");
        error_hint(errp, "use aio=threads");
        return false;
    }
#else
        error_set(errp, "This program was built without io_uring");
        error_hint(errp, "use aio=threads, or build with liburing (package liburing-dev)");
        return false;
#endif
    default:
        error_set(errp, "aio=native (Linux AIO) is not supported");
        error_hint(errp, "use aio=io_uring or aio=threads");
        return false;
    }
}

void loop_aio_submit(EventLoop *loop, AioEngine engine, AioRequest *req)
{
    Op *op = g_new0(Op, 1);
    op->req = req;
    op->loop = loop;
    req->priv = op;
    if (is_transfer(op)) {
        for (unsigned i = 0; i < req->niov; i++) {
            iovec_add(&op->rest, req->iov[i].iov_base, req->iov[i].iov_len);
        }
    }
#ifdef CONFIG_LIBURING
    if (engine == AIO_ENGINE_IO_URING && (is_transfer(op) || req->op == AIO_FSYNC)) {
        AioContext *ctx = context(loop);
        if (ring_start(ctx)) {
            ring_queue(ctx, op);
            /* The loop submits a round's requests in one call; others do it at once. */
            if (!loop_is_current(loop)) {
                ring_submit(ctx);
            }
            return;
        }
    }
#endif
    thread_pool_submit(loop_thread_pool(loop), work, work_done, op);
}

typedef struct FiberAio {
    AioRequest req;
    Fiber *fiber;
    int64_t result;
} FiberAio;

static void fiber_aio_done(AioRequest *req, int64_t result)
{
    FiberAio *f = container_of(req, FiberAio, req);
    f->result = result;
    fiber_enter(f->fiber);
}

int64_t loop_aio(EventLoop *loop, AioEngine engine, AioOp op, int fd, const struct iovec *iov,
                 unsigned niov, uint64_t offset, uint64_t len, unsigned flags)
{
    assert(fiber_in());
    FiberAio f = {
        .req = {.op = op,
                .fd = fd,
                .iov = iov,
                .niov = niov,
                .offset = offset,
                .len = len,
                .fua = flags & AIO_FLAG_FUA,
                .unmap = flags & AIO_FLAG_UNMAP,
                .done = fiber_aio_done},
        .fiber = fiber_self(),
    };
    loop_aio_submit(loop, engine, &f.req);
    fiber_yield();
    return f.result;
}
