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

/*
 * One CPU rewrites the constants of functions that two others call all the time; in rounds, by
 * the protocol for code that another CPU modifies (SDM vol. 3, 9.1.3): a flag in memory, and a
 * serializing instruction, after which nothing old may be executed.  The constants are written by
 * plain stores, as the stack, by XCHG and by a string instruction, in turns.
 */
#define ROUNDS 60u
static void test_cross_modifying(void)
{
    /*
     *       mov eax,1; lock xadd [rbx+32],eax; shl eax,6; lea r15,[rbx+rax+64]; mov r13d,1
     * busy: call f0; call f1; call f2; mov rdi,[r12]; call rdi; mov ecx,8
     * 1:    dec ecx; jz 2f; call f3; jmp 1b
     * 2:    cmp dword [rbx+40],0; je bad; cmp [rbx],r13d; jne busy; push rbx; xor eax,eax; cpuid; pop rbx
     *       call f0; cmp eax,r13d; jne bad; … f1 … f2 … f3 … [r12] …
     *       mov [r15],r13d; inc r13d; cmp r13d,[rbx+40]; jbe busy; mov eax,1; hlt
     * bad:  mov dword [rbx+40],0; shl r13,32; or rax,r13; hlt
     */
    static const uint8_t caller[] = {
        0xb8, 0x01, 0x00, 0x00, 0x00, 0xf0, 0x0f, 0xc1, 0x43, 0x20, 0xc1, 0xe0, 0x06, 0x4c, 0x8d,
        0x7c, 0x03, 0x40, 0x41, 0xbd, 0x01, 0x00, 0x00, 0x00, 0xe8, 0xa3, 0x00, 0x00, 0x00, 0xe8,
        0xae, 0x00, 0x00, 0x00, 0xe8, 0xd9, 0x00, 0x00, 0x00, 0x49, 0x8b, 0x3c, 0x24, 0xff, 0xd7,
        0xb9, 0x08, 0x00, 0x00, 0x00, 0xff, 0xc9, 0x74, 0x07, 0xe8, 0x05, 0x01, 0x00, 0x00, 0xeb,
        0xf5, 0x83, 0x7b, 0x28, 0x00, 0x74, 0x50, 0x44, 0x39, 0x2b, 0x75, 0xd0, 0x53, 0x31, 0xc0,
        0x0f, 0xa2, 0x5b, 0xe8, 0x6d, 0x00, 0x00, 0x00, 0x44, 0x39, 0xe8, 0x75, 0x3b, 0xe8, 0x73,
        0x00, 0x00, 0x00, 0x44, 0x39, 0xe8, 0x75, 0x31, 0xe8, 0x99, 0x00, 0x00, 0x00, 0x44, 0x39,
        0xe8, 0x75, 0x27, 0xe8, 0xcf, 0x00, 0x00, 0x00, 0x44, 0x39, 0xe8, 0x75, 0x1d, 0x49, 0x8b,
        0x3c, 0x24, 0xff, 0xd7, 0x44, 0x39, 0xe8, 0x75, 0x12, 0x45, 0x89, 0x2f, 0x41, 0xff, 0xc5,
        0x44, 0x3b, 0x6b, 0x28, 0x76, 0x8b, 0xb8, 0x01, 0x00, 0x00, 0x00, 0xf4, 0xc7, 0x43, 0x28,
        0x00, 0x00, 0x00, 0x00, 0x49, 0xc1, 0xe5, 0x20, 0x4c, 0x09, 0xe8, 0xf4,
    };
    /* mov eax,0 among others, with the constant on a boundary of 4 bytes */
    static const uint8_t
        f0[] =
            {
                0x90, 0x90, 0x90, 0xb8, 0x00, 0x00, 0x00, 0x00, 0xc3,
            },
        f1[] =
            {
                /* push rbp; …; pop rbp; ret */
                0x55, 0x90, 0x90, 0xb8, 0x00, 0x00, 0x00, 0x00, 0x5d, 0xc3,
            },
        f2[] =
            {
                /* test rsp,rsp; jz to the HLT; …; push rax; …; lea rsp,[rsp+8]; ret; hlt */
                0x48, 0x85, 0xe4, 0x74, 0x19, 0x0f, 0x1f, 0x00, 0x0f, 0x1f, 0x84,
                0x00, 0x00, 0x00, 0x00, 0x00, 0x50, 0x90, 0x90, 0xb8, 0x00, 0x00,
                0x00, 0x00, 0x48, 0x8d, 0x64, 0x24, 0x08, 0xc3, 0xf4,
            },
        f3[] = {
            /* …; cmp ecx,3; je 1f; ret; 1: nop; ret */
            0x90, 0x90, 0x90, 0xb8, 0x00, 0x00, 0x00, 0x00,
            0x83, 0xf9, 0x03, 0x74, 0x01, 0xc3, 0x90, 0xc3,
        };
    /*
     *       mov r13d,1
     * 1:    lea r12,[rbx+256]; mov ecx,r13d; and ecx,3
     * next: mov rdi,[r12]; add r12,8; by ecx: mov [rdi],r13d, or push it and what follows there,
     *       or xchg, or rep movsb from [rbx+48]; next until rdi is 0
     *       mov [rbx],r13d
     * 2:    pause; cmp dword [rbx+40],0; je over; cmp [rbx+64],r13d; jne 2b; cmp [rbx+128],r13d; jne 2b
     *       inc r13d; cmp r13d,[rbx+40]; jbe 1b; over: hlt
     */
    static const uint8_t writer[] = {
        0x41, 0xbd, 0x01, 0x00, 0x00, 0x00, 0x4c, 0x8d, 0xa3, 0x00, 0x01, 0x00, 0x00, 0x44, 0x89,
        0xe9, 0x83, 0xe1, 0x03, 0x49, 0x8b, 0x3c, 0x24, 0x48, 0x85, 0xff, 0x74, 0x4f, 0x4d, 0x8d,
        0x64, 0x24, 0x04, 0x4d, 0x8d, 0x64, 0x24, 0x04, 0x83, 0xf9, 0x01, 0x72, 0x1d, 0x74, 0x20,
        0x83, 0xf9, 0x02, 0x74, 0x32, 0x44, 0x89, 0x6b, 0x30, 0x48, 0x8d, 0x73, 0x30, 0xb9, 0x04,
        0x00, 0x00, 0x00, 0xf3, 0xa4, 0xb9, 0x03, 0x00, 0x00, 0x00, 0xeb, 0xcb, 0x44, 0x89, 0x2f,
        0xeb, 0xc6, 0x8b, 0x47, 0x04, 0x48, 0xc1, 0xe0, 0x20, 0x4c, 0x09, 0xe8, 0x48, 0x89, 0xe2,
        0x48, 0x8d, 0x67, 0x08, 0x50, 0x48, 0x89, 0xd4, 0xeb, 0xaf, 0x44, 0x89, 0xe8, 0x87, 0x07,
        0xeb, 0xa8, 0x44, 0x89, 0x2b, 0xf3, 0x90, 0x83, 0x7b, 0x28, 0x00, 0x74, 0x1c, 0x44, 0x39,
        0x6b, 0x40, 0x75, 0xf2, 0x44, 0x39, 0xab, 0x80, 0x00, 0x00, 0x00, 0x75, 0xe9, 0x41, 0xff,
        0xc5, 0x44, 0x3b, 0x6b, 0x28, 0x0f, 0x86, 0x74, 0xff, 0xff, 0xff, 0xf4,
    };
    const uint64_t at = CODE + 0x1000;
    const uint64_t constants[] = {at + 0xc4, at + 0xd4, at + 0x114, at + 0x144, FUNC + 4, 0};
    const uint64_t elsewhere = FUNC, rounds = ROUNDS;
    Harness *h = long_mode(16);
    harness_write(h, CODE, writer, sizeof(writer));
    harness_write(h, at, caller, sizeof(caller));
    harness_write(h, at + 0xc0, f0, sizeof(f0));
    harness_write(h, at + 0xd0, f1, sizeof(f1));
    harness_write(h, at + 0x100, f2, sizeof(f2));
    harness_write(h, at + 0x140, f3, sizeof(f3));
    harness_write(h, FUNC, f0, sizeof(f0));
    harness_write(h, DATA + 40, &rounds, sizeof(rounds));
    harness_write(h, DATA + 0x100, constants, sizeof(constants));
    harness_write(h, DATA + 0x200, &elsewhere, sizeof(elsewhere));
    h->cpu->regs[R_RBX] = DATA;
    h->cpu->regs[R_R12] = DATA + 0x200;
    HarnessCpu *one = harness_start(h, at, STACK + 0x1000);
    HarnessCpu *two = harness_start(h, at, FUNC + 0xc00); /* with its stack among the code */
    uint64_t result[2];
    h->cpu->rip = CODE;
    bool written = harness_run(h) == RUN_EXIT_HALTED;
    g_assert_cmpint(harness_join(one, &result[0]), ==, RUN_EXIT_HALTED);
    g_assert_cmpint(harness_join(two, &result[1]), ==, RUN_EXIT_HALTED);
    g_assert_cmphex(result[0], ==, 1);
    g_assert_cmphex(result[1], ==, 1);
    g_assert_true(written);
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
    g_test_add_func("/tcg-smp/cross-modifying", test_cross_modifying);
    g_test_add_func("/tcg-smp/dma-into-code", test_dma_into_code);
    g_test_add_func("/tcg-smp/cache-overflow", test_cache_overflow);
    return g_test_run();
}
