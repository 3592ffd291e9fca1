/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The names of CPUID's feature bits, as -cpu takes them. */
#include "target/i386/model.h"

typedef struct FeatureWord {
    const char *where;
    const char *names[32];
} FeatureWord;

/* clang-format off */
static const FeatureWord feature_words[FEATURE_WORDS] = {
    [FEAT_1_EDX] = {"CPUID.01H:EDX", {
        "fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce",
        "cx8", "apic", NULL, "sep", "mtrr", "pge", "mca", "cmov",
        "pat", "pse36", "pn", "clflush", NULL, "ds", "acpi", "mmx",
        "fxsr", "sse", "sse2", "ss", "ht", "tm", "ia64", "pbe"}},
    [FEAT_1_ECX] = {"CPUID.01H:ECX", {
        "pni", "pclmulqdq", "dtes64", "monitor", "ds-cpl", "vmx", "smx", "est",
        "tm2", "ssse3", "cid", NULL, "fma", "cx16", "xtpr", "pdcm",
        NULL, "pcid", "dca", "sse4.1", "sse4.2", "x2apic", "movbe", "popcnt",
        "tsc-deadline", "aes", "xsave", NULL, "avx", "f16c", "rdrand", "hypervisor"}},
    [FEAT_7_0_EBX] = {"CPUID.07H:EBX", {
        "fsgsbase", "tsc-adjust", "sgx", "bmi1", "hle", "avx2", "fdp-excptn-only", "smep",
        "bmi2", "erms", "invpcid", "rtm", NULL, "zero-fcs-fds", "mpx", NULL,
        "avx512f", "avx512dq", "rdseed", "adx", "smap", "avx512ifma", "pcommit", "clflushopt",
        "clwb", "intel-pt", "avx512pf", "avx512er", "avx512cd", "sha-ni", "avx512bw", "avx512vl"}},
    [FEAT_7_0_ECX] = {"CPUID.07H:ECX", {
        NULL, "avx512vbmi", "umip", "pku", NULL, "waitpkg", "avx512vbmi2", "cet-ss",
        "gfni", "vaes", "vpclmulqdq", "avx512vnni", "avx512bitalg", NULL, "avx512-vpopcntdq", NULL,
        "la57", NULL, NULL, NULL, NULL, NULL, "rdpid", NULL,
        "bus-lock-detect", "cldemote", NULL, "movdiri", "movdir64b", NULL, "sgxlc", "pks"}},
    [FEAT_7_0_EDX] = {"CPUID.07H:EDX", {
        [2] = "avx512-4vnniw", [3] = "avx512-4fmaps", [4] = "fsrm", [8] = "avx512-vp2intersect",
        [10] = "md-clear", [14] = "serialize", [16] = "tsx-ldtrk", [19] = "arch-lbr",
        [20] = "cet-ibt", [22] = "amx-bf16", [23] = "avx512-fp16", [24] = "amx-tile",
        [25] = "amx-int8", [26] = "spec-ctrl", [27] = "stibp", [28] = "flush-l1d",
        [29] = "arch-capabilities", [30] = "core-capability", [31] = "ssbd"}},
    [FEAT_7_1_EAX] = {"CPUID.07H_01H:EAX", {
        [0] = "sha512", [1] = "sm3", [2] = "sm4", [4] = "avx-vnni", [5] = "avx512-bf16",
        [7] = "cmpccxadd", [10] = "fzrm", [11] = "fsrs", [12] = "fsrc", [17] = "fred",
        [18] = "lkgs", [19] = "wrmsrns", [21] = "amx-fp16", [23] = "avx-ifma", [26] = "lam",
        [31] = "movrs"}},
    [FEAT_7_1_EDX] = {"CPUID.07H_01H:EDX", {
        [4] = "avx-vnni-int8", [5] = "avx-ne-convert", [8] = "amx-complex",
        [10] = "avx-vnni-int16", [14] = "prefetchiti", [19] = "avx10", [21] = "apxf"}},
    [FEAT_7_2_EDX] = {"CPUID.07H_02H:EDX", {
        "intel-psfd", "ipred-ctrl", "rrsba-ctrl", "ddpd-u", "bhi-ctrl", "mcdt-no"}},
    [FEAT_1E_1_EAX] = {"CPUID.1EH_01H:EAX", {
        "amx-int8-alias", "amx-bf16-alias", "amx-complex-alias", "amx-fp16-alias", "amx-fp8", NULL,
        "amx-tf32", "amx-avx512", "amx-movrs"}},
    [FEAT_24_0_EBX] = {"CPUID.24H:EBX", {
        [16] = "avx10-128", [17] = "avx10-256", [18] = "avx10-512"}},
    [FEAT_24_1_ECX] = {"CPUID.24H_01H:ECX", {[2] = "avx10-vnni-int"}},
    [FEAT_29_0_EBX] = {"CPUID.29H:EBX", {[0] = "apx-nci-ndd-nf"}},
    [FEAT_80000001_EDX] = {"CPUID.80000001H:EDX", {
        [11] = "syscall", [20] = "nx", [22] = "mmxext", [25] = "fxsr-opt",
        [26] = "pdpe1gb", [27] = "rdtscp", [29] = "lm", [30] = "3dnowext", [31] = "3dnow"}},
    [FEAT_80000001_ECX] = {"CPUID.80000001H:ECX", {
        "lahf-lm", "cmp-legacy", "svm", "extapic", "cr8legacy", "abm", "sse4a", "misalignsse",
        "3dnowprefetch", "osvw", "ibs", "xop", "skinit", "wdt", NULL, "lwp",
        "fma4", "tce", NULL, "nodeid-msr", NULL, "tbm", "topoext", "perfctr-core",
        "perfctr-nb"}},
    [FEAT_80000007_EBX] = {"CPUID.80000007H:EBX", {"overflow-recov", "succor"}},
    [FEAT_80000007_EDX] = {"CPUID.80000007H:EDX", {[8] = "invtsc"}},
    [FEAT_80000008_EBX] = {"CPUID.80000008H:EBX", {
        [0] = "clzero", [2] = "xsaveerptr", [9] = "wbnoinvd", [12] = "ibpb", [14] = "ibrs",
        [15] = "amd-stibp", [17] = "stibp-always-on", [24] = "amd-ssbd", [25] = "virt-ssbd",
        [26] = "amd-no-ssb", [28] = "amd-psfd"}},
    [FEAT_80000021_EAX] = {"CPUID.80000021H:EAX", {
        [0] = "no-nested-data-bp", [1] = "fs-gs-base-ns", [2] = "lfence-always-serializing",
        [6] = "null-sel-clr-base", [8] = "auto-ibrs", [20] = "prefetchi", [24] = "eraps",
        [27] = "sbpb", [28] = "ibpb-brtype", [29] = "srso-no", [30] = "srso-user-kernel-no"}},
    [FEAT_80000022_EAX] = {"CPUID.80000022H:EAX", {"perfmon-v2"}},
    [FEAT_XSAVE] = {"CPUID.0DH_01H:EAX", {"xsaveopt", "xsavec", "xgetbv1", "xsaves", "xfd"}},
    [FEAT_6_EAX] = {"CPUID.06H:EAX", {[2] = "arat"}},
    [FEAT_SVM] = {"CPUID.8000000AH:EDX", {
        "npt", "lbrv", "svm-lock", "nrip-save", "tsc-scale", "vmcb-clean", "flushbyasid",
        "decodeassists", NULL, NULL, "pause-filter", NULL, "pfthreshold", "avic", NULL,
        "v-vmsave-vmload", "vgif", "gmet", [25] = "vnmi", [28] = "svme-addr-chk"}},
    [FEAT_KVM] = {"CPUID.40000001H:EAX", {
        "kvmclock", "kvm-nopiodelay", "kvm-mmu", NULL, "kvm-asyncpf", "kvm-steal-time",
        "kvm-pv-eoi", "kvm-pv-unhalt", NULL, "kvm-pv-tlb-flush", "kvm-asyncpf-vmexit", "kvm-pv-ipi",
        "kvm-poll-control", "kvm-pv-sched-yield", "kvm-asyncpf-int", "kvm-msi-ext-dest-id",
        [24] = "kvmclock-stable-bit"}},
    [FEAT_ARCH_CAPABILITIES] = {"MSR(10AH)", {
        "rdctl-no", "ibrs-all", "rsba", "skip-l1dfl-vmentry", "ssb-no", "mds-no",
        "pschange-mc-no", "tsx-ctrl", "taa-no", [13] = "sbdr-ssdp-no", [14] = "fbsdp-no",
        [15] = "psdp-no", [17] = "fb-clear", [20] = "bhi-no", [24] = "pbrsb-no", [26] = "gds-no",
        [27] = "rfds-no", [28] = "rfds-clear"}},
    [FEAT_ARCH_CAPABILITIES_HIGH] = {"MSR(10AH) high", {[30] = "its-no"}},
    [FEAT_CORE_CAPABILITY] = {"MSR(CFH)", {[5] = "split-lock-detect"}},
    [FEAT_C0000001_EDX] = {"CPUID.C0000001H:EDX", {
        [2] = "xstore", [3] = "xstore-en", [6] = "xcrypt", [7] = "xcrypt-en", [8] = "ace2",
        [9] = "ace2-en", [10] = "phe", [11] = "phe-en", [12] = "pmm", [13] = "pmm-en"}},
};

