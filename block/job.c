/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The engine of jobs: states, pausing, pacing, the end. */
#include "block/job.h"

#include <errno.h>

#define SLICE_NS (100 * NS_PER_MS)

const char *const job_status_names[] = {"undefined", "created",   "running", "paused",
                                        "ready",     "standby",   "waiting", "pending",
                                        "aborting",  "concluded", "null",    NULL};

struct JobTxn {
    int refs;
    GList *jobs; /* Job*, referenced */
    bool aborting;
};

/* ---- events ---- */

static void set_status(Job *job, JobStatus s)
{
    if (job->status == s) {
        return;
    }
    job->status = s;
    if (!job->internal) {
        Json *d = json_object();
        json_put_string(d, "id", job->id);
        json_put_string(d, "status", job_status_names[s]);
        block_event(job->graph, "JOB_STATUS_CHANGE", d);
    }
}

/* BLOCK_JOB_READY, _COMPLETED, _CANCELLED. */
static void job_event(Job *job, const char *name)
{
    if (job->internal || !job->drv->block) {
        return;
    }
    Json *d = json_object();
    json_put_string(d, "type", job->drv->type);
    json_put_string(d, "device", job->id);
    json_put(d, "len", json_uint(job->total));
    json_put(d, "offset", json_uint(job->current));
    json_put_int(d, "speed", job->speed);
    if (!strcmp(name, "BLOCK_JOB_COMPLETED") && job->ret < 0) {
        json_put_string(d, "error", job->err ? error_message(job->err) : g_strerror(-job->ret));
    }
    block_event(job->graph, name, d);
}

/* ---- life ---- */

static void job_ref(Job *job)
{
    job->refs++;
}

static void job_unref(Job *job)
{
    if (--job->refs) {
        return;
    }
    timer_fini(&job->timer);
    job_release_nodes(job);
    node_unref(job->node);
    error_free(job->err);
    g_free(job->id);
    g_free(job);
}

JobTxn *job_txn_new(void)
{
    JobTxn *t = g_new0(JobTxn, 1);
    t->refs = 1;
    return t;
}

JobTxn *job_txn_ref(JobTxn *t)
{
    t->refs++;
    return t;
}

void job_txn_unref(JobTxn *t)
{
    if (t && --t->refs == 0) {
        g_free(t);
    }
}

void job_claim(Job *job, BlockNode *n)
{
    if (!n->busy) {
        n->busy = job->drv->type;
        if (!job->claimed) {
            job->claimed = g_ptr_array_new();
        }
        g_ptr_array_add(job->claimed, node_ref(n));
    }
}

void job_release_nodes(Job *job)
{
    for (guint i = 0; job->claimed && i < job->claimed->len; i++) {
        BlockNode *n = job->claimed->pdata[i];
        n->busy = NULL;
        node_unref(n);
    }
    g_clear_pointer(&job->claimed, g_ptr_array_unref);
}

static void timer_fired(void *opaque)
{
    job_kick(opaque);
}

static Job *find(BlockGraph *g, const char *id)
{
    for (GList *l = g->jobs; l; l = l->next) {
        Job *job = l->data;
        if (!strcmp(job->id, id)) {
            return job;
        }
    }
    return NULL;
}

static bool valid_id(const char *s)
{
    if (!g_ascii_isalpha(s[0])) {
        return false;
    }
    for (; *s; s++) {
        if (!g_ascii_isalnum(*s) && !strchr("-._", *s)) {
            return false;
        }
    }
    return true;
}

