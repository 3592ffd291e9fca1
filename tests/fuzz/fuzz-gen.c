/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Candidates for instructions come from the decoder's tables with random prefixes and
 * operands, or are random bytes; the decoder has the last word on what they are.  Before
 * an instruction that accesses memory its base register is mostly loaded with an address
 * in the window; flags that an instruction left undefined are made defined before they
 * are read.
 */
#include "tests/fuzz/fuzz-gen.h"

#include "tests/fuzz/fuzz-flags.h"
#include "tests/fuzz/fuzz-units.h"

#include <string.h>

typedef struct Draft {
    uint8_t b[64]; /* an instruction, and the most that put_tail() adds */
    unsigned n;
    unsigned abits;              /* size of addresses */
    unsigned disp_at, disp_size; /* of a memory operand or absolute offset; size 0: none */
} Draft;

/* ---- emission ---- */

void gen_emit(Gen *g, const void *bytes, unsigned n)
{
    FzSeq *s = g->seq;
    s->starts[s->n] = (uint16_t)g->len;
    s->undefined[s->n] = g->undefined;
    s->unit[s->n] = g->unit;
    s->n++;
    memcpy(g->code + g->len, bytes, n);
    g->len += n;
}

void gen_mov(Gen *g, unsigned reg, uint64_t v)
{
    uint8_t b[11];
    unsigned n = 0;
    if (g->opt.bits != 64) {
        v = (uint32_t)v;
        reg &= 7;
    }
    if (g->opt.bits == 16) {
        b[n++] = 0x66;
    }
    if (v > UINT32_MAX || reg >= 8) {
        b[n++] = (uint8_t)(0x40 | (v > UINT32_MAX) << 3 | reg >> 3);
    }
    b[n++] = (uint8_t)(0xb8 | (reg & 7));
    memcpy(b + n, &v, 8);
    gen_emit(g, b, n + (v > UINT32_MAX ? 8 : 4));
}

static void place_label(Gen *g, Label *l)
{
    int64_t rel = (int64_t)g->len - (int64_t)(l->at + l->size);
    memcpy(g->code + l->at, &rel, l->size);
    g->undefined |= l->undefined;
    *l = g->labels[--g->n_labels];
}

/* Starts a unit; jumps that end here or get too long are completed. */
void gen_unit(Gen *g)
{
    g->unit++;
    for (unsigned i = g->n_labels; i-- > 0;) {
        Label *l = &g->labels[i];
        if (l->after == 0 || (l->size == 1 && g->len - l->at > 30)) {
            place_label(g, l);
        } else {
            l->after--;
        }
    }
}

void gen_label(Gen *g, unsigned at, unsigned size)
{
    g->labels[g->n_labels++] = (Label){.at = (uint16_t)at,
                                       .size = (uint8_t)size,
                                       .after = (uint8_t)rng(&g->rng, 4),
                                       .undefined = g->undefined};
}

/* opcode … /reg [absolute] with `tail` bytes of immediate, on operands of `size` bytes. */
void gen_absolute(Gen *g, const char *opcode, unsigned n, unsigned reg, uint64_t addr, uint64_t imm,
                  unsigned tail, unsigned size)
{
    uint8_t b[24];
    unsigned at = 0;
    if ((size == 2) != (g->opt.bits == 16) && size != 1) {
        b[at++] = 0x66;
    }
    memcpy(b + at, opcode, n);
    at += n;
    b[at++] = (uint8_t)(reg << 3 | (g->opt.bits == 16 ? 6 : g->opt.bits == 32 ? 5 : 4));
    if (g->opt.bits == 64) {
        b[at++] = 0x25;
    }
    unsigned asize = g->opt.bits == 16 ? 2 : 4;
    memcpy(b + at, &addr, asize);
    at += asize;
    memcpy(b + at, &imm, 8);
    gen_emit(g, b, at + tail);
}

/* mov [absolute], value of 1, 2 or 4 bytes */
void gen_store(Gen *g, uint64_t addr, uint32_t v, unsigned size)
{
    gen_absolute(g, size == 1 ? "\xc6" : "\xc7", 1, 0, addr, v, size, size);
}

void gen_define_flags(Gen *g, uint16_t wanted)
{
    if (g->undefined & wanted) {
        uint32_t r = rng(&g->rng, 64);
        uint8_t cmp[3] = {0x48, 0x39, (uint8_t)(0xc0 | r)};
        bool wide = g->opt.bits == 64;
        gen_emit(g, wide ? cmp : cmp + 1, wide ? 3 : 2);
        g->undefined = 0;
    }
}

