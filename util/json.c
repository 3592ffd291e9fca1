/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/json.h"

#include <math.h>
#include <string.h>

struct Json {
    JsonType type;
    int refs;
    union {
        bool boolean;
        int64_t i;
        uint64_t u;
        double d;
        char *string;
        GPtrArray *array;
        struct {
            GPtrArray *keys;   /* char*, owned, in order */
            GPtrArray *values; /* Json*, owned */
        } object;
    };
};

static Json *new_value(JsonType type)
{
    Json *j = g_new0(Json, 1);
    j->type = type;
    j->refs = 1;
    return j;
}

static void unref_value(gpointer j)
{
    json_unref(j);
}

Json *json_null(void)
{
    return new_value(JSON_NULL);
}

Json *json_bool(bool v)
{
    Json *j = new_value(JSON_BOOL);
    j->boolean = v;
    return j;
}

Json *json_int(int64_t v)
{
    Json *j = new_value(JSON_INT);
    j->i = v;
    return j;
}

Json *json_uint(uint64_t v)
{
    if (v <= INT64_MAX) {
        return json_int((int64_t)v);
    }
    Json *j = new_value(JSON_UINT);
    j->u = v;
    return j;
}

Json *json_double(double v)
{
    Json *j = new_value(JSON_DOUBLE);
    j->d = v;
    return j;
}

Json *json_string(const char *v)
{
    Json *j = new_value(JSON_STRING);
    j->string = g_strdup(v);
    return j;
}

Json *json_stringf(const char *fmt, ...)
{
    Json *j = new_value(JSON_STRING);
    va_list ap;
    va_start(ap, fmt);
    j->string = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    return j;
}

Json *json_array(void)
{
    Json *j = new_value(JSON_ARRAY);
    j->array = g_ptr_array_new_with_free_func(unref_value);
    return j;
}

Json *json_object(void)
{
    Json *j = new_value(JSON_OBJECT);
    j->object.keys = g_ptr_array_new_with_free_func(g_free);
    j->object.values = g_ptr_array_new_with_free_func(unref_value);
    return j;
}

Json *json_ref(Json *j)
{
    g_atomic_int_inc(&j->refs);
    return j;
}

void json_unref(Json *j)
{
    if (!j || !g_atomic_int_dec_and_test(&j->refs)) {
        return;
    }
    if (j->type == JSON_STRING) {
        g_free(j->string);
    } else if (j->type == JSON_ARRAY) {
        g_ptr_array_free(j->array, TRUE);
    } else if (j->type == JSON_OBJECT) {
        g_ptr_array_free(j->object.keys, TRUE);
        g_ptr_array_free(j->object.values, TRUE);
    }
    g_free(j);
}

JsonType json_type(const Json *j)
{
    return j->type;
}

const char *json_type_name(JsonType t)
{
    static const char *const names[] = {
        [JSON_NULL] = "null",       [JSON_BOOL] = "a boolean",   [JSON_INT] = "an integer",
        [JSON_UINT] = "an integer", [JSON_DOUBLE] = "a number",  [JSON_STRING] = "a string",
        [JSON_ARRAY] = "an array",  [JSON_OBJECT] = "an object",
    };
    return names[t];
}

bool json_get_bool(const Json *j, bool *out)
{
    if (!j || j->type != JSON_BOOL) {
        return false;
    }
    *out = j->boolean;
    return true;
}

bool json_get_int(const Json *j, int64_t *out)
{
    if (!j || j->type != JSON_INT) {
        return false;
    }
    *out = j->i;
    return true;
}

bool json_get_uint(const Json *j, uint64_t *out)
{
    if (!j) {
        return false;
    }
    if (j->type == JSON_UINT) {
        *out = j->u;
        return true;
    }
    if (j->type == JSON_INT && j->i >= 0) {
        *out = (uint64_t)j->i;
        return true;
    }
    return false;
}

bool json_get_double(const Json *j, double *out)
{
    if (!j) {
        return false;
    }
    switch (j->type) {
    case JSON_INT:
        *out = (double)j->i;
        return true;
    case JSON_UINT:
        *out = (double)j->u;
        return true;
    case JSON_DOUBLE:
        *out = j->d;
        return true;
    default:
        return false;
    }
}

const char *json_get_string(const Json *j)
{
    return j && j->type == JSON_STRING ? j->string : NULL;
}

void json_append(Json *array, Json *v)
{
    g_assert(array->type == JSON_ARRAY);
    g_ptr_array_add(array->array, v);
}

size_t json_length(const Json *j)
{
    if (j->type == JSON_ARRAY) {
        return j->array->len;
    }
    return j->type == JSON_OBJECT ? j->object.keys->len : 0;
}

Json *json_at(const Json *array, size_t i)
{
    g_assert(array->type == JSON_ARRAY && i < array->array->len);
    return array->array->pdata[i];
}

/* Index of `key`, or -1. */
static int find_key(const Json *o, const char *key)
{
    if (o->type != JSON_OBJECT) {
        return -1;
    }
    for (guint i = 0; i < o->object.keys->len; i++) {
        if (!strcmp(o->object.keys->pdata[i], key)) {
            return (int)i;
        }
    }
    return -1;
}

void json_put(Json *object, const char *key, Json *v)
{
    g_assert(object->type == JSON_OBJECT);
    int i = find_key(object, key);
    if (i >= 0) {
        json_unref(object->object.values->pdata[i]);
        object->object.values->pdata[i] = v;
        return;
    }
    g_ptr_array_add(object->object.keys, g_strdup(key));
    g_ptr_array_add(object->object.values, v);
}

void json_put_string(Json *object, const char *key, const char *v)
{
    json_put(object, key, json_string(v));
}

