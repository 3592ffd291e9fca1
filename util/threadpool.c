/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/threadpool.h"

#include "util/blocking.h"
#include "util/sanitize.h"

typedef struct Job {
    int (*work)(void *opaque);
    void (*done)(void *opaque, int result);
    void *opaque;
} Job;

struct ThreadPool {
    GThreadPool *pool;
};

static void run_job(gpointer data, gpointer pool G_GNUC_UNUSED)
{
    Job *job = data;
    tsan_acquire(job);
    int result = job->work(job->opaque);
    job->done(job->opaque, result);
    g_free(job);
}

ThreadPool *thread_pool_new(unsigned max)
{
    ThreadPool *p = g_new0(ThreadPool, 1);
    /* Not exclusive: GLib keeps idle threads for a while and shares them. */
    p->pool = g_thread_pool_new(run_job, p, (int)max, FALSE, NULL);
    return p;
}

void thread_pool_free(ThreadPool *pool)
{
    blocking_call("thread_pool_free()");
    g_thread_pool_free(pool->pool, FALSE, TRUE);
    g_free(pool);
}

void thread_pool_submit(ThreadPool *pool, int (*work)(void *opaque),
                        void (*done)(void *opaque, int result), void *opaque)
{
    Job *job = g_new(Job, 1);
    *job = (Job){work, done, opaque};
    tsan_release(job);
    g_thread_pool_push(pool->pool, job, NULL);
}
