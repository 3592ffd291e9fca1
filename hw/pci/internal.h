/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/pci/internal.h: what the files of hw/pci/ tell each other and nobody else.
 */
#ifndef RHEA_HW_PCI_INTERNAL_H
#define RHEA_HW_PCI_INTERNAL_H

#include "hw/pci/pci.h"

/* config.c: the header every function has; before its realize(). */
void pci_config_init(PciDevice *d);
/* config.c: one access to a function that was found; 1, 2 or 4 bytes, within 4096. */
uint32_t pci_device_config_read(PciDevice *d, uint32_t reg, unsigned len);
void pci_device_config_write(PciDevice *d, uint32_t reg, uint32_t v, unsigned len);
/* config.c: takes every BAR out of the bus. */
void pci_unmap_bars(PciDevice *d);
/* irq.c: recomputes which line of the root the function holds up. */
void pci_intx_update(PciDevice *d);
/* msi.c, msix.c: a write to config space went to these bytes. */
void pci_msi_config_written(PciDevice *d, uint32_t addr, unsigned len);
void pci_msix_config_written(PciDevice *d, uint32_t addr, unsigned len);
void pci_msi_reset(PciDevice *d);
void pci_msix_reset(PciDevice *d);
extern const StateDesc pci_msix_state;
/* msi.c: sends the message as a memory write of this function. */
void pci_msi_send(PciDevice *d, uint64_t addr, uint32_t data);
/* pcie.c */
void pcie_config_written(PciDevice *d, uint32_t addr, unsigned len);
/* rom.c: loads the option ROM and registers its BAR. */
bool pci_rom_init(PciDevice *d, Error **errp);
void pci_rom_fini(PciDevice *d);

/* Does [a, a+alen) touch [b, b+blen)? */
static inline bool pci_ranges_overlap(uint32_t a, uint32_t alen, uint32_t b, uint32_t blen)
{
    return a < b + blen && b < a + alen;
}

#endif
