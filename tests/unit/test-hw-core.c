/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices and buses with types of the test's own: life, failure, globals, reset, state of the tree. */
#include "hw/core/device.h"
#include "hw/core/machine.h"
#include "util/option.h"

#include <string.h>

/* ---- types ---- */

typedef struct TestBus {
    Bus bus;
    int next_slot, resets;
} TestBus;

typedef struct TestDevice {
    Device dev;
    uint32_t speed;
    int slot;
    bool fail;
    TestBus child;
} TestDevice;

static GString *journal;

static void note(const char *what, Device *dev)
{
    g_string_append_printf(journal, "%s:%s ", what, dev->id ? dev->id : dev->obj.type->name);
}

static bool slot_prepare(Bus *bus, Device *dev, Error **errp)
{
    note("prepare", dev);
    ((TestDevice *)dev)->slot = ++((TestBus *)bus)->next_slot;
    return true;
}

static void slot_release(Bus *bus, Device *dev)
{
    note("release", dev);
}

static void slot_reset(Bus *bus)
{
    ((TestBus *)bus)->resets++;
}

static char *slot_address(const Device *dev)
{
    return g_strdup_printf("slot %d", ((const TestDevice *)dev)->slot);
}

static char *slot_fw_path(const Device *dev)
{
    return g_strdup_printf("thing@%d", ((const TestDevice *)dev)->slot);
}

static const BusClass test_bus_class = {
    .prepare = slot_prepare,
    .release = slot_release,
    .reset = slot_reset,
    .device_address = slot_address,
    .fw_path = slot_fw_path,
    .max_devices = 3,
};
OBJECT_TYPE(test_bus_type, .name = "TESTBUS", .parent = TYPE_BUS, .size = sizeof(TestBus),
            .klass = &test_bus_class)

static bool thing_realize(Device *dev, Error **errp)
{
    note("realize", dev);
    if (((TestDevice *)dev)->fail) {
        error_set(errp, "it broke");
        return false;
    }
    return true;
}

static void thing_unrealize(Device *dev)
{
    note("unrealize", dev);
}

static void thing_reset(Device *dev)
{
    note("reset", dev);
}

static bool hub_realize(Device *dev, Error **errp)
{
    TestDevice *d = (TestDevice *)dev;

    note("realize", dev);
    bus_init(&d->child.bus, sizeof(d->child), "TESTBUS", dev, dev->machine, dev->id);
    d->child.bus.hotpluggable = true;
    if (d->fail) {
        bus_fini(&d->child.bus);
        error_set(errp, "the hub broke");
        return false;
    }
    return true;
}

static void hub_unrealize(Device *dev)
{
    note("unrealize", dev);
    bus_fini(&((TestDevice *)dev)->child.bus);
}

static const DeviceClass thing_class = {
    .realize = thing_realize,
    .unrealize = thing_unrealize,
    .reset = thing_reset,
    .bus_type = "TESTBUS",
    .user_creatable = true,
};
static const DeviceClass hub_class = {
    .realize = hub_realize,
    .unrealize = hub_unrealize,
    .reset = thing_reset,
    .bus_type = "TESTBUS",
    .user_creatable = true,
};
static const DeviceClass root_class = {
    .realize = hub_realize,
    .unrealize = hub_unrealize,
    .reset = thing_reset,
};

static const Property thing_props[] = {
    PROPERTY_U32("speed", TestDevice, speed, 10, "how fast"),
    PROPERTY_BOOL("fail", TestDevice, fail, false, "break in realize"),
    PROPERTY_I32("bootindex", Device, bootindex, -1, "boot order"),
    {0},
};
OBJECT_TYPE(thing_type, .name = "test-thing", .parent = TYPE_DEVICE, .size = sizeof(TestDevice),
            .klass = &thing_class, .props = thing_props)
OBJECT_TYPE(fast_type, .name = "test-fast-thing", .parent = "test-thing")
OBJECT_TYPE(hub_type, .name = "test-hub", .parent = TYPE_DEVICE, .size = sizeof(TestDevice),
            .klass = &hub_class, .props = thing_props)
OBJECT_TYPE(root_type, .name = "test-root", .parent = TYPE_DEVICE, .size = sizeof(TestDevice),
            .klass = &root_class, .props = thing_props)

static const MachineClass test_machine_class = {.desc = "a machine without anything"};
OBJECT_TYPE(test_machine_type, .name = "test-machine", .parent = TYPE_MACHINE,
            .klass = &test_machine_class)

/* ---- the world ---- */

