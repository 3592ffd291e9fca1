/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Debug registers, single step, interrupt shadows, system-management mode, MSRs. */
#include "tests/unit/x86-guest.h"

#define DR6_BS (1u << 14)
#define DR6_BD (1u << 13)

static void test_single_step(void)
{
    Guest *g = guest_new("max");

    guest_enter(g, GUEST_LONG);
    g->cpu->rflags |= FLAG_TF;
    cpu_update_hflags(g->cpu);
    GUEST_EXEC(g, 0x90, 0x90, 0xf4);
    g_assert_cmpint(guest_vector(g), ==, EXC_DB);
    g_assert_cmphex(guest_frame(g, 0, 8), ==, AT_CODE + 1);
    g_assert_cmphex(guest_frame(g, 2, 8), ==, FLAG_TF | 2);
    g_assert_true(g->cpu->dr[6] & DR6_BS);
    g_assert_false(g->cpu->rflags & FLAG_TF);

    /* POPF that sets TF: the trap comes after the instruction that follows. */
    guest_enter(g, GUEST_PROT32);
    GUEST_EXEC(g, 0x68, 0x02, 0x01, 0, 0, 0x9d, 0x90, 0x90, 0xf4);
    g_assert_cmpint(guest_vector(g), ==, EXC_DB);
    g_assert_cmphex(guest_frame(g, 0, 4), ==, AT_CODE + 7);

    /* MOV SS holds the trap back for one instruction. */
    guest_enter(g, GUEST_PROT32);
    g->cpu->regs[R_RAX] = SEL_DATA32;
    g->cpu->rflags |= FLAG_TF;
    cpu_update_hflags(g->cpu);
    GUEST_EXEC(g, 0x8e, 0xd0, 0x90, 0x90, 0xf4);
    g_assert_cmpint(guest_vector(g), ==, EXC_DB);
    g_assert_cmphex(guest_frame(g, 0, 4), ==, AT_CODE + 3);
    guest_free(g);
}

static void test_code_breakpoint(void)
{
    Guest *g = guest_new("max");

    guest_enter(g, GUEST_LONG);
    g->cpu->dr[2] = AT_CODE + 2;
    g->cpu->dr[7] = 0x400 | 1u << 5; /* G2, instruction */
    cpu_update_hflags(g->cpu);
    GUEST_EXEC(g, 0x90, 0x90, 0x90, 0xf4);
    g_assert_cmpint(guest_vector(g), ==, EXC_DB);
    g_assert_cmphex(guest_frame(g, 0, 8), ==, AT_CODE + 2);
    g_assert_cmphex(g->cpu->dr[6] & 15, ==, 4);
    g_assert_false(guest_frame(g, 2, 8) & FLAG_RF);

    /* IRET with RF in the image goes past it. */
    guest_enter(g, GUEST_PROT32);
    g->cpu->dr[0] = AT_CODE + 13;
    g->cpu->dr[7] = 0x401;
    cpu_update_hflags(g->cpu);
    GUEST_EXEC(g, 0x68, 0x02, 0x00, 1, 0, 0x6a, SEL_CODE32, 0x68, 0x0d, 0x80, 0, 0, 0xcf, 0x90,
               0xf4);
    g_assert_true(guest_finished(g, 15));
    g_assert_false(g->cpu->rflags & FLAG_RF);
    guest_free(g);
}

