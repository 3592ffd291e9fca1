/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * monitor/block-args.h: what the management commands about disks share: the meaning of
 * their arguments, and actions that can be undone, alone or in a transaction.
 *
 * Control thread.
 */
#ifndef RHEA_MONITOR_BLOCK_ARGS_H
#define RHEA_MONITOR_BLOCK_ARGS_H

#include "block/bitmap.h"
#include "block/ops.h"
#include "qapi/qapi-commands.h"

/* speed, auto-finalize, auto-dismiss, job-id of a command's arguments. */
void job_params_from(JobParams *p, BlockNode *n, const char *id, bool has_speed, int64_t speed,
                     bool has_auto_finalize, bool auto_finalize, bool has_auto_dismiss,
                     bool auto_dismiss);
JobOnError job_on_error_from(bool has, QBlockdevOnError v);
BlockSync block_sync_from(QMirrorSyncMode v);
/* A new image for `like`, of its size; `backing`: it names that as its backing file. Opened
 * without its backing node; a reference.  `existing`: it is there already. */
BlockNode *open_new_image(BlockNode *like, BlockNode *backing, const char *filename,
                          const char *format, const char *node_name, bool existing, Error **errp);

/* ---- actions ---- */
typedef struct Action Action;
typedef struct ActionOps {
    size_t size;
    bool (*prepare)(Action *a, const Json *args, Error **errp);
    void (*commit)(Action *a);
    void (*abort)(Action *a); /* after a successful prepare() */
    void (*clean)(Action *a); /* always, last */
} ActionOps;
struct Action {
    const ActionOps *ops;
    Object *root;
    BlockGraph *graph;
    JobTxn *txn; /* NULL: alone */
};
/* One action as a command. */
bool action_run(const ActionOps *ops, Object *root, const Json *args, Error **errp);

extern const ActionOps action_bitmap_add, action_bitmap_remove, action_bitmap_clear,
    action_bitmap_enable, action_bitmap_disable, action_bitmap_merge, action_blockdev_backup,
    action_drive_backup, action_snapshot, action_snapshot_sync, action_snapshot_internal;

#endif
