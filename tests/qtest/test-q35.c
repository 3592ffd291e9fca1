/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mch, ICH9-LPC and ICH9-SMB: the configuration window, TSEG, interrupt routing
 * by RCBA, ACPI registers, watchdog, reset control.
 */
#include "tests/qtest/libqtest-pci.h"

#include <linux/pci_regs.h>
#include <string.h>

#define PMBASE 0x600u
#define RCBA 0xfed1c000u

typedef struct Q35 {
    QTest *q;
    QPci pci;
    QPciDev mch, lpc;
} Q35;

static void start(Q35 *t, const char *more)
{
    t->q = qtest_start("-machine q35,sata=off -m 64 %s", more);
    qpci_init(&t->pci, t->q);
    qpci_open(&t->pci, &t->mch, QPCI_DEVFN(0, 0));
    qpci_open(&t->pci, &t->lpc, QPCI_DEVFN(31, 0));
    qpci_config_writel(&t->lpc, 0x40, PMBASE | 1);
    qpci_config_writeb(&t->lpc, 0x44, 0x80);
    qpci_config_writel(&t->lpc, 0xf0, RCBA | 1);
}

static void test_ecam(void)
{
    Q35 t;

    start(&t, "-device pcie-root-port,addr=3");
    g_assert_cmphex(qpci_config_readl(&t.mch, 0), ==, 0x29c08086);
    g_assert_cmphex(qtest_readl(t.q, 0xb0000000), ==, 0xffffffff);
    qpci_config_writel(&t.mch, 0x60, 0xb0000001);
    g_assert_cmphex(qtest_readl(t.q, 0xb0000000), ==, 0x29c08086);
    g_assert_cmphex(qtest_readw(t.q, 0xb00f8002), ==, 0x2918);
    g_assert_cmphex(qtest_readb(t.q, 0xb00f8000), ==, 0x86);
    /* Beyond 256 bytes: nothing in a plain function, zeroes in an express one. */
    g_assert_cmphex(qtest_readl(t.q, 0xb0000100), ==, 0xffffffff);
    g_assert_cmphex(qtest_readl(t.q, 0xb0018100), ==, 0);
    g_assert_cmphex(qtest_readl(t.q, 0xb0010000), ==, 0xffffffff);
    /* Writes, and another place. */
    qtest_writeb(t.q, 0xb00f8000 + PCI_INTERRUPT_LINE, 7);
    g_assert_cmphex(qpci_config_readb(&t.lpc, PCI_INTERRUPT_LINE), ==, 7);
    qpci_config_writel(&t.mch, 0x60, 0xe0000005); /* 64 MiB */
    g_assert_cmphex(qtest_readl(t.q, 0xb0000000), ==, 0xffffffff);
    g_assert_cmphex(qtest_readl(t.q, 0xe0000000), ==, 0x29c08086);
    qtest_quit(t.q);
}

static void test_tseg(void)
{
    Q35 t;
    const uint64_t mib = 1 << 20;

    start(&t, "");
    qtest_writel(t.q, 62 * mib, 0x12345678);
    qpci_config_writeb(&t.mch, 0x9d, 0x0a);
    qpci_config_writeb(&t.mch, 0x9e, 0x03); /* 2 MiB, on */
    g_assert_cmphex(qtest_readl(t.q, 62 * mib), ==, 0xffffffff);
    qtest_writel(t.q, 62 * mib, 0);
    g_assert_cmphex(qtest_readl(t.q, 62 * mib - 4), ==, 0);
    qpci_config_writeb(&t.mch, 0x9e, 0x02);
    g_assert_cmphex(qtest_readl(t.q, 62 * mib), ==, 0x12345678);
    /* QEMU's register for larger ones. */
    qpci_config_writew(&t.mch, 0x50, 0xffff);
    g_assert_cmphex(qpci_config_readw(&t.mch, 0x50), ==, 64);
    qtest_quit(t.q);
}

/* The SMBus controller has INTA of device 31. */
static void test_pirq(void)
{
    Q35 t;
    QPciDev smb;

    start(&t, "");
    qtest_irq_intercept_in(t.q, "ioapic");
    qpci_open(&t.pci, &smb, QPCI_DEVFN(31, 3));
    g_assert_cmphex(qpci_config_readl(&smb, 0), ==, 0x29308086);
    qpci_map(&smb, 4);
    qpci_enable(&smb);
    g_assert_cmphex(qpci_readb(&smb, 4, 0), ==, 0xff);
    qpci_config_writeb(&smb, 0x40, 1);
    qpci_writeb(&smb, 4, 4, 0xa1);
    qpci_writeb(&smb, 4, 2, 0x49); /* start, with interrupt */
    qtest_wait_for(t.q, qtest_irq(t.q, 16));
    /* Also to the ISA side, when routed there. */
    g_assert_false(qtest_irq(t.q, 10));
    qpci_config_writeb(&t.lpc, 0x60, 10);
    g_assert_true(qtest_irq(t.q, 10));
    /* Another PIRQ for the device's pin A: D is 19. */
    qtest_writew(t.q, RCBA + 0x3140, 0x3213);
    g_assert_false(qtest_irq(t.q, 16));
    g_assert_false(qtest_irq(t.q, 10));
    g_assert_true(qtest_irq(t.q, 19));
    qpci_writeb(&smb, 4, 0, 0xff);
    qtest_wait_for(t.q, !qtest_irq(t.q, 19));
    qtest_quit(t.q);
}

