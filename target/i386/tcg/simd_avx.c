/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target/i386/tcg/simd_avx.c: what AVX and AVX2 have beyond SSE: moves across blocks,
 * broadcasts, shifts by a count of each element's own, half precision, VNNI.
 */
#include "target/i386/tcg/simd_fpenv.h"

/* ---- broadcasts ---- */
#define BROADCAST(name, f)                                         \
    void simd_broadcast##name(SIMD_ARGS)                           \
    {                                                              \
        __typeof__(b->f[0]) v = b->f[0];                           \
        for (unsigned i = 0; i < ctl.len / sizeof(b->f[0]); i++) { \
            dst->f[i] = v;                                         \
        }                                                          \
    }
BROADCAST(b, u8)
BROADCAST(w, u16)
BROADCAST(d, u32)
BROADCAST(q, u64)

void simd_broadcastdq(SIMD_ARGS)
{
    Lane l = lane_get(b, 0);
    for (unsigned off = 0; off < ctl.len; off += 16) {
        lane_put(dst, off, &l, 16);
    }
}

/* ---- permutations ---- */

/* a: indexes, b: elements. */
void simd_vpermd(SIMD_ARGS)
{
    Vec r;
    for (unsigned i = 0; i < 8; i++) {
        r.u32[i] = b->u32[a->u32[i] & 7];
    }
    memcpy(dst, &r, 32);
}

void simd_vpermq(SIMD_ARGS)
{
    Vec r;
    for (unsigned i = 0; i < 4; i++) {
        r.u64[i] = b->u64[ctl.imm >> (2 * i) & 3];
    }
    memcpy(dst, &r, 32);
}

/* Each half: one of the four halves of a and b by two bits, zeros by a third. */
void simd_vperm2f128(SIMD_ARGS)
{
    Vec r = {{0}};
    for (unsigned i = 0; i < 2; i++) {
        unsigned c = ctl.imm >> (4 * i);
        if (!(c & 8)) {
            memcpy(r.u8 + 16 * i, (c & 2 ? b : a)->u8 + (c & 1 ? 16 : 0), 16);
        }
    }
    memcpy(dst, &r, 32);
}

void simd_vinsertf128(SIMD_ARGS)
{
    Vec r = *a;
    memcpy(r.u8 + (ctl.imm & 1 ? 16 : 0), b, 16);
    memcpy(dst, &r, 32);
}

void simd_vextractf128(SIMD_ARGS)
{
    Lane l = lane_get(b, ctl.imm & 1 ? 16 : 0);
    lane_put(dst, 0, &l, 16);
}

SIMD_BLOCKS(
    vpermilps, for (unsigned i = 0; i < 4; i++) { r.u32[i] = x.u32[y.u32[i] & 3]; })
SIMD_BLOCKS(
    vpermilpd, for (unsigned i = 0; i < 2; i++) { r.u64[i] = x.u64[y.u64[i] >> 1 & 1]; })
SIMD_BLOCKS(
    vpermilpd_i,
    for (unsigned i = 0; i < 2; i++) { r.u64[i] = y.u64[ctl.imm >> (off_ / 8 + i) & 1]; })

/* ---- blends by the sign bits of the register in imm[7:4] ---- */
#define VBLENDV(name, u, s)                                     \
    SIMD_BLOCKS(name, {                                         \
        const Lane m = lane_get(&cpu->vec[ctl.imm >> 4], off_); \
        for (unsigned i = 0; i < ARRAY_LEN(r.u); i++) {         \
            r.u[i] = m.s[i] < 0 ? y.u[i] : x.u[i];              \
        }                                                       \
    })
VBLENDV(vblendvps, u32, i32)
VBLENDV(vblendvpd, u64, i64)
VBLENDV(vpblendvb, u8, i8)

/* ---- shifts ---- */
SIMD_EACH(vpsllvd, u32, q < 32 ? p << q : 0)
SIMD_EACH(vpsllvq, u64, q < 64 ? p << q : 0)
SIMD_EACH(vpsrlvd, u32, q < 32 ? p >> q : 0)
SIMD_EACH(vpsrlvq, u64, q < 64 ? p >> q : 0)
SIMD_EACH(vpsravd, u32, (uint32_t)((int32_t)p >> (q < 32 ? q : 31)))

/* ---- tests of sign bits ---- */
#define VTEST(name, f, shift)                                                             \
    void simd_##name(SIMD_ARGS)                                                           \
    {                                                                                     \
        uint64_t both = 0, rest = 0;                                                      \
        for (unsigned i = 0; i < ctl.len / sizeof(a->f[0]); i++) {                        \
            both |= (a->f[i] & b->f[i]) >> (shift);                                       \
            rest |= (~a->f[i] & b->f[i]) >> (shift);                                      \
        }                                                                                 \
        cpu->rflags = (cpu->rflags & ~(uint64_t)FLAGS_ARITH) | (both & 1 ? 0 : FLAG_ZF) | \
                      (rest & 1 ? 0 : FLAG_CF);                                           \
    }
VTEST(vtestps, u32, 31)
VTEST(vtestpd, u64, 63)

/* ---- half precision ---- */

void simd_vcvtph2ps(SIMD_ARGS)
{
    FpEnv env = fp_env_sse(cpu->mxcsr);
    Vec r;
    for (unsigned i = 0; i < ctl.len / 4u; i++) {
        r.u32[i] = f16_to_f32(&env, b->u16[i]);
    }
    fp_finish(cpu, &env);
    memcpy(dst, &r, ctl.len);
}

/* imm[1:0]: rounding, imm[2]: MXCSR's instead. */
void simd_vcvtps2ph(SIMD_ARGS)
{
    FpEnv env = fp_env_sse(cpu->mxcsr);
    Vec r = {{0}};
    if (!(ctl.imm & 4)) {
        env.round = ctl.imm & 3;
    }
    for (unsigned i = 0; i < ctl.len / 4u; i++) {
        r.u16[i] = f32_to_f16(&env, b->u32[i]);
    }
    fp_finish(cpu, &env);
    memcpy(dst, &r, 16);
}

/* ---- VNNI: sums of products, added to dst ---- */

static int32_t sat_i32(int64_t v)
{
    return v < INT32_MIN ? INT32_MIN : v > INT32_MAX ? INT32_MAX : (int32_t)v;
}

static int64_t dot_bytes(const Vec *a, const Vec *b, unsigned i)
{
    int64_t sum = 0;
    for (unsigned k = 4 * i; k < 4 * i + 4; k++) {
        sum += a->u8[k] * b->i8[k];
    }
    return sum;
}

static int64_t dot_words(const Vec *a, const Vec *b, unsigned i)
{
    return (int64_t)a->i16[2 * i] * b->i16[2 * i] + (int64_t)a->i16[2 * i + 1] * b->i16[2 * i + 1];
}

#define VNNI(name, dot, result)                       \
    void simd_##name(SIMD_ARGS)                       \
    {                                                 \
        for (unsigned i = 0; i < ctl.len / 4u; i++) { \
            int64_t sum = dst->i32[i] + dot(a, b, i); \
            dst->i32[i] = result(sum);                \
        }                                             \
    }
VNNI(vpdpbusd, dot_bytes, (int32_t))
VNNI(vpdpbusds, dot_bytes, sat_i32)
VNNI(vpdpwssd, dot_words, (int32_t))
VNNI(vpdpwssds, dot_words, sat_i32)
