/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Event loops: epoll for descriptors, an eventfd to be woken, a queue of deferred calls.  While
 * io_uring has requests the wait is in its ring (aio-ring.c).
 */
#include "event/loop.h"

#include "event/event-internal.h"
#include "event/lock-check.h"
#include "util/bits.h"
#include "util/blocking.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

typedef struct Watch {
    int fd;
    FdFn *readable, *writable;
    void *opaque;
    bool always; /* a plain file: epoll refuses it, it is always ready */
    bool dead;
} Watch;

typedef struct Deferred {
    DeferFn *fn;
    void *opaque;
} Deferred;

struct EventLoop {
    char *name;
    ClockSet *clocks;
    bool control;

    pthread_mutex_t lock;
    const void *owner; /* the holder's thread mark; atomic */
    unsigned depth;
    unsigned waiters; /* atomic: threads that want the lock */
    EventLoop *outer; /* the loop lock that the holder took before */

    int epoll_fd, wake_fd;
    uint32_t notified; /* atomic: wake_fd has been written */
    bool quit;         /* atomic */
    GHashTable *watches;
    GPtrArray *graveyard; /* dead watches that a dispatch under way may still point to */
    unsigned n_always;    /* atomic */
    unsigned asleep;      /* threads that wait for descriptors only; atomic */
    unsigned rounds;      /* of loop_poll() under way, nested or by several threads; atomic */

    pthread_mutex_t queue_lock; /* a leaf */
    GQueue queue;               /* Deferred */

    TimerSet timers;
    AioContext *aio;
    unsigned aio_batch; /* atomic */
    ThreadPool *pool;
    size_t to_spend; /* what loop_spend() allows in this round yet */

    pthread_t thread;
    bool has_thread, serving; /* serving (atomic): some thread runs loop_run() */
};

static __thread char thread_mark;
static __thread EventLoop *running_loop; /* innermost loop polled by this thread */
static __thread EventLoop *held_loop;    /* innermost loop lock held by this thread */

/* Some fifty small requests in a round, or a quarter of a megabyte: less than 100 microseconds. */
#define SPEND_BYTES (512u << 10)
#define SPEND_EACH 4096u

/* ---- life ---- */
static void free_deferred(gpointer d)
{
    g_free(d);
}

EventLoop *loop_new(const char *name, ClockSet *clocks, Error **errp)
{
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (epoll_fd < 0 || wake_fd < 0) {
        error_set_errno(errp, errno, "Could not create the event loop '%s'", name);
        if (epoll_fd >= 0) {
            close(epoll_fd);
        }
        return NULL;
    }
    EventLoop *loop = g_new0(EventLoop, 1);
    loop->name = g_strdup(name);
    loop->clocks = clocks;
    loop->epoll_fd = epoll_fd;
    loop->wake_fd = wake_fd;
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, wake_fd, &ev);
    pthread_mutex_init(&loop->lock, NULL);
    pthread_mutex_init(&loop->queue_lock, NULL);
    g_queue_init(&loop->queue);
    loop->watches = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    loop->graveyard = g_ptr_array_new_with_free_func(g_free);
    timer_set_init(&loop->timers);
    clock_set_join(clocks, loop);
    return loop;
}

void loop_free(EventLoop *loop)
{
    if (!loop) {
        return;
    }
    loop_stop_thread(loop);
    aio_free(loop->aio);
    if (loop->pool) {
        thread_pool_free(loop->pool);
    }
    clock_set_leave(loop->clocks, loop);
    timer_set_fini(&loop->timers);
    g_queue_clear_full(&loop->queue, free_deferred);
    g_hash_table_destroy(loop->watches);
    g_ptr_array_free(loop->graveyard, TRUE);
    pthread_mutex_destroy(&loop->queue_lock);
    pthread_mutex_destroy(&loop->lock);
    close(loop->wake_fd);
    close(loop->epoll_fd);
    g_free(loop->name);
    g_free(loop);
}

const char *loop_name(const EventLoop *loop)
{
    return loop->name;
}

ClockSet *loop_clocks(const EventLoop *loop)
{
    return loop->clocks;
}

bool loop_is_control(const EventLoop *loop)
{
    return loop->control;
}

bool loop_has_work(EventLoop *loop, bool timers)
{
    pthread_mutex_lock(&loop->queue_lock);
    bool any = loop->queue.length != 0;
    pthread_mutex_unlock(&loop->queue_lock);
    return any || (timers && timer_set_virtual_due(&loop->timers, loop->clocks));
}

TimerSet *loop_timers(EventLoop *loop)
{
    return &loop->timers;
}

