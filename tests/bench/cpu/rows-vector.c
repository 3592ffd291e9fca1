/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Vector floating point and integers, written with the compiler's vector types. */
#include "rows.h"

#include <stdint.h>

#define N 4096

typedef float F4 __attribute__((vector_size(16)));
typedef int32_t I4 __attribute__((vector_size(16)));
typedef float F8 __attribute__((vector_size(32)));
typedef int32_t I8 __attribute__((vector_size(32)));

static float a[N] __attribute__((aligned(32))), b[N] __attribute__((aligned(32)));
static int32_t c[N] __attribute__((aligned(32)));

/* Multiply, add, divide now and then, and integer work on what comes out. */
#define WORK(F, I, width)                             \
    do {                                              \
        F *x = (F *)a, *y = (F *)b, k = {0}, s = {0}; \
        I *z = (I *)c, m = {0};                       \
        k = k + 0.999f;                               \
        m = m + 0x00ff00ff;                           \
        for (int round = 0; round < 20; round++) {    \
            for (int i = 0; i < N / (width); i++) {   \
                F v = x[i] * k + y[i];                \
                s = s + v * v;                        \
                x[i] = v;                             \
                I w = (z[i] & m) + (z[i] << 3);       \
                z[i] = (w ^ z[i]) - (I)(v > s);       \
            }                                         \
            y[round] = s / (s + 1.0f);                \
        }                                             \
    } while (0)

static void fill(void)
{
    for (int i = 0; i < N; i++) {
        a[i] = (float)i * 0.001f;
        b[i] = 0.5f;
    }
}

double batch_sse2(void)
{
    fill();
    WORK(F4, I4, 4);
    return 20.0 * N;
}

__attribute__((target("avx2,fma"))) double batch_avx2(void)
{
    fill();
    WORK(F8, I8, 8);
    return 20.0 * N;
}
