/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ICH9 AHCI: ports, commands, queueing, packets, resets. */
#include "tests/qtest/libqtest-pci.h"
#include "util/bits.h"

#include <string.h>
#include <unistd.h>

#define SECTORS 16384u
#define LIST 0x100000u
#define FISES 0x101000u
#define TABLES 0x110000u /* 0x1000 for each slot */
#define BUF 0x200000u
#define P_CLB 0x00
#define P_FB 0x08
#define P_IS 0x10
#define P_IE 0x14
#define P_CMD 0x18
#define P_TFD 0x20
#define P_SIG 0x24
#define P_SSTS 0x28
#define P_SCTL 0x2c
#define P_SERR 0x30
#define P_SACT 0x34
#define P_CI 0x38

typedef struct Fixture {
    QTest *q;
    QPci pci;
    QPciDev dev;
    char disk[64], cd[64];
    unsigned port;
} Fixture;

static uint8_t pattern(uint64_t pos, uint8_t seed)
{
    return (uint8_t)(pos / 512 * 3 + pos + seed);
}

static void make_file(char *path, size_t len, uint8_t seed)
{
    g_autofree uint8_t *data = g_malloc(len);
    for (size_t i = 0; i < len; i++) {
        data[i] = pattern(i, seed);
    }
    strcpy(path, "/tmp/rhea-ahci-XXXXXX");
    int fd = mkstemp(path);
    g_assert_cmpint(write(fd, data, len), ==, (ssize_t)len);
    close(fd);
}

static uint32_t port_read(Fixture *f, unsigned reg)
{
    return qpci_readl(&f->dev, 5, 0x100 + f->port * 0x80 + reg);
}

static void port_write(Fixture *f, unsigned reg, uint32_t v)
{
    qpci_writel(&f->dev, 5, 0x100 + f->port * 0x80 + reg, v);
}

/* List and FIS area for the port; receives and runs. */
static void use(Fixture *f, unsigned port)
{
    f->port = port;
    port_write(f, P_CMD, 0);
    port_write(f, P_CLB, LIST);
    port_write(f, P_CLB + 4, 0);
    port_write(f, P_FB, FISES);
    port_write(f, P_FB + 4, 0);
    port_write(f, P_SERR, ~0u);
    port_write(f, P_IS, ~0u);
    port_write(f, P_IE, 0x7fffffff);
    port_write(f, P_CMD, 0x10);
    port_write(f, P_CMD, 0x11);
}

static void setup(Fixture *f)
{
    make_file(f->disk, SECTORS * 512, 1);
    make_file(f->cd, 64 * 2048, 7);
    f->q = qtest_start("-machine q35 -m 64 -drive if=none,id=d,format=raw,file=%s,discard=unmap "
                       "-device ide-hd,bus=ide.0,drive=d,serial=RHEA9 "
                       "-drive if=none,id=c,format=raw,file=%s,media=cdrom,read-only=on "
                       "-device ide-cd,bus=ide.2,drive=c",
                       f->disk, f->cd);
    qpci_init(&f->pci, f->q);
    g_assert_true(qpci_find(&f->pci, &f->dev, 0x8086, 0x2922));
    qpci_map(&f->dev, 5);
    qpci_enable(&f->dev);
    qpci_writel(&f->dev, 5, 4, 0x80000002);
    use(f, 0);
}

static void teardown(Fixture *f)
{
    qtest_quit(f->q);
    unlink(f->disk);
    unlink(f->cd);
}

/* ---- commands ---- */

typedef struct Cmd {
    uint8_t command, features, device;
    uint64_t lba;
    uint16_t count;
    bool write;
    const uint8_t *packet;
    uint32_t buf, len; /* one buffer, or in pieces of `piece` bytes */
    uint32_t piece;
} Cmd;

static unsigned put_buffers(Fixture *f, uint64_t table, const Cmd *c)
{
    unsigned n = 0;
    uint32_t piece = c->piece ? c->piece : c->len;
    for (uint32_t at = 0; at < c->len; at += piece, n++) {
        uint32_t len = MIN(piece, c->len - at);
        qtest_writeq(f->q, table + 0x80 + n * 16, c->buf + at);
        qtest_writel(f->q, table + 0x80 + n * 16 + 12, len - 1);
    }
    return n;
}

