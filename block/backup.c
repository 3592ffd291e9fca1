/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Backup: the state of a disk at one moment, copied while the guest goes on writing. */
#include "block/bitmap.h"
#include "block/ops.h"

#include <errno.h>

#define MAX_WORKERS 8u

typedef struct Backup {
    Job job;
    BackupParams p;
    BlockNode *source, *target, *filter;
    BlockBitmap *from, *from_bits;
    uint64_t cursor;
    unsigned workers;
    int error;
    bool error_is_read, quiescent, started;
} Backup;

static Backup *of(Job *job)
{
    return (Backup *)job;
}

static CbwState *cbw(Backup *b)
{
    return b->filter->s;
}

/* ---- copying ---- */

typedef struct Work {
    Backup *b;
    uint64_t off, len;
} Work;

static void work_fiber(void *opaque)
{
    Work *w = opaque;
    Backup *b = w->b;
    bool is_read;
    block_enter(b->job.graph, b->job.loop);
    int ret = cbw_copy(b->filter, w->off, w->len, &is_read);
    block_leave(b->job.graph);
    if (ret < 0 && !b->error) {
        b->error = ret;
        b->error_is_read = is_read;
        b->cursor = MIN(b->cursor, w->off);
    }
    b->workers--;
    job_kick(&b->job);
    g_free(w);
}

static void wait_workers(Backup *b)
{
    while (b->workers) {
        job_wait(&b->job);
    }
}

static bool deal_with_error(Backup *b, int *ret)
{
    bool ignored;
    wait_workers(b);
    int err = -b->error;
    b->error = 0;
    JobOnError policy = b->error_is_read ? b->p.on_source_error : b->p.on_target_error;
    if (!job_on_error(&b->job, policy, b->error_is_read, err, &ignored)) {
        *ret = b->job.force_cancelled ? -ECANCELED : -err;
        return false;
    }
    if (ignored) {
        bitmap_clear(cbw(b)->todo, b->cursor, cbw(b)->cluster);
        b->cursor += cbw(b)->cluster;
    }
    return true;
}

static int run_none(Backup *b)
{
    while (!job_cancelled(&b->job) && !cbw(b)->broken) {
        job_sleep(&b->job, NS_PER_SEC);
    }
    return cbw(b)->broken ? cbw(b)->broken : -ECANCELED;
}

/* Only what the top layer holds is to be copied; what a write has copied already stays so. */
static int keep_top_only(Backup *b)
{
    BlockNode *top = node_skip_filters(b->source);
    BlockBitmap *here = bitmap_new(b->filter, NULL, cbw(b)->cluster, NULL);
    if (!here) {
        return -ENOMEM;
    }
    here->enabled = false;
    int ret = block_mark_allocated(&b->job, b->source, top->backing, here);
    for (uint64_t off = 0; ret == 0 && (off = bitmap_next_clean(here, off)) != UINT64_MAX;) {
        uint64_t end = MIN(bitmap_next_dirty(here, off), here->size);
        bitmap_clear(cbw(b)->todo, off, end - off);
        off = end;
    }
    bitmap_free(here);
    return ret;
}

static int backup_run(Job *job, Error **errp)
{
    Backup *b = of(job);
    int ret = 0;
    if (b->p.sync == BLOCK_SYNC_NONE) {
        return run_none(b);
    }
    if (b->p.sync == BLOCK_SYNC_TOP) {
        ret = keep_top_only(b);
    }
    job->total = MIN(bitmap_dirty_bytes(cbw(b)->todo), job->total ? job->total : UINT64_MAX);
    while (ret == 0) {
        BlockBitmap *todo = cbw(b)->todo;
        if (b->error && !deal_with_error(b, &ret)) {
            break;
        }
        job_pause_point(job);
        if (job_cancelled(job) || cbw(b)->broken) {
            ret = cbw(b)->broken ? cbw(b)->broken : -ECANCELED;
            break;
        }
        uint64_t off = bitmap_next_dirty(todo, b->cursor);
        if (off == UINT64_MAX || b->workers >= MAX_WORKERS) {
            if (!b->workers && !b->error) {
                break;
            }
            if (b->workers) {
                job_wait(job);
            }
            continue;
        }
        off = ALIGN_DOWN(off, (uint64_t)cbw(b)->cluster);
        Work *w = g_new(Work, 1);
        *w = (Work){b, off, cbw(b)->cluster};
        b->cursor = off + cbw(b)->cluster;
        b->workers++;
        job_progress(job, MIN(w->len, job->total - MIN(job->current, job->total)));
        fiber_enter(fiber_new(work_fiber, w));
        job_pace(job, cbw(b)->cluster);
    }
    wait_workers(b);
    if (ret == 0 && b->error) {
        ret = b->error;
    }
    return ret;
}

/* ---- the end ---- */

static void hold_still(Backup *b)
{
    if (!b->quiescent) {
        block_quiesce(b->job.graph);
        b->quiescent = true;
    }
}

