/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changing worlds: VMRUN and #VMEXIT, VMLOAD and VMSAVE, the global interrupt flag. */
#include "target/i386/tcg/svm.h"

#include "accel/tcg/internal.h"
#include "target/i386/paging.h"
#include "target/i386/tcg/control.h"
#include "target/i386/tcg/desc.h"
#include "target/i386/tcg/pv.h"
#include "target/i386/tcg/svm-vmcb.h"
#include "util/log.h"

#include <inttypes.h>
#include <string.h>

static MemAttrs phys_attrs(void)
{
    return (MemAttrs){.requester = 0xffff};
}

static uint64_t get(const uint8_t *v, unsigned at)
{
    return ld_le64(v + at);
}

static void put(uint8_t *v, unsigned at, uint64_t x)
{
    st_le64(v + at, x);
}

static void get_segment(const uint8_t *p, Segment *s)
{
    s->selector = ld_le16(p);
    s->attr = ld_le16(p + 2) & 0xfff;
    s->limit = ld_le32(p + 4);
    s->base = ld_le64(p + 8);
    if (!(s->attr & SEG_P)) {
        s->attr |= SEG_UNUSABLE;
    }
}

static void put_segment(uint8_t *p, const Segment *s)
{
    uint16_t attr = s->attr & 0xfff;

    st_le16(p, s->selector);
    st_le16(p + 2, s->attr & SEG_UNUSABLE ? (uint16_t)(attr & ~SEG_P) : attr);
    st_le32(p + 4, s->limit);
    st_le64(p + 8, s->base);
}

static void get_table(const uint8_t *p, TableReg *t)
{
    t->limit = (uint16_t)ld_le32(p + 4);
    t->base = ld_le64(p + 8);
}

static void put_table(uint8_t *p, const TableReg *t)
{
    st_le32(p + 4, t->limit);
    st_le64(p + 8, t->base);
}

/* ---- who may ---- */

static void require_svm(CPUX86 *cpu)
{
    if (!(cpu->efer & EFER_SVME) || !(cpu->hflags & HF_PE) || in_vm86(cpu)) {
        x86_raise(cpu, EXC_UD);
    }
    if (cpu_cpl(cpu)) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
}

/* Where the guest may use VMLOAD and VMSAVE by itself, RAX is an address of its own. */
static hwaddr virtual_page(CPUX86 *cpu, hwaddr page)
{
    PageWalk w;

    if (!(cpu->hflags & HF_SVM_GUEST) || !cpu->svm.virtual_vmload) {
        return page;
    }
    if (!x86_nested_walk(cpu, page, PAGE_WRITE, &w)) {
        svm_exit(cpu, SVM_EXIT_NPF, w.nested_error, page);
    }
    return w.phys;
}

/*
 * What VMRUN, VMLOAD and VMSAVE begin with: may they be executed, by whom, and does RAX name a
 * page of physical memory? Reads that page.
 */
static hwaddr open_vmcb(CPUX86 *cpu, unsigned code, unsigned addrsize, uint8_t v[VMCB_SIZE])
{
    uint64_t a = cpu->regs[R_RAX];

    require_svm(cpu);
    svm_check(cpu, code);
    a = addrsize == 8 ? a : addrsize == 4 ? (uint32_t)a : (uint16_t)a;
    if ((a & 4095) || (cpu->config.phys_bits < 64 && a >> cpu->config.phys_bits)) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    if (code != SVM_EXIT_VMRUN) {
        a = virtual_page(cpu, a);
    }
    if (address_space_read(cpu->as, a, phys_attrs(), v, VMCB_SIZE) != MEM_OK) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    return a;
}

/* ---- VMRUN ---- */

static void save_host(CPUX86 *cpu, uint64_t next_rip)
{
    SvmState *s = &cpu->svm;

    memcpy(s->host_segs, cpu->segs, sizeof(s->host_segs));
    s->host_gdtr = cpu->gdtr;
    s->host_idtr = cpu->idtr;
    s->host_efer = cpu->efer;
    s->host_cr0 = cpu->cr0;
    s->host_cr3 = cpu->cr3;
    s->host_cr4 = cpu->cr4;
    s->host_rflags = cpu->rflags;
    s->host_rip = next_rip;
    s->host_rsp = cpu->regs[R_RSP];
    s->host_rax = cpu->regs[R_RAX];
    s->host_pat = cpu->pat;
}

