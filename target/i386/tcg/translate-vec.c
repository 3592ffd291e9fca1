/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x87, MMX and SSE: one generic translation each; decode.h says what a row means. */
#include "accel/tcg/interp.h"
#include "target/i386/tcg/helper.h"
#include "target/i386/tcg/translate.h"

static bool h_no_sse(CPUX86 *cpu, const IrOp *op)
{
    x86_raise(cpu, (cpu->cr0 & CR0_EM) || !(cpu->cr4 & CR4_OSFXSR) ? EXC_UD : EXC_NM);
}
HELPER(v_no_sse, "no_sse", h_no_sse, HE_ANY);

#define VHELPER_EFFECTS(id, eff, call)              \
    static bool h_##id(CPUX86 *cpu, const IrOp *op) \
    {                                               \
        call;                                       \
        return true;                                \
    }                                               \
    HELPER(v_##id, #id, h_##id, (eff));
#define VHELPER(id, call) VHELPER_EFFECTS(id, HE_ANY, call)
VHELPER(check_mmx, x87_check_mmx(cpu))
VHELPER(enter_mmx, x87_enter_mmx(cpu))
VHELPER_EFFECTS(wait, HE_ANY | HE_FWAIT, x87_wait(cpu))
VHELPER(emms, helper_emms(cpu))
VHELPER_EFFECTS(x87, HE_ANY | HE_X87,
                x87_insn(cpu, op->b, op->a, op->seg, ir_offset(cpu, op), op->size))
VHELPER(fxsave, helper_fxsave(cpu, op->seg, ir_offset(cpu, op), op->d))
VHELPER(fxrstor, helper_fxrstor(cpu, op->seg, ir_offset(cpu, op), op->d))
VHELPER(xsave, helper_xsave(cpu, op->seg, ir_offset(cpu, op), op->d, (XsaveKind)op->a))
VHELPER(xrstor, helper_xrstor(cpu, op->seg, ir_offset(cpu, op), op->d, (XsaveKind)op->a))
VHELPER(ldmxcsr, helper_ldmxcsr(cpu, (uint32_t)*ir_reg(cpu, op->a)))
VHELPER(get_mxcsr, *ir_reg(cpu, op->d) = cpu->mxcsr)

/* MASKMOVQ, MASKMOVDQU: a data, b mask; only the bytes asked for are touched. */
static bool h_maskmov(CPUX86 *cpu, const IrOp *op)
{
    uint8_t data[16], mask[16];
    if (op->size == 8) {
        memcpy(data, &cpu->x87.r[op->a].mant, 8);
        memcpy(mask, &cpu->x87.r[op->b].mant, 8);
    } else {
        memcpy(data, &cpu->vec[op->a], 16);
        memcpy(mask, &cpu->vec[op->b], 16);
    }
    uint64_t ea = ir_offset(cpu, op);
    if (cpu->hflags & HF_ALIGN_CHECK) {
        x86_check_align(cpu, seg_linear(cpu, op->seg, ea, 1, true), 8);
    }
    for (int pass = 0; pass < 2; pass++) { /* first look, then write */
        for (unsigned i = 0; i < op->size; i++) {
            uint64_t off = ea + i;
            if (!(mask[i] & 0x80)) {
                continue;
            }
            off = op->flags & IRF_A16 ? (uint16_t)off : op->flags & IRF_A32 ? (uint32_t)off : off;
            uint64_t lin = seg_linear(cpu, op->seg, off, 1, true);
            if (pass == 0) {
                mmu_probe(cpu, lin, 1, true, mmu_mode(cpu));
            } else {
                mmu_st8(cpu, lin, data[i], mmu_mode(cpu));
            }
        }
    }
    return true;
}
HELPER(v_maskmov, "maskmov", h_maskmov, HE_ANY);

/* Faults as the store that follows would. */
static bool h_probe_store(CPUX86 *cpu, const IrOp *op)
{
    uint64_t lin = tcg_op_linear(cpu, op, op->size, true);
    tcg_check_address(cpu, op, lin, op->size);
    x86_check_align(cpu, lin, op->size);
    mmu_probe(cpu, lin, op->size, true, mmu_mode(cpu));
    return true;
}
HELPER(v_probe_store, "probe_store", h_probe_store, HE_ANY);

static IrOp *with_memory(Translator *t, const IrHelper *h)
{
    MemRef m = tr_mem(t);
    IrOp *o = tr_call(t, h);
    tr_set_mem(o, &m);
    return o;
}

/* ---- vector rows ---- */

typedef struct VecInsn {
    bool mmx, sse;
    unsigned sources;     /* operands after the destination that are no immediates */
    unsigned src[2];      /* their vector registers */
    unsigned dst;         /* destination's vector register */
    bool dst_is_register; /* V or P */
} VecInsn;

static bool form_is_mmx(uint16_t o)
{
    OperandForm f = OPERAND_FORM(o);
    return f == OF_P || f == OF_Q || f == OF_N;
}

static bool form_is_sse(uint16_t o)
{
    OperandForm f = OPERAND_FORM(o);
    return f == OF_V || f == OF_W || f == OF_U || f == OF_H;
}

bool tr_sse_state(Translator *t)
{
    if (t->flags & HF_SSE_OK) {
        return true;
    }
    (void)tr_call(t, &v_no_sse);
    tr_exit(t);
    return false;
}

/* Entry checks; false if the instruction can only fault. */
static bool check_state(Translator *t, VecInsn *v)
{
    for (unsigned i = 0; i < 4; i++) {
        v->mmx |= form_is_mmx(t->in->row->operand[i]);
        v->sse |= form_is_sse(t->in->row->operand[i]);
    }
    if (t->in->row->flags & RF_NOSTATE) {
        return true;
    }
    if (t->in->vex) {
        return tr_avx_state(t);
    }
    if (v->sse && !tr_sse_state(t)) {
        return false;
    }
    if (v->mmx) {
        (void)tr_call(t, &v_check_mmx);
    }
    return true;
}

/* #GP or #AC for a misaligned operand. */
static void check_alignment(Translator *t, const Operand *o, const MemRef *m)
{
    if (o->aligned) {
        tr_align(t, o->size, m);
    } else if ((t->flags & HF_ALIGN_CHECK) && (o->size & (o->size - 1)) == 0 && o->size > 1 &&
               o->size <= 32) {
        tr_set_mem(tr_emit(t, IR_ALIGN, MIN(o->size, 16u)), m); /* halves of 32 bytes count */
    }
}

static void load_vector(Translator *t, const Operand *o, unsigned d)
{
    MemRef m = tr_mem(t);
    check_alignment(t, o, &m);
    IrOp *op = tr_emit(t, IR_VLD, o->size);
    op->d = (uint8_t)d;
    tr_set_mem(op, &m);
}

static void store_vector(Translator *t, const Operand *o, unsigned a)
{
    MemRef m = tr_mem(t);
    check_alignment(t, o, &m);
    IrOp *op = tr_emit(t, IR_VST, o->size);
    op->a = (uint8_t)a;
    tr_set_mem(op, &m);
}

static IrOp *vec_move(Translator *t, IrOpcode code, unsigned size, unsigned d, unsigned a)
{
    IrOp *o = tr_emit(t, code, size);
    o->d = (uint8_t)d;
    o->a = (uint8_t)a;
    return o;
}

/* Operand i as a vector register; memory operands are loaded to `tmp`. */
static unsigned vec_source(Translator *t, unsigned i, unsigned tmp)
{
    const Operand *o = &t->in->operand[i];
    switch (o->kind) {
    case OK_VEC:
        return o->reg;
    case OK_MMX:
        (void)vec_move(t, IR_VFROMM, 8, tmp, o->reg);
        return tmp;
    case OK_REG:
        (void)vec_move(t, IR_VFROMG, o->size, tmp, o->reg);
        return tmp;
    default:
        load_vector(t, o, tmp);
        return tmp;
    }
}

static void put_result(Translator *t, unsigned v)
{
    const Operand *dst = &t->in->operand[0];
    switch (dst->kind) {
    case OK_MMX:
        (void)vec_move(t, IR_MFROMV, 8, dst->reg, v);
        break;
    case OK_REG:
        (void)vec_move(t, IR_GFROMV, dst->size == 8 ? 8 : 4, dst->reg, v);
        break;
    case OK_MEM:
        store_vector(t, dst, v);
        break;
    default:
        break;
    }
}

/* Memory first (it may fault), then the change to MMX state, then registers. */
static void enter_mmx(Translator *t, const VecInsn *v)
{
    if (v->mmx) {
        (void)tr_call(t, &v_enter_mmx);
    }
}

/* A VEX form has written `size` bytes (16 at least) of vector d. */
static void finish_vex(Translator *t, unsigned d, unsigned size)
{
    if (t->in->vex) {
        tr_clear_upper(t, d, MAX(size, 16u));
    }
}

static void plain_move(Translator *t, const VecInsn *v)
{
    const Operand *dst = &t->in->operand[0], *src = &t->in->operand[1];
    if (src->kind == OK_MEM && dst->kind == OK_VEC) {
        load_vector(t, src, dst->reg);
        finish_vex(t, dst->reg, src->size);
        enter_mmx(t, v);
        return;
    }
    unsigned s = vec_source(t, 1, IR_VT1);
    if (dst->kind == OK_MEM) {
        put_result(t, s);
        enter_mmx(t, v);
        return;
    }
    enter_mmx(t, v);
    if (dst->kind == OK_VEC) {
        unsigned size = MIN(dst->size, src->size);
        (void)vec_move(t, IR_VMOV, size, dst->reg, s);
        finish_vex(t, dst->reg, size);
    } else {
        put_result(t, s);
    }
}

static unsigned count_sources(const DecodedInsn *in)
{
    unsigned n = 0;
    for (unsigned i = 1; i < 4; i++) {
        if (in->operand[i].kind != OK_NONE && in->operand[i].kind != OK_IMM &&
            OPERAND_FORM(in->row->operand[i]) != OF_L) {
            n++;
        }
    }
    return n;
}

/* How the instruction is encoded, for back ends that emit it again. */
static void note_encoding(const DecodedInsn *in, bool mmx, IrOp *o)
{
    static const uint8_t map_of[] = {[MAP_0F] = 1,
                                     [MAP_0F38] = 2,
                                     [MAP_0F3A] = 3,
                                     [MAP_VEX_0F] = IR_ENC_VEX | 1,
                                     [MAP_VEX_0F38] = IR_ENC_VEX | 2,
                                     [MAP_VEX_0F3A] = IR_ENC_VEX | 3};
    OperandForm dst = OPERAND_FORM(in->row->operand[0]);
    o->base = in->opcode;
    o->index = map_of[in->map];
    o->scale = in->row->pfx & PFX_66   ? 1
               : in->row->pfx & PFX_F3 ? 2
               : in->row->pfx & PFX_F2 ? 3
                                       : 0;
    o->seg = in->row->reg1 ? in->row->reg1 - 1u : IR_ENC_NO_GROUP;
    for (unsigned i = 1; i < 4; i++) {
        OperandForm f = OPERAND_FORM(in->row->operand[i]);
        o->index |= in->operand[i].kind == OK_IMM || f == OF_L ? IR_ENC_IMM8 : 0;
        o->index |= f == OF_H ? IR_ENC_VVVV : 0;
        o->disp |= f == OF_L ? IR_ENC2_IS4 : 0;
    }
    bool avx2 = in->vex_l && in->row->flags & RF_256_AVX2;
    o->disp |= (int32_t)((uint32_t)(avx2 ? F_AVX2 : in->row->feature) << 16);
    o->disp |= in->row->flags & RF_DSRC ? IR_ENC2_DSRC : 0;
    o->disp |= in->row->flags & (RF_GPR | RF_XMM0) ? IR_ENC2_FIXED : 0;
    o->index |= mmx ? IR_ENC_MMX : 0;
    o->index |= in->operand[0].kind == OK_REG || in->operand[0].kind == OK_MEM ? IR_ENC_GDST : 0;
    bool store =
        dst == OF_W || dst == OF_E || dst == OF_R || dst == OF_M || (dst == OF_U && !in->row->reg1);
    o->index |= store ? IR_ENC_STORE : 0;
}

static void call_function(Translator *t, const VecInsn *v)
{
    const DecodedInsn *in = t->in;
    const Operand *dst = &in->operand[0];
    unsigned n = count_sources(in), s = IR_VT1, d = dst->reg, a;
    if (n) {
        s = vec_source(t, n, IR_VT1);
    }
    bool late = dst->kind == OK_MEM;
    if (late && (in->row->flags & RF_PROBE)) {
        with_memory(t, &v_probe_store)->size = dst->size;
    }
    if (!late) {
        enter_mmx(t, v);
    }
    if (dst->kind == OK_VEC) {
        bool vvvv = OPERAND_FORM(in->row->operand[0]) == OF_H; /* shifts by an immediate */
        a = n == 2 ? vec_source(t, 1, IR_VT2) : vvvv ? s : d;
    } else if (dst->kind == OK_MMX) {
        d = IR_VT0;
        (void)vec_move(t, IR_VFROMM, 8, d, dst->reg);
        a = d;
    } else {
        d = IR_VT0;
        (void)vec_move(t, IR_VFROMG, 8, d, IR_ZERO);
        a = s;
    }
    IrOp *o = tr_emit(t, IR_SIMD, v->mmx && !v->sse ? 8 : in->vlen == 8 ? 16 : in->vlen);
    o->imm = (int64_t)(intptr_t)in->row->fn;
    o->d = (uint8_t)d;
    o->a = (uint8_t)a;
    o->b = (uint8_t)(n ? s : d);
    o->flags = in->rex & REX_W || in->row->flags & RF_W1 ? IRF_WRITE : 0;
    note_encoding(in, v->mmx, o);
    o->sub = in->vex && !(o->index & IR_ENC_IMM8) ? in->row->arg : (uint8_t)in->imm;
    if (in->row->flags & RF_FLAGS) {
        o->fdef = FS_ALL;
    } else if (dst->kind == OK_VEC) {
        finish_vex(t, d, dst->size);
    }
    if (in->row->flags & RF_XMM0) {
        finish_vex(t, 0, 16);
    }
    put_result(t, d);
    if (late) {
        enter_mmx(t, v);
    }
}

static void vector(Translator *t)
{
    VecInsn v = {0};
    if (!check_state(t, &v)) {
        return;
    }
    if (t->in->row->fn) {
        call_function(t, &v);
    } else {
        plain_move(t, &v);
    }
}

static void mask_move(Translator *t)
{
    VecInsn v = {0};
    if (!check_state(t, &v)) {
        return;
    }
    enter_mmx(t, &v); /* stays so when the memory faults */
    IrOp *o = with_memory(t, &v_maskmov);
    o->size = v.mmx ? 8 : 16;
    o->a = t->in->operand[1].reg;
    o->b = t->in->operand[2].reg;
}

/* ---- x87 and state ---- */

/* Whether exceptions are masked, or one is pending, is part of a block's key. */
static bool changes_x87_key(const DecodedInsn *in)
{
    unsigned esc = in->opcode & 7, reg = in->modrm >> 3 & 7;
    if (in->mod == 3) {
        return esc == 3 && reg == 4; /* FNCLEX, FNINIT */
    }
    return (esc == 1 && (reg == 4 || reg == 5)) || (esc == 5 && (reg == 4 || reg == 6));
}

static void x87(Translator *t)
{
    IrOp *o;
    if (t->in->mod != 3) {
        o = with_memory(t, &v_x87);
    } else {
        o = tr_call(t, &v_x87);
    }
    o->a = t->in->modrm;
    o->b = t->in->opcode & 7;
    if (changes_x87_key(t->in)) {
        tr_exit_next(t);
    }
}

static void mxcsr(Translator *t)
{
    IrOp *o;
    unsigned a;
    if (t->in->vex ? !tr_avx_state(t) : !tr_sse_state(t)) {
        return;
    }
    if (t->in->op == OP_LDMXCSR) {
        a = tr_get(t, 0, IR_T0);
        tr_call(t, &v_ldmxcsr)->a = (uint8_t)a;
        tr_exit_next(t); /* whether exceptions are masked is part of a block's key */
    } else {
        o = tr_call(t, &v_get_mxcsr);
        o->d = IR_T0;
        tr_put(t, 0, IR_T0);
    }
}

static void save_area(Translator *t, const IrHelper *h, XsaveKind kind)
{
    IrOp *o = with_memory(t, h);
    o->d = (t->in->rex & REX_W) != 0;
    o->a = (uint8_t)kind;
}

/* These load MXCSR, which is part of a block's key. */
static void restore_area(Translator *t, const IrHelper *h, XsaveKind kind)
{
    save_area(t, h, kind);
    tr_exit_next(t);
}

bool tr_vector(Translator *t)
{
    switch (t->in->op) {
    case OP_SIMD:
        vector(t);
        return true;
    case OP_MASKMOV:
        mask_move(t);
        return true;
    case OP_X87:
        x87(t);
        return true;
    case OP_FWAIT:
        (void)tr_call(t, &v_wait);
        return true;
    case OP_EMMS:
        (void)tr_call(t, &v_emms);
        return true;
    case OP_LDMXCSR:
    case OP_STMXCSR:
        mxcsr(t);
        return true;
    case OP_FXSAVE:
        save_area(t, &v_fxsave, XSAVE);
        return true;
    case OP_FXRSTOR:
        restore_area(t, &v_fxrstor, XSAVE);
        return true;
    case OP_XSAVE:
        save_area(t, &v_xsave, XSAVE);
        return true;
    case OP_XSAVEOPT:
        save_area(t, &v_xsave, XSAVEOPT);
        return true;
    case OP_XSAVEC:
        save_area(t, &v_xsave, XSAVEC);
        return true;
    case OP_XSAVES:
        save_area(t, &v_xsave, XSAVES);
        return true;
    case OP_XRSTOR:
        restore_area(t, &v_xrstor, XSAVE);
        return true;
    case OP_XRSTORS:
        restore_area(t, &v_xrstor, XSAVES);
        return true;
    default:
        return false;
    }
}
