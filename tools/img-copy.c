/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/img-copy.h"

#include "block/bitmap.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* Bytes of one request; clusters to be compressed come one by one, for more workers. */
#define CHUNK (512u << 10)
/* To or from elsewhere: what a request costs besides its bytes is paid less often. */
#define REMOTE_CHUNK (2u << 20)
#define PARALLEL 8u
#define REMOTE_PARALLEL 4u

typedef struct Copier {
    ImgCopy *c;
    EventLoop *loop;
    FiberMutex next_lock;
    uint64_t next;    /* first byte that nobody has taken yet */
    uint64_t map_end; /* what `map` says holds up to here */
    BlockMap map;
    uint64_t done, write_turn;
    GQueue waiting; /* Turn*: for their turn to write */
    unsigned workers;
    int error;
    bool error_reading;
    uint64_t error_at;
    int64_t started;
    uint64_t align; /* of pieces: the target's cluster when compressing */
    uint64_t chunk; /* bytes of one request */
} Copier;

typedef enum PieceKind { PIECE_DATA, PIECE_ZERO, PIECE_SKIP } PieceKind;
typedef struct Piece {
    uint64_t off, len;
    PieceKind kind;
} Piece;

typedef struct Turn {
    uint64_t off;
    Fiber *fiber;
} Turn;

/* ---- what comes next ---- */

/* The source that has byte `off`; *at: the offset in it. */
static BlockNode *source_of(const Copier *k, uint64_t off, uint64_t *at)
{
    off += k->c->from;
    for (unsigned i = 0; i < k->c->n_sources; i++) {
        if (off < k->c->sources[i]->length) {
            *at = off;
            return k->c->sources[i];
        }
        off -= k->c->sources[i]->length;
    }
    *at = off;
    return NULL;
}

static int look(Copier *k)
{
    uint64_t at;
    BlockNode *n = source_of(k, k->next, &at);
    uint64_t len = n ? MIN(n->length - at, k->c->total - k->next) : k->c->total - k->next;
    if (!n) {
        k->map = (BlockMap){.flags = BLOCK_MAP_ZERO, .len = len};
        k->map_end = k->next + len;
        return 0;
    }
    BlockNode *base = k->c->target_has_backing ? node_below(n) : NULL;
    int ret = node_map_chain(n, base, at, len, &k->map, NULL);
    if (ret < 0 && k->c->salvage) {
        k->map = (BlockMap){.flags = BLOCK_MAP_DATA | BLOCK_MAP_ALLOCATED, .len = MIN(len, 65536u)};
        ret = 0;
    }
    k->map_end = k->next + k->map.len;
    return ret;
}

/* Takes the next piece; false: there is none. */
static bool take(Copier *k, Piece *p)
{
    fiber_mutex_lock(&k->next_lock);
    bool any = !k->error && k->next < k->c->total && !tool_interrupted();
    if (any && k->next >= k->map_end) {
        int ret = look(k);
        if (ret < 0) {
            k->error = ret;
            k->error_reading = true;
            k->error_at = k->next;
            any = false;
        }
    }
    if (any) {
        p->off = k->next;
        p->len = k->map_end - k->next;
        p->kind = k->map.flags & BLOCK_MAP_ZERO                                       ? PIECE_ZERO
                  : !(k->map.flags & BLOCK_MAP_ALLOCATED) && k->c->target_has_backing ? PIECE_SKIP
                                                                                      : PIECE_DATA;
        uint64_t end = k->map_end;
        if (k->c->compress) {
            /* Whole clusters: a piece of data reaches to the end of its last one. */
            end = MIN(ALIGN_UP(end, k->align), k->c->total);
            if (p->kind != PIECE_DATA && (p->off % k->align || p->len < k->align)) {
                p->kind = PIECE_DATA;
            } else if (p->kind != PIECE_DATA) {
                end = k->map_end == k->c->total ? k->map_end : ALIGN_DOWN(k->map_end, k->align);
            }
        }
        p->len = end - p->off;
        if (p->kind == PIECE_DATA) {
            p->len = MIN(p->len, k->chunk - p->off % k->chunk);
        }
        k->next += p->len;
    }
    fiber_mutex_unlock(&k->next_lock);
    return any;
}

/* ---- order ---- */

static void enter_fiber(void *opaque)
{
    fiber_enter(opaque);
}

/* Writes begin in the order of their offsets, so that new clusters lie in that order. */
static void wait_turn(Copier *k, uint64_t off)
{
    Turn t = {off, fiber_self()};
    if (k->write_turn == off) {
        return;
    }
    g_queue_push_tail(&k->waiting, &t);
    fiber_yield();
}

