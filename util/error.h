/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * util/error.h: how a function tells its caller that it failed.
 *
 * A function that can fail takes `Error **errp` as its last parameter and
 * returns false (or NULL, or a negative number) on failure.  `errp` may be
 * NULL when the caller only wants to know that it failed.  An error has
 *   - a message: what was tried, on what, and why it failed (one sentence,
 *     no final full stop, no newline);
 *   - details: further lines, for example an option text with the mistakes
 *     underlined;
 *   - hints: what the user can do about it.
 * Errors are for what users, images, peers and the host can cause.  Rhea's own
 * bugs use assert(); what a guest does wrong goes to guest_error() (util/log.h).
 */
#ifndef RHEA_UTIL_ERROR_H
#define RHEA_UTIL_ERROR_H

#include <glib.h>
#include <stdbool.h>

typedef struct Error Error;

/* The QMP error classes; everything but CommandNotFound & co. is generic. */
typedef enum ErrorClass {
    ERROR_CLASS_GENERIC,
    ERROR_CLASS_COMMAND_NOT_FOUND,
    ERROR_CLASS_DEVICE_NOT_ACTIVE,
    ERROR_CLASS_DEVICE_NOT_FOUND,
    ERROR_CLASS_KVM_MISSING_CAP,
} ErrorClass;

/* Stores a new error in *errp (which must be NULL so far).  No-op for NULL. */
void error_set(Error **errp, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
void error_vset(Error **errp, const char *fmt, va_list ap) G_GNUC_PRINTF(2, 0);
/* The same, with `: <text of errnum>` appended; errnum is a positive errno. */
void error_set_errno(Error **errp, int errnum, const char *fmt, ...) G_GNUC_PRINTF(3, 4);
void error_set_class(Error **errp, ErrorClass cls, const char *fmt, ...) G_GNUC_PRINTF(3, 4);

/* These add to an error that is already set; no-ops if errp or *errp is NULL. */
void error_prefix(Error **errp, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
void error_detail(Error **errp, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
void error_hint(Error **errp, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

const char *error_message(const Error *err);
const char *error_details(const Error *err); /* "" if none; lines end in \n */
const char *error_hints(const Error *err);   /* "" if none; lines end in \n */
ErrorClass error_class(const Error *err);
const char *error_class_name(ErrorClass cls); /* as QMP spells it */

Error *error_copy(const Error *err);
void error_free(Error *err); /* NULL is fine */
/* Moves `err` into *errp; frees it when errp is NULL or already set. */
void error_propagate(Error **errp, Error *err);

/* Writes "rhea-…: message\n", details and "hint: …" to stderr. Keeps `err`. */
void error_print(const Error *err);
/* Prints and frees. */
void error_report(Error *err);
/* One-line reports without an Error; both go to stderr with the program name. */
void report_error(const char *fmt, ...) G_GNUC_PRINTF(1, 2);
void report_warning(const char *fmt, ...) G_GNUC_PRINTF(1, 2);
void report_info(const char *fmt, ...) G_GNUC_PRINTF(1, 2);
/* Sets the name before the colon; kept, not copied.  Called once, by main(). */
void report_set_program(const char *name);
/* -msg timestamp=on: each message starts with the time (UTC). */
void report_set_timestamps(bool on);

/*
 * The candidate nearest to `word` by edit distance, or NULL if none is near
 * enough to be worth proposing.  `candidates` is NULL-terminated.
 */
const char *nearest_word(const char *word, const char *const *candidates);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Error, error_free)

#endif
