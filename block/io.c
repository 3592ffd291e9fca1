/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests among nodes: bounds, alignment, bounce buffers, read-modify-write. */
#include "block/alloc.h"
#include "block/bitmap.h"
#include "block/node.h"

#include <errno.h>
#include <stdlib.h>

#define BOUNCE_MAX (1u << 20)

/* A write under way on a node whose alignment is above one byte. */
typedef struct TrackedWrite {
    uint64_t start, end; /* aligned */
    bool modify;         /* it reads what it does not write: nothing may overlap */
} TrackedWrite;

void iovec_slice(IoVec *out, const IoVec *v, size_t off, size_t len)
{
    *out = (IoVec)IOVEC_INIT;
    iovec_concat(out, v, off, len);
}

bool buffer_is_zero(const void *buf, size_t len)
{
    const uint8_t *p = buf;
    /* Comparing a buffer with itself one byte on lets memcmp's vector code do it. */
    return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

bool iovec_is_zero(const IoVec *v)
{
    for (unsigned i = 0; i < v->n; i++) {
        if (!buffer_is_zero(v->iov[i].iov_base, v->iov[i].iov_len)) {
            return false;
        }
    }
    return true;
}

static uint32_t align_of(const BlockNode *n)
{
    return MAX(n->limits.request_align, 1u);
}

static void *bounce_alloc(const BlockNode *n, size_t len)
{
    return try_aligned(MAX(MAX(n->limits.mem_align, align_of(n)), (uint32_t)sizeof(void *)), len);
}

static bool in_bounds(const BlockNode *n, uint64_t off, uint64_t len)
{
    if (off > INT64_MAX || len > INT64_MAX - off) {
        return false;
    }
    /* Leaves read zeroes beyond their end and grow by writing. */
    return n->drv->protocol || n->drv->protocol_like || off + len <= n->length;
}

/* May the driver take the request as it is? */
static bool fits(const BlockNode *n, uint64_t off, const IoVec *v)
{
    uint32_t align = align_of(n);
    if (!IS_ALIGNED(off, align) || !IS_ALIGNED(v->size, (size_t)align) ||
        (n->limits.max_transfer && v->size > n->limits.max_transfer) ||
        (n->limits.max_iov && v->n > n->limits.max_iov)) {
        return false;
    }
    if (n->limits.mem_align > 1) {
        for (unsigned i = 0; i < v->n; i++) {
            if (!IS_ALIGNED((uintptr_t)v->iov[i].iov_base, (uintptr_t)n->limits.mem_align) ||
                !IS_ALIGNED(v->iov[i].iov_len, (size_t)n->limits.mem_align)) {
                return false;
            }
        }
    }
    return true;
}

static size_t bounce_size(const BlockNode *n)
{
    uint64_t max = n->limits.max_transfer ? MIN(n->limits.max_transfer, BOUNCE_MAX) : BOUNCE_MAX;
    return (size_t)MAX(ALIGN_DOWN(max, (uint64_t)align_of(n)), align_of(n));
}

/* Of a request that goes through a buffer: what the driver sees of it at once. */
typedef struct Piece {
    BlockNode *n;
    uint64_t off; /* the request's */
    const IoVec *v;
    unsigned flags;
    uint64_t pos; /* of the piece, aligned */
    size_t len;
    char *buf;
} Piece;

static int each_piece(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags,
                      int (*work)(const Piece *p))
{
    uint64_t start = ALIGN_DOWN(off, (uint64_t)align_of(n));
    uint64_t end = ALIGN_UP(off + v->size, (uint64_t)align_of(n));
    size_t chunk = (size_t)MIN(end - start, (uint64_t)bounce_size(n));
    Piece p = {.n = n, .off = off, .v = v, .flags = flags, .buf = bounce_alloc(n, chunk)};
    int ret = p.buf ? 0 : -ENOMEM;
    for (p.pos = start; ret == 0 && p.pos < end; p.pos += chunk) {
        p.len = (size_t)MIN((uint64_t)chunk, end - p.pos);
        ret = work(&p);
    }
    free(p.buf);
    return ret;
}

/* What of the piece belongs to the request: [*from, from + the result). */
static size_t covered(const Piece *p, uint64_t *from)
{
    *from = MAX(p->pos, p->off);
    return (size_t)(MIN(p->pos + p->len, p->off + p->v->size) - *from);
}

static int read_piece(const Piece *p)
{
    struct iovec one = {p->buf, p->len};
    IoVec part = {.iov = &one, .n = 1, .size = p->len};
    uint64_t from;
    size_t len = covered(p, &from);
    int ret = p->n->drv->preadv(p->n, p->pos, &part);
    if (ret == 0) {
        iov_from_buf(p->v->iov, p->v->n, (size_t)(from - p->off), p->buf + (from - p->pos), len);
    }
    return ret;
}

int node_preadv(BlockNode *n, uint64_t off, const IoVec *v)
{
    if (!in_bounds(n, off, v->size)) {
        return -EIO;
    }
    if (v->size == 0) {
        return 0;
    }
    return fits(n, off, v) ? n->drv->preadv(n, off, v) : each_piece(n, off, v, 0, read_piece);
}

/* ---- writes ---- */

/* Waits for overlapping writes if either they or this one modify; then notes it. */
static void track_begin(BlockNode *n, TrackedWrite *t)
{
    bool again;
    do {
        again = false;
        for (GList *l = n->tracked; l; l = l->next) {
            TrackedWrite *o = l->data;
            if (o->start < t->end && t->start < o->end && (o->modify || t->modify)) {
                fiber_queue_wait(&n->waits);
                again = true;
                break;
            }
        }
    } while (again);
    n->tracked = g_list_prepend(n->tracked, t);
}

static void track_end(BlockNode *n, TrackedWrite *t)
{
    n->tracked = g_list_remove(n->tracked, t);
    fiber_queue_wake_all(&n->waits);
}

/* Fills the parts of [pos, pos + len) that the request [off, end) leaves alone. */
static int read_edges(BlockNode *n, void *buf, uint64_t pos, size_t len, uint64_t off, uint64_t end)
{
    uint32_t align = align_of(n);
    int ret = 0;
    bool head = pos < off;
    bool tail = pos + len > end;
    struct iovec one = {buf, align};
    IoVec part = {.iov = &one, .n = 1, .size = align};
    if (head) {
        node_event(n, BLKEV_PWRITEV_RMW_HEAD);
        ret = n->drv->preadv(n, pos, &part);
        node_event(n, BLKEV_PWRITEV_RMW_AFTER_HEAD);
    }
    uint64_t last = pos + len - align;
    if (ret == 0 && tail && !(head && last == pos)) {
        one.iov_base = (char *)buf + (last - pos);
        node_event(n, BLKEV_PWRITEV_RMW_TAIL);
        ret = n->drv->preadv(n, last, &part);
        node_event(n, BLKEV_PWRITEV_RMW_AFTER_TAIL);
    }
    return ret;
}

static int write_piece(const Piece *p)
{
    struct iovec one = {p->buf, p->len};
    IoVec part = {.iov = &one, .n = 1, .size = p->len};
    uint64_t from;
    size_t len = covered(p, &from);
    int ret = read_edges(p->n, p->buf, p->pos, p->len, p->off, p->off + p->v->size);
    if (ret == 0) {
        iov_to_buf(p->v->iov, p->v->n, (size_t)(from - p->off), p->buf + (from - p->pos), len);
        ret = p->n->drv->pwritev(p->n, p->pos, &part, p->flags);
    }
    return ret;
}

static int write_bounced(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    return each_piece(n, off, v, flags, write_piece);
}

static int write_tracked(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    uint32_t align = align_of(n);
    bool plain = fits(n, off, v);
    if (align == 1) {
        return plain ? n->drv->pwritev(n, off, v, flags) : write_bounced(n, off, v, flags);
    }
    TrackedWrite t = {ALIGN_DOWN(off, (uint64_t)align), ALIGN_UP(off + v->size, (uint64_t)align),
                      !IS_ALIGNED(off, (uint64_t)align) || !IS_ALIGNED(v->size, (size_t)align)};
    track_begin(n, &t);
    int ret = plain ? n->drv->pwritev(n, off, v, flags) : write_bounced(n, off, v, flags);
    track_end(n, &t);
    return ret;
}

/* What must be known before a write begins, and what after it ended, well or not. */
static int before_write(BlockNode *n, uint64_t off, uint64_t len)
{
    if (n->write_threshold && off + len > n->write_threshold) {
        uint64_t limit = n->write_threshold;
        n->write_threshold = 0; /* it is told once */
        Json *d = json_object();
        json_put_string(d, "node-name", n->name);
        json_put(d, "amount-exceeded", json_uint(off + len - limit));
        json_put(d, "write-threshold", json_uint(limit));
        block_event(n->graph, "BLOCK_WRITE_THRESHOLD", d);
    }
    return n->bitmaps ? bitmaps_before_write(n, off, len) : 0;
}

static void after_write(BlockNode *n, uint64_t off, uint64_t len)
{
    n->wr_highest = MAX(n->wr_highest, off + len);
    if (n->bitmaps) {
        bitmaps_after_write(n, off, len);
    }
}

int node_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    if (n->flags.read_only || !n->drv->pwritev) {
        return -EPERM;
    }
    if (!in_bounds(n, off, v->size)) {
        return -EIO;
    }
    if (v->size == 0) {
        return 0;
    }
    if (n->flags.no_flush) {
        flags &= ~BLK_FUA;
    }
    if (n->detect_zeroes != DETECT_ZEROES_OFF && iovec_is_zero(v)) {
        unsigned zf = flags | BLK_NO_FALLBACK;
        if (n->detect_zeroes == DETECT_ZEROES_UNMAP) {
            zf |= BLK_MAY_UNMAP;
        }
        int ret = node_zero(n, off, v->size, zf);
        if (ret != -ENOTSUP) {
            return ret;
        }
    }
    int ret = before_write(n, off, v->size);
    if (ret < 0) {
        return ret;
    }
    ret = write_tracked(n, off, v, flags);
    node_event(n, BLKEV_PWRITEV_DONE);
    after_write(n, off, v->size);
    if (ret == 0 && n->drv->protocol) {
        n->length = MAX(n->length, off + v->size);
    }
    return ret;
}

