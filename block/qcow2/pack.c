/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Compressed clusters: raw deflate with a 4 KiB window, or zstd; packed side by side. */
#include "block/qcow2/qcow2.h"
#include "block/zstd-module.h"

#include <errno.h>
#include <zlib.h>

typedef struct Unpack {
    uint8_t compression;
    const uint8_t *in;
    size_t in_len;
    uint8_t *out;
    size_t out_len;
} Unpack;

static int unpack_zlib(const Unpack *u)
{
    z_stream z = {.next_in = (Bytef *)u->in,
                  .avail_in = (uInt)u->in_len,
                  .next_out = u->out,
                  .avail_out = (uInt)u->out_len};
    if (inflateInit2(&z, -12) != Z_OK) {
        return -ENOMEM;
    }
    int ret = inflate(&z, Z_FINISH);
    /* What follows the stream in the last sector belongs to a neighbour. */
    bool whole = z.avail_out == 0 && (ret == Z_STREAM_END || ret == Z_BUF_ERROR);
    inflateEnd(&z);
    return whole ? 0 : -EIO;
}

static int unpack_zstd(const Unpack *u)
{
    const ZstdModule *m = module_load("zstd", NULL); /* it was there when the image was opened */
    return m ? m->unpack(u->in, u->in_len, u->out, u->out_len) : -ENOTSUP;
}

static int unpack_work(void *opaque)
{
    const Unpack *u = opaque;
    return u->compression ? unpack_zstd(u) : unpack_zlib(u);
}

static int keep_unpacked(Qcow2 *s, uint64_t entry, uint8_t *out, const uint8_t **data)
{
    Qcow2Decompressed *slot = &s->unpacked[s->unpacked_next++ % ARRAY_LEN(s->unpacked)];
    g_free(slot->data);
    slot->entry = entry;
    slot->data = out;
    *data = out;
    return 0;
}

void qcow2_unpacked_forget(Qcow2 *s, uint64_t cluster)
{
    for (size_t i = 0; i < ARRAY_LEN(s->unpacked); i++) {
        uint64_t offset, len;
        if (!s->unpacked[i].entry) {
            continue;
        }
        qcow2_packed_extent(s, s->unpacked[i].entry, &offset, &len);
        if (offset >> s->cluster_bits <= cluster &&
            (offset + len - 1) >> s->cluster_bits >= cluster) {
            s->unpacked[i].entry = 0;
        }
    }
}

int qcow2_unpack(Qcow2 *s, uint64_t entry, const uint8_t **data)
{
    for (size_t i = 0; i < ARRAY_LEN(s->unpacked); i++) {
        if (s->unpacked[i].entry == entry) {
            *data = s->unpacked[i].data;
            return 0;
        }
    }
    uint64_t offset, len;
    qcow2_packed_extent(s, entry, &offset, &len);
    Unpack u = {s->compression, NULL, len, NULL, s->cluster_size};
    uint8_t *in = g_try_malloc(len);
    u.in = in;
    u.out = g_try_malloc(s->cluster_size);
    node_event(s->n->file, BLKEV_READ_COMPRESSED);
    int ret = in && u.out ? node_pread(s->n->file, offset, in, len) : -ENOMEM;
    ret = ret < 0 ? ret : node_run_blocking(s->n, unpack_work, &u);
    g_free(in);
    if (ret < 0) {
        g_free(u.out);
        return ret;
    }
    return keep_unpacked(s, entry, u.out, data);
}

/* ---- many at a time: one request for what lies together, one trip to a worker ---- */

#define MAX_RUN 32u

typedef struct UnpackRun {
    Unpack one[MAX_RUN];
    uint64_t at[MAX_RUN]; /* offset in the file */
    unsigned n;
} UnpackRun;

static int unpack_run(void *opaque)
{
    UnpackRun *r = opaque;
    int ret = 0;
    for (unsigned i = 0; ret == 0 && i < r->n; i++) {
        ret = unpack_work(&r->one[i]);
    }
    return ret;
}