int loop_epoll_fd(const EventLoop *loop)
{
    return loop->epoll_fd;
}

bool loop_asleep(const EventLoop *loop)
{
    return __atomic_load_n(&loop->asleep, __ATOMIC_SEQ_CST) != 0;
}

void loop_set_asleep(EventLoop *loop, bool asleep)
{
    __atomic_add_fetch(&loop->asleep, asleep ? 1 : -1u, __ATOMIC_SEQ_CST);
}

AioContext **loop_aio_slot(EventLoop *loop)
{
    return &loop->aio;
}

void loop_set_aio_batch(EventLoop *loop, unsigned max_batch)
{
    __atomic_store_n(&loop->aio_batch, max_batch, __ATOMIC_RELAXED);
}

unsigned loop_aio_batch(const EventLoop *loop)
{
    return __atomic_load_n(&loop->aio_batch, __ATOMIC_RELAXED);
}

ThreadPool *loop_thread_pool(EventLoop *loop)
{
    pthread_mutex_lock(&loop->queue_lock);
    if (!loop->pool) {
        loop->pool = thread_pool_new(16);
    }
    ThreadPool *pool = loop->pool;
    pthread_mutex_unlock(&loop->queue_lock);
    return pool;
}

void loop_set_control(EventLoop *loop)
{
    loop->control = true;
}

/* ---- the lock ---- */
bool loop_lock_held(const EventLoop *loop)
{
    return __atomic_load_n(&loop->owner, __ATOMIC_RELAXED) == &thread_mark;
}

static void lock_taken(EventLoop *loop, unsigned depth)
{
    __atomic_store_n(&loop->owner, &thread_mark, __ATOMIC_RELAXED);
    loop->depth = depth;
    loop->outer = held_loop;
    held_loop = loop;
    lock_check_begin(!loop->control);
}

void loop_lock(EventLoop *loop)
{
    if (loop_lock_held(loop)) {
        loop->depth++;
        return;
    }
    __atomic_add_fetch(&loop->waiters, 1, __ATOMIC_RELAXED);
    pthread_mutex_lock(&loop->lock);
    __atomic_sub_fetch(&loop->waiters, 1, __ATOMIC_RELAXED);
    lock_taken(loop, 1);
}

/* Gives the lock up whatever its depth, which is returned. */
static unsigned lock_drop(EventLoop *loop)
{
    unsigned depth = loop->depth;
    if (!loop->control) {
        lock_check_end(loop);
    }
    /* Usually the innermost; locks may also be released in another order. */
    EventLoop **p = &held_loop;
    while (*p != loop) {
        p = &(*p)->outer;
    }
    *p = loop->outer;
    loop->outer = NULL;
    loop->depth = 0;
    __atomic_store_n(&loop->owner, NULL, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&loop->lock);
    return depth;
}

void loop_unlock(EventLoop *loop)
{
    assert(loop_lock_held(loop));
    if (loop->depth > 1) {
        loop->depth--;
    } else {
        lock_drop(loop);
    }
}

bool loop_lock_foreign(EventLoop *loop)
{
    if (!loop_lock_held(loop)) {
        /* The control loop's lock comes first in the order and cannot close a circle. */
        for (const EventLoop *l = held_loop; l; l = l->outer) {
            if (!l->control) {
                return false;
            }
        }
    }
    loop_lock(loop);
    return true;
}

void loop_allow_long(EventLoop *loop)
{
    assert(loop_lock_held(loop));
    lock_check_allow();
}

/*
 * A mutex that is let go and taken again at once is hardly ever got by others: they are
 * given the time to wake up, but not for ever.
 */
void loop_yield(EventLoop *loop)
{
    if (loop->depth != 1 || held_loop != loop) {
        return;
    }
    bool watched = lock_check_pause(loop);
    if (__atomic_load_n(&loop->waiters, __ATOMIC_RELAXED)) {
        lock_drop(loop);
        for (unsigned i = 0; i < 200 && !__atomic_load_n(&loop->owner, __ATOMIC_RELAXED) &&
                             __atomic_load_n(&loop->waiters, __ATOMIC_RELAXED);
             i++) {
            sched_yield();
        }
        pthread_mutex_lock(&loop->lock);
        lock_taken(loop, 1);
    }
    lock_check_resume(watched);
}

/* ---- descriptors ---- */
static void watch_drop(EventLoop *loop, Watch *w)
{
    if (w->always) {
        __atomic_sub_fetch(&loop->n_always, 1, __ATOMIC_RELAXED);
    } else {
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL); /* may be closed already */
    }
    w->dead = true;
    g_hash_table_steal(loop->watches, GINT_TO_POINTER(w->fd));
    g_ptr_array_add(loop->graveyard, w);
}