/* An address to access: mostly in the window, also over its ends. */
uint64_t gen_target(Gen *g, unsigned align)
{
    Rng *r = &g->rng;
    uint32_t k = rng(r, 100);
    uint64_t a, rw = g->opt.at.rw, ro = rw + FZ_RW_SIZE;
    if (k < 76) {
        a = rw + rng(r, FZ_RW_SIZE - 64);
    } else if (k < 86) {
        a = rw + 0x1000 - 40 + rng(r, 48);
    } else if (k < 90) {
        a = rw - 20 + rng(r, 30);
    } else if (k < 95) {
        a = ro - 40 + rng(r, 50);
    } else if (k < 98) {
        a = ro + rng(r, FZ_RO_SIZE - 64);
    } else {
        a = ro + FZ_RO_SIZE - 40 + rng(r, 60);
    }
    return align > 1 ? a & ~(uint64_t)(align - 1) : a;
}

/* ---- drafts ---- */

static void put(Draft *d, unsigned byte)
{
    d->b[d->n++] = (uint8_t)byte;
}

static void put_modrm(Gen *g, Draft *d, unsigned reg, bool mem, unsigned rm)
{
    Rng *r = &g->rng;
    if (!mem) {
        put(d, 0xc0 | reg << 3 | rm);
        return;
    }
    unsigned k = rng(r, 100), mod = rng(r, 3);
    if (d->abits == 16) {
        rm = k < 40 ? 6 : rng(r, 8);
        mod = k < 40 ? 0 : mod;
        put(d, mod << 6 | reg << 3 | rm);
        d->disp_size = mod ? mod : rm == 6 ? 2 : 0;
    } else if (k < 40 && d->abits == 32 && g->opt.bits != 64) {
        put(d, reg << 3 | 5);
        d->disp_size = 4;
    } else if (k < 25) { /* absolute */
        put(d, reg << 3 | 4);
        put(d, 0x25);
        d->disp_size = 4;
    } else if (k < 40) { /* from RIP */
        put(d, reg << 3 | 5);
        d->disp_size = 4;
    } else {
        rm = k < 80 ? rng(r, 8) : 4;
        put(d, mod << 6 | reg << 3 | rm);
        unsigned sib = rng(r, 256);
        if (rm == 4) {
            put(d, sib);
        }
        d->disp_size = mod == 1 ? 1 : mod == 2 ? 4 : 0;
        if (mod == 0 && (rm == 5 || (rm == 4 && (sib & 7) == 5))) {
            d->disp_size = 4;
        }
    }
    d->disp_at = d->n;
}

/* Displacement and immediates: mostly small or extreme. */
static void put_tail(Gen *g, Draft *d)
{
    Rng *r = &g->rng;
    d->n += d->disp_size;
    uint64_t v = rng64(r);
    switch (rng(r, 5)) {
    case 0:
        v = (uint64_t)(int64_t)((int)rng(r, 5) - 2);
        break;
    case 1:
        v &= 0x3f;
        break;
    default:
        break;
    }
    memcpy(d->b + d->n, &v, 8);
    v = rng64(r);
    memcpy(d->b + d->n + 8, &v, 4);
    if (d->disp_size) {
        int64_t disp = (int64_t)rng(r, 256) - 128;
        memcpy(d->b + d->disp_at, &disp, d->disp_size);
    }
}

static void put_prefixes(Gen *g, Draft *d, const InsnRow *row)
{
    static const uint8_t segs[] = {0x26, 0x2e, 0x36, 0x3e, 0x65};
    Rng *r = &g->rng;
    if (rng(r, row->flags & RF_LOCK ? 4 : 200) == 0) {
        put(d, 0xf0);
    }
    if (rng(r, 24) == 0) {
        put(d, segs[rng(r, sizeof(segs))]);
    }
    if (rng(r, 24) == 0) {
        put(d, 0x67);
        d->abits = d->abits == 32 ? 16 : 32;
    }
    unsigned pfx = row->pfx;
    while (pfx & (pfx - 1)) { /* one of several */
        pfx &= rng64(r);
        pfx = pfx ? pfx : row->pfx;
    }
    if (pfx == PFX_66) {
        put(d, 0x66);
    } else if (pfx == PFX_F3 || pfx == PFX_F2) {
        if (rng(r, 12) == 0) {
            put(d, 0x66);
        }
        put(d, pfx == PFX_F3 ? 0xf3 : 0xf2);
    } else if (!pfx) {
        if (rng(r, 6) == 0) {
            put(d, 0x66);
        }
        if (rng(r, row->flags & RF_REP ? 2 : 40) == 0) {
            put(d, 0xf2 + rng(r, 2));
        }
    }
}

