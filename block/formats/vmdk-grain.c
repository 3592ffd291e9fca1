/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading and writing of VMDK images: grains, their tables, and flat extents. */
#include "block/formats/vmdk.h"

#include <errno.h>
#include <zlib.h>

VmdkExtent *vmdk_extent_at(const Vmdk *s, uint64_t off)
{
    for (guint i = 0; i < s->extents->len; i++) {
        VmdkExtent *e = &g_array_index(s->extents, VmdkExtent, i);
        if (off >= e->start && off < e->end) {
            return e;
        }
    }
    return NULL;
}

/* The table for byte `in` of the extent; NULL: none. Under the lock. */
int vmdk_get_table(VmdkExtent *e, uint64_t in, uint32_t **out)
{
    uint64_t i = in / e->grain / VMDK_GTES;
    *out = NULL;
    if (i >= e->n_tables || !e->gd[i]) {
        return 0;
    }
    if (!e->tables[i]) {
        uint32_t *t = g_try_malloc(VMDK_GTES * 4);
        int ret = t ? node_pread(e->file, e->gd[i] * 512ull, t, VMDK_GTES * 4) : -ENOMEM;
        if (ret < 0) {
            g_free(t);
            return ret;
        }
        for (unsigned k = 0; k < VMDK_GTES; k++) {
            t[k] = BITS_LE32(t[k]);
        }
        e->tables[i] = t;
    }
    *out = e->tables[i];
    return 0;
}

/* The sector of the grain; 0: none; 1: zeroes, if the extent knows them. */
static int get_grain(Vmdk *s, VmdkExtent *e, uint64_t in, uint32_t *sector)
{
    uint32_t *t;
    fiber_mutex_lock(&s->lock);
    int ret = vmdk_get_table(e, in, &t);
    *sector = t ? t[in / e->grain % VMDK_GTES] : 0;
    fiber_mutex_unlock(&s->lock);
    return ret;
}

static int unpack(Vmdk *s, VmdkExtent *e, uint64_t at)
{
    uint8_t marker[12];
    if (s->unpacked && s->unpacked_at == at) {
        return 0;
    }
    int ret = node_pread(e->file, at, marker, sizeof(marker));
    uint32_t len = ld_le32(marker + 8);
    if (ret < 0 || len == 0 || len > e->grain * 2) {
        return ret < 0 ? ret : -EIO;
    }
    g_autofree uint8_t *in = g_try_malloc(len);
    uint8_t *out = g_try_malloc(e->grain);
    uLongf out_len = e->grain;
    ret = in && out ? node_pread(e->file, at + 12, in, len) : -ENOMEM;
    if (ret == 0 && uncompress(out, &out_len, in, len) != Z_OK) {
        ret = -EIO;
    }
    if (ret < 0) {
        g_free(out);
        return ret;
    }
    memset(out + out_len, 0, e->grain - out_len);
    g_free(s->unpacked);
    s->unpacked = out;
    s->unpacked_at = at;
    return 0;
}

/* Within one grain, or one flat extent. */
static int read_part(BlockNode *n, VmdkExtent *e, uint64_t off, const IoVec *v)
{
    Vmdk *s = n->s;
    uint64_t in = off - e->start;
    uint32_t sector;
    if (e->flat) {
        return node_preadv(e->file, e->flat_offset + in, v);
    }
    if (!e->file) {
        iov_memset(v->iov, v->n, 0, 0, v->size);
        return 0;
    }
    int ret = get_grain(s, e, in, &sector);
    if (ret < 0) {
        return ret;
    }
    if (sector == 0) {
        return format_read_below(n, off, v);
    }
    if (sector == 1 && e->zero_gte) {
        iov_memset(v->iov, v->n, 0, 0, v->size);
        return 0;
    }
    if (!e->compressed) {
        return node_preadv(e->file, sector * 512ull + in % e->grain, v);
    }
    fiber_mutex_lock(&s->lock);
    ret = unpack(s, e, sector * 512ull);
    if (ret == 0) {
        iov_from_buf(v->iov, v->n, 0, s->unpacked + in % e->grain, v->size);
    }
    fiber_mutex_unlock(&s->lock);
    return ret;
}

/* Bytes from `off` on that are of one grain, or one extent without grains. */
static uint64_t room(BlockNode *n, uint64_t off)
{
    const VmdkExtent *e = vmdk_extent_at(n->s, off);
    if (!e) {
        return UINT64_MAX; /* and nothing is done there */
    }
    uint64_t most = e->end - off;
    return e->flat || !e->file ? most : MIN(most, e->grain - (off - e->start) % e->grain);
}

