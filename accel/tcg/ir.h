/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * accel/tcg/ir.h: the intermediate representation between x86 decoder and engines.
 *
 * It is x86-flavoured: two-address arithmetic of 1, 2, 4, 8 bytes with x86's rules
 * (4 bytes zero-extend, 1 and 2 leave the rest), explicit memory operands
 * (segment, base, index, scale, displacement) and, for every operation, the
 * arithmetic flags it defines and uses.  A back end can so use the host's
 * instructions and flags; the interpreter (interp.c) is the reference.
 *
 * A block is an array of IrOp, executed in order; the only branches lead out of the
 * block, or forward within one guest instruction (IR_SKIP).  Register numbers
 * index CPUX86 from its first member: 0-15 guest registers, 16-29 temporaries that
 * live within one guest instruction, 30 is what addresses of code are relative to, 31 is
 * always zero.
 */
#ifndef RHEA_ACCEL_TCG_IR_H
#define RHEA_ACCEL_TCG_IR_H

#include "target/i386/cpu.h"

#include <glib.h>
#include <stdio.h>

#define IR_T0 16u
#define IR_T1 17u
#define IR_T2 18u
#define IR_T3 19u
#define IR_T4 20u
#define IR_T5 21u
/*
 * What the code's addresses are relative to: the linear page in a block that is position-
 * independent (Block.pic), else zero.  Targets of jumps, IR_SETIP and return addresses too.
 */
#define IR_PC 30u
#define IR_ZERO 31u
/* Vector registers: 0-31 are XMM (YMM, ZMM), these are temporaries. */
#define IR_VT0 48u
#define IR_VT1 49u
#define IR_VT2 50u

/* Flag sets, one bit a flag. */
#define FS_CF 1u
#define FS_PF 2u
#define FS_AF 4u
#define FS_ZF 8u
#define FS_SF 16u
#define FS_OF 32u
#define FS_ALL 63u
#define FS_NONE 0u

typedef enum IrOpcode {
    IR_NOP,
    /* moves: d, a or imm */
    IR_MOV,   /* d = a or imm, `size` */
    IR_EXTH,  /* d = a[15:8] */
    IR_INSH,  /* d[15:8] = a */
    IR_MOVZX, /* d (64 bits) = a zero-extended from `size` */
    IR_MOVSX, /* d (`size`) = a sign-extended from `sub` bytes */
    IR_LEA,   /* d (`size`) = offset of the memory operand */
    IR_BSWAP,
    IR_SIGN,   /* d (`size`) = all bits the sign of a */
    IR_BITOFS, /* d (64 bits) = byte offset, multiple of `size`, of bit number a (signed) */
    /* memory */
    IR_LD,   /* d (64 bits) = memory, zero-extended */
    IR_LDSX, /* d (size `sub`) = memory of `size`, sign-extended */
    IR_ST,   /* memory = a or imm */
    IR_PUSH, /* flat stack of 8 bytes (64-bit mode): a, or imm + base */
    IR_POP,
    IR_RET,      /* pop 8 bytes, then RSP += imm, jump */
    IR_ALIGN,    /* #AC check of the memory operand (size in `size`) */
    IR_ALIGN_GP, /* #GP(0) unless aligned (SSE) */
    /* arithmetic: d op= b or imm; order as InsnOp's */
    IR_ADD,
    IR_OR,
    IR_ADC,
    IR_SBB,
    IR_AND,
    IR_SUB,
    IR_XOR,
    IR_CMP,
    IR_TEST,
    IR_INC,
    IR_DEC,
    IR_NEG,
    IR_NOT,
    /* by b's low byte or imm; order as InsnOp's */
    IR_ROL,
    IR_ROR,
    IR_RCL,
    IR_RCR,
    IR_SHL,
    IR_SHR,
    IR_SAL,
    IR_SAR,
    IR_SHLD, /* d, fill from a */
    IR_SHRD,
    IR_IMUL, /* d = a * (b or imm) */
    IR_MUL,  /* rDX:rAX = rAX * b */
    IR_IMUL1,
    IR_DIV, /* rDX:rAX / b; may raise #DE */
    IR_IDIV,
    IR_BT, /* d: value; bit b or imm, modulo size */
    IR_BTS,
    IR_BTR,
    IR_BTC,
    IR_BSF, /* d from b */
    IR_BSR,
    IR_TZCNT,
    IR_LZCNT,
    IR_POPCNT,
    /* BMI and ADX, three operands, sizes 4 and 8; no flags but those of ir_op_info */
    IR_ANDN,   /* d = ~a & b */
    IR_BLSR,   /* d from b */
    IR_BLSMSK, /* d from b */
    IR_BLSI,   /* d from b */
    IR_BEXTR,  /* d = the field of b that a describes */
    IR_BZHI,   /* d = b below the bit number in a's low byte */
    IR_PDEP,   /* d = a's low bits, put where mask b has ones */
    IR_PEXT,   /* d = a's bits where mask b has ones, put together */
    IR_MULX,   /* a = low, then d = high half of rDX * b */
    IR_RORX,   /* d = b rotated right by imm */
    IR_SHLX,   /* d = b shifted by a */
    IR_SHRX,
    IR_SARX,
    IR_ADCX,   /* d += b + CF */
    IR_ADOX,   /* d += b + OF */
    IR_CMOV,   /* d = b if cc `sub` (4 bytes: always zero-extends) */
    IR_SETCC,  /* d (1 byte) = cc `sub` */
    IR_FLAGOP, /* sub: 0 CLC, 1 STC, 2 CMC, 3 SAHF, 4 LAHF, 5 SALC */
    IR_ATOMIC, /* locked read-modify-write of memory: sub is IrAtomic, operand b or imm,
                * old value to d */
    /* control */
    IR_SKIP,  /* if cc `sub` holds, the next `imm` operations are passed over */
    IR_SKIPZ, /* if a (`size`) is zero */
    IR_JCC,   /* if cc `sub`: leave to imm by link 0 */
    IR_JMP,   /* leave to imm by link `sub` */
    IR_JMPR,  /* leave to the address in a */
    IR_CHKIP, /* #GP(0) unless a (imm) may become RIP */
    IR_EXIT,  /* leave; RIP and everything else is in the CPU state */
    IR_SETIP, /* cpu->rip = imm; before IR_EXIT */
    IR_TRAP,  /* raise exception `sub` (with error 0 if IRF_ERROR) */
    IR_CALL,  /* helper: imm is its IrHelper */
    IR_CALLX, /* the same; leaves the block (as IR_EXIT) when it returns false */
    /* vector; vector registers have numbers of their own: IR_V* */
    IR_VLD,    /* vector d = memory of `size` bytes, zero-extended to 16 */
    IR_VST,    /* memory of `size` bytes = vector a */
    IR_VMOV,   /* vector d = vector a: `size` bytes, zero-extended to 16 */
    IR_VFROMG, /* vector d = general a of `size` bytes, zero-extended to 16 */
    IR_GFROMV, /* general d (`size` 4 or 8, zero-extends) = vector a */
    IR_VFROMM, /* vector d = MMX register a */
    IR_MFROMV, /* MMX register d = vector a */
    IR_VZERO,  /* vectors d … d + a - 1: the bytes from `size` (0, 16, 32) on become zero */
    IR_SIMD,   /* SimdFn imm (dst d, a, b); ctl: len = size, imm = sub, w = IRF_WRITE;
                * how it was encoded: IR_ENC_* */
    IR_COUNT
} IrOpcode;

