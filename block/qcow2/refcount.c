/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reference counts: reading, changing, allocating, and growing of their tables. */
#include "block/qcow2/qcow2.h"

#include <errno.h>

/* Entries of L2 tables have room for offsets below this. */
#define MAX_OFFSET BIT(56)

static uint64_t entry_get(const Qcow2 *s, const uint8_t *data, uint64_t i)
{
    switch (s->refcount_order) {
    case 3:
        return data[i];
    case 4:
        return ld_be16(data + i * 2);
    case 5:
        return ld_be32(data + i * 4);
    case 6:
        return ld_be64(data + i * 8);
    default: { /* 1, 2, 4 bits: the lowest of a byte come first */
        unsigned bits = 1u << s->refcount_order, per = 8 / bits;
        return (data[i / per] >> (i % per * bits)) & ((1u << bits) - 1);
    }
    }
}

static void entry_set(const Qcow2 *s, uint8_t *data, uint64_t i, uint64_t v)
{
    switch (s->refcount_order) {
    case 3:
        data[i] = (uint8_t)v;
        break;
    case 4:
        st_be16(data + i * 2, (uint16_t)v);
        break;
    case 5:
        st_be32(data + i * 4, (uint32_t)v);
        break;
    case 6:
        st_be64(data + i * 8, v);
        break;
    default: {
        unsigned bits = 1u << s->refcount_order, per = 8 / bits;
        unsigned shift = (unsigned)(i % per) * bits, mask = ((1u << bits) - 1) << shift;
        data[i / per] = (uint8_t)((data[i / per] & ~mask) | ((v << shift) & mask));
    }
    }
}

/* Refcounts in one slice. */
static uint64_t slice_entries(const Qcow2 *s)
{
    return qcow2_cache_slice(s->rb_cache) * 8 >> s->refcount_order;
}

/* Offset of the block that counts `cluster`; 0: there is none. */
static int block_of(Qcow2 *s, uint64_t cluster, uint64_t *offset)
{
    uint64_t idx = cluster / s->rb_entries;
    *offset = idx < s->rt.n ? s->rt.entries[idx] & ~511ull : 0;
    if (!IS_ALIGNED(*offset, s->cluster_size)) {
        return qcow2_corrupt(s, "refcount block at odd offset %#" G_GINT64_MODIFIER "x", *offset);
    }
    return 0;
}

/* The slice for a cluster, the index in it, and where it lies. The block exists. */
static int slice_of(Qcow2 *s, uint64_t block, uint64_t cluster, uint8_t **data, uint64_t *index,
                    uint64_t *where)
{
    uint64_t in_block = cluster % s->rb_entries;
    *where = block + in_block / slice_entries(s) * qcow2_cache_slice(s->rb_cache);
    *index = in_block % slice_entries(s);
    void *p;
    int ret = qcow2_cache_get(s->rb_cache, *where, &p);
    *data = p;
    return ret;
}

int qcow2_refcount_get(Qcow2 *s, uint64_t cluster, uint64_t *value)
{
    uint64_t block, index, where;
    uint8_t *data;
    *value = 0;
    int ret = block_of(s, cluster, &block);
    if (ret < 0 || !block) {
        return ret;
    }
    ret = slice_of(s, block, cluster, &data, &index, &where);
    if (ret == 0) {
        *value = entry_get(s, data, index);
    }
    return ret;
}

/* ---- more room for counts ---- */

/*
 * A block for the clusters around `cluster`, which is free as nothing counts it:
 * it becomes the block itself, whose first entry is its own.
 */
