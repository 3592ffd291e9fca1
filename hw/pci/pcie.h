/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/pci/pcie.h: PCI Express ports: link and slot registers, and the presence
 * of a card (PCI Express Base 4.0, 7.5.3).
 */
#ifndef RHEA_HW_PCI_PCIE_H
#define RHEA_HW_PCI_PCIE_H

#include "hw/pci/bridge.h"

/* Adds the slot registers to a port's PCI Express capability; `slot` is the physical number. */
void pcie_slot_init(PciDevice *port, uint16_t slot);
/* Puts presence and link state to what sits behind the port. */
void pcie_port_update(PciBridge *port);

#endif
