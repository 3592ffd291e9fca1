/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check: all references are counted anew and compared with what the image says.
 *
 * A count that is too high is a leak, and so is a "copied" flag that is missing: they cost space or
 * a copy.  A count that is too low, or a flag on what is shared, is an error: data may be lost.
 */
#include "block/qcow2/check.h"

#include <errno.h>
#include <inttypes.h>

#define CHUNK_BITS 14u

/* ---- counts, with memory only where there is something ---- */

bool qcow2_counts_init(Qcow2Counts *c, uint64_t clusters)
{
    c->n = clusters;
    c->n_chunks = (clusters >> CHUNK_BITS) + 1;
    c->chunk = g_try_new0(uint32_t *, c->n_chunks);
    return c->chunk != NULL;
}

void qcow2_counts_free(Qcow2Counts *c)
{
    for (uint64_t i = 0; c->chunk && i < c->n_chunks; i++) {
        g_free(c->chunk[i]);
    }
    g_free(c->chunk);
    c->chunk = NULL;
}

uint32_t qcow2_counts_get(const Qcow2Counts *c, uint64_t cluster)
{
    const uint32_t *chunk = cluster < c->n ? c->chunk[cluster >> CHUNK_BITS] : NULL;
    return chunk ? chunk[cluster & ((1u << CHUNK_BITS) - 1)] : 0;
}

bool qcow2_counts_add(Qcow2Counts *c, uint64_t cluster)
{
    uint32_t **chunk = &c->chunk[cluster >> CHUNK_BITS];
    if (!*chunk) {
        *chunk = g_try_new0(uint32_t, 1u << CHUNK_BITS);
    }
    if (!*chunk) {
        return false;
    }
    uint32_t *v = &(*chunk)[cluster & ((1u << CHUNK_BITS) - 1)];
    *v += *v != UINT32_MAX;
    return true;
}

bool qcow2_counts_chunk_empty(const Qcow2Counts *c, uint64_t cluster)
{
    return cluster >= c->n || !c->chunk[cluster >> CHUNK_BITS];
}

/* ---- counting ---- */

static void note(Qcow2Checker *k, bool error, const char *fmt, ...) G_GNUC_PRINTF(3, 4);
static void note(Qcow2Checker *k, bool error, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    if (error) {
        k->out->corruptions++;
    } else {
        k->out->leaks++;
    }
    block_progress_message(k->p, "%s", text);
}

/* `what` lies at [offset, offset + len). */
static void count(Qcow2Checker *k, uint64_t offset, uint64_t len, const char *what)
{
    Qcow2 *s = k->s;
    if (len == 0) {
        return;
    }
    uint64_t first = offset >> s->cluster_bits, end = qcow2_clusters(s, offset + len);
    if (offset > INT64_MAX || end > k->counts.n) {
        note(k, true, "ERROR: %s at %#" PRIx64 " lies beyond the end of the file", what, offset);
        end = MIN(end, k->counts.n);
    }
    for (uint64_t c = first; c < end && !k->no_memory; c++) {
        k->no_memory = !qcow2_counts_add(&k->counts, c);
    }
}

static void count_packed(Qcow2Checker *k, uint64_t e, bool active)
{
    Qcow2 *s = k->s;
    uint64_t offset, len, file = s->n->file->length;
    if (qcow2_has_data_file(s)) {
        note(k, true, "ERROR: a compressed cluster in an image with a data file");
        return;
    }
    qcow2_packed_extent(s, e, &offset, &len);
    /* The last sectors of a file may be missing from it. */
    count(k, offset, MIN(len, MAX(ALIGN_UP(file, 512ull), offset + 1) - offset),
          "a compressed cluster");
    if (active) {
        k->out->allocated++;
        k->out->compressed++;
        k->out->fragmented++; /* by their nature */
    }
}