static void test_data_breakpoint(void)
{
    Guest *g = guest_new("max");

    guest_enter(g, GUEST_LONG);
    g->cpu->dr[1] = AT_DATA + 4;
    g->cpu->dr[7] = 0x400 | 1u << 3 | 0xdu << 20; /* G1, write, 4 bytes */
    cpu_update_hflags(g->cpu);
    GUEST_EXEC(g, 0x8b, 0x04, 0x25, 4, 0xa0, 0, 0, /* a read does not count */
               0x89, 0x04, 0x25, 0, 0xa0, 0, 0,    /* nor the neighbour */
               0x66, 0x89, 0x04, 0x25, 3, 0xa0, 0, 0, 0x90, 0xf4);
    g_assert_cmpint(guest_vector(g), ==, EXC_DB);
    g_assert_cmphex(guest_frame(g, 0, 8), ==, AT_CODE + 22); /* a trap */
    g_assert_cmphex(g->cpu->dr[6] & 15, ==, 2);

    guest_enter(g, GUEST_LONG);
    g->cpu->dr[3] = 0x504;
    g->cpu->dr[7] = 0x400 | 1u << 7 | 0x2u << 28; /* G3, I/O, 1 byte */
    g->cpu->cr4 |= CR4_DE;
    cpu_update_hflags(g->cpu);
    GUEST_EXEC(g, 0x66, 0xba, 0x00, 0x05, 0xee, 0xb2, 0x04, 0xee, 0x90, 0xf4);
    g_assert_cmpint(guest_vector(g), ==, EXC_DB);
    g_assert_cmphex(guest_frame(g, 0, 8), ==, AT_CODE + 8);
    g_assert_cmpuint(g->outs, ==, 2);
    g_assert_cmphex(g->cpu->dr[6] & 15, ==, 8);
    guest_free(g);
}

static void test_general_detect(void)
{
    Guest *g = guest_new("max");

    guest_enter(g, GUEST_LONG);
    g->cpu->dr[7] = 0x400 | 1u << 13;
    GUEST_EXEC(g, 0x0f, 0x21, 0xc0); /* mov rax, dr0 */
    g_assert_cmpint(guest_vector(g), ==, EXC_DB);
    g_assert_cmphex(guest_frame(g, 0, 8), ==, AT_CODE);
    g_assert_true(g->cpu->dr[6] & DR6_BD);
    g_assert_cmphex(g->cpu->dr[7], ==, 0x400);

    guest_enter(g, GUEST_LONG);
    g->cpu->cr4 |= CR4_DE;
    GUEST_EXEC(g, 0x0f, 0x21, 0xe0); /* dr4 */
    g_assert_cmpint(guest_vector(g), ==, EXC_UD);
    guest_enter(g, GUEST_LONG);
    GUEST_EXEC(g, 0x0f, 0x21, 0xe0, 0xf4);
    g_assert_cmphex(g->cpu->regs[R_RAX], ==, 0xffff0ff0);
    guest_free(g);
}

/* ---- interrupts ---- */

typedef struct FakeApic {
    Guest *g;
    unsigned acks;
} FakeApic;

static int fake_ack(void *opaque)
{
    FakeApic *a = opaque;

    a->acks++;
    cpu_interrupt_clear(a->g->cpu, IRQ_HARD);
    return 0x40;
}
static uint64_t fake_base(void *opaque)
{
    return 0xfee00900;
}

static void test_interrupts(void)
{
    static const ApicOps ops = {.ack_interrupt = fake_ack, .get_base = fake_base};
    Guest *g = guest_new("max");
    FakeApic apic = {.g = g};

    g->cpu->apic_ops = &ops;
    g->cpu->apic = &apic;
    guest_enter(g, GUEST_LONG);
    cpu_interrupt(g->cpu, IRQ_HARD);
    GUEST_EXEC(g, 0x90, 0xfb, 0x90, 0x90, 0xf4); /* sti: one more instruction */
    g_assert_cmpint(guest_vector(g), ==, 0x40);
    g_assert_cmphex(guest_frame(g, 0, 8), ==, AT_CODE + 3);
    g_assert_cmpuint(apic.acks, ==, 1);

    guest_enter(g, GUEST_LONG);
    cpu_interrupt(g->cpu, IRQ_HARD);
    GUEST_EXEC(g, 0xfb, 0xf4); /* sti; hlt: woken at once, after the hlt */
    g_assert_cmpint(guest_vector(g), ==, 0x40);
    g_assert_cmphex(guest_frame(g, 0, 8), ==, AT_CODE + 2);

    guest_enter(g, GUEST_LONG);
    cpu_interrupt(g->cpu, IRQ_NMI);
    GUEST_EXEC(g, 0x90, 0xf4);
    g_assert_cmpint(guest_vector(g), ==, EXC_NMI);
    g_assert_true(g->cpu->nmi_masked);
    guest_free(g);
}

