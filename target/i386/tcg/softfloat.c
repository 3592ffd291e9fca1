/* SPDX-License-Identifier: GPL-2.0-or-later */
/* target/i386/tcg/softfloat.c: taking apart, rounding, the five operations. */
#include "target/i386/tcg/softfloat_int.h"

#include <math.h>

/* frac: the fraction, its first bit at 62. exp: biased; max: its all-ones value. */
static inline Fp unpack(bool sign, unsigned exp, unsigned max, uint64_t frac)
{
    int bias = (int)(max >> 1);
    if (exp == max) {
        return (Fp){.sign = sign,
                    .m = BIT(63) | frac,
                    .cls = !frac             ? FPC_INF
                           : frac & FP_QUIET ? FPC_QNAN
                                             : FPC_SNAN};
    }
    if (exp) {
        return (Fp){.sign = sign, .m = BIT(63) | frac, .e = (int)exp - bias, .cls = FPC_NORM};
    }
    if (!frac) {
        return fp_zero(sign);
    }
    int s = __builtin_clzll(frac);
    return (Fp){.sign = sign, .m = frac << s, .e = 1 - bias - s, .cls = FPC_NORM, .denorm = true};
}

Fp fp_from32(uint32_t v)
{
    return unpack(v >> 31, v >> 23 & 0xff, 0xff, (uint64_t)(v & 0x7fffff) << 40);
}

Fp fp_from64(uint64_t v)
{
    return unpack(v >> 63, v >> 52 & 0x7ff, 0x7ff, v << 12 >> 1);
}

Fp fp_from80(Float80 v)
{
    bool sign = v.exp >> 15;
    unsigned exp = v.exp & 0x7fff;
    if (!exp) { /* zero, denormal, or pseudo-denormal (bit 63 set) */
        if (!v.mant) {
            return fp_zero(sign);
        }
        int s = __builtin_clzll(v.mant);
        return (Fp){
            .sign = sign, .m = v.mant << s, .e = -16382 - s, .cls = FPC_NORM, .denorm = true};
    }
    if (!(v.mant >> 63)) {
        return (Fp){.sign = sign, .m = v.mant, .cls = FPC_UNSUP};
    }
    return unpack(sign, exp, 0x7fff, v.mant & ~BIT(63));
}

Fp fp_from_int(int64_t v)
{
    if (!v) {
        return fp_zero(false);
    }
    uint64_t m = v < 0 ? -(uint64_t)v : (uint64_t)v;
    int s = __builtin_clzll(m);
    return (Fp){.sign = v < 0, .m = m << s, .e = 63 - s, .cls = FPC_NORM};
}

uint32_t fp_pack32(Fp v)
{
    uint32_t sign = (uint32_t)v.sign << 31, frac = (uint32_t)(v.m >> 40) & 0x7fffff;
    switch (v.cls) {
    case FPC_ZERO:
        return sign;
    case FPC_NORM:
        return sign | (v.denorm ? 0 : (uint32_t)(v.e + 127) << 23) | frac;
    default:
        return sign | 0x7f800000 | frac;
    }
}

uint64_t fp_pack64(Fp v)
{
    uint64_t sign = (uint64_t)v.sign << 63, frac = v.m << 1 >> 12;
    switch (v.cls) {
    case FPC_ZERO:
        return sign;
    case FPC_NORM:
        return sign | (v.denorm ? 0 : (uint64_t)(v.e + 1023) << 52) | frac;
    default:
        return sign | 0x7ffull << 52 | frac;
    }
}

Float80 fp_pack80(Fp v)
{
    uint16_t sign = (uint16_t)(v.sign << 15);
    switch (v.cls) {
    case FPC_ZERO:
        return (Float80){0, sign};
    case FPC_NORM:
        return (Float80){v.m, (uint16_t)(sign | (v.denorm ? 0 : v.e + 16383))};
    default:
        return (Float80){v.m, sign | 0x7fff};
    }
}

Fp fp_default_nan(void)
{
    return (Fp){.sign = true, .m = BIT(63) | FP_QUIET, .cls = FPC_QNAN};
}

Fp fp_propagate_nan(FpEnv *env, Fp a, Fp b)
{
    if (a.cls == FPC_UNSUP || b.cls == FPC_UNSUP) {
        return fp_invalid(env);
    }
    if (a.cls == FPC_SNAN || b.cls == FPC_SNAN) {
        env->flags |= FP_IE;
    }
    Fp r;
    if (!env->x87) { /* SSE: the first operand if it is one */
        r = fp_is_nan(a) ? a : b;
    } else if (!fp_is_nan(a) || !fp_is_nan(b)) {
        r = fp_is_nan(a) ? a : b;
    } else if (a.cls != b.cls) { /* x87: quiet before signalling, then the larger significand */
        r = a.cls == FPC_QNAN ? a : b;
    } else if (a.m != b.m) {
        r = a.m > b.m ? a : b;
    } else {
        r = a.sign ? b : a;
    }
    r.m |= FP_QUIET;
    r.cls = FPC_QNAN;
    return r;
}

