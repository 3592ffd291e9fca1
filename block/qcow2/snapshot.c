/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots inside the image: a copy of the L1 table each, whose clusters are counted once more.
 *
 * Order: counts go up and are durable first; then the "copied" flags of what is shared now go;
 * then the new tables are written; then the header points to them.  Counts go down last.  At
 * any point in between the image is right but for counts that are too high: leaks.
 */
#include "block/alloc.h"
#include "block/bitmap.h"
#include "block/qcow2/qcow2.h"

#include <errno.h>

/* A claim on everything: no request is under way. */
static void claim_all(Qcow2 *s, Qcow2Range *r)
{
    qcow2_range_begin(s, r, 0, ALIGN_DOWN((uint64_t)INT64_MAX, s->cluster_size), true);
}

/* ---- walking ---- */

typedef int EntryWork(Qcow2 *s, Qcow2Entry *e, bool *changed, void *opaque);

/* Every entry of the L2 table at `table`; changes go to the cache. Under `lock`. */
static int each_entry(Qcow2 *s, uint64_t table, EntryWork *work, void *opaque)
{
    size_t slice = qcow2_cache_slice(s->l2_cache);
    g_autofree uint64_t *copy = g_try_malloc(slice);
    for (uint64_t o = 0; o < s->cluster_size; o += slice) {
        void *data;
        int ret = copy ? 0 : -ENOMEM;
        ret = ret < 0 ? ret : qcow2_cache_get(s->l2_cache, table + o, &data);
        if (ret < 0) {
            return ret;
        }
        memcpy(copy, data, slice);
        bool any = false;
        for (unsigned i = 0; i < slice / s->entry_size; i++) {
            bool changed = false;
            Qcow2Entry e = qcow2_l2_get(s, copy, i);
            if (!e.e) {
                continue;
            }
            ret = work(s, &e, &changed, opaque);
            if (ret < 0) {
                return ret;
            }
            if (changed) {
                qcow2_l2_put(s, copy, i, e);
                any = true;
            }
        }
        if (any) {
            ret = qcow2_cache_get(s->l2_cache, table + o, &data);
            if (ret < 0) {
                return ret;
            }
            memcpy(data, copy, slice);
            qcow2_cache_dirty(s->l2_cache, table + o);
        }
    }
    return 0;
}

/* Where the entry's clusters lie; false: nowhere. */
static bool extent_of(Qcow2 *s, uint64_t e, uint64_t *offset, uint64_t *len)
{
    if (e & QCOW2_COMPRESSED) {
        qcow2_packed_extent(s, e, offset, len);
        return true;
    }
    *offset = e & QCOW2_L2_OFFSET_MASK;
    *len = s->cluster_size;
    return qcow2_entry_has_host(s, e);
}

static int relieve_counts(Qcow2 *s)
{
    return qcow2_cache_crowded(s->rb_cache) ? qcow2_cache_write_dirty(s->rb_cache) : 0;
}

static int count_entry(Qcow2 *s, Qcow2Entry *e, bool *changed, void *opaque)
{
    const int *delta = opaque;
    uint64_t offset, len;
    int ret = 0;
    if (extent_of(s, e->e, &offset, &len)) {
        ret = qcow2_refcount_add(s, offset, len, *delta);
        ret = ret < 0 ? ret : relieve_counts(s);
    }
    return ret;
}

/* One reference more or less to all below the table `l1` (host order). Under `lock`. */
static int count_tree(Qcow2 *s, const uint64_t *l1, uint64_t n, int delta)
{
    int ret = 0;
    for (uint64_t i = 0; ret == 0 && i < n; i++) {
        uint64_t table = l1[i] & QCOW2_L1_OFFSET_MASK;
        if (!table) {
            continue;
        }
        if (!IS_ALIGNED(table, s->cluster_size)) {
            return qcow2_corrupt(s, "L2 table at odd offset %#" G_GINT64_MODIFIER "x", table);
        }
        ret = each_entry(s, table, count_entry, &delta);
        ret = ret < 0 ? ret : qcow2_refcount_add(s, table, s->cluster_size, delta);
    }
    return ret;
}

