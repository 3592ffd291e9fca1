/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The floppy controller of a whole PC: read by DMA, change of the medium, types in CMOS. */
#include "tests/qtest/libqtest.h"

#include <string.h>

static char *make_image(const char *name, size_t size, char byte)
{
    char *path = g_strdup_printf("%s/%s", qtest_tmpdir(NULL), name);
    g_autofree char *data = g_malloc(size);

    memset(data, byte, size);
    g_assert_true(g_file_set_contents(path, data, (gssize)size, NULL));
    return path;
}

static void send(QTest *q, const uint8_t *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        g_assert_cmphex(qtest_inb(q, 0x3f4) & 0xc0, ==, 0x80);
        qtest_outb(q, 0x3f5, b[i]);
    }
}

static void read_sector(QTest *q, uint8_t unit, uint8_t expect_st0, uint8_t byte)
{
    const uint8_t cmd[] = {0xe6, unit, 0, 0, 1, 2, 9, 0x1b, 0xff};
    uint8_t r[7];

    qtest_outb(q, 0x0a, 0x06);
    qtest_outb(q, 0x0c, 0);
    qtest_outb(q, 0x0b, 0x46);
    qtest_outb(q, 0x04, 0x00);
    qtest_outb(q, 0x04, 0x10);
    qtest_outb(q, 0x81, 0);
    qtest_outb(q, 0x05, 0xff);
    qtest_outb(q, 0x05, 0x01);
    qtest_outb(q, 0x0a, 0x02);
    send(q, cmd, sizeof(cmd));
    qtest_wait_for(q, qtest_irq(q, 6));
    for (int i = 0; i < 7; i++) {
        g_assert_cmphex(qtest_inb(q, 0x3f4) & 0xd0, ==, 0xd0);
        r[i] = qtest_inb(q, 0x3f5);
    }
    g_assert_cmphex(r[0], ==, expect_st0);
    g_assert_false(qtest_irq(q, 6));
    if (!(expect_st0 & 0x40)) {
        g_assert_cmphex(qtest_readb(q, 0x1000), ==, byte);
        g_assert_cmphex(qtest_readb(q, 0x11ff), ==, byte);
    }
}

static uint8_t cmos(QTest *q, uint8_t i)
{
    qtest_outb(q, 0x70, i);
    return qtest_inb(q, 0x71);
}

static void test_read(void)
{
    g_autofree char *a = make_image("a.img", 1440 * 1024, 'A');
    g_autofree char *b = make_image("b.img", 1200 * 1024, 'B');
    QTest *q = qtest_start("-machine pc -m 16 -drive file=%s,format=raw,if=floppy "
                           "-drive file=%s,format=raw,if=floppy,index=1",
                           a, b);

    qtest_irq_intercept_in(q, "ioapic");
    g_assert_cmphex(cmos(q, 0x10), ==, 0x42);
    read_sector(q, 0, 0x00, 'A');
    read_sector(q, 1, 0x01, 'B');
    qtest_quit(q);
}

static void test_empty(void)
{
    QTest *q = qtest_start("-machine pc -m 16 -device floppy,unit=0,drive-type=144");

    qtest_irq_intercept_in(q, "ioapic");
    g_assert_cmphex(qtest_inb(q, 0x3f7) & 0x80, ==, 0x80);
    read_sector(q, 0, 0x40, 0);
    qtest_quit(q);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fdc/read", test_read);
    g_test_add_func("/fdc/empty", test_empty);
    return g_test_run();
}
