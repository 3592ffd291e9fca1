/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * usage: smc SECONDS THREADS
 * Rewrites its own code all the time, and checks what it does: constants inside of
 * functions, whole functions, a loop that changes the instruction it comes to next, code that
 * another thread runs. Prints "smc: N functions" and exits with 0, or says what was wrong.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define PAGES 64
#define PAGE 4096
#define SLOT 64

typedef uint32_t Function(uint32_t x);
static double deadline;

static double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static uint32_t next_random(uint64_t *s)
{
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*s >> 33);
}

static void check(uint32_t got, uint32_t wanted, const char *what)
{
    if (got != wanted) {
        printf("smc: %s: %x instead of %x\n", what, got, wanted);
        exit(1);
    }
}

/* mov eax, edi; up to eight of add, xor, imul with constants; ret. Returns what it computes of x. */
static uint32_t make_function(uint8_t *p, uint64_t *seed, uint32_t x)
{
    static const uint8_t op[] = {0x05, 0x35, 0x69};
    *p++ = 0x89;
    *p++ = 0xf8;
    for (unsigned n = next_random(seed) % 8 + 1; n; n--) {
        unsigned k = next_random(seed) % 3;
        uint32_t c = next_random(seed);
        *p++ = op[k];
        if (k == 2) {
            *p++ = 0xc0;
        }
        memcpy(p, &c, 4);
        p += 4;
        x = k == 0 ? x + c : k == 1 ? x ^ c : x * c;
    }
    *p = 0xc3;
    return x;
}

/* for (ecx = n; ecx; ecx--) { add to the constant of the next instruction; add eax, constant } */
static void modify_ahead(uint8_t *p, unsigned n)
{
    static const uint8_t code[] = {
        0x89, 0xf9,                         /* mov ecx, edi */
        0x31, 0xc0,                         /* xor eax, eax */
        0x83, 0x05, 0x01, 0x00, 0x00, 0x00, /* add dword [rip + 1], 1 */
        0x01,                               /* */
        0x05, 0x00, 0x00, 0x00, 0x00,       /* add eax, 0 */
        0xff, 0xc9,                         /* dec ecx */
        0x75, 0xf0,                         /* jnz to the first add */
        0xc3,
    };
    memcpy(p, code, sizeof(code));
    check(((Function *)(void *)p)(n), n * (n + 1) / 2, "code that changes what comes next");
}

static void *work(void *arg)
{
    uint64_t seed = (uintptr_t)arg, done = 0;
    uint8_t *page = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        perror("smc: mmap");
        exit(1);
    }
    while (now() < deadline) {
        for (unsigned i = 0; i < 200; i++) {
            uint8_t *p = page + next_random(&seed) % PAGES * PAGE + next_random(&seed) % 32 * SLOT;
            uint32_t x = next_random(&seed), wanted = make_function(p, &seed, x);
            unsigned times = next_random(&seed) % 100 == 0 ? 200 : 3; /* some become hot */
            for (unsigned k = 0; k < times; k++) {
                check(((Function *)(void *)p)(x), wanted, "a new function");
            }
            done++;
        }
        modify_ahead(page + next_random(&seed) % (PAGE - SLOT), 300);
        if (next_random(&seed) % 50 == 0) { /* other memory at the same place */
            page = mmap(page, PAGES * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        }
    }
    return (void *)(uintptr_t)done;
}

/* A function that one thread calls and another one changes: by bytes, it is always a valid one. */
static uint8_t *shared;
static void *call_shared(void *arg)
{
    while (now() < deadline) {
        for (unsigned i = 0; i < 1000; i++) {
            uint32_t r = ((Function *)(void *)shared)(0);
            if (r & ~0xffu) {
                check(r, r & 0xff, "a function that another CPU changes");
            }
        }
    }
    return NULL;
}

static void *change_shared(void *arg)
{
    while (now() < deadline) {
        for (unsigned i = 0; i < 256; i++) {
            __atomic_store_n(shared + 1, (uint8_t)i, __ATOMIC_SEQ_CST); /* mov eax, i */
        }
        check(((Function *)(void *)shared)(0), 255, "a function that this CPU changed");
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t t[16];
    unsigned n = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
    uint64_t sum = 0;
    n = n > 14 ? 14 : n;
    deadline = now() + (argc > 1 ? atoi(argv[1]) : 1);
    shared =
        mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(shared, (const uint8_t[]){0xb8, 0, 0, 0, 0, 0xc3}, 6);
    pthread_create(&t[14], NULL, call_shared, NULL);
    pthread_create(&t[15], NULL, change_shared, NULL);
    for (unsigned i = 0; i < n; i++) {
        pthread_create(&t[i], NULL, work, (void *)(uintptr_t)(i + 1));
    }
    for (unsigned i = 0; i < 16; i++) {
        void *done = NULL;
        if (i < n || i >= 14) {
            pthread_join(t[i], &done);
        }
        sum += (uintptr_t)done;
    }
    printf("smc: %llu functions\n", (unsigned long long)sum);
    return 0;
}
