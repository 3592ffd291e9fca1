/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Types, properties of every kind, the tree, links, memory backends. */
#include "memory/backend.h"
#include "qom/object.h"
#include "util/option.h"

#include <string.h>

static const char *const colours[] = {"red", "green", "blue", NULL};

typedef struct Fruit {
    Object obj;
    bool fresh;
    int mode; /* OnOffAuto */
    uint64_t bits;
    uint8_t u8;
    uint16_t u16;
    uint32_t u32, limited;
    uint64_t u64, size;
    int32_t i32;
    int64_t i64;
    char *label;
    int colour;
    uint8_t mac[6], uuid[16];
    int32_t addr;
    Object *friend;
    PropArray *list;
    uint32_t custom;
    uint32_t live;
    bool complete_fails;
} Fruit;

static bool custom_set(Object *obj, const Property *p, const Json *v, Error **errp)
{
    uint64_t n;

    if (!json_get_uint(v, &n)) {
        error_set(errp, "not a number");
        return false;
    }
    ((Fruit *)obj)->custom = (uint32_t)n * 2;
    return true;
}

static Json *custom_get(Object *obj, const Property *p)
{
    return json_uint(((Fruit *)obj)->custom);
}

/* A change of a running object that may be refused. */
static bool live_set(Object *obj, const Property *p, const Json *v, Error **errp)
{
    if (((Fruit *)obj)->live == 13) {
        error_set(errp, "13 brings bad luck");
        return false;
    }
    return true;
}

static const Property fruit_props[] = {
    PROPERTY_BOOL("fresh", Fruit, fresh, true, "not yet rotten"),
    PROPERTY_ON_OFF_AUTO("mode", Fruit, mode, ON_OFF_AUTO, "how"),
    PROPERTY_BIT("bit3", Fruit, bits, 3, true, "a bit"),
    PROPERTY_BIT("bit5", Fruit, bits, 5, false, "another"),
    PROPERTY_U8("u8", Fruit, u8, 8, "byte"),
    PROPERTY_U16("u16", Fruit, u16, 16, "word"),
    PROPERTY_U32("u32", Fruit, u32, 32, "long"),
    PROP_FIELD(Fruit, limited, PROP_U32, "limited", "between", .def = 5, .min = 5, .max = 9),
    PROPERTY_U64("u64", Fruit, u64, UINT64_MAX, "quad"),
    PROPERTY_SIZE("size", Fruit, size, 1024, "size"),
    PROPERTY_I32("i32", Fruit, i32, -32, "signed"),
    PROP_FIELD(Fruit, i64, PROP_I64, "i64", "signed", .def = 0),
    PROP_FIELD(Fruit, label, PROP_STRING, "label", "what it says", .def_str = "none"),
    PROPERTY_ENUM("colour", Fruit, colour, colours, 1, NULL),
    PROPERTY_MAC("mac", Fruit, mac, "MAC"),
    PROPERTY_UUID("uuid", Fruit, uuid, "UUID"),
    PROPERTY_PCI_ADDR("addr", Fruit, addr, "address"),
    PROPERTY_LINK("friend", Fruit, friend, "test-fruit", "a friend"),
    PROP_FIELD(Fruit, list, PROP_ARRAY, "list", "numbers", .arg = PROP_U8),
    {.name = "custom",
     .kind = PROP_CUSTOM,
     .set = custom_set,
     .get = custom_get,
     .type_name = "int",
     .help = "doubles"},
    PROP_FIELD(Fruit, live, PROP_U32, "live", "may change", .runtime = true, .set = live_set),
    PROP_FIELD(Fruit, u32, PROP_U32, "look", "read only", .read_only = true, .def = 32),
    {0},
};

static int inits, finals;

static void fruit_init(Object *obj)
{
    inits++;
}

static void fruit_finalize(Object *obj)
{
    finals++;
}

static bool fruit_complete(Object *obj, Error **errp)
{
    if (((Fruit *)obj)->complete_fails) {
        error_set(errp, "rotten");
        return false;
    }
    return true;
}

OBJECT_TYPE(fruit_type, .name = "test-fruit", .parent = "object", .size = sizeof(Fruit),
            .props = fruit_props, .init = fruit_init, .finalize = fruit_finalize,
            .complete = fruit_complete, .container = "/fruits")

/* A child type with another default of a base's property. */
static const Property apple_props[] = {
    PROPERTY_U8("u8", Fruit, u8, 88, "byte, for apples"),
    {0},
};
static const char *const apple_aliases[] = {"test-pomme", NULL};
OBJECT_TYPE(apple_type, .name = "test-apple", .parent = "test-fruit", .props = apple_props,
            .aliases = apple_aliases)

