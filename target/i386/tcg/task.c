/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hardware task switches; SDM vol. 3 chapter 8.3. */
#include "target/i386/tcg/desc.h"
#include "target/i386/tcg/svm.h"

#define TSS32_MIN_LIMIT 0x67
#define TSS16_MIN_LIMIT 0x2b
#define DR6_BT (1u << 15)
#define DR7_LOCAL 0x155u /* L0-L3 and LE */
#define BUSY 2

/* Segment registers in the order of a TSS. */
static const uint8_t tss_segs[] = {SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS};

/* The dynamic part of a TSS of either size. */
typedef struct TssImage {
    uint32_t cr3, eip, eflags, regs[8];
    uint16_t segs[SEG_COUNT], ldt;
    bool trap;
} TssImage;

typedef struct Task {
    uint16_t sel;
    Desc desc;
    uint64_t base;
    uint32_t limit;
    bool wide; /* 32-bit TSS */
} Task;

static uint64_t tss_addr(const CPUX86 *cpu, uint64_t base, unsigned offset)
{
    return system_linear(cpu, base, offset);
}

static uint32_t tss_ld(CPUX86 *cpu, const Task *t, unsigned offset, unsigned size)
{
    uint64_t a = tss_addr(cpu, t->base, offset);

    return size == 2 ? mmu_ld16(cpu, a, MMU_KERNEL) : mmu_ld32(cpu, a, MMU_KERNEL);
}

static void tss_st(CPUX86 *cpu, const Task *t, unsigned offset, unsigned size, uint32_t v)
{
    uint64_t a = tss_addr(cpu, t->base, offset);

    if (size == 2) {
        mmu_st16(cpu, a, (uint16_t)v, MMU_KERNEL);
    } else {
        mmu_st32(cpu, a, v, MMU_KERNEL);
    }
}

/* Offsets of EIP (followed by EFLAGS and the registers), ES … and LDT. */
static unsigned off_eip(const Task *t)
{
    return t->wide ? 0x20 : 0x0e;
}
static unsigned off_segs(const Task *t)
{
    return t->wide ? 0x48 : 0x22;
}
static unsigned off_ldt(const Task *t)
{
    return t->wide ? 0x60 : 0x2a;
}

static void load_image(CPUX86 *cpu, const Task *t, TssImage *im)
{
    unsigned w = t->wide ? 4 : 2, segments = t->wide ? 6 : 4;

    memset(im, 0, sizeof(*im));
    im->cr3 = t->wide ? tss_ld(cpu, t, 0x1c, 4) : 0;
    im->eip = tss_ld(cpu, t, off_eip(t), w);
    im->eflags = tss_ld(cpu, t, off_eip(t) + w, w);
    for (unsigned i = 0; i < 8; i++) {
        im->regs[i] = tss_ld(cpu, t, off_eip(t) + (2 + i) * w, w);
        if (!t->wide) {
            im->regs[i] |= 0xffff0000u; /* undefined by the manuals; what chips do */
        }
    }
    for (unsigned i = 0; i < segments; i++) {
        im->segs[tss_segs[i]] = (uint16_t)tss_ld(cpu, t, off_segs(t) + i * w, 2);
    }
    im->ldt = (uint16_t)tss_ld(cpu, t, off_ldt(t), 2);
    im->trap = t->wide && (tss_ld(cpu, t, 0x64, 2) & 1);
}

static void save_image(CPUX86 *cpu, const Task *t, uint32_t eip, uint32_t eflags)
{
    unsigned w = t->wide ? 4 : 2, segments = t->wide ? 6 : 4;

    tss_st(cpu, t, off_eip(t), w, eip);
    tss_st(cpu, t, off_eip(t) + w, w, eflags);
    for (unsigned i = 0; i < 8; i++) {
        tss_st(cpu, t, off_eip(t) + (2 + i) * w, w, (uint32_t)cpu->regs[i]);
    }
    for (unsigned i = 0; i < segments; i++) {
        tss_st(cpu, t, off_segs(t) + i * w, 2, cpu->segs[tss_segs[i]].selector);
    }
}

/* Type and presence of the incoming TSS; which vector depends on who asks. */
static void fetch_task(CPUX86 *cpu, uint16_t sel, TaskSwitchKind kind, uint32_t ext, Task *t)
{
    int vector = kind == TASK_IRET ? EXC_TS : EXC_GP;
    unsigned type, want16, want32;

    if (is_null_selector(sel) || (sel & 4) || !desc_read(cpu, sel, &t->desc)) {
        raise_selector(cpu, vector, sel, ext);
    }
    type = desc_type(&t->desc);
    want16 = kind == TASK_IRET ? DESC_TSS16_BUSY : DESC_TSS16_AVAIL;
    want32 = kind == TASK_IRET ? DESC_TSS32_BUSY : DESC_TSS32_AVAIL;
    if (desc_is_code_or_data(&t->desc) || (type != want16 && type != want32)) {
        raise_selector(cpu, vector, sel, ext);
    }
    if (!desc_present(&t->desc)) {
        raise_selector(cpu, EXC_NP, sel, ext);
    }
    t->sel = sel;
    t->wide = type & 8;
    t->base = desc_base(&t->desc);
    t->limit = desc_limit(&t->desc);
    if (t->limit < (t->wide ? TSS32_MIN_LIMIT : TSS16_MIN_LIMIT)) {
        raise_selector(cpu, EXC_TS, sel, ext);
    }
}

