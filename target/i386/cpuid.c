/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The CPUID instruction; SDM vol. 2 (CPUID), AMD APM vol. 3 appendix E. */
#include "target/i386/model.h"

#define F1_EDX_APIC (1u << 9)
#define F1_EDX_HT (1u << 28)
#define F1_ECX_MONITOR (1u << 3)
#define F1_ECX_XSAVE (1u << 26)
#define F1_ECX_OSXSAVE (1u << 27)
#define F1_ECX_AVX (1u << 28)
#define F1_ECX_HYPERVISOR (1u << 31)
#define F7_ECX_PKU (1u << 3)
#define F7_ECX_OSPKE (1u << 4)
#define F7_ECX_LA57 (1u << 16)
#define F7_EBX_AVX512F (1u << 16)
#define F81_ECX_CMP_LEGACY (1u << 1)
#define F81_ECX_SVM (1u << 2)
#define F81_ECX_TOPOEXT (1u << 22)
#define F81_EDX_LM (1u << 29)
#define FXS_XSAVEC (1u << 1)
/* 80000001H:EDX repeats these bits of 01H:EDX on AMD. */
#define AMD_COMMON_EDX 0x0183f3ffu
#define APIC_BASE_ENABLE (1ull << 11)
#define XCR0_X87_SSE 3ull
#define XSAVE_LEGACY_SIZE 576u
#define LINE_SIZE 64u

static void set(uint32_t r[4], uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    r[0] = a;
    r[1] = b;
    r[2] = c;
    r[3] = d;
}

static bool is_amd(const CpuConfig *c)
{
    return !strcmp(c->vendor, "AuthenticAMD") || !strcmp(c->vendor, "HygonGenuine");
}

/* Bits needed to number n things. */
static unsigned id_bits(uint32_t n)
{
    unsigned bits = 0;

    while (n > 1 && bits < 31 && (1u << bits) < n) {
        bits++;
    }
    return bits;
}

static uint32_t at_least_1(uint32_t n)
{
    return n ? n : 1;
}

static uint32_t threads_per_package(const CpuConfig *c)
{
    return at_least_1(c->dies) * at_least_1(c->cores) * at_least_1(c->threads);
}

static unsigned core_shift(const CpuConfig *c)
{
    return id_bits(c->threads);
}
static unsigned die_shift(const CpuConfig *c)
{
    return core_shift(c) + id_bits(c->cores);
}
static unsigned package_shift(const CpuConfig *c)
{
    return die_shift(c) + id_bits(c->dies);
}

uint32_t cpu_topology_apic_id(uint32_t dies, uint32_t cores, uint32_t threads, uint32_t index)
{
    CpuConfig c = {
        .dies = at_least_1(dies), .cores = at_least_1(cores), .threads = at_least_1(threads)};
    uint32_t thread = index % c.threads, core = index / c.threads % c.cores;
    uint32_t die = index / c.threads / c.cores % c.dies;
    uint32_t package = index / c.threads / c.cores / c.dies;

    return package << package_shift(&c) | die << die_shift(&c) | core << core_shift(&c) | thread;
}

void cpu_config_set_topology(CpuConfig *c, uint32_t sockets, uint32_t dies, uint32_t cores,
                             uint32_t threads, uint32_t index)
{
    c->sockets = at_least_1(sockets);
    c->dies = at_least_1(dies);
    c->cores = at_least_1(cores);
    c->threads = at_least_1(threads);
    c->apic_id = cpu_topology_apic_id(c->dies, c->cores, c->threads, index);
    if (c->dies > 1 && !c->level_fixed) {
        c->level = MAX(c->level, 0x1fu); /* the leaf that knows dies */
    }
}

static uint32_t signature(const CpuConfig *c)
{
    uint32_t family = c->family > 15 ? 15 : c->family;
    uint32_t extended = c->family > 15 ? c->family - 15 : 0;

    return extended << 20 | (c->model >> 4 & 15) << 16 | family << 8 | (c->model & 15) << 4 |
           (c->stepping & 15);
}

/* ---- caches: the same for every model, as QEMU's default ("legacy") ones ---- */

typedef struct CacheInfo {
    uint8_t type; /* 1 data, 2 code, 3 unified */
    uint8_t level, ways;
    uint32_t sets;
    bool die_wide;
} CacheInfo;

