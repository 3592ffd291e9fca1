/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The transmission phase: one fiber reads requests, each request is a fiber. */
#include "nbd/internal.h"
#include "util/trace.h"

#include <errno.h>
#include <stdlib.h>

TRACE_EVENT(nbd_request, "type %u flags %u offset %" G_GUINT64_FORMAT " length %" G_GUINT64_FORMAT)

#define MAX_EXTENTS 8192u

typedef struct Request {
    NbdClient *c;
    uint16_t flags, type;
    uint64_t cookie, off, len;
    uint8_t *data; /* payload of a write */
    uint64_t buffered;
} Request;

static uint32_t nbd_error(int ret)
{
    switch (-ret) {
    case 0:
        return NBD_SUCCESS;
    case EPERM:
    case EROFS:
    case EACCES:
        return NBD_EPERM;
    case ENOMEM:
        return NBD_ENOMEM;
    case EINVAL:
        return NBD_EINVAL;
    case ENOSPC:
    case EFBIG:
    case EDQUOT:
        return NBD_ENOSPC;
    case EOVERFLOW:
        return NBD_EOVERFLOW;
    case ENOTSUP:
        return NBD_ENOTSUP;
    case ESHUTDOWN:
        return NBD_ESHUTDOWN;
    default:
        return NBD_EIO;
    }
}

/* ---- replies ---- */

static void send_iov(NbdClient *c, struct iovec *iov, unsigned n)
{
    fiber_mutex_lock(&c->send);
    if (!c->dead && io_channel_writev(c->ch, iov, n) < 0) {
        c->dead = true;
        io_channel_shutdown(c->ch); /* the reading fiber learns of it */
    }
    fiber_mutex_unlock(&c->send);
}

/* A chunk: head, then up to two parts. */
static void send_chunk(Request *r, uint16_t flags, uint16_t type, struct iovec a, struct iovec b)
{
    NbdClient *c = r->c;
    uint8_t head[32];
    uint64_t len = a.iov_len + b.iov_len;
    st_be32(head, c->extended ? NBD_EXT_MAGIC : NBD_CHUNK_MAGIC);
    st_be16(head + 4, flags);
    st_be16(head + 6, type);
    st_be64(head + 8, r->cookie);
    if (c->extended) {
        st_be64(head + 16, r->off);
        st_be64(head + 24, len);
    } else {
        st_be32(head + 16, (uint32_t)len);
    }
    struct iovec iov[3] = {{head, c->extended ? 32 : 20}, a, b};
    unsigned n = b.iov_len ? 3 : a.iov_len ? 2 : 1;
    send_iov(c, iov, n);
}

static void send_result(Request *r, int ret)
{
    NbdClient *c = r->c;
    const struct iovec none = {0};
    if (!c->structured) {
        uint8_t head[16];
        st_be32(head, NBD_SIMPLE_MAGIC);
        st_be32(head + 4, nbd_error(ret));
        st_be64(head + 8, r->cookie);
        struct iovec one = {head, sizeof(head)};
        send_iov(c, &one, 1);
    } else if (ret == 0) {
        send_chunk(r, NBD_CHUNK_DONE, NBD_CHUNK_NONE, none, none);
    } else {
        uint8_t b[6];
        const char *text = g_strerror(-ret);
        size_t len = MIN(strlen(text), 256u);
        st_be32(b, nbd_error(ret));
        st_be16(b + 4, (uint16_t)len);
        send_chunk(r, NBD_CHUNK_DONE, NBD_CHUNK_ERROR, (struct iovec){b, 6},
                   (struct iovec){(void *)text, len});
    }
}

/* ---- reading ---- */

/*
 * Only what the format's own tables say: asking a file system for holes at each read costs
 * more than sending zeroes.
 */
static bool is_hole(BlockNode *n, uint64_t off, uint64_t len)
{
    BlockMap m;
    n = node_skip_filters(n);
    return !n->drv->protocol && off + len <= n->length && node_map(n, off, len, &m) == 0 &&
           m.len >= len && (m.flags & BLOCK_MAP_ZERO);
}

