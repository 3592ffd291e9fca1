/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the jobs that copy have in common. */
#include "block/alloc.h"
#include "block/bitmap.h"
#include "block/ops.h"

#include <errno.h>

#define MAP_STEP (1ull << 30)

/* Does the target read as zeroes there already? */
static bool already_zero(BlockNode *dst, uint64_t off, uint64_t len)
{
    BlockMap m;
    while (len) {
        if (node_map_chain(dst, NULL, off, len, &m, NULL) < 0 || !(m.flags & BLOCK_MAP_ZERO)) {
            return false;
        }
        off += m.len;
        len -= m.len;
    }
    return true;
}

static int copy_data(BlockNode *src, BlockNode *dst, uint64_t off, uint64_t len, void *buf,
                     unsigned flags, bool *is_read)
{
    *is_read = true;
    int ret = node_pread(src, off, buf, len);
    if (ret == 0) {
        *is_read = false;
        ret = node_pwrite(dst, off, buf, len, flags);
    }
    return ret;
}

int block_copy(BlockNode *src, BlockNode *dst, uint64_t off, uint64_t len, bool unmap,
               unsigned write_flags, bool *is_read)
{
    void *buf = NULL;
    int ret = 0;
    *is_read = true;
    while (len && ret == 0) {
        unsigned what = BLOCK_MAP_DATA;
        uint64_t n = len;
        /* A compressed cluster is written as a whole. */
        if (!(write_flags & BLK_COMPRESSED)) {
            ret = chain_map(src, NULL, off, len, &what, &n);
        }
        if (ret < 0) {
            break;
        }
        if (what & BLOCK_MAP_DATA) {
            buf = buf ? buf : try_aligned(4096, len);
            if (!buf) {
                return -ENOMEM;
            }
            ret = copy_data(src, dst, off, n, buf, write_flags, is_read);
        } else if (!already_zero(dst, off, n)) {
            *is_read = false;
            ret = node_zero(dst, off, n, unmap ? BLK_MAY_UNMAP : 0);
        }
        off += n;
        len -= n;
    }
    free(buf);
    return ret;
}

int block_mark_allocated(Job *job, BlockNode *top, BlockNode *base, BlockBitmap *out)
{
    uint64_t n;
    int ret = 0;
    for (uint64_t off = 0; off < top->length && ret == 0; off += n) {
        unsigned what;
        job_pause_point(job);
        if (job_cancelled(job)) {
            return -ECANCELED;
        }
        block_enter(job->graph, job->loop);
        ret = chain_map(top, base, off, MIN(top->length - off, MAP_STEP), &what, &n);
        if (ret == 0 && what) {
            bitmap_set(out, off, n);
        }
        block_leave(job->graph);
    }
    return ret;
}

void block_loosen(BlockNode *n, bool loose)
{
    for (guint i = 0; i < n->users->len; i++) {
        NodeUser *u = &g_array_index(n->users, NodeUser, i);
        if (!u->write) {
            u->share_writes = loose;
        }
    }
}

bool block_insert_filter(BlockNode *filter, Error **errp)
{
    BlockNode *below = filter->file;
    if (!node_replace(below, filter, filter, errp)) {
        return false;
    }
    return true;
}

void block_remove_filter(BlockNode *filter, BlockNode *to)
{
    Error *err = NULL;
    node_ref(filter);
    if (!node_replace(filter, to, NULL, &err)) {
        report_error("'%s' cannot give up its place to '%s': %s", filter->name, to->name,
                     error_message(err));
        error_free(err);
    }
    node_unref(filter);
}

BlockNode *chain_overlay(BlockNode *top, const BlockNode *n)
{
    for (; top; top = node_below(top)) {
        if (!top->drv->transparent && node_skip_filters(top->backing) == n) {
            return top;
        }
    }
    return NULL;
}