Job *job_new(BlockGraph *g, const JobDriver *drv, BlockNode *node, const JobParams *p, Error **errp)
{
    g_autofree char *made_up = NULL;
    const char *id = p->id ? p->id : p->default_id && *p->default_id ? p->default_id : NULL;
    if (!id && p->internal) {
        id = made_up = g_strdup_printf("internal-%u", g->next_name++);
    }
    if (!id) {
        error_set(errp, "An explicit job ID is required for this node");
        return NULL;
    }
    if (!p->internal && !valid_id(id)) {
        error_set(errp, "Invalid job ID '%s'", id);
        return NULL;
    }
    if (find(g, id)) {
        error_set(errp, "Job ID '%s' already in use", id);
        return NULL;
    }
    if (p->speed < 0) {
        error_set(errp, "Invalid parameter 'speed': it cannot be negative");
        return NULL;
    }
    if (node && !node_check_free(node, errp)) {
        return NULL;
    }
    Job *job = g_malloc0(drv->size);
    job->drv = drv;
    job->graph = g;
    job->id = g_strdup(id);
    job->internal = p->internal;
    job->refs = 1;
    job->loop = p->loop ? p->loop : node ? node->loop : g->loop;
    job->node = node ? node_ref(node) : NULL;
    job->auto_finalize = !p->manual_finalize;
    job->auto_dismiss = !p->manual_dismiss;
    job->speed = p->speed;
    job->txn = p->txn ? job_txn_ref(p->txn) : job_txn_new();
    job_ref(job);
    job->txn->jobs = g_list_append(job->txn->jobs, job);
    timer_init(&job->timer, job->loop, CLOCK_RT, timer_fired, job);
    g->jobs = g_list_append(g->jobs, job);
    set_status(job, JOB_CREATED);
    return job;
}

static void leave_txn(Job *job)
{
    JobTxn *t = job->txn;
    if (t) {
        job->txn = NULL;
        t->jobs = g_list_remove(t->jobs, job);
        job_txn_unref(t);
        job_unref(job);
    }
}

/* Out of the list; the caller's pointer is dead unless it holds a reference. */
static void dismiss(Job *job)
{
    set_status(job, JOB_NULL);
    job->graph->jobs = g_list_remove(job->graph->jobs, job);
    job_unref(job);
}

void job_discard(Job *job)
{
    leave_txn(job);
    dismiss(job);
}

/* ---- the end: control thread ---- */

static void conclude(Job *job)
{
    if (job->drv->clean) {
        job->drv->clean(job);
    }
    g_clear_pointer(&job->node, node_unref);
    job_event(job, job->cancelled && job->ret == -ECANCELED ? "BLOCK_JOB_CANCELLED"
                                                            : "BLOCK_JOB_COMPLETED");
    leave_txn(job);
    set_status(job, JOB_CONCLUDED);
    if (job->auto_dismiss || job->internal) {
        dismiss(job);
    }
}

static void finalize_txn(JobTxn *t, bool ok)
{
    g_autoptr(GList) jobs = g_list_copy(t->jobs);
    for (GList *l = jobs; l && ok; l = l->next) {
        Job *job = l->data;
        if (job->drv->prepare && !job->drv->prepare(job, &job->err)) {
            job->ret = -EIO;
            ok = false;
        }
    }
    for (GList *l = jobs; l; l = l->next) {
        Job *job = l->data;
        job_ref(job);
        if (!ok) {
            set_status(job, JOB_ABORTING);
            if (job->ret == 0) {
                job->ret = -ECANCELED;
                job->cancelled = true;
            }
        }
        void (*end)(Job *) = ok ? job->drv->commit : job->drv->abort;
        if (end) {
            end(job);
        }
        conclude(job);
        job_unref(job);
    }
}

static void try_finalize(JobTxn *t)
{
    for (GList *l = t->jobs; l; l = l->next) {
        Job *job = l->data;
        if (job->status != JOB_PENDING || !job->auto_finalize) {
            return;
        }
    }
    job_txn_ref(t);
    finalize_txn(t, true);
    job_txn_unref(t);
}

static void abort_txn(JobTxn *t)
{
    bool all_ended = true;
    job_txn_ref(t);
    if (!t->aborting) {
        t->aborting = true;
        for (GList *l = t->jobs; l; l = l->next) {
            Job *job = l->data;
            LOOP_LOCK_GUARD(job->loop);
            if (!job->ended) {
                job->cancelled = job->force_cancelled = true;
                job_kick(job);
            }
        }
    }
    for (GList *l = t->jobs; l; l = l->next) {
        Job *job = l->data;
        all_ended &= job->ended || !job->started;
    }
    if (all_ended) {
        finalize_txn(t, false);
    }
    job_txn_unref(t);
}

