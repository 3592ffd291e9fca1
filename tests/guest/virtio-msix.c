/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ring 3 of long mode reads sectors from a modern virtio-blk device and counts its interrupts:
 * messages of MSI-X, one at a time; masked ones that wait in the pending bits; one whose vector
 * was changed; and the wire of INTx.  Starts in ring3.S (-DC_MAIN); the firmware has given the
 * device its addresses.
 */
#include <stdint.h>

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc
#define APIC 0xfee00000u
#define VECTOR 0x40
#define OTHER 0x41
#define RINGS 0x400000u /* memory of the queue: descriptors, available, used, request */
#define SIZE 8u
#define LINES 8u /* requests by INTx */

extern volatile uint32_t ticks;
static volatile uint32_t count[256];
static volatile uint8_t *isr;
static uint32_t device; /* address of its configuration */
static uint16_t sent;   /* requests */

static inline void outl(uint16_t port, uint32_t v)
{
    __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port));
}
static inline void outb(uint16_t port, uint8_t v)
{
    __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}
static inline uint32_t inl(uint16_t port)
{
    uint32_t v;
    __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

static uint32_t config_read(unsigned reg)
{
    outl(CONFIG_ADDRESS, device | (reg & 0xfc));
    return inl(CONFIG_DATA) >> (reg & 3) * 8;
}
static void config_write(unsigned reg, uint32_t v)
{
    outl(CONFIG_ADDRESS, device | reg);
    outl(CONFIG_DATA, v);
}

static volatile uint32_t *r32(uint64_t a)
{
    return (volatile uint32_t *)a;
}
static volatile uint16_t *r16(uint64_t a)
{
    return (volatile uint16_t *)a;
}
static volatile uint8_t *r8(uint64_t a)
{
    return (volatile uint8_t *)a;
}

static void say(const char *text)
{
    for (; *text; text++) {
        outb(0x3f8, (uint8_t)*text);
    }
}

void interrupt(unsigned vector)
{
    count[vector]++;
    if (vector >= 0x40) {
        *r32(APIC + 0xb0) = 0;
        return;
    }
    if (isr) {
        (void)*isr; /* the line falls */
    }
    if (vector >= 0x28) {
        outb(0xa0, 0x20);
    }
    outb(0x20, 0x20);
}

static int find_device(void)
{
    for (unsigned slot = 0; slot < 32; slot++) {
        device = 0x80000000u | slot << 11;
        if ((config_read(0) & 0xffff) == 0x1af4) {
            config_write(4, (config_read(4) & 0xffff) | 6); /* memory, bus master; INTx */
            return 1;
        }
    }
    return 0;
}

static uint64_t bar(unsigned n)
{
    uint32_t low = config_read(0x10 + n * 4);

    return (low & ~15u) | ((low & 6) == 4 ? (uint64_t)config_read(0x14 + n * 4) << 32 : 0);
}

static uint64_t common, notify, table, pending;
static unsigned msix_cap;

static void find_windows(void)
{
    for (unsigned at = config_read(0x34) & 0xff; at; at = config_read(at + 1) & 0xff) {
        unsigned id = config_read(at) & 0xff, type = config_read(at + 3) & 0xff;

        if (id == 0x11) {
            uint32_t t = config_read(at + 4), p = config_read(at + 8);

            msix_cap = at;
            table = bar(t & 7) + (t & ~7u);
            pending = bar(p & 7) + (p & ~7u);
        } else if (id == 9 && type <= 3) {
            uint64_t window = bar(config_read(at + 4) & 7) + config_read(at + 8);

            if (type == 1) {
                common = window;
            } else if (type == 2) {
                notify = window;
            } else if (type == 3) {
                isr = r8(window);
            }
        }
    }
}

static void set_vector(unsigned vector, int masked)
{
    *r32(table + 12) = 1;
    *r32(table) = APIC;
    *r32(table + 4) = 0;
    *r32(table + 8) = vector;
    *r32(table + 12) = masked != 0;
}

static void start_device(int msix)
{
    *r8(common + 20) = 0;
    while (*r8(common + 20)) {
    }
    config_write(msix_cap, (config_read(msix_cap) & 0xffff) | (msix ? 0x80000000u : 0));
    *r8(common + 20) = 3;
    *r32(common + 8) = 1;
    *r32(common + 12) = 1; /* VERSION_1 */
    *r32(common + 8) = 0;
    *r32(common + 12) = 0;
    *r8(common + 20) = 11;
    *r16(common + 22) = 0;
    *r16(common + 24) = SIZE;
    *r16(common + 26) = msix ? 0 : 0xffff;
    *r32(common + 32) = RINGS;
    *r32(common + 40) = RINGS + 0x1000;
    *r32(common + 48) = RINGS + 0x2000;
    *r16(common + 28) = 1;
    *r8(common + 20) = 15;
    *r16(RINGS + 0x1000) = 0;
    *r16(RINGS + 0x1002) = 0;
    *r16(RINGS + 0x2002) = 0;
    sent = 0;
}

static void descriptor(unsigned n, uint32_t address, uint32_t len, unsigned flags)
{
    uint64_t d = RINGS + n * 16;

    *r32(d) = address;
    *r32(d + 4) = 0;
    *r32(d + 8) = len;
    *r16(d + 12) = (uint16_t)flags;
    *r16(d + 14) = (uint16_t)(n + 1);
}

static int wait_for(volatile uint32_t *what, uint32_t value)
{
    uint32_t until = ticks + 1000; /* ten seconds of 100 Hz */

    while (*what != value && (int32_t)(until - ticks) > 0) {
    }
    return *what == value;
}

/* Reads sector 0 and waits until the device says it did: not for its interrupt. */
static int request(void)
{
    uint32_t until = ticks + 1000;

    *r32(RINGS + 0x3000) = 0; /* read */
    *r32(RINGS + 0x3004) = 0;
    *r32(RINGS + 0x3008) = 0;
    *r32(RINGS + 0x300c) = 0;
    *r32(RINGS + 0x3200) = 0;
    *r8(RINGS + 0x3010) = 0xff;
    descriptor(0, RINGS + 0x3000, 16, 1);
    descriptor(1, RINGS + 0x3200, 512, 3);
    descriptor(2, RINGS + 0x3010, 1, 2);
    *r16(RINGS + 0x1004 + sent % SIZE * 2) = 0;
    sent++;
    *r16(RINGS + 0x1002) = sent;
    *r16(notify) = 0;
    while (*r16(RINGS + 0x2002) != sent && (int32_t)(until - ticks) > 0) {
    }
    return *r16(RINGS + 0x2002) == sent && *r8(RINGS + 0x3010) == 0 &&
           *r32(RINGS + 0x3200) == 0x41454852; /* "RHEA" */
}

static int fail(const char *what)
{
    say("FAILED: ");
    say(what);
    say("\n");
    return 0x7e;
}

static int messages(void)
{
    set_vector(VECTOR, 0);
    start_device(1);
    for (uint32_t i = 1; i <= 100; i++) {
        if (!request()) {
            return fail("a request");
        }
        if (!wait_for(&count[VECTOR], i)) {
            return fail("a message does not come");
        }
    }
    set_vector(VECTOR, 1);
    if (!request() || count[VECTOR] != 100 || !(*r32(pending) & 1)) {
        return fail("a masked message");
    }
    *r32(table + 12) = 0;
    if (!wait_for(&count[VECTOR], 101) || (*r32(pending) & 1)) {
        return fail("an unmasked message");
    }
    set_vector(OTHER, 0);
    if (!request() || !wait_for(&count[OTHER], 1) || count[VECTOR] != 101) {
        return fail("another vector");
    }
    say("MSIX-OK ");
    return 0;
}

static int wire(void)
{
    unsigned line = config_read(0x3c) & 15;

    start_device(0);
    outb(0x21, line < 8 ? (uint8_t) ~(1u << line | 1) : 0xfa);
    outb(0xa1, line < 8 ? 0xff : (uint8_t) ~(1u << (line - 8)));
    for (uint32_t i = 1; i <= LINES; i++) {
        if (!request() || !wait_for(&count[0x20 + line], i)) {
            return fail("the wire");
        }
    }
    say("INTX-OK ");
    return 0;
}

int main(void)
{
    int r;

    if (!find_device()) {
        return fail("no device");
    }
    find_windows();
    if (!common || !notify || !table) {
        return fail("no windows");
    }
    *r32(APIC + 0xf0) = 0x1ff; /* on */
    r = messages();
    return r ? r : (r = wire()) ? r : 0x10;
}
