/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The JIT's vector operations.  The guest's XMM (YMM) registers are the host's of the
 * same numbers, so most instructions are emitted as the guest encoded them, with their
 * memory operand at [RAX]; an instruction is either done so as a whole, or by C as a whole.
 *
 * TcgCpu.vec_level says what is in the host's registers: 0 nothing, 1 the low 16 bytes,
 * 2 all 32.  They are loaded when translated code first needs them, with the guest's
 * MXCSR, and go back before C is called (jit-stubs.c).  Blocks that run with unmasked
 * floating-point exceptions (BLOCK_SOFT_FP) leave all to C, which can raise them.
 */
#include "accel/tcg/jit-internal.h"

#include <cpuid.h>

/* ---- what the host can do ---- */

static bool os_keeps_ymm(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (lo & 6) == 6;
}

void jit_vec_probe_host(Jit *jit)
{
    uint32_t a, b, c, d;
    if (__get_cpuid(1, &a, &b, &c, &d)) {
        jit->host[FEAT_1_EDX] = d;
        jit->host[FEAT_1_ECX] = c;
    }
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        jit->host[FEAT_7_0_EBX] = b;
        jit->host[FEAT_7_0_ECX] = c;
        jit->host[FEAT_7_0_EDX] = d;
    }
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) {
        jit->host[FEAT_7_1_EAX] = a;
    }
    if (__get_cpuid(0x80000001, &a, &b, &c, &d)) {
        jit->host[FEAT_80000001_ECX] = c;
    }
    bool osxsave = jit->host[FEAT_1_ECX] >> 27 & 1, avx = jit->host[FEAT_1_ECX] >> 28 & 1;
    jit->avx = osxsave && avx && os_keeps_ymm();
    jit->bmi2 = jit->host[FEAT_7_0_EBX] >> 8 & 1;
}

bool jit_host_has(const Jit *jit, unsigned feature)
{
    return feature == 0 || (jit->host[(feature - 1) >> 5] >> ((feature - 1) & 31) & 1);
}

/* ---- encoding ---- */

void jit_asm_vector(Asm *a, const VecInsn *v, unsigned reg, Opnd rm)
{
    static const uint8_t prefix[] = {0, 0x66, 0xf3, 0xf2};
    static const unsigned map[] = {0, OP_0F, OP_0F38, OP_0F3A};
    if (!v->vex) {
        asm_rm_prefix(a, prefix[v->prefix], v->w ? 8 : 4, 0, map[v->map] | v->opcode, reg, rm);
        return;
    }
    unsigned rex = asm_rex(0, reg, rm);
    asm_8(a, 0xc4);
    asm_8(a, (~rex & 7) << 5 | v->map);
    asm_8(a, (unsigned)v->w << 7 | (~v->vvvv & 15) << 3 | (unsigned)v->l << 2 | v->prefix);
    asm_8(a, v->opcode);
    asm_modrm(a, reg, rm);
}

/* ---- an instruction's operations ---- */

/* What the operations from i on to the end of the instruction are. */
typedef struct VecSeq {
    const IrOp *load;  /* IR_VLD */
    const IrOp *from;  /* IR_VFROMG: a general register as source */
    const IrOp *simd;  /* IR_SIMD */
    const IrOp *move;  /* IR_VMOV */
    const IrOp *to;    /* IR_GFROMV: a general register as destination */
    const IrOp *store; /* IR_VST */
    bool zero;         /* IR_VZERO: a VEX form */
    unsigned next;
} VecSeq;

static bool is_temp(unsigned v)
{
    return v >= IR_VT0;
}

static bool once(const IrOp **slot, const IrOp *op)
{
    bool ok = !*slot;
    *slot = op;
    return ok;
}

