/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/unit/test-fpu-state.c: what x87 and SSE state looks like in memory, and what
 * happens when it cannot be written or read: environments in all formats, FXSAVE, the
 * XSAVE family, faults, #MF and FERR#.
 */
#include "target/i386/tcg/helper.h"
#include "target/i386/tcg/x87.h"
#include "tcg-harness.h"

#include <string.h>

#define TABLES 0x1000ull
#define RAM (16 * MiB)
#define AREA 0x200000ull
#define UNMAPPED 0x80000000ull
#define LAST_PAGE (RAM - 4096)

/* Runs `stmt`; the vector it raised, or -1. */
#define CATCH(cpu, stmt)                        \
    ({                                          \
        sigjmp_buf env_, *old_ = (cpu)->unwind; \
        volatile int vector_ = -1;              \
        (cpu)->unwind = &env_;                  \
        if (!sigsetjmp(env_, 0)) {              \
            stmt;                               \
        } else {                                \
            vector_ = (cpu)->exception_vector;  \
        }                                       \
        (cpu)->unwind = old_;                   \
        vector_;                                \
    })

static void fill(CPUX86 *cpu)
{
    X87 *fp = &cpu->x87;
    for (unsigned i = 0; i < 8; i++) {
        fp->r[i] = (Float80){0x8000000000000000ull + i, (uint16_t)(0x3fff + i)};
    }
    fp->top = 3;
    fp->empty = 0x0f & ~(1u << 3);
    fp->cw = 0x37f;
    fp->sw = 0x4000;
    fp->fop = 0x5a5;
    fp->fip = 0x12345678;
    fp->fdp = 0x9abcdef0;
    fp->fcs = 0x1111;
    fp->fds = 0x2222;
    fp->pending = false;
    cpu->mxcsr = 0x1fa0;
    for (unsigned i = 0; i < 16; i++) {
        for (unsigned k = 0; k < 8; k++) {
            cpu->vec[i].u64[k] = 0x0101010101010101ull * (i + 1) + k;
        }
    }
}

static Harness *start(void)
{
    Harness *h = harness_new(RAM);
    harness_long_mode(h, TABLES);
    /* Only what is RAM is mapped, and nothing above: entries of the third table. */
    memset(h->ram->host + TABLES + 8192 + RAM / (2 * MiB) * 8, 0, 4096 - RAM / (2 * MiB) * 8);
    h->cpu->config.features[FEAT_7_0_EBX] &= ~(1u << 13); /* FCS and FDS are kept */
    fill(h->cpu);
    return h;
}

static void insn(CPUX86 *cpu, unsigned esc, unsigned reg, uint64_t ea, unsigned opsize)
{
    x87_insn(cpu, esc, (uint8_t)(reg << 3 | 6), SEG_DS, ea, opsize);
}

/* ---- faults ---- */

static void test_faults(void)
{
    Harness *h = start();
    CPUX86 *cpu = h->cpu;
    /* in nobody's memory, and only the last two bytes of the operand missing */
    static const uint64_t places[] = {UNMAPPED, RAM - 1};
    for (unsigned p = 0; p < ARRAY_LEN(places); p++) {
        for (unsigned n = 0; n < 64; n++) {
            if (!x87_mem_ops[n >> 3][n & 7]) {
                continue;
            }
            fill(cpu);
            X87 before = cpu->x87;
            uint8_t last = h->ram->host[RAM - 1];
            int v = CATCH(cpu, insn(cpu, n >> 3, n & 7, places[p], 4));
            g_assert_cmpint(v, ==, EXC_PF);
            g_assert_cmpmem(&cpu->x87, sizeof(X87), &before, sizeof(X87));
            g_assert_cmphex(h->ram->host[RAM - 1], ==, last);
        }
    }
    X87 before = cpu->x87;
    memset(h->ram->host + LAST_PAGE, 0, 4096);
    g_assert_cmpint(CATCH(cpu, helper_fxsave(cpu, SEG_DS, RAM - 64, true)), ==, EXC_PF);
    g_assert_cmpint(CATCH(cpu, helper_fxrstor(cpu, SEG_DS, RAM - 64, true)), ==, EXC_PF);
    cpu->cr4 |= CR4_OSXSAVE;
    cpu->xcr0 = 7;
    cpu->regs[R_RAX] = 7;
    cpu->regs[R_RDX] = 0;
    g_assert_cmpint(CATCH(cpu, helper_xsave(cpu, SEG_DS, RAM - 768, true, XSAVE)), ==, EXC_PF);
    g_assert_cmpint(CATCH(cpu, helper_xrstor(cpu, SEG_DS, RAM - 512, true, XSAVE)), ==, EXC_PF);
    for (unsigned i = 0; i < 4096; i++) {
        g_assert_cmphex(h->ram->host[LAST_PAGE + i], ==, 0);
    }
    g_assert_cmpmem(&cpu->x87, sizeof(X87), &before, sizeof(X87));
    harness_free(h);
}

