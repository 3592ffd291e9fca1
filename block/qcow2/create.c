/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A new, empty image: header, refcount table, its blocks, L1 table. */
#include "block/qcow2/qcow2.h"

#include <errno.h>

typedef struct Layout {
    uint64_t cluster_size, l1_entries;
    uint64_t table, blocks, l1; /* clusters of each, in this order from cluster 1 on */
    uint64_t total;
    unsigned cluster_bits, order;
} Layout;

static bool plan(const Qcow2CreateOptions *o, Layout *l, Error **errp)
{
    unsigned version = o->version ? o->version : 3;
    l->cluster_bits = o->cluster_bits ? o->cluster_bits : 16;
    l->order = o->refcount_order_set ? (unsigned)o->refcount_order : 4;
    l->cluster_size = BIT(l->cluster_bits);
    if ((version != 2 && version != 3) || l->cluster_bits < 9 || l->cluster_bits > 21 ||
        l->order > 6 || (version == 2 && (l->order != 4 || o->zstd || o->lazy_refcounts))) {
        error_set(errp, "cannot create a qcow2 image with these settings");
        return false;
    }
    uint64_t covers = l->cluster_size * (l->cluster_size / 8);
    l->l1_entries = DIV_ROUND_UP(o->size, covers);
    if (o->size > INT64_MAX - l->cluster_size || l->l1_entries * 8 > QCOW2_MAX_L1_BYTES) {
        error_set(errp,
                  "a qcow2 image with clusters of %" G_GUINT64_FORMAT
                  " bytes cannot have %" G_GUINT64_FORMAT " bytes",
                  l->cluster_size, o->size);
        return false;
    }
    uint64_t per_block = l->cluster_size * 8 >> l->order, per_table = l->cluster_size / 8;
    l->l1 = MAX(DIV_ROUND_UP(l->l1_entries * 8, l->cluster_size), 1);
    l->blocks = 1;
    for (;;) {
        l->table = DIV_ROUND_UP(l->blocks, per_table);
        l->total = 1 + l->table + l->blocks + l->l1;
        uint64_t need = DIV_ROUND_UP(l->total, per_block);
        if (need <= l->blocks) {
            return true;
        }
        l->blocks = need;
    }
}

static void set_count(uint8_t *blocks, uint64_t cluster, unsigned order)
{
    if (order >= 3) {
        unsigned bytes = 1u << (order - 3);
        blocks[cluster * bytes + bytes - 1] = 1; /* big-endian 1 */
    } else {
        unsigned bits = 1u << order, per = 8 / bits;
        blocks[cluster / per] |= (uint8_t)(1u << cluster % per * bits);
    }
}

static size_t put_extension(uint8_t *h, size_t pos, uint32_t magic, const void *data, size_t len)
{
    st_be32(h + pos, magic);
    st_be32(h + pos + 4, (uint32_t)len);
    memcpy(h + pos + 8, data, len);
    return pos + 8 + ALIGN_UP(len, (size_t)8);
}

static size_t put_feature_names(uint8_t *h, size_t pos)
{
    static const struct {
        uint8_t type, bit;
        char name[46];
    } features[] = {
        {0, 0, "dirty bit"},        {0, 1, "corrupt bit"},         {0, 2, "external data file"},
        {0, 3, "compression type"}, {0, 4, "extended L2 entries"}, {1, 0, "lazy refcounts"},
    };
    return put_extension(h, pos, 0x6803f857u, features, sizeof(features));
}

static bool fill_header(const Qcow2CreateOptions *o, const Layout *l, uint8_t *h, Error **errp)
{
    unsigned version = o->version ? o->version : 3;
    size_t pos = version >= 3 ? 112 : 72;
    st_be32(h, QCOW2_MAGIC);
    st_be32(h + 4, version);
    st_be32(h + 20, l->cluster_bits);
    st_be64(h + QCOW2_HDR_SIZE, o->size);
    st_be32(h + QCOW2_HDR_L1, (uint32_t)l->l1_entries);
    st_be64(h + QCOW2_HDR_L1 + 4, (1 + l->table + l->blocks) * l->cluster_size);
    st_be64(h + QCOW2_HDR_REFTABLE, l->cluster_size);
    st_be32(h + QCOW2_HDR_REFTABLE + 8, (uint32_t)l->table);
    if (version >= 3) {
        st_be64(h + QCOW2_HDR_INCOMPAT, o->zstd ? QCOW2_INCOMPAT_COMPRESSION : 0);
        st_be64(h + 80, o->lazy_refcounts ? QCOW2_COMPAT_LAZY_REFCOUNTS : 0);
        st_be32(h + 96, l->order);
        st_be32(h + 100, 112);
        h[104] = o->zstd ? 1 : 0;
    }
    if (o->backing_format) {
        pos = put_extension(h, pos, 0xe2792acau, o->backing_format,
                            MIN(strlen(o->backing_format), 15));
    }
    size_t name_len = o->backing_file ? strlen(o->backing_file) : 0;
    if (version >= 3 && pos + 8 + 48 * 6 + 8 + name_len <= l->cluster_size) {
        pos = put_feature_names(h, pos);
    }
    pos += 8; /* the end of the extensions is all zeroes */
    if (name_len > 1023 || pos + name_len > l->cluster_size) {
        error_set(errp, "the backing file's name does not fit into the first cluster");
        return false;
    }
    if (name_len) {
        st_be64(h + 8, pos);
        st_be32(h + 16, (uint32_t)name_len);
        memcpy(h + pos, o->backing_file, name_len);
    }
    return true;
}

bool qcow2_create(BlockNode *file, const Qcow2CreateOptions *o, Error **errp)
{
    Layout l;
    if (!plan(o, &l, errp)) {
        return false;
    }
    g_autofree uint8_t *image = g_try_malloc0(l.total * l.cluster_size);
    if (!image) {
        error_set(errp, "not enough memory to create the image");
        return false;
    }
    uint8_t *table = image + l.cluster_size, *blocks = table + l.table * l.cluster_size;
    for (uint64_t b = 0; b < l.blocks; b++) {
        st_be64(table + b * 8, (1 + l.table + b) * l.cluster_size);
    }
    for (uint64_t c = 0; c < l.total; c++) {
        set_count(blocks, c, l.order);
    }
    if (!fill_header(o, &l, image, errp)) {
        return false;
    }
    /* Space that looks allocated but is not is cheaper: what is beyond the blocks is zeroes. */
    uint64_t used = (1 + l.table + l.blocks) * l.cluster_size;
    int ret = file->drv->truncate ? node_truncate(file, 0, NULL) : 0;
    ret = ret == -ENOTSUP ? 0 : ret;
    ret = ret < 0 ? ret : node_pwrite(file, 0, image, used, 0);
    ret = ret < 0 ? ret : node_zero(file, used, l.total * l.cluster_size - used, 0);
    ret = ret < 0 ? ret : node_flush(file);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot create an image in '%s'", node_filename(file));
        return false;
    }
    return true;
}
