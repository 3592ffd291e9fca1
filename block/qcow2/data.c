/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading and writing of the guest's bytes. */
#include "block/luks.h"
#include "block/qcow2/qcow2.h"
#include "crypto/cipher.h"

#include <errno.h>
#include <stdlib.h>

/* A write is cut into pieces of at most this many bytes of new clusters. */
#define MAX_PIECE (4ull << 20)

static int map_locked(Qcow2 *s, uint64_t off, uint64_t len, Qcow2Map *m)
{
    fiber_mutex_lock(&s->lock);
    int ret = qcow2_map(s, off, len, m);
    fiber_mutex_unlock(&s->lock);
    return ret;
}

/* ---- host bytes ---- */

int qcow2_data_read(Qcow2 *s, uint64_t host, const IoVec *v)
{
    node_event(s->n->file, BLKEV_READ_AIO);
    return s->luks ? luks_preadv(s->luks, qcow2_data(s), host, host, v)
                   : node_preadv(qcow2_data(s), host, v);
}

int qcow2_data_write(Qcow2 *s, uint64_t host, const IoVec *v)
{
    node_event(s->n->file, BLKEV_WRITE_AIO);
    return s->luks ? luks_pwritev(s->luks, qcow2_data(s), host, host, v)
                   : node_pwritev(qcow2_data(s), host, v, 0);
}

/* ---- reading ---- */

static int read_backing(Qcow2 *s, uint64_t off, const IoVec *v)
{
    BlockNode *b = s->n->backing;
    if (!b || off >= b->length) {
        iov_memset(v->iov, v->n, 0, 0, v->size);
        return 0;
    }
    node_event(s->n->file, BLKEV_READ_BACKING_AIO);
    if (v->size <= b->length - off) {
        return node_preadv(b, off, v);
    }
    /* The backing file ends here: zeroes follow. */
    size_t have = (size_t)(b->length - off);
    IoVec part;
    iovec_slice(&part, v, 0, have);
    int ret = node_preadv(b, off, &part);
    iovec_free(&part);
    iov_memset(v->iov, v->n, have, 0, v->size - have);
    return ret;
}

static int read_packed(Qcow2 *s, uint64_t entry, uint64_t in_cluster, const IoVec *v)
{
    const uint8_t *data;
    int ret = qcow2_unpack(s, entry, &data);
    if (ret == 0) {
        iov_from_buf(v->iov, v->n, 0, data + in_cluster, v->size);
    }
    return ret;
}

/* Encrypted by the old method; whole sectors. */
static int read_aes(Qcow2 *s, uint64_t off, uint64_t host, const IoVec *v)
{
    g_autofree uint8_t *buf = g_try_malloc(v->size);
    if ((off | v->size) % BLOCK_SECTOR) {
        return -EINVAL;
    }
    int ret = buf ? node_pread(qcow2_data(s), host, buf, v->size) : -ENOMEM;
    if (ret == 0) {
        cipher_decrypt(s->aes, off / BLOCK_SECTOR, buf, v->size);
        iov_from_buf(v->iov, v->n, 0, buf, v->size);
    }
    return ret;
}

/* The bytes that mapping `m` (as looked up for guest offset `off`) stands for. */
static int read_mapped(Qcow2 *s, uint64_t off, const Qcow2Map *m, const IoVec *v)
{
    switch (m->kind) {
    case QCOW2_UNALLOCATED:
        return read_backing(s, off, v);
    case QCOW2_ZERO_PLAIN:
    case QCOW2_ZERO_ALLOC:
        iov_memset(v->iov, v->n, 0, 0, v->size);
        return 0;
    case QCOW2_NORMAL:
        return s->aes ? read_aes(s, off, m->host, v) : qcow2_data_read(s, m->host, v);
    case QCOW2_PACKED:
        return read_packed(s, m->entry, off & (s->cluster_size - 1), v);
    }
    return -EIO;
}

/* Reads while the caller holds a claim on the range. */
static int read_claimed(Qcow2 *s, uint64_t off, const IoVec *v)
{
    int ret = 0;
    for (size_t pos = 0; ret == 0 && pos < v->size;) {
        Qcow2Map m;
        ret = map_locked(s, off + pos, v->size - pos, &m);
        if (ret < 0) {
            break;
        }
        if (m.len == v->size) {
            return read_mapped(s, off, &m, v);
        }
        IoVec part;
        if (m.kind == QCOW2_PACKED && !((off + pos) & (s->cluster_size - 1)) &&
            v->size - pos >= s->cluster_size * 2) {
            iovec_slice(&part, v, pos, v->size - pos);
            int64_t done = qcow2_unpack_run(s, off + pos, &part);
            iovec_free(&part);
            if (done) {
                ret = done < 0 ? (int)done : 0;
                pos += done > 0 ? (size_t)done : 0;
                continue;
            }
        }
        iovec_slice(&part, v, pos, (size_t)m.len);
        ret = read_mapped(s, off + pos, &m, &part);
        iovec_free(&part);
        pos += (size_t)m.len;
    }
    return ret;
}