static void load_controls(CPUX86 *cpu, const uint8_t *v, hwaddr vmcb)
{
    SvmState *s = &cpu->svm;

    s->vmcb = vmcb;
    s->intercept_cr = ld_le32(v + V_CR);
    s->intercept_dr = ld_le32(v + V_DR);
    s->intercept_exc = ld_le32(v + V_EXC);
    for (unsigned i = 0; i < 3; i++) {
        s->intercept[i] = ld_le32(v + V_MISC + i * 4);
    }
    s->iopm = get(v, V_IOPM) & ~0xfffull;
    s->msrpm = get(v, V_MSRPM) & ~0xfffull;
    s->tsc_offset = get(v, V_TSC_OFFSET);
    s->asid = ld_le32(v + V_ASID);
    s->int_ctl = get(v, V_INT_CTL);
    if (!cpu_has(cpu, FEAT_SVM, SVM_FEATURE_VGIF)) {
        s->int_ctl &= ~INT_CTL_VGIF_ENABLE;
    }
    s->nested_paging = (v[V_NP_CONTROL] & 1) && cpu_has(cpu, FEAT_SVM, SVM_FEATURE_NPT);
    s->nested_cr3 = get(v, V_NCR3);
    s->virtual_vmload = s->nested_paging && (get(v, V_VIRT_EXT) & VIRT_EXT_VMLOAD_VMSAVE) &&
                        cpu_has(cpu, FEAT_SVM, SVM_FEATURE_V_VMLOAD);
    s->pause_count = s->pause_left = s->pause_threshold = 0;
    if (cpu_has(cpu, FEAT_SVM, SVM_FEATURE_PAUSE_FILTER)) {
        s->pause_count = s->pause_left = ld_le16(v + V_PAUSE_COUNT);
    }
    if (cpu_has(cpu, FEAT_SVM, SVM_FEATURE_PAUSE_THRESHOLD)) {
        s->pause_threshold = ld_le16(v + V_PAUSE_THRESHOLD);
    }
}

static void load_guest(CPUX86 *cpu, const uint8_t *v)
{
    SvmState *s = &cpu->svm;

    get_segment(v + S_ES, &cpu->segs[SEG_ES]);
    get_segment(v + S_CS, &cpu->segs[SEG_CS]);
    get_segment(v + S_SS, &cpu->segs[SEG_SS]);
    get_segment(v + S_DS, &cpu->segs[SEG_DS]);
    get_table(v + S_GDTR, &cpu->gdtr);
    get_table(v + S_IDTR, &cpu->idtr);
    cpu->efer = get(v, S_EFER);
    cpu->cr0 = (get(v, S_CR0) | CR0_ET) & UINT32_MAX;
    cpu->cr2 = get(v, S_CR2);
    cpu->cr3 = get(v, S_CR3);
    cpu->cr4 = get(v, S_CR4);
    cpu->rflags = (get(v, S_RFLAGS) & 0x3f7fd5) | FLAG_ONE;
    /* Long mode is what it follows from, whatever EFER.LMA says; it has no virtual-8086 mode. */
    cpu->efer &= ~(uint64_t)EFER_LMA;
    if ((cpu->efer & EFER_LME) && (cpu->cr0 & CR0_PG)) {
        cpu->efer |= EFER_LMA;
        cpu->rflags &= ~(uint64_t)FLAG_VM;
    }
    cpu->rip = get(v, S_RIP);
    cpu->regs[R_RSP] = get(v, S_RSP);
    cpu->regs[R_RAX] = get(v, S_RAX);
    cpu->dr[7] = (get(v, S_DR7) & 0xffff27ff) | 0x400;
    cpu->dr[6] = (get(v, S_DR6) & 0xe00f) | 0xffff0ff0;
    /* The privilege level has a place of its own; here it is that of SS. */
    cpu->segs[SEG_SS].attr = (uint16_t)((cpu->segs[SEG_SS].attr & ~(3u << SEG_DPL_SHIFT)) |
                                        (v[S_CPL] & 3u) << SEG_DPL_SHIFT);
    if (s->nested_paging) {
        cpu->pat = get(v, S_PAT);
    }
    cpu->tsc_offset += (int64_t)s->tsc_offset;
    cpu->debug_pending = 0;
    cpu->hflags &= ~HF_INHIBIT;
    cpu->hflags |= v[V_INT_STATE] & 1 ? HF_INHIBIT : 0;
    cpu->hflags |= HF_SVM_GUEST;
    s->gif_clear = false;
    cpu_update_hflags(cpu);
}

