/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The format "raw": the bytes of `file`, or a window of them. */
#include "block/image.h"

#include <errno.h>

typedef struct RawState {
    uint64_t offset;
    bool windowed; /* offset= or size= was given */
    bool fixed_size;
} RawState;

static bool raw_refresh(BlockNode *n, uint64_t size, Error **errp)
{
    RawState *s = n->s;
    uint64_t have = n->file->length;
    if (!s->windowed) {
        /* Devices count in sectors: a last, partial one reads as filled with zeroes. */
        n->length = ALIGN_UP(have, (uint64_t)BLOCK_SECTOR);
        return true;
    }
    if (s->offset > have) {
        error_set(errp,
                  "'%s' has %" G_GUINT64_FORMAT " bytes: offset=%" G_GUINT64_FORMAT
                  " lies beyond its end",
                  node_filename(n), have, s->offset);
        return false;
    }
    if (size == UINT64_MAX) {
        n->length = ALIGN_DOWN(have - s->offset, (uint64_t)BLOCK_SECTOR);
        return true;
    }
    if (size > have - s->offset) {
        error_set(errp,
                  "'%s' has %" G_GUINT64_FORMAT " bytes: offset=%" G_GUINT64_FORMAT
                  " with size=%" G_GUINT64_FORMAT " passes its end",
                  node_filename(n), have, s->offset, size);
        return false;
    }
    n->length = size;
    return true;
}

static bool raw_open(BlockNode *n, BlockOpts *o, Error **errp)
{
    RawState *s = n->s;
    bool has_size = block_opts_has(o, "size");
    s->windowed = has_size || block_opts_has(o, "offset");
    s->fixed_size = has_size;
    s->offset = block_opts_size(o, "offset", 0);
    uint64_t size = block_opts_size(o, "size", UINT64_MAX);
    if (has_size && size % BLOCK_SECTOR) {
        block_opts_mistake(o, "'size' must be a multiple of 512");
    }
    if (!block_opts_finish(o, errp)) {
        return false;
    }
    return raw_refresh(n, size, errp);
}

static int raw_preadv(BlockNode *n, uint64_t off, const IoVec *v)
{
    RawState *s = n->s;
    return node_preadv(n->file, off + s->offset, v);
}

/*
 * An image whose format was guessed to be raw must not turn into another format
 * by what the guest writes: the next start would then open what the guest made up.
 */
static bool forges_header(BlockNode *n, uint64_t off, const IoVec *v)
{
    RawState *s = n->s;
    if (!n->flags.probed || off >= BLOCK_SECTOR) {
        return false;
    }
    uint8_t head[2048];
    size_t have = (size_t)MIN((uint64_t)sizeof(head), n->length);
    memset(head, 0, sizeof(head));
    if (node_pread(n->file, s->offset, head, have) < 0) {
        return true;
    }
    if (off < have) {
        iov_to_buf(v->iov, v->n, 0, head + off, MIN(v->size, have - (size_t)off));
    }
    for (guint i = 0; i < n->graph->drivers->len; i++) {
        const BlockDriver *d = n->graph->drivers->pdata[i];
        if (d->probe && d->probe(head, have) > 0) {
            return true;
        }
    }
    return false;
}

static int raw_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    RawState *s = n->s;
    if (forges_header(n, off, v)) {
        return -EPERM;
    }
    return node_pwritev(n->file, off + s->offset, v, flags);
}

static int raw_discard(BlockNode *n, uint64_t off, uint64_t len)
{
    RawState *s = n->s;
    return node_discard(n->file, off + s->offset, len);
}

static int raw_zero(BlockNode *n, uint64_t off, uint64_t len, unsigned flags)
{
    RawState *s = n->s;
    return node_zero(n->file, off + s->offset, len, flags | BLK_NO_FALLBACK);
}

static int raw_truncate(BlockNode *n, uint64_t size, BlockPrealloc prealloc, Error **errp)
{
    RawState *s = n->s;
    if (s->fixed_size) {
        error_set(errp, "cannot resize '%s': its size= was given", node_filename(n));
        return -ENOTSUP;
    }
    int ret = node_resize(n->file, size + s->offset, prealloc, errp);
    if (ret == 0) {
        n->length = ALIGN_UP(size, (uint64_t)BLOCK_SECTOR);
    }
    return ret;
}

static int raw_map(BlockNode *n, uint64_t off, uint64_t len, BlockMap *out)
{
    RawState *s = n->s;
    *out = (BlockMap){BLOCK_MAP_DATA | BLOCK_MAP_OFFSET | BLOCK_MAP_RECURSE, len, off + s->offset,
                      n->file};
    return 0;
}

static int64_t raw_allocated(BlockNode *n)
{
    return n->file->drv->allocated ? n->file->drv->allocated(n->file) : -1;
}

/* ---- making ---- */

static const BlockCreateOption raw_create_options[] = {
    {"size", "size", "bytes"},
    {"preallocation", "off|falloc|full", "space that is reserved"},
    {"nocow", "bool", "turn off copy-on-write of the file system (btrfs)"},
    {NULL},
};

static bool raw_create(BlockGraph *g, BlockNode *file, BlockOpts *o, Error **errp)
{
    bool sized = block_opts_has(o, "size");
    uint64_t size = block_opts_size(o, "size", 0);
    int prealloc = block_opts_enum(o, "preallocation", block_prealloc_names, PREALLOC_OFF);
    if (prealloc == PREALLOC_METADATA) {
        block_opts_mistake(o, "'preallocation' cannot be 'metadata': raw images have none");
    }
    if (!sized) {
        block_opts_mistake(o, "'size' is missing");
    }
    if (!block_opts_finish(o, errp)) {
        return false;
    }
    /* As QEMU does: whole sectors. */
    return node_resize(file, ALIGN_UP(size, (uint64_t)BLOCK_SECTOR), (BlockPrealloc)prealloc,
                       errp) == 0;
}

static bool raw_measure(BlockNode *src, BlockOpts *o, BlockMeasure *out, Error **errp)
{
    uint64_t size = block_opts_size(o, "size", src ? src->length : 0);
    int prealloc = block_opts_enum(o, "preallocation", block_prealloc_names, PREALLOC_OFF);
    (void)prealloc; /* all of it counts either way */
    out->required = out->fully_allocated = ALIGN_UP(size, (uint64_t)BLOCK_SECTOR);
    return block_opts_finish(o, errp);
}

const BlockDriver block_driver_raw = {
    .name = "raw",
    .help = "plain bytes",
    .state_size = sizeof(RawState),
    .filter = true,
    .open = raw_open,
    .preadv = raw_preadv,
    .pwritev = raw_pwritev,
    .discard = raw_discard,
    .zero = raw_zero,
    .truncate = raw_truncate,
    .map = raw_map,
    .allocated = raw_allocated,
    .create_options = raw_create_options,
    .create = raw_create,
    .measure = raw_measure,
};
