/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which flags instructions read, define and leave undefined; which are left out at all. */
#include "tests/fuzz/fuzz-flags.h"

#include <string.h>

#define A FZ_ARITH
#define CF FLAG_CF
#define PF FLAG_PF
#define AF FLAG_AF
#define ZF FLAG_ZF
#define SF FLAG_SF
#define OF FLAG_OF

static const FlagUse by_op[OP_COUNT] = {
    [OP_ADD] = {0, A, 0},
    [OP_OR] = {0, A & ~AF, AF},
    [OP_ADC] = {CF, A, 0},
    [OP_SBB] = {CF, A, 0},
    [OP_AND] = {0, A & ~AF, AF},
    [OP_SUB] = {0, A, 0},
    [OP_XOR] = {0, A & ~AF, AF},
    [OP_CMP] = {0, A, 0},
    [OP_TEST] = {0, A & ~AF, AF},
    [OP_INC] = {0, A & ~CF, 0},
    [OP_DEC] = {0, A & ~CF, 0},
    [OP_NEG] = {0, A, 0},
    [OP_MUL] = {0, CF | OF, SF | ZF | AF | PF},
    [OP_IMUL1] = {0, CF | OF, SF | ZF | AF | PF},
    [OP_IMUL2] = {0, CF | OF, SF | ZF | AF | PF},
    [OP_IMUL3] = {0, CF | OF, SF | ZF | AF | PF},
    [OP_DIV] = {0, 0, A},
    [OP_IDIV] = {0, 0, A},
    /* A count of zero changes nothing, so nothing counts as defined. */
    [OP_ROL] = {0, 0, OF},
    [OP_ROR] = {0, 0, OF},
    [OP_RCL] = {CF, 0, OF},
    [OP_RCR] = {CF, 0, OF},
    [OP_SHL] = {0, 0, OF | AF | CF},
    [OP_SHR] = {0, 0, OF | AF | CF},
    [OP_SAL] = {0, 0, OF | AF | CF},
    [OP_SAR] = {0, 0, OF | AF},
    [OP_SHLD] = {0, 0, OF | AF},
    [OP_SHRD] = {0, 0, OF | AF},
    [OP_BT] = {0, CF, OF | SF | AF | PF},
    [OP_BTS] = {0, CF, OF | SF | AF | PF},
    [OP_BTR] = {0, CF, OF | SF | AF | PF},
    [OP_BTC] = {0, CF, OF | SF | AF | PF},
    [OP_BSF] = {0, ZF, A & ~ZF},
    [OP_BSR] = {0, ZF, A & ~ZF},
    [OP_TZCNT] = {0, ZF | CF, OF | SF | AF | PF},
    [OP_LZCNT] = {0, ZF | CF, OF | SF | AF | PF},
    [OP_POPCNT] = {0, A, 0},
    [OP_XADD] = {0, A, 0},
    [OP_CMPXCHG] = {0, A, 0},
    [OP_CMPXCHG8B] = {0, ZF, 0},
    [OP_PUSHF] = {A, 0, 0},
    [OP_POPF] = {0, A, 0},
    [OP_LAHF] = {A, 0, 0},
    [OP_SAHF] = {0, A & ~OF, 0},
    [OP_CMPS] = {0, 0, 0}, /* with a count of zero they change none */
    [OP_SCAS] = {0, 0, 0},
    [OP_CLC] = {0, CF, 0},
    [OP_STC] = {0, CF, 0},
    [OP_CMC] = {CF, CF, 0},
    [OP_AAA] = {AF, AF | CF, OF | SF | ZF | PF},
    [OP_AAS] = {AF, AF | CF, OF | SF | ZF | PF},
    [OP_DAA] = {AF | CF, A & ~OF, OF},
    [OP_DAS] = {AF | CF, A & ~OF, OF},
    [OP_AAM] = {0, SF | ZF | PF, OF | AF | CF},
    [OP_AAD] = {0, SF | ZF | PF, OF | AF | CF},
    [OP_SALC] = {CF, 0, 0},
    [OP_INTO] = {OF, 0, 0},
    [OP_ADCX] = {CF, CF, 0},
    [OP_ADOX] = {OF, OF, 0},
};

