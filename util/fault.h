/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * util/fault.h: failures on demand, for tests.
 *
 * A step that can fail for reasons of the host (memory, descriptors) passes
 * fault_here() first.  A test arms the n-th passing; so each step of, say, a
 * device's realize is made to fail in turn, and the test looks what is left.
 * The counter belongs to the calling thread; disarmed, a passing costs a test of
 * one variable.
 */
#ifndef RHEA_UTIL_FAULT_H
#define RHEA_UTIL_FAULT_H

#include "util/error.h"

/* true, and an error that names the step, if this passing is the one that was armed. */
bool fault_here(const char *step, Error **errp);
/* The n-th passing from now on fails (once); 0 disarms. */
void fault_arm(unsigned n);
/* Has the armed passing been reached? */
bool fault_fired(void);

#endif
