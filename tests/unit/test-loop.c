/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clocks, timers, descriptors, deferred calls and locks of event loops. */
#include "config.h"
#include "event/loop.h"
#include "util/rcu.h"

#include <fcntl.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

typedef struct Fixture {
    ClockSet *clocks;
    EventLoop *loop;
} Fixture;

static void setup(Fixture *f, gconstpointer data)
{
    f->clocks = clock_set_new();
    f->loop = loop_new("test", f->clocks, NULL);
    g_assert_nonnull(f->loop);
}

static void teardown(Fixture *f, gconstpointer data)
{
    loop_free(f->loop);
    clock_set_free(f->clocks);
}

static void count(void *opaque)
{
    __atomic_fetch_add((int *)opaque, 1, __ATOMIC_SEQ_CST);
}

/* Polls until *value reaches `want`, for at most two seconds. */
static void poll_until(EventLoop *loop, const int *value, int want)
{
    int64_t end = g_get_monotonic_time() + 2000000;
    while (__atomic_load_n(value, __ATOMIC_SEQ_CST) < want && g_get_monotonic_time() < end) {
        loop_poll(loop, 10 * NS_PER_MS);
    }
    g_assert_cmpint(*value, ==, want);
}

static void test_clock(Fixture *f, gconstpointer data)
{
    g_assert_cmpint(clock_virtual(f->clocks), ==, 0);
    clock_virtual_set(f->clocks, 5000);
    g_usleep(1000);
    g_assert_cmpint(clock_virtual(f->clocks), ==, 5000);
    clock_virtual_enable(f->clocks, true);
    g_usleep(1000);
    int64_t a = clock_virtual(f->clocks);
    g_assert_cmpint(a, >=, 5000 + 1000 * NS_PER_US);
    clock_virtual_enable(f->clocks, false);
    int64_t b = clock_virtual(f->clocks);
    g_assert_cmpint(b, >=, a);
    g_usleep(1000);
    g_assert_cmpint(clock_virtual(f->clocks), ==, b);
    clock_virtual_manual(f->clocks, true);
    clock_virtual_enable(f->clocks, true);
    g_usleep(1000);
    g_assert_cmpint(clock_virtual(f->clocks), ==, b);
    clock_virtual_set(f->clocks, b + 7);
    g_assert_cmpint(clock_now(f->clocks, CLOCK_VIRTUAL), ==, b + 7);
    g_assert_true(clock_is_manual(f->clocks));
    g_assert_cmpint(clock_now(f->clocks, CLOCK_HOST), >, 1500000000 * NS_PER_SEC);
}

static int64_t fixed_time(void *opaque)
{
    return *(int64_t *)opaque;
}

static void test_clock_source(Fixture *f, gconstpointer data)
{
    int64_t t = 42;
    clock_virtual_source(f->clocks, fixed_time, &t);
    clock_virtual_enable(f->clocks, true);
    g_assert_cmpint(clock_virtual(f->clocks), ==, 42);
    clock_virtual_source(f->clocks, NULL, NULL);
}

static void test_timer_order(Fixture *f, gconstpointer data)
{
    enum { N = 200 };
    Timer t[N];
    int runs[N] = {0};
    GRand *rng = g_rand_new_with_seed(1);
    clock_virtual_manual(f->clocks, true);
    for (int i = 0; i < N; i++) {
        timer_init(&t[i], f->loop, CLOCK_VIRTUAL, count, &runs[i]);
        g_assert_false(timer_pending(&t[i]));
        timer_mod(&t[i], g_rand_int_range(rng, 1, 1000));
    }
    for (int i = 0; i < N; i += 3) {
        timer_mod(&t[i], g_rand_int_range(rng, 1, 1000));
    }
    for (int i = 0; i < N; i += 7) {
        timer_del(&t[i]);
        timer_del(&t[i]);
    }
    int64_t now = 0, next;
    while ((next = loop_next_deadline(f->loop)) >= 0) {
        g_assert_cmpint(next, >, now);
        now = next;
        clock_virtual_set(f->clocks, now);
        LOOP_LOCK_GUARD(f->loop);
        loop_run_timers(f->loop);
        for (int i = 0; i < N; i++) {
            g_assert_true(!timer_pending(&t[i]) || timer_expire(&t[i]) > now);
        }
    }
    for (int i = 0; i < N; i++) {
        g_assert_cmpint(runs[i], ==, i % 7 ? 1 : 0);
        timer_fini(&t[i]);
        timer_fini(&t[i]);
    }
    g_rand_free(rng);
}

