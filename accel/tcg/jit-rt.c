/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What translated code calls: the slow side of memory accesses, helpers, operations
 * left to C.  All guest registers are in CPUX86 when these run, and the flags that
 * matter in TcgCpu.fl; they may raise and then do not return.
 */
#include "accel/tcg/alu.h"
#include "accel/tcg/icount.h"
#include "accel/tcg/interp.h"
#include "accel/tcg/jit-internal.h"
#include "target/i386/paging.h"
#include "target/i386/tcg/helper.h"

static TcgCpu *enter(CPUX86 *cpu, uint64_t rip)
{
    TcgCpu *tc = tcg_cpu(cpu);
    tsan_acquire(tc->tcg);
    jit_rt_fpu_sync(cpu);
    cpu->rip = rip;
    cpu->rflags = fl_to_rflags(cpu->rflags, tc->fl);
    return tc;
}

/* 0: go on; 1: leave after this instruction. */
static uint32_t leave(TcgCpu *tc)
{
    CPUX86 *cpu = tc->cpu;
    tc->fl = fl_from_rflags(cpu->rflags);
    tcg_set_keys(tc, tcg_block_flags(cpu));
    tc->jit_ret = 0;
    tcg_stack_drop(tc);
    if (tc->leave) {
        tc->leave = false;
        return 1;
    }
    return 0;
}

/* ---- x87: FNSAVE's image, SDM vol. 1, figure 8-9 ---- */

#define FPU_CW 0
#define FPU_SW 4
#define FPU_TAGS 8
#define FPU_REGS 28

void jit_rt_fpu_sync(CPUX86 *cpu)
{
    TcgCpu *tc = tcg_cpu(cpu);
    if (!tc->fpu_dirty) {
        return;
    }
    tc->fpu_dirty = false;
    X87 *fp = &cpu->x87;
    const uint8_t *b = tc->fpu_image;
    uint16_t sw = ld_le16(b + FPU_SW), tags = ld_le16(b + FPU_TAGS);
    fp->top = sw >> 11 & 7;
    fp->sw = sw & (uint16_t) ~(7u << 11);
    fp->empty = 0;
    for (unsigned i = 0; i < 8; i++) {
        Float80 *r = &fp->r[(fp->top + i) & 7];
        fp->empty |= (uint8_t)(((tags >> (2 * i) & 3) == 3) << i);
        r->mant = ld_le64(b + FPU_REGS + 10 * i);
        r->exp = ld_le16(b + FPU_REGS + 10 * i + 8);
    }
}

void jit_rt_fpu_load(CPUX86 *cpu)
{
    TcgCpu *tc = tcg_cpu(cpu);
    jit_rt_fpu_sync(cpu);
    const X87 *fp = &cpu->x87;
    uint8_t *b = tc->fpu_image;
    uint16_t tags = 0;
    memset(b, 0, FPU_REGS);
    for (unsigned i = 0; i < 8; i++) {
        const Float80 *r = &fp->r[(fp->top + i) & 7];
        tags |= (uint16_t)((fp->empty >> i & 1 ? 3u : 0u) << (2 * i));
        st_le64(b + FPU_REGS + 10 * i, r->mant);
        st_le16(b + FPU_REGS + 10 * i + 8, r->exp);
    }
    st_le16(b + FPU_CW, fp->cw);
    st_le16(b + FPU_SW, (uint16_t)(fp->sw | fp->top << 11));
    st_le16(b + FPU_TAGS, tags);
    __asm__ volatile("frstor %0" : : "m"(tc->fpu_image));
    tc->fpu_level = 1;
}

/* ---- memory ---- */

static unsigned info_seg(uint32_t info)
{
    return info >> ACC_SEG_SHIFT & 7;
}

static void check_address(CPUX86 *cpu, uint64_t linear, unsigned size, unsigned seg)
{
    IrOp op = {.seg = (uint8_t)seg};
    tcg_check_address(cpu, &op, linear, size);
}

static void read_buffer(TcgCpu *tc, uint64_t linear, unsigned size, MmuMode mode, unsigned seg)
{
    if (size <= 8) {
        uint64_t v = tcg_ld_slow(tc->cpu, linear, size, mode, seg);
        memcpy(tc->buffer, &v, sizeof(v));
    } else {
        check_address(tc->cpu, linear, size, seg);
        mmu_ld_bytes(tc->cpu, linear, tc->buffer, size, mode);
    }
}

void *jit_rt_load(CPUX86 *cpu, uint64_t linear, uint32_t info, uint64_t rip)
{
    TcgCpu *tc = enter(cpu, rip);
    unsigned size = info & ACC_SIZE_MASK, seg = info_seg(info);
    MmuMode mode = mmu_mode(cpu);
    void *p = tcg_plain_ptr(cpu, linear, size, false, mode, seg);
    if (!p) {
        read_buffer(tc, linear, size, mode, seg);
        p = tc->buffer;
    }
    return p;
}

