/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The JIT's memory accesses: the inline lookup in the software TLB, and the fusion of
 * a load, an operation and a store into what the guest wrote: one instruction.
 */
#include "accel/tcg/jit-internal.h"

uint32_t jit_info(const IrOp *op, unsigned size, uint32_t rights)
{
    return size | rights | (uint32_t)op->seg << ACC_SEG_SHIFT;
}

bool jit_same_mem(const IrOp *x, const IrOp *y)
{
    const uint8_t flags = IRF_A32 | IRF_A16 | IRF_SEG | IRF_BASE;
    return x->base == y->base && x->index == y->index && x->scale == y->scale &&
           x->disp == y->disp && x->seg == y->seg && (x->flags & flags) == (y->flags & flags);
}

/* ---- addresses ---- */

static void offset(JitCtx *j, const IrOp *op)
{
    Opnd b = jit_loc(op->base), x = jit_loc(op->index);
    unsigned size = op->flags & (IRF_A32 | IRF_A16) ? 4 : 8;
    unsigned base = op->base == IR_ZERO ? H_NONE : b.base;
    unsigned index = op->index == IR_ZERO ? H_NONE : x.base;
    if (base != H_NONE && b.mem) {
        asm_load(&j->a, size, H_RAX, b);
        base = H_RAX;
    }
    if (index != H_NONE && x.mem) {
        asm_load(&j->a, size, H_RCX, x);
        index = H_RCX;
    }
    if (base == H_NONE && index == H_NONE) {
        asm_movi(&j->a, H_RAX, size == 4 ? (uint32_t)op->disp : (uint64_t)(int64_t)op->disp);
    } else if (index == H_NONE && op->disp == 0) {
        asm_mov(&j->a, size, H_RAX, base);
    } else {
        asm_lea(&j->a, size, H_RAX, asm_mem_x(base, index, op->scale, op->disp));
    }
    if (op->flags & IRF_A16) {
        asm_movzx(&j->a, 2, H_RAX, asm_reg(H_RAX));
    }
}

void jit_linear(JitCtx *j, unsigned i, const IrOp *op, uint32_t info)
{
    if (info && (op->flags & IRF_SEG)) {
        if (j->live[i]) {
            jit_flags_to_mem(j);
        }
        j->fs.host = false;
        asm_movi(&j->a, H_RAX, (uintptr_t)jit_block_op(j, (unsigned)(op - j->ops)));
        asm_movi(&j->a, H_RDX, info);
        jit_asm_rip(j, H_RCX, jit_rip(j, op));
        asm_call_to(&j->a, j->jit->stub[STUB_LINEAR]);
        jit_reload_units(j, j->fpu, j->vec);
        if (j->vec) { /* C has sent the vector registers home */
            asm_call_to(&j->a, j->jit->stub[j->vec == 2 ? STUB_VEC2 : STUB_VEC1]);
        }
        return;
    }
    offset(j, op);
    if (info && (op->flags & IRF_BASE)) {
        asm_load(&j->a, 8, H_RCX,
                 asm_mem(H_RBP, CPU_OFF(segs[0].base) + (int)sizeof(Segment) * (int)op->seg));
        asm_lea(&j->a, 8, H_RAX, asm_mem_x(H_RAX, H_RCX, 0, 0));
    }
}

/* ---- the lookup ---- */

/* RCX = tlb_index() * sizeof(TlbEntry), but for the upper bits; uses RDX. */
static void index_tlb(JitCtx *j)
{
    Asm *a = &j->a;
    if (j->jit->bmi2) {
        const VecInsn rorx = {.prefix = 3, .map = 3, .opcode = 0xf0, .vex = true};
        jit_asm_vector(a, &rorx, H_RCX, asm_reg(H_RAX));
        asm_8(a, TCG_PAGE_BITS - 5);
    } else {
        asm_mov(a, 4, H_RCX, H_RAX);
        asm_shift_imm(a, 5, 4, asm_reg(H_RCX), TCG_PAGE_BITS - 5);
    }
}