OBJECT_TYPE(stone_type, .name = "test-stone", .parent = "object", .size = sizeof(Object))

/* ---- tests ---- */

static void test_types(void)
{
    const TypeInfo *apple = type_find("test-pomme");
    g_autofree const TypeInfo **list = type_list("test-fruit", false);

    g_assert_true(apple == &apple_type);
    g_assert_true(type_is_a(apple, "test-fruit"));
    g_assert_true(type_is_a(apple, "object"));
    g_assert_true(type_is_a(apple, "test-pomme"));
    g_assert_false(type_is_a(&fruit_type, "test-apple"));
    g_assert_null(type_find("test-pear"));
    g_assert_null(type_find(NULL));
    g_assert_true(list[0] == apple && list[1] == &fruit_type && !list[2]);
    g_assert_cmpuint(type_property(apple, "u8")->def, ==, 88);
    g_assert_cmpuint(type_property(&fruit_type, "u8")->def, ==, 8);
    g_assert_null(type_property(apple, "u9"));
}

static void test_defaults(void)
{
    Fruit *f = (Fruit *)object_new("test-apple");

    g_assert_true(f->fresh);
    g_assert_cmphex(f->bits, ==, 8);
    g_assert_cmpuint(f->u8, ==, 88);
    g_assert_cmpuint(f->u16, ==, 16);
    g_assert_cmphex(f->u64, ==, UINT64_MAX);
    g_assert_cmpint(f->i32, ==, -32);
    g_assert_cmpstr(f->label, ==, "none");
    g_assert_cmpint(f->colour, ==, 1);
    g_assert_cmpint(f->addr, ==, -1);
    g_assert_false(object_was_set(&f->obj, "u8"));
    object_set_uint(&f->obj, "u8", 1);
    g_assert_true(object_was_set(&f->obj, "u8"));
    object_unref(&f->obj);
}

static void expect_get(Object *o, const char *name, const char *json)
{
    g_autoptr(Json) v = object_get(o, name, NULL);
    g_autofree char *text = json_print(v, false);

    g_assert_cmpstr(text, ==, json);
}

static void expect_error(Object *o, const char *name, const char *value, const char *message)
{
    g_autoptr(Error) err = NULL;

    g_assert_false(object_set_string(o, name, value, &err));
    g_assert_cmpstr(error_message(err), ==, message);
}

static void ok(Object *o, const char *name, const char *value, const char *json)
{
    g_autoptr(Error) err = NULL;

    if (!object_set_string(o, name, value, &err)) {
        g_error("%s", error_message(err));
    }
    expect_get(o, name, json);
}

static void test_values(void)
{
    Object *o = object_new("test-fruit");

    ok(o, "fresh", "off", "false");
    ok(o, "fresh", "yes", "true");
    ok(o, "mode", "on", "\"on\"");
    ok(o, "mode", "auto", "\"auto\"");
    ok(o, "bit5", "on", "true");
    ok(o, "bit3", "off", "false");
    g_assert_cmphex(((Fruit *)o)->bits, ==, 0x20);
    ok(o, "u8", "0xff", "255");
    ok(o, "u64", "18446744073709551615", "18446744073709551615");
    ok(o, "size", "1.5G", "1610612736");
    ok(o, "i32", "-2147483648", "-2147483648");
    ok(o, "label", "a,b", "\"a,b\"");
    ok(o, "colour", "blue", "\"blue\"");
    ok(o, "mac", "52:54:00:12:34:56", "\"52:54:00:12:34:56\"");
    ok(o, "uuid", "550e8400-e29b-41d4-a716-446655440000",
       "\"550e8400-e29b-41d4-a716-446655440000\"");
    ok(o, "addr", "1f.7", "\"1f.7\"");
    ok(o, "addr", "5", "\"05.0\"");
    g_autoptr(Json) eleven = json_int(11);
    g_assert_true(object_set(o, "addr", eleven, NULL));
    expect_get(o, "addr", "\"01.3\"");
    g_assert_true(object_set(o, "custom", eleven, NULL));
    expect_get(o, "custom", "22");
    g_autoptr(Json) three = json_parse("[1, 2, 255]", NULL);
    g_assert_true(object_set(o, "list", three, NULL));
    expect_get(o, "list", "[1, 2, 255]");
    object_unref(o);
}

