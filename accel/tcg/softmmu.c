/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The software TLB's slow side: refills, memory-mapped I/O, dirty tracking, and
 * the accesses that helpers make.
 *
 * An entry's tag holds page, generation and flags; the generation stands for the
 * address space (CR3, PCID), so that changing it needs no flush.  Global pages of
 * another generation are taken over on a miss.
 */
#include "accel/tcg/internal.h"
#include "accel/tcg/tlb.h"
#include "target/i386/paging.h"
#include "target/i386/tcg/helper.h"
#include "target/i386/tcg/svm.h"
#include "util/log.h"

#include <inttypes.h>

#define PAGE_OF(lin) ((lin)&TCG_PAGE_MASK)
#define TAG_GEN ((uint64_t)TLB_GEN_MAX << TLB_GEN_SHIFT)
#define TAG_FLAGS 0xfull

static void spin_lock(int *l)
{
    while (__atomic_exchange_n(l, 1, __ATOMIC_ACQUIRE)) {
        __builtin_ia32_pause();
    }
}
static void spin_unlock(int *l)
{
    __atomic_store_n(l, 0, __ATOMIC_RELEASE);
}

/* ---- refill ---- */

static bool data_watch_on_page(const CPUX86 *cpu, uint64_t page)
{
    if (!(cpu->hflags & HF_DATA_BP)) {
        return false;
    }
    for (unsigned i = 0; i < 4; i++) {
        bool enabled = cpu->dr[7] >> (2 * i) & 3;
        unsigned kind = (unsigned)(cpu->dr[7] >> (16 + 4 * i)) & 3;
        if (enabled && (kind == 1 || kind == 3) && PAGE_OF(cpu->dr[i]) == page) {
            return true;
        }
    }
    return false;
}

static _Noreturn void raise_noncanonical(CPUX86 *cpu, unsigned seg)
{
    x86_raise_error(cpu, seg == SEG_SS ? EXC_SS : EXC_GP, 0);
}

/* A global page that was cached under another generation. */
static bool retag_global(TcgCpu *tc, TlbEntry *e, const TlbInfo *info, uint64_t page)
{
    if (!info->global || info->space != tc->space || !(tc->cpu->cr4 & CR4_PGE)) {
        return false;
    }
    uint64_t *tags[3] = {&e->tag_r, &e->tag_w, &e->tag_x};
    bool any = false;
    spin_lock(&tc->tlb_lock);
    for (unsigned i = 0; i < 3; i++) {
        if (PAGE_OF(*tags[i]) == page && !(*tags[i] & TLB_INVALID)) {
            *tags[i] = (*tags[i] & ~TAG_GEN) | tc->gen_bits;
            any = true;
        }
    }
    spin_unlock(&tc->tlb_lock);
    return any;
}

static bool page_needs_notes(const MemTarget *m, uint64_t offset)
{
    if (!ram_test_dirty(m->ram, DIRTY_CODE, offset, 1)) {
        return true;
    }
    for (unsigned c = 0; c < DIRTY_CLIENTS; c++) {
        if (c != DIRTY_CODE && (m->dirty_log_mask >> c & 1) &&
            !ram_test_dirty(m->ram, (DirtyClient)c, offset, 1)) {
            return true;
        }
    }
    return false;
}

static void note_large_page(TcgCpu *tc, uint64_t lin, uint64_t size)
{
    unsigned h = tcg_bloom_bit(lin >> (size > 4 * MiB ? 30 : 21));
    uint64_t *bloom = size > 4 * MiB ? tc->huge_bloom : tc->large_bloom;
    bloom[h / 64] |= 1ull << (h % 64);
}

static unsigned writer_hash(uintptr_t host)
{
    return (unsigned)((uint32_t)(host >> TCG_PAGE_BITS) * 0x9e3779b1u >> 22) & (WRITER_HEADS - 1);
}

/* Does the entry allow writes without notice? To which page of the host? */
static bool writable_host(const TlbEntry *e, uintptr_t *host)
{
    uint64_t tag = __atomic_load_n(&e->tag_w, __ATOMIC_RELAXED);
    *host = (uintptr_t)PAGE_OF(tag) + e->addend;
    return tag && !(tag & (TLB_INVALID | TLB_SLOW | TLB_NOTDIRTY));
}