/* Is there room for one reference more? */
static int check_entry_room(Qcow2 *s, Qcow2Entry *e, bool *changed, void *opaque)
{
    uint64_t offset, len, value;
    int ret = 0;
    if (!extent_of(s, e->e, &offset, &len)) {
        return 0;
    }
    for (uint64_t c = offset >> s->cluster_bits; ret == 0 && c < qcow2_clusters(s, offset + len);
         c++) {
        ret = qcow2_refcount_get(s, c, &value);
        ret = ret == 0 && value >= s->refcount_max ? -EOVERFLOW : ret;
    }
    return ret;
}

static int check_tree_room(Qcow2 *s, const uint64_t *l1, uint64_t n)
{
    uint64_t value;
    int ret = 0;
    for (uint64_t i = 0; ret == 0 && i < n; i++) {
        uint64_t table = l1[i] & QCOW2_L1_OFFSET_MASK;
        if (table && IS_ALIGNED(table, s->cluster_size)) {
            ret = qcow2_refcount_get(s, table >> s->cluster_bits, &value);
            ret = ret == 0 && value >= s->refcount_max ? -EOVERFLOW : ret;
            ret = ret < 0 ? ret : each_entry(s, table, check_entry_room, NULL);
        }
    }
    return ret;
}

static int clear_copied(Qcow2 *s, Qcow2Entry *e, bool *changed, void *opaque)
{
    if (!(e->e & QCOW2_COMPRESSED) && (e->e & QCOW2_COPIED)) {
        e->e &= ~QCOW2_COPIED;
        *changed = true;
    }
    return 0;
}

static int fix_copied(Qcow2 *s, Qcow2Entry *e, bool *changed, void *opaque)
{
    uint64_t value;
    if (!qcow2_entry_has_host(s, e->e)) {
        return 0;
    }
    int ret = qcow2_refcount_get(s, (e->e & QCOW2_L2_OFFSET_MASK) >> s->cluster_bits, &value);
    if (ret == 0 && (value == 1) != !!(e->e & QCOW2_COPIED)) {
        e->e ^= QCOW2_COPIED;
        *changed = true;
    }
    return ret;
}

/* The cache holds many changes: they are written. Not under `lock`. */
static int relieve_l2(Qcow2 *s)
{
    return qcow2_cache_crowded(s->l2_cache) ? qcow2_sync(s) : 0;
}

/* Clears the flags of the active tables (`only_if_shared`: sets them by the counts). */
static int flags_of_active(Qcow2 *s, bool by_count)
{
    int ret = 0;
    for (uint64_t i = 0; ret == 0 && i < s->l1.n; i++) {
        uint64_t entry = s->l1.entries[i], table = entry & QCOW2_L1_OFFSET_MASK, value = 2;
        if (!table) {
            continue;
        }
        fiber_mutex_lock(&s->lock);
        ret = by_count ? qcow2_refcount_get(s, table >> s->cluster_bits, &value) : 0;
        ret = ret < 0 ? ret : each_entry(s, table, by_count ? fix_copied : clear_copied, NULL);
        if (ret == 0 && (value == 1) != !!(entry & QCOW2_COPIED)) {
            qcow2_table_set(&s->l1, i, entry ^ QCOW2_COPIED);
        }
        fiber_mutex_unlock(&s->lock);
        ret = ret < 0 ? ret : relieve_l2(s);
    }
    return ret;
}

static int flags_of_tree(Qcow2 *s, const uint64_t *l1, uint64_t n)
{
    int ret = 0;
    for (uint64_t i = 0; ret == 0 && i < n; i++) {
        uint64_t table = l1[i] & QCOW2_L1_OFFSET_MASK;
        if (table) {
            fiber_mutex_lock(&s->lock);
            ret = each_entry(s, table, clear_copied, NULL);
            fiber_mutex_unlock(&s->lock);
            ret = ret < 0 ? ret : relieve_l2(s);
        }
    }
    return ret;
}

/* ---- the table of snapshots ---- */

static uint64_t record_length(const Qcow2Snapshot *sn)
{
    return ALIGN_UP(40 + 24 + (uint64_t)sn->extra_len + strlen(sn->id) + strlen(sn->name), 8ull);
}

