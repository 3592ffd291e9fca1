/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver "quorum": several children with the same contents.  Writes go to all and succeed
 * when vote-threshold of them did; reads take what that many agree on (read-pattern=quorum), or
 * the first that answers (fifo).
 */
#include "block/passthrough.h"

#include <errno.h>

#define MAX_CHILDREN 32u

typedef struct Quorum {
    BlockNode *child[MAX_CHILDREN];
    unsigned n, threshold;
    bool fifo, rewrite, blkverify;
} Quorum;

static void report(BlockNode *n, BlockNode *child, const char *type, int ret, uint64_t off,
                   uint64_t len)
{
    Json *d = json_object();
    json_put_string(d, "type", type);
    if (ret < 0) {
        json_put_string(d, "error", g_strerror(-ret));
    }
    json_put_string(d, "node-name", child->name);
    json_put(d, "sector-num", json_uint(off / BLOCK_SECTOR));
    json_put(d, "sectors-count", json_uint(len / BLOCK_SECTOR));
    block_event(n->graph, "QUORUM_REPORT_BAD", d);
}

static void report_failure(BlockNode *n, uint64_t off, uint64_t len)
{
    Json *d = json_object();
    json_put_string(d, "reference", n->name);
    json_put(d, "sector-num", json_uint(off / BLOCK_SECTOR));
    json_put(d, "sectors-count", json_uint(len / BLOCK_SECTOR));
    block_event(n->graph, "QUORUM_FAILURE", d);
}

static bool open_children(BlockNode *n, const Json *list, Error **errp)
{
    Quorum *q = n->s;
    for (size_t i = 0; i < json_length(list); i++) {
        BlockOpenFlags f = n->flags;
        f.probed = false;
        f.depth++;
        BlockNode *c = node_open(n->graph, json_at(list, i), &f, errp);
        if (!c) {
            return false;
        }
        q->child[q->n++] = c;
        if (!node_take(c, n, n->name, !n->flags.read_only, n->flags.force_share, errp)) {
            return false;
        }
        if (i && c->length != q->child[0]->length) {
            error_set(errp, "quorum: the children '%s' and '%s' have different sizes",
                      q->child[0]->name, c->name);
            return false;
        }
        n->limits.request_align = MAX(n->limits.request_align, c->limits.request_align);
        n->limits.opt_io = MAX(n->limits.opt_io, c->limits.opt_io);
    }
    n->length = q->child[0]->length;
    return true;
}

static bool quorum_open(BlockNode *n, BlockOpts *o, Error **errp)
{
    static const char *const patterns[] = {"quorum", "fifo", NULL};
    Quorum *q = n->s;
    Json *list = block_opts_take(o, "children");
    size_t count = list && json_type(list) == JSON_ARRAY ? json_length(list) : 0;
    q->threshold = (unsigned)block_opts_uint(o, "vote-threshold", 0, 1, MAX_CHILDREN);
    q->fifo = block_opts_enum(o, "read-pattern", patterns, 0) == 1;
    q->rewrite = block_opts_bool(o, "rewrite-corrupted", false);
    q->blkverify = block_opts_bool(o, "blkverify", false);
    if (count < 1 || count > MAX_CHILDREN) {
        block_opts_mistake(o, "'children' must list 1 to %u nodes", MAX_CHILDREN);
    }
    if (!q->threshold || q->threshold > count) {
        block_opts_mistake(o, "'vote-threshold' must be from 1 to the number of children");
    }
    if (q->blkverify && (count != 2 || q->threshold != 2)) {
        block_opts_mistake(o, "blkverify=on needs two children and vote-threshold=2");
    }
    if (q->rewrite && (q->fifo || q->blkverify)) {
        block_opts_mistake(o, "rewrite-corrupted=on goes with read-pattern=quorum only");
    }
    return block_opts_finish(o, errp) && open_children(n, list, errp);
}

static void quorum_close(BlockNode *n)
{
    Quorum *q = n->s;
    for (unsigned i = 0; i < q->n; i++) {
        node_release(q->child[i], n);
        node_unref(q->child[i]);
    }
    q->n = 0;
}

static BlockNode **quorum_child(BlockNode *n, unsigned i, const char **role)
{
    Quorum *q = n->s;
    *role = "children";
    return i < q->n ? &q->child[i] : NULL;
}

/* ---- reading ---- */

typedef struct Copy {
    uint8_t *data;
    int ret;
    unsigned votes; /* of those equal to it; counted at the first of them */
} Copy;