static const CacheInfo caches[] = {
    {1, 1, 8, 64, false},
    {2, 1, 8, 64, false},
    {3, 2, 16, 4096, false},
    {3, 3, 16, 16384, true},
};

static uint32_t cache_kib(const CacheInfo *i)
{
    return i->ways * i->sets * LINE_SIZE / 1024;
}

static void leaf_4(const CpuConfig *c, uint32_t sub, uint32_t r[4])
{
    const CacheInfo *i;
    uint32_t sharing;

    set(r, 0, 0, 0, 0);
    if (is_amd(c) || sub >= ARRAY_LEN(caches)) {
        return;
    }
    i = &caches[sub];
    sharing = i->die_wide ? 1u << die_shift(c) : 1u << core_shift(c);
    r[0] = i->type | (uint32_t)i->level << 5 | 1u << 8 | (MIN(sharing, 4096u) - 1) << 14 |
           (MIN(1u << (package_shift(c) - core_shift(c)), 64u) - 1) << 26;
    r[1] = (LINE_SIZE - 1) | (uint32_t)(i->ways - 1) << 22;
    r[2] = i->sets - 1;
    r[3] = i->die_wide ? 6 : 1; /* inclusive, complex indexing; write-back invalidates */
}

static void leaf_amd_cache(const CpuConfig *c, uint32_t sub, uint32_t r[4])
{
    const CacheInfo *i;

    set(r, 0, 0, 0, 0);
    if (sub >= ARRAY_LEN(caches)) {
        return;
    }
    i = &caches[sub];
    r[0] = i->type | (uint32_t)i->level << 5 | 1u << 8 |
           ((i->die_wide ? at_least_1(c->cores) : 1) * at_least_1(c->threads) - 1) << 14;
    r[1] = (LINE_SIZE - 1) | (uint32_t)(i->ways - 1) << 22;
    r[2] = i->sets - 1;
    r[3] = i->die_wide ? 2 : 0;
}

/* Associativity as leaf 80000006H encodes it. */
static uint32_t amd_ways(unsigned ways)
{
    return ways >= 16 ? 8 : ways >= 8 ? 6 : ways >= 4 ? 4 : ways;
}

static void leaf_80000006(const CpuConfig *c, uint32_t r[4])
{
    const CacheInfo *l2 = &caches[2], *l3 = &caches[3];

    set(r, 0, 0, 0, 0);
    r[2] = cache_kib(l2) << 16 | amd_ways(l2->ways) << 12 | LINE_SIZE;
    if (is_amd(c)) {
        r[0] = 0x00000000;
        r[1] = 0x42004200; /* 512 four-way entries for 4 KiB pages */
        r[2] |= 1u << 8;
        r[3] = cache_kib(l3) / 512 << 18 | amd_ways(l3->ways) << 12 | 1u << 8 | LINE_SIZE;
    }
}

/* ---- XSAVE ---- */

typedef struct XsaveComponent {
    uint32_t size, offset;
    CpuFeatureWord word;
    uint32_t bit;
} XsaveComponent;

static const XsaveComponent xsave_components[] = {
    [2] = {256, 576, FEAT_1_ECX, F1_ECX_AVX},
    [5] = {64, 1088, FEAT_7_0_EBX, F7_EBX_AVX512F},
    [6] = {512, 1152, FEAT_7_0_EBX, F7_EBX_AVX512F},
    [7] = {1024, 1664, FEAT_7_0_EBX, F7_EBX_AVX512F},
    [9] = {8, 2688, FEAT_7_0_ECX, F7_ECX_PKU},
};

uint32_t cpu_xsave_component(const CPUX86 *cpu, unsigned i, uint32_t *offset)
{
    const XsaveComponent *x;

    if (i < 2 || i >= ARRAY_LEN(xsave_components) || !xsave_components[i].size) {
        return 0;
    }
    x = &xsave_components[i];
    if (!cpu_has(cpu, x->word, x->bit)) {
        return 0;
    }
    if (i < ARRAY_LEN(cpu->config.xsave) && cpu->config.xsave[i].size) {
        if (offset) {
            *offset = cpu->config.xsave[i].offset;
        }
        return cpu->config.xsave[i].size;
    }
    if (offset) {
        *offset = x->offset;
    }
    return x->size;
}

