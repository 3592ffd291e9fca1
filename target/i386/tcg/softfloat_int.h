/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target/i386/tcg/softfloat_int.h: what the softfloat*.c files share: formats and
 * the one rounding function.
 */
#ifndef RHEA_TARGET_I386_TCG_SOFTFLOAT_INT_H
#define RHEA_TARGET_I386_TCG_SOFTFLOAT_INT_H

#include "target/i386/tcg/softfloat.h"
#include "util/bits.h"

typedef unsigned __int128 u128;

#define FP_QUIET BIT(62)

typedef struct FpFmt {
    int prec; /* significant bits, the leading one included */
    int emin, emax;
} FpFmt;

#define FMT32 ((FpFmt){24, -126, 127})
#define FMT64 ((FpFmt){53, -1022, 1023})
#define FMT80 ((FpFmt){64, -16382, 16383})
/* x87 precision control narrows the significand, not the exponent. */
#define FMT80_PC(env) ((FpFmt){(env)->prec, -16382, 16383})

static inline Fp fp_zero(bool sign)
{
    return (Fp){.cls = FPC_ZERO, .sign = sign};
}

static inline Fp fp_inf(bool sign)
{
    return (Fp){.cls = FPC_INF, .sign = sign, .m = BIT(63)};
}

static inline Fp fp_invalid(FpEnv *env)
{
    env->flags |= FP_IE;
    return fp_default_nan();
}

static inline bool fp_is_nan(Fp a) /* or unsupported */
{
    return a.cls >= FPC_QNAN;
}

static inline Fp fp_daz(const FpEnv *env, Fp a)
{
    return env->daz && a.denorm ? fp_zero(a.sign) : a;
}

/* Shift right, ORing what is lost into bit 0. */
static inline u128 u128_shr_sticky(u128 m, int n)
{
    if (n == 0) {
        return m;
    }
    if (n > 127) {
        return m != 0;
    }
    return m >> n | ((m << (128 - n)) != 0);
}

static inline int u128_clz(u128 m)
{
    uint64_t hi = (uint64_t)(m >> 64);
    return hi ? __builtin_clzll(hi) : 64 + __builtin_clzll((uint64_t)m);
}

/*
 * Rounds sign * m * 2^(e - 127) (bit 127 of m set) to `f` by env->round, setting
 * PE, OE and UE.  The result is FPC_NORM (perhaps denorm), FPC_ZERO or FPC_INF.
 */
Fp fp_round(FpEnv *env, FpFmt f, bool sign, int e, u128 m);

Fp fp_add(FpEnv *env, FpFmt f, Fp a, Fp b, bool subtract);
Fp fp_mul(FpEnv *env, FpFmt f, Fp a, Fp b);
Fp fp_div(FpEnv *env, FpFmt f, Fp a, Fp b);
Fp fp_sqrt(FpEnv *env, FpFmt f, Fp a);
Fp fp_convert(FpEnv *env, FpFmt f, Fp a, bool denormals);
Fp fp_round_int(FpEnv *env, Fp a, FpRound round, bool inexact);

#endif
