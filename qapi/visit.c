/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The walker over the schema's tables. */
#include "qapi/visit.h"

#include "qapi/qapi.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

const QapiType qapi_builtin_str = {.name = "str", .kind = QAPI_STR};
const QapiType qapi_builtin_bool = {.name = "bool", .kind = QAPI_BOOL};
const QapiType qapi_builtin_int = {.name = "int", .kind = QAPI_INT};
const QapiType qapi_builtin_int8 = {"int8", QAPI_INT, INT8_MIN, INT8_MAX};
const QapiType qapi_builtin_int16 = {"int16", QAPI_INT, INT16_MIN, INT16_MAX};
const QapiType qapi_builtin_int32 = {"int32", QAPI_INT, INT32_MIN, INT32_MAX};
const QapiType qapi_builtin_uint8 = {"uint8", QAPI_INT, 0, UINT8_MAX};
const QapiType qapi_builtin_uint16 = {"uint16", QAPI_INT, 0, UINT16_MAX};
const QapiType qapi_builtin_uint32 = {"uint32", QAPI_INT, 0, UINT32_MAX};
const QapiType qapi_builtin_uint64 = {.name = "uint64", .kind = QAPI_UINT};
const QapiType qapi_builtin_number = {.name = "number", .kind = QAPI_NUMBER};
const QapiType qapi_builtin_any = {.name = "any", .kind = QAPI_ANY};
static const QapiMember no_members[] = {{0}};
const QapiType qapi_no_arguments = {"", QAPI_STRUCT, .size = 1, .members = no_members};

int qapi_enum_find(const char *const *names, const char *name)
{
    for (int i = 0; names[i]; i++) {
        if (!strcmp(names[i], name)) {
            return i;
        }
    }
    return -1;
}

/* ---- from JSON ---- */
typedef struct Visit {
    GString *path; /* "a.b" */
    GString *mistakes;
    bool lax; /* a union's tag was wrong: which members belong to it is unknown */
} Visit;

static void mistake(Visit *v, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (v->mistakes->len) {
        g_string_append(v->mistakes, "; ");
    }
    g_string_append_vprintf(v->mistakes, fmt, ap);
    va_end(ap);
}

static const char *expected(const QapiType *t)
{
    static const char *const text[] = {"string", "boolean", "integer", "integer",
                                       "number", "value",   "string",  "object"};
    return text[t->kind];
}

static void read_struct(Visit *v, const QapiType *t, const Json *j, void *out);

static void read_enum(Visit *v, const QapiType *t, const char *s, int64_t *out)
{
    int i = qapi_enum_find(t->names, s);
    if (i >= 0) {
        *out = i;
        return;
    }
    const char *near = nearest_word(s, t->names);
    g_autofree char *all = g_strjoinv(", ", (char **)t->names);
    if (near) {
        mistake(v, "Parameter '%s' does not accept value '%s', did you mean '%s'?", v->path->str, s,
                near);
    } else if (strlen(all) < 200) {
        mistake(v, "Parameter '%s' does not accept value '%s', only: %s", v->path->str, s, all);
    } else {
        mistake(v, "Parameter '%s' does not accept value '%s'", v->path->str, s);
    }
}

/* Scalars are read into an int64_t-sized slot; the caller narrows it. */
typedef union Slot {
    int64_t i;
    uint64_t u;
    bool b;
    double d;
    void *p;
} Slot;

static void read_value(Visit *v, const QapiType *t, const Json *j, Slot *s)
{
    bool ok = true;
    switch (t->kind) {
    case QAPI_STR:
        ok = json_get_string(j) != NULL;
        s->p = g_strdup(json_get_string(j));
        break;
    case QAPI_BOOL:
        ok = json_get_bool(j, &s->b);
        break;
    case QAPI_INT:
        ok = json_get_int(j, &s->i);
        if (ok && t->max && (s->i < t->min || s->i > t->max)) {
            mistake(v, "Parameter '%s' expects a value from %" PRId64 " to %" PRId64, v->path->str,
                    t->min, t->max);
        }
        break;
    case QAPI_UINT:
        ok = json_get_uint(j, &s->u);
        break;
    case QAPI_NUMBER:
        ok = json_get_double(j, &s->d);
        break;
    case QAPI_ANY:
        s->p = json_ref((Json *)j);
        break;
    case QAPI_ENUM:
        ok = json_get_string(j) != NULL;
        if (ok) {
            read_enum(v, t, json_get_string(j), &s->i);
        }
        break;
    case QAPI_STRUCT:
        ok = json_type(j) == JSON_OBJECT;
        if (ok) {
            s->p = g_malloc0(t->size);
            read_struct(v, t, j, s->p);
        }
        break;
    }
    if (!ok) {
        mistake(v, "Invalid parameter type for '%s', expected: %s", v->path->str, expected(t));
    }
}