int qcow2_preadv(BlockNode *n, uint64_t off, const IoVec *v)
{
    Qcow2 *s = n->s;
    Qcow2Range r;
    qcow2_range_begin(s, &r, off, v->size, false);
    int ret = read_claimed(s, off, v);
    qcow2_range_end(s, &r);
    return ret;
}

/* ---- writing to new clusters ---- */

typedef enum ClusterClass {
    CLASS_OWN,     /* has a cluster of our own, of which nothing (or not all) is seen yet */
    CLASS_FRESH,   /* has none */
    CLASS_REPLACE, /* has one that is shared or compressed: all of it is copied */
} ClusterClass;

typedef struct NewClusters {
    uint64_t guest; /* offset of the first cluster */
    uint64_t host;  /* where it goes */
    uint64_t n;     /* clusters in a row */
    ClusterClass cls;
    bool fresh;        /* never used: they read as zeroes */
    uint64_t from, to; /* guest bytes that are filled */
    Qcow2Entry *old;   /* the entries they replace */
} NewClusters;

static ClusterClass class_of(const Qcow2 *s, uint64_t e)
{
    if (e & QCOW2_COMPRESSED) {
        return CLASS_REPLACE;
    }
    if (!qcow2_entry_has_host(s, e)) {
        return CLASS_FRESH;
    }
    return (e & QCOW2_COPIED) && IS_ALIGNED(e & QCOW2_L2_OFFSET_MASK, s->cluster_size)
               ? CLASS_OWN
               : CLASS_REPLACE;
}

/* Counts the entries that are written in the same way together. Under `lock`. */
static uint64_t collect(Qcow2 *s, NewClusters *c, const uint64_t *slice, unsigned index,
                        uint64_t max)
{
    uint64_t n = 0, first = qcow2_l2_get(s, slice, index).e & QCOW2_L2_OFFSET_MASK;
    c->cls = class_of(s, qcow2_l2_get(s, slice, index).e);
    while (n < max) {
        uint64_t e = qcow2_l2_get(s, slice, index + (unsigned)n).e;
        if (class_of(s, e) != c->cls) {
            break;
        }
        if (c->cls == CLASS_OWN && (e & QCOW2_L2_OFFSET_MASK) != first + (n << s->cluster_bits)) {
            break;
        }
        n++;
    }
    return n;
}

/* Own: clusters for as much of [off, off + len) as goes in one piece. Under `lock`. */
static int own_clusters(Qcow2 *s, uint64_t off, uint64_t len, NewClusters *c)
{
    uint64_t *slice, where;
    unsigned index, room;
    int ret = qcow2_l2_for_write(s, off, &slice, &index, &room, &where);
    if (ret < 0) {
        return ret;
    }
    c->guest = qcow2_cluster_start(s, off);
    uint64_t want = qcow2_clusters(s, off + len - c->guest);
    want = MIN(want, MAX(MAX_PIECE >> s->cluster_bits, 1));
    c->n = collect(s, c, slice, index, MIN(want, room));
    c->old = g_try_new(Qcow2Entry, c->n);
    if (!c->old) {
        return -ENOMEM;
    }
    for (uint64_t i = 0; i < c->n; i++) {
        c->old[i] = qcow2_l2_get(s, slice, index + (unsigned)i);
    }
    if (qcow2_has_data_file(s)) {
        c->host = c->guest;
        return 0;
    }
    if (c->cls == CLASS_OWN) {
        c->host = c->old[0].e & QCOW2_L2_OFFSET_MASK;
        return qcow2_check_overlap(s, c->host, c->n << s->cluster_bits, 0, "guest data");
    }
    uint64_t unused_from = s->high_water, got;
    int64_t host = qcow2_alloc(s, c->n, &got);
    if (host < 0) {
        return (int)host;
    }
    c->host = (uint64_t)host;
    c->n = got;
    c->fresh = c->host >> s->cluster_bits >= unused_from && !s->luks;
    return 0;
}

static void give_back(Qcow2 *s, const NewClusters *c)
{
    if (c->cls != CLASS_OWN && !qcow2_has_data_file(s)) {
        qcow2_free_unpublished(s, c->host, c->n);
    }
}

