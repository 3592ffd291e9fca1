/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Objects: life and the composition tree.
 */
#include "qom/object.h"

#include "qom/internal.h"
#include "util/bits.h"
#include "util/rcu.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Instances may hold vector registers or lock words: keep them on a cache line of their own. */
#define OBJECT_ALIGN 64

/* ---- life ---- */

static void object_start(Object *obj, const TypeInfo *type)
{
    const TypeInfo *chain[TYPE_DEPTH_MAX];
    unsigned n = type_chain(type, chain);

    obj->type = type;
    obj->refs = 1;
    for (unsigned i = 0; i < n; i++) {
        property_init_defaults(obj, chain[i]);
        if (chain[i]->init) {
            chain[i]->init(obj);
        }
    }
}

static Object *object_make(const TypeInfo *type)
{
    size_t size = ALIGN_UP(type_instance_size(type), OBJECT_ALIGN);
    Object *obj = aligned_alloc(OBJECT_ALIGN, size);

    if (!obj) {
        g_error("out of memory for an object of type '%s'", type->name);
    }
    memset(obj, 0, size);
    object_start(obj, type);
    return obj;
}

Object *object_new(const char *name)
{
    const TypeInfo *type = type_find(name);

    if (!type || type->abstract) {
        g_error("object_new: '%s' is no concrete type", name);
    }
    return object_make(type);
}

static const char *nearest_type(const char *name, const char *base)
{
    g_autofree const TypeInfo **types = type_list(base, false);
    g_autoptr(GPtrArray) names = g_ptr_array_new();

    for (size_t i = 0; types[i]; i++) {
        g_ptr_array_add(names, (void *)types[i]->name);
        for (const char *const *a = types[i]->aliases; a && *a; a++) {
            g_ptr_array_add(names, (void *)*a);
        }
    }
    g_ptr_array_add(names, NULL);
    return nearest_word(name, (const char *const *)names->pdata);
}

Object *object_try_new(const char *name, const char *base, Error **errp)
{
    const TypeInfo *type = type_find(name);

    if (!type || !type_is_a(type, base)) {
        const char *near = nearest_type(name, base);

        error_set(errp, "'%s' is not a valid %s type%s%s%s", name, base,
                  near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
        return NULL;
    }
    if (type->abstract) {
        error_set(errp, "'%s' is an abstract %s type and cannot be made itself", name, base);
        return NULL;
    }
    return object_make(type);
}

void object_init_at(Object *obj, size_t size, const char *name)
{
    const TypeInfo *type = type_find(name);

    if (!type || type->abstract || type_instance_size(type) > size) {
        g_error("object_init_at: '%s' is no concrete type of at most %zu bytes", name, size);
    }
    memset(obj, 0, type_instance_size(type));
    obj->embedded = true;
    object_start(obj, type);
}

Object *object_ref(Object *obj)
{
    __atomic_fetch_add(&obj->refs, 1, __ATOMIC_RELAXED);
    return obj;
}

static void object_free_children(Object *obj)
{
    while (obj->child_order && obj->child_order->len) {
        object_unparent(obj->child_order->pdata[obj->child_order->len - 1]);
    }
    g_clear_pointer(&obj->children, g_hash_table_destroy);
    if (obj->child_order) {
        g_ptr_array_free(g_steal_pointer(&obj->child_order), TRUE);
    }
}

typedef struct Grave {
    RcuHead rcu;
    Object *obj;
} Grave;

static void bury(RcuHead *head)
{
    Grave *grave = container_of(head, Grave, rcu);

    free(grave->obj);
    g_free(grave);
}

static void object_end(Object *obj)
{
    const TypeInfo *chain[TYPE_DEPTH_MAX];
    unsigned n = type_chain(obj->type, chain);

    assert(!obj->parent);
    object_free_children(obj);
    while (n-- > 0) {
        if (chain[n]->finalize) {
            chain[n]->finalize(obj);
        }
        property_release(obj, chain[n]);
    }
    g_clear_pointer(&obj->name, g_free);
    if (obj->was_set) {
        g_ptr_array_free(g_steal_pointer(&obj->was_set), TRUE);
    }
    if (obj->rcu_free && !obj->embedded) {
        Grave *grave = g_new(Grave, 1);

        grave->obj = obj;
        rcu_call(&grave->rcu, bury);
    } else if (!obj->embedded) {
        free(obj);
    }
}

void object_unref(Object *obj)
{
    int before;

    if (!obj) {
        return;
    }
    before = __atomic_fetch_sub(&obj->refs, 1, __ATOMIC_ACQ_REL);
    assert(before > 0);
    if (before == 1) {
        object_end(obj);
    }
}

bool object_complete(Object *obj, Error **errp)
{
    const TypeInfo *chain[TYPE_DEPTH_MAX];
    unsigned n = type_chain(obj->type, chain);

    if (obj->completed) {
        return true;
    }
    for (unsigned i = 0; i < n; i++) {
        if (chain[i]->complete && !chain[i]->complete(obj, errp)) {
            return false;
        }
    }
    obj->completed = true;
    return true;
}

void object_set_scope(Object *obj, Object *in_tree)
{
    obj->scope = in_tree;
}

Object *object_scope(Object *obj)
{
    Object *root = object_root(obj);

    return root->scope ? object_root(root->scope) : root;
}

/* ---- tree ---- */

void object_add_child(Object *parent, const char *name, Object *child)
{
    assert(!child->parent && !strchr(name, '/'));
    if (!parent->children) {
        parent->children = g_hash_table_new(g_str_hash, g_str_equal);
        parent->child_order = g_ptr_array_new();
    }
    if (g_hash_table_contains(parent->children, name)) {
        g_error("object_add_child: the name '%s' is taken", name);
    }
    g_free(child->name);
    child->name = g_strdup(name);
    child->parent = parent;
    child->scope = NULL;
    g_hash_table_insert(parent->children, child->name, child);
    g_ptr_array_add(parent->child_order, child);
}

void object_unparent(Object *child)
{
    Object *parent = child->parent;

    if (!parent) {
        return;
    }
    g_hash_table_remove(parent->children, child->name);
    g_ptr_array_remove(parent->child_order, child);
    child->parent = NULL;
    g_clear_pointer(&child->name, g_free);
    object_unref(child);
}

Object *object_root(Object *obj)
{
    while (obj->parent) {
        obj = obj->parent;
    }
    return obj;
}

static Object *object_child(Object *obj, const char *name)
{
    Object *child = obj->children ? g_hash_table_lookup(obj->children, name) : NULL;
    const Property *p;

    if (!child) {
        p = type_property(obj->type, name);
        if (p && p->kind == PROP_LINK) {
            child = *(Object **)((char *)obj + p->offset);
        }
    }
    return child;
}

static Object *walk_path(Object *obj, const char *path)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);

    for (char **part = parts; *part && obj; part++) {
        if (**part) {
            obj = object_child(obj, *part);
        }
    }
    return obj;
}