/* Does rounding a magnitude with these bits go to the next larger one? */
static inline bool round_away(const FpEnv *env, bool sign, bool lsb, u128 rest, u128 half)
{
    switch (env->round) {
    case FP_NEAR:
        return rest > half || (rest == half && lsb);
    case FP_DOWN:
        return sign && rest;
    case FP_UP:
        return !sign && rest;
    default:
        return false;
    }
}

/* The exponent has left the format upwards. m: rounded significand. */
static Fp overflow(FpEnv *env, FpFmt f, bool sign, int e, uint64_t m, bool inexact)
{
    env->flags |= FP_OE;
    if (env->unmasked & FP_OE) {
        env->flags |= inexact ? FP_PE : 0;
        env->scaled = true;
        e -= 24576;
        if (e > f.emax) { /* FSCALE can go farther than wrapping brings back */
            env->flags |= FP_PE;
            env->rounded_up = true;
            return fp_inf(sign);
        }
        return (Fp){.sign = sign, .e = e, .m = m, .cls = FPC_NORM};
    }
    env->flags |= FP_PE;
    if (env->round == FP_NEAR || env->round == (sign ? FP_DOWN : FP_UP)) {
        env->rounded_up = true;
        return fp_inf(sign);
    }
    env->rounded_up = false;
    return (Fp){.sign = sign, .e = f.emax, .m = ~0ull << (64 - f.prec), .cls = FPC_NORM};
}

/* e < f.emin: the result may be tiny. */
static Fp underflow(FpEnv *env, FpFmt f, bool sign, int e, u128 m)
{
    u128 unit = (u128)1 << (128 - f.prec), half = unit >> 1;
    u128 rest = m & (unit - 1);
    bool away = round_away(env, sign, (m & unit) != 0, rest, half);
    u128 rounded = (m & ~(unit - 1)) + (away ? unit : 0);
    bool tiny = !(rounded == 0 && e == f.emin - 1);

    if (tiny && env->unmasked & FP_UE) { /* wrapped exponent, no denormalization */
        env->flags |= FP_UE | (rest ? FP_PE : 0);
        env->rounded_up = away;
        env->scaled = true;
        if (!rounded) {
            rounded = (u128)1 << 127;
            e++;
        }
        e += 24576;
        if (e < f.emin) {
            env->flags |= FP_PE;
            env->rounded_up = false;
            return fp_zero(sign);
        }
        return (Fp){.sign = sign, .e = e, .m = (uint64_t)(rounded >> 64), .cls = FPC_NORM};
    }
    if (tiny && env->ftz) {
        env->flags |= FP_UE | FP_PE;
        return fp_zero(sign);
    }
    m = u128_shr_sticky(m, f.emin - e);
    rest = m & (unit - 1);
    away = round_away(env, sign, (m & unit) != 0, rest, half);
    uint64_t r = (uint64_t)(((m & ~(unit - 1)) + (away ? unit : 0)) >> 64);
    if (rest) {
        env->flags |= FP_PE | (tiny ? FP_UE : 0);
    }
    env->rounded_up = away;
    if (!r) {
        return fp_zero(sign);
    }
    return (Fp){.sign = sign, .e = f.emin, .m = r, .cls = FPC_NORM, .denorm = !(r >> 63)};
}

static inline Fp round_inline(FpEnv *env, FpFmt f, bool sign, int e, u128 m)
{
    if (__builtin_expect(e < f.emin, 0)) {
        return underflow(env, f, sign, e, m);
    }
    u128 unit = (u128)1 << (128 - f.prec);
    u128 rest = m & (unit - 1);
    bool away = round_away(env, sign, (m & unit) != 0, rest, unit >> 1);
    env->rounded_up = away;
    m &= ~(unit - 1);
    if (away) {
        m += unit;
        if (!m) {
            m = (u128)1 << 127;
            e++;
        }
    }
    if (__builtin_expect(e > f.emax, 0)) {
        return overflow(env, f, sign, e, (uint64_t)(m >> 64), rest != 0);
    }
    env->flags |= rest ? FP_PE : 0;
    return (Fp){.sign = sign, .e = e, .m = (uint64_t)(m >> 64), .cls = FPC_NORM};
}