static void test_entry(void)
{
    Harness *h = start();
    CPUX86 *cpu = h->cpu;
    g_assert_cmpint(CATCH(cpu, helper_fxsave(cpu, SEG_DS, AREA + 8, true)), ==, EXC_GP);
    g_assert_cmpint(CATCH(cpu, helper_fxrstor(cpu, SEG_DS, AREA + 1, true)), ==, EXC_GP);
    g_assert_cmpint(CATCH(cpu, helper_xsave(cpu, SEG_DS, AREA, true, XSAVE)), ==, EXC_UD);
    cpu->cr4 |= CR4_OSXSAVE;
    cpu->xcr0 = 3;
    g_assert_cmpint(CATCH(cpu, helper_xsave(cpu, SEG_DS, AREA + 16, true, XSAVE)), ==, EXC_GP);
    g_assert_cmpint(CATCH(cpu, helper_ldmxcsr(cpu, 0x11f80)), ==, EXC_GP);
    g_assert_cmphex(cpu->mxcsr, ==, 0x1fa0);
    cpu->cr0 |= CR0_TS;
    g_assert_cmpint(CATCH(cpu, helper_xsave(cpu, SEG_DS, AREA, true, XSAVE)), ==, EXC_NM);
    g_assert_cmpint(CATCH(cpu, helper_fxsave(cpu, SEG_DS, AREA, true)), ==, EXC_NM);
    g_assert_cmpint(CATCH(cpu, insn(cpu, 1, 0, AREA, 4)), ==, EXC_NM);
    g_assert_cmpint(CATCH(cpu, x87_check_mmx(cpu)), ==, EXC_NM);
    g_assert_cmpint(CATCH(cpu, x87_wait(cpu)), ==, -1);
    cpu->cr0 |= CR0_MP;
    g_assert_cmpint(CATCH(cpu, x87_wait(cpu)), ==, EXC_NM);
    cpu->cr0 = (cpu->cr0 & ~(uint64_t)CR0_TS) | CR0_EM;
    g_assert_cmpint(CATCH(cpu, insn(cpu, 1, 0, AREA, 4)), ==, EXC_NM);
    g_assert_cmpint(CATCH(cpu, x87_check_mmx(cpu)), ==, EXC_UD);
    g_assert_cmpint(CATCH(cpu, insn(cpu, 1, 1, AREA, 4)), ==, EXC_UD); /* D9 /1 */
    harness_free(h);
}

/* ---- environments ---- */

