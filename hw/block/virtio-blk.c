/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The virtio disk: VIRTIO 1.2, section 5.2. */
#include "block/block.h"
#include "block/iothread.h"
#include "hw/virtio/virtio-pci.h"
#include "util/log.h"
#include "util/trace.h"

#include <linux/virtio_blk.h>
#include <string.h>

TRACE_EVENT(virtio_blk_request, "type %u sector %" G_GUINT64_FORMAT " bytes %zu")

#define SERIAL_LEN 20
#define DISCARD_SECTORS_MAX (1u << 22)
#define KEPT_MAX (VIRTIO_QUEUE_MAX * VIRTIO_RING_MAX / 8)

typedef struct VirtioBlk {
    VirtioPci parent;
    BlockConf conf;
    char *serial;
    Object *iothread; /* link<iothread>, or NULL: the platform loop's */
    uint16_t num_queues, queue_size;
    bool config_wce, discard, write_zeroes;

    BlockBackend *blk;
    uint64_t capacity;     /* in 512-byte sectors */
    DiskGeometry geometry; /* guessed at realize: the guest reads it without touching the disk */
    uint32_t in_flight;
    GQueue waiting; /* requests to be tried again when the machine continues */
    /* The same as they travel: a bit for each, at queue * VIRTIO_RING_MAX + head. */
    uint8_t *kept;
    uint32_t kept_len;
} VirtioBlk;

typedef struct Request {
    VirtElement e;
    VirtioBlk *d;
    uint32_t type;
    uint64_t sector;
    IoVec data;       /* a part of e.out or e.in */
    uint32_t written; /* bytes of `in` on success, without the status */
} Request;

static VirtioBlk *blk_of(VirtioDevice *v)
{
    return (VirtioBlk *)v->dev;
}

/* ---- finishing ---- */

static void finish(Request *r, uint8_t status)
{
    VirtQueue *q = r->e.queue;
    uint32_t written = (status == VIRTIO_BLK_S_OK ? r->written : 0) + 1;
    iov_from_buf(r->e.in.iov, r->e.in.n, r->e.in.size - 1, &status, 1);
    iovec_free(&r->data);
    virtqueue_push(&r->e, written);
    virtqueue_interrupt(q);
}

static void done(void *opaque, int result)
{
    Request *r = opaque;
    VirtioBlk *d = r->d;
    d->in_flight--;
    if (result == 0) {
        finish(r, VIRTIO_BLK_S_OK);
        return;
    }
    bool is_read = r->type == VIRTIO_BLK_T_IN;
    switch (blk_error_action(d->blk, is_read, -result)) {
    case BLK_ERROR_IGNORE:
        finish(r, VIRTIO_BLK_S_OK);
        break;
    case BLK_ERROR_STOP:
        g_queue_push_tail(&d->waiting, r);
        break;
    default:
        finish(r, VIRTIO_BLK_S_IOERR);
        break;
    }
}

/* ---- starting ---- */

static bool in_range(const VirtioBlk *d, uint64_t sector, uint64_t sectors)
{
    return sector <= d->capacity && sectors <= d->capacity - sector;
}

static void start_transfer(Request *r)
{
    VirtioBlk *d = r->d;
    bool write = r->type == VIRTIO_BLK_T_OUT;
    size_t len = r->data.size;
    if (len % BLOCK_SECTOR || (len | r->sector * BLOCK_SECTOR) % d->conf.logical_block_size ||
        !in_range(d, r->sector, len / BLOCK_SECTOR)) {
        guest_error("virtio-blk", "request of %zu bytes at sector %" G_GUINT64_FORMAT, len,
                    (guint64)r->sector);
        finish(r, VIRTIO_BLK_S_IOERR);
        return;
    }
    if (write && !blk_writable(d->blk)) {
        finish(r, VIRTIO_BLK_S_IOERR);
        return;
    }
    r->written = write ? 0 : (uint32_t)len;
    d->in_flight++;
    if (write) {
        blk_aio_pwritev(d->blk, r->sector * BLOCK_SECTOR, &r->data, 0, done, r);
    } else {
        blk_aio_preadv(d->blk, r->sector * BLOCK_SECTOR, &r->data, done, r);
    }
}

