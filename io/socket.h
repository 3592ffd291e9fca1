/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * io/socket.h: socket addresses as users write them, listening and connecting.
 * Control thread; connecting blocks.
 */
#ifndef RHEA_IO_SOCKET_H
#define RHEA_IO_SOCKET_H

#include "util/json.h"

#include <stdint.h>

typedef struct SocketSpec {
    enum { SOCKET_INET, SOCKET_UNIX, SOCKET_FD } type;
    char *host, *port; /* inet */
    char *path;        /* unix; fd: its number or name */
    bool abstract_name;
    int family; /* AF_UNSPEC, AF_INET, AF_INET6 */
    bool keep_alive;
} SocketSpec;

void socket_spec_clear(SocketSpec *s);
/* SocketAddress {type, …} or SocketAddressLegacy {type, data: {…}} of the schema. */
bool socket_spec_from_json(SocketSpec *s, const Json *j, Error **errp);
char *socket_spec_text(const SocketSpec *s); /* for messages */
/* A listening (connected) socket, or -1. */
int socket_listen(const SocketSpec *s, int backlog, Error **errp);
/* timeout_ms 0: as long as the system tries. */
int socket_connect(const SocketSpec *s, unsigned timeout_ms, Error **errp);
/* For bulk data: a Unix socket takes more before its sender must wait.  TCP sizes itself. */
void socket_widen(int fd);

#endif