/* Compares; the displacement of the jump that is taken on a miss. RCX: entry's offset. */
uint8_t *jit_lookup(JitCtx *j, uint32_t info)
{
    unsigned size = info & ACC_SIZE_MASK;
    int32_t tlb = TC_OFF(tlb) + (int32_t)(j->b->mmu_mode * sizeof(((TcgCpu *)NULL)->tlb[0]));
    int32_t tag =
        tlb + (int32_t)(info & ACC_WRITE ? offsetof(TlbEntry, tag_w) : offsetof(TlbEntry, tag_r));
    Asm *a = &j->a;
    _Static_assert(sizeof(TlbEntry) == 32, "the index is scaled by a shift");
    index_tlb(j);
    asm_alu_imm(a, 4, 4, asm_reg(H_RCX), (TLB_SIZE - 1) << 5);
    if (size == 1) {
        asm_mov(a, 8, H_RDX, H_RAX);
    } else {
        asm_lea(a, 8, H_RDX, asm_mem(H_RAX, (int)size - 1));
    }
    asm_alu_imm(a, 4, 8, asm_reg(H_RDX), -(int)TCG_PAGE_SIZE);
    asm_alu_load(a, 1, 8, H_RDX, asm_mem(H_RBP, TC_OFF(gen_bits)));
    asm_alu_load(a, 7, 8, H_RDX, asm_mem_x(H_RBP, H_RCX, 0, tag));
    uint8_t *miss = asm_jcc(a, CC_NE);
    asm_alu_load(a, 0, 8, H_RAX,
                 asm_mem_x(H_RBP, H_RCX, 0, tlb + (int32_t)offsetof(TlbEntry, addend)));
    return miss;
}

void jit_check_load(JitCtx *j, unsigned i, uint32_t info)
{
    Cold *c = jit_cold(j, info & ACC_WRITE ? COLD_STORE : COLD_LOAD, i);
    c->info = info;
    c->before = j->fs;
    c->from = jit_lookup(j, info);
    c->resume = j->a.p;
    j->at = asm_mem(H_RAX, 0);
}

void jit_check_store(JitCtx *j, unsigned i, uint32_t info, MemFn *fn, const IrOp *op, unsigned rest)
{
    Cold *c = jit_cold(j, COLD_STORE, i);
    unsigned n = j->n_cold - 1;
    c->info = info;
    c->before = j->fs;
    c->from = jit_lookup(j, info);
    c->resume = j->a.p;
    c->fn = fn;
    c->slot = (uint8_t)(op - &j->ops[i]);
    c->rest = (uint16_t)rest;
    j->at = asm_mem(H_RAX, 0);
    fn(j, op);
    j->cold[n].after = j->a.p;
}

void jit_load_from(JitCtx *j, unsigned i, const IrOp *mem, uint32_t info)
{
    if (!jit_stack_operand(j, i, mem) && !jit_window_operand(j, mem)) {
        jit_flags_clobber(j, i);
        jit_linear(j, i, mem, info);
        jit_check_load(j, i, info);
    }
}

void jit_store_to(JitCtx *j, unsigned i, const IrOp *mem, uint32_t info, MemFn *fn, const IrOp *op,
                  unsigned rest)
{
    if (jit_stack_operand(j, i, mem)) {
        fn(j, op);
        return;
    }
    jit_flags_clobber(j, i);
    jit_linear(j, i, mem, info);
    jit_check_store(j, i, info, fn, op, rest);
    j->cold[j->n_cold - 1].done = j->fs;
}

/* ---- operations on [RAX] ---- */

void jit_store_value(JitCtx *j, const IrOp *op)
{
    Opnd m = j->at;
    if (!(op->flags & IRF_IMM)) {
        asm_store(&j->a, op->size, m, jit_get(j, op->a, H_RCX));
    } else if (op->size < 8 || asm_is_imm32(op->imm)) {
        asm_store_imm(&j->a, op->size, m, op->imm);
    } else {
        asm_movi(&j->a, H_RCX, (uint64_t)op->imm);
        asm_store(&j->a, 8, m, H_RCX);
    }
}

void jit_push_value(JitCtx *j, const IrOp *op)
{
    if ((op->flags & IRF_IMM) && (op->base == IR_PC || op->sub == IR_PUSH_RETURN)) {
        jit_asm_rip(j, H_RCX, (uint64_t)op->imm);
        asm_store(&j->a, 8, j->at, H_RCX);
    } else {
        jit_store_value(j, op);
    }
}

static void push_value(JitCtx *j, const IrOp *op)
{
    jit_push_value(j, op);
    unsigned sp = jit_loc(R_RSP).base;
    asm_lea(&j->a, 8, sp, asm_mem(sp, -8));
}

static void modify(JitCtx *j, const IrOp *op)
{
    jit_alu_mem(j, op, op->size);
}

/*
 * Before a load into guest register r, by operation i: are the flags wanted by nobody but its
 * fault?  Then what they can be made from stays until the register changes.
 */
