/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * accel/tcg/jit-asm.h: an assembler for x86-64, as far as the JIT needs one.
 *
 * Instructions are appended to a buffer at its writable address; everything is
 * position-independent within the buffer, so it runs at the executable one.  A full
 * buffer sets `full` and swallows what follows; the caller looks once at the end.
 * Encodings: SDM vol. 2, chapter 2 and appendix A.
 */
#ifndef RHEA_ACCEL_TCG_JIT_ASM_H
#define RHEA_ACCEL_TCG_JIT_ASM_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    H_RAX,
    H_RCX,
    H_RDX,
    H_RBX,
    H_RSP,
    H_RBP,
    H_RSI,
    H_RDI,
    H_R8,
    H_R9,
    H_R10,
    H_R11,
    H_R12,
    H_R13,
    H_R14,
    H_R15,
    H_NONE = 0xff,
};

typedef struct Asm {
    uint8_t *p, *end;
    bool full;
} Asm;

/* A register, or memory at base + index * 2^scale + disp. */
typedef struct Opnd {
    bool mem;
    uint8_t base; /* the register itself if !mem; H_NONE: none */
    uint8_t index, scale;
    int32_t disp;
} Opnd;

static inline Opnd asm_reg(unsigned r)
{
    return (Opnd){.base = (uint8_t)r, .index = H_NONE};
}
static inline Opnd asm_mem(unsigned base, int32_t disp)
{
    return (Opnd){.mem = true, .base = (uint8_t)base, .index = H_NONE, .disp = disp};
}
static inline Opnd asm_mem_x(unsigned base, unsigned index, unsigned scale, int32_t disp)
{
    return (Opnd){.mem = true,
                  .base = (uint8_t)base,
                  .index = (uint8_t)index,
                  .scale = (uint8_t)scale,
                  .disp = disp};
}

static inline void asm_8(Asm *a, unsigned v)
{
    if (a->p < a->end) {
        *a->p++ = (uint8_t)v;
    } else {
        a->full = true;
    }
}
static inline void asm_bytes(Asm *a, const void *data, unsigned n)
{
    if ((unsigned long)(a->end - a->p) >= n) {
        memcpy(a->p, data, n);
        a->p += n;
    } else {
        a->full = true;
    }
}
static inline void asm_32(Asm *a, uint32_t v)
{
    asm_bytes(a, &v, 4);
}
static inline void asm_64(Asm *a, uint64_t v)
{
    asm_bytes(a, &v, 8);
}

/* Opcode maps in asm_rm()'s `op`. */
#define OP_0F 0x0f00u
#define OP_0F38 0x0f3800u
#define OP_0F3A 0x0f3a00u
/* The reg (rm) operand is an 8-bit register: SPL to DIL need a REX prefix. */
#define ASM_BYTE_REG 1u
#define ASM_BYTE_RM 2u

static inline void asm_opcode(Asm *a, unsigned op)
{
    if (op >> 16) {
        asm_8(a, op >> 16);
    }
    if (op >> 8) {
        asm_8(a, op >> 8);
    }
    asm_8(a, op);
}

static inline void asm_modrm(Asm *a, unsigned reg, Opnd rm)
{
    unsigned r = (reg & 7) << 3;
    if (!rm.mem) {
        asm_8(a, 0xc0 | r | (rm.base & 7));
        return;
    }
    if (rm.base == H_NONE) { /* index * scale + disp32, or disp32 */
        unsigned index = rm.index == H_NONE ? 4 : rm.index & 7u;
        asm_8(a, r | 4);
        asm_8(a, (unsigned)rm.scale << 6 | index << 3 | 5);
        asm_32(a, (uint32_t)rm.disp);
        return;
    }
    bool sib = rm.index != H_NONE || (rm.base & 7) == H_RSP;
    unsigned mod = rm.disp == 0 && (rm.base & 7) != H_RBP ? 0 : rm.disp == (int8_t)rm.disp ? 1 : 2;
    asm_8(a, mod << 6 | r | (sib ? 4 : rm.base & 7u));
    if (sib) {
        unsigned index = rm.index == H_NONE ? 4 : rm.index & 7u;
        asm_8(a, (unsigned)rm.scale << 6 | index << 3 | (rm.base & 7));
    }
    if (mod == 1) {
        asm_8(a, (uint32_t)rm.disp & 0xff);
    } else if (mod == 2) {
        asm_32(a, (uint32_t)rm.disp);
    }
}

