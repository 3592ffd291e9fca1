/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Integer instructions that are helper calls; SDM vol. 2 has each one's operation. */
#include "target/i386/tcg/int-helper.h"

#include "accel/tcg/interp.h"
#include "target/i386/tcg/helper.h"
#include "target/i386/tcg/svm.h"
#include "target/i386/tcg/translate.h"

static void set_flags(CPUX86 *cpu, uint64_t mask, uint64_t value)
{
    cpu->rflags = (cpu->rflags & ~mask) | (value & mask);
}

static uint64_t szp8(uint8_t v)
{
    return (v ? 0 : FLAG_ZF) | (v & 0x80 ? FLAG_SF : 0) |
           (__builtin_parity(v) ? 0 : (uint64_t)FLAG_PF);
}

static void set_al(CPUX86 *cpu, uint8_t v)
{
    cpu->regs[R_RAX] = (cpu->regs[R_RAX] & ~0xffull) | v;
}

static void set_ax(CPUX86 *cpu, uint16_t v)
{
    cpu->regs[R_RAX] = (cpu->regs[R_RAX] & ~0xffffull) | v;
}

/* ---- decimal ---- */

static bool decimal_adjust(CPUX86 *cpu, bool subtract)
{
    uint8_t al = (uint8_t)cpu->regs[R_RAX], old = al;
    bool cf = cpu->rflags & FLAG_CF, af = cpu->rflags & FLAG_AF, carry = false;
    if ((al & 15) > 9 || af) {
        carry = cf || (subtract ? old < 6 : old > 0xf9);
        al = (uint8_t)(subtract ? al - 6 : al + 6);
        af = true;
    }
    if (old > 0x99 || cf) {
        al = (uint8_t)(subtract ? al - 0x60 : al + 0x60);
        carry = true;
    } else if (!subtract) {
        carry = false;
    }
    set_al(cpu, al);
    set_flags(cpu, FLAGS_ARITH, szp8(al) | (af ? FLAG_AF : 0) | (carry ? FLAG_CF : 0));
    return true;
}

static bool h_daa(CPUX86 *cpu, const IrOp *op)
{
    return decimal_adjust(cpu, false);
}

static bool h_das(CPUX86 *cpu, const IrOp *op)
{
    return decimal_adjust(cpu, true);
}

static bool ascii_adjust(CPUX86 *cpu, int sign)
{
    uint16_t ax = (uint16_t)cpu->regs[R_RAX];
    bool adjust = (ax & 15) > 9 || (cpu->rflags & FLAG_AF);
    if (adjust) {
        ax = (uint16_t)(ax + sign * 0x106);
    }
    set_ax(cpu, ax & 0xff0f);
    set_flags(cpu, FLAGS_ARITH, szp8(ax & 15) | (adjust ? FLAG_AF | FLAG_CF : 0));
    return true;
}

static bool h_aaa(CPUX86 *cpu, const IrOp *op)
{
    return ascii_adjust(cpu, 1);
}

static bool h_aas(CPUX86 *cpu, const IrOp *op)
{
    return ascii_adjust(cpu, -1);
}

static bool h_aam(CPUX86 *cpu, const IrOp *op)
{
    uint8_t al = (uint8_t)cpu->regs[R_RAX], base = (uint8_t)op->disp;
    if (!base) {
        x86_raise(cpu, EXC_DE);
    }
    set_ax(cpu, (uint16_t)(al / base << 8 | al % base));
    set_flags(cpu, FLAGS_ARITH, szp8(al % base));
    return true;
}

static bool h_aad(CPUX86 *cpu, const IrOp *op)
{
    uint16_t ax = (uint16_t)cpu->regs[R_RAX];
    uint8_t al = (uint8_t)((ax & 0xff) + (ax >> 8) * (uint8_t)op->disp);
    set_ax(cpu, al);
    set_flags(cpu, FLAGS_ARITH, szp8(al));
    return true;
}

/* ---- CRC32, ADX ---- */

static bool h_crc32(CPUX86 *cpu, const IrOp *op)
{
    uint32_t crc = (uint32_t)*ir_reg(cpu, op->d);
    uint64_t v = *ir_reg(cpu, op->b);
    for (unsigned i = 0; i < op->size; i++) {
        crc ^= (uint8_t)(v >> (8 * i));
        for (unsigned bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
        }
    }
    *ir_reg(cpu, op->d) = crc;
    return true;
}

/* ---- the stack ---- */

static uint64_t sp_mask(const CPUX86 *cpu)
{
    unsigned n = cpu_stack_size(cpu);
    return n == 8 ? ~0ull : n == 4 ? 0xffffffffull : 0xffff;
}

static void set_sp(CPUX86 *cpu, uint64_t sp)
{
    uint64_t mask = sp_mask(cpu);
    if (mask == 0xffffffff) {
        cpu->regs[R_RSP] = (uint32_t)sp;
    } else {
        cpu->regs[R_RSP] = (cpu->regs[R_RSP] & ~mask) | (sp & mask);
    }
}