static void current_task(CPUX86 *cpu, uint32_t ext, Task *t)
{
    t->sel = cpu->tr.selector;
    t->wide = cpu->tr.attr & 8;
    t->base = cpu->tr.base;
    t->limit = cpu->tr.limit;
    if (!desc_read(cpu, t->sel, &t->desc) ||
        t->limit < (t->wide ? TSS32_MIN_LIMIT : TSS16_MIN_LIMIT)) {
        raise_selector(cpu, EXC_TS, t->sel, ext);
    }
}

/* Everything that will be written is made sure of, so that the switch cannot stop half way. */
static void probe_tasks(CPUX86 *cpu, const Task *old, const Task *next, bool link)
{
    mmu_probe(cpu, tss_addr(cpu, old->base, off_eip(old)), off_ldt(old) - off_eip(old), true,
              MMU_KERNEL);
    mmu_probe(cpu, old->desc.addr, 8, true, MMU_KERNEL);
    mmu_probe(cpu, next->desc.addr, 8, true, MMU_KERNEL);
    if (link) {
        mmu_probe(cpu, tss_addr(cpu, next->base, 0), 2, true, MMU_KERNEL);
    }
}

/* ---- in the new task: faults are its own from here on ---- */

static void load_task_ldt(CPUX86 *cpu, uint16_t sel, uint32_t ext)
{
    Desc d;

    cpu->ldtr = (Segment){.selector = sel, .attr = SEG_UNUSABLE};
    if (is_null_selector(sel)) {
        return;
    }
    if ((sel & 4) || !desc_read(cpu, sel, &d) || desc_is_code_or_data(&d) ||
        desc_type(&d) != DESC_LDT || !desc_present(&d)) {
        raise_selector(cpu, EXC_TS, sel, ext);
    }
    desc_to_segment(cpu, sel, &d, &cpu->ldtr);
}

static void load_task_cs(CPUX86 *cpu, uint16_t sel, uint32_t ext)
{
    unsigned rpl = sel & 3;
    Desc d;

    if (is_null_selector(sel)) {
        raise_selector(cpu, EXC_TS, sel, ext);
    }
    desc_fetch(cpu, sel, EXC_TS, ext, &d);
    if (!desc_is_code(&d) || (desc_is_conforming(&d) ? desc_dpl(&d) > rpl : desc_dpl(&d) != rpl)) {
        raise_selector(cpu, EXC_TS, sel, ext);
    }
    if (!desc_present(&d)) {
        raise_selector(cpu, EXC_NP, sel, ext);
    }
    load_cs(cpu, sel, &d, rpl);
}

static void load_task_ss(CPUX86 *cpu, uint16_t sel, uint32_t ext)
{
    unsigned cpl = cpu->segs[SEG_CS].selector & 3;
    Desc d;

    if (is_null_selector(sel)) {
        raise_selector(cpu, EXC_TS, sel, ext);
    }
    desc_fetch(cpu, sel, EXC_TS, ext, &d);
    if ((sel & 3u) != cpl || desc_dpl(&d) != cpl || !desc_is_writable_data(&d)) {
        raise_selector(cpu, EXC_TS, sel, ext);
    }
    if (!desc_present(&d)) {
        raise_selector(cpu, EXC_SS, sel, ext);
    }
    desc_to_segment(cpu, sel, &d, &cpu->segs[SEG_SS]);
}

static void load_task_data(CPUX86 *cpu, unsigned seg, uint16_t sel, uint32_t ext)
{
    unsigned cpl = cpu->segs[SEG_CS].selector & 3;
    Desc d;

    if (is_null_selector(sel)) {
        return;
    }
    desc_fetch(cpu, sel, EXC_TS, ext, &d);
    if (!desc_is_readable(&d) ||
        (!desc_is_conforming(&d) && (desc_dpl(&d) < cpl || desc_dpl(&d) < (unsigned)(sel & 3)))) {
        raise_selector(cpu, EXC_TS, sel, ext);
    }
    if (!desc_present(&d)) {
        raise_selector(cpu, EXC_NP, sel, ext);
    }
    desc_to_segment(cpu, sel, &d, &cpu->segs[seg]);
}

