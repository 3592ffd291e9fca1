/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dirty bitmaps, the engine of jobs, throttle groups and the small filters. */
#include "block/bitmap.h"
#include "block/job.h"
#include "block/throttle.h"
#include "tests/unit/block-test.h"

/* ---- bitmaps: against a table of bytes ---- */

static void compare(BlockBitmap *b, const uint8_t *model, uint64_t n, unsigned shift)
{
    uint64_t count = 0, next = 0;
    for (uint64_t i = 0; i < n; i++) {
        g_assert_cmpint(bitmap_get(b, i << shift), ==, model[i]);
        count += model[i];
    }
    g_assert_cmpuint(b->count, ==, count);
    for (uint64_t i = 0; i < n; i = next) {
        for (next = i; next < n && !model[next]; next++) {
        }
        uint64_t got = bitmap_next_dirty(b, i << shift);
        g_assert_cmpuint(got, ==, next < n ? next << shift : UINT64_MAX);
        for (; next < n && model[next]; next++) {
        }
        if (got != UINT64_MAX) {
            got = bitmap_next_clean(b, got);
            g_assert_cmpuint(got, ==, next < n ? next << shift : UINT64_MAX);
        }
    }
}

static void test_bitmap(void)
{
    bt_begin();
    BlockNode *n = bt_node("{'driver': 'null-co', 'size': 1048064}", NULL);
    BlockBitmap *b = bitmap_new(n, "b", 4096, NULL);
    enum { BITS = 256 };
    uint8_t model[BITS] = {0};
    for (int round = 0; round < 2000; round++) {
        uint64_t off = (uint64_t)g_test_rand_int_range(0, 1048064);
        uint64_t len = (uint64_t)g_test_rand_int_range(1, 300000);
        uint64_t end = MIN(off + len, n->length);
        if (g_test_rand_bit()) {
            bitmap_set(b, off, len);
            memset(model + off / 4096, 1, (end - 1) / 4096 - off / 4096 + 1);
        } else {
            bitmap_clear(b, off, len);
            uint64_t from = DIV_ROUND_UP(off, 4096u);
            uint64_t to = end == n->length ? BITS : end / 4096;
            memset(model + from, 0, to > from ? to - from : 0);
        }
        if (round % 50 == 0) {
            compare(b, model, BITS, 12);
        }
    }
    compare(b, model, BITS, 12);
    Error *err = NULL;
    g_assert_null(bitmap_new(n, "b", 0, &err));
    g_assert_nonnull(strstr(error_message(err), "already exists"));
    g_clear_pointer(&err, error_free);
    g_assert_null(bitmap_new(n, "c", 1000, &err));
    g_clear_pointer(&err, error_free);
    BlockBitmap *fine = bitmap_new(n, "fine", 512, NULL);
    bitmap_clear_all(b);
    bitmap_set(b, 8192, 1);
    g_assert_true(bitmap_merge(fine, b, NULL));
    g_assert_cmpuint(fine->count, ==, 8); /* a coarse bit is many fine ones */
    bitmap_clear_all(b);
    bitmap_set(fine, 512, 1);
    g_assert_true(bitmap_merge(b, fine, NULL));
    g_assert_cmpuint(b->count, ==, 2);
    node_unref(n); /* and the bitmaps with it */
    bt_end();
}

/* Writes mark, also failing ones; disabled bitmaps stay. */
static void test_bitmap_writes(void)
{
    bt_begin();
    mem_reserve(&bt->mem, 1 << 20);
    BlockNode *n = bt_node("{'driver': 'mem'}", NULL);
    BlockBitmap *on = bitmap_new(n, "on", 4096, NULL), *off = bitmap_new(n, "off", 4096, NULL);
    uint8_t buf[512] = {1};
    off->enabled = false;
    g_assert_cmpint(node_pwrite(n, 5000, buf, sizeof(buf), 0), ==, 0);
    g_assert_cmpint(node_zero(n, 40960, 4096, 0), ==, 0);
    bt->mem.fail_at = bt->mem.ops + 1;
    g_assert_cmpint(node_pwrite(n, 81920, buf, sizeof(buf), 0), ==, -EIO);
    g_assert_true(bitmap_get(on, 4096) && bitmap_get(on, 40960) && bitmap_get(on, 81920));
    g_assert_cmpuint(on->count, ==, 3);
    g_assert_cmpuint(off->count, ==, 0);
    g_assert_cmpint(node_truncate(n, 2 << 20, NULL), ==, 0);
    g_assert_cmpuint(on->n_bits, ==, 512);
    g_assert_true(bitmap_get(on, 1 << 20)); /* what is new was never backed up */
    node_unref(n);
    bt_end();
}

