/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changes of the graph while a machine runs: replacing nodes, backing nodes, reopening. */
#include "block/backend.h"

#include <errno.h>

void block_graph_set_event_hook(BlockGraph *g, BlockEventHook *hook, void *opaque)
{
    g->event_hook = hook;
    g->event_hook_opaque = opaque;
}

void block_graph_set_control(BlockGraph *g, EventLoop *control)
{
    g->control = control;
}

void block_event(BlockGraph *g, const char *name, Json *data)
{
    if (g->event_hook) {
        g->event_hook(g->event_hook_opaque, name, data);
    } else {
        json_unref(data);
    }
}

/* ---- looking ---- */

BlockNode **node_child(BlockNode *n, unsigned i, const char **role)
{
    if (i == 0) {
        *role = "file";
        return &n->file;
    }
    if (i == 1) {
        *role = "backing";
        return &n->backing;
    }
    return n->drv->child && n->s ? n->drv->child(n, i - 2, role) : NULL;
}

bool node_contains(BlockNode *n, const BlockNode *below)
{
    const char *role;
    if (n == below) {
        return true;
    }
    BlockNode **c;
    for (unsigned i = 0; (c = node_child(n, i, &role)); i++) {
        if (*c && node_contains(*c, below)) {
            return true;
        }
    }
    return false;
}

BlockNode *block_lookup(BlockGraph *g, const char *name, Error **errp)
{
    for (GList *l = g->backends; l; l = l->next) {
        BlockBackend *blk = l->data;
        bool by_id = !blk->implicit && !g_strcmp0(blk->id, name);
        if (!by_id && (!blk->attached || g_strcmp0(blk->dev_name, name))) {
            continue;
        }
        if (!blk->node) {
            error_set(errp, "Device '%s' has no medium", name);
        }
        return blk->node;
    }
    BlockNode *n = block_node_find(g, name);
    if (!n) {
        error_set(errp, "Cannot find device='%s' nor node-name='%s'", name, name);
    }
    return n;
}

bool node_check_free(const BlockNode *n, Error **errp)
{
    if (n->busy) {
        error_set(errp, "Node '%s' is busy: block device is in use by block job: %s", n->name,
                  n->busy);
        return false;
    }
    return true;
}

/* ---- replacing ---- */

typedef struct Move {
    BlockNode **slot;
    const void *user;
    BlockBackend *blk; /* NULL: the slot is a node's */
    NodeUser perm;     /* as it was; name is a copy */
    bool had_perm;
} Move;

static void add_move(GArray *moves, BlockNode *from, BlockNode **slot, const void *user,
                     BlockBackend *blk)
{
    Move m = {.slot = slot, .user = user, .blk = blk};
    NodeUser *u = node_find_user(from, user);
    if (u) {
        m.had_perm = true;
        m.perm = *u;
        m.perm.name = g_strdup(u->name);
    }
    g_array_append_val(moves, m);
}

static GArray *collect_moves(BlockNode *from, BlockNode *to, const BlockNode *keep)
{
    BlockGraph *g = from->graph;
    GArray *moves = g_array_new(FALSE, FALSE, sizeof(Move));
    for (GList *l = g->nodes; l; l = l->next) {
        BlockNode *p = l->data, **c;
        const char *role;
        if (p == keep || node_contains(to, p)) {
            continue;
        }
        for (unsigned i = 0; (c = node_child(p, i, &role)); i++) {
            if (*c == from) {
                add_move(moves, from, c, p, NULL);
            }
        }
    }
    for (GList *l = g->backends; l; l = l->next) {
        BlockBackend *blk = l->data;
        /* The stand-in for a node made by blockdev-add stays with it until a device comes. */
        if (blk->node == from && (blk->attached || !blk->implicit)) {
            add_move(moves, from, &blk->node, blk, blk);
        }
    }
    return moves;
}

