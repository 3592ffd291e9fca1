/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPU models of Intel, up to Skylake: what their CPUID says. */
#include "target/i386/model-data.h"

/* clang-format off */
static const CpuModelVersion versions_broadwell[] = {
    {.version = 2, .alias = "Broadwell-noTSX", .model_id = "Intel Core Processor (Broadwell, no TSX)",
     .delta = "-hle -rtm"},
    {.version = 3, .alias = "Broadwell-IBRS", .model_id = "Intel Core Processor (Broadwell, IBRS)",
     .delta = "+hle +rtm +spec-ctrl"},
    {.version = 4, .alias = "Broadwell-noTSX-IBRS", .model_id = "Intel Core Processor (Broadwell, no TSX, IBRS)",
     .delta = "-hle -rtm"},
    {0},
};

static const CpuModelVersion versions_haswell[] = {
    {.version = 2, .alias = "Haswell-noTSX", .stepping = 1, .model_id = "Intel Core Processor (Haswell, no TSX)",
     .delta = "-hle -rtm"},
    {.version = 3, .alias = "Haswell-IBRS", .stepping = 4, .model_id = "Intel Core Processor (Haswell, IBRS)",
     .delta = "+hle +rtm +spec-ctrl"},
    {.version = 4, .alias = "Haswell-noTSX-IBRS", .stepping = 1, .model_id = "Intel Core Processor (Haswell, no TSX, IBRS)",
     .delta = "-hle -rtm"},
    {0},
};

static const CpuModelVersion versions_ivybridge[] = {
    {.version = 2, .alias = "IvyBridge-IBRS", .model_id = "Intel Xeon E3-12xx v2 (Ivy Bridge, IBRS)",
     .delta = "+spec-ctrl"},
    {0},
};

static const CpuModelVersion versions_nehalem[] = {
    {.version = 2, .alias = "Nehalem-IBRS", .model_id = "Intel Core i7 9xx (Nehalem Core i7, IBRS update)",
     .delta = "+spec-ctrl"},
    {0},
};

static const CpuModelVersion versions_sandybridge[] = {
    {.version = 2, .alias = "SandyBridge-IBRS", .model_id = "Intel Xeon E312xx (Sandy Bridge, IBRS update)",
     .delta = "+spec-ctrl"},
    {0},
};

static const CpuModelVersion versions_skylake_client[] = {
    {.version = 2, .alias = "Skylake-Client-IBRS", .model_id = "Intel Core Processor (Skylake, IBRS)",
     .delta = "+spec-ctrl"},
    {.version = 3, .alias = "Skylake-Client-noTSX-IBRS", .model_id = "Intel Core Processor (Skylake, IBRS, no TSX)",
     .delta = "-hle -rtm"},
    {.version = 4,
     .delta = "+xsaves"},
    {0},
};

static const CpuModelVersion versions_skylake_server[] = {
    {.version = 2, .alias = "Skylake-Server-IBRS", .model_id = "Intel Xeon Processor (Skylake, IBRS)",
     .delta = "+spec-ctrl -clflushopt"},
    {.version = 3, .alias = "Skylake-Server-noTSX-IBRS", .model_id = "Intel Xeon Processor (Skylake, IBRS, no TSX)",
     .delta = "-hle -rtm"},
    {.version = 4,
     .delta = ""},
    {.version = 5,
     .delta = "+xsaves"},
    {.version = 6,
     .delta = ""},
    {0},
};

static const CpuModelVersion versions_westmere[] = {
    {.version = 2, .alias = "Westmere-IBRS", .model_id = "Westmere E56xx/L56xx/X56xx (IBRS update)",
     .delta = "+spec-ctrl"},
    {0},
};

