/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rhea-img compare and bench. */
#include "tools/img.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- compare ---- */

#define CHUNK (512u << 10)
#define SMALL_CHUNK (64u << 10) /* from the page cache: what stays in the CPU's */
#define WORKERS 4u

static const ToolOption compare_options[] = {
    IMG_OPT_HELP,
    {"a-format", 'f', 0, "FMT", "format of the first image"},
    {"b-format", 'F', 0, "FMT", "format of the second image"},
    IMG_OPT_IMAGE_OPTS,
    {"strict", 's', 0, NULL, "sizes and allocation must be the same, too"},
    {"cache", 'T', 0, "CACHE", "cache mode (default: writeback)"},
    IMG_OPT_FORCE_SHARE,
    IMG_OPT_PROGRESS,
    IMG_OPT_QUIET,
    IMG_OPT_OBJECT,
    {NULL},
};

typedef struct Compare {
    BlockNode *node[2];
    uint64_t total; /* of the longer one */
    uint64_t next, done;
    BlockMap map[2];
    uint64_t map_end[2];
    uint64_t chunk;
    FiberMutex lock;
    bool strict, stop;
    uint64_t differ_at; /* UINT64_MAX: nowhere */
    uint64_t strict_at;
    int error;
    unsigned error_image, workers;
    uint64_t error_at;
    ToolProgress progress;
} Compare;

static int look(Compare *c, unsigned i)
{
    BlockNode *n = c->node[i];
    if (c->next < c->map_end[i]) {
        return 0;
    }
    if (c->next >= n->length) {
        c->map[i] = (BlockMap){.flags = BLOCK_MAP_ZERO};
        c->map_end[i] = c->total;
        return 0;
    }
    int ret = node_map_chain(n, NULL, c->next, n->length - c->next, &c->map[i], NULL);
    c->map_end[i] = c->next + c->map[i].len;
    return ret;
}

typedef struct Part {
    uint64_t off, len;
    bool zero[2], compare;
} Part;

/* The next part in which each image is of one kind; those that are zeroes in both are passed. */
static bool take(Compare *c, Part *p)
{
    bool found = false;
    fiber_mutex_lock(&c->lock);
    while (!found && !c->stop && c->next < c->total && !tool_interrupted()) {
        for (unsigned i = 0; i < 2 && !c->stop; i++) {
            int ret = look(c, i);
            if (ret < 0) {
                c->error = ret;
                c->error_image = i;
                c->error_at = c->next;
                c->stop = true;
            }
        }
        if (c->stop) {
            break;
        }
        uint64_t end = MIN(c->map_end[0], c->map_end[1]);
        *p = (Part){.off = c->next, .len = end - c->next};
        for (unsigned i = 0; i < 2; i++) {
            p->zero[i] = c->map[i].flags & BLOCK_MAP_ZERO;
        }
        bool alloc0 = c->map[0].flags & BLOCK_MAP_ALLOCATED;
        bool alloc1 = c->map[1].flags & BLOCK_MAP_ALLOCATED;
        if (c->strict && c->next < c->node[0]->length && c->next < c->node[1]->length &&
            (alloc0 != alloc1 || p->zero[0] != p->zero[1])) {
            c->strict_at = c->next;
            c->stop = true;
            break;
        }
        found = !p->zero[0] || !p->zero[1];
        if (found) {
            p->len = MIN(p->len, c->chunk - p->off % c->chunk);
        }
        c->next += p->len;
        c->done += found ? 0 : p->len;
    }
    fiber_mutex_unlock(&c->lock);
    return found;
}

static bool read_image(Compare *c, unsigned i, const Part *p, uint8_t *buf)
{
    int ret = node_pread(c->node[i], p->off, buf, p->len);
    if (ret < 0 && !c->error) {
        c->error = ret;
        c->error_image = i;
        c->error_at = p->off;
        c->stop = true;
    }
    return ret == 0;
}

static void note_difference(Compare *c, uint64_t at)
{
    c->differ_at = MIN(c->differ_at, at);
    c->stop = true;
}

/* The sector in which the buffers first differ. */
static uint64_t first_difference(const uint8_t *a, const uint8_t *b, uint64_t len)
{
    uint64_t at = 0;
    while (at < len && !memcmp(a + at, b + at, MIN(BLOCK_SECTOR, len - at))) {
        at += BLOCK_SECTOR;
    }
    return at;
}

static void compare_part(Compare *c, const Part *p, uint8_t *a, uint8_t *b)
{
    if (p->zero[0] || p->zero[1]) {
        if (read_image(c, p->zero[0], p, a) && !buffer_is_zero(a, p->len)) {
            memset(b, 0, p->len);
            note_difference(c, p->off + first_difference(a, b, p->len));
        }
        return;
    }
    if (read_image(c, 0, p, a) && read_image(c, 1, p, b) && memcmp(a, b, p->len)) {
        note_difference(c, p->off + first_difference(a, b, p->len));
    }
}

