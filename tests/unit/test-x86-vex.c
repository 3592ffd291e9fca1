/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What native execution cannot show of VEX instructions and machine checks: when they are
 * refused, and what a fault leaves behind.
 */
#include "target/i386/mce.h"
#include "tests/unit/x86-guest.h"

#define DONE 0x80 /* the vector that ends a snippet */
#define HOLE 0xc000ull
#define PT_ENTRY(a) (AT_PT + ((a) >> 12) * 8)

static void enter(Guest *g, GuestMode mode)
{
    guest_enter(g, mode);
    g->cpu->cr4 |= CR4_OSFXSR | CR4_OSXSAVE | CR4_OSXMMEXCPT;
    g->cpu->xcr0 = 7;
    for (unsigned i = 0; i < 16; i++) {
        memset(&g->cpu->vec[i], 0x11 * (int)i, 32);
    }
    cpu_update_hflags(g->cpu);
}

/* Runs the bytes and then INT 80h; the vector at the end. */
static int run_bytes(Guest *g, const uint8_t *bytes, size_t n)
{
    uint8_t code[64];
    memcpy(code, bytes, n);
    memcpy(code + n, "\xcd\x80", 2);
    g->cpu->rip = AT_CODE;
    g->cpu->halted = false;
    guest_exec(g, code, n + 2);
    return guest_vector(g);
}
#define RUN(g, ...) \
    run_bytes(g, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))
/* The same in fresh state. */
#define TRY(g, mode, ...) (enter(g, mode), RUN(g, __VA_ARGS__))

#define VADDPS_XMM 0xc5, 0xf0, 0x58, 0xc2 /* vaddps xmm0,xmm1,xmm2 */
#define VPADDD_YMM 0xc5, 0xf5, 0xfe, 0xc2 /* vpaddd ymm0,ymm1,ymm2 */
#define VPADDD_XMM 0xc5, 0xf1, 0xfe, 0xc2 /* vpaddd xmm0,xmm1,xmm2 */
#define VZEROUPPER 0xc5, 0xf8, 0x77
#define ANDN 0xc4, 0xe2, 0x78, 0xf2, 0xc1   /* andn eax,eax,ecx */
#define VFMADD 0xc4, 0xe2, 0x71, 0x98, 0xc2 /* vfmadd132ps xmm0,xmm1,xmm2 */

static void test_state(void)
{
    Guest *g = guest_new("max");
    g_assert_cmpint(TRY(g, GUEST_LONG, VADDPS_XMM), ==, DONE);
    /* #UD without CR4.OSXSAVE or XCR0's bits, whatever CR0.TS; then #NM; CR0.EM is nothing. */
    enter(g, GUEST_LONG);
    g->cpu->cr4 &= ~(uint64_t)CR4_OSXSAVE;
    g->cpu->cr0 |= CR0_TS;
    cpu_update_hflags(g->cpu);
    g_assert_cmpint(RUN(g, VADDPS_XMM), ==, EXC_UD);
    enter(g, GUEST_LONG);
    g->cpu->xcr0 = 3;
    g->cpu->cr0 |= CR0_TS;
    cpu_update_hflags(g->cpu);
    g_assert_cmpint(RUN(g, VZEROUPPER), ==, EXC_UD);
    enter(g, GUEST_LONG);
    g->cpu->cr0 |= CR0_TS;
    cpu_update_hflags(g->cpu);
    g_assert_cmpint(RUN(g, VPADDD_YMM), ==, EXC_NM);
    enter(g, GUEST_LONG);
    g->cpu->cr0 |= CR0_EM;
    g->cpu->cr4 &= ~(uint64_t)CR4_OSFXSR;
    cpu_update_hflags(g->cpu);
    g_assert_cmpint(RUN(g, VADDPS_XMM), ==, DONE);
    /* General registers need no vector state. */
    enter(g, GUEST_LONG);
    g->cpu->cr4 &= ~(uint64_t)CR4_OSXSAVE;
    g->cpu->cr0 |= CR0_TS;
    cpu_update_hflags(g->cpu);
    g_assert_cmpint(RUN(g, ANDN), ==, DONE);
    guest_free(g);
}

