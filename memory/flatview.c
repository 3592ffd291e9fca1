/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rendering: from a tree of regions to a sorted list of what is visible.
 *
 * Regions are visited by descending priority; each fills what nobody before it
 * has filled.  Positions are 128-bit while rendering, since an alias may place
 * the start of its target below zero or its end above 2^64; what comes out are
 * inclusive 64-bit addresses.
 */
#include "memory/internal.h"

#include <string.h>

typedef __int128 Wide;

/* Deeper nesting can only be a circle of aliases. */
#define RENDER_DEPTH_MAX 64

typedef struct Render {
    FlatView *view;
    unsigned depth;
} Render;

static void insert_range(FlatView *v, unsigned at, const FlatRange *fr)
{
    if (v->n == v->alloc) {
        v->alloc = v->alloc ? v->alloc * 2 : 16;
        v->ranges = g_renew(FlatRange, v->ranges, v->alloc);
    }
    memmove(&v->ranges[at + 1], &v->ranges[at], (v->n - at) * sizeof(*v->ranges));
    v->ranges[at] = *fr;
    v->n++;
}

/* Fills the parts of [lo, hi] that are still free with `r`, whose offset 0 is at `base`. */
static void fill(FlatView *v, Region *r, Wide base, Wide lo, Wide hi, bool readonly, int priority)
{
    FlatRange fr = {
        .region = r,
        .priority = priority,
        .dirty_log_mask = r->dirty_log_mask,
        .readonly = readonly || r->kind == REGION_ROM,
        .romd = r->kind == REGION_ROMD && r->romd,
    };
    bool memory = r->kind == REGION_RAM || r->kind == REGION_ROM || fr.romd;
    unsigned i = 0;

    while (i < v->n && v->ranges[i].last < lo) {
        i++;
    }
    while (lo <= hi) {
        Wide end = i < v->n && v->ranges[i].start <= hi ? (Wide)v->ranges[i].start - 1 : hi;

        if (lo <= end) {
            fr.start = (hwaddr)lo;
            fr.last = (hwaddr)end;
            fr.offset = (hwaddr)(lo - base);
            if (memory) {
                fr.ram = r->ram;
                fr.host = r->ram->host + fr.offset;
            }
            insert_range(v, i++, &fr);
        }
        if (i >= v->n || v->ranges[i].start > hi) {
            break;
        }
        lo = (Wide)v->ranges[i++].last + 1;
    }
}

/* `base` is where the container of `r` begins; [lo, hi] is what may be seen of it. */
static void render(Render *ctx, Region *r, Wide base, Wide lo, Wide hi, bool readonly)
{
    if (!r->enabled) {
        return;
    }
    base += r->addr;
    lo = lo > base ? lo : base;
    hi = hi < base + region_bytes(r) - 1 ? hi : base + region_bytes(r) - 1;
    if (lo > hi) {
        return;
    }
    if (++ctx->depth > RENDER_DEPTH_MAX) {
        g_error("memory regions around '%s' contain themselves", region_name(r));
    }
    readonly |= r->readonly;
    if (r->alias) {
        render(ctx, r->alias, base - r->alias->addr - r->alias_offset, lo, hi, readonly);
    } else {
        for (GList *l = r->subregions; l; l = l->next) {
            render(ctx, l->data, base, lo, hi, readonly);
        }
        if (r->kind != REGION_CONTAINER) {
            fill(ctx->view, r, base, lo, hi, readonly, r->priority);
        }
    }
    ctx->depth--;
}

static bool can_merge(const FlatRange *a, const FlatRange *b)
{
    return a->last + 1 == b->start && a->last != UINT64_MAX && a->region == b->region &&
           a->offset + (a->last - a->start) + 1 == b->offset && a->readonly == b->readonly &&
           a->romd == b->romd && a->dirty_log_mask == b->dirty_log_mask;
}

static void merge(FlatView *v)
{
    unsigned out = 0;

    for (unsigned i = 1; i < v->n; i++) {
        if (can_merge(&v->ranges[out], &v->ranges[i])) {
            v->ranges[out].last = v->ranges[i].last;
        } else {
            v->ranges[++out] = v->ranges[i];
        }
    }
    v->n = v->n ? out + 1 : 0;
}

Region *flatview_real_root(Region *root)
{
    for (;;) {
        Region *only = NULL;

        if (!root->enabled) {
            return NULL;
        }
        if (root->alias) {
            if (root->alias_offset || root->readonly ||
                region_bytes(root) < region_bytes(root->alias)) {
                return root;
            }
            root = root->alias;
            continue;
        }
        if (root->kind != REGION_CONTAINER) {
            return root;
        }
        for (GList *l = root->subregions; l; l = l->next) {
            Region *r = l->data;

            if (r->enabled) {
                if (only) {
                    return root;
                }
                only = r;
            }
        }
        /* A container that shows exactly one thing, at 0 and whole, looks like that thing. */
        if (!only) {
            return NULL;
        }
        if (only->addr || root->readonly || region_bytes(root) < region_bytes(only)) {
            return root;
        }
        root = only;
    }
}

FlatView *flatview_render(Region *root)
{
    FlatView *v = g_new0(FlatView, 1);
    Render ctx = {.view = v};

    v->root = root;
    if (root) {
        /* The root stands at 0, wherever its container (if an alias led here) has it. */
        render(&ctx, root, -(Wide)root->addr, 0, (Wide)UINT64_MAX, false);
    }
    merge(v);
    for (unsigned i = 0; i < v->n; i++) {
        if (v->ranges[i].ram) {
            ram_block_ref(v->ranges[i].ram);
        }
    }
    return v;
}

static void flatview_free(RcuHead *head)
{
    FlatView *v = container_of(head, FlatView, rcu);

    for (unsigned i = 0; i < v->n; i++) {
        if (v->ranges[i].ram) {
            ram_block_unref(v->ranges[i].ram);
        }
    }
    g_free(v->ranges);
    g_free(v);
}

void flatview_free_later(FlatView *v)
{
    rcu_call(&v->rcu, flatview_free);
}

const FlatRange *flatview_find(FlatView *v, hwaddr addr, hwaddr *gap_last)
{
    uint32_t hint = __atomic_load_n(&v->hint, __ATOMIC_RELAXED);
    unsigned lo = 0, hi = v->n;

    if (hint < v->n &&
        addr - v->ranges[hint].start <= v->ranges[hint].last - v->ranges[hint].start) {
        return &v->ranges[hint];
    }
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;

        if (v->ranges[mid].last < addr) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    if (lo < v->n && v->ranges[lo].start <= addr) {
        __atomic_store_n(&v->hint, lo, __ATOMIC_RELAXED);
        return &v->ranges[lo];
    }
    *gap_last = lo < v->n ? v->ranges[lo].start - 1 : UINT64_MAX;
    return NULL;
}