static void put_record(uint8_t *p, const Qcow2Snapshot *sn)
{
    size_t id_len = strlen(sn->id), name_len = strlen(sn->name);
    st_be64(p, sn->l1_offset);
    st_be32(p + 8, sn->l1_size);
    st_be16(p + 12, (uint16_t)id_len);
    st_be16(p + 14, (uint16_t)name_len);
    st_be32(p + 16, sn->date_sec);
    st_be32(p + 20, sn->date_nsec);
    st_be64(p + 24, sn->vm_clock_ns);
    st_be32(p + 32, sn->vm_state_size > UINT32_MAX ? 0 : (uint32_t)sn->vm_state_size);
    st_be32(p + 36, 24 + sn->extra_len);
    st_be64(p + 40, sn->vm_state_size);
    st_be64(p + 48, sn->disk_size);
    st_be64(p + 56, sn->icount);
    p += 64;
    if (sn->extra_len) {
        memcpy(p, sn->extra, sn->extra_len);
    }
    memcpy(p + sn->extra_len, sn->id, id_len);
    memcpy(p + sn->extra_len + id_len, sn->name, name_len);
}

static int write_at_new_place(Qcow2 *s, const uint8_t *data, uint64_t bytes, uint64_t *offset)
{
    fiber_mutex_lock(&s->lock);
    uint64_t clusters = qcow2_clusters(s, bytes);
    int64_t at = qcow2_alloc_exact(s, clusters);
    int ret = at < 0 ? (int)at : 0;
    if (ret == 0) {
        ret = node_pwrite(s->n->file, (uint64_t)at, data, bytes, 0);
        if (ret < 0) {
            qcow2_free_unpublished(s, (uint64_t)at, clusters);
        }
    }
    fiber_mutex_unlock(&s->lock);
    *offset = (uint64_t)at;
    return ret;
}

/*
 * Writes a new table of these snapshots and makes it the image's, durably; the old one is given
 * up.  After a failure the old list is what counts; what was allocated leaks.
 */
static int publish_list(Qcow2 *s, Qcow2Snapshot *list, uint32_t n)
{
    uint64_t bytes = 0, at = 0, old = s->snapshots_offset, old_bytes = s->snapshots_bytes;
    uint32_t old_n = s->n_snapshots;
    for (uint32_t i = 0; i < n; i++) {
        bytes += record_length(&list[i]);
    }
    if (bytes > QCOW2_MAX_SNAPSHOT_BYTES) {
        return -EFBIG;
    }
    if (n) {
        g_autofree uint8_t *data = g_try_malloc0(bytes);
        for (uint32_t i = 0, pos = 0; data && i < n;
             pos += (uint32_t)record_length(&list[i]), i++) {
            put_record(data + pos, &list[i]);
        }
        int ret = data ? write_at_new_place(s, data, bytes, &at) : -ENOMEM;
        if (ret < 0) {
            return ret;
        }
    }
    int ret = qcow2_sync(s);
    uint8_t be[12];
    st_be32(be, n);
    st_be64(be + 4, at);
    ret = ret < 0 ? ret : node_pwrite(s->n->file, 60, be, sizeof(be), 0);
    ret = ret < 0 ? ret : node_flush(s->n->file);
    if (ret < 0) {
        return ret;
    }
    s->n_snapshots = n;
    s->snapshots_offset = at;
    s->snapshots_bytes = bytes;
    fiber_mutex_lock(&s->lock);
    if (old_n) {
        qcow2_meta_del(s, old, old_bytes, QCOW2_META_SNAPSHOTS);
        qcow2_release(s, old, old_bytes, s->pass_other);
    }
    if (n) {
        qcow2_meta_add(s, at, bytes, QCOW2_META_SNAPSHOTS);
    }
    fiber_mutex_unlock(&s->lock);
    return 0;
}

/* By id, else by name; -1: none. */
static int find_snapshot(const Qcow2 *s, const char *which)
{
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < s->n_snapshots; i++) {
            if (!strcmp(pass ? s->snapshots[i].name : s->snapshots[i].id, which)) {
                return (int)i;
            }
        }
    }
    return -1;
}

static int require(Qcow2 *s, const char *which, Error **errp)
{
    int i = find_snapshot(s, which);
    if (i < 0) {
        error_set(errp, "'%s' has no snapshot with the id or name '%s'", node_filename(s->n),
                  which);
    }
    return i;
}

static int failed(Qcow2 *s, int ret, const char *what, const char *which, Error **errp)
{
    if (ret == -EOVERFLOW) {
        error_set(errp, "cannot %s the snapshot '%s' of '%s': reference counts of %u bits are full",
                  what, which, node_filename(s->n), 1u << s->refcount_order);
        error_hint(errp, "'rhea-img amend -o refcount_bits=64' makes room");
    } else if (ret < 0) {
        error_set_errno(errp, -ret, "cannot %s the snapshot '%s' of '%s'", what, which,
                        node_filename(s->n));
    }
    return ret;
}

