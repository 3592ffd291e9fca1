/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block/export.h: exports: nodes that are served to others, by whatever protocol.
 *
 * An export is a user of its node like a device: it claims the node through a backend of its
 * own, and serves it on the node's loop, which stays the same for as long as the export is there.
 * What a kind of export does is its BlockExportDriver; block/export/ has vhost-user-blk and FUSE,
 * nbd/ has NBD.
 *
 * Locking: the control thread for everything here, unless a function says otherwise.
 */
#ifndef RHEA_BLOCK_EXPORT_H
#define RHEA_BLOCK_EXPORT_H

#include "block/backend.h"

typedef struct BlockExport BlockExport;

typedef struct BlockExportDriver {
    const char *type; /* as block-export-add and query-block-exports name it */
    size_t size;      /* of the instance, which begins with a BlockExport */
    /* Takes its options out of `o`, and begins to serve.  Ends with block_opts_finish(). */
    bool (*start)(BlockExport *e, BlockOpts *o, Error **errp);
    /* Would anybody notice if it went?  NULL: nobody who matters. */
    bool (*in_use)(const BlockExport *e);
    /*
     * No clients from now on.  Ends, at once or later and on the control loop, with
     * block_export_ended(), when nothing of the export is under way any more.
     */
    void (*stop)(BlockExport *e);
    void (*free)(BlockExport *e); /* what start() took; also after a start() that failed */
    const BlockDevOps *ops;       /* `dev` is the BlockExport; may be NULL */
} BlockExportDriver;

struct BlockExport {
    const BlockExportDriver *drv;
    BlockGraph *graph;
    char *id;
    BlockBackend *blk;
    EventLoop *loop;  /* of the node, and of everything that serves clients */
    Object *iothread; /* referenced; NULL: the node's thread */
    bool writable, writethrough;
    bool started;   /* start() was called, so that free() has to be */
    bool closing;   /* stop() was called */
    bool published; /* others can find it */
};

typedef struct BlockExportParams {
    const char *id, *node_name;
    bool writable, writethrough;
    const char *iothread; /* id below /objects, or NULL: the node's thread */
    /*
     * With an iothread: fail if the node has to stay in the thread of somebody else.  Without
     * this, it is then served there.
     */
    bool fixed_iothread;
} BlockExportParams;

/* An export that has its node, but serves nobody yet and is not found. */
BlockExport *block_export_new(BlockGraph *g, const BlockExportDriver *drv,
                              const BlockExportParams *p, Error **errp);
void block_export_publish(BlockExport *e);
/* Undoes block_export_new(); calls drv->free(). */
void block_export_discard(BlockExport *e);
/* All of the above by the arguments of block-export-add (typed, or strings of a command line). */
bool block_export_add(BlockGraph *g, const BlockExportDriver *drv, const Json *options,
                      Error **errp);

/* Nothing is under way any more: frees the export and tells the world. */
void block_export_ended(BlockExport *e);

BlockExport *block_export_find(BlockGraph *g, const char *id); /* NULL: none */
/* `hard`: clients are disconnected; else refused while there are any. */
bool block_export_del(BlockExport *e, bool hard, Error **errp);
/* Stops all exports of one kind (NULL: of every) and waits for their end. */
void block_exports_stop(BlockGraph *g, const BlockExportDriver *drv);
Json *block_exports_query(BlockGraph *g); /* query-block-exports */

extern const BlockExportDriver vhost_user_blk_export_driver, fuse_export_driver;

#endif