static int read_at(BlockNode *n, uint64_t off, const IoVec *v)
{
    VmdkExtent *e = vmdk_extent_at(n->s, off);
    return e ? read_part(n, e, off, v) : -EIO;
}

int vmdk_preadv(BlockNode *n, uint64_t off, const IoVec *v)
{
    return format_in_parts(n, off, v, room, read_at);
}

/* ---- writing ---- */

/* A table that was missing, at the end of the file. Under the lock. */
static int make_table(VmdkExtent *e, uint64_t in)
{
    uint64_t i = in / e->grain / VMDK_GTES;
    uint64_t copies = e->rgd ? 2 : 1;
    if (i >= e->n_tables || e->next / 512 + 8 > UINT32_MAX) {
        return -EFBIG;
    }
    e->tables[i] = g_try_new0(uint32_t, VMDK_GTES);
    if (!e->tables[i]) {
        return -ENOMEM;
    }
    e->gd[i] = (uint32_t)(e->next / 512);
    if (e->rgd) {
        e->rgd[i] = (uint32_t)(e->next / 512) + VMDK_GTES * 4 / 512;
    }
    e->next += copies * VMDK_GTES * 4;
    e->dirty[i] = 2; /* the directory, too */
    e->any_dirty = true;
    return 0;
}

static int set_grain(VmdkExtent *e, uint64_t in, uint64_t at)
{
    uint32_t *t;
    uint64_t i = in / e->grain / VMDK_GTES;
    int ret = vmdk_get_table(e, in, &t);
    if (ret == 0 && !t) {
        ret = make_table(e, in);
        t = ret == 0 ? e->tables[i] : NULL;
    }
    if (ret == 0) {
        t[in / e->grain % VMDK_GTES] = (uint32_t)(at / 512);
        e->dirty[i] = MAX(e->dirty[i], 1);
        e->any_dirty = true;
    }
    return ret;
}

/* A new grain; what is not written reads as before: as zeroes, or as what lies below. */
static int write_grain(BlockNode *n, VmdkExtent *e, uint64_t off, const IoVec *v, bool zeroes)
{
    uint64_t in = off - e->start, first = in % e->grain;
    g_autofree uint8_t *buf = g_try_malloc0(e->grain);
    struct iovec one = {buf, e->grain};
    IoVec all = {.iov = &one, .n = 1, .size = e->grain};
    uint64_t at = e->next;
    if (at / 512 + e->grain / 512 > UINT32_MAX) {
        return -EFBIG;
    }
    int ret = !buf ? -ENOMEM : zeroes ? 0 : format_read_below(n, off - first, &all);
    if (ret == 0) {
        iov_to_buf(v->iov, v->n, 0, buf + first, v->size);
        e->next += e->grain;
        ret = node_pwrite(e->file, at, buf, e->grain, 0);
    }
    return ret < 0 ? ret : set_grain(e, in, at);
}

static int write_packed(BlockNode *n, VmdkExtent *e, uint64_t off, const IoVec *v)
{
    Vmdk *s = n->s;
    uint64_t in = off - e->start;
    uint32_t sector;
    int ret = get_grain(s, e, in, &sector);
    if (ret < 0 || sector > 1) {
        return ret < 0 ? ret : -EIO; /* what is compressed cannot be written again */
    }
    if (in % e->grain || (v->size != e->grain && off + v->size != e->end)) {
        return -EINVAL;
    }
    uLongf len = compressBound(e->grain);
    g_autofree uint8_t *buf = g_try_malloc0(e->grain), *out = g_try_malloc0(12 + len + 512);
    if (!buf || !out) {
        return -ENOMEM;
    }
    iov_to_buf(v->iov, v->n, 0, buf, v->size);
    if (compress(out + 12, &len, buf, e->grain) != Z_OK) {
        return -EIO;
    }
    st_le64(out, off / 512);
    st_le32(out + 8, (uint32_t)len);
    fiber_mutex_lock(&s->lock);
    uint64_t at = e->next, total = ALIGN_UP(12 + (uint64_t)len, 512ull);
    e->next += total;
    ret = node_pwrite(e->file, at, out, total, 0);
    ret = ret < 0 ? ret : set_grain(e, in, at);
    fiber_mutex_unlock(&s->lock);
    return ret;
}

