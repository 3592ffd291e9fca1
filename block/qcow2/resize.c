/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The size of the disk, and clusters that are reserved before they are written. */
#include "block/qcow2/qcow2.h"

#include <errno.h>

/* ---- the L1 table ---- */

/*
 * A longer L1 table at `at`, which is owned already; the old one is released.
 * Nothing else is pending: the tables on disk are those in memory.  Under `lock`.
 */
static int move_l1(Qcow2 *s, uint64_t entries, uint64_t at)
{
    uint64_t clusters = qcow2_clusters(s, entries * 8), old_n = s->l1.n, old = s->l1.offset;
    g_autofree uint8_t *table = g_try_malloc0(clusters << s->cluster_bits);
    Qcow2Table fresh;
    int ret = qcow2_table_new(&fresh, entries, at) && table ? 0 : -ENOMEM;
    for (uint64_t i = 0; ret == 0 && i < s->l1.n; i++) {
        st_be64(table + i * 8, s->l1.entries[i]);
        fresh.entries[i] = s->l1.entries[i];
    }
    node_event(s->n->file, BLKEV_L1_GROW_WRITE_TABLE);
    ret = ret < 0 ? ret : node_pwrite(s->n->file, at, table, clusters << s->cluster_bits, 0);
    ret = ret < 0 ? ret : node_flush(s->n->file);
    if (ret < 0) {
        qcow2_table_free(&fresh);
        qcow2_free_unpublished(s, at, clusters);
        return ret;
    }
    uint8_t be[12];
    st_be32(be, (uint32_t)entries);
    st_be64(be + 4, at);
    node_event(s->n->file, BLKEV_L1_GROW_ACTIVATE_TABLE);
    ret = node_pwrite(s->n->file, QCOW2_HDR_L1, be, sizeof(be), 0);
    ret = ret < 0 ? ret : node_flush(s->n->file);
    if (ret < 0) {
        s->corrupt = true; /* which table is in use cannot be known: touch neither */
        qcow2_table_free(&fresh);
        return ret;
    }
    qcow2_table_replace(&s->l1, &fresh);
    if (old_n) {
        qcow2_meta_del(s, old, old_n * 8, QCOW2_META_L1);
        qcow2_release(s, old, old_n * 8, s->pass_other);
    }
    qcow2_meta_add(s, at, entries * 8, QCOW2_META_L1);
    return 0;
}

int qcow2_cover(Qcow2 *s, uint64_t end)
{
    uint64_t need = DIV_ROUND_UP(end, s->l2_entries << s->cluster_bits);
    if (need * 8 > QCOW2_MAX_L1_BYTES) {
        return -EFBIG;
    }
    if (need <= s->l1.n) {
        return 0;
    }
    fiber_mutex_lock(&s->lock);
    node_event(s->n->file, BLKEV_L1_GROW_ALLOC_TABLE);
    int64_t at = qcow2_alloc_exact(s, qcow2_clusters(s, need * 8));
    fiber_mutex_unlock(&s->lock);
    int ret = at < 0 ? (int)at : qcow2_sync(s);
    if (ret == 0) {
        fiber_mutex_lock(&s->lock);
        ret = move_l1(s, need, (uint64_t)at);
        fiber_mutex_unlock(&s->lock);
    }
    return ret;
}

static uint64_t l1_for(const Qcow2 *s, uint64_t size)
{
    return DIV_ROUND_UP(size, s->l2_entries << s->cluster_bits);
}

/* ---- reserving ---- */

typedef struct Reserved {
    uint64_t guest, host, n; /* clusters in a row */
    bool fresh;
} Reserved;

/* Own: clusters for entries at `off` that have none; n 0: *skip bytes have some. Under `lock`. */
static int own_reserved(Qcow2 *s, uint64_t off, uint64_t end, Reserved *r, uint64_t *skip)
{
    uint64_t *slice, where;
    unsigned index, room;
    int ret = qcow2_l2_for_write(s, off, &slice, &index, &room, &where);
    if (ret < 0) {
        return ret;
    }
    uint64_t max = MIN((uint64_t)room, qcow2_clusters(s, end - off)), n = 0;
    while (n < max && !qcow2_l2_get(s, slice, index + (unsigned)n).e) {
        n++;
    }
    *r = (Reserved){.guest = off};
    if (n == 0) {
        *skip = s->cluster_size;
        return 0;
    }
    if (qcow2_has_data_file(s)) {
        r->host = off;
        r->n = n;
        r->fresh = true;
        return 0;
    }
    uint64_t unused_from = s->high_water, got;
    int64_t host = qcow2_alloc(s, n, &got);
    if (host < 0) {
        return (int)host;
    }
    r->host = (uint64_t)host;
    r->n = got;
    r->fresh = r->host >> s->cluster_bits >= unused_from;
    return 0;
}

