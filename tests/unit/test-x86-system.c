/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Faults, gates, tasks, virtual-8086 mode, long mode: small guests on the TCG engine. */
#include "tests/unit/x86-guest.h"

#define NO_ERROR UINT32_MAX

typedef struct FaultCase {
    const char *what;
    uint8_t code[16];
    uint8_t len;
    uint8_t vector;
    uint32_t error;
    uint8_t rip; /* offset pushed */
} FaultCase;

#define LD16(sel) 0x66, 0xb8, (sel)&0xff, (sel) >> 8 /* mov ax, sel */

static void check_frame(Guest *g, const FaultCase *c, unsigned size)
{
    unsigned n = c->error == NO_ERROR ? 0 : 1;

    g_assert_cmpint(guest_vector(g), ==, c->vector);
    if (n) {
        g_assert_cmphex(guest_frame(g, 0, size), ==, c->error);
    }
    g_assert_cmphex(guest_frame(g, n, size), ==, AT_CODE + c->rip);
    g_assert_cmpuint(cpu_cpl(g->cpu), ==, 0);
}

static void run_faults(GuestMode mode, const FaultCase *cases, size_t count)
{
    Guest *g = guest_new("max");

    for (size_t i = 0; i < count; i++) {
        const FaultCase *c = &cases[i];

        g_test_message("%s", c->what);
        guest_enter(g, mode);
        guest_exec(g, c->code, c->len);
        check_frame(g, c, mode >= GUEST_LONG ? 8 : 4);
    }
    guest_free(g);
}
#define RUN_FAULTS(mode, cases) run_faults(mode, cases, G_N_ELEMENTS(cases))

/* clang-format off */
static const FaultCase prot_faults[] = {
    {"div by zero", {0x31, 0xc9, 0xf7, 0xf1}, 4, EXC_DE, NO_ERROR, 2},
    {"ud2", {0x0f, 0x0b}, 2, EXC_UD, NO_ERROR, 0},
    {"int3", {0xcc}, 1, EXC_BP, NO_ERROR, 1},
    {"int 30h", {0xcd, 0x30}, 2, 0x30, NO_ERROR, 2},
    {"into", {0xb8, 0xff, 0xff, 0xff, 0x7f, 0x40, 0xce}, 7, EXC_OF, NO_ERROR, 7},
    {"icebp", {0xf1}, 1, EXC_DB, NO_ERROR, 1},
    {"ds: absent", {LD16(SEL_ABSENT), 0x8e, 0xd8}, 6, EXC_NP, SEL_ABSENT, 4},
    {"ss: wrong dpl", {LD16(SEL_ABSENT), 0x8e, 0xd0}, 6, EXC_GP, SEL_ABSENT, 4},
    {"ss: null", {LD16(0), 0x8e, 0xd0}, 6, EXC_GP, 0, 4},
    {"ds: not readable", {LD16(SEL_EXEC_ONLY), 0x8e, 0xd8}, 6, EXC_GP, SEL_EXEC_ONLY, 4},
    {"ds: beyond the table", {LD16(0x200), 0x8e, 0xd8}, 6, EXC_GP, 0x200, 4},
    {"ds: no LDT", {LD16(0x0c), 0x8e, 0xd8}, 6, EXC_GP, 0x0c, 4},
    {"jmp to data", {0xea, 0, 0x80, 0, 0, SEL_DATA32, 0}, 7, EXC_GP, SEL_DATA32, 0},
    {"jmp to null", {0xea, 0, 0x80, 0, 0, 0, 0}, 7, EXC_GP, 0, 0},
    {"beyond the limit", {LD16(SEL_SMALL), 0x8e, 0xd8, 0xa1, 0x1e, 0, 0, 0}, 11, EXC_GP, 0, 6},
    {"expand-down", {LD16(SEL_EXPAND_DOWN), 0x8e, 0xd8, 0xa1, 0, 1, 0, 0}, 11, EXC_GP, 0, 6},
    {"read only", {LD16(SEL_READ_ONLY), 0x8e, 0xd8, 0xa3, 0, 0xa0, 0, 0}, 11, EXC_GP, 0, 6},
    {"PG without PE", {0xb8, 0, 0, 0, 0x80, 0x0f, 0x22, 0xc0}, 8, EXC_GP, 0, 5},
    {"cr4 reserved", {0xb8, 0, 0, 0, 0x80, 0x0f, 0x22, 0xe0}, 8, EXC_GP, 0, 5},
    {"no such msr", {0xb9, 0x34, 0x12, 0, 0, 0x0f, 0x32}, 7, EXC_GP, 0, 5},
    {"lldt of data", {LD16(SEL_DATA32), 0x0f, 0x00, 0xd0}, 7, EXC_GP, SEL_DATA32, 4},
    {"ltr of a busy TSS", {LD16(SEL_TSS), 0x0f, 0x00, 0xd8}, 7, EXC_GP, SEL_TSS, 4},
    {"nm: fpu with TS", {0x0f, 0x20, 0xc0, 0x0c, 0x08, 0x0f, 0x22, 0xc0, 0xd9, 0xe8}, 10, EXC_NM,
     NO_ERROR, 8},
};

static const FaultCase user_faults[] = {
    {"hlt", {0xf4}, 1, EXC_GP, 0, 0},
    {"in", {0xe4, 0x60}, 2, EXC_GP, 0, 0},
    {"cli", {0xfa}, 1, EXC_GP, 0, 0},
    {"int with DPL 0", {0xcd, 0x30}, 2, EXC_GP, 0x30 * 8 + 2, 0},
    {"int 80h", {0xcd, 0x80}, 2, 0x80, NO_ERROR, 2},
    {"ds: kernel's", {LD16(SEL_DATA32), 0x8e, 0xd8}, 6, EXC_GP, SEL_DATA32, 4},
    {"jmp to the kernel", {0xea, 0, 0x80, 0, 0, SEL_CODE32, 0}, 7, EXC_GP, SEL_CODE32, 0},
    {"mov cr0", {0x0f, 0x20, 0xc0}, 3, EXC_GP, 0, 0},
    {"mov dr0", {0x0f, 0x21, 0xc0}, 3, EXC_GP, 0, 0},
    {"rdmsr", {0x0f, 0x32}, 2, EXC_GP, 0, 0},
    {"lgdt", {0x0f, 0x01, 0x15, 0, 0xa0, 0, 0}, 7, EXC_GP, 0, 0},
    {"invlpg", {0x0f, 0x01, 0x3d, 0, 0xa0, 0, 0}, 7, EXC_GP, 0, 0},
};

