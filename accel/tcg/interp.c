/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The portable interpreter of the IR: threaded code.  Each IrOp holds the place of
 * its handler, chosen by tcg_interp_select() for the operation, its size, the kind
 * of its operands, and whether its flags are needed.  Arithmetic flags live in the
 * local variable `fl` (alu.h) and go to cpu->rflags before anything that may look.
 */
#include "accel/tcg/interp.h"

#include "accel/tcg/alu.h"
#include "accel/tcg/icount.h"
#include "accel/tcg/internal.h"
#include "accel/tcg/interp-handlers.h"
#include "target/i386/paging.h"
#include "target/i386/tcg/helper.h"
#include "target/i386/tcg/svm.h"
#include "util/log.h"

#include <inttypes.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

uint32_t tcg_irq_mask(const CPUX86 *cpu)
{
    uint32_t mask = ~0u;
    bool off = !(cpu->rflags & FLAG_IF) || (cpu->hflags & HF_INHIBIT);
    if (off || !(cpu->hflags & HF_SVM_GUEST)) {
        mask &= ~IRQ_VIRT;
    }
    if (cpu->hflags & HF_SVM_GUEST ? !svm_takes_interrupts(cpu) : off) {
        mask &= ~IRQ_HARD;
    }
    if (cpu->svm.gif_clear) {
        mask &= ~(IRQ_HARD | IRQ_NMI | IRQ_SMI | IRQ_INIT | IRQ_MCE | IRQ_VIRT);
    }
    if (cpu->nmi_masked || (cpu->hflags & HF_INHIBIT)) {
        mask &= ~IRQ_NMI;
    }
    if (cpu->smm || (cpu->hflags & HF_INHIBIT)) {
        mask &= ~IRQ_SMI;
    }
    if (cpu->smm) {
        mask &= ~IRQ_INIT;
    }
    return cpu->wait_for_sipi ? mask : mask & ~IRQ_SIPI;
}

/* The linear address of a memory operand that is not flat; checks its segment. */
static uint64_t general_linear(CPUX86 *cpu, const IrOp *op, unsigned size, bool write)
{
    uint64_t ea = ir_offset(cpu, op);
    if (op->flags & IRF_SEG) {
        return seg_linear(cpu, op->seg, ea, size, write);
    }
    return op->flags & IRF_BASE ? ea + cpu->segs[op->seg].base : ea;
}

uint64_t tcg_op_linear(CPUX86 *cpu, const IrOp *op, unsigned size, bool write)
{
    if (op->flags & (IRF_SEG | IRF_BASE)) {
        return general_linear(cpu, op, size, write);
    }
    return ir_offset(cpu, op);
}

/*
 * After the current instruction the block must be left: the rest of the
 * instruction's operations are copied before an exit, and executed there.
 */
static const IrOp *make_tail(TcgCpu *tc, const Block *b, const IrOp *op)
{
    const IrOp *end = b->ops + b->n_ops;
    unsigned n = 0;
    const IrOp *p = op + 1;
    tc->leave = false;
    if (op < b->ops || op >= end) {
        return p; /* is in the tail already */
    }
    while (p < end && p->pc == op->pc && n < ARRAY_LEN(tc->tail) - 2) {
        tc->tail[n++] = *p++;
    }
    uint64_t next = block_next_rip(b, b->rip + op->pc);
    if (tc->icount_on) {
        icount_leave(tc, icount_insns_before(b, next));
    }
    tc->tail[n] = (IrOp){.op = IR_SETIP, .pc = op->pc, .imm = (int64_t)next};
    tc->tail[n + 1] = (IrOp){.op = IR_EXIT, .pc = op->pc};
    tcg_interp_select(tc->tail + n, 2);
    return tc->tail;
}

static _Noreturn void raise_trap(CPUX86 *cpu, const IrOp *op)
{
    if (op->flags & IRF_ERROR) {
        x86_raise_error(cpu, op->sub, (uint32_t)op->imm);
    }
    x86_raise(cpu, op->sub);
}

static void check_ip(CPUX86 *cpu, uint64_t ip)
{
    bool bad = cpu->hflags & HF_CS64 ? !x86_is_canonical(cpu, ip) : ip > cpu->segs[SEG_CS].limit;
    if (bad) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
}

void tcg_check_address(CPUX86 *cpu, const IrOp *op, uint64_t lin, unsigned size)
{
    if ((cpu->hflags & HF_CS64) &&
        !(x86_is_canonical(cpu, lin) && x86_is_canonical(cpu, lin + size - 1))) {
        x86_raise_error(cpu, op->seg == SEG_SS ? EXC_SS : EXC_GP, 0);
    }
}