static void test_modes(void)
{
    Guest *g = guest_new("max");
    g_assert_cmpint(TRY(g, GUEST_PROT32, VADDPS_XMM), ==, DONE);
    g_assert_cmpint(TRY(g, GUEST_PROT32, ANDN), ==, DONE);
    g_assert_cmpint(TRY(g, GUEST_COMPAT_USER, VPADDD_YMM), ==, DONE);
    /* In real and virtual-8086 mode these are LES and LDS with a register. */
    g_assert_cmpint(TRY(g, GUEST_REAL, VADDPS_XMM), ==, EXC_UD);
    g_assert_cmpint(TRY(g, GUEST_REAL, ANDN), ==, EXC_UD);
    g_assert_cmpint(TRY(g, GUEST_V86, VZEROUPPER), ==, EXC_UD);
    /* LDS and LES are still what they were: lds cx,[bx]; lds ecx,[ebx]. */
    enter(g, GUEST_REAL);
    g->cpu->regs[R_RBX] = AT_DATA;
    guest_st(g, AT_DATA, 0x00121234, 4);
    g_assert_cmpint(RUN(g, 0xc5, 0x0f), ==, DONE);
    g_assert_cmphex(g->cpu->regs[R_RCX], ==, 0x1234);
    g_assert_cmphex(g->cpu->segs[SEG_DS].base, ==, 0x120);
    enter(g, GUEST_PROT32);
    g->cpu->regs[R_RBX] = AT_DATA;
    guest_st(g, AT_DATA, 0x12345678, 4);
    guest_st(g, AT_DATA + 4, SEL_DATA32, 2);
    g_assert_cmpint(RUN(g, 0xc4, 0x0b), ==, DONE);
    g_assert_cmphex(g->cpu->regs[R_RCX], ==, 0x12345678);
    /* 32-bit code: VEX.B and vvvv[3] say nothing, and is4's top bit neither. */
    enter(g, GUEST_PROT32);
    g_assert_cmpint(RUN(g, 0xc4, 0xc1, 0x30, 0x54, 0xc2), ==, DONE); /* vandps xmm0,xmm1,xmm2 */
    g_assert_cmphex(g->cpu->vec[0].u64[0], ==,
                    0x0000000000000000ull | (0x1111111111111111ull & 0x2222222222222222ull));
    enter(g, GUEST_PROT32);
    g->cpu->vec[3].u8[0] = 0x80;
    g_assert_cmpint(RUN(g, 0xc4, 0xe3, 0x71, 0x4c, 0xc2, 0xb0), ==, DONE); /* vpblendvb …, xmm3 */
    g_assert_cmphex(g->cpu->vec[0].u64[0], ==, 0x1111111111111122ull);
    guest_free(g);
}

static void test_prefixes(void)
{
    Guest *g = guest_new("max");
    g_assert_cmpint(TRY(g, GUEST_LONG, 0x66, VADDPS_XMM), ==, EXC_UD);
    g_assert_cmpint(TRY(g, GUEST_LONG, 0xf2, VADDPS_XMM), ==, EXC_UD);
    g_assert_cmpint(TRY(g, GUEST_LONG, 0xf3, VADDPS_XMM), ==, EXC_UD);
    g_assert_cmpint(TRY(g, GUEST_LONG, 0xf0, VADDPS_XMM), ==, EXC_UD);
    g_assert_cmpint(TRY(g, GUEST_LONG, 0x48, VADDPS_XMM), ==, EXC_UD);
    g_assert_cmpint(TRY(g, GUEST_LONG, 0x48, 0x2e, VADDPS_XMM), ==, DONE); /* REX of no effect */
    g_assert_cmpint(TRY(g, GUEST_LONG, 0x65, 0x67, VADDPS_XMM), ==, DONE);
    g_assert_cmpint(TRY(g, GUEST_LONG, 0xc4, 0xe4, 0x70, 0x58, 0xc2), ==, EXC_UD); /* map 4 */
    g_assert_cmpint(TRY(g, GUEST_LONG, 0xc5, 0xf0, 0x28, 0xc2), ==, EXC_UD); /* vmovaps, vvvv */
    g_assert_cmpint(TRY(g, GUEST_LONG, 0xc5, 0xfd, 0x6e, 0xc2), ==, EXC_UD); /* vmovd with L */
    guest_free(g);
}

