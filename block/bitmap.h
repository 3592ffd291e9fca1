/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block/bitmap.h: dirty bitmaps: which parts of a node were written since.
 *
 * A bitmap hangs on a node; every write, zeroing and discard that goes through the node
 * marks it when it ends (also when it failed: parts may have been written).  Users name
 * theirs; jobs have nameless ones.
 *
 * A persistent bitmap is kept in the image by the format: before the first write to a
 * part that is clean on disk, `drv->bitmap_dirty` has put a superset there.
 *
 * Locking: the loop of the node, or a quiescent graph.
 */
#ifndef RHEA_BLOCK_BITMAP_H
#define RHEA_BLOCK_BITMAP_H

#include "block/node.h"

#define BITMAP_NAME_MAX 1023u
#define BITMAP_GRANULARITY_MIN 512u
#define BITMAP_GRANULARITY_MAX (2u << 30)

typedef struct BlockBitmap {
    BlockNode *node;
    char *name;        /* NULL: a job's */
    unsigned shift;    /* granularity is 1 << shift bytes */
    uint64_t size;     /* bytes covered */
    uint64_t n_bits;   /* valid bits */
    uint64_t count;    /* bits set */
    uint64_t *words;   /* zeroes behind n_bits */
    size_t room;       /* words there is memory for */
    bool enabled;      /* writes mark it */
    bool persistent;   /* kept in the image */
    bool inconsistent; /* was in use when the program ended: only good for removal */
    bool readonly;     /* of an image that is open read-only */
    const char *busy;  /* a job or export that needs it as it is; NULL: free */
} BlockBitmap;

/* The node's cluster size, at least 4 KiB; 64 KiB where there is none. */
uint32_t bitmap_default_granularity(const BlockNode *n);
/* `name` NULL: nameless.  granularity 0: the default; a power of two within the limits. */
BlockBitmap *bitmap_new(BlockNode *n, const char *name, uint64_t granularity, Error **errp);
void bitmap_free(BlockBitmap *b);
void bitmaps_free(BlockNode *n); /* all of a node that goes */
BlockBitmap *bitmap_find(BlockNode *n, const char *name);
static inline uint32_t bitmap_granularity(const BlockBitmap *b)
{
    return 1u << b->shift;
}
bool bitmap_get(const BlockBitmap *b, uint64_t off);
/* Whole granules around the range become dirty; clear: granules wholly within, or at the end. */
void bitmap_set(BlockBitmap *b, uint64_t off, uint64_t len);
void bitmap_clear(BlockBitmap *b, uint64_t off, uint64_t len);
void bitmap_clear_all(BlockBitmap *b);
/* The first dirty (clean) byte at or after `off`; UINT64_MAX: none. */
uint64_t bitmap_next_dirty(const BlockBitmap *b, uint64_t off);
uint64_t bitmap_next_clean(const BlockBitmap *b, uint64_t off);
/* Bytes that are dirty, at most; the last granule counts as whole. */
uint64_t bitmap_dirty_bytes(const BlockBitmap *b);
/* dst |= src; granularities may differ, sizes not. */
bool bitmap_merge(BlockBitmap *dst, const BlockBitmap *src, Error **errp);
/* The bits as a new nameless bitmap that belongs to nobody; bitmap_free() it. */
BlockBitmap *bitmap_copy_bits(const BlockBitmap *b);
/* May a user's command use or change it?  Names what is in the way. */
bool bitmap_check(const BlockBitmap *b, bool allow_inconsistent, Error **errp);

/* ---- io.c's side ---- */
int bitmaps_before_write(BlockNode *n, uint64_t off, uint64_t len);
void bitmaps_after_write(BlockNode *n, uint64_t off, uint64_t len);
/* Memory for bitmaps of `n` and the filters over it, for a disk of `size` bytes; false: none. */
bool bitmaps_reserve(BlockNode *n, uint64_t size);
/* The node has its new length; memory was reserved. Cannot fail. */
void bitmaps_resize(BlockNode *n);
/* BlockDirtyInfo of each user's bitmap of a node; NULL if there is none. */
Json *bitmaps_query(BlockNode *n);

#endif
