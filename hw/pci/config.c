/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The configuration space of one function: masks, default reads and writes,
 * and where its BARs show up (PCI Local Bus 3.0, chapter 6).
 */
#include "hw/pci/internal.h"
#include "util/log.h"
#include "util/trace.h"

#include <assert.h>
#include <inttypes.h>

TRACE_EVENT(pci_config_read, "%02x.%x reg 0x%x len %u value 0x%x")
TRACE_EVENT(pci_config_write, "%02x.%x reg 0x%x len %u value 0x%x")
TRACE_EVENT(pci_bar_map, "%02x.%x bar %u at 0x%" PRIx64 " size 0x%" PRIx64)
TRACE_EVENT(pci_bar_unmap, "%02x.%x bar %u")

uint32_t pci_config_get(const PciDevice *d, uint32_t addr, unsigned len)
{
    return (uint32_t)ld_le(d->config + addr, len);
}

void pci_config_set(PciDevice *d, uint32_t addr, unsigned len, uint32_t v)
{
    st_le(d->config + addr, len, v);
}

void pci_set_wmask(PciDevice *d, uint32_t addr, unsigned len, uint32_t mask)
{
    st_le(d->wmask + addr, len, mask);
}

void pci_set_w1cmask(PciDevice *d, uint32_t addr, unsigned len, uint32_t mask)
{
    st_le(d->w1cmask + addr, len, mask);
}

static void init_type0(PciDevice *d, const PciClass *k)
{
    uint16_t sv = k->subsystem_vendor_id ? k->subsystem_vendor_id : PCI_SUBVENDOR_ID_QUMRANET;
    uint16_t si = k->subsystem_vendor_id ? k->subsystem_id : PCI_SUBDEVICE_ID_QEMU;

    st_le16(d->config + PCI_SUBSYSTEM_VENDOR_ID, sv);
    st_le16(d->config + PCI_SUBSYSTEM_ID, si);
}

static void init_type1(PciDevice *d)
{
    uint8_t *w = d->wmask;

    d->config[PCI_HEADER_TYPE] |= PCI_HEADER_TYPE_BRIDGE;
    /* Bus numbers and secondary latency timer. */
    memset(w + PCI_PRIMARY_BUS, 0xff, 4);
    /* 32-bit I/O, 32-bit memory and 64-bit prefetchable windows. */
    w[PCI_IO_BASE] = 0xf0;
    w[PCI_IO_LIMIT] = 0xf0;
    d->config[PCI_IO_BASE] = PCI_IO_RANGE_TYPE_16;
    d->config[PCI_IO_LIMIT] = PCI_IO_RANGE_TYPE_16;
    st_le16(w + PCI_MEMORY_BASE, 0xfff0);
    st_le16(w + PCI_MEMORY_LIMIT, 0xfff0);
    st_le16(w + PCI_PREF_MEMORY_BASE, 0xfff0);
    st_le16(w + PCI_PREF_MEMORY_LIMIT, 0xfff0);
    st_le16(d->config + PCI_PREF_MEMORY_BASE, PCI_PREF_RANGE_TYPE_64);
    st_le16(d->config + PCI_PREF_MEMORY_LIMIT, PCI_PREF_RANGE_TYPE_64);
    memset(w + PCI_PREF_BASE_UPPER32, 0xff, 8);
    st_le16(w + PCI_BRIDGE_CONTROL, PCI_BRIDGE_CTL_PARITY | PCI_BRIDGE_CTL_SERR |
                                        PCI_BRIDGE_CTL_ISA | PCI_BRIDGE_CTL_VGA |
                                        0x10 /* VGA 16-bit decode */ | PCI_BRIDGE_CTL_MASTER_ABORT |
                                        PCI_BRIDGE_CTL_BUS_RESET | PCI_BRIDGE_CTL_FAST_BACK);
    st_le16(d->w1cmask + PCI_SEC_STATUS,
            PCI_STATUS_PARITY | PCI_STATUS_SIG_TARGET_ABORT | PCI_STATUS_REC_TARGET_ABORT |
                PCI_STATUS_REC_MASTER_ABORT | PCI_STATUS_SIG_SYSTEM_ERROR |
                PCI_STATUS_DETECTED_PARITY);
}