static bool retake(BlockNode *n, const Move *m, Error **errp)
{
    return !m->had_perm || node_take(n, m->user, m->perm.name, m->perm.write && !n->flags.read_only,
                                     m->perm.share_writes, errp);
}

bool node_replace(BlockNode *from, BlockNode *to, const BlockNode *keep, Error **errp)
{
    GArray *moves = collect_moves(from, to, keep);
    bool ok = true;
    guint taken = 0;
    for (guint i = 0; i < moves->len; i++) {
        node_release(from, g_array_index(moves, Move, i).user);
    }
    for (; ok && taken < moves->len; taken += ok) {
        Move *m = &g_array_index(moves, Move, taken);
        if (m->perm.write && to->flags.read_only) {
            error_set(errp, "block node '%s' is read-only, but '%s' writes", to->name,
                      m->perm.name);
            ok = false;
        } else {
            ok = retake(to, m, errp);
        }
    }
    for (guint i = 0; !ok && i < taken; i++) {
        node_release(to, g_array_index(moves, Move, i).user);
    }
    node_ref(from);
    for (guint i = 0; i < moves->len; i++) {
        Move *m = &g_array_index(moves, Move, i);
        if (ok) {
            *m->slot = node_ref(to);
            node_unref(from);
            if (m->blk) {
                node_set_loop(to, m->blk->loop);
            }
        } else {
            retake(from, m, NULL);
        }
        g_free(m->perm.name);
    }
    node_unref(from);
    g_array_free(moves, TRUE);
    return ok;
}

bool node_set_backing(BlockNode *n, BlockNode *backing, Error **errp)
{
    if (backing == n->backing) {
        return true;
    }
    if (backing && node_contains(backing, n)) {
        error_set(errp, "Making '%s' a backing child of '%s' would create a cycle", backing->name,
                  n->name);
        return false;
    }
    BlockNode *old = n->backing;
    if (backing && !node_take(backing, n, n->name, false, n->flags.force_share, errp)) {
        return false;
    }
    n->backing = backing ? node_ref(backing) : NULL;
    if (backing) {
        node_set_loop(backing, n->loop);
    }
    if (old) {
        node_release(old, n);
        node_unref(old);
    }
    return true;
}

/* ---- reopening ---- */

static bool set_file_permission(BlockNode *n, bool write, Error **errp)
{
    return !n->file || n->drv->filter ||
           node_take(n->file, n, n->name, write, n->flags.force_share, errp);
}

bool node_reopen(BlockNode *n, bool read_only, Error **errp)
{
    if (n->flags.read_only == read_only) {
        return true;
    }
    if (read_only) {
        for (guint i = 0; i < n->users->len; i++) {
            const NodeUser *u = &g_array_index(n->users, NodeUser, i);
            if (u->write) {
                error_set(errp, "block node '%s' cannot become read-only: '%s' writes to it",
                          n->name, u->name);
                return false;
            }
        }
        int ret = node_flush(n);
        if (ret < 0) {
            error_set_errno(errp, -ret, "cannot flush '%s'", node_filename(n));
            return false;
        }
    } else if (n->file && !node_reopen(n->file, false, errp)) {
        return false;
    }
    if (!read_only && !set_file_permission(n, true, errp)) {
        return false;
    }
    if (n->drv->reopen && !n->drv->reopen(n, read_only, errp)) {
        if (!read_only) {
            set_file_permission(n, false, NULL);
        }
        return false;
    }
    n->flags.read_only = read_only;
    if (read_only) {
        set_file_permission(n, false, NULL);
        if (n->file && n->file->users->len <= 1 && !n->file->by_user) {
            node_reopen(n->file, true, NULL); /* nobody needs it; it may stay as well */
        }
    }
    return true;
}

/* What blockdev-reopen can change on any node. */
static const char *const changeable[] = {
    "read-only", "auto-read-only", "discard",     "detect-zeroes",  "backing",
    "file",      "cache",          "force-share", "throttle-group", NULL};

