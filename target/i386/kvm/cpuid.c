/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the host offers of CPUID, and what the guest gets of it. */
#include "accel/kvm/kvm.h"
#include "util/log.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#define F1_ECX_X2APIC (1u << 21)
#define F1_ECX_TSC_DEADLINE (1u << 24)
#define F1_ECX_HYPERVISOR (1u << 31)
#define F1_ECX_MONITOR (1u << 3)
#define F1_EDX_ACPI (1u << 22)
#define F1_EDX_HT (1u << 28)
#define F81_ECX_SVM (1u << 2)
#define F81_ECX_CMP_LEGACY (1u << 1)
#define F7_EBX_MPX (1u << 14)
#define F7_EBX_INTEL_PT (1u << 25)
#define F7_ECX_CET_SS (1u << 7)
#define F7_ECX_PKS (1u << 31)
#define F7_EDX_AMX (1u << 22 | 1u << 24 | 1u << 25)
#define F7_EDX_CET_IBT (1u << 20)
#define F7_EDX_ARCH_LBR (1u << 19)
#define F7_1_EAX_AMX_FP16 (1u << 21)
#define FXS_XFD (1u << 4)
#define KVM_FEATURES 0x40000001u
#define MAX_LEAVES 256u

/* ---- what the kernel supports ---- */

static struct kvm_cpuid2 *fetch(const Kvm *k, unsigned long request, Error **errp)
{
    for (uint32_t n = 128; n <= 4096; n *= 2) {
        struct kvm_cpuid2 *c = g_malloc0(sizeof(*c) + n * sizeof(c->entries[0]));
        int ret;

        c->nent = n;
        ret = kvm_ioctl(k->fd, request, c);
        if (ret >= 0) {
            return c;
        }
        g_free(c);
        if (ret != -E2BIG) {
            error_set_errno(errp, -ret, "the kernel does not say what CPUID it supports");
            return NULL;
        }
    }
    error_set(errp, "the kernel's CPUID has no end");
    return NULL;
}

bool kvm_read_cpuid(Kvm *k, Error **errp)
{
    k->cpuid = fetch(k, KVM_GET_SUPPORTED_CPUID, errp);
    return k->cpuid != NULL;
}

static const struct kvm_cpuid_entry2 *find(const struct kvm_cpuid2 *c, uint32_t leaf, uint32_t sub)
{
    for (uint32_t i = 0; c && i < c->nent; i++) {
        const struct kvm_cpuid_entry2 *e = &c->entries[i];

        if (e->function == leaf &&
            (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == sub)) {
            return e;
        }
    }
    return NULL;
}

enum { EAX, EBX, ECX, EDX };

static uint32_t reg(const struct kvm_cpuid2 *c, uint32_t leaf, uint32_t sub, int r)
{
    const struct kvm_cpuid_entry2 *e = find(c, leaf, sub);

    return !e ? 0 : r == EAX ? e->eax : r == EBX ? e->ebx : r == ECX ? e->ecx : e->edx;
}

typedef struct Word {
    CpuFeatureWord word;
    uint32_t leaf, sub;
    int reg;
} Word;

static const Word words[] = {
    {FEAT_1_EDX, 1, 0, EDX},
    {FEAT_1_ECX, 1, 0, ECX},
    {FEAT_7_0_EBX, 7, 0, EBX},
    {FEAT_7_0_ECX, 7, 0, ECX},
    {FEAT_7_0_EDX, 7, 0, EDX},
    {FEAT_7_1_EAX, 7, 1, EAX},
    {FEAT_7_1_EDX, 7, 1, EDX},
    {FEAT_7_2_EDX, 7, 2, EDX},
    {FEAT_6_EAX, 6, 0, EAX},
    {FEAT_XSAVE, 0xd, 1, EAX},
    {FEAT_80000001_EDX, 0x80000001, 0, EDX},
    {FEAT_80000001_ECX, 0x80000001, 0, ECX},
    {FEAT_80000007_EBX, 0x80000007, 0, EBX},
    {FEAT_80000007_EDX, 0x80000007, 0, EDX},
    {FEAT_80000008_EBX, 0x80000008, 0, EBX},
    {FEAT_SVM, 0x8000000a, 0, EDX},
    {FEAT_80000021_EAX, 0x80000021, 0, EAX},
    {FEAT_80000022_EAX, 0x80000022, 0, EAX},
    {FEAT_KVM, KVM_FEATURES, 0, EAX},
};

static uint64_t feature_msr(const Kvm *k, uint32_t msr)
{
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry e[1];
    } m = {.head = {.nmsrs = 1}, .e = {{.index = msr}}};

    if (kvm_check(k, KVM_CAP_GET_MSR_FEATURES) <= 0 || kvm_ioctl(k->fd, KVM_GET_MSRS, &m) != 1) {
        return 0;
    }
    return m.e[0].data;
}