/* false: something in it that is not for here. */
static bool read_sequence(const JitCtx *j, unsigned i, VecSeq *s)
{
    unsigned k = i;
    *s = (VecSeq){0};
    for (; k < j->n && j->ops[k].pc == j->ops[i].pc; k++) {
        const IrOp *op = &j->ops[k];
        bool ok = true;
        switch (op->op) {
        case IR_VLD:
            ok = once(&s->load, op) && !s->simd;
            break;
        case IR_VFROMG:
            if (op->a != IR_ZERO) { /* else: clears the place of a result */
                ok = once(&s->from, op) && !s->simd;
            }
            break;
        case IR_SIMD:
            ok = once(&s->simd, op);
            break;
        case IR_VMOV:
            ok = once(&s->move, op);
            break;
        case IR_GFROMV:
            ok = once(&s->to, op);
            break;
        case IR_VST:
            ok = once(&s->store, op);
            break;
        case IR_VZERO:
            s->zero = true;
            ok = op->a == 1;
            break;
        case IR_NOP:
            break;
        case IR_JMP: /* the block's end */
            s->next = k;
            return true;
        default:
            return false;
        }
        if (!ok) {
            return false;
        }
    }
    s->next = k;
    return true;
}

/* ---- getting ready ---- */

static unsigned level_of(const JitCtx *j, const VecSeq *s)
{
    bool wide = s->zero || (s->simd && (s->simd->index & IR_ENC_VEX)) ||
                (s->load && s->load->size > 16) || (s->store && s->store->size > 16) ||
                (s->move && s->move->size > 16);
    return wide ? 2 : 1;
}

/* The registers are in the host's, at `level` at least. */
static void need_vectors(JitCtx *j, unsigned i, unsigned level)
{
    if (j->vec >= level) {
        return;
    }
    jit_flags_clobber(j, i);
    asm_alu_imm(&j->a, 7, 1, asm_mem(H_RBP, TC_OFF(vec_level)), (int)level);
    Cold *c = jit_cold(j, COLD_VECTORS, i);
    c->from = asm_jcc(&j->a, CC_B);
    c->slot = (uint8_t)level;
    c->resume = j->a.p;
    j->vec = (uint8_t)level;
}

static const VecInsn movs[] = {
    {.prefix = 2, .map = 1, .opcode = 0x10}, /* MOVSS */
    {.prefix = 2, .map = 1, .opcode = 0x7e}, /* MOVQ */
    {.prefix = 0, .map = 1, .opcode = 0x10}, /* MOVUPS */
};

static bool move_insn(unsigned size, bool store, bool vex, VecInsn *v)
{
    if (size != 4 && size != 8 && size != 16 && size != 32) {
        return false;
    }
    *v = movs[size == 4 ? 0 : size == 8 ? 1 : 2];
    if (store) { /* MOVQ's store is 66 0F D6 */
        v->opcode = size == 8 ? 0xd6 : 0x11;
        v->prefix = size == 8 ? 1 : v->prefix;
    }
    v->vex = vex;
    v->l = size == 32;
    return true;
}

/* ---- loads, stores, moves without arithmetic ---- */

static void store_vector(JitCtx *j, const IrOp *op)
{
    VecInsn v;
    (void)move_insn(op->size, true, op->size == 32 || j->vec == 2, &v);
    jit_asm_vector(&j->a, &v, op->a, j->at);
}

