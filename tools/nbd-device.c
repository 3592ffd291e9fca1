/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rhea-nbd -c and -d: the kernel's NBD client (/dev/nbdX) on a socket to ourselves. */
#include "tools/nbd-device.h"

#include "block/nbd-proto.h"
#include "util/bits.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define BLOCK 512u

/* <linux/nbd.h>, whose other names are those of block/nbd-proto.h */
#define NBD_SET_SOCK _IO(0xab, 0)
#define NBD_SET_BLKSIZE _IO(0xab, 1)
#define NBD_DO_IT _IO(0xab, 3)
#define NBD_CLEAR_SOCK _IO(0xab, 4)
#define NBD_CLEAR_QUE _IO(0xab, 5)
#define NBD_SET_SIZE_BLOCKS _IO(0xab, 7)
#define NBD_DISCONNECT _IO(0xab, 8)
#define NBD_SET_FLAGS _IO(0xab, 10)

struct NbdDevice {
    int dev, sock;
    char *name;
    uint64_t size;
    uint16_t flags;
    pthread_t thread;
    void (*connected)(void *opaque, Error *err);
    EventLoop *loop;
    void *opaque;
    Error *err;
    Timer wait;
    int64_t patience; /* until then the kernel is waited for (CLOCK_RT) */
};

static int open_device(const char *path, Error **errp)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        int err = errno;
        error_set_errno(errp, err, "cannot open '%s'", path);
        if (err == ENOENT || err == ENXIO || err == ENODEV) {
            error_hint(errp, "the kernel's NBD client makes these devices: 'modprobe nbd'");
        }
    }
    return fd;
}

static bool is_nbd(int fd, const char *path, Error **errp)
{
    if (ioctl(fd, NBD_CLEAR_QUE) < 0 && (errno == ENOTTY || errno == EINVAL)) {
        error_set(errp, "'%s' is not a device of the kernel's NBD client", path);
        return false;
    }
    return true;
}

bool nbd_device_disconnect(const char *path, Error **errp)
{
    int fd = open_device(path, errp);
    bool ok = fd >= 0 && is_nbd(fd, path, errp);
    if (ok && ioctl(fd, NBD_DISCONNECT) < 0 && errno != EINVAL) {
        error_set_errno(errp, errno, "cannot disconnect '%s'", path);
        ok = false;
    }
    if (ok) {
        ioctl(fd, NBD_CLEAR_SOCK);
    }
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

/* ---- the handshake that the kernel leaves to us ---- */

static bool receive(int fd, void *buf, size_t len)
{
    return recv(fd, buf, len, MSG_WAITALL) == (ssize_t)len;
}

static bool shake_hands(NbdDevice *d, const char *export)
{
    uint8_t hello[18], answer[4 + 16], info[10];
    size_t len = strlen(export);
    st_be32(answer, NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES);
    st_be64(answer + 4, NBD_OPTS_MAGIC);
    st_be32(answer + 12, NBD_OPT_EXPORT_NAME);
    st_be32(answer + 16, (uint32_t)len);
    if (!receive(d->sock, hello, sizeof(hello)) || ld_be64(hello) != NBD_MAGIC ||
        send(d->sock, answer, sizeof(answer), MSG_NOSIGNAL) != (ssize_t)sizeof(answer) ||
        send(d->sock, export, len, MSG_NOSIGNAL) != (ssize_t)len ||
        !receive(d->sock, info, sizeof(info))) {
        return false;
    }
    d->size = ld_be64(info);
    d->flags = ld_be16(info + 8);
    return true;
}

/* What the kernel is to know, before it takes the socket. */
static bool configure(NbdDevice *d)
{
    const struct {
        unsigned long request, value;
        const char *what;
    } steps[] = {{NBD_SET_SOCK, (unsigned long)d->sock, "cannot be connected"},
                 {NBD_SET_BLKSIZE, BLOCK, "refuses the block size"},
                 {NBD_SET_SIZE_BLOCKS, (unsigned long)(d->size / BLOCK), "refuses the size"},
                 {NBD_SET_FLAGS, d->flags, "refuses the flags"}};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        /* Old kernels know no flags. */
        if (ioctl(d->dev, steps[i].request, steps[i].value) < 0 &&
            !(steps[i].request == NBD_SET_FLAGS && errno == ENOTTY)) {
            error_set_errno(&d->err, errno, "'%s' %s", d->name, steps[i].what);
            if (i == 0 && errno == EBUSY) {
                error_hint(&d->err, "somebody else serves it; 'rhea-nbd -d %s' ends that", d->name);
            } else if (i > 0) {
                ioctl(d->dev, NBD_CLEAR_SOCK);
            }
            return false;
        }
    }
    int read_only = d->flags & NBD_FLAG_READ_ONLY ? 1 : 0;
    if (read_only && ioctl(d->dev, BLKROSET, &read_only) < 0) {
        error_set_errno(&d->err, errno, "'%s' cannot be made read-only", d->name);
        return false;
    }
    return true;
}

