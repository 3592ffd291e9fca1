/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The JIT's x87: while TcgCpu.fpu_level is 1 the guest's x87 state is the host's, and
 * instructions are emitted as the guest has them.  It is loaded when translated code first
 * needs it and saved before C is called (jit-stubs.c), as an FNSAVE image that jit-rt.c
 * takes apart.  Blocks with unmasked exceptions (BLOCK_SOFT_X87) leave all to C, and so
 * do instructions that touch the environment or the control word.
 *
 * FIP and its companions are written once for a run of x87 instructions: for its last.
 */
#include "accel/tcg/jit-internal.h"

/* Bytes of the memory operand; 0: not for here. `store`: it is written. */
static unsigned memory_size(unsigned esc, unsigned reg, bool *store)
{
    static const uint8_t size[8][8] = {
        {4, 4, 4, 4, 4, 4, 4, 4},   {4, 0, 4, 4, 0, 0, 0, 2},   {4, 4, 4, 4, 4, 4, 4, 4},
        {4, 4, 4, 4, 0, 10, 0, 10}, {8, 8, 8, 8, 8, 8, 8, 8},   {8, 8, 8, 8, 0, 0, 0, 2},
        {2, 2, 2, 2, 2, 2, 2, 2},   {2, 2, 2, 2, 10, 8, 10, 8},
    };
    bool moves = esc & 1;
    *store = moves && (reg == 1 || reg == 2 || reg == 3 || reg == 7 || (esc == 7 && reg == 6));
    return size[esc][reg];
}

/* Register forms that are done here. */
static bool register_form(unsigned esc, unsigned modrm)
{
    unsigned reg = modrm >> 3 & 7;
    switch (esc) {
    case 1:
        /* FLD, FXCH, FNOP, FCHS FABS FTST FXAM, constants, functions; all but reserved ones. */
        return reg < 2 || modrm == 0xd0 ||
               (reg == 4 && modrm != 0xe2 && modrm != 0xe3 && modrm < 0xe6) ||
               (reg == 5 && modrm != 0xef) || reg >= 6;
    case 2:
        return modrm == 0xe9 || reg < 4; /* FUCOMPP, FCMOVcc */
    case 3:
        return reg < 4 || reg == 5 || reg == 6; /* FCMOVcc, FUCOMI, FCOMI */
    case 7:
        return modrm == 0xe0 || reg == 5 || reg == 6; /* FNSTSW AX, FUCOMIP, FCOMIP */
    case 5:
        return reg == 0 || (reg >= 2 && reg <= 5); /* FFREE FST FSTP FUCOM FUCOMP */
    case 6:
        return reg < 2 || reg >= 4 || modrm == 0xd9; /* arithmetic and pop, FCOMPP */
    case 0:
    case 4:
        return esc == 0 || reg < 2 || reg >= 4;
    default:
        return false;
    }
}

/* The host's x87 holds the guest's state. */
static void need_fpu(JitCtx *j, unsigned i)
{
    if (j->fpu) {
        return;
    }
    jit_flags_clobber(j, i);
    asm_alu_imm(&j->a, 7, 1, asm_mem(H_RBP, TC_OFF(fpu_level)), 0);
    Cold *c = jit_cold(j, COLD_FPU, i);
    c->from = asm_jcc(&j->a, CC_E);
    c->resume = j->a.p;
    j->fpu = true;
}

static void emit_memory(JitCtx *j, const IrOp *op)
{
    asm_rm_prefix(&j->a, 0, 4, 0, 0xd8 | op->b, op->a >> 3 & 7, asm_mem(H_RAX, 0));
}

static bool is_x87(const IrOp *op)
{
    return op->op == IR_CALL && (((const IrHelper *)(intptr_t)op->imm)->effects & HE_X87);
}

static bool is_control(const IrOp *op)
{
    unsigned reg = op->a >> 3 & 7; /* FNSTCW, FNSTSW */
    return ((op->b == 1 || op->b == 5) && op->a < 0xc0 && reg == 7) ||
           (op->b == 7 && op->a == 0xe0);
}

