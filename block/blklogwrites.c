/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The filter "blklogwrites": notes every write in a second node, in the format of Linux's
 * dm-log-writes (Documentation/admin-guide/device-mapper/log-writes.rst): a super block, then
 * entries, each a sector of description followed by its data.
 */
#include "block/passthrough.h"

#include <errno.h>

#define LOG_MAGIC 0x6a736677736872ull
#define LOG_VERSION 1u
#define LOG_FLUSH BIT(0)
#define LOG_FUA BIT(1)
#define LOG_DISCARD BIT(2)

typedef struct LogState {
    BlockNode *log; /* child */
    uint32_t sector;
    uint64_t next; /* byte in the log */
    uint64_t entries;
    uint64_t update_interval;
    FiberMutex lock;
} LogState;

static int write_super(LogState *s)
{
    g_autofree uint8_t *b = g_malloc0(s->sector);
    st_le64(b, LOG_MAGIC);
    st_le64(b + 8, LOG_VERSION);
    st_le64(b + 16, s->entries);
    st_le32(b + 24, s->sector);
    return node_pwrite(s->log, 0, b, s->sector, 0);
}

static bool log_open(BlockNode *n, BlockOpts *o, Error **errp)
{
    LogState *s = n->s;
    fiber_mutex_init(&s->lock);
    Json *log = block_opts_take(o, "log");
    s->sector = (uint32_t)block_opts_size(o, "log-sector-size", 512);
    s->update_interval = block_opts_uint(o, "log-super-update-interval", 4096, 1, UINT32_MAX);
    bool append = block_opts_bool(o, "log-append", false);
    if (!log) {
        block_opts_mistake(o, "'log' is missing");
    }
    if (append) {
        block_opts_mistake(o, "log-append=on is not supported: every log begins anew");
    }
    if (!IS_POWER_OF_2(s->sector) || s->sector < 512 || s->sector > 65536) {
        block_opts_mistake(o, "'log-sector-size' must be a power of two from 512 to 65536");
    }
    if (!block_opts_finish(o, errp)) {
        return false;
    }
    pass_limits(n);
    n->limits.request_align = MAX(n->limits.request_align, s->sector);
    BlockOpenFlags f = {.depth = n->flags.depth + 1};
    s->log = node_open(n->graph, log, &f, errp);
    if (!s->log || !node_take(s->log, n, n->name, true, false, errp)) {
        return false;
    }
    s->next = s->sector;
    int ret = write_super(s);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot write to the log '%s'", node_filename(s->log));
    }
    return ret == 0;
}

static void log_close(BlockNode *n)
{
    LogState *s = n->s;
    if (s->log) {
        write_super(s);
        node_flush(s->log);
        node_release(s->log, n);
        node_unref(s->log);
        s->log = NULL;
    }
    fiber_mutex_destroy(&s->lock);
}

static BlockNode **log_child(BlockNode *n, unsigned i, const char **role)
{
    *role = "log";
    return i == 0 ? &((LogState *)n->s)->log : NULL;
}

/* One entry; `v` NULL: without data. */
static int note(BlockNode *n, uint64_t off, uint64_t len, const IoVec *v, uint64_t flags)
{
    LogState *s = n->s;
    g_autofree uint8_t *b = g_malloc0(s->sector);
    st_le64(b, off / s->sector);
    st_le64(b + 8, len / s->sector);
    st_le64(b + 16, flags);
    st_le64(b + 24, v ? v->size : 0);
    fiber_mutex_lock(&s->lock);
    uint64_t at = s->next;
    s->next += s->sector + (v ? v->size : 0);
    s->entries++;
    int ret = node_pwrite(s->log, at, b, s->sector, 0);
    if (ret == 0 && v) {
        ret = node_pwritev(s->log, at + s->sector, v, 0);
    }
    if (ret == 0 && (s->entries % s->update_interval == 0 || (flags & (LOG_FLUSH | LOG_FUA)))) {
        ret = write_super(s);
    }
    fiber_mutex_unlock(&s->lock);
    return ret;
}

static int log_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    int ret = node_pwritev(n->file, off, v, flags);
    int noted = note(n, off, v->size, v, flags & BLK_FUA ? LOG_FUA : 0);
    return ret < 0 ? ret : noted;
}

static int log_flush(BlockNode *n)
{
    int ret = node_flush(n->file);
    int noted = note(n, 0, 0, NULL, LOG_FLUSH);
    return ret < 0 ? ret : noted;
}

static int log_discard(BlockNode *n, uint64_t off, uint64_t len)
{
    LogState *s = n->s;
    int ret = node_discard(n->file, off, len);
    int noted = note(n, off, ALIGN_DOWN(len, (uint64_t)s->sector), NULL, LOG_DISCARD);
    return ret < 0 ? ret : noted;
}

const BlockDriver block_driver_blklogwrites = {
    .name = "blklogwrites",
    .help = "notes all writes in a log of dm-log-writes' format",
    .state_size = sizeof(LogState),
    .filter = true,
    .transparent = true,
    .open = log_open,
    .close = log_close,
    .preadv = pass_preadv,
    .pwritev = log_pwritev, /* zeroes are written, so that the log has them */
    .flush = log_flush,
    .discard = log_discard,
    .truncate = pass_truncate,
    .map = pass_map,
    .child = log_child,
};
