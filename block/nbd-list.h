/* SPDX-License-Identifier: GPL-2.0-or-later */
/* block/nbd-list.h: what an NBD server offers, for people (rhea-nbd --list). */
#ifndef RHEA_BLOCK_NBD_LIST_H
#define RHEA_BLOCK_NBD_LIST_H

#include "event/loop.h"
#include "io/socket.h"
#include "qom/object.h"

#include <stdio.h>

/* Prints each export with its size, flags and contexts. Blocks. */
bool nbd_list(const SocketSpec *addr, Object *tls, const char *hostname, EventLoop *loop, FILE *out,
              Error **errp);

#endif