static const FaultCase long_faults[] = {
    {"non-canonical", {0x48, 0xb8, 0, 0, 0, 0, 0, 0x80, 0, 0, 0x48, 0x8b, 0x00}, 13, EXC_GP, 0, 10},
    {"ss null is fine, ds too", {0x31, 0xc0, 0x8e, 0xd0, 0x8e, 0xd8, 0x0f, 0x0b}, 8, EXC_UD,
     NO_ERROR, 6},
    {"int 30h", {0xcd, 0x30}, 2, 0x30, NO_ERROR, 2},
    {"far jmp to an empty descriptor", {0xff, 0x2c, 0x25, 0, 0x80, 0, 0}, 7, EXC_GP, 0x80, 0},
    {"LME off under paging", {0xb9, 0x80, 0, 0, 0xc0, 0x31, 0xc0, 0x99, 0x0f, 0x30}, 10, EXC_GP, 0,
     8},
    {"PAE off in long mode", {0x31, 0xc0, 0x0f, 0x22, 0xe0}, 5, EXC_GP, 0, 2},
    {"PG off in 64-bit code", {0x6a, 0x11, 0x58, 0x0f, 0x22, 0xc0}, 6, EXC_GP, 0, 3},
    {"cr3 reserved", {0x48, 0xb8, 0, 0, 0, 0, 0, 1, 0, 0, 0x0f, 0x22, 0xd8}, 13, EXC_GP, 0, 10},
    {"cr8 reserved", {0x6a, 0x10, 0x58, 0x44, 0x0f, 0x22, 0xc0}, 7, EXC_GP, 0, 3},
    {"lstar not canonical", {0xb9, 0x82, 0, 0, 0xc0, 0xba, 0, 0x80, 0, 0, 0x0f, 0x30}, 12, EXC_GP,
     0, 10},
};
/* clang-format on */

static void test_prot_faults(void)
{
    RUN_FAULTS(GUEST_PROT32, prot_faults);
}

static void test_user_faults(void)
{
    RUN_FAULTS(GUEST_USER32, user_faults);
}

static void test_long_faults(void)
{
    /* The far jump's operand is the snippet itself: bytes 4 and 5 are its selector. */
    RUN_FAULTS(GUEST_LONG, long_faults);
}

/* ---- real mode ---- */

static void test_real(void)
{
    Guest *g = guest_new("486");

    guest_enter(g, GUEST_REAL);
    g->cpu->rflags |= FLAG_IF | FLAG_DF;
    GUEST_EXEC(g, 0xcd, 0x21);
    g_assert_cmpint(guest_vector(g), ==, 0x21);
    g_assert_cmphex(guest_frame(g, 0, 2), ==, AT_CODE + 2);
    g_assert_cmphex(guest_frame(g, 1, 2), ==, 0);
    g_assert_cmphex(guest_frame(g, 2, 2), ==, 0x602);
    g_assert_cmphex(g->cpu->rflags, ==, 0x402);

    guest_enter(g, GUEST_REAL);
    GUEST_EXEC(g, 0xa1, 0xff, 0xff); /* mov ax, [ffff] passes the limit */
    g_assert_cmpint(guest_vector(g), ==, EXC_GP);
    g_assert_cmphex(guest_frame(g, 0, 2), ==, AT_CODE); /* no error code */

    guest_enter(g, GUEST_REAL);
    g->cpu->idtr.limit = 0;
    GUEST_EXEC(g, 0xcd, 0x21);
    g_assert_cmpint(g->exit, ==, RUN_EXIT_SHUTDOWN);

    guest_enter(g, GUEST_REAL);
    GUEST_EXEC(g, 0x9a, 0x09, 0x00, 0x00, 0x08, /* call 0800:0009 */
               0xf4, 0x90, 0x90, 0x90,          /**/
               0xb4, 0x55, 0xcb);               /* mov ah, 55; retf */
    g_assert_true(guest_finished(g, 6));
    g_assert_cmphex(g->cpu->regs[R_RAX], ==, 0x5500);
    g_assert_cmphex(g->cpu->regs[R_RSP], ==, AT_STACK);
    guest_free(g);
}