/* Discard and write zeroes: one segment (we announce no more). */
static void start_range(Request *r)
{
    VirtioBlk *d = r->d;
    struct virtio_blk_discard_write_zeroes seg;
    if (r->data.size != sizeof(seg) || !blk_writable(d->blk)) {
        finish(r, r->data.size != sizeof(seg) ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR);
        return;
    }
    iov_to_buf(r->data.iov, r->data.n, 0, &seg, sizeof(seg));
    uint64_t sector = BITS_LE64(seg.sector), n = BITS_LE32(seg.num_sectors);
    uint32_t flags = BITS_LE32(seg.flags);
    bool zeroes = r->type == VIRTIO_BLK_T_WRITE_ZEROES;
    if (!in_range(d, sector, n) || n > DISCARD_SECTORS_MAX) {
        finish(r, VIRTIO_BLK_S_IOERR);
        return;
    }
    if (flags & ~(zeroes ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0u)) {
        finish(r, VIRTIO_BLK_S_UNSUPP);
        return;
    }
    d->in_flight++;
    if (zeroes) {
        blk_aio_zero(d->blk, sector * BLOCK_SECTOR, n * BLOCK_SECTOR, flags ? BLK_MAY_UNMAP : 0,
                     done, r);
    } else {
        blk_aio_discard(d->blk, sector * BLOCK_SECTOR, n * BLOCK_SECTOR, done, r);
    }
}

static void get_id(Request *r)
{
    char id[SERIAL_LEN] = {0};
    const char *serial = r->d->serial ? r->d->serial : "";
    memcpy(id, serial, MIN(strlen(serial), sizeof(id)));
    r->written = (uint32_t)iov_from_buf(r->data.iov, r->data.n, 0, id, sizeof(id));
    finish(r, VIRTIO_BLK_S_OK);
}

static void start(Request *r)
{
    trace(virtio_blk_request, r->type, (guint64)r->sector, r->data.size);
    switch (r->type) {
    case VIRTIO_BLK_T_IN:
    case VIRTIO_BLK_T_OUT:
        start_transfer(r);
        break;
    case VIRTIO_BLK_T_FLUSH:
        r->d->in_flight++;
        blk_aio_flush(r->d->blk, done, r);
        break;
    case VIRTIO_BLK_T_GET_ID:
        get_id(r);
        break;
    case VIRTIO_BLK_T_DISCARD:
    case VIRTIO_BLK_T_WRITE_ZEROES:
        if (virtio_has(&r->d->parent.vdev, r->type == VIRTIO_BLK_T_DISCARD
                                               ? VIRTIO_BLK_F_DISCARD
                                               : VIRTIO_BLK_F_WRITE_ZEROES)) {
            start_range(r);
            break;
        }
        /* fall through */
    default:
        finish(r, VIRTIO_BLK_S_UNSUPP);
        break;
    }
}

/* Header at the start of `out`, status at the end of `in`, data between. */
static bool parse(Request *r)
{
    struct virtio_blk_outhdr h;
    if (r->e.out.size < sizeof(h) || r->e.in.size < 1) {
        return false;
    }
    iov_to_buf(r->e.out.iov, r->e.out.n, 0, &h, sizeof(h));
    r->type = BITS_LE32(h.type) & ~VIRTIO_BLK_T_BARRIER;
    r->sector = BITS_LE64(h.sector);
    if (r->sector > INT64_MAX / BLOCK_SECTOR) {
        r->sector = INT64_MAX / BLOCK_SECTOR;
    }
    bool from_guest = r->type == VIRTIO_BLK_T_OUT || r->type == VIRTIO_BLK_T_DISCARD ||
                      r->type == VIRTIO_BLK_T_WRITE_ZEROES;
    if (from_guest) {
        iovec_concat(&r->data, &r->e.out, sizeof(h), r->e.out.size - sizeof(h));
    } else {
        iovec_concat(&r->data, &r->e.in, 0, r->e.in.size - 1);
    }
    return true;
}