static bool same_options(BlockNode *n, const Json *now, const Json *before, Error **errp)
{
    for (size_t i = 0; i < json_length(now); i++) {
        const char *key = json_key_at(now, i);
        Json *old = json_get(before, key);
        if (!g_strv_contains(changeable, key) && strcmp(key, "node-name") &&
            !(old && json_equal(old, json_value_at(now, i)))) {
            error_set(errp, "Cannot change the option '%s' of node '%s'", key, n->name);
            return false;
        }
    }
    for (size_t i = 0; before && i < json_length(before); i++) {
        const char *key = json_key_at(before, i);
        if (!g_strv_contains(changeable, key) && strcmp(key, "node-name") && !json_get(now, key)) {
            error_set(errp,
                      "The option '%s' of node '%s' was set when it was opened and must be "
                      "given again",
                      key, n->name);
            return false;
        }
    }
    return true;
}

/* A child named in the options: the node meant, or an error.  *null: explicitly none. */
static bool named_child(BlockNode *n, const Json *options, const char *key, BlockNode **out,
                        bool *null, Error **errp)
{
    Json *v = json_get(options, key);
    *out = NULL;
    *null = v && json_type(v) == JSON_NULL;
    if (!v || *null) {
        return true;
    }
    const char *name = json_get_string(v);
    if (!name) {
        name = json_type(v) == JSON_OBJECT ? json_get_str(v, "node-name") : NULL;
    }
    BlockNode *cur = !strcmp(key, "file") ? n->file : n->backing;
    if (!name) {
        if (!strcmp(key, "file")) {
            *out = cur; /* an inline child keeps what it is */
            return true;
        }
        error_set(errp, "Cannot change the option '%s' of node '%s': give a node-name", key,
                  n->name);
        return false;
    }
    *out = block_node_find(n->graph, name);
    if (!*out) {
        error_set(errp, "Cannot find device='' nor node-name='%s'", name);
    }
    return *out != NULL;
}

static bool change_file(BlockNode *n, BlockNode *file, Error **errp)
{
    if (!file || file == n->file) {
        return true;
    }
    if (!n->drv->transparent) {
        error_set(errp,
                  "Cannot change the option 'file' of node '%s': driver '%s' cannot move to "
                  "another file",
                  n->name, n->drv->name);
        return false;
    }
    if (node_contains(file, n)) {
        error_set(errp, "Making '%s' a file child of '%s' would create a cycle", file->name,
                  n->name);
        return false;
    }
    if (file->length != n->length) {
        error_set(errp, "Cannot change the option 'file' of node '%s': '%s' has another size",
                  n->name, file->name);
        return false;
    }
    BlockNode *old = n->file;
    NodeUser *u = node_find_user(old, n);
    bool write = u && u->write, share = u && u->share_writes;
    node_release(old, n);
    if (u && !node_take(file, n, n->name, write, share, errp)) {
        node_take(old, n, n->name, write, share, NULL);
        return false;
    }
    n->file = node_ref(file);
    node_set_loop(file, n->loop);
    node_unref(old);
    return true;
}

/* What a node is to become. */
typedef struct Reopen {
    BlockNode *backing, *file; /* NULL: as they are */
    bool no_backing;           /* or: none */
    bool read_only, auto_ro, unmap;
    int detect_zeroes;
    const char *throttle_group; /* or NULL; within `generic` */
    Json *generic;              /* the options but for children */
} Reopen;

static Json *generic_options(const Json *options)
{
    Json *generic = json_object();
    for (size_t i = 0; i < json_length(options); i++) {
        const char *key = json_key_at(options, i);
        if (g_strv_contains(changeable, key) && strcmp(key, "backing") && strcmp(key, "file")) {
            json_put(generic, key, json_ref(json_value_at(options, i)));
        }
    }
    return generic;
}