static bool is_pointer(const QapiType *t)
{
    return t->kind == QAPI_STR || t->kind == QAPI_ANY || t->kind == QAPI_STRUCT;
}

static void free_element(const QapiType *t, void *p)
{
    if (t->kind == QAPI_STR) {
        g_free(p);
    } else if (t->kind == QAPI_ANY) {
        json_unref(p);
    } else {
        qapi_free(t, p);
    }
}

static void *read_array(Visit *v, const QapiType *t, const Json *j)
{
    if (json_type(j) != JSON_ARRAY) {
        mistake(v, "Invalid parameter type for '%s', expected: array", v->path->str);
        return NULL;
    }
    size_t n = json_length(j), len = v->path->len;
    GPtrArray *pointers = is_pointer(t) ? g_ptr_array_new() : NULL;
    GArray *scalars = is_pointer(t) ? NULL : g_array_new(FALSE, TRUE, sizeof(int64_t));
    for (size_t i = 0; i < n; i++) {
        Slot s = {0};
        g_string_append_printf(v->path, "[%zu]", i);
        read_value(v, t, json_at(j, i), &s);
        g_string_truncate(v->path, len);
        if (!pointers) {
            s.i = t->kind == QAPI_BOOL ? s.b : s.i;
            g_array_append_val(scalars, s.i);
        } else if (s.p) {
            g_ptr_array_add(pointers, s.p);
        }
    }
    return pointers ? (void *)pointers : (void *)scalars;
}

static void read_member(Visit *v, const QapiMember *m, const Json *j, char *out)
{
    Slot s = {0};
    if (m->array) {
        *(void **)(out + m->offset) = read_array(v, m->type, j);
        return;
    }
    read_value(v, m->type, j, &s);
    switch (m->type->kind) {
    case QAPI_BOOL:
        *(bool *)(out + m->offset) = s.b;
        break;
    case QAPI_ENUM:
        *(int *)(out + m->offset) = (int)s.i;
        break;
    default:
        memcpy(out + m->offset, &s, sizeof(s));
        break;
    }
    if (m->optional && !is_pointer(m->type)) {
        *(bool *)(out + m->has_offset) = true;
    }
}

static bool tag_is_good(const QapiType *t, const Json *j)
{
    const QapiMember *m = t->members;
    while (m->offset != t->tag_offset) {
        m++;
    }
    const char *tag = json_get_str(j, m->name);
    return tag && qapi_enum_find(m->type->names, tag) >= 0;
}

/* Reads the members of `t` out of `j` and notes their names in `known`. */
static void read_members(Visit *v, const QapiType *t, const Json *j, char *out, GHashTable *known)
{
    size_t len = v->path->len;
    for (const QapiMember *m = t->members; m->name; m++) {
        g_hash_table_add(known, (gpointer)m->name);
        const Json *value = json_get(j, m->name);
        g_string_append_printf(v->path, "%s%s", len ? "." : "", m->name);
        if (value) {
            read_member(v, m, value, out);
        } else if (!m->optional) {
            mistake(v, "Parameter '%s' is missing", v->path->str);
        }
        g_string_truncate(v->path, len);
    }
    if (t->branches && !tag_is_good(t, j)) {
        v->lax = true;
    } else if (t->branches) {
        const QapiType *b = t->branches[*(const int *)(out + t->tag_offset)];
        if (b) {
            char *branch = g_malloc0(b->size);
            *(void **)(out + t->branch_offset) = branch;
            read_members(v, b, j, branch, known);
        }
    }
}

static void read_struct(Visit *v, const QapiType *t, const Json *j, void *out)
{
    g_autoptr(GHashTable) known = g_hash_table_new(g_str_hash, g_str_equal);
    size_t len = v->path->len;
    bool lax = v->lax;
    v->lax = false;
    read_members(v, t, j, out, known);
    for (size_t i = 0; i < json_length(j) && !v->lax; i++) {
        const char *key = json_key_at(j, i);
        if (g_hash_table_contains(known, key)) {
            continue;
        }
        guint n;
        g_autofree gpointer *keys = g_hash_table_get_keys_as_array(known, &n);
        const char *near = nearest_word(key, (const char *const *)keys);
        g_string_append_printf(v->path, "%s%s", len ? "." : "", key);
        if (near) {
            mistake(v, "Parameter '%s' is unexpected, did you mean '%s'?", v->path->str, near);
        } else {
            mistake(v, "Parameter '%s' is unexpected", v->path->str);
        }
        g_string_truncate(v->path, len);
    }
    v->lax = lax;
}

