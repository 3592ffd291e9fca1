/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * String instructions.  Each iteration is complete in itself: registers are right
 * before every access that may fault, and between iterations interrupts are taken.
 * Forward MOVS, STOS, CMPS, SCAS over plain memory go a page at a time.
 */
#include "accel/tcg/interp.h"
#include "accel/tcg/tlb.h"
#include "target/i386/tcg/helper.h"
#include "target/i386/tcg/int-helper.h"
#include "target/i386/tcg/svm.h"
#include "target/i386/tcg/translate.h"

#include <string.h>

typedef struct String {
    CPUX86 *cpu;
    unsigned kind, size, seg;
    unsigned addrsize;
    int64_t step;
    MmuMode mode;
    bool flat; /* offsets are linear addresses (but for wrap-around and FS, GS) */
} String;

static uint64_t addr_mask(const String *s)
{
    return s->addrsize == 8 ? ~0ull : s->addrsize == 4 ? 0xffffffffull : 0xffff;
}

static void set_addr_reg(const String *s, unsigned r, uint64_t v)
{
    uint64_t mask = addr_mask(s), *reg = &s->cpu->regs[r];
    *reg = s->addrsize == 2 ? (*reg & ~mask) | (v & mask) : v & mask;
}

static uint64_t offset_of(const String *s, unsigned r)
{
    return s->cpu->regs[r] & addr_mask(s);
}

static void advance(const String *s, unsigned r)
{
    set_addr_reg(s, r, s->cpu->regs[r] + (uint64_t)s->step);
}

static void check_align(const String *s, unsigned r, unsigned seg)
{
    if (s->cpu->hflags & HF_ALIGN_CHECK) {
        uint64_t lin = seg_linear(s->cpu, seg, offset_of(s, r), s->size, false);
        if (lin & (s->size - 1)) {
            x86_raise_error(s->cpu, EXC_AC, 0);
        }
    }
}

/*
 * Boot loaders copy and compare byte by byte, without REP: in flat segments of 32 bits there is
 * nothing to check (so near to the limit that an access could reach it, the usual way is taken).
 */
static bool is_plain(const String *s, unsigned seg, uint64_t offset)
{
    return (s->cpu->hflags & (HF_FLAT | HF_CS64 | HF_ALIGN_CHECK)) == HF_FLAT && seg < SEG_FS &&
           seg != SEG_CS && s->size <= 4 && offset <= UINT32_MAX - 4;
}

static uint64_t load(const String *s, unsigned r, unsigned seg)
{
    uint64_t offset = offset_of(s, r);
    if (is_plain(s, seg, offset)) {
        return s->size == 1   ? mmu_ld8(s->cpu, offset, s->mode)
               : s->size == 2 ? mmu_ld16(s->cpu, offset, s->mode)
                              : mmu_ld32(s->cpu, offset, s->mode);
    }
    check_align(s, r, seg);
    return x86_ld(s->cpu, seg, offset, s->size);
}

static void store(const String *s, uint64_t v)
{
    uint64_t offset = offset_of(s, R_RDI);
    if (!is_plain(s, SEG_ES, offset)) {
        x86_st(s->cpu, SEG_ES, offset, s->size, v);
    } else if (s->size == 1) {
        mmu_st8(s->cpu, offset, (uint8_t)v, s->mode);
    } else if (s->size == 2) {
        mmu_st16(s->cpu, offset, (uint16_t)v, s->mode);
    } else {
        mmu_st32(s->cpu, offset, (uint32_t)v, s->mode);
    }
}

static void compare(const String *s, uint64_t a, uint64_t b)
{
    /* As CMP a, b. */
    unsigned bits = s->size * 8;
    uint64_t mask = bits == 64 ? ~0ull : (1ull << bits) - 1;
    a &= mask;
    b &= mask;
    uint64_t r = (a - b) & mask, f = 0;
    f |= a < b ? FLAG_CF : 0;
    f |= __builtin_parity((unsigned)(r & 0xff)) ? 0 : FLAG_PF;
    f |= (a ^ b ^ r) & FLAG_AF;
    f |= r ? 0 : FLAG_ZF;
    f |= r >> (bits - 1) ? FLAG_SF : 0;
    f |= ((a ^ b) & (a ^ r)) >> (bits - 1) & 1 ? FLAG_OF : 0;
    s->cpu->rflags = (s->cpu->rflags & ~(uint64_t)FLAGS_ARITH) | f;
}