/* r->generic is the caller's in any case. */
static bool read_reopen(BlockNode *n, const Json *options, Reopen *r, Error **errp)
{
    static const char *const discards[] = {"ignore", "off", "unmap", "on", NULL};
    static const char *const zeroes[] = {"off", "on", "unmap", NULL};
    bool no_file;
    if (!named_child(n, options, "backing", &r->backing, &r->no_backing, errp) ||
        !named_child(n, options, "file", &r->file, &no_file, errp)) {
        return false;
    }
    r->generic = generic_options(options);
    g_autoptr(BlockOpts) o = block_opts_new(r->generic, "blockdev-reopen");
    r->read_only = block_opts_bool(o, "read-only", false);
    r->auto_ro = block_opts_bool(o, "auto-read-only", false);
    r->unmap = block_opts_enum(o, "discard", discards, 0) >= 2;
    r->detect_zeroes = block_opts_enum(o, "detect-zeroes", zeroes, 0);
    bool share = block_opts_bool(o, "force-share", false);
    block_opts_take(o, "cache");
    r->throttle_group = block_opts_string(o, "throttle-group", NULL);
    if (!block_opts_finish(o, errp)) {
        return false;
    }
    if (r->detect_zeroes == DETECT_ZEROES_UNMAP && !r->unmap) {
        error_set(errp, "detect-zeroes=unmap needs discard=unmap");
        return false;
    }
    if (share != n->flags.force_share) {
        error_set(errp, "Cannot change the option 'force-share' of node '%s'", n->name);
        return false;
    }
    return true;
}

static bool change_throttle_group(BlockNode *n, const char *group, Error **errp)
{
    if (group && !n->drv->reopen_option) {
        error_set(errp, "Cannot change the option 'throttle-group' of node '%s'", n->name);
        return false;
    }
    return !group || n->drv->reopen_option(n, "throttle-group", group, errp);
}

static bool change_read_only(BlockNode *n, const Reopen *r, Error **errp)
{
    Error *err = NULL;
    if (r->read_only != n->flags.read_only && !node_reopen(n, r->read_only, &err)) {
        if (!r->auto_ro || r->read_only) {
            error_propagate(errp, err);
            return false;
        }
        error_free(err);
    }
    return true;
}

static bool reopen_one(BlockNode *n, const Json *options, Error **errp)
{
    Reopen r = {0};
    bool ok = read_reopen(n, options, &r, errp) &&
              change_throttle_group(n, r.throttle_group, errp) && change_read_only(n, &r, errp) &&
              (!(r.backing || r.no_backing) || node_set_backing(n, r.backing, errp)) &&
              change_file(n, r.file, errp);
    if (ok) {
        n->flags.auto_read_only = r.auto_ro;
        n->flags.discard_unmap = r.unmap;
        n->detect_zeroes = (unsigned)r.detect_zeroes;
        json_unref(n->options);
        n->options = json_copy(options);
    }
    json_unref(r.generic);
    return ok;
}

/* `options`: an array of node descriptions. */
bool block_reopen(BlockGraph *g, const Json *options, Error **errp)
{
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();
    for (size_t i = 0; i < json_length(options); i++) {
        Json *o = json_at(options, i);
        const char *name = json_get_str(o, "node-name"), *driver = json_get_str(o, "driver");
        BlockNode *n = name ? block_node_find(g, name) : NULL;
        if (!name) {
            error_set(errp, "node-name not specified");
            return false;
        }
        if (!n) {
            error_set(errp, "Failed to find node with node-name='%s'", name);
            return false;
        }
        if (!driver || block_driver_find(g, driver) != n->drv) {
            error_set(errp, "Cannot change the option 'driver'");
            return false;
        }
        if (!node_check_free(n, errp) || !same_options(n, o, n->options, errp)) {
            return false;
        }
        g_ptr_array_add(nodes, n);
    }
    block_quiesce(g);
    bool ok = true;
    for (guint i = 0; ok && i < nodes->len; i++) {
        ok = reopen_one(nodes->pdata[i], json_at(options, i), errp);
    }
    block_unquiesce(g);
    return ok;
}
