/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/fuzz/fuzz-system.h: sequences for ring 0 and for the modes of old, where all
 * engines must agree though no host can be asked.
 */
#ifndef RHEA_TESTS_FUZZ_SYSTEM_H
#define RHEA_TESTS_FUZZ_SYSTEM_H

#include "tests/fuzz/fuzz-gen.h"

/* GenOptions.allowed and .special. */
bool system_allowed(Gen *g, const DecodedInsn *in);
/* Units of fuzz-paging.c. */
void system_paging(Gen *g);
void system_code_changes(Gen *g);
/* Code that they may change. */
void system_constant(Gen *g);
void system_unit(Gen *g);

#endif
