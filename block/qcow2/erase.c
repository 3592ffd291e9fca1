/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Discarding and zeroing of whole clusters. */
#include "block/qcow2/qcow2.h"

#include <errno.h>

typedef enum EraseKind { ERASE_DISCARD, ERASE_ZERO, ERASE_ZERO_UNMAP } EraseKind;

/* Would a hole in this layer read as zeroes at `off`? */
static bool hole_is_zero(const Qcow2 *s, uint64_t off)
{
    return !s->n->backing || off >= s->n->backing->length;
}

/* What entry `old` at guest offset `off` becomes; *release: its cluster goes. */
static uint64_t erased_entry(const Qcow2 *s, EraseKind kind, uint64_t old, uint64_t off,
                             bool *release)
{
    Qcow2Kind k = qcow2_entry_kind(s, old);
    bool hole = hole_is_zero(s, off);
    *release = false;
    if (k == QCOW2_ZERO_PLAIN || (k == QCOW2_UNALLOCATED && hole)) {
        return old;
    }
    if (k == QCOW2_UNALLOCATED) {
        /* A discard may leave what is below visible; zeroes must hide it. */
        return kind == ERASE_DISCARD ? old : QCOW2_ZERO;
    }
    if (kind == ERASE_ZERO && s->version >= 3 && (k == QCOW2_NORMAL || k == QCOW2_ZERO_ALLOC)) {
        return old | QCOW2_ZERO; /* keeps its cluster */
    }
    *release = true;
    return hole ? 0 : QCOW2_ZERO;
}

/* Version 2 has no way to say "zeroes" where something lies below. */
static bool possible(const Qcow2 *s, uint64_t off)
{
    return s->version >= 3 || hole_is_zero(s, off);
}

/* As far as one slice of an L2 table goes: bytes done, or an error. Under `lock`. */
static int64_t erase_slice(Qcow2 *s, EraseKind kind, uint64_t off, uint64_t len)
{
    Qcow2Map m;
    int ret = qcow2_map(s, off, len, &m);
    if (ret < 0) {
        return ret;
    }
    if (m.kind == QCOW2_UNALLOCATED && (kind == ERASE_DISCARD || hole_is_zero(s, off))) {
        return (int64_t)m.len; /* without making a table for it */
    }
    if (!possible(s, off)) {
        return -ENOTSUP;
    }
    uint64_t *slice, where;
    unsigned index, room;
    ret = qcow2_l2_for_write(s, off, &slice, &index, &room, &where);
    if (ret < 0) {
        return ret;
    }
    uint64_t n = MIN(qcow2_clusters(s, len), (uint64_t)room);
    bool changed = false;
    for (uint64_t i = 0; i < n; i++) {
        bool release;
        uint64_t old = BITS_BE64(slice[index + i]);
        uint64_t now = erased_entry(s, kind, old, off + (i << s->cluster_bits), &release);
        if (now == old) {
            continue;
        }
        slice[index + i] = BITS_BE64(now);
        changed = true;
        if (release) {
            qcow2_release_entry(s, old, s->pass_request);
        }
    }
    if (changed) {
        qcow2_cache_dirty(s->l2_cache, where);
    }
    return (int64_t)MIN(len, n << s->cluster_bits);
}

static int erase_clusters(Qcow2 *s, EraseKind kind, uint64_t off, uint64_t len)
{
    Qcow2Range r;
    int64_t done = 0;
    qcow2_range_begin(s, &r, off, len, true);
    for (uint64_t pos = 0; pos < len; pos += (uint64_t)done) {
        fiber_mutex_lock(&s->lock);
        done = s->corrupt ? -EIO : erase_slice(s, kind, off + pos, len - pos);
        fiber_mutex_unlock(&s->lock);
        if (done < 0) {
            break;
        }
    }
    qcow2_range_end(s, &r);
    return done < 0 ? (int)done : 0;
}

static int sync_if_crowded(Qcow2 *s)
{
    return qcow2_cache_crowded(s->l2_cache) || s->release->len > 4096 ? qcow2_sync(s) : 0;
}

/* [off, off + len) shrunk to whole clusters; the disk's end counts as a border. */
static bool whole_clusters(const Qcow2 *s, uint64_t off, uint64_t len, uint64_t *start,
                           uint64_t *end)
{
    *start = ALIGN_UP(off, s->cluster_size);
    *end = off + len == s->n->length ? off + len : qcow2_cluster_start(s, off + len);
    return *start < *end;
}

int qcow2_discard(BlockNode *n, uint64_t off, uint64_t len)
{
    Qcow2 *s = n->s;
    uint64_t start, end;
    if (!whole_clusters(s, off, len, &start, &end)) {
        return 0;
    }
    int ret = sync_if_crowded(s);
    return ret < 0 ? ret : erase_clusters(s, ERASE_DISCARD, start, end - start);
}

static int write_zeroes(BlockNode *n, uint64_t off, uint64_t len)
{
    if (!len) {
        return 0;
    }
    uint8_t *zeroes = g_malloc0(len); /* at most a cluster */
    struct iovec one = {zeroes, len};
    IoVec v = {.iov = &one, .n = 1, .size = len};
    int ret = qcow2_pwritev(n, off, &v, 0);
    g_free(zeroes);
    return ret;
}

int qcow2_zero(BlockNode *n, uint64_t off, uint64_t len, unsigned flags)
{
    Qcow2 *s = n->s;
    uint64_t start, end;
    if (!whole_clusters(s, off, len, &start, &end)) {
        return -ENOTSUP;
    }
    int ret = sync_if_crowded(s);
    if (ret == 0) {
        ret = erase_clusters(s, flags & BLK_MAY_UNMAP ? ERASE_ZERO_UNMAP : ERASE_ZERO, start,
                             end - start);
    }
    /* On -ENOTSUP the caller writes zeroes over all of it, which is right in any case. */
    ret = ret < 0 ? ret : write_zeroes(n, off, start - off);
    ret = ret < 0 ? ret : write_zeroes(n, end, off + len - end);
    if (ret == 0 && (flags & BLK_FUA)) {
        ret = qcow2_sync(s);
    }
    return ret;
}
