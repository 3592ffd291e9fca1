/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The protocols "file" and "host_device": an image in a file or on a block device. */
#include "block/image.h"
#include "block/lock.h"
#include "block/node.h"
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

typedef struct FileState {
    int fd;
    bool is_device;
    bool locking;
    ImageLock lock;
    AioEngine engine;
    unsigned max_batch; /* aio-max-batch: requests handed over at once, 0: the engine decides */
    bool free_choice;   /* nobody asked for an engine: each request takes what suits it */
    bool in_memory;     /* a file system without a disk: nothing there waits */
    bool no_nowait[2];  /* reads, writes that do not wait are not to be had */
    bool no_discard, no_zero; /* the file system said it cannot */
    bool flush_failed;        /* written data may be lost: no later flush may claim success */
} FileState;

/* ---- opening ---- */

static int open_path(BlockNode *n, const char *path, Error **errp)
{
    int flags = O_CLOEXEC | O_NOCTTY | (n->flags.read_only ? O_RDONLY : O_RDWR);
    if (n->flags.direct) {
        flags |= O_DIRECT;
    }
    int fd = open(path, flags);
    if (fd < 0 && !n->flags.read_only && n->flags.auto_read_only &&
        (errno == EACCES || errno == EROFS || errno == EPERM)) {
        fd = open(path, (flags & ~O_ACCMODE) | O_RDONLY);
        if (fd >= 0) {
            n->flags.read_only = true;
        }
    }
    if (fd >= 0) {
        return fd;
    }
    int err = errno;
    if (err == EISDIR) {
        error_set(errp, "'%s' is a folder, not a disk image", path);
        return -1;
    }
    error_set_errno(errp, err, "cannot open '%s'%s", path,
                    n->flags.read_only ? "" : " for reading and writing");
    if (err == ENOENT) {
        error_hint(errp, "qemu-img create makes new images");
    } else if ((err == EACCES || err == EROFS) && !n->flags.read_only) {
        error_hint(errp, "with read-only=on (or snapshot=on) reading is enough");
    } else if (err == EINVAL && n->flags.direct) {
        error_hint(errp, "the file system may lack O_DIRECT; use a cache= mode other than none "
                         "and directsync");
    }
    return -1;
}

static bool check_kind(BlockNode *n, int fd, const char *path, Error **errp)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        error_set_errno(errp, errno, "cannot examine '%s'", path);
        return false;
    }
    bool device = S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode);
    if (S_ISDIR(st.st_mode)) {
        error_set(errp, "'%s' is a folder, not a disk image", path);
        return false;
    }
    if (n->drv == &block_driver_host_device && !device) {
        error_set(errp, "driver 'host_device' needs a device, and '%s' is a file", path);
        error_hint(errp, "use the driver 'file'");
        return false;
    }
    if (n->drv == &block_driver_file && !S_ISREG(st.st_mode)) {
        error_set(errp, "driver 'file' needs a regular file, and '%s' is none", path);
        if (device) {
            error_hint(errp, "use the driver 'host_device'");
        }
        return false;
    }
    return true;
}

static int64_t file_size(int fd)
{
    off_t end = lseek(fd, 0, SEEK_END);
    return end < 0 ? -errno : end;
}

/* What O_DIRECT asks for: the kernel says, or reads of growing size find out. */
static void probe_alignment(BlockNode *n, int fd)
{
    FileState *s = n->s;
    n->limits.request_align = 1;
    n->limits.mem_align = 1;
    n->limits.max_iov = 1024; /* the kernel's UIO_MAXIOV */
    if (!n->flags.direct) {
        return;
    }
    uint32_t align = 0;
    int sector;
    if (s->is_device && ioctl(fd, BLKSSZGET, &sector) == 0 && sector >= 512) {
        align = (uint32_t)sector;
    }
#ifdef STATX_DIOALIGN
    struct statx sx;
    if (!align && statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) == 0 &&
        (sx.stx_mask & STATX_DIOALIGN) && sx.stx_dio_offset_align) {
        n->limits.request_align = sx.stx_dio_offset_align;
        n->limits.mem_align = MAX(sx.stx_dio_mem_align, 1);
        return;
    }
