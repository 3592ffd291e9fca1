/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Port I/O: permission (IOPL, the TSS's bitmap; SDM vol. 1, 18.5) and the access. */
#include "accel/tcg/internal.h"
#include "target/i386/tcg/desc.h"
#include "target/i386/tcg/svm.h"

#define TSS_IO_MAP 102

void helper_check_io(CPUX86 *cpu, uint16_t port, unsigned size)
{
    uint32_t offset, bits;

    /* Virtual-8086 mode asks the bitmap whatever its IOPL is. */
    if (!(cpu->hflags & HF_PE) || (!in_vm86(cpu) && cpu_cpl(cpu) <= cpu_iopl(cpu))) {
        return;
    }
    /* Only TSSs of 32 and 64 bits have a bitmap: types 9 and 11. */
    if (!(cpu->tr.attr & SEG_P) || (cpu->tr.attr & 0xd) != 9 || cpu->tr.limit < TSS_IO_MAP + 1) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    offset = mmu_ld16(cpu, system_linear(cpu, cpu->tr.base, TSS_IO_MAP), MMU_KERNEL);
    offset += port >> 3;
    if (offset + 1 > cpu->tr.limit) {
        x86_raise_error(cpu, EXC_GP, 0); /* two bytes are read always */
    }
    bits = mmu_ld16(cpu, system_linear(cpu, cpu->tr.base, offset), MMU_KERNEL);
    if ((bits >> (port & 7)) & ((1u << size) - 1)) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
}

static MemAttrs io_attrs(const CPUX86 *cpu)
{
    return (MemAttrs){.requester = 0xffff, .smm = cpu->smm};
}

static unsigned address_size(const CPUX86 *cpu)
{
    return cpu->hflags & HF_CS64 ? 8 : cpu->hflags & HF_CS32 ? 4 : 2;
}

uint32_t helper_in(CPUX86 *cpu, uint16_t port, unsigned size)
{
    uint64_t v = UINT32_MAX;

    helper_check_io(cpu, port, size);
    svm_check_io(cpu, port, size, true, 0, address_size(cpu), 0);
    tcg_exact(tcg_cpu(cpu));
    if (address_space_ld(cpu->as_io, port, io_attrs(cpu), size, &v) != MEM_OK) {
        v = UINT32_MAX;
    }
    if (cpu->hflags & HF_DATA_BP) {
        x86_check_io_bp(cpu, port, size);
    }
    return size == 4 ? (uint32_t)v : (uint32_t)v & ((1u << (size * 8)) - 1);
}

void helper_out(CPUX86 *cpu, uint16_t port, uint32_t v, unsigned size)
{
    helper_check_io(cpu, port, size);
    svm_check_io(cpu, port, size, false, 0, address_size(cpu), 0);
    tcg_exact(tcg_cpu(cpu));
    if (size < 4) {
        v &= (1u << (size * 8)) - 1;
    }
    address_space_st(cpu->as_io, port, io_attrs(cpu), size, v);
    if (cpu->hflags & HF_DATA_BP) {
        x86_check_io_bp(cpu, port, size);
    }
}
