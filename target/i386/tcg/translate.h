/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target/i386/tcg/translate.h: from decoded instructions to IR; private to the
 * translator's files.  A Translator lives while one block is translated.
 */
#ifndef RHEA_TARGET_I386_TCG_TRANSLATE_H
#define RHEA_TARGET_I386_TCG_TRANSLATE_H

#include "accel/tcg/internal.h"
#include "accel/tcg/ir.h"
#include "target/i386/decode.h"

typedef struct Translator {
    CPUX86 *cpu;
    CodeReader *reader;
    uint64_t flags; /* the block's: hflags and BLOCK_* */
    IrOp *ops;
    unsigned n;
    /* the present instruction */
    const DecodedInsn *in;
    uint64_t rip, next; /* its address, and the following one's: relative to IR_PC */
    bool pic;           /* IR_PC is not zero */
    unsigned pc;        /* rip relative to the block */
    bool first;         /* of the block */
    bool done;          /* it ended the block */
} Translator;

/* A memory operand, ready to be put into operations. */
typedef struct MemRef {
    uint8_t base, index, scale, seg, flags;
    int32_t disp;
} MemRef;

/* ---- emitting (translate.c) ---- */
IrOp *tr_emit(Translator *t, IrOpcode op, unsigned size);
IrOp *tr_op2(Translator *t, IrOpcode op, unsigned size, unsigned d, unsigned b);
IrOp *tr_op2i(Translator *t, IrOpcode op, unsigned size, unsigned d, int64_t imm);
void tr_mov(Translator *t, unsigned size, unsigned d, unsigned a);
void tr_movi(Translator *t, unsigned size, unsigned d, uint64_t imm);
MemRef tr_mem(Translator *t);
/* Memory on the stack: SS:[reg + disp] with the stack's address size. */
MemRef tr_stack(const Translator *t, unsigned reg, int disp);
void tr_set_mem(IrOp *op, const MemRef *m);
void tr_load(Translator *t, unsigned size, unsigned d, const MemRef *m, bool for_write);
void tr_store(Translator *t, unsigned size, unsigned a, const MemRef *m);
/* #AC if user mode asked for it and an operand of 2, 4, 8 bytes is not aligned. */
void tr_align_check(Translator *t, unsigned size, const MemRef *m);
void tr_align(Translator *t, unsigned size, const MemRef *m);
/* d = offset of m, of `size` bytes; no flags. */
void tr_lea(Translator *t, unsigned size, unsigned d, const MemRef *m);
unsigned tr_stack_size(const Translator *t); /* bytes of the stack pointer */
bool tr_is64(const Translator *t);
/* Operand i in a register: itself, or tmp. */
unsigned tr_get(Translator *t, unsigned i, unsigned tmp);
/* Writes operand i (register or memory). */
void tr_put(Translator *t, unsigned i, unsigned reg);
/* A helper; the operation returned can be given operands. */
IrOp *tr_call(Translator *t, const IrHelper *h);
IrOp *tr_callx(Translator *t, const IrHelper *h);
void tr_trap(Translator *t, int vector);
/* Ends the block: RIP is in the CPU state already (by a helper). */
void tr_exit(Translator *t);
/* Ends the block before the next instruction, with a full look at the CPU's state. */
void tr_exit_next(Translator *t);
/* Ends the block with a direct jump, link 0 or 1. */
void tr_jump(Translator *t, unsigned slot, uint64_t target);

/* ---- by kind: true if the instruction is theirs ---- */
bool tr_integer(Translator *t);
bool tr_bits(Translator *t);
bool tr_flow(Translator *t);
bool tr_stack_insn(Translator *t);
bool tr_string(Translator *t);
bool tr_system(Translator *t);
bool tr_vector(Translator *t);
bool tr_avx(Translator *t);
bool tr_extension(Translator *t);

/* ---- vectors ---- */
/* The entry check of SSE's instructions, as tr_avx_state(). */
bool tr_sse_state(Translator *t);
/* The entry check of VEX-encoded vector instructions; false: the instruction faults. */
bool tr_avx_state(Translator *t);
/* Clears what lies above the `size` bytes of vector d that a VEX form wrote. */
void tr_clear_upper(Translator *t, unsigned d, unsigned size);

/* ---- for helper wrappers ---- */
/* Address of the following instruction: the wrapper's op has its length in `sub`. */
static inline uint64_t op_next_rip(const CPUX86 *cpu, const IrOp *op)
{
    uint64_t next = cpu->rip + op->sub;
    return cpu->hflags & HF_CS64 ? next : (uint32_t)next;
}
static inline unsigned cpu_stack_size(const CPUX86 *cpu)
{
    return cpu->hflags & HF_CS64 ? 8 : cpu->hflags & HF_SS32 ? 4 : 2;
}

#define HELPER(id, text, function, eff) \
    static const IrHelper id = {.name = (text), .fn = (function), .effects = (eff)}

#endif
