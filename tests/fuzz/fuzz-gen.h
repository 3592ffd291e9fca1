/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/fuzz/fuzz-gen.h: random sequences of instructions from the decoder's tables,
 * and random state for them.
 */
#ifndef RHEA_TESTS_FUZZ_GEN_H
#define RHEA_TESTS_FUZZ_GEN_H

#include "target/i386/decode.h"
#include "tests/fuzz/fuzz-case.h"

#include <glib.h>

/* SplitMix64: every seed is as good as any other. */
typedef struct Rng {
    uint64_t s;
} Rng;

static inline uint64_t rng64(Rng *r)
{
    uint64_t z = r->s += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static inline uint32_t rng(Rng *r, uint32_t below)
{
    return (uint32_t)((rng64(r) >> 32) * below >> 32);
}

typedef struct Candidate {
    const InsnRow *row;
    uint8_t map, opcode;
} Candidate;

/* Where things lie: linear addresses, which are offsets in all segments as well. */
typedef struct GenLayout {
    uint64_t rw;      /* FZ_RW_SIZE bytes, then FZ_RO_SIZE that may not be written, then nothing */
    uint64_t counter; /* of loops */
} GenLayout;

struct Gen;

typedef struct GenOptions {
    const uint32_t *features; /* of the guest's CPU */
    unsigned bits;            /* code size: 16, 32, 64 */
    bool protected_mode;
    bool ring0_paged; /* the page tables are the sequence's to change */
    bool no_stale;    /* no page is changed without being invalidated */
    GenLayout at;
    /* Instead of user mode's rule and units, if set. */
    bool (*allowed)(struct Gen *g, const DecodedInsn *in);
    void (*special)(struct Gen *g);
    void (*constant)(struct Gen *g);     /* code that may be changed, or NULL */
    void (*code_changes)(struct Gen *g); /* and what changes it */
    const char *only;                    /* mnemonic (or its beginning and '*') or NULL */
    unsigned insns;                      /* about so many in a sequence */
    bool alignment;                      /* EFLAGS.AC gets set */
    bool transcendental;                 /* what chips compute differently is wanted, too */
} GenOptions;

typedef struct Label {
    uint16_t at;   /* offset of the displacement in the code */
    uint8_t size;  /* of it */
    uint8_t after; /* placed when so many units have passed */
    uint16_t undefined;
} Label;

#define GEN_LABELS 8

typedef struct Gen {
    GenOptions opt;
    GArray *candidates;
    Rng rng;
    FzSeq *seq;
    uint8_t *code; /* of the slot */
    unsigned len;
    uint16_t undefined; /* flags without a defined value here */
    uint16_t pointers;  /* registers known to point into the window */
    uint16_t unit;
    uint32_t style;    /* random bits of the sequence */
    uint64_t constant; /* in the code, to be changed; 0: none */
    unsigned n_labels;
    Label labels[GEN_LABELS];
} Gen;

void gen_init(Gen *g, const GenOptions *opt);
void gen_fini(Gen *g);
/* Fills seq and the slot's code (both for address `slot`); false: `only` fits nothing. */
bool gen_sequence(Gen *g, uint64_t seed, FzSeq *seq, uint8_t *code, uint64_t slot);
void gen_state(Rng *r, FzState *s, bool avx, bool ac);
void gen_memory(Rng *r, FzMemory *m, bool avx);
/* Does the instruction count as one that user mode may execute the same everywhere? */
bool gen_allowed(const Gen *g, const DecodedInsn *in);
/* The part of it that is about results: the same on all chips and in all engines. */
bool gen_exact(const Gen *g, const DecodedInsn *in);
bool gen_decode(const GenOptions *opt, const uint8_t *code, unsigned len, DecodedInsn *in);
/* Replaces unit `unit` of a sequence by NOPs; false: it is none already. */
bool gen_blank_unit(FzSeq *seq, uint8_t *code, uint64_t slot, unsigned unit);

#endif