static void test_acpi(void)
{
    Q35 t;

    start(&t, "");
    qtest_irq_intercept_in(t.q, "ioapic");
    qtest_outb(t.q, 0xb2, 2);
    g_assert_cmphex(qtest_inw(t.q, PMBASE + 4) & 1, ==, 1);
    qtest_outw(t.q, PMBASE + 2, 1 << 8);
    json_unref(qtest_qmp(t.q, "system_powerdown", NULL));
    qtest_wait_for(t.q, qtest_irq(t.q, 9));
    /* The SCI can be moved. */
    qpci_config_writeb(&t.lpc, 0x44, 0x82);
    g_assert_false(qtest_irq(t.q, 9));
    g_assert_true(qtest_irq(t.q, 11));
    qtest_outw(t.q, PMBASE, 1 << 8);
    g_assert_false(qtest_irq(t.q, 11));
    /* GPE0: status is cleared by ones, enable keeps. */
    qtest_outb(t.q, PMBASE + 0x28, 0x5a);
    g_assert_cmphex(qtest_inb(t.q, PMBASE + 0x28), ==, 0x5a);
    g_assert_cmphex(qtest_inb(t.q, PMBASE + 0x20), ==, 0);
    /* SMI enable, and its lock. */
    qtest_outl(t.q, PMBASE + 0x30, 0x20);
    g_assert_cmphex(qtest_inl(t.q, PMBASE + 0x30), ==, 0x20);
    qpci_config_writeb(&t.lpc, 0xa0, 0x10);
    qpci_config_writeb(&t.lpc, 0xa0, 0x00);
    g_assert_cmphex(qpci_config_readb(&t.lpc, 0xa0) & 0x10, ==, 0x10);
    qtest_outl(t.q, PMBASE + 0x30, 0x21);
    g_assert_cmphex(qtest_inl(t.q, PMBASE + 0x30), ==, 0x20);
    qtest_outw(t.q, PMBASE + 4, 1 << 13 | 1);
    g_assert_cmpint(qtest_wait_exit(t.q), ==, 0);
}

static void test_watchdog(void)
{
    Q35 t;

    start(&t, "");
    qtest_outw(t.q, PMBASE + 0x60 + 0x12, 10); /* ticks of 0.6 s */
    g_assert_cmpint(qtest_inw(t.q, PMBASE + 0x60 + 0x12), ==, 10);
    qtest_outw(t.q, PMBASE + 0x60 + 0x08, 0); /* run */
    qtest_outw(t.q, PMBASE + 0x60, 0);        /* load */
    qtest_clock_step(t.q, 5000000000);
    g_assert_cmphex(qtest_inw(t.q, PMBASE + 0x60 + 4) & 8, ==, 0);
    qtest_clock_step(t.q, 1500000000);
    g_assert_cmphex(qtest_inw(t.q, PMBASE + 0x60 + 4) & 8, ==, 8);
    /* The second time-out does nothing while GCS.NO_REBOOT is set … */
    qtest_clock_step(t.q, 6000000000);
    g_assert_cmphex(qtest_inw(t.q, PMBASE + 0x60 + 6) & 2, ==, 2);
    /* … and resets the machine otherwise. */
    qtest_writel(t.q, RCBA + 0x3410, 0);
    qtest_clock_step(t.q, 13000000000);
    json_unref(qtest_qmp_event(t.q, "RESET"));
    qtest_quit(t.q);
}

static void test_reset_control(void)
{
    Q35 t;

    start(&t, "");
    qtest_outb(t.q, 0xcf9, 0x0a);
    g_assert_cmphex(qtest_inb(t.q, 0xcf9), ==, 0x0a);
    qtest_outb(t.q, 0xcf9, 0x0e);
    json_unref(qtest_qmp_event(t.q, "RESET"));
    g_assert_cmphex(qpci_config_readl(&t.lpc, 0x40), ==, 1);
    qtest_quit(t.q);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/q35/ecam", test_ecam);
    g_test_add_func("/q35/tseg", test_tseg);
    g_test_add_func("/q35/pirq", test_pirq);
    g_test_add_func("/q35/acpi", test_acpi);
    g_test_add_func("/q35/watchdog", test_watchdog);
    g_test_add_func("/q35/reset-control", test_reset_control);
    return g_test_run();
}