/* Fill: the clusters read as zeroes, and are in the file. */
static int fill_reserved(Qcow2 *s, const Reserved *r, BlockPrealloc mode)
{
    uint64_t len = r->n << s->cluster_bits, end = r->host + len;
    BlockNode *file = qcow2_data(s);
    if (qcow2_has_data_file(s)) {
        return 0; /* it has its length already */
    }
    if (!r->fresh) {
        return node_zero(file, r->host, len, 0);
    }
    if (end <= file->length) {
        return mode == PREALLOC_METADATA ? 0 : node_zero(file, r->host, len, 0);
    }
    if (!file->drv->truncate) {
        return node_zero(file, r->host, len, 0);
    }
    return node_resize(file, end, mode == PREALLOC_METADATA ? PREALLOC_OFF : mode, NULL);
}

static Qcow2Entry reserved_entry(const Qcow2 *s, uint64_t host)
{
    Qcow2Entry e = {host | QCOW2_COPIED, 0};
    if (qcow2_extended(s)) {
        e.bitmap = s->luks ? (uint64_t)UINT32_MAX << 32 : s->n->backing ? 0 : UINT32_MAX;
    } else if (s->luks) {
        e.e |= QCOW2_ZERO; /* zeroes on disk would be something else to the guest */
    }
    return e;
}

static int publish_reserved(Qcow2 *s, const Reserved *r)
{
    uint64_t *slice, where;
    unsigned index, room;
    int ret = qcow2_l2_for_write(s, r->guest, &slice, &index, &room, &where);
    for (uint64_t i = 0; ret == 0 && i < r->n; i++) {
        Qcow2Entry e = reserved_entry(s, r->host + (i << s->cluster_bits));
        qcow2_l2_put(s, slice, index + (unsigned)i, e);
    }
    if (ret == 0) {
        qcow2_cache_dirty(s->l2_cache, where);
    }
    return ret;
}

static int64_t reserve_piece(Qcow2 *s, uint64_t off, uint64_t end, BlockPrealloc mode)
{
    Reserved r;
    uint64_t skip = 0;
    fiber_mutex_lock(&s->lock);
    int ret = own_reserved(s, off, end, &r, &skip);
    fiber_mutex_unlock(&s->lock);
    if (ret < 0 || !r.n) {
        return ret < 0 ? ret : (int64_t)skip;
    }
    ret = fill_reserved(s, &r, mode);
    fiber_mutex_lock(&s->lock);
    ret = ret < 0 ? ret : publish_reserved(s, &r);
    if (ret < 0 && !qcow2_has_data_file(s)) {
        qcow2_free_unpublished(s, r.host, r.n);
    }
    fiber_mutex_unlock(&s->lock);
    return ret < 0 ? ret : (int64_t)(r.n << s->cluster_bits);
}

int qcow2_preallocate(Qcow2 *s, uint64_t from, uint64_t to, BlockPrealloc mode)
{
    Qcow2Range r;
    int ret = 0;
    if (s->luks && s->version < 3) {
        return -ENOTSUP;
    }
    if (qcow2_has_data_file(s) && qcow2_data(s)->length < to) {
        ret = node_resize(qcow2_data(s), to, mode == PREALLOC_METADATA ? PREALLOC_OFF : mode, NULL);
    } else if (qcow2_has_data_file(s) && mode > PREALLOC_METADATA) {
        ret = node_zero(qcow2_data(s), from, to - from, 0);
    }
    from = qcow2_cluster_start(s, from);
    qcow2_range_begin(s, &r, from, to - from, true);
    for (uint64_t off = from; ret == 0 && off < to;) {
        int64_t done = s->corrupt ? -EIO : reserve_piece(s, off, to, mode);
        ret = done < 0 ? (int)done : 0;
        off += done > 0 ? (uint64_t)done : 0;
        if (ret == 0 && (qcow2_cache_crowded(s->l2_cache) || qcow2_cache_crowded(s->rb_cache))) {
            ret = qcow2_sync(s);
        }
    }
    qcow2_range_end(s, &r);
    return ret;
}

/* ---- growing ---- */

static int write_size(Qcow2 *s, uint64_t size)
{
    uint8_t be[8];
    st_be64(be, size);
    int ret = node_pwrite(s->n->file, QCOW2_HDR_SIZE, be, sizeof(be), 0);
    ret = ret < 0 ? ret : node_flush(s->n->file);
    if (ret == 0) {
        s->n->length = size;
    }
    return ret;
}

/* What a longer disk would bring to light must read as zeroes: old bytes, and what lies below. */
static int zero_new_end(Qcow2 *s, uint64_t old, uint64_t size)
{
    uint64_t end = MIN(size, ALIGN_UP(old, s->cluster_size));
    if (s->n->backing && s->n->backing->length > old) {
        end = MAX(end, MIN(size, s->n->backing->length));
    }
    if (end == old) {
        return 0;
    }
    s->n->length = end;
    int ret = node_zero(s->n, old, end - old, BLK_MAY_UNMAP);
    s->n->length = old;
    return ret < 0 ? ret : qcow2_sync(s);
}

