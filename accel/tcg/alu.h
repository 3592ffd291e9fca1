/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * accel/tcg/alu.h: x86 arithmetic with flags, for the interpreter.
 *
 * Flags travel in the form that the host's LAHF and SETO give ("fl"): OF in bit 0,
 * CF 8, PF 10, AF 12, ZF 14, SF 15; other bits are garbage.  On x86-64 hosts the
 * host's own instructions compute them; elsewhere (or with RHEA_PORTABLE_ALU) C does.
 */
#ifndef RHEA_ACCEL_TCG_ALU_H
#define RHEA_ACCEL_TCG_ALU_H

#include "target/i386/cpu.h"

#define FL_OF 0x0001u
#define FL_CF 0x0100u
#define FL_PF 0x0400u
#define FL_AF 0x1000u
#define FL_ZF 0x4000u
#define FL_SF 0x8000u

static inline uint32_t fl_from_rflags(uint64_t rf)
{
    return ((uint32_t)rf & 0xd5) << 8 | ((uint32_t)rf >> 11 & 1);
}
static inline uint64_t fl_to_rflags(uint64_t rflags, uint32_t fl)
{
    return (rflags & ~(uint64_t)FLAGS_ARITH) | (fl >> 8 & 0xd5) | (fl & 1) << 11;
}

/* Condition `cc` of Jcc, SETcc, CMOVcc. */
static inline bool fl_cond(unsigned cc, uint32_t fl)
{
    bool r;
    switch (cc >> 1) {
    case 0:
        r = fl & FL_OF;
        break;
    case 1:
        r = fl & FL_CF;
        break;
    case 2:
        r = fl & FL_ZF;
        break;
    case 3:
        r = fl & (FL_CF | FL_ZF);
        break;
    case 4:
        r = fl & FL_SF;
        break;
    case 5:
        r = fl & FL_PF;
        break;
    case 6:
        r = (fl >> 15 ^ fl) & 1;
        break;
    default:
        r = (fl & FL_ZF) || ((fl >> 15 ^ fl) & 1);
        break;
    }
    return r ^ (cc & 1);
}

static inline uint32_t fl_parity(uint64_t r)
{
    return __builtin_parity((unsigned)(r & 0xff)) ? 0 : FL_PF;
}

#define ALU_DEFINE_C(bits)                                                                    \
    static inline uint32_t fl_szp##bits(uint##bits##_t r)                                     \
    {                                                                                         \
        return (r ? 0 : FL_ZF) | ((uint32_t)(r >> (bits - 1)) << 15) | fl_parity(r);          \
    }                                                                                         \
    static inline uint##bits##_t c_adc##bits(uint##bits##_t a, uint##bits##_t b, bool c,      \
                                             uint32_t *fl)                                    \
    {                                                                                         \
        uint##bits##_t r = (uint##bits##_t)(a + b + c);                                       \
        bool cf = c ? r <= a : r < a;                                                         \
        *fl = fl_szp##bits(r) | (cf ? FL_CF : 0) | ((uint32_t)((a ^ b ^ r) >> 4 & 1) << 12) | \
              ((uint32_t)(((a ^ r) & (b ^ r)) >> (bits - 1)) & 1);                            \
        return r;                                                                             \
    }                                                                                         \
    static inline uint##bits##_t c_sbb##bits(uint##bits##_t a, uint##bits##_t b, bool c,      \
                                             uint32_t *fl)                                    \
    {                                                                                         \
        uint##bits##_t r = (uint##bits##_t)(a - b - c);                                       \
        bool cf = c ? a <= b : a < b;                                                         \
        *fl = fl_szp##bits(r) | (cf ? FL_CF : 0) | ((uint32_t)((a ^ b ^ r) >> 4 & 1) << 12) | \
              ((uint32_t)(((a ^ r) & (a ^ b)) >> (bits - 1)) & 1);                            \
        return r;                                                                             \
    }
ALU_DEFINE_C(8)
ALU_DEFINE_C(16)
ALU_DEFINE_C(32)
ALU_DEFINE_C(64)

#if defined(__x86_64__) && !defined(RHEA_PORTABLE_ALU)
#define ALU_ASM2(name, insn, bits)                                                        \
    static inline uint##bits##_t alu_##name##bits(uint##bits##_t a, uint##bits##_t b,     \
                                                  uint32_t *fl)                           \
    {                                                                                     \
        uint32_t f;                                                                       \
        __asm__(insn " %2, %0\n\tlahf\n\tseto %%al" : "+r"(a), "=&a"(f) : "r"(b) : "cc"); \
        *fl = f;                                                                          \
        return a;                                                                         \
    }
/* These take CF in, or keep it. */
#define ALU_ASM2C(name, insn, bits)                                                   \
    static inline uint##bits##_t alu_##name##bits(uint##bits##_t a, uint##bits##_t b, \
                                                  uint32_t *fl)                       \
    {                                                                                 \
        uint32_t f = *fl;                                                             \
        __asm__("btl $8, %1\n\t" insn " %2, %0\n\tlahf\n\tseto %%al"                  \
                : "+r"(a), "+&a"(f)                                                   \
                : "r"(b)                                                              \
                : "cc");                                                              \
        *fl = f;                                                                      \
        return a;                                                                     \
    }
