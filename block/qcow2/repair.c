/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images with "lazy refcounts" that were not closed have stale reference counts:
 * all references are counted anew.  Anything worse than stale counts is refused.
 */
#include "block/qcow2/qcow2.h"

#include <errno.h>

/* One count is kept in memory for each cluster; more are for qemu-img check. */
#define MAX_CLUSTERS (1u << 27)

typedef struct Recount {
    Qcow2 *s;
    uint32_t *counts;
    uint64_t n;
    const char *broken; /* why this is not merely stale */
} Recount;

static void count(Recount *r, uint64_t offset, uint64_t len)
{
    for (uint64_t c = offset >> r->s->cluster_bits; c < qcow2_clusters(r->s, offset + len); c++) {
        if (c >= r->n) {
            r->broken = "something lies beyond the end of the file";
            return;
        }
        r->counts[c]++;
    }
}

static void count_entry(Recount *r, uint64_t entry)
{
    uint64_t offset, len;
    switch (qcow2_entry_kind(r->s, entry)) {
    case QCOW2_NORMAL:
    case QCOW2_ZERO_ALLOC:
        offset = entry & QCOW2_L2_OFFSET_MASK;
        if (!IS_ALIGNED(offset, r->s->cluster_size)) {
            r->broken = "a data cluster lies at an odd offset";
            return;
        }
        count(r, offset, r->s->cluster_size);
        break;
    case QCOW2_PACKED:
        qcow2_packed_extent(r->s, entry, &offset, &len);
        /* The last sectors of a file may be missing from it. */
        count(r, offset, MIN(len, MAX(r->s->n->file->length, offset + 1) - offset));
        break;
    case QCOW2_UNALLOCATED:
    case QCOW2_ZERO_PLAIN:
        break;
    }
}

/* Are the flags that say "ours alone" true, by the new counts? */
static void check_copied(Recount *r, uint64_t entry, uint64_t offset)
{
    bool copied = entry & QCOW2_COPIED;
    uint64_t c = offset >> r->s->cluster_bits;
    if (c < r->n && copied != (r->counts[c] == 1)) {
        r->broken = "a 'copied' flag is wrong";
    }
}

typedef void EntryFn(Recount *r, uint64_t entry);

static void check_entry(Recount *r, uint64_t entry)
{
    Qcow2Kind k = qcow2_entry_kind(r->s, entry);
    if (k == QCOW2_NORMAL || k == QCOW2_ZERO_ALLOC) {
        check_copied(r, entry, entry & QCOW2_L2_OFFSET_MASK);
    }
}

static int walk_l2(Recount *r, uint64_t table, EntryFn *fn)
{
    g_autofree uint64_t *l2 = g_malloc(r->s->cluster_size);
    int ret = node_pread(r->s->n->file, table, l2, r->s->cluster_size);
    for (uint64_t i = 0; ret == 0 && i < r->s->l2_entries && !r->broken; i++) {
        fn(r, BITS_BE64(l2[i]));
    }
    return ret;
}

/* Counts an L1 table and all below. */
static int count_l1(Recount *r, const uint64_t *l1, uint64_t n)
{
    int ret = 0;
    for (uint64_t i = 0; ret == 0 && i < n && !r->broken; i++) {
        uint64_t table = l1[i] & QCOW2_L1_OFFSET_MASK;
        if (!table) {
            continue;
        }
        if (!IS_ALIGNED(table, r->s->cluster_size)) {
            r->broken = "an L2 table lies at an odd offset";
            break;
        }
        count(r, table, r->s->cluster_size);
        ret = r->broken ? 0 : walk_l2(r, table, count_entry);
    }
    return ret;
}

