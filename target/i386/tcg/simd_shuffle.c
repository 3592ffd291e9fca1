/* SPDX-License-Identifier: GPL-2.0-or-later */
/* target/i386/tcg/simd_shuffle.c: packing, interleaving, selecting, widening. */
#include "target/i386/tcg/simd_int.h"

/* ---- pack: a's elements narrowed, then b's ---- */
#define PACK(name, from, to, n, sat)                         \
    SIMD_BLOCKS(name, {                                      \
        unsigned half = ctl.len == 8 ? (n) / 4 : (n) / 2;    \
        for (unsigned i = 0; i < 2 * half; i++) {            \
            int v = i < half ? x.from[i] : y.from[i - half]; \
            r.to[i] = (__typeof__(r.to[0]))sat(v);           \
        }                                                    \
    })

PACK(packsswb, i16, i8, 16, sat_i8)
PACK(packuswb, i16, u8, 16, sat_u8)
PACK(packssdw, i32, i16, 8, sat_i16)
PACK(packusdw, i32, u16, 8, sat_u16)

/* ---- interleave the lower or upper halves ---- */
#define UNPACK(name, f, high)                                       \
    SIMD_BLOCKS(name, {                                             \
        const unsigned n = ARRAY_LEN(r.f);                          \
        unsigned from = !(high) ? 0 : ctl.len == 8 ? n / 4 : n / 2; \
        for (unsigned i = 0; i < n / 2; i++) {                      \
            r.f[2 * i] = x.f[from + i];                             \
            r.f[2 * i + 1] = y.f[from + i];                         \
        }                                                           \
    })

UNPACK(punpcklbw, u8, 0)
UNPACK(punpcklwd, u16, 0)
UNPACK(punpckldq, u32, 0)
UNPACK(punpcklqdq, u64, 0)
UNPACK(punpckhbw, u8, 1)
UNPACK(punpckhwd, u16, 1)
UNPACK(punpckhdq, u32, 1)
UNPACK(punpckhqdq, u64, 1)
UNPACK(unpcklps, u32, 0)
UNPACK(unpcklpd, u64, 0)
UNPACK(unpckhps, u32, 1)
UNPACK(unpckhpd, u64, 1)

/* ---- shuffles ---- */
SIMD_BLOCKS(
    pshufw, for (unsigned i = 0; i < 4; i++) { r.u16[i] = y.u16[ctl.imm >> (2 * i) & 3]; })
SIMD_BLOCKS(
    pshufd, for (unsigned i = 0; i < 4; i++) { r.u32[i] = y.u32[ctl.imm >> (2 * i) & 3]; })
SIMD_BLOCKS(pshuflw, {
    r.u64[1] = y.u64[1];
    for (unsigned i = 0; i < 4; i++) {
        r.u16[i] = y.u16[ctl.imm >> (2 * i) & 3];
    }
})
SIMD_BLOCKS(pshufhw, {
    r.u64[0] = y.u64[0];
    for (unsigned i = 0; i < 4; i++) {
        r.u16[4 + i] = y.u16[4 + (ctl.imm >> (2 * i) & 3)];
    }
})
SIMD_BLOCKS(
    pshufb, for (unsigned i = 0; i < 16;
                 i++) { r.u8[i] = y.u8[i] & 0x80 ? 0 : x.u8[y.u8[i] & (ctl.len == 8 ? 7 : 15)]; })
SIMD_BLOCKS(shufps, {
    for (unsigned i = 0; i < 4; i++) {
        r.u32[i] = (i < 2 ? &x : &y)->u32[ctl.imm >> (2 * i) & 3];
    }
})
SIMD_BLOCKS(shufpd, {
    unsigned c = ctl.imm >> (off_ / 8);
    r.u64[0] = x.u64[c & 1];
    r.u64[1] = y.u64[c >> 1 & 1];
})
/* a above b, shifted right by bytes */
SIMD_BLOCKS(palignr, {
    unsigned w = ctl.len == 8 ? 8 : 16;
    for (unsigned i = 0; i < w; i++) {
        unsigned k = i + ctl.imm;
        r.u8[i] = k < w ? y.u8[k] : k < 2 * w ? x.u8[k - w] : 0;
    }
})

/* ---- moves that merge or duplicate ---- */
static void merge_low(Vec *dst, const Vec *a, const Vec *b, unsigned size)
{
    Vec r = *a;
    memcpy(&r, b, size);
    memcpy(dst, &r, 16);
}

void simd_movss(SIMD_ARGS)
{
    merge_low(dst, a, b, 4);
}

void simd_movsd(SIMD_ARGS)
{
    merge_low(dst, a, b, 8);
}

void simd_movlps(SIMD_ARGS)
{
    merge_low(dst, a, b, 8);
}

/* MOVHPS from memory, MOVLHPS */
void simd_movhps(SIMD_ARGS)
{
    uint64_t low = a->u64[0], high = b->u64[0];
    dst->u64[0] = low;
    dst->u64[1] = high;
}

void simd_movhlps(SIMD_ARGS)
{
    uint64_t low = b->u64[1], high = a->u64[1];
    dst->u64[0] = low;
    dst->u64[1] = high;
}

/* MOVHPS to memory */
void simd_store_high(SIMD_ARGS)
{
    dst->u64[0] = b->u64[1];
}

SIMD_BLOCKS(movsldup, {
    r.u32[0] = r.u32[1] = y.u32[0];
    r.u32[2] = r.u32[3] = y.u32[2];
})
SIMD_BLOCKS(movshdup, {
    r.u32[0] = r.u32[1] = y.u32[1];
    r.u32[2] = r.u32[3] = y.u32[3];
})
SIMD_BLOCKS(movddup, r.u64[0] = r.u64[1] = y.u64[0])

