/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The JIT's stubs: the way in and out, calls of C, the lookup of indirect targets. */
#include "accel/tcg/jit-internal.h"

static Opnd home(unsigned guest)
{
    return asm_mem(H_RBP, (int32_t)(8 * guest) - JIT_BIAS);
}

static Opnd vector_home(unsigned i)
{
    return asm_mem(H_RBP, CPU_OFF(vec[0]) + (int32_t)sizeof(Vec) * (int32_t)i);
}

/* MOVAPS or, for 32 bytes, VMOVAPS of all vector registers to (from) their homes. */
static void move_vectors(Asm *a, bool wide, bool to_memory)
{
    for (unsigned i = 0; i < 16; i++) {
        Opnd m = vector_home(i);
        unsigned op = to_memory ? 0x29 : 0x28;
        if (!wide) {
            asm_rm_prefix(a, 0, 4, 0, OP_0F | op, i, m);
            continue;
        }
        asm_8(a, 0xc4);
        asm_8(a, (~asm_rex(0, i, m) & 7) << 5 | 1);
        asm_8(a, 0x7c); /* vvvv = 1111, L = 1 */
        asm_8(a, op);
        asm_modrm(a, i, m);
    }
}

static void mxcsr(Asm *a, bool save, Opnd m)
{
    asm_rm_prefix(a, 0, 4, 0, OP_0F | 0xae, save ? 3 : 2, m);
}

/* Vector registers and MXCSR back to the state, if they are here; changes flags. */
static void spill_vectors(Asm *a, bool avx)
{
    Opnd level = asm_mem(H_RBP, TC_OFF(vec_level));
    asm_alu_imm(a, 7, 1, level, 1);
    uint8_t *none = asm_jcc(a, CC_B), *wide = avx ? asm_jcc(a, CC_NE) : NULL, *done = NULL;
    move_vectors(a, false, true);
    if (avx) {
        done = asm_jmp(a);
        asm_here(a, wide);
        move_vectors(a, true, true);
        asm_8(a, 0xc5); /* VZEROUPPER: C has no use for the upper halves */
        asm_8(a, 0xf8);
        asm_8(a, 0x77);
        asm_here(a, done);
    }
    mxcsr(a, true, asm_mem(H_RBP, CPU_OFF(mxcsr)));
    mxcsr(a, false, asm_mem(H_RBP, TC_OFF(host_mxcsr)));
    asm_store_imm(a, 1, level, 0);
    asm_here(a, none);
}

static void load_vectors(Asm *a, unsigned level)
{
    move_vectors(a, level == 2, false);
    mxcsr(a, false, asm_mem(H_RBP, CPU_OFF(mxcsr)));
    asm_store_imm(a, 1, asm_mem(H_RBP, TC_OFF(vec_level)), (int)level);
    asm_8(a, 0xc3);
}

/* The x87 state to TcgCpu.fpu_image, if it is here; changes flags. */
static void spill_fpu(Asm *a)
{
    Opnd level = asm_mem(H_RBP, TC_OFF(fpu_level));
    asm_alu_imm(a, 7, 1, level, 0);
    uint8_t *none = asm_jcc(a, CC_E);
    asm_rm_prefix(a, 0, 4, 0, 0xdd, 6, asm_mem(H_RBP, TC_OFF(fpu_image))); /* FNSAVE */
    asm_store_imm(a, 1, level, 0);
    asm_store_imm(a, 1, asm_mem(H_RBP, TC_OFF(fpu_dirty)), 1);
    asm_here(a, none);
}

static void spill(Asm *a, bool avx)
{
    spill_vectors(a, avx);
    spill_fpu(a);
    for (unsigned i = 0; i < GUEST_PINNED; i++) {
        asm_store(a, 8, home(jit_pinned[i].guest), jit_pinned[i].host);
    }
}

static void reload(Asm *a)
{
    for (unsigned i = 0; i < GUEST_PINNED; i++) {
        asm_load(a, 8, jit_pinned[i].host, home(jit_pinned[i].guest));
    }
}

