/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `info mtree`: the trees, or with -f the views, in the layout that scripts know.
 */
#include "memory/internal.h"

#include <inttypes.h>

static const char *kind_name(const Region *r)
{
    while (r->alias) {
        r = r->alias;
    }
    switch (r->kind) {
    case REGION_RAM:
        return r->readonly ? "rom" : "ram";
    case REGION_ROM:
        return "rom";
    case REGION_ROMD:
        return r->romd ? "romd" : "i/o";
    default:
        return "i/o";
    }
}

static uint64_t region_last(const Region *r)
{
    return r->size == MEMORY_WHOLE ? UINT64_MAX : r->size ? r->size - 1 : 0;
}

static void print_owner(GString *out, const Region *r, bool owners)
{
    if (owners && r->owner && r->owner->name) {
        g_string_append_printf(out, " owner:{dev id=%s}", r->owner->name);
    }
}

/* `roots` gathers what aliases point at outside of the printed trees. */
static void print_region(GString *out, const Region *r, unsigned depth, hwaddr base, bool owners,
                         GPtrArray *roots)
{
    hwaddr at = base + r->addr;

    g_string_append_printf(out, "%*s%016" PRIx64 "-%016" PRIx64 " (prio %d, %s): ", (int)depth * 2,
                           "", at, at + region_last(r), r->priority, kind_name(r));
    if (r->alias) {
        const Region *top = r->alias;

        g_string_append_printf(out, "alias %s @%s %016" PRIx64 "-%016" PRIx64 "%s", region_name(r),
                               region_name(r->alias), r->alias_offset,
                               r->alias_offset + region_last(r), r->enabled ? "" : " [disabled]");
        while (top->container) {
            top = top->container;
        }
        if (!g_ptr_array_find(roots, top, NULL)) {
            g_ptr_array_add(roots, (void *)top);
        }
    } else {
        g_string_append_printf(out, "%s%s", region_name(r), r->enabled ? "" : " [disabled]");
    }
    print_owner(out, r, owners);
    g_string_append_c(out, '\n');
    for (GList *l = r->subregions; l; l = l->next) {
        print_region(out, l->data, depth + 1, at, owners, roots);
    }
}

static void print_trees(MemorySystem *sys, GString *out, bool owners)
{
    g_autoptr(GPtrArray) roots = g_ptr_array_new();

    for (guint i = 0; i < sys->spaces->len; i++) {
        AddressSpace *as = sys->spaces->pdata[i];

        g_string_append_printf(out, "address-space: %s\n", as->name);
        if (g_ptr_array_find(roots, as->root, NULL)) {
            g_string_append_printf(out, "  (the tree of %s, above)\n\n", region_name(as->root));
            continue;
        }
        g_ptr_array_add(roots, as->root);
        print_region(out, as->root, 1, 0, owners, roots);
        g_string_append_c(out, '\n');
    }
    /* What was reached by alias only comes after the address spaces. */
    for (guint i = 0; i < roots->len; i++) {
        const Region *r = roots->pdata[i];
        bool shown = false;

        for (guint k = 0; k < sys->spaces->len; k++) {
            shown |= ((AddressSpace *)sys->spaces->pdata[k])->root == r;
        }
        if (!shown) {
            g_string_append_printf(out, "memory-region: %s\n", region_name(r));
            print_region(out, r, 1, 0, owners, roots);
            g_string_append_c(out, '\n');
        }
    }
}

static void print_range(GString *out, const FlatRange *fr, bool owners)
{
    const char *kind = fr->host ? (fr->romd ? "romd" : fr->readonly ? "rom" : "ram") : "i/o";

    g_string_append_printf(out, "  %016" PRIx64 "-%016" PRIx64 " (prio %d, %s): %s", fr->start,
                           fr->last, fr->priority, kind, region_name(fr->region));
    if (fr->offset) {
        g_string_append_printf(out, " @%016" PRIx64, fr->offset);
    }
    print_owner(out, fr->region, owners);
    g_string_append_c(out, '\n');
}

static void print_views(MemorySystem *sys, GString *out, bool owners)
{
    g_autoptr(GHashTable) done = g_hash_table_new(NULL, NULL);
    unsigned number = 0;

    for (guint i = 0; i < sys->spaces->len; i++) {
        AddressSpace *as = sys->spaces->pdata[i];
        FlatView *v = as->view;

        if (!g_hash_table_add(done, v)) {
            continue;
        }
        g_string_append_printf(out, "FlatView #%u\n", number++);
        for (guint k = i; k < sys->spaces->len; k++) {
            AddressSpace *other = sys->spaces->pdata[k];

            if (other->view == v) {
                g_string_append_printf(out, " AS \"%s\", root: %s\n", other->name,
                                       region_name(other->root));
            }
        }
        g_string_append_printf(out, " Root memory region: %s\n",
                               v->root ? region_name(v->root) : "(none)");
        for (unsigned k = 0; k < v->n; k++) {
            print_range(out, &v->ranges[k], owners);
        }
        if (!v->n) {
            g_string_append(out, "  No rendered FlatView\n");
        }
        g_string_append_c(out, '\n');
    }
}

void memory_print_tree(MemorySystem *sys, GString *out, bool flat, bool owners)
{
    memory_begin(sys);
    if (flat) {
        print_views(sys, out, owners);
    } else {
        print_trees(sys, out, owners);
    }
    memory_commit(sys);
}

void memory_print_roms(AddressSpace *as, GString *out)
{
    rcu_read_lock();
    const FlatView *v = rcu_dereference(as->view);
    for (unsigned i = 0; i < v->n; i++) {
        const FlatRange *r = &v->ranges[i];
        if (r->ram && r->readonly) {
            g_string_append_printf(out,
                                   "addr=%016" PRIx64 " size=0x%06" PRIx64 " mem=rom name=\"%s\"\n",
                                   r->start, r->last - r->start + 1, r->ram->name);
        }
    }
    rcu_read_unlock();
}