static int grow(Qcow2 *s, uint64_t size, BlockPrealloc prealloc)
{
    uint64_t old = s->n->length;
    int ret = qcow2_bitmaps_before_growing(s, size);
    /* A machine's state may be there. */
    ret = ret < 0 ? ret : qcow2_drop_l1_from(s, l1_for(s, old));
    ret = ret < 0 ? ret : qcow2_cover(s, size);
    ret = ret < 0 ? ret : zero_new_end(s, old, size);
    if (ret == 0 && qcow2_has_data_file(s) && qcow2_data(s)->length < size) {
        ret = node_resize(qcow2_data(s), size, PREALLOC_OFF, NULL);
    }
    if (ret == 0 && (s->autoclear & QCOW2_AUTOCLEAR_DATA_RAW) && prealloc == PREALLOC_OFF) {
        prealloc = PREALLOC_METADATA;
    }
    if (ret == 0 && prealloc != PREALLOC_OFF) {
        s->n->length = size;
        ret = qcow2_preallocate(s, old, size, prealloc);
        ret = ret < 0 ? ret : qcow2_sync(s);
        s->n->length = old;
    }
    return ret < 0 ? ret : write_size(s, size);
}

/* ---- shrinking ---- */

/* The file ends after its last cluster that is counted. */
static int cut_file(Qcow2 *s)
{
    uint64_t last = qcow2_clusters(s, s->n->file->length), value = 0;
    int ret = 0;
    fiber_mutex_lock(&s->lock);
    while (last > 1) {
        ret = qcow2_refcount_get(s, last - 1, &value);
        if (ret < 0 || value) {
            break;
        }
        last--;
    }
    fiber_mutex_unlock(&s->lock);
    if (ret == 0 && last << s->cluster_bits < s->n->file->length) {
        ret = node_truncate(s->n->file, last << s->cluster_bits, NULL);
        s->high_water = MIN(s->high_water, last);
    }
    return ret == -ENOTSUP ? 0 : ret;
}

static int shrink(Qcow2 *s, uint64_t size)
{
    uint64_t old = s->n->length, from = MIN(old, ALIGN_UP(size, s->cluster_size));
    uint64_t piece = MAX(s->cluster_size << 14, 1ull << 30);
    int ret = 0;
    for (uint64_t pos = from; ret == 0 && pos < old; pos += piece) {
        ret = qcow2_discard(s->n, pos, MIN(piece, old - pos));
        ret = ret < 0 ? ret : qcow2_sync(s);
    }
    ret = ret < 0 ? ret : qcow2_drop_l1_from(s, l1_for(s, size));
    ret = ret < 0 ? ret : qcow2_sync(s);
    ret = ret < 0 ? ret : write_size(s, size);
    ret = ret < 0 ? ret : qcow2_sync(s);
    ret = ret < 0 ? ret : qcow2_bitmaps_after_shrinking(s);
    ret = ret < 0 ? ret : qcow2_sync(s);
    ret = ret < 0 ? ret : cut_file(s);
    if (ret == 0 && (s->autoclear & QCOW2_AUTOCLEAR_DATA_RAW)) {
        ret = node_truncate(qcow2_data(s), size, NULL);
    }
    return ret;
}

int qcow2_truncate(BlockNode *n, uint64_t size, BlockPrealloc prealloc, Error **errp)
{
    Qcow2 *s = n->s;
    if (size % BLOCK_SECTOR) {
        error_set(errp, "cannot resize '%s': the size must be a multiple of 512", node_filename(n));
        return -EINVAL;
    }
    if (size != n->length && s->n_snapshots && size < n->length) {
        error_set(errp, "cannot resize '%s': an image with snapshots cannot be made smaller",
                  node_filename(n));
        error_hint(errp, "'rhea-img snapshot -d' deletes them");
        return -ENOTSUP;
    }
    if (size != n->length && s->n_snapshots && s->version < 3) {
        error_set(errp, "cannot resize '%s': version 2 cannot tell snapshots of other sizes",
                  node_filename(n));
        error_hint(errp, "'rhea-img amend -o compat=1.1' makes it version 3");
        return -ENOTSUP;
    }
    if (prealloc != PREALLOC_OFF && n->backing && !qcow2_extended(s)) {
        error_set(errp, "cannot resize '%s': space cannot be reserved over a backing file",
                  node_filename(n));
        return -ENOTSUP;
    }
    int ret = 0;
    if (size != n->length) {
        ret = size > n->length ? grow(s, size, prealloc) : shrink(s, size);
    }
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot resize '%s'", node_filename(n));
    }
    return ret;
}
