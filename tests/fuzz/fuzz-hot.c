/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loops that run often enough to become traces, with what translated code shares checks for:
 * loads by a register and accesses of the stack, both of which wander, over the ends of pages
 * and into what may not be accessed; jumps that go now this way and now that.
 */
#include "tests/fuzz/fuzz-flags.h"
#include "tests/fuzz/fuzz-units.h"

#include <string.h>

typedef struct Hot {
    Gen *g;
    unsigned base; /* the register that wanders */
} Hot;

typedef struct Bytes {
    uint8_t b[24];
    unsigned n;
} Bytes;

static void put(Bytes *x, unsigned byte)
{
    x->b[x->n++] = (uint8_t)byte;
}

static void put_imm(Bytes *x, uint32_t v, unsigned n)
{
    memcpy(x->b + x->n, &v, n);
    x->n += n;
}

void gen_known(Gen *g, const void *bytes, unsigned n)
{
    DecodedInsn in;
    if (gen_decode(&g->opt, bytes, n, &in)) {
        gen_define_flags(g, flag_use(&in).read);
        gen_emit(g, bytes, n);
        g->undefined = flags_after(g->undefined, &in);
    }
}

static void emit(Gen *g, const Bytes *x)
{
    gen_known(g, x->b, x->n);
}

static unsigned max_reg(const Gen *g)
{
    return g->opt.bits == 64 ? 16 : 8;
}

/* A register that the loop does not depend on. */
static unsigned any_reg(Hot *h)
{
    unsigned r = rng(&h->g->rng, max_reg(h->g));
    if (r == R_RSP || (r == h->base && rng(&h->g->rng, 16))) {
        return R_RAX;
    }
    h->g->pointers &= (uint16_t) ~(1u << r);
    return r;
}

/* Prefixes, opcode and operands: reg, [base + disp]. wide: 64-bit operands, where there are. */
static void memory(Hot *h, const char *prefix, bool wide, const char *opcode, unsigned opcode_n,
                   unsigned reg, unsigned base, int disp, uint32_t imm, unsigned imm_n)
{
    Gen *g = h->g;
    Bytes x = {.n = 0};
    bool big = disp < -128 || disp > 127 || rng(&g->rng, 8) == 0;
    if (g->opt.bits == 16) {
        put(&x, 0x67);
    }
    if (prefix) {
        put(&x, (uint8_t)*prefix);
    }
    if (g->opt.bits == 64) {
        put(&x, 0x40u | (unsigned)wide << 3 | (reg >> 3 & 1) << 2 | base >> 3);
    }
    for (unsigned i = 0; i < opcode_n; i++) {
        put(&x, (uint8_t)opcode[i]);
    }
    put(&x, (big ? 0x80u : 0x40u) | (reg & 7) << 3 | (base & 7));
    if ((base & 7) == 4) {
        put(&x, 0x24);
    }
    put_imm(&x, (uint32_t)disp, big ? 4 : 1);
    put_imm(&x, imm, imm_n);
    emit(g, &x);
}

/* reg, rm of 32 or 64 bits */
static void registers(Hot *h, bool wide, const char *opcode, unsigned opcode_n, unsigned reg,
                      unsigned rm, uint32_t imm, unsigned imm_n)
{
    Bytes x = {.n = 0};
    if (h->g->opt.bits == 16) {
        put(&x, 0x66);
    } else if (h->g->opt.bits == 64) {
        put(&x, 0x40u | (unsigned)wide << 3 | (reg >> 3 & 1) << 2 | rm >> 3);
    }
    for (unsigned i = 0; i < opcode_n; i++) {
        put(&x, (uint8_t)opcode[i]);
    }
    put(&x, 0xc0u | (reg & 7) << 3 | (rm & 7));
    put_imm(&x, imm, imm_n);
    emit(h->g, &x);
}

/* ---- loads and stores by one register ---- */

