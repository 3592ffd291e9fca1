/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Management commands about dirty bitmaps; each can be an action of a transaction. */
#include "monitor/block-args.h"

typedef struct BitmapAction {
    Action a;
    BlockNode *node;
    BlockBitmap *b, *saved; /* saved: bits as they were */
    bool was_enabled, detached, stored;
} BitmapAction;

static BlockNode *find_node(BlockGraph *g, const char *name, Error **errp)
{
    return block_lookup(g, name, errp);
}

static BlockBitmap *find(BlockGraph *g, const char *node, const char *name, BlockNode **out,
                         Error **errp)
{
    BlockNode *n = find_node(g, node, errp);
    BlockBitmap *b = n ? bitmap_find(n, name) : NULL;
    if (n && !b) {
        error_set(errp, "Dirty bitmap '%s' not found", name);
    }
    if (out) {
        *out = n;
    }
    return b;
}

static bool find_args(BitmapAction *ba, const Json *args, bool allow_inconsistent, Error **errp)
{
    ba->b =
        find(ba->a.graph, json_get_str(args, "node"), json_get_str(args, "name"), &ba->node, errp);
    return ba->b && bitmap_check(ba->b, allow_inconsistent, errp);
}

static bool save_bits(BitmapAction *ba, Error **errp)
{
    ba->saved = bitmap_copy_bits(ba->b);
    if (!ba->saved) {
        error_set(errp, "there is no memory for a copy of bitmap '%s'", ba->b->name);
    }
    return ba->saved != NULL;
}

static void restore_bits(Action *a)
{
    BitmapAction *ba = (BitmapAction *)a;
    bitmap_clear_all(ba->b);
    bitmap_merge(ba->b, ba->saved, NULL);
}

static void bitmap_clean(Action *a)
{
    bitmap_free(((BitmapAction *)a)->saved);
}

/* ---- add ---- */

static bool add_prepare(Action *a, const Json *args, Error **errp)
{
    BitmapAction *ba = (BitmapAction *)a;
    int64_t gran = 0;
    bool persistent = false, disabled = false;
    json_get_int(json_get(args, "granularity"), &gran);
    json_get_bool(json_get(args, "persistent"), &persistent);
    json_get_bool(json_get(args, "disabled"), &disabled);
    ba->node = find_node(a->graph, json_get_str(args, "node"), errp);
    if (!ba->node) {
        return false;
    }
    if (json_get(args, "granularity") && (gran < 512 || (gran & (gran - 1)))) {
        error_set(errp, "Granularity must be power of 2, and at least 512");
        return false;
    }
    if (persistent && !ba->node->drv->bitmap_store) {
        error_set(errp, "Cannot store dirty bitmaps in file '%s'", node_filename(ba->node));
        return false;
    }
    block_quiesce(a->graph);
    ba->b = bitmap_new(ba->node, json_get_str(args, "name"), (uint64_t)gran, errp);
    if (ba->b) {
        ba->b->enabled = !disabled;
        ba->b->persistent = persistent;
        if (persistent && !ba->node->drv->bitmap_store(ba->node, ba->b, errp)) {
            bitmap_free(ba->b);
            ba->b = NULL;
        }
    }
    block_unquiesce(a->graph);
    return ba->b != NULL;
}

static void drop(BlockNode *n, BlockBitmap *b)
{
    Error *err = NULL;
    block_quiesce(n->graph);
    if (b->persistent && n->drv->bitmap_remove && !n->drv->bitmap_remove(n, b, &err)) {
        /* It is still the image's, which writes it when it is closed. */
        report_error("%s", error_message(err));
        error_free(err);
    } else {
        bitmap_free(b);
    }
    block_unquiesce(n->graph);
}

static void add_abort(Action *a)
{
    drop(((BitmapAction *)a)->node, ((BitmapAction *)a)->b);
}

const ActionOps action_bitmap_add = {
    .size = sizeof(BitmapAction), .prepare = add_prepare, .abort = add_abort};

/* ---- remove: hidden first, gone at commit ---- */

static bool remove_prepare(Action *a, const Json *args, Error **errp)
{
    BitmapAction *ba = (BitmapAction *)a;
    if (!find_args(ba, args, true, errp)) {
        return false;
    }
    ba->b->busy = "a transaction that removes it";
    return true;
}

static void remove_commit(Action *a)
{
    drop(((BitmapAction *)a)->node, ((BitmapAction *)a)->b);
}

static void remove_abort(Action *a)
{
    ((BitmapAction *)a)->b->busy = NULL;
}

const ActionOps action_bitmap_remove = {.size = sizeof(BitmapAction),
                                        .prepare = remove_prepare,
                                        .commit = remove_commit,
                                        .abort = remove_abort};

/* ---- clear, enable, disable, merge ---- */