static bool flags_before_load(JitCtx *j, unsigned i, unsigned next, unsigned r)
{
    if (!j->live[next]) {
        return true;
    }
    jit_flags_reg_changes(j, i, r);
    return false;
}

/* ---- fusion ---- */

static bool same_insn(const JitCtx *j, unsigned i, unsigned k)
{
    return k < j->n && j->ops[k].pc == j->ops[i].pc;
}

static bool is_modify(const IrOp *op)
{
    return (op->op >= IR_ADD && op->op <= IR_XOR) || (op->op >= IR_INC && op->op <= IR_SHRD) ||
           (op->op >= IR_BTS && op->op <= IR_BTC);
}

static bool two_sources(const IrOp *op)
{
    return !(op->flags & IRF_IMM) && op->op != IR_INC && op->op != IR_DEC && op->op != IR_NEG &&
           op->op != IR_NOT;
}

/* load T; op T; store T: a read-modify-write. */
static bool fuse_modify(JitCtx *j, unsigned i)
{
    const IrOp *ld = &j->ops[i], *op = ld + 1, *st = ld + 2;
    if (!(ld->flags & IRF_WRITE) || !same_insn(j, i, i + 1) || !same_insn(j, i, i + 2)) {
        return false;
    }
    if (!is_modify(op) || st->op != IR_ST || op->d != ld->d || st->a != ld->d ||
        (st->flags & IRF_IMM) || op->size != ld->size || st->size != ld->size ||
        !jit_same_mem(ld, st) || (two_sources(op) && op->b == ld->d)) {
        return false;
    }
    if (op->op != IR_NOT && jit_flags_needs_old(j, i + 1, i + 3)) {
        return false;
    }
    uint32_t info = jit_info(ld, ld->size, ACC_WRITE | ACC_READ);
    unsigned n = j->n_cold;
    jit_store_to(j, i, ld, info, modify, op, i + 3);
    if (op->op != IR_NOT) {
        jit_flags_defined(j, op, false);
    }
    if (j->n_cold > n) {
        j->cold[j->n_cold - 1].done = j->fs;
    }
    return true;
}

/* load T; op d, T or op T, x (a comparison), or a narrow move. */
static bool can_fuse_source(JitCtx *j, unsigned i)
{
    const IrOp *ld = &j->ops[i], *op = ld + 1;
    if ((ld->flags & IRF_WRITE) || ld->d < IR_T0 || !same_insn(j, i, i + 1) ||
        same_insn(j, i, i + 2)) {
        return false;
    }
    switch (op->op) {
    case IR_ADD:
    case IR_OR:
    case IR_AND:
    case IR_SUB:
    case IR_XOR:
        return !(op->flags & IRF_IMM) && op->b == ld->d && op->d < IR_T0 && op->size == ld->size &&
               !jit_flags_needs_old(j, i + 1, i + 2);
    case IR_CMP:
    case IR_TEST:
        return op->size == ld->size && ((op->d == ld->d) != (two_sources(op) && op->b == ld->d));
    case IR_BT:
        return op->d == ld->d && op->size == ld->size && (op->flags & IRF_IMM) &&
               !jit_flags_needs_old(j, i + 1, i + 2);
    case IR_MOV:
        return !(op->flags & IRF_IMM) && op->a == ld->d && op->size == ld->size && op->d < IR_T0 &&
               op->size < 4;
    case IR_IMUL:
        return !(op->flags & IRF_IMM) && op->b == ld->d && op->a == op->d && op->size == ld->size &&
               op->size >= 4;
    default:
        return false;
    }
}

/* d op= [RAX] */
static void op_from_memory(JitCtx *j, const IrOp *op)
{
    Opnd D = jit_loc(op->d), m = j->at;
    unsigned d = D.mem ? H_RCX : D.base;
    if (D.mem) {
        asm_load(&j->a, 8, d, D);
    }
    if (op->op == IR_IMUL) {
        asm_rm(&j->a, op->size, OP_0F | 0xaf, d, m);
    } else if (op->op == IR_MOV) {
        asm_load(&j->a, op->size, d, m);
    } else if (op->op == IR_TEST) {
        asm_rm(&j->a, op->size, asm_width(op->size, 0x84), d, m);
    } else {
        asm_alu_load(&j->a, (unsigned)(op->op - IR_ADD), op->size, d, m);
    }
    if (D.mem && op->op != IR_CMP && op->op != IR_TEST) {
        jit_put(j, op->size, op->d, d);
    }
}

