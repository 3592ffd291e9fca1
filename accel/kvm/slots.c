/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory: the flat view's RAM and ROM as the kernel's memory slots, and
 * which of their pages the guest has written.
 *
 * A transaction first collects what the new view needs and then tells the kernel
 * the difference, so that a view that is rebuilt costs nothing.
 */
#include "accel/kvm/kvm.h"
#include "util/log.h"
#include "util/trace.h"

#include <errno.h>
#include <string.h>

TRACE_EVENT(kvm_slot, "space %u id %u gpa 0x%llx size 0x%llx flags %u: %d")

#define PAGE 4096ull

/* ---- telling the kernel ---- */

static int set_slot(const KvmSpace *sp, const KvmSlot *s, bool remove)
{
    struct kvm_userspace_memory_region r = {
        .slot = s->id | sp->id << 16,
        .flags = remove ? 0 : s->flags,
        .guest_phys_addr = s->gpa,
        .memory_size = remove ? 0 : s->size,
        .userspace_addr = s->hva,
    };
    int ret = kvm_ioctl(sp->kvm->vm, KVM_SET_USER_MEMORY_REGION, &r);

    trace(kvm_slot, sp->id, s->id, (unsigned long long)s->gpa, (unsigned long long)r.memory_size,
          r.flags, ret);
    return ret;
}

static bool take_id(Kvm *k, unsigned *id)
{
    bool ok = false;

    pthread_mutex_lock(&k->lock);
    for (unsigned i = 0; i < k->max_slots && !ok; i++) {
        if (!(k->slot_ids[i / 64] >> (i % 64) & 1)) {
            k->slot_ids[i / 64] |= 1ull << (i % 64);
            *id = i;
            ok = true;
        }
    }
    pthread_mutex_unlock(&k->lock);
    return ok;
}

static void drop_id(Kvm *k, unsigned id)
{
    pthread_mutex_lock(&k->lock);
    k->slot_ids[id / 64] &= ~(1ull << (id % 64));
    pthread_mutex_unlock(&k->lock);
}

static void remove_slot(KvmSpace *sp, KvmSlot *s)
{
    set_slot(sp, s, true);
    drop_id(sp->kvm, s->id);
    ram_block_unref(s->ram);
}

/* The guest cannot go on without its memory, and nobody above could be told. */
static void add_slot(KvmSpace *sp, KvmSlot *s)
{
    int ret;

    if (!take_id(sp->kvm, &s->id)) {
        report_error("kvm: the guest's memory has more than %u pieces", sp->kvm->max_slots);
        abort();
    }
    ret = set_slot(sp, s, false);
    if (ret < 0) {
        report_error("kvm: the kernel refuses memory at 0x%llx, 0x%llx bytes: %s",
                     (unsigned long long)s->gpa, (unsigned long long)s->size, g_strerror(-ret));
        abort();
    }
    ram_block_ref(s->ram);
}

static bool same_memory(const KvmSlot *a, const KvmSlot *b)
{
    return a->gpa == b->gpa && a->size == b->size && a->hva == b->hva &&
           !((a->flags ^ b->flags) & KVM_MEM_READONLY);
}

static bool overlap(const KvmSlot *a, const KvmSlot *b)
{
    return a->gpa < b->gpa + b->size && b->gpa < a->gpa + a->size;
}

static KvmSlot *find_same(GArray *in, const KvmSlot *s)
{
    for (guint i = 0; i < in->len; i++) {
        KvmSlot *o = &g_array_index(in, KvmSlot, i);

        if (same_memory(o, s)) {
            return o;
        }
    }
    return NULL;
}

/* Does anything that goes away share addresses with what comes? */
static bool replaces(const KvmSpace *sp)
{
    for (guint i = 0; i < sp->slots->len; i++) {
        const KvmSlot *o = &g_array_index(sp->slots, KvmSlot, i);

        if (find_same(sp->wanted, o)) {
            continue;
        }
        for (guint j = 0; j < sp->wanted->len; j++) {
            if (overlap(o, &g_array_index(sp->wanted, KvmSlot, j))) {
                return true;
            }
        }
    }
    return false;
}

static void drop_old(KvmSpace *sp)
{
    for (guint i = sp->slots->len; i-- > 0;) {
        KvmSlot *o = &g_array_index(sp->slots, KvmSlot, i);

        if (!find_same(sp->wanted, o)) {
            remove_slot(sp, o);
            g_array_remove_index_fast(sp->slots, i);
        }
    }
}

