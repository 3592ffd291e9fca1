/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rhea-img commit, rebase, bitmap. */
#include "block/bitmap.h"
#include "block/ops.h"
#include "tools/img.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define CHUNK (1u << 20)

/* ---- commit ---- */

static const ToolOption commit_options[] = {
    IMG_OPT_HELP,
    IMG_OPT_FORMAT,
    IMG_OPT_IMAGE_OPTS,
    {"cache", 't', 0, "CACHE", "cache mode (default: writeback)"},
    {"drop", 'd', 0, NULL, "do not empty the image afterwards"},
    {"base", 'b', 0, "BASE_IMG", "commit into this image of the chain"},
    {"rate-limit", 'r', 0, "RATE", "bytes per second"},
    IMG_OPT_PROGRESS,
    IMG_OPT_QUIET,
    IMG_OPT_OBJECT,
    {NULL},
};

static BlockNode *find_base(BlockNode *n, const char *name, Error **errp)
{
    if (!n->backing) {
        error_set(errp, "'%s' has no backing file to commit to", node_filename(n));
        return NULL;
    }
    if (!name) {
        return n->backing;
    }
    g_autofree char *full = filename_combine(node_filename(n), name);
    for (BlockNode *b = n->backing; b; b = b->backing) {
        if (!strcmp(node_filename(b), name) || !strcmp(node_filename(b), full)) {
            return b;
        }
    }
    error_set(errp, "'%s' is not in the chain below '%s'", name, node_filename(n));
    return NULL;
}

typedef struct CommitRun {
    ToolProgress progress;
    uint64_t rate, size; /* bytes per second or 0; the image's */
    gint64 start;
} CommitRun;

static bool commit_step(void *opaque, uint64_t at, uint64_t data)
{
    CommitRun *r = opaque;

    if (r->rate) {
        gint64 due = r->start + (gint64)((double)data * 1e6 / (double)r->rate);
        gint64 now = g_get_monotonic_time();

        if (due > now) {
            g_usleep((gulong)(due - now));
        }
    }
    return tool_progress(&r->progress, at, r->size);
}

static int commit(Tool *t, BlockNode *n, ToolArgs *a, Error **errp)
{
    CommitRun run = {
        .rate = tool_size(a, "rate-limit", 0), .size = n->length, .start = g_get_monotonic_time()};
    CommitNow c = {.node = n,
                   .base = find_base(n, tool_get(a, "base"), errp),
                   .keep = tool_has(a, "drop"),
                   .step = commit_step,
                   .opaque = &run};

    if (!c.base) {
        return -EINVAL;
    }
    tool_progress_start(&run.progress, tool_has(a, "progress") && !img_quiet(a));
    int ret = commit_now(&c, errp);
    tool_progress_end(&run.progress);
    return ret;
}

static int run_commit(Tool *t, ToolArgs *a)
{
    Error *err = NULL;
    tool_size(a, "rate-limit", 0);
    if (!tool_args_finish(a, 1, 1, "the image's file name", &err)) {
        return img_fail(err);
    }
    ToolOpen o = {.write = true, .discard = true};
    BlockNode *n = img_open_word(t, a, 0, &o, &err);
    tool_catch_signals();
    int ret = n ? commit(t, n, a, &err) : -EINVAL;
    bool closed = tool_close_checked(t, n, ret == 0 ? &err : NULL);
    if (ret < 0 || !closed) {
        return img_fail(err);
    }
    if (!img_quiet(a)) {
        printf("Image committed.\n");
    }
    return 0;
}

const ImgCommand img_commit = {"commit", "FILE",
                               "write the changes of an image to its backing image", commit_options,
                               run_commit};

/* ---- rebase ---- */

