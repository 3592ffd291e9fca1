/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asynchronous file I/O.  Reads, writes and syncs go to the engine that the requester names,
 * io_uring (aio-ring.c) or Linux AIO (aio-native.c); what it does not do, and what the kernel would
 * hand to a worker of its own anyway (fallocate, truncate), goes to our worker threads.
 */
#include "config.h"
#include "event/aio-internal.h"
#include "util/bits.h"
#include "util/fiber.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/uio.h>
#include <unistd.h>

/* Handed to Linux AIO in one go, if nobody says otherwise: the disk gets to work meanwhile. */
#define NATIVE_BATCH 32u

/* An engine is made when it is first asked for; one that failed is not tried again. */
struct AioContext {
    EventLoop *loop;
    AioRing *ring; /* atomic, written under the lock */
    AioNative *native;
    int ring_error, native_error; /* errno */
    unsigned under_way;           /* requests of all engines */
};

static AioContext *context(EventLoop *loop)
{
    AioContext **slot = loop_aio_slot(loop);
    if (!*slot) {
        AioContext *ctx = g_new0(AioContext, 1);
        ctx->loop = loop;
        __atomic_store_n(slot, ctx, __ATOMIC_SEQ_CST);
    }
    return *slot;
}

static AioRing *ring_of(AioContext *ctx)
{
    if (!ctx->ring && !ctx->ring_error) {
        AioRing *ring = aio_ring_new(ctx->loop, &ctx->ring_error);
        __atomic_store_n(&ctx->ring, ring, __ATOMIC_SEQ_CST);
    }
    return ctx->ring;
}

/* Contexts are a share of something that others give back: each try may go better. */
static AioNative *native_of(AioContext *ctx)
{
    if (!ctx->native) {
        ctx->native = aio_native_new(ctx->loop, &ctx->native_error);
    }
    return ctx->native;
}

/* ---- a request's steps ---- */
static bool is_transfer(const Op *op)
{
    return op->req->op == AIO_READ || op->req->op == AIO_WRITE;
}

static void set_rest(Op *op, IoVec rest)
{
    if (op->rest.iov != op->req->iov) {
        iovec_free(&op->rest);
    }
    op->rest = rest;
}

void op_done(Op *op, int64_t result)
{
    AioRequest *req = op->req;
    context(op->loop)->under_way--;
    set_rest(op, (IoVec)IOVEC_INIT);
    g_free(op);
    req->priv = NULL;
    req->done(req, result);
}

/* With O_DIRECT a read cannot go on where the file ended within a block. */
static bool ended_in_block(const Op *op, int64_t r)
{
    if (r != -EINVAL || op->req->op != AIO_READ || !op->moved) {
        return false;
    }
    off_t end = lseek(op->req->fd, 0, SEEK_END);
    return end >= 0 && op->req->offset + (uint64_t)op->moved >= (uint64_t)end;
}

