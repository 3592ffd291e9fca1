/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Waits in ring 3 for an NMI and for a machine check, and says what came: which banks have
 * something, and what.
 */
#include <stdint.h>

extern volatile uint32_t ticks;
static volatile uint32_t count[32];
static volatile uint64_t status, address, global;
static volatile uint32_t bank_of;

static inline void outb(uint16_t port, uint8_t v)
{
    __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}
static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return low | (uint64_t)high << 32;
}
static inline void wrmsr(uint32_t msr, uint64_t v)
{
    __asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)));
}

static void say(const char *text)
{
    for (; *text; text++) {
        outb(0x3f8, (uint8_t)*text);
    }
}

static void say_hex(uint64_t v)
{
    for (int i = 60; i >= 0; i -= 4) {
        outb(0x3f8, (uint8_t) "0123456789abcdef"[v >> i & 15]);
    }
    say(" ");
}

void interrupt(unsigned vector)
{
    if (vector == 18) {
        for (uint32_t bank = 0; bank < (rdmsr(0x179) & 0xff); bank++) {
            uint64_t s = rdmsr(0x401 + bank * 4);

            if (s >> 63) {
                bank_of = bank;
                status = s;
                address = rdmsr(0x402 + bank * 4);
                wrmsr(0x401 + bank * 4, 0);
            }
        }
        global = rdmsr(0x17a);
        wrmsr(0x17a, 0);
    }
    if (vector < 32) {
        count[vector]++;
    }
}

static int wait_for(unsigned vector)
{
    uint32_t until = ticks + 6000;

    while (!count[vector] && (int32_t)(until - ticks) > 0) {
    }
    return count[vector] == 1;
}

int main(void)
{
    say("READY ");
    if (!wait_for(2)) {
        say("no NMI");
        return 0x7e;
    }
    say("NMI-OK ");
    if (!wait_for(18)) {
        say("no machine check");
        return 0x7e;
    }
    say("MCE ");
    say_hex(bank_of);
    say_hex(status);
    say_hex(address);
    say_hex(global);
    return 0x10;
}
