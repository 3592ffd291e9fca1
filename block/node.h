/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block/node.h: nodes of the block graph, for those who implement one.
 *
 * A node is an instance of a BlockDriver: a protocol (bytes of a file or host
 * device), a format (raw, qcow2) or a test's own.  It reaches its children
 * through node_preadv() and friends, which check bounds, align and bounce as the
 * child asks for.
 *
 * Threads: open, close and reopen run on the control thread outside of any fiber;
 * there, leaves use blocking system calls.  Requests run in fibers under the lock
 * of the node's loop; leaves use loop_aio().  A driver's callbacks therefore work
 * in both surroundings as long as they only do I/O through this header.
 *
 * Results are 0 or a negative errno.
 */
#ifndef RHEA_BLOCK_NODE_H
#define RHEA_BLOCK_NODE_H

#include "block/block.h"
#include "util/bits.h"

typedef struct BlockDriver BlockDriver;
typedef struct BlockOpts BlockOpts;
typedef struct BlockCreateOption BlockCreateOption; /* block/image.h */
typedef struct BlockMeasure BlockMeasure;
typedef struct BlockProgress BlockProgress;
typedef struct BlockCheck BlockCheck;
typedef struct BlockSnapshot BlockSnapshot;
struct BlockBitmap;

/* What a node needs of those who talk to it; set by its open(). */
typedef struct BlockLimits {
    uint32_t request_align; /* offset and length of requests; power of two, 0: 1 */
    uint32_t mem_align;     /* addresses of buffers; power of two, 0: any */
    uint32_t discard_align; /* smaller discards are dropped; 0: request_align */
    uint32_t max_iov;       /* elements of one request; 0: any */
    uint64_t max_transfer;  /* bytes of one request; 0: any */
    bool compressed_only;   /* writes must be BLK_COMPRESSED, in units of opt_io */
    uint32_t opt_io;        /* preferred unit of writes (cluster size); 0: none */
} BlockLimits;

/* Answer of map(): what lies at an offset. */
#define BLOCK_MAP_DATA (1u << 0)   /* bytes are stored here */
#define BLOCK_MAP_ZERO (1u << 1)   /* reads as zeroes */
#define BLOCK_MAP_OFFSET (1u << 2) /* `host` is valid */
/* node_map() sets it: this node decides, not its backing node. */
#define BLOCK_MAP_ALLOCATED (1u << 3)
#define BLOCK_MAP_COMPRESSED (1u << 4)
/* From a driver: `file` may know of holes in what this node counts as data (raw, preallocated). */
#define BLOCK_MAP_RECURSE (1u << 5)
typedef struct BlockMap {
    unsigned flags;  /* none: not allocated here, the backing node decides */
    uint64_t len;    /* bytes for which this holds, at least 1, at most what was asked */
    uint64_t host;   /* offset in `file` */
    BlockNode *file; /* where `host` is an offset; NULL from a driver: its child `file` */
} BlockMap;

/* Space for an image that is made or made longer. */
typedef enum BlockPrealloc {
    PREALLOC_OFF,      /* none */
    PREALLOC_METADATA, /* a format's tables point to clusters that are holes */
    PREALLOC_FALLOC,   /* reserved, unwritten */
    PREALLOC_FULL,     /* zeroes were written */
} BlockPrealloc;
extern const char *const block_prealloc_names[]; /* off metadata falloc full, NULL */

/* How a node is opened: what -drive and its parent say about it. */
typedef struct BlockOpenFlags {
    bool read_only;
    bool auto_read_only; /* fall back to read-only if writing is not permitted */
    bool direct;         /* cache.direct: O_DIRECT */
    bool no_flush;       /* cache.no-flush: flushes do nothing (cache=unsafe) */
    bool force_share;    /* do not lock, tolerate writers */
    bool discard_unmap;  /* discard=unmap */
    bool probed;         /* the format was guessed, not given */
    bool temporary;      /* snapshot=on: the file is unlinked after opening */
    bool check;          /* to be checked or repaired: what is broken is no reason to refuse */
    bool no_io;          /* only information is wanted: no key is needed */
    bool no_backing;     /* backing files stay closed */
    unsigned depth;      /* of the chain, to stop loops */
} BlockOpenFlags;

