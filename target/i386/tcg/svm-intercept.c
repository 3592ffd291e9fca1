/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a hypervisor intercepts: instructions, registers, ports, MSRs, events. */
#include "accel/tcg/internal.h"
#include "target/i386/tcg/desc.h"
#include "target/i386/tcg/svm-vmcb.h"
#include "target/i386/tcg/svm.h"

#define CR_INFO_MOV (1ull << 63) /* not LMSW, CLTS, SMSW: the register is told */

static MemAttrs phys_attrs(void)
{
    return (MemAttrs){.requester = 0xffff};
}

bool svm_wants(const CPUX86 *cpu, unsigned code)
{
    unsigned bit = code - SVM_EXIT_INTR;

    return bit < 96 && (cpu->svm.intercept[bit / 32] >> (bit % 32) & 1);
}

_Noreturn void svm_exit(CPUX86 *cpu, uint64_t code, uint64_t info1, uint64_t info2)
{
    cpu->svm.exit_code = code;
    cpu->svm.exit_info1 = info1;
    cpu->svm.exit_info2 = info2;
    cpu->exception_vector = SVM_EXIT;
    g_assert(cpu->unwind);
    siglongjmp(*cpu->unwind, 1);
}

void svm_check_slow(CPUX86 *cpu, unsigned code)
{
    if (svm_wants(cpu, code)) {
        svm_exit(cpu, code, 0, 0);
    }
}

/* Between instructions, at the run loop's level: no unwinding is needed. */
static void leave(CPUX86 *cpu, uint64_t code, uint64_t info1, uint64_t info2)
{
    cpu->svm.exit_code = code;
    cpu->svm.exit_info1 = info1;
    cpu->svm.exit_info2 = info2;
    svm_leave_guest(cpu);
}

/* ---- PAUSE ---- */

/*
 * With a filter only the PAUSE after as many as its count leaves the guest; one that comes
 * later than the threshold after the last begins a new loop.
 */
static bool filter_pause(CPUX86 *cpu)
{
    SvmState *s = &cpu->svm;

    if (s->pause_threshold) {
        tcg_exact(tcg_cpu(cpu));
        uint64_t now = cpu_tsc(cpu);
        if (now - s->pause_last > s->pause_threshold) {
            s->pause_left = s->pause_count;
        }
        s->pause_last = now;
    }
    if (!s->pause_left) {
        return false;
    }
    s->pause_left--;
    return true;
}

void svm_check_pause(CPUX86 *cpu)
{
    if (svm_wants(cpu, SVM_EXIT_PAUSE) && !filter_pause(cpu)) {
        svm_exit(cpu, SVM_EXIT_PAUSE, 0, 0);
    }
}

/* ---- registers ---- */

static uint64_t gpr_info(const CPUX86 *cpu, uint64_t more)
{
    return cpu_has(cpu, FEAT_SVM, SVM_FEATURE_DECODE) ? cpu->svm.gpr | more : 0;
}

void svm_check_cr(CPUX86 *cpu, unsigned n, bool write, bool mov)
{
    if ((cpu->hflags & HF_SVM_GUEST) && (cpu->svm.intercept_cr >> (write ? 16 + n : n) & 1)) {
        svm_exit(cpu, (write ? SVM_EXIT_WRITE_CR0 : SVM_EXIT_READ_CR0) + n,
                 mov ? gpr_info(cpu, CR_INFO_MOV) : 0, 0);
    }
}

void svm_check_cr0_value(CPUX86 *cpu, uint64_t v, bool mov)
{
    if ((cpu->hflags & HF_SVM_GUEST) && ((cpu->cr0 ^ v) & ~(uint64_t)(CR0_TS | CR0_MP)) &&
        svm_wants(cpu, SVM_EXIT_CR0_SEL_WRITE)) {
        svm_exit(cpu, SVM_EXIT_CR0_SEL_WRITE, mov ? gpr_info(cpu, CR_INFO_MOV) : 0, 0);
    }
}

void svm_check_dr(CPUX86 *cpu, unsigned n, bool write)
{
    if ((cpu->hflags & HF_SVM_GUEST) && (cpu->svm.intercept_dr >> (write ? 16 + n : n) & 1)) {
        svm_exit(cpu, (write ? SVM_EXIT_WRITE_DR0 : SVM_EXIT_READ_DR0) + n, gpr_info(cpu, 0), 0);
    }
}

/* ---- MSRs and ports ---- */

/* Two bits of the map for each of three ranges of 8192 MSRs; all others are intercepted. */
static bool msr_wanted(const CPUX86 *cpu, uint32_t index, bool write)
{
    uint32_t at = index & 0x1fff;
    uint8_t byte = 0xff;

    switch (index & ~0x1fffu) {
    case 0:
        break;
    case 0xc0000000:
        at += 0x2000;
        break;
    case 0xc0010000:
        at += 0x4000;
        break;
    default:
        return true;
    }
    address_space_read(cpu->as, cpu->svm.msrpm + at / 4, phys_attrs(), &byte, 1);
    return byte >> ((at & 3) * 2 + (write ? 1 : 0)) & 1;
}

void svm_check_msr(CPUX86 *cpu, uint32_t index, bool write)
{
    if ((cpu->hflags & HF_SVM_GUEST) && svm_wants(cpu, SVM_EXIT_MSR) &&
        msr_wanted(cpu, index, write)) {
        svm_exit(cpu, SVM_EXIT_MSR, write, 0);
    }
}