typedef enum IrAtomic {
    AT_ADD,
    AT_OR,
    AT_ADC,
    AT_SBB,
    AT_AND,
    AT_SUB,
    AT_XOR,
    AT_INC,
    AT_DEC,
    AT_NEG,
    AT_NOT,
    AT_XCHG,
    AT_XADD,
    AT_CMPXCHG, /* rAX, b */
    AT_BTS,
    AT_BTR,
    AT_BTC,
} IrAtomic;

/* IrOp.flags */
#define IRF_IMM 0x01u   /* second source is imm */
#define IRF_WRITE 0x02u /* load: the page must also be writable, nothing happens else */
#define IRF_A32 0x04u   /* offset is truncated to 32 bits */
#define IRF_A16 0x08u   /* offset is truncated to 16 bits */
#define IRF_SEG 0x10u   /* the segment's base, limit and rights apply */
#define IRF_BASE 0x20u  /* only the segment's base applies (FS, GS in 64-bit mode) */
#define IRF_LIVE 0x40u  /* a defined flag is used later: set by the liveness pass */
#define IRF_ERROR 0x80u

/* `sub` of an IR_PUSH: what it pushes is the return address of a near call. */
#define IR_PUSH_RETURN 1u

typedef struct IrOp {
    int32_t handler; /* the interpreter's code, relative to its first handler */
    uint16_t op;     /* IrOpcode */
    uint16_t pc;     /* guest instruction, relative to the block's start */
    uint8_t size;
    uint8_t d, a, b;
    uint8_t fdef, fuse; /* flags defined and used */
    uint8_t flags;
    uint8_t sub;
    int64_t imm;
    int32_t disp;
    uint8_t base, index, scale, seg; /* IR_ZERO: none; scale is a shift */
} IrOp;
_Static_assert(sizeof(IrOp) == 32, "two operations a cache line");

/* What a helper does beyond its arguments. */
#define HE_FAULT 1u  /* may raise an exception: all state must be exact */
#define HE_RFLAGS 2u /* reads the arithmetic flags */
#define HE_WFLAGS 4u /* writes them */
#define HE_RREGS 8u  /* reads guest registers other than its operands */
#define HE_WREGS 16u /* writes them */
#define HE_X87 32u   /* an x87 instruction: a is its ModRM byte, b its opcode's low bits */
#define HE_FWAIT 64u /* FWAIT */
#define HE_ANY (HE_FAULT | HE_RFLAGS | HE_WFLAGS | HE_RREGS | HE_WREGS)