static void test_env_protected(void)
{
    Harness *h = start();
    CPUX86 *cpu = h->cpu;
    uint8_t *m = h->ram->host + AREA;
    insn(cpu, 1, 6, AREA, 4); /* FNSTENV */
    g_assert_cmphex(ld_le16(m), ==, 0x37f);
    g_assert_cmphex(ld_le16(m + 4), ==, 0x5800);
    g_assert_cmphex(ld_le16(m + 8), ==, 0x003f); /* 0-2 empty, the rest valid */
    g_assert_cmphex(ld_le32(m + 12), ==, 0x12345678);
    g_assert_cmphex(ld_le32(m + 16), ==, 0x05a51111);
    g_assert_cmphex(ld_le32(m + 20), ==, 0x9abcdef0);
    g_assert_cmphex(ld_le16(m + 24), ==, 0x2222);
    insn(cpu, 1, 6, AREA, 2);
    g_assert_cmphex(ld_le16(m + 4), ==, 0x003f);
    g_assert_cmphex(ld_le16(m + 6), ==, 0x5678);
    g_assert_cmphex(ld_le16(m + 8), ==, 0x1111);
    g_assert_cmphex(ld_le16(m + 10), ==, 0xdef0);
    g_assert_cmphex(ld_le16(m + 12), ==, 0x2222);

    X87 before = cpu->x87;
    insn(cpu, 5, 6, AREA, 4); /* FNSAVE, which initializes */
    g_assert_cmphex(cpu->x87.cw, ==, 0x37f);
    g_assert_cmphex(cpu->x87.empty, ==, 0xff);
    g_assert_cmphex(cpu->x87.fip, ==, 0);
    insn(cpu, 5, 4, AREA, 4); /* FRSTOR */
    g_assert_cmpmem(&cpu->x87, sizeof(X87), &before, sizeof(X87));
    /* Selectors that the CPU says it does not keep */
    cpu->config.features[FEAT_7_0_EBX] |= 1u << 13;
    insn(cpu, 1, 6, AREA, 4);
    g_assert_cmphex(ld_le32(m + 16), ==, 0x05a50000);
    harness_free(h);
}

static void test_env_real(void)
{
    Harness *h = harness_new(RAM);
    harness_real_mode(h, 0, 0);
    CPUX86 *cpu = h->cpu;
    fill(cpu);
    cpu->x87.fip = 0x1234;
    cpu->x87.fdp = 0x5678;
    uint8_t *m = h->ram->host + 0x2000;
    insn(cpu, 1, 6, 0x2000, 2); /* linear: 1111:1234 = 12344, 2222:5678 = 27898 */
    g_assert_cmphex(ld_le16(m + 6), ==, 0x2344);
    g_assert_cmphex(ld_le16(m + 8), ==, 0x15a5);
    g_assert_cmphex(ld_le16(m + 10), ==, 0x7898);
    g_assert_cmphex(ld_le16(m + 12), ==, 0x2000);
    insn(cpu, 1, 6, 0x2000, 4);
    g_assert_cmphex(ld_le32(m + 12), ==, 0x2344);
    g_assert_cmphex(ld_le32(m + 16), ==, 0x15a5);
    g_assert_cmphex(ld_le32(m + 20), ==, 0x7898);
    g_assert_cmphex(ld_le32(m + 24), ==, 0x2000);
    insn(cpu, 1, 4, 0x2000, 4); /* FLDENV */
    g_assert_cmphex(cpu->x87.fip, ==, 0x12344);
    g_assert_cmphex(cpu->x87.fdp, ==, 0x27898);
    g_assert_cmphex(cpu->x87.fop, ==, 0x5a5);
    harness_free(h);
}

/* ---- pending errors ---- */

static void count_ferr(void *opaque, int level)
{
    unsigned *n = opaque;
    n[level ? 1 : 0]++;
}

