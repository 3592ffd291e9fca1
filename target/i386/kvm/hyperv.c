/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hyper-V's enlightenments in the kernel: what it offers, switching them on, their MSRs, and
 * the hypercalls that it leaves to user space.
 */
#include "accel/kvm/kvm.h"
#include "util/log.h"

#include <errno.h>
#include <string.h>

/* TLFS 6.0b, appendix C. */
#define MSR_VP_INDEX 0x40000002u
#define STATUS_INVALID_CODE 2u
#define STATUS_INVALID_CONNECTION 0x12u
#define CALL_POST_MESSAGE 0x5cu
#define CALL_SIGNAL_EVENT 0x5du

typedef struct HvMsr {
    uint32_t msr;
    uint8_t count, feature; /* HV_FEATURES: with any of them */
} HvMsr;

/* In the order in which they are written: the guest's identity before the hypercall page. */
static const HvMsr msrs[] = {
    {0x40000000, 2, HV_FEATURES},        /* the guest's identity, hypercall page */
    {0x40000010, 1, HV_RUNTIME},         /* its run time */
    {0x40000021, 1, HV_TIME},            /* page of the reference time */
    {0x40000073, 1, HV_VAPIC},           /* assist page */
    {0x40000080, 1, HV_SYNIC},           /* SynIC's control; 81h is its constant version */
    {0x40000082, 2, HV_SYNIC},           /* its pages */
    {0x40000090, 16, HV_SYNIC},          /* interrupt sources */
    {0x400000b0, 8, HV_STIMER},          /* timers */
    {0x40000100, 5, HV_CRASH},           /* what a crash is about */
    {0x40000106, 3, HV_REENLIGHTENMENT}, /* control, emulation of the counter, its state */
};

typedef struct HvBatch {
    struct kvm_msrs head;
    struct kvm_msr_entry e[HYPERV_MSRS];
    uint8_t slot[HYPERV_MSRS]; /* of CPUX86.hyperv_msrs */
} HvBatch;

/* ---- what the kernel has ---- */

void kvm_hyperv_host(const Kvm *k, HyperVHost *h)
{
    struct {
        struct kvm_cpuid2 head;
        struct kvm_cpuid_entry2 e[64];
    } c = {.head = {.nent = 64}};

    *h = (HyperVHost){.apic = kvm_kernel_apic(k)};
    if (kvm_check(k, KVM_CAP_SYS_HYPERV_CPUID) <= 0 ||
        kvm_ioctl(k->fd, KVM_GET_SUPPORTED_HV_CPUID, &c) < 0) {
        return;
    }
    h->able = true;
    for (uint32_t i = 0; i < MIN(c.head.nent, 64u); i++) {
        const struct kvm_cpuid_entry2 *e = &c.e[i];
        uint32_t n = e->function - 0x40000000;

        if (n < HYPERV_LEAVES) {
            memcpy(h->leaf[n], (const uint32_t[4]){e->eax, e->ebx, e->ecx, e->edx}, 16);
        }
    }
}

/* ---- switching on ---- */

static bool enable(KvmCpu *kc, int cap, uint64_t arg, const char *what, Error **errp)
{
    struct kvm_enable_cap e = {.cap = (uint32_t)cap, .args = {arg}};
    int ret = kvm_ioctl(kc->fd, KVM_ENABLE_CAP, &e);

    if (ret < 0) {
        error_set_errno(errp, -ret, "the kernel refuses %s on CPU %u", what, kc->vcpu->cpu.index);
    }
    return ret >= 0;
}

/* The index is the kernel's own number of the vCPU until it is told another. */
static bool set_index(KvmCpu *kc, Error **errp)
{
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry e[1];
    } m = {.head = {.nmsrs = 1}, .e = {{.index = MSR_VP_INDEX, .data = kc->vcpu->cpu.index}}};

    if (kvm_ioctl(kc->fd, KVM_SET_MSRS, &m) != 1) {
        error_set(errp, "the kernel refuses hv-vpindex on CPU %u", kc->vcpu->cpu.index);
        return false;
    }
    return true;
}

bool kvm_hyperv_setup(KvmCpu *kc, Error **errp)
{
    HyperVConfig *c = &kc->vcpu->cpu.config.hyperv;
    uint16_t version = 0;

    if (!c->on) {
        return true;
    }
    if (hyperv_has(c, HV_EVMCS)) {
        if (!enable(kc, KVM_CAP_HYPERV_ENLIGHTENED_VMCS, (uintptr_t)&version, "hv-evmcs", errp)) {
            return false;
        }
        c->leaf[10][0] |= version;
    }
    /* The first interface: the kernel clears the pages, and nobody here looks at them. */
    if (hyperv_has(c, HV_SYNIC) && !enable(kc, KVM_CAP_HYPERV_SYNIC, 0, "hv-synic", errp)) {
        return false;
    }
    return !hyperv_has(c, HV_TLBFLUSH_DIRECT) ||
           enable(kc, KVM_CAP_HYPERV_DIRECT_TLBFLUSH, 0, "hv-tlbflush-direct", errp);
}

