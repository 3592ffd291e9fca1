/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nbd/internal.h: what the files of this room know of each other. */
#ifndef RHEA_NBD_INTERNAL_H
#define RHEA_NBD_INTERNAL_H

#include "block/nbd-proto.h"
#include "io/channel.h"
#include "nbd/nbd.h"
#include "util/bufpool.h"

#define NBD_MAX_BITMAPS 32u
#define NBD_MAX_CONTEXTS (NBD_MAX_BITMAPS + 2u)
#define NBD_MAX_REQUESTS 16u        /* of one client at a time */
#define NBD_MAX_BUFFERED (2u << 20) /* bytes of them, if there are several */
#define NBD_MAX_OPTIONS 256u        /* of one handshake */

struct NbdExport {
    BlockExport base;
    char *name, *description;
    bool depth_context;
    BlockBitmap *bitmaps[NBD_MAX_BITMAPS];
    unsigned n_bitmaps;
    uint64_t offset, length; /* length 0: to the end */
    int shared;
    unsigned clients;
    unsigned pins; /* of handshakes that look at it */
};

/* Context ids on the wire: 1 + index. */
typedef enum NbdContextKind { NBD_CTX_ALLOCATION, NBD_CTX_DEPTH, NBD_CTX_BITMAP } NbdContextKind;
typedef struct NbdContext {
    NbdContextKind kind;
    unsigned bitmap;
} NbdContext;

struct NbdServer {
    BlockGraph *graph;
    NbdServerParams p;
    GArray *fds; /* int */
    GList *clients;
    unsigned n_clients;
    bool listening, stopping;
};

typedef struct NbdClient {
    NbdServer *server;
    IoChannel *ch;
    EventLoop *loop; /* of the transmission phase */
    NbdExport *export;
    bool no_zeroes, structured, extended;
    char *meta_export; /* the export whose contexts were chosen */
    NbdContext contexts[NBD_MAX_CONTEXTS];
    unsigned n_contexts;
    Timer deadline;
    unsigned options;
    /* transmission */
    unsigned requests;
    uint64_t buffered;
    BufferPool buffers;
    FiberQueue room;
    FiberMutex send;
    bool dead;
} NbdClient;

/* negotiate.c: a fiber on the control loop; true: go on with the transmission. */
bool nbd_negotiate(NbdClient *c);
/* transmit.c: a fiber on the export's loop; returns when the client is gone and all is done. */
void nbd_transmit(NbdClient *c);
/* export.c */
uint64_t nbd_export_size(const NbdExport *e);
uint16_t nbd_export_flags(const NbdExport *e, const NbdClient *c);
char *nbd_context_name(const NbdExport *e, const NbdContext *x);
/* The first one (after `before`) of the graph, NULL after the last. */
NbdExport *nbd_export_next(BlockGraph *g, const NbdExport *before);
/* It stays in memory in between, though it may be closing. */
void nbd_export_pin(NbdExport *e);
void nbd_export_unpin(NbdExport *e);
/* The last step of a client of the export, which may then be freed. */
void nbd_export_client_gone(NbdExport *e);

#endif
