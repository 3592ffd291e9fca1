/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control registers, EFER, XCR0: what may be written, and what a write sets off. */
#include "target/i386/tcg/control.h"

#include "target/i386/tcg/desc.h"
#include "target/i386/tcg/svm.h"

#define CR0_KNOWN                                                                              \
    (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | \
     CR0_PG)
#define CR3_NOFLUSH (1ull << 63)

static _Noreturn void gp0(CPUX86 *cpu)
{
    x86_raise_error(cpu, EXC_GP, 0);
}

static bool pae_without_lma(const CPUX86 *cpu, uint64_t cr0, uint64_t cr4)
{
    return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(cpu->efer & EFER_LMA);
}

static void write_cr0(CPUX86 *cpu, uint64_t v, bool mov)
{
    uint64_t old = cpu->cr0, changed;
    bool enter_long;

    if (v >> 32) {
        gp0(cpu);
    }
    svm_check_cr0_value(cpu, v | CR0_ET, mov);
    v = (v & CR0_KNOWN) | CR0_ET;
    changed = v ^ old;
    if (((v & CR0_PG) && !(v & CR0_PE)) || ((v & CR0_NW) && !(v & CR0_CD))) {
        gp0(cpu);
    }
    enter_long = (changed & v & CR0_PG) && (cpu->efer & EFER_LME);
    if (enter_long && (!(cpu->cr4 & CR4_PAE) || (cpu->segs[SEG_CS].attr & SEG_L))) {
        gp0(cpu);
    }
    if ((changed & CR0_PG) && !(v & CR0_PG) &&
        ((cpu->hflags & HF_CS64) || (cpu->cr4 & CR4_PCIDE))) {
        gp0(cpu);
    }
    if ((changed & (CR0_PG | CR0_CD | CR0_NW)) && !enter_long &&
        pae_without_lma(cpu, v, cpu->cr4) && !x86_load_pdptes(cpu, cpu->cr3)) {
        gp0(cpu);
    }
    if (changed & CR0_PG) {
        cpu->efer &= ~(uint64_t)EFER_LMA;
        cpu->efer |= enter_long ? EFER_LMA : 0;
    }
    cpu->cr0 = v;
    cpu_update_hflags(cpu);
    if (changed & (CR0_PG | CR0_WP | CR0_PE)) {
        if ((v | old) & CR0_PG) {
            mmu_flush_space(cpu);
        }
        mmu_context_changed(cpu);
    }
}

static void write_cr3(CPUX86 *cpu, uint64_t v)
{
    bool pcide = cpu->cr4 & CR4_PCIDE;
    bool keep = pcide && (v & CR3_NOFLUSH);

    if (cpu->efer & EFER_LMA) {
        if (pcide) {
            v &= ~CR3_NOFLUSH;
        }
        if (v >> cpu->config.phys_bits) {
            gp0(cpu);
        }
    } else {
        v &= UINT32_MAX;
        if (pae_without_lma(cpu, cpu->cr0, cpu->cr4) && !x86_load_pdptes(cpu, v)) {
            gp0(cpu);
        }
    }
    cpu->cr3 = v;
    if (!keep) {
        if (pcide) {
            mmu_flush_pcid(cpu, (uint16_t)(v & 0xfff));
        } else {
            mmu_flush_nonglobal(cpu);
        }
    }
    mmu_context_changed(cpu);
}

