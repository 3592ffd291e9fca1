/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs in a guest (test_cpu.py) and on the host, compiled for AVX2, FMA, BMI2 and F16C:
 * prints digests of what such code computes, then checks that processes which take turns
 * keep their vector registers.
 */
#include <immintrin.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define N 96

static uint64_t seed = 88172645463325252ull;

static uint64_t next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static uint64_t digest(const void *data, size_t size)
{
    const uint8_t *p = data;
    uint64_t h = 1469598103934665603ull;
    for (size_t i = 0; i < size; i++) {
        h = (h ^ p[i]) * 1099511628211ull;
    }
    return h;
}

static void show(const char *name, const void *data, size_t size)
{
    printf("%s %016llx\n", name, (unsigned long long)digest(data, size));
}

static void matrices(void)
{
    static double a[N][N], b[N][N], c[N][N];
    static float f[N][N];
    for (int i = 0; i < N * N; i++) {
        (&a[0][0])[i] = (double)(int64_t)next() / 1e15;
        (&b[0][0])[i] = (double)(int64_t)next() / 1e17;
    }
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < N; k++) {
            for (int j = 0; j < N; j++) {
                c[i][j] += a[i][k] * b[k][j];
            }
        }
    }
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) {
            f[i][j] = (float)c[j][i] * 0.1f + (float)i;
        }
    }
    show("fma", c, sizeof(c));
    show("float", f, sizeof(f));
    uint16_t half[N];
    for (int i = 0; i < N; i += 8) {
        __m128i h = _mm256_cvtps_ph(_mm256_loadu_ps(&f[3][i]), 0);
        _mm_storeu_si128((__m128i *)(half + i), h);
    }
    show("f16", half, sizeof(half));
}

static void integers(void)
{
    static uint32_t v[4096], table[256], out[4096];
    static uint64_t bits[1024];
    for (int i = 0; i < 256; i++) {
        table[i] = (uint32_t)next();
    }
    for (int i = 0; i < 4096; i++) {
        v[i] = (uint32_t)next();
    }
    for (int i = 0; i < 4096; i++) {
        out[i] = (table[v[i] & 255] >> (v[i] >> 27)) + (v[i] << (v[i] >> 28));
    }
    show("gather", out, sizeof(out));
    for (int i = 0; i < 1024; i++) {
        uint64_t x = next(), m = next();
        bits[i] = _pdep_u64(x, m) ^ _pext_u64(m, x) ^ _bzhi_u64(x, i & 63) ^ _blsr_u64(m) ^
                  _tzcnt_u64(x & ~0xffull) ^ _andn_u64(x, m);
    }
    show("bmi", bits, sizeof(bits));
    uint8_t text[4096];
    memcpy(text, v, sizeof(text));
    for (int i = 0; i < 4096; i++) {
        text[i] = (uint8_t)(text[i] > 100 ? text[i] - 13 : text[i] * 3);
    }
    show("bytes", text, sizeof(text));
}

/* All sixteen registers filled, turns taken, all compared. */
static int keep_registers(unsigned me)
{
    uint32_t in[16][8], out[16][8];
    for (unsigned round = 0; round < 300; round++) {
        for (unsigned i = 0; i < 16 * 8; i++) {
            (&in[0][0])[i] = (uint32_t)(me * 0x01010101u + round * 257 + i * 65537);
        }
        __asm__ volatile(".set off, 0\n\t.irp r,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
                         "vmovdqu off(%[in]), %%ymm\\r\n\t.set off, off + 32\n\t.endr\n\t"
                         "mov %[yield], %%eax\n\tsyscall\n\t"
                         "mov $2000, %%eax\n1:\n\tdec %%eax\n\tjnz 1b\n\t"
                         ".set off, 0\n\t.irp r,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
                         "vmovdqu %%ymm\\r, off(%[out])\n\t.set off, off + 32\n\t.endr"
                         :
                         : [in] "r"(in), [out] "r"(out), [yield] "i"(24)
                         : "memory", "cc", "rax", "rcx", "r11", "xmm0", "xmm1", "xmm2", "xmm3",
                           "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
                           "xmm12", "xmm13", "xmm14", "xmm15");
        if (memcmp(in, out, sizeof(in))) {
            return 1;
        }
    }
    return 0;
}

int main(void)
{
    int bad = 0, status;
    matrices();
    integers();
    fflush(stdout);
    for (unsigned i = 0; i < 4; i++) {
        if (fork() == 0) {
            _exit(keep_registers(i));
        }
    }
    while (wait(&status) > 0) {
        bad += status != 0;
    }
    printf("switches %s\n", bad ? "LOST" : "kept");
    return bad;
}
