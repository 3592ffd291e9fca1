/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI: configuration accesses, BARs, bridges and ports, INTx through a bridge, what
 * the monitor shows, and addresses that cannot be.
 */
#include "tests/qtest/libqtest-pci.h"

#include <linux/pci_regs.h>
#include <string.h>

#define E1000_ICS 0xc8
#define E1000_IMS 0xd0

static void test_config(void)
{
    QTest *q = qtest_start("-machine pc");
    QPci pci;
    QPciDev d;

    qpci_init(&pci, q);
    qpci_open(&pci, &d, QPCI_DEVFN(1, 0));
    g_assert_cmphex(qpci_config_readl(&d, PCI_VENDOR_ID), ==, 0x70008086);
    g_assert_cmphex(qpci_config_readb(&d, PCI_HEADER_TYPE), ==, 0x80);
    /* Bytes and words within the dword; identity is read-only. */
    g_assert_cmphex(qpci_config_readb(&d, 1), ==, 0x80);
    g_assert_cmphex(qpci_config_readw(&d, 2), ==, 0x7000);
    qpci_config_writel(&d, PCI_VENDOR_ID, 0xffffffff);
    g_assert_cmphex(qpci_config_readl(&d, PCI_VENDOR_ID), ==, 0x70008086);
    /* Nobody there; not enabled; latch bits. */
    qtest_outl(q, 0xcf8, 0x8000f800);
    g_assert_cmphex(qtest_inl(q, 0xcfc), ==, 0xffffffff);
    qtest_outl(q, 0xcf8, 0x00000800);
    g_assert_cmphex(qtest_inl(q, 0xcfc), ==, 0xffffffff);
    qtest_outl(q, 0xcf8, 0xffffffff);
    g_assert_cmphex(qtest_inl(q, 0xcf8), ==, 0x80fffffc);
    /* A byte does not reach the latch. */
    qtest_outb(q, 0xcf8, 0x12);
    g_assert_cmphex(qtest_inl(q, 0xcf8), ==, 0x80fffffc);
    qtest_quit(q);
}

static void test_bars(void)
{
    QTest *q = qtest_start("-machine pc -device e1000,addr=5,romfile=");
    QPci pci;
    QPciDev d;
    uint32_t status;

    qpci_init(&pci, q);
    qpci_open(&pci, &d, QPCI_DEVFN(5, 0));
    qpci_config_writel(&d, PCI_BASE_ADDRESS_0, 0xffffffff);
    g_assert_cmphex(qpci_config_readl(&d, PCI_BASE_ADDRESS_0), ==, 0xfffe0000);
    qpci_config_writel(&d, PCI_BASE_ADDRESS_1, 0xffffffff);
    g_assert_cmphex(qpci_config_readl(&d, PCI_BASE_ADDRESS_1), ==, 0xffffffc1);
    qpci_config_writel(&d, PCI_BASE_ADDRESS_2, 0xffffffff);
    g_assert_cmphex(qpci_config_readl(&d, PCI_BASE_ADDRESS_2), ==, 0);

    /* It answers where the BAR says, while the command register lets it. */
    qpci_config_writel(&d, PCI_BASE_ADDRESS_0, 0xe0000000);
    g_assert_cmphex(qtest_readl(q, 0xe0000008), ==, 0xffffffff);
    qpci_config_writew(&d, PCI_COMMAND, PCI_COMMAND_MEMORY);
    status = qtest_readl(q, 0xe0000008);
    g_assert_cmphex(status, !=, 0xffffffff);
    qpci_config_writel(&d, PCI_BASE_ADDRESS_0, 0xe1000000);
    g_assert_cmphex(qtest_readl(q, 0xe0000008), ==, 0xffffffff);
    g_assert_cmphex(qtest_readl(q, 0xe1000008), ==, status);
    /* Sizing with decoding on does not cover the firmware. */
    qpci_config_writel(&d, PCI_BASE_ADDRESS_0, 0xffffffff);
    g_assert_cmphex(qtest_readb(q, 0xfffffff0), ==, 0xea);
    qpci_config_writew(&d, PCI_COMMAND, 0);
    qpci_config_writel(&d, PCI_BASE_ADDRESS_0, 0xe0000000);
    g_assert_cmphex(qtest_readl(q, 0xe0000008), ==, 0xffffffff);
    qtest_quit(q);
}

