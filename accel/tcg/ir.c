/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The IR's operation table, flag liveness and dump. */
#include "accel/tcg/ir.h"

#include <inttypes.h>

#define FS_NOCF (FS_ALL & ~FS_CF)

const IrOpInfo ir_op_info[IR_COUNT] = {
    [IR_NOP] = {"nop"},
    [IR_MOV] = {"mov"},
    [IR_EXTH] = {"exth"},
    [IR_INSH] = {"insh"},
    [IR_MOVZX] = {"movzx"},
    [IR_MOVSX] = {"movsx"},
    [IR_LEA] = {"lea"},
    [IR_BSWAP] = {"bswap"},
    [IR_SIGN] = {"sign"},
    [IR_BITOFS] = {"bitofs"},
    [IR_LD] = {"ld", .fault = true},
    [IR_LDSX] = {"ldsx", .fault = true},
    [IR_ST] = {"st", .fault = true},
    [IR_PUSH] = {"push", .fault = true},
    [IR_POP] = {"pop", .fault = true},
    [IR_RET] = {"ret", .fault = true, .ends = true},
    [IR_ALIGN] = {"align", .fault = true},
    [IR_ALIGN_GP] = {"align_gp", .fault = true},
    [IR_ADD] = {"add", FS_ALL, 0},
    [IR_OR] = {"or", FS_ALL, 0},
    [IR_ADC] = {"adc", FS_ALL, FS_CF},
    [IR_SBB] = {"sbb", FS_ALL, FS_CF},
    [IR_AND] = {"and", FS_ALL, 0},
    [IR_SUB] = {"sub", FS_ALL, 0},
    [IR_XOR] = {"xor", FS_ALL, 0},
    [IR_CMP] = {"cmp", FS_ALL, 0},
    [IR_TEST] = {"test", FS_ALL, 0},
    [IR_INC] = {"inc", FS_NOCF, 0},
    [IR_DEC] = {"dec", FS_NOCF, 0},
    [IR_NEG] = {"neg", FS_ALL, 0},
    [IR_NOT] = {"not"},
    /* A count of zero keeps the flags, so shifts use what they may define. */
    [IR_ROL] = {"rol", FS_CF | FS_OF, FS_ALL},
    [IR_ROR] = {"ror", FS_CF | FS_OF, FS_ALL},
    [IR_RCL] = {"rcl", FS_CF | FS_OF, FS_ALL},
    [IR_RCR] = {"rcr", FS_CF | FS_OF, FS_ALL},
    [IR_SHL] = {"shl", FS_ALL, FS_ALL},
    [IR_SHR] = {"shr", FS_ALL, FS_ALL},
    [IR_SAL] = {"sal", FS_ALL, FS_ALL},
    [IR_SAR] = {"sar", FS_ALL, FS_ALL},
    [IR_SHLD] = {"shld", FS_ALL, FS_ALL},
    [IR_SHRD] = {"shrd", FS_ALL, FS_ALL},
    [IR_IMUL] = {"imul", FS_ALL, 0},
    [IR_MUL] = {"mul", FS_ALL, 0},
    [IR_IMUL1] = {"imul1", FS_ALL, 0},
    [IR_DIV] = {"div", 0, 0, .fault = true},
    [IR_IDIV] = {"idiv", 0, 0, .fault = true},
    [IR_BT] = {"bt", FS_CF, 0},
    [IR_BTS] = {"bts", FS_CF, 0},
    [IR_BTR] = {"btr", FS_CF, 0},
    [IR_BTC] = {"btc", FS_CF, 0},
    [IR_BSF] = {"bsf", FS_ZF, FS_NOCF},
    [IR_BSR] = {"bsr", FS_ZF, FS_NOCF},
    [IR_TZCNT] = {"tzcnt", FS_CF | FS_ZF, 0},
    [IR_LZCNT] = {"lzcnt", FS_CF | FS_ZF, 0},
    [IR_POPCNT] = {"popcnt", FS_ALL, 0},
    [IR_ANDN] = {"andn", FS_ALL, 0},
    [IR_BLSR] = {"blsr", FS_ALL, 0},
    [IR_BLSMSK] = {"blsmsk", FS_ALL, 0},
    [IR_BLSI] = {"blsi", FS_ALL, 0},
    [IR_BEXTR] = {"bextr", FS_ALL, 0},
    [IR_BZHI] = {"bzhi", FS_ALL, 0},
    [IR_PDEP] = {"pdep"},
    [IR_PEXT] = {"pext"},
    [IR_MULX] = {"mulx"},
    [IR_RORX] = {"rorx"},
    [IR_SHLX] = {"shlx"},
    [IR_SHRX] = {"shrx"},
    [IR_SARX] = {"sarx"},
    [IR_ADCX] = {"adcx", FS_CF, FS_CF},
    [IR_ADOX] = {"adox", FS_OF, FS_OF},
    [IR_CMOV] = {"cmov", 0, FS_ALL},
    [IR_SETCC] = {"setcc", 0, FS_ALL},
    [IR_FLAGOP] = {"flagop", 0, FS_ALL},
    [IR_ATOMIC] = {"atomic", 0, FS_ALL, .fault = true},
    [IR_SKIP] = {"skip", 0, FS_ALL},
    [IR_SKIPZ] = {"skipz", 0, FS_ALL},
    [IR_JCC] = {"jcc", 0, FS_ALL},
    [IR_JMP] = {"jmp", 0, FS_ALL, .ends = true},
    [IR_JMPR] = {"jmpr", 0, FS_ALL, .ends = true},
    [IR_CHKIP] = {"chkip", 0, FS_ALL, .fault = true},
    [IR_EXIT] = {"exit", 0, FS_ALL, .ends = true},
    [IR_SETIP] = {"setip"},
    [IR_TRAP] = {"trap", 0, FS_ALL, .fault = true, .ends = true},
    [IR_CALL] = {"call", 0, FS_ALL},
    [IR_CALLX] = {"callx", 0, FS_ALL, .fault = true},
    [IR_VLD] = {"vld", .fault = true},
    [IR_VST] = {"vst", .fault = true},
    [IR_VMOV] = {"vmov"},
    [IR_VFROMG] = {"vfromg"},
    [IR_GFROMV] = {"gfromv"},
    [IR_VFROMM] = {"vfromm"},
    [IR_MFROMV] = {"mfromv"},
    [IR_VZERO] = {"vzero"},
    [IR_SIMD] = {"simd", 0, FS_ALL, .fault = true},
};

