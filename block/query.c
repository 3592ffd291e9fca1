/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What monitors show of the graph. */
#include "block/backend.h"
#include "block/image.h"
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
    const struct {
        const char *role;
        BlockNode *node;
    } kids[] = {{"file", n->file}, {"backing", n->backing}};
    for (size_t i = 0; i < ARRAY_LEN(kids); i++) {
        if (kids[i].node) {
            Json *c = json_object();
            json_put_string(c, "child", kids[i].role);
            json_put_string(c, "node-name", kids[i].node->name);
            json_append(a, c);
        }
    }
    return a;
}

/* BlockDeviceInfo. */
static Json *node_info(BlockNode *n, bool write_cache, bool chain)
{
    static const char *const zeroes[] = {"off", "on", "unmap"};
    static const char *const limits[] = {"bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"};
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
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        json_put_int(o, limits[i], 0);
    }
    json_put_int(o, "write_threshold", 0);
    json_put(o, "image", image_and_chain(n, chain));
    Json *cache = json_object();
    json_put_bool(cache, "writeback", write_cache);
    json_put_bool(cache, "direct", n->flags.direct);
    json_put_bool(cache, "no-flush", n->flags.no_flush);
    json_put(o, "cache", cache);
    return o;
}

static bool shown(const BlockBackend *blk)
{
    return (blk->id && !blk->implicit) || blk->attached;
}

static Json *backend_info(BlockBackend *blk)
{
    static const char *const iostatus[] = {"ok", "failed", "nospace"};
    Json *o = json_object();
    json_put_string(o, "device", blk->implicit ? "" : blk_name(blk));
    if (blk->attached) {
        json_put_string(o, "qdev", blk->dev_name);
    }
    json_put_string(o, "type", "unknown");
    json_put_bool(o, "removable", blk_has_tray(blk));
    json_put_bool(o, "locked", blk->locked);
    if (blk->node) {
        json_put(o, "inserted", node_info(blk->node, blk->write_cache, true));
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

Json *block_query(BlockGraph *g)
{
    Json *a = json_array();
    for (GList *l = g->backends; l; l = l->next) {
        if (shown(l->data)) {
            json_append(a, backend_info(l->data));
        }
    }
    return a;
}

Json *block_query_named_nodes(BlockGraph *g)
{
    Json *a = json_array();
    for (GList *l = g->nodes; l; l = l->next) {
        json_append(a, node_info(l->data, true, false));
    }
    return a;
}

Json *block_query_stats(BlockGraph *g)
{
    Json *a = json_array();
    for (GList *l = g->backends; l; l = l->next) {
        BlockBackend *blk = l->data;
        if (!shown(blk)) {
            continue;
        }
        Json *o = json_object(), *s = json_object();
        json_put_string(o, "device", blk->implicit ? "" : blk_name(blk));
        if (blk->attached) {
            json_put_string(o, "qdev", blk->dev_name);
        }
        if (blk->node) {
            json_put_string(o, "node-name", blk->node->name);
        }
        json_put(s, "rd_bytes", json_uint(blk->rd_bytes));
        json_put(s, "wr_bytes", json_uint(blk->wr_bytes));
        json_put(s, "rd_operations", json_uint(blk->rd_ops));
        json_put(s, "wr_operations", json_uint(blk->wr_ops));
        json_put(s, "flush_operations", json_uint(blk->flush_ops));
        json_put(o, "stats", s);
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
        g_string_append_printf(out, "    Attached to:      %s\n", blk->dev_name);
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
                g_string_append_printf(out, "    Attached to:      %s\n", blk->dev_name);
            }
        }
        g_string_append_c(out, '\n');
    }
}