static void test_features(void)
{
    Guest *g = guest_new("max,-avx2,-bmi1");
    g_assert_cmpint(TRY(g, GUEST_LONG, VPADDD_YMM), ==, EXC_UD);
    g_assert_cmpint(TRY(g, GUEST_LONG, VPADDD_XMM), ==, DONE);
    g_assert_cmpint(TRY(g, GUEST_LONG, VFMADD), ==, DONE);
    g_assert_cmpint(TRY(g, GUEST_LONG, ANDN), ==, EXC_UD);
    guest_free(g);
    g = guest_new("Nehalem");
    g_assert_cmpint(TRY(g, GUEST_LONG, VFMADD), ==, EXC_UD);
    g_assert_cmpint(TRY(g, GUEST_LONG, VADDPS_XMM), ==, EXC_UD);
    guest_free(g);
}

static void test_upper_halves(void)
{
    Guest *g = guest_new("max");
    enter(g, GUEST_LONG);
    g_assert_cmpint(RUN(g, VPADDD_XMM), ==, DONE);
    g_assert_cmphex(g->cpu->vec[0].u64[1], ==, 0x3333333333333333ull);
    g_assert_cmphex(g->cpu->vec[0].u64[2] | g->cpu->vec[0].u64[3], ==, 0);
    g_assert_cmphex(g->cpu->vec[1].u64[3], ==, 0x1111111111111111ull);
    enter(g, GUEST_LONG);
    g_assert_cmpint(RUN(g, 0x66, 0x0f, 0xfe, 0xca), ==, DONE); /* paddd xmm1,xmm2 */
    g_assert_cmphex(g->cpu->vec[1].u64[0], ==, 0x3333333333333333ull);
    g_assert_cmphex(g->cpu->vec[1].u64[2], ==, 0x1111111111111111ull);
    enter(g, GUEST_LONG);
    g_assert_cmpint(RUN(g, VZEROUPPER), ==, DONE);
    g_assert_cmphex(g->cpu->vec[15].u64[1], ==, ~0ull);
    g_assert_cmphex(g->cpu->vec[15].u64[2], ==, 0);
    enter(g, GUEST_PROT32);                              /* only the registers that the mode has */
    g_assert_cmpint(RUN(g, 0xc5, 0xfc, 0x77), ==, DONE); /* vzeroall */
    g_assert_cmphex(g->cpu->vec[7].u64[0], ==, 0);
    g_assert_cmphex(g->cpu->vec[8].u64[0], ==, 0x8888888888888888ull);
    guest_free(g);
}

static void test_alignment(void)
{
    Guest *g = guest_new("max");
    enter(g, GUEST_LONG);
    g->cpu->regs[R_RBX] = AT_DATA + 16;
    g_assert_cmpint(RUN(g, 0xc5, 0xfd, 0x6f, 0x03), ==, EXC_GP); /* vmovdqa ymm0,[rbx] */
    enter(g, GUEST_LONG);
    g->cpu->regs[R_RBX] = AT_DATA + 16;
    g_assert_cmpint(RUN(g, 0xc5, 0xf9, 0x6f, 0x03), ==, DONE); /* vmovdqa xmm0,[rbx] */
    enter(g, GUEST_LONG);
    g->cpu->regs[R_RBX] = AT_DATA + 1;
    g_assert_cmpint(RUN(g, 0xc5, 0xfe, 0x6f, 0x03), ==, DONE); /* vmovdqu ymm0,[rbx] */
    g_assert_cmpint(RUN(g, 0xc5, 0xf4, 0x58, 0x03), ==, DONE); /* vaddps ymm0,ymm1,[rbx] */
    g_assert_cmpint(RUN(g, 0x0f, 0x58, 0x03), ==, EXC_GP);     /* addps xmm0,[rbx] */
    enter(g, GUEST_LONG);
    g->cpu->regs[R_RBX] = AT_DATA + 16;
    g_assert_cmpint(RUN(g, 0xc5, 0xfd, 0xe7, 0x03), ==, EXC_GP); /* vmovntdq [rbx],ymm0 */
    /* #AC: what is not whole vectors. */
    enter(g, GUEST_LONG_USER);
    g->cpu->cr0 |= CR0_AM;
    g->cpu->rflags |= FLAG_AC;
    g->cpu->regs[R_RBX] = AT_DATA + 1;
    cpu_update_hflags(g->cpu);
    g_assert_cmpint(RUN(g, 0xc5, 0xfa, 0x10, 0x03), ==, EXC_AC); /* vmovss xmm0,[rbx] */
    enter(g, GUEST_LONG_USER);
    g->cpu->cr0 |= CR0_AM;
    g->cpu->rflags |= FLAG_AC;
    g->cpu->regs[R_RBX] = AT_DATA + 4;
    cpu_update_hflags(g->cpu);
    g_assert_cmpint(RUN(g, 0xc5, 0xfa, 0x10, 0x03), ==, DONE);
    guest_free(g);
}

