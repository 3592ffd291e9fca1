/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Model-specific registers; SDM vol. 4, AMD APM vol. 2 appendix A.  An MSR that the
 * configured CPU does not have raises #GP, as on the chip.
 */
#include "accel/tcg/internal.h"
#include "target/i386/tcg/control.h"
#include "target/i386/tcg/desc.h"
#include "target/i386/tcg/pv.h"
#include "target/i386/tcg/svm.h"
#include "util/log.h"

enum {
    MSR_P5_MC_ADDR = 0x0,
    MSR_P5_MC_TYPE = 0x1,
    MSR_TSC = 0x10,
    MSR_PLATFORM_ID = 0x17,
    MSR_APIC_BASE = 0x1b,
    MSR_EBL_CR_POWERON = 0x2a,
    MSR_SMI_COUNT = 0x34,
    MSR_FEATURE_CONTROL = 0x3a,
    MSR_TSC_ADJUST = 0x3b,
    MSR_SPEC_CTRL = 0x48,
    MSR_PRED_CMD = 0x49,
    MSR_UCODE_REV = 0x8b,
    MSR_MTRR_CAP = 0xfe,
    MSR_ARCH_CAPABILITIES = 0x10a,
    MSR_BBL_CR_CTL3 = 0x11e,
    MSR_SYSENTER_CS = 0x174,
    MSR_SYSENTER_ESP = 0x175,
    MSR_SYSENTER_EIP = 0x176,
    MSR_MCG_CAP = 0x179,
    MSR_MCG_STATUS = 0x17a,
    MSR_MCG_CTL = 0x17b,
    MSR_PERF_STATUS = 0x198,
    MSR_CLOCK_MODULATION = 0x19a,
    MSR_THERM_INTERRUPT = 0x19b,
    MSR_THERM_STATUS = 0x19c,
    MSR_MISC_ENABLE = 0x1a0,
    MSR_DEBUGCTL = 0x1d9,
    MSR_MTRR_PHYS_BASE0 = 0x200,
    MSR_MTRR_PHYS_LAST = 0x20f,
    MSR_MTRR_FIX64K = 0x250,
    MSR_MTRR_FIX16K_0 = 0x258,
    MSR_MTRR_FIX16K_1 = 0x259,
    MSR_MTRR_FIX4K_FIRST = 0x268,
    MSR_MTRR_FIX4K_LAST = 0x26f,
    MSR_PAT = 0x277,
    MSR_MTRR_DEF_TYPE = 0x2ff,
    MSR_MC_FIRST = 0x400,
    MSR_TSC_DEADLINE = 0x6e0,
    MSR_X2APIC_FIRST = 0x800,
    MSR_X2APIC_LAST = 0x8ff,
    MSR_XSS = 0xda0,
};
#define MSR_EFER 0xc0000080u
#define MSR_STAR 0xc0000081u
#define MSR_LSTAR 0xc0000082u
#define MSR_CSTAR 0xc0000083u
#define MSR_SFMASK 0xc0000084u
#define MSR_FS_BASE 0xc0000100u
#define MSR_GS_BASE 0xc0000101u
#define MSR_KERNEL_GS_BASE 0xc0000102u
#define MSR_TSC_AUX 0xc0000103u
#define MSR_AMD_SYSCFG 0xc0010010u
#define MSR_AMD_HWCR 0xc0010015u
#define MSR_AMD_INT_PENDING 0xc0010055u
#define MSR_VM_CR 0xc0010114u
#define MSR_VM_HSAVE_PA 0xc0010117u
#define F81_ECX_SVM (1u << 2)
#define VM_CR_WRITABLE 0x1full
#define VM_CR_LOCK (1ull << 3)
#define VM_CR_SVMDIS (1ull << 4)
#define MSR_AMD_OSVW_LENGTH 0xc0010140u
#define MSR_AMD_OSVW_STATUS 0xc0010141u

