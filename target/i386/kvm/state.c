/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CPUX86 and the kernel's state of a vCPU: registers, control registers, events,
 * debug registers, activity, local APIC.
 */
#include "accel/kvm/kvm.h"
#include "event/clock.h"
#include "util/log.h"

#include <errno.h>
#include <string.h>

static bool failed(KvmCpu *kc, const char *what, int err, Error **errp)
{
    error_set_errno(errp, -err, "the kernel refuses %s of CPU %u", what, kc->vcpu->cpu.index);
    return false;
}

/* ---- general registers ---- */

static bool get_regs(KvmCpu *kc, Error **errp)
{
    CPUX86 *cpu = &kc->vcpu->cpu;
    struct kvm_regs r;
    int ret = kvm_ioctl(kc->fd, KVM_GET_REGS, &r);

    if (ret < 0) {
        return failed(kc, "the registers", ret, errp);
    }
    memcpy(cpu->regs,
           (const uint64_t[16]){r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi, r.r8, r.r9,
                                r.r10, r.r11, r.r12, r.r13, r.r14, r.r15},
           sizeof(cpu->regs));
    cpu->rip = r.rip;
    cpu->rflags = r.rflags;
    return true;
}

static bool put_regs(KvmCpu *kc, Error **errp)
{
    const CPUX86 *cpu = &kc->vcpu->cpu;
    const uint64_t *g = cpu->regs;
    struct kvm_regs r = {
        .rax = g[R_RAX],
        .rbx = g[R_RBX],
        .rcx = g[R_RCX],
        .rdx = g[R_RDX],
        .rsi = g[R_RSI],
        .rdi = g[R_RDI],
        .rsp = g[R_RSP],
        .rbp = g[R_RBP],
        .r8 = g[R_R8],
        .r9 = g[R_R9],
        .r10 = g[R_R10],
        .r11 = g[R_R11],
        .r12 = g[R_R12],
        .r13 = g[R_R13],
        .r14 = g[R_R14],
        .r15 = g[R_R15],
        .rip = cpu->rip,
        .rflags = cpu->rflags,
    };
    int ret = kvm_ioctl(kc->fd, KVM_SET_REGS, &r);

    return ret >= 0 || failed(kc, "the registers", ret, errp);
}

/* ---- segments and control registers ---- */

static Segment segment_in(const struct kvm_segment *k)
{
    return (Segment){
        .selector = k->selector,
        .base = k->base,
        .limit = k->limit,
        .attr = (uint16_t)((k->type & 15) | (k->s ? SEG_S : 0) | (k->dpl & 3) << SEG_DPL_SHIFT |
                           (k->present ? SEG_P : 0) | (k->avl ? 1u << 8 : 0) | (k->l ? SEG_L : 0) |
                           (k->db ? SEG_DB : 0) | (k->g ? SEG_G : 0) |
                           (k->unusable ? SEG_UNUSABLE : 0)),
    };
}

static struct kvm_segment segment_out(const Segment *s)
{
    uint16_t a = s->attr;

    return (struct kvm_segment){
        .selector = s->selector,
        .base = s->base,
        .limit = s->limit,
        .type = a & 15,
        .s = !!(a & SEG_S),
        .dpl = a >> SEG_DPL_SHIFT & 3,
        .present = !!(a & SEG_P),
        .avl = a >> 8 & 1,
        .l = !!(a & SEG_L),
        .db = !!(a & SEG_DB),
        .g = !!(a & SEG_G),
        .unusable = (a & SEG_UNUSABLE) || !(a & SEG_P),
    };
}

