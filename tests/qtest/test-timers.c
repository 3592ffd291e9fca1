/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RTC, PIT and HPET with the interrupt lines of the board. */
#include "tests/qtest/libqtest.h"

#define HPET 0xfed00000u

static uint8_t cmos(QTest *q, uint8_t i)
{
    qtest_outb(q, 0x70, i);
    return qtest_inb(q, 0x71);
}

static void set_cmos(QTest *q, uint8_t i, uint8_t v)
{
    qtest_outb(q, 0x70, i);
    qtest_outb(q, 0x71, v);
}

static void test_rtc(void)
{
    QTest *q = qtest_start("-machine pc -m 64 -rtc base=2001-02-03T04:05:06,clock=vm");
    Json *ev;

    qtest_irq_intercept_in(q, "ioapic");
    g_assert_cmphex(cmos(q, 0x32), ==, 0x20);
    g_assert_cmphex(cmos(q, 9), ==, 0x01);
    g_assert_cmphex(cmos(q, 8), ==, 0x02);
    g_assert_cmphex(cmos(q, 7), ==, 0x03);
    g_assert_cmphex(cmos(q, 4), ==, 0x04);
    g_assert_cmphex(cmos(q, 2), ==, 0x05);
    qtest_clock_step(q, 60ll * 1000000000);
    g_assert_cmphex(cmos(q, 2), ==, 0x06);
    cmos(q, 0x0c);
    set_cmos(q, 0x0b, 0x12);
    qtest_irq_raised(q, 8);
    qtest_clock_step(q, 1000000000);
    g_assert_cmpuint(qtest_irq_raised(q, 8), ==, 1);
    g_assert_cmphex(cmos(q, 0x0c) & 0x90, ==, 0x90);
    set_cmos(q, 0x0b, 0x82);
    set_cmos(q, 9, 0x05);
    set_cmos(q, 0x0b, 0x02);
    ev = qtest_qmp_event(q, "RTC_CHANGE");
    json_unref(ev);
    /* What the board stored: 64 MiB, in 64 KiB steps from 16 MiB. */
    g_assert_cmphex(cmos(q, 0x34) | cmos(q, 0x35) << 8, ==, 0x300);
    qtest_quit(q);
}

static void test_pit(void)
{
    QTest *q = qtest_start("-machine pc");

    qtest_irq_intercept_in(q, "ioapic");
    qtest_outb(q, 0x43, 0x34);
    qtest_outb(q, 0x40, 0x9c);
    qtest_outb(q, 0x40, 0x2e); /* 11932: 100 Hz */
    qtest_irq_raised(q, 2);
    qtest_clock_step(q, 1000000000);
    g_assert_cmpuint(qtest_irq_raised(q, 2), >=, 99); /* line 0 goes to pin 2 */
    qtest_quit(q);
}

static void test_hpet(void)
{
    QTest *q = qtest_start("-machine q35");

    qtest_irq_intercept_in(q, "ioapic");
    g_assert_cmphex(qtest_readl(q, HPET), ==, 0x8086a201);
    g_assert_cmphex(qtest_readl(q, HPET + 4), ==, 10000000);
    qtest_writel(q, HPET + 0x120, 20 << 9 | 0x04);
    qtest_writeq(q, HPET + 0x128, 100000);
    qtest_writel(q, HPET + 0x10, 1);
    qtest_clock_step(q, 999000);
    g_assert_cmpuint(qtest_irq_raised(q, 20), ==, 0);
    qtest_clock_step(q, 2000);
    g_assert_cmpuint(qtest_irq_raised(q, 20), ==, 1);
    g_assert_cmpuint(qtest_readq(q, HPET + 0xf0), ==, 100100);
    qtest_quit(q);
    q = qtest_start("-machine pc,hpet=off");
    g_assert_cmphex(qtest_readl(q, HPET), ==, 0xffffffff);
    qtest_quit(q);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/timers/rtc", test_rtc);
    g_test_add_func("/timers/pit", test_pit);
    g_test_add_func("/timers/hpet", test_hpet);
    return g_test_run();
}