#define F1_EDX_TSC (1u << 4)
#define F1_EDX_APIC (1u << 9)
#define F1_EDX_SEP (1u << 11)
#define F1_EDX_MTRR (1u << 12)
#define F1_EDX_PAT (1u << 16)
#define F1_EDX_ACPI (1u << 22)
#define F1_ECX_VMX (1u << 5)
#define F1_ECX_X2APIC (1u << 21)
#define F1_ECX_TSC_DEADLINE (1u << 24)
#define F7_EBX_TSC_ADJUST (1u << 1)
#define F7_ECX_RDPID (1u << 22)
#define F7_EDX_SPEC_CTRL (1u << 26)
#define F7_EDX_ARCH_CAP (1u << 29)
#define F81_ECX_OSVW (1u << 9)
#define F81_EDX_SYSCALL (1u << 11)
#define F81_EDX_RDTSCP (1u << 27)
#define F81_EDX_LM (1u << 29)
#define FXS_XSAVES (1u << 3)

#define MTRR_VCNT 8
#define MTRR_CAP_VALUE (MTRR_VCNT | 1u << 8 | 1u << 10) /* fixed ranges, write-combining */
#define MTRR_DEF_KNOWN 0xcffu                           /* type, FE, E */
#define MISC_ENABLE_RO ((1ull << 11) | (1ull << 12))
#define HWCR_WRITABLE ((1ull << 3) | (1ull << 6) | (1ull << 8) | (1ull << 18))
#define HWCR_TSC_FREQ_SEL (1ull << 24)
#define HWCR_MC_STATUS_WR_EN (1ull << 18)
#define DE_CFG_LFENCE_SERIALIZE (1ull << 1)

/* AMD's chip configuration: read back as written, nothing that software can see depends on it. */
static const uint32_t amd_config_msrs[] = {
    0xc001001f, /* NB_CFG */
    0xc0011020, /* LS_CFG */
    0xc0011021, /* IC_CFG */
    0xc0011022, /* DC_CFG */
    0xc0011023, /* BU_CFG */
    0xc0011029, /* DE_CFG */
    0xc001102a, /* BU_CFG2 */
    0xc001102b, /* CU_CFG2 */
};
#define AMD_DE_CFG_SLOT 5
#define AMD_OSVW_ERRATA 5

static bool is_amd(const CPUX86 *cpu)
{
    return !strcmp(cpu->config.vendor, "AuthenticAMD") ||
           !strcmp(cpu->config.vendor, "HygonGenuine");
}

static bool canonical_or_short(const CPUX86 *cpu, uint64_t v)
{
    return !cpu_has(cpu, FEAT_80000001_EDX, F81_EDX_LM) || x86_is_canonical(cpu, v);
}

/* ---- memory types ---- */

static bool valid_mtrr_type(uint64_t t)
{
    return t <= 1 || (t >= 4 && t <= 6);
}

static bool valid_types(uint64_t v, bool pat)
{
    for (unsigned i = 0; i < 64; i += 8) {
        uint64_t t = v >> i & 0xff;

        if (!valid_mtrr_type(t) && !(pat && t == 7)) {
            return false;
        }
    }
    return true;
}

bool x86_pat_valid(uint64_t v)
{
    return valid_types(v, true);
}

static uint64_t *mtrr_slot(CPUX86 *cpu, uint32_t index)
{
    if (!cpu_has(cpu, FEAT_1_EDX, F1_EDX_MTRR)) {
        return NULL;
    }
    if (index >= MSR_MTRR_PHYS_BASE0 && index <= MSR_MTRR_PHYS_LAST) {
        unsigned i = (index - MSR_MTRR_PHYS_BASE0) / 2;
        return index & 1 ? &cpu->mtrr_phys_mask[i] : &cpu->mtrr_phys_base[i];
    }
    if (index >= MSR_MTRR_FIX4K_FIRST && index <= MSR_MTRR_FIX4K_LAST) {
        return &cpu->mtrr_fixed[3 + index - MSR_MTRR_FIX4K_FIRST];
    }
    switch (index) {
    case MSR_MTRR_FIX64K:
        return &cpu->mtrr_fixed[0];
    case MSR_MTRR_FIX16K_0:
        return &cpu->mtrr_fixed[1];
    case MSR_MTRR_FIX16K_1:
        return &cpu->mtrr_fixed[2];
    case MSR_MTRR_DEF_TYPE:
        return &cpu->mtrr_def_type;
    default:
        return NULL;
    }
}