static void load_task_segments(CPUX86 *cpu, const TssImage *im, uint32_t ext)
{
    if (im->eflags & FLAG_VM) {
        for (unsigned i = 0; i < SEG_COUNT; i++) {
            load_vm86_segment(cpu, i, im->segs[i]);
        }
        cpu_update_hflags(cpu);
        load_task_ldt(cpu, im->ldt, ext);
        return;
    }
    /* Selectors are all in place, hidden parts invalid, when a descriptor turns out bad. */
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        load_null(cpu, i, im->segs[i]);
    }
    cpu->segs[SEG_SS].attr |= (uint16_t)((im->segs[SEG_CS] & 3) << SEG_DPL_SHIFT);
    cpu_update_hflags(cpu);
    load_task_ldt(cpu, im->ldt, ext);
    load_task_cs(cpu, im->segs[SEG_CS], ext);
    load_task_ss(cpu, im->segs[SEG_SS], ext);
    cpu_update_hflags(cpu);
    load_task_data(cpu, SEG_DS, im->segs[SEG_DS], ext);
    load_task_data(cpu, SEG_ES, im->segs[SEG_ES], ext);
    load_task_data(cpu, SEG_FS, im->segs[SEG_FS], ext);
    load_task_data(cpu, SEG_GS, im->segs[SEG_GS], ext);
    cpu_update_hflags(cpu);
}

static void load_task_cr3(CPUX86 *cpu, const Task *t, uint32_t cr3, uint32_t ext)
{
    if (!t->wide || !(cpu->cr0 & CR0_PG)) {
        return;
    }
    if ((cpu->cr4 & CR4_PAE) && !x86_load_pdptes(cpu, cr3)) {
        raise_selector(cpu, EXC_TS, t->sel, ext);
    }
    cpu->cr3 = cr3;
    mmu_flush_nonglobal(cpu);
    mmu_context_changed(cpu);
}

static void enter_task(CPUX86 *cpu, const Task *t, const TssImage *im, uint32_t ext)
{
    for (unsigned i = 0; i < 8; i++) {
        cpu->regs[i] = im->regs[i];
    }
    cpu->rip = im->eip;
    cpu->rflags = (im->eflags & 0x3f7fd5) | FLAG_ONE;
    cpu->dr[7] &= ~(uint64_t)DR7_LOCAL;
    cpu->cr0 |= CR0_TS;
    load_task_cr3(cpu, t, im->cr3, ext);
    load_task_segments(cpu, im, ext);
    if (cpu->rip > cpu->segs[SEG_CS].limit) {
        x86_raise_error(cpu, EXC_GP, ext);
    }
}

static void push_error_code(CPUX86 *cpu, const Task *t, uint32_t error)
{
    Stack s;

    stack_open(cpu, &s, ERR_EXT);
    stack_push(&s, t->wide ? 4 : 2, error);
    stack_commit(&s);
}

void task_switch(CPUX86 *cpu, uint16_t sel, TaskSwitchKind kind, uint32_t ext, bool has_error,
                 uint32_t error, uint64_t saved_rip, uint64_t saved_flags)
{
    bool nest = kind == TASK_CALL || kind == TASK_GATE;
    Task old = {0}, next = {0};
    TssImage im;

    svm_check_task_switch(cpu, sel, kind, has_error, error);
    fetch_task(cpu, sel, kind, ext, &next);
    current_task(cpu, ext, &old);
    load_image(cpu, &next, &im);
    probe_tasks(cpu, &old, &next, nest);

    if (kind == TASK_JUMP || kind == TASK_IRET) {
        desc_mark(cpu, &old.desc, 0, BUSY);
    }
    if (kind == TASK_IRET) {
        saved_flags &= ~(uint64_t)FLAG_NT;
    }
    save_image(cpu, &old, (uint32_t)saved_rip, (uint32_t)saved_flags);
    if (kind != TASK_IRET) {
        desc_mark(cpu, &next.desc, BUSY, 0);
    }
    if (old.base == next.base) {
        load_image(cpu, &next, &im); /* the task switches to itself */
    }
    if (nest) {
        tss_st(cpu, &next, 0, 2, old.sel);
        im.eflags |= FLAG_NT;
    }
    desc_to_segment(cpu, sel, &next.desc, &cpu->tr);
    cpu->tr.attr |= BUSY;
    enter_task(cpu, &next, &im, ext);
    if (has_error) {
        push_error_code(cpu, &next, error);
    }
    if (im.trap) {
        cpu->dr[6] |= DR6_BT;
        x86_raise(cpu, EXC_DB);
    }
}

void x86_task_switch(CPUX86 *cpu, uint16_t selector, TaskSwitchKind kind, bool has_error,
                     uint32_t error, uint64_t next_rip)
{
    task_switch(cpu, selector, kind, 0, has_error, error, next_rip, cpu->rflags);
}
