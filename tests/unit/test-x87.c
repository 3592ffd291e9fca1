/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/unit/test-x87.c: x87 instructions against the host's: the same state is loaded
 * into both, one instruction runs, and the whole state is compared.
 */
#include "target/i386/tcg/helper.h"
#include "target/i386/tcg/x87.h"
#include "tests/unit/rng.h"
#include "util/bits.h"

#include <glib.h>
#include <inttypes.h>
#include <string.h>

#ifdef __x86_64__

#include <sys/mman.h>

/* FNSAVE's image in 32-bit protected format. */
typedef struct __attribute__((packed)) Image {
    uint16_t cw, r0, sw, r1, tw, r2;
    uint32_t ip, cs, dp, ds;
    struct __attribute__((packed)) {
        uint64_t mant;
        uint16_t exp;
    } st[8];
} Image;

typedef struct Result {
    uint64_t flags, rax;
} Result;

typedef void NativeFn(const Image *in, Image *out, void *mem, uint64_t flags, Result *r);

/* Code that loads `in` and flags, runs the instruction (memory form: at [rdx]), saves. */
static NativeFn *assemble(uint8_t *buf, unsigned esc, uint8_t modrm)
{
    static const uint8_t before[] = {0xdd, 0x27, 0x51, 0x9d, 0x31, 0xc0, 0x51, 0x9d};
    static const uint8_t after[] = {0x9c, 0x59, 0xdd, 0x36, 0x49, 0x89, 0x08,
                                    0x49, 0x89, 0x40, 0x08, 0xfc, 0xc3};
    uint8_t *p = buf;
    memcpy(p, before, sizeof(before));
    p += sizeof(before);
    *p++ = (uint8_t)(0xd8 + esc);
    *p++ = modrm;
    memcpy(p, after, sizeof(after));
    return (NativeFn *)(uintptr_t)buf;
}