/* Each CR4 bit exists if a CPUID feature does. */
uint64_t x86_cr4_known(const CPUX86 *cpu)
{
    static const struct {
        uint32_t cr4;
        CpuFeatureWord word;
        uint32_t feature;
    } bits[] = {
        {CR4_VME | CR4_PVI, FEAT_1_EDX, 1u << 1}, {CR4_DE, FEAT_1_EDX, 1u << 2},
        {CR4_PSE, FEAT_1_EDX, 1u << 3},           {CR4_TSD, FEAT_1_EDX, 1u << 4},
        {CR4_PAE, FEAT_1_EDX, 1u << 6},           {CR4_MCE, FEAT_1_EDX, 1u << 7},
        {CR4_PGE, FEAT_1_EDX, 1u << 13},          {CR4_PCE, FEAT_1_EDX, 1u << 23},
        {CR4_OSFXSR, FEAT_1_EDX, 1u << 24},       {CR4_OSXMMEXCPT, FEAT_1_EDX, 1u << 25},
        {CR4_UMIP, FEAT_7_0_ECX, 1u << 2},        {CR4_LA57, FEAT_7_0_ECX, 1u << 16},
        {CR4_VMXE, FEAT_1_ECX, 1u << 5},          {CR4_FSGSBASE, FEAT_7_0_EBX, 1u << 0},
        {CR4_PCIDE, FEAT_1_ECX, 1u << 17},        {CR4_OSXSAVE, FEAT_1_ECX, 1u << 26},
        {CR4_SMEP, FEAT_7_0_EBX, 1u << 7},        {CR4_SMAP, FEAT_7_0_EBX, 1u << 20},
        {CR4_PKE, FEAT_7_0_ECX, 1u << 3},
    };
    uint64_t known = 0;

    for (size_t i = 0; i < ARRAY_LEN(bits); i++) {
        known |= cpu_has(cpu, bits[i].word, bits[i].feature) ? bits[i].cr4 : 0;
    }
    return known;
}

static void write_cr4(CPUX86 *cpu, uint64_t v)
{
    uint64_t changed = v ^ cpu->cr4;
    const uint64_t translation =
        CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_LA57 | CR4_PKE;

    if (v & ~x86_cr4_known(cpu)) {
        gp0(cpu);
    }
    if (cpu->efer & EFER_LMA) {
        if (!(v & CR4_PAE) || (changed & CR4_LA57)) {
            gp0(cpu);
        }
    } else if (v & CR4_PCIDE) {
        gp0(cpu);
    }
    if ((changed & v & CR4_PCIDE) && (cpu->cr3 & 0xfff)) {
        gp0(cpu);
    }
    if ((changed & (CR4_PAE | CR4_PSE | CR4_PGE | CR4_SMEP)) && pae_without_lma(cpu, cpu->cr0, v) &&
        !x86_load_pdptes(cpu, cpu->cr3)) {
        gp0(cpu);
    }
    cpu->cr4 = v;
    cpu_update_hflags(cpu);
    if (changed & translation) {
        mmu_flush_space(cpu);
        mmu_context_changed(cpu);
    }
}

uint64_t helper_read_cr(CPUX86 *cpu, unsigned n)
{
    require_cpl0(cpu);
    svm_check_cr(cpu, n, false, true);
    switch (n) {
    case 0:
        return cpu->cr0;
    case 2:
        return cpu->cr2;
    case 3:
        return cpu->cr3;
    case 4:
        return cpu->cr4;
    case 8:
        if (svm_virtual_tpr(cpu)) {
            return cpu->svm.int_ctl & 15;
        }
        return cpu->apic_ops ? cpu->apic_ops->get_tpr(cpu->apic) >> 4 : 0;
    default:
        x86_raise(cpu, EXC_UD);
    }
}

void helper_write_cr(CPUX86 *cpu, unsigned n, uint64_t v)
{
    require_cpl0(cpu);
    svm_check_cr(cpu, n, true, true);
    switch (n) {
    case 0:
        write_cr0(cpu, v, true);
        break;
    case 2:
        cpu->cr2 = v;
        break;
    case 3:
        write_cr3(cpu, v);
        break;
    case 4:
        write_cr4(cpu, v);
        break;
    case 8:
        if (v >> 4) {
            gp0(cpu);
        }
        if (svm_virtual_tpr(cpu)) {
            cpu->svm.int_ctl = (cpu->svm.int_ctl & ~0xffull) | v;
            svm_update_virtual(cpu);
        } else if (cpu->apic_ops) {
            cpu->apic_ops->set_tpr(cpu->apic, (uint8_t)(v << 4));
        }
        break;
    default:
        x86_raise(cpu, EXC_UD);
    }
}

