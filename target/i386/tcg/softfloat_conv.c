/* SPDX-License-Identifier: GPL-2.0-or-later */
/* target/i386/tcg/softfloat_conv.c: conversions, comparisons, remainders, scaling. */
#include "target/i386/tcg/softfloat_int.h"

/* To another format; denormals: DE is to be reported. */
Fp fp_convert(FpEnv *env, FpFmt f, Fp a, bool denormals)
{
    switch (a.cls) {
    case FPC_NORM:
        env->flags |= a.denorm && denormals ? FP_DE : 0;
        return fp_round(env, f, a.sign, a.e, (u128)a.m << 64);
    case FPC_ZERO:
    case FPC_INF:
        return a;
    default:
        return fp_propagate_nan(env, a, a);
    }
}

uint64_t f32_to_f64(FpEnv *env, uint32_t a)
{
    return fp_pack64(fp_convert(env, FMT64, fp_daz(env, fp_from32(a)), true));
}

uint32_t f64_to_f32(FpEnv *env, uint64_t a)
{
    return fp_pack32(fp_convert(env, FMT32, fp_daz(env, fp_from64(a)), true));
}

Float80 fp80_load(FpEnv *env, Fp a)
{
    return fp_pack80(fp_convert(env, FMT80, a, true));
}

uint32_t fp80_to_f32(FpEnv *env, Fp a)
{
    return fp_pack32(fp_convert(env, FMT32, a, false));
}

uint64_t fp80_to_f64(FpEnv *env, Fp a)
{
    return fp_pack64(fp_convert(env, FMT64, a, false));
}

FpRel fp_compare(FpEnv *env, Fp a, Fp b, bool quiet)
{
    if (fp_is_nan(a) || fp_is_nan(b)) {
        if (!quiet || a.cls >= FPC_SNAN || b.cls >= FPC_SNAN) {
            env->flags |= FP_IE;
        }
        return FP_UNORDERED;
    }
    env->flags |= a.denorm || b.denorm ? FP_DE : 0;
    if (a.cls == FPC_ZERO && b.cls == FPC_ZERO) {
        return FP_EQUAL;
    }
    if (a.cls == FPC_ZERO) {
        return b.sign ? FP_GREATER : FP_LESS;
    }
    if (b.cls == FPC_ZERO || a.sign != b.sign) {
        return a.sign ? FP_LESS : FP_GREATER;
    }
    int c; /* of magnitudes */
    if (a.cls == FPC_INF || b.cls == FPC_INF) {
        c = (a.cls == FPC_INF) - (b.cls == FPC_INF);
    } else if (a.e != b.e) {
        c = a.e < b.e ? -1 : 1;
    } else {
        c = (a.m > b.m) - (a.m < b.m);
    }
    c = a.sign ? -c : c;
    return c < 0 ? FP_LESS : c > 0 ? FP_GREATER : FP_EQUAL;
}

/* |a| to an integer by `round`; a is FPC_NORM and a.e < 64. */
static uint64_t magnitude(FpEnv *env, Fp a, FpRound round, bool *carry, bool *inexact)
{
    u128 m = u128_shr_sticky((u128)a.m << 64, a.e >= -2 ? 63 - a.e : 65); /* integer at bit 64 */
    uint64_t i = (uint64_t)(m >> 64), rest = (uint64_t)m;
    bool away = false;
    switch (round) {
    case FP_NEAR:
        away = rest > BIT(63) || (rest == BIT(63) && i & 1);
        break;
    case FP_DOWN:
        away = a.sign && rest;
        break;
    case FP_UP:
        away = !a.sign && rest;
        break;
    case FP_CHOP:
        break;
    }
    env->rounded_up = away;
    *inexact = rest != 0;
    *carry = away && i == ~0ull;
    return i + away;
}