#endif
    void *buf = NULL;
    if (!align && posix_memalign(&buf, 8192, 8192) == 0) {
        for (align = 512; align < 4096; align *= 2) {
            if (pread(fd, (char *)buf + align, align, 0) >= 0) {
                break;
            }
        }
        free(buf);
    }
    n->limits.request_align = align && IS_POWER_OF_2(align) ? align : 4096;
    n->limits.mem_align = n->limits.request_align;
}

static bool choose_engine(BlockNode *n, const char *path, int aio, bool given, Error **errp)
{
    static const AioEngine engines[] = {AIO_ENGINE_IO_URING, AIO_ENGINE_THREADS, AIO_ENGINE_NATIVE};
    FileState *s = n->s;
    s->engine = engines[aio];
    if (s->engine == AIO_ENGINE_NATIVE && !n->flags.direct) {
        error_set(errp, "'%s': aio=native needs cache.direct=on", path);
        error_hint(errp,
                   "-drive and the tools: cache=none or cache=directsync; or use aio=io_uring "
                   "or aio=threads");
        return false;
    }
    if (given && n->loop && !loop_aio_available(n->loop, s->engine, errp)) {
        return false;
    }
    if (!given && n->loop && !loop_aio_available(n->loop, s->engine, NULL)) {
        s->engine = AIO_ENGINE_THREADS;
    }
    return true;
}

static bool file_open(BlockNode *n, BlockOpts *o, Error **errp)
{
    static const char *const aio_names[] = {"io_uring", "threads", "native", NULL};
    static const char *const lock_names[] = {"auto", "on", "off", NULL};
    FileState *s = n->s;
    s->fd = -1;
    const char *path = block_opts_string(o, "filename", NULL);
    bool aio_given = block_opts_has(o, "aio");
    int aio = block_opts_enum(o, "aio", aio_names, 0);
    unsigned batch = (unsigned)block_opts_uint(o, "aio-max-batch", 0, 0, INT32_MAX);
    int locking = block_opts_enum(o, "locking", lock_names, 0);
    if (!path || !*path) {
        block_opts_mistake(o, "'filename' is missing");
    }
    if (!block_opts_finish(o, errp) || !choose_engine(n, path, aio, aio_given, errp)) {
        return false;
    }
    s->max_batch = batch;
    n->filename = g_strdup(path);
    s->is_device = n->drv == &block_driver_host_device;
    s->fd = open_path(n, path, errp);
    if (s->fd < 0 || !check_kind(n, s->fd, path, errp)) {
        return false;
    }
    int64_t size = file_size(s->fd);
    if (size < 0) {
        error_set_errno(errp, (int)-size, "cannot find out the size of '%s'", path);
        return false;
    }
    n->length = (uint64_t)size;
    struct statfs fs;
    s->free_choice = !aio_given;
    s->in_memory = fstatfs(s->fd, &fs) == 0 &&
                   (fs.f_type == TMPFS_MAGIC || (unsigned long)fs.f_type == RAMFS_MAGIC);
    probe_alignment(n, s->fd);
    s->locking = locking != 2 && image_lock_supported(s->fd);
    if (locking == 1 && !s->locking) {
        error_set(errp, "locking=on: the file system of '%s' has no locks", path);
        return false;
    }
    return true;
}

static void file_close(BlockNode *n)
{
    FileState *s = n->s;
    if (s->fd >= 0) {
        close(s->fd); /* the locks go with the description */
    }
}

static bool file_set_permissions(BlockNode *n, bool used, bool write, bool share_writes,
                                 Error **errp)
{
    FileState *s = n->s;
    if (!s->locking) {
        return true;
    }
    uint32_t perms = 0, denied = 0;
    if (used) {
        perms = IMAGE_PERM_READ | (write ? IMAGE_PERM_WRITE | IMAGE_PERM_RESIZE : 0);
        if (!share_writes && !n->flags.force_share) {
            denied = IMAGE_PERM_WRITE | IMAGE_PERM_RESIZE;
        }
    }
    return image_lock_set(&s->lock, s->fd, n->filename, perms, denied, errp);
}

