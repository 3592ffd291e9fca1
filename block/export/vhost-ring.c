/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Split virtqueues in shared memory (VIRTIO 1.2, section 2.7), and the record of what is under way. */
#include "block/export/vhost.h"
#include "util/bits.h"
#include "util/sanitize.h"
#include "util/trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TRACE_EVENT(vhost_ring_broken, "queue %u: %s")

#define DESC_NEXT 1u
#define DESC_WRITE 2u
#define DESC_INDIRECT 4u
#define AVAIL_NO_INTERRUPT 1u

typedef struct Desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
} Desc;

/* "VHOST_USER_GET_INFLIGHT_FD" of the protocol: shared, split queues. */
typedef struct InflightDesc {
    uint8_t inflight, pad[5];
    uint16_t next;    /* the one of the batch before */
    uint64_t counter; /* order of arrival */
} InflightDesc;
struct VhostInflight {
    uint64_t features;
    uint16_t version, desc_num, last_batch_head, used_idx;
    InflightDesc desc[];
};
G_STATIC_ASSERT(sizeof(InflightDesc) == 16 && sizeof(VhostInflight) == 16);

size_t vhost_inflight_size(unsigned queue_size)
{
    return ALIGN_UP(sizeof(VhostInflight) + queue_size * sizeof(InflightDesc), 64);
}

/* ---- fields: little endian, each read or written once ---- */

static uint16_t load16(const uint8_t *p)
{
    uint16_t v = __atomic_load_n((const uint16_t *)p, __ATOMIC_ACQUIRE);
    return BITS_LE16(v);
}

static void store16(uint8_t *p, uint16_t v)
{
    __atomic_store_n((uint16_t *)p, BITS_LE16(v), __ATOMIC_RELEASE);
}

static uint16_t avail_idx(const VhostRing *r)
{
    return load16(r->avail + 2);
}

static void set_avail_event(VhostRing *r)
{
    if (vhost_has(r->conn, VHOST_F_RING_EVENT_IDX)) {
        store16(r->used + 4 + 8u * r->num, r->last_avail);
        atomic_fence_full(); /* the driver sees this before we look whether more has come */
    }
}

