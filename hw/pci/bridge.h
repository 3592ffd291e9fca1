/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/pci/bridge.h: what every PCI-to-PCI bridge and PCIe port has: a secondary
 * bus and three windows onto it (PCI-to-PCI Bridge Architecture 1.2).
 */
#ifndef RHEA_HW_PCI_BRIDGE_H
#define RHEA_HW_PCI_BRIDGE_H

#include "hw/pci/pci.h"

typedef struct PciBridge {
    PciDevice pci;
    PciBus sec;
    Region mem, io; /* the secondary side's spaces */
    Region win_io, win_mem, win_pref, win_vga_mem, win_vga_io[2];
    uint16_t last_control; /* bridge control before the last write */
    /* hints to firmware about resources to keep free; all ones: none */
    uint32_t bus_reserve;
    uint64_t io_reserve, mem_reserve, pref32_reserve, pref64_reserve;
} PciBridge;
#define TYPE_PCI_BRIDGE_BASE "base-pci-bridge"
#define PCI_BRIDGE(o) OBJECT_CAST(PciBridge, o, TYPE_PCI_BRIDGE_BASE)

/* In realize: makes the secondary bus (named after the bridge's id) and closed windows. */
void pci_bridge_init(PciBridge *b, bool express);
void pci_bridge_fini(PciBridge *b);
void pci_bridge_reset(PciBridge *b);
/* From PciClass.config_written. */
void pci_bridge_config_written(PciBridge *b, uint32_t addr, unsigned len);
/* Adds the vendor capability with the *-reserve hints if any is given. */
bool pci_bridge_add_reserve(PciBridge *b, Error **errp);
extern const StateDesc pci_bridge_state;

#define PROPERTIES_BRIDGE_RESERVE(T, f)                                                     \
    PROPERTY_U32("bus-reserve", T, f.bus_reserve, UINT32_MAX, "bus numbers to keep free"),  \
        PROPERTY_SIZE("io-reserve", T, f.io_reserve, UINT64_MAX, "I/O space to keep free"), \
        PROPERTY_SIZE("mem-reserve", T, f.mem_reserve, UINT64_MAX, "memory to keep free"),  \
        PROPERTY_SIZE("pref32-reserve", T, f.pref32_reserve, UINT64_MAX,                    \
                      "prefetchable memory below 4 GiB to keep free"),                      \
        PROPERTY_SIZE("pref64-reserve", T, f.pref64_reserve, UINT64_MAX,                    \
                      "prefetchable memory above 4 GiB to keep free")

#endif
