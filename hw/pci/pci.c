/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI functions and buses: where a function sits, its life, its DMA and its
 * capability list.
 */
#include "hw/pci/pci.h"

#include "hw/pci/internal.h"
#include "hw/pci/msix.h"
#include "util/fault.h"
#include "util/log.h"

#include <assert.h>

/* ---- buses ---- */
void pci_bus_init(PciBus *bus, Device *parent, Machine *m, const char *id, bool express)
{
    bus_init(&bus->bus, sizeof(*bus), express ? TYPE_PCIE_BUS : TYPE_PCI_BUS, parent, m, id);
    bus->express = express;
    bus->devfn_max = 255;
    pthread_mutex_init(&bus->irq_lock, NULL);
}

void pci_bus_fini(PciBus *bus)
{
    bus_fini(&bus->bus);
    pthread_mutex_destroy(&bus->irq_lock);
}

PciBus *pci_bus_root(PciBus *bus)
{
    while (bus->bridge) {
        bus = pci_device_bus(bus->bridge);
    }
    return bus;
}

uint8_t pci_bus_number(const PciBus *bus)
{
    return bus->bridge ? bus->bridge->config[PCI_SECONDARY_BUS] : bus->root_number;
}

void pci_each(PciBus *bus, void (*fn)(PciDevice *d, void *opaque), void *opaque)
{
    for (unsigned i = 0; i < 256; i++) {
        PciDevice *d = bus->devices[i];

        if (d) {
            fn(d, opaque);
            if (d->secondary) {
                pci_each(d->secondary, fn, opaque);
            }
        }
    }
}

/* ---- addresses ---- */
static bool slot_free(const PciBus *bus, unsigned slot)
{
    for (unsigned f = 0; f < 8; f++) {
        if (bus->devices[PCI_DEVFN(slot, f)]) {
            return false;
        }
    }
    return true;
}

static bool find_slot(PciBus *bus, PciDevice *d, Error **errp)
{
    for (unsigned slot = PCI_SLOT(bus->devfn_min); slot <= PCI_SLOT(bus->devfn_max); slot++) {
        if (slot_free(bus, slot)) {
            d->devfn = PCI_DEVFN(slot, 0);
            return true;
        }
    }
    error_set(errp, "no free slot for %s on bus '%s'", d->dev.obj.type->name, bus->bus.id);
    error_hint(errp, "add a bridge (-device pci-bridge or pcie-root-port) and put devices "
                     "behind it with bus=ID");
    return false;
}

static bool check_address(PciBus *bus, PciDevice *d, Error **errp)
{
    unsigned slot = PCI_SLOT(d->devfn), fn = PCI_FUNC(d->devfn);
    const PciDevice *other = bus->devices[d->devfn], *first = bus->devices[PCI_DEVFN(slot, 0)];

    if (d->devfn < bus->devfn_min || d->devfn > bus->devfn_max) {
        error_set(errp, "slot %u is not valid on bus '%s' (slots %u to %u are)", slot, bus->bus.id,
                  PCI_SLOT(bus->devfn_min), PCI_SLOT(bus->devfn_max));
        return false;
    }
    if (other) {
        error_set(errp, "slot %u function %u of bus '%s' is in use by %s%s%s", slot, fn,
                  bus->bus.id, other->dev.obj.type->name, other->dev.id ? ", id=" : "",
                  other->dev.id ? other->dev.id : "");
        return false;
    }
    if (fn > 0 && first && !first->multifunction) {
        error_set(errp,
                  "slot %u of bus '%s' is single-function: function 0 (%s) lacks "
                  "multifunction=on",
                  slot, bus->bus.id, first->dev.obj.type->name);
        return false;
    }
    if (fn == 0 && !d->multifunction) {
        for (unsigned f = 1; f < 8; f++) {
            if (bus->devices[PCI_DEVFN(slot, f)]) {
                error_set(errp,
                          "function 0 of slot %u needs multifunction=on: function %u is in "
                          "use",
                          slot, f);
                return false;
            }
        }
    }
    return true;
}

/* ---- life ---- */
static void config_free(PciDevice *d)
{
    g_clear_pointer(&d->config, g_free);
    g_clear_pointer(&d->wmask, g_free);
    g_clear_pointer(&d->w1cmask, g_free);
    g_clear_pointer(&d->used, g_free);
}

static void bus_release(Bus *b, Device *dev);