static void watch_arm(EventLoop *loop, Watch *w)
{
    struct epoll_event ev = {
        .events = (w->readable ? EPOLLIN | EPOLLRDHUP : 0u) | (w->writable ? EPOLLOUT : 0u),
        .data.ptr = w,
    };
    if (w->always) {
        return;
    }
    /* A descriptor closed and opened anew under the same number has left the set by itself. */
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, w->fd, &ev) == 0 ||
        (errno == ENOENT && epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, w->fd, &ev) == 0)) {
        return;
    }
    assert(errno != EBADF);
    if (errno != EPERM) { /* out of kernel memory, or of the user's share of watches */
        report_error("Could not watch a descriptor in the event loop '%s': %s", loop->name,
                     g_strerror(errno));
        return;
    }
    w->always = true;
    __atomic_add_fetch(&loop->n_always, 1, __ATOMIC_RELAXED);
}

void loop_watch_fd(EventLoop *loop, int fd, FdFn *readable, FdFn *writable, void *opaque)
{
    Watch *w = g_hash_table_lookup(loop->watches, GINT_TO_POINTER(fd));
    if (!readable && !writable) {
        if (w) {
            watch_drop(loop, w);
        }
        return;
    }
    if (!w) {
        w = g_new0(Watch, 1);
        w->fd = fd;
        g_hash_table_insert(loop->watches, GINT_TO_POINTER(fd), w);
    }
    w->readable = readable;
    w->writable = writable;
    w->opaque = opaque;
    watch_arm(loop, w);
    if (!loop_is_current(loop)) {
        loop_notify(loop);
    }
}

static void watch_fire(Watch *w, uint32_t events)
{
    if (!w->dead && w->readable && (events & ~(uint32_t)EPOLLOUT)) {
        lock_check_note(w->readable, NULL);
        w->readable(w->opaque);
    }
    if (!w->dead && w->writable && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) {
        lock_check_note(w->writable, NULL);
        w->writable(w->opaque);
    }
}

static void fire_always(EventLoop *loop)
{
    g_autoptr(GList) all = g_hash_table_get_values(loop->watches);
    for (GList *l = all; l; l = l->next) {
        Watch *w = l->data;
        if (w->always) {
            watch_fire(w, EPOLLIN | EPOLLOUT);
            loop_yield(loop);
        }
    }
}

/* ---- deferred calls ---- */
void loop_notify(EventLoop *loop)
{
    if (!__atomic_exchange_n(&loop->notified, 1, __ATOMIC_SEQ_CST)) {
        uint64_t one = 1;
        ssize_t n G_GNUC_UNUSED = write(loop->wake_fd, &one, sizeof(one));
    }
}

void loop_defer(EventLoop *loop, DeferFn *fn, void *opaque)
{
    Deferred *d = g_new(Deferred, 1);
    *d = (Deferred){fn, opaque};
    pthread_mutex_lock(&loop->queue_lock);
    g_queue_push_tail(&loop->queue, d);
    pthread_mutex_unlock(&loop->queue_lock);
    /* Its own thread looks at the queue before it waits; others may be asleep already. */
    if (!loop_is_current(loop) || __atomic_load_n(&loop->rounds, __ATOMIC_SEQ_CST) != 1) {
        loop_notify(loop);
    }
}

void loop_defer_cancel(EventLoop *loop, void *opaque)
{
    pthread_mutex_lock(&loop->queue_lock);
    for (GList *l = loop->queue.head, *next; l; l = next) {
        next = l->next;
        if (((Deferred *)l->data)->opaque == opaque) {
            g_free(l->data);
            g_queue_delete_link(&loop->queue, l);
        }
    }
    pthread_mutex_unlock(&loop->queue_lock);
}

/* Runs what was queued when it began; calls queued meanwhile wait for the next round. */
static bool run_deferred(EventLoop *loop)
{
    pthread_mutex_lock(&loop->queue_lock);
    unsigned n = loop->queue.length;
    pthread_mutex_unlock(&loop->queue_lock);
    bool ran = false;
    while (n--) {
        pthread_mutex_lock(&loop->queue_lock);
        Deferred *d = g_queue_pop_head(&loop->queue);
        pthread_mutex_unlock(&loop->queue_lock);
        if (!d) {
            break; /* cancelled */
        }
        lock_check_note(d->fn, NULL);
        d->fn(d->opaque);
        g_free(d);
        ran = true;
        loop_yield(loop);
    }
    return ran;
}

typedef struct Call {
    DeferFn *fn;
    void *opaque;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
} Call;