Fp fp_round(FpEnv *env, FpFmt f, bool sign, int e, u128 m)
{
    return round_inline(env, f, sign, e, m);
}

static inline Fp add_inline(FpEnv *env, FpFmt f, Fp a, Fp b, bool subtract)
{
    if (fp_is_nan(a) || fp_is_nan(b)) {
        return fp_propagate_nan(env, a, b);
    }
    env->flags |= a.denorm || b.denorm ? FP_DE : 0;
    b.sign ^= subtract;
    if (a.cls == FPC_INF || b.cls == FPC_INF) {
        if (a.cls == b.cls && a.sign != b.sign) {
            return fp_invalid(env);
        }
        return a.cls == FPC_INF ? a : b;
    }
    if (b.cls == FPC_ZERO) {
        if (a.cls == FPC_ZERO) {
            return fp_zero(a.sign == b.sign ? a.sign : env->round == FP_DOWN);
        }
        return round_inline(env, f, a.sign, a.e, (u128)a.m << 64);
    }
    if (a.cls == FPC_ZERO) {
        return round_inline(env, f, b.sign, b.e, (u128)b.m << 64);
    }
    if (a.e < b.e || (a.e == b.e && a.m < b.m)) {
        Fp t = a;
        a = b;
        b = t;
    }
    u128 big = (u128)a.m << 64, small = u128_shr_sticky((u128)b.m << 64, a.e - b.e);
    if (a.sign == b.sign) {
        u128 sum = big + small;
        if (sum < big) { /* carry out */
            sum = sum >> 1 | (sum & 1) | (u128)1 << 127;
            a.e++;
        }
        return round_inline(env, f, a.sign, a.e, sum);
    }
    u128 diff = big - small;
    if (!diff) {
        return fp_zero(env->round == FP_DOWN);
    }
    int s = u128_clz(diff);
    return round_inline(env, f, a.sign, a.e - s, diff << s);
}

static inline Fp mul_inline(FpEnv *env, FpFmt f, Fp a, Fp b)
{
    if (fp_is_nan(a) || fp_is_nan(b)) {
        return fp_propagate_nan(env, a, b);
    }
    bool sign = a.sign ^ b.sign;
    if (a.cls == FPC_INF || b.cls == FPC_INF) {
        if (a.cls == FPC_ZERO || b.cls == FPC_ZERO) {
            return fp_invalid(env);
        }
        env->flags |= a.denorm || b.denorm ? FP_DE : 0;
        return fp_inf(sign);
    }
    env->flags |= a.denorm || b.denorm ? FP_DE : 0;
    if (a.cls == FPC_ZERO || b.cls == FPC_ZERO) {
        return fp_zero(sign);
    }
    u128 p = (u128)a.m * b.m;
    int e = a.e + b.e + 1;
    if (!(p >> 127)) {
        p <<= 1;
        e--;
    }
    return round_inline(env, f, sign, e, p);
}

static inline Fp div_inline(FpEnv *env, FpFmt f, Fp a, Fp b)
{
    if (fp_is_nan(a) || fp_is_nan(b)) {
        return fp_propagate_nan(env, a, b);
    }
    bool sign = a.sign ^ b.sign;
    if (a.cls == b.cls && a.cls != FPC_NORM) { /* 0/0, inf/inf */
        return fp_invalid(env);
    }
    if (b.cls == FPC_ZERO && a.cls == FPC_NORM) { /* goes before a denormal operand */
        env->flags |= FP_ZE;
        return fp_inf(sign);
    }
    env->flags |= a.denorm || b.denorm ? FP_DE : 0;
    if (a.cls == FPC_INF) {
        return fp_inf(sign);
    }
    if (a.cls == FPC_ZERO || b.cls == FPC_INF) {
        return fp_zero(sign);
    }
    u128 n = (u128)a.m << 63;
    uint64_t hi = (uint64_t)(n / b.m), rem = (uint64_t)(n % b.m);
    n = (u128)rem << 64;
    u128 q = (u128)hi << 64 | (uint64_t)(n / b.m);
    q |= n % b.m != 0;
    int e = a.e - b.e;
    if (!(q >> 127)) { /* hi has 63 or 64 bits */
        q <<= 1;
        e--;
    }
    return round_inline(env, f, sign, e, q);
}