void pci_config_init(PciDevice *d)
{
    const PciClass *k = object_class(&d->dev.obj);
    uint8_t *c = d->config;

    st_le16(c + PCI_VENDOR_ID, k->vendor_id);
    st_le16(c + PCI_DEVICE_ID, k->device_id);
    c[PCI_REVISION_ID] = k->revision;
    c[PCI_CLASS_PROG] = k->prog_if;
    st_le16(c + PCI_CLASS_DEVICE, k->class_id);
    if (d->multifunction) {
        c[PCI_HEADER_TYPE] = 0x80;
    }
    memset(d->used, 0xff, PCI_STD_HEADER_SIZEOF);
    st_le16(d->wmask + PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
                                        PCI_COMMAND_PARITY | PCI_COMMAND_SERR |
                                        PCI_COMMAND_INTX_DISABLE);
    st_le16(d->w1cmask + PCI_STATUS, PCI_STATUS_PARITY | PCI_STATUS_SIG_TARGET_ABORT |
                                         PCI_STATUS_REC_TARGET_ABORT | PCI_STATUS_REC_MASTER_ABORT |
                                         PCI_STATUS_SIG_SYSTEM_ERROR | PCI_STATUS_DETECTED_PARITY);
    d->wmask[PCI_CACHE_LINE_SIZE] = 0xff;
    d->wmask[PCI_INTERRUPT_LINE] = 0xff;
    if (k->is_bridge) {
        init_type1(d);
    } else {
        init_type0(d, k);
    }
}

/* ---- BARs ---- */
static uint32_t bar_offset(const PciDevice *d, unsigned n)
{
    if (n != PCI_ROM_SLOT) {
        return PCI_BASE_ADDRESS_0 + 4 * n;
    }
    return (d->config[PCI_HEADER_TYPE] & 0x7f) == PCI_HEADER_TYPE_BRIDGE ? PCI_ROM_ADDRESS1
                                                                         : PCI_ROM_ADDRESS;
}

static bool bar_is_64(const PciBar *b)
{
    return !(b->type & PCI_BASE_ADDRESS_SPACE_IO) && (b->type & PCI_BASE_ADDRESS_MEM_TYPE_64);
}

void pci_register_bar(PciDevice *d, unsigned n, uint8_t type, Region *r)
{
    PciBar *b = &d->bars[n];
    uint64_t size = r->size;
    uint32_t off;

    assert(n < PCI_BAR_COUNT && IS_POWER_OF_2(size) && size >= 4 && !b->region);
    b->region = r;
    b->size = size;
    b->type = n == PCI_ROM_SLOT ? 0 : type;
    b->addr = PCI_UNMAPPED;
    off = bar_offset(d, n);
    if (n == PCI_ROM_SLOT) {
        pci_config_set(d, off, 4, 0);
        pci_set_wmask(d, off, 4, (uint32_t) ~(size - 1) | PCI_ROM_ADDRESS_ENABLE);
        return;
    }
    pci_config_set(d, off, 4, type);
    if (bar_is_64(b)) {
        pci_set_wmask(d, off, 4, (uint32_t) ~(size - 1));
        pci_set_wmask(d, off + 4, 4, (uint32_t)(~(size - 1) >> 32));
    } else {
        pci_set_wmask(d, off, 4, (uint32_t) ~(size - 1));
    }
}

static bool bar_decoded(const PciDevice *d, unsigned n)
{
    uint16_t cmd = ld_le16(d->config + PCI_COMMAND);
    const PciBar *b = &d->bars[n];

    if (d->pm_cap && (d->config[d->pm_cap + PCI_PM_CTRL] & PCI_PM_CTRL_STATE_MASK)) {
        return false; /* D1 to D3hot: only the configuration space answers */
    }
    if (b->type & PCI_BASE_ADDRESS_SPACE_IO) {
        return cmd & PCI_COMMAND_IO;
    }
    if (n == PCI_ROM_SLOT && !(d->config[bar_offset(d, n)] & PCI_ROM_ADDRESS_ENABLE)) {
        return false;
    }
    return cmd & PCI_COMMAND_MEMORY;
}

