/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SVM: guests of a few instructions below a hypervisor that is one VMRUN. */
#include "target/i386/tcg/svm.h"
#include "tests/unit/x86-guest.h"

#include <string.h>

enum {
    VMCB = 0x40000,
    MSRPM = 0x42000,
    IOPM = 0x44000,
    NPT = 0x50000, /* PML4, PDPT, PD, PT */
    AT_L2 = 0xc000,
    L2_STACK = 0xe000,
    HOST_CODE_END = AT_CODE + 8, /* mov eax, VMCB; vmrun; hlt */
};

#define MISC(code) (0x0cu + ((code)-0x60u) / 32 * 4), (1u << (((code)-0x60u) % 32))

static uint64_t vmcb(const Guest *g, unsigned at)
{
    return guest_ld(g, VMCB + at, 8);
}

static void set(Guest *g, unsigned at, uint64_t v)
{
    guest_st(g, VMCB + at, v, 8);
}

static void intercept(Guest *g, unsigned at, uint32_t bit)
{
    guest_st(g, VMCB + at, guest_ld(g, VMCB + at, 4) | bit, 4);
}

static void set_segment(Guest *g, unsigned at, const Segment *s)
{
    guest_st(g, VMCB + at, s->selector, 2);
    guest_st(g, VMCB + at + 2, s->attr & 0xfff, 2);
    guest_st(g, VMCB + at + 4, s->limit, 4);
    guest_st(g, VMCB + at + 8, s->base, 8);
}

/* The guest starts with the hypervisor's own state, at AT_L2. */
static void prepare(Guest *g, const void *code, size_t len)
{
    CPUX86 *cpu;
    static const unsigned segs[] = {[SEG_ES] = 0x400, [SEG_CS] = 0x410, [SEG_SS] = 0x420,
                                    [SEG_DS] = 0x430, [SEG_FS] = 0x440, [SEG_GS] = 0x450};

    guest_enter(g, GUEST_LONG);
    cpu = g->cpu;
    cpu->efer |= EFER_SVME;
    cpu->config.phys_bits = 40;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        set_segment(g, segs[i], &cpu->segs[i]);
    }
    guest_st(g, VMCB + 0x464, cpu->gdtr.limit, 4);
    set(g, 0x468, cpu->gdtr.base);
    guest_st(g, VMCB + 0x484, cpu->idtr.limit, 4);
    set(g, 0x488, cpu->idtr.base);
    set(g, 0x4d0, cpu->efer);
    set(g, 0x548, cpu->cr4);
    set(g, 0x550, cpu->cr3);
    set(g, 0x558, cpu->cr0);
    set(g, 0x560, 0x400);
    set(g, 0x568, 0xffff0ff0);
    set(g, 0x570, 2);
    set(g, 0x578, AT_L2);
    set(g, 0x5d8, L2_STACK);
    set(g, 0x40, IOPM);
    set(g, 0x48, MSRPM);
    guest_st(g, VMCB + 0x58, 1, 4);
    intercept(g, MISC(SVM_EXIT_VMRUN));
    intercept(g, MISC(SVM_EXIT_HLT));
    intercept(g, MISC(SVM_EXIT_SHUTDOWN));
    memcpy(g->ram->host + AT_L2, code, len);
}

static uint64_t go(Guest *g)
{
    static const uint8_t host[] = {0xb8, 0, 0, 4, 0, 0x0f, 0x01, 0xd8, 0xf4};

    guest_exec(g, host, sizeof(host));
    g_assert_true(guest_finished(g, sizeof(host)));
    g_assert_true(g->cpu->svm.gif_clear);
    g_assert_false(g->cpu->hflags & HF_SVM_GUEST);
    g_assert_cmphex(g->cpu->regs[R_RAX], ==, VMCB);
    return vmcb(g, 0x70);
}
#define PREPARE(g, ...)                               \
    do {                                              \
        static const uint8_t code_[] = {__VA_ARGS__}; \
        prepare(g, code_, sizeof(code_));             \
    } while (0)

/* ---- instructions ---- */

