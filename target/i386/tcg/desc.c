/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors and stacks: the common ground of events, far branches and tasks. */
#include "target/i386/tcg/desc.h"

#include "util/log.h"

#include <inttypes.h>

void log_far_transfer(const CPUX86 *cpu, const char *what, uint16_t sel, uint64_t off)
{
    if (log_enabled(LOG_PCALL) && in_protected(cpu)) {
        log_printf("cpu %u: %s %04x:%016" PRIx64 ", cpl %u, at %04x:%016" PRIx64
                   " sp %04x:%016" PRIx64 "\n",
                   cpu->index, what, sel, off, cpu_cpl(cpu), cpu->segs[SEG_CS].selector, cpu->rip,
                   cpu->segs[SEG_SS].selector, cpu->regs[R_RSP]);
    }
}

uint64_t system_linear(const CPUX86 *cpu, uint64_t base, uint64_t offset)
{
    uint64_t linear = base + offset;

    return in_long_mode(cpu) ? linear : linear & UINT32_MAX;
}

bool desc_read_system(CPUX86 *cpu, uint16_t sel, bool wide, Desc *d)
{
    uint64_t base = cpu->gdtr.base;
    uint32_t limit = cpu->gdtr.limit;
    uint32_t offset = sel & 0xfff8u;
    uint64_t v;

    if (sel & 4) {
        if (is_null_selector(cpu->ldtr.selector) || !(cpu->ldtr.attr & SEG_P)) {
            return false;
        }
        base = cpu->ldtr.base;
        limit = cpu->ldtr.limit;
    }
    if (offset + (wide ? 15 : 7) > limit) {
        return false;
    }
    d->addr = system_linear(cpu, base, offset);
    v = mmu_ld64(cpu, d->addr, MMU_KERNEL);
    d->lo = (uint32_t)v;
    d->hi = (uint32_t)(v >> 32);
    d->hi2 = 0;
    if (wide) {
        v = mmu_ld64(cpu, system_linear(cpu, base, offset + 8u), MMU_KERNEL);
        d->hi2 = (uint32_t)v;
        /* Bits 8-12 of the last double word would make it look like a descriptor: reserved. */
        if (v >> 40 & 0x1f) {
            d->hi &= ~0x1f00u; /* type 0 is reserved: every check refuses it */
        }
    }
    return true;
}

bool desc_read(CPUX86 *cpu, uint16_t sel, Desc *d)
{
    return desc_read_system(cpu, sel, false, d);
}

void desc_fetch(CPUX86 *cpu, uint16_t sel, int vector, uint32_t ext, Desc *d)
{
    if (!desc_read(cpu, sel, d)) {
        raise_selector(cpu, vector, sel, ext);
    }
}

void desc_mark(CPUX86 *cpu, Desc *d, uint8_t set, uint8_t clear)
{
    uint64_t linear = d->addr + 5;
    uint8_t *host = mmu_atomic_ptr(cpu, linear, 1, MMU_KERNEL);

    d->hi = (d->hi | (uint32_t)set << 8) & ~((uint32_t)clear << 8);
    if (host) {
        __atomic_or_fetch(host, set, __ATOMIC_SEQ_CST);
        if (clear) {
            __atomic_and_fetch(host, (uint8_t)~clear, __ATOMIC_SEQ_CST);
        }
        return;
    }
    mmu_probe(cpu, linear, 1, true, MMU_KERNEL);
    mmu_exclusive_begin(cpu);
    mmu_st8(cpu, linear, (uint8_t)((mmu_ld8(cpu, linear, MMU_KERNEL) | set) & ~clear), MMU_KERNEL);
    mmu_exclusive_end(cpu);
}

void desc_to_segment(CPUX86 *cpu, uint16_t sel, Desc *d, Segment *out)
{
    if (desc_is_code_or_data(d) && !(desc_type(d) & SEG_TYPE_ACCESSED)) {
        desc_mark(cpu, d, SEG_TYPE_ACCESSED, 0);
    }
    *out = (Segment){.selector = sel,
                     .base = desc_base(d),
                     .limit = desc_limit(d),
                     .attr = (uint16_t)((d->hi >> 8 & 0xff) | (d->hi >> 12 & 0xf00))};
}

