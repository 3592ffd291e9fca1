/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shifts, bit tests and scans, conditions, decimal arithmetic, CRC32. */
#include "target/i386/tcg/int-helper.h"
#include "target/i386/tcg/translate.h"

/* Applies `op` to operand 0 in place; fill in the rest of the operation by the result. */
typedef struct InPlace {
    MemRef m;
    unsigned d;
    bool mem, high;
} InPlace;

static InPlace begin_in_place(Translator *t)
{
    const Operand *dst = &t->in->operand[0];
    InPlace p = {.mem = dst->kind == OK_MEM, .high = dst->high};
    if (p.mem) {
        p.m = tr_mem(t);
        p.d = IR_T0;
        tr_load(t, dst->size, IR_T0, &p.m, true);
    } else {
        p.d = tr_get(t, 0, IR_T0);
    }
    return p;
}

static void end_in_place(Translator *t, const InPlace *p)
{
    if (p->mem) {
        tr_store(t, t->in->operand[0].size, p->d, &p->m);
    } else if (p->high) {
        tr_put(t, 0, p->d);
    }
}

static void shift(Translator *t, IrOpcode op, unsigned count_operand)
{
    const Operand *dst = &t->in->operand[0], *count = &t->in->operand[count_operand];
    bool imm = count->kind == OK_IMM;
    unsigned n = (unsigned)t->in->imm & (dst->size == 8 ? 63 : 31);
    InPlace p = begin_in_place(t);
    if (imm && n == 0) {
        if (!p.mem && dst->size == 4) {
            tr_mov(t, 4, p.d, p.d);
        }
        return;
    }
    IrOp *o = imm ? tr_op2i(t, op, dst->size, p.d, n) : tr_op2(t, op, dst->size, p.d, R_RCX);
    if (count_operand == 2) {
        o->a = t->in->operand[1].reg;
    }
    if (imm) {
        o->fuse = op == IR_RCL || op == IR_RCR ? FS_CF : 0;
    }
    end_in_place(t, &p);
}

/* The bit string in memory that BT's register operand indexes reaches beyond the operand. */
static MemRef bit_string(Translator *t, unsigned offset_reg)
{
    MemRef m = tr_mem(t);
    IrOp *o = tr_emit(t, IR_BITOFS, t->in->operand[0].size);
    o->d = IR_T4;
    o->a = (uint8_t)offset_reg;
    tr_lea(t, 8, IR_T5, &m);
    m.base = IR_T5;
    m.index = IR_T4;
    m.scale = 0;
    m.disp = 0;
    return m;
}

static void bit_test(Translator *t, IrOpcode op, IrAtomic kind)
{
    const Operand *dst = &t->in->operand[0], *src = &t->in->operand[1];
    bool imm = src->kind == OK_IMM;
    if (dst->kind != OK_MEM) {
        IrOp *o = imm ? tr_op2i(t, op, dst->size, dst->reg, (int64_t)t->in->imm)
                      : tr_op2(t, op, dst->size, dst->reg, src->reg);
        o->fdef = FS_CF;
        return;
    }
    MemRef m = imm ? tr_mem(t) : bit_string(t, src->reg);
    IrOp *o;
    if (t->in->lock) {
        tr_align_check(t, dst->size, &m);
        o = tr_emit(t, IR_ATOMIC, dst->size);
        o->sub = (uint8_t)kind;
        o->d = IR_T0;
        o->b = src->reg;
        o->imm = (int64_t)t->in->imm;
        o->flags = imm ? IRF_IMM : 0;
        o->fdef = FS_CF;
        tr_set_mem(o, &m);
        return;
    }
    tr_load(t, dst->size, IR_T0, &m, op != IR_BT);
    if (imm) {
        (void)tr_op2i(t, op, dst->size, IR_T0, (int64_t)t->in->imm);
    } else {
        (void)tr_op2(t, op, dst->size, IR_T0, src->reg);
    }
    if (op != IR_BT) {
        tr_store(t, dst->size, IR_T0, &m);
    }
}

static void scan(Translator *t, IrOpcode op)
{
    unsigned b = tr_get(t, 1, IR_T0);
    (void)tr_op2(t, op, t->in->operand[0].size, t->in->operand[0].reg, b);
}

