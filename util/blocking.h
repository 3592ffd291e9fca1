/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * util/blocking.h: calls that wait say so, so that builds with lock_check= find those
 * that are made under a device loop's lock.
 */
#ifndef RHEA_UTIL_BLOCKING_H
#define RHEA_UTIL_BLOCKING_H

#include "config.h"

#ifdef CONFIG_LOCK_CHECK
/* Set by event/lock-check.c while the thread must not wait: it holds a device loop's lock. */
extern __thread void (*blocking_forbidden)(const char *call);

/* `call` is going to wait for others, for an unknown time. */
static inline void blocking_call(const char *call)
{
    if (blocking_forbidden) {
        blocking_forbidden(call);
    }
}
#else
static inline void blocking_call(const char *call)
{
}
#endif

#endif
