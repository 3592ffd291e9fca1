/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The graph: opening, naming, sharing and closing of nodes. */
#include "block/backend.h"
#include "block/bitmap.h"
#include "block/export.h"
#include "block/job.h"
#include "block/node.h"
#include "block/ops.h"
#include "block/throttle.h"

#include <errno.h>

/* Longer chains are a loop, or somebody's joke. */
#define MAX_DEPTH 200

static const BlockDriver *const builtin_drivers[] = {
    &block_driver_file,         &block_driver_host_device, &block_driver_raw,
    &block_driver_qcow2,        &block_driver_null,        &block_driver_throttle,
    &block_driver_nbd,          &block_driver_curl,        &block_driver_iscsi,
    &block_driver_nfs,          &block_driver_rbd,         &block_driver_blkdebug,
    &block_driver_blklogwrites, &block_driver_compress,    &block_driver_preallocate,
    &block_driver_quorum,       &block_driver_cbw,         &block_driver_snapshot_access,
    &block_driver_cor,          &block_driver_luks,        &block_driver_vdi,
    &block_driver_vpc,          &block_driver_vhdx,        &block_driver_qed,
    &block_driver_vmdk,         &block_driver_qcow,
};

/* The graph hangs in the composition tree as the container of its backends. */
typedef struct BlockGraphObject {
    Object obj;
    BlockGraph *graph;
} BlockGraphObject;
#define TYPE_BLOCK_GRAPH "block-graph"

OBJECT_TYPE(block_graph_type, .name = TYPE_BLOCK_GRAPH, .parent = "object",
            .help = "the block backends of a machine", .size = sizeof(BlockGraphObject))

BlockGraph *block_graph_new(Object *root, EventLoop *loop)
{
    BlockGraph *g = g_new0(BlockGraph, 1);
    g->root = root;
    g->loop = loop;
    g->control = loop;
    g_queue_init(&g->parked);
    g->drives = g_ptr_array_new();
    g->drivers = g_ptr_array_new();
    g_mutex_init(&g->idle_lock);
    g_cond_init(&g->idle_cond);
    for (size_t i = 0; i < ARRAY_LEN(builtin_drivers); i++) {
        g_ptr_array_add(g->drivers, (gpointer)builtin_drivers[i]);
    }
    BlockGraphObject *o = (BlockGraphObject *)object_new(TYPE_BLOCK_GRAPH);
    o->graph = g;
    object_add_child(root, "block-backends", &o->obj);
    return g;
}

BlockGraph *block_graph_of(Object *root)
{
    Object *o = object_resolve(object_root(root), "/block-backends");
    return o && object_is_a(o, TYPE_BLOCK_GRAPH) ? ((BlockGraphObject *)o)->graph : NULL;
}

Object *block_graph_container(BlockGraph *g)
{
    return object_resolve(g->root, "/block-backends");
}

static void drive_free(DriveInfo *d)
{
    g_free(d->id);
    g_free(d->serial);
    g_free(d);
}

void block_graph_free(BlockGraph *g)
{
    block_exports_stop(g, NULL);
    if (g->stop_exports) {
        g->stop_exports(g);
    }
    jobs_cancel_all(g);
    block_drain_all(g);
    block_flush_all(g);
    block_drain_all(g); /* the flushes have ended, but perhaps not their last steps */
    block_wait_idle(g); /* nor what goes on by itself, as a copy that came too late */
    g_mutex_lock(&g->idle_lock);
    g_mutex_unlock(&g->idle_lock);
    for (guint i = 0; i < g->drives->len; i++) {
        drive_free(g->drives->pdata[i]);
    }
    g_ptr_array_free(g->drives, TRUE);
    while (g->backends) {
        blk_close(g->backends->data);
    }
    for (GList *l = g->nodes; l;) {
        BlockNode *n = l->data;
        if (n->by_user) {
            n->by_user = false;
            node_unref(n);
            l = g->nodes; /* others may have gone with it */
        } else {
            l = l->next;
        }
    }
    Object *container = block_graph_container(g);
    if (container) {
        ((BlockGraphObject *)container)->graph = NULL;
        object_unparent(container);
    }
    throttle_forget_all(g);
    json_unref(g->iscsi);
    g_ptr_array_free(g->drivers, TRUE);
    g_mutex_clear(&g->idle_lock);
    g_cond_clear(&g->idle_cond);
    g_free(g);
}