static void test_timer_stopped(Fixture *f, gconstpointer data)
{
    Timer v, r;
    int nv = 0, nr = 0;
    timer_init(&v, f->loop, CLOCK_VIRTUAL, count, &nv);
    timer_init(&r, f->loop, CLOCK_RT, count, &nr);
    timer_mod(&v, 0);
    timer_mod(&r, clock_now(f->clocks, CLOCK_RT) + NS_PER_MS);
    poll_until(f->loop, &nr, 1);
    g_assert_cmpint(nv, ==, 0); /* the guest's time stands */
    clock_virtual_enable(f->clocks, true);
    poll_until(f->loop, &nv, 1);
    timer_fini(&v);
    timer_fini(&r);
}

static void test_timer_host(Fixture *f, gconstpointer data)
{
    Timer t;
    int n = 0;
    timer_init(&t, f->loop, CLOCK_HOST, count, &n);
    timer_mod(&t, clock_now(f->clocks, CLOCK_HOST) + 2 * NS_PER_MS);
    poll_until(f->loop, &n, 1);
    timer_fini(&t);
}

/* A zero-length periodic timer must not starve a deferred call. */
static void rearm(void *opaque)
{
    Timer *t = opaque;
    timer_mod(t, 0);
}

static void test_timer_greedy(Fixture *f, gconstpointer data)
{
    Timer t;
    int n = 0;
    timer_init(&t, f->loop, CLOCK_RT, rearm, &t);
    timer_mod(&t, 0);
    loop_defer(f->loop, count, &n);
    poll_until(f->loop, &n, 1);
    timer_fini(&t);
}

typedef struct Pipe {
    EventLoop *loop;
    int fds[2];
    int reads, writes;
} Pipe;

static void pipe_readable(void *opaque)
{
    Pipe *p = opaque;
    char c;
    g_assert_cmpint(read(p->fds[0], &c, 1), ==, 1);
    p->reads++;
}

static void pipe_writable(void *opaque)
{
    Pipe *p = opaque;
    g_assert_cmpint(write(p->fds[1], "x", 1), ==, 1);
    p->writes++;
    loop_watch_fd(p->loop, p->fds[1], NULL, NULL, NULL);
}

static void test_fd(Fixture *f, gconstpointer data)
{
    Pipe p = {.loop = f->loop};
    g_assert_cmpint(pipe(p.fds), ==, 0);
    loop_watch_fd(f->loop, p.fds[0], pipe_readable, NULL, &p);
    g_assert_false(loop_poll(f->loop, 0));
    loop_watch_fd(f->loop, p.fds[1], NULL, pipe_writable, &p);
    poll_until(f->loop, &p.reads, 1);
    g_assert_cmpint(p.writes, ==, 1);
    /* removed within its own callback, then closed and opened anew under the same number */
    loop_watch_fd(f->loop, p.fds[0], NULL, NULL, NULL);
    close(p.fds[0]);
    close(p.fds[1]);
    g_assert_cmpint(pipe(p.fds), ==, 0);
    loop_watch_fd(f->loop, p.fds[0], pipe_readable, NULL, &p);
    g_assert_cmpint(write(p.fds[1], "yz", 2), ==, 2);
    poll_until(f->loop, &p.reads, 3);
    loop_watch_fd(f->loop, p.fds[0], NULL, NULL, NULL);
    close(p.fds[0]);
    close(p.fds[1]);
}

