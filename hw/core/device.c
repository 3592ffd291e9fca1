/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices: realize and its exact undoing, reset, unplug.
 */
#include "hw/core/device.h"

#include "hw/core/machine.h"
#include "util/fault.h"

#include <assert.h>
#include <string.h>

/* ---- the base type ---- */

static void device_init(Object *obj)
{
    Device *dev = (Device *)obj;

    dev->owner.name = obj->type->name;
    dev->bootindex = -1;
    /* A vCPU that waits for the loop's lock may still hold a pointer into us. */
    obj->rcu_free = true;
}

static void device_finalize(Object *obj)
{
    Device *dev = (Device *)obj;

    assert(!dev->realized && !dev->child_buses);
    g_clear_pointer(&dev->id, g_free);
}

OBJECT_TYPE(device_type, .name = TYPE_DEVICE, .parent = "object", .help = "a device",
            .size = sizeof(Device), .abstract = true, .init = device_init,
            .finalize = device_finalize)

Device *device_new(const char *type)
{
    return DEVICE(object_new(type));
}

Device *device_parent(const Device *dev)
{
    return dev->bus ? dev->bus->parent : NULL;
}

char *device_describe(const Device *dev)
{
    GString *s = g_string_new(dev->obj.type->name);

    if (dev->bus && bus_class(dev->bus)->device_address) {
        g_autofree char *address = bus_class(dev->bus)->device_address(dev);

        g_string_append_printf(s, " at %s", address);
    }
    if (dev->id) {
        g_string_append_printf(s, " (id %s)", dev->id);
    }
    return g_string_free(s, FALSE);
}

/* ---- the place in the tree ---- */

static bool put_into_tree(Device *dev, Machine *m, Error **errp)
{
    Object *box;
    g_autofree char *name = NULL;

    if (dev->id) {
        box = object_container(&m->obj, "peripheral");
        if (box->children && g_hash_table_contains(box->children, dev->id)) {
            error_set(errp, "Duplicate device ID '%s'", dev->id);
            return false;
        }
        name = g_strdup(dev->id);
    } else {
        box = object_container(&m->obj, dev->user ? "peripheral-anon" : "unattached");
        for (unsigned n = box->child_order ? box->child_order->len : 0;; n++) {
            name = g_strdup_printf("device[%u]", n);
            if (!box->children || !g_hash_table_contains(box->children, name)) {
                break;
            }
            g_free(name);
        }
    }
    object_add_child(box, name, &dev->obj);
    return true;
}

/* ---- realize ---- */

static bool check_place(Device *dev, Machine *m, Bus *bus, Error **errp)
{
    const DeviceClass *k = device_class(dev);
    const char *type = dev->obj.type->name;
    unsigned max = bus ? bus_class(bus)->max_devices : 0;

    if (k->bus_type && !bus) {
        error_set(errp, "%s needs a %s bus", type, k->bus_type);
        return false;
    }
    if (bus && (!k->bus_type || !object_is_a(&bus->obj, k->bus_type))) {
        error_set(errp, "Device '%s' can't go on %s bus", type, bus->obj.type->name);
        return false;
    }
    if (bus && (bus->full || (max && g_list_length(bus->devices) >= max))) {
        error_set(errp, "Bus '%s' is full", bus->id);
        return false;
    }
    if (m->ready && dev->user && (k->not_hotpluggable || !bus)) {
        error_set(errp, "Device '%s' does not support hotplugging", type);
        return false;
    }
    if (m->ready && dev->user && !bus->hotpluggable) {
        error_set(errp, "Bus '%s' does not support hotplugging", bus->id);
        return false;
    }
    return true;
}

static bool apply_globals(Device *dev, Machine *m, Error **errp)
{
    for (guint i = 0; m->globals && i < m->globals->len; i++) {
        GlobalProperty *g = m->globals->pdata[i];

        if (!type_is_a(dev->obj.type, g->driver)) {
            continue;
        }
        g->used = true;
        /* A later global for the same property wins over an earlier one. */
        if (object_was_set(&dev->obj, g->property) &&
            !(dev->globals &&
              g_ptr_array_find_with_equal_func(dev->globals, g->property, g_str_equal, NULL))) {
            continue;
        }
        if (!object_set_string(&dev->obj, g->property, g->value, errp)) {
            error_prefix(errp, "-global %s.%s=%s: ", g->driver, g->property, g->value);
            return false;
        }
        if (!dev->globals) {
            dev->globals = g_ptr_array_new();
        }
        g_ptr_array_add(dev->globals, g->property);
    }
    return true;
}

