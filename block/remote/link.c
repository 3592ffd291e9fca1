/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/remote/link.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define SECOND G_USEC_PER_SEC
/* Between attempts to connect anew. */
#define RETRY_US (SECOND / 2)
/* While somebody waits for requests, a silent server counts as lost after so long. */
#define DRAIN_STALL_S 15

struct Link {
    const LinkDriver *drv;
    void *opaque;
    const RemoteHost *host;
    unsigned timeout_s;
    GThread *thread;
    int wake;
    GMutex lock; /* guards incoming, stop, ready, why */
    GCond cond;
    GQueue incoming;
    bool stop, ready;
    char *why;
    /* The thread's own. */
    GQueue pending, running;
    bool connected, was_up, told;
    bool gave_up; /* since the connection was lost: who waits next need not wait as long */
    int64_t next_try, next_tick, down_since, drain_since, last_answer;
};

void link_fail(char **why, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_free(*why);
    *why = g_strdup_vprintf(fmt, ap);
    va_end(ap);
}

void link_report(const RemoteHost *host, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    host->report(text);
}

bool link_was_up(const Link *l)
{
    return l->was_up;
}

void link_alive(Link *l)
{
    l->last_answer = g_get_monotonic_time();
}

/* ---- requests ---- */

void link_submit(Link *l, RemoteRequest *r)
{
    uint64_t one = 1;
    r->link = (GList){.data = r};
    r->tries = r->step = 0;
    r->pos = 0;
    r->priv = NULL;
    r->not_before = 0;
    unsigned limit = r->limit_s ? r->limit_s : l->timeout_s;
    r->deadline = limit ? g_get_monotonic_time() + (int64_t)limit * SECOND : 0;
    g_mutex_lock(&l->lock);
    bool first = !l->incoming.length;
    g_queue_push_tail_link(&l->incoming, &r->link);
    g_mutex_unlock(&l->lock);
    if (first && write(l->wake, &one, sizeof(one)) < 0) {
        g_assert_cmpint(errno, ==, EAGAIN); /* the counter is full: it will wake up */
    }
}

void link_finish(Link *l, RemoteRequest *r, int result)
{
    g_queue_unlink(&l->running, &r->link);
    r->result = result;
    link_alive(l);
    r->done(r);
}

void link_retry(Link *l, RemoteRequest *r, unsigned ms)
{
    g_queue_unlink(&l->running, &r->link);
    r->not_before = g_get_monotonic_time() + (int64_t)ms * 1000;
    r->tries++;
    link_alive(l);
    g_queue_push_tail_link(&l->pending, &r->link);
}

void link_lost(Link *l, RemoteRequest *r)
{
    g_queue_unlink(&l->running, &r->link);
    g_queue_push_head_link(&l->pending, &r->link);
}

static void take_incoming(Link *l)
{
    GList *i;
    g_mutex_lock(&l->lock);
    while ((i = g_queue_pop_head_link(&l->incoming))) {
        g_queue_push_tail_link(&l->pending, i);
    }
    g_mutex_unlock(&l->lock);
}

static bool stopping(Link *l)
{
    g_mutex_lock(&l->lock);
    bool stop = l->stop;
    g_mutex_unlock(&l->lock);
    return stop;
}

/* All that waits ends with `result`, or all whose time is over. */
static void end_pending(Link *l, int64_t now, int result)
{
    for (GList *i = l->pending.head, *next; i; i = next) {
        RemoteRequest *r = i->data;
        next = i->next;
        if (!now || (r->deadline && now >= r->deadline)) {
            g_queue_unlink(&l->pending, i);
            r->result = result;
            r->done(r);
        }
    }
}

static void broken(Link *l, const char *why)
{
    if (!l->connected) {
        return;
    }
    l->connected = false;
    l->down_since = g_get_monotonic_time();
    l->next_try = l->down_since;
    g_autofree char *text = g_strstrip(g_strdelimit(g_strdup(why ? why : ""), "\r\n", ' '));
    l->drv->drop(l->opaque);
    while (l->running.head) {
        link_lost(l, l->running.head->data);
    }
    if (!l->told) {
        link_report(l->host, "'%s': the connection is lost%s%s; requests wait until it is back",
                    l->host->what, *text ? ": " : "", text);
        l->told = true;
    }
}

static const char *library_text(Link *l)
{
    return l->drv->error ? l->drv->error(l->opaque) : NULL;
}

static void start_pending(Link *l, int64_t now)
{
    for (GList *i = l->pending.head, *next; i && l->connected; i = next) {
        RemoteRequest *r = i->data;
        next = i->next;
        if (r->not_before > now) {
            continue;
        }
        g_queue_unlink(&l->pending, i);
        if (!l->running.length) {
            link_alive(l);
        }
        g_queue_push_tail_link(&l->running, i);
        if (!l->drv->start(l->opaque, r)) {
            link_lost(l, r);
            broken(l, library_text(l));
        }
    }
}

