/* SPDX-License-Identifier: GPL-2.0-or-later */
/* block/qcow2/check.h: what counting (check.c) and rebuilding (rebuild.c) share. */
#ifndef RHEA_BLOCK_QCOW2_CHECK_H
#define RHEA_BLOCK_QCOW2_CHECK_H

#include "block/qcow2/qcow2.h"

/* References to clusters; memory is only used for parts in which there are some. */
typedef struct Qcow2Counts {
    uint32_t **chunk;
    uint64_t n, n_chunks; /* clusters; parts */
} Qcow2Counts;
bool qcow2_counts_init(Qcow2Counts *c, uint64_t clusters);
void qcow2_counts_free(Qcow2Counts *c);
uint32_t qcow2_counts_get(const Qcow2Counts *c, uint64_t cluster);
bool qcow2_counts_add(Qcow2Counts *c, uint64_t cluster); /* below c->n; false: no memory */
/* No references in the part around `cluster`. */
bool qcow2_counts_chunk_empty(const Qcow2Counts *c, uint64_t cluster);

typedef struct Qcow2Checker {
    Qcow2 *s;
    unsigned fix;
    const BlockProgress *p;
    BlockCheck *out;
    Qcow2Counts counts;
    uint64_t done, total, next_offset, highest;
    bool no_memory;        /* for counting: nothing that was found counts */
    bool rebuild, rebuilt; /* the refcount structures are beyond repair; they are new */
} Qcow2Checker;

/* All of the image's references, into k->counts. */
int qcow2_count_references(Qcow2Checker *k);
/* New refcount blocks and a new table behind all there is, by the counts. */
int qcow2_rebuild_refcounts(Qcow2Checker *k);

#endif
