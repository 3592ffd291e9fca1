/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Properties: from JSON or text into a field and back.  A new value is parsed
 * completely into a PropValue before the field is touched, so that a refused
 * value leaves the object as it was.
 */
#include "qom/internal.h"
#include "qom/object.h"
#include "util/option.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

/* Big enough for the field of any kind. */
typedef union PropValue {
    bool b;
    int i;
    int32_t i32;
    int64_t i64;
    uint64_t u64;
    char *s;
    Object *link;
    PropArray *array;
    uint8_t bytes[16];
} PropValue;

static const char *const on_off_auto_names[] = {"auto", "on", "off", NULL};

static void *field_of(const Object *obj, const Property *p)
{
    return (char *)obj + p->offset;
}

static size_t kind_size(PropKind kind)
{
    switch (kind) {
    case PROP_BOOL:
        return sizeof(bool);
    case PROP_ON_OFF_AUTO:
    case PROP_ENUM:
        return sizeof(int);
    case PROP_U8:
        return 1;
    case PROP_U16:
        return 2;
    case PROP_U32:
    case PROP_I32:
    case PROP_PCI_ADDR:
        return 4;
    case PROP_BIT:
    case PROP_U64:
    case PROP_I64:
    case PROP_SIZE:
        return 8;
    case PROP_MAC:
        return 6;
    case PROP_UUID:
        return 16;
    case PROP_STRING:
    case PROP_LINK:
    case PROP_ARRAY:
        return sizeof(void *);
    case PROP_NONE:
    case PROP_CUSTOM:
        break;
    }
    return 0;
}

static void array_free(PropArray *a)
{
    if (a) {
        json_unref(a->values);
        g_free(a);
    }
}

/* Releases what a value of the kind owns. */
static void value_release(const Property *p, PropValue *v)
{
    if (p->kind == PROP_STRING) {
        g_free(v->s);
    } else if (p->kind == PROP_LINK) {
        object_unref(v->link);
    } else if (p->kind == PROP_ARRAY) {
        array_free(v->array);
    }
    memset(v, 0, sizeof(*v));
}

/* ---- defaults ---- */

void property_init_defaults(Object *obj, const TypeInfo *t)
{
    for (const Property *p = t->props; p && p->name; p++) {
        void *field = field_of(obj, p);

        switch (p->kind) {
        case PROP_BOOL:
            *(bool *)field = p->def != 0;
            break;
        case PROP_BIT:
            if (p->def) {
                *(uint64_t *)field |= 1ull << p->arg;
            } else {
                *(uint64_t *)field &= ~(1ull << p->arg);
            }
            break;
        case PROP_STRING:
            g_free(*(char **)field);
            *(char **)field = g_strdup(p->def_str);
            break;
        case PROP_LINK:
        case PROP_ARRAY:
        case PROP_MAC:
        case PROP_UUID:
        case PROP_NONE:
        case PROP_CUSTOM:
            break;
        default: /* integers of the kind's width */
            if (kind_size(p->kind) == 1) {
                *(uint8_t *)field = (uint8_t)p->def;
            } else if (kind_size(p->kind) == 2) {
                *(uint16_t *)field = (uint16_t)p->def;
            } else if (kind_size(p->kind) == 4) {
                *(uint32_t *)field = (uint32_t)p->def;
            } else {
                *(uint64_t *)field = p->def;
            }
        }
    }
}

void property_release(Object *obj, const TypeInfo *t)
{
    for (const Property *p = t->props; p && p->name; p++) {
        if (p->kind == PROP_STRING || p->kind == PROP_LINK || p->kind == PROP_ARRAY) {
            PropValue v = {0};

            memcpy(&v, field_of(obj, p), sizeof(void *));
            memset(field_of(obj, p), 0, sizeof(void *));
            value_release(p, &v);
        }
    }
}

/* ---- parsing ---- */

/* The value as the user wrote it, for messages; the caller frees. */
static char *value_text(const Json *v)
{
    const char *s = json_get_string(v);

    return s ? g_strdup(s) : json_print(v, false);
}

static void set_not(Error **errp, const Json *v, const char *what)
{
    g_autofree char *text = value_text(v);

    error_set(errp, "'%s' is not %s", text, what);
}

static void unsigned_limits(const Property *p, uint64_t *min, uint64_t *max)
{
    size_t size = kind_size(p->kind);

    *min = p->min;
    *max = p->max ? p->max : size == 8 ? UINT64_MAX : (1ull << (8 * size)) - 1;
}

