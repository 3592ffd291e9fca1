/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The filter "blkdebug": makes requests fail, for tests.  Rules wait for an event.  "set-state"
 * moves the state on; "inject-error" makes requests fail or late (by `iotype`, optionally at one
 * sector, once, in one state): from the event on, until another event has a rule.
 *
 * Events are places in qcow2's code (BlkEvent).  Some pass at requests, too: pwritev, flush_to_os
 * and so on; read_aio and write_aio do where no qcow2 tells which requests are of the guest's data.
 */
#include "block/passthrough.h"

#include <errno.h>

typedef enum Io { IO_READ, IO_WRITE, IO_ZERO, IO_DISCARD, IO_FLUSH, IO_STATUS } Io;
static const char *const io_names[] = {"read",         "write", "write-zeroes", "discard", "flush",
                                       "block-status", NULL};

const char *const blkdebug_event_names[BLKEV_COUNT + 1] = {
    "none",
    "l1_update",
    "l1_grow_alloc_table",
    "l1_grow_write_table",
    "l1_grow_activate_table",
    "l2_load",
    "l2_update",
    "l2_update_compressed",
    "l2_alloc_cow_read",
    "l2_alloc_write",
    "read_aio",
    "read_backing_aio",
    "read_compressed",
    "write_aio",
    "write_compressed",
    "vmstate_load",
    "vmstate_save",
    "cow_read",
    "cow_write",
    "reftable_load",
    "reftable_grow",
    "reftable_update",
    "refblock_load",
    "refblock_update",
    "refblock_alloc",
    "refblock_alloc_hookup",
    "refblock_alloc_write_blocks",
    "refblock_alloc_write_table",
    "refblock_alloc_switch_table",
    "cluster_alloc",
    "cluster_alloc_bytes",
    "cluster_free",
    "flush_to_os",
    "flush_to_disk",
    "pwritev_rmw_head",
    "pwritev_rmw_after_head",
    "pwritev_rmw_tail",
    "pwritev_rmw_after_tail",
    "pwritev",
    "pwritev_zero",
    "pwritev_done",
    "empty_image_prepare",
    "l1_shrink_write_table",
    "l1_shrink_free_l2_clusters",
    "cor_write",
    NULL,
};

/* Requests at which an event passes by itself. */
static unsigned requests_of(BlkEvent e)
{
    switch (e) {
    case BLKEV_NONE:
        return 0x3f;
    case BLKEV_READ_AIO:
        return BIT(IO_READ);
    case BLKEV_WRITE_AIO:
    case BLKEV_PWRITEV:
        return BIT(IO_WRITE);
    case BLKEV_PWRITEV_ZERO:
        return BIT(IO_ZERO);
    case BLKEV_FLUSH_TO_OS:
    case BLKEV_FLUSH_TO_DISK:
        return BIT(IO_FLUSH);
    default:
        return 0;
    }
}

typedef struct Rule {
    BlkEvent event;
    bool armed;         /* its event has passed */
    unsigned io;        /* requests concerned */
    unsigned state;     /* 0: any */
    unsigned new_state; /* set-state */
    bool inject;
    int error;
    int64_t sector; /* -1: any */
    int64_t delay;  /* nanoseconds */
    bool once, immediately, spent;
} Rule;

typedef struct Debug {
    GArray *rules; /* Rule */
    unsigned state;
    bool told; /* somebody above says which requests are of data */
} Debug;

/* ---- rules ---- */

