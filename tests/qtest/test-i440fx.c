/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * i440FX, PIIX3 and PIIX4_PM: memory attributes, SMRAM, interrupt routing, reset
 * control, ACPI registers.
 */
#include "tests/qtest/libqtest-pci.h"

#include <string.h>

#define PMBASE 0x600
#define PM_HZ 3579545

static void open_function(QPci *pci, QPciDev *d, QTest *q, uint8_t devfn)
{
    qpci_init(pci, q);
    qpci_open(pci, d, devfn);
}

static void test_pam(void)
{
    QTest *q = qtest_start("-machine pc -m 64");
    QPci pci;
    QPciDev d;

    open_function(&pci, &d, q, QPCI_DEVFN(0, 0));
    for (unsigned seg = 0; seg < 12; seg++) {
        uint64_t at = 0xc0000 + seg * 0x4000u;
        uint8_t reg = (uint8_t)(0x5a + seg / 2), shift = seg & 1 ? 4 : 0;

        if (at >= 0xe0000) {
            break; /* from here on the firmware shows */
        }
        g_assert_cmphex(qtest_readl(q, at), ==, 0xffffffff);
        qpci_config_writeb(&d, reg, (uint8_t)(3 << shift));
        qtest_writel(q, at, 0x11111111);
        qtest_writel(q, at + 0x3ffc, 0x22222222);
        g_assert_cmphex(qtest_readl(q, at), ==, 0x11111111);
        qpci_config_writeb(&d, reg, (uint8_t)(1 << shift));
        qtest_writel(q, at, 0x33333333);
        g_assert_cmphex(qtest_readl(q, at), ==, 0x11111111);
        qpci_config_writeb(&d, reg, (uint8_t)(2 << shift));
        qtest_writel(q, at, 0x44444444);
        g_assert_cmphex(qtest_readl(q, at), ==, 0xffffffff);
        qpci_config_writeb(&d, reg, (uint8_t)(3 << shift));
        g_assert_cmphex(qtest_readl(q, at), ==, 0x44444444);
        g_assert_cmphex(qtest_readl(q, at + 0x3ffc), ==, 0x22222222);
        qpci_config_writeb(&d, reg, 0);
        g_assert_cmphex(qtest_readl(q, at), ==, 0xffffffff);
    }
    qtest_quit(q);
}

static void test_smram(void)
{
    QTest *q = qtest_start("-machine pc -m 64");
    QPci pci;
    QPciDev d;

    open_function(&pci, &d, q, QPCI_DEVFN(0, 0));
    g_assert_cmphex(qpci_config_readb(&d, 0x72), ==, 0x02);
    qpci_config_writeb(&d, 0x72, 0x4a);
    qtest_writel(q, 0xa8000, 0x12345678);
    g_assert_cmphex(qtest_readl(q, 0xa8000), ==, 0x12345678);
    qpci_config_writeb(&d, 0x72, 0x0a);
    g_assert_cmphex(qtest_readl(q, 0xa8000), ==, 0xffffffff);
    qpci_config_writeb(&d, 0x72, 0x1a); /* lock */
    qpci_config_writeb(&d, 0x72, 0x4a);
    g_assert_cmphex(qtest_readl(q, 0xa8000), ==, 0xffffffff);
    g_assert_cmphex(qpci_config_readb(&d, 0x72), ==, 0x1a);
    json_unref(qtest_qmp(q, "system_reset", NULL));
    json_unref(qtest_qmp_event(q, "RESET"));
    g_assert_cmphex(qpci_config_readb(&d, 0x72), ==, 0x02);
    qpci_config_writeb(&d, 0x72, 0x4a);
    g_assert_cmphex(qtest_readl(q, 0xa8000), ==, 0x12345678);
    qtest_quit(q);
}

/* Slot 3's pin A is PIRQC; wherever that is routed, the interrupt goes. */
static void test_pirq(void)
{
    QTest *q = qtest_start("-machine pc -device e1000,addr=3,romfile=");
    QPci pci;
    QPciDev isa, card;

    qtest_irq_intercept_in(q, "ioapic");
    open_function(&pci, &isa, q, QPCI_DEVFN(1, 0));
    qpci_open(&pci, &card, QPCI_DEVFN(3, 0));
    qpci_map(&card, 0);
    qpci_enable(&card);
    qpci_writel(&card, 0, 0xd0, 1);
    qpci_writel(&card, 0, 0xc8, 1);
    g_assert_cmphex(qpci_config_readb(&isa, 0x62), ==, 0x80);
    g_assert_false(qtest_irq(q, 10));
    qpci_config_writeb(&isa, 0x62, 10);
    qtest_wait_for(q, qtest_irq(q, 10));
    qpci_config_writeb(&isa, 0x62, 11);
    g_assert_false(qtest_irq(q, 10));
    g_assert_true(qtest_irq(q, 11));
    qpci_config_writeb(&isa, 0x62, 0x80 | 11);
    g_assert_false(qtest_irq(q, 11));
    qpci_config_writeb(&isa, 0x62, 11);
    qpci_readl(&card, 0, 0xc0); /* reading the cause clears it */
    qtest_wait_for(q, !qtest_irq(q, 11));
    qtest_quit(q);
}

