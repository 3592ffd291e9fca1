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
    s->cluster = MAX(target->limits.opt_io, 65536u);
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

/* Copies what is about to change, and keeps the copying job off until the write is done. */
static int before(BlockNode *n, RangeHold *hold, uint64_t off, uint64_t len)
{
    CbwState *s = n->s;
    bool is_read;
    int ret = s->todo ? cbw_copy(n, off, len, &is_read) : 0;
    if (ret < 0 && s->break_snapshot) {
        s->broken = ret;
        ret = 0;
    }
    if (ret == 0) {
        range_lock(&s->ranges, hold, off, len, false);
    }
    return ret;
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
        range_unlock(&((CbwState *)n->s)->ranges, &hold);
    }
    return ret;
}

static int cbw_zero(BlockNode *n, uint64_t off, uint64_t len, unsigned flags)
{
    RangeHold hold;
    int ret = before(n, &hold, off, len);
    if (ret == 0) {
        ret = node_zero(n->file, off, len, flags);
        range_unlock(&((CbwState *)n->s)->ranges, &hold);
    }
    return ret;
}

static int cbw_discard(BlockNode *n, uint64_t off, uint64_t len)
{
    RangeHold hold;
    int ret = before(n, &hold, off, len);
    if (ret == 0) {
        ret = node_discard(n->file, off, len);
        range_unlock(&((CbwState *)n->s)->ranges, &hold);
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
    return bitmap_check(b, false, errp) && bitmap_merge(s->todo, b, errp);
}

static bool cbw_open(BlockNode *n, BlockOpts *o, Error **errp)
{
    static const char *const on_error[] = {"break-guest-write", "break-snapshot", NULL};
    CbwState *s = n->s;
    Json *target = block_opts_take(o, "target"), *bitmap = block_opts_take(o, "bitmap");
    s->break_snapshot = block_opts_enum(o, "on-cbw-error", on_error, 0) == 1;
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