static void test_instructions(void)
{
    static const struct {
        unsigned code;
        uint8_t bytes[4], len;
    } cases[] = {
        {SVM_EXIT_CPUID, {0x0f, 0xa2}, 2},
        {SVM_EXIT_RDTSC, {0x0f, 0x31}, 2},
        {SVM_EXIT_PUSHF, {0x9c}, 1},
        {SVM_EXIT_WBINVD, {0x0f, 0x09}, 2},
        {SVM_EXIT_VMMCALL, {0x0f, 1, 0xd9}, 3},
        {SVM_EXIT_VMLOAD, {0x0f, 1, 0xda}, 3},
        {SVM_EXIT_VMSAVE, {0x0f, 1, 0xdb}, 3},
        {SVM_EXIT_STGI, {0x0f, 1, 0xdc}, 3},
        {SVM_EXIT_CLGI, {0x0f, 1, 0xdd}, 3},
        {SVM_EXIT_VMRUN, {0x0f, 1, 0xd8}, 3},
        {SVM_EXIT_PAUSE, {0xf3, 0x90}, 2},
        {SVM_EXIT_RDPMC, {0x0f, 0x33}, 2},
        {SVM_EXIT_SWINT, {0xcd, 0x40}, 2},
        {SVM_EXIT_RDTSCP, {0x0f, 1, 0xf9}, 3},
        {SVM_EXIT_INVLPG, {0x0f, 1, 0x38}, 3},
        {SVM_EXIT_IDTR_WRITE, {0x0f, 1, 0x18}, 3},
        {SVM_EXIT_LDTR_READ, {0x0f, 0, 0xc0}, 3},
        {SVM_EXIT_HLT, {0xf4}, 1},
    };
    Guest *g = guest_new("max");

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_test_message("exit %x", cases[i].code);
        prepare(g, cases[i].bytes, cases[i].len);
        intercept(g, MISC(cases[i].code));
        set(g, 0x5f8, 0xa000);
        g_assert_cmphex(go(g), ==, cases[i].code);
        g_assert_cmphex(vmcb(g, 0x578), ==, AT_L2);
        g_assert_cmphex(vmcb(g, 0xc8), ==, AT_L2 + cases[i].len);
        g_assert_cmphex(vmcb(g, 0x5f8), ==, 0xa000);
    }
    guest_free(g);
}

static void test_registers(void)
{
    Guest *g = guest_new("max");

    PREPARE(g, 0x0f, 0x22, 0xdb); /* mov cr3, rbx */
    intercept(g, 0, 1u << 19);
    g_assert_cmphex(go(g), ==, SVM_EXIT_WRITE_CR0 + 3);
    g_assert_cmphex(vmcb(g, 0x78), ==, 1ull << 63 | 3);
    PREPARE(g, 0x41, 0x0f, 0x21, 0xf9); /* mov r9, dr7 */
    intercept(g, 4, 1u << 7);
    g_assert_cmphex(go(g), ==, SVM_EXIT_READ_DR0 + 7);
    g_assert_cmphex(vmcb(g, 0x78), ==, 9);
    PREPARE(g, 0x0f, 0x06); /* clts */
    intercept(g, 0, 1u << 16);
    g_assert_cmphex(go(g), ==, SVM_EXIT_WRITE_CR0);
    g_assert_cmphex(vmcb(g, 0x78), ==, 0);
    /* Only what changes more than TS and MP. */
    PREPARE(g, 0x0f, 0x20, 0xc0, 0x0c, 0x08, 0x0f, 0x22, 0xc0, 0x0d, 0, 0, 4, 0, 0x0f, 0x22, 0xc0);
    intercept(g, MISC(SVM_EXIT_CR0_SEL_WRITE));
    g_assert_cmphex(go(g), ==, SVM_EXIT_CR0_SEL_WRITE);
    g_assert_cmphex(vmcb(g, 0x578), ==, AT_L2 + 13);
    guest_free(g);
}

