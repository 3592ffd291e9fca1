/* SPDX-License-Identifier: GPL-2.0-or-later */
/* target/i386/tcg/x87_trans.c: F2XM1, FYL2X, FYL2XP1, and 128-bit arithmetic for them. */
#include "target/i386/tcg/bigfloat.h"
#include "target/i386/tcg/x87.h"

/* ---- 128-bit numbers ---- */

int big_cmp(Big a, Big b)
{
    if (!a.m || !b.m) {
        return (a.m != 0) - (b.m != 0);
    }
    if (a.e != b.e) {
        return a.e < b.e ? -1 : 1;
    }
    return (a.m > b.m) - (a.m < b.m);
}

Big big_add(Big a, Big b)
{
    if (!a.m || !b.m) {
        return a.m ? a : b;
    }
    if (big_cmp(a, b) < 0) {
        Big t = a;
        a = b;
        b = t;
    }
    int d = a.e - b.e;
    u128 small = d > 127 ? 0 : b.m >> d;
    if (a.sign != b.sign) {
        return big_norm(a.sign, a.e, a.m - small);
    }
    u128 sum = a.m + small;
    if (sum < small) {
        return (Big){sum >> 1 | (u128)1 << 127, a.e + 1, a.sign};
    }
    return (Big){sum, a.e, a.sign};
}

Big big_div(Big a, Big b)
{
    if (!a.m) {
        return a;
    }
    u128 rem = a.m, q = 0;
    int e = a.e - b.e;
    bool carry = false;
    if (rem < b.m) {
        carry = rem >> 127;
        rem <<= 1;
        e--;
    }
    for (int i = 0; i < 128; i++) {
        q <<= 1;
        if (carry || rem >= b.m) {
            rem -= b.m;
            q |= 1;
        }
        carry = rem >> 127;
        rem <<= 1;
    }
    return (Big){q, e, a.sign ^ b.sign};
}

static const Big ln2 = {U128(0xb17217f7d1cf79ab, 0xc9e3b39803f2f6af), -1, false};
static const Big log2_e = {U128(0xb8aa3b295c17f0bb, 0xbe87fed0691d3e88), 0, false};
static const Big one = {(u128)1 << 127, 0, false};

/* 2^x - 1 for |x| <= 1: with y = x ln 2, y (1 + y/2 (1 + y/3 (…))). */
static Big exp2m1(Big x)
{
    Big y = big_mul(x, ln2);
    u128 f = big_fraction(y), p = one.m;
    for (unsigned k = 28; k >= 2; k--) {
        u128 t = u128_mulhi(f, p) / k;
        p = y.sign ? one.m - t : one.m + t;
    }
    return big_mul(y, big_norm(false, 0, p));
}

/* log2((1 + s) / (1 - s)) = 2 log2(e) s (1 + s²/3 + s⁴/5 …), |s| < 0.36 */
static Big log2_ratio(Big s)
{
    Big sq = big_mul(s, s);
    u128 z = big_fraction(sq), p = 0;
    for (int k = 61; k > 0; k -= 2) {
        p = one.m / (unsigned)k + u128_mulhi(z, p);
    }
    Big r = big_mul(big_mul(s, log2_e), big_norm(false, 0, p));
    r.e++;
    return r;
}

/* x > 0, not 1 */
static Big log2_of(Big x)
{
    const u128 sqrt2 = U128(0xb504f333f9de6484, 0x597d89b3754abe9f);
    Big n = big_from(fp_from_int(x.e + (x.m > sqrt2)));
    x.e = x.m > sqrt2 ? -1 : 0; /* now between sqrt(1/2) and sqrt(2) */
    Big minus = one;
    minus.sign = true;
    Big s = big_div(big_add(x, minus), big_add(x, one));
    return big_add(n, s.m ? log2_ratio(s) : s);
}

static Float80 big_round(FpEnv *env, Big r)
{
    if (!r.m) {
        return (Float80){0, (uint16_t)(r.sign << 15)};
    }
    return fp80_round_wide(env, r.sign, r.e, r.m);
}

/* ---- instructions ---- */

static Float80 f2xm1(FpEnv *env, Fp a)
{
    if (fp_is_nan(a)) {
        return fp_pack80(fp_propagate_nan(env, a, a));
    }
    if (a.cls == FPC_ZERO || (a.cls == FPC_INF && !a.sign)) {
        return fp_pack80(a);
    }
    if (a.cls == FPC_INF) {
        return fp_pack80((Fp){.cls = FPC_NORM, .sign = true, .m = BIT(63)});
    }
    env->flags |= a.denorm ? FP_DE : 0;
    if (a.e > 0 || (a.e == 0 && a.m != BIT(63))) { /* beyond ±1: not defined */
        env->flags |= FP_PE;
        return fp_pack80(a);
    }
    if (a.e == 0) {
        return fp_pack80((Fp){.cls = FPC_NORM,
                              .sign = a.sign,
                              .m = a.m,
                              .e = a.sign && a.m == BIT(63) && !a.e ? -1 : a.e});
    }
    env->flags |= FP_PE;
    return big_round(env, exp2m1(big_from(a)));
}

