/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Traces: a hot block and those that were mostly executed after it become one piece of
 * host code, with exits where the way may part.  Flags, vector registers and all that the
 * JIT knows so reach beyond a jump.  Only direct links are followed, so that a trace lies
 * in one page and depends on no other mapping.
 */
#include "accel/tcg/jit-internal.h"

static void append(JitCtx *j, const Block *b)
{
    uint16_t base = (uint16_t)(b->rip - j->b->rip);
    unsigned part = j->n_blocks - 1;
    if (part && b->ops[0].pc) { /* its first instruction left no operation: where to go on */
        j->part[j->n] = (uint8_t)part;
        j->source[j->n] = b->ops;
        j->ops[j->n++] = (IrOp){.op = IR_NOP, .pc = base};
    }
    for (unsigned i = 0; i < b->n_ops; i++) {
        IrOp *op = &j->ops[j->n];
        *op = b->ops[i];
        op->pc = (uint16_t)(op->pc + base);
        if (op->op == IR_JCC) {
            op->d = 0;
        }
        j->source[j->n] = &b->ops[i];
        j->part[j->n++] = (uint8_t)part;
    }
}

static bool in_trace(const JitCtx *j, const Block *b)
{
    for (unsigned i = 0; i < j->n_blocks; i++) {
        if (j->blocks[i] == b) {
            return true;
        }
    }
    return false;
}

/* So many blocks that have code of their own may be part of a trace, too; more are linked to. */
#define TRACE_COPIES 4u

/* May the trace go on with it? */
static bool may_follow(const JitCtx *j, const Block *to, unsigned insns, unsigned copies)
{
    return to && !to->invalid && !to->jit_never && !in_trace(j, to) &&
           (!to->host_size || copies < TRACE_COPIES) && j->n_blocks < TRACE_MAX_BLOCKS &&
           insns + to->n_insns <= TRACE_MAX_INSNS && j->n + to->n_ops + 1 <= BLOCK_MAX_OPS &&
           to->rip != jit_rip(j, &j->ops[j->n - 1]);
}

/* The link by which the last block is left most often; -1: not by a link that can be followed. */
static int likely_link(const JitCtx *j)
{
    const Block *b = j->blocks[j->n_blocks - 1];
    const IrOp *last = &b->ops[b->n_ops - 1];
    unsigned before = b->n_ops > 1 ? last[-1].op : IR_NOP;
    if (last->op != IR_JMP || before == IR_JMP || before == IR_SKIPZ || before == IR_SKIP) {
        return -1;
    }
    if (before != IR_JCC) {
        return last->sub;
    }
    const Block *taken = b->jump[0], *next = b->jump[1];
    return taken && (!next || __atomic_load_n(&taken->heat, __ATOMIC_RELAXED) >
                                  __atomic_load_n(&next->heat, __ATOMIC_RELAXED))
               ? 0
               : 1;
}

void jit_build_trace(JitCtx *j, Block *b)
{
    unsigned insns = b->n_insns, copies = 0;
    j->b = j->blocks[0] = b;
    j->n_blocks = 1;
    j->n = 0;
    append(j, b);
    while (!j->jit->icount) { /* which counts at a block's entry */
        const Block *from = j->blocks[j->n_blocks - 1];
        int link = likely_link(j);
        Block *to = link < 0 ? NULL : from->jump[link];
        if (!may_follow(j, to, insns, copies)) {
            return;
        }
        j->n--; /* the jump at the end is not needed */
        IrOp *jcc = from->n_ops > 1 ? &j->ops[j->n - 1] : NULL;
        if (jcc && jcc->op == IR_JCC && link == 0) {
            jcc->sub ^= 1;
            jcc->imm = j->ops[j->n].imm;
            jcc->d = 1;
        }
        insns += to->n_insns;
        copies += to->host_size != 0;
        j->blocks[j->n_blocks++] = to;
        append(j, to);
    }
}