/* kvm_sregs and kvm_sregs2 begin alike. */
#define COPY_SREGS_IN(cpu, s)                                                   \
    do {                                                                        \
        (cpu)->segs[SEG_ES] = segment_in(&(s).es);                              \
        (cpu)->segs[SEG_CS] = segment_in(&(s).cs);                              \
        (cpu)->segs[SEG_SS] = segment_in(&(s).ss);                              \
        (cpu)->segs[SEG_DS] = segment_in(&(s).ds);                              \
        (cpu)->segs[SEG_FS] = segment_in(&(s).fs);                              \
        (cpu)->segs[SEG_GS] = segment_in(&(s).gs);                              \
        (cpu)->tr = segment_in(&(s).tr);                                        \
        (cpu)->ldtr = segment_in(&(s).ldt);                                     \
        (cpu)->gdtr = (TableReg){.base = (s).gdt.base, .limit = (s).gdt.limit}; \
        (cpu)->idtr = (TableReg){.base = (s).idt.base, .limit = (s).idt.limit}; \
        (cpu)->cr0 = (s).cr0;                                                   \
        (cpu)->cr2 = (s).cr2;                                                   \
        (cpu)->cr3 = (s).cr3;                                                   \
        (cpu)->cr4 = (s).cr4;                                                   \
        (cpu)->efer = (s).efer;                                                 \
    } while (0)
#define COPY_SREGS_OUT(cpu, s)                                      \
    do {                                                            \
        (s).es = segment_out(&(cpu)->segs[SEG_ES]);                 \
        (s).cs = segment_out(&(cpu)->segs[SEG_CS]);                 \
        (s).ss = segment_out(&(cpu)->segs[SEG_SS]);                 \
        (s).ds = segment_out(&(cpu)->segs[SEG_DS]);                 \
        (s).fs = segment_out(&(cpu)->segs[SEG_FS]);                 \
        (s).gs = segment_out(&(cpu)->segs[SEG_GS]);                 \
        (s).tr = segment_out(&(cpu)->tr);                           \
        (s).ldt = segment_out(&(cpu)->ldtr);                        \
        (s).gdt.base = (cpu)->gdtr.base;                            \
        (s).gdt.limit = (cpu)->gdtr.limit;                          \
        (s).idt.base = (cpu)->idtr.base;                            \
        (s).idt.limit = (cpu)->idtr.limit;                          \
        (s).cr0 = (cpu)->cr0;                                       \
        (s).cr2 = (cpu)->cr2;                                       \
        (s).cr3 = (cpu)->cr3;                                       \
        (s).cr4 = (cpu)->cr4;                                       \
        (s).efer = (cpu)->efer;                                     \
        if ((cpu)->apic_ops) {                                      \
            (s).cr8 = (cpu)->apic_ops->get_tpr((cpu)->apic) >> 4;   \
            (s).apic_base = (cpu)->apic_ops->get_base((cpu)->apic); \
        }                                                           \
    } while (0)

static bool get_sregs(KvmCpu *kc, uint64_t *apic_base, Error **errp)
{
    CPUX86 *cpu = &kc->vcpu->cpu;
    int ret;

    if (kc->kvm->sregs2) {
        struct kvm_sregs2 s;

        ret = kvm_ioctl(kc->fd, KVM_GET_SREGS2, &s);
        if (ret >= 0) {
            COPY_SREGS_IN(cpu, s);
            *apic_base = s.apic_base;
            if (s.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID) {
                memcpy(cpu->pdpte, s.pdptrs, sizeof(cpu->pdpte));
            }
        }
    } else {
        struct kvm_sregs s;

        ret = kvm_ioctl(kc->fd, KVM_GET_SREGS, &s);
        if (ret >= 0) {
            COPY_SREGS_IN(cpu, s);
            *apic_base = s.apic_base;
        }
    }
    return ret >= 0 || failed(kc, "the control registers", ret, errp);
}

static bool pae_paging(const CPUX86 *cpu)
{
    return (cpu->cr0 & CR0_PG) && (cpu->cr4 & CR4_PAE) && !(cpu->efer & EFER_LMA);
}