static int make_block(Qcow2 *s, uint64_t cluster)
{
    uint64_t offset = cluster << s->cluster_bits, idx = cluster / s->rb_entries;
    node_event(s->n->file, BLKEV_REFBLOCK_ALLOC);
    int ret = qcow2_check_overlap(s, offset, s->cluster_size, 0, "a refcount block");
    if (ret < 0) {
        return ret;
    }
    size_t slice = qcow2_cache_slice(s->rb_cache);
    uint64_t in_block = cluster % s->rb_entries;
    for (uint64_t o = 0; o < s->cluster_size; o += slice) {
        uint8_t *data = qcow2_cache_new_slice(s->rb_cache, offset + o);
        if (!data) {
            qcow2_cache_drop(s->rb_cache, offset, s->cluster_size);
            return -ENOMEM;
        }
        if (in_block / slice_entries(s) == o / slice) {
            entry_set(s, data, in_block % slice_entries(s), 1);
        }
    }
    qcow2_meta_add(s, offset, s->cluster_size, QCOW2_META_REFBLOCK);
    node_event(s->n->file, BLKEV_REFBLOCK_ALLOC_HOOKUP);
    qcow2_table_set(&s->rt, idx, offset);
    s->high_water = MAX(s->high_water, cluster + 1);
    return 0;
}

/* The size of a table that covers itself and its new blocks, with half as much to spare. */
static bool plan_table(const Qcow2 *s, uint64_t start, uint64_t *table, uint64_t *blocks)
{
    uint64_t per_cluster = s->cluster_size / 8;
    *blocks = 1;
    *table = 1;
    for (;;) {
        uint64_t b = DIV_ROUND_UP(*table + *blocks, s->rb_entries);
        uint64_t entries = start / s->rb_entries + b;
        uint64_t t = DIV_ROUND_UP(entries + entries / 2 + 1, per_cluster);
        if (b <= *blocks && t <= *table) {
            return *table << s->cluster_bits <= QCOW2_MAX_REFTABLE_BYTES;
        }
        *blocks = MAX(b, *blocks);
        *table = MAX(t, *table);
    }
}

/* Writes new blocks and the new table at cluster `start`; nothing points to them yet. */
static int fill_new_table(Qcow2 *s, uint64_t start, uint64_t table, uint64_t blocks)
{
    uint64_t total = table + blocks;
    g_autofree uint8_t *buf = g_try_malloc0(total << s->cluster_bits);
    if (!buf) {
        return -ENOMEM;
    }
    for (uint64_t c = 0; c < total; c++) { /* the blocks come first and lie in a row */
        uint8_t *block = buf + (c / s->rb_entries << s->cluster_bits);
        entry_set(s, block, c % s->rb_entries, 1);
    }
    uint8_t *t = buf + (blocks << s->cluster_bits);
    for (uint64_t i = 0; i < s->rt.n; i++) {
        st_be64(t + i * 8, s->rt.entries[i]);
    }
    for (uint64_t b = 0; b < blocks; b++) {
        st_be64(t + (start / s->rb_entries + b) * 8, (start + b) << s->cluster_bits);
    }
    uint64_t at = start << s->cluster_bits;
    int ret = qcow2_check_overlap(s, at, total << s->cluster_bits, 0, "the refcount table");
    /* Blocks that the new table points to must not be younger on disk than it is. */
    node_event(s->n->file, BLKEV_REFBLOCK_ALLOC_WRITE_BLOCKS);
    ret = ret < 0 ? ret : qcow2_cache_write_dirty(s->rb_cache);
    node_event(s->n->file, BLKEV_REFBLOCK_ALLOC_WRITE_TABLE);
    ret = ret < 0 ? ret : node_pwrite(s->n->file, at, buf, total << s->cluster_bits, 0);
    return ret < 0 ? ret : node_flush(s->n->file);
}

