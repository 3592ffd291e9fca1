/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Far jumps and calls: direct, through gates, to tasks; and the fast system calls. */
#include "target/i386/tcg/desc.h"

static uint64_t branch_offset(uint64_t off, unsigned opsize)
{
    return opsize == 2 ? (uint16_t)off : opsize == 4 ? (uint32_t)off : off;
}

static void branch_real(CPUX86 *cpu, uint16_t sel, uint64_t off)
{
    if (off > (in_vm86(cpu) ? 0xffff : cpu->segs[SEG_CS].limit)) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    if (in_vm86(cpu)) {
        load_vm86_segment(cpu, SEG_CS, sel);
    } else {
        load_real_segment(cpu, SEG_CS, sel);
    }
    cpu->rip = off;
    cpu_update_hflags(cpu);
}

/* A direct far branch's code segment stays in the ring. */
static void check_direct_code(CPUX86 *cpu, uint16_t sel, const Desc *d)
{
    unsigned cpl = cpu_cpl(cpu), rpl = sel & 3;
    bool bad;

    if (desc_is_conforming(d)) {
        bad = desc_dpl(d) > cpl;
    } else {
        bad = rpl > cpl || desc_dpl(d) != cpl;
    }
    if (bad || (in_long_mode(cpu) && desc_long(d) && desc_db(d))) {
        raise_selector(cpu, EXC_GP, sel, 0);
    }
    if (!desc_present(d)) {
        raise_selector(cpu, EXC_NP, sel, 0);
    }
}

/* DPL and presence of the gate or TSS that the selector names. */
static void check_system_access(CPUX86 *cpu, uint16_t sel, const Desc *d)
{
    if (desc_dpl(d) < cpu_cpl(cpu) || desc_dpl(d) < (unsigned)(sel & 3)) {
        raise_selector(cpu, EXC_GP, sel, 0);
    }
    if (!desc_present(d)) {
        raise_selector(cpu, EXC_NP, sel, 0);
    }
}

/*
 * Handles everything that is not code: true if the branch was a task switch and is
 * done; false: *gate is a call gate, present and accessible.
 */
static bool branch_system(CPUX86 *cpu, uint16_t sel, TaskSwitchKind kind, uint64_t next_rip,
                          Desc *gate)
{
    bool long_mode = in_long_mode(cpu);

    switch (desc_type(gate)) {
    case DESC_CALL32:
        if (long_mode && !desc_read_system(cpu, sel, true, gate)) {
            raise_selector(cpu, EXC_GP, sel, 0);
        }
        if (desc_type(gate) != DESC_CALL32) {
            raise_selector(cpu, EXC_GP, sel, 0);
        }
        check_system_access(cpu, sel, gate);
        return false;
    case DESC_CALL16:
        if (long_mode) {
            break;
        }
        check_system_access(cpu, sel, gate);
        return false;
    case DESC_TSS16_AVAIL:
    case DESC_TSS32_AVAIL:
        if (long_mode) {
            break;
        }
        check_system_access(cpu, sel, gate);
        task_switch(cpu, sel, kind, 0, false, 0, next_rip, cpu->rflags);
        return true;
    case DESC_TASK_GATE:
        if (long_mode) {
            break;
        }
        check_system_access(cpu, sel, gate);
        task_switch(cpu, gate_selector(gate), kind, 0, false, 0, next_rip, cpu->rflags);
        return true;
    default:
        break;
    }
    raise_selector(cpu, EXC_GP, sel, 0);
}

/* The code segment a call gate leads to. */
static void fetch_gate_code(CPUX86 *cpu, const Desc *gate, Desc *code)
{
    uint16_t sel = gate_selector(gate);

    if (is_null_selector(sel)) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    desc_fetch(cpu, sel, EXC_GP, 0, code);
    if (!desc_is_code(code) || desc_dpl(code) > cpu_cpl(cpu) ||
        (in_long_mode(cpu) && (!desc_long(code) || desc_db(code)))) {
        raise_selector(cpu, EXC_GP, sel, 0);
    }
    if (!desc_present(code)) {
        raise_selector(cpu, EXC_NP, sel, 0);
    }
}

