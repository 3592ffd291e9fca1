/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * accel/tcg/jit.h: the JIT as the rest of the engine sees it: blocks that have become
 * hot are turned into host code, which runs until something needs the run loop.
 *
 * THREADS: compiling and linking under Tcg.lock, executing on each vCPU's thread.  Host
 * code lives in one region with two mappings, one writable and one executable; it is
 * thrown away only together with the blocks (tcg_flush_all), while nobody executes.
 */
#ifndef RHEA_ACCEL_TCG_JIT_H
#define RHEA_ACCEL_TCG_JIT_H

#include "accel/tcg/internal.h"

typedef struct Jit Jit;

/* A place in host code where exit n of a block was translated: Block.exits[n]. */
typedef struct JitExit {
    struct JitExit *next;
    const Block *head; /* whose host code it is */
    uint32_t at, cold; /* in the code region: displacement of the jump, default target, */
    uint32_t lookup;   /* and one that looks into the jump cache */
} JitExit;
/* A trace that a block is part of, but not the first: Block.traces. */
typedef struct JitMember {
    struct JitMember *next;
    Block *head;
} JitMember;

/* Is there a back end for this host? */
bool jit_available(void);
/*
 * `size`: bytes of host code at most; icount: code counts instructions (icount.h).  NULL and
 * *errp on failure.
 */
Jit *jit_new(size_t size, bool icount, Error **errp);
void jit_free(Jit *j);
/* Prepares a vCPU's return stack. */
void jit_init_returns(const Jit *j, TcgCpu *tc);
/* Forgets all code. Tcg.lock held, no vCPU executes. */
void jit_reset(Jit *j);
/*
 * Makes host code for `b` and the blocks that mostly follow it (Tcg.lock held).  false:
 * there is no room; the caller must empty the cache.  A block that cannot be compiled gets
 * Block.jit_never.
 */
bool jit_compile(Jit *j, Block *b);
/* Where code of blocks without host code (or without validity) leads. */
const void *jit_no_code(const Jit *j);
/* Directs the exit `slot` of `from` to `to`, or (NULL) to the run loop. Tcg.lock held. */
void jit_link(Jit *j, Block *from, unsigned slot, const Block *to);
/* Directs it to the jump cache, because the target cannot be linked to. Tcg.lock held. */
void jit_link_lookup(Jit *jit, Block *from, unsigned slot);
/*
 * Executes host code from `b` on.  Returns the block whose exit was taken and, in *slot,
 * which one; NULL when the exit cannot be linked.  All state is in `cpu`.
 */
Block *jit_run(Jit *j, CPUX86 *cpu, const Block *b, unsigned *slot);
/* Is this host address within the block's code? */
bool jit_contains(const Block *b, uintptr_t pc);
/* Bytes used and available, for `info jit`. */
void jit_usage(const Jit *j, size_t *used, size_t *size);

#endif
