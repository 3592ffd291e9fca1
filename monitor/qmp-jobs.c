/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Management commands about jobs. */
#include "block/job.h"
#include "qapi/qapi-commands.h"

static Job *find(Object *root, const char *id, Error **errp)
{
    return job_find(block_graph_of(root), id, errp);
}

/* The block job commands know block jobs only, and call them by their device. */
static Job *find_block(Object *root, const char *id, Error **errp)
{
    Job *job = job_find(block_graph_of(root), id, NULL);
    if (!job || !job->drv->block) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_ACTIVE, "Block job '%s' not found", id);
        return NULL;
    }
    return job;
}

bool qmp_query_jobs(Object *root, Json **out, Error **errp)
{
    *out = jobs_query(block_graph_of(root));
    return true;
}

bool qmp_query_block_jobs(Object *root, Json **out, Error **errp)
{
    *out = block_jobs_query(block_graph_of(root));
    return true;
}

/* The commands that name a job and do one thing to it. */
#define JOB_COMMAND(command, find_it, act)                         \
    bool qmp_##command(Object *root, const char *id, Error **errp) \
    {                                                              \
        Job *job = find_it(root, id, errp);                        \
        return job && act(job, errp);                              \
    }

JOB_COMMAND(job_pause, find, job_user_pause)
JOB_COMMAND(job_resume, find, job_user_resume)
JOB_COMMAND(job_complete, find, job_user_complete)
JOB_COMMAND(job_dismiss, find, job_user_dismiss)
JOB_COMMAND(job_finalize, find, job_user_finalize)
JOB_COMMAND(block_job_pause, find_block, job_user_pause)
JOB_COMMAND(block_job_resume, find_block, job_user_resume)
JOB_COMMAND(block_job_complete, find_block, job_user_complete)
JOB_COMMAND(block_job_dismiss, find_block, job_user_dismiss)
JOB_COMMAND(block_job_finalize, find_block, job_user_finalize)

bool qmp_job_cancel(Object *root, const char *id, Error **errp)
{
    Job *job = find(root, id, errp);
    return job && job_user_cancel(job, true, errp);
}

bool qmp_block_job_set_speed(Object *root, const char *device, int64_t speed, Error **errp)
{
    Job *job = find_block(root, device, errp);
    return job && job_set_speed(job, speed, errp);
}

bool qmp_block_job_cancel(Object *root, const char *device, bool has_force, bool force,
                          Error **errp)
{
    Job *job = find_block(root, device, errp);
    return job && job_user_cancel(job, has_force && force, errp);
}

bool qmp_block_job_change(Object *root, const char *id, QJobType type, bool has_copy_mode,
                          QMirrorCopyMode copy_mode, Error **errp)
{
    Job *job = find_block(root, id, errp);
    if (!job) {
        return false;
    }
    if (strcmp(job->drv->type, QJobType_names[type])) {
        error_set(errp, "Job '%s' is of type '%s', not '%s'", id, job->drv->type,
                  QJobType_names[type]);
        return false;
    }
    g_autoptr(Json) o = json_object();
    if (has_copy_mode) {
        json_put_string(o, "copy-mode", QMirrorCopyMode_names[copy_mode]);
    }
    return job_change(job, o, errp);
}
