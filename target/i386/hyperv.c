/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -cpu hv-*: properties, dependencies, CPUID leaves. */
#include "target/i386/hyperv.h"

#include "qom/object.h"
#include "target/i386/model.h"
#include "util/bits.h"
#include "util/option.h"

#include <string.h>

enum { EAX, EBX, ECX, EDX };
/* Leaves, without 40000000h. */
enum { VENDOR, INTERFACE, VERSION, FEATURES, RECOMMEND, LIMITS, NESTED = 10 };

#define HYPERCALLS (1u << 5)      /* privilege: hypercalls */
#define POST_MESSAGES (1u << 4)   /* EBX; SynIC and APIC pages mean nothing without */
#define SIGNAL_EVENTS (1u << 5)   /* EBX */
#define DYNAMIC_CPUS (1u << 3)    /* EDX; Windows wants it for CPUs that come later */
#define NO_CORESHARING (1u << 18) /* of RECOMMEND */
#define INTERFACE_HV1 0x31237648u /* "Hv#1" */
#define MAX_CPUS 64u
#define NEED(f) (1u << HV_##f)

typedef struct Bits {
    uint8_t leaf, reg;
    uint32_t bits;
} Bits;

typedef struct Feature {
    const char *name;
    Bits bits[3];
    uint32_t needs;
    bool apic; /* works with the kernel's local APIC only */
} Feature;

static const Feature features[HV_FEATURES] = {
    [HV_RELAXED] = {"hv-relaxed", {{RECOMMEND, EAX, 1u << 5}}, 0, false},
    [HV_VAPIC] = {"hv-vapic", {{FEATURES, EAX, 1u << 4}, {RECOMMEND, EAX, 1u << 3}}, 0, true},
    [HV_TIME] = {"hv-time", {{FEATURES, EAX, 1u << 1 | 1u << 9}}, 0, false},
    [HV_CRASH] = {"hv-crash", {{FEATURES, EDX, 1u << 10}}, 0, false},
    [HV_RESET] = {"hv-reset", {{FEATURES, EAX, 1u << 7}}, 0, false},
    [HV_VPINDEX] = {"hv-vpindex", {{FEATURES, EAX, 1u << 6}}, 0, false},
    [HV_RUNTIME] = {"hv-runtime", {{FEATURES, EAX, 1u << 0}}, 0, false},
    [HV_SYNIC] = {"hv-synic", {{FEATURES, EAX, 1u << 2}}, NEED(VPINDEX), true},
    [HV_STIMER] = {"hv-stimer", {{FEATURES, EAX, 1u << 3}}, NEED(SYNIC) | NEED(TIME), true},
    [HV_FREQUENCIES] = {"hv-frequencies",
                        {{FEATURES, EAX, 1u << 11}, {FEATURES, EDX, 1u << 8}},
                        0,
                        false},
    [HV_REENLIGHTENMENT] = {"hv-reenlightenment", {{FEATURES, EAX, 1u << 13}}, 0, false},
    [HV_TLBFLUSH] = {"hv-tlbflush", {{RECOMMEND, EAX, 1u << 2 | 1u << 11}}, NEED(VPINDEX), false},
    [HV_EVMCS] = {"hv-evmcs", {{RECOMMEND, EAX, 1u << 14}}, NEED(VAPIC), false},
    [HV_IPI] = {"hv-ipi", {{RECOMMEND, EAX, 1u << 10 | 1u << 11}}, NEED(VPINDEX), true},
    [HV_STIMER_DIRECT] = {"hv-stimer-direct", {{FEATURES, EDX, 1u << 19}}, NEED(STIMER), true},
    [HV_AVIC] = {"hv-avic", {{RECOMMEND, EAX, 1u << 9}}, 0, false},
    [HV_EMSR_BITMAP] = {"hv-emsr-bitmap", {{NESTED, EAX, 1u << 19}}, NEED(EVMCS), false},
    [HV_XMM_INPUT] = {"hv-xmm-input", {{FEATURES, EDX, 1u << 4}}, 0, false},
    [HV_TLBFLUSH_EXT] = {"hv-tlbflush-ext", {{FEATURES, EDX, 1u << 14}}, NEED(TLBFLUSH), false},
    [HV_TLBFLUSH_DIRECT] = {"hv-tlbflush-direct", {{NESTED, EAX, 1u << 17}}, NEED(VAPIC), false},
};

const char *const hyperv_property_names[] = {
    "hv-relaxed", "hv-vapic", "hv-time", "hv-crash", "hv-reset", "hv-vpindex", "hv-runtime",
    "hv-synic", "hv-stimer", "hv-frequencies", "hv-reenlightenment", "hv-tlbflush", "hv-evmcs",
    "hv-ipi", "hv-stimer-direct", "hv-avic", "hv-emsr-bitmap", "hv-xmm-input", "hv-tlbflush-ext",
    "hv-tlbflush-direct",
    /* those that are no feature bits */
    "hv-apicv", "hv-spinlocks", "hv-vendor-id", "hv-version-id-build", "hv-version-id-major",
    "hv-version-id-minor", "hv-version-id-spack", "hv-version-id-sbranch", "hv-version-id-snumber",
    "hv-passthrough", "hv-enforce-cpuid", "hv-no-nonarch-coresharing", "hv-syndbg", NULL};