static void compare_worker(void *opaque)
{
    Compare *c = opaque;
    void *a = NULL, *b = NULL;
    Part p;
    if (posix_memalign(&a, 4096, CHUNK) || posix_memalign(&b, 4096, CHUNK)) {
        c->error = -ENOMEM;
        c->stop = true;
    }
    while (a && b && take(c, &p)) {
        compare_part(c, &p, a, b);
        c->done += p.len;
        tool_progress(&c->progress, c->done, c->total);
    }
    free(a);
    free(b);
    c->workers--;
}

static void start_worker(void *opaque)
{
    fiber_enter(fiber_new(compare_worker, opaque));
}

static int verdict(Compare *c, ToolArgs *a)
{
    bool quiet = img_quiet(a);
    if (tool_interrupted()) {
        return 1;
    }
    if (c->differ_at != UINT64_MAX) {
        if (!quiet) {
            printf("Content mismatch at offset %" PRIu64 "!\n", c->differ_at);
        }
        return 1;
    }
    if (c->strict_at != UINT64_MAX) {
        if (!quiet) {
            printf("Strict mode: Offset %" PRIu64 " block status mismatch!\n", c->strict_at);
        }
        return 1;
    }
    if (c->error) {
        report_error("error while reading offset %" PRIu64 " of '%s': %s", c->error_at,
                     tool_word(a, c->error_image), g_strerror(-c->error));
        return 4;
    }
    if (!quiet) {
        if (c->node[0]->length != c->node[1]->length) {
            printf("Warning: Image size mismatch!\n");
        }
        printf("Images are identical.\n");
    }
    return 0;
}

/* Files by way of the page cache, which reads ahead by itself. */
static bool is_plain_file(const BlockNode *n)
{
    while (n->file) {
        n = n->file;
    }
    return n->drv == &block_driver_file && !n->flags.direct;
}

static int compare(Tool *t, ToolArgs *a, Compare *c)
{
    bool files = is_plain_file(c->node[0]) && is_plain_file(c->node[1]);
    c->chunk = files ? SMALL_CHUNK : CHUNK;
    if (c->strict && c->node[0]->length != c->node[1]->length) {
        if (!img_quiet(a)) {
            printf("Strict mode: Image size mismatch!\n");
        }
        return 1;
    }
    c->total = MAX(c->node[0]->length, c->node[1]->length);
    c->differ_at = c->strict_at = UINT64_MAX;
    fiber_mutex_init(&c->lock);
    tool_catch_signals();
    tool_progress_start(&c->progress, tool_has(a, "progress") && !img_quiet(a));
    c->workers = WORKERS;
    for (unsigned i = 0; i < WORKERS; i++) {
        loop_defer(t->loop, start_worker, c);
    }
    while (c->workers) {
        loop_poll(t->loop, NS_PER_SEC / 5);
    }
    tool_progress_end(&c->progress);
    fiber_mutex_destroy(&c->lock);
    return verdict(c, a);
}

static int run_compare(Tool *t, ToolArgs *a)
{
    Compare c = {.strict = tool_has(a, "strict")};
    Error *err = NULL;
    if (!tool_args_finish(a, 2, 2, "two images' file names", &err)) {
        img_fail(err);
        return 2;
    }
    ToolOpen o = {.image_opts = tool_has(a, "image-opts"),
                  .cache = tool_get(a, "cache"),
                  .force_share = tool_has(a, "force-share")};
    o.format = tool_get(a, "a-format");
    c.node[0] = tool_open(t, tool_word(a, 0), &o, &err);
    o.format = tool_get(a, "b-format");
    c.node[1] = c.node[0] ? tool_open(t, tool_word(a, 1), &o, &err) : NULL;
    int status = 2;
    if (c.node[1]) {
        status = compare(t, a, &c);
    } else {
        img_fail(err);
    }
    tool_close(t, c.node[0]);
    tool_close(t, c.node[1]);
    return status;
}

const ImgCommand img_compare = {"compare", "FILE1 FILE2", "tell whether two images hold the same",
                                compare_options, run_compare};

/* ---- bench ---- */

static const ToolOption bench_options[] = {
    IMG_OPT_HELP,
    IMG_OPT_FORMAT,
    IMG_OPT_IMAGE_OPTS,
    {"cache", 't', 0, "CACHE", "cache mode (default: writeback)"},
    {"count", 'c', 0, "COUNT", "requests (default: 75000)"},
    {"depth", 'd', 0, "DEPTH", "requests at a time (default: 64)"},
    {"offset", 'o', 0, "OFFSET", "of the first"},
    {"buffer-size", 's', 0, "SIZE", "bytes of each (default: 4k)"},
    {"step-size", 'S', 0, "SIZE", "distance between them (default: their size)"},
    {"write", 'w', 0, NULL, "write instead of read"},
    {"pattern", 0, 0, "PATTERN", "byte to write"},
    {"flush-interval", 0, 0, "N", "flush after so many requests"},
    {"no-drain", 0, 0, NULL, "do not wait for the others before a flush"},
    {"aio", 'i', 0, "AIO", "threads, native or io_uring"},
    {"native", 'n', 0, NULL, "the same as --aio=native"},
    IMG_OPT_FORCE_SHARE,
    IMG_OPT_QUIET,
    IMG_OPT_OBJECT,
    {NULL},
};