static const ToolOption rebase_options[] = {
    IMG_OPT_HELP,
    IMG_OPT_FORMAT,
    IMG_OPT_IMAGE_OPTS,
    {"cache", 't', 0, "CACHE", "cache mode of the image (default: writeback)"},
    {"backing", 'b', 0, "BACKING_FILE|\"\"", "the new backing image; \"\": none"},
    {"backing-format", 'B', 'F', "BACKING_FMT", "its format"},
    {"backing-cache", 'T', 0, "CACHE", "cache mode of the backing images"},
    {"backing-unsafe", 'u', 0, NULL, "change the name only"},
    {"compress", 'c', 0, NULL, "compress what is written"},
    IMG_OPT_FORCE_SHARE,
    IMG_OPT_PROGRESS,
    IMG_OPT_QUIET,
    IMG_OPT_OBJECT,
    {NULL},
};

typedef struct Rebase {
    BlockNode *n, *fresh; /* fresh: the new backing image, or NULL */
    ToolProgress progress;
    uint8_t *old_buf, *new_buf;
    bool compress;
} Rebase;

static int read_backing(BlockNode *b, uint64_t off, uint8_t *buf, uint64_t len)
{
    uint64_t have = b && off < b->length ? MIN(len, b->length - off) : 0;
    int ret = have ? node_pread(b, off, buf, have) : 0;
    memset(buf + have, 0, len - have);
    return ret;
}

static int write_run(Rebase *r, uint64_t off, const uint8_t *buf, uint64_t len)
{
    if (buffer_is_zero(buf, len)) {
        return node_zero(r->n, off, len, 0);
    }
    return node_pwrite(r->n, off, buf, len, r->compress ? BLK_COMPRESSED : 0);
}

/* What the image does not hold itself and would change is written into it. */
static int rebase_piece(Rebase *r, uint64_t off, uint64_t len)
{
    uint64_t unit = MAX(r->n->limits.opt_io, BLOCK_SECTOR);
    int ret = read_backing(r->n->backing, off, r->old_buf, len);
    ret = ret < 0 ? ret : read_backing(r->fresh, off, r->new_buf, len);
    for (uint64_t pos = 0; ret == 0 && pos < len;) {
        uint64_t now = MIN(unit - (off + pos) % unit, len - pos);
        if (memcmp(r->old_buf + pos, r->new_buf + pos, now)) {
            ret = write_run(r, off + pos, r->old_buf + pos, now);
        }
        pos += now;
    }
    return ret;
}

static int rebase_data(Rebase *r, Error **errp)
{
    uint64_t length = r->n->length;
    int ret = 0;
    for (uint64_t off = 0; ret == 0 && off < length;) {
        BlockMap m;
        ret = node_map(r->n, off, length - off, &m);
        if (ret < 0) {
            break;
        }
        if (m.flags & BLOCK_MAP_ALLOCATED) {
            off += m.len;
        } else {
            uint64_t len = MIN(m.len, CHUNK - off % CHUNK), holes = len;
            BlockMap a = {.flags = BLOCK_MAP_ZERO, .len = len}, b = a;
            if (r->n->backing && off < r->n->backing->length) {
                ret = node_map_chain(r->n->backing, NULL, off,
                                     MIN(m.len, r->n->backing->length - off), &a, NULL);
            } else {
                a.len = m.len;
            }
            if (ret == 0 && r->fresh && off < r->fresh->length) {
                ret = node_map_chain(r->fresh, NULL, off, MIN(m.len, r->fresh->length - off), &b,
                                     NULL);
            } else {
                b.len = m.len;
            }
            holes = MIN(a.len, b.len);
            if (ret == 0 && (a.flags & BLOCK_MAP_ZERO) && (b.flags & BLOCK_MAP_ZERO)) {
                off += MIN(holes, m.len);
                continue;
            }
            ret = ret < 0 ? ret : rebase_piece(r, off, len);
            off += len;
        }
        if (ret == 0 && !tool_progress(&r->progress, off, length)) {
            return -ECANCELED;
        }
    }
    ret = ret < 0 ? ret : node_flush(r->n);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot copy what the new backing image lacks");
    }
    return ret;
}

