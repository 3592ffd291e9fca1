/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * util/sigbus.h: memory shared with those who can cut its file short.
 *
 * Behind the end of a mapped file lies SIGBUS, which would end the process.  In a guarded range it
 * does not: the whole range turns into private zero pages, and whoever reads them finds nothing
 * that makes sense.
 *
 * A signal belongs to the process, so the table of ranges does, too.  Any thread.
 */
#ifndef RHEA_UTIL_SIGBUS_H
#define RHEA_UTIL_SIGBUS_H

#include <stdbool.h>
#include <stddef.h>

/* A mapping, from its first page on. False: there are too many. */
bool sigbus_guard(void *start, size_t len);
/* Before it is unmapped. */
void sigbus_unguard(void *start);

#endif
