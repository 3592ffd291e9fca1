/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mirror, and the commit of an active layer, which is a mirror into a node below.
 *
 * A bitmap on the source notes what has to be copied (again).  Several copies run side by
 * side, each alone with its range.  With copy-mode=write-blocking the guest's writes pass
 * through the filter, go to both sides and leave clean what was clean.  The last bits are
 * copied on the control thread while the graph is quiescent, and in that state the target takes
 * the source's place.
 */
#include "block/bitmap.h"
#include "block/ops.h"

#include <errno.h>

#define MAX_COPIES 16u
#define CHUNK (1u << 20)

typedef struct Mirror {
    Job job;
    MirrorParams p;
    BlockNode *source, *target, *filter, *replaces, *target_backing;
    BlockBitmap *dirty;
    RangeLock ranges;
    uint64_t cursor, chunk;
    unsigned copies;
    int error; /* of a copy, to be dealt with */
    bool error_is_read;
    bool initialized, complete, quiescent, synced;
    bool base_was_ro;
    uint64_t old_length; /* of a commit's base */
    BlockBitmap *from;   /* the user's bitmap */
    BlockBitmap *from_bits;
} Mirror;

typedef struct MirrorFilter {
    Mirror *m; /* NULL once the job is over */
} MirrorFilter;

static Mirror *of(Job *job)
{
    return (Mirror *)job;
}

/* ---- the filter ---- */

static int filter_preadv(BlockNode *n, uint64_t off, const IoVec *v)
{
    return node_preadv(n->file, off, v);
}

/* What a write-blocking mirror does around a write of the guest. */
typedef struct Active {
    Mirror *m;
    RangeHold hold;
    uint64_t off, len;
} Active;

static void active_begin(BlockNode *n, Active *a, uint64_t off, uint64_t len)
{
    Mirror *m = ((MirrorFilter *)n->s)->m;
    *a = (Active){
        .m = m && m->p.write_blocking && m->initialized ? m : NULL, .off = off, .len = len};
    if (a->m) {
        uint64_t gran = bitmap_granularity(a->m->dirty);
        uint64_t start = ALIGN_DOWN(off, gran), end = ALIGN_UP(off + len, gran);
        range_lock(&a->m->ranges, &a->hold, start, end - start, true);
    }
}

/* `target`: how the same went on the other side. */
static void active_end(Active *a, int source, int target)
{
    Mirror *m = a->m;
    if (source < 0 || target < 0) {
        bitmap_set(m->dirty, a->off, a->len);
        if (target < 0 && !m->error) {
            m->error = target;
            m->error_is_read = false;
        }
        job_kick(&m->job);
    } else {
        bitmap_clear(m->dirty, a->off, a->len);
    }
    range_unlock(&m->ranges, &a->hold);
}

static int filter_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    Active a;
    active_begin(n, &a, off, v->size);
    int ret = node_pwritev(n->file, off, v, flags);
    if (a.m) {
        active_end(&a, ret, ret < 0 ? 0 : node_pwritev(a.m->target, off, v, flags));
    }
    return ret;
}

static int filter_zero(BlockNode *n, uint64_t off, uint64_t len, unsigned flags)
{
    Active a;
    active_begin(n, &a, off, len);
    int ret = node_zero(n->file, off, len, flags);
    if (a.m) {
        active_end(&a, ret,
                   ret < 0 ? 0 : node_zero(a.m->target, off, len, flags & ~BLK_NO_FALLBACK));
    }
    return ret;
}

static int filter_discard(BlockNode *n, uint64_t off, uint64_t len)
{
    Active a;
    active_begin(n, &a, off, len);
    int ret = node_discard(n->file, off, len);
    if (a.m) { /* what a discarded range holds may differ between the two: it is copied */
        bitmap_set(a.m->dirty, off, len);
        job_kick(&a.m->job);
        range_unlock(&a.m->ranges, &a.hold);
    }
    return ret;
}