const CpuModel cpu_models_intel[] = {
    {.name = "Broadwell", .vendor = "GenuineIntel", .family = 6, .model = 61, .stepping = 2,
     .level = 13, .xlevel = 0x80000008,
     .model_id = "Intel Core Processor (Broadwell)",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 fma cx16 pcid sse4.1 sse4.2 x2apic movbe "
        "popcnt tsc-deadline aes xsave avx f16c rdrand fsgsbase bmi1 hle avx2 smep bmi2 "
        "erms invpcid rtm rdseed adx smap syscall nx rdtscp lm lahf-lm abm 3dnowprefetch "
        "xsaveopt arat",
     .versions = versions_broadwell,
    },
    {.name = "Conroe", .vendor = "GenuineIntel", .family = 6, .model = 15, .stepping = 3,
     .level = 10, .xlevel = 0x80000008,
     .model_id = "Intel Celeron_4x0 (Conroe/Merom Class Core 2)",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni ssse3 syscall nx lm lahf-lm",
    },
    {.name = "core2duo", .vendor = "GenuineIntel", .family = 6, .model = 15, .stepping = 11,
     .level = 10, .xlevel = 0x80000008,
     .model_id = "Intel(R) Core(TM)2 Duo CPU     T7700  @ 2.40GHz",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush acpi "
        "mmx fxsr sse sse2 ss pni monitor ssse3 cx16 syscall nx lm lahf-lm",
    },
    {.name = "coreduo", .vendor = "GenuineIntel", .family = 6, .model = 14, .stepping = 8,
     .level = 10, .xlevel = 0x80000008,
     .model_id = "Genuine Intel(R) CPU           T2600  @ 2.16GHz",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat clflush acpi mmx "
        "fxsr sse sse2 ss pni monitor nx",
    },
    {.name = "Haswell", .vendor = "GenuineIntel", .family = 6, .model = 60, .stepping = 4,
     .level = 13, .xlevel = 0x80000008,
     .model_id = "Intel Core Processor (Haswell)",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 fma cx16 pcid sse4.1 sse4.2 x2apic movbe "
        "popcnt tsc-deadline aes xsave avx f16c rdrand fsgsbase bmi1 hle avx2 smep bmi2 "
        "erms invpcid rtm syscall nx rdtscp lm lahf-lm abm xsaveopt arat",
     .versions = versions_haswell,
    },
    {.name = "IvyBridge", .vendor = "GenuineIntel", .family = 6, .model = 58, .stepping = 9,
     .level = 13, .xlevel = 0x80000008,
     .model_id = "Intel Xeon E3-12xx v2 (Ivy Bridge)",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 cx16 sse4.1 sse4.2 x2apic popcnt tsc-deadline "
        "aes xsave avx f16c rdrand fsgsbase smep erms syscall nx rdtscp lm lahf-lm "
        "xsaveopt arat",
     .versions = versions_ivybridge,
    },
    {.name = "n270", .vendor = "GenuineIntel", .family = 6, .model = 28, .stepping = 2,
     .level = 10, .xlevel = 0x80000008,
     .model_id = "Intel(R) Atom(TM) CPU N270   @ 1.60GHz",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat clflush acpi mmx "
        "fxsr sse sse2 ss pni monitor ssse3 movbe nx lahf-lm",
    },
    {.name = "Nehalem", .vendor = "GenuineIntel", .family = 6, .model = 26, .stepping = 3,
     .level = 11, .xlevel = 0x80000008,
     .model_id = "Intel Core i7 9xx (Nehalem Class Core i7)",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni ssse3 cx16 sse4.1 sse4.2 popcnt syscall nx lm lahf-lm",
     .versions = versions_nehalem,
    },
    {.name = "Penryn", .vendor = "GenuineIntel", .family = 6, .model = 23, .stepping = 3,
     .level = 10, .xlevel = 0x80000008,
     .model_id = "Intel Core 2 Duo P9xxx (Penryn Class Core 2)",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni ssse3 cx16 sse4.1 syscall nx lm lahf-lm",
    },
    {.name = "pentium", .vendor = "GenuineIntel", .family = 5, .model = 4, .stepping = 3,
     .level = 1, .xlevel = 0x0,
     .model_id = "",
     .features =
        "fpu de pse tsc msr mce cx8 apic mmx",
    },
    {.name = "pentium2", .vendor = "GenuineIntel", .family = 6, .model = 5, .stepping = 2,
     .level = 2, .xlevel = 0x0,
     .model_id = "",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 mmx fxsr",
    },
    {.name = "pentium3", .vendor = "GenuineIntel", .family = 6, .model = 7, .stepping = 3,
     .level = 3, .xlevel = 0x0,
     .model_id = "",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 mmx fxsr sse",
    },
    {.name = "SandyBridge", .vendor = "GenuineIntel", .family = 6, .model = 42, .stepping = 1,
     .level = 13, .xlevel = 0x80000008,
     .model_id = "Intel Xeon E312xx (Sandy Bridge)",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 cx16 sse4.1 sse4.2 x2apic popcnt tsc-deadline "
        "aes xsave avx syscall nx rdtscp lm lahf-lm xsaveopt arat",
     .versions = versions_sandybridge,
    },
    {.name = "Skylake-Client", .vendor = "GenuineIntel", .family = 6, .model = 94, .stepping = 3,
     .level = 13, .xlevel = 0x80000008,
     .model_id = "Intel Core Processor (Skylake)",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 fma cx16 pcid sse4.1 sse4.2 x2apic movbe "
        "popcnt tsc-deadline aes xsave avx f16c rdrand fsgsbase bmi1 hle avx2 smep bmi2 "
        "erms invpcid rtm rdseed adx smap syscall nx rdtscp lm lahf-lm abm 3dnowprefetch "
        "xsaveopt xsavec xgetbv1 arat",
     .versions = versions_skylake_client,
    },
    {.name = "Skylake-Server", .vendor = "GenuineIntel", .family = 6, .model = 85, .stepping = 4,
     .level = 13, .xlevel = 0x80000008,
     .model_id = "Intel Xeon Processor (Skylake)",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 fma cx16 pcid sse4.1 sse4.2 x2apic movbe "
        "popcnt tsc-deadline aes xsave avx f16c rdrand fsgsbase bmi1 hle avx2 smep bmi2 "
        "erms invpcid rtm avx512f avx512dq rdseed adx smap clflushopt clwb avx512cd "
        "avx512bw avx512vl pku syscall nx pdpe1gb rdtscp lm lahf-lm abm 3dnowprefetch "
        "xsaveopt xsavec xgetbv1 arat",
     .versions = versions_skylake_server,
    },
    {.name = "Westmere", .vendor = "GenuineIntel", .family = 6, .model = 44, .stepping = 1,
     .level = 11, .xlevel = 0x80000008,
     .model_id = "Westmere E56xx/L56xx/X56xx (Nehalem-C)",
     .features =
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
        "fxsr sse sse2 pni pclmulqdq ssse3 cx16 sse4.1 sse4.2 popcnt aes syscall nx lm "
        "lahf-lm arat",
     .versions = versions_westmere,
    },
    {0},
};