static void call_run(void *opaque)
{
    Call *c = opaque;
    c->fn(c->opaque);
    pthread_mutex_lock(&c->lock);
    c->done = true;
    pthread_cond_signal(&c->cond);
    pthread_mutex_unlock(&c->lock);
}

void loop_call(EventLoop *loop, DeferFn *fn, void *opaque)
{
    /* Whoever holds the lock, or finds nobody at the loop, is as good as the loop's thread. */
    if (loop_is_current(loop) || loop_lock_held(loop) ||
        !__atomic_load_n(&loop->serving, __ATOMIC_SEQ_CST)) {
        LOOP_LOCK_GUARD(loop);
        fn(opaque);
        return;
    }
    Call c = {.fn = fn,
              .opaque = opaque,
              .lock = PTHREAD_MUTEX_INITIALIZER,
              .cond = PTHREAD_COND_INITIALIZER};
    blocking_call("loop_call()");
    loop_defer(loop, call_run, &c);
    if (!__atomic_load_n(&loop->serving, __ATOMIC_SEQ_CST)) {
        /* The loop ended meanwhile; its last round may or may not have seen the call. */
        LOOP_LOCK_GUARD(loop);
        loop_defer_cancel(loop, &c);
        if (!c.done) {
            fn(opaque);
        }
        return;
    }
    pthread_mutex_lock(&c.lock);
    while (!c.done) {
        pthread_cond_wait(&c.cond, &c.lock);
    }
    pthread_mutex_unlock(&c.lock);
}

/* ---- running ---- */
static int wait_events(EventLoop *loop, struct epoll_event *ev, int max, int64_t timeout_ns)
{
    if (timeout_ns == 0) {
        return epoll_wait(loop->epoll_fd, ev, max, 0);
    }
    struct timespec ts = {.tv_sec = timeout_ns / NS_PER_SEC, .tv_nsec = timeout_ns % NS_PER_SEC};
    struct timespec *tsp = timeout_ns < 0 ? NULL : &ts;
    int n = epoll_pwait2(loop->epoll_fd, ev, max, tsp, NULL);
    if (n < 0 && (errno == ENOSYS || errno == EPERM)) { /* Linux before 5.11, old filters */
        struct pollfd p = {.fd = loop->epoll_fd, .events = POLLIN};
        n = ppoll(&p, 1, tsp, NULL);
        n = n > 0 ? epoll_wait(loop->epoll_fd, ev, max, 0) : n;
    }
    return n;
}

/* Waits without the lock; returns the number of events. */
static int wait_unlocked(EventLoop *loop, struct epoll_event *ev, int max, int64_t timeout_ns)
{
    int64_t now = clock_now(loop->clocks, CLOCK_RT);
    int64_t limit = timeout_ns < 0 || __builtin_add_overflow(now, timeout_ns, &limit)
                        ? INT64_MAX
                        : now + timeout_ns;
    int64_t until = timer_set_sleep(&loop->timers, loop->clocks, limit);
    until = until < limit ? until : limit;
    /* Whatever was queued before this point is seen here or has written wake_fd. */
    pthread_mutex_lock(&loop->queue_lock);
    bool busy = loop->queue.length || __atomic_load_n(&loop->n_always, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&loop->queue_lock);
    int64_t wait = busy ? 0 : until == INT64_MAX ? -1 : until > now ? until - now : 0;
    /* Who submits a request from now on finds a sleeper to wake, or is found here. */
    loop_set_asleep(loop, true);
    int n = 0;
    if (!aio_wait(__atomic_load_n(&loop->aio, __ATOMIC_SEQ_CST), wait)) {
        n = wait_events(loop, ev, max, wait);
    }
    loop_set_asleep(loop, false);
    timer_set_awake(&loop->timers);
    return n < 0 ? 0 : n; /* EINTR: signals are nobody's event */
}

/* Another round may have waited already and hold events of dead watches. Locked. */
static void bury_watches(EventLoop *loop)
{
    if (!__atomic_sub_fetch(&loop->rounds, 1, __ATOMIC_SEQ_CST) && loop->graveyard->len) {
        g_ptr_array_set_size(loop->graveyard, 0);
    }
}

