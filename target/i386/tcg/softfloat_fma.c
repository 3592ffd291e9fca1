/* SPDX-License-Identifier: GPL-2.0-or-later */
/* target/i386/tcg/softfloat_fma.c: fused multiply-add (SDM vol. 1, 14.5), half precision. */
#include "target/i386/tcg/softfloat_int.h"

#define FMT16 ((FpFmt){11, -14, 15})

/* Three NaN operands: the first of a, b, c that is one. */
static Fp propagate3(FpEnv *env, Fp a, Fp b, Fp c)
{
    if (c.cls == FPC_SNAN) {
        env->flags |= FP_IE;
    }
    if (fp_is_nan(a) || fp_is_nan(b)) {
        return fp_propagate_nan(env, a, b);
    }
    return fp_propagate_nan(env, c, c);
}

/* p = m * 2^(e - 127) with bit 127 of m set, plus c; c is FPC_NORM. */
static Fp add_wide(FpEnv *env, FpFmt f, bool sign, int e, u128 m, Fp c)
{
    u128 n = (u128)c.m << 64;
    bool big_sign = sign;
    int d = e - c.e;
    if (d < 0 || (d == 0 && m < n)) {
        u128 t = m;
        m = n;
        n = t;
        big_sign = c.sign;
        e = c.e;
        d = -d;
    }
    /*
     * Both have spare bits at the bottom (53-bit significands), so that nothing is lost
     * where the leading bits may cancel.
     */
    n = u128_shr_sticky(n, d);
    if (sign == c.sign) {
        u128 sum = m + n;
        if (sum < m) {
            sum = sum >> 1 | (sum & 1) | (u128)1 << 127;
            e++;
        }
        return fp_round(env, f, sign, e, sum);
    }
    u128 diff = m - n;
    if (!diff) {
        return fp_zero(env->round == FP_DOWN);
    }
    int s = u128_clz(diff);
    return fp_round(env, f, big_sign, e - s, diff << s);
}

static Fp fma_fp(FpEnv *env, FpFmt f, Fp a, Fp b, Fp c, bool neg_product, bool neg_c)
{
    if (fp_is_nan(a) || fp_is_nan(b) || fp_is_nan(c)) {
        return propagate3(env, a, b, c);
    }
    bool sign = a.sign ^ b.sign ^ neg_product;
    bool inf = a.cls == FPC_INF || b.cls == FPC_INF;
    bool zero = a.cls == FPC_ZERO || b.cls == FPC_ZERO;
    c.sign ^= neg_c;
    if ((inf && zero) || (inf && c.cls == FPC_INF && c.sign != sign)) {
        return fp_invalid(env);
    }
    env->flags |= a.denorm || b.denorm || c.denorm ? FP_DE : 0;
    if (inf) {
        return fp_inf(sign);
    }
    if (c.cls == FPC_INF) {
        return c;
    }
    if (zero) {
        if (c.cls == FPC_ZERO) {
            return fp_zero(sign == c.sign ? sign : env->round == FP_DOWN);
        }
        return fp_round(env, f, c.sign, c.e, (u128)c.m << 64);
    }
    u128 p = (u128)a.m * b.m;
    int e = a.e + b.e + 1;
    if (!(p >> 127)) {
        p <<= 1;
        e--;
    }
    if (c.cls == FPC_ZERO) {
        return fp_round(env, f, sign, e, p);
    }
    return add_wide(env, f, sign, e, p, c);
}

uint32_t f32_fma(FpEnv *env, uint32_t a, uint32_t b, uint32_t c, bool neg_product, bool neg_c)
{
    Fp x = fp_daz(env, fp_from32(a)), y = fp_daz(env, fp_from32(b)), z = fp_daz(env, fp_from32(c));
    return fp_pack32(fma_fp(env, FMT32, x, y, z, neg_product, neg_c));
}

uint64_t f64_fma(FpEnv *env, uint64_t a, uint64_t b, uint64_t c, bool neg_product, bool neg_c)
{
    Fp x = fp_daz(env, fp_from64(a)), y = fp_daz(env, fp_from64(b)), z = fp_daz(env, fp_from64(c));
    return fp_pack64(fma_fp(env, FMT64, x, y, z, neg_product, neg_c));
}

/* ---- half precision ---- */

static Fp from16(uint16_t v)
{
    bool sign = v >> 15;
    unsigned exp = v >> 10 & 31;
    uint64_t frac = (uint64_t)(v & 0x3ff) << 53;
    if (exp == 31) {
        return (Fp){.sign = sign,
                    .m = BIT(63) | frac,
                    .cls = !frac             ? FPC_INF
                           : frac & FP_QUIET ? FPC_QNAN
                                             : FPC_SNAN};
    }
    if (exp) {
        return (Fp){.sign = sign, .m = BIT(63) | frac, .e = (int)exp - 15, .cls = FPC_NORM};
    }
    if (!frac) {
        return fp_zero(sign);
    }
    int s = __builtin_clzll(frac);
    return (Fp){.sign = sign, .m = frac << s, .e = -14 - s, .cls = FPC_NORM, .denorm = true};
}

static uint16_t pack16(Fp v)
{
    uint16_t sign = (uint16_t)(v.sign << 15), frac = (uint16_t)(v.m >> 53 & 0x3ff);
    switch (v.cls) {
    case FPC_ZERO:
        return sign;
    case FPC_NORM:
        return (uint16_t)(sign | (v.denorm ? 0u : (unsigned)(v.e + 15) << 10) | frac);
    default:
        return sign | 0x7c00 | frac;
    }
}

uint32_t f16_to_f32(FpEnv *env, uint16_t a)
{
    return fp_pack32(fp_convert(env, FMT32, from16(a), false));
}

uint16_t f32_to_f16(FpEnv *env, uint32_t a)
{
    bool ftz = env->ftz;
    env->ftz = false;
    Fp r = fp_convert(env, FMT16, fp_daz(env, fp_from32(a)), true);
    env->ftz = ftz;
    return pack16(r);
}
