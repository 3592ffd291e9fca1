/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The export vhost-user-blk: a virtio disk (VIRTIO 1.2, section 5.2) whose guest runs in somebody
 * else's process.  One front-end at a time; the next one waits in the socket's queue.
 */
#include "block/export.h"
#include "block/export/vhost.h"
#include "io/socket.h"
#include "util/trace.h"

#include <linux/virtio_blk.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

TRACE_EVENT(vhost_blk_request, "type %u sector %" G_GUINT64_FORMAT " bytes %zu")

#define SECTORS_MAX (1u << 22) /* of one discard or write-zeroes */
#define SEG_MAX 126u

typedef struct VhostBlk {
    BlockExport base;
    SocketSpec addr;
    int fd; /* listening; -1: none */
    bool listening;
    VhostConn *conn; /* NULL: nobody is there */
    uint32_t block_size;
    unsigned queues;
    bool write_cache;
} VhostBlk;

/* ---- requests ---- */

typedef struct Request {
    VhostBlk *x;
    VhostElement *e;
    uint32_t type;
    uint64_t sector;
    IoVec data;       /* a part of e->out or e->in */
    uint32_t written; /* bytes of e->in on success, without the status */
} Request;

static uint8_t transfer(Request *r, BlockNode *n, unsigned flags)
{
    VhostBlk *x = r->x;
    size_t len = r->data.size;
    uint64_t off = r->sector * BLOCK_SECTOR;
    bool write = r->type == VIRTIO_BLK_T_OUT;
    if (r->sector > n->length / BLOCK_SECTOR || len > n->length - off || len % BLOCK_SECTOR ||
        (off | len) % x->block_size || (write && !x->base.writable)) {
        return VIRTIO_BLK_S_IOERR;
    }
    int ret = write ? node_pwritev(n, off, &r->data, flags) : node_preadv(n, off, &r->data);
    r->written = write || ret < 0 ? 0 : (uint32_t)len;
    return ret < 0 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
}

/* Discard and write zeroes: one segment, as the configuration says. */
static uint8_t change_range(Request *r, BlockNode *n, unsigned flags)
{
    struct virtio_blk_discard_write_zeroes seg;
    bool zeroes = r->type == VIRTIO_BLK_T_WRITE_ZEROES;
    if (!r->x->base.writable) {
        return VIRTIO_BLK_S_IOERR;
    }
    if (r->data.size != sizeof(seg)) {
        return VIRTIO_BLK_S_UNSUPP;
    }
    iov_to_buf(r->data.iov, r->data.n, 0, &seg, sizeof(seg));
    uint64_t sector = BITS_LE64(seg.sector), count = BITS_LE32(seg.num_sectors);
    uint32_t f = BITS_LE32(seg.flags), unmap = VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
    if (f & ~(zeroes ? unmap : 0)) {
        return VIRTIO_BLK_S_UNSUPP;
    }
    uint64_t all = n->length / BLOCK_SECTOR;
    if (sector > all || count > all - sector || count > SECTORS_MAX) {
        return VIRTIO_BLK_S_IOERR;
    }
    uint64_t off = sector * BLOCK_SECTOR, len = count * BLOCK_SECTOR;
    flags |= f & unmap ? BLK_MAY_UNMAP : 0;
    int ret = !count ? 0 : zeroes ? node_zero(n, off, len, flags) : node_discard(n, off, len);
    return ret < 0 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
}

static uint8_t get_id(Request *r)
{
    static const char id[VIRTIO_BLK_ID_BYTES] = "vhost_user_blk";
    r->written = (uint32_t)iov_from_buf(r->data.iov, r->data.n, 0, id, sizeof(id));
    return VIRTIO_BLK_S_OK;
}

