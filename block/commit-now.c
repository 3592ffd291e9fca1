/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commit at once: what a layer holds goes down into another one, while nobody uses the chain. */
#include "block/backend.h"
#include "block/image.h"
#include "block/ops.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define CHUNK (1u << 20)

static int flush(BlockNode *n, Error **errp)
{
    int ret = node_flush(n);

    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot flush '%s'", node_filename(n));
    }
    return ret;
}

/* One range, at most what the map knows about it; *len: how far it came, *data: bytes copied. */
static int commit_range(const CommitNow *c, uint64_t off, void *buf, uint64_t *len, uint64_t *data)
{
    BlockMap m;
    int ret = node_map_chain(c->node, c->base, off, c->node->length - off, &m, NULL);

    if (ret < 0) {
        return ret;
    }
    *len = m.len;
    if (!(m.flags & BLOCK_MAP_ALLOCATED)) {
        return 0;
    }
    if (m.flags & BLOCK_MAP_ZERO) {
        return node_zero(c->base, off, m.len, BLK_MAY_UNMAP);
    }
    *len = MIN(m.len, CHUNK);
    *data += *len;
    ret = node_pread(c->node, off, buf, *len);
    return ret < 0 ? ret : node_pwrite(c->base, off, buf, *len, 0);
}

/* All that lies above the base goes into it. */
static int commit_data(const CommitNow *c, Error **errp)
{
    void *buf = NULL;
    int ret = posix_memalign(&buf, 4096, CHUNK) ? -ENOMEM : 0;
    uint64_t data = 0, len = 0;

    for (uint64_t off = 0; ret == 0 && off < c->node->length; off += len) {
        ret = commit_range(c, off, buf, &len, &data);
        if (ret < 0) {
            error_set_errno(errp, -ret, "cannot commit '%s' at offset %" PRIu64,
                            node_filename(c->node), off);
        } else if (c->step && !c->step(c->opaque, off + len, data)) {
            ret = -ECANCELED;
        }
    }
    free(buf);
    return ret < 0 ? ret : flush(c->base, errp);
}

int commit_now(const CommitNow *c, Error **errp)
{
    BlockNode *base = c->base;
    bool was_ro = base->flags.read_only;
    int ret = -EINVAL;

    /* The image above tolerates it: what it does not hold itself does not change for readers. */
    block_loosen(base, true);
    if (node_reopen(base, false, errp) && node_take(base, c, "commit", true, true, errp)) {
        ret = base->length < c->node->length ? node_truncate(base, c->node->length, errp) : 0;
        ret = ret < 0 ? ret : commit_data(c, errp);
        /* Other layers between would hide what was committed below them. */
        if (ret == 0 && !c->keep && base == c->node->backing) {
            ret = image_make_empty(c->node, errp);
            ret = ret < 0 ? ret : flush(c->node, errp); /* only then is the space free */
        }
        node_release(base, c);
    }
    block_loosen(base, false);
    if (was_ro && !node_reopen(base, true, ret == 0 ? errp : NULL)) {
        ret = ret < 0 ? ret : -EINVAL;
    }
    return ret;
}

/* ---- for a machine's disks ---- */

bool block_commit_now(BlockNode *top, Error **errp)
{
    BlockNode *n = node_skip_filters(top);
    CommitNow c = {.node = n, .base = n->backing};
    bool ok;

    if (!c.base) {
        error_set(errp, "'%s' has no backing file to commit to", node_filename(n));
        return false;
    }
    if (!node_check_free(top, errp) || !node_check_free(n, errp) ||
        !node_check_free(c.base, errp)) {
        return false;
    }
    block_quiesce(top->graph);
    ok = commit_now(&c, errp) == 0;
    block_unquiesce(top->graph);
    return ok;
}

bool block_commit_all(BlockGraph *g, Error **errp)
{
    for (GList *l = g->backends; l; l = l->next) {
        BlockBackend *b = l->data;
        BlockNode *n =
            b->implicit && !blk_user(b) ? NULL : blk_node(b); /* -blockdev: no disk yet */

        if (n && node_skip_filters(n)->backing && !block_commit_now(n, errp)) {
            error_prefix(errp, "'%s': ", blk_name(b));
            return false;
        }
    }
    return true;
}
