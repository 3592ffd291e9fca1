/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block/image.h: what is done with whole images: making, measuring, checking, changing,
 * snapshots.  For tools, jobs and monitors; drivers implement it by callbacks of
 * BlockDriver (block/node.h).
 *
 * Threads: the control thread, or a fiber of the node's loop; all of it may block.
 * Results are 0 or a negative errno with a message, or bool with a message.
 */
#ifndef RHEA_BLOCK_IMAGE_H
#define RHEA_BLOCK_IMAGE_H

#include "block/node.h"

/* An option of -o, by QEMU's name. */
struct BlockCreateOption {
    const char *name; /* NULL: end of the table */
    const char *type; /* "size", "bool", "num", "str", or the words allowed: "a|b|c" */
    const char *help;
};

/* Long work reports how far it is, and is told to stop. */
struct BlockProgress {
    /* false: stop, with -ECANCELED. `total` may grow. */
    bool (*report)(void *opaque, uint64_t done, uint64_t total);
    /* A line for the user about what was found (check), without its newline; may be NULL. */
    void (*message)(void *opaque, const char *text);
    void *opaque;
};
/* `p` and its callbacks may be NULL. */
bool block_progress(const BlockProgress *p, uint64_t done, uint64_t total);
void block_progress_message(const BlockProgress *p, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

struct BlockMeasure {
    uint64_t required;        /* bytes for what is written */
    uint64_t fully_allocated; /* bytes if all of it is written */
    bool has_bitmaps;
    uint64_t bitmaps; /* bytes more for the source's bitmaps */
};

#define BLOCK_FIX_LEAKS (1u << 0)
#define BLOCK_FIX_ERRORS (1u << 1)
struct BlockCheck {
    uint64_t corruptions, leaks; /* left */
    uint64_t corruptions_fixed, leaks_fixed;
    uint64_t check_errors; /* what could not be looked at */
    uint64_t image_end;    /* offset of the end of what is in use; 0: unknown */
    uint64_t total, allocated, fragmented, compressed; /* clusters; total 0: unknown */
};

struct BlockSnapshot {
    char *id, *name;
    uint64_t vm_state_size; /* bytes */
    uint32_t date_sec, date_nsec;
    uint64_t vm_clock_ns;
    uint64_t icount;    /* UINT64_MAX: none */
    uint64_t disk_size; /* bytes */
};
void block_snapshot_free(BlockSnapshot *s);
GPtrArray *block_snapshot_array(void); /* frees its BlockSnapshots */

/*
 * Makes the file `filename` (by its protocol) and in it an empty image of `format`.
 * `options`: names of the driver's create_options and of the protocol's, typed or as
 * strings; all mistakes at once.  With "backing_file" and no "size" the size is the
 * backing image's, which is opened for that unless `unsafe`.  On failure a file that was
 * not there before is removed again.
 */
bool image_create(BlockGraph *g, const char *filename, const char *format, const Json *options,
                  bool unsafe, Error **errp);
/* Drivers that can create, for help texts and for naming a nearest one. */
const BlockDriver *image_format_find(BlockGraph *g, const char *format, bool for_create,
                                     Error **errp);
bool image_measure(BlockGraph *g, const char *format, BlockNode *src, const Json *options,
                   BlockMeasure *out, Error **errp);
int image_check(BlockNode *n, unsigned fix, const BlockProgress *p, BlockCheck *out, Error **errp);
int image_amend(BlockNode *n, const Json *options, bool force, const BlockProgress *p,
                Error **errp);
int image_change_backing(BlockNode *n, const char *file, const char *format, Error **errp);
int image_make_empty(BlockNode *n, Error **errp);
/* Snapshots inside the image; -ENOTSUP and a message where the format has none. */
bool image_has_snapshots(BlockNode *n); /* its format, or the protocol below it, can have some */
GPtrArray *image_snapshot_list(BlockNode *n); /* never NULL; free with g_ptr_array_unref() */
int image_snapshot_create(BlockNode *n, const BlockSnapshot *s, Error **errp);
int image_snapshot_apply(BlockNode *n, const char *which, Error **errp);
int image_snapshot_delete(BlockNode *n, const char *which, Error **errp);
int image_snapshot_show(BlockNode *n, const char *which, Error **errp);
int image_vmstate_preadv(BlockNode *n, uint64_t off, const IoVec *v);
int image_vmstate_pwritev(BlockNode *n, uint64_t off, const IoVec *v);
/* QEMU's ImageInfo of a node (filename, format, sizes, format-specific, snapshots …). */
Json *image_info(BlockNode *n);

/*
 * Runs fn(opaque) in a fiber on the graph's loop and serves that loop until it has ended:
 * for tools, whose only thread this is.
 */
void block_run_fiber(BlockGraph *g, FiberFn *fn, void *opaque);

#endif
