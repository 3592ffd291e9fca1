/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small extensions: SSE4A's bit fields, CLZERO, direct stores. */
#include "target/i386/tcg/helper.h"
#include "target/i386/tcg/translate.h"

#define LINE 64u

/* ---- SSE4A (APM vol. 4, EXTRQ, INSERTQ) ---- */

typedef struct BitField {
    unsigned start;
    uint64_t mask; /* of its width, at bit 0 */
} BitField;

/* `v`: the width in bits 5:0 (0: 64), where it starts in bits 13:8. */
static BitField field_of(uint64_t v)
{
    unsigned len = v & 63;
    return (BitField){v >> 8 & 63, len ? (1ull << len) - 1 : ~0ull};
}

/* d, a: vector registers; disp: the immediate, or -1: the field is described in a. */
static bool h_extrq(CPUX86 *cpu, const IrOp *op)
{
    Vec *d = &cpu->vec[op->d];
    BitField f = field_of(op->disp < 0 ? cpu->vec[op->a].u64[0] : (uint64_t)op->disp);
    d->u64[0] = d->u64[0] >> f.start & f.mask;
    d->u64[1] = 0;
    return true;
}
HELPER(e_extrq, "extrq", h_extrq, HE_ANY);

static bool h_insertq(CPUX86 *cpu, const IrOp *op)
{
    Vec *d = &cpu->vec[op->d];
    const Vec *a = &cpu->vec[op->a];
    BitField f = field_of(op->disp < 0 ? a->u64[1] : (uint64_t)op->disp);
    d->u64[0] = (d->u64[0] & ~(f.mask << f.start)) | (a->u64[0] & f.mask) << f.start;
    d->u64[1] = 0;
    return true;
}
HELPER(e_insertq, "insertq", h_insertq, HE_ANY);

static void bit_field(Translator *t, const IrHelper *h)
{
    const DecodedInsn *in = t->in;
    unsigned n = 1; /* the immediate's operand, if there is one */
    if (!tr_sse_state(t)) {
        return;
    }
    while (n < 4 && in->operand[n].kind != OK_IMM) {
        n++;
    }
    IrOp *o = tr_call(t, h);
    o->d = in->operand[0].reg;
    o->a = in->operand[1].kind == OK_VEC ? in->operand[1].reg : 0;
    o->disp = n < 4 ? (int32_t)(in->imm & 0xffff) : -1;
}

/* ---- whole lines ---- */

/* CLZERO: the line at the memory operand's address, wherever in it that is. */
static bool h_clzero(CPUX86 *cpu, const IrOp *op)
{
    static const uint8_t zeros[LINE];
    uint64_t lin = seg_linear(cpu, op->seg, ir_offset(cpu, op), 1, true) & ~(uint64_t)(LINE - 1);
    mmu_st_bytes(cpu, lin, zeros, LINE, mmu_mode(cpu));
    return true;
}
HELPER(e_clzero, "clzero", h_clzero, HE_ANY);

static void clear_line(Translator *t)
{
    MemRef m = tr_mem(t);
    m.base = R_RAX;
    tr_set_mem(tr_call(t, &e_clzero), &m);
}

/* MOVDIR64B: 64 bytes from the memory operand to ES:a, which must be aligned. */
static bool h_movdir64b(CPUX86 *cpu, const IrOp *op)
{
    uint8_t line[LINE];
    uint64_t to = *ir_reg(cpu, op->a);
    to = op->flags & IRF_A32 ? (uint32_t)to : op->flags & IRF_A16 ? (uint16_t)to : to;
    uint64_t lin = seg_linear(cpu, SEG_ES, to, LINE, true);
    if (lin & (LINE - 1)) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    x86_ld_bytes(cpu, op->seg, ir_offset(cpu, op), line, LINE);
    mmu_st_bytes(cpu, lin, line, LINE, mmu_mode(cpu));
    return true;
}
HELPER(e_movdir64b, "movdir64b", h_movdir64b, HE_ANY);

static void direct_store(Translator *t)
{
    MemRef m = tr_mem(t);
    IrOp *o = tr_call(t, &e_movdir64b);
    tr_set_mem(o, &m);
    o->a = t->in->reg;
}

bool tr_extension(Translator *t)
{
    switch (t->in->op) {
    case OP_EXTRQ:
        bit_field(t, &e_extrq);
        return true;
    case OP_INSERTQ:
        bit_field(t, &e_insertq);
        return true;
    case OP_CLZERO:
        clear_line(t);
        return true;
    case OP_MOVDIR64B:
        direct_store(t);
        return true;
    default:
        return false;
    }
}
