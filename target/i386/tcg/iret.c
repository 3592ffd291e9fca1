/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IRET and far RET: returns within a ring, to an outer ring, to virtual-8086 mode, to a task. */
#include "target/i386/tcg/desc.h"
#include "target/i386/tcg/svm.h"

#define FLAGS_USER \
    (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_TF | FLAG_DF | FLAG_OF | FLAG_NT)
#define FLAGS_USER_HIGH (FLAG_RF | FLAG_AC | FLAG_ID)

/* Replaces the bits of `mask` in RFLAGS. */
static void merge_flags(CPUX86 *cpu, uint64_t value, uint64_t mask)
{
    cpu->rflags = (cpu->rflags & ~mask) | (value & mask) | FLAG_ONE;
}

static uint64_t pop_flags_mask(unsigned opsize)
{
    return opsize == 2 ? 0xffff : UINT64_MAX;
}

static void iret_real(CPUX86 *cpu, unsigned opsize)
{
    uint64_t mask = FLAGS_USER | FLAG_IF | FLAG_IOPL | FLAGS_USER_HIGH;
    uint64_t ip, flags;
    uint16_t cs;
    Stack s;

    stack_open(cpu, &s, 0);
    ip = stack_pop(&s, opsize);
    cs = (uint16_t)stack_pop(&s, opsize);
    flags = stack_pop(&s, opsize);
    if (ip > cpu->segs[SEG_CS].limit) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    stack_commit(&s);
    load_real_segment(cpu, SEG_CS, cs);
    cpu->rip = ip;
    merge_flags(cpu, flags, mask & pop_flags_mask(opsize));
    cpu_update_hflags(cpu);
}

static void iret_vm86(CPUX86 *cpu, unsigned opsize)
{
    uint64_t mask = FLAGS_USER | FLAGS_USER_HIGH;
    uint64_t ip, flags;
    uint16_t cs;
    Stack s;

    if (cpu_iopl(cpu) < 3 && (!(cpu->cr4 & CR4_VME) || opsize != 2)) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    stack_open(cpu, &s, 0);
    ip = stack_pop(&s, opsize);
    cs = (uint16_t)stack_pop(&s, opsize);
    flags = stack_pop(&s, opsize);
    if (ip > 0xffff) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    if (cpu_iopl(cpu) == 3) {
        mask |= FLAG_IF;
    } else {
        if ((flags & FLAG_TF) || ((flags & FLAG_IF) && (cpu->rflags & FLAG_VIP))) {
            x86_raise_error(cpu, EXC_GP, 0);
        }
        merge_flags(cpu, flags & FLAG_IF ? FLAG_VIF : 0, FLAG_VIF);
    }
    stack_commit(&s);
    load_vm86_segment(cpu, SEG_CS, cs);
    cpu->rip = ip;
    merge_flags(cpu, flags, mask & pop_flags_mask(opsize));
    cpu_update_hflags(cpu);
}

static void iret_to_vm86(CPUX86 *cpu, Stack *s, uint64_t ip, uint16_t cs, uint64_t flags)
{
    static const uint8_t order[] = {SEG_SS, SEG_ES, SEG_DS, SEG_FS, SEG_GS};
    uint64_t sp = stack_pop(s, 4);
    uint16_t sel[G_N_ELEMENTS(order)];

    for (unsigned i = 0; i < G_N_ELEMENTS(order); i++) {
        sel[i] = (uint16_t)stack_pop(s, 4);
    }
    if ((uint32_t)ip > 0xffff) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    cpu->rflags = (flags & (FLAGS_USER | FLAGS_USER_HIGH | FLAG_IF | FLAG_IOPL | FLAG_VM |
                            FLAG_VIF | FLAG_VIP)) |
                  FLAG_ONE;
    load_vm86_segment(cpu, SEG_CS, cs);
    for (unsigned i = 0; i < G_N_ELEMENTS(order); i++) {
        load_vm86_segment(cpu, order[i], sel[i]);
    }
    cpu->regs[R_RSP] = sp;
    cpu->rip = (uint16_t)ip;
    cpu_update_hflags(cpu);
}

static void iret_task(CPUX86 *cpu, uint64_t next_rip)
{
    uint16_t link;

    if (in_long_mode(cpu)) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    link = mmu_ld16(cpu, system_linear(cpu, cpu->tr.base, 0), MMU_KERNEL);
    task_switch(cpu, link, TASK_IRET, 0, false, 0, next_rip, cpu->rflags);
}