typedef struct World {
    Object *root;
    Machine *m;
    TestDevice *top;
} World;

static void world_open(World *w)
{
    journal = g_string_new(NULL);
    w->root = object_new("container");
    w->m = MACHINE(object_new("test-machine"));
    w->m->clocks = clock_set_new();
    w->m->platform = loop_new("platform", w->m->clocks, NULL);
    w->m->memsys = memory_system_new();
    object_add_child(w->root, "machine", &w->m->obj);
    w->top = (TestDevice *)device_new("test-root");
    g_assert_true(device_realize(&w->top->dev, w->m, NULL, NULL));
    g_string_truncate(journal, 0);
}

static void world_close(World *w)
{
    ClockSet *clocks = w->m->clocks;
    EventLoop *loop = w->m->platform;
    MemorySystem *sys = w->m->memsys;

    machine_unrealize_all(w->m);
    object_unref(w->root);
    memory_system_free(sys);
    loop_free(loop);
    clock_set_free(clocks);
    rcu_barrier();
    g_string_free(journal, TRUE);
}

#define EXPECT(text)                             \
    do {                                         \
        g_assert_cmpstr(journal->str, ==, text); \
        g_string_truncate(journal, 0);           \
    } while (0)

static Device *add(World *w, const char *option, Error **errp)
{
    g_autoptr(OptionText) text = option_parse("-device", option, "driver", NULL);

    return device_add(w->m, option_values(text), text, errp);
}

static void count(Device *dev, void *n)
{
    ++*(int *)n;
}

static int devices(World *w)
{
    int n = 0;

    device_each(w->m, count, &n);
    return n;
}

/* ---- tests ---- */

static void test_life(void)
{
    World w;
    Device *a;

    world_open(&w);
    a = add(&w, "test-thing,id=a,speed=3", NULL);
    EXPECT("prepare:a realize:a reset:a ");
    g_assert_cmpuint(((TestDevice *)a)->speed, ==, 3);
    g_autofree char *path = object_path(&a->obj);
    g_assert_cmpstr(path, ==, "/machine/peripheral/a");
    g_autofree char *text = device_describe(a);
    g_assert_cmpstr(text, ==, "test-thing at slot 1 (id a)");
    g_assert_true(device_find(w.m, "a", NULL) == a);
    g_assert_true(device_find(w.m, "/machine/peripheral/a", NULL) == a);
    g_assert_true(machine_of(&a->obj) == w.m);
    Device *anon = add(&w, "test-thing", NULL);
    g_autofree char *anon_path = object_path(&anon->obj);
    g_assert_cmpstr(anon_path, ==, "/machine/peripheral-anon/device[0]");
    EXPECT("prepare:test-thing realize:test-thing reset:test-thing ");
    device_unrealize(a);
    EXPECT("unrealize:a release:a ");
    g_assert_null(device_find(w.m, "a", NULL));
    g_assert_cmpint(devices(&w), ==, 2);
    world_close(&w);
}

static void expect_failure(World *w, const char *option, const char *message)
{
    g_autoptr(Error) err = NULL;
    int before = devices(w);
    guint on_bus = g_list_length(w->top->child.bus.devices);

    g_assert_null(add(w, option, &err));
    if (!strstr(error_message(err), message) && !strstr(error_details(err), message)) {
        g_error("'%s%s' should have '%s'", error_message(err), error_details(err), message);
    }
    g_assert_cmpint(devices(w), ==, before);
    g_assert_cmpuint(g_list_length(w->top->child.bus.devices), ==, on_bus);
}

static void test_failures(void)
{
    World w;

    world_open(&w);
    expect_failure(&w, "test-thing,id=a,fail=on", "it broke");
    EXPECT("prepare:a realize:a release:a ");
    expect_failure(&w, "test-hub,id=h,fail=on", "the hub broke");
    expect_failure(&w, "test-thin", "did you mean 'test-thing'?");
    expect_failure(&w, "test-root", "part of a machine");
    expect_failure(&w, "test-thing,id=1", "expects an identifier");
    expect_failure(&w, "test-thing,bus=nowhere", "Bus 'nowhere' not found");
    expect_failure(&w, "test-thing,sped=1", "did you mean 'speed'");
    expect_failure(&w, "container", "not a valid device model name");
    g_assert_nonnull(add(&w, "test-thing,id=a,bootindex=1", NULL));
    expect_failure(&w, "test-thing,id=a", "Duplicate device ID 'a'");
    expect_failure(&w, "test-thing,bootindex=1", "bootindex 1 has already been used");
    g_assert_nonnull(add(&w, "test-thing", NULL));
    g_assert_nonnull(add(&w, "test-thing", NULL));
    expect_failure(&w, "test-thing", "all TESTBUS buses are full");
    expect_failure(&w, "test-thing,bus=testbus.0", "Bus 'testbus.0' is full");
    g_autoptr(Error) err = NULL;
    g_assert_null(device_find(w.m, "zz", &err));
    g_assert_cmpint(error_class(err), ==, ERROR_CLASS_DEVICE_NOT_FOUND);
    world_close(&w);
}

