/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Accesses of the stack: in a trace, one check for all that are a constant away from RSP.
 *
 * Nearly half of a program's accesses are of this kind, and nearly all of them are on the
 * page of the one before.  TcgCpu.stack has that page; where the check fails for good, as
 * where the stack crosses into another page, execution goes on in a block that does without.
 */
#include "accel/tcg/jit-internal.h"

typedef struct StackSpan {
    int lo, hi; /* from RSP at the beginning */
    int rsp;    /* RSP's change so far */
    bool any, write;
} StackSpan;

static bool plain_stack(const IrOp *op)
{
    return op->base == R_RSP && op->index == IR_ZERO &&
           !(op->flags & (IRF_A32 | IRF_A16 | IRF_SEG | IRF_BASE));
}

/* Adds an access; false: it would make the span too long. */
static bool add(StackSpan *s, int at, unsigned size, bool write)
{
    int lo = s->any ? MIN(s->lo, at) : at,
        hi = s->any ? MAX(s->hi, at + (int)size) : at + (int)size;
    if (hi - lo > (int)stack_reach[STACK_REACHES - 1] || at < -65536 || at > 65536) {
        return false;
    }
    s->lo = lo;
    s->hi = hi;
    s->any = true;
    s->write |= write;
    return true;
}

/* The accesses of operations that have a memory operand. */
static bool add_operand(StackSpan *s, const IrOp *op)
{
    switch (op->op) {
    case IR_LD:
    case IR_LDSX:
    case IR_VLD:
        return !plain_stack(op) || add(s, s->rsp + op->disp, op->size, op->flags & IRF_WRITE);
    case IR_ST:
    case IR_VST:
        return !plain_stack(op) || add(s, s->rsp + op->disp, op->size, true);
    default:
        return true;
    }
}

/* One operation; false: the span ends before (or, with `rsp` unknown, after) it. */
static bool extend(StackSpan *s, const IrOp *op, bool *known)
{
    *known = true;
    switch (op->op) {
    case IR_PUSH:
        if (!add(s, s->rsp - 8, 8, true)) {
            return false;
        }
        break;
    case IR_POP:
    case IR_RET:
        if (!add(s, s->rsp, 8, false)) {
            return false;
        }
        break;
    case IR_ATOMIC: /* may wait for another CPU, which translates code on the stack's page meanwhile */
    case IR_CALL: /* which may change anything */
    case IR_CALLX:
    case IR_SKIP:
    case IR_SKIPZ:
    case IR_EXIT:
        return false;
    default:
        if (!add_operand(s, op)) {
            return false;
        }
        break;
    }
    *known = ir_follow_reg(op, R_RSP, &s->rsp);
    return true;
}

/* Does the instruction that begins with operation i access the stack? */
static bool begins(const JitCtx *j, unsigned i)
{
    if (i && j->ops[i - 1].pc == j->ops[i].pc) {
        return false;
    }
    for (unsigned k = i; k < j->n && j->ops[k].pc == j->ops[i].pc; k++) {
        StackSpan s = {0};
        bool known;
        if (!extend(&s, &j->ops[k], &known)) {
            return false;
        }
        if (s.any) {
            return true;
        }
    }
    return false;
}

static Opnd page_field(const JitCtx *j, size_t field)
{
    size_t entry = (size_t)j->b->mmu_mode * 2 + j->stack_write;
    return asm_mem(H_RBP, TC_OFF(stack) + (int32_t)(entry * sizeof(StackPage) + field));
}

void jit_stack_begin(JitCtx *j, unsigned i)
{
    if (i < j->stack_end || j->jit->icount || !(j->b->flags & HF_CS64) ||
        (j->b->flags & BLOCK_NO_STACK) || j->join[i][0] || !begins(j, i)) {
        return;
    }
    StackSpan s = {0};
    bool known = true;
    unsigned end = i, reach = 0;
    while (end < j->n && known && extend(&s, &j->ops[end], &known)) {
        end++;
    }
    while ((int)stack_reach[reach] < s.hi - s.lo) {
        reach++;
    }
    j->stack_end = end;
    j->stack_write = s.write;
    jit_flags_clobber(j, i);
    asm_lea(&j->a, 8, H_RDX, asm_mem(jit_loc(R_RSP).base, s.lo));
    asm_alu_load(&j->a, 5, 8, H_RDX, page_field(j, offsetof(StackPage, base)));
    asm_alu_load(&j->a, 7, 8, H_RDX, page_field(j, offsetof(StackPage, starts) + 8 * reach));
    Cold *c = jit_cold(j, COLD_STACK, i);
    c->from = asm_jcc(&j->a, CC_AE);
    c->from_rsp = s.lo;
    c->info = stack_reach[reach] | (s.write ? ACC_WRITE_STACK : 0);
    c->resume = j->a.p;
}

/* ---- accesses side by side ---- */