/* ---- jobs ---- */

typedef struct TestJob {
    Job job;
    int steps, result;
    int *committed, *aborted;
} TestJob;

static int test_run(Job *job, Error **errp)
{
    TestJob *t = (TestJob *)job;
    job->total = (uint64_t)t->steps;
    for (int i = 0; i < t->steps; i++) {
        job_pause_point(job);
        if (job_cancelled(job)) {
            return -ECANCELED;
        }
        job_progress(job, 1);
        job_sleep(job, NS_PER_MS);
    }
    return t->result;
}

static void test_commit(Job *job)
{
    ++*((TestJob *)job)->committed;
}

static void test_abort(Job *job)
{
    ++*((TestJob *)job)->aborted;
}

static const JobDriver test_driver = {.type = "create",
                                      .size = sizeof(TestJob),
                                      .run = test_run,
                                      .commit = test_commit,
                                      .abort = test_abort};

static Job *make_job(const char *id, int steps, int result, JobTxn *txn, bool manual, int *counts)
{
    JobParams p = {.id = id, .txn = txn, .manual_finalize = manual, .manual_dismiss = manual};
    Job *job = job_new(bt->graph, &test_driver, NULL, &p, NULL);
    TestJob *t = (TestJob *)job;
    t->steps = steps;
    t->result = result;
    t->committed = &counts[0];
    t->aborted = &counts[1];
    return job;
}

static void run_until(Job *job, JobStatus s)
{
    gint64 end = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
    while (job->status != s) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        loop_poll(bt->loop, NS_PER_MS);
    }
}

static void run_all(void)
{
    gint64 end = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
    while (bt->graph->jobs) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        loop_poll(bt->loop, NS_PER_MS);
    }
}

static void refused(bool ok, Error **err)
{
    g_assert_false(ok);
    g_assert_nonnull(*err);
    g_clear_pointer(err, error_free);
}

static void test_job_states(void)
{
    int counts[2] = {0};
    Error *err = NULL;
    bt_begin();
    Job *job = make_job("j", 20, 0, NULL, true, counts);
    JobParams same = {.id = "j"};
    refused(job_new(bt->graph, &test_driver, NULL, &same, &err) != NULL, &err);
    JobParams bad = {.id = "7 days"};
    refused(job_new(bt->graph, &test_driver, NULL, &bad, &err) != NULL, &err);
    job_start(job);
    run_until(job, JOB_RUNNING);
    g_assert_true(job_user_pause(job, NULL));
    refused(job_user_pause(job, &err), &err);
    run_until(job, JOB_PAUSED);
    refused(job_user_complete(job, &err), &err);
    refused(job_user_finalize(job, &err), &err);
    refused(job_user_dismiss(job, &err), &err);
    g_assert_true(job_user_resume(job, NULL));
    refused(job_user_resume(job, &err), &err);
    run_until(job, JOB_PENDING);
    g_assert_cmpint(counts[0], ==, 0);
    g_assert_true(job_user_finalize(job, NULL));
    g_assert_cmpint(job->status, ==, JOB_CONCLUDED);
    g_assert_cmpint(counts[0], ==, 1);
    g_assert_true(job_user_dismiss(job, NULL));
    g_assert_null(bt->graph->jobs);
    /* cancelled while it waits for finalize, and while it is paused */
    job = make_job("k", 1, 0, NULL, true, counts);
    job_start(job);
    run_until(job, JOB_PENDING);
    g_assert_true(job_user_cancel(job, true, NULL));
    run_until(job, JOB_CONCLUDED);
    g_assert_cmpint(job->ret, ==, -ECANCELED);
    g_assert_cmpint(counts[1], ==, 1);
    g_assert_true(job_user_dismiss(job, NULL));
    job = make_job("l", 1000000, 0, NULL, false, counts);
    job_start(job);
    g_assert_true(job_user_pause(job, NULL));
    run_until(job, JOB_PAUSED);
    g_assert_true(job_user_cancel(job, true, NULL));
    run_all();
    g_assert_cmpint(counts[1], ==, 2);
    bt_end(); /* and jobs that still run end with the graph */
}

