/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hw/pci/bridge.h"

/* ---- windows ---- */
typedef struct Range {
    uint64_t base, limit; /* base > limit: closed */
} Range;

static Range io_range(const uint8_t *c)
{
    return (Range){(uint64_t)(c[PCI_IO_BASE] & 0xf0) << 8,
                   (uint64_t)(c[PCI_IO_LIMIT] & 0xf0) << 8 | 0xfff};
}

static Range mem_range(const uint8_t *c)
{
    return (Range){(uint64_t)(ld_le16(c + PCI_MEMORY_BASE) & 0xfff0) << 16,
                   (uint64_t)(ld_le16(c + PCI_MEMORY_LIMIT) & 0xfff0) << 16 | 0xfffff};
}

static Range pref_range(const uint8_t *c)
{
    return (Range){(uint64_t)(ld_le16(c + PCI_PREF_MEMORY_BASE) & 0xfff0) << 16 |
                       (uint64_t)ld_le32(c + PCI_PREF_BASE_UPPER32) << 32,
                   (uint64_t)(ld_le16(c + PCI_PREF_MEMORY_LIMIT) & 0xfff0) << 16 | 0xfffff |
                       (uint64_t)ld_le32(c + PCI_PREF_LIMIT_UPPER32) << 32};
}

static void open_window(Region *win, const char *name, Region *parent, Region *side, Range r,
                        bool decoded)
{
    region_fini(win);
    if (!decoded || r.base > r.limit) {
        return;
    }
    region_init_alias(win, name, side, r.base, r.limit - r.base + 1);
    region_add_overlap(parent, r.base, win, 1);
}

static void update_windows(PciBridge *b)
{
    PciBus *up = pci_device_bus(&b->pci);
    const uint8_t *c = b->pci.config;
    uint16_t cmd = ld_le16(c + PCI_COMMAND);
    uint16_t ctl = ld_le16(c + PCI_BRIDGE_CONTROL);
    bool io = cmd & PCI_COMMAND_IO, mem = cmd & PCI_COMMAND_MEMORY;
    bool vga = ctl & PCI_BRIDGE_CTL_VGA;
    MemorySystem *sys = b->pci.dev.machine->memsys;

    memory_begin(sys);
    open_window(&b->win_io, "bridge io", up->io, &b->io, io_range(c), io);
    open_window(&b->win_mem, "bridge mem", up->mem, &b->mem, mem_range(c), mem);
    open_window(&b->win_pref, "bridge pref", up->mem, &b->mem, pref_range(c), mem);
    open_window(&b->win_vga_mem, "bridge vga mem", up->mem, &b->mem, (Range){0xa0000, 0xbffff},
                mem && vga);
    open_window(&b->win_vga_io[0], "bridge vga io lo", up->io, &b->io, (Range){0x3b0, 0x3bb},
                io && vga);
    open_window(&b->win_vga_io[1], "bridge vga io hi", up->io, &b->io, (Range){0x3c0, 0x3df},
                io && vga);
    memory_commit(sys);
}

/* ---- life ---- */
void pci_bridge_init(PciBridge *b, bool express)
{
    PciBus *up = pci_device_bus(&b->pci);

    pci_bus_init(&b->sec, &b->pci.dev, b->pci.dev.machine, b->pci.dev.id, express);
    region_init_container(&b->mem, "bridge secondary mem", MEMORY_WHOLE);
    region_init_container(&b->io, "bridge secondary io", 64 * KiB);
    b->sec.bridge = &b->pci;
    b->sec.mem = b->sec.prefetch = &b->mem;
    b->sec.io = &b->io;
    b->sec.dma_root = up->dma_root;
    b->pci.secondary = &b->sec;
    pci_bridge_reset(b);
}

void pci_bridge_fini(PciBridge *b)
{
    b->pci.secondary = NULL;
    region_fini(&b->win_io);
    region_fini(&b->win_mem);
    region_fini(&b->win_pref);
    region_fini(&b->win_vga_mem);
    region_fini(&b->win_vga_io[0]);
    region_fini(&b->win_vga_io[1]);
    pci_bus_fini(&b->sec);
    region_fini(&b->mem);
    region_fini(&b->io);
}

