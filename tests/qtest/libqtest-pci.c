/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI for device tests. */
#include "tests/qtest/libqtest-pci.h"

#include "hw/pci/pci_regs.h"

/* Windows that no machine type uses for anything else. */
#define IO_FIRST 0xd000u
#define MEM_FIRST 0xe8000000ull
#define MEM_LAST 0xfe000000ull

void qpci_init(QPci *pci, QTest *q)
{
    *pci = (QPci){.q = q, .next_io = IO_FIRST, .next_mem = MEM_FIRST};
}

/* ---- configuration ---- */

static void select_register(QPciDev *d, uint8_t off)
{
    qtest_outl(d->pci->q, 0xcf8,
               0x80000000u | (uint32_t)d->bus << 16 | (uint32_t)d->devfn << 8 | (off & 0xfcu));
}

uint8_t qpci_config_readb(QPciDev *d, uint8_t off)
{
    select_register(d, off);
    return qtest_inb(d->pci->q, (uint16_t)(0xcfc + (off & 3)));
}

uint16_t qpci_config_readw(QPciDev *d, uint8_t off)
{
    select_register(d, off);
    return qtest_inw(d->pci->q, (uint16_t)(0xcfc + (off & 2)));
}

uint32_t qpci_config_readl(QPciDev *d, uint8_t off)
{
    select_register(d, off);
    return qtest_inl(d->pci->q, 0xcfc);
}

void qpci_config_writeb(QPciDev *d, uint8_t off, uint8_t v)
{
    select_register(d, off);
    qtest_outb(d->pci->q, (uint16_t)(0xcfc + (off & 3)), v);
}

void qpci_config_writew(QPciDev *d, uint8_t off, uint16_t v)
{
    select_register(d, off);
    qtest_outw(d->pci->q, (uint16_t)(0xcfc + (off & 2)), v);
}

void qpci_config_writel(QPciDev *d, uint8_t off, uint32_t v)
{
    select_register(d, off);
    qtest_outl(d->pci->q, 0xcfc, v);
}

static void start(QPci *pci, QPciDev *d, uint8_t devfn)
{
    *d = (QPciDev){.pci = pci, .devfn = devfn};
}

void qpci_open(QPci *pci, QPciDev *d, uint8_t devfn)
{
    start(pci, d, devfn);
    g_assert_cmphex(qpci_config_readw(d, PCI_VENDOR_ID), !=, 0xffff);
}

bool qpci_find(QPci *pci, QPciDev *d, uint16_t vendor, uint16_t device)
{
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        start(pci, d, (uint8_t)devfn);
        if (qpci_config_readl(d, PCI_VENDOR_ID) == ((uint32_t)device << 16 | vendor)) {
            return true;
        }
    }
    return false;
}

uint8_t qpci_capability(QPciDev *d, uint8_t id, uint8_t after)
{
    uint8_t pos = after ? qpci_config_readb(d, (uint8_t)(after + 1))
                        : qpci_config_readb(d, PCI_CAPABILITY_LIST);

    if (!(qpci_config_readw(d, PCI_STATUS) & PCI_STATUS_CAP_LIST)) {
        return 0;
    }
    for (unsigned n = 0; pos && n < 64; n++) {
        if (qpci_config_readb(d, pos) == id) {
            return pos;
        }
        pos = qpci_config_readb(d, (uint8_t)(pos + 1));
    }
    return 0;
}

void qpci_enable(QPciDev *d)
{
    uint16_t want = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
    uint16_t cmd = qpci_config_readw(d, PCI_COMMAND);

    qpci_config_writew(d, PCI_COMMAND, (uint16_t)(cmd | want));
    g_assert_true(qpci_config_readw(d, PCI_COMMAND) & PCI_COMMAND_MASTER);
}

/* ---- BARs ---- */

static void map_io(QPciDev *d, QPciBar *b, uint8_t off, uint32_t mask)
{
    b->io = true;
    b->size = (uint16_t)(~(mask & ~3u) + 1);
    g_assert_cmpuint(b->size, !=, 0);
    d->pci->next_io = (uint32_t)((d->pci->next_io + b->size - 1) & ~(b->size - 1));
    b->addr = d->pci->next_io;
    d->pci->next_io += (uint32_t)b->size;
    g_assert_cmphex(d->pci->next_io, <=, 0x10000);
    qpci_config_writel(d, off, (uint32_t)b->addr);
}

static void map_mem(QPciDev *d, QPciBar *b, uint8_t off, uint32_t mask)
{
    bool wide = mask & PCI_BASE_ADDRESS_MEM_TYPE_64;
    uint64_t all = mask & ~0xfu;

    if (wide) {
        qpci_config_writel(d, (uint8_t)(off + 4), 0xffffffff);
        all |= (uint64_t)qpci_config_readl(d, (uint8_t)(off + 4)) << 32;
    } else {
        all |= 0xffffffff00000000ull;
    }
    b->size = ~all + 1;
    d->pci->next_mem = (d->pci->next_mem + b->size - 1) & ~(b->size - 1);
    b->addr = d->pci->next_mem;
    d->pci->next_mem += b->size;
    g_assert_cmphex(d->pci->next_mem, <=, MEM_LAST);
    qpci_config_writel(d, off, (uint32_t)b->addr);
    if (wide) {
        qpci_config_writel(d, (uint8_t)(off + 4), (uint32_t)(b->addr >> 32));
    }
}

