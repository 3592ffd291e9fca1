/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The translator's loop, and what all kinds of instructions share. */
#include "target/i386/tcg/translate.h"

#include "util/log.h"

#include <inttypes.h>

/* The most operations that one instruction becomes. */
#define INSN_MAX_OPS 48

/* ---- emitting ---- */

IrOp *tr_emit(Translator *t, IrOpcode op, unsigned size)
{
    g_assert(t->n < BLOCK_MAX_OPS);
    IrOp *o = &t->ops[t->n++];
    *o = (IrOp){.op = (uint16_t)op,
                .pc = (uint16_t)t->pc,
                .size = (uint8_t)size,
                .fdef = ir_op_info[op].fdef,
                .fuse = ir_op_info[op].fuse,
                .base = IR_ZERO,
                .index = IR_ZERO,
                .seg = SEG_DS};
    return o;
}

IrOp *tr_op2(Translator *t, IrOpcode op, unsigned size, unsigned d, unsigned b)
{
    IrOp *o = tr_emit(t, op, size);
    o->d = (uint8_t)d;
    o->b = (uint8_t)b;
    return o;
}

IrOp *tr_op2i(Translator *t, IrOpcode op, unsigned size, unsigned d, int64_t imm)
{
    IrOp *o = tr_emit(t, op, size);
    o->d = (uint8_t)d;
    o->imm = imm;
    o->flags = IRF_IMM;
    return o;
}

void tr_mov(Translator *t, unsigned size, unsigned d, unsigned a)
{
    IrOp *o = tr_emit(t, IR_MOV, size);
    o->d = (uint8_t)d;
    o->a = (uint8_t)a;
}

void tr_movi(Translator *t, unsigned size, unsigned d, uint64_t imm)
{
    /* Four bytes zero-extend: as one of eight it has a simpler handler. */
    if (size == 4) {
        size = 8;
        imm = (uint32_t)imm;
    }
    (void)tr_op2i(t, IR_MOV, size, d, (int64_t)imm);
}

bool tr_is64(const Translator *t)
{
    return t->flags & HF_CS64;
}

unsigned tr_stack_size(const Translator *t)
{
    return tr_is64(t) ? 8 : t->flags & HF_SS32 ? 4 : 2;
}

static uint8_t segment_flags(const Translator *t, unsigned seg)
{
    if (tr_is64(t)) {
        return seg >= SEG_FS ? IRF_BASE : 0;
    }
    bool flat = (t->flags & HF_FLAT) && (seg == SEG_DS || seg == SEG_ES || seg == SEG_SS);
    return flat ? 0 : IRF_SEG;
}

static uint8_t size_flags(unsigned addrsize)
{
    return addrsize == 8 ? 0 : addrsize == 4 ? IRF_A32 : IRF_A16;
}

MemRef tr_mem(Translator *t)
{
    const DecodedInsn *in = t->in;
    MemRef m = {.base = in->base == INSN_NO_REG ? IR_ZERO : in->base,
                .index = in->index == INSN_NO_REG ? IR_ZERO : in->index,
                .scale = in->scale,
                .seg = in->seg};
    m.flags = segment_flags(t, in->seg) | size_flags(in->addrsize);
    int64_t disp = in->disp + (in->rip_relative ? (int64_t)t->next : 0);
    if (in->addrsize == 4) {
        disp = (int32_t)disp; /* the sum is truncated anyway */
    }
    if (in->rip_relative && t->pic) {
        m.base = IR_PC;
    }
    if (disp != (int32_t)disp) {
        tr_movi(t, 8, IR_T5, (uint64_t)disp);
        m.index = m.base; /* IR_PC or none */
        m.base = IR_T5;   /* only absolute and RIP-relative operands have such displacements */
        disp = 0;
    }
    m.disp = (int32_t)disp;
    return m;
}

MemRef tr_stack(const Translator *t, unsigned reg, int disp)
{
    return (MemRef){.base = (uint8_t)reg,
                    .index = IR_ZERO,
                    .seg = SEG_SS,
                    .flags = segment_flags(t, SEG_SS) | size_flags(tr_stack_size(t)),
                    .disp = disp};
}

