/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 8259 pair, the 8254 and port 61h, as programs drive them. */
#include "accel/accel.h"
#include "chips-test.h"
#include "hw/intc/i8259.h"
#include "hw/misc/pcspk.h"
#include "hw/timer/i8254.h"

#include <linux/kvm.h>
#include <string.h>

/* ---- 8259 ---- */

static void pic_init(Board *b, uint8_t icw4)
{
    outb(b, 0x20, 0x11);
    outb(b, 0x21, 0x20);
    outb(b, 0x21, 0x04);
    outb(b, 0x21, icw4);
    outb(b, 0xa0, 0x11);
    outb(b, 0xa1, 0x28);
    outb(b, 0xa1, 0x02);
    outb(b, 0xa1, icw4);
    outb(b, 0x21, 0);
    outb(b, 0xa1, 0);
}

static I8259 *pic_new(Board *b, uint8_t icw4)
{
    I8259 *p = i8259_new_pair(b->m, &b->isa, board_irq(b, 15), NULL);

    g_assert_nonnull(p);
    pic_init(b, icw4);
    return p;
}

static void test_priority(void)
{
    Board *b = board_new();
    I8259 *p = pic_new(b, 1);

    g_assert_false(i8259_pending(p));
    irq_raise(i8259_input(p, 5));
    irq_raise(i8259_input(p, 3));
    irq_raise(i8259_input(p, 10));
    g_assert_true(i8259_pending(p));
    g_assert_true(b->level[15]);
    g_assert_cmphex(i8259_ack(p), ==, 0x2a); /* 8-15 come in at 2 */
    g_assert_false(i8259_pending(p));
    outb(b, 0xa0, 0x20);
    outb(b, 0x20, 0x20);
    g_assert_cmphex(i8259_ack(p), ==, 0x23);
    g_assert_false(i8259_pending(p)); /* 5 is lower */
    irq_raise(i8259_input(p, 1));
    g_assert_cmphex(i8259_ack(p), ==, 0x21); /* nests */
    outb(b, 0x20, 0x0b);
    g_assert_cmphex(inb(b, 0x20), ==, 0x0a); /* ISR: 1 and 3 */
    outb(b, 0x20, 0x0a);
    g_assert_cmphex(inb(b, 0x20), ==, 0x20); /* IRR: 5 */
    outb(b, 0x20, 0x63);                     /* specific EOI of 3 leaves 1 */
    outb(b, 0x20, 0x0b);
    g_assert_cmphex(inb(b, 0x20), ==, 0x02);
    outb(b, 0x20, 0x20);
    g_assert_cmphex(i8259_ack(p), ==, 0x25);
    outb(b, 0x20, 0x20);
    g_assert_cmphex(i8259_ack(p), ==, 0x27); /* spurious */
    outb(b, 0x20, 0x0b);
    g_assert_cmphex(inb(b, 0x20), ==, 0x00);
    board_free(b);
}

static void test_mask(void)
{
    Board *b = board_new();
    I8259 *p = pic_new(b, 1);

    outb(b, 0x21, 0xfb);
    g_assert_cmphex(inb(b, 0x21), ==, 0xfb);
    irq_raise(i8259_input(p, 4));
    g_assert_false(i8259_pending(p));
    outb(b, 0x21, 0x00);
    g_assert_true(i8259_pending(p));
    g_assert_cmphex(i8259_ack(p), ==, 0x24);
    /* Special mask mode: a masked line in service lets lower ones through. */
    irq_raise(i8259_input(p, 6));
    g_assert_false(i8259_pending(p));
    outb(b, 0x21, 0x10);
    outb(b, 0x20, 0x68);
    g_assert_true(i8259_pending(p));
    outb(b, 0x20, 0x48);
    g_assert_false(i8259_pending(p));
    board_free(b);
}

static void test_rotation(void)
{
    Board *b = board_new();
    I8259 *p = pic_new(b, 1);

    outb(b, 0x20, 0xc4); /* 4 lowest: 5 is highest */
    irq_raise(i8259_input(p, 0));
    irq_raise(i8259_input(p, 5));
    g_assert_cmphex(i8259_ack(p), ==, 0x25);
    outb(b, 0x20, 0xa0); /* rotate on EOI: 5 becomes lowest */
    irq_lower(i8259_input(p, 5));
    irq_raise(i8259_input(p, 5));
    g_assert_cmphex(i8259_ack(p), ==, 0x20);
    outb(b, 0x20, 0x20);
    g_assert_cmphex(i8259_ack(p), ==, 0x25);
    board_free(b);
}

