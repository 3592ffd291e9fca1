/* SPDX-License-Identifier: GPL-2.0-or-later */
/* target/i386/tcg/simd_str.c: PCMPESTRx and PCMPISTRx; SDM vol. 2, 4.1. */
#include "target/i386/tcg/simd_int.h"

/* One operand, its elements widened, and how many of them belong to the string. */
typedef struct Text {
    int32_t e[16];
    unsigned len;
} Text;

static unsigned element_count(unsigned imm)
{
    return imm & 1 ? 8 : 16;
}

static Text widen(const Vec *v, unsigned imm)
{
    Text t = {.len = 0};
    for (unsigned i = 0; i < element_count(imm); i++) {
        switch (imm & 3) {
        case 0:
            t.e[i] = v->u8[i];
            break;
        case 1:
            t.e[i] = v->u16[i];
            break;
        case 2:
            t.e[i] = v->i8[i];
            break;
        default:
            t.e[i] = v->i16[i];
            break;
        }
    }
    return t;
}

static Text implicit_text(const Vec *v, unsigned imm)
{
    Text t = widen(v, imm);
    while (t.len < element_count(imm) && t.e[t.len]) {
        t.len++;
    }
    return t;
}

static Text explicit_text(const Vec *v, unsigned imm, uint64_t reg, bool wide)
{
    Text t = widen(v, imm);
    int64_t n = wide ? (int64_t)reg : (int32_t)reg;
    uint64_t mag = n < 0 ? -(uint64_t)n : (uint64_t)n;
    t.len = mag > element_count(imm) ? element_count(imm) : (unsigned)mag;
    return t;
}

/* Is b's element in the set a, or (ranges) between a pair of a? */
static bool any_match(const Text *a, int32_t v, bool ranges)
{
    for (unsigned i = 0; i < a->len; i++) {
        if (!ranges) {
            if (a->e[i] == v) {
                return true;
            }
        } else if (i & 1 && a->e[i - 1] <= v && v <= a->e[i]) {
            return true;
        }
    }
    return false;
}

/* Does a occur in b at position j, as far as b's register reaches? */
static bool ordered_match(const Text *a, const Text *b, unsigned j, unsigned n)
{
    for (unsigned i = 0; i < a->len && j + i < n; i++) {
        if (j + i >= b->len || a->e[i] != b->e[j + i]) {
            return false;
        }
    }
    return true;
}

static unsigned compare(const Text *a, const Text *b, unsigned imm)
{
    unsigned n = element_count(imm), res = 0;
    for (unsigned j = 0; j < n; j++) {
        bool r;
        switch (imm >> 2 & 3) {
        case 0:
        case 1:
            r = j < b->len && any_match(a, b->e[j], imm >> 2 & 1);
            break;
        case 2:
            r = j < a->len && j < b->len ? a->e[j] == b->e[j] : j >= a->len && j >= b->len;
            break;
        default:
            r = ordered_match(a, b, j, n);
            break;
        }
        res |= (unsigned)r << j;
    }
    unsigned all = (1u << n) - 1;
    if (imm & 0x10) { /* negative: everything, or (masked) only inside b */
        res ^= imm & 0x20 ? all & ((1u << b->len) - 1) : all;
    }
    return res;
}

static unsigned run(CPUX86 *cpu, const Text *a, const Text *b, unsigned imm)
{
    unsigned n = element_count(imm), res = compare(a, b, imm);
    cpu->rflags = (cpu->rflags & ~(uint64_t)FLAGS_ARITH) | (res ? FLAG_CF : 0) |
                  (b->len < n ? FLAG_ZF : 0) | (a->len < n ? FLAG_SF : 0) | (res & 1 ? FLAG_OF : 0);
    return res;
}

static void put_index(CPUX86 *cpu, unsigned res, unsigned imm)
{
    unsigned i = element_count(imm);
    if (res) {
        i = imm & 0x40 ? 31u - (unsigned)__builtin_clz(res) : (unsigned)__builtin_ctz(res);
    }
    cpu->regs[R_RCX] = i;
}

static void put_mask(CPUX86 *cpu, unsigned res, unsigned imm)
{
    Lane r = {.u64 = {res, 0}};
    if (imm & 0x40) {
        for (unsigned i = 0; i < 16; i++) {
            r.u8[i] = res >> (imm & 1 ? i / 2 : i) & 1 ? 0xff : 0;
        }
    }
    lane_put(&cpu->vec[0], 0, &r, 16);
}

static unsigned explicit_run(CPUX86 *cpu, const Vec *a, const Vec *b, SimdCtl ctl)
{
    Text ta = explicit_text(a, ctl.imm, cpu->regs[R_RAX], ctl.w);
    Text tb = explicit_text(b, ctl.imm, cpu->regs[R_RDX], ctl.w);
    return run(cpu, &ta, &tb, ctl.imm);
}

static unsigned implicit_run(CPUX86 *cpu, const Vec *a, const Vec *b, SimdCtl ctl)
{
    Text ta = implicit_text(a, ctl.imm), tb = implicit_text(b, ctl.imm);
    return run(cpu, &ta, &tb, ctl.imm);
}

void simd_pcmpestri(SIMD_ARGS)
{
    put_index(cpu, explicit_run(cpu, a, b, ctl), ctl.imm);
}

void simd_pcmpestrm(SIMD_ARGS)
{
    put_mask(cpu, explicit_run(cpu, a, b, ctl), ctl.imm);
}

void simd_pcmpistri(SIMD_ARGS)
{
    put_index(cpu, implicit_run(cpu, a, b, ctl), ctl.imm);
}

void simd_pcmpistrm(SIMD_ARGS)
{
    put_mask(cpu, implicit_run(cpu, a, b, ctl), ctl.imm);
}