static bool possible(Qcow2 *s, Error **errp)
{
    if (qcow2_has_data_file(s)) {
        error_set(errp, "'%s' has an external data file and can have no snapshots inside",
                  node_filename(s->n));
        return false;
    }
    if (s->n->flags.read_only) {
        error_set(errp, "'%s' is open read-only", node_filename(s->n));
        return false;
    }
    return true;
}

/* ---- list ---- */

GPtrArray *qcow2_snapshot_list(BlockNode *n)
{
    Qcow2 *s = n->s;
    GPtrArray *a = block_snapshot_array();
    for (uint32_t i = 0; i < s->n_snapshots; i++) {
        const Qcow2Snapshot *sn = &s->snapshots[i];
        BlockSnapshot *b = g_new0(BlockSnapshot, 1);
        b->id = g_strdup(sn->id);
        b->name = g_strdup(sn->name);
        b->vm_state_size = sn->vm_state_size;
        b->date_sec = sn->date_sec;
        b->date_nsec = sn->date_nsec;
        b->vm_clock_ns = sn->vm_clock_ns;
        b->icount = sn->icount;
        b->disk_size = sn->disk_size;
        g_ptr_array_add(a, b);
    }
    return a;
}

/* ---- giving up the end of the L1 table ---- */

int qcow2_drop_l1_from(Qcow2 *s, uint64_t first)
{
    if (first >= s->l1.n) {
        return 0;
    }
    uint64_t n = s->l1.n - first;
    bool any = false;
    g_autofree uint64_t *old = try_dup(s->l1.entries + first, n * 8);
    if (!old) {
        return -ENOMEM;
    }
    fiber_mutex_lock(&s->lock);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t table = old[i] & QCOW2_L1_OFFSET_MASK;
        if (!table) {
            continue;
        }
        any = true;
        qcow2_table_set(&s->l1, first + i, 0);
        qcow2_meta_del(s, table, s->cluster_size, QCOW2_META_L2);
    }
    fiber_mutex_unlock(&s->lock);
    node_event(s->n->file, BLKEV_L1_SHRINK_WRITE_TABLE);
    int ret = any ? qcow2_sync(s) : 0;
    if (any && ret == 0) {
        node_event(s->n->file, BLKEV_L1_SHRINK_FREE_L2_CLUSTERS);
        fiber_mutex_lock(&s->lock);
        ret = count_tree(s, old, n, -1);
        fiber_mutex_unlock(&s->lock);
        ret = ret < 0 ? ret : qcow2_sync(s);
    }
    return ret;
}

/* ---- create ---- */

static char *new_id(const Qcow2 *s)
{
    uint64_t max = 0;
    for (uint32_t i = 0; i < s->n_snapshots; i++) {
        max = MAX(max, g_ascii_strtoull(s->snapshots[i].id, NULL, 10));
    }
    return g_strdup_printf("%" G_GUINT64_FORMAT, MIN(max, UINT64_MAX - 1) + 1);
}

/* Counts up, flags off, all durable. */
static int share_active(Qcow2 *s)
{
    fiber_mutex_lock(&s->lock);
    int ret = check_tree_room(s, s->l1.entries, s->l1.n);
    ret = ret < 0 ? ret : count_tree(s, s->l1.entries, s->l1.n, 1);
    ret = ret < 0 ? ret : qcow2_cache_write_dirty(s->rb_cache);
    fiber_mutex_unlock(&s->lock);
    ret = ret < 0 ? ret : node_flush(s->n->file);
    ret = ret < 0 ? ret : flags_of_active(s, false);
    return ret < 0 ? ret : qcow2_sync(s);
}

static int write_l1_copy(Qcow2 *s, const uint64_t *entries, uint64_t n, uint64_t *at)
{
    uint64_t bytes = MAX(n * 8, 8);
    g_autofree uint8_t *copy = g_try_malloc0(bytes);
    for (uint64_t i = 0; copy && i < n; i++) {
        st_be64(copy + i * 8, entries[i] & ~QCOW2_COPIED);
    }
    return copy ? write_at_new_place(s, copy, bytes, at) : -ENOMEM;
}