static bool put_sregs(KvmCpu *kc, Error **errp)
{
    const CPUX86 *cpu = &kc->vcpu->cpu;
    int ret;

    if (kc->kvm->sregs2) {
        struct kvm_sregs2 s = {0};

        COPY_SREGS_OUT(cpu, s);
        if (pae_paging(cpu)) {
            s.flags |= KVM_SREGS2_FLAGS_PDPTRS_VALID;
            memcpy(s.pdptrs, cpu->pdpte, sizeof(cpu->pdpte));
        }
        ret = kvm_ioctl(kc->fd, KVM_SET_SREGS2, &s);
    } else {
        struct kvm_sregs s = {0};

        COPY_SREGS_OUT(cpu, s);
        ret = kvm_ioctl(kc->fd, KVM_SET_SREGS, &s);
    }
    return ret >= 0 || failed(kc, "the control registers", ret, errp);
}

/* ---- XCR0, debug registers ---- */

static bool get_xcrs(KvmCpu *kc, Error **errp)
{
    CPUX86 *cpu = &kc->vcpu->cpu;
    struct kvm_xcrs x;
    int ret = kvm_ioctl(kc->fd, KVM_GET_XCRS, &x);

    for (uint32_t i = 0; ret >= 0 && i < x.nr_xcrs && i < ARRAY_LEN(x.xcrs); i++) {
        if (x.xcrs[i].xcr == 0) {
            cpu->xcr0 = x.xcrs[i].value;
        }
    }
    return ret >= 0 || failed(kc, "XCR0", ret, errp);
}

static bool put_xcrs(KvmCpu *kc, Error **errp)
{
    CPUX86 *cpu = &kc->vcpu->cpu;
    struct kvm_xcrs x = {.nr_xcrs = 1};
    int ret;

    if (!cpu_xcr0_supported(cpu)) {
        return true;
    }
    x.xcrs[0].value = cpu->xcr0 ? cpu->xcr0 : 1;
    ret = kvm_ioctl(kc->fd, KVM_SET_XCRS, &x);
    return ret >= 0 || failed(kc, "XCR0", ret, errp);
}

static bool get_debugregs(KvmCpu *kc, Error **errp)
{
    CPUX86 *cpu = &kc->vcpu->cpu;
    struct kvm_debugregs d;
    int ret = kvm_ioctl(kc->fd, KVM_GET_DEBUGREGS, &d);

    if (ret >= 0) {
        memcpy(cpu->dr, d.db, sizeof(d.db));
        cpu->dr[6] = d.dr6;
        cpu->dr[7] = d.dr7;
    }
    return ret >= 0 || failed(kc, "the debug registers", ret, errp);
}

static bool put_debugregs(KvmCpu *kc, Error **errp)
{
    const CPUX86 *cpu = &kc->vcpu->cpu;
    struct kvm_debugregs d = {.dr6 = cpu->dr[6], .dr7 = cpu->dr[7]};
    int ret;

    memcpy(d.db, cpu->dr, sizeof(d.db));
    ret = kvm_ioctl(kc->fd, KVM_SET_DEBUGREGS, &d);
    return ret >= 0 || failed(kc, "the debug registers", ret, errp);
}

/* ---- events ---- */

static bool get_events(KvmCpu *kc, Error **errp)
{
    CPUX86 *cpu = &kc->vcpu->cpu;
    struct kvm_vcpu_events e = {0};
    int ret = kvm_ioctl(kc->fd, KVM_GET_VCPU_EVENTS, &e);

    if (ret < 0) {
        return failed(kc, "the pending events", ret, errp);
    }
    cpu->exception_vector = e.exception.injected || e.exception.pending ? e.exception.nr : -1;
    cpu->exception_has_error = e.exception.has_error_code;
    cpu->exception_error = e.exception.error_code;
    cpu->injected_vector = e.interrupt.injected ? e.interrupt.nr : -1;
    cpu->injected_soft = e.interrupt.soft;
    cpu->injected_nmi = e.nmi.injected;
    cpu->nmi_masked = e.nmi.masked;
    if (e.nmi.pending) {
        cpu_interrupt(cpu, IRQ_NMI);
        kc->dirty = true; /* it is ours now */
    }
    cpu->hflags &= ~HF_INHIBIT;
    if ((e.flags & KVM_VCPUEVENT_VALID_SHADOW) && e.interrupt.shadow) {
        cpu->hflags |= HF_INHIBIT;
    }
    if (e.flags & KVM_VCPUEVENT_VALID_SMM) {
        cpu->smm = e.smi.smm;
    }
    if (kvm_kernel_apic(kc->kvm)) { /* else it is ours */
        cpu->sipi_vector = (uint8_t)e.sipi_vector;
    }
    return true;
}

