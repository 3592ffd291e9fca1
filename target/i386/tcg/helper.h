/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target/i386/tcg/helper.h: what instructions do beyond arithmetic: segments,
 * gates, tasks, control registers, MSRs, ports, x87, SSE.  Called by the IR
 * interpreter and by translated code, on the vCPU's thread.
 *
 * CALLING RULE: when a helper runs, cpu->rip is the address of the instruction
 * itself and all registers and RFLAGS in CPUX86 are architecturally exact.  A
 * helper that can fault changes nothing before its last faulting step, so that
 * x86_raise() finds the instruction's initial state.  `next_rip` is passed to
 * those that need it; a helper that transfers control stores cpu->rip itself and
 * calls cpu_update_hflags() after changing what hflags derive from.
 */
#ifndef RHEA_TARGET_I386_TCG_HELPER_H
#define RHEA_TARGET_I386_TCG_HELPER_H

#include "accel/tcg/softmmu.h"
#include "target/i386/cpu.h"
#include "target/i386/simd.h"

/* ---- events (excp.c) ---- */
typedef enum EventKind { EVENT_EXTERNAL, EVENT_EXCEPTION, EVENT_SOFT_INT, EVENT_ICEBP } EventKind;
/*
 * Delivers vector through IVT, IDT gate or task gate in any mode.  `return_rip` is
 * pushed.  Takes care of double and triple faults: returns false on triple fault.
 * Also clears halted, sets DR6/CR2 left by the raiser untouched.
 */
bool x86_deliver(CPUX86 *cpu, EventKind kind, int vector, bool has_error, uint32_t error,
                 uint64_t return_rip);
/*
 * INT n with all VM86 (IOPL, VME) rules; INT3 and INTO know no such rules. Control
 * is transferred (INTO with OF = 0 goes on at next_rip).
 */
void helper_int(CPUX86 *cpu, int vector, uint64_t next_rip);
void helper_int3(CPUX86 *cpu, uint64_t next_rip);
void helper_into(CPUX86 *cpu, uint64_t next_rip);
void helper_icebp(CPUX86 *cpu, uint64_t next_rip);
void helper_iret(CPUX86 *cpu, unsigned opsize, uint64_t next_rip);

/* ---- segments (seg.c); opsize 2, 4, 8 ---- */
void helper_load_seg(CPUX86 *cpu, unsigned seg, uint16_t selector);
void helper_jmp_far(CPUX86 *cpu, uint16_t sel, uint64_t off, unsigned opsize, uint64_t next_rip);
void helper_call_far(CPUX86 *cpu, uint16_t sel, uint64_t off, unsigned opsize, uint64_t next_rip);
void helper_ret_far(CPUX86 *cpu, unsigned opsize, uint16_t pop_bytes, uint64_t next_rip);
void helper_lldt(CPUX86 *cpu, uint16_t sel);
void helper_ltr(CPUX86 *cpu, uint16_t sel);
/* true and *out if the selector is visible (ZF). */
bool helper_lar(CPUX86 *cpu, uint16_t sel, uint32_t *out);
bool helper_lsl(CPUX86 *cpu, uint16_t sel, uint32_t *out);
bool helper_verr(CPUX86 *cpu, uint16_t sel);
bool helper_verw(CPUX86 *cpu, uint16_t sel);
/* SGDT SIDT SLDT STR SMSW privilege (UMIP); raises #GP(0) or returns. */
void helper_check_umip(CPUX86 *cpu);
void helper_lgdt(CPUX86 *cpu, uint64_t base, uint16_t limit);
void helper_lidt(CPUX86 *cpu, uint64_t base, uint16_t limit);
void helper_syscall(CPUX86 *cpu, uint64_t next_rip);
void helper_sysret(CPUX86 *cpu, unsigned opsize);
void helper_sysenter(CPUX86 *cpu);
void helper_sysexit(CPUX86 *cpu, unsigned opsize);
/* `selector` names a TSS or task gate's TSS. SDM vol. 3, 8.3. */
typedef enum TaskSwitchKind { TASK_CALL, TASK_JUMP, TASK_IRET, TASK_GATE } TaskSwitchKind;
void x86_task_switch(CPUX86 *cpu, uint16_t selector, TaskSwitchKind kind, bool has_error,
                     uint32_t error, uint64_t next_rip);

