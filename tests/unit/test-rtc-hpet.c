/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The clock with its alarm, and the HPET. */
#include "chips-test.h"
#include "hw/timer/hpet.h"
#include "hw/timer/mc146818.h"

static uint8_t cmos(Board *b, uint8_t i)
{
    outb(b, 0x70, i);
    return inb(b, 0x71);
}
static void set_cmos(Board *b, uint8_t i, uint8_t v)
{
    outb(b, 0x70, i);
    outb(b, 0x71, v);
}

/* The guest's clock runs on CLOCK_VIRTUAL here, as with -rtc clock=vm. */
static Mc146818 *rtc_new(Board *b)
{
    b->m->rtc_clock = CLOCK_VIRTUAL;
    b->m->rtc_offset_ns = 951782399ll * NS_PER_SEC - clock_now(b->m->clocks, CLOCK_HOST);
    return mc146818_new(b->m, &b->isa, (IrqLine){0}, NULL);
}

static void set_time(Board *b, const uint8_t t[7])
{
    static const uint8_t regs[] = {0, 2, 4, 7, 8, 9, 0x32};

    set_cmos(b, 0x0b, cmos(b, 0x0b) | 0x80);
    for (int i = 0; i < 7; i++) {
        set_cmos(b, regs[i], t[i]);
    }
    set_cmos(b, 0x0b, cmos(b, 0x0b) & 0x7f);
}

static void test_time(void)
{
    static const uint8_t newyear[] = {0x58, 0x59, 0x23, 0x28, 0x02, 0x00, 0x20};
    Board *b = board_new();

    g_assert_nonnull(rtc_new(b));
    g_assert_cmphex(cmos(b, 0x0d), ==, 0x80);
    g_assert_cmphex(cmos(b, 0x0a), ==, 0x26);
    set_time(b, newyear); /* 2000-02-28 23:59:58 */
    g_assert_cmpint(b->events, ==, 1);
    g_assert_cmpstr(b->last_event, ==, "RTC_CHANGE");
    step(b, 2 * NS_PER_SEC);
    g_assert_cmphex(cmos(b, 7), ==, 0x29); /* a leap year */
    g_assert_cmphex(cmos(b, 4), ==, 0x00);
    g_assert_cmphex(cmos(b, 6), ==, 0x03); /* a Tuesday */
    step(b, 86400 * NS_PER_SEC);
    g_assert_cmphex(cmos(b, 7), ==, 0x01);
    g_assert_cmphex(cmos(b, 8), ==, 0x03);
    /* Binary and 12 hours. */
    set_cmos(b, 0x0b, 0x04);
    step(b, 15 * 3600 * NS_PER_SEC);
    g_assert_cmphex(cmos(b, 4), ==, 0x83);
    set_cmos(b, 0x0b, 0x00);
    step(b, 8 * 3600 * NS_PER_SEC);
    g_assert_cmphex(cmos(b, 4), ==, 0x91);
    step(b, 3600 * NS_PER_SEC);
    g_assert_cmphex(cmos(b, 4), ==, 0x12);
    board_free(b);
}

static void test_update(void)
{
    Board *b = board_new();
    int uip = 0;

    rtc_new(b);
    set_cmos(b, 1, 0x30); /* an alarm that does not come now */
    set_cmos(b, 0x0b, 0x12);
    cmos(b, 0x0c);
    b->raised[8] = 0;
    for (int i = 0; i < 10000; i++) {
        step(b, 100 * NS_PER_US);
        uip += cmos(b, 0x0a) >> 7;
    }
    g_assert_cmpint(uip, >=, 1);
    g_assert_cmpint(uip, <=, 4);
    g_assert_cmpuint(b->raised[8], ==, 1);
    g_assert_cmphex(cmos(b, 0x0c) & 0xb0, ==, 0x90);
    g_assert_false(b->level[8]);
    g_assert_cmphex(cmos(b, 0x0c) & 0xb0, ==, 0);
    /* Held: neither updates nor a ticking time. */
    set_cmos(b, 0x0b, 0x82);
    uint8_t s = cmos(b, 0);
    step(b, 3 * NS_PER_SEC);
    g_assert_cmphex(cmos(b, 0), ==, s);
    g_assert_cmphex(cmos(b, 0x0c) & 0xb0, ==, 0);
    board_free(b);
}