static uint8_t *code_page(void)
{
    uint8_t *p =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static uint64_t mantissa(Rng *r)
{
    switch (next(r) % 6) {
    case 0:
        return 0;
    case 1:
        return ~0ull >> 1;
    case 2:
        return 1ull << (next(r) % 63);
    case 3:
        return (~0ull << (next(r) % 63)) >> 1;
    default:
        return next(r) >> 1;
    }
}

static Float80 random80(Rng *r)
{
    static const uint16_t exps[] = {0,      0,      1,      2,      0x3fff - 70, 0x3ffe, 0x3fff,
                                    0x4000, 0x403d, 0x403e, 0x403f, 0x7ffe,      0x7fff, 0x7fff};
    uint16_t e =
        next(r) % 3 ? (uint16_t)(0x3fff - 40 + next(r) % 80) : exps[next(r) % G_N_ELEMENTS(exps)];
    Float80 v = {mantissa(r) | (e ? BIT(63) : 0), (uint16_t)(e | (next(r) & 1) << 15)};
    switch (next(r) % 24) {
    case 0: /* unnormal, pseudo-denormal … */
        v.mant ^= BIT(63);
        break;
    case 1: /* zero */
        v = (Float80){0, v.exp & 0x8000};
        break;
    case 2: /* small integers */
        v = fp_pack80(fp_from_int((int64_t)(next(r) % 41) - 20));
        break;
    case 3: /* something near what FST, FIST round */
        v.exp = (uint16_t)((v.exp & 0x8000) | (0x3fff - 130 + next(r) % 6));
        break;
    case 4:
        v.exp = (uint16_t)((v.exp & 0x8000) | (0x3fff - 1026 + next(r) % 6));
        break;
    default:
        break;
    }
    return v;
}

static void random_state(Rng *r, X87 *fp, bool unmask)
{
    memset(fp, 0, sizeof(*fp));
    for (unsigned i = 0; i < 8; i++) {
        fp->r[i] = random80(r);
        fp->empty |= (uint8_t)((next(r) % 6 == 0) << i);
    }
    if (next(r) % 2) {
        fp->empty = 0xff >> (next(r) % 8);
    }
    fp->top = next(r) & 7;
    fp->cw = (uint16_t)(0x7f | (next(r) & 0xf00));
    if ((fp->cw & 0x300) == 0x100) { /* reserved precision */
        fp->cw |= 0x200;
    }
    fp->sw = (uint16_t)(next(r) & (SW_CC | (next(r) & 1 ? 0x7f : 0)));
    if (unmask) {
        fp->cw &= (uint16_t)(0xffc0 | next(r));
        fp->sw &= (uint16_t) ~(~fp->cw & 0x3f); /* nothing is pending yet */
    }
}

static void to_image(const X87 *fp, Image *im)
{
    memset(im, 0, sizeof(*im));
    im->cw = fp->cw;
    im->sw = x87_sw(fp);
    im->tw = x87_tag_word(fp);
    for (unsigned i = 0; i < 8; i++) {
        im->st[i].mant = x87_st(fp, i).mant;
        im->st[i].exp = x87_st(fp, i).exp;
    }
}

static void dump(const char *what, const Image *im)
{
    g_printerr("%s: cw %04x sw %04x (top %u) tags %04x\n", what, im->cw, im->sw, im->sw >> 11 & 7,
               im->tw);
    for (unsigned i = 0; i < 8; i++) {
        g_printerr("  st%u %04x:%016" PRIx64 "\n", i, im->st[i].exp, im->st[i].mant);
    }
}

static int64_t ulps(uint64_t am, uint16_t ae, uint64_t bm, uint16_t be)
{
    if ((ae ^ be) & 0x8000) {
        return INT64_MAX;
    }
    __int128 a = (__int128)(ae & 0x7fff) << 63 | (am & ~BIT(63));
    __int128 b = (__int128)(be & 0x7fff) << 63 | (bm & ~BIT(63));
    __int128 d = a > b ? a - b : b - a;
    return d > 1000 ? 1000 : (int64_t)d;
}

/* Registers may differ by `tolerance` units; then C1 (rounded up) may too. */
static bool same(const Image *a, const Image *b, int tolerance, unsigned sw_mask)
{
    bool ok = a->cw == b->cw && a->tw == b->tw && ((a->sw ^ b->sw) & sw_mask) == 0;
    for (unsigned i = 0; i < 8 && ok; i++) {
        int64_t d = ulps(a->st[i].mant, a->st[i].exp, b->st[i].mant, b->st[i].exp);
        ok = d <= tolerance && (d || a->st[i].mant == b->st[i].mant);
    }
    return ok;
}

/* The software follows AMD's chips where the manuals leave room. */
static bool follows_host(void)
{
    return __builtin_cpu_is("amd");
}

/* FCMOV, FCOMI, FFREE: the vendors' chips differ. */
static bool c1_undefined(unsigned esc, uint8_t modrm)
{
    unsigned reg = modrm >> 3 & 7;
    return ((esc == 2 || esc == 3) && reg < 4) || ((esc == 3 || esc == 7) && reg >= 5) ||
           ((esc == 5 || esc == 7) && reg == 0);
}

static unsigned run_one(CPUX86 *cpu, uint8_t *code, Rng *r, unsigned esc, uint8_t modrm,
                        bool unmask, int tolerance)
{
    Image in, want, got;
    Result res;
    static const uint32_t arith = FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF;
    random_state(r, &cpu->x87, unmask);
    /* F2XM1 is defined for |x| <= 1, FYL2XP1 for |x| < 0.29 */
    unsigned limit = esc != 1 ? 0 : modrm == 0xf0 ? 0x3ffe : modrm == 0xf9 ? 0x3ffc : 0;
    if (limit) {
        Float80 *v = &cpu->x87.r[cpu->x87.top];
        v->exp = (v->exp & 0x7fff) > limit ? (uint16_t)(limit - next(r) % 64) : v->exp;
    }
    cpu->rflags = 0x202 | (next(r) & arith);
    cpu->regs[R_RAX] = 0;
    to_image(&cpu->x87, &in);
    uint64_t flags = cpu->rflags;
    assemble(code, esc, modrm)(&in, &want, NULL, flags, &res);

    x87_insn(cpu, esc, modrm, SEG_DS, 0, 4);
    to_image(&cpu->x87, &got);
    unsigned sw_mask = tolerance || c1_undefined(esc, modrm) ? 0xffff & ~SW_C1 : 0xffff;
    if (!follows_host()) {
        if (tolerance) { /* exact special cases of the transcendental functions */
            sw_mask &= ~(FP_PE | FP_UE);
        }
        if (esc == 1 && (modrm == 0xf5 || modrm == 0xf8) && want.sw & SW_C2) {
            return 0; /* how far one FPREM comes is the chip's choice */
        }
    }
    /* After an unmasked exception some chips have written the flags, others have not. */
    bool cmp_flags = !(want.sw & SW_ES);
    if (!same(&got, &want, tolerance, sw_mask) ||
        (cmp_flags && ((cpu->rflags ^ res.flags) & arith)) ||
        (cpu->regs[R_RAX] & 0xffff) != (res.rax & 0xffff)) {
        g_printerr("%02x %02x: flags %03x in, %03x here, %03x host; ax %04x %04x\n", 0xd8 + esc,
                   modrm, (unsigned)flags, (unsigned)cpu->rflags, (unsigned)res.flags,
                   (unsigned)cpu->regs[R_RAX], (unsigned)res.rax);
        dump("before", &in);
        dump("here", &got);
        dump("host", &want);
        return 1;
    }
    return 0;
}

static CPUX86 *new_cpu(sigjmp_buf *unwind)
{
    CPUX86 *cpu = g_aligned_alloc0(1, sizeof(CPUX86), 64);
    cpu->cr0 = CR0_PE | CR0_NE;
    cpu->hflags = HF_PE | HF_LMA | HF_CS64;
    cpu->unwind = unwind;
    return cpu;
}

/* D9 F0-FF without the exact ones: results are approximations. */
static bool approximate(unsigned esc, uint8_t modrm)
{
    static const uint8_t fns[] = {0xf0, 0xf1, 0xf2, 0xf3, 0xf9, 0xfb, 0xfe, 0xff};
    for (unsigned i = 0; esc == 1 && i < G_N_ELEMENTS(fns); i++) {
        if (modrm == fns[i]) {
            return true;
        }
    }
    return false;
}

static bool defined(unsigned esc, uint8_t modrm)
{
    unsigned reg = modrm >> 3 & 7, n = esc << 8 | modrm;
    switch (esc) {
    case 1:
        return modrm < 0xd0 || modrm == 0xd0 || (modrm >= 0xd8 && modrm < 0xe0 && follows_host()) ||
               modrm == 0xe0 || modrm == 0xe1 || modrm == 0xe4 || modrm == 0xe5 ||
               (modrm >= 0xe8 && modrm != 0xef);
    case 2:
        return reg < 4 || n == 0x2e9;
    case 3:
        return reg < 4 || reg == 5 || reg == 6 || n == 0x3e2 || n == 0x3e3;
    case 5:
        return reg < 6;
    case 6:
        return reg != 3 || n == 0x6d9;
    case 7:
        return reg < 4 || reg == 5 || reg == 6 || n == 0x7e0;
    default:
        return true;
    }
}

static void all_registers(bool unmask, uint64_t seed, unsigned rounds)
{
    Rng r = {seed};
    uint8_t *code = code_page();
    if (!code) {
        g_test_skip("no executable memory");
        return;
    }
    sigjmp_buf unwind;
    CPUX86 *cpu = new_cpu(&unwind);
    g_assert_cmpint(sigsetjmp(unwind, 0), ==, 0);
    unsigned bad = 0;
    for (unsigned i = 0; i < rounds && bad < 3; i++) {
        for (unsigned n = 0; n < 512 && bad < 3; n++) {
            unsigned esc = n >> 6;
            uint8_t modrm = (uint8_t)(0xc0 | n);
            if (defined(esc, modrm) && !approximate(esc, modrm)) {
                bad += run_one(cpu, code, &r, esc, modrm, unmask, 0);
            }
        }
    }
    g_assert_cmpuint(bad, ==, 0);
    munmap(code, 4096);
    g_aligned_free(cpu);
}

static void test_registers(void)
{
    all_registers(false, 0x1234567, 400);
}

static void test_registers_unmasked(void)
{
    all_registers(true, 0x7654321, 400);
}

static void transcendental(const void *data)
{
    uint8_t modrm = (uint8_t)GPOINTER_TO_UINT(data);
    Rng r = {0x99887766ull + modrm};
    uint8_t *code = code_page();
    if (!code) {
        g_test_skip("no executable memory");
        return;
    }
    sigjmp_buf unwind;
    CPUX86 *cpu = new_cpu(&unwind);
    g_assert_cmpint(sigsetjmp(unwind, 0), ==, 0);
    unsigned bad = 0;
    for (unsigned i = 0; i < 5000 && bad < 3; i++) {
        bad += run_one(cpu, code, &r, 1, modrm, false, 1);
    }
    g_assert_cmpuint(bad, ==, 0);
    munmap(code, 4096);
    g_aligned_free(cpu);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        unsigned modrm;
    } fns[] = {{"f2xm1", 0xf0},   {"fyl2x", 0xf1},   {"fptan", 0xf2}, {"fpatan", 0xf3},
               {"fyl2xp1", 0xf9}, {"fsincos", 0xfb}, {"fsin", 0xfe},  {"fcos", 0xff}};
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/x87/registers", test_registers);
    g_test_add_func("/x87/registers-unmasked", test_registers_unmasked);
    for (unsigned i = 0; i < G_N_ELEMENTS(fns); i++) {
        char *path = g_strdup_printf("/x87/%s", fns[i].name);
        g_test_add_data_func(path, GUINT_TO_POINTER(fns[i].modrm), transcendental);
        g_free(path);
    }
    return g_test_run();
}

#else

int main(void)
{
    return 77; /* nothing to compare with */
}

#endif
