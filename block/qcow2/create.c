/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A new, empty image: header, refcount table, its blocks, L1 table. */
#include "block/qcow2/qcow2.h"

#include <errno.h>

typedef struct Layout {
    uint64_t cluster_size, l1_entries;
    uint64_t table, blocks, l1, crypto; /* clusters of each, in this order from cluster 1 on */
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
        l->order > 6 || (o->extended_l2 && l->cluster_bits < 14) ||
        (version == 2 &&
         (l->order != 4 || o->zstd || o->lazy_refcounts || o->extended_l2 || o->data_file))) {
        error_set(errp, "cannot create a qcow2 image with these settings");
        return false;
    }
    uint64_t covers = l->cluster_size * (l->cluster_size / (o->extended_l2 ? 16 : 8));
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
    l->crypto = DIV_ROUND_UP(o->crypto_length, l->cluster_size);
    l->blocks = 1;
    for (;;) {
        l->table = DIV_ROUND_UP(l->blocks, per_table);
        l->total = 1 + l->table + l->blocks + l->l1 + l->crypto;
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

/* The header is built from a Qcow2 that says what the new image is. */
static bool fill_header(const Qcow2CreateOptions *o, const Layout *l, uint8_t *h, Error **errp)
{
    BlockNode n = {.length = o->size};
    Qcow2 s = {.n = &n,
               .version = o->version ? o->version : 3,
               .cluster_bits = l->cluster_bits,
               .cluster_size = l->cluster_size,
               .refcount_order = l->order,
               .compression = o->zstd,
               .compat = o->lazy_refcounts ? QCOW2_COMPAT_LAZY_REFCOUNTS : 0,
               .autoclear = o->data_file_raw ? QCOW2_AUTOCLEAR_DATA_RAW : 0,
               .backing_file = (char *)o->backing_file,
               .backing_format = (char *)o->backing_format,
               .data_file = (char *)o->data_file,
               .crypto_offset = o->crypto_offset,
               .crypto_length = o->crypto_length,
               .crypt_method = o->crypto_length ? 2 : 0};
    s.incompat = (o->zstd ? QCOW2_INCOMPAT_COMPRESSION : 0) |
                 (o->extended_l2 ? QCOW2_INCOMPAT_EXTL2 : 0) |
                 (o->data_file ? QCOW2_INCOMPAT_DATA_FILE : 0);
    s.l1.n = l->l1_entries;
    s.l1.offset = (1 + l->table + l->blocks) * l->cluster_size;
    s.rt.offset = l->cluster_size;
    s.rt_clusters = (uint32_t)l->table;
    if (!qcow2_build_header(&s, h)) {
        error_set(errp, "the backing file's name does not fit into the first cluster");
        return false;
    }
    return true;
}

bool qcow2_create(BlockNode *file, const Qcow2CreateOptions *o, Error **errp)
{
    Layout l;
    if (!plan(o, &l, errp)) {
        return false;
    }
    g_autofree uint8_t *image = g_try_malloc0((1 + l.table + l.blocks) * l.cluster_size);
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
    Qcow2CreateOptions placed = *o;
    placed.crypto_offset = l.crypto ? (l.total - l.crypto) * l.cluster_size : 0;
    if (!fill_header(&placed, &l, image, errp)) {
        return false;
    }
    /* Space that looks allocated but is not is cheaper: what is beyond the blocks is zeroes. */
    uint64_t used = (1 + l.table + l.blocks) * l.cluster_size;
    int ret = file->drv->truncate ? node_truncate(file, 0, NULL) : 0;
    ret = ret == -ENOTSUP ? 0 : ret;
    ret = ret < 0 ? ret : node_pwrite(file, 0, image, used, 0);
    ret = ret < 0 ? ret : node_zero(file, used, l.total * l.cluster_size - used, 0);
    if (ret == 0 && l.crypto) {
        ret = node_pwrite(file, placed.crypto_offset, o->crypto_header, o->crypto_length, 0);
    }
    ret = ret < 0 ? ret : node_flush(file);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot create an image in '%s'", node_filename(file));
        return false;
    }
    return true;
}
