/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The filter "copy-before-write": old data go to `target` before new ones come. */
#include "block/bitmap.h"
#include "block/ops.h"

#include <errno.h>

bool cbw_setup(BlockNode *n, BlockNode *target, bool all, Error **errp)
{
    CbwState *s = n->s;
    if (target->length < n->file->length) {
        error_set(errp, "the target '%s' is smaller than '%s'", target->name, n->file->name);
        return false;
    }
    range_lock_init(&s->ranges);
    s->cluster = MAX(MAX(target->limits.opt_io, 65536u), s->min_cluster);
    s->cluster = MAX(s->cluster, MAX(target->limits.request_align, n->file->limits.request_align));
    s->todo = bitmap_new(n, NULL, s->cluster, errp);
    if (!s->todo) {
        return false;
    }
    s->todo->enabled = false; /* only copying changes it */
    if (all) {
        bitmap_set(s->todo, 0, s->todo->size);
    }
    s->target = node_ref(target);
    if (target->loop != n->loop) {
        if (target->users->len) {
            error_set(errp, "block node '%s' is used by another I/O thread than '%s'", target->name,
                      n->file->name);
            return false;
        }
        node_set_loop(target, n->loop);
    }
    return node_take(target, n, n->name, true, false, errp);
}

int cbw_copy(BlockNode *n, uint64_t off, uint64_t len, bool *is_read)
{
    CbwState *s = n->s;
    uint64_t end = MIN(off + len, n->length);
    int ret = 0;
    *is_read = true;
    while (ret == 0 && !s->broken && (off = bitmap_next_dirty(s->todo, off)) < end) {
        RangeHold hold;
        uint64_t start = ALIGN_DOWN(off, (uint64_t)s->cluster);
        uint64_t stop = MIN(start + s->cluster, n->length);
        range_lock(&s->ranges, &hold, start, stop - start, true);
        if (bitmap_get(s->todo, start)) { /* nobody was faster */
            ret = block_copy(n->file, s->target, start, stop - start, true,
                             s->compress ? BLK_COMPRESSED : 0, is_read);
            if (ret == 0) {
                bitmap_clear(s->todo, start, stop - start);
            }
        }
        range_unlock(&s->ranges, &hold);
        off = stop;
    }
    return ret;
}

/* A copy that is waited for only so long; it goes on by itself after that. */
typedef struct TimedCopy {
    BlockNode *n;
    uint64_t off, len;
    Fiber *waiter; /* NULL: nobody waits any more */
    Timer timer;
    bool sleeping, done;
    int ret;
} TimedCopy;

static void wake(void *opaque)
{
    fiber_enter(opaque);
}

static void copy_fiber(void *opaque)
{
    TimedCopy *t = opaque;
    BlockNode *n = t->n;
    bool is_read;
    t->ret = cbw_copy(n, t->off, t->len, &is_read);
    t->done = true;
    if (!t->waiter) {
        g_free(t);
    } else if (t->sleeping) {
        t->sleeping = false;
        loop_defer(n->loop, wake, t->waiter);
    }
    block_leave(n->graph);
}

static void time_is_up(void *opaque)
{
    TimedCopy *t = opaque;
    if (t->sleeping) {
        t->sleeping = false;
        fiber_enter(t->waiter);
    }
}

static int copy_in_time(BlockNode *n, uint64_t off, uint64_t len)
{
    CbwState *s = n->s;
    TimedCopy *t = g_new0(TimedCopy, 1);
    *t = (TimedCopy){.n = n, .off = off, .len = len, .waiter = fiber_self()};
    timer_init(&t->timer, n->loop, CLOCK_RT, time_is_up, t);
    timer_mod(&t->timer, clock_now(loop_clocks(n->loop), CLOCK_RT) + s->timeout);
    block_enter_within(n->graph);
    fiber_enter(fiber_new(copy_fiber, t));
    if (!t->done) {
        t->sleeping = true;
        fiber_yield();
    }
    timer_fini(&t->timer);
    int ret = t->done ? t->ret : -ETIMEDOUT;
    if (t->done) {
        g_free(t);
    } else {
        t->waiter = NULL;
    }
    return ret;
}