#define WAIT_NS (5 * 1000 * 1000)
#define PATIENCE_NS (5ll * 1000 * 1000 * 1000)

/* The device has its size when the kernel has begun to serve it: then it can be used. */
static void tell(void *opaque)
{
    NbdDevice *d = opaque;
    uint64_t size = 0;
    int64_t now = clock_now(loop_clocks(d->loop), CLOCK_RT);
    bool there = ioctl(d->dev, BLKGETSIZE64, &size) < 0 || size / BLOCK == d->size / BLOCK;
    if (!d->err && !there && now < d->patience) {
        timer_mod(&d->wait, now + WAIT_NS);
        return;
    }
    d->connected(d->opaque, g_steal_pointer(&d->err));
}

/* The kernel serves the device in this call until it is disconnected. */
static void *client_thread(void *opaque)
{
    NbdDevice *d = opaque;
    bool ok = shake_hands(d, "");
    if (!ok) {
        error_set(&d->err, "the export cannot be connected to '%s'", d->name);
    }
    ok = ok && configure(d);
    loop_defer(d->loop, tell, d);
    if (ok) {
        ioctl(d->dev, NBD_DO_IT);
        ioctl(d->dev, NBD_CLEAR_QUE);
        ioctl(d->dev, NBD_CLEAR_SOCK);
    }
    shutdown(d->sock, SHUT_RDWR); /* the server sees its client go */
    return NULL;
}

NbdDevice *nbd_device_open(const char *path, Error **errp)
{
    int fd = open_device(path, errp);
    if (fd < 0 || !is_nbd(fd, path, errp)) {
        if (fd >= 0) {
            close(fd);
        }
        return NULL;
    }
    NbdDevice *d = g_new0(NbdDevice, 1);
    d->dev = fd;
    d->sock = -1;
    d->name = g_strdup(path);
    return d;
}

bool nbd_device_connect(NbdDevice *d, int sock, EventLoop *loop,
                        void (*connected)(void *opaque, Error *err), void *opaque, Error **errp)
{
    d->sock = sock;
    d->loop = loop;
    d->connected = connected;
    d->opaque = opaque;
    d->patience = clock_now(loop_clocks(d->loop), CLOCK_RT) + PATIENCE_NS;
    timer_init(&d->wait, loop, CLOCK_RT, tell, d);
    int err = pthread_create(&d->thread, NULL, client_thread, d);
    if (err) {
        error_set_errno(errp, err, "cannot start a thread for '%s'", d->name);
        close(d->sock);
        d->sock = -1;
    }
    return !err;
}

void nbd_device_free(NbdDevice *d)
{
    if (!d) {
        return;
    }
    if (d->sock >= 0) {
        ioctl(d->dev, NBD_DISCONNECT);
        shutdown(d->sock, SHUT_RDWR);
        pthread_join(d->thread, NULL);
        loop_defer_cancel(d->loop, d);
        timer_fini(&d->wait);
        close(d->sock);
    }
    close(d->dev);
    error_free(d->err);
    g_free(d->name);
    g_free(d);
}
