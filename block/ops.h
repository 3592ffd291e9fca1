/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block/ops.h: live operations on the graph: mirror, commit, stream, backup, snapshots,
 * transactions.  Each takes what its QMP command takes and leaves a job that was started
 * (or, within a transaction, is started by it).
 *
 * All for the control thread.  Messages name what is in the way.
 */
#ifndef RHEA_BLOCK_OPS_H
#define RHEA_BLOCK_OPS_H

#include "block/job.h"
#include "block/range.h"

struct BlockBitmap;

typedef enum BlockSync {
    BLOCK_SYNC_TOP,
    BLOCK_SYNC_FULL,
    BLOCK_SYNC_NONE,
    BLOCK_SYNC_INCREMENTAL,
    BLOCK_SYNC_BITMAP,
} BlockSync;
typedef enum BitmapMode {
    BITMAP_MODE_ON_SUCCESS,
    BITMAP_MODE_NEVER,
    BITMAP_MODE_ALWAYS,
} BitmapMode;

/* ---- copying, for jobs (copy.c) ---- */
/*
 * Makes [off, off + len) of `dst` equal to `src`; zeroes and holes stay what they are.
 * `unmap`: zeroes may deallocate.  *is_read: which side failed.  A fiber, or quiescent.
 */
int block_copy(BlockNode *src, BlockNode *dst, uint64_t off, uint64_t len, bool unmap,
               unsigned write_flags, bool *is_read);
/* Marks what the layers from `top` down to, without, `base` hold; false: cancelled. */
int block_mark_allocated(Job *job, BlockNode *top, BlockNode *base, struct BlockBitmap *out);
/* Lets jobs write where a chain only reads; and back. */
void block_loosen(BlockNode *n, bool loose);
/* Puts `filter` over `n`; takes it out again (its users see `to` then). Quiescent. */
bool block_insert_filter(BlockNode *filter, Error **errp);
void block_remove_filter(BlockNode *filter, BlockNode *to);

/* ---- mirror.c ---- */
typedef struct MirrorParams {
    JobParams job;
    BlockNode *source, *target, *replaces; /* replaces: NULL: the source */
    BlockSync sync;
    const char *bitmap;
    BitmapMode bitmap_mode;
    bool write_blocking, no_unmap;
    uint64_t granularity, buf_size; /* 0: defaults */
    JobOnError on_source_error, on_target_error;
    const char *filter_node_name;
    BlockNode *target_backing; /* becomes the target's backing node before the pivot */
    bool set_target_backing;
    bool is_commit;   /* active commit: the target is below the source */
    bool drop_target; /* drive-mirror: the caller's reference is handed over */
} MirrorParams;
Job *mirror_start(const MirrorParams *p, Error **errp);

/* ---- commit.c, stream.c ---- */
typedef struct CommitParams {
    JobParams job;
    BlockNode *node, *top, *base; /* top NULL: node itself; base NULL: the lowest */
    const char *backing_file;     /* what the overlay of top will name; NULL: base's name */
    JobOnError on_error;
    const char *filter_node_name;
} CommitParams;
Job *commit_start(const CommitParams *p, Error **errp);
typedef struct StreamParams {
    JobParams job;
    BlockNode *node, *base; /* base NULL: all becomes part of node */
    const char *backing_file;
    JobOnError on_error;
    const char *filter_node_name;
} StreamParams;
Job *stream_start(const StreamParams *p, Error **errp);
/* ---- commit-now.c: the same without a job, for those who can wait ---- */
typedef struct CommitNow {
    BlockNode *node, *base; /* a layer that stores data, and one of those below it */
    bool keep; /* what was committed stays in `node`, as where more layers lie between */
    /* NULL, or called after each piece: all up to `at` is done, `data` bytes of it were copied.
     * false: enough. */
    bool (*step)(void *opaque, uint64_t at, uint64_t data);
    void *opaque;
} CommitNow;
/* 0 or a negative errno and a message; -ECANCELED, without one, if step() said so.  Quiescent. */
int commit_now(const CommitNow *c, Error **errp);
/*
 * The monitor's "commit": the topmost layer of a disk goes into the one below and is empty then.
 * Requests wait meanwhile.  block_commit_all(): of all disks that have layers; ends at a failure.
 */
bool block_commit_now(BlockNode *top, Error **errp);
bool block_commit_all(BlockGraph *g, Error **errp);
/* The node whose backing (through filters) is `n` in the chain of `top`; NULL: none. */
BlockNode *chain_overlay(BlockNode *top, const BlockNode *n);

/* ---- backup.c ---- */
typedef struct BackupParams {
    JobParams job;
    BlockNode *source, *target;
    BlockSync sync;
    const char *bitmap;
    BitmapMode bitmap_mode;
    bool compress;
    JobOnError on_source_error, on_target_error;
    bool break_snapshot; /* on-cbw-error: the guest's write goes on, the job fails */
    const char *filter_node_name;
} BackupParams;
/* Created, with the filter in place: job_start() or job_discard(). */
Job *backup_new(const BackupParams *p, Error **errp);

/* ---- cbw.c: the filter copy-before-write ---- */
extern const BlockDriver block_driver_cbw, block_driver_cor, block_driver_snapshot_access;
typedef struct CbwState {
    BlockNode *target;        /* child */
    struct BlockBitmap *todo; /* what still has to be copied before it may change */
    RangeLock ranges;
    struct BlockBitmap *access; /* what the snapshot has; NULL: all of the disk */
    uint32_t cluster, min_cluster;
    int64_t timeout; /* nanoseconds for copying before a write; 0: as long as it takes */
    bool break_snapshot, compress;
    int broken; /* errno that broke the snapshot */
} CbwState;
/* Copies what is still to do of the range. A fiber. */
int cbw_copy(BlockNode *filter, uint64_t off, uint64_t len, bool *is_read);
bool cbw_setup(BlockNode *filter, BlockNode *target, bool all, Error **errp);

/* ---- cor.c: the filter copy-on-read ---- */
typedef struct CorState {
    RangeLock ranges;
    BlockNode *bottom; /* layers from here down are not copied; NULL: all are */
} CorState;
/* Copies into the top layer what the layers between it and `bottom` hold of the range. */
int cor_copy(BlockNode *filter, uint64_t off, uint64_t len, bool *is_read);

/* ---- snapshot.c, transaction.c ---- */
/* `overlay` goes on top of `node` and takes its place. Quiescent or not. */
bool snapshot_insert(BlockNode *node, BlockNode *overlay, Error **errp);
void snapshot_undo(BlockNode *node, BlockNode *overlay);

#endif
