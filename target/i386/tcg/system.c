/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flags, time stamps, HLT and friends, TLB instructions, ENTER. */
#include "accel/tcg/internal.h"
#include "target/i386/tcg/desc.h"
#include "target/i386/tcg/svm.h"

#include <sched.h>
#include <sys/random.h>

#define MISC_ENABLE_MWAIT (1ull << 18)

#define FLAGS_POP \
    (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_TF | FLAG_DF | FLAG_OF | FLAG_NT)
#define FLAGS_POP_HIGH (FLAG_AC | FLAG_ID)

static _Noreturn void gp0(CPUX86 *cpu)
{
    x86_raise_error(cpu, EXC_GP, 0);
}

/* ---- flags ---- */

uint64_t helper_pushf(CPUX86 *cpu, unsigned opsize)
{
    uint64_t v = cpu->rflags & ~(uint64_t)(FLAG_VM | FLAG_RF);

    svm_check(cpu, SVM_EXIT_PUSHF);
    if (in_vm86(cpu) && cpu_iopl(cpu) < 3) {
        if (!(cpu->cr4 & CR4_VME) || opsize != 2) {
            gp0(cpu);
        }
        v &= ~(uint64_t)FLAG_IF;
        v |= FLAG_IOPL | (cpu->rflags & FLAG_VIF ? FLAG_IF : 0);
    }
    return opsize == 2 ? (uint16_t)v : v;
}

/* VME with IOPL < 3: IF is the virtual one. */
static void popf_vme(CPUX86 *cpu, uint64_t v)
{
    if ((v & FLAG_TF) || ((v & FLAG_IF) && (cpu->rflags & FLAG_VIP))) {
        gp0(cpu);
    }
    cpu->rflags &= ~(uint64_t)(FLAGS_POP | FLAG_VIF | FLAG_RF);
    cpu->rflags |= (v & FLAGS_POP) | (v & FLAG_IF ? FLAG_VIF : 0) | FLAG_ONE;
}

void helper_popf(CPUX86 *cpu, uint64_t v, unsigned opsize)
{
    uint64_t mask = FLAGS_POP | (opsize == 2 ? 0 : FLAGS_POP_HIGH);
    unsigned cpl = cpu_cpl(cpu);

    svm_check(cpu, SVM_EXIT_POPF);
    if (in_vm86(cpu) && cpu_iopl(cpu) < 3) {
        if (!(cpu->cr4 & CR4_VME) || opsize != 2) {
            gp0(cpu);
        }
        popf_vme(cpu, v);
        cpu_update_hflags(cpu);
        return;
    }
    if (!(cpu->hflags & HF_PE) || cpl == 0) {
        mask |= FLAG_IF | FLAG_IOPL;
    } else if (cpl <= cpu_iopl(cpu)) {
        mask |= FLAG_IF;
    }
    cpu->rflags = (cpu->rflags & ~mask & ~(uint64_t)FLAG_RF) | (v & mask) | FLAG_ONE;
    cpu_update_hflags(cpu);
}

/* May CLI and STI work on the virtual interrupt flag? */
static bool virtual_interrupts(const CPUX86 *cpu)
{
    if (in_vm86(cpu)) {
        return cpu->cr4 & CR4_VME;
    }
    return cpu_cpl(cpu) == 3 && (cpu->cr4 & CR4_PVI);
}

void helper_cli(CPUX86 *cpu)
{
    if (!(cpu->hflags & HF_PE) || cpu_cpl(cpu) <= cpu_iopl(cpu)) {
        cpu->rflags &= ~(uint64_t)FLAG_IF;
    } else if (virtual_interrupts(cpu)) {
        cpu->rflags &= ~(uint64_t)FLAG_VIF;
    } else {
        gp0(cpu);
    }
}

void helper_sti(CPUX86 *cpu)
{
    if (!(cpu->hflags & HF_PE) || cpu_cpl(cpu) <= cpu_iopl(cpu)) {
        if (!(cpu->rflags & FLAG_IF)) {
            cpu->hflags |= HF_INHIBIT;
        }
        cpu->rflags |= FLAG_IF;
    } else if (virtual_interrupts(cpu) && !(cpu->rflags & FLAG_VIP)) {
        cpu->rflags |= FLAG_VIF;
    } else {
        gp0(cpu);
    }
}

void helper_clac_stac(CPUX86 *cpu, bool set)
{
    if (cpu_cpl(cpu) != 0) {
        x86_raise(cpu, EXC_UD);
    }
    if (set) {
        cpu->rflags |= FLAG_AC;
    } else {
        cpu->rflags &= ~(uint64_t)FLAG_AC;
    }
    cpu_update_hflags(cpu);
}

/* ---- time, identification, randomness ---- */

static void rdtsc(CPUX86 *cpu, unsigned code)
{
    uint64_t tsc;

    if ((cpu->cr4 & CR4_TSD) && cpu_cpl(cpu) != 0) {
        gp0(cpu);
    }
    svm_check(cpu, code);
    tcg_exact(tcg_cpu(cpu));
    tsc = cpu_tsc(cpu);
    cpu->regs[R_RAX] = (uint32_t)tsc;
    cpu->regs[R_RDX] = tsc >> 32;
}

void helper_rdtsc(CPUX86 *cpu)
{
    rdtsc(cpu, SVM_EXIT_RDTSC);
}

void helper_rdtscp(CPUX86 *cpu)
{
    rdtsc(cpu, SVM_EXIT_RDTSCP);
    cpu->regs[R_RCX] = (uint32_t)cpu->tsc_aux;
}