/*
 * Where the BAR should be now.  A BAR that is 0, wraps, or reaches the very end of its space is
 * unmapped: that is what it looks like while its size is being probed.
 */
static hwaddr bar_address(const PciDevice *d, unsigned n)
{
    const PciBar *b = &d->bars[n];
    uint32_t off = bar_offset(d, n);
    uint64_t addr, last;

    if (!b->region || !bar_decoded(d, n)) {
        return PCI_UNMAPPED;
    }
    addr = ld_le32(d->config + off);
    if (bar_is_64(b)) {
        addr |= (uint64_t)ld_le32(d->config + off + 4) << 32;
    }
    addr &= ~(b->size - 1);
    last = addr + b->size - 1;
    if (addr == 0 || last < addr || last == UINT64_MAX) {
        return PCI_UNMAPPED;
    }
    if (b->type & PCI_BASE_ADDRESS_SPACE_IO) {
        return last >= 0xffff ? PCI_UNMAPPED : addr;
    }
    if (!bar_is_64(b) && last >= UINT32_MAX) {
        return PCI_UNMAPPED;
    }
    return addr;
}

static Region *bar_space(PciDevice *d, const PciBar *b)
{
    PciBus *bus = pci_device_bus(d);

    if (b->type & PCI_BASE_ADDRESS_SPACE_IO) {
        return bus->io;
    }
    return bus->mem;
}

static void bar_move(PciDevice *d, unsigned n, hwaddr to)
{
    PciBar *b = &d->bars[n];

    if (b->addr != PCI_UNMAPPED) {
        trace(pci_bar_unmap, PCI_SLOT(d->devfn), PCI_FUNC(d->devfn), n);
        region_del(bar_space(d, b), b->region);
    }
    b->addr = to;
    if (to != PCI_UNMAPPED) {
        trace(pci_bar_map, PCI_SLOT(d->devfn), PCI_FUNC(d->devfn), n, to, b->size);
        region_add_overlap(bar_space(d, b), to, b->region, 1);
    }
}

void pci_update_mappings(PciDevice *d)
{
    MemorySystem *sys = d->dev.machine->memsys;
    bool master = ld_le16(d->config + PCI_COMMAND) & PCI_COMMAND_MASTER;
    bool open = false;

    for (unsigned n = 0; n < PCI_BAR_COUNT; n++) {
        hwaddr to = d->bars[n].region ? bar_address(d, n) : PCI_UNMAPPED;

        if (!d->bars[n].region || to == d->bars[n].addr) {
            continue;
        }
        if (!open) {
            memory_begin(sys);
            open = true;
        }
        bar_move(d, n, to);
    }
    if (d->bus_master.enabled != master) {
        region_set_enabled(&d->bus_master, master);
    }
    if (open) {
        memory_commit(sys);
    }
}

void pci_unmap_bars(PciDevice *d)
{
    for (unsigned n = 0; n < PCI_BAR_COUNT; n++) {
        if (d->bars[n].region && d->bars[n].addr != PCI_UNMAPPED) {
            bar_move(d, n, PCI_UNMAPPED);
        }
    }
}

/* ---- accesses ---- */
static uint32_t config_read_default(PciDevice *d, uint32_t reg, unsigned len)
{
    return (uint32_t)ld_le(d->config + reg, len);
}

/*
 * Whoever comes through a host bridge holds the platform loop's lock; a device of an I/O thread
 * wants its own as well, which comes after it in the order.
 */
static EventLoop *enter_device(PciDevice *d)
{
    EventLoop *loop = d->dev.owner.loop;

    if (loop) {
        loop_lock(loop);
    }
    return loop;
}

