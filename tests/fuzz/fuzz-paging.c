/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ring 0 with paging: entries of the page table change and are invalidated in all ways that
 * there are; address spaces, write protection, SMAP, SMEP and protection keys come and go;
 * watchpoints of the guest's own; code that changes, in loops.
 */
#include "tests/fuzz/fuzz-system.h"
#include "tests/fuzz/fuzz-units.h"
#include "tests/unit/x86-guest.h"

#include <string.h>

#define PAGE 0x1000u
/* Of INVPCID: on a page that is never changed, so that its use leaves no traces. */
#define AT_DESCRIPTOR (AT_HANDLERS + 0xf80u)

/* Which ways are used is a sequence's: not all can be combined. */
static bool global_pages(const Gen *g)
{
    return g->style & 1;
}

static bool contexts(const Gen *g)
{
    return (g->style & 6) == 6 && g->opt.bits == 64;
}

/* ---- control registers ---- */

/* mov eax, crN; btc eax, bit; mov crN, eax */
static void flip_control(Gen *g, unsigned cr, unsigned bit)
{
    uint8_t read[3] = {0x0f, 0x20, (uint8_t)(0xc0 | cr << 3)};
    uint8_t btc[4] = {0x0f, 0xba, 0xf8, (uint8_t)bit};
    uint8_t write[3] = {0x0f, 0x22, (uint8_t)(0xc0 | cr << 3)};
    gen_known(g, read, 3);
    gen_known(g, btc, 4);
    gen_known(g, write, 3);
}

static void load_cr3(Gen *g)
{
    uint64_t v = AT_TABLES;
    if (contexts(g)) {
        v |= rng(&g->rng, 4) | (rng64(&g->rng) & (uint64_t)1 << 63);
    }
    gen_mov(g, R_RAX, v);
    gen_known(g, "\x0f\x22\xd8", 3);
}

static void invpcid(Gen *g, uint64_t page, unsigned type)
{
    uint64_t at = AT_DESCRIPTOR;
    gen_store(g, at, contexts(g) ? rng(&g->rng, 4) : 0, 4);
    gen_store(g, at + 4, 0, 4);
    gen_store(g, at + 8, (uint32_t)page, 4);
    gen_store(g, at + 12, 0, 4);
    gen_mov(g, R_RCX, type);
    gen_absolute(g, "\x66\x0f\x38\x82", 4, R_RCX, at, 0, 0, 1);
}

/* Afterwards nothing of the old mapping is left, in whichever context. */
static void invalidate(Gen *g, uint64_t page)
{
    unsigned k = rng(&g->rng, 8);
    if (k < 2) {
        flip_control(g, 4, 7);
        flip_control(g, 4, 7);
    } else if (k < 4 || contexts(g)) {
        invpcid(g, page, 2);
        flip_control(g, 4, 7); /* where there is no INVPCID */
    } else if (k < 6 || global_pages(g)) {
        gen_absolute(g, "\x0f\x01", 2, 7, page, 0, 0, 4);
    } else {
        load_cr3(g);
    }
}

/* ---- entries ---- */

static void change_entry(Gen *g)
{
    static const uint32_t low[] = {0x02, 0x02, 0x04, 0x20,   0x40,   0x60,
                                   0x62, 0x18, 0x01, 0x1000, 0x1000, 0x80};
    Rng *r = &g->rng;
    uint64_t rw = g->opt.at.rw, page = rw + PAGE;
    unsigned k = rng(r, 12), size = g->opt.bits == 64 ? 8 : 4;
    uint32_t bits = low[rng(r, G_N_ELEMENTS(low))];
    unsigned high = 0;
    if (k == 0) {
        page = rw;
    } else if (k == 1) {
        page = rw + 2 * PAGE;
    } else if (k == 2) {
        uint64_t here = g->seq->start + g->len;
        bool stays = here % PAGE < PAGE - 0x80; /* on one page, until it is invalidated */
        page = AT_CODE + (rng(r, 2) ? PAGE : 0);
        bits = stays && rng(r, 3) ? 0x20 : 0x02;
        if (stays && (here & ~(uint64_t)(PAGE - 1)) != page) {
            high = size == 8 && rng(r, 2) ? 4 : 0;
            bits = high ? 0x80000000 : rng(r, 2) ? 0x1000 : 0x20;
        }
    } else if (k == 3) {
        page = g->opt.at.counter & ~(uint64_t)(PAGE - 1);
        bits = 0x60;
    } else if (k < 6 && size == 8) { /* no execution, a protection key, a reserved bit */
        high = 4;
        bits = rng(r, 3) == 0 ? 0x80000000 : rng(r, 4) ? rng(r, 16) << 27 : 1u << 19;
    } else if (k < 8 && global_pages(g)) {
        bits = 0x100;
    }
    gen_absolute(g, "\x81", 1, 6, AT_PT + (page >> 12) * size + high, bits, 4, 4);
    g->undefined = FLAG_AF;
    invalidate(g, page);
}