static bool write_mtrr(CPUX86 *cpu, uint32_t index, uint64_t *slot, uint64_t v)
{
    uint64_t phys = (1ull << cpu->config.phys_bits) - 1;

    if (index == MSR_MTRR_DEF_TYPE) {
        if ((v & ~(uint64_t)MTRR_DEF_KNOWN) || !valid_mtrr_type(v & 0xff)) {
            return false;
        }
    } else if (index > MSR_MTRR_PHYS_LAST) {
        if (!valid_types(v, false)) {
            return false;
        }
    } else if (index & 1) {
        if (v & ~phys || v & 0x7ff) {
            return false;
        }
    } else if (v & ~phys || v & 0xf00 || !valid_mtrr_type(v & 0xff)) {
        return false;
    }
    *slot = v;
    return true;
}

/* ---- machine check ---- */

static unsigned mc_banks(const CPUX86 *cpu)
{
    return cpu->mcg_cap & 0xff;
}

static bool is_mc_bank(const CPUX86 *cpu, uint32_t index)
{
    return index >= MSR_MC_FIRST && index < MSR_MC_FIRST + 4 * mc_banks(cpu);
}

static bool write_mc_bank(CPUX86 *cpu, uint32_t index, uint64_t v)
{
    bool control = (index & 3) == 0;

    if (control) {
        /* Linux clears bit 10 of bank 4 on AMD for a chip bug; everything else is all or nothing. */
        if (v != 0 && (v | 1u << 10 | 1) != UINT64_MAX) {
            return false;
        }
    } else if (v != 0 && !(is_amd(cpu) && (cpu->hwcr & HWCR_MC_STATUS_WR_EN))) {
        return false;
    }
    cpu->mce_banks[index - MSR_MC_FIRST] = v;
    return true;
}

/* ---- time ---- */

/* The local APIC's: its x2APIC registers, and the deadline of its timer. */
static bool is_apic_msr(const CPUX86 *cpu, uint32_t index)
{
    if (!cpu->apic_ops) {
        return false;
    }
    if (index == MSR_TSC_DEADLINE) {
        return cpu_has(cpu, FEAT_1_ECX, F1_ECX_TSC_DEADLINE);
    }
    return index >= MSR_X2APIC_FIRST && index <= MSR_X2APIC_LAST &&
           cpu_has(cpu, FEAT_1_ECX, F1_ECX_X2APIC);
}

/* The TSC has jumped: a deadline that waits is due at another time. */
static void move_deadline(CPUX86 *cpu)
{
    uint64_t deadline;

    if (is_apic_msr(cpu, MSR_TSC_DEADLINE) &&
        cpu->apic_ops->read_msr(cpu->apic, MSR_TSC_DEADLINE, &deadline) && deadline) {
        cpu->apic_ops->write_msr(cpu->apic, MSR_TSC_DEADLINE, deadline);
    }
}

static void write_tsc(CPUX86 *cpu, uint64_t v)
{
    uint64_t delta = v - cpu_tsc(cpu);

    cpu->tsc_offset += (int64_t)delta;
    cpu->tsc_adjust += delta;
    pv_tsc_changed(cpu);
    move_deadline(cpu);
}

static void write_tsc_adjust(CPUX86 *cpu, uint64_t v)
{
    cpu->tsc_offset += (int64_t)(v - cpu->tsc_adjust);
    cpu->tsc_adjust = v;
    pv_tsc_changed(cpu);
    move_deadline(cpu);
}

/* ---- AMD's own ---- */

static uint64_t *amd_slot(CPUX86 *cpu, uint32_t index)
{
    for (size_t i = 0; i < ARRAY_LEN(amd_config_msrs); i++) {
        if (amd_config_msrs[i] == index) {
            return &cpu->amd_config[i];
        }
    }
    return NULL;
}

