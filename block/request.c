/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests of devices to their backends: each is a fiber. */
#include "block/backend.h"
#include "block/throttle.h"
#include "util/blocking.h"

#include <errno.h>

typedef enum BlkOp { BLK_READ, BLK_WRITE, BLK_FLUSH, BLK_DISCARD, BLK_ZERO } BlkOp;

struct BlkRequest {
    BlockBackend *blk;
    BlkOp op;
    uint64_t off, len;
    IoVec v; /* borrowed elements */
    unsigned flags;
    BlkDone *done;
    void *opaque;
    int result;
    gint64 began;    /* monotonic microseconds */
    bool submitting; /* still within the call that made it */
    bool waiting;    /* in blk->waiting, or cancelled out of it */
};

/*
 * Whose lock a request begins under.  A device's loop is its node's; a backend that stands for a
 * node without a device follows the node, which a chain may have taken to an I/O thread.
 */
static EventLoop *loop_of(const BlockBackend *blk)
{
    return blk->attached || !blk->node || !blk->node->loop ? blk->loop : blk->node->loop;
}

/* ---- accounting ---- */

static void in_flight_add(BlockBackend *blk)
{
    __atomic_add_fetch(&blk->in_flight, 1, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&blk->graph->in_flight, 1, __ATOMIC_SEQ_CST);
}

/*
 * Whoever waits for the last request may free backend and graph at once: hence the counters
 * change under the lock, which block_graph_free() takes once more before it frees.
 */
static void in_flight_sub(BlockBackend *blk, BlockGraph *g)
{
    g_mutex_lock(&g->idle_lock);
    __atomic_sub_fetch(&blk->in_flight, 1, __ATOMIC_SEQ_CST);
    __atomic_sub_fetch(&g->in_flight, 1, __ATOMIC_SEQ_CST);
    g_cond_broadcast(&g->idle_cond);
    g_mutex_unlock(&g->idle_lock);
}

static void account(BlkRequest *r)
{
    BlockBackend *blk = r->blk;
    uint64_t took = (uint64_t)(g_get_monotonic_time() - r->began) * 1000u;
    bool failed = r->result < 0;
    switch (r->op) {
    case BLK_READ:
        blk->rd_ops += !failed;
        blk->failed_rd += failed;
        blk->rd_bytes += failed ? 0 : r->len;
        blk->rd_ns += took;
        break;
    case BLK_WRITE:
    case BLK_ZERO:
        blk->wr_ops += !failed;
        blk->failed_wr += failed;
        blk->wr_bytes += failed ? 0 : r->len;
        blk->wr_ns += took;
        break;
    case BLK_FLUSH:
        blk->flush_ops += !failed;
        blk->failed_flush += failed;
        blk->flush_ns += took;
        break;
    case BLK_DISCARD:
        blk->unmap_ops++;
        blk->unmap_bytes += r->len;
        break;
    }
    blk->failed_ops += failed;
    BlkHistogram *h = r->op == BLK_READ    ? &blk->rd_times
                      : r->op == BLK_FLUSH ? &blk->flush_times
                                           : &blk->wr_times;
    if (h->bins && r->op != BLK_DISCARD) {
        histogram_add(h, took);
    }
}

bool blk_set_histograms(BlockBackend *blk, const Json *rd, const Json *wr, const Json *flush,
                        Error **errp)
{
    if (!histogram_check(rd, "boundaries-read", errp) ||
        !histogram_check(wr, "boundaries-write", errp) ||
        !histogram_check(flush, "boundaries-flush", errp)) {
        return false;
    }
    LOOP_LOCK_GUARD(blk->loop);
    const Json *lists[] = {rd, wr, flush};
    BlkHistogram *h[] = {&blk->rd_times, &blk->wr_times, &blk->flush_times};
    for (unsigned i = 0; i < 3; i++) {
        if (lists[i]) {
            histogram_set(h[i], lists[i]);
        }
    }
    return true;
}

/* ---- running ---- */

