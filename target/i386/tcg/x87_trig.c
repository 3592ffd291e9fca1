/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target/i386/tcg/x87_trig.c: FSIN, FCOS, FSINCOS, FPTAN, FPATAN.  Arguments are
 * reduced by a pi of 66 bits, as the chips do (SDM vol. 1, 8.3.8).
 */
#include "target/i386/tcg/bigfloat.h"
#include "target/i386/tcg/x87.h"

static const Big one = {(u128)1 << 127, 0, false};
static const Big pi = {U128(0xc90fdaa22168c234, 0xc4c6628b80dc1cd1), 1, false};

/* atan(k / 16) */
static const Big atan_table[17] = {
    {0, 0, false},
    {U128(0xffaaddb967ef4e36, 0xcb2792dc0e2e0d51), -5, false},
    {U128(0xfeadd4d5617b6e32, 0xc897989f3e888ef7), -4, false},
    {U128(0xbdcbda5e72d81134, 0x7b0b4f881c9c7487), -3, false},
    {U128(0xfadbafc96406eb15, 0x6dc79ef5f7a217e5), -3, false},
    {U128(0x9b13b9b83f5e5e69, 0xc5abb498d27af328), -2, false},
    {U128(0xb7b0ca0f26f78473, 0x8aa32122dcfe4483), -2, false},
    {U128(0xd327761e611fe5b6, 0x427c95e9001e7136), -2, false},
    {U128(0xed63382b0dda7b45, 0x6fe445ecbc3a8d03), -2, false},
    {U128(0x832bf4a6d9867e2a, 0x4b6a09cb61a515c0), -1, false},
    {U128(0x8f005d5ef7f59f9b, 0x5c835e1665c43747), -1, false},
    {U128(0x9a2f80e671bdda20, 0x4226f8e2204ff3bc), -1, false},
    {U128(0xa4bc7d1934f70924, 0x19a87f2a457dac9e), -1, false},
    {U128(0xaeac4c38b4d8c080, 0x14725e2f3e52070a), -1, false},
    {U128(0xb8053e2bc2319e73, 0xcb2da55210a4443d), -1, false},
    {U128(0xc0ce85b8ac526640, 0x89dd62c46e92fa24), -1, false},
    {U128(0xc90fdaa22168c234, 0xc4c6628b80dc1cd1), -1, false},
};

static Float80 round_inexact(FpEnv *env, Big r)
{
    env->flags |= FP_PE;
    return fp80_round_wide(env, r.sign, r.e, r.m);
}

/* ---- sine and cosine of 0 < r <= pi/4 ---- */

/* 1 - z/(k-1)k (1 - z/(k-3)(k-2) (…)) down to k = first, for z = r² */
static u128 alternating(u128 z, unsigned first)
{
    u128 p = one.m;
    for (unsigned k = first + 26; k >= first; k -= 2) {
        p = one.m - u128_mulhi(z, p) / (k * (k - 1));
    }
    return p;
}

static Big sin_small(Big r)
{
    u128 p = alternating(big_fraction(big_mul(r, r)), 3);
    if (p == one.m) { /* so small that the square is lost: still just below r */
        r.m -= 1;
        return big_norm(r.sign, r.e, r.m);
    }
    return big_mul(r, big_norm(false, 0, p));
}

static Big cos_small(Big r)
{
    u128 p = alternating(big_fraction(big_mul(r, r)), 2);
    return big_norm(false, 0, p == one.m ? p - 1 : p);
}

/*
 * Takes multiples of pi/2 off |a| (a.e < 63): returns the rest, its magnitude at most
 * pi/4, and the quadrant.
 */
