/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/pci/pci.h: PCI functions, buses and what a function may do.
 *
 * Specifications: PCI Local Bus 3.0, PCI Express Base 4.0.  A function's class
 * table gives its identity; its realize() registers BARs and capabilities.  The
 * config space is kept with a write mask, a write-1-to-clear mask and a
 * "used" map, so that common registers need no code in the devices.
 */
#ifndef RHEA_HW_PCI_PCI_H
#define RHEA_HW_PCI_PCI_H

#include "hw/core/device.h"
#include "hw/core/machine.h"
#include "hw/pci/pci_regs.h"

#include <pthread.h>

typedef struct PciDevice PciDevice;
typedef struct PciBus PciBus;
typedef struct PciClass PciClass;

#define PCI_DEVFN(slot, fn) ((((slot)&0x1f) << 3) | ((fn)&7))
#define PCI_SLOT(devfn) (((devfn) >> 3) & 0x1f)
#define PCI_FUNC(devfn) ((devfn)&7)
#define PCI_ROM_SLOT 6
#define PCI_BAR_COUNT 7
#define PCI_UNMAPPED UINT64_MAX

/* Embeds DeviceClass; realize() and friends are the device's own. */
struct PciClass {
    DeviceClass device;
    uint16_t vendor_id, device_id, class_id;
    uint16_t subsystem_vendor_id, subsystem_id; /* 0: 1af4:1100 for type-0 headers */
    uint8_t revision, prog_if;
    bool is_bridge, is_express;
    const char *romfile; /* default option ROM, e.g. "efi-e1000.rom"; NULL: none */
    /* After the default config write; e.g. to react to a register. May be NULL. */
    void (*config_written)(PciDevice *d, uint32_t addr, uint32_t value, unsigned len);
    /* Instead of the default for registers with read side effects. May be NULL. */
    uint32_t (*config_read)(PciDevice *d, uint32_t addr, unsigned len);
};

typedef struct PciBar {
    Region *region; /* owned by the device; NULL: none */
    uint64_t size;
    hwaddr addr;  /* where it is mapped, or PCI_UNMAPPED */
    uint8_t type; /* PCI_BASE_ADDRESS_* bits */
} PciBar;

typedef struct MsixState MsixState; /* hw/pci/msix.h */

struct PciDevice {
    Device dev;
    uint8_t *config, *wmask, *w1cmask, *used; /* 256 or 4096 bytes */
    uint32_t config_size;
    int32_t devfn; /* property addr=; -1: first free */
    bool multifunction;
    char *romfile;
    int32_t rombar;   /* 0: the ROM has no BAR */
    uint32_t romsize; /* UINT32_MAX: the file's, rounded up */
    PciBar bars[PCI_BAR_COUNT];
    Region bus_master; /* alias of the bus's DMA view, enabled by the command register */
    Region bus_master_root;
    AddressSpace *as; /* what the function's DMA sees */
    RamBlock *rom;
    Region rom_region;
    uint8_t intx_level; /* what the function asks for, before INTX_DISABLE */
    int16_t intx_line;  /* the root's line this function holds up, or -1; root's irq_lock */
    uint8_t msi_cap, msix_cap, pm_cap, exp_cap; /* offsets, 0: none */
    uint16_t msi_vectors;
    MsixState *msix;
    PciBus *secondary;   /* a bridge's other side, or NULL */
    uint8_t saved[4096]; /* the guest-writable bits of config, for the state description */
};
#define TYPE_PCI_DEVICE "pci-device"
#define PCI_DEVICE(o) OBJECT_CAST(PciDevice, o, TYPE_PCI_DEVICE)

struct PciBus {
    Bus bus;
    PciDevice *devices[256]; /* by devfn */
    uint8_t devfn_min, devfn_max;
    PciDevice *bridge;           /* the bridge whose secondary side this is, or NULL */
    Region *mem, *io, *prefetch; /* where BARs are mapped; prefetch: = mem on root buses */
    Region *dma_root;            /* what bus masters see */
    /* Root buses: INTx routing; children swizzle up to it. */
    int (*map_irq)(void *opaque, uint8_t devfn, int pin); /* -> line number */
    void (*set_irq)(void *opaque, int line, int level);
    void *irq_opaque;
    unsigned nirq;
    unsigned irq_count[64];   /* how many functions hold up each line; irq_lock */
    pthread_mutex_t irq_lock; /* leaf: under any loop's lock, takes the controllers' own */
    uint8_t root_number;      /* bus number of a root bus */
    bool express;
};
#define TYPE_PCI_BUS "PCI"
#define TYPE_PCIE_BUS "PCIE"
#define PCI_BUS(o) OBJECT_CAST(PciBus, o, TYPE_PCI_BUS)

