/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The filter "copy-on-read": what is read from layers below becomes part of the top layer. */
#include "block/alloc.h"
#include "block/ops.h"

#include <errno.h>

#define STEP (1u << 20)

static uint64_t unit(const BlockNode *n)
{
    return MAX(n->limits.opt_io, 65536u);
}

/* One stretch, alone with it. */
static int copy_stretch(BlockNode *n, uint64_t off, uint64_t len, bool *is_read)
{
    CorState *s = n->s;
    BlockNode *top = node_skip_filters(n->file);
    unsigned here, below = 0;
    uint64_t got;
    int ret = 0;
    *is_read = true;
    while (len && ret == 0) {
        ret = chain_map(top, top->backing, off, len, &here, &got);
        if (ret == 0 && !here && top->backing) {
            uint64_t deep = got;
            ret = chain_map(top->backing, s->bottom, off, got, &below, &deep);
            got = deep;
        } else {
            below = 0;
        }
        if (ret == 0 && (below & BLOCK_MAP_ZERO)) {
            *is_read = false;
            ret = node_zero(n->file, off, got, 0);
        } else if (ret == 0 && below) {
            got = MIN(got, STEP);
            void *buf = try_aligned(4096, got);
            if (!buf) {
                return -ENOMEM;
            }
            ret = node_pread(n->file, off, buf, got);
            if (ret == 0) {
                *is_read = false;
                node_event(n->file, BLKEV_COR_WRITE);
                ret = node_pwrite(n->file, off, buf, got, 0);
            }
            free(buf);
        }
        off += got;
        len -= got;
    }
    return ret;
}

int cor_copy(BlockNode *n, uint64_t off, uint64_t len, bool *is_read)
{
    CorState *s = n->s;
    RangeHold hold;
    uint64_t start = ALIGN_DOWN(off, unit(n)), end = MIN(ALIGN_UP(off + len, unit(n)), n->length);
    range_lock(&s->ranges, &hold, start, end - start, true);
    int ret = copy_stretch(n, start, end - start, is_read);
    range_unlock(&s->ranges, &hold);
    return ret;
}

static bool cor_open(BlockNode *n, BlockOpts *o, Error **errp)
{
    CorState *s = n->s;
    range_lock_init(&s->ranges);
    const char *bottom = block_opts_string(o, "bottom", NULL);
    if (!block_opts_finish(o, errp)) {
        return false;
    }
    if (bottom) {
        BlockNode *b = block_node_find(n->graph, bottom);
        if (!b || b == node_skip_filters(n->file) || !chain_has(n->file, b)) {
            error_set(errp, "bottom=%s is not below '%s'", bottom, n->file->name);
            return false;
        }
        s->bottom = node_below(b); /* the option names the last layer that is copied */
    }
    n->length = n->file->length;
    n->limits.request_align = n->file->limits.request_align;
    n->limits.discard_align = n->file->limits.discard_align;
    n->limits.opt_io = n->file->limits.opt_io;
    return true;
}

static int cor_preadv(BlockNode *n, uint64_t off, const IoVec *v)
{
    bool is_read;
    if (!n->flags.read_only && fiber_in()) {
        /* A copy that fails is no reason to fail the read. */
        cor_copy(n, off, v->size, &is_read);
    }
    return node_preadv(n->file, off, v);
}

static int cor_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    CorState *s = n->s;
    RangeHold hold;
    range_lock(&s->ranges, &hold, off, v->size, false);
    int ret = node_pwritev(n->file, off, v, flags);
    range_unlock(&s->ranges, &hold);
    return ret;
}

static int cor_discard(BlockNode *n, uint64_t off, uint64_t len)
{
    CorState *s = n->s;
    RangeHold hold;
    range_lock(&s->ranges, &hold, off, len, false);
    int ret = node_discard(n->file, off, len);
    range_unlock(&s->ranges, &hold);
    return ret;
}

static int cor_zero(BlockNode *n, uint64_t off, uint64_t len, unsigned flags)
{
    CorState *s = n->s;
    RangeHold hold;
    range_lock(&s->ranges, &hold, off, len, false);
    int ret = node_zero(n->file, off, len, flags);
    range_unlock(&s->ranges, &hold);
    return ret;
}

static int cor_truncate(BlockNode *n, uint64_t size, BlockPrealloc prealloc, Error **errp)
{
    return node_resize(n->file, size, prealloc, errp);
}

static int cor_map(BlockNode *n, uint64_t off, uint64_t len, BlockMap *out)
{
    return node_map(n->file, off, len, out);
}

/* Reading writes: the file must be ours for that, whatever the users do. */
const BlockDriver block_driver_cor = {
    .name = "copy-on-read",
    .help = "what is read from backing files becomes part of the image",
    .state_size = sizeof(CorState),
    .filter = true,
    .filter_writes = true,
    .transparent = true,
    .open = cor_open,
    .preadv = cor_preadv,
    .pwritev = cor_pwritev,
    .discard = cor_discard,
    .zero = cor_zero,
    .truncate = cor_truncate,
    .map = cor_map,
};
