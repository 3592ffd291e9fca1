/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * event/clock.h: the four clocks of a machine.
 *
 * A `ClockSet` belongs to one machine, so that two machines in one process
 * stop and step independently.  All times are nanoseconds.
 */
#ifndef RHEA_EVENT_CLOCK_H
#define RHEA_EVENT_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define NS_PER_SEC 1000000000ll
#define NS_PER_MS 1000000ll
#define NS_PER_US 1000ll

typedef enum ClockType {
    CLOCK_RT,         /* host CLOCK_MONOTONIC; for timeouts that nobody in the guest sees */
    CLOCK_VIRTUAL,    /* the guest's time: starts at 0, stands while the machine is stopped */
    CLOCK_HOST,       /* wall clock (UTC since the epoch), jumps with the host's */
    CLOCK_VIRTUAL_RT, /* like virtual, but runs while -icount sleeps; = virtual otherwise */
    CLOCK_TYPES,
} ClockType;

typedef struct ClockSet ClockSet;

ClockSet *clock_set_new(void);
void clock_set_free(ClockSet *cs);

/* Any thread, lock-free. */
int64_t clock_now(const ClockSet *cs, ClockType type);
/* The same as nanoseconds of CLOCK_VIRTUAL, the commonest wish. */
int64_t clock_virtual(const ClockSet *cs);

/*
 * The time of day that the guest is to believe in: `type` plus an offset.  Unset: CLOCK_HOST.
 * Any thread; setting it before others read.
 */
int64_t clock_guest_wall(const ClockSet *cs);
void clock_guest_wall_set(ClockSet *cs, ClockType type, int64_t offset_ns);

/* Starts and stops CLOCK_VIRTUAL; a new set's is stopped. Idempotent. */
void clock_virtual_enable(ClockSet *cs, bool run);
/* Sets CLOCK_VIRTUAL, for restored state; only while stopped. */
void clock_virtual_set(ClockSet *cs, int64_t ns);
/*
 * Manual mode (qtest): CLOCK_VIRTUAL moves only by clock_virtual_set().
 */
void clock_virtual_manual(ClockSet *cs, bool manual);
bool clock_is_manual(const ClockSet *cs);
/*
 * The hook that -icount installs: replaces the reading of CLOCK_VIRTUAL (NULL: takes that
 * back).  CLOCK_VIRTUAL's timers on device loops then run only by clock_virtual_run(); the
 * control loop goes on looking by itself, at about the right time.
 */
void clock_virtual_source(ClockSet *cs, int64_t (*now)(void *opaque), void *opaque);
/* With a source: the earliest armed CLOCK_VIRTUAL timer of a device loop, or -1. */
int64_t clock_virtual_deadline(ClockSet *cs);
/*
 * With a source: runs the timers of device loops that are due, unless the clock is stopped,
 * and the deferred calls that devices have made, on the loops' own threads; waits for their
 * end.  On a vCPU's thread, without locks.  true if there was anything.
 */
bool clock_virtual_run(ClockSet *cs);

#endif