static void signal_fd(int fd)
{
    uint64_t one = 1;
    /* EAGAIN: the counter is full, so somebody is being told already. */
    while (fd >= 0 && write(fd, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}

/* Nothing more is taken from it until it is set up anew. */
static void ring_broken(VhostRing *r, const char *why)
{
    trace(vhost_ring_broken, r->index, why);
    r->broken = true;
    vhost_ring_stop(r);
    signal_fd(r->err);
}

/* ---- taking requests ---- */

/* The ring's table, or a private copy of an indirect one. */
typedef struct Table {
    const uint8_t *at;
    uint32_t n;
    uint8_t *copy;
} Table;

static const char *read_desc(const Table *t, uint32_t i, Desc *d)
{
    if (i >= t->n) {
        return "a descriptor beyond its table";
    }
    uint8_t raw[16];
    memcpy(raw, t->at + 16ull * i, sizeof(raw));
    *d = (Desc){ld_le64(raw), ld_le32(raw + 8), ld_le16(raw + 12), ld_le16(raw + 14)};
    return NULL;
}

static const char *enter_indirect(VhostRing *r, const Desc *d, Table *t)
{
    if (!vhost_has(r->conn, VHOST_F_RING_INDIRECT_DESC) || (d->flags & DESC_NEXT) || !d->len ||
        d->len % 16 || d->len / 16 > VHOST_TABLE_MAX) {
        return "a malformed indirect descriptor";
    }
    t->copy = g_malloc(d->len);
    for (size_t done = 0; done < d->len;) {
        size_t len = d->len - done;
        const void *p = vhost_mem_guest(&r->conn->mem, d->addr + done, &len);
        if (!p) {
            return "an indirect table outside memory";
        }
        memcpy(t->copy + done, p, len);
        done += len;
    }
    t->at = t->copy;
    t->n = d->len / 16;
    return NULL;
}

static const char *add_buffer(VhostElement *e, const Desc *d)
{
    IoVec *v = d->flags & DESC_WRITE ? &e->in : &e->out;
    if (!(d->flags & DESC_WRITE) && e->in.n) {
        return "a readable buffer after a writable one";
    }
    if (d->flags & DESC_INDIRECT) {
        return "nested indirect descriptors";
    }
    for (uint64_t done = 0; done < d->len;) {
        size_t len = d->len - done;
        void *p = vhost_mem_guest(&e->ring->conn->mem, d->addr + done, &len);
        if (!p || v->n >= VHOST_SEGMENTS_MAX) {
            return "a buffer outside memory";
        }
        iovec_add(v, p, len);
        done += len;
    }
    return d->len ? NULL : "an empty buffer";
}

static const char *gather(VhostElement *e)
{
    VhostRing *r = e->ring;
    Table t = {.at = r->desc, .n = r->num};
    Desc d;
    const char *why = read_desc(&t, e->head, &d);
    if (!why && (d.flags & DESC_INDIRECT)) {
        why = enter_indirect(r, &d, &t);
        why = why ? why : read_desc(&t, 0, &d);
    }
    for (uint32_t seen = 0; !why; seen++) {
        why = seen >= t.n ? "a chain that loops" : add_buffer(e, &d);
        if (why || !(d.flags & DESC_NEXT)) {
            break;
        }
        why = read_desc(&t, d.next, &d);
    }
    g_free(t.copy);
    return why;
}

/* Whoever is woken may end the connection: nothing of it is touched afterwards. */
static void element_free(VhostElement *e)
{
    VhostConn *c = e->ring->conn;
    e->ring->in_flight--;
    c->in_flight--;
    iovec_free(&e->out);
    iovec_free(&e->in);
    g_free(e);
    fiber_queue_wake_all(&c->idle);
}

/* Begins the request at `head`; false: the ring is broken. */
static bool serve(VhostRing *r, uint16_t head, bool noted)
{
    VhostElement *e = g_new0(VhostElement, 1);
    e->ring = r;
    e->head = head;
    r->in_flight++;
    r->conn->in_flight++;
    const char *why = gather(e);
    if (!why && r->inflight && !noted) {
        r->inflight->desc[head].counter = r->counter++;
        __atomic_store_n(&r->inflight->desc[head].inflight, 1, __ATOMIC_RELEASE);
    }
    if (!why && r->conn->ops->request(r->conn->dev, e)) {
        return true;
    }
    ring_broken(r, why ? why : "a malformed request");
    element_free(e);
    return false;
}

static bool serve_next(VhostRing *r)
{
    if (!r->running || avail_idx(r) == r->last_avail) {
        return false;
    }
    if ((uint16_t)(avail_idx(r) - r->last_avail) > r->num || r->in_flight >= r->num) {
        ring_broken(r, "more requests than entries");
        return false;
    }
    uint16_t head = load16(r->avail + 4 + 2u * (r->last_avail & (r->num - 1)));
    r->last_avail++;
    return serve(r, head, false);
}

/* A guest that is quicker than its disk does not keep the loop from others. */
static void serve_all(VhostRing *r)
{
    uint32_t left = 2 * r->num;
    do {
        while (left && serve_next(r)) {
            left--;
        }
        if (r->running) {
            set_avail_event(r);
        }
    } while (left && r->running && avail_idx(r) != r->last_avail);
    if (!left && r->running) {
        signal_fd(r->kick); /* to be continued */
    }
}

static void on_kick(void *opaque)
{
    VhostRing *r = opaque;
    uint64_t n;
    ssize_t got = read(r->kick, &n, sizeof(n));
    if (got < 0 && errno != EAGAIN && errno != EINTR) {
        ring_broken(r, "a doorbell that cannot be read");
        return;
    }
    serve_all(r);
}

/* ---- finishing ---- */

/* Section 2.7.7: does the driver want an interrupt for what was used since the last? */
static bool wants_interrupt(VhostRing *r)
{
    atomic_fence_full(); /* the used index before the driver's wish */
    if (!vhost_has(r->conn, VHOST_F_RING_EVENT_IDX)) {
        return !(load16(r->avail) & AVAIL_NO_INTERRUPT);
    }
    uint16_t event = load16(r->avail + 4 + 2u * r->num);
    uint16_t old = r->signalled, now = r->used_idx;
    bool first = !r->signalled_valid;
    r->signalled = now;
    r->signalled_valid = true;
    return first || (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

static void log_writes(const VhostElement *e, uint64_t slot)
{
    VhostRing *r = e->ring;
    VhostLog *l = &r->conn->log;
    uint64_t gpa;
    if (!l->map || !vhost_has(r->conn, VHOST_F_LOG_ALL)) {
        return;
    }
    for (unsigned i = 0; i < e->in.n; i++) {
        if (vhost_mem_where(&r->conn->mem, e->in.iov[i].iov_base, &gpa)) {
            vhost_log_mark(l, gpa, e->in.iov[i].iov_len);
        }
    }
    if (r->log_used) {
        vhost_log_mark(l, r->log_at + slot, 8);
        vhost_log_mark(l, r->log_at, 4);
    }
}

void vhost_ring_push(VhostElement *e, uint32_t len)
{
    VhostRing *r = e->ring;
    if (r->used && !r->broken) {
        uint8_t *slot = r->used + 4 + 8u * (r->used_idx & (r->num - 1));
        VhostInflight *f = r->inflight;
        if (f) {
            f->desc[e->head].next = f->last_batch_head;
            f->last_batch_head = e->head;
        }
        st_le32(slot, e->head);
        st_le32(slot + 4, len);
        store16(r->used + 2, ++r->used_idx);
        log_writes(e, (uint64_t)(slot - r->used));
        if (f) {
            __atomic_store_n(&f->desc[e->head].inflight, 0, __ATOMIC_RELEASE);
            __atomic_store_n(&f->used_idx, r->used_idx, __ATOMIC_RELEASE);
        }
        if (wants_interrupt(r)) {
            signal_fd(r->call);
        }
    }
    element_free(e);
}

/* ---- after a reconnect: what the one before us had begun ---- */

typedef struct Left {
    uint16_t head;
    uint64_t counter;
} Left;

static int by_counter(const void *a, const void *b)
{
    uint64_t x = ((const Left *)a)->counter, y = ((const Left *)b)->counter;
    return x < y ? -1 : x > y;
}

/* Who died between publishing and noting it: the record is one batch behind. */
static void settle(VhostRing *r)
{
    VhostInflight *f = r->inflight;
    if (f->version != 1 || f->desc_num != r->num) {
        memset(f, 0, vhost_inflight_size(r->num));
        f->version = 1;
        f->desc_num = (uint16_t)r->num;
        f->used_idx = r->used_idx;
        return;
    }
    if (f->used_idx != r->used_idx) {
        if (f->last_batch_head < r->num) {
            f->desc[f->last_batch_head].inflight = 0;
        }
        f->used_idx = r->used_idx;
    }
}

static void take_up(VhostRing *r)
{
    g_autofree Left *left = g_new(Left, r->num);
    unsigned n = 0;
    settle(r);
    for (uint32_t i = 0; i < r->num; i++) {
        const InflightDesc *d = &r->inflight->desc[i];
        if (d->inflight) {
            left[n++] = (Left){(uint16_t)i, d->counter};
        }
    }
    qsort(left, n, sizeof(*left), by_counter);
    if (n) {
        r->last_avail = (uint16_t)(r->used_idx + n);
        r->counter = left[n - 1].counter + 1;
    }
    for (unsigned i = 0; i < n && r->running; i++) {
        serve(r, left[i].head, true);
    }
}

/* ---- life ---- */

void vhost_ring_init(VhostRing *r, VhostConn *c, unsigned index)
{
    *r = (VhostRing){.conn = c, .index = index, .kick = -1, .call = -1, .err = -1};
}

void vhost_ring_fini(VhostRing *r)
{
    int fds[] = {r->kick, r->call, r->err};
    vhost_ring_stop(r);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
}

bool vhost_ring_map(VhostRing *r)
{
    const VhostMem *m = &r->conn->mem;
    bool aligned =
        IS_ALIGNED(r->desc_at, 16) && IS_ALIGNED(r->avail_at, 2) && IS_ALIGNED(r->used_at, 4);
    uint8_t *desc = vhost_mem_front(m, r->desc_at, 16ull * r->num);
    uint8_t *avail = vhost_mem_front(m, r->avail_at, 6 + 2ull * r->num);
    uint8_t *used = vhost_mem_front(m, r->used_at, 6 + 8ull * r->num);
    bool ok = r->num && aligned && desc && avail && used;
    /* What the front-end's alignment promises, an odd offset into the file can break. */
    ok = ok && IS_ALIGNED((uintptr_t)avail, 2) && IS_ALIGNED((uintptr_t)used, 4);
    r->desc = ok ? desc : NULL;
    r->avail = ok ? avail : NULL;
    r->used = ok ? used : NULL;
    return ok;
}

void vhost_ring_unmap(VhostRing *r)
{
    r->desc = r->avail = r->used = NULL;
}

void vhost_ring_start(VhostRing *r)
{
    if (r->running || r->broken || !r->enabled || !r->used || r->kick < 0) {
        return;
    }
    if (r->inflight && r->num > r->conn->inflight_num) {
        ring_broken(r, "a record of requests for a smaller ring");
        return;
    }
    r->running = true;
    r->used_idx = load16(r->used + 2);
    r->signalled_valid = false;
    if (r->inflight && r->fresh) {
        take_up(r);
    }
    r->fresh = false;
    if (r->running) {
        loop_watch_fd(r->conn->loop, r->kick, on_kick, NULL, r);
        serve_all(r);
    }
}

void vhost_ring_stop(VhostRing *r)
{
    if (r->running) {
        r->running = false;
        loop_watch_fd(r->conn->loop, r->kick, NULL, NULL, NULL);
    }
}
