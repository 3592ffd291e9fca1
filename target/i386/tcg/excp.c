/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Delivery of interrupts and exceptions in every mode; SDM vol. 3 chapter 6. */
#include "target/i386/tcg/desc.h"
#include "target/i386/tcg/svm.h"
#include "util/log.h"

#include <inttypes.h>

typedef struct Event {
    EventKind kind;
    int vector;
    bool has_error;
    uint32_t error;
    uint64_t return_rip;
} Event;

#define DR6_BD (1u << 13)
#define DR7_GD (1u << 13)

static uint32_t event_ext(const CPUX86 *cpu, const Event *e)
{
    if (e->kind == EVENT_EXTERNAL) {
        return ERR_EXT;
    }
    return e->kind == EVENT_SOFT_INT || !strcmp(cpu->config.vendor, "AuthenticAMD") ? 0 : ERR_EXT;
}

static _Noreturn void raise_vector(CPUX86 *cpu, int vector, const Event *e)
{
    x86_raise_error(cpu, vector, (uint32_t)e->vector * 8 | ERR_IDT | event_ext(cpu, e));
}

/*
 * RFLAGS as pushed.  RF is set for faults, so that the instruction is not caught
 * by its own breakpoint when it is tried again; SDM vol. 3, 17.3.1.1.
 */
static uint64_t flags_image(const CPUX86 *cpu, const Event *e)
{
    bool fault = false;

    if (e->kind == EVENT_EXCEPTION) {
        switch (e->vector) {
        case EXC_DB:
            fault = cpu->dr[6] & DR6_BD;
            break;
        case EXC_NMI:
        case EXC_BP:
        case EXC_OF:
        case EXC_DF:
        case EXC_MC:
            break;
        default:
            fault = true;
            break;
        }
    }
    return fault ? cpu->rflags | FLAG_RF : cpu->rflags;
}

/* ---- real mode, and software interrupts that VME redirects to the 8086 program ---- */

static void deliver_through_ivt(CPUX86 *cpu, const Event *e, uint64_t table, uint16_t flags)
{
    Stack s;
    uint64_t entry = system_linear(cpu, table, (uint64_t)e->vector * 4);
    uint16_t ip = mmu_ld16(cpu, entry, mmu_mode(cpu));
    uint16_t cs = mmu_ld16(cpu, system_linear(cpu, entry, 2), mmu_mode(cpu));

    stack_open(cpu, &s, 0);
    stack_push(&s, 2, flags);
    stack_push(&s, 2, cpu->segs[SEG_CS].selector);
    stack_push(&s, 2, e->return_rip);
    stack_commit(&s);
    cpu->rip = ip;
    if (in_vm86(cpu)) {
        load_vm86_segment(cpu, SEG_CS, cs);
    } else {
        load_real_segment(cpu, SEG_CS, cs);
    }
}

static void deliver_real(CPUX86 *cpu, const Event *e)
{
    if ((uint32_t)e->vector * 4 + 3 > cpu->idtr.limit) {
        raise_vector(cpu, EXC_GP, e);
    }
    deliver_through_ivt(cpu, e, cpu->idtr.base, (uint16_t)cpu->rflags);
    cpu->rflags &= ~(uint64_t)(FLAG_IF | FLAG_TF | FLAG_AC | FLAG_RF);
    cpu_update_hflags(cpu);
}

/* INT n in virtual-8086 mode with the redirection bit clear; SDM vol. 3, 20.3.3.4 ff. */
static void deliver_vme(CPUX86 *cpu, const Event *e)
{
    uint16_t flags = (uint16_t)cpu->rflags;
    uint64_t clear = FLAG_TF | FLAG_RF | FLAG_NT;

    if (cpu_iopl(cpu) == 3) {
        clear |= FLAG_IF;
    } else {
        /* The program sees its virtual interrupt flag and the highest I/O privilege. */
        flags = (uint16_t)((flags & ~FLAG_IF) | FLAG_IOPL | (cpu->rflags & FLAG_VIF ? FLAG_IF : 0));
        clear |= FLAG_VIF;
    }
    deliver_through_ivt(cpu, e, 0, flags);
    cpu->rflags &= ~clear;
    cpu_update_hflags(cpu);
}

