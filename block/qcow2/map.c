/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From guest offsets to the file: L1 and L2 tables. */
#include "block/qcow2/qcow2.h"

#include <errno.h>

bool qcow2_entry_has_host(const Qcow2 *s, uint64_t e)
{
    if (e & QCOW2_COMPRESSED) {
        return false;
    }
    /* In a file of its own, data may lie at offset 0. */
    return (e & QCOW2_L2_OFFSET_MASK) || (qcow2_has_data_file(s) && (e & QCOW2_COPIED));
}

Qcow2Kind qcow2_entry_kind(const Qcow2 *s, Qcow2Entry entry, unsigned sub)
{
    if (entry.e & QCOW2_COMPRESSED) {
        return QCOW2_PACKED;
    }
    bool has_host = qcow2_entry_has_host(s, entry.e);
    if (!qcow2_extended(s)) {
        if ((entry.e & QCOW2_ZERO) && s->version >= 3) {
            return has_host ? QCOW2_ZERO_ALLOC : QCOW2_ZERO_PLAIN;
        }
        return has_host ? QCOW2_NORMAL : QCOW2_UNALLOCATED;
    }
    if (entry.bitmap & BIT(32 + sub)) {
        return has_host ? QCOW2_ZERO_ALLOC : QCOW2_ZERO_PLAIN;
    }
    return has_host && (entry.bitmap & BIT(sub)) ? QCOW2_NORMAL : QCOW2_UNALLOCATED;
}

void qcow2_packed_extent(const Qcow2 *s, uint64_t entry, uint64_t *offset, uint64_t *len)
{
    unsigned x = 62 - (s->cluster_bits - 8);
    uint64_t sectors = bits_get(entry, x, 62 - x) + 1;
    *offset = bits_get(entry, 0, x);
    *len = sectors * 512 - (*offset & 511);
}

/* Offset of the L2 table that covers guest offset `off`; 0: none. */
static int l2_offset(Qcow2 *s, uint64_t off, uint64_t *table, bool *copied)
{
    uint64_t i = off >> s->cluster_bits;
    i /= s->l2_entries;
    if (i >= s->l1.n) {
        return -EIO;
    }
    *table = s->l1.entries[i] & QCOW2_L1_OFFSET_MASK;
    *copied = s->l1.entries[i] & QCOW2_COPIED;
    if (!IS_ALIGNED(*table, s->cluster_size)) {
        return qcow2_corrupt(s, "L2 table at odd offset %#" G_GINT64_MODIFIER "x", *table);
    }
    return 0;
}

static unsigned slice_entries(const Qcow2 *s)
{
    return (unsigned)(qcow2_cache_slice(s->l2_cache) / s->entry_size);
}

/* Where in its table's slices the entry of guest offset `off` lies. */
static void locate(const Qcow2 *s, uint64_t off, uint64_t table, uint64_t *where, unsigned *index)
{
    uint64_t i = (off >> s->cluster_bits) % s->l2_entries;
    *where = table + i / slice_entries(s) * qcow2_cache_slice(s->l2_cache);
    *index = (unsigned)(i % slice_entries(s));
}

/* Of entry `i` and subcluster `sub` in it, for what comes `n` subclusters after the first. */
static bool continues(const Qcow2 *s, const Qcow2Map *m, Qcow2Entry entry, unsigned sub,
                      uint64_t host)
{
    if (qcow2_entry_kind(s, entry, sub) != m->kind || m->kind == QCOW2_PACKED) {
        return false;
    }
    if (m->kind == QCOW2_UNALLOCATED || m->kind == QCOW2_ZERO_PLAIN) {
        return true;
    }
    return (entry.e & QCOW2_L2_OFFSET_MASK) + ((uint64_t)sub << s->subcluster_bits) == host &&
           !(entry.e & QCOW2_COPIED) == !m->copied;
}

/* How far from `in_cluster` of entry `index` on the mapping is of one piece. */
static uint64_t run_length(const Qcow2 *s, const uint64_t *slice, unsigned index,
                           uint64_t in_cluster, uint64_t len, const Qcow2Map *m)
{
    unsigned sub = (unsigned)(in_cluster >> s->subcluster_bits), n = slice_entries(s);
    uint64_t step = BIT(s->subcluster_bits), done = step - (in_cluster & (step - 1));
    uint64_t host = m->host + done;
    if (m->kind == QCOW2_PACKED) {
        return MIN(len, s->cluster_size - in_cluster);
    }
    while (done < len) {
        if (++sub == s->subclusters) {
            sub = 0;
            if (++index == n) {
                break;
            }
        }
        if (!continues(s, m, qcow2_l2_get(s, slice, index), sub, host)) {
            break;
        }
        done += step;
        host += step;
    }
    return MIN(len, done);
}