/* From reset-like real mode by instructions alone. */
static void test_mode_switch(void)
{
    Guest *g = guest_new("max");

    guest_enter(g, GUEST_LONG); /* builds the tables */
    g->cpu->cr0 = CR0_ET;
    g->cpu->cr4 = g->cpu->efer = 0;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        g->cpu->segs[i] = (Segment){.limit = 0xffff, .attr = i == SEG_CS ? 0x9b : 0x93};
    }
    cpu_update_hflags(g->cpu);
    GUEST_EXEC(g, 0x0f, 0x20, 0xc0,                   /* 8000 mov eax, cr0 */
               0x0c, 0x01,                            /* or al, 1 */
               0x0f, 0x22, 0xc0,                      /* mov cr0, eax */
               0xea, 0x0d, 0x80, SEL_CODE32, 0,       /* 8008 jmp 08:800d */
               0xb8, 0x20, 0, 0, 0,                   /* 800d mov eax, 20 (32-bit) */
               0x0f, 0x22, 0xe0,                      /* mov cr4, eax: PAE */
               0xb8, 0, 0, 2, 0,                      /* mov eax, AT_TABLES */
               0x0f, 0x22, 0xd8,                      /* mov cr3, eax */
               0xb9, 0x80, 0, 0, 0xc0,                /* mov ecx, EFER */
               0x0f, 0x32,                            /* rdmsr */
               0x80, 0xcc, 0x01,                      /* or ah, 1: LME */
               0x0f, 0x30,                            /* wrmsr */
               0x0f, 0x20, 0xc0,                      /* mov eax, cr0 */
               0x0d, 0, 0, 0, 0x80,                   /* or eax, PG */
               0x0f, 0x22, 0xc0,                      /* mov cr0, eax */
               0xea, 0x3b, 0x80, 0, 0, SEL_CODE64, 0, /* 8034 jmp 18:803b */
               0x48, 0xb8, 1, 0, 0, 0, 0, 0, 0, 0x80, /* mov rax, 8000000000000001 */
               0x48, 0xc1, 0xc0, 0x04,                /* rol rax, 4 */
               0xf4);
    g_assert_cmphex(g->cpu->rip, ==, AT_CODE + 0x4a);
    g_assert_cmphex(g->cpu->regs[R_RAX], ==, 0x18);
    g_assert_cmphex(g->cpu->efer, ==, EFER_LME | EFER_LMA);
    g_assert_true((g->cpu->hflags & (HF_CS64 | HF_LMA)) == (HF_CS64 | HF_LMA));
    guest_free(g);
}

/* ---- rings ---- */

static void test_inner_stack(void)
{
    Guest *g = guest_new("max");

    guest_enter(g, GUEST_USER32);
    GUEST_EXEC(g, 0xcd, 0x80);
    g_assert_cmpint(guest_vector(g), ==, 0x80);
    g_assert_cmphex(g->cpu->regs[R_RSP], ==, AT_STACK0 - 20);
    g_assert_cmphex(g->cpu->segs[SEG_SS].selector, ==, SEL_DATA32);
    g_assert_cmphex(guest_frame(g, 1, 4), ==, SEL_UCODE32);
    g_assert_cmphex(guest_frame(g, 3, 4), ==, AT_USER_STACK);
    g_assert_cmphex(guest_frame(g, 4, 4), ==, SEL_UDATA32);

    /* A bad stack in the TSS is #TS with the selector; the second #TS is a double fault. */
    guest_enter(g, GUEST_USER32);
    guest_st(g, AT_TSS + 8, SEL_UDATA32, 2);
    GUEST_EXEC(g, 0xcd, 0x80);
    g_assert_cmpint(g->exit, ==, RUN_EXIT_SHUTDOWN);

    /* Ring 0 to ring 3: the kernel's DS does not come along, nor the RPL of a null selector. */
    guest_enter(g, GUEST_PROT32);
    g->cpu->segs[SEG_FS] = (Segment){.selector = 3, .attr = SEG_UNUSABLE};
    GUEST_EXEC(g, 0x6a, SEL_UDATA32, 0x68, 0x00, 0x78, 0, 0, /* push ss, esp */
               0x6a, 0x02, 0x6a, SEL_UCODE32,                /* push flags, cs */
               0x68, 0x11, 0x80, 0, 0,                       /* push eip */
               0xcf,                                         /* iret */
               0xcd, 0x80);
    g_assert_cmpint(guest_vector(g), ==, 0x80);
    g_assert_cmphex(guest_frame(g, 0, 4), ==, AT_CODE + 0x13);
    g_assert_cmphex(g->cpu->segs[SEG_DS].selector, ==, 0);
    g_assert_true(g->cpu->segs[SEG_DS].attr & SEG_UNUSABLE);
    g_assert_cmphex(g->cpu->segs[SEG_FS].selector, ==, 0);
    guest_free(g);
}

static void test_call_gate(void)
{
    Guest *g = guest_new("max");

    guest_enter(g, GUEST_USER32);
    guest_gate(g, AT_GDT + SEL_CALL_GATE, SEL_CODE32, AT_DATA, 12, 3, 2, false);
    guest_st(g, AT_DATA, 0x0008ca, 4);                         /* retf 8 */
    GUEST_EXEC(g, 0x6a, 0x11, 0x6a, 0x22,                      /* push 11, push 22 */
               0x9a, 0xff, 0xff, 0xff, 0xff, SEL_CALL_GATE, 0, /* call gate */
               0xcd, 0x80);
    g_assert_cmpint(guest_vector(g), ==, 0x80);
    g_assert_cmphex(guest_frame(g, 0, 4), ==, AT_CODE + 13);
    g_assert_cmphex(guest_frame(g, 3, 4), ==, AT_USER_STACK); /* both parameters dropped */
    /* What the gate had put on the inner stack. */
    g_assert_cmphex(guest_ld(g, AT_STACK0 - 4, 4), ==, SEL_UDATA32);
    guest_enter(g, GUEST_USER32);
    guest_gate(g, AT_GDT + SEL_CALL_GATE, SEL_CODE32, AT_DATA, 12, 3, 2, false);
    guest_st(g, AT_DATA, 0xf4, 1);
    GUEST_EXEC(g, 0x6a, 0x11, 0x6a, 0x22, 0x9a, 0, 0, 0, 0, SEL_CALL_GATE, 0);
    g_assert_cmphex(g->cpu->rip, ==, AT_DATA + 1);
    g_assert_cmphex(g->cpu->regs[R_RSP], ==, AT_STACK0 - 24);
    g_assert_cmphex(guest_frame(g, 0, 4), ==, AT_CODE + 11);
    g_assert_cmphex(guest_frame(g, 1, 4), ==, SEL_UCODE32);
    g_assert_cmphex(guest_frame(g, 2, 4), ==, 0x22);
    g_assert_cmphex(guest_frame(g, 3, 4), ==, 0x11);
    g_assert_cmphex(guest_frame(g, 4, 4), ==, AT_USER_STACK - 8);

    /* Its DPL is checked against CPL and RPL. */
    guest_enter(g, GUEST_USER32);
    guest_gate(g, AT_GDT + SEL_CALL_GATE, SEL_CODE32, AT_DATA, 12, 2, 0, false);
    GUEST_EXEC(g, 0x9a, 0, 0, 0, 0, SEL_CALL_GATE, 0);
    g_assert_cmpint(guest_vector(g), ==, EXC_GP);
    g_assert_cmphex(guest_frame(g, 0, 4), ==, SEL_CALL_GATE);

    /* 64-bit: from compatibility mode into the kernel. */
    guest_enter(g, GUEST_COMPAT_USER);
    guest_gate(g, AT_GDT + SEL_CALL_GATE, SEL_CODE64, AT_DATA, 12, 3, 0, true);
    guest_st(g, AT_DATA, 0xf4, 1);
    GUEST_EXEC(g, 0x9a, 0, 0, 0, 0, SEL_CALL_GATE, 0);
    g_assert_cmphex(g->cpu->rip, ==, AT_DATA + 1);
    g_assert_cmphex(g->cpu->segs[SEG_SS].selector, ==, 0);
    g_assert_cmphex(guest_frame(g, 0, 8), ==, AT_CODE + 7);
    g_assert_cmphex(guest_frame(g, 1, 8), ==, SEL_UCODE32);
    g_assert_cmphex(guest_frame(g, 2, 8), ==, AT_USER_STACK);
    g_assert_cmphex(guest_frame(g, 3, 8), ==, SEL_UDATA32);
    guest_free(g);
}

