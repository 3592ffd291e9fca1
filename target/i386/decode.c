/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The instruction decoder: prefixes, table search, ModRM, immediates. */
#include "target/i386/decode.h"

#include <stdio.h>
#include <string.h>

typedef struct Decoder {
    DecodeFetch *fetch;
    void *opaque;
    const DecodeMode *mode;
    DecodedInsn *insn;
    DecodeResult result; /* why reading stopped */
    unsigned pos;
    int peeked; /* the byte at pos if it has been read already, or -1 */
} Decoder;

static bool get_byte(Decoder *d, uint8_t *byte)
{
    if (d->peeked >= 0) {
        *byte = (uint8_t)d->peeked;
        d->peeked = -1;
        d->pos++;
        return true;
    }
    if (d->pos >= INSN_MAX) {
        d->result = DECODE_TOO_LONG;
        return false;
    }
    if (!d->fetch(d->opaque, d->pos, byte)) {
        d->result = DECODE_FETCH;
        return false;
    }
    d->pos++;
    return true;
}

static bool get_value(Decoder *d, unsigned size, uint64_t *v)
{
    *v = 0;
    for (unsigned i = 0; i < size; i++) {
        uint8_t b;
        if (!get_byte(d, &b)) {
            return false;
        }
        *v |= (uint64_t)b << (8 * i);
    }
    return true;
}

static int64_t sign_extend(uint64_t v, unsigned size)
{
    unsigned shift = 64 - 8 * size;
    return (int64_t)(v << shift) >> shift;
}

/* Legacy prefixes and REX; leaves the first opcode byte in *opcode. */
static bool read_prefixes(Decoder *d, uint8_t *opcode)
{
    DecodedInsn *in = d->insn;
    for (;;) {
        uint8_t b;
        if (!get_byte(d, &b)) {
            return false;
        }
        int seg = -1;
        switch (b) {
        case 0x26:
            seg = SEG_ES;
            break;
        case 0x2e:
            seg = SEG_CS;
            break;
        case 0x36:
            seg = SEG_SS;
            break;
        case 0x3e:
            seg = SEG_DS;
            break;
        case 0x64:
            seg = SEG_FS;
            break;
        case 0x65:
            seg = SEG_GS;
            break;
        case 0x66:
            in->data16 = true;
            break;
        case 0x67:
            in->addr_override = true;
            break;
        case 0xf0:
            in->lock = true;
            break;
        case 0xf2:
            in->repne = true;
            in->rep = false;
            break;
        case 0xf3:
            in->rep = true;
            in->repne = false;
            break;
        default:
            if (d->mode->bits == 64 && (b & 0xf0) == 0x40) {
                in->rex = b & 0xf;
                in->has_rex = true;
                continue; /* counts only directly before the opcode */
            }
            *opcode = b;
            return true;
        }
        if (seg >= 0 && (d->mode->bits != 64 || seg >= SEG_FS)) {
            in->seg_override = (uint8_t)seg;
        }
        in->rex = 0;
        in->has_rex = false;
    }
}

static bool operand_uses_modrm(uint16_t o)
{
    switch (OPERAND_FORM(o)) {
    case OF_E:
    case OF_G:
    case OF_R:
    case OF_M:
    case OF_S:
    case OF_C:
    case OF_D:
    case OF_P:
    case OF_Q:
    case OF_N:
    case OF_V:
    case OF_W:
    case OF_U:
    case OF_H:
    case OF_B:
        return true;
    default:
        return false;
    }
}

static bool row_has_modrm(const InsnRow *row)
{
    if (row->mod || row->reg1 || (row->flags & RF_MODRM)) {
        return true;
    }
    for (unsigned i = 0; i < 4; i++) {
        if (operand_uses_modrm(row->operand[i])) {
            return true;
        }
    }
    return false;
}

static bool list_has_modrm(const InsnRow *row)
{
    for (; row->op; row++) {
        if (row_has_modrm(row)) {
            return true;
        }
    }
    return false;
}