static int filter_map(BlockNode *n, uint64_t off, uint64_t len, BlockMap *out)
{
    return node_map(n->file, off, len, out);
}

#define TOP_DRIVER(n, h)                                                          \
    {                                                                             \
        .name = n, .help = h, .state_size = sizeof(MirrorFilter), .filter = true, \
        .transparent = true, .preadv = filter_preadv, .pwritev = filter_pwritev,  \
        .discard = filter_discard, .zero = filter_zero, .map = filter_map         \
    }
static const BlockDriver mirror_driver =
    TOP_DRIVER("mirror_top", "stands over the source of a mirror");
static const BlockDriver commit_driver =
    TOP_DRIVER("commit_top", "stands over the layers of a commit");

/* ---- copying ---- */

typedef struct Copy {
    Mirror *m;
    uint64_t off, len;
} Copy;

static void copy_fiber(void *opaque)
{
    Copy *c = opaque;
    Mirror *m = c->m;
    RangeHold hold;
    bool is_read;
    block_enter(m->job.graph, m->job.loop);
    range_lock(&m->ranges, &hold, c->off, c->len, true);
    int ret = block_copy(m->source, m->target, c->off, c->len, !m->p.no_unmap, 0, &is_read);
    if (ret < 0) {
        bitmap_set(m->dirty, c->off, c->len);
        if (!m->error) {
            m->error = ret;
            m->error_is_read = is_read;
        }
    } else {
        job_progress(&m->job, c->len);
    }
    range_unlock(&m->ranges, &hold);
    block_leave(m->job.graph);
    m->copies--;
    job_kick(&m->job);
    g_free(c);
}

/* The next dirty stretch, which counts as clean from now on; false: none. */
static bool next_stretch(Mirror *m, uint64_t *off, uint64_t *len)
{
    uint64_t start = bitmap_next_dirty(m->dirty, m->cursor);
    if (start == UINT64_MAX) {
        start = bitmap_next_dirty(m->dirty, 0);
    }
    if (start == UINT64_MAX) {
        return false;
    }
    uint64_t end = MIN(bitmap_next_clean(m->dirty, start), m->dirty->size);
    end = MIN(end, start + m->chunk);
    bitmap_clear(m->dirty, start, end - start);
    m->cursor = end;
    *off = start;
    *len = end - start;
    return true;
}

static void update_total(Mirror *m)
{
    m->job.total = m->job.current + MIN(bitmap_dirty_bytes(m->dirty), m->dirty->size);
}

static void wait_copies(Mirror *m)
{
    while (m->copies) {
        job_wait(&m->job);
    }
}

/* false: give up, *ret says why. */
static bool deal_with_error(Mirror *m, int *ret)
{
    bool ignored;
    wait_copies(m);
    int err = -m->error;
    m->error = 0;
    JobOnError policy = m->error_is_read ? m->p.on_source_error : m->p.on_target_error;
    if (!job_on_error(&m->job, policy, m->error_is_read, err, &ignored)) {
        *ret = m->job.force_cancelled ? -ECANCELED : -err;
        return false;
    }
    if (ignored) {
        job_sleep(&m->job, 10 * NS_PER_MS); /* it stays dirty and is tried again */
    }
    return true;
}

static int first_bits(Mirror *m)
{
    Job *job = &m->job;
    int ret = 0;
    switch (m->p.sync) {
    case BLOCK_SYNC_FULL:
        bitmap_set(m->dirty, 0, m->dirty->size);
        break;
    case BLOCK_SYNC_TOP: {
        BlockNode *base = m->p.is_commit ? m->target : node_skip_filters(m->source)->backing;
        ret = block_mark_allocated(job, m->source, base, m->dirty);
        break;
    }
    case BLOCK_SYNC_INCREMENTAL:
    case BLOCK_SYNC_BITMAP:
        bitmap_merge(m->dirty, m->from_bits, NULL);
        break;
    case BLOCK_SYNC_NONE:
        break;
    }
    return ret;
}

