/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/pci/msix.h: a function's MSI-X table and pending bits (PCI Local Bus 3.0,
 * 6.8.2).  Devices use the functions of hw/pci/pci.h; this is for hw/pci/ and
 * for those who must know when a vector is masked (irqfd users).
 */
#ifndef RHEA_HW_PCI_MSIX_H
#define RHEA_HW_PCI_MSIX_H

#include "hw/pci/pci.h"

struct MsixState {
    PciDevice *dev;
    uint32_t vectors;
    uint8_t *table; /* vectors * 16 bytes, as the guest sees it */
    uint32_t table_len;
    uint8_t *pba; /* one bit a vector, whole 64-bit words */
    uint32_t pba_len;
    Region table_region, pba_region;
    Region bar; /* of pci_msix_init_exclusive() */
    bool exclusive;
    struct MsixIrqfd *irqfd;      /* of each vector; NULL: messages are memory writes */
    bool was_enabled, was_masked; /* to see what a config write changed */
};

/* Is the vector masked now, by its own bit or by the function's? */
bool pci_msix_masked(const PciDevice *d, unsigned vector);

/* msix-irqfd.c: descriptors of all vectors are closed; sends a message by its vector's. */
void pci_msix_irqfd_reset(PciDevice *d);
bool pci_msix_irqfd_send(PciDevice *d, unsigned vector, uint64_t address, uint32_t data);

#endif