static int run_op(BlkRequest *r)
{
    BlockBackend *blk = r->blk;
    BlockNode *n = blk->node;
    if (!n) {
        return -ENOMEDIUM;
    }
    if (r->op != BLK_FLUSH && (r->off > n->length || r->len > n->length - r->off)) {
        return -EIO;
    }
    if (blk->throttle && r->op != BLK_FLUSH) {
        throttle_pass(blk->throttle, loop_of(blk), r->op != BLK_READ, r->len);
        n = blk->node;
    }
    /* Without a volatile cache every write is durable when it completes. */
    unsigned flags = r->flags | (blk->write_cache ? 0 : BLK_FUA);
    switch (r->op) {
    case BLK_READ:
        return node_preadv(n, r->off, &r->v);
    case BLK_WRITE:
        return node_pwritev(n, r->off, &r->v, flags);
    case BLK_FLUSH:
        return node_flush(n);
    case BLK_DISCARD:
        return node_discard(n, r->off, r->len);
    case BLK_ZERO:
        return node_zero(n, r->off, r->len, flags);
    }
    return -EINVAL;
}

static void complete(void *opaque)
{
    BlkRequest *r = opaque;
    BlockBackend *blk = r->blk;
    BlockGraph *g = blk->graph; /* `done` may close the backend, or wake who does */
    bool counted = !r->waiting;
    r->done(r->opaque, r->result);
    if (counted) {
        in_flight_sub(blk, g);
    }
    g_free(r);
    object_unref(&blk->obj);
}

static void request_fiber(void *opaque)
{
    BlkRequest *r = opaque;
    r->result = run_op(r);
    account(r);
    if (r->submitting) {
        loop_defer(loop_of(r->blk), complete, r); /* never from within the submitting call */
    } else {
        complete(r);
    }
}

static void start(BlkRequest *r)
{
    in_flight_add(r->blk);
    r->submitting = true;
    Fiber *f = fiber_new(request_fiber, r);
    /* A request that ends at once is freed by a later call of the loop, not in here. */
    fiber_enter(f);
    r->submitting = false;
}

static BlkRequest *submit(BlockBackend *blk, BlkOp op, uint64_t off, uint64_t len, const IoVec *v,
                          unsigned flags, BlkDone *done, void *opaque)
{
    BlkRequest *r = g_new0(BlkRequest, 1);
    r->blk = blk;
    r->began = g_get_monotonic_time();
    r->op = op;
    r->off = off;
    r->len = len;
    if (v) {
        r->v = *v;
    }
    r->flags = flags;
    r->done = done;
    r->opaque = opaque;
    object_ref(&blk->obj);
    if (blk->quiesce || __atomic_load_n(&blk->graph->quiesce, __ATOMIC_SEQ_CST)) {
        r->waiting = true;
        g_queue_push_tail(&blk->waiting, r);
    } else {
        start(r);
    }
    return r;
}

BlkRequest *blk_aio_preadv(BlockBackend *blk, uint64_t off, const IoVec *iov, BlkDone *done,
                           void *opaque)
{
    return submit(blk, BLK_READ, off, iov->size, iov, 0, done, opaque);
}

BlkRequest *blk_aio_pwritev(BlockBackend *blk, uint64_t off, const IoVec *iov, unsigned flags,
                            BlkDone *done, void *opaque)
{
    return submit(blk, BLK_WRITE, off, iov->size, iov, flags, done, opaque);
}

BlkRequest *blk_aio_flush(BlockBackend *blk, BlkDone *done, void *opaque)
{
    return submit(blk, BLK_FLUSH, 0, 0, NULL, 0, done, opaque);
}

BlkRequest *blk_aio_discard(BlockBackend *blk, uint64_t off, uint64_t len, BlkDone *done,
                            void *opaque)
{
    return submit(blk, BLK_DISCARD, off, len, NULL, 0, done, opaque);
}

BlkRequest *blk_aio_zero(BlockBackend *blk, uint64_t off, uint64_t len, unsigned flags,
                         BlkDone *done, void *opaque)
{
    return submit(blk, BLK_ZERO, off, len, NULL, flags, done, opaque);
}

void blk_aio_cancel(BlkRequest *req)
{
    /* What has reached the nodes completes as it will; what still waits need not start. */
    if (req->waiting && g_queue_remove(&req->blk->waiting, req)) {
        req->result = -ECANCELED;
        loop_defer(loop_of(req->blk), complete, req);
    }
}

/* ---- waiting ---- */

static void nothing(void *opaque)
{
}

/*
 * Waits until *counter is zero: asleep where another thread serves the loop, else
 * by serving it here.  In a callback of the loop itself this is a nested round.
 */