/* Whole compressed clusters from `off` on, at most `len` bytes of them. Under `lock`. */
static int collect_run(Qcow2 *s, uint64_t off, uint64_t len, UnpackRun *r)
{
    int ret = 0;
    for (r->n = 0; r->n < MAX_RUN && len >= s->cluster_size; r->n++) {
        Qcow2Map m;
        uint64_t packed;
        ret = qcow2_map(s, off, s->cluster_size, &m);
        if (ret < 0 || m.kind != QCOW2_PACKED) {
            break;
        }
        qcow2_packed_extent(s, m.entry, &r->at[r->n], &packed);
        r->one[r->n] =
            (Unpack){.compression = s->compression, .in_len = packed, .out_len = s->cluster_size};
        off += s->cluster_size;
        len -= s->cluster_size;
    }
    return ret;
}

/* Reads the packed bytes into one buffer, which is returned. */
static uint8_t *fetch_run(Qcow2 *s, UnpackRun *r, int *error)
{
    uint64_t low = UINT64_MAX, high = 0, sum = 0;
    for (unsigned i = 0; i < r->n; i++) {
        low = MIN(low, r->at[i]);
        high = MAX(high, r->at[i] + r->one[i].in_len);
        sum += r->one[i].in_len;
    }
    bool together = high - low <= sum * 2;
    uint8_t *in = g_try_malloc(together ? high - low : sum);
    *error = in ? 0 : -ENOMEM;
    node_event(s->n->file, BLKEV_READ_COMPRESSED);
    if (in && together) {
        *error = node_pread(s->n->file, low, in, high - low);
    }
    uint8_t *pos = in;
    for (unsigned i = 0; in && i < r->n; i++) {
        if (together) {
            r->one[i].in = in + (r->at[i] - low);
            continue;
        }
        r->one[i].in = pos;
        pos += r->one[i].in_len;
        if (*error == 0) {
            *error = node_pread(s->n->file, r->at[i], (uint8_t *)r->one[i].in, r->one[i].in_len);
        }
    }
    return in;
}

int64_t qcow2_unpack_run(Qcow2 *s, uint64_t off, const IoVec *v)
{
    UnpackRun r;
    fiber_mutex_lock(&s->lock);
    int ret = collect_run(s, off, v->size, &r);
    fiber_mutex_unlock(&s->lock);
    if (ret < 0 || r.n < 2) {
        return ret;
    }
    size_t total = (size_t)r.n << s->cluster_bits;
    /* Mostly the reader's buffer is of one piece: straight into it. */
    bool direct = v->iov[0].iov_len >= total;
    uint8_t *out = direct ? v->iov[0].iov_base : g_try_malloc(total);
    uint8_t *in = out ? fetch_run(s, &r, &ret) : NULL;
    for (unsigned i = 0; in && i < r.n; i++) {
        r.one[i].out = out + ((size_t)i << s->cluster_bits);
    }
    ret = !in ? -ENOMEM : ret < 0 ? ret : node_run_blocking(s->n, unpack_run, &r);
    if (ret == 0 && !direct) {
        iov_from_buf(v->iov, v->n, 0, out, total);
    }
    g_free(in);
    if (!direct) {
        g_free(out);
    }
    return ret < 0 ? ret : (int64_t)total;
}

/* ---- writing ---- */

typedef struct Pack {
    uint8_t compression;
    const uint8_t *in;
    size_t in_len;
    uint8_t *out;
    size_t room; /* more is not worth it */
} Pack;

/* Bytes of output, 0 if it does not get smaller, or -errno. */
static int pack_zlib(const Pack *p)
{
    z_stream z = {0};
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -12, 9, Z_DEFAULT_STRATEGY) != Z_OK) {
        return -ENOMEM;
    }
    z.next_in = (Bytef *)p->in;
    z.avail_in = (uInt)p->in_len;
    z.next_out = p->out;
    z.avail_out = (uInt)p->room;
    int ret = deflate(&z, Z_FINISH);
    int len = (int)(p->room - z.avail_out);
    deflateEnd(&z);
    return ret == Z_STREAM_END ? len : 0;
}

