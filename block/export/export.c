/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all exports have in common: names, nodes, threads, and their end. */
#include "block/export.h"

#include "block/iothread.h"

BlockExport *block_export_find(BlockGraph *g, const char *id)
{
    for (GList *l = g->exports; l; l = l->next) {
        BlockExport *e = l->data;
        if (!strcmp(e->id, id)) {
            return e;
        }
    }
    return NULL;
}

/* ---- making ---- */

static bool check(BlockGraph *g, const BlockExportParams *p, BlockNode **n, Error **errp)
{
    *n = block_lookup(g, p->node_name, errp);
    if (!*n) {
        return false;
    }
    if (block_export_find(g, p->id)) {
        error_set(errp, "Block export id '%s' is already in use", p->id);
        return false;
    }
    if (p->writable && (*n)->flags.read_only) {
        error_set(errp, "Cannot export read-only node '%s' as writable", (*n)->name);
        return false;
    }
    return true;
}

/* In the thread that was asked for, or in the one where the node has to stay. */
static bool attach(BlockExport *e, BlockNode *n, const BlockExportParams *p, Error **errp)
{
    Error *err = NULL;
    EventLoop *wanted = n->loop;
    if (p->iothread) {
        IoThread *io = iothread_find(e->graph->root, p->iothread, errp);
        if (!io) {
            return false;
        }
        e->iothread = object_ref(&io->obj);
        wanted = io->loop;
    }
    bool ok = blk_attach(e->blk, e, e->id, e->drv->ops, e->writable, true, wanted, &err);
    if (!ok && wanted != n->loop && !p->fixed_iothread) {
        error_free(err);
        err = NULL;
        object_unref(e->iothread);
        e->iothread = NULL;
        ok = blk_attach(e->blk, e, e->id, e->drv->ops, e->writable, true, n->loop, &err);
    }
    e->loop = n->loop;
    error_propagate(errp, err);
    return ok;
}

BlockExport *block_export_new(BlockGraph *g, const BlockExportDriver *drv,
                              const BlockExportParams *p, Error **errp)
{
    BlockNode *n;
    if (!check(g, p, &n, errp)) {
        return NULL;
    }
    BlockExport *e = g_malloc0(drv->size);
    e->drv = drv;
    e->graph = g;
    e->id = g_strdup(p->id);
    e->writable = p->writable;
    e->writethrough = p->writethrough;
    e->blk = blk_new_anonymous(g);
    e->blk->hidden = true;
    blk_insert_node(e->blk, n);
    if (!attach(e, n, p, errp)) {
        block_export_discard(e);
        return NULL;
    }
    return e;
}

void block_export_publish(BlockExport *e)
{
    e->published = true;
    e->graph->exports = g_list_append(e->graph->exports, e);
}

void block_export_discard(BlockExport *e)
{
    if (e->drv->free && e->started) {
        e->drv->free(e);
    }
    blk_detach(e->blk);
    blk_close(e->blk);
    object_unref((Object *)e->blk);
    object_unref(e->iothread);
    g_free(e->id);
    g_free(e);
}

/* "io0" or ["io0"]. */
static const char *take_iothread(BlockOpts *o)
{
    Json *j = block_opts_take(o, "iothread");
    if (j && json_type(j) == JSON_ARRAY) {
        if (json_length(j) != 1) {
            block_opts_mistake(o, "'iothread': an export runs in one thread, not in %zu",
                               json_length(j));
            return NULL;
        }
        j = json_at(j, 0);
    }
    const char *id = json_get_string(j);
    if (j && !id) {
        block_opts_mistake(o, "'iothread' expects the id of an iothread object");
    }
    return id;
}

bool block_export_add(BlockGraph *g, const BlockExportDriver *drv, const Json *options,
                      Error **errp)
{
    g_autoptr(BlockOpts) o = block_opts_new(options, "block-export-add");
    BlockExportParams p = {.id = block_opts_string(o, "id", NULL),
                           .node_name = block_opts_string(o, "node-name", NULL),
                           .writable = block_opts_bool(o, "writable", false),
                           .writethrough = block_opts_bool(o, "writethrough", false),
                           .iothread = take_iothread(o),
                           .fixed_iothread = block_opts_bool(o, "fixed-iothread", false)};
    block_opts_take(o, "type");
    /* Every node here is active, so that there is nothing to allow. */
    block_opts_bool(o, "allow-inactive", false);
    if (!p.id || !p.node_name) {
        error_set(errp, "Parameter '%s' is missing", p.id ? "node-name" : "id");
        return false;
    }
    BlockExport *e = block_export_new(g, drv, &p, errp);
    if (!e) {
        return false;
    }
    e->started = true;
    if (!drv->start(e, o, errp)) {
        block_export_discard(e);
        return false;
    }
    block_export_publish(e);
    return true;
}

/* ---- ending ---- */

void block_export_ended(BlockExport *e)
{
    BlockGraph *g = e->graph;
    Json *d = json_object();
    json_put_string(d, "id", e->id);
    g->exports = g_list_remove(g->exports, e);
    block_export_discard(e);
    block_event(g, "BLOCK_EXPORT_DELETED", d);
}

bool block_export_del(BlockExport *e, bool hard, Error **errp)
{
    if (e->closing) {
        error_set(errp, "Export '%s' is already shutting down", e->id);
        return false;
    }
    if (!hard && e->drv->in_use && e->drv->in_use(e)) {
        error_set(errp, "export '%s' still in use", e->id);
        error_hint(errp, "Use mode='hard' to force client disconnect");
        return false;
    }
    e->closing = true;
    e->drv->stop(e);
    return true;
}

static bool any(BlockGraph *g, const BlockExportDriver *drv)
{
    for (GList *l = g->exports; l; l = l->next) {
        if (!drv || ((BlockExport *)l->data)->drv == drv) {
            return true;
        }
    }
    return false;
}

void block_exports_stop(BlockGraph *g, const BlockExportDriver *drv)
{
    g_autoptr(GList) all = g_list_copy(g->exports);
    for (GList *l = all; l; l = l->next) {
        BlockExport *e = l->data;
        if ((!drv || e->drv == drv) && !e->closing) {
            e->closing = true;
            e->drv->stop(e);
        }
    }
    while (any(g, drv)) { /* their last steps are calls on this loop */
        loop_poll(g->control, 10 * NS_PER_MS);
        if (g->loop != g->control && !loop_is_served(g->loop)) {
            loop_poll(g->loop, 0);
        }
    }
}

Json *block_exports_query(BlockGraph *g)
{
    Json *a = json_array();
    for (GList *l = g->exports; l; l = l->next) {
        BlockExport *e = l->data;
        BlockNode *n = blk_node(e->blk);
        Json *o = json_object();
        json_put_string(o, "id", e->id);
        json_put_string(o, "type", e->drv->type);
        json_put_string(o, "node-name", n ? n->name : "");
        json_put_bool(o, "shutting-down", e->closing);
        json_append(a, o);
    }
    return a;
}
