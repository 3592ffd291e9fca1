/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block/block.h: disks, as devices, exports, jobs and tools see them.
 *
 * A graph of BlockNodes (protocols, formats, filters; block/node.h is for those
 * who implement one) stands below BlockBackends; a backend is what a device's
 * `drive=` property holds: it has a root node (or none: an empty tray), the
 * device's view of media change, error policy and statistics.
 *
 * Threads: a backend and its nodes belong to one device loop; requests are
 * submitted with its lock held and complete on it.  Opening and closing happen
 * on the control thread.  Inside, requests are fibers.
 */
#ifndef RHEA_BLOCK_BLOCK_H
#define RHEA_BLOCK_BLOCK_H

#include "event/loop.h"
#include "qom/object.h"
#include "util/fiber.h"
#include "util/iov.h"

typedef struct BlockGraph BlockGraph; /* all nodes of one machine or tool */
typedef struct BlockNode BlockNode;
typedef struct BlockBackend BlockBackend; /* an Object of type "block-backend" */
#define TYPE_BLOCK_BACKEND "block-backend"

#define BLOCK_SECTOR 512u

/* Request flags. */
#define BLK_FUA (1u << 0)         /* durable when the write completes */
#define BLK_MAY_UNMAP (1u << 1)   /* zeroing may deallocate */
#define BLK_NO_FALLBACK (1u << 2) /* zeroing: -ENOTSUP rather than writing zeroes */
#define BLK_COMPRESSED (1u << 3)  /* a write: store it compressed (drivers that support it) */

/* ---- graph ---- */
/* `root` is the composition tree's root (backends go below /block-backends). */
BlockGraph *block_graph_new(Object *root, EventLoop *loop);
void block_graph_free(BlockGraph *g); /* flushes and closes everything */
BlockGraph *block_graph_of(Object *root);
/*
 * -blockdev / blockdev-add: `options` as QEMU's BlockdevOptions ("driver",
 * "node-name", "file": {...} | "node", …). All mistakes at once.
 */
BlockNode *block_open(BlockGraph *g, const Json *options, Error **errp);
bool block_close(BlockGraph *g, const char *node_name, Error **errp); /* blockdev-del */
/* -iscsi: options for disks of the target `id`, or of all without one, that are opened later. */
bool block_set_iscsi(BlockGraph *g, const Json *options, Error **errp);
BlockNode *block_node_find(BlockGraph *g, const char *node_name);
/*
 * -drive: translated into nodes and a backend.  `if=`, `index`, `bus`, `unit`,
 * `media`, `id`, … stay in the returned DriveInfo for the machine to place.
 */
typedef enum DriveIf {
    DRIVE_IF_DEFAULT,
    DRIVE_IF_NONE,
    DRIVE_IF_IDE,
    DRIVE_IF_SCSI,
    DRIVE_IF_FLOPPY,
    DRIVE_IF_PFLASH,
    DRIVE_IF_MTD,
    DRIVE_IF_SD,
    DRIVE_IF_VIRTIO,
} DriveIf;
typedef struct DriveInfo {
    char *id; /* the backend's name: given, or "ide0-hd0" after QEMU's rule */
    DriveIf interface;
    int bus, unit, index;        /* -1: not given */
    int placed_bus, placed_unit; /* where it counts as being, for names: two units a bus */
    bool cdrom;                  /* media=cdrom */
    BlockBackend *blk;           /* reference held by the graph's drive list */
    bool claimed;                /* a device took it */
    char *serial;
} DriveInfo;
DriveInfo *drive_new(BlockGraph *g, Json *options, DriveIf default_if, Error **errp);
GPtrArray *drive_list(BlockGraph *g); /* DriveInfo*, borrowed */

/* ---- backends: what a device holds ---- */
typedef struct BlockDevOps {
    void (*media_changed)(void *dev, bool loaded);
    void (*eject_request)(void *dev, bool force);
    bool (*tray_open)(void *dev);
    void (*resized)(void *dev);
    /* After BLK_ERROR_STOP and `cont`: submit again what was kept. Loop's lock held. */
    void (*retry)(void *dev);
} BlockDevOps;
/* By drive id or node name, for `drive=`; an unnamed backend is made for a node. */
BlockBackend *blk_find(BlockGraph *g, const char *name, Error **errp);
const char *blk_name(const BlockBackend *blk);
bool blk_is_implicit(const BlockBackend *blk);        /* stands for a node, not for a -drive */
const char *blk_device_path(const BlockBackend *blk); /* of the device that uses it, or "" */
/*
 * Where that device is in the composition tree, for events and query-block; until blk_detach().
 * `id` (may be NULL): what query-block calls it instead; `part`: where managers look for the disk
 * within the device ("/virtio-backend"), or "".
 */
