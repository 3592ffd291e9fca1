/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/qtest/libqtest-pci.h"
#include "tests/qtest/net-frames.h"

#include <string.h>

#define RING 8u
#define RX_RING 0x200000u
#define TX_RING 0x201000u
#define RX_BUFS 0x210000u
#define TX_BUF 0x220000u

static const uint8_t mac[6] = {0x52, 0x54, 0, 1, 2, 3};

typedef struct Fixture {
    QTest *q;
    QPci pci;
    QPciDev d;
} Fixture;

static uint32_t rd(Fixture *f, uint32_t reg)
{
    return qpci_readl(&f->d, 0, reg);
}

static void wr(Fixture *f, uint32_t reg, uint32_t v)
{
    qpci_writel(&f->d, 0, reg, v);
}

static void setup(Fixture *f)
{
    f->q = qtest_start("-machine pc -m 64 -netdev user,id=n "
                       "-device e1000,netdev=n,mac=52:54:00:01:02:03");
    qpci_init(&f->pci, f->q);
    g_assert_true(qpci_find(&f->pci, &f->d, 0x8086, 0x100e));
    qpci_enable(&f->d);
    qpci_map(&f->d, 0);
}

static void start_rings(Fixture *f)
{
    for (unsigned i = 0; i < RING; i++) {
        qtest_writeq(f->q, RX_RING + i * 16, RX_BUFS + i * 2048);
        qtest_writeq(f->q, RX_RING + i * 16 + 8, 0);
    }
    wr(f, 0x2800, RX_RING);
    wr(f, 0x2804, 0);
    wr(f, 0x2808, RING * 16);
    wr(f, 0x2810, 0);
    wr(f, 0x2818, RING - 1);
    wr(f, 0x3800, TX_RING);
    wr(f, 0x3804, 0);
    wr(f, 0x3808, RING * 16);
    wr(f, 0x3810, 0);
    wr(f, 0x3818, 0);
    wr(f, 0x100, 1u << 1 | 1u << 15); /* receiver on, broadcasts */
    wr(f, 0x400, 1u << 1);            /* transmitter on */
}

static void send(Fixture *f, const void *frame, uint32_t len)
{
    uint32_t tail = rd(f, 0x3818);
    qtest_memwrite(f->q, TX_BUF, frame, len);
    qtest_writeq(f->q, TX_RING + tail * 16, TX_BUF);
    qtest_writel(f->q, TX_RING + tail * 16 + 8, len | 0x0b000000); /* EOP, IFCS, RS */
    qtest_writel(f->q, TX_RING + tail * 16 + 12, 0);
    wr(f, 0x3818, (tail + 1) % RING);
    g_assert_cmpuint(qtest_readb(f->q, TX_RING + tail * 16 + 12) & 1, ==, 1);
}

static void test_identity(void)
{
    Fixture f;
    uint16_t sum = 0;
    setup(&f);
    g_assert_cmpuint(rd(&f, 0x5400), ==, 0x01005452);
    g_assert_cmpuint(rd(&f, 0x5404), ==, 0x80000302);
    g_assert_cmpuint(rd(&f, 0x0008) & 2, ==, 2); /* link */
    for (uint32_t i = 0; i < 64; i++) {
        wr(&f, 0x14, i << 8 | 1);
        uint32_t v = rd(&f, 0x14);
        g_assert_cmpuint(v & 0x10, ==, 0x10);
        sum = (uint16_t)(sum + (v >> 16));
    }
    g_assert_cmphex(sum, ==, 0xbaba);
    wr(&f, 0x20, 2u << 26 | 1u << 21 | 2u << 16); /* PHY identifier */
    g_assert_cmphex(rd(&f, 0x20) & 0x1000ffff, ==, 0x10000141);
    qtest_quit(f.q);
}

static void test_arp(void)
{
    Fixture f;
    uint8_t frame[64], answer[64];
    setup(&f);
    start_rings(&f);
    wr(&f, 0xd0, 0x80); /* RXT0 */
    arp_request(frame, mac);
    send(&f, frame, 60);
    for (unsigned i = 0;; i++) {
        uint64_t at = RX_RING + (i % RING) * 16;
        g_assert_cmpuint(i, <, RING - 1);
        qtest_wait_for(f.q, qtest_readb(f.q, at + 12) & 1);
        qtest_memread(f.q, RX_BUFS + i * 2048, answer, sizeof(answer));
        if (is_arp_answer(answer)) {
            break;
        }
    }
    g_assert_cmphex(rd(&f, 0xc0) & 0x80, ==, 0x80);
    g_assert_cmphex(rd(&f, 0xc0), ==, 0); /* reading cleared it */
    g_assert_cmpuint(rd(&f, 0x4080), ==, 1);
    g_assert_cmpuint(rd(&f, 0x4080), ==, 0);
    qtest_quit(f.q);
}

/* Rings outside memory, tails beyond the ring, absurd segmentation. */
static void test_nonsense(void)
{
    Fixture f;
    setup(&f);
    start_rings(&f);
    wr(&f, 0x3818, 0xffff);
    wr(&f, 0x3810, 0xffff);
    wr(&f, 0x3818, 3);
    wr(&f, 0x3804, 0xffffffff);
    wr(&f, 0x3810, 0);
    wr(&f, 0x3818, 5);
    wr(&f, 0x3804, 0);
    wr(&f, 0x3810, 0);
    wr(&f, 0x3818, 0);
    qtest_writel(f.q, TX_RING, 0xffffffff); /* a context: offsets beyond the header */
    qtest_writel(f.q, TX_RING + 4, 0xffffffff);
    qtest_writel(f.q, TX_RING + 8, 0x27000fff);
    qtest_writel(f.q, TX_RING + 12, 0x0001ff00);
    qtest_writeq(f.q, TX_RING + 16, TX_BUF);
    qtest_writel(f.q, TX_RING + 24, 0x2d100000 | 3000);
    qtest_writel(f.q, TX_RING + 28, 0x300);
    wr(&f, 0x3818, 2);
    g_assert_cmpuint(rd(&f, 0x3810), ==, 2);
    wr(&f, 0, 1u << 26); /* reset */
    g_assert_cmpuint(rd(&f, 0x3808), ==, 0);
    qtest_quit(f.q);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/e1000/identity", test_identity);
    g_test_add_func("/e1000/arp", test_arp);
    g_test_add_func("/e1000/nonsense", test_nonsense);
    return g_test_run();
}