/* The entry has been made, or has become writable: to the list where it belongs. */
static void note_writer(TcgCpu *tc, const TlbEntry *e)
{
    Writers *w = &tc->writers;
    uintptr_t host;
    unsigned n = (unsigned)(e - &tc->tlb[0][0]);
    unsigned list = writable_host(e, &host) ? writer_hash(host) + 1 : 0;
    if (w->list[n] == list) {
        return;
    }
    if (w->list[n]) {
        uint32_t *p = &w->head[w->list[n] - 1];
        while (*p != n + 1) {
            p = &w->next[*p - 1];
        }
        *p = w->next[n];
    }
    w->list[n] = (uint16_t)list;
    if (list) {
        w->next[n] = w->head[list - 1];
        w->head[list - 1] = n + 1;
    }
}

/* What a page's tags become; walk == NULL: no paging, all is allowed. */
static void set_entry(TcgCpu *tc, TlbEntry *e, TlbInfo *info, uint64_t page, uint64_t gen,
                      PageAccess access, const PageWalk *walk, hwaddr phys, const MemTarget *m)
{
    bool plain = m->host && m->len >= TCG_PAGE_SIZE;
    uint64_t tag = page | gen;
    bool watch = data_watch_on_page(tc->cpu, page) || tcg_watch_on_page(tc->tcg, page);
    uint64_t r = tag | (plain && !watch ? 0 : TLB_SLOW), w = tag, x = tag | (plain ? 0 : TLB_SLOW);
    spin_lock(&tc->tlb_lock);
    unsigned n = (unsigned)(e - &tc->tlb[0][0]) / TLB_PART;
    tc->tlb_used[n / TLB_PARTS][n % TLB_PARTS / 64] |= 1ull << (n % 64);
    bool same = info->phys == phys && info->ram == (plain ? m->ram : NULL);
    if (!plain || !m->writable || watch) {
        w |= TLB_SLOW;
    }
    if (plain && m->writable && page_needs_notes(m, m->ram_offset)) {
        w |= TLB_NOTDIRTY;
    }
    uint64_t old_x = e->tag_x, old_r = e->tag_r, old_w = e->tag_w;
    if (access == PAGE_FETCH) {
        e->tag_x = x;
        e->tag_r = same && (old_r & ~TAG_FLAGS) == tag ? old_r : TLB_INVALID;
        e->tag_w = same && (old_w & ~TAG_FLAGS) == tag ? old_w : TLB_INVALID;
    } else {
        bool writable = !walk || walk->writable;
        e->tag_r = r;
        e->tag_w = writable ? w : TLB_INVALID;
        e->tag_x = same && (old_x & ~TAG_FLAGS) == tag ? old_x : TLB_INVALID;
    }
    e->addend = plain ? (uintptr_t)m->host - (uintptr_t)page : 0;
    info->phys = phys;
    info->ram = plain ? m->ram : NULL;
    info->ram_offset = m->ram_offset;
    info->global = walk && walk->global;
    note_writer(tc, e);
    info->space = tc->space;
    spin_unlock(&tc->tlb_lock);
}

static uint64_t mode_gen(const TcgCpu *tc, MmuMode mode)
{
    return tc->gen_bits;
}

static const char *const access_names[] = {
    [PAGE_READ] = "reading", [PAGE_WRITE] = "writing", [PAGE_FETCH] = "execution"};
static const char *const mode_names[] = {[MMU_KERNEL] = "the kernel",
                                         [MMU_USER] = "a user",
                                         [MMU_KERNEL_AC] = "the kernel without SMAP",
                                         [MMU_PHYS] = "physical address"};

