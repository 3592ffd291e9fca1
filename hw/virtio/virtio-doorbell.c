/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Doorbells by eventfd: with an engine in the kernel a driver's notification does not leave the
 * guest; the device's loop hears of it.
 *
 * They exist while the driver is at work (DRIVER_OK).  All under the lock of the device's loop,
 * which also keeps a change of the memory map and the loop's descriptors together.
 */
#include "accel/accel.h"
#include "hw/core/machine.h"
#include "hw/virtio/virtio-pci.h"

#include <linux/virtio_pci.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define NOTIFY_MULTIPLIER 4u

static void rung(void *opaque)
{
    struct VirtioDoorbell *b = opaque;
    uint64_t n;

    if (read(b->fd, &n, sizeof(n)) == (ssize_t)sizeof(n)) {
        virtio_queue_notify(&b->p->vdev, b->queue);
    }
}

static void connect_one(VirtioPci *p, unsigned i, bool on)
{
    struct VirtioDoorbell *b = &p->doorbell[i];

    if (p->modern) {
        (on ? region_add_eventfd : region_del_eventfd)(&p->notify, i * NOTIFY_MULTIPLIER, 0, false,
                                                       0, b->fd);
    }
    if (p->legacy) {
        (on ? region_add_eventfd : region_del_eventfd)(&p->legacy_io, VIRTIO_PCI_QUEUE_NOTIFY, 2,
                                                       true, i, b->fd);
    }
}

static void close_from(VirtioPci *p, unsigned n)
{
    EventLoop *loop = p->pci.dev.owner.loop;
    MemorySystem *sys = p->pci.dev.machine->memsys;

    memory_begin(sys);
    for (unsigned i = 0; i < n; i++) {
        if (p->doorbell[i].fd >= 0) {
            connect_one(p, i, false);
        }
    }
    memory_commit(sys);
    for (unsigned i = 0; i < n; i++) {
        struct VirtioDoorbell *b = &p->doorbell[i];

        if (b->fd >= 0) {
            rung(b); /* what was still on its way */
            loop_watch_fd(loop, b->fd, NULL, NULL, NULL);
            close(b->fd);
            b->fd = -1;
        }
    }
}

static bool wanted(const VirtioPci *p)
{
    const Machine *m = p->pci.dev.machine;

    return p->ioeventfd && m && m->accel && accel_class(m->accel)->eventfds &&
           p->pci.dev.owner.loop && virtio_driver_ok(&p->vdev);
}

static void open_all(VirtioPci *p)
{
    EventLoop *loop = p->pci.dev.owner.loop;
    MemorySystem *sys = p->pci.dev.machine->memsys;

    memory_begin(sys);
    for (unsigned i = 0; i < p->vdev.nqueues; i++) {
        struct VirtioDoorbell *b = &p->doorbell[i];

        *b = (struct VirtioDoorbell){.p = p, .queue = (uint16_t)i, .fd = -1};
        if (!p->vdev.queues[i].enabled) {
            continue;
        }
        /* Without a descriptor the doorbell leaves the guest, as it does with other engines. */
        b->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (b->fd >= 0) {
            loop_watch_fd(loop, b->fd, rung, NULL, b);
            connect_one(p, i, true);
        }
    }
    memory_commit(sys);
}

void virtio_pci_update_doorbells(VirtioPci *p)
{
    bool want = wanted(p);

    if (want == p->doorbells) {
        return;
    }
    p->doorbells = want;
    if (want) {
        open_all(p);
    } else {
        close_from(p, p->vdev.nqueues);
    }
}
