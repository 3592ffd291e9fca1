/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The interpreter's rarer arithmetic; SDM vol. 2 has the flags of each. */
#include "accel/tcg/alu.h"
#include "accel/tcg/interp.h"
#include "accel/tcg/softmmu.h"

static uint64_t size_mask(unsigned size)
{
    return size == 8 ? ~0ull : (1ull << (8 * size)) - 1;
}

static int64_t sext(uint64_t v, unsigned size)
{
    unsigned shift = 64 - 8 * size;
    return (int64_t)(v << shift) >> shift;
}

static void set_reg(uint64_t *regs, unsigned d, unsigned size, uint64_t v)
{
    switch (size) {
    case 1:
        regs[d] = (regs[d] & ~0xffull) | (v & 0xff);
        break;
    case 2:
        regs[d] = (regs[d] & ~0xffffull) | (v & 0xffff);
        break;
    case 4:
        regs[d] = (uint32_t)v;
        break;
    default:
        regs[d] = v;
        break;
    }
}

static uint32_t fl_szp(uint64_t r, unsigned size)
{
    r &= size_mask(size);
    return (r ? 0 : FL_ZF) | (r >> (8 * size - 1) ? FL_SF : 0) | fl_parity(r);
}

static uint64_t source(const uint64_t *regs, const IrOp *op)
{
    return op->flags & IRF_IMM ? (uint64_t)op->imm : regs[op->b];
}

void interp_movsx(uint64_t *regs, const IrOp *op)
{
    set_reg(regs, op->d, op->size, (uint64_t)sext(regs[op->a], op->sub));
}

void interp_flagop(uint64_t *regs, const IrOp *op, uint32_t *fl)
{
    switch (op->sub) {
    case 0:
        *fl &= ~FL_CF;
        break;
    case 1:
        *fl |= FL_CF;
        break;
    case 2:
        *fl ^= FL_CF;
        break;
    case 3: /* SAHF */
        *fl = (*fl & FL_OF) | ((uint32_t)regs[R_RAX] & 0xd500);
        break;
    case 4: /* LAHF */
        regs[R_RAX] = (regs[R_RAX] & ~0xff00ull) | (*fl & 0xd500) | 0x200;
        break;
    default: /* SALC */
        set_reg(regs, R_RAX, 1, *fl & FL_CF ? 0xff : 0);
        break;
    }
}

static void double_shift(uint64_t *regs, const IrOp *op, uint32_t *fl)
{
    unsigned bits = op->size * 8u;
    unsigned n = (unsigned)source(regs, op) & (bits == 64 ? 63 : 31);
    uint64_t mask = size_mask(op->size);
    uint64_t a = regs[op->d] & mask, b = regs[op->a] & mask, r;
    bool cf;
    if (n == 0) {
        if (op->size == 4) {
            regs[op->d] = a;
        }
        return;
    }
    bool left = op->op == IR_SHLD;
    if (n > bits) { /* 16-bit, count 17-31: hardware goes on with dest:src:dest */
        n -= bits;
        uint64_t t = a;
        a = b;
        b = t;
    }
    if (left) {
        r = n == bits ? b : (a << n | b >> (bits - n)) & mask;
        cf = a >> (bits - n) & 1;
    } else {
        r = n == bits ? b : (a >> n | b << (bits - n)) & mask;
        cf = a >> (n - 1) & 1;
    }
    *fl = fl_szp(r, op->size) | (cf ? FL_CF : 0) | (((r ^ a) >> (bits - 1)) & 1);
    set_reg(regs, op->d, op->size, r);
}

static void multiply2(uint64_t *regs, const IrOp *op, uint32_t *fl)
{
    int64_t a = sext(regs[op->a], op->size), b = sext(source(regs, op), op->size);
    int64_t r;
    bool over;
    if (op->size == 8) {
        over = __builtin_mul_overflow(a, b, &r);
    } else {
        r = a * b;
        over = sext((uint64_t)r, op->size) != r;
    }
    *fl = (fl_szp((uint64_t)r, op->size) & ~FL_ZF) | (over ? FL_CF | FL_OF : 0);
    set_reg(regs, op->d, op->size, (uint64_t)r);
}

