/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qapi/visit.h: the schema's types as constant data, and the one walker that turns JSON
 * into the generated C structs and back.
 *
 * In C: integers are int64_t (uint64_t for uint64 and size), strings char *, structs and
 * unions pointers, arrays of strings and structs GPtrArray, of scalars GArray (int64_t;
 * bool and enum elements as int64_t, too), `any` is Json.  An optional scalar has a
 * bool has_NAME before it, an optional pointer is NULL.
 */
#ifndef RHEA_QAPI_VISIT_H
#define RHEA_QAPI_VISIT_H

#include "util/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum QapiKind {
    QAPI_STR,
    QAPI_BOOL,
    QAPI_INT,
    QAPI_UINT,
    QAPI_NUMBER,
    QAPI_ANY,
    QAPI_ENUM,
    QAPI_STRUCT,
} QapiKind;

typedef struct QapiType QapiType;

typedef struct QapiMember {
    const char *name;
    const QapiType *type;
    uint32_t offset, has_offset; /* has_offset: of optional scalars */
    bool optional, array;
} QapiMember;

struct QapiType {
    const char *name;
    QapiKind kind;
    int64_t min, max;                /* QAPI_INT; max 0: the whole of int64_t */
    const char *const *names;        /* QAPI_ENUM */
    size_t size;                     /* QAPI_STRUCT */
    const QapiMember *members;       /* ends with {0} */
    const QapiType *const *branches; /* of a union, by the tag's value; NULL: no more members */
    uint32_t tag_offset, branch_offset;
};

extern const QapiType qapi_builtin_str, qapi_builtin_bool, qapi_builtin_int, qapi_builtin_int8,
    qapi_builtin_int16, qapi_builtin_int32, qapi_builtin_uint8, qapi_builtin_uint16,
    qapi_builtin_uint32, qapi_builtin_uint64, qapi_builtin_number, qapi_builtin_any,
    qapi_no_arguments;

/* A new struct of `t`, or NULL with every mistake in one error. `j` NULL is an empty object. */
void *qapi_from_json(const QapiType *t, const Json *j, Error **errp);
/* Only checks. */
bool qapi_check(const QapiType *t, const Json *j, Error **errp);
/* `value` points to the struct (or to the scalar). */
Json *qapi_to_json(const QapiType *t, const void *value);
void qapi_free(const QapiType *t, void *value); /* NULL is fine */
/* GPtrArray or GArray of elements of `t`; NULL is an empty one. */
Json *qapi_array_to_json(const QapiType *t, const void *array);
void qapi_array_free(const QapiType *t, void *array);
/* The index of `name`, or -1. */
int qapi_enum_find(const char *const *names, const char *name);

typedef struct QapiEvent {
    const char *name;
    const QapiType *data; /* NULL: none */
} QapiEvent;
extern const QapiEvent qapi_events[]; /* sorted by name; ends with {0} */

#endif