/* Brings the page of `lin` in; raises when the access is not allowed. */
static TlbEntry *fill(TcgCpu *tc, uint64_t lin, PageAccess access, MmuMode mode, unsigned seg)
{
    CPUX86 *cpu = tc->cpu;
    uint64_t page = PAGE_OF(lin);
    TlbEntry *e = &tc->tlb[mode][TLB_INDEX(lin)];
    TlbInfo *info = &tc->info[mode][TLB_INDEX(lin)];
    uint64_t gen = mode_gen(tc, mode);
    const uint64_t *tag = access == PAGE_FETCH   ? &e->tag_x
                          : access == PAGE_WRITE ? &e->tag_w
                                                 : &e->tag_r;
    if (retag_global(tc, e, info, page) && (*tag & ~TAG_FLAGS) == (page | gen)) {
        return e;
    }
    PageWalk walk, *w = NULL;
    hwaddr phys = lin;
    if (mode != MMU_PHYS) {
        if ((cpu->efer & EFER_LMA) && !x86_is_canonical(cpu, lin)) {
            raise_noncanonical(cpu, seg);
        }
        w = &walk;
        if (!x86_page_walk(cpu, lin, access, mode == MMU_USER,
                           mode == MMU_KERNEL && (cpu->cr4 & CR4_SMAP), false, w)) {
            if (w->nested_fault) {
                svm_exit(cpu, SVM_EXIT_NPF, w->nested_error, w->nested_addr);
            }
            LOG(LOG_MMU, "cpu %u: page fault at %016" PRIx64 ", error %x, ip %016" PRIx64 "\n",
                cpu->index, lin, w->error, cpu->rip);
            x86_raise_pf(cpu, lin, w->error);
        }
        phys = walk.phys;
        if (walk.page_size > TCG_PAGE_SIZE) {
            note_large_page(tc, lin, walk.page_size);
        }
    } else if (cpu->a20_masked) {
        phys &= ~(1ull << 20);
    }
    MemTarget m;
    tc->n_tlb_fills++;
    LOG(LOG_MMU, "cpu %u: fill %016" PRIx64 " -> %09" PRIx64 " for %s by %s\n", cpu->index, page,
        phys & TCG_PAGE_MASK, access_names[access], mode_names[mode]);
    rcu_read_lock();
    address_space_lookup(cpu_as(cpu), phys & TCG_PAGE_MASK, &m);
    if (m.host && m.ram) {
        tcg_watch_ram(tc->tcg, m.ram);
    } else {
        m.host = NULL;
    }
    set_entry(tc, e, info, page, gen, access, w, phys & TCG_PAGE_MASK, &m);
    rcu_read_unlock();
    return e;
}

/* The entry for an access that lies in one page; flags may be left in its tag. */
static TlbEntry *entry_for(TcgCpu *tc, uint64_t lin, PageAccess access, MmuMode mode, unsigned seg)
{
    TlbEntry *e = &tc->tlb[mode][TLB_INDEX(lin)];
    uint64_t tag = access == PAGE_WRITE ? e->tag_w : access == PAGE_READ ? e->tag_r : e->tag_x;
    if ((tag & ~(uint64_t)(TLB_SLOW | TLB_NOTDIRTY)) == (PAGE_OF(lin) | mode_gen(tc, mode))) {
        return e;
    }
    return fill(tc, lin, access, mode, seg);
}

static uint64_t wrap(const CPUX86 *cpu, uint64_t lin)
{
    return cpu->efer & EFER_LMA ? lin : (uint32_t)lin;
}

/* ---- slow loads and stores ---- */

static hwaddr entry_phys(const TcgCpu *tc, uint64_t lin, MmuMode mode)
{
    return tc->info[mode][TLB_INDEX(lin)].phys | (lin & (TCG_PAGE_SIZE - 1));
}

static void after_io(TcgCpu *tc)
{
    /* The access moved memory: the block must not go on with stale translations. */
    if (__atomic_load_n(&tc->cpu->irq_pending, __ATOMIC_RELAXED) & IRQ_TLB_FLUSH) {
        tc->leave = true;
    }
}

static uint64_t load_in_page(TcgCpu *tc, uint64_t lin, unsigned size, MmuMode mode, unsigned seg)
{
    TlbEntry *e = entry_for(tc, lin, PAGE_READ, mode, seg);
    if (e->tag_r & TLB_SLOW) {
        CPUX86 *cpu = tc->cpu;
        if (cpu->hflags & HF_DATA_BP) {
            x86_check_data_bp(cpu, lin, size, false);
        }
        if (tc->tcg->n_watch) {
            tcg_watch_access(tc, lin, size, false);
        }
        if (!tc->info[mode][TLB_INDEX(lin)].ram) {
            uint64_t v = ~0ull;
            tcg_exact(tc);
            address_space_ld(cpu_as(cpu), entry_phys(tc, lin, mode), cpu_attrs(cpu), size, &v);
            after_io(tc);
            return v;
        }
    }
    return GUEST_LD((const void *)(uintptr_t)(lin + e->addend), size);
}