static void load(Hot *h, unsigned base, int disp)
{
    static const struct {
        const char *prefix, *opcode;
        uint8_t n;
        bool vector;
    } loads[] = {
        {NULL, "\x8b", 1, false},      {NULL, "\x8b", 1, false},      {NULL, "\x8b", 1, false},
        {NULL, "\x0f\xb6", 2, false},  {NULL, "\x0f\xbf", 2, false},  {"\x66", "\x8b", 1, false},
        {NULL, "\x03", 1, false},      {NULL, "\x13", 1, false},      {NULL, "\x3b", 1, false},
        {NULL, "\x85", 1, false},      {NULL, "\x33", 1, false},      {NULL, "\x0f\xaf", 2, false},
        {NULL, "\x8a", 1, false},      {NULL, "\x0f\x10", 2, true},   {NULL, "\x0f\x28", 2, true},
        {"\xf3", "\x0f\x6f", 2, true}, {"\xf3", "\x0f\x7e", 2, true}, {"\x66", "\x0f\xef", 2, true},
        {NULL, "\x0f\x44", 2, false},  {NULL, "\x22", 1, false},
    };
    unsigned k = rng(&h->g->rng, G_N_ELEMENTS(loads));
    unsigned reg = loads[k].vector ? rng(&h->g->rng, max_reg(h->g)) : any_reg(h);
    memory(h, loads[k].prefix, !loads[k].vector && rng(&h->g->rng, 2), loads[k].opcode, loads[k].n,
           reg, base, disp, 0, 0);
}

static void store(Hot *h, unsigned base, int disp)
{
    static const char stores[] = "\x89\x88\x01\x31\x29\x21";
    Rng *r = &h->g->rng;
    unsigned k = rng(r, 9);
    if (k < 6) {
        memory(h, NULL, rng(r, 2), stores + k, 1, any_reg(h), base, disp, 0, 0);
    } else if (k == 6) {
        memory(h, NULL, false, "\xc6", 1, 0, base, disp, (uint32_t)rng64(r), 1);
    } else if (k == 7) {
        memory(h, NULL, false, "\x0f\x11", 2, rng(r, 8), base, disp, 0, 0);
    } else {
        memory(h, NULL, rng(r, 2), "\x83", 1, rng(r, 8), base, disp, (uint32_t)rng64(r), 1);
    }
}

static void wander(Hot *h, unsigned reg, int by)
{
    Gen *g = h->g;
    bool wide = g->opt.bits == 64;
    switch (rng(&g->rng, 5)) {
    case 0:
        memory(h, NULL, wide, "\x8d", 1, reg, reg, by, 0, 0);
        break;
    case 1:
        registers(h, wide, "\x83", 1, 5, reg, (uint32_t)-by, 1);
        break;
    case 2:
        registers(h, wide, "\xff", 1, rng(&g->rng, 2), reg, 0, 0);
        break;
    default:
        registers(h, wide, "\x83", 1, 0, reg, (uint32_t)by, 1);
        break;
    }
}

static void loads(Hot *h)
{
    Rng *r = &h->g->rng;
    int near = (int)rng(r, 200) - 100, span = rng(r, 4) ? 30 : 140;
    for (unsigned i = 2 + rng(r, 4); i--;) {
        gen_unit(h->g);
        load(h, h->base, near + (int)rng(r, (uint32_t)span));
        if (rng(r, 5) == 0) {
            wander(h, h->base, (int)rng(r, 24) - 8);
        } else if (rng(r, 6) == 0) {
            store(h, rng(r, 2) ? h->base : R_RSP, near + (int)rng(r, 64));
        } else if (rng(r, 6) == 0) {
            registers(h, rng(r, 2), "\x01\x11\x29\x19\x31\x21\x39\x85" + rng(r, 8), 1, any_reg(h),
                      any_reg(h), 0, 0);
        }
    }
}

/* ---- the stack ---- */