static void broken_request(VirtioDevice *v, Request *r)
{
    virtio_error(v, "request without header or status");
    virtqueue_discard(&r->e);
}

static void handle_queue(VirtioDevice *v, VirtQueue *q)
{
    VirtioBlk *d = blk_of(v);
    do {
        virtqueue_set_notification(q, false);
        Request *r;
        while ((r = virtqueue_pop(q, sizeof(*r)))) {
            r->d = d;
            if (!parse(r)) {
                broken_request(v, r);
                return;
            }
            start(r);
        }
        virtqueue_set_notification(q, true);
    } while (!v->broken && !virtqueue_empty(q));
}

/* ---- configuration ---- */

static void get_config(VirtioDevice *v, uint8_t *config)
{
    VirtioBlk *d = blk_of(v);
    struct virtio_blk_config c = {0};
    const DiskGeometry *g = &d->geometry;
    uint32_t ratio = d->conf.physical_block_size / d->conf.logical_block_size;
    c.capacity = BITS_LE64(d->capacity);
    c.seg_max = BITS_LE32(MIN((uint32_t)d->queue_size - 2, 254u));
    c.geometry.cylinders = BITS_LE16((uint16_t)(d->conf.cyls ? d->conf.cyls : g->cylinders));
    c.geometry.heads = (uint8_t)(d->conf.heads ? d->conf.heads : g->heads);
    c.geometry.sectors = (uint8_t)(d->conf.secs ? d->conf.secs : g->sectors);
    c.blk_size = BITS_LE32(d->conf.logical_block_size);
    while (ratio > 1) {
        c.physical_block_exp++;
        ratio /= 2;
    }
    c.min_io_size = BITS_LE16((uint16_t)(d->conf.min_io_size / d->conf.logical_block_size));
    c.opt_io_size = BITS_LE32(d->conf.opt_io_size / d->conf.logical_block_size);
    c.wce = blk_write_cache(d->blk);
    c.num_queues = BITS_LE16(d->num_queues);
    c.max_discard_sectors = BITS_LE32(DISCARD_SECTORS_MAX);
    c.max_discard_seg = BITS_LE32(1);
    c.discard_sector_alignment = BITS_LE32(d->conf.logical_block_size / BLOCK_SECTOR);
    c.max_write_zeroes_sectors = BITS_LE32(DISCARD_SECTORS_MAX);
    c.max_write_zeroes_seg = BITS_LE32(1);
    c.write_zeroes_may_unmap = 1;
    memcpy(config, &c, sizeof(c));
}

static void set_config(VirtioDevice *v, const uint8_t *config, uint32_t offset, uint32_t len)
{
    const uint32_t wce = offsetof(struct virtio_blk_config, wce);
    if (offset <= wce && offset + len > wce && blk_of(v)->config_wce) {
        blk_set_write_cache(blk_of(v)->blk, config[wce] & 1);
    }
}

static void reset(VirtioDevice *v)
{
    VirtioBlk *d = blk_of(v);
    if (d->in_flight) {
        blk_drain_begin(d->blk);
        blk_drain_end(d->blk);
    }
    Request *r;
    while ((r = g_queue_pop_head(&d->waiting))) {
        iovec_free(&r->data);
        virtqueue_discard(&r->e);
    }
    g_clear_pointer(&d->kept, g_free);
    d->kept_len = 0;
}

static const VirtioOps virtio_blk_ops = {.device_id = 2,
                                         .name = "virtio-blk",
                                         .config_size = offsetof(struct virtio_blk_config, unused1),
                                         .get_config = get_config,
                                         .set_config = set_config,
                                         .reset = reset};

/* ---- life ---- */

static void resized(void *opaque)
{
    VirtioBlk *d = opaque;
    int64_t len = blk_length(d->blk);
    d->capacity = len > 0 ? (uint64_t)len / BLOCK_SECTOR : 0;
    virtio_config_changed(&d->parent.vdev);
}

