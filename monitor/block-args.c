/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the commands about disks share. */
#include "monitor/block-args.h"

#include "block/backend.h"
#include "block/image.h"

static const char *device_name(BlockNode *n)
{
    for (GList *l = n->graph->backends; l; l = l->next) {
        BlockBackend *blk = l->data;
        if (blk->node == n && !blk->implicit && blk->id) {
            return blk->id;
        }
    }
    return NULL;
}

void job_params_from(JobParams *p, BlockNode *n, const char *id, bool has_speed, int64_t speed,
                     bool has_auto_finalize, bool auto_finalize, bool has_auto_dismiss,
                     bool auto_dismiss)
{
    *p = (JobParams){.id = id,
                     .default_id = device_name(n),
                     .speed = has_speed ? speed : 0,
                     .manual_finalize = has_auto_finalize && !auto_finalize,
                     .manual_dismiss = has_auto_dismiss && !auto_dismiss};
}

JobOnError job_on_error_from(bool has, QBlockdevOnError v)
{
    static const JobOnError map[] = {
        [Q_BLOCKDEV_ON_ERROR_REPORT] = JOB_ON_ERROR_REPORT,
        [Q_BLOCKDEV_ON_ERROR_IGNORE] = JOB_ON_ERROR_IGNORE,
        [Q_BLOCKDEV_ON_ERROR_ENOSPC] = JOB_ON_ERROR_ENOSPC,
        [Q_BLOCKDEV_ON_ERROR_STOP] = JOB_ON_ERROR_STOP,
        [Q_BLOCKDEV_ON_ERROR_AUTO] = JOB_ON_ERROR_AUTO,
    };
    return has ? map[v] : JOB_ON_ERROR_REPORT;
}

BlockSync block_sync_from(QMirrorSyncMode v)
{
    static const BlockSync map[] = {
        [Q_MIRROR_SYNC_MODE_TOP] = BLOCK_SYNC_TOP,
        [Q_MIRROR_SYNC_MODE_FULL] = BLOCK_SYNC_FULL,
        [Q_MIRROR_SYNC_MODE_NONE] = BLOCK_SYNC_NONE,
        [Q_MIRROR_SYNC_MODE_INCREMENTAL] = BLOCK_SYNC_INCREMENTAL,
        [Q_MIRROR_SYNC_MODE_BITMAP] = BLOCK_SYNC_BITMAP,
    };
    return map[v];
}

static bool make_image(BlockNode *like, BlockNode *backing, const char *filename,
                       const char *format, Error **errp)
{
    g_autoptr(Json) o = json_object();
    json_put(o, "size", json_uint(like->length));
    const BlockDriver *drv = block_driver_find(like->graph, format);
    if (drv && !drv->supports_backing) {
        backing = NULL; /* it gets everything */
    }
    if (backing) {
        BlockNode *b = node_skip_filters(backing);
        json_put_string(o, "backing_file", node_filename(b));
        json_put_string(o, "backing_fmt", b->drv->name);
    }
    return image_create(like->graph, filename, format, o, true, errp);
}

BlockNode *open_new_image(BlockNode *like, BlockNode *backing, const char *filename,
                          const char *format, const char *node_name, bool existing, Error **errp)
{
    BlockGraph *g = like->graph;
    if (!existing) {
        if (!format) {
            error_set(errp, "a new image needs its 'format'");
            return NULL;
        }
        if (!make_image(like, backing, filename, format, errp)) {
            return NULL;
        }
    }
    g_autoptr(Json) file = filename_to_options(filename, errp);
    if (!file) {
        return NULL;
    }
    BlockOpenFlags f = like->flags;
    f.read_only = f.probed = f.temporary = false;
    f.depth = 0;
    g_autoptr(Json) extra = json_object();
    const BlockDriver *drv = format ? block_driver_find(g, format) : NULL;
    if (drv && drv->supports_backing) {
        json_put(extra, "backing", json_null());
    }
    if (node_name) {
        json_put_string(extra, "node-name", node_name);
    }
    return node_open_format(g, file, format, extra, &f, errp);
}

bool action_run(const ActionOps *ops, Object *root, const Json *args, Error **errp)
{
    Action *a = g_malloc0(ops->size);
    a->ops = ops;
    a->root = root;
    a->graph = block_graph_of(root);
    bool ok = ops->prepare(a, args, errp);
    if (ok && ops->commit) {
        ops->commit(a);
    }
    if (ops->clean) {
        ops->clean(a);
    }
    g_free(a);
    return ok;
}
