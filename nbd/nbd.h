/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd/nbd.h: serves nodes of the block graph over the network (NBD: fixed newstyle with
 * structured and extended replies, metadata contexts, TLS).
 *
 * A server listens on the control loop, where clients also negotiate; then a client's requests are
 * fibers on the loop of the export's node.  Peers are hostile: what they may ask for,
 * queue and leave unread is bounded, and a handshake has a time limit.
 *
 * Control thread.
 */
#ifndef RHEA_NBD_NBD_H
#define RHEA_NBD_NBD_H

#include "block/bitmap.h"
#include "block/export.h"
#include "io/socket.h"

typedef struct NbdServer NbdServer;
typedef struct NbdExport NbdExport;

typedef struct NbdServerParams {
    SocketSpec addr;          /* of `fds`, when there are any, only for messages */
    GArray *fds;              /* int: listening sockets from outside (socket activation), or NULL */
    Object *tls_creds;        /* NULL: no TLS; else nothing goes without */
    Object *tls_authz;        /* who may come, by the name in the certificate; NULL: all */
    unsigned max_connections; /* 0: no limit */
    unsigned handshake_seconds; /* 0: no limit */
    /* Clients came and went; may be NULL. */
    void (*changed)(void *opaque, unsigned clients);
    void *opaque;
} NbdServerParams;
/* One server for a graph.  `p` is copied, its address too. */
NbdServer *nbd_server_start(BlockGraph *g, const NbdServerParams *p, Error **errp);
NbdServer *nbd_server_of(BlockGraph *g); /* NULL: none runs */
/* Closes all connections and removes all exports. */
void nbd_server_stop(BlockGraph *g);
void nbd_server_stop_listening(BlockGraph *g);
/* A client that is there already; the socket is taken over. */
void nbd_server_add_client(BlockGraph *g, int fd);
unsigned nbd_server_clients(BlockGraph *g);

typedef struct NbdExportParams {
    BlockExportParams common;
    const char *name; /* NULL: the node name */
    const char *description;
    bool allocation_depth;
    const Json *bitmaps;     /* array of names, or of {node, name}; or NULL */
    uint64_t offset, length; /* a window (rhea-nbd -o); length 0: all */
    int shared;              /* clients at once, for multi-conn; 0: any number */
} NbdExportParams;
NbdExport *nbd_export_add(BlockGraph *g, const NbdExportParams *p, Error **errp);
/* By the name that clients use; NULL: none. */
NbdExport *nbd_export_find(BlockGraph *g, const char *name);
BlockExport *nbd_export_base(NbdExport *e);
extern const BlockExportDriver nbd_export_driver; /* for block-export-add; wants a server */

#endif
