/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/qtest/libqtest-virtio.h: a driver's side of virtio-pci, modern interface:
 * negotiation and split queues in guest memory, for device tests.
 */
#ifndef RHEA_TESTS_LIBQTEST_VIRTIO_H
#define RHEA_TESTS_LIBQTEST_VIRTIO_H

#include "tests/qtest/libqtest-pci.h"

typedef struct QVirtQueue {
    uint16_t index, size, next_desc, avail_idx, used_idx;
    uint64_t desc, avail, used;
    uint64_t notify; /* offset in the BAR */
} QVirtQueue;

typedef struct QVirtio {
    QTest *q;
    QPci pci;
    QPciDev dev;
    unsigned bar;
    uint32_t common, isr, config, notify, multiplier;
    uint64_t features;  /* accepted */
    uint64_t next_page; /* of guest memory for rings and buffers */
} QVirtio;

/* Finds the device by its modern (1040h + type) or transitional identity and maps it. */
void qvirtio_open(QVirtio *v, QTest *q, uint16_t type);
/* Reset, ACKNOWLEDGE, DRIVER, FEATURES_OK with the offered bits of `wanted` (and VERSION_1). */
void qvirtio_negotiate(QVirtio *v, uint64_t wanted);
void qvirtio_driver_ok(QVirtio *v);
uint8_t qvirtio_status(QVirtio *v);
void qvirtio_queue(QVirtio *v, QVirtQueue *q, uint16_t index);
uint64_t qvirtio_alloc(QVirtio *v, size_t bytes); /* page-aligned guest memory, zeroed */
/* Appends a descriptor to the chain being built; returns its index. */
uint16_t qvirtio_add(QVirtio *v, QVirtQueue *q, uint64_t addr, uint32_t len, bool write, bool next);
/* Makes the chain from `head` available and rings the doorbell. */
void qvirtio_kick(QVirtio *v, QVirtQueue *q, uint16_t head);
/* Waits for the next used entry: its head and length. */
uint16_t qvirtio_wait_used(QVirtio *v, QVirtQueue *q, uint32_t *len);

/* A virtio disk with one request at a time. */
typedef struct QVirtioBlk {
    QVirtio v;
    QVirtQueue vq;
    uint64_t header, data, status; /* where a request lies in guest memory */
} QVirtioBlk;
/* The first one of the machine, without event indices; `room`: bytes of data. */
void qvirtio_blk_open(QVirtioBlk *d, QTest *q, size_t room);
/* `len` bytes at d->data, which the device writes or reads; the status byte. */
uint8_t qvirtio_blk_request(QVirtioBlk *d, uint32_t type, uint64_t sector, uint32_t len,
                            bool write);

#endif
