/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * accel/qtest/qtest.h: the test protocol: a client on a character device reads
 * and writes ports and memory, moves the guest's clock and watches interrupts.
 *
 * Commands and answers are lines of text, as QEMU's qtest has them.  Accesses
 * are made on the control loop's thread the way a CPU makes them.  After each
 * command the deferred calls it caused on the platform loop have run.
 */
#ifndef RHEA_ACCEL_QTEST_QTEST_H
#define RHEA_ACCEL_QTEST_QTEST_H

#include "chardev/chardev.h"
#include "event/loop.h"
#include "memory/memory.h"

#include <stdio.h>

typedef struct QtestServer QtestServer;
/* Called with the number and the new level of an interrupt line. Any thread. */
typedef void QtestIrqFn(void *opaque, int n, int level);

/* What is tested; all pointers outlive the server. */
typedef struct QtestTarget {
    EventLoop *control, *platform;
    ClockSet *clocks;
    AddressSpace *as_memory, *as_io;
    /*
     * irq_intercept_in/out: from now on `fn` sees the lines that come into (go out of) the
     * device at `path`; `name` is the group of lines, or NULL.  NULL: none can be watched.
     */
    bool (*intercept)(void *opaque, const char *path, const char *name, bool out, QtestIrqFn *fn,
                      void *fn_opaque, Error **errp);
    /* set_irq_in: drives an input.  NULL: none can be driven. */
    bool (*drive)(void *opaque, const char *path, const char *name, int n, int level, Error **errp);
    void *opaque;
} QtestTarget;

/* Serves one client after the other on `chr`; control thread. */
QtestServer *qtest_server_new(const QtestTarget *target, Chardev *chr, Error **errp);
/* From now on what is said is written to `log` as well, with its time; takes it over. */
void qtest_server_log(QtestServer *s, FILE *log);
void qtest_server_free(QtestServer *s);

/* For tests of the protocol: one command line without its newline; the answer with it. */
char *qtest_command(QtestServer *s, const char *line);

#endif