bool kvm_hyperv_start(KvmCpu *kc, Error **errp)
{
    const HyperVConfig *c = &kc->vcpu->cpu.config.hyperv;

    if (!c->on) {
        return true;
    }
    if (c->enforce_cpuid &&
        !enable(kc, KVM_CAP_HYPERV_ENFORCE_CPUID, 1, "hv-enforce-cpuid", errp)) {
        return false;
    }
    return !hyperv_has(c, HV_VPINDEX) || set_index(kc, errp);
}

/* ---- MSRs ---- */

static void collect(const KvmCpu *kc, HvBatch *b)
{
    const HyperVConfig *c = &kc->vcpu->cpu.config.hyperv;
    uint8_t slot = 0;

    for (unsigned i = 0; i < ARRAY_LEN(msrs); i++) {
        for (unsigned n = 0; n < msrs[i].count; n++, slot++) {
            if (msrs[i].feature == HV_FEATURES || hyperv_has(c, msrs[i].feature)) {
                b->slot[b->head.nmsrs] = slot;
                b->e[b->head.nmsrs++].index = msrs[i].msr + n;
            }
        }
    }
    g_assert(slot <= HYPERV_MSRS);
}

/* Reads what there is; a register that the kernel does not know ends the list. */
static void read_all(KvmCpu *kc, HvBatch *b)
{
    int ret;

    collect(kc, b);
    ret = kvm_ioctl(kc->fd, KVM_GET_MSRS, b);
    if (ret >= 0 && (uint32_t)ret < b->head.nmsrs) {
        LOG(LOG_UNIMP, "kvm: the kernel does not know MSR 0x%x\n", b->e[ret].index);
    }
    b->head.nmsrs = ret < 0 ? 0 : (uint32_t)ret;
}

void kvm_get_hyperv(KvmCpu *kc)
{
    CPUX86 *cpu = &kc->vcpu->cpu;
    HvBatch b = {0};

    if (!cpu->config.hyperv.on) {
        return;
    }
    read_all(kc, &b);
    for (uint32_t i = 0; i < b.head.nmsrs; i++) {
        cpu->hyperv_msrs[b.slot[i]] = b.e[i].data;
    }
}

/*
 * Only what differs: some are the machine's and not the CPU's, so that another vCPU may be
 * about to change them, and writing a timer's starts it anew.
 */
void kvm_put_hyperv(KvmCpu *kc)
{
    const CPUX86 *cpu = &kc->vcpu->cpu;
    HvBatch now = {0};

    if (!cpu->config.hyperv.on) {
        return;
    }
    read_all(kc, &now);
    for (uint32_t i = 0; i < now.head.nmsrs; i++) {
        struct {
            struct kvm_msrs head;
            struct kvm_msr_entry e[1];
        } m = {.head = {.nmsrs = 1}, .e = {now.e[i]}};

        m.e[0].data = cpu->hyperv_msrs[now.slot[i]];
        if (m.e[0].data != now.e[i].data && kvm_ioctl(kc->fd, KVM_SET_MSRS, &m) != 1) {
            LOG(LOG_UNIMP, "kvm: the kernel refuses MSR 0x%x = 0x%llx\n", m.e[0].index,
                (unsigned long long)m.e[0].data);
        }
    }
}

void kvm_hyperv_crash(KvmCpu *kc, uint64_t info[5])
{
    unsigned slot = 0;

    for (unsigned i = 0; msrs[i].feature != HV_CRASH; i++) {
        slot += msrs[i].count;
    }
    memcpy(info, kc->vcpu->cpu.hyperv_msrs + slot, 5 * sizeof(*info));
}

/* ---- exits ---- */

bool kvm_hyperv_exit(KvmCpu *kc)
{
    struct kvm_hyperv_exit *h = &kc->run->hyperv;
    uint16_t code;

    switch (h->type) {
    case KVM_EXIT_HYPERV_SYNIC:
        return true; /* its pages moved: they are the guest's and the kernel's */
    case KVM_EXIT_HYPERV_HCALL:
        /* There is no bus of virtual devices, so no connection exists. */
        code = (uint16_t)h->u.hcall.input;
        h->u.hcall.result = code == CALL_POST_MESSAGE || code == CALL_SIGNAL_EVENT
                                ? STATUS_INVALID_CONNECTION
                                : STATUS_INVALID_CODE;
        kc->complete = true;
        return true;
    default:
        return false;
    }
}
