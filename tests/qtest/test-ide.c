/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PIIX3 IDE: registers, PIO, bus-master DMA, ATAPI. */
#include "tests/qtest/libqtest-pci.h"
#include "util/bits.h"

#include <string.h>
#include <unistd.h>

#define SECTORS 8192u
#define CMD 0x1f0
#define CTL 0x3f6
#define CD_CMD 0x170
#define CD_CTL 0x376
#define BSY 0x80
#define DRDY 0x40
#define DRQ 0x08
#define ERR 0x01
#define PRD 0x10000u
#define BUF 0x20000u

typedef struct Fixture {
    QTest *q;
    QPci pci;
    QPciDev dev;
    char disk[64], cd[64];
    uint16_t cmd, ctl; /* of the channel in use */
    unsigned irq, bm;
} Fixture;

static void make_file(char *path, size_t len, uint8_t seed)
{
    g_autofree uint8_t *data = g_malloc(len);
    for (size_t i = 0; i < len; i++) {
        data[i] = (uint8_t)(i / 512 * 3 + i + seed);
    }
    strcpy(path, "/tmp/rhea-ide-XXXXXX");
    int fd = mkstemp(path);
    g_assert_cmpint(write(fd, data, len), ==, (ssize_t)len);
    close(fd);
}

static uint8_t pattern(uint64_t pos, uint8_t seed)
{
    return (uint8_t)(pos / 512 * 3 + pos + seed);
}

static void use(Fixture *f, bool cd)
{
    f->cmd = cd ? CD_CMD : CMD;
    f->ctl = cd ? CD_CTL : CTL;
    f->irq = cd ? 15 : 14;
    f->bm = cd ? 8 : 0;
}

static void setup(Fixture *f, const char *more)
{
    make_file(f->disk, SECTORS * 512, 1);
    make_file(f->cd, 64 * 2048, 7);
    f->q =
        qtest_start("-machine pc -m 64 "
                    "-drive if=none,id=d,format=raw,file=%s,discard=unmap "
                    "-device ide-hd,bus=ide.0,unit=0,drive=d,serial=RHEA7,wwn=0x5000c50012345678 "
                    "-drive if=none,id=c,format=raw,file=%s,media=cdrom,read-only=on "
                    "-device ide-cd,bus=ide.1,unit=0,drive=c %s",
                    f->disk, f->cd, more);
    qtest_irq_intercept_in(f->q, "ioapic");
    qpci_init(&f->pci, f->q);
    g_assert_true(qpci_find(&f->pci, &f->dev, 0x8086, 0x7010));
    qpci_map(&f->dev, 4);
    qpci_enable(&f->dev);
    use(f, false);
}

static void teardown(Fixture *f)
{
    qtest_quit(f->q);
    unlink(f->disk);
    unlink(f->cd);
}

/* ---- a driver ---- */

static uint8_t wait_ready(Fixture *f)
{
    qtest_wait_for(f->q, !(qtest_inb(f->q, f->ctl) & BSY));
    return qtest_inb(f->q, f->cmd + 7);
}

static void set_lba(Fixture *f, uint32_t lba, uint8_t count)
{
    qtest_outb(f->q, f->cmd + 6, 0xe0 | (lba >> 24 & 0x0f));
    qtest_outb(f->q, f->cmd + 2, count);
    qtest_outb(f->q, f->cmd + 3, (uint8_t)lba);
    qtest_outb(f->q, f->cmd + 4, (uint8_t)(lba >> 8));
    qtest_outb(f->q, f->cmd + 5, (uint8_t)(lba >> 16));
}

static void set_lba48(Fixture *f, uint64_t lba, uint16_t count)
{
    qtest_outb(f->q, f->cmd + 6, 0x40);
    qtest_outb(f->q, f->cmd + 2, (uint8_t)(count >> 8));
    qtest_outb(f->q, f->cmd + 2, (uint8_t)count);
    for (unsigned i = 0; i < 3; i++) {
        qtest_outb(f->q, (uint16_t)(f->cmd + 3 + i), (uint8_t)(lba >> (24 + 8 * i)));
        qtest_outb(f->q, (uint16_t)(f->cmd + 3 + i), (uint8_t)(lba >> (8 * i)));
    }
}