/* true: the TSS's bitmap sends INT `vector` to the 8086 program itself. */
static bool vme_redirects(CPUX86 *cpu, int vector)
{
    uint32_t map, byte;

    if ((cpu->tr.attr & 0xd) != 9 || cpu->tr.limit < 103) {
        return false;
    }
    map = mmu_ld16(cpu, system_linear(cpu, cpu->tr.base, 102), MMU_KERNEL);
    if (map < 32 || map - 32 + (uint32_t)vector / 8 > cpu->tr.limit) {
        return false;
    }
    byte =
        mmu_ld8(cpu, system_linear(cpu, cpu->tr.base, map - 32 + (uint32_t)vector / 8), MMU_KERNEL);
    return !(byte >> (vector & 7) & 1);
}

/* ---- protected mode ---- */

static void enter_handler_flags(CPUX86 *cpu, bool interrupt_gate)
{
    cpu->rflags &= ~(uint64_t)(FLAG_TF | FLAG_NT | FLAG_VM | FLAG_RF);
    if (interrupt_gate) {
        cpu->rflags &= ~(uint64_t)FLAG_IF;
    }
}

static void push_return_frame(Stack *s, unsigned size, const Event *e, uint64_t flags, uint16_t cs)
{
    stack_push(s, size, flags);
    stack_push(s, size, cs);
    stack_push(s, size, e->return_rip);
    if (e->has_error) {
        stack_push(s, size, e->error);
    }
}

static void deliver_inner(CPUX86 *cpu, const Event *e, const Desc *gate, uint16_t sel, Desc *code)
{
    unsigned size = desc_type(gate) & 8 ? 4 : 2, dpl = desc_dpl(code);
    uint32_t ext = event_ext(cpu, e);
    uint64_t offset = size == 4 ? (uint32_t)gate_offset(gate) : (uint16_t)gate_offset(gate);
    bool vm = in_vm86(cpu);
    uint64_t sp;
    Segment ss;
    Stack s;

    tss_inner_stack(cpu, dpl, ext, &ss, &sp);
    check_code_offset(cpu, code, offset, ext);
    stack_open_inner(cpu, &s, &ss, sp, dpl, false, (ss.selector & 0xfffcu) | ext);
    if (vm) {
        stack_push(&s, size, cpu->segs[SEG_GS].selector);
        stack_push(&s, size, cpu->segs[SEG_FS].selector);
        stack_push(&s, size, cpu->segs[SEG_DS].selector);
        stack_push(&s, size, cpu->segs[SEG_ES].selector);
    }
    stack_push(&s, size, cpu->segs[SEG_SS].selector);
    stack_push(&s, size, cpu->regs[R_RSP]);
    push_return_frame(&s, size, e, flags_image(cpu, e), cpu->segs[SEG_CS].selector);

    desc_to_segment(cpu, sel, code, &(Segment){0}); /* the accessed bit may still fault */
    cpu->segs[SEG_SS] = ss;
    stack_commit(&s);
    enter_handler_flags(cpu, !(desc_type(gate) & 1));
    if (vm) {
        load_null(cpu, SEG_GS, 0);
        load_null(cpu, SEG_FS, 0);
        load_null(cpu, SEG_DS, 0);
        load_null(cpu, SEG_ES, 0);
    }
    load_cs(cpu, sel, code, dpl);
    cpu->rip = offset;
}

static void deliver_same_ring(CPUX86 *cpu, const Event *e, const Desc *gate, uint16_t sel,
                              Desc *code)
{
    unsigned size = desc_type(gate) & 8 ? 4 : 2;
    uint32_t ext = event_ext(cpu, e);
    uint64_t offset = size == 4 ? (uint32_t)gate_offset(gate) : (uint16_t)gate_offset(gate);
    Stack s;

    check_code_offset(cpu, code, offset, ext);
    stack_open(cpu, &s, ext);
    push_return_frame(&s, size, e, flags_image(cpu, e), cpu->segs[SEG_CS].selector);
    load_cs(cpu, sel, code, cpu_cpl(cpu));
    stack_commit(&s);
    enter_handler_flags(cpu, !(desc_type(gate) & 1));
    cpu_update_hflags(cpu);
    cpu->rip = offset;
}