int node_pread(BlockNode *n, uint64_t off, void *buf, size_t len)
{
    struct iovec one = {buf, len};
    IoVec v = {.iov = &one, .n = 1, .size = len};
    return node_preadv(n, off, &v);
}

int node_pwrite(BlockNode *n, uint64_t off, const void *buf, size_t len, unsigned flags)
{
    struct iovec one = {(void *)buf, len};
    IoVec v = {.iov = &one, .n = 1, .size = len};
    return node_pwritev(n, off, &v, flags);
}

int node_flush(BlockNode *n)
{
    if (n->flags.read_only) {
        return 0;
    }
    /* A format with a cache of its own must empty it even where `file` does not flush. */
    if (n->drv->flush) {
        return n->drv->protocol && n->flags.no_flush ? 0 : n->drv->flush(n);
    }
    return n->file ? node_flush(n->file) : 0;
}

int node_discard(BlockNode *n, uint64_t off, uint64_t len)
{
    if (n->flags.read_only) {
        return -EPERM;
    }
    if (!in_bounds(n, off, len)) {
        return -EIO;
    }
    if (!n->flags.discard_unmap || !n->drv->discard) {
        return 0;
    }
    uint64_t align = MAX(n->limits.discard_align, align_of(n));
    uint64_t start = ALIGN_UP(off, align), end = ALIGN_DOWN(off + len, align);
    if (off + len == n->length) {
        end = off + len; /* the last, partial unit may go too */
    }
    if (start >= end) {
        return 0;
    }
    int ret = before_write(n, start, end - start);
    if (ret < 0) {
        return ret;
    }
    ret = n->drv->discard(n, start, end - start);
    after_write(n, start, end - start);
    return ret == -ENOTSUP ? 0 : ret; /* a discard is a hint */
}