static void run_ended(void *opaque)
{
    Job *job = opaque;
    JobTxn *t = job->txn;
    job->ended = true;
    timer_fini(&job->timer);
    if (job->cancelled && job->ret == 0 && job->force_cancelled) {
        job->ret = -ECANCELED;
    }
    if (job->ret < 0 && !job->err) {
        error_set(&job->err, "%s", g_strerror(-job->ret));
    }
    set_status(job, job->ret < 0 ? JOB_ABORTING : JOB_WAITING);
    if (job->ret < 0 || t->aborting) {
        abort_txn(t);
        return;
    }
    for (GList *l = t->jobs; l; l = l->next) {
        if (!((Job *)l->data)->ended) {
            return;
        }
    }
    for (GList *l = t->jobs; l; l = l->next) {
        Job *j = l->data;
        set_status(j, JOB_PENDING);
        if (!j->auto_finalize && !j->internal && j->drv->block) {
            Json *d = json_object();
            json_put_string(d, "type", j->drv->type);
            json_put_string(d, "id", j->id);
            block_event(j->graph, "BLOCK_JOB_PENDING", d);
        }
    }
    try_finalize(t);
}

/* ---- the fiber ---- */

static void job_fiber(void *opaque)
{
    Job *job = opaque;
    job_pause_point(job);
    if (!job->force_cancelled) {
        job->ret = job->drv->run(job, &job->err);
    } else {
        job->ret = -ECANCELED;
    }
    loop_defer(job->graph->control, run_ended, job);
}

static void enter_fiber(void *opaque)
{
    Job *job = opaque;
    fiber_enter(job->fiber);
}

void job_start(Job *job)
{
    LOOP_LOCK_GUARD(job->loop);
    job->started = true;
    set_status(job, JOB_RUNNING);
    job->fiber = fiber_new(job_fiber, job);
    loop_defer(job->loop, enter_fiber, job);
}

void job_kick(Job *job)
{
    if (job->parked) {
        job->parked = false;
        timer_del(&job->timer);
        loop_defer(job->loop, enter_fiber, job);
    }
}

void job_wait(Job *job)
{
    job->parked = true;
    fiber_yield();
}

void job_pause_point(Job *job)
{
    if (!job->pause_count || job->force_cancelled) {
        return;
    }
    set_status(job, job->ready ? JOB_STANDBY : JOB_PAUSED);
    while (job->pause_count && !job->force_cancelled) {
        job_wait(job);
    }
    set_status(job, job->ready ? JOB_READY : JOB_RUNNING);
}

void job_sleep(Job *job, int64_t ns)
{
    if (!job->force_cancelled && !job->pause_count) {
        timer_mod(&job->timer, clock_now(loop_clocks(job->loop), CLOCK_RT) + ns);
        job_wait(job);
    }
    job_pause_point(job);
}

void job_pace(Job *job, uint64_t bytes)
{
    int64_t now = clock_now(loop_clocks(job->loop), CLOCK_RT);
    if (now >= job->slice_end) {
        job->slice_end = now + SLICE_NS;
        job->slice_done = 0;
    }
    job->slice_done += bytes;
    while (job->speed && !job->cancelled) {
        uint64_t share = (uint64_t)job->speed / (NS_PER_SEC / SLICE_NS);
        share = MAX(share, 1);
        if (job->slice_done < share) {
            break;
        }
        /* What one step moved beyond the share is paid for in time. */
        int64_t slices = (int64_t)MIN(job->slice_done / share, 100000u);
        int64_t until = job->slice_end - SLICE_NS + slices * SLICE_NS;
        now = clock_now(loop_clocks(job->loop), CLOCK_RT);
        if (now >= until) {
            job->slice_end = now + SLICE_NS;
            job->slice_done = 0;
            break;
        }
        job_sleep(job, until - now);
    }
    job_pause_point(job);
}

void job_progress(Job *job, uint64_t done_more)
{
    job->current += done_more;
    job->total = MAX(job->total, job->current);
}

void job_set_ready(Job *job)
{
    if (!job->ready) {
        job->ready = true;
        set_status(job, JOB_READY);
        job_event(job, "BLOCK_JOB_READY");
    }
}

bool job_on_error(Job *job, JobOnError policy, bool is_read, int err, bool *ignored)
{
    static const char *const names[] = {"report", "ignore", "stop"};
    int action = 0;
    *ignored = false;
    if (err == ECANCELED || job->force_cancelled) {
        return false;
    }
    switch (policy) {
    case JOB_ON_ERROR_IGNORE:
        action = 1;
        break;
    case JOB_ON_ERROR_STOP:
        action = 2;
        break;
    case JOB_ON_ERROR_ENOSPC:
    case JOB_ON_ERROR_AUTO:
        action = err == ENOSPC ? 2 : 0;
        break;
    case JOB_ON_ERROR_REPORT:
        break;
    }
    if (!job->internal) {
        Json *d = json_object();
        json_put_string(d, "device", job->id);
        json_put_string(d, "operation", is_read ? "read" : "write");
        json_put_string(d, "action", names[action]);
        block_event(job->graph, "BLOCK_JOB_ERROR", d);
    }
    if (action == 2) {
        job->iostatus = err;
        if (!job->user_paused) {
            job->user_paused = true;
            job->pause_count++;
        }
        job_pause_point(job);
        return !job->force_cancelled;
    }
    *ignored = action == 1;
    return action == 1;
}