static uint8_t run(Request *r)
{
    VhostBlk *x = r->x;
    const VhostConn *c = r->e->ring->conn;
    BlockNode *n = blk_node(x->base.blk);
    /* Who cannot flush, or has switched the cache off, has everything durable at once. */
    unsigned flags = x->write_cache && vhost_has(c, VIRTIO_BLK_F_FLUSH) ? 0 : BLK_FUA;
    if (!n) {
        return VIRTIO_BLK_S_IOERR;
    }
    trace(vhost_blk_request, r->type, (guint64)r->sector, r->data.size);
    switch (r->type) {
    case VIRTIO_BLK_T_IN:
    case VIRTIO_BLK_T_OUT:
        return transfer(r, n, flags);
    case VIRTIO_BLK_T_FLUSH:
        return node_flush(n) < 0 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
    case VIRTIO_BLK_T_GET_ID:
        return get_id(r);
    case VIRTIO_BLK_T_DISCARD:
    case VIRTIO_BLK_T_WRITE_ZEROES:
        return change_range(r, n, flags);
    default:
        return VIRTIO_BLK_S_UNSUPP;
    }
}

static void request_fiber(void *opaque)
{
    Request *r = opaque;
    VhostElement *e = r->e;
    BlockGraph *g = r->x->base.graph;
    block_enter(g, r->x->base.loop);
    uint8_t status = run(r);
    block_leave(g);
    uint32_t written = (status == VIRTIO_BLK_S_OK ? r->written : 0) + 1;
    iov_from_buf(e->in.iov, e->in.n, e->in.size - 1, &status, 1);
    iovec_free(&r->data);
    g_free(r);
    vhost_ring_push(e, written); /* the last one may end the export */
}

/* Header at the start of `out`, status at the end of `in`, data between. */
static bool request(void *opaque, VhostElement *e)
{
    struct virtio_blk_outhdr h;
    if (e->out.size < sizeof(h) || e->in.size < 1) {
        return false;
    }
    iov_to_buf(e->out.iov, e->out.n, 0, &h, sizeof(h));
    Request *r = g_new0(Request, 1);
    r->x = opaque;
    r->e = e;
    r->type = BITS_LE32(h.type) & ~VIRTIO_BLK_T_BARRIER;
    r->sector = BITS_LE64(h.sector);
    bool from_guest = r->type == VIRTIO_BLK_T_OUT || r->type == VIRTIO_BLK_T_DISCARD ||
                      r->type == VIRTIO_BLK_T_WRITE_ZEROES;
    if (from_guest) {
        iovec_concat(&r->data, &e->out, sizeof(h), e->out.size - sizeof(h));
    } else {
        iovec_concat(&r->data, &e->in, 0, e->in.size - 1);
    }
    fiber_enter(fiber_new(request_fiber, r));
    return true;
}

/* ---- configuration ---- */

static uint64_t features(void *opaque)
{
    VhostBlk *x = opaque;
    uint64_t f = BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_BLK_SIZE) |
                 BIT(VIRTIO_BLK_F_TOPOLOGY) | BIT(VIRTIO_BLK_F_FLUSH) |
                 BIT(VIRTIO_BLK_F_CONFIG_WCE);
    f |= x->queues > 1 ? BIT(VIRTIO_BLK_F_MQ) : 0;
    f |= x->base.writable ? BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES)
                          : BIT(VIRTIO_BLK_F_RO);
    return f;
}

static void get_config(void *opaque, uint8_t *config)
{
    VhostBlk *x = opaque;
    int64_t len = blk_length(x->base.blk);
    struct virtio_blk_config c = {0};
    c.capacity = BITS_LE64(len > 0 ? (uint64_t)len / BLOCK_SECTOR : 0);
    c.seg_max = BITS_LE32(SEG_MAX);
    c.blk_size = BITS_LE32(x->block_size);
    c.min_io_size = BITS_LE16(1);
    c.opt_io_size = BITS_LE32(1);
    c.wce = x->write_cache;
    c.num_queues = BITS_LE16((uint16_t)x->queues);
    c.max_discard_sectors = BITS_LE32(SECTORS_MAX);
    c.max_discard_seg = BITS_LE32(1);
    c.discard_sector_alignment = BITS_LE32(x->block_size / BLOCK_SECTOR);
    c.max_write_zeroes_sectors = BITS_LE32(SECTORS_MAX);
    c.max_write_zeroes_seg = BITS_LE32(1);
    c.write_zeroes_may_unmap = 1;
    G_STATIC_ASSERT(sizeof(c) <= VHOST_CONFIG_MAX);
    memcpy(config, &c, sizeof(c));
}