typedef struct Bench {
    BlockNode *n;
    uint64_t count, started, flush_interval, size, step, offset;
    bool write;
    void *buf;
    struct iovec one;
    IoVec v;
    unsigned workers, in_flight;
    bool drain, flushing, ended;
    FiberQueue gate; /* for a flush to end, or for others to end before one */
    int error;
} Bench;

/* A flush begins when nothing else is under way, and nothing begins before it has ended. */
static int bench_flush(Bench *b)
{
    b->flushing = b->drain;
    while (b->drain && b->in_flight) {
        fiber_queue_wait(&b->gate);
    }
    int ret = node_flush(b->n);
    b->flushing = false;
    fiber_queue_wake_all(&b->gate);
    return ret;
}

static void bench_worker(void *opaque)
{
    Bench *b = opaque;
    for (;;) {
        while (b->flushing) {
            fiber_queue_wait(&b->gate);
        }
        if (b->started >= b->count || b->error) {
            break;
        }
        uint64_t i = b->started++;
        uint64_t at = b->offset;
        b->offset += b->step;
        b->offset %= b->n->length;
        if (b->offset + b->size > b->n->length) {
            b->offset = 0;
        }
        b->in_flight++;
        int ret = b->write ? node_pwritev(b->n, at, &b->v, 0) : node_preadv(b->n, at, &b->v);
        b->in_flight--;
        if (b->flushing) {
            fiber_queue_wake_all(&b->gate);
        }
        if (ret == 0 && b->flush_interval && (i + 1) % b->flush_interval == 0 && !b->flushing) {
            ret = bench_flush(b);
        }
        b->error = b->error ? b->error : ret;
    }
    b->ended = --b->workers == 0;
}

static void start_bench(void *opaque)
{
    fiber_enter(fiber_new(bench_worker, opaque));
}

static bool bench(Tool *t, Bench *b, unsigned depth, int pattern, Error **errp)
{
    if (b->size > b->n->length || posix_memalign(&b->buf, 4096, b->size)) {
        error_set(errp, "requests of %" PRIu64 " bytes are too large for this image", b->size);
        return false;
    }
    memset(b->buf, pattern, b->size);
    b->one = (struct iovec){b->buf, b->size};
    b->v = (IoVec){.iov = &b->one, .n = 1, .size = b->size};
    printf("Sending %" PRIu64 " %s requests, %" PRIu64 " bytes each, %u in parallel (starting at "
           "offset %" PRIu64 ", step size %" PRIu64 ")\n",
           b->count, b->write ? "write" : "read", b->size, depth, b->offset, b->step);
    t->graph->one_by_one = depth == 1;
    gint64 start = g_get_monotonic_time();
    b->workers = depth;
    for (unsigned i = 0; i < depth; i++) {
        loop_defer(t->loop, start_bench, b);
    }
    loop_run_until(t->loop, &b->ended);
    double took = (double)(g_get_monotonic_time() - start) / 1e6;
    free(b->buf);
    if (b->error) {
        error_set_errno(errp, -b->error, "a request has failed");
        return false;
    }
    printf("Run completed in %3.3f seconds.\n", took);
    return true;
}

static int run_bench(Tool *t, ToolArgs *a)
{
    Error *err = NULL;
    Bench b = {.write = tool_has(a, "write")};
    b.count = tool_uint(a, "count", 75000, 1, UINT32_MAX);
    unsigned depth = (unsigned)tool_uint(a, "depth", 64, 1, 4096);
    b.offset = tool_size(a, "offset", 0);
    b.size = tool_size(a, "buffer-size", 4096);
    b.step = tool_size(a, "step-size", b.size);
    b.step = b.step ? b.step : b.size;
    b.flush_interval = tool_uint(a, "flush-interval", 0, 0, UINT32_MAX);
    b.drain = !tool_has(a, "no-drain");
    fiber_queue_init(&b.gate);
    int pattern = (int)tool_uint(a, "pattern", 0, 0, 255);
    if ((tool_has(a, "pattern") || tool_has(a, "flush-interval")) && !b.write) {
        tool_mistake(a, "'--pattern' and '--flush-interval' need '-w'");
    }
    if (b.size == 0 || b.size > 1 * GiB) {
        tool_mistake(a, "'-s' must be from 1 to 1G");
    }
    if (!tool_args_finish(a, 1, 1, "the image's file name", &err)) {
        return img_fail(err);
    }
    ToolOpen o = {.write = b.write};
    o.aio = tool_has(a, "native") ? "native" : tool_get(a, "aio");
    b.n = img_open_word(t, a, 0, &o, &err);
    bool ok = b.n && bench(t, &b, depth, pattern, &err);
    tool_close(t, b.n);
    return ok ? 0 : img_fail(err);
}

const ImgCommand img_bench = {"bench", "FILE", "time reads or writes", bench_options, run_bench};