static void reply_data(Request *r, void *buf)
{
    NbdClient *c = r->c;
    uint8_t head[16];
    if (!c->structured) {
        st_be32(head, NBD_SIMPLE_MAGIC);
        st_be32(head + 4, NBD_SUCCESS);
        st_be64(head + 8, r->cookie);
        struct iovec iov[2] = {{head, 16}, {buf, r->len}};
        send_iov(c, iov, 2);
        return;
    }
    st_be64(head, r->off);
    send_chunk(r, NBD_CHUNK_DONE, NBD_CHUNK_DATA, (struct iovec){head, 8},
               (struct iovec){buf, r->len});
}

static void serve_read(Request *r)
{
    NbdExport *e = r->c->export;
    void *buf = NULL;
    int ret = 0;
    block_enter(e->base.graph, r->c->loop);
    BlockNode *n = blk_node(e->base.blk);
    if (!n) {
        ret = -ENOMEDIUM;
    } else if (r->c->structured && !(r->flags & NBD_CMD_DF) && r->len >= 4096 &&
               is_hole(n, e->offset + r->off, r->len)) {
        block_leave(e->base.graph);
        uint8_t b[12];
        st_be64(b, r->off);
        st_be32(b + 8, (uint32_t)r->len);
        send_chunk(r, NBD_CHUNK_DONE, NBD_CHUNK_HOLE, (struct iovec){b, 12}, (struct iovec){0});
        return;
    } else if (!(buf = buffer_take(&r->c->buffers, r->len))) {
        ret = -ENOMEM;
    } else {
        ret = node_pread(n, e->offset + r->off, buf, r->len);
    }
    block_leave(e->base.graph);
    if (ret < 0) {
        send_result(r, ret);
    } else {
        reply_data(r, buf);
    }
    buffer_give(&r->c->buffers, buf, r->len);
}

/* ---- block status ---- */

typedef struct Extent {
    uint64_t len, flags;
} Extent;

static int one_extent(NbdExport *e, const NbdContext *x, BlockNode *n, uint64_t off, uint64_t len,
                      Extent *out)
{
    BlockMap m;
    unsigned depth;
    if (x->kind == NBD_CTX_BITMAP) {
        const BlockBitmap *b = e->bitmaps[x->bitmap];
        bool dirty = bitmap_get(b, off);
        uint64_t end = dirty ? bitmap_next_clean(b, off) : bitmap_next_dirty(b, off);
        *out = (Extent){MIN(end - off, len), dirty};
        return 0;
    }
    int ret = node_map_chain(n, NULL, off, len, &m, &depth);
    if (ret < 0) {
        return ret;
    }
    out->len = MIN(m.len, len);
    if (x->kind == NBD_CTX_DEPTH) {
        out->flags = m.flags & BLOCK_MAP_ALLOCATED ? depth + 1 : 0;
    } else {
        out->flags = (m.flags & BLOCK_MAP_DATA ? 0 : NBD_STATE_HOLE) |
                     (m.flags & BLOCK_MAP_ZERO ? NBD_STATE_ZERO : 0);
    }
    return 0;
}

static int collect(Request *r, const NbdContext *x, GArray *list)
{
    NbdExport *e = r->c->export;
    uint64_t off = e->offset + r->off, end = off + r->len;
    unsigned max = r->flags & NBD_CMD_REQ_ONE ? 1 : MAX_EXTENTS;
    BlockNode *n = blk_node(e->base.blk);
    while (n && off < end) {
        Extent x1;
        int ret = one_extent(e, x, n, off, end - off, &x1);
        if (ret < 0) {
            return list->len ? 0 : ret;
        }
        off += x1.len;
        Extent *last = list->len ? &g_array_index(list, Extent, list->len - 1) : NULL;
        if (last && last->flags == x1.flags) {
            last->len += x1.len;
        } else if (list->len == max) {
            break;
        } else {
            g_array_append_val(list, x1);
        }
    }
    return n ? 0 : -ENOMEDIUM;
}

