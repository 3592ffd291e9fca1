/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Moves and two-operand arithmetic. */
#include "target/i386/tcg/translate.h"

static unsigned size0(const Translator *t)
{
    return t->in->operand[0].size;
}

static int64_t imm_of(const Translator *t)
{
    return (int64_t)t->in->imm;
}

/* One two-address operation on a register or temporary. */
static void arith(Translator *t, IrOpcode op, unsigned d, unsigned src, bool imm)
{
    if (imm) {
        (void)tr_op2i(t, op, size0(t), d, imm_of(t));
    } else {
        (void)tr_op2(t, op, size0(t), d, src);
    }
}

static void locked(Translator *t, IrAtomic kind, unsigned d, unsigned src, bool imm)
{
    MemRef m = tr_mem(t);
    tr_align_check(t, size0(t), &m);
    IrOp *o = tr_emit(t, IR_ATOMIC, size0(t));
    o->sub = (uint8_t)kind;
    o->d = (uint8_t)d;
    o->b = (uint8_t)src;
    if (imm) {
        o->imm = imm_of(t);
        o->flags = IRF_IMM;
    }
    if (kind != AT_NOT && kind != AT_XCHG) {
        o->fdef = kind == AT_BTS || kind == AT_BTR || kind == AT_BTC ? FS_CF : FS_ALL;
    }
    tr_set_mem(o, &m);
}

/* ADD … CMP, TEST. */
static void two_operands(Translator *t, IrOpcode op)
{
    const Operand *dst = &t->in->operand[0], *src = &t->in->operand[1];
    bool imm = src->kind == OK_IMM, compare = op == IR_CMP || op == IR_TEST;
    if (t->in->lock) {
        unsigned r = imm ? 0 : tr_get(t, 1, IR_T1);
        locked(t, (IrAtomic)(AT_ADD + (op - IR_ADD)), IR_T0, r, imm);
        return;
    }
    if (dst->kind == OK_MEM) {
        MemRef m = tr_mem(t);
        unsigned r = imm ? 0 : tr_get(t, 1, IR_T1);
        tr_load(t, dst->size, IR_T0, &m, !compare);
        arith(t, op, IR_T0, r, imm);
        if (!compare) {
            tr_store(t, dst->size, IR_T0, &m);
        }
        return;
    }
    unsigned r = imm ? 0 : tr_get(t, 1, IR_T1);
    unsigned d = tr_get(t, 0, IR_T0);
    arith(t, op, d, r, imm);
    if (dst->high && !compare) {
        tr_put(t, 0, d);
    }
}

/* INC DEC NEG NOT. */
static void one_operand(Translator *t, IrOpcode op, IrAtomic kind)
{
    const Operand *dst = &t->in->operand[0];
    if (t->in->lock) {
        locked(t, kind, IR_T0, IR_ZERO, false);
    } else if (dst->kind == OK_MEM) {
        MemRef m = tr_mem(t);
        tr_load(t, dst->size, IR_T0, &m, true);
        (void)tr_op2(t, op, dst->size, IR_T0, 0);
        tr_store(t, dst->size, IR_T0, &m);
    } else {
        unsigned d = tr_get(t, 0, IR_T0);
        (void)tr_op2(t, op, dst->size, d, 0);
        if (dst->high) {
            tr_put(t, 0, d);
        }
    }
}

static void move(Translator *t)
{
    const Operand *dst = &t->in->operand[0], *src = &t->in->operand[1];
    if (dst->kind == OK_MEM) {
        if (src->kind == OK_IMM) {
            MemRef m = tr_mem(t);
            tr_store(t, dst->size, 0, &m);
            IrOp *o = &t->ops[t->n - 1];
            o->flags |= IRF_IMM;
            o->imm = imm_of(t);
        } else {
            tr_put(t, 0, tr_get(t, 1, IR_T0));
        }
        return;
    }
    if (src->kind == OK_IMM && !dst->high) {
        tr_movi(t, dst->size, dst->reg, t->in->imm);
    } else if (src->kind == OK_MEM && dst->size >= 4) {
        MemRef m = tr_mem(t);
        tr_load(t, dst->size, dst->reg, &m, false);
    } else {
        tr_put(t, 0, tr_get(t, 1, IR_T0));
    }
}