/* An operation that such a run may have; *access: one of the stack. */
static bool in_run(const IrOp *op, bool *access)
{
    bool from_rsp = !(op->flags & IRF_IMM) && op->a == R_RSP;
    *access = true;
    switch (op->op) {
    case IR_PUSH:
        return !from_rsp;
    case IR_POP:
        return op->d != R_RSP;
    case IR_RET:
        return true;
    case IR_LD:
    case IR_LDSX: /* one of a temporary may be fused with what follows */
        return plain_stack(op) && !(op->flags & IRF_WRITE) && op->d <= R_R15 && op->d != R_RSP;
    case IR_ST:
        return plain_stack(op) && !from_rsp;
    case IR_MOV: /* with what compilers mix it */
    case IR_MOVZX:
    case IR_MOVSX:
        *access = false;
        return !from_rsp && op->d != R_RSP;
    default:
        return false;
    }
}

/* The end of the run that begins with operation i; i: there is none. */
static unsigned run_end(const JitCtx *j, unsigned i)
{
    unsigned end = i, accesses = 0;
    bool access;
    for (unsigned k = i; k < j->stack_end && in_run(&j->ops[k], &access); k++) {
        if (j->join[k][0] || (k == i && !access)) {
            break;
        }
        if (access) {
            end = k + 1;
            accesses++;
        }
        if (j->ops[k].op == IR_RET) {
            break;
        }
    }
    return accesses > 1 || (accesses && jit_makes_frame(j, &j->ops[end - 1])) ? end : i;
}

/* Flags that are made again from registers must be so before those change. */
static void flags_before_run(JitCtx *j, unsigned i, unsigned end)
{
    for (unsigned k = i; k < end; k++) {
        const IrOp *op = &j->ops[k];
        if (op->op == IR_PUSH || op->op == IR_POP) {
            jit_flags_reg_changes(j, i, R_RSP);
        }
        if (op->op == IR_RET) {
            jit_flags_to_mem(j);
        } else if (op->op != IR_PUSH && op->op != IR_ST) {
            jit_flags_reg_changes(j, i, op->d);
        }
    }
}

unsigned jit_stack_run(JitCtx *j, unsigned i)
{
    unsigned end = run_end(j, i), sp = jit_loc(R_RSP).base;
    if (end == i) {
        return 0;
    }
    flags_before_run(j, i, end);
    asm_load(&j->a, 8, H_RAX, page_field(j, offsetof(StackPage, addend)));
    int rsp = 0;
    for (unsigned k = i; k < end; k++) {
        const IrOp *op = &j->ops[k];
        rsp -= op->op == IR_PUSH ? 8 : 0;
        int at = op->op == IR_LD || op->op == IR_LDSX || op->op == IR_ST ? op->disp : 0;
        j->at = asm_mem_x(sp, H_RAX, 0, rsp + at);
        switch (op->op) {
        case IR_PUSH:
            jit_push_value(j, op);
            if (jit_makes_frame(j, op)) {
                jit_return_frame(j, k);
            }
            break;
        case IR_POP:
            rsp += 8;
            /* fall through */
        case IR_LD:
        case IR_LDSX:
            jit_load_value(j, op);
            break;
        case IR_ST:
            jit_store_value(j, op);
            break;
        case IR_RET:
            jit_return(j, k, rsp);
            return end;
        default:
            (void)jit_emit(j, k);
            break;
        }
    }
    if (rsp) {
        asm_lea(&j->a, 8, sp, asm_mem(sp, rsp));
    }
    return end;
}

bool jit_stack_operand(JitCtx *j, unsigned i, const IrOp *mem)
{
    if (i >= j->stack_end || j->in_cold || !plain_stack(mem)) {
        return false;
    }
    asm_load(&j->a, 8, H_RAX, page_field(j, offsetof(StackPage, addend)));
    j->at = asm_mem_x(jit_loc(R_RSP).base, H_RAX, 0, mem->disp);
    return true;
}

void jit_cold_stack(JitCtx *j, const Cold *c)
{
    jit_flags_rescue(j, &c->before);
    asm_lea(&j->a, 8, H_RAX, asm_mem(jit_loc(R_RSP).base, c->from_rsp));
    asm_movi(&j->a, H_RDX, c->info);
    asm_call_to(&j->a, j->jit->stub[STUB_STACK]);
    jit_reload_units(j, c->fpu, c->vec);
    asm_rm(&j->a, 1, 0x84, H_RAX, asm_reg(H_RAX));
    asm_jcc_to(&j->a, CC_NE, c->resume);
    jit_go_without(j, c->index);
}

void jit_go_without(JitCtx *j, unsigned i)
{
    asm_store_imm(&j->a, 1, asm_mem(H_RBP, TC_OFF(no_stack)), 1);
    jit_asm_rip(j, H_RAX, jit_rip(j, &j->ops[i]));
    jit_asm_lookup_no_stack(&j->a, j->jit->stub[STUB_NO_CODE]);
}