static int send_context(Request *r, unsigned i, bool last)
{
    NbdClient *c = r->c;
    g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(Extent));
    block_enter(c->export->base.graph, c->loop);
    int ret = collect(r, &c->contexts[i], list);
    block_leave(c->export->base.graph);
    if (ret < 0) {
        return ret;
    }
    size_t each = c->extended ? 16 : 8, at = c->extended ? 8 : 4;
    g_autofree uint8_t *b = g_malloc(at + each * list->len);
    st_be32(b, i + 1);
    if (c->extended) {
        st_be32(b + 4, list->len);
    }
    for (guint k = 0; k < list->len; k++, at += each) {
        const Extent *x = &g_array_index(list, Extent, k);
        if (c->extended) {
            st_be64(b + at, x->len);
            st_be64(b + at + 8, x->flags);
        } else {
            st_be32(b + at, (uint32_t)x->len);
            st_be32(b + at + 4, (uint32_t)x->flags);
        }
    }
    send_chunk(r, last ? NBD_CHUNK_DONE : 0, c->extended ? NBD_CHUNK_STATUS_EXT : NBD_CHUNK_STATUS,
               (struct iovec){b, at}, (struct iovec){0});
    return 0;
}

static void serve_status(Request *r)
{
    NbdClient *c = r->c;
    if (!c->n_contexts) {
        send_result(r, -EINVAL);
        return;
    }
    for (unsigned i = 0; i < c->n_contexts; i++) {
        int ret = send_context(r, i, i + 1 == c->n_contexts);
        if (ret < 0) {
            send_result(r, ret);
            return;
        }
    }
}

/* ---- everything else ---- */

static int serve_change(Request *r)
{
    NbdExport *e = r->c->export;
    BlockNode *n = blk_node(e->base.blk);
    uint64_t off = e->offset + r->off;
    unsigned flags = r->flags & NBD_CMD_FUA || e->base.writethrough ? BLK_FUA : 0;
    int ret = 0;
    if (!n) {
        return -ENOMEDIUM;
    }
    switch (r->type) {
    case NBD_CMD_WRITE:
        return node_pwrite(n, off, r->data, r->len, flags);
    case NBD_CMD_WRITE_ZEROES:
        flags |= r->flags & NBD_CMD_NO_HOLE ? 0 : BLK_MAY_UNMAP;
        flags |= r->flags & NBD_CMD_FAST_ZERO ? BLK_NO_FALLBACK : 0;
        return node_zero(n, off, r->len, flags);
    case NBD_CMD_TRIM:
        ret = node_discard(n, off, r->len);
        return ret == 0 && (flags & BLK_FUA) ? node_flush(n) : ret;
    case NBD_CMD_FLUSH:
        return node_flush(n);
    default: /* CACHE: reading brings it into whatever caches there are */
        for (uint64_t done = 0; ret == 0 && done < r->len;) {
            size_t now = (size_t)MIN(r->len - done, 1u << 20);
            g_autofree void *buf = g_try_malloc(now);
            ret = buf ? node_pread(n, off + done, buf, now) : -ENOMEM;
            done += now;
        }
        return ret;
    }
}

static void request_fiber(void *opaque)
{
    Request *r = opaque;
    NbdClient *c = r->c;
    if (r->type == NBD_CMD_READ) {
        serve_read(r);
    } else if (r->type == NBD_CMD_BLOCK_STATUS) {
        serve_status(r);
    } else {
        block_enter(c->export->base.graph, c->loop);
        int ret = serve_change(r);
        block_leave(c->export->base.graph);
        send_result(r, ret);
    }
    c->requests--;
    c->buffered -= r->buffered;
    buffer_give(&c->buffers, r->data, r->len);
    g_free(r);
    fiber_queue_wake_all(&c->room);
}

/* 0, or what is wrong with it. */
static int check(const Request *r)
{
    const NbdExport *e = r->c->export;
    static const uint16_t allowed[] = {
        [NBD_CMD_READ] = NBD_CMD_DF,
        [NBD_CMD_WRITE] = NBD_CMD_FUA | NBD_CMD_PAYLOAD_LEN,
        [NBD_CMD_FLUSH] = 0,
        [NBD_CMD_TRIM] = NBD_CMD_FUA,
        [NBD_CMD_CACHE] = 0,
        [NBD_CMD_WRITE_ZEROES] = NBD_CMD_FUA | NBD_CMD_NO_HOLE | NBD_CMD_FAST_ZERO,
        [NBD_CMD_BLOCK_STATUS] = NBD_CMD_REQ_ONE,
    };
    bool changes =
        r->type == NBD_CMD_WRITE || r->type == NBD_CMD_TRIM || r->type == NBD_CMD_WRITE_ZEROES;
    if (r->type >= ARRAY_LEN(allowed) || (r->flags & ~allowed[r->type])) {
        return -EINVAL;
    }
    if ((r->flags & NBD_CMD_DF) && !r->c->structured) {
        return -EINVAL;
    }
    if (changes && !e->base.writable) {
        return -EPERM;
    }
    if (r->type == NBD_CMD_FLUSH) {
        return 0;
    }
    if ((r->type == NBD_CMD_READ || r->type == NBD_CMD_WRITE) && r->len > NBD_MAX_PAYLOAD) {
        return r->type == NBD_CMD_READ ? -EOVERFLOW : -EINVAL;
    }
    uint64_t size = nbd_export_size(e);
    if (r->off > size || r->len > size - r->off) {
        return changes && r->type != NBD_CMD_TRIM ? -ENOSPC : -EINVAL;
    }
    return r->len == 0 ? -EINVAL : 0;
}

