/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target/i386/tcg/x87.h: what the x87*.c and xsave.c files share: the stack, the status
 * word, and one instruction's context.  SDM vol. 1 chapter 8.
 *
 * ORDER: a handler makes its memory accesses (which may raise) before it changes any
 * state, so that a fault leaves the instruction undone.
 */
#ifndef RHEA_TARGET_I386_TCG_X87_H
#define RHEA_TARGET_I386_TCG_X87_H

#include "target/i386/tcg/helper.h"
#include "target/i386/tcg/softfloat.h"

#define SW_SF 0x0040u /* stack fault; IE is set too */
#define SW_ES 0x0080u /* an unmasked exception is pending */
#define SW_C0 0x0100u
#define SW_C1 0x0200u
#define SW_C2 0x0400u
#define SW_TOP_SHIFT 11
#define SW_TOP 0x3800u
#define SW_C3 0x4000u
#define SW_B 0x8000u /* follows ES since the 387 */
#define SW_CC (SW_C0 | SW_C1 | SW_C2 | SW_C3)
#define CW_MASKS 0x3fu
#define CW_INIT 0x37fu

typedef struct X87Op {
    CPUX86 *cpu;
    X87 *fp;
    FpEnv env;
    uint64_t ea;
    uint8_t esc, modrm, seg, opsize;
} X87Op;

typedef void X87Fn(X87Op *o);

static inline unsigned x87_phys(const X87 *fp, unsigned i)
{
    return (fp->top + i) & 7;
}
static inline bool x87_empty(const X87 *fp, unsigned i)
{
    return fp->empty >> x87_phys(fp, i) & 1;
}
static inline Float80 x87_st(const X87 *fp, unsigned i)
{
    /* Member by member: the whole was not stored in one piece. */
    const Float80 *r = &fp->r[x87_phys(fp, i)];
    return (Float80){r->mant, r->exp};
}
static inline Fp x87_fp(const X87 *fp, unsigned i)
{
    return fp_from80(x87_st(fp, i));
}
/* Writes ST(i) and marks it in use. */
static inline void x87_set(X87 *fp, unsigned i, Float80 v)
{
    unsigned n = x87_phys(fp, i);
    fp->r[n].mant = v.mant;
    fp->r[n].exp = v.exp;
    fp->empty &= (uint8_t) ~(1u << n);
}
static inline void x87_push(X87 *fp, Float80 v)
{
    fp->top = (fp->top - 1) & 7;
    x87_set(fp, 0, v);
}
static inline void x87_pop(X87 *fp)
{
    fp->empty |= (uint8_t)(1u << fp->top);
    fp->top = (fp->top + 1) & 7;
}
static inline uint16_t x87_sw(const X87 *fp)
{
    return (uint16_t)((fp->sw & ~SW_TOP) | fp->top << SW_TOP_SHIFT);
}
static inline void x87_cc(X87 *fp, unsigned mask, unsigned value)
{
    fp->sw = (uint16_t)((fp->sw & ~mask) | value);
}
static inline Float80 x87_indefinite(void)
{
    return fp_pack80(fp_default_nan());
}

/* Derives ES, B and `pending` from the flags and masks; lowers FERR# when all is clear. */
void x87_update_es(CPUX86 *cpu);
/* Replaces control, status and tags; `empty` as in X87. */
void x87_load_control(CPUX86 *cpu, uint16_t cw, uint16_t sw, uint8_t empty);
void x87_init(CPUX86 *cpu); /* FNINIT */
/*
 * Takes what the arithmetic left in o->env into the status word, C1 included. False: an
 * unmasked operand exception (IE, DE, ZE), so the result is not to be stored.
 */
bool x87_commit(X87Op *o);
/* Is ST(i) empty? Then reports the stack underflow; *store: masked, store an indefinite. */
bool x87_underflow(X87Op *o, bool empty, bool *store);
/* Room for a push? If not, reports the overflow; a masked one pushes an indefinite. */
bool x87_can_push(X87Op *o);

/* The full tag word (two bits each). */
uint16_t x87_tag_word(const X87 *fp);

/* The instructions: memory forms by [esc][reg], NULL where undefined. */
extern X87Fn *const x87_mem_ops[8][8];
X87Fn x87_fldenv, x87_fldcw, x87_fnstenv, x87_fnstcw, x87_frstor, x87_fnsave, x87_fnstsw;
/* Common to memory and register forms: the formula of `reg` (not compares) on a and b. */
Float80 x87_formula(FpEnv *env, unsigned reg, Fp a, Fp b);
/* Compares into C3 C2 C0. */
bool x87_compare(X87Op *o, Fp a, Fp b, bool quiet);
/* Transcendental and friends (x87_trans.c, x87_trig.c). */
X87Fn x87_f2xm1, x87_fyl2x, x87_fptan, x87_fpatan, x87_fyl2xp1, x87_fsincos, x87_fsin, x87_fcos;

#endif
