/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block/remote/remote.h: what the drivers of disks that servers keep have in common: callbacks
 * that turn requests of fibers into those of a module.  A driver's state begins with a Remote.
 */
#ifndef RHEA_BLOCK_REMOTE_H
#define RHEA_BLOCK_REMOTE_H

#include "block/node.h"
#include "block/remote/module.h"

typedef struct Remote {
    const RemoteModule *module;
    void *disk; /* NULL: not open */
    RemoteHost host;
    RemoteInfo info;
    unsigned in_flight; /* of fibers */
    FiberQueue room;
    bool grows; /* writes may go beyond the end */
} Remote;

/*
 * Loads the module and opens the disk.  n->filename is set; n->length, n->limits and
 * n->flags.read_only are set by it.  Close it with remote_close() in any case.
 */
bool remote_open(BlockNode *n, const char *module, const void *spec, Error **errp);
void remote_close(BlockNode *n);
int remote_preadv(BlockNode *n, uint64_t off, const IoVec *v);
int remote_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags);
int remote_flush(BlockNode *n);
int remote_discard(BlockNode *n, uint64_t off, uint64_t len);
int remote_zero(BlockNode *n, uint64_t off, uint64_t len, unsigned flags);
int remote_map(BlockNode *n, uint64_t off, uint64_t len, BlockMap *out);
/* Sends `r` and waits: a fiber by yielding, others by sleeping. Its result. */
int remote_run(BlockNode *n, RemoteRequest *r);
/* Turns the text a module has left into an error. */
void remote_error(char *why, Error **errp);

/* The options of a file name "iscsi://…", "nfs://…", "rbd:…"; NULL on error. */
Json *iscsi_filename(const char *name, Error **errp);
Json *nfs_filename(const char *name, Error **errp);
Json *rbd_filename(const char *name, Error **errp);

#endif