/* Copies what is about to change, and keeps the copying job off until the write is done. */
static int before(BlockNode *n, RangeHold *hold, uint64_t off, uint64_t len)
{
    CbwState *s = n->s;
    bool is_read;
    int ret = 0;
    if (s->todo && s->timeout && fiber_in() && !s->broken) {
        ret = copy_in_time(n, off, len);
    } else if (s->todo) {
        ret = cbw_copy(n, off, len, &is_read);
    }
    if (ret < 0 && s->break_snapshot) {
        s->broken = ret;
        ret = 0;
    }
    *hold = (RangeHold){0};
    if (ret == 0 && !s->broken) { /* of a broken snapshot nothing has to be kept */
        range_lock(&s->ranges, hold, off, len, false);
    }
    return ret;
}

static void after(BlockNode *n, RangeHold *hold)
{
    if (hold->end) {
        range_unlock(&((CbwState *)n->s)->ranges, hold);
    }
}

static int cbw_preadv(BlockNode *n, uint64_t off, const IoVec *v)
{
    return node_preadv(n->file, off, v);
}

static int cbw_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    RangeHold hold;
    int ret = before(n, &hold, off, v->size);
    if (ret == 0) {
        ret = node_pwritev(n->file, off, v, flags);
        after(n, &hold);
    }
    return ret;
}

static int cbw_zero(BlockNode *n, uint64_t off, uint64_t len, unsigned flags)
{
    RangeHold hold;
    int ret = before(n, &hold, off, len);
    if (ret == 0) {
        ret = node_zero(n->file, off, len, flags);
        after(n, &hold);
    }
    return ret;
}

static int cbw_discard(BlockNode *n, uint64_t off, uint64_t len)
{
    RangeHold hold;
    int ret = before(n, &hold, off, len);
    if (ret == 0) {
        ret = node_discard(n->file, off, len);
        after(n, &hold);
    }
    return ret;
}

static int cbw_map(BlockNode *n, uint64_t off, uint64_t len, BlockMap *out)
{
    return node_map(n->file, off, len, out);
}

static bool mark_from_bitmap(BlockNode *n, const Json *spec, Error **errp)
{
    CbwState *s = n->s;
    const char *node = json_get_str(spec, "node"), *name = json_get_str(spec, "name");
    BlockNode *of = node ? block_node_find(n->graph, node) : NULL;
    BlockBitmap *b = of && name ? bitmap_find(of, name) : NULL;
    if (!b) {
        error_set(errp, "'bitmap' must name a node and a bitmap of it");
        return false;
    }
    if (!bitmap_check(b, false, errp) || !bitmap_merge(s->todo, b, errp)) {
        return false;
    }
    s->access = bitmap_copy_bits(s->todo);
    if (!s->access) {
        error_set(errp, "there is no memory for a copy of the bitmap '%s'", name);
    }
    return s->access != NULL;
}

static bool cbw_open(BlockNode *n, BlockOpts *o, Error **errp)
{
    static const char *const on_error[] = {"break-guest-write", "break-snapshot", NULL};
    CbwState *s = n->s;
    Json *target = block_opts_take(o, "target"), *bitmap = block_opts_take(o, "bitmap");
    s->break_snapshot = block_opts_enum(o, "on-cbw-error", on_error, 0) == 1;
    s->timeout = (int64_t)block_opts_uint(o, "cbw-timeout", 0, 0, UINT32_MAX) * NS_PER_SEC;
    uint64_t min = block_opts_size(o, "min-cluster-size", 0);
    if (min > (64u << 20) || (min && !IS_POWER_OF_2(min))) {
        block_opts_mistake(o, "'min-cluster-size' must be a power of two, at most 64M");
    }
    s->min_cluster = (uint32_t)min;
    if (!target) {
        block_opts_mistake(o, "'target' is missing");
    }
    if (!block_opts_finish(o, errp)) {
        return false;
    }
    n->length = n->file->length;
    n->limits.request_align = n->file->limits.request_align;
    n->limits.discard_align = n->file->limits.discard_align;
    n->limits.opt_io = n->file->limits.opt_io;
    BlockOpenFlags f = {.depth = n->flags.depth + 1};
    BlockNode *t = node_open(n->graph, target, &f, errp);
    bool ok = t && cbw_setup(n, t, !bitmap, errp);
    ok = ok && (!bitmap || mark_from_bitmap(n, bitmap, errp));
    node_unref(t);
    return ok;
}

