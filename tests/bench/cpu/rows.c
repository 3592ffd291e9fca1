/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the guest's program measures; see docs/benchmarks.md for what each row stands for. */
#define _GNU_SOURCE
#include "rows.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile uint64_t sink;

static uint64_t next_random(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    return *s ^= *s << 17;
}

/* ---- integers ---- */

/* Short loops of arithmetic, comparisons and branches, as compilers make them. */
static double batch_int(void)
{
    uint64_t steps = 0, bits = 0;
    for (uint32_t n = 1; n < 3000; n++) {
        uint32_t x = n;
        while (x != 1) {
            x = x & 1 ? 3 * x + 1 : x >> 1;
            steps++;
        }
        uint32_t p = n * 2654435761u, q = n | 1;
        while (q) {
            uint32_t r = p % q;
            p = q;
            q = r;
            steps++;
        }
        for (uint32_t v = n; v; v &= v - 1) {
            bits++;
        }
    }
    sink = steps + bits;
    return (double)(steps + bits);
}

/* A small machine with a loop, so that every step is a jump nobody foresees well. */
static double batch_interpreter(void)
{
    static const uint8_t program[] = {0, 1, 2, 3, 1, 4, 2, 5, 0, 6, 3, 1, 5, 7};
    uint64_t acc = 1, x = 3, y = 7;
    unsigned pc = 0, steps = 0;
    for (int n = 12000; n;) {
        steps++;
        switch (program[pc++]) {
        case 0:
            acc += x;
            break;
        case 1:
            x ^= acc << 1;
            break;
        case 2:
            y = y * 5 + 1;
            break;
        case 3:
            if (acc & 1) {
                pc++;
            }
            break;
        case 4:
            acc -= y >> 3;
            break;
        case 5:
            x = y < acc ? x + 1 : x - 1;
            break;
        case 6:
            y ^= x;
            break;
        default:
            pc = 0;
            n--;
            break;
        }
    }
    sink = acc + x + y;
    return steps;
}

static int compare_ints(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return x < y ? -1 : x > y;
}

static double batch_qsort(void)
{
    static int v[20000];
    uint64_t s = 1234567;
    for (unsigned i = 0; i < 20000; i++) {
        v[i] = (int)next_random(&s);
    }
    qsort(v, 20000, sizeof(int), compare_ints);
    return 20000;
}

/* ---- memory ---- */

#define CHASE (8 << 20)
static uint32_t *chain;

static void setup_chase(void)
{
    unsigned n = CHASE / 64;
    uint64_t s = 99;
    chain = chain ? chain : aligned_alloc(4096, CHASE);
    uint32_t *order = malloc(n * sizeof(*order));
    for (unsigned i = 0; i < n; i++) {
        order[i] = i;
    }
    for (unsigned i = n - 1; i > 0; i--) {
        unsigned k = (unsigned)(next_random(&s) % (i + 1));
        uint32_t t = order[i];
        order[i] = order[k];
        order[k] = t;
    }
    for (unsigned i = 0; i < n; i++) {
        chain[order[i] * 16] = order[(i + 1) % n] * 16;
    }
    free(order);
}

static double batch_chase(void)
{
    uint32_t p = 0;
    for (int i = 0; i < 100000; i++) {
        p = chain[p];
    }
    sink = p;
    return 100000;
}

static double batch_stream(void)
{
    enum { N = 1 << 20 };
    static uint64_t a[N], b[N];
    uint64_t sum = 0;
    for (unsigned i = 0; i < N; i++) {
        a[i] = b[i] + i;
    }
    for (unsigned i = 0; i < N; i++) {
        sum += a[i];
        b[i] = sum;
    }
    sink = sum;
    return 4.0 * N * 8;
}

/* ---- floating point ---- */

static double batch_linpack(void)
{
    enum { N = 100 };
    static double m[N][N];
    uint64_t s = 42;
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < N; k++) {
            m[i][k] = (double)(next_random(&s) >> 11) * 0x1p-53 - 0.5 + (i == k ? N : 0);
        }
    }
    for (int k = 0; k < N; k++) {
        for (int i = k + 1; i < N; i++) {
            double f = m[i][k] / m[k][k];
            for (int c = k + 1; c < N; c++) {
                m[i][c] -= f * m[k][c];
            }
        }
    }
    sink = (uint64_t)m[N - 1][N - 1];
    return 2.0 * N * N * N / 3;
}

