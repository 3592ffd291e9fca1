/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The export fuse: a node as a file of the host.  The file system is that one file, mounted over
 * an existing one; its kernel protocol (<linux/fuse.h>) is spoken directly, each request a fiber
 * of the node's loop.
 */
#include "block/export.h"
#include "block/export/fuse-mount.h"
#include "util/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

TRACE_EVENT(fuse_request, "opcode %u unique %" G_GUINT64_FORMAT)

#define MAX_IO (1u << 20) /* bytes of one read or write */
#define MAX_REQUESTS 32u  /* at a time */
/* What precedes the data of a write; of other requests a part of their arguments. */
#define HEAD (sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))
#define MAX_ARGS 256u /* of all requests that matter, without the data of a write */

typedef struct FuseExport {
    BlockExport base;
    char *path;
    int fd; /* of /dev/fuse, or -1 */
    bool growable, allow_other, watched, mounted;
    mode_t mode; /* permissions only */
    uid_t uid;
    gid_t gid;
    struct timespec atime, mtime, ctime;
    uint32_t minor; /* the kernel's version of the protocol */
    unsigned requests;
} FuseExport;

typedef struct Request {
    FuseExport *x;
    struct fuse_in_header h;
    uint8_t args[MAX_ARGS];
    uint8_t *data; /* of a write; malloc()ed */
    size_t data_len;
} Request;

static void update_watch(FuseExport *x);

/* ---- answers ---- */

static void answer(Request *r, int ret, const void *data, size_t len)
{
    struct fuse_out_header h = {
        .len = (uint32_t)(sizeof(h) + (ret ? 0 : len)), .error = ret, .unique = r->h.unique};
    struct iovec iov[2] = {{&h, sizeof(h)}, {(void *)data, len}};
    /* ENOENT: the caller was interrupted and has gone; ENODEV: so has the mount. */
    ssize_t done = writev(r->x->fd, iov, ret || !len ? 1 : 2);
    (void)done;
}

static uint64_t length(const FuseExport *x)
{
    int64_t len = blk_length(x->base.blk);
    return len > 0 ? (uint64_t)len : 0;
}

static void fill_attr(const FuseExport *x, struct fuse_attr *a)
{
    const BlockNode *n = blk_node(x->base.blk);
    int64_t stored = -1;
    for (; n && stored < 0; n = n->file) {
        stored = n->drv->allocated ? n->drv->allocated((BlockNode *)n) : -1;
    }
    *a = (struct fuse_attr){.ino = FUSE_ROOT_ID,
                            .size = length(x),
                            .blocks = stored < 0 ? length(x) / 512 : (uint64_t)stored / 512,
                            .atime = (uint64_t)x->atime.tv_sec,
                            .mtime = (uint64_t)x->mtime.tv_sec,
                            .ctime = (uint64_t)x->ctime.tv_sec,
                            .atimensec = (uint32_t)x->atime.tv_nsec,
                            .mtimensec = (uint32_t)x->mtime.tv_nsec,
                            .ctimensec = (uint32_t)x->ctime.tv_nsec,
                            .mode = S_IFREG | x->mode,
                            .nlink = 1,
                            .uid = x->uid,
                            .gid = x->gid,
                            .blksize = 4096};
}

static void answer_attr(Request *r)
{
    struct fuse_attr_out out = {0}; /* not to be remembered: the size can change here */
    fill_attr(r->x, &out.attr);
    answer(r, 0, &out, sizeof(out));
}

/* ---- size: changed on the control loop, while nothing else is under way ---- */

typedef struct Resize {
    FuseExport *x;
    Fiber *fiber;
    uint64_t size;
    int ret;
} Resize;

static void resize_done(void *opaque)
{
    fiber_enter(((Resize *)opaque)->fiber); /* `opaque` lies on its stack */
}

static void resize_now(void *opaque)
{
    Resize *z = opaque;
    Error *err = NULL;
    z->ret = blk_resize(z->x->base.blk, z->size, &err) ? 0 : -EIO;
    error_free(err);
    loop_defer(z->x->base.loop, resize_done, z);
}

static int resize(FuseExport *x, uint64_t size)
{
    Resize z = {x, fiber_self(), size, 0};
    if (!x->base.writable) {
        return -EACCES;
    }
    if (size > (uint64_t)INT64_MAX) {
        return -EFBIG;
    }
    loop_defer(x->base.graph->control, resize_now, &z);
    fiber_yield();
    return z.ret;
}

