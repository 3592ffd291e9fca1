/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/qtest/libqtest-pci.h"

#include <stdio.h>
#include <string.h>

typedef struct Fixture {
    QTest *q;
    QPci pci;
    QPciDev d;
} Fixture;

static void setup(Fixture *f)
{
    f->q = qtest_start("-machine pc -m 64 -device VGA");
    qpci_init(&f->pci, f->q);
    g_assert_true(qpci_find(&f->pci, &f->d, 0x1234, 0x1111));
    qpci_enable(&f->d);
    qpci_map(&f->d, 0);
    qpci_map(&f->d, 2);
    qtest_outb(f->q, 0x3c2, 0x67); /* RAM on, colour ports */
}

static void index_write(Fixture *f, uint16_t port, uint8_t index, uint8_t v)
{
    qtest_outw(f->q, port, (uint16_t)(v << 8 | index));
}

static void test_registers(void)
{
    Fixture f;
    setup(&f);
    g_assert_cmphex(qtest_inb(f.q, 0x3cc), ==, 0x67);
    g_assert_cmphex(qtest_inb(f.q, 0x3b5), ==, 0xff); /* the monochrome ports are off */
    index_write(&f, 0x3d4, 0x00, 0x5f);
    index_write(&f, 0x3d4, 0x11, 0x80); /* protect 0-7 */
    index_write(&f, 0x3d4, 0x00, 0x11);
    qtest_outb(f.q, 0x3d4, 0x00);
    g_assert_cmphex(qtest_inb(f.q, 0x3d5), ==, 0x5f);
    qtest_outb(f.q, 0x3c8, 7);
    for (uint8_t v = 1; v <= 3; v++) {
        qtest_outb(f.q, 0x3c9, v);
    }
    qtest_outb(f.q, 0x3c7, 7);
    for (uint8_t v = 1; v <= 3; v++) {
        g_assert_cmpuint(qtest_inb(f.q, 0x3c9), ==, v);
    }
    qtest_inb(f.q, 0x3da); /* resets the flip-flop */
    qtest_outb(f.q, 0x3c0, 0x05);
    qtest_outb(f.q, 0x3c0, 0x2a);
    qtest_outb(f.q, 0x3c0, 0x05);
    g_assert_cmphex(qtest_inb(f.q, 0x3c1), ==, 0x2a);
    qtest_quit(f.q);
}

static void test_planes(void)
{
    Fixture f;
    setup(&f);
    index_write(&f, 0x3ce, 6, 0x05); /* graphics, A0000h 64 KiB */
    index_write(&f, 0x3c4, 4, 0x06);
    index_write(&f, 0x3ce, 8, 0xff);
    for (uint8_t plane = 0; plane < 4; plane++) {
        index_write(&f, 0x3c4, 2, (uint8_t)(1 << plane));
        qtest_writeb(f.q, 0xa0010, (uint8_t)(0x10 + plane));
    }
    for (uint8_t plane = 0; plane < 4; plane++) {
        index_write(&f, 0x3ce, 4, plane);
        g_assert_cmphex(qtest_readb(f.q, 0xa0010), ==, 0x10 + plane);
    }
    /* Write mode 1 copies all planes by the latches. */
    index_write(&f, 0x3c4, 2, 0x0f);
    index_write(&f, 0x3ce, 5, 1);
    qtest_readb(f.q, 0xa0010);
    qtest_writeb(f.q, 0xa0020, 0);
    index_write(&f, 0x3ce, 5, 0);
    index_write(&f, 0x3ce, 4, 3);
    g_assert_cmphex(qtest_readb(f.q, 0xa0020), ==, 0x13);
    /* Set/reset and bit mask; read mode 1 compares colours. */
    index_write(&f, 0x3ce, 0, 0x05);
    index_write(&f, 0x3ce, 1, 0x0f);
    index_write(&f, 0x3ce, 8, 0xff);
    qtest_writeb(f.q, 0xa0030, 0);
    index_write(&f, 0x3ce, 5, 8);
    index_write(&f, 0x3ce, 2, 0x05);
    index_write(&f, 0x3ce, 7, 0x0f);
    g_assert_cmphex(qtest_readb(f.q, 0xa0030), ==, 0xff);
    index_write(&f, 0x3ce, 2, 0x04);
    g_assert_cmphex(qtest_readb(f.q, 0xa0030), ==, 0x00);
    /* Outside the chosen window there is nothing. */
    g_assert_cmphex(qtest_readb(f.q, 0xb8000), ==, 0xff);
    qtest_quit(f.q);
}

static uint16_t vbe(Fixture *f, uint16_t reg)
{
    qtest_outw(f->q, 0x1ce, reg);
    return qtest_inw(f->q, 0x1cf);
}

static void vbe_set(Fixture *f, uint16_t reg, uint16_t v)
{
    qtest_outw(f->q, 0x1ce, reg);
    qtest_outw(f->q, 0x1cf, v);
}

static void set_mode(Fixture *f, uint16_t w, uint16_t h, uint16_t bpp)
{
    vbe_set(f, 4, 0);
    vbe_set(f, 1, w);
    vbe_set(f, 2, h);
    vbe_set(f, 3, bpp);
    vbe_set(f, 4, 0x41);
}

/* The picture as a viewer gets it. */
static void dump(Fixture *f, int *w, int *h, uint8_t **rgb, char **storage)
{
    g_autofree char *path = g_build_filename(qtest_tmpdir(f->q), "dump.ppm", NULL);
    gsize len;
    int header = 0;
    json_unref(qtest_qmp(f->q, "screendump", "{\"filename\": \"%s\"}", path));
    g_assert_true(g_file_get_contents(path, storage, &len, NULL));
    g_assert_cmpint(sscanf(*storage, "P6 %d %d 255%n", w, h, &header), ==, 2);
    *rgb = (uint8_t *)*storage + header + 1;
    g_assert_cmpuint(len, ==, (gsize)(header + 1 + *w * *h * 3));
}

