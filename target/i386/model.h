/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target/i386/model.h: CPU models: names and features as QEMU's `-cpu` has them,
 * turned into the CpuConfig that CPUID answers from.
 *
 * Models are data (models-*.c).  A feature the engine cannot give is taken out,
 * with a warning (`check`, the default) or an error (`enforce`).
 */
#ifndef RHEA_TARGET_I386_MODEL_H
#define RHEA_TARGET_I386_MODEL_H

#include "target/i386/cpu.h"
#include "util/error.h"

/* The processor of `-cpu host`. */
typedef struct CpuHost {
    char vendor[13], model_id[49];
    uint32_t family, model, stepping, level, xlevel, phys_bits;
} CpuHost;

/* What an engine can give a guest. */
typedef struct CpuEngineInfo {
    const char *name;                                   /* "TCG", as warnings spell it */
    uint32_t features[FEATURE_WORDS];                   /* supported bits */
    uint32_t plus[FEATURE_WORDS], minus[FEATURE_WORDS]; /* what named models get, lose */
    uint64_t tsc_hz; /* of the guest, unless tsc-frequency= says otherwise; 0: not known yet */
    bool kvm;        /* KVM's CPUID leaves */
    bool has_host;   /* `host` describes the processor that runs the guest */
    CpuHost host;
    HyperVHost hyperv;
    uint32_t xsave_size[16], xsave_offset[16]; /* components of XSAVE; 0: as on Intel's */
} CpuEngineInfo;

/* The TCG engine's. */
void cpu_engine_tcg(CpuEngineInfo *info);

/*
 * Parses `model,+feature,-feature,feature=on|off,property=value` into *config
 * (everything but apic_id and the topology, which are 0 and 1).  NULL stands for
 * the machines' default model, whose missing features are not worth a warning.
 * Unknown names are errors that propose the nearest one.
 */
bool cpu_model_parse(const char *text, const CpuEngineInfo *engine, CpuConfig *config,
                     Error **errp);
/*
 * The text of a property's value, for those who know the property: a number from `min` to `max`,
 * and on or off.  false: an error names the property and what it takes; *out is as it was.
 */
bool cpu_property_number(const char *name, const char *value, uint64_t min, uint64_t max,
                         uint32_t *out, Error **errp);
bool cpu_property_flag(const char *name, const char *value, bool *out, Error **errp);
/* `-cpu help`. */
void cpu_model_print_help(GString *out);

/*
 * Topology of `-smp`: packages of dies of cores of threads; sets the APIC id of CPU
 * number `index`, with each level's ids in a bit field of their own (SDM vol. 3, 9.9).
 */
void cpu_config_set_topology(CpuConfig *config, uint32_t sockets, uint32_t dies, uint32_t cores,
                             uint32_t threads, uint32_t index);
uint32_t cpu_topology_apic_id(uint32_t dies, uint32_t cores, uint32_t threads, uint32_t index);

/* For query-cpu-definitions: every name that -cpu takes. */
typedef struct CpuModelInfo {
    char *name;
    char *alias_of; /* or NULL */
    char *description;
} CpuModelInfo;
GPtrArray *cpu_model_list(void); /* of CpuModelInfo; freed by g_ptr_array_unref() */
/* Names of the features that `model` has and the engine lacks; NULL if there is no such model. */
GPtrArray *cpu_model_unavailable(const char *model, const CpuEngineInfo *engine);

/* QEMU's name of a feature bit, or NULL. */
const char *cpu_feature_name(CpuFeatureWord word, unsigned bit);
/* Finds a feature by any of its names. */
bool cpu_feature_find(const char *name, CpuFeatureWord *word, uint32_t *bit);
/* Where a word lives: "CPUID.01H:ECX". */
const char *cpu_feature_word_name(CpuFeatureWord word);
/* All names (canonical and aliases), NULL-terminated; borrowed strings, free the array. */
const char **cpu_feature_names(void);

#endif