static void list_boot_device(Device *dev, Machine *m, bool on)
{
    if (!m->boot_devices || !type_property(dev->obj.type, "bootindex")) {
        return;
    }
    if (on) {
        g_ptr_array_add(m->boot_devices, dev);
    } else {
        g_ptr_array_remove(m->boot_devices, dev);
    }
}

static bool check_bootindex(Device *dev, Machine *m, Error **errp)
{
    for (guint i = 0; dev->bootindex >= 0 && m->boot_devices && i < m->boot_devices->len; i++) {
        Device *other = m->boot_devices->pdata[i];

        if (other != dev && other->bootindex == dev->bootindex) {
            g_autofree char *who = device_describe(other);

            error_set(errp, "The bootindex %d has already been used, by %s", dev->bootindex, who);
            return false;
        }
    }
    return true;
}

static void leave_bus(Device *dev)
{
    Bus *bus = dev->bus;

    if (bus) {
        bus->devices = g_list_remove(bus->devices, dev);
        if (bus_class(bus)->release) {
            bus_class(bus)->release(bus, dev);
        }
    }
}

static bool enter_bus(Device *dev, Error **errp)
{
    Bus *bus = dev->bus;

    if (bus) {
        if (bus_class(bus)->prepare && !bus_class(bus)->prepare(bus, dev, errp)) {
            return false;
        }
        bus->devices = g_list_append(bus->devices, dev);
    }
    if (fault_here("entering the bus", errp)) {
        leave_bus(dev);
        return false;
    }
    return true;
}

/* Everything that unrealize does except leaving the tree. */
static void stop_device(Device *dev)
{
    const DeviceClass *k = device_class(dev);

    for (GList *l = dev->child_buses; l; l = l->next) {
        Bus *bus = l->data;

        while (bus->devices) {
            device_unrealize(g_list_last(bus->devices)->data);
        }
    }
    list_boot_device(dev, dev->machine, false);
    if (dev->bus && bus_class(dev->bus)->detach) {
        bus_class(dev->bus)->detach(dev->bus, dev);
    }
    dev->realized = false;
    if (k->unrealize) {
        k->unrealize(dev);
    }
    leave_bus(dev);
    dev->obj.completed = false;
}

/* The device is in the tree; on failure it has left its bus again. */
static bool start_device(Device *dev, Error **errp)
{
    const DeviceClass *k = device_class(dev);
    Bus *bus = dev->bus;

    if (!apply_globals(dev, dev->machine, errp) || !check_bootindex(dev, dev->machine, errp) ||
        !enter_bus(dev, errp)) {
        return false;
    }
    if (k->realize && !k->realize(dev, errp)) {
        leave_bus(dev);
        return false;
    }
    dev->realized = true;
    dev->obj.completed = true;
    list_boot_device(dev, dev->machine, true);
    if (k->reset) {
        k->reset(dev);
    }
    if (fault_here("plugging", errp) ||
        (bus && bus_class(bus)->plugged && !bus_class(bus)->plugged(bus, dev, errp))) {
        stop_device(dev);
        return false;
    }
    return true;
}

static void attach(Device *dev, Machine *m, Bus *bus)
{
    dev->machine = m;
    dev->bus = bus;
    dev->hotplugged = m->ready && dev->user;
    if (!dev->owner.loop) {
        dev->owner.loop = m->platform;
    }
}

static void lock_platform(Machine *m)
{
    if (m->platform) {
        loop_lock(m->platform);
        loop_allow_long(m->platform); /* making and unmaking devices is slow */
    }
}

static void unlock_platform(Machine *m)
{
    if (m->platform) {
        loop_unlock(m->platform);
    }
}

static void forget_globals(Device *dev)
{
    if (dev->globals) {
        g_ptr_array_free(g_steal_pointer(&dev->globals), TRUE);
    }
}

/* `parent` NULL: where devices of the user's, or the machine's, lie in the tree. */
static bool realize_below(Device *dev, Machine *m, Bus *bus, Device *parent, const char *name,
                          Error **errp)
{
    bool ok;

    lock_platform(m);
    attach(dev, m, bus);
    if (!check_place(dev, m, bus, errp) || (!parent && !put_into_tree(dev, m, errp))) {
        dev->bus = NULL;
        object_unref(&dev->obj);
        unlock_platform(m);
        return false;
    }
    if (parent) {
        object_add_child(&parent->obj, name, &dev->obj);
    }
    ok = start_device(dev, errp);
    forget_globals(dev);
    if (!ok) {
        dev->bus = NULL;
        object_unparent(&dev->obj);
    }
    unlock_platform(m);
    return ok;
}