static void test_errors(void)
{
    Harness *h = start();
    CPUX86 *cpu = h->cpu;
    unsigned ferr[2] = {0, 0};
    cpu->ferr = count_ferr;
    cpu->ferr_opaque = ferr;
    cpu->x87.cw = 0x37b;                  /* ZM clear */
    x87_insn(cpu, 1, 0xee, SEG_DS, 0, 4); /* FLDZ */
    x87_insn(cpu, 0, 0xf9, SEG_DS, 0, 4); /* FDIVR ST, ST(1) = ST(1) / 0 */
    g_assert_true(cpu->x87.pending);
    g_assert_cmphex(cpu->x87.sw & 0x80ff, ==, 0x8084);
    X87 before = cpu->x87;
    g_assert_cmpint(CATCH(cpu, x87_insn(cpu, 1, 0xe8, SEG_DS, 0, 4)), ==, EXC_MF);
    g_assert_cmpint(CATCH(cpu, x87_wait(cpu)), ==, EXC_MF);
    g_assert_cmpint(CATCH(cpu, x87_check_mmx(cpu)), ==, EXC_MF);
    g_assert_cmpmem(&cpu->x87, sizeof(X87), &before, sizeof(X87));
    insn(cpu, 1, 7, AREA, 4); /* FNSTCW does not wait */
    g_assert_cmpuint(ferr[1], ==, 0);

    cpu->cr0 &= ~(uint64_t)CR0_NE;
    g_assert_cmpint(CATCH(cpu, x87_wait(cpu)), ==, -1);
    g_assert_cmpuint(ferr[1], ==, 1);
    x87_insn(cpu, 3, 0xe2, SEG_DS, 0, 4); /* FNCLEX */
    g_assert_cmpuint(ferr[0], ==, 1);
    g_assert_false(cpu->x87.pending);
    g_assert_cmphex(cpu->x87.sw & 0x80ff, ==, 0);

    /* Unmasking what is already flagged makes it pending, masking it ends that. */
    cpu->x87.sw |= FP_PE;
    st_le16(h->ram->host + AREA, 0x35f);
    insn(cpu, 1, 5, AREA, 4);
    g_assert_true(cpu->x87.pending);
    cpu->x87.pending = false;
    st_le16(h->ram->host + AREA, 0x37f);
    insn(cpu, 1, 5, AREA, 4);
    g_assert_cmphex(cpu->x87.sw & SW_ES, ==, 0);
    harness_free(h);
}

/* ---- FXSAVE and XSAVE ---- */

static void test_fxsave(void)
{
    Harness *h = start();
    CPUX86 *cpu = h->cpu;
    uint8_t *m = h->ram->host + AREA;
    memset(m, 0xee, 512);
    helper_fxsave(cpu, SEG_DS, AREA, true);
    g_assert_cmphex(ld_le16(m + 2), ==, 0x5800);
    g_assert_cmphex(m[4], ==, 0xf8);
    g_assert_cmphex(ld_le64(m + 8), ==, 0x12345678);
    g_assert_cmphex(ld_le32(m + 24), ==, 0x1fa0);
    g_assert_cmphex(ld_le32(m + 28), ==, 0xffff);
    g_assert_cmphex(ld_le16(m + 32 + 8), ==, 0x4002); /* ST(0) is register 3 */
    g_assert_cmphex(ld_le64(m + 160 + 15 * 16), ==, 0x1010101010101010);
    g_assert_cmphex(ld_le64(m + 416), ==, 0xeeeeeeeeeeeeeeee);
    X87 before = cpu->x87;
    memset(&cpu->x87, 0, sizeof(X87));
    cpu->mxcsr = 0x1f80;
    memset(cpu->vec[15].u8, 0, 16);
    st_le32(m + 24, 0x10000);
    g_assert_cmpint(CATCH(cpu, helper_fxrstor(cpu, SEG_DS, AREA, true)), ==, EXC_GP);
    g_assert_cmphex(cpu->x87.cw, ==, 0);
    st_le32(m + 24, 0x1fa0);
    helper_fxrstor(cpu, SEG_DS, AREA, true);
    before.fcs = before.fds = 0; /* not in the 64-bit format */
    g_assert_cmpmem(&cpu->x87, sizeof(X87), &before, sizeof(X87));
    g_assert_cmphex(cpu->mxcsr, ==, 0x1fa0);
    g_assert_cmphex(cpu->vec[15].u64[0], ==, 0x1010101010101010);
    harness_free(h);
}

/* Outside 64-bit mode there are eight XMM registers, and 32-bit pointers with selectors. */
static void test_fxsave32(void)
{
    Harness *h = harness_new(RAM);
    harness_protected_mode(h);
    CPUX86 *cpu = h->cpu;
    cpu->config.features[FEAT_7_0_EBX] &= ~(1u << 13);
    fill(cpu);
    uint8_t *m = h->ram->host + AREA;
    memset(m, 0xee, 512);
    helper_fxsave(cpu, SEG_DS, AREA, false);
    g_assert_cmphex(ld_le32(m + 8), ==, 0x12345678);
    g_assert_cmphex(ld_le32(m + 12), ==, 0x1111);
    g_assert_cmphex(ld_le32(m + 20), ==, 0x2222);
    g_assert_cmphex(ld_le64(m + 160 + 7 * 16), ==, 0x0808080808080808);
    g_assert_cmphex(ld_le64(m + 160 + 8 * 16), ==, 0xeeeeeeeeeeeeeeee);
    X87 before = cpu->x87;
    x87_insn(cpu, 3, 0xe3, SEG_DS, 0, 4); /* FNINIT */
    cpu->vec[8].u64[0] = 5;
    helper_fxrstor(cpu, SEG_DS, AREA, false);
    g_assert_cmpmem(&cpu->x87, sizeof(X87), &before, sizeof(X87));
    g_assert_cmphex(cpu->vec[8].u64[0], ==, 5);
    harness_free(h);
}