static void set_acc(const String *s, uint64_t v)
{
    uint64_t *rax = &s->cpu->regs[R_RAX];
    switch (s->size) {
    case 1:
        *rax = (*rax & ~0xffull) | v;
        break;
    case 2:
        *rax = (*rax & ~0xffffull) | v;
        break;
    default:
        *rax = v;
        break;
    }
}

static void iterate(const String *s)
{
    CPUX86 *cpu = s->cpu;
    switch (s->kind) {
    case STRING_MOVS:
        check_align(s, R_RDI, SEG_ES);
        store(s, load(s, R_RSI, s->seg));
        advance(s, R_RSI);
        advance(s, R_RDI);
        break;
    case STRING_CMPS: {
        uint64_t a = load(s, R_RSI, s->seg), b = load(s, R_RDI, SEG_ES);
        compare(s, a, b);
        advance(s, R_RSI);
        advance(s, R_RDI);
        break;
    }
    case STRING_STOS:
        check_align(s, R_RDI, SEG_ES);
        store(s, cpu->regs[R_RAX]);
        advance(s, R_RDI);
        break;
    case STRING_LODS:
        set_acc(s, load(s, R_RSI, s->seg));
        advance(s, R_RSI);
        break;
    case STRING_SCAS:
        compare(s, cpu->regs[R_RAX], load(s, R_RDI, SEG_ES));
        advance(s, R_RDI);
        break;
    case STRING_INS: {
        uint16_t port = (uint16_t)cpu->regs[R_RDX];
        uint64_t lin = seg_linear(cpu, SEG_ES, offset_of(s, R_RDI), s->size, true);
        mmu_probe(cpu, lin, s->size, true, s->mode); /* the port is read only if it can be stored */
        uint32_t v = helper_in(cpu, port, s->size);
        x86_st(cpu, SEG_ES, offset_of(s, R_RDI), s->size, v);
        advance(s, R_RDI);
        break;
    }
    default: {
        uint16_t port = (uint16_t)cpu->regs[R_RDX];
        helper_out(cpu, port, (uint32_t)load(s, R_RSI, s->seg), s->size);
        advance(s, R_RSI);
        break;
    }
    }
}

/* ---- a page at a time ---- */

/* Bytes from an offset to the end of its page, without wrap-around; 0: go one by one. */
static uint64_t span(const String *s, uint64_t offset, uint64_t lin)
{
    uint64_t room = 4096 - (lin & 4095);
    uint64_t wrap = addr_mask(s) - offset;
    return wrap < room ? 0 : room;
}

static bool segment_linear(const String *s, unsigned seg, uint64_t offset, uint64_t *lin)
{
    CPUX86 *cpu = s->cpu;
    if (cpu->hflags & HF_CS64) {
        *lin = offset + (seg >= SEG_FS ? cpu->segs[seg].base : 0);
        return true;
    }
    if ((cpu->hflags & HF_FLAT) && (seg == SEG_DS || seg == SEG_ES || seg == SEG_SS)) {
        *lin = (uint32_t)offset;
        return true;
    }
    /* Other segments: the whole page must lie within the limit. */
    const Segment *d = &cpu->segs[seg];
    if ((d->attr & (SEG_TYPE_CODE | SEG_TYPE_DC)) || !(d->attr & SEG_TYPE_RW) ||
        (d->attr & SEG_UNUSABLE) || !(d->attr & SEG_P) || offset > d->limit ||
        d->limit - offset < 4096) {
        return false;
    }
    *lin = (uint32_t)(offset + d->base);
    return true;
}

static void fill_memory(uint8_t *p, uint64_t v, unsigned size, uint64_t n)
{
    if (size == 1) {
        memset(p, (int)(v & 0xff), n);
        return;
    }
    for (uint64_t i = 0; i < n; i++) {
        memcpy(p + i * size, &v, size);
    }
}

/* Forward copy as the instruction does it: overlapping ranges repeat what was written. */
static void copy_memory(uint8_t *d, const uint8_t *src, unsigned size, uint64_t n)
{
    if (d <= src || d >= src + n * size) {
        memmove(d, src, n * size);
        return;
    }
    for (uint64_t i = 0; i < n; i++) {
        uint64_t v;
        memcpy(&v, src + i * size, size);
        memcpy(d + i * size, &v, size);
    }
}