static int mirror_run(Job *job, Error **errp)
{
    Mirror *m = of(job);
    uint64_t off, len;
    int ret = first_bits(m);
    if (ret < 0) {
        return ret;
    }
    if (m->p.write_blocking) {
        m->dirty->enabled = false; /* the filter sees to it from here on */
        m->initialized = true;
    }
    for (;;) {
        update_total(m);
        if (m->error && !deal_with_error(m, &ret)) {
            break;
        }
        job_pause_point(job);
        if (job->force_cancelled || (job->cancelled && !job->ready)) {
            ret = -ECANCELED;
            break;
        }
        if (m->copies >= MAX_COPIES) {
            job_wait(job);
        } else if (next_stretch(m, &off, &len)) {
            Copy *c = g_new(Copy, 1);
            *c = (Copy){m, off, len};
            m->copies++;
            fiber_enter(fiber_new(copy_fiber, c));
            job_pace(job, len);
        } else if (m->copies) {
            job_wait(job);
        } else if (!m->error && !m->dirty->count) {
            update_total(m);
            job_set_ready(job);
            if (m->complete || job->cancelled) {
                return 0;
            }
            job_sleep(job, 100 * NS_PER_MS);
        }
    }
    wait_copies(m);
    return ret;
}

/* ---- the end ---- */

static bool copy_rest(Mirror *m, Error **errp)
{
    uint64_t off, len;
    bool is_read;
    while (next_stretch(m, &off, &len)) {
        int ret = block_copy(m->source, m->target, off, len, !m->p.no_unmap, 0, &is_read);
        if (ret < 0) {
            error_set_errno(errp, -ret, "the last data cannot be %s",
                            is_read ? "read from the source" : "written to the target");
            return false;
        }
        job_progress(&m->job, len);
    }
    int ret = node_flush(m->target);
    if (ret < 0) {
        error_set_errno(errp, -ret, "the target cannot be flushed");
    }
    return ret == 0;
}

static bool mirror_prepare(Job *job, Error **errp)
{
    Mirror *m = of(job);
    block_quiesce(job->graph);
    m->quiescent = true;
    if (!copy_rest(m, errp)) {
        return false;
    }
    if (m->complete && m->p.set_target_backing &&
        !node_set_backing(node_skip_filters(m->target), m->target_backing, errp)) {
        return false;
    }
    m->synced = true;
    return true;
}

static void let_go(Mirror *m, BlockNode *to)
{
    if (!m->quiescent) {
        block_quiesce(m->job.graph);
        m->quiescent = true;
    }
    node_release(m->target, m);
    node_release(m->source, m);
    ((MirrorFilter *)m->filter->s)->m = NULL;
    if (m->p.is_commit && to != m->target) {
        block_loosen(m->target, false); /* else nobody reads through the layers above any more */
    }
    if (m->replaces && to == m->target) {
        block_remove_filter(m->filter, m->source);
        block_remove_filter(m->replaces, m->target);
    } else {
        block_remove_filter(m->filter, to);
    }
    if (m->p.is_commit && to != m->target && m->base_was_ro) {
        node_reopen(m->target, true, NULL);
    }
}

static void mirror_commit(Job *job)
{
    Mirror *m = of(job);
    let_go(m, m->complete ? m->target : m->source);
}

static void mirror_abort(Job *job)
{
    Mirror *m = of(job);
    let_go(m, m->source);
}

static void end_bitmap(Mirror *m)
{
    if (!m->from) {
        return;
    }
    m->from->busy = NULL;
    bool ok = m->job.ret == 0;
    if (m->p.bitmap_mode == BITMAP_MODE_NEVER ||
        (m->p.bitmap_mode == BITMAP_MODE_ON_SUCCESS && !ok)) {
        bitmap_merge(m->from, m->from_bits, NULL);
    } else if (!ok) {
        bitmap_merge(m->from, m->dirty, NULL);
    }
    bitmap_free(m->from_bits);
}

