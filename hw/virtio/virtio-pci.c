/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hw/virtio/virtio-pci.h"

#include "util/log.h"

#include <linux/virtio_pci.h>
#include <string.h>

/* The modern BAR: four windows of a page each. */
#define WINDOW 0x1000u
#define OFF_COMMON 0x0000u
#define OFF_ISR 0x1000u
#define OFF_DEVICE 0x2000u
#define OFF_NOTIFY 0x3000u
#define MODERN_SIZE 0x4000u
#define NOTIFY_MULTIPLIER 4u
#define MODERN_BAR 4
#define MSIX_BAR 1
#define LEGACY_BAR 0
#define LEGACY_CONFIG_OFF(p) (pci_msix_enabled(&(p)->pci) ? 24u : 20u)

static VirtioPci *pci_of(VirtioDevice *v)
{
    return (VirtioPci *)v->dev;
}

/* ---- interrupts ---- */

static void pci_notify(VirtioDevice *v, uint16_t vector)
{
    VirtioPci *p = pci_of(v);
    if (pci_msix_enabled(&p->pci)) {
        if (vector != VIRTIO_NO_VECTOR) {
            pci_msix_notify(&p->pci, vector);
        }
    } else {
        pci_set_irq(&p->pci, v->isr & 1);
    }
}

static const VirtioTransport transport = {.notify = pci_notify};

static uint8_t isr_take(VirtioPci *p)
{
    uint8_t isr = p->vdev.isr;
    p->vdev.isr = 0;
    pci_set_irq(&p->pci, 0);
    return isr;
}

/* A vector the device has, or none. */
static uint16_t checked_vector(const VirtioPci *p, uint64_t v)
{
    return v < p->vectors ? (uint16_t)v : VIRTIO_NO_VECTOR;
}

static VirtQueue *selected(VirtioPci *p)
{
    return p->queue_select < p->vdev.nqueues ? &p->vdev.queues[p->queue_select] : NULL;
}

/* Everything that a write of the status register may mean for the front. */
static void set_status(VirtioPci *p, uint8_t status)
{
    virtio_set_status(&p->vdev, status);
    virtio_pci_update_doorbells(p);
    if (!status) {
        pci_set_irq(&p->pci, 0);
        p->device_feature_select = p->driver_feature_select = 0;
        p->driver_features[0] = p->driver_features[1] = 0;
        p->queue_select = 0;
    }
}

/* ---- the legacy interface: 20 (24) registers, then the configuration ---- */

static uint32_t legacy_read_reg(VirtioPci *p, hwaddr off)
{
    VirtioDevice *v = &p->vdev;
    VirtQueue *q = selected(p);
    switch (off) {
    case VIRTIO_PCI_HOST_FEATURES:
        return (uint32_t)v->host_features;
    case VIRTIO_PCI_GUEST_FEATURES:
        return (uint32_t)v->guest_features;
    case VIRTIO_PCI_QUEUE_PFN:
        return q ? (uint32_t)(q->desc >> 12) : 0;
    case VIRTIO_PCI_QUEUE_NUM:
        return q ? q->size : 0;
    case VIRTIO_PCI_QUEUE_SEL:
        return p->queue_select;
    case VIRTIO_PCI_STATUS:
        return v->status;
    case VIRTIO_PCI_ISR:
        return isr_take(p);
    case VIRTIO_MSI_CONFIG_VECTOR:
        return v->config_vector;
    case VIRTIO_MSI_QUEUE_VECTOR:
        return q ? q->vector : VIRTIO_NO_VECTOR;
    default:
        return 0;
    }
}

static uint64_t legacy_read(void *opaque, hwaddr off, unsigned size)
{
    VirtioPci *p = opaque;
    if (off >= LEGACY_CONFIG_OFF(p)) {
        uint8_t buf[8] = {0};
        virtio_config_read(&p->vdev, (uint32_t)(off - LEGACY_CONFIG_OFF(p)), buf, size);
        return ld_le(buf, size);
    }
    return legacy_read_reg(p, off);
}

