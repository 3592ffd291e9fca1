/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/qtest/libqtest-virtio.h"

#include <string.h>
#include <unistd.h>

#define SECTORS 2048u
#define T_IN 0
#define T_OUT 1
#define T_FLUSH 4
#define T_GET_ID 8
#define T_DISCARD 11
#define S_OK 0
#define S_IOERR 1
#define S_UNSUPP 2

typedef struct Fixture {
    QTest *q;
    QVirtioBlk d;
    char path[64];
} Fixture;

static void setup(Fixture *f, const char *device_options)
{
    strcpy(f->path, "/tmp/rhea-vblk-XXXXXX");
    int fd = mkstemp(f->path);
    g_assert_cmpint(ftruncate(fd, SECTORS * 512), ==, 0);
    close(fd);
    f->q = qtest_start("-machine q35 -m 64 -drive if=none,id=d,format=raw,file=%s "
                       "-device virtio-blk-pci,drive=d,serial=RHEA1%s",
                       f->path, device_options);
    qvirtio_blk_open(&f->d, f->q, 8192);
}

static void teardown(Fixture *f)
{
    qtest_quit(f->q);
    unlink(f->path);
}

/* One request; returns its status byte. */
static uint8_t request(Fixture *f, uint32_t type, uint64_t sector, uint32_t len, bool write)
{
    return qvirtio_blk_request(&f->d, type, sector, len, write);
}

static void test_io(void)
{
    Fixture f = {0};
    uint8_t out[1024], in[1024];
    setup(&f, "");
    g_assert_cmpuint(qpci_readq(&f.d.v.dev, f.d.v.bar, f.d.v.config), ==, SECTORS);
    for (unsigned i = 0; i < sizeof(out); i++) {
        out[i] = (uint8_t)(i * 7 + 3);
    }
    qtest_memwrite(f.q, f.d.data, out, sizeof(out));
    g_assert_cmpuint(request(&f, T_OUT, 5, sizeof(out), false), ==, S_OK);
    g_assert_cmpuint(request(&f, T_FLUSH, 0, 0, false), ==, S_OK);
    qtest_memset(f.q, f.d.data, 0, sizeof(out));
    g_assert_cmpuint(request(&f, T_IN, 5, sizeof(in), true), ==, S_OK);
    qtest_memread(f.q, f.d.data, in, sizeof(in));
    g_assert_cmpmem(in, sizeof(in), out, sizeof(out));
    g_assert_cmpuint(request(&f, T_GET_ID, 0, 20, true), ==, S_OK);
    qtest_memread(f.q, f.d.data, in, 20);
    g_assert_cmpstr((char *)in, ==, "RHEA1");
    teardown(&f);
}

static void test_bad_requests(void)
{
    Fixture f = {0};
    setup(&f, "");
    g_assert_cmpuint(request(&f, T_IN, SECTORS, 512, true), ==, S_IOERR);
    g_assert_cmpuint(request(&f, T_OUT, SECTORS - 1, 1024, false), ==, S_IOERR);
    g_assert_cmpuint(request(&f, T_IN, UINT64_MAX, 512, true), ==, S_IOERR);
    g_assert_cmpuint(request(&f, T_IN, 0, 100, true), ==, S_IOERR);
    g_assert_cmpuint(request(&f, 99, 0, 512, true), ==, S_UNSUPP);
    g_assert_cmpuint(request(&f, T_DISCARD, 0, 8, false), ==, S_UNSUPP);
    g_assert_cmpuint(request(&f, T_IN, 0, 512, true), ==, S_OK);
    teardown(&f);
}

/* Each kind of broken ring stops the device until it is reset. */
static void break_ring(Fixture *f, int kind)
{
    QVirtQueue *q = &f->d.vq;
    uint16_t head = qvirtio_add(&f->d.v, q, f->d.header, 16, false, true);
    switch (kind) {
    case 0: /* a chain that is a loop */
        qtest_writew(f->q, q->desc + 16ull * head + 14, head);
        break;
    case 1: /* a next index beyond the table */
        qtest_writew(f->q, q->desc + 16ull * head + 14, q->size);
        break;
    case 2: /* a buffer outside memory */
        qtest_writeq(f->q, q->desc + 16ull * head, 1ull << 50);
        break;
    case 3: /* no status */
        qtest_writew(f->q, q->desc + 16ull * head + 12, 0);
        break;
    case 4: /* an indirect table of half a descriptor */
        qtest_writel(f->q, q->desc + 16ull * head + 8, 24);
        qtest_writew(f->q, q->desc + 16ull * head + 12, 4);
        break;
    default: /* a head beyond the table */
        head = q->size;
        break;
    }
    qvirtio_kick(&f->d.v, q, head);
    g_assert_cmpuint(qvirtio_status(&f->d.v) & 0x40, ==, 0x40);
}

static void test_broken_rings(void)
{
    Fixture f = {0};
    setup(&f, "");
    for (int kind = 0; kind < 6; kind++) {
        break_ring(&f, kind);
        qvirtio_negotiate(&f.d.v, ~(1ull << 29));
        qvirtio_queue(&f.d.v, &f.d.vq, 0);
        qvirtio_driver_ok(&f.d.v);
        g_assert_cmpuint(request(&f, T_IN, 0, 512, true), ==, S_OK);
    }
    teardown(&f);
}

static void test_features(void)
{
    Fixture f = {0};
    setup(&f, ",disable-legacy=on");
    g_assert_cmpuint(qpci_config_readw(&f.d.v.dev, 2), ==, 0x1042);
    /* Features that were not offered are refused. */
    qpci_writeb(&f.d.v.dev, f.d.v.bar, f.d.v.common + 0x14, 0);
    qpci_writeb(&f.d.v.dev, f.d.v.bar, f.d.v.common + 0x14, 3);
    qpci_writel(&f.d.v.dev, f.d.v.bar, f.d.v.common + 8, 1);
    qpci_writel(&f.d.v.dev, f.d.v.bar, f.d.v.common + 12, 0x80000001);
    qpci_writeb(&f.d.v.dev, f.d.v.bar, f.d.v.common + 0x14, 11);
    g_assert_cmpuint(qvirtio_status(&f.d.v) & 8, ==, 0);
    teardown(&f);
}

static void test_bad_options(void)
{
    char *err = NULL;
    g_assert_cmpint(qtest_run_to_end(&err, "-machine q35 -device virtio-blk-pci"), ==, 1);
    g_assert_nonnull(strstr(err, "drive"));
    g_free(err);
    g_assert_cmpint(qtest_run_to_end(&err, "-machine q35 -device virtio-blk-pci,drive=nix"), ==, 1);
    g_assert_nonnull(strstr(err, "nix"));
    g_free(err);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio-blk/io", test_io);
    g_test_add_func("/virtio-blk/bad-requests", test_bad_requests);
    g_test_add_func("/virtio-blk/broken-rings", test_broken_rings);
    g_test_add_func("/virtio-blk/features", test_features);
    g_test_add_func("/virtio-blk/bad-options", test_bad_options);
    return g_test_run();
}