static void protection(Gen *g)
{
    static const uint8_t bits[] = {21, 21, 21, 20, 22, 22, 7, 17, 11};
    Rng *r = &g->rng;
    switch (rng(r, 8)) {
    case 0:
    case 1:
        flip_control(g, 0, 16); /* WP */
        break;
    case 2: /* STAC, CLAC */
        gen_known(g, rng(r, 2) ? "\x0f\x01\xcb" : "\x0f\x01\xca", 3);
        break;
    case 3: /* WRPKRU */
        gen_mov(g, R_RCX, 0);
        gen_mov(g, R_RDX, 0);
        gen_mov(g, R_RAX, rng(r, 2) ? rng64(r) & UINT32_MAX : 0);
        gen_known(g, "\x0f\x01\xef", 3);
        break;
    default: {
        unsigned bit = bits[rng(r, sizeof(bits))];
        if (bit == 17 && contexts(g)) { /* PCIDs come in context 0 only */
            gen_mov(g, R_RAX, AT_TABLES);
            gen_known(g, "\x0f\x22\xd8", 3);
        }
        if (bit != 17 || contexts(g)) {
            flip_control(g, 4, bit);
        }
        break;
    }
    }
}

/* A breakpoint of DR7: on data, on code, off. */
static void breakpoint(Gen *g)
{
    Rng *r = &g->rng;
    if (rng(r, 3)) {
        bool code = rng(r, 3) == 0;
        uint64_t at = code ? g->seq->start + rng(r, 0x80) : g->opt.at.rw + rng(r, FZ_RW_SIZE);
        gen_mov(g, R_RAX, at & ~(uint64_t)(code ? 0 : 3));
        gen_known(g, "\x0f\x23\xc0", 3); /* mov dr0, eax */
        gen_mov(g, R_RAX, 0x402 | (code ? 0 : rng(r, 2) ? 0xd0000 : 0xf0000));
    } else {
        gen_mov(g, R_RAX, 0x400);
    }
    gen_known(g, "\x0f\x23\xf8", 3); /* mov dr7, eax */
}

void system_paging(Gen *g)
{
    switch (rng(&g->rng, 12)) {
    case 0 ... 5:
        change_entry(g);
        break;
    case 6 ... 8:
        protection(g);
        break;
    case 9:
        load_cr3(g);
        break;
    case 10:
        invpcid(g, g->opt.at.rw + rng(&g->rng, 3) * PAGE, rng(&g->rng, 5));
        break;
    default:
        breakpoint(g);
        break;
    }
}

/* ---- code that changes ---- */

/*
 * mov reg, constant: which other code of this sequence may change. Its value is what the
 * next one that is stored there makes it, before or after it in a loop.
 */
void system_constant(Gen *g)
{
    gen_mov(g, R_RDX, g->opt.bits == 64 ? 0x123456789abcdef0 : 0x12345678);
    g->constant = g->seq->start + g->len - (g->opt.bits == 64 ? 8 : 4);
    g->pointers &= (uint16_t) ~(1u << R_RDX);
}

static void store_constant(Gen *g)
{
    Rng *r = &g->rng;
    uint64_t at = g->constant;
    unsigned bytes = g->opt.bits == 64 ? 8 : 4;
    /* Not by registers that then lead elsewhere, which could be the page table's entries. */
    switch (g->opt.no_stale ? rng(r, 4) : rng(r, 8)) {
    case 0:
    case 1: /* add to it */
        gen_absolute(g, "\x80", 1, 0, at + rng(r, bytes), 1 + rng(r, 255), 1, 1);
        g->undefined = 0;
        break;
    case 2:
    case 3: /* lock xadd [it], edx */
        gen_absolute(g, "\x0f\xc1", 2, 2, at, 0, 0, 4);
        g->undefined = 0;
        break;
    case 4: /* by the stack */
        gen_mov(g, R_RSP, at + bytes);
        gen_known(g, g->opt.bits == 16 ? "\x66\x50" : "\x50", g->opt.bits == 16 ? 2 : 1);
        gen_mov(g, R_RSP, g->opt.at.rw + 0x800);
        break;
    case 5: /* by a string instruction */
        gen_mov(g, R_RDI, at);
        gen_mov(g, R_RCX, 1 + rng(r, bytes));
        gen_known(g, "\xfc", 1);
        gen_known(g, "\xf3\xaa", 2);
        break;
    case 6: /* xchg [it], eax */
        gen_absolute(g, "\x87", 1, 0, at, 0, 0, 4);
        break;
    default:
        gen_absolute(g, "\x89", 1, rng(r, 4), at, 0, 0, 4);
        break;
    }
}

void system_code_changes(Gen *g)
{
    if (!g->constant || rng(&g->rng, 3) == 0) {
        system_constant(g);
        if (rng(&g->rng, 2)) {
            return;
        }
    }
    store_constant(g);
}