/* ---- managers ---- */

Job *job_find(BlockGraph *g, const char *id, Error **errp)
{
    Job *job = find(g, id);
    if (!job || job->internal) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_ACTIVE, "Job '%s' not found", id);
        return NULL;
    }
    return job;
}

static bool refuse(Job *job, const char *verb, Error **errp)
{
    error_set(errp, "Job '%s' in state '%s' cannot accept command verb '%s'", job->id,
              job_status_names[job->status], verb);
    return false;
}

static bool in_run(const Job *job)
{
    return !job->ended && job->status >= JOB_CREATED && job->status <= JOB_STANDBY;
}

bool job_user_pause(Job *job, Error **errp)
{
    LOOP_LOCK_GUARD(job->loop);
    if (!in_run(job)) {
        return refuse(job, "pause", errp);
    }
    if (job->user_paused) {
        error_set(errp, "Job is already paused");
        return false;
    }
    job->user_paused = true;
    job->pause_count++;
    job_kick(job);
    return true;
}

bool job_user_resume(Job *job, Error **errp)
{
    LOOP_LOCK_GUARD(job->loop);
    if (!in_run(job)) {
        return refuse(job, "resume", errp);
    }
    if (!job->user_paused) {
        error_set(errp, "Can't resume a job that was not paused");
        return false;
    }
    job->user_paused = false;
    job->iostatus = 0;
    job->pause_count--;
    job_kick(job);
    return true;
}

bool job_user_cancel(Job *job, bool force, Error **errp)
{
    if (job->status == JOB_PENDING || job->status == JOB_WAITING) {
        job->cancelled = job->force_cancelled = true;
        job->ret = -ECANCELED;
        set_status(job, JOB_ABORTING);
        abort_txn(job->txn);
        return true;
    }
    LOOP_LOCK_GUARD(job->loop);
    if (!in_run(job) || (job->user_paused && !force && job->iostatus == 0 && job->ready)) {
        if (in_run(job)) {
            error_set(errp,
                      "The block job for device '%s' is currently paused and cannot be "
                      "canceled",
                      job->id);
            error_hint(errp, "resume it first, or use force");
            return false;
        }
        return refuse(job, "cancel", errp);
    }
    bool fails = !job->drv->cancel || job->drv->cancel(job, force);
    job->cancelled = true;
    if (fails || force) {
        job->force_cancelled = true;
    }
    if (job->user_paused) {
        job->user_paused = false;
        job->pause_count--;
    }
    job_kick(job);
    return true;
}

bool job_user_complete(Job *job, Error **errp)
{
    LOOP_LOCK_GUARD(job->loop);
    if (!in_run(job) || !job->ready) {
        return refuse(job, "complete", errp);
    }
    if (!job->drv->complete || job->cancelled) {
        error_set(errp, "The active block job '%s' cannot be completed", job->id);
        return false;
    }
    if (!job->drv->complete(job, errp)) {
        return false;
    }
    job_kick(job);
    return true;
}

bool job_user_finalize(Job *job, Error **errp)
{
    if (job->status != JOB_PENDING) {
        return refuse(job, "finalize", errp);
    }
    for (GList *l = job->txn->jobs; l; l = l->next) {
        ((Job *)l->data)->auto_finalize = true;
    }
    try_finalize(job->txn);
    return true;
}

bool job_user_dismiss(Job *job, Error **errp)
{
    if (job->status != JOB_CONCLUDED) {
        return refuse(job, "dismiss", errp);
    }
    dismiss(job);
    return true;
}

bool job_set_speed(Job *job, int64_t speed, Error **errp)
{
    LOOP_LOCK_GUARD(job->loop);
    if (!in_run(job)) {
        return refuse(job, "set-speed", errp);
    }
    if (speed < 0) {
        error_set(errp, "Invalid parameter 'speed': it cannot be negative");
        return false;
    }
    job->speed = speed;
    job->slice_end = 0;
    job->slice_done = 0;
    job_kick(job);
    return true;
}

