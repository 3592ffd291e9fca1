/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The code cache: blocks by the host address of their code and the state they
 * assume, the pages they lie on, direct links between them.
 *
 * Removed blocks stay readable until the whole arena is thrown away, which happens
 * only while no vCPU is within a block; so lookups need no lock.
 */
#include "accel/tcg/internal.h"
#include "accel/tcg/jit.h"
#include "accel/tcg/perfmap.h"
#include "target/i386/paging.h"
#include "util/log.h"

#include <inttypes.h>
#include <sys/mman.h>

#define HASH_BITS 15

static unsigned hash_of(const Tcg *t, const uint8_t *code, uint64_t rip, uint64_t flags)
{
    uint64_t h = (uint64_t)(uintptr_t)code * 0x9e3779b97f4a7c15ull;
    h ^= (rip + (flags << 32 | flags >> 32)) * 0xc2b2ae3d27d4eb4full;
    h ^= h >> 29;
    h *= 0x9e3779b97f4a7c15ull;
    return (unsigned)(h >> (64 - t->hash_bits));
}

bool tcg_cache_init(Tcg *t, size_t size, Error **errp)
{
    t->arena_size = size;
    t->arena = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                    -1, 0);
    if (t->arena == MAP_FAILED) {
        t->arena = NULL;
        error_set_errno(errp, errno, "tcg: cannot reserve %zu MiB for translated code",
                        size / (size_t)MiB);
        error_hint(errp, "give a smaller tb-size= to -accel tcg");
        return false;
    }
    t->hash_bits = HASH_BITS;
    while (t->hash_bits < 19 && (size_t)512 << t->hash_bits < size) {
        t->hash_bits++;
    }
    t->hash = g_new0(Block *, (size_t)1 << t->hash_bits);
    t->code_maps = g_ptr_array_new();
    return true;
}

static void free_code_map(RamBlock *b)
{
    CodeMap *m = b->engine;
    for (uint64_t i = 0; i < m->n; i++) {
        g_free(m->pages[i]);
    }
    b->engine = NULL;
    munmap(m, sizeof(*m) + m->n * sizeof(m->pages[0]));
    ram_set_dirty(b, DIRTY_CODE, 0, b->size);
    ram_block_unref(b);
}

void tcg_cache_fini(Tcg *t)
{
    for (unsigned i = 0; t->code_maps && i < t->code_maps->len; i++) {
        free_code_map(g_ptr_array_index(t->code_maps, i));
    }
    g_clear_pointer(&t->code_maps, g_ptr_array_unref);
    g_clear_pointer(&t->hash, g_free);
    if (t->arena) {
        munmap(t->arena, t->arena_size);
        t->arena = NULL;
    }
}

