/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The JIT's moves and arithmetic on registers; SDM vol. 2. */
#include "accel/tcg/jit-internal.h"

const PinnedReg jit_pinned[GUEST_PINNED] = {
    {R_RAX, H_RBX}, {R_RCX, H_R8},  {R_RDX, H_R9}, {R_RBX, H_R10}, {R_RSP, H_R14}, {R_RBP, H_R15},
    {R_RSI, H_RSI}, {R_RDI, H_RDI}, {R_R8, H_R11}, {R_R9, H_R12},  {R_R12, H_R13},
};

Opnd jit_loc(unsigned r)
{
    static const uint8_t host[16] = {
        H_RBX, H_R8,  H_R9,   H_R10,  H_R14, H_R15,  H_RSI,  H_RDI,
        H_R11, H_R12, H_NONE, H_NONE, H_R13, H_NONE, H_NONE, H_NONE,
    };
    if (r < 16 && host[r] != H_NONE) {
        return asm_reg(host[r]);
    }
    return asm_mem(H_RBP, (int32_t)(8 * r) - JIT_BIAS);
}

unsigned jit_get(JitCtx *j, unsigned r, unsigned scratch)
{
    Opnd o = jit_loc(r);
    if (!o.mem) {
        return o.base;
    }
    asm_load(&j->a, 8, scratch, o);
    return scratch;
}

void jit_put(JitCtx *j, unsigned size, unsigned r, unsigned host)
{
    Opnd o = jit_loc(r);
    if (!o.mem) {
        if (size < 4 || o.base != host || size == 4) {
            asm_load(&j->a, size, o.base, asm_reg(host));
        }
    } else if (size == 4) {
        unsigned scratch = host <= H_RDX ? host : H_RCX;
        asm_mov(&j->a, 4, scratch, host); /* zero-extends */
        asm_store(&j->a, 8, o, scratch);
    } else {
        asm_store(&j->a, size, o, host);
    }
}

/* ---- two-operand arithmetic ---- */

static void imm_bytes(JitCtx *j, unsigned size, int64_t imm)
{
    asm_8(&j->a, (uint32_t)imm & 0xff);
    if (size >= 2) {
        asm_8(&j->a, (uint32_t)imm >> 8 & 0xff);
    }
    if (size >= 4) {
        asm_8(&j->a, (uint32_t)imm >> 16 & 0xff);
        asm_8(&j->a, (uint32_t)imm >> 24 & 0xff);
    }
}

/* `op` on D, a register or memory, and op's b or imm. */
static void alu_on(JitCtx *j, const IrOp *op, unsigned size, Opnd D)
{
    bool test = op->op == IR_TEST;
    unsigned k = (unsigned)(op->op - IR_ADD);
    if (op->flags & IRF_IMM) {
        if (test) {
            asm_ext(&j->a, size, asm_width(size, 0xf6), 0, D);
            imm_bytes(j, size, op->imm);
        } else {
            asm_alu_imm(&j->a, k, size, D, op->imm);
        }
        return;
    }
    if (!D.mem) {
        if (test) {
            asm_rm(&j->a, size, asm_width(size, 0x84), D.base, jit_loc(op->b));
        } else {
            asm_alu_load(&j->a, k, size, D.base, jit_loc(op->b));
        }
        return;
    }
    unsigned b = jit_get(j, op->b, H_RCX);
    if (test) {
        asm_rm(&j->a, size, asm_width(size, 0x84), b, D);
    } else {
        asm_alu_store(&j->a, k, size, D, b);
    }
}

static void unary_on(JitCtx *j, const IrOp *op, unsigned size, Opnd D)
{
    switch (op->op) {
    case IR_INC:
    case IR_DEC:
        asm_ext(&j->a, size, asm_width(size, 0xfe), op->op == IR_DEC, D);
        break;
    default:
        asm_ext(&j->a, size, asm_width(size, 0xf6), op->op == IR_NOT ? 2 : 3, D);
        break;
    }
}

/* By CL = guest RCX, or an immediate. */
static void shift_on(JitCtx *j, const IrOp *op, unsigned size, Opnd D)
{
    unsigned k = op->op == IR_SAL ? 4 : (unsigned)(op->op - IR_ROL);
    if (op->flags & IRF_IMM) {
        asm_shift_imm(&j->a, k, size, D, (unsigned)op->imm);
    } else {
        asm_load(&j->a, 4, H_RCX, jit_loc(op->b));
        asm_ext(&j->a, size, asm_width(size, 0xd2), k, D);
    }
}

