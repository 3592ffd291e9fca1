/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What monitors show of the graph. */
#include "block/backend.h"
#include "block/bitmap.h"
#include "block/image.h"
#include "block/throttle.h"
#include "util/option.h"

static Json *image_and_chain(BlockNode *n, bool chain)
{
    Json *o = json_object();
    json_put_string(o, "filename", node_filename(n));
    json_put_string(o, "format", n->drv->name);
    json_put_int(o, "virtual-size", (int64_t)n->length);
    BlockNode *leaf = n;
    while (leaf->file) {
        leaf = leaf->file;
    }
    int64_t used = leaf->drv->allocated ? leaf->drv->allocated(leaf) : -1;
    if (used >= 0) {
        json_put_int(o, "actual-size", used);
    }
    if (n->drv->info) {
        n->drv->info(n, o);
    }
    if (n->backing) {
        json_put_string(o, "full-backing-filename", node_filename(n->backing));
        if (chain) {
            json_put(o, "backing-image", image_and_chain(n->backing, true));
        }
    }
    return o;
}

Json *image_info(BlockNode *n)
{
    return image_and_chain(n, false);
}

static Json *children_info(BlockNode *n)
{
    Json *a = json_array();
    BlockNode **kid;
    const char *role;
    for (unsigned i = 0; (kid = node_child(n, i, &role)); i++) {
        if (*kid) {
            Json *c = json_object();
            json_put_string(c, "child", role);
            json_put_string(c, "node-name", (*kid)->name);
            json_append(a, c);
        }
    }
    return a;
}

/* Filters that jobs have put in are nobody's business. */
static BlockNode *visible(BlockNode *n)
{
    while (n && n->implicit && n->drv->transparent) {
        n = n->file;
    }
    return n;
}

static void throttle_info(Json *o, ThrottleGroup *t)
{
    ThrottleConfig c;
    throttle_config_init(&c);
    if (t) {
        throttle_group_config(t, &c);
        json_put_string(o, "group", throttle_group_name(t));
    }
    for (int i = 0; i < THROTTLE_LIMITS; i++) {
        const char *name = throttle_qmp_names[i];
        json_put(o, name, json_uint(c.limit[i].avg));
        if (c.limit[i].max) {
            g_autofree char *max = g_strconcat(name, "_max", NULL);
            g_autofree char *length = g_strconcat(name, "_max_length", NULL);
            json_put(o, max, json_uint(c.limit[i].max));
            json_put(o, length, json_uint(c.limit[i].length));
        }
    }
    if (c.iops_size) {
        json_put(o, "iops_size", json_uint(c.iops_size));
    }
}

/* BlockDeviceInfo. */
static Json *node_info(BlockNode *n, const BlockBackend *blk, bool chain)
{
    static const char *const zeroes[] = {"off", "on", "unmap"};
    Json *o = json_object();
    int depth = 0;
    for (BlockNode *b = n->backing; b; b = b->backing) {
        depth++;
    }
    json_put_string(o, "file", node_filename(n));
    json_put_string(o, "node-name", n->name);
    json_put_bool(o, "ro", n->flags.read_only);
    json_put_string(o, "drv", n->drv->name);
    if (n->backing) {
        json_put_string(o, "backing_file", node_filename(n->backing));
    }
    json_put_int(o, "backing_file_depth", depth);
    json_put(o, "children", children_info(n));
    json_put_bool(o, "active", true);
    json_put_bool(o, "encrypted", false);
    json_put_string(o, "detect_zeroes", zeroes[n->detect_zeroes]);
    throttle_info(o, blk ? blk->throttle : NULL);
    json_put(o, "write_threshold", json_uint(n->write_threshold));
    Json *bitmaps = bitmaps_query(n);
    if (bitmaps) {
        json_put(o, "dirty-bitmaps", bitmaps);
    }
    json_put(o, "image", image_and_chain(n, chain));
    Json *cache = json_object();
    json_put_bool(cache, "writeback", !blk || blk->write_cache);
    json_put_bool(cache, "direct", n->flags.direct);
    json_put_bool(cache, "no-flush", n->flags.no_flush);
    json_put(o, "cache", cache);
    return o;
}

static bool shown(const BlockBackend *blk)
{
    return !blk->hidden && ((blk->id && !blk->implicit) || blk->attached);
}

static Json *backend_info(BlockBackend *blk, bool flat)
{
    static const char *const iostatus[] = {"ok", "failed", "nospace"};
    Json *o = json_object();
    json_put_string(o, "device", blk->implicit ? "" : blk_name(blk));
    if (blk->attached) {
        json_put_string(o, "qdev", blk->qdev ? blk->qdev : blk->dev_name);
    }
    json_put_string(o, "type", "unknown");
    json_put_bool(o, "removable", blk_has_tray(blk));
    json_put_bool(o, "locked", blk->locked);
    if (blk->node) {
        BlockNode *n = visible(blk->node);
        Json *inserted = node_info(n, blk, !flat), *bitmaps = json_get(inserted, "dirty-bitmaps");
        json_put(o, "inserted", inserted);
        if (bitmaps) {
            json_put(o, "dirty-bitmaps", json_ref(bitmaps));
        }
    }
    if (blk->attached && blk->ops && blk->ops->tray_open) {
        json_put_bool(o, "tray_open", blk->ops->tray_open(blk->dev));
    }
    if (blk->attached && (blk->rerror == BLK_ON_ERROR_STOP || blk->werror == BLK_ON_ERROR_STOP ||
                          blk->werror == BLK_ON_ERROR_ENOSPC)) {
        json_put_string(o, "io-status", iostatus[blk->iostatus]);
    }
    return o;
}