/* Addresses in the control area, and what is to be injected. */
static bool controls_consistent(const CPUX86 *cpu, const uint8_t *v)
{
    const SvmState *s = &cpu->svm;
    uint64_t inj = get(v, V_EVENT_INJ), limit = 1ull << cpu->config.phys_bits;
    unsigned vector = inj & 0xff;

    if (!s->asid || !svm_wants(cpu, SVM_EXIT_VMRUN)) {
        return false;
    }
    if ((svm_wants(cpu, SVM_EXIT_MSR) && s->msrpm + MSRPM_SIZE > limit) ||
        (svm_wants(cpu, SVM_EXIT_IOIO) && s->iopm + IOPM_SIZE > limit) ||
        (s->nested_paging && (s->nested_cr3 >= limit || !x86_pat_valid(get(v, S_PAT))))) {
        return false;
    }
    if (!(inj & EVENT_VALID)) {
        return true;
    }
    switch (EVENT_TYPE(inj)) {
    case EVENT_TYPE_EXCEPTION:
        return vector < 32 && vector != EXC_NMI;
    case EVENT_TYPE_INTR:
    case EVENT_TYPE_NMI:
    case EVENT_TYPE_SOFT:
        return true;
    default:
        return false;
    }
}

/* APM vol. 2, "Canonicalization and Consistency Checks". */
static bool consistent(const CPUX86 *cpu, const uint8_t *v)
{
    uint64_t cr0 = get(v, S_CR0), cr4 = get(v, S_CR4), efer = get(v, S_EFER), cr3 = get(v, S_CR3);
    uint16_t cs = ld_le16(v + S_CS + 2);
    bool long_paging = (efer & EFER_LME) && (cr0 & CR0_PG);

    if (!(efer & EFER_SVME) || (efer & ~x86_efer_known(cpu)) || (cr4 & ~x86_cr4_known(cpu)) ||
        cr0 >> 32 || (!(cr0 & CR0_CD) && (cr0 & CR0_NW)) || get(v, S_DR6) >> 32 ||
        get(v, S_DR7) >> 32) {
        return false;
    }
    if (long_paging && (!(cr4 & CR4_PAE) || !(cr0 & CR0_PE) || ((cs & SEG_L) && (cs & SEG_DB)) ||
                        cr3 >> cpu->config.phys_bits)) {
        return false;
    }
    return controls_consistent(cpu, v);
}

static void flush_as_told(CPUX86 *cpu, uint8_t control)
{
    switch (control & 7) {
    case 0:
        break;
    case TLB_FLUSH_ASID:
        mmu_flush_asid(cpu, cpu->svm.asid, true);
        break;
    case TLB_FLUSH_ASID_LOCAL:
        mmu_flush_asid(cpu, cpu->svm.asid, false);
        break;
    default:
        mmu_flush(cpu);
        break;
    }
}

void helper_vmrun(CPUX86 *cpu, unsigned addrsize, uint64_t next_rip)
{
    uint8_t v[VMCB_SIZE];
    hwaddr page = open_vmcb(cpu, SVM_EXIT_VMRUN, addrsize, v);

    save_host(cpu, next_rip);
    load_controls(cpu, v, page);
    cpu->svm.delivering = cpu->svm.inject = 0;
    cpu->svm.next_rip = 0;
    if (!consistent(cpu, v)) {
        LOG(LOG_INT, "cpu %u: VMRUN of an invalid state\n", cpu->index);
        cpu->svm.tsc_offset = 0;
        cpu->hflags |= HF_SVM_GUEST; /* the way out is the same; the guest's state is the host's */
        svm_exit(cpu, SVM_EXIT_INVALID, 0, 0);
    }
    load_guest(cpu, v);
    LOG(LOG_INT, "cpu %u: VMRUN %09" PRIx64 ", ip %016" PRIx64 "\n", cpu->index, page, cpu->rip);
    mmu_context_changed(cpu);
    flush_as_told(cpu, v[V_TLB_CONTROL]);
    svm_update_virtual(cpu);
    if ((cpu->cr0 & CR0_PG) && (cpu->cr4 & CR4_PAE) && !(cpu->efer & EFER_LMA) &&
        !cpu->svm.nested_paging && !x86_load_pdptes(cpu, cpu->cr3)) {
        svm_exit(cpu, SVM_EXIT_INVALID, 0, 0);
    }
    if (get(v, V_EVENT_INJ) & EVENT_VALID) {
        cpu->svm.inject = get(v, V_EVENT_INJ);
        cpu->svm.next_rip = get(v, V_NRIP);
        cpu->exception_vector = SVM_INJECT;
        siglongjmp(*cpu->unwind, 1);
    }
}

