/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Backups and snapshots as actions, and transactions of such. */
#include "block/image.h"
#include "monitor/block-args.h"

#include <errno.h>
#include <unistd.h>

/* ---- backup ---- */

typedef struct BackupAction {
    Action a;
    Job *job;
} BackupAction;

static bool backup_start(BackupAction *ba, BackupParams *p, BlockNode *source, BlockNode *target,
                         const QBackupCommon *c, Error **errp)
{
    job_params_from(&p->job, source, c->job_id, c->has_speed, c->speed, c->has_auto_finalize,
                    c->auto_finalize, c->has_auto_dismiss, c->auto_dismiss);
    p->job.txn = ba->a.txn;
    p->source = source;
    p->target = target;
    p->sync = block_sync_from(c->sync);
    p->bitmap = c->bitmap;
    p->compress = c->has_compress && c->compress;
    p->on_source_error = job_on_error_from(c->has_on_source_error, c->on_source_error);
    p->on_target_error = job_on_error_from(c->has_on_target_error, c->on_target_error);
    p->break_snapshot = c->has_on_cbw_error && c->on_cbw_error == Q_ON_CBW_ERROR_BREAK_SNAPSHOT;
    p->filter_node_name = c->filter_node_name;
    static const BitmapMode modes[] = {
        [Q_BITMAP_SYNC_MODE_ON_SUCCESS] = BITMAP_MODE_ON_SUCCESS,
        [Q_BITMAP_SYNC_MODE_NEVER] = BITMAP_MODE_NEVER,
        [Q_BITMAP_SYNC_MODE_ALWAYS] = BITMAP_MODE_ALWAYS,
    };
    p->bitmap_mode = c->has_bitmap_mode ? modes[c->bitmap_mode] : BITMAP_MODE_ON_SUCCESS;
    if (p->sync == BLOCK_SYNC_INCREMENTAL) {
        if (c->has_bitmap_mode && c->bitmap_mode != Q_BITMAP_SYNC_MODE_ON_SUCCESS) {
            error_set(errp, "Bitmap sync mode must be 'on-success' when using sync mode "
                            "'incremental'");
            return false;
        }
    } else if (c->bitmap && !c->has_bitmap_mode) {
        error_set(errp, "Bitmap sync mode must be given when providing a bitmap");
        return false;
    }
    ba->job = backup_new(p, errp);
    return ba->job != NULL;
}

static bool blockdev_backup_prepare(Action *a, const Json *args, Error **errp)
{
    BackupAction *ba = (BackupAction *)a;
    BackupParams p = {0};
    QBlockdevBackup *q = QBlockdevBackup_from_json(args, errp);
    g_autoptr(Json) common = json_copy(args);
    json_remove(common, "target");
    QBackupCommon *c = q ? QBackupCommon_from_json(common, errp) : NULL;
    BlockNode *source = c ? block_lookup(a->graph, c->device, errp) : NULL;
    BlockNode *target = source ? block_lookup(a->graph, q->target, errp) : NULL;
    bool ok = target && backup_start(ba, &p, source, target, c, errp);
    QBlockdevBackup_free(q);
    QBackupCommon_free(c);
    return ok;
}

static bool drive_backup_prepare(Action *a, const Json *args, Error **errp)
{
    BackupAction *ba = (BackupAction *)a;
    BackupParams p = {0};
    QDriveBackup *q = QDriveBackup_from_json(args, errp);
    g_autoptr(Json) common = json_copy(args);
    json_remove(common, "target");
    json_remove(common, "format");
    json_remove(common, "mode");
    QBackupCommon *c = q ? QBackupCommon_from_json(common, errp) : NULL;
    BlockNode *source = c ? block_lookup(a->graph, c->device, errp) : NULL, *target = NULL;
    if (source) {
        bool existing = q->has_mode && q->mode == Q_NEW_IMAGE_MODE_EXISTING;
        BlockNode *below = c->sync == Q_MIRROR_SYNC_MODE_TOP    ? node_skip_filters(source)->backing
                           : c->sync == Q_MIRROR_SYNC_MODE_NONE ? source
                                                                : NULL;
        const char *format = q->format  ? q->format
                             : existing ? NULL
                                        : node_skip_filters(source)->drv->name;
        target = open_new_image(source, below, q->target, format, NULL, existing, errp);
        if (target && c->sync == Q_MIRROR_SYNC_MODE_NONE && target->drv->supports_backing &&
            !node_set_backing(target, source, errp)) {
            node_unref(target);
            target = NULL;
        }
    }
    bool ok = target && backup_start(ba, &p, source, target, c, errp);
    node_unref(target);
    QDriveBackup_free(q);
    QBackupCommon_free(c);
    return ok;
}