static bool is_shift(const IrOp *op)
{
    return op->op >= IR_ROL && op->op <= IR_SAR;
}

static void any_on(JitCtx *j, const IrOp *op, unsigned size, Opnd D)
{
    if (op->op <= IR_TEST) {
        alu_on(j, op, size, D);
    } else if (is_shift(op)) {
        shift_on(j, op, size, D);
    } else if (op->op == IR_SHLD || op->op == IR_SHRD) {
        unsigned a = jit_get(j, op->a, H_RDX);
        unsigned base = OP_0F | (op->op == IR_SHLD ? 0xa4 : 0xac);
        if (op->flags & IRF_IMM) {
            asm_rm(&j->a, size, base, a, D);
            asm_8(&j->a, (unsigned)op->imm);
        } else {
            asm_load(&j->a, 4, H_RCX, jit_loc(op->b));
            asm_rm(&j->a, size, base | 1, a, D);
        }
    } else if (op->op >= IR_BT && op->op <= IR_BTC) {
        unsigned k = (unsigned)(op->op - IR_BT);
        if (op->flags & IRF_IMM) {
            asm_ext(&j->a, size, OP_0F | 0xba, 4 + k, D);
            asm_8(&j->a, (unsigned)op->imm & (size * 8 - 1));
        } else {
            /* With memory the host would take the index for one of a bit string. */
            unsigned b = jit_get(j, op->b, H_RCX), d = D.mem ? H_RDX : D.base;
            if (D.mem) {
                asm_load(&j->a, size, d, D);
            }
            asm_rm(&j->a, size, OP_0F | 0xa3 | k << 3, b, asm_reg(d));
            if (D.mem && op->op != IR_BT) {
                asm_store(&j->a, size, D, d);
            }
        }
    } else {
        unary_on(j, op, size, D);
    }
}

void jit_alu_mem(JitCtx *j, const IrOp *op, unsigned size)
{
    any_on(j, op, size, j->at);
}

/* d = d op (b or imm), with flags. */
static void in_place(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    Opnd D = jit_loc(op->d);
    bool writes = op->op != IR_CMP && op->op != IR_TEST && op->op != IR_BT;
    if (op->op == IR_NOT) {
        jit_flags_reg_changes(j, i, op->d);
    } else {
        jit_flags_define(j, i);
    }
    if (D.mem && writes && op->size == 4) {
        asm_load(&j->a, 4, H_RAX, D);
        any_on(j, op, 4, asm_reg(H_RAX));
        jit_put(j, 4, op->d, H_RAX);
    } else {
        any_on(j, op, op->size, D);
    }
    if (op->op != IR_NOT) {
        jit_flags_defined(j, op, true);
    }
}

/* ---- moves ---- */

static void move(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    Opnd D = jit_loc(op->d);
    jit_flags_reg_changes(j, i, op->d);
    if (op->flags & IRF_IMM) {
        if (!D.mem && op->size >= 4) {
            asm_movi(&j->a, D.base, op->size == 4 ? (uint32_t)op->imm : (uint64_t)op->imm);
        } else if (op->size < 4 || (op->size == 8 && asm_is_imm32(op->imm))) {
            asm_store_imm(&j->a, op->size, D, op->imm);
        } else {
            asm_movi(&j->a, H_RCX, op->size == 4 ? (uint32_t)op->imm : (uint64_t)op->imm);
            asm_store(&j->a, 8, D, H_RCX);
        }
    } else if (!D.mem) {
        asm_load(&j->a, op->size, D.base, jit_loc(op->a));
    } else {
        jit_put(j, op->size, op->d, jit_get(j, op->a, H_RCX));
    }
}

