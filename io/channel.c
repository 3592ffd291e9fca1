/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "io/channel.h"

#include "util/bits.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define INPUT 65536u

struct IoChannel {
    int fd;
    EventLoop *loop;
    const IoCipher *cipher;
    void *cipher_state;
    Fiber *reader, *writer;       /* who waits */
    bool watch_read, watch_write; /* what the loop looks for */
    uint32_t down;                /* atomic */
    uint8_t *input;               /* read ahead */
    size_t in_pos, in_len;
};

IoChannel *io_channel_new(int fd, EventLoop *loop)
{
    IoChannel *c = g_new0(IoChannel, 1);
    c->fd = fd;
    c->loop = loop;
    c->input = g_malloc(INPUT);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return c;
}

static void update_watch(IoChannel *c);

void io_channel_free(IoChannel *c)
{
    if (!c) {
        return;
    }
    if (c->cipher) {
        if (!c->down) {
            c->cipher->bye(c->cipher_state);
        }
        c->cipher->free(c->cipher_state);
    }
    c->reader = c->writer = NULL;
    loop_lock(c->loop); /* which need not be the caller's */
    update_watch(c);
    loop_defer_cancel(c->loop, c);
    loop_unlock(c->loop);
    close(c->fd);
    g_free(c->input);
    g_free(c);
}

int io_channel_fd(const IoChannel *c)
{
    return c->fd;
}

void io_channel_set_loop(IoChannel *c, EventLoop *loop)
{
    if (c->watch_read || c->watch_write) { /* left over from the last wait */
        LOOP_LOCK_GUARD(c->loop);
        loop_watch_fd(c->loop, c->fd, NULL, NULL, NULL);
        c->watch_read = c->watch_write = false;
    }
    c->loop = loop;
}

void io_channel_set_cipher(IoChannel *c, const IoCipher *cipher, void *state)
{
    c->cipher = cipher;
    c->cipher_state = state;
}

bool io_channel_has_cipher(const IoChannel *c)
{
    return c->cipher != NULL;
}

/* ---- waiting ---- */

static void wake(Fiber **who)
{
    Fiber *f = *who;
    *who = NULL;
    if (f) {
        fiber_enter(f);
    }
}

static void readable(void *opaque)
{
    IoChannel *c = opaque;
    if (!c->reader) {
        update_watch(c);
        return;
    }
    wake(&c->reader);
}

static void writable(void *opaque)
{
    IoChannel *c = opaque;
    if (!c->writer) {
        update_watch(c);
        return;
    }
    wake(&c->writer);
}

static void update_watch(IoChannel *c)
{
    bool r = c->reader != NULL, w = c->writer != NULL;
    if (r != c->watch_read || w != c->watch_write) {
        c->watch_read = r;
        c->watch_write = w;
        loop_watch_fd(c->loop, c->fd, r ? readable : NULL, w ? writable : NULL, c);
    }
}

int io_channel_wait(IoChannel *c, bool write)
{
    if (__atomic_load_n(&c->down, __ATOMIC_SEQ_CST)) {
        return -ESHUTDOWN;
    }
    if (!fiber_in()) {
        struct pollfd p = {.fd = c->fd, .events = write ? POLLOUT : POLLIN};
        while (poll(&p, 1, -1) < 0 && errno == EINTR) {
        }
    } else {
        *(write ? &c->writer : &c->reader) = fiber_self();
        update_watch(c);
        fiber_yield();
    }
    return __atomic_load_n(&c->down, __ATOMIC_SEQ_CST) ? -ESHUTDOWN : 0;
}

static void wake_both(void *opaque)
{
    IoChannel *c = opaque;
    Fiber *r = c->reader, *w = c->writer;
    c->reader = c->writer = NULL;
    update_watch(c);
    if (r) {
        fiber_enter(r);
    }
    if (w) { /* the first may not free the channel: its user waits for both */
        fiber_enter(w);
    }
}

void io_channel_shutdown(IoChannel *c)
{
    if (!__atomic_exchange_n(&c->down, 1, __ATOMIC_SEQ_CST)) {
        shutdown(c->fd, SHUT_RDWR);
        loop_defer(c->loop, wake_both, c);
    }
}

