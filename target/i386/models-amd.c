/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPU models of AMD, and the generic ones: what their CPUID says. */
#include "target/i386/model-data.h"

/* clang-format off */
static const CpuModelVersion versions_dhyana[] = {
    {.version = 2,
     .delta = "+xsaves"},
    {0},
};

static const CpuModelVersion versions_epyc[] = {
    {.version = 2, .alias = "EPYC-IBPB", .model_id = "AMD EPYC Processor (with IBPB)",
     .delta = "+ibpb"},
    {.version = 3, .model_id = "AMD EPYC Processor",
     .delta = "+perfctr-core +clzero +xsaveerptr +xsaves"},
    {.version = 4,
     .delta = ""},
    {.version = 5,
     .delta = "+lbrv +tsc-scale +vmcb-clean +flushbyasid +pause-filter +pfthreshold "
              "+v-vmsave-vmload +overflow-recov +succor"},
    {0},
};

static const CpuModelVersion versions_epyc_genoa[] = {
    {.version = 2,
     .delta = "+lbrv +tsc-scale +vmcb-clean +flushbyasid +pause-filter +pfthreshold "
              "+v-vmsave-vmload +overflow-recov +succor +fs-gs-base-ns +perfmon-v2"},
    {.version = 3,
     .delta = "+gmet"},
    {0},
};

static const CpuModelVersion versions_epyc_milan[] = {
    {.version = 2,
     .delta = "+vpclmulqdq +stibp-always-on +amd-psfd +lfence-always-serializing"},
    {.version = 3,
     .delta = "+lbrv +tsc-scale +vmcb-clean +flushbyasid +pause-filter +pfthreshold "
              "+v-vmsave-vmload +overflow-recov +succor"},
    {.version = 4,
     .delta = "+gmet"},
    {0},
};

static const CpuModelVersion versions_epyc_rome[] = {
    {.version = 2,
     .delta = "+ibrs +amd-ssbd"},
    {.version = 3,
     .delta = ""},
    {.version = 4,
     .delta = "-xsaves"},
    {.version = 5,
     .delta = "+lbrv +tsc-scale +vmcb-clean +flushbyasid +pause-filter +pfthreshold "
              "+v-vmsave-vmload +overflow-recov +succor"},
    {0},
};

static const CpuModelVersion versions_epyc_turin[] = {
    {.version = 2,
     .delta = "+gmet"},
    {0},
};