static bool read_amd(CPUX86 *cpu, uint32_t index, uint64_t *v)
{
    uint64_t *slot = amd_slot(cpu, index);

    if (slot) {
        *v = *slot | (slot == &cpu->amd_config[AMD_DE_CFG_SLOT] ? DE_CFG_LFENCE_SERIALIZE : 0);
        return true;
    }
    switch (index) {
    case MSR_AMD_HWCR:
        *v = cpu->hwcr | (cpu->config.family >= 16 ? HWCR_TSC_FREQ_SEL : 0);
        return true;
    case MSR_AMD_SYSCFG:
    case MSR_AMD_INT_PENDING:
        *v = 0;
        return true;
    case MSR_VM_CR:
        *v = cpu->vm_cr;
        return cpu_has(cpu, FEAT_80000001_ECX, F81_ECX_SVM);
    case MSR_VM_HSAVE_PA:
        *v = cpu->vm_hsave_pa;
        return cpu_has(cpu, FEAT_80000001_ECX, F81_ECX_SVM);
    case MSR_AMD_OSVW_LENGTH:
    case MSR_AMD_OSVW_STATUS:
        /* The errata that have numbers (so many), of which this CPU has none. */
        *v = index == MSR_AMD_OSVW_LENGTH ? AMD_OSVW_ERRATA : 0;
        return cpu_has(cpu, FEAT_80000001_ECX, F81_ECX_OSVW);
    default:
        return false;
    }
}

static bool write_amd(CPUX86 *cpu, uint32_t index, uint64_t v)
{
    uint64_t *slot = amd_slot(cpu, index);

    if (slot) {
        *slot = v;
        return true;
    }
    switch (index) {
    case MSR_AMD_HWCR:
        if (v & ~(HWCR_WRITABLE | HWCR_TSC_FREQ_SEL)) {
            return false;
        }
        cpu->hwcr = v & HWCR_WRITABLE;
        return true;
    case MSR_AMD_SYSCFG:
    case MSR_AMD_INT_PENDING:
        return v == 0;
    case MSR_VM_CR:
        if (!cpu_has(cpu, FEAT_80000001_ECX, F81_ECX_SVM) || (v & ~VM_CR_WRITABLE)) {
            return false;
        }
        if (cpu->vm_cr & VM_CR_LOCK) { /* both bits stay as they are */
            v = (v & ~(VM_CR_LOCK | VM_CR_SVMDIS)) | (cpu->vm_cr & (VM_CR_LOCK | VM_CR_SVMDIS));
        }
        if ((v & VM_CR_SVMDIS) && (cpu->efer & EFER_SVME)) {
            return false;
        }
        cpu->vm_cr = v;
        return true;
    case MSR_VM_HSAVE_PA:
        if (!cpu_has(cpu, FEAT_80000001_ECX, F81_ECX_SVM) || (v & 4095) ||
            v >> cpu->config.phys_bits) {
            return false;
        }
        cpu->vm_hsave_pa = v;
        return true;
    default:
        return false;
    }
}

/* ---- which MSR is plain storage ---- */

typedef enum MsrRule {
    RULE_ANY,
    RULE_CANONICAL,
    RULE_LOW32, /* the upper half is reserved */
    RULE_PAT,
} MsrRule;

typedef struct PlainMsr {
    uint32_t index;
    size_t offset;
    CpuFeatureWord word;
    uint32_t feature;
    MsrRule rule;
} PlainMsr;

#define PLAIN(index, field, word, feature, rule)            \
    {                                                       \
        index, offsetof(CPUX86, field), word, feature, rule \
    }