static int write_part(BlockNode *n, VmdkExtent *e, uint64_t off, const IoVec *v)
{
    Vmdk *s = n->s;
    uint64_t in = off - e->start;
    uint32_t sector;
    if (e->flat) {
        return node_pwritev(e->file, e->flat_offset + in, v, 0);
    }
    if (!e->file) {
        return -EPERM;
    }
    if (e->compressed) {
        return write_packed(n, e, off, v);
    }
    int ret = get_grain(s, e, in, &sector);
    if (ret == 0 && sector <= 1) {
        uint32_t *t;
        fiber_mutex_lock(&s->lock);
        ret = vmdk_get_table(e, in, &t);
        sector = t ? t[in / e->grain % VMDK_GTES] : 0; /* somebody may have been faster */
        if (ret == 0 && sector <= 1) {
            ret = write_grain(n, e, off, v, sector == 1 && e->zero_gte);
            sector = 0;
        }
        fiber_mutex_unlock(&s->lock);
    }
    return ret < 0 || sector <= 1 ? ret
                                  : node_pwritev(e->file, sector * 512ull + in % e->grain, v, 0);
}

/* Tables of one kind: the grains they point to are durable. */
static int write_tables(VmdkExtent *e)
{
    uint32_t buf[VMDK_GTES];
    int ret = 0;
    for (uint64_t i = 0; ret == 0 && i < e->n_tables; i++) {
        if (!e->dirty[i]) {
            continue;
        }
        for (unsigned k = 0; k < VMDK_GTES; k++) {
            buf[k] = BITS_LE32(e->tables[i][k]);
        }
        ret = node_pwrite(e->file, e->gd[i] * 512ull, buf, sizeof(buf), 0);
        if (ret == 0 && e->rgd && e->rgd[i]) {
            ret = node_pwrite(e->file, e->rgd[i] * 512ull, buf, sizeof(buf), 0);
        }
    }
    return ret;
}

static int write_directories(VmdkExtent *e)
{
    int ret = 0;
    for (uint64_t i = 0; ret == 0 && i < e->n_tables; i++) {
        uint8_t le[4];
        if (e->dirty[i] == 2) {
            st_le32(le, e->gd[i]);
            ret = node_pwrite(e->file, e->gd_at + i * 4, le, 4, 0);
            if (ret == 0 && e->rgd) {
                st_le32(le, e->rgd[i]);
                ret = node_pwrite(e->file, e->rgd_at + i * 4, le, 4, 0);
            }
        }
        e->dirty[i] = ret == 0 ? 0 : e->dirty[i];
    }
    return ret;
}

int vmdk_flush(BlockNode *n)
{
    Vmdk *s = n->s;
    int ret = 0;
    fiber_mutex_lock(&s->lock);
    for (guint i = 0; ret == 0 && i < s->extents->len; i++) {
        VmdkExtent *e = &g_array_index(s->extents, VmdkExtent, i);
        ret = e->file ? node_flush(e->file) : 0;
        if (ret < 0 || !e->any_dirty) {
            continue;
        }
        ret = write_tables(e);
        ret = ret < 0 ? ret : node_flush(e->file);
        ret = ret < 0 ? ret : write_directories(e);
        ret = ret < 0 ? ret : node_flush(e->file);
        e->any_dirty = ret < 0;
    }
    fiber_mutex_unlock(&s->lock);
    return ret;
}

static int write_at(BlockNode *n, uint64_t off, const IoVec *v)
{
    VmdkExtent *e = vmdk_extent_at(n->s, off);
    return e ? write_part(n, e, off, v) : -EIO;
}

int vmdk_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    int ret = format_in_parts(n, off, v, room, write_at);
    return ret == 0 && (flags & BLK_FUA) ? vmdk_flush(n) : ret;
}

int vmdk_map(BlockNode *n, uint64_t off, uint64_t len, BlockMap *out)
{
    Vmdk *s = n->s;
    VmdkExtent *e = vmdk_extent_at(s, off);
    uint32_t sector = 0;
    if (!e) {
        return -EIO;
    }
    uint64_t in = off - e->start;
    *out = (BlockMap){.len = MIN(len, room(n, off)), .file = e->file};
    if (e->flat) {
        out->flags = BLOCK_MAP_DATA | BLOCK_MAP_OFFSET | BLOCK_MAP_RECURSE;
        out->host = e->flat_offset + in;
        return 0;
    }
    int ret = e->file ? get_grain(s, e, in, &sector) : 0;
    if (!e->file || (sector == 1 && e->zero_gte)) {
        out->flags = BLOCK_MAP_ZERO;
    } else if (sector && e->compressed) {
        out->flags = BLOCK_MAP_DATA | BLOCK_MAP_COMPRESSED;
    } else if (sector) {
        out->flags = BLOCK_MAP_DATA | BLOCK_MAP_OFFSET;
        out->host = sector * 512ull + in % e->grain;
    }
    return ret;
}