static void push(Asm *a, unsigned r)
{
    if (r >= 8) {
        asm_8(a, 0x41);
    }
    asm_8(a, 0x50 | (r & 7));
}

static void pop(Asm *a, unsigned r)
{
    if (r >= 8) {
        asm_8(a, 0x41);
    }
    asm_8(a, 0x58 | (r & 7));
}

/*
 * Calls C on its own stack.  So many bytes were pushed on the return stack since translated
 * code was left: they are not part of it if C does not come back.
 */
static void call_c(Asm *a, uintptr_t fn, int pushed)
{
    Opnd top = asm_mem(H_RBP, TC_OFF(return_top));
    asm_lea(a, 8, H_RAX, asm_mem(H_RSP, pushed));
    asm_store(a, 8, top, H_RAX);
    asm_load(a, 8, H_RSP, asm_mem(H_RBP, TC_OFF(c_stack)));
    asm_movi(a, H_RAX, fn);
    asm_ext(a, 4, 0xff, 2, asm_reg(H_RAX));
    asm_load(a, 8, H_RSP, top);
    asm_lea(a, 8, H_RSP, asm_mem(H_RSP, -pushed));
}

static const uint8_t saved[] = {H_RBP, H_RBX, H_R12, H_R13, H_R14, H_R15};

/* uint64_t enter(void *biased_cpu, const void *code) */
static void make_enter(Asm *a)
{
    for (unsigned i = 0; i < sizeof(saved); i++) {
        push(a, saved[i]);
    }
    asm_alu_imm(a, 5, 8, asm_reg(H_RSP), 8);
    asm_mov(a, 8, H_RBP, H_RDI);
    asm_mov(a, 8, H_RDX, H_RSI);
    asm_store(a, 8, asm_mem(H_RBP, TC_OFF(c_stack)), H_RSP);
    asm_load(a, 8, H_RSP, asm_mem(H_RBP, TC_OFF(return_top)));
    reload(a);
    /* Another CPU may just have dropped the block: then this is STUB_NO_CODE. */
    asm_load(a, 8, H_RAX, asm_mem(H_RBP, CPU_OFF(rip)));
    asm_ext(a, 4, 0xff, 4, asm_reg(H_RDX));
}

/* RAX is the result. */
static void make_exit(Asm *a, bool avx)
{
    spill(a, avx);
    asm_store(a, 8, asm_mem(H_RBP, TC_OFF(return_top)), H_RSP);
    asm_load(a, 8, H_RSP, asm_mem(H_RBP, TC_OFF(c_stack)));
    asm_alu_imm(a, 0, 8, asm_reg(H_RSP), 8);
    for (unsigned i = sizeof(saved); i-- > 0;) {
        pop(a, saved[i]);
    }
    asm_8(a, 0xc3);
}

/* A call of C; the arguments are in RAX, RDX, RCX and become the second, third and fourth. */
static void make_call3(Asm *a, bool avx, uintptr_t fn)
{
    spill(a, avx);
    asm_mov(a, 8, H_RSI, H_RAX);
    asm_lea(a, 8, H_RDI, asm_mem(H_RBP, -JIT_BIAS));
    call_c(a, fn, 8);
    reload(a);
    asm_8(a, 0xc3);
}

/* RAX: operation, RCX: guest address; C also gets the return address. */
static void make_call_op(Asm *a, bool avx, uintptr_t fn)
{
    spill(a, avx);
    asm_mov(a, 8, H_RSI, H_RAX);
    asm_mov(a, 8, H_RDX, H_RCX);
    asm_load(a, 8, H_RCX, asm_mem(H_RSP, 0));
    asm_lea(a, 8, H_RDI, asm_mem(H_RBP, -JIT_BIAS));
    call_c(a, fn, 8);
    reload(a);
    asm_8(a, 0xc3);
}