/* Through the engine: #XM is precise, and the destination keeps its value. */
static void test_xm(void)
{
    Harness *h = start();
    CPUX86 *cpu = h->cpu;
    /* handler at 0x300000: hlt; gate 19 of an IDT at 0x301000; a GDT at 0x302000 */
    static const uint8_t code[] = {0x90, 0xf2, 0x0f, 0x5e, 0x05, 0, 0, 0, 0, 0xf4};
    uint64_t gate[2] = {0x8e0000080000ull | 0x30ull << 48, 0},
             gdt[3] = {0, 0xaf9b000000ffff, 0xcf93000000ffff};
    harness_write(h, 0x303000, code, sizeof(code)); /* nop; divsd xmm0,[rip] */
    harness_write(h, 0x300000, "\xf4", 1);
    harness_write(h, 0x301000 + 19 * 16, gate, 16);
    harness_write(h, 0x302000, gdt, sizeof(gdt));
    cpu->idtr = (TableReg){0x301000, 0xfff};
    cpu->gdtr = (TableReg){0x302000, 23};
    cpu->regs[R_RSP] = 0x310000;
    cpu->mxcsr = 0x1f80 & ~0x200u; /* division by zero unmasked */
    cpu->vec[0].u64[0] = 0x3ff0000000000000;
    uint32_t zero = 0xf77; /* to 0x303009 + 0xf77 = 0x303f80, which is zero */
    harness_write(h, 0x303005, &zero, 4);
    cpu->rip = 0x303000;
    cpu_update_hflags(cpu);
    g_assert_cmpint(harness_run(h), ==, RUN_EXIT_HALTED);
    g_assert_cmphex(cpu->rip, ==, 0x300001);
    g_assert_cmphex(ld_le64(h->ram->host + cpu->regs[R_RSP]), ==, 0x303001);
    g_assert_cmphex(cpu->mxcsr & 0x3f, ==, FP_ZE);
    g_assert_cmphex(cpu->vec[0].u64[0], ==, 0x3ff0000000000000);
    harness_free(h);
}