static void draft_row(Gen *g, Draft *d, const Candidate *c)
{
    Rng *r = &g->rng;
    const InsnRow *row = c->row;
    put_prefixes(g, d, row);
    if (g->opt.bits == 64 && rng(r, 5) < 3) {
        put(d, 0x40 | rng(r, 16));
    }
    if (c->map) {
        put(d, 0x0f);
    }
    if (c->map >= MAP_0F38) {
        put(d, c->map == MAP_0F38 ? 0x38 : 0x3a);
    }
    put(d, c->opcode);
    if (c->map == MAP_1 && (c->opcode & 0xfc) == 0xa0) { /* MOV with an absolute offset */
        d->disp_at = d->n;
        d->disp_size = d->abits / 8;
    } else {
        bool mem = row->mod == MOD_MEM || (row->mod != MOD_REG && rng(r, 2));
        for (unsigned i = 0; i < 4; i++) {
            OperandForm f = OPERAND_FORM(row->operand[i]);
            mem = f == OF_M ? true : f == OF_R || f == OF_N || f == OF_U ? false : mem;
        }
        bool has = row->op == OP_X87 || row->mod || row->reg1 || (row->flags & RF_MODRM);
        for (unsigned i = 0; i < 4; i++) {
            OperandForm f = OPERAND_FORM(row->operand[i]);
            has = has || (f >= OF_E && f <= OF_M && f != OF_Z) || (f >= OF_S && f <= OF_D) ||
                  (f >= OF_P && f <= OF_U);
        }
        if (has) {
            put_modrm(g, d, row->reg1 ? row->reg1 - 1u : rng(r, 8), mem,
                      row->rm1 ? row->rm1 - 1u : rng(r, 8));
        }
    }
    put_tail(g, d);
}

/* A row of the VEX maps; NULL if the opcode that was thrown has none. */
static const InsnRow *vex_row(Rng *r, unsigned map, unsigned op)
{
    const InsnRow *rows = decode_rows((OpcodeMap)(MAP_VEX_0F + map - 1), (uint8_t)op);
    unsigned n = 0;
    while (rows && rows[n].op) {
        n++;
    }
    return n ? &rows[rng(r, n)] : NULL;
}

/* An encoding that a row of the tables allows. */
static bool draft_vex_row(Gen *g, Draft *d)
{
    Rng *r = &g->rng;
    unsigned map = 1 + rng(r, 3), op = rng(r, 256), v = 0xf, rm = rng(r, 8);
    const InsnRow *row = vex_row(r, map, op);
    if (!row) {
        return false;
    }
    bool mem = row->mod == MOD_MEM || (row->mod != MOD_REG && rng(r, 2));
    for (unsigned i = 0; i < 4; i++) {
        OperandForm f = OPERAND_FORM(row->operand[i]);
        v = f == OF_H || f == OF_B ? rng(r, 16) : v;
        mem = f == OF_M ? true : f == OF_R || f == OF_U ? false : mem;
    }
    unsigned pp = row->pfx & PFX_66 ? 1 : row->pfx & PFX_F3 ? 2 : row->pfx & PFX_F2 ? 3 : 0;
    bool w = row->flags & RF_W1 || (!(row->flags & RF_W0) && rng(r, 2));
    bool l = row->flags & RF_L1 || (!(row->flags & RF_L0) && rng(r, 2));
    put(d, 0xc4);
    put(d, (rng64(r) & 0xe0) | map);
    put(d, (unsigned)w << 7 | v << 3 | (unsigned)l << 2 | pp);
    put(d, op);
    if (row->op != OP_VZERO) {
        put_modrm(g, d, row->reg1 ? row->reg1 - 1u : rng(r, 8), mem, rm);
    }
    put_tail(g, d);
    return true;
}

/* The tables decide which of these there are. */
static void draft_vex(Gen *g, Draft *d)
{
    Rng *r = &g->rng;
    if (rng(r, 4) && draft_vex_row(g, d)) {
        return;
    }
    unsigned v = rng(r, 3) ? 0xf : rng(r, 16), l = rng(r, 2), pp = rng(r, 4);
    unsigned legacy = g->opt.bits == 64 ? 0 : 0xc0; /* else it is LES, LDS */
    if (rng(r, 3) == 0) {
        put(d, 0xc5);
        put(d, rng(r, 2) << 7 | v << 3 | l << 2 | pp | legacy);
    } else {
        put(d, 0xc4);
        put(d, (rng64(r) & 0xe0) | (1 + rng(r, 3)) | legacy);
        put(d, rng(r, 2) << 7 | v << 3 | l << 2 | pp);
    }
    put(d, rng(r, 256));
    put_modrm(g, d, rng(r, 8), rng(r, 2), rng(r, 8));
    put_tail(g, d);
}

static void draft_bytes(Gen *g, Draft *d)
{
    for (unsigned i = 0; i < 16; i++) {
        put(d, (unsigned)rng64(&g->rng) & 0xff);
    }
}

/* ---- what is allowed ---- */

typedef struct Fetch {
    const uint8_t *code;
    unsigned len;
} Fetch;

static bool fetch_byte(void *opaque, unsigned pos, uint8_t *byte)
{
    const Fetch *f = opaque;
    if (pos >= f->len) {
        return false;
    }
    *byte = f->code[pos];
    return true;
}

bool gen_decode(const GenOptions *opt, const uint8_t *code, unsigned len, DecodedInsn *in)
{
    const DecodeMode mode = {.bits = (uint8_t)opt->bits,
                             .protected_mode = opt->protected_mode,
                             .features = opt->features};
    Fetch f = {code, len};
    memset(in, 0, sizeof(*in));
    return x86_decode(fetch_byte, &f, &mode, in) == DECODE_OK;
}

