/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * event/lock-check.h: builds with lock_check=log or trap watch how long a device loop's
 * lock is held: over a millisecond of the holder's CPU time (wall time would blame the
 * host's scheduler), or across a call that waits, is a bug.  In other builds all of this
 * is nothing.
 *
 * Not watched: the control loop's lock, under which slow work is done, and holds that
 * were declared long by loop_allow_long() (event/loop.h).
 */
#ifndef RHEA_EVENT_LOCK_CHECK_H
#define RHEA_EVENT_LOCK_CHECK_H

#include "config.h"
#include "event/loop.h"

#ifdef CONFIG_LOCK_CHECK
/* The calling thread has taken the lock, or begins another callback under it. */
void lock_check_begin(bool watched);
/* Gives it up, or has finished that callback. */
void lock_check_end(const EventLoop *loop);
/* loop_yield(): what has passed is judged, and a new hold of the same kind begins. */
bool lock_check_pause(const EventLoop *loop);
void lock_check_resume(bool watched);
/* This hold may take its time. */
void lock_check_allow(void);
/* For messages: what is being done under the lock, a callback or (borrowed) a name. */
void lock_check_note(const void *fn, const char *name);
#else
static inline void lock_check_begin(bool watched)
{
}
static inline void lock_check_end(const EventLoop *loop)
{
}
static inline bool lock_check_pause(const EventLoop *loop)
{
    return false;
}
static inline void lock_check_resume(bool watched)
{
}
static inline void lock_check_allow(void)
{
}
static inline void lock_check_note(const void *fn, const char *name)
{
}
#endif

#endif
