/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Near branches and the stack. */
#include "target/i386/tcg/helper.h"
#include "target/i386/tcg/int-helper.h"
#include "target/i386/tcg/translate.h"

static uint64_t ip_mask(const Translator *t)
{
    return t->in->opsize == 8 ? ~0ull : t->in->opsize == 4 ? 0xffffffffull : 0xffff;
}

static uint64_t branch_target(const Translator *t)
{
    return (t->next + t->in->imm) & ip_mask(t);
}

/* Raises #GP at the branch itself if its target cannot be executed. */
static void check_target(Translator *t, uint64_t target)
{
    bool bad = t->pic       ? false
               : tr_is64(t) ? (uint64_t)((int64_t)(target << 16) >> 16) != target
                            : target > t->cpu->segs[SEG_CS].limit;
    if (bad) {
        IrOp *o = tr_emit(t, IR_CHKIP, 8);
        o->imm = (int64_t)target;
        o->flags = IRF_IMM;
    }
}

static void check_target_reg(Translator *t, unsigned reg)
{
    if (tr_is64(t) || (t->flags & BLOCK_CS_LIMIT)) {
        tr_emit(t, IR_CHKIP, 8)->a = (uint8_t)reg;
    }
}

static IrOp *skip(Translator *t, unsigned cc)
{
    IrOp *o = tr_emit(t, IR_SKIP, 0);
    o->sub = (uint8_t)cc;
    return o;
}

static void jump_condition(Translator *t)
{
    uint64_t target = branch_target(t);
    unsigned cc = t->in->row->arg, start = t->n;
    IrOp *s = skip(t, cc ^ 1);
    unsigned at = t->n;
    check_target(t, target);
    if (t->n == at) {
        t->n = start; /* nothing to check */
    } else {
        s->imm = (int64_t)(t->n - at);
    }
    IrOp *o = tr_emit(t, IR_JCC, 0);
    o->sub = (uint8_t)cc;
    o->imm = (int64_t)target;
    tr_jump(t, 1, t->next);
}

static IrOp *skip_if_zero(Translator *t)
{
    IrOp *o = tr_emit(t, IR_SKIPZ, t->in->addrsize);
    o->a = R_RCX;
    return o;
}

static void loop(Translator *t)
{
    uint64_t target = branch_target(t);
    MemRef m = {.base = R_RCX, .index = IR_ZERO, .disp = -1, .seg = SEG_DS};
    check_target(t, target);
    tr_lea(t, t->in->addrsize, R_RCX, &m);
    if (t->in->row->arg < 2) {
        skip(t, t->in->row->arg == 0 ? 4 : 5)->imm = 2; /* LOOPNE ends with ZF, LOOPE without */
    }
    skip_if_zero(t)->imm = 1;
    tr_jump(t, 0, target);
    tr_jump(t, 1, t->next);
}

static void jump_cx_zero(Translator *t)
{
    uint64_t target = branch_target(t);
    check_target(t, target);
    skip_if_zero(t)->imm = 1;
    tr_jump(t, 1, t->next);
    tr_jump(t, 0, target);
}

/* Pushes a register, or imm with reg == IR_ZERO and use_imm. */
static void push(Translator *t, unsigned size, unsigned reg, bool use_imm, uint64_t imm)
{
    IrOp *o;
    if (tr_is64(t) && size == 8 && !(t->flags & HF_ALIGN_CHECK)) {
        o = tr_emit(t, IR_PUSH, 8);
        o->a = (uint8_t)reg;
        o->seg = SEG_SS;
    } else {
        MemRef m = tr_stack(t, R_RSP, -(int)size);
        tr_store(t, size, reg, &m);
        o = &t->ops[t->n - 1];
        tr_lea(t, tr_stack_size(t), R_RSP, &m);
    }
    if (use_imm) {
        o->flags |= IRF_IMM;
        o->imm = (int64_t)imm;
    }
}

/* The return address. */
static void push_next(Translator *t)
{
    unsigned size = t->in->opsize;
    if (t->pic && (size != 8 || (t->flags & HF_ALIGN_CHECK))) {
        MemRef m = {.base = IR_PC, .index = IR_ZERO, .disp = (int32_t)t->next};
        tr_lea(t, 8, IR_T1, &m);
        push(t, size, IR_T1, false, 0);
        return;
    }
    push(t, size, IR_ZERO, true, t->next);
    IrOp *o = &t->ops[t->n - 1];
    if (t->pic) {
        o->base = IR_PC;
    }
    if (o->op == IR_PUSH) {
        o->sub = IR_PUSH_RETURN;
    }
}

static void call_near(Translator *t)
{
    uint64_t target = branch_target(t);
    check_target(t, target);
    push_next(t);
    tr_jump(t, 0, target);
}