/* Are results exact, the same on all chips, and is no state stored that chips keep differently? */
static bool x87_allowed(const Gen *g, unsigned esc, unsigned modrm)
{
    unsigned reg = modrm >> 3 & 7;
    if (modrm < 0xc0) {
        static const uint8_t odd[8] = {[1] = 0x52, [3] = 0x50, [5] = 0xf0};
        return !(odd[esc] >> reg & 1);
    }
    switch (esc) {
    case 1:
        if (g->opt.transcendental && modrm >= 0xf0) {
            return true;
        }
        return modrm < 0xd1 || modrm == 0xe0 || modrm == 0xe1 || modrm == 0xe4 || modrm == 0xe5 ||
               (modrm >= 0xe8 && modrm < 0xef) ||
               (modrm >= 0xf4 && modrm < 0xf8 && modrm != 0xf5) || modrm == 0xfa || modrm == 0xfc ||
               modrm == 0xfd;
    case 2:
        return reg < 4 || modrm == 0xe9;
    case 3:
        return reg < 4 || reg == 5 || reg == 6 || modrm == 0xe2 || modrm == 0xe3;
    case 5:
        return reg < 6;
    case 6:
        return reg != 3 || modrm == 0xd9;
    case 7:
        return reg < 4 || reg == 5 || reg == 6;
    default:
        return true;
    }
}

static bool approximate(const DecodedInsn *in)
{
    return strstr(in->row->name, "rcp") || strstr(in->row->name, "rsqrt");
}

bool gen_exact(const Gen *g, const DecodedInsn *in)
{
    if (in->op == OP_BSWAP && in->opsize == 2) {
        return false;
    }
    if ((in->op == OP_SHLD || in->op == OP_SHRD) && in->opsize == 2 &&
        (in->operand[2].kind != OK_IMM || (in->imm & 31) > 16)) {
        return false;
    }
    if (in->op == OP_X87 && !x87_allowed(g, in->opcode & 7, in->modrm)) {
        return false;
    }
    if (approximate(in) && !g->opt.transcendental) {
        return false;
    }
    return true;
}

bool gen_allowed(const Gen *g, const DecodedInsn *in)
{
    if (flag_never(in->op) || in->op == OP_WRGSBASE || in->seg_override == SEG_FS) {
        return false;
    }
    if (in->op == OP_INT && (in->imm & 0xff) == 0x80) {
        return false;
    }
    if (in->operand[0].kind == OK_REL && (in->data16 || in->rep || in->repne)) {
        return false; /* AMD's chips truncate RIP, Intel's don't */
    }
    if (in->map == MAP_0F && in->opcode == 0x0d && in->mod == 3) {
        return false; /* #UD on AMD's chips */
    }
    if ((in->op == OP_BSF || in->op == OP_BSR) && in->rep) {
        return false; /* TZCNT and LZCNT, which the host may have and the guest not */
    }
    if (in->opcode == 0x90 && in->map == MAP_1 && in->rep && (in->rex & REX_B)) {
        return false;
    }
    if (in->op == OP_SIMD && in->mod != 3 && !strncmp(in->row->name, "sha", 3)) {
        return false; /* must the operand be aligned? Chips differ. */
    }
    if (in->op == OP_ICEBP) {
        return false; /* under KVM the saved RIP differs */
    }
    if (in->op == OP_ENTER && (in->imm & 0xffff) > 0x300) {
        return false;
    }
    /* CVTPI2PS from memory: do MMX registers come into use? Chips differ. */
    if (in->map == MAP_0F && in->opcode == 0x2a && in->mod != 3 && in->op == OP_SIMD && !in->rep &&
        !in->repne) {
        return false;
    }
    return gen_exact(g, in);
}

static bool name_fits(const char *only, const char *name)
{
    size_t n = strlen(only);
    return n && only[n - 1] == '*' ? !strncmp(only, name, n - 1) : !strcmp(only, name);
}

/* ---- one instruction ---- */

static void set_index(Gen *g, const DecodedInsn *in, int64_t *index)
{
    *index = (int)rng(&g->rng, 40) - 8;
    gen_mov(g, in->index, (uint64_t)*index & (in->addrsize == 4 ? UINT32_MAX : UINT64_MAX));
    g->pointers &= (uint16_t) ~(1u << in->index);
    *index *= 1 << in->scale;
}

static unsigned wanted_align(Gen *g, const DecodedInsn *in)
{
    unsigned size = 1;
    for (unsigned i = 0; i < 4; i++) {
        if (in->operand[i].kind == OK_MEM) {
            size = in->operand[i].aligned && rng(&g->rng, 8) ? 32 : in->operand[i].size;
        }
    }
    bool power = size && !(size & (size - 1));
    return power && (size == 32 || rng(&g->rng, 2)) ? size : 1;
}

