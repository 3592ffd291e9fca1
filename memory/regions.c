/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The region tree and its edits.  Every edit of a region that is part of a
 * MemorySystem is a transaction of its own, unless one is already open.
 */
#include "memory/internal.h"
#include "memory/memory.h"

#include <assert.h>
#include <string.h>

/* What a finished region does for those who still hold a pointer to it. */
static const RegionOps dead_ops = {.valid_max = 8};

static void region_init(Region *r, RegionKind kind, const char *name, uint64_t size)
{
    memset(r, 0, sizeof(*r));
    r->kind = kind;
    r->name = g_strdup(name);
    r->size = size;
    r->enabled = true;
    r->ops = &dead_ops;
}

void region_init_container(Region *r, const char *name, uint64_t size)
{
    region_init(r, REGION_CONTAINER, name, size);
}

void region_init_io(Region *r, MemOwner *owner, const RegionOps *ops, void *opaque,
                    const char *name, uint64_t size)
{
    region_init(r, REGION_IO, name, size);
    r->owner = owner;
    r->ops = ops;
    r->opaque = opaque;
}

void region_init_alias(Region *r, const char *name, Region *target, hwaddr offset, uint64_t size)
{
    region_init(r, REGION_ALIAS, name, size);
    r->alias = target;
    r->alias_offset = offset;
}

void region_init_ram(Region *r, const char *name, RamBlock *block)
{
    region_init(r, REGION_RAM, name, block->size);
    r->ram = ram_block_ref(block);
}

void region_init_rom(Region *r, const char *name, RamBlock *block)
{
    region_init(r, REGION_ROM, name, block->size);
    r->ram = ram_block_ref(block);
    r->readonly = true;
}

void region_init_romd(Region *r, MemOwner *owner, const RegionOps *ops, void *opaque,
                      const char *name, RamBlock *block)
{
    region_init(r, REGION_ROMD, name, block->size);
    r->owner = owner;
    r->ops = ops;
    r->opaque = opaque;
    r->ram = ram_block_ref(block);
    r->romd = true;
}

void region_init_reserved(Region *r, const char *name, uint64_t size)
{
    region_init(r, REGION_RESERVED, name, size);
}

const char *region_name(const Region *r)
{
    return r->name ? r->name : "(unnamed)";
}

static void eventfds_free(RcuHead *head);

typedef struct EventfdGarbage {
    RcuHead rcu;
    GArray *array;
} EventfdGarbage;

static void eventfds_free(RcuHead *head)
{
    EventfdGarbage *g = container_of(head, EventfdGarbage, rcu);

    g_array_free(g->array, TRUE);
    g_free(g);
}

static void eventfds_replace(Region *r, GArray *now)
{
    GArray *old = r->ioeventfds;

    rcu_assign_pointer(r->ioeventfds, now);
    if (old) {
        EventfdGarbage *g = g_new0(EventfdGarbage, 1);

        g->array = old;
        rcu_call(&g->rcu, eventfds_free);
    }
}

void region_fini(Region *r)
{
    MemorySystem *sys = r->sys;

    if (sys) {
        memory_begin(sys);
    }
    if (r->container) {
        region_del(r->container, r);
    }
    while (r->subregions) {
        region_del(r, r->subregions->data);
    }
    /* A reader that waits for the loop's lock must find nothing when it gets here. */
    r->ops = &dead_ops;
    r->opaque = NULL;
    if (r->ioeventfds) {
        eventfds_replace(r, NULL);
    }
    if (sys) {
        g_hash_table_remove(sys->regions, r);
        r->sys = NULL;
        memory_changed(sys);
        memory_commit(sys);
    }
    if (r->ram) {
        ram_block_unref(r->ram);
        r->ram = NULL;
    }
    g_free((char *)r->name);
    r->name = NULL;
}

void region_adopt(Region *r, MemorySystem *sys)
{
    if (r->sys == sys) {
        return;
    }
    assert(!r->sys);
    r->sys = sys;
    g_hash_table_add(sys->regions, r);
    if (r->ram && !r->ram->sys) {
        ram_block_attach(r->ram, sys);
    }
    if (r->alias) {
        region_adopt(r->alias, sys);
    }
    for (GList *l = r->subregions; l; l = l->next) {
        region_adopt(l->data, sys);
    }
}

/* Opens the transaction of an edit of `r`; edit_end() closes it. */
static void edit_begin(Region *r)
{
    if (r->sys) {
        memory_begin(r->sys);
    }
}

static void edit_end(Region *r)
{
    if (r->sys) {
        memory_changed(r->sys);
        memory_commit(r->sys);
    }
}

