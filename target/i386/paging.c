/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The page walk in every form; SDM vol. 3 chapter 4. */
#include "target/i386/paging.h"

#include "util/rcu.h"

#define PTE_P (1ull << 0)
#define PTE_W (1ull << 1)
#define PTE_U (1ull << 2)
#define PTE_A (1ull << 5)
#define PTE_D (1ull << 6)
#define PTE_PS (1ull << 7)
#define PTE_G (1ull << 8)
#define PTE_PAT_LARGE (1ull << 12)
#define PTE_NX (1ull << 63)
#define PTE_ADDR 0x000ffffffffff000ull
#define MAX_LEVELS 5

#define F1_EDX_PSE (1u << 3)
#define F1_EDX_PGE (1u << 13)
#define F1_EDX_PSE36 (1u << 17)
#define F81_EDX_PDPE1GB (1u << 26)

/* One entry met on the way, for setting its accessed and dirty bits afterwards. */
typedef struct WalkEntry {
    hwaddr addr;
    uint64_t value;
} WalkEntry;

typedef struct Walk {
    CPUX86 *cpu;
    uint64_t linear;
    PageAccess access;
    bool user, smap_check, debug;
    bool host;           /* the tables are a hypervisor's, for its guest's physical addresses */
    PageWalk *out;       /* for faults of nested paging */
    unsigned entry_size; /* 4 or 8 */
    WalkEntry entries[MAX_LEVELS];
    unsigned count;
    uint64_t rights;   /* AND of R/W and U/S, OR of NX */
    uint64_t reserved; /* mask of reserved bits in any 8-byte entry */
} Walk;

typedef enum WalkResult { WALK_OK, WALK_FAULT, WALK_RETRY } WalkResult;

static uint64_t phys_mask(const CPUX86 *cpu)
{
    unsigned bits = cpu->config.phys_bits;

    return bits >= 32 && bits < 52 ? (1ull << bits) - 1 : (1ull << 52) - 1;
}

static hwaddr a20(const CPUX86 *cpu, hwaddr addr)
{
    return cpu->a20_masked ? addr & ~(1ull << 20) : addr;
}

static uint64_t read_entry(const Walk *w, hwaddr addr)
{
    MemTarget t;
    MemAttrs attrs = {.requester = 0xffff, .smm = w->cpu->smm};
    uint64_t v = UINT64_MAX;

    address_space_lookup(cpu_as(w->cpu), addr, &t);
    if (t.host && t.len >= w->entry_size) {
        return w->entry_size == 8 ? __atomic_load_n((uint64_t *)t.host, __ATOMIC_ACQUIRE)
                                  : __atomic_load_n((uint32_t *)t.host, __ATOMIC_ACQUIRE);
    }
    if (address_space_ld(cpu_as(w->cpu), addr, attrs, w->entry_size, &v) != MEM_OK) {
        v = UINT64_MAX;
    }
    return w->entry_size == 4 ? (uint32_t)v : v;
}