/* The page at HOLE is absent. */
static void enter_with_hole(Guest *g)
{
    enter(g, GUEST_LONG);
    guest_st(g, PT_ENTRY(HOLE), 0, 8);
}

static void test_page_faults(void)
{
    Guest *g = guest_new("max");
    enter_with_hole(g);
    g->cpu->regs[R_RBX] = HOLE - 8;
    g_assert_cmpint(RUN(g, 0xc5, 0xfe, 0x7f, 0x0b), ==, EXC_PF); /* vmovdqu [rbx],ymm1 */
    g_assert_cmphex(g->cpu->cr2, ==, HOLE);
    g_assert_cmphex(guest_ld(g, HOLE - 8, 8), ==, 0);
    enter_with_hole(g);
    g->cpu->regs[R_RBX] = HOLE - 8;
    g_assert_cmpint(RUN(g, 0xc5, 0xfe, 0x6f, 0x0b), ==, EXC_PF); /* vmovdqu ymm1,[rbx] */
    g_assert_cmphex(g->cpu->vec[1].u64[0], ==, 0x1111111111111111ull);
    /* Whole otherwise. */
    enter(g, GUEST_LONG);
    g->cpu->regs[R_RBX] = HOLE - 8;
    g_assert_cmpint(RUN(g, 0xc5, 0xfe, 0x7f, 0x0b, 0xc5, 0xfe, 0x6f, 0x1b), ==, DONE);
    g_assert_cmpmem(&g->cpu->vec[3], 32, &g->cpu->vec[1], 32);
    guest_free(g);
}

static void test_masked(void)
{
    Guest *g = guest_new("max");
    /* vmaskmovps ymm0,ymm1,[rbx]: the upper half lies in the hole and is not asked for. */
    enter_with_hole(g);
    memset(&g->cpu->vec[1], 0, 32);
    g->cpu->vec[1].u32[0] = g->cpu->vec[1].u32[3] = 0x80000000;
    g->cpu->regs[R_RBX] = HOLE - 16;
    guest_st(g, HOLE - 16, 0x0123456789abcdefull, 8);
    guest_st(g, HOLE - 8, 0xfedcba9876543210ull, 8);
    g_assert_cmpint(RUN(g, 0xc4, 0xe2, 0x75, 0x2c, 0x03), ==, DONE);
    g_assert_cmphex(g->cpu->vec[0].u64[0], ==, 0x89abcdef);
    g_assert_cmphex(g->cpu->vec[0].u64[1], ==, 0xfedcba9800000000ull);
    g_assert_cmphex(g->cpu->vec[0].u64[2], ==, 0);
    /* vpmaskmovq [rbx],ymm1,ymm2: faults before it has written anything. */
    enter_with_hole(g);
    memset(&g->cpu->vec[1], 0xff, 32);
    g->cpu->regs[R_RBX] = HOLE - 16;
    g_assert_cmpint(RUN(g, 0xc4, 0xe2, 0xf5, 0x8e, 0x13), ==, EXC_PF);
    g_assert_cmphex(guest_ld(g, HOLE - 16, 8), ==, 0);
    /* Nothing asked for: no fault at all. */
    enter_with_hole(g);
    memset(&g->cpu->vec[1], 0x7f, 32);
    g->cpu->regs[R_RBX] = HOLE;
    g_assert_cmpint(RUN(g, 0xc4, 0xe2, 0xf5, 0x8e, 0x13), ==, DONE);
    guest_free(g);
}

