/* SPDX-License-Identifier: GPL-2.0-or-later */
/* target/i386/model-data.h: the shape of the CPU models' tables. Private to this folder. */
#ifndef RHEA_TARGET_I386_MODEL_DATA_H
#define RHEA_TARGET_I386_MODEL_DATA_H

#include <stdint.h>

/* Version 2 and later of a model: the previous one with `delta` ("+name -name") applied. */
typedef struct CpuModelVersion {
    unsigned version;
    const char *alias; /* a second name, or NULL */
    const char *delta;
    const char *model_id;     /* NULL: as before */
    uint32_t model, stepping; /* 0: as before */
} CpuModelVersion;

/* Version 1. NAME stands for NAME-v1. */
typedef struct CpuModel {
    const char *name, *vendor, *model_id;
    uint32_t family, model, stepping;
    uint32_t level, xlevel; /* 0: by the features */
    const char *features;   /* names separated by spaces */
    const CpuModelVersion *versions;
} CpuModel;

extern const CpuModel cpu_models_intel[];
extern const CpuModel cpu_models_intel_new[];
extern const CpuModel cpu_models_amd[];

#endif
