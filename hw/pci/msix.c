/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MSI-X: a table of messages in a BAR, with a mask and a pending bit each
 * (PCI Local Bus 3.0, 6.8.2).
 */
#include "hw/pci/msix.h"

#include "hw/pci/internal.h"

#include <assert.h>

static uint16_t control(const PciDevice *d)
{
    return ld_le16(d->config + d->msix_cap + PCI_MSIX_FLAGS);
}

bool pci_msix_enabled(const PciDevice *d)
{
    return d->msix && (control(d) & PCI_MSIX_FLAGS_ENABLE);
}

bool pci_msix_masked(const PciDevice *d, unsigned vector)
{
    const uint8_t *e = d->msix->table + vector * PCI_MSIX_ENTRY_SIZE;

    return (control(d) & PCI_MSIX_FLAGS_MASKALL) ||
           (e[PCI_MSIX_ENTRY_VECTOR_CTRL] & PCI_MSIX_ENTRY_CTRL_MASKBIT);
}

static void send(PciDevice *d, unsigned vector)
{
    const uint8_t *e = d->msix->table + vector * PCI_MSIX_ENTRY_SIZE;

    uint64_t address = ld_le64(e + PCI_MSIX_ENTRY_LOWER_ADDR);
    uint32_t data = ld_le32(e + PCI_MSIX_ENTRY_DATA);

    if (!pci_msix_irqfd_send(d, vector, address, data)) {
        pci_msi_send(d, address, data);
    }
}

void pci_msix_notify(PciDevice *d, unsigned vector)
{
    if (!pci_msix_enabled(d) || vector >= d->msix->vectors) {
        return;
    }
    if (pci_msix_masked(d, vector)) {
        d->msix->pba[vector / 8] |= (uint8_t)(1u << (vector % 8));
        return;
    }
    send(d, vector);
}

/* Sends a vector that waited for its mask to go away. */
static void flush(PciDevice *d, unsigned vector)
{
    uint8_t *byte = &d->msix->pba[vector / 8], bit = (uint8_t)(1u << (vector % 8));

    if ((*byte & bit) && pci_msix_enabled(d) && !pci_msix_masked(d, vector)) {
        *byte &= (uint8_t)~bit;
        send(d, vector);
    }
}

void pci_msix_config_written(PciDevice *d, uint32_t addr, unsigned len)
{
    MsixState *s = d->msix;
    bool enabled, masked;

    if (!s || !pci_ranges_overlap(addr, len, d->msix_cap, PCI_CAP_MSIX_SIZEOF)) {
        return;
    }
    enabled = control(d) & PCI_MSIX_FLAGS_ENABLE;
    masked = control(d) & PCI_MSIX_FLAGS_MASKALL;
    if (enabled && !masked && (!s->was_enabled || s->was_masked)) {
        for (unsigned v = 0; v < s->vectors; v++) {
            flush(d, v);
        }
    }
    s->was_enabled = enabled;
    s->was_masked = masked;
}

/* ---- table and pending bits ---- */
static uint64_t table_read(void *opaque, hwaddr off, unsigned size)
{
    MsixState *s = opaque;

    return off + size <= s->table_len ? ld_le(s->table + off, size) : 0;
}

static void table_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    MsixState *s = opaque;

    if (off + size > s->table_len) {
        return;
    }
    st_le(s->table + off, size, v);
    for (hwaddr i = off / PCI_MSIX_ENTRY_SIZE; i <= (off + size - 1) / PCI_MSIX_ENTRY_SIZE; i++) {
        uint8_t *ctrl = s->table + i * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL;

        st_le32(ctrl, *ctrl & PCI_MSIX_ENTRY_CTRL_MASKBIT); /* the rest is reserved */
        flush(s->dev, (unsigned)i);
    }
}

static const RegionOps table_ops = {
    .read = table_read,
    .write = table_write,
    .valid_min = 4,
    .valid_max = 8,
    .impl_min = 4,
    .impl_max = 8,
    .aligned_only = true,
};

static uint64_t pba_read(void *opaque, hwaddr off, unsigned size)
{
    MsixState *s = opaque;

    return off + size <= s->pba_len ? ld_le(s->pba + off, size) : 0;
}

static void pba_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    /* Read-only to software. */
}

static const RegionOps pba_ops = {
    .read = pba_read,
    .write = pba_write,
    .valid_min = 4,
    .valid_max = 8,
    .impl_min = 4,
    .impl_max = 8,
    .aligned_only = true,
};