/* Makes the file at least that long if it may grow; *end is what there is then, at most `end`. */
static int reach(FuseExport *x, uint64_t *end)
{
    int ret = 0;
    if (*end > length(x) && x->growable) {
        ret = resize(x, *end);
        if (ret == -EIO && *end % BLOCK_SECTOR) { /* images have whole sectors */
            ret = resize(x, ALIGN_UP(*end, (uint64_t)BLOCK_SECTOR));
        }
    }
    *end = MIN(*end, length(x));
    return ret;
}

/* ---- data ---- */

/* The node, while the graph stands still for us; NULL: it has gone. Ends with leave_node(). */
static BlockNode *enter_node(FuseExport *x)
{
    block_enter(x->base.graph, x->base.loop);
    return blk_node(x->base.blk);
}

static void leave_node(FuseExport *x)
{
    block_leave(x->base.graph);
}

static int do_read(Request *r)
{
    FuseExport *x = r->x;
    struct fuse_read_in in;
    void *buf = NULL;
    memcpy(&in, r->args, sizeof(in));
    uint64_t len = length(x);
    size_t size = in.size;
    if (in.size > MAX_IO) {
        return -EINVAL;
    }
    size = in.offset >= len ? 0 : (size_t)MIN((uint64_t)size, len - in.offset);
    if (posix_memalign(&buf, 4096, MAX(size, 1u))) {
        return -ENOMEM;
    }
    BlockNode *n = enter_node(x);
    int ret = !n ? -EIO : size ? node_pread(n, in.offset, buf, size) : 0;
    leave_node(x);
    if (ret == 0) {
        answer(r, 0, buf, size);
    }
    free(buf);
    return ret < 0 ? ret : 1;
}

static int do_write(Request *r)
{
    FuseExport *x = r->x;
    struct fuse_write_in in;
    memcpy(&in, r->args, sizeof(in));
    uint64_t end;
    if (!x->base.writable) {
        return -EACCES;
    }
    if (in.size > r->data_len || __builtin_add_overflow(in.offset, in.size, &end)) {
        return -EINVAL;
    }
    int ret = reach(x, &end);
    if (ret < 0) {
        return ret;
    }
    if (end <= in.offset) {
        return in.size ? -ENOSPC : 0;
    }
    struct fuse_write_out out = {.size = (uint32_t)(end - in.offset)};
    BlockNode *n = enter_node(x);
    ret =
        n ? node_pwrite(n, in.offset, r->data, out.size, x->base.writethrough ? BLK_FUA : 0) : -EIO;
    leave_node(x);
    if (ret < 0) {
        return ret;
    }
    clock_gettime(CLOCK_REALTIME, &x->mtime);
    answer(r, 0, &out, sizeof(out));
    return 1;
}

static int do_flush(Request *r)
{
    FuseExport *x = r->x;
    BlockNode *n = enter_node(x);
    int ret = n ? node_flush(n) : -EIO;
    leave_node(x);
    return ret;
}

static int zero(FuseExport *x, uint64_t off, uint64_t len, unsigned flags)
{
    BlockNode *n = enter_node(x);
    int ret = n ? node_zero(n, off, len, flags) : -EIO;
    leave_node(x);
    return ret;
}

static int do_fallocate(Request *r)
{
    FuseExport *x = r->x;
    struct fuse_fallocate_in in;
    memcpy(&in, r->args, sizeof(in));
    uint64_t end;
    if (!x->base.writable) {
        return -EACCES;
    }
    if (!in.length || __builtin_add_overflow(in.offset, in.length, &end)) {
        return -EINVAL;
    }
    bool keep = in.mode & FALLOC_FL_KEEP_SIZE;
    switch (in.mode & ~(uint32_t)FALLOC_FL_KEEP_SIZE) {
    case FALLOC_FL_PUNCH_HOLE:
        end = MIN(end, length(x));
        return end <= in.offset
                   ? 0
                   : zero(x, in.offset, end - in.offset, BLK_MAY_UNMAP | BLK_NO_FALLBACK);
    case FALLOC_FL_ZERO_RANGE: {
        uint64_t wanted = end;
        int ret = keep ? 0 : reach(x, &end);
        end = MIN(end, length(x));
        if (ret < 0 || (!keep && end < wanted)) {
            return ret < 0 ? ret : -ENOSPC;
        }
        return end <= in.offset ? 0 : zero(x, in.offset, end - in.offset, 0);
    }
    case 0:
        /* Space that a file's end is moved over; what lies before it is the format's business. */
        if (keep || end <= length(x)) {
            return -EOPNOTSUPP;
        }
        if (!x->growable) {
            return -ENOSPC;
        }
        return reach(x, &end);
    default:
        return -EOPNOTSUPP;
    }
}