static int zero_by_writing(BlockNode *n, uint64_t off, uint64_t len, unsigned flags)
{
    size_t chunk = (size_t)MIN(len, (uint64_t)BOUNCE_MAX);
    void *buf = bounce_alloc(n, chunk);
    if (!buf) {
        return -ENOMEM;
    }
    memset(buf, 0, chunk);
    int ret = 0;
    for (uint64_t pos = off; ret == 0 && pos < off + len;) {
        size_t now = (size_t)MIN((uint64_t)chunk, off + len - pos);
        struct iovec one = {buf, now};
        IoVec v = {.iov = &one, .n = 1, .size = now};
        ret = write_tracked(n, pos, &v, flags & BLK_FUA);
        pos += now;
    }
    free(buf);
    return ret;
}

int node_zero(BlockNode *n, uint64_t off, uint64_t len, unsigned flags)
{
    if (n->flags.read_only || !n->drv->pwritev) {
        return -EPERM;
    }
    if (!in_bounds(n, off, len)) {
        return -EIO;
    }
    if (len == 0) {
        return 0;
    }
    if (n->flags.no_flush) {
        flags &= ~BLK_FUA;
    }
    if (!n->flags.discard_unmap) {
        flags &= ~BLK_MAY_UNMAP;
    }
    int ret = before_write(n, off, len);
    if (ret < 0) {
        return ret;
    }
    ret = -ENOTSUP;
    uint32_t align = align_of(n);
    if (n->drv->zero && IS_ALIGNED(off, (uint64_t)align) && IS_ALIGNED(len, (uint64_t)align)) {
        TrackedWrite t = {off, off + len, false};
        if (align > 1) {
            track_begin(n, &t);
        }
        ret = n->drv->zero(n, off, len, flags);
        if (align > 1) {
            track_end(n, &t);
        }
    }
    if (ret == -ENOTSUP && !(flags & BLK_NO_FALLBACK)) {
        ret = zero_by_writing(n, off, len, flags);
    }
    after_write(n, off, len);
    if (ret == 0 && n->drv->protocol) {
        n->length = MAX(n->length, off + len);
    }
    return ret;
}