static void wait_zero(BlockGraph *g, EventLoop *loop, unsigned *counter)
{
    bool polled = false;
    while (__atomic_load_n(counter, __ATOMIC_SEQ_CST)) {
        if (loop_is_served(loop) && !loop_is_current(loop) && !loop_lock_held(loop)) {
            blocking_call("waiting for requests");
            g_mutex_lock(&g->idle_lock);
            if (__atomic_load_n(counter, __ATOMIC_SEQ_CST)) {
                gint64 until = g_get_monotonic_time() + G_TIME_SPAN_SECOND;
                g_cond_wait_until(&g->idle_cond, &g->idle_lock, until);
            }
            g_mutex_unlock(&g->idle_lock);
        } else {
            loop_poll(loop, 10 * NS_PER_MS);
            polled = true;
        }
    }
    if (polled && loop_is_served(loop) && !loop_is_current(loop)) {
        /* The loop's own thread must look anew at what it waits for. */
        loop_defer(loop, nothing, g);
    }
}

typedef struct SyncRequest {
    BlockGraph *graph;
    unsigned pending;
    int result;
} SyncRequest;

static void sync_done(void *opaque, int result)
{
    SyncRequest *s = opaque;
    BlockGraph *g = s->graph; /* with `pending` gone, so may be the waiter's stack */
    s->result = result;
    g_mutex_lock(&g->idle_lock);
    __atomic_store_n(&s->pending, 0, __ATOMIC_SEQ_CST);
    g_cond_broadcast(&g->idle_cond);
    g_mutex_unlock(&g->idle_lock);
}

static int run_sync(BlockBackend *blk, BlkOp op, uint64_t off, const IoVec *v, unsigned flags)
{
    BlkRequest direct = {.blk = blk,
                         .began = g_get_monotonic_time(),
                         .op = op,
                         .off = off,
                         .len = v ? v->size : 0,
                         .flags = flags};
    if (v) {
        direct.v = *v;
    }
    bool locked = loop_lock_held(loop_of(blk));
    bool idle = !__atomic_load_n(&blk->graph->in_flight, __ATOMIC_SEQ_CST);
    /*
     * In a fiber requests simply run.  While a device is realized its loop's lock is
     * held, so that waiting for the loop would be for ever: if nothing is under way
     * that could hold a lock of a node, blocking calls do.
     */
    if (fiber_in() || (idle && (locked || !loop_is_served(loop_of(blk))))) {
        int ret = run_op(&direct);
        direct.result = ret;
        account(&direct);
        return ret;
    }
    SyncRequest s = {.graph = blk->graph, .pending = 1};
    loop_lock(loop_of(blk));
    submit(blk, op, off, direct.len, v, flags, sync_done, &s);
    loop_unlock(loop_of(blk));
    wait_zero(blk->graph, loop_of(blk), &s.pending);
    return s.result;
}

int blk_pread(BlockBackend *blk, uint64_t off, void *buf, size_t len)
{
    struct iovec one = {buf, len};
    IoVec v = {.iov = &one, .n = 1, .size = len};
    return run_sync(blk, BLK_READ, off, &v, 0);
}

int blk_pwrite(BlockBackend *blk, uint64_t off, const void *buf, size_t len, unsigned flags)
{
    struct iovec one = {(void *)buf, len};
    IoVec v = {.iov = &one, .n = 1, .size = len};
    return run_sync(blk, BLK_WRITE, off, &v, flags);
}

/* ---- draining ---- */

/* A fiber that waits for the graph to move again. */
typedef struct Parked {
    EventLoop *loop;
    Fiber *fiber;
} Parked;

static void unpark(void *opaque)
{
    fiber_enter(((Parked *)opaque)->fiber); /* `opaque` lies on its stack */
}

/* Nobody may hold requests back while somebody waits for them. */
static void hurry(BlockGraph *g)
{
    __atomic_add_fetch(&g->draining, 1, __ATOMIC_SEQ_CST);
    throttle_release_all(g);
}

int blk_flush(BlockBackend *blk)
{
    if (!blk->node || !blk->graph) {
        return 0;
    }
    hurry(blk->graph); /* a server that is away must not stop the machine from stopping */
    int ret = run_sync(blk, BLK_FLUSH, 0, NULL, 0);
    __atomic_sub_fetch(&blk->graph->draining, 1, __ATOMIC_SEQ_CST);
    return ret;
}

void blk_drain_begin(BlockBackend *blk)
{
    loop_lock(loop_of(blk));
    blk->quiesce++;
    loop_unlock(loop_of(blk));
    if (blk->graph) {
        hurry(blk->graph);
        wait_zero(blk->graph, loop_of(blk), &blk->in_flight);
        __atomic_sub_fetch(&blk->graph->draining, 1, __ATOMIC_SEQ_CST);
    }
}

