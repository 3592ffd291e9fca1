/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/error.h"

#include <stdio.h>
#include <string.h>

struct Error {
    ErrorClass cls;
    char *message;
    GString *details, *hints;
};

static const char *program = "rhea";
static bool timestamps;

static void error_vset_class(Error **errp, ErrorClass cls, const char *fmt, va_list ap)
{
    if (!errp) {
        return;
    }
    g_assert(!*errp);
    Error *err = g_new0(Error, 1);
    err->cls = cls;
    err->message = g_strdup_vprintf(fmt, ap);
    *errp = err;
}

void error_vset(Error **errp, const char *fmt, va_list ap)
{
    error_vset_class(errp, ERROR_CLASS_GENERIC, fmt, ap);
}

void error_set(Error **errp, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    error_vset(errp, fmt, ap);
    va_end(ap);
}

void error_set_errno(Error **errp, int errnum, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    error_vset(errp, fmt, ap);
    va_end(ap);
    if (errp) {
        char *msg = g_strdup_printf("%s: %s", (*errp)->message, g_strerror(errnum));
        g_free((*errp)->message);
        (*errp)->message = msg;
    }
}

void error_set_class(Error **errp, ErrorClass cls, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    error_vset_class(errp, cls, fmt, ap);
    va_end(ap);
}

void error_prefix(Error **errp, const char *fmt, ...)
{
    if (!errp || !*errp) {
        return;
    }
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *prefix = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    char *msg = g_strconcat(prefix, (*errp)->message, NULL);
    g_free((*errp)->message);
    (*errp)->message = msg;
}

/* Appends a formatted line to a text that is made when first needed. */
static void append_line(GString **text, const char *fmt, va_list ap)
{
    if (!*text) {
        *text = g_string_new(NULL);
    }
    g_string_append_vprintf(*text, fmt, ap);
    if ((*text)->len && (*text)->str[(*text)->len - 1] != '\n') {
        g_string_append_c(*text, '\n');
    }
}

void error_detail(Error **errp, const char *fmt, ...)
{
    if (errp && *errp) {
        va_list ap;
        va_start(ap, fmt);
        append_line(&(*errp)->details, fmt, ap);
        va_end(ap);
    }
}

void error_hint(Error **errp, const char *fmt, ...)
{
    if (errp && *errp) {
        va_list ap;
        va_start(ap, fmt);
        append_line(&(*errp)->hints, fmt, ap);
        va_end(ap);
    }
}

const char *error_message(const Error *err)
{
    return err->message;
}

const char *error_details(const Error *err)
{
    return err->details ? err->details->str : "";
}

const char *error_hints(const Error *err)
{
    return err->hints ? err->hints->str : "";
}

ErrorClass error_class(const Error *err)
{
    return err->cls;
}

const char *error_class_name(ErrorClass cls)
{
    switch (cls) {
    case ERROR_CLASS_COMMAND_NOT_FOUND:
        return "CommandNotFound";
    case ERROR_CLASS_DEVICE_NOT_ACTIVE:
        return "DeviceNotActive";
    case ERROR_CLASS_DEVICE_NOT_FOUND:
        return "DeviceNotFound";
    case ERROR_CLASS_KVM_MISSING_CAP:
        return "KVMMissingCap";
    case ERROR_CLASS_GENERIC:
        break;
    }
    return "GenericError";
}

Error *error_copy(const Error *err)
{
    Error *copy = g_new0(Error, 1);
    copy->cls = err->cls;
    copy->message = g_strdup(err->message);
    copy->details = err->details ? g_string_new(err->details->str) : NULL;
    copy->hints = err->hints ? g_string_new(err->hints->str) : NULL;
    return copy;
}

void error_free(Error *err)
{
    if (!err) {
        return;
    }
    g_free(err->message);
    if (err->details) {
        g_string_free(err->details, TRUE);
    }
    if (err->hints) {
        g_string_free(err->hints, TRUE);
    }
    g_free(err);
}