static void multiply1(uint64_t *regs, const IrOp *op, uint32_t *fl)
{
    bool sign = op->op == IR_IMUL1, over;
    uint64_t a = regs[R_RAX] & size_mask(op->size), b = regs[op->b] & size_mask(op->size), lo, hi;
    if (op->size == 8) {
        unsigned __int128 p = sign ? (unsigned __int128)((__int128)(int64_t)a * (int64_t)b)
                                   : (unsigned __int128)a * b;
        lo = (uint64_t)p;
        hi = (uint64_t)(p >> 64);
        over = sign ? (int64_t)hi != (int64_t)lo >> 63 : hi != 0;
    } else {
        uint64_t p = sign ? (uint64_t)(sext(a, op->size) * sext(b, op->size)) : a * b;
        lo = p & size_mask(op->size);
        hi = p >> (8 * op->size) & size_mask(op->size);
        over = sign ? sext(lo, op->size) != sext(p, 2 * op->size) : hi != 0;
    }
    if (op->size == 1) {
        set_reg(regs, R_RAX, 2, hi << 8 | lo);
    } else {
        set_reg(regs, R_RAX, op->size, lo);
        set_reg(regs, R_RDX, op->size, hi);
    }
    *fl = (fl_szp(lo, op->size) & ~FL_ZF) | (over ? FL_CF | FL_OF : 0);
}

/* 128 by 64 bits where the quotient is known to fit. */
static uint64_t divide_wide(unsigned __int128 n, uint64_t d, uint64_t *rem)
{
#ifdef __x86_64__
    uint64_t q, r;
    __asm__("divq %4"
            : "=a"(q), "=d"(r)
            : "a"((uint64_t)n), "d"((uint64_t)(n >> 64)), "r"(d)
            : "cc");
    *rem = r;
    return q;
#else
    *rem = (uint64_t)(n % d);
    return (uint64_t)(n / d);
#endif
}

static bool divide64(uint64_t hi, uint64_t lo, uint64_t d, bool sign, uint64_t *q, uint64_t *r)
{
    unsigned __int128 n = (unsigned __int128)hi << 64 | lo;
    bool neg_n = sign && (int64_t)hi < 0, neg_d = sign && (int64_t)d < 0;
    if (neg_n) {
        n = -n;
    }
    if (neg_d) {
        d = -d;
    }
    if (d == 0 || (uint64_t)(n >> 64) >= d) {
        return false;
    }
    *q = divide_wide(n, d, r);
    if (sign) {
        bool neg = neg_n != neg_d;
        if (neg ? *q > 1ull << 63 : *q >= 1ull << 63) {
            return false;
        }
        *q = neg ? -*q : *q;
        *r = neg_n ? -*r : *r;
    }
    return true;
}

static bool divide_small(uint64_t n, uint64_t d, unsigned size, bool sign, uint64_t *q, uint64_t *r)
{
    if (d == 0) {
        return false;
    }
    if (!sign) {
        *q = n / d;
        *r = n % d;
        return *q <= size_mask(size);
    }
    int64_t sn = sext(n, 2 * size), sd = sext(d, size);
    if (sn == INT64_MIN && sd == -1) {
        return false;
    }
    int64_t sq = sn / sd;
    *q = (uint64_t)sq;
    *r = (uint64_t)(sn % sd);
    return sext((uint64_t)sq, size) == sq;
}

static void divide(CPUX86 *cpu, const IrOp *op)
{
    uint64_t *regs = ir_reg(cpu, 0), q, r;
    uint64_t d = regs[op->b] & size_mask(op->size);
    bool sign = op->op == IR_IDIV, ok;
    if (op->size == 8) {
        ok = divide64(regs[R_RDX], regs[R_RAX], d, sign, &q, &r);
    } else {
        uint64_t n = regs[R_RAX];
        if (op->size > 1) {
            n = (n & size_mask(op->size)) | (regs[R_RDX] & size_mask(op->size)) << (8 * op->size);
        } else {
            n &= 0xffff;
        }
        ok = divide_small(n, d, op->size, sign, &q, &r);
    }
    if (!ok) {
        x86_raise(cpu, EXC_DE);
    }
    if (op->size == 1) {
        set_reg(regs, R_RAX, 2, (r & 0xff) << 8 | (q & 0xff));
    } else {
        set_reg(regs, R_RAX, op->size, q);
        set_reg(regs, R_RDX, op->size, r);
    }
}