static int create(Qcow2 *s, Qcow2Snapshot *fresh)
{
    int ret = qcow2_sync(s);
    ret = ret < 0 ? ret : share_active(s);
    ret = ret < 0 ? ret : write_l1_copy(s, s->l1.entries, s->l1.n, &fresh->l1_offset);
    if (ret < 0) {
        return ret;
    }
    uint32_t n = s->n_snapshots;
    Qcow2Snapshot *list = g_try_new0(Qcow2Snapshot, n + 1);
    if (!list) {
        return -ENOMEM;
    }
    memcpy(list, s->snapshots, n * sizeof(*list));
    list[n] = *fresh;
    ret = publish_list(s, list, n + 1);
    if (ret < 0) {
        g_free(list);
        return ret;
    }
    g_free(s->snapshots);
    s->snapshots = list;
    fiber_mutex_lock(&s->lock);
    qcow2_meta_add(s, fresh->l1_offset, MAX(fresh->l1_size * 8ull, 8), QCOW2_META_SNAPSHOTS);
    fiber_mutex_unlock(&s->lock);
    return qcow2_sync(s);
}

int qcow2_snapshot_create(BlockNode *n, const BlockSnapshot *b, Error **errp)
{
    Qcow2 *s = n->s;
    Qcow2Range r;
    if (!possible(s, errp)) {
        return -ENOTSUP;
    }
    if (s->n_snapshots >= QCOW2_MAX_SNAPSHOTS || strlen(b->name) > 65535) {
        error_set(errp, "'%s' cannot have another snapshot", node_filename(n));
        return -EFBIG;
    }
    claim_all(s, &r);
    Qcow2Snapshot fresh = {.l1_size = (uint32_t)s->l1.n,
                           .id = b->id && *b->id ? g_strdup(b->id) : new_id(s),
                           .name = g_strdup(b->name),
                           .date_sec = b->date_sec,
                           .date_nsec = b->date_nsec,
                           .vm_clock_ns = b->vm_clock_ns,
                           .vm_state_size = b->vm_state_size,
                           .disk_size = n->length,
                           .icount = b->icount};
    int ret;
    if (find_snapshot(s, fresh.id) >= 0 && b->id && *b->id) {
        ret = -EEXIST;
    } else {
        ret = create(s, &fresh);
    }
    if (ret == 0) {
        /* The state of the machine belongs to the snapshot from now on. */
        ret = qcow2_drop_l1_from(s, DIV_ROUND_UP(n->length, s->l2_entries << s->cluster_bits));
    }
    bool listed = s->n_snapshots && s->snapshots[s->n_snapshots - 1].name == fresh.name;
    qcow2_range_end(s, &r);
    if (!listed) {
        g_free(fresh.id);
        g_free(fresh.name);
    }
    return failed(s, ret, "create", b->name, errp);
}

/* ---- delete ---- */

static int read_l1(Qcow2 *s, const Qcow2Snapshot *sn, uint64_t **out)
{
    uint64_t *l1 = g_try_malloc0(MAX(sn->l1_size, 1) * 8ull);
    int ret = l1 ? node_pread(s->n->file, sn->l1_offset, l1, sn->l1_size * 8ull) : -ENOMEM;
    for (uint32_t i = 0; ret == 0 && i < sn->l1_size; i++) {
        l1[i] = BITS_BE64(l1[i]);
    }
    *out = l1;
    return ret;
}

static int delete (Qcow2 *s, int index)
{
    Qcow2Snapshot gone = s->snapshots[index];
    g_autofree uint64_t *l1 = NULL;
    int ret = read_l1(s, &gone, &l1);
    ret = ret < 0 ? ret : qcow2_sync(s);
    if (ret < 0) {
        return ret;
    }
    uint32_t n = s->n_snapshots - 1;
    Qcow2Snapshot *list = g_try_new0(Qcow2Snapshot, MAX(n, 1));
    if (!list) {
        return -ENOMEM;
    }
    memcpy(list, s->snapshots, (size_t)index * sizeof(*list));
    memcpy(list + index, s->snapshots + index + 1, (n - (size_t)index) * sizeof(*list));
    ret = publish_list(s, list, n);
    if (ret < 0) {
        g_free(list);
        return ret;
    }
    g_free(s->snapshots);
    s->snapshots = list;
    g_free(gone.id);
    g_free(gone.name);
    g_free(gone.extra);
    /* Nothing points to it any more, durably. */
    uint64_t bytes = MAX(gone.l1_size * 8ull, 8);
    fiber_mutex_lock(&s->lock);
    qcow2_meta_del(s, gone.l1_offset, bytes, QCOW2_META_SNAPSHOTS);
    ret = count_tree(s, l1, gone.l1_size, -1);
    ret = ret < 0 ? ret : qcow2_refcount_add(s, gone.l1_offset, bytes, -1);
    fiber_mutex_unlock(&s->lock);
    ret = ret < 0 ? ret : flags_of_active(s, true);
    ret = ret < 0 ? ret : qcow2_sync(s);
    return ret < 0 ? ret : qcow2_sync(s); /* the counts of what the first one released */
}