static void test_refusals(void)
{
    Object *o = object_new("test-fruit");
    Fruit before;

    memcpy(&before, o, sizeof(before));
    expect_error(o, "fresh", "perhaps",
                 "test-fruit.fresh: 'perhaps' is not a switch: on or off is "
                 "accepted");
    expect_error(o, "u8", "256", "test-fruit.u8: 256 is out of range: 0 to 255 is accepted");
    expect_error(o, "u8", "-1", "test-fruit.u8: -1 is out of range: 0 to 255 is accepted");
    expect_error(o, "u8", "x", "test-fruit.u8: 'x' is not an unsigned number");
    expect_error(o, "limited", "4", "test-fruit.limited: 4 is out of range: 5 to 9 is accepted");
    expect_error(o, "i32", "2147483648",
                 "test-fruit.i32: 2147483648 is out of range: -2147483648 to 2147483647 is "
                 "accepted");
    expect_error(o, "colour", "blew",
                 "test-fruit.colour: 'blew' is not one of: red, green, blue; did you mean 'blue'?");
    expect_error(o, "colours", "red",
                 "Property 'test-fruit.colours' not found: no such property; did you mean "
                 "'colour'?");
    expect_error(o, "addr", "20.0",
                 "test-fruit.addr: '20.0' is not a PCI address (SLOT or SLOT.FUNCTION in "
                 "hexadecimal, 0 to 1f and 0 to 7)");
    expect_error(o, "look", "1", "test-fruit.look: this property can only be read");
    expect_error(o, "friend", "nobody", "test-fruit.friend: there is no test-fruit 'nobody'");
    g_autoptr(Json) list = json_parse("[1, 256]", NULL);
    g_autoptr(Error) err = NULL;
    g_assert_false(object_set(o, "list", list, &err));
    g_assert_cmpstr(error_message(err), ==,
                    "test-fruit.list: element 1: 256 is out of range: 0 to 255 is accepted");
    g_assert_cmpint(memcmp(&before, o, sizeof(before)), ==, 0);
    object_unref(o);
}

static void test_completion(void)
{
    Fruit *f = (Fruit *)object_new("test-fruit");
    Error *err = NULL;

    f->complete_fails = true;
    g_assert_false(object_complete(&f->obj, &err));
    g_clear_pointer(&err, error_free);
    f->complete_fails = false;
    g_assert_true(object_complete(&f->obj, &err));
    expect_error(&f->obj, "u8", "1", "test-fruit.u8: this property cannot be changed any more");
    ok(&f->obj, "live", "12", "12");
    expect_error(&f->obj, "live", "13", "test-fruit.live: 13 brings bad luck");
    expect_get(&f->obj, "live", "12");
    object_unref(&f->obj);
}

static void test_tree(void)
{
    Object *root = object_new("container");
    Object *box = object_container(root, "/fruits");
    Object *a = object_new("test-fruit"), *b = object_new("test-apple");
    Object *stone = object_new("test-stone");

    inits = finals = 0;
    object_add_child(box, "a", a);
    object_add_child(box, "b", b);
    object_add_child(object_container(root, "/other/deep"), "c", stone);
    g_autofree char *path = object_path(stone);
    g_assert_cmpstr(path, ==, "/other/deep/c");
    g_autofree char *top = object_path(root);
    g_assert_cmpstr(top, ==, "/");
    g_assert_true(object_resolve(root, "/fruits/b") == b);
    g_assert_true(object_resolve(box, "b") == b);
    g_assert_true(object_resolve(root, "b") == b); /* unique name */
    g_assert_null(object_resolve(root, "/fruits/z"));
    g_assert_null(object_resolve(root, ""));
    object_add_child(object_container(root, "/other"), "b", object_new("test-stone"));
    g_assert_null(object_resolve(root, "b")); /* no longer unique */
    /* A link by id, by path, of the wrong type; a path goes through links. */
    ok(a, "friend", "b", "\"/fruits/b\"");
    g_assert_true(object_resolve(root, "/fruits/a/friend") == b);
    expect_error(a, "friend", "/other/deep/c",
                 "test-fruit.friend: '/other/deep/c' is of type test-stone, not test-fruit");
    /* The link holds its target. */
    object_unparent(b);
    g_assert_cmpint(finals, ==, 0);
    ok(a, "friend", "", "\"\"");
    g_assert_cmpint(finals, ==, 1);
    /* An orphan looks up links where it will live. */
    Object *orphan = object_new("test-fruit");
    object_set_scope(orphan, box);
    ok(orphan, "friend", "a", "\"/fruits/a\"");
    object_unref(orphan);
    object_unref(root);
    g_assert_cmpint(finals, ==, 3);
}

static void test_from_options(void)
{
    g_autoptr(OptionText) text =
        option_parse("-object", "test-fruit,id=x,u8=300,colur=red,fresh=off", "qom-type", NULL);
    static const char *const ignore[] = {"qom-type", "id", NULL};
    Object *o = object_new("test-fruit");
    g_autoptr(Error) err = NULL;

    g_assert_false(object_set_from(o, option_values(text), ignore, text, &err));
    g_assert_nonnull(strstr(error_details(err), "did you mean 'colour'"));
    g_assert_nonnull(strstr(error_details(err), "300 is out of range"));
    g_assert_false(((Fruit *)o)->fresh);
    object_unref(o);
}

