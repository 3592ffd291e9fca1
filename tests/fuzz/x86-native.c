/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Executes the cases of tests/fuzz/x86-diff on the host's CPU.  A process of its own,
 * position independent, so that nothing of it lies where a stray access of the tested
 * code might reach.  usage: x86-native MEMFD REQUEST-FD ANSWER-FD
 *
 * One signal per event does everything: the state comes out of the signal's context and
 * the next one goes in there, so entering a case is a return from a signal handler.
 */
#include "fuzz-case.h"

#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#ifdef __x86_64__

enum { AC = 1 << 18, RF = 1 << 16, TF = 1 << 8 };
#define XSTATE_BV 512
#define KERNEL_HALF 0x7ffffffff000ull

typedef struct Runner {
    FzBatch *b;
    bool active, fsgsbase, avx;
    size_t xsave_size;
    uint64_t own_gs;
    gregset_t own_regs;
    uint8_t own_fp[4096];
} Runner;

/* The signal handler knows no other way to its data. */
static Runner run;

static const int greg_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                REG_R12, REG_R13, REG_R14, REG_R15};

static uint64_t get_gs(void)
{
    uint64_t v = 0;
    if (run.fsgsbase) {
        __asm__ volatile("rdgsbase %0" : "=r"(v));
    }
    return v;
}

static void set_gs(uint64_t v)
{
    if (run.fsgsbase) {
        __asm__ volatile("wrgsbase %0" : : "r"(v));
    }
}

static void enter_case(ucontext_t *uc)
{
    const FzCase *c = &run.b->cases[run.b->now];
    const FzMemory *m = &run.b->pool[c->pool];
    memcpy((void *)FZ_RW, m->rw, FZ_RW_SIZE);
    memcpy((void *)FZ_AREA, m->area, FZ_AREA_SIZE);
    run.b->cases[run.b->now].native.n_events = 0;
    gregset_t *g = &uc->uc_mcontext.gregs;
    for (unsigned i = 0; i < 16; i++) {
        (*g)[greg_of[i]] = (greg_t)c->in.gpr[i];
    }
    (*g)[REG_RIP] = (greg_t)c->in.rip;
    (*g)[REG_EFL] = (greg_t)c->in.rflags;
    uint8_t *fp = (uint8_t *)uc->uc_mcontext.fpregs;
    memcpy(fp, c->in.xsave, 464); /* behind it the kernel keeps the frame's description */
    uint64_t bv;
    memcpy(&bv, fp + XSTATE_BV, 8);
    bv |= 3;
    if (run.avx) {
        bv |= 4;
        memcpy(fp + 576, c->in.xsave + 576, 256);
    }
    memcpy(fp + XSTATE_BV, &bv, 8);
    set_gs(c->in.gs_base);
    /* The return from a signal leaves NT and ID as they are. */
    __asm__ volatile("pushfq\n\tandq $~0x204000, (%%rsp)\n\tpopfq" : : : "cc", "memory");
}

static void save_state(const ucontext_t *uc, FzResult *r)
{
    const gregset_t *g = &uc->uc_mcontext.gregs;
    for (unsigned i = 0; i < 16; i++) {
        r->state.gpr[i] = (uint64_t)(*g)[greg_of[i]];
    }
    r->state.rip = (uint64_t)(*g)[REG_RIP];
    r->state.rflags = (uint64_t)(*g)[REG_EFL];
    r->state.gs_base = get_gs();
    const uint8_t *fp = (const uint8_t *)uc->uc_mcontext.fpregs;
    uint64_t bv;
    memcpy(&bv, fp + XSTATE_BV, 8);
    memcpy(r->state.xsave, fp, 464);
    memset(r->state.xsave + 464, 0, FZ_XSAVE_SIZE - 464);
    if (!(bv & 1)) { /* in its initial state: what lies there need not be it */
        static const uint8_t cw[2] = {0x7f, 3};
        memset(r->state.xsave, 0, 24);
        memset(r->state.xsave + 32, 0, 128);
        memcpy(r->state.xsave, cw, 2);
    }
    if (!(bv & 2)) {
        memset(r->state.xsave + 160, 0, 256);
    }
    if (run.avx && (bv & 4)) {
        memcpy(r->state.xsave + 576, fp + 576, 256);
    }
    memcpy(r->mem.rw, (const void *)FZ_RW, FZ_RW_SIZE);
    memcpy(r->mem.area, (const void *)FZ_AREA, FZ_AREA_SIZE);
}