/* Does an operand form contradict ModRM.mod? */
static bool forms_match(const InsnRow *row, bool reg)
{
    for (unsigned i = 0; i < 4; i++) {
        OperandForm f = OPERAND_FORM(row->operand[i]);
        if (f == OF_M && reg) {
            return false;
        }
        if ((f == OF_R || f == OF_N || f == OF_U) && !reg && !(row->flags & RF_REGONLY)) {
            return false;
        }
    }
    return true;
}

static bool has_feature(const Decoder *d, uint16_t feature)
{
    unsigned f = feature - 1u;
    return !feature || !d->mode->features || (d->mode->features[f >> 5] >> (f & 31) & 1);
}

/* What a row of a VEX map demands of W, L and vvvv. */
static bool vex_matches(const DecodedInsn *in, const InsnRow *row)
{
    uint32_t w = in->vex_w ? RF_W0 : RF_W1, l = in->vex_l ? RF_L0 : RF_L1;
    bool uses_vvvv = false;
    for (unsigned i = 0; i < 4; i++) {
        OperandForm f = OPERAND_FORM(row->operand[i]);
        uses_vvvv |= f == OF_H || f == OF_B;
    }
    return !(row->flags & (w | l)) && (uses_vvvv || !in->vvvv);
}

static const InsnRow *find_row(const Decoder *d, const InsnRow *row)
{
    const DecodedInsn *in = d->insn;
    unsigned pfx = in->rep ? PFX_F3 : in->repne ? PFX_F2 : in->data16 ? PFX_66 : PFX_NP;
    bool reg = in->mod == 3;
    for (; row->op; row++) {
        if ((row->pfx && !(row->pfx & pfx)) ||
            (row->reg1 && row->reg1 - 1 != ((in->modrm >> 3) & 7)) ||
            (row->rm1 && row->rm1 - 1 != (in->modrm & 7)) || (row->mod == MOD_MEM && reg) ||
            (row->mod == MOD_REG && !reg) || (in->has_modrm && !forms_match(row, reg))) {
            continue;
        }
        if (d->mode->bits == 64 ? row->flags & RF_I64 : row->flags & RF_O64) {
            continue;
        }
        if ((row->flags & RF_PROT) && !d->mode->protected_mode) {
            continue;
        }
        if (in->vex && !vex_matches(in, row)) {
            continue;
        }
        bool avx2 = in->vex_l && (row->flags & RF_256_AVX2);
        if (!has_feature(d, avx2 ? F_AVX2 : row->feature)) {
            continue;
        }
        return row;
    }
    return NULL;
}

static bool read_modrm16(Decoder *d)
{
    static const uint8_t bases[8] = {R_RBX, R_RBX, R_RBP, R_RBP, R_RSI, R_RDI, R_RBP, R_RBX};
    static const uint8_t indexes[8] = {R_RSI,       R_RDI,       R_RSI,       R_RDI,
                                       INSN_NO_REG, INSN_NO_REG, INSN_NO_REG, INSN_NO_REG};
    DecodedInsn *in = d->insn;
    unsigned rm = in->modrm & 7, size = in->mod; /* mod 0, 1, 2: as many bytes of displacement */
    in->base = bases[rm];
    in->index = indexes[rm];
    if (in->mod == 0 && rm == 6) {
        in->base = INSN_NO_REG;
        size = 2;
    }
    in->seg = in->base == R_RBP ? SEG_SS : SEG_DS;
    uint64_t v;
    if (!get_value(d, size, &v)) {
        return false;
    }
    in->disp = size ? sign_extend(v, size) : 0;
    return true;
}

