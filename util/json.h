/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * util/json.h: JSON values: what QMP speaks, what options are parsed into and
 * what properties are set from.
 *
 * Values are reference-counted and, once shared, immutable by convention.
 * Object members keep their order.  Integers keep 64 bits, signed or unsigned.
 */
#ifndef RHEA_UTIL_JSON_H
#define RHEA_UTIL_JSON_H

#include "util/error.h"

#include <stddef.h>
#include <stdint.h>

typedef enum JsonType {
    JSON_NULL,
    JSON_BOOL,
    JSON_INT,  /* fits int64_t */
    JSON_UINT, /* above INT64_MAX */
    JSON_DOUBLE,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
} JsonType;

typedef struct Json Json;

Json *json_null(void);
Json *json_bool(bool v);
Json *json_int(int64_t v);
Json *json_uint(uint64_t v); /* becomes JSON_INT if it fits */
Json *json_double(double v);
Json *json_string(const char *v);
Json *json_stringf(const char *fmt, ...) G_GNUC_PRINTF(1, 2);
Json *json_array(void);
Json *json_object(void);
Json *json_ref(Json *j);
void json_unref(Json *j); /* NULL is fine */

JsonType json_type(const Json *j);
const char *json_type_name(JsonType t); /* "an integer", "a string", … */

/* Typed reads; false/NULL if the value is of another type or out of range. */
bool json_get_bool(const Json *j, bool *out);
bool json_get_int(const Json *j, int64_t *out);
bool json_get_uint(const Json *j, uint64_t *out);
bool json_get_double(const Json *j, double *out);
const char *json_get_string(const Json *j); /* owned by j */

/* Arrays: the value passed in is owned by the array afterwards. */
void json_append(Json *array, Json *v);
size_t json_length(const Json *array_or_object);
Json *json_at(const Json *array, size_t i); /* borrowed */

/* Objects: `v` is owned by the object afterwards; put replaces. */
void json_put(Json *object, const char *key, Json *v);
void json_put_string(Json *object, const char *key, const char *v);
void json_put_int(Json *object, const char *key, int64_t v);
void json_put_bool(Json *object, const char *key, bool v);
Json *json_get(const Json *object, const char *key); /* borrowed, NULL if absent */
const char *json_get_str(const Json *object, const char *key);
bool json_remove(Json *object, const char *key);
/* Members in order: key at index i, and its value. */
const char *json_key_at(const Json *object, size_t i);
Json *json_value_at(const Json *object, size_t i);

bool json_equal(const Json *a, const Json *b);
Json *json_copy(const Json *j); /* deep */

/* One value in `text`; QEMU's single-quoted strings are accepted as well. */
Json *json_parse(const char *text, Error **errp);
/* Compact; or indented by four spaces with `pretty`. */
char *json_print(const Json *j, bool pretty);

/*
 * A parser for a stream (QMP): feed bytes, complete values come out by callback
 * (value owned by the callee; or an error and NULL, after which it resyncs).
 * Nesting, token and total size are bounded.
 */
typedef struct JsonStream JsonStream;
typedef void JsonStreamFn(void *opaque, Json *value, Error *err);
JsonStream *json_stream_new(JsonStreamFn *fn, void *opaque);
void json_stream_feed(JsonStream *s, const char *buf, size_t len);
void json_stream_free(JsonStream *s);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Json, json_unref)

#endif