/* What a loaded state had kept becomes requests; the guest's memory is all there by now. */
static void take_kept(VirtioBlk *d)
{
    VirtioDevice *v = &d->parent.vdev;
    for (uint32_t bit = 0; bit < d->kept_len * 8 && !v->broken; bit++) {
        uint32_t queue = bit / VIRTIO_RING_MAX;
        if (!(d->kept[bit / 8] & (1u << bit % 8)) || queue >= v->nqueues) {
            continue;
        }
        Request *r = virtqueue_take_again(&v->queues[queue], bit % VIRTIO_RING_MAX, sizeof(*r));
        if (!r) {
            continue;
        }
        r->d = d;
        if (!parse(r)) {
            broken_request(v, r);
            break;
        }
        g_queue_push_tail(&d->waiting, r);
    }
}

/* The machine goes on after a stop for an error: what waited is tried again. */
static void retry(void *opaque)
{
    VirtioBlk *d = opaque;
    if (!d->waiting.length) { /* else `kept` is what a save has noted of the very same */
        take_kept(d);
    }
    g_clear_pointer(&d->kept, g_free);
    d->kept_len = 0;
    for (guint n = g_queue_get_length(&d->waiting); n; n--) {
        start(g_queue_pop_head(&d->waiting));
    }
}

static const BlockDevOps dev_ops = {.resized = resized, .retry = retry};

static bool check_properties(VirtioBlk *d, Error **errp)
{
    const BlockConf *c = &d->conf;
    if (!c->drive) {
        error_set(errp, "virtio-blk-pci: property 'drive' is missing");
        error_hint(errp,
                   "give a disk: -drive if=none,id=d0,file=… -device virtio-blk-pci,drive=d0");
        return false;
    }
    if (!IS_POWER_OF_2(c->logical_block_size) || !IS_POWER_OF_2(c->physical_block_size) ||
        c->physical_block_size < c->logical_block_size) {
        error_set(errp,
                  "virtio-blk-pci: block sizes %u (logical) and %u (physical): expected "
                  "powers of two, the physical not below the logical",
                  c->logical_block_size, c->physical_block_size);
        return false;
    }
    if (!IS_POWER_OF_2(d->queue_size) || d->queue_size > VIRTIO_RING_MAX || d->queue_size < 4) {
        error_set(errp, "virtio-blk-pci: queue-size=%u: expected a power of two from 4 to %u",
                  d->queue_size, VIRTIO_RING_MAX);
        return false;
    }
    return true;
}

static bool virtio_blk_realize(Device *dev, Error **errp)
{
    VirtioBlk *d = (VirtioBlk *)dev;
    bool translated;
    if (!check_properties(d, errp)) {
        return false;
    }
    d->blk = (BlockBackend *)d->conf.drive;
    if (d->iothread) { /* from here on everything of this device is under that loop's lock */
        dev->owner.loop = ((IoThread *)d->iothread)->loop;
    }
    if (!blk_attach(d->blk, d, dev->id ? dev->id : "virtio-blk", &dev_ops, true, d->conf.share_rw,
                    dev->owner.loop, errp)) {
        return false;
    }
    blk_set_device_path(d->blk, &dev->obj, NULL, "/virtio-backend");
    if (!blk_present(d->blk)) {
        error_set(errp,
                  "virtio-blk-pci: drive '%s' has no medium, and this disk can't change media",
                  blk_name(d->blk));
        blk_detach(d->blk);
        return false;
    }
    blk_guess_geometry(d->blk, &d->geometry, &translated);
    if (!blk_apply_conf(d->blk, &d->conf, errp)) {
        blk_detach(d->blk);
        return false;
    }
    if (d->num_queues == UINT16_MAX) {
        d->num_queues = (uint16_t)CLAMP(dev->machine->smp.cpus, 1, 16);
    }
    uint64_t features = BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_GEOMETRY) |
                        BIT(VIRTIO_BLK_F_BLK_SIZE) | BIT(VIRTIO_BLK_F_FLUSH) |
                        BIT(VIRTIO_BLK_F_TOPOLOGY);
    features |= d->config_wce ? BIT(VIRTIO_BLK_F_CONFIG_WCE) : 0;
    features |= d->num_queues > 1 ? BIT(VIRTIO_BLK_F_MQ) : 0;
    features |= d->discard ? BIT(VIRTIO_BLK_F_DISCARD) : 0;
    features |= d->write_zeroes ? BIT(VIRTIO_BLK_F_WRITE_ZEROES) : 0;
    features |= blk_writable(d->blk) ? 0 : BIT(VIRTIO_BLK_F_RO);
    virtio_init(&d->parent.vdev, dev, &virtio_blk_ops, features);
    for (unsigned i = 0; i < d->num_queues; i++) {
        virtio_add_queue(&d->parent.vdev, d->queue_size, handle_queue);
    }
    int64_t len = blk_length(d->blk);
    d->capacity = len > 0 ? (uint64_t)len / BLOCK_SECTOR : 0;
    g_queue_init(&d->waiting);
    return true;
}