void helper_lmsw(CPUX86 *cpu, uint16_t v)
{
    require_cpl0(cpu);
    svm_check_cr(cpu, 0, true, false);
    /* LMSW reaches the low four bits and cannot clear PE. */
    write_cr0(cpu, (cpu->cr0 & ~14ull) | (v & 15), false);
}

void helper_clts(CPUX86 *cpu)
{
    require_cpl0(cpu);
    svm_check_cr(cpu, 0, true, false);
    cpu->cr0 &= ~(uint64_t)CR0_TS;
    cpu_update_hflags(cpu);
}

uint64_t x86_efer_known(const CPUX86 *cpu)
{
    uint64_t known = 0;

    known |= cpu_has(cpu, FEAT_80000001_EDX, 1u << 11) ? EFER_SCE : 0;
    known |= cpu_has(cpu, FEAT_80000001_EDX, 1u << 20) ? EFER_NXE : 0;
    known |= cpu_has(cpu, FEAT_80000001_EDX, 1u << 29) ? EFER_LME | EFER_LMA : 0;
    known |= cpu_has(cpu, FEAT_80000001_EDX, 1u << 25) ? EFER_FFXSR : 0;
    known |= cpu_has(cpu, FEAT_80000001_ECX, 1u << 2) ? EFER_SVME : 0;
    return known;
}

bool x86_write_efer(CPUX86 *cpu, uint64_t v)
{
    uint64_t old = cpu->efer;

    if ((v & EFER_SVME) && (cpu->vm_cr >> 4 & 1)) { /* VM_CR.SVMDIS */
        return false;
    }
    if ((v & ~x86_efer_known(cpu)) || (((v ^ old) & EFER_LME) && (cpu->cr0 & CR0_PG))) {
        return false;
    }
    cpu->efer = (v & ~(uint64_t)EFER_LMA) | (old & EFER_LMA);
    if ((cpu->efer ^ old) & (EFER_NXE | EFER_LME)) {
        mmu_flush_space(cpu);
        mmu_context_changed(cpu);
    }
    cpu_update_hflags(cpu);
    return true;
}

void helper_xgetbv(CPUX86 *cpu)
{
    uint32_t index = (uint32_t)cpu->regs[R_RCX];

    if (!(cpu->cr4 & CR4_OSXSAVE)) {
        x86_raise(cpu, EXC_UD);
    }
    /* XCR1 is XINUSE: every component counts as used, which is always a right answer. */
    if (index > 1 || (index == 1 && !cpu_has(cpu, FEAT_XSAVE, 1u << 2))) {
        gp0(cpu);
    }
    cpu->regs[R_RAX] = (uint32_t)cpu->xcr0;
    cpu->regs[R_RDX] = cpu->xcr0 >> 32;
}

bool x86_write_xcr0(CPUX86 *cpu, uint64_t v)
{
    const uint64_t x87 = 1, sse = 2, avx = 4, mpx = 0x18, avx512 = 0xe0;

    if (!(v & x87) || (v & ~cpu_xcr0_supported(cpu)) || ((v & avx) && !(v & sse)) ||
        ((v & mpx) && (v & mpx) != mpx) ||
        ((v & avx512) && ((v & avx512) != avx512 || !(v & avx)))) {
        return false;
    }
    cpu->xcr0 = v;
    cpu_update_hflags(cpu);
    return true;
}

void helper_xsetbv(CPUX86 *cpu)
{
    uint64_t v = (cpu->regs[R_RDX] << 32) | (uint32_t)cpu->regs[R_RAX];

    if (!(cpu->cr4 & CR4_OSXSAVE)) {
        x86_raise(cpu, EXC_UD);
    }
    require_cpl0(cpu);
    svm_check(cpu, SVM_EXIT_XSETBV);
    if ((uint32_t)cpu->regs[R_RCX] != 0 || !x86_write_xcr0(cpu, v)) {
        gp0(cpu);
    }
}