static void count_entry(Qcow2Checker *k, Qcow2Entry e, bool active)
{
    Qcow2 *s = k->s;
    if (e.e & QCOW2_COMPRESSED) {
        count_packed(k, e.e, active);
        return;
    }
    if (qcow2_extended(s) && (e.bitmap & (e.bitmap >> 32) & UINT32_MAX)) {
        note(k, true,
             "ERROR: a subcluster is marked both as data and as zeroes (entry %#" PRIx64
             ", bitmap %#" PRIx64 ")",
             e.e, e.bitmap);
    }
    if (!qcow2_entry_has_host(s, e.e)) {
        if (qcow2_extended(s) && (e.bitmap & UINT32_MAX)) {
            note(k, true, "ERROR: subclusters of no cluster are marked as data");
        }
        return;
    }
    uint64_t offset = e.e & QCOW2_L2_OFFSET_MASK;
    if (!IS_ALIGNED(offset, s->cluster_size)) {
        note(k, true,
             "ERROR offset=%" PRIx64 ": Cluster is not properly aligned; L2 entry "
             "corrupted.",
             offset);
        return;
    }
    if (active) {
        k->out->allocated++;
        if (k->next_offset && offset != k->next_offset) {
            k->out->fragmented++;
        }
        k->next_offset = offset + s->cluster_size;
    }
    if (!qcow2_has_data_file(s)) {
        count(k, offset, s->cluster_size, "a data cluster");
    }
}

typedef void EntryFn(Qcow2Checker *k, Qcow2Entry e, uint64_t slice_at, unsigned index, bool active);

static void count_fn(Qcow2Checker *k, Qcow2Entry e, uint64_t slice_at, unsigned index, bool active)
{
    count_entry(k, e, active);
}

static int walk_l2(Qcow2Checker *k, uint64_t table, EntryFn *fn, bool active)
{
    Qcow2 *s = k->s;
    size_t slice = qcow2_cache_slice(s->l2_cache);
    g_autofree uint64_t *copy = g_try_malloc(slice);
    for (uint64_t o = 0; o < s->cluster_size; o += slice) {
        void *data;
        int ret = copy ? qcow2_cache_get(s->l2_cache, table + o, &data) : -ENOMEM;
        if (ret == -ENOMEM) {
            return ret; /* that says nothing about the image */
        }
        if (ret < 0) {
            k->out->check_errors++;
            block_progress_message(k->p, "ERROR: cannot read an L2 table: %s", g_strerror(-ret));
            return 0;
        }
        memcpy(copy, data, slice);
        for (unsigned i = 0; i < slice / s->entry_size; i++) {
            Qcow2Entry e = qcow2_l2_get(s, copy, i);
            if (e.e || e.bitmap) {
                fn(k, e, table + o, i, active);
            }
        }
    }
    return 0;
}

/* An L1 table and all below. */
static int count_l1(Qcow2Checker *k, const uint64_t *l1, uint64_t n, bool active)
{
    Qcow2 *s = k->s;
    int ret = 0;
    for (uint64_t i = 0; ret == 0 && i < n; i++) {
        uint64_t table = l1[i] & QCOW2_L1_OFFSET_MASK;
        if (!block_progress(k->p, k->done++, k->total)) {
            return -ECANCELED;
        }
        if (!table) {
            continue;
        }
        if (!IS_ALIGNED(table, s->cluster_size)) {
            note(k, true,
                 "ERROR l2_offset=%" PRIx64 ": Table is not cluster aligned; L1 entry "
                 "corrupted",
                 table);
            continue;
        }
        uint64_t before = k->out->corruptions;
        count(k, table, s->cluster_size, "an L2 table");
        if (k->out->corruptions == before) {
            ret = walk_l2(k, table, count_fn, active);
        }
    }
    return ret;
}

static int count_snapshots(Qcow2Checker *k)
{
    Qcow2 *s = k->s;
    int ret = 0;
    count(k, s->snapshots_offset, s->n_snapshots ? s->snapshots_bytes : 0, "the snapshot table");
    for (uint32_t i = 0; ret == 0 && i < s->n_snapshots; i++) {
        const Qcow2Snapshot *sn = &s->snapshots[i];
        g_autofree uint64_t *l1 = g_try_malloc0(MAX(sn->l1_size, 1) * 8ull);
        ret = l1 ? node_pread(s->n->file, sn->l1_offset, l1, sn->l1_size * 8ull) : -ENOMEM;
        for (uint32_t j = 0; ret == 0 && j < sn->l1_size; j++) {
            l1[j] = BITS_BE64(l1[j]);
        }
        if (ret == 0) {
            /* A table of no entries has a cluster nevertheless. */
            count(k, sn->l1_offset, sn->l1_offset ? MAX(sn->l1_size * 8ull, 8) : 0,
                  "a snapshot's L1 table");
            ret = count_l1(k, l1, sn->l1_size, false);
        }
    }
    return ret;
}