typedef struct NodeUser {
    const void *user;
    char *name;
    bool write;        /* it writes */
    bool share_writes; /* it tolerates that others write */
} NodeUser;

struct BlockNode {
    char *name; /* node-name, given or "#block012" */
    char *filename;
    const BlockDriver *drv;
    void *s; /* the driver's state */
    BlockGraph *graph;
    EventLoop *loop;
    BlockNode *file, *backing; /* referenced */
    int refs;
    bool by_user; /* made by -blockdev/blockdev-add, which holds a reference */
    BlockOpenFlags flags;
    enum { DETECT_ZEROES_OFF, DETECT_ZEROES_ON, DETECT_ZEROES_UNMAP } detect_zeroes;
    uint64_t length; /* bytes */
    BlockLimits limits;
    GArray *users;       /* NodeUser */
    GList *tracked;      /* writes under way, for read-modify-write (io.c) */
    FiberQueue waits;    /* for overlapping ones to end */
    Json *options;       /* as given, for blockdev-reopen */
    GList *bitmaps;      /* BlockBitmap*, see block/bitmap.h */
    bool implicit;       /* a filter that a job put in: monitors do not show it */
    const char *busy;    /* what keeps others from changing the graph here ("mirror"), or NULL */
    uint64_t wr_highest; /* end of the farthest write */
    uint64_t write_threshold; /* bytes; 0: none (block-set-write-threshold) */
};

struct BlockDriver {
    const char *name;
    const char *help;
    size_t state_size;
    bool protocol;      /* a leaf: no `file` child; writes may extend it */
    bool remote;        /* a protocol: another program or machine answers, so each request costs */
    bool no_file;       /* a protocol without a file name (null-co) */
    bool filter;        /* permissions of its users are handed on to `file` */
    bool filter_writes; /* a filter that writes to `file` even if its users only read */
    bool transparent;   /* a filter that shows the data of `file` unchanged: chains pass through */
    bool protocol_like; /* a filter over a protocol: writes may extend it */
    bool childless;     /* no `file`: the driver has children of its own */
    const char *alias;  /* other accepted name, or NULL */
    const char *file_option; /* other name of the option "file" ("image"), or NULL */
    /* 0 (no) to 100 (sure) for the first bytes of an image; formats only. */
    int (*probe)(const uint8_t *buf, size_t len);
    /*
     * Takes its own options out of `o`, opens and validates.  n->file is there
     * already (formats), n->flags are set; sets n->length and n->limits.
     */
    bool (*open)(BlockNode *n, BlockOpts *o, Error **errp);
    void (*close)(BlockNode *n); /* writes back what it must; cannot fail */
    int (*preadv)(BlockNode *n, uint64_t off, const IoVec *v);
    int (*pwritev)(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags);
    int (*flush)(BlockNode *n);
    int (*discard)(BlockNode *n, uint64_t off, uint64_t len);
    /* -ENOTSUP: the caller writes zeroes instead. */
    int (*zero)(BlockNode *n, uint64_t off, uint64_t len, unsigned flags);
    int (*truncate)(BlockNode *n, uint64_t size, BlockPrealloc prealloc, Error **errp);
    int (*map)(BlockNode *n, uint64_t off, uint64_t len, BlockMap *out);
    /* Bytes the host stores for it, or -1. */
    int64_t (*allocated)(BlockNode *n);
    /* The users' needs changed: `write`: somebody writes; `share`: all share. */
    bool (*set_permissions)(BlockNode *n, bool used, bool write, bool share_writes, Error **errp);
    /* The i-th child besides `file` and `backing` and its role; NULL after the last. */
    BlockNode **(*child)(BlockNode *n, unsigned i, const char **role);
    /*
     * n->flags.read_only is about to become `read_only`; children have changed already when
     * writing begins, and change afterwards when it ends.  Quiescent; NULL: nothing to do.
     */
    bool (*reopen)(BlockNode *n, bool read_only, Error **errp);
    /* n->loop is another one now; nothing is under way. */
    void (*loop_changed)(BlockNode *n);
    /* blockdev-reopen of an option of the driver's own. */
    bool (*reopen_option)(BlockNode *n, const char *key, const char *value, Error **errp);
    /* Persistent bitmaps: makes sure that the image says "dirty" for the range (fiber); stores
     * a new one; forgets one. */
    int (*bitmap_dirty)(BlockNode *n, struct BlockBitmap *b, uint64_t off, uint64_t len);
    bool (*bitmap_store)(BlockNode *n, struct BlockBitmap *b, Error **errp);
    bool (*bitmap_remove)(BlockNode *n, struct BlockBitmap *b, Error **errp);
    /* Adds members to the ImageInfo of query-block. */
    void (*info)(BlockNode *n, Json *image);