void tcg_watch_ram(Tcg *t, RamBlock *b)
{
    if (__atomic_load_n(&b->engine, __ATOMIC_ACQUIRE)) {
        return;
    }
    pthread_mutex_lock(&t->lock);
    if (!b->engine) {
        uint64_t n = DIV_ROUND_UP(b->size, TCG_PAGE_SIZE);
        /* mmap: a big guest's map is touched only where it has code. */
        CodeMap *m = mmap(NULL, sizeof(*m) + n * sizeof(m->pages[0]), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        g_assert(m != MAP_FAILED);
        m->n = n;
        g_ptr_array_add(t->code_maps, ram_block_ref(b));
        __atomic_store_n(&b->engine, m, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&t->lock);
}

/* The next block of RAM that only the engine still refers to. Tcg.lock held. */
static RamBlock *orphan(const Tcg *t)
{
    for (unsigned i = 0; i < t->code_maps->len; i++) {
        RamBlock *b = g_ptr_array_index(t->code_maps, i);
        if (__atomic_load_n(&b->refs, __ATOMIC_SEQ_CST) == 1) {
            return b;
        }
    }
    return NULL;
}

void tcg_release_ram(TcgCpu *tc, uint64_t seq)
{
    Tcg *t = tc->tcg;
    bool all = true;
    RamBlock *b;
    pthread_mutex_lock(&t->lock);
    tc->map_seq = seq;
    for (unsigned i = 0; i < t->cpus->len; i++) {
        const TcgCpu *c = g_ptr_array_index(t->cpus, i);
        all &= c->map_seq == __atomic_load_n(&t->map_seq, __ATOMIC_SEQ_CST);
    }
    while (all && (b = orphan(t))) {
        g_ptr_array_remove(t->code_maps, b);
        pthread_mutex_unlock(&t->lock);
        tcg_invalidate_range(t, b, 0, b->size, NULL, true);
        free_code_map(b);
        pthread_mutex_lock(&t->lock);
    }
    pthread_mutex_unlock(&t->lock);
}

CodePage *tcg_code_page(const RamBlock *b, uint64_t offset)
{
    const CodeMap *m = __atomic_load_n(&b->engine, __ATOMIC_ACQUIRE);
    uint64_t page = offset >> TCG_PAGE_BITS;
    return m && page < m->n ? __atomic_load_n(&m->pages[page], __ATOMIC_ACQUIRE) : NULL;
}

/*
 * From now on, writes to this page are noticed (and counted in its seq).  Other
 * vCPUs stand still while their TLBs change, so that no store is on its way.
 */
static CodePage *watch_page(TcgCpu *tc, RamBlock *b, uint64_t offset, uint64_t *seq)
{
    Tcg *t = tc->tcg;
    tcg_watch_ram(t, b);
    offset &= TCG_PAGE_MASK;
    bool exclusive = t->cpus->len > 1 && ram_test_dirty(b, DIRTY_CODE, offset, 1);
    if (exclusive) {
        mmu_exclusive_begin(tc->cpu);
    }
    pthread_mutex_lock(&t->lock);
    CodeMap *m = b->engine;
    CodePage *cp = m->pages[offset >> TCG_PAGE_BITS];
    if (!cp) {
        cp = g_new0(CodePage, 1);
        cp->ram = b;
        cp->offset = offset;
        __atomic_store_n(&m->pages[offset >> TCG_PAGE_BITS], cp, __ATOMIC_RELEASE);
    }
    /* Until the block is entered, any write counts. */
    __atomic_store_n(&cp->granules, ~0ull, __ATOMIC_SEQ_CST);
    cp->pending++;
    tc->pending[tc->pending[0] != NULL] = cp;
    *seq = cp->seq;
    pthread_mutex_unlock(&t->lock);
    /* Tells our listener, which takes fast writes out of the TLBs. */
    ram_test_clear_dirty(b, DIRTY_CODE, offset, TCG_PAGE_SIZE);
    if (exclusive) {
        mmu_exclusive_end(tc->cpu);
    }
    return cp;
}

/* ---- reading code ---- */

static void open_page(CodeReader *r, unsigned n, uint64_t linear)
{
    RamBlock *ram;
    uint64_t offset;
    const uint8_t *p = tcg_code_ptr(r->cpu, linear, &ram, &offset);
    if (!p) {
        r->uncached = true;
        return;
    }
    r->page[n] = p - (linear & (TCG_PAGE_SIZE - 1));
    r->code_page[n] = watch_page(tcg_cpu(r->cpu), ram, offset, &r->seq[n]);
}

bool tcg_read_code(CodeReader *r, uint64_t linear, bool first, uint8_t *byte)
{
    unsigned n = (linear & TCG_PAGE_MASK) != (r->linear & TCG_PAGE_MASK);
    if (n && !first) {
        return false;
    }
    if (!r->page[n] && !r->uncached) {
        open_page(r, n, linear);
    }
    if (r->page[n]) {
        *byte = (uint8_t)GUEST_LD(r->page[n] + (linear & (TCG_PAGE_SIZE - 1)), 1);
    } else {
        *byte = tcg_code_byte(r->cpu, linear);
    }
    return true;
}

/* ---- page lists and links; Tcg.lock held ---- */

static unsigned page_index(const Block *b, const CodePage *cp)
{
    return b->page[0] == cp ? 0 : 1;
}

/* The part of a block that lies on its page n: offset within the page, and length. */
static void block_span(const Block *b, unsigned n, unsigned *start, unsigned *len)
{
    unsigned first = MIN(b->size, TCG_PAGE_SIZE - b->page_off);
    *start = n ? 0 : b->page_off;
    *len = n ? b->size - first : first;
}

static uint64_t granule_mask(unsigned start, unsigned len)
{
    unsigned first = start / 64, last = (start + len - 1) / 64;
    return (~0ull >> (63 - last)) & (~0ull << first);
}

static void page_add(CodePage *cp, Block *b, unsigned n)
{
    b->page[n] = cp;
    b->page_next[n] = cp->blocks;
    cp->blocks = b;
}

static void page_remove(CodePage *cp, Block *b)
{
    Block **p = &cp->blocks;
    while (*p != b) {
        p = &(*p)->page_next[page_index(*p, cp)];
    }
    *p = b->page_next[page_index(b, cp)];
}

static void page_update(CodePage *cp)
{
    uint64_t g = 0;
    for (Block *b = cp->blocks; b; b = b->page_next[page_index(b, cp)]) {
        unsigned start, len;
        block_span(b, page_index(b, cp), &start, &len);
        g |= granule_mask(start, len);
    }
    cp->present = g;
    __atomic_store_n(&cp->granules, cp->pending ? ~0ull : g, __ATOMIC_SEQ_CST);
}

/* The translation in progress is over, with a block or (NULL) without one. */
static void settle_pages(TcgCpu *tc, const Block *b)
{
    for (unsigned n = 0; n < 2; n++) {
        CodePage *cp = tc->pending[n];
        if (!cp) {
            continue;
        }
        tc->pending[n] = NULL;
        cp->pending--;
        if (b) {
            unsigned start, len;
            block_span(b, page_index(b, cp), &start, &len);
            cp->present |= granule_mask(start, len);
        }
        __atomic_store_n(&cp->granules, cp->pending ? ~0ull : cp->present, __ATOMIC_SEQ_CST);
    }
}

void tcg_cancel_translation(TcgCpu *tc)
{
    if (tc->pending[0]) {
        pthread_mutex_lock(&tc->tcg->lock);
        settle_pages(tc, NULL);
        pthread_mutex_unlock(&tc->tcg->lock);
    }
}

static void set_link(Tcg *t, Block *from, unsigned slot, Block *to)
{
    __atomic_store_n(&from->jump[slot], to, __ATOMIC_RELEASE);
    if (t->jit) {
        jit_link(t->jit, from, slot, to);
    }
}

static void unlink_outgoing(Tcg *t, Block *b)
{
    for (unsigned n = 0; n < 2; n++) {
        Block *to = b->jump[n];
        if (!to) {
            continue;
        }
        uintptr_t self = (uintptr_t)b | n, *p = &to->incoming;
        while (*p != self) {
            p = &((Block *)(*p & ~(uintptr_t)1))->link_next[*p & 1];
        }
        *p = b->link_next[n];
        set_link(t, b, n, NULL);
    }
}

static void unlink_incoming(Tcg *t, Block *b)
{
    while (b->incoming) {
        Block *from = (Block *)(b->incoming & ~(uintptr_t)1);
        unsigned n = b->incoming & 1;
        b->incoming = from->link_next[n];
        set_link(t, from, n, NULL);
    }
}

void tcg_link(Tcg *t, Block *from, unsigned slot, Block *to, uint64_t seq)
{
    if (log_mask & (LOG_EXEC | LOG_CPU | LOG_NOCHAIN)) {
        return;
    }
    pthread_mutex_lock(&t->lock);
    bool valid = t->n_flushes == seq && from->link_ok && !from->invalid && !to->invalid &&
                 !from->jump[slot] && from->cs_base == to->cs_base &&
                 !((from->flags ^ to->flags) & ~BLOCK_NO_STACK);
    /* A link is followed unchecked, so it must not depend on another page's mapping. */
    if (valid && to->link_ok && from->pic == to->pic && from->page[0] == to->page[0] &&
        !(((from->rip + from->cs_base) ^ (to->rip + to->cs_base)) & TCG_PAGE_MASK)) {
        from->link_next[slot] = to->incoming;
        to->incoming = (uintptr_t)from | slot;
        set_link(t, from, slot, to);
    } else if (valid && t->jit) {
        jit_link_lookup(t->jit, from, slot);
    }
    pthread_mutex_unlock(&t->lock);
}

static void hash_remove(Tcg *t, Block *b)
{
    Block **p = &t->hash[hash_of(t, b->code[0], b->rip, b->flags)];
    while (*p != b) {
        p = &(*p)->hash_next;
    }
    __atomic_store_n(p, b->hash_next, __ATOMIC_RELEASE);
}

static void invalidate(Tcg *t, Block *b, const CodePage *except, TcgCpu *self);

/* Host code that contains `b`'s goes with it. */
static void invalidate_traces(Tcg *t, Block *b, const CodePage *except, TcgCpu *self)
{
    for (const JitMember *m = b->traces; m; m = m->next) {
        if (!m->head->invalid) {
            invalidate(t, m->head, except, self);
        }
    }
}

/* `self`: the vCPU whose store it is, or NULL; executing the block, it leaves it. */
static void invalidate(Tcg *t, Block *b, const CodePage *except, TcgCpu *self)
{
    if (self && (self->current == b || jit_contains(b, self->jit_ret))) {
        self->leave = true;
    }
    unlink_outgoing(t, b);
    unlink_incoming(t, b);
    __atomic_store_n(&b->invalid, true, __ATOMIC_SEQ_CST);
    hash_remove(t, b);
    if (t->jit) {
        __atomic_store_n(&b->host_code, jit_no_code(t->jit), __ATOMIC_RELEASE);
    }
    for (unsigned n = 0; n < 2; n++) {
        if (b->page[n]) {
            page_remove(b->page[n], b);
            if (b->page[n] != except) {
                page_update(b->page[n]);
            }
        }
    }
    t->n_invalidations++;
    invalidate_traces(t, b, except, self);
}

static void invalidate_page(Tcg *t, CodePage *cp, unsigned from, unsigned to, TcgCpu *self)
{
    Block *next;
    bool any = false;
    cp->seq++;
    for (Block *b = cp->blocks; b; b = next) {
        unsigned n = page_index(b, cp), start, len;
        next = b->page_next[n]; /* invalidated meanwhile, it still leads on */
        block_span(b, n, &start, &len);
        if (!b->invalid && start < to && from < start + len) {
            invalidate(t, b, cp, self);
            any = true;
        }
    }
    if (any) { /* else it was data beside code, which boot loaders write all the time */
        page_update(cp);
    }
    if (!cp->blocks && !cp->pending) {
        ram_set_dirty(cp->ram, DIRTY_CODE, cp->offset, TCG_PAGE_SIZE);
    }
}

void tcg_invalidate_range(Tcg *t, RamBlock *b, uint64_t offset, uint64_t len, TcgCpu *self,
                          bool whole_pages)
{
    for (uint64_t end = offset + len; offset < end;) {
        unsigned from = (unsigned)(offset & (TCG_PAGE_SIZE - 1));
        unsigned to = (unsigned)MIN(end - offset + from, TCG_PAGE_SIZE);
        CodePage *cp = tcg_code_page(b, offset);
        if (whole_pages) {
            from = 0;
            to = TCG_PAGE_SIZE;
        }
        if (cp &&
            (__atomic_load_n(&cp->granules, __ATOMIC_SEQ_CST) & granule_mask(from, to - from))) {
            pthread_mutex_lock(&t->lock);
            invalidate_page(t, cp, from, to, self);
            pthread_mutex_unlock(&t->lock);
        } else if (cp && !__atomic_load_n(&cp->granules, __ATOMIC_SEQ_CST)) {
            /* Watched for a translation that was given up. */
            pthread_mutex_lock(&t->lock);
            if (!cp->granules) {
                ram_set_dirty(b, DIRTY_CODE, cp->offset, TCG_PAGE_SIZE);
            }
            pthread_mutex_unlock(&t->lock);
        }
        offset = (offset & TCG_PAGE_MASK) + TCG_PAGE_SIZE;
    }
}

/* ---- throwing everything away ---- */

static bool others_outside(const Tcg *t, const TcgCpu *self)
{
    for (unsigned i = 0; i < t->cpus->len; i++) {
        const TcgCpu *c = g_ptr_array_index(t->cpus, i);
        if (c != self && (c->running || c->in_exclusive)) {
            return false;
        }
    }
    return true;
}

static void drop_all(Tcg *t)
{
    pthread_mutex_lock(&t->lock);
    memset(t->hash, 0, sizeof(Block *) << t->hash_bits);
    for (unsigned i = 0; i < t->code_maps->len; i++) {
        RamBlock *b = g_ptr_array_index(t->code_maps, i);
        CodeMap *m = b->engine;
        for (uint64_t p = 0; p < m->n; p++) {
            CodePage *cp = m->pages[p];
            if (cp) {
                cp->blocks = NULL;
                cp->granules = cp->present = 0;
                cp->seq++;
                ram_set_dirty(b, DIRTY_CODE, cp->offset, TCG_PAGE_SIZE);
            }
        }
    }
    for (unsigned i = 0; i < t->cpus->len; i++) {
        TcgCpu *c = g_ptr_array_index(t->cpus, i);
        tcg_forget_jumps(c);
        tcg_forget_returns(c);
    }
    /* What a burst of new code has taken is given back. */
    madvise(t->arena, t->arena_size, MADV_DONTNEED);
    t->arena_used = 0;
    if (t->jit) {
        jit_reset(t->jit);
    }
    t->n_flushes++;
    pthread_mutex_unlock(&t->lock);
}

void tcg_drop_blocks(Tcg *t)
{
    pthread_mutex_lock(&t->excl_lock);
    drop_all(t);
    pthread_mutex_unlock(&t->excl_lock);
}

/* The arena is full.  The caller is between two blocks. */
static void flush_all(TcgCpu *self)
{
    Tcg *t = self->tcg;
    uint64_t seq = t->n_flushes;
    pthread_mutex_lock(&t->excl_lock);
    self->running = false;
    pthread_cond_broadcast(&t->excl_cond);
    while (t->flush_owner || t->excl_owner) {
        pthread_cond_wait(&t->excl_cond, &t->excl_lock);
    }
    if (t->n_flushes == seq) { /* else somebody else has just done it */
        t->flush_owner = self;
        for (unsigned i = 0; i < t->cpus->len; i++) {
            TcgCpu *c = g_ptr_array_index(t->cpus, i);
            if (c != self) {
                cpu_interrupt(c->cpu, IRQ_POLL);
            }
        }
        while (t->excl_owner || !others_outside(t, self)) {
            pthread_cond_wait(&t->excl_cond, &t->excl_lock);
        }
        drop_all(t);
        t->flush_owner = NULL;
    }
    self->running = true;
    pthread_cond_broadcast(&t->excl_cond);
    pthread_mutex_unlock(&t->excl_lock);
}

/* ---- finding and making blocks ---- */

uint64_t tcg_block_flags(const CPUX86 *cpu)
{
    uint64_t f = cpu->hflags | tcg_cpu(cpu)->debug_flags;
    if (!(f & HF_CS64) && cpu->segs[SEG_CS].limit != UINT32_MAX) {
        f |= BLOCK_CS_LIMIT;
    }
    if ((cpu->mxcsr & MXCSR_MASKS) != MXCSR_MASKS) {
        f |= BLOCK_SOFT_FP;
    }
    if ((cpu->x87.cw & 0x3f) != 0x3f || cpu->x87.pending) {
        f |= BLOCK_SOFT_X87;
    }
    return f;
}

static uint64_t block_cs_base(const CPUX86 *cpu)
{
    return cpu->hflags & HF_CS64 ? 0 : cpu->segs[SEG_CS].base;
}

static void check_fetch(CPUX86 *cpu)
{
    bool bad = cpu->hflags & HF_CS64 ? !x86_is_canonical(cpu, cpu->rip)
                                     : cpu->rip > cpu->segs[SEG_CS].limit;
    if (bad) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
}

/*
 * Shall code at the CPU's rip be position-independent, so that all processes that map it share
 * its blocks?  Not near the ends of canonical addresses, where a direct jump may fault, nor
 * with breakpoints, which are at linear addresses.
 */
static bool wants_pic(const CPUX86 *cpu)
{
    const uint64_t reach = 3ull << 30;
    int64_t lowest = (int64_t)(cpu->rip - reach) >> 47, highest = (int64_t)(cpu->rip + reach) >> 47;
    return (cpu->hflags & HF_CS64) && lowest == highest && (lowest == 0 || lowest == -1) &&
           !tcg_cpu(cpu)->tcg->n_exec;
}

static uint64_t relative_rip(const CPUX86 *cpu, bool pic)
{
    return pic ? cpu->rip & (TCG_PAGE_SIZE - 1) : cpu->rip;
}

static Block *hash_find(CPUX86 *cpu, const uint8_t *code, uint64_t flags)
{
    Tcg *t = tcg_cpu(cpu)->tcg;
    bool pic = wants_pic(cpu);
    uint64_t rip = relative_rip(cpu, pic);
    Block *b = __atomic_load_n(&t->hash[hash_of(t, code, rip, flags)], __ATOMIC_ACQUIRE);
    for (; b; b = __atomic_load_n(&b->hash_next, __ATOMIC_ACQUIRE)) {
        if (b->code[0] != code || b->rip != rip || b->flags != flags || b->pic != pic ||
            b->cs_base != block_cs_base(cpu)) {
            continue;
        }
        if (b->code[1]) {
            RamBlock *ram;
            uint64_t off;
            uint64_t next = ((cpu->rip + b->cs_base) & TCG_PAGE_MASK) + TCG_PAGE_SIZE;
            if (tcg_code_ptr(cpu, next, &ram, &off) != b->code[1]) {
                continue;
            }
        }
        return b;
    }
    return NULL;
}

static Block *allocate(Tcg *t, unsigned n_ops, unsigned n_insns)
{
    size_t size = sizeof(Block) + n_ops * sizeof(IrOp) + n_insns * sizeof(uint16_t);
    size = ALIGN_UP(size, (size_t)64);
    if (t->arena_size - t->arena_used < size) {
        return NULL;
    }
    Block *b = (Block *)(t->arena + t->arena_used);
    t->arena_used += size;
    memset(b, 0, sizeof(*b));
    return b;
}

static void fill_block(CPUX86 *cpu, Block *b, const CodeReader *r, uint64_t flags, const IrOp *ops,
                       const TranslateResult *res)
{
    b->pic = !r->uncached && wants_pic(cpu);
    b->rip = relative_rip(cpu, b->pic);
    b->linear = r->linear;
    b->cs_base = block_cs_base(cpu);
    b->page_off = (uint16_t)(r->linear & (TCG_PAGE_SIZE - 1));
    b->flags = flags;
    b->n_ops = res->n_ops;
    b->n_insns = (uint16_t)res->n_insns;
    b->size = (uint16_t)res->size;
    b->mmu_mode = (uint8_t)mmu_mode(cpu);
    b->temporary = r->uncached;
    if (!r->uncached) {
        b->code[0] = r->page[0] + (r->linear & (TCG_PAGE_SIZE - 1));
        b->code[1] = r->page[1];
        b->link_ok = !r->page[1] && !(flags & (HF_INHIBIT | BLOCK_STEP));
    }
    if (tcg_cpu(cpu)->tcg->jit) {
        b->host_code = jit_no_code(tcg_cpu(cpu)->tcg->jit);
        b->jit_never = r->uncached || (flags & (HF_INHIBIT | BLOCK_STEP));
    }
    memcpy(b->ops, ops, res->n_ops * sizeof(IrOp));
    memcpy((uint16_t *)block_starts(b), res->starts, res->n_insns * sizeof(uint16_t));
    tcg_interp_select(b->ops, b->n_ops);
}

/* Enters a finished translation; NULL: the code changed meanwhile, or no room. */
static Block *insert(CPUX86 *cpu, const CodeReader *r, uint64_t flags, const IrOp *ops,
                     const TranslateResult *res, bool *full)
{
    Tcg *t = tcg_cpu(cpu)->tcg;
    Block *b = NULL;
    *full = false;
    pthread_mutex_lock(&t->lock);
    bool same = r->code_page[0]->seq == r->seq[0] &&
                (!r->code_page[1] || r->code_page[1]->seq == r->seq[1]);
    if (same) {
        b = allocate(t, res->n_ops, res->n_insns);
        *full = !b;
    }
    if (b) {
        fill_block(cpu, b, r, flags, ops, res);
        tsan_release(t); /* translated code goes on in it unseen */
        Block **head = &t->hash[hash_of(t, b->code[0], b->rip, flags)];
        b->hash_next = *head;
        for (unsigned n = 0; n < 2; n++) {
            if (r->code_page[n]) {
                page_add(r->code_page[n], b, n);
            }
        }
        __atomic_store_n(head, b, __ATOMIC_RELEASE);
        t->n_blocks++;
        t->n_insns += res->n_insns;
        t->n_ops += res->n_ops;
    }
    settle_pages(tcg_cpu(cpu), b);
    pthread_mutex_unlock(&t->lock);
    return b;
}

static void log_code(CPUX86 *cpu, const CodeReader *r, const TranslateResult *res, uint64_t flags)
{
    uint8_t code[TCG_PAGE_SIZE];
    unsigned n = MIN(res->size, (unsigned)sizeof(code));
    CodeReader copy = *r;
    for (unsigned i = 0; i < n; i++) {
        if (!tcg_read_code(&copy, r->linear + i, true, &code[i])) {
            n = i;
        }
    }
    FILE *out = log_begin();
    fprintf(out, "----------------\nIN: cs_base=%08" PRIx64 " flags=%08x\n", cpu->segs[SEG_CS].base,
            (unsigned)flags);
    tcg_disassemble(out, code, n, cpu->rip, flags & HF_CS64 ? 64 : flags & HF_CS32 ? 32 : 16);
    log_end(out);
}

static void log_ops(const char *what, const IrOp *ops, unsigned n, uint64_t rip)
{
    FILE *out = log_begin();
    fprintf(out, "%s:\n", what);
    ir_dump(out, ops, n, rip);
    fputc('\n', out);
    log_end(out);
}

static Block *make_uncached(CPUX86 *cpu, const CodeReader *r, uint64_t flags, const IrOp *ops,
                            const TranslateResult *res)
{
    TcgCpu *tc = tcg_cpu(cpu);
    if (!tc->uncached) {
        tc->uncached = g_malloc0(sizeof(Block) + BLOCK_MAX_OPS * sizeof(IrOp) +
                                 BLOCK_MAX_INSNS * sizeof(uint16_t));
    }
    memset(tc->uncached, 0, sizeof(Block));
    fill_block(cpu, tc->uncached, r, flags, ops, res);
    return tc->uncached;
}

static Block *translate(CPUX86 *cpu, uint64_t linear, uint64_t flags)
{
    TcgCpu *tc = tcg_cpu(cpu);
    for (;;) {
        CodeReader r = {.cpu = cpu, .linear = linear};
        TranslateResult res;
        bool one = tc->tcg->one_insn || (flags & (HF_INHIBIT | BLOCK_STEP));
        uint8_t byte;
        tcg_read_code(&r, linear, true, &byte);
        one |= r.uncached;
        uint64_t rip = relative_rip(cpu, !r.uncached && wants_pic(cpu));
        x86_translate(cpu, &r, flags, rip, one ? 1 : BLOCK_MAX_INSNS, tc->scratch, &res);
        bool log = (log_mask & (LOG_IN_ASM | LOG_OP | LOG_OP_OPT)) && log_wants_address(linear);
        if (log && log_enabled(LOG_IN_ASM)) {
            log_code(cpu, &r, &res, flags);
        }
        if (log && log_enabled(LOG_OP)) {
            log_ops("OP", tc->scratch, res.n_ops, cpu->rip);
        }
        res.n_ops = ir_optimize(tc->scratch, res.n_ops);
        if (log && log_enabled(LOG_OP_OPT)) {
            log_ops("OP after optimization and liveness analysis", tc->scratch, res.n_ops,
                    cpu->rip);
        }
        /* Two linear pages on one page of RAM: a block cannot be in its list twice. */
        if (r.uncached || r.code_page[0] == r.code_page[1]) {
            bool again = !r.uncached && wants_pic(cpu);
            r.uncached = true;
            if (again) {
                x86_translate(cpu, &r, flags, cpu->rip, 1, tc->scratch, &res);
            }
            tcg_cancel_translation(tc);
            return make_uncached(cpu, &r, flags, tc->scratch, &res);
        }
        bool full;
        Block *b = insert(cpu, &r, flags, tc->scratch, &res, &full);
        if (b) {
            return b;
        }
        if (full) {
            flush_all(tc);
        }
    }
}

bool tcg_heat_block(CPUX86 *cpu, Block *b)
{
    TcgCpu *tc = tcg_cpu(cpu);
    Tcg *t = tc->tcg;
    if (__atomic_load_n(&b->host_code, __ATOMIC_ACQUIRE) != jit_no_code(t->jit)) {
        return true;
    }
    if (b->jit_never || __atomic_load_n(&b->heat, __ATOMIC_RELAXED) < t->heat_limit) {
        return false;
    }
    pthread_mutex_lock(&t->lock);
    bool room = true, made = false;
    if (!b->invalid && !b->host_size && !b->jit_never) {
        room = jit_compile(t->jit, b);
        made = b->host_size != 0;
    }
    if (made) {
        perfmap_add(t->perfmap, b->host_start, b->host_size, b->linear, NULL);
        for (uintptr_t p = b->incoming; p;) {
            Block *from = (Block *)(p & ~(uintptr_t)1);
            jit_link(t->jit, from, p & 1, b);
            p = from->link_next[p & 1];
        }
    }
    made = b->host_size != 0 && !b->invalid;
    pthread_mutex_unlock(&t->lock);
    if (!room) {
        flush_all(tc);
    }
    return made;
}

/* Will the kernel's block be found there in every address space? Counts what kernels do. */
static bool is_global(TcgCpu *tc, const Block *b, uint64_t flags, uint64_t linear)
{
    if ((flags & HF_CPL_MASK) || !tc->global_bits) {
        return false;
    }
    bool global = tcg_code_global(tc, linear) &&
                  (!b->code[1] || tcg_code_global(tc, (linear & TCG_PAGE_MASK) + TCG_PAGE_SIZE));
    if (global && tc->kernel_global < KERNEL_GLOBAL_MAX) {
        tc->kernel_global++;
    } else if (!global && tc->kernel_global) {
        tc->kernel_global--;
    }
    return global;
}

Block *tcg_find_block(CPUX86 *cpu)
{
    TcgCpu *tc = tcg_cpu(cpu);
    uint64_t flags = tcg_block_flags(cpu);
    tc->n_lookups++;
    tc->current = NULL;
    check_fetch(cpu);
    uint64_t linear = block_cs_base(cpu) + cpu->rip;
    if (!(flags & HF_CS64)) {
        linear = (uint32_t)linear;
    }
    if (tcg_break_at(tc->tcg, linear)) {
        flags |= BLOCK_BREAK;
    }
    if (tc->no_stack) {
        flags |= BLOCK_NO_STACK;
        tc->no_stack = false;
    }
    RamBlock *ram;
    uint64_t off;
    const uint8_t *code = tcg_code_ptr(cpu, linear, &ram, &off);
    Block *b = code ? hash_find(cpu, code, flags) : NULL;
    if (!b) {
        b = translate(cpu, linear, flags);
    }
    uint64_t base = tcg_pc_base(b, linear);
    *ir_reg(cpu, IR_PC) = base;
    if (!b->temporary && !(flags & BLOCK_STEP)) {
        unsigned bit = tcg_jump_page(linear);
        tc->jump_pages[bit / 64] |= 1ull << (bit % 64);
        uint64_t rip = cpu->rip ^ (flags & BLOCK_NO_STACK ? JUMP_NO_STACK : 0);
        unsigned n = tcg_jump_index(rip);
        uint64_t key = tcg_jump_key_of(tc, flags, is_global(tc, b, flags, linear));
        const JumpEntry *old = &tc->jump[n];
        if (old->rip != rip || ((uint32_t)(old->key ^ key))) {
            tc->jump2[tcg_jump2_index(old->rip)] = *old;
        }
        tc->jump[n] = (JumpEntry){
            .rip = rip, .key = key, .block = b, .base = flags & HF_CS64 ? base : b->cs_base};
    }
    return b;
}

/*
 * An entry of 64-bit code from before a change of the address space (most are: programs come
 * back to the processor) is still right if its page is mapped as it was. May raise.
 */
static bool renew_entry(CPUX86 *cpu, JumpEntry *e, uint64_t flags)
{
    TcgCpu *tc = tcg_cpu(cpu);
    const Block *b = e->block;
    if (!(flags & HF_CS64) || b->code[1] || b->flags != flags || tc->tcg->n_exec ||
        __atomic_load_n(&b->invalid, __ATOMIC_RELAXED)) {
        return false;
    }
    RamBlock *ram;
    uint64_t off;
    tc->current = NULL;
    if (tcg_code_ptr(cpu, cpu->rip, &ram, &off) != b->code[0]) {
        return false;
    }
    e->key = tcg_jump_key_of(tc, flags, is_global(tc, b, flags, cpu->rip));
    return true;
}

Block *tcg_next_block(CPUX86 *cpu)
{
    TcgCpu *tc = tcg_cpu(cpu);
    uint64_t rip = cpu->rip, flags = tcg_block_flags(cpu);
    if (tc->no_stack) {
        rip ^= JUMP_NO_STACK;
        flags |= BLOCK_NO_STACK;
    }
    uint64_t key = tcg_jump_key(tc, flags);
    JumpEntry *e = &tc->jump[tcg_jump_index(rip)];
    const JumpEntry *second = &tc->jump2[tcg_jump2_index(rip)];
    if ((e->rip != rip || ((e->key ^ key) & ~JUMP_GENERATION)) && second->rip == rip) {
        JumpEntry back = *second;
        tc->jump2[tcg_jump2_index(e->rip)] = *e;
        *e = back;
    }
    if (e->rip != rip || ((e->key ^ key) & ~JUMP_GENERATION) ||
        (e->key != key && !renew_entry(cpu, e, flags)) || e->block->cs_base != block_cs_base(cpu) ||
        __atomic_load_n(&e->block->invalid, __ATOMIC_RELAXED)) {
        return tcg_find_block(cpu);
    }
    tc->no_stack = false;
    tc->current = NULL;
    *ir_reg(cpu, IR_PC) = tcg_pc_base(e->block, cpu->rip);
    return e->block;
}