/*
 * Another description of the same file, even if its name is gone.  The locks belong to the
 * description: they are given up with the old one and taken again.
 */
static bool file_reopen(BlockNode *n, bool read_only, Error **errp)
{
    FileState *s = n->s;
    g_autofree char *self = g_strdup_printf("/proc/self/fd/%d", s->fd);
    int flags =
        O_CLOEXEC | O_NOCTTY | (read_only ? O_RDONLY : O_RDWR) | (n->flags.direct ? O_DIRECT : 0);
    int fd = open(self, flags);
    if (fd < 0) {
        error_set_errno(errp, errno, "cannot open '%s' %s", n->filename,
                        read_only ? "for reading" : "for reading and writing");
        return false;
    }
    ImageLock was = s->lock;
    close(s->fd);
    s->fd = fd;
    s->lock = (ImageLock){0};
    return !s->locking || image_lock_set(&s->lock, s->fd, n->filename, was.perms, was.denied, errp);
}

/* ---- requests ---- */

/* The control thread's way: blocking calls. Bytes moved, or -errno. */
static int64_t move_blocking(int fd, bool write, const IoVec *v, uint64_t off)
{
    struct iovec *iov = g_memdup2(v->iov, v->n * sizeof(*v->iov));
    unsigned first = 0;
    int64_t moved = 0;
    while ((size_t)moved < v->size) {
        int count = (int)MIN(v->n - first, 1024u);
        off_t pos = (off_t)off + moved;
        ssize_t got =
            write ? pwritev(fd, iov + first, count, pos) : preadv(fd, iov + first, count, pos);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            moved = -errno;
            break;
        }
        if (got == 0) {
            break;
        }
        moved += got;
        while (first < v->n && (size_t)got >= iov[first].iov_len) {
            got -= (ssize_t)iov[first].iov_len;
            first++;
        }
        if (first < v->n) {
            iov[first].iov_base = (char *)iov[first].iov_base + got;
            iov[first].iov_len -= (size_t)got;
        }
    }
    g_free(iov);
    return moved;
}

static bool asynchronous(const BlockNode *n)
{
    return n->loop && fiber_in();
}

/* What is larger is copied by another thread, where it may not wait. */
#define SMALL (64u << 10)

/* Nothing else is there to be done meanwhile. */
static bool alone(const BlockNode *n)
{
    return n->graph->one_by_one && loop_is_idle(n->loop);
}

/*
 * May it wait?  In memory nothing does; a tool waits for its own writes to the page cache, and for
 * the disk if it has nothing else to do: the completion of an asynchronous O_DIRECT write goes
 * through a thread of the kernel (ext4, XFS), which takes longer than the write itself.
 */
static bool may_wait(const BlockNode *n, bool write, const IoVec *v)
{
    const FileState *s = n->s;
    return n->flags.direct ? v->size <= SMALL && alone(n)
                           : s->in_memory || (write && n->graph->patient);
}

/*
 * Does the request on the spot if that takes no waiting, or if waiting is nobody's loss: a
 * system call costs less than a message to and from another thread.  false: it does not go, or not
 * wholly.
 */
static bool on_the_spot(BlockNode *n, bool write, uint64_t off, const IoVec *v)
{
    FileState *s = n->s;
    bool wait = may_wait(n, write, v), patient = n->graph->patient;
    if (!s->free_choice || (!wait && (n->flags.direct || s->no_nowait[write])) ||
        (v->size > SMALL && !(write && patient)) || (!patient && !loop_spend(n->loop, v->size))) {
        return false;
    }
    int count = (int)v->n, flags = wait ? 0 : RWF_NOWAIT;
    ssize_t moved = write ? pwritev2(s->fd, v->iov, count, (off_t)off, flags)
                          : preadv2(s->fd, v->iov, count, (off_t)off, flags);
    s->no_nowait[write] |= moved < 0 && !wait && errno == EOPNOTSUPP;
    return moved >= 0 && (size_t)moved == v->size;
}