/* The next one begins when this one has to wait for something. */
static void pass_turn(Copier *k, uint64_t end)
{
    k->write_turn = end;
    for (GList *l = k->waiting.head; l; l = l->next) {
        Turn *t = l->data;
        if (t->off == end) {
            Fiber *f = t->fiber;
            g_queue_delete_link(&k->waiting, l);
            loop_defer(k->loop, enter_fiber, f);
            return;
        }
    }
}

/* ---- one piece ---- */

static int read_piece(Copier *k, const Piece *p, uint8_t *buf)
{
    for (uint64_t pos = 0; pos < p->len;) {
        uint64_t at;
        BlockNode *n = source_of(k, p->off + pos, &at);
        uint64_t len = n ? MIN(p->len - pos, n->length - at) : p->len - pos;
        int ret = 0;
        if (!n) {
            memset(buf + pos, 0, len);
        } else {
            ret = node_pread(n, at, buf + pos, len);
        }
        if (ret < 0 && k->c->salvage && len > BLOCK_SECTOR) {
            /* Sector by sector: as little as possible is lost. */
            for (uint64_t s = 0; s < len; s += BLOCK_SECTOR) {
                uint64_t now = MIN(BLOCK_SECTOR, len - s);
                if (node_pread(n, at + s, buf + pos + s, now) < 0) {
                    memset(buf + pos + s, 0, now);
                    if (!k->c->quiet) {
                        report_warning("error while reading offset %" PRIu64
                                       ": zeroes are written instead",
                                       at + s);
                    }
                }
            }
            ret = 0;
        } else if (ret < 0) {
            return ret;
        }
        pos += len;
    }
    return 0;
}

/* How many bytes of `buf` are alike, zeroes or not, in units of `unit`. */
static uint64_t run_of(const uint8_t *buf, uint64_t len, uint64_t unit, bool *zero)
{
    uint64_t n = MIN(unit, len);
    *zero = buffer_is_zero(buf, n);
    while (n < len && buffer_is_zero(buf + n, MIN(unit, len - n)) == *zero) {
        n += MIN(unit, len - n);
    }
    return n;
}

static int write_zeroes(Copier *k, uint64_t off, uint64_t len)
{
    if (k->c->target_zero && k->c->sparse) {
        return 0;
    }
    return node_zero(k->c->target, off, len, k->c->sparse ? BLK_MAY_UNMAP : 0);
}