bool op_step(Op *op, int64_t r, int64_t *result)
{
    if (r == -EINTR || r == -EAGAIN) {
        return false;
    }
    if (ended_in_block(op, r)) {
        r = 0;
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
    set_rest(op, rest);
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

void op_to_worker(Op *op)
{
    thread_pool_submit(loop_thread_pool(op->loop), work, work_done, op);
}

/* ---- what the loop calls ---- */
void aio_flush(AioContext *ctx, bool wait_follows)
{
    if (ctx && ctx->ring) {
        aio_ring_submit(ctx->ring, wait_follows);
    }
    if (ctx && ctx->native) {
        aio_native_submit(ctx->native);
    }
}

bool aio_wait(AioContext *ctx, int64_t timeout_ns)
{
    AioRing *ring = ctx ? __atomic_load_n(&ctx->ring, __ATOMIC_SEQ_CST) : NULL;
    return ring && aio_ring_wait(ring, timeout_ns);
}

bool aio_reap(AioContext *ctx, bool *descriptors)
{
    return ctx && ctx->ring && aio_ring_reap(ctx->ring, descriptors);
}

void aio_free(AioContext *ctx)
{
    if (ctx) {
        aio_ring_free(ctx->ring);
        aio_native_free(ctx->native);
        g_free(ctx);
    }
}

/* ---- public ---- */
static bool ring_available(AioContext *ctx, Error **errp)
{
#ifdef CONFIG_LIBURING
    if (ring_of(ctx)) {
        return true;
    }
    error_set_errno(errp, ctx->ring_error, "io_uring is not available on this host");
    error_hint(errp, "use aio=threads");
#else
    error_set(errp, "This program was built without io_uring");
    error_hint(errp, "use aio=threads, or build with liburing (package liburing-dev)");
#endif
    return false;
}

static bool native_available(AioContext *ctx, Error **errp)
{
    if (native_of(ctx)) {
        return true;
    }
    if (ctx->native_error == EAGAIN) {
        error_set(errp, "aio=native: all of the host's contexts for Linux AIO are in use");
        error_hint(errp,
                   "raise the limit (sysctl fs.aio-max-nr; fs.aio-nr tells what is in use), or "
                   "use aio=io_uring or aio=threads");
    } else {
        error_set_errno(errp, ctx->native_error, "aio=native (Linux AIO) is not available");
        error_hint(errp, "use aio=io_uring or aio=threads");
    }
    return false;
}

bool loop_is_idle(EventLoop *loop)
{
    return context(loop)->under_way == 0 && !loop_has_work(loop, false);
}

bool loop_aio_available(EventLoop *loop, AioEngine engine, Error **errp)
{
    LOOP_LOCK_GUARD(loop);
    switch (engine) {
    case AIO_ENGINE_IO_URING:
        return ring_available(context(loop), errp);
    case AIO_ENGINE_NATIVE:
        return native_available(context(loop), errp);
    default:
        return true;
    }
}

static unsigned smaller_batch(unsigned a, unsigned b)
{
    return !a ? b : !b ? a : MIN(a, b);
}

/* Queues it with its engine; false: that is not to be had, or does not do such things. */
static bool to_engine(EventLoop *loop, AioEngine engine, Op *op)
{
    unsigned batch = smaller_batch(op->req->max_batch, loop_aio_batch(loop));
    /* The loop submits a round's requests in one call; others do it at once. */
    bool now = !loop_is_current(loop);
    if (engine == AIO_ENGINE_IO_URING && (is_transfer(op) || op->req->op == AIO_FSYNC)) {
        AioRing *ring = ring_of(context(loop));
        if (ring) {
            aio_ring_queue(ring, op);
            if (now || (batch && aio_ring_queued(ring) >= batch)) {
                aio_ring_submit(ring, false);
            }
            return true;
        }
    }
    if (engine == AIO_ENGINE_NATIVE && is_transfer(op)) {
        AioNative *native = native_of(context(loop));
        if (native) {
            aio_native_queue(native, op);
            if (now || aio_native_queued(native) >= (batch ? batch : NATIVE_BATCH)) {
                aio_native_submit(native);
            }
            return true;
        }
    }
    return false;
}

void loop_aio_submit(EventLoop *loop, AioEngine engine, AioRequest *req)
{
    Op *op = g_new0(Op, 1);
    op->req = req;
    op->loop = loop;
    req->priv = op;
    context(loop)->under_way++;
    if (is_transfer(op)) {
        op->rest = (IoVec){.iov = (struct iovec *)req->iov,
                           .n = req->niov,
                           .size = iov_length(req->iov, req->niov)};
    }
    if (!to_engine(loop, engine, op)) {
        op_to_worker(op);
    }
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

int64_t loop_aio(EventLoop *loop, AioEngine engine, const AioRequest *what)
{
    assert(fiber_in());
    FiberAio f = {.req = *what, .fiber = fiber_self()};
    f.req.done = fiber_aio_done;
    loop_aio_submit(loop, engine, &f.req);
    fiber_yield();
    return f.result;
}