static void test_auto_eoi_and_poll(void)
{
    Board *b = board_new();
    I8259 *p = pic_new(b, 3);

    irq_raise(i8259_input(p, 1));
    g_assert_cmphex(i8259_ack(p), ==, 0x21);
    outb(b, 0x20, 0x0b);
    g_assert_cmphex(inb(b, 0x20), ==, 0);
    pic_init(b, 1);
    irq_lower(i8259_input(p, 1));
    irq_raise(i8259_input(p, 1));
    outb(b, 0x20, 0x0c);
    g_assert_cmphex(inb(b, 0x20), ==, 0x81);
    outb(b, 0x20, 0x0c);
    g_assert_cmphex(inb(b, 0x20), ==, 0x00);
    board_free(b);
}

static void test_level(void)
{
    Board *b = board_new();
    I8259 *p = pic_new(b, 1);

    outb(b, 0x4d0, 0xff);
    outb(b, 0x4d1, 0xff);
    g_assert_cmphex(inb(b, 0x4d0), ==, 0xf8);
    g_assert_cmphex(inb(b, 0x4d1), ==, 0xde);
    irq_raise(i8259_input(p, 11));
    g_assert_cmphex(i8259_ack(p), ==, 0x2b);
    outb(b, 0xa0, 0x20);
    outb(b, 0x20, 0x20);
    g_assert_true(i8259_pending(p)); /* still high */
    irq_lower(i8259_input(p, 11));
    g_assert_false(i8259_pending(p));
    /* An edge line keeps its request after a pulse. */
    irq_pulse(i8259_input(p, 0));
    g_assert_cmphex(i8259_ack(p), ==, 0x20);
    outb(b, 0x20, 0x20);
    /* A device that was polled takes its request back. */
    irq_pulse(i8259_input(p, 12));
    irq_pulse(i8259_input(p, 1));
    g_assert_false(i8259_pending(p));
    irq_pulse(i8259_input(p, 8));
    g_assert_cmphex(i8259_ack(p), ==, 0x28);
    board_free(b);
}

/* ---- 8254 ---- */

#define TICKS(n) ((int64_t)(((__int128)(n)*NS_PER_SEC + I8254_HZ - 1) / I8254_HZ))

static uint16_t read_latched(Board *b, unsigned c)
{
    uint8_t lo;

    outb(b, 0x43, (uint8_t)(c << 6));
    lo = inb(b, (uint16_t)(0x40 + c));
    return (uint16_t)(lo | inb(b, (uint16_t)(0x40 + c)) << 8);
}

static void test_rate(void)
{
    Board *b = board_new();

    i8254_new(b->m, &b->isa, (IrqLine){0}, NULL);
    outb(b, 0x43, 0x34); /* counter 0, both bytes, mode 2 */
    outb(b, 0x40, 0xa9);
    outb(b, 0x40, 0x04); /* 1193: about 1000 Hz */
    b->raised[0] = 0;
    step(b, NS_PER_SEC);
    g_assert_cmpuint(b->raised[0], >=, 999);
    g_assert_cmpuint(b->raised[0], <=, 1001);
    outb(b, 0x43, 0x36); /* mode 3 */
    outb(b, 0x40, 0);
    outb(b, 0x40, 0); /* 65536: 18.2 Hz */
    b->raised[0] = 0;
    step(b, 10 * NS_PER_SEC);
    g_assert_cmpuint(b->raised[0], ==, 182);
    board_free(b);
}