static void backup_commit(Action *a)
{
    job_start(((BackupAction *)a)->job);
}

/* It never ran: its filter goes, and what it took is given back. */
static void backup_abort(Action *a)
{
    Job *job = ((BackupAction *)a)->job;
    job->ret = -ECANCELED;
    job->drv->abort(job);
    job->drv->clean(job);
    job_discard(job);
}

const ActionOps action_blockdev_backup = {.size = sizeof(BackupAction),
                                          .prepare = blockdev_backup_prepare,
                                          .commit = backup_commit,
                                          .abort = backup_abort};
const ActionOps action_drive_backup = {.size = sizeof(BackupAction),
                                       .prepare = drive_backup_prepare,
                                       .commit = backup_commit,
                                       .abort = backup_abort};

bool qmp_blockdev_backup(Object *root, const Json *args, Error **errp)
{
    return action_run(&action_blockdev_backup, root, args, errp);
}

bool qmp_drive_backup(Object *root, const Json *args, Error **errp)
{
    return action_run(&action_drive_backup, root, args, errp);
}

/* ---- external snapshots ---- */

typedef struct SnapshotAction {
    Action a;
    BlockNode *node, *overlay;
    char *made; /* a file to be removed again */
    bool undo;
} SnapshotAction;

static bool snapshot_prepare(Action *a, const Json *args, Error **errp)
{
    SnapshotAction *s = (SnapshotAction *)a;
    BlockNode *node = block_lookup(a->graph, json_get_str(args, "node"), errp);
    BlockNode *overlay = node ? block_lookup(a->graph, json_get_str(args, "overlay"), errp) : NULL;
    if (!overlay) {
        return false;
    }
    s->node = node_ref(node);
    s->overlay = node_ref(overlay);
    return snapshot_insert(node, overlay, errp);
}

static bool snapshot_sync_prepare(Action *a, const Json *args, Error **errp)
{
    SnapshotAction *s = (SnapshotAction *)a;
    QBlockdevSnapshotSync *q = QBlockdevSnapshotSync_from_json(args, errp);
    if (!q) {
        return false;
    }
    BlockNode *node = NULL;
    if (!q->device == !q->node_name) {
        error_set(errp, "Need exactly one of 'device' and 'node-name'");
    } else {
        node = block_lookup(a->graph, q->device ? q->device : q->node_name, errp);
    }
    bool existing = q->has_mode && q->mode == Q_NEW_IMAGE_MODE_EXISTING;
    bool ok = node && node_check_free(node, errp);
    if (ok) {
        s->node = node_ref(node);
        bool was_there = access(q->snapshot_file, F_OK) == 0;
        s->overlay = open_new_image(node, node, q->snapshot_file, q->format ? q->format : "qcow2",
                                    q->snapshot_node_name, existing, errp);
        s->made = !existing && !was_there ? g_strdup(q->snapshot_file) : NULL;
        ok = s->overlay && snapshot_insert(node, s->overlay, errp);
        if (!ok && s->made) {
            unlink(s->made);
        }
    }
    QBlockdevSnapshotSync_free(q);
    return ok;
}

static void snapshot_abort(Action *a)
{
    SnapshotAction *s = (SnapshotAction *)a;
    snapshot_undo(s->node, s->overlay);
    if (s->made) {
        unlink(s->made);
    }
}

static void snapshot_clean(Action *a)
{
    SnapshotAction *s = (SnapshotAction *)a;
    node_unref(s->overlay);
    node_unref(s->node);
    g_free(s->made);
}

const ActionOps action_snapshot = {.size = sizeof(SnapshotAction),
                                   .prepare = snapshot_prepare,
                                   .abort = snapshot_abort,
                                   .clean = snapshot_clean};