static char *spelled(const char *name)
{
    return g_strdelimit(g_strdup(name), "_", '-');
}

bool hyperv_is_property(const char *name)
{
    g_autofree char *n = spelled(name);

    return g_strv_contains(hyperv_property_names, n);
}

void hyperv_init(HyperVConfig *c)
{
    /* The version is that of Windows Server 2016. */
    *c = (HyperVConfig){.spinlocks = HYPERV_SPINLOCKS_NEVER,
                        .vendor = "Microsoft Hv",
                        .build = 14393,
                        .major = 10,
                        .no_coresharing = ON_OFF_AUTO};
}

/* ---- properties ---- */

static bool set_spinlocks(HyperVConfig *c, const char *value, Error **errp)
{
    if (!cpu_property_number("hv-spinlocks", value, 0, UINT32_MAX, &c->spinlocks, errp)) {
        return false;
    }
    if (c->spinlocks < 0xfff) { /* below, Windows asks all the time */
        error_set(errp, "CPU property 'hv-spinlocks' cannot be '%s': 4095 tries are the fewest",
                  value);
        return false;
    }
    return true;
}

static bool set_vendor(HyperVConfig *c, const char *value, Error **errp)
{
    if (strlen(value) >= sizeof(c->vendor)) {
        error_set(errp, "CPU property 'hv-vendor-id' may have %zu characters at most",
                  sizeof(c->vendor) - 1);
        return false;
    }
    memset(c->vendor, 0, sizeof(c->vendor));
    memcpy(c->vendor, value, strlen(value));
    return true;
}

static bool set_coresharing(HyperVConfig *c, const char *value, Error **errp)
{
    bool on;

    if (!strcmp(value, "auto")) {
        c->no_coresharing = ON_OFF_AUTO;
    } else if (parse_bool(value, &on)) {
        c->no_coresharing = on ? ON_OFF_ON : ON_OFF_OFF;
    } else {
        error_set(errp,
                  "CPU property 'hv-no-nonarch-coresharing' cannot be '%s': 'on', 'off' or "
                  "'auto' is needed",
                  value);
        return false;
    }
    return true;
}

static bool set_other(HyperVConfig *c, const char *name, const char *value, Error **errp)
{
    const struct {
        const char *name;
        uint64_t max;
        uint32_t *to;
    } numbers[] = {
        {"hv-version-id-build", UINT32_MAX, &c->build},
        {"hv-version-id-major", 0xffff, &c->major},
        {"hv-version-id-minor", 0xffff, &c->minor},
        {"hv-version-id-spack", UINT32_MAX, &c->spack},
        {"hv-version-id-sbranch", 0xff, &c->sbranch},
        {"hv-version-id-snumber", 0xffffff, &c->snumber},
    };
    bool on;

    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (!strcmp(name, numbers[i].name)) {
            return cpu_property_number(name, value, 0, numbers[i].max, numbers[i].to, errp);
        }
    }
    if (!strcmp(name, "hv-spinlocks")) {
        return set_spinlocks(c, value, errp);
    } else if (!strcmp(name, "hv-vendor-id")) {
        return set_vendor(c, value, errp);
    } else if (!strcmp(name, "hv-no-nonarch-coresharing")) {
        return set_coresharing(c, value, errp);
    } else if (!strcmp(name, "hv-passthrough")) {
        return cpu_property_flag(name, value, &c->passthrough, errp);
    } else if (!strcmp(name, "hv-enforce-cpuid")) {
        return cpu_property_flag(name, value, &c->enforce_cpuid, errp);
    }
    if (!cpu_property_flag(name, value, &on, errp)) {
        return false;
    }
    if (on) { /* hv-syndbg */
        error_set(errp, "CPU property 'hv-syndbg' needs the device hv-syndbg, which Rhea lacks");
        error_hint(errp, "a serial line is a way for kernel debuggers, too\n");
    }
    return !on;
}

bool hyperv_set(HyperVConfig *c, const char *name, const char *value, Error **errp)
{
    g_autofree char *n = spelled(name);
    bool on;

    for (unsigned f = 0; f < HV_FEATURES; f++) {
        if (!strcmp(n, features[f].name) || (f == HV_AVIC && !strcmp(n, "hv-apicv"))) {
            if (!cpu_property_flag(n, value, &on, errp)) {
                return false;
            }
            c->features = on ? c->features | 1u << f : c->features & ~(1u << f);
            return true;
        }
    }
    return set_other(c, n, value, errp);
}

/* ---- what becomes of them ---- */

