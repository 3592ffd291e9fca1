/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block/export/vhost.h: the back-end half of the vhost-user protocol: somebody else's virtqueues
 * in somebody else's memory, served here.  "Vhost-user Protocol" of the QEMU project's
 * documentation, and OASIS VIRTIO 1.2, section 2.7 (split virtqueues).
 *
 * Two parties are hostile, and not together: the front-end at the socket, which hands us memory
 * and descriptors, and its guest, which writes the rings.  Every address is translated through the
 * table of regions, every index checked, every descriptor read once into a private copy.  A broken
 * ring is left alone until it is set up anew; a broken message ends the connection.
 *
 * Locking: the lock of the connection's loop; messages and requests are fibers of that loop.
 */
#ifndef RHEA_BLOCK_EXPORT_VHOST_H
#define RHEA_BLOCK_EXPORT_VHOST_H

#include "event/loop.h"
#include "io/channel.h"

typedef struct VhostConn VhostConn;

#define VHOST_RING_MAX 1024u    /* entries of a ring */
#define VHOST_REGIONS_MAX 32u   /* of memory */
#define VHOST_CONFIG_MAX 256u   /* bytes */
#define VHOST_QUEUES_MAX 256u   /* of a device; the protocol's indices have 8 bits */
#define VHOST_TABLE_MAX 1024u   /* descriptors of an indirect table */
#define VHOST_SEGMENTS_MAX 1024 /* pieces of memory of one request */

/* Bits of the features that are not the device's */
#define VHOST_F_LOG_ALL 26
#define VHOST_F_RING_INDIRECT_DESC 28
#define VHOST_F_RING_EVENT_IDX 29
#define VHOST_F_PROTOCOL_FEATURES 30
#define VHOST_F_VERSION_1 32

/* ---- vhost-mem.c: the guest's memory ---- */
typedef struct VhostRegion {
    uint64_t gpa, size; /* where the guest sees it, bytes */
    uint64_t uva;       /* where the front-end sees it: rings are named so */
    uint64_t offset;    /* within the file */
    void *map;          /* the file from its start */
    size_t map_len;
} VhostRegion;
typedef struct VhostMem {
    VhostRegion regions[VHOST_REGIONS_MAX];
    unsigned n;
} VhostMem;
/* `fd` stays the caller's.  Refuses what overlaps, overflows, or lies beyond the file's end. */
bool vhost_mem_add(VhostMem *m, const VhostRegion *r, int fd, Error **errp);
bool vhost_mem_remove(VhostMem *m, const VhostRegion *r);
void vhost_mem_clear(VhostMem *m);
/* [addr, addr + len) as the front-end sees it, in one piece; NULL if it is not. */
void *vhost_mem_front(const VhostMem *m, uint64_t addr, uint64_t len);
/* What the guest has at `gpa`; *len is cut to what lies there in one piece. NULL: nothing. */
void *vhost_mem_guest(const VhostMem *m, uint64_t gpa, size_t *len);

/* Where the guest sees our address `p`; false: it is none of its memory. */
bool vhost_mem_where(const VhostMem *m, const void *p, uint64_t *gpa);

/* ---- vhost-log.c: which pages of the guest were written, for a migration ---- */
typedef struct VhostLog {
    void *map; /* NULL: nobody wants to know */
    size_t map_len;
    uint8_t *bits; /* one for each 4 KiB */
    uint64_t len;  /* bytes of `bits` */
} VhostLog;
/* `fd` stays the caller's; the old log is given up, also if this fails. */
bool vhost_log_set(VhostLog *l, int fd, uint64_t len, uint64_t offset);
void vhost_log_clear(VhostLog *l);
void vhost_log_mark(VhostLog *l, uint64_t gpa, uint64_t len);

/* ---- vhost-ring.c: one virtqueue ---- */
typedef struct VhostInflight VhostInflight;
typedef struct VhostRing {
    VhostConn *conn;
    unsigned index;
    uint32_t num;                        /* entries, a power of two; 0: not told yet */
    uint64_t desc_at, avail_at, used_at; /* the front-end's addresses */
    bool log_used;                       /* the used ring counts as written, at `log_at` */
    uint64_t log_at;                     /* in the guest */
    uint8_t *desc, *avail, *used;        /* ours; NULL: not mapped */
    uint16_t last_avail, used_idx, signalled;
    bool signalled_valid;
    bool enabled, running, broken;
    bool fresh;          /* set up, but not started yet */
    int kick, call, err; /* eventfds, or -1 */
    unsigned in_flight;
    VhostInflight *inflight; /* the queue's part of the shared record, or NULL */
    uint64_t counter;        /* of requests in that record */
} VhostRing;

typedef struct VhostElement {
    VhostRing *ring;
    uint16_t head;
    IoVec out, in; /* readable by us, writable by us */
} VhostElement;

void vhost_ring_init(VhostRing *r, VhostConn *c, unsigned index);
/* Descriptors are closed; nothing is in flight. */
void vhost_ring_fini(VhostRing *r);
/* Translates the addresses anew; false: one of them is not memory. */
bool vhost_ring_map(VhostRing *r);
void vhost_ring_unmap(VhostRing *r);
/* Doorbells are heard from now on, and what is there already is served. */
void vhost_ring_start(VhostRing *r);
void vhost_ring_stop(VhostRing *r);
/* A request is done; frees `e`. `len`: bytes written to e->in. */
void vhost_ring_push(VhostElement *e, uint32_t len);
/* The record of requests under way, which outlives a connection (VHOST_USER_SET_INFLIGHT_FD). */
size_t vhost_inflight_size(unsigned queue_size); /* bytes for one queue */

/* ---- vhost-user.c: a connection ---- */
typedef struct VhostDeviceOps {
    uint64_t (*features)(void *dev); /* the device's own */
    /* `config` has VHOST_CONFIG_MAX zeroed bytes. */
    void (*get_config)(void *dev, uint8_t *config);
    bool (*set_config)(void *dev, uint32_t offset, const uint8_t *data, uint32_t len);
    /*
     * A request; ends with vhost_ring_push(), at once or later.  False: it is no request, and
     * the ring is broken.
     */
    bool (*request)(void *dev, VhostElement *e);
    /* On the control loop, as the last thing: the connection has ended and is gone. */
    void (*gone)(void *dev);
} VhostDeviceOps;

struct VhostConn {
    const VhostDeviceOps *ops;
    void *dev;
    EventLoop *loop, *control;
    IoChannel *ch;
    uint64_t features, protocol; /* agreed */
    VhostMem mem;
    VhostLog log;
    unsigned n_rings;
    VhostRing *rings;
    unsigned in_flight;
    FiberQueue idle; /* who waits for requests to end */
    int back;        /* socket for our own messages, or -1 */
    void *inflight;
    size_t inflight_len;
    unsigned inflight_queues, inflight_num;
};

/* Serves `fd`, which it takes over, on `loop` until it closes. Control loop. */
VhostConn *vhost_conn_new(int fd, EventLoop *loop, EventLoop *control, unsigned queues,
                          const VhostDeviceOps *ops, void *dev);
/* Ends it soon. Any thread. */
void vhost_conn_shutdown(VhostConn *c);
/* Tells the front-end to look at the configuration again. Loop's lock. */
void vhost_conn_config_changed(VhostConn *c);
static inline bool vhost_has(const VhostConn *c, unsigned feature)
{
    return c->features >> feature & 1;
}

#endif