void blk_set_device_path(BlockBackend *blk, const Object *device, const char *id, const char *part);
const char *block_node_name(const BlockNode *n);
BlockNode *blk_node(const BlockBackend *blk);
/*
 * Claims the backend for a device: permissions are checked (a writable image
 * has one writer unless share_rw), the message names the other user.
 */
bool blk_attach(BlockBackend *blk, void *dev, const char *dev_name, const BlockDevOps *ops,
                bool writable, bool share_rw, EventLoop *loop, Error **errp);
void blk_detach(BlockBackend *blk);
/* An empty drive that no -drive made, for a device without `drive=`; unref it at the end. */
BlockBackend *blk_new_anonymous(BlockGraph *g);
bool blk_present(const BlockBackend *blk); /* a medium is in */
bool blk_writable(const BlockBackend *blk);
int64_t blk_length(const BlockBackend *blk); /* bytes; <0: -errno */
uint32_t blk_request_alignment(const BlockBackend *blk);
uint32_t blk_discard_granularity(const BlockBackend *blk); /* bytes */
bool blk_write_cache(const BlockBackend *blk);
void blk_set_write_cache(BlockBackend *blk, bool on);
void blk_set_locked(BlockBackend *blk, bool locked); /* tray lock by the guest */
/* The device says that the guest opened or closed the tray. */
void blk_eject(BlockBackend *blk, bool open);

/*
 * Requests.  `done` runs on the backend's loop with its lock held, never from
 * within the submitting call; result 0 or -errno.  The iovec array and memory
 * stay valid until then.  Bounds are checked: beyond the end is -EIO.
 */
typedef struct BlkRequest BlkRequest;
typedef void BlkDone(void *opaque, int result);
BlkRequest *blk_aio_preadv(BlockBackend *blk, uint64_t off, const IoVec *iov, BlkDone *done,
                           void *opaque);
BlkRequest *blk_aio_pwritev(BlockBackend *blk, uint64_t off, const IoVec *iov, unsigned flags,
                            BlkDone *done, void *opaque);
BlkRequest *blk_aio_flush(BlockBackend *blk, BlkDone *done, void *opaque);
BlkRequest *blk_aio_discard(BlockBackend *blk, uint64_t off, uint64_t len, BlkDone *done,
                            void *opaque);
BlkRequest *blk_aio_zero(BlockBackend *blk, uint64_t off, uint64_t len, unsigned flags,
                         BlkDone *done, void *opaque);
/* The completion still comes, with -ECANCELED if it could be cancelled. */
void blk_aio_cancel(BlkRequest *req);
/* Fiber or synchronous (control thread, tools) forms; 0 or -errno. */
int blk_pread(BlockBackend *blk, uint64_t off, void *buf, size_t len);
int blk_pwrite(BlockBackend *blk, uint64_t off, const void *buf, size_t len, unsigned flags);
int blk_flush(BlockBackend *blk);
/* Waits until no request is in flight; new ones wait until blk_drain_end. */
void blk_drain_begin(BlockBackend *blk);
void blk_drain_end(BlockBackend *blk);
/* Waits until nothing is in flight, including what completions submit. */
void blk_wait_idle(BlockBackend *blk);
void block_drain_all(BlockGraph *g);
int block_flush_all(BlockGraph *g);

/* What a device does about an error, after rerror/werror. */
typedef enum BlkErrorAction { BLK_ERROR_REPORT, BLK_ERROR_IGNORE, BLK_ERROR_STOP } BlkErrorAction;
BlkErrorAction blk_error_action(BlockBackend *blk, bool is_read, int error);
/* Sets what blk_error_action() does besides: stop the VM, emit BLOCK_IO_ERROR. */
typedef void BlkErrorHook(void *opaque, BlockBackend *blk, BlkErrorAction a, bool is_read, int err);
/* The machine continues: every attached device's `retry`. Control thread. */
void block_retry_all(BlockGraph *g);
void block_graph_set_error_hook(BlockGraph *g, BlkErrorHook *hook, void *opaque);

