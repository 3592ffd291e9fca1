/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/option.h"

#include <string.h>

static void check_parse(const char *text, const char *implied, const char *expected)
{
    Error *err = NULL;
    g_autoptr(OptionText) o = option_parse("-x", text, implied, &err);
    g_assert_null(err);
    g_autofree char *json = json_print(option_values(o), false);
    g_assert_cmpstr(json, ==, expected);
}

static void test_syntax(void)
{
    check_parse("e1000,mac=52:54:00:12:34:56,rombar", "driver",
                "{\"driver\": \"e1000\", \"mac\": \"52:54:00:12:34:56\", \"rombar\": \"on\"}");
    check_parse("file=a,,b=c,if=ide", NULL, "{\"file\": \"a,b=c\", \"if\": \"ide\"}");
    check_parse("driver=qcow2,file.driver=file,file.filename=x", NULL,
                "{\"driver\": \"qcow2\", \"file\": {\"driver\": \"file\", \"filename\": \"x\"}}");
    check_parse("a.0=x,a.1=y", NULL, "{\"a\": [\"x\", \"y\"]}");
    check_parse("{\"a\": 1}", NULL, "{\"a\": 1}");
    check_parse("", "driver", "{}");
}

static void test_mistakes(void)
{
    Error *err = NULL;
    g_autoptr(OptionText) o = option_parse("-m", "sise=1G,slots=abc,maxmem=4G", "size", &err);
    g_assert_null(err);
    option_take_size(o, "size", 0, 'M');
    g_assert_cmpuint(option_take_uint(o, "slots", 7, 0, 255), ==, 7);
    g_assert_cmpuint(option_take_size(o, "maxmem", 0, 'M'), ==, 4ull << 30);
    g_assert_false(option_finish(o, &err));
    g_assert_nonnull(strstr(error_message(err), "2 mistakes"));
    g_assert_cmpstr(error_details(err), ==,
                    "  -m sise=1G,slots=abc,maxmem=4G\n"
                    "             ^~~~~~~~~ expected a number\n"
                    "     ^~~~~~~ there is no \"sise\" here; did you mean \"size\"?\n");
    error_free(err);
}

static void test_bad_syntax(void)
{
    static const char *const bad[] = {"=x", "a=1,a.b=2", ".a=1", "a..b=1", "{\"a\":"};
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        Error *err = NULL;
        g_assert_null(option_parse("-x", bad[i], NULL, &err));
        g_assert_nonnull(err);
        error_free(err);
    }
}

static void test_values(void)
{
    uint64_t v;
    g_assert_true(parse_size("1.5G", 0, &v) && v == 3ull << 29);
    g_assert_true(parse_size("512", 'M', &v) && v == 512ull << 20);
    g_assert_true(parse_size("0x10", 0, &v) && v == 16);
    g_assert_false(parse_size("1x", 0, &v) || parse_size("-1", 0, &v) || parse_size("", 0, &v) ||
                   parse_size("99999999999E", 0, &v) || parse_size("1.5", 0, &v));
    uint8_t mac[6], uuid[16];
    g_assert_true(parse_mac("52:54:00:aB:cd:ef", mac) && mac[3] == 0xab);
    g_assert_false(parse_mac("52:54:00:ab:cd", mac) || parse_mac("52:54:00:ab:cd:ef:0", mac));
    g_assert_true(parse_uuid("00112233-4455-6677-8899-aabbccddeeff", uuid) && uuid[15] == 0xff);
    g_assert_false(parse_uuid("00112233-4455-6677-8899-aabbccddeef", uuid));
    bool b;
    g_assert_true(parse_bool("on", &b) && b);
    g_assert_false(parse_bool("maybe", &b));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/option/syntax", test_syntax);
    g_test_add_func("/option/mistakes", test_mistakes);
    g_test_add_func("/option/bad-syntax", test_bad_syntax);
    g_test_add_func("/option/values", test_values);
    return g_test_run();
}