/* ---- for functions ---- */
/* In realize(): BAR `n` (6: ROM) shows `r` (power of two sized). type: PCI_BASE_ADDRESS_*. */
void pci_register_bar(PciDevice *d, unsigned n, uint8_t type, Region *r);
/* Adds a capability of `size` bytes at `offset` (0: first free); its offset, or 0 + error. */
uint8_t pci_add_capability(PciDevice *d, uint8_t id, uint8_t offset, uint8_t size, Error **errp);
/* Express functions only: appends an extended capability; its offset. */
uint16_t pcie_add_ext_capability(PciDevice *d, uint16_t id, uint8_t version, uint16_t size);
/* Power management capability with D0 and D3hot; d->pm_cap. */
bool pci_pm_init(PciDevice *d, uint8_t offset, Error **errp);
/*
 * PCI Express capability (version 2) of `type` PCI_EXP_TYPE_*, `port` being the port
 * number of link capabilities; 2.5 GT/s x1.  d->exp_cap.
 */
bool pcie_cap_init(PciDevice *d, uint8_t offset, uint8_t type, uint8_t port, Error **errp);
/* PCI_INTERRUPT_PIN must be set in config for INTx. Any thread. */
void pci_set_irq(PciDevice *d, int level);
IrqLine pci_irq_line(PciDevice *d);
static inline uint16_t pci_requester_id(const PciDevice *d);
uint8_t pci_bus_number(const PciBus *bus);
static inline PciBus *pci_device_bus(const PciDevice *d)
{
    return (PciBus *)d->dev.bus;
}
static inline uint16_t pci_requester_id(const PciDevice *d)
{
    return (uint16_t)((pci_bus_number(pci_device_bus(d)) << 8) | (d->devfn & 0xff));
}
/* DMA as this function: refused unless bus mastering is on. */
MemResult pci_dma_read(PciDevice *d, hwaddr addr, void *buf, size_t len);
MemResult pci_dma_write(PciDevice *d, hwaddr addr, const void *buf, size_t len);
uint32_t pci_config_get(const PciDevice *d, uint32_t addr, unsigned len); /* raw field access */
void pci_config_set(PciDevice *d, uint32_t addr, unsigned len, uint32_t v);
void pci_set_wmask(PciDevice *d, uint32_t addr, unsigned len, uint32_t mask);
void pci_set_w1cmask(PciDevice *d, uint32_t addr, unsigned len, uint32_t mask);
/* Config space, BARs, MSI and MSI-X: first field of a function's own StateDesc. */
extern const StateDesc pci_device_state;
#define STATE_F_PCI(T, f) STATE_F_STRUCT(T, f, pci_device_state)

/* ---- MSI and MSI-X ---- */
bool pci_msi_init(PciDevice *d, uint8_t offset, unsigned vectors, bool addr64, bool mask,
                  Error **errp);
bool pci_msi_enabled(const PciDevice *d);
void pci_msi_notify(PciDevice *d, unsigned vector);
/* Table and PBA in BAR `bar` at the offsets; region given by the device (a container). */
bool pci_msix_init(PciDevice *d, unsigned vectors, Region *bar_region, unsigned bar,
                   uint32_t table_off, uint32_t pba_off, uint8_t cap_off, Error **errp);
/* Makes a BAR of its own for table and PBA. */
bool pci_msix_init_exclusive(PciDevice *d, unsigned vectors, unsigned bar, Error **errp);
/* From now on messages go by eventfd where the engine in the kernel takes them so. In realize(). */
void pci_msix_use_irqfd(PciDevice *d);
void pci_msix_fini(PciDevice *d);
bool pci_msix_enabled(const PciDevice *d);
void pci_msix_notify(PciDevice *d, unsigned vector);

/* ---- for host bridges and machines ---- */
/* In a bridge's memory: fields mem/io/dma_root/map_irq are set by the caller before use. */
void pci_bus_init(PciBus *bus, Device *parent, Machine *m, const char *id, bool express);
void pci_bus_fini(PciBus *bus);
PciBus *pci_bus_root(PciBus *bus);
/*
 * For a root's interrupt router: holds the lock under which set_irq is called, and (remap)
 * moves each asserted INTx to the line map_irq now gives.
 */
void pci_irq_lock(PciBus *root);
void pci_irq_unlock(PciBus *root);
void pci_irq_remap(PciBus *root);
/* Puts the common registers of a function to their values after a bus reset. */
void pci_device_reset_common(PciDevice *d);
/* Maps and unmaps BARs after the command register or a BAR was changed by code. */
void pci_update_mappings(PciDevice *d);
uint32_t pci_bus_config_read(PciBus *root, uint32_t bdf, uint32_t reg, unsigned len);
void pci_bus_config_write(PciBus *root, uint32_t bdf, uint32_t reg, uint32_t v, unsigned len);
PciDevice *pci_find(PciBus *root, uint8_t bus, uint8_t devfn);
void pci_each(PciBus *bus, void (*fn)(PciDevice *d, void *opaque), void *opaque); /* recursive */
/* Made by code: `type` at devfn (-1: any) with no properties; machine devices. */
PciDevice *pci_create(PciBus *bus, int devfn, bool multifunction, const char *type);
bool pci_realize(PciDevice *d, PciBus *bus, Error **errp);
void pci_print_info(Machine *m, GString *out); /* info pci */
Json *pci_query(Machine *m);                   /* query-pci */

#endif