void block_graph_set_error_hook(BlockGraph *g, BlkErrorHook *hook, void *opaque)
{
    g->error_hook = hook;
    g->error_hook_opaque = opaque;
}

void block_graph_add_driver(BlockGraph *g, const BlockDriver *drv)
{
    g_ptr_array_add(g->drivers, (gpointer)drv);
}

const BlockDriver *block_driver_find(BlockGraph *g, const char *name)
{
    for (guint i = 0; i < g->drivers->len; i++) {
        const BlockDriver *d = g->drivers->pdata[i];
        if (!strcmp(d->name, name) || (d->alias && !strcmp(d->alias, name))) {
            return d;
        }
    }
    return NULL;
}

BlockNode *block_node_find(BlockGraph *g, const char *node_name)
{
    for (GList *l = g->nodes; l; l = l->next) {
        BlockNode *n = l->data;
        if (!strcmp(n->name, node_name)) {
            return n;
        }
    }
    return NULL;
}

GPtrArray *drive_list(BlockGraph *g)
{
    return g->drives;
}

const char *node_filename(const BlockNode *n)
{
    for (; n; n = n->file) {
        if (n->filename) {
            return n->filename;
        }
        if (!n->file) {
            return n->name;
        }
    }
    return "";
}

void node_set_loop(BlockNode *n, EventLoop *loop)
{
    const char *role;
    BlockNode **c;
    bool changed = n->loop != loop;
    n->loop = loop;
    if (changed && n->drv->loop_changed && n->s) {
        n->drv->loop_changed(n);
    }
    for (unsigned i = 0; (c = node_child(n, i, &role)); i++) {
        if (*c) {
            node_set_loop(*c, loop);
        }
    }
}

/* ---- references and users ---- */

BlockNode *node_ref(BlockNode *n)
{
    n->refs++;
    return n;
}

static void node_free(BlockNode *n)
{
    if (n->s && n->drv->close) {
        n->drv->close(n); /* which may store bitmaps */
    }
    bitmaps_free(n);
    if (n->file) {
        node_release(n->file, n);
        node_unref(n->file);
    }
    if (n->backing) {
        node_release(n->backing, n);
        node_unref(n->backing);
    }
    n->graph->nodes = g_list_remove(n->graph->nodes, n);
    json_unref(n->options);
    g_array_free(n->users, TRUE);
    g_free(n->s);
    g_free(n->name);
    g_free(n->filename);
    g_free(n);
}

void node_unref(BlockNode *n)
{
    if (n && --n->refs == 0) {
        node_free(n);
    }
}

NodeUser *node_find_user(BlockNode *n, const void *user)
{
    for (guint i = 0; i < n->users->len; i++) {
        NodeUser *u = &g_array_index(n->users, NodeUser, i);
        if (u->user == user) {
            return u;
        }
    }
    return NULL;
}

/* Tells driver and child what the users need now. */
static bool apply_permissions(BlockNode *n, Error **errp)
{
    bool write = false, share = true;
    for (guint i = 0; i < n->users->len; i++) {
        const NodeUser *u = &g_array_index(n->users, NodeUser, i);
        write |= u->write;
        share &= u->share_writes;
    }
    bool used = n->users->len > 0;
    if (n->drv->filter && n->file) {
        if (!used) {
            node_release(n->file, n);
            return true;
        }
        write |= n->drv->filter_writes && !n->flags.read_only;
        return node_take(n->file, n, n->name, write, share, errp);
    }
    return !n->drv->set_permissions || n->drv->set_permissions(n, used, write, share, errp);
}