static bool put_events(KvmCpu *kc, Error **errp)
{
    CPUX86 *cpu = &kc->vcpu->cpu;
    struct kvm_vcpu_events e = {.flags = KVM_VCPUEVENT_VALID_NMI_PENDING};
    int ret;

    if (cpu->exception_vector >= 0) {
        e.exception.injected = 1;
        e.exception.nr = (uint8_t)cpu->exception_vector;
        e.exception.has_error_code = cpu->exception_has_error;
        e.exception.error_code = cpu->exception_error;
        cpu->exception_vector = -1;
    }
    if (cpu->injected_vector >= 0) {
        e.interrupt.injected = 1;
        e.interrupt.nr = (uint8_t)cpu->injected_vector;
        e.interrupt.soft = cpu->injected_soft;
    }
    e.nmi.injected = cpu->injected_nmi;
    e.nmi.masked = cpu->nmi_masked;
    if (kc->kvm->intr_shadow) {
        e.flags |= KVM_VCPUEVENT_VALID_SHADOW;
        e.interrupt.shadow = cpu->hflags & HF_INHIBIT ? KVM_X86_SHADOW_INT_STI : 0;
    }
    if (kc->kvm->smm) {
        e.flags |= KVM_VCPUEVENT_VALID_SMM;
        e.smi.smm = cpu->smm;
        e.smi.smm_inside_nmi = cpu->smm && cpu->nmi_masked;
    }
    ret = kvm_ioctl(kc->fd, KVM_SET_VCPU_EVENTS, &e);
    return ret >= 0 || failed(kc, "the pending events", ret, errp);
}

/* ---- activity and local APIC ---- */

static bool get_activity(KvmCpu *kc, Error **errp)
{
    CPUX86 *cpu = &kc->vcpu->cpu;
    struct kvm_mp_state m;
    int ret;

    if (!kvm_kernel_apic(kc->kvm)) {
        return true; /* halts are ours */
    }
    ret = kvm_ioctl(kc->fd, KVM_GET_MP_STATE, &m);
    if (ret < 0) {
        return failed(kc, "the activity", ret, errp);
    }
    cpu->wait_for_sipi =
        m.mp_state == KVM_MP_STATE_UNINITIALIZED || m.mp_state == KVM_MP_STATE_INIT_RECEIVED;
    cpu->halted = cpu->wait_for_sipi || m.mp_state == KVM_MP_STATE_HALTED;
    return true;
}

static bool put_activity(KvmCpu *kc, Error **errp)
{
    const CPUX86 *cpu = &kc->vcpu->cpu;
    struct kvm_mp_state m = {.mp_state = KVM_MP_STATE_RUNNABLE};
    int ret;

    if (kvm_kernel_apic(kc->kvm)) {
        m.mp_state = cpu->wait_for_sipi ? KVM_MP_STATE_UNINITIALIZED
                     : cpu->halted      ? KVM_MP_STATE_HALTED
                                        : KVM_MP_STATE_RUNNABLE;
    }
    ret = kvm_ioctl(kc->fd, KVM_SET_MP_STATE, &m);
    return ret >= 0 || failed(kc, "the activity", ret, errp);
}

#define MSR_TSC_DEADLINE 0x6e0u