/* io_uring would hand to a thread of its own what is copied and may wait: ours cost less. */
static AioEngine engine_for(const BlockNode *n, bool write, const IoVec *v)
{
    const FileState *s = n->s;
    bool copies = s->free_choice && !n->flags.direct;
    return copies && (v->size > SMALL || (write && s->no_nowait[1])) ? AIO_ENGINE_THREADS
                                                                     : s->engine;
}

/* Its result once it is there. */
static int64_t transfer(BlockNode *n, AioOp op, uint64_t off, const IoVec *v, bool fua)
{
    FileState *s = n->s;
    AioRequest r = {.op = op,
                    .fd = s->fd,
                    .iov = v->iov,
                    .niov = v->n,
                    .offset = off,
                    .len = v->size,
                    .fua = fua,
                    .max_batch = s->max_batch};
    return loop_aio(n->loop, engine_for(n, op == AIO_WRITE, v), &r);
}

static int file_preadv(BlockNode *n, uint64_t off, const IoVec *v)
{
    FileState *s = n->s;
    if (asynchronous(n) && on_the_spot(n, false, off, v)) {
        return 0;
    }
    int64_t got = asynchronous(n) ? transfer(n, AIO_READ, off, v, false)
                                  : move_blocking(s->fd, false, v, off);
    if (got < 0) {
        return (int)got;
    }
    if ((size_t)got < v->size) {
        iov_memset(v->iov, v->n, (size_t)got, 0, v->size - (size_t)got); /* beyond the end */
    }
    return 0;
}

static int file_flush(BlockNode *n)
{
    FileState *s = n->s;
    if (s->flush_failed) {
        return -EIO;
    }
    int64_t ret;
    if (asynchronous(n) && !(s->free_choice && alone(n))) {
        ret = loop_aio(n->loop, s->engine, &(AioRequest){.op = AIO_FSYNC, .fd = s->fd});
    } else {
        ret = fdatasync(s->fd) < 0 ? -errno : 0;
    }
    if (ret < 0) {
        /* The kernel forgets the lost pages once it has reported them. */
        s->flush_failed = !n->flags.direct;
    }
    return (int)ret;
}

static int file_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    FileState *s = n->s;
    bool fua = flags & BLK_FUA;
    int64_t put;
    if (asynchronous(n) && !fua && on_the_spot(n, true, off, v)) {
        return 0;
    }
    if (asynchronous(n)) {
        put = transfer(n, AIO_WRITE, off, v, fua);
        return put < 0 ? (int)put : (size_t)put < v->size ? -ENOSPC : 0;
    }
    put = move_blocking(s->fd, true, v, off);
    if (put < 0 || (size_t)put < v->size) {
        return put < 0 ? (int)put : -ENOSPC;
    }
    return fua ? file_flush(n) : 0;
}

static int64_t punch_or_zero(BlockNode *n, bool zero, uint64_t off, uint64_t len, bool unmap)
{
    FileState *s = n->s;
    if (asynchronous(n)) {
        AioRequest r = {.op = zero ? AIO_ZERO : AIO_DISCARD,
                        .fd = s->fd,
                        .offset = off,
                        .len = len,
                        .unmap = unmap};
        return loop_aio(n->loop, s->engine, &r);
    }
    int mode = zero && !unmap ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    return fallocate(s->fd, mode, (off_t)off, (off_t)len) < 0 ? -errno : 0;
}

static bool means_unsupported(int64_t ret)
{
    return ret == -EOPNOTSUPP || ret == -ENOSYS || ret == -ENOTTY || ret == -ENODEV ||
           ret == -EINVAL;
}

