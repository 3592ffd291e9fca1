/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/virtio/virtio.h: what every virtio device is, whatever bus it sits on:
 * features, status, split virtqueues.  OASIS "Virtual I/O Device (VIRTIO)"
 * version 1.2, chapters 2 and 3; the legacy interface where said.
 *
 * The guest's rings are hostile: every index, length and chain is checked, each
 * descriptor is read once into a private copy.  A broken ring stops the device
 * (DEVICE_NEEDS_RESET) and nothing else.
 *
 * Locking: the lock of the device's loop, for everything.
 */
#ifndef RHEA_HW_VIRTIO_VIRTIO_H
#define RHEA_HW_VIRTIO_VIRTIO_H

#include "hw/core/device.h"
#include "util/iov.h"

typedef struct VirtioDevice VirtioDevice;
typedef struct VirtQueue VirtQueue;

#define VIRTIO_QUEUE_MAX 64      /* queues of a device */
#define VIRTIO_RING_MAX 1024     /* entries of a queue */
#define VIRTIO_SEGMENTS_MAX 1024 /* descriptors of one request */
#define VIRTIO_CONFIG_MAX 256
#define VIRTIO_NO_VECTOR 0xffff

/* Device status field */
#define VIRTIO_STATUS_ACKNOWLEDGE 1
#define VIRTIO_STATUS_DRIVER 2
#define VIRTIO_STATUS_DRIVER_OK 4
#define VIRTIO_STATUS_FEATURES_OK 8
#define VIRTIO_STATUS_NEEDS_RESET 0x40
#define VIRTIO_STATUS_FAILED 0x80

/* Device-independent feature bits */
#define VIRTIO_F_NOTIFY_ON_EMPTY 24
#define VIRTIO_F_ANY_LAYOUT 27
#define VIRTIO_F_RING_INDIRECT_DESC 28
#define VIRTIO_F_RING_EVENT_IDX 29
#define VIRTIO_F_VERSION_1 32

/* What a device type supplies; constant. */
typedef struct VirtioOps {
    uint16_t device_id;
    const char *name;
    uint32_t config_size;
    /* The configuration as the driver reads it now, config_size bytes. */
    void (*get_config)(VirtioDevice *v, uint8_t *config);
    /* The driver wrote bytes [offset, offset + len) of it. NULL: read-only. */
    void (*set_config)(VirtioDevice *v, const uint8_t *config, uint32_t offset, uint32_t len);
    /* The driver has finished negotiation (or a state was loaded). May be NULL. */
    void (*features_set)(VirtioDevice *v);
    void (*status_changed)(VirtioDevice *v, uint8_t old);
    /* Back to power-on; requests in flight are waited for or forgotten. */
    void (*reset)(VirtioDevice *v);
} VirtioOps;

/* What the bus front supplies. */
typedef struct VirtioTransport {
    void (*notify)(VirtioDevice *v,
                   uint16_t vector); /* a queue's or the configuration's interrupt */
} VirtioTransport;

/* The guest-visible part of a queue; all of it is saved. */
struct VirtQueue {
    VirtioDevice *dev;
    void (*handler)(VirtioDevice *v, VirtQueue *q); /* NULL: this queue does not exist */
    uint16_t index, size, size_default;
    uint16_t vector;
    bool enabled;
    uint64_t desc, avail, used;
    uint16_t last_avail; /* next available entry to look at */
    uint16_t used_idx;
    uint16_t signalled; /* used index at the last interrupt */
    bool signalled_valid;
    bool notification; /* the driver should tell us of new buffers */
    uint16_t in_flight;
};

struct VirtioDevice {
    Device *dev;
    const VirtioOps *ops;
    const VirtioTransport *transport;
    AddressSpace *as;
    uint64_t host_features;  /* offered */
    uint64_t guest_features; /* accepted */
    uint8_t status;
    uint8_t isr;
    uint16_t config_vector;
    uint8_t generation; /* of the configuration */
    bool broken;
    uint32_t nqueues;
    VirtQueue queues[VIRTIO_QUEUE_MAX];
};

extern const StateDesc virtio_state;

/* `features`: the device's own bits; the ring's bits are added by properties of the front. */
void virtio_init(VirtioDevice *v, Device *dev, const VirtioOps *ops, uint64_t features);
void virtio_fini(VirtioDevice *v);
VirtQueue *virtio_add_queue(VirtioDevice *v, uint16_t size,
                            void (*handler)(VirtioDevice *v, VirtQueue *q));
static inline bool virtio_has(const VirtioDevice *v, unsigned feature)
{
    return v->guest_features & BIT(feature);
}
static inline bool virtio_driver_ok(const VirtioDevice *v)
{
    return (v->status & VIRTIO_STATUS_DRIVER_OK) && !v->broken;
}
/* The guest broke the rules: logs, sets DEVICE_NEEDS_RESET and stops the device. */
void virtio_error(VirtioDevice *v, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

/* ---- for fronts ---- */
void virtio_reset(VirtioDevice *v);
void virtio_set_status(VirtioDevice *v, uint8_t status);
void virtio_set_features(VirtioDevice *v, uint64_t features); /* clipped to what is offered */
void virtio_config_read(VirtioDevice *v, uint32_t offset, void *buf, uint32_t len);
void virtio_config_write(VirtioDevice *v, uint32_t offset, const void *buf, uint32_t len);
/* The driver rang queue n's doorbell. */
void virtio_queue_notify(VirtioDevice *v, uint16_t n);
/* Legacy: one page number for the whole ring; 0 disables. */
void virtio_queue_set_legacy_pfn(VirtQueue *q, uint32_t pfn);
/* The configuration changed: new generation and an interrupt. */
void virtio_config_changed(VirtioDevice *v);

/* ---- for device types: requests ---- */
typedef struct VirtElement {
    VirtQueue *queue;
    uint16_t head;
    IoVec out, in; /* device-readable first, then device-writable; mapped guest memory */
} VirtElement;
/*
 * The next request, or NULL (none, or the ring is broken).  `size` >= sizeof(VirtElement)
 * is allocated, so that a device's request can begin with one.  Free with
 * virtqueue_push() or virtqueue_discard().
 */
void *virtqueue_pop(VirtQueue *q, size_t size);
/* A request that had been popped when the state was saved, by its head; NULL: it is none. */
void *virtqueue_take_again(VirtQueue *q, uint16_t head, size_t size);
/* Gives the request back with `len` bytes written to `in`, and frees it. No interrupt yet. */
void virtqueue_push(VirtElement *e, uint32_t len);
/* Unmaps and frees without telling the driver (reset). */
void virtqueue_discard(VirtElement *e);
/* Undoes a pop of the last element: it will come again. Frees `e`. */
void virtqueue_unpop(VirtElement *e);
/* Interrupts the driver if it wants to know of what was pushed since. */
void virtqueue_interrupt(VirtQueue *q);
bool virtqueue_empty(VirtQueue *q);
/* Asks for (or declines) doorbells. */
void virtqueue_set_notification(VirtQueue *q, bool on);

#endif