int qcow2_snapshot_delete(BlockNode *n, const char *which, Error **errp)
{
    Qcow2 *s = n->s;
    Qcow2Range r;
    int i = possible(s, errp) ? require(s, which, errp) : -1;
    if (i < 0) {
        return -ENOENT;
    }
    claim_all(s, &r);
    int ret = delete (s, i);
    qcow2_range_end(s, &r);
    return failed(s, ret, "delete", which, errp);
}

/* ---- apply ---- */

/* The snapshot's L1 table, long enough for its disk, as the active one: nothing is our own. */
static int read_l1_as_active(Qcow2 *s, const Qcow2Snapshot *sn, Qcow2Table *out)
{
    uint64_t covers = s->l2_entries << s->cluster_bits;
    uint64_t entries = MAX(sn->l1_size, DIV_ROUND_UP(sn->disk_size, covers));
    g_autofree uint64_t *l1 = NULL;
    int ret = entries * 8 > QCOW2_MAX_L1_BYTES ? -EFBIG : read_l1(s, sn, &l1);
    if (ret == 0 && !qcow2_table_new(out, entries, sn->l1_offset)) {
        ret = -ENOMEM;
    }
    for (uint64_t i = 0; ret == 0 && i < sn->l1_size; i++) {
        out->entries[i] = l1[i] & ~QCOW2_COPIED;
    }
    return ret;
}

/* The header gets size and L1 table in one write. */
static int switch_l1(Qcow2 *s, uint64_t size, uint64_t entries, uint64_t at)
{
    uint8_t be[QCOW2_HDR_L1 + 12 - QCOW2_HDR_SIZE];
    st_be64(be, size);
    st_be32(be + 8, s->crypt_method);
    st_be32(be + QCOW2_HDR_L1 - QCOW2_HDR_SIZE, (uint32_t)entries);
    st_be64(be + QCOW2_HDR_L1 + 4 - QCOW2_HDR_SIZE, at);
    int ret = node_pwrite(s->n->file, QCOW2_HDR_SIZE, be, sizeof(be), 0);
    ret = ret < 0 ? ret : node_flush(s->n->file);
    if (ret < 0) {
        s->corrupt = true; /* which table is in use cannot be known: touch neither */
    }
    return ret;
}

/* The snapshot's clusters become the active ones, too: `l1` is written and the header names it. */
static int share_and_switch(Qcow2 *s, const Qcow2Snapshot *sn, Qcow2Table *l1)
{
    fiber_mutex_lock(&s->lock);
    int ret = check_tree_room(s, l1->entries, sn->l1_size);
    ret = ret < 0 ? ret : count_tree(s, l1->entries, sn->l1_size, 1);
    ret = ret < 0 ? ret : qcow2_cache_write_dirty(s->rb_cache);
    fiber_mutex_unlock(&s->lock);
    ret = ret < 0 ? ret : node_flush(s->n->file);
    ret = ret < 0 ? ret : flags_of_tree(s, l1->entries, sn->l1_size);
    ret = ret < 0 ? ret : write_l1_copy(s, l1->entries, l1->n, &l1->offset);
    ret = ret < 0 ? ret : qcow2_sync(s);
    return ret < 0 ? ret : switch_l1(s, sn->disk_size, l1->n, l1->offset);
}