static void test_counting(void)
{
    Board *b = board_new();

    i8254_new(b->m, &b->isa, (IrqLine){0}, NULL);
    outb(b, 0x43, 0x30); /* mode 0 */
    b->raised[0] = 0;
    g_assert_false(b->level[0]);
    outb(b, 0x40, 0x10);
    outb(b, 0x40, 0x27); /* 10000 */
    step(b, TICKS(4000));
    g_assert_cmpuint(read_latched(b, 0), ==, 6000);
    step(b, TICKS(6000));
    g_assert_true(b->level[0]);
    g_assert_cmpuint(b->raised[0], ==, 1);
    step(b, TICKS(100));
    g_assert_cmpuint(read_latched(b, 0), >, 0xff00); /* goes on counting */
    outb(b, 0x43, 0x31);                             /* BCD */
    outb(b, 0x40, 0x00);
    outb(b, 0x40, 0x10); /* 1000 */
    step(b, TICKS(1));
    g_assert_cmphex(read_latched(b, 0), ==, 0x0999);
    /* Read-back: status, then count. */
    outb(b, 0x43, 0xc2);
    g_assert_cmphex(inb(b, 0x40), ==, 0x31);
    g_assert_cmphex(inb(b, 0x40), ==, 0x99);
    g_assert_cmphex(inb(b, 0x40), ==, 0x09);
    /* The latch stands while time goes on. */
    outb(b, 0x43, 0x00);
    step(b, TICKS(500));
    g_assert_cmphex(inb(b, 0x40), ==, 0x99);
    g_assert_cmphex(inb(b, 0x40), ==, 0x09);
    board_free(b);
}

static void test_new_count(void)
{
    Board *b = board_new();

    i8254_new(b->m, &b->isa, (IrqLine){0}, NULL);
    outb(b, 0x43, 0x34);
    outb(b, 0x40, 0xe8);
    outb(b, 0x40, 0x03); /* 1000 */
    step(b, TICKS(500));
    outb(b, 0x40, 0xd0);
    outb(b, 0x40, 0x07); /* 2000, from the next period on */
    g_assert_cmpuint(read_latched(b, 0), ==, 500);
    step(b, TICKS(600));
    g_assert_cmpuint(read_latched(b, 0), >=, 1899);
    g_assert_cmpuint(read_latched(b, 0), <=, 1901);
    board_free(b);
}

static void test_gate(void)
{
    Board *b = board_new();
    I8254 *pit = i8254_new(b->m, &b->isa, (IrqLine){0}, NULL);

    g_assert_true(pcspk_new(b->m, &b->isa, pit, NULL));
    outb(b, 0x61, 0x00);
    outb(b, 0x43, 0xb0); /* counter 2, mode 0 */
    outb(b, 0x42, 0xe8);
    outb(b, 0x42, 0x03);
    step(b, TICKS(5000));
    g_assert_cmphex(inb(b, 0x61) & 0x20, ==, 0); /* the gate is shut */
    outb(b, 0x61, 0x01);
    step(b, TICKS(400));
    outb(b, 0x61, 0x00);
    step(b, TICKS(5000));
    g_assert_cmpuint(read_latched(b, 2), ==, 600);
    outb(b, 0x61, 0x01);
    step(b, TICKS(599));
    g_assert_cmphex(inb(b, 0x61) & 0x20, ==, 0);
    step(b, TICKS(2));
    g_assert_cmphex(inb(b, 0x61) & 0x20, ==, 0x20);
    g_assert_cmphex(inb(b, 0x61) & 0x0f, ==, 0x01);
    /* One-shot: triggered by the gate. */
    outb(b, 0x61, 0x00);
    outb(b, 0x43, 0xb2);
    outb(b, 0x42, 100);
    outb(b, 0x42, 0);
    g_assert_cmphex(inb(b, 0x61) & 0x20, ==, 0x20);
    outb(b, 0x61, 0x01);
    g_assert_cmphex(inb(b, 0x61) & 0x20, ==, 0);
    step(b, TICKS(101));
    g_assert_cmphex(inb(b, 0x61) & 0x20, ==, 0x20);
    /* A square wave for the speaker. */
    outb(b, 0x43, 0xb6);
    outb(b, 0x42, 0xa9);
    outb(b, 0x42, 0x04);
    g_assert_cmpuint(i8254_frequency(pit, 2), ==, 1000);
    board_free(b);
}

/* ---- an 8254 in the kernel ---- */

/* The kernel's side: remembers the state and who is told of pauses. */
static struct {
    struct kvm_pit_state2 state;
    void (*running)(void *opaque, bool run);
    void *opaque;
    bool reinject;
} fake;

