/* SPDX-License-Identifier: GPL-2.0-or-later */
/* target/i386/tcg/simd_cvt.c: SSE conversions. */
#include "target/i386/tcg/simd_fpenv.h"

static FpEnv env_for(const CPUX86 *cpu, bool chop)
{
    FpEnv env = fp_env_sse(cpu->mxcsr);
    if (chop) {
        env.round = FP_CHOP;
    }
    return env;
}

/* ---- packed, same width ---- */

void simd_cvtdq2ps(SIMD_ARGS)
{
    HOST_PACKED("cvtdq2ps")
    FpEnv env = fp_env_sse(cpu->mxcsr);
    Vec r;
    for (unsigned i = 0; i < ctl.len / 4u; i++) {
        r.u32[i] = f32_from_int(&env, b->i32[i]);
    }
    fp_finish(cpu, &env);
    memcpy(dst, &r, ctl.len);
}

static void ps2dq(SIMD_ARGS, bool chop)
{
    FpEnv env = env_for(cpu, chop);
    Vec r;
    for (unsigned i = 0; i < ctl.len / 4u; i++) {
        r.u32[i] = (uint32_t)f32_to_int(&env, b->u32[i], 32);
    }
    fp_finish(cpu, &env);
    memcpy(dst, &r, ctl.len);
}

void simd_cvtps2dq(SIMD_ARGS)
{
    HOST_PACKED("cvtps2dq")
    ps2dq(cpu, dst, a, b, ctl, false);
}

void simd_cvttps2dq(SIMD_ARGS)
{
    HOST_PACKED("cvttps2dq")
    ps2dq(cpu, dst, a, b, ctl, true);
}

/* ---- packed, two widths: as many elements as there are 64-bit ones ---- */

void simd_cvtdq2pd(SIMD_ARGS)
{
    if (ctl.len == 16) {
        HOST_PACKED("cvtdq2pd")
    }
    FpEnv env = fp_env_sse(cpu->mxcsr);
    Vec r;
    for (unsigned i = 0; i < ctl.len / 8u; i++) {
        r.u64[i] = f64_from_int(&env, b->i32[i]);
    }
    memcpy(dst, &r, ctl.len);
}

void simd_cvtps2pd(SIMD_ARGS)
{
    if (ctl.len == 16) {
        HOST_PACKED("cvtps2pd")
    }
    FpEnv env = fp_env_sse(cpu->mxcsr);
    Vec r;
    for (unsigned i = 0; i < ctl.len / 8u; i++) {
        r.u64[i] = f32_to_f64(&env, b->u32[i]);
    }
    fp_finish(cpu, &env);
    memcpy(dst, &r, ctl.len);
}

/* The narrower results fill the low half; what is left of 16 bytes is zeroed. */
static void put_narrow(Vec *dst, const Vec *r, SimdCtl ctl)
{
    memcpy(dst, r, ctl.len > 16 ? ctl.len / 2u : 16);
}

void simd_cvtpd2ps(SIMD_ARGS)
{
    if (ctl.len == 16) {
        HOST_PACKED("cvtpd2ps")
    }
    FpEnv env = fp_env_sse(cpu->mxcsr);
    Vec r = {{0}};
    for (unsigned i = 0; i < ctl.len / 8u; i++) {
        r.u32[i] = f64_to_f32(&env, b->u64[i]);
    }
    fp_finish(cpu, &env);
    put_narrow(dst, &r, ctl);
}

static void pd2dq(SIMD_ARGS, bool chop)
{
    FpEnv env = env_for(cpu, chop);
    Vec r = {{0}};
    for (unsigned i = 0; i < ctl.len / 8u; i++) {
        r.u32[i] = (uint32_t)f64_to_int(&env, b->u64[i], 32);
    }
    fp_finish(cpu, &env);
    put_narrow(dst, &r, ctl);
}

void simd_cvtpd2dq(SIMD_ARGS)
{
    if (ctl.len == 16) {
        HOST_PACKED("cvtpd2dq")
    }
    pd2dq(cpu, dst, a, b, ctl, false);
}

void simd_cvttpd2dq(SIMD_ARGS)
{
    if (ctl.len == 16) {
        HOST_PACKED("cvttpd2dq")
    }
    pd2dq(cpu, dst, a, b, ctl, true);
}

/* ---- scalar to scalar ---- */

void simd_cvtss2sd(SIMD_ARGS)
{
    HOST_SCALAR("cvtss2sd")
    FpEnv env = fp_env_sse(cpu->mxcsr);
    uint64_t v = f32_to_f64(&env, b->u32[0]), rest = a->u64[1];
    fp_finish(cpu, &env);
    dst->u64[0] = v;
    dst->u64[1] = rest;
}

void simd_cvtsd2ss(SIMD_ARGS)
{
    HOST_SCALAR("cvtsd2ss")
    FpEnv env = fp_env_sse(cpu->mxcsr);
    Lane r = lane_get(a, 0);
    r.u32[0] = f64_to_f32(&env, b->u64[0]);
    fp_finish(cpu, &env);
    lane_put(dst, 0, &r, 16);
}

/* ---- general registers ---- */

