/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stream: what the layers below hold becomes part of the top one, then they go away. */
#include "block/image.h"
#include "block/ops.h"

#include <errno.h>

#define CHUNK (1u << 20)

typedef struct Stream {
    Job job;
    BlockNode *node, *base, *filter; /* node: without filters above it */
    char *backing_file;
    JobOnError on_error;
    bool quiescent, failed_once;
} Stream;

static Stream *of(Job *job)
{
    return (Stream *)job;
}

/* Skips what needs no copying: bytes at `off` that the top layer has, or nobody below. */
static int next_stretch(Stream *s, uint64_t off, uint64_t *len, bool *copy)
{
    unsigned here, below = 0;
    uint64_t n = s->node->length - off;
    int ret = chain_map(s->node, s->node->backing, off, MIN(n, 1ull << 30), &here, &n);
    if (ret == 0 && !here) {
        uint64_t deep = n;
        ret = chain_map(s->node->backing, s->base, off, n, &below, &deep);
        n = deep;
    }
    *copy = below != 0;
    *len = *copy ? MIN(n, CHUNK) : n;
    return ret;
}

static int stream_run(Job *job, Error **errp)
{
    Stream *s = of(job);
    int ret = 0;
    job->total = s->node->length;
    if (!s->node->backing) {
        return 0;
    }
    for (uint64_t off = 0; off < s->node->length;) {
        uint64_t len = 0;
        bool copy = false, is_read = true, ignored;
        job_pause_point(job);
        if (job_cancelled(job)) {
            return -ECANCELED;
        }
        block_enter(job->graph, job->loop);
        ret = next_stretch(s, off, &len, &copy);
        if (ret == 0 && copy) {
            ret = cor_copy(s->filter, off, len, &is_read);
        }
        block_leave(job->graph);
        if (ret < 0) {
            if (!job_on_error(job, s->on_error, is_read, -ret, &ignored)) {
                return job->force_cancelled ? -ECANCELED : ret;
            }
            if (!ignored) {
                continue;
            }
            /* Going on is fine, but then the layers below are needed for ever. */
            s->failed_once = true;
            len = len ? len : CHUNK;
        }
        off += len;
        job_progress(job, MIN(len, job->total - job->current));
        if (copy) {
            job_pace(job, len);
        }
    }
    return s->failed_once ? ret < 0 ? ret : -EIO : 0;
}

static void hold_still(Stream *s)
{
    if (!s->quiescent) {
        block_quiesce(s->job.graph);
        s->quiescent = true;
    }
}

static bool stream_prepare(Job *job, Error **errp)
{
    Stream *s = of(job);
    hold_still(s);
    if (!s->node->backing || s->node->backing == s->base) {
        return true;
    }
    int ret = node_flush(s->node);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot flush '%s'", node_filename(s->node));
        return false;
    }
    BlockNode *below = node_skip_filters(s->base);
    const char *name = s->backing_file ? s->backing_file : below ? node_filename(below) : NULL;
    if (s->node->drv->change_backing &&
        image_change_backing(s->node, name, name && below ? below->drv->name : NULL, errp) < 0) {
        return false;
    }
    return node_set_backing(s->node, s->base, errp);
}

static void stream_end(Job *job)
{
    Stream *s = of(job);
    hold_still(s);
    node_release(s->filter, s);
    block_remove_filter(s->filter, s->filter->file);
}

static void stream_clean(Job *job)
{
    Stream *s = of(job);
    job_release_nodes(job);
    node_unref(s->filter);
    node_unref(s->base);
    node_unref(s->node);
    g_free(s->backing_file);
    if (s->quiescent) {
        block_unquiesce(job->graph);
    }
}

static const JobDriver stream_job = {
    .type = "stream",
    .block = true,
    .size = sizeof(Stream),
    .run = stream_run,
    .prepare = stream_prepare,
    .commit = stream_end,
    .abort = stream_end,
    .clean = stream_clean,
};

static bool set_up(Stream *s, const StreamParams *p, Error **errp)
{
    bool written = false;
    for (BlockNode *n = s->node; n && n != s->base; n = node_below(n)) {
        if (!node_check_free(n, errp)) {
            return false;
        }
    }
    s->filter =
        node_new_filter(s->job.graph, &block_driver_cor, p->filter_node_name, p->node, errp);
    if (!s->filter) {
        return false;
    }
    CorState *c = s->filter->s;
    range_lock_init(&c->ranges);
    c->bottom = s->base;
    for (guint i = 0; i < p->node->users->len; i++) {
        written |= g_array_index(p->node->users, NodeUser, i).write;
    }
    if (!block_insert_filter(s->filter, errp)) {
        return false;
    }
    /* The filter writes to the node with the device's permission, or with ours. */
    if (!node_take(s->filter, s, s->job.id, !written, true, errp)) {
        block_remove_filter(s->filter, p->node);
        return false;
    }
    for (BlockNode *n = s->node; n && n != s->base; n = node_below(n)) {
        job_claim(&s->job, n);
    }
    job_claim(&s->job, s->filter);
    return true;
}

Job *stream_start(const StreamParams *p, Error **errp)
{
    BlockNode *node = node_skip_filters(p->node);
    if (p->base && (p->base == node || !chain_has(node, p->base))) {
        error_set(errp, "Can't find '%s' in the backing chain", p->base->name);
        return NULL;
    }
    if (node->flags.read_only && !node_reopen(node, false, errp)) {
        return NULL;
    }
    Job *job = job_new(p->node->graph, &stream_job, p->node, &p->job, errp);
    if (!job) {
        return NULL;
    }
    Stream *s = of(job);
    s->node = node_ref(node);
    s->base = p->base ? node_ref(p->base) : NULL;
    s->backing_file = g_strdup(p->backing_file);
    s->on_error = p->on_error;
    block_quiesce(job->graph);
    s->quiescent = true;
    if (!set_up(s, p, errp)) {
        stream_clean(job);
        job_discard(job);
        return NULL;
    }
    s->quiescent = false;
    job_start(job);
    block_unquiesce(job->graph);
    return job;
}
