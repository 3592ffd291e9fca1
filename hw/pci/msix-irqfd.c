/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages of MSI-X by eventfd: the engine in the kernel knows what a vector sends, and the
 * device only writes to the vector's descriptor, from whatever thread it is on.
 *
 * Masks and pending bits stay with msix.c, which asks for a message only when it may go out; so
 * a descriptor is connected when its vector is first sent, and follows the table when the next
 * message is due.  A vector that gets no route or no descriptor writes its message to memory, as
 * with other engines, until the table is reset.
 */
#include "accel/accel.h"
#include "hw/core/machine.h"
#include "hw/pci/internal.h"
#include "hw/pci/msix.h"
#include "util/trace.h"

#include <sys/eventfd.h>
#include <unistd.h>

TRACE_EVENT(pci_msix_irqfd_connect, "%02x.%x vector %u: %d")
TRACE_EVENT(pci_msix_irqfd_send, "%02x.%x vector %u")

/* Where the local APICs take messages. */
#define MESSAGE_BASE 0xfee00000ull
#define MESSAGE_MASK 0xfffffffffff00000ull

struct MsixIrqfd {
    int fd, route; /* fd < 0: not connected */
    bool refused;
    uint64_t address; /* of the route */
    uint32_t data;
};

static const AccelIrqchip *chip_of(const PciDevice *d)
{
    const Machine *m = d->dev.machine;
    const AccelIrqchip *c = m && m->accel ? m->accel->irqchip : NULL;

    return c && c->msi_route && c->irqfd ? c : NULL;
}

void pci_msix_use_irqfd(PciDevice *d)
{
    MsixState *s = d->msix;

    if (!s || s->irqfd || !chip_of(d)) {
        return;
    }
    s->irqfd = g_new0(struct MsixIrqfd, s->vectors);
    for (unsigned v = 0; v < s->vectors; v++) {
        s->irqfd[v].fd = s->irqfd[v].route = -1;
    }
}

static void disconnect(PciDevice *d, struct MsixIrqfd *q)
{
    const AccelIrqchip *c = chip_of(d);

    if (q->fd >= 0) {
        c->irqfd(d->dev.machine->accel, q->route, q->fd, false);
        close(q->fd);
    }
    if (q->route >= 0) {
        c->msi_free(d->dev.machine->accel, q->route);
    }
    *q = (struct MsixIrqfd){.fd = -1, .route = -1};
}

void pci_msix_irqfd_reset(PciDevice *d)
{
    for (unsigned v = 0; d->msix->irqfd && v < d->msix->vectors; v++) {
        disconnect(d, &d->msix->irqfd[v]);
    }
}

static bool connect_vector(PciDevice *d, struct MsixIrqfd *q, uint64_t address, uint32_t data)
{
    const AccelIrqchip *c = chip_of(d);
    Accel *a = d->dev.machine->accel;
    int fd = -1;

    q->route = c->msi_route(a);
    if (q->route >= 0 && c->msi_update(a, q->route, address, data)) {
        fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    }
    if (fd >= 0 && !c->irqfd(a, q->route, fd, true)) {
        close(fd);
        fd = -1;
    }
    q->fd = fd;
    q->address = address;
    q->data = data;
    if (fd < 0) {
        disconnect(d, q);
        q->refused = true;
    }
    return fd >= 0;
}

bool pci_msix_irqfd_send(PciDevice *d, unsigned vector, uint64_t address, uint32_t data)
{
    struct MsixIrqfd *q = d->msix->irqfd ? &d->msix->irqfd[vector] : NULL;
    uint64_t one = 1;

    if (!q || q->refused || (address & MESSAGE_MASK) != MESSAGE_BASE ||
        !(ld_le16(d->config + PCI_COMMAND) & PCI_COMMAND_MASTER)) {
        return false;
    }
    if (q->fd < 0) {
        bool ok = connect_vector(d, q, address, data);

        trace(pci_msix_irqfd_connect, PCI_SLOT(d->devfn), PCI_FUNC(d->devfn), vector, ok);
        if (!ok) {
            return false;
        }
    } else if (q->address != address || q->data != data) {
        if (!chip_of(d)->msi_update(d->dev.machine->accel, q->route, address, data)) {
            disconnect(d, q);
            q->refused = true;
            return false;
        }
        q->address = address;
        q->data = data;
    }
    trace(pci_msix_irqfd_send, PCI_SLOT(d->devfn), PCI_FUNC(d->devfn), vector);
    return write(q->fd, &one, sizeof(one)) == (ssize_t)sizeof(one);
}
