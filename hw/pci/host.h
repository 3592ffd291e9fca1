/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/pci/host.h: the CPU's ways to configuration space: mechanism 1 (ports
 * 0xcf8 and 0xcfc; PCI Local Bus 3.0, 3.2.2.3.2) and the memory-mapped window
 * (PCI Express Base 4.0, 7.2.2).  Embedded by host bridges.
 */
#ifndef RHEA_HW_PCI_HOST_H
#define RHEA_HW_PCI_HOST_H

#include "hw/pci/pci.h"

typedef struct PciHost {
    Device dev;
    PciBus bus;
    uint32_t address; /* the latch at 0xcf8 */
    /* The byte at 0xcf9, in the middle of the latch: the south bridge's reset control. */
    uint8_t (*reset_read)(void *opaque);
    void (*reset_write)(void *opaque, uint8_t v);
    void *reset_opaque;
    Region conf, data;
    Region ecam;        /* zero-sized container until pci_host_set_ecam() */
    uint64_t ecam_base; /* PCI_UNMAPPED: off */
    uint64_t ecam_size;
    Region pci_mem; /* where BARs show up: 2^64, below RAM in priority */
} PciHost;
#define TYPE_PCI_HOST "pci-host-bridge"
#define PCI_HOST(o) OBJECT_CAST(PciHost, o, TYPE_PCI_HOST)

/*
 * A host bridge's realize: makes the machine's root bus (id as given), puts the ports into
 * `m->io` and the PCI memory space under `m->memory` at the lowest priority, and plugs the
 * bridge's own function (a type's name) in at 00:00.0.
 */
bool pci_host_realize(Device *dev, const char *bus_id, bool express, const char *function,
                      Error **errp);
/* Its unrealize and reset. */
void pci_host_unrealize(Device *dev);
void pci_host_reset(Device *dev);
/* Moves the memory-mapped window; base PCI_UNMAPPED turns it off.  size: 1 MiB a bus. */
void pci_host_set_ecam(PciHost *h, uint64_t base, uint64_t size);
extern const StateDesc pci_host_state;
char *pci_host_fw_name(Device *dev); /* DeviceClass.fw_name: "pci@i0cf8" */

#endif