static Big reduce(Fp a, unsigned *quadrant)
{
    const u128 half_pi = U128(0xc, 0x90fdaa22168c234c); /* in units of 2^-67 */
    *quadrant = 0;
    a.sign = false;
    if (a.e < -1) {
        return big_from(a);
    }
    u128 rem = a.m;
    unsigned q = 0;
    for (int i = 0; i < a.e + 4; i++) {
        rem <<= 1;
        q <<= 1;
        if (rem >= half_pi) {
            rem -= half_pi;
            q |= 1;
        }
    }
    bool over = rem > half_pi / 2;
    *quadrant = (q + over) & 3;
    return big_norm(over, 127 - 67, over ? half_pi - rem : rem);
}

/* Both functions of a (finite, not zero). */
static void sin_cos(Fp a, Big *s, Big *c)
{
    unsigned quadrant;
    Big r = reduce(a, &quadrant);
    Big sine = {0, 0, r.sign}, cosine = one;
    if (r.m) {
        sine = sin_small(r);
        cosine = cos_small(r);
    }
    *s = quadrant & 1 ? cosine : sine;
    *c = quadrant & 1 ? sine : cosine;
    s->sign ^= (quadrant >> 1) ^ a.sign;
    c->sign ^= (quadrant == 1 || quadrant == 2);
}

/* What needs no computation: false if `a` is an ordinary number in range. */
static bool trig_special(X87Op *o, Fp a, Float80 *sine)
{
    if (a.cls == FPC_NORM) {
        o->env.flags |= a.denorm ? FP_DE : 0;
        return false;
    }
    *sine = fp_pack80(a.cls == FPC_ZERO  ? a
                      : a.cls == FPC_INF ? fp_invalid(&o->env)
                                         : fp_propagate_nan(&o->env, a, a));
    return true;
}

static const Float80 f80_one = {BIT(63), 0x3fff};

/*
 * The three ways begin alike: stack checks, C2 for an argument that is too large.
 * False: done. `push`: the instruction makes a second result.
 */
static bool trig_begin(X87Op *o, bool push)
{
    X87 *fp = o->fp;
    bool store;
    if (x87_underflow(o, x87_empty(fp, 0), &store)) {
        if (store) {
            x87_cc(fp, SW_C2, 0);
            x87_set(fp, 0, x87_indefinite());
            if (push) {
                x87_push(fp, x87_indefinite());
            }
        }
        return false;
    }
    if (push && !x87_empty(fp, 7)) {
        bool masked = !(o->env.unmasked & FP_IE);
        x87_can_push(o); /* reports, and pushes when masked */
        if (masked) {
            x87_cc(fp, SW_C2, 0);
            x87_set(fp, 1, x87_indefinite());
        }
        return false;
    }
    Fp a = x87_fp(fp, 0);
    if (a.cls == FPC_NORM && a.e >= 63) {
        x87_cc(fp, SW_C1 | SW_C2, SW_C2);
        return false;
    }
    return true;
}

static void sine_or_cosine(X87Op *o, bool cosine)
{
    X87 *fp = o->fp;
    Float80 r;
    if (!trig_begin(o, false)) {
        return;
    }
    Fp a = x87_fp(fp, 0);
    if (!trig_special(o, a, &r)) {
        Big s, c;
        sin_cos(a, &s, &c);
        r = round_inexact(&o->env, cosine ? c : s);
    } else if (cosine && a.cls == FPC_ZERO) {
        r = f80_one;
    }
    if (x87_commit(o)) {
        x87_cc(fp, SW_C2, 0);
        x87_set(fp, 0, r);
    }
}

void x87_fsin(X87Op *o)
{
    sine_or_cosine(o, false);
}

void x87_fcos(X87Op *o)
{
    sine_or_cosine(o, true);
}

static void finish_pair(X87Op *o, Float80 below, Float80 top)
{
    if (x87_commit(o)) {
        x87_cc(o->fp, SW_C2, 0);
        x87_set(o->fp, 0, below);
        x87_push(o->fp, top);
    }
}