static void check_align(CPUX86 *cpu, const IrOp *op)
{
    uint64_t lin = tcg_op_linear(cpu, op, op->size, false);
    if (lin & (op->size - 1u)) {
        if (op->op == IR_ALIGN_GP) {
            x86_raise_error(cpu, EXC_GP, 0);
        }
        tcg_check_address(cpu, op, lin, op->size);
        x86_raise_error(cpu, EXC_AC, 0);
    }
}

static Vec *vreg(TcgCpu *tc, unsigned n)
{
    return n < IR_VT0 ? &tc->cpu->vec[n] : &tc->vtmp[n - IR_VT0];
}

static void vec_load(TcgCpu *tc, const IrOp *op, uint64_t lin)
{
    CPUX86 *cpu = tc->cpu;
    Vec v = {0};
    tcg_check_address(cpu, op, lin, op->size);
    mmu_ld_bytes(cpu, lin, &v, op->size, mmu_mode(cpu));
    memcpy(vreg(tc, op->d), &v, op->size > 16 ? op->size : 16);
}

static void vec_from(Vec *v, uint64_t lo)
{
    v->u64[0] = lo;
    v->u64[1] = 0;
}

static void vec_zero(TcgCpu *tc, const IrOp *op)
{
    for (unsigned i = 0; i < op->a; i++) {
        Vec *v = vreg(tc, op->d + i);
        memset(v->u8 + op->size, 0, sizeof(*v) - op->size);
    }
}

static void vec_memory(CPUX86 *cpu, const IrOp *op)
{
    TcgCpu *tc = tcg_cpu(cpu);
    uint64_t lin = tcg_op_linear(cpu, op, op->size, op->op == IR_VST);
    if (op->op == IR_VST) {
        tcg_check_address(cpu, op, lin, op->size);
        mmu_st_bytes(cpu, lin, vreg(tc, op->a), op->size, mmu_mode(cpu));
    } else {
        vec_load(tc, op, lin);
    }
}

void interp_vector(CPUX86 *cpu, const IrOp *op)
{
    TcgCpu *tc = tcg_cpu(cpu);
    uint64_t *R = ir_reg(cpu, 0);
    SimdCtl ctl = {.len = op->size, .imm = op->sub, .w = (op->flags & IRF_WRITE) != 0};
    Vec v = {0};
    switch (op->op) {
    case IR_VLD:
    case IR_VST:
        vec_memory(cpu, op);
        break;
    case IR_VMOV:
        memcpy(&v, vreg(tc, op->a), op->size);
        memcpy(vreg(tc, op->d), &v, op->size > 16 ? op->size : 16);
        break;
    case IR_VFROMG:
        vec_from(vreg(tc, op->d),
                 op->size == 8 ? R[op->a] : R[op->a] & ((1ull << (8 * op->size)) - 1));
        break;
    case IR_GFROMV:
        R[op->d] = op->size == 8 ? vreg(tc, op->a)->u64[0] : vreg(tc, op->a)->u32[0];
        break;
    case IR_VFROMM:
        vec_from(vreg(tc, op->d), cpu->x87.r[op->a].mant);
        break;
    case IR_MFROMV:
        cpu->x87.r[op->d].mant = vreg(tc, op->a)->u64[0];
        cpu->x87.r[op->d].exp = 0xffff;
        break;
    case IR_VZERO:
        vec_zero(tc, op);
        break;
    default: /* IR_SIMD */
        ((SimdFn *)(intptr_t)op->imm)(cpu, vreg(tc, op->d), vreg(tc, op->a), vreg(tc, op->b), ctl);
        break;
    }
}

void interp_fault(CPUX86 *cpu, const IrOp *op)
{
    switch (op->op) {
    case IR_TRAP:
        raise_trap(cpu, op);
    case IR_ALIGN:
    case IR_ALIGN_GP:
        check_align(cpu, op);
        break;
    case IR_RET:
        check_ip(cpu, cpu->engine_tmp[0]);
        break;
    default: /* IR_CHKIP */
        check_ip(cpu, op->flags & IRF_IMM ? (uint64_t)op->imm : *ir_reg(cpu, op->a));
        break;
    }
}

static void log_block(CPUX86 *cpu, const Block *b)
{
    uint64_t rip = b->rip + *ir_reg(cpu, IR_PC);
    if (!log_wants_address(b->cs_base + rip)) {
        return;
    }
    if (log_enabled(LOG_EXEC)) {
        log_printf("Trace %u: %p [%08" PRIx64 "/%016" PRIx64 "/%08x]\n", cpu->index,
                   (const void *)b, b->cs_base, rip, (unsigned)b->flags);
    }
    if (log_enabled(LOG_CPU)) {
        GString *s = g_string_new(NULL);
        cpu_print(cpu, s, log_enabled(LOG_FPU));
        log_printf("%s", s->str);
        g_string_free(s, TRUE);
    }
}

