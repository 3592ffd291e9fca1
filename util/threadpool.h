/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * util/threadpool.h: worker threads for calls that block (preadv on a host
 * without io_uring, fallocate, compression).  Workers are started when needed
 * and end after some idle seconds.
 */
#ifndef RHEA_UTIL_THREADPOOL_H
#define RHEA_UTIL_THREADPOOL_H

#include <glib.h>

typedef struct ThreadPool ThreadPool;

/* At most `max` workers. */
ThreadPool *thread_pool_new(unsigned max);
/* Waits for the work under way. */
void thread_pool_free(ThreadPool *pool);
/*
 * Runs work(opaque) on a worker, then done(opaque, result) on that same worker
 * thread (the caller's `done` hands over to its loop with loop_defer()).
 */
void thread_pool_submit(ThreadPool *pool, int (*work)(void *opaque),
                        void (*done)(void *opaque, int result), void *opaque);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(ThreadPool, thread_pool_free)

#endif