    /* ---- whole images; any may be NULL.  block/image.h has the functions to call. ---- */
    const BlockCreateOption *create_options; /* ended by a NULL name */
    /*
     * Protocols (`file` NULL): makes what the option "filename" names, empty or of "size"
     * bytes, and overwrites what was there.  Formats: writes an empty image over `file`.
     * Takes its options out of `o` and ends with block_opts_finish().  In a fiber of the control
     * loop (a job) or outside of any (tools): what blocks goes to block_run_blocking(), what
     * opens and closes nodes to block_run_outside().
     */
    bool (*create)(BlockGraph *g, BlockNode *file, BlockOpts *o, Error **errp);
    /* How large such an image would be; `src` (may be NULL) is what will be written to it. */
    bool (*measure)(BlockNode *src, BlockOpts *o, BlockMeasure *out, Error **errp);
    const BlockCreateOption *amend_options;
    int (*amend)(BlockNode *n, BlockOpts *o, bool force, const BlockProgress *p, Error **errp);
    /* `fix`: BLOCK_FIX_*. */
    int (*check)(BlockNode *n, unsigned fix, const BlockProgress *p, BlockCheck *out, Error **errp);
    bool new_is_garbage;      /* a new image does not read as zeroes (encryption) */
    bool supports_backing;    /* its images can name a backing file */
    bool supports_compressed; /* pwritev() takes BLK_COMPRESSED: whole clusters, written once */
    /* Changes the names stored in the image (NULL: none); n->backing stays as it is. */
    int (*change_backing)(BlockNode *n, const char *file, const char *format, Error **errp);
    int (*make_empty)(BlockNode *n, Error **errp); /* all becomes unallocated */
    GPtrArray *(*snapshot_list)(BlockNode *n);     /* BlockSnapshot*, owned by the array */
    int (*snapshot_create)(BlockNode *n, const BlockSnapshot *s, Error **errp);
    /* By id or name; an id goes first. */
    int (*snapshot_apply)(BlockNode *n, const char *which, Error **errp);
    int (*snapshot_delete)(BlockNode *n, const char *which, Error **errp);
    /* From now on the (read-only) node shows this snapshot. */
    int (*snapshot_show)(BlockNode *n, const char *which, Error **errp);
    /* The state of the machine that belongs to the next snapshot, or the applied one. */
    int (*vmstate_preadv)(BlockNode *n, uint64_t off, const IoVec *v);
    int (*vmstate_pwritev)(BlockNode *n, uint64_t off, const IoVec *v);
};

extern const BlockDriver block_driver_file, block_driver_host_device, block_driver_raw,
    block_driver_qcow2, block_driver_null, block_driver_luks, block_driver_vdi, block_driver_vpc,
    block_driver_vhdx, block_driver_qed, block_driver_qcow, block_driver_vmdk, block_driver_nbd,
    block_driver_curl, block_driver_blkdebug, block_driver_blklogwrites, block_driver_compress,
    block_driver_preallocate, block_driver_quorum, block_driver_iscsi, block_driver_nfs,
    block_driver_rbd;