static bool parse_unsigned(const Property *p, const Json *v, PropValue *out, Error **errp)
{
    const char *s = json_get_string(v);
    uint64_t min, max, n;
    int64_t negative;
    bool size = p->kind == PROP_SIZE;

    unsigned_limits(p, &min, &max);
    if (s ? !(size ? parse_size(s, 'B', &n) : parse_uint(s, &n)) : !json_get_uint(v, &n)) {
        /* A negative number is a number out of range, not something else. */
        if (s ? !parse_int(s, &negative) : !json_get_int(v, &negative)) {
            set_not(errp, v,
                    size ? "a size (a number of bytes, or with a suffix as in 512M or 1.5G)"
                         : "an unsigned number");
            return false;
        }
    } else if (n >= min && n <= max) {
        out->u64 = n;
        return true;
    }
    g_autofree char *text = value_text(v);
    error_set(errp, "%s is out of range: %" PRIu64 " to %" PRIu64 " is accepted", text, min, max);
    return false;
}

static bool parse_signed(const Property *p, const Json *v, PropValue *out, Error **errp)
{
    const char *s = json_get_string(v);
    int64_t min = p->kind == PROP_I32 ? INT32_MIN : INT64_MIN;
    int64_t max = p->kind == PROP_I32 ? INT32_MAX : INT64_MAX, n;

    if (p->min || p->max) {
        min = (int64_t)p->min;
        max = (int64_t)p->max;
    }
    if (s ? !parse_int(s, &n) : !json_get_int(v, &n)) {
        set_not(errp, v, "a number");
        return false;
    }
    if (n < min || n > max) {
        error_set(errp, "%" PRId64 " is out of range: %" PRId64 " to %" PRId64 " is accepted", n,
                  min, max);
        return false;
    }
    out->i64 = n;
    return true;
}

static bool parse_names(const char *const *names, const Json *v, PropValue *out, Error **errp)
{
    const char *s = json_get_string(v);
    g_autofree char *all = NULL;
    g_autofree char *text = NULL;
    const char *near;

    for (int i = 0; s && names[i]; i++) {
        if (strcmp(names[i], s) == 0) {
            out->i = i;
            return true;
        }
    }
    all = g_strjoinv(", ", (char **)names);
    text = value_text(v);
    near = s ? nearest_word(s, names) : NULL;
    error_set(errp, "'%s' is not one of: %s%s%s%s", text, all, near ? "; did you mean '" : "",
              near ? near : "", near ? "'?" : "");
    return false;
}

static bool json_to_bool(const Json *v, bool *b)
{
    const char *s = json_get_string(v);

    return s ? parse_bool(s, b) : json_get_bool(v, b);
}

static bool parse_pci_addr(const Json *v, PropValue *out, Error **errp)
{
    const char *s = json_get_string(v);
    uint64_t n, slot, fn = 0;
    char *end;

    out->i32 = -1;
    if (!s) {
        int64_t i;

        if (json_get_int(v, &i) && i == -1) {
            return true;
        }
        if (json_get_uint(v, &n) && n <= 255) {
            out->i32 = (int32_t)n;
            return true;
        }
    } else if (strcmp(s, "-1") == 0) {
        return true;
    } else if (g_ascii_isxdigit(*s)) {
        slot = g_ascii_strtoull(s, &end, 16);
        if (*end == '.' && g_ascii_isxdigit(end[1])) {
            fn = g_ascii_strtoull(end + 1, &end, 16);
        }
        if (!*end && slot <= 31 && fn <= 7) {
            out->i32 = (int32_t)(slot << 3 | fn);
            return true;
        }
    }
    set_not(errp, v, "a PCI address (SLOT or SLOT.FUNCTION in hexadecimal, 0 to 1f and 0 to 7)");
    return false;
}

const char *type_container(const char *type)
{
    const TypeInfo *t = type_find(type);

    while (t && !t->container) {
        t = type_parent(t);
    }
    return t ? t->container : NULL;
}

