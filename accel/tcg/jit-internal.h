/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * accel/tcg/jit-internal.h: shared by the JIT's files.
 *
 * HOST REGISTERS.  RBP points 128 bytes into CPUX86, so that guest registers and
 * temporaries are a short displacement away; the engine's data (TcgCpu) lies behind the
 * Vcpu at a constant distance.  RAX, RCX and RDX are scratch.  Eleven guest registers
 * are pinned to the others for as long as translated code runs; the remaining five and
 * the temporaries are operands in memory.  RSP is the host's, 16-byte aligned.
 *
 * FLAGS.  The guest's arithmetic flags are, at each point, in one or more of: the host's
 * flags; TcgCpu.fl (as alu.h has them); nowhere, but computable again from registers
 * that have not changed (a FlagRecipe).  FlagState says which.  At block borders they are in
 * TcgCpu.fl.  Liveness decides whether they must be kept at all.
 *
 * COLD CODE (TLB misses, I/O, exits) is noted while the straight code is emitted and
 * follows it, so that the likely path has no taken branches.
 */
#ifndef RHEA_ACCEL_TCG_JIT_INTERNAL_H
#define RHEA_ACCEL_TCG_JIT_INTERNAL_H

#include "accel/tcg/jit-asm.h"
#include "accel/tcg/jit.h"

/* RBP - &CPUX86 */
#define JIT_BIAS 128
#define CPU_OFF(field) ((int32_t)offsetof(CPUX86, field) - JIT_BIAS)
#define TC_OFF(field) ((int32_t)(VCPU_ENGINE_OFFSET + offsetof(TcgCpu, field)) - JIT_BIAS)

/* How flags can be made again: those of `op` on these operands. */
typedef struct FlagRecipe {
    uint16_t op; /* IrOpcode; IR_NOP: there is none */
    uint8_t size, d, b;
    bool is_imm;
    int64_t imm;
} FlagRecipe;

typedef struct FlagState {
    bool host; /* in the host's flags */
    bool mem;  /* in TcgCpu.fl */
    FlagRecipe recipe;
} FlagState;

/* What a TLB check is for; also the `info` of the runtime's jit_rt_load() and _store(). */
#define ACC_SIZE_MASK 0xffu
#define ACC_WRITE 0x100u /* must be writable */
#define ACC_READ 0x200u  /* (with ACC_WRITE) is read first */
#define ACC_SEG_SHIFT 12 /* segment, for the kind of fault */
#define ACC_WRITE_STACK 0x10000u

/* Arguments of STUB_WINDOW: the length, and the first load: where and how long. */
#define WINDOW_SIZE_SHIFT 8
#define WINDOW_OFFSET_SHIFT 16
#define WINDOW_SEG_SHIFT 24
#define WINDOWS ARRAY_LEN(((TcgCpu *)NULL)->window)

typedef struct JitCtx JitCtx;
/* Emits an operation on memory at JitCtx.at. */
typedef void MemFn(JitCtx *j, const IrOp *op);

typedef enum ColdKind {
    COLD_LOAD,    /* a TLB miss: come back with RAX = host address */
    COLD_STORE,   /* the same, or do it in a buffer and write that */
    COLD_CALL,    /* call a stub with the operation, then resume */
    COLD_LEAVE,   /* rest of the instruction, then leave the block */
    COLD_EXIT,    /* an exit that can be linked */
    COLD_STUB,    /* RAX = guest address, then go to a stub */
    COLD_TARGET,  /* RAX = guest address to go on at, not looked up successfully */
    COLD_LOOKUP,  /* RAX = guest address to go on at */
    COLD_RETURNS, /* the return stack is full: empty it */
    COLD_STACK,   /* the stack is on another page */
    COLD_WINDOW,  /* a TLB miss, or several loads are not in one page */
    COLD_FPU,     /* load the x87 state */
    COLD_VECTORS, /* load the vector registers, at level `slot` */
} ColdKind;