static bool bus_prepare(Bus *b, Device *dev, Error **errp)
{
    PciBus *bus = PCI_BUS(b);
    PciDevice *d = PCI_DEVICE(dev);
    const PciClass *k = object_class(&dev->obj);

    if (d->devfn < 0 ? !find_slot(bus, d, errp) : !check_address(bus, d, errp)) {
        return false;
    }
    d->config_size = k->is_express ? PCI_CFG_SPACE_EXP_SIZE : PCI_CFG_SPACE_SIZE;
    d->config = g_malloc0(d->config_size);
    d->wmask = g_malloc0(d->config_size);
    d->w1cmask = g_malloc0(d->config_size);
    d->used = g_malloc0(d->config_size);
    d->intx_line = -1;
    d->intx_level = 0;
    for (unsigned n = 0; n < PCI_BAR_COUNT; n++) {
        d->bars[n] = (PciBar){.addr = PCI_UNMAPPED};
    }
    pci_config_init(d);
    region_init_container(&d->bus_master_root, "bus master", MEMORY_WHOLE);
    region_init_alias(&d->bus_master, "bus master", bus->dma_root, 0, MEMORY_WHOLE);
    region_set_enabled(&d->bus_master, false);
    region_add(&d->bus_master_root, 0, &d->bus_master);
    d->as = address_space_new(dev->machine->memsys, &d->bus_master_root, dev->obj.type->name);
    bus->devices[d->devfn] = d;
    if (!pci_rom_init(d, errp)) {
        bus_release(b, dev);
        return false;
    }
    return true;
}

static void bus_release(Bus *b, Device *dev)
{
    PciBus *bus = PCI_BUS(b);
    PciDevice *d = PCI_DEVICE(dev);

    pci_set_irq(d, 0);
    for (unsigned n = 0; n < PCI_BAR_COUNT; n++) {
        d->bars[n] = (PciBar){.addr = PCI_UNMAPPED}; /* the regions are gone already */
    }
    pci_rom_fini(d);
    pci_msix_fini(d);
    bus->devices[d->devfn] = NULL;
    address_space_free(d->as);
    d->as = NULL;
    region_fini(&d->bus_master);
    region_fini(&d->bus_master_root);
    d->msi_cap = d->msix_cap = d->pm_cap = d->exp_cap = 0;
    config_free(d);
}

static void bus_detach(Bus *b, Device *dev)
{
    pci_unmap_bars(PCI_DEVICE(dev));
}

void pci_device_reset_common(PciDevice *d)
{
    uint8_t *c = d->config;

    st_le16(c + PCI_COMMAND, ld_le16(c + PCI_COMMAND) & (uint16_t)~ld_le16(d->wmask + PCI_COMMAND));
    st_le16(c + PCI_STATUS, ld_le16(c + PCI_STATUS) & (uint16_t)~ld_le16(d->w1cmask + PCI_STATUS));
    c[PCI_CACHE_LINE_SIZE] = 0;
    c[PCI_INTERRUPT_LINE] = 0;
    for (unsigned n = 0; n < PCI_BAR_COUNT; n++) {
        const PciBar *b = &d->bars[n];
        uint32_t off = n == PCI_ROM_SLOT
                           ? ((c[PCI_HEADER_TYPE] & 0x7f) == 1 ? PCI_ROM_ADDRESS1 : PCI_ROM_ADDRESS)
                           : PCI_BASE_ADDRESS_0 + 4 * n;

        if (!b->region) {
            continue;
        }
        st_le32(c + off, b->type);
        if (!(b->type & PCI_BASE_ADDRESS_SPACE_IO) && (b->type & PCI_BASE_ADDRESS_MEM_TYPE_64)) {
            st_le32(c + off + 4, 0);
        }
    }
    if (d->pm_cap) {
        st_le16(c + d->pm_cap + PCI_PM_CTRL,
                ld_le16(c + d->pm_cap + PCI_PM_CTRL) & (uint16_t)~PCI_PM_CTRL_STATE_MASK);
    }
    pci_msi_reset(d);
    pci_msix_reset(d);
    pci_set_irq(d, 0);
    pci_update_mappings(d);
    pci_intx_update(d);
}

/* Before the devices' own resets, which may set power-on values of these registers. */
static void bus_reset(Bus *b)
{
    PciBus *bus = PCI_BUS(b);

    for (unsigned i = 0; i < 256; i++) {
        if (bus->devices[i]) {
            pci_device_reset_common(bus->devices[i]);
        }
    }
}

static char *device_address(const Device *dev)
{
    const PciDevice *d = (const PciDevice *)dev;

    return g_strdup_printf("%02x:%02x.%x", pci_bus_number(pci_device_bus(d)), PCI_SLOT(d->devfn),
                           PCI_FUNC(d->devfn));
}

