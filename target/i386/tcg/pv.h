/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target/i386/tcg/pv.h: what a guest of KVM may ask of it (Linux:
 * Documentation/virt/kvm/x86/), offered to guests of the translator as well: a clock that is
 * read by RDTSC alone, interrupts to several CPUs at once, and the end of an interrupt by a flag in
 * memory (which is the local APIC's, hw/intc/apic_pv.c).
 */
#ifndef RHEA_TARGET_I386_TCG_PV_H
#define RHEA_TARGET_I386_TCG_PV_H

#include "target/i386/cpu.h"

/* Is it one of KVM's MSRs that this CPU has? Then pv_msr_read(), pv_msr_write() (false: #GP). */
bool pv_is_msr(const CPUX86 *cpu, uint32_t index);
bool pv_msr_read(CPUX86 *cpu, uint32_t index, uint64_t *v);
bool pv_msr_write(CPUX86 *cpu, uint32_t index, uint64_t v);
/* The guest has set its time stamp counter: its clock page changes with it. */
void pv_tsc_changed(CPUX86 *cpu);
/* VMCALL or VMMCALL; the caller has seen that the CPU has KVM's leaves. */
void pv_hypercall(CPUX86 *cpu);

#endif
