/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target/i386/tcg/svm.h: AMD's secure virtual machine: VMRUN and its companions, what a
 * hypervisor intercepts, nested paging's faults.  AMD APM vol. 2, chapter 15 and appendices
 * B (layout of the VMCB) and C (exit codes).
 *
 * An instruction or access that a hypervisor wants unwinds like an exception, with the
 * vector SVM_EXIT; the run loop then changes worlds (svm_leave_guest()), so that the state
 * is exact whoever executed the instruction.  All on the vCPU's thread.
 */
#ifndef RHEA_TARGET_I386_TCG_SVM_H
#define RHEA_TARGET_I386_TCG_SVM_H

#include "target/i386/tcg/helper.h"

/* exception_vector: leave the guest; deliver what VMRUN was told to inject. */
#define SVM_EXIT 0x101
#define SVM_INJECT 0x102

enum {
    SVM_EXIT_READ_CR0 = 0x00,
    SVM_EXIT_WRITE_CR0 = 0x10,
    SVM_EXIT_READ_DR0 = 0x20,
    SVM_EXIT_WRITE_DR0 = 0x30,
    SVM_EXIT_EXCP_BASE = 0x40,
    SVM_EXIT_INTR = 0x60,
    SVM_EXIT_NMI,
    SVM_EXIT_SMI,
    SVM_EXIT_INIT,
    SVM_EXIT_VINTR,
    SVM_EXIT_CR0_SEL_WRITE,
    SVM_EXIT_IDTR_READ,
    SVM_EXIT_GDTR_READ,
    SVM_EXIT_LDTR_READ,
    SVM_EXIT_TR_READ,
    SVM_EXIT_IDTR_WRITE,
    SVM_EXIT_GDTR_WRITE,
    SVM_EXIT_LDTR_WRITE,
    SVM_EXIT_TR_WRITE,
    SVM_EXIT_RDTSC,
    SVM_EXIT_RDPMC,
    SVM_EXIT_PUSHF,
    SVM_EXIT_POPF,
    SVM_EXIT_CPUID,
    SVM_EXIT_RSM,
    SVM_EXIT_IRET,
    SVM_EXIT_SWINT,
    SVM_EXIT_INVD,
    SVM_EXIT_PAUSE,
    SVM_EXIT_HLT,
    SVM_EXIT_INVLPG,
    SVM_EXIT_INVLPGA,
    SVM_EXIT_IOIO,
    SVM_EXIT_MSR,
    SVM_EXIT_TASK_SWITCH,
    SVM_EXIT_FERR_FREEZE,
    SVM_EXIT_SHUTDOWN,
    SVM_EXIT_VMRUN,
    SVM_EXIT_VMMCALL,
    SVM_EXIT_VMLOAD,
    SVM_EXIT_VMSAVE,
    SVM_EXIT_STGI,
    SVM_EXIT_CLGI,
    SVM_EXIT_SKINIT,
    SVM_EXIT_RDTSCP,
    SVM_EXIT_ICEBP,
    SVM_EXIT_WBINVD,
    SVM_EXIT_MONITOR,
    SVM_EXIT_MWAIT,
    SVM_EXIT_MWAIT_ARMED,
    SVM_EXIT_XSETBV,
    SVM_EXIT_INVPCID = 0xa2,
    SVM_EXIT_NPF = 0x400,
};
#define SVM_EXIT_INVALID UINT64_MAX

/* ---- intercepts (svm-intercept.c) ---- */
bool svm_wants(const CPUX86 *cpu, unsigned code); /* 60h-bfh */
/* Leaves the guest. */
_Noreturn void svm_exit(CPUX86 *cpu, uint64_t code, uint64_t info1, uint64_t info2);
void svm_check_slow(CPUX86 *cpu, unsigned code);
/* An instruction whose intercept has this code, after the checks that come before it. */
static inline void svm_check(CPUX86 *cpu, unsigned code)
{
    if (cpu->hflags & HF_SVM_GUEST) {
        svm_check_slow(cpu, code);
    }
}
/* Where the instruction ends, for the exit's next RIP; before any check. */
static inline void svm_note(CPUX86 *cpu, uint64_t next_rip)
{
    if (cpu->hflags & HF_SVM_GUEST) {
        cpu->svm.next_rip = next_rip;
    }
}
/* In the way of svm_note(): the general register of MOV to or from CRn and DRn. */
static inline void svm_note_gpr(CPUX86 *cpu, unsigned gpr)
{
    cpu->svm.gpr = (uint8_t)gpr;
}
void svm_check_pause(CPUX86 *cpu); /* in a guest */
/* mov: the instruction is MOV, which had its svm_note_gpr(). */
void svm_check_cr(CPUX86 *cpu, unsigned n, bool write, bool mov);
/* MOV CR0, LMSW: the intercept that looks at what would change. */
void svm_check_cr0_value(CPUX86 *cpu, uint64_t v, bool mov);
void svm_check_dr(CPUX86 *cpu, unsigned n, bool write);
void svm_check_msr(CPUX86 *cpu, uint32_t index, bool write);
/*
 * `kind`: bits 2 and 3 of the exit's information (string, REP); addrsize in bytes; seg: that of
 * the memory operand of a string instruction.
 */
void svm_check_io(CPUX86 *cpu, uint16_t port, unsigned size, bool in, unsigned kind,
                  unsigned addrsize, unsigned seg);
#define SVM_IO_STRING 4u
#define SVM_IO_REP 8u
void svm_check_task_switch(CPUX86 *cpu, uint16_t selector, TaskSwitchKind kind, bool has_error,
                           uint32_t error);
/* Is this exception the hypervisor's? Then the guest has been left. */
bool svm_exception(CPUX86 *cpu, int vector, bool has_error, uint32_t error);
void svm_note_delivery(CPUX86 *cpu, EventKind kind, int vector, bool has_error, uint32_t error);
/* A triple fault: true if a hypervisor got it. */
bool svm_shutdown(CPUX86 *cpu);
/* Between instructions: an event that is the hypervisor's; true: the guest has been left. */
bool svm_event(CPUX86 *cpu, uint32_t irq);
bool svm_deliver_virtual(CPUX86 *cpu);
/* Do physical interrupts reach the CPU while it is in the guest? */
bool svm_takes_interrupts(const CPUX86 *cpu);
/* IRQ_VIRT follows the VMCB's V_IRQ and priorities. */
void svm_update_virtual(CPUX86 *cpu);
/* CR8 is the guest's own? */
bool svm_virtual_tpr(const CPUX86 *cpu);

/* ---- worlds (svm.c) ---- */
void svm_leave_guest(CPUX86 *cpu); /* with svm.exit_* */
bool svm_inject(CPUX86 *cpu);      /* false: triple fault */
/* An SMI that the hypervisor leaves to the guest, and the way back. */
void svm_enter_smm(CPUX86 *cpu);
void svm_leave_smm(CPUX86 *cpu);
void helper_vmrun(CPUX86 *cpu, unsigned addrsize, uint64_t next_rip);
void helper_vmload(CPUX86 *cpu, unsigned addrsize);
void helper_vmsave(CPUX86 *cpu, unsigned addrsize);
void helper_vmmcall(CPUX86 *cpu, bool intel, uint64_t next_rip); /* VMMCALL, VMCALL */
void helper_stgi(CPUX86 *cpu);
void helper_clgi(CPUX86 *cpu);
void helper_invlpga(CPUX86 *cpu, unsigned addrsize);

#endif
