/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the guest's flags are, and how they are kept; jit-internal.h tells the rules. */
#include "accel/tcg/jit-internal.h"

static const FlagRecipe no_recipe = {.op = IR_NOP};

/* LAHF, SETO AL: the form of alu.h in AX; bits above are garbage and ignored. */
static void save(JitCtx *j)
{
    asm_8(&j->a, 0x9f);
    asm_ext(&j->a, 1, OP_0F | 0x90, 0, asm_reg(H_RAX));
    asm_store(&j->a, 4, asm_mem(H_RBP, TC_OFF(fl)), H_RAX);
}

static void restore(JitCtx *j)
{
    asm_load(&j->a, 4, H_RAX, asm_mem(H_RBP, TC_OFF(fl)));
    asm_alu_imm(&j->a, 0, 1, asm_reg(H_RAX), 0x7f); /* OF from bit 0 of AL */
    asm_8(&j->a, 0x9e);
}

/* One arithmetic instruction on RCX with the recipe's other operand. */
static void on_rcx(JitCtx *j, const FlagRecipe *r, unsigned alu)
{
    if (r->is_imm) {
        asm_alu_imm(&j->a, alu, r->size, asm_reg(H_RCX), r->imm);
    } else {
        asm_alu_load(&j->a, alu, r->size, H_RCX, jit_loc(r->b));
    }
}

static void test_rcx(JitCtx *j, const FlagRecipe *r)
{
    if (r->is_imm) {
        asm_ext(&j->a, r->size, asm_width(r->size, 0xf6), 0, asm_reg(H_RCX));
        if (r->size == 1) {
            asm_8(&j->a, (uint32_t)r->imm & 0xff);
        } else if (r->size == 2) {
            asm_8(&j->a, (uint32_t)r->imm & 0xff);
            asm_8(&j->a, (uint32_t)r->imm >> 8 & 0xff);
        } else {
            asm_32(&j->a, (uint32_t)r->imm);
        }
    } else {
        asm_rm(&j->a, r->size, asm_width(r->size, 0x84), H_RCX, jit_loc(r->b));
    }
}

/* Executes a recipe; only RCX is used. */
static void cook(JitCtx *j, const FlagRecipe *r)
{
    asm_load(&j->a, 8, H_RCX, jit_loc(r->d));
    switch (r->op) {
    case IR_ADD: /* undo it, then do it again */
        on_rcx(j, r, 5);
        on_rcx(j, r, 0);
        break;
    case IR_SUB:
        on_rcx(j, r, 0);
        on_rcx(j, r, 5);
        break;
    case IR_CMP:
        on_rcx(j, r, 7);
        break;
    default: /* IR_TEST */
        test_rcx(j, r);
        break;
    }
}

static FlagRecipe make_recipe(const IrOp *op)
{
    FlagRecipe r = {.op = op->op,
                    .size = op->size,
                    .d = op->d,
                    .b = op->b,
                    .is_imm = (op->flags & IRF_IMM) != 0,
                    .imm = op->imm};
    switch (op->op) {
    case IR_ADD:
    case IR_SUB:
        return r.is_imm || r.b != r.d ? r : no_recipe;
    case IR_CMP:
    case IR_TEST:
        return r;
    case IR_AND:
    case IR_OR:
    case IR_XOR: /* flags of the result; AF is undefined */
        r.op = IR_TEST;
        r.b = r.d;
        r.is_imm = false;
        return r;
    default:
        return no_recipe;
    }
}

void jit_flags_to_host(JitCtx *j)
{
    if (j->fs.host) {
        return;
    }
    if (j->fs.recipe.op != IR_NOP) {
        cook(j, &j->fs.recipe);
    } else {
        restore(j);
    }
    j->fs.host = true;
}

void jit_flags_to_mem(JitCtx *j)
{
    if (!j->fs.mem) {
        jit_flags_to_host(j);
        save(j);
        j->fs.mem = true;
    }
}

void jit_flags_clobber(JitCtx *j, unsigned i)
{
    if (j->fs.host && !j->fs.mem && j->fs.recipe.op == IR_NOP && j->live[i]) {
        jit_flags_to_mem(j);
    }
    j->fs.host = false;
}

void jit_flags_reg_changes(JitCtx *j, unsigned i, unsigned r)
{
    const FlagRecipe *f = &j->fs.recipe;
    if (f->op == IR_NOP || (f->d != r && (f->is_imm || f->b != r))) {
        return;
    }
    if (!j->fs.mem && !j->fs.host && j->live[i]) {
        jit_flags_to_mem(j);
    }
    j->fs.recipe = no_recipe;
}

void jit_flags_forget(JitCtx *j, unsigned r)
{
    const FlagRecipe *f = &j->fs.recipe;
    if (f->d == r || (!f->is_imm && f->b == r)) {
        j->fs.recipe = no_recipe;
    }
}

bool jit_flags_needs_old(const JitCtx *j, unsigned i, unsigned next)
{
    const IrOp *op = &j->ops[i];
    unsigned after = j->live[next], needs = after & ~(unsigned)op->fdef;
    switch (op->op) {
    case IR_ADC:
    case IR_SBB:
    case IR_RCL:
    case IR_RCR:
        needs |= FS_CF;
        break;
    default:
        break;
    }
    if (op->op >= IR_ROL && op->op <= IR_SHRD && !(op->flags & IRF_IMM)) {
        needs |= after; /* a count of zero keeps them */
    }
    return needs != 0;
}

void jit_flags_define(JitCtx *j, unsigned i)
{
    if (jit_flags_needs_old(j, i, i + 1)) {
        jit_flags_to_host(j);
    }
}

void jit_flags_defined(JitCtx *j, const IrOp *op, bool in_registers)
{
    j->fs.host = true;
    j->fs.mem = false;
    j->fs.recipe = in_registers ? make_recipe(op) : no_recipe;
}

void jit_flags_rescue(JitCtx *j, const FlagState *fs)
{
    if (fs->mem || fs->recipe.op == IR_NOP) {
        return;
    }
    asm_mov(&j->a, 8, H_RDX, H_RAX);
    cook(j, &fs->recipe);
    save(j);
    asm_mov(&j->a, 8, H_RAX, H_RDX);
}
