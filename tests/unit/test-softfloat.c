/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/unit/test-softfloat.c: the software arithmetic against the host's: the same
 * operation by SSE and x87 instructions, results and flags bit by bit.
 */
#include "target/i386/tcg/softfloat.h"
#include "tests/unit/rng.h"

#include <glib.h>
#include <inttypes.h>
#include <string.h>

#ifdef __x86_64__

/* Bit patterns in which carries, halves and borders are likely. */
static uint64_t pattern(Rng *r, unsigned bits)
{
    uint64_t v = next(r);
    switch (next(r) % 6) {
    case 0:
        v = 0;
        break;
    case 1:
        v = ~0ull;
        break;
    case 2:
        v = 1ull << (v % bits);
        break;
    case 3:
        v = ~0ull << (v % bits);
        break;
    case 4:
        v = (1ull << (v % bits)) - 1;
        break;
    default:
        break;
    }
    return bits == 64 ? v : v & ((1ull << bits) - 1);
}

static unsigned exponent(Rng *r, unsigned max)
{
    static const int near[] = {0, 0, 1, 2, 24, 53, 64, -1, -2, -3, -60};
    unsigned bias = max >> 1;
    switch (next(r) % 5) {
    case 0:
        return max;
    case 1:
        return next(r) % (max + 1);
    case 2: {
        int e = near[next(r) % G_N_ELEMENTS(near)];
        return e < 0 ? (unsigned)((int)max + e) : (unsigned)e;
    }
    default:
        return bias - 70 % bias + (unsigned)(next(r) % 140) % bias;
    }
}

static uint32_t gen32(Rng *r)
{
    return (uint32_t)((next(r) & 1) << 31 | (exponent(r, 255) & 255) << 23 | pattern(r, 23));
}

static uint64_t gen64(Rng *r)
{
    return (next(r) & 1) << 63 | (uint64_t)(exponent(r, 2047) & 2047) << 52 | pattern(r, 52);
}

static Float80 gen80(Rng *r)
{
    Float80 v;
    v.exp = (uint16_t)((next(r) & 1) << 15 | (exponent(r, 32767) & 32767));
    v.mant = pattern(r, 63) | ((v.exp & 0x7fff) != 0 ? 1ull << 63 : 0);
    if (next(r) % 16 == 0) {
        v.mant ^= 1ull << 63;
    }
    return v;
}

static uint32_t gen_mxcsr(Rng *r)
{
    return 0x1f80 | (uint32_t)(next(r) & 3) << 13 | (next(r) % 4 == 0 ? 0x40 : 0) |
           (next(r) % 4 == 0 ? 0x8000 : 0);
}

#define SSE_RUN(insn, mxcsr, dst, src)                                      \
    do {                                                                    \
        uint32_t saved_;                                                    \
        __asm__ volatile("stmxcsr %[s]\n\tldmxcsr %[m]\n\t" insn            \
                         " %[b], %[a]\n\tstmxcsr %[m]\n\tldmxcsr %[s]"      \
                         : [a] "+x"(dst), [m] "+m"(mxcsr), [s] "=m"(saved_) \
                         : [b] "x"(src));                                   \
    } while (0)

static void check(const char *op, uint64_t a, uint64_t b, uint32_t csr, uint64_t got, uint32_t gotf,
                  uint64_t want, uint32_t wantf)
{
    if (got != want || gotf != wantf) {
        g_error("%s(%#" PRIx64 ", %#" PRIx64 ") mxcsr %#x: got %#" PRIx64
                " flags %#x, host %#" PRIx64 " flags %#x",
                op, a, b, csr, got, gotf, want, wantf);
    }
}

static double as_double(uint64_t v)
{
    double d;
    memcpy(&d, &v, 8);
    return d;
}

static uint64_t double_bits(double d)
{
    uint64_t v;
    memcpy(&v, &d, 8);
    return v;
}

static uint32_t low32(double d)
{
    return (uint32_t)double_bits(d);
}

#define TEST_BINARY32(fn, insn)                                              \
    do {                                                                     \
        uint32_t a = gen32(&r), b = gen32(&r), csr = gen_mxcsr(&r), m = csr; \
        double x = as_double(a), y = as_double(b);                           \
        FpEnv env = fp_env_sse(csr);                                         \
        uint32_t got = fn(&env, a, b);                                       \
        SSE_RUN(insn, m, x, y);                                              \
        check(insn, a, b, csr, got, env.flags, low32(x), m & 63);            \
    } while (0)

