/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/remote/remote.h"

#include <errno.h>

/* Requests a disk has under way at most; more wait here. */
#define MAX_IN_FLIGHT 64u
/* How long a machine's control thread waits for a server. */
#define CONTROL_LIMIT_S 30

void remote_error(char *why, Error **errp)
{
    error_set(errp, "%s", why ? why : "no reason was given");
    g_free(why);
}

/* ---- one request ---- */

typedef struct Wait {
    EventLoop *loop;
    Fiber *fiber; /* NULL: a thread sleeps */
    GMutex lock;
    GCond cond;
    bool done;
} Wait;

static void resume(void *opaque)
{
    fiber_enter(opaque);
}

static void request_done(RemoteRequest *r)
{
    Wait *w = r->opaque;
    if (w->fiber) {
        loop_defer(w->loop, resume, w->fiber); /* not before the fiber has yielded: the lock */
        return;
    }
    g_mutex_lock(&w->lock);
    w->done = true;
    g_cond_signal(&w->cond);
    g_mutex_unlock(&w->lock);
}

static int run_sleeping(BlockNode *n, RemoteRequest *r)
{
    Remote *s = n->s;
    Wait w = {0};
    if (loop_is_served(n->graph->control)) { /* a monitor waits, not a tool */
        r->limit_s = CONTROL_LIMIT_S;
    }
    g_mutex_init(&w.lock);
    g_cond_init(&w.cond);
    r->opaque = &w;
    s->module->submit(s->disk, r);
    g_mutex_lock(&w.lock);
    while (!w.done) {
        g_cond_wait(&w.cond, &w.lock);
    }
    g_mutex_unlock(&w.lock);
    g_mutex_clear(&w.lock);
    g_cond_clear(&w.cond);
    return r->result;
}

int remote_run(BlockNode *n, RemoteRequest *r)
{
    Remote *s = n->s;
    r->done = request_done;
    if (!fiber_in() || !n->loop) {
        return run_sleeping(n, r);
    }
    while (s->in_flight >= MAX_IN_FLIGHT) {
        fiber_queue_wait(&s->room);
    }
    s->in_flight++;
    Wait w = {.loop = n->loop, .fiber = fiber_self()};
    r->opaque = &w;
    s->module->submit(s->disk, r);
    fiber_yield();
    s->in_flight--;
    fiber_queue_wake(&s->room);
    return r->result;
}

/* ---- callbacks ---- */

int remote_preadv(BlockNode *n, uint64_t off, const IoVec *v)
{
    /* Formats may read beyond the end of their file: zeroes. */
    uint64_t have = off < n->length ? MIN(v->size, n->length - off) : 0;
    IoVec part = *v;
    if (have < v->size) {
        iov_memset(v->iov, v->n, (size_t)have, 0, v->size - (size_t)have);
        if (!have) {
            return 0;
        }
        iovec_slice(&part, v, 0, (size_t)have);
    }
    RemoteRequest r = {.op = REMOTE_READ, .off = off, .len = have, .iov = part.iov, .niov = part.n};
    int ret = remote_run(n, &r);
    if (have < v->size) {
        iovec_free(&part);
    }
    return ret;
}

static bool fits_in(BlockNode *n, uint64_t off, uint64_t len)
{
    Remote *s = n->s;
    return s->grows || (off <= n->length && len <= n->length - off);
}

int remote_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    if (!fits_in(n, off, v->size)) {
        return -ENOSPC;
    }
    RemoteRequest r = {.op = REMOTE_WRITE,
                       .off = off,
                       .len = v->size,
                       .iov = v->iov,
                       .niov = v->n,
                       .flags = flags & BLK_FUA ? REMOTE_FUA : 0};
    return remote_run(n, &r);
}

int remote_flush(BlockNode *n)
{
    RemoteRequest r = {.op = REMOTE_FLUSH};
    return remote_run(n, &r);
}

int remote_discard(BlockNode *n, uint64_t off, uint64_t len)
{
    Remote *s = n->s;
    if (!s->info.discard || off >= n->length) {
        return -ENOTSUP;
    }
    RemoteRequest r = {.op = REMOTE_DISCARD, .off = off, .len = MIN(len, n->length - off)};
    return remote_run(n, &r);
}

int remote_zero(BlockNode *n, uint64_t off, uint64_t len, unsigned flags)
{
    Remote *s = n->s;
    if (!s->info.zero) {
        return -ENOTSUP;
    }
    if (!fits_in(n, off, len)) {
        return -ENOSPC;
    }
    RemoteRequest r = {.op = REMOTE_ZERO,
                       .off = off,
                       .len = len,
                       .flags = (flags & BLK_FUA ? REMOTE_FUA : 0) |
                                (flags & BLK_MAY_UNMAP ? REMOTE_MAY_UNMAP : 0)};
    return remote_run(n, &r);
}

int remote_map(BlockNode *n, uint64_t off, uint64_t len, BlockMap *out)
{
    Remote *s = n->s;
    *out = (BlockMap){.flags = BLOCK_MAP_DATA | BLOCK_MAP_OFFSET, .len = len, .host = off};
    if (off >= n->length) {
        *out = (BlockMap){.flags = BLOCK_MAP_ZERO, .len = len};
        return 0;
    }
    if (!s->info.status) {
        return 0;
    }
    RemoteRequest r = {.op = REMOTE_STATUS, .off = off, .len = MIN(len, n->length - off)};
    int ret = remote_run(n, &r);
    if (ret == 0 && r.extent) {
        out->len = MIN(r.len, r.extent);
        out->flags = BLOCK_MAP_OFFSET | (r.state & REMOTE_STATE_DATA ? BLOCK_MAP_DATA : 0) |
                     (r.state & REMOTE_STATE_ZERO ? BLOCK_MAP_ZERO : 0);
    }
    return ret == -ENOTSUP ? 0 : ret;
}

/* ---- life ---- */

static void report(const char *text)
{
    report_warning("%s", text);
}

bool remote_open(BlockNode *n, const char *module, const void *spec, Error **errp)
{
    Remote *s = n->s;
    char *why = NULL;
    fiber_queue_init(&s->room);
    s->host = (RemoteHost){.what = n->filename, .report = report, .draining = &n->graph->draining};
    s->module = module_load(module, errp);
    if (!s->module) {
        return false;
    }
    s->disk = s->module->open(spec, &s->host, &s->info, &why);
    if (!s->disk) {
        remote_error(why, errp);
        return false;
    }
    if (s->info.read_only && !n->flags.read_only) {
        if (!n->flags.auto_read_only) {
            error_set(errp, "'%s' is read-only: the server does not allow writing", n->filename);
            error_hint(errp, "open it with read-only=on");
            return false;
        }
        n->flags.read_only = true;
    }
    n->length = s->info.length;
    n->limits.request_align = s->info.block;
    n->limits.discard_align = s->info.discard_align;
    n->limits.max_transfer = MAX(s->info.max_transfer, s->info.block);
    n->limits.opt_io = s->info.opt_io;
    n->limits.max_iov = 512;
    return true;
}

void remote_close(BlockNode *n)
{
    Remote *s = n->s;
    if (s->disk) {
        s->module->close(s->disk);
    }
}