/* ---- graph.c: life ---- */
struct BlockGraph {
    Object *root;
    EventLoop *loop;
    GList *nodes;       /* BlockNode*, all of them */
    GList *backends;    /* BlockBackend*, all of them (weak) */
    GPtrArray *drives;  /* DriveInfo* */
    GPtrArray *drivers; /* const BlockDriver*: built in, and tests' own */
    unsigned next_name; /* for "#block012" */
    unsigned in_flight; /* requests of all backends */
    bool patient;       /* a tool that does one thing: calls that wait keep nobody else waiting */
    bool one_by_one;    /* such a tool that has one request at a time */
    bool tool;          /* no machine uses it */
    BlkErrorHook *error_hook;
    void *error_hook_opaque;
    BlkTrayHook *tray_hook;
    void *tray_hook_opaque;
    GMutex idle_lock; /* guards in_flight for those who wait for it, and `parked` */
    GCond idle_cond;
    EventLoop *control;    /* where jobs end and the graph changes; `loop` if nobody said */
    unsigned quiesce;      /* atomic: requests wait (live.c) */
    unsigned draining;     /* atomic: somebody waits for requests, so nobody holds one back */
    GQueue parked;         /* fibers that wait for `quiesce` to end */
    GList *jobs;           /* Job*, see block/job.h */
    GList *throttles;      /* ThrottleGroup*, see block/throttle.h */
    Json *iscsi;           /* -iscsi: options by target, "" for all; or NULL */
    struct NbdServer *nbd; /* nbd/nbd.h */
    GList *exports;        /* BlockExport*, see block/export.h */
    void (*stop_exports)(BlockGraph *g); /* stops the NBD server, when the graph goes */
    BlockEventHook *event_hook;
    void *event_hook_opaque;
};
/* Tests add drivers of their own (fault injection). */
void block_graph_add_driver(BlockGraph *g, const BlockDriver *drv);
const BlockDriver *block_driver_find(BlockGraph *g, const char *name);
/* A reference is returned; `what` names the node in messages. */
BlockNode *node_open(BlockGraph *g, const Json *options, const BlockOpenFlags *inherit,
                     Error **errp);
/*
 * A file name as users write it ("file:", "json:{…}" or plain), opened by the
 * protocol it names; NULL format: it is probed.
 */
BlockNode *node_open_filename(BlockGraph *g, const char *filename, const char *format,
                              const BlockOpenFlags *flags, Error **errp);
/* The same for a described protocol node; `extra`: more options of the format, or NULL. */
BlockNode *node_open_format(BlockGraph *g, const Json *file, const char *format, const Json *extra,
                            const BlockOpenFlags *flags, Error **errp);
/* The options object for the protocol node of a file name; NULL on error. */
Json *filename_to_options(const char *filename, Error **errp);
/* `name` relative to the folder of `base`, as backing file names are. Caller frees. */
char *filename_combine(const char *base, const char *name);
BlockNode *node_ref(BlockNode *n);
void node_unref(BlockNode *n);
/* The loop's requests come from, for the node and its children. */
void node_set_loop(BlockNode *n, EventLoop *loop);
/* Name of the best matching format: never NULL ("raw"). */
const BlockDriver *node_probe(BlockNode *file, Error **errp);
/* Down to the protocol: the name users know the image by. */
const char *node_filename(const BlockNode *n);

/* Users and their permissions; a conflict names the other user. */
bool node_take(BlockNode *n, const void *user, const char *user_name, bool write, bool share_writes,
               Error **errp);
void node_release(BlockNode *n, const void *user);
NodeUser *node_find_user(BlockNode *n, const void *user); /* or NULL */

/* A new filter node over `child`, not yet in anybody's way; `name` NULL: made up.  The caller
 * holds its one reference.  `s` of drv->state_size is there, zeroed; open() is not called. */
BlockNode *node_new_filter(BlockGraph *g, const BlockDriver *drv, const char *name,
                           BlockNode *child, Error **errp);

/* ---- live.c: the graph while requests run.  Control thread. ---- */
/* Returns when no request of any backend, job or export is under way; new ones wait. */
void block_quiesce(BlockGraph *g);
void block_unquiesce(BlockGraph *g);
/* Returns when nothing is under way, as far as it is known by block_enter_within(), too. */
void block_wait_idle(BlockGraph *g);
/* What a job or an export does in its fibers is bracketed by these, so that it can be waited
 * for.  Enter waits while the graph is quiescent. */
void block_enter(BlockGraph *g, EventLoop *loop);
void block_leave(BlockGraph *g);
/* The same for work that a request under way has begun and may not wait for: never waits. */
void block_enter_within(BlockGraph *g);
/*
 * Whoever has `from` as a child or root has `to` instead, except nodes below `to` and `keep`
 * (may be NULL).  All or nothing.  Quiescent.
 */