/* Keeps the host's flags. */
static void make_commit(Asm *a, bool avx)
{
    asm_8(a, 0x9c); /* PUSHFQ */
    spill(a, avx);
    asm_lea(a, 8, H_RDI, asm_mem(H_RBP, -JIT_BIAS));
    asm_load(a, 8, H_RSI, asm_mem(H_RSP, 8));
    call_c(a, (uintptr_t)jit_rt_commit, 16);
    asm_mov(a, 8, H_RCX, H_RAX);
    reload(a);
    asm_8(a, 0x9d); /* POPFQ */
    asm_8(a, 0xc3);
}

static void make_fpu_load(Asm *a, bool avx)
{
    asm_8(a, 0x9c); /* PUSHFQ */
    push(a, H_RAX);
    push(a, H_RDX);
    spill(a, avx);
    asm_lea(a, 8, H_RDI, asm_mem(H_RBP, -JIT_BIAS));
    call_c(a, (uintptr_t)jit_rt_fpu_load, 32);
    reload(a);
    pop(a, H_RDX);
    pop(a, H_RAX);
    asm_8(a, 0x9d); /* POPFQ */
    asm_8(a, 0xc3);
}

static Opnd jump_entry(bool second, size_t field)
{
    return asm_mem_x(H_RBP, H_RCX, 0, (second ? TC_OFF(jump2) : TC_OFF(jump)) + (int)field);
}

/* RAX: target.  The hash is tcg_jump_index() or tcg_jump2_index(); RDX: what the key must be. */
static void index_jumps(Asm *a, unsigned bits)
{
    _Static_assert(sizeof(JumpEntry) == 32, "the index is scaled by shifts");
    asm_rm(a, 4, 0x69, H_RCX, asm_reg(H_RAX)); /* IMUL */
    asm_32(a, JUMP_HASH);
    asm_shift_imm(a, 5, 4, asm_reg(H_RCX), 32 - bits - 5);
    asm_load(a, 8, H_RDX, asm_mem(H_RBP, TC_OFF(jump_key)));
    asm_alu_imm(a, 4, 4, asm_reg(H_RCX), (int)((1u << bits) - 1) << 5);
}

/* RCX is the entry's offset. */
static void jump_to_entry(Asm *a, bool second, bool long_mode)
{
    Opnd pc = asm_mem(H_RBP, CPU_OFF(engine_tmp[IR_PC - 16]));
    asm_load(a, 8, H_RDX, jump_entry(second, offsetof(JumpEntry, block)));
    if (long_mode) {
        asm_load(a, 8, H_RCX, jump_entry(second, offsetof(JumpEntry, base)));
        asm_store(a, 8, pc, H_RCX);
    } else {
        asm_store_imm(a, 8, pc, 0);
    }
    asm_ext(a, 4, 0xff, 4, asm_mem(H_RDX, (int)offsetof(Block, host_code)));
}

void jit_asm_lookup_or(Asm *a, uint8_t *miss[2])
{
    index_jumps(a, JUMP_BITS);
    asm_alu_load(a, 7, 8, H_RAX, jump_entry(false, offsetof(JumpEntry, rip)));
    miss[0] = asm_jcc(a, CC_NE);
    asm_alu_load(a, 7, 8, H_RDX, jump_entry(false, offsetof(JumpEntry, key)));
    miss[1] = asm_jcc(a, CC_NE);
    jump_to_entry(a, false, true);
}

void jit_asm_lookup(Asm *a, const Jit *jit, bool cs_base)
{
    const uint8_t *miss = jit->stub[cs_base ? STUB_NO_CODE : STUB_SECOND];
    index_jumps(a, JUMP_BITS);
    asm_alu_load(a, 7, 8, H_RAX, jump_entry(false, offsetof(JumpEntry, rip)));
    asm_jcc_to(a, CC_NE, miss);
    asm_alu_load(a, 7, 8, H_RDX, jump_entry(false, offsetof(JumpEntry, key)));
    asm_jcc_to(a, CC_NE, miss);
    if (cs_base) {
        asm_load(a, 8, H_RDX, asm_mem(H_RBP, CPU_OFF(segs[SEG_CS].base)));
        asm_alu_load(a, 7, 8, H_RDX, jump_entry(false, offsetof(JumpEntry, base)));
        asm_jcc_to(a, CC_NE, miss);
    }
    jump_to_entry(a, false, !cs_base);
}

