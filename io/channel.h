/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * io/channel.h: a stream socket for fibers: reading and writing wait without a thread.
 *
 * One fiber may read while another one writes.  In a fiber, waiting yields to the channel's
 * loop; outside of any, it blocks (poll).  A cipher (TLS, crypto/tls.h) can be put in
 * between.  What a peer does can at most end the channel.
 *
 * Locking: the loop's lock; io_channel_shutdown() any thread.
 */
#ifndef RHEA_IO_CHANNEL_H
#define RHEA_IO_CHANNEL_H

#include "event/loop.h"
#include "util/fiber.h"
#include "util/iov.h"

#include <sys/types.h>

typedef struct IoChannel IoChannel;

/* What a cipher does; results as of recv() and send(), -EAGAIN with *want_write set right. */
typedef struct IoCipher {
    ssize_t (*recv)(void *state, void *buf, size_t len, bool *want_write);
    ssize_t (*send)(void *state, const void *buf, size_t len, bool *want_write);
    void (*bye)(void *state); /* tells the peer that this is the end; does not wait */
    void (*free)(void *state);
} IoCipher;

/* Takes the (then nonblocking) socket over. */
IoChannel *io_channel_new(int fd, EventLoop *loop);
void io_channel_free(IoChannel *c); /* closes; nobody may wait in it */
int io_channel_fd(const IoChannel *c);
/* Nobody waits in it. */
void io_channel_set_loop(IoChannel *c, EventLoop *loop);
void io_channel_set_cipher(IoChannel *c, const IoCipher *cipher, void *state);
bool io_channel_has_cipher(const IoChannel *c);
/* Waits until the socket can be read (written). 0, or -ESHUTDOWN. */
int io_channel_wait(IoChannel *c, bool write);
/*
 * Exactly `len` bytes: 1; 0: the peer closed before the first; else -errno (-EPIPE in the
 * middle, -ESHUTDOWN after io_channel_shutdown()).
 */
int io_channel_read(IoChannel *c, void *buf, size_t len);
int io_channel_readv(IoChannel *c, const IoVec *v);
/* 0 or -errno; SIGPIPE is not raised. */
int io_channel_write(IoChannel *c, const void *buf, size_t len);
int io_channel_writev(IoChannel *c, const struct iovec *iov, unsigned n);
/* Whoever waits, now or later, gets -ESHUTDOWN. */
void io_channel_shutdown(IoChannel *c);
/* Polls the peer without waiting: false if it has gone. */
bool io_channel_alive(IoChannel *c);

#endif