static bool read_modrm32(Decoder *d)
{
    DecodedInsn *in = d->insn;
    unsigned rm = in->modrm & 7;
    unsigned size = in->mod == 1 ? 1 : in->mod == 2 ? 4 : 0;
    in->base = (uint8_t)(rm | (in->rex & REX_B ? 8 : 0));
    if (rm == 4) {
        uint8_t sib;
        if (!get_byte(d, &sib)) {
            return false;
        }
        in->scale = sib >> 6;
        in->index = (uint8_t)((sib >> 3 & 7) | (in->rex & REX_X ? 8 : 0));
        if (in->index == R_RSP && !(in->row->flags & RF_VSIB)) {
            in->index = INSN_NO_REG;
        }
        in->base = (uint8_t)((sib & 7) | (in->rex & REX_B ? 8 : 0));
        if ((sib & 7) == 5 && in->mod == 0) {
            in->base = INSN_NO_REG;
            size = 4;
        }
    } else if (rm == 5 && in->mod == 0) {
        in->base = INSN_NO_REG;
        in->rip_relative = d->mode->bits == 64;
        size = 4;
    }
    in->seg = in->base == R_RSP || in->base == R_RBP ? SEG_SS : SEG_DS;
    uint64_t v;
    if (!get_value(d, size, &v)) {
        return false;
    }
    in->disp = size ? sign_extend(v, size) : 0;
    return true;
}

static unsigned size_bytes(const DecodedInsn *in, const DecodeMode *mode, OperandSize s)
{
    switch (s) {
    case SZ_0:
        return 0;
    case SZ_B:
        return 1;
    case SZ_W:
        return 2;
    case SZ_D:
        return 4;
    case SZ_Q:
        return 8;
    case SZ_T:
        return 10;
    case SZ_DQ:
        return 16;
    case SZ_V:
        return in->opsize;
    case SZ_Z:
        return in->opsize == 2 ? 2 : 4;
    case SZ_Y:
        return in->opsize == 8 ? 8 : 4;
    case SZ_P:
        return in->opsize + 2u;
    case SZ_A:
        return in->opsize * 2u;
    case SZ_S:
        return mode->bits == 64 ? 10 : 6;
    case SZ_HX:
        return in->vlen / 2u;
    case SZ_QX:
        return in->vlen / 4u;
    case SZ_OX:
        return in->vlen / 8u;
    default:
        return in->vlen;
    }
}

static void set_gpr(const DecodedInsn *in, Operand *o, unsigned reg)
{
    o->kind = OK_REG;
    o->reg = (uint8_t)reg;
    if (o->size == 1 && !in->has_rex && reg >= 4) {
        o->reg = (uint8_t)(reg - 4);
        o->high = true;
    }
}

static bool read_immediate(Decoder *d, Operand *o, bool sext)
{
    DecodedInsn *in = d->insn;
    uint64_t v;
    if (!get_value(d, o->size, &v)) {
        return false;
    }
    /* Only ENTER has a second one. */
    if (o != &in->operand[0] && in->operand[0].kind == OK_IMM) {
        in->imm2 = v;
    } else {
        in->imm = sext ? (uint64_t)sign_extend(v, o->size) : v;
    }
    o->kind = OK_IMM;
    return true;
}

static bool read_far_pointer(Decoder *d, Operand *o)
{
    o->kind = OK_FAR;
    return get_value(d, d->insn->opsize, &d->insn->imm) && get_value(d, 2, &d->insn->imm2);
}

static bool read_moffs(Decoder *d, Operand *o)
{
    DecodedInsn *in = d->insn;
    uint64_t v;
    if (!get_value(d, in->addrsize, &v)) {
        return false;
    }
    o->kind = OK_MEM;
    in->base = in->index = INSN_NO_REG;
    in->seg = SEG_DS;
    in->disp = (int64_t)v;
    return true;
}

static void set_vector(const DecodedInsn *in, Operand *o, unsigned kind, bool is_rm)
{
    o->kind = (uint8_t)kind;
    unsigned r = is_rm ? in->rm : in->reg;
    o->reg = (uint8_t)(kind == OK_MMX ? r & 7 : r);
}

/* Legacy forms align every operand of the vector length, VEX forms those of plain moves. */
static bool must_align(const DecodedInsn *in, OperandSize sz)
{
    return sz == SZ_X && !(in->vex && in->row->fn);
}