int64_t fp_to_int(FpEnv *env, Fp a, unsigned bits)
{
    uint64_t limit = BIT(bits - 1);
    int64_t indefinite = (int64_t)(~0ull << (bits - 1));
    if (a.cls == FPC_ZERO) {
        return 0;
    }
    if (a.cls != FPC_NORM || a.e > 63) {
        env->flags |= FP_IE;
        return indefinite;
    }
    bool carry, inexact;
    uint64_t v = magnitude(env, a, env->round, &carry, &inexact);
    if (carry || v > limit - !a.sign) {
        env->flags |= FP_IE;
        env->rounded_up = false;
        return indefinite;
    }
    env->flags |= inexact ? FP_PE : 0;
    return (int64_t)(a.sign ? -v : v);
}

Fp fp_round_int(FpEnv *env, Fp a, FpRound round, bool report)
{
    if (a.cls != FPC_NORM) {
        return fp_is_nan(a) ? fp_propagate_nan(env, a, a) : a;
    }
    if (a.e >= 63) {
        return a;
    }
    bool carry, inexact;
    uint64_t v = magnitude(env, a, round, &carry, &inexact);
    if (inexact && report) {
        env->flags |= FP_PE;
    }
    if (!v) {
        return fp_zero(a.sign);
    }
    Fp r = fp_from_int((int64_t)v); /* below 2^63: cannot be negative */
    if (v == BIT(63)) {
        r = (Fp){.cls = FPC_NORM, .m = v, .e = 63};
    }
    r.sign = a.sign;
    return r;
}

Float80 fp80_round_int(FpEnv *env, Fp a)
{
    env->flags |= a.denorm ? FP_DE : 0;
    return fp_pack80(fp_round_int(env, a, env->round, true));
}

uint32_t f32_round_int(FpEnv *env, uint32_t a, FpRound round, bool inexact)
{
    return fp_pack32(fp_round_int(env, fp_daz(env, fp_from32(a)), round, inexact));
}

uint64_t f64_round_int(FpEnv *env, uint64_t a, FpRound round, bool inexact)
{
    return fp_pack64(fp_round_int(env, fp_daz(env, fp_from64(a)), round, inexact));
}