static void read_gate(CPUX86 *cpu, const Event *e, bool wide, Desc *gate)
{
    uint32_t offset = (uint32_t)e->vector * (wide ? 16 : 8);
    uint64_t v;

    if (offset + (wide ? 15 : 7) > cpu->idtr.limit) {
        raise_vector(cpu, EXC_GP, e);
    }
    gate->addr = system_linear(cpu, cpu->idtr.base, offset);
    v = mmu_ld64(cpu, gate->addr, MMU_KERNEL);
    gate->lo = (uint32_t)v;
    gate->hi = (uint32_t)(v >> 32);
    gate->hi2 = wide ? mmu_ld32(cpu, system_linear(cpu, gate->addr, 8), MMU_KERNEL) : 0;
}

static void check_gate_access(CPUX86 *cpu, const Event *e, const Desc *gate)
{
    if (e->kind == EVENT_SOFT_INT && desc_dpl(gate) < cpu_cpl(cpu)) {
        raise_vector(cpu, EXC_GP, e);
    }
    if (!desc_present(gate)) {
        raise_vector(cpu, EXC_NP, e);
    }
}

/* The gate's code segment, with the checks that all modes share. */
static void fetch_handler(CPUX86 *cpu, const Event *e, const Desc *gate, Desc *code)
{
    uint16_t sel = gate_selector(gate);
    uint32_t ext = event_ext(cpu, e);

    if (is_null_selector(sel)) {
        x86_raise_error(cpu, EXC_GP, ext);
    }
    desc_fetch(cpu, sel, EXC_GP, ext, code);
    if (!desc_is_code(code) || desc_dpl(code) > cpu_cpl(cpu)) {
        raise_selector(cpu, EXC_GP, sel, ext);
    }
    if (!desc_present(code)) {
        raise_selector(cpu, EXC_NP, sel, ext);
    }
}

static void deliver_protected(CPUX86 *cpu, const Event *e)
{
    uint32_t ext = event_ext(cpu, e);
    Desc gate, code;
    uint16_t sel;

    read_gate(cpu, e, false, &gate);
    if (desc_is_code_or_data(&gate)) {
        raise_vector(cpu, EXC_GP, e);
    }
    switch (desc_type(&gate)) {
    case DESC_TASK_GATE:
    case DESC_INT16:
    case DESC_TRAP16:
    case DESC_INT32:
    case DESC_TRAP32:
        break;
    default:
        raise_vector(cpu, EXC_GP, e);
    }
    check_gate_access(cpu, e, &gate);
    if (desc_type(&gate) == DESC_TASK_GATE) {
        task_switch(cpu, gate_selector(&gate), TASK_GATE, ext, e->has_error, e->error,
                    e->return_rip, flags_image(cpu, e));
        return;
    }
    fetch_handler(cpu, e, &gate, &code);
    sel = gate_selector(&gate);
    if (!desc_is_conforming(&code) && desc_dpl(&code) < cpu_cpl(cpu)) {
        if (in_vm86(cpu) && desc_dpl(&code) != 0) {
            raise_selector(cpu, EXC_GP, sel, ext);
        }
        deliver_inner(cpu, e, &gate, sel, &code);
        return;
    }
    if (in_vm86(cpu)) {
        raise_selector(cpu, EXC_GP, sel, ext);
    }
    deliver_same_ring(cpu, e, &gate, sel, &code);
}

/* ---- long mode ---- */