/* The directory of bitmaps, their tables and their clusters. */
static int count_bitmaps(Qcow2Checker *k)
{
    Qcow2 *s = k->s;
    if (!s->n_bitmaps) {
        return 0;
    }
    g_autofree uint8_t *dir = g_try_malloc0(s->bitmaps_bytes);
    int ret = dir ? node_pread(s->n->file, s->bitmaps_offset, dir, s->bitmaps_bytes) : -ENOMEM;
    count(k, s->bitmaps_offset, s->bitmaps_bytes, "the bitmap directory");
    uint64_t pos = 0;
    for (uint32_t i = 0; ret == 0 && i < s->n_bitmaps && s->bitmaps_bytes - pos >= 24; i++) {
        const uint8_t *e = dir + pos;
        uint64_t at = ld_be64(e), entries = ld_be32(e + 8);
        uint64_t len = ALIGN_UP(24ull + ld_be16(e + 18) + ld_be32(e + 20), 8ull);
        if (entries > (32u << 20) || !IS_ALIGNED(at, s->cluster_size) ||
            len > s->bitmaps_bytes - pos) {
            note(k, true, "ERROR: the bitmap directory's entry %u is broken", i);
            break;
        }
        g_autofree uint64_t *table = g_try_malloc0(MAX(entries, 1) * 8);
        ret = table ? node_pread(s->n->file, at, table, entries * 8) : -ENOMEM;
        count(k, at, entries * 8, "a bitmap's table");
        for (uint64_t j = 0; ret == 0 && j < entries; j++) {
            count(k, BITS_BE64(table[j]) & QCOW2_L2_OFFSET_MASK,
                  BITS_BE64(table[j]) & QCOW2_L2_OFFSET_MASK ? s->cluster_size : 0, "a bitmap");
        }
        pos += len;
    }
    return ret;
}

/* What counts references is counted too; a block that is no block makes a rebuild necessary. */
static void count_refcounts(Qcow2Checker *k)
{
    Qcow2 *s = k->s;
    count(k, s->rt.offset, (uint64_t)s->rt_clusters << s->cluster_bits, "the refcount table");
    for (uint64_t i = 0; i < s->rt.n; i++) {
        uint64_t block = s->rt.entries[i] & ~511ull;
        if (!block) {
            continue;
        }
        if (!IS_ALIGNED(block, s->cluster_size)) {
            note(k, true,
                 "ERROR refcount block %" PRIu64 " is not cluster aligned; refcount table "
                 "entry corrupted",
                 i);
            k->rebuild = true;
        } else if (block >> s->cluster_bits >= k->counts.n) {
            note(k, true, "ERROR refcount block %" PRIu64 " is outside image", i);
            k->rebuild = true;
        } else {
            count(k, block, s->cluster_size, "a refcount block");
            if (qcow2_counts_get(&k->counts, block >> s->cluster_bits) != 1) {
                note(k, true, "ERROR refcount block %" PRIu64 " is used for something else too", i);
                k->rebuild = true;
            }
        }
    }
}

int qcow2_count_references(Qcow2Checker *k)
{
    Qcow2 *s = k->s;
    count(k, 0, s->cluster_size, "the header");
    count(k, s->l1.offset, s->l1.n ? s->l1.n * 8 : s->l1.offset ? 8 : 0, "the L1 table");
    count(k, s->crypto_offset, s->crypto_length, "the encryption header");
    int ret = count_l1(k, s->l1.entries, s->l1.n, true);
    ret = ret < 0 ? ret : count_snapshots(k);
    ret = ret < 0 ? ret : count_bitmaps(k);
    if (ret == 0) {
        count_refcounts(k);
    }
    return k->no_memory ? -ENOMEM : ret;
}

/* ---- flags ---- */