static void test_bitmaps(void)
{
    Guest *g = guest_new("max");

    PREPARE(g, 0xe6, 0x10, 0xe5, 0x21); /* out 10h; in eax, 21h */
    intercept(g, MISC(SVM_EXIT_IOIO));
    guest_st(g, IOPM + 0x24 / 8, 1u << (0x24 & 7), 1); /* the last of the four bytes */
    g_assert_cmphex(go(g), ==, SVM_EXIT_IOIO);
    g_assert_cmphex(vmcb(g, 0x78), ==, 0x210000 | 1u << 9 | 4u << 4 | 1);
    g_assert_cmphex(vmcb(g, 0x80), ==, AT_L2 + 4);
    g_assert_cmphex(vmcb(g, 0x578), ==, AT_L2 + 2);

    /* rdmsr star goes through, wrmsr does not. */
    PREPARE(g, 0xb9, 0x81, 0, 0, 0xc0, 0x0f, 0x32, 0x0f, 0x30);
    intercept(g, MISC(SVM_EXIT_MSR));
    guest_st(g, MSRPM + 0x800 + 0x81 / 4, 2u << ((0x81 & 3) * 2), 1);
    g_assert_cmphex(go(g), ==, SVM_EXIT_MSR);
    g_assert_cmphex(vmcb(g, 0x78), ==, 1);
    g_assert_cmphex(vmcb(g, 0x578), ==, AT_L2 + 7);
    /* Beyond the map all are intercepted. */
    PREPARE(g, 0xb9, 0, 0, 0, 0x50, 0x0f, 0x32);
    intercept(g, MISC(SVM_EXIT_MSR));
    g_assert_cmphex(go(g), ==, SVM_EXIT_MSR);
    guest_free(g);
}

static void test_pause(void)
{
    Guest *g = guest_new("max");

    /* Three pass the filter, the fourth does not. */
    PREPARE(g, 0xf3, 0x90, 0xf3, 0x90, 0xf3, 0x90, 0xf3, 0x90, 0xf4);
    intercept(g, MISC(SVM_EXIT_PAUSE));
    guest_st(g, VMCB + 0x3e, 3, 2);
    g_assert_cmphex(go(g), ==, SVM_EXIT_PAUSE);
    g_assert_cmphex(vmcb(g, 0x578), ==, AT_L2 + 6);
    /* None of them is part of a loop that waits. */
    PREPARE(g, 0xb9, 9, 0, 0, 0, 0x0f, 0x31, 0x89, 0xc3, 0x0f, 0x31, 0x29, 0xd8, 0x3d, 0x20, 0xa1,
            0x07, 0, 0x72, 0xf5, 0xf3, 0x90, 0xff, 0xc9, 0x75, 0xeb, 0xf4);
    intercept(g, MISC(SVM_EXIT_PAUSE));
    guest_st(g, VMCB + 0x3c, 1000, 2);
    guest_st(g, VMCB + 0x3e, 3, 2);
    g_assert_cmphex(go(g), ==, SVM_EXIT_HLT);
    guest_free(g);
}

/* ---- events ---- */

static void test_exceptions(void)
{
    Guest *g = guest_new("max");

    PREPARE(g, 0x0f, 0x0b);
    intercept(g, 8, 1u << EXC_UD);
    g_assert_cmphex(go(g), ==, SVM_EXIT_EXCP_BASE + EXC_UD);
    /* Not intercepted: the guest's own handler halts. */
    PREPARE(g, 0x0f, 0x0b);
    g_assert_cmphex(go(g), ==, SVM_EXIT_HLT);
    g_assert_cmphex(vmcb(g, 0x578), ==, AT_HANDLERS + 4 * EXC_UD);
    /* A page fault leaves CR2 alone when it is the hypervisor's. */
    PREPARE(g, 0xa0, 0, 0, 0, 0x12, 0x34, 0, 0, 0);
    intercept(g, 8, 1u << EXC_PF);
    set(g, 0x640, 0x77);
    g_assert_cmphex(go(g), ==, SVM_EXIT_EXCP_BASE + EXC_PF);
    g_assert_cmphex(vmcb(g, 0x80), ==, 0x3412000000ull);
    g_assert_cmphex(vmcb(g, 0x640), ==, 0x77);
    g_assert_cmphex(guest_ld(g, VMCB + 0xd0, 1), ==, 15);
    g_assert_cmphex(guest_ld(g, VMCB + 0xd1, 1), ==, 0xa0);
    /* No IDT: a triple fault. */
    PREPARE(g, 0x0f, 0x0b);
    guest_st(g, VMCB + 0x484, 0, 4);
    g_assert_cmphex(go(g), ==, SVM_EXIT_SHUTDOWN);
    guest_free(g);
}