static void next_case(ucontext_t *uc)
{
    if (++run.b->now < run.b->n_cases) {
        enter_case(uc);
        return;
    }
    run.active = false;
    set_gs(run.own_gs);
    memcpy(&uc->uc_mcontext.gregs, &run.own_regs, sizeof(run.own_regs));
    uc->uc_mcontext.gregs[REG_RIP]++; /* behind the HLT of start() */
    memcpy(uc->uc_mcontext.fpregs, run.own_fp, run.xsave_size);
}

static void first_case(ucontext_t *uc)
{
    const uint8_t *fp = (const uint8_t *)uc->uc_mcontext.fpregs;
    memcpy(&run.own_regs, &uc->uc_mcontext.gregs, sizeof(run.own_regs));
    uint32_t size;
    memcpy(&size, fp + 464 + 16, 4); /* xstate_size of the kernel's description */
    run.xsave_size = size < 576 || size > sizeof(run.own_fp) ? 576 : size;
    memcpy(run.own_fp, fp, run.xsave_size);
    run.own_gs = get_gs();
    run.active = true;
    run.b->now = 0;
    enter_case(uc);
}

void native_event(int sig, siginfo_t *info, void *context);

void native_event(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    gregset_t *g = &uc->uc_mcontext.gregs;
    if (!run.active) {
        first_case(uc);
        return;
    }
    FzCase *c = &run.b->cases[run.b->now];
    FzResult *r = &c->native;
    const FzSeq *s = &run.b->seq[c->seq];
    FzEvent *e = &r->events[r->n_events++];
    *e = (FzEvent){.vector = (uint32_t)(*g)[REG_TRAPNO],
                   .error = (uint32_t)(*g)[REG_ERR],
                   .rip = (uint64_t)(*g)[REG_RIP],
                   .rflags = (uint64_t)(*g)[REG_EFL]};
    if (e->vector == 14) {
        e->addr = (uint64_t)(*g)[REG_CR2];
    } else if (e->vector < 8 || e->vector == 16 || e->vector == 19) {
        e->error = 0;
    }
    uint64_t resume = r->n_events < FZ_EVENTS ? fz_resume(s, e->vector, e->rip) : 0;
    if (!resume) {
        save_state(uc, r);
        next_case(uc);
        return;
    }
    (*g)[REG_RIP] = (greg_t)resume;
    if (resume != e->rip) { /* the flags of what was skipped: none is undefined */
        (*g)[REG_EFL] &= ~(greg_t)FZ_ARITH;
    }
}

/* The tested code may have EFLAGS.AC set, which compiled code does not expect. */
void native_handler(int sig, siginfo_t *info, void *context);
__asm__(".text\n.globl native_handler\nnative_handler:\n\tpushfq\n\tandl $~0x40000, (%rsp)\n\t"
        "popfq\n\tjmp native_event\n");

static void map_windows(int fd)
{
    int fixed = MAP_FIXED_NOREPLACE;
    void *rw = mmap((void *)FZ_RW, FZ_RW_SIZE + FZ_RO_SIZE, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | fixed, -1, 0);
    void *area = mmap((void *)FZ_AREA, FZ_AREA_SIZE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | fixed, -1, 0);
    void *code = mmap((void *)FZ_CODE, FZ_SLOTS * FZ_SLOT, PROT_READ | PROT_EXEC,
                      MAP_SHARED | fixed, fd, offsetof(FzBatch, code));
    run.b = mmap(NULL, sizeof(FzBatch), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (rw != (void *)FZ_RW || area != (void *)FZ_AREA || code != (void *)FZ_CODE ||
        run.b == MAP_FAILED) {
        perror("x86-native: mmap");
        exit(1);
    }
    memcpy((void *)FZ_RO, run.b->ro, FZ_RO_SIZE);
    mprotect((void *)FZ_RO, FZ_RO_SIZE, PROT_READ);
}

static void catch_signals(void)
{
    static uint8_t stack[65536];
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
    stack_t ss = {.ss_sp = stack, .ss_size = sizeof(stack)};
    sigaltstack(&ss, NULL);
    for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        struct sigaction sa = {.sa_sigaction = native_handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
        sigaction(signals[i], &sa, NULL);
    }
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "x86-native is started by x86-diff\n");
        return 2;
    }
    int fd = atoi(argv[1]), request = atoi(argv[2]), answer = atoi(argv[3]);
    run.fsgsbase = getauxval(AT_HWCAP2) & 2;
    run.avx = __builtin_cpu_supports("avx");
    map_windows(fd);
    catch_signals();
    char byte;
    while (read(request, &byte, 1) == 1) {
        __asm__ volatile("hlt" : : : "memory"); /* the handler takes over until the batch is done */
        if (write(answer, &byte, 1) != 1) {
            return 1;
        }
    }
    return 0;
}

#else

int main(void)
{
    return 77;
}

#endif