static void test_xsave(void)
{
    Harness *h = start();
    CPUX86 *cpu = h->cpu;
    uint8_t *m = h->ram->host + AREA;
    cpu->cr4 |= CR4_OSXSAVE;
    cpu->xcr0 = 7;
    cpu->regs[R_RAX] = ~0ull;
    cpu->regs[R_RDX] = 0;
    memset(m, 0, 4096);
    helper_xsave(cpu, SEG_DS, AREA, true, XSAVE);
    g_assert_cmphex(ld_le64(m + 512), ==, 7);
    g_assert_cmphex(ld_le64(m + 520), ==, 0);
    g_assert_cmphex(ld_le64(m + 576 + 16), ==, cpu->vec[1].u64[2]);

    /* What is not asked for stays as it is in memory and in registers. */
    cpu->regs[R_RAX] = 2;
    cpu->vec[0].u64[0] = 0;
    cpu->vec[0].u64[2] = 0x77;
    st_le64(m + 512, 6);
    helper_xrstor(cpu, SEG_DS, AREA, true, XSAVE);
    g_assert_cmphex(cpu->vec[0].u64[0], ==, 0x0101010101010101);
    g_assert_cmphex(cpu->vec[0].u64[2], ==, 0x77);
    g_assert_cmphex(cpu->x87.cw, ==, 0x37f);

    /* A component whose bit is clear in XSTATE_BV is initialized. */
    cpu->regs[R_RAX] = 7;
    st_le64(m + 512, 0);
    cpu->x87.cw = 0x27f;
    helper_xrstor(cpu, SEG_DS, AREA, true, XSAVE);
    g_assert_cmphex(cpu->x87.cw, ==, 0x37f);
    g_assert_cmphex(cpu->x87.empty, ==, 0xff);
    g_assert_cmphex(cpu->vec[3].u64[0] | cpu->vec[3].u64[3], ==, 0);
    g_assert_cmphex(cpu->mxcsr, ==, 0x1fa0); /* the standard format loads it all the same */

    /* Compacted: only AVX in use, directly behind the header. */
    cpu->mxcsr = 0x1f80;
    cpu->vec[2].u64[2] = 0x1234;
    memset(m, 0xee, 4096);
    helper_xsave(cpu, SEG_DS, AREA, true, XSAVEC);
    g_assert_cmphex(ld_le64(m + 512), ==, 4);
    g_assert_cmphex(ld_le64(m + 520), ==, BIT(63) | 7);
    g_assert_cmphex(ld_le64(m + 576 + 32), ==, 0x1234);
    g_assert_cmphex(m[0], ==, 0xee);
    memset(m + 528, 0, 48);
    cpu->vec[2].u64[2] = 0;
    helper_xrstor(cpu, SEG_DS, AREA, true, XSAVES);
    g_assert_cmphex(cpu->vec[2].u64[2], ==, 0x1234);
    harness_free(h);
}

static void test_xrstor_refused(void)
{
    Harness *h = start();
    CPUX86 *cpu = h->cpu;
    uint8_t *m = h->ram->host + AREA;
    cpu->cr4 |= CR4_OSXSAVE;
    cpu->xcr0 = 7;
    cpu->regs[R_RAX] = 7;
    cpu->regs[R_RDX] = 0;
    helper_xsave(cpu, SEG_DS, AREA, true, XSAVE);
    uint8_t good[64];
    memcpy(good, m + 512, 64);
    X87 before = cpu->x87;
    static const struct {
        unsigned offset;
        uint64_t value;
        XsaveKind kind;
    } bad[] = {
        {512, 0x10, XSAVE},           /* a component that XCR0 does not have */
        {520, 1, XSAVE},              /* XCOMP_BV without bit 63 */
        {528, 1, XSAVE},              /* reserved */
        {520, BIT(63) | 3, XSAVE},    /* XSTATE_BV beyond XCOMP_BV */
        {520, BIT(63) | 0x17, XSAVE}, /* XCOMP_BV beyond XCR0 */
        {512, 7, XSAVES},             /* XRSTORS wants the compacted format */
    };
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        memcpy(m + 512, good, 64);
        st_le64(m + bad[i].offset, bad[i].value);
        g_assert_cmpint(CATCH(cpu, helper_xrstor(cpu, SEG_DS, AREA, true, bad[i].kind)), ==,
                        EXC_GP);
    }
    memcpy(m + 512, good, 64);
    st_le32(m + 24, 0x80000000);
    g_assert_cmpint(CATCH(cpu, helper_xrstor(cpu, SEG_DS, AREA, true, XSAVE)), ==, EXC_GP);
    g_assert_cmpmem(&cpu->x87, sizeof(X87), &before, sizeof(X87));
    g_assert_cmphex(cpu->mxcsr, ==, 0x1fa0);
    harness_free(h);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fpu-state/faults", test_faults);
    g_test_add_func("/fpu-state/entry", test_entry);
    g_test_add_func("/fpu-state/env-protected", test_env_protected);
    g_test_add_func("/fpu-state/env-real", test_env_real);
    g_test_add_func("/fpu-state/errors", test_errors);
    g_test_add_func("/fpu-state/fxsave", test_fxsave);
    g_test_add_func("/fpu-state/fxsave32", test_fxsave32);
    g_test_add_func("/fpu-state/xm", test_xm);
    g_test_add_func("/fpu-state/xsave", test_xsave);
    g_test_add_func("/fpu-state/xrstor-refused", test_xrstor_refused);
    return g_test_run();
}
