/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target/i386/hyperv.h: Hyper-V's enlightenments: what `-cpu …,hv-*` asks for, and the CPUID
 * leaves 40000000h-4000000ah that tell a guest of it.
 *
 * Hypervisor Top Level Functional Specification (TLFS) 6.0b, chapter 2.  The kernel does the
 * work; it says which bits of the leaves it knows.  Names and defaults are QEMU's.
 */
#ifndef RHEA_TARGET_I386_HYPERV_H
#define RHEA_TARGET_I386_HYPERV_H

#include "util/error.h"
#include "util/json.h"

#include <stdbool.h>
#include <stdint.h>

#define HYPERV_LEAVES 11u /* from 40000000h */
#define HYPERV_SPINLOCKS_NEVER UINT32_MAX

typedef enum HyperVFeature {
    HV_RELAXED,
    HV_VAPIC,
    HV_TIME,
    HV_CRASH,
    HV_RESET,
    HV_VPINDEX,
    HV_RUNTIME,
    HV_SYNIC,
    HV_STIMER,
    HV_FREQUENCIES,
    HV_REENLIGHTENMENT,
    HV_TLBFLUSH,
    HV_EVMCS,
    HV_IPI,
    HV_STIMER_DIRECT,
    HV_AVIC,
    HV_EMSR_BITMAP,
    HV_XMM_INPUT,
    HV_TLBFLUSH_EXT,
    HV_TLBFLUSH_DIRECT,
    HV_FEATURES
} HyperVFeature;

/* What the kernel offers. */
typedef struct HyperVHost {
    bool able; /* it says what it knows */
    uint32_t leaf[HYPERV_LEAVES][4];
    bool apic; /* local APICs are the kernel's */
} HyperVHost;

typedef struct HyperVConfig {
    uint32_t features;  /* bit per HyperVFeature */
    uint32_t spinlocks; /* tries before the guest asks for help */
    char vendor[13];
    uint32_t build, major, minor, spack, sbranch, snumber; /* of the hypervisor's version */
    bool passthrough, enforce_cpuid;
    int no_coresharing; /* OnOffAuto */
    bool on;            /* any of it: by hyperv_finish() */
    uint32_t leaf[HYPERV_LEAVES][4];
} HyperVConfig;

static inline bool hyperv_has(const HyperVConfig *c, HyperVFeature f)
{
    return c->features >> f & 1;
}
/* Defaults, before any property. */
void hyperv_init(HyperVConfig *c);
/* Is `name` one of the properties hv-*? Underscores count as hyphens. */
bool hyperv_is_property(const char *name);
bool hyperv_set(HyperVConfig *c, const char *name, const char *value, Error **errp);
/* Checks dependencies and what the host can, and makes the leaves. */
bool hyperv_finish(HyperVConfig *c, const HyperVHost *host, Error **errp);
/* QMP's GuestPanicInformation of the crash registers P0 to P4 (TLFS 3.11). */
Json *hyperv_crash_info(const uint64_t p[5]);
/* All property names, NULL-terminated; static. */
extern const char *const hyperv_property_names[];

#endif