/* Forms of vectors, and of MMX. */
static bool read_vector(Decoder *d, uint16_t desc, Operand *o)
{
    DecodedInsn *in = d->insn;
    bool mem = in->mod != 3;
    switch (OPERAND_FORM(desc)) {
    case OF_P:
        set_vector(in, o, OK_MMX, false);
        return true;
    case OF_Q:
    case OF_N:
        set_vector(in, o, OK_MMX, true);
        if (mem) {
            o->kind = OK_MEM;
        }
        return true;
    case OF_V:
        set_vector(in, o, OK_VEC, false);
        return true;
    case OF_W:
    case OF_U:
        set_vector(in, o, OK_VEC, true);
        if (mem) {
            o->kind = OK_MEM;
            o->aligned = must_align(in, OPERAND_SIZE(desc));
        }
        return true;
    case OF_H:
        o->kind = OK_VEC;
        o->reg = in->vvvv;
        return true;
    case OF_L:
        if (!get_value(d, 1, &in->imm)) {
            return false;
        }
        in->imm &= d->mode->bits == 64 ? 0xff : 0x7f;
        o->kind = OK_VEC;
        o->reg = (uint8_t)(in->imm >> 4);
        return true;
    default:
        return false;
    }
}

/* Forms that no byte of the instruction chooses among. */
static bool read_fixed(Decoder *d, uint16_t desc, Operand *o)
{
    DecodedInsn *in = d->insn;
    switch (OPERAND_FORM(desc)) {
    case OF_ONE:
        o->kind = OK_IMM;
        in->imm = 1;
        return true;
    case OF_RAX:
    case OF_RCX:
    case OF_RDX:
        o->kind = OK_REG;
        o->reg = (uint8_t)(R_RAX + (OPERAND_FORM(desc) - OF_RAX));
        return true;
    case OF_SEG:
        o->kind = OK_SEG;
        o->reg = in->row->arg;
        return true;
    case OF_X:
        o->kind = OK_STR_X;
        in->seg = SEG_DS;
        return true;
    case OF_Y:
        o->kind = OK_STR_Y;
        return true;
    case OF_DI:
        o->kind = OK_MEM;
        in->base = R_RDI;
        in->seg = SEG_DS;
        return true;
    default:
        return read_vector(d, desc, o);
    }
}

static bool read_operand(Decoder *d, uint16_t desc, Operand *o)
{
    DecodedInsn *in = d->insn;
    OperandSize sz = OPERAND_SIZE(desc);
    o->size = (uint8_t)size_bytes(in, d->mode, sz);
    bool mem = in->mod != 3;
    switch (OPERAND_FORM(desc)) {
    case OF_NONE:
        return true;
    case OF_E:
        if (mem) {
            o->kind = OK_MEM;
        } else {
            set_gpr(in, o, in->rm);
        }
        return true;
    case OF_G:
        set_gpr(in, o, in->reg);
        return true;
    case OF_Z:
        set_gpr(in, o, (in->opcode & 7u) | (in->rex & REX_B ? 8u : 0));
        return true;
    case OF_R:
        set_gpr(in, o, in->rm);
        return true;
    case OF_M:
        o->kind = OK_MEM;
        o->aligned = must_align(in, sz);
        return true;
    case OF_I:
        return read_immediate(d, o, false);
    case OF_SI:
        return read_immediate(d, o, true);
    case OF_J:
        if (!read_immediate(d, o, true)) {
            return false;
        }
        o->kind = OK_REL;
        return true;
    case OF_A:
        return read_far_pointer(d, o);
    case OF_O:
        return read_moffs(d, o);
    case OF_S:
        o->kind = OK_SEG;
        o->reg = in->modrm >> 3 & 7;
        return true;
    case OF_C:
    case OF_D:
        o->kind = OPERAND_FORM(desc) == OF_C ? OK_CR : OK_DR;
        o->reg = in->reg;
        return true;
    case OF_B:
        set_gpr(in, o, in->vvvv);
        return true;
    default:
        return read_fixed(d, desc, o);
    }
}

