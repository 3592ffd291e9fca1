/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-net against libslirp: an ARP request for the gateway is answered. */
#include "tests/qtest/libqtest-virtio.h"
#include "tests/qtest/net-frames.h"

#include <string.h>

static void test_arp(void)
{
    QTest *q = qtest_start("-machine q35 -m 64 -netdev user,id=n "
                           "-device virtio-net-pci,netdev=n,mac=52:54:00:01:02:03");
    QVirtio v;
    QVirtQueue rx, tx;
    uint8_t frame[64], answer[64];
    uint32_t len;
    qvirtio_open(&v, q, 1);
    qvirtio_negotiate(&v, 1ull << 5 | 1ull << 15 | 1ull << 16);
    for (unsigned i = 0; i < 6; i++) {
        static const uint8_t mac[6] = {0x52, 0x54, 0, 1, 2, 3};
        g_assert_cmpuint(qpci_readb(&v.dev, v.bar, v.config + i), ==, mac[i]);
    }
    g_assert_cmpuint(qpci_readw(&v.dev, v.bar, v.config + 6), ==, 1); /* link up */
    qvirtio_queue(&v, &rx, 0);
    qvirtio_queue(&v, &tx, 1);
    qvirtio_driver_ok(&v);

    uint64_t in = qvirtio_alloc(&v, 4096), out = qvirtio_alloc(&v, 4096);
    qvirtio_kick(&v, &rx, qvirtio_add(&v, &rx, in, 2048, true, false));
    arp_request(frame, (const uint8_t[]){0x52, 0x54, 0, 1, 2, 3});
    qtest_memwrite(q, out + 12, frame, 60);
    qvirtio_kick(&v, &tx, qvirtio_add(&v, &tx, out, 72, false, false));
    qvirtio_wait_used(&v, &tx, NULL);
    do {
        qvirtio_wait_used(&v, &rx, &len);
        g_assert_cmpuint(len, >=, 72);
        qtest_memread(q, in + 12, answer, sizeof(answer));
        qvirtio_kick(&v, &rx, qvirtio_add(&v, &rx, in, 2048, true, false));
    } while (!is_arp_answer(answer)); /* router advertisements may come first */
    qtest_quit(q);
}

/* Packets without room for a header, or absurdly long, do no harm. */
static void test_bad_packets(void)
{
    QTest *q = qtest_start("-machine q35 -m 64 -netdev user,id=n -device virtio-net-pci,netdev=n");
    QVirtio v;
    QVirtQueue rx, tx;
    static const uint32_t lengths[] = {1, 11, 12, 20, 65535, 1000000};
    qvirtio_open(&v, q, 1);
    qvirtio_negotiate(&v, 1ull << 0 | 1ull << 5);
    qvirtio_queue(&v, &rx, 0);
    qvirtio_queue(&v, &tx, 1);
    qvirtio_driver_ok(&v);
    uint64_t out = qvirtio_alloc(&v, 1 << 20);
    qtest_memset(q, out, 0xff, 64); /* nonsense in the offload header */
    for (unsigned i = 0; i < G_N_ELEMENTS(lengths); i++) {
        qvirtio_kick(&v, &tx, qvirtio_add(&v, &tx, out, lengths[i], false, false));
        qvirtio_wait_used(&v, &tx, NULL);
    }
    g_assert_cmpuint(qvirtio_status(&v), ==, 15);
    qtest_quit(q);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio-net/arp", test_arp);
    g_test_add_func("/virtio-net/bad-packets", test_bad_packets);
    return g_test_run();
}