/*
 * CALLING RULE of helpers: target/i386/tcg/helper.h.  The operation's operands are
 * in `op`: register numbers d, a, b, and its memory operand.  The return value counts
 * for IR_CALLX only.
 */
typedef bool IrHelperFn(CPUX86 *cpu, const IrOp *op);
typedef struct IrHelper {
    const char *name;
    IrHelperFn *fn;
    uint8_t effects; /* HE_* */
} IrHelper;

static inline uint64_t *ir_reg(CPUX86 *cpu, unsigned n)
{
    return (uint64_t *)(void *)cpu + n;
}
/* The offset (before segmentation) of a memory operand. */
static inline uint64_t ir_offset(CPUX86 *cpu, const IrOp *op)
{
    uint64_t ea = *ir_reg(cpu, op->base) + (*ir_reg(cpu, op->index) << op->scale) +
                  (uint64_t)(int64_t)op->disp;
    if (op->flags & IRF_A32) {
        ea = (uint32_t)ea;
    } else if (op->flags & IRF_A16) {
        ea = (uint16_t)ea;
    }
    return ea;
}

/*
 * IR_SIMD has no memory operand; these fields say how the guest encoded it, for a back
 * end of the same family: base is the opcode, index the map (1: 0F, 2: 0F38, 3: 0F3A)
 * and IR_ENC_*, scale the mandatory prefix (0, 1: 66, 2: F3, 3: F2), seg the fixed
 * ModRM.reg or IR_ENC_NO_GROUP; disp has IR_ENC2_*.  REX.W (VEX.W) is IRF_WRITE, VEX.L is
 * size == 32 and the immediate byte is `sub`.
 *
 * VEX forms: d is ModRM.reg, `a` vvvv (with IR_ENC_VVVV) and b ModRM.rm; with a fixed
 * ModRM.reg (shifts by an immediate) vvvv is d, and a equals b.  The operation itself writes `size` bytes
 * or fewer; an IR_VZERO behind it clears the rest of the register where that is not
 * zero already: nothing beyond 32 bytes ever is anything else without AVX-512.
 */
#define IR_ENC_MAP 0x03u
#define IR_ENC_VEX 0x04u   /* VEX-encoded; `a` is vvvv if IR_ENC_VVVV */
#define IR_ENC_VVVV 0x08u  /* has three operands */
#define IR_ENC_IMM8 0x10u  /* an immediate byte follows (sub) */
#define IR_ENC_MMX 0x20u   /* some operand is an MMX register */
#define IR_ENC_GDST 0x40u  /* the destination is a general register (ModRM.reg) or memory */
#define IR_ENC_STORE 0x80u /* the destination is ModRM.rm, the source ModRM.reg */
#define IR_ENC_NO_GROUP 8u
/* In IrOp.disp. */
#define IR_ENC2_IS4 0x01   /* sub[7:4] is a vector register that is read (VBLENDVPS …) */
#define IR_ENC2_DSRC 0x02  /* d is a source, too, besides a and b (FMA, VNNI) */
#define IR_ENC2_FIXED 0x04 /* uses RAX, RCX, RDX or XMM0 in the CPU state */
/*
 * disp[31:16]: the CPUID feature that a host needs to run it, FEATURE() of decode.h (0: any
 * x86-64 has it); IR_ENC_VEX stands for AVX besides.
 */
#define IR_ENC2_FEATURE(op) ((uint16_t)((uint32_t)(op)->disp >> 16))

typedef struct IrOpInfo {
    const char *name;
    uint8_t fdef, fuse; /* for operations whose flags do not depend on operands */
    bool fault;         /* may raise an exception */
    bool ends;          /* control does not reach the next operation */
} IrOpInfo;
extern const IrOpInfo ir_op_info[IR_COUNT];

/*
 * Is it known how guest register `reg` (64 bits) has changed after `op`: not at all, or by a
 * constant that is added to *moved?
 */
bool ir_follow_reg(const IrOp *op, unsigned reg, int *moved);
/* The flags that are needed before `op` if `live` are needed after it. */
unsigned ir_live_before(const IrOp *op, unsigned live);
/*
 * Marks which flag definitions are needed (IRF_LIVE) and drops operations that
 * only define dead flags.  All flags are live at exits and where an exception may
 * be raised.  Returns the new number of operations.
 */
unsigned ir_optimize(IrOp *ops, unsigned n);
/* `-d op`, `-d op_opt`: one line an operation. `rip`: of the block. */
void ir_dump(FILE *out, const IrOp *ops, unsigned n, uint64_t rip);

#endif
