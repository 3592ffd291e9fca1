/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target/i386/tcg/simd_int.h: how the simd*.c files walk over vectors.  Work is done
 * in blocks of 16 bytes, copied into local arrays so that the compiler sees fixed
 * counts and no aliasing, and vectorizes.
 */
#ifndef RHEA_TARGET_I386_TCG_SIMD_INT_H
#define RHEA_TARGET_I386_TCG_SIMD_INT_H

#include "target/i386/simd.h"
#include "util/bits.h"

/* One 16-byte block in every element type. */
typedef union Lane {
    uint8_t u8[16];
    int8_t i8[16];
    uint16_t u16[8];
    int16_t i16[8];
    uint32_t u32[4];
    int32_t i32[4];
    uint64_t u64[2];
    int64_t i64[2];
} Lane;

#define SIMD_ARGS CPUX86 *cpu, Vec *dst, const Vec *a, const Vec *b, SimdCtl ctl

static inline Lane lane_get(const Vec *v, unsigned off)
{
    Lane l;
    memcpy(&l, v->u8 + off, 16);
    return l;
}

/* Stores a block; only its first half in an MMX register. */
static inline void lane_put(Vec *v, unsigned off, const Lane *l, unsigned len)
{
    memcpy(v->u8 + off, l, 8);
    if (len > 8) {
        memcpy(v->u8 + off + 8, (const uint8_t *)l + 8, 8);
    }
}

/* for each block: x = a's, y = b's; `body` fills r. */
#define SIMD_BLOCKS(name, ...) SIMD_BLOCKS_NAMED(void simd_##name, __VA_ARGS__)
#define SIMD_BLOCKS_NAMED(declaration, ...)                          \
    declaration(SIMD_ARGS)                                           \
    {                                                                \
        for (unsigned off_ = 0; off_ < ctl.len; off_ += 16) {        \
            const Lane x = lane_get(a, off_), y = lane_get(b, off_); \
            Lane r = x;                                              \
            (void)x;                                                 \
            (void)y;                                                 \
            __VA_ARGS__;                                             \
            lane_put(dst, off_, &r, ctl.len);                        \
        }                                                            \
    }

/* Element by element: p from a, q from b. `f` names the member of Lane. */
#define SIMD_EACH(name, f, expr)                              \
    SIMD_BLOCKS(                                              \
        name, for (unsigned i = 0; i < ARRAY_LEN(r.f); i++) { \
            __typeof__(x.f[0]) p = x.f[i], q = y.f[i];        \
            (void)p;                                          \
            (void)q;                                          \
            r.f[i] = (__typeof__(r.f[0]))(expr);              \
        })

/*
 * The host's instruction where it has it (`feature` as __builtin_cpu_supports() wants it):
 * a = a `insn` b for each block.  Integers only: no state comes into it.
 */
#ifdef __x86_64__
typedef long long HostBlock __attribute__((vector_size(16)));
#define HOST_BLOCKS(feature, insn)                         \
    if (!ctl.soft && __builtin_cpu_supports(feature)) {    \
        for (unsigned off = 0; off < ctl.len; off += 16) { \
            HostBlock p, q;                                \
            memcpy(&p, a->u8 + off, 16);                   \
            memcpy(&q, b->u8 + off, 16);                   \
            __asm__(insn " %1, %0" : "+x"(p) : "x"(q));    \
            memcpy(dst->u8 + off, &p, 16);                 \
        }                                                  \
        return;                                            \
    }
#else
#define HOST_BLOCKS(feature, insn)
#endif
/* SIMD_BLOCKS for those. */
#define SIMD_BLOCKS_HOST(name, feature, insn, ...) \
    static void soft_##name(SIMD_ARGS);            \
    void simd_##name(SIMD_ARGS)                    \
    {                                              \
        HOST_BLOCKS(feature, insn)                 \
        soft_##name(cpu, dst, a, b, ctl);          \
    }                                              \
    SIMD_BLOCKS_NAMED(static void soft_##name, __VA_ARGS__)

static inline int sat_i8(int v)
{
    return v < -128 ? -128 : v > 127 ? 127 : v;
}
static inline int sat_u8(int v)
{
    return v < 0 ? 0 : v > 255 ? 255 : v;
}
static inline int sat_i16(int v)
{
    return v < -32768 ? -32768 : v > 32767 ? 32767 : v;
}
static inline int sat_u16(int v)
{
    return v < 0 ? 0 : v > 65535 ? 65535 : v;
}

#endif
