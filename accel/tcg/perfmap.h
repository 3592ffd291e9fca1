/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * accel/tcg/perfmap.h: names for translated code in perf's reports (-perfmap): the file
 * /tmp/perf-PID.map, one line for each piece of host code.
 */
#ifndef RHEA_ACCEL_TCG_PERFMAP_H
#define RHEA_ACCEL_TCG_PERFMAP_H

#include "util/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct PerfMap PerfMap;

PerfMap *perfmap_open(Error **errp);
void perfmap_close(PerfMap *m); /* NULL is fine; the file stays, for perf */
/*
 * Host code of `size` bytes at `code` (where it is executed) was made: of the guest's code at
 * linear address `rip`, or, with `name`, of something of the engine's own. m == NULL: does
 * nothing. Any thread.
 */
void perfmap_add(PerfMap *m, const void *code, size_t size, uint64_t rip, const char *name);

#endif
