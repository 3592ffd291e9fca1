/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/pci/pci_regs.h: offsets and bits of the PCI configuration space, by the
 * names of PCI Local Bus 3.0 and PCI Express Base 4.0.  The host's own
 * <linux/pci_regs.h> is an interface header with exactly these.
 */
#ifndef RHEA_HW_PCI_PCI_REGS_H
#define RHEA_HW_PCI_PCI_REGS_H

#include <linux/pci_regs.h>

#define PCI_CLASS_STORAGE_IDE 0x0101
#define PCI_CLASS_STORAGE_SATA 0x0106
#define PCI_CLASS_STORAGE_SCSI 0x0100
#define PCI_CLASS_NETWORK_ETHERNET 0x0200
#define PCI_CLASS_DISPLAY_VGA 0x0300
#define PCI_CLASS_BRIDGE_HOST 0x0600
#define PCI_CLASS_BRIDGE_ISA 0x0601
#define PCI_CLASS_BRIDGE_PCI 0x0604
#define PCI_CLASS_BRIDGE_OTHER 0x0680
#define PCI_CLASS_SERIAL_SMBUS 0x0c05
#define PCI_CLASS_OTHERS 0x00ff
#define PCI_CLASS_MEMORY_RAM 0x0500

#define PCI_VENDOR_ID_INTEL 0x8086
#define PCI_VENDOR_ID_REDHAT_QUMRANET 0x1af4
#define PCI_VENDOR_ID_REDHAT 0x1b36
#define PCI_VENDOR_ID_BOCHS 0x1234
#define PCI_SUBVENDOR_ID_QUMRANET 0x1af4
#define PCI_SUBDEVICE_ID_QEMU 0x1100

#endif