static void mark(Asm *a)
{
    asm_movi(a, H_RDX, JUMP_NO_STACK);
    asm_alu_load(a, 6, 8, H_RAX, asm_reg(H_RDX));
}

void jit_asm_lookup_no_stack(Asm *a, const uint8_t *miss)
{
    _Static_assert(BLOCK_NO_STACK == (uint64_t)1 << 46, "bit 54 of tcg_jump_key()");
    mark(a);
    index_jumps(a, JUMP_BITS);
    asm_ext(a, 8, OP_0F | 0xba, 5, asm_reg(H_RDX)); /* BTS */
    asm_8(a, 54);
    asm_alu_load(a, 7, 8, H_RAX, jump_entry(false, offsetof(JumpEntry, rip)));
    uint8_t *other = asm_jcc(a, CC_NE);
    asm_alu_load(a, 7, 8, H_RDX, jump_entry(false, offsetof(JumpEntry, key)));
    uint8_t *other_key = asm_jcc(a, CC_NE);
    mark(a);
    jump_to_entry(a, false, true);
    asm_here(a, other);
    asm_here(a, other_key);
    mark(a);
    asm_jmp_to(a, miss);
}

/* The same for a target known beforehand, in 64-bit mode. */
void jit_asm_lookup_known(Asm *a, const uint8_t *miss, uint64_t rip)
{
    int32_t at = TC_OFF(jump) + (int)(tcg_jump_index(rip) * sizeof(JumpEntry));
    Opnd pc = asm_mem(H_RBP, CPU_OFF(engine_tmp[IR_PC - 16]));
    asm_movi(a, H_RAX, rip);
    asm_load(a, 8, H_RDX, asm_mem(H_RBP, TC_OFF(jump_key)));
    asm_alu_load(a, 7, 8, H_RAX, asm_mem(H_RBP, at + (int)offsetof(JumpEntry, rip)));
    asm_jcc_to(a, CC_NE, miss);
    asm_alu_load(a, 7, 8, H_RDX, asm_mem(H_RBP, at + (int)offsetof(JumpEntry, key)));
    asm_jcc_to(a, CC_NE, miss);
    asm_load(a, 8, H_RCX, asm_mem(H_RBP, at + (int)offsetof(JumpEntry, base)));
    asm_load(a, 8, H_RDX, asm_mem(H_RBP, at + (int)offsetof(JumpEntry, block)));
    asm_store(a, 8, pc, H_RCX);
    asm_ext(a, 4, 0xff, 4, asm_mem(H_RDX, (int)offsetof(Block, host_code)));
}

void jit_begin_stub(Jit *jit, Asm *a, JitStub s)
{
    while ((uintptr_t)a->p & 15) {
        asm_8(a, 0xcc);
    }
    jit->stub[s] = a->p;
}

/* RAX: target in 64-bit mode that TcgCpu.jump does not have. */
static void make_second(Jit *jit, Asm *a)
{
    const uint8_t *miss = jit->stub[STUB_NO_CODE];
    jit_begin_stub(jit, a, STUB_SECOND);
    index_jumps(a, JUMP2_BITS);
    asm_alu_load(a, 7, 8, H_RAX, jump_entry(true, offsetof(JumpEntry, rip)));
    asm_jcc_to(a, CC_NE, miss);
    asm_alu_load(a, 7, 8, H_RDX, jump_entry(true, offsetof(JumpEntry, key)));
    asm_jcc_to(a, CC_NE, miss);
    jump_to_entry(a, true, true);
}