static void bit_op(uint64_t *regs, const IrOp *op, uint32_t *fl)
{
    uint64_t bit = 1ull << (source(regs, op) & (8u * op->size - 1));
    uint64_t v = regs[op->d];
    *fl = (*fl & ~FL_CF) | (v & bit ? FL_CF : 0);
    switch (op->op) {
    case IR_BTS:
        set_reg(regs, op->d, op->size, v | bit);
        break;
    case IR_BTR:
        set_reg(regs, op->d, op->size, v & ~bit);
        break;
    case IR_BTC:
        set_reg(regs, op->d, op->size, v ^ bit);
        break;
    default:
        break;
    }
}

static void bit_scan(uint64_t *regs, const IrOp *op, uint32_t *fl)
{
    uint64_t v = regs[op->b] & size_mask(op->size), r;
    unsigned bits = op->size * 8u;
    switch (op->op) {
    case IR_BSF:
    case IR_BSR:
        *fl = (*fl & ~FL_ZF) | (v ? 0 : FL_ZF);
        if (v) {
            r = op->op == IR_BSF ? (uint64_t)__builtin_ctzll(v)
                                 : 63u - (uint64_t)__builtin_clzll(v);
            set_reg(regs, op->d, op->size, r);
        }
        return;
    case IR_TZCNT:
        r = v ? (uint64_t)__builtin_ctzll(v) : bits;
        break;
    case IR_LZCNT:
        r = v ? (uint64_t)__builtin_clzll(v) - (64 - bits) : bits;
        break;
    default: /* IR_POPCNT */
        r = (uint64_t)__builtin_popcountll(v);
        *fl = v ? 0 : FL_ZF;
        set_reg(regs, op->d, op->size, r);
        return;
    }
    *fl = (*fl & ~(FL_CF | FL_ZF)) | (v ? 0 : FL_CF) | (r ? 0 : FL_ZF);
    set_reg(regs, op->d, op->size, r);
}

static uint64_t deposit(uint64_t v, uint64_t mask)
{
    uint64_t r = 0;
    for (; mask; mask &= mask - 1, v >>= 1) {
        r |= v & 1 ? mask & -mask : 0;
    }
    return r;
}

static uint64_t extract(uint64_t v, uint64_t mask)
{
    uint64_t r = 0;
    for (unsigned n = 0; mask; mask &= mask - 1, n++) {
        r |= (uint64_t)(v & mask & -mask ? 1 : 0) << n;
    }
    return r;
}

/* A result that sets SF and ZF (AF and PF are undefined: clear), OF to 0 and CF. */
static uint64_t logic_flags(uint64_t r, unsigned size, bool cf, uint32_t *fl)
{
    *fl = (fl_szp(r, size) & ~FL_PF) | (cf ? FL_CF : 0);
    return r;
}

static uint64_t bit_field(uint64_t v, uint64_t ctl, unsigned size, uint32_t *fl)
{
    unsigned start = ctl & 0xff, len = ctl >> 8 & 0xff;
    v = start > 63 ? 0 : v >> start;
    v = len > 63 ? v : v & ((1ull << len) - 1);
    *fl = v & size_mask(size) ? 0 : FL_ZF;
    return v;
}

/* BMI1 and BMI2: the result for d. */
static uint64_t bmi(uint64_t *regs, const IrOp *op, uint32_t *fl)
{
    uint64_t a = regs[op->a], b = regs[op->b] & size_mask(op->size);
    unsigned bits = op->size * 8u, n = (unsigned)a & (bits - 1);
    switch (op->op) {
    case IR_ANDN:
        return logic_flags(~a & b, op->size, false, fl);
    case IR_BLSR:
        return logic_flags((b - 1) & b, op->size, !b, fl);
    case IR_BLSMSK:
        return logic_flags((b - 1) ^ b, op->size, !b, fl);
    case IR_BLSI:
        return logic_flags(-b & b, op->size, b, fl);
    case IR_BEXTR:
        return bit_field(b, a, op->size, fl);
    case IR_BZHI: {
        bool all = (a & 0xff) >= bits;
        return logic_flags(all ? b : b & ((1ull << (a & 0xff)) - 1), op->size, all, fl);
    }
    case IR_PDEP:
        return deposit(a, b);
    case IR_PEXT:
        return extract(a, b);
    case IR_RORX:
        n = (unsigned)op->imm & (bits - 1);
        return n ? b >> n | b << (bits - n) : b;
    case IR_SHLX:
        return b << n;
    case IR_SHRX:
        return b >> n;
    default: /* IR_SARX */
        return (uint64_t)(sext(b, op->size) >> n);
    }
}

