/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/qtest/libqtest-virtio.h"

#include <linux/virtio_pci.h>
#include <string.h>

#define NEXT 1
#define WRITE 2

void qvirtio_open(QVirtio *v, QTest *q, uint16_t type)
{
    static const uint16_t transitional[] = {[1] = 0x1000, [2] = 0x1001};
    memset(v, 0, sizeof(*v));
    v->q = q;
    v->next_page = 0x200000;
    qpci_init(&v->pci, q);
    bool found = qpci_find(&v->pci, &v->dev, 0x1af4, (uint16_t)(0x1040 + type)) ||
                 qpci_find(&v->pci, &v->dev, 0x1af4, transitional[type]);
    g_assert_true(found);
    qpci_enable(&v->dev);
    for (uint8_t at = qpci_capability(&v->dev, 9, 0); at; at = qpci_capability(&v->dev, 9, at)) {
        uint32_t offset = qpci_config_readl(&v->dev, (uint8_t)(at + VIRTIO_PCI_CAP_OFFSET));
        uint8_t kind = qpci_config_readb(&v->dev, (uint8_t)(at + VIRTIO_PCI_CAP_CFG_TYPE));
        if (kind == VIRTIO_PCI_CAP_PCI_CFG) {
            continue;
        }
        v->bar = qpci_config_readb(&v->dev, (uint8_t)(at + VIRTIO_PCI_CAP_BAR));
        if (kind == VIRTIO_PCI_CAP_COMMON_CFG) {
            v->common = offset;
        } else if (kind == VIRTIO_PCI_CAP_ISR_CFG) {
            v->isr = offset;
        } else if (kind == VIRTIO_PCI_CAP_DEVICE_CFG) {
            v->config = offset;
        } else {
            v->notify = offset;
            v->multiplier = qpci_config_readl(&v->dev, (uint8_t)(at + 16));
        }
    }
    qpci_map(&v->dev, v->bar);
}

static uint32_t read_common(QVirtio *v, uint32_t reg)
{
    return qpci_readl(&v->dev, v->bar, v->common + reg);
}

static void write_common(QVirtio *v, uint32_t reg, uint32_t value)
{
    qpci_writel(&v->dev, v->bar, v->common + reg, value);
}

static void write_common16(QVirtio *v, uint32_t reg, uint16_t value)
{
    qpci_writew(&v->dev, v->bar, v->common + reg, value);
}

uint8_t qvirtio_status(QVirtio *v)
{
    return qpci_readb(&v->dev, v->bar, v->common + VIRTIO_PCI_COMMON_STATUS);
}

static void set_status(QVirtio *v, uint8_t status)
{
    qpci_writeb(&v->dev, v->bar, v->common + VIRTIO_PCI_COMMON_STATUS, status);
}

void qvirtio_negotiate(QVirtio *v, uint64_t wanted)
{
    uint64_t offered = 0;
    set_status(v, 0);
    g_assert_cmpuint(qvirtio_status(v), ==, 0);
    set_status(v, 1);
    set_status(v, 3);
    for (uint32_t i = 0; i < 2; i++) {
        write_common(v, VIRTIO_PCI_COMMON_DFSELECT, i);
        offered |= (uint64_t)read_common(v, VIRTIO_PCI_COMMON_DF) << (32 * i);
    }
    g_assert_true(offered >> 32 & 1);
    v->features = offered & (wanted | 1ull << 32);
    for (uint32_t i = 0; i < 2; i++) {
        write_common(v, VIRTIO_PCI_COMMON_GFSELECT, i);
        write_common(v, VIRTIO_PCI_COMMON_GF, (uint32_t)(v->features >> (32 * i)));
    }
    set_status(v, 11);
    g_assert_cmpuint(qvirtio_status(v), ==, 11);
}

void qvirtio_driver_ok(QVirtio *v)
{
    set_status(v, 15);
    g_assert_cmpuint(qvirtio_status(v), ==, 15);
}

uint64_t qvirtio_alloc(QVirtio *v, size_t bytes)
{
    uint64_t at = v->next_page;
    v->next_page += (bytes + 4095) & ~4095ull;
    qtest_memset(v->q, at, 0, bytes);
    return at;
}