/* ---- flags, privileged state (system.c, msr.c) ---- */
uint64_t helper_pushf(CPUX86 *cpu, unsigned opsize); /* value to push; VM86/VME rules */
void helper_popf(CPUX86 *cpu, uint64_t value, unsigned opsize);
void helper_cli(CPUX86 *cpu);
void helper_sti(CPUX86 *cpu); /* sets HF_INHIBIT if IF was 0 */
uint64_t helper_read_cr(CPUX86 *cpu, unsigned n);
void helper_write_cr(CPUX86 *cpu, unsigned n, uint64_t v);
void helper_lmsw(CPUX86 *cpu, uint16_t v);
void helper_clts(CPUX86 *cpu);
uint64_t helper_read_dr(CPUX86 *cpu, unsigned n);
void helper_write_dr(CPUX86 *cpu, unsigned n, uint64_t v);
void helper_rdmsr(CPUX86 *cpu); /* ECX -> EDX:EAX; #GP for unknown ones */
void helper_wrmsr(CPUX86 *cpu);
/* The bare access, no privilege check; false: #GP. Also for state and monitors. */
bool x86_msr_read(CPUX86 *cpu, uint32_t index, uint64_t *v);
bool x86_msr_write(CPUX86 *cpu, uint32_t index, uint64_t v);
void helper_rdtsc(CPUX86 *cpu);
void helper_rdtscp(CPUX86 *cpu);
void helper_rdpmc(CPUX86 *cpu);
void helper_cpuid(CPUX86 *cpu);
void helper_hlt(CPUX86 *cpu, uint64_t next_rip); /* sets halted */
void helper_monitor(CPUX86 *cpu, unsigned seg, uint64_t ea);
void helper_mwait(CPUX86 *cpu, uint64_t next_rip);
void helper_invlpg(CPUX86 *cpu, uint64_t linear);
void helper_invpcid(CPUX86 *cpu, uint64_t type, unsigned seg, uint64_t ea);
void helper_wbinvd(CPUX86 *cpu);
void helper_swapgs(CPUX86 *cpu);
void helper_rsm(CPUX86 *cpu);
void x86_enter_smm(CPUX86 *cpu);
void helper_xgetbv(CPUX86 *cpu);
void helper_xsetbv(CPUX86 *cpu);
uint64_t helper_rdrand(CPUX86 *cpu, unsigned opsize, bool *ok);
void helper_clac_stac(CPUX86 *cpu, bool set);
/* Port I/O with IOPL and bitmap checks. INS/OUTS check once per iteration through these too. */
void helper_check_io(CPUX86 *cpu, uint16_t port, unsigned size);
uint32_t helper_in(CPUX86 *cpu, uint16_t port, unsigned size);
void helper_out(CPUX86 *cpu, uint16_t port, uint32_t v, unsigned size);
/* ENTER with nesting level > 0; BOUND raises #BR; AAM/DIV errors raise #DE. */
void helper_enter(CPUX86 *cpu, unsigned opsize, uint16_t frame, unsigned level);

/* ---- debug registers (debug.c) ---- */
/* Called when HF_DATA_BP / HF_CODE_BP is set: matches and raises or notes #DB. */
void x86_check_code_bp(CPUX86 *cpu, uint64_t linear_rip); /* may raise (fault) */
void x86_check_data_bp(CPUX86 *cpu, uint64_t linear, unsigned len, bool write); /* sets pending */
void x86_check_io_bp(CPUX86 *cpu, uint16_t port, unsigned len);
/*
 * After an instruction, rip being the next one's: raises the trap if TF was set when
 * it began (trap_flag) or cpu->debug_pending is not 0; else returns.  Not to be
 * called in the shadow of MOV SS.
 */
void x86_single_step(CPUX86 *cpu, bool trap_flag);

/* ---- x87 (x87.c) ---- */
/*
 * One ESC instruction: opcode D8+esc, ModRM byte; for memory forms the operand is
 * at seg:ea.  Does #NM, #MF, FOP/FIP/FDP.  `fip` is the instruction's address.
 */
void x87_insn(CPUX86 *cpu, unsigned esc, uint8_t modrm, unsigned seg, uint64_t ea, unsigned opsize);
void x87_wait(CPUX86 *cpu); /* FWAIT and MMX/SSE entry check: raises #NM/#MF */
void helper_fxsave(CPUX86 *cpu, unsigned seg, uint64_t ea, bool rex_w);
void helper_fxrstor(CPUX86 *cpu, unsigned seg, uint64_t ea, bool rex_w);
typedef enum XsaveKind { XSAVE, XSAVEOPT, XSAVEC, XSAVES } XsaveKind;
void helper_xsave(CPUX86 *cpu, unsigned seg, uint64_t ea, bool rex_w, XsaveKind kind);
void helper_xrstor(CPUX86 *cpu, unsigned seg, uint64_t ea, bool rex_w, XsaveKind kind);
void helper_emms(CPUX86 *cpu);
void helper_ldmxcsr(CPUX86 *cpu, uint32_t v); /* #GP on reserved bits */
/* MMX instructions: #UD, #NM and #MF as they report them; changes nothing. */
void x87_check_mmx(CPUX86 *cpu);
/* The same checks, then makes TOP 0 and all tags valid: after the memory operand was read. */
void x87_enter_mmx(CPUX86 *cpu);

#endif
