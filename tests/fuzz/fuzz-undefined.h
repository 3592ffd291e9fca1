/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/fuzz/fuzz-undefined.h: what has no defined value, wherever a program that runs in
 * single steps has got to: the instructions are taken from memory as they are executed.
 */
#ifndef RHEA_TESTS_FUZZ_UNDEFINED_H
#define RHEA_TESTS_FUZZ_UNDEFINED_H

#include "target/i386/cpu.h"
#include "tests/fuzz/fuzz-gen.h"

typedef struct Undefined {
    uint16_t flags; /* without a defined value now */
    /* Whatever comes of it need not be the same: time, chance, approximations, state images,
     * flags that a trap has stored before they could be given a value. */
    bool lost;
} Undefined;

/*
 * Before an instruction: gives the flags that the one before left undefined the value
 * `ones`, and looks up which this one will leave so.
 */
void undefined_step(Undefined *u, CPUX86 *cpu, bool ones);

#endif
