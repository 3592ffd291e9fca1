/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * monitor/monitor.h: sessions with managers (QMP) and people (HMP) on character
 * backends.  Thin: the work of a command is done in the room that owns it.
 *
 * Everything here is for the control thread.
 */
#ifndef RHEA_MONITOR_MONITOR_H
#define RHEA_MONITOR_MONITOR_H

#include "chardev/chardev.h"
#include "qom/object.h"
#include "util/json.h"

typedef struct Monitor Monitor;

typedef enum MonitorMode { MONITOR_READLINE, MONITOR_CONTROL } MonitorMode;

/* A session on `chr`, for as long as the machine lives; `pretty`: indented JSON. */
Monitor *monitor_new(Object *root, Chardev *chr, MonitorMode mode, bool pretty, EventLoop *control,
                     Error **errp);
/*
 * -compat: are commands that are marked deprecated, or unstable, refused?  By default
 * neither is.
 */
void monitor_set_policy(Object *root, bool refuse_deprecated, bool refuse_unstable);
/* Tells every QMP session that has negotiated. Takes `data` over; may be NULL. */
void monitor_event(Object *root, const char *name, Json *data);
/*
 * For programs with only a part of what the schema knows: `allowed` says which commands there
 * are, `own` runs those that are this program's own way (true: it did).
 */
typedef struct MonitorSubset {
    bool (*allowed)(const char *command);
    bool (*own)(void *opaque, const char *command);
    void *opaque;
} MonitorSubset;
void monitor_set_subset(Object *root, const MonitorSubset *s); /* borrowed */
/* Flushes and ends all sessions. */
void monitor_close_all(Object *root);

/*
 * Runs one human command and returns what it prints; `cpu` is the one whose registers
 * and memory are looked at (-1: the first). Caller frees.
 */
char *monitor_human_command(Object *root, const char *line, int64_t cpu);

#endif