static void set_sizes(Decoder *d, const InsnRow *row)
{
    DecodedInsn *in = d->insn;
    bool data16 = in->data16 && !(row->flags & RF_NO66);
    if (in->vex) { /* vector lengths and pairs of 32- and 64-bit forms only */
        in->opsize = in->rex & REX_W ? 8 : 4;
        in->vlen = in->vex_l && !(row->flags & RF_LIG) ? 32 : 16;
        return;
    }
    if (d->mode->bits == 64) {
        if (row->flags & RF_F64) {
            in->opsize = 8;
        } else if (in->rex & REX_W) {
            in->opsize = 8;
        } else if (data16) {
            in->opsize = 2;
        } else {
            in->opsize = row->flags & RF_D64 ? 8 : 4;
        }
    } else if (row->flags & RF_NO66) {
        in->opsize = 4;
    } else {
        in->opsize = (d->mode->bits == 32) != data16 ? 4 : 2;
    }
    in->vlen = 16;
    for (unsigned i = 0; i < 4; i++) {
        OperandForm f = OPERAND_FORM(row->operand[i]);
        if (f == OF_V || f == OF_W || f == OF_U) {
            in->vlen = 16;
            break;
        }
        if (f == OF_P || f == OF_Q || f == OF_N) {
            in->vlen = 8;
        }
    }
}

/*
 * C4 and C5 are VEX prefixes in 64-bit mode, and in protected mode if a ModRM byte of LES
 * or LDS would name a register; looks at the next byte.
 */
static bool is_vex(Decoder *d, uint8_t b, bool *vex)
{
    uint8_t next;
    *vex = false;
    if ((b & 0xfe) != 0xc4 || !d->mode->protected_mode) {
        return true;
    }
    if (d->mode->bits == 64) {
        *vex = true;
        return true;
    }
    if (!get_byte(d, &next)) {
        return false;
    }
    d->pos--;
    d->peeked = next;
    *vex = next >= 0xc0;
    return true;
}

/* The rest of a VEX prefix (SDM vol. 2, 2.3.5) and the opcode byte. */
static bool read_vex(Decoder *d, bool long_form, const InsnRow **list)
{
    static const uint8_t maps[4] = {0, MAP_VEX_0F, MAP_VEX_0F38, MAP_VEX_0F3A};
    DecodedInsn *in = d->insn;
    uint8_t p0 = 0xe1, p1; /* the short form: X, B, W clear, map 0F */
    bool bad = in->lock || in->data16 || in->rep || in->repne || in->has_rex;
    if ((long_form && !get_byte(d, &p0)) || !get_byte(d, &p1)) {
        return false;
    }
    if (!long_form) {
        p0 = (uint8_t)((p0 & 0x7f) | (p1 & 0x80));
    }
    bad |= (p0 & 0x1f) == 0 || (p0 & 0x1f) > 3;
    in->vex = true;
    in->vex_w = long_form && p1 & 0x80;
    in->vex_l = p1 & 4;
    in->vvvv = ~p1 >> 3 & 15;
    in->data16 = (p1 & 3) == 1;
    in->rep = (p1 & 3) == 2;
    in->repne = (p1 & 3) == 3;
    in->rex = (uint8_t)((~p0 >> 5 & 7) | (in->vex_w ? REX_W : 0));
    in->has_rex = true; /* nothing of VEX reaches AH ... BH */
    if (d->mode->bits != 64) {
        in->rex = 0;
        in->vvvv &= 7;
    }
    if (!get_byte(d, &in->opcode)) {
        return false;
    }
    in->map = bad ? MAP_VEX_0F : maps[p0 & 3];
    *list = bad ? NULL : decode_rows((OpcodeMap)in->map, in->opcode);
    return true;
}

static bool read_opcode(Decoder *d, const InsnRow **list)
{
    DecodedInsn *in = d->insn;
    uint8_t b;
    bool vex;
    if (!read_prefixes(d, &b) || !is_vex(d, b, &vex)) {
        return false;
    }
    if (vex) {
        return read_vex(d, b == 0xc4, list);
    }
    in->map = MAP_1;
    if (b == 0x0f) {
        if (!get_byte(d, &b)) {
            return false;
        }
        in->map = MAP_0F;
        if (b == 0x38 || b == 0x3a) {
            in->map = b == 0x38 ? MAP_0F38 : MAP_0F3A;
            if (!get_byte(d, &b)) {
                return false;
            }
        }
    }
    in->opcode = b;
    *list = decode_rows((OpcodeMap)in->map, b);
    return true;
}