/* Events of jobs, exports and nodes; takes `data` over.  Called on any thread. */
typedef void BlockEventHook(void *opaque, const char *name, Json *data);
void block_graph_set_event_hook(BlockGraph *g, BlockEventHook *hook, void *opaque);
/* The loop on which jobs end; the graph changes there only. */
void block_graph_set_control(BlockGraph *g, EventLoop *control);

/* Called when the guest moves a tray: emits DEVICE_TRAY_MOVED. */
typedef void BlkTrayHook(void *opaque, BlockBackend *blk, bool open);
void block_graph_set_tray_hook(BlockGraph *g, BlkTrayHook *hook, void *opaque);
/* `cont` after an error: the device will try again. */
void blk_iostatus_reset(BlockBackend *blk);

/* ---- media and size: monitors, on the control thread ---- */
bool blk_has_tray(const BlockBackend *blk);
/* A tray locked by the guest is asked to open and refused, unless forced. */
bool blk_open_tray(BlockBackend *blk, bool force, Error **errp);
bool blk_close_tray(BlockBackend *blk, Error **errp);
void blk_remove_medium(BlockBackend *blk); /* the tray is open */
bool blk_insert_medium(BlockBackend *blk, BlockNode *n, Error **errp);
/* All of these in order; format NULL: probed; read_only -1: as the medium before. */
bool blk_change_medium(BlockBackend *blk, const char *filename, const char *format, int read_only,
                       bool force, Error **errp);
bool blk_resize(BlockBackend *blk, uint64_t size, Error **errp); /* bytes */

/* Geometry for disks of BIOS times: from the partition table, else by size.
 * `lba_translation` (may be NULL): the BIOS should translate. */
typedef struct DiskGeometry {
    uint32_t cylinders, heads, sectors;
} DiskGeometry;
void blk_guess_geometry(BlockBackend *blk, DiskGeometry *g, bool *lba_translation);

/* The properties every disk device has. */
typedef struct BlockConf {
    Object *drive; /* link<block-backend> */
    uint16_t logical_block_size, physical_block_size;
    uint32_t min_io_size, opt_io_size, discard_granularity;
    bool share_rw;
    int write_cache;
    uint32_t cyls, heads, secs;
    int rerror, werror;
} BlockConf;
#define PROPERTIES_BLOCK(T, f)                                                                     \
    PROPERTY_LINK("drive", T, f.drive, TYPE_BLOCK_BACKEND, "drive id or block node name"),         \
        PROP_FIELD(T, f.logical_block_size, PROP_U16, "logical_block_size", "bytes", .def = 512,   \
                   .min = 512, .max = 32768),                                                      \
        PROP_FIELD(T, f.physical_block_size, PROP_U16, "physical_block_size", "bytes", .def = 512, \
                   .min = 512, .max = 32768),                                                      \
        PROPERTY_U32("min_io_size", T, f.min_io_size, 0, "bytes"),                                 \
        PROPERTY_U32("opt_io_size", T, f.opt_io_size, 0, "bytes"),                                 \
        PROPERTY_U32("discard_granularity", T, f.discard_granularity, UINT32_MAX,                  \
                     "bytes; 4294967295: the backend's"),                                          \
        PROPERTY_ON_OFF_AUTO("write-cache", T, f.write_cache, ON_OFF_AUTO,                         \
                             "volatile write cache"),                                              \
        PROP_FIELD(T, f.share_rw, PROP_BOOL, "share-rw", "others may write the image too"),        \
        PROPERTY_ENUM("rerror", T, f.rerror, blk_on_error_names, 0, "what a read error does"),     \
        PROPERTY_ENUM("werror", T, f.werror, blk_on_error_names, 0, "what a write error does")
extern const char *const blk_on_error_names[]; /* auto report ignore stop enospc */
/* Gives the backend what the device's properties say (error policy, write cache). */
bool blk_apply_conf(BlockBackend *blk, const BlockConf *conf, Error **errp);

/* ---- information for monitors ---- */
/* `flat`: without what the backing images say. */
Json *block_query(BlockGraph *g, bool flat);             /* query-block */
Json *block_query_named_nodes(BlockGraph *g, bool flat); /* query-named-block-nodes */
Json *block_query_stats(BlockGraph *g, bool nodes);      /* query-blockstats */
void block_print_info(BlockGraph *g, GString *out, bool verbose);

#endif