/* IEEE 1275 PCI binding: name@slot[,function]; SeaBIOS matches "@slot,fn" with fn 0 left out. */
static const char *class_fw_name(uint16_t class_id)
{
    static const struct {
        uint16_t class_id;
        const char *name;
    } names[] = {
        {0x0100, "scsi"},          {0x0101, "ide"},  {0x0102, "fdc"},      {0x0104, "raid"},
        {0x0106, "sata"},          {0x0108, "nvme"}, {0x0200, "ethernet"}, {0x0300, "display"},
        {0x0500, "memory"},        {0x0600, "host"}, {0x0601, "isa"},      {0x0604, "pci-bridge"},
        {0x0780, "communication"},
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (names[i].class_id == class_id) {
            return names[i].name;
        }
    }
    return NULL;
}

static char *fw_path(const Device *dev)
{
    const PciDevice *d = (const PciDevice *)dev;
    uint16_t class_id = ld_le16(d->config + PCI_CLASS_DEVICE);
    const char *name = class_fw_name(class_id);
    g_autofree char *id = name ? g_strdup(name)
                               : g_strdup_printf("pci%04x,%04x", ld_le16(d->config),
                                                 ld_le16(d->config + PCI_DEVICE_ID));

    return PCI_FUNC(d->devfn)
               ? g_strdup_printf("%s@%x,%x", id, PCI_SLOT(d->devfn), PCI_FUNC(d->devfn))
               : g_strdup_printf("%s@%x", id, PCI_SLOT(d->devfn));
}

static const BusClass pci_bus_class = {
    .address_help = "slot[.function], in hexadecimal",
    .prepare = bus_prepare,
    .release = bus_release,
    .detach = bus_detach,
    .reset = bus_reset,
    .device_address = device_address,
    .fw_path = fw_path,
};

OBJECT_TYPE(pci_bus_type, .name = TYPE_PCI_BUS, .parent = TYPE_BUS, .help = "PCI bus",
            .size = sizeof(PciBus), .klass = &pci_bus_class)
OBJECT_TYPE(pcie_bus_type, .name = TYPE_PCIE_BUS, .parent = TYPE_PCI_BUS, .help = "PCI Express bus")

PciDevice *pci_create(PciBus *bus, int devfn, bool multifunction, const char *type)
{
    PciDevice *d = PCI_DEVICE(device_new(type));

    d->devfn = devfn;
    d->multifunction = multifunction;
    return d;
}

bool pci_realize(PciDevice *d, PciBus *bus, Error **errp)
{
    return device_realize(&d->dev, bus->bus.machine, &bus->bus, errp);
}

/* ---- DMA ---- */
static MemAttrs dma_attrs(const PciDevice *d)
{
    return (MemAttrs){.requester = pci_requester_id(d)};
}

/*
 * While a function masters the bus it does not answer on it: a descriptor that points at the
 * function's own registers is a bus error, also when a timer or a completion reads it.
 */
MemResult pci_dma_read(PciDevice *d, hwaddr addr, void *buf, size_t len)
{
    bool was = d->dev.owner.busy;
    MemResult res;

    d->dev.owner.busy = true;
    res = address_space_read(d->as, addr, dma_attrs(d), buf, len);
    d->dev.owner.busy = was;
    return res;
}

MemResult pci_dma_write(PciDevice *d, hwaddr addr, const void *buf, size_t len)
{
    bool was = d->dev.owner.busy;
    MemResult res;

    d->dev.owner.busy = true;
    res = address_space_write(d->as, addr, dma_attrs(d), buf, len);
    d->dev.owner.busy = was;
    return res;
}

/* ---- capabilities ---- */
static uint8_t free_cap_space(const PciDevice *d, uint8_t size)
{
    unsigned run = 0;

    for (unsigned i = PCI_STD_HEADER_SIZEOF; i < PCI_CFG_SPACE_SIZE; i++) {
        if (d->used[i]) {
            run = 0;
        } else if (run || (i & 3) == 0) {
            if (++run == size) {
                return (uint8_t)(i + 1 - size);
            }
        }
    }
    return 0;
}