static bool fake_create(Accel *a, bool reinject, void (*running)(void *opaque, bool run),
                        void *opaque, Error **errp)
{
    fake.reinject = reinject;
    fake.running = running;
    fake.opaque = opaque;
    return true;
}

static bool fake_get(Accel *a, struct kvm_pit_state2 *s)
{
    *s = fake.state;
    return true;
}

static bool fake_set(Accel *a, const struct kvm_pit_state2 *s)
{
    fake.state = *s;
    return true;
}

/* What the device says of itself is in the kernel, and comes back; nothing ticks in a pause. */
static void test_kernel(void)
{
    static const AccelIrqchip chip = {
        .board = true, .pit_create = fake_create, .get_pit = fake_get, .set_pit = fake_set};
    Board *b = board_new();
    Accel accel = {.irqchip = &chip};
    const struct kvm_pit_channel_state *c = fake.state.channels;
    uint16_t before, after;
    IrqLine legacy;
    I8254 *pit;

    b->m->accel = &accel;
    pit = i8254_new(b->m, &b->isa, (IrqLine){0}, NULL);
    g_assert_true(fake.reinject);
    fake.running(fake.opaque, true);
    g_assert_cmpuint(c[0].mode, ==, 0xff); /* no count yet: no ticks */
    outb(b, 0x43, 0x34);
    outb(b, 0x40, 0xa9);
    g_assert_cmpuint(c[0].write_state, ==, 4); /* waits for the high byte */
    g_assert_cmpuint(c[0].write_latch, ==, 0xa9);
    outb(b, 0x40, 0x04);
    g_assert_cmpuint(c[0].count, ==, 1193);
    g_assert_cmpuint(c[0].mode, ==, 2);
    g_assert_cmpuint(c[0].write_state, ==, 3);
    outb(b, 0x43, 0xb1); /* counter 2: mode 0, decimal */
    outb(b, 0x42, 0x99);
    outb(b, 0x42, 0x99);
    g_assert_cmphex(c[2].count, ==, 0x9999);
    g_assert_false(c[2].gate);
    i8254_set_gate(pit, 2, true);
    g_assert_true(c[2].gate && i8254_gate(pit, 2));
    before = read_latched(b, 2);
    step(b, NS_PER_MS);
    after = read_latched(b, 2);
    g_assert_cmphex(after, <, before);
    /* A latch that is read half is in the state, too. */
    outb(b, 0x43, 0x80);
    g_assert_cmpuint(c[2].count_latched, ==, 3);
    inb(b, 0x42);
    g_assert_cmpuint(c[2].count_latched, ==, 2);
    inb(b, 0x42);
    g_assert_cmpuint(c[2].count_latched, ==, 0);
    legacy = i8254_legacy_line(pit);
    irq_set(legacy, 1);
    g_assert_cmpuint(fake.state.flags, ==, KVM_PIT_FLAGS_HPET_LEGACY);
    irq_set(legacy, 0);
    g_assert_cmpuint(fake.state.flags, ==, 0);
    fake.running(fake.opaque, false);
    g_assert_cmpuint(c[0].mode, ==, 0xff);
    fake.running(fake.opaque, true);
    g_assert_cmpuint(c[0].mode, ==, 2);
    g_assert_cmpuint(c[0].count, ==, 1193);
    /* Nonsense from the kernel is no nonsense here. */
    memset(&fake.state, 0xff, sizeof(fake.state));
    i8254_out(pit, 0);
    i8254_frequency(pit, 2);
    inb(b, 0x40);
    b->m->accel = NULL;
    board_free(b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/i8259/priority", test_priority);
    g_test_add_func("/i8259/mask", test_mask);
    g_test_add_func("/i8259/rotation", test_rotation);
    g_test_add_func("/i8259/auto-eoi-and-poll", test_auto_eoi_and_poll);
    g_test_add_func("/i8259/level", test_level);
    g_test_add_func("/i8254/rate", test_rate);
    g_test_add_func("/i8254/counting", test_counting);
    g_test_add_func("/i8254/new-count", test_new_count);
    g_test_add_func("/i8254/gate", test_gate);
    g_test_add_func("/i8254/kernel", test_kernel);
    return g_test_run();
}