static const PlainMsr plain_msrs[] = {
    PLAIN(MSR_SYSENTER_CS, sysenter_cs, FEAT_1_EDX, F1_EDX_SEP, RULE_LOW32),
    PLAIN(MSR_SYSENTER_ESP, sysenter_esp, FEAT_1_EDX, F1_EDX_SEP, RULE_CANONICAL),
    PLAIN(MSR_SYSENTER_EIP, sysenter_eip, FEAT_1_EDX, F1_EDX_SEP, RULE_CANONICAL),
    PLAIN(MSR_CLOCK_MODULATION, clock_modulation, FEAT_1_EDX, F1_EDX_ACPI, RULE_LOW32),
    PLAIN(MSR_THERM_INTERRUPT, therm_interrupt, FEAT_1_EDX, F1_EDX_ACPI, RULE_LOW32),
    PLAIN(MSR_PAT, pat, FEAT_1_EDX, F1_EDX_PAT, RULE_PAT),
    PLAIN(MSR_SPEC_CTRL, spec_ctrl, FEAT_7_0_EDX, F7_EDX_SPEC_CTRL, RULE_LOW32),
    PLAIN(MSR_STAR, star, FEAT_80000001_EDX, F81_EDX_SYSCALL, RULE_ANY),
    PLAIN(MSR_LSTAR, lstar, FEAT_80000001_EDX, F81_EDX_LM, RULE_CANONICAL),
    PLAIN(MSR_CSTAR, cstar, FEAT_80000001_EDX, F81_EDX_LM, RULE_CANONICAL),
    PLAIN(MSR_SFMASK, sfmask, FEAT_80000001_EDX, F81_EDX_LM, RULE_LOW32),
    PLAIN(MSR_FS_BASE, segs[SEG_FS].base, FEAT_80000001_EDX, F81_EDX_LM, RULE_CANONICAL),
    PLAIN(MSR_GS_BASE, segs[SEG_GS].base, FEAT_80000001_EDX, F81_EDX_LM, RULE_CANONICAL),
    PLAIN(MSR_KERNEL_GS_BASE, kernel_gs_base, FEAT_80000001_EDX, F81_EDX_LM, RULE_CANONICAL),
};

static uint64_t *plain_slot(CPUX86 *cpu, uint32_t index, const PlainMsr **rule)
{
    for (size_t i = 0; i < ARRAY_LEN(plain_msrs); i++) {
        if (plain_msrs[i].index == index) {
            *rule = &plain_msrs[i];
            return cpu_has(cpu, plain_msrs[i].word, plain_msrs[i].feature)
                       ? (uint64_t *)((char *)cpu + plain_msrs[i].offset)
                       : NULL;
        }
    }
    return NULL;
}

static bool obeys_rule(const CPUX86 *cpu, MsrRule rule, uint64_t v)
{
    switch (rule) {
    case RULE_CANONICAL:
        return canonical_or_short(cpu, v);
    case RULE_LOW32:
        return !(v >> 32);
    case RULE_PAT:
        return x86_pat_valid(v);
    default:
        return true;
    }
}

static bool has_tsc_aux(const CPUX86 *cpu)
{
    return cpu_has(cpu, FEAT_80000001_EDX, F81_EDX_RDTSCP) ||
           cpu_has(cpu, FEAT_7_0_ECX, F7_ECX_RDPID);
}

/* ---- RDMSR ---- */

static bool read_common(CPUX86 *cpu, uint32_t index, uint64_t *v)
{
    const CpuConfig *c = &cpu->config;

    switch (index) {
    case MSR_TSC:
        *v = cpu_tsc(cpu);
        return cpu_has(cpu, FEAT_1_EDX, F1_EDX_TSC);
    case MSR_APIC_BASE:
        *v = cpu->apic_ops ? cpu->apic_ops->get_base(cpu->apic) : 0;
        return cpu->apic_ops && cpu_has(cpu, FEAT_1_EDX, F1_EDX_APIC);
    case MSR_SMI_COUNT:
        *v = cpu->smi_count;
        return !is_amd(cpu);
    case MSR_FEATURE_CONTROL:
        *v = cpu->feature_control;
        return cpu_has(cpu, FEAT_1_ECX, F1_ECX_VMX);
    case MSR_TSC_ADJUST:
        *v = cpu->tsc_adjust;
        return cpu_has(cpu, FEAT_7_0_EBX, F7_EBX_TSC_ADJUST);
    case MSR_UCODE_REV:
        *v = is_amd(cpu) ? 0x01000065 : 0x100000000ull;
        return true;
    case MSR_MTRR_CAP:
        *v = MTRR_CAP_VALUE;
        return cpu_has(cpu, FEAT_1_EDX, F1_EDX_MTRR);
    case MSR_ARCH_CAPABILITIES:
        *v = c->features[FEAT_ARCH_CAPABILITIES] |
             (uint64_t)c->features[FEAT_ARCH_CAPABILITIES_HIGH] << 32;
        return cpu_has(cpu, FEAT_7_0_EDX, F7_EDX_ARCH_CAP);
    case MSR_MCG_CAP:
        *v = cpu->mcg_cap;
        return mc_banks(cpu);
    case MSR_MCG_STATUS:
        *v = cpu->mcg_status;
        return mc_banks(cpu);
    case MSR_MCG_CTL:
        *v = cpu->mcg_ctl;
        return mc_banks(cpu);
    case MSR_MISC_ENABLE:
        *v = cpu->misc_enable;
        return true;
    case MSR_DEBUGCTL:
        *v = cpu->debugctl;
        return true;
    case MSR_XSS:
        *v = cpu->xss;
        return cpu_has(cpu, FEAT_XSAVE, FXS_XSAVES);
    case MSR_EFER:
        *v = cpu->efer;
        return x86_efer_known(cpu) != 0;
    case MSR_TSC_AUX:
        *v = cpu->tsc_aux;
        return has_tsc_aux(cpu);
    default:
        return false;
    }
}