/* Other names for the same bits. Underscores are taken for hyphens before this is asked. */
static const struct { const char *alias, *name; } feature_aliases[] = {
    {"sse3", "pni"}, {"pclmuldq", "pclmulqdq"}, {"sse4-1", "sse4.1"}, {"sse4-2", "sse4.2"},
    {"xd", "nx"}, {"i64", "lm"}, {"ffxsr", "fxsr-opt"},
};
/* clang-format on */

const char *cpu_feature_name(CpuFeatureWord word, unsigned bit)
{
    return word < FEATURE_WORDS && bit < 32 ? feature_words[word].names[bit] : NULL;
}

const char *cpu_feature_word_name(CpuFeatureWord word)
{
    return feature_words[word].where;
}

static bool find_exact(const char *name, CpuFeatureWord *word, uint32_t *bit)
{
    for (unsigned w = 0; w < FEATURE_WORDS; w++) {
        for (unsigned b = 0; b < 32; b++) {
            if (feature_words[w].names[b] && !strcmp(feature_words[w].names[b], name)) {
                *word = w;
                *bit = 1u << b;
                return true;
            }
        }
    }
    return false;
}

bool cpu_feature_find(const char *name, CpuFeatureWord *word, uint32_t *bit)
{
    g_autofree char *n = g_strdup(name);

    g_strdelimit(n, "_", '-');
    for (size_t i = 0; i < ARRAY_LEN(feature_aliases); i++) {
        if (!strcmp(n, feature_aliases[i].alias)) {
            return find_exact(feature_aliases[i].name, word, bit);
        }
    }
    return find_exact(n, word, bit);
}

const char **cpu_feature_names(void)
{
    GPtrArray *a = g_ptr_array_new();

    for (unsigned w = 0; w < FEATURE_WORDS; w++) {
        for (unsigned b = 0; b < 32; b++) {
            if (feature_words[w].names[b]) {
                g_ptr_array_add(a, (char *)feature_words[w].names[b]);
            }
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(feature_aliases); i++) {
        g_ptr_array_add(a, (char *)feature_aliases[i].alias);
    }
    g_ptr_array_add(a, NULL);
    return (const char **)g_ptr_array_free(a, FALSE);
}