static void multiply_x(uint64_t *regs, const IrOp *op)
{
    unsigned __int128 p = (unsigned __int128)(regs[R_RDX] & size_mask(op->size)) *
                          (regs[op->b] & size_mask(op->size));
    set_reg(regs, op->a, op->size, (uint64_t)p);
    set_reg(regs, op->d, op->size, (uint64_t)(p >> (8 * op->size)));
}

static void add_carry_x(uint64_t *regs, const IrOp *op, uint32_t *fl)
{
    uint32_t flag = op->op == IR_ADOX ? FL_OF : FL_CF;
    unsigned __int128 sum = (unsigned __int128)(regs[op->d] & size_mask(op->size)) +
                            (regs[op->b] & size_mask(op->size)) + (*fl & flag ? 1 : 0);
    *fl = (*fl & ~flag) | (sum >> (8 * op->size) ? flag : 0);
    set_reg(regs, op->d, op->size, (uint64_t)sum);
}

void interp_slow_alu(CPUX86 *cpu, const IrOp *op, uint32_t *fl)
{
    uint64_t *regs = ir_reg(cpu, 0);
    switch (op->op) {
    case IR_LEA:
        set_reg(regs, op->d, op->size, ir_offset(cpu, op));
        break;
    case IR_SIGN:
        set_reg(regs, op->d, op->size, sext(regs[op->a], op->size) < 0 ? ~0ull : 0);
        break;
    case IR_BITOFS:
        regs[op->d] = (uint64_t)(sext(regs[op->a], op->size) >> 3) & ~(uint64_t)(op->size - 1);
        break;
    case IR_SHLD:
    case IR_SHRD:
        double_shift(regs, op, fl);
        break;
    case IR_IMUL:
        multiply2(regs, op, fl);
        break;
    case IR_MUL:
    case IR_IMUL1:
        multiply1(regs, op, fl);
        break;
    case IR_DIV:
    case IR_IDIV:
        divide(cpu, op);
        break;
    case IR_BT:
    case IR_BTS:
    case IR_BTR:
    case IR_BTC:
        bit_op(regs, op, fl);
        break;
    case IR_BSF:
    case IR_BSR:
    case IR_TZCNT:
    case IR_LZCNT:
    case IR_POPCNT:
        bit_scan(regs, op, fl);
        break;
    case IR_CMOV:
        if (fl_cond(op->sub, *fl)) {
            set_reg(regs, op->d, op->size, regs[op->b]);
        }
        break;
    case IR_MULX:
        multiply_x(regs, op);
        break;
    case IR_ADCX:
    case IR_ADOX:
        add_carry_x(regs, op, fl);
        break;
    case IR_ANDN:
    case IR_BLSR:
    case IR_BLSMSK:
    case IR_BLSI:
    case IR_BEXTR:
    case IR_BZHI:
    case IR_PDEP:
    case IR_PEXT:
    case IR_RORX:
    case IR_SHLX:
    case IR_SHRX:
    case IR_SARX:
        set_reg(regs, op->d, op->size, bmi(regs, op, fl));
        break;
    default:
        g_assert_not_reached();
    }
}

/* ---- locked operations ---- */

static uint64_t alu2(unsigned kind, unsigned size, uint64_t a, uint64_t b, uint32_t *fl)
{
#define CASE(bits)                                                      \
    switch (kind) {                                                     \
    case AT_XADD:                                                       \
    case AT_ADD:                                                        \
        return alu_add##bits((uint##bits##_t)a, (uint##bits##_t)b, fl); \
    case AT_OR:                                                         \
        return alu_or##bits((uint##bits##_t)a, (uint##bits##_t)b, fl);  \
    case AT_ADC:                                                        \
        return alu_adc##bits((uint##bits##_t)a, (uint##bits##_t)b, fl); \
    case AT_SBB:                                                        \
        return alu_sbb##bits((uint##bits##_t)a, (uint##bits##_t)b, fl); \
    case AT_AND:                                                        \
        return alu_and##bits((uint##bits##_t)a, (uint##bits##_t)b, fl); \
    case AT_SUB:                                                        \
        return alu_sub##bits((uint##bits##_t)a, (uint##bits##_t)b, fl); \
    case AT_XOR:                                                        \
        return alu_xor##bits((uint##bits##_t)a, (uint##bits##_t)b, fl); \
    case AT_INC:                                                        \
        return alu_inc##bits((uint##bits##_t)a, fl);                    \
    case AT_DEC:                                                        \
        return alu_dec##bits((uint##bits##_t)a, fl);                    \
    default:                                                            \
        return alu_neg##bits((uint##bits##_t)a, fl);                    \
    }
    switch (size) {
    case 1:
        CASE(8)
    case 2:
        CASE(16)
    case 4:
        CASE(32)
    default:
        CASE(64)
    }
#undef CASE
}

