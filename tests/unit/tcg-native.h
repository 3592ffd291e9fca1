/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/unit/tcg-native.h: for tests that run random code on this host's CPU and in a guest of the
 * translator, at the same addresses, and compare: general registers go in and come out here, other
 * state by the code's own instructions.  x86-64 hosts.
 */
#ifndef RHEA_TESTS_TCG_NATIVE_H
#define RHEA_TESTS_TCG_NATIVE_H

#include "tests/unit/tcg-harness.h"
#include "util/bits.h"

/* Addresses of both: data that the code works on, and the code. */
#define WINDOW 0x10000000ull
#define CODE 0x10100000ull
/* Of the guest's RAM. */
#define TABLES 0x1000ull
#define RAM (288 * MiB)

/* RBX is WINDOW; RSP, RBP, RDI and R12 to R15 are not the code's. */
typedef struct Regs {
    uint64_t rax, rcx, rdx, rsi, r8, r9, r10, r11, flags;
} Regs;

/* Runs what stands at CODE, which ends by a near return. */
static inline void native_run(Regs *s)
{
    static uint32_t mxcsr = 0x1f80;
    /* Not in RBX or RBP, which the sequence sets before it uses these. */
    register const Regs *state __asm__("r12") = s;
    register uint64_t code __asm__("r13") = CODE;
    register uint64_t window __asm__("r14") = WINDOW;
    __asm__ volatile("sub $128, %%rsp\n\tpush %%rbx\n\tpush %%rbp\n\tmov %[s], %%rbp\n\t"
                     "mov %[w], %%rbx\n\t"
                     "mov 0(%%rbp), %%rax\n\tmov 8(%%rbp), %%rcx\n\tmov 16(%%rbp), %%rdx\n\t"
                     "mov 24(%%rbp), %%rsi\n\tmov 32(%%rbp), %%r8\n\tmov 40(%%rbp), %%r9\n\t"
                     "mov 48(%%rbp), %%r10\n\tmov 56(%%rbp), %%r11\n\t"
                     "push 64(%%rbp)\n\tpopfq\n\tcall *%[c]\n\tpushfq\n\tpop 64(%%rbp)\n\t"
                     "mov %%rax, 0(%%rbp)\n\tmov %%rcx, 8(%%rbp)\n\tmov %%rdx, 16(%%rbp)\n\t"
                     "mov %%rsi, 24(%%rbp)\n\tmov %%r8, 32(%%rbp)\n\tmov %%r9, 40(%%rbp)\n\t"
                     "mov %%r10, 48(%%rbp)\n\tmov %%r11, 56(%%rbp)\n\t"
                     "pop %%rbp\n\tpop %%rbx\n\tadd $128, %%rsp\n\tfninit\n\tldmxcsr %[m]\n\tcld"
                     :
                     : [s] "r"(state), [c] "r"(code), [w] "r"(window), [m] "m"(mxcsr)
                     : "memory", "cc", "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11",
                       "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                       "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

static inline void native_load_guest(CPUX86 *cpu, const Regs *s)
{
    const uint64_t v[8] = {s->rax, s->rcx, s->rdx, s->rsi, s->r8, s->r9, s->r10, s->r11};
    static const uint8_t n[8] = {R_RAX, R_RCX, R_RDX, R_RSI, R_R8, R_R9, R_R10, R_R11};
    for (unsigned i = 0; i < 8; i++) {
        cpu->regs[n[i]] = v[i];
    }
    cpu->regs[R_RBX] = WINDOW;
    cpu->rflags = s->flags;
    cpu->rip = CODE;
    cpu_update_hflags(cpu);
}

static inline void native_save_guest(const CPUX86 *cpu, Regs *s)
{
    const uint64_t *r = cpu->regs;
    *s = (Regs){r[R_RAX], r[R_RCX], r[R_RDX], r[R_RSI],   r[R_R8],
                r[R_R9],  r[R_R10], r[R_R11], cpu->rflags};
}

/* Of a vector: numbers that are borders in one of its forms, small ones, or any. */
static inline uint64_t native_random64(GRand *rand)
{
    static const uint64_t v[] = {0,
                                 0x7ff0000000000000,
                                 0x7ff8000000000001,
                                 0x7ff0000000000001,
                                 1,
                                 0x000fffffffffffff,
                                 0x7fefffffffffffff,
                                 0x3ff0000000000000,
                                 0x7f8000003f800000,
                                 0x7fa00000ff7fffff,
                                 0x3f800000bf800000,
                                 0x00000001807fffff,
                                 0x7c017e00fc000001};
    uint64_t x = (uint64_t)g_rand_int(rand) << 32 | g_rand_int(rand);
    switch (g_rand_int(rand) % 6) {
    case 0:
        return v[x % ARRAY_LEN(v)] ^ (x & BIT(63));
    case 1:
        return (x & 0x800fffffffffffff) | (0x3f0 + (x >> 52 & 0x1f)) << 52;
    case 2:
        return (x & 0x807fffff807fffff) | 0x3f8000003f000000;
    case 3:
        return x & 0x8000ffff00ff0001;
    case 4:
        return x & 0x0000003f0000001f;
    default:
        return x;
    }
}

#endif
