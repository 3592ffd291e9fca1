/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The JIT's control flow: exits, links, calls of helpers. */
#include "accel/tcg/jit-internal.h"

static void set_rip(JitCtx *j, uint64_t rip)
{
    if (!j->b->pic && asm_is_imm32((int64_t)rip)) {
        asm_store_imm(&j->a, 8, asm_mem(H_RBP, CPU_OFF(rip)), (int64_t)rip);
    } else {
        jit_asm_rip(j, H_RCX, rip);
        asm_store(&j->a, 8, asm_mem(H_RBP, CPU_OFF(rip)), H_RCX);
    }
}

void jit_direct_exit(JitCtx *j, unsigned i, unsigned slot, uint64_t target, uint8_t *from)
{
    const Block *b = jit_block_of(j, i);
    bool same_page = !(((target + b->cs_base) ^ (b->rip + b->cs_base)) & TCG_PAGE_MASK);
    Cold *c = jit_cold(j, same_page && b->link_ok && !j->in_cold ? COLD_EXIT : COLD_STUB, i);
    c->slot = (uint8_t)slot;
    c->rip = target;
    c->stub = j->jit->stub[b->flags & HF_CS64 ? STUB_LOOKUP : STUB_LOOKUP32];
    if (!from) {
        asm_align_disp(&j->a, 1);
        from = asm_jmp(&j->a);
    }
    c->from = from;
}

static void jump_conditionally(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    jit_flags_to_host(j);
    if (i + 1 == j->n || j->ops[i + 1].op == IR_JMP) { /* for both ways out */
        jit_flags_to_mem(j);
    }
    asm_align_disp(&j->a, 2);
    jit_direct_exit(j, i, op->d, (uint64_t)op->imm, asm_jcc(&j->a, op->sub));
}

static void jump(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    jit_flags_to_mem(j);
    jit_direct_exit(j, i, op->sub, (uint64_t)op->imm, NULL);
}

void jit_go_to_target(JitCtx *j, unsigned i)
{
    uint8_t *miss[2];
    jit_asm_lookup_or(&j->a, miss);
    Cold *c = jit_cold(j, COLD_TARGET, i);
    c->from = miss[0];
    c->after = miss[1];
}

static void jump_register(JitCtx *j, unsigned i)
{
    jit_flags_to_mem(j);
    asm_load(&j->a, 8, H_RAX, jit_loc(j->ops[i].a));
    if (i && j->ops[i - 1].op == IR_CHKIP && j->ops[i - 1].a == j->ops[i].a &&
        (j->b->flags & HF_CS64)) {
        jit_go_to_target(j, i);
        return;
    }
    jit_asm_lookup(&j->a, j->jit, !(j->b->flags & HF_CS64));
}

/* Is RAX canonical (ZF)?  48 bits: with 57-bit addresses the slow path decides. */
static void compare_canonical(JitCtx *j)
{
    asm_mov(&j->a, 8, H_RCX, H_RAX);
    asm_shift_imm(&j->a, 4, 8, asm_reg(H_RCX), 16);
    asm_shift_imm(&j->a, 7, 8, asm_reg(H_RCX), 16);
    asm_alu_load(&j->a, 7, 8, H_RCX, asm_reg(H_RAX));
}

static void check_canonical(JitCtx *j, unsigned i)
{
    compare_canonical(j);
    Cold *c = jit_cold(j, COLD_CALL, i);
    c->from = asm_jcc(&j->a, CC_NE);
    c->stub = j->jit->stub[STUB_FAULT];
    c->before = j->fs;
    c->resume = j->a.p;
}

void jit_return(JitCtx *j, unsigned i, int popped)
{
    unsigned sp = jit_loc(R_RSP).base;
    asm_load(&j->a, 8, H_RAX, j->at);
    asm_lea(&j->a, 8, sp, asm_mem(sp, popped + 8 + (int32_t)j->ops[i].imm));
    if (!jit_host_return(j, i)) {
        jit_go_to_target(j, i);
    }
}

static void ret(JitCtx *j, unsigned i)
{
    const IrOp top = {.base = R_RSP, .index = IR_ZERO, .seg = SEG_SS};
    jit_flags_to_mem(j);
    jit_load_from(j, i, &top, jit_info(&top, 8, ACC_READ));
    jit_return(j, i, 0);
}