/* Capability and memory of the table; the regions are made by map(). */
static MsixState *setup(PciDevice *d, unsigned vectors, unsigned bar, uint32_t table_off,
                        uint32_t pba_off, uint8_t cap_off, Error **errp)
{
    uint8_t pos;
    MsixState *s;

    assert(vectors >= 1 && vectors <= 2048 && bar < 6 && !d->msix);
    assert(!(table_off & 7) && !(pba_off & 7));
    pos = pci_add_capability(d, PCI_CAP_ID_MSIX, cap_off, PCI_CAP_MSIX_SIZEOF, errp);
    if (!pos) {
        return NULL;
    }
    s = g_new0(MsixState, 1);
    s->dev = d;
    s->vectors = vectors;
    s->table_len = vectors * PCI_MSIX_ENTRY_SIZE;
    s->table = g_malloc0(s->table_len);
    s->pba_len = ALIGN_UP(DIV_ROUND_UP(vectors, 8), 8u);
    s->pba = g_malloc0(s->pba_len);
    d->msix = s;
    d->msix_cap = pos;
    pci_config_set(d, pos + PCI_MSIX_FLAGS, 2, vectors - 1);
    pci_config_set(d, pos + PCI_MSIX_TABLE, 4, table_off | bar);
    pci_config_set(d, pos + PCI_MSIX_PBA, 4, pba_off | bar);
    pci_set_wmask(d, pos + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    pci_msix_reset(d);
    return s;
}

static void map(MsixState *s, Region *bar, uint32_t table_off, uint32_t pba_off)
{
    MemOwner *owner = &s->dev->dev.owner;

    region_init_io(&s->table_region, owner, &table_ops, s, "msix-table", s->table_len);
    region_add_overlap(bar, table_off, &s->table_region, 1);
    region_init_io(&s->pba_region, owner, &pba_ops, s, "msix-pba", s->pba_len);
    region_add_overlap(bar, pba_off, &s->pba_region, 1);
}

bool pci_msix_init(PciDevice *d, unsigned vectors, Region *bar_region, unsigned bar,
                   uint32_t table_off, uint32_t pba_off, uint8_t cap_off, Error **errp)
{
    MsixState *s = setup(d, vectors, bar, table_off, pba_off, cap_off, errp);

    if (!s) {
        return false;
    }
    map(s, bar_region, table_off, pba_off);
    return true;
}

bool pci_msix_init_exclusive(PciDevice *d, unsigned vectors, unsigned bar, Error **errp)
{
    uint32_t half = 2048;
    MsixState *s;

    /* The table in the lower half, the pending bits in the upper: 4 KiB for up to 128. */
    while (half < vectors * PCI_MSIX_ENTRY_SIZE) {
        half *= 2;
    }
    s = setup(d, vectors, bar, 0, half, 0, errp);
    if (!s) {
        return false;
    }
    s->exclusive = true;
    region_init_container(&s->bar, "msix", half * 2);
    map(s, &s->bar, 0, half);
    pci_register_bar(d, bar, PCI_BASE_ADDRESS_SPACE_MEMORY, &s->bar);
    return true;
}

void pci_msix_fini(PciDevice *d)
{
    MsixState *s = d->msix;

    if (!s) {
        return;
    }
    pci_msix_irqfd_reset(d);
    g_free(s->irqfd);
    d->msix = NULL;
    d->msix_cap = 0;
    region_fini(&s->table_region);
    region_fini(&s->pba_region);
    if (s->exclusive) {
        region_fini(&s->bar);
    }
    g_free(s->table);
    g_free(s->pba);
    g_free(s);
}

void pci_msix_reset(PciDevice *d)
{
    MsixState *s = d->msix;

    if (!s) {
        return;
    }
    pci_config_set(d, d->msix_cap + PCI_MSIX_FLAGS, 2, s->vectors - 1);
    s->was_enabled = s->was_masked = false;
    pci_msix_irqfd_reset(d);
    memset(s->table, 0, s->table_len);
    memset(s->pba, 0, s->pba_len);
    for (unsigned v = 0; v < s->vectors; v++) {
        s->table[v * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL] =
            PCI_MSIX_ENTRY_CTRL_MASKBIT;
    }
}

/* ---- state ---- */
static bool state_check(const void *obj, Error **errp)
{
    const MsixState *s = obj;

    if (s->table_len != s->vectors * PCI_MSIX_ENTRY_SIZE ||
        s->pba_len != ALIGN_UP(DIV_ROUND_UP(s->vectors, 8), 8u)) {
        error_set(errp, "the MSI-X table has %u bytes, not those of %u vectors", s->table_len,
                  s->vectors);
        return false;
    }
    return true;
}

static const StateField msix_fields[] = {
    STATE_F_BUFFER(MsixState, table, table_len, 2048 * PCI_MSIX_ENTRY_SIZE),
    STATE_F_BUFFER(MsixState, pba, pba_len, 256),
    {0},
};

const StateDesc pci_msix_state = {
    .name = "msix",
    .version = 1,
    .fields = msix_fields,
    .check = state_check,
};