static bool dispatch(EventLoop *loop, struct epoll_event *ev, int n)
{
    bool ran = false;
    for (int i = 0; i < n; i++) {
        if (!ev[i].data.ptr) {
            uint64_t count;
            ssize_t r G_GNUC_UNUSED = read(loop->wake_fd, &count, sizeof(count));
            __atomic_store_n(&loop->notified, 0, __ATOMIC_SEQ_CST);
        }
    }
    unsigned clocks = ~0u;
    if (clock_is_driven(loop->clocks) && !loop->control) {
        clocks = 1u << CLOCK_RT | 1u << CLOCK_HOST;
    }
    ran |= timer_set_run(&loop->timers, loop->clocks, clocks, loop);
    for (int i = 0; i < n; i++) {
        if (ev[i].data.ptr) {
            watch_fire(ev[i].data.ptr, ev[i].events);
            loop_yield(loop);
            ran = true;
        }
    }
    if (loop->n_always) {
        fire_always(loop);
        ran = true;
    }
    ran |= run_deferred(loop);
    return ran;
}

/* again: the caller does the next round at once. */
static bool poll_round(EventLoop *loop, int64_t timeout_ns, bool again)
{
    struct epoll_event ev[32];
    EventLoop *outer = running_loop;
    running_loop = loop;
    /* A nested round (someone waits for an event within a callback) waits unlocked, too. */
    unsigned depth = 0;
    __atomic_add_fetch(&loop->rounds, 1, __ATOMIC_SEQ_CST);
    if (loop_lock_held(loop)) {
        aio_flush(loop->aio, true);
        depth = lock_drop(loop);
    }
    int n = wait_unlocked(loop, ev, ARRAY_LEN(ev), timeout_ns);
    loop_lock(loop);
    loop->to_spend = SPEND_BYTES;
    bool descriptors = false, ran = aio_reap(loop->aio, &descriptors);
    if (descriptors && !n) {
        n = wait_events(loop, ev, ARRAY_LEN(ev), 0);
    }
    ran |= dispatch(loop, ev, n);
    aio_flush(loop->aio, again);
    bury_watches(loop);
    loop_unlock(loop);
    if (depth) {
        pthread_mutex_lock(&loop->lock);
        lock_taken(loop, depth);
    }
    running_loop = outer;
    return ran;
}

bool loop_poll(EventLoop *loop, int64_t timeout_ns)
{
    return poll_round(loop, timeout_ns, false);
}

void loop_run_until(EventLoop *loop, const bool *done)
{
    while (!*done) {
        poll_round(loop, -1, true);
    }
    LOOP_LOCK_GUARD(loop);
    aio_flush(loop->aio, false); /* what the last round has left */
}

bool loop_spend(EventLoop *loop, size_t bytes)
{
    bool may = bytes + SPEND_EACH <= loop->to_spend;
    loop->to_spend -= may ? bytes + SPEND_EACH : 0;
    return may;
}

void loop_run(EventLoop *loop)
{
    __atomic_store_n(&loop->serving, true, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&loop->quit, __ATOMIC_SEQ_CST)) {
        poll_round(loop, -1, true);
    }
    loop_lock(loop);
    __atomic_store_n(&loop->serving, false, __ATOMIC_SEQ_CST);
    /* Callers in loop_call() may have queued theirs after the last round. */
    run_deferred(loop);
    aio_flush(loop->aio, false);
    __atomic_store_n(&loop->quit, false, __ATOMIC_SEQ_CST);
    loop_unlock(loop);
}

void loop_quit(EventLoop *loop)
{
    __atomic_store_n(&loop->quit, true, __ATOMIC_SEQ_CST);
    loop_notify(loop);
}

static void *loop_thread(void *opaque)
{
    EventLoop *loop = opaque;
    /* Signals are the main thread's; timers of devices want better than 50 µs. */
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    prctl(PR_SET_NAME, loop->name);
    prctl(PR_SET_TIMERSLACK, 1000ul);
    loop_run(loop);
    return NULL;
}

bool loop_start_thread(EventLoop *loop, Error **errp)
{
    assert(!loop->has_thread);
    /* From now on loop_call() may rely on somebody coming. */
    __atomic_store_n(&loop->serving, true, __ATOMIC_SEQ_CST);
    int err = pthread_create(&loop->thread, NULL, loop_thread, loop);
    if (err) {
        __atomic_store_n(&loop->serving, false, __ATOMIC_SEQ_CST);
        error_set_errno(errp, err, "Could not start the thread of the event loop '%s'", loop->name);
        return false;
    }
    loop->has_thread = true;
    return true;
}

void loop_stop_thread(EventLoop *loop)
{
    if (loop->has_thread) {
        loop_quit(loop);
        pthread_join(loop->thread, NULL);
        loop->has_thread = false;
    }
}

bool loop_is_current(const EventLoop *loop)
{
    return running_loop == loop;
}

EventLoop *loop_current(void)
{
    return running_loop;
}

bool loop_is_served(const EventLoop *loop)
{
    return __atomic_load_n(&loop->serving, __ATOMIC_SEQ_CST);
}