static void test_conforming(void)
{
    Guest *g = guest_new("max");

    guest_enter(g, GUEST_USER32);
    GUEST_EXEC(g, 0xea, 0x07, 0x80, 0, 0, SEL_CONFORMING, 0, 0xcd, 0x80);
    g_assert_cmpint(guest_vector(g), ==, 0x80);
    g_assert_cmphex(guest_frame(g, 1, 4), ==, SEL_CONFORMING | 3);
    guest_free(g);
}

static void test_selectors(void)
{
    static const struct {
        uint16_t sel;
        uint8_t lar, lsl, verr, verw; /* ZF */
        uint32_t rights, limit;
    } cases[] = {
        {SEL_CODE32, 1, 1, 1, 0, 0x00c09b00, UINT32_MAX},
        {SEL_DATA32, 1, 1, 1, 1, 0x00c09300, UINT32_MAX},
        {SEL_ABSENT, 1, 1, 1, 1, 0x00c07300, UINT32_MAX},
        {SEL_EXEC_ONLY, 1, 1, 0, 0, 0x00c0f800, UINT32_MAX},
        {SEL_SMALL, 1, 1, 1, 1, 0x0040f200, 0x20},
        {SEL_TSS, 1, 1, 0, 0, 0x00008b00, 0xf8},
        {SEL_TASK_GATE, 1, 0, 0, 0, 0x0000e500, 0},
        {0, 0, 0, 0, 0, 0, 0},
        {0x300, 0, 0, 0, 0, 0, 0},
    };
    Guest *g = guest_new("max");

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        guest_enter(g, GUEST_PROT32);
        g->cpu->regs[R_RCX] = cases[i].sel;
        GUEST_EXEC(g, 0x0f, 0x02, 0xc1, 0x0f, 0x94, 0x05, 0x00, 0xa0, 0, 0, /* lar eax; setz */
                   0x0f, 0x03, 0xd9, 0x0f, 0x94, 0x05, 0x01, 0xa0, 0, 0,    /* lsl ebx; setz */
                   0x0f, 0x00, 0xe1, 0x0f, 0x94, 0x05, 0x02, 0xa0, 0, 0,    /* verr; setz */
                   0x0f, 0x00, 0xe9, 0x0f, 0x94, 0x05, 0x03, 0xa0, 0, 0, 0xf4);
        g_test_message("selector %#x", cases[i].sel);
        g_assert_cmphex(guest_ld(g, AT_DATA, 4), ==,
                        cases[i].lar | cases[i].lsl << 8 | cases[i].verr << 16 |
                            (uint32_t)cases[i].verw << 24);
        if (cases[i].lar) {
            g_assert_cmphex(g->cpu->regs[R_RAX], ==, cases[i].rights);
        }
        if (cases[i].lsl) {
            g_assert_cmphex(g->cpu->regs[R_RBX], ==, cases[i].limit);
        }
    }
    guest_free(g);
}

/* ---- tasks ---- */

static void build_task_b(Guest *g, const void *code, size_t len)
{
    const hwaddr t = AT_TSS_B;

    guest_st(g, t + 0x20, AT_DATA, 4);
    guest_st(g, t + 0x24, 0x2, 4);
    guest_st(g, t + 0x28, 0xaaaa0001, 4);    /* eax */
    guest_st(g, t + 0x38, AT_USER_STACK, 4); /* esp */
    guest_st(g, t + 0x48, SEL_DATA32, 4);    /* es */
    guest_st(g, t + 0x4c, SEL_CODE32, 4);    /* cs */
    guest_st(g, t + 0x50, SEL_DATA32, 4);    /* ss */
    guest_st(g, t + 0x54, SEL_DATA32, 4);    /* ds */
    g_assert_cmpint(address_space_write(g->as, AT_DATA, MEM_ATTRS_NONE, code, len), ==, MEM_OK);
}

static bool busy(Guest *g, uint16_t sel)
{
    return guest_ld(g, AT_GDT + sel + 5u, 1) & 2;
}

