/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target/i386/paging.h: the page walk, in every form (none, 32-bit, PSE-36, PAE,
 * 4 and 5 levels); SDM vol. 3 chapter 4.  Pure except for the accessed and dirty
 * bits, which are set atomically.  Knows no TLB.
 */
#ifndef RHEA_TARGET_I386_PAGING_H
#define RHEA_TARGET_I386_PAGING_H

#include "target/i386/cpu.h"

typedef enum PageAccess { PAGE_READ = 0, PAGE_WRITE = 1, PAGE_FETCH = 2 } PageAccess;

typedef struct PageWalk {
    hwaddr phys;                         /* of the address asked for, A20 applied */
    uint64_t page_size;                  /* 4 KiB, 2 MiB, 4 MiB, 1 GiB */
    bool readable, writable, executable; /* for the asked user/supervisor mode; writable only
                                          * if the dirty bit is already set, or this is a write */
    bool global;
    uint32_t error; /* page-fault error code when the walk fails */
    /* The fault is one of nested paging (SVM): its error code and the guest-physical address. */
    bool nested_fault;
    uint64_t nested_error;
    hwaddr nested_addr;
} PageWalk;
#define NPF_FINAL (1ull << 32) /* nested_error: at the final address; */
#define NPF_TABLE (1ull << 33) /* or at a table of the guest's */

#define PF_P 1u
#define PF_W 2u
#define PF_U 4u
#define PF_RSVD 8u
#define PF_I 16u
#define PF_PK 32u

/*
 * Walks for an access at `linear` (canonical). user: as CPL 3; smap_check: a
 * supervisor data access that may not touch user pages.  Sets A (and D for a
 * write) on success unless `debug`.  false: fault, w->error is its code.
 */
bool x86_page_walk(CPUX86 *cpu, uint64_t linear, PageAccess access, bool user, bool smap_check,
                   bool debug, PageWalk *w);
/* An SVM guest with nested paging: its physical address; false: w->nested_error. */
bool x86_nested_walk(CPUX86 *cpu, hwaddr gpa, PageAccess access, PageWalk *w);
/* PAE PDPTEs are loaded with CR3: false (#GP) if a reserved bit is set. */
bool x86_load_pdptes(CPUX86 *cpu, uint64_t cr3);
bool x86_is_canonical(const CPUX86 *cpu, uint64_t linear);
/* `info tlb` / `info mem`: the current page tables, one line a mapping (range). */
void x86_print_tlb(CPUX86 *cpu, GString *out);
void x86_print_mem(CPUX86 *cpu, GString *out);

#endif
