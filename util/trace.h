/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * util/trace.h: named events inside devices and backends (`-trace`).
 *
 * One line declares an event, beside the code that raises it:
 *
 *     TRACE_EVENT(e1000_rx, "len %u queue %u")
 *     …
 *     trace(e1000_rx, len, queue);
 *
 * The event's descriptor lies in a linker section, so nothing is registered at
 * start-up; a disabled event costs one test of one byte that is in the cache.
 */
#ifndef RHEA_UTIL_TRACE_H
#define RHEA_UTIL_TRACE_H

#include "util/error.h"

#include <stdio.h>

typedef struct TraceEvent {
    const char *name;
    const char *fmt;
    bool enabled;
} TraceEvent;

#define TRACE_EVENT(ev, format)                                                               \
    static TraceEvent trace_event_##ev                                                        \
        __attribute__((section("rhea_trace"), used, aligned(8))) = {#ev, format, false};      \
    static inline G_GNUC_PRINTF(1, 2) void trace_check_##ev(const char *f G_GNUC_UNUSED, ...) \
    {                                                                                         \
    }                                                                                         \
    static const char trace_fmt_##ev[] G_GNUC_UNUSED = format;

#define trace(ev, ...)                                    \
    do {                                                  \
        if (G_UNLIKELY(trace_event_##ev.enabled)) {       \
            trace_emit(&trace_event_##ev, ##__VA_ARGS__); \
        }                                                 \
    } while (0)

void trace_emit(const TraceEvent *ev, ...);

/* `-trace [enable=]pattern`; a leading '-' disables. Error if nothing matches. */
bool trace_enable(const char *pattern, Error **errp);
/* `-trace events=file`: one pattern a line, '#' starts a comment. */
bool trace_enable_file(const char *path, Error **errp);
void trace_list(FILE *out);

#endif