void svm_check_io(CPUX86 *cpu, uint16_t port, unsigned size, bool in, unsigned kind,
                  unsigned addrsize, unsigned seg)
{
    uint8_t map[2] = {0xff, 0xff};
    uint64_t info = (uint64_t)port << 16 | size << 4 | kind | (in ? 1 : 0);

    if (!(cpu->hflags & HF_SVM_GUEST) || !svm_wants(cpu, SVM_EXIT_IOIO)) {
        return;
    }
    address_space_read(cpu->as, cpu->svm.iopm + port / 8, phys_attrs(), map, 2);
    if (!(ld_le16(map) >> (port & 7) & ((1u << size) - 1))) {
        return;
    }
    info |= addrsize == 8 ? 1u << 9 : addrsize == 4 ? 1u << 8 : 1u << 7;
    if ((kind & SVM_IO_STRING) && cpu_has(cpu, FEAT_SVM, SVM_FEATURE_DECODE)) {
        info |= (uint64_t)seg << 10;
    }
    svm_exit(cpu, SVM_EXIT_IOIO, info, cpu->svm.next_rip);
}

void svm_check_task_switch(CPUX86 *cpu, uint16_t selector, TaskSwitchKind kind, bool has_error,
                           uint32_t error)
{
    uint64_t info2 = error;

    if (!(cpu->hflags & HF_SVM_GUEST) || !svm_wants(cpu, SVM_EXIT_TASK_SWITCH)) {
        return;
    }
    info2 |= kind == TASK_IRET ? 1ull << 36 : kind == TASK_JUMP ? 1ull << 38 : 0;
    info2 |= has_error ? 1ull << 44 : 0;
    info2 |= cpu->rflags & FLAG_RF ? 1ull << 48 : 0;
    svm_exit(cpu, SVM_EXIT_TASK_SWITCH, selector, info2);
}

/* ---- events ---- */

bool svm_exception(CPUX86 *cpu, int vector, bool has_error, uint32_t error)
{
    uint64_t info2 = 0;

    if (vector >= 32 || !(cpu->svm.intercept_exc >> vector & 1)) {
        return false;
    }
    if (vector == EXC_PF) {
        info2 = cpu->cr2;
        cpu->cr2 = cpu->svm.old_cr2;
    }
    leave(cpu, SVM_EXIT_EXCP_BASE + (unsigned)vector, has_error ? error : 0, info2);
    return true;
}

void svm_note_delivery(CPUX86 *cpu, EventKind kind, int vector, bool has_error, uint32_t error)
{
    static const uint8_t types[] = {
        [EVENT_EXTERNAL] = 0, [EVENT_EXCEPTION] = 3, [EVENT_SOFT_INT] = 4, [EVENT_ICEBP] = 3};
    unsigned type = kind == EVENT_EXTERNAL && vector == EXC_NMI ? 2 : types[kind];

    cpu->svm.delivering = EVENT_VALID | (uint64_t)type << 8 | (unsigned)vector;
    if (has_error) {
        cpu->svm.delivering |= EVENT_ERROR | (uint64_t)error << 32;
    }
}

bool svm_shutdown(CPUX86 *cpu)
{
    cpu->svm.delivering = 0;
    if (!(cpu->hflags & HF_SVM_GUEST) || !svm_wants(cpu, SVM_EXIT_SHUTDOWN)) {
        return false;
    }
    leave(cpu, SVM_EXIT_SHUTDOWN, 0, 0);
    return true;
}

bool svm_event(CPUX86 *cpu, uint32_t irq)
{
    static const struct {
        uint32_t irq;
        unsigned code;
    } events[] = {{IRQ_SMI, SVM_EXIT_SMI},
                  {IRQ_INIT, SVM_EXIT_INIT},
                  {IRQ_NMI, SVM_EXIT_NMI},
                  {IRQ_HARD, SVM_EXIT_INTR},
                  {IRQ_VIRT, SVM_EXIT_VINTR}};

    /* In the order of serving them: what comes first is not passed over for a later one. */
    for (unsigned i = 0; i < ARRAY_LEN(events); i++) {
        if (!(irq & events[i].irq)) {
            continue;
        }
        if (!svm_wants(cpu, events[i].code)) {
            return false;
        }
        /* Machine checks are more important, and go the way of exceptions. */
        if (irq & IRQ_MCE) {
            return false;
        }
        leave(cpu, events[i].code, 0, 0);
        return true;
    }
    return false;
}

bool svm_takes_interrupts(const CPUX86 *cpu)
{
    uint64_t flags = cpu->svm.int_ctl & INT_CTL_MASKING ? cpu->svm.host_rflags : cpu->rflags;

    return (flags & FLAG_IF) && !(cpu->hflags & HF_INHIBIT);
}

bool svm_virtual_tpr(const CPUX86 *cpu)
{
    return (cpu->hflags & HF_SVM_GUEST) && (cpu->svm.int_ctl & INT_CTL_MASKING);
}

void svm_update_virtual(CPUX86 *cpu)
{
    uint64_t c = cpu->svm.int_ctl;
    bool open = (c & INT_CTL_IGNORE_TPR) || (c >> 16 & 15) > (c & 15);
    bool vgif = !(c & INT_CTL_VGIF_ENABLE) || (c & INT_CTL_VGIF);

    if ((cpu->hflags & HF_SVM_GUEST) && (c & INT_CTL_IRQ) && open && vgif) {
        cpu_interrupt(cpu, IRQ_VIRT);
    } else {
        cpu_interrupt_clear(cpu, IRQ_VIRT);
    }
}

bool svm_deliver_virtual(CPUX86 *cpu)
{
    int vector = (int)(cpu->svm.int_ctl >> 32 & 0xff);

    cpu->svm.int_ctl &= ~INT_CTL_IRQ;
    cpu_interrupt_clear(cpu, IRQ_VIRT);
    return x86_deliver(cpu, EVENT_EXTERNAL, vector, false, 0, cpu->rip);
}