static void clear_user(gpointer p)
{
    g_free(((NodeUser *)p)->name);
}

bool node_take(BlockNode *n, const void *user, const char *user_name, bool write, bool share_writes,
               Error **errp)
{
    if (write && n->flags.read_only) {
        error_set(errp, "'%s' is open read-only and cannot be written by '%s'", node_filename(n),
                  user_name);
        return false;
    }
    for (guint i = 0; i < n->users->len; i++) {
        const NodeUser *u = &g_array_index(n->users, NodeUser, i);
        if (u->user == user) {
            continue;
        }
        if ((write && !u->share_writes) || (u->write && !share_writes)) {
            error_set(errp, "block node '%s' (%s) is already used by '%s'%s", n->name,
                      node_filename(n), u->name, u->write ? ", which writes to it" : "");
            error_hint(errp, "two users may share it only if both have share-rw=on");
            return false;
        }
    }
    NodeUser *mine = node_find_user(n, user), before = {0};
    bool fresh = !mine;
    if (fresh) {
        g_array_append_val(n->users, before);
        mine = &g_array_index(n->users, NodeUser, n->users->len - 1);
        mine->user = user;
        mine->name = g_strdup(user_name);
    }
    before = *mine;
    mine->write = write;
    mine->share_writes = share_writes;
    if (apply_permissions(n, errp)) {
        return true;
    }
    mine = node_find_user(n, user);
    if (fresh) {
        g_array_remove_index(n->users, n->users->len - 1);
    } else {
        *mine = before;
    }
    apply_permissions(n, NULL);
    return false;
}

void node_release(BlockNode *n, const void *user)
{
    for (guint i = 0; i < n->users->len; i++) {
        if (g_array_index(n->users, NodeUser, i).user == user) {
            g_array_remove_index(n->users, i);
            apply_permissions(n, NULL); /* asking for less cannot fail */
            return;
        }
    }
}

/* ---- opening ---- */

static bool valid_node_name(const char *s)
{
    if (!g_ascii_isalpha(s[0]) || strlen(s) > 31) {
        return false;
    }
    for (; *s; s++) {
        if (!g_ascii_isalnum(*s) && !strchr("-._", *s)) {
            return false;
        }
    }
    return true;
}

static bool name_taken(BlockGraph *g, const char *name, Error **errp)
{
    if (block_node_find(g, name)) {
        error_set(errp, "there is already a block node '%s'", name);
        return true;
    }
    for (GList *l = g->backends; l; l = l->next) {
        BlockBackend *blk = l->data;
        if (!blk->implicit && !g_strcmp0(blk_name(blk), name)) {
            error_set(errp, "node-name '%s' is already the id of a drive", name);
            return true;
        }
    }
    return false;
}

static BlockNode *node_new(BlockGraph *g, const BlockDriver *drv)
{
    BlockNode *n = g_new0(BlockNode, 1);
    n->refs = 1;
    n->name = g_strdup("");
    n->graph = g;
    n->loop = g->loop;
    n->drv = drv;
    n->users = g_array_new(FALSE, FALSE, sizeof(NodeUser));
    g_array_set_clear_func(n->users, clear_user);
    fiber_queue_init(&n->waits);
    g->nodes = g_list_append(g->nodes, n);
    return n;
}

BlockNode *node_new_filter(BlockGraph *g, const BlockDriver *drv, const char *name,
                           BlockNode *child, Error **errp)
{
    if (name && (!valid_node_name(name) || name_taken(g, name, errp))) {
        if (!valid_node_name(name)) {
            error_set(errp,
                      "node-name '%s' is not a name: letters, digits, '-', '.', '_', at "
                      "most 31, a letter first",
                      name);
        }
        return NULL;
    }
    BlockNode *n = node_new(g, drv);
    g_free(n->name);
    n->name = name ? g_strdup(name) : g_strdup_printf("#block%03u", g->next_name++);
    n->implicit = !name;
    n->s = g_malloc0(MAX(drv->state_size, 1));
    n->file = node_ref(child);
    n->flags = child->flags;
    n->length = child->length;
    n->limits = (BlockLimits){.request_align = child->limits.request_align,
                              .discard_align = child->limits.discard_align,
                              .opt_io = child->limits.opt_io};
    node_set_loop(n, child->loop);
    return n;
}

