/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block/nbd-client.h: a client's side of the NBD handshake, for the driver "nbd" and for
 * listing a server's exports.  Servers are not trusted either: whatever they announce is
 * checked.
 */
#ifndef RHEA_BLOCK_NBD_CLIENT_H
#define RHEA_BLOCK_NBD_CLIENT_H

#include "block/nbd-proto.h"
#include "io/channel.h"
#include "io/socket.h"
#include "qom/object.h"

typedef struct NbdLink {
    IoChannel *ch;
    bool structured, extended, no_zeroes;
    uint64_t size;
    uint16_t flags;
    uint32_t min_block, max_block;    /* 0: the server did not say */
    bool has_allocation, has_context; /* base:allocation, the context asked for */
    uint32_t allocation_id, context_id;
} NbdLink;

/* Greets the server and asks for TLS and structured replies. Waits as channels do. */
bool nbd_link_greet(NbdLink *l, Object *tls, const char *hostname, bool extended, Error **errp);
/* Chooses contexts and enters the export.  `context`: another metadata context, or NULL. */
bool nbd_link_go(NbdLink *l, const char *export, const char *context, Error **errp);

#endif
