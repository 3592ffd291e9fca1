/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exports: which nodes are served, and how. */
#include "nbd/internal.h"

#include <errno.h>

uint64_t nbd_export_size(const NbdExport *e)
{
    int64_t len = blk_length(e->blk);
    if (len < 0 || (uint64_t)len <= e->offset) {
        return 0;
    }
    uint64_t left = (uint64_t)len - e->offset;
    return e->length ? MIN(e->length, left) : left;
}

uint16_t nbd_export_flags(const NbdExport *e, const NbdClient *c)
{
    unsigned f = NBD_FLAG_HAS_FLAGS | NBD_FLAG_FLUSH | NBD_FLAG_FUA | NBD_FLAG_CACHE;
    if (e->writable) {
        f |= NBD_FLAG_TRIM | NBD_FLAG_WRITE_ZEROES | NBD_FLAG_FAST_ZERO;
    } else {
        f |= NBD_FLAG_READ_ONLY;
    }
    /* A flush on one connection covers what was written by all of them. */
    f |= e->shared != 1 ? NBD_FLAG_MULTI_CONN : 0;
    f |= c->structured ? NBD_FLAG_DF : 0;
    return (uint16_t)f;
}

char *nbd_context_name(const NbdExport *e, const NbdContext *x)
{
    switch (x->kind) {
    case NBD_CTX_ALLOCATION:
        return g_strdup("base:allocation");
    case NBD_CTX_DEPTH:
        return g_strdup("qemu:allocation-depth");
    default:
        return g_strdup_printf("qemu:dirty-bitmap:%s", e->bitmaps[x->bitmap]->name);
    }
}

NbdExport *nbd_export_find(BlockGraph *g, const char *name)
{
    for (GList *l = g->exports; l; l = l->next) {
        NbdExport *e = l->data;
        if (!e->closing && !strcmp(e->name, name)) {
            return e;
        }
    }
    return NULL;
}

static NbdExport *find_id(BlockGraph *g, const char *id)
{
    for (GList *l = g->exports; l; l = l->next) {
        NbdExport *e = l->data;
        if (!strcmp(e->id, id)) {
            return e;
        }
    }
    return NULL;
}

const char *nbd_export_id(const NbdExport *e)
{
    return e->id;
}

static void export_free(NbdExport *e)
{
    for (unsigned i = 0; i < e->n_bitmaps; i++) {
        e->bitmaps[i]->busy = NULL;
    }
    if (e->blk) {
        blk_detach(e->blk);
        blk_close(e->blk);
        object_unref((Object *)e->blk);
    }
    g_free(e->id);
    g_free(e->name);
    g_free(e->description);
    g_free(e);
}

/* A bitmap of the node or of a node below it. */
static bool add_bitmap(NbdExport *e, BlockNode *n, const Json *j, Error **errp)
{
    const char *name = json_get_string(j);
    BlockBitmap *b = NULL;
    if (json_type(j) == JSON_OBJECT) {
        const char *node = json_get_str(j, "node");
        name = json_get_str(j, "name");
        n = node ? block_node_find(e->graph, node) : NULL;
    }
    for (; n && name && !b; n = node_below(n)) {
        b = bitmap_find(n, name);
    }
    if (!b) {
        error_set(errp, "Bitmap '%s' is not found", name ? name : "");
        return false;
    }
    if (b->busy || b->inconsistent) {
        return bitmap_check(b, false, errp);
    }
    if (b->enabled && !e->writable && !n) {
        error_set(errp, "Enabled bitmap '%s' incompatible with readonly export", name);
        return false;
    }
    if (e->n_bitmaps == NBD_MAX_BITMAPS) {
        error_set(errp, "an export can have %u bitmaps", NBD_MAX_BITMAPS);
        return false;
    }
    b->busy = "an export";
    e->bitmaps[e->n_bitmaps++] = b;
    return true;
}