static void test_gather(void)
{
    Guest *g = guest_new("max");
    /* vpgatherdd ymm0,[rbx+ymm2*4],ymm1: elements 0 to 4 are there, 5 is in the hole. */
    enter_with_hole(g);
    for (unsigned i = 0; i < 8; i++) {
        g->cpu->vec[2].u32[i] = i;
        g->cpu->vec[1].u32[i] = i == 1 ? 0x7fffffff : 0xffffffff;
        guest_st(g, HOLE - 20 + i * 4, 0x1000 + i, 4);
    }
    g->cpu->regs[R_RBX] = HOLE - 20;
    memset(&g->cpu->vec[0], 0x55, 32);
    g_assert_cmpint(RUN(g, 0xc4, 0xe2, 0x75, 0x90, 0x04, 0x93), ==, EXC_PF);
    g_assert_cmphex(g->cpu->cr2, ==, HOLE);
    g_assert_cmphex(g->cpu->vec[0].u32[0], ==, 0x1000);
    g_assert_cmphex(g->cpu->vec[0].u32[1], ==, 0x55555555);
    g_assert_cmphex(g->cpu->vec[0].u32[4], ==, 0x1004);
    g_assert_cmphex(g->cpu->vec[0].u32[5], ==, 0x55555555);
    for (unsigned i = 0; i < 8; i++) {
        g_assert_cmphex(g->cpu->vec[1].u32[i], ==, i < 5 ? 0 : ~0u);
    }
    /* The page comes, the rest is done. */
    Vec dst = g->cpu->vec[0], mask = g->cpu->vec[1], index = g->cpu->vec[2];
    enter(g, GUEST_LONG);
    g->cpu->vec[0] = dst;
    g->cpu->vec[1] = mask;
    g->cpu->vec[2] = index;
    g->cpu->regs[R_RBX] = HOLE - 20;
    guest_st(g, HOLE, 0x1005, 4);
    guest_st(g, HOLE + 8, 0x1007, 4);
    g_assert_cmpint(RUN(g, 0xc4, 0xe2, 0x75, 0x90, 0x04, 0x93), ==, DONE);
    g_assert_cmphex(g->cpu->vec[0].u32[0], ==, 0x1000);
    g_assert_cmphex(g->cpu->vec[0].u32[5], ==, 0x1005);
    g_assert_cmphex(g->cpu->vec[0].u32[7], ==, 0x1007);
    g_assert_cmphex(g->cpu->vec[1].u64[2], ==, 0);
    /* The three registers must differ; there must be a SIB byte, and 32-bit addresses. */
    g_assert_cmpint(TRY(g, GUEST_LONG, 0xc4, 0xe2, 0x7d, 0x90, 0x04, 0x93), ==, EXC_UD);
    g_assert_cmpint(TRY(g, GUEST_LONG, 0xc4, 0xe2, 0x6d, 0x90, 0x04, 0x93), ==, EXC_UD);
    g_assert_cmpint(TRY(g, GUEST_LONG, 0xc4, 0xe2, 0x75, 0x90, 0x04, 0x83), ==, EXC_UD);
    g_assert_cmpint(TRY(g, GUEST_LONG, 0xc4, 0xe2, 0x75, 0x90, 0x03), ==, EXC_UD);
    g_assert_cmpint(TRY(g, GUEST_PROT32, 0x67, 0xc4, 0xe2, 0x75, 0x90, 0x04), ==, EXC_UD);
    guest_free(g);
}

/* ---- XSAVE's AVX component ---- */