static bool may_leave(const IrOp *op)
{
    return ir_op_info[op->op].fault || op->op == IR_CALL;
}

unsigned ir_live_before(const IrOp *op, unsigned live)
{
    const IrOpInfo *info = &ir_op_info[op->op];
    bool fault = info->fault;
    if (info->ends || op->op == IR_JCC || op->op == IR_SKIP || op->op == IR_SKIPZ) {
        live = FS_ALL;
    }
    if (op->op == IR_CALL) {
        unsigned e = ((const IrHelper *)(intptr_t)op->imm)->effects;
        fault = (e & (HE_FAULT | HE_RFLAGS)) != 0;
    }
    return fault ? FS_ALL : (live & ~(unsigned)op->fdef) | op->fuse;
}

/* Does a vector operation write general register `reg`? */
static bool vector_writes(const IrOp *op, unsigned reg)
{
    if (op->op != IR_SIMD) {
        return op->op == IR_GFROMV && op->d == reg;
    }
    bool fixed = (op->disp & IR_ENC2_FIXED) && reg <= R_RDX; /* PCMPxSTRI … */
    return fixed || ((op->index & IR_ENC_GDST) && op->d == reg);
}

bool ir_follow_reg(const IrOp *op, unsigned reg, int *moved)
{
    bool constant = op->d == reg && op->size == 8;
    switch (op->op) {
    case IR_NOP:
    case IR_CMP:
    case IR_TEST:
    case IR_BT:
    case IR_ST:
    case IR_JCC:
        return true;
    case IR_PUSH:
        *moved -= reg == R_RSP ? 8 : 0;
        return true;
    case IR_POP:
        *moved += reg == R_RSP ? 8 : 0;
        return op->d != reg;
    case IR_ADD:
    case IR_SUB:
        if (constant && (op->flags & IRF_IMM) && op->imm == (int16_t)op->imm) {
            *moved += op->op == IR_ADD ? (int)op->imm : -(int)op->imm;
            return true;
        }
        return op->d != reg;
    case IR_LEA:
        if (constant && op->base == reg && op->index == IR_ZERO &&
            !(op->flags & (IRF_A32 | IRF_A16)) && op->disp == (int16_t)op->disp) {
            *moved += op->disp;
            return true;
        }
        return op->d != reg;
    case IR_MUL:
    case IR_IMUL1:
    case IR_DIV:
    case IR_IDIV:
    case IR_ATOMIC: /* CMPXCHG */
    case IR_FLAGOP:
        return op->d != reg && reg != R_RAX && reg != R_RDX;
    case IR_MULX:
        return op->d != reg && op->a != reg;
    case IR_RET:
    case IR_CALL:
    case IR_CALLX:
        return false;
    default:
        return op->op >= IR_VLD ? !vector_writes(op, reg) : op->d != reg;
    }
}

