/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The filter "blkdebug": makes requests fail, for tests.  Rules wait for a kind of request
 * ("inject-error", by `iotype`, optionally at one sector, once, in one state) or move the state
 * on when an event passes ("set-state").  The events known here are those of requests: read_aio,
 * write_aio, flush_to_os, flush_to_disk, none.
 */
#include "block/passthrough.h"

#include <errno.h>

typedef enum Io { IO_READ, IO_WRITE, IO_ZERO, IO_DISCARD, IO_FLUSH, IO_STATUS } Io;
static const char *const io_names[] = {"read",         "write", "write-zeroes", "discard", "flush",
                                       "block-status", NULL};

/* Events and the requests at which they pass. */
static const struct {
    const char *name;
    unsigned io; /* bit per Io */
} events[] = {
    {"none", 0x3f},
    {"read_aio", BIT(IO_READ)},
    {"write_aio", BIT(IO_WRITE)},
    {"flush_to_os", BIT(IO_FLUSH)},
    {"flush_to_disk", BIT(IO_FLUSH)},
};

typedef struct Rule {
    unsigned io;        /* requests concerned */
    unsigned state;     /* 0: any */
    unsigned new_state; /* set-state */
    bool inject;
    int error;
    int64_t sector; /* -1: any */
    bool once, immediately, spent;
} Rule;

typedef struct Debug {
    GArray *rules; /* Rule */
    unsigned state;
} Debug;

/* ---- rules ---- */

static bool event_io(BlockOpts *o, Rule *r)
{
    const char *name = block_opts_string(o, "event", "none");
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        if (!strcmp(events[i].name, name)) {
            r->io = events[i].io;
            return true;
        }
    }
    block_opts_mistake(o,
                       "there is no event '%s' here: none, read_aio, write_aio, flush_to_os, "
                       "flush_to_disk",
                       name);
    return false;
}

static bool add_rule(Debug *d, const Json *j, bool inject, Error **errp)
{
    Rule r = {.inject = inject, .sector = -1};
    g_autoptr(BlockOpts) o = block_opts_new(j, inject ? "inject-error" : "set-state");
    event_io(o, &r);
    r.state = (unsigned)block_opts_uint(o, "state", 0, 0, 1u << 20);
    if (inject) {
        r.error = (int)block_opts_uint(o, "errno", EIO, 1, 4095);
        if (block_opts_has(o, "sector")) {
            r.sector = (int64_t)block_opts_uint(o, "sector", 0, 0, INT64_MAX / BLOCK_SECTOR);
        }
        r.once = block_opts_bool(o, "once", false);
        r.immediately = block_opts_bool(o, "immediately", false);
        if (block_opts_has(o, "iotype")) {
            r.io &= BIT(block_opts_enum(o, "iotype", io_names, IO_READ));
        } else if (r.io == 0x3f) {
            r.io = BIT(IO_READ) | BIT(IO_WRITE) | BIT(IO_ZERO) | BIT(IO_DISCARD) | BIT(IO_FLUSH);
        }
    } else {
        r.new_state = (unsigned)block_opts_uint(o, "new_state", 1, 1, 1u << 20);
    }
    if (!block_opts_finish(o, errp)) {
        return false;
    }
    g_array_append_val(d->rules, r);
    return true;
}

static bool add_rules(Debug *d, const Json *list, bool inject, Error **errp)
{
    if (list && json_type(list) != JSON_ARRAY) {
        error_set(errp, "blkdebug: '%s' is a list of rules", inject ? "inject-error" : "set-state");
        return false;
    }
    for (size_t i = 0; list && i < json_length(list); i++) {
        if (!add_rule(d, json_at(list, i), inject, errp)) {
            return false;
        }
    }
    return true;
}

static bool debug_open(BlockNode *n, BlockOpts *o, Error **errp)
{
    Debug *d = n->s;
    d->rules = g_array_new(FALSE, FALSE, sizeof(Rule));
    d->state = 1;
    Json *inject = block_opts_take(o, "inject-error"), *set = block_opts_take(o, "set-state");
    pass_limits(n);
    uint64_t align = block_opts_size(o, "align", n->limits.request_align);
    uint64_t max = block_opts_size(o, "max-transfer", 0);
    uint64_t discard = block_opts_size(o, "opt-discard", n->limits.discard_align);
    if ((align && !IS_POWER_OF_2(align)) || align > 65536) {
        block_opts_mistake(o, "'align' must be a power of two, at most 65536");
    }
    if (max % MAX(align, 1)) {
        block_opts_mistake(o, "'max-transfer' must be a multiple of 'align'");
    }
    if (!block_opts_finish(o, errp) || !add_rules(d, inject, true, errp) ||
        !add_rules(d, set, false, errp)) {
        return false;
    }
    n->limits.request_align = (uint32_t)MAX(align, n->limits.request_align);
    n->limits.max_transfer = max;
    n->limits.discard_align = (uint32_t)discard;
    return true;
}

static void debug_close(BlockNode *n)
{
    Debug *d = n->s;
    g_array_free(d->rules, TRUE);
}

/* What the rules say to a request; 0: it may pass. */
static int judge(BlockNode *n, Io io, uint64_t off, uint64_t len)
{
    Debug *d = n->s;
    unsigned state = d->state;
    int error = 0;
    for (guint i = 0; i < d->rules->len; i++) {
        Rule *r = &g_array_index(d->rules, Rule, i);
        if (r->spent || !(r->io & BIT(io)) || (r->state && r->state != d->state)) {
            continue;
        }
        if (!r->inject) {
            state = r->new_state;
        } else if (!error && (r->sector < 0 || (off / BLOCK_SECTOR <= (uint64_t)r->sector &&
                                                (uint64_t)r->sector * BLOCK_SECTOR < off + len))) {
            error = r->error;
            r->spent = r->once;
        }
    }
    d->state = state;
    return -error;
}

static int debug_preadv(BlockNode *n, uint64_t off, const IoVec *v)
{
    int ret = judge(n, IO_READ, off, v->size);
    return ret ? ret : node_preadv(n->file, off, v);
}

static int debug_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    int ret = judge(n, IO_WRITE, off, v->size);
    return ret ? ret : node_pwritev(n->file, off, v, flags);
}

static int debug_flush(BlockNode *n)
{
    int ret = judge(n, IO_FLUSH, 0, 0);
    return ret ? ret : node_flush(n->file);
}

static int debug_discard(BlockNode *n, uint64_t off, uint64_t len)
{
    int ret = judge(n, IO_DISCARD, off, len);
    return ret ? ret : node_discard(n->file, off, len);
}

static int debug_zero(BlockNode *n, uint64_t off, uint64_t len, unsigned flags)
{
    int ret = judge(n, IO_ZERO, off, len);
    return ret ? ret : node_zero(n->file, off, len, flags);
}

static int debug_map(BlockNode *n, uint64_t off, uint64_t len, BlockMap *out)
{
    int ret = judge(n, IO_STATUS, off, len);
    return ret ? ret : node_map(n->file, off, len, out);
}

const BlockDriver block_driver_blkdebug = {
    .name = "blkdebug",
    .help = "makes requests fail, for tests",
    .state_size = sizeof(Debug),
    .filter = true,
    .transparent = true,
    .open = debug_open,
    .close = debug_close,
    .preadv = debug_preadv,
    .pwritev = debug_pwritev,
    .flush = debug_flush,
    .discard = debug_discard,
    .zero = debug_zero,
    .truncate = pass_truncate,
    .map = debug_map,
};