static void mirror_clean(Job *job)
{
    Mirror *m = of(job);
    end_bitmap(m);
    bitmap_free(m->dirty);
    node_unref(m->filter);
    node_unref(m->target);
    node_unref(m->source);
    node_unref(m->replaces);
    node_unref(m->target_backing);
    job_release_nodes(job);
    if (m->quiescent) {
        block_unquiesce(job->graph);
    }
}

static bool mirror_complete(Job *job, Error **errp)
{
    of(job)->complete = true;
    return true;
}

static bool mirror_cancel(Job *job, bool force)
{
    return force || !job->ready;
}

static bool mirror_change(Job *job, const Json *options, Error **errp)
{
    const char *mode = json_get_str(options, "copy-mode");
    if (!mode || strcmp(mode, "write-blocking")) {
        error_set(errp, "Change to copy mode '%s' is not possible, only to 'write-blocking'",
                  mode ? mode : "");
        return false;
    }
    Mirror *m = of(job);
    if (!m->p.write_blocking) {
        m->p.write_blocking = true;
        m->dirty->enabled = false;
        m->initialized = true;
    }
    return true;
}

static void mirror_query(Job *job, Json *info)
{
    json_put_bool(info, "actively-synced",
                  of(job)->p.write_blocking && job->ready && !of(job)->dirty->count);
}

#define MIRROR_JOB(name, ...)                                                                      \
    {                                                                                              \
        .type = name, .block = true, .size = sizeof(Mirror), .run = mirror_run,                    \
        .prepare = mirror_prepare, .commit = mirror_commit, .abort = mirror_abort,                 \
        .clean = mirror_clean, .complete = mirror_complete, .cancel = mirror_cancel, ##__VA_ARGS__ \
    }
static const JobDriver mirror_job =
    MIRROR_JOB("mirror", .change = mirror_change, .query = mirror_query);
static const JobDriver commit_active_job = MIRROR_JOB("commit");

/* ---- the start ---- */

static bool check(const MirrorParams *p, Error **errp)
{
    if (p->granularity &&
        (p->granularity < 512 || p->granularity > 64u << 20 || !IS_POWER_OF_2(p->granularity))) {
        error_set(errp, "Parameter 'granularity' expects a power of 2 in the range [512B, 64MB]");
        return false;
    }
    if (p->source == p->target || (!p->is_commit && node_contains(p->source, p->target))) {
        error_set(errp, "Can't mirror node into itself");
        return false;
    }
    if (!p->is_commit && p->target->length != p->source->length) {
        error_set(errp,
                  "the target '%s' has %" G_GUINT64_FORMAT
                  " bytes, the source '%s' has %" G_GUINT64_FORMAT,
                  p->target->name, p->target->length, p->source->name, p->source->length);
        error_hint(errp, "make the target of the source's size");
        return false;
    }
    if (p->replaces && p->replaces->length != p->source->length) {
        error_set(errp, "cannot replace image '%s' with a mirror image of different size",
                  p->replaces->name);
        return false;
    }
    return node_check_free(p->target, errp) && (!p->replaces || node_check_free(p->replaces, errp));
}

static bool take_bitmap(Mirror *m, Error **errp)
{
    bool wanted = m->p.sync == BLOCK_SYNC_INCREMENTAL || m->p.sync == BLOCK_SYNC_BITMAP;
    if (wanted != (m->p.bitmap != NULL)) {
        error_set(errp, wanted ? "Must provide a valid bitmap name for sync mode 'bitmap'"
                               : "a bitmap needs sync mode 'incremental' or 'bitmap'");
        return false;
    }
    if (!wanted) {
        return true;
    }
    BlockBitmap *b = bitmap_find(m->source, m->p.bitmap);
    if (!b) {
        error_set(errp, "Bitmap '%s' could not be found", m->p.bitmap);
        return false;
    }
    if (!bitmap_check(b, false, errp)) {
        return false;
    }
    m->from_bits = bitmap_copy_bits(b);
    if (!m->from_bits) {
        error_set(errp, "there is no memory for a copy of bitmap '%s'", b->name);
        return false;
    }
    m->from = b;
    b->busy = "a mirror job";
    bitmap_clear_all(b); /* from now on it notes what comes after */
    return true;
}