static int file_discard(BlockNode *n, uint64_t off, uint64_t len)
{
    FileState *s = n->s;
    if (s->no_discard) {
        return -ENOTSUP;
    }
    int64_t ret = punch_or_zero(n, false, off, len, false);
    if (means_unsupported(ret)) {
        s->no_discard = true;
        return -ENOTSUP;
    }
    return (int)ret;
}

static int file_zero(BlockNode *n, uint64_t off, uint64_t len, unsigned flags)
{
    FileState *s = n->s;
    if (s->no_zero) {
        return -ENOTSUP;
    }
    /* A hole beyond the end would not make the file longer. */
    bool unmap = (flags & BLK_MAY_UNMAP) && off + len <= n->length;
    int64_t ret = punch_or_zero(n, true, off, len, unmap);
    if (means_unsupported(ret)) {
        s->no_zero = !unmap;
        return -ENOTSUP;
    }
    if (ret == 0 && (flags & BLK_FUA)) {
        return file_flush(n);
    }
    return (int)ret;
}

typedef struct Preallocation {
    int fd;
    uint64_t from, to;
    BlockPrealloc mode;
} Preallocation;

/* Reserves or writes [from, to), which reads as zeroes already; takes its time, on a worker. */
static int preallocate(void *opaque)
{
    const Preallocation *p = opaque;
    if (p->mode == PREALLOC_FALLOC) {
        return -posix_fallocate(p->fd, (off_t)p->from, (off_t)(p->to - p->from));
    }
    size_t chunk = 1u << 20;
    g_autofree uint8_t *zeroes = g_try_malloc0(chunk + 4096);
    if (!zeroes) {
        return -ENOMEM;
    }
    uint8_t *aligned = (uint8_t *)ALIGN_UP((uintptr_t)zeroes, 4096u);
    for (uint64_t pos = p->from; pos < p->to;) {
        ssize_t put = pwrite(p->fd, aligned, MIN(chunk, p->to - pos), (off_t)pos);
        if (put < 0 && errno != EINTR) {
            return -errno;
        }
        pos += put > 0 ? (uint64_t)put : 0;
    }
    return 0;
}

static int file_truncate(BlockNode *n, uint64_t size, BlockPrealloc prealloc, Error **errp)
{
    FileState *s = n->s;
    uint64_t old = n->length;
    if (prealloc == PREALLOC_METADATA || (prealloc != PREALLOC_OFF && s->is_device)) {
        error_set(errp, "cannot resize '%s': preallocation mode '%s' is not for %s", n->filename,
                  block_prealloc_names[prealloc], s->is_device ? "devices" : "plain files");
        return -ENOTSUP;
    }
    if (s->is_device) {
        int64_t now = file_size(s->fd);
        if (now < 0 || (uint64_t)now < size) {
            error_set(errp, "cannot make the device '%s' larger", n->filename);
            return -ENOTSUP;
        }
        return 0;
    }
    if (ftruncate(s->fd, (off_t)size) < 0) {
        int err = errno;
        error_set_errno(errp, err, "cannot resize '%s'", n->filename);
        return -err;
    }
    Preallocation p = {s->fd, old, size, prealloc};
    int ret = prealloc != PREALLOC_OFF && size > old ? node_run_blocking(n, preallocate, &p) : 0;
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot reserve space for '%s'", n->filename);
        if (ftruncate(s->fd, (off_t)old) < 0) {
            n->length = size; /* it stays as long as it is now */
        }
        return ret;
    }
    n->length = size;
    return 0;
}