static void add_new(KvmSpace *sp)
{
    for (guint i = 0; i < sp->wanted->len; i++) {
        KvmSlot s = g_array_index(sp->wanted, KvmSlot, i);
        KvmSlot *o = find_same(sp->slots, &s);

        if (!o) {
            add_slot(sp, &s);
            g_array_append_val(sp->slots, s);
        } else if (o->flags != s.flags) {
            o->flags = s.flags;
            set_slot(sp, o, false);
        }
    }
}

/* ---- the listener ---- */

static KvmSpace *space_of(MemoryListener *l)
{
    return container_of(l, KvmSpace, listener);
}

/* The pages that lie wholly in the section; false: it is no memory. */
static bool slot_of(const KvmSpace *sp, const MemSection *sec, KvmSlot *s)
{
    const Region *r = sec->region;
    bool rom = r->kind == REGION_ROM || r->kind == REGION_ROMD || sec->readonly;
    uint64_t start = ALIGN_UP(sec->addr, PAGE), end = ALIGN_DOWN(sec->last + 1, PAGE);

    if (!r->ram || (r->kind == REGION_ROMD && !r->romd) || sec->addr > UINT64_MAX - PAGE ||
        start >= end) {
        return false;
    }
    if (rom && !sp->kvm->readonly_mem) {
        return false;
    }
    *s = (KvmSlot){.gpa = start,
                   .size = end - start,
                   .ram = r->ram,
                   .ram_offset = sec->offset + (start - sec->addr)};
    s->hva = (uint64_t)(uintptr_t)(r->ram->host + s->ram_offset);
    s->flags = rom ? KVM_MEM_READONLY : 0;
    if (sec->dirty_log_mask && !rom) {
        s->flags |= KVM_MEM_LOG_DIRTY_PAGES;
    }
    return true;
}

static void on_begin(MemoryListener *l)
{
    KvmSpace *sp = space_of(l);

    g_array_set_size(sp->wanted, 0);
    if (sp->slots->len) {
        g_array_append_vals(sp->wanted, sp->slots->data, sp->slots->len);
    }
}

/* ---- writes that may be put off ---- */

static void coalesce(Kvm *k, const MemSection *sec, bool pio, bool on)
{
    struct kvm_coalesced_mmio_zone z = {
        .addr = sec->addr, .size = (uint32_t)(sec->last - sec->addr + 1), .pio = pio};

    if (sec->region->coalesced && sec->region->kind == REGION_IO && k->coalesced_page &&
        (!pio || k->coalesced_pio)) {
        kvm_ioctl(k->vm, on ? KVM_REGISTER_COALESCED_MMIO : KVM_UNREGISTER_COALESCED_MMIO, &z);
    }
}

static void on_io_add(MemoryListener *l, const MemSection *sec)
{
    coalesce(container_of(l, Kvm, io_listener), sec, true, true);
}

static void on_io_del(MemoryListener *l, const MemSection *sec)
{
    coalesce(container_of(l, Kvm, io_listener), sec, true, false);
}

static void on_add(MemoryListener *l, const MemSection *sec)
{
    KvmSlot s;

    if (space_of(l)->id == 0) {
        coalesce(space_of(l)->kvm, sec, false, true);
    }
    if (slot_of(space_of(l), sec, &s)) {
        g_array_append_val(space_of(l)->wanted, s);
    }
}

static void on_del(MemoryListener *l, const MemSection *sec)
{
    GArray *w = space_of(l)->wanted;
    hwaddr start = ALIGN_UP(sec->addr, PAGE);

    if (space_of(l)->id == 0) {
        coalesce(space_of(l)->kvm, sec, false, false);
    }
    for (guint i = 0; i < w->len; i++) {
        if (g_array_index(w, KvmSlot, i).gpa == start) {
            g_array_remove_index_fast(w, i);
            return;
        }
    }
}

static void set_log(MemoryListener *l, const MemSection *sec, bool on)
{
    GArray *w = space_of(l)->wanted;
    hwaddr start = ALIGN_UP(sec->addr, PAGE);

    for (guint i = 0; i < w->len; i++) {
        KvmSlot *s = &g_array_index(w, KvmSlot, i);

        if (s->gpa == start && !(s->flags & KVM_MEM_READONLY)) {
            s->flags = on ? s->flags | KVM_MEM_LOG_DIRTY_PAGES
                          : s->flags & ~(uint32_t)KVM_MEM_LOG_DIRTY_PAGES;
        }
    }
}

static void on_log_start(MemoryListener *l, const MemSection *sec)
{
    set_log(l, sec, true);
}