static void test_reset(void)
{
    QTest *q = qtest_start("-machine pc -device e1000,addr=5,romfile=");
    QPci pci;
    QPciDev d;

    qpci_init(&pci, q);
    qpci_open(&pci, &d, QPCI_DEVFN(5, 0));
    qpci_config_writel(&d, PCI_BASE_ADDRESS_0, 0xe0000000);
    qpci_config_writew(&d, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    qpci_config_writeb(&d, PCI_INTERRUPT_LINE, 11);
    json_unref(qtest_qmp(q, "system_reset", NULL));
    json_unref(qtest_qmp_event(q, "RESET"));
    g_assert_cmphex(qpci_config_readl(&d, PCI_BASE_ADDRESS_0), ==, 0);
    g_assert_cmphex(qpci_config_readw(&d, PCI_COMMAND), ==, 0);
    g_assert_cmphex(qpci_config_readb(&d, PCI_INTERRUPT_LINE), ==, 0);
    g_assert_cmphex(qtest_readl(q, 0xe0000008), ==, 0xffffffff);
    qtest_quit(q);
}

static uint32_t below_read(QTest *q, uint8_t bus, uint8_t devfn, uint8_t reg)
{
    qtest_outl(q, 0xcf8, 0x80000000u | (uint32_t)bus << 16 | (uint32_t)devfn << 8 | (reg & 0xfc));
    return qtest_inl(q, 0xcfc);
}

static void below_write(QTest *q, uint8_t bus, uint8_t devfn, uint8_t reg, uint32_t v)
{
    qtest_outl(q, 0xcf8, 0x80000000u | (uint32_t)bus << 16 | (uint32_t)devfn << 8 | (reg & 0xfc));
    qtest_outl(q, 0xcfc, v);
}

/* A bridge with a card behind it: bus numbers, window, interrupt, reset of the bus. */
static void check_bridge(QTest *q, uint8_t bridge_devfn, uint8_t card, int gsi)
{
    QPci pci;
    QPciDev b;

    qpci_init(&pci, q);
    qpci_open(&pci, &b, bridge_devfn);
    g_assert_cmphex(qpci_config_readw(&b, 0x0a), ==, 0x0604);
    g_assert_cmphex(below_read(q, 1, card, 0), ==, 0xffffffff);
    qpci_config_writeb(&b, PCI_SECONDARY_BUS, 1);
    qpci_config_writeb(&b, PCI_SUBORDINATE_BUS, 1);
    g_assert_cmphex(below_read(q, 1, card, 0), ==, 0x100e8086);
    below_write(q, 1, card, PCI_BASE_ADDRESS_0, 0xe0000000);
    below_write(q, 1, card, PCI_COMMAND, PCI_COMMAND_MEMORY);
    g_assert_cmphex(qtest_readl(q, 0xe0000008), ==, 0xffffffff);
    qpci_config_writel(&b, PCI_MEMORY_BASE, 0xe000e000);
    g_assert_cmphex(qtest_readl(q, 0xe0000008), ==, 0xffffffff);
    qpci_config_writew(&b, PCI_COMMAND, PCI_COMMAND_MEMORY);
    g_assert_cmphex(qtest_readl(q, 0xe0000008), !=, 0xffffffff);
    /* Beside the window nothing comes through. */
    qpci_config_writel(&b, PCI_MEMORY_BASE, 0xe010e010);
    g_assert_cmphex(qtest_readl(q, 0xe0000008), ==, 0xffffffff);
    qpci_config_writel(&b, PCI_MEMORY_BASE, 0xe000e000);

    qtest_writel(q, 0xe0000000 + E1000_IMS, 1);
    qtest_writel(q, 0xe0000000 + E1000_ICS, 1);
    qtest_wait_for(q, qtest_irq(q, gsi));
    g_assert_cmphex(below_read(q, 1, card, PCI_COMMAND) >> 16 & PCI_STATUS_INTERRUPT, !=, 0);
    below_write(q, 1, card, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE);
    g_assert_false(qtest_irq(q, gsi));
    below_write(q, 1, card, PCI_COMMAND, PCI_COMMAND_MEMORY);
    g_assert_true(qtest_irq(q, gsi));

    qpci_config_writew(&b, PCI_BRIDGE_CONTROL, PCI_BRIDGE_CTL_BUS_RESET);
    g_assert_cmphex(below_read(q, 1, card, PCI_BASE_ADDRESS_0), ==, 0);
    g_assert_false(qtest_irq(q, gsi));
}

static void test_bridge(void)
{
    QTest *q = qtest_start("-machine pc -device pci-bridge,id=b,chassis_nr=1,addr=4 "
                           "-device e1000,bus=b,addr=2,romfile=");

    qtest_irq_intercept_in(q, "ioapic");
    /* Pin A of slot 2 is pin C of slot 4: (2 + 4 - 1) & 3 = PIRQB. */
    qtest_outl(q, 0xcf8, 0x80000860);
    qtest_outl(q, 0xcfc, 0x80800b80);
    check_bridge(q, QPCI_DEVFN(4, 0), QPCI_DEVFN(2, 0), 11);
    qtest_quit(q);
}

static void test_root_port(void)
{
    QTest *q = qtest_start("-machine q35 -device pcie-root-port,id=p,addr=4,chassis=1,slot=3,"
                           "bus-reserve=2 -device e1000,bus=p,romfile=");
    QPci pci;
    QPciDev b;
    uint8_t cap;

    qtest_irq_intercept_in(q, "ioapic");
    qpci_init(&pci, q);
    qpci_open(&pci, &b, QPCI_DEVFN(4, 0));
    cap = qpci_capability(&b, PCI_CAP_ID_EXP, 0);
    g_assert_cmphex(cap, !=, 0);
    g_assert_cmphex(qpci_config_readw(&b, (uint8_t)(cap + PCI_EXP_FLAGS)), ==, 0x0142);
    g_assert_cmphex(qpci_config_readw(&b, (uint8_t)(cap + PCI_EXP_SLTSTA)) & PCI_EXP_SLTSTA_PDS, !=,
                    0);
    g_assert_cmphex(qpci_config_readl(&b, (uint8_t)(cap + PCI_EXP_SLTCAP)) >> 19, ==, 3);
    cap = qpci_capability(&b, PCI_CAP_ID_VNDR, 0);
    g_assert_cmphex(qpci_config_readl(&b, (uint8_t)(cap + 4)), ==, 2);
    /* Slot 4, pin A on q35: PIRQE, which is interrupt 20. */
    check_bridge(q, QPCI_DEVFN(4, 0), QPCI_DEVFN(0, 0), 20);
    qtest_quit(q);
}

static void test_monitor(void)
{
    QTest *q = qtest_start("-machine pc -device pci-bridge,id=b,chassis_nr=1,addr=4 "
                           "-device e1000,id=card,bus=b,addr=2,romfile=");
    char *text = qtest_hmp(q, "info pci");
    Json *list = qtest_qmp(q, "query-pci", NULL);
    const Json *devices = json_get(json_at(list, 0), "devices"), *first = json_at(devices, 0);
    int64_t v = 0;

    g_assert_nonnull(strstr(text, "Bus  0, device   0, function 0:"));
    g_assert_nonnull(strstr(text, "Host bridge: PCI device 8086:1237"));
    g_assert_nonnull(strstr(text, "ISA bridge: PCI device 8086:7000"));
    g_assert_true(json_get_int(json_get(json_get(first, "id"), "vendor"), &v));
    g_assert_cmphex(v, ==, 0x8086);
    g_free(text);
    json_unref(list);
    qtest_quit(q);
}

static void refused(const char *args, const char *what)
{
    char *text;
    int status = qtest_run_to_end(&text, "-nodefaults %s", args);

    g_assert_cmpint(status, ==, 1);
    if (!strstr(text, what)) {
        g_error("'%s' says: %s", args, text);
    }
    g_free(text);
}

static void test_refused(void)
{
    refused("-machine pc -device e1000,addr=1.0,romfile=", "in use by PIIX3");
    refused("-machine pc -device e1000,addr=20,romfile=", "addr");
    refused("-machine pc -device e1000,addr=5,romfile= -device e1000,addr=5.1,romfile=",
            "multifunction");
    refused("-machine pc -device pci-bridge,chassis_nr=0", "chassis_nr");
    refused("-machine pc -device pcie-root-port", "PCI Express");
    refused("-machine q35 -device pcie-root-port,id=p -device e1000,bus=p,addr=1,romfile=",
            "slot 1 is not valid");
    refused("-machine pc -device e1000,romfile=/nonexistent/rom", "/nonexistent/rom");
    refused("-machine pc -device e1000,romsize=3000,romfile=", "romsize");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pci/config", test_config);
    g_test_add_func("/pci/bars", test_bars);
    g_test_add_func("/pci/reset", test_reset);
    g_test_add_func("/pci/bridge", test_bridge);
    g_test_add_func("/pci/root-port", test_root_port);
    g_test_add_func("/pci/monitor", test_monitor);
    g_test_add_func("/pci/refused", test_refused);
    return g_test_run();
}