/* Makes a memory operand's address a good one, most of the time. */
static void aim(Gen *g, Draft *d, const DecodedInsn *in)
{
    uint64_t target = gen_target(g, wanted_align(g, in));
    int64_t index = 0;
    bool has_index = in->index != INSN_NO_REG;
    if (has_index && in->index != in->base && rng(&g->rng, 12)) {
        set_index(g, in, &index);
    }
    if (in->base == INSN_NO_REG) {
        uint64_t v = target - (uint64_t)index;
        if (d->disp_size >= 4 && !in->rip_relative) {
            memcpy(d->b + d->disp_at, &v, d->disp_size);
        }
        return;
    }
    if (g->pointers >> in->base & 1 && !has_index && rng(&g->rng, 2)) {
        return;
    }
    if (rng(&g->rng, 40) == 0) {
        return;
    }
    uint64_t v = target - (uint64_t)in->disp - (uint64_t)index;
    if (in->base == in->index) {
        v /= 1u + (1u << in->scale);
    }
    gen_mov(g, in->base, v);
    g->pointers |= (uint16_t)(1u << in->base);
}

/* Which of its elements a gather has done when one faults is the chip's affair: none does. */
static void aim_gather(Gen *g, Draft *d, const DecodedInsn *in)
{
    unsigned x = in->index & 15, high = x < 8;
    uint8_t vpxor[5] = {0xc4, (uint8_t)(high << 7 | 0x41 | high << 5),
                        (uint8_t)((~x & 15) << 3 | 5), 0xef, (uint8_t)(0xc0 | (x & 7) * 9)};
    gen_emit(g, vpxor, 5);
    uint64_t v = g->opt.at.rw + rng(&g->rng, FZ_RW_SIZE - 64);
    if (in->base == INSN_NO_REG) {
        memcpy(d->b + d->disp_at, &v, d->disp_size);
    } else {
        gen_mov(g, in->base, v - (uint64_t)in->disp);
        g->pointers |= (uint16_t)(1u << in->base);
    }
}

static void aim_strings(Gen *g, const DecodedInsn *in)
{
    bool x = false, y = false;
    for (unsigned i = 0; i < 4; i++) {
        x = x || in->operand[i].kind == OK_STR_X;
        y = y || in->operand[i].kind == OK_STR_Y;
    }
    if (!x && !y && in->op != OP_MASKMOV) {
        return;
    }
    if (x && rng(&g->rng, 20)) {
        gen_mov(g, R_RSI, gen_target(g, rng(&g->rng, 2) ? 8 : 1));
    }
    if (in->op == OP_MASKMOV) {
        gen_mov(g, R_RDI, g->opt.at.rw + rng(&g->rng, FZ_RW_SIZE - 512));
    } else if (y && rng(&g->rng, 20)) {
        gen_mov(g, R_RDI, gen_target(g, rng(&g->rng, 2) ? 8 : 1));
    }
    if ((in->rep || in->repne) && rng(&g->rng, 12)) {
        gen_mov(g, R_RCX, rng(&g->rng, 8) ? rng(&g->rng, 40) : rng(&g->rng, 2000));
    }
    g->pointers &= (uint16_t) ~(1u << R_RSI | 1u << R_RDI);
}

static bool has_memory(const DecodedInsn *in)
{
    if (in->op == OP_LEA || in->op == OP_NOP || in->op == OP_PREFETCH) {
        return false;
    }
    if (in->op == OP_X87) {
        return in->mod != 3;
    }
    for (unsigned i = 0; i < 4; i++) {
        if (in->operand[i].kind == OK_MEM) {
            return true;
        }
    }
    return false;
}

static bool uses_stack(const DecodedInsn *in)
{
    switch (in->op) {
    case OP_PUSH:
    case OP_POP:
    case OP_PUSH_SEG:
    case OP_PUSHF:
    case OP_ENTER:
    case OP_CALL:
        return true;
    default:
        return false;
    }
}

static void prepare(Gen *g, Draft *d, const DecodedInsn *in)
{
    Rng *r = &g->rng;
    if ((in->op == OP_BT || in->op == OP_BTS || in->op == OP_BTR || in->op == OP_BTC) &&
        in->mod != 3 && in->operand[1].kind == OK_REG && rng(r, 10)) {
        gen_mov(g, in->operand[1].reg, (uint64_t)(int64_t)((int)rng(r, 4000) - 2000));
        g->pointers &= (uint16_t) ~(1u << in->operand[1].reg);
    }
    if (in->op == OP_LEAVE && rng(r, 10)) {
        gen_mov(g, R_RBP, gen_target(g, 8));
        g->pointers |= 1u << R_RBP;
    }
    if (in->op == OP_XLAT && rng(r, 10)) {
        gen_mov(g, R_RBX, gen_target(g, 1));
        g->pointers |= 1u << R_RBX;
    }
    if (uses_stack(in) && (!(g->pointers & 1u << R_RSP) || rng(r, 16) == 0) && rng(r, 30)) {
        gen_mov(g, R_RSP, gen_target(g, rng(r, 4) ? 8 : 1));
        g->pointers |= 1u << R_RSP;
    }
    if (in->op == OP_ENTER) { /* a fault half-way leaves half of a frame: how much is the chip's */
        gen_mov(g, R_RSP, g->opt.at.rw + 0x800 + rng(r, 0x1000));
        gen_mov(g, R_RBP, g->opt.at.rw + 0x800 + rng(r, 0x1000));
    }
    if (strstr(in->row->name, "gather")) {
        aim_gather(g, d, in);
    } else if (has_memory(in)) {
        aim(g, d, in);
    }
    aim_strings(g, in);
    if ((in->op == OP_DIV || in->op == OP_IDIV) && rng(r, 4)) {
        gen_mov(g, R_RDX, 0);
    }
}