void x87_f2xm1(X87Op *o)
{
    bool store;
    Float80 r = x87_indefinite();
    if (!x87_underflow(o, x87_empty(o->fp, 0), &store)) {
        r = f2xm1(&o->env, x87_fp(o->fp, 0));
        store = x87_commit(o);
    }
    if (store) {
        x87_set(o->fp, 0, r);
    }
}

static Fp zero_or_inf(bool inf, bool sign)
{
    return inf ? fp_inf(sign) : fp_zero(sign);
}

/* Is x (positive) above, equal to or below 1? */
static int against_one(Fp x)
{
    if (x.cls != FPC_NORM) {
        return x.cls == FPC_INF ? 1 : -1;
    }
    return x.e < 0 ? -1 : x.e > 0 || x.m != BIT(63);
}

static Float80 fyl2x(FpEnv *env, Fp x, Fp y)
{
    if (fp_is_nan(x) || fp_is_nan(y)) {
        return fp_pack80(fp_propagate_nan(env, x, y));
    }
    if (x.cls != FPC_ZERO && x.sign) {
        return fp_pack80(fp_invalid(env));
    }
    int side = against_one(x);
    bool sign = y.sign ^ (side < 0);
    if (x.cls == FPC_ZERO || x.cls == FPC_INF) {
        if (y.cls == FPC_ZERO) {
            return fp_pack80(fp_invalid(env));
        }
        if (x.cls == FPC_ZERO && y.cls == FPC_NORM) {
            env->flags |= FP_ZE;
        } else {
            env->flags |= y.denorm ? FP_DE : 0;
        }
        return fp_pack80(fp_inf(sign));
    }
    if (y.cls == FPC_INF && side == 0) {
        return fp_pack80(fp_invalid(env));
    }
    env->flags |= x.denorm || y.denorm ? FP_DE : 0;
    if (y.cls != FPC_NORM || side == 0) {
        return fp_pack80(zero_or_inf(y.cls == FPC_INF, sign));
    }
    Float80 r = big_round(env, big_mul(log2_of(big_from(x)), big_from(y)));
    /* Chips do not notice that the result for a power of two is exact. */
    env->flags |= FP_PE | ((r.exp & 0x7fff) ? 0 : FP_UE);
    return r;
}

static Float80 fyl2xp1(FpEnv *env, Fp x, Fp y)
{
    if (fp_is_nan(x) || fp_is_nan(y)) {
        return fp_pack80(fp_propagate_nan(env, x, y));
    }
    bool sign = x.sign ^ y.sign;
    if ((x.cls == FPC_ZERO && y.cls == FPC_INF) || (x.cls == FPC_INF && y.cls == FPC_ZERO) ||
        (x.sign && x.cls == FPC_INF)) {
        return fp_pack80(fp_invalid(env));
    }
    env->flags |= x.denorm || y.denorm ? FP_DE : 0;
    if (x.cls != FPC_NORM || y.cls != FPC_NORM) {
        return fp_pack80(zero_or_inf(x.cls == FPC_INF || y.cls == FPC_INF, sign));
    }
    Big b = big_from(x), log;
    if (x.e < -1) {
        Big two = one;
        two.e = 1;
        log = log2_ratio(big_div(b, big_add(b, two)));
    } else if (x.sign && x.e >= 0) {
        return fp_pack80(fp_invalid(env));
    } else {
        log = log2_of(big_add(b, one));
    }
    env->flags |= FP_PE;
    return big_round(env, big_mul(log, big_from(y)));
}

static void log_insn(X87Op *o, Float80 (*fn)(FpEnv *, Fp, Fp))
{
    X87 *fp = o->fp;
    bool store;
    Float80 r = x87_indefinite();
    if (!x87_underflow(o, x87_empty(fp, 0) || x87_empty(fp, 1), &store)) {
        r = fn(&o->env, x87_fp(fp, 0), x87_fp(fp, 1));
        store = x87_commit(o);
    }
    if (store) {
        x87_set(fp, 1, r);
        x87_pop(fp);
    }
}

void x87_fyl2x(X87Op *o)
{
    log_insn(o, fyl2x);
}

void x87_fyl2xp1(X87Op *o)
{
    log_insn(o, fyl2xp1);
}