/* floor(sqrt(x)) for 2^126 <= x; *rem = x - root². */
static uint64_t isqrt128(u128 x, u128 *rem)
{
    /* A double's root is right to 50 bits, so one step of Newton's brings it within a unit or two. */
    double guess = sqrt((double)(uint64_t)(x >> 64)) * 4294967296.0;
    uint64_t r = guess >= 18446744073709549568.0 ? 0xfffffffffffff800ull : (uint64_t)guess;
    u128 next = ((u128)r + x / r) >> 1;
    r = next >> 64 ? ~0ull : (uint64_t)next;
    while ((u128)r * r > x) {
        r--;
    }
    while (r != ~0ull && (u128)(r + 1) * (r + 1) <= x) {
        r++;
    }
    *rem = x - (u128)r * r;
    return r;
}

static inline Fp sqrt_inline(FpEnv *env, FpFmt f, Fp a)
{
    if (fp_is_nan(a)) {
        return fp_propagate_nan(env, a, a);
    }
    if (a.cls == FPC_ZERO) {
        return a;
    }
    if (a.sign) {
        return fp_invalid(env);
    }
    env->flags |= a.denorm ? FP_DE : 0;
    if (a.cls == FPC_INF) {
        return a;
    }
    u128 rem;
    bool odd = a.e & 1;
    uint64_t root = isqrt128((u128)a.m << (odd ? 64 : 63), &rem);
    /* (root + 1/2)² = root² + root + 1/4: the remainder tells on which side of half we are. */
    u128 m = (u128)root << 64 | (rem > root ? BIT(63) : 0) | (rem != 0);
    return round_inline(env, f, false, (a.e - odd) / 2, m);
}

Fp fp_add(FpEnv *env, FpFmt f, Fp a, Fp b, bool subtract)
{
    return add_inline(env, f, a, b, subtract);
}

Fp fp_mul(FpEnv *env, FpFmt f, Fp a, Fp b)
{
    return mul_inline(env, f, a, b);
}

Fp fp_div(FpEnv *env, FpFmt f, Fp a, Fp b)
{
    return div_inline(env, f, a, b);
}

Fp fp_sqrt(FpEnv *env, FpFmt f, Fp a)
{
    return sqrt_inline(env, f, a);
}

#define SSE_OPS(bits)                                                                         \
    static inline Fp in##bits(const FpEnv *env, uint##bits##_t v)                             \
    {                                                                                         \
        return fp_daz(env, fp_from##bits(v));                                                 \
    }                                                                                         \
    uint##bits##_t f##bits##_add(FpEnv *env, uint##bits##_t a, uint##bits##_t b)              \
    {                                                                                         \
        Fp r = add_inline(env, FMT##bits, in##bits(env, a), in##bits(env, b), false);         \
        return fp_pack##bits(r);                                                              \
    }                                                                                         \
    uint##bits##_t f##bits##_sub(FpEnv *env, uint##bits##_t a, uint##bits##_t b)              \
    {                                                                                         \
        Fp r = add_inline(env, FMT##bits, in##bits(env, a), in##bits(env, b), true);          \
        return fp_pack##bits(r);                                                              \
    }                                                                                         \
    uint##bits##_t f##bits##_mul(FpEnv *env, uint##bits##_t a, uint##bits##_t b)              \
    {                                                                                         \
        return fp_pack##bits(mul_inline(env, FMT##bits, in##bits(env, a), in##bits(env, b))); \
    }                                                                                         \
    uint##bits##_t f##bits##_div(FpEnv *env, uint##bits##_t a, uint##bits##_t b)              \
    {                                                                                         \
        return fp_pack##bits(div_inline(env, FMT##bits, in##bits(env, a), in##bits(env, b))); \
    }                                                                                         \
    uint##bits##_t f##bits##_sqrt(FpEnv *env, uint##bits##_t a)                               \
    {                                                                                         \
        return fp_pack##bits(sqrt_inline(env, FMT##bits, in##bits(env, a)));                  \
    }

SSE_OPS(32)
SSE_OPS(64)

Float80 fp80_add(FpEnv *env, Fp a, Fp b)
{
    return fp_pack80(add_inline(env, FMT80_PC(env), a, b, false));
}

Float80 fp80_sub(FpEnv *env, Fp a, Fp b)
{
    return fp_pack80(add_inline(env, FMT80_PC(env), a, b, true));
}

Float80 fp80_mul(FpEnv *env, Fp a, Fp b)
{
    return fp_pack80(mul_inline(env, FMT80_PC(env), a, b));
}

Float80 fp80_div(FpEnv *env, Fp a, Fp b)
{
    return fp_pack80(div_inline(env, FMT80_PC(env), a, b));
}

Float80 fp80_sqrt(FpEnv *env, Fp a)
{
    return fp_pack80(sqrt_inline(env, FMT80_PC(env), a));
}

Float80 fp80_round_wide(FpEnv *env, bool sign, int e, u128 m)
{
    return fp_pack80(round_inline(env, FMT80, sign, e, m));
}
