/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/unit/rng.h: random numbers for tests of arithmetic: quick, and the same in every run
 * (xorshift64*; the seed is not 0).
 */
#ifndef RHEA_TESTS_RNG_H
#define RHEA_TESTS_RNG_H

#include <stdint.h>

typedef struct Rng {
    uint64_t s;
} Rng;

static inline uint64_t next(Rng *r)
{
    r->s ^= r->s << 13;
    r->s ^= r->s >> 7;
    r->s ^= r->s << 17;
    return r->s * 0x2545f4914f6cdd1dull;
}

#endif
