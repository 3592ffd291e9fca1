/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Maintenance of the software TLB (flushes, generations, PCIDs) and the exclusive
 * sections that keep vCPUs apart.
 */
#include "accel/tcg/internal.h"
#include "target/i386/paging.h"
#include "util/log.h"

#include <inttypes.h>

static void note_jump_page(TcgCpu *tc, uint64_t linear)
{
    unsigned bit = tcg_jump_page(linear);
    tc->jump_pages[bit / 64] |= 1ull << (bit % 64);
}

static void clear_jumps(TcgCpu *tc)
{
    tcg_forget_jumps(tc);
    memset(tc->jump_pages, 0, sizeof(tc->jump_pages));
    /* What runs now goes on there, and returns there, without a lookup. */
    const CPUX86 *cpu = tc->cpu;
    note_jump_page(tc, cpu->rip + (cpu->hflags & HF_CS64 ? 0 : cpu->segs[SEG_CS].base));
}

static bool has_jumps(const TcgCpu *tc, uint64_t linear)
{
    unsigned bit = tcg_jump_page(linear);
    return tc->jump_pages[bit / 64] >> (bit % 64) & 1;
}

static void clear_part(TcgCpu *tc, unsigned mode, unsigned first)
{
    for (unsigned i = first; i < first + TLB_PART; i++) {
        TlbEntry *e = &tc->tlb[mode][i];
        e->tag_r = e->tag_w = e->tag_x = TLB_INVALID;
    }
    memset(&tc->writers.list[mode * TLB_SIZE + first], 0, TLB_PART * sizeof(tc->writers.list[0]));
}

static void clear_entries(TcgCpu *tc)
{
    while (__atomic_exchange_n(&tc->tlb_lock, 1, __ATOMIC_ACQUIRE)) {
    }
    for (unsigned m = 0; m < MMU_MODES; m++) {
        for (unsigned part = 0; part < TLB_PARTS; part++) {
            if (tcg_tlb_part_used(tc, m, part)) {
                clear_part(tc, m, part * TLB_PART);
            }
        }
    }
    memset(tc->tlb_used, 0, sizeof(tc->tlb_used));
    memset(tc->writers.head, 0, sizeof(tc->writers.head));
    __atomic_store_n(&tc->tlb_lock, 0, __ATOMIC_RELEASE);
    tcg_stack_forget(tc);
    clear_jumps(tc);
    memset(tc->large_bloom, 0, sizeof(tc->large_bloom));
    memset(tc->huge_bloom, 0, sizeof(tc->huge_bloom));
    tc->n_flushes++;
    LOG(LOG_MMU, "cpu %u: flush of everything, cr3 %09" PRIx64 "\n", tc->cpu->index, tc->cpu->cr3);
}

/*
 * Without paging, all that linear addresses depend on is SMM and the A20 gate: four address
 * spaces that stay cached while firmware and boot loaders go to and fro between them, real and
 * protected mode.  They have ASIDs that no SVM guest has.
 */
#define ASID_UNPAGED 0xfffffffcu

static bool is_unpaged(uint32_t asid)
{
    return asid >= ASID_UNPAGED;
}

static uint32_t current_asid(const CPUX86 *cpu)
{
    uint32_t asid = tcg_asid(cpu);
    if (asid || (cpu->cr0 & CR0_PG)) {
        return asid;
    }
    return ASID_UNPAGED + (cpu->smm ? 1 : 0) + (cpu->a20_masked ? 2 : 0);
}

static TlbContext *tcg_context(TcgCpu *tc, uint32_t asid)
{
    unsigned n = is_unpaged(asid) ? TLB_ASIDS + asid - ASID_UNPAGED : MIN(asid, TLB_ASIDS - 1u);
    return &tc->ctx[n];
}

static uint16_t current_pcid(const CPUX86 *cpu)
{
    bool pcids = (cpu->cr4 & CR4_PCIDE) && !is_unpaged(current_asid(cpu));
    return pcids ? (uint16_t)(cpu->cr3 & 0xfff) : 0;
}

static PcidSlot *find_slot(TcgCpu *tc, uint16_t pcid)
{
    uint32_t asid = current_asid(tc->cpu);
    for (unsigned i = 0; i < PCID_SLOTS; i++) {
        if (tc->pcids[i].gen && tc->pcids[i].pcid == pcid && tc->pcids[i].asid == asid) {
            return &tc->pcids[i];
        }
    }
    return NULL;
}

