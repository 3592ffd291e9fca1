/* SPDX-License-Identifier: GPL-2.0-or-later */
/* External snapshots: an overlay takes the place of a node. */
#include "block/ops.h"

#include <errno.h>

static bool check(BlockNode *node, BlockNode *overlay, Error **errp)
{
    if (!node_check_free(node, errp) || !node_check_free(overlay, errp)) {
        return false;
    }
    if (overlay->backing) {
        error_set(errp, "The overlay already has a backing image");
        return false;
    }
    if (!overlay->drv->supports_backing) {
        error_set(errp, "The overlay does not support backing images");
        return false;
    }
    if (node_contains(node, overlay) || node_contains(overlay, node)) {
        error_set(errp, "Making '%s' a backing child of '%s' would create a cycle", node->name,
                  overlay->name);
        return false;
    }
    if (overlay->users->len) {
        error_set(errp, "The overlay is already in use by '%s'",
                  g_array_index(overlay->users, NodeUser, 0).name);
        return false;
    }
    if (overlay->length < node->length) {
        error_set(errp, "the overlay '%s' is smaller than '%s'", overlay->name, node->name);
        return false;
    }
    return true;
}

bool snapshot_insert(BlockNode *node, BlockNode *overlay, Error **errp)
{
    bool ok = false;
    BlockGraph *g = node->graph;
    block_quiesce(g);
    node_ref(node); /* its users' references may be the only ones */
    if (!check(node, overlay, errp)) {
        goto out;
    }
    int ret = node_flush(node);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot flush '%s'", node_filename(node));
        goto out;
    }
    node_set_loop(overlay, node->loop);
    if (!node_replace(node, overlay, overlay, errp)) {
        goto out;
    }
    if (!node_set_backing(overlay, node, errp)) {
        node_replace(overlay, node, NULL, NULL);
        goto out;
    }
    node_reopen(node, true, NULL); /* nobody writes there any more; if it cannot, no matter */
    ok = true;
out:
    node_unref(node);
    block_unquiesce(g);
    return ok;
}

void snapshot_undo(BlockNode *node, BlockNode *overlay)
{
    Error *err = NULL;
    block_quiesce(node->graph);
    node_ref(node);
    node_ref(overlay);
    node_set_backing(overlay, NULL, NULL);
    if (!node_reopen(node, false, &err) || !node_replace(overlay, node, NULL, &err)) {
        report_error("cannot take the snapshot of '%s' back: %s", node->name, error_message(err));
        error_free(err);
    }
    BlockGraph *g = node->graph;
    node_unref(overlay);
    node_unref(node);
    block_unquiesce(g);
}