static void test_task_jump(void)
{
    Guest *g = guest_new("max");

    guest_enter(g, GUEST_PROT32);
    build_task_b(g, "\xf4", 1);
    g->cpu->regs[R_RBX] = 0x12345678;
    GUEST_EXEC(g, 0xea, 0, 0, 0, 0, SEL_TSS_B, 0);
    g_assert_cmphex(g->cpu->rip, ==, AT_DATA + 1);
    g_assert_cmphex(g->cpu->tr.selector, ==, SEL_TSS_B);
    g_assert_cmphex(g->cpu->regs[R_RAX], ==, 0xaaaa0001);
    g_assert_true(g->cpu->cr0 & CR0_TS);
    g_assert_true(busy(g, SEL_TSS_B) && !busy(g, SEL_TSS));
    g_assert_cmphex(guest_ld(g, AT_TSS + 0x20, 4), ==, AT_CODE + 7);
    g_assert_cmphex(guest_ld(g, AT_TSS + 0x34, 4), ==, 0x12345678);
    g_assert_cmphex(guest_ld(g, AT_TSS + 0x4c, 2), ==, SEL_CODE32);

    /* A debug trap on entry. */
    guest_enter(g, GUEST_PROT32);
    build_task_b(g, "\xf4", 1);
    guest_st(g, AT_TSS_B + 0x64, 1, 2);
    GUEST_EXEC(g, 0xea, 0, 0, 0, 0, SEL_TSS_B, 0);
    g_assert_cmpint(guest_vector(g), ==, EXC_DB);
    g_assert_true(g->cpu->dr[6] & 1u << 15);
    g_assert_cmphex(guest_frame(g, 0, 4), ==, AT_DATA);

    /* Too small a TSS stays in the old task; a bad SS is found in the new one. */
    guest_enter(g, GUEST_PROT32);
    guest_segment(g, SEL_TSS_B, AT_TSS_B, 0x66, SEG_P | 9);
    GUEST_EXEC(g, 0xea, 0, 0, 0, 0, SEL_TSS_B, 0);
    g_assert_cmpint(guest_vector(g), ==, EXC_TS);
    g_assert_cmphex(guest_frame(g, 0, 4), ==, SEL_TSS_B);
    g_assert_cmphex(guest_frame(g, 1, 4), ==, AT_CODE);
    guest_enter(g, GUEST_PROT32);
    build_task_b(g, "\xf4", 1);
    guest_st(g, AT_TSS_B + 0x54, SEL_EXEC_ONLY, 4); /* ds */
    GUEST_EXEC(g, 0xea, 0, 0, 0, 0, SEL_TSS_B, 0);
    g_assert_cmpint(guest_vector(g), ==, EXC_TS);
    g_assert_cmphex(g->cpu->tr.selector, ==, SEL_TSS_B);
    g_assert_cmphex(guest_frame(g, 0, 4), ==, SEL_EXEC_ONLY);
    g_assert_cmphex(guest_frame(g, 1, 4), ==, AT_DATA);
    guest_free(g);
}

static void test_task_call(void)
{
    Guest *g = guest_new("max");

    guest_enter(g, GUEST_PROT32);
    build_task_b(g, "\xcf\xf4", 2); /* iret: back; a second visit goes on after it */
    GUEST_EXEC(g, 0x9a, 0, 0, 0, 0, SEL_TASK_GATE, 0, 0xf4);
    g_assert_true(guest_finished(g, 8));
    g_assert_cmphex(g->cpu->tr.selector, ==, SEL_TSS);
    g_assert_true(busy(g, SEL_TSS) && !busy(g, SEL_TSS_B));
    g_assert_cmphex(guest_ld(g, AT_TSS_B, 2), ==, SEL_TSS);
    g_assert_cmphex(guest_ld(g, AT_TSS_B + 0x20, 4), ==, AT_DATA + 1);
    g_assert_cmphex(guest_ld(g, AT_TSS_B + 0x24, 4) & FLAG_NT, ==, 0);
    g_assert_false(g->cpu->rflags & FLAG_NT);

    /* An exception through a task gate: error code on the new stack, NT set, link. */
    guest_enter(g, GUEST_PROT32);
    build_task_b(g, "\xf4", 1);
    guest_gate(g, AT_IDT + EXC_GP * 8, SEL_TSS_B, 0, 5, 0, 0, false);
    GUEST_EXEC(g, LD16(0x208), 0x8e, 0xd8);
    g_assert_cmphex(g->cpu->rip, ==, AT_DATA + 1);
    g_assert_true(g->cpu->rflags & FLAG_NT);
    g_assert_cmphex(g->cpu->regs[R_RSP], ==, AT_USER_STACK - 4);
    g_assert_cmphex(guest_frame(g, 0, 4), ==, 0x208);
    g_assert_cmphex(guest_ld(g, AT_TSS + 0x20, 4), ==, AT_CODE + 4);
    g_assert_true(guest_ld(g, AT_TSS + 0x24, 4) & FLAG_RF);

    /* A 16-bit TSS. */
    guest_enter(g, GUEST_PROT32);
    guest_st(g, AT_TSS_B + 0x0e, AT_DATA, 2);
    guest_st(g, AT_TSS_B + 0x10, 2, 2);
    guest_st(g, AT_TSS_B + 0x12, 0x1234, 2);
    guest_st(g, AT_TSS_B + 0x24, SEL_CODE32, 2);
    guest_st(g, AT_TSS_B + 0x26, SEL_DATA32, 2);
    guest_st(g, AT_DATA, 0xf4, 1);
    GUEST_EXEC(g, 0xea, 0, 0, 0, 0, SEL_TSS16, 0);
    g_assert_cmphex(g->cpu->rip, ==, AT_DATA + 1);
    g_assert_cmphex((uint16_t)g->cpu->regs[R_RAX], ==, 0x1234);
    guest_free(g);
}

/* ---- virtual-8086 mode ---- */