static void prepare(Fixture *f, unsigned slot, const Cmd *c)
{
    uint64_t table = TABLES + slot * 0x1000;
    bool ncq = c->command == 0x60 || c->command == 0x61;
    uint8_t fis[20] = {0x27, 0x80, c->command, c->features};
    for (unsigned i = 0; i < 3; i++) {
        fis[4 + i] = (uint8_t)(c->lba >> (8 * i));
        fis[8 + i] = (uint8_t)(c->lba >> (24 + 8 * i));
    }
    fis[7] = c->device | 0x40;
    st_le16(fis + 12, c->count);
    if (ncq) {
        fis[3] = (uint8_t)c->count;
        fis[11] = (uint8_t)(c->count >> 8);
        st_le16(fis + 12, (uint16_t)(slot << 3));
    }
    qtest_memwrite(f->q, table, fis, sizeof(fis));
    if (c->packet) {
        qtest_memwrite(f->q, table + 0x40, c->packet, 12);
    }
    unsigned n = put_buffers(f, table, c);
    qtest_writel(f->q, LIST + slot * 32,
                 5 | (c->write ? 0x40 : 0) | (c->packet ? 0x20 : 0) | n << 16);
    qtest_writel(f->q, LIST + slot * 32 + 4, 0);
    qtest_writeq(f->q, LIST + slot * 32 + 8, table);
}

/* Runs one command in slot 3; the task file afterwards. */
static uint32_t run(Fixture *f, const Cmd *c)
{
    prepare(f, 3, c);
    port_write(f, P_IS, ~0u);
    port_write(f, P_CI, 1u << 3);
    qtest_wait_for(f->q, !(port_read(f, P_CI) & 8) || (port_read(f, P_IS) & 0x40000000));
    return port_read(f, P_TFD);
}

static void expect(Fixture *f, uint32_t addr, uint64_t pos, uint32_t len, uint8_t seed)
{
    g_autofree uint8_t *b = g_malloc(len);
    qtest_memread(f->q, addr, b, len);
    for (uint32_t i = 0; i < len; i++) {
        g_assert_cmphex(b[i], ==, pattern(pos + i, seed));
    }
}

/* ---- tests ---- */

static void test_registers(void)
{
    Fixture f = {0};
    setup(&f);
    g_assert_cmphex(qpci_readl(&f.dev, 5, 0) & 0xc000001f, ==, 0xc0000005);
    g_assert_cmphex(qpci_readl(&f.dev, 5, 0x0c), ==, 0x3f);
    g_assert_cmphex(port_read(&f, P_SSTS), ==, 0x113);
    g_assert_cmphex(port_read(&f, P_SIG), ==, 0x101);
    g_assert_cmphex(port_read(&f, P_TFD) & 0x89, ==, 0);
    f.port = 1;
    g_assert_cmphex(port_read(&f, P_SSTS), ==, 0);
    g_assert_cmphex(port_read(&f, P_SIG), ==, 0xffffffff);
    f.port = 2;
    g_assert_cmphex(port_read(&f, P_SIG), ==, 0xeb140101);
    g_assert_cmphex(qpci_capability(&f.dev, 0x12, 0), ==, 0xa8);
    g_assert_cmphex(qpci_capability(&f.dev, 0x05, 0), ==, 0x80);
    /* COMRESET */
    f.port = 0;
    port_write(&f, P_SCTL, 0x301);
    g_assert_cmphex(port_read(&f, P_SSTS), ==, 0);
    port_write(&f, P_SCTL, 0x300);
    g_assert_cmphex(port_read(&f, P_SSTS), ==, 0x113);
    g_assert_cmphex(port_read(&f, P_SERR) & 0x04000000, ==, 0x04000000);
    g_assert_cmphex(qtest_readb(f.q, FISES + 0x40), ==, 0x34);
    /* HBA reset */
    qpci_writel(&f.dev, 5, 4, 1);
    g_assert_cmphex(qpci_readl(&f.dev, 5, 4), ==, 0x80000000);
    g_assert_cmphex(port_read(&f, P_CLB), ==, 0);
    teardown(&f);
}

