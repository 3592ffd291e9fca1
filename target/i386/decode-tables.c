/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The opcode maps; how to read and extend them: decode.h.  SDM vol. 2, appendix A. */
#include "target/i386/decode.h"
#include "target/i386/simd.h"

/* clang-format off */
#define LOCKED .flags = RF_LOCK
/* The six encodings of one two-operand arithmetic instruction. */
#define ARITH(base, name, op)                                     \
    [(base)] = ROWS(ROW(name, op, OPS(O_Eb, O_Gb), LOCKED)),      \
    [(base) + 1] = ROWS(ROW(name, op, OPS(O_Ev, O_Gv), LOCKED)),  \
    [(base) + 2] = ROWS(ROW(name, op, OPS(O_Gb, O_Eb))),          \
    [(base) + 3] = ROWS(ROW(name, op, OPS(O_Gv, O_Ev))),          \
    [(base) + 4] = ROWS(ROW(name, op, OPS(O_AL, O_Ib))),          \
    [(base) + 5] = ROWS(ROW(name, op, OPS(O_rAX, O_Iz)))
/* Group 1 with one pair of operands. */
#define GROUP1(a, b, fl)                                                        \
    ROWS(ROW("add", OP_ADD, OPS(a, b), .reg1 = 1, .flags = RF_LOCK | (fl)),     \
         ROW("or", OP_OR, OPS(a, b), .reg1 = 2, .flags = RF_LOCK | (fl)),       \
         ROW("adc", OP_ADC, OPS(a, b), .reg1 = 3, .flags = RF_LOCK | (fl)),     \
         ROW("sbb", OP_SBB, OPS(a, b), .reg1 = 4, .flags = RF_LOCK | (fl)),     \
         ROW("and", OP_AND, OPS(a, b), .reg1 = 5, .flags = RF_LOCK | (fl)),     \
         ROW("sub", OP_SUB, OPS(a, b), .reg1 = 6, .flags = RF_LOCK | (fl)),     \
         ROW("xor", OP_XOR, OPS(a, b), .reg1 = 7, .flags = RF_LOCK | (fl)),     \
         ROW("cmp", OP_CMP, OPS(a, b), .reg1 = 8, .flags = (fl)))
/* Group 2: shifts and rotates. */
#define GROUP2(a, b)                                  \
    ROWS(ROW("rol", OP_ROL, OPS(a, b), .reg1 = 1),    \
         ROW("ror", OP_ROR, OPS(a, b), .reg1 = 2),    \
         ROW("rcl", OP_RCL, OPS(a, b), .reg1 = 3),    \
         ROW("rcr", OP_RCR, OPS(a, b), .reg1 = 4),    \
         ROW("shl", OP_SHL, OPS(a, b), .reg1 = 5),    \
         ROW("shr", OP_SHR, OPS(a, b), .reg1 = 6),    \
         ROW("sal", OP_SAL, OPS(a, b), .reg1 = 7),    \
         ROW("sar", OP_SAR, OPS(a, b), .reg1 = 8))
#define GROUP3(e, i)                                                  \
    ROWS(ROW("test", OP_TEST, OPS(e, i), .reg1 = 1),                  \
         ROW("test", OP_TEST, OPS(e, i), .reg1 = 2),                  \
         ROW("not", OP_NOT, OPS(e), .reg1 = 3, LOCKED),               \
         ROW("neg", OP_NEG, OPS(e), .reg1 = 4, LOCKED),               \
         ROW("mul", OP_MUL, OPS(e), .reg1 = 5),                       \
         ROW("imul", OP_IMUL1, OPS(e), .reg1 = 6),                    \
         ROW("div", OP_DIV, OPS(e), .reg1 = 7),                       \
         ROW("idiv", OP_IDIV, OPS(e), .reg1 = 8))