/* ModRM's memory form has been asked for: SIB and displacement. */
static bool read_memory(Decoder *d)
{
    DecodedInsn *in = d->insn;
    if (!in->has_modrm || in->mod == 3 || (in->row->flags & RF_REGONLY)) {
        return true;
    }
    return in->addrsize == 2 ? read_modrm16(d) : read_modrm32(d);
}

static DecodeResult decode(Decoder *d)
{
    DecodedInsn *in = d->insn;
    const InsnRow *list;
    if (!read_opcode(d, &list)) {
        return d->result;
    }
    if (!list) {
        return DECODE_UD;
    }
    switch (d->mode->bits) {
    case 64:
        in->addrsize = in->addr_override ? 4 : 8;
        break;
    case 32:
        in->addrsize = in->addr_override ? 2 : 4;
        break;
    default:
        in->addrsize = in->addr_override ? 4 : 2;
        break;
    }
    in->mod = 3; /* as without memory operand */
    if (list_has_modrm(list)) {
        if (!get_byte(d, &in->modrm)) {
            return d->result;
        }
        in->has_modrm = true;
        in->mod = in->modrm >> 6;
        in->reg = (uint8_t)((in->modrm >> 3 & 7) | (in->rex & REX_R ? 8 : 0));
        in->rm = (uint8_t)((in->modrm & 7) | (in->rex & REX_B ? 8 : 0));
    }
    in->row = find_row(d, list);
    if (!in->row) {
        return DECODE_UD;
    }
    if (in->row->flags & RF_REGONLY) {
        in->mod = 3;
    }
    in->op = in->row->op;
    set_sizes(d, in->row);
    if ((in->row->flags & RF_VSIB) && (in->addrsize == 2 || (in->modrm & 7) != 4)) {
        return DECODE_UD;
    }
    if (!read_memory(d)) {
        return d->result;
    }
    for (unsigned i = 0; i < 4 && in->row->operand[i]; i++) {
        if (!read_operand(d, in->row->operand[i], &in->operand[i])) {
            return d->result;
        }
    }
    if (in->seg_override != INSN_NO_REG) {
        in->seg = in->seg_override;
    }
    if (in->lock && !((in->row->flags & RF_LOCK) && in->has_modrm && in->mod != 3 &&
                      (in->operand[0].kind == OK_MEM))) {
        return DECODE_UD;
    }
    return DECODE_OK;
}

DecodeResult x86_decode(DecodeFetch *fetch, void *opaque, const DecodeMode *mode, DecodedInsn *insn)
{
    memset(insn, 0, sizeof(*insn));
    insn->seg = SEG_DS;
    insn->seg_override = insn->base = insn->index = INSN_NO_REG;
    Decoder d = {.fetch = fetch,
                 .opaque = opaque,
                 .mode = mode,
                 .insn = insn,
                 .result = DECODE_UD,
                 .peeked = -1};
    DecodeResult r = decode(&d);
    insn->length = (uint8_t)d.pos;
    return r;
}

/* ---- dump ---- */

static const char *const gpr_names[16] = {"ax", "cx", "dx",  "bx",  "sp",  "bp",  "si",  "di",
                                          "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"};
static const char *const seg_names[8] = {"es", "cs", "ss", "ds", "fs", "gs", "s6", "s7"};

static void gpr_name(char *buf, size_t n, unsigned reg, unsigned size, bool high)
{
    const char *base = gpr_names[reg & 15];
    if (high) {
        snprintf(buf, n, "%ch", base[0]);
    } else if (reg >= 8) {
        snprintf(buf, n, "%s%s", base, size == 1 ? "b" : size == 2 ? "w" : size == 4 ? "d" : "");
    } else if (size == 1) {
        snprintf(buf, n, reg < 4 ? "%.1sl" : "%sl", base);
    } else {
        snprintf(buf, n, "%s%s", size == 8 ? "r" : size == 4 ? "e" : "", base);
    }
}

