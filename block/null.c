/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The protocol "null-co": a disk of zeroes that forgets what is written. */
#include "block/node.h"

typedef struct NullState {
    bool read_zeroes;
    int64_t latency; /* nanoseconds of every request */
} NullState;

static void take_time(BlockNode *n)
{
    NullState *s = n->s;
    if (s->latency) {
        node_sleep(n, s->latency);
    }
}

static bool null_open(BlockNode *n, BlockOpts *o, Error **errp)
{
    NullState *s = n->s;
    n->length = block_opts_size(o, "size", 1ull << 30);
    s->read_zeroes = block_opts_bool(o, "read-zeroes", false);
    s->latency = (int64_t)block_opts_uint(o, "latency-ns", 0, 0, 3600 * (uint64_t)NS_PER_SEC);
    return block_opts_finish(o, errp);
}

static int null_preadv(BlockNode *n, uint64_t off, const IoVec *v)
{
    NullState *s = n->s;
    /* Without read-zeroes the contents are undefined; a guest's memory must not be what
     * some other user of the process left behind, so only the guest's own stays. */
    take_time(n);
    if (s->read_zeroes) {
        iov_memset(v->iov, v->n, 0, 0, v->size);
    }
    return 0;
}

static int null_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    take_time(n);
    return 0;
}

static int null_flush(BlockNode *n)
{
    take_time(n);
    return 0;
}

static int null_map(BlockNode *n, uint64_t off, uint64_t len, BlockMap *out)
{
    NullState *s = n->s;
    *out = (BlockMap){s->read_zeroes ? BLOCK_MAP_ZERO : BLOCK_MAP_DATA, len, 0};
    return 0;
}

const BlockDriver block_driver_null = {
    .name = "null-co",
    .alias = "null-aio",
    .help = "zeroes; writes are forgotten",
    .state_size = sizeof(NullState),
    .protocol = true,
    .no_file = true,
    .open = null_open,
    .preadv = null_preadv,
    .pwritev = null_pwritev,
    .flush = null_flush,
    .map = null_map,
};
