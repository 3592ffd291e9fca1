/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memory/memory.h: the guest-physical world: regions, address spaces, views.
 *
 * Regions form a tree with priorities (higher wins).  An AddressSpace renders
 * its root into an immutable sorted FlatView, swapped under RCU; listeners get
 * the difference of two views.  Addresses are inclusive-last internally, so a
 * region may span all of 2^64 (size MEMORY_WHOLE).
 *
 * Threads: the tree is edited on the control thread or under the platform
 * loop's lock, inside an (implicit or explicit) transaction, which a mutex of
 * the MemorySystem serializes; reads of views are RCU reads from any thread.
 * An MMIO callback runs under the lock of the loop its region belongs to.
 * Listeners run with the system's mutex held and take no loop's lock.
 *
 * A dispatch may wait for a loop's lock inside an RCU read section, so nobody
 * calls rcu_synchronize() with a loop's lock held.  A region that was taken out
 * of the tree may still be reached by such a waiting reader: its memory is given
 * back only after a grace period (devices: Object.rcu_free), and region_fini(),
 * called under the loop's lock, makes late accesses read as nothing.
 */
#ifndef RHEA_MEMORY_MEMORY_H
#define RHEA_MEMORY_MEMORY_H

#include "event/loop.h"
#include "util/bits.h"
#include "util/error.h"
#include "util/iov.h"
#include "util/rcu.h"

#include <stdbool.h>
#include <stdint.h>

typedef uint64_t hwaddr;
typedef struct Region Region;
typedef struct AddressSpace AddressSpace;
typedef struct FlatView FlatView;
typedef struct RamBlock RamBlock;
typedef struct MemorySystem MemorySystem;
typedef struct MemoryListener MemoryListener;

#define MEMORY_WHOLE UINT64_MAX /* as a size: 2^64 */

/* Who accesses. */
typedef struct MemAttrs {
    uint16_t requester; /* PCI bus/devfn; 0xffff: a CPU */
    bool smm;           /* the CPU is in system-management mode */
    bool user;          /* CPL 3 */
} MemAttrs;
#define MEM_ATTRS_NONE ((MemAttrs){.requester = 0xffff})

typedef enum MemResult {
    MEM_OK = 0,
    MEM_DECODE_ERROR, /* nothing there: reads give all ones */
    MEM_DEVICE_ERROR, /* refused by the device, or re-entrant */
} MemResult;

/*
 * What a region's accesses share: the loop whose lock guards them (NULL: the
 * device is a leaf with a lock of its own), and the re-entrancy flag that the
 * dispatcher keeps.  Every device embeds one.
 */
typedef struct MemOwner {
    const char *name;
    EventLoop *loop;
    bool busy;
} MemOwner;

typedef struct RegionOps {
    /* `offset` within the region; `size` 1, 2, 4 or 8; values in guest (LE) order. */
    uint64_t (*read)(void *opaque, hwaddr offset, unsigned size);
    void (*write)(void *opaque, hwaddr offset, uint64_t value, unsigned size);
    /* Instead of the above, for the few who need attributes or may refuse. */
    MemResult (*read_attrs)(void *opaque, hwaddr offset, uint64_t *value, unsigned size,
                            MemAttrs a);
    MemResult (*write_attrs)(void *opaque, hwaddr offset, uint64_t value, unsigned size,
                             MemAttrs a);
    /*
     * Accesses the bus accepts (0: 1 to 4 bytes, aligned or not).  Smaller or misaligned
     * (aligned_only) ones give MEM_DECODE_ERROR; larger ones are split, as a bridge does.
     */
    uint8_t valid_min, valid_max;
    bool aligned_only;
    /*
     * Accesses the callbacks implement (0: 1 to 4); the core splits and merges.  A misaligned
     * offset is passed on as it is.  A narrower access becomes one of the aligned unit of
     * impl_min bytes: reads take their bytes out of it, writes have zeroes beside them.
     */
    uint8_t impl_min, impl_max;
    bool big_endian;
} RegionOps;