#define GUEST_IP (R[IR_PC] + b->rip + op->pc)
#define SYNC()                                       \
    do {                                             \
        cpu->rip = GUEST_IP;                         \
        cpu->rflags = fl_to_rflags(cpu->rflags, fl); \
    } while (0)
#define DISPATCH() goto *((const char *)base + op->handler)
#define NEXT()      \
    do {            \
        op++;       \
        DISPATCH(); \
    } while (0)
#define OP(name) L_##name:
#define CHECK_LEAVE()          \
    if (unlikely(tc->leave)) { \
        goto leave_block;      \
    }
/* -icount: takes the block out of the budget; too long for it: goes out. */
#define COUNT()                                          \
    do {                                                 \
        if (unlikely(tc->icount_on)) {                   \
            if (tc->icount_left < (int64_t)b->n_insns) { \
                cpu->rip = b->rip;                       \
                goto out;                                \
            }                                            \
            tc->icount_entry = tc->icount_left;          \
            tc->icount_left -= b->n_insns;               \
        }                                                \
    } while (0)
/* Follows a direct link, or finds the target and links it. */
#define TAKE(slot_, o)                                                                        \
    do {                                                                                      \
        Block *to_ = __atomic_load_n(&b->jump[slot_], __ATOMIC_ACQUIRE);                      \
        if (likely(to_)) {                                                                    \
            b = to_;                                                                          \
            tc->current = to_;                                                                \
            op = to_->ops;                                                                    \
            if (unlikely((__atomic_load_n(&cpu->irq_pending, __ATOMIC_RELAXED) & irq_mask) || \
                         (block_heat(b) >= heat_limit && !b->jit_never))) {                   \
                cpu->rip = R[IR_PC] + b->rip;                                                 \
                goto out;                                                                     \
            }                                                                                 \
            COUNT();                                                                          \
            DISPATCH();                                                                       \
        }                                                                                     \
        cpu->rip = R[IR_PC] + (uint64_t)(o)->imm;                                             \
        slot = slot_;                                                                         \
        goto lookup_link;                                                                     \
    } while (0)

#define EA_B (R[op->base] + (uint64_t)(int64_t)op->disp)
#define EA_X (R[op->base] + (R[op->index] << op->scale) + (uint64_t)(int64_t)op->disp)
#define EA_F ((uint64_t)(uint32_t)EA_X)
#define LIN_B(bytes, w) EA_B
#define LIN_X(bytes, w) EA_X
#define LIN_F(bytes, w) EA_F
#define LIN_G(bytes, w)                                                \
    (cpu->rip = GUEST_IP, cpu->rflags = fl_to_rflags(cpu->rflags, fl), \
     general_linear(cpu, op, bytes, w))

/* Of a vector, whose handlers serve all shapes. */
#define LIN_V(w)                                                     \
    (op->flags & (IRF_SEG | IRF_BASE | IRF_A16) ? LIN_G(op->size, w) \
     : op->flags & IRF_A32                      ? EA_F               \
                                                : EA_X)

