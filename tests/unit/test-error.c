/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/error.h"
#include "util/log.h"

#include <errno.h>
#include <string.h>

static void test_parts(void)
{
    Error *err = NULL;
    error_set_errno(&err, ENOENT, "can't open '%s'", "x");
    error_prefix(&err, "-drive file=x: ");
    error_detail(&err, "line one");
    error_detail(&err, "line %d\n", 2);
    error_hint(&err, "make it");
    g_assert_cmpstr(error_message(err), ==,
                    "-drive file=x: can't open 'x': No such file or directory");
    g_assert_cmpstr(error_details(err), ==, "line one\nline 2\n");
    g_assert_cmpstr(error_hints(err), ==, "make it\n");
    Error *copy = error_copy(err);
    g_assert_cmpstr(error_message(copy), ==, error_message(err));
    error_free(copy);
    error_free(err);
    error_set(NULL, "nobody listens");
}

static void test_propagate(void)
{
    Error *a = NULL, *b = NULL, *dst = NULL;
    error_set(&a, "a");
    error_set_class(&b, ERROR_CLASS_DEVICE_NOT_FOUND, "b");
    g_assert_cmpstr(error_class_name(error_class(b)), ==, "DeviceNotFound");
    error_propagate(&dst, a);
    error_propagate(&dst, b); /* the first one wins */
    g_assert_cmpstr(error_message(dst), ==, "a");
    error_free(dst);
}

static void test_nearest(void)
{
    static const char *const words[] = {"Skylake-Client", "Haswell", "EPYC", "e1000", NULL};
    g_assert_cmpstr(nearest_word("Skylake-Clent", words), ==, "Skylake-Client");
    g_assert_cmpstr(nearest_word("Skylake", words), ==, "Skylake-Client");
    g_assert_cmpstr(nearest_word("hasswell", words), ==, "Haswell");
    g_assert_cmpstr(nearest_word("e100", words), ==, "e1000");
    g_assert_null(nearest_word("something", words));
}

static void test_log_items(void)
{
    Error *err = NULL;
    g_assert_true(log_set_items("int,guest_errors", &err));
    g_assert_true(log_enabled(LOG_INT) && log_enabled(LOG_GUEST_ERROR) && !log_enabled(LOG_CPU));
    g_assert_false(log_set_items("imt", &err));
    g_assert_nonnull(strstr(error_hints(err), "\"int\""));
    error_free(err);
    g_assert_true(log_set_items("none", NULL));
    g_assert_cmpuint(log_mask, ==, 0);
}

static void test_log_filter(void)
{
    static const char *const bad[] = {"",      "1",    "2..1",      "1..",
                                      "..2",   "1+0",  "0x10-0x12", "0xffffffffffffffff+2",
                                      "1..2,", "a..b", "1...2"};
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        Error *err = NULL;
        g_assert_false(log_set_filter(bad[i], &err));
        g_assert_nonnull(err);
        error_free(err);
    }
    g_assert_true(log_wants_address(5)); /* no filter */
    g_assert_true(log_set_filter("0x1000..0x1fff,0x3000+16,0xffffffffffffffff-1", NULL));
    static const uint64_t in[] = {0x1000, 0x1fff, 0x3000, 0x300f, UINT64_MAX};
    static const uint64_t out[] = {0, 0xfff, 0x2000, 0x2fff, 0x3010, UINT64_MAX - 1};
    for (unsigned i = 0; i < G_N_ELEMENTS(in); i++) {
        g_assert_true(log_wants_address(in[i]));
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(out); i++) {
        g_assert_false(log_wants_address(out[i]));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/error/parts", test_parts);
    g_test_add_func("/error/propagate", test_propagate);
    g_test_add_func("/error/nearest", test_nearest);
    g_test_add_func("/log/items", test_log_items);
    g_test_add_func("/log/filter", test_log_filter);
    return g_test_run();
}