/* An interrupt or another request may wait: only the run loop can tell. */
static void make_dynamic(Jit *jit, Asm *a)
{
    jit_begin_stub(jit, a, STUB_DYNAMIC);
    asm_alu_imm(a, 7, 4, asm_mem(H_RBP, CPU_OFF(irq_pending)), 0);
    uint8_t *leave = asm_jcc(a, CC_NE);
    asm_load(a, 8, H_RAX, asm_mem(H_RBP, CPU_OFF(rip)));
    asm_ext(a, 4, 0xf7, 0, asm_mem(H_RBP, CPU_OFF(hflags)));
    asm_32(a, HF_CS64);
    asm_jcc_to(a, CC_NE, jit->stub[STUB_LOOKUP]);
    asm_jmp_to(a, jit->stub[STUB_LOOKUP32]);
    asm_here(a, leave);
    asm_rm(a, 4, 0x31, H_RAX, asm_reg(H_RAX));
    asm_jmp_to(a, jit->stub[STUB_EXIT]);
}

static void make_calls(Jit *jit, Asm *a)
{
    static const struct {
        JitStub stub;
        uint32_t (*fn)(CPUX86 *, const IrOp *, uint64_t, uintptr_t);
    } ops[] = {
        {STUB_CALL, jit_rt_call}, {STUB_VECTOR, jit_rt_vector}, {STUB_ATOMIC, jit_rt_atomic},
        {STUB_ALU, jit_rt_alu},   {STUB_FAULT, jit_rt_fault},
    };
    jit_begin_stub(jit, a, STUB_LOAD);
    make_call3(a, jit->avx, (uintptr_t)jit_rt_load);
    jit_begin_stub(jit, a, STUB_STORE);
    make_call3(a, jit->avx, (uintptr_t)jit_rt_store);
    jit_begin_stub(jit, a, STUB_STACK);
    make_call3(a, jit->avx, (uintptr_t)jit_rt_stack);
    jit_begin_stub(jit, a, STUB_WINDOW);
    make_call3(a, jit->avx, (uintptr_t)jit_rt_window);
    jit_begin_stub(jit, a, STUB_LINEAR);
    make_call3(a, jit->avx, (uintptr_t)jit_rt_linear);
    jit_begin_stub(jit, a, STUB_COMMIT);
    make_commit(a, jit->avx);
    for (unsigned i = 0; i < ARRAY_LEN(ops); i++) {
        jit_begin_stub(jit, a, ops[i].stub);
        make_call_op(a, jit->avx, (uintptr_t)ops[i].fn);
    }
}

void jit_make_stubs(Jit *jit, Asm *a)
{
    const uint8_t *enter = a->p;
    make_enter(a);
    jit_begin_stub(jit, a, STUB_EXIT);
    make_exit(a, jit->avx);
    jit_begin_stub(jit, a, STUB_EXIT_AT);
    asm_store(a, 8, asm_mem(H_RBP, CPU_OFF(rip)), H_RCX);
    asm_jmp_to(a, jit->stub[STUB_EXIT]);
    jit_begin_stub(jit, a, STUB_NO_CODE);
    asm_store(a, 8, asm_mem(H_RBP, CPU_OFF(rip)), H_RAX);
    asm_rm(a, 4, 0x31, H_RAX, asm_reg(H_RAX));
    asm_jmp_to(a, jit->stub[STUB_EXIT]);
    make_second(jit, a);
    jit_begin_stub(jit, a, STUB_LOOKUP);
    jit_asm_lookup(a, jit, false);
    jit_begin_stub(jit, a, STUB_LOOKUP32);
    jit_asm_lookup(a, jit, true);
    make_dynamic(jit, a);
    jit_make_return_stubs(jit, a);
    jit_begin_stub(jit, a, STUB_FPU);
    make_fpu_load(a, jit->avx);
    jit_begin_stub(jit, a, STUB_VEC1);
    load_vectors(a, 1);
    jit_begin_stub(jit, a, STUB_VEC12); /* the low halves that are here go back first */
    spill_vectors(a, false);
    jit->stub[STUB_VEC2] = a->p;
    load_vectors(a, 2);
    make_calls(jit, a);
    const void *entry = enter + (jit->rx - jit->rw);
    memcpy(&jit->enter, &entry, sizeof(entry));
}
