/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/bench/cpu/rows.h: the rows that the guest's own program measures. */
#ifndef RHEA_BENCH_ROWS_H
#define RHEA_BENCH_ROWS_H

#include <stdbool.h>

typedef struct Row {
    const char *name;
    double (*batch)(void); /* does a few milliseconds of work; returns operations */
    void (*setup)(void);
    bool (*usable)(void);
} Row;

extern const Row rows[]; /* ends with a name of NULL */

double now(void); /* CLOCK_MONOTONIC, seconds */

/* rows-vector.c: the same work by the compiler's vector extensions, SSE2 and AVX2. */
double batch_sse2(void);
double batch_avx2(void);

#endif
