/* SPDX-License-Identifier: GPL-2.0-or-later */
/* target/i386/tcg/simd_fp.c: SSE floating-point arithmetic and comparison. */
#include "target/i386/tcg/simd_fpenv.h"

#include <float.h>

typedef uint32_t F32Op(FpEnv *env, uint32_t a, uint32_t b);
typedef uint64_t F64Op(FpEnv *env, uint64_t a, uint64_t b);

/* ---- the four shapes of an operation, in software ---- */

static inline void soft_ps(SIMD_ARGS, F32Op *op)
{
    FpEnv env = fp_env_sse(cpu->mxcsr);
    Vec r;
    for (unsigned i = 0; i < ctl.len / 4u; i++) {
        r.u32[i] = op(&env, a->u32[i], b->u32[i]);
    }
    fp_finish(cpu, &env);
    memcpy(dst, &r, ctl.len);
}

static inline void soft_pd(SIMD_ARGS, F64Op *op)
{
    FpEnv env = fp_env_sse(cpu->mxcsr);
    Vec r;
    for (unsigned i = 0; i < ctl.len / 8u; i++) {
        r.u64[i] = op(&env, a->u64[i], b->u64[i]);
    }
    fp_finish(cpu, &env);
    memcpy(dst, &r, ctl.len);
}

/* Scalars keep the rest of the first operand. */
static inline void soft_ss(SIMD_ARGS, F32Op *op)
{
    FpEnv env = fp_env_sse(cpu->mxcsr);
    Lane r = lane_get(a, 0);
    r.u32[0] = op(&env, a->u32[0], b->u32[0]);
    fp_finish(cpu, &env);
    lane_put(dst, 0, &r, 16);
}

static inline void soft_sd(SIMD_ARGS, F64Op *op)
{
    FpEnv env = fp_env_sse(cpu->mxcsr);
    Lane r = lane_get(a, 0);
    r.u64[0] = op(&env, a->u64[0], b->u64[0]);
    fp_finish(cpu, &env);
    lane_put(dst, 0, &r, 16);
}

static uint32_t f32_sqrt2(FpEnv *env, uint32_t a, uint32_t b)
{
    return f32_sqrt(env, b);
}

static uint64_t f64_sqrt2(FpEnv *env, uint64_t a, uint64_t b)
{
    return f64_sqrt(env, b);
}

/*
 * The quick way for scalars: with the default modes, and PE set already, an operation on
 * normal numbers with a normal result changes no flag, and C's arithmetic has the result.
 */
static inline bool quick_ok(const CPUX86 *cpu, SimdCtl ctl)
{
    return FLT_EVAL_METHOD == 0 && (cpu->mxcsr & 0xffe0) == 0x1fa0 && !ctl.soft;
}

static inline bool normal32(uint32_t v)
{
    return (v >> 23 & 0xff) - 1u < 0xfe;
}

static inline bool normal64(uint64_t v)
{
    return (v >> 52 & 0x7ff) - 1u < 0x7fe;
}