static bool crosses(uint64_t lin, unsigned size)
{
    return (lin & (TCG_PAGE_SIZE - 1)) + size > TCG_PAGE_SIZE;
}

/* An access that ends where there are no addresses faults so, whatever is known of its start. */
static void check_end(TcgCpu *tc, uint64_t second, PageAccess access, MmuMode mode, unsigned seg)
{
    if (!x86_is_canonical(tc->cpu, second)) {
        (void)entry_for(tc, second, access, mode, seg);
    }
}

uint64_t tcg_ld_slow(CPUX86 *cpu, uint64_t lin, unsigned size, MmuMode mode, unsigned seg)
{
    TcgCpu *tc = tcg_cpu(cpu);
    lin = wrap(cpu, lin);
    tc->n_slow++;
    if (!crosses(lin, size)) {
        return load_in_page(tc, lin, size, mode, seg);
    }
    uint64_t second = wrap(cpu, PAGE_OF(lin) + TCG_PAGE_SIZE);
    check_end(tc, second, PAGE_READ, mode, seg);
    (void)entry_for(tc, lin, PAGE_READ, mode, seg);
    (void)entry_for(tc, second, PAGE_READ, mode, seg);
    uint64_t v = 0;
    for (unsigned i = 0; i < size; i++) {
        v |= load_in_page(tc, wrap(cpu, lin + i), 1, mode, seg) << (8 * i);
    }
    return v;
}

/* A write to RAM whose page was marked TLB_NOTDIRTY has been done. */
static void note_write(TcgCpu *tc, TlbEntry *e, const TlbInfo *info, uint64_t lin, unsigned size)
{
    uint64_t off = info->ram_offset + (lin & (TCG_PAGE_SIZE - 1));
    RamBlock *ram = info->ram;
    for (unsigned c = 0; c < DIRTY_CLIENTS; c++) {
        if (c != DIRTY_CODE) {
            ram_set_dirty(ram, (DirtyClient)c, off, size);
        }
    }
    if (!ram_test_dirty(ram, DIRTY_CODE, off, 1)) {
        tcg_invalidate_range(tc->tcg, ram, off, size, tc, false);
    }
    spin_lock(&tc->tlb_lock);
    /* Under the lock: whoever makes it clean again will find the entry. */
    if (ram_test_dirty(ram, DIRTY_CODE, off, 1) && ram_test_dirty(ram, DIRTY_VGA, off, 1) &&
        ram_test_dirty(ram, DIRTY_MIGRATION, off, 1)) {
        e->tag_w &= ~(uint64_t)TLB_NOTDIRTY;
        note_writer(tc, e);
    }
    spin_unlock(&tc->tlb_lock);
}

static void store_in_page(TcgCpu *tc, uint64_t lin, uint64_t v, unsigned size, MmuMode mode,
                          unsigned seg)
{
    TlbEntry *e = entry_for(tc, lin, PAGE_WRITE, mode, seg);
    const TlbInfo *info = &tc->info[mode][TLB_INDEX(lin)];
    if (e->tag_w & TLB_SLOW) {
        CPUX86 *cpu = tc->cpu;
        if (cpu->hflags & HF_DATA_BP) {
            x86_check_data_bp(cpu, lin, size, true);
        }
        if (tc->tcg->n_watch) {
            tcg_watch_access(tc, lin, size, true);
            tc->leave |= info->ram != NULL; /* it may have been this block's code */
        }
        if (!info->ram) {
            tcg_exact(tc);
        }
        /* Memory without plain access; ROM too: its writes may go to a device. */
        address_space_st(cpu_as(cpu), entry_phys(tc, lin, mode), cpu_attrs(cpu), size, v);
        after_io(tc);
        return;
    }
    GUEST_ST((void *)(uintptr_t)(lin + e->addend), size, v);
    if (e->tag_w & TLB_NOTDIRTY) {
        note_write(tc, e, info, lin, size);
    }
}

/* entry_for(); with -icount, an instruction that will reach for a device must be alone by now. */
static void probe_page(TcgCpu *tc, uint64_t lin, PageAccess access, MmuMode mode, unsigned seg)
{
    const TlbEntry *e = entry_for(tc, lin, access, mode, seg);
    uint64_t tag = access == PAGE_WRITE ? e->tag_w : e->tag_r;
    if (tc->icount_on && (tag & TLB_SLOW) && !tc->info[mode][TLB_INDEX(lin)].ram) {
        tcg_exact(tc);
    }
}

