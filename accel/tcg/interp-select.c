/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Chooses the interpreter's handler for each IR operation. */
#include "accel/tcg/internal.h"
#include "accel/tcg/interp-handlers.h"

static unsigned log2_size(unsigned size)
{
    return (unsigned)__builtin_ctz(size);
}

/* 0 B, 1 X, 2 F, 3 G: as FOR_SHAPES. */
static unsigned shape(const IrOp *op)
{
    if (op->flags & (IRF_SEG | IRF_BASE | IRF_A16)) {
        return 3;
    }
    if (op->flags & IRF_A32) {
        return 2;
    }
    return op->index == IR_ZERO ? 0 : 1;
}

static unsigned select_alu(const IrOp *op)
{
    unsigned lg = log2_size(op->size), imm = op->flags & IRF_IMM ? 1 : 0;
    switch (op->op) {
    case IR_CMP:
        return H_cmp8R + lg * 2 + imm;
    case IR_TEST:
        return H_test8R + lg * 2 + imm;
    case IR_INC:
        return H_inc8 + lg;
    case IR_DEC:
        return H_dec8 + lg;
    case IR_NEG:
        return H_neg8 + lg;
    case IR_NOT:
        return H_not8 + lg;
    default:
        return (unsigned)(H_add8RN + (op->op - IR_ADD) * 16) + lg * 4 + imm * 2 +
               (op->flags & IRF_LIVE ? 1 : 0);
    }
}

static unsigned select_move(const IrOp *op)
{
    switch (op->op) {
    case IR_MOV:
        if ((op->flags & IRF_IMM) && op->size == 8) {
            return H_movi64;
        }
        return H_mov8R + log2_size(op->size) * 2 + (op->flags & IRF_IMM ? 1 : 0);
    case IR_MOVZX:
        return op->size == 1   ? H_movzx8
               : op->size == 2 ? H_movzx16
               : op->size == 4 ? H_movzx32
                               : H_mov64R;
    default: /* IR_MOVSX */
        if (op->size == 8) {
            return op->sub == 1 ? H_movsx8_64 : op->sub == 2 ? H_movsx16_64 : H_movsx32_64;
        }
        if (op->size == 4 && op->sub < 4) {
            return op->sub == 1 ? H_movsx8_32 : H_movsx16_32;
        }
        return H_movsx;
    }
}

static unsigned select_memory(const IrOp *op)
{
    unsigned sh = shape(op), lg = log2_size(op->size ? op->size : 8);
    switch (op->op) {
    case IR_LD:
        return (op->flags & IRF_WRITE ? H_ldw8B : H_ld8B) + lg * 4 + sh;
    case IR_LDSX:
        return H_ldsx8B + lg * 4 + sh;
    default:
        return (op->flags & IRF_IMM ? H_sti8B : H_st8B) + lg * 4 + sh;
    }
}

/* Comparison directly followed by the block's last branches. */
static int select_fused(const IrOp *op, const IrOp *end)
{
    if (op + 2 >= end || op[1].op != IR_JCC || op[2].op != IR_JMP || op[2].sub != 1 ||
        op->size == 2 || (op->op != IR_CMP && op->op != IR_TEST)) {
        return -1;
    }
    unsigned col = (op->size == 1 ? 0u : op->size == 4 ? 2u : 4u) + (op->flags & IRF_IMM ? 1u : 0u);
    return (int)((op->op == IR_CMP ? H_cmpj8R0 : H_testj8R0) + col * 16u + op[1].sub);
}

static unsigned select_simple(const IrOp *op)
{
    static const uint16_t simple[IR_COUNT] = {
        [IR_NOP] = H_nop,       [IR_EXTH] = H_exth,         [IR_INSH] = H_insh,
        [IR_BSWAP] = H_bswap,   [IR_POP] = H_pop,           [IR_RET] = H_ret,
        [IR_ALIGN] = H_align,   [IR_ALIGN_GP] = H_align_gp, [IR_ATOMIC] = H_atomic,
        [IR_SKIP] = H_skip,     [IR_SKIPZ] = H_skipz,       [IR_JMPR] = H_jmpr,
        [IR_CHKIP] = H_chkip,   [IR_SETIP] = H_setip,       [IR_TRAP] = H_trap,
        [IR_CALL] = H_call,     [IR_CALLX] = H_callx,       [IR_VLD] = H_vld,
        [IR_VST] = H_vst,       [IR_VFROMG] = H_vfromg,     [IR_GFROMV] = H_gfromv,
        [IR_VFROMM] = H_vfromm, [IR_MFROMV] = H_mfromv,     [IR_SIMD] = H_simd,
        [IR_SETCC] = H_setcc,   [IR_FLAGOP] = H_flagop,     [IR_VZERO] = H_vzero,
    };
    switch (op->op) {
    case IR_PUSH:
        return op->flags & IRF_IMM ? H_push_i : H_push_r;
    case IR_JMP:
        return op->sub ? H_jmp1 : H_jmp0;
    case IR_JCC:
        return H_jcc0 + op->sub;
    case IR_EXIT:
        return op->sub ? H_exit_out : H_exit;
    case IR_VMOV:
        return op->size == 16 ? H_vmov16 : H_vmov;
    case IR_CMOV:
        return op->size == 8   ? H_cmov64_0 + op->sub
               : op->size == 4 ? H_cmov32_0 + op->sub
                               : H_slow_alu;
    case IR_NOP:
        return H_nop;
    default:
        return simple[op->op] ? simple[op->op] : H_slow_alu;
    }
}

static unsigned select_one(const IrOp *op)
{
    switch (op->op) {
    case IR_MOV:
    case IR_MOVZX:
    case IR_MOVSX:
        return select_move(op);
    case IR_LD:
    case IR_LDSX:
    case IR_ST:
        return select_memory(op);
    case IR_LEA:
        return op->size == 2
                   ? H_slow_alu
                   : (op->size == 8 ? H_lea64B : H_lea32B) + (op->flags & IRF_A16 ? 3 : shape(op));
    case IR_ADD:
    case IR_OR:
    case IR_ADC:
    case IR_SBB:
    case IR_AND:
    case IR_SUB:
    case IR_XOR:
    case IR_CMP:
    case IR_TEST:
    case IR_INC:
    case IR_DEC:
    case IR_NEG:
    case IR_NOT:
        return select_alu(op);
    case IR_ROL:
    case IR_ROR:
    case IR_RCL:
    case IR_RCR:
    case IR_SHL:
    case IR_SHR:
    case IR_SAL:
    case IR_SAR: {
        unsigned k = op->op == IR_SAL ? IR_SHL : op->op == IR_SAR ? IR_SAL : op->op;
        return H_rol8R + (k - IR_ROL) * 8 + log2_size(op->size) * 2 + (op->flags & IRF_IMM ? 1 : 0);
    }
    default:
        return select_simple(op);
    }
}

void tcg_interp_select(IrOp *ops, unsigned n)
{
    const void *const *labels = interp_handler_table();
    for (unsigned i = 0; i < n; i++) {
        int h = select_fused(&ops[i], ops + n);
        if (h < 0) {
            h = (int)select_one(&ops[i]);
        }
        ops[i].handler = (int32_t)((const char *)labels[h] - (const char *)labels[0]);
    }
}