const ActionOps action_snapshot_sync = {.size = sizeof(SnapshotAction),
                                        .prepare = snapshot_sync_prepare,
                                        .abort = snapshot_abort,
                                        .clean = snapshot_clean};

bool qmp_blockdev_snapshot(Object *root, const Json *args, Error **errp)
{
    return action_run(&action_snapshot, root, args, errp);
}

bool qmp_blockdev_snapshot_sync(Object *root, const Json *args, Error **errp)
{
    return action_run(&action_snapshot_sync, root, args, errp);
}

/* ---- snapshots inside the image ---- */

typedef struct InternalAction {
    Action a;
    BlockNode *node;
    char *name;
} InternalAction;

static BlockSnapshot *find_snapshot(GPtrArray *all, const char *id, const char *name)
{
    for (guint i = 0; i < all->len; i++) {
        BlockSnapshot *s = all->pdata[i];
        if ((!id || !strcmp(s->id, id)) && (!name || !strcmp(s->name, name))) {
            return s;
        }
    }
    return NULL;
}

static bool internal_prepare(Action *a, const Json *args, Error **errp)
{
    InternalAction *ia = (InternalAction *)a;
    const char *name = json_get_str(args, "name"), *device = json_get_str(args, "device");
    BlockNode *n = block_lookup(a->graph, device, errp);
    if (!n) {
        return false;
    }
    n = node_skip_filters(n);
    if (!image_has_snapshots(n) || n->flags.read_only) {
        error_set(errp, "Block format '%s' used by device '%s' does not support internal snapshots",
                  n->drv->name, device);
        return false;
    }
    if (!*name) {
        error_set(errp, "Name is empty");
        return false;
    }
    GPtrArray *all = image_snapshot_list(n);
    bool taken = find_snapshot(all, NULL, name) != NULL;
    g_ptr_array_unref(all);
    if (taken) {
        error_set(errp, "Snapshot with name '%s' already exists on device '%s'", name, device);
        return false;
    }
    gint64 now = g_get_real_time();
    BlockSnapshot s = {.name = (char *)name,
                       .date_sec = (uint32_t)(now / G_USEC_PER_SEC),
                       .date_nsec = (uint32_t)(now % G_USEC_PER_SEC) * 1000u,
                       .vm_clock_ns =
                           (uint64_t)clock_now(loop_clocks(a->graph->loop), CLOCK_VIRTUAL),
                       .icount = UINT64_MAX,
                       .disk_size = n->length};
    block_quiesce(a->graph);
    int ret = image_snapshot_create(n, &s, errp);
    block_unquiesce(a->graph);
    if (ret == 0) {
        ia->node = node_ref(n);
        ia->name = g_strdup(name);
    }
    return ret == 0;
}

static void internal_abort(Action *a)
{
    InternalAction *ia = (InternalAction *)a;
    Error *err = NULL;
    block_quiesce(a->graph);
    if (image_snapshot_delete(ia->node, ia->name, &err) < 0) {
        error_report(err);
    }
    block_unquiesce(a->graph);
}

static void internal_clean(Action *a)
{
    InternalAction *ia = (InternalAction *)a;
    node_unref(ia->node);
    g_free(ia->name);
}

const ActionOps action_snapshot_internal = {.size = sizeof(InternalAction),
                                            .prepare = internal_prepare,
                                            .abort = internal_abort,
                                            .clean = internal_clean};

bool qmp_blockdev_snapshot_internal_sync(Object *root, const Json *args, Error **errp)
{
    return action_run(&action_snapshot_internal, root, args, errp);
}

