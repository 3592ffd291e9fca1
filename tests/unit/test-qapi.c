/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The schema's walker: good and bad arguments, results, introspection. */
#include "qapi/qapi-types.h"
#include "qapi/qapi.h"

#include <string.h>

static void *parse(const QapiType *t, const char *text, Error **errp)
{
    g_autoptr(Json) j = json_parse(text, NULL);
    g_assert_nonnull(j);
    return qapi_from_json(t, j, errp);
}

static void round_trip(const QapiType *t, const char *text)
{
    Error *err = NULL;
    void *v = parse(t, text, &err);
    g_assert_cmpstr(err ? error_message(err) : "", ==, "");
    g_autoptr(Json) want = json_parse(text, NULL);
    g_autoptr(Json) got = qapi_to_json(t, v);
    g_assert_true(json_equal(want, got));
    qapi_free(t, v);
}

static void test_round_trip(void)
{
    round_trip(&QStatusInfo_type, "{'running': true, 'status': 'guest-panicked'}");
    round_trip(&QMemdev_type, "{'size': 18446744073709551615, 'merge': true, 'dump': false,"
                              "'prealloc': false, 'share': true, 'host-nodes': [0, 65535],"
                              "'policy': 'bind'}");
    round_trip(&QInputEvent_type, "{'type': 'rel', 'data': {'axis': 'y', 'value': -3}}");
    round_trip(&QInputEvent_type, "{'type': 'key', 'data': {'down': true,"
                                  "'key': {'type': 'qcode', 'data': 'kp_enter'}}}");
    round_trip(&QChardevBackend_type,
               "{'type': 'socket', 'data': {'addr': {'type': 'unix', 'data': {'path': '/x'}},"
               "'server': true}}");
    round_trip(&QObjectPropertyInfo_type,
               "{'name': 'a', 'type': 'b', 'default-value': {'x': [1, null]}}");
    round_trip(&QCpuDefinitionInfo_type,
               "{'name': 'a', 'static': false, 'typename': 't',"
               "'deprecated': false, 'unavailable-features': ['x', 'y']}");
}

static void bad(const QapiType *t, const char *text, const char *want)
{
    Error *err = NULL;
    g_assert_null(parse(t, text, &err));
    g_assert_cmpstr(error_message(err), ==, want);
    error_free(err);
}

static void test_mistakes(void)
{
    bad(&QStatusInfo_type, "{'running': 1, 'status': 'runing'}",
        "Invalid parameter type for 'running', expected: boolean; "
        "Parameter 'status' does not accept value 'runing', did you mean 'running'?");
    bad(&QStatusInfo_type, "{}", "Parameter 'running' is missing; Parameter 'status' is missing");
    bad(&QStatusInfo_type, "{'running': true, 'status': 'paused', 'statsu': 1}",
        "Parameter 'statsu' is unexpected, did you mean 'status'?");
    bad(&QStatusInfo_type, "[]", "The arguments must be an object");
    bad(&QInputEvent_type, "{'type': 'touchscreen', 'data': {}}",
        "Parameter 'type' does not accept value 'touchscreen', only: key, btn, rel, abs");
    bad(&QInputEvent_type, "{'data': {}}", "Parameter 'type' is missing");
    bad(&QInputEvent_type, "{'type': 'rel', 'data': {'axis': 'x', 'value': '1'}}",
        "Invalid parameter type for 'data.value', expected: integer");
    bad(&QMemdev_type,
        "{'size': -1, 'merge': true, 'dump': false, 'prealloc': false, 'share': true,"
        "'host-nodes': [65536, 'a'], 'policy': 'bind'}",
        "Invalid parameter type for 'size', expected: integer; "
        "Parameter 'host-nodes[0]' expects a value from 0 to 65535; "
        "Invalid parameter type for 'host-nodes[1]', expected: integer");
    bad(&QVersionInfo_type, "{'package': 7, 'qemu': {'major': 1, 'micro': null}}",
        "Parameter 'qemu.minor' is missing; "
        "Invalid parameter type for 'qemu.micro', expected: integer; "
        "Invalid parameter type for 'package', expected: string");
}

static void test_schema(void)
{
    g_autoptr(Json) s = qmp_schema();
    g_assert_cmpuint(json_length(s), >, 200);
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    for (size_t i = 0; i < json_length(s); i++) {
        g_assert_true(g_hash_table_add(names, (gpointer)json_get_str(json_at(s, i), "name")));
    }
    /* every type that is named exists */
    for (size_t i = 0; i < json_length(s); i++) {
        Json *e = json_at(s, i), *members = json_get(e, "members");
        static const char *const refs[] = {"arg-type", "ret-type", "element-type"};
        for (unsigned k = 0; k < G_N_ELEMENTS(refs); k++) {
            const char *t = json_get_str(e, refs[k]);
            g_assert_true(!t || g_hash_table_contains(names, t));
        }
        for (size_t k = 0; members && k < json_length(members); k++) {
            const char *t = json_get_str(json_at(members, k), "type");
            g_assert_true(!t || g_hash_table_contains(names, t));
        }
    }
    for (unsigned i = 1; qmp_events[i]; i++) {
        g_assert_cmpstr(qmp_events[i - 1], <, qmp_events[i]);
    }
}

static void test_commands(void)
{
    for (unsigned i = 0; qmp_commands[i].name; i++) {
        g_assert_true(qmp_command_find(qmp_commands[i].name) == &qmp_commands[i]);
    }
    g_assert_null(qmp_command_find("quti"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qapi/round-trip", test_round_trip);
    g_test_add_func("/qapi/mistakes", test_mistakes);
    g_test_add_func("/qapi/schema", test_schema);
    g_test_add_func("/qapi/commands", test_commands);
    return g_test_run();
}
