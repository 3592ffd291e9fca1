/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Split virtqueues: VIRTIO 1.2, section 2.7. */
#include "hw/virtio/virtio.h"
#include "util/sanitize.h"

#define DESC_F_NEXT 1
#define DESC_F_WRITE 2
#define DESC_F_INDIRECT 4
#define AVAIL_F_NO_INTERRUPT 1
#define USED_F_NO_NOTIFY 1

typedef struct Desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
} Desc;
G_STATIC_ASSERT(sizeof(Desc) == 16);

/* ---- ring fields in guest memory ---- */

static uint16_t ring_read16(VirtQueue *q, uint64_t addr)
{
    uint64_t v = 0;
    if (address_space_ld(q->dev->as, addr, MEM_ATTRS_NONE, 2, &v) != MEM_OK) {
        return 0;
    }
    return (uint16_t)v;
}

static void ring_write16(VirtQueue *q, uint64_t addr, uint16_t v)
{
    address_space_st(q->dev->as, addr, MEM_ATTRS_NONE, 2, v);
}

static uint16_t avail_idx(VirtQueue *q)
{
    return ring_read16(q, q->avail + 2);
}

static uint16_t used_event(VirtQueue *q)
{
    return ring_read16(q, q->avail + 4 + 2ull * q->size);
}

static void set_avail_event(VirtQueue *q, uint16_t v)
{
    ring_write16(q, q->used + 4 + 8ull * q->size, v);
}

bool virtqueue_empty(VirtQueue *q)
{
    return !q->enabled || avail_idx(q) == q->last_avail;
}

void virtqueue_set_notification(VirtQueue *q, bool on)
{
    q->notification = on;
    if (!q->enabled) {
        return;
    }
    if (virtio_has(q->dev, VIRTIO_F_RING_EVENT_IDX)) {
        if (on) {
            set_avail_event(q, q->last_avail);
        }
    } else {
        ring_write16(q, q->used, on ? 0 : USED_F_NO_NOTIFY);
    }
    /* The driver must see this before we look for more buffers. */
    atomic_fence_full();
}

void virtio_queue_set_legacy_pfn(VirtQueue *q, uint32_t pfn)
{
    uint64_t base = (uint64_t)pfn << 12;
    q->enabled = pfn != 0;
    q->desc = base;
    q->avail = base + 16ull * q->size;
    q->used = ALIGN_UP(q->avail + 4 + 2ull * q->size + 2, 4096);
}

/* ---- taking a request ---- */

/* Where descriptors come from: the ring's table, or an indirect one in a private copy. */
typedef struct Table {
    uint64_t addr;
    uint32_t n;
    Desc *copy; /* indirect tables only */
} Table;

static bool read_desc(VirtQueue *q, const Table *t, uint32_t i, Desc *d)
{
    if (i >= t->n) {
        virtio_error(q->dev, "queue %u: descriptor %u of a table of %u", q->index, i, t->n);
        return false;
    }
    if (t->copy) {
        *d = t->copy[i];
    } else if (address_space_read(q->dev->as, t->addr + 16ull * i, MEM_ATTRS_NONE, d, sizeof(*d)) !=
               MEM_OK) {
        virtio_error(q->dev, "queue %u: descriptor table outside memory", q->index);
        return false;
    }
    d->addr = BITS_LE64(d->addr);
    d->len = BITS_LE32(d->len);
    d->flags = BITS_LE16(d->flags);
    d->next = BITS_LE16(d->next);
    return true;
}

static bool enter_indirect(VirtQueue *q, const Desc *d, Table *t)
{
    if (!virtio_has(q->dev, VIRTIO_F_RING_INDIRECT_DESC) || t->copy || (d->flags & DESC_F_NEXT) ||
        !d->len || d->len % sizeof(Desc) || d->len / sizeof(Desc) > VIRTIO_SEGMENTS_MAX) {
        virtio_error(q->dev, "queue %u: malformed indirect descriptor", q->index);
        return false;
    }
    t->n = d->len / sizeof(Desc);
    t->copy = g_malloc(d->len);
    if (address_space_read(q->dev->as, d->addr, MEM_ATTRS_NONE, t->copy, d->len) != MEM_OK) {
        virtio_error(q->dev, "queue %u: indirect table outside memory", q->index);
        return false;
    }
    return true;
}

/* Maps a buffer, which may lie in several RAM blocks, into the element. */
static bool map_buffer(VirtQueue *q, VirtElement *e, const Desc *d)
{
    bool write = d->flags & DESC_F_WRITE;
    IoVec *v = write ? &e->in : &e->out;
    uint64_t addr = d->addr;
    size_t left = d->len;
    if (!left) {
        virtio_error(q->dev, "queue %u: empty buffer", q->index);
        return false;
    }
    while (left) {
        size_t len = left;
        void *p = address_space_map(q->dev->as, addr, &len, write);
        if (!p || !len || v->n >= VIRTIO_SEGMENTS_MAX) {
            virtio_error(q->dev, "queue %u: buffer at 0x%" G_GINT64_MODIFIER "x is not memory",
                         q->index, addr);
            return false;
        }
        iovec_add(v, p, len);
        addr += len;
        left -= len;
    }
    return true;
}

