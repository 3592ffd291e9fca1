/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Chains: what shows through from the layers below. */
#include "block/node.h"

BlockNode *node_below(BlockNode *n)
{
    return n->drv->transparent ? n->file : n->backing;
}

BlockNode *node_skip_filters(BlockNode *n)
{
    while (n && n->drv->transparent) {
        n = n->file;
    }
    return n;
}

bool chain_has(BlockNode *top, const BlockNode *base)
{
    for (; top; top = node_below(top)) {
        if (top == base) {
            return true;
        }
    }
    return false;
}

int chain_map(BlockNode *top, const BlockNode *base, uint64_t off, uint64_t len, unsigned *flags,
              uint64_t *pnum)
{
    BlockNode *n = top;
    *flags = 0;
    for (; n && n != base; n = node_below(n)) {
        BlockMap m;
        if (n->drv->transparent) {
            continue;
        }
        if (off >= n->length) { /* a shorter layer reads as zeroes beyond its end */
            *flags = n == top ? 0 : BLOCK_MAP_ZERO;
            *pnum = len;
            return 0;
        }
        uint64_t have = MIN(len, n->length - off);
        int ret = node_map_chain(n, n->backing, off, have, &m, NULL); /* this layer only */
        if (ret < 0) {
            return ret;
        }
        len = MIN(m.len, have);
        if (m.flags & (BLOCK_MAP_DATA | BLOCK_MAP_ZERO)) {
            *flags = m.flags & BLOCK_MAP_ZERO ? BLOCK_MAP_ZERO : BLOCK_MAP_DATA;
            *pnum = len;
            return 0;
        }
    }
    if (!n) { /* nothing below: zeroes */
        *flags = base ? 0 : BLOCK_MAP_ZERO;
    }
    *pnum = len;
    return 0;
}
