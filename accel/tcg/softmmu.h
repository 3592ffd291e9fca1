/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * accel/tcg/softmmu.h: guest memory as translated code and its helpers see it:
 * linear addresses through the software TLB.
 *
 * Every function may raise #PF, #GP/#SS (non-canonical addresses) or a debug
 * exception and then does not return (x86_raise, target/i386/cpu.h); nothing has
 * been written in that case, also not on the first of two pages.  Little endian;
 * unaligned and page-crossing accesses are fine.
 */
#ifndef RHEA_ACCEL_TCG_SOFTMMU_H
#define RHEA_ACCEL_TCG_SOFTMMU_H

#include "target/i386/cpu.h"

/* As whom: the index of the TLB set. */
typedef enum MmuMode {
    MMU_KERNEL,    /* CPL 0-2, SMAP enforced when CR4.SMAP is set (AC = 0, or implicit access) */
    MMU_USER,      /* CPL 3 */
    MMU_KERNEL_AC, /* CPL 0-2, SMAP suspended by EFLAGS.AC */
    MMU_PHYS,      /* no paging: physical addresses (A20, SMM apply) */
    MMU_MODES,
} MmuMode;

/* The mode of the CPU's ordinary accesses; system accesses (descriptors, TSS) use MMU_KERNEL. */
static inline MmuMode mmu_mode(const CPUX86 *cpu)
{
    if ((cpu->hflags & HF_CPL_MASK) == 3) {
        return MMU_USER;
    }
    return (cpu->hflags & (HF_SMAP | HF_AC)) == (HF_SMAP | HF_AC) ? MMU_KERNEL_AC : MMU_KERNEL;
}

uint8_t mmu_ld8(CPUX86 *cpu, uint64_t linear, MmuMode mode);
uint16_t mmu_ld16(CPUX86 *cpu, uint64_t linear, MmuMode mode);
uint32_t mmu_ld32(CPUX86 *cpu, uint64_t linear, MmuMode mode);
uint64_t mmu_ld64(CPUX86 *cpu, uint64_t linear, MmuMode mode);
void mmu_st8(CPUX86 *cpu, uint64_t linear, uint8_t v, MmuMode mode);
void mmu_st16(CPUX86 *cpu, uint64_t linear, uint16_t v, MmuMode mode);
void mmu_st32(CPUX86 *cpu, uint64_t linear, uint32_t v, MmuMode mode);
void mmu_st64(CPUX86 *cpu, uint64_t linear, uint64_t v, MmuMode mode);
/* Any length up to 4096 (FXSAVE, XSAVE areas); all or nothing as above. */
void mmu_ld_bytes(CPUX86 *cpu, uint64_t linear, void *buf, size_t len, MmuMode mode);
void mmu_st_bytes(CPUX86 *cpu, uint64_t linear, const void *buf, size_t len, MmuMode mode);
/* Raises what a store (load) of this span would raise, without doing it. */
void mmu_probe(CPUX86 *cpu, uint64_t linear, size_t len, bool write, MmuMode mode);

/*
 * Host pointer for an aligned atomic of `size` bytes, or NULL when the memory is
 * MMIO or the access crosses a page: the caller then does it under
 * mmu_exclusive_begin/end, during which no other vCPU executes guest code.
 */
void *mmu_atomic_ptr(CPUX86 *cpu, uint64_t linear, unsigned size, MmuMode mode);
void mmu_exclusive_begin(CPUX86 *cpu);
void mmu_exclusive_end(CPUX86 *cpu);

/* TLB maintenance, on the vCPU's own thread. */
void mmu_flush(CPUX86 *cpu);       /* everything, global pages too */
void mmu_flush_space(CPUX86 *cpu); /* the same, of the present ASID only */
void mmu_flush_asid(CPUX86 *cpu, uint32_t asid, bool global); /* SVM's; 0: the hypervisor's */
void mmu_flush_nonglobal(CPUX86 *cpu);                        /* mov cr3 without PCID */
void mmu_flush_page(CPUX86 *cpu, uint64_t linear);            /* invlpg: current PCID and global */
void mmu_flush_pcid(CPUX86 *cpu, uint16_t pcid);
void mmu_flush_pcid_page(CPUX86 *cpu, uint16_t pcid, uint64_t linear);
/* CR3, CR0.PG, CR4, EFER, SMM, A20 changed such that cached modes are stale. */
void mmu_context_changed(CPUX86 *cpu);

/*
 * Segmented access as instructions make it: checks canonical form (64-bit), or
 * limit and rights of the segment; raises #GP(0) or #SS(0).
 */
uint64_t seg_linear(CPUX86 *cpu, unsigned seg, uint64_t offset, unsigned size, bool write);
/* #AC if user mode asked for it; for operands of 2, 4, 8 bytes. */
static inline void x86_check_align(CPUX86 *cpu, uint64_t linear, unsigned size)
{
    if ((cpu->hflags & HF_ALIGN_CHECK) && (linear & (size - 1))) {
        x86_raise_error(cpu, EXC_AC, 0);
    }
}
static inline uint64_t x86_ld(CPUX86 *cpu, unsigned seg, uint64_t offset, unsigned size)
{
    uint64_t lin = seg_linear(cpu, seg, offset, size, false);
    MmuMode m = mmu_mode(cpu);
    x86_check_align(cpu, lin, size);
    switch (size) {
    case 1:
        return mmu_ld8(cpu, lin, m);
    case 2:
        return mmu_ld16(cpu, lin, m);
    case 4:
        return mmu_ld32(cpu, lin, m);
    default:
        return mmu_ld64(cpu, lin, m);
    }
}
static inline void x86_st(CPUX86 *cpu, unsigned seg, uint64_t offset, unsigned size, uint64_t v)
{
    uint64_t lin = seg_linear(cpu, seg, offset, size, true);
    MmuMode m = mmu_mode(cpu);
    x86_check_align(cpu, lin, size);
    switch (size) {
    case 1:
        mmu_st8(cpu, lin, (uint8_t)v, m);
        break;
    case 2:
        mmu_st16(cpu, lin, (uint16_t)v, m);
        break;
    case 4:
        mmu_st32(cpu, lin, (uint32_t)v, m);
        break;
    default:
        mmu_st64(cpu, lin, v, m);
        break;
    }
}
static inline void x86_ld_bytes(CPUX86 *cpu, unsigned seg, uint64_t offset, void *buf, size_t len)
{
    mmu_ld_bytes(cpu, seg_linear(cpu, seg, offset, (unsigned)len, false), buf, len, mmu_mode(cpu));
}
static inline void x86_st_bytes(CPUX86 *cpu, unsigned seg, uint64_t offset, const void *buf,
                                size_t len)
{
    mmu_st_bytes(cpu, seg_linear(cpu, seg, offset, (unsigned)len, true), buf, len, mmu_mode(cpu));
}

#endif