/* MOVZX, MOVSX, MOVSXD. */
static void extend(Translator *t, bool sign)
{
    const Operand *dst = &t->in->operand[0], *src = &t->in->operand[1];
    unsigned d = dst->size == 2 ? IR_T0 : dst->reg;
    if (src->size >= dst->size) { /* MOVSXD without REX.W */
        tr_mov(t, dst->size, dst->reg, tr_get(t, 1, IR_T0));
        return;
    }
    if (src->kind == OK_MEM && (!sign || dst->size > 2)) {
        MemRef m = tr_mem(t);
        tr_load(t, src->size, d, &m, false);
        if (sign) {
            IrOp *o = &t->ops[t->n - 1];
            o->op = IR_LDSX;
            o->sub = dst->size;
        }
    } else {
        unsigned r = tr_get(t, 1, IR_T1);
        IrOp *o = tr_emit(t, sign ? IR_MOVSX : IR_MOVZX, sign ? dst->size : src->size);
        o->d = (uint8_t)d;
        o->a = (uint8_t)r;
        o->sub = src->size;
    }
    if (dst->size == 2) {
        tr_mov(t, 2, dst->reg, IR_T0);
    }
}

static void exchange(Translator *t)
{
    const Operand *dst = &t->in->operand[0], *src = &t->in->operand[1];
    unsigned a = tr_get(t, 1, IR_T1);
    if (dst->kind == OK_MEM) {
        locked(t, AT_XCHG, IR_T0, a, false);
        tr_put(t, 1, IR_T0);
        return;
    }
    if (dst->reg == src->reg && dst->high == src->high) {
        /* 90 is NOP even in 64-bit mode; others of 32 bits still zero-extend. */
        if (t->in->opcode != 0x90 && dst->size == 4) {
            tr_mov(t, 4, dst->reg, dst->reg);
        }
        return;
    }
    unsigned b = tr_get(t, 0, IR_T0);
    tr_mov(t, 8, IR_T2, a);
    tr_mov(t, 8, IR_T3, b);
    tr_put(t, 0, IR_T2);
    tr_put(t, 1, IR_T3);
}

static void xadd(Translator *t)
{
    unsigned src = tr_get(t, 1, IR_T1);
    if (t->in->operand[0].kind == OK_MEM) {
        locked(t, AT_XADD, IR_T0, src, false);
        tr_put(t, 1, IR_T0);
        return;
    }
    unsigned dst = tr_get(t, 0, IR_T0);
    tr_mov(t, 8, IR_T2, dst);
    tr_mov(t, 8, IR_T3, dst);
    (void)tr_op2(t, IR_ADD, size0(t), IR_T2, src);
    tr_put(t, 1, IR_T3);
    tr_put(t, 0, IR_T2);
}

/* Register form: d: destination, a: a copy of it, b: source. */
static bool h_cmpxchg(CPUX86 *cpu, const IrOp *op)
{
    uint64_t mask = op->size == 8 ? ~0ull : (1ull << (8 * op->size)) - 1;
    uint64_t old = *ir_reg(cpu, op->a) & mask;
    /* Only one of the two is written (and zero-extended, with 32 bits). */
    bool equal = old == (cpu->regs[R_RAX] & mask);
    uint64_t *to = equal ? ir_reg(cpu, op->d) : &cpu->regs[R_RAX];
    uint64_t v = equal ? *ir_reg(cpu, op->b) & mask : old;
    *to = op->size >= 4 ? v : (*to & ~mask) | v;
    return true;
}
HELPER(helper_cmpxchg, "cmpxchg", h_cmpxchg, HE_RREGS | HE_WREGS);

static void cmpxchg(Translator *t)
{
    unsigned src = tr_get(t, 1, IR_T1);
    if (t->in->operand[0].kind == OK_MEM) {
        locked(t, AT_CMPXCHG, IR_T0, src, false);
        return;
    }
    unsigned dst = tr_get(t, 0, IR_T0);
    (void)tr_op2(t, IR_CMP, size0(t), R_RAX, dst);
    /* The copy: the destination may be RAX itself. */
    tr_mov(t, 8, IR_T2, dst);
    tr_mov(t, 8, IR_T3, src);
    IrOp *o = tr_call(t, &helper_cmpxchg);
    o->size = (uint8_t)size0(t);
    o->d = (uint8_t)dst;
    o->a = IR_T2;
    o->b = IR_T3;
    if (t->in->operand[0].high) {
        tr_put(t, 0, dst);
    }
}

static void load_ea(Translator *t)
{
    MemRef m = tr_mem(t);
    tr_lea(t, t->in->operand[0].size, t->in->operand[0].reg, &m);
}

static void multiply(Translator *t)
{
    const Operand *dst = &t->in->operand[0];
    IrOp *o;
    if (t->in->op == OP_IMUL3) {
        unsigned a = tr_get(t, 1, IR_T0);
        o = tr_op2i(t, IR_IMUL, dst->size, dst->reg, imm_of(t));
        o->a = (uint8_t)a;
    } else {
        unsigned b = tr_get(t, 1, IR_T0);
        o = tr_op2(t, IR_IMUL, dst->size, dst->reg, b);
        o->a = dst->reg;
    }
}

