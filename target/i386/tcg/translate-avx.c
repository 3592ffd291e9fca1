/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VEX-encoded instructions that are more than a function of vectors: gathers, masked moves. */
#include "target/i386/tcg/helper.h"
#include "target/i386/tcg/translate.h"

static bool h_no_avx(CPUX86 *cpu, const IrOp *op)
{
    bool enabled = (cpu->cr4 & CR4_OSXSAVE) && (cpu->xcr0 & 6) == 6;
    x86_raise(cpu, enabled ? EXC_NM : EXC_UD);
}
HELPER(v_no_avx, "no_avx", h_no_avx, HE_ANY);

bool tr_avx_state(Translator *t)
{
    if (t->flags & HF_AVX_OK) {
        return true;
    }
    (void)tr_call(t, &v_no_avx);
    tr_exit(t);
    return false;
}

void tr_clear_upper(Translator *t, unsigned d, unsigned size)
{
    if (size < 32) {
        IrOp *o = tr_emit(t, IR_VZERO, size);
        o->d = (uint8_t)d;
        o->a = 1;
    }
}

static uint64_t wrap(const IrOp *op, uint64_t ea)
{
    return op->flags & IRF_A32 ? (uint32_t)ea : op->flags & IRF_A16 ? (uint16_t)ea : ea;
}

/* The CPU's segment checks, which flat operands do without. */
static uint64_t linear(CPUX86 *cpu, const IrOp *op, uint64_t ea, unsigned size, bool write)
{
    return seg_linear(cpu, op->seg, wrap(op, ea), size, write);
}

/* Does the mask want element i? */
static bool asked(const Vec *mask, unsigned i, unsigned size)
{
    return size == 8 ? mask->i64[i] < 0 : mask->i32[i] < 0;
}

/* ---- gathers ---- */

/* IrOp.size: the vector length. IrOp.b: the index register and these. */
#define GATHER_B_DATA64 0x80u
#define GATHER_B_INDEX64 0x40u
#define GATHER_B_REG 0x1fu

/*
 * d: destination, a: mask.  An element that faults leaves those before it done: they are
 * in the destination and their masks are clear; the others' masks stay as they are.
 */
static void gather_elements(CPUX86 *cpu, const IrOp *op, volatile unsigned *done)
{
    unsigned data = op->b & GATHER_B_DATA64 ? 8 : 4, wide = op->b & GATHER_B_INDEX64 ? 8 : 4;
    unsigned n = op->size / (data > wide ? data : wide);
    Vec *dst = &cpu->vec[op->d], *mask = &cpu->vec[op->a];
    const Vec *index = &cpu->vec[op->b & GATHER_B_REG];
    uint64_t base = *ir_reg(cpu, op->base) + (uint64_t)(int64_t)op->disp;

    for (unsigned i = 0; i < n; i++) {
        bool wanted = asked(mask, i, data);
        uint64_t lin = 0;
        if (wanted) {
            int64_t x = wide == 8 ? index->i64[i] : index->i32[i];
            lin = linear(cpu, op, base + ((uint64_t)x << op->scale), data, false);
        }
        if (data == 8) {
            dst->u64[i] = wanted ? mmu_ld64(cpu, lin, mmu_mode(cpu)) : dst->u64[i];
            mask->u64[i] = 0;
        } else {
            dst->u32[i] = wanted ? mmu_ld32(cpu, lin, mmu_mode(cpu)) : dst->u32[i];
            mask->u32[i] = 0;
        }
        *done += wanted;
    }
    memset(mask, 0, sizeof(*mask));
    memset(dst->u8 + n * data, 0, sizeof(*dst) - n * data);
}

/*
 * With TF set, a fault after some elements gives way to the trap of what was done: it comes
 * at the instruction itself, which then goes on from there.
 */
static void gather_stepped(CPUX86 *cpu, const IrOp *op)
{
    sigjmp_buf *outer = cpu->unwind, here;
    volatile uint64_t cr2 = cpu->cr2;
    volatile unsigned done = 0;
    if (!sigsetjmp(here, 0)) {
        cpu->unwind = &here;
        gather_elements(cpu, op, &done);
        cpu->unwind = outer;
        return;
    }
    cpu->unwind = outer;
    if (done) {
        cpu->cr2 = cr2;
        x86_single_step(cpu, true);
    }
    siglongjmp(*outer, 1);
}