QPciBar *qpci_map(QPciDev *d, unsigned n)
{
    uint8_t off = (uint8_t)(PCI_BASE_ADDRESS_0 + 4 * n);
    QPciBar *b = &d->bar[n];
    uint32_t mask;

    g_assert_cmpuint(n, <, 6);
    qpci_config_writel(d, off, 0xffffffff);
    mask = qpci_config_readl(d, off);
    if (!mask) {
        g_error("function %02x.%x has no BAR %u", d->devfn >> 3, d->devfn & 7, n);
    }
    if (mask & PCI_BASE_ADDRESS_SPACE_IO) {
        map_io(d, b, off, mask);
    } else {
        map_mem(d, b, off, mask);
    }
    return b;
}

static uint64_t place(QPciDev *d, unsigned bar, uint64_t off)
{
    g_assert_cmpuint(bar, <, 6);
    g_assert_cmphex(off, <, d->bar[bar].size);
    return d->bar[bar].addr + off;
}

#define BAR_ACCESS(letter, type)                                            \
    type qpci_read##letter(QPciDev *d, unsigned bar, uint64_t off)          \
    {                                                                       \
        uint64_t at = place(d, bar, off);                                   \
        return d->bar[bar].io ? qtest_in##letter(d->pci->q, (uint16_t)at)   \
                              : qtest_read##letter(d->pci->q, at);          \
    }                                                                       \
    void qpci_write##letter(QPciDev *d, unsigned bar, uint64_t off, type v) \
    {                                                                       \
        uint64_t at = place(d, bar, off);                                   \
        if (d->bar[bar].io) {                                               \
            qtest_out##letter(d->pci->q, (uint16_t)at, v);                  \
        } else {                                                            \
            qtest_write##letter(d->pci->q, at, v);                          \
        }                                                                   \
    }
BAR_ACCESS(b, uint8_t)
BAR_ACCESS(w, uint16_t)
BAR_ACCESS(l, uint32_t)

uint64_t qpci_readq(QPciDev *d, unsigned bar, uint64_t off)
{
    g_assert_false(d->bar[bar].io);
    return qtest_readq(d->pci->q, place(d, bar, off));
}

void qpci_writeq(QPciDev *d, unsigned bar, uint64_t off, uint64_t v)
{
    g_assert_false(d->bar[bar].io);
    qtest_writeq(d->pci->q, place(d, bar, off), v);
}

/* ---- MSI-X ---- */

static uint64_t msix_structure(QPciDev *d, uint8_t off)
{
    uint32_t v = qpci_config_readl(d, off);
    QPciBar *b = &d->bar[v & 7];

    g_assert_cmpuint(b->addr, !=, 0);
    return b->addr + (v & ~7u);
}

void qpci_msix_enable(QPciDev *d)
{
    uint16_t control;

    d->msix_cap = qpci_capability(d, PCI_CAP_ID_MSIX, 0);
    g_assert_cmpuint(d->msix_cap, !=, 0);
    control = qpci_config_readw(d, (uint8_t)(d->msix_cap + 2));
    d->msix_vectors = (control & 0x7ffu) + 1;
    d->msix_table = msix_structure(d, (uint8_t)(d->msix_cap + 4));
    d->msix_pba = msix_structure(d, (uint8_t)(d->msix_cap + 8));
    qpci_config_writew(d, (uint8_t)(d->msix_cap + 2), (uint16_t)((control | 0x8000u) & ~0x4000u));
    g_assert_true(qpci_config_readw(d, (uint8_t)(d->msix_cap + 2)) & 0x8000);
}

static uint64_t msix_entry(QPciDev *d, unsigned n)
{
    g_assert_cmpuint(n, <, d->msix_vectors);
    return d->msix_table + 16 * n;
}

void qpci_msix_vector(QPciDev *d, unsigned n, uint64_t addr, uint32_t data)
{
    uint64_t entry = msix_entry(d, n);
    QTest *q = d->pci->q;

    qtest_writel(q, addr, 0);
    qtest_writel(q, entry, (uint32_t)addr);
    qtest_writel(q, entry + 4, (uint32_t)(addr >> 32));
    qtest_writel(q, entry + 8, data);
    qtest_writel(q, entry + 12, 0);
}

bool qpci_msix_fired(QPciDev *d, unsigned n, uint64_t addr, uint32_t data)
{
    QTest *q = d->pci->q;

    g_assert_cmpuint(n, <, d->msix_vectors);
    if (qtest_readl(q, addr) != data) {
        return false;
    }
    qtest_writel(q, addr, 0);
    return true;
}

void qpci_msix_mask(QPciDev *d, unsigned n, bool mask)
{
    qtest_writel(d->pci->q, msix_entry(d, n) + 12, mask);
}

bool qpci_msix_pending(QPciDev *d, unsigned n)
{
    g_assert_cmpuint(n, <, d->msix_vectors);
    return qtest_readq(d->pci->q, d->msix_pba + n / 64 * 8) >> (n % 64) & 1;
}