static bool fuse_source(JitCtx *j, unsigned i)
{
    if (!can_fuse_source(j, i)) {
        return false;
    }
    const IrOp *ld = &j->ops[i], *op = ld + 1;
    uint32_t info = jit_info(ld, ld->size, ACC_READ);
    bool in_memory = op->d == ld->d, only_fault = false;
    if (!in_memory && op->op != IR_CMP && op->op != IR_TEST) {
        only_fault = flags_before_load(j, i, i + 2, op->d);
    }
    jit_load_from(j, i, ld, info);
    if (only_fault) {
        jit_flags_forget(j, op->d);
    }
    if (in_memory) {
        jit_alu_mem(j, op, op->size);
    } else {
        op_from_memory(j, op);
    }
    if (op->op != IR_MOV) {
        jit_flags_defined(j, op, false);
    }
    return true;
}

/* ---- plain loads and stores ---- */

void jit_load_value(JitCtx *j, const IrOp *op)
{
    Opnd D = jit_loc(op->d);
    unsigned d = D.mem ? H_RCX : D.base;
    if (op->op == IR_LDSX) {
        asm_movsx(&j->a, op->sub < 4 ? 4 : op->sub, op->size, d, j->at);
    } else {
        asm_movzx(&j->a, op->size, d, j->at);
    }
    if (D.mem) {
        asm_store(&j->a, 8, D, d);
    }
}

static void load(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    uint32_t info = jit_info(op, op->size, ACC_READ | (op->flags & IRF_WRITE ? ACC_WRITE : 0));
    bool only_fault = flags_before_load(j, i, i + 1, op->d);
    jit_load_from(j, i, op, info);
    if (only_fault) {
        jit_flags_forget(j, op->d);
    }
    jit_load_value(j, op);
}

static void store(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    uint32_t info = jit_info(op, op->size, ACC_WRITE);
    jit_store_to(j, i, op, info, jit_store_value, op, i + 1);
}

static void push(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    const IrOp below = {.base = R_RSP, .index = IR_ZERO, .disp = -8, .seg = SEG_SS};
    uint32_t info = jit_info(&below, 8, ACC_WRITE);
    jit_flags_reg_changes(j, i, R_RSP);
    jit_store_to(j, i, &below, info, push_value, op, i + 1);
    if (jit_makes_frame(j, op)) {
        jit_asm_rip(j, H_RCX, (uint64_t)op->imm); /* cold code may have come back here */
        jit_return_frame(j, i);
    }
}

static void pop(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i], top = {.base = R_RSP, .index = IR_ZERO, .seg = SEG_SS};
    unsigned sp = jit_loc(R_RSP).base;
    Opnd D = jit_loc(op->d);
    jit_flags_reg_changes(j, i, R_RSP);
    bool only_fault = flags_before_load(j, i, i + 1, op->d);
    jit_load_from(j, i, &top, jit_info(&top, 8, ACC_READ));
    if (only_fault) {
        jit_flags_forget(j, op->d);
    }
    unsigned d = D.mem ? H_RCX : D.base;
    asm_load(&j->a, 8, d, j->at);
    if (D.mem || D.base != sp) {
        asm_lea(&j->a, 8, sp, asm_mem(sp, 8));
    }
    if (D.mem) {
        asm_store(&j->a, 8, D, d);
    }
}

static void align(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    jit_flags_clobber(j, i);
    jit_linear(j, i, op, jit_info(op, op->size, ACC_READ));
    asm_ext(&j->a, 1, 0xf6, 0, asm_reg(H_RAX));
    asm_8(&j->a, op->size - 1u);
    Cold *c = jit_cold(j, COLD_CALL, i);
    c->from = asm_jcc(&j->a, CC_NE);
    c->stub = j->jit->stub[STUB_FAULT];
    c->before = j->fs;
    c->resume = j->a.p;
}

/* ---- locked operations ---- */

/* Can the host's locked instruction do it here? */
static bool atomic_native(const JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    switch (op->sub) {
    case AT_ADC:
    case AT_SBB:
        return false;
    case AT_BTS:
    case AT_BTR:
    case AT_BTC:
        return !(j->live[i + 1] & ~FS_CF);
    case AT_INC:
    case AT_DEC:
        return !(j->live[i + 1] & FS_CF);
    default:
        return true;
    }
}

