/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commit: what the layers from `top` down hold goes into `base`, then the layers go away. */
#include "block/bitmap.h"
#include "block/image.h"
#include "block/ops.h"

#include <errno.h>

#define CHUNK (1u << 20)

typedef struct Commit {
    Job job;
    BlockNode *node, *top, *base, *overlay;
    BlockBitmap *todo;
    char *backing_file;
    JobOnError on_error;
    bool base_was_ro, quiescent;
} Commit;

static Commit *of(Job *job)
{
    return (Commit *)job;
}

static int commit_run(Job *job, Error **errp)
{
    Commit *c = of(job);
    int ret = block_mark_allocated(job, c->top, c->base, c->todo);
    job->total = MIN(bitmap_dirty_bytes(c->todo), c->todo->size);
    for (uint64_t off = 0; ret == 0 && (off = bitmap_next_dirty(c->todo, off)) != UINT64_MAX;) {
        uint64_t end = MIN(bitmap_next_clean(c->todo, off), c->todo->size);
        uint64_t len = MIN(end - off, CHUNK);
        bool is_read, ignored;
        job_pause_point(job);
        if (job_cancelled(job)) {
            return -ECANCELED;
        }
        block_enter(job->graph, job->loop);
        ret = block_copy(c->top, c->base, off, len, true, 0, &is_read);
        block_leave(job->graph);
        if (ret < 0) {
            if (!job_on_error(job, c->on_error, is_read, -ret, &ignored)) {
                return job->force_cancelled ? -ECANCELED : ret;
            }
            ret = 0;
            if (!ignored) {
                continue; /* once more */
            }
        }
        off += len;
        job_progress(job, len);
        job_pace(job, len);
    }
    return ret;
}

static void hold_still(Commit *c)
{
    if (!c->quiescent) {
        block_quiesce(c->job.graph);
        c->quiescent = true;
    }
}

/* The overlay of `top` names `base` from now on. */
static bool name_base(BlockNode *overlay, const char *file, BlockNode *base, Error **errp)
{
    if (!overlay->drv->change_backing) {
        return true;
    }
    bool was_ro = overlay->flags.read_only;
    const char *name = file ? file : node_filename(base);
    if (was_ro && !node_reopen(overlay, false, errp)) {
        return false;
    }
    int ret = image_change_backing(overlay, name, *name ? base->drv->name : NULL, errp);
    if (was_ro) {
        node_reopen(overlay, true, NULL);
    }
    return ret == 0;
}

static bool commit_prepare(Job *job, Error **errp)
{
    Commit *c = of(job);
    hold_still(c);
    int ret = node_flush(c->base);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot flush '%s'", node_filename(c->base));
        return false;
    }
    if (!name_base(c->overlay, c->backing_file, c->base, errp)) {
        return false;
    }
    node_release(c->base, c);
    block_loosen(c->base, false);
    return node_set_backing(c->overlay, c->base, errp);
}

static void commit_end(Job *job)
{
    Commit *c = of(job);
    hold_still(c);
    node_release(c->base, c);
    block_loosen(c->base, false);
    if (c->base_was_ro) {
        node_reopen(c->base, true, NULL);
    }
}

static void commit_clean(Job *job)
{
    Commit *c = of(job);
    bitmap_free(c->todo);
    job_release_nodes(job);
    node_unref(c->overlay);
    node_unref(c->top);
    node_unref(c->base);
    node_unref(c->node);
    g_free(c->backing_file);
    if (c->quiescent) {
        block_unquiesce(job->graph);
    }
}

static const JobDriver commit_job = {
    .type = "commit",
    .block = true,
    .size = sizeof(Commit),
    .run = commit_run,
    .prepare = commit_prepare,
    .commit = commit_end,
    .abort = commit_end,
    .clean = commit_clean,
};

static Job *start_active(const CommitParams *p, BlockNode *base, Error **errp)
{
    if (p->backing_file) {
        error_set(errp, "'backing-file' specified, but 'top' is the active layer");
        return NULL;
    }
    MirrorParams m = {.job = p->job,
                      .source = p->node,
                      .target = base,
                      .sync = BLOCK_SYNC_TOP,
                      .on_source_error = p->on_error,
                      .on_target_error = p->on_error,
                      .filter_node_name = p->filter_node_name,
                      .is_commit = true};
    return mirror_start(&m, errp);
}

static bool set_up(Commit *c, Error **errp)
{
    BlockNode *base = c->base;
    c->base_was_ro = base->flags.read_only;
    block_loosen(base, true);
    if (!node_reopen(base, false, errp) ||
        (base->length < c->top->length && node_truncate(base, c->top->length, errp) < 0) ||
        !node_take(base, c, c->job.id, true, true, errp)) {
        return false;
    }
    c->todo = bitmap_new(c->top, NULL, 65536, errp);
    if (c->todo) {
        c->todo->enabled = false;
    }
    return c->todo != NULL;
}

static bool claim_chain(Commit *c, Error **errp)
{
    for (BlockNode *n = c->overlay; n; n = node_below(n)) {
        if (!node_check_free(n, errp)) {
            return false;
        }
        if (n == c->base) {
            break;
        }
    }
    for (BlockNode *n = c->overlay; n; n = node_below(n)) {
        job_claim(&c->job, n);
        if (n == c->base) {
            break;
        }
    }
    return true;
}

Job *commit_start(const CommitParams *p, Error **errp)
{
    BlockNode *active = node_skip_filters(p->node), *base = p->base;
    BlockNode *top = p->top ? p->top : active;
    if (!base) {
        for (base = top; node_below(base);) {
            base = node_below(base);
        }
    }
    if (!chain_has(p->node, top)) {
        error_set(errp, "'%s' is not in this backing file chain", top->name);
        return NULL;
    }
    if (base == top || !chain_has(top, base)) {
        error_set(errp,
                  base == top ? "cannot commit an image into itself"
                              : "'%s' is not in the backing file chain of '%s'",
                  base->name, top->name);
        return NULL;
    }
    if (node_skip_filters(top) == active) {
        return start_active(p, base, errp);
    }
    BlockNode *overlay = chain_overlay(p->node, node_skip_filters(top));
    Job *job = job_new(p->node->graph, &commit_job, p->node, &p->job, errp);
    if (!job) {
        return NULL;
    }
    Commit *c = of(job);
    c->node = node_ref(p->node);
    c->top = node_ref(top);
    c->base = node_ref(base);
    c->overlay = node_ref(overlay);
    c->backing_file = g_strdup(p->backing_file);
    c->on_error = p->on_error;
    block_quiesce(job->graph);
    c->quiescent = true;
    if (!claim_chain(c, errp) || !set_up(c, errp)) {
        commit_end(job);
        commit_clean(job);
        job_discard(job);
        return NULL;
    }
    c->quiescent = false;
    job_start(job);
    block_unquiesce(job->graph);
    return job;
}
