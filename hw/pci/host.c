/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hw/pci/host.h"

#include "util/log.h"

#define CONF_ENABLE BIT(31)

/* Only whole dwords reach the latch. */
static uint64_t conf_read(void *opaque, hwaddr off, unsigned size)
{
    PciHost *h = opaque;

    if (off == 0 && size == 4) {
        return h->address;
    }
    if (off == 1 && size == 1 && h->reset_read) {
        return h->reset_read(h->reset_opaque);
    }
    return ~0ull;
}

static void conf_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    PciHost *h = opaque;

    if (off == 0 && size == 4) {
        h->address = (uint32_t)v & 0x80fffffc;
    } else if (off == 1 && size == 1 && h->reset_write) {
        h->reset_write(h->reset_opaque, (uint8_t)v);
    }
}

static const RegionOps conf_ops = {
    .read = conf_read,
    .write = conf_write,
    .valid_min = 1,
    .valid_max = 4,
    .impl_min = 1,
    .impl_max = 4,
    .aligned_only = true,
};

static uint64_t data_read(void *opaque, hwaddr off, unsigned size)
{
    PciHost *h = opaque;

    if (!(h->address & CONF_ENABLE)) {
        return ~0ull;
    }
    return pci_bus_config_read(&h->bus, (h->address >> 8) & 0xffff, (h->address & 0xfc) | (off & 3),
                               size);
}

static void data_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    PciHost *h = opaque;

    if (h->address & CONF_ENABLE) {
        pci_bus_config_write(&h->bus, (h->address >> 8) & 0xffff, (h->address & 0xfc) | (off & 3),
                             (uint32_t)v, size);
    }
}

static const RegionOps data_ops = {
    .read = data_read,
    .write = data_write,
    .valid_min = 1,
    .valid_max = 4,
    .impl_min = 1,
    .impl_max = 4,
    .aligned_only = true,
};

static uint64_t ecam_read(void *opaque, hwaddr off, unsigned size)
{
    PciHost *h = opaque;

    return pci_bus_config_read(&h->bus, (uint32_t)(off >> 12) & 0xffff, off & 0xfff, size);
}

static void ecam_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    PciHost *h = opaque;

    pci_bus_config_write(&h->bus, (uint32_t)(off >> 12) & 0xffff, off & 0xfff, (uint32_t)v, size);
}

static const RegionOps ecam_ops = {
    .read = ecam_read,
    .write = ecam_write,
    .valid_min = 1,
    .valid_max = 8,
    .impl_min = 1,
    .impl_max = 4,
    .aligned_only = true,
};

void pci_host_set_ecam(PciHost *h, uint64_t base, uint64_t size)
{
    Machine *m = h->dev.machine;

    if (base == h->ecam_base && size == h->ecam_size) {
        return;
    }
    memory_begin(m->memsys);
    if (h->ecam_base != PCI_UNMAPPED) {
        region_fini(&h->ecam);
    }
    h->ecam_base = base;
    h->ecam_size = size;
    if (base != PCI_UNMAPPED) {
        region_init_io(&h->ecam, &h->dev.owner, &ecam_ops, h, "pcie-mmcfg-mmio", size);
        region_add_overlap(&m->memory, base, &h->ecam, 2);
    }
    memory_commit(m->memsys);
}

static void host_init(PciHost *h, const char *bus_id, bool express)
{
    Machine *m = h->dev.machine;

    h->ecam_base = PCI_UNMAPPED;
    h->ecam_size = 0;
    h->address = 0;
    pci_bus_init(&h->bus, &h->dev, m, bus_id, express);
    region_init_container(&h->pci_mem, "pci", MEMORY_WHOLE);
    region_add_overlap(&m->memory, 0, &h->pci_mem, -1);
    h->bus.mem = h->bus.prefetch = &h->pci_mem;
    h->bus.io = &m->io;
    h->bus.dma_root = &m->memory;
    region_init_io(&h->conf, &h->dev.owner, &conf_ops, h, "pci-conf-idx", 4);
    region_add(&m->io, 0xcf8, &h->conf);
    region_init_io(&h->data, &h->dev.owner, &data_ops, h, "pci-conf-data", 4);
    region_add(&m->io, 0xcfc, &h->data);
}

static void host_fini(PciHost *h)
{
    pci_host_set_ecam(h, PCI_UNMAPPED, 0);
    region_fini(&h->conf);
    region_fini(&h->data);
    pci_bus_fini(&h->bus);
    region_fini(&h->pci_mem);
}

bool pci_host_realize(Device *dev, const char *bus_id, bool express, const char *function,
                      Error **errp)
{
    PciHost *h = PCI_HOST(dev);
    PciDevice *d;

    host_init(h, bus_id, express);
    dev->machine->root_bus = &h->bus.bus;
    d = pci_create(&h->bus, PCI_DEVFN(0, 0), false, function);
    if (!pci_realize(d, &h->bus, errp)) {
        pci_host_unrealize(dev);
        return false;
    }
    return true;
}

void pci_host_unrealize(Device *dev)
{
    dev->machine->root_bus = NULL;
    host_fini(PCI_HOST(dev));
}

void pci_host_reset(Device *dev)
{
    PCI_HOST(dev)->address = 0;
}

char *pci_host_fw_name(Device *dev)
{
    return g_strdup("pci@i0cf8");
}

static const StateField pci_host_fields[] = {
    STATE_F_UINT(PciHost, address),
    {0},
};
const StateDesc pci_host_state = {.name = "pci-host", .version = 1, .fields = pci_host_fields};

OBJECT_TYPE(pci_host_type, .name = TYPE_PCI_HOST, .parent = TYPE_DEVICE,
            .help = "PCI host bridge, the CPU's side", .size = sizeof(PciHost), .abstract = true)
