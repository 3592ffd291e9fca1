/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Management commands that start mirror, commit and stream jobs. */
#include "monitor/block-args.h"

#include <stdio.h>

static BitmapMode bitmap_mode(bool has, QBitmapSyncMode v)
{
    static const BitmapMode map[] = {
        [Q_BITMAP_SYNC_MODE_ON_SUCCESS] = BITMAP_MODE_ON_SUCCESS,
        [Q_BITMAP_SYNC_MODE_NEVER] = BITMAP_MODE_NEVER,
        [Q_BITMAP_SYNC_MODE_ALWAYS] = BITMAP_MODE_ALWAYS,
    };
    return has ? map[v] : BITMAP_MODE_ON_SUCCESS;
}

/* ---- mirror ---- */

static bool find_replaces(BlockGraph *g, const char *name, MirrorParams *p, Error **errp)
{
    if (!name) {
        return true;
    }
    p->replaces = block_lookup(g, name, errp);
    if (p->replaces && !node_contains(p->source, p->replaces)) {
        error_set(errp, "'%s' is not below the source and cannot be replaced by its mirror", name);
        return false;
    }
    return p->replaces != NULL;
}

bool qmp_blockdev_mirror(Object *root, const Json *args, Error **errp)
{
    BlockGraph *g = block_graph_of(root);
    QBlockdevMirror *q = QBlockdevMirror_from_json(args, errp);
    if (!q) {
        return false;
    }
    MirrorParams p = {
        .sync = block_sync_from(q->sync),
        .bitmap = q->bitmap,
        .bitmap_mode = bitmap_mode(q->has_bitmap_mode, q->bitmap_mode),
        .granularity = q->has_granularity ? (uint64_t)q->granularity : 0,
        .buf_size = q->has_buf_size && q->buf_size > 0 ? (uint64_t)q->buf_size : 0,
        .on_source_error = job_on_error_from(q->has_on_source_error, q->on_source_error),
        .on_target_error = job_on_error_from(q->has_on_target_error, q->on_target_error),
        .filter_node_name = q->filter_node_name,
        .write_blocking = q->has_copy_mode && q->copy_mode == Q_MIRROR_COPY_MODE_WRITE_BLOCKING};
    bool ok = true;
    if (q->has_buf_size && q->buf_size < 0) {
        error_set(errp, "Invalid parameter 'buf-size'");
        ok = false;
    }
    p.source = ok ? block_lookup(g, q->device, errp) : NULL;
    p.target = p.source ? block_lookup(g, q->target, errp) : NULL;
    ok = p.target && find_replaces(g, q->replaces, &p, errp);
    if (ok) {
        job_params_from(&p.job, p.source, q->job_id, q->has_speed, q->speed, q->has_auto_finalize,
                        q->auto_finalize, q->has_auto_dismiss, q->auto_dismiss);
        ok = mirror_start(&p, errp) != NULL;
    }
    QBlockdevMirror_free(q);
    return ok;
}

static bool drive_mirror(BlockGraph *g, const QDriveMirror *q, Error **errp)
{
    MirrorParams p = {
        .sync = block_sync_from(q->sync),
        .granularity = q->has_granularity ? (uint64_t)q->granularity : 0,
        .buf_size = q->has_buf_size && q->buf_size > 0 ? (uint64_t)q->buf_size : 0,
        .no_unmap = q->has_unmap && !q->unmap,
        .on_source_error = job_on_error_from(q->has_on_source_error, q->on_source_error),
        .on_target_error = job_on_error_from(q->has_on_target_error, q->on_target_error),
        .write_blocking = q->has_copy_mode && q->copy_mode == Q_MIRROR_COPY_MODE_WRITE_BLOCKING};
    bool existing = q->has_mode && q->mode == Q_NEW_IMAGE_MODE_EXISTING;
    p.source = block_lookup(g, q->device, errp);
    if (!p.source || !find_replaces(g, q->replaces, &p, errp)) {
        return false;
    }
    if (q->replaces && !q->node_name) {
        error_set(errp, "a node-name must be provided when replacing a named node of the graph");
        return false;
    }
    BlockNode *image = node_skip_filters(p.source);
    if (p.sync == BLOCK_SYNC_TOP && !image->backing) {
        p.sync = BLOCK_SYNC_FULL;
    }
    BlockNode *below = p.sync == BLOCK_SYNC_TOP    ? image->backing
                       : p.sync == BLOCK_SYNC_NONE ? image
                                                   : NULL;
    const char *format = q->format ? q->format : existing ? NULL : image->drv->name;
    BlockNode *target =
        open_new_image(p.source, below, q->target, format, q->node_name, existing, errp);
    if (!target) {
        return false;
    }
    p.target = target;
    p.target_backing = below;
    p.set_target_backing = below && target->drv->supports_backing;
    job_params_from(&p.job, p.source, q->job_id, q->has_speed, q->speed, q->has_auto_finalize,
                    q->auto_finalize, q->has_auto_dismiss, q->auto_dismiss);
    Job *job = mirror_start(&p, errp);
    node_unref(target);
    return job != NULL;
}