static void extend(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    Opnd D = jit_loc(op->d);
    unsigned d = D.mem ? H_RCX : D.base;
    jit_flags_reg_changes(j, i, op->d);
    if (op->op == IR_MOVZX) {
        asm_movzx(&j->a, op->size, d, jit_loc(op->a));
        if (D.mem) {
            asm_store(&j->a, 8, D, d);
        }
    } else if (op->sub >= op->size || op->size < 2) {
        jit_put(j, op->size, op->d, jit_get(j, op->a, H_RCX));
    } else if (op->size == 2) {
        asm_movsx(&j->a, 4, op->sub, H_RCX, jit_loc(op->a));
        jit_put(j, 2, op->d, H_RCX);
    } else {
        asm_movsx(&j->a, op->size, op->sub, d, jit_loc(op->a));
        if (D.mem) {
            asm_store(&j->a, 8, D, d);
        }
    }
}

/* AH … BH: through CH, which no REX prefix may accompany. */
static void high_byte(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    jit_flags_reg_changes(j, i, op->d);
    if (op->op == IR_EXTH) {
        asm_load(&j->a, 4, H_RCX, jit_loc(op->a));
        asm_8(&j->a, 0x0f); /* movzx ecx, ch */
        asm_8(&j->a, 0xb6);
        asm_8(&j->a, 0xcd);
        jit_put(j, 8, op->d, H_RCX);
        return;
    }
    asm_load(&j->a, 8, H_RAX, jit_loc(op->a));
    asm_load(&j->a, 8, H_RCX, jit_loc(op->d));
    asm_8(&j->a, 0x88); /* mov ch, al */
    asm_8(&j->a, 0xc5);
    jit_put(j, 8, op->d, H_RCX);
}

static void lea(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    Opnd D = jit_loc(op->d), b = jit_loc(op->base), x = jit_loc(op->index);
    jit_flags_reg_changes(j, i, op->d);
    bool simple = !D.mem && op->size >= 4 && !(op->flags & IRF_A16) &&
                  (op->base == IR_ZERO || !b.mem) && (op->index == IR_ZERO || !x.mem);
    if (simple) {
        unsigned size = op->size == 4 || (op->flags & IRF_A32) ? 4 : 8;
        asm_lea(&j->a, size, D.base,
                asm_mem_x(op->base == IR_ZERO ? H_NONE : b.base,
                          op->index == IR_ZERO ? H_NONE : x.base, op->scale, op->disp));
        return;
    }
    jit_linear(j, i, op, 0);
    jit_put(j, op->size, op->d, H_RAX);
}

static void byte_swap(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    jit_flags_reg_changes(j, i, op->d);
    if (op->size == 2) { /* through CL and CH, so that flags stay */
        asm_load(&j->a, 4, H_RCX, jit_loc(op->d));
        asm_8(&j->a, 0x86); /* xchg cl, ch */
        asm_8(&j->a, 0xe9);
        jit_put(j, 2, op->d, H_RCX);
        return;
    }
    asm_load(&j->a, 8, H_RCX, jit_loc(op->d));
    if (op->size == 8) {
        asm_8(&j->a, 0x48);
    }
    asm_8(&j->a, 0x0f);
    asm_8(&j->a, 0xc8 | H_RCX);
    jit_put(j, op->size, op->d, H_RCX);
}

static void sign(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    jit_flags_reg_changes(j, i, op->d);
    asm_load(&j->a, 8, H_RAX, jit_loc(op->a));
    if (op->size != 4) {
        asm_8(&j->a, op->size == 8 ? 0x48 : 0x66);
    }
    asm_8(&j->a, 0x99); /* CWD, CDQ, CQO */
    jit_put(j, op->size, op->d, H_RDX);
}

static void bit_offset(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    unsigned log = op->size == 8 ? 3 : op->size == 4 ? 2 : 1;
    jit_flags_reg_changes(j, i, op->d);
    jit_flags_clobber(j, i);
    asm_movsx(&j->a, 8, op->size, H_RCX, jit_loc(op->a));
    asm_shift_imm(&j->a, 7, 8, asm_reg(H_RCX), log + 3);
    asm_shift_imm(&j->a, 4, 8, asm_reg(H_RCX), log);
    jit_put(j, 8, op->d, H_RCX);
}

/* ---- what uses flags ---- */

static void conditional(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    Opnd D = jit_loc(op->d);
    jit_flags_to_host(j);
    jit_flags_reg_changes(j, i, op->d);
    if (op->op == IR_SETCC) {
        asm_ext(&j->a, 1, OP_0F | 0x90 | op->sub, 0, D);
        return;
    }
    unsigned d = D.mem ? H_RCX : D.base;
    if (D.mem) {
        asm_load(&j->a, 8, d, D);
    }
    asm_rm(&j->a, op->size, OP_0F | 0x40 | op->sub, d, jit_loc(op->b));
    if (D.mem) {
        asm_store(&j->a, op->size == 2 ? 2 : 8, D, d);
    }
}