static void test_plain_file(Fixture *f, gconstpointer data)
{
    Pipe p = {.loop = f->loop};
    p.fds[0] = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    loop_watch_fd(f->loop, p.fds[0], pipe_readable, NULL, &p);
    g_assert_true(loop_poll(f->loop, -1));
    g_assert_cmpint(p.reads, ==, 1);
    loop_watch_fd(f->loop, p.fds[0], NULL, NULL, NULL);
    g_assert_false(loop_poll(f->loop, 0));
    close(p.fds[0]);
}

typedef struct TwoWatches {
    EventLoop *loop;
    int a, b, fired;
} TwoWatches;

static void drop_both(void *opaque)
{
    TwoWatches *t = opaque;
    t->fired++;
    loop_watch_fd(t->loop, t->a, NULL, NULL, NULL);
    loop_watch_fd(t->loop, t->b, NULL, NULL, NULL);
}

static void test_fd_drop_other(Fixture *f, gconstpointer data)
{
    int p[2], q[2];
    g_assert_true(pipe(p) == 0 && pipe(q) == 0);
    TwoWatches t = {f->loop, p[0], q[0], 0};
    g_assert_true(write(p[1], "x", 1) == 1 && write(q[1], "x", 1) == 1);
    loop_watch_fd(f->loop, p[0], drop_both, NULL, &t);
    loop_watch_fd(f->loop, q[0], drop_both, NULL, &t);
    loop_poll(f->loop, 0);
    loop_poll(f->loop, 0);
    g_assert_cmpint(t.fired, ==, 1);
    close(p[0]), close(p[1]), close(q[0]), close(q[1]);
}

static void test_defer(Fixture *f, gconstpointer data)
{
    int a = 0, b = 0;
    loop_defer(f->loop, count, &a);
    loop_defer(f->loop, count, &b);
    loop_defer(f->loop, count, &a);
    loop_defer_cancel(f->loop, &b);
    poll_until(f->loop, &a, 2);
    g_assert_cmpint(b, ==, 0);
}

typedef struct CallData {
    EventLoop *loop;
    pthread_t thread;
    bool locked, current;
} CallData;

static void note_call(void *opaque)
{
    CallData *c = opaque;
    c->thread = pthread_self();
    c->locked = loop_lock_held(c->loop);
    c->current = loop_is_current(c->loop);
}

static void test_call(Fixture *f, gconstpointer data)
{
    CallData c = {.loop = f->loop};
    loop_call(f->loop, note_call, &c); /* nobody runs it yet: on this thread */
    g_assert_true(pthread_equal(c.thread, pthread_self()) && c.locked);
    g_assert_true(loop_start_thread(f->loop, NULL));
    for (int i = 0; i < 100; i++) {
        c = (CallData){.loop = f->loop};
        loop_call(f->loop, note_call, &c);
        g_assert_true(!pthread_equal(c.thread, pthread_self()) && c.locked && c.current);
    }
    loop_stop_thread(f->loop);
    loop_call(f->loop, note_call, &c);
    g_assert_true(pthread_equal(c.thread, pthread_self()) && c.locked);
}

static void test_timer_from_outside(Fixture *f, gconstpointer data)
{
    Timer t;
    int n = 0;
    g_assert_true(loop_start_thread(f->loop, NULL));
    clock_virtual_enable(f->clocks, true);
    g_usleep(5000); /* it sleeps for ever now */
    timer_init(&t, f->loop, CLOCK_VIRTUAL, count, &n);
    timer_mod(&t, clock_virtual(f->clocks) + NS_PER_MS);
    for (int i = 0; i < 2000 && !__atomic_load_n(&n, __ATOMIC_SEQ_CST); i++) {
        g_usleep(1000);
    }
    loop_stop_thread(f->loop);
    g_assert_cmpint(n, ==, 1);
    timer_fini(&t);
}