static bool backup_prepare(Job *job, Error **errp)
{
    Backup *b = of(job);
    hold_still(b);
    if (cbw(b)->broken) {
        error_set_errno(errp, -cbw(b)->broken, "a write of the guest broke the backup");
        return false;
    }
    int ret = node_flush(b->target);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot flush '%s'", node_filename(b->target));
    }
    return ret == 0;
}

static void backup_end(Job *job)
{
    Backup *b = of(job);
    hold_still(b);
    block_remove_filter(b->filter, b->filter->file);
}

static void end_bitmap(Backup *b)
{
    if (!b->from) {
        return;
    }
    bool ok = b->job.ret == 0 && b->started;
    b->from->busy = NULL;
    if (b->p.bitmap_mode == BITMAP_MODE_NEVER || !b->started ||
        (b->p.bitmap_mode == BITMAP_MODE_ON_SUCCESS && !ok)) {
        bitmap_merge(b->from, b->from_bits, NULL);
    } else if (!ok && cbw(b)->todo) { /* always: what was copied is done with */
        bitmap_merge(b->from, cbw(b)->todo, NULL);
    }
    bitmap_free(b->from_bits);
}

static void backup_clean(Job *job)
{
    Backup *b = of(job);
    end_bitmap(b);
    job_release_nodes(job);
    node_unref(b->filter);
    node_unref(b->target);
    node_unref(b->source);
    if (b->quiescent) {
        block_unquiesce(job->graph);
    }
}

static void backup_abort(Job *job)
{
    backup_end(job);
}

static const JobDriver backup_job = {
    .type = "backup",
    .block = true,
    .size = sizeof(Backup),
    .run = backup_run,
    .prepare = backup_prepare,
    .commit = backup_end,
    .abort = backup_abort,
    .clean = backup_clean,
};

/* ---- the start ---- */

static bool take_bitmap(Backup *b, Error **errp)
{
    bool needed = b->p.sync == BLOCK_SYNC_INCREMENTAL || b->p.sync == BLOCK_SYNC_BITMAP;
    if (!b->p.bitmap) {
        if (needed) {
            error_set(errp, "must provide a valid bitmap name for '%s' sync mode",
                      b->p.sync == BLOCK_SYNC_BITMAP ? "bitmap" : "incremental");
        }
        return !needed;
    }
    if (b->p.sync == BLOCK_SYNC_NONE) {
        error_set(errp, "sync mode 'none' does not produce meaningful bitmap outputs");
        return false;
    }
    BlockBitmap *m = bitmap_find(b->source, b->p.bitmap);
    if (!m) {
        error_set(errp, "Bitmap '%s' could not be found", b->p.bitmap);
        return false;
    }
    if (!bitmap_check(m, false, errp)) {
        return false;
    }
    b->from_bits = bitmap_copy_bits(m);
    if (!b->from_bits) {
        error_set(errp, "there is no memory for a copy of bitmap '%s'", m->name);
        return false;
    }
    b->from = m;
    m->busy = "a backup job";
    bitmap_clear_all(m);
    return !needed || bitmap_merge(cbw(b)->todo, b->from_bits, errp);
}

static bool set_up(Backup *b, Error **errp)
{
    bool by_bitmap = b->p.sync == BLOCK_SYNC_INCREMENTAL || b->p.sync == BLOCK_SYNC_BITMAP;
    b->filter =
        node_new_filter(b->job.graph, &block_driver_cbw, b->p.filter_node_name, b->source, errp);
    if (!b->filter || !cbw_setup(b->filter, b->target, !by_bitmap, errp) || !take_bitmap(b, errp)) {
        return false;
    }
    cbw(b)->break_snapshot = b->p.break_snapshot;
    cbw(b)->compress = b->p.compress;
    b->job.total = MIN(bitmap_dirty_bytes(cbw(b)->todo), b->source->length);
    return block_insert_filter(b->filter, errp);
}

Job *backup_new(const BackupParams *p, Error **errp)
{
    if (p->source == p->target || node_contains(p->source, p->target)) {
        error_set(errp, "Source and target cannot be the same");
        return NULL;
    }
    if (p->compress && !p->target->drv->supports_compressed) {
        error_set(errp, "Compression is not supported for this drive %s", p->target->name);
        return NULL;
    }
    if (!node_check_free(p->target, errp)) {
        return NULL;
    }
    Job *job = job_new(p->source->graph, &backup_job, p->source, &p->job, errp);
    if (!job) {
        return NULL;
    }
    Backup *b = of(job);
    b->p = *p;
    b->source = node_ref(p->source);
    b->target = node_ref(p->target);
    block_quiesce(job->graph);
    b->quiescent = true;
    if (!set_up(b, errp)) {
        backup_clean(job);
        job_discard(job);
        return NULL;
    }
    b->started = true;
    job_claim(job, b->source);
    job_claim(job, b->filter);
    job_claim(job, b->target);
    b->p.job.id = b->p.job.default_id = b->p.bitmap = b->p.filter_node_name = NULL;
    b->quiescent = false;
    block_unquiesce(job->graph);
    return job;
}