/* Room and permission in the base of a commit. */
static bool open_base(Mirror *m, Error **errp)
{
    BlockNode *base = m->target;
    m->base_was_ro = base->flags.read_only;
    block_loosen(base, true);
    return node_reopen(base, false, errp) &&
           (base->length >= m->source->length || node_truncate(base, m->source->length, errp) == 0);
}

/* Quiescent. */
static bool set_up(Mirror *m, Error **errp)
{
    const MirrorParams *p = &m->p;
    uint64_t gran = p->granularity ? p->granularity : MAX(p->target->limits.opt_io, 65536u);
    if (p->is_commit && !open_base(m, errp)) {
        return false;
    }
    if (!take_bitmap(m, errp)) {
        return false;
    }
    m->dirty = bitmap_new(m->source, NULL, MIN(gran, 64u << 20), errp);
    m->filter = node_new_filter(m->job.graph, p->is_commit ? &commit_driver : &mirror_driver,
                                p->filter_node_name, m->source, errp);
    if (!m->dirty || !m->filter) {
        return false;
    }
    ((MirrorFilter *)m->filter->s)->m = m;
    m->chunk = MAX(CHUNK, gran);
    if (p->buf_size) {
        m->chunk = CLAMP(ALIGN_DOWN(p->buf_size, gran), gran, 16u << 20);
    }
    range_lock_init(&m->ranges);
    if (m->target->loop != m->source->loop) {
        if (m->target->users->len && !p->is_commit) {
            error_set(errp, "block node '%s' is used by another I/O thread than '%s'",
                      m->target->name, m->source->name);
            return false;
        }
        node_set_loop(m->target, m->source->loop);
    }
    return node_take(m->target, m, m->job.id, true, p->is_commit, errp) &&
           node_take(m->source, m, m->job.id, false, true, errp) &&
           block_insert_filter(m->filter, errp);
}

Job *mirror_start(const MirrorParams *p, Error **errp)
{
    if (!check(p, errp)) {
        return NULL;
    }
    BlockGraph *g = p->source->graph;
    Job *job =
        job_new(g, p->is_commit ? &commit_active_job : &mirror_job, p->source, &p->job, errp);
    if (!job) {
        return NULL;
    }
    Mirror *m = of(job);
    m->p = *p;
    m->source = node_ref(p->source);
    m->target = node_ref(p->target);
    m->replaces = p->replaces && p->replaces != p->source ? node_ref(p->replaces) : NULL;
    m->target_backing = p->target_backing ? node_ref(p->target_backing) : NULL;
    block_quiesce(g);
    if (!set_up(m, errp)) {
        job->ret = -EINVAL;
        node_release(m->target, m);
        node_release(m->source, m);
        if (p->is_commit) {
            block_loosen(m->target, false);
            if (m->base_was_ro) {
                node_reopen(m->target, true, NULL);
            }
        }
        m->p.bitmap_mode = BITMAP_MODE_ON_SUCCESS;
        mirror_clean(job);
        job_discard(job);
        block_unquiesce(g);
        return NULL;
    }
    job_claim(job, m->source);
    job_claim(job, m->filter);
    job_claim(job, m->target);
    m->p.job.id = m->p.job.default_id = m->p.bitmap = m->p.filter_node_name = NULL;
    job_start(job);
    block_unquiesce(g);
    return job;
}