static void check_copied(Qcow2Checker *k, Qcow2Entry e, uint64_t slice_at, unsigned index,
                         bool active)
{
    Qcow2 *s = k->s;
    uint64_t offset = e.e & QCOW2_L2_OFFSET_MASK;
    if (!qcow2_entry_has_host(s, e.e) || qcow2_has_data_file(s) ||
        !IS_ALIGNED(offset, s->cluster_size)) {
        return;
    }
    bool want = qcow2_counts_get(&k->counts, offset >> s->cluster_bits) == 1;
    if (want == !!(e.e & QCOW2_COPIED)) {
        return;
    }
    bool fix = k->fix & (want ? BLOCK_FIX_LEAKS : BLOCK_FIX_ERRORS);
    void *data;
    if (fix && qcow2_cache_get(s->l2_cache, slice_at, &data) == 0) {
        e.e ^= QCOW2_COPIED;
        qcow2_l2_put(s, data, index, e);
        qcow2_cache_dirty(s->l2_cache, slice_at);
        k->out->leaks_fixed += want;
        k->out->corruptions_fixed += !want;
        block_progress_message(k->p, "Repairing OFLAG_COPIED data cluster: l2_entry=%" PRIx64, e.e);
        return;
    }
    note(k, !want, "%s OFLAG_COPIED data cluster: l2_entry=%" PRIx64 " references=%u",
         want ? "Missing" : "ERROR", e.e, qcow2_counts_get(&k->counts, offset >> s->cluster_bits));
}

static int check_flags(Qcow2Checker *k)
{
    Qcow2 *s = k->s;
    int ret = 0;
    for (uint64_t i = 0; ret == 0 && i < s->l1.n; i++) {
        uint64_t entry = s->l1.entries[i], table = entry & QCOW2_L1_OFFSET_MASK;
        if (!table || !IS_ALIGNED(table, s->cluster_size) ||
            table >> s->cluster_bits >= k->counts.n) {
            continue;
        }
        bool want = qcow2_counts_get(&k->counts, table >> s->cluster_bits) == 1;
        if (want != !!(entry & QCOW2_COPIED)) {
            if (k->fix & (want ? BLOCK_FIX_LEAKS : BLOCK_FIX_ERRORS)) {
                qcow2_table_set(&s->l1, i, entry ^ QCOW2_COPIED);
                k->out->leaks_fixed += want;
                k->out->corruptions_fixed += !want;
            } else {
                note(k, !want, "%s OFLAG_COPIED L2 cluster: l1_index=%" PRIu64 " l1_entry=%" PRIx64,
                     want ? "Missing" : "ERROR", i, entry);
            }
        }
        ret = walk_l2(k, table, check_copied, true);
        if (ret == 0 && qcow2_cache_crowded(s->l2_cache)) {
            ret = qcow2_cache_write_dirty(s->l2_cache);
        }
    }
    return ret;
}

/* ---- comparing ---- */

static int compare_cluster(Qcow2Checker *k, uint64_t c)
{
    Qcow2 *s = k->s;
    uint64_t has, want = qcow2_counts_get(&k->counts, c);
    int ret = qcow2_refcount_get(s, c, &has);
    if (ret == -ENOMEM) {
        return ret;
    }
    if (ret < 0) {
        k->out->check_errors++;
        block_progress_message(k->p, "Can't get refcount for cluster %" PRIu64 ": %s", c,
                               g_strerror(-ret));
        return 0;
    }
    if (has || want) {
        k->highest = c;
    }
    if (has == want) {
        return 0;
    }
    bool leak = has > want;
    if ((k->fix & (leak ? BLOCK_FIX_LEAKS : BLOCK_FIX_ERRORS)) && want <= s->refcount_max &&
        qcow2_refcount_set(s, c, want) == 0) {
        block_progress_message(
            k->p, "Repairing cluster %" PRIu64 " refcount=%" PRIu64 " reference=%" PRIu64, c, has,
            want);
        k->out->leaks_fixed += leak;
        k->out->corruptions_fixed += !leak;
        s->free_hint = want ? s->free_hint : MIN(s->free_hint, c);
        return qcow2_cache_crowded(s->rb_cache) ? qcow2_cache_write_dirty(s->rb_cache) : 0;
    }
    if (!leak && (k->fix & BLOCK_FIX_ERRORS)) {
        k->rebuild = true; /* nothing counts that cluster */
    }
    note(k, !leak, "%s cluster %" PRIu64 " refcount=%" PRIu64 " reference=%" PRIu64,
         leak ? "Leaked" : "ERROR", c, has, want);
    return 0;
}