/* Walks the chain from `head` into `e`; false: broken, `e` may be partly filled. */
static bool gather(VirtQueue *q, VirtElement *e, uint16_t head)
{
    Table t = {.addr = q->desc, .n = q->size};
    Desc d;
    bool ok = read_desc(q, &t, head, &d);
    if (ok && (d.flags & DESC_F_INDIRECT)) {
        ok = enter_indirect(q, &d, &t) && read_desc(q, &t, 0, &d);
    }
    for (uint32_t seen = 0; ok; seen++) {
        if (seen >= t.n || (d.flags & DESC_F_INDIRECT)) {
            virtio_error(q->dev, "queue %u: descriptor chain loops or nests", q->index);
            ok = false;
        } else if (!(d.flags & DESC_F_WRITE) && e->in.n) {
            virtio_error(q->dev, "queue %u: readable buffer after a writable one", q->index);
            ok = false;
        } else {
            ok = map_buffer(q, e, &d);
        }
        if (!ok || !(d.flags & DESC_F_NEXT)) {
            break;
        }
        ok = read_desc(q, &t, d.next, &d);
    }
    g_free(t.copy);
    return ok;
}

static void release(VirtElement *e, uint32_t written)
{
    AddressSpace *as = e->queue->dev->as;
    for (unsigned i = 0; i < e->out.n; i++) {
        address_space_unmap(as, e->out.iov[i].iov_base, e->out.iov[i].iov_len, false);
    }
    for (unsigned i = 0; i < e->in.n; i++) {
        address_space_unmap(as, e->in.iov[i].iov_base, e->in.iov[i].iov_len, written > 0);
    }
    iovec_free(&e->out);
    iovec_free(&e->in);
}

/* The chain at `head` as an element of `size` bytes, in flight from now on; NULL: it is broken. */
static VirtElement *take(VirtQueue *q, uint16_t head, size_t size)
{
    VirtElement *e = g_malloc0(size);
    e->queue = q;
    e->head = head;
    if (!gather(q, e, head)) {
        release(e, 0);
        g_free(e);
        return NULL;
    }
    q->in_flight++;
    return e;
}

void *virtqueue_pop(VirtQueue *q, size_t size)
{
    if (q->dev->broken || virtqueue_empty(q)) {
        return NULL;
    }
    uint16_t pending = (uint16_t)(avail_idx(q) - q->last_avail);
    if (pending > q->size || q->in_flight >= q->size) {
        virtio_error(q->dev, "queue %u: %u requests in a ring of %u", q->index, pending, q->size);
        return NULL;
    }
    atomic_fence_acquire(); /* the index before the entry */
    uint16_t head = ring_read16(q, q->avail + 4 + 2ull * (q->last_avail % q->size));
    VirtElement *e = take(q, head, size);
    if (!e) {
        return NULL;
    }
    q->last_avail++;
    if (virtio_has(q->dev, VIRTIO_F_RING_EVENT_IDX) && q->notification) {
        set_avail_event(q, q->last_avail);
    }
    return e;
}

void *virtqueue_take_again(VirtQueue *q, uint16_t head, size_t size)
{
    if (q->dev->broken || !q->enabled || head >= q->size || q->in_flight >= q->size) {
        return NULL;
    }
    return take(q, head, size);
}

void virtqueue_push(VirtElement *e, uint32_t len)
{
    VirtQueue *q = e->queue;
    release(e, len);
    if (q->enabled && !q->dev->broken) {
        uint64_t slot = q->used + 4 + 8ull * (q->used_idx % q->size);
        address_space_st(q->dev->as, slot, MEM_ATTRS_NONE, 4, e->head);
        address_space_st(q->dev->as, slot + 4, MEM_ATTRS_NONE, 4, len);
        atomic_fence_release(); /* the entry before the index */
        ring_write16(q, q->used + 2, ++q->used_idx);
    }
    q->in_flight = q->in_flight ? q->in_flight - 1 : 0;
    g_free(e);
}

void virtqueue_discard(VirtElement *e)
{
    VirtQueue *q = e->queue;
    release(e, 0);
    q->in_flight = q->in_flight ? q->in_flight - 1 : 0;
    g_free(e);
}

void virtqueue_unpop(VirtElement *e)
{
    e->queue->last_avail--;
    virtqueue_discard(e);
}

/* Section 2.7.7: does the driver want an interrupt for what was used since the last? */
static bool wants_interrupt(VirtQueue *q)
{
    VirtioDevice *v = q->dev;
    atomic_fence_full(); /* the used index before the driver's wish */
    if (virtio_has(v, VIRTIO_F_NOTIFY_ON_EMPTY) && !q->in_flight && virtqueue_empty(q)) {
        return true;
    }
    if (!virtio_has(v, VIRTIO_F_RING_EVENT_IDX)) {
        return !(ring_read16(q, q->avail) & AVAIL_F_NO_INTERRUPT);
    }
    uint16_t old = q->signalled, now = q->used_idx;
    bool valid = q->signalled_valid;
    q->signalled = now;
    q->signalled_valid = true;
    return !valid || (uint16_t)(now - used_event(q) - 1) < (uint16_t)(now - old);
}

void virtqueue_interrupt(VirtQueue *q)
{
    if (q->enabled && !q->dev->broken && wants_interrupt(q)) {
        q->dev->isr |= 1;
        q->dev->transport->notify(q->dev, q->vector);
    }
}