/* FOP, FIP, FCS; FDP and FDS of a memory operand were put to TcgCpu.fpu_dp. */
static void note_instruction(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    jit_asm_rip(j, H_RCX, jit_rip(j, op));
    asm_store(&j->a, 8, asm_mem(H_RBP, CPU_OFF(x87.fip)), H_RCX);
    asm_store_imm(&j->a, 2, asm_mem(H_RBP, CPU_OFF(x87.fop)), op->b << 8 | op->a);
    asm_load(&j->a, 2, H_RCX, asm_mem(H_RBP, CPU_OFF(segs[SEG_CS].selector)));
    asm_store(&j->a, 2, asm_mem(H_RBP, CPU_OFF(x87.fcs)), H_RCX);
}

/* FDP is the offset within the segment. */
static void note_operand(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    int32_t seg = CPU_OFF(segs[0].selector) + (int32_t)sizeof(Segment) * (int32_t)op->seg;
    jit_linear(j, i, op, 0);
    asm_store(&j->a, 8, asm_mem(H_RBP, CPU_OFF(x87.fdp)), H_RAX);
    asm_load(&j->a, 2, H_RCX, asm_mem(H_RBP, seg));
    asm_store(&j->a, 2, asm_mem(H_RBP, CPU_OFF(x87.fds)), H_RCX);
}

static void with_memory(JitCtx *j, unsigned i, unsigned size, bool store)
{
    const IrOp *op = &j->ops[i];
    uint32_t info = jit_info(op, size, store ? ACC_WRITE : ACC_READ);
    jit_flags_clobber(j, i);
    jit_linear(j, i, op, info);
    if (store) {
        jit_check_store(j, i, info, emit_memory, op, i + 1);
        j->cold[j->n_cold - 1].done = j->fs;
    } else {
        jit_check_load(j, i, info);
        emit_memory(j, op);
    }
}

/* Does another x87 instruction with a memory operand follow at once? */
static bool operand_follows(const JitCtx *j, unsigned i)
{
    while (++i < j->n && is_x87(&j->ops[i])) {
        if (j->ops[i].a < 0xc0 && !is_control(&j->ops[i])) {
            return true;
        }
    }
    return false;
}

static void with_registers(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    unsigned reg = op->a >> 3 & 7;
    bool moves = (op->b == 2 || op->b == 3) && reg < 4;
    bool compares = (op->b == 3 || op->b == 7) && (reg == 5 || reg == 6);
    if (moves) {
        jit_flags_to_host(j);
    } else if (op->b == 7 && op->a == 0xe0) {
        jit_flags_reg_changes(j, i, R_RAX);
    }
    asm_8(&j->a, 0xd8 | op->b);
    asm_8(&j->a, op->a);
    if (compares) {
        jit_flags_defined(j, op, false);
    } else if (op->b == 7) {
        jit_put(j, 2, R_RAX, H_RAX);
    }
}

bool jit_x87_op(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    bool store = false, memory = op->a < 0xc0;
    if (!is_x87(op) || (j->b->flags & (BLOCK_SOFT_X87 | HF_ALIGN_CHECK)) ||
        !(j->b->flags & HF_FPU_OK)) {
        return false;
    }
    unsigned size = memory ? memory_size(op->b, op->a >> 3 & 7, &store) : 0;
    if (memory ? !size : !register_form(op->b, op->a)) {
        return false;
    }
    need_fpu(j, i);
    if (memory) {
        with_memory(j, i, size, store);
    } else {
        with_registers(j, i);
    }
    if (memory && !is_control(op) && !operand_follows(j, i)) {
        note_operand(j, i);
    }
    if (!is_control(op) && (i + 1 >= j->n || !is_x87(&j->ops[i + 1]))) {
        note_instruction(j, i);
    }
    return true;
}