typedef struct Cold {
    uint8_t kind;
    uint8_t slot;
    uint16_t index;          /* of the operation */
    uint16_t rest;           /* first operation after what the store did */
    uint8_t *from;           /* displacement to be patched */
    uint8_t *resume, *after; /* COLD_STORE: where the operation starts, and what follows it;
                              * COLD_TARGET: `after` is a second `from` */
    const uint8_t *stub;
    MemFn *fn;
    uint32_t info;
    uint64_t rip;
    int32_t from_rsp; /* COLD_STACK */
    uint8_t vec;      /* JitCtx.vec there */
    bool fpu;         /* JitCtx.fpu there */
    FlagState before, done;
} Cold;
#define COLD_MAX 1024

/* A trace: blocks that are executed one after the other, made into one piece of code. */
#define TRACE_MAX_BLOCKS 16u
#define TRACE_MAX_INSNS 96u

/* Stubs: short pieces of code made once. */
typedef enum JitStub {
    STUB_LOAD,   /* RAX linear, EDX info, RCX guest rip -> RAX host address */
    STUB_STORE,  /* the same; RDX = 0 if the address is the memory itself */
    STUB_COMMIT, /* writes what was stored; keeps the host's flags; RCX != 0: leave */
    STUB_STACK, /* RAX linear, EDX length | ACC_WRITE_STACK -> RAX: it is TcgCpu.stack's page now */
    STUB_WINDOW, /* RAX linear, EDX WINDOW_*, RCX guest rip -> RAX host address, 0: not in a page */
    STUB_LINEAR, /* RAX operation, EDX info, RCX rip -> RAX linear address */
    STUB_CALL,   /* RAX operation, RCX rip -> EAX: 0 go on, 1 leave, 2 exit */
    STUB_VECTOR, /* likewise: a vector operation in C */
    STUB_ATOMIC, /* likewise */
    STUB_ALU,    /* likewise: an operation of the interpreter's */
    STUB_FAULT,  /* likewise: raises what the operation found wrong */
    STUB_EXIT,   /* RAX: what jit_run() returns */
    STUB_EXIT_AT, /* RAX as above, RCX: guest address */
    STUB_SECOND,  /* RAX: guest address that is not in TcgCpu.jump, in 64-bit mode */
    STUB_LOOKUP,  /* RAX: guest address to go on at, in 64-bit mode */
    STUB_LOOKUP32,
    STUB_NO_CODE,       /* RAX: guest address; leaves */
    STUB_DYNAMIC,       /* goes on at CPUX86.rip, with a look at everything */
    STUB_RETURN_OTHER,  /* RAX: guest address that is not the frame's, RDX: where to look it up */
    STUB_RETURN_EMPTY,  /* the same, from a frame of no call */
    STUB_RETURN_LOOKUP, /* the same: on to RDX */
    STUB_FPU,           /* x87 state into the host's; keeps flags, RAX, RDX; spills vectors */
    STUB_VEC1,          /* vector registers to level 1, from 0; keeps flags and registers */
    STUB_VEC2,          /* to level 2, from 0 */
    STUB_VEC12,         /* to level 2, from 0 or 1; changes flags */
    STUB_COUNT
} JitStub;

struct Jit {
    uint8_t *rw, *rx;
    size_t size;
    uint8_t *next, *first; /* in rw: free room; after the stubs */
    uint8_t *records;      /* JitExit and JitMember, as long as the code */
    size_t records_size, records_used;
    uint8_t *stub[STUB_COUNT];
    uint64_t (*enter)(void *biased_cpu, const void *code);
    uint32_t host[FEATURE_WORDS]; /* what the host's CPU can do, as far as it matters */
    bool avx;                     /* with the operating system's support */
    bool bmi2;
    bool icount; /* code counts instructions */
    JitCtx *ctx;
};