#define ALU_ASM1C(name, insn, bits)                                                             \
    static inline uint##bits##_t alu_##name##bits(uint##bits##_t a, uint32_t *fl)               \
    {                                                                                           \
        uint32_t f = *fl;                                                                       \
        __asm__("btl $8, %1\n\t" insn " %0\n\tlahf\n\tseto %%al" : "+r"(a), "+&a"(f) : : "cc"); \
        *fl = f;                                                                                \
        return a;                                                                               \
    }
/* Shifts: AF is undefined after them; as the host has it. The count is not zero. */
#define ALU_ASMSH(name, insn, bits)                                                           \
    static inline uint##bits##_t alu_##name##bits(uint##bits##_t a, unsigned n, uint32_t *fl) \
    {                                                                                         \
        uint32_t f;                                                                           \
        __asm__(insn " %%cl, %0\n\tlahf\n\tseto %%al" : "+r"(a), "=&a"(f) : "c"(n) : "cc");   \
        *fl = f;                                                                              \
        return a;                                                                             \
    }
#define ALU_ASMRC(name, insn, bits)                                                           \
    static inline uint##bits##_t alu_##name##bits(uint##bits##_t a, unsigned n, uint32_t *fl) \
    {                                                                                         \
        uint32_t f = *fl, g;                                                                  \
        __asm__("btl $8, %2\n\t" insn " %%cl, %0\n\tlahf\n\tseto %%al"                        \
                : "+r"(a), "=&a"(g)                                                           \
                : "r"(f), "c"(n)                                                              \
                : "cc");                                                                      \
        /* Only CF and OF are affected; BT may have changed the others. */                    \
        *fl = (f & ~(FL_CF | FL_OF)) | (g & (FL_CF | FL_OF));                                 \
        return a;                                                                             \
    }
#define ALU_ASM_ALL(bits, s)      \
    ALU_ASM2(add, "add" s, bits)  \
    ALU_ASM2(or, "or" s, bits)    \
    ALU_ASM2(and, "and" s, bits)  \
    ALU_ASM2(sub, "sub" s, bits)  \
    ALU_ASM2(xor, "xor" s, bits)  \
    ALU_ASM2C(adc, "adc" s, bits) \
    ALU_ASM2C(sbb, "sbb" s, bits) \
    ALU_ASM1C(inc, "inc" s, bits) \
    ALU_ASM1C(dec, "dec" s, bits) \
    ALU_ASM1C(neg, "neg" s, bits) \
    ALU_ASMSH(shl, "shl" s, bits) \
    ALU_ASMSH(shr, "shr" s, bits) \
    ALU_ASMSH(sar, "sar" s, bits) \
    ALU_ASMRC(rol, "rol" s, bits) \
    ALU_ASMRC(ror, "ror" s, bits) \
    ALU_ASMRC(rcl, "rcl" s, bits) \
    ALU_ASMRC(rcr, "rcr" s, bits)
ALU_ASM_ALL(8, "b")
ALU_ASM_ALL(16, "w")
ALU_ASM_ALL(32, "l")
ALU_ASM_ALL(64, "q")
#else
#define ALU_C2(name, expr, bits)                                                      \
    static inline uint##bits##_t alu_##name##bits(uint##bits##_t a, uint##bits##_t b, \
                                                  uint32_t *fl)                       \
    {                                                                                 \
        expr;                                                                         \
    }
#define ALU_CLOGIC(name, o, bits)                                                     \
    static inline uint##bits##_t alu_##name##bits(uint##bits##_t a, uint##bits##_t b, \
                                                  uint32_t *fl)                       \
    {                                                                                 \
        uint##bits##_t r = a o b;                                                     \
        *fl = fl_szp##bits(r);                                                        \
        return r;                                                                     \
    }