/* The bits that the kernel's table is not the whole truth about. */
static void correct_features(const Kvm *k, uint32_t *f)
{
    uint64_t arch = feature_msr(k, 0x10a);

    f[FEAT_1_ECX] |= F1_ECX_HYPERVISOR;
    f[FEAT_1_EDX] |= F1_EDX_HT | F1_EDX_ACPI;
    f[FEAT_80000001_ECX] |= F81_ECX_CMP_LEGACY;
    f[FEAT_80000001_EDX] &= ~(0x0183f3ffu & f[FEAT_1_EDX]) | 1u << 11 | 1u << 20;
    if (kvm_kernel_apic(k)) {
        f[FEAT_1_ECX] |= F1_ECX_X2APIC;
        if (kvm_check(k, KVM_CAP_TSC_DEADLINE_TIMER) > 0) {
            f[FEAT_1_ECX] |= F1_ECX_TSC_DEADLINE;
        }
    } else {
        f[FEAT_1_ECX] &= ~(F1_ECX_X2APIC | F1_ECX_TSC_DEADLINE);
        /* These work through the APIC in the kernel. */
        f[FEAT_KVM] &= ~(1u << 4 | 1u << 6 | 1u << 7 | 1u << 11 | 1u << 13 | 1u << 14 | 1u << 15);
    }
    if (kvm_check(k, KVM_CAP_X86_DISABLE_EXITS) <= 0) {
        f[FEAT_1_ECX] &= ~F1_ECX_MONITOR;
    }
    f[FEAT_6_EAX] = 1u << 2; /* the APIC timer never stops */
    f[FEAT_ARCH_CAPABILITIES] = (uint32_t)arch;
    f[FEAT_ARCH_CAPABILITIES_HIGH] = (uint32_t)(arch >> 32);
    /* CPUX86 has no room for the state of these. */
    f[FEAT_7_0_EBX] &= ~(F7_EBX_MPX | F7_EBX_INTEL_PT);
    f[FEAT_7_0_ECX] &= ~(F7_ECX_CET_SS | F7_ECX_PKS);
    f[FEAT_7_0_EDX] &= ~(F7_EDX_AMX | F7_EDX_CET_IBT | F7_EDX_ARCH_LBR);
    f[FEAT_7_1_EAX] &= ~F7_1_EAX_AMX_FP16;
    f[FEAT_XSAVE] &= ~FXS_XFD;
}

static void host_text(char *out, const uint32_t *words_, unsigned n)
{
    memcpy(out, words_, n * 4);
    out[n * 4] = 0;
}

static void host_cpuid(uint32_t leaf, uint32_t r[4])
{
    __asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(0));
}

static void describe_host(CpuHost *h)
{
    uint32_t r[4], brand[12];

    host_cpuid(0, r);
    h->level = r[0];
    host_text(h->vendor, (const uint32_t[3]){r[1], r[3], r[2]}, 3);
    host_cpuid(1, r);
    h->stepping = r[0] & 15;
    h->model = (r[0] >> 4 & 15) | (r[0] >> 12 & 0xf0);
    h->family = (r[0] >> 8 & 15) + ((r[0] >> 8 & 15) == 15 ? r[0] >> 20 & 0xff : 0);
    host_cpuid(0x80000000, r);
    h->xlevel = r[0];
    for (uint32_t i = 0; i < 3; i++) {
        host_cpuid(0x80000002 + i, brand + i * 4);
    }
    host_text(h->model_id, brand, 12);
    host_cpuid(0x80000008, r);
    h->phys_bits = r[0] & 0xff;
}

/* What every named model gets, or loses, under KVM: QEMU's defaults. */
static void model_defaults(const Kvm *k, CpuEngineInfo *info)
{
    info->plus[FEAT_KVM] = (1u << 0 | 1u << 1 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 6 | 1u << 24);
    if (kvm_kernel_apic(k)) {
        info->plus[FEAT_1_ECX] = F1_ECX_X2APIC;
    }
    info->minus[FEAT_1_ECX] = F1_ECX_MONITOR;
    info->minus[FEAT_1_EDX] = F1_EDX_ACPI;
    info->minus[FEAT_80000001_ECX] = F81_ECX_SVM;
    for (unsigned w = 0; w < FEATURE_WORDS; w++) {
        info->plus[w] &= info->features[w];
    }
}