typedef enum RegionKind {
    REGION_CONTAINER,
    REGION_RAM,
    REGION_ROM,  /* reads as RAM; writes are dropped */
    REGION_ROMD, /* reads as RAM when romd mode is on; writes go to ops */
    REGION_IO,
    REGION_ALIAS,
    REGION_RESERVED, /* reads all ones, writes dropped, never falls through */
} RegionKind;

struct Region {
    const char *name; /* owned copy */
    RegionKind kind;
    uint64_t size; /* MEMORY_WHOLE: 2^64 */
    hwaddr addr;   /* in the container */
    int priority;
    bool enabled, readonly, romd;
    uint8_t dirty_log_mask; /* of DirtyClient bits; DIRTY_CODE is watched in all RAM anyway */
    const RegionOps *ops;
    void *opaque;
    MemOwner *owner;
    RamBlock *ram;
    Region *alias;
    hwaddr alias_offset;
    Region *container;
    GList *subregions;  /* by descending priority, newest first within one */
    MemorySystem *sys;  /* set once the region is below an address space's root */
    GArray *ioeventfds; /* replaced under RCU, never changed */
    bool coalesced; /* writes may be put off until the CPU does something else; set before adding */
};

/* ---- regions (fields of their owner; init never fails but for RAM) ---- */
void region_init_container(Region *r, const char *name, uint64_t size);
void region_init_io(Region *r, MemOwner *owner, const RegionOps *ops, void *opaque,
                    const char *name, uint64_t size);
void region_init_alias(Region *r, const char *name, Region *target, hwaddr offset, uint64_t size);
/* Takes a reference of `block`. */
void region_init_ram(Region *r, const char *name, RamBlock *block);
void region_init_rom(Region *r, const char *name, RamBlock *block);
void region_init_romd(Region *r, MemOwner *owner, const RegionOps *ops, void *opaque,
                      const char *name, RamBlock *block);
void region_init_reserved(Region *r, const char *name, uint64_t size);
/* Removes it from its container; RAM loses a reference. Idempotent; fine on zeroes. */
void region_fini(Region *r);

void region_add(Region *container, hwaddr addr, Region *r);
void region_add_overlap(Region *container, hwaddr addr, Region *r, int priority);
void region_del(Region *container, Region *r);
void region_set_enabled(Region *r, bool enabled);
void region_set_address(Region *r, hwaddr addr);
void region_set_size(Region *r, uint64_t size);
void region_set_alias_offset(Region *r, hwaddr offset);
void region_set_readonly(Region *r, bool readonly);
void region_romd_set(Region *r, bool on);
/* Is it visible somewhere through this container chain? */
bool region_is_mapped(const Region *r);

/* ---- the system: the set of address spaces edited together ---- */
MemorySystem *memory_system_new(void);
void memory_system_free(MemorySystem *sys);
/* Edits between begin and commit become visible at once. Nest. */
void memory_begin(MemorySystem *sys);
void memory_commit(MemorySystem *sys);

AddressSpace *address_space_new(MemorySystem *sys, Region *root, const char *name);
void address_space_free(AddressSpace *as);
const char *address_space_name(const AddressSpace *as);
Region *address_space_root(const AddressSpace *as);
/* For `info mtree` (flat: -f). */
/* What the CPU sees of memory that it cannot write: a line for each piece. */
void memory_print_roms(AddressSpace *as, GString *out);
void memory_print_tree(MemorySystem *sys, GString *out, bool flat, bool owners);

/* ---- access ---- */
/* Any size and alignment; RAM, ROM and MMIO; splits at region borders. */
MemResult address_space_read(AddressSpace *as, hwaddr addr, MemAttrs a, void *buf, size_t len);
MemResult address_space_write(AddressSpace *as, hwaddr addr, MemAttrs a, const void *buf,
                              size_t len);
