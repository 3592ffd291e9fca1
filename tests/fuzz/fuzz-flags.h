/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/fuzz/fuzz-flags.h: what the fuzzers know of instructions beyond the decoder's tables. */
#ifndef RHEA_TESTS_FUZZ_FLAGS_H
#define RHEA_TESTS_FUZZ_FLAGS_H

#include "target/i386/decode.h"
#include "tests/fuzz/fuzz-case.h"

#include <glib.h>

/* Masks of RFLAGS. Neither defined nor undefined: kept, or kept in some cases. */
typedef struct FlagUse {
    uint16_t read, defined, undefined;
} FlagUse;

FlagUse flag_use(const DecodedInsn *in);
/* The flags without a defined value after it; before it they were `undefined`. */
uint16_t flags_after(uint16_t undefined, const DecodedInsn *in);
bool flag_never(unsigned op);

#endif