bool qmp_blockdev_snapshot_delete_internal_sync(Object *root, const char *device, const char *id,
                                                const char *name, Json **out, Error **errp)
{
    BlockGraph *g = block_graph_of(root);
    BlockNode *n = block_lookup(g, device, errp);
    if (!n) {
        return false;
    }
    n = node_skip_filters(n);
    if (!id && !name) {
        error_set(errp, "Name or id must be provided");
        return false;
    }
    GPtrArray *all = image_snapshot_list(n);
    BlockSnapshot *s = find_snapshot(all, id, name);
    bool ok = false;
    if (!s) {
        error_set(errp, "Snapshot with id '%s' and name '%s' does not exist on device '%s'",
                  id ? id : "null", name ? name : "null", device);
    } else {
        block_quiesce(g);
        ok = image_snapshot_delete(n, s->id, errp) == 0;
        block_unquiesce(g);
    }
    if (ok) {
        *out = json_object();
        json_put_string(*out, "id", s->id);
        json_put_string(*out, "name", s->name);
        json_put(*out, "vm-state-size", json_uint(s->vm_state_size));
        json_put_int(*out, "date-sec", s->date_sec);
        json_put_int(*out, "date-nsec", s->date_nsec);
        json_put_int(*out, "vm-clock-sec", (int64_t)(s->vm_clock_ns / 1000000000u));
        json_put_int(*out, "vm-clock-nsec", (int64_t)(s->vm_clock_ns % 1000000000u));
    }
    g_ptr_array_unref(all);
    return ok;
}

/* ---- transactions ---- */

static bool abort_prepare(Action *a, const Json *args, Error **errp)
{
    error_set(errp, "Transaction aborted using Abort action");
    return false;
}
static const ActionOps action_abort = {.size = sizeof(Action), .prepare = abort_prepare};

static const ActionOps *const kinds[Q_TRANSACTION_ACTION_KIND__MAX] = {
    [Q_TRANSACTION_ACTION_KIND_ABORT] = &action_abort,
    [Q_TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_ADD] = &action_bitmap_add,
    [Q_TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_REMOVE] = &action_bitmap_remove,
    [Q_TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_CLEAR] = &action_bitmap_clear,
    [Q_TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_ENABLE] = &action_bitmap_enable,
    [Q_TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_DISABLE] = &action_bitmap_disable,
    [Q_TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_MERGE] = &action_bitmap_merge,
    [Q_TRANSACTION_ACTION_KIND_BLOCKDEV_BACKUP] = &action_blockdev_backup,
    [Q_TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT] = &action_snapshot,
    [Q_TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT_INTERNAL_SYNC] = &action_snapshot_internal,
    [Q_TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT_SYNC] = &action_snapshot_sync,
    [Q_TRANSACTION_ACTION_KIND_DRIVE_BACKUP] = &action_drive_backup,
};

static Action *prepare_one(Object *root, BlockGraph *g, JobTxn *txn, const Json *j, Error **errp)
{
    int kind = qapi_enum_find(QTransactionActionKind_names, json_get_str(j, "type"));
    const ActionOps *ops = kinds[kind]; /* the schema has checked it */
    Action *a = g_malloc0(ops->size);
    a->ops = ops;
    a->root = root;
    a->graph = g;
    a->txn = txn;
    if (!ops->prepare(a, json_get(j, "data"), errp)) {
        if (ops->clean) {
            ops->clean(a);
        }
        g_free(a);
        return NULL;
    }
    return a;
}

bool qmp_transaction(Object *root, const Json *args, Error **errp)
{
    BlockGraph *g = block_graph_of(root);
    const Json *list = json_get(args, "actions"), *props = json_get(args, "properties");
    const char *mode = props ? json_get_str(props, "completion-mode") : NULL;
    JobTxn *txn = mode && !strcmp(mode, "grouped") ? job_txn_new() : NULL;
    g_autoptr(GPtrArray) done = g_ptr_array_new();
    bool ok = true;
    block_quiesce(g); /* one moment for all */
    for (size_t i = 0; ok && i < json_length(list); i++) {
        Action *a = prepare_one(root, g, txn, json_at(list, i), errp);
        ok = a != NULL;
        if (a) {
            g_ptr_array_add(done, a);
        }
    }
    for (guint i = 0; ok && i < done->len; i++) {
        Action *a = done->pdata[i];
        if (a->ops->commit) {
            a->ops->commit(a);
        }
    }
    for (guint i = done->len; !ok && i-- > 0;) {
        Action *a = done->pdata[i];
        if (a->ops->abort) {
            a->ops->abort(a);
        }
    }
    for (guint i = 0; i < done->len; i++) {
        Action *a = done->pdata[i];
        if (a->ops->clean) {
            a->ops->clean(a);
        }
        g_free(a);
    }
    block_unquiesce(g);
    job_txn_unref(txn);
    return ok;
}
