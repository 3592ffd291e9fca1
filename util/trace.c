/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/trace.h"

#include "util/log.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Bounds of the section; weak, for programs without a single event. */
extern TraceEvent __start_rhea_trace[] __attribute__((weak));
extern TraceEvent __stop_rhea_trace[] __attribute__((weak));

void trace_emit(const TraceEvent *ev, ...)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    va_list ap;
    va_start(ap, ev);
    FILE *f = log_begin();
    fprintf(f, "%d@%lld.%06ld:%s ", (int)gettid(), (long long)ts.tv_sec, ts.tv_nsec / 1000,
            ev->name);
/* The format was checked against the arguments where the event is raised. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    vfprintf(f, ev->fmt, ap);
#pragma GCC diagnostic pop
    fputc('\n', f);
    log_end(f);
    va_end(ap);
}

bool trace_enable(const char *pattern, Error **errp)
{
    bool on = true;
    const char *p = pattern;
    if (g_str_has_prefix(p, "enable=")) {
        p += strlen("enable=");
    }
    if (*p == '-') {
        on = false;
        p++;
    }
    unsigned hits = 0;
    for (TraceEvent *ev = __start_rhea_trace; ev < __stop_rhea_trace; ev++) {
        if (g_pattern_match_simple(p, ev->name)) {
            ev->enabled = on;
            hits++;
        }
    }
    if (!hits) {
        g_autoptr(GPtrArray) names = g_ptr_array_new();
        for (TraceEvent *ev = __start_rhea_trace; ev < __stop_rhea_trace; ev++) {
            g_ptr_array_add(names, (void *)ev->name);
        }
        g_ptr_array_add(names, NULL);
        const char *near = nearest_word(p, (const char *const *)names->pdata);
        error_set(errp, "-trace %s: no trace event matches", pattern);
        if (near) {
            error_hint(errp, "did you mean \"%s\"?", near);
        }
        error_hint(errp, "-trace help lists the events");
        return false;
    }
    return true;
}

bool trace_enable_file(const char *path, Error **errp)
{
    g_autofree char *text = NULL;
    GError *gerr = NULL;
    if (!g_file_get_contents(path, &text, NULL, &gerr)) {
        error_set(errp, "-trace events=%s: can't read the list of events: %s", path, gerr->message);
        g_error_free(gerr);
        return false;
    }
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **l = lines; *l; l++) {
        g_strstrip(*l);
        if (**l && **l != '#' && !trace_enable(*l, errp)) {
            error_prefix(errp, "%s: ", path);
            return false;
        }
    }
    return true;
}

void trace_list(FILE *out)
{
    for (TraceEvent *ev = __start_rhea_trace; ev < __stop_rhea_trace; ev++) {
        fprintf(out, "%s\n", ev->name);
    }
}