static bool plain(JitCtx *j, unsigned i, const VecSeq *s)
{
    VecInsn v = {.prefix = 1, .map = 1, .vex = s->zero};
    unsigned level = level_of(j, s);
    if (s->load && !s->from && !s->to && !s->store && !s->move && !is_temp(s->load->d) &&
        move_insn(s->load->size, false, s->zero || s->load->size == 32, &v)) {
        uint32_t info = jit_info(s->load, s->load->size, ACC_READ);
        need_vectors(j, i, level);
        jit_load_from(j, i, s->load, info);
        jit_asm_vector(&j->a, &v, s->load->d, j->at);
        return true;
    }
    if (s->store && !s->load && !s->from && !s->to && !s->move && !is_temp(s->store->a) &&
        move_insn(s->store->size, true, false, &v)) {
        uint32_t info = jit_info(s->store, s->store->size, ACC_WRITE);
        need_vectors(j, i, level);
        jit_store_to(j, i, s->store, info, store_vector, s->store, s->next);
        return true;
    }
    if (s->move && !s->load && !s->from && !s->to && !s->store && !is_temp(s->move->d) &&
        !is_temp(s->move->a) && s->move->size >= 8 &&
        move_insn(s->move->size, false, s->zero || s->move->size == 32, &v)) {
        need_vectors(j, i, level);
        jit_asm_vector(&j->a, &v, s->move->d, asm_reg(s->move->a));
        return true;
    }
    if (s->from && !s->load && !s->to && !s->store && s->from->size >= 4 &&
        (!s->move || (s->move->a == s->from->d && s->move->size >= s->from->size)) &&
        !is_temp(s->move ? s->move->d : s->from->d)) { /* MOVD, MOVQ */
        need_vectors(j, i, level);
        v.opcode = 0x6e;
        v.w = s->from->size == 8;
        jit_asm_vector(&j->a, &v, s->move ? s->move->d : s->from->d,
                       asm_reg(jit_get(j, s->from->a, H_RCX)));
        return true;
    }
    if (s->to && !s->load && !s->from && !s->store && !s->move && !is_temp(s->to->a)) {
        need_vectors(j, i, level);
        jit_flags_reg_changes(j, i, s->to->d);
        v.opcode = 0x7e;
        v.vex = false;
        v.w = s->to->size == 8;
        Opnd D = jit_loc(s->to->d);
        jit_asm_vector(&j->a, &v, s->to->a, asm_reg(D.mem ? H_RCX : D.base));
        if (D.mem) {
            asm_store(&j->a, 8, D, H_RCX);
        }
        return true;
    }
    return false;
}

/* ---- IR_SIMD ---- */

/* Instructions that use XMM0 besides their operands, but no general register. */
static bool implicit_xmm0(const IrOp *op)
{
    return (op->index & IR_ENC_MAP) == 2 &&
           (op->base == 0x10 || op->base == 0x14 || op->base == 0x15 || op->base == 0xcb);
}

static bool supported(const JitCtx *j, const IrOp *op)
{
    uint32_t enc2 = (uint32_t)op->disp;
    if (!(op->index & IR_ENC_MAP) || (op->index & IR_ENC_MMX) ||
        ((enc2 & IR_ENC2_FIXED) && !implicit_xmm0(op))) {
        return false;
    }
    if ((op->index & IR_ENC_VEX) && !j->jit->avx) {
        return false;
    }
    return jit_host_has(j->jit, enc2 >> 16) && (op->size == 16 || op->size == 32);
}

/* Where each operand of the encoding comes from; false: not in the shapes known here. */
static bool operands(const VecSeq *s, const IrOp **memory, const IrOp **general)
{
    const IrOp *op = s->simd;
    *memory = s->load;
    *general = s->from;
    if (s->move || (s->load && s->from) || (s->to && s->store)) {
        return false;
    }
    if (s->load && (s->load->d != op->b || !is_temp(op->b))) {
        return false;
    }
    if (s->from && (s->from->d != op->b || !is_temp(op->b))) {
        return false;
    }
    bool b_temp = is_temp(op->b) && !s->load && !s->from;
    bool result_temp = s->to || s->store;
    if (b_temp || result_temp != is_temp(op->d)) {
        return false;
    }
    if (result_temp && !(op->index & IR_ENC_GDST)) {
        return false;
    }
    if ((s->to && s->to->a != op->d) || (s->store && s->store->a != op->d)) {
        return false;
    }
    return !is_temp(op->a) || op->a == op->b || op->a == op->d;
}

static VecInsn encoding(const IrOp *op)
{
    bool vex = op->index & IR_ENC_VEX;
    return (VecInsn){.prefix = op->scale,
                     .map = op->index & IR_ENC_MAP,
                     .opcode = op->base,
                     .vex = vex,
                     .w = (op->flags & IRF_WRITE) != 0,
                     .l = vex && op->size == 32,
                     .vvvv = vex && (op->index & IR_ENC_VVVV) ? op->a : 0};
}

static void immediate(JitCtx *j, const IrOp *op)
{
    if (op->index & IR_ENC_IMM8) {
        asm_8(&j->a, op->sub);
    }
}