static void test_identify(void)
{
    static const Cmd id = {.command = 0xec, .buf = BUF, .len = 512};
    Fixture f = {0};
    uint8_t b[512];
    setup(&f);
    g_assert_cmphex(run(&f, &id) & 0xff, ==, 0x50);
    g_assert_cmphex(port_read(&f, P_IS) & 3, ==, 2); /* PIO setup, no register FIS */
    g_assert_cmphex(qtest_readb(f.q, FISES + 0x20), ==, 0x5f);
    g_assert_cmpint(qtest_readl(f.q, LIST + 3 * 32 + 4), ==, 512);
    qtest_memread(f.q, BUF, b, 512);
    g_assert_cmpmem(b + 20, 6, "HRAE 9", 6);
    g_assert_cmpint((int64_t)ld_le64(b + 200), ==, SECTORS);
    g_assert_cmphex(ld_le16(b + 152) & 0x100, ==, 0x100); /* queueing */
    g_assert_cmpint(ld_le16(b + 150), ==, 31);
    /* The interrupt is at the HBA, and goes when it is cleared. */
    g_assert_cmphex(qpci_readl(&f.dev, 5, 8), ==, 1);
    g_assert_cmphex(qpci_config_readw(&f.dev, 6) & 8, ==, 8);
    port_write(&f, P_IS, ~0u);
    qpci_writel(&f.dev, 5, 8, 1);
    g_assert_cmphex(qpci_config_readw(&f.dev, 6) & 8, ==, 0);
    teardown(&f);
}

static void test_dma(void)
{
    Fixture f = {0};
    setup(&f);
    Cmd rd = {.command = 0x25, .lba = 777, .count = 64, .buf = BUF, .len = 32768, .piece = 1000};
    g_assert_cmphex(run(&f, &rd) & 0xff, ==, 0x50);
    g_assert_cmphex(port_read(&f, P_IS) & 1, ==, 1);
    g_assert_cmpint(qtest_readl(f.q, LIST + 3 * 32 + 4), ==, 32768);
    expect(&f, BUF, 777 * 512, 32768, 1);
    Cmd wr = {.command = 0x35, .lba = 5000, .count = 64, .write = true, .buf = BUF, .len = 32768};
    g_assert_cmphex(run(&f, &wr) & 0xff, ==, 0x50);
    qtest_memset(f.q, BUF, 0, 32768);
    Cmd pio = {.command = 0x24, .lba = 5010, .count = 3, .buf = BUF, .len = 1536};
    g_assert_cmphex(run(&f, &pio) & 0xff, ==, 0x50);
    expect(&f, BUF, (777 + 10) * 512, 1536, 1);
    Cmd pout = {.command = 0x34, .lba = 100, .count = 2, .write = true, .buf = BUF, .len = 1024};
    g_assert_cmphex(run(&f, &pout) & 0xff, ==, 0x50);
    rd = (Cmd){.command = 0x25, .lba = 100, .count = 2, .buf = BUF + 4096, .len = 1024};
    g_assert_cmphex(run(&f, &rd) & 0xff, ==, 0x50);
    expect(&f, BUF + 4096, (777 + 10) * 512, 1024, 1);
    Cmd flush = {.command = 0xea};
    g_assert_cmphex(run(&f, &flush) & 0xff, ==, 0x50);
    teardown(&f);
}