static bool h_pusha(CPUX86 *cpu, const IrOp *op)
{
    uint64_t sp = cpu->regs[R_RSP], mask = sp_mask(cpu);
    unsigned n = op->size;
    /* Written downwards; looking at the lowest first, no fault comes after a store. */
    mmu_probe(cpu, seg_linear(cpu, SEG_SS, (sp - 8 * n) & mask, n, true), n, true, mmu_mode(cpu));
    for (unsigned r = 0; r < 8; r++) {
        x86_st(cpu, SEG_SS, (sp - (r + 1) * n) & mask, n, r == R_RSP ? sp : cpu->regs[r]);
    }
    set_sp(cpu, sp - 8 * n);
    return true;
}

static bool h_popa(CPUX86 *cpu, const IrOp *op)
{
    uint64_t sp = cpu->regs[R_RSP], mask = sp_mask(cpu), v[8];
    unsigned n = op->size;
    for (unsigned i = 0; i < 8; i++) {
        v[i] = x86_ld(cpu, SEG_SS, (sp + i * n) & mask, n);
    }
    for (unsigned i = 0; i < 8; i++) {
        unsigned r = 7 - i;
        if (r != R_RSP) {
            cpu->regs[r] = n == 2 ? (cpu->regs[r] & ~0xffffull) | v[i] : v[i];
        }
    }
    set_sp(cpu, sp + 8 * n);
    return true;
}

static bool h_enter(CPUX86 *cpu, const IrOp *op)
{
    unsigned n = op->size, level = op->a & 31;
    uint64_t sp = cpu->regs[R_RSP], bp = cpu->regs[R_RBP], mask = sp_mask(cpu);
    uint64_t frame = sp - n;
    /* The last thing ENTER does is to touch the new stack top. */
    uint64_t end = frame - level * n - (uint16_t)op->disp;
    mmu_probe(cpu, seg_linear(cpu, SEG_SS, end & mask, n, true), n, true, mmu_mode(cpu));
    x86_st(cpu, SEG_SS, frame & mask, n, bp);
    for (unsigned i = 1; i < level; i++) {
        uint64_t v = x86_ld(cpu, SEG_SS, (bp - i * n) & mask, n);
        x86_st(cpu, SEG_SS, (frame - i * n) & mask, n, v);
    }
    if (level) {
        x86_st(cpu, SEG_SS, (frame - level * n) & mask, n, frame);
    }
    uint64_t bp_mask = n == 8 ? ~0ull : n == 4 ? 0xffffffffull : 0xffff;
    cpu->regs[R_RBP] = n == 2 ? (bp & ~0xffffull) | (frame & 0xffff) : frame & bp_mask & mask;
    set_sp(cpu, end);
    return true;
}

static bool h_pushf(CPUX86 *cpu, const IrOp *op)
{
    svm_note(cpu, op_next_rip(cpu, op));
    uint64_t v = helper_pushf(cpu, op->size), sp = cpu->regs[R_RSP] - op->size;
    x86_st(cpu, SEG_SS, sp & sp_mask(cpu), op->size, v);
    set_sp(cpu, sp);
    return true;
}

static bool h_popf(CPUX86 *cpu, const IrOp *op)
{
    uint64_t sp = cpu->regs[R_RSP];
    unsigned stack = cpu_stack_size(cpu); /* before the flags (VM) could change */
    svm_note(cpu, op_next_rip(cpu, op));
    uint64_t v = x86_ld(cpu, SEG_SS, sp & sp_mask(cpu), op->size);
    helper_popf(cpu, v, op->size);
    sp += op->size;
    if (stack == 2) {
        cpu->regs[R_RSP] = (cpu->regs[R_RSP] & ~0xffffull) | (sp & 0xffff);
    } else {
        cpu->regs[R_RSP] = stack == 4 ? (uint32_t)sp : sp;
    }
    return true;
}

/* ---- BOUND, CMPXCHG8B ---- */

static bool h_bound(CPUX86 *cpu, const IrOp *op)
{
    unsigned n = op->size, shift = 64 - 8 * n;
    uint64_t ea = ir_offset(cpu, op);
    uint64_t next = op->flags & IRF_A16 ? (uint16_t)(ea + n) : (uint32_t)(ea + n);
    int64_t lower = (int64_t)(x86_ld(cpu, op->seg, ea, n) << shift) >> shift;
    int64_t upper = (int64_t)(x86_ld(cpu, op->seg, next, n) << shift) >> shift;
    int64_t index = (int64_t)(*ir_reg(cpu, op->a) << shift) >> shift;
    if (index < lower || index > upper) {
        svm_note(cpu, op_next_rip(cpu, op));
        x86_raise(cpu, EXC_BR);
    }
    return true;
}