/* CS of a return, checked; SDM vol. 2, RET and IRET. */
static void fetch_return_cs(CPUX86 *cpu, uint16_t sel, Desc *d)
{
    unsigned rpl = sel & 3;
    bool bad;

    if (is_null_selector(sel)) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    desc_fetch(cpu, sel, EXC_GP, 0, d);
    bad = !desc_is_code(d) || rpl < cpu_cpl(cpu);
    bad = bad || (desc_is_conforming(d) ? desc_dpl(d) > rpl : desc_dpl(d) != rpl);
    bad = bad || (in_long_mode(cpu) && desc_long(d) && desc_db(d));
    if (bad) {
        raise_selector(cpu, EXC_GP, sel, 0);
    }
    if (!desc_present(d)) {
        raise_selector(cpu, EXC_NP, sel, 0);
    }
}

/* SS of a return that changes stacks. */
static void fetch_return_ss(CPUX86 *cpu, uint16_t sel, unsigned rpl, const Desc *code, Segment *ss)
{
    Desc d;

    if (is_null_selector(sel)) {
        bool to64 = in_long_mode(cpu) && desc_long(code);

        if (!to64 || rpl == 3 || (sel & 3) != rpl) {
            x86_raise_error(cpu, EXC_GP, 0);
        }
        *ss = long_null_ss(rpl);
        return;
    }
    desc_fetch(cpu, sel, EXC_GP, 0, &d);
    if ((sel & 3) != rpl || !desc_is_writable_data(&d) || desc_dpl(&d) != rpl) {
        raise_selector(cpu, EXC_GP, sel, 0);
    }
    if (!desc_present(&d)) {
        raise_selector(cpu, EXC_SS, sel, 0);
    }
    desc_to_segment(cpu, sel, &d, ss);
}

/* RSP of the new stack: SP or ESP are all that 16- and 32-bit stacks get. */
static void set_return_rsp(CPUX86 *cpu, const Segment *ss, bool to64, uint64_t sp)
{
    if (to64) {
        cpu->regs[R_RSP] = sp;
    } else if (ss->attr & SEG_DB) {
        cpu->regs[R_RSP] = (uint32_t)sp;
    } else {
        cpu->regs[R_RSP] = (cpu->regs[R_RSP] & 0xffff0000) | (sp & 0xffff);
    }
}

static uint64_t iret_flags_mask(const CPUX86 *cpu, unsigned opsize)
{
    uint64_t mask = FLAGS_USER;

    if (opsize != 2) {
        mask |= FLAGS_USER_HIGH;
    }
    if (cpu_cpl(cpu) <= cpu_iopl(cpu)) {
        mask |= FLAG_IF;
    }
    if (cpu_cpl(cpu) == 0) {
        mask |= FLAG_IOPL;
        mask |= opsize != 2 ? FLAG_VIF | FLAG_VIP : 0;
    }
    return mask;
}

static void iret_protected(CPUX86 *cpu, unsigned opsize)
{
    uint64_t ip, flags, mask, sp = 0;
    uint16_t cs, ss_sel = 0;
    bool outer, to64, from64 = cpu->hflags & HF_CS64;
    Segment ss = cpu->segs[SEG_SS];
    Desc code;
    Stack s;

    stack_open(cpu, &s, 0);
    ip = stack_pop(&s, opsize);
    cs = (uint16_t)stack_pop(&s, opsize);
    flags = stack_pop(&s, opsize);
    if (opsize == 4 && (flags & FLAG_VM) && cpu_cpl(cpu) == 0 && !in_long_mode(cpu)) {
        iret_to_vm86(cpu, &s, ip, cs, flags);
        return;
    }
    fetch_return_cs(cpu, cs, &code);
    to64 = in_long_mode(cpu) && desc_long(&code);
    outer = (cs & 3u) > cpu_cpl(cpu);
    if (outer || from64) {
        sp = stack_pop(&s, opsize);
        ss_sel = (uint16_t)stack_pop(&s, opsize);
        fetch_return_ss(cpu, ss_sel, cs & 3, &code, &ss);
    }
    check_code_offset(cpu, &code, ip, 0);
    mask = iret_flags_mask(cpu, opsize);
    desc_to_segment(cpu, cs, &code, &(Segment){0});

    merge_flags(cpu, flags, mask);
    if (outer || from64) {
        cpu->segs[SEG_SS] = ss;
        set_return_rsp(cpu, &ss, to64, sp);
    } else {
        stack_commit(&s);
    }
    load_cs(cpu, cs, &code, cs & 3);
    cpu->rip = ip;
    if (outer) {
        drop_privileged_segments(cpu);
        cpu_update_hflags(cpu);
    }
}

