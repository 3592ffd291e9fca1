/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Segments, far transfers, interrupts, I/O and system instructions: nearly all are
 * one helper call.  What may change the state that blocks depend on ends the block.
 */
#include "accel/tcg/interp.h"
#include "target/i386/paging.h"
#include "target/i386/tcg/helper.h"
#include "target/i386/tcg/int-helper.h"
#include "target/i386/tcg/svm.h"
#include "target/i386/tcg/translate.h"

#include <sched.h>

#define PAUSES_BEFORE_YIELD 64

static uint64_t arg_a(CPUX86 *cpu, const IrOp *op)
{
    return *ir_reg(cpu, op->a);
}

static void set_sized(CPUX86 *cpu, unsigned reg, unsigned size, uint64_t v)
{
    uint64_t *r = ir_reg(cpu, reg);
    switch (size) {
    case 1:
        *r = (*r & ~0xffull) | (v & 0xff);
        break;
    case 2:
        *r = (*r & ~0xffffull) | (v & 0xffff);
        break;
    case 4:
        *r = (uint32_t)v;
        break;
    default:
        *r = v;
        break;
    }
}

static void set_zf(CPUX86 *cpu, bool on)
{
    cpu->rflags = on ? cpu->rflags | FLAG_ZF : cpu->rflags & ~(uint64_t)FLAG_ZF;
}