bool device_realize(Device *dev, Machine *m, Bus *bus, Error **errp)
{
    assert(!dev->realized);
    return realize_below(dev, m, bus, NULL, NULL, errp);
}

bool device_realize_child(Device *dev, Device *parent, const char *name, Bus *bus, Error **errp)
{
    return realize_below(dev, parent->machine, bus, parent, name, errp);
}

void device_unrealize(Device *dev)
{
    Machine *m = dev->machine;

    assert(dev->realized);
    lock_platform(m);
    stop_device(dev);
    dev->bus = NULL;
    object_unparent(&dev->obj);
    unlock_platform(m);
}

/* ---- reset ---- */

static void reset_bus(Bus *bus)
{
    if (bus_class(bus)->reset) {
        bus_class(bus)->reset(bus);
    }
    for (GList *l = bus->devices; l; l = l->next) {
        device_reset(l->data);
    }
}

void device_reset(Device *dev)
{
    if (dev->realized && device_class(dev)->reset) {
        EventLoop *loop = dev->owner.loop; /* its own, if it is on an I/O thread */
        if (loop) {
            loop_lock(loop);
        }
        device_class(dev)->reset(dev);
        if (loop) {
            loop_unlock(loop);
        }
    }
    for (GList *l = dev->child_buses; l; l = l->next) {
        reset_bus(l->data);
    }
}

static void reset_root(Device *dev, void *opaque)
{
    /* Those on buses are reached from their controllers. */
    if (!dev->bus) {
        device_reset(dev);
    }
}

static void reset_root_bus(Bus *bus, void *opaque)
{
    if (!bus->parent) {
        reset_bus(bus);
    }
}

void machine_reset_devices(Machine *m)
{
    device_each(m, reset_root, NULL);
    bus_each(m, reset_root_bus, NULL);
}

static void gather(Device *dev, void *list)
{
    g_ptr_array_add(list, object_ref(&dev->obj));
}

void machine_unrealize_all(Machine *m)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func((GDestroyNotify)object_unref);

    lock_platform(m);
    device_each(m, gather, all);
    for (guint i = all->len; i-- > 0;) {
        Device *dev = all->pdata[i];

        /* Parts go with the whole: only what the machine itself or the user made. */
        if (dev->realized && !(dev->obj.parent && object_is_a(dev->obj.parent, TYPE_DEVICE))) {
            device_unrealize(dev);
        }
    }
    unlock_platform(m);
}

/* ---- unplug ---- */

bool device_unplug(Device *dev, Error **errp)
{
    const DeviceClass *k = device_class(dev);
    Bus *bus = dev->bus;
    bool ok;

    if (!bus || !bus->hotpluggable) {
        if (bus) {
            error_set(errp, "Bus '%s' does not support hotplugging", bus->id);
        } else {
            error_set(errp, "Device '%s' does not support hotplugging", dev->obj.type->name);
        }
        return false;
    }
    if (k->not_hotpluggable) {
        error_set(errp, "Device '%s' does not support hotplugging", dev->obj.type->name);
        return false;
    }
    if (!bus_class(bus)->unplug_request) {
        device_unrealize(dev);
        return true;
    }
    lock_platform(dev->machine);
    ok = bus_class(bus)->unplug_request(bus, dev, errp);
    unlock_platform(dev->machine);
    return ok;
}

Device *device_find(Machine *m, const char *id, Error **errp)
{
    g_autofree char *path = id[0] == '/' ? g_strdup(id) : NULL;
    Object *box, *obj = NULL;

    if (path) {
        obj = object_resolve(&m->obj, path);
    } else {
        box = object_container(&m->obj, "peripheral");
        obj = box->children ? g_hash_table_lookup(box->children, id) : NULL;
    }
    if (!obj || !object_is_a(obj, TYPE_DEVICE)) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", id);
        return NULL;
    }
    return (Device *)obj;
}

/* ---- firmware ---- */

static char *fw_element(Device *dev)
{
    const DeviceClass *k = device_class(dev);

    if (k->fw_name) {
        return k->fw_name(dev);
    }
    if (dev->bus && bus_class(dev->bus)->fw_path) {
        return bus_class(dev->bus)->fw_path(dev);
    }
    return NULL;
}

char *device_fw_path(Device *dev)
{
    g_autofree char *own = fw_element(dev);
    GString *s;

    if (!own) {
        return NULL;
    }
    s = g_string_new(own);
    g_string_prepend_c(s, '/');
    for (Device *up = device_parent(dev); up; up = device_parent(up)) {
        g_autofree char *element = fw_element(up);

        if (element) {
            g_string_prepend(s, element);
            g_string_prepend_c(s, '/');
        }
    }
    return g_string_free(s, FALSE);
}
