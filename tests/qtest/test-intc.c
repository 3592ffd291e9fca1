/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupt controllers of a whole PC: where they are, and how lines get there. */
#include "tests/qtest/libqtest.h"

#define LAPIC 0xfee00000u
#define IOAPIC 0xfec00000u

static uint32_t io_read(QTest *q, unsigned reg)
{
    qtest_writel(q, IOAPIC, reg);
    return qtest_readl(q, IOAPIC + 0x10);
}

static void io_write(QTest *q, unsigned reg, uint32_t v)
{
    qtest_writel(q, IOAPIC, reg);
    qtest_writel(q, IOAPIC + 0x10, v);
}

static void test_pic(void)
{
    QTest *q = qtest_start("-machine pc");

    qtest_outb(q, 0x20, 0x11);
    qtest_outb(q, 0x21, 0x08);
    qtest_outb(q, 0x21, 0x04);
    qtest_outb(q, 0x21, 0x01);
    qtest_outb(q, 0x21, 0xfe);
    g_assert_cmphex(qtest_inb(q, 0x21), ==, 0xfe);
    qtest_outb(q, 0x43, 0x34); /* the timer asks at line 0 */
    qtest_outb(q, 0x40, 0x00);
    qtest_outb(q, 0x40, 0x10);
    qtest_clock_step(q, 10000000);
    qtest_outb(q, 0x20, 0x0a);
    g_assert_cmphex(qtest_inb(q, 0x20) & 1, ==, 1);
    qtest_outb(q, 0x20, 0x0c); /* poll: an acknowledge cycle */
    g_assert_cmphex(qtest_inb(q, 0x20), ==, 0x80);
    qtest_outb(q, 0x20, 0x0b);
    g_assert_cmphex(qtest_inb(q, 0x20), ==, 1);
    qtest_outb(q, 0x20, 0x20);
    g_assert_cmphex(qtest_inb(q, 0x20), ==, 0);
    qtest_outb(q, 0x4d1, 0x0c);
    g_assert_cmphex(qtest_inb(q, 0x4d1), ==, 0x0c);
    qtest_quit(q);
}

static void test_apics(void)
{
    QTest *q = qtest_start("-machine pc -device isa-serial");

    g_assert_cmphex(qtest_readl(q, LAPIC + 0x30) & 0xff, ==, 0x14);
    g_assert_cmphex(io_read(q, 1), ==, 0x170020);
    qtest_writel(q, LAPIC + 0xf0, 0x1ff);
    io_write(q, 0x10 + 2 * 4, 0x44); /* COM1, edge, to CPU 0 */
    qtest_outb(q, 0x3f9, 0x02);
    g_assert_cmphex(qtest_readl(q, LAPIC + 0x220), ==, 1u << 4); /* IRR: 44h */
    /* A message from a device's point of view, to CPU 0. */
    qtest_writel(q, LAPIC + 0x1000 * 0 + 0x300, 0x40055);
    g_assert_cmphex(qtest_readl(q, LAPIC + 0x220), ==, 1u << 4 | 1u << 21);
    /* The timer. */
    qtest_writel(q, LAPIC + 0x3e0, 0x0b);
    qtest_writel(q, LAPIC + 0x320, 0x66);
    qtest_writel(q, LAPIC + 0x380, 1000000);
    qtest_clock_step(q, 400000);
    g_assert_cmpuint(qtest_readl(q, LAPIC + 0x390), ==, 600000);
    qtest_clock_step(q, 700000);
    g_assert_cmphex(qtest_readl(q, LAPIC + 0x230), ==, 1u << 6);
    qtest_quit(q);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/intc/pic", test_pic);
    g_test_add_func("/intc/apics", test_apics);
    return g_test_run();
}
