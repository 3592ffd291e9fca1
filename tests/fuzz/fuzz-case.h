/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/fuzz/fuzz-case.h: what x86-diff and the process that executes its cases on the
 * host's own CPU (x86-native) share: the layout of the guest's memory, sequences of
 * instructions, and the state before and after a sequence.
 *
 * A sequence ends in HLT, which faults in user mode.  Faults on the way are noted and
 * the sequence goes on behind the instruction that faulted, so that one fault does not
 * end it; fz_resume() is the common rule.
 */
#ifndef RHEA_TESTS_FUZZ_CASE_H
#define RHEA_TESTS_FUZZ_CASE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Linear addresses, the same everywhere, below 4 GiB so that absolute operands reach
 * them.  Around and between the parts nothing is mapped.
 */
#define FZ_RW 0x10001000ull /* readable, writable, not executable */
#define FZ_RW_SIZE 0x2000u
#define FZ_RO (FZ_RW + FZ_RW_SIZE) /* read-only */
#define FZ_RO_SIZE 0x1000u
#define FZ_AREA 0x10005000ull /* as FZ_RW; only for state images and counters */
#define FZ_AREA_SIZE 0x1000u
#define FZ_CODE 0x10100000ull /* readable, executable */
#define FZ_SLOT 0x2000u       /* code of one sequence */
#define FZ_SLOTS 32u

/* Offsets in FZ_AREA. */
enum {
    FZ_FXRSTOR = 0x000, /* an image that FXRSTOR and XRSTOR take */
    FZ_FLDENV = 0x400,
    FZ_SCRATCH = 0x600,
    FZ_COUNTER = 0x7f0, /* of loops */
    FZ_SAVE = 0x800,    /* FXSAVE, XSAVE */
};

#define FZ_STARTS 256u /* instructions of a sequence */
#define FZ_EVENTS 48u
#define FZ_CASES 128u
#define FZ_POOLS 4u
#define FZ_XSAVE_SIZE 832u /* legacy area, header, upper halves of YMM */

#define FZ_ARITH 0x8d5u

typedef struct FzState {
    uint64_t gpr[16];
    uint64_t rip, rflags, gs_base;
    uint8_t xsave[FZ_XSAVE_SIZE]; /* standard format */
} FzState;

typedef struct FzEvent {
    uint32_t vector, error;
    uint64_t rip, addr, rflags;
} FzEvent;

typedef struct FzMemory {
    uint8_t rw[FZ_RW_SIZE];
    uint8_t area[FZ_AREA_SIZE];
} FzMemory;

typedef struct FzResult {
    FzState state;
    uint32_t n_events;
    FzEvent events[FZ_EVENTS];
    FzMemory mem;
} FzResult;

typedef struct FzSeq {
    uint64_t start, end; /* end: of the HLT */
    uint32_t n;
    uint32_t n_body;               /* instructions, loops counted once */
    uint16_t starts[FZ_STARTS];    /* offsets from start, ascending; the last is the HLT */
    uint16_t undefined[FZ_STARTS]; /* flags without a defined value before each */
    uint16_t unit[FZ_STARTS];      /* instructions of one unit go together */
} FzSeq;

typedef struct FzCase {
    uint32_t seq, pool;
    FzState in;
    FzResult native;
} FzCase;

typedef struct FzBatch {
    uint32_t n_cases;
    uint32_t now; /* the case being executed: told when the process dies */
    FzSeq seq[FZ_SLOTS];
    FzMemory pool[FZ_POOLS];
    uint8_t ro[FZ_RO_SIZE];
    FzCase cases[FZ_CASES];
    _Alignas(4096) uint8_t code[FZ_SLOTS * FZ_SLOT];
} FzBatch;

/* Where to go on after an event; 0: the case ends. */
static inline uint64_t fz_resume(const FzSeq *s, unsigned vector, uint64_t rip)
{
    if (rip < s->start || rip >= s->end) {
        return 0;
    }
    for (unsigned i = 0; i < s->n; i++) {
        if (s->start + s->starts[i] == rip) {
            bool trap = vector == 1 || vector == 3 || vector == 4;
            return trap ? rip : s->start + s->starts[i + 1];
        }
    }
    return 0;
}

#endif
