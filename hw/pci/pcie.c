/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hw/pci/pcie.h"

#include "hw/pci/internal.h"

#include <assert.h>

#define LINK_2_5GT_X1 (PCI_EXP_LNKCAP_SLS_2_5GB | 1u << 4)

bool pcie_cap_init(PciDevice *d, uint8_t offset, uint8_t type, uint8_t port, Error **errp)
{
    bool has_link = type != PCI_EXP_TYPE_RC_END;
    uint8_t pos;

    assert(d->config_size == PCI_CFG_SPACE_EXP_SIZE);
    pos = pci_add_capability(d, PCI_CAP_ID_EXP, offset, PCI_EXP_LNKCTL2 + 12, errp);
    if (!pos) {
        return false;
    }
    d->exp_cap = pos;
    pci_config_set(d, pos + PCI_EXP_FLAGS, 2, 2u | (uint32_t)type << 4);
    pci_config_set(d, pos + PCI_EXP_DEVCAP, 4, PCI_EXP_DEVCAP_RBER);
    pci_set_wmask(d, pos + PCI_EXP_DEVCTL, 2,
                  PCI_EXP_DEVCTL_CERE | PCI_EXP_DEVCTL_NFERE | PCI_EXP_DEVCTL_FERE |
                      PCI_EXP_DEVCTL_URRE | PCI_EXP_DEVCTL_RELAX_EN | PCI_EXP_DEVCTL_PAYLOAD |
                      PCI_EXP_DEVCTL_NOSNOOP_EN | PCI_EXP_DEVCTL_READRQ);
    pci_set_w1cmask(d, pos + PCI_EXP_DEVSTA, 2,
                    PCI_EXP_DEVSTA_CED | PCI_EXP_DEVSTA_NFED | PCI_EXP_DEVSTA_FED |
                        PCI_EXP_DEVSTA_URD);
    if (has_link) {
        pci_config_set(d, pos + PCI_EXP_LNKCAP, 4, LINK_2_5GT_X1 | (uint32_t)port << 24);
        pci_config_set(d, pos + PCI_EXP_LNKSTA, 2, LINK_2_5GT_X1);
        pci_set_wmask(d, pos + PCI_EXP_LNKCTL, 2,
                      PCI_EXP_LNKCTL_ASPMC | PCI_EXP_LNKCTL_RCB | PCI_EXP_LNKCTL_CCC |
                          PCI_EXP_LNKCTL_ES);
        pci_config_set(d, pos + PCI_EXP_LNKCAP2, 4, PCI_EXP_LNKCAP2_SLS_2_5GB);
        pci_config_set(d, pos + PCI_EXP_LNKCTL2, 2, 1);
        pci_set_wmask(d, pos + PCI_EXP_LNKCTL2, 2, PCI_EXP_LNKCTL2_TLS);
    }
    return true;
}

uint16_t pcie_add_ext_capability(PciDevice *d, uint16_t id, uint8_t version, uint16_t size)
{
    uint32_t at = PCI_CFG_SPACE_SIZE, prev = 0;

    assert(d->config_size == PCI_CFG_SPACE_EXP_SIZE);
    /* A chain of capabilities, each after the one before; `used` tells where that ends. */
    while (ld_le32(d->config + at) && (ld_le32(d->config + at) >> 20)) {
        at = ld_le32(d->config + at) >> 20;
    }
    if (ld_le32(d->config + at)) {
        prev = at;
        while (at < PCI_CFG_SPACE_EXP_SIZE && d->used[at]) {
            at += 4;
        }
    }
    assert(at + size <= PCI_CFG_SPACE_EXP_SIZE);
    if (prev) {
        st_le32(d->config + prev, (ld_le32(d->config + prev) & 0xfffff) | at << 20);
    }
    st_le32(d->config + at, id | (uint32_t)version << 16);
    memset(d->used + at, 0xff, ALIGN_UP(size, (uint16_t)4));
    return (uint16_t)at;
}

void pcie_slot_init(PciDevice *port, uint16_t slot)
{
    uint8_t pos = port->exp_cap;

    pci_config_set(port, pos + PCI_EXP_FLAGS, 2,
                   pci_config_get(port, pos + PCI_EXP_FLAGS, 2) | PCI_EXP_FLAGS_SLOT);
    pci_config_set(port, pos + PCI_EXP_SLTCAP, 4, (uint32_t)slot << 19);
    pci_set_wmask(port, pos + PCI_EXP_SLTCTL, 2,
                  PCI_EXP_SLTCTL_PDCE | PCI_EXP_SLTCTL_CCIE | PCI_EXP_SLTCTL_HPIE |
                      PCI_EXP_SLTCTL_DLLSCE);
    pci_set_w1cmask(port, pos + PCI_EXP_SLTSTA, 2, PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_DLLSC);
}

void pcie_port_update(PciBridge *b)
{
    PciDevice *d = &b->pci;
    uint32_t sta = d->exp_cap + PCI_EXP_SLTSTA, lnk = d->exp_cap + PCI_EXP_LNKSTA;
    bool there = b->sec.devices[0] != NULL;
    uint32_t s = pci_config_get(d, sta, 2), l = pci_config_get(d, lnk, 2);

    pci_config_set(d, sta, 2, there ? s | PCI_EXP_SLTSTA_PDS : s & ~(uint32_t)PCI_EXP_SLTSTA_PDS);
    pci_config_set(d, lnk, 2,
                   there ? l | PCI_EXP_LNKSTA_DLLLA : l & ~(uint32_t)PCI_EXP_LNKSTA_DLLLA);
}
