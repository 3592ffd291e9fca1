/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tables kept whole in memory, and the map of metadata clusters. */
#include "block/qcow2/qcow2.h"

#include <errno.h>

#define PART_ENTRIES 64u /* 512 bytes */

struct Qcow2TableCopy {
    uint64_t offset;
    GArray *parts; /* uint64_t: numbers of the parts */
    uint8_t *data; /* 512 bytes each, as on disk */
};

static uint64_t parts_of(uint64_t n)
{
    return DIV_ROUND_UP(n, PART_ENTRIES);
}

bool qcow2_table_load(Qcow2 *s, Qcow2Table *t, const char *what, Error **errp)
{
    uint64_t bytes = t->n * 8;
    t->entries = g_try_malloc0(MAX(parts_of(t->n) * 512, 512));
    t->dirty = g_try_malloc0(MAX(parts_of(t->n), 1));
    if (!t->entries || !t->dirty) {
        error_set(errp, "'%s': not enough memory for the %s", node_filename(s->n), what);
        return false;
    }
    if (t == &s->rt) {
        node_event(s->n->file, BLKEV_REFTABLE_LOAD);
    }
    int ret = bytes ? node_pread(s->n->file, t->offset, t->entries, bytes) : 0;
    if (ret < 0) {
        error_set_errno(errp, -ret, "'%s': cannot read the %s", node_filename(s->n), what);
        return false;
    }
    for (uint64_t i = 0; i < t->n; i++) {
        t->entries[i] = BITS_BE64(t->entries[i]);
    }
    return true;
}

void qcow2_table_set(Qcow2Table *t, uint64_t i, uint64_t v)
{
    t->entries[i] = v;
    t->dirty[i / PART_ENTRIES] = 1;
    t->any_dirty = true;
}

bool qcow2_table_new(Qcow2Table *t, uint64_t n, uint64_t offset)
{
    *t = (Qcow2Table){.entries = g_try_malloc0(MAX(parts_of(n) * 512, 512)),
                      .dirty = g_try_malloc0(MAX(parts_of(n), 1)),
                      .n = n,
                      .offset = offset};
    if (!t->entries || !t->dirty) {
        qcow2_table_free(t);
        return false;
    }
    return true;
}

void qcow2_table_replace(Qcow2Table *t, Qcow2Table *fresh)
{
    qcow2_table_free(t);
    *t = *fresh;
    *fresh = (Qcow2Table){0};
}

void qcow2_table_free(Qcow2Table *t)
{
    g_free(t->entries);
    g_free(t->dirty);
    memset(t, 0, sizeof(*t));
}

int qcow2_table_take_dirty(Qcow2Table *t, Qcow2TableCopy **out)
{
    *out = NULL;
    if (!t->any_dirty) {
        return 0;
    }
    Qcow2TableCopy *c = g_new0(Qcow2TableCopy, 1);
    c->offset = t->offset;
    c->parts = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    for (uint64_t p = 0; p < parts_of(t->n); p++) {
        if (t->dirty[p]) {
            g_array_append_val(c->parts, p);
        }
    }
    c->data = g_try_malloc(MAX(c->parts->len, 1) * 512ull);
    if (!c->data) {
        qcow2_table_copy_free(c);
        return -ENOMEM;
    }
    for (guint i = 0; i < c->parts->len; i++) {
        uint64_t part = g_array_index(c->parts, uint64_t, i), first = part * PART_ENTRIES;
        t->dirty[part] = 0;
        for (unsigned k = 0; k < PART_ENTRIES; k++) {
            st_be64(c->data + i * 512 + k * 8, first + k < t->n ? t->entries[first + k] : 0);
        }
    }
    t->any_dirty = false;
    *out = c;
    return 0;
}

