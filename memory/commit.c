/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Transactions: at the outermost commit every address space is rendered anew,
 * the new view is published, and listeners are told the difference.
 */
#include "memory/internal.h"

#include <assert.h>
#include <string.h>

/* ---- immutable pointer lists ---- */

static PtrList *ptr_list_new(unsigned n)
{
    PtrList *l = g_malloc0(sizeof(*l) + n * sizeof(void *));

    l->n = n;
    return l;
}

PtrList *ptr_list_with(const PtrList *old, void *p, unsigned at)
{
    PtrList *l = ptr_list_new(old->n + 1);

    memcpy(l->v, old->v, at * sizeof(void *));
    l->v[at] = p;
    memcpy(l->v + at + 1, old->v + at, (old->n - at) * sizeof(void *));
    return l;
}

PtrList *ptr_list_without(const PtrList *old, const void *p)
{
    PtrList *l = ptr_list_new(old->n);
    unsigned n = 0;

    for (unsigned i = 0; i < old->n; i++) {
        if (old->v[i] != p) {
            l->v[n++] = old->v[i];
        }
    }
    l->n = n;
    return l;
}

static void ptr_list_free(RcuHead *head)
{
    g_free(container_of(head, PtrList, rcu));
}

void ptr_list_free_later(PtrList *l)
{
    rcu_call(&l->rcu, ptr_list_free);
}

/* ---- the system ---- */

MemorySystem *memory_system_new(void)
{
    MemorySystem *sys = g_new0(MemorySystem, 1);
    pthread_mutexattr_t attr;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&sys->lock, &attr);
    pthread_mutexattr_destroy(&attr);
    pthread_mutex_init(&sys->block_lock, NULL);
    sys->spaces = g_ptr_array_new();
    sys->listeners = ptr_list_new(0);
    sys->blocks = ptr_list_new(0);
    sys->regions = g_hash_table_new(NULL, NULL);
    region_init_container(&sys->unassigned, "unassigned", MEMORY_WHOLE);
    return sys;
}

void memory_system_free(MemorySystem *sys)
{
    GHashTableIter iter;
    gpointer r;

    if (!sys) {
        return;
    }
    assert(!sys->depth && !sys->spaces->len);
    /* Old views hold references of RAM blocks until their grace period has passed. */
    rcu_barrier();
    ram_block_detach_all(sys);
    g_hash_table_iter_init(&iter, sys->regions);
    while (g_hash_table_iter_next(&iter, &r, NULL)) {
        ((Region *)r)->sys = NULL;
    }
    g_hash_table_destroy(sys->regions);
    region_fini(&sys->unassigned);
    g_ptr_array_free(sys->spaces, TRUE);
    g_free(sys->listeners);
    g_free(sys->blocks);
    pthread_mutex_destroy(&sys->block_lock);
    pthread_mutex_destroy(&sys->lock);
    g_free(sys);
}

void memory_begin(MemorySystem *sys)
{
    pthread_mutex_lock(&sys->lock);
    sys->depth++;
}

void memory_changed(MemorySystem *sys)
{
    assert(sys->depth);
    sys->changed = true;
}

/* ---- differences of two views ---- */

static MemSection section_of(AddressSpace *as, const FlatRange *fr)
{
    return (MemSection){
        .as = as,
        .region = fr->region,
        .addr = fr->start,
        .offset = fr->offset,
        .last = fr->last,
        .readonly = fr->readonly,
        .dirty_log_mask = fr->dirty_log_mask,
    };
}

static bool same_place(const FlatRange *a, const FlatRange *b)
{
    return a->start == b->start && a->last == b->last && a->offset == b->offset &&
           a->region == b->region && a->ram == b->ram && a->readonly == b->readonly &&
           a->romd == b->romd;
}

typedef void SectionFn(MemoryListener *l, const MemSection *s);

/* Calls member `fn` of the listeners of `as`. */
static void tell(MemorySystem *sys, AddressSpace *as, const FlatRange *fr, size_t fn, bool backward)
{
    PtrList *list = sys->listeners;
    MemSection s = section_of(as, fr);

    for (unsigned i = 0; i < list->n; i++) {
        MemoryListener *l = list->v[backward ? list->n - 1 - i : i];
        SectionFn *call = *(SectionFn **)((char *)l + fn);

        if (call && (!l->filter || l->filter == as)) {
            call(l, &s);
        }
    }
}

static void tell_log(MemorySystem *sys, AddressSpace *as, const FlatRange *old,
                     const FlatRange *fresh)
{
    if (!old->dirty_log_mask && fresh->dirty_log_mask) {
        tell(sys, as, fresh, offsetof(MemoryListener, log_start), false);
    } else if (old->dirty_log_mask && !fresh->dirty_log_mask) {
        tell(sys, as, fresh, offsetof(MemoryListener, log_stop), true);
    }
}

