/* SPDX-License-Identifier: GPL-2.0-or-later */
/* target/i386/tcg/x87_mem.c: x87 instructions with a memory operand. */
#include "target/i386/tcg/x87.h"
#include "util/bits.h"

static uint64_t load(X87Op *o, unsigned size)
{
    return x86_ld(o->cpu, o->seg, o->ea, size);
}

/* Ten bytes count as aligned like eight. */
static void check_align80(X87Op *o, bool write)
{
    x86_check_align(o->cpu, seg_linear(o->cpu, o->seg, o->ea, 10, write), 8);
}

static Float80 load80(X87Op *o)
{
    uint8_t b[10];
    check_align80(o, false);
    x86_ld_bytes(o->cpu, o->seg, o->ea, b, sizeof(b));
    return (Float80){ld_le64(b), ld_le16(b + 8)};
}

static void store80(X87Op *o, Float80 v)
{
    uint8_t b[10];
    st_le64(b, v.mant);
    st_le16(b + 8, v.exp);
    check_align80(o, true);
    x86_st_bytes(o->cpu, o->seg, o->ea, b, sizeof(b));
}

/* A store that an unmasked exception suppresses still needs its memory, as on the chip. */
static void probe(X87Op *o, unsigned size)
{
    uint64_t lin = seg_linear(o->cpu, o->seg, o->ea, size, true);
    x86_check_align(o->cpu, lin, size == 10 ? 8 : size);
    mmu_probe(o->cpu, lin, size, true, mmu_mode(o->cpu));
}

/* D8 m32fp, DA m32int, DC m64fp, DE m16int: ST(0) op operand. */
static Fp load_operand(X87Op *o)
{
    switch (o->esc) {
    case 0:
        return fp_from32((uint32_t)load(o, 4));
    case 2:
        return fp_from_int((int32_t)load(o, 4));
    case 4:
        return fp_from64(load(o, 8));
    default:
        return fp_from_int((int16_t)load(o, 2));
    }
}

static void arith_mem(X87Op *o)
{
    X87 *fp = o->fp;
    unsigned reg = o->modrm >> 3 & 7;
    Fp b = load_operand(o);
    bool store;
    Float80 r = x87_indefinite();
    if (!x87_underflow(o, x87_empty(fp, 0), &store)) {
        r = x87_formula(&o->env, reg, x87_fp(fp, 0), b);
        store = x87_commit(o);
    }
    if (store) {
        x87_set(fp, 0, r);
    }
}

static void compare_mem(X87Op *o)
{
    X87 *fp = o->fp;
    Fp b = load_operand(o);
    bool store;
    if (x87_underflow(o, x87_empty(fp, 0), &store)) {
        x87_cc(fp, SW_CC, SW_C0 | SW_C2 | SW_C3);
    } else {
        store = x87_compare(o, x87_fp(fp, 0), b, false);
    }
    if (store && o->modrm & 8) {
        x87_pop(fp);
    }
}

static void push_converted(X87Op *o, Fp v)
{
    if (x87_can_push(o)) {
        Float80 r = fp80_load(&o->env, v);
        /* A denormal is loaded even when its exception is unmasked (AMD's chips). */
        if (x87_commit(o) || o->env.flags == FP_DE) {
            x87_push(o->fp, r);
        }
    }
}

static void fld_m32(X87Op *o)
{
    push_converted(o, fp_from32((uint32_t)load(o, 4)));
}

static void fld_m64(X87Op *o)
{
    push_converted(o, fp_from64(load(o, 8)));
}

static void fld_m80(X87Op *o)
{
    Float80 v = load80(o);
    if (x87_can_push(o)) {
        x87_cc(o->fp, SW_C1, 0);
        x87_push(o->fp, v);
    }
}

static void fild_m16(X87Op *o)
{
    push_converted(o, fp_from_int((int16_t)load(o, 2)));
}

static void fild_m32(X87Op *o)
{
    push_converted(o, fp_from_int((int32_t)load(o, 4)));
}

static void fild_m64(X87Op *o)
{
    push_converted(o, fp_from_int((int64_t)load(o, 8)));
}

/*
 * The end of a store of `size` bytes: nothing is written or popped on an unmasked
 * exception other than inexact.
 */
static void finish_store(X87Op *o, uint64_t v, unsigned size, bool pop)
{
    if (o->env.flags & o->env.unmasked & (FP_PRE | FP_OE | FP_UE)) {
        probe(o, size);
        /* The result that would have been inexact is not stored (SDM vol. 1, 8.5.6). */
        o->env.flags &= ~FP_PE;
        x87_commit(o);
        return;
    }
    x86_st(o->cpu, o->seg, o->ea, size, v);
    x87_commit(o);
    if (pop) {
        x87_pop(o->fp);
    }
}

/* ST(0) is empty: what a masked underflow stores. */
static void store_underflow(X87Op *o, uint64_t v, unsigned size, bool pop)
{
    bool store = true;
    if (!(o->env.unmasked & FP_IE)) {
        x86_st(o->cpu, o->seg, o->ea, size, v);
    } else {
        probe(o, size);
    }
    x87_underflow(o, true, &store);
    if (store && pop) {
        x87_pop(o->fp);
    }
}

