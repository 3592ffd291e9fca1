/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Refcount structures made anew, behind the end of the file: nothing that exists is overwritten
 * until the header points to what is complete and durable.  amend uses it for other widths.
 */
#include "block/qcow2/rebuild.h"

#include <errno.h>

/* Numbers of the blocks that are needed, in order. */
static GArray *plan_blocks(const Qcow2Rebuild *r, uint64_t start, uint64_t *table_clusters)
{
    uint64_t rb = (BIT(r->cluster_bits) * 8) >> r->order, own = 0;
    for (;;) {
        GArray *a = g_array_new(FALSE, FALSE, sizeof(uint64_t));
        uint64_t last = (start + own + rb - 1) / rb;
        for (uint64_t b = 0; b < MAX(last, 1); b++) {
            bool needed = own && b >= start / rb && b <= (start + own - 1) / rb;
            for (uint64_t c = b * rb; !needed && c < (b + 1) * rb && c < start; c++) {
                if (r->empty(r->opaque, c)) {
                    c |= (1u << 10) - 1;
                    continue;
                }
                needed = r->get(r->opaque, c) != 0;
            }
            if (needed) {
                g_array_append_val(a, b);
            }
        }
        uint64_t highest = a->len ? g_array_index(a, uint64_t, a->len - 1) : 0;
        *table_clusters = DIV_ROUND_UP((highest + 1) * 8, BIT(r->cluster_bits));
        if (a->len + *table_clusters <= own) {
            return a;
        }
        own = a->len + *table_clusters;
        g_array_free(a, TRUE);
    }
}

void qcow2_count_put(uint8_t *block, unsigned order, uint64_t i, uint64_t v)
{
    switch (order) {
    case 3:
        block[i] = (uint8_t)v;
        break;
    case 4:
        st_be16(block + i * 2, (uint16_t)v);
        break;
    case 5:
        st_be32(block + i * 4, (uint32_t)v);
        break;
    case 6:
        st_be64(block + i * 8, v);
        break;
    default: {
        unsigned bits = 1u << order, per = 8 / bits;
        block[i / per] |= (uint8_t)(v << (i % per * bits));
    }
    }
}

int qcow2_rebuild_write(const Qcow2Rebuild *r, Qcow2Table *out, uint32_t *clusters)
{
    uint64_t cs = BIT(r->cluster_bits), rb = cs * 8 >> r->order, tc;
    uint64_t start = DIV_ROUND_UP(r->file->length, cs), max = UINT64_MAX >> (64 - (1u << r->order));
    GArray *blocks = plan_blocks(r, start, &tc);
    uint64_t own_end = start + blocks->len + tc;
    if (tc * cs > QCOW2_MAX_REFTABLE_BYTES && tc > 1) {
        g_array_free(blocks, TRUE);
        return -EFBIG;
    }
    uint64_t at = (start + blocks->len) << r->cluster_bits;
    uint8_t *buf = g_try_malloc(cs);
    int ret = qcow2_table_new(out, tc * cs / 8, at) && buf ? 0 : -ENOMEM;
    for (guint i = 0; ret == 0 && i < blocks->len; i++) {
        uint64_t b = g_array_index(blocks, uint64_t, i);
        memset(buf, 0, cs);
        for (uint64_t c = b * rb; c < (b + 1) * rb && c < own_end; c++) {
            uint64_t v = c >= start ? 1 : r->get(r->opaque, c);
            if (v > max) {
                ret = -EOVERFLOW;
                break;
            }
            if (v) {
                qcow2_count_put(buf, r->order, c - b * rb, v);
            }
        }
        out->entries[b] = (start + i) << r->cluster_bits;
        ret = ret < 0 ? ret : node_pwrite(r->file, out->entries[b], buf, cs, 0);
    }
    for (uint64_t t = 0; ret == 0 && t < tc; t++) {
        for (uint64_t i = 0; i < cs / 8; i++) {
            st_be64(buf + i * 8, out->entries[t * cs / 8 + i]);
        }
        ret = node_pwrite(r->file, at + t * cs, buf, cs, 0);
    }
    ret = ret < 0 ? ret : node_flush(r->file);
    g_free(buf);
    g_array_free(blocks, TRUE);
    if (ret < 0) {
        qcow2_table_free(out);
    }
    *clusters = (uint32_t)tc;
    return ret;
}

void qcow2_adopt_refcounts(Qcow2 *s, Qcow2Table *fresh, uint32_t clusters)
{
    size_t slice = qcow2_cache_slice(s->rb_cache);
    qcow2_cache_free(s->rb_cache);
    s->rb_cache = qcow2_cache_new(s, QCOW2_META_REFBLOCK, slice, s->rb_cache_bytes);
    qcow2_table_replace(&s->rt, fresh);
    s->rt_clusters = clusters;
    s->free_hint = 0;
    s->pack_at = 0;
    s->high_water = qcow2_clusters(s, s->n->file->length);
    qcow2_meta_build(s);
}

static uint64_t count_of(void *opaque, uint64_t c)
{
    const Qcow2Checker *k = opaque;
    uint64_t v = qcow2_counts_get(&k->counts, c);
    /* What the old structures are was counted for them; they go. */
    return v && g_hash_table_contains(k->s->meta, (gpointer)(uintptr_t)c) &&
                   !(qcow2_meta_kind(k->s, c) &
                     ~(unsigned)(QCOW2_META_REFTABLE | QCOW2_META_REFBLOCK)) &&
                   v == 1
               ? 0
               : v;
}

static bool part_empty(void *opaque, uint64_t c)
{
    return qcow2_counts_chunk_empty(&((const Qcow2Checker *)opaque)->counts, c);
}

int qcow2_rebuild_refcounts(Qcow2Checker *k)
{
    Qcow2 *s = k->s;
    Qcow2Rebuild r = {s->n->file, s->cluster_bits, s->refcount_order, count_of, part_empty, k};
    Qcow2Table fresh;
    uint32_t clusters;
    block_progress_message(k->p, "Rebuilding refcount structure");
    int ret = qcow2_rebuild_write(&r, &fresh, &clusters);
    if (ret < 0) {
        return ret;
    }
    uint8_t be[12];
    st_be64(be, fresh.offset);
    st_be32(be + 8, clusters);
    ret = node_pwrite(s->n->file, QCOW2_HDR_REFTABLE, be, sizeof(be), 0);
    ret = ret < 0 ? ret : node_flush(s->n->file);
    if (ret < 0) {
        qcow2_table_free(&fresh);
        return ret;
    }
    k->out->corruptions_fixed += k->out->corruptions;
    k->out->leaks_fixed += k->out->leaks;
    k->out->corruptions = k->out->leaks = 0;
    qcow2_adopt_refcounts(s, &fresh, clusters);
    /* What is left to find is found anew, by the new counts. */
    qcow2_counts_free(&k->counts);
    k->out->allocated = k->out->fragmented = k->out->compressed = 0;
    k->next_offset = 0;
    k->rebuilt = true;
    return qcow2_counts_init(&k->counts, qcow2_clusters(s, s->n->file->length))
               ? qcow2_count_references(k)
               : -ENOMEM;
}