static void test_job_txn(void)
{
    int counts[2] = {0};
    bt_begin();
    JobTxn *t = job_txn_new();
    job_start(make_job("a", 2, 0, t, false, counts));
    job_start(make_job("b", 30, 0, t, false, counts));
    job_txn_unref(t);
    run_all();
    g_assert_cmpint(counts[0], ==, 2);
    t = job_txn_new(); /* one fails: none takes effect, and the long one is not waited for */
    job_start(make_job("a", 1000000, 0, t, false, counts));
    job_start(make_job("b", 2, -EIO, t, false, counts));
    job_start(make_job("c", 1, 0, t, false, counts));
    job_txn_unref(t);
    run_all();
    g_assert_cmpint(counts[0], ==, 2);
    g_assert_cmpint(counts[1], ==, 3);
    job_start(make_job("z", 1000000, 0, NULL, false, counts));
    bt_end();
}

/* ---- throttling ---- */

static void throttled(void *opaque)
{
    int *left = opaque;
    g_autoptr(Error) err = NULL;
    ThrottleGroup *t = throttle_group_get(bt->graph, "t", false, &err);
    for (int i = 0; i < 20; i++) {
        throttle_pass(t, bt->loop, true, 1000);
    }
    throttle_group_unref(t);
    --*left;
}

static void test_throttle(void)
{
    bt_begin();
    ThrottleConfig c;
    throttle_config_init(&c);
    c.limit[THROTTLE_BPS_WRITE].avg = 100000;
    Error *err = NULL;
    g_assert_true(throttle_config_check(&c, &err));
    ThrottleGroup *t = throttle_group_get(bt->graph, "t", true, NULL);
    throttle_group_set(t, &c);
    int left = 2;
    gint64 t0 = g_get_monotonic_time();
    fiber_enter(fiber_new(throttled, &left));
    fiber_enter(fiber_new(throttled, &left));
    bt_run(&left);
    double took = (double)(g_get_monotonic_time() - t0) / G_USEC_PER_SEC;
    g_assert_cmpfloat(took, >, 0.28); /* 40000 bytes, of which a tenth of a second's at once */
    c.limit[THROTTLE_BPS_TOTAL].avg = 1;
    refused(throttle_config_check(&c, &err), &err);
    throttle_config_init(&c);
    c.limit[THROTTLE_IOPS_READ].max = 5;
    refused(throttle_config_check(&c, &err), &err);
    /* Whoever waits for the graph waits for nobody's limit. */
    throttle_config_init(&c);
    c.limit[THROTTLE_IOPS_TOTAL].avg = 1;
    throttle_group_set(t, &c);
    left = 1;
    fiber_enter(fiber_new(throttled, &left));
    block_quiesce(bt->graph);
    bt_run(&left);
    block_unquiesce(bt->graph);
    throttle_group_unref(t);
    bt_end();
}

/* ---- filters ---- */

static void test_blkdebug(void)
{
    uint8_t buf[512] = {0};
    bt_begin();
    BlockNode *n = bt_node("{'driver': 'blkdebug', 'file': {'driver': 'null-co'}, 'inject-error': "
                           "[{'event': 'write_aio', 'sector': 3, 'errno': 28, 'once': true}, "
                           "{'event': 'flush_to_disk', 'state': 2}], 'set-state': "
                           "[{'event': 'read_aio', 'new_state': 2}]}",
                           NULL);
    g_assert_nonnull(n);
    g_assert_cmpint(node_pwrite(n, 0, buf, 512, 0), ==, 0);
    g_assert_cmpint(node_pwrite(n, 1536, buf, 512, 0), ==, -ENOSPC);
    g_assert_cmpint(node_pwrite(n, 1536, buf, 512, 0), ==, 0);
    g_assert_cmpint(node_flush(n), ==, 0);
    g_assert_cmpint(node_pread(n, 0, buf, 512), ==, 0);
    g_assert_cmpint(node_flush(n), ==, -EIO);
    node_unref(n);
    Error *err = NULL;
    g_assert_null(bt_node("{'driver': 'blkdebug', 'file': {'driver': 'null-co'}, 'inject-error': "
                          "[{'event': 'l3_load'}]}",
                          &err));
    g_assert_nonnull(strstr(error_message(err), "l3_load"));
    error_free(err);
    bt_end();
}