void blk_restart(BlockBackend *blk)
{
    LOOP_LOCK_GUARD(loop_of(blk));
    BlkRequest *r;
    while (!blk->quiesce && !__atomic_load_n(&blk->graph->quiesce, __ATOMIC_SEQ_CST) &&
           (r = g_queue_pop_head(&blk->waiting))) {
        r->waiting = false;
        start(r);
    }
}

void blk_drain_end(BlockBackend *blk)
{
    LOOP_LOCK_GUARD(loop_of(blk));
    if (--blk->quiesce == 0 && blk->graph) {
        blk_restart(blk);
    }
}

void blk_wait_idle(BlockBackend *blk)
{
    if (blk->graph) {
        hurry(blk->graph);
        wait_zero(blk->graph, loop_of(blk), &blk->in_flight);
        __atomic_sub_fetch(&blk->graph->draining, 1, __ATOMIC_SEQ_CST);
    }
}

void block_drain_all(BlockGraph *g)
{
    hurry(g);
    for (GList *l = g->backends; l; l = l->next) {
        BlockBackend *blk = l->data;
        wait_zero(g, loop_of(blk), &blk->in_flight);
    }
    __atomic_sub_fetch(&g->draining, 1, __ATOMIC_SEQ_CST);
}

/* ---- the whole graph ---- */

void block_wait_idle(BlockGraph *g)
{
    for (GList *l = g->nodes; l; l = l->next) {
        wait_zero(g, ((BlockNode *)l->data)->loop, &g->in_flight);
    }
}

void block_quiesce(BlockGraph *g)
{
    __atomic_add_fetch(&g->quiesce, 1, __ATOMIC_SEQ_CST);
    hurry(g);
    /* Whoever saw the old value under a loop's lock has been counted once we had that lock. */
    for (GList *l = g->backends; l; l = l->next) {
        BlockBackend *blk = l->data;
        loop_lock(loop_of(blk));
        loop_unlock(loop_of(blk));
        wait_zero(g, loop_of(blk), &blk->in_flight);
    }
    block_wait_idle(g);
}

void block_unquiesce(BlockGraph *g)
{
    GQueue woken = G_QUEUE_INIT;
    __atomic_sub_fetch(&g->draining, 1, __ATOMIC_SEQ_CST);
    g_mutex_lock(&g->idle_lock);
    if (__atomic_sub_fetch(&g->quiesce, 1, __ATOMIC_SEQ_CST) == 0) {
        woken = g->parked;
        g_queue_init(&g->parked);
    }
    g_mutex_unlock(&g->idle_lock);
    Parked *p;
    while ((p = g_queue_pop_head(&woken))) {
        loop_defer(p->loop, unpark, p);
    }
    for (GList *l = g->backends; l; l = l->next) {
        blk_restart(l->data);
    }
}

void block_enter(BlockGraph *g, EventLoop *loop)
{
    for (;;) {
        g_mutex_lock(&g->idle_lock);
        if (!__atomic_load_n(&g->quiesce, __ATOMIC_SEQ_CST)) {
            __atomic_add_fetch(&g->in_flight, 1, __ATOMIC_SEQ_CST);
            g_mutex_unlock(&g->idle_lock);
            return;
        }
        Parked p = {loop, fiber_self()};
        g_queue_push_tail(&g->parked, &p);
        g_mutex_unlock(&g->idle_lock);
        fiber_yield();
    }
}

void block_enter_within(BlockGraph *g)
{
    __atomic_add_fetch(&g->in_flight, 1, __ATOMIC_SEQ_CST);
}

void block_leave(BlockGraph *g)
{
    g_mutex_lock(&g->idle_lock);
    __atomic_sub_fetch(&g->in_flight, 1, __ATOMIC_SEQ_CST);
    g_cond_broadcast(&g->idle_cond);
    g_mutex_unlock(&g->idle_lock);
}

int block_flush_all(BlockGraph *g)
{
    int first = 0;
    for (GList *l = g->backends; l; l = l->next) {
        int ret = blk_flush(l->data);
        first = first ? first : ret;
    }
    return first;
}

void block_retry_all(BlockGraph *g)
{
    for (GList *l = g->backends; l; l = l->next) {
        BlockBackend *blk = l->data;
        blk_iostatus_reset(blk);
        if (blk->attached && blk->ops && blk->ops->retry) {
            LOOP_LOCK_GUARD(loop_of(blk));
            blk->ops->retry(blk->dev);
        }
    }
}