bool node_replace(BlockNode *from, BlockNode *to, const BlockNode *keep, Error **errp);
/* Another backing node, or none; quiescent.  The name within the image stays as it is. */
bool node_set_backing(BlockNode *n, BlockNode *backing, Error **errp);
/* Is `below` reachable from `n`, or n itself? */
bool node_contains(BlockNode *n, const BlockNode *below);
/* Opens the node and what lies below it for writing, or for reading only.  Quiescent. */
bool node_reopen(BlockNode *n, bool read_only, Error **errp);
bool block_reopen(BlockGraph *g, const Json *options, Error **errp); /* blockdev-reopen */
/* The child at place i of a node, with its role; NULL after the last.  Slots may be empty. */
BlockNode **node_child(BlockNode *n, unsigned i, const char **role);
/* By node name, by the id of a drive, or by a device's: the topmost node.  `what` for messages. */
BlockNode *block_lookup(BlockGraph *g, const char *name, Error **errp);
/* False with an error that says which job is at work there. */
bool node_check_free(const BlockNode *n, Error **errp);
/* Takes `data` over. Any thread. */
void block_event(BlockGraph *g, const char *name, Json *data);

/* ---- chain.c: chains of backing nodes ---- */
/* The node whose data show through where `n` has none: below a filter its file. */
BlockNode *node_below(BlockNode *n);
/* Through filters down to what stores data. */
BlockNode *node_skip_filters(BlockNode *n);
/* Is `base` in the chain below `top`, or top itself? */
bool chain_has(BlockNode *top, const BlockNode *base);
/*
 * What lies at `off` in the layers from `top` down to, and without, `base` (NULL: all).
 * BLOCK_MAP_DATA, BLOCK_MAP_ZERO, or 0: none of them holds it.  *pnum: bytes for which it holds.
 */
int chain_map(BlockNode *top, const BlockNode *base, uint64_t off, uint64_t len, unsigned *flags,
              uint64_t *pnum);

/* ---- io.c: requests among nodes ---- */
int node_preadv(BlockNode *n, uint64_t off, const IoVec *v);
int node_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags);
int node_pread(BlockNode *n, uint64_t off, void *buf, size_t len);
int node_pwrite(BlockNode *n, uint64_t off, const void *buf, size_t len, unsigned flags);
int node_flush(BlockNode *n);
int node_discard(BlockNode *n, uint64_t off, uint64_t len);
int node_zero(BlockNode *n, uint64_t off, uint64_t len, unsigned flags);
int node_truncate(BlockNode *n, uint64_t size, Error **errp);
/* The same with space for what is new. -ENOTSUP and a message if the driver cannot. */
int node_resize(BlockNode *n, uint64_t size, BlockPrealloc prealloc, Error **errp);
/* What this node itself says about [off, off + len), len > 0; out->file is set. */
int node_map(BlockNode *n, uint64_t off, uint64_t len, BlockMap *out);
/*
 * What readers of `n` see there: down the chain of backing nodes until one decides, and below
 * it where holes of the file are known to be zeroes.  `base` (or NULL) is not looked at any
 * more: flags without BLOCK_MAP_ALLOCATED mean that it (or nothing) decides.  *depth (may be
 * NULL): how many backing nodes down the answer was found.
 */
int node_map_chain(BlockNode *n, BlockNode *base, uint64_t off, uint64_t len, BlockMap *out,
                   unsigned *depth);
/* Lets time pass on the host: a fiber yields, others sleep. */
void node_sleep(BlockNode *n, int64_t ns);
/* Runs work(opaque) on a worker thread, or directly outside of a fiber. */
int node_run_blocking(BlockNode *n, int (*work)(void *opaque), void *opaque);
/* The same for a fiber of the control loop that has no node yet. */
int block_run_blocking(BlockGraph *g, int (*work)(void *opaque), void *opaque);
/* For a fiber of the control loop: runs work(opaque) there but outside of any fiber, as opening
 * and closing of nodes demands. */
int block_run_outside(BlockGraph *g, int (*work)(void *opaque), void *opaque);
/* Only zero bytes? */
bool buffer_is_zero(const void *buf, size_t len);
bool iovec_is_zero(const IoVec *v);
/* A list of the bytes [off, off + len) of v; iovec_free() it. */
void iovec_slice(IoVec *out, const IoVec *v, size_t off, size_t len);

