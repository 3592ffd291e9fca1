/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block/backend.h: backends, for the files of this room; devices use block/block.h.
 */
#ifndef RHEA_BLOCK_BACKEND_H
#define RHEA_BLOCK_BACKEND_H

#include "block/histogram.h"
#include "block/node.h"

typedef enum BlkOnError {
    BLK_ON_ERROR_AUTO,
    BLK_ON_ERROR_REPORT,
    BLK_ON_ERROR_IGNORE,
    BLK_ON_ERROR_STOP,
    BLK_ON_ERROR_ENOSPC,
} BlkOnError;

struct BlockBackend {
    Object obj;
    BlockGraph *graph;
    char *id;        /* NULL: anonymous */
    bool hidden;     /* of an export: not a drive of the machine */
    bool implicit;   /* stands for a node made by -blockdev */
    bool owned;      /* the graph holds a reference; else whoever made it does */
    BlockNode *node; /* NULL: no medium */
    EventLoop *loop;
    bool attached;
    void *dev;
    char *dev_name, *dev_path, *qdev; /* for messages, events, query-block */
    const BlockDevOps *ops;
    bool writable, share_rw; /* what the device asked for */
    bool locked;             /* tray, by the guest */
    bool write_cache;
    BlkOnError rerror, werror;
    enum { IOSTATUS_OK, IOSTATUS_FAILED, IOSTATUS_NOSPACE } iostatus;
    unsigned in_flight, quiesce;
    GQueue waiting; /* BlkRequest*, while quiesced */
    uint64_t rd_bytes, wr_bytes, rd_ops, wr_ops, flush_ops, failed_ops;
    uint64_t unmap_bytes, unmap_ops, failed_rd, failed_wr, failed_flush;
    uint64_t rd_ns, wr_ns, flush_ns;
    BlkHistogram rd_times, wr_times, flush_times;
    struct ThrottleGroup *throttle; /* limits of the drive, or NULL */
};

Object *block_graph_container(BlockGraph *g);
/* A new backend, below /block-backends when it has an id; the graph knows it. */
BlockBackend *blk_new(BlockGraph *g, const char *id, Error **errp);
void blk_mark_implicit(BlockBackend *blk);
void blk_insert_node(BlockBackend *blk, BlockNode *n); /* takes a reference of its own */
/* Out of graph and tree; its node is released. */
void blk_close(BlockBackend *blk);
bool blk_name_taken(BlockGraph *g, const char *id);
/* Limits of the drive's own, in the group of that name (NULL: its id); none: no limits. */
struct ThrottleConfig;
void blk_set_throttle(BlockBackend *blk, const struct ThrottleConfig *c, const char *group);
/* Starts what waited while the graph was quiescent. */
void blk_restart(BlockBackend *blk);
/* Each a list of boundaries in nanoseconds, empty for none, or NULL: as it is. */
bool blk_set_histograms(BlockBackend *blk, const Json *rd, const Json *wr, const Json *flush,
                        Error **errp);
const char *blk_user(const BlockBackend *blk); /* the device's name, or NULL */
void blk_set_on_error(BlockBackend *blk, BlkOnError rerror, BlkOnError werror);

#endif