static void test_v86(void)
{
    Guest *g = guest_new("max");

    guest_enter(g, GUEST_V86);
    g->cpu->segs[SEG_ES].selector = 0x1234;
    GUEST_EXEC(g, 0xcd, 0x21);
    g_assert_cmphex(g->cpu->segs[SEG_CS].selector, ==, SEL_CODE32);
    g_assert_cmphex(guest_frame(g, 0, 4), ==, AT_CODE + 2);
    g_assert_true(guest_frame(g, 2, 4) & FLAG_VM);
    g_assert_cmphex(guest_frame(g, 3, 4), ==, AT_USER_STACK);
    g_assert_cmphex(guest_frame(g, 5, 4), ==, 0x1234);
    g_assert_cmphex(g->cpu->regs[R_RSP], ==, AT_STACK0 - 36);
    g_assert_false(g->cpu->rflags & FLAG_VM);
    g_assert_true(g->cpu->segs[SEG_ES].attr & SEG_UNUSABLE);

    /* Sensitive instructions with IOPL 0. */
    static const uint8_t sensitive[][2] = {{0xcd, 0x21}, {0xfa, 0}, {0xfb, 0},   {0x9c, 0},
                                           {0x9d, 0},    {0xcf, 0}, {0xe4, 0x60}};
    for (size_t i = 0; i < G_N_ELEMENTS(sensitive); i++) {
        guest_enter(g, GUEST_V86);
        g->cpu->rflags &= ~(uint64_t)FLAG_IOPL;
        cpu_update_hflags(g->cpu);
        guest_exec(g, sensitive[i], 2);
        g_test_message("opcode %02x", sensitive[i][0]);
        g_assert_cmpint(guest_vector(g), ==, EXC_GP);
        g_assert_cmphex(guest_frame(g, 0, 4), ==, 0);
        g_assert_cmphex(guest_frame(g, 1, 4), ==, AT_CODE);
    }

    /* Ports that the bitmap allows. */
    guest_enter(g, GUEST_V86);
    g->cpu->tr.limit = 0x1ff;
    guest_st(g, AT_TSS + 0x88 + 0x500 / 8, 0xfffe, 2); /* port 500h */
    GUEST_EXEC(g, 0xba, 0x00, 0x05, 0xee, 0x42, 0xee);
    g_assert_cmpuint(g->outs, ==, 1);
    g_assert_cmpint(guest_vector(g), ==, EXC_GP);
    g_assert_cmphex(guest_frame(g, 1, 4), ==, AT_CODE + 5);

    /* Into it by IRET. */
    guest_enter(g, GUEST_PROT32);
    GUEST_EXEC(g, 0x6a, 4, 0x6a, 3, 0x6a, 2, 0x6a, 1, 0x6a, 0, /* gs fs ds es ss */
               0x68, 0x00, 0x78, 0, 0,                         /* esp */
               0x68, 0x02, 0x30, 2, 0,                         /* eflags: VM, IOPL 3 */
               0x6a, 0, 0x68, 0x1c, 0x80, 0, 0,                /* cs, eip */
               0xcf,                                           /* iret */
               0xcd, 0x21);
    g_assert_cmpint(guest_vector(g), ==, 0x21);
    g_assert_cmphex(guest_frame(g, 0, 4), ==, AT_CODE + 0x1e);
    g_assert_cmphex(guest_frame(g, 6, 4), ==, 2); /* ds */
    g_assert_cmphex(guest_frame(g, 8, 4), ==, 4); /* gs */
    guest_free(g);
}

static void test_vme(void)
{
    Guest *g = guest_new("max");

    guest_enter(g, GUEST_V86);
    g->cpu->cr4 |= CR4_VME;
    g->cpu->rflags = (g->cpu->rflags & ~(uint64_t)FLAG_IOPL) | FLAG_VIF | FLAG_IF;
    cpu_update_hflags(g->cpu);
    guest_st(g, AT_TSS + 0x68 + 0x21 / 8, 0xfd, 1); /* INT 21h stays in the program */
    GUEST_EXEC(g, 0xcd, 0x21);
    /* Its handler's HLT is privileged: that is how it comes out. */
    g_assert_cmpint(guest_vector(g), ==, EXC_GP);
    g_assert_cmphex(guest_frame(g, 1, 4), ==, AT_HANDLERS + 0x21 * 4);
    g_assert_cmphex(guest_frame(g, 3, 4) & (FLAG_VIF | FLAG_VM | FLAG_IF), ==, FLAG_VM | FLAG_IF);
    g_assert_cmphex(guest_ld(g, AT_USER_STACK - 2, 2), ==, FLAG_IF | FLAG_IOPL | 2);
    g_assert_cmphex(guest_ld(g, AT_USER_STACK - 6, 2), ==, AT_CODE + 2);

    /* CLI and STI move VIF; STI with VIP pending faults. */
    guest_enter(g, GUEST_V86);
    g->cpu->cr4 |= CR4_VME;
    g->cpu->rflags &= ~(uint64_t)FLAG_IOPL;
    cpu_update_hflags(g->cpu);
    GUEST_EXEC(g, 0xfb, 0x9c, 0xfa, 0x9c, 0xf4);
    g_assert_cmpint(guest_vector(g), ==, EXC_GP);
    g_assert_cmphex(guest_ld(g, AT_USER_STACK - 2, 2) & FLAG_IF, ==, FLAG_IF);
    g_assert_cmphex(guest_ld(g, AT_USER_STACK - 4, 2) & FLAG_IF, ==, 0);
    guest_enter(g, GUEST_V86);
    g->cpu->cr4 |= CR4_VME;
    g->cpu->rflags = (g->cpu->rflags & ~(uint64_t)FLAG_IOPL) | FLAG_VIP;
    cpu_update_hflags(g->cpu);
    GUEST_EXEC(g, 0xfb);
    g_assert_cmpint(guest_vector(g), ==, EXC_GP);
    g_assert_cmphex(guest_frame(g, 1, 4), ==, AT_CODE);
    guest_free(g);
}

/* ---- long mode ---- */