const CpuModel cpu_models_amd[] = {
    {.name = "486", .vendor = "GenuineIntel", .family = 4, .model = 8, .stepping = 0,
     .level = 1, .xlevel = 0x0,
     .model_id = "",
     .features =
        "fpu pse",
    },
    {.name = "kvm32", .vendor = "GenuineIntel", .family = 15, .model = 6, .stepping = 1,
     .level = 5, .xlevel = 0x80000008,
     .model_id = "Common 32-bit KVM processor",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni",
    },
    {.name = "kvm64", .vendor = "GenuineIntel", .family = 15, .model = 6, .stepping = 1,
     .level = 13, .xlevel = 0x80000008,
     .model_id = "Common KVM processor",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni cx16 syscall nx lm",
    },
    {.name = "qemu32", .vendor = "GenuineIntel", .family = 6, .model = 6, .stepping = 3,
     .level = 4, .xlevel = 0x80000004,
     .model_id = "QEMU Virtual CPU version 2.5+",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep pge cmov pat mmx fxsr sse sse2 pni",
    },
    {.name = "qemu64", .vendor = "AuthenticAMD", .family = 15, .model = 107, .stepping = 1,
     .level = 13, .xlevel = 0x8000000a,
     .model_id = "QEMU Virtual CPU version 2.5+",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni cx16 syscall nx lm lahf-lm svm",
    },
    {.name = "athlon", .vendor = "AuthenticAMD", .family = 6, .model = 2, .stepping = 3,
     .level = 2, .xlevel = 0x80000008,
     .model_id = "QEMU Virtual CPU version 2.5+",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 mmx fxsr sse "
        "sse2 mmxext 3dnowext 3dnow",
    },
    {.name = "Dhyana", .vendor = "HygonGenuine", .family = 24, .model = 0, .stepping = 1,
     .level = 13, .xlevel = 0x8000001e,
     .model_id = "Hygon Dhyana Processor",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni monitor ssse3 fma cx16 sse4.1 sse4.2 movbe popcnt xsave avx "
        "f16c rdrand fsgsbase bmi1 avx2 smep bmi2 rdseed adx smap clflushopt syscall nx "
        "mmxext fxsr-opt pdpe1gb rdtscp lm lahf-lm svm cr8legacy abm sse4a misalignsse "
        "3dnowprefetch osvw topoext ibpb xsaveopt xsavec xgetbv1 arat npt nrip-save",
     .versions = versions_dhyana,
    },
    {.name = "EPYC", .vendor = "AuthenticAMD", .family = 23, .model = 1, .stepping = 2,
     .level = 13, .xlevel = 0x8000001e,
     .model_id = "AMD EPYC Processor",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq monitor ssse3 fma cx16 sse4.1 sse4.2 movbe popcnt "
        "aes xsave avx f16c rdrand fsgsbase bmi1 avx2 smep bmi2 rdseed adx smap "
        "clflushopt sha-ni syscall nx mmxext fxsr-opt pdpe1gb rdtscp lm lahf-lm svm "
        "cr8legacy abm sse4a misalignsse 3dnowprefetch osvw topoext xsaveopt xsavec "
        "xgetbv1 arat npt nrip-save",
     .versions = versions_epyc,
    },
    {.name = "EPYC-Genoa", .vendor = "AuthenticAMD", .family = 25, .model = 17, .stepping = 0,
     .level = 13, .xlevel = 0x80000022,
     .model_id = "AMD EPYC-Genoa Processor",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq monitor ssse3 fma cx16 pcid sse4.1 sse4.2 movbe "
        "popcnt aes xsave avx f16c rdrand fsgsbase bmi1 avx2 smep bmi2 erms invpcid "
        "avx512f avx512dq adx smap avx512ifma clflushopt clwb avx512cd avx512bw avx512vl "
        "avx512vbmi umip pku avx512vbmi2 gfni vaes vpclmulqdq avx512vnni avx512bitalg "
        "avx512-vpopcntdq fsrm avx512-bf16 syscall nx mmxext fxsr-opt pdpe1gb rdtscp lm "
        "lahf-lm svm cr8legacy abm sse4a misalignsse osvw topoext perfctr-core clzero "
        "ibpb ibrs amd-stibp stibp-always-on amd-ssbd amd-psfd xsaveopt xsavec xgetbv1 "
        "xsaves arat npt nrip-save vnmi svme-addr-chk lfence-always-serializing auto-ibrs",
     .versions = versions_epyc_genoa,
    },
    {.name = "EPYC-Milan", .vendor = "AuthenticAMD", .family = 25, .model = 1, .stepping = 1,
     .level = 13, .xlevel = 0x8000001e,
     .model_id = "AMD EPYC-Milan Processor",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq monitor ssse3 fma cx16 pcid sse4.1 sse4.2 movbe "
        "popcnt aes xsave avx f16c rdrand fsgsbase bmi1 avx2 smep bmi2 erms invpcid "
        "rdseed adx smap clflushopt clwb sha-ni umip pku rdpid fsrm syscall nx mmxext "
        "fxsr-opt pdpe1gb rdtscp lm lahf-lm svm cr8legacy abm sse4a misalignsse "
        "3dnowprefetch osvw topoext perfctr-core clzero xsaveerptr wbnoinvd ibpb ibrs "
        "amd-stibp amd-ssbd xsaveopt xsavec xgetbv1 xsaves arat npt nrip-save "
        "svme-addr-chk",
     .versions = versions_epyc_milan,
    },
    {.name = "EPYC-Rome", .vendor = "AuthenticAMD", .family = 23, .model = 49, .stepping = 0,
     .level = 13, .xlevel = 0x8000001e,
     .model_id = "AMD EPYC-Rome Processor",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq monitor ssse3 fma cx16 sse4.1 sse4.2 movbe popcnt "
        "aes xsave avx f16c rdrand fsgsbase bmi1 avx2 smep bmi2 rdseed adx smap "
        "clflushopt clwb sha-ni umip rdpid syscall nx mmxext fxsr-opt pdpe1gb rdtscp lm "
        "lahf-lm svm cr8legacy abm sse4a misalignsse 3dnowprefetch osvw topoext "
        "perfctr-core clzero xsaveerptr wbnoinvd ibpb amd-stibp xsaveopt xsavec xgetbv1 "
        "xsaves arat npt nrip-save",
     .versions = versions_epyc_rome,
    },
    {.name = "EPYC-Turin", .vendor = "AuthenticAMD", .family = 26, .model = 0, .stepping = 0,
     .level = 13, .xlevel = 0x80000022,
     .model_id = "AMD EPYC-Turin Processor",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq monitor ssse3 fma cx16 pcid sse4.1 sse4.2 movbe "
        "popcnt aes xsave avx f16c rdrand fsgsbase bmi1 avx2 smep bmi2 erms invpcid "
        "avx512f avx512dq adx smap avx512ifma clflushopt clwb avx512cd avx512bw avx512vl "
        "avx512vbmi umip pku avx512vbmi2 gfni vaes vpclmulqdq avx512vnni avx512bitalg "
        "avx512-vpopcntdq movdiri movdir64b fsrm avx512-vp2intersect avx-vnni avx512-bf16 "
        "syscall nx mmxext fxsr-opt pdpe1gb rdtscp lm lahf-lm svm cr8legacy abm sse4a "
        "misalignsse osvw topoext perfctr-core clzero ibpb ibrs amd-stibp stibp-always-on "
        "amd-ssbd amd-psfd xsaveopt xsavec xgetbv1 xsaves arat npt lbrv nrip-save "
        "tsc-scale vmcb-clean flushbyasid pause-filter pfthreshold v-vmsave-vmload vnmi "
        "svme-addr-chk overflow-recov succor fs-gs-base-ns lfence-always-serializing "
        "auto-ibrs prefetchi sbpb ibpb-brtype srso-user-kernel-no perfmon-v2",
     .versions = versions_epyc_turin,
    },
    {.name = "Opteron_G1", .vendor = "AuthenticAMD", .family = 15, .model = 6, .stepping = 1,
     .level = 5, .xlevel = 0x80000008,
     .model_id = "AMD Opteron 240 (Gen 1 Class Opteron)",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni syscall nx lm",
    },
    {.name = "Opteron_G2", .vendor = "AuthenticAMD", .family = 15, .model = 6, .stepping = 1,
     .level = 5, .xlevel = 0x8000000a,
     .model_id = "AMD Opteron 22xx (Gen 2 Class Opteron)",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni cx16 syscall nx lm lahf-lm svm",
    },
    {.name = "Opteron_G3", .vendor = "AuthenticAMD", .family = 16, .model = 2, .stepping = 3,
     .level = 5, .xlevel = 0x8000000a,
     .model_id = "AMD Opteron 23xx (Gen 3 Class Opteron)",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni monitor cx16 popcnt syscall nx rdtscp lm lahf-lm svm abm sse4a "
        "misalignsse",
    },
    {.name = "Opteron_G4", .vendor = "AuthenticAMD", .family = 21, .model = 1, .stepping = 2,
     .level = 13, .xlevel = 0x8000001a,
     .model_id = "AMD Opteron 62xx class CPU",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 cx16 sse4.1 sse4.2 popcnt aes xsave avx "
        "syscall nx pdpe1gb rdtscp lm lahf-lm svm abm sse4a misalignsse 3dnowprefetch xop "
        "fma4 npt nrip-save",
    },
    {.name = "Opteron_G5", .vendor = "AuthenticAMD", .family = 21, .model = 2, .stepping = 0,
     .level = 13, .xlevel = 0x8000001a,
     .model_id = "AMD Opteron 63xx class CPU",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 fma cx16 sse4.1 sse4.2 popcnt aes xsave avx "
        "f16c syscall nx pdpe1gb rdtscp lm lahf-lm svm abm sse4a misalignsse "
        "3dnowprefetch xop fma4 tbm npt nrip-save",
    },
    {.name = "phenom", .vendor = "AuthenticAMD", .family = 16, .model = 2, .stepping = 3,
     .level = 5, .xlevel = 0x8000001a,
     .model_id = "AMD Phenom(tm) 9550 Quad-Core Processor",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni monitor cx16 popcnt syscall nx mmxext fxsr-opt pdpe1gb rdtscp "
        "lm 3dnowext 3dnow lahf-lm svm abm sse4a npt",
    },
    {0},
};