static void atomic_bits(JitCtx *j, const IrOp *op, Opnd m)
{
    unsigned k = (unsigned)(op->sub - AT_BTS) + 1;
    if (op->flags & IRF_IMM) {
        asm_8(&j->a, 0xf0);
        asm_ext(&j->a, op->size, OP_0F | 0xba, 4 + k, m);
        asm_8(&j->a, (unsigned)op->imm & (op->size * 8u - 1));
    } else {
        asm_load(&j->a, 4, H_RCX, jit_loc(op->b));
        asm_alu_imm(&j->a, 4, 4, asm_reg(H_RCX), op->size * 8 - 1);
        asm_8(&j->a, 0xf0);
        asm_rm(&j->a, op->size, OP_0F | 0xa3 | k << 3, H_RCX, m);
    }
}

static void atomic_exchange(JitCtx *j, const IrOp *op)
{
    Opnd m = asm_mem(H_RDX, 0);
    unsigned code = op->sub == AT_XCHG   ? asm_width(op->size, 0x86)
                    : op->sub == AT_XADD ? OP_0F | asm_width(op->size, 0xc0)
                                         : OP_0F | asm_width(op->size, 0xb0);
    asm_mov(&j->a, 8, H_RDX, H_RAX);
    if (op->sub == AT_CMPXCHG) {
        unsigned b = jit_get(j, op->b, H_RCX);
        asm_load(&j->a, 8, H_RAX, jit_loc(R_RAX));
        asm_8(&j->a, 0xf0);
        asm_rm(&j->a, op->size, code, b, m);
        jit_put(j, 8, R_RAX, H_RAX);
        return;
    }
    asm_load(&j->a, 8, H_RCX, jit_loc(op->b));
    asm_8(&j->a, 0xf0);
    asm_rm(&j->a, op->size, code, H_RCX, m);
    asm_movzx(&j->a, op->size, H_RCX, asm_reg(H_RCX));
    jit_put(j, 8, op->d, H_RCX);
}

static void atomic_on(JitCtx *j, const IrOp *op)
{
    Opnd m = asm_mem(H_RAX, 0);
    IrOp plain = *op;
    switch (op->sub) {
    case AT_XCHG:
    case AT_XADD:
    case AT_CMPXCHG:
        atomic_exchange(j, op);
        return;
    case AT_BTS:
    case AT_BTR:
    case AT_BTC:
        atomic_bits(j, op, m);
        return;
    case AT_INC:
    case AT_DEC:
    case AT_NEG:
    case AT_NOT:
        plain.op = (uint16_t)(IR_INC + (op->sub - AT_INC));
        break;
    default:
        plain.op = (uint16_t)(IR_ADD + op->sub);
        if (!(op->flags & IRF_IMM) && jit_loc(op->b).mem) {
            asm_load(&j->a, 8, H_RCX, jit_loc(op->b)); /* between the prefix and its instruction
                                                        * nothing may come */
            asm_8(&j->a, 0xf0);
            asm_alu_store(&j->a, op->sub, op->size, m, H_RCX);
            return;
        }
        break;
    }
    asm_8(&j->a, 0xf0);
    jit_alu_mem(j, &plain, op->size);
}

static void atomic(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    uint32_t info = jit_info(op, op->size, ACC_WRITE | ACC_READ);
    jit_flags_reg_changes(j, i, op->d);
    jit_flags_reg_changes(j, i, R_RAX);
    if (!atomic_native(j, i) || (op->flags & IRF_SEG)) {
        jit_call_stub(j, STUB_ATOMIC, i);
        return;
    }
    jit_flags_clobber(j, i);
    jit_linear(j, i, op, info);
    Cold *c = jit_cold(j, COLD_CALL, i);
    unsigned n = j->n_cold - 1;
    c->before = j->fs;
    c->stub = j->jit->stub[STUB_ATOMIC];
    c->from = jit_lookup(j, info);
    j->at = asm_mem(H_RAX, 0);
    atomic_on(j, op);
    if (op->fdef) {
        jit_flags_defined(j, op, false);
    }
    j->cold[n].done = j->fs;
    j->cold[n].resume = j->a.p;
}

unsigned jit_memory_op(JitCtx *j, unsigned i)
{
    switch (j->ops[i].op) {
    case IR_LD:
        if (fuse_modify(j, i)) {
            return i + 3;
        }
        if (fuse_source(j, i)) {
            return i + 2;
        }
        load(j, i);
        break;
    case IR_LDSX:
        load(j, i);
        break;
    case IR_ST:
        store(j, i);
        break;
    case IR_PUSH:
        push(j, i);
        break;
    case IR_POP:
        pop(j, i);
        break;
    case IR_ALIGN:
    case IR_ALIGN_GP:
        align(j, i);
        break;
    case IR_ATOMIC:
        atomic(j, i);
        break;
    default:
        return 0;
    }
    return i + 1;
}