static const BlockDriver *take_driver(BlockGraph *g, BlockOpts *o)
{
    const char *name = block_opts_string(o, "driver", NULL);
    if (!name) {
        block_opts_mistake(o, "'driver' is missing");
        return NULL;
    }
    const BlockDriver *drv = block_driver_find(g, name);
    if (!drv) {
        g_autoptr(GPtrArray) names = g_ptr_array_new();
        for (guint i = 0; i < g->drivers->len; i++) {
            g_ptr_array_add(names, (gpointer)((const BlockDriver *)g->drivers->pdata[i])->name);
        }
        g_ptr_array_add(names, NULL);
        const char *near = nearest_word(name, (const char *const *)names->pdata);
        g_autofree char *all = g_strjoinv(", ", (char **)names->pdata);
        if (near) {
            block_opts_mistake(o, "there is no block driver '%s'; did you mean '%s'? (known: %s)",
                               name, near, all);
        } else {
            block_opts_mistake(o, "there is no block driver '%s' (known: %s)", name, all);
        }
    }
    return drv;
}

/* cache: {direct, no-flush}; -drive's cache= word has been turned into it. */
static void take_cache(BlockOpts *o, BlockOpenFlags *f)
{
    Json *cache = block_opts_take(o, "cache");
    if (!cache) {
        return;
    }
    if (json_type(cache) != JSON_OBJECT) {
        block_opts_mistake(o, "'cache' must be an object with 'direct' and 'no-flush'");
        return;
    }
    g_autoptr(BlockOpts) c = block_opts_new(cache, "cache");
    f->direct = block_opts_bool(c, "direct", f->direct);
    f->no_flush = block_opts_bool(c, "no-flush", f->no_flush);
    Error *err = NULL;
    if (!block_opts_finish(c, &err)) {
        block_opts_mistake(o, "%s", error_message(err));
        error_free(err);
    }
}

static void take_generic(BlockNode *n, BlockOpts *o, const BlockOpenFlags *inherit)
{
    static const char *const discards[] = {"ignore", "off", "unmap", "on", NULL};
    static const char *const zeroes[] = {"off", "on", "unmap", NULL};
    BlockOpenFlags *f = &n->flags;
    *f = *inherit;
    f->read_only = block_opts_bool(o, "read-only", f->read_only);
    f->auto_read_only = block_opts_bool(o, "auto-read-only", f->auto_read_only);
    f->force_share = block_opts_bool(o, "force-share", f->force_share);
    f->discard_unmap = block_opts_enum(o, "discard", discards, f->discard_unmap ? 2 : 0) >= 2;
    take_cache(o, f);
    n->detect_zeroes = (unsigned)block_opts_enum(o, "detect-zeroes", zeroes, 0);
    if (n->detect_zeroes == DETECT_ZEROES_UNMAP && !f->discard_unmap) {
        block_opts_mistake(o, "detect-zeroes=unmap needs discard=unmap");
    }
    if (f->force_share && !f->read_only) {
        block_opts_mistake(o, "force-share=on needs read-only=on");
    }
}

static bool take_name(BlockNode *n, BlockOpts *o, Error **errp)
{
    const char *name = block_opts_string(o, "node-name", NULL);
    char *mine;
    if (!name) {
        mine = g_strdup_printf("#block%03u", n->graph->next_name++);
    } else if (!valid_node_name(name)) {
        block_opts_mistake(o,
                           "node-name '%s' is not a name: letters, digits, '-', '.', '_', at "
                           "most 31, a letter first",
                           name);
        return true; /* reported with the other mistakes */
    } else if (name_taken(n->graph, name, errp)) {
        return false;
    } else {
        mine = g_strdup(name);
    }
    g_free(n->name);
    n->name = mine;
    return true;
}

