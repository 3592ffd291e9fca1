/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Each reader thread has a slot with the grace-period number it saw when it
 * entered (0: outside).  A writer advances the number and waits until no slot
 * holds an older one.  Slots are found by the writer through a registry that a
 * thread joins when it first reads and leaves when it ends.
 */
#include "util/rcu.h"

#include "util/blocking.h"
#include "util/sanitize.h"

#include <glib.h>
#include <pthread.h>
#include <stdint.h>

typedef struct Reader {
    uint64_t seen; /* atomic: grace period at entry, 0 outside */
    unsigned depth;
    struct Reader *next, **prev;
} Reader;

/* Process-wide by nature: it orders threads, it holds no machine's state. */
static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static Reader *registry;
static uint64_t period = 1;
static pthread_mutex_t sync_lock = PTHREAD_MUTEX_INITIALIZER;

static pthread_mutex_t queue_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t queue_cond = PTHREAD_COND_INITIALIZER;
static pthread_cond_t idle_cond = PTHREAD_COND_INITIALIZER;
static RcuHead *queue, **queue_tail = &queue;
static bool reclaimer_running, reclaimer_busy;

static pthread_key_t reader_key;
static pthread_once_t reader_once = PTHREAD_ONCE_INIT;
static __thread Reader *self;

static void reader_leave(void *opaque)
{
    Reader *r = opaque;
    pthread_mutex_lock(&registry_lock);
    *r->prev = r->next;
    if (r->next) {
        r->next->prev = r->prev;
    }
    pthread_mutex_unlock(&registry_lock);
    g_free(r);
    self = NULL;
}

static void make_key(void)
{
    pthread_key_create(&reader_key, reader_leave);
}

static Reader *reader_join(void)
{
    pthread_once(&reader_once, make_key);
    Reader *r = g_new0(Reader, 1);
    pthread_setspecific(reader_key, r);
    pthread_mutex_lock(&registry_lock);
    r->next = registry;
    r->prev = &registry;
    if (r->next) {
        r->next->prev = &r->next;
    }
    registry = r;
    pthread_mutex_unlock(&registry_lock);
    self = r;
    return r;
}

void rcu_read_lock(void)
{
    Reader *r = self ? self : reader_join();
    if (r->depth++ == 0) {
        __atomic_store_n(&r->seen, __atomic_load_n(&period, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
        /* Pairs with the fence in rcu_synchronize(): seen before any data. */
        atomic_fence_full();
    }
}

void rcu_read_unlock(void)
{
    Reader *r = self;
    g_assert(r && r->depth);
    if (--r->depth == 0) {
        __atomic_store_n(&r->seen, 0, __ATOMIC_RELEASE);
    }
}

bool rcu_read_locked(void)
{
    return self && self->depth;
}

static bool readers_before(uint64_t p)
{
    bool any = false;
    pthread_mutex_lock(&registry_lock);
    for (Reader *r = registry; r && !any; r = r->next) {
        uint64_t seen = __atomic_load_n(&r->seen, __ATOMIC_ACQUIRE);
        any = seen && seen < p;
    }
    pthread_mutex_unlock(&registry_lock);
    return any;
}

void rcu_synchronize(void)
{
    g_assert(!rcu_read_locked());
    blocking_call("rcu_synchronize()");
    pthread_mutex_lock(&sync_lock);
    atomic_fence_full();
    uint64_t p = __atomic_add_fetch(&period, 1, __ATOMIC_SEQ_CST);
    atomic_fence_full();
    /* A reader that read the old number but stores it only now sees new data
     * only: the fences order its store before its loads.  It is waited for. */
    for (unsigned spins = 0; readers_before(p); spins++) {
        g_usleep(spins < 10 ? 20 : 500);
    }
    pthread_mutex_unlock(&sync_lock);
}

static void *reclaimer(void *opaque)
{
    pthread_setname_np(pthread_self(), "rcu");
    pthread_mutex_lock(&queue_lock);
    for (;;) {
        while (!queue) {
            reclaimer_busy = false;
            pthread_cond_broadcast(&idle_cond);
            pthread_cond_wait(&queue_cond, &queue_lock);
        }
        reclaimer_busy = true;
        RcuHead *batch = queue;
        queue = NULL;
        queue_tail = &queue;
        pthread_mutex_unlock(&queue_lock);
        rcu_synchronize();
        while (batch) {
            RcuHead *next = batch->next;
            batch->fn(batch);
            batch = next;
        }
        pthread_mutex_lock(&queue_lock);
    }
    return NULL;
}

void rcu_call(RcuHead *head, void (*fn)(RcuHead *head))
{
    head->fn = fn;
    head->next = NULL;
    pthread_mutex_lock(&queue_lock);
    *queue_tail = head;
    queue_tail = &head->next;
    if (!reclaimer_running) {
        pthread_t t;
        pthread_attr_t attr;
        pthread_attr_init(&attr);
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        pthread_attr_setstacksize(&attr, 256 * 1024);
        if (pthread_create(&t, &attr, reclaimer, NULL) == 0) {
            reclaimer_running = reclaimer_busy = true;
        }
        pthread_attr_destroy(&attr);
    }
    pthread_cond_signal(&queue_cond);
    pthread_mutex_unlock(&queue_lock);
}

void rcu_barrier(void)
{
    blocking_call("rcu_barrier()");
    pthread_mutex_lock(&queue_lock);
    while (reclaimer_running && (queue || reclaimer_busy)) {
        pthread_cond_wait(&idle_cond, &queue_lock);
    }
    pthread_mutex_unlock(&queue_lock);
}