static void flag_op(JitCtx *j, unsigned i)
{
    static const uint8_t code[3] = {0xf8, 0xf9, 0xf5}; /* CLC STC CMC */
    const IrOp *op = &j->ops[i];
    switch (op->sub) {
    case 0:
    case 1:
    case 2:
        jit_flags_to_host(j);
        asm_8(&j->a, code[op->sub]);
        jit_flags_defined(j, op, false);
        break;
    case 3: /* SAHF */
        jit_flags_to_host(j);
        asm_load(&j->a, 8, H_RAX, jit_loc(R_RAX));
        asm_8(&j->a, 0x9e);
        jit_flags_defined(j, op, false);
        break;
    case 4: /* LAHF */
        jit_flags_to_host(j);
        jit_flags_reg_changes(j, i, R_RAX);
        asm_8(&j->a, 0x9f);
        asm_load(&j->a, 8, H_RCX, jit_loc(R_RAX));
        asm_8(&j->a, 0x88); /* mov ch, ah */
        asm_8(&j->a, 0xe5);
        jit_put(j, 8, R_RAX, H_RCX);
        break;
    default: /* SALC */
        jit_flags_to_mem(j);
        jit_flags_to_host(j);
        jit_flags_reg_changes(j, i, R_RAX);
        asm_rm(&j->a, 4, 0x19, H_RCX, asm_reg(H_RCX)); /* SBB */
        jit_put(j, 1, R_RAX, H_RCX);
        j->fs.host = false;
        break;
    }
}

/* ---- multiplication, division, scans ---- */

static void multiply(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    Opnd D = jit_loc(op->d);
    unsigned d = D.mem || op->size == 2 ? H_RCX : D.base;
    bool imm = op->flags & IRF_IMM;
    jit_flags_define(j, i);
    if (imm) {
        bool small = op->imm == (int8_t)op->imm;
        asm_rm(&j->a, op->size, small ? 0x6b : 0x69, d, jit_loc(op->a));
        imm_bytes(j, small ? 1 : op->size == 2 ? 2 : 4, op->imm);
    } else {
        if (op->a != op->d || d == H_RCX) {
            asm_load(&j->a, 8, H_RCX, jit_loc(op->a));
            d = H_RCX;
        }
        asm_rm(&j->a, op->size, OP_0F | 0xaf, d, jit_loc(op->b));
    }
    if (d == H_RCX) {
        jit_put(j, op->size, op->d, d);
    }
    jit_flags_defined(j, op, false);
}

static void put_wide(JitCtx *j, unsigned size)
{
    if (size == 1) {
        jit_put(j, 2, R_RAX, H_RAX);
    } else {
        jit_put(j, size, R_RAX, H_RAX);
        jit_put(j, size, R_RDX, H_RDX);
    }
}

static void widening(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    jit_flags_define(j, i);
    asm_load(&j->a, 8, H_RAX, jit_loc(R_RAX));
    asm_ext(&j->a, op->size, asm_width(op->size, 0xf6), op->op == IR_MUL ? 4 : 5, jit_loc(op->b));
    put_wide(j, op->size);
    jit_flags_defined(j, op, false);
}

/*
 * Division on the host when it cannot trap: the high half must be smaller than the
 * divisor (unsigned), or (signed) the sign of the low half, and the divisor neither 0
 * nor -1.  All else is left to the interpreter's code, which raises #DE.
 */