#define ALU_C_SHIFTS(bits)                                                                     \
    static inline uint##bits##_t alu_shl##bits(uint##bits##_t a, unsigned n, uint32_t *fl)     \
    {                                                                                          \
        n &= bits == 64 ? 63 : 31;                                                             \
        uint##bits##_t r = n < bits ? (uint##bits##_t)(a << n) : 0;                            \
        bool cf = n <= bits && (a >> (bits - n) & 1);                                          \
        *fl = fl_szp##bits(r) | (cf ? FL_CF : 0) | (((r >> (bits - 1)) & 1) != cf);            \
        return r;                                                                              \
    }                                                                                          \
    static inline uint##bits##_t alu_shr##bits(uint##bits##_t a, unsigned n, uint32_t *fl)     \
    {                                                                                          \
        n &= bits == 64 ? 63 : 31;                                                             \
        uint##bits##_t r = n < bits ? (uint##bits##_t)(a >> n) : 0;                            \
        bool cf = n <= bits && (a >> (n - 1) & 1);                                             \
        *fl = fl_szp##bits(r) | (cf ? FL_CF : 0) | (n == 1 ? (uint32_t)(a >> (bits - 1)) : 0); \
        return r;                                                                              \
    }                                                                                          \
    static inline uint##bits##_t alu_sar##bits(uint##bits##_t a, unsigned n, uint32_t *fl)     \
    {                                                                                          \
        n &= bits == 64 ? 63 : 31;                                                             \
        int##bits##_t s = (int##bits##_t)a;                                                    \
        uint##bits##_t r = (uint##bits##_t)(s >> (n < bits ? n : bits - 1));                   \
        bool cf = s >> (n - 1 < bits ? n - 1 : bits - 1) & 1;                                  \
        *fl = fl_szp##bits(r) | (cf ? FL_CF : 0);                                              \
        return r;                                                                              \
    }                                                                                          \
    static inline uint##bits##_t alu_rol##bits(uint##bits##_t a, unsigned n, uint32_t *fl)     \
    {                                                                                          \
        n &= bits - 1;                                                                         \
        uint##bits##_t r = n ? (uint##bits##_t)(a << n | a >> (bits - n)) : a;                 \
        bool cf = r & 1;                                                                       \
        *fl = (*fl & ~(FL_CF | FL_OF)) | (cf ? FL_CF : 0) | ((r >> (bits - 1) & 1) != cf);     \
        return r;                                                                              \
    }                                                                                          \
    static inline uint##bits##_t alu_ror##bits(uint##bits##_t a, unsigned n, uint32_t *fl)     \
    {                                                                                          \
        n &= bits - 1;                                                                         \
        uint##bits##_t r = n ? (uint##bits##_t)(a >> n | a << (bits - n)) : a;                 \
        bool cf = r >> (bits - 1) & 1, next = r >> (bits - 2) & 1;                             \
        *fl = (*fl & ~(FL_CF | FL_OF)) | (cf ? FL_CF : 0) | (cf != next);                      \
        return r;                                                                              \
    }                                                                                          \
    static inline uint##bits##_t alu_rcl##bits(uint##bits##_t a, unsigned n, uint32_t *fl)     \
    {                                                                                          \
        bool cf = *fl & FL_CF;                                                                 \
        for (n = (n & (bits == 64 ? 63 : 31)) % (bits + 1); n; n--) {                          \
            bool out = a >> (bits - 1) & 1;                                                    \
            a = (uint##bits##_t)(a << 1 | cf);                                                 \
            cf = out;                                                                          \
        }                                                                                      \
        *fl = (*fl & ~(FL_CF | FL_OF)) | (cf ? FL_CF : 0) | ((a >> (bits - 1) & 1) != cf);     \
        return a;                                                                              \
    }                                                                                          \
    static inline uint##bits##_t alu_rcr##bits(uint##bits##_t a, unsigned n, uint32_t *fl)     \
    {                                                                                          \
        bool cf = *fl & FL_CF;                                                                 \
        for (n = (n & (bits == 64 ? 63 : 31)) % (bits + 1); n; n--) {                          \
            bool out = a & 1;                                                                  \
            a = (uint##bits##_t)(a >> 1 | (uint##bits##_t)cf << (bits - 1));                   \
            cf = out;                                                                          \
        }                                                                                      \
        *fl = (*fl & ~(FL_CF | FL_OF)) | (cf ? FL_CF : 0) |                                    \
              ((a >> (bits - 1) & 1) != (a >> (bits - 2) & 1));                                \
        return a;                                                                              \
    }
#define ALU_C1(name, expr, bits)                                                  \
    static inline uint##bits##_t alu_##name##bits(uint##bits##_t a, uint32_t *fl) \
    {                                                                             \
        uint32_t f;                                                               \
        uint##bits##_t r = expr;                                                  \
        *fl = (f & ~FL_CF) | (*fl & FL_CF);                                       \
        return r;                                                                 \
    }
#define ALU_C_ALL(bits)                                                        \
    ALU_C2(add, return c_adc##bits(a, b, false, fl), bits)                     \
    ALU_C2(adc, return c_adc##bits(a, b, *fl & FL_CF, fl), bits)               \
    ALU_C2(sub, return c_sbb##bits(a, b, false, fl), bits)                     \
    ALU_C2(sbb, return c_sbb##bits(a, b, *fl & FL_CF, fl), bits)               \
    ALU_CLOGIC(or, |, bits)                                                    \
    ALU_CLOGIC(and, &, bits)                                                   \
    ALU_CLOGIC(xor, ^, bits)                                                   \
    ALU_C1(inc, c_adc##bits(a, 1, false, &f), bits)                            \
    ALU_C1(dec, c_sbb##bits(a, 1, false, &f), bits)                            \
    static inline uint##bits##_t alu_neg##bits(uint##bits##_t a, uint32_t *fl) \
    {                                                                          \
        return c_sbb##bits(0, a, false, fl);                                   \
    }                                                                          \
    ALU_C_SHIFTS(bits)
ALU_C_ALL(8)
ALU_C_ALL(16)
ALU_C_ALL(32)
ALU_C_ALL(64)
#endif

#endif