/* ---- blends: by immediate, or by the sign bits of XMM0 ---- */
SIMD_BLOCKS(
    blendps, for (unsigned i = 0; i < 4;
                  i++) { r.u32[i] = (ctl.imm >> (off_ / 4 + i) & 1 ? &y : &x)->u32[i]; })
SIMD_BLOCKS(
    blendpd, for (unsigned i = 0; i < 2;
                  i++) { r.u64[i] = (ctl.imm >> (off_ / 8 + i) & 1 ? &y : &x)->u64[i]; })
SIMD_BLOCKS(
    pblendw, for (unsigned i = 0; i < 8; i++) { r.u16[i] = (ctl.imm >> i & 1 ? &y : &x)->u16[i]; })
#define BLENDV(name, u, s)                              \
    SIMD_BLOCKS(name, {                                 \
        const Lane m = lane_get(&cpu->vec[0], off_);    \
        for (unsigned i = 0; i < ARRAY_LEN(r.u); i++) { \
            r.u[i] = m.s[i] < 0 ? y.u[i] : x.u[i];      \
        }                                               \
    })
BLENDV(blendvps, u32, i32)
BLENDV(blendvpd, u64, i64)
BLENDV(pblendvb, u8, i8)

static void insertps(SIMD_ARGS, uint32_t v)
{
    Lane r = lane_get(a, 0);
    r.u32[ctl.imm >> 4 & 3] = v;
    for (unsigned i = 0; i < 4; i++) {
        if (ctl.imm >> i & 1) {
            r.u32[i] = 0;
        }
    }
    lane_put(dst, 0, &r, 16);
}

void simd_insertps(SIMD_ARGS)
{
    insertps(cpu, dst, a, b, ctl, b->u32[ctl.imm >> 6]);
}

/* Memory has just the one element. */
void simd_insertps_m(SIMD_ARGS)
{
    insertps(cpu, dst, a, b, ctl, b->u32[0]);
}

/* ---- to and from general registers ---- */
void simd_movmskps(SIMD_ARGS)
{
    uint32_t m = 0;
    for (unsigned i = 0; i < ctl.len / 4u; i++) {
        m |= b->u32[i] >> 31 << i;
    }
    dst->u64[0] = m;
}

void simd_movmskpd(SIMD_ARGS)
{
    uint64_t m = 0;
    for (unsigned i = 0; i < ctl.len / 8u; i++) {
        m |= b->u64[i] >> 63 << i;
    }
    dst->u64[0] = m;
}

void simd_pmovmskb(SIMD_ARGS)
{
    uint64_t m = 0;
    for (unsigned i = 0; i < ctl.len; i++) {
        m |= (uint64_t)(b->u8[i] >> 7) << i;
    }
    dst->u64[0] = m;
}

#define INSERT(name, ...)              \
    void simd_##name(SIMD_ARGS)        \
    {                                  \
        Lane r = lane_get(a, 0);       \
        __VA_ARGS__;                   \
        lane_put(dst, 0, &r, ctl.len); \
    }

INSERT(pinsrb, r.u8[ctl.imm & 15] = b->u8[0])
INSERT(pinsrw, r.u16[ctl.imm & (ctl.len == 8 ? 3 : 7)] = b->u16[0])

void simd_pinsrd(SIMD_ARGS)
{
    Lane r = lane_get(a, 0);
    if (ctl.w) {
        r.u64[ctl.imm & 1] = b->u64[0];
    } else {
        r.u32[ctl.imm & 3] = b->u32[0];
    }
    lane_put(dst, 0, &r, 16);
}

void simd_pextrb(SIMD_ARGS)
{
    dst->u64[0] = b->u8[ctl.imm & 15];
}

void simd_pextrw(SIMD_ARGS)
{
    dst->u64[0] = b->u16[ctl.imm & (ctl.len == 8 ? 3 : 7)];
}

void simd_extractps(SIMD_ARGS)
{
    dst->u64[0] = b->u32[ctl.imm & 3];
}

/* PEXTRD, PEXTRQ */
void simd_pextrd(SIMD_ARGS)
{
    dst->u64[0] = ctl.w ? b->u64[ctl.imm & 1] : b->u32[ctl.imm & 3];
}

/* ---- widening: the low elements of b, over the whole vector ---- */
#define WIDEN(name, from, to)                                      \
    void simd_##name(SIMD_ARGS)                                    \
    {                                                              \
        Vec r;                                                     \
        for (unsigned i = 0; i < ctl.len / sizeof(r.to[0]); i++) { \
            r.to[i] = (__typeof__(r.to[0]))b->from[i];             \
        }                                                          \
        memcpy(dst, &r, ctl.len);                                  \
    }

WIDEN(pmovsxbw, i8, i16)
WIDEN(pmovsxbd, i8, i32)
WIDEN(pmovsxbq, i8, i64)
WIDEN(pmovsxwd, i16, i32)
WIDEN(pmovsxwq, i16, i64)
WIDEN(pmovsxdq, i32, i64)
WIDEN(pmovzxbw, u8, u16)
WIDEN(pmovzxbd, u8, u32)
WIDEN(pmovzxbq, u8, u64)
WIDEN(pmovzxwd, u16, u32)
WIDEN(pmovzxwq, u16, u64)
WIDEN(pmovzxdq, u32, u64)