static uint64_t gate_target(const CPUX86 *cpu, const Desc *gate)
{
    if (in_long_mode(cpu)) {
        return gate_offset(gate);
    }
    return desc_type(gate) == DESC_CALL32 ? (uint32_t)gate_offset(gate)
                                          : (uint16_t)gate_offset(gate);
}

void helper_jmp_far(CPUX86 *cpu, uint16_t sel, uint64_t off, unsigned opsize, uint64_t next_rip)
{
    Desc d, code;

    off = branch_offset(off, opsize);
    log_far_transfer(cpu, "far jump to", sel, off);
    if (!in_protected(cpu)) {
        branch_real(cpu, sel, off);
        return;
    }
    if (is_null_selector(sel)) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    desc_fetch(cpu, sel, EXC_GP, 0, &d);
    if (desc_is_code_or_data(&d)) {
        if (!desc_is_code(&d)) {
            raise_selector(cpu, EXC_GP, sel, 0);
        }
        check_direct_code(cpu, sel, &d);
        check_code_offset(cpu, &d, off, 0);
        load_cs(cpu, sel, &d, cpu_cpl(cpu));
        cpu->rip = off;
        return;
    }
    if (branch_system(cpu, sel, TASK_JUMP, next_rip, &d)) {
        return;
    }
    fetch_gate_code(cpu, &d, &code);
    if (!desc_is_conforming(&code) && desc_dpl(&code) != cpu_cpl(cpu)) {
        raise_selector(cpu, EXC_GP, gate_selector(&d), 0);
    }
    off = gate_target(cpu, &d);
    check_code_offset(cpu, &code, off, 0);
    load_cs(cpu, gate_selector(&d), &code, cpu_cpl(cpu));
    cpu->rip = off;
}

/* ---- CALL ---- */

static void call_real(CPUX86 *cpu, uint16_t sel, uint64_t off, unsigned opsize, uint64_t next_rip)
{
    Stack s;

    stack_open(cpu, &s, 0);
    stack_push(&s, opsize, cpu->segs[SEG_CS].selector);
    stack_push(&s, opsize, next_rip);
    branch_real(cpu, sel, off);
    stack_commit(&s);
}

static void call_same_ring(CPUX86 *cpu, uint16_t sel, Desc *code, uint64_t off, unsigned size,
                           uint64_t next_rip)
{
    Stack s;

    check_code_offset(cpu, code, off, 0);
    stack_open(cpu, &s, 0);
    if (size == 8 && !s.long_mode) {
        /* A 64-bit gate called from compatibility mode: the stack is a 64-bit one already. */
        s.long_mode = true;
        s.mask = UINT64_MAX;
        s.sp = cpu->regs[R_RSP];
    }
    stack_push(&s, size, cpu->segs[SEG_CS].selector);
    stack_push(&s, size, next_rip);
    load_cs(cpu, sel, code, cpu_cpl(cpu));
    stack_commit(&s);
    cpu->rip = off;
}

/* A call gate to an inner ring: new stack from the TSS, parameters copied (legacy modes). */
static void call_inner(CPUX86 *cpu, const Desc *gate, Desc *code, uint64_t next_rip)
{
    bool long_mode = in_long_mode(cpu);
    unsigned dpl = desc_dpl(code), count = long_mode ? 0 : gate->hi & 31;
    unsigned size = long_mode ? 8 : desc_type(gate) == DESC_CALL32 ? 4 : 2;
    uint64_t sp, params[31], off = gate_target(cpu, gate);
    uint16_t sel = gate_selector(gate);
    Segment ss;
    Stack s;

    if (long_mode) {
        ss = long_null_ss(dpl);
        sp = tss_long_stack(cpu, dpl, 0);
    } else {
        tss_inner_stack(cpu, dpl, 0, &ss, &sp);
    }
    check_code_offset(cpu, code, off, 0);
    stack_open(cpu, &s, 0);
    for (unsigned i = 0; i < count; i++) {
        params[i] = stack_pop(&s, size);
    }
    stack_open_inner(cpu, &s, &ss, sp, dpl, long_mode, ss.selector & 0xfffc);
    stack_push(&s, size, cpu->segs[SEG_SS].selector);
    stack_push(&s, size, cpu->regs[R_RSP]);
    for (unsigned i = count; i-- > 0;) {
        stack_push(&s, size, params[i]);
    }
    stack_push(&s, size, cpu->segs[SEG_CS].selector);
    stack_push(&s, size, next_rip);

    desc_to_segment(cpu, sel, code, &(Segment){0});
    cpu->segs[SEG_SS] = ss;
    stack_commit(&s);
    load_cs(cpu, sel, code, dpl);
    cpu->rip = off;
}