/* Guest bytes that share a cluster with the write; `entry` is what held them. */
static int read_edge(Qcow2 *s, Qcow2Entry entry, uint64_t off, uint8_t *buf, size_t len)
{
    uint64_t step = BIT(s->subcluster_bits);
    int ret = 0;
    while (ret == 0 && len) {
        uint64_t in_cluster = off & (s->cluster_size - 1);
        size_t now = (size_t)MIN((uint64_t)len, step - (off & (step - 1)));
        struct iovec one = {buf, now};
        IoVec v = {.iov = &one, .n = 1, .size = now};
        Qcow2Map m = {.entry = entry.e, .len = now};
        m.kind = qcow2_entry_kind(s, entry, (unsigned)(in_cluster >> s->subcluster_bits));
        m.host = (entry.e & QCOW2_L2_OFFSET_MASK) + in_cluster;
        ret = read_mapped(s, off, &m, &v);
        off += now;
        buf += now;
        len -= now;
    }
    return ret;
}

/* Does that part of an old cluster read as zeroes without looking? */
static bool edge_is_zero(const Qcow2 *s, Qcow2Entry entry, uint64_t off)
{
    if (entry.e & QCOW2_COMPRESSED) {
        return false;
    }
    if (qcow2_extended(s)) {
        return !entry.e && (entry.bitmap >> 32 == UINT32_MAX ||
                            (!entry.bitmap && (!s->n->backing || off >= s->n->backing->length)));
    }
    switch (qcow2_entry_kind(s, entry, 0)) {
    case QCOW2_UNALLOCATED:
        return !s->n->backing || off >= s->n->backing->length;
    case QCOW2_ZERO_PLAIN:
    case QCOW2_ZERO_ALLOC:
        return true;
    default:
        return false;
    }
}

/* Fill: writes `v` (guest offset `off`), with the rest of the outer (sub)clusters around it. */
static int fill_clusters(Qcow2 *s, NewClusters *c, uint64_t off, const IoVec *v)
{
    uint64_t end = off + v->size;
    uint64_t unit = c->cls == CLASS_REPLACE ? s->cluster_size : BIT(s->subcluster_bits);
    c->from = ALIGN_DOWN(off, unit);
    c->to = ALIGN_UP(end, unit);
    size_t head = (size_t)(off - c->from), tail = (size_t)(c->to - end);
    Qcow2Entry last = c->old[c->n - 1];
    if (c->fresh && edge_is_zero(s, c->old[0], c->guest)) {
        head = 0;
    }
    if (c->fresh && edge_is_zero(s, last, end)) {
        tail = 0;
    }
    uint64_t at = c->host + (off - c->guest) - head;
    if (!head && !tail) {
        return qcow2_data_write(s, at, v);
    }
    uint8_t *edges = g_try_malloc(head + tail);
    node_event(s->n->file, BLKEV_COW_READ);
    int ret = edges ? read_edge(s, c->old[0], off - head, edges, head) : -ENOMEM;
    if (ret == 0) {
        ret = read_edge(s, last, end, edges + head, tail);
    }
    if (ret == 0) {
        IoVec all = IOVEC_INIT;
        if (head) {
            iovec_add(&all, edges, head);
        }
        iovec_concat(&all, v, 0, v->size);
        if (tail) {
            iovec_add(&all, edges + head, tail);
        }
        node_event(s->n->file, BLKEV_COW_WRITE);
        ret = qcow2_data_write(s, at, &all);
        iovec_free(&all);
    }
    g_free(edges);
    return ret;
}

/* The entry of cluster `i` when all is written. */
static Qcow2Entry new_entry(const Qcow2 *s, const NewClusters *c, uint64_t i)
{
    uint64_t start = c->guest + (i << s->cluster_bits), end = start + s->cluster_size;
    Qcow2Entry now = {(c->host + (i << s->cluster_bits)) | QCOW2_COPIED, 0};
    if (!qcow2_extended(s)) {
        return now;
    }
    if (c->cls == CLASS_REPLACE) {
        now.bitmap = UINT32_MAX;
        return now;
    }
    unsigned first = (unsigned)((MAX(start, c->from) - start) >> s->subcluster_bits);
    unsigned past = (unsigned)((MIN(end, c->to) - start) >> s->subcluster_bits);
    uint64_t mask = (BIT(past) - 1) & ~(BIT(first) - 1);
    now.bitmap = (c->old[i].bitmap | mask) & ~(mask << 32);
    return now;
}