static void cbw_close(BlockNode *n)
{
    CbwState *s = n->s;
    if (s->target) {
        node_release(s->target, n);
        node_unref(s->target);
        s->target = NULL;
    }
    bitmap_free(s->access);
    s->access = NULL;
}

static BlockNode **cbw_child(BlockNode *n, unsigned i, const char **role)
{
    *role = "target";
    return i == 0 ? &((CbwState *)n->s)->target : NULL;
}

const BlockDriver block_driver_cbw = {
    .name = "copy-before-write",
    .help = "copies old data to a target before they are overwritten",
    .state_size = sizeof(CbwState),
    .filter = true,
    .transparent = true,
    .open = cbw_open,
    .close = cbw_close,
    .preadv = cbw_preadv,
    .pwritev = cbw_pwritev,
    .discard = cbw_discard,
    .zero = cbw_zero,
    .map = cbw_map,
    .child = cbw_child,
};

/* ---- snapshot-access: the disk as it was when copy-before-write began ---- */

/* Bytes from `off` on that lie in one of its units. */
static uint64_t unit_room(const CbwState *s, uint64_t off)
{
    return s->cluster - off % s->cluster;
}

static int access_part(BlockNode *cbw, uint64_t off, const IoVec *v)
{
    CbwState *s = cbw->s;
    RangeHold hold;
    if (s->broken || (s->access && !bitmap_get(s->access, off))) {
        return -EACCES;
    }
    /* Held, the part cannot be copied now, and so nobody can change it. */
    range_lock(&s->ranges, &hold, off, v->size, false);
    int ret = node_preadv(bitmap_get(s->todo, off) ? cbw->file : s->target, off, v);
    range_unlock(&s->ranges, &hold);
    return ret < 0 || !s->broken ? ret : -EACCES;
}

static int access_preadv(BlockNode *n, uint64_t off, const IoVec *v)
{
    BlockNode *cbw = n->file;
    int ret = 0;
    for (size_t pos = 0; ret == 0 && pos < v->size;) {
        size_t len = (size_t)MIN((uint64_t)(v->size - pos), unit_room(cbw->s, off + pos));
        IoVec part;
        iovec_slice(&part, v, pos, len);
        ret = access_part(cbw, off + pos, &part);
        iovec_free(&part);
        pos += len;
    }
    return ret;
}

static int access_map(BlockNode *n, uint64_t off, uint64_t len, BlockMap *out)
{
    BlockNode *cbw = n->file;
    CbwState *s = cbw->s;
    if (s->broken || (s->access && !bitmap_get(s->access, off))) {
        return -EACCES;
    }
    len = MIN(len, unit_room(s, off));
    BlockNode *at = bitmap_get(s->todo, off) ? cbw->file : s->target;
    int ret = node_map_chain(at, NULL, off, MIN(len, at->length - off), out, NULL);
    out->flags &= BLOCK_MAP_DATA | BLOCK_MAP_ZERO; /* where it lies may change at any time */
    return ret;
}

static bool access_open(BlockNode *n, BlockOpts *o, Error **errp)
{
    Json *file = block_opts_take(o, "file");
    if (!file) {
        block_opts_mistake(o, "'file' is missing");
    }
    if (!block_opts_finish(o, errp)) {
        return false;
    }
    BlockOpenFlags f = {.depth = n->flags.depth + 1};
    n->file = node_open(n->graph, file, &f, errp);
    if (!n->file) {
        return false;
    }
    if (n->file->drv != &block_driver_cbw || !((CbwState *)n->file->s)->target) {
        error_set(errp, "snapshot-access goes on a node copy-before-write, not on '%s'",
                  n->file->drv->name);
        return false;
    }
    n->flags.read_only = true;
    n->length = n->file->length;
    n->limits.request_align = n->file->limits.request_align;
    node_set_loop(n, n->file->loop);
    return true;
}

const BlockDriver block_driver_snapshot_access = {
    .name = "snapshot-access",
    .help = "the disk as it was when the copy-before-write below began",
    .childless = true, /* it takes `file` by itself: reading there asks nobody's leave */
    .open = access_open,
    .preadv = access_preadv,
    .map = access_map,
};