static int grow_table(Qcow2 *s)
{
    /* All clusters beyond what the table covers are free. */
    uint64_t start = s->rt.n * s->rb_entries, table, blocks;
    uint64_t old_offset = s->rt.offset, old_clusters = s->rt_clusters;
    if (!plan_table(s, start, &table, &blocks) || start > MAX_OFFSET >> s->cluster_bits) {
        return -EFBIG;
    }
    uint64_t offset = (start + blocks) << s->cluster_bits;
    Qcow2Table fresh;
    node_event(s->n->file, BLKEV_REFTABLE_GROW);
    int ret = qcow2_table_new(&fresh, table * (s->cluster_size / 8), offset) ? 0 : -ENOMEM;
    ret = ret < 0 ? ret : fill_new_table(s, start, table, blocks);
    if (ret < 0) {
        qcow2_table_free(&fresh);
        return ret;
    }
    uint8_t be[12];
    st_be64(be, offset);
    st_be32(be + 8, (uint32_t)table);
    node_event(s->n->file, BLKEV_REFBLOCK_ALLOC_SWITCH_TABLE);
    ret = node_pwrite(s->n->file, QCOW2_HDR_REFTABLE, be, sizeof(be), 0);
    ret = ret < 0 ? ret : node_flush(s->n->file);
    if (ret < 0) {
        /* Whichever table the header on disk names is right as it stands: add nothing. */
        s->stuck = true;
        qcow2_table_free(&fresh);
        return ret;
    }
    qcow2_meta_del(s, old_offset, old_clusters << s->cluster_bits, QCOW2_META_REFTABLE);
    memcpy(fresh.entries, s->rt.entries, s->rt.n * 8); /* all of it has just been written */
    qcow2_table_replace(&s->rt, &fresh);
    s->rt_clusters = (uint32_t)table;
    for (uint64_t b = 0; b < blocks; b++) {
        s->rt.entries[start / s->rb_entries + b] = (start + b) << s->cluster_bits;
    }
    qcow2_meta_add(s, start << s->cluster_bits, blocks << s->cluster_bits, QCOW2_META_REFBLOCK);
    qcow2_meta_add(s, offset, table << s->cluster_bits, QCOW2_META_REFTABLE);
    s->high_water = MAX(s->high_water, start + table + blocks);
    qcow2_release(s, old_offset, old_clusters << s->cluster_bits, s->pass_other);
    return 0;
}

int qcow2_refcount_set(Qcow2 *s, uint64_t cluster, uint64_t value)
{
    uint64_t block, index, where;
    uint8_t *data;
    int ret = block_of(s, cluster, &block);
    if (ret == 0 && !block) {
        ret = -EINVAL; /* allocation and repair make the block first */
    }
    if (ret == 0) {
        ret = slice_of(s, block, cluster, &data, &index, &where);
    }
    if (ret == 0) {
        entry_set(s, data, index, value);
        qcow2_cache_dirty(s->rb_cache, where);
    }
    return ret;
}

/* ---- allocation ---- */

/* Makes sure that `cluster` is counted somewhere; *used: it was taken for that. */
static int ensure_counted(Qcow2 *s, uint64_t cluster, bool *used)
{
    *used = false;
    while (cluster / s->rb_entries >= s->rt.n) {
        int ret = grow_table(s);
        if (ret < 0) {
            return ret;
        }
    }
    uint64_t block;
    int ret = block_of(s, cluster, &block);
    if (ret == 0 && !block) {
        *used = true;
        ret = make_block(s, cluster);
    }
    return ret;
}

/* The first free cluster from `from` on, within its slice; else the slice's end. */
static int scan_slice(Qcow2 *s, uint64_t from, uint64_t *found, bool *hit)
{
    uint64_t block, index, where;
    uint8_t *data;
    int ret = block_of(s, from, &block);
    if (ret == 0) {
        ret = slice_of(s, block, from, &data, &index, &where);
    }
    *hit = false;
    for (*found = from; ret == 0 && index < slice_entries(s); index++, ++*found) {
        if (entry_get(s, data, index) == 0) {
            *hit = true;
            break;
        }
    }
    return ret;
}

static int find_free(Qcow2 *s, uint64_t from, uint64_t *cluster)
{
    for (;;) {
        bool used, hit;
        int ret = ensure_counted(s, from, &used);
        if (ret < 0) {
            return ret;
        }
        if (used) {
            from++;
            continue;
        }
        ret = scan_slice(s, from, cluster, &hit);
        if (ret < 0 || hit) {
            return ret;
        }
        from = *cluster;
        if (from >= MAX_OFFSET >> s->cluster_bits) {
            return -EFBIG;
        }
    }
}

/* How many clusters from `first` (free) on are free and counted, at most `max`. */
static uint64_t free_run(Qcow2 *s, uint64_t first, uint64_t max)
{
    uint64_t n = 1, block, value;
    while (n < max) {
        uint64_t c = first + n;
        if (c / s->rb_entries >= s->rt.n || block_of(s, c, &block) < 0 || !block ||
            qcow2_refcount_get(s, c, &value) < 0 || value) {
            break;
        }
        n++;
    }
    return n;
}