static void print_memory(const DecodedInsn *in, uint64_t next, unsigned size, char *buf, size_t n)
{
    char base[8] = "", index[8] = "", scale[4] = "";
    if (in->base != INSN_NO_REG) {
        gpr_name(base, sizeof(base), in->base, in->addrsize, false);
    }
    if (in->index != INSN_NO_REG) {
        if (in->row->flags & RF_VSIB) {
            snprintf(index, sizeof(index), "v%u", in->index & 15u);
        } else {
            gpr_name(index, sizeof(index), in->index, in->addrsize, false);
        }
        snprintf(scale, sizeof(scale), "*%d", 1 << (in->scale & 3));
    }
    uint64_t disp = (uint64_t)in->disp + (in->rip_relative ? next : 0);
    bool neg = (int64_t)disp < 0 && (base[0] || index[0]);
    snprintf(buf, n, "m%u %s:[%s%s%s%s%s0x%llx]", size * 8, seg_names[in->seg & 7], base,
             base[0] && index[0] ? "+" : "", index, scale,
             neg                   ? "-"
             : base[0] || index[0] ? "+"
                                   : "",
             (unsigned long long)(neg ? 0 - disp : disp));
}

static void print_operand(const DecodedInsn *in, const Operand *o, uint64_t next, char *buf,
                          size_t n)
{
    switch (o->kind) {
    case OK_REG:
        gpr_name(buf, n, o->reg, o->size, o->high);
        break;
    case OK_MEM:
        print_memory(in, next, o->size, buf, n);
        break;
    case OK_IMM:
        snprintf(buf, n, "0x%llx",
                 (unsigned long long)(o != &in->operand[0] && in->operand[0].kind == OK_IMM
                                          ? in->imm2
                                          : in->imm));
        break;
    case OK_REL:
        snprintf(buf, n, "0x%llx", (unsigned long long)(next + in->imm));
        break;
    case OK_FAR:
        snprintf(buf, n, "0x%llx:0x%llx", (unsigned long long)in->imm2,
                 (unsigned long long)in->imm);
        break;
    case OK_SEG:
        snprintf(buf, n, "%s", seg_names[o->reg & 7]);
        break;
    case OK_CR:
    case OK_DR:
        snprintf(buf, n, "%cr%u", o->kind == OK_CR ? 'c' : 'd', o->reg);
        break;
    case OK_MMX:
        snprintf(buf, n, "mm%u", o->reg);
        break;
    case OK_VEC:
        snprintf(buf, n, o->size > 16 ? "ymm%u" : "xmm%u", o->reg);
        break;
    case OK_STR_X:
        snprintf(buf, n, "m%u %s:[si]", o->size * 8u, seg_names[in->seg & 7]);
        break;
    case OK_STR_Y:
        snprintf(buf, n, "m%u es:[di]", o->size * 8u);
        break;
    default:
        buf[0] = 0;
        break;
    }
}

void x86_decode_print(const DecodedInsn *in, uint64_t rip, char *buf, size_t size)
{
    if (!in->row) {
        snprintf(buf, size, "(bad)");
        return;
    }
    size_t len = (size_t)snprintf(
        buf, size, "%s%s%s", in->lock ? "lock " : "",
        in->row->flags & RF_REP && (in->rep || in->repne) ? in->rep ? "rep " : "repne " : "",
        in->row->name);
    if (in->op == OP_X87 && len < size) {
        len += (size_t)snprintf(buf + len, size - len, " %02x %02x", in->opcode, in->modrm);
    }
    for (unsigned i = 0; i < 4 && in->operand[i].kind != OK_NONE && len < size; i++) {
        char text[64];
        print_operand(in, &in->operand[i], rip + in->length, text, sizeof(text));
        len += (size_t)snprintf(buf + len, size - len, "%s%s", i ? ", " : " ", text);
    }
}
