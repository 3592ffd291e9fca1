/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/machine-fixture.h"

#include "accel/accel.h"
#include "chardev/chardev.h"

#include <dirent.h>
#include <string.h>

static void on_reset(Machine *m, ResetReason why)
{
    ((Fixture *)m->hooks_opaque)->resets++;
}

static void on_shutdown(Machine *m, ShutdownReason why, int code)
{
    ((Fixture *)m->hooks_opaque)->shutdowns++;
}

static void on_suspend(Machine *m)
{
}

static void on_wakeup(Machine *m, const char *why)
{
}

static void on_panicked(Machine *m, Json *info)
{
    json_unref(info);
}

static void on_event(Machine *m, const char *name, Json *data)
{
    json_unref(data);
}

static const MachineHooks hooks = {
    .reset = on_reset,
    .shutdown = on_shutdown,
    .suspend = on_suspend,
    .wakeup = on_wakeup,
    .panicked = on_panicked,
    .event = on_event,
};

static const char *machine_type(const char *alias)
{
    g_autofree const TypeInfo **types = type_list(TYPE_MACHINE, false);

    for (size_t i = 0; types[i]; i++) {
        const MachineClass *k = type_class(types[i]);

        if (g_strcmp0(k->alias, alias) == 0) {
            return types[i]->name;
        }
    }
    g_error("no machine type '%s'", alias);
}

Fixture *fixture_new(const char *type, uint64_t ram, Error **errp)
{
    Fixture *f = g_new0(Fixture, 1);
    const MachineClass *k;
    bool ok;

    f->root = object_new("container");
    f->clocks = clock_set_new();
    clock_virtual_manual(f->clocks, true);
    f->control = loop_new("control", f->clocks, NULL);
    f->platform = loop_new("platform", f->clocks, NULL);
    f->memsys = memory_system_new();
    f->ui = ui_new(f->control);
    f->block = block_graph_new(f->root, f->platform);
    f->accel = accel_new("qtest", NULL);
    f->accel->clocks = f->clocks;
    accel_class(f->accel)->create(f->accel, f->memsys, NULL);

    f->m = MACHINE(object_new(machine_type(type)));
    f->m->clocks = f->clocks;
    f->m->control = f->control;
    f->m->platform = f->platform;
    f->m->memsys = f->memsys;
    f->m->accel = f->accel;
    f->m->ui = f->ui;
    f->m->block = f->block;
    f->m->hooks = &hooks;
    f->m->hooks_opaque = f;
    f->m->ram_size = ram;
    f->m->nodefaults = true;
    f->m->rtc_clock = CLOCK_VIRTUAL; /* nothing may depend on when the test runs */
    f->m->vga = g_strdup("none");
    object_add_child(f->root, "machine", &f->m->obj);
    k = machine_class(f->m);
    loop_lock(f->platform);
    ok = k->init(f->m, errp) && (!k->done || k->done(f->m, errp));
    loop_unlock(f->platform);
    if (!ok) {
        fixture_free(f);
        return NULL;
    }
    return f;
}

void fixture_free(Fixture *f)
{
    loop_lock(f->platform);
    machine_unrealize_all(f->m);
    loop_unlock(f->platform);
    fixture_settle(f);
    object_unparent(&f->m->obj);
    block_graph_free(f->block);
    ui_free(f->ui);
    object_unref(&f->accel->obj);
    object_unref(f->root);
    rcu_barrier();
    memory_system_free(f->memsys);
    loop_free(f->platform);
    loop_free(f->control);
    clock_set_free(f->clocks);
    rcu_barrier();
    g_free(f);
}

static void add_drive(Fixture *f, Json *options)
{
    g_autofree char *name = g_strdup_printf("node%u", f->backends++);
    g_autoptr(Json) node = json_parse("{'driver': 'null-co', 'size': 67108864, "
                                      "'read-zeroes': true}",
                                      NULL);
    Error *err = NULL;

    json_put_string(node, "node-name", name);
    if (!block_open(f->block, node, &err)) {
        g_error("%s", error_message(err));
    }
    json_put_string(options, "drive", name);
}

static void add_chardev(Fixture *f, Json *options)
{
    g_autofree char *name = g_strdup_printf("char%u", f->backends++);
    g_autoptr(Json) what = json_parse("{'backend': 'null'}", NULL);
    Error *err = NULL;

    if (!chardev_new(f->root, name, what, f->control, &err)) {
        g_error("%s", error_message(err));
    }
    json_put_string(options, "chardev", name);
}

Json *fixture_options(Fixture *f, const TypeInfo *t)
{
    Json *options = json_object();

    json_put_string(options, "driver", t->name);
    if (type_property(t, "drive")) {
        add_drive(f, options);
    }
    if (type_property(t, "chardev")) {
        add_chardev(f, options);
    }
    return options;
}

void fixture_add_all(Fixture *f)
{
    g_autofree const TypeInfo **types = type_list(TYPE_DEVICE, false);

    for (size_t i = 0; types[i]; i++) {
        const DeviceClass *k = type_class(types[i]);
        g_autoptr(Json) options = NULL;
        g_autoptr(Error) err = NULL;

        if (!k->user_creatable) {
            continue;
        }
        options = fixture_options(f, types[i]);
        if (!device_add(f->m, options, NULL, &err)) {
            g_test_message("%s: left out: %s", types[i]->name, error_message(err));
        }
    }
}

void fixture_settle(Fixture *f)
{
    /* A device that always finds something to do must not keep us here. */
    for (int i = 0; i < 100; i++) {
        bool ran = loop_poll(f->platform, 0);

        ran |= loop_poll(f->control, 0);
        if (!ran) {
            break;
        }
    }
}

void fixture_step(Fixture *f, int64_t ns)
{
    clock_virtual_set(f->clocks, clock_virtual(f->clocks) + ns);
    fixture_settle(f);
}

static void add_block(GString *s, MemorySystem *sys)
{
    GList *blocks = memory_ram_blocks(sys);

    for (GList *l = blocks; l; l = l->next) {
        g_string_append_printf(s, "ram %s\n", ((RamBlock *)l->data)->name);
    }
    g_list_free(blocks);
}

static void add_descriptors(GString *s)
{
    DIR *d = opendir("/proc/self/fd");
    unsigned n = 0;

    while (d && readdir(d)) {
        n++;
    }
    if (d) {
        closedir(d);
    }
    g_string_append_printf(s, "descriptors %u\n", n);
}

static void add_bus(Bus *bus, void *s)
{
    g_string_append_printf(s, "bus %s: %u devices\n", bus->id, g_list_length(bus->devices));
}

/* All but the time of day, which goes on. */
static void add_devices(GString *s, Machine *m)
{
    g_autoptr(GString) tree = g_string_new(NULL);
    g_auto(GStrv) lines = NULL;

    device_print_qtree(m, tree);
    lines = g_strsplit(tree->str, "\n", -1);
    for (char **l = lines; *l; l++) {
        if (!strstr(*l, " date = ")) {
            g_string_append_printf(s, "%s\n", *l);
        }
    }
}

char *fixture_picture(Fixture *f)
{
    GString *s = g_string_new(NULL);

    rcu_barrier();
    memory_print_tree(f->memsys, s, false, false);
    memory_print_tree(f->memsys, s, true, false);
    add_devices(s, f->m);
    bus_each(f->m, add_bus, s);
    add_block(s, f->memsys);
    g_string_append_printf(s, "boot devices %u\n", f->m->boot_devices->len);
    add_descriptors(s);
    return g_string_free(s, FALSE);
}
