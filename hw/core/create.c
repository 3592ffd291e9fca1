/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices made by users: -device, device_add, and the help that goes with them.
 */
#include "hw/core/device.h"
#include "hw/core/machine.h"
#include "util/option.h"

#include <string.h>

static const char *const reserved_keys[] = {"driver", "id", "bus", NULL};

static bool user_creatable(const TypeInfo *t)
{
    const DeviceClass *k = type_class(t);

    return !t->abstract && k && k->user_creatable;
}

static const char *nearest_driver(const char *name)
{
    g_autofree const TypeInfo **types = type_list(TYPE_DEVICE, false);
    g_autoptr(GPtrArray) names = g_ptr_array_new();

    for (size_t i = 0; types[i]; i++) {
        if (user_creatable(types[i])) {
            g_ptr_array_add(names, (void *)types[i]->name);
            for (const char *const *a = types[i]->aliases; a && *a; a++) {
                g_ptr_array_add(names, (void *)*a);
            }
        }
    }
    g_ptr_array_add(names, NULL);
    return nearest_word(name, (const char *const *)names->pdata);
}

static const TypeInfo *find_driver(const char *driver, Error **errp)
{
    const TypeInfo *t = type_find(driver);

    if (!t || !type_is_a(t, TYPE_DEVICE)) {
        const char *near = nearest_driver(driver);

        error_set(errp, "'%s' is not a valid device model name%s%s%s", driver,
                  near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
        return NULL;
    }
    if (!user_creatable(t)) {
        error_set(errp, "'%s' is part of a machine and cannot be added by users", driver);
        return NULL;
    }
    return t;
}

/* A mistake in one key: underlined in the option's text if there is one. */
static bool mistake(void *text, const char *key, const char *message, Error **errp)
{
    if (text) {
        option_mistake(text, key, "%s", message);
        return option_check(text, errp);
    }
    error_set(errp, "%s", message);
    return false;
}

static bool take_string(const Json *values, const char *key, const char **out, void *text,
                        Error **errp)
{
    const Json *v = json_get(values, key);

    *out = v ? json_get_string(v) : NULL;
    if (v && !*out) {
        g_autofree char *message = g_strdup_printf("Parameter '%s' expects a string", key);

        return mistake(text, key, message, errp);
    }
    return true;
}

static Device *make(const TypeInfo *t, Machine *m, const char *id, const Json *values, void *text,
                    Error **errp)
{
    Device *dev = device_new(t->name);

    dev->user = true;
    dev->id = g_strdup(id);
    object_set_scope(&dev->obj, &m->obj);
    if (!object_set_from(&dev->obj, values, reserved_keys, text, errp)) {
        object_unref(&dev->obj);
        return NULL;
    }
    return dev;
}

bool device_check(const Json *values, void *text, Error **errp)
{
    const char *driver = json_get_str(values, "driver");
    Error *err = NULL;
    const TypeInfo *t = driver ? find_driver(driver, &err) : NULL;

    if (err) {
        mistake(text, "driver", error_message(err), errp);
        error_free(err);
        return false;
    }
    return !t || object_check_from(t, values, reserved_keys, text, errp);
}

Device *device_add(Machine *m, const Json *values, void *text, Error **errp)
{
    const char *driver, *id, *bus_id;
    const TypeInfo *t;
    const DeviceClass *k;
    Error *err = NULL;
    Bus *bus = NULL;
    Device *dev;

    if (!take_string(values, "driver", &driver, text, errp) ||
        !take_string(values, "id", &id, text, errp) ||
        !take_string(values, "bus", &bus_id, text, errp)) {
        return NULL;
    }
    if (!driver) {
        error_set(errp, "Parameter 'driver' is missing");
        return NULL;
    }
    if (id && !parse_id(id)) {
        mistake(text, "id",
                "Parameter 'id' expects an identifier: a letter, then letters, digits, '-', '.' "
                "or '_'",
                errp);
        return NULL;
    }
    t = find_driver(driver, &err);
    if (!t) {
        mistake(text, "driver", error_message(err), errp);
        error_free(err);
        return NULL;
    }
    k = type_class(t);
    if (k->bus_type || bus_id) {
        bus = bus_find(m, bus_id, k->bus_type, &err);
        if (!bus) {
            if (bus_id && text) {
                mistake(text, "bus", error_message(err), errp);
                error_free(err);
            } else {
                error_prefix(&err, "%s: ", driver);
                error_propagate(errp, err);
            }
            return NULL;
        }
    }
    dev = make(t, m, id, values, text, errp);
    if (!dev) {
        return NULL;
    }
    if (!device_realize(dev, m, bus, &err)) {
        error_prefix(&err, "%s: ", driver);
        error_propagate(errp, err);
        return NULL;
    }
    return dev;
}

/* ---- help ---- */

static const struct {
    DeviceCategory category;
    const char *title;
} categories[] = {
    {DEVICE_CATEGORY_BRIDGE, "Controller/Bridge/Hub"},
    {DEVICE_CATEGORY_USB, "USB"},
    {DEVICE_CATEGORY_STORAGE, "Storage"},
    {DEVICE_CATEGORY_NETWORK, "Network"},
    {DEVICE_CATEGORY_INPUT, "Input"},
    {DEVICE_CATEGORY_DISPLAY, "Display"},
    {DEVICE_CATEGORY_SOUND, "Sound"},
    {DEVICE_CATEGORY_MISC, "Misc"},
    {DEVICE_CATEGORY_CPU, "CPU"},
};

static void print_driver(const TypeInfo *t, GString *out)
{
    const DeviceClass *k = type_class(t);

    g_string_append_printf(out, "name \"%s\"", t->name);
    if (k->bus_type) {
        g_string_append_printf(out, ", bus %s", k->bus_type);
    }
    for (const char *const *a = t->aliases; a && *a; a++) {
        g_string_append_printf(out, ", alias \"%s\"", *a);
    }
    if (t->help) {
        g_string_append_printf(out, ", desc \"%s\"", t->help);
    }
    g_string_append_c(out, '\n');
}

static void print_all(GString *out)
{
    g_autofree const TypeInfo **types = type_list(TYPE_DEVICE, false);

    for (size_t c = 0; c < G_N_ELEMENTS(categories); c++) {
        bool any = false;

        for (size_t i = 0; types[i]; i++) {
            const DeviceClass *k = type_class(types[i]);

            if (user_creatable(types[i]) && k->category == categories[c].category) {
                if (!any) {
                    g_string_append_printf(out, "%s%s devices:\n", out->len ? "\n" : "",
                                           categories[c].title);
                }
                any = true;
                print_driver(types[i], out);
            }
        }
    }
}

static bool print_property(const Property *p, void *list)
{
    if (!p->read_only) {
        g_ptr_array_add(list, property_describe(p));
    }
    return true;
}

static int compare_lines(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

bool device_print_help(const char *driver, GString *out, Error **errp)
{
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
    const TypeInfo *t;
    const DeviceClass *k;

    if (!driver) {
        print_all(out);
        return true;
    }
    t = find_driver(driver, errp);
    if (!t) {
        return false;
    }
    k = type_class(t);
    type_each_property(t, print_property, lines);
    g_ptr_array_sort(lines, compare_lines);
    if (!lines->len) {
        g_string_append_printf(out, "There are no options for %s.\n", t->name);
        return true;
    }
    g_string_append_printf(out, "%s options:\n", t->name);
    for (guint i = 0; i < lines->len; i++) {
        g_string_append_printf(out, "%s\n", (char *)lines->pdata[i]);
    }
    if (k->bus_type) {
        g_string_append_printf(out, "It plugs into a %s bus (bus=ID).\n", k->bus_type);
    }
    return true;
}
