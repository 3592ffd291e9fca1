/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Model-specific registers: which field of CPUX86 is which, and whether the kernel has it. */
#include "accel/kvm/kvm.h"
#include "util/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MSR_TSC 0x10u
#define MSR_MTRR_BASE0 0x200u
#define MSR_MCE_BANK0 0x400u
#define F1_EDX_MTRR (1u << 12)
#define MAX_MSRS 128u

typedef enum MsrWhen {
    WHEN_LISTED, /* the kernel names it among those to be saved */
    WHEN_MTRR,   /* not named, but there with MTRRs */
} MsrWhen;

typedef struct MsrField {
    uint32_t msr;
    uint16_t offset;
    uint8_t size; /* bytes of the field */
    uint8_t when;
} MsrField;

#define FIELD(m, f)                                                   \
    {                                                                 \
        m, offsetof(CPUX86, f), sizeof(((CPUX86 *)0)->f), WHEN_LISTED \
    }
#define MTRR(m, f)                           \
    {                                        \
        m, offsetof(CPUX86, f), 8, WHEN_MTRR \
    }
static const MsrField fields[] = {
    FIELD(0x34, smi_count),
    FIELD(0x3a, feature_control),
    FIELD(0x3b, tsc_adjust),
    FIELD(0x48, spec_ctrl),
    FIELD(0x9e, smbase),
    FIELD(0x174, sysenter_cs),
    FIELD(0x175, sysenter_esp),
    FIELD(0x176, sysenter_eip),
    FIELD(0x17a, mcg_status),
    FIELD(0x17b, mcg_ctl),
    FIELD(0x1a0, misc_enable),
    FIELD(0x1d9, debugctl),
    FIELD(0x277, pat),
    FIELD(0x38f, perf_global_ctrl),
    FIELD(0xda0, xss),
    FIELD(0x4b564d00, kvm_wall_clock),
    FIELD(0x4b564d01, kvm_system_time),
    FIELD(0x4b564d06, kvm_async_pf_int),
    FIELD(0x4b564d02, kvm_async_pf),
    FIELD(0x4b564d03, kvm_steal_time),
    FIELD(0x4b564d04, kvm_eoi),
    FIELD(0x4b564d05, kvm_poll_control),
    FIELD(0xc0000081, star),
    FIELD(0xc0000082, lstar),
    FIELD(0xc0000083, cstar),
    FIELD(0xc0000084, sfmask),
    FIELD(0xc0000102, kernel_gs_base),
    FIELD(0xc0000103, tsc_aux),
    FIELD(0xc0010015, hwcr),
    FIELD(0xc0010117, vm_hsave_pa),
    MTRR(0x2ff, mtrr_def_type),
    MTRR(0x250, mtrr_fixed[0]),
    MTRR(0x258, mtrr_fixed[1]),
    MTRR(0x259, mtrr_fixed[2]),
    MTRR(0x268, mtrr_fixed[3]),
    MTRR(0x269, mtrr_fixed[4]),
    MTRR(0x26a, mtrr_fixed[5]),
    MTRR(0x26b, mtrr_fixed[6]),
    MTRR(0x26c, mtrr_fixed[7]),
    MTRR(0x26d, mtrr_fixed[8]),
    MTRR(0x26e, mtrr_fixed[9]),
    MTRR(0x26f, mtrr_fixed[10]),
};

typedef struct MsrBatch {
    struct kvm_msrs head;
    struct kvm_msr_entry e[MAX_MSRS];
} MsrBatch;

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

bool kvm_read_msr_list(Kvm *k, Error **errp)
{
    struct kvm_msr_list probe = {.nmsrs = 0};
    g_autofree struct kvm_msr_list *list = NULL;
    int ret = kvm_ioctl(k->fd, KVM_GET_MSR_INDEX_LIST, &probe);

    if (ret < 0 && ret != -E2BIG) {
        error_set_errno(errp, -ret, "the kernel does not name its MSRs");
        return false;
    }
    list = g_malloc0(sizeof(*list) + (probe.nmsrs + 16) * sizeof(uint32_t));
    list->nmsrs = probe.nmsrs + 16;
    ret = kvm_ioctl(k->fd, KVM_GET_MSR_INDEX_LIST, list);
    if (ret < 0) {
        error_set_errno(errp, -ret, "the kernel does not name its MSRs");
        return false;
    }
    k->msr_count = list->nmsrs;
    k->msrs = g_memdup2(list->indices, list->nmsrs * sizeof(uint32_t));
    qsort(k->msrs, k->msr_count, sizeof(uint32_t), compare);
    return true;
}

static bool listed(const Kvm *k, uint32_t msr)
{
    return bsearch(&msr, k->msrs, k->msr_count, sizeof(uint32_t), compare) != NULL;
}

static bool wanted(const KvmCpu *kc, const MsrField *f)
{
    if (f->when == WHEN_MTRR) {
        return cpu_has(&kc->vcpu->cpu, FEAT_1_EDX, F1_EDX_MTRR);
    }
    return listed(kc->kvm, f->msr);
}