/* ---- SMM ---- */

static void smm_round(Guest *g, GuestMode mode, bool wide)
{
    /* mov dword [a000], 12345678; mov dword [SMBASE field], 50000; rsm */
    static const uint8_t handler[] = {0x66, 0xc7, 0x06, 0x00, 0xa0, 0x78, 0x56, 0x34,
                                      0x12, 0x66, 0x67, 0xc7, 0x05, 0x00, 0xff, 0x03,
                                      0x00, 0x00, 0x00, 0x05, 0x00, 0x0f, 0xaa};
    CPUX86 before;

    guest_enter(g, mode);
    for (unsigned i = 1; i < 16; i++) {
        g->cpu->regs[i] =
            i == R_RSP ? g->cpu->regs[i] : (wide ? 0x0102030405060700ull : 0x1000ull) + i;
    }
    memcpy(g->ram->host + 0x38000, handler, sizeof(handler));
    if (!wide) {
        g->ram->host[0x38000 + 13] = 0xf8; /* 3fef8 */
        g->ram->host[0x38000 + 14] = 0xfe;
    }
    before = *g->cpu;
    cpu_interrupt(g->cpu, IRQ_SMI);
    GUEST_EXEC(g, 0x90, 0xf4);
    g_assert_true(guest_finished(g, 2));
    g_assert_cmphex(guest_ld(g, AT_DATA, 4), ==, 0x12345678);
    g_assert_false(g->cpu->smm);
    g_assert_cmphex(g->cpu->smbase, ==, 0x50000);
    g_assert_cmpmem(g->cpu->regs, sizeof(before.regs), before.regs, sizeof(before.regs));
    g_assert_cmpmem(g->cpu->segs, sizeof(before.segs), before.segs, sizeof(before.segs));
    g_assert_cmphex(g->cpu->cr0, ==, before.cr0);
    g_assert_cmphex(g->cpu->cr4, ==, before.cr4);
    g_assert_cmphex(g->cpu->efer, ==, before.efer);
    g_assert_cmphex(g->cpu->hflags, ==, before.hflags);
    g_assert_cmpmem(&g->cpu->tr, sizeof(Segment), &before.tr, sizeof(Segment));
}

static void test_smm(void)
{
    Guest *g = guest_new("max");

    smm_round(g, GUEST_LONG, true);
    smm_round(g, GUEST_PROT32, true);
    smm_round(g, GUEST_REAL, true);
    guest_enter(g, GUEST_LONG);
    GUEST_EXEC(g, 0x0f, 0xaa); /* rsm outside */
    g_assert_cmpint(guest_vector(g), ==, EXC_UD);

    /* A saved state that no processor can be in. */
    guest_enter(g, GUEST_PROT32);
    memcpy(g->ram->host + 0x38000, "\x66\x67\xc7\x05\x58\xff\x03\x00\x00\x00\x00\x80\x0f\xaa", 14);
    cpu_interrupt(g->cpu, IRQ_SMI);
    GUEST_EXEC(g, 0x90, 0xf4);
    g_assert_cmpint(g->exit, ==, RUN_EXIT_SHUTDOWN);
    guest_free(g);

    g = guest_new("pentium3");
    smm_round(g, GUEST_PROT32, false);
    guest_free(g);
}

/* ---- MSRs, TSC ---- */

static void rdmsr(Guest *g, uint32_t index)
{
    guest_enter(g, GUEST_LONG);
    g->cpu->regs[R_RCX] = index;
    GUEST_EXEC(g, 0x0f, 0x32, 0xf4);
}