JitStoreResult jit_rt_store(CPUX86 *cpu, uint64_t linear, uint32_t info, uint64_t rip)
{
    TcgCpu *tc = enter(cpu, rip);
    unsigned size = info & ACC_SIZE_MASK, seg = info_seg(info);
    MmuMode mode = mmu_mode(cpu);
    void *p = tcg_plain_ptr(cpu, linear, size, true, mode, seg);
    if (p) {
        return (JitStoreResult){.ptr = p};
    }
    if (size <= 8) {
        tcg_probe_write(cpu, linear, size, mode, seg);
    } else {
        check_address(cpu, linear, size, seg);
        mmu_probe(cpu, linear, size, true, mode);
    }
    if (info & ACC_READ) {
        read_buffer(tc, linear, size, mode, seg);
    }
    tc->store_linear = linear;
    tc->store_info = info;
    return (JitStoreResult){.ptr = tc->buffer, .buffered = 1};
}

uint64_t jit_rt_commit(CPUX86 *cpu, uintptr_t ret)
{
    TcgCpu *tc = tcg_cpu(cpu);
    unsigned size = tc->store_info & ACC_SIZE_MASK;
    MmuMode mode = mmu_mode(cpu);
    tc->jit_ret = ret;
    jit_rt_fpu_sync(cpu);
    if (size <= 8) {
        uint64_t v;
        memcpy(&v, tc->buffer, sizeof(v));
        tcg_st_slow(cpu, tc->store_linear, v, size, mode, info_seg(tc->store_info));
    } else {
        mmu_st_bytes(cpu, tc->store_linear, tc->buffer, size, mode);
    }
    tc->jit_ret = 0;
    bool l = tc->leave;
    tc->leave = false;
    return l;
}

uint64_t jit_rt_linear(CPUX86 *cpu, const IrOp *op, uint32_t info, uint64_t rip)
{
    (void)enter(cpu, rip);
    return tcg_op_linear(cpu, op, info & ACC_SIZE_MASK, (info & ACC_WRITE) != 0);
}

void *jit_rt_window(CPUX86 *cpu, uint64_t linear, uint32_t info, uint64_t rip)
{
    (void)enter(cpu, rip);
    unsigned len = info & 0xff, size = info >> WINDOW_SIZE_SHIFT & 0xff;
    unsigned offset = info >> WINDOW_OFFSET_SHIFT & 0xff;
    uint8_t *p =
        tcg_plain_ptr(cpu, linear + offset, size, false, mmu_mode(cpu), info >> WINDOW_SEG_SHIFT);
    bool one_page = !((linear ^ (linear + len - 1)) & TCG_PAGE_MASK);
    return p && one_page ? p - offset : NULL;
}

uint64_t jit_rt_stack(CPUX86 *cpu, uint64_t linear, uint32_t info)
{
    TcgCpu *tc = tcg_cpu(cpu);
    jit_rt_fpu_sync(cpu);
    return tcg_stack_page(tc, linear, info & ~ACC_WRITE_STACK, info & ACC_WRITE_STACK,
                          mmu_mode(cpu));
}

/* ---- operations ---- */

uint32_t jit_rt_call(CPUX86 *cpu, const IrOp *op, uint64_t rip, uintptr_t ret)
{
    TcgCpu *tc = enter(cpu, rip);
    tc->jit_ret = ret;
    bool go_on = ((const IrHelper *)(intptr_t)op->imm)->fn(cpu, op);
    uint32_t l = leave(tc);
    if (op->op != IR_CALLX || go_on) {
        return l;
    }
    if (tc->icount_on) { /* an instruction to be continued is not counted yet */
        icount_leave(tc, icount_insns_before(tc->current, rip - *ir_reg(cpu, IR_PC)) +
                             (cpu->rip != rip));
    }
    return 2;
}

uint32_t jit_rt_vector(CPUX86 *cpu, const IrOp *op, uint64_t rip, uintptr_t ret)
{
    TcgCpu *tc = enter(cpu, rip);
    tc->jit_ret = ret;
    interp_vector(cpu, op);
    return leave(tc);
}

uint32_t jit_rt_atomic(CPUX86 *cpu, const IrOp *op, uint64_t rip, uintptr_t ret)
{
    TcgCpu *tc = enter(cpu, rip);
    tc->jit_ret = ret;
    uint32_t fl = tc->fl;
    tcg_check_address(cpu, op, tcg_op_linear(cpu, op, op->size, true), op->size);
    interp_atomic(cpu, op, &fl);
    cpu->rflags = fl_to_rflags(cpu->rflags, fl);
    return leave(tc);
}

uint32_t jit_rt_alu(CPUX86 *cpu, const IrOp *op, uint64_t rip, uintptr_t ret)
{
    TcgCpu *tc = enter(cpu, rip);
    uint32_t fl = tc->fl;
    interp_slow_alu(cpu, op, &fl);
    cpu->rflags = fl_to_rflags(cpu->rflags, fl);
    return leave(tc);
}

uint32_t jit_rt_fault(CPUX86 *cpu, const IrOp *op, uint64_t rip, uintptr_t ret)
{
    TcgCpu *tc = enter(cpu, rip);
    interp_fault(cpu, op);
    return leave(tc);
}