#define TEST_BINARY64(fn, insn)                                         \
    do {                                                                \
        uint64_t a = gen64(&r), b = gen64(&r);                          \
        uint32_t csr = gen_mxcsr(&r), m = csr;                          \
        double x = as_double(a), y = as_double(b);                      \
        FpEnv env = fp_env_sse(csr);                                    \
        uint64_t got = fn(&env, a, b);                                  \
        SSE_RUN(insn, m, x, y);                                         \
        check(insn, a, b, csr, got, env.flags, double_bits(x), m & 63); \
    } while (0)

#define TEST_UNARY32(fn, insn)                                          \
    do {                                                                \
        uint32_t b = gen32(&r), csr = gen_mxcsr(&r), m = csr;           \
        double x = 0, y = as_double(b);                                 \
        FpEnv env = fp_env_sse(csr);                                    \
        uint64_t got = fn;                                              \
        SSE_RUN(insn, m, x, y);                                         \
        check(insn, b, 0, csr, got, env.flags, double_bits(x), m & 63); \
    } while (0)

#define TEST_UNARY64(fn, insn)                                          \
    do {                                                                \
        uint64_t b = gen64(&r);                                         \
        uint32_t csr = gen_mxcsr(&r), m = csr;                          \
        double x = 0, y = as_double(b);                                 \
        FpEnv env = fp_env_sse(csr);                                    \
        uint64_t got = fn;                                              \
        SSE_RUN(insn, m, x, y);                                         \
        check(insn, b, 0, csr, got, env.flags, double_bits(x), m & 63); \
    } while (0)

static void test_sse_arith(void)
{
    Rng r = {0x123456789abcdefull};
    for (int i = 0; i < 150000; i++) {
        TEST_BINARY32(f32_add, "addss");
        TEST_BINARY32(f32_sub, "subss");
        TEST_BINARY32(f32_mul, "mulss");
        TEST_BINARY32(f32_div, "divss");
        TEST_BINARY32(f32_min, "minss");
        TEST_BINARY32(f32_max, "maxss");
        TEST_BINARY64(f64_add, "addsd");
        TEST_BINARY64(f64_sub, "subsd");
        TEST_BINARY64(f64_mul, "mulsd");
        TEST_BINARY64(f64_div, "divsd");
        TEST_BINARY64(f64_min, "minsd");
        TEST_BINARY64(f64_max, "maxsd");
        TEST_UNARY32(f32_sqrt(&env, b), "sqrtss");
        TEST_UNARY64(f64_sqrt(&env, b), "sqrtsd");
    }
}

static void test_sse_convert(void)
{
    Rng r = {0xfeedface12345ull};
    bool rounds = __builtin_cpu_supports("sse4.1");
    for (int i = 0; i < 150000; i++) {
        TEST_UNARY32(f32_to_f64(&env, b), "cvtss2sd");
        TEST_UNARY64(f64_to_f32(&env, b), "cvtsd2ss");
        TEST_UNARY32((uint32_t)f32_to_int(&env, b, 32), "cvtps2dq");
        TEST_UNARY32((env.round = FP_CHOP, (uint32_t)f32_to_int(&env, b, 32)), "cvttps2dq");
        TEST_UNARY64((uint32_t)f64_to_int(&env, b, 32), "cvtpd2dq");
        if (rounds) {
            TEST_UNARY32(f32_round_int(&env, b, env.round, true), "roundss $4,");
            TEST_UNARY64(f64_round_int(&env, b, env.round, true), "roundsd $4,");
            TEST_UNARY64(f64_round_int(&env, b, FP_UP, false), "roundsd $10,");
        }

        uint64_t b = gen64(&r);
        uint32_t csr = gen_mxcsr(&r), m = csr, saved;
        int64_t want;
        double y = as_double(b);
        FpEnv env = fp_env_sse(csr);
        int64_t got = f64_to_int(&env, b, 64);
        __asm__ volatile("stmxcsr %[s]\n\tldmxcsr %[m]\n\tcvtsd2si %[b], %[a]\n\t"
                         "stmxcsr %[m]\n\tldmxcsr %[s]"
                         : [a] "=r"(want), [m] "+m"(m), [s] "=m"(saved)
                         : [b] "x"(y));
        check("cvtsd2si", b, 0, csr, (uint64_t)got, env.flags, (uint64_t)want, m & 63);

        int64_t iv = (int64_t)(next(&r) & 1 ? pattern(&r, 64) : next(&r) >> (next(&r) & 63));
        double x = 0;
        m = csr;
        env = fp_env_sse(csr);
        b = f64_from_int(&env, iv);
        __asm__ volatile("stmxcsr %[s]\n\tldmxcsr %[m]\n\tcvtsi2sdq %[b], %[a]\n\t"
                         "stmxcsr %[m]\n\tldmxcsr %[s]"
                         : [a] "+x"(x), [m] "+m"(m), [s] "=m"(saved)
                         : [b] "r"(iv));
        check("cvtsi2sd", (uint64_t)iv, 0, csr, b, env.flags, double_bits(x), m & 63);
        x = 0;
        m = csr;
        env = fp_env_sse(csr);
        b = f32_from_int(&env, iv);
        __asm__ volatile("stmxcsr %[s]\n\tldmxcsr %[m]\n\tcvtsi2ssq %[b], %[a]\n\t"
                         "stmxcsr %[m]\n\tldmxcsr %[s]"
                         : [a] "+x"(x), [m] "+m"(m), [s] "=m"(saved)
                         : [b] "r"(iv));
        check("cvtsi2ss", (uint64_t)iv, 0, csr, b, env.flags, double_bits(x), m & 63);
    }
}