bool svm_inject(CPUX86 *cpu)
{
    SvmState *s = &cpu->svm;
    uint64_t e = s->inject;
    int vector = (int)(e & 0xff);
    uint64_t rip = cpu->rip;
    EventKind kind = EVENT_EXTERNAL;
    bool instruction = false; /* INT n, INT3, INTO: the guest goes on after it */

    switch (EVENT_TYPE(e)) {
    case EVENT_TYPE_NMI:
        vector = EXC_NMI;
        break;
    case EVENT_TYPE_EXCEPTION:
        kind = EVENT_EXCEPTION;
        instruction = vector == EXC_BP || vector == EXC_OF;
        break;
    case EVENT_TYPE_SOFT:
        kind = EVENT_SOFT_INT;
        instruction = true;
        break;
    default:
        break;
    }
    cpu->exception_vector = -1;
    if (instruction && s->next_rip && cpu_has(cpu, FEAT_SVM, SVM_FEATURE_NRIPS)) {
        rip = s->next_rip;
    }
    s->next_rip = 0;
    /* Not subject to intercepts, but what goes wrong with it is. */
    return x86_deliver(cpu, kind, vector, e & EVENT_ERROR, (uint32_t)(e >> 32), rip);
}

/* ---- #VMEXIT ---- */

static void save_guest(const CPUX86 *cpu, uint8_t *v)
{
    const SvmState *s = &cpu->svm;

    put_segment(v + S_ES, &cpu->segs[SEG_ES]);
    put_segment(v + S_CS, &cpu->segs[SEG_CS]);
    put_segment(v + S_SS, &cpu->segs[SEG_SS]);
    put_segment(v + S_DS, &cpu->segs[SEG_DS]);
    put_table(v + S_GDTR, &cpu->gdtr);
    put_table(v + S_IDTR, &cpu->idtr);
    put(v, S_EFER, cpu->efer);
    put(v, S_CR0, cpu->cr0);
    put(v, S_CR2, cpu->cr2);
    put(v, S_CR3, cpu->cr3);
    put(v, S_CR4, cpu->cr4);
    put(v, S_RFLAGS, cpu->rflags);
    put(v, S_RIP, cpu->rip);
    put(v, S_RSP, cpu->regs[R_RSP]);
    put(v, S_RAX, cpu->regs[R_RAX]);
    put(v, S_DR7, cpu->dr[7]);
    put(v, S_DR6, cpu->dr[6]);
    v[S_CPL] = (uint8_t)cpu_cpl(cpu);
    if (s->nested_paging) {
        put(v, S_PAT, cpu->pat);
    }
    v[V_INT_STATE] = (uint8_t)((v[V_INT_STATE] & ~1u) | (cpu->hflags & HF_INHIBIT ? 1 : 0));
}

/* With decode assists, the code at the guest's RIP, so that the hypervisor need not walk to it. */
static void save_code(CPUX86 *cpu, uint8_t *v)
{
    unsigned n = 0;

    v[V_INSN_LEN] = 0;
    if (!cpu_has(cpu, FEAT_SVM, SVM_FEATURE_DECODE) ||
        (cpu->svm.exit_code != SVM_EXIT_NPF && cpu->svm.exit_code != SVM_EXIT_EXCP_BASE + EXC_PF)) {
        return;
    }
    while (n < 15 && cpu_debug_rw(cpu, cpu->segs[SEG_CS].base + cpu->rip + n, &v[V_INSN_BYTES + n],
                                  1, false)) {
        n++;
    }
    v[V_INSN_LEN] = (uint8_t)n;
}

static void save_exit(CPUX86 *cpu, uint8_t *v)
{
    const SvmState *s = &cpu->svm;

    put(v, V_EXIT_CODE, s->exit_code);
    put(v, V_EXIT_INFO1, s->exit_info1);
    put(v, V_EXIT_INFO2, s->exit_info2);
    put(v, V_EXIT_INT_INFO, s->delivering);
    put(v, V_INT_CTL, (get(v, V_INT_CTL) & ~INT_CTL_WRITTEN) | (s->int_ctl & INT_CTL_WRITTEN));
    put(v, V_EVENT_INJ, get(v, V_EVENT_INJ) & ~EVENT_VALID);
    if (cpu_has(cpu, FEAT_SVM, SVM_FEATURE_NRIPS)) {
        put(v, V_NRIP, s->next_rip);
    }
    save_code(cpu, v);
}