static void put(MsrBatch *b, uint32_t msr, uint64_t v)
{
    if (b->head.nmsrs < MAX_MSRS) {
        b->e[b->head.nmsrs++] = (struct kvm_msr_entry){.index = msr, .data = v};
    }
}

static uint64_t field_value(const CPUX86 *cpu, const MsrField *f)
{
    const uint8_t *p = (const uint8_t *)cpu + f->offset;

    return f->size == 4 ? ld_le32(p) : ld_le64(p);
}

static void collect(KvmCpu *kc, MsrBatch *b)
{
    const CPUX86 *cpu = &kc->vcpu->cpu;
    unsigned banks = cpu->mcg_cap & 0xff;

    for (unsigned i = 0; i < ARRAY_LEN(fields); i++) {
        if (wanted(kc, &fields[i])) {
            put(b, fields[i].msr, field_value(cpu, &fields[i]));
        }
    }
    for (unsigned i = 0; cpu_has(cpu, FEAT_1_EDX, F1_EDX_MTRR) && i < 8; i++) {
        put(b, MSR_MTRR_BASE0 + i * 2, cpu->mtrr_phys_base[i]);
        put(b, MSR_MTRR_BASE0 + i * 2 + 1, cpu->mtrr_phys_mask[i]);
    }
    for (unsigned i = 0; kc->kvm->mce && i < MIN(banks, 10u) * 4; i++) {
        put(b, MSR_MCE_BANK0 + i, cpu->mce_banks[i]);
    }
}

/* The kernel stops at the first register that it does not take: that one is left out. */
static void transfer(KvmCpu *kc, MsrBatch *b, unsigned long request)
{
    uint32_t done = 0, n = b->head.nmsrs;

    while (done < n) {
        MsrBatch part = {.head = {.nmsrs = n - done}};
        int ret;

        memcpy(part.e, b->e + done, (n - done) * sizeof(part.e[0]));
        ret = kvm_ioctl(kc->fd, request, &part);
        if (ret < 0) {
            ret = 0;
        }
        memcpy(b->e + done, part.e, (unsigned)ret * sizeof(part.e[0]));
        done += (uint32_t)ret;
        if (done < n) {
            LOG(LOG_UNIMP, "kvm: the kernel refuses MSR 0x%x%s 0x%llx\n", b->e[done].index,
                request == KVM_SET_MSRS ? " =" : ", last", (unsigned long long)b->e[done].data);
            done++;
        }
    }
}

static void distribute(CPUX86 *cpu, uint32_t msr, uint64_t v)
{
    for (unsigned i = 0; i < ARRAY_LEN(fields); i++) {
        if (fields[i].msr == msr) {
            uint8_t *p = (uint8_t *)cpu + fields[i].offset;

            if (fields[i].size == 4) {
                st_le32(p, (uint32_t)v);
            } else {
                st_le64(p, v);
            }
            return;
        }
    }
    if (msr >= MSR_MTRR_BASE0 && msr < MSR_MTRR_BASE0 + 16) {
        uint64_t *to = msr & 1 ? cpu->mtrr_phys_mask : cpu->mtrr_phys_base;

        to[(msr - MSR_MTRR_BASE0) / 2] = v;
    } else if (msr >= MSR_MCE_BANK0 && msr < MSR_MCE_BANK0 + 40) {
        cpu->mce_banks[msr - MSR_MCE_BANK0] = v;
    }
}

/* The counter as CPUX86 has it: the guest's clock plus an offset. */
static uint64_t clock_ticks(const CPUX86 *cpu)
{
    return cpu_tsc(cpu) - (uint64_t)cpu->tsc_offset;
}

bool kvm_get_msrs(KvmCpu *kc, Error **errp)
{
    CPUX86 *cpu = &kc->vcpu->cpu;
    MsrBatch b = {0}, tsc = {.head = {.nmsrs = 1}, .e = {{.index = MSR_TSC}}};

    collect(kc, &b);
    transfer(kc, &b, KVM_GET_MSRS);
    for (uint32_t i = 0; i < b.head.nmsrs; i++) {
        distribute(cpu, b.e[i].index, b.e[i].data);
    }
    kvm_get_hyperv(kc);
    if (kvm_ioctl(kc->fd, KVM_GET_MSRS, &tsc) == 1) {
        cpu->tsc_offset = (int64_t)(tsc.e[0].data - clock_ticks(cpu));
        kc->tsc_offset = cpu->tsc_offset;
    }
    return true;
}

bool kvm_put_msrs(KvmCpu *kc, Error **errp)
{
    CPUX86 *cpu = &kc->vcpu->cpu;
    MsrBatch b = {0};

    collect(kc, &b);
    /* The counter only if somebody set it: writing it again would make the CPUs' counters differ. */
    if (cpu->tsc_offset != kc->tsc_offset) {
        put(&b, MSR_TSC, cpu_tsc(cpu));
        kc->tsc_offset = cpu->tsc_offset;
    }
    transfer(kc, &b, KVM_SET_MSRS);
    kvm_put_hyperv(kc);
    return true;
}