bool io_channel_alive(IoChannel *c)
{
    char byte;
    if (c->down) {
        return false;
    }
    ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* ---- moving bytes ---- */

/* Some bytes, at least one; 0: end; or -errno. */
static ssize_t recv_some(IoChannel *c, void *buf, size_t len)
{
    for (;;) {
        bool want_write = false;
        ssize_t n;
        if (__atomic_load_n(&c->down, __ATOMIC_SEQ_CST)) {
            return -ESHUTDOWN;
        }
        if (c->cipher) {
            n = c->cipher->recv(c->cipher_state, buf, len, &want_write);
        } else {
            n = recv(c->fd, buf, len, 0);
            n = n < 0 ? -errno : n;
        }
        if (n == -EINTR) {
            continue;
        }
        if (n != -EAGAIN) {
            return n;
        }
        int ret = io_channel_wait(c, want_write);
        if (ret < 0) {
            return ret;
        }
    }
}

int io_channel_read(IoChannel *c, void *buf, size_t len)
{
    uint8_t *p = buf;
    size_t got = 0;
    while (got < len) {
        if (c->in_pos < c->in_len) {
            size_t n = MIN(len - got, c->in_len - c->in_pos);
            memcpy(p + got, c->input + c->in_pos, n);
            c->in_pos += n;
            got += n;
            continue;
        }
        /* Much goes straight to where it belongs, little through the buffer. */
        bool direct = len - got >= INPUT / 2;
        ssize_t n = recv_some(c, direct ? p + got : c->input, direct ? len - got : INPUT);
        if (n <= 0) {
            return n < 0 ? (int)n : got ? -EPIPE : 0;
        }
        if (direct) {
            got += (size_t)n;
        } else {
            c->in_pos = 0;
            c->in_len = (size_t)n;
        }
    }
    return 1;
}

int io_channel_readv(IoChannel *c, const IoVec *v)
{
    for (unsigned i = 0; i < v->n; i++) {
        int ret = io_channel_read(c, v->iov[i].iov_base, v->iov[i].iov_len);
        if (ret <= 0) {
            return ret == 0 ? -EPIPE : ret;
        }
    }
    return 1;
}

int io_channel_writev(IoChannel *c, const struct iovec *iov, unsigned n)
{
    size_t skip = 0;
    while (n) {
        struct iovec part[64];
        unsigned count = MIN(n, (unsigned)ARRAY_LEN(part));
        bool want_write = true;
        ssize_t sent;
        if (iov->iov_len == skip) {
            skip = 0;
            iov++;
            n--;
            continue;
        }
        if (__atomic_load_n(&c->down, __ATOMIC_SEQ_CST)) {
            return -ESHUTDOWN;
        }
        memcpy(part, iov, count * sizeof(*iov));
        part[0].iov_base = (char *)part[0].iov_base + skip;
        part[0].iov_len -= skip;
        if (c->cipher) {
            sent = c->cipher->send(c->cipher_state, part[0].iov_base, part[0].iov_len, &want_write);
        } else {
            struct msghdr m = {.msg_iov = part, .msg_iovlen = count};
            sent = sendmsg(c->fd, &m, MSG_NOSIGNAL);
            sent = sent < 0 ? -errno : sent;
        }
        if (sent == -EAGAIN) {
            int ret = io_channel_wait(c, want_write);
            if (ret < 0) {
                return ret;
            }
        } else if (sent < 0 && sent != -EINTR) {
            return (int)sent;
        }
        for (size_t left = sent > 0 ? (size_t)sent : 0; left;) {
            size_t here = MIN(left, iov->iov_len - skip);
            skip += here;
            left -= here;
            if (skip == iov->iov_len) {
                skip = 0;
                iov++;
                n--;
            }
        }
    }
    return 0;
}

int io_channel_write(IoChannel *c, const void *buf, size_t len)
{
    struct iovec one = {(void *)buf, len};
    return io_channel_writev(c, &one, 1);
}