/* The child below a format; what the format inherits goes on to it. */
static bool open_file_child(BlockNode *n, BlockOpts *o, Error **errp)
{
    Json *file = n->drv->file_option ? block_opts_take(o, n->drv->file_option) : NULL;
    file = file ? file : block_opts_take(o, "file");
    if (!file) {
        block_opts_mistake(o, "'file' is missing");
        return block_opts_finish(o, errp);
    }
    BlockOpenFlags f = n->flags;
    f.probed = false;
    f.depth++;
    n->file = node_open(n->graph, file, &f, errp);
    if (!n->file) {
        return false;
    }
    if (n->file->flags.read_only && !n->flags.read_only) {
        if (!n->flags.auto_read_only) {
            error_set(errp, "'%s' is read-only, but read-only=on was not given",
                      node_filename(n->file));
            return false;
        }
        n->flags.read_only = true;
    }
    /* A format keeps its file to itself as long as it is open. */
    return n->drv->filter ||
           node_take(n->file, n, n->name, !n->flags.read_only, n->flags.force_share, errp);
}

static BlockNode *open_object(BlockGraph *g, const Json *options, const BlockOpenFlags *inherit,
                              Error **errp)
{
    g_autoptr(BlockOpts) o = block_opts_new(options, "block node");
    const BlockDriver *drv = take_driver(g, o);
    if (!drv) {
        Error *err = NULL;
        block_opts_take(o, "file");
        block_opts_take(o, "filename");
        block_opts_finish(o, &err);
        error_propagate(errp, err);
        return NULL;
    }
    BlockNode *n = node_new(g, drv);
    n->options = json_copy(options);
    take_generic(n, o, inherit);
    bool ok = take_name(n, o, errp);
    if (ok && !drv->protocol && !drv->childless) {
        ok = open_file_child(n, o, errp);
    }
    if (ok) {
        n->s = g_malloc0(MAX(drv->state_size, 1));
        ok = drv->open(n, o, errp);
    }
    if (!ok) {
        node_unref(n);
        return NULL;
    }
    return n;
}

BlockNode *node_open(BlockGraph *g, const Json *options, const BlockOpenFlags *inherit,
                     Error **errp)
{
    if (inherit->depth > MAX_DEPTH) {
        error_set(errp, "the chain of backing files is longer than %d, or a loop", MAX_DEPTH);
        return NULL;
    }
    const char *ref = json_get_string(options);
    if (ref) {
        BlockNode *n = block_node_find(g, ref);
        if (!n) {
            error_set(errp, "there is no block node '%s'", ref);
            return NULL;
        }
        return node_ref(n);
    }
    if (json_type(options) != JSON_OBJECT) {
        error_set(errp, "a block node is described by an object or a node-name, not by %s",
                  json_type_name(json_type(options)));
        return NULL;
    }
    return open_object(g, options, inherit, errp);
}

const BlockDriver *node_probe(BlockNode *file, Error **errp)
{
    const BlockDriver *best = &block_driver_raw;
    uint8_t head[2048];
    size_t len = (size_t)MIN((uint64_t)sizeof(head), file->length);
    memset(head, 0, sizeof(head));
    int ret = node_pread(file, 0, head, len);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot read the start of '%s' to find out its format",
                        node_filename(file));
        return NULL;
    }
    int score = 0;
    for (guint i = 0; i < file->graph->drivers->len; i++) {
        const BlockDriver *d = file->graph->drivers->pdata[i];
        int p = d->probe ? d->probe(head, len) : 0;
        if (p > score) {
            score = p;
            best = d;
        }
    }
    return best;
}

