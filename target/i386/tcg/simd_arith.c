/* SPDX-License-Identifier: GPL-2.0-or-later */
/* target/i386/tcg/simd_arith.c: integer vector arithmetic, logic, compares and shifts. */
#include "target/i386/tcg/simd_int.h"

/* ---- add, subtract ---- */
SIMD_EACH(paddb, u8, p + q)
SIMD_EACH(paddw, u16, p + q)
SIMD_EACH(paddd, u32, p + q)
SIMD_EACH(paddq, u64, p + q)
SIMD_EACH(paddsb, i8, sat_i8(p + q))
SIMD_EACH(paddsw, i16, sat_i16(p + q))
SIMD_EACH(paddusb, u8, sat_u8(p + q))
SIMD_EACH(paddusw, u16, sat_u16(p + q))
SIMD_EACH(psubb, u8, p - q)
SIMD_EACH(psubw, u16, p - q)
SIMD_EACH(psubd, u32, p - q)
SIMD_EACH(psubq, u64, p - q)
SIMD_EACH(psubsb, i8, sat_i8(p - q))
SIMD_EACH(psubsw, i16, sat_i16(p - q))
SIMD_EACH(psubusb, u8, sat_u8(p - q))
SIMD_EACH(psubusw, u16, sat_u16(p - q))
SIMD_EACH(pavgb, u8, (p + q + 1) >> 1)
SIMD_EACH(pavgw, u16, (p + q + 1) >> 1)

/* ---- multiply ---- */
SIMD_EACH(pmullw, u16, (uint32_t)p *q)
SIMD_EACH(pmulhw, i16, p *q >> 16)
SIMD_EACH(pmulhuw, u16, (uint32_t)p *q >> 16)
SIMD_EACH(pmulld, u32, p *q)
SIMD_EACH(pmuludq, u64, (p & 0xffffffff) * (q & 0xffffffff))
SIMD_EACH(pmuldq, i64, (int64_t)(int32_t)p *(int32_t)q)
SIMD_EACH(pmulhrsw, i16, ((p * q >> 14) + 1) >> 1)
SIMD_BLOCKS(
    pmaddwd, for (unsigned i = 0; i < 4; i++) {
        r.u32[i] = (uint32_t)(x.i16[2 * i] * y.i16[2 * i]) +
                   (uint32_t)(x.i16[2 * i + 1] * y.i16[2 * i + 1]);
    })
SIMD_BLOCKS(
    pmaddubsw, for (unsigned i = 0; i < 8; i++) {
        r.i16[i] = (int16_t)sat_i16(x.u8[2 * i] * y.i8[2 * i] + x.u8[2 * i + 1] * y.i8[2 * i + 1]);
    })

static inline unsigned distance(unsigned p, unsigned q)
{
    return p > q ? p - q : q - p;
}

SIMD_BLOCKS(
    psadbw, for (unsigned i = 0; i < 2; i++) {
        unsigned sum = 0;
        for (unsigned k = 0; k < 8; k++) {
            sum += distance(x.u8[i * 8 + k], y.u8[i * 8 + k]);
        }
        r.u64[i] = sum;
    })

/* ---- logic ---- */
SIMD_EACH(pand, u64, p &q)
SIMD_EACH(pandn, u64, ~p &q)
SIMD_EACH(por, u64, p | q)
SIMD_EACH(pxor, u64, p ^ q)

/* ---- compare, choose ---- */
SIMD_EACH(pcmpeqb, u8, p == q ? -1 : 0)
SIMD_EACH(pcmpeqw, u16, p == q ? -1 : 0)
SIMD_EACH(pcmpeqd, u32, p == q ? -1 : 0)
SIMD_EACH(pcmpeqq, u64, p == q ? -1ll : 0)
SIMD_EACH(pcmpgtb, i8, p > q ? -1 : 0)
SIMD_EACH(pcmpgtw, i16, p > q ? -1 : 0)
SIMD_EACH(pcmpgtd, i32, p > q ? -1 : 0)
SIMD_EACH(pcmpgtq, i64, p > q ? -1ll : 0)
SIMD_EACH(pmaxub, u8, p > q ? p : q)
SIMD_EACH(pmaxuw, u16, p > q ? p : q)
SIMD_EACH(pmaxud, u32, p > q ? p : q)
SIMD_EACH(pmaxsb, i8, p > q ? p : q)
SIMD_EACH(pmaxsw, i16, p > q ? p : q)
SIMD_EACH(pmaxsd, i32, p > q ? p : q)
SIMD_EACH(pminub, u8, p < q ? p : q)
SIMD_EACH(pminuw, u16, p < q ? p : q)
SIMD_EACH(pminud, u32, p < q ? p : q)
SIMD_EACH(pminsb, i8, p < q ? p : q)
SIMD_EACH(pminsw, i16, p < q ? p : q)
SIMD_EACH(pminsd, i32, p < q ? p : q)
SIMD_EACH(pabsb, i8, q < 0 ? -q : q)
SIMD_EACH(pabsw, i16, q < 0 ? -q : q)
SIMD_EACH(pabsd, u32, (int32_t)q < 0 ? -q : q)
SIMD_EACH(psignb, i8, q < 0 ? -p : q ? p : 0)
SIMD_EACH(psignw, i16, q < 0 ? -p : q ? p : 0)
SIMD_EACH(psignd, u32, (int32_t)q < 0 ? -p : q ? p : 0)