static void test_long_frames(void)
{
    Guest *g = guest_new("max");

    guest_enter(g, GUEST_LONG);
    g->cpu->regs[R_RSP] = AT_STACK - 5;
    GUEST_EXEC(g, 0xcd, 0x30);
    g_assert_cmpint(guest_vector(g), ==, 0x30);
    g_assert_cmphex(g->cpu->regs[R_RSP], ==, AT_STACK - 16 - 40); /* aligned first */
    g_assert_cmphex(guest_frame(g, 3, 8), ==, AT_STACK - 5);
    g_assert_cmphex(guest_frame(g, 4, 8), ==, SEL_DATA32);

    guest_enter(g, GUEST_LONG_USER);
    GUEST_EXEC(g, 0xcd, 0x80);
    g_assert_cmpint(guest_vector(g), ==, 0x80);
    g_assert_cmphex(g->cpu->regs[R_RSP], ==, AT_STACK0 - 40);
    g_assert_cmphex(g->cpu->segs[SEG_SS].selector, ==, 0);
    g_assert_cmphex(guest_frame(g, 1, 8), ==, SEL_UCODE64);
    g_assert_cmphex(guest_frame(g, 4, 8), ==, SEL_UDATA32);

    guest_enter(g, GUEST_COMPAT_USER);
    GUEST_EXEC(g, 0xcd, 0x80);
    g_assert_cmpint(guest_vector(g), ==, 0x80);
    g_assert_cmphex(guest_frame(g, 1, 8), ==, SEL_UCODE32);

    /* IST: a stack fault on an impossible stack. */
    guest_enter(g, GUEST_LONG);
    guest_gate(g, AT_IDT + EXC_SS * 16, SEL_CODE64, AT_HANDLERS + EXC_SS * 4, 14, 0, 1, true);
    GUEST_EXEC(g, 0x48, 0xbc, 0, 1, 0, 0, 0, 0x80, 0, 0, 0x50); /* mov rsp, …; push rax */
    g_assert_cmpint(guest_vector(g), ==, EXC_SS);
    g_assert_cmphex(g->cpu->regs[R_RSP], ==, AT_IST - 48);
    g_assert_cmphex(guest_frame(g, 1, 8), ==, AT_CODE + 10);
    guest_free(g);
}

static void test_iretq(void)
{
    Guest *g = guest_new("max");

    guest_enter(g, GUEST_LONG);
    GUEST_EXEC(g, 0x6a, SEL_UDATA32, 0x68, 0x00, 0x78, 0, 0, 0x68, 0x02, 0x02, 0, 0, 0x6a,
               SEL_UCODE32, 0x68, 0x15, 0x80, 0, 0, 0x48, 0xcf, /* iretq to 32-bit code */
               0x40, 0xcd, 0x80);                               /* inc eax there */
    g_assert_cmpint(guest_vector(g), ==, 0x80);
    g_assert_cmphex(guest_frame(g, 0, 8), ==, AT_CODE + 0x18);
    g_assert_cmphex(guest_frame(g, 1, 8), ==, SEL_UCODE32);
    g_assert_cmphex(guest_frame(g, 2, 8), ==, 0x202);
    g_assert_cmphex(g->cpu->regs[R_RAX], ==, 1);

    guest_enter(g, GUEST_LONG);
    g->cpu->rflags |= FLAG_NT;
    GUEST_EXEC(g, 0x48, 0xcf);
    g_assert_cmpint(guest_vector(g), ==, EXC_GP);
    guest_free(g);
}

static void test_syscall(void)
{
    Guest *g = guest_new("max");
    CPUX86 *cpu = g->cpu;

    guest_enter(g, GUEST_LONG_USER);
    cpu->star = (uint64_t)SEL_CODE32 << 32 | (uint64_t)0x33 << 48;
    cpu->lstar = AT_DATA;
    cpu->sfmask = FLAG_IF | FLAG_DF;
    cpu->rflags |= FLAG_IF | FLAG_DF;
    guest_st(g, AT_DATA, 0xf4, 1);
    GUEST_EXEC(g, 0x0f, 0x05);
    g_assert_cmphex(cpu->rip, ==, AT_DATA + 1);
    g_assert_cmphex(cpu->regs[R_RCX], ==, AT_CODE + 2);
    g_assert_cmphex(cpu->regs[R_R11], ==, 0x602);
    g_assert_cmphex(cpu->rflags, ==, 2);
    g_assert_cmphex(cpu->segs[SEG_CS].selector, ==, SEL_CODE32);
    g_assert_cmphex(cpu->segs[SEG_SS].selector, ==, SEL_DATA32);
    g_assert_cmpuint(cpu_cpl(cpu), ==, 0);

    guest_enter(g, GUEST_LONG);
    cpu->star = (uint64_t)0x33 << 48;
    cpu->regs[R_RCX] = AT_DATA;
    cpu->regs[R_R11] = 0x602;
    guest_st(g, AT_DATA, 0x80cd, 2);
    GUEST_EXEC(g, 0x48, 0x0f, 0x07);
    g_assert_cmpint(guest_vector(g), ==, 0x80);
    g_assert_cmphex(guest_frame(g, 0, 8), ==, AT_DATA + 2);
    g_assert_cmphex(guest_frame(g, 1, 8), ==, 0x43);
    g_assert_cmphex(guest_frame(g, 2, 8), ==, 0x602);
    g_assert_cmphex(guest_frame(g, 4, 8), ==, 0x3b);

    guest_enter(g, GUEST_LONG_USER); /* without SCE it does not exist */
    cpu->efer &= ~(uint64_t)EFER_SCE;
    GUEST_EXEC(g, 0x0f, 0x05);
    g_assert_cmpint(guest_vector(g), ==, EXC_UD);

    guest_enter(g, GUEST_USER32);
    cpu->sysenter_cs = SEL_CODE32;
    cpu->sysenter_esp = AT_STACK;
    cpu->sysenter_eip = AT_DATA;
    guest_st(g, AT_DATA, 0xf4, 1);
    GUEST_EXEC(g, 0x0f, 0x34);
    g_assert_cmphex(cpu->rip, ==, AT_DATA + 1);
    g_assert_cmphex(cpu->regs[R_RSP], ==, AT_STACK);
    g_assert_cmpuint(cpu_cpl(cpu), ==, 0);
    guest_free(g);
}