static int64_t claim(Qcow2 *s, uint64_t first, uint64_t n)
{
    int ret = qcow2_check_overlap(s, first << s->cluster_bits, n << s->cluster_bits, 0, "new data");
    for (uint64_t i = 0; ret == 0 && i < n; i++) {
        ret = qcow2_refcount_set(s, first + i, 1);
        if (ret < 0) {
            while (i-- > 0) {
                qcow2_refcount_set(s, first + i, 0);
            }
        }
    }
    if (ret < 0) {
        return ret;
    }
    s->high_water = MAX(s->high_water, first + n);
    return (int64_t)(first << s->cluster_bits);
}

static int may_allocate(const Qcow2 *s)
{
    return s->corrupt || s->stuck ? -EIO : 0;
}

int64_t qcow2_alloc(Qcow2 *s, uint64_t max, uint64_t *got)
{
    uint64_t first;
    node_event(s->n->file, BLKEV_CLUSTER_ALLOC);
    int ret = may_allocate(s);
    ret = ret < 0 ? ret : find_free(s, s->free_hint, &first);
    if (ret < 0) {
        return ret;
    }
    *got = free_run(s, first, max);
    int64_t offset = claim(s, first, *got);
    if (offset >= 0) {
        s->free_hint = first + *got;
    }
    return offset;
}

int64_t qcow2_alloc_exact(Qcow2 *s, uint64_t n)
{
    uint64_t from = s->free_hint, first;
    int ret = may_allocate(s);
    if (ret < 0) {
        return ret;
    }
    for (;;) {
        ret = find_free(s, from, &first);
        if (ret < 0) {
            return ret;
        }
        /* Blocks that are missing within the run are made before it is measured. */
        bool used = false;
        uint64_t last = first + n - 1;
        for (uint64_t c = first; c <= last && !used; c += s->rb_entries) {
            ret = ensure_counted(s, c, &used);
            if (ret < 0) {
                return ret;
            }
        }
        if (!used) {
            ret = ensure_counted(s, last, &used);
            if (ret < 0) {
                return ret;
            }
        }
        uint64_t run = used ? 0 : free_run(s, first, n);
        if (run == n) {
            return claim(s, first, n);
        }
        from = first + MAX(run, 1);
    }
}

void qcow2_free_unpublished(Qcow2 *s, uint64_t offset, uint64_t clusters)
{
    uint64_t first = offset >> s->cluster_bits;
    for (uint64_t i = 0; i < clusters; i++) {
        qcow2_refcount_set(s, first + i, 0); /* on failure it leaks, no more */
    }
    /* What was written there no longer reads as zeroes; high_water stays. */
    s->free_hint = MIN(s->free_hint, first);
}

/* ---- release ---- */

void qcow2_release(Qcow2 *s, uint64_t offset, uint64_t len, bool punch)
{
    if (s->release->len) {
        Qcow2Release *last = &g_array_index(s->release, Qcow2Release, s->release->len - 1);
        if (last->offset + last->len == offset && last->punch == punch &&
            IS_ALIGNED(offset, s->cluster_size) && IS_ALIGNED(len, s->cluster_size)) {
            last->len += len;
            return;
        }
    }
    Qcow2Release r = {offset, len, punch};
    g_array_append_val(s->release, r);
}

static int release_cluster(Qcow2 *s, uint64_t c, bool punch)
{
    uint64_t value, offset = c << s->cluster_bits;
    node_event(s->n->file, BLKEV_CLUSTER_FREE);
    int ret = qcow2_refcount_get(s, c, &value);
    if (ret < 0) {
        return ret;
    }
    if (value == 0) {
        return qcow2_corrupt(s, "cluster %#" G_GINT64_MODIFIER "x was in use but not counted",
                             offset);
    }
    if (value == 1 && qcow2_meta_kind(s, c)) {
        return qcow2_check_overlap(s, offset, s->cluster_size, 0, "a released cluster");
    }
    if (value == 1) {
        qcow2_cache_drop(s->l2_cache, offset, s->cluster_size);
        qcow2_unpacked_forget(s, c);
        if (s->pack_at && s->pack_at >> s->cluster_bits == c) {
            s->pack_at = 0;
        }
        if (punch) {
            node_discard(s->n->file, offset, s->cluster_size); /* a hint: it may fail */
        }
    }
    ret = qcow2_refcount_set(s, c, value - 1);
    if (ret == 0 && value == 1) {
        s->free_hint = MIN(s->free_hint, c);
    }
    return ret;
}