static void virtio_blk_unrealize(Device *dev)
{
    VirtioBlk *d = (VirtioBlk *)dev;
    blk_detach(d->blk);
    d->blk = NULL;
    g_clear_pointer(&d->kept, g_free);
}

static unsigned default_vectors(Device *dev)
{
    return ((VirtioBlk *)dev)->num_queues + 1u;
}

static const StateField fields[] = {
    STATE_F_VIRTIO_PCI(VirtioBlk, parent),
    STATE_F_BUFFER(VirtioBlk, kept, kept_len, KEPT_MAX),
    {0},
};

/* Requests in flight end first; those kept by an error are saved by their places in the rings. */
static void pre_save(void *opaque)
{
    VirtioBlk *d = opaque;
    if (d->in_flight) {
        blk_drain_begin(d->blk);
        blk_drain_end(d->blk);
    }
    if (!d->waiting.length) {
        return; /* what was loaded and not yet tried again stays as it is */
    }
    g_free(d->kept);
    d->kept_len = d->parent.vdev.nqueues * (VIRTIO_RING_MAX / 8);
    d->kept = g_malloc0(d->kept_len);
    for (GList *l = d->waiting.head; l; l = l->next) {
        const Request *r = l->data;
        uint32_t bit = r->e.queue->index * VIRTIO_RING_MAX + r->e.head;
        d->kept[bit / 8] |= (uint8_t)(1u << bit % 8);
    }
}

/* Requests of the machine as it was are forgotten; the loaded ones are in `kept`. */
static void loaded(void *opaque)
{
    VirtioBlk *d = opaque;
    Request *r;
    while ((r = g_queue_pop_head(&d->waiting))) {
        iovec_free(&r->data);
        virtqueue_discard(&r->e);
    }
}

static const StateDesc virtio_blk_state = {
    .name = "virtio-blk", .version = 1, .fields = fields, .pre_save = pre_save, .loaded = loaded};

static const Property props[] = {
    PROPERTIES_BLOCK(VirtioBlk, conf),
    PROPERTY_STRING("serial", VirtioBlk, serial, "serial number, up to 20 characters"),
    PROPERTY_LINK("iothread", VirtioBlk, iothread, TYPE_IOTHREAD, "thread that serves the disk"),
    PROPERTY_I32("bootindex", Device, bootindex, -1, "place in the boot order; -1: none"),
    PROP_FIELD(VirtioBlk, num_queues, PROP_U16, "num-queues", "queues; 65535: one a CPU",
               .def = UINT16_MAX, .min = 1),
    PROPERTY_U16("queue-size", VirtioBlk, queue_size, 256, "entries of a queue"),
    PROPERTY_BOOL("config-wce", VirtioBlk, config_wce, true,
                  "the guest may switch the write cache"),
    PROPERTY_BOOL("discard", VirtioBlk, discard, true, "offer discard"),
    PROPERTY_BOOL("write-zeroes", VirtioBlk, write_zeroes, true, "offer write zeroes"),
    {0},
};

VIRTIO_PCI_TYPES(virtio_blk, "virtio-blk", "virtio disk", VirtioBlk, props, 0x1001, &virtio_blk_ops,
                 PCI_CLASS_STORAGE_SCSI, DEVICE_CATEGORY_STORAGE, &virtio_blk_state,
                 virtio_blk_realize, virtio_blk_unrealize, default_vectors)
