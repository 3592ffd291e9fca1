/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target/i386/tcg/bigfloat.h: numbers of 128 significant bits, for the x87's
 * transcendental functions, whose results are rounded to 64.  Operations truncate: each
 * loses at most a few units in the last of the 128 bits.
 */
#ifndef RHEA_TARGET_I386_TCG_BIGFLOAT_H
#define RHEA_TARGET_I386_TCG_BIGFLOAT_H

#include "target/i386/tcg/softfloat_int.h"

/* sign * m * 2^(e - 127); bit 127 of m is set, or m is 0 and the number is zero. */
typedef struct Big {
    u128 m;
    int e;
    bool sign;
} Big;

#define U128(hi, lo) ((u128)(hi) << 64 | (lo))

static inline Big big_norm(bool sign, int e, u128 m)
{
    int s = m ? u128_clz(m) : 0;
    return (Big){m << s, e - s, sign};
}

static inline Big big_from(Fp a)
{
    return (Big){a.cls == FPC_ZERO ? 0 : (u128)a.m << 64, a.e, a.sign};
}

/* The upper 128 of 256 bits. */
static inline u128 u128_mulhi(u128 a, u128 b)
{
    uint64_t ah = (uint64_t)(a >> 64), al = (uint64_t)a, bh = (uint64_t)(b >> 64), bl = (uint64_t)b;
    u128 mid = (u128)ah * bl + (((u128)al * bl) >> 64);
    u128 mid2 = (u128)al * bh + (uint64_t)mid;
    return (u128)ah * bh + (mid >> 64) + (mid2 >> 64);
}

static inline Big big_mul(Big a, Big b)
{
    return big_norm(a.sign ^ b.sign, a.e + b.e + 1, u128_mulhi(a.m, b.m));
}

Big big_add(Big a, Big b);
Big big_div(Big a, Big b); /* b is not zero */
/* Magnitudes: -1, 0, 1. */
int big_cmp(Big a, Big b);

/* A magnitude below one as a fraction of 2^128. */
static inline u128 big_fraction(Big a)
{
    int s = -(a.e + 1);
    return s > 127 ? 0 : a.m >> s;
}

#endif
