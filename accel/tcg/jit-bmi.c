/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The JIT's BMI and ADX: emitted as the guest has them where the host has them, else C. */
#include "accel/tcg/jit-internal.h"
#include "target/i386/decode.h"

typedef struct BmiRow {
    uint16_t feature;
    uint8_t map, opcode, prefix; /* as VecInsn's */
    uint8_t ext;                 /* ModRM.reg when vvvv is the destination; 0: none such */
    bool flags;
} BmiRow;

static const BmiRow rows[] = {
    [IR_ANDN - IR_ANDN] = {F_BMI1, 2, 0xf2, 0, 0, true},
    [IR_BLSR - IR_ANDN] = {F_BMI1, 2, 0xf3, 0, 1, true},
    [IR_BLSMSK - IR_ANDN] = {F_BMI1, 2, 0xf3, 0, 2, true},
    [IR_BLSI - IR_ANDN] = {F_BMI1, 2, 0xf3, 0, 3, true},
    [IR_BEXTR - IR_ANDN] = {F_BMI1, 2, 0xf7, 0, 0, true},
    [IR_BZHI - IR_ANDN] = {F_BMI2, 2, 0xf5, 0, 0, true},
    [IR_PDEP - IR_ANDN] = {F_BMI2, 2, 0xf5, 3, 0, false},
    [IR_PEXT - IR_ANDN] = {F_BMI2, 2, 0xf5, 2, 0, false},
    [IR_MULX - IR_ANDN] = {F_BMI2, 2, 0xf6, 3, 0, false},
    [IR_RORX - IR_ANDN] = {F_BMI2, 3, 0xf0, 3, 0, false},
    [IR_SHLX - IR_ANDN] = {F_BMI2, 2, 0xf7, 1, 0, false},
    [IR_SHRX - IR_ANDN] = {F_BMI2, 2, 0xf7, 3, 0, false},
    [IR_SARX - IR_ANDN] = {F_BMI2, 2, 0xf7, 2, 0, false},
};

/* A result's register: its own, or scratch. */
static unsigned result(unsigned r, unsigned scratch)
{
    Opnd o = jit_loc(r);
    return o.mem ? scratch : o.base;
}

static void put_result(JitCtx *j, unsigned size, unsigned r, unsigned host)
{
    if (jit_loc(r).mem) {
        jit_put(j, size, r, host);
    }
}

static void mulx(JitCtx *j, unsigned i, VecInsn *v)
{
    const IrOp *op = &j->ops[i];
    jit_flags_reg_changes(j, i, op->a);
    jit_flags_reg_changes(j, i, op->d);
    asm_load(&j->a, 8, H_RDX, jit_loc(R_RDX));
    v->vvvv = H_RCX; /* the low half, which must not win when both go to one register */
    jit_asm_vector(&j->a, v, H_RAX, jit_loc(op->b));
    jit_put(j, op->size, op->a, H_RCX);
    jit_put(j, op->size, op->d, H_RAX);
}

static void carry(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    unsigned d = result(op->d, H_RCX);
    jit_flags_to_host(j);
    if (d == H_RCX) {
        asm_load(&j->a, 8, d, jit_loc(op->d));
    }
    asm_rm_prefix(&j->a, op->op == IR_ADCX ? 0x66 : 0xf3, op->size, 0, OP_0F38 | 0xf6, d,
                  jit_loc(op->b));
    put_result(j, op->size, op->d, d);
    jit_flags_defined(j, op, false);
}

unsigned jit_bmi_op(JitCtx *j, unsigned i)
{
    const IrOp *op = &j->ops[i];
    if (op->op == IR_ADCX || op->op == IR_ADOX) {
        if (jit_host_has(j->jit, F_ADX)) {
            carry(j, i);
        } else {
            jit_call_stub(j, STUB_ALU, i);
        }
        return i + 1;
    }
    const BmiRow *r = &rows[op->op - IR_ANDN];
    if (!jit_host_has(j->jit, r->feature) || !j->jit->avx) {
        jit_call_stub(j, STUB_ALU, i);
        return i + 1;
    }
    VecInsn v = {
        .prefix = r->prefix, .map = r->map, .opcode = r->opcode, .vex = true, .w = op->size == 8};
    if (op->op == IR_MULX) {
        mulx(j, i, &v);
        return i + 1;
    }
    if (r->flags) {
        jit_flags_define(j, i);
    } else {
        jit_flags_reg_changes(j, i, op->d);
    }
    unsigned d = result(op->d, H_RAX), reg = d;
    if (r->ext) {
        v.vvvv = d;
        reg = r->ext;
    } else if (op->op != IR_RORX) {
        v.vvvv = jit_get(j, op->a, H_RCX);
    }
    jit_asm_vector(&j->a, &v, reg, jit_loc(op->b));
    if (op->op == IR_RORX) {
        asm_8(&j->a, (unsigned)op->imm);
    }
    put_result(j, op->size, op->d, d);
    if (r->flags) {
        jit_flags_defined(j, op, false);
    }
    return i + 1;
}