/* Sets bits in an entry unless it changed since it was read: then the walk starts again. */
static bool update_entry(const Walk *w, const WalkEntry *e, uint64_t bits)
{
    MemTarget t;
    uint64_t expected = e->value, desired = e->value | bits;
    bool done;

    if ((e->value & bits) == bits) {
        return true;
    }
    address_space_lookup(cpu_as(w->cpu), e->addr, &t);
    if (!t.host) {
        MemAttrs attrs = {.requester = 0xffff, .smm = w->cpu->smm};
        address_space_st(cpu_as(w->cpu), e->addr, attrs, w->entry_size, desired);
        return true;
    }
    if (t.region->kind != REGION_RAM || t.region->readonly) {
        return true; /* page tables in ROM keep their bits */
    }
    if (w->entry_size == 8) {
        done = __atomic_compare_exchange_n((uint64_t *)t.host, &expected, desired, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    } else {
        uint32_t expected32 = (uint32_t)expected;
        done = __atomic_compare_exchange_n((uint32_t *)t.host, &expected32, (uint32_t)desired,
                                           false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    if (done && t.ram) {
        ram_mark_dirty(t.ram, t.ram_offset, w->entry_size);
    }
    return done;
}

static bool set_accessed_dirty(const Walk *w)
{
    for (unsigned i = 0; i < w->count; i++) {
        bool leaf = i == w->count - 1;
        uint64_t bits = PTE_A | (leaf && w->access == PAGE_WRITE ? PTE_D : 0);

        if (!update_entry(w, &w->entries[i], bits)) {
            return false;
        }
    }
    return true;
}

static uint32_t fault_code(const Walk *w, uint32_t cause)
{
    const CPUX86 *cpu = w->cpu;
    bool nx = (cpu->efer & EFER_NXE) && (cpu->cr4 & CR4_PAE);
    uint32_t code = cause;

    code |= w->access == PAGE_WRITE ? PF_W : 0;
    code |= w->user ? PF_U : 0;
    code |= w->access == PAGE_FETCH && (nx || (cpu->cr4 & CR4_SMEP)) ? PF_I : 0;
    return code;
}

/* Protection keys: user pages of 4- and 5-level paging only (SDM vol. 3, 4.6.2). */
static void pkey_rights(const Walk *w, uint64_t leaf, bool *read, bool *write)
{
    const CPUX86 *cpu = w->cpu;
    unsigned key = (leaf >> 59) & 15;
    bool ad = cpu->pkru >> (key * 2) & 1, wd = cpu->pkru >> (key * 2 + 1) & 1;

    *read = *write = true;
    if (w->host || !(cpu->cr4 & CR4_PKE) || !(cpu->efer & EFER_LMA) || !(w->rights & PTE_U)) {
        return;
    }
    *read = !ad;
    *write = !ad && !(wd && (w->user || (cpu->cr0 & CR0_WP)));
}

/* The leaf was found: rights, accessed and dirty bits, and the answer. */
static bool nested(const CPUX86 *cpu)
{
    return (cpu->hflags & HF_SVM_GUEST) && cpu->svm.nested_paging;
}

static bool nested_walk(CPUX86 *cpu, hwaddr gpa, PageAccess access, bool table, bool debug,
                        PageWalk *out);

/* The guest-physical page in `out` becomes the host's. */
static bool finish_nested(const Walk *w, PageWalk *out)
{
    PageWalk n = {0};

    if (w->host || !nested(w->cpu)) {
        return true;
    }
    if (!nested_walk(w->cpu, out->phys, w->access, false, w->debug, &n)) {
        out->nested_fault = true;
        out->nested_error = n.nested_error;
        out->nested_addr = out->phys;
        return false;
    }
    out->phys = n.phys;
    out->page_size = MIN(out->page_size, n.page_size);
    out->writable &= n.writable;
    out->executable &= n.executable;
    return true;
}

static WalkResult finish(const Walk *w, uint64_t leaf, uint64_t base, uint64_t size, PageWalk *out)
{
    const CPUX86 *cpu = w->cpu;
    bool user_page = w->rights & PTE_U, writable_page = w->rights & PTE_W;
    bool nx = w->rights & PTE_NX;
    bool smap = !w->user && user_page && w->smap_check;
    bool key_read, key_write, readable, writable, executable;

    pkey_rights(w, leaf, &key_read, &key_write);
    if (w->user || w->host) {
        readable = user_page;
        writable = user_page && writable_page;
        executable = user_page && !nx;
    } else {
        readable = !smap;
        writable = !smap && (writable_page || !(cpu->cr0 & CR0_WP));
        executable = !nx && !(user_page && (cpu->cr4 & CR4_SMEP));
    }
    if (w->debug) {
        readable = key_read = true; /* monitors see what is mapped, whoever may use it */
    }
    if ((w->access == PAGE_READ && !readable) || (w->access == PAGE_WRITE && !writable) ||
        (w->access == PAGE_FETCH && !executable)) {
        out->error = fault_code(w, PF_P);
        return WALK_FAULT;
    }
    if ((w->access == PAGE_READ && !key_read) || (w->access == PAGE_WRITE && !key_write)) {
        out->error = fault_code(w, PF_P | PF_PK);
        return WALK_FAULT;
    }
    if (!w->debug && !set_accessed_dirty(w)) {
        return WALK_RETRY;
    }
    out->phys = a20(cpu, base | (w->linear & (size - 1)));
    out->page_size = size;
    out->readable = readable && key_read;
    out->writable = writable && key_write && (w->access == PAGE_WRITE || (leaf & PTE_D));
    out->executable = executable;
    out->global = (leaf & PTE_G) && (cpu->cr4 & CR4_PGE);
    out->error = 0;
    return finish_nested(w, out) ? WALK_OK : WALK_FAULT;
}

static WalkResult walk_fail(const Walk *w, uint32_t cause, PageWalk *out)
{
    out->error = fault_code(w, cause);
    return WALK_FAULT;
}

/* A guest-physical address of one of the guest's tables; false: a nested fault. */
static bool table_address(const Walk *w, hwaddr *addr)
{
    PageWalk n = {0};

    if (w->host || !nested(w->cpu)) {
        return true;
    }
    /* The walk may set bits in it: to the hypervisor it is a write (APM vol. 2, 15.25.5). */
    if (!nested_walk(w->cpu, *addr, w->debug ? PAGE_READ : PAGE_WRITE, true, w->debug, &n)) {
        w->out->nested_fault = true;
        w->out->nested_error = n.nested_error;
        w->out->nested_addr = *addr;
        return false;
    }
    *addr = n.phys;
    return true;
}

/* A table that the hypervisor does not map reads as not present; out->nested_fault says it. */
static uint64_t next_entry(Walk *w, hwaddr addr)
{
    WalkEntry *e = &w->entries[w->count++];

    e->addr = a20(w->cpu, addr);
    e->value = table_address(w, &e->addr) ? read_entry(w, e->addr) : 0;
    w->rights = (w->rights & e->value & (PTE_W | PTE_U)) | ((w->rights | e->value) & PTE_NX);
    return e->value;
}

static WalkResult walk_32_from(Walk *w, uint64_t cr3, uint64_t cr4, PageWalk *out)
{
    CPUX86 *cpu = w->cpu;
    uint64_t pde, pte;

    w->entry_size = 4;
    pde = next_entry(w, (cr3 & 0xfffff000) + ((w->linear >> 22) & 1023) * 4);
    if (!(pde & PTE_P)) {
        return walk_fail(w, 0, out);
    }
    if ((pde & PTE_PS) && (cr4 & CR4_PSE)) {
        bool pse36 = cpu_has(cpu, FEAT_1_EDX, F1_EDX_PSE36);
        uint64_t high = (pde >> 13) & 0xff;
        uint64_t base = (pde & 0xffc00000) | (pse36 ? high << 32 : 0);

        if ((pde & (1u << 21)) || (!pse36 && high) || (base & ~phys_mask(cpu))) {
            return walk_fail(w, PF_P | PF_RSVD, out);
        }
        return finish(w, pde, base, 4 * MiB, out);
    }
    pte = next_entry(w, (pde & 0xfffff000) + ((w->linear >> 12) & 1023) * 4);
    if (!(pte & PTE_P)) {
        return walk_fail(w, 0, out);
    }
    return finish(w, pte, pte & 0xfffff000, 4 * KiB, out);
}

static WalkResult walk_32(Walk *w, PageWalk *out)
{
    return walk_32_from(w, w->cpu->cr3, w->cpu->cr4, out);
}

static WalkResult walk_nested_32(Walk *w, PageWalk *out)
{
    return walk_32_from(w, w->cpu->svm.nested_cr3, w->cpu->svm.host_cr4, out);
}

/* Reserved bits of an 8-byte entry at `level` (1: PTE … 5: PML5E). */
static uint64_t reserved_bits(const Walk *w, unsigned level, uint64_t e)
{
    uint64_t r = w->reserved;

    if (e & PTE_PS) {
        if (level == 4 || level == 5 ||
            (level == 3 && !cpu_has(w->cpu, FEAT_80000001_EDX, F81_EDX_PDPE1GB))) {
            r |= PTE_PS;
        } else if (level == 3) {
            r |= 0x3fffe000;
        } else if (level == 2) {
            r |= 0x1fe000;
        }
    }
    return r;
}

/* From the table at `table` for `level` downwards. */
static WalkResult walk_levels(Walk *w, hwaddr table, unsigned level, PageWalk *out)
{
    w->entry_size = 8;
    for (;; level--) {
        unsigned shift = 12 + 9 * (level - 1);
        uint64_t e = next_entry(w, table + ((w->linear >> shift) & 511) * 8);

        if (!(e & PTE_P)) {
            return walk_fail(w, 0, out);
        }
        if (e & reserved_bits(w, level, e)) {
            return walk_fail(w, PF_P | PF_RSVD, out);
        }
        if (level == 1 || (level <= 3 && (e & PTE_PS))) {
            uint64_t size = 1ull << shift;
            return finish(w, e, e & PTE_ADDR & ~(size - 1), size, out);
        }
        table = e & PTE_ADDR;
    }
}

static WalkResult walk_pae(Walk *w, PageWalk *out)
{
    unsigned n = (w->linear >> 30) & 3;
    uint64_t pdpte = w->cpu->pdpte[n];

    /* With nested paging they are read from memory each time (APM vol. 2, 15.25.10). */
    if (nested(w->cpu)) {
        hwaddr at = (w->cpu->cr3 & 0xffffffe0) + n * 8;

        w->entry_size = 8;
        pdpte = table_address(w, &at) ? read_entry(w, at) : 0;
    }

    /* Bits 62:52 of PAE entries are reserved; long mode ignores them. */
    w->reserved |= 0x7ff0000000000000ull;
    if (!(pdpte & PTE_P)) {
        return walk_fail(w, 0, out);
    }
    return walk_levels(w, pdpte & PTE_ADDR, 2, out);
}

/*
 * The hypervisor's tables, in the form that its own paging had at VMRUN: what is not mapped,
 * or not for this access, is a nested page fault.
 */
static bool nested_walk(CPUX86 *cpu, hwaddr gpa, PageAccess access, bool table, bool debug,
                        PageWalk *out)
{
    const SvmState *s = &cpu->svm;
    WalkResult r;

    do {
        Walk w = {.cpu = cpu,
                  .linear = gpa,
                  .access = access,
                  .user = true,
                  .debug = debug,
                  .host = true,
                  .out = out,
                  .rights = PTE_W | PTE_U};

        *out = (PageWalk){0};
        w.reserved = (PTE_ADDR & ~phys_mask(cpu)) | (s->host_efer & EFER_NXE ? 0 : PTE_NX);
        if (s->host_efer & EFER_LMA) {
            r = walk_levels(&w, s->nested_cr3 & PTE_ADDR, s->host_cr4 & CR4_LA57 ? 5 : 4, out);
        } else if (s->host_cr4 & CR4_PAE) {
            uint64_t pdpte;

            w.entry_size = 8;
            w.reserved |= 0x7ff0000000000000ull;
            pdpte = read_entry(&w, (s->nested_cr3 & 0xffffffe0) + ((gpa >> 30) & 3) * 8);
            r = gpa >> 32 || !(pdpte & PTE_P) ? walk_fail(&w, 0, out)
                                              : walk_levels(&w, pdpte & PTE_ADDR, 2, out);
        } else {
            r = gpa >> 32 ? walk_fail(&w, 0, out) : walk_nested_32(&w, out);
        }
    } while (r == WALK_RETRY);
    out->nested_error = (out->error & ~(uint64_t)PF_I) | PF_U | (table ? NPF_TABLE : NPF_FINAL) |
                        (access == PAGE_FETCH ? PF_I : 0);
    return r == WALK_OK;
}

bool x86_nested_walk(CPUX86 *cpu, hwaddr gpa, PageAccess access, PageWalk *w)
{
    bool ok;

    rcu_read_lock();
    ok = nested_walk(cpu, gpa, access, false, false, w);
    rcu_read_unlock();
    return ok;
}

static void no_paging(CPUX86 *cpu, uint64_t linear, PageWalk *w)
{
    *w = (PageWalk){.phys = a20(cpu, linear & UINT32_MAX),
                    .page_size = 4 * KiB,
                    .readable = true,
                    .writable = true,
                    .executable = true,
                    .global = true};
}

bool x86_page_walk(CPUX86 *cpu, uint64_t linear, PageAccess access, bool user, bool smap_check,
                   bool debug, PageWalk *out)
{
    WalkResult r;

    if (!(cpu->cr0 & CR0_PG)) {
        Walk w = {.cpu = cpu, .linear = linear, .access = access, .debug = debug, .out = out};
        bool ok;

        no_paging(cpu, linear, out);
        rcu_read_lock();
        ok = finish_nested(&w, out);
        rcu_read_unlock();
        return ok;
    }
    rcu_read_lock();
    do {
        Walk w = {.cpu = cpu,
                  .linear = linear,
                  .access = access,
                  .user = user,
                  .smap_check = smap_check,
                  .debug = debug,
                  .out = out,
                  .rights = PTE_W | PTE_U};

        *out = (PageWalk){0};
        w.reserved = (PTE_ADDR & ~phys_mask(cpu)) | (cpu->efer & EFER_NXE ? 0 : PTE_NX);
        if (cpu->efer & EFER_LMA) {
            r = walk_levels(&w, cpu->cr3 & PTE_ADDR, cpu->cr4 & CR4_LA57 ? 5 : 4, out);
        } else if (cpu->cr4 & CR4_PAE) {
            r = walk_pae(&w, out);
        } else {
            r = walk_32(&w, out);
        }
    } while (r == WALK_RETRY);
    rcu_read_unlock();
    return r == WALK_OK;
}

bool x86_load_pdptes(CPUX86 *cpu, uint64_t cr3)
{
    if (nested(cpu)) {
        return true; /* they are looked at when they are used */
    }
    Walk w = {.cpu = cpu, .entry_size = 8};
    uint64_t pdpte[4];
    uint64_t reserved = 0x1e6 | ~(phys_mask(cpu));
    hwaddr table = cr3 & 0xffffffe0;

    rcu_read_lock();
    for (unsigned i = 0; i < 4; i++) {
        pdpte[i] = read_entry(&w, a20(cpu, table + i * 8));
    }
    rcu_read_unlock();
    for (unsigned i = 0; i < 4; i++) {
        if ((pdpte[i] & PTE_P) && (pdpte[i] & reserved)) {
            return false;
        }
    }
    memcpy(cpu->pdpte, pdpte, sizeof(pdpte));
    return true;
}

bool x86_is_canonical(const CPUX86 *cpu, uint64_t linear)
{
    unsigned bits = cpu->cr4 & CR4_LA57 ? 57 : 48;

    return (uint64_t)((int64_t)(linear << (64 - bits)) >> (64 - bits)) == linear;
}