#define LOAD(dst, bits, lin)                                                                \
    do {                                                                                    \
        TlbEntry *e_ = &tlb[TLB_INDEX(lin)];                                                \
        if (likely(tlb_hit(e_->tag_r, lin, bits / 8, gen))) {                               \
            (dst) = (uint##bits##_t)GUEST_LD((const void *)((lin) + e_->addend), bits / 8); \
        } else {                                                                            \
            SYNC();                                                                         \
            (dst) = (uint##bits##_t)tcg_ld_slow(cpu, lin, bits / 8, mode, op->seg);         \
        }                                                                                   \
    } while (0)
/* A load that a store to the same place follows: nothing may fault after it. */
#define LOADW(dst, bits, lin)                                                               \
    do {                                                                                    \
        TlbEntry *e_ = &tlb[TLB_INDEX(lin)];                                                \
        if (likely(tlb_hit(e_->tag_w, lin, bits / 8, gen))) {                               \
            (dst) = (uint##bits##_t)GUEST_LD((const void *)((lin) + e_->addend), bits / 8); \
        } else {                                                                            \
            SYNC();                                                                         \
            tcg_probe_write(cpu, lin, bits / 8, mode, op->seg);                             \
            (dst) = (uint##bits##_t)tcg_ld_slow(cpu, lin, bits / 8, mode, op->seg);         \
        }                                                                                   \
    } while (0)
/* `fin`: what else the operation does, before the block may be left. */
#define STORE(val, bits, lin, fin)                                \
    do {                                                          \
        TlbEntry *e_ = &tlb[TLB_INDEX(lin)];                      \
        uint##bits##_t v_ = (uint##bits##_t)(val);                \
        if (likely(tlb_hit(e_->tag_w, lin, bits / 8, gen))) {     \
            GUEST_ST((void *)((lin) + e_->addend), bits / 8, v_); \
        } else {                                                  \
            SYNC();                                               \
            tcg_st_slow(cpu, lin, v_, bits / 8, mode, op->seg);   \
            fin;                                                  \
            CHECK_LEAVE();                                        \
        }                                                         \
    } while (0)

/* Writing a register: 1 and 2 bytes leave the rest, 4 zero-extend. */
#define SET8(r, v) (*(uint8_t *)&R[r] = (v))
#define SET16(r, v) (*(uint16_t *)&R[r] = (v))
#define SET32(r, v) (R[r] = (uint32_t)(v))
#define SET64(r, v) (R[r] = (v))

#define NF_add(a, b) ((a) + (b))
#define NF_or(a, b) ((a) | (b))
#define NF_adc(a, b) ((a) + (b) + ((fl >> 8) & 1))
#define NF_sbb(a, b) ((a) - (b) - ((fl >> 8) & 1))
#define NF_and(a, b) ((a) & (b))
#define NF_sub(a, b) ((a) - (b))
#define NF_xor(a, b) ((a) ^ (b))
#define T_(s) uint##s##_t
#define S_(s) int##s##_t

#define I_ALU2(o, s)                                                 \
    OP(o##s##RN)                                                     \
    {                                                                \
        T_(s) r = (T_(s))NF_##o((T_(s))R[op->d], (T_(s))R[op->b]);   \
        SET##s(op->d, r);                                            \
        NEXT();                                                      \
    }                                                                \
    OP(o##s##RF)                                                     \
    {                                                                \
        T_(s) r = alu_##o##s((T_(s))R[op->d], (T_(s))R[op->b], &fl); \
        SET##s(op->d, r);                                            \
        NEXT();                                                      \
    }                                                                \
    OP(o##s##IN)                                                     \
    {                                                                \
        T_(s) r = (T_(s))NF_##o((T_(s))R[op->d], (T_(s))op->imm);    \
        SET##s(op->d, r);                                            \
        NEXT();                                                      \
    }                                                                \
    OP(o##s##IF)                                                     \
    {                                                                \
        T_(s) r = alu_##o##s((T_(s))R[op->d], (T_(s))op->imm, &fl);  \
        SET##s(op->d, r);                                            \
        NEXT();                                                      \
    }
#define I_CMP(o, s)                                              \
    OP(cmp##s##R)                                                \
    {                                                            \
        (void)alu_sub##s((T_(s))R[op->d], (T_(s))R[op->b], &fl); \
        NEXT();                                                  \
    }                                                            \
    OP(cmp##s##I)                                                \
    {                                                            \
        (void)alu_sub##s((T_(s))R[op->d], (T_(s))op->imm, &fl);  \
        NEXT();                                                  \
    }                                                            \
    OP(test##s##R)                                               \
    {                                                            \
        (void)alu_and##s((T_(s))R[op->d], (T_(s))R[op->b], &fl); \
        NEXT();                                                  \
    }                                                            \
    OP(test##s##I)                                               \
    {                                                            \
        (void)alu_and##s((T_(s))R[op->d], (T_(s))op->imm, &fl);  \
        NEXT();                                                  \
    }                                                            \
    OP(mov##s##R)                                                \
    {                                                            \
        SET##s(op->d, (T_(s))R[op->a]);                          \
        NEXT();                                                  \
    }                                                            \
    OP(mov##s##I)                                                \
    {                                                            \
        SET##s(op->d, (T_(s))op->imm);                           \
        NEXT();                                                  \
    }                                                            \
    OP(not ##s)                                                  \
    {                                                            \
        SET##s(op->d, (T_(s)) ~R[op->d]);                        \
        NEXT();                                                  \
    }
#define I_ALU1(o, s)                                \
    OP(o##s)                                        \
    {                                               \
        T_(s) r = alu_##o##s((T_(s))R[op->d], &fl); \
        SET##s(op->d, r);                           \
        NEXT();                                     \
    }
#define I_SHIFT(o, s)                                                  \
    OP(o##s##R)                                                        \
    {                                                                  \
        unsigned n = (unsigned)R[op->b] & (s == 64 ? 63 : 31);         \
        if (n) {                                                       \
            T_(s) r = alu_##o##s((T_(s))R[op->d], n, &fl);             \
            SET##s(op->d, r);                                          \
        } else if (s == 32) {                                          \
            SET##s(op->d, (T_(s))R[op->d]);                            \
        }                                                              \
        NEXT();                                                        \
    }                                                                  \
    OP(o##s##I)                                                        \
    {                                                                  \
        T_(s) r = alu_##o##s((T_(s))R[op->d], (unsigned)op->imm, &fl); \
        SET##s(op->d, r);                                              \
        NEXT();                                                        \
    }
#define I_MEM(sh, s)                               \
    OP(ld##s##sh)                                  \
    {                                              \
        uint64_t lin = LIN_##sh(s / 8, false);     \
        LOAD(R[op->d], s, lin);                    \
        NEXT();                                    \
    }                                              \
    OP(ldw##s##sh)                                 \
    {                                              \
        uint64_t lin = LIN_##sh(s / 8, true);      \
        LOADW(R[op->d], s, lin);                   \
        NEXT();                                    \
    }                                              \
    OP(st##s##sh)                                  \
    {                                              \
        uint64_t lin = LIN_##sh(s / 8, true);      \
        STORE(R[op->a], s, lin, (void)0);          \
        NEXT();                                    \
    }                                              \
    OP(sti##s##sh)                                 \
    {                                              \
        uint64_t lin = LIN_##sh(s / 8, true);      \
        STORE(op->imm, s, lin, (void)0);           \
        NEXT();                                    \
    }                                              \
    OP(ldsx##s##sh)                                \
    {                                              \
        uint64_t lin = LIN_##sh(s / 8, false);     \
        uint64_t v;                                \
        LOAD(v, s, lin);                           \
        v = (uint64_t)(int64_t)(S_(s))v;           \
        R[op->d] = op->sub == 8 ? v : (uint32_t)v; \
        NEXT();                                    \
    }
#define I_LEA(sh)                      \
    OP(lea64##sh)                      \
    {                                  \
        R[op->d] = EA_L##sh;           \
        NEXT();                        \
    }                                  \
    OP(lea32##sh)                      \
    {                                  \
        R[op->d] = (uint32_t)EA_L##sh; \
        NEXT();                        \
    }
#define EA_LB EA_B
#define EA_LX EA_X
#define EA_LF EA_F
#define EA_LG ir_offset(cpu, op)
#define I_CC(c)                                                      \
    OP(jcc##c)                                                       \
    {                                                                \
        if (fl_cond(c, fl)) {                                        \
            TAKE(0, op);                                             \
        }                                                            \
        NEXT();                                                      \
    }                                                                \
    OP(cmov32_##c)                                                   \
    {                                                                \
        R[op->d] = (uint32_t)(fl_cond(c, fl) ? R[op->b] : R[op->d]); \
        NEXT();                                                      \
    }                                                                \
    OP(cmov64_##c)                                                   \
    {                                                                \
        R[op->d] = fl_cond(c, fl) ? R[op->b] : R[op->d];             \
        NEXT();                                                      \
    }
/* Condition of a comparison, without looking at its flags where C can say it. */
#define CMP_COND(c, s, x, y)                \
    ((c) == 2    ? (x) < (y)                \
     : (c) == 3  ? (x) >= (y)               \
     : (c) == 4  ? (x) == (y)               \
     : (c) == 5  ? (x) != (y)               \
     : (c) == 6  ? (x) <= (y)               \
     : (c) == 7  ? (x) > (y)                \
     : (c) == 8  ? (S_(s))((x) - (y)) < 0   \
     : (c) == 9  ? (S_(s))((x) - (y)) >= 0  \
     : (c) == 12 ? (S_(s))(x) < (S_(s))(y)  \
     : (c) == 13 ? (S_(s))(x) >= (S_(s))(y) \
     : (c) == 14 ? (S_(s))(x) <= (S_(s))(y) \
     : (c) == 15 ? (S_(s))(x) > (S_(s))(y)  \
                 : fl_cond(c, fl))
#define TEST_COND(c, s, r)        \
    ((c) == 4   ? (r) == 0        \
     : (c) == 5 ? (r) != 0        \
     : (c) == 8 ? (S_(s))(r) < 0  \
     : (c) == 9 ? (S_(s))(r) >= 0 \
                : fl_cond(c, fl))
#define SRC_R(s) ((T_(s))R[op->b])
#define SRC_I(s) ((T_(s))op->imm)
#define I_CMPJ(c, s, f)                            \
    OP(cmpj##s##f##c)                              \
    {                                              \
        T_(s) x = (T_(s))R[op->d], y = SRC_##f(s); \
        (void)alu_sub##s(x, y, &fl);               \
        if (CMP_COND(c, s, x, y)) {                \
            TAKE(0, op + 1);                       \
        }                                          \
        TAKE(1, op + 2);                           \
    }                                              \
    OP(testj##s##f##c)                             \
    {                                              \
        T_(s) x = (T_(s))R[op->d], y = SRC_##f(s); \
        T_(s) r = alu_and##s(x, y, &fl);           \
        if (TEST_COND(c, s, r)) {                  \
            TAKE(0, op + 1);                       \
        }                                          \
        TAKE(1, op + 2);                           \
    }

/* cpu == NULL: only tells where the handlers are. */
static const void *const *run(CPUX86 *cpu, Block *b)
{
    static const void *const labels[] = {ALL_HANDLERS(L_)};
    const void *const base = &&L_add8RN;
    if (!cpu) {
        return labels;
    }
    TcgCpu *tc = tcg_cpu(cpu);
    uint64_t *R = ir_reg(cpu, 0);
    uint32_t fl = fl_from_rflags(cpu->rflags);
    uint32_t irq_mask = tcg_irq_mask(cpu);
    uint64_t gen = tc->gen_bits;
    uint32_t heat_limit = tc->tcg->heat_limit;
    MmuMode mode = (MmuMode)b->mmu_mode;
    TlbEntry *tlb = tc->tlb[mode];
    const IrOp *op = b->ops;
    int slot;
    COUNT();
    tc->current = b;
    DISPATCH();

    FOR_ALU2(I_ALU2)
    FOR_SIZES(I_CMP, cmp)
    FOR_ALU1(I_ALU1)
    FOR_SHIFT(I_SHIFT)
    FOR_SHAPES(I_MEM, 8)
    FOR_SHAPES(I_MEM, 16)
    FOR_SHAPES(I_MEM, 32)
    FOR_SHAPES(I_MEM, 64)
    FOR_SHAPES(I_LEA)
    FOR_CC(I_CC)
    FOR_CMPJ(I_CMPJ)

    OP(nop)
    {
        NEXT();
    }
    OP(movi64)
    {
        R[op->d] = (uint64_t)op->imm;
        NEXT();
    }
    OP(exth)
    {
        R[op->d] = (uint8_t)(R[op->a] >> 8);
        NEXT();
    }
    OP(insh)
    {
        R[op->d] = (R[op->d] & ~(uint64_t)0xff00) | (R[op->a] & 0xff) << 8;
        NEXT();
    }
    OP(movzx8)
    {
        R[op->d] = (uint8_t)R[op->a];
        NEXT();
    }
    OP(movzx16)
    {
        R[op->d] = (uint16_t)R[op->a];
        NEXT();
    }
    OP(movzx32)
    {
        R[op->d] = (uint32_t)R[op->a];
        NEXT();
    }
    OP(movsx8_32)
    {
        R[op->d] = (uint32_t)(int8_t)R[op->a];
        NEXT();
    }
    OP(movsx16_32)
    {
        R[op->d] = (uint32_t)(int16_t)R[op->a];
        NEXT();
    }
    OP(movsx8_64)
    {
        R[op->d] = (uint64_t)(int8_t)R[op->a];
        NEXT();
    }
    OP(movsx16_64)
    {
        R[op->d] = (uint64_t)(int16_t)R[op->a];
        NEXT();
    }
    OP(movsx32_64)
    {
        R[op->d] = (uint64_t)(int32_t)R[op->a];
        NEXT();
    }
    OP(movsx)
    {
        interp_movsx(R, op);
        NEXT();
    }
    OP(bswap)
    {
        R[op->d] = op->size == 8 ? __builtin_bswap64(R[op->d])
                   : op->size == 4
                       ? __builtin_bswap32((uint32_t)R[op->d])
                       : (R[op->d] & ~(uint64_t)0xffff) | __builtin_bswap16((uint16_t)R[op->d]);
        NEXT();
    }
    OP(push_r)
    {
        uint64_t lin = R[R_RSP] - 8;
        STORE(R[op->a], 64, lin, R[R_RSP] = lin);
        R[R_RSP] = lin;
        NEXT();
    }
    OP(push_i)
    {
        uint64_t lin = R[R_RSP] - 8;
        STORE(R[op->base] + (uint64_t)op->imm, 64, lin, R[R_RSP] = lin);
        R[R_RSP] = lin;
        NEXT();
    }
    OP(pop)
    {
        uint64_t lin = R[R_RSP], v;
        LOAD(v, 64, lin);
        R[R_RSP] = lin + 8;
        R[op->d] = v;
        NEXT();
    }
    OP(ret)
    {
        uint64_t lin = R[R_RSP], v;
        LOAD(v, 64, lin);
        if (unlikely((uint64_t)((int64_t)(v << 16) >> 16) != v)) {
            SYNC();
            check_ip(cpu, v);
        }
        R[R_RSP] = lin + 8 + (uint64_t)op->imm;
        cpu->rip = v;
        goto lookup;
    }
    OP(align) OP(align_gp)
    {
        if (unlikely(LIN_V(false) & (op->size - 1u))) {
            SYNC();
            check_align(cpu, op);
        }
        NEXT();
    }
    OP(slow_alu)
    {
        SYNC();
        interp_slow_alu(cpu, op, &fl);
        NEXT();
    }
    OP(setcc)
    {
        SET8(op->d, fl_cond(op->sub, fl));
        NEXT();
    }
    OP(flagop)
    {
        interp_flagop(R, op, &fl);
        NEXT();
    }
    OP(atomic)
    {
        SYNC();
        tcg_check_address(cpu, op, tcg_op_linear(cpu, op, op->size, true), op->size);
        interp_atomic(cpu, op, &fl);
        CHECK_LEAVE();
        NEXT();
    }
    OP(skip)
    {
        if (fl_cond(op->sub, fl)) {
            op += op->imm;
        }
        NEXT();
    }
    OP(skipz)
    {
        if (interp_is_zero(R[op->a], op->size)) {
            op += op->imm;
        }
        NEXT();
    }
    OP(jmp0)
    {
        TAKE(0, op);
    }
    OP(jmp1)
    {
        TAKE(1, op);
    }
    OP(jmpr)
    {
        cpu->rip = R[op->a];
        goto lookup;
    }
    OP(chkip)
    {
        uint64_t ip = op->flags & IRF_IMM ? (uint64_t)op->imm : R[op->a];
        if (unlikely(!(b->flags & HF_CS64) || (uint64_t)((int64_t)(ip << 16) >> 16) != ip)) {
            SYNC();
            check_ip(cpu, ip);
        }
        NEXT();
    }
    OP(exit)
    {
        goto lookup;
    }
    OP(exit_out)
    {
        goto out;
    }
    OP(setip)
    {
        cpu->rip = R[IR_PC] + (uint64_t)op->imm;
        NEXT();
    }
    OP(trap)
    {
        SYNC();
        raise_trap(cpu, op);
        goto out;
    }
    OP(call)
    {
        SYNC();
        ((const IrHelper *)(intptr_t)op->imm)->fn(cpu, op);
        fl = fl_from_rflags(cpu->rflags);
        gen = tc->gen_bits;
        CHECK_LEAVE();
        NEXT();
    }
    OP(callx)
    {
        SYNC();
        bool go_on = ((const IrHelper *)(intptr_t)op->imm)->fn(cpu, op);
        fl = fl_from_rflags(cpu->rflags);
        gen = tc->gen_bits;
        if (!go_on) {
            if (unlikely(tc->icount_on)) { /* an instruction to be continued is not counted yet */
                unsigned n = icount_insns_before(b, b->rip + op->pc);
                icount_leave(tc, n + (cpu->rip != GUEST_IP));
            }
            goto lookup;
        }
        CHECK_LEAVE();
        NEXT();
    }
    OP(vld)
    {
        uint64_t lin = LIN_V(false);
        TlbEntry *e = &tlb[TLB_INDEX(lin)];
        const void *p = (const void *)(lin + e->addend);
        if (unlikely(op->size > 32 || !tlb_hit(e->tag_r, lin, op->size, gen))) {
            SYNC();
            vec_load(tc, op, lin);
            CHECK_LEAVE();
        } else if (op->size == 16) {
            __builtin_memcpy(vreg(tc, op->d), p, 16);
        } else if (op->size == 32) {
            __builtin_memcpy(vreg(tc, op->d), p, 32);
        } else {
            Vec *v = vreg(tc, op->d);
            v->u64[0] = ld_le(p, op->size);
            v->u64[1] = 0;
        }
        NEXT();
    }
    OP(vst)
    {
        uint64_t lin = LIN_V(true);
        TlbEntry *e = &tlb[TLB_INDEX(lin)];
        void *p = (void *)(lin + e->addend);
        if (unlikely(op->size > 32 || !tlb_hit(e->tag_w, lin, op->size, gen))) {
            SYNC();
            tcg_check_address(cpu, op, lin, op->size);
            mmu_st_bytes(cpu, lin, vreg(tc, op->a), op->size, mode);
            CHECK_LEAVE();
        } else if (op->size == 16) {
            __builtin_memcpy(p, vreg(tc, op->a), 16);
        } else if (op->size == 32) {
            __builtin_memcpy(p, vreg(tc, op->a), 32);
        } else {
            st_le(p, op->size, vreg(tc, op->a)->u64[0]);
        }
        NEXT();
    }
    OP(vmov16)
    {
        __builtin_memcpy(vreg(tc, op->d), vreg(tc, op->a), 16);
        NEXT();
    }
    OP(vmov)
    {
        Vec v = {0};
        memcpy(&v, vreg(tc, op->a), op->size);
        memcpy(vreg(tc, op->d), &v, op->size > 16 ? op->size : 16);
        NEXT();
    }
    OP(vfromg)
    {
        Vec *v = vreg(tc, op->d);
        v->u64[0] = op->size == 8 ? R[op->a] : R[op->a] & ((1ull << (8 * op->size)) - 1);
        v->u64[1] = 0;
        NEXT();
    }
    OP(gfromv)
    {
        const Vec *v = vreg(tc, op->a);
        R[op->d] = op->size == 8 ? v->u64[0] : v->u32[0];
        NEXT();
    }
    OP(vfromm)
    {
        Vec *v = vreg(tc, op->d);
        v->u64[0] = cpu->x87.r[op->a].mant;
        v->u64[1] = 0;
        NEXT();
    }
    OP(mfromv)
    {
        cpu->x87.r[op->d].mant = vreg(tc, op->a)->u64[0];
        cpu->x87.r[op->d].exp = 0xffff;
        NEXT();
    }
    OP(simd)
    {
        SYNC();
        SimdCtl ctl = {.len = op->size, .imm = op->sub, .w = (op->flags & IRF_WRITE) != 0};
        ((SimdFn *)(intptr_t)op->imm)(cpu, vreg(tc, op->d), vreg(tc, op->a), vreg(tc, op->b), ctl);
        fl = fl_from_rflags(cpu->rflags);
        CHECK_LEAVE();
        NEXT();
    }
    OP(vzero)
    {
        vec_zero(tc, op);
        NEXT();
    }

leave_block:
    op = make_tail(tc, b, op);
    gen = tc->gen_bits;
    DISPATCH();

lookup_link:
    /* The state is complete but for the flags; the target's rip is set. */
    if (b->link_ok &&
        !(((cpu->rip + b->cs_base) ^ (R[IR_PC] + b->rip + b->cs_base)) & TCG_PAGE_MASK)) {
        cpu->rflags = fl_to_rflags(cpu->rflags, fl);
        irq_mask = tcg_irq_mask(cpu);
        if (unlikely(__atomic_load_n(&cpu->irq_pending, __ATOMIC_RELAXED) & irq_mask)) {
            goto out;
        }
        Block *from = b;
        uint64_t seq = tc->tcg->n_flushes;
        b = tcg_find_block(cpu);
        if (unlikely(b->flags & BLOCK_STEP)) {
            goto out;
        }
        tcg_link(tc->tcg, from, (unsigned)slot, b, seq);
        goto enter;
    }
lookup : {
    irq_mask = tcg_irq_mask(cpu);
    if (unlikely(__atomic_load_n(&cpu->irq_pending, __ATOMIC_RELAXED) & irq_mask)) {
        goto out;
    }
    uint64_t rip = cpu->rip;
    const JumpEntry *je = &tc->jump[tcg_jump_index(rip)];
    Block *to = je->block;
    if (likely(je->rip == rip && to && je->key == tcg_jump_key(tc, tcg_block_flags(cpu)) &&
               to->cs_base == cpu->segs[SEG_CS].base &&
               !__atomic_load_n(&to->invalid, __ATOMIC_RELAXED))) {
        b = to;
        R[IR_PC] = tcg_pc_base(b, rip);
    } else {
        cpu->rflags = fl_to_rflags(cpu->rflags, fl);
        b = tcg_next_block(cpu);
        if (unlikely(b->flags & BLOCK_STEP)) {
            goto out;
        }
    }
}
enter:
    if (unlikely(block_heat(b) >= heat_limit && !b->jit_never)) {
        goto out;
    }
    mode = (MmuMode)b->mmu_mode;
    tlb = tc->tlb[mode];
    gen = tc->gen_bits;
    tc->current = b;
    op = b->ops;
    COUNT();
    if (unlikely(log_mask & (LOG_EXEC | LOG_CPU))) {
        cpu->rflags = fl_to_rflags(cpu->rflags, fl);
        log_block(cpu, b);
    }
    DISPATCH();

out:
    cpu->rflags = fl_to_rflags(cpu->rflags, fl);
    tc->current = NULL;
    return NULL;
}

const void *const *interp_handler_table(void)
{
    return run(NULL, NULL);
}

void tcg_interpret(CPUX86 *cpu, Block *block)
{
    if (unlikely(log_mask & (LOG_EXEC | LOG_CPU))) {
        log_block(cpu, block);
    }
    (void)run(cpu, block);
}
