/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys and mouse from QMP to the ports. */
#include "tests/qtest/libqtest.h"

static uint8_t next_byte(QTest *q)
{
    qtest_wait_for(q, qtest_inb(q, 0x64) & 1);
    return qtest_inb(q, 0x60);
}

static void test_key(void)
{
    QTest *q = qtest_start("-machine pc");

    qtest_irq_intercept_in(q, "ioapic");
    qtest_outb(q, 0x64, 0x60);
    qtest_outb(q, 0x60, 0x47);
    json_unref(qtest_qmp(q, "input-send-event",
                         "{'events':[{'type':'key','data':{'down':true,'key':"
                         "{'type':'qcode','data':'a'}}},{'type':'key','data':{'down':false,'key':"
                         "{'type':'qcode','data':'a'}}}]}"));
    g_assert_true(qtest_irq(q, 1));
    g_assert_cmphex(next_byte(q), ==, 0x1e);
    g_assert_false(qtest_irq(q, 1));
    g_assert_cmphex(next_byte(q), ==, 0x9e);
    g_free(qtest_hmp(q, "sendkey ctrl-alt-delete 1"));
    g_assert_cmphex(next_byte(q), ==, 0x1d);
    g_assert_cmphex(next_byte(q), ==, 0x38);
    g_assert_cmphex(next_byte(q), ==, 0xe0);
    g_assert_cmphex(next_byte(q), ==, 0x53);
    qtest_quit(q);
}

static void test_mouse(void)
{
    QTest *q = qtest_start("-machine pc");

    qtest_irq_intercept_in(q, "ioapic");
    qtest_outb(q, 0x64, 0x60);
    qtest_outb(q, 0x60, 0x47);
    qtest_outb(q, 0x64, 0xd4);
    qtest_outb(q, 0x60, 0xf4);
    g_assert_cmphex(next_byte(q), ==, 0xfa);
    json_unref(qtest_qmp(q, "input-send-event",
                         "{'events':[{'type':'rel','data':{'axis':'x','value':5}},"
                         "{'type':'rel','data':{'axis':'y','value':-7}},"
                         "{'type':'btn','data':{'down':true,'button':'right'}}]}"));
    qtest_wait_for(q, qtest_inb(q, 0x64) & 1);
    g_assert_true(qtest_irq(q, 12));
    g_assert_cmphex(qtest_inb(q, 0x64) & 0x21, ==, 0x21);
    g_assert_cmphex(next_byte(q), ==, 0x0a);
    g_assert_cmphex(next_byte(q), ==, 5);
    g_assert_cmphex(next_byte(q), ==, 7);
    qtest_quit(q);
}

static void test_reset(void)
{
    QTest *q = qtest_start("-machine pc");
    Json *ev;

    qtest_outb(q, 0x64, 0xfe);
    ev = qtest_qmp_event(q, "RESET");
    json_unref(ev);
    qtest_quit(q);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/i8042/key", test_key);
    g_test_add_func("/i8042/mouse", test_mouse);
    g_test_add_func("/i8042/reset", test_reset);
    return g_test_run();
}
