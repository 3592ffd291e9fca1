/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fw_cfg, pvpanic, isa-debug-exit, port 92h, port 61h. */
#include "tests/qtest/libqtest-pci.h"

#include <string.h>

static void select_key(QTest *q, uint16_t key)
{
    qtest_outw(q, 0x510, key);
}

static uint32_t read_be(QTest *q, int n)
{
    uint32_t v = 0;

    while (n--) {
        v = v << 8 | qtest_inb(q, 0x511);
    }
    return v;
}

static uint16_t find_file(QTest *q, const char *name, uint32_t *size)
{
    uint32_t n;

    select_key(q, 0x19);
    n = read_be(q, 4);
    for (uint32_t i = 0; i < n; i++) {
        char file[56];
        uint32_t len = read_be(q, 4);
        uint16_t key = (uint16_t)read_be(q, 2);

        read_be(q, 2);
        for (int k = 0; k < 56; k++) {
            file[k] = (char)qtest_inb(q, 0x511);
        }
        if (!strcmp(file, name)) {
            *size = len;
            return key;
        }
    }
    return 0;
}

static void dma(QTest *q, uint64_t at, uint32_t control, uint32_t len, uint64_t addr)
{
    uint8_t d[16];

    for (int i = 0; i < 4; i++) {
        d[i] = (uint8_t)(control >> (24 - 8 * i));
        d[4 + i] = (uint8_t)(len >> (24 - 8 * i));
    }
    for (int i = 0; i < 8; i++) {
        d[8 + i] = (uint8_t)(addr >> (56 - 8 * i));
    }
    qtest_memwrite(q, at, d, sizeof(d));
    qtest_outl(q, 0x514, GUINT32_SWAP_LE_BE((uint32_t)(at >> 32)));
    qtest_outl(q, 0x518, GUINT32_SWAP_LE_BE((uint32_t)at));
}

static void test_fw_cfg(void)
{
    QTest *q = qtest_start("-machine pc -m 64 -uuid 00112233-4455-6677-8899-aabbccddeeff");
    uint8_t buf[16];
    uint32_t size;
    uint16_t key;

    select_key(q, 0);
    g_assert_cmphex(read_be(q, 4), ==, 0x51454d55); /* "QEMU" */
    g_assert_cmphex(read_be(q, 4), ==, 0);          /* beyond the end */
    select_key(q, 1);
    g_assert_cmphex(qtest_inb(q, 0x511), ==, 3);
    select_key(q, 2);
    g_assert_cmphex(read_be(q, 4), ==, 0x00112233);
    select_key(q, 3);
    g_assert_cmphex(read_be(q, 4), ==, 0x00000004); /* 64 MiB, little-endian */
    select_key(q, 0x3fff);
    g_assert_cmphex(read_be(q, 4), ==, 0);
    key = find_file(q, "bootorder", &size);
    g_assert_cmphex(key, >=, 0x20);
    g_assert_cmpuint(find_file(q, "no/such/file", &size), ==, 0);
    /* DMA: signature, select and read, skip, errors. */
    g_assert_cmphex(GUINT32_SWAP_LE_BE(qtest_inl(q, 0x514)), ==, 0x51454d55);
    g_assert_cmphex(GUINT32_SWAP_LE_BE(qtest_inl(q, 0x518)), ==, 0x20434647);
    qtest_memset(q, 0x2000, 0xaa, 16);
    dma(q, 0x1000, 2u << 16 | 0x0a, 16, 0x2000);
    g_assert_cmphex(qtest_readl(q, 0x1000), ==, 0);
    qtest_memread(q, 0x2000, buf, 16);
    g_assert_cmphex(buf[15], ==, 0xff);
    dma(q, 0x1000, 2u << 16 | 0x0c, 8, 0);
    dma(q, 0x1000, 0x02, 4, 0x2000);
    g_assert_cmphex(qtest_readl(q, 0x2000), ==, 0xbbaa9988);
    dma(q, 0x1000, 2u << 16 | 0x18, 4, 0x2000); /* not writable */
    g_assert_cmphex(qtest_readl(q, 0x1000), ==, 0x01000000);
    dma(q, 0x1000, 0x0a, 0xffffffff, 0x3fffff0); /* out of memory */
    g_assert_cmphex(qtest_readl(q, 0x1000), ==, 0x01000000);
    dma(q, 0x500000000, 0x0a, 4, 0x2000); /* the descriptor itself is nowhere */
    select_key(q, 0);
    g_assert_cmphex(read_be(q, 4), ==, 0x51454d55);
    qtest_quit(q);
}

static void test_pvpanic(void)
{
    QTest *q = qtest_start("-machine pc -no-shutdown -device pvpanic -device pvpanic-pci");
    QPci pci;
    QPciDev d;
    Json *ev;
    uint32_t size;

    g_assert_cmphex(qtest_inb(q, 0x505), ==, 7);
    g_assert_cmphex(find_file(q, "etc/pvpanic-port", &size), !=, 0);
    qtest_outb(q, 0x505, 2);
    ev = qtest_qmp_event(q, "GUEST_CRASHLOADED");
    json_unref(ev);
    qpci_init(&pci, q);
    g_assert_true(qpci_find(&pci, &d, 0x1b36, 0x0011));
    qpci_enable(&d);
    qpci_map(&d, 0);
    qtest_outb(q, 0x505, 1);
    ev = qtest_qmp_event(q, "GUEST_PANICKED");
    json_unref(ev);
    qtest_quit(q);
}

static void test_debug_exit(void)
{
    QTest *q = qtest_start("-machine pc -device isa-debug-exit");

    qtest_outb(q, 0x501, 0x15);
    g_assert_cmpint(qtest_wait_exit(q), ==, 0x2b);
    q = qtest_start("-machine pc -device isa-debug-exit,iobase=0xf4,iosize=4");
    qtest_outl(q, 0xf4, 0x10);
    g_assert_cmpint(qtest_wait_exit(q), ==, 0x21);
}

static void test_ports(void)
{
    QTest *q = qtest_start("-machine pc");
    Json *ev;
    uint8_t v;

    qtest_outb(q, 0x80, 0x12);
    qtest_outb(q, 0xed, 0x12);
    qtest_outb(q, 0xf0, 0); /* no coprocessor error is pending: nothing happens */
    g_assert_cmphex(qtest_inb(q, 0xf0), ==, 0xff);
    v = qtest_inb(q, 0x61);
    qtest_clock_step(q, 15100);
    g_assert_cmphex((v ^ qtest_inb(q, 0x61)) & 0x10, ==, 0x10); /* the refresh goes on */
    qtest_outb(q, 0x92, 0x02);
    g_assert_cmphex(qtest_inb(q, 0x92), ==, 0x02);
    qtest_outb(q, 0x92, 0x03);
    ev = qtest_qmp_event(q, "RESET");
    json_unref(ev);
    qtest_quit(q);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/misc/fw_cfg", test_fw_cfg);
    g_test_add_func("/misc/pvpanic", test_pvpanic);
    g_test_add_func("/misc/isa-debug-exit", test_debug_exit);
    g_test_add_func("/misc/ports", test_ports);
    return g_test_run();
}