void load_cs(CPUX86 *cpu, uint16_t sel, Desc *d, unsigned cpl)
{
    desc_to_segment(cpu, (uint16_t)((sel & ~3u) | cpl), d, &cpu->segs[SEG_CS]);
    cpu_update_hflags(cpu);
}

void load_null(CPUX86 *cpu, unsigned seg, uint16_t sel)
{
    cpu->segs[seg] = (Segment){.selector = sel, .attr = SEG_UNUSABLE};
}

void load_vm86_segment(CPUX86 *cpu, unsigned seg, uint16_t sel)
{
    cpu->segs[seg] = (Segment){
        .selector = sel, .base = (uint32_t)sel << 4, .limit = 0xffff, .attr = SEG_P | SEG_S | 0x63};
}

void load_real_segment(CPUX86 *cpu, unsigned seg, uint16_t sel)
{
    Segment *s = &cpu->segs[seg];

    if (s->attr & SEG_UNUSABLE) {
        s->limit = 0xffff;
        s->attr = 0;
    }
    s->selector = sel;
    s->base = (uint32_t)sel << 4;
    s->attr = (uint16_t)((s->attr & (SEG_DB | SEG_G)) | SEG_P | SEG_S | SEG_TYPE_RW |
                         SEG_TYPE_ACCESSED | (seg == SEG_CS ? SEG_TYPE_CODE : 0));
}

void check_code_offset(CPUX86 *cpu, const Desc *d, uint64_t offset, uint32_t ext)
{
    bool bad;

    if (in_long_mode(cpu) && desc_long(d)) {
        bad = !x86_is_canonical(cpu, offset);
    } else {
        bad = offset > desc_limit(d);
    }
    if (bad) {
        x86_raise_error(cpu, EXC_GP, ext);
    }
}

bool segment_contains(const Segment *s, uint64_t offset, unsigned size)
{
    uint64_t last = offset + size - 1;

    if ((s->attr & (SEG_TYPE_CODE | SEG_TYPE_DC)) == SEG_TYPE_DC) {
        return offset > s->limit && last <= (s->attr & SEG_DB ? UINT32_MAX : 0xffffu);
    }
    return last <= s->limit;
}