static void divide(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    uint8_t *slow[2];
    unsigned n = 0;
    jit_flags_reg_changes(j, i, R_RAX);
    jit_flags_reg_changes(j, i, R_RDX);
    jit_flags_clobber(j, i);
    if (op->size < 4) {
        jit_call_stub(j, STUB_ALU, i);
        return;
    }
    asm_load(&j->a, op->size, H_RCX, jit_loc(op->b));
    if (op->op == IR_DIV) {
        asm_load(&j->a, op->size, H_RDX, jit_loc(R_RDX));
        asm_alu_load(&j->a, 7, op->size, H_RDX, asm_reg(H_RCX));
        slow[n++] = asm_jcc(&j->a, CC_AE);
        asm_load(&j->a, op->size, H_RAX, jit_loc(R_RAX));
    } else {
        asm_lea(&j->a, op->size, H_RAX, asm_mem(H_RCX, 1));
        asm_alu_imm(&j->a, 7, op->size, asm_reg(H_RAX), 1);
        slow[n++] = asm_jcc(&j->a, CC_BE);
        asm_load(&j->a, op->size, H_RAX, jit_loc(R_RAX));
        if (op->size == 8) {
            asm_8(&j->a, 0x48);
        }
        asm_8(&j->a, 0x99);
        asm_alu_load(&j->a, 7, op->size, H_RDX, jit_loc(R_RDX));
        slow[n++] = asm_jcc(&j->a, CC_NE);
    }
    for (unsigned k = 0; k < n; k++) {
        Cold *c = jit_cold(j, COLD_CALL, i);
        c->from = slow[k];
        c->stub = j->jit->stub[STUB_ALU];
    }
    asm_ext(&j->a, op->size, 0xf7, op->op == IR_DIV ? 6 : 7, asm_reg(H_RCX));
    put_wide(j, op->size);
    for (unsigned k = 0; k < n; k++) {
        j->cold[j->n_cold - 1 - k].resume = j->a.p;
    }
}

static void scan(JitCtx *j, unsigned i)
{
    static const uint8_t prefix[] = {0, 0, 0xf3, 0xf3, 0xf3},
                         code[] = {0xbc, 0xbd, 0xbc, 0xbd, 0xb8};
    const IrOp *op = &j->ops[i];
    unsigned k = (unsigned)(op->op - IR_BSF);
    Opnd D = jit_loc(op->d);
    jit_flags_define(j, i);
    /* The destination of BSF and BSR stays when there is no bit. */
    unsigned d = D.mem ? H_RCX : D.base;
    if (D.mem) {
        asm_load(&j->a, 8, d, D);
    }
    if (op->size == 2) {
        asm_8(&j->a, 0x66);
    }
    asm_rm_prefix(&j->a, prefix[k], op->size, 0, OP_0F | code[k], d, jit_loc(op->b));
    if (D.mem) {
        asm_store(&j->a, op->size == 2 ? 2 : 8, D, d);
    }
    jit_flags_defined(j, op, false);
}

unsigned jit_integer_op(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    switch (op->op) {
    case IR_NOP:
        break;
    case IR_MOV:
        move(j, i);
        break;
    case IR_EXTH:
    case IR_INSH:
        high_byte(j, i);
        break;
    case IR_MOVZX:
    case IR_MOVSX:
        extend(j, i);
        break;
    case IR_LEA:
        lea(j, i);
        break;
    case IR_BSWAP:
        byte_swap(j, i);
        break;
    case IR_SIGN:
        sign(j, i);
        break;
    case IR_BITOFS:
        bit_offset(j, i);
        break;
    case IR_IMUL:
        multiply(j, i);
        break;
    case IR_MUL:
    case IR_IMUL1:
        widening(j, i);
        break;
    case IR_DIV:
    case IR_IDIV:
        divide(j, i);
        break;
    case IR_BSF:
    case IR_BSR:
    case IR_TZCNT:
    case IR_LZCNT:
    case IR_POPCNT:
        scan(j, i);
        break;
    case IR_CMOV:
    case IR_SETCC:
        conditional(j, i);
        break;
    case IR_FLAGOP:
        flag_op(j, i);
        break;
    case IR_ANDN:
    case IR_BLSR:
    case IR_BLSMSK:
    case IR_BLSI:
    case IR_BEXTR:
    case IR_BZHI:
    case IR_PDEP:
    case IR_PEXT:
    case IR_MULX:
    case IR_RORX:
    case IR_SHLX:
    case IR_SHRX:
    case IR_SARX:
    case IR_ADCX:
    case IR_ADOX:
        return jit_bmi_op(j, i);
    default:
        if ((op->op >= IR_ADD && op->op <= IR_SHRD) || (op->op >= IR_BT && op->op <= IR_BTC)) {
            in_place(j, i);
            break;
        }
        return 0;
    }
    return i + 1;
}