static void one_byte(Hot *h, unsigned opcode, unsigned reg)
{
    Bytes x = {.n = 0};
    if (h->g->opt.bits == 64 && reg >= 8) {
        put(&x, 0x41);
    }
    put(&x, opcode | (reg & 7));
    emit(h->g, &x);
}

/* call over a jump; what is called returns, perhaps after more of the stack's */
static void subroutine(Hot *h)
{
    Gen *g = h->g;
    unsigned size = g->opt.bits == 16 ? 2 : 4, reg = any_reg(h);
    uint8_t call[5] = {0xe8, 2}, jmp[2] = {0xeb, 0};
    gen_emit(g, call, 1 + size);
    unsigned at = g->len + 1, behind = g->seq->n;
    gen_emit(g, jmp, 2);
    if (rng(&g->rng, 2)) {
        one_byte(h, 0x50, reg);
        one_byte(h, 0x58, any_reg(h));
    }
    if (g->opt.bits != 16 && rng(&g->rng, 2)) {
        load(h, R_RSP, (int)rng(&g->rng, 40));
    }
    Bytes ret = {{0xc3}, 1};
    if (rng(&g->rng, 4) == 0) {
        ret = (Bytes){{0xc2, (uint8_t)(rng(&g->rng, 3) * 8), 0}, 3};
    }
    gen_emit(g, ret.b, ret.n);
    g->code[at] = (uint8_t)(g->len - at - 1);
    g->seq->undefined[behind] |= g->undefined; /* on the way back */
}

static void stack(Hot *h)
{
    Gen *g = h->g;
    Rng *r = &g->rng;
    bool near = g->opt.bits != 16;
    for (unsigned i = 1 + rng(r, 5); i--;) {
        gen_unit(g);
        switch (rng(r, 12)) {
        case 0:
        case 1:
        case 2:
            one_byte(h, 0x50, rng(r, max_reg(g)));
            break;
        case 3:
        case 4:
            one_byte(h, 0x58, any_reg(h));
            break;
        case 5:
            if (near) {
                store(h, R_RSP, (int)rng(r, 100) - 20);
            }
            break;
        case 6:
        case 7:
            if (near) {
                load(h, R_RSP, (int)rng(r, 100) - 20);
            }
            break;
        case 8:
            wander(h, R_RSP, (int)(rng(r, 12) * 8) - 40);
            break;
        case 9:
            if (near) { /* push, pop [base] */
                bool push = rng(r, 2);
                memory(h, NULL, false, push ? "\xff" : "\x8f", 1, push ? 6 : 0,
                       rng(r, 4) ? h->base : R_RSP, (int)rng(r, 64), 0, 0);
            }
            break;
        case 10: { /* push imm8 */
            Bytes x = {{0x6a, (uint8_t)rng64(r)}, 2};
            emit(g, &x);
            break;
        }
        default:
            subroutine(h);
            break;
        }
    }
}

/* ---- ways that part ---- */

/* test byte [counter], mask; jump over the next units */
static void fork_here(Hot *h)
{
    Gen *g = h->g;
    if (g->n_labels >= GEN_LABELS) {
        return;
    }
    gen_unit(g);
    if (rng(&g->rng, 3)) {
        gen_absolute(g, "\xf6", 1, 0, g->opt.at.counter, 1u << rng(&g->rng, 4), 1, 1);
        g->undefined = FLAG_AF;
    } else {
        registers(h, false, "\x84", 1, any_reg(h), any_reg(h), 0, 0);
    }
    uint8_t jcc[2] = {(uint8_t)(rng(&g->rng, 2) ? 0x74 + rng(&g->rng, 2) : 0x78 + rng(&g->rng, 4)),
                      0};
    gen_emit(g, jcc, 2);
    gen_label(g, g->len - 1, 1);
}