static void command(Fixture *f, uint8_t cmd)
{
    qtest_outb(f->q, f->cmd + 7, cmd);
}

static void read_words(Fixture *f, uint8_t *out, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i += 2) {
        st_le16(out + i, qtest_inw(f->q, f->cmd));
    }
}

static void add_prd(Fixture *f, unsigned n, uint32_t addr, uint16_t len, bool last)
{
    qtest_writel(f->q, PRD + n * 8, addr);
    qtest_writel(f->q, PRD + n * 8 + 4, len | (last ? 0x80000000u : 0));
}

/* Starts the engine, waits for the interrupt; bus-master status. */
static uint8_t run_dma(Fixture *f, bool to_memory)
{
    qpci_writeb(&f->dev, 4, f->bm + 2, 0x66);
    qpci_writel(&f->dev, 4, f->bm + 4, PRD);
    qpci_writeb(&f->dev, 4, f->bm, to_memory ? 9 : 1);
    qtest_wait_for(f->q, qpci_readb(&f->dev, 4, f->bm + 2) & 4);
    uint8_t st = qpci_readb(&f->dev, 4, f->bm + 2);
    qpci_writeb(&f->dev, 4, f->bm, 0);
    return st;
}

static void get_string(const uint8_t *id, unsigned word, unsigned len, char *out)
{
    for (unsigned i = 0; i < len; i++) {
        out[i] = (char)id[word * 2 + (i ^ 1)];
    }
    out[len] = 0;
    g_strchomp(out);
}

/* ---- disks ---- */

static void test_identify(void)
{
    Fixture f = {0};
    uint8_t id[512];
    char s[41];
    setup(&f, "");
    qtest_irq_raised(f.q, 14);
    qtest_outb(f.q, CMD + 6, 0xa0);
    command(&f, 0xec);
    g_assert_cmphex(wait_ready(&f), ==, 0x58);
    g_assert_cmpint(qtest_irq_raised(f.q, 14), ==, 1);
    read_words(&f, id, 512);
    g_assert_cmphex(qtest_inb(f.q, CMD + 7), ==, 0x50);
    get_string(id, 10, 20, s);
    g_assert_cmpstr(s, ==, "RHEA7");
    get_string(id, 27, 40, s);
    g_assert_cmpstr(s, ==, "QEMU HARDDISK");
    g_assert_cmpint(ld_le32(id + 120), ==, SECTORS);
    g_assert_cmpint((int64_t)ld_le64(id + 200), ==, SECTORS);
    g_assert_cmphex(ld_le16(id + 216), ==, 0x5000);
    /* The slave is not there: its status reads 0. */
    qtest_outb(f.q, CMD + 6, 0xb0);
    g_assert_cmphex(qtest_inb(f.q, CMD + 7), ==, 0);
    command(&f, 0xec);
    g_assert_cmphex(qtest_inb(f.q, CMD + 7), ==, 0);
    teardown(&f);
}