int qcow2_map(Qcow2 *s, uint64_t off, uint64_t len, Qcow2Map *m)
{
    uint64_t table, where, in_cluster = off & (s->cluster_size - 1);
    unsigned index;
    bool copied;
    int ret = l2_offset(s, off, &table, &copied);
    if (ret < 0) {
        return ret;
    }
    *m = (Qcow2Map){.kind = QCOW2_UNALLOCATED};
    if (!table) {
        uint64_t covers = s->l2_entries << s->cluster_bits;
        m->len = MIN(len, covers - off % covers);
        return 0;
    }
    locate(s, off, table, &where, &index);
    void *data;
    ret = qcow2_cache_get(s->l2_cache, where, &data);
    if (ret < 0) {
        return ret;
    }
    const uint64_t *slice = data;
    Qcow2Entry first = qcow2_l2_get(s, slice, index);
    m->entry = first.e;
    m->kind = qcow2_entry_kind(s, first, (unsigned)(in_cluster >> s->subcluster_bits));
    m->copied = first.e & QCOW2_COPIED;
    m->host = (first.e & QCOW2_L2_OFFSET_MASK) + in_cluster;
    if (qcow2_entry_has_host(s, first.e) &&
        !IS_ALIGNED(first.e & QCOW2_L2_OFFSET_MASK, s->cluster_size)) {
        return qcow2_corrupt(s, "data cluster at odd offset %#" G_GINT64_MODIFIER "x",
                             (uint64_t)(first.e & QCOW2_L2_OFFSET_MASK));
    }
    m->len = run_length(s, slice, index, in_cluster, len, m);
    return 0;
}

/* ---- for writing ---- */

/* Fills the new table at `fresh` with what `old` holds (0: nothing). */
static int fill_l2(Qcow2 *s, uint64_t fresh, uint64_t old)
{
    size_t slice = qcow2_cache_slice(s->l2_cache);
    g_autofree uint8_t *copy = g_try_malloc0(slice);
    for (uint64_t o = 0; o < s->cluster_size; o += slice) {
        if (!copy) {
            return -ENOMEM;
        }
        if (old) {
            void *data;
            node_event(s->n->file, BLKEV_L2_ALLOC_COW_READ);
            int ret = qcow2_cache_get(s->l2_cache, old + o, &data);
            if (ret < 0) {
                return ret;
            }
            memcpy(copy, data, slice);
        }
        void *to = qcow2_cache_new_slice(s->l2_cache, fresh + o);
        if (!to) {
            return -ENOMEM;
        }
        memcpy(to, copy, slice);
    }
    return 0;
}

/* A table of our own for L1 entry `i`, instead of `old` (0, or shared with a snapshot). */
static int own_l2(Qcow2 *s, uint64_t i, uint64_t old, uint64_t *table)
{
    uint64_t got;
    node_event(s->n->file, BLKEV_L2_ALLOC_WRITE);
    int64_t fresh = qcow2_alloc(s, 1, &got);
    if (fresh < 0) {
        return (int)fresh;
    }
    int ret = fill_l2(s, (uint64_t)fresh, old);
    if (ret < 0) {
        /* Slices of it may be on their way to the disk: not to be reused before a sync. */
        qcow2_cache_drop(s->l2_cache, (uint64_t)fresh, s->cluster_size);
        qcow2_release(s, (uint64_t)fresh, s->cluster_size, false);
        return ret;
    }
    qcow2_meta_add(s, (uint64_t)fresh, s->cluster_size, QCOW2_META_L2);
    qcow2_table_set(&s->l1, i, (uint64_t)fresh | QCOW2_COPIED);
    if (old) {
        qcow2_meta_del(s, old, s->cluster_size, QCOW2_META_L2);
        qcow2_release(s, old, s->cluster_size, s->pass_other);
    }
    *table = (uint64_t)fresh;
    return 0;
}

int qcow2_l2_for_write(Qcow2 *s, uint64_t off, uint64_t **slice, unsigned *index, unsigned *n,
                       uint64_t *where)
{
    uint64_t table;
    bool copied;
    int ret = l2_offset(s, off, &table, &copied);
    if (ret == 0 && (!table || !copied)) {
        ret = own_l2(s, (off >> s->cluster_bits) / s->l2_entries, table, &table);
    }
    if (ret < 0) {
        return ret;
    }
    locate(s, off, table, where, index);
    void *data;
    ret = qcow2_cache_get(s->l2_cache, *where, &data);
    *slice = data;
    *n = slice_entries(s) - *index;
    return ret;
}

void qcow2_release_entry(Qcow2 *s, uint64_t e, bool punch)
{
    uint64_t offset, len;
    if (qcow2_has_data_file(s)) {
        return; /* nothing there is counted */
    }
    if (qcow2_entry_has_host(s, e)) {
        qcow2_release(s, e & QCOW2_L2_OFFSET_MASK, s->cluster_size, punch);
    } else if (e & QCOW2_COMPRESSED) {
        qcow2_packed_extent(s, e, &offset, &len);
        qcow2_release(s, offset, len, punch);
    }
}