void *qapi_from_json(const QapiType *t, const Json *j, Error **errp)
{
    assert(t->kind == QAPI_STRUCT);
    g_autoptr(Json) empty = j ? NULL : json_object();
    j = j ? j : empty;
    if (json_type(j) != JSON_OBJECT) {
        error_set(errp, "The arguments must be an object");
        return NULL;
    }
    Visit v = {g_string_new(NULL), g_string_new(NULL), false};
    void *out = g_malloc0(t->size);
    read_struct(&v, t, j, out);
    if (v.mistakes->len) {
        error_set(errp, "%s", v.mistakes->str);
        qapi_free(t, out);
        out = NULL;
    }
    g_string_free(v.path, TRUE);
    g_string_free(v.mistakes, TRUE);
    return out;
}

bool qapi_check(const QapiType *t, const Json *j, Error **errp)
{
    void *out = qapi_from_json(t, j, errp);
    qapi_free(t, out);
    return out != NULL;
}

/* ---- to JSON ---- */
static void write_members(const QapiType *t, const char *in, Json *object)
{
    for (const QapiMember *m = t->members; m->name; m++) {
        const void *field = in + m->offset;
        bool pointer = m->array || is_pointer(m->type);
        if (m->optional &&
            (pointer ? !*(void *const *)field : !*(const bool *)(in + m->has_offset))) {
            continue;
        }
        Json *v = m->array  ? qapi_array_to_json(m->type, *(void *const *)field)
                  : pointer ? qapi_to_json(m->type, *(void *const *)field)
                            : qapi_to_json(m->type, field);
        json_put(object, m->name, v);
    }
    if (t->branches) {
        const QapiType *b = t->branches[*(const int *)(in + t->tag_offset)];
        const void *branch = *(void *const *)(in + t->branch_offset);
        if (b && branch) {
            write_members(b, branch, object);
        }
    }
}

Json *qapi_to_json(const QapiType *t, const void *value)
{
    switch (t->kind) {
    case QAPI_STR:
        return json_string(value ? value : "");
    case QAPI_BOOL:
        return json_bool(*(const bool *)value);
    case QAPI_INT:
        return json_int(*(const int64_t *)value);
    case QAPI_UINT:
        return json_uint(*(const uint64_t *)value);
    case QAPI_NUMBER:
        return json_double(*(const double *)value);
    case QAPI_ANY:
        return value ? json_ref((Json *)value) : json_null();
    case QAPI_ENUM:
        return json_string(t->names[*(const int *)value]);
    case QAPI_STRUCT:
        break;
    }
    Json *object = json_object();
    if (value) {
        write_members(t, value, object);
    }
    return object;
}

Json *qapi_array_to_json(const QapiType *t, const void *array)
{
    Json *out = json_array();
    if (array && is_pointer(t)) {
        const GPtrArray *a = array;
        for (unsigned i = 0; i < a->len; i++) {
            json_append(out, qapi_to_json(t, a->pdata[i]));
        }
    } else if (array) {
        const GArray *a = array;
        for (unsigned i = 0; i < a->len; i++) {
            int64_t v = g_array_index(a, int64_t, i);
            int n = (int)v;
            bool b = v != 0;
            json_append(out, qapi_to_json(t, t->kind == QAPI_ENUM   ? (void *)&n
                                             : t->kind == QAPI_BOOL ? (void *)&b
                                                                    : (void *)&v));
        }
    }
    return out;
}

/* ---- freeing ---- */
void qapi_array_free(const QapiType *t, void *array)
{
    if (array && is_pointer(t)) {
        GPtrArray *a = array;
        for (unsigned i = 0; i < a->len; i++) {
            free_element(t, a->pdata[i]);
        }
        g_ptr_array_free(a, TRUE);
    } else if (array) {
        g_array_free(array, TRUE);
    }
}

void qapi_free(const QapiType *t, void *value)
{
    if (!value || t->kind != QAPI_STRUCT) {
        return;
    }
    for (const QapiMember *m = t->members; m->name; m++) {
        char *field = (char *)value + m->offset;
        if (m->array) {
            qapi_array_free(m->type, *(void **)field);
        } else if (is_pointer(m->type)) {
            free_element(m->type, *(void **)field);
        }
    }
    if (t->branches) {
        const QapiType *b = t->branches[*(const int *)((char *)value + t->tag_offset)];
        if (b) {
            qapi_free(b, *(void **)((char *)value + t->branch_offset));
        }
    }
    g_free(value);
}

/* ---- tables ---- */
extern const char qmp_schema_text[];

Json *qmp_schema(void)
{
    return json_parse(qmp_schema_text, NULL);
}