static void leave_device(EventLoop *loop)
{
    if (loop) {
        loop_unlock(loop);
    }
}

uint32_t pci_device_config_read(PciDevice *d, uint32_t reg, unsigned len)
{
    const PciClass *k = object_class(&d->dev.obj);
    EventLoop *loop;
    uint32_t v;

    if (reg + len > d->config_size) {
        return (uint32_t)~0u >> (32 - 8 * len);
    }
    loop = enter_device(d);
    v = k->config_read ? k->config_read(d, reg, len) : config_read_default(d, reg, len);
    leave_device(loop);
    trace(pci_config_read, PCI_SLOT(d->devfn), PCI_FUNC(d->devfn), reg, len, v);
    return v;
}

static bool touches_bars(PciDevice *d, uint32_t reg, unsigned len)
{
    return pci_ranges_overlap(reg, len, PCI_COMMAND, 2) ||
           pci_ranges_overlap(reg, len, PCI_BASE_ADDRESS_0, 24) ||
           pci_ranges_overlap(reg, len, bar_offset(d, PCI_ROM_SLOT), 4) ||
           (d->pm_cap && pci_ranges_overlap(reg, len, d->pm_cap + PCI_PM_CTRL, 2));
}

void pci_device_config_write(PciDevice *d, uint32_t reg, uint32_t v, unsigned len)
{
    const PciClass *k = object_class(&d->dev.obj);
    EventLoop *loop;

    if (reg + len > d->config_size) {
        return;
    }
    loop = enter_device(d);
    trace(pci_config_write, PCI_SLOT(d->devfn), PCI_FUNC(d->devfn), reg, len, v);
    for (unsigned i = 0; i < len; i++) {
        uint8_t b = (uint8_t)(v >> (8 * i)), w = d->wmask[reg + i], c = d->w1cmask[reg + i];

        d->config[reg + i] = (uint8_t)((d->config[reg + i] & ~w) | (b & w));
        d->config[reg + i] &= (uint8_t) ~(b & c);
    }
    if (touches_bars(d, reg, len)) {
        pci_update_mappings(d);
    }
    if (pci_ranges_overlap(reg, len, PCI_COMMAND, 2)) {
        pci_intx_update(d);
    }
    pci_msi_config_written(d, reg, len);
    pci_msix_config_written(d, reg, len);
    if (k->config_written) {
        k->config_written(d, reg, v, len);
    }
    leave_device(loop);
}

/*
 * The device that answers to `bdf`.  A configuration cycle for another bus goes down the bridge
 * whose secondary..subordinate range has the number.
 */
static PciBus *find_bus(PciBus *bus, uint8_t number)
{
    if (pci_bus_number(bus) == number) {
        return bus;
    }
    for (GList *l = bus->bus.devices; l; l = l->next) {
        PciDevice *d = l->data;

        if (d->secondary && d->config[PCI_SECONDARY_BUS] &&
            d->config[PCI_SECONDARY_BUS] <= number && number <= d->config[PCI_SUBORDINATE_BUS]) {
            return find_bus(d->secondary, number);
        }
    }
    return NULL;
}

PciDevice *pci_find(PciBus *root, uint8_t number, uint8_t devfn)
{
    PciBus *bus = find_bus(root, number);

    return bus ? bus->devices[devfn] : NULL;
}

uint32_t pci_bus_config_read(PciBus *root, uint32_t bdf, uint32_t reg, unsigned len)
{
    PciDevice *d = pci_find(root, (uint8_t)(bdf >> 8), (uint8_t)bdf);

    return d ? pci_device_config_read(d, reg, len) : (uint32_t)~0u >> (32 - 8 * len);
}

void pci_bus_config_write(PciBus *root, uint32_t bdf, uint32_t reg, uint32_t v, unsigned len)
{
    PciDevice *d = pci_find(root, (uint8_t)(bdf >> 8), (uint8_t)bdf);

    if (d) {
        pci_device_config_write(d, reg, v, len);
    }
}