void x87_fsincos(X87Op *o)
{
    Float80 sine, cosine;
    if (!trig_begin(o, true)) {
        return;
    }
    Fp a = x87_fp(o->fp, 0);
    if (trig_special(o, a, &sine)) {
        cosine = a.cls == FPC_ZERO ? f80_one : sine;
    } else {
        Big s, c;
        sin_cos(a, &s, &c);
        cosine = round_inexact(&o->env, c);
        sine = round_inexact(&o->env, s);
    }
    finish_pair(o, sine, cosine);
}

void x87_fptan(X87Op *o)
{
    Float80 r;
    if (!trig_begin(o, true)) {
        return;
    }
    Fp a = x87_fp(o->fp, 0);
    if (trig_special(o, a, &r)) {
        finish_pair(o, r, a.cls == FPC_ZERO ? f80_one : r);
        return;
    }
    Big tan = big_from(a);
    if (a.e < -64) { /* just above a: sine and cosine could not tell */
        tan.m |= 1;
    } else {
        Big s, c;
        sin_cos(a, &s, &c);
        tan = big_div(s, c);
    }
    finish_pair(o, round_inexact(&o->env, tan), f80_one);
}

/* ---- arc tangent ---- */

/* atan of 0 < z <= 1 */
static Big atan_unit(Big z)
{
    Big sixteenth = z;
    sixteenth.e += 5; /* 32 z: rounding to the nearest of 16 */
    unsigned k = z.e < -5 ? 0 : (unsigned)((sixteenth.m >> (127 - sixteenth.e)) + 1) / 2;
    Big t = z;
    if (k) {
        Big c = big_norm(false, 123, k); /* k * 2^-4 */
        Big minus = c;
        minus.sign = true;
        t = big_div(big_add(z, minus), big_add(one, big_mul(z, c)));
        if (!t.m) {
            return atan_table[k];
        }
    }
    u128 sq = big_fraction(big_mul(t, t)), p = 0;
    for (int n = 25; n > 0; n -= 2) {
        p = one.m / (unsigned)n - u128_mulhi(sq, p);
    }
    if (p == one.m) {
        p--;
    }
    return big_add(atan_table[k], big_mul(t, big_norm(false, 0, p)));
}

static Big scaled_pi(int quarters)
{
    Big r = big_mul(pi, big_from(fp_from_int(quarters)));
    r.e -= 2;
    return r;
}

static Float80 fpatan(FpEnv *env, Fp y, Fp x)
{
    if (fp_is_nan(x) || fp_is_nan(y)) {
        return fp_pack80(fp_propagate_nan(env, x, y));
    }
    env->flags |= x.denorm || y.denorm ? FP_DE : 0;
    Big r;
    if (y.cls == FPC_ZERO || (x.cls == FPC_INF && y.cls != FPC_INF)) {
        if (!x.sign) {
            return fp_pack80(fp_zero(y.sign));
        }
        r = pi;
    } else if (y.cls == FPC_INF) {
        r = scaled_pi(x.cls != FPC_INF ? 2 : x.sign ? 3 : 1);
    } else if (x.cls == FPC_ZERO) {
        r = scaled_pi(2);
    } else {
        Big a = big_from(y), b = big_from(x);
        a.sign = b.sign = false;
        bool swap = big_cmp(a, b) > 0;
        r = atan_unit(swap ? big_div(b, a) : big_div(a, b));
        r.sign = swap != x.sign;
        if (swap || x.sign) {
            r = big_add(scaled_pi(swap ? 2 : 4), r);
        }
    }
    r.sign = y.sign;
    return round_inexact(env, r);
}

void x87_fpatan(X87Op *o)
{
    X87 *fp = o->fp;
    bool store;
    Float80 r = x87_indefinite();
    if (!x87_underflow(o, x87_empty(fp, 0) || x87_empty(fp, 1), &store)) {
        r = fpatan(&o->env, x87_fp(fp, 1), x87_fp(fp, 0));
        store = x87_commit(o);
    }
    if (store) {
        x87_set(fp, 1, r);
        x87_pop(fp);
    }
}
