/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block/formats/vmdk.h: the format "vmdk" ("VMware Virtual Disk Format 5.0"): a description in text,
 * and extents: flat files, or sparse ones with grain directories, tables and grains.
 */
#ifndef RHEA_BLOCK_FORMATS_VMDK_H
#define RHEA_BLOCK_FORMATS_VMDK_H

#include "block/formats/format.h"

#define VMDK_MAGIC 0x564d444bu /* "KDMV" */
#define VMDK_GTES 512u         /* entries of a grain table */
#define VMDK_COMPRESSED BIT(16)
#define VMDK_MARKERS BIT(17)
#define VMDK_REDUNDANT BIT(1)
#define VMDK_ZERO_GTE BIT(2)
#define VMDK_GD_AT_END UINT64_MAX
/* Offsets in the sparse header; all is little-endian. */
#define VMDK_H_VERSION 4
#define VMDK_H_FLAGS 8
#define VMDK_H_CAPACITY 12
#define VMDK_H_GRAIN 20
#define VMDK_H_DESC 28
#define VMDK_H_DESC_SIZE 36
#define VMDK_H_GTES 44
#define VMDK_H_RGD 48
#define VMDK_H_GD 56
#define VMDK_H_OVERHEAD 64
#define VMDK_H_CHECK 73
#define VMDK_H_COMPRESS 77

typedef struct VmdkExtent {
    BlockNode *file; /* referenced, unless it is n->file */
    bool flat, compressed, zero_gte;
    uint64_t start, end; /* guest bytes */
    uint64_t flat_offset;
    uint64_t grain;                   /* bytes */
    uint64_t n_tables, gd_at, rgd_at; /* rgd_at 0: there is none */
    uint32_t *gd, *rgd;               /* sectors, host order; rgd NULL: there is none */
    uint32_t **tables;                /* loaded ones, host order */
    uint8_t *dirty;                   /* per table */
    bool any_dirty;
    uint64_t next; /* where a new grain goes */
} VmdkExtent;

typedef struct Vmdk {
    GArray *extents; /* VmdkExtent */
    FiberMutex lock;
    char *create_type, *parent;
    uint32_t cid;
    uint8_t *unpacked; /* the grain that was unpacked last */
    uint64_t unpacked_at;
    uint8_t *spare;
} Vmdk;

/* vmdk-grain.c */
VmdkExtent *vmdk_extent_at(const Vmdk *s, uint64_t off); /* NULL: none */
/* The table for byte `in` of the extent; NULL: none. Under the lock. */
int vmdk_get_table(VmdkExtent *e, uint64_t in, uint32_t **out);
int vmdk_preadv(BlockNode *n, uint64_t off, const IoVec *v);
int vmdk_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags);
int vmdk_flush(BlockNode *n);
int vmdk_map(BlockNode *n, uint64_t off, uint64_t len, BlockMap *out);

/* vmdk-check.c */
int vmdk_check(BlockNode *n, unsigned fix, const BlockProgress *p, BlockCheck *out, Error **errp);
int vmdk_truncate(BlockNode *n, uint64_t size, BlockPrealloc prealloc, Error **errp);

/* vmdk-create.c */
extern const BlockCreateOption vmdk_create_options[];
bool vmdk_create(BlockGraph *g, BlockNode *file, BlockOpts *o, Error **errp);

#endif
