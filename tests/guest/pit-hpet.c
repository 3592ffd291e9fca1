/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ring 3: the interval timer's interrupts (ring3.S has started it at 100 Hz), its counters, the
 * gate of counter 2, and the HPET that takes its place and gives it back.
 */
#include <stdint.h>

#define HPET 0xfed00000u
#define LEGACY 2u
#define ENABLE 1u

extern volatile uint32_t ticks;

static inline void outb(uint16_t port, uint8_t v)
{
    __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}
static inline uint8_t inb(uint16_t port)
{
    uint8_t v;
    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

static volatile uint64_t *hpet(unsigned reg)
{
    return (volatile uint64_t *)(uint64_t)(HPET + reg);
}

static void say(const char *text)
{
    for (; *text; text++) {
        outb(0x3f8, (uint8_t)*text);
    }
}

static int fail(const char *what)
{
    say("FAILED: ");
    say(what);
    say("\n");
    return 0x7e;
}

void interrupt(unsigned vector)
{
    (void)vector;
}

/* By the HPET's counter, which runs all the time: 10 ns each. */
static void delay(uint32_t ms)
{
    uint64_t end = *hpet(0xf0) + ms * 100000ull;

    while (*hpet(0xf0) < end) {
    }
}

static int more_ticks(void)
{
    uint32_t from = ticks;

    for (unsigned i = 0; i < 1000 && ticks - from < 3; i++) {
        delay(10);
    }
    return ticks - from >= 3;
}

static uint16_t count2(void)
{
    uint8_t low;

    outb(0x43, 0x80);
    low = inb(0x42);
    return (uint16_t)(low | inb(0x42) << 8);
}

/* Counter 2, mode 0: runs with its gate, and says by port 61h that it is through. */
static int counter2(void)
{
    uint16_t a, b;

    outb(0x61, 1);
    outb(0x43, 0xb0);
    outb(0x42, 0xff);
    outb(0x42, 0xff);
    a = count2();
    delay(5);
    b = count2();
    if (b >= a) {
        return fail("counter 2 stands still");
    }
    if (inb(0x61) & 0x20 && b > 0x8000) {
        return fail("counter 2 is through too soon");
    }
    for (unsigned i = 0; i < 1000 && !(inb(0x61) & 0x20); i++) {
        delay(10);
    }
    if (!(inb(0x61) & 0x20)) {
        return fail("counter 2 is never through");
    }
    outb(0x43, 0xe8); /* read-back: status of counter 2 */
    if ((inb(0x42) & 0xbf) != 0xb0) {
        return fail("counter 2's status");
    }
    outb(0x61, 0);
    return 0;
}

int main(void)
{
    uint32_t from;

    *hpet(0x10) = ENABLE;
    if (!more_ticks()) {
        return fail("no ticks");
    }
    if (counter2()) {
        return 0x7e;
    }
    if (!more_ticks()) {
        return fail("no ticks after the gate of counter 2");
    }
    *hpet(0x10) = ENABLE | LEGACY;
    delay(50);
    from = ticks;
    delay(300);
    if (ticks != from) {
        return fail("the timer ticks on");
    }
    *hpet(0x100) = 1u << 2 | 1u << 3 | 1u << 6; /* periodic, interrupt, set the period */
    *hpet(0x108) = *hpet(0xf0) + 500000;
    *hpet(0x108) = 500000;
    if (!more_ticks()) {
        return fail("no ticks of the HPET");
    }
    *hpet(0x100) = 0;
    delay(50);
    from = ticks;
    delay(100);
    if (ticks != from) {
        return fail("the HPET ticks on");
    }
    *hpet(0x10) = ENABLE;
    if (!more_ticks()) {
        return fail("no ticks again");
    }
    say("TIMERS-OK");
    return 0x10;
}