unsigned ir_optimize(IrOp *ops, unsigned n)
{
    unsigned live = FS_ALL;
    for (unsigned i = n; i-- > 0;) {
        IrOp *op = &ops[i];
        if (op->fdef & live) {
            op->flags |= IRF_LIVE;
        }
        bool only_flags = op->op == IR_CMP || op->op == IR_TEST || op->op == IR_BT;
        if (only_flags && !(op->flags & IRF_LIVE)) {
            op->op = IR_NOP;
            op->fdef = op->fuse = 0;
            continue;
        }
        live = ir_live_before(op, live);
    }
    /* Compact; IR_SKIP counts operations, so a block that has one keeps its NOPs. */
    for (unsigned i = 0; i < n; i++) {
        if (ops[i].op == IR_SKIP || ops[i].op == IR_SKIPZ) {
            return n;
        }
    }
    /*
     * Where a store may ask to leave the block, because it changed its code, the next operation
     * tells the next instruction: that must not be one further on.
     */
    unsigned out = 0;
    for (unsigned i = 0; i < n; i++) {
        bool alone =
            out && ops[out - 1].pc != ops[i].pc && (i + 1 == n || ops[i + 1].pc != ops[i].pc);
        if (ops[i].op != IR_NOP || (alone && may_leave(&ops[out - 1]))) {
            ops[out++] = ops[i];
        }
    }
    return out;
}

static const char *reg_name(unsigned r)
{
    static const char *const names[32] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                          "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15",
                                          "t0",  "t1",  "t2",  "t3",  "t4",  "t5",  "t6",  "t7",
                                          "t8",  "t9",  "t10", "t11", "t12", "t13", "t14", "zero"};
    return names[r & 31];
}

static void dump_flag_set(FILE *out, const char *what, unsigned set)
{
    static const char letters[] = "cpazso";
    if (!set) {
        return;
    }
    fprintf(out, " %s:", what);
    for (unsigned i = 0; i < 6; i++) {
        if (set >> i & 1) {
            fputc(letters[i], out);
        }
    }
}

static bool has_memory(const IrOp *op)
{
    return op->op == IR_LEA || (op->op >= IR_LD && op->op <= IR_ST) || op->op == IR_ALIGN ||
           op->op == IR_ALIGN_GP || op->op == IR_ATOMIC || op->op == IR_VLD || op->op == IR_VST;
}

void ir_dump(FILE *out, const IrOp *ops, unsigned n, uint64_t rip)
{
    static const char *const segs[] = {"es", "cs", "ss", "ds", "fs", "gs"};
    unsigned last = ~0u;
    for (unsigned i = 0; i < n; i++) {
        const IrOp *op = &ops[i];
        if (op->pc != last) {
            fprintf(out, " ---- %016" PRIx64 "\n", rip + op->pc);
            last = op->pc;
        }
        fprintf(out, "  %-8s %u  d=%s a=%s b=%s", ir_op_info[op->op].name, op->size,
                reg_name(op->d), reg_name(op->a), reg_name(op->b));
        if (op->op == IR_CALL || op->op == IR_CALLX) {
            fprintf(out, " %s", ((const IrHelper *)(intptr_t)op->imm)->name);
        } else {
            fprintf(out, " imm=0x%" PRIx64, (uint64_t)op->imm);
        }
        if (has_memory(op)) {
            fprintf(out, " %s:[%s+%s*%d%+d]", segs[op->seg % SEG_COUNT], reg_name(op->base),
                    reg_name(op->index), 1 << (op->scale & 3), op->disp);
        }
        fprintf(out, " sub=%u fl=%02x", op->sub, op->flags);
        dump_flag_set(out, "def", op->fdef);
        dump_flag_set(out, "use", op->fuse);
        fputc('\n', out);
    }
}
