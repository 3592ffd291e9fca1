/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dirty bitmaps of RAM blocks: one bit a page and client, all atomic.
 */
#include "memory/internal.h"

typedef struct PageSpan {
    uint64_t first, last;
} PageSpan;

/* The pages of [offset, offset + len), clamped to the block; false if there are none. */
static bool page_span(const RamBlock *b, uint64_t offset, uint64_t len, PageSpan *s)
{
    uint64_t last;

    if (!len || offset >= b->size) {
        return false;
    }
    last = len - 1 < b->size - 1 - offset ? offset + len - 1 : b->size - 1;
    s->first = offset >> RAM_DIRTY_PAGE_BITS;
    s->last = last >> RAM_DIRTY_PAGE_BITS;
    return true;
}

/* The bits of word `w` that belong to the span. */
static uint64_t word_mask(const PageSpan *s, uint64_t w)
{
    uint64_t mask = UINT64_MAX;

    if (w == s->first / 64) {
        mask &= UINT64_MAX << (s->first % 64);
    }
    if (w == s->last / 64) {
        mask &= UINT64_MAX >> (63 - s->last % 64);
    }
    return mask;
}

/* Sets the bits; were any of them clean? */
static bool set_bits(uint64_t *map, const PageSpan *s)
{
    bool any = false;

    for (uint64_t w = s->first / 64; w <= s->last / 64; w++) {
        uint64_t mask = word_mask(s, w);

        if ((__atomic_load_n(&map[w], __ATOMIC_RELAXED) & mask) != mask) {
            any |= (__atomic_fetch_or(&map[w], mask, __ATOMIC_SEQ_CST) & mask) != mask;
        }
    }
    return any;
}

static bool test_bits(const uint64_t *map, const PageSpan *s)
{
    for (uint64_t w = s->first / 64; w <= s->last / 64; w++) {
        if (__atomic_load_n(&map[w], __ATOMIC_RELAXED) & word_mask(s, w)) {
            return true;
        }
    }
    return false;
}

/* Clears the bits; was any of them set? */
static bool clear_bits(uint64_t *map, const PageSpan *s)
{
    bool any = false;

    for (uint64_t w = s->first / 64; w <= s->last / 64; w++) {
        uint64_t mask = word_mask(s, w);

        if (__atomic_load_n(&map[w], __ATOMIC_RELAXED) & mask) {
            any |= (__atomic_fetch_and(&map[w], ~mask, __ATOMIC_SEQ_CST) & mask) != 0;
        }
    }
    return any;
}

typedef void SpanFn(MemoryListener *l, RamBlock *b, uint64_t offset, uint64_t len);

static void tell_span(RamBlock *b, size_t fn, uint64_t offset, uint64_t len)
{
    PtrList *list;

    if (!b->sys) {
        return;
    }
    rcu_read_lock();
    list = rcu_dereference(b->sys->listeners);
    for (unsigned i = 0; i < list->n; i++) {
        SpanFn *call = *(SpanFn **)((char *)list->v[i] + fn);

        if (call) {
            call(list->v[i], b, offset, len);
        }
    }
    rcu_read_unlock();
}

void ram_mark_dirty(RamBlock *b, uint64_t offset, uint64_t len)
{
    PageSpan s;

    if (!page_span(b, offset, len, &s)) {
        return;
    }
    for (int c = 0; c < DIRTY_CLIENTS; c++) {
        if (c != DIRTY_CODE) {
            set_bits(b->dirty[c], &s);
        }
    }
    if (set_bits(b->dirty[DIRTY_CODE], &s)) {
        tell_span(b, offsetof(MemoryListener, code_written), offset, len);
    }
}

void ram_set_dirty(RamBlock *b, DirtyClient c, uint64_t offset, uint64_t len)
{
    PageSpan s;

    if (page_span(b, offset, len, &s)) {
        set_bits(b->dirty[c], &s);
    }
}

bool ram_test_dirty(RamBlock *b, DirtyClient c, uint64_t offset, uint64_t len)
{
    PageSpan s;

    return page_span(b, offset, len, &s) && test_bits(b->dirty[c], &s);
}

bool ram_test_clear_dirty(RamBlock *b, DirtyClient c, uint64_t offset, uint64_t len)
{
    PageSpan s;
    bool any;

    if (!page_span(b, offset, len, &s)) {
        return false;
    }
    any = clear_bits(b->dirty[c], &s);
    if (any) {
        tell_span(b, offsetof(MemoryListener, clean), offset, len);
    }
    return any;
}

static void sync_all(MemorySystem *sys, RamBlock *b)
{
    PtrList *list;

    rcu_read_lock();
    list = rcu_dereference(sys->listeners);
    for (unsigned i = 0; i < list->n; i++) {
        MemoryListener *l = list->v[i];

        if (l->log_sync) {
            l->log_sync(l, b);
        }
    }
    rcu_read_unlock();
}

void ram_sync_dirty(RamBlock *b)
{
    if (b->sys) {
        sync_all(b->sys, b);
    }
}

void memory_settle(MemorySystem *sys)
{
    sync_all(sys, NULL);
}