void tr_set_mem(IrOp *op, const MemRef *m)
{
    op->base = m->base;
    op->index = m->index;
    op->scale = m->scale;
    op->seg = m->seg;
    op->disp = m->disp;
    op->flags |= m->flags;
}

void tr_align_check(Translator *t, unsigned size, const MemRef *m)
{
    if ((t->flags & HF_ALIGN_CHECK) && size > 1 && size <= 8) {
        tr_set_mem(tr_emit(t, IR_ALIGN, size), m);
    }
}

void tr_align(Translator *t, unsigned size, const MemRef *m)
{
    tr_set_mem(tr_emit(t, IR_ALIGN_GP, size), m);
}

void tr_load(Translator *t, unsigned size, unsigned d, const MemRef *m, bool for_write)
{
    tr_align_check(t, size, m);
    IrOp *o = tr_emit(t, IR_LD, size);
    o->d = (uint8_t)d;
    o->flags = for_write ? IRF_WRITE : 0;
    tr_set_mem(o, m);
}

void tr_store(Translator *t, unsigned size, unsigned a, const MemRef *m)
{
    tr_align_check(t, size, m);
    IrOp *o = tr_emit(t, IR_ST, size);
    o->a = (uint8_t)a;
    tr_set_mem(o, m);
}

void tr_lea(Translator *t, unsigned size, unsigned d, const MemRef *m)
{
    IrOp *o = tr_emit(t, IR_LEA, size);
    o->d = (uint8_t)d;
    tr_set_mem(o, m);
    o->flags &= (uint8_t) ~(IRF_SEG | IRF_BASE);
}

unsigned tr_get(Translator *t, unsigned i, unsigned tmp)
{
    const Operand *o = &t->in->operand[i];
    switch (o->kind) {
    case OK_REG:
        if (o->high) {
            IrOp *op = tr_emit(t, IR_EXTH, 1);
            op->d = (uint8_t)tmp;
            op->a = o->reg;
            return tmp;
        }
        return o->reg;
    case OK_MEM: {
        MemRef m = tr_mem(t);
        tr_load(t, o->size, tmp, &m, false);
        return tmp;
    }
    default:
        tr_movi(t, 8, tmp, t->in->imm);
        return tmp;
    }
}

void tr_put(Translator *t, unsigned i, unsigned reg)
{
    const Operand *o = &t->in->operand[i];
    if (o->kind == OK_MEM) {
        MemRef m = tr_mem(t);
        tr_store(t, o->size, reg, &m);
    } else if (o->high) {
        IrOp *op = tr_emit(t, IR_INSH, 1);
        op->d = o->reg;
        op->a = (uint8_t)reg;
    } else {
        tr_mov(t, o->size, o->reg, reg);
    }
}

static IrOp *call(Translator *t, IrOpcode op, const IrHelper *h)
{
    IrOp *o = tr_emit(t, op, t->in->opsize);
    o->imm = (int64_t)(intptr_t)h;
    o->sub = t->in->length;
    return o;
}

IrOp *tr_call(Translator *t, const IrHelper *h)
{
    return call(t, IR_CALL, h);
}

IrOp *tr_callx(Translator *t, const IrHelper *h)
{
    return call(t, IR_CALLX, h);
}

void tr_trap(Translator *t, int vector)
{
    IrOp *o = tr_emit(t, IR_TRAP, 0);
    o->sub = (uint8_t)vector;
    o->flags = vector == EXC_GP ? IRF_ERROR : 0;
    t->done = true;
}

void tr_exit(Translator *t)
{
    (void)tr_emit(t, IR_EXIT, 0);
    t->done = true;
}

void tr_exit_next(Translator *t)
{
    tr_emit(t, IR_SETIP, 8)->imm = (int64_t)t->next;
    tr_exit(t);
}

void tr_jump(Translator *t, unsigned slot, uint64_t target)
{
    IrOp *o = tr_emit(t, IR_JMP, 0);
    o->sub = (uint8_t)slot;
    o->imm = (int64_t)target;
    t->done = true;
}

/* ---- the loop ---- */

typedef struct Fetch {
    Translator *t;
    uint64_t linear;
    bool limit; /* ran into the code segment's limit */
} Fetch;