static void test_delivery(void)
{
    Guest *g = guest_new("max");

    /* The fault of a delivery tells what was being delivered. */
    PREPARE(g, 0x0f, 0x0b);
    guest_st(g, VMCB + 0x484, 0, 4);
    intercept(g, 8, 1u << EXC_GP);
    g_assert_cmphex(go(g), ==, SVM_EXIT_EXCP_BASE + EXC_GP);
    g_assert_cmphex(vmcb(g, 0x88), ==, 0x80000300 | EXC_UD);
    /* It is seen before both become a double fault. */
    PREPARE(g, 0x90);
    guest_st(g, VMCB + 0x484, 0, 4);
    set(g, 0xa8, 0x0000123400000000ull | 0x80000b00 | EXC_SS);
    intercept(g, 8, 1u << EXC_GP | 1u << EXC_DF | 1u << EXC_SS);
    g_assert_cmphex(go(g), ==, SVM_EXIT_EXCP_BASE + EXC_GP);
    g_assert_cmphex(vmcb(g, 0x78), ==, EXC_SS * 8 | 2);
    g_assert_cmphex(vmcb(g, 0x88), ==, 0x0000123480000b00ull | EXC_SS);
    PREPARE(g, 0x90);
    guest_st(g, VMCB + 0x484, 0, 4);
    set(g, 0xa8, 0x80000b00 | EXC_SS);
    intercept(g, 8, 1u << EXC_DF | 1u << EXC_SS);
    g_assert_cmphex(go(g), ==, SVM_EXIT_EXCP_BASE + EXC_DF);
    /* INT3 tells where the guest goes on; INT n of the same vector is no exception. */
    PREPARE(g, 0xcc);
    intercept(g, 8, 1u << EXC_BP);
    intercept(g, MISC(SVM_EXIT_SWINT));
    g_assert_cmphex(go(g), ==, SVM_EXIT_EXCP_BASE + EXC_BP);
    g_assert_cmphex(vmcb(g, 0x578), ==, AT_L2);
    g_assert_cmphex(vmcb(g, 0xc8), ==, AT_L2 + 1);
    PREPARE(g, 0xcd, 3);
    intercept(g, 8, 1u << EXC_BP);
    intercept(g, MISC(SVM_EXIT_SWINT));
    g_assert_cmphex(go(g), ==, SVM_EXIT_SWINT);
    g_assert_cmphex(vmcb(g, 0x78), ==, 3);
    /* Hypercalls are the hypervisor's, never those of the machine below. */
    PREPARE(g, 0x0f, 1, 0xc1);
    intercept(g, 8, 1u << EXC_UD);
    g_assert_cmphex(go(g), ==, SVM_EXIT_EXCP_BASE + EXC_UD);
    PREPARE(g, 0x0f, 1, 0xd9);
    intercept(g, 8, 1u << EXC_UD);
    g_assert_cmphex(go(g), ==, SVM_EXIT_EXCP_BASE + EXC_UD);
    guest_free(g);
}

static void test_injection(void)
{
    Guest *g = guest_new("max");

    PREPARE(g, 0x90);
    set(g, 0xa8, 0x80000000 | 0x30);
    g_assert_cmphex(go(g), ==, SVM_EXIT_HLT);
    g_assert_cmphex(vmcb(g, 0x578), ==, AT_HANDLERS + 4 * 0x30);
    g_assert_cmphex(vmcb(g, 0xa8) & 0x80000000, ==, 0);
    g_assert_cmphex(guest_ld(g, L2_STACK - 40, 8), ==, AT_L2);
    /* An exception with its code, not intercepted itself. */
    PREPARE(g, 0x90);
    set(g, 0xa8, 0x0000123400000000ull | 0x80000b00 | EXC_GP);
    intercept(g, 8, 1u << EXC_GP);
    g_assert_cmphex(go(g), ==, SVM_EXIT_HLT);
    g_assert_cmphex(guest_ld(g, L2_STACK - 48, 8), ==, 0x1234);
    /* A software interrupt returns behind its instruction. */
    PREPARE(g, 0xcd, 0x30);
    set(g, 0xa8, 0x80000400 | 0x30);
    set(g, 0xc8, AT_L2 + 2);
    g_assert_cmphex(go(g), ==, SVM_EXIT_HLT);
    g_assert_cmphex(guest_ld(g, L2_STACK - 40, 8), ==, AT_L2 + 2);
    PREPARE(g, 0xcc);
    set(g, 0xa8, 0x80000300 | EXC_BP);
    set(g, 0xc8, AT_L2 + 1);
    g_assert_cmphex(go(g), ==, SVM_EXIT_HLT);
    g_assert_cmphex(guest_ld(g, L2_STACK - 40, 8), ==, AT_L2 + 1);
    guest_free(g);
}

