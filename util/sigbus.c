/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/sigbus.h"

#include <glib.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define RANGES 512

/* Read by the handler without a lock: `start` is set last and cleared first. */
typedef struct Range {
    uintptr_t start;
    size_t len;
} Range;

static struct {
    GMutex lock; /* of those who change it */
    Range ranges[RANGES];
    struct sigaction before;
    gsize installed;
} guard;

static bool cover(const Range *r, uintptr_t at)
{
    uintptr_t start = __atomic_load_n(&r->start, __ATOMIC_ACQUIRE);
    if (!start || at < start || at - start >= r->len) {
        return false;
    }
    return mmap((void *)start, r->len, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED;
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
    for (int i = 0; i < RANGES; i++) {
        if (cover(&guard.ranges[i], (uintptr_t)info->si_addr)) {
            return; /* the access is tried again */
        }
    }
    sigaction(SIGBUS, &guard.before, NULL); /* and is tried again, for whom it may concern */
}

static void install(void)
{
    if (g_once_init_enter(&guard.installed)) {
        struct sigaction sa = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK};
        sigemptyset(&sa.sa_mask);
        sigaction(SIGBUS, &sa, &guard.before);
        g_once_init_leave(&guard.installed, 1);
    }
}

bool sigbus_guard(void *start, size_t len)
{
    bool done = false;
    install();
    g_mutex_lock(&guard.lock);
    for (int i = 0; i < RANGES && !done; i++) {
        Range *r = &guard.ranges[i];
        if (!r->start) {
            r->len = len;
            __atomic_store_n(&r->start, (uintptr_t)start, __ATOMIC_RELEASE);
            done = true;
        }
    }
    g_mutex_unlock(&guard.lock);
    return done;
}

void sigbus_unguard(void *start)
{
    g_mutex_lock(&guard.lock);
    for (int i = 0; i < RANGES; i++) {
        if (guard.ranges[i].start == (uintptr_t)start) {
            __atomic_store_n(&guard.ranges[i].start, 0, __ATOMIC_RELEASE);
        }
    }
    g_mutex_unlock(&guard.lock);
}