int qcow2_table_write_copy(Qcow2 *s, const Qcow2TableCopy *c)
{
    for (guint i = 0; i < c->parts->len; i++) {
        uint64_t at = c->offset + g_array_index(c->parts, uint64_t, i) * 512;
        int ret = node_pwrite(s->n->file, at, c->data + i * 512, 512, 0);
        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

void qcow2_table_restore_dirty(Qcow2Table *t, const Qcow2TableCopy *c)
{
    for (guint i = 0; i < c->parts->len; i++) {
        t->dirty[g_array_index(c->parts, uint64_t, i)] = 1;
    }
    t->any_dirty = true;
}

void qcow2_table_copy_free(Qcow2TableCopy *c)
{
    if (c) {
        g_array_free(c->parts, TRUE);
        g_free(c->data);
        g_free(c);
    }
}

/* ---- what lies where ---- */

static gpointer cluster_key(uint64_t cluster)
{
    return (gpointer)(uintptr_t)cluster;
}

void qcow2_meta_add(Qcow2 *s, uint64_t offset, uint64_t len, unsigned kind)
{
    for (uint64_t c = offset >> s->cluster_bits; c < qcow2_clusters(s, offset + len); c++) {
        unsigned old = GPOINTER_TO_UINT(g_hash_table_lookup(s->meta, cluster_key(c)));
        g_hash_table_insert(s->meta, cluster_key(c), GUINT_TO_POINTER(old | kind));
    }
}

void qcow2_meta_del(Qcow2 *s, uint64_t offset, uint64_t len, unsigned kind)
{
    for (uint64_t c = offset >> s->cluster_bits; c < qcow2_clusters(s, offset + len); c++) {
        unsigned old = GPOINTER_TO_UINT(g_hash_table_lookup(s->meta, cluster_key(c)));
        if (old & ~kind) {
            g_hash_table_insert(s->meta, cluster_key(c), GUINT_TO_POINTER(old & ~kind));
        } else {
            g_hash_table_remove(s->meta, cluster_key(c));
        }
    }
}

unsigned qcow2_meta_kind(const Qcow2 *s, uint64_t cluster)
{
    return GPOINTER_TO_UINT(g_hash_table_lookup(s->meta, cluster_key(cluster)));
}

void qcow2_meta_build(Qcow2 *s)
{
    if (s->meta) {
        g_hash_table_destroy(s->meta);
    }
    s->meta = g_hash_table_new(NULL, NULL);
    qcow2_meta_add(s, 0, s->cluster_size, QCOW2_META_HEADER);
    if (s->l1.n) {
        qcow2_meta_add(s, s->l1.offset, s->l1.n * 8, QCOW2_META_L1);
    }
    for (uint64_t i = 0; i < s->l1.n; i++) {
        uint64_t off = s->l1.entries[i] & QCOW2_L1_OFFSET_MASK;
        if (off) {
            qcow2_meta_add(s, off, s->cluster_size, QCOW2_META_L2);
        }
    }
    qcow2_meta_add(s, s->rt.offset, (uint64_t)s->rt_clusters << s->cluster_bits,
                   QCOW2_META_REFTABLE);
    for (uint64_t i = 0; i < s->rt.n; i++) {
        uint64_t off = s->rt.entries[i] & ~511ull;
        if (off) {
            qcow2_meta_add(s, off, s->cluster_size, QCOW2_META_REFBLOCK);
        }
    }
    if (s->crypto_length) {
        qcow2_meta_add(s, s->crypto_offset, s->crypto_length, QCOW2_META_CRYPTO);
    }
    if (s->bitmaps_bytes) {
        qcow2_meta_add(s, s->bitmaps_offset, s->bitmaps_bytes, QCOW2_META_BITMAPS);
    }
    if (s->n_snapshots) {
        qcow2_meta_add(s, s->snapshots_offset, s->snapshots_bytes, QCOW2_META_SNAPSHOTS);
    }
    for (uint32_t i = 0; i < s->n_snapshots; i++) {
        qcow2_meta_add(s, s->snapshots[i].l1_offset, (uint64_t)s->snapshots[i].l1_size * 8,
                       QCOW2_META_SNAPSHOTS);
    }
}

int qcow2_check_overlap(Qcow2 *s, uint64_t offset, uint64_t len, unsigned allowed, const char *what)
{
    static const char *const names[] = {
        "the header",       "the L1 table",  "an L2 table",           "the refcount table",
        "a refcount block", "the snapshots", "the encryption header", "the bitmap directory"};
    for (uint64_t c = offset >> s->cluster_bits; c < qcow2_clusters(s, offset + len); c++) {
        unsigned kind = GPOINTER_TO_UINT(g_hash_table_lookup(s->meta, cluster_key(c)));
        kind &= ~allowed;
        if (kind) {
            return qcow2_corrupt(s, "writing %s at %#" G_GINT64_MODIFIER "x would destroy %s", what,
                                 offset, names[__builtin_ctz(kind)]);
        }
    }
    return 0;
}