static bool offered(const Feature *f, const HyperVHost *h)
{
    for (unsigned i = 0; i < ARRAY_LEN(f->bits) && f->bits[i].bits; i++) {
        const Bits *b = &f->bits[i];

        if ((h->leaf[b->leaf][b->reg] & b->bits) != b->bits) {
            return false;
        }
    }
    return h->apic || !f->apic;
}

static void take_all(HyperVConfig *c, const HyperVHost *h)
{
    for (unsigned f = 0; f < HV_FEATURES; f++) {
        c->features |= offered(&features[f], h) ? 1u << f : 0;
    }
    /* What builds on something that the kernel lacks goes with it. */
    for (unsigned f = 0; f < HV_FEATURES; f++) {
        if ((features[f].needs & c->features) != features[f].needs) {
            c->features &= ~(1u << f);
        }
    }
    if (c->spinlocks == HYPERV_SPINLOCKS_NEVER) {
        c->spinlocks = h->leaf[RECOMMEND][EBX];
    }
}

static bool check(const HyperVConfig *c, const HyperVHost *h, Error **errp)
{
    for (unsigned f = 0; f < HV_FEATURES; f++) {
        uint32_t lacking = features[f].needs & ~c->features;

        if (!hyperv_has(c, f)) {
            continue;
        }
        if (lacking) {
            const char *other = features[__builtin_ctz(lacking)].name;

            error_set(errp, "CPU property '%s' needs '%s'", features[f].name, other);
            error_hint(errp, "add %s, or leave %s out\n", other, features[f].name);
            return false;
        }
        if (features[f].apic && !h->apic) {
            error_set(errp, "CPU property '%s' needs local APICs in the kernel", features[f].name);
            error_hint(errp, "use kernel-irqchip=on or split\n");
            return false;
        }
        if (!offered(&features[f], h)) {
            error_set(errp, "CPU property '%s': the kernel's KVM does not offer it",
                      features[f].name);
            error_hint(errp, "hv-passthrough takes what the kernel has\n");
            return false;
        }
    }
    return true;
}

static void set(HyperVConfig *c, unsigned leaf, uint32_t a, uint32_t b, uint32_t cx, uint32_t d)
{
    uint32_t *r = c->leaf[leaf];

    r[EAX] = a;
    r[EBX] = b;
    r[ECX] = cx;
    r[EDX] = d;
}

static void make_leaves(HyperVConfig *c, const HyperVHost *h)
{
    const uint32_t nested = 1u << HV_EVMCS | 1u << HV_EMSR_BITMAP | 1u << HV_TLBFLUSH_DIRECT;

    set(c, VENDOR, 0x40000000 + (c->features & nested ? NESTED : LIMITS), 0, 0, 0);
    memcpy(&c->leaf[VENDOR][EBX], c->vendor, 12);
    set(c, INTERFACE, INTERFACE_HV1, 0, 0, 0);
    set(c, VERSION, c->build, c->major << 16 | c->minor, c->spack, c->sbranch << 24 | c->snumber);
    set(c, FEATURES, HYPERCALLS, POST_MESSAGES | SIGNAL_EVENTS, 0, DYNAMIC_CPUS);
    set(c, RECOMMEND, 0, c->spinlocks, 0, 0);
    set(c, LIMITS, MAX_CPUS, 0, 0, 0);
    if (c->no_coresharing == ON_OFF_ON) {
        c->leaf[RECOMMEND][EAX] |= NO_CORESHARING;
    } else if (c->no_coresharing == ON_OFF_AUTO) {
        c->leaf[RECOMMEND][EAX] |= h->leaf[RECOMMEND][EAX] & NO_CORESHARING;
    }
    for (unsigned f = 0; f < HV_FEATURES; f++) {
        for (unsigned i = 0; hyperv_has(c, f) && i < ARRAY_LEN(features[f].bits); i++) {
            const Bits *b = &features[f].bits[i];

            c->leaf[b->leaf][b->reg] |= b->bits;
        }
    }
}

bool hyperv_finish(HyperVConfig *c, const HyperVHost *host, Error **errp)
{
    if (!c->features && !c->passthrough && c->spinlocks == HYPERV_SPINLOCKS_NEVER) {
        return true; /* the rest means nothing alone */
    }
    if (!host->able) {
        error_set(errp, "CPU properties hv-* need a KVM that says what it has of Hyper-V "
                        "(KVM_CAP_SYS_HYPERV_CPUID)");
        return false;
    }
    if (c->passthrough) {
        take_all(c, host);
    }
    if (!check(c, host, errp)) {
        return false;
    }
    make_leaves(c, host);
    c->on = true;
    return true;
}

/* ---- when the guest crashes ---- */

Json *hyperv_crash_info(const uint64_t p[5])
{
    Json *j = json_object();

    json_put_string(j, "type", "hyper-v");
    for (unsigned i = 0; i < 5; i++) {
        const char name[] = {'a', 'r', 'g', (char)('1' + i), 0};

        json_put(j, name, json_uint(p[i]));
    }
    return j;
}
