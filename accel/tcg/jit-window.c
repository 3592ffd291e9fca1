/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Neighbouring loads: in a trace, one lookup in the TLB for all loads by the same register,
 * such as of a structure's members.  The host's address is kept in TcgCpu.window.  Where they
 * are not all in one page of memory, execution goes on in a block with a lookup for each.
 */
#include "accel/tcg/jit-internal.h"

/* Loads further apart have lookups of their own. */
#define WINDOW_SPAN 128
/* So many operations are looked at. */
#define WINDOW_REACH 64u

typedef struct Window {
    int lo, hi; /* from the base register at the beginning */
    int moved;  /* its change so far */
    unsigned loads, last;
} Window;

static bool is_load(const IrOp *op, unsigned base)
{
    return (op->op == IR_LD || op->op == IR_LDSX || op->op == IR_VLD) && op->base == base &&
           op->index == IR_ZERO &&
           !(op->flags & (IRF_A32 | IRF_A16 | IRF_SEG | IRF_BASE | IRF_WRITE));
}

static bool add(Window *w, int at, unsigned size)
{
    int lo = w->loads ? MIN(w->lo, at) : at;
    int hi = w->loads ? MAX(w->hi, at + (int)size) : at + (int)size;
    if (hi - lo > WINDOW_SPAN) {
        return false;
    }
    w->lo = lo;
    w->hi = hi;
    w->loads++;
    return true;
}

static bool ends(const IrOp *op)
{
    return op->op == IR_CALL || op->op == IR_CALLX || op->op == IR_SKIP || op->op == IR_SKIPZ ||
           op->op == IR_EXIT;
}

/* Looks for what follows the load i; marks it with `mark`, if that is not 0. */
static Window scan(JitCtx *j, unsigned i, unsigned mark, int lo)
{
    Window w = {0};
    unsigned base = j->ops[i].base;
    for (unsigned k = i; k < j->n && k < i + WINDOW_REACH && !ends(&j->ops[k]); k++) {
        const IrOp *op = &j->ops[k];
        int at = w.moved + op->disp;
        if (is_load(op, base) && op->disp > -65536 && op->disp < 65536) {
            if (!add(&w, at, op->size)) {
                break;
            }
            w.last = k;
            if (mark) {
                j->window[k] = (uint8_t)mark;
                j->window_offset[k] = (int16_t)(at - lo);
            }
        }
        if (!ir_follow_reg(op, base, &w.moved)) {
            break;
        }
    }
    return w;
}

void jit_window_begin(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    if (j->jit->icount || !(j->b->flags & HF_CS64) || (j->b->flags & BLOCK_NO_STACK) ||
        j->join[i][0] || j->window[i] || op->base == R_RSP || op->base >= IR_T0 ||
        (i && j->ops[i - 1].pc == op->pc) || !is_load(op, op->base)) {
        return;
    }
    Window w = scan(j, i, 0, 0);
    unsigned slot = 0;
    while (slot < WINDOWS && j->window_end[slot] > i) {
        slot++;
    }
    if (w.loads < 2 || slot == WINDOWS) {
        return;
    }
    (void)scan(j, i, slot + 1, w.lo);
    j->window_end[slot] = w.last + 1;
    j->window_first[slot] = i;
    j->window_len[slot] = (uint8_t)(w.hi - w.lo);
    j->window_ready[slot] = false;
}

static Opnd address_of(unsigned slot)
{
    return asm_mem(H_RBP, TC_OFF(window[0]) + 8 * (int)slot);
}

/* The lookup, at the first load; nothing has been done of its instruction yet. */
static void look_up(JitCtx *j, unsigned i, unsigned slot)
{
    const IrOp *op = &j->ops[i];
    unsigned len = j->window_len[slot];
    int offset = j->window_offset[i];
    const IrOp lowest = {
        .base = op->base, .index = IR_ZERO, .seg = op->seg, .disp = op->disp - offset};
    jit_flags_clobber(j, i);
    jit_linear(j, i, &lowest, 0);
    uint8_t *miss = jit_lookup(j, len | ACC_READ);
    Cold *c = jit_cold(j, COLD_WINDOW, i);
    c->from = miss;
    c->resume = j->a.p;
    c->info = len | (uint32_t)op->size << WINDOW_SIZE_SHIFT |
              (uint32_t)offset << WINDOW_OFFSET_SHIFT | (uint32_t)op->seg << WINDOW_SEG_SHIFT;
    asm_store(&j->a, 8, address_of(slot), H_RAX);
    j->window_ready[slot] = true;
}

bool jit_window_operand(JitCtx *j, const IrOp *mem)
{
    if (j->in_cold || mem < j->ops || mem >= j->ops + j->n || !j->window[mem - j->ops]) {
        return false;
    }
    unsigned k = (unsigned)(mem - j->ops), slot = j->window[k] - 1u;
    if (j->window_first[slot] == k) {
        look_up(j, k, slot);
    } else if (j->window_ready[slot]) {
        asm_load(&j->a, 8, H_RAX, address_of(slot));
    } else { /* the first was left to C */
        return false;
    }
    j->at = asm_mem(H_RAX, j->window_offset[k]);
    return true;
}

void jit_cold_window(JitCtx *j, const Cold *c)
{
    jit_flags_rescue(j, &c->before);
    asm_movi(&j->a, H_RDX, c->info);
    jit_asm_rip(j, H_RCX, jit_rip(j, &j->ops[c->index]));
    asm_call_to(&j->a, j->jit->stub[STUB_WINDOW]);
    jit_reload_units(j, c->fpu, c->vec);
    asm_rm(&j->a, 8, 0x85, H_RAX, asm_reg(H_RAX));
    asm_jcc_to(&j->a, CC_NE, c->resume);
    jit_go_without(j, c->index);
}