bool kvm_cpu_engine(Accel *a, CpuEngineInfo *info, Error **errp)
{
    Kvm *k = kvm_of(a);
    int khz = ioctl(k->vm, KVM_GET_TSC_KHZ, 0);

    *info = (CpuEngineInfo){.name = "host", .kvm = true, .has_host = true};
    for (unsigned i = 0; i < ARRAY_LEN(words); i++) {
        info->features[words[i].word] = reg(k->cpuid, words[i].leaf, words[i].sub, words[i].reg);
    }
    correct_features(k, info->features);
    model_defaults(k, info);
    describe_host(&info->host);
    kvm_hyperv_host(k, &info->hyperv);
    info->host.level = MAX(reg(k->cpuid, 0, 0, EAX), 1u);
    info->host.xlevel = MAX(reg(k->cpuid, 0x80000000, 0, EAX), 0x80000001u);
    info->tsc_hz = khz > 0 ? (uint64_t)khz * 1000 : 0;
    for (unsigned i = 2; i < ARRAY_LEN(info->xsave_size); i++) {
        info->xsave_size[i] = reg(k->cpuid, 0xd, i, EAX);
        info->xsave_offset[i] = reg(k->cpuid, 0xd, i, EBX);
    }
    return true;
}

/* ---- what the guest gets ---- */

typedef struct Table {
    struct kvm_cpuid2 head;
    struct kvm_cpuid_entry2 e[MAX_LEAVES];
} Table;

static void add(Table *t, const CPUX86 *cpu, uint32_t leaf, uint32_t sub, bool indexed)
{
    uint32_t r[4];

    if (t->head.nent == MAX_LEAVES) {
        return;
    }
    cpu_cpuid(cpu, leaf, sub, r);
    t->e[t->head.nent++] =
        (struct kvm_cpuid_entry2){.function = leaf,
                                  .index = sub,
                                  .flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
                                  .eax = r[0],
                                  .ebx = r[1],
                                  .ecx = r[2],
                                  .edx = r[3]};
}

/* Subleaves of `leaf` up to the first that says there are no more. */
static unsigned subleaves(const CPUX86 *cpu, uint32_t leaf)
{
    uint32_t r[4];

    switch (leaf) {
    case 4:
    case 0x8000001d:
        for (unsigned i = 0; i < 8; i++) {
            cpu_cpuid(cpu, leaf, i, r);
            if (!(r[0] & 31)) {
                return i + 1;
            }
        }
        return 8;
    case 7:
        return 3;
    case 0xb:
        return 3;
    case 0x1f:
        return 4;
    case 0xd:
        return 16;
    default:
        return 0;
    }
}

static void add_range(Table *t, const CPUX86 *cpu, uint32_t first, uint32_t last)
{
    for (uint32_t leaf = first; leaf <= last; leaf++) {
        unsigned n = subleaves(cpu, leaf);

        if (!n) {
            add(t, cpu, leaf, 0, false);
        }
        for (unsigned i = 0; i < n; i++) {
            add(t, cpu, leaf, i, true);
        }
    }
}

static void setup_mce(KvmCpu *kc)
{
    CPUX86 *cpu = &kc->vcpu->cpu;
    uint64_t able = 0, cap;

    if (!kc->kvm->mce) {
        cpu->mcg_cap = 0;
    }
    if (!cpu->mcg_cap || kvm_ioctl(kc->kvm->fd, KVM_X86_GET_MCE_CAP_SUPPORTED, &able) < 0) {
        return;
    }
    cap = (cpu->mcg_cap & 0xff) | (cpu->mcg_cap & able & ~0xffull);
    if (kvm_ioctl(kc->fd, KVM_X86_SETUP_MCE, &cap) >= 0) {
        cpu->mcg_cap = cap;
    }
}

bool kvm_set_cpuid(KvmCpu *kc, Error **errp)
{
    CPUX86 *cpu = &kc->vcpu->cpu;
    const CpuConfig *c = &cpu->config;
    g_autofree Table *t = g_new0(Table, 1);
    int ret;

    if (!kvm_hyperv_setup(kc, errp)) {
        return false;
    }
    add_range(t, cpu, 0, MIN(c->level, 0x24u));
    if (c->hypervisor) {
        uint32_t own = c->hyperv.on ? 0x40000100 : 0x40000000;

        if (c->hyperv.on) {
            add_range(t, cpu, 0x40000000, c->hyperv.leaf[0][0]);
        }
        if (c->kvm || !c->hyperv.on) {
            add_range(t, cpu, own, own + 1);
        }
        if (c->tsc_hz && !c->hyperv.on) {
            add(t, cpu, 0x40000010, 0, false);
        }
    }
    add_range(t, cpu, 0x80000000, MAX(MIN(c->xlevel, 0x80000022u), 0x80000000u));
    ret = kvm_ioctl(kc->fd, KVM_SET_CPUID2, t);
    if (ret < 0) {
        error_set_errno(errp, -ret, "the kernel refuses the CPU model of CPU %u", cpu->index);
        return false;
    }
    setup_mce(kc);
    return kvm_hyperv_start(kc, errp);
}
