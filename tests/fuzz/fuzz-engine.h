/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/fuzz/fuzz-engine.h: executes cases on one of Rhea's engines: a CPU in user mode
 * under an operating system of a few tables, whose handlers halt.
 */
#ifndef RHEA_TESTS_FUZZ_ENGINE_H
#define RHEA_TESTS_FUZZ_ENGINE_H

#include "tests/fuzz/fuzz-case.h"
#include "tests/unit/tcg-harness.h"

typedef struct Engine {
    const char *name;
    Harness *h;
} Engine;

/* name: a value of the property "engine" of -accel tcg. NULL and *errp: there is none such. */
Engine *engine_new(const char *name, Error **errp);
void engine_free(Engine *e);
/* The features that the CPU has: what the host has, too, of those that user mode can see. */
const uint32_t *engine_features(const Engine *e);
/* New code, and what is read-only. */
void engine_load(Engine *e, const FzBatch *b);
/* false: it hung (state is as found). */
bool engine_run(Engine *e, const FzBatch *b, const FzCase *c, FzResult *r);

/* After how many runs the JIT translates a block; for other engines nothing. */
void fz_set_heat(const Accel *a, uint32_t heat);
/* -icount: instructions executed so far; 0 without it. */
uint64_t fz_executed(const Accel *a);
/* x87 and vectors between a CPU and an image in XSAVE's standard format. */
void fz_load_vectors(CPUX86 *cpu, const uint8_t *image);
void fz_save_vectors(const CPUX86 *cpu, uint8_t *image);
/* Clears the features that the host has not, of those that instructions depend on. */
void fz_limit_features(CpuConfig *c);

#endif