static void test_page_faults(void)
{
    static const struct {
        GuestMode mode;
        uint64_t pte; /* of AT_DATA */
        uint8_t code[8];
        uint8_t len;
        uint32_t error;
    } cases[] = {
        {GUEST_LONG, 0, {0x89, 0x04, 0x25, 0, 0xa0, 0, 0}, 7, 2},
        {GUEST_LONG, 0, {0x8b, 0x04, 0x25, 0, 0xa0, 0, 0}, 7, 0},
        {GUEST_LONG_USER, 0, {0x89, 0x04, 0x25, 0, 0xa0, 0, 0}, 7, 6},
        {GUEST_LONG_USER, AT_DATA | 3, {0x8b, 0x04, 0x25, 0, 0xa0, 0, 0}, 7, 5},
        {GUEST_LONG_USER, AT_DATA | 5, {0x89, 0x04, 0x25, 0, 0xa0, 0, 0}, 7, 7},
        {GUEST_LONG, AT_DATA | 5, {0x89, 0x04, 0x25, 0, 0xa0, 0, 0}, 7, 3},
        {GUEST_LONG_USER, AT_DATA | 7 | 1ull << 63, {0x68, 0, 0xa0, 0, 0, 0xc3}, 6, 0x15},
        {GUEST_LONG_USER, AT_DATA | 7 | 1ull << 50, {0x8b, 0x04, 0x25, 0, 0xa0, 0, 0}, 7, 0xd},
    };
    Guest *g = guest_new("max");

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        guest_enter(g, cases[i].mode);
        guest_st(g, AT_PT + (AT_DATA >> 12) * 8, cases[i].pte, 8);
        guest_exec(g, cases[i].code, cases[i].len);
        g_test_message("case %zu", i);
        g_assert_cmpint(guest_vector(g), ==, EXC_PF);
        g_assert_cmphex(guest_frame(g, 0, 8), ==, cases[i].error);
        g_assert_cmphex(g->cpu->cr2, ==, AT_DATA);
        g_assert_true(guest_frame(g, 3, 8) & FLAG_RF);
    }

    /* A store over two pages of which the second is missing writes nothing. */
    guest_enter(g, GUEST_LONG);
    guest_st(g, AT_PT + 0xb * 8, 0, 8);
    g->cpu->regs[R_RAX] = 0x1122334455667788;
    GUEST_EXEC(g, 0x48, 0x89, 0x04, 0x25, 0xfc, 0xaf, 0, 0);
    g_assert_cmpint(guest_vector(g), ==, EXC_PF);
    g_assert_cmphex(g->cpu->cr2, ==, 0xb000);
    g_assert_cmphex(guest_ld(g, 0xaffc, 4), ==, 0);

    /* Accessed and dirty follow the accesses. */
    guest_enter(g, GUEST_LONG);
    GUEST_EXEC(g, 0x8b, 0x04, 0x25, 0, 0xa0, 0, 0, 0xf4);
    g_assert_cmphex(guest_ld(g, AT_PT + 0xa * 8, 8), ==, AT_DATA | 0x27);
    g->cpu->rip = AT_CODE;
    g->cpu->halted = false;
    GUEST_EXEC(g, 0x89, 0x04, 0x25, 0, 0xa0, 0, 0, 0xf4);
    g_assert_cmphex(guest_ld(g, AT_PT + 0xa * 8, 8), ==, AT_DATA | 0x67);
    guest_free(g);
}

static void test_double_fault(void)
{
    Guest *g = guest_new("max,vendor=GenuineIntel"); /* AMD's EXT is for interrupts alone */

    guest_enter(g, GUEST_LONG);
    guest_st(g, AT_IDT + EXC_PF * 16 + 5, 0x0e, 1); /* not present */
    guest_st(g, AT_PT + 0xa * 8, 0, 8);
    GUEST_EXEC(g, 0x8b, 0x04, 0x25, 0, 0xa0, 0, 0);
    g_assert_cmpint(guest_vector(g), ==, EXC_DF);
    g_assert_cmphex(guest_frame(g, 0, 8), ==, 0);
    g_assert_cmphex(guest_frame(g, 1, 8), ==, AT_CODE);

    /* A benign exception's gate that is missing is just #NP, with the vector and EXT. */
    guest_enter(g, GUEST_LONG);
    guest_st(g, AT_IDT + EXC_UD * 16 + 5, 0x0e, 1);
    GUEST_EXEC(g, 0x0f, 0x0b);
    g_assert_cmpint(guest_vector(g), ==, EXC_NP);
    g_assert_cmphex(guest_frame(g, 0, 8), ==, EXC_UD * 8 + 3);
    /* For INT n, without EXT. */
    guest_enter(g, GUEST_LONG);
    guest_st(g, AT_IDT + 0x30 * 16 + 5, 0x0e, 1);
    GUEST_EXEC(g, 0xcd, 0x30);
    g_assert_cmpint(guest_vector(g), ==, EXC_NP);
    g_assert_cmphex(guest_frame(g, 0, 8), ==, 0x30 * 8 + 2);

    guest_enter(g, GUEST_LONG);
    g->cpu->idtr.limit = 0;
    GUEST_EXEC(g, 0x0f, 0x0b);
    g_assert_cmpint(g->exit, ==, RUN_EXIT_SHUTDOWN);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define T(name) g_test_add_func("/x86-system/" #name, test_##name)
    T(real);
    T(mode_switch);
    T(prot_faults);
    T(user_faults);
    T(long_faults);
    T(inner_stack);
    T(call_gate);
    T(conforming);
    T(selectors);
    T(task_jump);
    T(task_call);
    T(v86);
    T(vme);
    T(long_frames);
    T(iretq);
    T(syscall);
    T(page_faults);
    T(double_fault);
    return g_test_run();
}
