/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The NE2000: address PROM, data port, an ARP question and its answer. */
#include "tests/qtest/libqtest.h"
#include "tests/qtest/net-frames.h"

#define BASE 0x300

static const uint8_t mac[6] = {0x52, 0x54, 0, 1, 2, 3};

static void wr(QTest *q, uint16_t reg, uint8_t v)
{
    qtest_outb(q, (uint16_t)(BASE + reg), v);
}

static uint8_t rd(QTest *q, uint16_t reg)
{
    return qtest_inb(q, (uint16_t)(BASE + reg));
}

static void remote(QTest *q, uint8_t command, uint16_t at, uint16_t n)
{
    wr(q, 0x8, (uint8_t)at);
    wr(q, 0x9, (uint8_t)(at >> 8));
    wr(q, 0xa, (uint8_t)n);
    wr(q, 0xb, (uint8_t)(n >> 8));
    wr(q, 0x0, command);
}

static void read_memory(QTest *q, uint16_t at, uint8_t *buf, uint16_t n)
{
    remote(q, 0x0a, at, n);
    for (uint16_t i = 0; i < n; i++) {
        buf[i] = qtest_inb(q, BASE + 0x10);
    }
}

static QTest *start(void)
{
    QTest *q = qtest_start("-machine pc -netdev user,id=n -device ne2k_isa,netdev=n,irq=5,"
                           "mac=52:54:00:01:02:03");

    rd(q, 0x1f);
    g_assert_cmphex(rd(q, 0x7) & 0x80, ==, 0x80);
    wr(q, 0x0, 0x21);
    wr(q, 0xe, 0x49);
    wr(q, 0xc, 0x04); /* broadcasts */
    wr(q, 0xd, 0x00);
    wr(q, 0x1, 0x46); /* the ring: pages 46h to 7fh */
    wr(q, 0x2, 0x80);
    wr(q, 0x3, 0x46);
    wr(q, 0x0, 0x61);
    for (uint16_t i = 0; i < 6; i++) {
        wr(q, (uint16_t)(1 + i), mac[i]);
    }
    wr(q, 0x7, 0x46);
    wr(q, 0x0, 0x22);
    wr(q, 0x7, 0xff);
    wr(q, 0xf, 0x03);
    return q;
}

static void test_memory(void)
{
    QTest *q = start();
    uint8_t b[32], data[16];

    read_memory(q, 0, b, 32);
    for (int i = 0; i < 6; i++) {
        g_assert_cmphex(b[2 * i], ==, mac[i]);
        g_assert_cmphex(b[2 * i + 1], ==, mac[i]);
    }
    g_assert_cmphex(b[28], ==, 0x57);
    remote(q, 0x12, 0x4000, 16);
    for (int i = 0; i < 8; i++) {
        qtest_outw(q, BASE + 0x10, (uint16_t)(0x1100 * i + 0x22));
    }
    g_assert_cmphex(rd(q, 0x7) & 0x40, ==, 0x40); /* done */
    g_assert_cmphex(qtest_inb(q, BASE + 0x10), ==, 0xff);
    read_memory(q, 0x4000, data, 16);
    g_assert_cmphex(data[6], ==, 0x22);
    g_assert_cmphex(data[7], ==, 0x33);
    /* Nothing lies elsewhere. */
    read_memory(q, 0xff00, data, 4);
    g_assert_cmphex(data[0], ==, 0xff);
    qtest_quit(q);
}

static void test_arp(void)
{
    QTest *q = start();
    uint8_t f[64], got[68];

    qtest_irq_intercept_in(q, "ioapic");
    arp_request(f, mac);
    remote(q, 0x12, 0x4000, 60);
    for (int i = 0; i < 60; i++) {
        qtest_outb(q, BASE + 0x10, f[i]);
    }
    wr(q, 0x4, 0x40);
    wr(q, 0x5, 60);
    wr(q, 0x6, 0);
    wr(q, 0x0, 0x26);
    g_assert_cmphex(rd(q, 0x7) & 2, ==, 2);
    g_assert_cmphex(rd(q, 0x4) & 1, ==, 1);
    g_assert_true(qtest_irq(q, 5));
    wr(q, 0x7, 0x42);
    qtest_wait_for(q, rd(q, 0x7) & 1);
    g_assert_true(qtest_irq(q, 5));
    wr(q, 0x0, 0x62);
    g_assert_cmphex(rd(q, 0x7), ==, 0x47); /* CURR has moved on */
    wr(q, 0x0, 0x22);
    read_memory(q, 0x4600, got, 68);
    g_assert_cmphex(got[0] & 1, ==, 1);
    g_assert_cmphex(got[1], ==, 0x47);
    g_assert_cmpuint(got[2] | got[3] << 8, >=, 64);
    g_assert_true(is_arp_answer(got + 4));
    wr(q, 0x7, 0xff);
    g_assert_false(qtest_irq(q, 5));
    /* Nonsense: a transmit from nowhere, a ring turned round. */
    wr(q, 0x4, 0xf0);
    wr(q, 0x6, 0xff);
    wr(q, 0x0, 0x26);
    wr(q, 0x1, 0x80);
    wr(q, 0x2, 0x46);
    wr(q, 0x4, 0x40);
    wr(q, 0x5, 60);
    wr(q, 0x6, 0);
    wr(q, 0x0, 0x26);
    qtest_breathe(q);
    qtest_quit(q);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ne2000/memory", test_memory);
    g_test_add_func("/ne2000/arp", test_arp);
    return g_test_run();
}
