/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Follows a program and knows which of its flags are undefined. */
#include "tests/fuzz/fuzz-undefined.h"

#include "tests/fuzz/fuzz-flags.h"

#define MSR_TSC 0x10u

/* What is at CS:RIP, as far as it is mapped. */
static bool decode_here(CPUX86 *cpu, GenOptions *opt, DecodedInsn *in)
{
    uint8_t code[16] = {0};
    uint64_t at = cpu->segs[SEG_CS].base + cpu->rip;
    unsigned n = 0;
    if (!(cpu->hflags & HF_CS64)) {
        at = (uint32_t)at;
    }
    while (n < 15 && cpu_debug_rw(cpu, at + n, code + n, 1, false)) {
        n++;
    }
    *opt = (GenOptions){
        .features = cpu->config.features,
        .bits = cpu->hflags & HF_CS64   ? 64
                : cpu->hflags & HF_CS32 ? 32
                                        : 16,
        .protected_mode = (cpu->hflags & HF_PE) && !(cpu->rflags & FLAG_VM),
    };
    return n && gen_decode(opt, code, n, in);
}

static bool loads_all_flags(unsigned op)
{
    return op == OP_IRET || op == OP_POPF || op == OP_SYSRET;
}

/* Are results the same on all chips, in all engines, at all times? */
static bool exact(const CPUX86 *cpu, const GenOptions *opt, const DecodedInsn *in)
{
    const Gen g = {.opt = *opt};
    switch (in->op) {
    case OP_RDTSC:
    case OP_RDTSCP:
    case OP_RDPMC:
    case OP_RDRAND:
    case OP_RDSEED:
    case OP_FXSAVE:
    case OP_XSAVE:
    case OP_XSAVEOPT:
    case OP_XSAVEC:
    case OP_XSAVES:
        return false;
    case OP_RDMSR:
        return (uint32_t)cpu->regs[R_RCX] != MSR_TSC;
    default:
        return gen_exact(&g, in);
    }
}

void undefined_step(Undefined *u, CPUX86 *cpu, bool ones)
{
    GenOptions opt;
    DecodedInsn in;
    cpu->rflags = (cpu->rflags & ~(uint64_t)u->flags) | (ones ? u->flags : 0);
    if (!decode_here(cpu, &opt, &in)) {
        return;
    }
    u->flags = loads_all_flags(in.op) ? 0 : flags_after(u->flags, &in);
    bool traps = (cpu->rflags & FLAG_TF) || (cpu->hflags & HF_DATA_BP);
    u->lost = u->lost || (u->flags && traps) || !exact(cpu, &opt, &in);
}