static bool h_gather(CPUX86 *cpu, const IrOp *op)
{
    if (cpu->rflags & FLAG_TF) {
        gather_stepped(cpu, op);
    } else {
        volatile unsigned done = 0;
        gather_elements(cpu, op, &done);
    }
    return true;
}
HELPER(v_gather, "gather", h_gather, HE_ANY);

static void gather(Translator *t)
{
    const DecodedInsn *in = t->in;
    unsigned d = in->operand[0].reg, mask = in->operand[2].reg, index = in->index & GATHER_B_REG;
    if (d == mask || d == index || mask == index) {
        tr_trap(t, EXC_UD);
        return;
    }
    if (!tr_avx_state(t)) {
        return;
    }
    MemRef m = tr_mem(t);
    m.index = IR_ZERO;
    IrOp *o = tr_call(t, &v_gather);
    tr_set_mem(o, &m);
    o->size = in->vlen;
    o->d = (uint8_t)d;
    o->a = (uint8_t)mask;
    o->b = (uint8_t)(index | (in->row->arg & GATHER_DATA64 ? GATHER_B_DATA64 : 0) |
                     (in->row->arg & GATHER_INDEX64 ? GATHER_B_INDEX64 : 0));
}

/* ---- masked moves: only the elements asked for are touched ---- */

#define VMASK_B_DATA64 0x80u

/* d = memory under mask a. */
static bool h_vmask_load(CPUX86 *cpu, const IrOp *op)
{
    unsigned size = op->b & VMASK_B_DATA64 ? 8 : 4;
    uint64_t ea = ir_offset(cpu, op);
    Vec r = {{0}};
    for (unsigned i = 0; i < op->size / size; i++) {
        if (asked(&cpu->vec[op->a], i, size)) {
            uint64_t lin = linear(cpu, op, ea + i * size, size, false);
            if (size == 8) {
                r.u64[i] = mmu_ld64(cpu, lin, mmu_mode(cpu));
            } else {
                r.u32[i] = mmu_ld32(cpu, lin, mmu_mode(cpu));
            }
        }
    }
    cpu->vec[op->d] = r;
    return true;
}
HELPER(v_vmask_load, "vmask_load", h_vmask_load, HE_ANY);

/* Memory = d under mask a. */
static bool h_vmask_store(CPUX86 *cpu, const IrOp *op)
{
    unsigned size = op->b & VMASK_B_DATA64 ? 8 : 4;
    uint64_t ea = ir_offset(cpu, op);
    const Vec *v = &cpu->vec[op->d];
    for (int pass = 0; pass < 2; pass++) { /* first look, then write */
        for (unsigned i = 0; i < op->size / size; i++) {
            if (!asked(&cpu->vec[op->a], i, size)) {
                continue;
            }
            uint64_t lin = linear(cpu, op, ea + i * size, size, true);
            if (pass == 0) {
                mmu_probe(cpu, lin, size, true, mmu_mode(cpu));
            } else if (size == 8) {
                mmu_st64(cpu, lin, v->u64[i], mmu_mode(cpu));
            } else {
                mmu_st32(cpu, lin, v->u32[i], mmu_mode(cpu));
            }
        }
    }
    return true;
}
HELPER(v_vmask_store, "vmask_store", h_vmask_store, HE_ANY);

static void masked_move(Translator *t)
{
    const DecodedInsn *in = t->in;
    bool store = in->operand[0].kind == OK_MEM;
    if (!tr_avx_state(t)) {
        return;
    }
    MemRef m = tr_mem(t);
    IrOp *o = tr_call(t, store ? &v_vmask_store : &v_vmask_load);
    tr_set_mem(o, &m);
    o->size = in->vlen;
    o->a = in->operand[1].reg;
    o->d = in->operand[store ? 2 : 0].reg;
    o->b = in->row->arg == 8 ? VMASK_B_DATA64 : 0;
}

/* VZEROUPPER, VZEROALL: of the registers that the mode can name. */
static void zero_registers(Translator *t)
{
    if (!tr_avx_state(t)) {
        return;
    }
    IrOp *o = tr_emit(t, IR_VZERO, t->in->row->arg);
    o->d = 0;
    o->a = tr_is64(t) ? 16 : 8;
}

bool tr_avx(Translator *t)
{
    switch (t->in->op) {
    case OP_GATHER:
        gather(t);
        return true;
    case OP_VMASK:
        masked_move(t);
        return true;
    case OP_VZERO:
        zero_registers(t);
        return true;
    default:
        return false;
    }
}