int qcow2_release_apply(Qcow2 *s, GArray *list)
{
    int first_error = 0;
    for (guint i = 0; i < list->len; i++) {
        Qcow2Release *r = &g_array_index(list, Qcow2Release, i);
        uint64_t end = qcow2_clusters(s, r->offset + r->len);
        for (uint64_t c = r->offset >> s->cluster_bits; c < end; c++) {
            int ret = s->corrupt ? 0 : release_cluster(s, c, r->punch);
            first_error = first_error ? first_error : ret; /* what fails leaks */
        }
    }
    return first_error;
}

int qcow2_refcount_add(Qcow2 *s, uint64_t offset, uint64_t len, int delta)
{
    uint64_t end = qcow2_clusters(s, offset + len);
    for (uint64_t c = offset >> s->cluster_bits; c < end; c++) {
        uint64_t value;
        int ret = delta < 0 ? release_cluster(s, c, s->pass_other) : 0;
        if (delta > 0) {
            ret = qcow2_refcount_get(s, c, &value);
            if (ret == 0 && value == 0) {
                ret = qcow2_corrupt(s, "cluster %#" G_GINT64_MODIFIER "x is in use but not counted",
                                    c << s->cluster_bits);
            }
            if (ret == 0 && value >= s->refcount_max) {
                ret = -EOVERFLOW;
            }
            ret = ret < 0 ? ret : qcow2_refcount_set(s, c, value + 1);
        }
        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

/* ---- compressed clusters lie side by side ---- */

/* One reference more to the cluster that pack_at lies in, if it has room for one. */
static bool share_pack_cluster(Qcow2 *s)
{
    uint64_t value, c = s->pack_at >> s->cluster_bits;
    return s->pack_at && qcow2_refcount_get(s, c, &value) == 0 && value > 0 &&
           value < s->refcount_max && qcow2_refcount_set(s, c, value + 1) == 0;
}

static void unshare_pack_cluster(Qcow2 *s, uint64_t c)
{
    uint64_t value;
    if (qcow2_refcount_get(s, c, &value) == 0 && value > 1) {
        qcow2_refcount_set(s, c, value - 1);
    }
}

int64_t qcow2_alloc_bytes(Qcow2 *s, uint64_t size)
{
    uint64_t room = s->pack_at ? s->cluster_size - (s->pack_at & (s->cluster_size - 1)) : 0;
    uint64_t at = s->pack_at, first = at >> s->cluster_bits, got;
    node_event(s->n->file, BLKEV_CLUSTER_ALLOC_BYTES);
    bool shared = room && share_pack_cluster(s);
    if (!shared || size > room) {
        int64_t fresh = qcow2_alloc(s, 1, &got);
        if (fresh < 0) {
            if (shared) {
                unshare_pack_cluster(s, first);
            }
            return fresh;
        }
        bool next = shared && (uint64_t)fresh >> s->cluster_bits == first + 1;
        if (shared && !next) {
            unshare_pack_cluster(s, first);
        }
        at = next ? at : (uint64_t)fresh;
    }
    s->pack_at = at + size;
    if (IS_ALIGNED(s->pack_at, s->cluster_size)) {
        s->pack_at = 0;
    }
    return (int64_t)at;
}

void qcow2_free_bytes(Qcow2 *s, uint64_t offset, uint64_t size)
{
    uint64_t end = qcow2_clusters(s, offset + size), value;
    for (uint64_t c = offset >> s->cluster_bits; c < end; c++) {
        if (qcow2_refcount_get(s, c, &value) < 0 || value == 0) {
            continue; /* it leaks, no more */
        }
        qcow2_refcount_set(s, c, value - 1);
        if (value == 1) {
            s->free_hint = MIN(s->free_hint, c);
            if (s->pack_at && s->pack_at >> s->cluster_bits == c) {
                s->pack_at = 0;
            }
        }
    }
}