static int count_snapshots(Recount *r)
{
    Qcow2 *s = r->s;
    int ret = 0;
    if (s->n_snapshots) {
        count(r, s->snapshots_offset, s->snapshots_bytes);
    }
    for (uint32_t i = 0; ret == 0 && i < s->n_snapshots && !r->broken; i++) {
        const Qcow2Snapshot *sn = &s->snapshots[i];
        g_autofree uint64_t *l1 = g_malloc(MAX(sn->l1_size, 1) * 8ull);
        ret = node_pread(s->n->file, sn->l1_offset, l1, sn->l1_size * 8ull);
        for (uint32_t k = 0; ret == 0 && k < sn->l1_size; k++) {
            l1[k] = BITS_BE64(l1[k]);
        }
        if (ret == 0) {
            count(r, sn->l1_offset, sn->l1_size * 8ull);
            ret = count_l1(r, l1, sn->l1_size);
        }
    }
    return ret;
}

static int count_all(Recount *r)
{
    Qcow2 *s = r->s;
    count(r, 0, s->cluster_size);
    count(r, s->l1.offset, s->l1.n * 8);
    count(r, s->rt.offset, (uint64_t)s->rt_clusters << s->cluster_bits);
    for (uint64_t i = 0; i < s->rt.n && !r->broken; i++) {
        if (s->rt.entries[i] & ~511ull) {
            count(r, s->rt.entries[i] & ~511ull, s->cluster_size);
        }
    }
    int ret = count_l1(r, s->l1.entries, s->l1.n);
    ret = ret < 0 || r->broken ? ret : count_snapshots(r);
    for (uint64_t i = 0; ret == 0 && i < s->l1.n && !r->broken; i++) {
        uint64_t table = s->l1.entries[i] & QCOW2_L1_OFFSET_MASK;
        if (table) {
            check_copied(r, s->l1.entries[i], table);
            ret = walk_l2(r, table, check_entry);
        }
    }
    return ret;
}

static int store_counts(Recount *r)
{
    Qcow2 *s = r->s;
    for (uint64_t c = 0; c < r->n; c++) {
        uint64_t value, idx = c / s->rb_entries;
        int ret = qcow2_refcount_get(s, c, &value);
        if (ret < 0) {
            return ret;
        }
        if (value == r->counts[c]) {
            continue;
        }
        if (r->counts[c] > s->refcount_max || idx >= s->rt.n || !(s->rt.entries[idx] & ~511ull)) {
            r->broken = "there is no room for a reference count";
            return 0;
        }
        ret = qcow2_refcount_set(s, c, r->counts[c]);
        if (ret < 0) {
            return ret;
        }
        if (qcow2_cache_crowded(s->rb_cache)) {
            ret = qcow2_cache_write_dirty(s->rb_cache);
            if (ret < 0) {
                return ret;
            }
        }
    }
    return 0;
}

bool qcow2_repair_refcounts(Qcow2 *s, Error **errp)
{
    Recount r = {.s = s, .n = qcow2_clusters(s, s->n->file->length)};
    int ret = 0;
    if (r.n > MAX_CLUSTERS) {
        r.broken = "it is too large to be checked while opening";
    } else {
        r.counts = g_try_new0(uint32_t, MAX(r.n, 1));
        ret = r.counts ? count_all(&r) : -ENOMEM;
    }
    if (ret == 0 && !r.broken) {
        ret = store_counts(&r);
    }
    g_free(r.counts);
    if (ret == 0 && !r.broken) {
        ret = qcow2_sync(s);
    }
    if (ret == 0 && !r.broken) {
        ret = qcow2_write_incompat(s, s->incompat & ~QCOW2_INCOMPAT_DIRTY);
    }
    if (ret < 0) {
        error_set_errno(errp, -ret, "'%s' was not closed properly and cannot be repaired",
                        node_filename(s->n));
    } else if (r.broken) {
        error_set(errp, "'%s' was not closed properly and cannot be repaired: %s",
                  node_filename(s->n), r.broken);
        error_hint(errp, "'qemu-img check -r all' may help");
    }
    return ret == 0 && !r.broken;
}
