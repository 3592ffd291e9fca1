/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target/i386/tcg/simd_fma.c: fused multiply-add.  One function for all kinds and orders
 * of operands: ctl.imm is FMA_* of simd.h.
 */
#include "target/i386/tcg/simd_fpenv.h"

/* x * y + z; the three orders say which operand is which. */
typedef struct FmaOperands {
    const Vec *x, *y, *z;
} FmaOperands;

static FmaOperands operands(const Vec *dst, const Vec *a, const Vec *b, SimdCtl ctl)
{
    switch (ctl.imm & FMA_ORDER) {
    case FMA_132:
        return (FmaOperands){dst, b, a};
    case FMA_213:
        return (FmaOperands){a, dst, b};
    default:
        return (FmaOperands){a, b, dst};
    }
}

static bool negate_product(SimdCtl ctl)
{
    unsigned kind = ctl.imm & FMA_KIND;
    return kind == FMA_NMADD || kind == FMA_NMSUB;
}

/* Is z subtracted in element i? */
static bool negate_addend(SimdCtl ctl, unsigned i)
{
    switch (ctl.imm & FMA_KIND) {
    case FMA_MSUB:
    case FMA_NMSUB:
        return true;
    case FMA_MADDSUB:
        return !(i & 1);
    case FMA_MSUBADD:
        return i & 1;
    default:
        return false;
    }
}

#ifdef __x86_64__

static bool host_fma(const CPUX86 *cpu, SimdCtl ctl)
{
    return host_ok(cpu, ctl) && __builtin_cpu_supports("fma");
}

#define RUN(insn)                                                    \
    __asm__ volatile("ldmxcsr %[m]\n\t" insn " %[y], %[x], %[z]\n\t" \
                     "stmxcsr %[m]\n\tldmxcsr %[h]"                  \
                     : [z] "+x"(z), [m] "+m"(cpu->mxcsr)             \
                     : [x] "x"(x), [y] "x"(y), [h] "m"(host_mxcsr)); \
    break

#define HOST_BLOCK_KINDS(shape)  \
    case FMA_MADD:               \
        RUN("vfmadd231" shape);  \
    case FMA_MSUB:               \
        RUN("vfmsub231" shape);  \
    case FMA_NMADD:              \
        RUN("vfnmadd231" shape); \
    case FMA_NMSUB:              \
        RUN("vfnmsub231" shape);

/* 16 bytes at `off`; the scalars' result holds z's upper part. */
#define HOST_FMA(shape, more)                                                                 \
    static HostXmm host_##shape(CPUX86 *cpu, const FmaOperands *o, unsigned off, SimdCtl ctl) \
    {                                                                                         \
        HostXmm x, y, z;                                                                      \
        memcpy(&x, o->x->u8 + off, 16);                                                       \
        memcpy(&y, o->y->u8 + off, 16);                                                       \
        memcpy(&z, o->z->u8 + off, 16);                                                       \
        switch (ctl.imm & FMA_KIND) {                                                         \
            HOST_BLOCK_KINDS(#shape)                                                          \
            more                                                                              \
        }                                                                                     \
        return z;                                                                             \
    }
#define ALTERNATING(shape)         \
    case FMA_MADDSUB:              \
        RUN("vfmaddsub231" shape); \
    case FMA_MSUBADD:              \
        RUN("vfmsubadd231" shape);
HOST_FMA(ps, ALTERNATING("ps"))
HOST_FMA(pd, ALTERNATING("pd"))
HOST_FMA(ss, )
HOST_FMA(sd, )

#define TRY_HOST_PACKED(shape)                             \
    if (host_fma(cpu, ctl)) {                              \
        for (unsigned off = 0; off < ctl.len; off += 16) { \
            HostXmm r = host_##shape(cpu, &o, off, ctl);   \
            memcpy(dst->u8 + off, &r, 16);                 \
        }                                                  \
        return;                                            \
    }
#define TRY_HOST_SCALAR(shape, size)               \
    if (host_fma(cpu, ctl)) {                      \
        HostXmm r = host_##shape(cpu, &o, 0, ctl); \
        memcpy(dst, &r, size);                     \
        return;                                    \
    }

#else

#define TRY_HOST_PACKED(shape)
#define TRY_HOST_SCALAR(shape, size)

#endif

#define FMA_FUNCTIONS(bits, packed, scalar)                                                       \
    void simd_fma_##packed(SIMD_ARGS)                                                             \
    {                                                                                             \
        const FmaOperands o = operands(dst, a, b, ctl);                                           \
        TRY_HOST_PACKED(packed)                                                                   \
        FpEnv env = fp_env_sse(cpu->mxcsr);                                                       \
        Vec r;                                                                                    \
        for (unsigned i = 0; i < ctl.len * 8u / (bits); i++) {                                    \
            r.u##bits[i] = f##bits##_fma(&env, o.x->u##bits[i], o.y->u##bits[i], o.z->u##bits[i], \
                                         negate_product(ctl), negate_addend(ctl, i));             \
        }                                                                                         \
        fp_finish(cpu, &env);                                                                     \
        memcpy(dst, &r, ctl.len);                                                                 \
    }                                                                                             \
    void simd_fma_##scalar(SIMD_ARGS)                                                             \
    {                                                                                             \
        const FmaOperands o = operands(dst, a, b, ctl);                                           \
        TRY_HOST_SCALAR(scalar, (bits) / 8)                                                       \
        FpEnv env = fp_env_sse(cpu->mxcsr);                                                       \
        uint##bits##_t r = f##bits##_fma(&env, o.x->u##bits[0], o.y->u##bits[0], o.z->u##bits[0], \
                                         negate_product(ctl), negate_addend(ctl, 0));             \
        fp_finish(cpu, &env);                                                                     \
        dst->u##bits[0] = r;                                                                      \
    }
FMA_FUNCTIONS(32, ps, ss)
FMA_FUNCTIONS(64, pd, sd)
