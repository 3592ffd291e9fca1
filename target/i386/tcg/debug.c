/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Debug registers and the traps they make; SDM vol. 3 chapter 17. */
#include "target/i386/tcg/desc.h"
#include "target/i386/tcg/svm.h"

#define DR6_FIXED 0xffff0ff0u
#define DR6_WRITABLE 0xe00fu /* B0-B3, BD, BS, BT */
#define DR6_BD (1u << 13)
#define DR6_BS (1u << 14)
#define DR7_FIXED 0x400u
#define DR7_RESERVED 0xd800u /* 11 (RTM), 12, 14, 15 */
#define DR7_GD (1u << 13)

typedef enum BpType { BP_EXEC, BP_WRITE, BP_IO, BP_ACCESS } BpType;

static BpType bp_type(const CPUX86 *cpu, unsigned i)
{
    return (cpu->dr[7] >> (16 + i * 4)) & 3;
}

static unsigned bp_len(const CPUX86 *cpu, unsigned i)
{
    static const uint8_t len[] = {1, 2, 8, 4};

    return len[(cpu->dr[7] >> (18 + i * 4)) & 3];
}

static bool bp_enabled(const CPUX86 *cpu, unsigned i)
{
    return (cpu->dr[7] >> (i * 2)) & 3;
}

/* Any byte of [addr, addr + len) within breakpoint i's naturally aligned span? */
static bool bp_covers(const CPUX86 *cpu, unsigned i, uint64_t addr, unsigned len)
{
    unsigned n = bp_len(cpu, i);
    uint64_t start = cpu->dr[i] & ~(uint64_t)(n - 1);

    return addr - start < n || start - addr < len;
}

static void note_trap(CPUX86 *cpu, uint8_t hits)
{
    cpu->debug_pending |= hits;
}

void x86_check_code_bp(CPUX86 *cpu, uint64_t linear_rip)
{
    uint8_t hits = 0;

    if (cpu->rflags & FLAG_RF) {
        return;
    }
    for (unsigned i = 0; i < 4; i++) {
        if (bp_enabled(cpu, i) && bp_type(cpu, i) == BP_EXEC && cpu->dr[i] == linear_rip) {
            hits |= (uint8_t)(1u << i);
        }
    }
    if (hits) {
        cpu->dr[6] = (cpu->dr[6] & ~15ull) | hits;
        x86_raise(cpu, EXC_DB);
    }
}

void x86_check_data_bp(CPUX86 *cpu, uint64_t linear, unsigned len, bool write)
{
    for (unsigned i = 0; i < 4; i++) {
        BpType t = bp_type(cpu, i);

        if (bp_enabled(cpu, i) && (t == BP_ACCESS || (t == BP_WRITE && write)) &&
            bp_covers(cpu, i, linear, len)) {
            note_trap(cpu, (uint8_t)(1u << i));
        }
    }
}

void x86_check_io_bp(CPUX86 *cpu, uint16_t port, unsigned len)
{
    if (!(cpu->cr4 & CR4_DE)) {
        return;
    }
    for (unsigned i = 0; i < 4; i++) {
        if (bp_enabled(cpu, i) && bp_type(cpu, i) == BP_IO && bp_covers(cpu, i, port, len)) {
            note_trap(cpu, (uint8_t)(1u << i));
        }
    }
}

void x86_single_step(CPUX86 *cpu, bool trap_flag)
{
    if (!trap_flag && !cpu->debug_pending) {
        return;
    }
    cpu->dr[6] = (cpu->dr[6] & ~15ull) | cpu->debug_pending | (trap_flag ? DR6_BS : 0);
    cpu->debug_pending = 0;
    x86_raise(cpu, EXC_DB);
}

/* DR4 and DR5 are DR6 and DR7 unless CR4.DE says that they do not exist. */
static unsigned check_dr_access(CPUX86 *cpu, unsigned n)
{
    if (n == 4 || n == 5) {
        if (cpu->cr4 & CR4_DE) {
            x86_raise(cpu, EXC_UD);
        }
        n += 2;
    }
    require_cpl0(cpu);
    if (cpu->dr[7] & DR7_GD) {
        cpu->dr[6] |= DR6_BD;
        x86_raise(cpu, EXC_DB);
    }
    return n;
}

uint64_t helper_read_dr(CPUX86 *cpu, unsigned n)
{
    n = check_dr_access(cpu, n & 7);
    svm_check_dr(cpu, n, false);
    return cpu->dr[n];
}

void helper_write_dr(CPUX86 *cpu, unsigned n, uint64_t v)
{
    n = check_dr_access(cpu, n & 7);
    svm_check_dr(cpu, n, true);
    if (n >= 6 && v >> 32) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    switch (n) {
    case 6:
        cpu->dr[6] = (v & DR6_WRITABLE) | DR6_FIXED;
        break;
    case 7:
        cpu->dr[7] = (v & ~(uint64_t)DR7_RESERVED) | DR7_FIXED;
        break;
    default:
        cpu->dr[n] = v;
        break;
    }
    cpu_update_hflags(cpu);
}