static void deliver_long(CPUX86 *cpu, const Event *e)
{
    uint32_t ext = event_ext(cpu, e);
    Desc gate, code;
    uint16_t sel;
    unsigned cpl, ist;
    bool inner;
    uint64_t rsp;
    Segment ss;
    Stack s;

    read_gate(cpu, e, true, &gate);
    if (desc_is_code_or_data(&gate) ||
        (desc_type(&gate) != DESC_INT32 && desc_type(&gate) != DESC_TRAP32)) {
        raise_vector(cpu, EXC_GP, e);
    }
    check_gate_access(cpu, e, &gate);
    fetch_handler(cpu, e, &gate, &code);
    sel = gate_selector(&gate);
    if (!desc_long(&code) || desc_db(&code)) {
        raise_selector(cpu, EXC_GP, sel, ext);
    }
    check_code_offset(cpu, &code, gate_offset(&gate), ext);
    inner = !desc_is_conforming(&code) && desc_dpl(&code) < cpu_cpl(cpu);
    cpl = inner ? desc_dpl(&code) : cpu_cpl(cpu);
    ist = gate.hi & 7;
    if (ist) {
        rsp = tss_long_stack(cpu, 3 + ist, ext);
    } else {
        rsp = inner ? tss_long_stack(cpu, cpl, ext) : cpu->regs[R_RSP];
    }
    ss = inner ? long_null_ss(cpl) : cpu->segs[SEG_SS];
    stack_open_inner(cpu, &s, &ss, rsp & ~15ull, cpl, true, ext);
    stack_push(&s, 8, cpu->segs[SEG_SS].selector);
    stack_push(&s, 8, cpu->regs[R_RSP]);
    push_return_frame(&s, 8, e, flags_image(cpu, e), cpu->segs[SEG_CS].selector);

    desc_to_segment(cpu, sel, &code, &(Segment){0});
    cpu->segs[SEG_SS] = ss;
    stack_commit(&s);
    enter_handler_flags(cpu, !(desc_type(&gate) & 1));
    load_cs(cpu, sel, &code, cpl);
    cpu->rip = gate_offset(&gate);
}

static void deliver_once(CPUX86 *cpu, const Event *e)
{
    if (!(cpu->hflags & HF_PE)) {
        deliver_real(cpu, e);
    } else if (in_long_mode(cpu)) {
        deliver_long(cpu, e);
    } else {
        deliver_protected(cpu, e);
    }
    if (e->vector == EXC_DB && e->kind != EVENT_SOFT_INT) {
        /* What MOV SS or a data breakpoint still held back is part of this debug exception. */
        cpu->dr[6] |= cpu->debug_pending;
        cpu->debug_pending = 0;
        cpu->dr[7] &= ~(uint64_t)DR7_GD;
    }
}

/* false: delivery itself faulted; cpu->exception_* say how. */
static bool try_deliver(CPUX86 *cpu, const Event *e)
{
    sigjmp_buf env, *outer = cpu->unwind;

    if (sigsetjmp(env, 0)) {
        cpu->unwind = outer;
        if (cpu->exception_vector == SVM_EXIT && outer) {
            siglongjmp(*outer, 1); /* to the hypervisor, which learns what was being delivered */
        }
        return false;
    }
    cpu->unwind = &env;
    deliver_once(cpu, e);
    cpu->unwind = outer;
    return true;
}

typedef enum ExceptionClass { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT } ExceptionClass;

static ExceptionClass exception_class(int vector)
{
    switch (vector) {
    case EXC_DE:
    case EXC_TS:
    case EXC_NP:
    case EXC_SS:
    case EXC_GP:
    case EXC_CP:
        return CONTRIBUTORY;
    case EXC_PF:
    case EXC_VE:
        return PAGE_FAULT;
    case EXC_DF:
        return DOUBLE_FAULT;
    default:
        return BENIGN;
    }
}

/* SDM vol. 3, table 6-5. */
static bool makes_double_fault(ExceptionClass first, ExceptionClass second)
{
    return (first == CONTRIBUTORY && second == CONTRIBUTORY) ||
           (first == PAGE_FAULT && (second == CONTRIBUTORY || second == PAGE_FAULT));
}

static void log_event(const CPUX86 *cpu, const Event *e)
{
    static const char *const kinds[] = {"external", "exception", "software", "icebp"};

    LOG(LOG_INT,
        "cpu %u: %s v=%02x e=%04x cpl=%u ip=%04x:%016" PRIx64 " sp=%04x:%016" PRIx64
        " cr2=%016" PRIx64 " rax=%016" PRIx64 "\n",
        cpu->index, kinds[e->kind], (unsigned)e->vector, e->has_error ? e->error : 0, cpu_cpl(cpu),
        cpu->segs[SEG_CS].selector, cpu->rip, cpu->segs[SEG_SS].selector, cpu->regs[R_RSP],
        cpu->cr2, cpu->regs[R_RAX]);
}

