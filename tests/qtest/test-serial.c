/* SPDX-License-Identifier: GPL-2.0-or-later */
/* isa-serial, isa-parallel and isa-debugcon on a whole PC. */
#include "tests/qtest/libqtest.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define COM1 0x3f8

static int connect_to(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(a.sun_path, path, sizeof(a.sun_path));
    g_assert_cmpint(connect(fd, (struct sockaddr *)&a, sizeof(a)), ==, 0);
    return fd;
}

/* A port whose other end is `*fd`. */
static QTest *start(int *fd)
{
    g_autofree char *path = g_strdup_printf("%s/line", qtest_tmpdir(NULL));
    QTest *q = qtest_start("-machine pc -chardev socket,id=c,path=%s,server=on,wait=off "
                           "-device isa-serial,chardev=c",
                           path);

    *fd = connect_to(path);
    return q;
}

static void read_all(QTest *q, int fd, char *buf, size_t n)
{
    size_t got = 0;

    while (got < n) {
        ssize_t k = recv(fd, buf + got, n - got, MSG_DONTWAIT);

        if (k > 0) {
            got += (size_t)k;
        } else {
            qtest_breathe(q);
        }
    }
}

static void test_transmit(void)
{
    int fd;
    QTest *q = start(&fd);
    char buf[8];

    g_assert_cmphex(qtest_inb(q, COM1 + 5), ==, 0x60);
    for (const char *p = "hello"; *p; p++) {
        qtest_outb(q, COM1, (uint8_t)*p);
    }
    read_all(q, fd, buf, 5);
    g_assert_cmpmem(buf, 5, "hello", 5);
    /* The interrupt of an empty register: at once, and gone when it was read. */
    qtest_irq_intercept_in(q, "ioapic");
    qtest_outb(q, COM1 + 4, 0x0b);
    qtest_outb(q, COM1 + 1, 0x02);
    g_assert_true(qtest_irq(q, 4));
    g_assert_cmphex(qtest_inb(q, COM1 + 2), ==, 0x02);
    g_assert_false(qtest_irq(q, 4));
    g_assert_cmphex(qtest_inb(q, COM1 + 2), ==, 0x01);
    close(fd);
    qtest_quit(q);
}

static void test_receive(void)
{
    int fd;
    QTest *q = start(&fd);

    qtest_irq_intercept_in(q, "ioapic");
    qtest_outb(q, COM1 + 2, 0x81); /* FIFO, trigger at 8 */
    qtest_outb(q, COM1 + 1, 0x01);
    g_assert_cmpint(write(fd, "abc", 3), ==, 3);
    qtest_wait_for(q, qtest_inb(q, COM1 + 5) & 1);
    qtest_clock_step(q, 10000000);
    g_assert_true(qtest_irq(q, 4)); /* fewer than eight, but the line is idle */
    g_assert_cmphex(qtest_inb(q, COM1 + 2), ==, 0xcc);
    g_assert_cmphex(qtest_inb(q, COM1), ==, 'a');
    g_assert_cmphex(qtest_inb(q, COM1), ==, 'b');
    g_assert_cmphex(qtest_inb(q, COM1), ==, 'c');
    g_assert_cmphex(qtest_inb(q, COM1 + 5) & 1, ==, 0);
    g_assert_false(qtest_irq(q, 4));
    g_assert_cmpint(write(fd, "0123456789abcdefXYZ", 19), ==, 19);
    qtest_wait_for(q, qtest_inb(q, COM1 + 2) == 0xc4);
    for (const char *p = "0123456789abcdefXYZ"; *p; p++) {
        qtest_wait_for(q, qtest_inb(q, COM1 + 5) & 1);
        g_assert_cmphex(qtest_inb(q, COM1), ==, *p);
    }
    g_assert_cmphex(qtest_inb(q, COM1 + 5) & 2, ==, 0); /* nothing was overrun */
    close(fd);
    qtest_quit(q);
}

static void test_registers(void)
{
    QTest *q = qtest_start("-machine pc -device isa-serial -device isa-serial");

    for (uint16_t base = 0x3f8; base >= 0x2f8; base -= 0x100) {
        qtest_outb(q, base + 3, 0x83);
        qtest_outb(q, base, 0x34);
        qtest_outb(q, base + 1, 0x12);
        g_assert_cmphex(qtest_inb(q, base), ==, 0x34);
        g_assert_cmphex(qtest_inb(q, base + 1), ==, 0x12);
        qtest_outb(q, base + 3, 0x03);
        qtest_outb(q, base + 1, 0xff);
        g_assert_cmphex(qtest_inb(q, base + 1), ==, 0x0f);
        qtest_outb(q, base + 1, 0);
        qtest_outb(q, base + 7, 0xa5);
        g_assert_cmphex(qtest_inb(q, base + 7), ==, 0xa5);
        g_assert_cmphex(qtest_inb(q, base + 6), ==, 0xb0);
        /* Loopback: bytes and modem lines come back. */
        qtest_outb(q, base + 4, 0x1a);
        g_assert_cmphex(qtest_inb(q, base + 6) & 0xf0, ==, 0x90);
        qtest_outb(q, base, 0x77);
        g_assert_cmphex(qtest_inb(q, base + 5) & 1, ==, 1);
        g_assert_cmphex(qtest_inb(q, base), ==, 0x77);
        qtest_outb(q, base + 4, 0);
    }
    qtest_quit(q);
}

static void test_debugcon(void)
{
    g_autofree char *path = g_strdup_printf("%s/debug", qtest_tmpdir(NULL));
    g_autofree char *text = NULL;
    QTest *q = qtest_start("-machine pc -chardev file,id=d,path=%s "
                           "-device isa-debugcon,iobase=0x402,chardev=d -device isa-parallel",
                           path);

    g_assert_cmphex(qtest_inb(q, 0x402), ==, 0xe9);
    for (const char *p = "log\n"; *p; p++) {
        qtest_outb(q, 0x402, (uint8_t)*p);
    }
    qtest_outb(q, 0x378, 0x5a);
    g_assert_cmphex(qtest_inb(q, 0x378), ==, 0x5a);
    g_assert_cmphex(qtest_inb(q, 0x379) & 0xf8, ==, 0xd8);
    qtest_outb(q, 0x37a, 0x0d); /* strobe */
    qtest_outb(q, 0x37a, 0x0c);
    g_assert_cmphex(qtest_inb(q, 0x379) & 0x40, ==, 0);
    g_assert_cmphex(qtest_inb(q, 0x379) & 0x40, ==, 0x40);
    qtest_quit(q);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "log\n");
}

static void test_mistakes(void)
{
    g_autofree char *a = NULL, *b = NULL;

    g_assert_cmpint(qtest_run_to_end(&a, "-machine pc -device isa-serial,irq=77"), ==, 1);
    g_assert_nonnull(strstr(a, "irq=77"));
    g_assert_cmpint(qtest_run_to_end(&b, "-machine pc -device isa-serial,baudbase=0"), ==, 1);
    g_assert_nonnull(strstr(b, "baudbase"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/serial/transmit", test_transmit);
    g_test_add_func("/serial/receive", test_receive);
    g_test_add_func("/serial/registers", test_registers);
    g_test_add_func("/serial/debugcon-parallel", test_debugcon);
    g_test_add_func("/serial/mistakes", test_mistakes);
    return g_test_run();
}