static void put_pair(CPUX86 *cpu, unsigned size, uint64_t lo, uint64_t hi)
{
    cpu->regs[R_RAX] = size == 8 ? lo : (uint32_t)lo;
    cpu->regs[R_RDX] = size == 8 ? hi : (uint32_t)hi;
}

static bool cmpxchg8b(CPUX86 *cpu, uint64_t *host)
{
    uint64_t want = (uint32_t)cpu->regs[R_RAX] | cpu->regs[R_RDX] << 32;
    uint64_t value = (uint32_t)cpu->regs[R_RBX] | cpu->regs[R_RCX] << 32;
    bool ok =
        __atomic_compare_exchange_n(host, &want, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    if (!ok) {
        put_pair(cpu, 4, want, want >> 32);
    }
    return ok;
}

/* Where there is no host pointer (or no 16-byte atomic): alone in the world. */
static bool cmpxchg_exclusive(CPUX86 *cpu, uint64_t lin, unsigned half, MmuMode mode)
{
    uint64_t v[2] = {0}, mask = half == 8 ? ~0ull : 0xffffffffull;
    mmu_probe(cpu, lin, 2 * half, true, mode);
    mmu_exclusive_begin(cpu);
    for (unsigned i = 0; i < 2; i++) {
        v[i] = half == 8 ? mmu_ld64(cpu, lin + 8 * i, mode) : mmu_ld32(cpu, lin + 4 * i, mode);
    }
    bool ok = v[0] == (cpu->regs[R_RAX] & mask) && v[1] == (cpu->regs[R_RDX] & mask);
    uint64_t n[2] = {ok ? cpu->regs[R_RBX] : v[0], ok ? cpu->regs[R_RCX] : v[1]};
    for (unsigned i = 0; i < 2; i++) {
        if (half == 8) {
            mmu_st64(cpu, lin + 8 * i, n[i], mode);
        } else {
            mmu_st32(cpu, lin + 4 * i, (uint32_t)n[i], mode);
        }
    }
    mmu_exclusive_end(cpu);
    if (!ok) {
        put_pair(cpu, half, v[0], v[1]);
    }
    return ok;
}

#ifdef __x86_64__
static bool cmpxchg16b(CPUX86 *cpu, void *host)
{
    bool ok;
    uint64_t lo = cpu->regs[R_RAX], hi = cpu->regs[R_RDX];
    __asm__ volatile("lock cmpxchg16b %1\n\tsete %0"
                     : "=q"(ok), "+m"(*(unsigned __int128 *)host), "+a"(lo), "+d"(hi)
                     : "b"(cpu->regs[R_RBX]), "c"(cpu->regs[R_RCX])
                     : "cc", "memory");
    if (!ok) {
        put_pair(cpu, 8, lo, hi);
    }
    return ok;
}
#endif

static bool h_cmpxchg8(CPUX86 *cpu, const IrOp *op)
{
    unsigned half = op->size;
    uint64_t lin = tcg_op_linear(cpu, op, 2 * half, true);
    MmuMode mode = mmu_mode(cpu);
    bool ok;
    if (half == 8 && (lin & 15)) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    tcg_check_address(cpu, op, lin, 2 * half);
    x86_check_align(cpu, lin, 2 * half);
    void *host = mmu_atomic_ptr(cpu, lin, 2 * half, mode);
    if (host && half == 4) {
        ok = cmpxchg8b(cpu, host);
#ifdef __x86_64__
    } else if (host) {
        ok = cmpxchg16b(cpu, host);
#endif
    } else {
        ok = cmpxchg_exclusive(cpu, lin, half, mode);
    }
    set_flags(cpu, FLAG_ZF, ok ? FLAG_ZF : 0);
    return true;
}

#define DEFINE(id, function, eff) \
    const IrHelper int_##id = {.name = #id, .fn = (function), .effects = (eff)}
#define REGS_FLAGS (HE_RFLAGS | HE_WFLAGS | HE_RREGS | HE_WREGS)
DEFINE(daa, h_daa, REGS_FLAGS);
DEFINE(das, h_das, REGS_FLAGS);
DEFINE(aaa, h_aaa, REGS_FLAGS);
DEFINE(aas, h_aas, REGS_FLAGS);
DEFINE(aam, h_aam, HE_ANY);
DEFINE(aad, h_aad, REGS_FLAGS);
DEFINE(crc32, h_crc32, 0);
DEFINE(pusha, h_pusha, HE_ANY);
DEFINE(popa, h_popa, HE_ANY);
DEFINE(enter, h_enter, HE_ANY);
DEFINE(pushf, h_pushf, HE_ANY);
DEFINE(popf, h_popf, HE_ANY);
DEFINE(bound, h_bound, HE_ANY);
DEFINE(cmpxchg8, h_cmpxchg8, HE_ANY);