#define SSE_CONV(bits)                                                                  \
    FpRel f##bits##_compare(FpEnv *env, uint##bits##_t a, uint##bits##_t b, bool quiet) \
    {                                                                                   \
        Fp x = fp_daz(env, fp_from##bits(a)), y = fp_daz(env, fp_from##bits(b));        \
        return fp_compare(env, x, y, quiet);                                            \
    }                                                                                   \
    /* DAZ also turns a denormal that is the result into a zero. */                     \
    static uint##bits##_t pass##bits(const FpEnv *env, uint##bits##_t v)                \
    {                                                                                   \
        Fp x = fp_from##bits(v);                                                        \
        return env->daz && x.denorm ? fp_pack##bits(fp_zero(x.sign)) : v;               \
    }                                                                                   \
    uint##bits##_t f##bits##_min(FpEnv *env, uint##bits##_t a, uint##bits##_t b)        \
    {                                                                                   \
        FpRel rel = f##bits##_compare(env, a, b, false);                                \
        return pass##bits(env, rel == FP_LESS ? a : b);                                 \
    }                                                                                   \
    uint##bits##_t f##bits##_max(FpEnv *env, uint##bits##_t a, uint##bits##_t b)        \
    {                                                                                   \
        FpRel rel = f##bits##_compare(env, a, b, false);                                \
        return pass##bits(env, rel == FP_GREATER ? a : b);                              \
    }                                                                                   \
    int64_t f##bits##_to_int(FpEnv *env, uint##bits##_t a, unsigned n)                  \
    {                                                                                   \
        return fp_to_int(env, fp_daz(env, fp_from##bits(a)), n);                        \
    }                                                                                   \
    uint##bits##_t f##bits##_from_int(FpEnv *env, int64_t v)                            \
    {                                                                                   \
        return fp_pack##bits(fp_convert(env, FMT##bits, fp_from_int(v), false));        \
    }

SSE_CONV(32)
SSE_CONV(64)

/* FSCALE: a * 2^trunc(b). */
Float80 fp80_scale(FpEnv *env, Fp a, Fp b)
{
    if (fp_is_nan(a) || fp_is_nan(b)) {
        return fp_pack80(fp_propagate_nan(env, a, b));
    }
    if (b.cls == FPC_INF) {
        if (b.sign ? a.cls == FPC_INF : a.cls == FPC_ZERO) {
            return fp_pack80(fp_invalid(env));
        }
        env->flags |= a.denorm ? FP_DE : 0;
        return fp_pack80(b.sign ? fp_zero(a.sign) : fp_inf(a.sign));
    }
    env->flags |= a.denorm || b.denorm ? FP_DE : 0;
    if (a.cls != FPC_NORM) {
        return fp_pack80(a);
    }
    int n = 0;
    if (b.cls == FPC_NORM && b.e >= 0) {
        n = b.e > 16 ? 1 << 17 : (int)(b.m >> (63 - b.e));
        n = b.sign ? -n : n;
    }
    return fp_pack80(fp_round(env, FMT80, a.sign, a.e + n, (u128)a.m << 64));
}

/* a - trunc(a / b / 2^skip) * b * 2^skip, 0 <= a.e - b.e - skip < 64; the quotient in *q. */
static Fp reduce(Fp a, Fp b, int skip, uint64_t *q)
{
    u128 n = (u128)a.m << (a.e - b.e - skip);
    *q = (uint64_t)(n / b.m);
    uint64_t m = (uint64_t)(n % b.m);
    if (!m) {
        return fp_zero(a.sign);
    }
    int s = __builtin_clzll(m);
    return (Fp){.cls = FPC_NORM, .sign = a.sign, .m = m << s, .e = b.e + skip - s};
}

/* r = a - q * b with 0 <= |r| < |b|: moves to the nearest quotient, ties to even. */
static Fp to_nearest(FpEnv *env, Fp r, Fp b, uint64_t *q)
{
    if (r.cls != FPC_NORM || r.e < b.e - 1) {
        return r;
    }
    uint64_t twice = r.m; /* 2|r| against |b|, both at exponent b.e */
    bool above = r.e == b.e || twice > b.m;
    if (!above && !(twice == b.m && *q & 1)) {
        return r;
    }
    ++*q;
    FpEnv exact = {.round = env->round, .prec = 64};
    b.sign = r.sign;
    b.denorm = r.denorm = false;
    /* |b| - |r| <= |b| / 2: exact in 64 bits; emin far away keeps it from being denormalized. */
    return fp_add(&exact, (FpFmt){64, -40000, 40000}, r, b, true);
}

Float80 fp80_rem(FpEnv *env, Fp a, Fp b, bool nearest, unsigned *q, bool *incomplete)
{
    *q = 0;
    *incomplete = false;
    if (fp_is_nan(a) || fp_is_nan(b)) {
        return fp_pack80(fp_propagate_nan(env, a, b));
    }
    if (a.cls == FPC_INF || b.cls == FPC_ZERO) {
        return fp_pack80(fp_invalid(env));
    }
    env->flags |= a.denorm || b.denorm ? FP_DE : 0;
    if (a.cls == FPC_ZERO) {
        return fp_pack80(a);
    }
    uint64_t quot = 0;
    int d = a.e - b.e;
    Fp r = a;
    if (b.cls == FPC_INF) {
        /* a is its own remainder */
    } else if (d >= 64) {
        r = reduce(a, b, d - (32 + d % 32), &quot);
        *incomplete = true;
        quot = 0;
    } else {
        if (d >= 0) {
            r = reduce(a, b, 0, &quot);
        }
        if (nearest) {
            r = to_nearest(env, r, b, &quot);
        }
    }
    *q = quot & 7;
    if (r.cls == FPC_ZERO) {
        return fp_pack80(fp_zero(a.sign));
    }
    return fp_pack80(fp_round(env, FMT80, r.sign, r.e, (u128)r.m << 64));
}