static bool add_rule(Debug *d, const Json *j, bool inject, Error **errp)
{
    Rule r = {.inject = inject, .sector = -1};
    g_autoptr(BlockOpts) o = block_opts_new(j, inject ? "inject-error" : "set-state");
    r.event = (BlkEvent)block_opts_enum(o, "event", blkdebug_event_names, BLKEV_NONE);
    r.io = requests_of(r.event) ? requests_of(r.event) : 0x3f;
    r.state = (unsigned)block_opts_uint(o, "state", 0, 0, 1u << 20);
    if (inject) {
        r.delay = (int64_t)block_opts_uint(o, "delay-ns", 0, 0, 3600 * (uint64_t)NS_PER_SEC);
        r.error = (int)block_opts_uint(o, "errno", EIO, r.delay ? 0 : 1, 4095);
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

/* Does the rule count for requests of this kind now? */
static bool applies(const Debug *d, const Rule *r, Io io)
{
    if (r->spent || !(r->io & BIT(io))) {
        return false;
    }
    if (r->armed) {
        return true;
    }
    bool by_request = requests_of(r->event) &&
                      !(d->told && (r->event == BLKEV_READ_AIO || r->event == BLKEV_WRITE_AIO));
    return by_request && (!r->state || r->state == d->state);
}

/* What the rules say to a request; 0: it may pass. */
static int judge(BlockNode *n, Io io, uint64_t off, uint64_t len)
{
    Debug *d = n->s;
    unsigned state = d->state;
    int64_t delay = 0;
    int error = 0;
    bool found = false;
    for (guint i = 0; i < d->rules->len; i++) {
        Rule *r = &g_array_index(d->rules, Rule, i);
        if (!applies(d, r, io)) {
            continue;
        }
        if (!r->inject) {
            state = r->new_state;
        } else if (!found && (r->sector < 0 || (off / BLOCK_SECTOR <= (uint64_t)r->sector &&
                                                (uint64_t)r->sector * BLOCK_SECTOR < off + len))) {
            found = true;
            error = r->error;
            delay = r->delay;
            r->spent = r->once;
        }
    }
    d->state = state;
    if (delay) {
        node_sleep(n, delay);
    }
    return -error;
}

void blkdebug_event(BlockNode *n, BlkEvent e)
{
    Debug *d = n->s;
    unsigned state = d->state;
    bool any = false;
    d->told |= e == BLKEV_READ_AIO || e == BLKEV_WRITE_AIO || e == BLKEV_REFTABLE_LOAD;
    for (guint i = 0; i < d->rules->len; i++) {
        Rule *r = &g_array_index(d->rules, Rule, i);
        if (r->event != e || r->spent || (r->state && r->state != d->state)) {
            continue;
        }
        if (!r->inject) {
            state = r->new_state;
            continue;
        }
        for (guint k = 0; !any && k < d->rules->len; k++) {
            g_array_index(d->rules, Rule, k).armed = false; /* of the event before */
        }
        any = r->armed = true;
    }
    d->state = state;
}

/* A file below grows by being written. */
static int grown(BlockNode *n, int ret)
{
    n->length = n->file->length;
    return ret;
}

static int debug_truncate(BlockNode *n, uint64_t size, BlockPrealloc prealloc, Error **errp)
{
    return grown(n, node_resize(n->file, size, prealloc, errp));
}

static int debug_preadv(BlockNode *n, uint64_t off, const IoVec *v)
{
    int ret = judge(n, IO_READ, off, v->size);
    return ret ? ret : node_preadv(n->file, off, v);
}

static int debug_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    int ret = judge(n, IO_WRITE, off, v->size);
    return grown(n, ret ? ret : node_pwritev(n->file, off, v, flags));
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
    return grown(n, ret ? ret : node_zero(n->file, off, len, flags));
}

static int debug_map(BlockNode *n, uint64_t off, uint64_t len, BlockMap *out)
{
    int ret = judge(n, IO_STATUS, off, len);
    return ret ? ret : node_map(n->file, off, len, out);
}

const BlockDriver block_driver_blkdebug = {
    .name = "blkdebug",
    .file_option = "image",
    .help = "makes requests fail, for tests",
    .state_size = sizeof(Debug),
    .filter = true,
    .transparent = true,
    .protocol_like = true, /* what lies below says where the end is */
    .open = debug_open,
    .close = debug_close,
    .preadv = debug_preadv,
    .pwritev = debug_pwritev,
    .flush = debug_flush,
    .discard = debug_discard,
    .zero = debug_zero,
    .truncate = debug_truncate,
    .map = debug_map,
};