/* ---- neighbours: a's pairs first, then b's; an MMX register is half a block ---- */
#define HORIZONTAL(name, f, n, expr)                         \
    SIMD_BLOCKS(name, {                                      \
        unsigned half = (ctl.len == 8 ? (n) / 2 : (n)) / 2;  \
        for (unsigned i = 0; i < 2 * half; i++) {            \
            const Lane *s = i < half ? &x : &y;              \
            unsigned k = 2 * (i % half);                     \
            __typeof__(r.f[0]) p = s->f[k], q = s->f[k + 1]; \
            r.f[i] = (__typeof__(r.f[0]))(expr);             \
        }                                                    \
    })

HORIZONTAL(phaddw, u16, 8, p + q)
HORIZONTAL(phaddd, u32, 4, p + q)
HORIZONTAL(phaddsw, i16, 8, sat_i16(p + q))
HORIZONTAL(phsubw, u16, 8, p - q)
HORIZONTAL(phsubd, u32, 4, p - q)
HORIZONTAL(phsubsw, i16, 8, sat_i16(p - q))

SIMD_BLOCKS(mpsadbw, {
    /* The upper block of a 256-bit form has its own three bits of the immediate. */
    unsigned c = ctl.imm >> (off_ ? 3 : 0), bo = (c & 3) * 4, ao = c & 4;
    for (unsigned i = 0; i < 8; i++) {
        unsigned sum = 0;
        for (unsigned k = 0; k < 4; k++) {
            sum += distance(x.u8[ao + i + k], y.u8[bo + k]);
        }
        r.u16[i] = (uint16_t)sum;
    }
})

SIMD_BLOCKS(phminposuw, {
    unsigned best = 0;
    for (unsigned i = 1; i < 8; i++) {
        best = y.u16[i] < y.u16[best] ? i : best;
    }
    r.u64[0] = y.u16[best] | best << 16;
    r.u64[1] = 0;
})

/* ---- shifts ---- */
#define SHIFT(name, f, bits, in, out)                                          \
    static void shift_##name(Vec *dst, const Vec *a, uint64_t n, unsigned len) \
    {                                                                          \
        for (unsigned off = 0; off < len; off += 16) {                         \
            Lane x = lane_get(a, off);                                         \
            for (unsigned i = 0; i < ARRAY_LEN(x.f); i++) {                    \
                __typeof__(x.f[0]) p = x.f[i];                                 \
                x.f[i] = (__typeof__(x.f[0]))(n < (bits) ? (in) : (out));      \
            }                                                                  \
            lane_put(dst, off, &x, len);                                       \
        }                                                                      \
    }                                                                          \
    void simd_##name(SIMD_ARGS)                                                \
    {                                                                          \
        shift_##name(dst, a, b->u64[0], ctl.len);                              \
    }                                                                          \
    void simd_##name##_i(SIMD_ARGS)                                            \
    {                                                                          \
        shift_##name(dst, a, ctl.imm, ctl.len);                                \
    }

SHIFT(psllw, u16, 16, (unsigned)p << n, 0)
SHIFT(pslld, u32, 32, p << n, 0)
SHIFT(psllq, u64, 64, p << n, 0)
SHIFT(psrlw, u16, 16, p >> n, 0)
SHIFT(psrld, u32, 32, p >> n, 0)
SHIFT(psrlq, u64, 64, p >> n, 0)
SHIFT(psraw, i16, 16, p >> n, p < 0 ? -1 : 0)
SHIFT(psrad, i32, 32, p >> n, p < 0 ? -1 : 0)

SIMD_BLOCKS(
    pslldq_i, for (unsigned i = 0; i < 16; i++) { r.u8[i] = i >= ctl.imm ? x.u8[i - ctl.imm] : 0; })
SIMD_BLOCKS(
    psrldq_i,
    for (unsigned i = 0; i < 16; i++) { r.u8[i] = i + ctl.imm < 16 ? x.u8[i + ctl.imm] : 0; })

void simd_ptest(SIMD_ARGS)
{
    uint64_t both = 0, rest = 0;
    for (unsigned i = 0; i < ctl.len / 8u; i++) {
        both |= a->u64[i] & b->u64[i];
        rest |= ~a->u64[i] & b->u64[i];
    }
    cpu->rflags =
        (cpu->rflags & ~(uint64_t)FLAGS_ARITH) | (both ? 0 : FLAG_ZF) | (rest ? 0 : FLAG_CF);
}