static int pack_zstd(const Pack *p)
{
    const ZstdModule *m = module_load("zstd", NULL);
    return m ? m->pack(p->in, p->in_len, p->out, p->room) : -ENOTSUP;
}

static int pack_work(void *opaque)
{
    const Pack *p = opaque;
    return p->compression ? pack_zstd(p) : pack_zlib(p);
}

static uint64_t packed_entry(const Qcow2 *s, uint64_t at, uint64_t len)
{
    unsigned x = 62 - (s->cluster_bits - 8);
    uint64_t sectors = (at + len - 1) / 512 - at / 512;
    return at | sectors << x | QCOW2_COMPRESSED;
}

/* Publish. Under `lock`. */
static int publish_packed(Qcow2 *s, uint64_t off, uint64_t at, uint64_t len)
{
    uint64_t *slice, where;
    unsigned index, room;
    node_event(s->n->file, BLKEV_L2_UPDATE_COMPRESSED);
    int ret = qcow2_l2_for_write(s, off, &slice, &index, &room, &where);
    if (ret == 0) {
        uint64_t old = qcow2_l2_get(s, slice, index).e;
        qcow2_l2_put(s, slice, index, (Qcow2Entry){packed_entry(s, at, len), 0});
        qcow2_release_entry(s, old, s->pass_other);
        qcow2_cache_dirty(s->l2_cache, where);
    }
    return ret;
}

/* Own, fill, publish for the `len` bytes that cluster `off` has become. */
static int store_packed(Qcow2 *s, uint64_t off, const uint8_t *data, uint64_t len)
{
    unsigned x = 62 - (s->cluster_bits - 8);
    fiber_mutex_lock(&s->lock);
    int64_t at = qcow2_alloc_bytes(s, len);
    if (at > 0 && (uint64_t)at + len > BIT(x)) {
        qcow2_free_bytes(s, (uint64_t)at, len);
        at = -EFBIG;
    }
    fiber_mutex_unlock(&s->lock);
    if (at < 0) {
        return (int)at;
    }
    node_event(s->n->file, BLKEV_WRITE_COMPRESSED);
    int ret = node_pwrite(s->n->file, (uint64_t)at, data, len, 0);
    fiber_mutex_lock(&s->lock);
    ret = ret < 0 ? ret : publish_packed(s, off, (uint64_t)at, len);
    if (ret < 0) {
        qcow2_free_bytes(s, (uint64_t)at, len);
    }
    fiber_mutex_unlock(&s->lock);
    return ret;
}

/* One cluster; 0 bytes stored means that it must be written as it is. */
static int write_packed_cluster(Qcow2 *s, uint64_t off, const uint8_t *data, uint8_t *out)
{
    Pack p = {s->compression, data, s->cluster_size, out, s->cluster_size - 1};
    int len = node_run_blocking(s->n, pack_work, &p);
    return len <= 0 ? (len < 0 ? len : -EAGAIN) : store_packed(s, off, out, (uint64_t)len);
}

int qcow2_write_packed(Qcow2 *s, uint64_t off, const IoVec *v)
{
    if (s->luks || qcow2_has_data_file(s)) {
        return -ENOTSUP;
    }
    if ((off & (s->cluster_size - 1)) ||
        ((v->size & (s->cluster_size - 1)) && off + v->size != s->n->length)) {
        return -EINVAL;
    }
    uint8_t *buf = g_try_malloc(s->cluster_size * 2);
    int ret = buf ? 0 : -ENOMEM;
    for (size_t pos = 0; ret == 0 && pos < v->size; pos += s->cluster_size) {
        size_t have = MIN(v->size - pos, s->cluster_size);
        iov_to_buf(v->iov, v->n, pos, buf, have);
        memset(buf + have, 0, s->cluster_size - have);
        ret = write_packed_cluster(s, off + pos, buf, buf + s->cluster_size);
        if (ret == -EAGAIN) {
            struct iovec one = {buf, have};
            IoVec plain = {.iov = &one, .n = 1, .size = have};
            ret = qcow2_write_claimed(s, off + pos, &plain);
        }
    }
    g_free(buf);
    return ret;
}
