/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPU models of Intel since Cascade Lake, Atom servers, Zhaoxin: what their CPUID says. */
#include "target/i386/model-data.h"

/* clang-format off */
static const CpuModelVersion versions_cascadelake_server[] = {
    {.version = 2,
     .delta = "+arch-capabilities +rdctl-no +ibrs-all +skip-l1dfl-vmentry +mds-no"},
    {.version = 3, .alias = "Cascadelake-Server-noTSX",
     .delta = "-hle -rtm"},
    {.version = 4,
     .delta = ""},
    {.version = 5,
     .delta = "+xsaves"},
    {.version = 6,
     .delta = ""},
    {.version = 7,
     .delta = ""},
    {0},
};

static const CpuModelVersion versions_clearwaterforest[] = {
    {.version = 2,
     .delta = "+cet-ss +cet-ibt"},
    {.version = 3,
     .delta = "+its-no"},
    {.version = 4,
     .delta = ""},
    {0},
};

static const CpuModelVersion versions_cooperlake[] = {
    {.version = 2,
     .delta = "+xsaves"},
    {0},
};

static const CpuModelVersion versions_denverton[] = {
    {.version = 2,
     .delta = "-monitor -mpx"},
    {.version = 3,
     .delta = "+xsaves"},
    {0},
};

static const CpuModelVersion versions_diamondrapids[] = {
    {.version = 2,
     .delta = ""},
    {0},
};

static const CpuModelVersion versions_graniterapids[] = {
    {.version = 2,
     .delta = "+tsc-adjust +cldemote +movdiri +movdir64b +avx10 +avx10-128 +avx10-256 "
              "+avx10-512"},
    {.version = 3,
     .delta = ""},
    {.version = 4,
     .delta = "+cet-ss +cet-ibt"},
    {.version = 5,
     .delta = "+its-no"},
    {.version = 6,
     .delta = ""},
    {.version = 7,
     .delta = ""},
    {0},
};

static const CpuModelVersion versions_icelake_server[] = {
    {.version = 2, .alias = "Icelake-Server-noTSX",
     .delta = "-hle -rtm"},
    {.version = 3,
     .delta = "+arch-capabilities +rdctl-no +ibrs-all +skip-l1dfl-vmentry +mds-no "
              "+pschange-mc-no +taa-no"},
    {.version = 4, .model = 106,
     .delta = "+avx512ifma +sha-ni +rdpid +fsrm"},
    {.version = 5,
     .delta = "+xsaves"},
    {.version = 6,
     .delta = ""},
    {.version = 7,
     .delta = "+hle +rtm"},
    {.version = 8,
     .delta = ""},
    {.version = 9,
     .delta = ""},
    {0},
};

static const CpuModelVersion versions_sapphirerapids[] = {
    {.version = 2,
     .delta = ""},
    {.version = 3,
     .delta = "+tsc-adjust +cldemote +movdiri +movdir64b"},
    {.version = 4,
     .delta = ""},
    {.version = 5,
     .delta = "+cet-ss +cet-ibt"},
    {.version = 6,
     .delta = "+its-no"},
    {.version = 7,
     .delta = ""},
    {.version = 8,
     .delta = ""},
    {0},
};

static const CpuModelVersion versions_sierraforest[] = {
    {.version = 2,
     .delta = "+tsc-adjust +cldemote +movdiri +movdir64b +lam +intel-psfd +ipred-ctrl "
              "+rrsba-ctrl +bhi-ctrl"},
    {.version = 3,
     .delta = ""},
    {.version = 4,
     .delta = "+cet-ss +cet-ibt"},
    {.version = 5,
     .delta = "+its-no"},
    {.version = 6,
     .delta = ""},
    {0},
};

static const CpuModelVersion versions_snowridge[] = {
    {.version = 2, .model_id = "Intel Atom Processor (Snowridge, no MPX)",
     .delta = "-mpx"},
    {.version = 3,
     .delta = "+xsaves"},
    {.version = 4,
     .delta = "-core-capability -split-lock-detect"},
    {0},
};

static const CpuModelVersion versions_yongfeng[] = {
    {.version = 2,
     .delta = ""},
    {.version = 3,
     .delta = ""},
    {0},
};