static bool parse_link(Object *obj, const Property *p, const Json *v, PropValue *out, Error **errp)
{
    const char *s = json_get_string(v);
    const char *container = type_container(p->link);
    Object *target = NULL;

    if (json_type(v) == JSON_NULL || (s && !*s)) {
        out->link = NULL;
        return true;
    }
    if (!s) {
        set_not(errp, v, "an object's id or path");
        return false;
    }
    if (s[0] != '/' && container) {
        g_autofree char *path = g_strdup_printf("%s/%s", container, s);

        target = object_resolve(object_scope(obj), path);
    }
    if (!target) {
        target = object_resolve(object_scope(obj), s);
    }
    if (!target) {
        error_set(errp, "there is no %s '%s'", p->link, s);
        return false;
    }
    if (!object_is_a(target, p->link)) {
        error_set(errp, "'%s' is of type %s, not %s", s, target->type->name, p->link);
        return false;
    }
    out->link = object_ref(target);
    return true;
}

static bool parse_switch(Object *obj, const Property *p, const Json *v, PropValue *out,
                         Error **errp)
{
    bool b;

    if (!json_to_bool(v, &b)) {
        set_not(errp, v, "a switch: on or off is accepted");
        return false;
    }
    if (p->kind == PROP_BOOL) {
        out->b = b;
    } else {
        out->u64 = *(uint64_t *)field_of(obj, p) & ~(1ull << p->arg);
        out->u64 |= (uint64_t)b << p->arg;
    }
    return true;
}

/* A string, or what is written as one. */
static bool parse_text(const Property *p, const Json *v, PropValue *out, Error **errp)
{
    const char *s = json_get_string(v), *wanted = NULL;

    if (p->kind == PROP_STRING) {
        out->s = g_strdup(s);
        wanted = s ? NULL : "a string";
    } else if (p->kind == PROP_MAC) {
        wanted = s && parse_mac(s, out->bytes)
                     ? NULL
                     : "a MAC address (six bytes in hexadecimal, as in 52:54:00:12:34:56)";
    } else {
        wanted = s && parse_uuid(s, out->bytes)
                     ? NULL
                     : "a UUID (as in 550e8400-e29b-41d4-a716-446655440000)";
    }
    if (wanted) {
        set_not(errp, v, wanted);
    }
    return !wanted;
}

static bool parse_value(Object *obj, const Property *p, const Json *v, PropValue *out,
                        Error **errp);

static bool parse_array(Object *obj, const Property *p, const Json *v, PropValue *out, Error **errp)
{
    Property element = {
        .name = p->name, .kind = (PropKind)p->arg, .min = p->min, .max = p->max, .names = p->names};
    g_autoptr(Json) single = NULL;

    out->array = NULL;
    if (json_type(v) != JSON_ARRAY) {
        /* One element may be given without brackets: -object x,cpus=3 */
        single = json_array();
        json_append(single, json_ref((Json *)v));
        v = single;
    }
    for (size_t i = 0; i < json_length(v); i++) {
        PropValue tmp = {0};
        bool ok = parse_value(obj, &element, json_at(v, i), &tmp, errp);

        value_release(&element, &tmp);
        if (!ok) {
            error_prefix(errp, "element %zu: ", i);
            return false;
        }
    }
    if (json_length(v)) {
        out->array = g_new0(PropArray, 1);
        out->array->n = json_length(v);
        out->array->values = json_copy(v);
    }
    return true;
}

static bool parse_value(Object *obj, const Property *p, const Json *v, PropValue *out, Error **errp)
{
    switch (p->kind) {
    case PROP_BOOL:
    case PROP_BIT:
        return parse_switch(obj, p, v, out, errp);
    case PROP_ON_OFF_AUTO: {
        bool b;

        if (json_to_bool(v, &b)) {
            out->i = b ? ON_OFF_ON : ON_OFF_OFF;
            return true;
        }
        return parse_names(on_off_auto_names, v, out, errp);
    }
    case PROP_U8:
    case PROP_U16:
    case PROP_U32:
    case PROP_U64:
    case PROP_SIZE:
        return parse_unsigned(p, v, out, errp);
    case PROP_I32:
    case PROP_I64:
        return parse_signed(p, v, out, errp);
    case PROP_STRING:
    case PROP_MAC:
    case PROP_UUID:
        return parse_text(p, v, out, errp);
    case PROP_ENUM:
        return parse_names(p->names, v, out, errp);
    case PROP_PCI_ADDR:
        return parse_pci_addr(v, out, errp);
    case PROP_LINK:
        return parse_link(obj, p, v, out, errp);
    case PROP_ARRAY:
        return parse_array(obj, p, v, out, errp);
    case PROP_NONE:
    case PROP_CUSTOM:
        break;
    }
    g_assert_not_reached();
}

/* ---- storing ---- */