/* Writes ROM too: firmware loaders and debuggers. */
MemResult address_space_write_rom(AddressSpace *as, hwaddr addr, const void *buf, size_t len);
/* One access of 1, 2, 4, 8 bytes, as the CPU or a device makes it. */
MemResult address_space_ld(AddressSpace *as, hwaddr addr, MemAttrs a, unsigned size, uint64_t *v);
MemResult address_space_st(AddressSpace *as, hwaddr addr, MemAttrs a, unsigned size, uint64_t v);

/*
 * A host pointer to guest RAM for a bus master: at most *len bytes from `addr`
 * that lie in one RAM block; *len is set to what was mapped.  NULL if `addr` is
 * not RAM (the caller then uses address_space_read/write).  unmap marks pages
 * dirty when `written`.  The block stays alive in between.
 */
void *address_space_map(AddressSpace *as, hwaddr addr, size_t *len, bool write);
void address_space_unmap(AddressSpace *as, void *host, size_t len, bool written);

/* What lies at an address: for software TLBs and dispatchers. RCU reader. */
typedef struct MemTarget {
    Region *region; /* never NULL: the unassigned region if nothing is there */
    hwaddr offset;  /* in `region` */
    uint64_t len;   /* bytes to the end of this range, clamped to UINT64_MAX */
    uint8_t *host;  /* for RAM and ROM reads; NULL for MMIO */
    bool writable;  /* stores may go to `host` directly */
    uint8_t dirty_log_mask;
    RamBlock *ram;
    hwaddr ram_offset; /* of `host` in `ram` */
} MemTarget;
void address_space_lookup(AddressSpace *as, hwaddr addr, MemTarget *out);
/* One dispatch to a region found by lookup (locks, splits, checks). */
MemResult region_dispatch_read(Region *r, hwaddr off, unsigned size, MemAttrs a, uint64_t *v);
MemResult region_dispatch_write(Region *r, hwaddr off, unsigned size, MemAttrs a, uint64_t v);

/* ---- RAM blocks ---- */
typedef enum DirtyClient { DIRTY_VGA, DIRTY_CODE, DIRTY_MIGRATION, DIRTY_CLIENTS } DirtyClient;

struct RamBlock {
    char *name;
    uint8_t *host;
    uint64_t size; /* multiple of the page size */
    int fd;        /* or -1 */
    uint64_t fd_offset;
    bool shared, mergeable, resizeable;
    int refs;
    uint64_t *dirty[DIRTY_CLIENTS]; /* one bit a page, atomic; 1: dirty; all are at first */
    size_t page_size;               /* of the mapping: larger for hugetlbfs */
    bool discard;
    RcuHead rcu;
    void *engine; /* the engine's own (TCG: its code map) */
    MemorySystem *sys;
};
typedef struct RamOptions {
    const char *path; /* file or directory (hugetlbfs, tmpfs), or NULL */
    bool memfd, share, prealloc, merge, dump, huge;
    bool seal;     /* memfd: its size can no longer change */
    bool readonly; /* the file is opened read-only; with `rom`, the mapping is, too */
    bool rom;
    bool reserve;   /* swap space is reserved (or hugetlb pages), so that use cannot fail later */
    bool discard;   /* file: its pages are freed at the end */
    uint64_t align; /* of the mapping; 0: the page size */
    uint64_t fd_offset;
    unsigned prealloc_threads;  /* 0: 1 */
    uint64_t huge_page_size;    /* 0: the host's default */
    const uint16_t *host_nodes; /* NUMA nodes, ends with 0xffff; NULL: none */
    int numa_policy;            /* MPOL_* */
} RamOptions;
/*
 * `sys` NULL: it belongs to no system until it is attached (a backend that nothing uses yet);
 * see ram_block_attach().
 * `o` NULL: anonymous, private, transparent huge pages, dumped.  Reads as zeroes.
 */
RamBlock *ram_block_new(MemorySystem *sys, const char *name, uint64_t size, const RamOptions *o,
                        Error **errp);
/* Makes a block that was created without a system a member of `sys`; once. */
void ram_block_attach(RamBlock *b, MemorySystem *sys);
RamBlock *ram_block_ref(RamBlock *b);
void ram_block_unref(RamBlock *b);
GList *memory_ram_blocks(MemorySystem *sys); /* RamBlock*, borrowed */