static void legacy_write(void *opaque, hwaddr off, uint64_t val, unsigned size)
{
    VirtioPci *p = opaque;
    VirtioDevice *v = &p->vdev;
    VirtQueue *q = selected(p);
    if (off >= LEGACY_CONFIG_OFF(p)) {
        uint8_t buf[8];
        st_le(buf, size, val);
        virtio_config_write(v, (uint32_t)(off - LEGACY_CONFIG_OFF(p)), buf, size);
        return;
    }
    switch (off) {
    case VIRTIO_PCI_GUEST_FEATURES:
        virtio_set_features(v, (uint32_t)val);
        break;
    case VIRTIO_PCI_QUEUE_PFN:
        if (!val) {
            set_status(p, 0); /* the legacy way to reset */
        } else if (q) {
            virtio_queue_set_legacy_pfn(q, (uint32_t)val);
        }
        break;
    case VIRTIO_PCI_QUEUE_SEL:
        p->queue_select = (uint16_t)val;
        break;
    case VIRTIO_PCI_QUEUE_NOTIFY:
        virtio_queue_notify(v, (uint16_t)val);
        break;
    case VIRTIO_PCI_STATUS:
        set_status(p, (uint8_t)val);
        break;
    case VIRTIO_MSI_CONFIG_VECTOR:
        v->config_vector = checked_vector(p, val);
        break;
    case VIRTIO_MSI_QUEUE_VECTOR:
        if (q) {
            q->vector = checked_vector(p, val);
        }
        break;
    default:
        guest_error("virtio-pci", "write to legacy register 0x%x", (unsigned)off);
        break;
    }
}

static const RegionOps legacy_ops = {.read = legacy_read,
                                     .write = legacy_write,
                                     .valid_min = 1,
                                     .valid_max = 4,
                                     .impl_min = 1,
                                     .impl_max = 4};

/* ---- the common configuration structure, section 4.1.4.3 ---- */

static uint64_t common_read(void *opaque, hwaddr off, unsigned size)
{
    VirtioPci *p = opaque;
    VirtioDevice *v = &p->vdev;
    VirtQueue *q = selected(p);
    switch (off) {
    case VIRTIO_PCI_COMMON_DFSELECT:
        return p->device_feature_select;
    case VIRTIO_PCI_COMMON_DF:
        return p->device_feature_select < 2
                   ? (uint32_t)(v->host_features >> (32 * p->device_feature_select))
                   : 0;
    case VIRTIO_PCI_COMMON_GFSELECT:
        return p->driver_feature_select;
    case VIRTIO_PCI_COMMON_GF:
        return p->driver_feature_select < 2 ? p->driver_features[p->driver_feature_select] : 0;
    case VIRTIO_PCI_COMMON_MSIX:
        return v->config_vector;
    case VIRTIO_PCI_COMMON_NUMQ:
        return v->nqueues;
    case VIRTIO_PCI_COMMON_STATUS:
        return v->status;
    case VIRTIO_PCI_COMMON_CFGGENERATION:
        return v->generation;
    case VIRTIO_PCI_COMMON_Q_SELECT:
        return p->queue_select;
    default:
        break;
    }
    if (!q) {
        return 0;
    }
    switch (off) {
    case VIRTIO_PCI_COMMON_Q_SIZE:
        return q->size;
    case VIRTIO_PCI_COMMON_Q_MSIX:
        return q->vector;
    case VIRTIO_PCI_COMMON_Q_ENABLE:
        return q->enabled;
    case VIRTIO_PCI_COMMON_Q_NOFF:
        return q->index;
    case VIRTIO_PCI_COMMON_Q_DESCLO:
        return (uint32_t)q->desc;
    case VIRTIO_PCI_COMMON_Q_DESCHI:
        return q->desc >> 32;
    case VIRTIO_PCI_COMMON_Q_AVAILLO:
        return (uint32_t)q->avail;
    case VIRTIO_PCI_COMMON_Q_AVAILHI:
        return q->avail >> 32;
    case VIRTIO_PCI_COMMON_Q_USEDLO:
        return (uint32_t)q->used;
    case VIRTIO_PCI_COMMON_Q_USEDHI:
        return q->used >> 32;
    default:
        return 0;
    }
}