static bool clear_prepare(Action *a, const Json *args, Error **errp)
{
    BitmapAction *ba = (BitmapAction *)a;
    if (!find_args(ba, args, false, errp) || !save_bits(ba, errp)) {
        return false;
    }
    block_quiesce(a->graph);
    bitmap_clear_all(ba->b);
    block_unquiesce(a->graph);
    return true;
}

/* Bits set meanwhile stay. */
static void merge_back(Action *a)
{
    BitmapAction *ba = (BitmapAction *)a;
    bitmap_merge(ba->b, ba->saved, NULL);
}

const ActionOps action_bitmap_clear = {.size = sizeof(BitmapAction),
                                       .prepare = clear_prepare,
                                       .abort = merge_back,
                                       .clean = bitmap_clean};

static bool set_enabled(Action *a, const Json *args, bool on, Error **errp)
{
    BitmapAction *ba = (BitmapAction *)a;
    if (!find_args(ba, args, false, errp)) {
        return false;
    }
    block_quiesce(a->graph);
    ba->was_enabled = ba->b->enabled;
    ba->b->enabled = on;
    block_unquiesce(a->graph);
    return true;
}

static bool enable_prepare(Action *a, const Json *args, Error **errp)
{
    return set_enabled(a, args, true, errp);
}

static bool disable_prepare(Action *a, const Json *args, Error **errp)
{
    return set_enabled(a, args, false, errp);
}

static void enable_abort(Action *a)
{
    ((BitmapAction *)a)->b->enabled = ((BitmapAction *)a)->was_enabled;
}

const ActionOps action_bitmap_enable = {
    .size = sizeof(BitmapAction), .prepare = enable_prepare, .abort = enable_abort};
const ActionOps action_bitmap_disable = {
    .size = sizeof(BitmapAction), .prepare = disable_prepare, .abort = enable_abort};

static bool merge_one(BitmapAction *ba, const Json *from, Error **errp)
{
    const char *name = json_get_string(from), *node = ba->node->name;
    if (!name && json_type(from) == JSON_OBJECT) {
        node = json_get_str(from, "node");
        name = json_get_str(from, "name");
    }
    if (!name || !node) {
        error_set(errp, "'bitmaps' holds names of bitmaps, or objects with node and name");
        return false;
    }
    BlockBitmap *b = find(ba->a.graph, node, name, NULL, errp);
    if (!b) {
        return false;
    }
    if (b->inconsistent) {
        return bitmap_check(b, false, errp);
    }
    return b == ba->b || bitmap_merge(ba->b, b, errp);
}

static bool merge_prepare(Action *a, const Json *args, Error **errp)
{
    BitmapAction *ba = (BitmapAction *)a;
    const Json *list = json_get(args, "bitmaps");
    ba->b =
        find(a->graph, json_get_str(args, "node"), json_get_str(args, "target"), &ba->node, errp);
    if (!ba->b || !bitmap_check(ba->b, false, errp) || !save_bits(ba, errp)) {
        return false;
    }
    bool ok = true;
    block_quiesce(a->graph);
    for (size_t i = 0; ok && i < json_length(list); i++) {
        ok = merge_one(ba, json_at(list, i), errp);
    }
    if (!ok) {
        restore_bits(a);
    }
    block_unquiesce(a->graph);
    return ok;
}

const ActionOps action_bitmap_merge = {.size = sizeof(BitmapAction),
                                       .prepare = merge_prepare,
                                       .abort = restore_bits,
                                       .clean = bitmap_clean};

/* ---- the commands ---- */

bool qmp_block_dirty_bitmap_add(Object *root, const Json *args, Error **errp)
{
    return action_run(&action_bitmap_add, root, args, errp);
}

bool qmp_block_dirty_bitmap_remove(Object *root, const Json *args, Error **errp)
{
    return action_run(&action_bitmap_remove, root, args, errp);
}

bool qmp_block_dirty_bitmap_clear(Object *root, const Json *args, Error **errp)
{
    return action_run(&action_bitmap_clear, root, args, errp);
}

bool qmp_block_dirty_bitmap_enable(Object *root, const Json *args, Error **errp)
{
    return action_run(&action_bitmap_enable, root, args, errp);
}

bool qmp_block_dirty_bitmap_disable(Object *root, const Json *args, Error **errp)
{
    return action_run(&action_bitmap_disable, root, args, errp);
}

bool qmp_block_dirty_bitmap_merge(Object *root, const Json *args, Error **errp)
{
    return action_run(&action_bitmap_merge, root, args, errp);
}

bool qmp_x_debug_block_dirty_bitmap_sha256(Object *root, const char *node, const char *name,
                                           Json **out, Error **errp)
{
    BlockBitmap *b = find(block_graph_of(root), node, name, NULL, errp);
    if (!b) {
        return false;
    }
    g_autofree char *sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *)b->words,
                                                       (b->n_bits + 63) / 64 * 8);
    *out = json_object();
    json_put_string(*out, "sha256", sum);
    return true;
}
