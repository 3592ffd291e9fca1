/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Units: indirect jumps with a target, state images, control words, flags. */
#include "tests/fuzz/fuzz-units.h"

#include <string.h>

/* opcode … /reg [absolute] with `tail` bytes of immediate. */
static void at_address(Gen *g, const char *opcode, unsigned n, unsigned reg, uint64_t addr,
                       uint64_t imm, unsigned tail)
{
    uint8_t b[24];
    uint32_t a = (uint32_t)addr;
    memcpy(b, opcode, n);
    b[n] = (uint8_t)(reg << 3 | 4);
    b[n + 1] = 0x25;
    memcpy(b + n + 2, &a, 4);
    memcpy(b + n + 6, &imm, 8);
    gen_emit(g, b, n + 6 + tail);
}

static void store64(Gen *g, uint64_t addr)
{
    at_address(g, "\x48\xc7", 2, 0, addr, 0, 4);
}

static void store32(Gen *g, uint64_t addr, uint32_t v)
{
    at_address(g, "\xc7", 1, 0, addr, v, 4);
}

static void store16(Gen *g, uint64_t addr, uint16_t v)
{
    at_address(g, "\x66\xc7", 2, 0, addr, v, 2);
}

/* lea reg,[rip + label] */
static unsigned load_label(Gen *g)
{
    unsigned reg = rng(&g->rng, 16);
    if (reg == R_RSP) {
        reg = R_RAX;
    }
    uint8_t b[7] = {(uint8_t)(0x48 | (reg >> 3) << 2), 0x8d, (uint8_t)(5 | (reg & 7) << 3)};
    gen_emit(g, b, 7);
    gen_label(g, g->len - 4, 4);
    g->pointers &= (uint16_t) ~(1u << reg);
    return reg;
}

static void through_register(Gen *g, unsigned reg, bool call)
{
    uint8_t b[3] = {(uint8_t)(0x40 | (reg >> 3)), 0xff,
                    (uint8_t)(0xc0 | (call ? 2 : 4) << 3 | (reg & 7))};
    gen_emit(g, b, 3);
}

static void indirect(Gen *g)
{
    unsigned kind = rng(&g->rng, 4);
    unsigned reg = load_label(g);
    if (kind < 2) {
        through_register(g, reg, kind);
        return;
    }
    if (kind == 2) { /* mov [scratch],reg; jmp or call [scratch] */
        uint8_t rex_mov[2] = {(uint8_t)(0x48 | (reg >> 3) << 2), 0x89};
        at_address(g, (const char *)rex_mov, 2, reg & 7, FZ_AREA + FZ_SCRATCH, 0, 0);
        at_address(g, "\xff", 1, rng(&g->rng, 2) ? 2 : 4, FZ_AREA + FZ_SCRATCH, 0, 0);
        return;
    }
    uint8_t push[2] = {(uint8_t)(0x40 | reg >> 3), (uint8_t)(0x50 | (reg & 7))};
    gen_mov(g, R_RSP, FZ_RW + 0x800 + rng(&g->rng, 0x1000));
    g->pointers |= 1u << R_RSP;
    gen_emit(g, push, 2);
    if (rng(&g->rng, 2)) {
        gen_emit(g, "\xc3", 1);
    } else {
        gen_emit(g, "\xc2\x10", 3);
    }
}

/* Somewhere that can't be executed; it ends the case. */
static void lost(Gen *g)
{
    static const uint64_t to[] = {FZ_RW + 5,          FZ_RO + 0xffe,      0x10007000,
                                  0xffff900000001000, 0x0000800000000000, 0x8000000000000000};
    uint64_t v = to[rng(&g->rng, G_N_ELEMENTS(to))];
    /* Whether a call's push or its target is looked at first depends on the chip. */
    gen_mov(g, R_RSP, FZ_RW + 0x800 + rng(&g->rng, 0x1000));
    g->pointers |= 1u << R_RSP;
    if (rng(&g->rng, 2)) {
        gen_mov(g, R_RAX, v);
        through_register(g, R_RAX, rng(&g->rng, 2));
    } else {
        gen_mov(g, R_RAX, v);
        gen_emit(g, "\x50", 1);
        gen_emit(g, "\xc3", 1);
    }
}

static void flags(Gen *g)
{
    uint32_t v = (uint32_t)rng64(&g->rng) & FLAGS_ARITH;
    if (rng(&g->rng, 6) == 0) {
        v |= (uint32_t)rng64(&g->rng) & (FLAG_IOPL | FLAG_IF | FLAG_NT | FLAG_ID | FLAG_DF);
    }
    if (g->opt.alignment && rng(&g->rng, 10) == 0) {
        v |= (uint32_t)rng64(&g->rng) & FLAG_AC;
    }
    if (rng(&g->rng, 30) == 0) {
        v |= FLAG_TF;
    }
    uint8_t push[5] = {0x68};
    memcpy(push + 1, &v, 4);
    gen_mov(g, R_RSP, FZ_RW + 0x800 + rng(&g->rng, 0x1000));
    g->pointers |= 1u << R_RSP;
    gen_emit(g, push, 5);
    gen_emit(g, "\x9d", 1);
    g->undefined = 0;
}

/* C1 of a status word in memory, which chips set differently. */
static void no_c1(Gen *g, uint64_t status)
{
    at_address(g, "\x80", 1, 4, status + 1, 0xfd, 1);
    g->undefined = FLAG_AF;
}

static void no_pointers(Gen *g, uint64_t image)
{
    no_c1(g, image + 2);
    store16(g, image + 6, 0);
    store64(g, image + 8);
    store64(g, image + 16);
    store32(g, image + 28, 0);
}

