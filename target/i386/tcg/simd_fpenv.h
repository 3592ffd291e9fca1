/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target/i386/tcg/simd_fpenv.h: how SSE floating-point functions begin and end, and how
 * they borrow the host's unit.
 */
#ifndef RHEA_TARGET_I386_TCG_SIMD_FPENV_H
#define RHEA_TARGET_I386_TCG_SIMD_FPENV_H

#include "target/i386/tcg/simd_int.h"
#include "target/i386/tcg/softfloat.h"

#define MXCSR_MASKS 0x1f80u

/*
 * Takes the flags into MXCSR; raises if one is unmasked.  All elements' operand
 * exceptions come before any element's result exceptions.
 */
static inline void fp_finish(CPUX86 *cpu, const FpEnv *env)
{
    unsigned flags = env->flags;
    if (flags & env->unmasked & FP_PRE) {
        flags &= FP_PRE;
    }
    cpu->mxcsr |= flags;
    if (flags & env->unmasked) {
        x86_raise(cpu, cpu->cr4 & CR4_OSXMMEXCPT ? EXC_XM : EXC_UD);
    }
}

#ifdef __x86_64__

typedef long long HostXmm __attribute__((vector_size(16)));
static const uint32_t host_mxcsr = MXCSR_MASKS;

/* With all exceptions masked the host's result and flags are the guest's. */
static inline bool host_ok(const CPUX86 *cpu, SimdCtl ctl)
{
    return (cpu->mxcsr & MXCSR_MASKS) == MXCSR_MASKS && !ctl.soft;
}

/* x = x `insn` y under the guest's MXCSR, whose flags are updated. */
#define HOST_RUN(cpu, insn, x, y)                              \
    __asm__ volatile("ldmxcsr %[m]\n\t" insn " %[b], %[a]\n\t" \
                     "stmxcsr %[m]\n\tldmxcsr %[h]"            \
                     : [a] "+x"(x), [m] "+m"((cpu)->mxcsr)     \
                     : [b] "x"(y), [h] "m"(host_mxcsr))

/*
 * A comparison sets ZF, PF, CF as the guest's flags will be; the other three arithmetic
 * flags become zero.
 */
#define HOST_COMPARE(insn)                                                          \
    if (host_ok(cpu, ctl)) {                                                        \
        HostXmm x, y;                                                               \
        bool z, p, c;                                                               \
        memcpy(&x, a, 16);                                                          \
        memcpy(&y, b, 16);                                                          \
        __asm__ volatile("ldmxcsr %[m]\n\t" insn " %[b], %[a]\n\t"                  \
                         "stmxcsr %[m]\n\tldmxcsr %[h]"                             \
                         : [m] "+m"(cpu->mxcsr), "=@ccz"(z), "=@ccp"(p), "=@ccc"(c) \
                         : [a] "x"(x), [b] "x"(y), [h] "m"(host_mxcsr));            \
        cpu->rflags = (cpu->rflags & ~(uint64_t)FLAGS_ARITH) | (z ? FLAG_ZF : 0) |  \
                      (p ? FLAG_PF : 0) | (c ? FLAG_CF : 0);                        \
        return;                                                                     \
    }
/* To a general register: 64 bits with ctl.w, else 32, zero-extended. */
#define HOST_TO_INT(insn)                                               \
    if (host_ok(cpu, ctl)) {                                            \
        HostXmm y;                                                      \
        uint64_t v;                                                     \
        memcpy(&y, b, 16);                                              \
        if (ctl.w) {                                                    \
            __asm__ volatile("ldmxcsr %[m]\n\t" insn " %[b], %q[v]\n\t" \
                             "stmxcsr %[m]\n\tldmxcsr %[h]"             \
                             : [v] "=r"(v), [m] "+m"(cpu->mxcsr)        \
                             : [b] "x"(y), [h] "m"(host_mxcsr));        \
        } else {                                                        \
            __asm__ volatile("ldmxcsr %[m]\n\t" insn " %[b], %k[v]\n\t" \
                             "stmxcsr %[m]\n\tldmxcsr %[h]"             \
                             : [v] "=r"(v), [m] "+m"(cpu->mxcsr)        \
                             : [b] "x"(y), [h] "m"(host_mxcsr));        \
        }                                                               \
        dst->u64[0] = v;                                                \
        return;                                                         \
    }
/* From a general register; insn without the size suffix. */
#define HOST_FROM_INT(insn)                                              \
    if (host_ok(cpu, ctl)) {                                             \
        HostXmm x;                                                       \
        memcpy(&x, a, 16);                                               \
        if (ctl.w) {                                                     \
            __asm__ volatile("ldmxcsr %[m]\n\t" insn "q %[b], %[a]\n\t"  \
                             "stmxcsr %[m]\n\tldmxcsr %[h]"              \
                             : [a] "+x"(x), [m] "+m"(cpu->mxcsr)         \
                             : [b] "m"(b->u64[0]), [h] "m"(host_mxcsr)); \
        } else {                                                         \
            __asm__ volatile("ldmxcsr %[m]\n\t" insn "l %[b], %[a]\n\t"  \
                             "stmxcsr %[m]\n\tldmxcsr %[h]"              \
                             : [a] "+x"(x), [m] "+m"(cpu->mxcsr)         \
                             : [b] "m"(b->u32[0]), [h] "m"(host_mxcsr)); \
        }                                                                \
        memcpy(dst, &x, 16);                                             \
        return;                                                          \
    }

/* The whole function by the host: the body of a SimdFn. */
#define HOST_PACKED(insn)                                  \
    if (host_ok(cpu, ctl)) {                               \
        for (unsigned off = 0; off < ctl.len; off += 16) { \
            HostXmm x, y;                                  \
            memcpy(&x, a->u8 + off, 16);                   \
            memcpy(&y, b->u8 + off, 16);                   \
            HOST_RUN(cpu, insn, x, y);                     \
            memcpy(dst->u8 + off, &x, 16);                 \
        }                                                  \
        return;                                            \
    }
#define HOST_SCALAR(insn)          \
    if (host_ok(cpu, ctl)) {       \
        HostXmm x, y;              \
        memcpy(&x, a, 16);         \
        memcpy(&y, b, 16);         \
        HOST_RUN(cpu, insn, x, y); \
        memcpy(dst, &x, 16);       \
        return;                    \
    }

#else

#define HOST_PACKED(insn)
#define HOST_SCALAR(insn)
#define HOST_COMPARE(insn)
#define HOST_TO_INT(insn)
#define HOST_FROM_INT(insn)

#endif
#endif