bool x86_deliver(CPUX86 *cpu, EventKind kind, int vector, bool has_error, uint32_t error,
                 uint64_t return_rip)
{
    Event e = {kind, vector, has_error, error, return_rip};

    cpu->halted = false;
    cpu->hflags &= ~HF_INHIBIT;
    bool injected = cpu->svm.inject != 0; /* by the hypervisor itself: not intercepted */
    cpu->svm.inject = cpu->svm.delivering = 0;
    for (;;) {
        ExceptionClass first = kind == EVENT_EXCEPTION ? exception_class(e.vector) : BENIGN;
        ExceptionClass second;

        log_event(cpu, &e);
        if (cpu->hflags & HF_SVM_GUEST) {
            if (e.kind == EVENT_EXCEPTION && !injected &&
                svm_exception(cpu, e.vector, e.has_error, e.error)) {
                return true;
            }
            svm_note_delivery(cpu, e.kind, e.vector, e.has_error, e.error);
            injected = false;
        }
        if (try_deliver(cpu, &e)) {
            cpu->exception_vector = -1;
            cpu->svm.delivering = 0;
            return true;
        }
        /* A hypervisor sees the second exception before it makes a double or triple fault. */
        if ((cpu->hflags & HF_SVM_GUEST) &&
            svm_exception(cpu, cpu->exception_vector, cpu->exception_has_error,
                          cpu->exception_error)) {
            return true;
        }
        second = exception_class(cpu->exception_vector);
        if (first == DOUBLE_FAULT && second != BENIGN) {
            LOG(LOG_CPU_RESET, "cpu %u: triple fault\n", cpu->index);
            cpu->exception_vector = -1;
            return svm_shutdown(cpu);
        }
        kind = EVENT_EXCEPTION;
        e.kind = EVENT_EXCEPTION;
        e.return_rip = cpu->rip;
        if (makes_double_fault(first, second)) {
            e.vector = EXC_DF;
            e.has_error = true;
            e.error = 0;
        } else {
            e.vector = cpu->exception_vector;
            e.has_error = cpu->exception_has_error;
            e.error = cpu->exception_error;
        }
    }
}

/* ---- software interrupts: a fault in them is the instruction's own ---- */

/* To a hypervisor only INT n is an interrupt; INT3, INTO and ICEBP are exceptions. */
static void check_software_interrupt(CPUX86 *cpu, EventKind kind, int vector, bool int_n)
{
    if (int_n && svm_wants(cpu, SVM_EXIT_SWINT)) {
        svm_exit(cpu, SVM_EXIT_SWINT, (unsigned)vector, 0);
    }
    if (kind == EVENT_ICEBP && svm_wants(cpu, SVM_EXIT_ICEBP)) {
        svm_exit(cpu, SVM_EXIT_ICEBP, 0, 0);
    }
    if (!int_n && (cpu->svm.intercept_exc >> vector & 1)) {
        svm_exit(cpu, SVM_EXIT_EXCP_BASE + (unsigned)vector, 0, 0);
    }
}

static void software_interrupt(CPUX86 *cpu, EventKind kind, int vector, bool int_n,
                               uint64_t next_rip)
{
    Event e = {kind, vector, false, 0, next_rip};

    if (cpu->hflags & HF_SVM_GUEST) {
        check_software_interrupt(cpu, kind, vector, int_n);
    }
    log_event(cpu, &e);
    deliver_once(cpu, &e);
}

void helper_int(CPUX86 *cpu, int vector, uint64_t next_rip)
{
    if (in_vm86(cpu)) {
        Event e = {EVENT_SOFT_INT, vector, false, 0, next_rip};

        if ((cpu->cr4 & CR4_VME) && vme_redirects(cpu, vector)) {
            deliver_vme(cpu, &e);
            return;
        }
        if (cpu_iopl(cpu) < 3) {
            x86_raise_error(cpu, EXC_GP, 0);
        }
    }
    software_interrupt(cpu, EVENT_SOFT_INT, vector, true, next_rip);
}

void helper_int3(CPUX86 *cpu, uint64_t next_rip)
{
    software_interrupt(cpu, EVENT_SOFT_INT, EXC_BP, false, next_rip);
}

void helper_into(CPUX86 *cpu, uint64_t next_rip)
{
    if (cpu->rflags & FLAG_OF) {
        software_interrupt(cpu, EVENT_SOFT_INT, EXC_OF, false, next_rip);
    } else {
        cpu->rip = next_rip;
    }
}

void helper_icebp(CPUX86 *cpu, uint64_t next_rip)
{
    software_interrupt(cpu, EVENT_ICEBP, EXC_DB, false, next_rip);
}