static inline unsigned asm_rex(unsigned size, unsigned reg, Opnd rm)
{
    unsigned rex = size == 8 ? 8 : 0;
    rex |= reg >= 8 && reg != H_NONE ? 4 : 0;
    rex |= rm.mem && rm.index != H_NONE && rm.index >= 8 ? 2 : 0;
    rex |= rm.base != H_NONE && rm.base >= 8 ? 1 : 0;
    return rex;
}

/* prefix (66, F2, F3 or 0), REX, opcode, ModRM. `size` only chooses REX.W. */
static inline void asm_rm_prefix(Asm *a, unsigned prefix, unsigned size, unsigned bytes,
                                 unsigned op, unsigned reg, Opnd rm)
{
    unsigned rex = asm_rex(size, reg, rm);
    bool need =
        ((bytes & ASM_BYTE_REG) && reg >= 4) || ((bytes & ASM_BYTE_RM) && !rm.mem && rm.base >= 4);
    if (prefix) {
        asm_8(a, prefix);
    }
    if (rex || need) {
        asm_8(a, 0x40 | rex);
    }
    asm_opcode(a, op);
    asm_modrm(a, reg, rm);
}

/* A general instruction of operand size 1, 2, 4 or 8; `op` is the opcode for that size. */
static inline void asm_rm(Asm *a, unsigned size, unsigned op, unsigned reg, Opnd rm)
{
    asm_rm_prefix(a, size == 2 ? 0x66 : 0, size, size == 1 ? ASM_BYTE_REG | ASM_BYTE_RM : 0, op,
                  reg, rm);
}
/* The same where ModRM.reg is an opcode extension. */
static inline void asm_ext(Asm *a, unsigned size, unsigned op, unsigned ext, Opnd rm)
{
    asm_rm_prefix(a, size == 2 ? 0x66 : 0, size, size == 1 ? ASM_BYTE_RM : 0, op, ext, rm);
}

static inline unsigned asm_width(unsigned size, unsigned op8)
{
    return size == 1 ? op8 : op8 | 1;
}

/* dst (register) = src, `size` bytes. */
static inline void asm_load(Asm *a, unsigned size, unsigned dst, Opnd src)
{
    asm_rm(a, size, asm_width(size, 0x8a), dst, src);
}
static inline void asm_store(Asm *a, unsigned size, Opnd dst, unsigned src)
{
    asm_rm(a, size, asm_width(size, 0x88), src, dst);
}
static inline void asm_mov(Asm *a, unsigned size, unsigned dst, unsigned src)
{
    if (dst != src || size == 4) {
        asm_load(a, size, dst, asm_reg(src));
    }
}
/* Zero-extends from 1, 2, 4 bytes to 64; 8 is a plain move. */
static inline void asm_movzx(Asm *a, unsigned size, unsigned dst, Opnd src)
{
    if (size >= 4) {
        asm_rm(a, size, 0x8b, dst, src);
    } else {
        asm_rm_prefix(a, 0, 4, size == 1 ? ASM_BYTE_RM : 0, OP_0F | (size == 1 ? 0xb6 : 0xb7), dst,
                      src);
    }
}
/* Sign-extends from `from` to `to` bytes (2, 4, 8; 4 zero-extends further). */
static inline void asm_movsx(Asm *a, unsigned to, unsigned from, unsigned dst, Opnd src)
{
    if (from == to) {
        asm_rm(a, to, 0x8b, dst, src);
    } else {
        unsigned op = from == 1 ? OP_0F | 0xbe : from == 2 ? OP_0F | 0xbf : 0x63;
        asm_rm_prefix(a, to == 2 ? 0x66 : 0, to, from == 1 ? ASM_BYTE_RM : 0, op, dst, src);
    }
}
static inline void asm_lea(Asm *a, unsigned size, unsigned dst, Opnd m)
{
    asm_rm_prefix(a, 0, size, 0, 0x8d, dst, m);
}
/* dst = imm, 64 bits; never touches flags. */
static inline void asm_movi(Asm *a, unsigned dst, uint64_t imm)
{
    if (imm <= UINT32_MAX) {
        if (dst >= 8) {
            asm_8(a, 0x41);
        }
        asm_8(a, 0xb8 | (dst & 7));
        asm_32(a, (uint32_t)imm);
    } else if ((uint64_t)(int64_t)(int32_t)imm == imm) {
        asm_rm(a, 8, 0xc7, 0, asm_reg(dst));
        asm_32(a, (uint32_t)imm);
    } else {
        asm_8(a, 0x48 | (dst >= 8));
        asm_8(a, 0xb8 | (dst & 7));
        asm_64(a, imm);
    }
}
static inline bool asm_is_imm32(int64_t v)
{
    return v == (int32_t)v;
}
/* dst = imm in place; imm must fit 32 bits sign-extended when size is 8. */
static inline void asm_store_imm(Asm *a, unsigned size, Opnd dst, int64_t imm)
{
    asm_ext(a, size, asm_width(size, 0xc6), 0, dst);
    if (size == 1) {
        asm_8(a, (uint32_t)imm & 0xff);
    } else if (size == 2) {
        asm_8(a, (uint32_t)imm & 0xff);
        asm_8(a, (uint32_t)imm >> 8 & 0xff);
    } else {
        asm_32(a, (uint32_t)imm);
    }
}
/* Arithmetic in the order of opcodes: 0 ADD 1 OR 2 ADC 3 SBB 4 AND 5 SUB 6 XOR 7 CMP. */
static inline void asm_alu_load(Asm *a, unsigned k, unsigned size, unsigned reg, Opnd rm)
{
    asm_rm(a, size, k << 3 | asm_width(size, 2), reg, rm);
}
static inline void asm_alu_store(Asm *a, unsigned k, unsigned size, Opnd rm, unsigned reg)
{
    asm_rm(a, size, k << 3 | asm_width(size, 0), reg, rm);
}
static inline void asm_alu_imm(Asm *a, unsigned k, unsigned size, Opnd rm, int64_t imm)
{
    if (size == 1) {
        asm_ext(a, 1, 0x80, k, rm);
        asm_8(a, (uint32_t)imm & 0xff);
    } else if (imm == (int8_t)imm) {
        asm_ext(a, size, 0x83, k, rm);
        asm_8(a, (uint32_t)imm & 0xff);
    } else {
        asm_ext(a, size, 0x81, k, rm);
        if (size == 2) {
            asm_8(a, (uint32_t)imm & 0xff);
            asm_8(a, (uint32_t)imm >> 8 & 0xff);
        } else {
            asm_32(a, (uint32_t)imm);
        }
    }
}
static inline void asm_shift_imm(Asm *a, unsigned k, unsigned size, Opnd rm, unsigned n)
{
    asm_ext(a, size, asm_width(size, 0xc0), k, rm);
    asm_8(a, n);
}