/* ---- blkdebug.c: places in the code at which a filter "blkdebug" may be told to act ---- */
typedef enum BlkEvent {
    BLKEV_NONE,
    BLKEV_L1_UPDATE,
    BLKEV_L1_GROW_ALLOC_TABLE,
    BLKEV_L1_GROW_WRITE_TABLE,
    BLKEV_L1_GROW_ACTIVATE_TABLE,
    BLKEV_L2_LOAD,
    BLKEV_L2_UPDATE,
    BLKEV_L2_UPDATE_COMPRESSED,
    BLKEV_L2_ALLOC_COW_READ,
    BLKEV_L2_ALLOC_WRITE,
    BLKEV_READ_AIO,
    BLKEV_READ_BACKING_AIO,
    BLKEV_READ_COMPRESSED,
    BLKEV_WRITE_AIO,
    BLKEV_WRITE_COMPRESSED,
    BLKEV_VMSTATE_LOAD,
    BLKEV_VMSTATE_SAVE,
    BLKEV_COW_READ,
    BLKEV_COW_WRITE,
    BLKEV_REFTABLE_LOAD,
    BLKEV_REFTABLE_GROW,
    BLKEV_REFTABLE_UPDATE,
    BLKEV_REFBLOCK_LOAD,
    BLKEV_REFBLOCK_UPDATE,
    BLKEV_REFBLOCK_ALLOC,
    BLKEV_REFBLOCK_ALLOC_HOOKUP,
    BLKEV_REFBLOCK_ALLOC_WRITE_BLOCKS,
    BLKEV_REFBLOCK_ALLOC_WRITE_TABLE,
    BLKEV_REFBLOCK_ALLOC_SWITCH_TABLE,
    BLKEV_CLUSTER_ALLOC,
    BLKEV_CLUSTER_ALLOC_BYTES,
    BLKEV_CLUSTER_FREE,
    BLKEV_FLUSH_TO_OS,
    BLKEV_FLUSH_TO_DISK,
    BLKEV_PWRITEV_RMW_HEAD,
    BLKEV_PWRITEV_RMW_AFTER_HEAD,
    BLKEV_PWRITEV_RMW_TAIL,
    BLKEV_PWRITEV_RMW_AFTER_TAIL,
    BLKEV_PWRITEV,
    BLKEV_PWRITEV_ZERO,
    BLKEV_PWRITEV_DONE,
    BLKEV_EMPTY_IMAGE_PREPARE,
    BLKEV_L1_SHRINK_WRITE_TABLE,
    BLKEV_L1_SHRINK_FREE_L2_CLUSTERS,
    BLKEV_COR_WRITE,
    BLKEV_COUNT,
} BlkEvent;
extern const char *const blkdebug_event_names[]; /* by BlkEvent; NULL at the end */
void blkdebug_event(BlockNode *n, BlkEvent e);
/* `n` is about to be asked for what the event says; nothing unless it is such a filter. */
static inline void node_event(BlockNode *n, BlkEvent e)
{
    if (G_UNLIKELY(n->drv == &block_driver_blkdebug)) {
        blkdebug_event(n, e);
    }
}

/* ---- opts.c: options of a node, with every mistake reported at once ---- */
/* `what` for messages: "-drive", "blockdev". Borrowed; must outlive. */
BlockOpts *block_opts_new(const Json *options, const char *what);
void block_opts_free(BlockOpts *o);
bool block_opts_has(const BlockOpts *o, const char *key);
Json *block_opts_take(BlockOpts *o, const char *key); /* borrowed, NULL if absent */
const char *block_opts_string(BlockOpts *o, const char *key, const char *def);
bool block_opts_bool(BlockOpts *o, const char *key, bool def);
uint64_t block_opts_uint(BlockOpts *o, const char *key, uint64_t def, uint64_t min, uint64_t max);
uint64_t block_opts_size(BlockOpts *o, const char *key, uint64_t def);
int block_opts_enum(BlockOpts *o, const char *key, const char *const *names, int def);
void block_opts_mistake(BlockOpts *o, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* Notes what nobody took; false and one error if there was any mistake. */
bool block_opts_finish(BlockOpts *o, Error **errp);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlockOpts, block_opts_free)

#endif