/* Makes the present PCID's generation the current one. */
static void select_generation(TcgCpu *tc)
{
    uint16_t pcid = current_pcid(tc->cpu);
    PcidSlot *s = find_slot(tc, pcid);
    if (!s) {
        if (tc->last_gen == TLB_GEN_MAX) { /* all used up: start again */
            memset(tc->pcids, 0, sizeof(tc->pcids));
            clear_entries(tc);
            tc->last_gen = 0;
        }
        s = &tc->pcids[tc->pcid_next++ % PCID_SLOTS];
        *s =
            (PcidSlot){.asid = current_asid(tc->cpu), .pcid = pcid, .gen = (uint8_t)++tc->last_gen};
    }
    tc->gen_bits = (uint64_t)s->gen << TLB_GEN_SHIFT;
    tc->space = tcg_context(tc, current_asid(tc->cpu))->space;
    tc->global_bits = tc->cpu->cr4 & CR4_PGE ? tcg_global_bits(tc->space) : 0;
    tcg_stack_forget(tc);
}

static void forget_pcid(TcgCpu *tc, uint16_t pcid)
{
    PcidSlot *s = find_slot(tc, pcid);
    if (s) {
        s->gen = 0;
    }
}

void tcg_tlb_init(TcgCpu *tc)
{
    clear_entries(tc);
    for (unsigned i = 0; i < TLB_CONTEXTS; i++) {
        tc->ctx[i].space = ++tc->last_space;
    }
    select_generation(tc);
}

void mmu_flush(CPUX86 *cpu)
{
    TcgCpu *tc = tcg_cpu(cpu);
    clear_entries(tc);
    memset(tc->pcids, 0, sizeof(tc->pcids));
    tc->last_gen = 0;
    select_generation(tc);
}

/* Nothing that was cached for this ASID is found again: global pages ask for its space. */
static void forget_asid(TcgCpu *tc, uint32_t asid, bool global)
{
    for (unsigned i = 0; i < PCID_SLOTS; i++) {
        if (tc->pcids[i].asid == asid) {
            tc->pcids[i].gen = 0;
        }
    }
    if (global) {
        tcg_context(tc, asid)->space = ++tc->last_space;
        if (!(tc->last_space % JUMP_SPACES)) {
            clear_jumps(tc); /* what they know of spaces comes round */
        }
        if (!tc->last_space) { /* used up: old numbers may be of use again */
            clear_entries(tc);
        }
    }
    LOG(LOG_MMU, "cpu %u: flush of ASID %u\n", tc->cpu->index, asid);
}

void mmu_flush_asid(CPUX86 *cpu, uint32_t asid, bool global)
{
    TcgCpu *tc = tcg_cpu(cpu);
    forget_asid(tc, asid, global);
    select_generation(tc);
}

void mmu_flush_space(CPUX86 *cpu)
{
    mmu_flush_asid(cpu, tcg_asid(cpu), true);
}

void mmu_flush_nonglobal(CPUX86 *cpu)
{
    TcgCpu *tc = tcg_cpu(cpu);
    LOG(LOG_MMU, "cpu %u: flush, cr3 %09" PRIx64 "\n", cpu->index, cpu->cr3);
    forget_pcid(tc, current_pcid(cpu));
    select_generation(tc);
}

void mmu_flush_pcid(CPUX86 *cpu, uint16_t pcid)
{
    TcgCpu *tc = tcg_cpu(cpu);
    forget_pcid(tc, pcid);
    select_generation(tc);
}

static bool in_bloom(const uint64_t *bloom, uint64_t n)
{
    unsigned bit = tcg_bloom_bit(n);
    return bloom[bit / 64] >> (bit % 64) & 1;
}

void mmu_flush_page(CPUX86 *cpu, uint64_t linear)
{
    TcgCpu *tc = tcg_cpu(cpu);
    if (!(cpu->efer & EFER_LMA)) {
        linear = (uint32_t)linear;
    }
    LOG(LOG_MMU, "cpu %u: flush of page %016" PRIx64 "\n", cpu->index, linear);
    /* Part of a page larger than 4 KiB: all its parts must go. A 4 MiB page is two entries. */
    if (in_bloom(tc->large_bloom, linear >> 21) || in_bloom(tc->large_bloom, linear >> 21 ^ 1) ||
        in_bloom(tc->huge_bloom, linear >> 30)) {
        mmu_flush(cpu);
        return;
    }
    uint64_t page = linear & TCG_PAGE_MASK;
    tcg_stack_forget(tc);
    for (unsigned m = 0; m < MMU_MODES; m++) {
        TlbEntry *e = &tc->tlb[m][TLB_INDEX(linear)];
        if ((e->tag_r & TCG_PAGE_MASK) == page || (e->tag_w & TCG_PAGE_MASK) == page ||
            (e->tag_x & TCG_PAGE_MASK) == page) {
            e->tag_r = e->tag_w = e->tag_x = TLB_INVALID;
        }
    }
    /* Blocks that begin on this page, or on the one before and reach into it. */
    if (has_jumps(tc, page) || has_jumps(tc, page - TCG_PAGE_SIZE)) {
        clear_jumps(tc);
    }
}

void mmu_flush_pcid_page(CPUX86 *cpu, uint16_t pcid, uint64_t linear)
{
    if (pcid == current_pcid(cpu)) {
        mmu_flush_page(cpu, linear);
    } else {
        forget_pcid(tcg_cpu(cpu), pcid);
    }
}