static void test_lock_order(Fixture *f, gconstpointer data)
{
    EventLoop *other = loop_new("other", f->clocks, NULL);
    EventLoop *control = loop_new("control", f->clocks, NULL);
    loop_set_control(control);
    loop_lock(control);
    g_assert_true(loop_lock_foreign(f->loop)); /* control comes first: fine */
    g_assert_true(loop_lock_foreign(f->loop)); /* recursive */
    g_assert_false(loop_lock_foreign(other));  /* between device loops: refused */
    loop_unlock(f->loop);
    g_assert_true(loop_lock_held(f->loop));
    loop_unlock(control); /* not the innermost */
    g_assert_false(loop_lock_foreign(other));
    loop_unlock(f->loop);
    g_assert_false(loop_lock_held(f->loop));
    g_assert_true(loop_lock_foreign(other));
    loop_unlock(other);
    loop_free(other);
    loop_free(control);
}

static void *hammer(void *opaque)
{
    void **arg = opaque;
    for (int i = 0; i < 20000; i++) {
        LOOP_LOCK_GUARD(arg[0]);
        ++*(volatile int *)arg[1];
    }
    return NULL;
}

static void test_lock_excludes(Fixture *f, gconstpointer data)
{
    volatile int n = 0;
    void *arg[] = {f->loop, (void *)&n};
    pthread_t a, b;
    pthread_create(&a, NULL, hammer, arg);
    pthread_create(&b, NULL, hammer, arg);
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    g_assert_cmpint(n, ==, 40000);
}

typedef struct Nested {
    EventLoop *loop;
    int inner, outer;
} Nested;

static void nested(void *opaque)
{
    Nested *n = opaque;
    loop_defer(n->loop, count, &n->inner);
    while (!n->inner) {
        loop_poll(n->loop, -1);
    }
    g_assert_true(loop_lock_held(n->loop));
    n->outer++;
}

static void test_nested(Fixture *f, gconstpointer data)
{
    Nested n = {.loop = f->loop};
    loop_defer(f->loop, nested, &n);
    poll_until(f->loop, &n.outer, 1);
    g_assert_false(loop_lock_held(f->loop));
}

#define ADD(name, fn) g_test_add("/loop/" name, Fixture, NULL, setup, fn, teardown)

#ifdef CONFIG_LOCK_TRAP
/* A build with lock_check=trap dies of what must not be done under a device's lock. */
static void test_lock_check(Fixture *f, gconstpointer data)
{
    if (g_test_subprocess()) {
        loop_lock(f->loop);
        rcu_synchronize();
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*rcu_synchronize() waits while a device loop's lock is held*");
}

static void test_lock_check_time(Fixture *f, gconstpointer data)
{
    if (g_test_subprocess()) {
        clock_t until = clock() + 2 * CLOCKS_PER_SEC;
        loop_lock(f->loop);
        while (clock() < until) {
        }
        loop_unlock(f->loop);
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*ms of CPU time*");
}
#endif

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("clock", test_clock);
    ADD("clock-source", test_clock_source);
    ADD("timer-order", test_timer_order);
    ADD("timer-stopped", test_timer_stopped);
    ADD("timer-host", test_timer_host);
    ADD("timer-greedy", test_timer_greedy);
    ADD("timer-from-outside", test_timer_from_outside);
    ADD("fd", test_fd);
    ADD("plain-file", test_plain_file);
    ADD("fd-drop-other", test_fd_drop_other);
    ADD("defer", test_defer);
    ADD("call", test_call);
    ADD("lock-order", test_lock_order);
    ADD("lock-excludes", test_lock_excludes);
    ADD("nested", test_nested);
#ifdef CONFIG_LOCK_TRAP
    ADD("lock-check", test_lock_check);
    ADD("lock-check-time", test_lock_check_time);
#endif
    return g_test_run();
}