static void test_xsave(void)
{
    Guest *g = guest_new("max");
    enter(g, GUEST_LONG);
    g->cpu->regs[R_RBX] = AT_DATA;
    g->cpu->regs[R_RAX] = 7;
    g->cpu->regs[R_RDX] = 0;
    g_assert_cmpint(RUN(g, 0x48, 0x0f, 0xae, 0x23), ==, DONE); /* xsave64 [rbx] */
    g_assert_cmphex(guest_ld(g, AT_DATA + 512, 8) & 6, ==, 6);
    g_assert_cmphex(guest_ld(g, AT_DATA + 160 + 3 * 16, 8), ==, 0x3333333333333333ull);
    g_assert_cmphex(guest_ld(g, AT_DATA + 576 + 15 * 16, 8), ==, ~0ull);
    /* In its initial state it is not among what XSAVEC stores, and XRSTOR makes it so. */
    uint8_t code[] = {0xc5, 0xf8, 0x77, 0x48, 0x0f, 0xc7, 0x23}; /* vzeroupper; xsavec64 [rbx] */
    g_assert_cmpint(run_bytes(g, code, sizeof(code)), ==, DONE);
    g_assert_cmphex(guest_ld(g, AT_DATA + 512, 8) & 6, ==, 2);
    g_assert_cmphex(guest_ld(g, AT_DATA + 520, 8), ==, BIT(63) | 7);
    memset(&g->cpu->vec[4], 0x44, 32);
    g_assert_cmpint(RUN(g, 0x48, 0x0f, 0xae, 0x2b), ==, DONE); /* xrstor64 [rbx] */
    g_assert_cmphex(g->cpu->vec[4].u64[1], ==, 0x4444444444444444ull);
    g_assert_cmphex(g->cpu->vec[4].u64[2], ==, 0);
    guest_free(g);
}

static void check_leaf_d(Guest *g, uint64_t xcr0, uint32_t standard, uint32_t compact)
{
    uint32_t r[4];
    g->cpu->xcr0 = xcr0;
    cpu_cpuid(g->cpu, 0xd, 0, r);
    g_assert_cmphex(r[0], ==, 0x207);
    g_assert_cmpuint(r[1], ==, standard);
    g_assert_cmpuint(r[2], ==, 2696);
    cpu_cpuid(g->cpu, 0xd, 1, r);
    g_assert_cmphex(r[0], ==, 0xf);
    g_assert_cmpuint(r[1], ==, compact);
    cpu_cpuid(g->cpu, 0xd, 2, r);
    g_assert_cmpuint(r[0], ==, 256);
    g_assert_cmpuint(r[1], ==, 576);
    cpu_cpuid(g->cpu, 0xd, 9, r);
    g_assert_cmpuint(r[0], ==, 8);
    g_assert_cmpuint(r[1], ==, 2688);
    cpu_cpuid(g->cpu, 0xd, 5, r);
    g_assert_cmpuint(r[0] | r[1], ==, 0);
}

static void test_leaf_d(void)
{
    Guest *g = guest_new("max");
    enter(g, GUEST_LONG);
    check_leaf_d(g, 3, 576, 576);
    check_leaf_d(g, 7, 832, 832);
    check_leaf_d(g, 0x207, 2696, 840);
    /* XSETBV: AVX needs SSE. */
    g->cpu->regs[R_RCX] = g->cpu->regs[R_RDX] = 0;
    g->cpu->regs[R_RAX] = 5;
    g_assert_cmpint(RUN(g, 0x0f, 0x01, 0xd1), ==, EXC_GP);
    guest_free(g);
}