/* What older system software reads without asking CPUID. */
static bool read_legacy(const CPUX86 *cpu, uint32_t index, uint64_t *v)
{
    *v = 0;
    switch (index) {
    case MSR_P5_MC_ADDR:
    case MSR_P5_MC_TYPE:
        return true;
    case MSR_PLATFORM_ID:
    case MSR_EBL_CR_POWERON:
    case MSR_BBL_CR_CTL3:
        return !is_amd(cpu);
    case MSR_PERF_STATUS:
        *v = 1000 | 4ull << 40; /* a ratio of ten at 100 MHz */
        return !is_amd(cpu);
    case MSR_THERM_STATUS:
        return cpu_has(cpu, FEAT_1_EDX, F1_EDX_ACPI);
    default:
        return false;
    }
}

bool x86_msr_read(CPUX86 *cpu, uint32_t index, uint64_t *v)
{
    const PlainMsr *rule;
    uint64_t *slot = plain_slot(cpu, index, &rule);

    slot = slot ? slot : mtrr_slot(cpu, index);
    if (slot) {
        *v = *slot;
        return true;
    }
    if (is_mc_bank(cpu, index)) {
        *v = cpu->mce_banks[index - MSR_MC_FIRST];
        return true;
    }
    if (is_apic_msr(cpu, index)) {
        return cpu->apic_ops->read_msr(cpu->apic, index, v);
    }
    if (pv_is_msr(cpu, index)) {
        return pv_msr_read(cpu, index, v);
    }
    return read_common(cpu, index, v) || (is_amd(cpu) && read_amd(cpu, index, v)) ||
           read_legacy(cpu, index, v);
}

/* ---- WRMSR ---- */