uint64_t cpu_xcr0_supported(const CPUX86 *cpu)
{
    uint64_t mask = XCR0_X87_SSE;

    if (!cpu_has(cpu, FEAT_1_ECX, F1_ECX_XSAVE)) {
        return 0;
    }
    for (unsigned i = 2; i < ARRAY_LEN(xsave_components); i++) {
        if (cpu_xsave_component(cpu, i, NULL)) {
            mask |= 1ull << i;
        }
    }
    return mask;
}

uint64_t cpu_xss_supported(const CPUX86 *cpu)
{
    return 0; /* no supervisor component exists among the features Rhea knows */
}

/* Bytes of an area that holds the components of `mask`. */
static uint32_t xsave_size(const CPUX86 *cpu, uint64_t mask, bool compacted)
{
    uint32_t size = XSAVE_LEGACY_SIZE, offset = 0;

    for (unsigned i = 2; i < ARRAY_LEN(xsave_components); i++) {
        uint32_t n = mask >> i & 1 ? cpu_xsave_component(cpu, i, &offset) : 0;

        if (n) {
            size = compacted ? size + n : MAX(size, offset + n);
        }
    }
    return size;
}

static void leaf_d(const CPUX86 *cpu, uint32_t sub, uint32_t r[4])
{
    uint64_t supported = cpu_xcr0_supported(cpu);

    set(r, 0, 0, 0, 0);
    if (!supported) {
        return;
    }
    if (sub == 0) {
        set(r, (uint32_t)supported, xsave_size(cpu, cpu->xcr0, false),
            xsave_size(cpu, supported, false), (uint32_t)(supported >> 32));
    } else if (sub == 1) {
        r[0] = cpu->config.features[FEAT_XSAVE];
        if (r[0] & FXS_XSAVEC) {
            r[1] = xsave_size(cpu, cpu->xcr0 | cpu->xss, true);
        }
        r[2] = (uint32_t)cpu_xss_supported(cpu);
    } else {
        r[0] = cpu_xsave_component(cpu, sub, &r[1]);
    }
}

/* ---- features and topology ---- */

static bool apic_enabled(const CPUX86 *cpu)
{
    return cpu->apic_ops && (cpu->apic_ops->get_base(cpu->apic) & APIC_BASE_ENABLE);
}

static void leaf_1(const CPUX86 *cpu, uint32_t r[4])
{
    const CpuConfig *c = &cpu->config;
    uint32_t threads = threads_per_package(c);

    r[0] = signature(c);
    r[1] = (c->apic_id & 0xff) << 24 | (LINE_SIZE / 8) << 8;
    r[2] = c->features[FEAT_1_ECX] & ~(F1_ECX_OSXSAVE | F1_ECX_HYPERVISOR);
    r[3] = c->features[FEAT_1_EDX];
    if (c->hypervisor) {
        r[2] |= F1_ECX_HYPERVISOR;
    }
    if ((r[2] & F1_ECX_XSAVE) && (cpu->cr4 & CR4_OSXSAVE)) {
        r[2] |= F1_ECX_OSXSAVE;
    }
    if (!apic_enabled(cpu)) {
        r[3] &= ~F1_EDX_APIC;
    }
    if (threads > 1) {
        r[1] |= MIN(1u << package_shift(c), 255u) << 16;
        r[3] |= F1_EDX_HT;
    }
}

static void leaf_7(const CPUX86 *cpu, uint32_t sub, uint32_t r[4])
{
    const uint32_t *f = cpu->config.features;

    set(r, 0, 0, 0, 0);
    switch (sub) {
    case 0:
        r[0] = f[FEAT_7_2_EDX] ? 2 : f[FEAT_7_1_EAX] || f[FEAT_7_1_EDX] ? 1 : 0;
        r[1] = f[FEAT_7_0_EBX];
        r[2] = f[FEAT_7_0_ECX] & ~F7_ECX_OSPKE;
        if ((r[2] & F7_ECX_PKU) && (cpu->cr4 & CR4_PKE)) {
            r[2] |= F7_ECX_OSPKE;
        }
        r[3] = f[FEAT_7_0_EDX];
        break;
    case 1:
        r[0] = f[FEAT_7_1_EAX];
        r[3] = f[FEAT_7_1_EDX];
        break;
    case 2:
        r[3] = f[FEAT_7_2_EDX];
        break;
    default:
        break;
    }
}