/* Counts objects called `name` at or below `obj`; `found` gets the last one. */
static unsigned find_by_name(Object *obj, const char *name, Object **found)
{
    unsigned n = 0;

    for (guint i = 0; obj->child_order && i < obj->child_order->len; i++) {
        Object *child = obj->child_order->pdata[i];

        if (strcmp(child->name, name) == 0) {
            *found = child;
            n++;
        }
        n += find_by_name(child, name, found);
    }
    return n;
}

Object *object_resolve(Object *from, const char *path)
{
    Object *found = NULL;

    if (path[0] == '/') {
        return walk_path(object_scope(from), path);
    }
    if (!*path) {
        return NULL;
    }
    found = walk_path(from, path);
    if (!found && !strchr(path, '/') && find_by_name(object_scope(from), path, &found) != 1) {
        found = NULL;
    }
    return found;
}

Object *object_container(Object *root, const char *path)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);

    for (char **part = parts; *part; part++) {
        Object *child;

        if (!**part) {
            continue;
        }
        child = root->children ? g_hash_table_lookup(root->children, *part) : NULL;
        if (!child) {
            child = object_new("container");
            object_add_child(root, *part, child);
        }
        root = child;
    }
    return root;
}

char *object_path(const Object *obj)
{
    GString *s = g_string_new(NULL);

    for (; obj->parent; obj = obj->parent) {
        g_string_prepend(s, obj->name);
        g_string_prepend_c(s, '/');
    }
    if (!s->len) {
        g_string_append_c(s, '/');
    }
    return g_string_free(s, FALSE);
}

bool object_each_child(Object *obj, bool (*fn)(Object *child, void *opaque), void *opaque)
{
    g_autoptr(GPtrArray) now = NULL;
    bool go_on = true;

    if (!obj->child_order || !obj->child_order->len) {
        return true;
    }
    /* A copy with references: fn may add and remove children. */
    now = g_ptr_array_new_with_free_func((GDestroyNotify)object_unref);
    for (guint i = 0; i < obj->child_order->len; i++) {
        g_ptr_array_add(now, object_ref(obj->child_order->pdata[i]));
    }
    for (guint i = 0; i < now->len && go_on; i++) {
        Object *child = now->pdata[i];

        go_on = child->parent != obj || fn(child, opaque);
    }
    return go_on;
}

bool object_is_a(const Object *obj, const char *type)
{
    return type_is_a(obj->type, type);
}

const void *object_class(const Object *obj)
{
    return type_class(obj->type);
}

void *object_cast(const void *obj, const char *type)
{
    if (obj && !object_is_a(obj, type)) {
        g_error("object of type '%s' is not a '%s'", ((const Object *)obj)->type->name, type);
    }
    return (void *)obj;
}