#define EIGHT(base, m, ...) \
    m((base), 0, ##__VA_ARGS__), m((base), 1, ##__VA_ARGS__), m((base), 2, ##__VA_ARGS__), \
        m((base), 3, ##__VA_ARGS__), m((base), 4, ##__VA_ARGS__), m((base), 5, ##__VA_ARGS__), \
        m((base), 6, ##__VA_ARGS__), m((base), 7, ##__VA_ARGS__)
#define REG_INC(base, n) \
    [(base) + (n)] = ROWS(ROW("inc", OP_INC, OPS(O_Zv), .flags = RF_I64))
#define REG_DEC(base, n) \
    [(base) + (n)] = ROWS(ROW("dec", OP_DEC, OPS(O_Zv), .flags = RF_I64))
#define REG_PUSH(base, n) \
    [(base) + (n)] = ROWS(ROW("push", OP_PUSH, OPS(O_Zv), .flags = RF_D64))
#define REG_POP(base, n) \
    [(base) + (n)] = ROWS(ROW("pop", OP_POP, OPS(O_Zv), .flags = RF_D64))
#define REG_XCHG(base, n) [(base) + (n)] = ROWS(ROW("xchg", OP_XCHG, OPS(O_Zv, O_rAX)))
#define REG_MOVB(base, n) [(base) + (n)] = ROWS(ROW("mov", OP_MOV, OPS(O_Zb, O_Ib)))
#define REG_MOVV(base, n) [(base) + (n)] = ROWS(ROW("mov", OP_MOV, OPS(O_Zv, O_Iv)))
#define REG_BSWAP(base, n) [(base) + (n)] = ROWS(ROW("bswap", OP_BSWAP, OPS(O_Zv)))
#define ESC(base, n) [(base) + (n)] = ROWS(ROW("x87", OP_X87, OPS(0), .flags = RF_MODRM, .arg = (n)))
/* Instructions by condition code. */
#define CC16(base, m)                                                                          \
    m(base, 0, "o"), m(base, 1, "no"), m(base, 2, "b"), m(base, 3, "ae"), m(base, 4, "e"),     \
        m(base, 5, "ne"), m(base, 6, "be"), m(base, 7, "a"), m(base, 8, "s"), m(base, 9, "ns"), \
        m(base, 10, "p"), m(base, 11, "np"), m(base, 12, "l"), m(base, 13, "ge"),              \
        m(base, 14, "le"), m(base, 15, "g")
#define JCC_B(base, n, cc) \
    [(base) + (n)] = ROWS(ROW("j" cc, OP_JCC, OPS(O_Jb), .arg = (n), .flags = RF_F64))
#define JCC_Z(base, n, cc) \
    [(base) + (n)] = ROWS(ROW("j" cc, OP_JCC, OPS(O_Jz), .arg = (n), .flags = RF_F64))
#define SETCC(base, n, cc) [(base) + (n)] = ROWS(ROW("set" cc, OP_SETCC, OPS(O_Eb), .arg = (n)))
#define CMOVCC(base, n, cc) \
    [(base) + (n)] =        \
        ROWS(ROW("cmov" cc, OP_CMOV, OPS(O_Gv, O_Ev), .arg = (n), .feature = F_CMOV))
#define SEG_OP(code, n, o, s, fl) \
    [code] = ROWS(ROW(n, o, OPS(O_SEG), .arg = (s), .flags = (fl)))

static const InsnRow *const map_1[256] = {
    ARITH(0x00, "add", OP_ADD),
    ARITH(0x08, "or", OP_OR),
    ARITH(0x10, "adc", OP_ADC),
    ARITH(0x18, "sbb", OP_SBB),
    ARITH(0x20, "and", OP_AND),
    ARITH(0x28, "sub", OP_SUB),
    ARITH(0x30, "xor", OP_XOR),
    [0x38] = ROWS(ROW("cmp", OP_CMP, OPS(O_Eb, O_Gb))),
    [0x39] = ROWS(ROW("cmp", OP_CMP, OPS(O_Ev, O_Gv))),
    [0x3a] = ROWS(ROW("cmp", OP_CMP, OPS(O_Gb, O_Eb))),
    [0x3b] = ROWS(ROW("cmp", OP_CMP, OPS(O_Gv, O_Ev))),
    [0x3c] = ROWS(ROW("cmp", OP_CMP, OPS(O_AL, O_Ib))),
    [0x3d] = ROWS(ROW("cmp", OP_CMP, OPS(O_rAX, O_Iz))),
    SEG_OP(0x06, "push", OP_PUSH_SEG, SEG_ES, RF_I64),
    SEG_OP(0x07, "pop", OP_POP_SEG, SEG_ES, RF_I64),
    SEG_OP(0x0e, "push", OP_PUSH_SEG, SEG_CS, RF_I64),
    SEG_OP(0x16, "push", OP_PUSH_SEG, SEG_SS, RF_I64),
    SEG_OP(0x17, "pop", OP_POP_SEG, SEG_SS, RF_I64),
    SEG_OP(0x1e, "push", OP_PUSH_SEG, SEG_DS, RF_I64),
    SEG_OP(0x1f, "pop", OP_POP_SEG, SEG_DS, RF_I64),
    [0x27] = ROWS(ROW("daa", OP_DAA, .flags = RF_I64)),
    [0x2f] = ROWS(ROW("das", OP_DAS, .flags = RF_I64)),
    [0x37] = ROWS(ROW("aaa", OP_AAA, .flags = RF_I64)),
    [0x3f] = ROWS(ROW("aas", OP_AAS, .flags = RF_I64)),
    EIGHT(0x40, REG_INC),
    EIGHT(0x48, REG_DEC),
    EIGHT(0x50, REG_PUSH),
    EIGHT(0x58, REG_POP),
    [0x60] = ROWS(ROW("pusha", OP_PUSHA, .flags = RF_I64)),
    [0x61] = ROWS(ROW("popa", OP_POPA, .flags = RF_I64)),
    [0x62] = ROWS(ROW("bound", OP_BOUND, OPS(O_Gv, O_Ma), .flags = RF_I64)),
    [0x63] = ROWS(ROW("movsxd", OP_MOVSXD, OPS(O_Gv, O_Ed), .flags = RF_O64),
                  ROW("arpl", OP_ARPL, OPS(O_Ew, O_Gw), .flags = RF_I64 | RF_PROT)),
    [0x68] = ROWS(ROW("push", OP_PUSH, OPS(O_Iz), .flags = RF_D64)),
    [0x69] = ROWS(ROW("imul", OP_IMUL3, OPS(O_Gv, O_Ev, O_Iz))),
    [0x6a] = ROWS(ROW("push", OP_PUSH, OPS(O_sIb), .flags = RF_D64)),
    [0x6b] = ROWS(ROW("imul", OP_IMUL3, OPS(O_Gv, O_Ev, O_sIb))),
    [0x6c] = ROWS(ROW("ins", OP_INS, OPS(O_Yb, O_DX), .flags = RF_REP)),
    [0x6d] = ROWS(ROW("ins", OP_INS, OPS(O_Yz, O_DX), .flags = RF_REP)),
    [0x6e] = ROWS(ROW("outs", OP_OUTS, OPS(O_DX, O_Xb), .flags = RF_REP)),
    [0x6f] = ROWS(ROW("outs", OP_OUTS, OPS(O_DX, O_Xz), .flags = RF_REP)),
    CC16(0x70, JCC_B),
    [0x80] = GROUP1(O_Eb, O_Ib, 0),
    [0x81] = GROUP1(O_Ev, O_Iz, 0),
    [0x82] = GROUP1(O_Eb, O_Ib, RF_I64),
    [0x83] = GROUP1(O_Ev, O_sIb, 0),
    [0x84] = ROWS(ROW("test", OP_TEST, OPS(O_Eb, O_Gb))),
    [0x85] = ROWS(ROW("test", OP_TEST, OPS(O_Ev, O_Gv))),
    [0x86] = ROWS(ROW("xchg", OP_XCHG, OPS(O_Eb, O_Gb), LOCKED)),
    [0x87] = ROWS(ROW("xchg", OP_XCHG, OPS(O_Ev, O_Gv), LOCKED)),
    [0x88] = ROWS(ROW("mov", OP_MOV, OPS(O_Eb, O_Gb))),
    [0x89] = ROWS(ROW("mov", OP_MOV, OPS(O_Ev, O_Gv))),
    [0x8a] = ROWS(ROW("mov", OP_MOV, OPS(O_Gb, O_Eb))),
    [0x8b] = ROWS(ROW("mov", OP_MOV, OPS(O_Gv, O_Ev))),
    [0x8c] = ROWS(ROW("mov", OP_MOV_FROM_SEG, OPS(O_Mw, O_Sw), .mod = MOD_MEM),
                  ROW("mov", OP_MOV_FROM_SEG, OPS(O_Rv, O_Sw))),
    [0x8d] = ROWS(ROW("lea", OP_LEA, OPS(O_Gv, O_M), .mod = MOD_MEM)),
    [0x8e] = ROWS(ROW("mov", OP_MOV_TO_SEG, OPS(O_Sw, O_Ew))),
    [0x8f] = ROWS(ROW("pop", OP_POP, OPS(O_Ev), .reg1 = 1, .flags = RF_D64)),
    [0x90] = ROWS(ROW("pause", OP_PAUSE, .pfx = PFX_F3),
                  ROW("xchg", OP_XCHG, OPS(O_Zv, O_rAX))),
    [0x91] = ROWS(ROW("xchg", OP_XCHG, OPS(O_Zv, O_rAX))),
    [0x92] = ROWS(ROW("xchg", OP_XCHG, OPS(O_Zv, O_rAX))),
    [0x93] = ROWS(ROW("xchg", OP_XCHG, OPS(O_Zv, O_rAX))),
    [0x94] = ROWS(ROW("xchg", OP_XCHG, OPS(O_Zv, O_rAX))),
    [0x95] = ROWS(ROW("xchg", OP_XCHG, OPS(O_Zv, O_rAX))),
    [0x96] = ROWS(ROW("xchg", OP_XCHG, OPS(O_Zv, O_rAX))),
    [0x97] = ROWS(ROW("xchg", OP_XCHG, OPS(O_Zv, O_rAX))),
    [0x98] = ROWS(ROW("cbw", OP_CBW)),
    [0x99] = ROWS(ROW("cwd", OP_CWD)),
    [0x9a] = ROWS(ROW("callf", OP_CALL_FAR, OPS(O_Ap), .flags = RF_I64)),
    [0x9b] = ROWS(ROW("fwait", OP_FWAIT)),
    [0x9c] = ROWS(ROW("pushf", OP_PUSHF, .flags = RF_D64)),
    [0x9d] = ROWS(ROW("popf", OP_POPF, .flags = RF_D64)),
    [0x9e] = ROWS(ROW("sahf", OP_SAHF, .flags = RF_I64),
                  ROW("sahf", OP_SAHF, .feature = F_LAHF64)),
    [0x9f] = ROWS(ROW("lahf", OP_LAHF, .flags = RF_I64),
                  ROW("lahf", OP_LAHF, .feature = F_LAHF64)),
    [0xa0] = ROWS(ROW("mov", OP_MOV, OPS(O_AL, O_Ob))),
    [0xa1] = ROWS(ROW("mov", OP_MOV, OPS(O_rAX, O_Ov))),
    [0xa2] = ROWS(ROW("mov", OP_MOV, OPS(O_Ob, O_AL))),
    [0xa3] = ROWS(ROW("mov", OP_MOV, OPS(O_Ov, O_rAX))),
    [0xa4] = ROWS(ROW("movs", OP_MOVS, OPS(O_Yb, O_Xb), .flags = RF_REP)),
    [0xa5] = ROWS(ROW("movs", OP_MOVS, OPS(O_Yv, O_Xv), .flags = RF_REP)),
    [0xa6] = ROWS(ROW("cmps", OP_CMPS, OPS(O_Xb, O_Yb), .flags = RF_REP | RF_REPZ)),
    [0xa7] = ROWS(ROW("cmps", OP_CMPS, OPS(O_Xv, O_Yv), .flags = RF_REP | RF_REPZ)),
    [0xa8] = ROWS(ROW("test", OP_TEST, OPS(O_AL, O_Ib))),
    [0xa9] = ROWS(ROW("test", OP_TEST, OPS(O_rAX, O_Iz))),
    [0xaa] = ROWS(ROW("stos", OP_STOS, OPS(O_Yb, O_AL), .flags = RF_REP)),
    [0xab] = ROWS(ROW("stos", OP_STOS, OPS(O_Yv, O_rAX), .flags = RF_REP)),
    [0xac] = ROWS(ROW("lods", OP_LODS, OPS(O_AL, O_Xb), .flags = RF_REP)),
    [0xad] = ROWS(ROW("lods", OP_LODS, OPS(O_rAX, O_Xv), .flags = RF_REP)),
    [0xae] = ROWS(ROW("scas", OP_SCAS, OPS(O_AL, O_Yb), .flags = RF_REP | RF_REPZ)),
    [0xaf] = ROWS(ROW("scas", OP_SCAS, OPS(O_rAX, O_Yv), .flags = RF_REP | RF_REPZ)),
    EIGHT(0xb0, REG_MOVB),
    EIGHT(0xb8, REG_MOVV),
    [0xc0] = GROUP2(O_Eb, O_Ib),
    [0xc1] = GROUP2(O_Ev, O_Ib),
    [0xc2] = ROWS(ROW("ret", OP_RET, OPS(O_Iw), .flags = RF_F64)),
    [0xc3] = ROWS(ROW("ret", OP_RET, .flags = RF_F64)),
    [0xc4] = ROWS(ROW("les", OP_LFS, OPS(O_Gv, O_Mp), .mod = MOD_MEM, .arg = SEG_ES,
                      .flags = RF_I64)),
    [0xc5] = ROWS(ROW("lds", OP_LFS, OPS(O_Gv, O_Mp), .mod = MOD_MEM, .arg = SEG_DS,
                      .flags = RF_I64)),
    [0xc6] = ROWS(ROW("mov", OP_MOV, OPS(O_Eb, O_Ib), .reg1 = 1)),
    [0xc7] = ROWS(ROW("mov", OP_MOV, OPS(O_Ev, O_Iz), .reg1 = 1)),
    [0xc8] = ROWS(ROW("enter", OP_ENTER, OPS(O_Iw, O_Ib), .flags = RF_D64)),
    [0xc9] = ROWS(ROW("leave", OP_LEAVE, .flags = RF_D64)),
    [0xca] = ROWS(ROW("retf", OP_RET_FAR, OPS(O_Iw))),
    [0xcb] = ROWS(ROW("retf", OP_RET_FAR)),
    [0xcc] = ROWS(ROW("int3", OP_INT3)),
    [0xcd] = ROWS(ROW("int", OP_INT, OPS(O_Ib))),
    [0xce] = ROWS(ROW("into", OP_INTO, .flags = RF_I64)),
    [0xcf] = ROWS(ROW("iret", OP_IRET)),
    [0xd0] = GROUP2(O_Eb, O_1),
    [0xd1] = GROUP2(O_Ev, O_1),
    [0xd2] = GROUP2(O_Eb, O_CL),
    [0xd3] = GROUP2(O_Ev, O_CL),
    [0xd4] = ROWS(ROW("aam", OP_AAM, OPS(O_Ib), .flags = RF_I64)),
    [0xd5] = ROWS(ROW("aad", OP_AAD, OPS(O_Ib), .flags = RF_I64)),
    [0xd6] = ROWS(ROW("salc", OP_SALC, .flags = RF_I64)),
    [0xd7] = ROWS(ROW("xlat", OP_XLAT)),
    EIGHT(0xd8, ESC),
    [0xe0] = ROWS(ROW("loopne", OP_LOOP, OPS(O_Jb), .arg = 0, .flags = RF_F64)),
    [0xe1] = ROWS(ROW("loope", OP_LOOP, OPS(O_Jb), .arg = 1, .flags = RF_F64)),
    [0xe2] = ROWS(ROW("loop", OP_LOOP, OPS(O_Jb), .arg = 2, .flags = RF_F64)),
    [0xe3] = ROWS(ROW("jcxz", OP_JCXZ, OPS(O_Jb), .flags = RF_F64)),
    [0xe4] = ROWS(ROW("in", OP_IN, OPS(O_AL, O_Ib))),
    [0xe5] = ROWS(ROW("in", OP_IN, OPS(O_eAX, O_Ib))),
    [0xe6] = ROWS(ROW("out", OP_OUT, OPS(O_Ib, O_AL))),
    [0xe7] = ROWS(ROW("out", OP_OUT, OPS(O_Ib, O_eAX))),
    [0xe8] = ROWS(ROW("call", OP_CALL, OPS(O_Jz), .flags = RF_F64)),
    [0xe9] = ROWS(ROW("jmp", OP_JMP, OPS(O_Jz), .flags = RF_F64)),
    [0xea] = ROWS(ROW("jmpf", OP_JMP_FAR, OPS(O_Ap), .flags = RF_I64)),
    [0xeb] = ROWS(ROW("jmp", OP_JMP, OPS(O_Jb), .flags = RF_F64)),
    [0xec] = ROWS(ROW("in", OP_IN, OPS(O_AL, O_DX))),
    [0xed] = ROWS(ROW("in", OP_IN, OPS(O_eAX, O_DX))),
    [0xee] = ROWS(ROW("out", OP_OUT, OPS(O_DX, O_AL))),
    [0xef] = ROWS(ROW("out", OP_OUT, OPS(O_DX, O_eAX))),
    [0xf1] = ROWS(ROW("int1", OP_ICEBP)),
    [0xf4] = ROWS(ROW("hlt", OP_HLT)),
    [0xf5] = ROWS(ROW("cmc", OP_CMC)),
    [0xf6] = GROUP3(O_Eb, O_Ib),
    [0xf7] = GROUP3(O_Ev, O_Iz),
    [0xf8] = ROWS(ROW("clc", OP_CLC)),
    [0xf9] = ROWS(ROW("stc", OP_STC)),
    [0xfa] = ROWS(ROW("cli", OP_CLI)),
    [0xfb] = ROWS(ROW("sti", OP_STI)),
    [0xfc] = ROWS(ROW("cld", OP_CLD)),
    [0xfd] = ROWS(ROW("std", OP_STD)),
    [0xfe] = ROWS(ROW("inc", OP_INC, OPS(O_Eb), .reg1 = 1, LOCKED),
                  ROW("dec", OP_DEC, OPS(O_Eb), .reg1 = 2, LOCKED)),
    [0xff] = ROWS(ROW("inc", OP_INC, OPS(O_Ev), .reg1 = 1, LOCKED),
                  ROW("dec", OP_DEC, OPS(O_Ev), .reg1 = 2, LOCKED),
                  ROW("call", OP_CALL_IND, OPS(O_Ev), .reg1 = 3, .flags = RF_F64),
                  ROW("callf", OP_CALL_FAR, OPS(O_Mp), .reg1 = 4, .mod = MOD_MEM),
                  ROW("jmp", OP_JMP_IND, OPS(O_Ev), .reg1 = 5, .flags = RF_F64),
                  ROW("jmpf", OP_JMP_FAR, OPS(O_Mp), .reg1 = 6, .mod = MOD_MEM),
                  ROW("push", OP_PUSH, OPS(O_Ev), .reg1 = 7, .flags = RF_D64)),
};


static const InsnRow *const map_0f[256] = {
    [0x00] = ROWS(ROW("sldt", OP_SLDT, OPS(O_Mw), .reg1 = 1, .mod = MOD_MEM, .flags = RF_PROT),
                  ROW("sldt", OP_SLDT, OPS(O_Rv), .reg1 = 1, .flags = RF_PROT),
                  ROW("str", OP_STR, OPS(O_Mw), .reg1 = 2, .mod = MOD_MEM, .flags = RF_PROT),
                  ROW("str", OP_STR, OPS(O_Rv), .reg1 = 2, .flags = RF_PROT),
                  ROW("lldt", OP_LLDT, OPS(O_Ew), .reg1 = 3, .flags = RF_PROT),
                  ROW("ltr", OP_LTR, OPS(O_Ew), .reg1 = 4, .flags = RF_PROT),
                  ROW("verr", OP_VERR, OPS(O_Ew), .reg1 = 5, .flags = RF_PROT),
                  ROW("verw", OP_VERW, OPS(O_Ew), .reg1 = 6, .flags = RF_PROT)),
    [0x01] = ROWS(ROW("sgdt", OP_SGDT, OPS(O_Ms), .reg1 = 1, .mod = MOD_MEM),
                  ROW("monitor", OP_MONITOR, .reg1 = 2, .mod = MOD_REG, .rm1 = 1,
                      .pfx = PFX_NP, .feature = F_MONITOR),
                  ROW("mwait", OP_MWAIT, .reg1 = 2, .mod = MOD_REG, .rm1 = 2, .pfx = PFX_NP,
                      .feature = F_MONITOR),
                  ROW("clac", OP_CLAC, .reg1 = 2, .mod = MOD_REG, .rm1 = 3, .pfx = PFX_NP,
                      .feature = F_SMAP),
                  ROW("stac", OP_STAC, .reg1 = 2, .mod = MOD_REG, .rm1 = 4, .pfx = PFX_NP,
                      .feature = F_SMAP),
                  ROW("sidt", OP_SIDT, OPS(O_Ms), .reg1 = 2, .mod = MOD_MEM),
                  ROW("xgetbv", OP_XGETBV, .reg1 = 3, .mod = MOD_REG, .rm1 = 1, .pfx = PFX_NP,
                      .feature = F_XSAVE),
                  ROW("xsetbv", OP_XSETBV, .reg1 = 3, .mod = MOD_REG, .rm1 = 2, .pfx = PFX_NP,
                      .feature = F_XSAVE),
                  ROW("vmrun", OP_VMRUN, .reg1 = 4, .mod = MOD_REG, .rm1 = 1, .feature = F_SVM),
                  ROW("vmmcall", OP_VMMCALL, .reg1 = 4, .mod = MOD_REG, .rm1 = 2),
                  ROW("vmcall", OP_VMCALL, .reg1 = 1, .mod = MOD_REG, .rm1 = 2, .pfx = PFX_NP),
                  ROW("vmload", OP_VMLOAD, .reg1 = 4, .mod = MOD_REG, .rm1 = 3,
                      .feature = F_SVM),
                  ROW("vmsave", OP_VMSAVE, .reg1 = 4, .mod = MOD_REG, .rm1 = 4,
                      .feature = F_SVM),
                  ROW("stgi", OP_STGI, .reg1 = 4, .mod = MOD_REG, .rm1 = 5, .feature = F_SVM),
                  ROW("clgi", OP_CLGI, .reg1 = 4, .mod = MOD_REG, .rm1 = 6, .feature = F_SVM),
                  ROW("invlpga", OP_INVLPGA, .reg1 = 4, .mod = MOD_REG, .rm1 = 8,
                      .feature = F_SVM),
                  ROW("lgdt", OP_LGDT, OPS(O_Ms), .reg1 = 3, .mod = MOD_MEM),
                  ROW("lidt", OP_LIDT, OPS(O_Ms), .reg1 = 4, .mod = MOD_MEM),
                  ROW("smsw", OP_SMSW, OPS(O_Mw), .reg1 = 5, .mod = MOD_MEM),
                  ROW("smsw", OP_SMSW, OPS(O_Rv), .reg1 = 5),
                  ROW("serialize", OP_FENCE, .reg1 = 6, .mod = MOD_REG, .rm1 = 1, .pfx = PFX_NP,
                      .feature = F_SERIALIZE),
                  ROW("rdpkru", OP_RDPKRU, .reg1 = 6, .mod = MOD_REG, .rm1 = 7, .pfx = PFX_NP,
                      .feature = F_PKU),
                  ROW("wrpkru", OP_WRPKRU, .reg1 = 6, .mod = MOD_REG, .rm1 = 8, .pfx = PFX_NP,
                      .feature = F_PKU),
                  ROW("lmsw", OP_LMSW, OPS(O_Ew), .reg1 = 7),
                  ROW("invlpg", OP_INVLPG, OPS(O_M), .reg1 = 8, .mod = MOD_MEM),
                  ROW("swapgs", OP_SWAPGS, .reg1 = 8, .mod = MOD_REG, .rm1 = 1,
                      .flags = RF_O64),
                  ROW("rdtscp", OP_RDTSCP, .reg1 = 8, .mod = MOD_REG, .rm1 = 2,
                      .feature = F_RDTSCP),
                  ROW("clzero", OP_CLZERO, .reg1 = 8, .mod = MOD_REG, .rm1 = 5, .pfx = PFX_NP,
                      .feature = F_CLZERO)),
    [0x02] = ROWS(ROW("lar", OP_LAR, OPS(O_Gv, O_Ew), .flags = RF_PROT)),
    [0x03] = ROWS(ROW("lsl", OP_LSL, OPS(O_Gv, O_Ew), .flags = RF_PROT)),
    [0x05] = ROWS(ROW("syscall", OP_SYSCALL, .feature = F_SYSCALL)),
    [0x06] = ROWS(ROW("clts", OP_CLTS)),
    [0x07] = ROWS(ROW("sysret", OP_SYSRET, .feature = F_SYSCALL)),
    [0x08] = ROWS(ROW("invd", OP_INVD)),
    [0x09] = ROWS(ROW("wbinvd", OP_WBINVD)),
    [0x0b] = ROWS(ROW("ud2", OP_UD)),
    [0x0d] = ROWS(ROW("prefetchw", OP_PREFETCH, OPS(O_M), .mod = MOD_MEM),
                  ROW("nop", OP_NOP, OPS(O_Ev))),
    [0x18] = ROWS(ROW("prefetch", OP_PREFETCH, OPS(O_M), .mod = MOD_MEM),
                  ROW("nop", OP_NOP, OPS(O_Ev))),
    [0x19] = ROWS(ROW("nop", OP_NOP, OPS(O_Ev))),
    [0x1a] = ROWS(ROW("nop", OP_NOP, OPS(O_Ev))),
    [0x1b] = ROWS(ROW("nop", OP_NOP, OPS(O_Ev))),
    [0x1c] = ROWS(ROW("nop", OP_NOP, OPS(O_Ev))),
    [0x1d] = ROWS(ROW("nop", OP_NOP, OPS(O_Ev))),
    [0x1e] = ROWS(ROW("nop", OP_NOP, OPS(O_Ev))),
    [0x1f] = ROWS(ROW("nop", OP_NOP, OPS(O_Ev))),
    [0x20] = ROWS(ROW("mov", OP_MOV_FROM_CR, OPS(O_Ry, O_Cy), .flags = RF_F64 | RF_NO66 | RF_REGONLY)),
    [0x21] = ROWS(ROW("mov", OP_MOV_FROM_DR, OPS(O_Ry, O_Dy), .flags = RF_F64 | RF_NO66 | RF_REGONLY)),
    [0x22] = ROWS(ROW("mov", OP_MOV_TO_CR, OPS(O_Cy, O_Ry), .flags = RF_F64 | RF_NO66 | RF_REGONLY)),
    [0x23] = ROWS(ROW("mov", OP_MOV_TO_DR, OPS(O_Dy, O_Ry), .flags = RF_F64 | RF_NO66 | RF_REGONLY)),
    [0x30] = ROWS(ROW("wrmsr", OP_WRMSR, .feature = F_MSR)),
    [0x31] = ROWS(ROW("rdtsc", OP_RDTSC, .feature = F_TSC)),
    [0x32] = ROWS(ROW("rdmsr", OP_RDMSR, .feature = F_MSR)),
    [0x33] = ROWS(ROW("rdpmc", OP_RDPMC)),
    [0x34] = ROWS(ROW("sysenter", OP_SYSENTER, .feature = F_SEP)),
    [0x35] = ROWS(ROW("sysexit", OP_SYSEXIT, .feature = F_SEP)),
    CC16(0x40, CMOVCC),
    [0x77] = ROWS(ROW("emms", OP_EMMS, .pfx = PFX_NP, .feature = F_MMX)),
    CC16(0x80, JCC_Z),
    CC16(0x90, SETCC),
    SEG_OP(0xa0, "push", OP_PUSH_SEG, SEG_FS, RF_D64),
    SEG_OP(0xa1, "pop", OP_POP_SEG, SEG_FS, RF_D64),
    [0xa2] = ROWS(ROW("cpuid", OP_CPUID)),
    [0xa3] = ROWS(ROW("bt", OP_BT, OPS(O_Ev, O_Gv))),
    [0xa4] = ROWS(ROW("shld", OP_SHLD, OPS(O_Ev, O_Gv, O_Ib))),
    [0xa5] = ROWS(ROW("shld", OP_SHLD, OPS(O_Ev, O_Gv, O_CL))),
    SEG_OP(0xa8, "push", OP_PUSH_SEG, SEG_GS, RF_D64),
    SEG_OP(0xa9, "pop", OP_POP_SEG, SEG_GS, RF_D64),
    [0xaa] = ROWS(ROW("rsm", OP_RSM)),
    [0xab] = ROWS(ROW("bts", OP_BTS, OPS(O_Ev, O_Gv), LOCKED)),
    [0xac] = ROWS(ROW("shrd", OP_SHRD, OPS(O_Ev, O_Gv, O_Ib))),
    [0xad] = ROWS(ROW("shrd", OP_SHRD, OPS(O_Ev, O_Gv, O_CL))),
    [0xae] = ROWS(ROW("fxsave", OP_FXSAVE, OPS(O_M), .reg1 = 1, .mod = MOD_MEM, .pfx = PFX_NP,
                      .feature = F_FXSR),
                  ROW("rdfsbase", OP_RDFSBASE, OPS(O_Ry), .reg1 = 1, .mod = MOD_REG,
                      .pfx = PFX_F3, .flags = RF_O64, .feature = F_FSGSBASE),
                  ROW("fxrstor", OP_FXRSTOR, OPS(O_M), .reg1 = 2, .mod = MOD_MEM, .pfx = PFX_NP,
                      .feature = F_FXSR),
                  ROW("rdgsbase", OP_RDGSBASE, OPS(O_Ry), .reg1 = 2, .mod = MOD_REG,
                      .pfx = PFX_F3, .flags = RF_O64, .feature = F_FSGSBASE),
                  ROW("ldmxcsr", OP_LDMXCSR, OPS(O_Md), .reg1 = 3, .mod = MOD_MEM,
                      .pfx = PFX_NP, .feature = F_SSE),
                  ROW("wrfsbase", OP_WRFSBASE, OPS(O_Ry), .reg1 = 3, .mod = MOD_REG,
                      .pfx = PFX_F3, .flags = RF_O64, .feature = F_FSGSBASE),
                  ROW("stmxcsr", OP_STMXCSR, OPS(O_Md), .reg1 = 4, .mod = MOD_MEM,
                      .pfx = PFX_NP, .feature = F_SSE),
                  ROW("wrgsbase", OP_WRGSBASE, OPS(O_Ry), .reg1 = 4, .mod = MOD_REG,
                      .pfx = PFX_F3, .flags = RF_O64, .feature = F_FSGSBASE),
                  ROW("xsave", OP_XSAVE, OPS(O_M), .reg1 = 5, .mod = MOD_MEM, .pfx = PFX_NP,
                      .feature = F_XSAVE),
                  ROW("xrstor", OP_XRSTOR, OPS(O_M), .reg1 = 6, .mod = MOD_MEM, .pfx = PFX_NP,
                      .feature = F_XSAVE),
                  ROW("lfence", OP_FENCE, .reg1 = 6, .mod = MOD_REG, .pfx = PFX_NP,
                      .feature = F_SSE2),
                  ROW("xsaveopt", OP_XSAVEOPT, OPS(O_M), .reg1 = 7, .mod = MOD_MEM,
                      .pfx = PFX_NP, .feature = F_XSAVEOPT),
                  ROW("clwb", OP_CLFLUSH, OPS(O_Mb), .reg1 = 7, .mod = MOD_MEM, .pfx = PFX_66,
                      .feature = F_CLWB),
                  ROW("mfence", OP_FENCE, .reg1 = 7, .mod = MOD_REG, .pfx = PFX_NP,
                      .feature = F_SSE2),
                  ROW("clflush", OP_CLFLUSH, OPS(O_Mb), .reg1 = 8, .mod = MOD_MEM,
                      .pfx = PFX_NP, .feature = F_CLFLUSH),
                  ROW("clflushopt", OP_CLFLUSH, OPS(O_Mb), .reg1 = 8, .mod = MOD_MEM,
                      .pfx = PFX_66, .feature = F_CLFLUSHOPT),
                  ROW("sfence", OP_FENCE, .reg1 = 8, .mod = MOD_REG, .pfx = PFX_NP,
                      .feature = F_SSE)),
    [0xaf] = ROWS(ROW("imul", OP_IMUL2, OPS(O_Gv, O_Ev))),
    [0xb0] = ROWS(ROW("cmpxchg", OP_CMPXCHG, OPS(O_Eb, O_Gb), LOCKED)),
    [0xb1] = ROWS(ROW("cmpxchg", OP_CMPXCHG, OPS(O_Ev, O_Gv), LOCKED)),
    [0xb2] = ROWS(ROW("lss", OP_LFS, OPS(O_Gv, O_Mp), .mod = MOD_MEM, .arg = SEG_SS)),
    [0xb3] = ROWS(ROW("btr", OP_BTR, OPS(O_Ev, O_Gv), LOCKED)),
    [0xb4] = ROWS(ROW("lfs", OP_LFS, OPS(O_Gv, O_Mp), .mod = MOD_MEM, .arg = SEG_FS)),
    [0xb5] = ROWS(ROW("lgs", OP_LFS, OPS(O_Gv, O_Mp), .mod = MOD_MEM, .arg = SEG_GS)),
    [0xb6] = ROWS(ROW("movzx", OP_MOVZX, OPS(O_Gv, O_Eb))),
    [0xb7] = ROWS(ROW("movzx", OP_MOVZX, OPS(O_Gv, O_Ew))),
    [0xb8] = ROWS(ROW("popcnt", OP_POPCNT, OPS(O_Gv, O_Ev), .pfx = PFX_F3,
                      .feature = F_POPCNT)),
    [0xb9] = ROWS(ROW("ud1", OP_UD, OPS(O_Gv, O_Ev))),
    [0xba] = ROWS(ROW("bt", OP_BT, OPS(O_Ev, O_Ib), .reg1 = 5),
                  ROW("bts", OP_BTS, OPS(O_Ev, O_Ib), .reg1 = 6, LOCKED),
                  ROW("btr", OP_BTR, OPS(O_Ev, O_Ib), .reg1 = 7, LOCKED),
                  ROW("btc", OP_BTC, OPS(O_Ev, O_Ib), .reg1 = 8, LOCKED)),
    [0xbb] = ROWS(ROW("btc", OP_BTC, OPS(O_Ev, O_Gv), LOCKED)),
    [0xbc] = ROWS(ROW("tzcnt", OP_TZCNT, OPS(O_Gv, O_Ev), .pfx = PFX_F3, .feature = F_BMI1),
                  ROW("bsf", OP_BSF, OPS(O_Gv, O_Ev))),
    [0xbd] = ROWS(ROW("lzcnt", OP_LZCNT, OPS(O_Gv, O_Ev), .pfx = PFX_F3, .feature = F_LZCNT),
                  ROW("bsr", OP_BSR, OPS(O_Gv, O_Ev))),
    [0xbe] = ROWS(ROW("movsx", OP_MOVSX, OPS(O_Gv, O_Eb))),
    [0xbf] = ROWS(ROW("movsx", OP_MOVSX, OPS(O_Gv, O_Ew))),
    [0xc0] = ROWS(ROW("xadd", OP_XADD, OPS(O_Eb, O_Gb), LOCKED)),
    [0xc1] = ROWS(ROW("xadd", OP_XADD, OPS(O_Ev, O_Gv), LOCKED)),
    [0xc3] = ROWS(ROW("movnti", OP_MOVNTI, OPS(O_My, O_Gy), .mod = MOD_MEM, .pfx = PFX_NP,
                      .feature = F_SSE2)),
    [0xc7] = ROWS(ROW("cmpxchg8b", OP_CMPXCHG8B, OPS(O_M), .reg1 = 2, .mod = MOD_MEM,
                      .feature = F_CX8, LOCKED),
                  ROW("xrstors", OP_XRSTORS, OPS(O_M), .reg1 = 4, .mod = MOD_MEM,
                      .pfx = PFX_NP, .feature = F_XSAVES),
                  ROW("xsavec", OP_XSAVEC, OPS(O_M), .reg1 = 5, .mod = MOD_MEM, .pfx = PFX_NP,
                      .feature = F_XSAVEC),
                  ROW("xsaves", OP_XSAVES, OPS(O_M), .reg1 = 6, .mod = MOD_MEM, .pfx = PFX_NP,
                      .feature = F_XSAVES),
                  ROW("rdrand", OP_RDRAND, OPS(O_Rv), .reg1 = 7, .mod = MOD_REG,
                      .pfx = PFX_NP | PFX_66, .feature = F_RDRAND),
                  ROW("rdpid", OP_RDPID, OPS(O_Rv), .reg1 = 8, .mod = MOD_REG, .pfx = PFX_F3,
                      .feature = F_RDPID),
                  ROW("rdseed", OP_RDSEED, OPS(O_Rv), .reg1 = 8, .mod = MOD_REG,
                      .pfx = PFX_NP | PFX_66, .feature = F_RDSEED)),
    EIGHT(0xc8, REG_BSWAP),
    [0xff] = ROWS(ROW("ud0", OP_UD, OPS(O_Gv, O_Ev))),
#include "target/i386/decode-simd-0f.inc"
};

static const InsnRow *const map_0f38[256] = {
    [0x82] = ROWS(ROW("invpcid", OP_INVPCID, OPS(O_Gy, O_M), .mod = MOD_MEM, .pfx = PFX_66,
                      .flags = RF_F64 | RF_NO66, .feature = F_INVPCID)),
    [0xf0] = ROWS(ROW("crc32", OP_CRC32, OPS(O_Gy, O_Eb), .pfx = PFX_F2, .feature = F_SSE42),
                  ROW("movbe", OP_MOVBE, OPS(O_Gv, O_Mv), .mod = MOD_MEM,
                      .pfx = PFX_NP | PFX_66, .feature = F_MOVBE)),
    [0xf1] = ROWS(ROW("crc32", OP_CRC32, OPS(O_Gy, O_Ev), .pfx = PFX_F2, .feature = F_SSE42),
                  ROW("movbe", OP_MOVBE, OPS(O_Mv, O_Gv), .mod = MOD_MEM,
                      .pfx = PFX_NP | PFX_66, .feature = F_MOVBE)),
    [0xf8] = ROWS(ROW("movdir64b", OP_MOVDIR64B, OPS(O_Gy, O_M), .mod = MOD_MEM, .pfx = PFX_66,
                      .feature = F_MOVDIR64B)),
    [0xf9] = ROWS(ROW("movdiri", OP_MOVNTI, OPS(O_My, O_Gy), .mod = MOD_MEM, .pfx = PFX_NP,
                      .feature = F_MOVDIRI)),
    [0xf6] = ROWS(ROW("adcx", OP_ADCX, OPS(O_Gy, O_Ey), .pfx = PFX_66, .flags = RF_NO66,
                      .feature = F_ADX),
                  ROW("adox", OP_ADOX, OPS(O_Gy, O_Ey), .pfx = PFX_F3, .feature = F_ADX)),
#include "target/i386/decode-simd-0f38.inc"
};

static const InsnRow *const map_0f3a[256] = {
#include "target/i386/decode-simd-0f3a.inc"
};

const InsnRow *decode_rows(OpcodeMap map, uint8_t opcode)
{
    switch (map) {
    case MAP_1:
        return map_1[opcode];
    case MAP_0F:
        return map_0f[opcode];
    case MAP_0F38:
        return map_0f38[opcode];
    case MAP_0F3A:
        return map_0f3a[opcode];
    default:
        return decode_vex_rows(map, opcode);
    }
}