/* ---- control ---- */

/* Returns where the 32-bit displacement lies, for asm_patch(). */
static inline uint8_t *asm_jmp(Asm *a)
{
    asm_8(a, 0xe9);
    asm_32(a, 0);
    return a->p - 4;
}
static inline uint8_t *asm_jcc(Asm *a, unsigned cc)
{
    asm_8(a, 0x0f);
    asm_8(a, 0x80 | cc);
    asm_32(a, 0);
    return a->p - 4;
}
static inline void asm_patch(const Asm *a, uint8_t *at, const uint8_t *target)
{
    if (!a->full) {
        int32_t d = (int32_t)(target - (at + 4));
        memcpy(at, &d, 4);
    }
}
static inline void asm_here(Asm *a, uint8_t *at)
{
    asm_patch(a, at, a->p);
}
static inline void asm_jmp_to(Asm *a, const uint8_t *target)
{
    asm_patch(a, asm_jmp(a), target);
}
static inline void asm_jcc_to(Asm *a, unsigned cc, const uint8_t *target)
{
    asm_patch(a, asm_jcc(a, cc), target);
}
static inline void asm_call_to(Asm *a, const uint8_t *target)
{
    asm_8(a, 0xe8);
    asm_32(a, 0);
    asm_patch(a, a->p - 4, target);
}
/* So that the 32-bit displacement `skip` bytes from here can be changed atomically. */
static inline void asm_align_disp(Asm *a, unsigned skip)
{
    static const uint8_t nops[4][3] = {{0}, {0x90}, {0x66, 0x90}, {0x0f, 0x1f, 0x00}};
    unsigned n = (unsigned)(-((uintptr_t)a->p + skip)) & 3;
    asm_bytes(a, nops[n], n);
}

enum {
    CC_O,
    CC_NO,
    CC_B,
    CC_AE,
    CC_E,
    CC_NE,
    CC_BE,
    CC_A,
    CC_S,
    CC_NS,
    CC_P,
    CC_NP,
    CC_L,
    CC_GE,
    CC_LE,
    CC_G
};

#endif