/* Does up to `count` iterations at once; returns how many, 0 if it cannot. */
static uint64_t bulk(const String *s, uint64_t count)
{
    CPUX86 *cpu = s->cpu;
    uint64_t di = offset_of(s, R_RDI), si = offset_of(s, R_RSI), dl, sl = 0;
    if (s->step < 0 || (s->kind != STRING_MOVS && s->kind != STRING_STOS) || count < 2 ||
        (cpu->hflags & (HF_DATA_BP | HF_ALIGN_CHECK | HF_TF)) || tcg_cpu(cpu)->stepping ||
        !segment_linear(s, SEG_ES, di, &dl)) {
        return 0;
    }
    uint64_t bytes = span(s, di, dl);
    if (s->kind == STRING_MOVS) {
        if (!segment_linear(s, s->seg, si, &sl)) {
            return 0;
        }
        uint64_t b = span(s, si, sl);
        bytes = b < bytes ? b : bytes;
    }
    uint64_t n = bytes / s->size;
    n = n < count ? n : count;
    if (n < 2) {
        return 0;
    }
    const uint8_t *src = NULL;
    if (s->kind == STRING_MOVS) {
        src = tcg_host_span(cpu, sl, false, s->mode);
        if (!src) {
            return 0;
        }
    }
    uint8_t *dst = tcg_host_span(cpu, dl, true, s->mode);
    if (!dst) {
        return 0;
    }
    if (src) {
        copy_memory(dst, src, s->size, n);
        set_addr_reg(s, R_RSI, si + n * s->size);
    } else {
        fill_memory(dst, cpu->regs[R_RAX], s->size, n);
    }
    set_addr_reg(s, R_RDI, di + n * s->size);
    return n;
}

static uint64_t element(const uint8_t *p, unsigned size, uint64_t i)
{
    uint64_t v = 0;
    memcpy(&v, p + i * size, size);
    return v;
}

/* The first of n elements that equals v (or differs from it); n: none. */
static uint64_t find_value(const uint8_t *p, unsigned size, uint64_t n, uint64_t v, bool equal)
{
    if (size == 1 && equal) {
        const uint8_t *hit = memchr(p, (int)(v & 0xff), n);
        return hit ? (uint64_t)(hit - p) : n;
    }
    for (uint64_t i = 0; i < n; i++) {
        if ((element(p, size, i) == v) == equal) {
            return i;
        }
    }
    return n;
}

/* The first of n elements that is the same (or not) in both; n: none. */
static uint64_t find_pair(const uint8_t *p, const uint8_t *q, unsigned size, uint64_t n, bool equal)
{
    uint64_t i = 0;
    if (!equal) { /* skip what is the same, eight bytes a time */
        for (uint64_t a, b; (i + 1) * 8 <= n * size; i++) {
            memcpy(&a, p + i * 8, 8);
            memcpy(&b, q + i * 8, 8);
            if (a != b) {
                break;
            }
        }
        i = i * 8 / size;
    }
    for (; i < n; i++) {
        if ((element(p, size, i) == element(q, size, i)) == equal) {
            return i;
        }
    }
    return n;
}

/* Iterations of SCAS, CMPS done at once, with the flags of the last; 0 if it cannot. */
static uint64_t bulk_compare(const String *s, uint64_t count, bool equal)
{
    CPUX86 *cpu = s->cpu;
    uint64_t di = offset_of(s, R_RDI), si = offset_of(s, R_RSI), dl, sl = 0;
    if (s->step < 0 || count < 2 || (cpu->hflags & (HF_DATA_BP | HF_ALIGN_CHECK | HF_TF)) ||
        tcg_cpu(cpu)->stepping || !segment_linear(s, SEG_ES, di, &dl)) {
        return 0;
    }
    uint64_t bytes = span(s, di, dl);
    const uint8_t *src = NULL;
    if (s->kind == STRING_CMPS) {
        if (!segment_linear(s, s->seg, si, &sl)) {
            return 0;
        }
        bytes = MIN(bytes, span(s, si, sl));
    }
    uint64_t n = MIN(bytes / s->size, count);
    if (n < 2) {
        return 0;
    }
    if (s->kind == STRING_CMPS && !(src = tcg_host_span(cpu, sl, false, s->mode))) {
        return 0;
    }
    const uint8_t *dst = tcg_host_span(cpu, dl, false, s->mode);
    if (!dst) {
        return 0;
    }
    uint64_t acc =
        s->size == 8 ? cpu->regs[R_RAX] : cpu->regs[R_RAX] & (((uint64_t)1 << (s->size * 8)) - 1);
    uint64_t last =
        src ? find_pair(src, dst, s->size, n, equal) : find_value(dst, s->size, n, acc, equal);
    last = MIN(last, n - 1);
    compare(s, src ? element(src, s->size, last) : acc, element(dst, s->size, last));
    if (src) {
        set_addr_reg(s, R_RSI, si + (last + 1) * s->size);
    }
    set_addr_reg(s, R_RDI, di + (last + 1) * s->size);
    return last + 1;
}