static int do_lseek(Request *r)
{
    FuseExport *x = r->x;
    struct fuse_lseek_in in;
    memcpy(&in, r->args, sizeof(in));
    uint64_t len = length(x), at = in.offset;
    bool want_hole = in.whence == SEEK_HOLE, found = false;
    int ret = 0;
    if (in.whence != SEEK_HOLE && in.whence != SEEK_DATA) {
        return -EINVAL;
    }
    if (at >= len) {
        return -ENXIO;
    }
    while (ret == 0 && at < len && !found) {
        BlockMap m = {0};
        BlockNode *n = enter_node(x);
        ret = n ? node_map_chain(n, NULL, at, len - at, &m, NULL) : -EIO;
        leave_node(x);
        found = ret == 0 && !!(m.flags & BLOCK_MAP_ZERO) == want_hole;
        at += found || ret < 0 ? 0 : m.len;
    }
    if (ret < 0 || (at >= len && !want_hole)) {
        return ret < 0 ? ret : -ENXIO;
    }
    struct fuse_lseek_out out = {.offset = MIN(at, len)};
    answer(r, 0, &out, sizeof(out));
    return 1;
}

/* ---- attributes ---- */

/* Whose file it is, and who may do what, matters only where others can come. */
static int set_owner_and_mode(FuseExport *x, const struct fuse_setattr_in *in)
{
    if (in->valid & FATTR_MODE) {
        if ((in->mode & ~S_IFMT) &
            ~(mode_t)(S_IRUSR | S_IWUSR | S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH)) {
            return -EOPNOTSUPP; /* nothing to execute, and nobody to become */
        }
        if ((in->mode & (S_IWUSR | S_IWGRP | S_IWOTH)) && !x->base.writable) {
            return -EROFS;
        }
    }
    if ((in->valid & (FATTR_UID | FATTR_GID)) && !x->allow_other) {
        return -EOPNOTSUPP;
    }
    if (in->valid & FATTR_MODE) {
        x->mode = in->mode & 07777;
    }
    if (in->valid & FATTR_UID) {
        x->uid = in->uid;
    }
    if (in->valid & FATTR_GID) {
        x->gid = in->gid;
    }
    return 0;
}

static int do_setattr(Request *r)
{
    FuseExport *x = r->x;
    struct fuse_setattr_in in;
    memcpy(&in, r->args, sizeof(in));
    if (in.valid & (FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW)) {
        uint32_t only_times = FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW |
                              FATTR_CTIME | FATTR_FH | FATTR_LOCKOWNER | FATTR_SIZE;
        /* A truncation brings times along; alone they would not outlive the export. */
        if (!(in.valid & FATTR_SIZE) && !(in.valid & ~only_times)) {
            return -EOPNOTSUPP;
        }
    }
    int ret = set_owner_and_mode(x, &in);
    if (ret == 0 && (in.valid & FATTR_SIZE) && in.size != length(x)) {
        ret = resize(x, in.size);
    }
    if (ret < 0) {
        return ret;
    }
    clock_gettime(CLOCK_REALTIME, in.valid & FATTR_SIZE ? &x->mtime : &x->ctime);
    answer_attr(r);
    return 1;
}

/* ---- the session ---- */