static void test_alarm(void)
{
    static const uint8_t t[] = {0x00, 0x30, 0x10, 0x01, 0x06, 0x21, 0x20};
    Board *b = board_new();

    rtc_new(b);
    set_time(b, t);
    set_cmos(b, 1, 0x05);
    set_cmos(b, 3, 0xff); /* every minute */
    set_cmos(b, 5, 0xc0);
    set_cmos(b, 0x0b, 0x22);
    cmos(b, 0x0c);
    b->raised[8] = 0;
    step(b, 6 * NS_PER_SEC);
    g_assert_cmpuint(b->raised[8], ==, 1);
    g_assert_cmphex(cmos(b, 0x0c) & 0xa0, ==, 0xa0);
    step(b, 50 * NS_PER_SEC);
    g_assert_cmpuint(b->raised[8], ==, 1);
    step(b, 10 * NS_PER_SEC);
    g_assert_cmpuint(b->raised[8], ==, 2);
    cmos(b, 0x0c);
    set_cmos(b, 3, 0x00); /* 12:00:05 */
    set_cmos(b, 5, 0x12);
    step(b, 3600 * NS_PER_SEC);
    g_assert_cmpuint(b->raised[8], ==, 2);
    step(b, 3600 * NS_PER_SEC);
    g_assert_cmpuint(b->raised[8], ==, 3);
    board_free(b);
}

static void test_periodic(void)
{
    Board *b = board_new();
    unsigned n = 0;

    rtc_new(b);
    set_cmos(b, 0x0a, 0x26); /* 1024 Hz */
    set_cmos(b, 0x0b, 0x42);
    cmos(b, 0x0c);
    b->raised[8] = 0;
    for (int i = 0; i < 5000; i++) {
        step(b, 200 * NS_PER_US);
        n += cmos(b, 0x0c) >> 6 & 1;
    }
    g_assert_cmpuint(n, >=, 1023);
    g_assert_cmpuint(n, <=, 1025);
    g_assert_cmpuint(b->raised[8], ==, n);
    board_free(b);
}

static void test_memory(void)
{
    Board *b = board_new();
    Mc146818 *s = rtc_new(b);

    mc146818_set(s, 0x10, 0x40);
    g_assert_cmphex(cmos(b, 0x10), ==, 0x40);
    set_cmos(b, 0x7f, 0xa5);
    g_assert_cmphex(mc146818_get(s, 0x7f), ==, 0xa5);
    g_assert_cmphex(cmos(b, 0x90), ==, 0x40); /* bit 7 is the NMI mask */
    board_free(b);
}

/* ---- HPET ---- */

static bool gsi_level[32];
static unsigned gsi_raised[32];

static void gsi_set(void *opaque, int n, int level)
{
    if (level && !gsi_level[n]) {
        gsi_raised[n]++;
    }
    gsi_level[n] = level;
}

static Hpet *make_hpet(Board *b)
{
    IrqLine lines[HPET_IRQS];
    Hpet *h;

    memset(gsi_raised, 0, sizeof(gsi_raised));
    memset(gsi_level, 0, sizeof(gsi_level));
    for (int i = 0; i < HPET_IRQS; i++) {
        lines[i] = (IrqLine){.set = gsi_set, .n = i};
    }
    h = hpet_new(b->m, 0xff0104, lines, board_irq(b, 0), board_irq(b, 8), NULL);
    g_assert_nonnull(h);
    region_add_overlap(&b->m->memory, HPET_BASE, hpet_region(h), 1);
    return h;
}

static void hpet_done(Board *b, Hpet *h)
{
    loop_lock(b->m->platform);
    device_unrealize((Device *)h);
    loop_unlock(b->m->platform);
    board_free(b);
}