typedef struct Body {
    double x, y, z, vx, vy, vz, mass;
} Body;

static double batch_nbody(void)
{
    static Body b[5];
    for (int i = 0; i < 5; i++) {
        b[i] = (Body){i * 3.1, i * -2.3 + 1, i * 0.7, 0.1 * i, 0.2, -0.1 * i, 1.0 / (i + 1)};
    }
    for (int step = 0; step < 2000; step++) {
        for (int i = 0; i < 5; i++) {
            for (int k = i + 1; k < 5; k++) {
                double dx = b[i].x - b[k].x, dy = b[i].y - b[k].y, dz = b[i].z - b[k].z;
                double d2 = dx * dx + dy * dy + dz * dz, mag = 0.001 / (d2 * sqrt(d2));
                b[i].vx -= dx * b[k].mass * mag;
                b[i].vy -= dy * b[k].mass * mag;
                b[i].vz -= dz * b[k].mass * mag;
                b[k].vx += dx * b[i].mass * mag;
                b[k].vy += dy * b[i].mass * mag;
                b[k].vz += dz * b[i].mass * mag;
            }
        }
        for (int i = 0; i < 5; i++) {
            b[i].x += 0.001 * b[i].vx;
            b[i].y += 0.001 * b[i].vy;
            b[i].z += 0.001 * b[i].vz;
        }
    }
    sink = (uint64_t)b[0].x;
    return 2000;
}

#define MANDELBROT(type)                                       \
    do {                                                       \
        unsigned inside = 0;                                   \
        for (int py = 0; py < 60; py++) {                      \
            for (int px = 0; px < 60; px++) {                  \
                type cr = (type)px / 30 - (type)1.5;           \
                type ci = (type)py / 30 - 1, zr = 0, zi = 0;   \
                int n = 0;                                     \
                for (; n < 50 && zr * zr + zi * zi < 4; n++) { \
                    type t = zr * zr - zi * zi + cr;           \
                    zi = 2 * zr * zi + ci;                     \
                    zr = t;                                    \
                }                                              \
                inside += (unsigned)n;                         \
            }                                                  \
        }                                                      \
        sink = inside;                                         \
        return inside;                                         \
    } while (0)

static double batch_mandelbrot(void)
{
    MANDELBROT(double);
}

static double batch_x87(void)
{
    MANDELBROT(long double);
}

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

/* ---- strings ---- */

#if defined(__x86_64__)
static uint8_t from[65536], to[65536];

/* As the kernel and small libraries copy: REP over sizes from a few bytes to a page. */
static double batch_rep(void)
{
    static const size_t sizes[] = {24, 100, 256, 1000, 4096, 16384};
    double bytes = 0;
    for (int round = 0; round < 100; round++) {
        for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            void *d = to + round, *s = from;
            size_t n = sizes[i];
            __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
            d = to;
            n = sizes[i] / 8;
            __asm__ volatile("rep stosq" : "+D"(d), "+c"(n) : "a"(round) : "memory");
            bytes += 2.0 * (double)sizes[i];
        }
    }
    return bytes;
}

static double batch_scan(void)
{
    double bytes = 0;
    memset(from, 'a', sizeof(from));
    for (int round = 0; round < 20; round++) {
        void *d = from;
        size_t n = 4000;
        __asm__ volatile("repne scasb" : "+D"(d), "+c"(n) : "a"(0) : "memory", "cc");
        void *x = from, *y = from + 8192;
        n = 4000;
        __asm__ volatile("repe cmpsb" : "+D"(x), "+S"(y), "+c"(n) : : "memory", "cc");
        bytes += 8000;
    }
    return bytes;
}

/* Code that is written, run and written again. */
static double batch_smc(void)
{
    static uint8_t *code;
    if (!code) {
        code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                    0);
    }
    uint64_t sum = 0;
    for (uint32_t i = 0; i < 200; i++) {
        static const uint8_t body[] = {0xb8, 0, 0, 0, 0, 0x01, 0xf8, 0xc3};
        memcpy(code, body, sizeof(body));
        memcpy(code + 1, &i, 4);
        for (int k = 0; k < 20; k++) {
            int (*f)(int) = (int (*)(int))(uintptr_t)code;
            sum += (uint64_t)f(k);
        }
    }
    sink = sum;
    return 200;
}
#endif

