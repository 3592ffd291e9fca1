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

#define ALL_ZERO ((uint64_t)UINT32_MAX << 32)

/* An entry that reads as zeroes and has nothing. */
static Qcow2Entry zero_entry(const Qcow2 *s)
{
    return qcow2_extended(s) ? (Qcow2Entry){0, ALL_ZERO} : (Qcow2Entry){QCOW2_ZERO, 0};
}

static bool is_empty(const Qcow2 *s, Qcow2Entry e)
{
    return !e.e && !e.bitmap;
}

/* What entry `old` at guest offset `off` becomes; *release: its cluster goes. */
static Qcow2Entry erased_entry(const Qcow2 *s, EraseKind kind, Qcow2Entry old, uint64_t off,
                               bool *release)
{
    bool hole = hole_is_zero(s, off), has_host = qcow2_entry_has_host(s, old.e);
    bool stored = has_host || (old.e & QCOW2_COMPRESSED);
    *release = false;
    if (!stored && hole) {
        return old; /* nothing here but zeroes, in one way or another */
    }
    if (!stored) {
        /* A discard may leave what is below visible; zeroes must hide it. */
        return kind == ERASE_DISCARD && is_empty(s, old) ? old : zero_entry(s);
    }
    if (has_host && qcow2_has_data_file(s)) {
        if (kind != ERASE_DISCARD || (s->autoclear & QCOW2_AUTOCLEAR_DATA_RAW)) {
            /* The file itself has been zeroed. */
            Qcow2Entry now = {(old.e & ~(uint64_t)QCOW2_ZERO) | QCOW2_COPIED, 0};
            now.bitmap = qcow2_extended(s) ? UINT32_MAX : 0;
            return now;
        }
        return hole ? (Qcow2Entry){0, 0} : zero_entry(s);
    }
    if (kind == ERASE_ZERO && s->version >= 3 && has_host) {
        /* It keeps its cluster. */
        return qcow2_extended(s) ? (Qcow2Entry){old.e, ALL_ZERO}
                                 : (Qcow2Entry){old.e | QCOW2_ZERO, 0};
    }
    *release = true;
    return hole ? (Qcow2Entry){0, 0} : zero_entry(s);
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
    if (m.kind == QCOW2_UNALLOCATED && !m.entry &&
        (kind == ERASE_DISCARD || hole_is_zero(s, off)) &&
        (m.len >= s->cluster_size || m.len == len)) {
        /* Without making a table for it. */
        return (int64_t)(m.len == len ? len : ALIGN_DOWN(m.len, s->cluster_size));
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
        Qcow2Entry old = qcow2_l2_get(s, slice, index + (unsigned)i);
        Qcow2Entry now = erased_entry(s, kind, old, off + (i << s->cluster_bits), &release);
        if (now.e == old.e && now.bitmap == old.bitmap) {
            continue;
        }
        qcow2_l2_put(s, slice, index + (unsigned)i, now);
        changed = true;
        if (release) {
            qcow2_release_entry(s, old.e, s->pass_request);
        }
    }
    if (changed) {
        qcow2_cache_dirty(s->l2_cache, where);
    }
    return (int64_t)MIN(len, n << s->cluster_bits);
}

/* Data in a file of their own: what is going to read as zeroes is zeroed there first. */
static int erase_data_file(Qcow2 *s, EraseKind kind, uint64_t off, uint64_t len)
{
    bool raw = s->autoclear & QCOW2_AUTOCLEAR_DATA_RAW;
    if (kind == ERASE_DISCARD && !raw) {
        return node_discard(qcow2_data(s), off, len);
    }
    return node_zero(qcow2_data(s), off, len, kind == ERASE_ZERO ? 0 : BLK_MAY_UNMAP);
}