static void queue_write(VirtQueue *q, VirtioPci *p, hwaddr off, uint64_t val)
{
    if (off == VIRTIO_PCI_COMMON_Q_MSIX) {
        q->vector = checked_vector(p, val);
        return;
    }
    if (q->enabled) {
        guest_error("virtio-pci", "queue %u is changed while it is enabled", q->index);
        return;
    }
    switch (off) {
    case VIRTIO_PCI_COMMON_Q_SIZE:
        if (val && IS_POWER_OF_2(val) && val <= q->size_default) {
            q->size = (uint16_t)val;
        } else {
            guest_error("virtio-pci", "queue %u: size %u", q->index, (unsigned)val);
        }
        break;
    case VIRTIO_PCI_COMMON_Q_ENABLE:
        q->enabled = val == 1 && q->handler;
        break;
    case VIRTIO_PCI_COMMON_Q_DESCLO:
        q->desc = bits_set(q->desc, 0, 32, val);
        break;
    case VIRTIO_PCI_COMMON_Q_DESCHI:
        q->desc = bits_set(q->desc, 32, 32, val);
        break;
    case VIRTIO_PCI_COMMON_Q_AVAILLO:
        q->avail = bits_set(q->avail, 0, 32, val);
        break;
    case VIRTIO_PCI_COMMON_Q_AVAILHI:
        q->avail = bits_set(q->avail, 32, 32, val);
        break;
    case VIRTIO_PCI_COMMON_Q_USEDLO:
        q->used = bits_set(q->used, 0, 32, val);
        break;
    case VIRTIO_PCI_COMMON_Q_USEDHI:
        q->used = bits_set(q->used, 32, 32, val);
        break;
    default:
        break;
    }
}

/* A driver that asks for what was not offered does not get FEATURES_OK. */
static void modern_status(VirtioPci *p, uint8_t status)
{
    VirtioDevice *v = &p->vdev;
    if ((status & ~v->status) & VIRTIO_STATUS_FEATURES_OK) {
        uint64_t wanted = p->driver_features[0] | (uint64_t)p->driver_features[1] << 32;
        if ((wanted & ~v->host_features) || !(wanted & BIT(VIRTIO_F_VERSION_1))) {
            guest_error("virtio-pci", "features 0x%" G_GINT64_MODIFIER "x are refused", wanted);
            status &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
        } else {
            virtio_set_features(v, wanted);
        }
    }
    set_status(p, status);
}

static void common_write(void *opaque, hwaddr off, uint64_t val, unsigned size)
{
    VirtioPci *p = opaque;
    VirtioDevice *v = &p->vdev;
    switch (off) {
    case VIRTIO_PCI_COMMON_DFSELECT:
        p->device_feature_select = (uint32_t)val;
        break;
    case VIRTIO_PCI_COMMON_GFSELECT:
        p->driver_feature_select = (uint32_t)val;
        break;
    case VIRTIO_PCI_COMMON_GF:
        if (p->driver_feature_select < 2 && !(v->status & VIRTIO_STATUS_FEATURES_OK)) {
            p->driver_features[p->driver_feature_select] = (uint32_t)val;
        }
        break;
    case VIRTIO_PCI_COMMON_MSIX:
        v->config_vector = checked_vector(p, val);
        break;
    case VIRTIO_PCI_COMMON_STATUS:
        modern_status(p, (uint8_t)val);
        break;
    case VIRTIO_PCI_COMMON_Q_SELECT:
        p->queue_select = (uint16_t)val;
        break;
    default:
        if (selected(p)) {
            queue_write(selected(p), p, off, val);
        }
        break;
    }
}