/* The rights that XRSTOR brings hold at once. */
static void test_xsave_pkru(void)
{
    Guest *g = guest_new("max");
    enter(g, GUEST_LONG_USER);
    g->cpu->cr4 |= CR4_PKE;
    g->cpu->xcr0 = 0x207;
    guest_st(g, PT_ENTRY(HOLE), HOLE | 7 | 1ull << 59, 8); /* key 1 */
    guest_st(g, AT_DATA + 512, 0x200, 8);
    guest_st(g, AT_DATA + 2688, 4, 4); /* key 1: no access */
    g->cpu->regs[R_RBX] = AT_DATA;
    g->cpu->regs[R_RCX] = HOLE;
    g->cpu->regs[R_RAX] = 0x200;
    g->cpu->regs[R_RDX] = 0;
    cpu_update_hflags(g->cpu);
    /* mov esi,[rcx]; xrstor64 [rbx]; mov esi,[rcx] */
    g_assert_cmpint(RUN(g, 0x8b, 0x31, 0x48, 0x0f, 0xae, 0x2b, 0x8b, 0x31), ==, EXC_PF);
    g_assert_cmphex(guest_frame(g, 0, 8), ==, 0x25); /* present, user, by key */
    g_assert_cmphex(guest_frame(g, 1, 8), ==, AT_CODE + 6);
    guest_free(g);
}

/* ---- small extensions ---- */

static void test_lines(void)
{
    Guest *g = guest_new("max");
    enter(g, GUEST_LONG);
    for (unsigned i = 0; i < 24; i++) {
        guest_st(g, AT_DATA + i * 8, 0x1111111111111111ull * (i % 15 + 1), 8);
    }
    g->cpu->regs[R_RAX] = AT_DATA + 0x7f;
    g_assert_cmpint(RUN(g, 0x0f, 0x01, 0xfc), ==, DONE); /* clzero */
    g_assert_cmphex(guest_ld(g, AT_DATA + 0x38, 8), !=, 0);
    g_assert_cmphex(guest_ld(g, AT_DATA + 0x40, 8), ==, 0);
    g_assert_cmphex(guest_ld(g, AT_DATA + 0x78, 8), ==, 0);
    g_assert_cmphex(guest_ld(g, AT_DATA + 0x80, 8), !=, 0);
    /* movdir64b rdx,[rbx]: from anywhere, to a line */
    g->cpu->regs[R_RBX] = AT_DATA + 8;
    g->cpu->regs[R_RDX] = AT_DATA + 0x400;
    g_assert_cmpint(RUN(g, 0x66, 0x0f, 0x38, 0xf8, 0x13), ==, DONE);
    g_assert_cmphex(guest_ld(g, AT_DATA + 0x400, 8), ==, guest_ld(g, AT_DATA + 8, 8));
    g_assert_cmphex(guest_ld(g, AT_DATA + 0x438, 8), ==, guest_ld(g, AT_DATA + 0x40, 8));
    enter(g, GUEST_LONG);
    g->cpu->regs[R_RBX] = AT_DATA;
    g->cpu->regs[R_RDX] = AT_DATA + 0x408;
    g_assert_cmpint(RUN(g, 0x66, 0x0f, 0x38, 0xf8, 0x13), ==, EXC_GP);
    enter(g, GUEST_LONG);
    g->cpu->regs[R_RBX] = AT_DATA;
    g->cpu->regs[R_RDX] = 0x123456789abcdef0ull;
    g_assert_cmpint(RUN(g, 0x48, 0x0f, 0x38, 0xf9, 0x13), ==, DONE); /* movdiri [rbx],rdx */
    g_assert_cmphex(guest_ld(g, AT_DATA, 8), ==, 0x123456789abcdef0ull);
    g_assert_cmpint(TRY(g, GUEST_LONG, 0x0f, 0x01, 0xe8), ==, DONE); /* serialize */
    guest_free(g);
    g = guest_new("qemu64");
    g_assert_cmpint(TRY(g, GUEST_LONG, 0x0f, 0x01, 0xfc), ==, EXC_UD);
    g_assert_cmpint(TRY(g, GUEST_LONG, 0x66, 0x0f, 0x38, 0xf8, 0x13), ==, EXC_UD);
    guest_free(g);
}