static void fxsave(Gen *g)
{
    const uint64_t at = FZ_AREA + FZ_SAVE;
    if (rng(&g->rng, 2)) {
        at_address(g, "\x48\x0f\xae", 3, 0, at, 0, 0);
    } else {
        at_address(g, "\x0f\xae", 2, 0, at, 0, 0);
    }
    no_pointers(g, at);
}

static void xsave(Gen *g)
{
    const uint64_t at = FZ_AREA + FZ_SAVE;
    if (!(g->opt.features[FEAT_1_ECX] & 1u << 26)) {
        fxsave(g);
        return;
    }
    uint32_t avx = g->opt.features[FEAT_1_ECX] & 1u << 28 ? 7 : 3;
    gen_mov(g, R_RDX, 0);
    gen_mov(g, R_RAX, rng(&g->rng, 8) & avx);
    if (rng(&g->rng, 2)) {
        at_address(g, "\x0f\xae", 2, 5, FZ_AREA + FZ_FXRSTOR, 0, 0);
        return;
    }
    at_address(g, "\x48\x0f\xae", 3, 4, at, 0, 0);
    no_pointers(g, at);
    at_address(g, "\xc6", 1, 0, at + 512, 0, 1);
}

static void x87_environment(Gen *g)
{
    const uint64_t at = FZ_AREA + FZ_SAVE;
    switch (rng(&g->rng, 5)) {
    case 4: /* fnstsw ax; and ah,~2 */
        gen_emit(g, "\xdf\xe0", 2);
        gen_emit(g, "\x80\xe4\xfd", 3);
        g->undefined = FLAG_AF;
        break;
    case 0:
    case 1:
        at_address(g, rng(&g->rng, 2) ? "\xd9" : "\xdd", 1, 6, at, 0, 0);
        no_c1(g, at + 4);
        store64(g, at + 12);
        store64(g, at + 20);
        break;
    case 2:
        at_address(g, "\xd9", 1, 4, FZ_AREA + FZ_FLDENV, 0, 0);
        break;
    default:
        at_address(g, "\xdd", 1, 4, FZ_AREA + FZ_FLDENV, 0, 0);
        break;
    }
}

static void control_word(Gen *g)
{
    uint16_t cw = (uint16_t)(0x7f | (rng64(&g->rng) & 0xf00));
    if (rng(&g->rng, 6) == 0) {
        cw &= (uint16_t)rng64(&g->rng);
    }
    store16(g, FZ_AREA + FZ_SCRATCH, cw);
    at_address(g, "\xd9", 1, 5, FZ_AREA + FZ_SCRATCH, 0, 0);
    if (rng(&g->rng, 4) == 0) {
        gen_emit(g, rng(&g->rng, 2) ? "\xdb\xe3" : "\xdb\xe2", 2);
    }
}

static void mxcsr(Gen *g)
{
    uint32_t v = 0x1f80 | ((uint32_t)rng64(&g->rng) & 0xe07f);
    if (rng(&g->rng, 6) == 0) {
        v &= (uint32_t)rng64(&g->rng);
    }
    if (rng(&g->rng, 40) == 0) {
        v |= 0x10000;
    }
    store32(g, FZ_AREA + FZ_SCRATCH, v);
    at_address(g, "\x0f\xae", 2, 2, FZ_AREA + FZ_SCRATCH, 0, 0);
}

static void fxrstor(Gen *g)
{
    if (rng(&g->rng, 2)) {
        at_address(g, "\x48\x0f\xae", 3, 1, FZ_AREA + FZ_FXRSTOR, 0, 0);
    } else {
        at_address(g, "\x0f\xae", 2, 1, FZ_AREA + FZ_FXRSTOR, 0, 0);
    }
}

/* RAX holds what memory holds, now and then. */
static void compare_exchange(Gen *g)
{
    uint64_t at = gen_target(g, rng(&g->rng, 2) ? 8 : 1);
    bool wide = rng(&g->rng, 2);
    if (rng(&g->rng, 2)) {
        at_address(g, wide ? "\x48\x8b" : "\x40\x8b", 2, 0, at, 0, 0);
    }
    at_address(g, wide ? "\xf0\x48\x0f\xb1" : "\xf0\x40\x0f\xb1", 4, rng(&g->rng, 8), at, 0, 0);
    g->undefined = 0;
}

static void wide_exchange(Gen *g)
{
    uint64_t at = gen_target(g, rng(&g->rng, 8) ? 16 : 1);
    bool wide = rng(&g->rng, 2);
    if (rng(&g->rng, 2)) {
        at_address(g, wide ? "\x48\x8b" : "\x40\x8b", 2, 0, at, 0, 0);
        at_address(g, wide ? "\x48\x8b" : "\x40\x8b", 2, 2, at + (wide ? 8 : 4), 0, 0);
    }
    at_address(g, wide ? "\xf0\x48\x0f\xc7" : "\xf0\x40\x0f\xc7", 4, 1, at, 0, 0);
}

void gen_special(Gen *g)
{
    Rng *r = &g->rng;
    gen_unit(g);
    switch (rng(r, 32)) {
    case 0 ... 9:
        if (g->n_labels < GEN_LABELS) {
            indirect(g);
        }
        break;
    case 10 ... 12:
        flags(g);
        break;
    case 13:
    case 14:
        fxsave(g);
        break;
    case 15:
    case 16:
        xsave(g);
        break;
    case 17:
    case 18:
        x87_environment(g);
        break;
    case 19 ... 21:
        control_word(g);
        break;
    case 22 ... 24:
        mxcsr(g);
        break;
    case 25:
        fxrstor(g);
        break;
    case 26 ... 28:
        compare_exchange(g);
        break;
    case 29:
    case 30:
        wide_exchange(g);
        break;
    default:
        if (rng(r, 4) == 0) {
            lost(g);
        }
        break;
    }
}