static int read_fifo(BlockNode *n, uint64_t off, const IoVec *v)
{
    Quorum *q = n->s;
    int ret = -EIO;
    for (unsigned i = 0; i < q->n && ret < 0; i++) {
        ret = node_preadv(q->child[i], off, v);
        if (ret < 0) {
            report(n, q->child[i], "read", ret, off, v->size);
        }
    }
    return ret;
}

/* The copy that most agree on; NULL: there are not enough of any. */
static Copy *vote(Quorum *q, Copy *c, size_t len)
{
    Copy *best = NULL;
    for (unsigned i = 0; i < q->n; i++) {
        for (unsigned k = 0; c[i].ret == 0 && k <= i; k++) {
            if (c[k].ret == 0 && !memcmp(c[i].data, c[k].data, len)) {
                c[k].votes++;
                best = !best || c[k].votes > best->votes ? &c[k] : best;
                break;
            }
        }
    }
    return best && best->votes >= q->threshold ? best : NULL;
}

static int quorum_preadv(BlockNode *n, uint64_t off, const IoVec *v)
{
    Quorum *q = n->s;
    Copy c[MAX_CHILDREN] = {0};
    if (q->fifo) {
        return read_fifo(n, off, v);
    }
    for (unsigned i = 0; i < q->n; i++) {
        c[i].data = g_try_malloc(v->size);
        c[i].ret = c[i].data ? node_pread(q->child[i], off, c[i].data, v->size) : -ENOMEM;
        if (c[i].ret < 0) {
            report(n, q->child[i], "read", c[i].ret, off, v->size);
        }
    }
    Copy *best = vote(q, c, v->size);
    if (best) {
        iov_from_buf(v->iov, v->n, 0, best->data, v->size);
    } else {
        report_failure(n, off, v->size);
    }
    for (unsigned i = 0; i < q->n; i++) {
        if (best && c[i].ret == 0 && memcmp(c[i].data, best->data, v->size)) {
            report(n, q->child[i], "read", 0, off, v->size);
            if (q->rewrite && !n->flags.read_only) {
                node_pwrite(q->child[i], off, best->data, v->size, 0);
            }
        }
    }
    for (unsigned i = 0; i < q->n; i++) {
        g_free(c[i].data);
    }
    return best ? 0 : -EIO;
}

/* ---- changes: all, and enough must succeed ---- */

static int tally(BlockNode *n, const char *type, const int *ret, uint64_t off, uint64_t len)
{
    Quorum *q = n->s;
    unsigned good = 0;
    int first = 0;
    for (unsigned i = 0; i < q->n; i++) {
        good += ret[i] == 0;
        first = first ? first : ret[i];
        if (ret[i] < 0) {
            report(n, q->child[i], type, ret[i], off, len);
        }
    }
    if (good < q->threshold) {
        report_failure(n, off, len);
        return first;
    }
    return 0;
}

static int quorum_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    Quorum *q = n->s;
    int ret[MAX_CHILDREN];
    for (unsigned i = 0; i < q->n; i++) {
        ret[i] = node_pwritev(q->child[i], off, v, flags);
    }
    return tally(n, "write", ret, off, v->size);
}

static int quorum_zero(BlockNode *n, uint64_t off, uint64_t len, unsigned flags)
{
    Quorum *q = n->s;
    int ret[MAX_CHILDREN];
    for (unsigned i = 0; i < q->n; i++) {
        ret[i] = node_zero(q->child[i], off, len, flags & ~BLK_NO_FALLBACK);
    }
    return tally(n, "write", ret, off, len);
}

static int quorum_flush(BlockNode *n)
{
    Quorum *q = n->s;
    int ret[MAX_CHILDREN];
    for (unsigned i = 0; i < q->n; i++) {
        ret[i] = node_flush(q->child[i]);
    }
    return tally(n, "flush", ret, 0, n->length);
}

static int64_t quorum_allocated(BlockNode *n)
{
    return -1;
}

const BlockDriver block_driver_quorum = {
    .name = "quorum",
    .help = "several copies of a disk, of which enough must agree",
    .state_size = sizeof(Quorum),
    .childless = true,
    .open = quorum_open,
    .close = quorum_close,
    .preadv = quorum_preadv,
    .pwritev = quorum_pwritev,
    .zero = quorum_zero,
    .flush = quorum_flush,
    .allocated = quorum_allocated,
    .child = quorum_child,
};