/* Whose time is over; what is given up because somebody waits. */
static void check_times(Link *l, int64_t now)
{
    bool drain = __atomic_load_n(l->host->draining, __ATOMIC_SEQ_CST) != 0;
    l->drain_since = !drain ? 0 : l->drain_since ? l->drain_since : now;
    for (GList *i = l->running.head; i; i = i->next) {
        RemoteRequest *r = i->data;
        if (r->deadline && now >= r->deadline) {
            broken(l, "a request was not answered in time"); /* nothing else takes it back */
            break;
        }
    }
    unsigned stall = l->drv->stall_s;
    if (stall && drain) {
        stall = MIN(stall, DRAIN_STALL_S);
    }
    if (l->connected && stall && l->running.length &&
        now - l->last_answer > (int64_t)stall * SECOND) {
        broken(l, "the server does not answer");
    }
    end_pending(l, now, -ETIMEDOUT);
    if (!l->connected && drain && l->pending.length &&
        (l->gave_up || now - MAX(l->drain_since, l->down_since) > REMOTE_DRAIN_SECONDS * SECOND)) {
        l->gave_up = true;
        link_report(l->host, "'%s': the server is still away: %u requests have failed",
                    l->host->what, l->pending.length);
        end_pending(l, 0, -ETIMEDOUT);
    }
}

/* ---- the thread ---- */

/* One round of waiting for the connection and for whoever wakes us. */
static bool poll_once(Link *l, bool link_up, int ms)
{
    int fd = link_up ? l->drv->fd(l->opaque) : -1;
    int events = fd >= 0 ? l->drv->events(l->opaque) : 0;
    struct pollfd p[2] = {{.fd = l->wake, .events = POLLIN}, {.fd = fd, .events = (short)events}};
    uint64_t drop;
    if (link_up && (fd < 0 || !events)) {
        ms = MIN(ms, 100); /* the library has something else to do for now */
    }
    int n = poll(p, fd >= 0 ? 2 : 1, ms);
    if (n > 0 && p[0].revents && read(l->wake, &drop, sizeof(drop)) < 0) {
        g_assert_cmpint(errno, ==, EAGAIN);
    }
    if (!link_up) {
        return true;
    }
    return l->drv->service(l->opaque, fd >= 0 && n > 0 ? p[1].revents : 0);
}

bool link_wait(Link *l, const bool *done, unsigned seconds)
{
    int64_t until = g_get_monotonic_time() + (int64_t)seconds * SECOND;
    while (!*done) {
        int64_t now = g_get_monotonic_time();
        take_incoming(l);
        check_times(l, now);
        if (now >= until || stopping(l) || !poll_once(l, true, 100)) {
            return *done;
        }
    }
    return true;
}

static void reconnect(Link *l)
{
    g_autofree char *why = NULL;
    if (l->drv->connect(l->opaque, l, &why)) {
        l->connected = true;
        link_alive(l);
        link_report(l->host, "'%s': the connection is back", l->host->what);
        l->told = l->gave_up = false;
    } else {
        l->next_try = g_get_monotonic_time() + RETRY_US;
    }
}

static void serve_once(Link *l)
{
    take_incoming(l);
    int64_t now = g_get_monotonic_time();
    if (!l->connected && now >= l->next_try) {
        reconnect(l);
        take_incoming(l);
        now = g_get_monotonic_time();
    }
    if (l->connected) {
        start_pending(l, now);
    }
    check_times(l, now);
    if (l->connected && l->drv->tick && now >= l->next_tick) {
        l->next_tick = now + SECOND;
        if (!l->drv->tick(l->opaque)) {
            broken(l, "the server does not answer");
        }
    }
    bool busy = l->pending.length || l->running.length;
    if (!poll_once(l, l->connected, !l->connected || l->pending.length ? 50 : busy ? 250 : 1000)) {
        broken(l, library_text(l));
    }
}

static void *serve(void *opaque)
{
    Link *l = opaque;
    char *why = NULL;
    bool up = l->drv->connect(l->opaque, l, &why);
    l->connected = l->was_up = up;
    g_mutex_lock(&l->lock);
    l->ready = true;
    l->why = why;
    g_cond_signal(&l->cond);
    g_mutex_unlock(&l->lock);
    if (!up) {
        return NULL;
    }
    while (!stopping(l)) {
        serve_once(l);
    }
    if (l->connected) {
        if (l->drv->goodbye && !l->running.length) {
            l->drv->goodbye(l->opaque, l);
        }
        l->drv->drop(l->opaque);
    }
    while (l->running.head) {
        link_lost(l, l->running.head->data);
    }
    take_incoming(l);
    end_pending(l, 0, -ECANCELED);
    return NULL;
}

Link *link_new(const LinkDriver *drv, void *opaque, const RemoteHost *host, unsigned timeout_s,
               char **why)
{
    Link *l = g_new0(Link, 1);
    l->drv = drv;
    l->opaque = opaque;
    l->host = host;
    l->timeout_s = timeout_s;
    g_mutex_init(&l->lock);
    g_cond_init(&l->cond);
    l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->wake < 0) {
        link_fail(why, "no eventfd: %s", g_strerror(errno));
        g_free(l);
        return NULL;
    }
    l->thread = g_thread_new("remote", serve, l);
    g_mutex_lock(&l->lock);
    while (!l->ready) {
        g_cond_wait(&l->cond, &l->lock);
    }
    char *text = l->why;
    g_mutex_unlock(&l->lock);
    if (!l->was_up) {
        *why = text;
        link_free(l);
        return NULL;
    }
    g_free(text);
    return l;
}

void link_free(Link *l)
{
    uint64_t one = 1;
    g_mutex_lock(&l->lock);
    l->stop = true;
    g_mutex_unlock(&l->lock);
    if (write(l->wake, &one, sizeof(one)) < 0) {
        g_assert_cmpint(errno, ==, EAGAIN);
    }
    g_thread_join(l->thread);
    close(l->wake);
    g_mutex_clear(&l->lock);
    g_cond_clear(&l->cond);
    g_free(l);
}