#define CTX_CR0 (CR0_PE | CR0_PG | CR0_WP)
#define CTX_CR4 (CR4_PSE | CR4_PAE | CR4_PGE | CR4_LA57 | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_PKE)
#define CTX_EFER (EFER_NXE | EFER_LMA)

static bool same_context(const TlbContext *a, const TlbContext *b)
{
    /* Which pages are watched is known to the entries alone. */
    return a->valid && !a->watch && !b->watch && a->asid == b->asid && a->cr0 == b->cr0 &&
           a->cr4 == b->cr4 && a->efer == b->efer && a->nested_cr3 == b->nested_cr3 &&
           a->smm == b->smm && a->a20 == b->a20;
}

/*
 * An SVM guest and its hypervisor find their own entries again after a change of worlds, and
 * whoever has no paging its own of before.  Paging that is turned on begins with nothing.
 */
void mmu_context_changed(CPUX86 *cpu)
{
    TcgCpu *tc = tcg_cpu(cpu);
    TlbContext now = {.valid = true,
                      .watch = cpu->hflags & HF_DATA_BP,
                      .asid = current_asid(cpu),
                      .smm = cpu->smm,
                      .a20 = cpu->a20_masked};
    TlbContext *c = tcg_context(tc, now.asid);
    if (is_unpaged(now.asid)) {
        tcg_context(tc, 0)->valid = false;
    } else {
        now.cr0 = cpu->cr0 & CTX_CR0;
        now.cr4 = cpu->cr4 & CTX_CR4;
        now.efer = cpu->efer & CTX_EFER;
    }
    if (tcg_asid(cpu)) {
        now.nested_cr3 = cpu->svm.nested_paging ? cpu->svm.nested_cr3 : 1;
    }
    if (!same_context(c, &now)) {
        now.space = c->space;
        *c = now;
        forget_asid(tc, now.asid, true);
        if (tc->tcg->n_watch) {
            tcg_debug_update(tc);
        }
    }
    select_generation(tc);
}

void tcg_memory_changed(TcgCpu *tc)
{
    uint64_t seq = __atomic_load_n(&tc->tcg->map_seq, __ATOMIC_SEQ_CST);
    mmu_flush(tc->cpu);
    tcg_release_ram(tc, seq);
}

/* ---- exclusive sections ---- */

static bool others_running(const Tcg *t, const TcgCpu *self)
{
    for (unsigned i = 0; i < t->cpus->len; i++) {
        const TcgCpu *c = g_ptr_array_index(t->cpus, i);
        if (c != self && c->running) {
            return true;
        }
    }
    return false;
}

void tcg_cpu_enter(TcgCpu *tc)
{
    Tcg *t = tc->tcg;
    pthread_mutex_lock(&t->excl_lock);
    while (t->excl_owner || t->flush_owner) {
        pthread_cond_wait(&t->excl_cond, &t->excl_lock);
    }
    tc->running = true;
    pthread_mutex_unlock(&t->excl_lock);
}

void tcg_cpu_leave(TcgCpu *tc)
{
    Tcg *t = tc->tcg;
    pthread_mutex_lock(&t->excl_lock);
    tc->running = false;
    pthread_cond_broadcast(&t->excl_cond);
    pthread_mutex_unlock(&t->excl_lock);
}

void mmu_exclusive_begin(CPUX86 *cpu)
{
    TcgCpu *tc = tcg_cpu(cpu);
    Tcg *t = tc->tcg;
    if (tc->excl_depth++) {
        return;
    }
    pthread_mutex_lock(&t->excl_lock);
    tc->running = false;
    tc->in_exclusive = true;
    pthread_cond_broadcast(&t->excl_cond);
    while (t->excl_owner) {
        pthread_cond_wait(&t->excl_cond, &t->excl_lock);
    }
    t->excl_owner = tc;
    for (unsigned i = 0; i < t->cpus->len; i++) {
        TcgCpu *c = g_ptr_array_index(t->cpus, i);
        if (c->running) {
            cpu_interrupt(c->cpu, IRQ_POLL);
        }
    }
    while (others_running(t, tc)) {
        pthread_cond_wait(&t->excl_cond, &t->excl_lock);
    }
    pthread_mutex_unlock(&t->excl_lock);
}

void mmu_exclusive_end(CPUX86 *cpu)
{
    TcgCpu *tc = tcg_cpu(cpu);
    Tcg *t = tc->tcg;
    if (!tc->excl_depth || --tc->excl_depth) {
        return;
    }
    pthread_mutex_lock(&t->excl_lock);
    t->excl_owner = NULL;
    tc->running = true;
    tc->in_exclusive = false;
    pthread_cond_broadcast(&t->excl_cond);
    pthread_mutex_unlock(&t->excl_lock);
}