static void account_registers(Gen *g, const DecodedInsn *in)
{
    for (unsigned i = 0; i < 2; i++) {
        if (in->operand[i].kind == OK_REG && (i == 0 || in->op == OP_XCHG || in->op == OP_XADD)) {
            g->pointers &= (uint16_t) ~(1u << in->operand[i].reg);
        }
    }
    if (in->op == OP_LEAVE || in->op == OP_ENTER) {
        g->pointers |= 1u << R_RSP | 1u << R_RBP;
    }
    g->pointers &= (uint16_t) ~(1u << R_RAX | 1u << R_RCX | 1u << R_RDX);
}

static void emit_draft(Gen *g, Draft *d, const DecodedInsn *in)
{
    gen_unit(g);
    prepare(g, d, in);
    gen_define_flags(g, flag_use(in).read);
    if (in->rip_relative && d->disp_size == 4) {
        uint64_t here = g->seq->start + g->len + in->length;
        int32_t disp = (int32_t)(gen_target(g, wanted_align(g, in)) - here);
        memcpy(d->b + d->disp_at, &disp, 4);
    }
    unsigned at = g->len;
    gen_emit(g, d->b, in->length);
    g->undefined = flags_after(g->undefined, in);
    account_registers(g, in);
    if (in->operand[0].kind == OK_REL) {
        unsigned size = in->operand[0].size;
        gen_label(g, at + in->length - size, size);
    }
}

static void draft_any(Gen *g, Draft *d)
{
    Rng *r = &g->rng;
    unsigned k = rng(r, 100);
    *d = (Draft){.abits = g->opt.bits};
    if (k < 14 && (g->opt.features[FEAT_1_ECX] & 1u << 28)) {
        draft_vex(g, d);
    } else if (k < 18) {
        draft_bytes(g, d);
    } else {
        draft_row(g, d, &g_array_index(g->candidates, Candidate, rng(r, g->candidates->len)));
    }
}

bool gen_insn(Gen *g)
{
    Draft d;
    DecodedInsn in;
    unsigned tries = g->opt.only ? 100000 : 1000;
    while (tries--) {
        draft_any(g, &d);
        if (!gen_decode(&g->opt, d.b, sizeof(d.b), &in) ||
            !(g->opt.allowed ? g->opt.allowed(g, &in) : gen_allowed(g, &in)) ||
            (g->opt.only && !name_fits(g->opt.only, in.row->name))) {
            continue;
        }
        if (in.operand[0].kind == OK_REL && g->n_labels >= GEN_LABELS) {
            continue;
        }
        /* Random bytes: fields that are fixed up lie elsewhere. */
        if (!d.disp_size && in.op != OP_X87 && has_memory(&in) && in.base == INSN_NO_REG) {
            continue;
        }
        emit_draft(g, &d, &in);
        return true;
    }
    return false;
}

/* ---- sequences ---- */

static bool fill(Gen *g, unsigned units, bool nested);

/* Counts, and jumps back to `head` unless it is done. */
void gen_loop_end(Gen *g, unsigned head)
{
    gen_unit(g);
    gen_absolute(g, "\x83", 1, 5, g->opt.at.counter, 1, 1, 4);
    g->undefined = 0;
    /* Above: neither zero nor, for a jump into the loop, below. */
    uint8_t ja[6] = {0x0f, 0x87};
    unsigned size = g->opt.bits == 16 ? 4 : 6;
    int32_t rel = (int32_t)head - (int32_t)(g->len + size);
    memcpy(ja + 2, &rel, size - 2);
    gen_emit(g, ja, size);
    gen_store(g, g->opt.at.counter, 0, 4); /* for a jump into the next loop */
}

/* A counted loop: of a counter in memory, which the body does not know. */
static bool gen_loop(Gen *g)
{
    Rng *r = &g->rng;
    uint32_t k = rng(r, 100);
    uint32_t count = k < 70 ? 2 + rng(r, 4) : k < 95 ? 5 + rng(r, 20) : 30 + rng(r, 100);
    gen_unit(g);
    gen_store(g, g->opt.at.counter, count, 4);
    gen_unit(g);
    unsigned head = g->len;
    if (!fill(g, 2 + rng(r, 5), true)) {
        return false;
    }
    gen_loop_end(g, head);
    return true;
}

