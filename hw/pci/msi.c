/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MSI: an interrupt is a memory write of the function (PCI Local Bus 3.0, 6.8.1).
 */
#include "hw/pci/internal.h"
#include "util/log.h"
#include "util/trace.h"

#include <assert.h>
#include <inttypes.h>

TRACE_EVENT(pci_msi_notify, "%02x.%x address 0x%" PRIx64 " data 0x%x")

void pci_msi_send(PciDevice *d, uint64_t addr, uint32_t data)
{
    MemAttrs a = {.requester = pci_requester_id(d)};

    trace(pci_msi_notify, PCI_SLOT(d->devfn), PCI_FUNC(d->devfn), addr, data);
    if (address_space_st(d->as, addr, a, 4, data) != MEM_OK) {
        guest_error(d->dev.obj.type->name, "MSI to 0x%" PRIx64 ", where nothing takes it", addr);
    }
}

static uint16_t flags(const PciDevice *d)
{
    return ld_le16(d->config + d->msi_cap + PCI_MSI_FLAGS);
}

static uint8_t data_offset(const PciDevice *d)
{
    return (uint8_t)(d->msi_cap +
                     (flags(d) & PCI_MSI_FLAGS_64BIT ? PCI_MSI_DATA_64 : PCI_MSI_DATA_32));
}

/* Offset of the mask register; the pending register follows it. 0: none. */
static uint8_t mask_offset(const PciDevice *d)
{
    if (!(flags(d) & PCI_MSI_FLAGS_MASKBIT)) {
        return 0;
    }
    return (uint8_t)(d->msi_cap +
                     (flags(d) & PCI_MSI_FLAGS_64BIT ? PCI_MSI_MASK_64 : PCI_MSI_MASK_32));
}

bool pci_msi_init(PciDevice *d, uint8_t offset, unsigned vectors, bool addr64, bool mask,
                  Error **errp)
{
    uint8_t size = (uint8_t)((addr64 ? 14 : 10) + (mask ? 10 : 0)), pos;
    uint16_t fl = (uint16_t)(__builtin_ctz(vectors) << 1);

    assert(IS_POWER_OF_2(vectors) && vectors <= 32);
    pos = pci_add_capability(d, PCI_CAP_ID_MSI, offset, size, errp);
    if (!pos) {
        return false;
    }
    fl |= (uint16_t)((addr64 ? PCI_MSI_FLAGS_64BIT : 0) | (mask ? PCI_MSI_FLAGS_MASKBIT : 0));
    d->msi_cap = pos;
    d->msi_vectors = (uint16_t)vectors;
    pci_config_set(d, pos + PCI_MSI_FLAGS, 2, fl);
    pci_set_wmask(d, pos + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE);
    pci_set_wmask(d, pos + PCI_MSI_ADDRESS_LO, 4, 0xfffffffc);
    if (addr64) {
        pci_set_wmask(d, pos + PCI_MSI_ADDRESS_HI, 4, 0xffffffff);
    }
    pci_set_wmask(d, data_offset(d), 2, 0xffff);
    if (mask) {
        pci_set_wmask(d, mask_offset(d), 4, (uint32_t)~0u >> (32 - vectors));
    }
    return true;
}

bool pci_msi_enabled(const PciDevice *d)
{
    return d->msi_cap && (flags(d) & PCI_MSI_FLAGS_ENABLE);
}

/* How many vectors software has allocated, at most what the function asked for. */
static unsigned allocated(const PciDevice *d)
{
    unsigned n = 1u << ((flags(d) & PCI_MSI_FLAGS_QSIZE) >> 4);

    return MIN(n, d->msi_vectors);
}

void pci_msi_notify(PciDevice *d, unsigned vector)
{
    uint64_t addr;
    uint32_t data;
    uint8_t m;

    if (!pci_msi_enabled(d)) {
        return;
    }
    vector &= allocated(d) - 1;
    m = mask_offset(d);
    if (m && (ld_le32(d->config + m) & BIT(vector))) {
        st_le32(d->config + m + 4, ld_le32(d->config + m + 4) | (uint32_t)BIT(vector));
        return;
    }
    addr = ld_le32(d->config + d->msi_cap + PCI_MSI_ADDRESS_LO);
    if (flags(d) & PCI_MSI_FLAGS_64BIT) {
        addr |= (uint64_t)ld_le32(d->config + d->msi_cap + PCI_MSI_ADDRESS_HI) << 32;
    }
    data = ld_le16(d->config + data_offset(d));
    data = (data & ~(allocated(d) - 1)) | vector;
    pci_msi_send(d, addr, data);
}

/* Sends what was held back by a mask bit that is now clear. */
void pci_msi_config_written(PciDevice *d, uint32_t addr, unsigned len)
{
    uint32_t go;
    uint8_t m;

    if (!d->msi_cap || !pci_ranges_overlap(addr, len, d->msi_cap, 24) || !pci_msi_enabled(d)) {
        return;
    }
    m = mask_offset(d);
    if (!m) {
        return;
    }
    go = ld_le32(d->config + m + 4) & ~ld_le32(d->config + m);
    st_le32(d->config + m + 4, ld_le32(d->config + m + 4) & ~go);
    for (unsigned v = 0; v < d->msi_vectors; v++) {
        if (go & BIT(v)) {
            pci_msi_notify(d, v);
        }
    }
}

void pci_msi_reset(PciDevice *d)
{
    uint8_t m;

    if (!d->msi_cap) {
        return;
    }
    m = mask_offset(d);
    pci_config_set(d, d->msi_cap + PCI_MSI_FLAGS, 2,
                   flags(d) & (uint16_t) ~(PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE));
    pci_config_set(d, d->msi_cap + PCI_MSI_ADDRESS_LO, 4, 0);
    if (flags(d) & PCI_MSI_FLAGS_64BIT) {
        pci_config_set(d, d->msi_cap + PCI_MSI_ADDRESS_HI, 4, 0);
    }
    pci_config_set(d, data_offset(d), 2, 0);
    if (m) {
        pci_config_set(d, m, 4, 0);
        pci_config_set(d, m + 4, 4, 0);
    }
}
