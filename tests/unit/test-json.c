/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/json.h"

#include <string.h>

static void round_trip(const char *in, const char *out)
{
    Error *err = NULL;
    g_autoptr(Json) j = json_parse(in, &err);
    g_assert_null(err);
    g_autofree char *text = json_print(j, false);
    g_assert_cmpstr(text, ==, out);
    g_autoptr(Json) copy = json_copy(j);
    g_assert_true(json_equal(j, copy));
}

static void test_values(void)
{
    round_trip("[]", "[]");
    round_trip(" { \"a\" : [1, -2, 3.5, true, null], 'b': {} } ",
               "{\"a\": [1, -2, 3.5, true, null], \"b\": {}}");
    round_trip("18446744073709551615", "18446744073709551615");
    round_trip("-9223372036854775808", "-9223372036854775808");
    round_trip("\"\\u00e4\\n\\\"\\ud83d\\ude00\"", "\"\u00e4\\n\\\"\U0001f600\"");
}

static void test_bad(void)
{
    static const char *const bad[] = {
        "",    "{",           "[1,]",     "{\"a\"}",     "{\"a\":1,}", "tru",
        "01x", "\"abc",       "\"\\q\"",  "\"\\ud800\"", "[1] 2",      "{'a':1,'a':2}",
        "-",   "\"\\u0000\"", "\"\xff\"", "{1:2}",       "nullx",      "1e",
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        Error *err = NULL;
        g_assert_null(json_parse(bad[i], &err));
        g_assert_nonnull(err);
        error_free(err);
    }
    g_autofree char *deep = g_strnfill(100000, '[');
    g_assert_null(json_parse(deep, NULL));
}

static GString *seen;

static void got(void *opaque, Json *v, Error *err)
{
    if (v) {
        g_autofree char *text = json_print(v, false);
        g_string_append_printf(seen, "%s;", text);
        json_unref(v);
    } else {
        g_string_append(seen, "error;");
        error_free(err);
    }
}

static void test_stream(void)
{
    const char *in = "{\"a\":\"}\"}\n[1,\n2] 7 {\"b\" : bad}\n\"x\\\"y\" }\n{\"c\":1}";
    for (size_t chunk = 1; chunk < 10; chunk++) {
        seen = g_string_new(NULL);
        JsonStream *s = json_stream_new(got, NULL);
        for (size_t i = 0; i < strlen(in); i += chunk) {
            json_stream_feed(s, in + i, MIN(chunk, strlen(in) - i));
        }
        json_stream_free(s);
        g_assert_cmpstr(seen->str, ==,
                        "{\"a\": \"}\"};[1, 2];7;error;\"x\\\"y\";error;{\"c\": 1};");
        g_string_free(seen, TRUE);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/json/values", test_values);
    g_test_add_func("/json/bad", test_bad);
    g_test_add_func("/json/stream", test_stream);
    return g_test_run();
}