void jit_cold_target(JitCtx *j, const Cold *c)
{
    const IrOp *op = &j->ops[c->index];
    unsigned sp = jit_loc(R_RSP).base, i = c->index;
    asm_here(&j->a, c->after);
    compare_canonical(j);
    asm_jcc_to(&j->a, CC_E, j->jit->stub[STUB_SECOND]);
    if (op->op == IR_RET) { /* the fault is its own: it has not happened */
        asm_lea(&j->a, 8, sp, asm_mem(sp, -8 - (int32_t)op->imm));
    } else {
        i--; /* IR_CHKIP */
    }
    asm_store(&j->a, 8, asm_mem(H_RBP, CPU_OFF(engine_tmp[0])), H_RAX);
    asm_movi(&j->a, H_RAX, (uintptr_t)jit_block_op(j, i));
    jit_asm_rip(j, H_RCX, jit_rip(j, op));
    asm_call_to(&j->a, j->jit->stub[STUB_FAULT]);
    if (op->op == IR_RET) { /* with 57-bit addresses it may be right after all */
        asm_lea(&j->a, 8, sp, asm_mem(sp, 8 + (int32_t)op->imm));
    }
    asm_load(&j->a, 8, H_RAX, asm_mem(H_RBP, CPU_OFF(engine_tmp[0])));
    jit_jump_stub(j, STUB_NO_CODE);
}

static void check_ip(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    if ((j->b->flags & HF_CS64) && i + 1 < j->n && j->ops[i + 1].op == IR_JMPR &&
        j->ops[i + 1].a == op->a && !(op->flags & IRF_IMM)) {
        return; /* the jump sees to it */
    }
    jit_flags_clobber(j, i);
    if ((op->flags & IRF_IMM) || !(j->b->flags & HF_CS64)) {
        jit_call_stub(j, STUB_FAULT, i);
        return;
    }
    asm_load(&j->a, 8, H_RAX, jit_loc(op->a));
    check_canonical(j, i);
}

static void skip(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    jit_flags_to_mem(j);
    if (op->op == IR_SKIP) {
        jit_flags_to_host(j);
    } else {
        Opnd A = jit_loc(op->a);
        j->fs.host = false;
        asm_alu_imm(&j->a, 7, op->size, A, 0);
    }
    /* What follows may be reached on two ways: nothing but memory is sure. */
    j->fs = (FlagState){.mem = true};
    j->vec = 0;
    j->fpu = false;
    unsigned to = i + 1 + (unsigned)op->imm;
    g_assert(to <= j->n);
    uint8_t *from = asm_jcc(&j->a, op->op == IR_SKIP ? op->sub : CC_E);
    unsigned k = j->join[to][0] != NULL;
    j->never |= j->join[to][1] != NULL;
    j->join[to][k] = from;
}

static void call(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    const IrHelper *h = (const IrHelper *)(intptr_t)op->imm;
    if ((h->effects & HE_FWAIT) && !(j->b->flags & BLOCK_SOFT_X87) && (j->b->flags & HF_FPU_OK)) {
        return; /* nothing to wait for */
    }
    if ((h->effects & HE_X87) && jit_x87_op(j, i)) {
        return;
    }
    jit_call_stub(j, STUB_CALL, i);
}

unsigned jit_flow_op(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    switch (op->op) {
    case IR_SKIP:
    case IR_SKIPZ:
        skip(j, i);
        break;
    case IR_JCC:
        jump_conditionally(j, i);
        break;
    case IR_JMP:
        jump(j, i);
        break;
    case IR_JMPR:
        jump_register(j, i);
        break;
    case IR_RET:
        ret(j, i);
        break;
    case IR_CHKIP:
        check_ip(j, i);
        break;
    case IR_EXIT:
        jit_flags_to_mem(j);
        if (op->sub) { /* the run loop is wanted */
            asm_movi(&j->a, H_RAX, 0);
        }
        jit_jump_stub(j, op->sub ? STUB_EXIT : STUB_DYNAMIC);
        break;
    case IR_SETIP:
        set_rip(j, (uint64_t)op->imm);
        break;
    case IR_TRAP:
        jit_call_stub(j, STUB_FAULT, i);
        break;
    case IR_CALL:
    case IR_CALLX:
        call(j, i);
        break;
    default:
        return 0;
    }
    return i + 1;
}

/*
 * Where operation i's instruction goes on, `k` being the first operation after it.  There may
 * be instructions in between that came to none; a trace lacks the jump between its parts.
 */
static uint64_t after_insn(const JitCtx *j, unsigned i, unsigned k)
{
    const Block *b = jit_block_of(j, i);
    uint64_t next = block_next_rip(b, jit_rip(j, &j->ops[i]));
    bool last = next == b->rip + b->size;
    return last && k < j->n && jit_block_of(j, k) != b ? jit_block_of(j, k)->rip : next;
}

void jit_emit_rest(JitCtx *j, unsigned i, unsigned rest)
{
    const IrOp *op = &j->ops[i];
    unsigned k = rest;
    while (k < j->n && j->ops[k].pc == op->pc) {
        k = jit_emit(j, k);
        if (ir_op_info[j->ops[k - 1].op].ends) {
            return;
        }
    }
    jit_flags_to_mem(j);
    uint64_t next = after_insn(j, i, k);
    jit_count_back(j, next);
    set_rip(j, next);
    jit_jump_stub(j, STUB_DYNAMIC);
}