static void fst_m32(X87Op *o)
{
    bool pop = o->modrm & 8;
    if (x87_empty(o->fp, 0)) {
        store_underflow(o, 0xffc00000, 4, pop);
    } else {
        finish_store(o, fp80_to_f32(&o->env, x87_fp(o->fp, 0)), 4, pop);
    }
}

static void fst_m64(X87Op *o)
{
    bool pop = o->modrm & 8;
    if (x87_empty(o->fp, 0)) {
        store_underflow(o, 0xfff8ull << 48, 8, pop);
    } else {
        finish_store(o, fp80_to_f64(&o->env, x87_fp(o->fp, 0)), 8, pop);
    }
}

static void fstp_m80(X87Op *o)
{
    bool store = true, empty = x87_empty(o->fp, 0);
    if (empty && o->env.unmasked & FP_IE) {
        probe(o, 10);
        x87_underflow(o, true, &store);
        return;
    }
    store80(o, empty ? x87_indefinite() : x87_st(o->fp, 0));
    if (!x87_underflow(o, empty, &store)) {
        x87_cc(o->fp, SW_C1, 0);
    }
    x87_pop(o->fp);
}

static void store_int(X87Op *o, unsigned size, bool chop, bool pop)
{
    if (x87_empty(o->fp, 0)) {
        store_underflow(o, BIT(size * 8 - 1), size, pop);
        return;
    }
    if (chop) {
        o->env.round = FP_CHOP;
    }
    int64_t v = fp_to_int(&o->env, x87_fp(o->fp, 0), size * 8);
    finish_store(o, (uint64_t)v, size, pop);
}

static void fist_m16(X87Op *o)
{
    store_int(o, 2, false, o->modrm & 8);
}

static void fist_m32(X87Op *o)
{
    store_int(o, 4, false, o->modrm & 8);
}

static void fistp_m64(X87Op *o)
{
    store_int(o, 8, false, true);
}

static void fisttp_m16(X87Op *o)
{
    store_int(o, 2, true, true);
}

static void fisttp_m32(X87Op *o)
{
    store_int(o, 4, true, true);
}

static void fisttp_m64(X87Op *o)
{
    store_int(o, 8, true, true);
}

/* ---- packed decimal: 18 digits, sign in the last byte ---- */

static void fbld(X87Op *o)
{
    uint8_t b[10];
    uint64_t v = 0;
    check_align80(o, false);
    x86_ld_bytes(o->cpu, o->seg, o->ea, b, sizeof(b));
    for (int i = 8; i >= 0; i--) {
        v = v * 100 + (b[i] >> 4) * 10u + (b[i] & 15);
    }
    if (x87_can_push(o)) {
        Fp r = fp_from_int((int64_t)v);
        r.sign = b[9] >> 7;
        x87_cc(o->fp, SW_C1, 0);
        x87_push(o->fp, fp_pack80(r));
    }
}

static void bcd_encode(uint8_t b[10], bool sign, uint64_t v)
{
    for (int i = 0; i < 9; i++) {
        b[i] = (uint8_t)(v % 10 | v / 10 % 10 << 4);
        v /= 100;
    }
    b[9] = sign ? 0x80 : 0;
}

static void fbstp(X87Op *o)
{
    static const uint8_t indefinite[10] = {0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff};
    const uint64_t limit = 999999999999999999;
    FpEnv *env = &o->env;
    uint8_t b[10];
    bool empty = x87_empty(o->fp, 0), store = true;
    check_align80(o, true);
    if (!empty) {
        Fp a = x87_fp(o->fp, 0);
        int64_t v = fp_to_int(env, a, 64);
        uint64_t mag = v < 0 ? -(uint64_t)v : (uint64_t)v;
        if (mag > limit) {
            env->flags = FP_IE;
            env->rounded_up = false;
        }
        bcd_encode(b, a.sign, mag);
    }
    bool invalid = empty || env->flags & FP_IE;
    if (invalid) {
        memcpy(b, indefinite, sizeof(b));
    }
    if (!(invalid && env->unmasked & FP_IE)) {
        x86_st_bytes(o->cpu, o->seg, o->ea, b, sizeof(b));
    } else {
        probe(o, sizeof(b));
    }
    if (!x87_underflow(o, empty, &store)) {
        store = x87_commit(o);
    }
    if (store) {
        x87_pop(o->fp);
    }
}

#define ARITH \
    arith_mem, arith_mem, compare_mem, compare_mem, arith_mem, arith_mem, arith_mem, arith_mem

X87Fn *const x87_mem_ops[8][8] = {
    {ARITH}, {fld_m32, NULL, fst_m32, fst_m32, x87_fldenv, x87_fldcw, x87_fnstenv, x87_fnstcw},
    {ARITH}, {fild_m32, fisttp_m32, fist_m32, fist_m32, NULL, fld_m80, NULL, fstp_m80},
    {ARITH}, {fld_m64, fisttp_m64, fst_m64, fst_m64, x87_frstor, NULL, x87_fnsave, x87_fnstsw},
    {ARITH}, {fild_m16, fisttp_m16, fist_m16, fist_m16, fbld, fild_m64, fbstp, fistp_m64},
};