static gint by_priority(gconstpointer a, gconstpointer b)
{
    const Region *there = a, *fresh = b;

    /* g_list_insert_sorted() calls with the new element second or first: decide by priority only;
     * equal ones are handled by the caller. */
    return there->priority < fresh->priority ? 1 : there->priority > fresh->priority ? -1 : 0;
}

static void insert_subregion(Region *container, Region *r)
{
    GList *at = container->subregions;

    while (at && by_priority(at->data, r) < 0) {
        at = at->next;
    }
    container->subregions = g_list_insert_before(container->subregions, at, r);
}

void region_add_overlap(Region *container, hwaddr addr, Region *r, int priority)
{
    assert(!r->container);
    r->addr = addr;
    r->priority = priority;
    edit_begin(container);
    r->container = container;
    insert_subregion(container, r);
    if (container->sys) {
        region_adopt(r, container->sys);
    }
    edit_end(container);
}

void region_add(Region *container, hwaddr addr, Region *r)
{
    region_add_overlap(container, addr, r, 0);
}

void region_del(Region *container, Region *r)
{
    assert(r->container == container);
    edit_begin(container);
    container->subregions = g_list_remove(container->subregions, r);
    r->container = NULL;
    edit_end(container);
}

#define REGION_EDIT(r, field, value) \
    do {                             \
        if ((r)->field != (value)) { \
            edit_begin(r);           \
            (r)->field = (value);    \
            edit_end(r);             \
        }                            \
    } while (0)

void region_set_enabled(Region *r, bool enabled)
{
    REGION_EDIT(r, enabled, enabled);
}

void region_set_address(Region *r, hwaddr addr)
{
    REGION_EDIT(r, addr, addr);
}

void region_set_size(Region *r, uint64_t size)
{
    assert(!r->ram || size <= r->ram->size);
    REGION_EDIT(r, size, size);
}

void region_set_alias_offset(Region *r, hwaddr offset)
{
    assert(r->alias);
    REGION_EDIT(r, alias_offset, offset);
}

void region_set_readonly(Region *r, bool readonly)
{
    REGION_EDIT(r, readonly, readonly);
}

void region_romd_set(Region *r, bool on)
{
    assert(r->kind == REGION_ROMD);
    REGION_EDIT(r, romd, on);
}

void region_set_dirty_log(Region *r, DirtyClient c, bool on)
{
    uint8_t mask = on ? r->dirty_log_mask | (1u << c) : r->dirty_log_mask & ~(1u << c);

    REGION_EDIT(r, dirty_log_mask, mask);
}

bool region_is_mapped(const Region *r)
{
    for (; r; r = r->container) {
        if (!r->enabled) {
            return false;
        }
        if (!r->container) {
            return r->sys && g_hash_table_contains(r->sys->regions, r) && r->subregions;
        }
    }
    return false;
}

/* ---- eventfds ---- */

static bool eventfd_same(const EventfdEntry *e, hwaddr addr, unsigned size, bool match,
                         uint64_t data, int fd)
{
    return e->addr == addr && e->size == size && e->match == match && (!match || e->data == data) &&
           e->fd == fd;
}

void region_add_eventfd(Region *r, hwaddr addr, unsigned size, bool match, uint64_t data, int fd)
{
    EventfdEntry e = {.addr = addr,
                      .size = size,
                      .match = match,
                      .data = data,
                      .fd = fd,
                      .region = r,
                      .offset = addr};
    GArray *now = g_array_new(FALSE, FALSE, sizeof(EventfdEntry));

    edit_begin(r);
    if (r->ioeventfds) {
        g_array_append_vals(now, r->ioeventfds->data, r->ioeventfds->len);
    }
    g_array_append_val(now, e);
    eventfds_replace(r, now);
    edit_end(r);
}

void region_del_eventfd(Region *r, hwaddr addr, unsigned size, bool match, uint64_t data, int fd)
{
    GArray *now = g_array_new(FALSE, FALSE, sizeof(EventfdEntry));
    bool found = false;

    edit_begin(r);
    for (guint i = 0; r->ioeventfds && i < r->ioeventfds->len; i++) {
        EventfdEntry *e = &g_array_index(r->ioeventfds, EventfdEntry, i);

        if (!found && eventfd_same(e, addr, size, match, data, fd)) {
            found = true;
        } else {
            g_array_append_val(now, *e);
        }
    }
    assert(found);
    if (now->len == 0) {
        g_array_free(now, TRUE);
        now = NULL;
    }
    eventfds_replace(r, now);
    edit_end(r);
}