static void sync_slot(KvmSpace *sp, KvmSlot *s);

static void on_log_stop(MemoryListener *l, const MemSection *sec)
{
    KvmSpace *sp = space_of(l);

    for (guint i = 0; i < sp->slots->len; i++) {
        if (g_array_index(sp->slots, KvmSlot, i).gpa == ALIGN_UP(sec->addr, PAGE)) {
            sync_slot(sp, &g_array_index(sp->slots, KvmSlot, i));
        }
    }
    set_log(l, sec, false);
}

/*
 * Memory that moves is away for a moment: meanwhile no vCPU may be in the guest, because an
 * instruction fetched from there would fail.
 */
static void on_commit(MemoryListener *l)
{
    KvmSpace *sp = space_of(l);
    bool swap = replaces(sp);

    if (swap) {
        kvm_inhibit_begin(sp->kvm);
    }
    pthread_mutex_lock(&sp->kvm->dirty_lock);
    drop_old(sp);
    add_new(sp);
    pthread_mutex_unlock(&sp->kvm->dirty_lock);
    if (swap) {
        kvm_inhibit_end(sp->kvm);
    }
}

/* ---- written pages ---- */

static void mark(KvmSlot *s, const uint64_t *bits)
{
    uint64_t pages = s->size / PAGE;

    for (uint64_t w = 0; w < DIV_ROUND_UP(pages, 64); w++) {
        uint64_t v = bits[w];

        while (v) {
            uint64_t page = w * 64 + (uint64_t)__builtin_ctzll(v);

            v &= v - 1;
            if (page < pages) {
                ram_mark_dirty(s->ram, s->ram_offset + page * PAGE, PAGE);
            }
        }
    }
}

static void sync_slot(KvmSpace *sp, KvmSlot *s)
{
    size_t bytes = ALIGN_UP(s->size / PAGE, 64ull) / 8;
    g_autofree uint64_t *bits = NULL;
    struct kvm_dirty_log log = {.slot = s->id | sp->id << 16};

    if (!(s->flags & KVM_MEM_LOG_DIRTY_PAGES) || sp->kvm->dirty_ring) {
        return;
    }
    bits = g_malloc0(bytes);
    log.dirty_bitmap = bits;
    if (kvm_ioctl(sp->kvm->vm, KVM_GET_DIRTY_LOG, &log) >= 0) {
        mark(s, bits);
    }
}

static void on_log_sync(MemoryListener *l, RamBlock *b)
{
    KvmSpace *sp = space_of(l);

    if (sp->kvm->cpus->len) {
        kvm_flush_coalesced(sp->kvm->cpus->pdata[0]);
    }
    if (sp->kvm->dirty_ring) {
        kvm_dirty_ring_reap(sp->kvm);
        return;
    }
    pthread_mutex_lock(&sp->kvm->dirty_lock);
    for (guint i = 0; i < sp->slots->len; i++) {
        KvmSlot *s = &g_array_index(sp->slots, KvmSlot, i);

        if (s->ram == b) {
            sync_slot(sp, s);
        }
    }
    pthread_mutex_unlock(&sp->kvm->dirty_lock);
}

static void ring_page(Kvm *k, const struct kvm_dirty_gfn *g)
{
    KvmSpace *sp = &k->spaces[g->slot >> 16 & 1];

    for (guint i = 0; i < sp->slots->len; i++) {
        KvmSlot *s = &g_array_index(sp->slots, KvmSlot, i);

        if (s->id == (g->slot & 0xffff) && g->offset < s->size / PAGE) {
            ram_mark_dirty(s->ram, s->ram_offset + g->offset * PAGE, PAGE);
            return;
        }
    }
}