/* Opens the new backing image, whose name is relative to the image. */
static bool open_fresh(Tool *t, ToolArgs *a, Rebase *r, Error **errp)
{
    const char *backing = tool_get(a, "backing");
    if (!*backing) {
        return true;
    }
    g_autofree char *name = filename_combine(node_filename(r->n), backing);
    ToolOpen o = {.format = tool_get(a, "backing-format"),
                  .cache = tool_get(a, "backing-cache"),
                  .force_share = true};
    r->fresh = tool_open(t, name, &o, errp);
    error_prefix(errp, "the new backing file: ");
    return r->fresh != NULL;
}

static int rebase(Tool *t, ToolArgs *a, BlockNode *n, Error **errp)
{
    Rebase r = {.n = n, .compress = tool_has(a, "compress")};
    const char *backing = tool_get(a, "backing"), *format = tool_get(a, "backing-format");
    bool unsafe = tool_has(a, "backing-unsafe");
    int ret = 0;
    if (!n->drv->change_backing) {
        return image_change_backing(n, backing, format, errp);
    }
    if (*backing && !format) {
        error_set(errp, "the format of the backing file is missing (-B FMT)");
        return -EINVAL;
    }
    if (!unsafe) {
        if (!open_fresh(t, a, &r, errp)) {
            return -EINVAL;
        }
        r.old_buf = g_malloc(CHUNK);
        r.new_buf = g_malloc(CHUNK);
        tool_progress_start(&r.progress, tool_has(a, "progress") && !img_quiet(a));
        ret = rebase_data(&r, errp);
        tool_progress_end(&r.progress);
        g_free(r.old_buf);
        g_free(r.new_buf);
        tool_close(t, r.fresh);
    }
    return ret < 0 ? ret : image_change_backing(n, *backing ? backing : NULL, format, errp);
}

static int run_rebase(Tool *t, ToolArgs *a)
{
    Error *err = NULL;
    if (!tool_has(a, "backing")) {
        tool_mistake(a, "'-b' is missing: it names the new backing image (\"\": none)");
    }
    if (!tool_args_finish(a, 1, 1, "the image's file name", &err)) {
        return img_fail(err);
    }
    ToolOpen o = {.write = true, .no_backing = tool_has(a, "backing-unsafe")};
    BlockNode *n = img_open_word(t, a, 0, &o, &err);
    tool_catch_signals();
    int ret = n ? rebase(t, a, n, &err) : -EINVAL;
    bool closed = tool_close_checked(t, n, ret == 0 ? &err : NULL);
    return ret == 0 && closed ? 0 : img_fail(err);
}

const ImgCommand img_rebase = {"rebase", "FILE", "give an image another backing image",
                               rebase_options, run_rebase};

/* ---- bitmap ---- */

static const ToolOption bitmap_options[] = {
    IMG_OPT_HELP,
    IMG_OPT_FORMAT,
    IMG_OPT_IMAGE_OPTS,
    {"add", 0, 0, NULL, "make a bitmap"},
    {"granularity", 'g', 0, "SIZE", "bytes of a bit (with --add)"},
    {"remove", 0, 0, NULL, "remove it"},
    {"remove-all", 0, 0, NULL, "remove all bitmaps"},
    {"clear", 0, 0, NULL, "make all of it clean"},
    {"enable", 0, 0, NULL, "writes mark it from now on"},
    {"disable", 0, 0, NULL, "writes do not mark it any more"},
    {"merge", 0, 0, "SOURCE", "what is dirty in SOURCE becomes dirty"},
    {"source-file", 'b', 0, "SRC_FILE", "image of SOURCE (default: the same)"},
    {"source-format", 'F', 0, "SRC_FMT", "its format"},
    IMG_OPT_OBJECT,
    {NULL},
};

static bool store(BlockNode *n, BlockBitmap *b, Error **errp)
{
    return n->drv->bitmap_store(n, b, errp);
}

static BlockBitmap *require_bitmap(BlockNode *n, const char *name, bool broken_too, Error **errp)
{
    BlockBitmap *b = name ? bitmap_find(n, name) : NULL;
    if (!name) {
        error_set(errp, "the bitmap's name is missing");
    } else if (!b) {
        error_set(errp, "'%s' has no bitmap '%s'", node_filename(n), name);
    }
    return b && bitmap_check(b, broken_too, errp) ? b : NULL;
}