static bool write_common(CPUX86 *cpu, uint32_t index, uint64_t v)
{
    switch (index) {
    case MSR_TSC:
        if (!cpu_has(cpu, FEAT_1_EDX, F1_EDX_TSC)) {
            return false;
        }
        write_tsc(cpu, v);
        return true;
    case MSR_APIC_BASE:
        return cpu->apic_ops && cpu_has(cpu, FEAT_1_EDX, F1_EDX_APIC) &&
               cpu->apic_ops->set_base(cpu->apic, v);
    case MSR_FEATURE_CONTROL:
        if (!cpu_has(cpu, FEAT_1_ECX, F1_ECX_VMX) || (cpu->feature_control & 1)) {
            return false;
        }
        cpu->feature_control = v;
        return true;
    case MSR_TSC_ADJUST:
        if (!cpu_has(cpu, FEAT_7_0_EBX, F7_EBX_TSC_ADJUST)) {
            return false;
        }
        write_tsc_adjust(cpu, v);
        return true;
    case MSR_PRED_CMD:
        return cpu_has(cpu, FEAT_7_0_EDX, F7_EDX_SPEC_CTRL) && !(v & ~1ull);
    case MSR_UCODE_REV:
        return !is_amd(cpu) && v == 0; /* the step before CPUID that reads the revision */
    case MSR_MCG_STATUS:
        if (!mc_banks(cpu) || (v & ~7ull)) {
            return false;
        }
        cpu->mcg_status = v;
        return true;
    case MSR_MCG_CTL:
        if (!mc_banks(cpu) || (v != 0 && v != UINT64_MAX)) {
            return false;
        }
        cpu->mcg_ctl = v;
        return true;
    case MSR_MISC_ENABLE:
        cpu->misc_enable = (v & ~MISC_ENABLE_RO) | (cpu->misc_enable & MISC_ENABLE_RO);
        return true;
    case MSR_DEBUGCTL:
        return v == 0; /* no last-branch records, no single-stepping by branches */
    case MSR_XSS:
        if (!cpu_has(cpu, FEAT_XSAVE, FXS_XSAVES) || (v & ~cpu_xss_supported(cpu))) {
            return false;
        }
        cpu->xss = v;
        return true;
    case MSR_EFER:
        return x86_efer_known(cpu) && x86_write_efer(cpu, v);
    case MSR_TSC_AUX:
        if (!has_tsc_aux(cpu) || v >> 32) {
            return false;
        }
        cpu->tsc_aux = v;
        return true;
    case MSR_P5_MC_ADDR:
    case MSR_P5_MC_TYPE:
        return v == 0;
    case MSR_BBL_CR_CTL3:
        return !is_amd(cpu) && v == 0;
    case MSR_THERM_STATUS:
        return cpu_has(cpu, FEAT_1_EDX, F1_EDX_ACPI); /* clears log bits, which are all 0 */
    default:
        return false;
    }
}

bool x86_msr_write(CPUX86 *cpu, uint32_t index, uint64_t v)
{
    const PlainMsr *rule;
    uint64_t *slot = plain_slot(cpu, index, &rule);

    if (slot) {
        if (!obeys_rule(cpu, rule->rule, v)) {
            return false;
        }
        *slot = v;
        return true;
    }
    slot = mtrr_slot(cpu, index);
    if (slot) {
        return write_mtrr(cpu, index, slot, v);
    }
    if (is_mc_bank(cpu, index)) {
        return write_mc_bank(cpu, index, v);
    }
    if (is_apic_msr(cpu, index)) {
        return cpu->apic_ops->write_msr(cpu->apic, index, v);
    }
    if (pv_is_msr(cpu, index)) {
        return pv_msr_write(cpu, index, v);
    }
    return write_common(cpu, index, v) || (is_amd(cpu) && write_amd(cpu, index, v));
}

/* ---- the instructions ---- */

/* Clocks, timers and the local APIC are somewhere among the others. */
static bool is_plain_state(uint32_t index)
{
    return (index >= MSR_EFER && index <= 0xc0000103u) ||
           (index >= MSR_SYSENTER_CS && index <= MSR_SYSENTER_EIP);
}

void helper_rdmsr(CPUX86 *cpu)
{
    uint32_t index = (uint32_t)cpu->regs[R_RCX];
    uint64_t v = 0;

    require_cpl0(cpu);
    svm_check_msr(cpu, index, false);
    if (!is_plain_state(index)) {
        tcg_exact(tcg_cpu(cpu));
    }
    if (!x86_msr_read(cpu, index, &v)) {
        guest_error("cpu", "read of unknown MSR %#x", index);
        x86_raise_error(cpu, EXC_GP, 0);
    }
    cpu->regs[R_RAX] = (uint32_t)v;
    cpu->regs[R_RDX] = v >> 32;
}

void helper_wrmsr(CPUX86 *cpu)
{
    uint32_t index = (uint32_t)cpu->regs[R_RCX];
    uint64_t v = (cpu->regs[R_RDX] << 32) | (uint32_t)cpu->regs[R_RAX];

    require_cpl0(cpu);
    svm_check_msr(cpu, index, true);
    if (!is_plain_state(index)) {
        tcg_exact(tcg_cpu(cpu));
    }
    if (!x86_msr_write(cpu, index, v)) {
        guest_error("cpu", "write of %#llx to MSR %#x refused", (unsigned long long)v, index);
        x86_raise_error(cpu, EXC_GP, 0);
    }
}