static int write_compressed(Copier *k, const Piece *p, uint8_t *buf)
{
    for (uint64_t pos = 0; pos < p->len; pos += k->align) {
        uint64_t len = MIN(k->align, p->len - pos);
        struct iovec one = {buf + pos, len};
        IoVec v = {.iov = &one, .n = 1, .size = len};
        int ret = buffer_is_zero(buf + pos, len)
                      ? write_zeroes(k, p->off + pos, len)
                      : node_pwritev(k->c->target, p->off + pos, &v, BLK_COMPRESSED);
        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

static int write_data(Copier *k, const Piece *p, uint8_t *buf)
{
    uint64_t unit = k->c->sparse;
    if (k->c->compress) {
        return write_compressed(k, p, buf);
    }
    for (uint64_t pos = 0, len; pos < p->len; pos += len) {
        bool zero = false;
        len = unit ? run_of(buf + pos, p->len - pos, unit, &zero) : p->len;
        int ret = zero ? write_zeroes(k, p->off + pos, len)
                       : node_pwrite(k->c->target, p->off + pos, buf + pos, len, 0);
        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

static void note_error(Copier *k, int ret, bool reading, uint64_t at)
{
    if (!k->error) {
        k->error = ret;
        k->error_reading = reading;
        k->error_at = at;
    }
}

static int copy_piece(Copier *k, const Piece *p, uint8_t *buf, bool ordered)
{
    bool reading = true;
    int ret = p->kind == PIECE_DATA ? read_piece(k, p, buf) : 0;
    if (ordered) {
        wait_turn(k, p->off);
        /* The first one has tables to make: the others come after it. */
        if (p->off) {
            pass_turn(k, p->off + p->len);
        }
    }
    if (ret == 0 && !k->error && p->kind != PIECE_SKIP) {
        reading = false;
        ret = p->kind == PIECE_ZERO ? write_zeroes(k, p->off, p->len) : write_data(k, p, buf);
    }
    if (ret < 0) {
        note_error(k, ret, reading, p->off);
    }
    if (ordered && !p->off) {
        pass_turn(k, p->len);
    }
    return ret;
}

/* ---- the workers ---- */

static void sleep_done(void *opaque)
{
    fiber_enter(opaque);
}

/* Not faster than the limit. */
static void obey_rate(Copier *k)
{
    uint64_t rate = k->c->rate;
    int64_t due = k->started + (int64_t)((double)k->done * 1e6 / (double)rate);
    int64_t now = g_get_monotonic_time();
    if (due > now) {
        Timer timer;
        timer_init(&timer, k->loop, CLOCK_RT, sleep_done, fiber_self());
        timer_mod(&timer, clock_now(loop_clocks(k->loop), CLOCK_RT) + (due - now) * 1000);
        fiber_yield();
        timer_fini(&timer);
    }
}

static void worker(void *opaque)
{
    Copier *k = opaque;
    ImgCopy *c = k->c;
    bool ordered =
        !c->unordered && !c->compress && c->parallel > 1 && strcmp(c->target->drv->name, "raw");
    void *buf = NULL;
    Piece p;
    if (posix_memalign(&buf, 4096, k->chunk)) {
        note_error(k, -ENOMEM, true, 0);
        buf = NULL;
    }
    while (buf && take(k, &p)) {
        copy_piece(k, &p, buf, ordered);
        k->done += p.len;
        tool_progress(&c->progress, k->done, c->total);
        if (c->rate && p.kind == PIECE_DATA) {
            obey_rate(k);
        }
    }
    free(buf);
    k->workers--;
}

static void start_worker(void *opaque)
{
    fiber_enter(fiber_new(worker, opaque));
}

static bool is_remote(const BlockNode *n)
{
    while (n->file) {
        n = n->file;
    }
    return n->drv->remote;
}

/* How much a request moves, and how many there are at a time unless the user said so. */
static void choose_sizes(Copier *k, Tool *t)
{
    ImgCopy *c = k->c;
    bool remote = is_remote(c->target);
    for (unsigned i = 0; i < c->n_sources; i++) {
        remote |= is_remote(c->sources[i]);
    }
    k->align = c->compress ? MAX(c->target->limits.opt_io, BLOCK_SECTOR) : 1;
    k->chunk = c->compress ? MAX(k->align, 64 * KiB) : remote ? REMOTE_CHUNK : CHUNK;
    if (!c->parallel && c->compress) {
        /* Many threads that compute get in each other's way. */
        c->parallel = CLAMP(g_get_num_processors(), 4, 8);
    } else if (!c->parallel) {
        c->parallel = remote ? REMOTE_PARALLEL : PARALLEL;
    }
    if (remote) {
        t->graph->patient = false; /* answers come while a file is written */
    }
}

bool img_copy(Tool *t, ImgCopy *c, Error **errp)
{
    Copier k = {.c = c, .loop = t->loop, .started = g_get_monotonic_time()};
    fiber_mutex_init(&k.next_lock);
    g_queue_init(&k.waiting);
    choose_sizes(&k, t);
    k.workers = c->parallel;
    for (unsigned i = k.workers; i > 0; i--) {
        loop_defer(t->loop, start_worker, &k);
    }
    while (k.workers) {
        loop_poll(t->loop, NS_PER_SEC / 5);
    }
    fiber_mutex_destroy(&k.next_lock);
    if (k.error) {
        error_set_errno(errp, -k.error, "error while %s at byte %" PRIu64,
                        k.error_reading ? "reading" : "writing", k.error_at);
        if (k.error == -ENOSPC) {
            error_hint(errp, "'rhea-img measure' tells how much space an image needs");
        }
    }
    return !k.error && !tool_interrupted();
}

bool img_copy_bitmaps(BlockNode *src, BlockNode *dst, bool skip_broken, Error **errp)
{
    for (GList *l = src->bitmaps; l; l = l->next) {
        BlockBitmap *from = l->data;
        if (!from->name || !from->persistent) {
            continue;
        }
        if (from->inconsistent && skip_broken) {
            report_warning("the inconsistent bitmap '%s' is not copied", from->name);
            continue;
        }
        if (from->inconsistent) {
            error_set(errp, "the bitmap '%s' is inconsistent and cannot be copied", from->name);
            error_hint(errp, "--skip-broken-bitmaps leaves such bitmaps behind");
            return false;
        }
        BlockBitmap *to = bitmap_new(dst, from->name, bitmap_granularity(from), errp);
        if (!to || !bitmap_merge(to, from, errp)) {
            return false;
        }
        to->enabled = from->enabled;
        to->persistent = true;
        if (!dst->drv->bitmap_store) {
            error_set(errp, "images of format '%s' cannot have bitmaps", dst->drv->name);
            return false;
        }
        if (!dst->drv->bitmap_store(dst, to, errp)) {
            return false;
        }
    }
    return true;
}