static int do_init(Request *r)
{
    struct fuse_init_in in;
    memcpy(&in, r->args, sizeof(in));
    uint32_t wanted = FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ASYNC_DIO | FUSE_MAX_PAGES;
    struct fuse_init_out out = {.major = FUSE_KERNEL_VERSION,
                                .minor = FUSE_KERNEL_MINOR_VERSION,
                                .max_readahead = in.max_readahead,
                                .flags = in.flags & wanted,
                                .max_background = MAX_REQUESTS,
                                .congestion_threshold = MAX_REQUESTS * 3 / 4,
                                .max_write = MAX_IO,
                                .max_pages = MAX_IO / 4096,
                                .time_gran = 1};
    if (in.major != FUSE_KERNEL_VERSION || in.minor < 23) {
        return -EPROTO; /* Linux 3.15 has that */
    }
    r->x->minor = in.minor;
    answer(r, 0, &out, sizeof(out));
    return 1;
}

static int do_open(Request *r)
{
    struct fuse_open_in in;
    memcpy(&in, r->args, sizeof(in));
    if ((in.flags & O_ACCMODE) != O_RDONLY && !r->x->base.writable) {
        return -EACCES;
    }
    /* The node has the caches, and others may write to it. */
    struct fuse_open_out out = {.open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES};
    answer(r, 0, &out, sizeof(out));
    return 1;
}

static int do_statfs(Request *r)
{
    struct fuse_statfs_out out = {
        .st = {.blocks = length(r->x) / 4096, .bsize = 4096, .frsize = 4096, .namelen = 255}};
    answer(r, 0, &out, sizeof(out));
    return 1;
}

/* 0 or -errno: an answer without data; 1: it was answered. */
static int serve(Request *r)
{
    switch (r->h.opcode) {
    case FUSE_INIT:
        return do_init(r);
    case FUSE_GETATTR:
        answer_attr(r);
        return 1;
    case FUSE_SETATTR:
        return do_setattr(r);
    case FUSE_OPEN:
        return do_open(r);
    case FUSE_READ:
        return do_read(r);
    case FUSE_WRITE:
        return do_write(r);
    case FUSE_FSYNC:
    case FUSE_FLUSH:
        return do_flush(r);
    case FUSE_FALLOCATE:
        return do_fallocate(r);
    case FUSE_LSEEK:
        return do_lseek(r);
    case FUSE_STATFS:
        return do_statfs(r);
    case FUSE_RELEASE:
    case FUSE_DESTROY:
        return 0;
    case FUSE_LOOKUP:
        return -ENOTDIR;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT: /* requests end by themselves */
        return 1;        /* these have no answer */
    default:
        return -ENOSYS; /* the kernel asks no more */
    }
}

static void ended(void *opaque)
{
    FuseExport *x = opaque;
    x->base.closing = true;
    block_export_ended(&x->base);
}

static void end_if_idle(FuseExport *x)
{
    if (x->fd >= 0 && x->base.closing && !x->requests) {
        close(x->fd); /* whoever has the file open gets errors from now on */
        x->fd = -1;
        loop_defer(x->base.graph->control, ended, x);
    }
}

static void request_fiber(void *opaque)
{
    Request *r = opaque;
    FuseExport *x = r->x;
    int ret = serve(r);
    if (ret <= 0) {
        answer(r, ret, NULL, 0);
    }
    free(r->data);
    g_free(r);
    x->requests--;
    update_watch(x);
    end_if_idle(x);
}

/* The mount has gone, by us or by somebody else. */
static void lost(FuseExport *x)
{
    x->base.closing = true;
    update_watch(x);
    end_if_idle(x);
}

/* The bytes of `head` and, behind them, of `data`: one request. */
static Request *parse(FuseExport *x, const uint8_t *head, uint8_t *data, size_t len)
{
    Request *r = g_new0(Request, 1);
    r->x = x;
    memcpy(&r->h, head, sizeof(r->h));
    size_t first = MIN(len, HEAD) - sizeof(r->h);
    memcpy(r->args, head + sizeof(r->h), first);
    if (len > HEAD && r->h.opcode == FUSE_WRITE) {
        r->data = data;
        r->data_len = len - HEAD;
        return r;
    }
    if (len > HEAD) {
        memcpy(r->args + first, data, MIN(len - HEAD, MAX_ARGS - first));
    }
    free(data);
    return r;
}

