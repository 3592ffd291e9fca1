/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The filters "compress" (writes are stored compressed) and "preallocate" (files grow ahead). */
#include "block/passthrough.h"

#include <errno.h>

/* ---- compress ---- */

static bool compress_open(BlockNode *n, BlockOpts *o, Error **errp)
{
    if (!block_opts_finish(o, errp)) {
        return false;
    }
    if (!n->file->drv->supports_compressed) {
        error_set(errp, "the format '%s' of '%s' cannot store compressed data", n->file->drv->name,
                  n->file->name);
        return false;
    }
    pass_limits(n);
    n->limits.request_align = MAX(n->limits.opt_io, n->limits.request_align);
    return true;
}

static int compress_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    return node_pwritev(n->file, off, v, flags | BLK_COMPRESSED);
}

const BlockDriver block_driver_compress = {
    .name = "compress",
    .help = "writes are stored compressed",
    .filter = true,
    .transparent = true,
    .open = compress_open,
    .preadv = pass_preadv,
    .pwritev = compress_pwritev,
    .discard = pass_discard,
    .zero = pass_zero,
    .truncate = pass_truncate,
    .map = pass_map,
};

/* ---- preallocate ---- */

typedef struct Prealloc {
    uint64_t size, align;
    uint64_t data_end; /* what users have written */
    bool broken;       /* the file cannot be made longer: nothing is tried any more */
} Prealloc;

static bool prealloc_open(BlockNode *n, BlockOpts *o, Error **errp)
{
    Prealloc *s = n->s;
    s->align = block_opts_size(o, "prealloc-align", 1 << 20);
    s->size = block_opts_size(o, "prealloc-size", 128 << 20);
    if (!s->align || s->align % BLOCK_SECTOR) {
        block_opts_mistake(o, "'prealloc-align' must be a multiple of 512");
    }
    if (!block_opts_finish(o, errp)) {
        return false;
    }
    if (!n->file->drv->protocol || n->file->drv->no_file) {
        error_set(errp, "preallocate goes on a file, not on '%s'", n->file->drv->name);
        return false;
    }
    pass_limits(n);
    s->data_end = n->length;
    return true;
}

/* What was taken in advance is given back. */
static void give_back(BlockNode *n)
{
    Prealloc *s = n->s;
    if (!n->flags.read_only && n->file->length > s->data_end) {
        node_truncate(n->file, s->data_end, NULL);
    }
}

static void prealloc_close(BlockNode *n)
{
    give_back(n);
}

static void grow_ahead(BlockNode *n, uint64_t end)
{
    Prealloc *s = n->s;
    if (s->broken || end <= n->file->length) {
        return;
    }
    uint64_t start = n->file->length, want = ALIGN_UP(end + s->size, s->align);
    /* Zeroed and allocated: reads beyond what was written give zeroes, as they must. */
    if (want > start && node_zero(n->file, start, want - start, BLK_NO_FALLBACK) < 0) {
        s->broken = true;
    }
}

static void note_end(BlockNode *n, uint64_t end)
{
    Prealloc *s = n->s;
    s->data_end = MAX(s->data_end, end);
    n->length = s->data_end;
}

static int prealloc_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    grow_ahead(n, off + v->size);
    int ret = node_pwritev(n->file, off, v, flags);
    if (ret == 0) {
        note_end(n, off + v->size);
    }
    return ret;
}

static int prealloc_zero(BlockNode *n, uint64_t off, uint64_t len, unsigned flags)
{
    grow_ahead(n, off + len);
    int ret = node_zero(n->file, off, len, flags);
    if (ret == 0) {
        note_end(n, off + len);
    }
    return ret;
}

static int prealloc_truncate(BlockNode *n, uint64_t size, BlockPrealloc prealloc, Error **errp)
{
    int ret = node_resize(n->file, size, prealloc, errp);
    if (ret == 0) {
        ((Prealloc *)n->s)->data_end = n->length = size;
    }
    return ret;
}

const BlockDriver block_driver_preallocate = {
    .name = "preallocate",
    .help = "a file grows in large steps, ahead of the writes",
    .state_size = sizeof(Prealloc),
    .filter = true,
    .protocol_like = true,
    .open = prealloc_open,
    .close = prealloc_close,
    .preadv = pass_preadv,
    .pwritev = prealloc_pwritev,
    .discard = pass_discard,
    .zero = prealloc_zero,
    .truncate = prealloc_truncate,
    .map = pass_map,
};