static int erase_clusters(Qcow2 *s, EraseKind kind, uint64_t off, uint64_t len)
{
    Qcow2Range r;
    int64_t done = 0;
    qcow2_range_begin(s, &r, off, len, true);
    if (qcow2_has_data_file(s)) {
        done = s->corrupt ? -EIO : erase_data_file(s, kind, off, len);
    }
    for (uint64_t pos = 0; done >= 0 && pos < len; pos += (uint64_t)done) {
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
    if (s->shown_length) {
        return -EPERM;
    }
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
    uint8_t *zeroes = g_try_malloc0(len); /* at most a cluster */
    if (!zeroes) {
        return -ENOMEM;
    }
    struct iovec one = {zeroes, len};
    IoVec v = {.iov = &one, .n = 1, .size = len};
    int ret = qcow2_pwritev(n, off, &v, 0);
    g_free(zeroes);
    return ret;
}

/* The zero bits of subclusters of one cluster. -EAGAIN: it must be written. */
static int zero_subclusters_locked(Qcow2 *s, uint64_t off, uint64_t len)
{
    uint64_t *slice, where;
    unsigned index, room;
    int ret = qcow2_l2_for_write(s, off, &slice, &index, &room, &where);
    if (ret < 0) {
        return ret;
    }
    Qcow2Entry e = qcow2_l2_get(s, slice, index);
    if (e.e & QCOW2_COMPRESSED) {
        return -EAGAIN;
    }
    unsigned first = (unsigned)((off & (s->cluster_size - 1)) >> s->subcluster_bits);
    uint64_t mask = ((BIT(DIV_ROUND_UP(len, BIT(s->subcluster_bits))) - 1)) << first;
    e.bitmap = (e.bitmap & ~mask) | mask << 32;
    qcow2_l2_put(s, slice, index, e);
    qcow2_cache_dirty(s->l2_cache, where);
    return 0;
}

/* A part of one cluster: whole subclusters by their bits, the rest by writing. */
static int zero_part(BlockNode *n, uint64_t off, uint64_t len)
{
    Qcow2 *s = n->s;
    uint64_t step = BIT(s->subcluster_bits), start = ALIGN_UP(off, step);
    uint64_t end = off + len == n->length ? off + len : ALIGN_DOWN(off + len, step);
    if (!qcow2_extended(s) || start >= end || qcow2_has_data_file(s)) {
        return write_zeroes(n, off, len);
    }
    Qcow2Range r;
    qcow2_range_begin(s, &r, start, end - start, true);
    fiber_mutex_lock(&s->lock);
    int ret = s->corrupt ? -EIO : zero_subclusters_locked(s, start, end - start);
    fiber_mutex_unlock(&s->lock);
    qcow2_range_end(s, &r);
    if (ret == -EAGAIN) {
        return write_zeroes(n, off, len);
    }
    ret = ret < 0 ? ret : write_zeroes(n, off, start - off);
    return ret < 0 ? ret : write_zeroes(n, end, off + len - end);
}

int qcow2_zero(BlockNode *n, uint64_t off, uint64_t len, unsigned flags)
{
    Qcow2 *s = n->s;
    uint64_t start, end;
    if (!whole_clusters(s, off, len, &start, &end)) {
        bool one = (off >> s->cluster_bits) == (off + len - 1) >> s->cluster_bits;
        return qcow2_extended(s) && one ? zero_part(n, off, len) : -ENOTSUP;
    }
    int ret = sync_if_crowded(s);
    if (ret == 0) {
        ret = erase_clusters(s, flags & BLK_MAY_UNMAP ? ERASE_ZERO_UNMAP : ERASE_ZERO, start,
                             end - start);
    }
    /* On -ENOTSUP the caller writes zeroes over all of it, which is right in any case. */
    ret = ret < 0 ? ret : zero_part(n, off, start - off);
    ret = ret < 0 ? ret : zero_part(n, end, off + len - end);
    if (ret == 0 && (flags & BLK_FUA)) {
        ret = qcow2_sync(s);
    }
    return ret;
}

/* Every entry of the slice at `off` becomes unallocated: what lies below is seen again. */
static int64_t empty_slice(Qcow2 *s, uint64_t off, uint64_t len)
{
    Qcow2Map m;
    int ret = qcow2_map(s, off, len, &m);
    if (ret < 0) {
        return ret;
    }
    if (m.kind == QCOW2_UNALLOCATED && !m.entry && (m.len >= s->cluster_size || m.len == len)) {
        return (int64_t)(m.len == len ? len : ALIGN_DOWN(m.len, s->cluster_size));
    }
    uint64_t *slice, where;
    unsigned index, room;
    ret = qcow2_l2_for_write(s, off, &slice, &index, &room, &where);
    if (ret < 0) {
        return ret;
    }
    uint64_t n = MIN(qcow2_clusters(s, len), (uint64_t)room);
    for (uint64_t i = 0; i < n; i++) {
        qcow2_release_entry(s, qcow2_l2_get(s, slice, index + (unsigned)i).e, true);
        qcow2_l2_put(s, slice, index + (unsigned)i, (Qcow2Entry){0, 0});
    }
    qcow2_cache_dirty(s->l2_cache, where);
    return (int64_t)MIN(len, n << s->cluster_bits);
}

static int empty_range(Qcow2 *s, uint64_t off, uint64_t len)
{
    Qcow2Range r;
    int ret = 0;
    qcow2_range_begin(s, &r, off, len, true);
    for (uint64_t p = off; ret == 0 && p < off + len;) {
        fiber_mutex_lock(&s->lock);
        int64_t done = s->corrupt ? -EIO : empty_slice(s, p, off + len - p);
        fiber_mutex_unlock(&s->lock);
        p += done > 0 ? (uint64_t)done : 0;
        ret = done < 0 ? (int)done : 0;
    }
    qcow2_range_end(s, &r);
    return ret < 0 ? ret : sync_if_crowded(s);
}

int qcow2_make_hole(Qcow2 *s, uint64_t off, uint64_t len)
{
    return empty_range(s, off, len);
}

int qcow2_make_empty(BlockNode *n, Error **errp)
{
    Qcow2 *s = n->s;
    /* In pieces: what is released is remembered until the next sync. */
    uint64_t piece = MAX(s->cluster_size << 14, 1ull << 30);
    int ret = 0;
    node_event(n->file, BLKEV_EMPTY_IMAGE_PREPARE);
    for (uint64_t pos = 0; ret == 0 && pos < n->length; pos += piece) {
        uint64_t len = MIN(piece, n->length - pos);
        ret = empty_range(s, pos, len);
    }
    ret = ret < 0 ? ret : qcow2_sync(s);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot empty '%s'", node_filename(n));
    }
    return ret;
}