/* Reads a request's head; false: the connection ends. */
static bool read_head(NbdClient *c, Request *r)
{
    uint8_t h[32];
    if (io_channel_read(c->ch, h, c->extended ? 32 : 28) <= 0 ||
        ld_be32(h) != (c->extended ? NBD_REQUEST_EXT_MAGIC : NBD_REQUEST_MAGIC)) {
        return false;
    }
    r->c = c;
    r->flags = ld_be16(h + 4);
    r->type = ld_be16(h + 6);
    r->cookie = ld_be64(h + 8);
    r->off = ld_be64(h + 16);
    r->len = c->extended ? ld_be64(h + 24) : ld_be32(h + 24);
    trace(nbd_request, r->type, r->flags, (guint64)r->off, (guint64)r->len);
    return true;
}

/* The bytes of a write that will not happen. */
static bool skip_payload(NbdClient *c, uint64_t len)
{
    uint8_t buf[4096];
    while (len) {
        size_t n = (size_t)MIN(len, (uint64_t)sizeof(buf));
        if (io_channel_read(c->ch, buf, n) <= 0) {
            return false;
        }
        len -= n;
    }
    return true;
}

static bool take_payload(NbdClient *c, Request *r, int *bad)
{
    bool has = r->type == NBD_CMD_WRITE || (c->extended && (r->flags & NBD_CMD_PAYLOAD_LEN));
    if (!has) {
        return true;
    }
    if (r->len > NBD_MAX_PAYLOAD) {
        return false; /* no honest client sends that much */
    }
    if (*bad || r->type != NBD_CMD_WRITE) {
        return skip_payload(c, r->len);
    }
    void *buf = buffer_take(&c->buffers, r->len);
    if (!buf) {
        *bad = -ENOMEM;
        return skip_payload(c, r->len);
    }
    r->data = buf;
    return io_channel_read(c->ch, buf, r->len) > 0;
}

/* One request from the wire; false: the client is gone, or must go. */
static bool next_request(NbdClient *c)
{
    Request *r = g_new0(Request, 1);
    if (!read_head(c, r) || r->type == NBD_CMD_DISC) {
        g_free(r);
        return false;
    }
    int bad = check(r);
    r->buffered =
        r->type == NBD_CMD_READ || r->type == NBD_CMD_WRITE ? MIN(r->len, NBD_MAX_PAYLOAD) : 4096;
    while (c->requests >= NBD_MAX_REQUESTS ||
           (c->requests && c->buffered + r->buffered > NBD_MAX_BUFFERED)) {
        fiber_queue_wait(&c->room);
    }
    if (c->dead || !take_payload(c, r, &bad)) {
        buffer_give(&c->buffers, r->data, r->len);
        g_free(r);
        return false;
    }
    if (bad) {
        send_result(r, bad);
        g_free(r);
        return !c->dead;
    }
    c->requests++;
    c->buffered += r->buffered;
    fiber_enter(fiber_new(request_fiber, r));
    return true;
}

void nbd_transmit(NbdClient *c)
{
    buffer_pool_init(&c->buffers, NBD_MAX_BUFFERED);
    while (next_request(c)) {
    }
    c->dead = true;
    io_channel_shutdown(c->ch);
    while (c->requests) {
        fiber_queue_wait(&c->room);
    }
    buffer_pool_fini(&c->buffers);
}