/* The target of an indirect branch, zero-extended, in IR_T0. */
static void indirect_target(Translator *t)
{
    unsigned r = tr_get(t, 0, IR_T0);
    if (r != IR_T0) {
        IrOp *o = tr_emit(t, IR_MOVZX, t->in->opsize);
        o->d = IR_T0;
        o->a = (uint8_t)r;
    }
    check_target_reg(t, IR_T0);
}

static void jump_reg(Translator *t, unsigned reg)
{
    tr_emit(t, IR_JMPR, 8)->a = (uint8_t)reg;
    t->done = true;
}

static void ret_near(Translator *t)
{
    unsigned size = t->in->opsize;
    if (tr_is64(t) && !(t->flags & HF_ALIGN_CHECK)) {
        IrOp *o = tr_emit(t, IR_RET, 8);
        o->imm = (int64_t)t->in->imm;
        o->seg = SEG_SS;
        t->done = true;
        return;
    }
    MemRef m = tr_stack(t, R_RSP, 0);
    tr_load(t, size, IR_T0, &m, false);
    check_target_reg(t, IR_T0);
    m.disp = (int)size + (int)t->in->imm;
    tr_lea(t, tr_stack_size(t), R_RSP, &m);
    jump_reg(t, IR_T0);
}

bool tr_flow(Translator *t)
{
    switch (t->in->op) {
    case OP_JCC:
        jump_condition(t);
        return true;
    case OP_JCXZ:
        jump_cx_zero(t);
        return true;
    case OP_LOOP:
        loop(t);
        return true;
    case OP_JMP:
        check_target(t, branch_target(t));
        tr_jump(t, 0, branch_target(t));
        return true;
    case OP_CALL:
        call_near(t);
        return true;
    case OP_JMP_IND:
        indirect_target(t);
        jump_reg(t, IR_T0);
        return true;
    case OP_CALL_IND:
        indirect_target(t);
        push_next(t);
        jump_reg(t, IR_T0);
        return true;
    case OP_RET:
        ret_near(t);
        return true;
    default:
        return false;
    }
}

/* ---- stack ---- */

static void push_operand(Translator *t)
{
    const Operand *o = &t->in->operand[0];
    if (o->kind == OK_IMM) {
        push(t, t->in->opsize, IR_ZERO, true, t->in->imm);
    } else {
        push(t, t->in->opsize, tr_get(t, 0, IR_T0), false, 0);
    }
}

static void pop(Translator *t, unsigned size, unsigned reg)
{
    if (tr_is64(t) && size == 8 && !(t->flags & HF_ALIGN_CHECK)) {
        IrOp *o = tr_emit(t, IR_POP, 8);
        o->d = (uint8_t)reg;
        o->seg = SEG_SS;
        return;
    }
    MemRef m = tr_stack(t, R_RSP, 0);
    tr_load(t, size, IR_T0, &m, false);
    m.disp = (int)size;
    tr_lea(t, tr_stack_size(t), R_RSP, &m);
    tr_mov(t, size, reg, IR_T0);
}

static void pop_operand(Translator *t)
{
    const Operand *o = &t->in->operand[0];
    unsigned size = t->in->opsize;
    if (o->kind == OK_REG) {
        pop(t, size, o->reg);
        return;
    }
    /* An address based on RSP is formed with the incremented one. */
    MemRef from = tr_stack(t, R_RSP, 0), to = tr_mem(t);
    if (to.base == R_RSP) {
        to.disp += (int)size;
    }
    tr_load(t, size, IR_T0, &from, false);
    tr_store(t, size, IR_T0, &to);
    from.disp = (int)size;
    tr_lea(t, tr_stack_size(t), R_RSP, &from);
}

static void leave(Translator *t)
{
    unsigned size = t->in->opsize;
    MemRef m = tr_stack(t, R_RBP, 0);
    tr_load(t, size, IR_T0, &m, false);
    m.disp = (int)size;
    tr_lea(t, tr_stack_size(t), R_RSP, &m);
    tr_mov(t, size, R_RBP, IR_T0);
}

bool tr_stack_insn(Translator *t)
{
    IrOp *o;
    switch (t->in->op) {
    case OP_PUSH:
        push_operand(t);
        return true;
    case OP_POP:
        pop_operand(t);
        return true;
    case OP_LEAVE:
        leave(t);
        return true;
    case OP_PUSHA:
        (void)tr_call(t, &int_pusha);
        return true;
    case OP_POPA:
        (void)tr_call(t, &int_popa);
        return true;
    case OP_PUSHF:
        (void)tr_call(t, &int_pushf);
        return true;
    case OP_POPF:
        (void)tr_call(t, &int_popf);
        tr_exit_next(t);
        return true;
    case OP_ENTER:
        o = tr_call(t, &int_enter);
        o->disp = (int32_t)t->in->imm;
        o->a = (uint8_t)(t->in->imm2 & 31);
        return true;
    default:
        return false;
    }
}