static void widening(Translator *t, IrOpcode op)
{
    unsigned b = tr_get(t, 0, IR_T0);
    (void)tr_op2(t, op, size0(t), 0, b);
}

/* CBW CWDE CDQE; CWD CDQ CQO. */
static void sign_rax(Translator *t)
{
    unsigned n = t->in->opsize;
    if (t->in->op == OP_CBW) {
        IrOp *o = tr_emit(t, IR_MOVSX, n);
        o->d = o->a = R_RAX;
        o->sub = (uint8_t)(n / 2);
        return;
    }
    IrOp *o = tr_emit(t, IR_SIGN, n);
    o->d = R_RDX;
    o->a = R_RAX;
}

static void movbe(Translator *t)
{
    const Operand *dst = &t->in->operand[0];
    unsigned r = tr_get(t, 1, IR_T0);
    tr_mov(t, 8, IR_T1, r);
    tr_emit(t, IR_BSWAP, dst->size)->d = IR_T1;
    tr_put(t, 0, IR_T1);
}

static void flag_op(Translator *t, unsigned sub, unsigned def, unsigned use)
{
    IrOp *o = tr_emit(t, IR_FLAGOP, 0);
    o->sub = (uint8_t)sub;
    o->fdef = (uint8_t)def;
    o->fuse = (uint8_t)use;
}

static bool h_set_df(CPUX86 *cpu, const IrOp *op)
{
    cpu->rflags = op->disp ? cpu->rflags | FLAG_DF : cpu->rflags & ~(uint64_t)FLAG_DF;
    return true;
}
HELPER(helper_set_df, "set_df", h_set_df, 0);

static bool flag_insn(Translator *t)
{
    switch (t->in->op) {
    case OP_CLC:
        flag_op(t, 0, FS_CF, 0);
        return true;
    case OP_STC:
        flag_op(t, 1, FS_CF, 0);
        return true;
    case OP_CMC:
        flag_op(t, 2, FS_CF, FS_CF);
        return true;
    case OP_SAHF:
        flag_op(t, 3, FS_ALL & ~FS_OF, 0);
        return true;
    case OP_LAHF:
        flag_op(t, 4, 0, FS_ALL);
        return true;
    case OP_SALC:
        flag_op(t, 5, 0, FS_CF);
        return true;
    case OP_CLD:
    case OP_STD:
        tr_call(t, &helper_set_df)->disp = t->in->op == OP_STD;
        return true;
    default:
        return false;
    }
}

bool tr_integer(Translator *t)
{
    unsigned op = t->in->op;
    if (op >= OP_ADD && op <= OP_TEST) {
        two_operands(t, (IrOpcode)(IR_ADD + (op - OP_ADD)));
        return true;
    }
    switch (op) {
    case OP_MOV:
    case OP_MOVNTI:
        move(t);
        return true;
    case OP_XCHG:
        exchange(t);
        return true;
    case OP_LEA:
        load_ea(t);
        return true;
    case OP_INC:
        one_operand(t, IR_INC, AT_INC);
        return true;
    case OP_DEC:
        one_operand(t, IR_DEC, AT_DEC);
        return true;
    case OP_NEG:
        one_operand(t, IR_NEG, AT_NEG);
        return true;
    case OP_NOT:
        one_operand(t, IR_NOT, AT_NOT);
        return true;
    case OP_MUL:
        widening(t, IR_MUL);
        return true;
    case OP_IMUL1:
        widening(t, IR_IMUL1);
        return true;
    case OP_DIV:
        widening(t, IR_DIV);
        return true;
    case OP_IDIV:
        widening(t, IR_IDIV);
        return true;
    case OP_IMUL2:
    case OP_IMUL3:
        multiply(t);
        return true;
    case OP_MOVZX:
        extend(t, false);
        return true;
    case OP_MOVSX:
    case OP_MOVSXD:
        extend(t, true);
        return true;
    case OP_MOVBE:
        movbe(t);
        return true;
    case OP_BSWAP:
        tr_emit(t, IR_BSWAP, t->in->opsize)->d = t->in->operand[0].reg;
        return true;
    case OP_CBW:
    case OP_CWD:
        sign_rax(t);
        return true;
    case OP_XADD:
        xadd(t);
        return true;
    case OP_CMPXCHG:
        cmpxchg(t);
        return true;
    case OP_NOP:
    case OP_PREFETCH:
        return true;
    default:
        return flag_insn(t);
    }
}
