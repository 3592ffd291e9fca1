/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Management commands about objects. */
#include "qapi/qapi-commands.h"
#include "qom/object.h"
#include "util/bits.h"
#include "util/option.h"

#include <string.h>

static Object *resolve(Object *root, const char *path, Error **errp)
{
    Object *obj = object_resolve(root, path);
    if (!obj) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", path);
    }
    return obj;
}

static bool add_child(Object *child, void *list)
{
    g_autoptr(Json) e = json_object();
    json_put_string(e, "name", child->name);
    json_put(e, "type", json_stringf("child<%s>", child->type->name));
    json_append(list, g_steal_pointer(&e));
    return true;
}

bool qmp_qom_list(Object *root, const char *path, Json **out, Error **errp)
{
    Object *obj = resolve(root, path, errp);
    if (!obj) {
        return false;
    }
    *out = json_array();
    Json *type = json_object();
    json_put_string(type, "name", "type");
    json_put_string(type, "type", "string");
    json_append(*out, type);
    g_autoptr(Json) props = type_properties_json(obj->type);
    for (size_t i = 0; i < json_length(props); i++) {
        Json *e = json_object();
        json_put_string(e, "name", json_get_str(json_at(props, i), "name"));
        json_put_string(e, "type", json_get_str(json_at(props, i), "type"));
        json_append(*out, e);
    }
    object_each_child(obj, add_child, *out);
    return true;
}

static Json *get(Object *obj, const char *name, Error **errp)
{
    if (!strcmp(name, "type")) {
        return json_string(obj->type->name);
    }
    g_autofree char *prefix = g_strdup_printf("%s", name);
    Object *child = obj->children ? g_hash_table_lookup(obj->children, prefix) : NULL;
    if (child) {
        g_autofree char *path = object_path(child);
        return json_string(path);
    }
    return object_get(obj, name, errp);
}

bool qmp_qom_get(Object *root, const char *path, const char *property, Json **out, Error **errp)
{
    Object *obj = resolve(root, path, errp);
    *out = obj ? get(obj, property, errp) : NULL;
    return *out != NULL;
}

bool qmp_qom_set(Object *root, const char *path, const char *property, const Json *value,
                 Error **errp)
{
    Object *obj = resolve(root, path, errp);
    return obj && object_set(obj, property, value, errp);
}

bool qmp_qom_list_get(Object *root, GPtrArray *paths, GPtrArray **out, Error **errp)
{
    *out = g_ptr_array_new();
    for (unsigned i = 0; i < paths->len; i++) {
        Object *obj = resolve(root, paths->pdata[i], errp);
        if (!obj) {
            qapi_array_free(&QObjectPropertiesValues_type, *out);
            *out = NULL;
            return false;
        }
        QObjectPropertiesValues *v = g_new0(QObjectPropertiesValues, 1);
        v->properties = g_ptr_array_new();
        g_autoptr(Json) props = type_properties_json(obj->type);
        for (size_t k = 0; k < json_length(props); k++) {
            QObjectPropertyValue *p = g_new0(QObjectPropertyValue, 1);
            p->name = g_strdup(json_get_str(json_at(props, k), "name"));
            p->type = g_strdup(json_get_str(json_at(props, k), "type"));
            p->value = object_get(obj, p->name, NULL);
            g_ptr_array_add(v->properties, p);
        }
        g_ptr_array_add(*out, v);
    }
    return true;
}

bool qmp_qom_list_types(Object *root, const char *implements, bool has_abstract, bool abstract,
                        GPtrArray **out, Error **errp)
{
    g_autofree const TypeInfo **types =
        type_list(implements ? implements : "object", has_abstract && abstract);
    *out = g_ptr_array_new();
    for (unsigned i = 0; types && types[i]; i++) {
        QObjectTypeInfo *t = g_new0(QObjectTypeInfo, 1);
        t->name = g_strdup(types[i]->name);
        t->parent = g_strdup(types[i]->parent);
        t->has_abstract = t->abstract = types[i]->abstract;
        g_ptr_array_add(*out, t);
    }
    return true;
}

