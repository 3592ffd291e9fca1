/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block/passthrough.h: what filters do that leave a request as it is: the callbacks that hand it
 * on to `file`.  For the files of this room.
 */
#ifndef RHEA_BLOCK_PASSTHROUGH_H
#define RHEA_BLOCK_PASSTHROUGH_H

#include "block/node.h"

static inline int pass_preadv(BlockNode *n, uint64_t off, const IoVec *v)
{
    return node_preadv(n->file, off, v);
}

static inline int pass_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    return node_pwritev(n->file, off, v, flags);
}

static inline int pass_discard(BlockNode *n, uint64_t off, uint64_t len)
{
    return node_discard(n->file, off, len);
}

static inline int pass_zero(BlockNode *n, uint64_t off, uint64_t len, unsigned flags)
{
    return node_zero(n->file, off, len, flags);
}

static inline int pass_truncate(BlockNode *n, uint64_t size, BlockPrealloc prealloc, Error **errp)
{
    return node_resize(n->file, size, prealloc, errp);
}

static inline int pass_map(BlockNode *n, uint64_t off, uint64_t len, BlockMap *out)
{
    return node_map(n->file, off, len, out);
}

/* Size and limits of `file`, at the end of open(). */
static inline void pass_limits(BlockNode *n)
{
    n->length = n->file->length;
    n->limits.request_align = n->file->limits.request_align;
    n->limits.discard_align = n->file->limits.discard_align;
    n->limits.opt_io = n->file->limits.opt_io;
}

#endif