static void swap_field(Object *obj, const Property *p, PropValue *v)
{
    PropValue old = {0};
    size_t size = kind_size(p->kind);
    void *field = field_of(obj, p);

    memcpy(&old, field, size);
    /* Narrow integers are the low bytes of the parsed 64-bit value. */
    if (size == 1 && p->kind != PROP_BOOL) {
        *(uint8_t *)field = (uint8_t)v->u64;
    } else if (size == 2) {
        *(uint16_t *)field = (uint16_t)v->u64;
    } else if (p->kind == PROP_U32 || p->kind == PROP_I32) {
        *(uint32_t *)field = (uint32_t)v->u64;
    } else {
        memcpy(field, v, size);
    }
    *v = old;
}

static bool add_name(const Property *p, void *names)
{
    g_ptr_array_add(names, (void *)p->name);
    return true;
}

static const char *nearest_property(const TypeInfo *t, const char *name)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();

    type_each_property(t, add_name, names);
    g_ptr_array_add(names, NULL);
    return nearest_word(name, (const char *const *)names->pdata);
}

static void note_set(Object *obj, const Property *p)
{
    if (obj->completed) {
        return;
    }
    if (!obj->was_set) {
        obj->was_set = g_ptr_array_new();
    }
    if (!g_ptr_array_find(obj->was_set, p, NULL)) {
        g_ptr_array_add(obj->was_set, (void *)p);
    }
}

/* object_set() with a message that names neither object nor property. */
static bool set_reason(Object *obj, const char *name, const Json *v, const Property **which,
                       Error **errp)
{
    const Property *p = type_property(obj->type, name);
    PropValue value = {0};

    *which = p;
    if (!p) {
        const char *near = nearest_property(obj->type, name);

        error_set(errp, "no such property%s%s%s", near ? "; did you mean '" : "", near ? near : "",
                  near ? "'?" : "");
        return false;
    }
    if (p->read_only || (p->kind == PROP_CUSTOM && !p->set)) {
        error_set(errp, "this property can only be read");
        return false;
    }
    if (obj->completed && !p->runtime) {
        error_set(errp, "this property cannot be changed any more");
        return false;
    }
    if (p->kind == PROP_CUSTOM) {
        if (!p->set(obj, p, v, errp)) {
            return false;
        }
        note_set(obj, p);
        return true;
    }
    if (!parse_value(obj, p, v, &value, errp)) {
        return false;
    }
    swap_field(obj, p, &value);
    if (p->set && obj->completed && !p->set(obj, p, v, errp)) {
        PropValue back = value;

        swap_field(obj, p, &back);
        value_release(p, &back);
        return false;
    }
    value_release(p, &value);
    note_set(obj, p);
    return true;
}

bool object_was_set(const Object *obj, const char *name)
{
    return obj->was_set && g_ptr_array_find(obj->was_set, type_property(obj->type, name), NULL);
}

bool object_set(Object *obj, const char *name, const Json *v, Error **errp)
{
    const Property *p;
    Error *err = NULL;

    if (set_reason(obj, name, v, &p, &err)) {
        return true;
    }
    if (!p) {
        error_set(errp, "Property '%s.%s' not found: %s", obj->type->name, name,
                  error_message(err));
        error_free(err);
    } else {
        error_prefix(&err, "%s.%s: ", obj->type->name, name);
        error_propagate(errp, err);
    }
    return false;
}

bool object_set_string(Object *obj, const char *name, const char *v, Error **errp)
{
    g_autoptr(Json) j = json_string(v);

    return object_set(obj, name, j, errp);
}

static void set_surely(Object *obj, const char *name, Json *v)
{
    Error *err = NULL;

    if (!object_set(obj, name, v, &err)) {
        g_error("%s", error_message(err));
    }
    json_unref(v);
}

void object_set_uint(Object *obj, const char *name, uint64_t v)
{
    set_surely(obj, name, json_uint(v));
}

void object_set_bool(Object *obj, const char *name, bool v)
{
    set_surely(obj, name, json_bool(v));
}

void object_set_str(Object *obj, const char *name, const char *v)
{
    set_surely(obj, name, json_string(v));
}

void object_set_link(Object *obj, const char *name, Object *target)
{
    const Property *p = type_property(obj->type, name);
    Object **field;
    Object *old;

    if (!p || p->kind != PROP_LINK || (target && !object_is_a(target, p->link))) {
        g_error("object_set_link: '%s.%s' does not take this object", obj->type->name, name);
    }
    field = field_of(obj, p);
    old = *field;
    *field = target ? object_ref(target) : NULL;
    object_unref(old);
    note_set(obj, p);
}