static void test_pio(void)
{
    Fixture f = {0};
    uint8_t buf[4096];
    setup(&f, "");
    set_lba(&f, 100, 3);
    command(&f, 0x20);
    for (unsigned s = 0; s < 3; s++) {
        g_assert_cmphex(wait_ready(&f), ==, 0x58);
        read_words(&f, buf, 512);
        for (unsigned i = 0; i < 512; i++) {
            g_assert_cmphex(buf[i], ==, pattern((100 + s) * 512 + i, 1));
        }
    }
    g_assert_cmphex(wait_ready(&f), ==, 0x50);
    g_assert_cmphex(qtest_inb(f.q, CMD + 3), ==, 103);
    /* Write two sectors as one block of READ MULTIPLE size, read back by CHS and 32-bit words. */
    qtest_outb(f.q, CMD + 2, 4);
    command(&f, 0xc6);
    g_assert_cmphex(wait_ready(&f), ==, 0x50);
    set_lba(&f, 63, 2);
    command(&f, 0xc5);
    g_assert_cmphex(wait_ready(&f), ==, 0x58);
    for (unsigned i = 0; i < 1024; i += 2) {
        qtest_outw(f.q, CMD, (uint16_t)(i * 5));
    }
    g_assert_cmphex(wait_ready(&f), ==, 0x50);
    qtest_outb(f.q, CMD + 6, 0xa1); /* head 1, cylinder 0, sector 1: LBA 63 */
    qtest_outb(f.q, CMD + 2, 1);
    qtest_outb(f.q, CMD + 3, 1);
    qtest_outb(f.q, CMD + 4, 0);
    qtest_outb(f.q, CMD + 5, 0);
    command(&f, 0x20);
    g_assert_cmphex(wait_ready(&f), ==, 0x58);
    for (unsigned i = 0; i < 512; i += 4) {
        uint32_t v = qtest_inl(f.q, CMD);
        g_assert_cmphex(v & 0xffff, ==, (uint16_t)(i * 5));
        g_assert_cmphex(v >> 16, ==, (uint16_t)((i + 2) * 5));
    }
    command(&f, 0xe7);
    g_assert_cmphex(wait_ready(&f), ==, 0x50);
    teardown(&f);
}

static void test_errors(void)
{
    Fixture f = {0};
    setup(&f, "");
    set_lba(&f, SECTORS - 1, 2); /* beyond the end */
    command(&f, 0x20);
    g_assert_cmphex(wait_ready(&f), ==, 0x51);
    g_assert_cmphex(qtest_inb(f.q, CMD + 1) & 0x10, ==, 0x10);
    for (unsigned cmd = 0xf1; cmd <= 0xf6; cmd++) { /* security */
        command(&f, (uint8_t)cmd);
        g_assert_cmphex(wait_ready(&f), ==, 0x51);
        g_assert_cmphex(qtest_inb(f.q, CMD + 1), ==, 4);
    }
    command(&f, 0xa1); /* IDENTIFY PACKET DEVICE */
    g_assert_cmphex(wait_ready(&f), ==, 0x51);
    g_assert_cmphex(qtest_inb(f.q, CMD + 4), ==, 0);
    /* A reset in the middle of a transfer. */
    set_lba(&f, 0, 8);
    command(&f, 0x30);
    g_assert_cmphex(wait_ready(&f) & DRQ, ==, DRQ);
    qtest_outb(f.q, CTL, 4);
    g_assert_cmphex(qtest_inb(f.q, CTL), ==, 0x80);
    qtest_outb(f.q, CTL, 0);
    g_assert_cmphex(wait_ready(&f), ==, 0x50);
    g_assert_cmphex(qtest_inb(f.q, CMD + 1), ==, 1);
    g_assert_cmphex(qtest_inb(f.q, CMD + 2), ==, 1);
    g_assert_cmphex(qtest_inb(f.q, CMD + 3), ==, 1);
    teardown(&f);
}

static void test_dma(void)
{
    Fixture f = {0};
    uint8_t buf[8192], out[8192];
    setup(&f, "");
    qtest_irq_raised(f.q, 14);
    /* Read 16 sectors into pieces of odd places. */
    add_prd(&f, 0, BUF, 100, false);
    add_prd(&f, 1, BUF + 100, 3000, false);
    add_prd(&f, 2, BUF + 3100, 8192 - 3100, true);
    set_lba(&f, 1000, 16);
    command(&f, 0xc8);
    g_assert_cmphex(run_dma(&f, true) & 7, ==, 4);
    g_assert_cmphex(wait_ready(&f), ==, 0x50);
    g_assert_cmpint(qtest_irq_raised(f.q, 14), ==, 1);
    qtest_memread(f.q, BUF, buf, 8192);
    for (unsigned i = 0; i < 8192; i++) {
        g_assert_cmphex(buf[i], ==, pattern(1000 * 512 + i, 1));
    }
    /* Write them elsewhere, LBA48; read back by PIO. */
    for (unsigned i = 0; i < 8192; i++) {
        out[i] = (uint8_t)(i * 11 + i / 256);
    }
    qtest_memwrite(f.q, BUF, out, 8192);
    add_prd(&f, 0, BUF, 8192, true);
    set_lba48(&f, 5000, 16);
    command(&f, 0x35);
    g_assert_cmphex(run_dma(&f, false) & 7, ==, 4);
    g_assert_cmphex(wait_ready(&f), ==, 0x50);
    set_lba48(&f, 5015, 1);
    command(&f, 0x24);
    g_assert_cmphex(wait_ready(&f), ==, 0x58);
    read_words(&f, buf, 512);
    g_assert_cmpmem(buf, 512, out + 15 * 512, 512);
    teardown(&f);
}