/* Leaf 0BH (levels thread and core) and 1FH (with dies). */
static void leaf_topology(const CpuConfig *c, uint32_t sub, bool dies, uint32_t r[4])
{
    enum { LEVEL_NONE, LEVEL_SMT, LEVEL_CORE, LEVEL_DIE = 5 };

    set(r, 0, 0, sub & 0xff, c->apic_id);
    if (sub == 0) {
        r[0] = core_shift(c);
        r[1] = at_least_1(c->threads);
        r[2] |= LEVEL_SMT << 8;
    } else if (sub == 1) {
        r[0] = dies ? die_shift(c) : package_shift(c);
        r[1] = dies ? at_least_1(c->cores) * at_least_1(c->threads) : threads_per_package(c);
        r[2] |= LEVEL_CORE << 8;
    } else if (sub == 2 && dies) {
        r[0] = package_shift(c);
        r[1] = threads_per_package(c);
        r[2] |= LEVEL_DIE << 8;
    }
}

static void basic_leaf(const CPUX86 *cpu, uint32_t leaf, uint32_t sub, uint32_t r[4])
{
    const CpuConfig *c = &cpu->config;

    set(r, 0, 0, 0, 0);
    switch (leaf) {
    case 0:
        r[0] = c->level;
        memcpy(&r[1], c->vendor, 4);
        memcpy(&r[3], c->vendor + 4, 4);
        memcpy(&r[2], c->vendor + 8, 4);
        break;
    case 1:
        leaf_1(cpu, r);
        break;
    case 2:
        if (!is_amd(c)) {
            /* 16 MiB L3; 32 KiB L1 each, 2 MiB L2: the descriptors nearest to `caches`. */
            set(r, 1, 0, 0x4d, 0x2c307d);
        }
        break;
    case 4:
        leaf_4(c, sub, r);
        break;
    case 5:
        if (c->features[FEAT_1_ECX] & F1_ECX_MONITOR) {
            set(r, LINE_SIZE, LINE_SIZE, 3, 0);
        }
        break;
    case 6:
        r[0] = c->features[FEAT_6_EAX];
        break;
    case 7:
        leaf_7(cpu, sub, r);
        break;
    case 0xb:
        leaf_topology(c, sub, false, r);
        break;
    case 0xd:
        leaf_d(cpu, sub, r);
        break;
    case 0x1f:
        leaf_topology(c, sub, true, r);
        break;
    default:
        break;
    }
}

/* Signature and AMD's features. */
static void leaf_80000001(const CPUX86 *cpu, uint32_t r[4])
{
    const CpuConfig *c = &cpu->config;
    const uint32_t *f = c->features;

    set(r, signature(c), 0, f[FEAT_80000001_ECX], f[FEAT_80000001_EDX]);
    if (is_amd(c)) {
        r[3] |= f[FEAT_1_EDX] & AMD_COMMON_EDX & (apic_enabled(cpu) ? ~0u : ~F1_EDX_APIC);
        if (threads_per_package(c) > 1) {
            r[2] |= F81_ECX_CMP_LEGACY;
        }
    }
}

/* Widths of addresses; AMD's count of threads. */
static void leaf_80000008(const CpuConfig *c, uint32_t r[4])
{
    const uint32_t *f = c->features;
    uint32_t virt = f[FEAT_7_0_ECX] & F7_ECX_LA57 ? 57 : 48;

    r[0] = c->phys_bits | (f[FEAT_80000001_EDX] & F81_EDX_LM ? virt : 32) << 8;
    r[1] = f[FEAT_80000008_EBX];
    if (is_amd(c) && threads_per_package(c) > 1) {
        r[2] = package_shift(c) << 12 | MIN(threads_per_package(c) - 1, 255u);
    }
}

static void leaf_amd_ids(const CpuConfig *c, uint32_t r[4])
{
    set(r, c->apic_id, (at_least_1(c->threads) - 1) << 8 | ((c->apic_id >> core_shift(c)) & 0xff),
        (c->apic_id >> package_shift(c)) & 0xff, 0);
}