uint8_t pci_add_capability(PciDevice *d, uint8_t id, uint8_t offset, uint8_t size, Error **errp)
{
    if (fault_here("adding a capability", errp)) {
        return 0;
    }
    if (!offset) {
        offset = free_cap_space(d, size);
        if (!offset) {
            error_set(errp, "%s: no room for PCI capability 0x%02x", d->dev.obj.type->name, id);
            return 0;
        }
    }
    assert(offset >= PCI_STD_HEADER_SIZEOF && offset + size <= PCI_CFG_SPACE_SIZE);
    for (unsigned i = offset; i < offset + size; i++) {
        if (d->used[i]) {
            error_set(errp, "%s: PCI capability 0x%02x at 0x%02x overlaps another",
                      d->dev.obj.type->name, id, offset);
            return 0;
        }
    }
    d->config[offset] = id;
    d->config[offset + PCI_CAP_LIST_NEXT] = d->config[PCI_CAPABILITY_LIST];
    d->config[PCI_CAPABILITY_LIST] = offset;
    d->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
    memset(d->used + offset, 0xff, ALIGN_UP(size, 4u));
    return offset;
}

bool pci_pm_init(PciDevice *d, uint8_t offset, Error **errp)
{
    uint8_t pos = pci_add_capability(d, PCI_CAP_ID_PM, offset, PCI_PM_SIZEOF, errp);

    if (!pos) {
        return false;
    }
    d->pm_cap = pos;
    pci_config_set(d, pos + PCI_PM_PMC, 2, 3); /* version 1.2 */
    pci_config_set(d, pos + PCI_PM_CTRL, 2, PCI_PM_CTRL_NO_SOFT_RESET);
    pci_set_wmask(d, pos + PCI_PM_CTRL, 2, PCI_PM_CTRL_STATE_MASK);
    return true;
}

/* ---- state ---- */
static void state_pre_save(void *obj)
{
    PciDevice *d = obj;

    memset(d->saved, 0, sizeof(d->saved));
    for (unsigned i = 0; i < d->config_size; i++) {
        d->saved[i] = d->config[i] & (d->wmask[i] | d->w1cmask[i]);
    }
}

/* Only bits that the guest itself could have set are taken from a stream. */
static void state_loaded(void *obj)
{
    PciDevice *d = obj;

    for (unsigned i = 0; i < d->config_size; i++) {
        uint8_t m = d->wmask[i] | d->w1cmask[i];

        d->config[i] = (uint8_t)((d->config[i] & ~m) | (d->saved[i] & m));
    }
    pci_update_mappings(d);
    pci_intx_update(d);
    pci_msix_config_written(d, 0, d->config_size);
}

static bool state_has_ext(const void *obj)
{
    return ((const PciDevice *)obj)->config_size > PCI_CFG_SPACE_SIZE;
}

static bool state_has_msix(const void *obj)
{
    return ((const PciDevice *)obj)->msix != NULL;
}

static const StateField pci_device_fields[] = {
    {.name = "config", .kind = STATE_BYTES, .offset = offsetof(PciDevice, saved), .size = 256},
    {.name = "config_ext",
     .kind = STATE_BYTES,
     .offset = offsetof(PciDevice, saved) + 256,
     .size = 3840,
     .present = state_has_ext},
    STATE_F_UINT_MAX(PciDevice, intx_level, 1),
    {.name = "msix",
     .kind = STATE_POINTER,
     .offset = offsetof(PciDevice, msix),
     .size = sizeof(MsixState),
     .desc = &pci_msix_state,
     .present = state_has_msix},
    {0},
};

const StateDesc pci_device_state = {
    .name = "pci-device",
    .version = 1,
    .fields = pci_device_fields,
    .pre_save = state_pre_save,
    .loaded = state_loaded,
};

/* ---- type ---- */
static const Property pci_device_props[] = {
    PROPERTY_PCI_ADDR("addr", PciDevice, devfn, "slot[.function] on the bus; -1: the first free"),
    PROPERTY_BOOL("multifunction", PciDevice, multifunction, false,
                  "function 0 of a device with several functions"),
    PROPERTY_STRING("romfile", PciDevice, romfile, "option ROM; empty: none"),
    PROPERTY_U32("romsize", PciDevice, romsize, UINT32_MAX,
                 "size of the ROM's BAR; 4294967295: the file's, rounded up"),
    PROPERTY_I32("rombar", PciDevice, rombar, -1, "0: the option ROM has no BAR"),
    {0},
};

static void pci_device_init(Object *obj)
{
    ((PciDevice *)obj)->intx_line = -1;
}

OBJECT_TYPE(pci_device_type, .name = TYPE_PCI_DEVICE, .parent = TYPE_DEVICE, .help = "PCI function",
            .size = sizeof(PciDevice), .props = pci_device_props, .init = pci_device_init,
            .abstract = true)
