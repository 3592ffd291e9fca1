/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blkdebug's events: each of them passes during some operation of qcow2, and an error that is
 * injected there leaves an image with leaks at most.
 */
#include "block/image.h"
#include "tests/unit/block-test.h"

#define DISK (1536u << 10)

static BlockNode *node;

static int write_at(uint64_t off, size_t len, int byte)
{
    g_autofree uint8_t *buf = g_malloc(len);
    memset(buf, byte, len);
    return node_pwrite(node, off, buf, len, 0);
}

static int write_packed(uint64_t off)
{
    uint8_t buf[512];
    memset(buf, 3, sizeof(buf));
    struct iovec one = {buf, sizeof(buf)};
    return node_pwritev(node, off, &(IoVec){.iov = &one, .n = 1, .size = sizeof(buf)},
                        BLK_COMPRESSED);
}

static int vmstate(void)
{
    uint8_t buf[1000] = {1};
    struct iovec one = {buf, sizeof(buf)};
    IoVec v = {.iov = &one, .n = 1, .size = sizeof(buf)};
    int ret = image_vmstate_pwritev(node, 0, &v);
    return ret < 0 ? ret : image_vmstate_preadv(node, 0, &v);
}

static int snapshot(void)
{
    BlockSnapshot s = {.name = (char *)"s", .icount = UINT64_MAX};
    Error *err = NULL;
    int ret = image_snapshot_create(node, &s, &err);
    error_free(err);
    return ret;
}

static int drop_snapshot(void)
{
    Error *err = NULL;
    int ret = image_snapshot_delete(node, "s", &err);
    error_free(err);
    return ret;
}

static int resize(uint64_t size)
{
    Error *err = NULL;
    int ret = node_truncate(node, size, &err);
    error_free(err);
    return ret;
}

static int empty(void)
{
    Error *err = NULL;
    int ret = image_make_empty(node, &err);
    error_free(err);
    return ret;
}

/* A bit of everything; the number of operations that failed. */
static unsigned scenario(void)
{
    static uint8_t all[2 * DISK];
    int ret[] = {
        write_at(0, DISK / 2, 1),
        write_at(100, 900, 2),
        write_packed(DISK - 4096),
        node_flush(node),
        node_pread(node, 0, all, DISK),
        snapshot(),
        write_at(5000, 700, 4),
        node_flush(node),
        vmstate(),
        drop_snapshot(),
        node_zero(node, DISK / 2, 3000, 0),
        node_flush(node),
        resize(2 * DISK),
        write_at(DISK, DISK, 5),
        node_flush(node),
        resize(DISK / 4),
        empty(),
        node_flush(node),
    };
    unsigned failed = 0;
    for (size_t i = 0; i < ARRAY_LEN(ret); i++) {
        failed += ret[i] < 0;
    }
    return failed;
}

static BlockNode *open_rules(const char *rules, Error **errp)
{
    g_autofree char *text = g_strdup_printf(
        "{'driver': 'qcow2', 'l2-cache-size': 4096, 'refcount-cache-size': 4096, 'discard': "
        "'unmap', "
        "'file': {'driver': 'blkdebug', 'align': 512, 'file': {'driver': 'mem'}%s}}",
        rules);
    return bt_node(text, errp);
}

static void make_image(void)
{
    Error *err = NULL;
    Qcow2CreateOptions c = {.size = DISK,
                            .cluster_bits = 9,
                            .refcount_order = 6,
                            .refcount_order_set = true,
                            .version = 3};
    BlockNode *n = bt_node("{'driver': 'mem'}", &err);
    g_assert_true(qcow2_create(n, &c, &err));
    node_unref(n);
}

static void expect_sound(const char *when)
{
    Error *err = NULL;
    BlockCheck c;
    BlockOpenFlags f = {.check = 1};
    g_autoptr(Json) o = bt_json("{'driver': 'qcow2', 'file': {'driver': 'mem'}}");
    BlockNode *n = node_open(bt->graph, o, &f, &err);
    if (!n || image_check(n, 0, NULL, &c, &err) < 0 || c.corruptions || c.check_errors) {
        g_error("%s: %s", when, err ? error_message(err) : "errors");
    }
    node_unref(n);
}