/* EFER.FFXSR is for the kernel's 64-bit code. */
static void test_fast_fxsave(void)
{
    Guest *g = guest_new("max");
    for (unsigned user = 0; user < 2; user++) {
        enter(g, user ? GUEST_LONG_USER : GUEST_LONG);
        g->cpu->efer |= EFER_FFXSR;
        g->cpu->regs[R_RBX] = AT_DATA;
        g_assert_cmpint(RUN(g, 0x0f, 0xae, 0x03), ==, DONE); /* fxsave [rbx] */
        g_assert_cmphex(guest_ld(g, AT_DATA + 24, 4), ==, 0x1f80);
        g_assert_cmphex(guest_ld(g, AT_DATA + 160 + 16, 8), ==, user ? 0x1111111111111111ull : 0);
    }
    guest_free(g);
}

/* ---- machine checks ---- */

static void test_machine_check(void)
{
    Guest *g = guest_new("max");
    const uint64_t uncorrected = MCI_STATUS_VAL | MCI_STATUS_UC;
    MceError e = {
        .bank = 3, .status = uncorrected | 0x134, .mcg_status = 5, .addr = 0x1234, .misc = 0x8c};
    Error *err = NULL;
    enter(g, GUEST_LONG);
    g_assert_true(cpu_mce_check(g->cpu, &e, NULL));
    e.bank = 10;
    g_assert_false(cpu_mce_check(g->cpu, &e, &err));
    error_free(err);
    e.bank = 3;
    g->cpu->cr4 |= CR4_MCE;
    g_assert_true(cpu_mce_inject(g->cpu, &e));
    cpu_interrupt(g->cpu, IRQ_MCE);
    g_assert_cmpint(RUN(g, 0x90), ==, EXC_MC);
    g_assert_cmphex(g->cpu->mce_banks[3 * 4 + 1], ==, e.status);
    g_assert_cmphex(g->cpu->mce_banks[3 * 4 + 2], ==, 0x1234);
    g_assert_cmphex(g->cpu->mcg_status, ==, 5);
    /* A corrected one does not displace it; another uncorrected one is the end. */
    MceError corrected = {.bank = 3, .status = MCI_STATUS_VAL | 1};
    g_assert_false(cpu_mce_inject(g->cpu, &corrected));
    g_assert_cmphex(g->cpu->mce_banks[3 * 4 + 1], ==, e.status | MCI_STATUS_OVER);
    g_assert_true(cpu_mce_inject(g->cpu, &e));
    cpu_interrupt(g->cpu, IRQ_MCE);
    (void)RUN(g, 0x90);
    g_assert_cmpint(g->exit, ==, RUN_EXIT_SHUTDOWN);
    /* So it is with CR4.MCE clear; a bank that is switched off reports nothing. */
    enter(g, GUEST_LONG);
    g_assert_true(cpu_mce_inject(g->cpu, &e));
    cpu_interrupt(g->cpu, IRQ_MCE);
    (void)RUN(g, 0x90);
    g_assert_cmpint(g->exit, ==, RUN_EXIT_SHUTDOWN);
    enter(g, GUEST_LONG);
    g->cpu->mce_banks[3 * 4] = 0;
    g_assert_false(cpu_mce_inject(g->cpu, &e));
    g_assert_cmphex(g->cpu->mce_banks[3 * 4 + 1], ==, 0);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/x86-vex/state", test_state);
    g_test_add_func("/x86-vex/modes", test_modes);
    g_test_add_func("/x86-vex/prefixes", test_prefixes);
    g_test_add_func("/x86-vex/features", test_features);
    g_test_add_func("/x86-vex/upper-halves", test_upper_halves);
    g_test_add_func("/x86-vex/alignment", test_alignment);
    g_test_add_func("/x86-vex/page-faults", test_page_faults);
    g_test_add_func("/x86-vex/masked", test_masked);
    g_test_add_func("/x86-vex/gather", test_gather);
    g_test_add_func("/x86-vex/xsave", test_xsave);
    g_test_add_func("/x86-vex/leaf-d", test_leaf_d);
    g_test_add_func("/x86-vex/xsave-pkru", test_xsave_pkru);
    g_test_add_func("/x86-vex/lines", test_lines);
    g_test_add_func("/x86-vex/fast-fxsave", test_fast_fxsave);
    g_test_add_func("/x86-vex/machine-check", test_machine_check);
    return g_test_run();
}