static double batch_libc(void)
{
    static char s[4096], t[4096];
    memset(s, 'x', 4000);
    s[4000] = 0;
    double bytes = 0;
    size_t sum = 0;
    for (int i = 0; i < 200; i++) {
        s[i] = (char)('a' + i % 20);
        sum += strlen(s);
        memcpy(t, s, 4001);
        sum += (size_t)(strcmp(s, t) == 0);
        sum += (size_t)(strchr(s, '!') == NULL);
        sum += (size_t)(memchr(t, 'y', 4000) == NULL);
        sum += (size_t)(strstr(s, "xxy") == NULL);
        bytes += 6 * 4000;
    }
    sink = sum;
    return bytes;
}

/* ---- the kernel's work ---- */

static double batch_syscall(void)
{
    for (int i = 0; i < 2000; i++) {
        syscall(SYS_getppid);
    }
    return 2000;
}

static int ping[2], pong[2];

static void setup_switch(void)
{
    if (ping[1]) {
        return;
    }
    if (pipe(ping) || pipe(pong)) {
        exit(1);
    }
    if (!fork()) {
        char c;
        close(ping[1]);
        while (read(ping[0], &c, 1) == 1 && write(pong[1], &c, 1) == 1) {
        }
        _exit(0);
    }
}

static double batch_switch(void)
{
    char c = 1;
    for (int i = 0; i < 200; i++) {
        if (write(ping[1], &c, 1) != 1 || read(pong[0], &c, 1) != 1) {
            exit(1);
        }
    }
    return 400;
}

static double batch_fault(void)
{
    enum { PAGES = 256 };
    char *p = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < PAGES; i++) {
        p[i * 4096] = 1;
    }
    munmap(p, PAGES * 4096);
    return PAGES;
}

static double batch_fork(void)
{
    for (int i = 0; i < 5; i++) {
        pid_t pid = fork();
        if (!pid) {
            execl("/proc/self/exe", "guest", "nothing", (char *)NULL);
            _exit(1);
        }
        waitpid(pid, NULL, 0);
    }
    return 5;
}

/* ---- two CPUs ---- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t shared_count;

/* Work on its own, and now and then a lock and an atomic that both use. */
static void *worker(void *opaque)
{
    for (int i = 0; i < 10; i++) {
        uint64_t s = (uint64_t)(uintptr_t)opaque + 1, h = 0;
        for (int k = 0; k < 100000; k++) {
            h = (h + next_random(&s)) * 31 ^ (h >> 17);
        }
        pthread_mutex_lock(&mutex);
        sink = sink + h;
        pthread_mutex_unlock(&mutex);
        __atomic_fetch_add(&shared_count, 1, __ATOMIC_SEQ_CST);
    }
    return NULL;
}

static double threads(unsigned n)
{
    pthread_t t[4];
    for (unsigned i = 0; i < n; i++) {
        pthread_create(&t[i], NULL, worker, (void *)(uintptr_t)(i + 1));
    }
    for (unsigned i = 0; i < n; i++) {
        pthread_join(t[i], NULL);
    }
    return 1e6 * n;
}

static double batch_one_thread(void)
{
    return threads(1);
}

static double batch_two_threads(void)
{
    return threads(2);
}

const Row rows[] = {
    {.name = "int", .batch = batch_int},
    {.name = "bytecode", .batch = batch_interpreter},
    {.name = "qsort", .batch = batch_qsort},
    {.name = "chase", .batch = batch_chase, .setup = setup_chase},
    {.name = "stream", .batch = batch_stream},
    {.name = "linpack", .batch = batch_linpack},
    {.name = "nbody", .batch = batch_nbody},
    {.name = "mandelbrot", .batch = batch_mandelbrot},
    {.name = "vec-sse2", .batch = batch_sse2},
    {.name = "vec-avx2", .batch = batch_avx2, .usable = has_avx2},
    {.name = "x87", .batch = batch_x87},
    {.name = "rep", .batch = batch_rep},
    {.name = "scan", .batch = batch_scan},
    {.name = "libc-str", .batch = batch_libc},
    {.name = "smc", .batch = batch_smc},
    {.name = "syscall", .batch = batch_syscall},
    {.name = "switch", .batch = batch_switch, .setup = setup_switch},
    {.name = "fault", .batch = batch_fault},
    {.name = "fork-exec", .batch = batch_fork},
    {.name = "one-thread", .batch = batch_one_thread},
    {.name = "two-threads", .batch = batch_two_threads},
    {0},
};
