/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tools/img-copy.h: one or more images, one behind the other, into a target, with several requests
 * at a time and holes where there are only zeroes.
 */
#ifndef RHEA_TOOLS_IMG_COPY_H
#define RHEA_TOOLS_IMG_COPY_H

#include "tools/tool.h"

typedef struct ImgCopy {
    BlockNode **sources;
    unsigned n_sources;
    BlockNode *target;
    uint64_t from;  /* first byte of the (one) source */
    uint64_t total; /* bytes to copy */
    uint64_t sparse, rate;
    unsigned parallel; /* requests at a time; 0: as many as are good */
    bool compress, salvage, offload, unordered, quiet;
    bool target_zero;        /* it reads as zeroes where nothing was written */
    bool target_has_backing; /* what the source has not allocated is not written */
    ToolProgress progress;
} ImgCopy;

/* false and a message, or none when the user interrupted. */
bool img_copy(Tool *t, ImgCopy *c, Error **errp);
/* Persistent bitmaps of `src` into `dst`, by the same names. */
bool img_copy_bitmaps(BlockNode *src, BlockNode *dst, bool skip_broken, Error **errp);

#endif