static void readable(void *opaque)
{
    FuseExport *x = opaque;
    uint8_t head[HEAD];
    void *data = NULL;
    if (posix_memalign(&data, 4096, MAX_IO)) {
        return; /* later, perhaps */
    }
    struct iovec iov[2] = {{head, sizeof(head)}, {data, MAX_IO}};
    ssize_t got = readv(x->fd, iov, 2);
    if (got < (ssize_t)sizeof(struct fuse_in_header)) {
        bool gone = got < 0 && errno == ENODEV;
        free(data);
        if (gone) {
            lost(x);
        }
        return;
    }
    Request *r = parse(x, head, data, (size_t)got);
    trace(fuse_request, r->h.opcode, (guint64)r->h.unique);
    x->requests++;
    update_watch(x);
    fiber_enter(fiber_new(request_fiber, r));
}

static void update_watch(FuseExport *x)
{
    bool on = x->fd >= 0 && !x->base.closing && x->requests < MAX_REQUESTS;
    if (on != x->watched) {
        x->watched = on;
        loop_watch_fd(x->base.loop, x->fd, on ? readable : NULL, NULL, x);
    }
}

/* ---- the export ---- */

static bool check_path(FuseExport *x, Error **errp)
{
    struct stat st;
    for (GList *l = x->base.graph->exports; l; l = l->next) {
        BlockExport *e = l->data;
        if (e->drv == &fuse_export_driver && !strcmp(((FuseExport *)e)->path, x->path)) {
            error_set(errp, "There already is a FUSE export on '%s'", x->path);
            return false;
        }
    }
    if (stat(x->path, &st) < 0) {
        error_set_errno(errp, errno, "Failed to stat '%s'", x->path);
        error_hint(errp, "the mount point is an existing, usually empty, file");
        return false;
    }
    if (!S_ISREG(st.st_mode)) {
        error_set(errp, "'%s' is not a regular file", x->path);
        return false;
    }
    return true;
}

static void watch_first(void *opaque)
{
    update_watch(opaque);
}

static bool mount_it(FuseExport *x, int allow, Error **errp)
{
    Error *err = NULL;
    x->allow_other = allow != 0;
    x->fd = fuse_mount(x->path, x->allow_other, &err);
    if (x->fd < 0 && allow == 2) {
        error_free(err);
        err = NULL;
        x->allow_other = false;
        x->fd = fuse_mount(x->path, false, &err);
    }
    error_propagate(errp, err);
    return x->fd >= 0;
}

static bool start(BlockExport *e, BlockOpts *o, Error **errp)
{
    static const char *const allow[] = {"off", "on", "auto", NULL};
    FuseExport *x = (FuseExport *)e;
    const char *path = block_opts_string(o, "mountpoint", NULL);
    x->fd = -1;
    x->growable = block_opts_bool(o, "growable", false);
    int others = block_opts_enum(o, "allow-other", allow, 2);
    if (!path || !*path) {
        block_opts_mistake(o, "'mountpoint' is missing");
    }
    if (x->growable && !e->writable) {
        block_opts_mistake(o, "'growable' needs 'writable'");
    }
    if (!block_opts_finish(o, errp)) {
        return false;
    }
    x->path = g_canonicalize_filename(path, NULL);
    x->mode = S_IRUSR | (e->writable ? S_IWUSR : 0);
    x->uid = getuid();
    x->gid = getgid();
    clock_gettime(CLOCK_REALTIME, &x->ctime);
    x->atime = x->mtime = x->ctime;
    if (!check_path(x, errp) || !mount_it(x, others, errp)) {
        return false;
    }
    x->mounted = true;
    loop_defer(e->loop, watch_first, x);
    return true;
}

static void wind_down(void *opaque)
{
    lost(opaque);
}

static void stop(BlockExport *e)
{
    FuseExport *x = (FuseExport *)e;
    fuse_unmount(x->path);
    x->mounted = false;
    loop_defer(e->loop, wind_down, x);
}

static void x_free(BlockExport *e)
{
    FuseExport *x = (FuseExport *)e;
    if (x->mounted) {
        fuse_unmount(x->path); /* nothing, if somebody else has done it */
    }
    loop_lock(e->loop);
    loop_defer_cancel(e->loop, x); /* a mount can end from both sides at once */
    loop_unlock(e->loop);
    if (x->fd >= 0) {
        close(x->fd);
    }
    g_free(x->path);
}

const BlockExportDriver fuse_export_driver = {
    .type = "fuse", .size = sizeof(FuseExport), .start = start, .stop = stop, .free = x_free};