/* One walk over both views in address order. `adding` selects which half is told. */
static void tell_difference(MemorySystem *sys, AddressSpace *as, const FlatView *old,
                            const FlatView *fresh, bool adding)
{
    unsigned i = 0, j = 0;

    while (i < old->n || j < fresh->n) {
        const FlatRange *o = i < old->n ? &old->ranges[i] : NULL;
        const FlatRange *f = j < fresh->n ? &fresh->ranges[j] : NULL;

        if (o && f && same_place(o, f)) {
            if (adding) {
                tell_log(sys, as, o, f);
            }
            i++;
            j++;
        } else if (o && (!f || o->start <= f->start)) {
            if (!adding) {
                tell(sys, as, o, offsetof(MemoryListener, del), true);
            }
            i++;
        } else {
            if (adding) {
                tell(sys, as, f, offsetof(MemoryListener, add), false);
                if (f->dirty_log_mask) {
                    tell(sys, as, f, offsetof(MemoryListener, log_start), false);
                }
            }
            j++;
        }
    }
}

/* ---- eventfds ---- */

static int compare_eventfds(const void *pa, const void *pb)
{
    const EventfdEntry *a = pa, *b = pb;

#define COMPARE(f)                   \
    if (a->f != b->f) {              \
        return a->f < b->f ? -1 : 1; \
    }
    COMPARE(addr)
    COMPARE(size)
    COMPARE(match)
    if (a->match) {
        COMPARE(data)
    }
    COMPARE(fd)
#undef COMPARE
    return 0;
}

static GArray *collect_eventfds(const FlatView *v)
{
    GArray *out = NULL;

    for (unsigned i = 0; i < v->n; i++) {
        const FlatRange *fr = &v->ranges[i];
        GArray *own = fr->region->ioeventfds;

        for (guint k = 0; own && k < own->len; k++) {
            EventfdEntry e = g_array_index(own, EventfdEntry, k);

            if (e.offset < fr->offset || e.offset - fr->offset > fr->last - fr->start) {
                continue;
            }
            e.addr = fr->start + (e.offset - fr->offset);
            if (!out) {
                out = g_array_new(FALSE, FALSE, sizeof(EventfdEntry));
            }
            g_array_append_val(out, e);
        }
    }
    if (out) {
        g_array_sort(out, compare_eventfds);
    }
    return out;
}

static void tell_eventfd(MemorySystem *sys, AddressSpace *as, const EventfdEntry *e, bool add)
{
    MemSection s = {.as = as,
                    .region = e->region,
                    .addr = e->addr,
                    .offset = e->offset,
                    .last = e->addr + (e->size ? e->size - 1 : 0)};

    for (unsigned i = 0; i < sys->listeners->n; i++) {
        MemoryListener *l = sys->listeners->v[i];

        if (l->filter && l->filter != as) {
            continue;
        }
        if (add && l->eventfd_add) {
            l->eventfd_add(l, &s, e->size, e->match, e->data, e->fd);
        } else if (!add && l->eventfd_del) {
            l->eventfd_del(l, &s, e->size, e->match, e->data, e->fd);
        }
    }
}

static void update_eventfds(MemorySystem *sys, AddressSpace *as)
{
    GArray *old = as->eventfd, *fresh = collect_eventfds(as->view);
    guint i = 0, j = 0, n_old = old ? old->len : 0, n_new = fresh ? fresh->len : 0;

    while (i < n_old || j < n_new) {
        const EventfdEntry *o = i < n_old ? &g_array_index(old, EventfdEntry, i) : NULL;
        const EventfdEntry *f = j < n_new ? &g_array_index(fresh, EventfdEntry, j) : NULL;
        int order = !o ? 1 : !f ? -1 : compare_eventfds(o, f);

        if (order == 0) {
            i++;
            j++;
        } else if (order < 0) {
            tell_eventfd(sys, as, o, false);
            i++;
        } else {
            tell_eventfd(sys, as, f, true);
            j++;
        }
    }
    if (old) {
        g_array_free(old, TRUE);
    }
    as->eventfd = fresh;
}

/* ---- commit ---- */

static void view_release(FlatView *v)
{
    if (--v->refs == 0) {
        flatview_free_later(v);
    }
}

/* The view of `root`, rendered once however many address spaces show it. */
static FlatView *view_for(GHashTable *fresh, Region *root)
{
    Region *real = flatview_real_root(root);
    FlatView *v = g_hash_table_lookup(fresh, real);

    if (!v) {
        v = flatview_render(real);
        v->refs = 1; /* the table's */
        g_hash_table_insert(fresh, real, v);
    }
    v->refs++;
    return v;
}

static bool views_equal(const FlatView *a, const FlatView *b)
{
    if (a->n != b->n || a->root != b->root) {
        return false;
    }
    for (unsigned i = 0; i < a->n; i++) {
        if (!same_place(&a->ranges[i], &b->ranges[i]) ||
            a->ranges[i].dirty_log_mask != b->ranges[i].dirty_log_mask) {
            return false;
        }
    }
    return true;
}

static void switch_view(MemorySystem *sys, AddressSpace *as, FlatView *fresh)
{
    FlatView *old = as->view;

    if (views_equal(old, fresh)) {
        view_release(fresh);
    } else {
        tell_difference(sys, as, old, fresh, false);
        rcu_assign_pointer(as->view, fresh);
        tell_difference(sys, as, old, fresh, true);
        view_release(old);
    }
    update_eventfds(sys, as);
}