/* The new value of a locked operation, and its flags. */
static uint64_t atomic_result(CPUX86 *cpu, const IrOp *op, uint64_t old, uint64_t src, uint32_t *fl)
{
    uint64_t bit = 1ull << (src & (8u * op->size - 1));
    switch (op->sub) {
    case AT_NOT:
        return ~old;
    case AT_XCHG:
        return src;
    case AT_CMPXCHG: {
        uint64_t mask = size_mask(op->size);
        (void)alu2(AT_SUB, op->size, cpu->regs[R_RAX], old, fl);
        return (cpu->regs[R_RAX] & mask) == (old & mask) ? src : old;
    }
    case AT_BTS:
    case AT_BTR:
    case AT_BTC:
        *fl = (*fl & ~FL_CF) | (old & bit ? FL_CF : 0);
        return op->sub == AT_BTS ? old | bit : op->sub == AT_BTR ? old & ~bit : old ^ bit;
    default:
        return alu2(op->sub, op->size, old, src, fl);
    }
}

#define ATOMIC_LOOP(bits)                                                            \
    do {                                                                             \
        uint##bits##_t *p = ptr, old = __atomic_load_n(p, __ATOMIC_RELAXED), new;    \
        do {                                                                         \
            f = *fl;                                                                 \
            new = (uint##bits##_t)atomic_result(cpu, op, old, src, &f);              \
        } while (!__atomic_compare_exchange_n(p, &old, new, false, __ATOMIC_SEQ_CST, \
                                              __ATOMIC_SEQ_CST));                    \
        result = old;                                                                \
    } while (0)

static uint64_t atomic_slow(CPUX86 *cpu, const IrOp *op, uint64_t lin, uint64_t src, uint32_t *fl,
                            MmuMode mode)
{
    uint64_t old;
    mmu_probe(cpu, lin, op->size, true, mode);
    mmu_exclusive_begin(cpu);
    switch (op->size) {
    case 1:
        old = mmu_ld8(cpu, lin, mode);
        break;
    case 2:
        old = mmu_ld16(cpu, lin, mode);
        break;
    case 4:
        old = mmu_ld32(cpu, lin, mode);
        break;
    default:
        old = mmu_ld64(cpu, lin, mode);
        break;
    }
    uint64_t v = atomic_result(cpu, op, old, src, fl);
    switch (op->size) {
    case 1:
        mmu_st8(cpu, lin, (uint8_t)v, mode);
        break;
    case 2:
        mmu_st16(cpu, lin, (uint16_t)v, mode);
        break;
    case 4:
        mmu_st32(cpu, lin, (uint32_t)v, mode);
        break;
    default:
        mmu_st64(cpu, lin, v, mode);
        break;
    }
    mmu_exclusive_end(cpu);
    return old;
}

void interp_atomic(CPUX86 *cpu, const IrOp *op, uint32_t *fl)
{
    uint64_t *regs = ir_reg(cpu, 0);
    uint64_t lin = tcg_op_linear(cpu, op, op->size, true), src = source(regs, op), result;
    MmuMode mode = mmu_mode(cpu);
    uint32_t f = *fl;
    void *ptr = mmu_atomic_ptr(cpu, lin, op->size, mode);
    if (!ptr) {
        result = atomic_slow(cpu, op, lin, src, &f, mode);
    } else {
        switch (op->size) {
        case 1:
            ATOMIC_LOOP(8);
            break;
        case 2:
            ATOMIC_LOOP(16);
            break;
        case 4:
            ATOMIC_LOOP(32);
            break;
        default:
            ATOMIC_LOOP(64);
            break;
        }
    }
    if (op->sub == AT_CMPXCHG) {
        /* RAX is loaded only when the comparison failed (a 32-bit one then zero-extends). */
        if (!(f & FL_ZF)) {
            set_reg(regs, R_RAX, op->size, result);
        }
    } else if (op->sub == AT_XCHG || op->sub == AT_XADD) {
        set_reg(regs, op->d, op->size, result);
    }
    *fl = f;
}
