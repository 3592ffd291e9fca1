/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target/i386/decode.h: the table-driven instruction decoder.
 *
 * One set of tables describes every instruction: the translator, `-d op` and the
 * tests read the same rows.  References: Intel SDM vol. 2 (appendix A's opcode
 * maps; the operand letters below are its), AMD APM vol. 3.
 *
 * HOW TO ADD ROWS.  There is one array per opcode map (decode-tables.c), indexed
 * by the opcode byte; each entry is a list of rows, made by ROWS(...), which is
 * searched from the front: the first row whose prefix, ModRM and mode conditions
 * hold is the instruction, none means #UD.  A row whose CPUID feature the guest's
 * CPU lacks does not match.
 *
 * Vector instructions need nothing but a row (decode-simd-*.inc):
 *
 *     [0x58] = ROWS(SIMD(PFX_NP, "addps", F_SSE, simd_addps, O_Vx, O_Wx),
 *                   SIMD(PFX_66, "addpd", F_SSE2, simd_addpd, O_Vx, O_Wx),
 *                   SIMD(PFX_F3, "addss", F_SSE, simd_addss, O_Vx, O_Wd),
 *                   SIMD(PFX_F2, "addsd", F_SSE2, simd_addsd, O_Vx, O_Wq)),
 *
 * The translator then emits one IR_SIMD operation, which:
 *   1. makes the entry checks (#UD, #NM, #MF) of MMX if an operand has the form
 *      P, Q or N, else of SSE;
 *   2. fetches the sources.  Vector registers are passed in place.  MMX registers,
 *      memory operands (of the size in the row, alignment checked for `x`) and
 *      general registers come as a temporary Vec whose other bytes (of the first
 *      16) are zero; immediates as ctl.imm;
 *   3. calls fn(cpu, dst, a, b, ctl):
 *        operands (dst, src):         a = dst's old value, b = src
 *        operands (dst, src1, src2):  a = src1, b = src2      (VEX forms)
 *        operands (dst):              a = b = dst
 *        dst not V or P (so memory or a general register): dst is a temporary
 *        (zeroed), a = b = src; its low bytes go to memory or to the register
 *        (4 bytes zero-extend, 8 with REX.W for `y`).
 *      ctl.len is 8 for MMX, else 16 (32 with VEX.L); ctl.w is REX.W;
 *   4. stores the destination.
 * fn == NULL is a plain move: all bytes of the destination's size are copied, and
 * a vector register is zero-extended to 16 bytes.
 * VEX maps (decode-vex.c): the prefix condition is VEX.pp; the entry check is AVX's for
 * rows with vector operands; memory operands are aligned in plain moves only; the rest of
 * a written vector register is cleared; a row without immediate passes `arg` as ctl.imm,
 * one with the operand O_Lx the whole byte (the register is imm[7:4]).
 * `fn` may use RAX, RCX, RDX and XMM0 in the CPU state directly (RF_GPR), and write
 * the arithmetic flags in cpu->rflags if the row has RF_FLAGS: SIMDF(flags, ...).
 */
#ifndef RHEA_TARGET_I386_DECODE_H
#define RHEA_TARGET_I386_DECODE_H

#include "target/i386/simd.h"

#include <stdbool.h>
#include <stdint.h>

/* ---- operands ---- */
typedef enum OperandForm {
    OF_NONE,
    OF_E,   /* ModRM.rm: general register or memory */
    OF_G,   /* ModRM.reg: general register */
    OF_Z,   /* low three bits of the opcode: general register */
    OF_R,   /* ModRM.rm: general register whatever mod says */
    OF_M,   /* ModRM.rm: memory only */
    OF_I,   /* immediate, zero-extended from its size */
    OF_SI,  /* immediate, sign-extended */
    OF_J,   /* relative branch target */
    OF_A,   /* far pointer in the instruction: imm = offset, imm2 = selector */
    OF_O,   /* memory at an absolute offset (moffs) */
    OF_S,   /* ModRM.reg: segment register */
    OF_C,   /* ModRM.reg: control register */
    OF_D,   /* ModRM.reg: debug register */
    OF_ONE, /* the constant 1 */
    OF_RAX, /* fixed registers */
    OF_RCX,
    OF_RDX,
    OF_SEG, /* fixed segment register: number in the row's `arg` */
    OF_X,   /* memory at DS(override):rSI */
    OF_Y,   /* memory at ES:rDI */
    OF_DI,  /* memory at DS(override):rDI (MASKMOVx) */
    OF_P,   /* ModRM.reg: MMX register */
    OF_Q,   /* ModRM.rm: MMX register or memory */
    OF_N,   /* ModRM.rm: MMX register */
    OF_V,   /* ModRM.reg: vector register */
    OF_W,   /* ModRM.rm: vector register or memory */
    OF_U,   /* ModRM.rm: vector register */
    OF_H,   /* VEX.vvvv: vector register */
    OF_L,   /* imm8[7:4]: vector register */
    OF_B,   /* VEX.vvvv: general register */
} OperandForm;

typedef enum OperandSize {
    SZ_0,  /* no access: LEA, INVLPG */
    SZ_B,  /* 1 byte */
    SZ_W,  /* 2 */
    SZ_D,  /* 4 */
    SZ_Q,  /* 8 */
    SZ_T,  /* 10 */
    SZ_DQ, /* 16 */
    SZ_V,  /* operand size: 2, 4, 8 */
    SZ_Z,  /* 2, 4, 4 */
    SZ_Y,  /* 4, or 8 with REX.W; 8 in 64-bit mode for control registers */
    SZ_P,  /* far pointer: 2 + operand size */
    SZ_A,  /* a pair of the operand size (BOUND) */
    SZ_S,  /* pseudo-descriptor: 6, or 10 in 64-bit mode */
    SZ_X,  /* vector length; aligned to it in legacy forms */
    SZ_XU, /* vector length, unaligned */
    SZ_HX, /* half, a quarter, an eighth of it */
    SZ_QX,
    SZ_OX,
} OperandSize;

#define OPERAND(form, size) ((uint16_t)((form) << 8 | (size)))
#define OPERAND_FORM(o) ((OperandForm)((o) >> 8))
#define OPERAND_SIZE(o) ((OperandSize)((o)&0xff))

#define O_Eb OPERAND(OF_E, SZ_B)
#define O_Ew OPERAND(OF_E, SZ_W)
#define O_Ed OPERAND(OF_E, SZ_D)
#define O_Eq OPERAND(OF_E, SZ_Q)
#define O_Ev OPERAND(OF_E, SZ_V)
#define O_Ey OPERAND(OF_E, SZ_Y)
#define O_Gb OPERAND(OF_G, SZ_B)
#define O_Gw OPERAND(OF_G, SZ_W)
#define O_Gd OPERAND(OF_G, SZ_D)
#define O_Gv OPERAND(OF_G, SZ_V)
#define O_Gz OPERAND(OF_G, SZ_Z)
#define O_Gy OPERAND(OF_G, SZ_Y)
#define O_Zb OPERAND(OF_Z, SZ_B)
#define O_Zv OPERAND(OF_Z, SZ_V)
#define O_Ry OPERAND(OF_R, SZ_Y)
#define O_Rv OPERAND(OF_R, SZ_V)
#define O_Rw OPERAND(OF_R, SZ_W)
#define O_M OPERAND(OF_M, SZ_0)
#define O_Mb OPERAND(OF_M, SZ_B)
#define O_Mw OPERAND(OF_M, SZ_W)
#define O_Md OPERAND(OF_M, SZ_D)
#define O_Mq OPERAND(OF_M, SZ_Q)
#define O_Mdq OPERAND(OF_M, SZ_DQ)
#define O_Mv OPERAND(OF_M, SZ_V)
#define O_My OPERAND(OF_M, SZ_Y)
#define O_Mp OPERAND(OF_M, SZ_P)
#define O_Ma OPERAND(OF_M, SZ_A)
#define O_Ms OPERAND(OF_M, SZ_S)
#define O_Mx OPERAND(OF_M, SZ_X)   /* 16 bytes, aligned */
#define O_Mxu OPERAND(OF_M, SZ_XU) /* 16 bytes, any address */
#define O_Ib OPERAND(OF_I, SZ_B)
#define O_Iw OPERAND(OF_I, SZ_W)
#define O_Iv OPERAND(OF_I, SZ_V)
#define O_Iz OPERAND(OF_SI, SZ_Z)
#define O_sIb OPERAND(OF_SI, SZ_B)
#define O_Jb OPERAND(OF_J, SZ_B)
#define O_Jz OPERAND(OF_J, SZ_Z)
#define O_Ap OPERAND(OF_A, SZ_P)
#define O_Ob OPERAND(OF_O, SZ_B)
#define O_Ov OPERAND(OF_O, SZ_V)
#define O_Sw OPERAND(OF_S, SZ_W)
#define O_Cy OPERAND(OF_C, SZ_Y)
#define O_Dy OPERAND(OF_D, SZ_Y)
#define O_1 OPERAND(OF_ONE, SZ_B)
#define O_AL OPERAND(OF_RAX, SZ_B)
#define O_AX OPERAND(OF_RAX, SZ_W)
#define O_rAX OPERAND(OF_RAX, SZ_V)
#define O_eAX OPERAND(OF_RAX, SZ_Z)
#define O_CL OPERAND(OF_RCX, SZ_B)
#define O_DX OPERAND(OF_RDX, SZ_W)
#define O_SEG OPERAND(OF_SEG, SZ_W)
#define O_Xb OPERAND(OF_X, SZ_B)
#define O_Xv OPERAND(OF_X, SZ_V)
#define O_Xz OPERAND(OF_X, SZ_Z)
#define O_Yb OPERAND(OF_Y, SZ_B)
#define O_Yv OPERAND(OF_Y, SZ_V)
#define O_Yz OPERAND(OF_Y, SZ_Z)
#define O_DIq OPERAND(OF_DI, SZ_Q)
#define O_DIx OPERAND(OF_DI, SZ_XU)
#define O_Pq OPERAND(OF_P, SZ_Q)
#define O_Qq OPERAND(OF_Q, SZ_Q)
#define O_Qd OPERAND(OF_Q, SZ_D) /* memory form: 4 bytes */
#define O_Nq OPERAND(OF_N, SZ_Q)
#define O_Vx OPERAND(OF_V, SZ_X)
#define O_Vq OPERAND(OF_V, SZ_Q) /* sizes of V matter only for plain moves */
#define O_Vd OPERAND(OF_V, SZ_D)
#define O_Wx OPERAND(OF_W, SZ_X)   /* memory: 16 bytes, aligned */
#define O_Wxu OPERAND(OF_W, SZ_XU) /* memory: 16 bytes, any address */
#define O_Wq OPERAND(OF_W, SZ_Q)   /* memory: 8 bytes */
#define O_Wd OPERAND(OF_W, SZ_D)
#define O_Ww OPERAND(OF_W, SZ_W)
#define O_Wb OPERAND(OF_W, SZ_B)
#define O_Ux OPERAND(OF_U, SZ_X)
#define O_Uq OPERAND(OF_U, SZ_Q)
#define O_Hx OPERAND(OF_H, SZ_X)
#define O_Lx OPERAND(OF_L, SZ_X)
#define O_By OPERAND(OF_B, SZ_Y)
#define O_Vdq OPERAND(OF_V, SZ_DQ) /* 16 bytes whatever the vector length */
#define O_Wdq OPERAND(OF_W, SZ_DQ)
#define O_Udq OPERAND(OF_U, SZ_DQ)
#define O_Whx OPERAND(OF_W, SZ_HX)
#define O_Wqx OPERAND(OF_W, SZ_QX)
#define O_Wox OPERAND(OF_W, SZ_OX)

/* ---- conditions ---- */
/* The effective mandatory prefix: the last of F2, F3, else 66, else none. 0: any. */
#define PFX_ANY 0
#define PFX_NP 1
#define PFX_66 2
#define PFX_F3 4
#define PFX_F2 8
/* ModRM.mod */
enum { MOD_ANY, MOD_MEM, MOD_REG };

/* CPUID feature of a row: word and bit of CpuConfig.features. 0: none needed. */
#define FEATURE(word, bit) ((uint16_t)(((word) << 5 | (bit)) + 1))
#define F_TSC FEATURE(FEAT_1_EDX, 4)
#define F_MSR FEATURE(FEAT_1_EDX, 5)
#define F_CX8 FEATURE(FEAT_1_EDX, 8)
#define F_SEP FEATURE(FEAT_1_EDX, 11)
#define F_CMOV FEATURE(FEAT_1_EDX, 15)
#define F_CLFLUSH FEATURE(FEAT_1_EDX, 19)
#define F_MMX FEATURE(FEAT_1_EDX, 23)
#define F_FXSR FEATURE(FEAT_1_EDX, 24)
#define F_SSE FEATURE(FEAT_1_EDX, 25)
#define F_SSE2 FEATURE(FEAT_1_EDX, 26)
#define F_SSE3 FEATURE(FEAT_1_ECX, 0)
#define F_PCLMULQDQ FEATURE(FEAT_1_ECX, 1)
#define F_MONITOR FEATURE(FEAT_1_ECX, 3)
#define F_SSSE3 FEATURE(FEAT_1_ECX, 9)
#define F_FMA FEATURE(FEAT_1_ECX, 12)
#define F_CX16 FEATURE(FEAT_1_ECX, 13)
#define F_SSE41 FEATURE(FEAT_1_ECX, 19)
#define F_SSE42 FEATURE(FEAT_1_ECX, 20)
#define F_MOVBE FEATURE(FEAT_1_ECX, 22)
#define F_POPCNT FEATURE(FEAT_1_ECX, 23)
#define F_AES FEATURE(FEAT_1_ECX, 25)
#define F_XSAVE FEATURE(FEAT_1_ECX, 26)
#define F_AVX FEATURE(FEAT_1_ECX, 28)
#define F_F16C FEATURE(FEAT_1_ECX, 29)
#define F_RDRAND FEATURE(FEAT_1_ECX, 30)
#define F_FSGSBASE FEATURE(FEAT_7_0_EBX, 0)
#define F_BMI1 FEATURE(FEAT_7_0_EBX, 3)
#define F_AVX2 FEATURE(FEAT_7_0_EBX, 5)
#define F_BMI2 FEATURE(FEAT_7_0_EBX, 8)
#define F_INVPCID FEATURE(FEAT_7_0_EBX, 10)
#define F_RDSEED FEATURE(FEAT_7_0_EBX, 18)
#define F_ADX FEATURE(FEAT_7_0_EBX, 19)
#define F_SMAP FEATURE(FEAT_7_0_EBX, 20)
#define F_CLFLUSHOPT FEATURE(FEAT_7_0_EBX, 23)
#define F_CLWB FEATURE(FEAT_7_0_EBX, 24)
#define F_SHA FEATURE(FEAT_7_0_EBX, 29)
#define F_PKU FEATURE(FEAT_7_0_ECX, 3)
#define F_GFNI FEATURE(FEAT_7_0_ECX, 8)
#define F_VAES FEATURE(FEAT_7_0_ECX, 9)
#define F_VPCLMULQDQ FEATURE(FEAT_7_0_ECX, 10)
#define F_RDPID FEATURE(FEAT_7_0_ECX, 22)
#define F_MOVDIRI FEATURE(FEAT_7_0_ECX, 27)
#define F_MOVDIR64B FEATURE(FEAT_7_0_ECX, 28)
#define F_SERIALIZE FEATURE(FEAT_7_0_EDX, 14)
#define F_CLZERO FEATURE(FEAT_80000008_EBX, 0)
#define F_SYSCALL FEATURE(FEAT_80000001_EDX, 11)
#define F_FXSR_OPT FEATURE(FEAT_80000001_EDX, 25)
#define F_RDTSCP FEATURE(FEAT_80000001_EDX, 27)
#define F_SVM FEATURE(FEAT_80000001_ECX, 2)
#define F_LAHF64 FEATURE(FEAT_80000001_ECX, 0)
#define F_LZCNT FEATURE(FEAT_80000001_ECX, 5)
#define F_SSE4A FEATURE(FEAT_80000001_ECX, 6)
#define F_PREFETCHW FEATURE(FEAT_80000001_ECX, 8)
#define F_AVX_VNNI FEATURE(FEAT_7_1_EAX, 4)
#define F_XSAVEOPT FEATURE(FEAT_XSAVE, 0)
#define F_XSAVEC FEATURE(FEAT_XSAVE, 1)
#define F_XSAVES FEATURE(FEAT_XSAVE, 3)

/* Row flags. */
#define RF_I64 (1u << 0)      /* #UD in 64-bit mode */
#define RF_O64 (1u << 1)      /* only in 64-bit mode */
#define RF_PROT (1u << 2)     /* #UD in real and virtual-8086 mode */
#define RF_LOCK (1u << 3)     /* LOCK allowed when operand 0 is memory */
#define RF_D64 (1u << 4)      /* operand size defaults to 64 in 64-bit mode (66: 16) */
#define RF_F64 (1u << 5)      /* operand size is 64 in 64-bit mode whatever the prefixes say */
#define RF_BYTE (1u << 6)     /* 8-bit operation (operands carry it; for the dump) */
#define RF_REP (1u << 7)      /* REP repeats it (string instructions) */
#define RF_REPZ (1u << 8)     /* REPE/REPNE test ZF */
#define RF_NO66 (1u << 9)     /* 66 does not change the operand size (system instructions) */
#define RF_FLAGS (1u << 10)   /* SIMD: writes the arithmetic flags */
#define RF_GPR (1u << 11)     /* SIMD: uses general registers in the CPU state */
#define RF_NOSTATE (1u << 12) /* SIMD: no entry check (works with CR4.OSFXSR = 0) */
#define RF_REGONLY (1u << 13) /* ModRM.rm is a register whatever mod says (MOV CR, DR) */
#define RF_MODRM (1u << 14)   /* has a ModRM byte though no operand says so */
/* VEX maps: what W and L must be (else they are ignored, and L is the vector length). */
#define RF_W0 (1u << 15)
#define RF_W1 (1u << 16)
#define RF_L0 (1u << 17)
#define RF_L1 (1u << 18)
#define RF_LIG (1u << 19)      /* L does not matter: scalar, the vector length is 16 */
#define RF_256_AVX2 (1u << 20) /* with L the feature is AVX2 */
#define RF_VSIB (1u << 21)     /* the index register is a vector */
#define RF_DSRC (1u << 22)     /* SIMD: the destination is a source as well */
#define RF_PROBE (1u << 24)    /* SIMD: sets MXCSR's flags and stores: looks at memory before */
#define RF_XMM0 (1u << 23)     /* SIMD: the result is XMM0, the rest of which a VEX form clears */

/* Instruction kinds: what the translator switches on. */
typedef enum InsnOp {
    OP_INVALID,
    /* two-operand arithmetic, in the order of the opcode and group 1 */
    OP_ADD,
    OP_OR,
    OP_ADC,
    OP_SBB,
    OP_AND,
    OP_SUB,
    OP_XOR,
    OP_CMP,
    OP_TEST,
    OP_MOV,
    OP_XCHG,
    OP_LEA,
    OP_INC,
    OP_DEC,
    OP_NEG,
    OP_NOT,
    OP_MUL,
    OP_IMUL1, /* one operand: rDX:rAX */
    OP_IMUL2,
    OP_IMUL3,
    OP_DIV,
    OP_IDIV,
    /* shifts, in the order of group 2 */
    OP_ROL,
    OP_ROR,
    OP_RCL,
    OP_RCR,
    OP_SHL,
    OP_SHR,
    OP_SAL,
    OP_SAR,
    OP_SHLD,
    OP_SHRD,
    OP_BT,
    OP_BTS,
    OP_BTR,
    OP_BTC,
    OP_BSF,
    OP_BSR,
    OP_TZCNT,
    OP_LZCNT,
    OP_POPCNT,
    OP_MOVZX,
    OP_MOVSX,
    OP_MOVSXD,
    OP_MOVBE,
    OP_CRC32,
    OP_BSWAP,
    OP_CBW, /* CBW CWDE CDQE */
    OP_CWD, /* CWD CDQ CQO */
    OP_CMOV,
    OP_SETCC,
    OP_XADD,
    OP_CMPXCHG,
    OP_CMPXCHG8B,
    OP_PUSH,
    OP_POP,
    OP_PUSH_SEG,
    OP_POP_SEG,
    OP_PUSHA,
    OP_POPA,
    OP_PUSHF,
    OP_POPF,
    OP_ENTER,
    OP_LEAVE,
    OP_LAHF,
    OP_SAHF,
    OP_SALC,
    OP_XLAT,
    OP_DAA,
    OP_DAS,
    OP_AAA,
    OP_AAS,
    OP_AAM,
    OP_AAD,
    OP_BOUND,
    OP_ARPL,
    OP_MOV_FROM_SEG,
    OP_MOV_TO_SEG,
    OP_LFS, /* LES LDS LSS LFS LGS: segment in arg */
    OP_JCC,
    OP_JCXZ,
    OP_LOOP, /* arg 0: LOOPNE, 1: LOOPE, 2: LOOP */
    OP_JMP,
    OP_CALL,
    OP_JMP_IND,
    OP_CALL_IND,
    OP_RET,
    OP_JMP_FAR,
    OP_CALL_FAR,
    OP_RET_FAR,
    OP_IRET,
    OP_INT,
    OP_INT3,
    OP_INTO,
    OP_ICEBP,
    OP_MOVS,
    OP_CMPS,
    OP_STOS,
    OP_LODS,
    OP_SCAS,
    OP_INS,
    OP_OUTS,
    OP_IN,
    OP_OUT,
    OP_CLC,
    OP_STC,
    OP_CMC,
    OP_CLD,
    OP_STD,
    OP_CLI,
    OP_STI,
    OP_HLT,
    OP_NOP,
    OP_PAUSE,
    OP_FENCE,
    OP_PREFETCH,
    OP_CLFLUSH,
    OP_UD,
    /* system */
    OP_SLDT,
    OP_STR,
    OP_LLDT,
    OP_LTR,
    OP_VERR,
    OP_VERW,
    OP_SGDT,
    OP_SIDT,
    OP_LGDT,
    OP_LIDT,
    OP_SMSW,
    OP_LMSW,
    OP_INVLPG,
    OP_VMRUN,
    OP_VMMCALL,
    OP_VMCALL,
    OP_VMLOAD,
    OP_VMSAVE,
    OP_STGI,
    OP_CLGI,
    OP_INVLPGA,
    OP_SWAPGS,
    OP_RDTSCP,
    OP_MONITOR,
    OP_MWAIT,
    OP_CLAC,
    OP_STAC,
    OP_XGETBV,
    OP_XSETBV,
    OP_LAR,
    OP_LSL,
    OP_SYSCALL,
    OP_SYSRET,
    OP_SYSENTER,
    OP_SYSEXIT,
    OP_CLTS,
    OP_INVD,
    OP_WBINVD,
    OP_MOV_FROM_CR,
    OP_MOV_TO_CR,
    OP_MOV_FROM_DR,
    OP_MOV_TO_DR,
    OP_WRMSR,
    OP_RDMSR,
    OP_RDTSC,
    OP_RDPMC,
    OP_CPUID,
    OP_RSM,
    OP_RDRAND,
    OP_RDSEED,
    OP_RDPID,
    OP_RDFSBASE,
    OP_RDGSBASE,
    OP_WRFSBASE,
    OP_WRGSBASE,
    OP_INVPCID,
    OP_RDPKRU,
    OP_WRPKRU,
    OP_ADCX,
    OP_ADOX,
    OP_ANDN, /* from here on in the order of IR_ANDN … IR_SARX */
    OP_BLSR,
    OP_BLSMSK,
    OP_BLSI,
    OP_BEXTR,
    OP_BZHI,
    OP_PDEP,
    OP_PEXT,
    OP_MULX,
    OP_RORX,
    OP_SHLX,
    OP_SHRX,
    OP_SARX,
    /* floating point and vector */
    OP_X87,
    OP_FWAIT,
    OP_FXSAVE,
    OP_FXRSTOR,
    OP_XSAVE,
    OP_XSAVEOPT,
    OP_XSAVEC,
    OP_XSAVES,
    OP_XRSTOR,
    OP_XRSTORS,
    OP_LDMXCSR,
    OP_STMXCSR,
    OP_EMMS,
    OP_MOVNTI,
    OP_MASKMOV, /* MASKMOVQ, MASKMOVDQU: operands DI, data register, mask register */
    OP_VZERO,   /* arg: the bytes kept of each register */
    OP_GATHER,  /* arg: GATHER_* */
    OP_VMASK,   /* VMASKMOVPS …, VPMASKMOVx; arg: the element's size */
    OP_EXTRQ,   /* SSE4A */
    OP_INSERTQ,
    OP_CLZERO,
    OP_MOVDIR64B,
    OP_SIMD,
    OP_COUNT
} InsnOp;

/* InsnRow.arg of OP_GATHER: the width of elements and of indexes. */
#define GATHER_DATA64 1u
#define GATHER_INDEX64 2u

typedef struct InsnRow {
    const char *name; /* mnemonic for dumps */
    SimdFn *fn;       /* OP_SIMD */
    uint16_t op;      /* InsnOp; 0 ends a list */
    uint16_t operand[4];
    uint16_t feature;
    uint8_t pfx;  /* PFX_* or'ed */
    uint8_t mod;  /* MOD_* */
    uint8_t reg1; /* 0: any ModRM.reg; n: n - 1 */
    uint8_t rm1;  /* 0: any ModRM.rm; n: n - 1 (with MOD_REG) */
    uint8_t arg;  /* condition code, segment, … */
    uint32_t flags;
} InsnRow;

#define ROWS(...)     \
    (const InsnRow[]) \
    {                 \
        __VA_ARGS__,  \
        {             \
            0         \
        }             \
    }
/* One general row: fields beyond the operands are written as designators by the caller. */
#define ROW(n, o, ...)                        \
    {                                         \
        .name = (n), .op = (o), ##__VA_ARGS__ \
    }
#define OPS(...) .operand = {__VA_ARGS__}
#define SIMD(p, n, f, function, ...)                                                            \
    {                                                                                           \
        .name = (n), .op = OP_SIMD, .fn = (function), .operand = {__VA_ARGS__}, .feature = (f), \
        .pfx = (p)                                                                              \
    }
#define SIMDF(rf, p, n, f, function, ...)                                                       \
    {                                                                                           \
        .name = (n), .op = OP_SIMD, .fn = (function), .operand = {__VA_ARGS__}, .feature = (f), \
        .pfx = (p), .flags = (rf)                                                               \
    }
/* The same with ModRM.reg fixed (shift groups 12 to 14). */
#define SIMDG(g, p, n, f, function, ...)                                                        \
    {                                                                                           \
        .name = (n), .op = OP_SIMD, .fn = (function), .operand = {__VA_ARGS__}, .feature = (f), \
        .pfx = (p), .reg1 = (g) + 1                                                             \
    }
/* The same with ModRM.mod fixed (MOVLPS/MOVHLPS share an opcode). */
#define SIMDM(m, p, n, f, function, ...)                                                        \
    {                                                                                           \
        .name = (n), .op = OP_SIMD, .fn = (function), .operand = {__VA_ARGS__}, .feature = (f), \
        .pfx = (p), .mod = (m)                                                                  \
    }

/* ---- the maps ---- */
typedef enum OpcodeMap {
    MAP_1,
    MAP_0F,
    MAP_0F38,
    MAP_0F3A,
    MAP_VEX_0F, /* decode-vex.c */
    MAP_VEX_0F38,
    MAP_VEX_0F3A,
    MAP_COUNT
} OpcodeMap;
/* The list for one opcode, NULL: #UD.  For the decoder and for tests that walk everything. */
const InsnRow *decode_rows(OpcodeMap map, uint8_t opcode);
const InsnRow *decode_vex_rows(OpcodeMap map, uint8_t opcode); /* of the VEX maps */

/* ---- a decoded instruction ---- */
#define REX_B 1u
#define REX_X 2u
#define REX_R 4u
#define REX_W 8u
#define INSN_MAX 15

typedef enum OperandKind {
    OK_NONE,
    OK_REG, /* general register `reg`; `high`: bits 15:8 of it (AH … BH) */
    OK_MEM, /* the memory operand (seg, base, index, scale, disp of the instruction) */
    OK_IMM, /* imm */
    OK_REL, /* imm: target relative to the next instruction */
    OK_FAR, /* imm2:imm */
    OK_SEG, /* segment register */
    OK_CR,
    OK_DR,
    OK_MMX,
    OK_VEC,
    OK_STR_X, /* string operands */
    OK_STR_Y,
} OperandKind;

typedef struct Operand {
    uint8_t kind; /* OperandKind */
    uint8_t reg;
    uint8_t size; /* bytes */
    bool high;
    bool aligned; /* #GP unless aligned to its size */
} Operand;

#define INSN_NO_REG 0xff

typedef struct DecodedInsn {
    const InsnRow *row;
    uint16_t op; /* row->op */
    uint8_t length;
    uint8_t opsize;   /* 2, 4, 8 */
    uint8_t addrsize; /* 2, 4, 8 */
    uint8_t map, opcode, modrm;
    uint8_t mod, reg, rm; /* of ModRM, reg and rm with REX bits */
    uint8_t rex;          /* REX_* bits; 0 without */
    bool has_rex, has_modrm;
    bool lock, rep, repne; /* rep: F3, repne: F2, as the last of them */
    bool data16, addr_override;
    bool vex, vex_w, vex_l;
    uint8_t vvvv;         /* register number; 0 where nothing is encoded */
    uint8_t vlen;         /* vector length in bytes */
    uint8_t seg;          /* of the memory operand: override or default */
    uint8_t seg_override; /* SEG_* or INSN_NO_REG */
    uint8_t base, index;  /* register or INSN_NO_REG */
    uint8_t scale;        /* shift: 0-3 */
    bool rip_relative;    /* disp counts from the next instruction */
    int64_t disp;
    uint64_t imm, imm2;
    Operand operand[4];
} DecodedInsn;

typedef struct DecodeMode {
    uint8_t bits;             /* code size: 16, 32, 64 */
    bool protected_mode;      /* CR0.PE and not virtual-8086 */
    const uint32_t *features; /* CpuConfig.features; NULL: everything */
} DecodeMode;

typedef enum DecodeResult {
    DECODE_OK,
    DECODE_UD,       /* no such instruction (or LOCK where it is not allowed): #UD */
    DECODE_TOO_LONG, /* more than 15 bytes: #GP(0) */
    DECODE_FETCH,    /* the fetch callback gave up */
} DecodeResult;

/*
 * Fetches byte `pos` (0 …14, in order) of the instruction.  May leave by
 * siglongjmp (page fault), or return false to end with DECODE_FETCH.
 */
typedef bool DecodeFetch(void *opaque, unsigned pos, uint8_t *byte);

/* Decodes one instruction.  Pure; insn->length is also set on DECODE_UD. */
DecodeResult x86_decode(DecodeFetch *fetch, void *opaque, const DecodeMode *mode,
                        DecodedInsn *insn);
/* One line of text for `-d op`: mnemonic and operands, Intel order. */
void x86_decode_print(const DecodedInsn *insn, uint64_t rip, char *buf, size_t size);

#endif
