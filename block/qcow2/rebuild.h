/* SPDX-License-Identifier: GPL-2.0-or-later */
/* block/qcow2/rebuild.h: a complete new set of refcount blocks and their table. */
#ifndef RHEA_BLOCK_QCOW2_REBUILD_H
#define RHEA_BLOCK_QCOW2_REBUILD_H

#include "block/qcow2/check.h"

typedef struct Qcow2Rebuild {
    BlockNode *file;
    unsigned cluster_bits, order; /* order: log2 of the width in bits */
    uint64_t (*get)(void *opaque, uint64_t cluster);
    bool (*empty)(void *opaque, uint64_t cluster); /* none in the 1024 clusters around */
    void *opaque;
} Qcow2Rebuild;
/*
 * Writes and flushes them behind the end of the file, which counts for nothing yet; the header is
 * the caller's.  *out (qcow2_table_free() it): the table, *clusters long.  -EOVERFLOW: too narrow.
 */
int qcow2_rebuild_write(const Qcow2Rebuild *r, Qcow2Table *out, uint32_t *clusters);
/* They are the image's from now on; `fresh` is empty afterwards. Cannot fail. */
void qcow2_adopt_refcounts(Qcow2 *s, Qcow2Table *fresh, uint32_t clusters);
/* Puts count `i` into a block of zeroes. */
void qcow2_count_put(uint8_t *block, unsigned order, uint64_t i, uint64_t v);

#endif