static void load_host(CPUX86 *cpu)
{
    SvmState *s = &cpu->svm;

    cpu->hflags &= ~(HF_SVM_GUEST | HF_INHIBIT);
    memcpy(cpu->segs, s->host_segs, sizeof(s->host_segs));
    cpu->gdtr = s->host_gdtr;
    cpu->idtr = s->host_idtr;
    cpu->efer = s->host_efer;
    cpu->cr0 = s->host_cr0 | CR0_PE;
    cpu->cr3 = s->host_cr3;
    cpu->cr4 = s->host_cr4;
    cpu->rflags = s->host_rflags & ~(uint64_t)FLAG_VM;
    cpu->rip = s->host_rip;
    cpu->regs[R_RSP] = s->host_rsp;
    cpu->regs[R_RAX] = s->host_rax;
    cpu->dr[7] = 0x400;
    cpu->tsc_offset -= (int64_t)s->tsc_offset;
    if (s->nested_paging) {
        cpu->pat = s->host_pat;
    }
    cpu->debug_pending = 0;
    cpu->halted = false;
    s->gif_clear = true;
    s->delivering = s->inject = s->next_rip = 0;
    cpu->exception_vector = -1;
    cpu_update_hflags(cpu);
    cpu_interrupt_clear(cpu, IRQ_VIRT);
    mmu_context_changed(cpu);
    if ((cpu->cr0 & CR0_PG) && (cpu->cr4 & CR4_PAE) && !(cpu->efer & EFER_LMA)) {
        x86_load_pdptes(cpu, cpu->cr3);
    }
}

/* Exits of instructions say where the next one is; others leave the field 0. */
static bool is_instruction(uint64_t code)
{
    if (code == SVM_EXIT_EXCP_BASE + EXC_BP || code == SVM_EXIT_EXCP_BASE + EXC_OF ||
        code == SVM_EXIT_EXCP_BASE + EXC_BR) {
        return true;
    }
    return code < SVM_EXIT_EXCP_BASE || (code >= SVM_EXIT_CR0_SEL_WRITE && code < SVM_EXIT_NPF &&
                                         code != SVM_EXIT_SHUTDOWN && code != SVM_EXIT_TASK_SWITCH);
}

void svm_leave_guest(CPUX86 *cpu)
{
    SvmState *s = &cpu->svm;
    uint8_t v[VMCB_SIZE];

    LOG(LOG_INT,
        "cpu %u: VMEXIT %" PRIx64 " info %016" PRIx64 " %016" PRIx64 ", ip %016" PRIx64 "\n",
        cpu->index, s->exit_code, s->exit_info1, s->exit_info2, cpu->rip);
    if (!is_instruction(s->exit_code)) {
        s->next_rip = 0;
    }
    if (address_space_read(cpu->as, s->vmcb, phys_attrs(), v, sizeof(v)) == MEM_OK) {
        if (s->exit_code != SVM_EXIT_INVALID) {
            save_guest(cpu, v);
        }
        save_exit(cpu, v);
        address_space_write(cpu->as, s->vmcb, phys_attrs(), v, sizeof(v));
    }
    load_host(cpu);
}

/* ---- VMLOAD, VMSAVE: what VMRUN and #VMEXIT leave alone ---- */

typedef struct ExtraState {
    uint16_t at;    /* in the VMCB */
    uint16_t field; /* in the CPU */
} ExtraState;

static const ExtraState extra_segments[] = {{S_FS, offsetof(CPUX86, segs[SEG_FS])},
                                            {S_GS, offsetof(CPUX86, segs[SEG_GS])},
                                            {S_LDTR, offsetof(CPUX86, ldtr)},
                                            {S_TR, offsetof(CPUX86, tr)}};
static const ExtraState extra_registers[] = {
    {S_KERNEL_GS, offsetof(CPUX86, kernel_gs_base)},
    {S_STAR, offsetof(CPUX86, star)},
    {S_LSTAR, offsetof(CPUX86, lstar)},
    {S_CSTAR, offsetof(CPUX86, cstar)},
    {S_SFMASK, offsetof(CPUX86, sfmask)},
    {S_SYSENTER_CS, offsetof(CPUX86, sysenter_cs)},
    {S_SYSENTER_ESP, offsetof(CPUX86, sysenter_esp)},
    {S_SYSENTER_EIP, offsetof(CPUX86, sysenter_eip)},
};
#define EXTRA_FIELD(type, cpu, e) ((type *)(void *)((uint8_t *)(cpu) + (e)->field))