static void test_virtual(void)
{
    Guest *g = guest_new("max");
    uint64_t irq = 0x31ull << 32 | 1u << 24 | 5u << 16 | 1u << 8;

    /* sti; nop; nop; the handler halts */
    PREPARE(g, 0xfb, 0x90, 0x90, 0x0f, 0x0b);
    set(g, 0x60, irq);
    g_assert_cmphex(go(g), ==, SVM_EXIT_HLT);
    g_assert_cmphex(vmcb(g, 0x578), ==, AT_HANDLERS + 4 * 0x31);
    g_assert_cmphex(vmcb(g, 0x60) & 0x100, ==, 0);
    /* Below the virtual priority it waits; MOV CR8 lets it in. */
    PREPARE(g, 0xfb, 0x90, 0x90, 0x31, 0xc0, 0x44, 0x0f, 0x22, 0xc0, 0x90, 0x0f, 0x0b);
    set(g, 0x60, irq | 7);
    g_assert_cmphex(go(g), ==, SVM_EXIT_HLT);
    g_assert_cmphex(guest_ld(g, L2_STACK - 40, 8), ==, AT_L2 + 9);
    /* The window that a hypervisor waits for. */
    PREPARE(g, 0xfb, 0x90, 0x90, 0x0f, 0x0b);
    set(g, 0x60, irq);
    intercept(g, MISC(SVM_EXIT_VINTR));
    g_assert_cmphex(go(g), ==, SVM_EXIT_VINTR);
    g_assert_cmphex(vmcb(g, 0x578), ==, AT_L2 + 2);
    g_assert_cmphex(vmcb(g, 0x60) & 0x100, ==, 0x100);
    /* Not in the shadow, and not with the virtual GIF clear. */
    PREPARE(g, 0x90, 0x90, 0xf4);
    set(g, 0x570, 0x202);
    set(g, 0x68, 1);
    set(g, 0x60, irq);
    g_assert_cmphex(go(g), ==, SVM_EXIT_HLT);
    g_assert_cmphex(guest_ld(g, L2_STACK - 40, 8), ==, AT_L2 + 1);
    PREPARE(g, 0x90, 0x90, 0x0f, 1, 0xdc, 0x90, 0xf4); /* stgi */
    set(g, 0x570, 0x202);
    set(g, 0x60, irq | 1u << 25);
    g_assert_cmphex(go(g), ==, SVM_EXIT_HLT);
    g_assert_cmphex(guest_ld(g, L2_STACK - 40, 8), ==, AT_L2 + 5);
    guest_free(g);
}

static void test_physical(void)
{
    Guest *g = guest_new("max");

    PREPARE(g, 0xeb, 0xfe); /* a loop with interrupts off: the NMI is the hypervisor's */
    intercept(g, MISC(SVM_EXIT_NMI));
    cpu_interrupt(g->cpu, IRQ_NMI);
    g->cpu->svm.gif_clear = true;
    {
        /* clgi; vmrun; nop …; the NMI waits for the guest, and after it for stgi */
        static const uint8_t host[] = {0xb8, 0,    0,    4,    0,    0x0f, 0x01, 0xd8,
                                       0x90, 0x90, 0x0f, 0x01, 0xdc, 0x90, 0x0f, 0x0b};
        guest_exec(g, host, sizeof(host));
    }
    g_assert_cmphex(vmcb(g, 0x70), ==, SVM_EXIT_NMI);
    g_assert_cmpint(guest_vector(g), ==, EXC_NMI);
    g_assert_cmphex(guest_frame(g, 0, 8), ==, AT_CODE + 13);
    guest_free(g);
}