static int compare_all(Qcow2Checker *k)
{
    Qcow2 *s = k->s;
    int ret = 0;
    for (uint64_t c = 0; ret == 0 && c < k->counts.n; c++) {
        uint64_t idx = c / s->rb_entries;
        bool counted = idx < s->rt.n && (s->rt.entries[idx] & ~511ull);
        if (!counted && qcow2_counts_chunk_empty(&k->counts, c)) {
            /* Neither counts nor references: on to where one of them begins again. */
            uint64_t next = MIN((idx + 1) * s->rb_entries, ((c >> CHUNK_BITS) + 1) << CHUNK_BITS);
            c = next - 1;
            continue;
        }
        ret = compare_cluster(k, c);
    }
    return ret;
}

static bool changed(const Qcow2Checker *k)
{
    return k->out->leaks_fixed || k->out->corruptions_fixed;
}

/* Bits that say "do not trust this" go when there is nothing left to distrust. */
static int clear_marks(Qcow2Checker *k)
{
    Qcow2 *s = k->s;
    uint64_t marks = QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT;
    if (!k->fix || k->out->corruptions || k->out->check_errors || !(s->incompat & marks)) {
        return 0;
    }
    s->corrupt = false;
    return qcow2_write_incompat(s, s->incompat & ~marks);
}

static int run(Qcow2Checker *k)
{
    Qcow2 *s = k->s;
    int ret = qcow2_count_references(k);
    if (ret == 0 && k->rebuild && (k->fix & BLOCK_FIX_ERRORS)) {
        ret = qcow2_rebuild_refcounts(k);
    }
    ret = ret < 0 || (k->rebuild && !k->rebuilt) ? ret : compare_all(k);
    if (ret == 0 && k->rebuild && !k->rebuilt && (k->fix & BLOCK_FIX_ERRORS)) {
        ret = qcow2_rebuild_refcounts(k); /* errors found while comparing */
    }
    ret = ret < 0 ? ret : check_flags(k);
    if (ret == 0 && changed(k)) {
        /* Counts that went up first; nothing here makes a count too low. */
        s->corrupt = false;
        ret = qcow2_sync(s);
    }
    return ret < 0 ? ret : clear_marks(k);
}

int qcow2_check(BlockNode *n, unsigned fix, const BlockProgress *p, BlockCheck *out, Error **errp)
{
    Qcow2 *s = n->s;
    Qcow2Checker k = {.s = s, .fix = fix, .p = p, .out = out, .total = s->l1.n};
    int ret = 0;
    if (fix && n->flags.read_only) {
        error_set(errp, "cannot repair '%s': it is open read-only", node_filename(n));
        return -EPERM;
    }
    for (uint32_t i = 0; i < s->n_snapshots; i++) {
        k.total += s->snapshots[i].l1_size;
    }
    if (!s->corrupt && !n->flags.read_only) {
        ret = qcow2_sync(s); /* the image is what is looked at, not what is to be written yet */
    }
    out->total = qcow2_clusters(s, n->length);
    uint64_t clusters = qcow2_clusters(s, n->file->length);
    if (ret == 0 && !qcow2_counts_init(&k.counts, clusters)) {
        error_set(errp, "not enough memory to check '%s'", node_filename(n));
        return -ENOMEM;
    }
    ret = ret < 0 ? ret : run(&k);
    qcow2_counts_free(&k.counts);
    out->image_end = (k.highest + 1) << s->cluster_bits;
    if (ret < 0 && ret != -ECANCELED) {
        error_set_errno(errp, -ret, "cannot check '%s'", node_filename(n));
    }
    return ret;
}

bool qcow2_repair_refcounts(Qcow2 *s, Error **errp)
{
    BlockCheck out = {0};
    int ret = qcow2_check(s->n, BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS, NULL, &out, errp);
    if (ret == 0 && (out.corruptions || out.check_errors)) {
        error_set(errp, "it has %" PRIu64 " errors", out.corruptions + out.check_errors);
        ret = -EIO;
    }
    if (ret < 0) {
        error_prefix(errp,
                     "'%s' was not closed properly and cannot be repaired: ", node_filename(s->n));
        error_hint(errp, "'rhea-img check -r all' may help");
    }
    return ret == 0;
}