void tcg_probe_write(CPUX86 *cpu, uint64_t lin, unsigned size, MmuMode mode, unsigned seg)
{
    TcgCpu *tc = tcg_cpu(cpu);
    lin = wrap(cpu, lin);
    uint64_t second = wrap(cpu, PAGE_OF(lin) + TCG_PAGE_SIZE);
    if (crosses(lin, size)) {
        check_end(tc, second, PAGE_WRITE, mode, seg);
    }
    probe_page(tc, lin, PAGE_WRITE, mode, seg);
    if (crosses(lin, size)) {
        probe_page(tc, second, PAGE_WRITE, mode, seg);
    }
    if (tc->tcg->n_watch) {
        tcg_watch_probe(tc, lin, size, true);
    }
}

void tcg_st_slow(CPUX86 *cpu, uint64_t lin, uint64_t v, unsigned size, MmuMode mode, unsigned seg)
{
    TcgCpu *tc = tcg_cpu(cpu);
    lin = wrap(cpu, lin);
    tc->n_slow++;
    if (!crosses(lin, size)) {
        store_in_page(tc, lin, v, size, mode, seg);
        return;
    }
    tcg_probe_write(cpu, lin, size, mode, seg);
    for (unsigned i = 0; i < size; i++) {
        store_in_page(tc, wrap(cpu, lin + i), v >> (8 * i) & 0xff, 1, mode, seg);
    }
}

void *tcg_plain_ptr(CPUX86 *cpu, uint64_t lin, unsigned size, bool write, MmuMode mode,
                    unsigned seg)
{
    TcgCpu *tc = tcg_cpu(cpu);
    lin = wrap(cpu, lin);
    if (crosses(lin, size)) {
        return NULL;
    }
    TlbEntry *e = entry_for(tc, lin, write ? PAGE_WRITE : PAGE_READ, mode, seg);
    if ((write ? e->tag_w : e->tag_r) & (TLB_SLOW | TLB_NOTDIRTY)) {
        return NULL;
    }
    return (void *)(uintptr_t)(lin + e->addend);
}

/* ---- code ---- */

const uint8_t *tcg_code_ptr(CPUX86 *cpu, uint64_t linear, RamBlock **ram, uint64_t *offset)
{
    TcgCpu *tc = tcg_cpu(cpu);
    MmuMode mode = mmu_mode(cpu);
    linear = wrap(cpu, linear);
    TlbEntry *e = entry_for(tc, linear, PAGE_FETCH, mode, SEG_CS);
    if (e->tag_x & TLB_SLOW) {
        return NULL;
    }
    const TlbInfo *info = &tc->info[mode][TLB_INDEX(linear)];
    *ram = info->ram;
    *offset = info->ram_offset + (linear & (TCG_PAGE_SIZE - 1));
    return (const uint8_t *)(uintptr_t)(linear + e->addend);
}

bool tcg_code_global(const TcgCpu *tc, uint64_t linear)
{
    MmuMode mode = mmu_mode(tc->cpu);
    const TlbEntry *e = &tc->tlb[mode][TLB_INDEX(linear)];
    const TlbInfo *info = &tc->info[mode][TLB_INDEX(linear)];
    return tc->global_bits && info->global && info->space == tc->space &&
           e->tag_x == (PAGE_OF(linear) | mode_gen(tc, mode));
}

uint8_t tcg_code_byte(CPUX86 *cpu, uint64_t linear)
{
    TcgCpu *tc = tcg_cpu(cpu);
    MmuMode mode = mmu_mode(cpu);
    linear = wrap(cpu, linear);
    TlbEntry *e = entry_for(tc, linear, PAGE_FETCH, mode, SEG_CS);
    if (!(e->tag_x & TLB_SLOW)) {
        return *(const uint8_t *)(uintptr_t)(linear + e->addend);
    }
    uint64_t v = 0xff;
    address_space_ld(cpu_as(cpu), entry_phys(tc, linear, mode), cpu_attrs(cpu), 1, &v);
    return (uint8_t)v;
}

/* ---- what helpers call ---- */