static bool fill(Gen *g, unsigned units, bool nested)
{
    for (unsigned i = 0; i < units && g->seq->n < FZ_STARTS - 40; i++) {
        bool plain = g->opt.only && rng(&g->rng, 4);
        if (!plain && !nested && rng(&g->rng, 20) == 0) {
            if (!(rng(&g->rng, 2) ? gen_hot_loop(g, 2 + rng(&g->rng, 4)) : gen_loop(g))) {
                return false;
            }
        } else if (!g->opt.only && rng(&g->rng, 12) == 0) {
            g->opt.special ? g->opt.special(g) : gen_special(g);
        } else if (!gen_insn(g)) {
            return false;
        }
    }
    return true;
}

bool gen_sequence(Gen *g, uint64_t seed, FzSeq *seq, uint8_t *code, uint64_t slot)
{
    g->rng.s = seed;
    g->seq = seq;
    g->len = 0;
    g->undefined = 0;
    g->unit = 0;
    g->style = (uint32_t)rng64(&g->rng);
    g->constant = 0;
    g->n_labels = 0;
    g->pointers = 1u << R_RSP | 1u << R_RBX | 1u << R_RBP | 1u << R_RSI | 1u << R_RDI | 1u << R_R12;
    memset(seq, 0, sizeof(*seq));
    memset(code, 0xf4, FZ_SLOT);
    /* Often across the slot's page boundary. */
    unsigned offset = rng(&g->rng, 3) ? rng(&g->rng, 64) : 0x1000 - rng(&g->rng, 200);
    seq->start = slot + offset;
    g->code = code + offset;
    unsigned n = g->opt.insns;
    if (rng(&g->rng, 3) == 0) {
        n = n / 4 + 1;
        if (!gen_hot_loop(g, 5 + rng(&g->rng, 10))) {
            return false;
        }
    }
    if (!fill(g, 1 + n / 2 + rng(&g->rng, n / 2 + 1), false)) {
        return false;
    }
    gen_unit(g);
    while (g->n_labels) {
        place_label(g, &g->labels[0]);
    }
    seq->end = seq->start + g->len;
    seq->n_body = seq->n;
    gen_emit(g, "\xf4", 1);
    return true;
}

bool gen_blank_unit(FzSeq *seq, uint8_t *code, uint64_t slot, unsigned unit)
{
    bool any = false;
    uint16_t undefined = 0;
    uint8_t *base = code + (seq->start - slot);
    for (unsigned i = 0; i + 1 < seq->n; i++) {
        seq->undefined[i + 1] |= undefined; /* no longer defined by this unit */
        if (seq->unit[i] != unit) {
            continue;
        }
        undefined |= seq->undefined[i];
        seq->undefined[i + 1] |= undefined;
        for (unsigned b = seq->starts[i]; b < seq->starts[i + 1]; b++) {
            any = any || base[b] != 0x90;
            base[b] = 0x90;
        }
    }
    return any;
}

/* ---- state ---- */

static uint64_t random_value(Rng *r)
{
    static const uint64_t odd[] = {0,
                                   0x7ff0000000000000,
                                   0x7ff8000000000001,
                                   0x7ff0000000000001,
                                   1,
                                   0x000fffffffffffff,
                                   0x7fefffffffffffff,
                                   0x3ff0000000000000,
                                   0x7f8000003f800000,
                                   0x7fa00000ff7fffff,
                                   0x3f800000bf800000,
                                   0x00000001807fffff,
                                   0x43e0000000000000,
                                   0x4f0000005f000000,
                                   0x8000000080000000,
                                   0x7fffffffffffffff};
    uint64_t x = rng64(r);
    switch (rng(r, 8)) {
    case 0:
        return odd[x % G_N_ELEMENTS(odd)] ^ (x & UINT64_C(1) << 63);
    case 1:
        return (x & 0x800fffffffffffff) | (0x3f0 + (x >> 52 & 0x1f)) << 52;
    case 2:
        return (x & 0x807fffff807fffff) | 0x3f8000003f000000;
    case 3:
        return x & 0x8000ffff00ff0001;
    case 4:
        return (uint64_t)(int64_t)(int8_t)x;
    case 5:
        return (uint64_t)1 << (x & 63);
    default:
        return x;
    }
}