/* p: first operand, q: second; `both`: both are used. */
#define QUICK(bits, type, both, expr)                        \
    if (quick_ok(cpu, ctl) && normal##bits(b->u##bits[0]) && \
        (!(both) || normal##bits(a->u##bits[0]))) {          \
        type p, q, v;                                        \
        Lane r = lane_get(a, 0);                             \
        memcpy(&p, a, sizeof(p));                            \
        memcpy(&q, b, sizeof(q));                            \
        v = (expr);                                          \
        memcpy(&r, &v, sizeof(v));                           \
        if (normal##bits(r.u##bits[0])) {                    \
            lane_put(dst, 0, &r, 16);                        \
            return;                                          \
        }                                                    \
    }

#define FP_OP(name, op32, op64, both, quick32, quick64) \
    void simd_##name##ps(SIMD_ARGS)                     \
    {                                                   \
        HOST_PACKED(#name "ps")                         \
        soft_ps(cpu, dst, a, b, ctl, op32);             \
    }                                                   \
    void simd_##name##pd(SIMD_ARGS)                     \
    {                                                   \
        HOST_PACKED(#name "pd")                         \
        soft_pd(cpu, dst, a, b, ctl, op64);             \
    }                                                   \
    void simd_##name##ss(SIMD_ARGS)                     \
    {                                                   \
        QUICK(32, float, both, quick32)                 \
        HOST_SCALAR(#name "ss")                         \
        soft_ss(cpu, dst, a, b, ctl, op32);             \
    }                                                   \
    void simd_##name##sd(SIMD_ARGS)                     \
    {                                                   \
        QUICK(64, double, both, quick64)                \
        HOST_SCALAR(#name "sd")                         \
        soft_sd(cpu, dst, a, b, ctl, op64);             \
    }

FP_OP(add, f32_add, f64_add, true, p + q, p + q)
FP_OP(sub, f32_sub, f64_sub, true, p - q, p - q)
FP_OP(mul, f32_mul, f64_mul, true, p *q, p *q)
FP_OP(div, f32_div, f64_div, true, p / q, p / q)
FP_OP(min, f32_min, f64_min, true, p < q ? p : q, p < q ? p : q)
FP_OP(max, f32_max, f64_max, true, p > q ? p : q, p > q ? p : q)
FP_OP(sqrt, f32_sqrt2, f64_sqrt2, false, __builtin_sqrtf(q), __builtin_sqrt(q))

/* ---- compare ---- */

/* Predicates 0-7: EQ LT LE UNORD and their negations. */
static bool predicate(FpRel rel, unsigned p)
{
    bool r;
    switch (p & 3) {
    case 0:
        r = rel == FP_EQUAL;
        break;
    case 1:
        r = rel == FP_LESS;
        break;
    case 2:
        r = rel == FP_LESS || rel == FP_EQUAL;
        break;
    default:
        r = rel == FP_UNORDERED;
        break;
    }
    return r != (p >> 2 & 1);
}

static bool predicate_quiet(unsigned p)
{
    return (p & 3) == 0 || (p & 3) == 3;
}

#define CMP_OP(n)                                                                    \
    static uint32_t f32_cmp##n(FpEnv *env, uint32_t a, uint32_t b)                   \
    {                                                                                \
        return predicate(f32_compare(env, a, b, predicate_quiet(n)), n) ? ~0u : 0;   \
    }                                                                                \
    static uint64_t f64_cmp##n(FpEnv *env, uint64_t a, uint64_t b)                   \
    {                                                                                \
        return predicate(f64_compare(env, a, b, predicate_quiet(n)), n) ? ~0ull : 0; \
    }
CMP_OP(0)
CMP_OP(1)
CMP_OP(2)
CMP_OP(3)
CMP_OP(4)
CMP_OP(5)
CMP_OP(6)
CMP_OP(7)

static F32Op *const cmp32[8] = {f32_cmp0, f32_cmp1, f32_cmp2, f32_cmp3,
                                f32_cmp4, f32_cmp5, f32_cmp6, f32_cmp7};
static F64Op *const cmp64[8] = {f64_cmp0, f64_cmp1, f64_cmp2, f64_cmp3,
                                f64_cmp4, f64_cmp5, f64_cmp6, f64_cmp7};

/* The host's instruction has the predicate as an immediate. */
#define CMP_CASE(kind, insn, n)       \
    case n: {                         \
        kind(insn " $" #n ",") break; \
    }
#define CMP_FN(shape, kind, table)                             \
    void simd_cmp##shape(SIMD_ARGS)                            \
    {                                                          \
        switch (ctl.imm & 7) {                                 \
            CMP_CASE(kind, "cmp" #shape, 0)                    \
            CMP_CASE(kind, "cmp" #shape, 1)                    \
            CMP_CASE(kind, "cmp" #shape, 2)                    \
            CMP_CASE(kind, "cmp" #shape, 3)                    \
            CMP_CASE(kind, "cmp" #shape, 4)                    \
            CMP_CASE(kind, "cmp" #shape, 5)                    \
            CMP_CASE(kind, "cmp" #shape, 6)                    \
            CMP_CASE(kind, "cmp" #shape, 7)                    \
        }                                                      \
        soft_##shape(cpu, dst, a, b, ctl, table[ctl.imm & 7]); \
    }
CMP_FN(ps, HOST_PACKED, cmp32)
CMP_FN(pd, HOST_PACKED, cmp64)
CMP_FN(ss, HOST_SCALAR, cmp32)
CMP_FN(sd, HOST_SCALAR, cmp64)

/* ---- VCMPxx: 32 predicates ---- */

/* Which relations (bit FpRel) make predicates 0-15 true; 16-31 are those again. */
static const uint8_t vcmp_relations[16] = {
    BIT(FP_EQUAL),
    BIT(FP_LESS),
    BIT(FP_LESS) | BIT(FP_EQUAL),
    BIT(FP_UNORDERED),
    BIT(FP_LESS) | BIT(FP_GREATER) | BIT(FP_UNORDERED),
    BIT(FP_EQUAL) | BIT(FP_GREATER) | BIT(FP_UNORDERED),
    BIT(FP_GREATER) | BIT(FP_UNORDERED),
    BIT(FP_LESS) | BIT(FP_EQUAL) | BIT(FP_GREATER),
    BIT(FP_EQUAL) | BIT(FP_UNORDERED),
    BIT(FP_LESS) | BIT(FP_UNORDERED),
    BIT(FP_LESS) | BIT(FP_EQUAL) | BIT(FP_UNORDERED),
    0,
    BIT(FP_LESS) | BIT(FP_GREATER),
    BIT(FP_EQUAL) | BIT(FP_GREATER),
    BIT(FP_GREATER),
    BIT(FP_LESS) | BIT(FP_EQUAL) | BIT(FP_GREATER) | BIT(FP_UNORDERED),
};

/* Quiet predicates become signalling ones from 16 on, and the other way round. */
static bool vcmp_quiet(unsigned p)
{
    return predicate_quiet(p) != (p >> 4 & 1);
}

static bool vcmp32(FpEnv *env, uint32_t a, uint32_t b, unsigned p)
{
    return vcmp_relations[p & 15] >> f32_compare(env, a, b, vcmp_quiet(p)) & 1;
}

static bool vcmp64(FpEnv *env, uint64_t a, uint64_t b, unsigned p)
{
    return vcmp_relations[p & 15] >> f64_compare(env, a, b, vcmp_quiet(p)) & 1;
}

#define VCMP(bits, packed, scalar)                                                             \
    void simd_vcmp##packed(SIMD_ARGS)                                                          \
    {                                                                                          \
        unsigned p = ctl.imm & 31;                                                             \
        if (p < 8) {                                                                           \
            simd_cmp##packed(cpu, dst, a, b, ctl);                                             \
            return;                                                                            \
        }                                                                                      \
        FpEnv env = fp_env_sse(cpu->mxcsr);                                                    \
        Vec r;                                                                                 \
        for (unsigned i = 0; i < ctl.len * 8u / (bits); i++) {                                 \
            r.u##bits[i] = -(uint##bits##_t)vcmp##bits(&env, a->u##bits[i], b->u##bits[i], p); \
        }                                                                                      \
        fp_finish(cpu, &env);                                                                  \
        memcpy(dst, &r, ctl.len);                                                              \
    }                                                                                          \
    void simd_vcmp##scalar(SIMD_ARGS)                                                          \
    {                                                                                          \
        unsigned p = ctl.imm & 31;                                                             \
        if (p < 8) {                                                                           \
            simd_cmp##scalar(cpu, dst, a, b, ctl);                                             \
            return;                                                                            \
        }                                                                                      \
        FpEnv env = fp_env_sse(cpu->mxcsr);                                                    \
        Lane r = lane_get(a, 0);                                                               \
        r.u##bits[0] = -(uint##bits##_t)vcmp##bits(&env, a->u##bits[0], b->u##bits[0], p);     \
        fp_finish(cpu, &env);                                                                  \
        lane_put(dst, 0, &r, 16);                                                              \
    }
VCMP(32, ps, ss)
VCMP(64, pd, sd)

static void set_comi(CPUX86 *cpu, const FpEnv *env, FpRel rel)
{
    static const uint8_t result[] = {[FP_LESS] = FLAG_CF,
                                     [FP_EQUAL] = FLAG_ZF,
                                     [FP_GREATER] = 0,
                                     [FP_UNORDERED] = FLAG_ZF | FLAG_PF | FLAG_CF};
    fp_finish(cpu, env);
    cpu->rflags = (cpu->rflags & ~(uint64_t)FLAGS_ARITH) | result[rel];
}

/* Normal numbers and zeros compare without flags. */
static inline bool plain32(uint32_t v)
{
    return normal32(v) || !(v << 1);
}

static inline bool plain64(uint64_t v)
{
    return normal64(v) || !(v << 1);
}

#define COMI(name, bits, type, quiet)                                                      \
    void simd_##name(SIMD_ARGS)                                                            \
    {                                                                                      \
        if (!ctl.soft && plain##bits(a->u##bits[0]) && plain##bits(b->u##bits[0])) {       \
            type p, q;                                                                     \
            memcpy(&p, a, sizeof(p));                                                      \
            memcpy(&q, b, sizeof(q));                                                      \
            cpu->rflags = (cpu->rflags & ~(uint64_t)FLAGS_ARITH) | (p < q ? FLAG_CF : 0) | \
                          (p == q ? FLAG_ZF : 0);                                          \
            return;                                                                        \
        }                                                                                  \
        HOST_COMPARE(#name)                                                                \
        FpEnv env = fp_env_sse(cpu->mxcsr);                                                \
        FpRel rel = f##bits##_compare(&env, a->u##bits[0], b->u##bits[0], quiet);          \
        set_comi(cpu, &env, rel);                                                          \
    }
COMI(comiss, 32, float, false)
COMI(comisd, 64, double, false)
COMI(ucomiss, 32, float, true)
COMI(ucomisd, 64, double, true)

/* ---- ROUNDxx: imm[1:0] rounding, imm[2] use MXCSR's instead, imm[3] no PE ---- */

static FpRound round_mode(const FpEnv *env, unsigned imm)
{
    return (FpRound)(imm & 4 ? env->round : imm & 3);
}

void simd_roundps(SIMD_ARGS)
{
    FpEnv env = fp_env_sse(cpu->mxcsr);
    Vec r;
    for (unsigned i = 0; i < ctl.len / 4u; i++) {
        r.u32[i] = f32_round_int(&env, b->u32[i], round_mode(&env, ctl.imm), !(ctl.imm & 8));
    }
    fp_finish(cpu, &env);
    memcpy(dst, &r, ctl.len);
}

void simd_roundpd(SIMD_ARGS)
{
    FpEnv env = fp_env_sse(cpu->mxcsr);
    Vec r;
    for (unsigned i = 0; i < ctl.len / 8u; i++) {
        r.u64[i] = f64_round_int(&env, b->u64[i], round_mode(&env, ctl.imm), !(ctl.imm & 8));
    }
    fp_finish(cpu, &env);
    memcpy(dst, &r, ctl.len);
}

void simd_roundss(SIMD_ARGS)
{
    FpEnv env = fp_env_sse(cpu->mxcsr);
    Lane r = lane_get(a, 0);
    r.u32[0] = f32_round_int(&env, b->u32[0], round_mode(&env, ctl.imm), !(ctl.imm & 8));
    fp_finish(cpu, &env);
    lane_put(dst, 0, &r, 16);
}

void simd_roundsd(SIMD_ARGS)
{
    FpEnv env = fp_env_sse(cpu->mxcsr);
    Lane r = lane_get(a, 0);
    r.u64[0] = f64_round_int(&env, b->u64[0], round_mode(&env, ctl.imm), !(ctl.imm & 8));
    fp_finish(cpu, &env);
    lane_put(dst, 0, &r, 16);
}

/* ---- approximations: 12 bits, no exceptions, denormals are zeros ---- */

static float as_float(uint32_t v)
{
    float f;
    memcpy(&f, &v, 4);
    return f;
}

/* Rounds a positive normal double to 12 significant bits of binary32; too small: zero. */
static uint32_t approximate(double d)
{
    uint64_t v;
    memcpy(&v, &d, 8);
    v = (v + BIT(40)) & ~(BIT(41) - 1);
    int e = (int)(v >> 52) - 1023;
    return e < -126 ? 0 : (uint32_t)(e + 127) << 23 | (uint32_t)(v >> 29 & 0x7fffff);
}

/* True: *r is the answer for a NaN, an infinity or a zero. */
static bool approx_special(uint32_t v, uint32_t *r)
{
    uint32_t sign = v & 0x80000000, mag = v & 0x7fffffff;
    if (mag > 0x7f800000) {
        *r = v | 0x400000;
    } else if (mag == 0x7f800000) {
        *r = sign;
    } else if (mag < 0x800000) {
        *r = sign | 0x7f800000;
    } else {
        return false;
    }
    return true;
}

static uint32_t rcp(FpEnv *env, uint32_t a, uint32_t b)
{
    uint32_t r;
    if (!approx_special(b, &r)) {
        r = (b & 0x80000000) | approximate(1.0 / (double)as_float(b & 0x7fffffff));
    }
    return r;
}

static uint32_t rsqrt(FpEnv *env, uint32_t a, uint32_t b)
{
    uint32_t r;
    bool negative = b >> 31 && (b & 0x7fffffff) <= 0x7f800000;
    if (negative && (b & 0x7fffffff) >= 0x800000) {
        return 0xffc00000;
    }
    if (!approx_special(b, &r)) {
        r = approximate(1.0 / __builtin_sqrt((double)as_float(b)));
    }
    return r;
}

void simd_rcpps(SIMD_ARGS)
{
    soft_ps(cpu, dst, a, b, ctl, rcp);
}

void simd_rcpss(SIMD_ARGS)
{
    soft_ss(cpu, dst, a, b, ctl, rcp);
}

void simd_rsqrtps(SIMD_ARGS)
{
    soft_ps(cpu, dst, a, b, ctl, rsqrt);
}

void simd_rsqrtss(SIMD_ARGS)
{
    soft_ss(cpu, dst, a, b, ctl, rsqrt);
}

/* ---- neighbours, alternating, dot products ---- */

static void horizontal_ps(SIMD_ARGS, F32Op *op)
{
    FpEnv env = fp_env_sse(cpu->mxcsr);
    Vec r;
    for (unsigned off = 0; off < ctl.len / 4u; off += 4) {
        for (unsigned i = 0; i < 4; i++) {
            const uint32_t *s = (i < 2 ? a : b)->u32 + off + 2 * (i & 1);
            r.u32[off + i] = op(&env, s[0], s[1]);
        }
    }
    fp_finish(cpu, &env);
    memcpy(dst, &r, ctl.len);
}

static void horizontal_pd(SIMD_ARGS, F64Op *op)
{
    FpEnv env = fp_env_sse(cpu->mxcsr);
    Vec r;
    for (unsigned off = 0; off < ctl.len / 8u; off += 2) {
        r.u64[off] = op(&env, a->u64[off], a->u64[off + 1]);
        r.u64[off + 1] = op(&env, b->u64[off], b->u64[off + 1]);
    }
    fp_finish(cpu, &env);
    memcpy(dst, &r, ctl.len);
}

void simd_haddps(SIMD_ARGS)
{
    horizontal_ps(cpu, dst, a, b, ctl, f32_add);
}

void simd_haddpd(SIMD_ARGS)
{
    horizontal_pd(cpu, dst, a, b, ctl, f64_add);
}

void simd_hsubps(SIMD_ARGS)
{
    horizontal_ps(cpu, dst, a, b, ctl, f32_sub);
}

void simd_hsubpd(SIMD_ARGS)
{
    horizontal_pd(cpu, dst, a, b, ctl, f64_sub);
}

void simd_addsubps(SIMD_ARGS)
{
    FpEnv env = fp_env_sse(cpu->mxcsr);
    Vec r;
    for (unsigned i = 0; i < ctl.len / 4u; i++) {
        r.u32[i] = (i & 1 ? f32_add : f32_sub)(&env, a->u32[i], b->u32[i]);
    }
    fp_finish(cpu, &env);
    memcpy(dst, &r, ctl.len);
}

void simd_addsubpd(SIMD_ARGS)
{
    FpEnv env = fp_env_sse(cpu->mxcsr);
    Vec r;
    for (unsigned i = 0; i < ctl.len / 8u; i++) {
        r.u64[i] = (i & 1 ? f64_add : f64_sub)(&env, a->u64[i], b->u64[i]);
    }
    fp_finish(cpu, &env);
    memcpy(dst, &r, ctl.len);
}

/*
 * imm[7:4]: which products count; imm[3:0]: which elements receive the sum.  The
 * products, the sums of pairs and the last sum may each raise before the next.
 */
void simd_dpps(SIMD_ARGS)
{
    FpEnv env = fp_env_sse(cpu->mxcsr);
    Vec p = {{0}}, r;
    unsigned n = ctl.len / 4u;
    for (unsigned i = 0; i < n; i++) {
        if (ctl.imm >> (4 + i % 4) & 1) {
            p.u32[i] = f32_mul(&env, a->u32[i], b->u32[i]);
        }
    }
    fp_finish(cpu, &env);
    for (unsigned i = 0; i < n; i += 2) {
        p.u32[i] = f32_add(&env, p.u32[i], p.u32[i + 1]);
    }
    fp_finish(cpu, &env);
    for (unsigned i = 0; i < n; i += 4) {
        uint32_t sum = f32_add(&env, p.u32[i], p.u32[i + 2]);
        for (unsigned k = 0; k < 4; k++) {
            r.u32[i + k] = ctl.imm >> k & 1 ? sum : 0;
        }
    }
    fp_finish(cpu, &env);
    memcpy(dst, &r, ctl.len);
}

void simd_dppd(SIMD_ARGS)
{
    FpEnv env = fp_env_sse(cpu->mxcsr);
    Lane r;
    uint64_t p[2];
    for (unsigned i = 0; i < 2; i++) {
        p[i] = ctl.imm >> (4 + i) & 1 ? f64_mul(&env, a->u64[i], b->u64[i]) : 0;
    }
    fp_finish(cpu, &env);
    uint64_t sum = f64_add(&env, p[0], p[1]);
    for (unsigned i = 0; i < 2; i++) {
        r.u64[i] = ctl.imm >> i & 1 ? sum : 0;
    }
    fp_finish(cpu, &env);
    lane_put(dst, 0, &r, 16);
}