static void tell_all(MemorySystem *sys, bool begin)
{
    for (unsigned i = 0; i < sys->listeners->n; i++) {
        MemoryListener *l = sys->listeners->v[i];

        if (begin && l->begin) {
            l->begin(l);
        } else if (!begin && l->commit) {
            l->commit(l);
        }
    }
}

static void commit_views(MemorySystem *sys)
{
    g_autoptr(GHashTable) fresh = g_hash_table_new(NULL, NULL);
    GHashTableIter iter;
    gpointer v;

    tell_all(sys, true);
    for (guint i = 0; i < sys->spaces->len; i++) {
        AddressSpace *as = sys->spaces->pdata[i];

        switch_view(sys, as, view_for(fresh, as->root));
    }
    tell_all(sys, false);
    g_hash_table_iter_init(&iter, fresh);
    while (g_hash_table_iter_next(&iter, NULL, &v)) {
        view_release(v);
    }
}

void memory_commit(MemorySystem *sys)
{
    assert(sys->depth);
    /* A listener may edit in turn (rarely): then once more. */
    while (sys->depth == 1 && sys->changed) {
        sys->changed = false;
        commit_views(sys);
    }
    sys->depth--;
    pthread_mutex_unlock(&sys->lock);
}

/* ---- address spaces ---- */

AddressSpace *address_space_new(MemorySystem *sys, Region *root, const char *name)
{
    AddressSpace *as = g_new0(AddressSpace, 1);

    as->sys = sys;
    as->name = g_strdup(name);
    as->root = root;
    as->view = flatview_render(NULL);
    as->view->refs = 1;
    memory_begin(sys);
    g_ptr_array_add(sys->spaces, as);
    region_adopt(root, sys);
    memory_changed(sys);
    memory_commit(sys);
    return as;
}

static void space_free(RcuHead *head)
{
    AddressSpace *as = container_of(head, AddressSpace, rcu);

    g_free(as->name);
    g_free(as);
}

void address_space_free(AddressSpace *as)
{
    MemorySystem *sys;
    FlatView *empty;

    if (!as) {
        return;
    }
    sys = as->sys;
    memory_begin(sys);
    empty = flatview_render(NULL);
    empty->refs = 1;
    tell_all(sys, true);
    switch_view(sys, as, empty);
    tell_all(sys, false);
    g_ptr_array_remove(sys->spaces, as);
    view_release(as->view);
    memory_commit(sys);
    rcu_call(&as->rcu, space_free);
}

const char *address_space_name(const AddressSpace *as)
{
    return as->name;
}

Region *address_space_root(const AddressSpace *as)
{
    return as->root;
}

/* ---- listeners ---- */

static void replay_space(MemoryListener *l, AddressSpace *as, bool add)
{
    for (unsigned i = 0; i < as->view->n; i++) {
        const FlatRange *fr = &as->view->ranges[i];
        MemSection s = section_of(as, fr);

        if (add && l->add) {
            l->add(l, &s);
        }
        if (add && fr->dirty_log_mask && l->log_start) {
            l->log_start(l, &s);
        }
        if (!add && l->del) {
            l->del(l, &s);
        }
    }
    for (guint i = 0; as->eventfd && i < as->eventfd->len; i++) {
        const EventfdEntry *e = &g_array_index(as->eventfd, EventfdEntry, i);
        MemSection s = {.as = as,
                        .region = e->region,
                        .addr = e->addr,
                        .offset = e->offset,
                        .last = e->addr + (e->size ? e->size - 1 : 0)};

        if (add && l->eventfd_add) {
            l->eventfd_add(l, &s, e->size, e->match, e->data, e->fd);
        } else if (!add && l->eventfd_del) {
            l->eventfd_del(l, &s, e->size, e->match, e->data, e->fd);
        }
    }
}

static void replay(MemorySystem *sys, MemoryListener *l, bool add)
{
    if (l->begin) {
        l->begin(l);
    }
    for (guint i = 0; i < sys->spaces->len; i++) {
        AddressSpace *as = sys->spaces->pdata[i];

        if (!l->filter || l->filter == as) {
            replay_space(l, as, add);
        }
    }
    if (l->commit) {
        l->commit(l);
    }
}

void memory_listener_add(MemorySystem *sys, MemoryListener *l)
{
    PtrList *old;
    unsigned at = 0;

    memory_begin(sys);
    old = sys->listeners;
    while (at < old->n && ((MemoryListener *)old->v[at])->priority <= l->priority) {
        at++;
    }
    rcu_assign_pointer(sys->listeners, ptr_list_with(old, l, at));
    ptr_list_free_later(old);
    replay(sys, l, true);
    memory_commit(sys);
}

void memory_listener_del(MemorySystem *sys, MemoryListener *l)
{
    PtrList *old;

    memory_begin(sys);
    old = sys->listeners;
    replay(sys, l, false);
    rcu_assign_pointer(sys->listeners, ptr_list_without(old, l));
    ptr_list_free_later(old);
    memory_commit(sys);
    rcu_synchronize();
}