#define DEFINE_ACCESS(bits)                                                                \
    uint##bits##_t mmu_ld##bits(CPUX86 *cpu, uint64_t linear, MmuMode mode)                \
    {                                                                                      \
        TcgCpu *tc = tcg_cpu(cpu);                                                         \
        TlbEntry *e = &tc->tlb[mode][TLB_INDEX(linear)];                                   \
        if (tlb_hit(e->tag_r, linear, bits / 8, mode_gen(tc, mode))) {                     \
            return (uint##bits##_t)GUEST_LD((const void *)(uintptr_t)(linear + e->addend), \
                                            bits / 8);                                     \
        }                                                                                  \
        return (uint##bits##_t)tcg_ld_slow(cpu, linear, bits / 8, mode, SEG_DS);           \
    }                                                                                      \
    void mmu_st##bits(CPUX86 *cpu, uint64_t linear, uint##bits##_t v, MmuMode mode)        \
    {                                                                                      \
        TcgCpu *tc = tcg_cpu(cpu);                                                         \
        TlbEntry *e = &tc->tlb[mode][TLB_INDEX(linear)];                                   \
        if (tlb_hit(e->tag_w, linear, bits / 8, mode_gen(tc, mode))) {                     \
            GUEST_ST((void *)(uintptr_t)(linear + e->addend), bits / 8, v);                \
            return;                                                                        \
        }                                                                                  \
        tcg_st_slow(cpu, linear, v, bits / 8, mode, SEG_DS);                               \
    }
DEFINE_ACCESS(8)
DEFINE_ACCESS(16)
DEFINE_ACCESS(32)
DEFINE_ACCESS(64)

void mmu_probe(CPUX86 *cpu, uint64_t linear, size_t len, bool write, MmuMode mode)
{
    TcgCpu *tc = tcg_cpu(cpu);
    PageAccess access = write ? PAGE_WRITE : PAGE_READ;
    if (!len) {
        return;
    }
    uint64_t last = PAGE_OF(linear + len - 1);
    probe_page(tc, wrap(cpu, linear), access, mode, SEG_DS);
    for (uint64_t p = PAGE_OF(linear); p != last;) {
        p += TCG_PAGE_SIZE;
        probe_page(tc, wrap(cpu, p), access, mode, SEG_DS);
    }
    if (tc->tcg->n_watch) {
        tcg_watch_probe(tc, wrap(cpu, linear), len, write);
    }
}

static unsigned chunk(uint64_t lin, size_t left)
{
    unsigned n = left >= 8 && !(lin & 7)   ? 8
                 : left >= 4 && !(lin & 3) ? 4
                 : left >= 2 && !(lin & 1) ? 2
                                           : 1;
    return n;
}

void mmu_ld_bytes(CPUX86 *cpu, uint64_t linear, void *buf, size_t len, MmuMode mode)
{
    TcgCpu *tc = tcg_cpu(cpu);
    uint8_t *p = buf;
    if (len && PAGE_OF(linear) != PAGE_OF(linear + len - 1)) {
        mmu_probe(cpu, linear, len, false, mode);
    }
    while (len) {
        uint64_t lin = wrap(cpu, linear);
        size_t n = MIN(len, TCG_PAGE_SIZE - (size_t)(lin & (TCG_PAGE_SIZE - 1)));
        const TlbEntry *e = entry_for(tc, lin, PAGE_READ, mode, SEG_DS);
        if (!(e->tag_r & TLB_SLOW)) {
            memcpy(p, (const void *)(uintptr_t)(lin + e->addend), n);
        } else {
            n = chunk(lin, n);
            st_le(p, (unsigned)n, load_in_page(tc, lin, (unsigned)n, mode, SEG_DS));
        }
        p += n;
        linear += n;
        len -= n;
    }
}

void mmu_st_bytes(CPUX86 *cpu, uint64_t linear, const void *buf, size_t len, MmuMode mode)
{
    TcgCpu *tc = tcg_cpu(cpu);
    const uint8_t *p = buf;
    if (len && PAGE_OF(linear) != PAGE_OF(linear + len - 1)) {
        mmu_probe(cpu, linear, len, true, mode);
    }
    while (len) {
        uint64_t lin = wrap(cpu, linear);
        size_t n = MIN(len, TCG_PAGE_SIZE - (size_t)(lin & (TCG_PAGE_SIZE - 1)));
        TlbEntry *e = entry_for(tc, lin, PAGE_WRITE, mode, SEG_DS);
        if (!(e->tag_w & TLB_SLOW)) {
            memcpy((void *)(uintptr_t)(lin + e->addend), p, n);
            if (e->tag_w & TLB_NOTDIRTY) {
                note_write(tc, e, &tc->info[mode][TLB_INDEX(lin)], lin, (unsigned)n);
            }
        } else {
            n = chunk(lin, n);
            store_in_page(tc, lin, ld_le(p, (unsigned)n), (unsigned)n, mode, SEG_DS);
        }
        p += n;
        linear += n;
        len -= n;
    }
}

void *tcg_host_span(CPUX86 *cpu, uint64_t linear, bool write, MmuMode mode)
{
    TcgCpu *tc = tcg_cpu(cpu);
    linear = wrap(cpu, linear);
    TlbEntry *e = entry_for(tc, linear, write ? PAGE_WRITE : PAGE_READ, mode, SEG_DS);
    if ((write ? e->tag_w : e->tag_r) & TAG_FLAGS) {
        return NULL;
    }
    return (void *)(uintptr_t)(linear + e->addend);
}

void *mmu_atomic_ptr(CPUX86 *cpu, uint64_t linear, unsigned size, MmuMode mode)
{
    TcgCpu *tc = tcg_cpu(cpu);
    linear = wrap(cpu, linear);
    TlbEntry *e = entry_for(tc, linear, PAGE_WRITE, mode, SEG_DS);
    if ((linear & (size - 1)) || (e->tag_w & TLB_SLOW)) {
        return NULL;
    }
    void *host = (void *)(uintptr_t)(linear + e->addend);
    if (e->tag_w & TLB_NOTDIRTY) {
        const TlbInfo *info = &tc->info[mode][TLB_INDEX(linear)];
        uint64_t off = info->ram_offset + (linear & (TCG_PAGE_SIZE - 1));
        if (!ram_test_dirty(info->ram, DIRTY_CODE, off, 1)) {
            return NULL; /* the write must come before the invalidation */
        }
        note_write(tc, e, info, linear, size);
    }
    return host;
}

/* ---- segmentation ---- */

static _Noreturn void raise_segment(CPUX86 *cpu, unsigned seg)
{
    x86_raise_error(cpu, seg == SEG_SS ? EXC_SS : EXC_GP, 0);
}

static bool limit_ok(const Segment *s, uint64_t offset, unsigned size)
{
    uint64_t last = offset + (size ? size - 1 : 0);
    bool data = !(s->attr & SEG_TYPE_CODE);
    if (data && (s->attr & SEG_TYPE_DC)) { /* expand-down: above the limit */
        uint64_t top = s->attr & SEG_DB ? UINT32_MAX : UINT16_MAX;
        return offset > s->limit && last <= top;
    }
    /* What goes round the end of 4 GiB may or may not fault (SDM vol. 3, 6.3): with flat segments,
     * whose operands nobody checks, it does not. */
    return last <= s->limit || s->limit == UINT32_MAX;
}

uint64_t seg_linear(CPUX86 *cpu, unsigned seg, uint64_t offset, unsigned size, bool write)
{
    const Segment *s = &cpu->segs[seg];
    if (cpu->hflags & HF_CS64) {
        uint64_t lin = seg >= SEG_FS ? offset + s->base : offset;
        if (!x86_is_canonical(cpu, lin) || !x86_is_canonical(cpu, lin + (size ? size - 1 : 0))) {
            raise_segment(cpu, seg);
        }
        return lin;
    }
    if ((cpu->hflags & HF_PE) && !(cpu->hflags & HF_VM)) {
        bool code = s->attr & SEG_TYPE_CODE, rw = s->attr & SEG_TYPE_RW;
        if ((s->attr & SEG_UNUSABLE) || !(s->attr & SEG_P) || (write ? code || !rw : code && !rw)) {
            raise_segment(cpu, seg);
        }
    }
    if (!limit_ok(s, offset, size)) {
        raise_segment(cpu, seg);
    }
    return (uint32_t)(offset + s->base);
}

/* ---- other threads take write access away ---- */

static void downgrade(TlbEntry *e, uintptr_t first, uintptr_t last)
{
    uintptr_t host;
    if (writable_host(e, &host) && host >= first && host <= last) {
        __atomic_fetch_or(&e->tag_w, TLB_NOTDIRTY, __ATOMIC_SEQ_CST);
    }
}

static void protect_all(TcgCpu *tc, uintptr_t first, uintptr_t last)
{
    for (unsigned m = 0; m < MMU_MODES; m++) {
        for (unsigned i = 0; i < TLB_SIZE; i++) {
            if (i % TLB_PART == 0 && !tcg_tlb_part_used(tc, m, i / TLB_PART)) {
                i += TLB_PART - 1;
                continue;
            }
            downgrade(&tc->tlb[m][i], first, last);
        }
    }
}

/* ---- the stack's pages ---- */

void tcg_stack_forget(TcgCpu *tc)
{
    for (unsigned m = 0; m < MMU_MODES; m++) {
        for (unsigned w = 0; w < 2; w++) {
            StackPage *s = &tc->stack[m][w];
            memset(s->starts, 0, sizeof(s->starts)); /* a trace may still use the rest */
            __atomic_store_n(&s->host, 0, __ATOMIC_RELAXED);
        }
    }
}

bool tcg_stack_page(TcgCpu *tc, uint64_t lin, unsigned len, bool write, MmuMode mode)
{
    const TlbEntry *e = &tc->tlb[mode][TLB_INDEX(lin)];
    const TlbInfo *info = &tc->info[mode][TLB_INDEX(lin)];
    StackPage *s = &tc->stack[mode][write];
    if (crosses(lin, len)) {
        return false;
    }
    /* The lock, for protect(): it sees this page here, or this sees its tag. */
    spin_lock(&tc->tlb_lock);
    bool ok = tlb_hit(write ? e->tag_w : e->tag_r, lin, 1, tc->gen_bits);
    if (ok) {
        s->base = PAGE_OF(lin);
        s->addend = e->addend;
        for (unsigned n = 0; n < STACK_REACHES; n++) {
            s->starts[n] = TCG_PAGE_SIZE - stack_reach[n] + 1;
        }
        s->ram = info->ram;
        s->ram_offset = info->ram_offset;
        __atomic_store_n(&s->host, (uintptr_t)s->base + s->addend, __ATOMIC_RELAXED);
    }
    spin_unlock(&tc->tlb_lock);
    return ok;
}

void tcg_stack_drop(TcgCpu *tc)
{
    if (!__atomic_load_n(&tc->stack_drop, __ATOMIC_RELAXED)) {
        return;
    }
    __atomic_store_n(&tc->stack_drop, false, __ATOMIC_SEQ_CST);
    for (unsigned m = 0; m < MMU_MODES; m++) {
        const StackPage *s = &tc->stack[m][1];
        for (unsigned c = 0; s->host && c < DIRTY_CLIENTS; c++) {
            if (c != DIRTY_CODE) {
                ram_set_dirty(s->ram, (DirtyClient)c, s->ram_offset, TCG_PAGE_SIZE);
            }
        }
    }
    tcg_stack_forget(tc);
}

static void protect_stack(TcgCpu *tc, uintptr_t first, uintptr_t last)
{
    for (unsigned m = 0; m < MMU_MODES; m++) {
        uintptr_t host = __atomic_load_n(&tc->stack[m][1].host, __ATOMIC_RELAXED);
        if (host && host >= first && host <= last) {
            __atomic_store_n(&tc->stack_drop, true, __ATOMIC_SEQ_CST);
            __atomic_store_n(&tc->cpu->attention, 1, __ATOMIC_SEQ_CST);
        }
    }
}

static void protect(TcgCpu *tc, uintptr_t first, uintptr_t last)
{
    spin_lock(&tc->tlb_lock);
    protect_stack(tc, first, last);
    if (last - first >= TCG_PAGE_SIZE) {
        protect_all(tc, first, last);
    } else {
        const Writers *w = &tc->writers;
        for (unsigned n = w->head[writer_hash(first)]; n; n = w->next[n - 1]) {
            downgrade(&tc->tlb[0][0] + n - 1, first, last);
        }
    }
    spin_unlock(&tc->tlb_lock);
}

void tcg_protect_ram(Tcg *t, RamBlock *b, uint64_t offset, uint64_t len)
{
    uint64_t from = offset & TCG_PAGE_MASK, to = offset + len - 1;
    for (unsigned i = 0; i < t->cpus->len; i++) {
        protect(g_ptr_array_index(t->cpus, i), (uintptr_t)b->host + from, (uintptr_t)b->host + to);
    }
}