static void slept(void *opaque)
{
    fiber_enter(opaque);
}

void node_sleep(BlockNode *n, int64_t ns)
{
    if (!fiber_in()) {
        g_usleep((gulong)(ns / 1000));
        return;
    }
    Timer t = {0};
    timer_init(&t, n->loop, CLOCK_RT, slept, fiber_self());
    timer_mod(&t, clock_now(loop_clocks(n->loop), CLOCK_RT) + ns);
    fiber_yield();
    timer_fini(&t);
}

const char *const block_prealloc_names[] = {"off", "metadata", "falloc", "full", NULL};

int node_truncate(BlockNode *n, uint64_t size, Error **errp)
{
    return node_resize(n, size, PREALLOC_OFF, errp);
}

int node_resize(BlockNode *n, uint64_t size, BlockPrealloc prealloc, Error **errp)
{
    if (n->flags.read_only) {
        error_set(errp, "cannot resize '%s': it is open read-only", node_filename(n));
        return -EPERM;
    }
    if (!n->drv->truncate) {
        error_set(errp, "cannot resize '%s': the driver '%s' has no way to", node_filename(n),
                  n->drv->name);
        return -ENOTSUP;
    }
    if (size > INT64_MAX) {
        error_set(errp, "cannot resize '%s': the size is too large", node_filename(n));
        return -EFBIG;
    }
    if (!bitmaps_reserve(n, size)) {
        error_set_errno(errp, ENOMEM, "cannot resize the bitmaps of '%s'", node_filename(n));
        return -ENOMEM;
    }
    int ret = n->drv->truncate(n, size, prealloc, errp);
    if (ret == 0) {
        bitmaps_resize(n);
        /* Filters above show the same size. */
        for (GList *l = n->graph->nodes; l; l = l->next) {
            BlockNode *p = l->data;
            if (p->file == n && p->drv->transparent) {
                p->length = n->length;
                bitmaps_resize(p);
            }
        }
    }
    return ret;
}

int node_map(BlockNode *n, uint64_t off, uint64_t len, BlockMap *out)
{
    if (!in_bounds(n, off, len) || len == 0) {
        return -EINVAL;
    }
    *out = (BlockMap){.len = len};
    if (n->drv->map) {
        int ret = n->drv->map(n, off, len, out);
        if (ret < 0) {
            return ret;
        }
    } else {
        out->flags = BLOCK_MAP_DATA;
    }
    if (!out->file) {
        out->file = n->drv->protocol ? n : n->file;
    }
    if (out->flags & (BLOCK_MAP_DATA | BLOCK_MAP_ZERO)) {
        out->flags |= BLOCK_MAP_ALLOCATED;
    } else if (!n->backing || off >= n->backing->length) {
        out->flags |= BLOCK_MAP_ZERO;
    } else {
        out->len = MIN(out->len, n->backing->length - off);
    }
    return 0;
}