/* Events of writes that are not aligned, and of data below, are not qcow2's own. */
static bool foreign(BlkEvent e)
{
    return e == BLKEV_NONE || e == BLKEV_READ_BACKING_AIO || e == BLKEV_PWRITEV_RMW_TAIL ||
           e == BLKEV_PWRITEV_RMW_AFTER_TAIL || e == BLKEV_PWRITEV_ZERO || e == BLKEV_COR_WRITE;
}

static void test_nothing(void)
{
    Error *err = NULL;
    bt_begin();
    make_image();
    node = open_rules("", &err);
    g_assert_nonnull(node);
    g_assert_cmpuint(scenario(), ==, 0);
    node_unref(node);
    expect_sound("no rules");
    bt_end();
}

/* After the event has passed every flush fails: did it? */
static void test_pass(void)
{
    for (BlkEvent e = BLKEV_NONE; e < BLKEV_COUNT; e++) {
        Error *err = NULL;
        if (foreign(e)) {
            continue;
        }
        g_autofree char *rules = g_strdup_printf(
            ", 'set-state': [{'event': '%s', 'new_state': 2}], 'inject-error': [{'event': 'none', "
            "'state': 2, 'iotype': 'flush'}]",
            blkdebug_event_names[e]);
        bt_begin();
        make_image();
        node = open_rules(rules, &err);
        if (node && scenario() == 0) {
            g_error("the event '%s' does not pass", blkdebug_event_names[e]);
        }
        error_free(err);
        node_unref(node);
        bt_end();
    }
}

static void test_inject(void)
{
    unsigned failed = 0;
    for (BlkEvent e = BLKEV_NONE; e < BLKEV_COUNT; e++) {
        for (int once = 0; once < 2 && !foreign(e); once++) {
            Error *err = NULL;
            g_autofree char *rules =
                g_strdup_printf(", 'inject-error': [{'event': '%s', 'once': %s, 'errno': 28}]",
                                blkdebug_event_names[e], once ? "true" : "false");
            bt_begin();
            make_image();
            node = open_rules(rules, &err);
            failed += node ? scenario() : 1;
            error_free(err);
            node_unref(node);
            expect_sound(blkdebug_event_names[e]);
            bt_end();
        }
    }
    g_test_message("%u operations failed", failed);
    g_assert_cmpuint(failed, >, BLKEV_COUNT);
}

static void test_delay(void)
{
    Error *err = NULL;
    bt_begin();
    make_image();
    node = open_rules(", 'inject-error': [{'event': 'write_aio', 'once': true, 'errno': 0, "
                      "'delay-ns': 50000000}]",
                      &err);
    g_assert_nonnull(node);
    gint64 start = g_get_monotonic_time();
    g_assert_cmpint(write_at(0, 512, 1), ==, 0);
    g_assert_cmpint(g_get_monotonic_time() - start, >=, 50000);
    node_unref(node);
    bt_end();
}

static void test_refused(void)
{
    static const char *const bad[] = {
        ", 'inject-error': [{'event': 'refblock_update_part'}]",
        ", 'inject-error': [{'event': 'l2_lod'}]",
        ", 'inject-error': [{'event': 'l2_load', 'errno': 0}]",
        ", 'set-state': [{'event': 'l2_load', 'new_state': 0}]",
        ", 'set-state': {'event': 'l2_load'}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        Error *err = NULL;
        bt_begin();
        make_image();
        g_assert_null(open_rules(bad[i], &err));
        g_assert_nonnull(err);
        error_free(err);
        bt_end();
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    report_set_program("test-blkdebug");
    g_test_add_func("/blkdebug/nothing", test_nothing);
    g_test_add_func("/blkdebug/events/pass", test_pass);
    g_test_add_func("/blkdebug/events/inject", test_inject);
    g_test_add_func("/blkdebug/delay", test_delay);
    g_test_add_func("/blkdebug/refused", test_refused);
    return g_test_run();
}