static void test_dma_errors(void)
{
    Fixture f = {0};
    setup(&f, "");
    add_prd(&f, 0, BUF, 512, true); /* too short */
    set_lba(&f, 0, 4);
    command(&f, 0xc8);
    g_assert_cmphex(run_dma(&f, true) & 2, ==, 2);
    g_assert_cmphex(wait_ready(&f) & ERR, ==, ERR);
    add_prd(&f, 0, 0xfff00000, 2048, true); /* into the BIOS: reads from it, writes are lost */
    set_lba(&f, 0, 4);
    command(&f, 0xc8);
    run_dma(&f, true);
    wait_ready(&f);
    qpci_writel(&f.dev, 4, 4, 0xfffffff8); /* a list that is nowhere */
    set_lba(&f, 0, 4);
    command(&f, 0xc8);
    qpci_writeb(&f.dev, 4, 2, 6);
    qpci_writeb(&f.dev, 4, 0, 9);
    qtest_wait_for(f.q, !(qtest_inb(f.q, CTL) & BSY));
    qpci_writeb(&f.dev, 4, 0, 0);
    /* Stopped before it began; then the drive is reset. */
    set_lba(&f, 0, 4);
    command(&f, 0xca);
    qtest_outb(f.q, CTL, 4);
    qtest_outb(f.q, CTL, 0);
    g_assert_cmphex(wait_ready(&f), ==, 0x50);
    qpci_writeb(&f.dev, 4, 0, 1);
    g_assert_cmphex(wait_ready(&f), ==, 0x50);
    teardown(&f);
}

static void test_trim(void)
{
    Fixture f = {0};
    uint8_t buf[512];
    setup(&f, "");
    qtest_memset(f.q, BUF, 0, 512);
    qtest_writeq(f.q, BUF, 2048ull | 1024ull << 48);
    qtest_writeq(f.q, BUF + 8, 4096ull | 8ull << 48);
    add_prd(&f, 0, BUF, 512, true);
    set_lba48(&f, 0, 1);
    qtest_outb(f.q, CMD + 1, 1);
    command(&f, 0x06);
    g_assert_cmphex(run_dma(&f, false) & 7, ==, 4);
    g_assert_cmphex(wait_ready(&f), ==, 0x50);
    set_lba(&f, 2500, 1);
    command(&f, 0x20);
    g_assert_cmphex(wait_ready(&f), ==, 0x58);
    read_words(&f, buf, 512);
    for (unsigned i = 0; i < 512; i++) {
        g_assert_cmphex(buf[i], ==, 0);
    }
    qtest_writeq(f.q, BUF, (SECTORS - 1ull) | 2ull << 48); /* beyond the end */
    set_lba48(&f, 0, 1);
    qtest_outb(f.q, CMD + 1, 1);
    command(&f, 0x06);
    g_assert_cmphex(run_dma(&f, false) & 2, ==, 2);
    g_assert_cmphex(wait_ready(&f) & ERR, ==, ERR);
    teardown(&f);
}

static void test_smart(void)
{
    Fixture f = {0};
    uint8_t buf[512], sum = 0;
    setup(&f, "");
    qtest_outb(f.q, CMD + 6, 0xa0);
    qtest_outb(f.q, CMD + 1, 0xd0);
    qtest_outb(f.q, CMD + 4, 0x4f);
    qtest_outb(f.q, CMD + 5, 0xc2);
    command(&f, 0xb0);
    g_assert_cmphex(wait_ready(&f), ==, 0x58);
    read_words(&f, buf, 512);
    for (unsigned i = 0; i < 512; i++) {
        sum = (uint8_t)(sum + buf[i]);
    }
    g_assert_cmphex(sum, ==, 0);
    qtest_outb(f.q, CMD + 1, 0xda);
    command(&f, 0xb0);
    g_assert_cmphex(wait_ready(&f), ==, 0x50);
    g_assert_cmphex(qtest_inb(f.q, CMD + 4), ==, 0x4f);
    qtest_outb(f.q, CMD + 4, 0);
    command(&f, 0xb0);
    g_assert_cmphex(wait_ready(&f), ==, 0x51);
    teardown(&f);
}