/* Any instruction, or what is special to this mode. */
static bool anything(Hot *h)
{
    Gen *g = h->g;
    if (g->opt.code_changes && rng(&g->rng, 4) == 0) {
        g->opt.code_changes(g);
        return true;
    }
    if (rng(&g->rng, 4) < (g->opt.special ? 3 : 1)) {
        g->opt.special ? g->opt.special(g) : gen_special(g);
        return true;
    }
    return gen_insn(g);
}

/* The same, but only when some bits of the counter are 0: a loop may become hot meanwhile. */
static bool now_and_then(Hot *h)
{
    static const uint8_t masks[] = {1, 3, 7, 15, 31, 8, 16, 32};
    Gen *g = h->g;
    unsigned size = g->opt.bits == 16 ? 2 : 4;
    uint8_t jnz[6] = {0x0f, 0x85};
    gen_unit(g);
    gen_absolute(g, "\xf6", 1, 0, g->opt.at.counter, masks[rng(&g->rng, sizeof(masks))], 1, 1);
    g->undefined = FLAG_AF;
    gen_emit(g, jnz, 2 + size);
    unsigned at = g->len;
    uint16_t pointers = g->pointers;
    bool ok = anything(h);
    if (ok && rng(&g->rng, 4) == 0) {
        ok = anything(h);
    }
    int32_t rel = (int32_t)(g->len - at);
    memcpy(g->code + at - size, &rel, size);
    g->undefined |= FLAG_AF;
    g->pointers &= pointers;
    return ok;
}

/* Where a register may begin, so that it soon comes to something worth while. */
static uint64_t beginning(Gen *g)
{
    uint64_t rw = g->opt.at.rw;
    switch (rng(&g->rng, 8)) {
    case 0:
        return rw + FZ_RW_SIZE - rng(&g->rng, 0x180);
    case 1:
        return rw + rng(&g->rng, 0x100);
    case 2:
        return rw + FZ_RW_SIZE + FZ_RO_SIZE - rng(&g->rng, 0x100);
    case 3:
        return rw + 0x400 + rng(&g->rng, 0x1000);
    default:
        return rw + 0x1000 - 0x100 + rng(&g->rng, 0x200);
    }
}

bool gen_hot_loop(Gen *g, unsigned items)
{
    static const uint8_t wide_bases[] = {R_RBX, R_RBP, R_RSI, R_RDI, R_R8, R_R12, R_R13, R_R15};
    static const uint8_t bases[] = {R_RBX, R_RBP, R_RSI, R_RDI};
    Rng *r = &g->rng;
    Hot h = {.g = g};
    h.base = g->opt.bits == 64 ? wide_bases[rng(r, 8)] : bases[rng(r, 4)];
    gen_unit(g);
    gen_store(g, g->opt.at.counter, 8 + rng(r, 60), 4);
    gen_unit(g);
    gen_mov(g, R_RSP, beginning(g) & ~(uint64_t)(rng(r, 4) ? 7 : 0));
    gen_unit(g);
    gen_mov(g, h.base, beginning(g) & ~(uint64_t)(rng(r, 2) ? 15 : 0));
    g->pointers |= (uint16_t)(1u << R_RSP | 1u << h.base);
    gen_unit(g);
    unsigned head = g->len;
    while (items-- && g->seq->n < FZ_STARTS - 60) {
        if (g->opt.constant && rng(r, 8) == 0) {
            gen_unit(g);
            g->opt.constant(g);
        }
        switch (rng(r, 10)) {
        case 0:
        case 1:
            loads(&h);
            break;
        case 2:
        case 3:
            stack(&h);
            break;
        case 4:
            fork_here(&h);
            break;
        case 5:
            gen_unit(g);
            wander(&h, h.base, (int)rng(r, 60) - 20);
            break;
        case 6:
            gen_unit(g);
            store(&h, h.base, (int)rng(r, 80) - 20);
            break;
        case 7:
            if (!anything(&h)) {
                return false;
            }
            break;
        default:
            if (!now_and_then(&h)) {
                return false;
            }
            break;
        }
    }
    gen_loop_end(g, head);
    return true;
}