static void test_ncq(void)
{
    Fixture f = {0};
    setup(&f);
    uint32_t all = 0;
    port_write(&f, P_IS, ~0u);
    for (unsigned slot = 0; slot < 32; slot++) {
        Cmd c = {.command = 0x60,
                 .lba = slot * 300,
                 .count = 16,
                 .buf = BUF + slot * 8192,
                 .len = 8192,
                 .piece = 3000};
        prepare(&f, slot, &c);
        all |= 1u << slot;
    }
    port_write(&f, P_SACT, all);
    port_write(&f, P_CI, all);
    qtest_wait_for(f.q, !port_read(&f, P_SACT));
    g_assert_cmphex(port_read(&f, P_CI), ==, 0);
    g_assert_cmphex(port_read(&f, P_IS) & 0x40000008, ==, 8);
    g_assert_cmphex(qtest_readb(f.q, FISES + 0x58), ==, 0xa1);
    for (unsigned slot = 0; slot < 32; slot++) {
        expect(&f, BUF + slot * 8192, slot * 300 * 512, 8192, 1);
    }
    /* Write queued, with FUA. */
    Cmd w = {.command = 0x61,
             .device = 0x80,
             .lba = 9000,
             .count = 16,
             .write = true,
             .buf = BUF,
             .len = 8192};
    prepare(&f, 5, &w);
    port_write(&f, P_SACT, 1u << 5);
    port_write(&f, P_CI, 1u << 5);
    qtest_wait_for(f.q, !port_read(&f, P_SACT));
    Cmd rd = {.command = 0x25, .lba = 9000, .count = 16, .buf = BUF + 65536, .len = 8192};
    g_assert_cmphex(run(&f, &rd) & 0xff, ==, 0x50);
    expect(&f, BUF + 65536, 0, 8192, 1);
    /* Beyond the end: all of the queue ends, and the port stands still. */
    Cmd bad = {.command = 0x60, .lba = SECTORS - 1, .count = 2, .buf = BUF, .len = 1024};
    prepare(&f, 7, &bad);
    port_write(&f, P_SACT, 1u << 7);
    port_write(&f, P_CI, 1u << 7);
    qtest_wait_for(f.q, port_read(&f, P_IS) & 0x40000000);
    g_assert_cmphex(port_read(&f, P_TFD) & 1, ==, 1);
    use(&f, 0);
    g_assert_cmphex(run(&f, &rd) & 0xff, ==, 0x50);
    teardown(&f);
}

static void test_errors(void)
{
    Fixture f = {0};
    setup(&f);
    Cmd bad = {.command = 0xf2};
    g_assert_cmphex(run(&f, &bad), ==, 0x451);
    g_assert_cmphex(port_read(&f, P_IS) & 0x40000000, ==, 0x40000000);
    use(&f, 0);
    Cmd shrt = {.command = 0x25, .lba = 0, .count = 8, .buf = BUF, .len = 1024};
    g_assert_cmphex(run(&f, &shrt) & 1, ==, 1);
    use(&f, 0);
    Cmd none = {.command = 0x25, .lba = 0, .count = 8};
    g_assert_cmphex(run(&f, &none) & 1, ==, 1);
    use(&f, 0);
    /* A table that is nowhere, a list that is nowhere, a FIS that is none. */
    Cmd rd = {.command = 0x25, .lba = 0, .count = 1, .buf = BUF, .len = 512};
    prepare(&f, 0, &rd);
    qtest_writeq(f.q, LIST + 8, 0xffffffffff000000ull);
    port_write(&f, P_CI, 1);
    qtest_breathe(f.q);
    use(&f, 0);
    port_write(&f, P_CMD, 0);
    port_write(&f, P_CLB + 4, 0x7fffffff);
    port_write(&f, P_CMD, 0x11);
    port_write(&f, P_CI, ~0u);
    qtest_breathe(f.q);
    use(&f, 0);
    prepare(&f, 0, &rd);
    qtest_writeb(f.q, TABLES, 0x99);
    port_write(&f, P_CI, 1);
    qtest_breathe(f.q);
    use(&f, 0);
    g_assert_cmphex(run(&f, &rd) & 0xff, ==, 0x50);
    expect(&f, BUF, 0, 512, 1);
    teardown(&f);
}

