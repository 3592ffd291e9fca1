/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * accel/tcg/interp.h: the interpreter's rarer operations, and what else of it the
 * engine uses.  `fl`: flags as alu.h has them.
 */
#ifndef RHEA_ACCEL_TCG_INTERP_H
#define RHEA_ACCEL_TCG_INTERP_H

#include "accel/tcg/ir.h"

/* Which IRQ_* bits may be served in the present state. */
uint32_t tcg_irq_mask(const CPUX86 *cpu);
/* Linear address of an operation's memory operand; raises segment faults. */
uint64_t tcg_op_linear(CPUX86 *cpu, const IrOp *op, unsigned size, bool write);

/* #GP, or #SS for the stack segment, if some of an operand is at no address of 64-bit mode. */
void tcg_check_address(CPUX86 *cpu, const IrOp *op, uint64_t lin, unsigned size);

void interp_movsx(uint64_t *regs, const IrOp *op);
void interp_flagop(uint64_t *regs, const IrOp *op, uint32_t *fl);
/* SHLD, multiplication, division (may raise #DE), bits, BMI, ADX, 16-bit LEA and CMOV. */
void interp_slow_alu(CPUX86 *cpu, const IrOp *op, uint32_t *fl);
/* IR_ATOMIC: one locked read-modify-write. */
void interp_atomic(CPUX86 *cpu, const IrOp *op, uint32_t *fl);
/* IR_VLD to IR_SIMD, by themselves. */
void interp_vector(CPUX86 *cpu, const IrOp *op);
/* Raises what IR_TRAP, IR_ALIGN, IR_ALIGN_GP, IR_CHKIP or IR_RET (target in IR_T0) find wrong. */
void interp_fault(CPUX86 *cpu, const IrOp *op);
static inline bool interp_is_zero(uint64_t v, unsigned size)
{
    return size == 8 ? v == 0 : (v & ((1ull << (8 * size)) - 1)) == 0;
}

#endif
