/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IR_SIMD says how the guest encoded it (IR_ENC_*, accel/tcg/ir.h), for back ends that
 * emit it again.  Here every row of the vector maps is translated, encoded again by that
 * note alone, and must come out as it was.
 */
#include "accel/tcg/internal.h"
#include "accel/tcg/ir.h"
#include "target/i386/decode.h"
#include "tcg-harness.h"

#define CODE 0x10000ull
#define TABLES 0x1000ull

/* Registers that differ in all places. */
enum { REG = 9, RM = 2, VVVV = 5, IS4 = 12, IMM = 0x1b };

typedef struct Bytes {
    uint8_t b[16];
    unsigned n;
} Bytes;

static void put(Bytes *p, unsigned byte)
{
    p->b[p->n++] = (uint8_t)byte;
}

/* What both ways of encoding have in common. */
typedef struct Insn {
    unsigned map, opcode, pp; /* map 1-3 */
    unsigned reg, rm, vvvv, imm;
    bool vex, w, l, has_imm, mem;
} Insn;

static Bytes assemble(const Insn *i)
{
    static const uint8_t prefixes[4] = {0, 0x66, 0xf3, 0xf2};
    Bytes p = {.n = 0};
    bool r = i->reg >= 8, b = !i->mem && i->rm >= 8;
    if (i->vex) {
        put(&p, 0xc4);
        put(&p, (r ? 0u : 0x80u) | 0x40 | (b ? 0u : 0x20u) | i->map);
        put(&p, (i->w ? 0x80u : 0) | (~i->vvvv & 15) << 3 | (i->l ? 4u : 0) | i->pp);
    } else {
        if (i->pp) {
            put(&p, prefixes[i->pp]);
        }
        put(&p, 0x40u | (i->w ? 8u : 0) | (r ? 4u : 0) | (b ? 1u : 0));
        put(&p, 0x0f);
        if (i->map > 1) {
            put(&p, i->map == 2 ? 0x38 : 0x3a);
        }
    }
    put(&p, i->opcode);
    put(&p, (i->mem ? 0u : 0xc0u) | (i->reg & 7) << 3 | (i->mem ? 3 : i->rm & 7)); /* [rbx] */
    if (i->has_imm) {
        put(&p, i->imm);
    }
    return p;
}

static bool has_form(const InsnRow *row, OperandForm f)
{
    for (unsigned i = 0; i < 4; i++) {
        if (row->operand[i] && OPERAND_FORM(row->operand[i]) == f) {
            return true;
        }
    }
    return false;
}

static bool has_mmx(const InsnRow *row)
{
    return has_form(row, OF_P) || has_form(row, OF_Q) || has_form(row, OF_N);
}

static bool sized(const InsnRow *row)
{
    for (unsigned i = 0; i < 4; i++) {
        if (OPERAND_SIZE(row->operand[i]) == SZ_Y) {
            return true;
        }
    }
    return false;
}

static Insn make(const InsnRow *row, unsigned map, unsigned opcode, bool mem, bool l)
{
    Insn i = {.map = (map - MAP_0F) % 3 + 1,
              .opcode = opcode,
              .vex = map >= MAP_VEX_0F,
              .mem = mem,
              .reg = row->reg1 ? row->reg1 - 1u : REG,
              .rm = RM,
              .imm = IMM};
    i.pp = row->pfx & PFX_NP   ? 0
           : row->pfx & PFX_66 ? 1
           : row->pfx & PFX_F3 ? 2
           : row->pfx & PFX_F2 ? 3
                               : 0;
    i.vvvv = has_form(row, OF_H) ? VVVV : 0;
    i.w = row->flags & RF_W1 || sized(row);
    i.l = i.vex && !(row->flags & (RF_L0 | RF_LIG)) && (l || row->flags & RF_L1);
    i.has_imm = has_form(row, OF_I) || has_form(row, OF_L);
    if (has_form(row, OF_L)) {
        i.imm = IS4 << 4;
    }
    return i;
}