static void random_x87(Rng *r, uint8_t *a)
{
    uint16_t cw = (uint16_t)(0x7f | (rng64(r) & 0xc00) | (rng(r, 3) ? 0x300 : rng64(r) & 0x300));
    if (rng(r, 8) == 0) {
        cw &= (uint16_t) ~(rng64(r) & 0x3f);
    }
    memcpy(a, &cw, 2);
    uint16_t sw = (uint16_t)(rng64(r) & 0x7f7f);
    if (rng(r, 2)) {
        sw &= 0x3800; /* nothing sticky yet */
    }
    uint16_t pending = (uint16_t)(sw & ~cw & 0x3f);
    sw = (uint16_t)(pending ? sw | 0x8080 : sw & ~0x8080);
    memcpy(a + 2, &sw, 2);
    a[4] = rng(r, 3) ? 0xff : (uint8_t)rng64(r);
    for (unsigned i = 0; i < 8; i++) {
        uint16_t e = (uint16_t)(0x3fff - 20 + rng(r, 40));
        e = rng(r, 6) ? e : rng(r, 2) ? 0x7fff : 0;
        uint64_t m = random_value(r) | (e && rng(r, 30) ? UINT64_C(1) << 63 : 0);
        e |= (uint16_t)(rng64(r) & 0x8000);
        memcpy(a + 32 + 16 * i, &m, 8);
        memcpy(a + 40 + 16 * i, &e, 2);
    }
}

static void random_image(Rng *r, uint8_t *a, bool avx)
{
    memset(a, 0, FZ_XSAVE_SIZE);
    random_x87(r, a);
    uint32_t mxcsr = 0x1f80 | (uint32_t)(rng64(r) & 0x603f);
    if (rng(r, 4) == 0) {
        mxcsr |= (uint32_t)(rng64(r) & 0x8040);
    }
    if (rng(r, 8) == 0) {
        mxcsr &= ~(uint32_t)(rng64(r) & 0x1f80);
    }
    memcpy(a + 24, &mxcsr, 4);
    for (unsigned i = 0; i < 32; i++) {
        uint64_t v = random_value(r);
        memcpy(a + 160 + 8 * i, &v, 8);
    }
    if (avx) {
        for (unsigned i = 0; i < 32; i++) {
            uint64_t v = random_value(r);
            memcpy(a + 576 + 8 * i, &v, 8);
        }
    }
}

void gen_state(Rng *r, FzState *s, bool avx, bool ac)
{
    random_image(r, s->xsave, avx);
    for (unsigned i = 0; i < 16; i++) {
        s->gpr[i] = random_value(r);
    }
    static const uint8_t pointers[] = {R_RBX, R_RBP, R_RSI, R_RDI, R_R12};
    for (unsigned i = 0; i < sizeof(pointers); i++) {
        s->gpr[pointers[i]] = FZ_RW + rng(r, FZ_RW_SIZE - 256);
    }
    s->gpr[R_RSP] = FZ_RW + 0x800 + (rng(r, 0x1000) & ~(rng(r, 8) ? 7u : 0));
    s->rflags = (rng64(r) & FLAGS_ARITH) | FLAG_ONE | FLAG_IF;
    if (rng(r, 16) == 0) {
        s->rflags |= FLAG_DF;
    }
    if (ac && rng(r, 64) == 0) {
        s->rflags |= FLAG_AC;
    }
    if (rng(r, 256) == 0) {
        s->rflags |= FLAG_TF;
    }
    s->gs_base = rng(r, 256);
}

void gen_memory(Rng *r, FzMemory *m, bool avx)
{
    for (unsigned i = 0; i < FZ_RW_SIZE; i += 8) {
        uint64_t v = random_value(r);
        memcpy(m->rw + i, &v, 8);
    }
    for (unsigned i = 0; i < FZ_AREA_SIZE; i += 8) {
        uint64_t v = rng64(r);
        memcpy(m->area + i, &v, 8);
    }
    random_image(r, m->area + FZ_FXRSTOR, true);
    memset(m->area + FZ_FXRSTOR + 512, 0, 64);
    m->area[FZ_FXRSTOR + 512] = (uint8_t)rng(r, avx ? 8 : 4);
    memset(m->area + FZ_SAVE + 512, 0, 64);
    memset(m->area + FZ_COUNTER, 0, 4);
    uint8_t x87[FZ_XSAVE_SIZE];
    random_x87(r, x87);
    memcpy(m->area + FZ_FLDENV, x87, 2);
    memcpy(m->area + FZ_FLDENV + 4, x87 + 2, 2);
}

/* ---- life ---- */

static unsigned weight(const InsnRow *row)
{
    return row->op == OP_X87 ? 12 : row->op == OP_SIMD ? 1 : 2;
}

void gen_init(Gen *g, const GenOptions *opt)
{
    *g = (Gen){.opt = *opt};
    g->candidates = g_array_new(FALSE, FALSE, sizeof(Candidate));
    for (unsigned map = 0; map < MAP_COUNT; map++) {
        for (unsigned op = 0; op < 256; op++) {
            const InsnRow *row = decode_rows((OpcodeMap)map, (uint8_t)op);
            for (; row && row->op; row++) {
                Candidate c = {row, (uint8_t)map, (uint8_t)op};
                if (flag_never(row->op) || (row->flags & RF_I64) ||
                    (opt->only && !name_fits(opt->only, row->name))) {
                    continue;
                }
                for (unsigned w = weight(row); w--;) {
                    g_array_append_val(g->candidates, c);
                }
            }
        }
    }
}

void gen_fini(Gen *g)
{
    g_array_unref(g->candidates);
}