/* ---- CD-ROM ---- */

static void send_packet(Fixture *f, const uint8_t *p, bool dma, uint16_t limit)
{
    qtest_outb(f->q, f->cmd + 6, 0xa0);
    qtest_outb(f->q, f->cmd + 1, dma ? 1 : 0);
    qtest_outb(f->q, f->cmd + 4, (uint8_t)limit);
    qtest_outb(f->q, f->cmd + 5, (uint8_t)(limit >> 8));
    command(f, 0xa0);
    g_assert_cmphex(wait_ready(f) & (DRQ | ERR), ==, DRQ);
    g_assert_cmphex(qtest_inb(f->q, f->cmd + 2) & 3, ==, 1);
    for (unsigned i = 0; i < 12; i += 2) {
        qtest_outw(f->q, f->cmd, ld_le16(p + i));
    }
}

/* A packet with PIO data in; bytes that came. */
static unsigned packet_in(Fixture *f, const uint8_t *p, uint8_t *out, uint16_t limit)
{
    unsigned got = 0;
    send_packet(f, p, false, limit);
    while (wait_ready(f) & DRQ) {
        unsigned n = qtest_inb(f->q, f->cmd + 4) | (unsigned)qtest_inb(f->q, f->cmd + 5) << 8;
        g_assert_cmphex(qtest_inb(f->q, f->cmd + 2) & 3, ==, 2);
        g_assert_cmpint(n, <=, limit);
        read_words(f, out + got, n);
        got += n;
    }
    g_assert_cmphex(qtest_inb(f->q, f->cmd + 2) & 3, ==, 3);
    return got;
}

static uint8_t sense_key(Fixture *f, uint8_t *asc)
{
    static const uint8_t p[12] = {0x03, 0, 0, 0, 18};
    uint8_t b[32];
    g_assert_cmpint(packet_in(f, p, b, 0xfffe), ==, 18);
    *asc = b[12];
    return b[2] & 0x0f;
}

static void test_cd(void)
{
    static const uint8_t tur[12] = {0}, inquiry[12] = {0x12, 0, 0, 0, 36};
    static const uint8_t capacity[12] = {0x25}, toc[12] = {0x43, 0, 0, 0, 0, 0, 0, 0, 20};
    static const uint8_t read5[12] = {0x28, 0, 0, 0, 0, 3, 0, 0, 5};
    static const uint8_t beyond[12] = {0x28, 0, 0, 0, 0, 60, 0, 0, 5};
    static const uint8_t unknown[12] = {0x77};
    Fixture f = {0};
    uint8_t b[16384], asc;
    setup(&f, "");
    use(&f, true);
    g_assert_cmphex(qtest_inb(f.q, CD_CMD + 4), ==, 0x14);
    g_assert_cmphex(qtest_inb(f.q, CD_CMD + 5), ==, 0xeb);
    command(&f, 0xec);
    g_assert_cmphex(wait_ready(&f), ==, 0x51);
    command(&f, 0xa1);
    g_assert_cmphex(wait_ready(&f) & DRQ, ==, DRQ);
    read_words(&f, b, 512);
    g_assert_cmphex(ld_le16(b), ==, 0x85c0);
    send_packet(&f, tur, false, 0);
    g_assert_cmphex(wait_ready(&f), ==, 0x50);
    g_assert_cmpint(packet_in(&f, inquiry, b, 0xfffe), ==, 36);
    g_assert_cmphex(b[0], ==, 5);
    g_assert_cmpmem(b + 8, 8, "QEMU    ", 8);
    g_assert_cmpint(packet_in(&f, capacity, b, 0xfffe), ==, 8);
    g_assert_cmpint(ld_be32(b), ==, 63);
    g_assert_cmpint(packet_in(&f, toc, b, 0xfffe), ==, 20);
    g_assert_cmpint(ld_be32(b + 16), ==, 64);
    /* In pieces smaller than a sector, and all at once. */
    for (unsigned limit = 1000; limit < 0x10000; limit += 0x10000 - 1002) {
        g_assert_cmpint(packet_in(&f, read5, b, (uint16_t)limit), ==, 5 * 2048);
        for (unsigned i = 0; i < 5 * 2048; i++) {
            g_assert_cmphex(b[i], ==, pattern(3 * 2048 + i, 7));
        }
    }
    send_packet(&f, beyond, false, 0xfffe);
    g_assert_cmphex(wait_ready(&f) & ERR, ==, ERR);
    g_assert_cmphex(sense_key(&f, &asc), ==, 5);
    g_assert_cmphex(asc, ==, 0x21);
    send_packet(&f, unknown, false, 0xfffe);
    g_assert_cmphex(wait_ready(&f) & ERR, ==, ERR);
    g_assert_cmphex(sense_key(&f, &asc), ==, 5);
    g_assert_cmphex(asc, ==, 0x20);
    teardown(&f);
}