void error_propagate(Error **errp, Error *err)
{
    if (!err) {
        return;
    }
    if (errp && !*errp) {
        *errp = err;
    } else {
        error_free(err);
    }
}

/* "2026-01-31T12:00:00.123456Z " with -msg timestamp=on, else "". Caller frees. */
static char *timestamp(void)
{
    int64_t us = g_get_real_time();
    if (!timestamps) {
        return g_strdup("");
    }
    g_autoptr(GDateTime) t = g_date_time_new_from_unix_utc(us / 1000000);
    g_autofree char *text = g_date_time_format(t, "%Y-%m-%dT%H:%M:%S");
    return g_strdup_printf("%s.%06dZ ", text, (int)(us % 1000000));
}

void report_set_timestamps(bool on)
{
    timestamps = on;
}

void error_print(const Error *err)
{
    g_autofree char *stamp = timestamp();
    g_autoptr(GString) out = g_string_new(stamp);
    g_string_append_printf(out, "%s: %s\n%s", program, err->message, error_details(err));
    if (err->hints) {
        g_auto(GStrv) lines = g_strsplit(err->hints->str, "\n", -1);
        for (char **l = lines; *l; l++) {
            if (**l) {
                g_string_append_printf(out, "%s: hint: %s\n", program, *l);
            }
        }
    }
    fputs(out->str, stderr);
}

void error_report(Error *err)
{
    error_print(err);
    error_free(err);
}

static void report(const char *kind, const char *fmt, va_list ap)
{
    g_autofree char *msg = g_strdup_vprintf(fmt, ap);
    g_autofree char *stamp = timestamp();
    fprintf(stderr, "%s%s: %s%s\n", stamp, program, kind, msg);
}

void report_error(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    report("", fmt, ap);
    va_end(ap);
}

void report_warning(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    report("warning: ", fmt, ap);
    va_end(ap);
}

void report_info(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    report("info: ", fmt, ap);
    va_end(ap);
}

void report_set_program(const char *name)
{
    program = name;
}

/* Levenshtein distance with adjacent transpositions, case-insensitive. */
static unsigned edit_distance(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b);
    size_t w = lb + 1;
    g_autofree unsigned *d = g_new(unsigned, (la + 1) * w);
    for (size_t i = 0; i <= la; i++) {
        d[i * w] = (unsigned)i;
    }
    for (size_t j = 0; j <= lb; j++) {
        d[j] = (unsigned)j;
    }
    for (size_t i = 1; i <= la; i++) {
        for (size_t j = 1; j <= lb; j++) {
            char ca = g_ascii_tolower(a[i - 1]), cb = g_ascii_tolower(b[j - 1]);
            unsigned best = d[(i - 1) * w + j - 1] + (ca != cb);
            best = MIN(best, d[(i - 1) * w + j] + 1);
            best = MIN(best, d[i * w + j - 1] + 1);
            if (i > 1 && j > 1 && ca == g_ascii_tolower(b[j - 2]) &&
                cb == g_ascii_tolower(a[i - 2])) {
                best = MIN(best, d[(i - 2) * w + j - 2] + 1);
            }
            d[i * w + j] = best;
        }
    }
    return d[la * w + lb];
}

const char *nearest_word(const char *word, const char *const *candidates)
{
    const char *best = NULL;
    size_t len = strlen(word);
    /* About a third of the letters may be wrong; a prefix counts as near. */
    unsigned limit = MAX(1u, (unsigned)len / 3 + 1);
    unsigned best_distance = limit + 1;
    if (len > 64) {
        return NULL;
    }
    for (; *candidates; candidates++) {
        if (strlen(*candidates) > 64) {
            continue;
        }
        unsigned dist = edit_distance(word, *candidates);
        if (len >= 3 && g_ascii_strncasecmp(word, *candidates, len) == 0) {
            dist = MIN(dist, 1);
        }
        if (dist < best_distance && dist < strlen(*candidates)) {
            best_distance = dist;
            best = *candidates;
        }
    }
    return best;
}