/* All windows closed, no bus behind it. */
void pci_bridge_reset(PciBridge *b)
{
    uint8_t *c = b->pci.config;

    memset(c + PCI_PRIMARY_BUS, 0, 4);
    c[PCI_IO_BASE] = 0xf0 | (c[PCI_IO_BASE] & 0xf);
    c[PCI_IO_LIMIT] &= 0xf;
    st_le16(c + PCI_MEMORY_BASE, 0xfff0);
    st_le16(c + PCI_MEMORY_LIMIT, 0);
    st_le16(c + PCI_PREF_MEMORY_BASE, 0xfff0 | PCI_PREF_RANGE_TYPE_64);
    st_le16(c + PCI_PREF_MEMORY_LIMIT, PCI_PREF_RANGE_TYPE_64);
    memset(c + PCI_PREF_BASE_UPPER32, 0, 8);
    st_le16(c + PCI_BRIDGE_CONTROL, 0);
    st_le16(c + PCI_SEC_STATUS, 0);
    b->last_control = 0;
    update_windows(b);
}

static void reset_below(PciBridge *b)
{
    for (unsigned i = 0; i < 256; i++) {
        PciDevice *d = b->sec.devices[i];

        if (d) {
            pci_device_reset_common(d);
            device_reset(&d->dev);
        }
    }
}

void pci_bridge_config_written(PciBridge *b, uint32_t addr, unsigned len)
{
    uint16_t ctl = ld_le16(b->pci.config + PCI_BRIDGE_CONTROL);
    bool hot = (ctl & ~b->last_control) & PCI_BRIDGE_CTL_BUS_RESET;

    b->last_control = ctl;
    /* Command, I/O window, memory windows with their upper halves, control. */
    if (addr < PCI_COMMAND + 2u || (addr < PCI_IO_LIMIT_UPPER16 + 2u && addr + len > PCI_IO_BASE) ||
        (addr < PCI_BRIDGE_CONTROL + 2u && addr + len > PCI_BRIDGE_CONTROL)) {
        update_windows(b);
    }
    if (hot) {
        reset_below(b);
    }
}

/*
 * Red Hat's vendor capability "resource reserve" (type 1), which SeaBIOS and OVMF read: length,
 * type, then buses (32 bits), I/O (64), memory (32), prefetchable below (32) and above 4 GiB (64).
 */
bool pci_bridge_add_reserve(PciBridge *b, Error **errp)
{
    const uint8_t len = 32;
    uint8_t pos;

    if (b->bus_reserve == UINT32_MAX && b->io_reserve == UINT64_MAX &&
        b->mem_reserve == UINT64_MAX && b->pref32_reserve == UINT64_MAX &&
        b->pref64_reserve == UINT64_MAX) {
        return true;
    }
    if (b->pref32_reserve != UINT64_MAX && b->pref64_reserve != UINT64_MAX) {
        error_set(errp, "pref32-reserve and pref64-reserve are for the same window: give one");
        return false;
    }
    if ((b->mem_reserve != UINT64_MAX && b->mem_reserve >= 4 * GiB) ||
        (b->pref32_reserve != UINT64_MAX && b->pref32_reserve >= 4 * GiB) ||
        (b->bus_reserve != UINT32_MAX && b->bus_reserve > 255)) {
        error_set(errp,
                  "mem-reserve and pref32-reserve must be below 4G and bus-reserve below 256");
        return false;
    }
    pos = pci_add_capability(&b->pci, PCI_CAP_ID_VNDR, 0, len, errp);
    if (!pos) {
        return false;
    }
    b->pci.config[pos + 2] = len;
    b->pci.config[pos + 3] = 1;
    st_le32(b->pci.config + pos + 4, b->bus_reserve);
    st_le64(b->pci.config + pos + 8, b->io_reserve);
    st_le32(b->pci.config + pos + 16, (uint32_t)b->mem_reserve);
    st_le32(b->pci.config + pos + 20, (uint32_t)b->pref32_reserve);
    st_le64(b->pci.config + pos + 24, b->pref64_reserve);
    return true;
}

static void state_loaded(void *obj)
{
    PciBridge *b = obj;

    b->last_control = ld_le16(b->pci.config + PCI_BRIDGE_CONTROL);
    update_windows(b);
}

static const StateField bridge_fields[] = {
    STATE_F_PCI(PciBridge, pci),
    {0},
};
const StateDesc pci_bridge_state = {
    .name = "pci-bridge",
    .version = 1,
    .fields = bridge_fields,
    .loaded = state_loaded,
};

OBJECT_TYPE(pci_bridge_base_type, .name = TYPE_PCI_BRIDGE_BASE, .parent = TYPE_PCI_DEVICE,
            .help = "PCI-to-PCI bridge", .size = sizeof(PciBridge), .abstract = true)