static void test_sse_compare(void)
{
    Rng r = {0xabcdef0987654321ull};
    for (int i = 0; i < 200000; i++) {
        uint64_t a = gen64(&r), b = next(&r) % 8 ? gen64(&r) : a, fl;
        bool quiet = next(&r) & 1;
        uint32_t csr = gen_mxcsr(&r), m = csr, saved;
        double x = as_double(a), y = as_double(b);
        FpEnv env = fp_env_sse(csr);
        FpRel rel = f64_compare(&env, a, b, quiet);
        __asm__ volatile("stmxcsr %[s]\n\tldmxcsr %[m]\n\ttestb %[q], %[q]\n\tjz 1f\n\t"
                         "ucomisd %[b], %[a]\n\tjmp 2f\n1:\tcomisd %[b], %[a]\n2:\n\t"
                         "pushfq\n\tpopq %[f]\n\tstmxcsr %[m]\n\tldmxcsr %[s]"
                         : [f] "=r"(fl), [m] "+m"(m), [s] "=m"(saved)
                         : [b] "x"(y), [a] "x"(x), [q] "q"(quiet)
                         : "cc");
        static const uint64_t want[] = {
            [FP_LESS] = 1, [FP_EQUAL] = 0x40, [FP_GREATER] = 0, [FP_UNORDERED] = 0x45};
        check("comisd", a, b, csr, want[rel], env.flags, fl & 0x45, m & 63);
    }
}

typedef struct __attribute__((packed)) Raw80 {
    uint64_t mant;
    uint16_t exp;
} Raw80;

/* What FNSAVE leaves after one instruction. */
typedef struct __attribute__((packed)) FSave {
    uint32_t cw, sw, tw, fip, fcs, fdp, fds;
    Raw80 st[8];
} FSave;

/* b in ST(1), a in ST(0). */
#define X87_RUN(insn, cwv, a, b, save)                                             \
    do {                                                                           \
        Raw80 a_ = {(a).mant, (a).exp}, b_ = {(b).mant, (b).exp};                  \
        uint16_t cw_ = (cwv);                                                      \
        __asm__ volatile("fninit\n\tfldt %[b]\n\tfldt %[a]\n\tfldcw %[c]\n\t" insn \
                         "\n\tfnsave %[s]"                                         \
                         : [s] "=m"(save)                                          \
                         : [a] "m"(a_), [b] "m"(b_), [c] "m"(cw_)                  \
                         : "memory");                                              \
    } while (0)

static uint16_t gen_cw(Rng *r, bool unmask)
{
    static const uint8_t pc[] = {0, 2, 3, 3};
    uint16_t cw = (uint16_t)(0x3f | pc[next(r) & 3] << 8 | (next(r) & 3) << 10);
    if (unmask) {
        cw &= (uint16_t) ~(next(r) & 63);
    }
    return cw;
}

/* flags as the hardware reports them: what comes after an unmasked operand fault is not done. */
static unsigned final_flags(const FpEnv *env)
{
    return env->flags & env->unmasked & FP_PRE ? env->flags & FP_PRE : env->flags;
}