/* The first 2 MiB one to one, but one page of the guest's lies elsewhere and one nowhere. */
static void nested_tables(Guest *g)
{
    guest_st(g, NPT, (NPT + 0x1000) | 7, 8);
    guest_st(g, NPT + 0x1000, (NPT + 0x2000) | 7, 8);
    guest_st(g, NPT + 0x2000, (NPT + 0x3000) | 7, 8);
    for (unsigned i = 0; i < 512; i++) {
        guest_st(g, NPT + 0x3000 + i * 8, i * 0x1000ull | 7, 8);
    }
    guest_st(g, NPT + 0x3000 + 0x61 * 8, 0x70000 | 7, 8);
    guest_st(g, NPT + 0x3000 + 0x62 * 8, 0, 8);
    guest_st(g, NPT + 0x3000 + 0x63 * 8, 0x63000 | 5, 8); /* read only */
    set(g, 0x90, 1);
    set(g, 0xb0, NPT);
    set(g, 0x668, 0x0007040600070406ull);
}

/* ---- validity ---- */

static void test_invalid(void)
{
    Guest *g = guest_new("max");

    PREPARE(g, 0xf4);
    guest_st(g, VMCB + 0x58, 0, 4);
    g_assert_cmphex(go(g), ==, SVM_EXIT_INVALID);
    PREPARE(g, 0xf4);
    set(g, 0x4d0, vmcb(g, 0x4d0) & ~(uint64_t)EFER_SVME);
    g_assert_cmphex(go(g), ==, SVM_EXIT_INVALID);
    PREPARE(g, 0xf4);
    guest_st(g, VMCB + 0x10, 0, 4); /* VMRUN not intercepted */
    g_assert_cmphex(go(g), ==, SVM_EXIT_INVALID);
    PREPARE(g, 0xf4);
    set(g, 0xa8, 0x80000100); /* reserved type */
    g_assert_cmphex(go(g), ==, SVM_EXIT_INVALID);
    PREPARE(g, 0xf4);
    set(g, 0x48, 1ull << 40); /* a map where there is no memory, but in use */
    g_assert_cmphex(go(g), ==, SVM_EXIT_HLT);
    PREPARE(g, 0xf4);
    set(g, 0x48, (1ull << 40) - 0x1000);
    intercept(g, MISC(SVM_EXIT_MSR));
    g_assert_cmphex(go(g), ==, SVM_EXIT_INVALID);
    PREPARE(g, 0xf4);
    nested_tables(g);
    set(g, 0x668, 0x0007040600070402ull); /* no memory type */
    g_assert_cmphex(go(g), ==, SVM_EXIT_INVALID);
    set(g, 0x90, 0);
    /* Long mode without EFER.LMA, or with RFLAGS.VM, is long mode. */
    PREPARE(g, 0xf4);
    set(g, 0x4d0, vmcb(g, 0x4d0) & ~(uint64_t)EFER_LMA);
    set(g, 0x570, FLAG_VM | 2);
    g_assert_cmphex(go(g), ==, SVM_EXIT_HLT);
    g_assert_true(vmcb(g, 0x4d0) & EFER_LMA);
    g_assert_false(vmcb(g, 0x570) & FLAG_VM);
    /* Without SVME, and of what is no page. */
    guest_enter(g, GUEST_LONG);
    GUEST_EXEC(g, 0x0f, 0x01, 0xd8);
    g_assert_cmpint(guest_vector(g), ==, EXC_UD);
    guest_enter(g, GUEST_LONG);
    g->cpu->efer |= EFER_SVME;
    GUEST_EXEC(g, 0xb8, 1, 0, 0, 0, 0x0f, 0x01, 0xd8);
    g_assert_cmpint(guest_vector(g), ==, EXC_GP);
    guest_enter(g, GUEST_LONG);
    g->cpu->efer |= EFER_SVME;
    GUEST_EXEC(g, 0x0f, 0x01, 0xde); /* skinit */
    g_assert_cmpint(guest_vector(g), ==, EXC_UD);
    guest_free(g);
}

/* ---- nested paging ---- */