static void test_describe(void)
{
    g_autofree char *u8 = property_describe(type_property(&fruit_type, "u8"));
    g_autofree char *colour = property_describe(type_property(&fruit_type, "colour"));
    g_autofree char *limited = property_describe(type_property(&fruit_type, "limited"));
    g_autofree char *label = property_describe(type_property(&fruit_type, "label"));
    g_autoptr(Json) all = type_properties_json(&fruit_type);

    g_assert_cmpstr(u8, ==, "  u8=<uint8>             - byte (default: 8)");
    g_assert_cmpstr(colour, ==, "  colour=<str>           - red/green/blue (default: \"green\")");
    g_assert_cmpstr(limited, ==, "  limited=<uint32>       - between [5..9] (default: 5)");
    g_assert_cmpstr(label, ==, "  label=<str>            - what it says (default: \"none\")");
    g_assert_cmpstr(property_type_name(type_property(&fruit_type, "friend")), ==,
                    "link<test-fruit>");
    g_assert_cmpuint(json_length(all), ==, G_N_ELEMENTS(fruit_props) - 1);
}

static void test_try_new(void)
{
    g_autoptr(Error) err = NULL;

    g_assert_null(object_try_new("test-aple", "test-fruit", &err));
    g_assert_cmpstr(error_message(err), ==,
                    "'test-aple' is not a valid test-fruit type; did you mean 'test-apple'?");
    g_clear_pointer(&err, error_free);
    g_assert_null(object_try_new("test-stone", "test-fruit", &err));
    g_clear_pointer(&err, error_free);
    g_assert_null(object_try_new("object", "object", &err));
}

static void test_embedded(void)
{
    Fruit f;

    inits = finals = 0;
    object_init_at(&f.obj, sizeof(f), "test-apple");
    g_assert_cmpint(inits, ==, 1);
    object_unref(&f.obj);
    g_assert_cmpint(finals, ==, 1);
}

static void test_backend(void)
{
    Object *root = object_new("container");
    MemorySystem *sys = memory_system_new();
    Object *o = object_new("memory-backend-memfd");
    MemoryBackend *b = MEMORY_BACKEND(o);
    g_autoptr(Error) err = NULL;

    g_assert_true(b->share);
    object_add_child(object_container(root, "/objects"), "mem0", o);
    g_assert_false(object_complete(o, &err));
    g_clear_pointer(&err, error_free);
    ok(o, "size", "2M", "2097152");
    g_assert_true(object_complete(o, &err));
    g_assert_true(memory_backend_find(root, "mem0", &err) == b);
    RamBlock *ram = memory_backend_claim(b, sys, &err);
    g_assert_cmpstr(ram->name, ==, "/objects/mem0");
    g_assert_null(memory_backend_claim(b, sys, &err));
    g_assert_cmpstr(error_message(err), ==, "memory backend 'mem0' is used already");
    g_clear_pointer(&err, error_free);
    g_autoptr(Json) info = memory_backend_info(b);
    g_assert_cmpstr(json_get_str(info, "id"), ==, "mem0");
    memory_backend_release(b);
    g_assert_null(memory_backend_find(root, "mem1", &err));
    g_clear_pointer(&err, error_free);

    o = object_new("memory-backend-ram");
    ok(o, "size", "1M", "1048576");
    ok(o, "policy", "bind", "\"bind\"");
    g_assert_false(object_complete(o, &err));
    g_assert_cmpstr(error_message(err), ==, "host-nodes must be set for policy bind");
    g_clear_pointer(&err, error_free);
    object_unref(o);
    o = object_new("memory-backend-file");
    ok(o, "size", "1M", "1048576");
    g_assert_false(object_complete(o, &err));
    object_unref(o);
    object_unref(root);
    memory_system_free(sys);
    rcu_barrier();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qom/types", test_types);
    g_test_add_func("/qom/defaults", test_defaults);
    g_test_add_func("/qom/values", test_values);
    g_test_add_func("/qom/refusals", test_refusals);
    g_test_add_func("/qom/completion", test_completion);
    g_test_add_func("/qom/tree", test_tree);
    g_test_add_func("/qom/from-options", test_from_options);
    g_test_add_func("/qom/describe", test_describe);
    g_test_add_func("/qom/try-new", test_try_new);
    g_test_add_func("/qom/embedded", test_embedded);
    g_test_add_func("/qom/backend", test_backend);
    return g_test_run();
}