static bool remove_bitmap(BlockNode *n, BlockBitmap *b, Error **errp)
{
    if (!n->drv->bitmap_remove(n, b, errp)) {
        return false;
    }
    bitmap_free(b);
    return true;
}

static bool merge_bitmap(Tool *t, ToolArgs *a, BlockNode *n, BlockBitmap *b, const char *from,
                         Error **errp)
{
    BlockNode *src = n;
    const char *file = tool_get(a, "source-file");
    if (file) {
        ToolOpen o = {.format = tool_get(a, "source-format"), .no_backing = true};
        src = tool_open(t, file, &o, errp);
    }
    BlockBitmap *s = src ? require_bitmap(src, from, false, errp) : NULL;
    bool ok = s && bitmap_merge(b, s, errp) && store(n, b, errp);
    if (src != n) {
        tool_close(t, src);
    }
    return ok;
}

static bool bitmap_action(Tool *t, ToolArgs *a, BlockNode *n, const char *action, const char *value,
                          Error **errp)
{
    const char *name = tool_word(a, 1);
    if (!strcmp(action, "remove-all")) {
        for (GList *l = n->bitmaps, *next; l; l = next) {
            next = l->next;
            if (!remove_bitmap(n, l->data, errp)) {
                return false;
            }
        }
        return true;
    }
    if (!strcmp(action, "add")) {
        uint64_t granularity = tool_size(a, "granularity", 0);
        BlockBitmap *b = name ? bitmap_new(n, name, granularity, errp) : NULL;
        if (!name) {
            error_set(errp, "the bitmap's name is missing");
        }
        if (b) {
            b->persistent = true;
            b->enabled = !tool_has(a, "disable");
        }
        return b && store(n, b, errp);
    }
    BlockBitmap *b = require_bitmap(n, name, !strcmp(action, "remove"), errp);
    if (!b) {
        return false;
    }
    if (!strcmp(action, "remove")) {
        return remove_bitmap(n, b, errp);
    }
    if (!strcmp(action, "merge")) {
        return merge_bitmap(t, a, n, b, value, errp);
    }
    if (!strcmp(action, "clear")) {
        bitmap_clear_all(b);
    } else {
        b->enabled = !strcmp(action, "enable");
    }
    return store(n, b, errp);
}

static int run_bitmap(Tool *t, ToolArgs *a)
{
    static const char *const actions[] = {"add",    "remove",  "remove-all", "clear",
                                          "enable", "disable", "merge",      NULL};
    Error *err = NULL;
    const char *action, *value;
    unsigned n_actions = 0;
    for (unsigned i = 0; (action = tool_nth(a, i, &value)); i++) {
        n_actions += g_strv_contains(actions, action);
    }
    if (!n_actions) {
        tool_mistake(a, "an action is missing: --add, --remove, --clear, --enable, --disable or "
                        "--merge");
    }
    tool_size(a, "granularity", 0);
    if (!tool_args_finish(a, 1, 2, "the image's file name and the bitmap's name", &err)) {
        return img_fail(err);
    }
    ToolOpen o = {.write = true, .no_backing = true};
    BlockNode *n = img_open_word(t, a, 0, &o, &err);
    bool ok = n != NULL;
    if (ok && (!n->drv->bitmap_store || !n->drv->bitmap_remove)) {
        error_set(&err, "images of format '%s' cannot have bitmaps", n->drv->name);
        ok = false;
    }
    for (unsigned i = 0; ok && (action = tool_nth(a, i, &value)); i++) {
        ok = !g_strv_contains(actions, action) || bitmap_action(t, a, n, action, value, &err);
    }
    bool closed = tool_close_checked(t, n, ok ? &err : NULL);
    return ok && closed ? 0 : img_fail(err);
}

const ImgCommand img_bitmap = {"bitmap", "FILE [BITMAP]",
                               "make and change persistent dirty bitmaps", bitmap_options,
                               run_bitmap};