static void test_cd_dma(void)
{
    static const uint8_t read5[12] = {0xa8, 0, 0, 0, 0, 7, 0, 0, 0, 5};
    static const uint8_t raw[12] = {0xbe, 0, 0, 0, 0, 9, 0, 0, 1, 0xf8};
    static const uint8_t inquiry[12] = {0x12, 0, 0, 0, 36};
    Fixture f = {0};
    uint8_t b[16384];
    setup(&f, "");
    use(&f, true);
    add_prd(&f, 0, BUF, 5 * 2048, true);
    send_packet(&f, read5, true, 0);
    g_assert_cmphex(run_dma(&f, true) & 7, ==, 4);
    g_assert_cmphex(wait_ready(&f), ==, 0x50);
    qtest_memread(f.q, BUF, b, 5 * 2048);
    for (unsigned i = 0; i < 5 * 2048; i++) {
        g_assert_cmphex(b[i], ==, pattern(7 * 2048 + i, 7));
    }
    add_prd(&f, 0, BUF, 2352, true);
    send_packet(&f, raw, true, 0);
    g_assert_cmphex(run_dma(&f, true) & 7, ==, 4);
    qtest_memread(f.q, BUF, b, 2352);
    g_assert_cmphex(b[1], ==, 0xff);
    g_assert_cmphex(b[14], ==, 0x09); /* frame 159: 0:02.09 */
    g_assert_cmphex(b[15], ==, 1);
    g_assert_cmphex(b[16], ==, pattern(9 * 2048, 7));
    wait_ready(&f);
    add_prd(&f, 0, BUF, 36, true);
    send_packet(&f, inquiry, true, 0);
    g_assert_cmphex(run_dma(&f, true) & 7, ==, 4);
    qtest_memread(f.q, BUF, b, 36);
    g_assert_cmphex(b[0], ==, 5);
    teardown(&f);
}

static void test_tray(void)
{
    static const uint8_t lock[12] = {0x1e, 0, 0, 0, 1}, unlock[12] = {0x1e};
    static const uint8_t eject[12] = {0x1b, 0, 0, 0, 2}, load[12] = {0x1b, 0, 0, 0, 3};
    static const uint8_t tur[12] = {0}, event[12] = {0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8};
    Fixture f = {0};
    uint8_t b[16], asc;
    setup(&f, "");
    use(&f, true);
    send_packet(&f, lock, false, 0);
    g_assert_cmphex(wait_ready(&f), ==, 0x50);
    send_packet(&f, eject, false, 0);
    g_assert_cmphex(wait_ready(&f) & ERR, ==, ERR);
    g_assert_cmphex(sense_key(&f, &asc), ==, 2);
    g_assert_cmphex(asc, ==, 0x53);
    send_packet(&f, unlock, false, 0);
    wait_ready(&f);
    send_packet(&f, eject, false, 0);
    g_assert_cmphex(wait_ready(&f), ==, 0x50);
    g_assert_cmpint(packet_in(&f, event, b, 0xfffe), ==, 8);
    g_assert_cmphex(b[5], ==, 3);
    send_packet(&f, tur, false, 0);
    g_assert_cmphex(wait_ready(&f) & ERR, ==, ERR);
    g_assert_cmphex(sense_key(&f, &asc), ==, 2);
    g_assert_cmphex(asc, ==, 0x3a);
    send_packet(&f, load, false, 0);
    g_assert_cmphex(wait_ready(&f) & ERR, ==, 0);
    send_packet(&f, tur, false, 0);
    g_assert_cmphex(wait_ready(&f) & ERR, ==, ERR);
    g_assert_cmphex(sense_key(&f, &asc), ==, 6);
    g_assert_cmphex(asc, ==, 0x28);
    send_packet(&f, tur, false, 0);
    g_assert_cmphex(wait_ready(&f), ==, 0x50);
    teardown(&f);
}

