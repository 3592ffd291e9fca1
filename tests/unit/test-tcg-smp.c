/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Several CPUs of the TCG engine at once: atomics, split locks, code changed by others. */
#include "tcg-harness.h"

#include <string.h>

#define RAM (64 * MiB)
#define TABLES 0x100000
#define CODE 0x10000
#define FUNC 0x18000
#define DATA 0x20000
#define STACK 0x30000

static Harness *long_mode(unsigned tb_mib)
{
    Harness *h = harness_new_tb(RAM, tb_mib);
    harness_long_mode(h, TABLES);
    h->cpu->regs[R_RSP] = STACK;
    return h;
}

/* Runs `code` at CODE on `n` CPUs with RBX = DATA + offset. */
static void run_all(Harness *h, const uint8_t *code, size_t len, unsigned n, uint64_t data)
{
    HarnessCpu *cpus[8];
    harness_write(h, CODE, code, len);
    h->cpu->regs[R_RBX] = data;
    h->cpu->rip = CODE;
    for (unsigned i = 1; i < n; i++) {
        cpus[i] = harness_start(h, CODE, STACK + i * 0x1000);
    }
    g_assert_cmpint(harness_run(h), ==, RUN_EXIT_HALTED);
    for (unsigned i = 1; i < n; i++) {
        g_assert_cmpint(harness_join(cpus[i], NULL), ==, RUN_EXIT_HALTED);
    }
}

/* mov ecx,count; 1: lock inc qword [rbx]; dec ecx; jnz 1b; hlt */
#define COUNT_LOOP(n)                                                                            \
    {                                                                                            \
        0xb9, (n)&0xff, (n) >> 8 & 0xff, (n) >> 16, 0, 0xf0, 0x48, 0xff, 0x03, 0xff, 0xc9, 0x75, \
            0xf8, 0xf4                                                                           \
    }

static void test_atomic(void)
{
    static const uint8_t code[] = COUNT_LOOP(50000);
    Harness *h = long_mode(16);
    run_all(h, code, sizeof(code), 3, DATA);
    g_assert_cmpuint(ld_le64(h->ram->host + DATA), ==, 150000);
    harness_free(h);
}

static void test_split_lock(void)
{
    static const uint8_t code[] = COUNT_LOOP(500);
    Harness *h = long_mode(16);
    run_all(h, code, sizeof(code), 3, DATA + 0xffd); /* over a page's end */
    g_assert_cmpuint(ld_le64(h->ram->host + DATA + 0xffd), ==, 1500);
    harness_free(h);
}

static void test_lock_in_code_page(void)
{
    static const uint8_t code[] = COUNT_LOOP(500);
    Harness *h = long_mode(16);
    run_all(h, code, sizeof(code), 2, CODE + 0x800);
    g_assert_cmpuint(ld_le64(h->ram->host + CODE + 0x800), ==, 1000);
    harness_free(h);
}

/* One CPU calls a function until it returns 200; the other rewrites what it returns. */
static void test_cross_modified(void)
{
    /* mov eax,0; ret */
    static const uint8_t func[] = {0xb8, 0, 0, 0, 0, 0xc3};
    /* 1: mov edi,FUNC; call rdi; cmp eax,200; jne 1b; hlt */
    static const uint8_t caller[] = {
        0xbf, FUNC & 0xff, FUNC >> 8 & 0xff, FUNC >> 16, 0, 0xff, 0xd7, 0x3d, 200, 0, 0, 0, 0x75,
        0xf2, 0xf4};
    /* mov edi,FUNC+1; 1: inc dword [rdi]; pause x 2; cmp dword [rdi],200; jne 1b; hlt */
    static const uint8_t writer[] = {0xbf,
                                     (FUNC + 1) & 0xff,
                                     FUNC >> 8 & 0xff,
                                     FUNC >> 16,
                                     0,
                                     0xff,
                                     0x07,
                                     0xf3,
                                     0x90,
                                     0xf3,
                                     0x90,
                                     0x81,
                                     0x3f,
                                     200,
                                     0,
                                     0,
                                     0,
                                     0x75,
                                     0xf2,
                                     0xf4};
    Harness *h = long_mode(16);
    harness_write(h, FUNC, func, sizeof(func));
    harness_write(h, CODE, writer, sizeof(writer));
    harness_write(h, CODE + 0x1000, caller, sizeof(caller));
    uint64_t rax;
    HarnessCpu *c = harness_start(h, CODE + 0x1000, STACK + 0x1000);
    h->cpu->rip = CODE;
    g_assert_cmpint(harness_run(h), ==, RUN_EXIT_HALTED);
    g_assert_cmpint(harness_join(c, &rax), ==, RUN_EXIT_HALTED);
    g_assert_cmpuint(rax, ==, 200);
    harness_free(h);
}

/* A CPU spins on code that a bus master (this thread) changes. */
static void test_dma_into_code(void)
{
    /* 1: mov eax,1; jmp 1b */
    static const uint8_t spin[] = {0xb8, 1, 0, 0, 0, 0xeb, 0xf9}, hlt[] = {0xf4};
    Harness *h = long_mode(16);
    harness_write(h, CODE, spin, sizeof(spin));
    HarnessCpu *c = harness_start(h, CODE, STACK);
    g_usleep(20000);
    harness_write(h, CODE + 5, hlt, 1);
    g_assert_cmpint(harness_join(c, NULL), ==, RUN_EXIT_HALTED);
    harness_free(h);
}

/* More blocks than fit into the cache. */
#define CHAIN 20000
static void test_cache_overflow(void)
{
    /* inc eax; jmp over 12 bytes */
    static const uint8_t link[16] = {0xff, 0xc0, 0xeb, 12}, hlt[] = {0xf4};
    Harness *h = long_mode(1);
    for (unsigned i = 0; i < CHAIN; i++) {
        harness_write(h, 0x200000 + i * 16, link, sizeof(link));
    }
    harness_write(h, 0x200000 + CHAIN * 16, hlt, 1);
    for (unsigned round = 0; round < 2; round++) {
        h->cpu->regs[R_RAX] = 0;
        HarnessCpu *c = harness_start(h, 0x200000, STACK);
        h->cpu->rip = 0x200000;
        g_assert_cmpint(harness_run(h), ==, RUN_EXIT_HALTED);
        g_assert_cmpuint(h->cpu->regs[R_RAX], ==, CHAIN);
        uint64_t rax;
        g_assert_cmpint(harness_join(c, &rax), ==, RUN_EXIT_HALTED);
        g_assert_cmpuint(rax, ==, CHAIN);
    }
    harness_free(h);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tcg-smp/atomic", test_atomic);
    g_test_add_func("/tcg-smp/split-lock", test_split_lock);
    g_test_add_func("/tcg-smp/lock-in-code-page", test_lock_in_code_page);
    g_test_add_func("/tcg-smp/cross-modified", test_cross_modified);
    g_test_add_func("/tcg-smp/dma-into-code", test_dma_into_code);
    g_test_add_func("/tcg-smp/cache-overflow", test_cache_overflow);
    return g_test_run();
}