static int apply(Qcow2 *s, const Qcow2Snapshot *sn)
{
    Qcow2Table l1 = {0};
    int ret = qcow2_sync(s);
    ret = ret < 0 ? ret : read_l1_as_active(s, sn, &l1);
    ret = ret < 0 ? ret : share_and_switch(s, sn, &l1);
    if (ret < 0) {
        qcow2_table_free(&l1);
        return ret;
    }
    fiber_mutex_lock(&s->lock);
    Qcow2Table old = s->l1;
    s->l1 = l1;
    s->n->length = sn->disk_size;
    qcow2_meta_build(s);
    ret = count_tree(s, old.entries, old.n, -1);
    if (old.n) {
        ret = ret < 0 ? ret : qcow2_refcount_add(s, old.offset, old.n * 8, -1);
    }
    fiber_mutex_unlock(&s->lock);
    qcow2_table_free(&old);
    return ret < 0 ? ret : qcow2_sync(s);
}

/* All of the disk is going to read differently: the bitmaps in the image say so first. */
static int announce_change(Qcow2 *s, uint64_t new_size)
{
    int ret = new_size > s->n->length ? qcow2_bitmaps_before_growing(s, new_size) : 0;
    for (GList *l = s->n->bitmaps; ret == 0 && l; l = l->next) {
        BlockBitmap *b = l->data;
        if (b->persistent && b->enabled) {
            ret = qcow2_bitmap_dirty(s->n, b, 0, b->size);
        }
    }
    return ret;
}

static void all_changed(BlockNode *n)
{
    bitmaps_resize(n);
    for (GList *l = n->bitmaps; l; l = l->next) {
        BlockBitmap *b = l->data;
        if (b->enabled) {
            bitmap_set(b, 0, b->size);
        }
    }
}

int qcow2_snapshot_apply(BlockNode *n, const char *which, Error **errp)
{
    Qcow2 *s = n->s;
    Qcow2Range r;
    int i = possible(s, errp) ? require(s, which, errp) : -1;
    if (i < 0) {
        return -ENOENT;
    }
    claim_all(s, &r);
    int ret = bitmaps_reserve(n, s->snapshots[i].disk_size) ? 0 : -ENOMEM;
    ret = ret < 0 ? ret : announce_change(s, s->snapshots[i].disk_size);
    ret = ret < 0 ? ret : apply(s, &s->snapshots[i]);
    qcow2_range_end(s, &r);
    if (ret == 0) {
        all_changed(n);
        ret = qcow2_bitmaps_after_shrinking(s);
    }
    return failed(s, ret, "apply", which, errp);
}

int qcow2_snapshot_show(BlockNode *n, const char *which, Error **errp)
{
    Qcow2 *s = n->s;
    int i = require(s, which, errp);
    if (i < 0) {
        return -ENOENT;
    }
    if (!n->flags.read_only) {
        error_set(errp, "a snapshot of '%s' can only be shown read-only", node_filename(n));
        return -EPERM;
    }
    const Qcow2Snapshot *sn = &s->snapshots[i];
    Qcow2Table l1 = {0};
    int ret = read_l1_as_active(s, sn, &l1);
    if (ret == 0) {
        qcow2_table_replace(&s->l1, &l1);
        s->shown_length = n->length;
        n->length = sn->disk_size;
    }
    return failed(s, ret, "show", which, errp);
}

/* ---- the machine's state: beyond what the disk's part of the L1 table covers ---- */

static uint64_t vmstate_start(const Qcow2 *s)
{
    uint64_t covers = s->l2_entries << s->cluster_bits;
    return DIV_ROUND_UP(s->n->length, covers) * covers;
}

int qcow2_vmstate_preadv(BlockNode *n, uint64_t off, const IoVec *v)
{
    Qcow2 *s = n->s;
    uint64_t at = vmstate_start(s) + off, end = s->l1.n * (s->l2_entries << s->cluster_bits);
    if (off > INT64_MAX / 2 || at > end || v->size > end - at) {
        return -EIO;
    }
    node_event(n->file, BLKEV_VMSTATE_LOAD);
    return qcow2_preadv(n, at, v);
}

int qcow2_vmstate_pwritev(BlockNode *n, uint64_t off, const IoVec *v)
{
    Qcow2 *s = n->s;
    uint64_t at = vmstate_start(s) + off;
    if (off > INT64_MAX / 2 || n->flags.read_only) {
        return n->flags.read_only ? -EPERM : -EFBIG;
    }
    node_event(n->file, BLKEV_VMSTATE_SAVE);
    int ret = qcow2_cover(s, at + v->size);
    return ret < 0 ? ret : qcow2_pwritev(n, at, v, 0);
}