static int file_map(BlockNode *n, uint64_t off, uint64_t len, BlockMap *out)
{
    FileState *s = n->s;
    *out = (BlockMap){BLOCK_MAP_DATA | BLOCK_MAP_OFFSET, len, off};
    if (off >= n->length) {
        *out = (BlockMap){BLOCK_MAP_ZERO, len, 0};
        return 0;
    }
    off_t data = lseek(s->fd, (off_t)off, SEEK_DATA);
    if (data < 0 && errno == ENXIO) {
        *out = (BlockMap){BLOCK_MAP_ZERO | BLOCK_MAP_OFFSET, len, off};
    } else if (data > (off_t)off) {
        *out = (BlockMap){BLOCK_MAP_ZERO | BLOCK_MAP_OFFSET, MIN(len, (uint64_t)data - off), off};
    } else if (data == (off_t)off) {
        off_t hole = lseek(s->fd, (off_t)off, SEEK_HOLE);
        if (hole > (off_t)off) {
            out->len = MIN(len, (uint64_t)hole - off);
        }
    }
    return 0;
}

static int64_t file_allocated(BlockNode *n)
{
    FileState *s = n->s;
    struct stat st;
    return fstat(s->fd, &st) < 0 ? -1 : (int64_t)st.st_blocks * 512;
}

/* ---- making ---- */

#ifndef FS_NOCOW_FL
#define FS_NOCOW_FL 0x00800000
#endif

static const BlockCreateOption file_create_options[] = {
    {"size", "size", "bytes"},
    {"nocow", "bool", "turn off copy-on-write of the file system (btrfs)"},
    {NULL},
};

typedef struct FileCreate {
    const char *path;
    uint64_t size;
    bool nocow;
    Error **errp;
} FileCreate;

static bool make_empty(const FileCreate *c, int fd, Error **errp)
{
    ImageLock lock = {0};
    uint32_t bits = IMAGE_PERM_WRITE | IMAGE_PERM_RESIZE;
    int attr;
    if (image_lock_supported(fd) && !image_lock_set(&lock, fd, c->path, bits, bits, errp)) {
        return false;
    }
    if (c->nocow && ioctl(fd, FS_IOC_GETFLAGS, &attr) == 0) {
        attr |= FS_NOCOW_FL;
        if (ioctl(fd, FS_IOC_SETFLAGS, &attr) < 0) {
            error_set_errno(errp, errno, "nocow=on: cannot change the attributes of '%s'", c->path);
            return false;
        }
    }
    if (ftruncate(fd, 0) < 0 || (c->size && ftruncate(fd, (off_t)c->size) < 0)) {
        error_set_errno(errp, errno, "cannot create '%s'", c->path);
        return false;
    }
    return true;
}

/* Opened before it is emptied: an image that somebody uses stays as it is. */
static int create_work(void *opaque)
{
    const FileCreate *c = opaque;
    int fd = open(c->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644);
    if (fd < 0) {
        error_set_errno(c->errp, errno, "cannot create '%s'", c->path);
        return -EIO;
    }
    bool ok = make_empty(c, fd, c->errp);
    close(fd);
    return ok ? 0 : -EIO;
}

static bool file_create(BlockGraph *g, BlockNode *file, BlockOpts *o, Error **errp)
{
    FileCreate c = {.path = block_opts_string(o, "filename", NULL),
                    .size = block_opts_size(o, "size", 0),
                    .nocow = block_opts_bool(o, "nocow", false),
                    .errp = errp};
    if (!c.path || !*c.path) {
        block_opts_mistake(o, "'filename' is missing");
    }
    return block_opts_finish(o, errp) && block_run_blocking(g, create_work, &c) == 0;
}

#define FILE_CALLBACKS                                                                            \
    .state_size = sizeof(FileState), .protocol = true, .open = file_open, .close = file_close,    \
    .preadv = file_preadv, .pwritev = file_pwritev, .flush = file_flush, .discard = file_discard, \
    .zero = file_zero, .truncate = file_truncate, .map = file_map, .allocated = file_allocated,   \
    .reopen = file_reopen, .set_permissions = file_set_permissions

const BlockDriver block_driver_file = {
    .name = "file",
    .help = "a regular file",
    .create_options = file_create_options,
    .create = file_create,
    FILE_CALLBACKS,
};

const BlockDriver block_driver_host_device = {
    .name = "host_device",
    .help = "a block device of the host",
    .alias = "host_cdrom",
    FILE_CALLBACKS,
};
