/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The header and its extensions, from what is known in memory. */
#include "block/qcow2/qcow2.h"

#include <errno.h>

typedef struct Cursor {
    uint8_t *h;
    uint64_t pos, end;
    bool full;
} Cursor;

static void put_extension(Cursor *c, uint32_t magic, const void *data, size_t len)
{
    uint64_t need = 8 + ALIGN_UP((uint64_t)len, 8ull);
    if (c->full || need > c->end - c->pos) {
        c->full = true;
        return;
    }
    st_be32(c->h + c->pos, magic);
    st_be32(c->h + c->pos + 4, (uint32_t)len);
    memcpy(c->h + c->pos + 8, data, len);
    c->pos += need;
}

typedef struct FeatureName {
    uint8_t type, bit;
    char name[46];
} FeatureName;

static const FeatureName features[] = {
    {0, 0, "dirty bit"},        {0, 1, "corrupt bit"},         {0, 2, "external data file"},
    {0, 3, "compression type"}, {0, 4, "extended L2 entries"}, {1, 0, "lazy refcounts"},
    {2, 0, "bitmaps"},          {2, 1, "raw external data"},
};

static void put_fields(const Qcow2 *s, uint8_t *h)
{
    st_be32(h, QCOW2_MAGIC);
    st_be32(h + 4, s->version);
    st_be32(h + 20, s->cluster_bits);
    st_be64(h + QCOW2_HDR_SIZE, s->shown_length ? s->shown_length : s->n->length);
    st_be32(h + 32, s->crypt_method);
    st_be32(h + QCOW2_HDR_L1, (uint32_t)s->l1.n);
    st_be64(h + QCOW2_HDR_L1 + 4, s->l1.offset);
    st_be64(h + QCOW2_HDR_REFTABLE, s->rt.offset);
    st_be32(h + QCOW2_HDR_REFTABLE + 8, s->rt_clusters);
    st_be32(h + 60, s->n_snapshots);
    st_be64(h + 64, s->snapshots_offset);
    if (s->version >= 3) {
        st_be64(h + QCOW2_HDR_INCOMPAT, s->incompat);
        st_be64(h + 80, s->compat);
        st_be64(h + QCOW2_HDR_AUTOCLEAR, s->autoclear);
        st_be32(h + 96, s->refcount_order);
        st_be32(h + 100, 112);
        h[104] = s->compression;
    }
}

static void put_extensions(const Qcow2 *s, Cursor *c)
{
    if (s->backing_format) {
        put_extension(c, QCOW2_EXT_BACKING_FORMAT, s->backing_format,
                      MIN(strlen(s->backing_format), 15));
    }
    if (s->data_file) {
        put_extension(c, QCOW2_EXT_DATA_FILE, s->data_file, strlen(s->data_file));
    }
    if (s->crypto_length) {
        uint8_t where[16];
        st_be64(where, s->crypto_offset);
        st_be64(where + 8, s->crypto_length);
        put_extension(c, QCOW2_EXT_CRYPTO, where, sizeof(where));
    }
    if (s->n_bitmaps) {
        uint8_t b[24] = {0};
        st_be32(b, s->n_bitmaps);
        st_be64(b + 8, s->bitmaps_bytes);
        st_be64(b + 16, s->bitmaps_offset);
        put_extension(c, QCOW2_EXT_BITMAPS, b, sizeof(b));
    }
    for (guint i = 0; s->extensions && i < s->extensions->len; i++) {
        const Qcow2Extension *e = &g_array_index(s->extensions, Qcow2Extension, i);
        put_extension(c, e->magic, e->data, e->len);
    }
}

bool qcow2_build_header(const Qcow2 *s, uint8_t *h)
{
    size_t name_len = s->backing_file ? strlen(s->backing_file) : 0;
    put_fields(s, h);
    Cursor c = {h, s->version >= 3 ? 112 : 72, s->cluster_size - 8, false};
    put_extensions(s, &c);
    /* Names of features are for those who do not know them: a nicety, if there is room. */
    if (s->version >= 3 && c.pos + 8 + sizeof(features) + name_len <= c.end) {
        put_extension(&c, QCOW2_EXT_FEATURE_NAMES, features, sizeof(features));
    }
    uint64_t name_at = c.pos + 8; /* the end of the extensions is all zeroes */
    if (c.full || name_len > 1023 || name_at + name_len > s->cluster_size) {
        return false;
    }
    if (name_len) {
        st_be64(h + 8, name_at);
        st_be32(h + 16, (uint32_t)name_len);
        memcpy(h + name_at, s->backing_file, name_len);
    }
    return true;
}

int qcow2_header_prepare(Qcow2 *s, Qcow2HeaderEdit *e)
{
    e->now = g_try_malloc0(s->cluster_size);
    e->old = g_try_malloc(s->cluster_size);
    int ret = e->now && e->old ? node_pread(s->n->file, 0, e->old, s->cluster_size) : -ENOMEM;
    if (ret < 0) {
        qcow2_header_edit_free(e);
    }
    return ret;
}

void qcow2_header_edit_free(Qcow2HeaderEdit *e)
{
    g_clear_pointer(&e->now, g_free);
    g_clear_pointer(&e->old, g_free);
}

int qcow2_header_commit(Qcow2 *s, Qcow2HeaderEdit *e)
{
    const uint8_t *now = e->now, *old = e->old;
    int ret = qcow2_build_header(s, e->now) ? 0 : -ENOSPC;
    /* From the first sector that differs to the last: mostly it is one, which is atomic. */
    uint64_t first = 0, last = s->cluster_size;
    while (ret == 0 && first < last && !memcmp(old + first, now + first, 512)) {
        first += 512;
    }
    while (ret == 0 && last > first && !memcmp(old + last - 512, now + last - 512, 512)) {
        last -= 512;
    }
    if (ret == 0 && first < last) {
        ret = node_pwrite(s->n->file, first, now + first, last - first, 0);
        ret = ret < 0 ? ret : node_flush(s->n->file);
    }
    qcow2_header_edit_free(e);
    return ret;
}

int qcow2_write_header(Qcow2 *s)
{
    Qcow2HeaderEdit e;
    int ret = qcow2_header_prepare(s, &e);
    return ret < 0 ? ret : qcow2_header_commit(s, &e);
}
