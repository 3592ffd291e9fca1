/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/unit/tcg-harness.h: one CPU of the TCG engine with RAM and nothing else,
 * run on the calling thread.
 */
#ifndef RHEA_TESTS_TCG_HARNESS_H
#define RHEA_TESTS_TCG_HARNESS_H

#include "accel/accel.h"
#include "target/i386/cpu.h"

typedef struct Harness {
    MemorySystem *sys;
    Region root, io, ram_region;
    RamBlock *ram;
    Accel *accel;
    Vcpu *v;
    CPUX86 *cpu;
} Harness;

/* RAM of `size` bytes at guest-physical 0. */
Harness *harness_new(uint64_t size);
/* The same with tb-size=tb_mib. */
Harness *harness_new_tb(uint64_t size, unsigned tb_mib);
/* The same with engine=engine (NULL: the default); NULL and *errp: there is none such. */
Harness *harness_new_engine(uint64_t size, unsigned tb_mib, const char *engine, Error **errp);
/*
 * Another CPU with a copy of the first one's state, run by a thread of its own from
 * `rip` with stack `rsp` until HLT; harness_join() waits for that and frees it.
 */
typedef struct HarnessCpu HarnessCpu;
HarnessCpu *harness_start(Harness *h, uint64_t rip, uint64_t rsp);
RunExit harness_join(HarnessCpu *c, uint64_t *rax);
void harness_free(Harness *h);
/* Copies into RAM as a bus master would: translated code is noticed. */
void harness_write(Harness *h, uint64_t phys, const void *data, size_t len);
/* Flat 64-bit mode, CPL 0, identity-mapped by 2 MiB pages whose tables lie at `tables`
 * (three pages for the first GiB). */
void harness_long_mode(Harness *h, uint64_t tables);
/* Flat 32-bit protected mode without paging, CPL 0. */
void harness_protected_mode(Harness *h);
/* Real mode at cs:ip, other segments 0. */
void harness_real_mode(Harness *h, uint16_t cs, uint16_t ip);
/* Runs from rip until HLT, shutdown or IRQ_EXIT. */
RunExit harness_run(Harness *h);

#endif
