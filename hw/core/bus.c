/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Buses: their place in the tree, how they are found, and what walks over all
 * devices of a machine.
 */
#include "hw/core/device.h"
#include "hw/core/machine.h"

#include <assert.h>
#include <string.h>

/* ---- walking ---- */

typedef struct Walk {
    void (*device)(Device *dev, void *opaque);
    void (*bus)(Bus *bus, void *opaque);
    void *opaque;
    GHashTable *seen;
} Walk;

static void walk_device(Walk *w, Device *dev);

static void walk_bus(Walk *w, Bus *bus)
{
    if (!g_hash_table_add(w->seen, bus)) {
        return;
    }
    if (w->bus) {
        w->bus(bus, w->opaque);
    }
    for (GList *l = bus->devices, *next; l; l = next) {
        next = l->next;
        walk_device(w, l->data);
    }
}

/* Devices without a bus that are part of `obj`, and the buses no device has. */
static bool walk_child(Object *obj, void *opaque)
{
    Walk *w = opaque;

    if (object_is_a(obj, TYPE_DEVICE)) {
        Device *dev = (Device *)obj;

        if (!dev->bus) {
            walk_device(w, dev);
        }
    } else if (object_is_a(obj, TYPE_BUS)) {
        if (!((Bus *)obj)->parent) {
            walk_bus(w, (Bus *)obj);
        }
    } else {
        object_each_child(obj, walk_child, w);
    }
    return true;
}

static void walk_device(Walk *w, Device *dev)
{
    if (!g_hash_table_add(w->seen, dev)) {
        return;
    }
    if (w->device && dev->realized) {
        w->device(dev, w->opaque);
    }
    for (GList *l = dev->child_buses, *next; l; l = next) {
        next = l->next;
        walk_bus(w, l->data);
    }
    object_each_child(&dev->obj, walk_child, w);
}

static void walk(Machine *m, Walk *w)
{
    w->seen = g_hash_table_new(NULL, NULL);
    object_each_child(&m->obj, walk_child, w);
    g_hash_table_destroy(w->seen);
}

void device_each(Machine *m, void (*fn)(Device *dev, void *opaque), void *opaque)
{
    Walk w = {.device = fn, .opaque = opaque};

    walk(m, &w);
}

void bus_each(Machine *m, void (*fn)(Bus *bus, void *opaque), void *opaque)
{
    Walk w = {.bus = fn, .opaque = opaque};

    walk(m, &w);
}

/* ---- life ---- */

typedef struct Search {
    const char *id, *type;
    Bus *found, *full; /* the first with room, the first without */
    GString *names;
} Search;

static bool bus_has_room(const Bus *bus)
{
    unsigned max = bus_class(bus)->max_devices;

    return !bus->full && (!max || g_list_length(bus->devices) < max);
}

static void search_id(Bus *bus, void *opaque)
{
    Search *s = opaque;

    if (!s->found && strcmp(bus->id, s->id) == 0) {
        s->found = bus;
    }
    g_string_append_printf(s->names, "%s%s", s->names->len ? ", " : "", bus->id);
}

static void search_type(Bus *bus, void *opaque)
{
    Search *s = opaque;

    if (object_is_a(&bus->obj, s->type)) {
        if (!s->found && bus_has_room(bus)) {
            s->found = bus;
        } else if (!s->full) {
            s->full = bus;
        }
    }
}

static Bus *find_id(Machine *m, const char *id, GString *names)
{
    Search s = {.id = id, .names = names};

    bus_each(m, search_id, &s);
    return s.found;
}

/* "pci.0": the type's name in small letters and the first free number. */
static char *make_id(Machine *m, const char *type)
{
    g_autofree char *lower = g_ascii_strdown(type, -1);
    g_autoptr(GString) names = g_string_new(NULL);

    for (unsigned n = 0;; n++) {
        char *id = g_strdup_printf("%s.%u", lower, n);

        if (!find_id(m, id, names)) {
            return id;
        }
        g_free(id);
    }
}

static char *free_child_name(Object *parent, const char *wish)
{
    char *name = g_strdup(wish);

    for (unsigned n = 1; parent->children && g_hash_table_contains(parent->children, name); n++) {
        g_free(name);
        name = g_strdup_printf("%s[%u]", wish, n);
    }
    return name;
}

void bus_init(Bus *bus, size_t size, const char *type, Device *parent, Machine *m, const char *id)
{
    Object *above = parent ? &parent->obj : &m->obj;
    g_autofree char *name = NULL;

    object_init_at(&bus->obj, size, type);
    bus->id = id ? g_strdup(id) : make_id(m, type);
    bus->parent = parent;
    bus->machine = m;
    if (parent) {
        parent->child_buses = g_list_append(parent->child_buses, bus);
    }
    name = free_child_name(above, bus->id);
    object_add_child(above, name, &bus->obj);
}

void bus_fini(Bus *bus)
{
    if (!bus->machine) {
        return;
    }
    while (bus->devices) {
        device_unrealize(g_list_last(bus->devices)->data);
    }
    if (bus->parent) {
        bus->parent->child_buses = g_list_remove(bus->parent->child_buses, bus);
    }
    bus->machine = NULL;
    object_unparent(&bus->obj);
}

static void bus_finalize(Object *obj)
{
    Bus *bus = (Bus *)obj;

    assert(!bus->devices);
    g_clear_pointer(&bus->id, g_free);
}

OBJECT_TYPE(bus_type, .name = TYPE_BUS, .parent = "object", .help = "a bus", .size = sizeof(Bus),
            .abstract = true, .finalize = bus_finalize)

/* ---- finding ---- */

Bus *bus_find(Machine *m, const char *id, const char *type, Error **errp)
{
    g_autoptr(GString) names = g_string_new(NULL);
    Search s = {.type = type};
    Bus *bus;

    if (!id) {
        bus_each(m, search_type, &s);
        if (!s.found && s.full) {
            error_set(errp, "all %s buses are full", type);
        } else if (!s.found) {
            error_set(errp, "this machine has no %s bus", type);
        }
        return s.found;
    }
    bus = find_id(m, id, names);
    if (!bus && id[0] == '/') {
        Object *obj = object_resolve(&m->obj, id);

        bus = obj && object_is_a(obj, TYPE_BUS) ? (Bus *)obj : NULL;
    }
    if (!bus) {
        error_set(errp, "Bus '%s' not found", id);
        error_hint(errp, "the buses are: %s", names->len ? names->str : "none");
    } else if (type && !object_is_a(&bus->obj, type)) {
        error_set(errp, "bus '%s' is a %s bus, not %s", id, bus->obj.type->name, type);
        bus = NULL;
    } else if (!bus_has_room(bus)) {
        error_set(errp, "Bus '%s' is full", id);
        bus = NULL;
    }
    return bus;
}