void helper_call_far(CPUX86 *cpu, uint16_t sel, uint64_t off, unsigned opsize, uint64_t next_rip)
{
    Desc d, code;
    unsigned size;

    off = branch_offset(off, opsize);
    log_far_transfer(cpu, "far call of", sel, off);
    if (!in_protected(cpu)) {
        call_real(cpu, sel, off, opsize, next_rip);
        return;
    }
    if (is_null_selector(sel)) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    desc_fetch(cpu, sel, EXC_GP, 0, &d);
    if (desc_is_code_or_data(&d)) {
        if (!desc_is_code(&d)) {
            raise_selector(cpu, EXC_GP, sel, 0);
        }
        check_direct_code(cpu, sel, &d);
        call_same_ring(cpu, sel, &d, off, opsize, next_rip);
        return;
    }
    if (branch_system(cpu, sel, TASK_CALL, next_rip, &d)) {
        return;
    }
    fetch_gate_code(cpu, &d, &code);
    if (!desc_is_conforming(&code) && desc_dpl(&code) < cpu_cpl(cpu)) {
        call_inner(cpu, &d, &code, next_rip);
        return;
    }
    size = in_long_mode(cpu) ? 8 : desc_type(&d) == DESC_CALL32 ? 4 : 2;
    call_same_ring(cpu, gate_selector(&d), &code, gate_target(cpu, &d), size, next_rip);
}

/* ---- SYSCALL, SYSRET, SYSENTER, SYSEXIT: segments come from nowhere but the selector ---- */

static void flat_code(CPUX86 *cpu, uint16_t sel, unsigned dpl, bool code64)
{
    cpu->segs[SEG_CS] = (Segment){
        .selector = sel,
        .limit = UINT32_MAX,
        .attr = (uint16_t)(SEG_P | SEG_S | SEG_TYPE_CODE | SEG_TYPE_RW | SEG_TYPE_ACCESSED | SEG_G |
                           dpl << SEG_DPL_SHIFT | (code64 ? SEG_L : SEG_DB)),
    };
}

static void flat_stack(CPUX86 *cpu, uint16_t sel, unsigned dpl)
{
    cpu->segs[SEG_SS] = (Segment){
        .selector = sel,
        .limit = UINT32_MAX,
        .attr = (uint16_t)(SEG_P | SEG_S | SEG_TYPE_RW | SEG_TYPE_ACCESSED | SEG_G | SEG_DB |
                           dpl << SEG_DPL_SHIFT),
    };
}

static bool vendor_is_intel(const CPUX86 *cpu)
{
    return strcmp(cpu->config.vendor, "GenuineIntel") == 0;
}

void helper_syscall(CPUX86 *cpu, uint64_t next_rip)
{
    uint16_t sel = (uint16_t)(cpu->star >> 32) & 0xfffc;
    bool from64 = cpu->hflags & HF_CS64;

    /* Intel's exists in 64-bit mode only. */
    if (!(cpu->efer & EFER_SCE) || !in_protected(cpu) || (!from64 && vendor_is_intel(cpu))) {
        x86_raise(cpu, EXC_UD);
    }
    if (in_long_mode(cpu)) {
        cpu->regs[R_RCX] = next_rip;
        cpu->regs[R_R11] = cpu->rflags & ~(uint64_t)FLAG_RF;
        cpu->rflags = (cpu->rflags & ~(cpu->sfmask | FLAG_RF)) | FLAG_ONE;
        cpu->rip = from64 ? cpu->lstar : cpu->cstar;
    } else {
        cpu->regs[R_RCX] = (uint32_t)next_rip;
        cpu->rflags &= ~(uint64_t)(FLAG_VM | FLAG_IF | FLAG_RF);
        cpu->rip = (uint32_t)cpu->star;
    }
    flat_code(cpu, sel, 0, in_long_mode(cpu));
    flat_stack(cpu, (uint16_t)(sel + 8), 0);
    cpu_update_hflags(cpu);
}