static const RegionOps common_ops = {.read = common_read,
                                     .write = common_write,
                                     .valid_min = 1,
                                     .valid_max = 4,
                                     .impl_min = 1,
                                     .impl_max = 4};

/* ---- the other windows ---- */

static uint64_t isr_read(void *opaque, hwaddr off, unsigned size)
{
    return off ? 0 : isr_take(opaque);
}

static void isr_write(void *opaque, hwaddr off, uint64_t val, unsigned size)
{
    guest_error("virtio-pci", "write to the ISR status");
}

static const RegionOps isr_ops = {.read = isr_read,
                                  .write = isr_write,
                                  .valid_min = 1,
                                  .valid_max = 4,
                                  .impl_min = 1,
                                  .impl_max = 1};

static uint64_t device_read(void *opaque, hwaddr off, unsigned size)
{
    uint8_t buf[8] = {0};
    virtio_config_read(&((VirtioPci *)opaque)->vdev, (uint32_t)off, buf, size);
    return ld_le(buf, size);
}

static void device_write(void *opaque, hwaddr off, uint64_t val, unsigned size)
{
    uint8_t buf[8];
    st_le(buf, size, val);
    virtio_config_write(&((VirtioPci *)opaque)->vdev, (uint32_t)off, buf, size);
}

static const RegionOps device_ops = {.read = device_read,
                                     .write = device_write,
                                     .valid_min = 1,
                                     .valid_max = 4,
                                     .impl_min = 1,
                                     .impl_max = 4};

static uint64_t notify_read(void *opaque, hwaddr off, unsigned size)
{
    return 0;
}

static void notify_write(void *opaque, hwaddr off, uint64_t val, unsigned size)
{
    virtio_queue_notify(&((VirtioPci *)opaque)->vdev, (uint16_t)(off / NOTIFY_MULTIPLIER));
}

static const RegionOps notify_ops = {.read = notify_read,
                                     .write = notify_write,
                                     .valid_min = 1,
                                     .valid_max = 4,
                                     .impl_min = 1,
                                     .impl_max = 4};

/* ---- capabilities ---- */

static uint8_t add_window_cap(VirtioPci *p, uint8_t type, uint32_t offset, uint32_t len,
                              uint8_t extra, Error **errp)
{
    PciDevice *d = &p->pci;
    uint8_t size = (uint8_t)(sizeof(struct virtio_pci_cap) + extra);
    uint8_t at = pci_add_capability(d, PCI_CAP_ID_VNDR, 0, size, errp);
    if (at) {
        d->config[at + VIRTIO_PCI_CAP_LEN] = size;
        d->config[at + VIRTIO_PCI_CAP_CFG_TYPE] = type;
        d->config[at + VIRTIO_PCI_CAP_BAR] = type == VIRTIO_PCI_CAP_PCI_CFG ? 0 : MODERN_BAR;
        st_le32(d->config + at + VIRTIO_PCI_CAP_OFFSET, offset);
        st_le32(d->config + at + VIRTIO_PCI_CAP_LENGTH, len);
    }
    return at;
}