static void test_nested_paging(void)
{
    Guest *g = guest_new("max");

    PREPARE(g, 0xc6, 0x04, 0x25, 0x08, 0x10, 0x06, 0, 0x5a, 0xf4); /* mov byte [61008h], 5ah */
    nested_tables(g);
    g_assert_cmphex(go(g), ==, SVM_EXIT_HLT);
    g_assert_cmphex(guest_ld(g, 0x70008, 1), ==, 0x5a);
    g_assert_cmphex(guest_ld(g, 0x61008, 1), ==, 0);
    PREPARE(g, 0xa0, 0x10, 0x20, 0x06, 0, 0, 0, 0, 0); /* mov al, [62010h] */
    nested_tables(g);
    g_assert_cmphex(go(g), ==, SVM_EXIT_NPF);
    g_assert_cmphex(vmcb(g, 0x78), ==, 0x100000004ull);
    g_assert_cmphex(vmcb(g, 0x80), ==, 0x62010);
    g_assert_cmphex(vmcb(g, 0x578), ==, AT_L2);
    PREPARE(g, 0xa2, 0x10, 0x30, 0x06, 0, 0, 0, 0, 0); /* mov [63010h], al */
    nested_tables(g);
    g_assert_cmphex(go(g), ==, SVM_EXIT_NPF);
    g_assert_cmphex(vmcb(g, 0x78), ==, 0x100000007ull);
    /* A table of the guest's that the hypervisor has not mapped. */
    PREPARE(g, 0x90, 0xf4);
    nested_tables(g);
    guest_st(g, NPT + 0x3000 + (AT_PT >> 12) * 8, 0, 8);
    g_assert_cmphex(go(g), ==, SVM_EXIT_NPF);
    g_assert_cmphex(vmcb(g, 0x78), ==, 0x200000006ull);
    g_assert_cmphex(vmcb(g, 0x80) >> 12, ==, AT_PT >> 12);
    guest_free(g);
}

/* Guest and hypervisor see different memory at the same address, again and again. */
static void test_worlds(void)
{
    static const uint8_t host[] = {
        0xb9, 5,    0,    0,    0,                            /* mov ecx, 5 */
        0xb8, 0,    0,    4,    0,                            /* mov eax, VMCB */
        0x0f, 0x01, 0xd8,                                     /* vmrun */
        0xfe, 0x04, 0x25, 0x08, 0x10, 0x06, 0,                /* inc byte [61008h] */
        0xc7, 0x04, 0x25, 0x78, 0x05, 0x04, 0, 0, 0xc0, 0, 0, /* mov [VMCB + rip], AT_L2 */
        0xff, 0xc9, 0x75, 0xe2,                               /* dec ecx; jnz */
        0xf4,
    };
    Guest *g = guest_new("max");

    PREPARE(g, 0xfe, 0x04, 0x25, 0x08, 0x10, 0x06, 0, 0xfe, 0x04, 0x25, 0x08, 0x10, 0x06, 0, 0x0f,
            1, 0xd9, 0xf4); /* inc byte [61008h] twice; vmmcall */
    nested_tables(g);
    intercept(g, MISC(SVM_EXIT_VMMCALL));
    guest_exec(g, host, sizeof(host));
    g_assert_true(guest_finished(g, sizeof(host)));
    g_assert_cmphex(guest_ld(g, 0x61008, 1), ==, 5);
    g_assert_cmphex(guest_ld(g, 0x70008, 1), ==, 10);
    guest_free(g);
}

