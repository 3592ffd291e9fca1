/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block/qcow2/qcow2.h: the format qcow2, versions 2 and 3 (specification:
 * "qcow2 image format" of the QEMU project's interoperability documents).
 *
 * Order of changes: own, fill, publish, release.  A cluster is counted first, then
 * filled, then pointed to; what it replaces is released last.  In memory this goes
 * in any order; qcow2_sync() writes it out in four steps with a flush of the file
 * between them: refcount blocks, refcount table, L2 tables, L1 table.  What was
 * released stays counted until the step that stopped pointing to it is durable, and
 * is not reused before.  So a crash at any write at worst leaks clusters.
 *
 * Locks (of fibers): `lock` guards all metadata in memory; `sync_lock` is held by
 * the one qcow2_sync() under way and is taken before it.  Ranges of the guest's
 * disk are claimed, shared by reads and writes in place, exclusively by whatever
 * changes the mapping; so a mapping looked up stays true while it is used.
 */
#ifndef RHEA_BLOCK_QCOW2_H
#define RHEA_BLOCK_QCOW2_H

#include "block/image.h"

/* ---- creating (tests, snapshot=on, tools) ---- */
typedef struct Qcow2CreateOptions {
    uint64_t size;           /* bytes */
    unsigned version;        /* 2 or 3; 0: 3 */
    unsigned cluster_bits;   /* 9 to 21; 0: 16 */
    int refcount_order;      /* 0 to 6; -1 or 0 with version 0: 4 (16 bits) */
    bool refcount_order_set; /* refcount_order is meant even if 0 */
    bool zstd;
    bool lazy_refcounts;
    bool extended_l2;
    const char *backing_file, *backing_format; /* NULL: none */
    const char *data_file;                     /* NULL: guest data lies in the image itself */
    bool data_file_raw;
    const uint8_t *crypto_header; /* LUKS; NULL: not encrypted */
    uint64_t crypto_length;
    uint64_t crypto_offset; /* set by qcow2_create() for itself */
} Qcow2CreateOptions;
/* Overwrites the protocol node's contents with an empty image. */
bool qcow2_create(BlockNode *file, const Qcow2CreateOptions *o, Error **errp);
/* BlockDriver.create and .measure, and the options they take (options.c). */
bool qcow2_create_image(BlockGraph *g, BlockNode *file, BlockOpts *o, Error **errp);
bool qcow2_measure(BlockNode *src, BlockOpts *o, BlockMeasure *out, Error **errp);
extern const BlockCreateOption qcow2_create_options[], qcow2_amend_options[];

/* ---- the format ---- */
#define QCOW2_MAGIC 0x514649fbu
#define QCOW2_INCOMPAT_DIRTY BIT(0)
#define QCOW2_INCOMPAT_CORRUPT BIT(1)
#define QCOW2_INCOMPAT_DATA_FILE BIT(2)
#define QCOW2_INCOMPAT_COMPRESSION BIT(3)
#define QCOW2_INCOMPAT_EXTL2 BIT(4)
#define QCOW2_COMPAT_LAZY_REFCOUNTS BIT(0)
#define QCOW2_AUTOCLEAR_BITMAPS BIT(0)
#define QCOW2_AUTOCLEAR_DATA_RAW BIT(1)
#define QCOW2_EXT_BACKING_FORMAT 0xe2792acau
#define QCOW2_EXT_FEATURE_NAMES 0x6803f857u
#define QCOW2_EXT_CRYPTO 0x0537be77u
#define QCOW2_EXT_BITMAPS 0x23852875u
#define QCOW2_EXT_DATA_FILE 0x44415441u
#define QCOW2_L1_OFFSET_MASK 0x00fffffffffffe00ull
#define QCOW2_L2_OFFSET_MASK 0x00fffffffffffe00ull
#define QCOW2_COPIED BIT(63)
#define QCOW2_COMPRESSED BIT(62)
#define QCOW2_ZERO BIT(0)
/* Offsets in the header of what is changed in place. */
#define QCOW2_HDR_SIZE 24
#define QCOW2_HDR_L1 36        /* u32 entries, u64 offset */
#define QCOW2_HDR_REFTABLE 48  /* u64 offset, u32 clusters */
#define QCOW2_HDR_INCOMPAT 72  /* u64 */
#define QCOW2_HDR_AUTOCLEAR 88 /* u64 */
#define QCOW2_MAX_L1_BYTES (32u << 20)
#define QCOW2_MAX_REFTABLE_BYTES (8u << 20)
#define QCOW2_MAX_SNAPSHOTS 65536u
#define QCOW2_MAX_SNAPSHOT_BYTES (64u << 20)

typedef struct Qcow2Cache Qcow2Cache;
typedef struct Qcow2Range Qcow2Range;

typedef struct Qcow2Snapshot {
    uint64_t l1_offset;
    uint32_t l1_size;
    char *id, *name;
    uint32_t date_sec, date_nsec;
    uint64_t vm_clock_ns, vm_state_size;
    uint64_t disk_size, icount; /* icount UINT64_MAX: none */
    uint8_t *extra;             /* what follows those two in the image */
    uint32_t extra_len;
} Qcow2Snapshot;

/* A header extension that is kept as it is. */
typedef struct Qcow2Extension {
    uint32_t magic, len;
    uint8_t *data;
} Qcow2Extension;

/* An L2 entry; `bitmap` only with extended entries. */
typedef struct Qcow2Entry {
    uint64_t e, bitmap;
} Qcow2Entry;

/* A table in memory (host order), its place on disk, and which 512-byte parts changed. */
typedef struct Qcow2Table {
    uint64_t *entries;
    uint64_t n;      /* entries in use */
    uint64_t offset; /* on disk */
    uint8_t *dirty;  /* one byte for each 64 entries */
    bool any_dirty;
} Qcow2Table;

typedef struct Qcow2Release {
    uint64_t offset, len; /* bytes; every cluster touched loses one reference */
    bool punch;           /* give the space back to the host */
} Qcow2Release;

/* What a cluster of the file is used for, as far as it is known without reading. */
enum {
    QCOW2_META_HEADER = 1,
    QCOW2_META_L1 = 2,
    QCOW2_META_L2 = 4,
    QCOW2_META_REFTABLE = 8,
    QCOW2_META_REFBLOCK = 16,
    QCOW2_META_SNAPSHOTS = 32,
    QCOW2_META_CRYPTO = 64,
    QCOW2_META_BITMAPS = 128,
};

typedef struct Qcow2Decompressed {
    uint64_t entry; /* the L2 entry; 0: empty */
    uint8_t *data;
} Qcow2Decompressed;

typedef struct Qcow2 {
    BlockNode *n;
    uint32_t version, cluster_bits, header_length;
    uint64_t cluster_size;
    uint32_t refcount_order;
    uint64_t refcount_max;
    uint64_t rb_entries;      /* refcounts in one block */
    uint64_t l2_entries;      /* in one table */
    unsigned entry_size;      /* bytes of an L2 entry: 8, extended 16 */
    unsigned subcluster_bits; /* without extended entries: cluster_bits */
    unsigned subclusters;     /* of a cluster: 1 or 32 */
    uint64_t incompat, compat, autoclear;
    uint8_t compression; /* 0 zlib, 1 zstd */
    char *backing_file, *backing_format;
    uint64_t snapshots_offset;
    uint32_t n_snapshots;
    uint64_t snapshots_bytes;
    Qcow2Snapshot *snapshots;
    GArray *extensions;  /* Qcow2Extension: those that nothing here understands */
    char *data_file;     /* as the header names it, or NULL */
    BlockNode *external; /* the data file, referenced, or NULL */
    struct Luks *luks;   /* guest data are encrypted, or NULL */
    struct Cipher *aes;  /* the same by the old method, numbered by guest offset: read only */
    uint64_t crypto_offset, crypto_length;
    uint32_t crypt_method;                  /* 0 or 2 (LUKS) */
    uint64_t bitmaps_offset, bitmaps_bytes; /* the bitmap directory; 0: none */
    uint32_t n_bitmaps;
    GPtrArray *bitmaps;     /* Qcow2Bitmap*, as in the directory */
    FiberMutex bitmap_lock; /* changes of what is stored of them */
    uint64_t shown_length;  /* while a snapshot is shown: the node's own length */

    FiberMutex lock, sync_lock;
    Qcow2Table l1, rt;
    uint32_t rt_clusters;
    Qcow2Cache *l2_cache, *rb_cache;
    size_t rb_cache_bytes;
    GHashTable *meta;    /* cluster index -> QCOW2_META_* */
    GArray *release;     /* Qcow2Release, waiting for the next sync */
    uint64_t free_hint;  /* no free cluster below (cluster index) */
    uint64_t high_water; /* clusters from here on were never used: they read as zeroes */
    uint64_t pack_at;    /* where the next compressed cluster may go; 0: nowhere yet */
    bool corrupt;        /* found to be: no more writes */
    bool stuck;          /* the file may or may not have a change: no more allocations */
    bool pass_request, pass_other;
    bool sparse_data; /* clusters that were reserved may be holes of the file */

    GQueue ranges; /* Qcow2Range*, in order of arrival */
    FiberQueue range_wait;
    Qcow2Decompressed unpacked[4];
    unsigned unpacked_next;
} Qcow2;

static inline uint64_t qcow2_cluster_start(const Qcow2 *s, uint64_t off)
{
    return off & ~(s->cluster_size - 1);
}
static inline uint64_t qcow2_clusters(const Qcow2 *s, uint64_t bytes)
{
    return (bytes >> s->cluster_bits) + ((bytes & (s->cluster_size - 1)) != 0);
}

static inline BlockNode *qcow2_data(const Qcow2 *s)
{
    return s->external ? s->external : s->n->file;
}
static inline bool qcow2_extended(const Qcow2 *s)
{
    return s->subclusters > 1;
}
static inline bool qcow2_has_data_file(const Qcow2 *s)
{
    return s->external != NULL;
}

/* header.c */
bool qcow2_read_header(Qcow2 *s, Error **errp);
bool qcow2_read_snapshots(Qcow2 *s, Error **errp);
void qcow2_snapshots_free(Qcow2 *s);
int qcow2_write_incompat(Qcow2 *s, uint64_t value); /* version 3 only */
int qcow2_write_autoclear(Qcow2 *s, uint64_t value);
/* Notes a contradiction in the image, says so, forbids further writes. -EIO. */
int qcow2_corrupt(Qcow2 *s, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

/* header-write.c */
/*
 * The header of what `s` says now, and the flush: only the parts that differ are written.
 * -ENOSPC: it does not fit into a cluster.
 */
int qcow2_write_header(Qcow2 *s);
/*
 * The same in two steps: what can fail without a trace comes in the first, so that after a failure
 * of the second, and only then, the header on disk may be the old or the new one.
 */
typedef struct Qcow2HeaderEdit {
    uint8_t *now, *old;
} Qcow2HeaderEdit;
int qcow2_header_prepare(Qcow2 *s, Qcow2HeaderEdit *e);
int qcow2_header_commit(Qcow2 *s, Qcow2HeaderEdit *e);
void qcow2_header_edit_free(Qcow2HeaderEdit *e);
/* The header as bytes of the first cluster (zeroed); false: no room. */
bool qcow2_build_header(const Qcow2 *s, uint8_t *h);

/* table.c: the L1 and refcount tables; metadata map */
bool qcow2_table_load(Qcow2 *s, Qcow2Table *t, const char *what, Error **errp);
void qcow2_table_set(Qcow2Table *t, uint64_t i, uint64_t v);
/* `n` entries of zeroes, clean, which lie at `offset`. false: no memory. */
bool qcow2_table_new(Qcow2Table *t, uint64_t n, uint64_t offset);
/* `fresh` takes the place of `t`, whose memory goes; `fresh` is empty afterwards. */
void qcow2_table_replace(Qcow2Table *t, Qcow2Table *fresh);
void qcow2_table_free(Qcow2Table *t);
/* A copy of the changed parts, which count as clean from now on; *out NULL: none. */
typedef struct Qcow2TableCopy Qcow2TableCopy;
int qcow2_table_take_dirty(Qcow2Table *t, Qcow2TableCopy **out);
int qcow2_table_write_copy(Qcow2 *s, const Qcow2TableCopy *c);
/* Marks the parts dirty again after a failure. */
void qcow2_table_restore_dirty(Qcow2Table *t, const Qcow2TableCopy *c);
void qcow2_table_copy_free(Qcow2TableCopy *c);
void qcow2_meta_add(Qcow2 *s, uint64_t offset, uint64_t len, unsigned kind);
void qcow2_meta_del(Qcow2 *s, uint64_t offset, uint64_t len, unsigned kind);
void qcow2_meta_build(Qcow2 *s);
unsigned qcow2_meta_kind(const Qcow2 *s, uint64_t cluster); /* QCOW2_META_*, or 0 */
/* 0, or -EIO and marked corrupt if something else than `allowed` lies there. */
int qcow2_check_overlap(Qcow2 *s, uint64_t offset, uint64_t len, unsigned allowed,
                        const char *what);

/* cache.c: slices of L2 tables and refcount blocks.  All under `lock`. */
Qcow2Cache *qcow2_cache_new(Qcow2 *s, unsigned kind, size_t slice, size_t max_bytes);
void qcow2_cache_free(Qcow2Cache *c);
size_t qcow2_cache_slice(const Qcow2Cache *c);
/*
 * The slice that holds byte `offset` of the file, which is a multiple of the slice's
 * size.  The pointer is good until the next call for this cache, or the unlock.
 */
int qcow2_cache_get(Qcow2Cache *c, uint64_t offset, void **data);
/* Zeroes; dirty; not read. NULL: no memory. */
void *qcow2_cache_new_slice(Qcow2Cache *c, uint64_t offset);
void qcow2_cache_dirty(Qcow2Cache *c, uint64_t offset);
void qcow2_cache_drop(Qcow2Cache *c, uint64_t offset, uint64_t len);
bool qcow2_cache_crowded(const Qcow2Cache *c); /* many dirty slices: a sync is due */
bool qcow2_cache_any_dirty(const Qcow2Cache *c);
int qcow2_cache_write_dirty(Qcow2Cache *c);
/* As with tables: copies of the dirty slices, written later without the lock. */
int qcow2_cache_copy_dirty(Qcow2Cache *c, GArray **out);
int qcow2_cache_write_copies(Qcow2Cache *c, GArray *copies);
void qcow2_cache_copies_done(Qcow2Cache *c, GArray *copies); /* those not changed since */
void qcow2_cache_copies_free(GArray *copies);

/* refcount.c.  All under `lock`. */
int qcow2_refcount_get(Qcow2 *s, uint64_t cluster, uint64_t *value);
int qcow2_refcount_set(Qcow2 *s, uint64_t cluster, uint64_t value);
/* 1 to `max` clusters in a row, counted once; *got of them from the returned offset. */
int64_t qcow2_alloc(Qcow2 *s, uint64_t max, uint64_t *got);
int64_t qcow2_alloc_exact(Qcow2 *s, uint64_t n);
/* `size` bytes for a compressed cluster, counted; an offset or -errno. */
int64_t qcow2_alloc_bytes(Qcow2 *s, uint64_t size);
/* Undoes that, for bytes that nothing points to. */
void qcow2_free_bytes(Qcow2 *s, uint64_t offset, uint64_t size);
/* References to all clusters that [offset, offset + len) touches: `delta` more. */
int qcow2_refcount_add(Qcow2 *s, uint64_t offset, uint64_t len, int delta);
/* For clusters that nothing on disk ever pointed to. */
void qcow2_free_unpublished(Qcow2 *s, uint64_t offset, uint64_t clusters);
/* Drops a reference after the next sync. */
void qcow2_release(Qcow2 *s, uint64_t offset, uint64_t len, bool punch);
/* Does what was asked for by qcow2_release() before `list` was taken. */
int qcow2_release_apply(Qcow2 *s, GArray *list);

/* sync.c */
int qcow2_sync(Qcow2 *s); /* not under `lock` */

/* map.c */
typedef enum Qcow2Kind {
    QCOW2_UNALLOCATED, /* what lies below is seen; there may be a cluster (extended entries) */
    QCOW2_ZERO_PLAIN,
    QCOW2_ZERO_ALLOC,
    QCOW2_NORMAL,
    QCOW2_PACKED,
} Qcow2Kind;
typedef struct Qcow2Map {
    Qcow2Kind kind;
    bool copied;
    uint64_t host;  /* of the byte asked for */
    uint64_t entry; /* raw, of the first cluster */
    uint64_t len;   /* bytes from the offset for which this holds; at least 1 */
} Qcow2Map;
/* Entry `i` of a slice. */
static inline Qcow2Entry qcow2_l2_get(const Qcow2 *s, const uint64_t *slice, unsigned i)
{
    if (s->subclusters == 1) {
        return (Qcow2Entry){BITS_BE64(slice[i]), 0};
    }
    return (Qcow2Entry){BITS_BE64(slice[i * 2]), BITS_BE64(slice[i * 2 + 1])};
}
static inline void qcow2_l2_put(const Qcow2 *s, uint64_t *slice, unsigned i, Qcow2Entry v)
{
    if (s->subclusters == 1) {
        slice[i] = BITS_BE64(v.e);
    } else {
        slice[i * 2] = BITS_BE64(v.e);
        slice[i * 2 + 1] = BITS_BE64(v.bitmap);
    }
}
/* Of subcluster `sub` (0 without extended entries). */
Qcow2Kind qcow2_entry_kind(const Qcow2 *s, Qcow2Entry entry, unsigned sub);
/* Does it point to a whole cluster (not a compressed one)? */
bool qcow2_entry_has_host(const Qcow2 *s, uint64_t e);
/* Where a compressed cluster lies: byte offset and length in whole sectors. */
void qcow2_packed_extent(const Qcow2 *s, uint64_t entry, uint64_t *offset, uint64_t *len);
/* Under `lock`. */
int qcow2_map(Qcow2 *s, uint64_t off, uint64_t len, Qcow2Map *m);
/*
 * The slice of the L2 table for guest offset `off`, for changing: the table is made,
 * or made our own, if need be.  *index: of the entry, *n: entries up to the slice's
 * end, *where: the slice's offset for qcow2_cache_dirty().  Under `lock`.
 */
int qcow2_l2_for_write(Qcow2 *s, uint64_t off, uint64_t **slice, unsigned *index, unsigned *n,
                       uint64_t *where);
/* Drops what an entry that has been replaced held. */
void qcow2_release_entry(Qcow2 *s, uint64_t e, bool punch);

/* range.c */
struct Qcow2Range {
    uint64_t start, end;
    bool exclusive;
};
void qcow2_range_begin(Qcow2 *s, Qcow2Range *r, uint64_t off, uint64_t len, bool exclusive);
void qcow2_range_end(Qcow2 *s, Qcow2Range *r);

/* data.c */
int qcow2_preadv(BlockNode *n, uint64_t off, const IoVec *v);
int qcow2_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags);
/* For whoever holds an exclusive claim on the range. */
int qcow2_write_claimed(Qcow2 *s, uint64_t off, const IoVec *v);
/* Host bytes that hold guest data, decrypted or encrypted on the way. */
int qcow2_data_read(Qcow2 *s, uint64_t host, const IoVec *v);
int qcow2_data_write(Qcow2 *s, uint64_t host, const IoVec *v);

/* erase.c */
int qcow2_discard(BlockNode *n, uint64_t off, uint64_t len);
int qcow2_zero(BlockNode *n, uint64_t off, uint64_t len, unsigned flags);
/* Entries that read as zeroes become holes; nothing lies below. */
int qcow2_make_hole(Qcow2 *s, uint64_t off, uint64_t len);
int qcow2_make_empty(BlockNode *n, Error **errp);

/* pack.c: compressed clusters */
/* `data` is borrowed until the next call or yield */
int qcow2_unpack(Qcow2 *s, uint64_t entry, const uint8_t **data);
/*
 * Several whole clusters at once, as many as are compressed from `off` (the start of one) on:
 * bytes read; 0: fewer than two.
 */
int64_t qcow2_unpack_run(Qcow2 *s, uint64_t off, const IoVec *v);
/* Whole clusters (or up to the disk's end), stored compressed where that makes them smaller. */
int qcow2_write_packed(Qcow2 *s, uint64_t off, const IoVec *v);
/* Under `lock`: the cluster is free again, so what was unpacked from it is no longer true. */
void qcow2_unpacked_forget(Qcow2 *s, uint64_t cluster);

/* snapshot.c */
GPtrArray *qcow2_snapshot_list(BlockNode *n);
int qcow2_snapshot_create(BlockNode *n, const BlockSnapshot *s, Error **errp);
int qcow2_snapshot_apply(BlockNode *n, const char *which, Error **errp);
int qcow2_snapshot_delete(BlockNode *n, const char *which, Error **errp);
int qcow2_snapshot_show(BlockNode *n, const char *which, Error **errp);
/* L1 entries from `first` on point to nothing any more, durably, and their clusters are free. */
int qcow2_drop_l1_from(Qcow2 *s, uint64_t first);
int qcow2_vmstate_preadv(BlockNode *n, uint64_t off, const IoVec *v);
int qcow2_vmstate_pwritev(BlockNode *n, uint64_t off, const IoVec *v);

/* resize.c */
int qcow2_truncate(BlockNode *n, uint64_t size, BlockPrealloc prealloc, Error **errp);
/* The L1 table covers guest offsets below `end`. */
int qcow2_cover(Qcow2 *s, uint64_t end);
/* Clusters for all of [from, to) that has none yet, reading as zeroes. */
int qcow2_preallocate(Qcow2 *s, uint64_t from, uint64_t to, BlockPrealloc mode);

/* amend.c */
int qcow2_amend(BlockNode *n, BlockOpts *o, bool force, const BlockProgress *p, Error **errp);
int qcow2_change_backing(BlockNode *n, const char *file, const char *format, Error **errp);

/* bitmap.c */
typedef struct Qcow2Bitmap Qcow2Bitmap;
bool qcow2_bitmaps_load(Qcow2 *s, Error **errp);
void qcow2_bitmaps_free(Qcow2 *s);
bool qcow2_bitmap_store(BlockNode *n, struct BlockBitmap *b, Error **errp);
bool qcow2_bitmap_remove(BlockNode *n, struct BlockBitmap *b, Error **errp);
int qcow2_bitmap_dirty(BlockNode *n, struct BlockBitmap *b, uint64_t off, uint64_t len);
/*
 * The disk is about to get `size` bytes: what is new is marked in the image first, in tables that
 * are long enough; then the image is right for the old size and for the new one.
 */
int qcow2_bitmaps_before_growing(Qcow2 *s, uint64_t size);
int qcow2_bitmaps_after_shrinking(Qcow2 *s); /* tables that are too long become shorter */
int qcow2_bitmaps_store_all(Qcow2 *s);       /* the exact bits */
Json *qcow2_bitmaps_info(const Qcow2 *s);

/* check.c */
int qcow2_check(BlockNode *n, unsigned fix, const BlockProgress *p, BlockCheck *out, Error **errp);
/* For images that were not closed properly: counts all references anew. */
bool qcow2_repair_refcounts(Qcow2 *s, Error **errp);

#endif