static bool add_modern(VirtioPci *p, Error **errp)
{
    PciDevice *d = &p->pci;
    MemOwner *owner = &d->dev.owner;
    region_init_container(&p->modern_bar, "virtio-pci", MODERN_SIZE);
    region_init_io(&p->common, owner, &common_ops, p, "virtio-pci-common", WINDOW);
    region_init_io(&p->isr, owner, &isr_ops, p, "virtio-pci-isr", WINDOW);
    region_init_io(&p->device, owner, &device_ops, p, "virtio-pci-device", WINDOW);
    region_init_io(&p->notify, owner, &notify_ops, p, "virtio-pci-notify", WINDOW);
    region_add(&p->modern_bar, OFF_COMMON, &p->common);
    region_add(&p->modern_bar, OFF_ISR, &p->isr);
    region_add(&p->modern_bar, OFF_DEVICE, &p->device);
    region_add(&p->modern_bar, OFF_NOTIFY, &p->notify);
    pci_register_bar(d, MODERN_BAR, PCI_BASE_ADDRESS_MEM_PREFETCH | PCI_BASE_ADDRESS_MEM_TYPE_64,
                     &p->modern_bar);
    uint8_t notify;
    if (!add_window_cap(p, VIRTIO_PCI_CAP_COMMON_CFG, OFF_COMMON, WINDOW, 0, errp) ||
        !add_window_cap(p, VIRTIO_PCI_CAP_ISR_CFG, OFF_ISR, WINDOW, 0, errp) ||
        !add_window_cap(p, VIRTIO_PCI_CAP_DEVICE_CFG, OFF_DEVICE, WINDOW, 0, errp) ||
        !(notify = add_window_cap(p, VIRTIO_PCI_CAP_NOTIFY_CFG, OFF_NOTIFY, WINDOW, 4, errp)) ||
        !(p->cfg_cap = add_window_cap(p, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, 4, errp))) {
        return false;
    }
    st_le32(d->config + notify + sizeof(struct virtio_pci_cap), NOTIFY_MULTIPLIER);
    d->wmask[p->cfg_cap + VIRTIO_PCI_CAP_BAR] = 0xff;
    pci_set_wmask(d, p->cfg_cap + VIRTIO_PCI_CAP_OFFSET, 4, ~0u);
    pci_set_wmask(d, p->cfg_cap + VIRTIO_PCI_CAP_LENGTH, 4, ~0u);
    pci_set_wmask(d, p->cfg_cap + sizeof(struct virtio_pci_cap), 4, ~0u);
    return true;
}

/*
 * The access through configuration space (for firmware that can't reach the BAR):
 * finds the window that the capability's fields point into.
 */
static Region *cfg_window(VirtioPci *p, uint32_t *offset, uint32_t *len)
{
    const uint8_t *c = p->pci.config + p->cfg_cap;
    Region *windows[] = {&p->common, &p->isr, &p->device, &p->notify};
    *offset = ld_le32(c + VIRTIO_PCI_CAP_OFFSET);
    *len = ld_le32(c + VIRTIO_PCI_CAP_LENGTH);
    if (c[VIRTIO_PCI_CAP_BAR] != MODERN_BAR || *offset >= MODERN_SIZE ||
        (*len != 1 && *len != 2 && *len != 4) || *offset % *len) {
        return NULL;
    }
    Region *r = windows[*offset / WINDOW];
    *offset %= WINDOW;
    return r;
}

static bool hits_cfg_data(const VirtioPci *p, uint32_t addr, unsigned len)
{
    uint32_t data = p->cfg_cap + (uint32_t)sizeof(struct virtio_pci_cap);
    return p->cfg_cap && addr < data + 4 && addr + len > data;
}

void virtio_pci_config_written(PciDevice *d, uint32_t addr, uint32_t value, unsigned len)
{
    VirtioPci *p = (VirtioPci *)d;
    uint32_t off, n;
    if (hits_cfg_data(p, addr, len)) {
        Region *r = cfg_window(p, &off, &n);
        if (r) {
            r->ops->write(p, off, ld_le(d->config + p->cfg_cap + sizeof(struct virtio_pci_cap), n),
                          n);
        }
    }
}

uint32_t virtio_pci_config_read(PciDevice *d, uint32_t addr, unsigned len)
{
    VirtioPci *p = (VirtioPci *)d;
    uint32_t off, n;
    if (hits_cfg_data(p, addr, len)) {
        Region *r = cfg_window(p, &off, &n);
        if (r) {
            st_le(d->config + p->cfg_cap + sizeof(struct virtio_pci_cap), n,
                  r->ops->read(p, off, n));
        }
    }
    return pci_config_get(d, addr, len);
}

/* ---- life ---- */

static const VirtioPciClass *klass(VirtioPci *p)
{
    return object_class(&p->pci.dev.obj);
}