#define RAM_DIRTY_PAGE_BITS 12
/*
 * Marks [offset, offset+len) dirty for every client.  Where DIRTY_CODE was clean (translated
 * code may be there), the listeners' code_written is told afterwards; it drops all code of
 * these pages, or clears the bit again for what it keeps.  Any thread.
 */
void ram_mark_dirty(RamBlock *b, uint64_t offset, uint64_t len);
static inline bool ram_page_dirty(const RamBlock *b, DirtyClient c, uint64_t offset)
{
    uint64_t page = offset >> RAM_DIRTY_PAGE_BITS;

    return __atomic_load_n(&b->dirty[c][page / 64], __ATOMIC_RELAXED) >> (page % 64) & 1;
}
/* Marks for one client only, telling nobody. */
void ram_set_dirty(RamBlock *b, DirtyClient c, uint64_t offset, uint64_t len);
/*
 * Is any page of the span dirty?  _clear_ also makes them clean and tells the listeners'
 * `clean`, so that the engine watches the next write.  Any thread.
 */
bool ram_test_dirty(RamBlock *b, DirtyClient c, uint64_t offset, uint64_t len);
bool ram_test_clear_dirty(RamBlock *b, DirtyClient c, uint64_t offset, uint64_t len);
/*
 * Fetches what an engine that watches writes by hardware knows: before a round of tests, not
 * before each.  Control or device thread.
 */
void ram_sync_dirty(RamBlock *b);
/* Does the writes to devices' memory that an engine has put off (Region.coalesced). */
void memory_settle(MemorySystem *sys);
void region_set_dirty_log(Region *r, DirtyClient c, bool on);

/* ---- listeners ---- */
typedef struct MemSection {
    AddressSpace *as;
    Region *region;
    hwaddr addr;   /* in the address space */
    hwaddr offset; /* in the region */
    uint64_t last; /* inclusive last address in the address space */
    bool readonly;
    uint8_t dirty_log_mask;
} MemSection;
struct MemoryListener {
    const char *name;
    void (*begin)(MemoryListener *l);
    void (*add)(MemoryListener *l, const MemSection *s);
    void (*del)(MemoryListener *l, const MemSection *s);
    void (*log_start)(MemoryListener *l, const MemSection *s); /* dirty mask went 0 -> n */
    void (*log_stop)(MemoryListener *l, const MemSection *s);
    void (*commit)(MemoryListener *l); /* after the new view is visible */
    /* Pages of `b` (NULL: of none) that were written are to be marked now; puts off no writes. */
    void (*log_sync)(MemoryListener *l, RamBlock *b);
    /* Writers' side of dirty tracking: pages of `b` became clean / may hold code. */
    void (*clean)(MemoryListener *l, RamBlock *b, uint64_t offset, uint64_t len);
    /* RAM was written by a bus master or debugger where DIRTY_CODE was clean. */
    void (*code_written)(MemoryListener *l, RamBlock *b, uint64_t offset, uint64_t len);
    void (*eventfd_add)(MemoryListener *l, const MemSection *s, unsigned size, bool match,
                        uint64_t data, int fd);
    void (*eventfd_del)(MemoryListener *l, const MemSection *s, unsigned size, bool match,
                        uint64_t data, int fd);
    AddressSpace *filter; /* only this one; NULL: all */
    int priority;
};
void memory_listener_add(MemorySystem *sys, MemoryListener *l); /* replays what exists */
/* Waits until no callback runs: not with a loop's lock held, nor from a callback. */
void memory_listener_del(MemorySystem *sys, MemoryListener *l);

/* A write of `size` at `addr` of an I/O region becomes an eventfd signal. */
void region_add_eventfd(Region *r, hwaddr addr, unsigned size, bool match, uint64_t data, int fd);
void region_del_eventfd(Region *r, hwaddr addr, unsigned size, bool match, uint64_t data, int fd);

#endif