bool job_change(Job *job, const Json *options, Error **errp)
{
    LOOP_LOCK_GUARD(job->loop);
    if (!in_run(job) || !job->drv->change) {
        if (in_run(job)) {
            error_set(errp, "Job '%s' of type '%s' has nothing that can change", job->id,
                      job->drv->type);
            return false;
        }
        return refuse(job, "change", errp);
    }
    return job->drv->change(job, options, errp);
}

Json *jobs_query(BlockGraph *g)
{
    Json *a = json_array();
    for (GList *l = g->jobs; l; l = l->next) {
        Job *job = l->data;
        if (job->internal) {
            continue;
        }
        LOOP_LOCK_GUARD(job->loop);
        Json *o = json_object();
        json_put_string(o, "id", job->id);
        json_put_string(o, "type", job->drv->type);
        json_put_string(o, "status", job_status_names[job->status]);
        json_put(o, "current-progress", json_uint(job->current));
        json_put(o, "total-progress", json_uint(job->total));
        if (job->err) {
            json_put_string(o, "error", error_message(job->err));
        }
        json_append(a, o);
    }
    return a;
}

Json *block_jobs_query(BlockGraph *g)
{
    Json *a = json_array();
    for (GList *l = g->jobs; l; l = l->next) {
        Job *job = l->data;
        if (job->internal || !job->drv->block) {
            continue;
        }
        LOOP_LOCK_GUARD(job->loop);
        Json *o = json_object();
        json_put_string(o, "type", job->drv->type);
        json_put_string(o, "device", job->id);
        json_put(o, "len", json_uint(job->total));
        json_put(o, "offset", json_uint(job->current));
        json_put_bool(o, "busy", in_run(job) && !job->parked);
        json_put_bool(o, "paused", job->pause_count > 0);
        json_put_int(o, "speed", job->speed);
        json_put_string(o, "io-status",
                        !job->iostatus            ? "ok"
                        : job->iostatus == ENOSPC ? "nospace"
                                                  : "failed");
        json_put_bool(o, "ready", job->ready);
        json_put_string(o, "status", job_status_names[job->status]);
        json_put_bool(o, "auto-finalize", job->auto_finalize);
        json_put_bool(o, "auto-dismiss", job->auto_dismiss);
        if (job->ret < 0 && job->err) {
            json_put_string(o, "error", error_message(job->err));
        }
        if (job->drv->query) {
            job->drv->query(job, o);
        }
        json_append(a, o);
    }
    return a;
}

/* ---- waiting ---- */

static void poll_once(BlockGraph *g)
{
    bool own_control = loop_is_current(g->control) || !loop_is_served(g->control);
    if (own_control || loop_lock_held(g->control)) {
        loop_poll(g->control, 10 * NS_PER_MS);
    } else {
        g_usleep(1000);
    }
    if (g->loop != g->control && !loop_is_served(g->loop)) {
        loop_poll(g->loop, 0);
    }
}

void jobs_cancel_all(BlockGraph *g)
{
    while (g->jobs) {
        Job *job = g->jobs->data;
        if (job->status == JOB_CONCLUDED) {
            dismiss(job);
        } else if (!job->started) {
            job_discard(job);
        } else if (!job->cancelled && job_user_cancel(job, true, NULL)) {
            continue;
        } else {
            LOOP_LOCK_GUARD(job->loop);
            job->force_cancelled = true;
            job_kick(job);
        }
        if (g->jobs && g->jobs->data == job) {
            poll_once(g);
        }
    }
}

int job_run_sync(Job *job, Error **errp)
{
    job_ref(job);
    job->auto_dismiss = false;
    if (!job->started) {
        job_start(job);
    }
    while (job->status != JOB_CONCLUDED && job->status != JOB_NULL) {
        if (job->ready && !job->cancelled) {
            job_user_complete(job, NULL);
        }
        poll_once(job->graph);
    }
    int ret = job->ret;
    if (ret < 0 && job->err) {
        error_propagate(errp, error_copy(job->err));
    }
    if (job->status == JOB_CONCLUDED) {
        dismiss(job);
    }
    job_unref(job);
    return ret;
}