struct JitCtx {
    Asm a;
    Jit *jit;
    Block *b; /* the first */
    Block *blocks[TRACE_MAX_BLOCKS];
    unsigned n_blocks;
    unsigned n; /* operations */
    /* `pc` is relative to b->rip, and signed; IR_JCC leaves by link `d`. */
    IrOp ops[BLOCK_MAX_OPS];
    const IrOp *source[BLOCK_MAX_OPS]; /* in its block */
    uint8_t part[BLOCK_MAX_OPS];       /* index into blocks */
    FlagState fs;
    Opnd at;                       /* the memory operand that was checked */
    unsigned stack_end;            /* accesses of the stack are checked up to this operation … */
    bool stack_write;              /* … by TcgCpu.stack[][stack_write] */
    uint8_t window[BLOCK_MAX_OPS]; /* loads: 1 + index into TcgCpu.window, or 0 */
    int16_t window_offset[BLOCK_MAX_OPS]; /* from that address */
    unsigned window_end[WINDOWS];         /* the operation from which on it is free */
    unsigned window_first[WINDOWS];       /* its first load, which looks into the TLB */
    uint8_t window_len[WINDOWS];
    bool window_ready[WINDOWS]; /* that has been translated */
    unsigned n_cold;
    bool never;                          /* something that is left to the interpreter */
    bool in_cold;                        /* emitting cold code */
    uint8_t vec;                         /* TcgCpu.vec_level is this at least */
    bool fpu;                            /* TcgCpu.fpu_level is 1 */
    uint8_t live[BLOCK_MAX_OPS + 1];     /* flags needed before each operation */
    uint8_t *join[BLOCK_MAX_OPS + 1][2]; /* jumps to be patched to operation n */
    Cold cold[COLD_MAX];
};

/* ---- registers (jit-int.c) ---- */
#define GUEST_PINNED 11
typedef struct PinnedReg {
    uint8_t guest, host;
} PinnedReg;
extern const PinnedReg jit_pinned[GUEST_PINNED];
/* Where guest register or temporary r lives. */
Opnd jit_loc(unsigned r);
/* Its value in a host register: its own, or `scratch`. */
unsigned jit_get(JitCtx *j, unsigned r, unsigned scratch);
/* Writes `size` bytes by x86's rules. */
void jit_put(JitCtx *j, unsigned size, unsigned r, unsigned host);

/* ---- flags (jit-flags.c) ---- */
/*
 * The host's flags are about to be lost before (or by) operation i; after
 * jit_flags_reg_changes(), which may make them again.
 */
void jit_flags_clobber(JitCtx *j, unsigned i);
/* They are needed in the host's flags / in TcgCpu.fl. */
void jit_flags_to_host(JitCtx *j);
void jit_flags_to_mem(JitCtx *j);
/* Guest register r is about to change, by operation i. */
void jit_flags_reg_changes(JitCtx *j, unsigned i, unsigned r);
/* The same for flags that nobody wants any more. */
void jit_flags_forget(JitCtx *j, unsigned r);
/* Does operation i, which defines flags, use or keep some that are live before `next`? */
bool jit_flags_needs_old(const JitCtx *j, unsigned i, unsigned next);
/* Operation i is about to define flags; afterwards jit_flags_defined(). */
void jit_flags_define(JitCtx *j, unsigned i);
void jit_flags_defined(JitCtx *j, const IrOp *op, bool in_registers);
/* For cold code: in memory, keeping RAX; the state is not changed. */
void jit_flags_rescue(JitCtx *j, const FlagState *fs);

/* ---- memory (jit-mem.c) ---- */
/* RAX = linear address of op's memory operand. */
void jit_linear(JitCtx *j, unsigned i, const IrOp *op, uint32_t info);
/* RAX = host address, for a load; uses RCX, RDX. */
void jit_check_load(JitCtx *j, unsigned i, uint32_t info);
/* For a store (or read-modify-write) that `fn` emits for `op`; `rest`: what comes after it. */
void jit_check_store(JitCtx *j, unsigned i, uint32_t info, MemFn *fn, const IrOp *op,
                     unsigned rest);
/* Both with the address of `mem`, and all that is done to flags; JitCtx.at is the operand. */
void jit_load_from(JitCtx *j, unsigned i, const IrOp *mem, uint32_t info);
void jit_store_to(JitCtx *j, unsigned i, const IrOp *mem, uint32_t info, MemFn *fn, const IrOp *op,
                  unsigned rest);
/* The accesses themselves, of JitCtx.at; RAX stays. */
void jit_load_value(JitCtx *j, const IrOp *op);
void jit_store_value(JitCtx *j, const IrOp *op);
void jit_push_value(JitCtx *j, const IrOp *op);
uint32_t jit_info(const IrOp *op, unsigned size, uint32_t rights);
/* Same memory operand? */
bool jit_same_mem(const IrOp *x, const IrOp *y);
/* ---- the stack (jit-stack.c) ---- */
/*
 * Before operation i: if accesses of the stack begin here, one check for all that follow
 * until RSP becomes unknown.
 */