static void test_vbe(void)
{
    Fixture f;
    int w, h;
    uint8_t *rgb;
    setup(&f);
    g_assert_cmphex(vbe(&f, 0), ==, 0xb0c5);
    g_assert_cmpuint(vbe(&f, 10), ==, 256); /* 16 MiB */
    set_mode(&f, 640, 480, 32);
    g_assert_cmpuint(vbe(&f, 6), ==, 640);
    qpci_writel(&f.d, 0, (640 * 10 + 20) * 4, 0x00123456);
    {
        g_autofree char *storage = NULL;
        dump(&f, &w, &h, &rgb, &storage);
        g_assert_cmpint(w, ==, 640);
        g_assert_cmpint(h, ==, 480);
        g_assert_cmphex(rgb[(640 * 10 + 20) * 3], ==, 0x12);
        g_assert_cmphex(rgb[(640 * 10 + 20) * 3 + 2], ==, 0x56);
    }
    /* Later writes are seen through the dirty log. */
    qpci_writel(&f.d, 0, (640 * 11 + 21) * 4, 0x00abcdef);
    g_autofree char *storage = NULL;
    dump(&f, &w, &h, &rgb, &storage);
    g_assert_cmphex(rgb[(640 * 11 + 21) * 3 + 1], ==, 0xcd);
    qtest_quit(f.q);
}

/* Modes that don't fit the memory are cut to what does. */
static void test_vbe_limits(void)
{
    Fixture f;
    int w, h;
    uint8_t *rgb;
    setup(&f);
    set_mode(&f, 0xffff, 0xffff, 32);
    uint32_t bytes = vbe(&f, 6) * 4u * vbe(&f, 2);
    g_assert_cmpuint(bytes, <=, 16u << 20);
    g_assert_cmpuint(bytes, >, 0);
    vbe_set(&f, 9, 0xffff);
    vbe_set(&f, 8, 0xffff);
    vbe_set(&f, 6, 0xffff);
    vbe_set(&f, 3, 77);
    g_autofree char *storage = NULL;
    dump(&f, &w, &h, &rgb, &storage);
    set_mode(&f, 0, 0, 4);
    qtest_quit(f.q);
}

static void test_text(void)
{
    Fixture f;
    int w, h;
    uint8_t *rgb;
    setup(&f);
    static const uint8_t crtc[] = {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00,
                                   0x4f, 0x20, 0x0e, 0,    0,    0,    0,    0x9c, 0x0e,
                                   0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff};
    index_write(&f, 0x3c4, 1, 0);
    index_write(&f, 0x3c4, 2, 4); /* a font: character 41h is a full block */
    index_write(&f, 0x3c4, 4, 6);
    index_write(&f, 0x3ce, 6, 4);
    index_write(&f, 0x3ce, 8, 0xff);
    qtest_memset(f.q, 0xa0000 + 0x41 * 32, 0xff, 16);
    index_write(&f, 0x3c4, 2, 3);
    index_write(&f, 0x3c4, 4, 2);
    index_write(&f, 0x3ce, 5, 0x10);
    index_write(&f, 0x3ce, 6, 0x0e);
    for (uint8_t i = 0; i < sizeof(crtc); i++) {
        index_write(&f, 0x3d4, i, crtc[i]);
    }
    qtest_inb(f.q, 0x3da);
    for (uint8_t i = 0; i < 16; i++) {
        qtest_outb(f.q, 0x3c0, i);
        qtest_outb(f.q, 0x3c0, i);
    }
    qtest_outb(f.q, 0x3c0, 0x12);
    qtest_outb(f.q, 0x3c0, 0x0f);
    qtest_outb(f.q, 0x3c0, 0x20);
    qtest_outb(f.q, 0x3c8, 1);
    qtest_outb(f.q, 0x3c9, 0);
    qtest_outb(f.q, 0x3c9, 0);
    qtest_outb(f.q, 0x3c9, 63);
    qtest_writew(f.q, 0xb8000 + 2, 0x0141); /* second cell, colour 1 */
    g_autofree char *storage = NULL;
    dump(&f, &w, &h, &rgb, &storage);
    g_assert_cmpint(w, ==, 720);
    g_assert_cmpint(h, ==, 400);
    g_assert_cmphex(rgb[(720 * 4 + 9 + 3) * 3 + 2], ==, 0xff);
    g_assert_cmphex(rgb[(720 * 4 + 3) * 3 + 2], ==, 0x00);
    qtest_quit(f.q);
}

static void test_edid(void)
{
    Fixture f;
    uint8_t sum = 0;
    setup(&f);
    g_assert_cmphex(qpci_readl(&f.d, 2, 0), ==, 0xffffff00);
    for (unsigned i = 0; i < 128; i++) {
        sum = (uint8_t)(sum + qpci_readb(&f.d, 2, i));
    }
    g_assert_cmpuint(sum, ==, 0);
    g_assert_cmphex(qpci_readw(&f.d, 2, 0x500), ==, 0xb0c5);
    qtest_quit(f.q);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vga/registers", test_registers);
    g_test_add_func("/vga/planes", test_planes);
    g_test_add_func("/vga/vbe", test_vbe);
    g_test_add_func("/vga/vbe-limits", test_vbe_limits);
    g_test_add_func("/vga/text", test_text);
    g_test_add_func("/vga/edid", test_edid);
    return g_test_run();
}