bool object_set_from(Object *obj, const Json *values, const char *const *ignore, void *text,
                     Error **errp)
{
    bool ok = true;

    for (size_t i = 0; i < json_length(values); i++) {
        const char *key = json_key_at(values, i);
        const Property *p;
        g_autoptr(Error) err = NULL;

        if (ignore && g_strv_contains(ignore, key)) {
            continue;
        }
        if (!text) {
            if (!object_set(obj, key, json_value_at(values, i), errp)) {
                return false;
            }
        } else if (!set_reason(obj, key, json_value_at(values, i), &p, &err)) {
            option_mistake(text, key, "%s", error_message(err));
            ok = false;
        }
    }
    return ok || option_check(text, errp);
}

bool object_check_from(const TypeInfo *t, const Json *values, const char *const *ignore, void *text,
                       Error **errp)
{
    Object *obj = object_new(t->name);

    for (size_t i = 0; i < json_length(values); i++) {
        const char *key = json_key_at(values, i);
        const Property *p = type_property(t, key);
        g_autoptr(Error) err = NULL;

        if (g_strv_contains(ignore, key) ||
            (p && (p->kind == PROP_LINK || p->kind == PROP_CUSTOM))) {
            continue;
        }
        if (!set_reason(obj, key, json_value_at(values, i), &p, &err)) {
            option_mistake(text, key, "%s", error_message(err));
        }
    }
    object_unref(obj);
    return option_check(text, errp);
}

/* ---- reading ---- */

static Json *array_to_json(const PropArray *a)
{
    return a ? json_copy(a->values) : json_array();
}

static Json *pci_addr_to_json(int32_t devfn)
{
    return devfn < 0 ? json_string("-1")
                     : json_stringf("%02x.%x", (unsigned)devfn >> 3, (unsigned)devfn & 7);
}

static Json *mac_to_json(const uint8_t *m)
{
    return json_stringf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
}

static Json *uuid_to_json(const uint8_t *u)
{
    return json_stringf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
                        u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11],
                        u[12], u[13], u[14], u[15]);
}

static Json *link_to_json(const Object *target)
{
    g_autofree char *path = target ? object_path(target) : NULL;

    return json_string(path ? path : "");
}

static Json *field_to_json(const Property *p, const void *field)
{
    switch (p->kind) {
    case PROP_BOOL:
        return json_bool(*(const bool *)field);
    case PROP_BIT:
        return json_bool(*(const uint64_t *)field >> p->arg & 1);
    case PROP_ON_OFF_AUTO:
        return json_string(on_off_auto_names[*(const int *)field]);
    case PROP_ENUM:
        return json_string(p->names[*(const int *)field]);
    case PROP_U8:
        return json_uint(*(const uint8_t *)field);
    case PROP_U16:
        return json_uint(*(const uint16_t *)field);
    case PROP_U32:
        return json_uint(*(const uint32_t *)field);
    case PROP_U64:
    case PROP_SIZE:
        return json_uint(*(const uint64_t *)field);
    case PROP_I32:
        return json_int(*(const int32_t *)field);
    case PROP_I64:
        return json_int(*(const int64_t *)field);
    case PROP_STRING:
        return json_string(*(char *const *)field ? *(char *const *)field : "");
    case PROP_MAC:
        return mac_to_json(field);
    case PROP_UUID:
        return uuid_to_json(field);
    case PROP_PCI_ADDR:
        return pci_addr_to_json(*(const int32_t *)field);
    case PROP_LINK:
        return link_to_json(*(Object *const *)field);
    case PROP_ARRAY:
        return array_to_json(*(PropArray *const *)field);
    case PROP_NONE:
    case PROP_CUSTOM:
        break;
    }
    return json_null();
}