static void test_quorum(void)
{
    uint8_t buf[512];
    bt_begin();
    for (int i = 0; i < 3; i++) {
        g_autofree char *name = g_strdup_printf("q%d", i), *p = bt_path(name);
        g_autofree uint8_t *data = g_malloc0(65536);
        memset(data, i == 2 ? 7 : 5, 512); /* the third disagrees */
        g_assert_true(g_file_set_contents(p, (char *)data, 65536, NULL));
    }
    for (unsigned threshold = 2; threshold <= 3; threshold++) {
        g_autofree char *json = g_strdup_printf(
            "{'driver': 'quorum', 'vote-threshold': %u, 'rewrite-corrupted': true, 'children': ["
            "{'driver': 'file', 'filename': '%s/q0'}, {'driver': 'file', 'filename': '%s/q1'}, "
            "{'driver': 'file', 'filename': '%s/q2'}]}",
            threshold, bt->dir, bt->dir, bt->dir);
        BlockNode *n = bt_node(json, NULL);
        g_assert_nonnull(n);
        g_assert_cmpint(node_pread(n, 0, buf, 512), ==, 0); /* the second time it is repaired */
        g_assert_cmpint(buf[0], ==, 5);
        memset(buf, 9, sizeof(buf));
        g_assert_cmpint(node_pwrite(n, 4096, buf, 512, 0), ==, 0);
        g_assert_cmpint(node_flush(n), ==, 0);
        node_unref(n);
    }
    g_autofree char *p = bt_path("q2"), *text = NULL;
    g_assert_true(g_file_get_contents(p, &text, NULL, NULL));
    g_assert_cmpint(text[0], ==, 5);
    g_assert_cmpint(text[4096], ==, 9);
    bt_end();
}

static void test_blklogwrites(void)
{
    uint8_t buf[1024];
    bt_begin();
    g_autofree char *log = bt_path("log"), *text = NULL;
    g_assert_true(g_file_set_contents(log, "", 0, NULL));
    g_autofree char *json = g_strdup_printf(
        "{'driver': 'blklogwrites', 'file': {'driver': 'null-co'}, 'log': {'driver': 'file', "
        "'filename': '%s'}}",
        log);
    BlockNode *n = bt_node(json, NULL);
    g_assert_nonnull(n);
    memset(buf, 3, sizeof(buf));
    g_assert_cmpint(node_pwrite(n, 2048, buf, sizeof(buf), 0), ==, 0);
    g_assert_cmpint(node_flush(n), ==, 0);
    node_unref(n);
    gsize len;
    g_assert_true(g_file_get_contents(log, &text, &len, NULL));
    g_assert_cmpuint(len, ==, 512 + 512 + 1024 + 512);
    g_assert_cmphex(ld_le64(text), ==, 0x6a736677736872ull);
    g_assert_cmpuint(ld_le64(text + 16), ==, 2);
    g_assert_cmpuint(ld_le64(text + 512), ==, 4);       /* sector */
    g_assert_cmpuint(ld_le64(text + 512 + 8), ==, 2);   /* sectors */
    g_assert_cmpint(text[1024], ==, 3);                 /* data */
    g_assert_cmpuint(ld_le64(text + 2048 + 16), ==, 1); /* a flush */
    bt_end();
}

static void test_preallocate(void)
{
    uint8_t buf[512];
    bt_begin();
    g_autofree char *p = bt_path("grows");
    g_assert_true(g_file_set_contents(p, "", 0, NULL));
    g_autofree char *json = g_strdup_printf("{'driver': 'preallocate', 'prealloc-size': 1048576, "
                                            "'file': {'driver': 'file', 'filename': '%s'}}",
                                            p);
    BlockNode *n = bt_node(json, NULL);
    g_assert_nonnull(n);
    memset(buf, 1, sizeof(buf));
    g_assert_cmpint(node_pwrite(n, 4096, buf, 512, 0), ==, 0);
    g_assert_cmpuint(n->length, ==, 4608);
    g_assert_cmpuint(n->file->length, >=, 4608);
    node_unref(n);
    GStatBuf st;
    g_assert_cmpint(g_stat(p, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 4608); /* what was taken ahead is given back */
    bt_end();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/block-jobs/bitmap/model", test_bitmap);
    g_test_add_func("/block-jobs/bitmap/writes", test_bitmap_writes);
    g_test_add_func("/block-jobs/job/states", test_job_states);
    g_test_add_func("/block-jobs/job/transaction", test_job_txn);
    g_test_add_func("/block-jobs/throttle", test_throttle);
    g_test_add_func("/block-jobs/blkdebug", test_blkdebug);
    g_test_add_func("/block-jobs/quorum", test_quorum);
    g_test_add_func("/block-jobs/blklogwrites", test_blklogwrites);
    g_test_add_func("/block-jobs/preallocate", test_preallocate);
    return g_test_run();
}
