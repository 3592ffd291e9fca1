/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memory/internal.h: the shapes that the files of this room share.
 */
#ifndef RHEA_MEMORY_INTERNAL_H
#define RHEA_MEMORY_INTERNAL_H

#include "memory/memory.h"

#include <pthread.h>

/* One piece of a view; addresses inclusive. Sorted, no two overlap. */
typedef struct FlatRange {
    hwaddr start, last;
    hwaddr offset; /* of `start` in the region */
    Region *region;
    RamBlock *ram; /* referenced by the view; NULL for MMIO */
    uint8_t *host; /* of `start`, where reads go to memory; NULL for MMIO */
    int priority;  /* for printing */
    uint8_t dirty_log_mask;
    bool readonly; /* stores do not go to `host` */
    bool romd;     /* reads as memory, writes go to ops */
} FlatRange;

struct FlatView {
    RcuHead rcu;
    int refs;      /* address spaces that show it; under the system's mutex */
    uint32_t hint; /* index of the last hit; racy on purpose */
    unsigned n, alloc;
    FlatRange *ranges;
    Region *root; /* what it was rendered from */
};

/* An eventfd at its place in an address space. */
typedef struct EventfdEntry {
    hwaddr addr; /* in the region (Region.ioeventfds) or the address space */
    unsigned size;
    bool match;
    uint64_t data;
    int fd;
    Region *region;
    hwaddr offset; /* of the write in the region */
} EventfdEntry;

struct AddressSpace {
    RcuHead rcu;
    MemorySystem *sys;
    char *name;
    Region *root;
    FlatView *view;  /* RCU; never NULL */
    GArray *eventfd; /* EventfdEntry by address, of the current view */
};

/* An immutable, RCU-protected array of pointers. */
typedef struct PtrList {
    RcuHead rcu;
    unsigned n;
    void *v[];
} PtrList;

struct MemorySystem {
    pthread_mutex_t lock; /* recursive; held from begin to commit */
    unsigned depth;
    bool changed;        /* something was edited in this transaction */
    GPtrArray *spaces;   /* AddressSpace* */
    PtrList *listeners;  /* RCU: MemoryListener* by ascending priority */
    PtrList *blocks;     /* RCU: RamBlock*; edited under block_lock */
    GHashTable *regions; /* set of regions whose `sys` is this one */
    Region unassigned;   /* what lies where nothing is */
    pthread_mutex_t block_lock;
};

/* regions.c */
const char *region_name(const Region *r);
static inline __int128 region_bytes(const Region *r)
{
    return r->size == MEMORY_WHOLE ? (__int128)1 << 64 : (__int128)r->size;
}
/* Notes the region, its subtree and alias targets as belonging to `sys`. */
void region_adopt(Region *r, MemorySystem *sys);

/* flatview.c */
FlatView *flatview_render(Region *root);
void flatview_free_later(FlatView *v);
const FlatRange *flatview_find(FlatView *v, hwaddr addr, hwaddr *gap_last);
/* The region whose rendering equals that of `root`: views of equal roots are shared. */
Region *flatview_real_root(Region *root);
/* commit.c */
void memory_changed(MemorySystem *sys);
PtrList *ptr_list_with(const PtrList *old, void *p, unsigned at);
PtrList *ptr_list_without(const PtrList *old, const void *p);
void ptr_list_free_later(PtrList *l);

/* ram.c */
void ram_block_detach_all(MemorySystem *sys);

#endif