/* The result goes to memory at [RAX]: PEXTRx, EXTRACTPS, MOVHPS, VEXTRACTF128 … */
static void store_result(JitCtx *j, const IrOp *op)
{
    VecInsn v = encoding(op);
    jit_asm_vector(&j->a, &v, op->b, j->at);
    immediate(j, op);
}

static void to_memory(JitCtx *j, unsigned i, const VecSeq *s)
{
    uint32_t info = jit_info(s->store, s->store->size, ACC_WRITE);
    jit_store_to(j, i, s->store, info, store_result, s->simd, s->next);
}

static Opnd source(JitCtx *j, unsigned i, const VecSeq *s)
{
    if (s->load) {
        uint32_t info = jit_info(s->load, s->load->size, ACC_READ);
        jit_load_from(j, i, s->load, info);
        return j->at;
    }
    return asm_reg(s->from ? jit_get(j, s->from->a, H_RCX) : s->simd->b);
}

static bool simd(JitCtx *j, unsigned i, const VecSeq *s)
{
    const IrOp *op = s->simd, *memory, *general;
    if (!supported(j, op) || !operands(s, &memory, &general)) {
        return false;
    }
    bool group = op->seg != IR_ENC_NO_GROUP, stores = op->index & IR_ENC_STORE;
    if ((group && (s->load || s->from || s->to || s->store)) || (s->store && !stores) ||
        (stores && s->load)) {
        return false;
    }
    unsigned k = (unsigned)(op - j->ops);
    if (op->fdef && jit_flags_needs_old(j, k, k + 1)) {
        return false;
    }
    need_vectors(j, i, level_of(j, s));
    if (s->store) {
        to_memory(j, i, s);
        return true;
    }
    if (s->to) {
        jit_flags_reg_changes(j, i, s->to->d);
    }
    if (op->fdef) {
        jit_flags_clobber(j, i);
    }
    VecInsn v = encoding(op);
    Opnd D = s->to ? jit_loc(s->to->d) : asm_reg(op->d);
    unsigned d = D.mem ? H_RCX : D.base;
    Opnd src = source(j, i, s);
    if (group) {
        if (v.vex) {
            v.vvvv = op->d;
        }
        jit_asm_vector(&j->a, &v, op->seg, asm_reg(v.vex ? op->b : op->d));
    } else if (stores) {
        jit_asm_vector(&j->a, &v, src.base, asm_reg(d));
    } else {
        jit_asm_vector(&j->a, &v, d, src);
    }
    immediate(j, op);
    if (D.mem) {
        asm_store(&j->a, 8, D, H_RCX);
    }
    if (op->fdef) {
        jit_flags_defined(j, op, false);
    }
    return true;
}

/* VZEROUPPER, VZEROALL */
static bool zero_all(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    if (op->op != IR_VZERO || op->d != 0 || op->a != 16 || !j->jit->avx ||
        (op->size != 16 && op->size != 0)) {
        return false;
    }
    need_vectors(j, i, 2);
    asm_8(&j->a, 0xc5);
    asm_8(&j->a, op->size ? 0xf8 : 0xfc);
    asm_8(&j->a, 0x77);
    return true;
}

unsigned jit_vector_op(JitCtx *j, unsigned i)
{
    VecSeq s;
    bool allowed = !(j->b->flags & BLOCK_SOFT_FP);
    if (allowed && zero_all(j, i)) {
        return i + 1;
    }
    bool begins = i == 0 || j->ops[i - 1].pc != j->ops[i].pc || j->ops[i - 1].op == IR_ALIGN_GP ||
                  j->ops[i - 1].op == IR_ALIGN || j->ops[i - 1].op == IR_MOV;
    if (allowed && begins && read_sequence(j, i, &s)) {
        bool wide = level_of(j, &s) == 2;
        if ((!wide || j->jit->avx) && (s.simd ? simd(j, i, &s) : plain(j, i, &s))) {
            return s.next;
        }
    }
    jit_call_stub(j, STUB_VECTOR, i);
    return i + 1;
}
