/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block/remote/module.h: between the drivers of disks that servers keep (iscsi, nfs, rbd) and
 * the modules that link their libraries.
 *
 * A module serves each disk from a thread of its own, or its library's: nothing it does (names
 * to be resolved, a connection to be made anew) happens on a loop of the machine.  Requests are
 * handed over from any thread and come back on any thread.
 *
 * When the connection is lost, requests wait for it to come back and are sent again; all of them
 * can be repeated.  They fail when their time is over, or when somebody waits for them to end
 * (`draining`) and the server still is not there after REMOTE_DRAIN_SECONDS.
 */
#ifndef RHEA_BLOCK_REMOTE_MODULE_H
#define RHEA_BLOCK_REMOTE_MODULE_H

#include "util/module.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define REMOTE_DRAIN_SECONDS 5
/* The first connection: how long until it is given up. */
#define REMOTE_CONNECT_SECONDS 20
#define REMOTE_MAX_SNAPSHOTS 65536u

typedef enum RemoteOp {
    REMOTE_READ,
    REMOTE_WRITE,
    REMOTE_FLUSH,
    REMOTE_DISCARD,
    REMOTE_ZERO,
    REMOTE_STATUS, /* extent, state: what lies at `off`, for at most `len` bytes */
    REMOTE_RESIZE, /* to `len` bytes, where the server can; extent: how long it is then */
} RemoteOp;

/* RemoteRequest.flags */
#define REMOTE_FUA (1u << 0)
#define REMOTE_MAY_UNMAP (1u << 1)
/* RemoteRequest.state */
#define REMOTE_STATE_DATA (1u << 0)
#define REMOTE_STATE_ZERO (1u << 1)

typedef struct RemoteRequest {
    RemoteOp op;
    unsigned flags;
    uint64_t off, len;       /* bytes, in units of RemoteInfo.block */
    const struct iovec *iov; /* `len` bytes, valid until done; READ and WRITE */
    unsigned niov;
    unsigned limit_s; /* it fails after so long; 0: after the disk's timeout, if there is one */
    /* The answer. */
    int result; /* 0 or -errno */
    uint64_t extent;
    unsigned state;
    void (*done)(struct RemoteRequest *r); /* any thread, once */
    void *opaque;
    /* The module's own. */
    GList link;
    int64_t deadline, not_before; /* g_get_monotonic_time(), 0: none */
    unsigned tries, step;
    uint64_t pos;
    void *priv;
} RemoteRequest;

/* What the program gives to a disk; lives as long as the disk. */
typedef struct RemoteHost {
    char *what; /* the disk's name in messages */
    void (*report)(const char *text);
    const unsigned *draining; /* atomic: somebody waits for requests to end */
} RemoteHost;

/* What a server says about its disk, checked. */
typedef struct RemoteInfo {
    uint64_t length;
    uint32_t block;         /* unit of requests, a power of two up to 64 KiB */
    uint32_t discard_align; /* a power of two, 0: block */
    uint32_t opt_io;        /* 0: unknown */
    uint64_t max_transfer;
    bool read_only;
    bool discard, zero, status; /* worth asking for */
} RemoteInfo;

/* The table of a module begins with this. */
typedef struct RemoteModule {
    ModuleHead head;
    /* A disk, open; `spec` is the driver's.  NULL: a text in *why (g_free()).  Blocks. */
    void *(*open)(const void *spec, const RemoteHost *host, RemoteInfo *info, char **why);
    void (*submit)(void *disk, RemoteRequest *r);
    /* No request is under way. */
    void (*close)(void *disk);
} RemoteModule;

/* ---- iscsi ---- */
typedef struct IscsiSpec {
    const char *portal, *target, *initiator, *user, *password; /* the last two may be NULL */
    bool iser;
    unsigned lun;
    int digest; /* order of iscsi_digest_names (iscsi.c) */
    unsigned timeout_s;
    bool read_only;
} IscsiSpec;

/* ---- nfs ---- */
typedef struct NfsSpec {
    const char *server, *path;
    int64_t user, group;            /* -1: the process's */
    unsigned tcp_syncount;          /* 0: the library's */
    uint32_t readahead, page_cache; /* bytes; 0: none */
    unsigned debug;
    unsigned timeout_s;
    bool read_only;
} NfsSpec;
typedef struct NfsModule {
    RemoteModule remote;
    /* Makes the file, or empties it, and gives it `size` bytes. */
    bool (*create)(const NfsSpec *spec, const RemoteHost *host, uint64_t size, char **why);
    int64_t (*allocated)(void *disk); /* bytes when it was last looked at; any thread */
} NfsModule;

/* ---- rbd ---- */
typedef struct RbdSpec {
    const char *pool, *image;
    const char *nspace, *conf, *snapshot, *user, *key, *auth, *mon_host; /* may be NULL */
    const char *const *keypairs; /* key, value, …, NULL: settings of the cluster; may be NULL */
    int encryption;              /* 0: none; order of rbd_encryption_names (rbd.c) */
    const uint8_t *passphrase;
    size_t passphrase_len;
    bool cache, read_only;
} RbdSpec;
typedef struct RbdSnapshot {
    uint64_t id, size;
    int64_t date; /* seconds since 1970 */
    char *name;
} RbdSnapshot;
typedef struct RbdModule {
    RemoteModule remote;
    /* `order`: of the objects' size, 0: the cluster's choice. */
    bool (*create)(const RbdSpec *spec, const char *what, uint64_t size, unsigned order,
                   bool aes128, char **why);
    /* The rest may block and give 0 or -errno with a text in *why. */
    int (*snapshots)(void *disk, RbdSnapshot **list, unsigned *n, char **why);
    void (*snapshots_free)(RbdSnapshot *list, unsigned n);
    int (*snapshot_create)(void *disk, const char *name, char **why);
    int (*snapshot_delete)(void *disk, const char *name, char **why);
    int (*snapshot_apply)(void *disk, const char *name, uint64_t *size, char **why);
    int (*snapshot_show)(void *disk, const char *name, uint64_t *size, char **why);
} RbdModule;

#endif