void helper_rdpmc(CPUX86 *cpu)
{
    svm_check(cpu, SVM_EXIT_RDPMC);
    /* CPUID shows no performance counters, so that no index is valid. */
    gp0(cpu);
}

void helper_cpuid(CPUX86 *cpu)
{
    uint32_t r[4];

    svm_check(cpu, SVM_EXIT_CPUID);
    cpu_cpuid(cpu, (uint32_t)cpu->regs[R_RAX], (uint32_t)cpu->regs[R_RCX], r);
    cpu->regs[R_RAX] = r[0];
    cpu->regs[R_RBX] = r[1];
    cpu->regs[R_RCX] = r[2];
    cpu->regs[R_RDX] = r[3];
}

uint64_t helper_rdrand(CPUX86 *cpu, unsigned opsize, bool *ok)
{
    uint64_t v = 0;

    /* CF = 0 tells the guest to try again: right for an interrupted or empty host pool. */
    *ok = getrandom(&v, opsize, GRND_NONBLOCK) == (ssize_t)opsize;
    return *ok ? v : 0;
}

/* ---- waiting ---- */

void helper_hlt(CPUX86 *cpu, uint64_t next_rip)
{
    require_cpl0(cpu);
    svm_check(cpu, SVM_EXIT_HLT);
    cpu->rip = next_rip;
    cpu->halted = true;
}

static void check_mwait_access(CPUX86 *cpu)
{
    if (cpu_cpl(cpu) != 0 || !(cpu->misc_enable & MISC_ENABLE_MWAIT)) {
        x86_raise(cpu, EXC_UD);
    }
}

void helper_monitor(CPUX86 *cpu, unsigned seg, uint64_t ea)
{
    check_mwait_access(cpu);
    if ((uint32_t)cpu->regs[R_RCX] != 0) {
        gp0(cpu);
    }
    svm_check(cpu, SVM_EXIT_MONITOR);
    x86_ld(cpu, seg, ea, 1); /* for its faults */
}

void helper_mwait(CPUX86 *cpu, uint64_t next_rip)
{
    check_mwait_access(cpu);
    if ((uint32_t)cpu->regs[R_RCX] > 1) {
        gp0(cpu);
    }
    svm_check(cpu, SVM_EXIT_MWAIT);
    svm_check(cpu, SVM_EXIT_MWAIT_ARMED); /* as it is after any MONITOR */
    /* It may wake at any time; who watches memory that another CPU writes must not sleep. */
    sched_yield();
    cpu->rip = next_rip;
}

/* ---- TLB and caches ---- */

void helper_invlpg(CPUX86 *cpu, uint64_t linear)
{
    require_cpl0(cpu);
    if ((cpu->hflags & HF_SVM_GUEST) && svm_wants(cpu, SVM_EXIT_INVLPG)) {
        svm_exit(cpu, SVM_EXIT_INVLPG, linear, 0);
    }
    mmu_flush_page(cpu, linear);
}

void helper_invpcid(CPUX86 *cpu, uint64_t type, unsigned seg, uint64_t ea)
{
    enum { INV_ADDRESS, INV_CONTEXT, INV_ALL_GLOBAL, INV_ALL };
    uint64_t desc[2];
    uint16_t pcid;

    require_cpl0(cpu);
    svm_check(cpu, SVM_EXIT_INVPCID);
    x86_ld_bytes(cpu, seg, ea, desc, sizeof(desc));
    pcid = desc[0] & 0xfff;
    if (type > INV_ALL || desc[0] >> 12 ||
        (type <= INV_CONTEXT && pcid && !(cpu->cr4 & CR4_PCIDE)) ||
        (type == INV_ADDRESS && !x86_is_canonical(cpu, desc[1]))) {
        gp0(cpu);
    }
    switch (type) {
    case INV_ADDRESS:
        mmu_flush_pcid_page(cpu, pcid, desc[1]);
        break;
    case INV_CONTEXT:
        mmu_flush_pcid(cpu, pcid);
        break;
    default:
        mmu_flush_space(cpu);
        break;
    }
}

void helper_wbinvd(CPUX86 *cpu)
{
    require_cpl0(cpu);
    svm_check(cpu, SVM_EXIT_WBINVD); /* else nothing: memory is coherent */
}

void helper_swapgs(CPUX86 *cpu)
{
    uint64_t base = cpu->segs[SEG_GS].base;

    require_cpl0(cpu);
    cpu->segs[SEG_GS].base = cpu->kernel_gs_base;
    cpu->kernel_gs_base = base;
}

/* ---- ENTER with a nesting level ---- */

void helper_enter(CPUX86 *cpu, unsigned opsize, uint16_t frame, unsigned level)
{
    uint64_t rbp = cpu->regs[R_RBP], frame_ptr, probe;
    Stack s;

    level &= 31;
    stack_open(cpu, &s, 0);
    stack_push(&s, opsize, rbp);
    frame_ptr = s.sp;
    for (unsigned i = 1; i < level; i++) {
        rbp -= opsize;
        stack_push(&s, opsize, x86_ld(cpu, SEG_SS, rbp & s.mask, opsize));
    }
    if (level) {
        stack_push(&s, opsize, frame_ptr);
    }
    s.sp = (s.sp - frame) & s.mask;
    probe = seg_linear(cpu, SEG_SS, s.sp, opsize, true);
    mmu_probe(cpu, probe, opsize, true, mmu_mode(cpu));
    stack_commit(&s);
    if (s.mask == 0xffff || opsize == 2) {
        cpu->regs[R_RBP] = (cpu->regs[R_RBP] & ~0xffffull) | (uint16_t)frame_ptr;
    } else {
        cpu->regs[R_RBP] = frame_ptr;
    }
}