/* Random writes to every register: nothing but the guest's own disk may suffer. */
static void test_noise(void)
{
    Fixture f = {0};
    GRand *rng = g_rand_new_with_seed(5);
    setup(&f, "-drive if=ide,index=1,driver=null-co,size=1M");
    for (int i = 0; i < 6000; i++) {
        bool second = g_rand_boolean(rng);
        uint16_t base = second ? CD_CMD : CMD;
        uint8_t v = (uint8_t)g_rand_int(rng);
        switch (g_rand_int_range(rng, 0, 6)) {
        case 0:
            qtest_outb(f.q, (uint16_t)(base + g_rand_int_range(rng, 1, 8)), v);
            break;
        case 1:
            qtest_outw(f.q, base, (uint16_t)g_rand_int(rng));
            break;
        case 2:
            qtest_inl(f.q, base);
            break;
        case 3:
            qpci_writeb(&f.dev, 4, (uint64_t)g_rand_int_range(rng, 0, 16), v);
            break;
        case 4:
            qtest_inb(f.q, (uint16_t)(base + g_rand_int_range(rng, 0, 8)));
            break;
        default:
            if (v < 8) {
                qtest_outb(f.q, second ? CD_CTL : CTL, v);
            } else {
                qpci_readl(&f.dev, 4, (uint64_t)g_rand_int_range(rng, 0, 4) * 4);
            }
            break;
        }
    }
    g_rand_free(rng);
    qtest_outb(f.q, CTL, 4);
    qtest_outb(f.q, CTL, 0);
    g_assert_cmphex(wait_ready(&f), ==, 0x50);
    teardown(&f);
}

/* The firmware learns of a disk's geometry however the disk was made. */
static void test_geometry(void)
{
    QTest *q = qtest_start("-machine pc -nodefaults -blockdev null-co,node-name=n,size=64M "
                           "-device ide-hd,bus=ide.0,unit=1,drive=n,cyls=100,heads=8,secs=32");
    static const struct {
        uint8_t index, value;
    } want[] = {{0x12, 0x0f}, {0x1a, 47}, {0x24, 100}, {0x25, 0}, {0x26, 8}, {0x2c, 32}};
    for (unsigned i = 0; i < G_N_ELEMENTS(want); i++) {
        qtest_outb(q, 0x70, want[i].index);
        g_assert_cmphex(qtest_inb(q, 0x71), ==, want[i].value);
    }
    qtest_quit(q);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ide/identify", test_identify);
    g_test_add_func("/ide/pio", test_pio);
    g_test_add_func("/ide/errors", test_errors);
    g_test_add_func("/ide/dma", test_dma);
    g_test_add_func("/ide/dma-errors", test_dma_errors);
    g_test_add_func("/ide/trim", test_trim);
    g_test_add_func("/ide/smart", test_smart);
    g_test_add_func("/ide/cd", test_cd);
    g_test_add_func("/ide/cd-dma", test_cd_dma);
    g_test_add_func("/ide/tray", test_tray);
    g_test_add_func("/ide/noise", test_noise);
    g_test_add_func("/ide/geometry", test_geometry);
    return g_test_run();
}