/* What the hypervisor has moved is found there after the flush it asks for. */
static void test_flush(void)
{
    static const uint8_t host[] = {
        0xb8, 0,    0,    4,    0,                   /* mov eax, VMCB */
        0x0f, 0x01, 0xd8,                            /* vmrun */
        0xc6, 0x04, 0x25, 0x09, 0x33, 0x05, 0, 0x10, /* mov byte [NPT of 61h + 1], 10h */
        0xc6, 0x04, 0x25, 0x5c, 0x00, 0x04, 0, 0,    /* mov byte [TLB_CONTROL], n */
        0xc7, 0x04, 0x25, 0x78, 0x05, 0x04, 0, 0,    0xc0, 0, 0, /* mov [VMCB + rip], AT_L2 */
        0x0f, 0x01, 0xd8,                                        /* vmrun */
        0xf4,
    };
    static const uint8_t controls[] = {1, 3, 7};
    uint8_t code[sizeof(host)];
    Guest *g = guest_new("max");

    for (unsigned i = 0; i < G_N_ELEMENTS(controls); i++) {
        PREPARE(g, 0xfe, 0x04, 0x25, 0x08, 0x10, 0x06, 0, 0xf4); /* inc byte [61008h] */
        nested_tables(g);
        guest_st(g, 0x70008, 1, 1);
        guest_st(g, 0x71008, 5, 1);
        memcpy(code, host, sizeof(host));
        code[23] = controls[i];
        /* The entry's second byte: 70h becomes 71h, in bits 15:8. */
        guest_st(g, NPT + 0x3000 + 0x61 * 8, 0x70000 | 7, 8);
        guest_exec(g, code, sizeof(code));
        g_assert_true(guest_finished(g, sizeof(code)));
        g_assert_cmphex(guest_ld(g, 0x70008, 1), ==, 2);
        g_assert_cmphex(guest_ld(g, 0x71008, 1), ==, 6);
    }
    guest_free(g);
}

/* VMSAVE in the guest: to the guest's own physical address. */
static void test_virtual_vmsave(void)
{
    Guest *g = guest_new("max");

    PREPARE(g, 0x0f, 1, 0xdb, 0xf4);
    nested_tables(g);
    set(g, 0xb8, 2);
    set(g, 0x5f8, 0x61000);
    g->cpu->lstar = 0xffff800000003000ull;
    g_assert_cmphex(go(g), ==, SVM_EXIT_HLT);
    g_assert_cmphex(guest_ld(g, 0x70608, 8), ==, 0xffff800000003000ull);
    PREPARE(g, 0x0f, 1, 0xdb, 0xf4);
    nested_tables(g);
    set(g, 0xb8, 2);
    set(g, 0x5f8, 0x62000); /* not mapped */
    g_assert_cmphex(go(g), ==, SVM_EXIT_NPF);
    g_assert_cmphex(vmcb(g, 0x80), ==, 0x62000);
    guest_free(g);
}

static void test_load_save(void)
{
    Guest *g = guest_new("max");

    prepare(g, "\xf4", 1);
    guest_st(g, VMCB + 0x440, 0x33, 2);
    set(g, 0x448, 0x1234567000ull);
    set(g, 0x620, 0xffff800000001000ull);
    set(g, 0x608, 0xffff800000002000ull);
    GUEST_EXEC(g, 0xb8, 0, 0, 4, 0, 0x0f, 0x01, 0xda, 0x05, 0, 0x10, 0, 0, 0x0f, 0x01, 0xdb, 0xf4);
    g_assert_cmphex(g->cpu->segs[SEG_FS].base, ==, 0x1234567000ull);
    g_assert_cmphex(g->cpu->lstar, ==, 0xffff800000002000ull);
    g_assert_cmphex(guest_ld(g, VMCB + 0x1448, 8), ==, 0x1234567000ull);
    g_assert_cmphex(guest_ld(g, VMCB + 0x1620, 8), ==, 0xffff800000001000ull);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/svm/instructions", test_instructions);
    g_test_add_func("/svm/registers", test_registers);
    g_test_add_func("/svm/bitmaps", test_bitmaps);
    g_test_add_func("/svm/pause", test_pause);
    g_test_add_func("/svm/exceptions", test_exceptions);
    g_test_add_func("/svm/delivery", test_delivery);
    g_test_add_func("/svm/injection", test_injection);
    g_test_add_func("/svm/virtual-interrupts", test_virtual);
    g_test_add_func("/svm/physical-interrupts", test_physical);
    g_test_add_func("/svm/invalid", test_invalid);
    g_test_add_func("/svm/nested-paging", test_nested_paging);
    g_test_add_func("/svm/worlds", test_worlds);
    g_test_add_func("/svm/flush", test_flush);
    g_test_add_func("/svm/virtual-vmsave", test_virtual_vmsave);
    g_test_add_func("/svm/load-save", test_load_save);
    return g_test_run();
}