/* Publish, in memory; what they replace is released after the next sync. Under `lock`. */
static int publish_clusters(Qcow2 *s, const NewClusters *c)
{
    uint64_t *slice, where;
    unsigned index, room;
    int ret = qcow2_l2_for_write(s, c->guest, &slice, &index, &room, &where);
    if (ret < 0) {
        return ret;
    }
    for (uint64_t i = 0; i < c->n; i++) {
        qcow2_l2_put(s, slice, index + (unsigned)i, new_entry(s, c, i));
        if (c->cls != CLASS_OWN) {
            qcow2_release_entry(s, c->old[i].e, s->pass_other);
        }
    }
    qcow2_cache_dirty(s->l2_cache, where);
    return 0;
}

/* Writes as much of `v` as fits one piece; returns the bytes written or an error. */
static int64_t write_new(Qcow2 *s, uint64_t off, const IoVec *v)
{
    NewClusters c = {0};
    fiber_mutex_lock(&s->lock);
    int ret = own_clusters(s, off, v->size, &c);
    fiber_mutex_unlock(&s->lock);
    if (ret < 0) {
        g_free(c.old);
        return ret;
    }
    size_t len = (size_t)MIN((uint64_t)v->size, c.guest + (c.n << s->cluster_bits) - off);
    IoVec part;
    iovec_slice(&part, v, 0, len);
    ret = fill_clusters(s, &c, off, &part);
    iovec_free(&part);
    fiber_mutex_lock(&s->lock);
    if (ret == 0) {
        ret = publish_clusters(s, &c);
    }
    if (ret < 0) {
        give_back(s, &c);
    }
    fiber_mutex_unlock(&s->lock);
    g_free(c.old);
    return ret < 0 ? ret : (int64_t)len;
}

/* ---- writing ---- */

/* In place, if the clusters at `off` are ours alone: bytes written; 0: they are not. */
static int64_t write_in_place(Qcow2 *s, uint64_t off, const IoVec *v)
{
    Qcow2Map m;
    fiber_mutex_lock(&s->lock);
    int ret = qcow2_map(s, off, v->size, &m);
    bool ours = ret == 0 && m.kind == QCOW2_NORMAL && m.copied;
    if (ours && !qcow2_has_data_file(s)) {
        ret = qcow2_check_overlap(s, m.host, m.len, 0, "guest data");
    }
    fiber_mutex_unlock(&s->lock);
    if (ret < 0 || !ours) {
        return ret;
    }
    IoVec part;
    iovec_slice(&part, v, 0, (size_t)m.len);
    ret = qcow2_data_write(s, m.host, &part);
    iovec_free(&part);
    return ret < 0 ? ret : (int64_t)m.len;
}

static int write_claimed(Qcow2 *s, Qcow2Range *r, uint64_t off, const IoVec *v)
{
    for (size_t pos = 0; pos < v->size;) {
        IoVec rest;
        iovec_slice(&rest, v, pos, v->size - pos);
        int64_t done = s->corrupt ? -EIO : write_in_place(s, off + pos, &rest);
        if (done == 0 && !r->exclusive) {
            qcow2_range_end(s, r); /* a new claim: the mapping is looked up again after it */
            qcow2_range_begin(s, r, off + pos, v->size - pos, true);
        } else if (done == 0) {
            done = write_new(s, off + pos, &rest);
        }
        iovec_free(&rest);
        if (done < 0) {
            return (int)done;
        }
        pos += (size_t)done;
    }
    return 0;
}

int qcow2_write_claimed(Qcow2 *s, uint64_t off, const IoVec *v)
{
    for (size_t pos = 0; pos < v->size;) {
        IoVec rest;
        iovec_slice(&rest, v, pos, v->size - pos);
        int64_t done = s->corrupt ? -EIO : write_in_place(s, off + pos, &rest);
        done = done ? done : write_new(s, off + pos, &rest);
        iovec_free(&rest);
        if (done < 0) {
            return (int)done;
        }
        pos += (size_t)done;
    }
    return 0;
}

int qcow2_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    Qcow2 *s = n->s;
    Qcow2Range r;
    if (s->shown_length) {
        return -EPERM;
    }
    if (qcow2_cache_crowded(s->l2_cache) || qcow2_cache_crowded(s->rb_cache)) {
        int ret = qcow2_sync(s);
        if (ret < 0) {
            return ret;
        }
    }
    qcow2_range_begin(s, &r, off, v->size, false);
    int ret;
    if (flags & BLK_COMPRESSED) {
        qcow2_range_end(s, &r);
        qcow2_range_begin(s, &r, off, v->size, true);
        ret = s->corrupt ? -EIO : qcow2_write_packed(s, off, v);
    } else {
        ret = write_claimed(s, &r, off, v);
    }
    qcow2_range_end(s, &r);
    if (ret == 0 && (flags & BLK_FUA)) {
        ret = qcow2_sync(s);
    }
    return ret;
}