const CpuModel cpu_models_intel_new[] = {
    {.name = "Cascadelake-Server", .vendor = "GenuineIntel", .family = 6, .model = 85, .stepping = 6,
     .level = 13, .xlevel = 0x80000008,
     .model_id = "Intel Xeon Processor (Cascadelake)",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 fma cx16 pcid sse4.1 sse4.2 x2apic movbe "
        "popcnt tsc-deadline aes xsave avx f16c rdrand fsgsbase bmi1 hle avx2 smep bmi2 "
        "erms invpcid rtm avx512f avx512dq rdseed adx smap clflushopt clwb avx512cd "
        "avx512bw avx512vl pku avx512vnni spec-ctrl ssbd syscall nx pdpe1gb rdtscp lm "
        "lahf-lm abm 3dnowprefetch xsaveopt xsavec xgetbv1 arat",
     .versions = versions_cascadelake_server,
    },
    {.name = "ClearwaterForest", .vendor = "GenuineIntel", .family = 6, .model = 221, .stepping = 0,
     .level = 0x23, .xlevel = 0x80000008,
     .model_id = "Intel Xeon Processor (ClearwaterForest)",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 fma cx16 pcid sse4.1 sse4.2 movbe popcnt "
        "tsc-deadline aes xsave avx f16c rdrand fsgsbase tsc-adjust bmi1 avx2 smep bmi2 "
        "erms invpcid adx smap clflushopt clwb umip pku gfni vaes vpclmulqdq la57 rdpid "
        "bus-lock-detect cldemote movdiri movdir64b fsrm serialize spec-ctrl "
        "arch-capabilities ssbd sha512 sm3 sm4 avx-vnni avx-ifma lam syscall nx pdpe1gb "
        "rdtscp lm lahf-lm abm xsaveopt xsavec xgetbv1 xsaves arat avx-vnni-int8 "
        "avx-ne-convert avx-vnni-int16 prefetchiti intel-psfd ipred-ctrl rrsba-ctrl "
        "ddpd-u bhi-ctrl mcdt-no",
     .versions = versions_clearwaterforest,
    },
    {.name = "Cooperlake", .vendor = "GenuineIntel", .family = 6, .model = 85, .stepping = 10,
     .level = 13, .xlevel = 0x80000008,
     .model_id = "Intel Xeon Processor (Cooperlake)",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 fma cx16 pcid sse4.1 sse4.2 x2apic movbe "
        "popcnt tsc-deadline aes xsave avx f16c rdrand fsgsbase bmi1 hle avx2 smep bmi2 "
        "erms invpcid rtm avx512f avx512dq rdseed adx smap clflushopt clwb avx512cd "
        "avx512bw avx512vl pku avx512vnni spec-ctrl stibp arch-capabilities ssbd "
        "avx512-bf16 syscall nx pdpe1gb rdtscp lm lahf-lm abm 3dnowprefetch xsaveopt "
        "xsavec xgetbv1 arat rdctl-no ibrs-all skip-l1dfl-vmentry mds-no pschange-mc-no "
        "taa-no",
     .versions = versions_cooperlake,
    },
    {.name = "Denverton", .vendor = "GenuineIntel", .family = 6, .model = 95, .stepping = 1,
     .level = 0x15, .xlevel = 0x80000008,
     .model_id = "Intel Atom Processor (Denverton)",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq monitor ssse3 cx16 sse4.1 sse4.2 x2apic movbe popcnt "
        "tsc-deadline aes xsave rdrand fsgsbase smep erms mpx rdseed smap clflushopt "
        "sha-ni spec-ctrl arch-capabilities ssbd syscall nx pdpe1gb rdtscp lm lahf-lm "
        "3dnowprefetch xsaveopt xsavec xgetbv1 arat rdctl-no skip-l1dfl-vmentry",
     .versions = versions_denverton,
    },
    {.name = "DiamondRapids", .vendor = "GenuineIntel", .family = 19, .model = 1, .stepping = 0,
     .level = 0x24, .xlevel = 0x80000008,
     .model_id = "Intel Xeon Processor (DiamondRapids)",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 fma cx16 pcid sse4.1 sse4.2 movbe popcnt "
        "tsc-deadline aes xsave avx f16c rdrand fsgsbase tsc-adjust bmi1 hle avx2 "
        "fdp-excptn-only smep bmi2 erms invpcid rtm zero-fcs-fds avx512f avx512dq adx "
        "smap avx512ifma clflushopt clwb avx512cd avx512bw avx512vl avx512vbmi umip pku "
        "avx512vbmi2 cet-ss gfni vaes vpclmulqdq avx512vnni avx512bitalg avx512-vpopcntdq "
        "la57 rdpid bus-lock-detect cldemote movdiri movdir64b fsrm md-clear serialize "
        "tsx-ldtrk cet-ibt amx-bf16 avx512-fp16 amx-tile amx-int8 spec-ctrl stibp "
        "flush-l1d arch-capabilities ssbd avx-vnni avx512-bf16 fred lkgs wrmsrns amx-fp16 "
        "avx-ifma lam movrs syscall nx pdpe1gb rdtscp lm lahf-lm abm xsaveopt xsavec "
        "xgetbv1 xsaves xfd arat avx-vnni-int8 avx-ne-convert amx-complex prefetchiti "
        "avx10 apxf intel-psfd ipred-ctrl rrsba-ctrl ddpd-u bhi-ctrl mcdt-no "
        "amx-int8-alias amx-bf16-alias amx-complex-alias amx-fp16-alias amx-fp8 amx-tf32 "
        "amx-avx512 amx-movrs avx10-128 avx10-256 avx10-512 avx10-vnni-int apx-nci-ndd-nf",
     .versions = versions_diamondrapids,
    },
    {.name = "GraniteRapids", .vendor = "GenuineIntel", .family = 6, .model = 173, .stepping = 0,
     .level = 0x20, .xlevel = 0x80000008,
     .model_id = "Intel Xeon Processor (GraniteRapids)",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 fma cx16 pcid sse4.1 sse4.2 movbe popcnt "
        "tsc-deadline aes xsave avx f16c rdrand fsgsbase bmi1 hle avx2 smep bmi2 erms "
        "invpcid rtm avx512f avx512dq adx smap avx512ifma clflushopt clwb avx512cd "
        "avx512bw avx512vl avx512vbmi umip pku avx512vbmi2 gfni vaes vpclmulqdq "
        "avx512vnni avx512bitalg avx512-vpopcntdq la57 rdpid bus-lock-detect fsrm "
        "serialize tsx-ldtrk amx-bf16 avx512-fp16 amx-tile amx-int8 spec-ctrl "
        "arch-capabilities ssbd avx-vnni avx512-bf16 amx-fp16 syscall nx pdpe1gb rdtscp "
        "lm lahf-lm abm xsaveopt xsavec xgetbv1 xsaves xfd arat prefetchiti mcdt-no",
     .versions = versions_graniterapids,
    },
    {.name = "Icelake-Server", .vendor = "GenuineIntel", .family = 6, .model = 134, .stepping = 0,
     .level = 13, .xlevel = 0x80000008,
     .model_id = "Intel Xeon Processor (Icelake)",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 fma cx16 pcid sse4.1 sse4.2 x2apic movbe "
        "popcnt tsc-deadline aes xsave avx f16c rdrand fsgsbase bmi1 hle avx2 smep bmi2 "
        "erms invpcid rtm avx512f avx512dq rdseed adx smap clflushopt clwb avx512cd "
        "avx512bw avx512vl avx512vbmi umip pku avx512vbmi2 gfni vaes vpclmulqdq "
        "avx512vnni avx512bitalg avx512-vpopcntdq la57 spec-ctrl ssbd syscall nx pdpe1gb "
        "rdtscp lm lahf-lm abm 3dnowprefetch wbnoinvd xsaveopt xsavec xgetbv1 arat",
     .versions = versions_icelake_server,
    },
    {.name = "KnightsMill", .vendor = "GenuineIntel", .family = 6, .model = 133, .stepping = 0,
     .level = 13, .xlevel = 0x80000008,
     .model_id = "Intel Xeon Phi Processor (Knights Mill)",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 ss pni pclmulqdq ssse3 fma cx16 sse4.1 sse4.2 x2apic movbe popcnt "
        "tsc-deadline aes xsave avx f16c rdrand fsgsbase bmi1 avx2 smep bmi2 erms avx512f "
        "rdseed adx avx512pf avx512er avx512cd avx512-vpopcntdq avx512-4vnniw "
        "avx512-4fmaps syscall nx pdpe1gb rdtscp lm lahf-lm abm 3dnowprefetch xsaveopt "
        "arat",
    },
    {.name = "SapphireRapids", .vendor = "GenuineIntel", .family = 6, .model = 143, .stepping = 4,
     .level = 0x20, .xlevel = 0x80000008,
     .model_id = "Intel Xeon Processor (SapphireRapids)",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 fma cx16 pcid sse4.1 sse4.2 movbe popcnt "
        "tsc-deadline aes xsave avx f16c rdrand fsgsbase bmi1 hle avx2 smep bmi2 erms "
        "invpcid rtm avx512f avx512dq adx smap avx512ifma clflushopt clwb avx512cd "
        "avx512bw avx512vl avx512vbmi umip pku avx512vbmi2 gfni vaes vpclmulqdq "
        "avx512vnni avx512bitalg avx512-vpopcntdq la57 rdpid bus-lock-detect fsrm "
        "serialize tsx-ldtrk amx-bf16 avx512-fp16 amx-tile amx-int8 spec-ctrl "
        "arch-capabilities ssbd avx-vnni avx512-bf16 syscall nx pdpe1gb rdtscp lm lahf-lm "
        "abm xsaveopt xsavec xgetbv1 xsaves xfd arat",
     .versions = versions_sapphirerapids,
    },
    {.name = "SierraForest", .vendor = "GenuineIntel", .family = 6, .model = 175, .stepping = 0,
     .level = 0x23, .xlevel = 0x80000008,
     .model_id = "Intel Xeon Processor (SierraForest)",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 fma cx16 pcid sse4.1 sse4.2 movbe popcnt "
        "tsc-deadline aes xsave avx f16c rdrand fsgsbase bmi1 avx2 smep bmi2 erms invpcid "
        "adx smap clflushopt clwb umip pku gfni vaes vpclmulqdq la57 rdpid "
        "bus-lock-detect fsrm serialize spec-ctrl arch-capabilities ssbd avx-vnni "
        "avx-ifma syscall nx pdpe1gb rdtscp lm lahf-lm abm xsaveopt xsavec xgetbv1 xsaves "
        "arat avx-vnni-int8 avx-ne-convert mcdt-no",
     .versions = versions_sierraforest,
    },
    {.name = "Snowridge", .vendor = "GenuineIntel", .family = 6, .model = 134, .stepping = 1,
     .level = 0x1b, .xlevel = 0x80000008,
     .model_id = "Intel Atom Processor (SnowRidge)",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq monitor ssse3 cx16 sse4.1 sse4.2 x2apic movbe popcnt "
        "tsc-deadline aes xsave rdrand fsgsbase smep erms mpx rdseed smap clflushopt clwb "
        "sha-ni umip gfni cldemote movdiri movdir64b spec-ctrl arch-capabilities "
        "core-capability ssbd syscall nx pdpe1gb rdtscp lm lahf-lm 3dnowprefetch xsaveopt "
        "xsavec xgetbv1 arat split-lock-detect",
     .versions = versions_snowridge,
    },
    {.name = "YongFeng", .vendor = "CentaurHauls", .family = 7, .model = 11, .stepping = 3,
     .level = 0x1f, .xlevel = 0x80000008,
     .model_id = "Zhaoxin YongFeng Processor",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 fma cx16 pcid sse4.1 sse4.2 movbe popcnt "
        "tsc-deadline aes xsave avx f16c rdrand fsgsbase bmi1 avx2 smep bmi2 erms invpcid "
        "adx smap sha-ni spec-ctrl arch-capabilities syscall nx rdtscp lm lahf-lm abm "
        "invtsc xsaveopt xgetbv1 arat xstore xstore-en xcrypt xcrypt-en ace2 phe phe-en "
        "pmm pmm-en",
     .versions = versions_yongfeng,
    },
    {0},
};