/* The same from the operation alone; fields that are temporaries there come from `was`. */
static Insn remake(const IrOp *o, const Insn *was)
{
    Insn i = {.map = o->index & IR_ENC_MAP,
              .opcode = o->base,
              .pp = o->scale,
              .vex = o->index & IR_ENC_VEX,
              .w = o->flags & IRF_WRITE,
              .l = o->size == 32,
              .has_imm = o->index & IR_ENC_IMM8,
              .imm = o->sub,
              .mem = was->mem};
    unsigned reg = o->d, rm = o->b;
    if (o->seg != IR_ENC_NO_GROUP) {
        reg = o->seg;
        i.vvvv = i.vex ? o->d : 0;
    } else {
        i.vvvv = o->index & IR_ENC_VVVV ? o->a : 0;
        if (o->index & IR_ENC_STORE) {
            reg = o->b;
            rm = o->d;
        }
    }
    i.reg = reg >= IR_VT0 ? was->reg : reg;
    i.rm = rm >= IR_VT0 ? was->rm : rm;
    return i;
}

static void check_row(Harness *h, const InsnRow *row, unsigned map, unsigned opcode, bool mem,
                      bool l)
{
    Insn i = make(row, map, opcode, mem, l);
    Bytes p = assemble(&i);
    IrOp ops[BLOCK_MAX_OPS];
    TranslateResult res;
    CodeReader r = {.cpu = h->cpu, .linear = CODE};
    harness_write(h, CODE, p.b, p.n);
    h->cpu->rip = CODE;
    x86_translate(h->cpu, &r, h->cpu->hflags, h->cpu->rip, 1, ops, &res);
    for (unsigned k = 0; k < res.n_ops; k++) {
        if (ops[k].op != IR_SIMD) {
            continue;
        }
        g_assert_true((SimdFn *)(intptr_t)ops[k].imm == row->fn);
        Insn again = remake(&ops[k], &i);
        Bytes q = assemble(&again);
        if (p.n != q.n || memcmp(p.b, q.b, p.n)) {
            g_error("%s: map %u opcode %02x: %02x %02x %02x %02x %02x %02x became %02x %02x %02x "
                    "%02x %02x %02x",
                    row->name, map, opcode, p.b[0], p.b[1], p.b[2], p.b[3], p.b[4], p.b[5], q.b[0],
                    q.b[1], q.b[2], q.b[3], q.b[4], q.b[5]);
        }
        bool avx2 = i.l && row->flags & RF_256_AVX2;
        g_assert_cmpuint(IR_ENC2_FEATURE(&ops[k]), ==, avx2 ? F_AVX2 : row->feature);
        g_assert_cmpint((ops[k].disp & IR_ENC2_IS4) != 0, ==, has_form(row, OF_L));
        g_assert_cmpint((ops[k].disp & IR_ENC2_DSRC) != 0, ==, (row->flags & RF_DSRC) != 0);
        return;
    }
    g_error("%s: map %u opcode %02x: no vector operation", row->name, map, opcode);
}

static void check_forms(Harness *h, const InsnRow *row, unsigned map, unsigned opcode)
{
    for (unsigned form = 0; form < 4; form++) {
        bool mem = form & 1;
        if ((mem && (row->mod == MOD_REG || has_form(row, OF_U) || has_form(row, OF_R) ||
                     has_form(row, OF_N))) ||
            (!mem && (row->mod == MOD_MEM || has_form(row, OF_M)))) {
            continue;
        }
        check_row(h, row, map, opcode, mem, form & 2);
    }
}

static void test_notes(void)
{
    Harness *h = harness_new(4 * MiB);
    unsigned rows = 0;
    harness_long_mode(h, TABLES);
    h->cpu->cr4 |= CR4_OSXSAVE | CR4_OSFXSR;
    h->cpu->xcr0 = 7;
    cpu_update_hflags(h->cpu);
    for (unsigned map = MAP_0F; map <= MAP_VEX_0F3A; map++) {
        for (unsigned op = 0; op < 256; op++) {
            const InsnRow *row = decode_rows((OpcodeMap)map, (uint8_t)op);
            for (; row && row->op; row++) {
                if (row->op == OP_SIMD && row->fn && !has_mmx(row)) {
                    check_forms(h, row, map, op);
                    rows++;
                }
            }
        }
    }
    g_assert_cmpuint(rows, >, 500);
    harness_free(h);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ir-encoding/notes", test_notes);
    return g_test_run();
}