static void check80(const char *op, Float80 a, Float80 b, uint16_t cw, Float80 got,
                    const FpEnv *env, const FSave *s)
{
    unsigned flags = final_flags(env);
    bool aborted = env->flags & env->unmasked & FP_PRE;
    Float80 want = {s->st[0].mant, s->st[0].exp};
    bool c1 = s->sw >> 9 & 1;
    if (flags != (s->sw & 63) || (!aborted && (got.mant != want.mant || got.exp != want.exp ||
                                               (flags & FP_PE && env->rounded_up != c1)))) {
        g_error("%s(%04x:%016" PRIx64 ", %04x:%016" PRIx64 ") cw %#x: got %04x:%016" PRIx64
                " flags %#x C1 %d, host %04x:%016" PRIx64 " sw %#x",
                op, a.exp, a.mant, b.exp, b.mant, cw, got.exp, got.mant, flags, env->rounded_up,
                want.exp, want.mant, s->sw);
    }
}

#define TEST_X87(call, insn)                    \
    do {                                        \
        FSave s;                                \
        FpEnv env = fp_env_x87(cw);             \
        Float80 got = call;                     \
        X87_RUN(insn, cw, a, b, s);             \
        check80(insn, a, b, cw, got, &env, &s); \
    } while (0)

static void x87_round(Rng *r, bool unmask)
{
    Float80 a = gen80(r), b = gen80(r);
    if (next(r) % 8 == 0) { /* close to each other */
        b = a;
        b.mant ^= next(r) & 3;
        b.exp ^= (uint16_t)(next(r) & 0x8000);
    }
    Fp x = fp_from80(a), y = fp_from80(b);
    uint16_t cw = gen_cw(r, unmask);
    TEST_X87(fp80_add(&env, x, y), "fadd %%st(1), %%st");
    TEST_X87(fp80_sub(&env, x, y), "fsub %%st(1), %%st");
    TEST_X87(fp80_mul(&env, x, y), "fmul %%st(1), %%st");
    TEST_X87(fp80_div(&env, x, y), "fdiv %%st(1), %%st");
    TEST_X87(fp80_sqrt(&env, x), "fsqrt");
    TEST_X87(fp80_round_int(&env, x), "frndint");
    TEST_X87(fp80_scale(&env, x, y), "fscale");
}

static void test_x87_arith(void)
{
    Rng r = {0x5555aaaa1234ull};
    for (int i = 0; i < 150000; i++) {
        x87_round(&r, false);
    }
}

static void test_x87_unmasked(void)
{
    Rng r = {0x7777123400ull};
    for (int i = 0; i < 100000; i++) {
        x87_round(&r, true);
    }
}

static void test_x87_rem(void)
{
    Rng r = {0x9999123400ull};
    for (int i = 0; i < 100000; i++) {
        Float80 a = gen80(&r), b = gen80(&r);
        uint16_t cw = gen_cw(&r, false);
        bool nearest = next(&r) & 1;
        FSave s;
        FpEnv env = fp_env_x87(cw);
        unsigned q;
        bool incomplete;
        Float80 got = fp80_rem(&env, fp_from80(a), fp_from80(b), nearest, &q, &incomplete);
        for (int n = 0; incomplete && n < 2000; n++) {
            got = fp80_rem(&env, fp_from80(got), fp_from80(b), nearest, &q, &incomplete);
        }
        g_assert_false(incomplete);
        env.rounded_up = q & 1;
        if (nearest) {
            X87_RUN("1: fprem1\n\tfnstsw %%ax\n\ttestb $4, %%ah\n\tjnz 1b", cw, a, b, s);
        } else {
            X87_RUN("1: fprem\n\tfnstsw %%ax\n\ttestb $4, %%ah\n\tjnz 1b", cw, a, b, s);
        }
        check80(nearest ? "fprem1" : "fprem", a, b, cw, got, &env, &s);
        if (!(env.flags & FP_IE)) {
            unsigned c = s.sw, want = (c >> 8 & 1) << 2 | (c >> 14 & 1) << 1 | (c >> 9 & 1);
            if (got.exp != 0x7fff && q != want && !(fp_from80(a).cls >= FPC_INF) &&
                !(fp_from80(b).cls >= FPC_QNAN)) {
                g_error("fprem%d(%04x:%016" PRIx64 ", %04x:%016" PRIx64 "): quotient %u, host %u",
                        nearest, a.exp, a.mant, b.exp, b.mant, q, want);
            }
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/softfloat/sse/arith", test_sse_arith);
    g_test_add_func("/softfloat/sse/convert", test_sse_convert);
    g_test_add_func("/softfloat/sse/compare", test_sse_compare);
    g_test_add_func("/softfloat/x87/arith", test_x87_arith);
    g_test_add_func("/softfloat/x87/unmasked", test_x87_unmasked);
    g_test_add_func("/softfloat/x87/rem", test_x87_rem);
    return g_test_run();
}

#else

int main(void)
{
    return 77; /* nothing to compare with */
}

#endif