static void write64(QVirtio *v, uint32_t reg, uint64_t value)
{
    write_common(v, reg, (uint32_t)value);
    write_common(v, reg + 4, (uint32_t)(value >> 32));
}

void qvirtio_queue(QVirtio *v, QVirtQueue *q, uint16_t index)
{
    memset(q, 0, sizeof(*q));
    q->index = index;
    write_common16(v, VIRTIO_PCI_COMMON_Q_SELECT, index);
    q->size = qpci_readw(&v->dev, v->bar, v->common + VIRTIO_PCI_COMMON_Q_SIZE);
    g_assert_cmpuint(q->size, >, 0);
    q->desc = qvirtio_alloc(v, 16u * q->size);
    q->avail = qvirtio_alloc(v, 6u + 2u * q->size);
    q->used = qvirtio_alloc(v, 6u + 8u * q->size);
    write64(v, VIRTIO_PCI_COMMON_Q_DESCLO, q->desc);
    write64(v, VIRTIO_PCI_COMMON_Q_AVAILLO, q->avail);
    write64(v, VIRTIO_PCI_COMMON_Q_USEDLO, q->used);
    write_common16(v, VIRTIO_PCI_COMMON_Q_ENABLE, 1);
    uint16_t off = qpci_readw(&v->dev, v->bar, v->common + VIRTIO_PCI_COMMON_Q_NOFF);
    q->notify = v->notify + (uint64_t)off * v->multiplier;
}

uint16_t qvirtio_add(QVirtio *v, QVirtQueue *q, uint64_t addr, uint32_t len, bool write, bool next)
{
    uint16_t i = q->next_desc++ % q->size;
    uint64_t at = q->desc + 16ull * i;
    qtest_writeq(v->q, at, addr);
    qtest_writel(v->q, at + 8, len);
    qtest_writew(v->q, at + 12, (uint16_t)((write ? WRITE : 0) | (next ? NEXT : 0)));
    qtest_writew(v->q, at + 14, (uint16_t)((i + 1) % q->size));
    return i;
}

void qvirtio_kick(QVirtio *v, QVirtQueue *q, uint16_t head)
{
    qtest_writew(v->q, q->avail + 4 + 2ull * (q->avail_idx % q->size), head);
    qtest_writew(v->q, q->avail + 2, ++q->avail_idx);
    qpci_writew(&v->dev, v->bar, q->notify, q->index);
}

uint16_t qvirtio_wait_used(QVirtio *v, QVirtQueue *q, uint32_t *len)
{
    qtest_wait_for(v->q, qtest_readw(v->q, q->used + 2) != q->used_idx);
    uint64_t at = q->used + 4 + 8ull * (q->used_idx++ % q->size);
    if (len) {
        *len = qtest_readl(v->q, at + 4);
    }
    return (uint16_t)qtest_readl(v->q, at);
}

void qvirtio_blk_open(QVirtioBlk *d, QTest *q, size_t room)
{
    qvirtio_open(&d->v, q, 2);
    qvirtio_negotiate(&d->v, ~0ull & ~(1ull << 29));
    qvirtio_queue(&d->v, &d->vq, 0);
    qvirtio_driver_ok(&d->v);
    d->header = qvirtio_alloc(&d->v, 4096);
    d->data = qvirtio_alloc(&d->v, room);
    d->status = d->header + 512;
}

uint8_t qvirtio_blk_request(QVirtioBlk *d, uint32_t type, uint64_t sector, uint32_t len, bool write)
{
    QTest *q = d->v.q;
    qtest_writel(q, d->header, type);
    qtest_writel(q, d->header + 4, 0);
    qtest_writeq(q, d->header + 8, sector);
    qtest_writeb(q, d->status, 0xee);
    uint16_t head = qvirtio_add(&d->v, &d->vq, d->header, 16, false, true);
    if (len) {
        qvirtio_add(&d->v, &d->vq, d->data, len, write, true);
    }
    qvirtio_add(&d->v, &d->vq, d->status, 1, true, false);
    qvirtio_kick(&d->v, &d->vq, head);
    g_assert_cmpuint(qvirtio_wait_used(&d->v, &d->vq, NULL), ==, head);
    return qtest_readb(q, d->status);
}
