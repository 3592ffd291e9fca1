/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exports: which nodes are served, and how. */
#include "nbd/internal.h"

#include <errno.h>

uint64_t nbd_export_size(const NbdExport *e)
{
    int64_t len = blk_length(e->base.blk);
    if (len < 0 || (uint64_t)len <= e->offset) {
        return 0;
    }
    uint64_t left = (uint64_t)len - e->offset;
    return e->length ? MIN(e->length, left) : left;
}

uint16_t nbd_export_flags(const NbdExport *e, const NbdClient *c)
{
    unsigned f = NBD_FLAG_HAS_FLAGS | NBD_FLAG_FLUSH | NBD_FLAG_FUA | NBD_FLAG_CACHE;
    if (e->base.writable) {
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

static bool is_nbd(const BlockExport *e)
{
    return e->drv == &nbd_export_driver;
}

NbdExport *nbd_export_find(BlockGraph *g, const char *name)
{
    for (GList *l = g->exports; l; l = l->next) {
        NbdExport *e = l->data;
        if (is_nbd(&e->base) && !e->base.closing && !strcmp(e->name, name)) {
            return e;
        }
    }
    return NULL;
}

NbdExport *nbd_export_next(BlockGraph *g, const NbdExport *before)
{
    GList *l = before ? g_list_find(g->exports, before)->next : g->exports;
    while (l && !is_nbd(l->data)) {
        l = l->next;
    }
    return l ? l->data : NULL;
}

BlockExport *nbd_export_base(NbdExport *e)
{
    return &e->base;
}

static void nbd_free(BlockExport *base)
{
    NbdExport *e = (NbdExport *)base;
    for (unsigned i = 0; i < e->n_bitmaps; i++) {
        e->bitmaps[i]->busy = NULL;
    }
    g_free(e->name);
    g_free(e->description);
}

/* A bitmap of the node or of a node below it. */
static bool add_bitmap(NbdExport *e, BlockNode *n, const Json *j, Error **errp)
{
    const char *name = json_get_string(j);
    BlockBitmap *b = NULL;
    if (json_type(j) == JSON_OBJECT) {
        const char *node = json_get_str(j, "node");
        name = json_get_str(j, "name");
        n = node ? block_node_find(e->base.graph, node) : NULL;
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
    if (b->enabled && !e->base.writable && !n) {
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

static bool set_up(NbdExport *e, const NbdExportParams *p, Error **errp)
{
    BlockNode *n = blk_node(e->base.blk);
    const char *name = p->name ? p->name : p->common.node_name;
    if (nbd_export_find(e->base.graph, name)) {
        error_set(errp, "NBD server already has export named '%s'", name);
        return false;
    }
    if (strlen(name) > NBD_MAX_STRING ||
        (p->description && strlen(p->description) > NBD_MAX_STRING)) {
        error_set(errp, "the name and the description of an export have at most %u bytes",
                  NBD_MAX_STRING);
        return false;
    }
    e->name = g_strdup(name);
    e->description = g_strdup(p->description);
    e->depth_context = p->allocation_depth;
    e->offset = p->offset;
    e->length = p->length;
    e->shared = p->shared;
    for (size_t i = 0; p->bitmaps && i < json_length(p->bitmaps); i++) {
        if (!add_bitmap(e, n, json_at(p->bitmaps, i), errp)) {
            return false;
        }
    }
    return true;
}

NbdExport *nbd_export_add(BlockGraph *g, const NbdExportParams *p, Error **errp)
{
    NbdExport *e = (NbdExport *)block_export_new(g, &nbd_export_driver, &p->common, errp);
    if (!e) {
        return NULL;
    }
    e->base.started = true;
    if (!set_up(e, p, errp)) {
        block_export_discard(&e->base);
        return NULL;
    }
    block_export_publish(&e->base);
    return e;
}

/* An array, or what a command line makes of bitmaps.0=…,bitmaps.1=…; a reference, or NULL. */
static Json *take_bitmaps(BlockOpts *o)
{
    Json *j = block_opts_take(o, "bitmaps");
    if (!j || json_type(j) == JSON_ARRAY) {
        return j ? json_ref(j) : NULL;
    }
    Json *a = json_array();
    for (size_t i = 0; json_type(j) == JSON_OBJECT && i < json_length(j); i++) {
        char key[16];
        g_snprintf(key, sizeof(key), "%zu", i);
        Json *one = json_get(j, key);
        if (one) {
            json_append(a, json_ref(one));
        }
    }
    if (json_type(j) != JSON_OBJECT || json_length(a) != json_length(j)) {
        block_opts_mistake(o, "'bitmaps' must be an array");
    }
    return a;
}

static bool nbd_start(BlockExport *e, BlockOpts *o, Error **errp)
{
    g_autoptr(Json) bitmaps = take_bitmaps(o);
    NbdExportParams p = {.common.node_name = block_opts_string(o, "node-name", NULL),
                         .name = block_opts_string(o, "name", NULL),
                         .description = block_opts_string(o, "description", NULL),
                         .allocation_depth = block_opts_bool(o, "allocation-depth", false),
                         .bitmaps = bitmaps};
    if (!nbd_server_of(e->graph)) {
        error_set(errp, "NBD server not running");
        return false;
    }
    return block_opts_finish(o, errp) && set_up((NbdExport *)e, &p, errp);
}

static bool nbd_in_use(const BlockExport *e)
{
    return ((const NbdExport *)e)->clients > 0;
}

static void end_if_unused(NbdExport *e)
{
    if (e->base.closing && !e->clients && !e->pins) {
        block_export_ended(&e->base);
    }
}

static void nbd_stop(BlockExport *base)
{
    NbdExport *e = (NbdExport *)base;
    NbdServer *s = nbd_server_of(base->graph);
    for (GList *l = s ? s->clients : NULL; l; l = l->next) {
        NbdClient *c = l->data;
        if (c->export == e) {
            io_channel_shutdown(c->ch);
        }
    }
    end_if_unused(e);
}

void nbd_export_client_gone(NbdExport *e)
{
    e->clients--;
    end_if_unused(e);
}

void nbd_export_pin(NbdExport *e)
{
    e->pins++;
}

void nbd_export_unpin(NbdExport *e)
{
    e->pins--;
    end_if_unused(e);
}

const BlockExportDriver nbd_export_driver = {.type = "nbd",
                                             .size = sizeof(NbdExport),
                                             .start = nbd_start,
                                             .in_use = nbd_in_use,
                                             .stop = nbd_stop,
                                             .free = nbd_free};