/*
 * RF lasts for one instruction, and means something to code breakpoints alone: only with these
 * is each instruction a block of its own, after which it can be cleared (accel/tcg/tcg.c).
 */
static void limit_rf(CPUX86 *cpu)
{
    if (!(cpu->hflags & HF_CODE_BP)) {
        cpu->rflags &= ~(uint64_t)FLAG_RF;
    }
}

void helper_iret(CPUX86 *cpu, unsigned opsize, uint64_t next_rip)
{
    svm_check(cpu, SVM_EXIT_IRET);
    log_far_transfer(cpu, "interrupt return from", cpu->segs[SEG_CS].selector, cpu->rip);
    if (in_vm86(cpu)) {
        iret_vm86(cpu, opsize);
        cpu->nmi_masked = false;
        limit_rf(cpu);
        return;
    }
    /* IRET ends the blocking of NMIs even if it faults; SDM vol. 3, 6.7.1. */
    cpu->nmi_masked = false;
    if (!(cpu->hflags & HF_PE)) {
        iret_real(cpu, opsize);
    } else if (cpu->rflags & FLAG_NT) {
        iret_task(cpu, next_rip);
    } else {
        iret_protected(cpu, opsize);
    }
    limit_rf(cpu);
}

/* ---- far RET ---- */

static void ret_far_real(CPUX86 *cpu, unsigned opsize, uint16_t pop_bytes)
{
    uint64_t ip;
    uint16_t cs;
    Stack s;

    stack_open(cpu, &s, 0);
    ip = stack_pop(&s, opsize);
    cs = (uint16_t)stack_pop(&s, opsize);
    if (ip > (in_vm86(cpu) ? 0xffff : cpu->segs[SEG_CS].limit)) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    s.sp = (s.sp + pop_bytes) & s.mask;
    stack_commit(&s);
    if (in_vm86(cpu)) {
        load_vm86_segment(cpu, SEG_CS, cs);
    } else {
        load_real_segment(cpu, SEG_CS, cs);
    }
    cpu->rip = ip;
    cpu_update_hflags(cpu);
}

void helper_ret_far(CPUX86 *cpu, unsigned opsize, uint16_t pop_bytes, uint64_t next_rip)
{
    uint64_t ip, sp;
    uint16_t cs, ss_sel;
    Segment ss;
    Desc code;
    bool to64;
    Stack s;

    log_far_transfer(cpu, "far return from", cpu->segs[SEG_CS].selector, cpu->rip);
    if (!in_protected(cpu)) {
        ret_far_real(cpu, opsize, pop_bytes);
        return;
    }
    stack_open(cpu, &s, 0);
    ip = stack_pop(&s, opsize);
    cs = (uint16_t)stack_pop(&s, opsize);
    fetch_return_cs(cpu, cs, &code);
    to64 = in_long_mode(cpu) && desc_long(&code);
    s.sp = (s.sp + pop_bytes) & s.mask;
    if ((cs & 3u) == cpu_cpl(cpu)) {
        check_code_offset(cpu, &code, ip, 0);
        load_cs(cpu, cs, &code, cs & 3);
        stack_commit(&s);
        cpu->rip = ip;
        return;
    }
    sp = stack_pop(&s, opsize);
    ss_sel = (uint16_t)stack_pop(&s, opsize);
    fetch_return_ss(cpu, ss_sel, cs & 3, &code, &ss);
    check_code_offset(cpu, &code, ip, 0);
    desc_to_segment(cpu, cs, &code, &(Segment){0});
    cpu->segs[SEG_SS] = ss;
    set_return_rsp(cpu, &ss, to64, sp + pop_bytes);
    load_cs(cpu, cs, &code, cs & 3);
    cpu->rip = ip;
    drop_privileged_segments(cpu);
    cpu_update_hflags(cpu);
}