static void test_reset_control(void)
{
    QTest *q = qtest_start("-machine pc");

    qtest_outb(q, 0xcf9, 0x02);
    g_assert_cmphex(qtest_inb(q, 0xcf9), ==, 0x02);
    qtest_outb(q, 0xcf9, 0x06);
    json_unref(qtest_qmp_event(q, "RESET"));
    g_assert_cmphex(qtest_inb(q, 0xcf9), ==, 0x00);
    qtest_quit(q);
}

static QTest *start_pm(QPci *pci, QPciDev *pm)
{
    QTest *q = qtest_start("-machine pc");

    open_function(pci, pm, q, QPCI_DEVFN(1, 3));
    g_assert_cmphex(qpci_config_readl(pm, 0), ==, 0x71138086);
    qpci_config_writel(pm, 0x40, PMBASE | 1);
    g_assert_cmphex(qtest_inw(q, PMBASE), ==, 0xffff);
    qpci_config_writeb(pm, 0x80, 1);
    g_assert_cmphex(qtest_inw(q, PMBASE), ==, 0);
    return q;
}

static void test_pm_timer(void)
{
    QPci pci;
    QPciDev pm;
    QTest *q = start_pm(&pci, &pm);
    uint32_t t0 = qtest_inl(q, PMBASE + 8);

    qtest_irq_intercept_in(q, "ioapic");
    qtest_clock_step(q, 1000000000);
    g_assert_cmpint(ABS((int)((qtest_inl(q, PMBASE + 8) - t0) & 0xffffff) - PM_HZ), <=, 1);
    /* The status bit comes with the next change of bit 23; SCI only in ACPI mode. */
    qtest_outw(q, PMBASE + 2, 1);
    qtest_clock_step(q, 2500000000);
    g_assert_cmphex(qtest_inw(q, PMBASE) & 1, ==, 1);
    g_assert_false(qtest_irq(q, 9));
    qtest_outb(q, 0xb2, 0xf1);
    g_assert_cmphex(qtest_inw(q, PMBASE + 4) & 1, ==, 1);
    g_assert_true(qtest_irq(q, 9));
    qtest_outw(q, PMBASE, 1);
    g_assert_cmphex(qtest_inw(q, PMBASE) & 1, ==, 0);
    g_assert_false(qtest_irq(q, 9));
    qtest_outb(q, 0xb2, 0xf0);
    g_assert_cmphex(qtest_inw(q, PMBASE + 4) & 1, ==, 0);
    qtest_quit(q);
}

static void test_power_button(void)
{
    QPci pci;
    QPciDev pm;
    QTest *q = start_pm(&pci, &pm);

    qtest_irq_intercept_in(q, "ioapic");
    qtest_outb(q, 0xb2, 0xf1);
    qtest_outw(q, PMBASE + 2, 1 << 8);
    json_unref(qtest_qmp(q, "system_powerdown", NULL));
    json_unref(qtest_qmp_event(q, "POWERDOWN"));
    qtest_wait_for(q, qtest_irq(q, 9));
    g_assert_cmphex(qtest_inw(q, PMBASE), ==, 1 << 8);
    qtest_outw(q, PMBASE, 1 << 8);
    g_assert_false(qtest_irq(q, 9));
    /* Soft off: SLP_TYP 0, SLP_EN. */
    qtest_outw(q, PMBASE + 4, 1 << 13 | 1);
    g_assert_cmpint(qtest_wait_exit(q), ==, 0);
}

static void test_smbus(void)
{
    QPci pci;
    QPciDev pm;
    QTest *q = start_pm(&pci, &pm);

    g_assert_cmphex(qtest_inb(q, 0x700), ==, 0xff);
    qpci_config_writel(&pm, 0x90, 0x701);
    qpci_config_writeb(&pm, 0xd2, 1);
    g_assert_cmphex(qtest_inb(q, 0x700), ==, 0x00);
    g_assert_cmphex(qtest_inb(q, 0x700), ==, 0x40); /* in use now */
    qtest_outb(q, 0x700, 0x40);
    /* Nobody answers at address 50h. */
    qtest_outb(q, 0x704, 0xa1);
    qtest_outb(q, 0x702, 0x48);
    g_assert_cmphex(qtest_inb(q, 0x700) & 0x1e, ==, 0x04);
    qtest_outb(q, 0x700, 0xff);
    g_assert_cmphex(qtest_inb(q, 0x700) & 0x1e, ==, 0x00);
    qtest_quit(q);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/i440fx/pam", test_pam);
    g_test_add_func("/i440fx/smram", test_smram);
    g_test_add_func("/i440fx/pirq", test_pirq);
    g_test_add_func("/i440fx/reset-control", test_reset_control);
    g_test_add_func("/i440fx/pm-timer", test_pm_timer);
    g_test_add_func("/i440fx/power-button", test_power_button);
    g_test_add_func("/i440fx/smbus", test_smbus);
    return g_test_run();
}