void helper_sysret(CPUX86 *cpu, unsigned opsize)
{
    const uint64_t loadable = 0x3c7fd7;
    uint16_t sel = (uint16_t)(cpu->star >> 48);
    bool from64 = cpu->hflags & HF_CS64;

    if (!(cpu->efer & EFER_SCE) || !in_protected(cpu) || (!from64 && vendor_is_intel(cpu))) {
        x86_raise(cpu, EXC_UD);
    }
    require_cpl0(cpu);
    if (from64 && opsize == 8) {
        if (vendor_is_intel(cpu) && !x86_is_canonical(cpu, cpu->regs[R_RCX])) {
            x86_raise_error(cpu, EXC_GP, 0);
        }
        flat_code(cpu, (uint16_t)((sel + 16) | 3), 3, true);
        cpu->rip = cpu->regs[R_RCX];
    } else {
        flat_code(cpu, sel | 3, 3, false);
        cpu->rip = (uint32_t)cpu->regs[R_RCX];
    }
    if (in_long_mode(cpu)) {
        cpu->rflags = (cpu->regs[R_R11] & loadable & ~(uint64_t)(FLAG_RF | FLAG_VM)) | FLAG_ONE;
    } else {
        cpu->rflags |= FLAG_IF;
    }
    flat_stack(cpu, (uint16_t)((sel + 8) | 3), 3);
    cpu_update_hflags(cpu);
}

void helper_sysenter(CPUX86 *cpu)
{
    uint16_t sel = (uint16_t)cpu->sysenter_cs & 0xfffc;
    bool long_mode = in_long_mode(cpu);

    if (long_mode && !vendor_is_intel(cpu)) {
        x86_raise(cpu, EXC_UD);
    }
    if (!(cpu->hflags & HF_PE) || sel == 0) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    cpu->rflags &= ~(uint64_t)(FLAG_VM | FLAG_IF | FLAG_RF);
    flat_code(cpu, sel, 0, long_mode);
    flat_stack(cpu, (uint16_t)(sel + 8), 0);
    cpu->regs[R_RSP] = long_mode ? cpu->sysenter_esp : (uint32_t)cpu->sysenter_esp;
    cpu->rip = long_mode ? cpu->sysenter_eip : (uint32_t)cpu->sysenter_eip;
    cpu_update_hflags(cpu);
}

void helper_sysexit(CPUX86 *cpu, unsigned opsize)
{
    uint16_t sel = (uint16_t)cpu->sysenter_cs & 0xfffc;
    bool to64 = opsize == 8;

    if (in_long_mode(cpu) && !vendor_is_intel(cpu)) {
        x86_raise(cpu, EXC_UD);
    }
    if (!in_protected(cpu) || sel == 0 || cpu_cpl(cpu) != 0) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    if (to64 &&
        (!x86_is_canonical(cpu, cpu->regs[R_RCX]) || !x86_is_canonical(cpu, cpu->regs[R_RDX]))) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    cpu->rip = to64 ? cpu->regs[R_RDX] : (uint32_t)cpu->regs[R_RDX];
    cpu->regs[R_RSP] = to64 ? cpu->regs[R_RCX] : (uint32_t)cpu->regs[R_RCX];
    flat_code(cpu, (uint16_t)((sel + (to64 ? 32 : 16)) | 3), 3, to64);
    flat_stack(cpu, (uint16_t)((sel + (to64 ? 40 : 24)) | 3), 3);
    cpu_update_hflags(cpu);
}