static bool set_config(void *opaque, uint32_t offset, const uint8_t *data, uint32_t len)
{
    VhostBlk *x = opaque;
    if (offset != offsetof(struct virtio_blk_config, wce) || len != 1 || x->base.writethrough) {
        return false;
    }
    x->write_cache = data[0] & 1;
    return true;
}

/* ---- listening ---- */

static void incoming(void *opaque);

static void update_listening(VhostBlk *x)
{
    bool on = x->fd >= 0 && !x->conn && !x->base.closing;
    if (on != x->listening) {
        x->listening = on;
        loop_watch_fd(x->base.graph->control, x->fd, on ? incoming : NULL, NULL, x);
    }
}

static void gone(void *opaque)
{
    VhostBlk *x = opaque;
    x->conn = NULL;
    if (x->base.closing) {
        block_export_ended(&x->base);
    } else {
        update_listening(x);
    }
}

static const VhostDeviceOps device_ops = {.features = features,
                                          .get_config = get_config,
                                          .set_config = set_config,
                                          .request = request,
                                          .gone = gone};

static void incoming(void *opaque)
{
    VhostBlk *x = opaque;
    int fd = accept4(x->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) {
        x->write_cache = !x->base.writethrough;
        x->conn =
            vhost_conn_new(fd, x->base.loop, x->base.graph->control, x->queues, &device_ops, x);
        update_listening(x);
    }
}

/* ---- the export ---- */

static bool start(BlockExport *e, BlockOpts *o, Error **errp)
{
    VhostBlk *x = (VhostBlk *)e;
    const Json *addr = block_opts_take(o, "addr");
    x->fd = -1;
    x->block_size = (uint32_t)block_opts_uint(o, "logical-block-size", 512, 0, UINT32_MAX);
    x->queues = (unsigned)block_opts_uint(o, "num-queues", 1, 1, VHOST_QUEUES_MAX);
    x->write_cache = !e->writethrough;
    if (!IS_POWER_OF_2(x->block_size) || x->block_size < 512 || x->block_size > 32768) {
        block_opts_mistake(o, "'logical-block-size' must be a power of two from 512 to 32768");
    }
    if (!addr) {
        block_opts_mistake(o, "'addr' is missing");
    }
    if (!block_opts_finish(o, errp) || !socket_spec_from_json(&x->addr, addr, errp)) {
        return false;
    }
    if (x->addr.type == SOCKET_INET) {
        error_set(errp, "vhost-user passes memory through its socket: 'addr' must be of type "
                        "unix or fd");
        return false;
    }
    x->fd = socket_listen(&x->addr, 1, errp);
    if (x->fd < 0) {
        return false;
    }
    update_listening(x);
    return true;
}

static bool in_use(const BlockExport *e)
{
    return ((const VhostBlk *)e)->conn != NULL;
}

static void close_socket(VhostBlk *x)
{
    if (x->fd >= 0) {
        update_listening(x);
        close(x->fd);
        x->fd = -1;
        if (x->addr.type == SOCKET_UNIX && x->addr.path && !x->addr.abstract_name) {
            unlink(x->addr.path);
        }
    }
}

static void stop(BlockExport *e)
{
    VhostBlk *x = (VhostBlk *)e;
    close_socket(x);
    if (x->conn) {
        vhost_conn_shutdown(x->conn);
    } else {
        block_export_ended(e);
    }
}

static void x_free(BlockExport *e)
{
    VhostBlk *x = (VhostBlk *)e;
    e->closing = true;
    close_socket(x);
    socket_spec_clear(&x->addr);
}

static void resized(void *opaque)
{
    VhostBlk *x = opaque;
    if (x->conn) {
        vhost_conn_config_changed(x->conn);
    }
}

static const BlockDevOps dev_ops = {.resized = resized};

const BlockExportDriver vhost_user_blk_export_driver = {.type = "vhost-user-blk",
                                                        .size = sizeof(VhostBlk),
                                                        .start = start,
                                                        .in_use = in_use,
                                                        .stop = stop,
                                                        .free = x_free,
                                                        .ops = &dev_ops};