void drop_privileged_segments(CPUX86 *cpu)
{
    static const uint8_t data[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
    unsigned cpl = cpu_cpl(cpu);

    for (unsigned i = 0; i < G_N_ELEMENTS(data); i++) {
        Segment *s = &cpu->segs[data[i]];
        unsigned dpl = (s->attr >> SEG_DPL_SHIFT) & 3;
        bool conforming =
            (s->attr & (SEG_TYPE_CODE | SEG_TYPE_DC)) == (SEG_TYPE_CODE | SEG_TYPE_DC);

        if (s->attr & SEG_UNUSABLE) {
            s->selector = 0; /* a null selector loses its RPL */
        } else if (dpl < cpl && !conforming) {
            /* The base survives, as on both vendors' chips; it is unreachable. */
            s->selector = 0;
            s->attr = SEG_UNUSABLE;
        }
    }
}

/* ---- stacks ---- */

static MmuMode mode_for_cpl(const CPUX86 *cpu, unsigned cpl)
{
    if (cpl == 3) {
        return MMU_USER;
    }
    return (cpu->hflags & (HF_SMAP | HF_AC)) == (HF_SMAP | HF_AC) ? MMU_KERNEL_AC : MMU_KERNEL;
}

void stack_open_inner(CPUX86 *cpu, Stack *s, const Segment *ss, uint64_t sp, unsigned cpl,
                      bool long_mode, uint32_t error)
{
    *s = (Stack){.cpu = cpu, .ss = *ss, .sp = sp, .error = error, .long_mode = long_mode};
    s->mode = mode_for_cpl(cpu, cpl);
    if (long_mode) {
        s->mask = UINT64_MAX;
    } else {
        s->mask = ss->attr & SEG_DB ? UINT32_MAX : 0xffff;
    }
    s->sp &= s->mask;
}

void stack_open(CPUX86 *cpu, Stack *s, uint32_t error)
{
    stack_open_inner(cpu, s, &cpu->segs[SEG_SS], cpu->regs[R_RSP], cpu_cpl(cpu),
                     cpu->hflags & HF_CS64, error);
}

static uint64_t stack_linear(const Stack *s, uint64_t sp, unsigned size)
{
    if (s->long_mode) {
        if (!x86_is_canonical(s->cpu, sp) || !x86_is_canonical(s->cpu, sp + size - 1)) {
            x86_raise_error(s->cpu, EXC_SS, s->error);
        }
        return sp;
    }
    if (!segment_contains(&s->ss, sp, size)) {
        x86_raise_error(s->cpu, EXC_SS, s->error);
    }
    return (s->ss.base + sp) & UINT32_MAX;
}

void stack_push(Stack *s, unsigned size, uint64_t value)
{
    uint64_t sp = (s->sp - size) & s->mask;
    uint64_t linear = stack_linear(s, sp, size);

    switch (size) {
    case 2:
        mmu_st16(s->cpu, linear, (uint16_t)value, s->mode);
        break;
    case 4:
        mmu_st32(s->cpu, linear, (uint32_t)value, s->mode);
        break;
    default:
        mmu_st64(s->cpu, linear, value, s->mode);
        break;
    }
    s->sp = sp;
}

uint64_t stack_pop(Stack *s, unsigned size)
{
    uint64_t linear = stack_linear(s, s->sp, size), value;

    switch (size) {
    case 2:
        value = mmu_ld16(s->cpu, linear, s->mode);
        break;
    case 4:
        value = mmu_ld32(s->cpu, linear, s->mode);
        break;
    default:
        value = mmu_ld64(s->cpu, linear, s->mode);
        break;
    }
    s->sp = (s->sp + size) & s->mask;
    return value;
}

void stack_commit(const Stack *s)
{
    uint64_t *rsp = &s->cpu->regs[R_RSP];

    *rsp = s->mask == 0xffff ? (*rsp & ~0xffffull) | s->sp : s->sp;
}

/* ---- stacks out of the TSS ---- */

void tss_inner_stack(CPUX86 *cpu, unsigned dpl, uint32_t ext, Segment *ss, uint64_t *sp)
{
    bool tss32 = cpu->tr.attr & 8;
    uint32_t offset = tss32 ? dpl * 8 + 4 : dpl * 4 + 2;
    uint16_t sel;
    Desc d;

    if (offset + (tss32 ? 5 : 3) > cpu->tr.limit) {
        raise_selector(cpu, EXC_TS, cpu->tr.selector, ext);
    }
    if (tss32) {
        *sp = mmu_ld32(cpu, system_linear(cpu, cpu->tr.base, offset), MMU_KERNEL);
        sel = mmu_ld16(cpu, system_linear(cpu, cpu->tr.base, offset + 4u), MMU_KERNEL);
    } else {
        *sp = mmu_ld16(cpu, system_linear(cpu, cpu->tr.base, offset), MMU_KERNEL);
        sel = mmu_ld16(cpu, system_linear(cpu, cpu->tr.base, offset + 2u), MMU_KERNEL);
    }
    if (is_null_selector(sel)) {
        x86_raise_error(cpu, EXC_TS, ext);
    }
    desc_fetch(cpu, sel, EXC_TS, ext, &d);
    if ((sel & 3) != dpl || desc_dpl(&d) != dpl || !desc_is_writable_data(&d)) {
        raise_selector(cpu, EXC_TS, sel, ext);
    }
    if (!desc_present(&d)) {
        raise_selector(cpu, EXC_SS, sel, ext);
    }
    desc_to_segment(cpu, sel, &d, ss);
}

uint64_t tss_long_stack(CPUX86 *cpu, unsigned slot, uint32_t ext)
{
    uint32_t offset = 4 + slot * 8;
    uint64_t rsp;

    if (offset + 7 > cpu->tr.limit) {
        raise_selector(cpu, EXC_TS, cpu->tr.selector, ext);
    }
    rsp = mmu_ld64(cpu, cpu->tr.base + offset, MMU_KERNEL);
    if (!x86_is_canonical(cpu, rsp)) {
        x86_raise_error(cpu, EXC_SS, ext);
    }
    return rsp;
}

Segment long_null_ss(unsigned cpl)
{
    return (Segment){.selector = (uint16_t)cpl,
                     .attr = (uint16_t)(SEG_UNUSABLE | cpl << SEG_DPL_SHIFT)};
}