static const TypeInfo *find_type(const char *name, const char *base, Error **errp)
{
    const TypeInfo *t = type_find(name);
    if (!t || (base && !type_is_a(t, base))) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND,
                        base ? "Parameter 'typename' expects a device type, not '%s'"
                             : "Class '%s' not found",
                        name);
        return NULL;
    }
    return t;
}

bool qmp_qom_list_properties(Object *root, const char *typename, Json **out, Error **errp)
{
    const TypeInfo *t = find_type(typename, NULL, errp);
    *out = t ? type_properties_json(t) : NULL;
    return t != NULL;
}

bool qmp_device_list_properties(Object *root, const char *typename, Json **out, Error **errp)
{
    const TypeInfo *t = find_type(typename, "device", errp);
    if (t && t->abstract) {
        error_set(errp, "Parameter 'typename' expects a non-abstract device type");
        return false;
    }
    *out = t ? type_properties_json(t) : NULL;
    return t != NULL;
}

/* ---- objects of users ---- */
static const char *nearest_creatable(const char *name)
{
    g_autofree const TypeInfo **types = type_list("object", false);
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (unsigned i = 0; types[i]; i++) {
        if (types[i]->user_creatable) {
            g_ptr_array_add(names, (gpointer)types[i]->name);
        }
    }
    g_ptr_array_add(names, NULL);
    return nearest_word(name, (const char *const *)names->pdata);
}

const TypeInfo *object_type_for_users(const char *name, Error **errp)
{
    const TypeInfo *t = type_find(name);
    if (!t || !t->user_creatable || t->abstract) {
        const char *near = nearest_creatable(name);
        error_set(errp, "There is no object type '%s'", name);
        if (near) {
            error_hint(errp, "did you mean '%s'?", near);
        }
        error_hint(errp, "'-object help' lists them");
        return NULL;
    }
    return t;
}

bool qmp_object_add(Object *root, const Json *args, Error **errp)
{
    static const char *const own[] = {"qom-type", "id", NULL};
    const char *type = json_get_str(args, "qom-type"), *id = json_get_str(args, "id");
    if (!type || !id) {
        error_set(errp, "Parameter '%s' is missing", type ? "id" : "qom-type");
        return false;
    }
    if (!object_type_for_users(type, errp)) {
        return false;
    }
    if (!parse_id(id)) {
        error_set(errp, "Parameter 'id' expects an identifier");
        return false;
    }
    Object *dir = object_container(root, "/objects");
    if (dir->children && g_hash_table_lookup(dir->children, id)) {
        error_set(errp, "attempt to add duplicate property '%s' to object (type 'container')", id);
        error_hint(errp, "the id is in use");
        return false;
    }
    Object *obj = object_new(type);
    object_set_scope(obj, root);
    if (!object_set_from(obj, args, own, NULL, errp)) {
        object_unref(obj);
        return false;
    }
    object_add_child(dir, id, obj);
    if (!object_complete(obj, errp)) {
        error_prefix(errp, "%s '%s': ", type, id);
        object_unparent(obj);
        return false;
    }
    return true;
}

static bool may_delete(Object *obj, Error **errp)
{
    for (const TypeInfo *t = obj->type; t; t = type_parent(t)) {
        if (t->may_delete && !t->may_delete(obj, errp)) {
            return false;
        }
    }
    if (__atomic_load_n(&obj->refs, __ATOMIC_SEQ_CST) > 1) {
        error_set(errp, "object '%s' is in use, can not be deleted", obj->name);
        return false;
    }
    return true;
}

bool qmp_object_del(Object *root, const char *id, Error **errp)
{
    Object *dir = object_container(root, "/objects");
    Object *obj = dir->children ? g_hash_table_lookup(dir->children, id) : NULL;
    if (!obj) {
        error_set(errp, "object '%s' not found", id);
        return false;
    }
    if (!may_delete(obj, errp)) {
        return false;
    }
    object_unparent(obj);
    return true;
}
