/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/fuzz/fuzz-units.h: between the generator and its units of several instructions
 * that only make sense together.
 */
#ifndef RHEA_TESTS_FUZZ_UNITS_H
#define RHEA_TESTS_FUZZ_UNITS_H

#include "tests/fuzz/fuzz-gen.h"

/* One instruction of the present unit. */
void gen_emit(Gen *g, const void *bytes, unsigned n);
/* The same, with its flags taken care of; nothing if the CPU does not know it. */
void gen_known(Gen *g, const void *bytes, unsigned n);
void gen_mov(Gen *g, unsigned reg, uint64_t v);
void gen_unit(Gen *g);
void gen_absolute(Gen *g, const char *opcode, unsigned n, unsigned reg, uint64_t addr, uint64_t imm,
                  unsigned tail, unsigned size);
void gen_store(Gen *g, uint64_t addr, uint32_t v, unsigned size);
/* The displacement of `size` bytes at offset `at` will lead to a later unit. */
void gen_label(Gen *g, unsigned at, unsigned size);
/* Makes flags defined that an instruction is about to read. */
void gen_define_flags(Gen *g, uint16_t wanted);
uint64_t gen_target(Gen *g, unsigned align);
/* A random instruction, with what it needs. false: `only` fits nothing. */
bool gen_insn(Gen *g);
void gen_loop_end(Gen *g, unsigned head);
/* A loop that runs often (fuzz-hot.c), of about so many units or groups of them. */
bool gen_hot_loop(Gen *g, unsigned items);
/* A random unit. */
void gen_special(Gen *g);

#endif