static void test_hpet_counter(void)
{
    Board *b = board_new();
    Hpet *h = make_hpet(b);

    g_assert_cmphex(mem_read(b, HPET_BASE, 8), ==, 0x989680ull << 32 | 0x8086a201);
    g_assert_cmphex(hpet_event_block_id(h), ==, 0x8086a201);
    step(b, 1000);
    g_assert_cmpuint(mem_read(b, HPET_BASE + 0xf0, 8), ==, 0);
    mem_write(b, HPET_BASE + 0xf0, 8, 0xfffffff0);
    mem_write(b, HPET_BASE + 0x10, 8, 1);
    step(b, 1000);
    g_assert_cmphex(mem_read(b, HPET_BASE + 0xf0, 8), ==, 0x100000054);
    g_assert_cmphex(mem_read(b, HPET_BASE + 0xf4, 4), ==, 1);
    mem_write(b, HPET_BASE + 0x10, 8, 0);
    step(b, 1000);
    g_assert_cmphex(mem_read(b, HPET_BASE + 0xf0, 8), ==, 0x100000054);
    hpet_done(b, h);
}

static void test_hpet_timers(void)
{
    Board *b = board_new();
    Hpet *h = make_hpet(b);

    mem_write(b, HPET_BASE + 0x120, 8, 20 << 9 | 4); /* timer 1, edge, GSI 20 */
    mem_write(b, HPET_BASE + 0x128, 8, 1000);
    mem_write(b, HPET_BASE + 0x10, 8, 1);
    step(b, 9990);
    g_assert_cmpuint(gsi_raised[20], ==, 0);
    step(b, 20);
    g_assert_cmpuint(gsi_raised[20], ==, 1);
    g_assert_false(gsi_level[20]);
    /* Periodic: first match, then the period. */
    mem_write(b, HPET_BASE + 0x100, 8, 2 << 9 | 0x4c);
    mem_write(b, HPET_BASE + 0x108, 8, mem_read(b, HPET_BASE + 0xf0, 8) + 100000);
    mem_write(b, HPET_BASE + 0x108, 8, 100000); /* 1 ms */
    step(b, 10 * NS_PER_MS + 10);
    g_assert_cmpuint(gsi_raised[2], ==, 10);
    mem_write(b, HPET_BASE + 0x100, 8, 0);
    /* Level: stays until the status bit is cleared. */
    mem_write(b, HPET_BASE + 0x140, 8, 21 << 9 | 0x106);
    mem_write(b, HPET_BASE + 0x148, 4, mem_read(b, HPET_BASE + 0xf0, 4) + 10);
    step(b, 1000);
    g_assert_true(gsi_level[21]);
    g_assert_cmphex(mem_read(b, HPET_BASE + 0x20, 4), ==, 4);
    mem_write(b, HPET_BASE + 0x20, 4, 4);
    g_assert_false(gsi_level[21]);
    g_assert_cmphex(mem_read(b, HPET_BASE + 0x20, 4), ==, 0);
    /* A route that there is not. */
    mem_write(b, HPET_BASE + 0x140, 8, 3 << 9 | 4);
    g_assert_cmphex(mem_read(b, HPET_BASE + 0x140, 8) >> 9 & 31, ==, 21);
    hpet_done(b, h);
}

static void test_hpet_legacy(void)
{
    Board *b = board_new();
    Hpet *h = make_hpet(b);
    IrqLine pit = hpet_legacy_input(h, 0);

    irq_raise(pit);
    g_assert_true(b->level[0]);
    irq_lower(pit);
    mem_write(b, HPET_BASE + 0x100, 8, 0x4c);
    mem_write(b, HPET_BASE + 0x108, 8, 100000);
    mem_write(b, HPET_BASE + 0x10, 8, 3);
    b->raised[0] = 0;
    irq_raise(pit);
    g_assert_false(b->level[0]);
    step(b, 5 * NS_PER_MS);
    g_assert_cmpuint(b->raised[0], ==, 5);
    mem_write(b, HPET_BASE + 0x10, 8, 1);
    g_assert_true(b->level[0]); /* the PIT's again */
    hpet_done(b, h);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rtc/time", test_time);
    g_test_add_func("/rtc/update", test_update);
    g_test_add_func("/rtc/alarm", test_alarm);
    g_test_add_func("/rtc/periodic", test_periodic);
    g_test_add_func("/rtc/memory", test_memory);
    g_test_add_func("/hpet/counter", test_hpet_counter);
    g_test_add_func("/hpet/timers", test_hpet_timers);
    g_test_add_func("/hpet/legacy", test_hpet_legacy);
    return g_test_run();
}