static void test_nested(void)
{
    World w;

    world_open(&w);
    g_assert_nonnull(add(&w, "test-hub,id=hub", NULL));
    g_assert_nonnull(add(&w, "test-thing,id=in1,bus=hub", NULL));
    g_assert_nonnull(add(&w, "test-thing,id=in2,bus=hub,bootindex=0", NULL));
    EXPECT("prepare:hub realize:hub reset:hub prepare:in1 realize:in1 reset:in1 prepare:in2 "
           "realize:in2 reset:in2 ");
    g_autofree char *fw = device_fw_path(device_find(w.m, "in2", NULL));
    g_assert_cmpstr(fw, ==, "/thing@1/thing@2");
    machine_reset_devices(w.m);
    EXPECT("reset:test-root reset:hub reset:in1 reset:in2 ");
    g_assert_cmpint(w.top->child.resets, ==, 1);
    GString *tree = g_string_new(NULL);
    device_print_qtree(w.m, tree);
    g_assert_nonnull(strstr(tree->str, "dev: test-thing, id \"in2\""));
    g_assert_nonnull(strstr(tree->str, "speed = 10 (0xa)"));
    g_string_free(tree, TRUE);
    g_assert_cmpuint(w.m->boot_devices->len, ==, 4);
    device_unrealize(device_find(w.m, "hub", NULL));
    EXPECT("unrealize:in2 release:in2 unrealize:in1 release:in1 unrealize:hub release:hub ");
    g_assert_cmpuint(w.m->boot_devices->len, ==, 1);
    world_close(&w);
}

static void test_hotplug(void)
{
    World w;
    g_autoptr(Error) err = NULL;

    world_open(&w);
    w.m->ready = true;
    Device *a = add(&w, "test-thing,id=a", NULL);
    g_assert_true(a->hotplugged);
    g_assert_true(device_unplug(a, NULL));
    g_assert_null(device_find(w.m, "a", NULL));
    w.top->child.bus.hotpluggable = false;
    expect_failure(&w, "test-thing", "Bus 'testbus.0' does not support hotplugging");
    g_assert_false(device_unplug(&w.top->dev, &err));
    world_close(&w);
}

static void test_globals(void)
{
    World w;

    world_open(&w);
    machine_add_global(w.m, "test-thing", "speed", "77");
    machine_add_global(w.m, "test-fast-thing", "speed", "99");
    machine_add_global(w.m, "test-hub", "speeed", "1");
    g_assert_cmpuint(((TestDevice *)add(&w, "test-thing", NULL))->speed, ==, 77);
    g_assert_cmpuint(((TestDevice *)add(&w, "test-fast-thing", NULL))->speed, ==, 99);
    g_assert_cmpuint(((TestDevice *)add(&w, "test-fast-thing,speed=1", NULL))->speed, ==, 1);
    device_unrealize(g_list_last(w.top->child.bus.devices)->data);
    expect_failure(&w, "test-hub", "-global test-hub.speeed=1: Property");
    world_close(&w);
}

static void test_help(void)
{
    g_autoptr(GString) out = g_string_new(NULL);
    g_autoptr(Error) err = NULL;

    g_assert_true(device_print_help(NULL, out, NULL));
    g_assert_nonnull(strstr(out->str, "name \"test-thing\", bus TESTBUS\n"));
    g_assert_null(strstr(out->str, "test-root"));
    g_string_truncate(out, 0);
    g_assert_true(device_print_help("test-thing", out, NULL));
    g_assert_true(g_str_has_prefix(out->str, "test-thing options:\n  bootindex=<int32>"));
    g_assert_false(device_print_help("test-root", out, &err));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hw-core/life", test_life);
    g_test_add_func("/hw-core/failures", test_failures);
    g_test_add_func("/hw-core/nested", test_nested);
    g_test_add_func("/hw-core/hotplug", test_hotplug);
    g_test_add_func("/hw-core/globals", test_globals);
    g_test_add_func("/hw-core/help", test_help);
    return g_test_run();
}