/* Wrappers of helpers that take nothing but the CPU. */
#define PLAIN(id, call)                             \
    static bool h_##id(CPUX86 *cpu, const IrOp *op) \
    {                                               \
        svm_note(cpu, op_next_rip(cpu, op));        \
        call;                                       \
        return true;                                \
    }                                               \
    HELPER(s_##id, #id, h_##id, HE_ANY);
PLAIN(int3, (tcg_cpu(cpu)->no_step = true, helper_int3(cpu, op_next_rip(cpu, op))))
PLAIN(into, (tcg_cpu(cpu)->no_step = true, helper_into(cpu, op_next_rip(cpu, op))))
PLAIN(icebp, (tcg_cpu(cpu)->no_step = true, helper_icebp(cpu, op_next_rip(cpu, op))))
PLAIN(int, (tcg_cpu(cpu)->no_step = true, helper_int(cpu, op->disp, op_next_rip(cpu, op))))
PLAIN(iret, helper_iret(cpu, op->size, op_next_rip(cpu, op)))
PLAIN(ret_far, helper_ret_far(cpu, op->size, (uint16_t)op->disp, op_next_rip(cpu, op)))
PLAIN(jmp_far, helper_jmp_far(cpu, (uint16_t)*ir_reg(cpu, op->b), arg_a(cpu, op), op->size,
                              op_next_rip(cpu, op)))
PLAIN(call_far, helper_call_far(cpu, (uint16_t)*ir_reg(cpu, op->b), arg_a(cpu, op), op->size,
                                op_next_rip(cpu, op)))
PLAIN(syscall, (tcg_cpu(cpu)->no_step = !(cpu->rflags & ~cpu->sfmask & FLAG_TF),
                helper_syscall(cpu, op_next_rip(cpu, op))))
PLAIN(sysret, helper_sysret(cpu, op->size))
PLAIN(sysenter, (tcg_cpu(cpu)->no_step = true, helper_sysenter(cpu)))
PLAIN(sysexit, helper_sysexit(cpu, op->size))
PLAIN(hlt, helper_hlt(cpu, op_next_rip(cpu, op)))
PLAIN(mwait, helper_mwait(cpu, op_next_rip(cpu, op)))
PLAIN(cli, helper_cli(cpu))
PLAIN(sti, helper_sti(cpu))
PLAIN(clts, helper_clts(cpu))
PLAIN(wbinvd, helper_wbinvd(cpu))
PLAIN(rdmsr, helper_rdmsr(cpu))
PLAIN(wrmsr, helper_wrmsr(cpu))
PLAIN(rdtsc, helper_rdtsc(cpu))
PLAIN(rdtscp, helper_rdtscp(cpu))
PLAIN(rdpmc, helper_rdpmc(cpu))
PLAIN(cpuid, helper_cpuid(cpu))
PLAIN(swapgs, helper_swapgs(cpu))
PLAIN(rsm, helper_rsm(cpu))
PLAIN(xgetbv, helper_xgetbv(cpu))
PLAIN(xsetbv, helper_xsetbv(cpu))
PLAIN(clac, helper_clac_stac(cpu, false))
PLAIN(stac, helper_clac_stac(cpu, true))
PLAIN(lldt, helper_lldt(cpu, (uint16_t)arg_a(cpu, op)))
PLAIN(ltr, helper_ltr(cpu, (uint16_t)arg_a(cpu, op)))
PLAIN(verr, set_zf(cpu, helper_verr(cpu, (uint16_t)arg_a(cpu, op))))
PLAIN(verw, set_zf(cpu, helper_verw(cpu, (uint16_t)arg_a(cpu, op))))
PLAIN(lmsw, helper_lmsw(cpu, (uint16_t)arg_a(cpu, op)))
PLAIN(write_cr,
      (svm_note_gpr(cpu, op->a), helper_write_cr(cpu, (unsigned)op->disp, arg_a(cpu, op))))
PLAIN(read_cr, (svm_note_gpr(cpu, op->d),
                set_sized(cpu, op->d, op->size, helper_read_cr(cpu, (unsigned)op->disp))))
PLAIN(read_dr, (svm_note_gpr(cpu, op->d),
                set_sized(cpu, op->d, op->size, helper_read_dr(cpu, (unsigned)op->disp))))
/* Watched pages are marked in the TLB. */
PLAIN(write_dr, (svm_note_gpr(cpu, op->a), helper_write_dr(cpu, (unsigned)op->disp, arg_a(cpu, op)),
                 mmu_flush(cpu)))
PLAIN(vmrun, helper_vmrun(cpu, op->size, op_next_rip(cpu, op)))
PLAIN(vmload, helper_vmload(cpu, op->size))
PLAIN(vmsave, helper_vmsave(cpu, op->size))
PLAIN(vmmcall, helper_vmmcall(cpu, false, op_next_rip(cpu, op)))
PLAIN(vmcall, helper_vmmcall(cpu, true, op_next_rip(cpu, op)))
PLAIN(stgi, helper_stgi(cpu))
PLAIN(clgi, helper_clgi(cpu))
PLAIN(invlpga, helper_invlpga(cpu, op->size))
PLAIN(pause_guest, svm_check_pause(cpu))
PLAIN(fence, __atomic_thread_fence(__ATOMIC_SEQ_CST))
PLAIN(monitor, helper_monitor(cpu, op->seg, ir_offset(cpu, op)))
PLAIN(invpcid, helper_invpcid(cpu, arg_a(cpu, op), op->seg, ir_offset(cpu, op)))

/* A loop that waits for another CPU, whose thread may need this host CPU to get on. */
static bool h_pause(CPUX86 *cpu, const IrOp *op)
{
    TcgCpu *tc = tcg_cpu(cpu);
    if (tc->icount_on) { /* another CPU's turn */
        if (tc->tcg->cpus->len > 1) {
            tc->leave = tc->icount_yield = true;
            cpu_interrupt(cpu, IRQ_POLL);
        }
    } else if (tc->tcg->cpus->len > 1 && ++tc->pauses >= PAUSES_BEFORE_YIELD) {
        tc->pauses = 0;
        sched_yield();
    }
    return true;
}
HELPER(s_pause, "pause", h_pause, 0);

/* ---- segments ---- */

static bool h_load_seg(CPUX86 *cpu, const IrOp *op)
{
    helper_load_seg(cpu, (unsigned)op->disp, (uint16_t)arg_a(cpu, op));
    if (op->disp == SEG_SS) {
        cpu->hflags |= HF_INHIBIT;
        tcg_cpu(cpu)->no_step = true; /* debug traps wait as well */
    }
    return true;
}
HELPER(s_load_seg, "load_seg", h_load_seg, HE_ANY);

static bool h_get_seg(CPUX86 *cpu, const IrOp *op)
{
    *ir_reg(cpu, op->d) = cpu->segs[op->disp].selector;
    return true;
}
HELPER(s_get_seg, "get_seg", h_get_seg, 0);

static void load_seg(Translator *t, unsigned seg, unsigned reg)
{
    IrOp *o = tr_call(t, &s_load_seg);
    o->disp = (int32_t)seg;
    o->a = (uint8_t)reg;
}

static void get_seg(Translator *t, unsigned seg)
{
    IrOp *o = tr_call(t, &s_get_seg);
    o->disp = (int32_t)seg;
    o->d = IR_T0;
}

static void push_seg(Translator *t)
{
    unsigned size = t->in->opsize;
    MemRef m = tr_stack(t, R_RSP, -(int)size);
    get_seg(t, t->in->row->arg);
    tr_store(t, size, IR_T0, &m);
    tr_lea(t, tr_stack_size(t), R_RSP, &m);
}

static void pop_seg(Translator *t)
{
    unsigned size = t->in->opsize;
    MemRef m = tr_stack(t, R_RSP, 0);
    tr_load(t, size, IR_T0, &m, false);
    load_seg(t, t->in->row->arg, IR_T0);
    m.disp = (int)size;
    tr_lea(t, tr_stack_size(t), R_RSP, &m);
    tr_exit_next(t);
}

static void mov_seg(Translator *t)
{
    bool to = t->in->op == OP_MOV_TO_SEG;
    unsigned seg = t->in->operand[to ? 0 : 1].reg;
    if (seg > SEG_GS || (to && seg == SEG_CS)) {
        tr_trap(t, EXC_UD);
    } else if (to) {
        load_seg(t, seg, tr_get(t, 1, IR_T0));
        tr_exit_next(t);
    } else {
        get_seg(t, seg);
        tr_put(t, 0, IR_T0);
    }
}

/* A far pointer in memory: offset to T0, selector to T1. */
static void load_pointer(Translator *t)
{
    MemRef m = tr_mem(t);
    tr_load(t, t->in->opsize, IR_T0, &m, false);
    m.disp += t->in->opsize;
    tr_load(t, 2, IR_T1, &m, false);
}

static void load_far(Translator *t)
{
    load_pointer(t);
    load_seg(t, t->in->row->arg, IR_T1);
    tr_mov(t, t->in->opsize, t->in->operand[0].reg, IR_T0);
    tr_exit_next(t);
}

static void branch_far(Translator *t, const IrHelper *h)
{
    if (t->in->operand[0].kind == OK_FAR) {
        tr_movi(t, 8, IR_T0, t->in->imm);
        tr_movi(t, 8, IR_T1, t->in->imm2);
    } else {
        load_pointer(t);
    }
    IrOp *o = tr_call(t, h);
    o->a = IR_T0;
    o->b = IR_T1;
    tr_exit(t);
}

/* ---- descriptor tables ---- */

static bool h_sldt(CPUX86 *cpu, const IrOp *op)
{
    helper_check_umip(cpu);
    svm_note(cpu, op_next_rip(cpu, op));
    if (op->disp == OP_SMSW) {
        svm_check_cr(cpu, 0, false, false);
    } else {
        svm_check(cpu, op->disp == OP_SLDT ? SVM_EXIT_LDTR_READ : SVM_EXIT_TR_READ);
    }
    *ir_reg(cpu, op->d) = op->disp == OP_SLDT  ? cpu->ldtr.selector
                          : op->disp == OP_STR ? cpu->tr.selector
                                               : cpu->cr0;
    return true;
}
HELPER(s_sldt, "sldt_str_smsw", h_sldt, HE_ANY);

static void store_selector(Translator *t)
{
    IrOp *o = tr_call(t, &s_sldt);
    o->d = IR_T0;
    o->disp = t->in->op;
    tr_put(t, 0, IR_T0);
}

static bool h_lar_lsl(CPUX86 *cpu, const IrOp *op)
{
    uint32_t v;
    uint16_t sel = (uint16_t)arg_a(cpu, op);
    bool ok = op->disp == OP_LAR ? helper_lar(cpu, sel, &v) : helper_lsl(cpu, sel, &v);
    if (ok) {
        set_sized(cpu, op->d, op->size, v);
    }
    set_zf(cpu, ok);
    return true;
}
HELPER(s_lar_lsl, "lar_lsl", h_lar_lsl, HE_ANY);

static void look_at_selector(Translator *t)
{
    unsigned a = tr_get(t, 1, IR_T0);
    IrOp *o = tr_call(t, &s_lar_lsl);
    o->a = (uint8_t)a;
    o->d = t->in->operand[0].reg;
    o->disp = t->in->op;
}

static uint64_t next_offset(const IrOp *op, uint64_t ea, unsigned n)
{
    ea += n;
    return op->flags & IRF_A16 ? (uint16_t)ea : op->flags & IRF_A32 ? (uint32_t)ea : ea;
}

static bool h_store_table(CPUX86 *cpu, const IrOp *op)
{
    bool idt = op->d;
    const TableReg *r = idt ? &cpu->idtr : &cpu->gdtr;
    unsigned size = cpu->hflags & HF_CS64 ? 8 : 4;
    uint64_t ea = ir_offset(cpu, op);
    helper_check_umip(cpu);
    svm_note(cpu, op_next_rip(cpu, op));
    svm_check(cpu, idt ? SVM_EXIT_IDTR_READ : SVM_EXIT_GDTR_READ);
    uint64_t second = seg_linear(cpu, op->seg, next_offset(op, ea, 2), size, true);
    mmu_probe(cpu, second, size, true, mmu_mode(cpu));
    x86_st(cpu, op->seg, ea, 2, r->limit);
    x86_st(cpu, op->seg, next_offset(op, ea, 2), size, r->base);
    return true;
}
HELPER(s_store_table, "sgdt_sidt", h_store_table, HE_ANY);

static bool h_load_table(CPUX86 *cpu, const IrOp *op)
{
    unsigned size = cpu->hflags & HF_CS64 ? 8 : 4;
    uint64_t ea = ir_offset(cpu, op);
    svm_note(cpu, op_next_rip(cpu, op));
    svm_check(cpu, op->d ? SVM_EXIT_IDTR_WRITE : SVM_EXIT_GDTR_WRITE);
    uint16_t limit = (uint16_t)x86_ld(cpu, op->seg, ea, 2);
    uint64_t base = x86_ld(cpu, op->seg, next_offset(op, ea, 2), size);
    if (size == 4 && op->size == 2) {
        base &= 0xffffff;
    }
    if (op->d) {
        helper_lidt(cpu, base, limit);
    } else {
        helper_lgdt(cpu, base, limit);
    }
    return true;
}
HELPER(s_load_table, "lgdt_lidt", h_load_table, HE_ANY);

static void table(Translator *t, const IrHelper *h, bool idt)
{
    MemRef m = tr_mem(t);
    IrOp *o = tr_call(t, h);
    tr_set_mem(o, &m);
    o->d = idt;
}

static bool h_invlpg(CPUX86 *cpu, const IrOp *op)
{
    uint64_t lin = ir_offset(cpu, op);
    svm_note(cpu, op_next_rip(cpu, op));
    if (!(cpu->hflags & HF_CS64)) {
        lin = (uint32_t)(lin + cpu->segs[op->seg].base);
    } else if (op->seg >= SEG_FS) {
        lin += cpu->segs[op->seg].base;
    }
    helper_invlpg(cpu, lin);
    return true;
}
HELPER(s_invlpg, "invlpg", h_invlpg, HE_ANY);

/* ---- I/O ---- */

static uint16_t io_port(const CPUX86 *cpu, const IrOp *op)
{
    return (uint16_t)(op->disp < 0 ? cpu->regs[R_RDX] : (uint64_t)op->disp);
}

static bool h_in(CPUX86 *cpu, const IrOp *op)
{
    svm_note(cpu, op_next_rip(cpu, op));
    set_sized(cpu, R_RAX, op->size, helper_in(cpu, io_port(cpu, op), op->size));
    return true;
}
HELPER(s_in, "in", h_in, HE_ANY);

static bool h_out(CPUX86 *cpu, const IrOp *op)
{
    svm_note(cpu, op_next_rip(cpu, op));
    helper_out(cpu, io_port(cpu, op), (uint32_t)cpu->regs[R_RAX], op->size);
    return true;
}
HELPER(s_out, "out", h_out, HE_ANY);

static void port_io(Translator *t, const IrHelper *h, unsigned data, unsigned port)
{
    IrOp *o = tr_call(t, h);
    o->size = t->in->operand[data].size;
    o->disp = t->in->operand[port].kind == OK_IMM ? (int32_t)t->in->imm : -1;
    tr_exit_next(t); /* the device may have moved memory, or want attention */
}

/* ---- odds and ends ---- */

static bool h_rdrand(CPUX86 *cpu, const IrOp *op)
{
    bool ok;
    uint64_t v = helper_rdrand(cpu, op->size, &ok);
    set_sized(cpu, op->d, op->size, ok ? v : 0);
    cpu->rflags = (cpu->rflags & ~(uint64_t)FLAGS_ARITH) | (ok ? FLAG_CF : 0);
    return true;
}
HELPER(s_rdrand, "rdrand", h_rdrand, HE_WFLAGS);

static bool h_rdpid(CPUX86 *cpu, const IrOp *op)
{
    set_sized(cpu, op->d, op->size == 2 ? 4 : op->size, cpu->tsc_aux);
    return true;
}
HELPER(s_rdpid, "rdpid", h_rdpid, 0);

/* d (read) or a (written) of size 4 or 8; disp: SEG_FS or SEG_GS, negated to write. */
static bool h_seg_base(CPUX86 *cpu, const IrOp *op)
{
    if (!(cpu->cr4 & CR4_FSGSBASE)) {
        x86_raise(cpu, EXC_UD);
    }
    if (op->disp > 0) {
        set_sized(cpu, op->d, op->size, cpu->segs[op->disp].base);
        return true;
    }
    uint64_t v = op->size == 8 ? arg_a(cpu, op) : (uint32_t)arg_a(cpu, op);
    if (!x86_is_canonical(cpu, v)) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    cpu->segs[-op->disp].base = v;
    return true;
}
HELPER(s_seg_base, "fsgsbase", h_seg_base, HE_ANY);

static void seg_base(Translator *t, int seg)
{
    IrOp *o = tr_call(t, &s_seg_base);
    o->size = t->in->operand[0].size;
    o->d = o->a = t->in->operand[0].reg;
    o->disp = seg;
}

static bool h_pkru(CPUX86 *cpu, const IrOp *op)
{
    if (!(cpu->cr4 & CR4_PKE)) {
        x86_raise(cpu, EXC_UD);
    }
    if ((uint32_t)cpu->regs[R_RCX] || (op->disp && (uint32_t)cpu->regs[R_RDX])) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    if (op->disp) {
        cpu->pkru = (uint32_t)cpu->regs[R_RAX];
        mmu_flush(cpu);
    } else {
        cpu->regs[R_RAX] = cpu->pkru;
        cpu->regs[R_RDX] = 0;
    }
    return true;
}
HELPER(s_pkru, "pkru", h_pkru, HE_ANY);

static bool h_arpl(CPUX86 *cpu, const IrOp *op)
{
    uint64_t *d = ir_reg(cpu, op->d);
    unsigned want = (unsigned)arg_a(cpu, op) & 3;
    bool low = (*d & 3) < want;
    if (low) {
        *d = (*d & ~3ull) | want;
    }
    set_zf(cpu, low);
    return true;
}
HELPER(s_arpl, "arpl", h_arpl, HE_WFLAGS);

static void arpl(Translator *t)
{
    const Operand *dst = &t->in->operand[0];
    MemRef m = {0};
    unsigned d = dst->reg;
    if (dst->kind == OK_MEM) {
        m = tr_mem(t);
        d = IR_T0;
        tr_load(t, 2, d, &m, true);
    }
    IrOp *o = tr_call(t, &s_arpl);
    o->d = (uint8_t)d;
    o->a = t->in->operand[1].reg;
    if (dst->kind == OK_MEM) {
        tr_store(t, 2, d, &m);
    }
}

static void xlat(Translator *t)
{
    MemRef m = {.base = R_RBX, .index = IR_T0, .seg = t->in->seg_override};
    if (m.seg == INSN_NO_REG) {
        m.seg = SEG_DS;
    }
    DecodedInsn copy = *t->in;
    copy.base = R_RBX;
    copy.index = INSN_NO_REG;
    copy.seg = m.seg;
    copy.disp = 0;
    copy.rip_relative = false;
    const DecodedInsn *real = t->in;
    t->in = &copy;
    m = tr_mem(t);
    t->in = real;
    IrOp *o = tr_emit(t, IR_MOVZX, 1);
    o->d = IR_T0;
    o->a = R_RAX;
    m.index = IR_T0;
    m.scale = 0;
    tr_load(t, 1, IR_T1, &m, false);
    tr_mov(t, 1, R_RAX, IR_T1);
}

static IrOp *with_memory(Translator *t, const IrHelper *h)
{
    MemRef m = tr_mem(t);
    IrOp *o = tr_call(t, h);
    tr_set_mem(o, &m);
    return o;
}

static void monitor(Translator *t)
{
    IrOp *o = tr_call(t, &s_monitor);
    o->base = R_RAX;
    o->seg = t->in->seg_override == INSN_NO_REG ? SEG_DS : t->in->seg_override;
    o->flags = t->in->addrsize == 8 ? 0 : t->in->addrsize == 4 ? IRF_A32 : IRF_A16;
}

/* A helper that needs one operand in a register. */
static void call_with(Translator *t, const IrHelper *h, bool ends)
{
    unsigned a = tr_get(t, 0, IR_T0);
    tr_call(t, h)->a = (uint8_t)a;
    if (ends) {
        tr_exit_next(t);
    }
}

static void control_register(Translator *t)
{
    bool write = t->in->op == OP_MOV_TO_CR || t->in->op == OP_MOV_TO_DR;
    bool dr = t->in->op == OP_MOV_FROM_DR || t->in->op == OP_MOV_TO_DR;
    const Operand *special = &t->in->operand[write ? 0 : 1], *gpr = &t->in->operand[write ? 1 : 0];
    /* That a register does not exist comes before that it must not be asked for. */
    if (!dr && special->reg != 0 && (special->reg < 2 || special->reg > 4) && special->reg != 8) {
        tr_trap(t, EXC_UD);
        return;
    }
    IrOp *o = tr_call(t, write ? (dr ? &s_write_dr : &s_write_cr) : (dr ? &s_read_dr : &s_read_cr));
    o->disp = special->reg;
    o->size = gpr->size;
    o->d = o->a = gpr->reg;
    if (dr && special->reg > 7) {
        t->n--;
        tr_trap(t, EXC_UD);
    } else if (write) {
        tr_exit_next(t);
    }
}

/* Helpers without operands, and how the block goes on after them. */
enum { GO_ON, END_NEXT, END_EXIT, END_HALT };
typedef struct SimpleInsn {
    const IrHelper *helper;
    uint8_t after;
} SimpleInsn;

static const SimpleInsn simple_insns[OP_COUNT] = {
    [OP_INT3] = {&s_int3, END_EXIT},         [OP_INTO] = {&s_into, END_EXIT},
    [OP_ICEBP] = {&s_icebp, END_EXIT},       [OP_INT] = {&s_int, END_EXIT},
    [OP_IRET] = {&s_iret, END_EXIT},         [OP_RET_FAR] = {&s_ret_far, END_EXIT},
    [OP_SYSCALL] = {&s_syscall, END_EXIT},   [OP_SYSRET] = {&s_sysret, END_EXIT},
    [OP_SYSENTER] = {&s_sysenter, END_EXIT}, [OP_SYSEXIT] = {&s_sysexit, END_EXIT},
    [OP_RSM] = {&s_rsm, END_EXIT},           [OP_HLT] = {&s_hlt, END_HALT},
    [OP_MWAIT] = {&s_mwait, END_HALT},       [OP_CLI] = {&s_cli, GO_ON},
    [OP_STI] = {&s_sti, END_NEXT},           [OP_CLTS] = {&s_clts, END_NEXT},
    [OP_INVD] = {&s_wbinvd, GO_ON},          [OP_WBINVD] = {&s_wbinvd, GO_ON},
    [OP_RDMSR] = {&s_rdmsr, GO_ON},          [OP_WRMSR] = {&s_wrmsr, END_NEXT},
    [OP_RDTSC] = {&s_rdtsc, GO_ON},          [OP_RDTSCP] = {&s_rdtscp, GO_ON},
    [OP_RDPMC] = {&s_rdpmc, GO_ON},          [OP_CPUID] = {&s_cpuid, GO_ON},
    [OP_SWAPGS] = {&s_swapgs, GO_ON},        [OP_XGETBV] = {&s_xgetbv, GO_ON},
    [OP_XSETBV] = {&s_xsetbv, END_NEXT},     [OP_CLAC] = {&s_clac, END_NEXT},
    [OP_STAC] = {&s_stac, END_NEXT},         [OP_FENCE] = {&s_fence, GO_ON},
    [OP_PAUSE] = {&s_pause, GO_ON},          [OP_VMMCALL] = {&s_vmmcall, END_EXIT},
    [OP_VMCALL] = {&s_vmcall, END_EXIT},     [OP_STGI] = {&s_stgi, END_NEXT},
    [OP_CLGI] = {&s_clgi, END_NEXT},
};

static bool simple(Translator *t)
{
    const SimpleInsn *s = &simple_insns[t->in->op];
    if (!s->helper) {
        return false;
    }
    tr_call(t, s->helper)->disp = (int32_t)t->in->imm; /* INT, RETF: the only ones with one */
    switch (s->after) {
    case END_NEXT:
        tr_exit_next(t);
        break;
    case END_EXIT:
        tr_exit(t);
        break;
    case END_HALT:
        tr_exit(t);
        t->ops[t->n - 1].sub = 1;
        break;
    default:
        break;
    }
    return true;
}

static bool segments(Translator *t)
{
    switch (t->in->op) {
    case OP_PUSH_SEG:
        push_seg(t);
        return true;
    case OP_POP_SEG:
        pop_seg(t);
        return true;
    case OP_MOV_FROM_SEG:
    case OP_MOV_TO_SEG:
        mov_seg(t);
        return true;
    case OP_LFS:
        load_far(t);
        return true;
    case OP_JMP_FAR:
        branch_far(t, &s_jmp_far);
        return true;
    case OP_CALL_FAR:
        branch_far(t, &s_call_far);
        return true;
    case OP_ARPL:
        arpl(t);
        return true;
    case OP_SLDT:
    case OP_STR:
    case OP_SMSW:
        store_selector(t);
        return true;
    case OP_LAR:
    case OP_LSL:
        look_at_selector(t);
        return true;
    case OP_VERR:
        call_with(t, &s_verr, false);
        return true;
    case OP_VERW:
        call_with(t, &s_verw, false);
        return true;
    case OP_LLDT:
        call_with(t, &s_lldt, false);
        return true;
    case OP_LTR:
        call_with(t, &s_ltr, false);
        return true;
    case OP_SGDT:
    case OP_SIDT:
        table(t, &s_store_table, t->in->op == OP_SIDT);
        return true;
    case OP_LGDT:
    case OP_LIDT:
        table(t, &s_load_table, t->in->op == OP_LIDT);
        return true;
    default:
        return false;
    }
}

static bool memory_operand(Translator *t)
{
    IrOp *o;
    MemRef m;
    switch (t->in->op) {
    case OP_BOUND:
        with_memory(t, &int_bound)->a = t->in->operand[0].reg;
        return true;
    case OP_CMPXCHG8B:
        if (t->in->opsize == 8 && !cpu_has(t->cpu, FEAT_1_ECX, 1u << 13)) {
            tr_trap(t, EXC_UD);
            return true;
        }
        o = with_memory(t, &int_cmpxchg8);
        o->size = t->in->opsize == 8 ? 8 : 4;
        return true;
    case OP_INVLPG:
        (void)with_memory(t, &s_invlpg);
        tr_exit_next(t);
        return true;
    case OP_INVPCID:
        with_memory(t, &s_invpcid)->a = t->in->operand[0].reg;
        tr_exit_next(t);
        return true;
    case OP_CLFLUSH:
        m = tr_mem(t);
        tr_load(t, 1, IR_T0, &m, false);
        return true;
    case OP_XLAT:
        xlat(t);
        return true;
    case OP_MONITOR:
        monitor(t);
        return true;
    default:
        return false;
    }
}

/* Instructions that are refused before their operand is read. */
static bool refused(const Translator *t)
{
    switch (t->in->op) {
    case OP_LGDT:
    case OP_LIDT:
    case OP_LLDT:
    case OP_LTR:
    case OP_LMSW:
    case OP_INVLPG:
    case OP_INVPCID:
        return t->flags & HF_CPL_MASK;
    default:
        return false;
    }
}

/* Those of a hypervisor whose operand is RAX, of the address's size. */
static bool hypervisor(Translator *t)
{
    const IrHelper *h;
    switch (t->in->op) {
    case OP_VMRUN:
        h = &s_vmrun;
        break;
    case OP_VMLOAD:
        h = &s_vmload;
        break;
    case OP_VMSAVE:
        h = &s_vmsave;
        break;
    case OP_INVLPGA:
        h = &s_invlpga;
        break;
    default:
        return false;
    }
    tr_call(t, h)->size = t->in->addrsize;
    if (t->in->op == OP_VMRUN) {
        tr_exit(t);
    } else {
        tr_exit_next(t);
    }
    return true;
}

bool tr_system(Translator *t)
{
    IrOp *o;
    if (refused(t)) {
        tr_trap(t, EXC_GP);
        return true;
    }
    if (t->in->op == OP_PAUSE && (t->flags & HF_SVM_GUEST)) {
        (void)tr_call(t, &s_pause_guest);
        (void)tr_call(t, &s_pause);
        /*
         * Where the hypervisor's timer can interrupt: another virtual CPU of the guest may wait
         * for what this one gives and takes again within one block.
         */
        tr_exit_next(t);
        return true;
    }
    if (hypervisor(t)) {
        return true;
    }
    if (simple(t) || segments(t) || memory_operand(t)) {
        return true;
    }
    switch (t->in->op) {
    case OP_IN:
        port_io(t, &s_in, 0, 1);
        return true;
    case OP_OUT:
        port_io(t, &s_out, 1, 0);
        return true;
    case OP_LMSW:
        call_with(t, &s_lmsw, true);
        return true;
    case OP_MOV_FROM_CR:
    case OP_MOV_TO_CR:
    case OP_MOV_FROM_DR:
    case OP_MOV_TO_DR:
        control_register(t);
        return true;
    case OP_RDRAND:
    case OP_RDSEED:
        tr_call(t, &s_rdrand)->d = t->in->operand[0].reg;
        return true;
    case OP_RDPID:
        tr_call(t, &s_rdpid)->d = t->in->operand[0].reg;
        return true;
    case OP_RDFSBASE:
        seg_base(t, SEG_FS);
        return true;
    case OP_RDGSBASE:
        seg_base(t, SEG_GS);
        return true;
    case OP_WRFSBASE:
        seg_base(t, -SEG_FS);
        return true;
    case OP_WRGSBASE:
        seg_base(t, -SEG_GS);
        return true;
    case OP_RDPKRU:
    case OP_WRPKRU:
        o = tr_call(t, &s_pkru);
        o->disp = t->in->op == OP_WRPKRU;
        return true;
    default:
        return false;
    }
}