Json *object_get(Object *obj, const char *name, Error **errp)
{
    const Property *p = type_property(obj->type, name);

    if (!p) {
        const char *near = nearest_property(obj->type, name);

        error_set(errp, "Property '%s.%s' not found%s%s%s", obj->type->name, name,
                  near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
        return NULL;
    }
    if (p->get) {
        return p->get(obj, p);
    }
    if (p->kind == PROP_CUSTOM) {
        error_set(errp, "%s.%s: this property can only be set", obj->type->name, name);
        return NULL;
    }
    return field_to_json(p, field_of(obj, p));
}

/* ---- introspection ---- */

Json *property_default(const Property *p)
{
    PropValue v = {0};

    switch (p->kind) {
    case PROP_MAC:
    case PROP_UUID:
    case PROP_LINK:
    case PROP_NONE:
    case PROP_CUSTOM:
        return NULL;
    case PROP_STRING:
        return p->def_str ? json_string(p->def_str) : NULL;
    case PROP_BIT:
        return json_bool(p->def != 0);
    case PROP_BOOL:
        v.b = p->def != 0;
        break;
    case PROP_ARRAY:
        break;
    default:
        v.u64 = p->def;
        break;
    }
    if (kind_size(p->kind) < 8 && p->kind != PROP_BOOL) {
        /* Same narrowing as in property_init_defaults(). */
        uint64_t n = p->def;
        uint8_t n8 = (uint8_t)n;
        uint16_t n16 = (uint16_t)n;
        uint32_t n32 = (uint32_t)n;
        size_t size = kind_size(p->kind);

        return field_to_json(p, size == 1 ? (void *)&n8 : size == 2 ? (void *)&n16 : (void *)&n32);
    }
    return field_to_json(p, &v);
}

const char *property_type_name(const Property *p)
{
    if (p->type_name) {
        return p->type_name;
    }
    switch (p->kind) {
    case PROP_BOOL:
    case PROP_BIT:
        return "bool";
    case PROP_ON_OFF_AUTO:
        return "OnOffAuto";
    case PROP_U8:
        return "uint8";
    case PROP_U16:
        return "uint16";
    case PROP_U32:
        return "uint32";
    case PROP_U64:
        return "uint64";
    case PROP_I32:
        return "int32";
    case PROP_I64:
        return "int64";
    case PROP_SIZE:
        return "size";
    case PROP_LINK: {
        /* The name must outlive the call: one interned string per linked type. */
        g_autofree char *name = g_strdup_printf("link<%s>", p->link);

        return g_intern_string(name);
    }
    case PROP_ARRAY:
        return "list";
    case PROP_STRING:
    case PROP_ENUM:
    case PROP_MAC:
    case PROP_UUID:
    case PROP_PCI_ADDR:
    case PROP_NONE:
    case PROP_CUSTOM:
        break;
    }
    return "str";
}

static void describe_values(const Property *p, GString *s)
{
    if (p->kind == PROP_ENUM) {
        g_autofree char *all = g_strjoinv("/", (char **)p->names);

        g_string_append_printf(s, "%s%s", p->help ? ": " : "", all);
    } else if ((p->min || p->max) && kind_size(p->kind) && p->kind != PROP_BIT) {
        if (p->kind == PROP_I32 || p->kind == PROP_I64) {
            g_string_append_printf(s, " [%" PRId64 "..%" PRId64 "]", (int64_t)p->min,
                                   (int64_t)p->max);
        } else {
            uint64_t min, max;

            unsigned_limits(p, &min, &max);
            g_string_append_printf(s, " [%" PRIu64 "..%" PRIu64 "]", min, max);
        }
    }
}

char *property_describe(const Property *p)
{
    GString *s = g_string_new(NULL);
    g_autoptr(Json) def = property_default(p);

    g_string_append_printf(s, "  %s=<%s>", p->name, property_type_name(p));
    if (p->help || def || p->kind == PROP_ENUM) {
        while (s->len < 24) {
            g_string_append_c(s, ' ');
        }
        g_string_append(s, " - ");
    }
    if (p->help) {
        g_string_append(s, p->help);
    }
    describe_values(p, s);
    if (def) {
        g_autofree char *text = json_print(def, false);

        g_string_append_printf(s, "%s(default: %s)", s->str[s->len - 1] == ' ' ? "" : " ", text);
    }
    return g_string_free(s, FALSE);
}

static bool property_to_json(const Property *p, void *list)
{
    Json *entry = json_object();
    Json *def = property_default(p);

    json_put_string(entry, "name", p->name);
    json_put_string(entry, "type", property_type_name(p));
    if (p->help) {
        json_put_string(entry, "description", p->help);
    }
    if (def) {
        json_put(entry, "default-value", def);
    }
    json_append(list, entry);
    return true;
}

Json *type_properties_json(const TypeInfo *t)
{
    Json *list = json_array();

    type_each_property(t, property_to_json, list);
    return list;
}
