/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `info qtree`: buses and the devices on them, with their properties.
 */
#include "hw/core/device.h"
#include "hw/core/machine.h"

#include <inttypes.h>

typedef struct Printer {
    GString *out;
    int indent;
    Object *obj;
} Printer;

static void print_bus(Printer *p, Bus *bus);

static void line(Printer *p, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
static void line(Printer *p, const char *fmt, ...)
{
    va_list ap;

    g_string_append_printf(p->out, "%*s", p->indent, "");
    va_start(ap, fmt);
    g_string_append_vprintf(p->out, fmt, ap);
    va_end(ap);
    g_string_append_c(p->out, '\n');
}

static bool print_property(const Property *prop, void *opaque)
{
    Printer *p = opaque;
    g_autoptr(Json) v = object_get(p->obj, prop->name, NULL);
    g_autofree char *text = NULL;
    uint64_t n;

    if (!v) {
        return true;
    }
    if (json_get_uint(v, &n)) {
        line(p, "%s = %" PRIu64 " (0x%" PRIx64 ")", prop->name, n, n);
    } else {
        text = json_print(v, false);
        line(p, "%s = %s", prop->name, text);
    }
    return true;
}

static void print_device(Printer *p, Device *dev)
{
    line(p, "dev: %s, id \"%s\"", dev->obj.type->name, dev->id ? dev->id : "");
    p->indent += 2;
    p->obj = &dev->obj;
    type_each_property(dev->obj.type, print_property, p);
    if (dev->bus && bus_class(dev->bus)->device_address) {
        g_autofree char *address = bus_class(dev->bus)->device_address(dev);

        line(p, "addr %s", address);
    }
    for (GList *l = dev->child_buses; l; l = l->next) {
        print_bus(p, l->data);
    }
    p->indent -= 2;
}

static void print_bus(Printer *p, Bus *bus)
{
    line(p, "bus: %s", bus->id);
    p->indent += 2;
    line(p, "type %s", bus->obj.type->name);
    for (GList *l = bus->devices; l; l = l->next) {
        print_device(p, l->data);
    }
    p->indent -= 2;
}

static void print_without_bus(Device *dev, void *opaque)
{
    if (!dev->bus) {
        print_device(opaque, dev);
    }
}

static void print_root_bus(Bus *bus, void *opaque)
{
    if (!bus->parent) {
        print_bus(opaque, bus);
    }
}

void device_print_qtree(Machine *m, GString *out)
{
    Printer p = {.out = out};

    line(&p, "bus: main-system-bus");
    p.indent = 2;
    line(&p, "type System");
    device_each(m, print_without_bus, &p);
    p.indent = 0;
    bus_each(m, print_root_bus, &p);
}