/* What the first bytes say; looking needs no writing, and takes no lock. */
static const char *probe_format(BlockGraph *g, const Json *file, const BlockOpenFlags *flags,
                                Error **errp)
{
    BlockOpenFlags f = *flags;
    f.read_only = true;
    BlockNode *n = node_open(g, file, &f, errp);
    if (!n) {
        return NULL;
    }
    const BlockDriver *found = node_probe(n, errp);
    if (found == &block_driver_raw && !flags->read_only) {
        report_warning("the format of '%s' was not given and looks raw; writes that would make it "
                       "look like another format are refused (format=raw lifts this)",
                       node_filename(n));
    }
    node_unref(n);
    return found ? found->name : NULL;
}

BlockNode *node_open_format(BlockGraph *g, const Json *file, const char *format, const Json *extra,
                            const BlockOpenFlags *flags, Error **errp)
{
    BlockOpenFlags f = *flags;
    g_autoptr(Json) o = extra ? json_copy(extra) : json_object();
    if (!format) {
        format = probe_format(g, file, flags, errp);
        if (!format) {
            return NULL;
        }
        f.probed = !strcmp(format, "raw") && !f.read_only;
    }
    json_put_string(o, "driver", format);
    json_put(o, "file", json_copy(file));
    return node_open(g, o, &f, errp);
}

BlockNode *node_open_filename(BlockGraph *g, const char *filename, const char *format,
                              const BlockOpenFlags *flags, Error **errp)
{
    g_autoptr(Json) file = filename_to_options(filename, errp);
    if (!file) {
        return NULL;
    }
    const char *driver = json_get_str(file, "driver");
    const BlockDriver *drv = driver ? block_driver_find(g, driver) : NULL;
    if (!format && drv && !drv->protocol) {
        return node_open(g, file, flags, errp); /* json: with a format */
    }
    return node_open_format(g, file, format, NULL, flags, errp);
}

BlockNode *block_open(BlockGraph *g, const Json *options, Error **errp)
{
    BlockOpenFlags f = {0};
    if (json_type(options) != JSON_OBJECT) {
        error_set(errp, "a block node is described by an object");
        return NULL;
    }
    if (!json_get(options, "node-name")) {
        error_set(errp, "'node-name' must be given for a block node of its own");
        return NULL;
    }
    BlockNode *n = node_open(g, options, &f, errp);
    if (!n) {
        return NULL;
    }
    n->by_user = true;
    /* `drive=NODE` finds a backend of the node's name; one that has moved on may have it. */
    BlockBackend *blk =
        blk_name_taken(g, n->name) ? blk_new(g, NULL, errp) : blk_new(g, n->name, errp);
    if (!blk) {
        n->by_user = false;
        node_unref(n);
        return NULL;
    }
    blk_mark_implicit(blk);
    blk_insert_node(blk, n);
    return n;
}

bool block_close(BlockGraph *g, const char *node_name, Error **errp)
{
    BlockNode *n = block_node_find(g, node_name);
    if (!n) {
        error_set(errp, "there is no block node '%s'", node_name);
        return false;
    }
    if (!n->by_user) {
        error_set(errp, "block node '%s' was not made by blockdev-add and cannot be removed",
                  node_name);
        return false;
    }
    BlockBackend *blk = NULL;
    for (GList *l = g->backends; l && !blk; l = l->next) {
        BlockBackend *b = l->data;
        blk = b->implicit && b->node == n ? b : NULL;
    }
    guint own = blk ? 1 : 0;
    if (!node_check_free(n, errp)) {
        return false;
    }
    if (own && blk_user(blk)) {
        error_set(errp, "block node '%s' is in use by device '%s'", node_name, blk_user(blk));
        return false;
    }
    if (n->refs > 1 + (int)own) {
        error_set(errp, "block node '%s' is in use by '%s'", node_name,
                  n->users->len ? g_array_index(n->users, NodeUser, 0).name : "another node");
        return false;
    }
    block_quiesce(g);
    if (own) {
        blk_close(blk);
    }
    n->by_user = false;
    node_unref(n);
    block_unquiesce(g);
    return true;
}