static bool set_up(NbdExport *e, BlockNode *n, const NbdExportParams *p, Error **errp)
{
    e->blk = blk_new_anonymous(e->graph);
    e->blk->hidden = true;
    blk_insert_node(e->blk, n);
    /* The node's loop is its device's, if it has one. */
    if (!blk_attach(e->blk, e, e->id, NULL, e->writable, true, n->loop, errp)) {
        return false;
    }
    for (size_t i = 0; p->bitmaps && i < json_length(p->bitmaps); i++) {
        if (!add_bitmap(e, n, json_at(p->bitmaps, i), errp)) {
            return false;
        }
    }
    return true;
}

NbdExport *nbd_export_add(BlockGraph *g, const NbdExportParams *p, Error **errp)
{
    BlockNode *n = block_lookup(g, p->node_name, errp);
    const char *name = p->name ? p->name : p->node_name;
    if (!n) {
        return NULL;
    }
    if (find_id(g, p->id)) {
        error_set(errp, "Block export id '%s' is already in use", p->id);
        return NULL;
    }
    if (nbd_export_find(g, name)) {
        error_set(errp, "NBD server already has export named '%s'", name);
        return NULL;
    }
    if (strlen(name) > NBD_MAX_STRING ||
        (p->description && strlen(p->description) > NBD_MAX_STRING)) {
        error_set(errp, "the name and the description of an export have at most %u bytes",
                  NBD_MAX_STRING);
        return NULL;
    }
    if (p->writable && n->flags.read_only) {
        error_set(errp, "Cannot export read-only node '%s' as writable", n->name);
        return NULL;
    }
    NbdExport *e = g_new0(NbdExport, 1);
    e->graph = g;
    e->id = g_strdup(p->id);
    e->name = g_strdup(name);
    e->description = g_strdup(p->description);
    e->writable = p->writable;
    e->writethrough = p->writethrough;
    e->depth_context = p->allocation_depth;
    e->offset = p->offset;
    e->length = p->length;
    e->shared = p->shared;
    if (!set_up(e, n, p, errp)) {
        export_free(e);
        return NULL;
    }
    g->exports = g_list_append(g->exports, e);
    return e;
}

/* Its clients are gone. */
static void finish(NbdExport *e)
{
    BlockGraph *g = e->graph;
    Json *d = json_object();
    json_put_string(d, "id", e->id);
    g->exports = g_list_remove(g->exports, e);
    export_free(e);
    block_event(g, "BLOCK_EXPORT_DELETED", d);
}

static void remove_export(NbdExport *e)
{
    NbdServer *s = nbd_server_of(e->graph);
    e->closing = true;
    for (GList *l = s ? s->clients : NULL; l; l = l->next) {
        NbdClient *c = l->data;
        if (c->export == e) {
            io_channel_shutdown(c->ch);
        }
    }
    if (!e->clients) {
        finish(e);
    }
}

void nbd_export_client_gone(NbdExport *e)
{
    e->clients--;
    if (e->closing && !e->clients) {
        finish(e);
    }
}

bool nbd_export_del(BlockGraph *g, const char *id, bool hard, Error **errp)
{
    NbdExport *e = find_id(g, id);
    if (!e || e->closing) {
        error_set(errp, e ? "Export '%s' is already shutting down" : "Export '%s' is not found",
                  id);
        return false;
    }
    if (!hard && e->clients) {
        error_set(errp, "export '%s' still in use", id);
        error_hint(errp, "Use mode='hard' to force client disconnect");
        return false;
    }
    remove_export(e);
    return true;
}

void nbd_exports_remove_all(BlockGraph *g)
{
    g_autoptr(GList) all = g_list_copy(g->exports);
    for (GList *l = all; l; l = l->next) {
        NbdExport *e = l->data;
        if (!e->closing) {
            remove_export(e);
        }
    }
}

Json *nbd_exports_query(BlockGraph *g)
{
    Json *a = json_array();
    for (GList *l = g->exports; l; l = l->next) {
        NbdExport *e = l->data;
        BlockNode *n = blk_node(e->blk);
        Json *o = json_object();
        json_put_string(o, "id", e->id);
        json_put_string(o, "type", "nbd");
        json_put_string(o, "node-name", n ? n->name : "");
        json_put_bool(o, "shutting-down", e->closing);
        json_append(a, o);
    }
    return a;
}