static void test_msrs(void)
{
    Guest *g = guest_new("max");

    rdmsr(g, 0xfe);
    g_assert_cmphex(g->cpu->regs[R_RAX], ==, 0x508);
    rdmsr(g, 0x277);
    g_assert_cmphex(g->cpu->regs[R_RAX], ==, 0x00070406);
    rdmsr(g, 0x179);
    g_assert_cmphex(g->cpu->regs[R_RAX], ==, 0x100010a);
    rdmsr(g, 0xc0010055);
    g_assert_true(guest_finished(g, 3));
    rdmsr(g, 0xdeadbeef);
    g_assert_cmpint(guest_vector(g), ==, EXC_GP);

    /* A memory type that does not exist; a reserved mask bit. */
    static const struct {
        uint32_t index;
        uint64_t value;
        bool ok;
    } writes[] = {
        {0x277, 0x0007040600070406, true},
        {0x277, 2, false},
        {0x2ff, 0xc06, true},
        {0x2ff, 0x1000, false},
        {0x200, 0x80000006, true},
        {0x200, 0x80000007, false},
        {0x201, 0xff80000800, true},
        {0x201, 0x10000000800, false},
        {0x250, 0x0606060606060606, true},
        {0x250, 3, false},
        {0x400, UINT64_MAX, true},
        {0x401, 1, false},
        {0x174, 8, true},
        {0xc0000084, 1ull << 32, false},
        {0xc0000080, 0xd01, true},
        {0xc0000080, 0x80000d01, false},
        {0xfe, 0, false},
        {0x1d9, 2, false},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(writes); i++) {
        guest_enter(g, GUEST_LONG);
        g->cpu->regs[R_RCX] = writes[i].index;
        g->cpu->regs[R_RAX] = (uint32_t)writes[i].value;
        g->cpu->regs[R_RDX] = writes[i].value >> 32;
        GUEST_EXEC(g, 0x0f, 0x30, 0xf4);
        g_test_message("MSR %#x", writes[i].index);
        g_assert_cmpint(guest_vector(g), ==, writes[i].ok ? -1 : EXC_GP);
    }
    guest_free(g);
}

static void test_tsc(void)
{
    Guest *g = guest_new("max");

    guest_enter(g, GUEST_LONG);
    GUEST_EXEC(g, 0xb9, 0x10, 0, 0, 0, 0x31, 0xc0, 0x31, 0xd2, 0xb2, 0x07, 0x0f,
               0x30, /* TSC = 7<<32 */
               0x0f, 0x31, 0x48, 0x89, 0xd3, 0x0f, 0x31, 0xf4);
    g_assert_cmpuint(g->cpu->regs[R_RBX], ==, 7);
    g_assert_cmpuint(g->cpu->regs[R_RDX], ==, 7);
    g_assert_cmphex(g->cpu->tsc_adjust, !=, 0);
    guest_enter(g, GUEST_LONG_USER);
    g->cpu->cr4 |= CR4_TSD;
    GUEST_EXEC(g, 0x0f, 0x31);
    g_assert_cmpint(guest_vector(g), ==, EXC_GP);
    guest_free(g);
}

static void test_enter(void)
{
    Guest *g = guest_new("max");

    guest_enter(g, GUEST_PROT32);
    g->cpu->regs[R_RBP] = AT_DATA + 0x100;
    guest_st(g, AT_DATA + 0xfc, 0x1111, 4);
    guest_st(g, AT_DATA + 0xf8, 0x2222, 4);
    GUEST_EXEC(g, 0xc8, 0x10, 0x00, 0x03, 0xf4);
    g_assert_cmphex(g->cpu->regs[R_RBP], ==, AT_STACK - 4);
    g_assert_cmphex(g->cpu->regs[R_RSP], ==, AT_STACK - 16 - 0x10);
    g_assert_cmphex(guest_ld(g, AT_STACK - 4, 4), ==, AT_DATA + 0x100);
    g_assert_cmphex(guest_ld(g, AT_STACK - 8, 4), ==, 0x1111);
    g_assert_cmphex(guest_ld(g, AT_STACK - 12, 4), ==, 0x2222);
    g_assert_cmphex(guest_ld(g, AT_STACK - 16, 4), ==, AT_STACK - 4);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define T(name) g_test_add_func("/x86-debug/" #name, test_##name)
    T(single_step);
    T(code_breakpoint);
    T(data_breakpoint);
    T(general_detect);
    T(interrupts);
    T(smm);
    T(msrs);
    T(tsc);
    T(enter);
    return g_test_run();
}
