/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target/i386/mce.h: machine-check errors put into a CPU's banks from outside, as HMP's
 * `mce` does.  Reference: SDM vol. 3, chapter 16 (IA32_MCi_*, signalling, overwriting).
 */
#ifndef RHEA_TARGET_I386_MCE_H
#define RHEA_TARGET_I386_MCE_H

#include "target/i386/cpu.h"
#include "util/error.h"

typedef struct MceError {
    unsigned bank;
    uint64_t status, mcg_status, addr, misc;
} MceError;

#define MCI_STATUS_VAL (1ull << 63)
#define MCI_STATUS_OVER (1ull << 62)
#define MCI_STATUS_UC (1ull << 61)
#define MCG_STATUS_RIPV (1ull << 0)
#define MCG_STATUS_MCIP (1ull << 2)

/* Can `cpu` take such an error? */
bool cpu_mce_check(const CPUX86 *cpu, const MceError *e, Error **errp);
/* Has `cpu` broadcast machine checks (family 6 from model 14 on)? */
bool cpu_mce_broadcasts(const CPUX86 *cpu);
/*
 * Puts the error into its bank.  On the CPU's own thread, or while it is stopped.  true:
 * the CPU is to be interrupted with IRQ_MCE.  An uncorrected error that comes while one
 * is being handled, or with CR4.MCE clear, will shut the CPU down.
 */
bool cpu_mce_inject(CPUX86 *cpu, const MceError *e);

#endif