bool qmp_drive_mirror(Object *root, const Json *args, Error **errp)
{
    QDriveMirror *q = QDriveMirror_from_json(args, errp);
    bool ok = q && drive_mirror(block_graph_of(root), q, errp);
    QDriveMirror_free(q);
    return ok;
}

/* ---- commit and stream ---- */

/* A layer of the chain by node name or by the name of its file; both: a mistake. */
static bool find_layer(BlockNode *top, const char *node_name, const char *file, const char *what,
                       BlockNode **out, Error **errp)
{
    if (node_name && file) {
        error_set(errp, "'%s-node' and '%s' are mutually exclusive", what, what);
        return false;
    }
    *out = NULL;
    if (node_name) {
        BlockNode *n = block_node_find(top->graph, node_name);
        if (!n) {
            error_set(errp, "Cannot find device='' nor node-name='%s'", node_name);
            return false;
        }
        if (!chain_has(top, n)) {
            error_set(errp, "'%s' is not in this backing file chain", node_name);
            return false;
        }
        *out = n;
        return true;
    }
    for (BlockNode *n = top; file && n; n = node_below(n)) {
        const char *name = node_filename(n);
        g_autofree char *a = realpath(name, NULL), *b = realpath(file, NULL);
        if (!strcmp(name, file) || (a && b && !strcmp(a, b))) {
            *out = node_skip_filters(n);
            return true;
        }
    }
    if (file) {
        error_set(errp, "Can't find '%s' in the backing chain", file);
        return false;
    }
    return true;
}

bool qmp_block_commit(Object *root, const Json *args, Error **errp)
{
    QBlockCommit *q = QBlockCommit_from_json(args, errp);
    if (!q) {
        return false;
    }
    CommitParams p = {.backing_file = q->backing_file,
                      .on_error = job_on_error_from(q->has_on_error, q->on_error),
                      .filter_node_name = q->filter_node_name};
    p.node = block_lookup(block_graph_of(root), q->device, errp);
    bool ok = p.node && find_layer(p.node, q->top_node, q->top, "top", &p.top, errp) &&
              find_layer(p.node, q->base_node, q->base, "base", &p.base, errp);
    if (ok && !p.base && !node_skip_filters(p.node)->backing) {
        error_set(errp, "There is no backing image to commit into");
        ok = false;
    }
    if (ok) {
        job_params_from(&p.job, p.node, q->job_id, q->has_speed, q->speed, q->has_auto_finalize,
                        q->auto_finalize, q->has_auto_dismiss, q->auto_dismiss);
        ok = commit_start(&p, errp) != NULL;
    }
    QBlockCommit_free(q);
    return ok;
}

bool qmp_block_stream(Object *root, const Json *args, Error **errp)
{
    QBlockStream *q = QBlockStream_from_json(args, errp);
    if (!q) {
        return false;
    }
    StreamParams p = {.backing_file = q->backing_file,
                      .on_error = job_on_error_from(q->has_on_error, q->on_error),
                      .filter_node_name = q->filter_node_name};
    bool ok = true;
    if (q->bottom && (q->base || q->base_node)) {
        error_set(errp, "'bottom' and 'base' or 'base-node' are mutually exclusive");
        ok = false;
    }
    p.node = ok ? block_lookup(block_graph_of(root), q->device, errp) : NULL;
    ok = p.node && find_layer(p.node, q->base_node, q->base, "base", &p.base, errp);
    if (ok && q->bottom) {
        BlockNode *bottom;
        ok = find_layer(p.node, q->bottom, NULL, "bottom", &bottom, errp);
        p.base = ok ? node_below(bottom) : NULL;
    }
    if (ok && !p.base && q->backing_file) {
        error_set(errp, "backing file specified, but streaming the entire chain");
        ok = false;
    }
    if (ok) {
        job_params_from(&p.job, p.node, q->job_id, q->has_speed, q->speed, q->has_auto_finalize,
                        q->auto_finalize, q->has_auto_dismiss, q->auto_dismiss);
        ok = stream_start(&p, errp) != NULL;
    }
    QBlockStream_free(q);
    return ok;
}
