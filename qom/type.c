/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The type table: every TypeInfo that OBJECT_TYPE() put into the linker section.
 * An open-addressing hash over names and aliases is built at the first lookup;
 * it is constant from then on, so readers need no lock.
 */
#include "qom/internal.h"
#include "qom/object.h"

#include <string.h>

/* Weak, so that a program without any type still links. */
extern const TypeInfo *const __start_rhea_types[] __attribute__((weak));
extern const TypeInfo *const __stop_rhea_types[] __attribute__((weak));

OBJECT_TYPE(object_type, .name = "object", .help = "the root of all types", .size = sizeof(Object),
            .abstract = true)
OBJECT_TYPE(container_type, .name = "container", .parent = "object",
            .help = "holds children, does nothing itself", .size = sizeof(Object))

typedef struct TypeSlot {
    const char *name; /* NULL: free */
    const TypeInfo *type;
} TypeSlot;

typedef struct TypeTable {
    TypeSlot *slots;
    size_t mask;
    const TypeInfo **sorted; /* every type once, by name */
    size_t n;
} TypeTable;

static uint32_t type_hash(const char *s)
{
    uint32_t h = 2166136261u;

    for (; *s; s++) {
        h = (h ^ (uint8_t)*s) * 16777619u;
    }
    return h ^ (h >> 15);
}

static TypeSlot *table_slot(const TypeTable *t, const char *name)
{
    size_t i = type_hash(name) & t->mask;

    while (t->slots[i].name && strcmp(t->slots[i].name, name) != 0) {
        i = (i + 1) & t->mask;
    }
    return &t->slots[i];
}

static void table_put(TypeTable *t, const char *name, const TypeInfo *type)
{
    TypeSlot *slot = table_slot(t, name);

    if (slot->name && slot->type != type) {
        g_error("two types are called '%s'", name);
    }
    slot->name = name;
    slot->type = type;
}

static int compare_types(const void *a, const void *b)
{
    const TypeInfo *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

static gpointer table_build(gpointer unused)
{
    TypeTable *t = g_new0(TypeTable, 1);
    size_t names = 0, size = 64;

    for (const TypeInfo *const *p = __start_rhea_types; p < __stop_rhea_types; p++) {
        names++;
        for (const char *const *a = (*p)->aliases; a && *a; a++) {
            names++;
        }
        t->n++;
    }
    while (size < names * 2) {
        size *= 2;
    }
    t->slots = g_new0(TypeSlot, size);
    t->mask = size - 1;
    t->sorted = g_new(const TypeInfo *, t->n + 1);
    t->n = 0;
    for (const TypeInfo *const *p = __start_rhea_types; p < __stop_rhea_types; p++) {
        t->sorted[t->n++] = *p;
        table_put(t, (*p)->name, *p);
        for (const char *const *a = (*p)->aliases; a && *a; a++) {
            table_put(t, *a, *p);
        }
    }
    qsort(t->sorted, t->n, sizeof(*t->sorted), compare_types);
    return t;
}

static const TypeTable *type_table(void)
{
    static GOnce once = G_ONCE_INIT;

    return g_once(&once, table_build, NULL);
}

const TypeInfo *type_find(const char *name)
{
    return name ? table_slot(type_table(), name)->type : NULL;
}

const TypeInfo *type_parent(const TypeInfo *t)
{
    const TypeInfo *parent = NULL;

    if (t->parent) {
        parent = type_find(t->parent);
        if (!parent) {
            g_error("type '%s' has the unknown parent '%s'", t->name, t->parent);
        }
    }
    return parent;
}

bool type_is_a(const TypeInfo *t, const char *base)
{
    const TypeInfo *b;

    for (const TypeInfo *p = t; p; p = type_parent(p)) {
        if (p->name == base || strcmp(p->name, base) == 0) {
            return true;
        }
    }
    /* The base may be given by one of its aliases. */
    b = type_find(base);
    if (b && strcmp(b->name, base) != 0) {
        return type_is_a(t, b->name);
    }
    return false;
}

const TypeInfo **type_list(const char *base, bool abstract_too)
{
    const TypeTable *table = type_table();
    const TypeInfo **list = g_new(const TypeInfo *, table->n + 1);
    size_t n = 0;

    for (size_t i = 0; i < table->n; i++) {
        const TypeInfo *t = table->sorted[i];

        if ((abstract_too || !t->abstract) && type_is_a(t, base)) {
            list[n++] = t;
        }
    }
    list[n] = NULL;
    return list;
}

const void *type_class(const TypeInfo *t)
{
    while (t && !t->klass) {
        t = type_parent(t);
    }
    return t ? t->klass : NULL;
}

size_t type_instance_size(const TypeInfo *t)
{
    while (t && !t->size) {
        t = type_parent(t);
    }
    return t ? t->size : 0;
}

/* The types from the root down to `t`; returns how many. */
unsigned type_chain(const TypeInfo *t, const TypeInfo *chain[TYPE_DEPTH_MAX])
{
    unsigned n = 0;

    for (const TypeInfo *p = t; p; p = type_parent(p)) {
        if (n == TYPE_DEPTH_MAX) {
            g_error("type '%s' has more than %d ancestors, or is its own", t->name, TYPE_DEPTH_MAX);
        }
        chain[n++] = p;
    }
    for (unsigned i = 0; i < n / 2; i++) {
        const TypeInfo *swap = chain[i];

        chain[i] = chain[n - 1 - i];
        chain[n - 1 - i] = swap;
    }
    return n;
}

static const Property *own_property(const TypeInfo *t, const char *name)
{
    for (const Property *p = t->props; p && p->name; p++) {
        if (strcmp(p->name, name) == 0) {
            return p;
        }
    }
    return NULL;
}

const Property *type_property(const TypeInfo *t, const char *name)
{
    for (; t; t = type_parent(t)) {
        const Property *p = own_property(t, name);

        if (p) {
            return p;
        }
    }
    return NULL;
}

bool type_each_property(const TypeInfo *t, bool (*fn)(const Property *p, void *opaque),
                        void *opaque)
{
    const TypeInfo *chain[TYPE_DEPTH_MAX];
    unsigned n = type_chain(t, chain);

    for (unsigned i = 0; i < n; i++) {
        for (const Property *p = chain[i]->props; p && p->name; p++) {
            if (type_property(t, p->name) == p && !fn(p, opaque)) {
                return false;
            }
        }
    }
    return true;
}