void jit_stack_begin(JitCtx *j, unsigned i);
/* Is operation i's operand `mem` checked already?  Then JitCtx.at is it, by RAX. */
bool jit_stack_operand(JitCtx *j, unsigned i, const IrOp *mem);
/*
 * From operation i on, accesses of the stack side by side that are checked already, such as a
 * function's first pushes: RSP changes once.  The operation after them; 0: there are none.
 */
unsigned jit_stack_run(JitCtx *j, unsigned i);
void jit_cold_stack(JitCtx *j, const Cold *c);
/* On to the block without such checks that begins with operation i's instruction. */
void jit_go_without(JitCtx *j, unsigned i);

/* ---- neighbouring loads (jit-window.c) ---- */
/* Before operation i: if it is the first of some loads by one register, one check for all. */
void jit_window_begin(JitCtx *j, unsigned i);
/* Is the operand checked already?  Then JitCtx.at is it, by RAX. */
bool jit_window_operand(JitCtx *j, const IrOp *mem);
void jit_cold_window(JitCtx *j, const Cold *c);
/* The lookup in the TLB: the displacement of the jump on a miss; else RAX = host address. */
uint8_t *jit_lookup(JitCtx *j, uint32_t info);
/* Operations that access memory, fused with their neighbours; 0: not mine. */
unsigned jit_memory_op(JitCtx *j, unsigned i);

/* ---- by kind: the number of operations done, 0: not mine ---- */
unsigned jit_integer_op(JitCtx *j, unsigned i);
unsigned jit_flow_op(JitCtx *j, unsigned i);
unsigned jit_vector_op(JitCtx *j, unsigned i);
/* `op` on [RAX] or a register: d op= b or imm; emits just the host instruction. */
void jit_alu_mem(JitCtx *j, const IrOp *op, unsigned size);

void jit_vec_probe_host(Jit *jit);
/* `feature`: as decode.h's FEATURE() makes it; 0: none needed. */
bool jit_host_has(const Jit *jit, unsigned feature);
/* Operation i, IR_RET, from JitCtx.at; so many bytes above it were popped before. */
void jit_return(JitCtx *j, unsigned i, int popped);
/* RAX is the target of operation i: on to it, or to jit_cold_target(). */
void jit_go_to_target(JitCtx *j, unsigned i);
/* Leaves to a direct target by link `slot`; `from`: the jump there, NULL: straight ahead. */
void jit_direct_exit(JitCtx *j, unsigned i, unsigned slot, uint64_t target, uint8_t *from);

/* ---- the return stack (jit-return.c) ---- */
/* Is `op` a call's push, here where calls leave frames? */
bool jit_makes_frame(const JitCtx *j, const IrOp *op);
/* After operation i, which is one: RCX is what it pushed. */
void jit_return_frame(JitCtx *j, unsigned i);
/* At the entry: there is room for all of the trace's frames. */
void jit_return_room(JitCtx *j);
void jit_cold_returns(JitCtx *j, const Cold *c);
/* IR_RET, operation i, to RAX; false: not here. */
bool jit_host_return(JitCtx *j, unsigned i);
void jit_make_return_stubs(Jit *jit, Asm *a);
void jit_begin_stub(Jit *jit, Asm *a, JitStub s);
/* The code of COLD_TARGET. */
void jit_cold_target(JitCtx *j, const Cold *c);
/* A vector instruction, or another in VEX encoding. */
typedef struct VecInsn {
    unsigned prefix; /* 0, 1: 66, 2: F3, 3: F2 */
    unsigned map;    /* 1: 0F, 2: 0F38, 3: 0F3A */
    unsigned opcode;
    bool vex, w, l;
    unsigned vvvv; /* register, or 0 */
} VecInsn;
void jit_asm_vector(Asm *a, const VecInsn *v, unsigned reg, Opnd rm);
unsigned jit_bmi_op(JitCtx *j, unsigned i);
/* An x87 instruction, if it can be done here (jit-x87.c). */
bool jit_x87_op(JitCtx *j, unsigned i);

