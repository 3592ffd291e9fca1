/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls and returns that are not balanced, hot enough to be translated: the same code runs on
 * the host and as a guest, and must come to the same sum.
 */
#include "tcg-harness.h"

#include <string.h>

#define RAM (64 * MiB)
#define TABLES 0x100000
#define CODE 0x10000
#define STACK 0x2000000

/* Each: RDI is the number of rounds; the sum is in RAX; the rest of RAX to R11 is lost. */
#define CASE(name, text)                                                            \
    extern const uint8_t code_##name[], end_##name[];                               \
    __asm__(".pushsection .text\n.balign 16\ncode_" #name ":\n" text "\nend_" #name \
            ":\n.popsection\n")

/* Deeper than the return stack. */
CASE(recursion, "xor %eax,%eax\n"
                "1: mov $3000,%ecx\n call 2f\n dec %edi\n jnz 1b\n ret\n"
                "2: push %rcx\n dec %ecx\n jz 3f\n call 2b\n lea 1(%rax,%rcx),%rax\n"
                "3: pop %rcx\n lea (%rax,%rcx,2),%rax\n ret\n");

/* Out of 20 calls at once, as longjmp() does; then two levels more are returned from. */
CASE(unwinding, "xor %eax,%eax\n"
                "1: call 2f\n inc %rax\n dec %edi\n jnz 1b\n ret\n"
                "2: call 3f\n lea 3(%rax,%rax),%eax\n ret\n"
                "3: mov %rsp,%rsi\n mov $20,%ecx\n call 4f\n add $7,%rax\n ret\n"
                "4: dec %ecx\n jz 5f\n call 4b\n add $1000,%rax\n ret\n"
                "5: lea 16(%rax),%rax\n mov %rsi,%rsp\n ret\n");

/* A call for the address of the next instruction, and jumps by RET. */
CASE(thunks, "xor %eax,%eax\n"
             "1: call 2f\n 2: pop %rdx\n lea 3f-2b(%rdx),%rcx\n call 6f\n"
             "   lea 4f-2b(%rdx),%rcx\n call 6f\n"
             "   lea 5f-2b(%rdx),%rcx\n push %rcx\n ret\n"
             "3: add $1,%rax\n ret\n"
             "4: lea (%rax,%rax,4),%eax\n ret\n"
             "5: add $9,%rax\n dec %edi\n jnz 1b\n ret\n"
             "6: call 8f\n 7: pause\n jmp 7b\n 8: mov %rcx,(%rsp)\n ret\n");

/* Two stacks that change places in the middle of calls. */
CASE(coroutines,
     "mov %rsp,%r8\n lea -65536(%rsp),%r9\n lea 5f(%rip),%rax\n mov %rax,(%r9)\n xor %eax,%eax\n"
     "1: call 2f\n dec %edi\n jnz 1b\n ret\n"
     "2: add $1,%rax\n call 3f\n add $2,%rax\n call 3f\n ret\n"
     "3: call 4f\n lea 1(%rax,%rax),%eax\n ret\n"
     "4: xchg %rsp,%r9\n ret\n"
     "5: call 6f\n add $5,%rax\n call 7f\n jmp 5b\n"
     "6: add $11,%rax\n call 4b\n add $13,%rax\n ret\n"
     "7: call 6b\n call 4b\n ret\n");

/* RET that drops arguments, and one whose address the callee changed. */
CASE(changed, "xor %eax,%eax\n"
              "1: push %rdi\n push %rdi\n call 2f\n call 3f\n add $1000,%rax\n"
              "   add $1,%rax\n dec %edi\n jnz 1b\n ret\n"
              "2: add 8(%rsp),%rax\n ret $16\n"
              "3: addq $6,(%rsp)\n ret\n");

static uint64_t run_native(const uint8_t *code, uint64_t rounds)
{
    uint64_t sum;
    __asm__ volatile("lea -128(%%rsp),%%rsp\n call *%[code]\n lea 128(%%rsp),%%rsp"
                     : "=&a"(sum), "+D"(rounds)
                     : [code] "r"(code)
                     : "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
    return sum;
}

static uint64_t run_guest(const uint8_t *code, size_t len, uint64_t rounds)
{
    static const uint8_t hlt[] = {0xf4};
    Harness *h = harness_new(RAM);
    const uint64_t home = CODE - 16;
    harness_long_mode(h, TABLES);
    harness_write(h, CODE, code, len);
    harness_write(h, home, hlt, sizeof(hlt));
    harness_write(h, STACK, &home, sizeof(home));
    h->cpu->rip = CODE;
    h->cpu->regs[R_RSP] = STACK;
    h->cpu->regs[R_RDI] = rounds;
    g_assert_cmpint(harness_run(h), ==, RUN_EXIT_HALTED);
    g_assert_cmphex(h->cpu->regs[R_RSP], ==, STACK + 8);
    uint64_t sum = h->cpu->regs[R_RAX];
    harness_free(h);
    return sum;
}

typedef struct Case {
    const char *name;
    const uint8_t *code, *end;
    uint64_t rounds;
} Case;

static void test_case(gconstpointer data)
{
    const Case *c = data;
    g_assert_cmphex(run_guest(c->code, (size_t)(c->end - c->code), c->rounds), ==,
                    run_native(c->code, c->rounds));
}

int main(int argc, char **argv)
{
    static const Case cases[] = {
        {"recursion", code_recursion, end_recursion, 200},
        {"unwinding", code_unwinding, end_unwinding, 5000},
        {"thunks", code_thunks, end_thunks, 5000},
        {"coroutines", code_coroutines, end_coroutines, 5000},
        {"changed", code_changed, end_changed, 5000},
    };
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strdup_printf("/tcg-returns/%s", cases[i].name);
        g_test_add_data_func(path, &cases[i], test_case);
    }
    return g_test_run();
}