/* Data of a node may be a hole of the file that it lies in. */
static int map_holes(BlockMap *out)
{
    BlockMap below;
    if (!(out->flags & BLOCK_MAP_RECURSE) || !(out->flags & BLOCK_MAP_OFFSET) ||
        out->host >= out->file->length) {
        return 0;
    }
    uint64_t len = MIN(out->len, out->file->length - out->host);
    int ret = node_map(out->file, out->host, len, &below);
    if (ret < 0) {
        return ret;
    }
    out->len = below.len;
    out->flags |= below.flags & BLOCK_MAP_ZERO;
    if (!(below.flags & BLOCK_MAP_DATA) && (below.flags & BLOCK_MAP_ZERO)) {
        out->flags &= ~BLOCK_MAP_DATA;
    }
    return 0;
}

int node_map_chain(BlockNode *n, BlockNode *base, uint64_t off, uint64_t len, BlockMap *out,
                   unsigned *depth)
{
    unsigned at = 0;
    for (;; n = n->backing, at++) {
        while (n->drv->filter && n->file && n->drv != &block_driver_raw) {
            n = n->file;
        }
        if (off >= n->length) {
            /* A backing node that ends before: zeroes, which nobody stored. */
            *out = (BlockMap){.flags = BLOCK_MAP_ZERO | BLOCK_MAP_ALLOCATED, .len = len};
            break;
        }
        int ret = node_map(n, off, MIN(len, n->length - off), out);
        ret = ret < 0 ? ret : map_holes(out);
        if (ret < 0) {
            return ret;
        }
        len = out->len;
        if ((out->flags & (BLOCK_MAP_ALLOCATED | BLOCK_MAP_ZERO)) || !n->backing ||
            n->backing == base) {
            break;
        }
    }
    if (depth) {
        *depth = at;
    }
    return 0;
}

/* ---- work that blocks ---- */

typedef struct BlockingWork {
    int (*work)(void *opaque);
    void *opaque;
    EventLoop *loop;
    Fiber *fiber;
    int result;
} BlockingWork;

static int blocking_run(void *opaque)
{
    BlockingWork *w = opaque;
    return w->work(w->opaque);
}

static void blocking_resume(void *opaque)
{
    BlockingWork *w = opaque;
    fiber_enter(w->fiber);
}

static void blocking_done(void *opaque, int result)
{
    BlockingWork *w = opaque;
    w->result = result;
    loop_defer(w->loop, blocking_resume, w);
}

static int run_blocking(EventLoop *loop, int (*work)(void *opaque), void *opaque)
{
    if (!fiber_in() || !loop) {
        return work(opaque);
    }
    BlockingWork w = {work, opaque, loop, fiber_self(), 0};
    thread_pool_submit(loop_thread_pool(loop), blocking_run, blocking_done, &w);
    fiber_yield();
    return w.result;
}

int node_run_blocking(BlockNode *n, int (*work)(void *opaque), void *opaque)
{
    return run_blocking(n->loop, work, opaque);
}

int block_run_blocking(BlockGraph *g, int (*work)(void *opaque), void *opaque)
{
    return run_blocking(g->control ? g->control : g->loop, work, opaque);
}

typedef struct OutsideWork {
    int (*work)(void *opaque);
    void *opaque;
    Fiber *fiber;
    int result;
} OutsideWork;

static void outside_run(void *opaque)
{
    OutsideWork *w = opaque;
    w->result = w->work(w->opaque);
    fiber_enter(w->fiber);
}

int block_run_outside(BlockGraph *g, int (*work)(void *opaque), void *opaque)
{
    if (!fiber_in()) {
        return work(opaque);
    }
    OutsideWork w = {work, opaque, fiber_self(), 0};
    loop_defer(g->control ? g->control : g->loop, outside_run, &w);
    fiber_yield();
    return w.result;
}
