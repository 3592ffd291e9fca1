/* SPDX-License-Identifier: GPL-2.0-or-later */
/* target/i386/tcg/control.h: writes of control state shared by helpers; private to this folder. */
#ifndef RHEA_TARGET_I386_TCG_CONTROL_H
#define RHEA_TARGET_I386_TCG_CONTROL_H

#include "target/i386/cpu.h"

/* WRMSR to EFER; XSETBV of XCR0. false: #GP, nothing changed. */
bool x86_write_efer(CPUX86 *cpu, uint64_t v);
bool x86_write_xcr0(CPUX86 *cpu, uint64_t v);
/* The bits of EFER and CR4 that the configured features bring. */
uint64_t x86_efer_known(const CPUX86 *cpu);
uint64_t x86_cr4_known(const CPUX86 *cpu);
/* Is each of the eight bytes a memory type? */
bool x86_pat_valid(uint64_t v);

#endif