static bool get_apic(KvmCpu *kc, uint64_t base, Error **errp)
{
    CPUX86 *cpu = &kc->vcpu->cpu;
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry e[1];
    } m = {.head = {.nmsrs = 1}, .e = {{.index = MSR_TSC_DEADLINE}}};
    struct kvm_lapic_state l;
    ApicPage page = {.base = base};
    int ret;

    if (!kvm_kernel_apic(kc->kvm) || !cpu->apic_ops) {
        return true;
    }
    ret = kvm_ioctl(kc->fd, KVM_GET_LAPIC, &l);
    if (ret < 0) {
        return failed(kc, "the local APIC", ret, errp);
    }
    memcpy(page.regs, l.regs, sizeof(page.regs));
    if (kvm_ioctl(kc->fd, KVM_GET_MSRS, &m) == 1) {
        page.tsc_deadline = m.e[0].data;
    }
    cpu->apic_ops->set_page(cpu->apic, &page);
    return true;
}

static bool put_apic(KvmCpu *kc, Error **errp)
{
    const CPUX86 *cpu = &kc->vcpu->cpu;
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry e[1];
    } m = {.head = {.nmsrs = 1}, .e = {{.index = MSR_TSC_DEADLINE}}};
    struct kvm_lapic_state l;
    ApicPage page;
    int ret;

    if (!kvm_kernel_apic(kc->kvm) || !cpu->apic_ops) {
        return true;
    }
    cpu->apic_ops->get_page(cpu->apic, &page);
    memcpy(l.regs, page.regs, sizeof(l.regs));
    ret = kvm_ioctl(kc->fd, KVM_SET_LAPIC, &l);
    if (ret < 0) {
        return failed(kc, "the local APIC", ret, errp);
    }
    m.e[0].data = page.tsc_deadline;
    if (page.tsc_deadline) {
        kvm_ioctl(kc->fd, KVM_SET_MSRS, &m);
    }
    return true;
}

/* ---- all of it ---- */

bool kvm_get_state(KvmCpu *kc, Error **errp)
{
    uint64_t base = 0;

    if (kc->dirty || kc->synced || !kc->started) {
        return true;
    }
    if (!get_events(kc, errp) || !get_activity(kc, errp) || !get_regs(kc, errp) ||
        !get_sregs(kc, &base, errp) || !get_xcrs(kc, errp) || !kvm_get_xsave(kc, errp) ||
        !kvm_get_msrs(kc, errp) || !get_debugregs(kc, errp) || !get_apic(kc, base, errp) ||
        !kvm_get_nested(kc, errp)) {
        return false;
    }
    cpu_update_hflags(&kc->vcpu->cpu);
    return true;
}

/* What the run loop looks at before the kernel has filled it in. */
static void refresh_run(KvmCpu *kc)
{
    const CPUX86 *cpu = &kc->vcpu->cpu;
    struct kvm_run *run = kc->run;

    run->if_flag = (cpu->rflags & FLAG_IF) != 0;
    run->ready_for_interrupt_injection =
        run->if_flag && cpu->injected_vector < 0 && !(cpu->hflags & HF_INHIBIT);
    if (cpu->apic_ops) {
        run->apic_base = cpu->apic_ops->get_base(cpu->apic);
        run->cr8 = cpu->apic_ops->get_tpr(cpu->apic) >> 4;
    }
}

bool kvm_put_state(KvmCpu *kc, Error **errp)
{
    bool nested;

    if (!kc->started) {
        if (!kvm_set_cpuid(kc, errp)) {
            return false;
        }
        kc->started = true;
    }
    if (!kvm_nested_prepare(kc, &nested, errp) || !put_sregs(kc, errp) ||
        (nested && !kvm_put_nested(kc, errp)) || !put_regs(kc, errp) || !put_xcrs(kc, errp) ||
        !kvm_put_xsave(kc, errp) || !kvm_put_msrs(kc, errp) || !put_apic(kc, errp) ||
        !put_events(kc, errp) || !put_activity(kc, errp) || !put_debugregs(kc, errp)) {
        return false;
    }
    refresh_run(kc);
    kc->dirty = false;
    return true;
}