static void test_softreset(void)
{
    Fixture f = {0};
    uint8_t fis[20] = {0x27, 0};
    setup(&f);
    use(&f, 2);
    Cmd any = {0};
    for (unsigned step = 0; step < 2; step++) {
        prepare(&f, 0, &any);
        fis[15] = step ? 0 : 4;
        qtest_memwrite(f.q, TABLES, fis, sizeof(fis));
        port_write(&f, P_CI, 1);
        g_assert_cmphex(port_read(&f, P_CI), ==, 0);
    }
    g_assert_cmphex(port_read(&f, P_TFD) & 0x80, ==, 0);
    g_assert_cmphex(port_read(&f, P_SIG), ==, 0xeb140101);
    teardown(&f);
}

static void test_cd(void)
{
    static const uint8_t tur[12] = {0}, sense[12] = {0x03, 0, 0, 0, 18};
    static const uint8_t read5[12] = {0x28, 0, 0, 0, 0, 3, 0, 0, 5};
    Fixture f = {0};
    setup(&f);
    use(&f, 2);
    Cmd c = {.command = 0xa0, .packet = tur};
    g_assert_cmphex(run(&f, &c) & 0xff, ==, 0x50);
    c = (Cmd){.command = 0xa0, .packet = sense, .buf = BUF, .len = 18, .lba = 0xfffe00};
    g_assert_cmphex(run(&f, &c) & 0xff, ==, 0x50);
    g_assert_cmphex(qtest_readb(f.q, BUF) & 0x7f, ==, 0x70);
    for (unsigned dma = 0; dma < 2; dma++) {
        qtest_memset(f.q, BUF, 0, 10240);
        c = (Cmd){.command = 0xa0,
                  .packet = read5,
                  .features = (uint8_t)dma,
                  .buf = BUF,
                  .len = 10240,
                  .piece = 900,
                  .lba = dma ? 0 : 0x080000};
        g_assert_cmphex(run(&f, &c) & 0xff, ==, 0x50);
        expect(&f, BUF, 3 * 2048, 10240, 7);
    }
    Cmd id = {.command = 0xa1, .buf = BUF, .len = 512};
    g_assert_cmphex(run(&f, &id) & 0xff, ==, 0x50);
    g_assert_cmphex(qtest_readw(f.q, BUF), ==, 0x85c0);
    teardown(&f);
}

static void test_noise(void)
{
    Fixture f = {0};
    GRand *rng = g_rand_new_with_seed(11);
    setup(&f);
    for (int i = 0; i < 4000; i++) {
        f.port = (unsigned)g_rand_int_range(rng, 0, 3);
        uint32_t v = g_rand_int(rng);
        switch (g_rand_int_range(rng, 0, 6)) {
        case 0:
            port_write(&f, (unsigned)g_rand_int_range(rng, 0, 32) * 4, v);
            break;
        case 1:
            port_write(&f, P_CI, v & g_rand_int(rng) & g_rand_int(rng));
            break;
        case 2:
            use(&f, f.port);
            break;
        case 3:
            qtest_writel(f.q, LIST + (uint64_t)g_rand_int_range(rng, 0, 256) * 4, v);
            break;
        case 4: {
            Cmd c = {.command = (uint8_t)v,
                     .features = (uint8_t)(v >> 8),
                     .lba = v >> 20,
                     .count = (uint16_t)(v >> 16 & 7),
                     .write = v & 1,
                     .buf = BUF,
                     .len = 4096,
                     .piece = 1 + (v & 0xffff)};
            prepare(&f, v & 31, &c);
            break;
        }
        default:
            qpci_readl(&f.dev, 5, v & 0xffc);
            break;
        }
    }
    g_rand_free(rng);
    qpci_writel(&f.dev, 5, 4, 1);
    use(&f, 0);
    Cmd flush = {.command = 0xe7};
    g_assert_cmphex(run(&f, &flush) & 0xff, ==, 0x50);
    teardown(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ahci/registers", test_registers);
    g_test_add_func("/ahci/identify", test_identify);
    g_test_add_func("/ahci/dma", test_dma);
    g_test_add_func("/ahci/ncq", test_ncq);
    g_test_add_func("/ahci/errors", test_errors);
    g_test_add_func("/ahci/softreset", test_softreset);
    g_test_add_func("/ahci/cd", test_cd);
    g_test_add_func("/ahci/noise", test_noise);
    return g_test_run();
}