/* Which interfaces this instance offers. */
static bool choose_interfaces(VirtioPci *p, Error **errp)
{
    PciBus *bus = pci_device_bus(&p->pci);
    VirtioFlavour f = klass(p)->flavour;
    bool behind_port = bus->express && bus->bridge;
    p->legacy = f == VIRTIO_TRANSITIONAL ||
                (f == VIRTIO_AUTO && (p->disable_legacy == ON_OFF_OFF ||
                                      (p->disable_legacy == ON_OFF_AUTO && !behind_port)));
    p->modern = f != VIRTIO_AUTO || !p->disable_modern;
    if (!klass(p)->legacy_device_id) {
        p->legacy = false;
    }
    if (!p->legacy && !p->modern) {
        error_set(errp, "%s: neither the legacy nor the modern interface is left",
                  p->pci.dev.obj.type->name);
        error_hint(errp, "set disable-modern=off or disable-legacy=off");
    }
    return p->legacy || p->modern;
}

static void set_identity(VirtioPci *p)
{
    uint8_t *c = p->pci.config;
    const VirtioPciClass *k = klass(p);
    if (p->legacy) {
        st_le16(c + PCI_DEVICE_ID, k->legacy_device_id);
        st_le16(c + PCI_SUBSYSTEM_ID, k->ops->device_id);
        c[PCI_REVISION_ID] = 0;
    } else {
        st_le16(c + PCI_DEVICE_ID, (uint16_t)(0x1040 + k->ops->device_id));
        st_le16(c + PCI_SUBSYSTEM_ID, PCI_SUBDEVICE_ID_QEMU);
        c[PCI_REVISION_ID] = 1;
    }
    st_le16(c + PCI_SUBSYSTEM_VENDOR_ID, PCI_VENDOR_ID_REDHAT_QUMRANET);
    c[PCI_INTERRUPT_PIN] = 1;
}

static uint64_t ring_features(const VirtioPci *p)
{
    return (p->indirect_desc ? BIT(VIRTIO_F_RING_INDIRECT_DESC) : 0) |
           (p->event_idx ? BIT(VIRTIO_F_RING_EVENT_IDX) : 0) |
           (p->notify_on_empty && p->legacy ? BIT(VIRTIO_F_NOTIFY_ON_EMPTY) : 0) |
           (p->any_layout && p->legacy ? BIT(VIRTIO_F_ANY_LAYOUT) : 0) |
           (p->modern ? BIT(VIRTIO_F_VERSION_1) : 0);
}

static bool make_front(VirtioPci *p, Error **errp)
{
    PciDevice *d = &p->pci;
    if (p->vectors == UINT32_MAX) {
        p->vectors = klass(p)->default_vectors(&d->dev);
    }
    if (p->vectors && !pci_msix_init_exclusive(d, p->vectors, MSIX_BAR, errp)) {
        return false;
    }
    if (p->ioeventfd) {
        pci_msix_use_irqfd(d);
    }
    if (p->modern && !add_modern(p, errp)) {
        return false;
    }
    if (p->legacy) {
        uint64_t size = 24 + p->vdev.ops->config_size, rounded = 32;
        while (rounded < size) {
            rounded *= 2;
        }
        region_init_io(&p->legacy_io, &d->dev.owner, &legacy_ops, p, "virtio-pci-legacy", rounded);
        pci_register_bar(d, LEGACY_BAR, PCI_BASE_ADDRESS_SPACE_IO, &p->legacy_io);
    }
    return true;
}

static void drop_front(VirtioPci *p)
{
    region_fini(&p->legacy_io);
    region_fini(&p->common);
    region_fini(&p->isr);
    region_fini(&p->device);
    region_fini(&p->notify);
    region_fini(&p->modern_bar);
    p->cfg_cap = 0;
    if (p->pci.msix_cap) {
        pci_msix_fini(&p->pci);
    }
}