Json *block_query(BlockGraph *g, bool flat)
{
    Json *a = json_array();
    for (GList *l = g->backends; l; l = l->next) {
        if (shown(l->data)) {
            json_append(a, backend_info(l->data, flat));
        }
    }
    return a;
}

Json *block_query_named_nodes(BlockGraph *g, bool flat)
{
    Json *a = json_array();
    for (GList *l = g->nodes; l; l = l->next) {
        json_append(a, node_info(l->data, NULL, !flat));
    }
    return a;
}

static Json *stats_of(const BlockBackend *blk, const BlockNode *n)
{
    Json *s = json_object();
    const BlockBackend zero = {0};
    const BlockBackend *b = blk ? blk : &zero;
    json_put(s, "rd_bytes", json_uint(b->rd_bytes));
    json_put(s, "wr_bytes", json_uint(b->wr_bytes));
    json_put(s, "unmap_bytes", json_uint(b->unmap_bytes));
    json_put(s, "rd_operations", json_uint(b->rd_ops));
    json_put(s, "wr_operations", json_uint(b->wr_ops));
    json_put(s, "flush_operations", json_uint(b->flush_ops));
    json_put(s, "unmap_operations", json_uint(b->unmap_ops));
    json_put(s, "rd_total_time_ns", json_uint(b->rd_ns));
    json_put(s, "wr_total_time_ns", json_uint(b->wr_ns));
    json_put(s, "flush_total_time_ns", json_uint(b->flush_ns));
    json_put(s, "failed_rd_operations", json_uint(b->failed_rd));
    json_put(s, "failed_wr_operations", json_uint(b->failed_wr));
    json_put(s, "failed_flush_operations", json_uint(b->failed_flush));
    json_put(s, "wr_highest_offset", json_uint(n ? n->wr_highest : 0));
    const BlkHistogram *h[] = {&b->rd_times, &b->wr_times, &b->flush_times};
    static const char *const names[] = {"rd_latency_histogram", "wr_latency_histogram",
                                        "flush_latency_histogram"};
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        Json *j = histogram_json(h[i]);
        if (j) {
            json_put(s, names[i], j);
        }
    }
    return s;
}

static Json *node_stats(const BlockBackend *blk, BlockNode *n)
{
    Json *o = json_object();
    if (n) {
        json_put_string(o, "node-name", n->name);
    }
    json_put(o, "stats", stats_of(blk, n));
    if (n && n->file) {
        json_put(o, "parent", node_stats(NULL, n->file));
    }
    if (n && n->backing) {
        json_put(o, "backing", node_stats(NULL, n->backing));
    }
    return o;
}

Json *block_query_stats(BlockGraph *g, bool nodes)
{
    Json *a = json_array();
    for (GList *l = g->nodes; l && nodes; l = l->next) {
        json_append(a, node_stats(NULL, l->data));
    }
    for (GList *l = g->backends; l && !nodes; l = l->next) {
        BlockBackend *blk = l->data;
        if (!shown(blk)) {
            continue;
        }
        Json *o = node_stats(blk, visible(blk->node));
        json_put_string(o, "device", blk->implicit ? "" : blk_name(blk));
        if (blk->attached) {
            json_put_string(o, "qdev", blk->qdev ? blk->qdev : blk->dev_name);
        }
        json_append(a, o);
    }
    return a;
}

/* ---- info block ---- */

static void print_node(BlockBackend *blk, GString *out, bool verbose)
{
    BlockNode *n = blk->node;
    g_string_append_printf(out, ": %s (%s%s)\n", node_filename(n), n->drv->name,
                           n->flags.read_only ? ", read-only" : "");
    if (blk->attached) {
        g_string_append_printf(out, "    Attached to:      %s\n",
                               blk->qdev ? blk->qdev : blk->dev_name);
    }
    if (blk_has_tray(blk)) {
        g_string_append_printf(
            out, "    Removable device: %slocked, tray %s\n", blk->locked ? "" : "not ",
            blk->ops && blk->ops->tray_open && blk->ops->tray_open(blk->dev) ? "open" : "closed");
    }
    g_string_append_printf(
        out, "    Cache mode:       %s%s%s\n", blk->write_cache ? "writeback" : "writethrough",
        n->flags.direct ? ", direct" : "", n->flags.no_flush ? ", ignore flushes" : "");
    if (n->backing) {
        g_string_append_printf(out, "    Backing file:     %s\n", node_filename(n->backing));
    }
    if (verbose) {
        g_autofree char *size = format_size(n->length);
        g_string_append_printf(out, "    Node:             %s\n    Size:             %s\n", n->name,
                               size);
    }
}

void block_print_info(BlockGraph *g, GString *out, bool verbose)
{
    for (GList *l = g->backends; l; l = l->next) {
        BlockBackend *blk = l->data;
        if (!shown(blk)) {
            continue;
        }
        const char *name = blk->implicit ? "" : blk_name(blk);
        g_string_append(out, *name ? name : blk->node ? blk->node->name : "(no name)");
        if (blk->node) {
            print_node(blk, out, verbose);
        } else {
            g_string_append(out, ": [not inserted]\n");
            if (blk->attached) {
                g_string_append_printf(out, "    Attached to:      %s\n",
                                       blk->qdev ? blk->qdev : blk->dev_name);
            }
        }
        g_string_append_c(out, '\n');
    }
}
