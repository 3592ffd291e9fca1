/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block/remote/link.h: a thread that serves one connection of a library which is driven by a
 * descriptor (libiscsi, libnfs): requests, their deadlines, and making the connection anew.
 *
 * Linked into modules.  All callbacks run on the thread; so does whatever they call here.
 */
#ifndef RHEA_BLOCK_REMOTE_LINK_H
#define RHEA_BLOCK_REMOTE_LINK_H

#include "block/remote/module.h"

typedef struct Link Link;

typedef struct LinkDriver {
    /* Connects; waits with link_wait().  Failing, it leaves a text in *why and nothing else. */
    bool (*connect)(void *opaque, Link *l, char **why);
    /* A quiet end, with link_wait(); NULL: drop() is enough. */
    void (*goodbye)(void *opaque, Link *l);
    /* Forgets the connection.  Each request it has is given back with link_lost(). */
    void (*drop)(void *opaque);
    /* Sends it; link_finish(), link_retry() or link_lost() follow.  False: the connection is
     * of no more use, and the request was not taken. */
    bool (*start)(void *opaque, RemoteRequest *r);
    int (*fd)(void *opaque); /* -1: none now */
    int (*events)(void *opaque);
    bool (*service)(void *opaque, int revents); /* false: broken */
    bool (*tick)(void *opaque);                 /* each second; false: broken.  NULL: none */
    const char *(*error)(void *opaque);         /* the library's text, or NULL */
    unsigned stall_s; /* no answer for so long: broken; 0: tick() finds out */
} LinkDriver;

/* Starts the thread and waits for the first connection.  NULL: a text in *why.  `timeout_s`:
 * how long a request may take, 0: as long as it takes. */
Link *link_new(const LinkDriver *drv, void *opaque, const RemoteHost *host, unsigned timeout_s,
               char **why);
void link_submit(Link *l, RemoteRequest *r); /* any thread */
void link_free(Link *l);                     /* ends the connection and the thread */

/* Serves the connection until *done or until so many seconds have passed. False: it is broken,
 * or the time is over. */
bool link_wait(Link *l, const bool *done, unsigned seconds);
void link_finish(Link *l, RemoteRequest *r, int result);
void link_retry(Link *l, RemoteRequest *r, unsigned ms); /* again, after so long */
void link_lost(Link *l, RemoteRequest *r);               /* again, on the next connection */
void link_alive(Link *l);                                /* the server has said something */
/* The first connection has been made: what follows are others. */
bool link_was_up(const Link *l);
/* A text for *why; modules cannot reach the program's own functions. */
void link_fail(char **why, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
void link_report(const RemoteHost *host, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

#endif