static bool must_pause(const CPUX86 *cpu)
{
    return (__atomic_load_n(&cpu->irq_pending, __ATOMIC_RELAXED) & tcg_irq_mask(cpu)) ||
           (cpu->hflags & (HF_TF | HF_CODE_BP | HF_DATA_BP)) || tcg_cpu(cpu)->leave ||
           tcg_cpu(cpu)->stepping || tcg_cpu(cpu)->hit;
}

/* true: finished, go on; false: to be continued at the same rip. */
static bool repeat(const String *s, bool until_zf)
{
    CPUX86 *cpu = s->cpu;
    bool conditional = s->kind == STRING_CMPS || s->kind == STRING_SCAS;
    for (;;) {
        uint64_t count = offset_of(s, R_RCX);
        if (!count) {
            return true;
        }
        uint64_t n = conditional ? bulk_compare(s, count, until_zf) : bulk(s, count);
        if (!n) {
            iterate(s);
            n = 1;
        }
        set_addr_reg(s, R_RCX, count - n);
        if (conditional && !(cpu->rflags & FLAG_ZF) == !until_zf) {
            return true;
        }
        if (count == n) {
            return true;
        }
        if (must_pause(cpu)) {
            return false;
        }
    }
}

static bool h_string(CPUX86 *cpu, const IrOp *op)
{
    String s = {.cpu = cpu,
                .kind = (unsigned)op->disp & STRING_KIND,
                .size = op->size,
                .seg = op->seg,
                .addrsize = op->flags & IRF_A16   ? 2
                            : op->flags & IRF_A32 ? 4
                                                  : 8,
                .mode = mmu_mode(cpu)};
    s.step = cpu->rflags & FLAG_DF ? -(int64_t)op->size : (int64_t)op->size;
    if (s.kind == STRING_INS || s.kind == STRING_OUTS) { /* even when nothing is left to do */
        helper_check_io(cpu, (uint16_t)cpu->regs[R_RDX], s.size);
        svm_note(cpu, op_next_rip(cpu, op));
        svm_check_io(cpu, (uint16_t)cpu->regs[R_RDX], s.size, s.kind == STRING_INS,
                     SVM_IO_STRING | (op->disp & (STRING_REP | STRING_REPNE) ? SVM_IO_REP : 0),
                     s.addrsize, s.kind == STRING_INS ? SEG_ES : s.seg);
    }
    if (op->disp & (STRING_REP | STRING_REPNE)) {
        return repeat(&s, op->disp & STRING_REPNE);
    }
    iterate(&s);
    return true;
}

const IrHelper int_string = {.name = "string", .fn = h_string, .effects = HE_ANY};

/* ---- translation ---- */

bool tr_string(Translator *t)
{
    static const uint8_t kinds[] = {STRING_MOVS, STRING_CMPS, STRING_STOS, STRING_LODS,
                                    STRING_SCAS, STRING_INS,  STRING_OUTS};
    const DecodedInsn *in = t->in;
    if (in->op < OP_MOVS || in->op > OP_OUTS) {
        return false;
    }
    unsigned size = 0;
    for (unsigned i = 0; i < 2; i++) {
        if (in->operand[i].kind == OK_STR_X || in->operand[i].kind == OK_STR_Y) {
            size = in->operand[i].size;
        }
    }
    IrOp *o = tr_callx(t, &int_string);
    o->size = (uint8_t)size;
    o->seg = in->seg;
    o->flags = in->addrsize == 8 ? 0 : in->addrsize == 4 ? IRF_A32 : IRF_A16;
    o->disp = kinds[in->op - OP_MOVS];
    if (in->rep) {
        o->disp |= STRING_REP;
    } else if (in->repne) {
        o->disp |= in->op == OP_CMPS || in->op == OP_SCAS ? STRING_REPNE : STRING_REP;
    }
    if (in->op == OP_INS || in->op == OP_OUTS) {
        tr_exit_next(t); /* devices may have asked for anything */
    }
    return true;
}