static void extended_leaf(const CPUX86 *cpu, uint32_t leaf, uint32_t sub, uint32_t r[4])
{
    const CpuConfig *c = &cpu->config;
    const uint32_t *f = c->features;
    bool topoext = f[FEAT_80000001_ECX] & F81_ECX_TOPOEXT;

    set(r, 0, 0, 0, 0);
    switch (leaf) {
    case 0x80000000:
        basic_leaf(cpu, 0, 0, r);
        r[0] = c->xlevel;
        if (!is_amd(c)) {
            r[1] = r[2] = r[3] = 0;
        }
        break;
    case 0x80000001:
        leaf_80000001(cpu, r);
        break;
    case 0x80000002:
    case 0x80000003:
    case 0x80000004:
        memcpy(r, c->model_id + (leaf - 0x80000002) * 16, 16);
        break;
    case 0x80000005:
        if (is_amd(c)) {
            set(r, 0x01ff01ff, 0x01ff01ff, 0x20080140, 0x20080140);
        }
        break;
    case 0x80000006:
        leaf_80000006(c, r);
        break;
    case 0x80000007:
        set(r, 0, f[FEAT_80000007_EBX], 0, f[FEAT_80000007_EDX]);
        break;
    case 0x80000008:
        leaf_80000008(c, r);
        break;
    case 0x8000000a:
        if (f[FEAT_80000001_ECX] & F81_ECX_SVM) {
            set(r, 1, 16, 0, f[FEAT_SVM]);
        }
        break;
    case 0x8000001d:
        if (topoext) {
            leaf_amd_cache(c, sub, r);
        }
        break;
    case 0x8000001e:
        if (topoext) {
            leaf_amd_ids(c, r);
        }
        break;
    case 0x80000021:
        r[0] = f[FEAT_80000021_EAX];
        break;
    case 0x80000022:
        r[0] = f[FEAT_80000022_EAX];
        break;
    default:
        break;
    }
}

/* The next hypervisor's leaves come 100h later, behind Hyper-V's. */
static void hypervisor_leaf(const CpuConfig *c, uint32_t leaf, uint32_t r[4])
{
    set(r, 0, 0, 0, 0);
    if (c->hyperv.on) {
        uint32_t n = leaf - 0x40000000;

        if (n <= c->hyperv.leaf[0][0] - 0x40000000 && n < HYPERV_LEAVES) {
            memcpy(r, c->hyperv.leaf[n], sizeof(c->hyperv.leaf[n]));
        } else if (leaf == 0x40000100 && c->kvm) {
            r[0] = 0x40000101;
            memcpy(&r[1], "KVMKVMKVM\0\0\0", 12);
        } else if (leaf == 0x40000101 && c->kvm) {
            r[0] = c->features[FEAT_KVM];
        }
        return;
    }
    if (leaf == 0x40000000) {
        r[0] = c->kvm && c->tsc_hz ? 0x40000010 : 0x40000001;
        memcpy(&r[1], c->kvm ? "KVMKVMKVM\0\0\0" : "TCGTCGTCGTCG", 12);
    } else if (leaf == 0x40000001 && c->kvm) {
        r[0] = c->features[FEAT_KVM];
    } else if (leaf == 0x40000010 && c->kvm) {
        /* VMware's way of telling frequencies in kHz: time stamp counter, APIC timer. */
        r[0] = (uint32_t)(c->tsc_hz / 1000);
        r[1] = 1000000;
    }
}

void cpu_cpuid(const CPUX86 *cpu, uint32_t leaf, uint32_t sub, uint32_t r[4])
{
    const CpuConfig *c = &cpu->config;

    if (leaf <= c->level) {
        basic_leaf(cpu, leaf, sub, r);
    } else if (leaf >= 0x80000000 && leaf <= c->xlevel) {
        extended_leaf(cpu, leaf, sub, r);
    } else if (c->hypervisor && (leaf & ~(c->hyperv.on ? 0x1ffu : 0xffu)) == 0x40000000) {
        hypervisor_leaf(c, leaf, r);
    } else if (is_amd(c)) {
        set(r, 0, 0, 0, 0);
    } else {
        basic_leaf(cpu, c->level, sub, r); /* Intel's answer to what it does not know */
    }
}