static void set_condition(Translator *t)
{
    const Operand *dst = &t->in->operand[0];
    bool direct = dst->kind == OK_REG && !dst->high;
    IrOp *o = tr_emit(t, IR_SETCC, 1);
    o->d = direct ? dst->reg : IR_T0;
    o->sub = t->in->row->arg;
    if (!direct) {
        tr_put(t, 0, IR_T0);
    }
}

static void move_condition(Translator *t)
{
    unsigned b = tr_get(t, 1, IR_T0);
    IrOp *o = tr_op2(t, IR_CMOV, t->in->operand[0].size, t->in->operand[0].reg, b);
    o->sub = t->in->row->arg;
}

static void crc32(Translator *t)
{
    unsigned b = tr_get(t, 1, IR_T0);
    IrOp *o = tr_call(t, &int_crc32);
    o->d = t->in->operand[0].reg;
    o->b = (uint8_t)b;
    o->size = t->in->operand[1].size;
}

static void add_carry_x(Translator *t)
{
    unsigned b = tr_get(t, 1, IR_T0);
    (void)tr_op2(t, t->in->op == OP_ADOX ? IR_ADOX : IR_ADCX, t->in->operand[0].size,
                 t->in->operand[0].reg, b);
}

/* BMI: operation's a is VEX.vvvv, b is r/m, whatever their order in the instruction. */
static void bmi(Translator *t)
{
    const DecodedInsn *in = t->in;
    unsigned rm = 0;
    for (unsigned i = 1; i < 3; i++) {
        OperandForm f = OPERAND_FORM(in->row->operand[i]);
        rm = f == OF_E ? i : rm;
    }
    unsigned b = tr_get(t, rm, IR_T0);
    IrOp *o = tr_op2(t, (IrOpcode)(IR_ANDN + (in->op - OP_ANDN)), in->operand[0].size,
                     in->operand[0].reg, b);
    o->a = in->vvvv;
    if (in->op == OP_RORX) {
        o->imm = (int64_t)in->imm;
        o->flags = IRF_IMM;
    }
}

static bool decimal(Translator *t)
{
    const IrHelper *h;
    switch (t->in->op) {
    case OP_DAA:
        h = &int_daa;
        break;
    case OP_DAS:
        h = &int_das;
        break;
    case OP_AAA:
        h = &int_aaa;
        break;
    case OP_AAS:
        h = &int_aas;
        break;
    case OP_AAM:
        h = &int_aam;
        break;
    case OP_AAD:
        h = &int_aad;
        break;
    default:
        return false;
    }
    tr_call(t, h)->disp = (int32_t)t->in->imm;
    return true;
}

bool tr_bits(Translator *t)
{
    switch (t->in->op) {
    case OP_ROL:
    case OP_ROR:
    case OP_RCL:
    case OP_RCR:
    case OP_SHL:
    case OP_SHR:
    case OP_SAL:
    case OP_SAR:
        shift(t, (IrOpcode)(IR_ROL + (t->in->op - OP_ROL)), 1);
        return true;
    case OP_SHLD:
        shift(t, IR_SHLD, 2);
        return true;
    case OP_SHRD:
        shift(t, IR_SHRD, 2);
        return true;
    case OP_BT:
        bit_test(t, IR_BT, AT_BTS);
        return true;
    case OP_BTS:
        bit_test(t, IR_BTS, AT_BTS);
        return true;
    case OP_BTR:
        bit_test(t, IR_BTR, AT_BTR);
        return true;
    case OP_BTC:
        bit_test(t, IR_BTC, AT_BTC);
        return true;
    case OP_BSF:
    case OP_BSR:
    case OP_TZCNT:
    case OP_LZCNT:
    case OP_POPCNT:
        scan(t, (IrOpcode)(IR_BSF + (t->in->op - OP_BSF)));
        return true;
    case OP_SETCC:
        set_condition(t);
        return true;
    case OP_CMOV:
        move_condition(t);
        return true;
    case OP_CRC32:
        crc32(t);
        return true;
    case OP_ADCX:
    case OP_ADOX:
        add_carry_x(t);
        return true;
    case OP_ANDN:
    case OP_BLSR:
    case OP_BLSMSK:
    case OP_BLSI:
    case OP_BEXTR:
    case OP_BZHI:
    case OP_PDEP:
    case OP_PEXT:
    case OP_MULX:
    case OP_RORX:
    case OP_SHLX:
    case OP_SHRX:
    case OP_SARX:
        bmi(t);
        return true;
    default:
        return decimal(t);
    }
}
