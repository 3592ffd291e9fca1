/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * accel/tcg/icount.h: -icount: the guest's time is the number of instructions it executed.
 *
 * CLOCK_VIRTUAL is `instructions << shift`, plus what was skipped while all CPUs were halted.
 * vCPUs take turns: each executes its slice, or until it halts; who is next depends on guest
 * state only.  The instructions up to the next timer are a budget: a block subtracts its
 * length when it is entered, and one that would exceed the budget is executed in single
 * instructions.  Timers of device loops run when the budget is used up, while the vCPU waits.
 * Whatever reads the clock or reaches a device does so as an instruction of its own
 * (tcg_alone()), so that it sees the exact time; what devices put off is done before the CPU
 * goes on.  So two runs are the same as long as nothing comes from outside.
 *
 * A block's entry, interpreted or translated, sets icount_entry to icount_left and takes
 * n_insns from the latter; if that would be negative, it leaves to the run loop instead, with
 * nothing done.  TcgCpu.current is the block then.  Who leaves it early (an exception, a store
 * to its code, a string instruction to be continued) puts back what was not executed.
 */
#ifndef RHEA_ACCEL_TCG_ICOUNT_H
#define RHEA_ACCEL_TCG_ICOUNT_H

#include "accel/tcg/internal.h"

typedef struct Icount Icount;

Icount *icount_new(Tcg *t, const IcountConfig *cfg);
void icount_free(Icount *ic);
/* What AccelClass.run does: turns, slices, waiting. */
RunExit icount_run(TcgCpu *tc, RunExit (*loop)(TcgCpu *tc));
/*
 * Between two instructions: gives the CPU a budget, runs timers that are due.  false: its
 * turn is over, leave the loop.  *again: look for interrupts first.
 */
bool icount_prepare(TcgCpu *tc, bool *again);
/* Waiting vCPUs look again. Any thread. */
void icount_kick(Icount *ic);
/* Instructions executed so far by all CPUs. */
uint64_t icount_executed(const Icount *ic);
void icount_info(const Icount *ic, GString *out);

/* ---- corrections by who leaves a block early ---- */
/* Instructions of the block before guest address `rip`; all, if that is not within it. */
unsigned icount_insns_before(const Block *b, uint64_t rip);
/* Only the first `n` instructions of the current block are executed. */
static inline void icount_leave(TcgCpu *tc, unsigned n)
{
    tc->icount_left = tc->icount_entry - (int64_t)n;
}

#endif