bool virtio_pci_realize(Device *dev, Error **errp)
{
    VirtioPci *p = (VirtioPci *)dev;
    if (!choose_interfaces(p, errp) || !klass(p)->realize(dev, errp)) {
        return false;
    }
    p->vdev.transport = &transport;
    p->vdev.as = p->pci.as;
    p->vdev.host_features |= ring_features(p);
    set_identity(p);
    if (!make_front(p, errp)) {
        drop_front(p);
        klass(p)->unrealize(dev);
        virtio_fini(&p->vdev);
        return false;
    }
    return true;
}

void virtio_pci_unrealize(Device *dev)
{
    VirtioPci *p = (VirtioPci *)dev;
    virtio_reset(&p->vdev);
    virtio_pci_update_doorbells(p);
    drop_front(p);
    klass(p)->unrealize(dev);
    virtio_fini(&p->vdev);
}

void virtio_pci_reset(Device *dev)
{
    set_status((VirtioPci *)dev, 0);
}

static bool virtio_pci_check(const void *opaque, Error **errp)
{
    const VirtioPci *p = opaque;
    for (uint32_t i = 0; i < p->vdev.nqueues; i++) {
        uint16_t v = p->vdev.queues[i].vector;
        if (v != VIRTIO_NO_VECTOR && v >= p->vectors) {
            error_set(errp, "virtio-pci: field queues[%u].vector: %u of %u", i, v, p->vectors);
            return false;
        }
    }
    if (p->vdev.config_vector != VIRTIO_NO_VECTOR && p->vdev.config_vector >= p->vectors) {
        error_set(errp, "virtio-pci: field config_vector: %u of %u", p->vdev.config_vector,
                  p->vectors);
        return false;
    }
    return true;
}

static void virtio_pci_loaded(void *opaque)
{
    virtio_pci_update_doorbells(opaque);
}

static const StateField fields[] = {
    STATE_F_PCI(VirtioPci, pci),
    STATE_F_STRUCT(VirtioPci, vdev, virtio_state),
    STATE_F_UINT(VirtioPci, device_feature_select),
    STATE_F_UINT(VirtioPci, driver_feature_select),
    STATE_F_UINT_ARRAY(VirtioPci, driver_features),
    STATE_F_UINT(VirtioPci, queue_select),
    {0},
};
const StateDesc virtio_pci_state = {
    .name = "virtio-pci",
    .version = 1,
    .fields = fields,
    .check = virtio_pci_check,
    .loaded = virtio_pci_loaded,
};

static const Property props[] = {
    PROPERTY_U32("vectors", VirtioPci, vectors, UINT32_MAX,
                 "MSI-X vectors; 0: none, 4294967295: as many as there are queues, and one"),
    PROPERTY_ON_OFF_AUTO("disable-legacy", VirtioPci, disable_legacy, ON_OFF_AUTO,
                         "no legacy interface; auto: on behind a PCI Express port"),
    PROPERTY_BOOL("disable-modern", VirtioPci, disable_modern, false, "no VIRTIO 1 interface"),
    PROPERTY_BOOL("ioeventfd", VirtioPci, ioeventfd, true,
                  "doorbells by eventfd where the engine is in the kernel"),
    PROPERTY_BOOL("indirect_desc", VirtioPci, indirect_desc, true, "indirect descriptors"),
    PROPERTY_BOOL("event_idx", VirtioPci, event_idx, true, "event index"),
    PROPERTY_BOOL("notify_on_empty", VirtioPci, notify_on_empty, true,
                  "legacy: interrupt whenever a queue runs empty"),
    PROPERTY_BOOL("any_layout", VirtioPci, any_layout, true, "legacy: free layout of requests"),
    {0},
};

OBJECT_TYPE(virtio_pci_type, .name = TYPE_VIRTIO_PCI, .parent = TYPE_PCI_DEVICE,
            .size = sizeof(VirtioPci), .help = "virtio device on PCI", .abstract = true,
            .props = props)