void kvm_dirty_ring_reap(Kvm *k)
{
    bool any = false;

    pthread_mutex_lock(&k->dirty_lock);
    for (guint c = 0; c < k->cpus->len; c++) {
        KvmCpu *kc = k->cpus->pdata[c];

        for (;;) {
            struct kvm_dirty_gfn *g = &kc->ring[kc->ring_next % k->dirty_ring];

            if (!(__atomic_load_n(&g->flags, __ATOMIC_ACQUIRE) & KVM_DIRTY_GFN_F_DIRTY)) {
                break;
            }
            ring_page(k, g);
            __atomic_store_n(&g->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
            kc->ring_next++;
            any = true;
        }
    }
    if (any) {
        kvm_ioctl(k->vm, KVM_RESET_DIRTY_RINGS, NULL);
    }
    pthread_mutex_unlock(&k->dirty_lock);
}

/* ---- writes that were put off ---- */

void kvm_flush_coalesced(KvmCpu *kc)
{
    Kvm *k = kc->kvm;
    struct kvm_coalesced_mmio_ring *ring;
    const uint32_t max =
        (PAGE - sizeof(struct kvm_coalesced_mmio_ring)) / sizeof(struct kvm_coalesced_mmio);

    if (!k->coalesced_page) {
        return;
    }
    ring = (void *)((char *)kc->run + k->coalesced_page * PAGE);
    if (__atomic_load_n(&ring->first, __ATOMIC_ACQUIRE) ==
        __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE)) {
        return;
    }
    /* Who holds it does the same; and may be waiting for a device's lock that we have. */
    if (pthread_mutex_trylock(&k->ring_lock)) {
        return;
    }
    while (ring->first != __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE) && ring->first < max) {
        struct kvm_coalesced_mmio e = ring->coalesced_mmio[ring->first];
        uint64_t v = 0;

        __atomic_store_n(&ring->first, (ring->first + 1) % max, __ATOMIC_RELEASE);
        if (e.len == 1 || e.len == 2 || e.len == 4 || e.len == 8) {
            memcpy(&v, e.data, e.len);
            address_space_st(e.pio ? k->accel->as_io : k->accel->as_memory, e.phys_addr,
                             MEM_ATTRS_NONE, e.len, v);
        }
    }
    pthread_mutex_unlock(&k->ring_lock);
}

/* ---- life ---- */

void kvm_memory_init(Kvm *k)
{
    pthread_mutexattr_t attr;

    pthread_mutex_init(&k->lock, NULL);
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&k->dirty_lock, &attr);
    pthread_mutex_init(&k->ring_lock, &attr);
    pthread_mutexattr_destroy(&attr);
    for (unsigned i = 0; i < ARRAY_LEN(k->spaces); i++) {
        KvmSpace *sp = &k->spaces[i];

        sp->kvm = k;
        sp->id = i;
        sp->slots = g_array_new(FALSE, FALSE, sizeof(KvmSlot));
        sp->wanted = g_array_new(FALSE, FALSE, sizeof(KvmSlot));
        sp->listener = (MemoryListener){.name = i ? "kvm-smm" : "kvm",
                                        .begin = on_begin,
                                        .add = on_add,
                                        .del = on_del,
                                        .log_start = on_log_start,
                                        .log_stop = on_log_stop,
                                        .log_sync = on_log_sync,
                                        .commit = on_commit,
                                        .priority = 10};
    }
    kvm_eventfds(&k->spaces[0].listener, false);
    k->io_listener =
        (MemoryListener){.name = "kvm-io", .add = on_io_add, .del = on_io_del, .priority = 10};
    kvm_eventfds(&k->io_listener, true);
}

void kvm_memory_start(Kvm *k)
{
    Accel *a = k->accel;
    AddressSpace *views[2] = {a->as_memory, a->as_smm};

    for (unsigned i = 0; i < 2; i++) {
        if (!k->spaces[i].listening && views[i] && (i == 0 || (k->smm && views[1] != views[0]))) {
            k->spaces[i].listener.filter = views[i];
            k->spaces[i].listening = true;
            memory_listener_add(a->mem, &k->spaces[i].listener);
        }
    }
    if (!k->io_listening && a->as_io) {
        k->io_listener.filter = a->as_io;
        k->io_listening = true;
        memory_listener_add(a->mem, &k->io_listener);
    }
}

void kvm_memory_stop(Kvm *k)
{
    for (unsigned i = 0; i < 2; i++) {
        if (k->spaces[i].listening) {
            memory_listener_del(k->accel->mem, &k->spaces[i].listener);
            k->spaces[i].listening = false;
        }
    }
    if (k->io_listening) {
        memory_listener_del(k->accel->mem, &k->io_listener);
        k->io_listening = false;
    }
}

void kvm_memory_fini(Kvm *k)
{
    for (unsigned i = 0; i < 2; i++) {
        KvmSpace *sp = &k->spaces[i];

        for (guint j = 0; j < sp->slots->len; j++) {
            remove_slot(sp, &g_array_index(sp->slots, KvmSlot, j));
        }
        g_array_unref(sp->slots);
        g_array_unref(sp->wanted);
    }
    pthread_mutex_destroy(&k->lock);
    pthread_mutex_destroy(&k->dirty_lock);
    pthread_mutex_destroy(&k->ring_lock);
}