void json_put_int(Json *object, const char *key, int64_t v)
{
    json_put(object, key, json_int(v));
}

void json_put_bool(Json *object, const char *key, bool v)
{
    json_put(object, key, json_bool(v));
}

Json *json_get(const Json *object, const char *key)
{
    int i = find_key(object, key);
    return i < 0 ? NULL : object->object.values->pdata[i];
}

const char *json_get_str(const Json *object, const char *key)
{
    return json_get_string(json_get(object, key));
}

bool json_remove(Json *object, const char *key)
{
    int i = find_key(object, key);
    if (i < 0) {
        return false;
    }
    g_ptr_array_remove_index(object->object.keys, (guint)i);
    g_ptr_array_remove_index(object->object.values, (guint)i);
    return true;
}

const char *json_key_at(const Json *object, size_t i)
{
    return object->object.keys->pdata[i];
}

Json *json_value_at(const Json *object, size_t i)
{
    return object->object.values->pdata[i];
}

static bool equal_children(const Json *a, const Json *b)
{
    if (json_length(a) != json_length(b)) {
        return false;
    }
    for (size_t i = 0; i < json_length(a); i++) {
        if (a->type == JSON_ARRAY) {
            if (!json_equal(json_at(a, i), json_at(b, i))) {
                return false;
            }
        } else {
            const Json *other = json_get(b, json_key_at(a, i));
            if (!other || !json_equal(json_value_at(a, i), other)) {
                return false;
            }
        }
    }
    return true;
}

bool json_equal(const Json *a, const Json *b)
{
    if (a->type != b->type) {
        return false;
    }
    switch (a->type) {
    case JSON_NULL:
        return true;
    case JSON_BOOL:
        return a->boolean == b->boolean;
    case JSON_INT:
    case JSON_UINT:
        return a->u == b->u;
    case JSON_DOUBLE:
        return a->d == b->d;
    case JSON_STRING:
        return !strcmp(a->string, b->string);
    default:
        return equal_children(a, b);
    }
}

Json *json_copy(const Json *j)
{
    Json *c;
    switch (j->type) {
    case JSON_STRING:
        return json_string(j->string);
    case JSON_ARRAY:
        c = json_array();
        for (size_t i = 0; i < json_length(j); i++) {
            json_append(c, json_copy(json_at(j, i)));
        }
        return c;
    case JSON_OBJECT:
        c = json_object();
        for (size_t i = 0; i < json_length(j); i++) {
            json_put(c, json_key_at(j, i), json_copy(json_value_at(j, i)));
        }
        return c;
    default:
        c = new_value(j->type);
        c->u = j->u;
        if (j->type == JSON_BOOL) {
            c->boolean = j->boolean;
        }
        return c;
    }
}

/* ---- printing ---- */

static void print_string(GString *out, const char *s)
{
    g_string_append_c(out, '"');
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\') {
            g_string_append_c(out, '\\');
            g_string_append_c(out, (char)c);
        } else if (c == '\n') {
            g_string_append(out, "\\n");
        } else if (c == '\r') {
            g_string_append(out, "\\r");
        } else if (c == '\t') {
            g_string_append(out, "\\t");
        } else if (c < 0x20 || c == 0x7f) {
            g_string_append_printf(out, "\\u%04x", c);
        } else {
            g_string_append_c(out, (char)c);
        }
    }
    g_string_append_c(out, '"');
}

static void print_double(GString *out, double d)
{
    char buf[G_ASCII_DTOSTR_BUF_SIZE];
    /* JSON has no infinities and no NaN. */
    if (!isfinite(d)) {
        g_string_append(out, "null");
        return;
    }
    g_ascii_formatd(buf, sizeof(buf), "%.17g", d);
    g_string_append(out, buf);
}

static void newline(GString *out, bool pretty, unsigned depth)
{
    if (pretty) {
        g_string_append_printf(out, "\n%*s", (int)(depth * 4), "");
    }
}

static void print_value(GString *out, const Json *j, bool pretty, unsigned depth);

static void print_children(GString *out, const Json *j, bool pretty, unsigned depth)
{
    bool object = j->type == JSON_OBJECT;
    size_t n = json_length(j);
    g_string_append_c(out, object ? '{' : '[');
    for (size_t i = 0; i < n; i++) {
        if (i) {
            g_string_append(out, pretty ? "," : ", ");
        }
        newline(out, pretty, depth + 1);
        if (object) {
            print_string(out, json_key_at(j, i));
            g_string_append(out, ": ");
        }
        print_value(out, object ? json_value_at(j, i) : json_at(j, i), pretty, depth + 1);
    }
    if (n) {
        newline(out, pretty, depth);
    }
    g_string_append_c(out, object ? '}' : ']');
}

static void print_value(GString *out, const Json *j, bool pretty, unsigned depth)
{
    switch (j->type) {
    case JSON_NULL:
        g_string_append(out, "null");
        break;
    case JSON_BOOL:
        g_string_append(out, j->boolean ? "true" : "false");
        break;
    case JSON_INT:
        g_string_append_printf(out, "%" G_GINT64_FORMAT, (gint64)j->i);
        break;
    case JSON_UINT:
        g_string_append_printf(out, "%" G_GUINT64_FORMAT, (guint64)j->u);
        break;
    case JSON_DOUBLE:
        print_double(out, j->d);
        break;
    case JSON_STRING:
        print_string(out, j->string);
        break;
    case JSON_ARRAY:
    case JSON_OBJECT:
        print_children(out, j, pretty, depth);
        break;
    }
}

char *json_print(const Json *j, bool pretty)
{
    GString *out = g_string_new(NULL);
    print_value(out, j, pretty, 0);
    return g_string_free(out, FALSE);
}