/* Instructions of later extensions, whatever their operation is called. */
static const struct {
    const char *name;
    FlagUse use;
} by_name[] = {
    {"andn", {0, SF | ZF | CF | OF, AF | PF}},   {"bextr", {0, ZF | CF | OF, AF | SF | PF}},
    {"blsi", {0, SF | ZF | CF | OF, AF | PF}},   {"blsr", {0, SF | ZF | CF | OF, AF | PF}},
    {"blsmsk", {0, SF | ZF | CF | OF, AF | PF}}, {"bzhi", {0, SF | ZF | CF | OF, AF | PF}},
};

/* Flags that condition code cc tests. */
static uint16_t condition(unsigned cc)
{
    static const uint16_t f[8] = {OF, CF, ZF, CF | ZF, SF, PF, SF | OF, ZF | SF | OF};
    return f[cc >> 1 & 7];
}

FlagUse flag_use(const DecodedInsn *in)
{
    if (in->op == OP_JCC || in->op == OP_SETCC || in->op == OP_CMOV) {
        return (FlagUse){condition(in->opcode & 15), 0, 0};
    }
    if (in->op == OP_LOOP) {
        return (FlagUse){in->row->arg == 2 ? 0 : ZF, 0, 0};
    }
    if (in->op == OP_X87) { /* FCMOVcc reads, FCOMI writes */
        unsigned esc = in->opcode & 7, n = in->modrm >> 3 & 7;
        bool cmov = in->mod == 3 && (esc == 2 || esc == 3) && n < 4;
        bool comi = in->mod == 3 && (esc == 3 || esc == 7) && (n == 5 || n == 6);
        return (FlagUse){cmov ? CF | ZF | PF : 0, comi ? ZF | PF | CF : 0, 0};
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(by_name); i++) {
        if (in->op == OP_SIMD ? false : !strcmp(in->row->name, by_name[i].name)) {
            return by_name[i].use;
        }
    }
    if (in->row->flags & RF_FLAGS) {
        return (FlagUse){0, A, 0};
    }
    return in->op < OP_COUNT ? by_op[in->op] : (FlagUse){0, 0, 0};
}

uint16_t flags_after(uint16_t undefined, const DecodedInsn *in)
{
    FlagUse u = flag_use(in);
    if (in->op >= OP_ROL && in->op <= OP_SAR && in->operand[1].kind == OK_IMM) {
        unsigned count = in->imm & (in->operand[0].size == 8 ? 63 : 31);
        if (!count) {
            return undefined;
        }
        if (count == 1) {
            u.undefined &= (uint16_t)~FLAG_OF;
        }
        if (count < in->operand[0].size * 8u) {
            u.undefined &= (uint16_t)~FLAG_CF;
        }
    }
    return (uint16_t)((undefined & ~u.defined) | u.undefined);
}

/*
 * Not in user mode's sequences: what makes system calls, what depends on the host's
 * descriptor tables, its time or its identity, and what loads segment registers.
 */
bool flag_never(unsigned op)
{
    switch (op) {
    case OP_INVALID:
    case OP_SYSCALL:
    case OP_SYSRET:
    case OP_SYSENTER:
    case OP_SYSEXIT:
    case OP_SLDT:
    case OP_STR:
    case OP_VERR:
    case OP_VERW:
    case OP_LAR:
    case OP_LSL:
    case OP_SGDT:
    case OP_SIDT:
    case OP_SMSW:
    case OP_RDTSC:
    case OP_RDTSCP:
    case OP_RDPMC:
    case OP_CPUID:
    case OP_XGETBV:
    case OP_VMCALL: /* the host's hypervisor answers */
    case OP_VMMCALL:
    case OP_RDRAND:
    case OP_RDSEED:
    case OP_RDPID:
    case OP_RDFSBASE:
    case OP_WRFSBASE:
    case OP_RDPKRU:
    case OP_WRPKRU:
    case OP_MOV_TO_SEG:
    case OP_POP_SEG:
    case OP_LFS:
    case OP_JMP_FAR:
    case OP_CALL_FAR:
    case OP_RET_FAR:
    case OP_IRET:
    case OP_JMP_IND: /* these in units with a target */
    case OP_CALL_IND:
    case OP_RET:
    case OP_POPF:
    case OP_FXSAVE:
    case OP_FXRSTOR:
    case OP_XSAVE:
    case OP_XSAVEOPT:
    case OP_XSAVEC:
    case OP_XSAVES:
    case OP_XRSTOR:
    case OP_XRSTORS:
    case OP_LDMXCSR:
        return true;
    default:
        return false;
    }
}
