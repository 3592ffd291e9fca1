/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block/job.h: long work on the block graph: mirror, commit, stream, backup, create.
 *
 * A job is a fiber on the loop of its node (job->loop).  It asks job_pause_point() and
 * job_sleep() often, which let it be paused, and job_cancelled() whether to stop.  What it
 * does to nodes is bracketed by block_enter()/block_leave(), so that the graph can be made
 * quiescent.  When its run() has returned, everything else happens on the control loop:
 * prepare(), then commit() or abort(), then clean(); there the graph may change.
 *
 * States are QEMU's: created, running, paused, ready, standby, waiting, pending, aborting,
 * concluded, null.  Jobs of one transaction end together: all commit, or all abort.
 *
 * Locking: state is guarded by the job's loop lock.  The functions for managers (job_pause()
 * and so on) are for the control thread; those of a job for itself are for its fiber.
 */
#ifndef RHEA_BLOCK_JOB_H
#define RHEA_BLOCK_JOB_H

#include "block/node.h"

typedef enum JobStatus {
    JOB_UNDEFINED,
    JOB_CREATED,
    JOB_RUNNING,
    JOB_PAUSED,
    JOB_READY,
    JOB_STANDBY,
    JOB_WAITING,
    JOB_PENDING,
    JOB_ABORTING,
    JOB_CONCLUDED,
    JOB_NULL,
} JobStatus;

/* What a job does about an error of source or target. */
typedef enum JobOnError {
    JOB_ON_ERROR_REPORT,
    JOB_ON_ERROR_IGNORE,
    JOB_ON_ERROR_ENOSPC, /* stop for ENOSPC, report others */
    JOB_ON_ERROR_STOP,
    JOB_ON_ERROR_AUTO, /* as the device does: here report, ENOSPC of writes stops */
} JobOnError;

typedef struct Job Job;
typedef struct JobTxn JobTxn;

typedef struct JobDriver {
    const char *type;                   /* "mirror": JobType of the schema */
    bool block;                         /* a block job: BLOCK_JOB_* events, query-block-jobs */
    size_t size;                        /* of the instance, which starts with a Job */
    int (*run)(Job *job, Error **errp); /* the fiber; 0 or -errno */
    bool (*prepare)(Job *job, Error **errp);
    void (*commit)(Job *job);
    void (*abort)(Job *job);
    void (*clean)(Job *job);
    /* job-complete; NULL: the job ends by itself.  Loop's lock held. */
    bool (*complete)(Job *job, Error **errp);
    /* Cancelling may only mean to end well where the job is ready (mirror without force):
     * true if the job is to fail with ECANCELED.  Loop's lock held. */
    bool (*cancel)(Job *job, bool force);
    bool (*change)(Job *job, const Json *options, Error **errp); /* block-job-change */
    void (*query)(Job *job, Json *info);                         /* adds members */
} JobDriver;

struct Job {
    const JobDriver *drv;
    BlockGraph *graph;
    EventLoop *loop;
    char *id;
    bool internal;   /* nobody is told of it */
    BlockNode *node; /* the one it is about; referenced */
    JobStatus status;
    bool auto_finalize, auto_dismiss;
    int64_t speed;           /* bytes a second; 0: unlimited */
    uint64_t current, total; /* progress */
    bool ready, cancelled, force_cancelled, user_paused, started, ended;
    unsigned pause_count;
    bool parked;  /* waits for job_kick() */
    int iostatus; /* 0 ok, else errno of what stopped it */
    Fiber *fiber;
    Timer timer;
    int ret;
    Error *err;
    JobTxn *txn;
    GPtrArray *claimed; /* BlockNode*: others keep off */
    int64_t slice_end;  /* of the speed limit: CLOCK_RT */
    uint64_t slice_done;
    int refs;
};

typedef struct JobParams {
    const char *id; /* NULL: `default_id`, which is the device's name */
    const char *default_id;
    int64_t speed;
    bool manual_finalize, manual_dismiss; /* auto-finalize=off, auto-dismiss=off */
    bool internal;
    JobTxn *txn;     /* NULL: alone */
    EventLoop *loop; /* where it runs; NULL: the node's */
} JobParams;

/* ---- for jobs ---- */
/* A job of drv->size on `node` (NULL: none), in state created.  Refuses taken ids. */
Job *job_new(BlockGraph *g, const JobDriver *drv, BlockNode *node, const JobParams *p,
             Error **errp);
void job_start(Job *job);
/* Nobody else changes the graph at `n` from now on, until the job is cleaned up. */
void job_claim(Job *job, BlockNode *n);
void job_release_nodes(Job *job);
/* Undoes job_new() before the job was started. */
void job_discard(Job *job);
void job_pause_point(Job *job);
/* Sleeps, but wakes for whatever is asked of the job; includes a pause point. */
void job_sleep(Job *job, int64_t ns);
/* Sleeps until job_kick(). */
void job_wait(Job *job);
void job_kick(Job *job); /* loop's lock held */
static inline bool job_cancelled(const Job *job)
{
    return job->cancelled;
}
/* `bytes` have been moved: waits as the speed limit demands. */
void job_pace(Job *job, uint64_t bytes);
void job_progress(Job *job, uint64_t done_more); /* adds to `current` */
void job_set_ready(Job *job);
/*
 * What to do about `err` (positive errno): true: try again (after a pause, if it was one of
 * the stopping kind) or go on (*ignored set); false: give up.
 */
bool job_on_error(Job *job, JobOnError policy, bool is_read, int err, bool *ignored);

/* ---- transactions ---- */
JobTxn *job_txn_new(void);
JobTxn *job_txn_ref(JobTxn *t);
void job_txn_unref(JobTxn *t);

/* ---- for managers: control thread ---- */
Job *job_find(BlockGraph *g, const char *id, Error **errp);
bool job_user_pause(Job *job, Error **errp);
bool job_user_resume(Job *job, Error **errp);
bool job_user_cancel(Job *job, bool force, Error **errp);
bool job_user_complete(Job *job, Error **errp);
bool job_user_finalize(Job *job, Error **errp);
bool job_user_dismiss(Job *job, Error **errp);
bool job_set_speed(Job *job, int64_t speed, Error **errp);
bool job_change(Job *job, const Json *options, Error **errp);
Json *jobs_query(BlockGraph *g);       /* query-jobs */
Json *block_jobs_query(BlockGraph *g); /* query-block-jobs */
/* Cancels all by force and waits for their end. */
void jobs_cancel_all(BlockGraph *g);
/* Waits (tools): polls the control loop until the job has ended; its result. */
int job_run_sync(Job *job, Error **errp);

extern const char *const job_status_names[];

#endif
