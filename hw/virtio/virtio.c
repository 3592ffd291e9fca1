/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Device status, features, configuration and state of virtio devices. */
#include "hw/virtio/virtio.h"

#include "util/log.h"
#include "util/trace.h"

#include <string.h>

TRACE_EVENT(virtio_status, "%s status 0x%x")
TRACE_EVENT(virtio_features, "%s features 0x%" G_GINT64_MODIFIER "x")

void virtio_init(VirtioDevice *v, Device *dev, const VirtioOps *ops, uint64_t features)
{
    memset(v, 0, sizeof(*v));
    v->dev = dev;
    v->ops = ops;
    v->host_features = features;
    v->config_vector = VIRTIO_NO_VECTOR;
}

void virtio_fini(VirtioDevice *v)
{
    v->ops = NULL;
    v->nqueues = 0;
}

static void queue_reset(VirtQueue *q)
{
    q->size = q->size_default;
    q->vector = VIRTIO_NO_VECTOR;
    q->enabled = false;
    q->desc = q->avail = q->used = 0;
    q->last_avail = q->used_idx = q->signalled = 0;
    q->signalled_valid = false;
    q->notification = true;
    q->in_flight = 0;
}

VirtQueue *virtio_add_queue(VirtioDevice *v, uint16_t size,
                            void (*handler)(VirtioDevice *v, VirtQueue *q))
{
    g_assert(v->nqueues < VIRTIO_QUEUE_MAX && IS_POWER_OF_2(size) && size <= VIRTIO_RING_MAX);
    VirtQueue *q = &v->queues[v->nqueues];
    q->dev = v;
    q->index = (uint16_t)v->nqueues++;
    q->size_default = size;
    q->handler = handler;
    queue_reset(q);
    return q;
}

void virtio_error(VirtioDevice *v, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *msg = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    guest_error(v->ops->name, "%s; the device waits for a reset", msg);
    v->broken = true;
    if (v->guest_features & BIT(VIRTIO_F_VERSION_1)) {
        v->status |= VIRTIO_STATUS_NEEDS_RESET;
        virtio_config_changed(v);
    }
}

void virtio_reset(VirtioDevice *v)
{
    if (v->ops->reset) {
        v->ops->reset(v);
    }
    v->guest_features = 0;
    v->status = 0;
    v->isr = 0;
    v->config_vector = VIRTIO_NO_VECTOR;
    v->broken = false;
    for (uint32_t i = 0; i < v->nqueues; i++) {
        queue_reset(&v->queues[i]);
    }
}

void virtio_set_features(VirtioDevice *v, uint64_t features)
{
    v->guest_features = features & v->host_features;
    trace(virtio_features, v->ops->name, v->guest_features);
}

void virtio_set_status(VirtioDevice *v, uint8_t status)
{
    uint8_t old = v->status;
    trace(virtio_status, v->ops->name, status);
    if (!status) {
        virtio_reset(v);
        return;
    }
    v->status = status | (old & VIRTIO_STATUS_NEEDS_RESET);
    if ((status & ~old) & (VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK) &&
        v->ops->features_set) {
        v->ops->features_set(v);
    }
    if (v->ops->status_changed) {
        v->ops->status_changed(v, old);
    }
}

void virtio_config_read(VirtioDevice *v, uint32_t offset, void *buf, uint32_t len)
{
    uint8_t config[VIRTIO_CONFIG_MAX] = {0};
    memset(buf, 0, len);
    if (offset < v->ops->config_size) {
        v->ops->get_config(v, config);
        memcpy(buf, config + offset, MIN(len, v->ops->config_size - offset));
    }
}

void virtio_config_write(VirtioDevice *v, uint32_t offset, const void *buf, uint32_t len)
{
    uint8_t config[VIRTIO_CONFIG_MAX] = {0};
    if (offset >= v->ops->config_size || !v->ops->set_config) {
        guest_error(v->ops->name, "write to read-only configuration at 0x%x", offset);
        return;
    }
    len = MIN(len, v->ops->config_size - offset);
    v->ops->get_config(v, config);
    memcpy(config + offset, buf, len);
    v->ops->set_config(v, config, offset, len);
}

void virtio_config_changed(VirtioDevice *v)
{
    v->generation++;
    v->isr |= 3;
    if (v->transport) {
        v->transport->notify(v, v->config_vector);
    }
}

void virtio_queue_notify(VirtioDevice *v, uint16_t n)
{
    if (n >= v->nqueues || !v->queues[n].enabled) {
        guest_error(v->ops->name, "doorbell of queue %u, which is not enabled", n);
        return;
    }
    if (virtio_driver_ok(v) || (!virtio_has(v, VIRTIO_F_VERSION_1) && !v->broken)) {
        /* Legacy drivers (SeaBIOS among them) may use queues before DRIVER_OK. */
        v->queues[n].handler(v, &v->queues[n]);
    }
}

/* ---- state ---- */

static bool virtio_check(const void *opaque, Error **errp)
{
    const VirtioDevice *v = opaque;
    for (uint32_t i = 0; i < v->nqueues; i++) {
        const VirtQueue *q = &v->queues[i];
        if (!q->size || !IS_POWER_OF_2(q->size) || q->size > q->size_default) {
            error_set(errp, "virtio: field queues[%u].size: %u is no ring size", i, q->size);
            return false;
        }
    }
    if (v->guest_features & ~v->host_features) {
        error_set(errp, "virtio: field guest_features: features that this device does not offer");
        return false;
    }
    return true;
}

static void virtio_loaded(void *opaque)
{
    VirtioDevice *v = opaque;
    if (v->ops && v->ops->features_set && (v->status & VIRTIO_STATUS_FEATURES_OK)) {
        v->ops->features_set(v);
    }
}

static const StateField queue_fields[] = {
    STATE_F_UINT(VirtQueue, size),         STATE_F_UINT(VirtQueue, vector),
    STATE_F_BOOL(VirtQueue, enabled),      STATE_F_UINT(VirtQueue, desc),
    STATE_F_UINT(VirtQueue, avail),        STATE_F_UINT(VirtQueue, used),
    STATE_F_UINT(VirtQueue, last_avail),   STATE_F_UINT(VirtQueue, used_idx),
    STATE_F_UINT(VirtQueue, signalled),    STATE_F_BOOL(VirtQueue, signalled_valid),
    STATE_F_BOOL(VirtQueue, notification), {0},
};
static const StateDesc queue_state = {.name = "virtqueue", .version = 1, .fields = queue_fields};

static const StateField virtio_fields[] = {
    STATE_F_UINT(VirtioDevice, guest_features),
    STATE_F_UINT(VirtioDevice, status),
    STATE_F_UINT(VirtioDevice, isr),
    STATE_F_UINT(VirtioDevice, config_vector),
    STATE_F_UINT(VirtioDevice, generation),
    STATE_F_BOOL(VirtioDevice, broken),
    STATE_F_STRUCT_VARRAY(VirtioDevice, queues, nqueues, queue_state),
    {0},
};
const StateDesc virtio_state = {.name = "virtio",
                                .version = 1,
                                .fields = virtio_fields,
                                .check = virtio_check,
                                .loaded = virtio_loaded};
