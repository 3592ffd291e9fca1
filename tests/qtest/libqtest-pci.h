/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/qtest/libqtest-pci.h: PCI functions as a test's firmware sees them:
 * configuration through ports 0xcf8/0xcfc, BAR assignment, MSI-X.
 */
#ifndef RHEA_TESTS_LIBQTEST_PCI_H
#define RHEA_TESTS_LIBQTEST_PCI_H

#include "tests/qtest/libqtest.h"

#define QPCI_DEVFN(slot, fn) ((uint8_t)((slot) << 3 | (fn)))

/* Hands out addresses for BARs; one for a QTest, on the stack. */
typedef struct QPci {
    QTest *q;
    uint32_t next_io;
    uint64_t next_mem;
} QPci;

typedef struct QPciBar {
    bool io;
    uint64_t addr, size;
} QPciBar;

typedef struct QPciDev {
    QPci *pci;
    uint8_t bus, devfn;
    QPciBar bar[6];
    /* after qpci_msix_enable */
    uint8_t msix_cap;
    unsigned msix_vectors;
    uint64_t msix_table, msix_pba;
} QPciDev;

void qpci_init(QPci *pci, QTest *q);
/* Bus 0; the function must be there. */
void qpci_open(QPci *pci, QPciDev *d, uint8_t devfn);
/* The first function with these ids on bus 0; false if there is none. */
bool qpci_find(QPci *pci, QPciDev *d, uint16_t vendor, uint16_t device);

uint8_t qpci_config_readb(QPciDev *d, uint8_t off);
uint16_t qpci_config_readw(QPciDev *d, uint8_t off);
uint32_t qpci_config_readl(QPciDev *d, uint8_t off);
void qpci_config_writeb(QPciDev *d, uint8_t off, uint8_t v);
void qpci_config_writew(QPciDev *d, uint8_t off, uint16_t v);
void qpci_config_writel(QPciDev *d, uint8_t off, uint32_t v);
/* Offset of the capability (after `after`, or 0), or 0. */
uint8_t qpci_capability(QPciDev *d, uint8_t id, uint8_t after);

/* I/O, memory and bus-master access on. */
void qpci_enable(QPciDev *d);
/* Sizes BAR n and gives it an address; d->bar[n]. The BAR must exist. */
QPciBar *qpci_map(QPciDev *d, unsigned n);

uint8_t qpci_readb(QPciDev *d, unsigned bar, uint64_t off);
uint16_t qpci_readw(QPciDev *d, unsigned bar, uint64_t off);
uint32_t qpci_readl(QPciDev *d, unsigned bar, uint64_t off);
uint64_t qpci_readq(QPciDev *d, unsigned bar, uint64_t off);
void qpci_writeb(QPciDev *d, unsigned bar, uint64_t off, uint8_t v);
void qpci_writew(QPciDev *d, unsigned bar, uint64_t off, uint16_t v);
void qpci_writel(QPciDev *d, unsigned bar, uint64_t off, uint32_t v);
void qpci_writeq(QPciDev *d, unsigned bar, uint64_t off, uint64_t v);

/* Maps table and PBA (their BARs must be mapped already) and turns MSI-X on. */
void qpci_msix_enable(QPciDev *d);
/* Vector `n` writes `data` to guest memory at `addr` (zeroed here), unmasked. */
void qpci_msix_vector(QPciDev *d, unsigned n, uint64_t addr, uint32_t data);
/* Has it fired since? Takes the message away. */
bool qpci_msix_fired(QPciDev *d, unsigned n, uint64_t addr, uint32_t data);
void qpci_msix_mask(QPciDev *d, unsigned n, bool mask);
bool qpci_msix_pending(QPciDev *d, unsigned n);

#endif