void helper_vmload(CPUX86 *cpu, unsigned addrsize)
{
    uint8_t v[VMCB_SIZE];

    (void)open_vmcb(cpu, SVM_EXIT_VMLOAD, addrsize, v);
    for (unsigned i = 0; i < ARRAY_LEN(extra_segments); i++) {
        const ExtraState *e = &extra_segments[i];
        get_segment(v + e->at, EXTRA_FIELD(Segment, cpu, e));
    }
    for (unsigned i = 0; i < ARRAY_LEN(extra_registers); i++) {
        const ExtraState *e = &extra_registers[i];
        *EXTRA_FIELD(uint64_t, cpu, e) = get(v, e->at);
    }
}

void helper_vmsave(CPUX86 *cpu, unsigned addrsize)
{
    uint8_t v[VMCB_SIZE];
    hwaddr page = open_vmcb(cpu, SVM_EXIT_VMSAVE, addrsize, v);

    for (unsigned i = 0; i < ARRAY_LEN(extra_segments); i++) {
        const ExtraState *e = &extra_segments[i];
        put_segment(v + e->at, EXTRA_FIELD(Segment, cpu, e));
    }
    for (unsigned i = 0; i < ARRAY_LEN(extra_registers); i++) {
        const ExtraState *e = &extra_registers[i];
        put(v, e->at, *EXTRA_FIELD(uint64_t, cpu, e));
    }
    address_space_write(cpu->as, page + S_FS, phys_attrs(), v + S_FS, S_CR2 - S_FS);
}

/* ---- the others ---- */

/*
 * KVM's hypercalls, with both vendors' instructions. In a guest of the guest's they are none: its
 * hypervisor intercepts VMMCALL, and sees VMCALL as an invalid opcode.
 */
void helper_vmmcall(CPUX86 *cpu, bool intel, uint64_t next_rip)
{
    if (!intel && cpu_has(cpu, FEAT_80000001_ECX, 1u << 2)) {
        svm_check(cpu, SVM_EXIT_VMMCALL);
    }
    if (!cpu->config.kvm || (cpu->hflags & HF_SVM_GUEST)) {
        x86_raise(cpu, EXC_UD);
    }
    pv_hypercall(cpu);
    cpu->rip = next_rip;
}

static void set_gif(CPUX86 *cpu, bool on)
{
    SvmState *s = &cpu->svm;

    if ((cpu->hflags & HF_SVM_GUEST) && (s->int_ctl & INT_CTL_VGIF_ENABLE)) {
        s->int_ctl = on ? s->int_ctl | INT_CTL_VGIF : s->int_ctl & ~INT_CTL_VGIF;
        svm_update_virtual(cpu);
    } else {
        s->gif_clear = !on;
    }
}

void helper_stgi(CPUX86 *cpu)
{
    require_svm(cpu);
    svm_check(cpu, SVM_EXIT_STGI);
    set_gif(cpu, true);
}

void helper_clgi(CPUX86 *cpu)
{
    require_svm(cpu);
    svm_check(cpu, SVM_EXIT_CLGI);
    set_gif(cpu, false);
}

void helper_invlpga(CPUX86 *cpu, unsigned addrsize)
{
    uint64_t a = cpu->regs[R_RAX];
    uint32_t asid = (uint32_t)cpu->regs[R_RCX];

    a = addrsize == 8 ? a : (uint32_t)a;
    require_svm(cpu);
    if ((cpu->hflags & HF_SVM_GUEST) && svm_wants(cpu, SVM_EXIT_INVLPGA)) {
        svm_exit(cpu, SVM_EXIT_INVLPGA, a, 0);
    }
    if (asid == tcg_asid(cpu)) {
        mmu_flush_page(cpu, a);
    } else {
        mmu_flush_asid(cpu, asid, true);
    }
}

void svm_enter_smm(CPUX86 *cpu)
{
    cpu->svm.smm_guest = cpu->hflags & HF_SVM_GUEST;
    cpu->hflags &= ~HF_SVM_GUEST;
}

void svm_leave_smm(CPUX86 *cpu)
{
    if (cpu->svm.smm_guest) {
        cpu->svm.smm_guest = false;
        cpu->hflags |= HF_SVM_GUEST;
        svm_update_virtual(cpu);
    }
}
