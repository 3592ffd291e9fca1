/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "event/lock-check.h"

#include "util/blocking.h"

#ifdef CONFIG_LOCK_CHECK
#include <execinfo.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Instrumented and unoptimized code is slower by that much. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LIMIT_NS (20 * NS_PER_MS)
#elif !defined(__OPTIMIZE__)
#define LIMIT_NS (5 * NS_PER_MS)
#else
#define LIMIT_NS NS_PER_MS
#endif

/* A host that is itself a guest counts stolen time as CPU time: too much to die of 1 ms. */
#define TRAP_NS (20 * LIMIT_NS)

__thread void (*blocking_forbidden)(const char *call);

/* Of the outermost device lock that the thread holds. */
static __thread struct {
    unsigned depth;
    bool watched;
    int64_t since;
    const void *fn;
    const char *name;
} hold;

static int64_t cpu_time(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

static void trap(bool fatal)
{
    void *frames[40];

    backtrace_symbols_fd(frames, backtrace(frames, (int)G_N_ELEMENTS(frames)), STDERR_FILENO);
#ifdef CONFIG_LOCK_TRAP
    if (fatal) {
        abort();
    }
#endif
}

static void forbidden(const char *call)
{
    report_error("lock check: %s waits while a device loop's lock is held", call);
    trap(true);
}

static void start(void)
{
    hold.watched = true;
    hold.since = cpu_time();
    blocking_forbidden = forbidden;
}

static void judge(const char *loop)
{
    int64_t used = hold.watched ? cpu_time() - hold.since : 0;

    if (used > LIMIT_NS) {
        report_error("lock check: the lock of the loop '%s' was held for %.1f ms of CPU time", loop,
                     (double)used / NS_PER_MS);
        if (hold.name) {
            report_error("lock check: by an access to '%s'", hold.name);
        } else if (hold.fn) {
            report_error("lock check: by this callback:");
            backtrace_symbols_fd((void *const *)&hold.fn, 1, STDERR_FILENO);
        }
        trap(used > TRAP_NS);
    }
}

void lock_check_begin(bool watched)
{
    if (watched && !hold.depth++) {
        hold.fn = hold.name = NULL;
        start();
    }
}

void lock_check_end(const EventLoop *loop)
{
    if (hold.depth && !--hold.depth) {
        blocking_forbidden = NULL;
        judge(loop_name(loop));
        hold.watched = false;
    }
}

bool lock_check_pause(const EventLoop *loop)
{
    bool watched = hold.depth && hold.watched;

    if (watched) {
        judge(loop_name(loop));
    }
    return watched;
}

void lock_check_resume(bool watched)
{
    if (watched) {
        start();
    }
}

void lock_check_note(const void *fn, const char *name)
{
    hold.fn = fn;
    hold.name = name;
}

void lock_check_allow(void)
{
    hold.watched = false;
    blocking_forbidden = NULL;
}
#endif