static bool fetch_byte(void *opaque, unsigned pos, uint8_t *byte)
{
    Fetch *f = opaque;
    Translator *t = f->t;
    uint64_t lin = f->linear + pos;
    if (!tr_is64(t)) {
        if (t->rip + pos > t->cpu->segs[SEG_CS].limit) {
            f->limit = true;
            return false;
        }
        lin = (uint32_t)lin;
    }
    return tcg_read_code(t->reader, lin, t->first, byte);
}

static void clear_inhibit(Translator *t);

static void translate_one(Translator *t)
{
    unsigned n = t->n;
    if (t->flags & HF_INHIBIT) {
        clear_inhibit(t);
    }
    if (tr_integer(t) || tr_bits(t) || tr_flow(t) || tr_stack_insn(t) || tr_string(t) ||
        tr_vector(t) || tr_avx(t) || tr_system(t) || tr_extension(t)) {
        if (t->n == n) {
            (void)tr_emit(t, IR_NOP, 1); /* ir_optimize() knows whether its place matters */
        }
        return;
    }
    tr_trap(t, EXC_UD);
}

static bool h_clear_inhibit(CPUX86 *cpu, const IrOp *op)
{
    cpu->hflags &= ~HF_INHIBIT;
    return true;
}
HELPER(helper_clear_inhibit, "clear_inhibit", h_clear_inhibit, 0);

/* The shadow of STI or MOV SS covers this one instruction. */
static void clear_inhibit(Translator *t)
{
    (void)tr_call(t, &helper_clear_inhibit);
}

/* Decodes and translates the instruction at t->rip; false: it cannot be part of this block. */
static bool next_insn(Translator *t, const DecodeMode *mode, uint64_t linear)
{
    DecodedInsn in;
    Fetch f = {.t = t, .linear = linear};
    DecodeResult r = x86_decode(fetch_byte, &f, mode, &in);
    if (r == DECODE_FETCH && !t->first) {
        return false;
    }
    if (log_enabled(LOG_OP)) {
        char text[160];
        x86_decode_print(&in, linear, text, sizeof(text));
        log_printf("%016" PRIx64 "  %s\n", linear, r == DECODE_OK ? text : "(bad)");
    }
    t->in = &in;
    t->next = t->rip + in.length;
    if (!tr_is64(t)) {
        t->next = (uint32_t)t->next;
    }
    switch (r) {
    case DECODE_OK:
        translate_one(t);
        break;
    case DECODE_UD:
        tr_trap(t, EXC_UD);
        break;
    default: /* too long, or beyond the segment */
        tr_trap(t, EXC_GP);
        break;
    }
    t->in = NULL;
    return true;
}

void x86_translate(CPUX86 *cpu, CodeReader *r, uint64_t flags, uint64_t rip, unsigned max_insns,
                   IrOp *ops, TranslateResult *res)
{
    Translator t = {.cpu = cpu,
                    .reader = r,
                    .flags = flags,
                    .ops = ops,
                    .rip = rip,
                    .pic = rip != cpu->rip,
                    .first = true};
    DecodeMode mode = {.bits = flags & HF_CS64   ? 64
                               : flags & HF_CS32 ? 32
                                                 : 16,
                       .protected_mode = (flags & HF_PE) && !(flags & HF_VM),
                       .features = cpu->config.features};
    uint64_t linear = r->linear;
    unsigned n = 0;
    for (;;) {
        if (!next_insn(&t, &mode, linear)) {
            t.done = false;
            tr_jump(&t, 0, t.rip);
            break;
        }
        res->starts[n++] = (uint16_t)t.pc;
        unsigned len = (unsigned)(t.next - t.rip);
        t.pc += len;
        t.rip = t.next;
        linear += len;
        t.first = false;
        if (t.done) {
            break;
        }
        if (n >= max_insns || t.n + INSN_MAX_OPS + 1 >= BLOCK_MAX_OPS ||
            (linear & TCG_PAGE_MASK) != (r->linear & TCG_PAGE_MASK) ||
            tcg_break_at(tcg_cpu(cpu)->tcg, linear)) {
            tr_jump(&t, 0, t.rip);
            break;
        }
    }
    res->n_ops = t.n;
    res->n_insns = n;
    res->size = t.pc;
}