static int64_t int_source(const Vec *b, SimdCtl ctl)
{
    return ctl.w ? b->i64[0] : b->i32[0];
}

void simd_cvtsi2ss(SIMD_ARGS)
{
    HOST_FROM_INT("cvtsi2ss")
    FpEnv env = fp_env_sse(cpu->mxcsr);
    Lane r = lane_get(a, 0);
    r.u32[0] = f32_from_int(&env, int_source(b, ctl));
    fp_finish(cpu, &env);
    lane_put(dst, 0, &r, 16);
}

void simd_cvtsi2sd(SIMD_ARGS)
{
    int64_t v = int_source(b, ctl);
    if (!ctl.soft && v >= -(1ll << 53) && v <= 1ll << 53) { /* exact */
        double d = (double)v;
        Lane x = lane_get(a, 0);
        memcpy(&x, &d, 8);
        lane_put(dst, 0, &x, 16);
        return;
    }
    HOST_FROM_INT("cvtsi2sd")
    FpEnv env = fp_env_sse(cpu->mxcsr);
    Lane r = lane_get(a, 0);
    r.u64[0] = f64_from_int(&env, v);
    fp_finish(cpu, &env);
    lane_put(dst, 0, &r, 16);
}

static void put_int(Vec *dst, int64_t v, SimdCtl ctl)
{
    dst->u64[0] = ctl.w ? (uint64_t)v : (uint32_t)v;
}

static void ss2si(SIMD_ARGS, bool chop)
{
    FpEnv env = env_for(cpu, chop);
    int64_t v = f32_to_int(&env, b->u32[0], ctl.w ? 64 : 32);
    fp_finish(cpu, &env);
    put_int(dst, v, ctl);
}

static void sd2si(SIMD_ARGS, bool chop)
{
    FpEnv env = env_for(cpu, chop);
    int64_t v = f64_to_int(&env, b->u64[0], ctl.w ? 64 : 32);
    fp_finish(cpu, &env);
    put_int(dst, v, ctl);
}

void simd_cvtss2si(SIMD_ARGS)
{
    HOST_TO_INT("cvtss2si")
    ss2si(cpu, dst, a, b, ctl, false);
}

void simd_cvttss2si(SIMD_ARGS)
{
    HOST_TO_INT("cvttss2si")
    ss2si(cpu, dst, a, b, ctl, true);
}

void simd_cvtsd2si(SIMD_ARGS)
{
    HOST_TO_INT("cvtsd2si")
    sd2si(cpu, dst, a, b, ctl, false);
}

void simd_cvttsd2si(SIMD_ARGS)
{
    double d;
    memcpy(&d, b, 8);
    /* Inexact is noted already, and other flags there are none. */
    if (!ctl.soft && cpu->mxcsr & FP_PE && (cpu->mxcsr & MXCSR_MASKS) == MXCSR_MASKS &&
        d > -2147483648.0 && d < 2147483648.0) {
        put_int(dst, (int64_t)d, ctl);
        return;
    }
    HOST_TO_INT("cvttsd2si")
    sd2si(cpu, dst, a, b, ctl, true);
}

/* ---- MMX registers ---- */

void simd_cvtpi2ps(SIMD_ARGS)
{
    FpEnv env = fp_env_sse(cpu->mxcsr);
    Lane r = lane_get(a, 0);
    r.u32[0] = f32_from_int(&env, b->i32[0]);
    r.u32[1] = f32_from_int(&env, b->i32[1]);
    fp_finish(cpu, &env);
    lane_put(dst, 0, &r, 16);
}

void simd_cvtpi2pd(SIMD_ARGS)
{
    FpEnv env = fp_env_sse(cpu->mxcsr);
    Lane r;
    r.u64[0] = f64_from_int(&env, b->i32[0]);
    r.u64[1] = f64_from_int(&env, b->i32[1]);
    lane_put(dst, 0, &r, 16);
}

static uint64_t pair(int64_t low, int64_t high)
{
    return (uint32_t)low | (uint64_t)(uint32_t)high << 32;
}

static void ps2pi(SIMD_ARGS, bool chop)
{
    FpEnv env = env_for(cpu, chop);
    int64_t low = f32_to_int(&env, b->u32[0], 32), high = f32_to_int(&env, b->u32[1], 32);
    fp_finish(cpu, &env);
    dst->u64[0] = pair(low, high);
}

static void pd2pi(SIMD_ARGS, bool chop)
{
    FpEnv env = env_for(cpu, chop);
    int64_t low = f64_to_int(&env, b->u64[0], 32), high = f64_to_int(&env, b->u64[1], 32);
    fp_finish(cpu, &env);
    dst->u64[0] = pair(low, high);
}

void simd_cvtps2pi(SIMD_ARGS)
{
    ps2pi(cpu, dst, a, b, ctl, false);
}

void simd_cvttps2pi(SIMD_ARGS)
{
    ps2pi(cpu, dst, a, b, ctl, true);
}

void simd_cvtpd2pi(SIMD_ARGS)
{
    pd2pi(cpu, dst, a, b, ctl, false);
}

void simd_cvttpd2pi(SIMD_ARGS)
{
    pd2pi(cpu, dst, a, b, ctl, true);
}