/* ---- driver (jit.c) ---- */
Cold *jit_cold(JitCtx *j, ColdKind kind, unsigned i);
/* Emits operation i (and what is fused with it); the index of the next one. */
unsigned jit_emit(JitCtx *j, unsigned i);
/* Emits the rest of i's instruction from `rest` on, then an exit to the next one. */
void jit_emit_rest(JitCtx *j, unsigned i, unsigned rest);
/* Its instruction's address, relative to IR_PC; jit_asm_rip() puts the address into a register. */
uint64_t jit_rip(const JitCtx *j, const IrOp *op);
void jit_asm_rip(JitCtx *j, unsigned reg, uint64_t rip);
/* Calls a stub that takes the operation; in the straight path or in cold code. */
void jit_call_stub(JitCtx *j, JitStub s, unsigned i);
/* After a call of C: x87 and vector registers (at level `vec`) as before; keeps RAX, RDX, flags. */
void jit_reload_units(JitCtx *j, bool fpu, unsigned vec);
void jit_jump_stub(JitCtx *j, JitStub s);
/*
 * -icount: the block is left for `rip` within it; the instructions from there on go back
 * into the budget.  Changes the host's flags.
 */
void jit_count_back(JitCtx *j, uint64_t rip);
/* The address that stub code must use for operation i of the block. */
static inline const IrOp *jit_block_op(const JitCtx *j, unsigned i)
{
    return j->source[i];
}
/* The block it is from. */
static inline Block *jit_block_of(const JitCtx *j, unsigned i)
{
    return j->blocks[j->part[i]];
}

/* ---- traces (jit-trace.c) ---- */
/* Fills in the trace that begins with `b`. */
void jit_build_trace(JitCtx *j, Block *b);

/* ---- stubs and runtime (jit-stubs.c, jit-rt.c) ---- */
void jit_make_stubs(Jit *jit, Asm *a);
/* Goes on at the guest address in RAX; cs_base: not in 64-bit mode. */
void jit_asm_lookup(Asm *a, const Jit *jit, bool cs_base);
/* At `rip`, or to `miss` with it in RAX. */
void jit_asm_lookup_known(Asm *a, const uint8_t *miss, uint64_t rip);
/* The address in RAX, for a block with BLOCK_NO_STACK. */
void jit_asm_lookup_no_stack(Asm *a, const uint8_t *miss);
/* For 64-bit mode, with jumps to be patched; an address that is found is a canonical one. */
void jit_asm_lookup_or(Asm *a, uint8_t *miss[2]);
typedef struct JitStoreResult {
    void *ptr;
    uint64_t buffered;
} JitStoreResult;
void jit_rt_fpu_load(CPUX86 *cpu);
/* Takes the image apart that was saved last, if it has not been done. */
void jit_rt_fpu_sync(CPUX86 *cpu);
void *jit_rt_load(CPUX86 *cpu, uint64_t linear, uint32_t info, uint64_t rip);
void *jit_rt_window(CPUX86 *cpu, uint64_t linear, uint32_t info, uint64_t rip);
uint64_t jit_rt_stack(CPUX86 *cpu, uint64_t linear, uint32_t info);
JitStoreResult jit_rt_store(CPUX86 *cpu, uint64_t linear, uint32_t info, uint64_t rip);
uint64_t jit_rt_commit(CPUX86 *cpu, uintptr_t ret);
uint64_t jit_rt_linear(CPUX86 *cpu, const IrOp *op, uint32_t info, uint64_t rip);
uint32_t jit_rt_call(CPUX86 *cpu, const IrOp *op, uint64_t rip, uintptr_t ret);
uint32_t jit_rt_vector(CPUX86 *cpu, const IrOp *op, uint64_t rip, uintptr_t ret);
uint32_t jit_rt_atomic(CPUX86 *cpu, const IrOp *op, uint64_t rip, uintptr_t ret);
uint32_t jit_rt_alu(CPUX86 *cpu, const IrOp *op, uint64_t rip, uintptr_t ret);
uint32_t jit_rt_fault(CPUX86 *cpu, const IrOp *op, uint64_t rip, uintptr_t ret);

#endif
