/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The block layer below and above the formats: -drive, nodes, locks, requests, queries. */
#include "tests/unit/block-test.h"

static char *make_raw(const char *name, uint64_t size)
{
    g_autofree uint8_t *data = g_malloc(size);
    for (uint64_t i = 0; i < size; i++) {
        data[i] = (uint8_t)(i / 512 + i);
    }
    char *p = bt_path(name);
    g_assert_true(g_file_set_contents(p, (char *)data, (gssize)size, NULL));
    return p;
}

static BlockBackend *open_raw(const char *path, const char *more)
{
    g_autofree char *json =
        g_strdup_printf("{'format': 'raw', 'file': '%s', 'id': 'd'%s}", path, more);
    return bt_drive(json, NULL);
}

static void expect_mistake(const char *json, const char *word)
{
    char *message = NULL;
    g_assert_null(bt_drive(json, &message));
    if (!strstr(message, word)) {
        g_test_message("'%s' does not say '%s'", message, word);
        g_assert_not_reached();
    }
    g_free(message);
}

/* ---- options ---- */

static void test_drive_mistakes(void)
{
    bt_begin();
    g_autofree char *p = make_raw("a", 4096);
    expect_mistake("{'fiel': 'x', 'format': 'raw'}", "did you mean 'file'");
    expect_mistake("{'file': '/nonexistent/x', 'format': 'raw'}", "cannot open '/nonexistent/x'");
    expect_mistake("{'file': '/tmp', 'format': 'raw'}", "folder");
    expect_mistake("{'file': 'gopher://x/y', 'format': 'raw'}", "'gopher' is not supported");
    g_autofree char *a = g_strdup_printf("{'file': '%s', 'format': 'qcwo2'}", p);
    expect_mistake(a, "did you mean 'qcow2'");
    g_autofree char *b = g_strdup_printf("{'file': '%s', 'format': 'raw', 'cache': 'writebak', "
                                         "'if': 'ied', 'index': 'x'}",
                                         p);
    expect_mistake(b, "did you mean 'writeback'");
    expect_mistake(b, "3 mistakes");
    g_autofree char *c = g_strdup_printf("{'file': '%s', 'format': 'raw', 'aio': 'native'}", p);
    expect_mistake(c, "cache.direct");
    g_autofree char *d = g_strdup_printf("{'file': '%s', 'format': 'raw', 'offset': '1M'}", p);
    expect_mistake(d, "beyond");
    g_autofree char *e =
        g_strdup_printf("{'file': '%s', 'format': 'raw', 'throttling': {'iops-total': '1', "
                        "'iops-read': '1'}}",
                        p);
    expect_mistake(e, "iops-total cannot be used together");
    expect_mistake("{'if': 'virtio'}", "'file' is missing");
    g_assert_null(bt->graph->nodes); /* nothing is left behind */
    bt_end();
}

static void test_drive_places(void)
{
    bt_begin();
    g_autofree char *p = make_raw("a", 4096);
    static const struct {
        const char *opts, *id;
        int bus, unit;
    } cases[] = {
        {"'if': 'ide'", "ide0-hd0", 0, 0},
        {"'if': 'ide', 'index': '2', 'media': 'cdrom'", "ide1-cd0", 1, 0},
        {"'if': 'ide'", "ide0-hd1", 0, 1},
        {"'if': 'ide'", "ide1-hd1", 1, 1},
        {"'if': 'virtio'", "virtio0", 0, 0},
        {"'if': 'none', 'id': 'mine'", "mine", 0, 0},
        {"'if': 'floppy'", "floppy0", 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        g_autofree char *json = g_strdup_printf(
            "{'file': '%s', 'format': 'raw', 'read-only': true, %s}", p, cases[i].opts);
        g_autoptr(Json) o = bt_json(json);
        DriveInfo *d = drive_new(bt->graph, o, DRIVE_IF_IDE, NULL);
        g_assert_nonnull(d);
        g_assert_cmpstr(d->id, ==, cases[i].id);
        g_assert_cmpint(d->placed_bus, ==, cases[i].bus);
        g_assert_cmpint(d->placed_unit, ==, cases[i].unit);
    }
    expect_mistake("{'if': 'ide', 'index': '0', 'driver': 'null-co'}", "already a drive");
    expect_mistake("{'id': 'mine', 'driver': 'null-co'}", "already");
    bt_end();
}

/* ---- contents ---- */

static void test_raw(void)
{
    bt_begin();
    g_autofree char *p = make_raw("a", 5000); /* not a whole number of sectors */
    BlockBackend *blk = open_raw(p, "");
    uint8_t buf[1024];
    g_assert_cmpint(blk_length(blk), ==, 5120);
    g_assert_cmpint(blk_pread(blk, 4608, buf, 512), ==, 0);
    g_assert_cmpint(buf[0], ==, (uint8_t)(9 + 4608));
    g_assert_cmpint(buf[511], ==, 0);
    g_assert_cmpint(blk_pread(blk, 4608, buf, 1024), ==, -EIO);
    g_assert_cmpint(blk_pread(blk, UINT64_MAX - 100, buf, 512), ==, -EIO);
    memset(buf, 1, sizeof(buf));
    g_assert_cmpint(blk_pwrite(blk, 1000, buf, 24, 0), ==, 0);
    g_assert_cmpint(blk_flush(blk), ==, 0);
    bt_graph_free();
    bt_graph_new();
    blk = open_raw(p, ", 'offset': '512', 'size': '1024', 'read-only': true");
    g_assert_cmpint(blk_length(blk), ==, 1024);
    g_assert_cmpint(blk_pread(blk, 488, buf, 100), ==, 0);
    g_assert_cmpint(buf[23], ==, 1);
    g_assert_cmpint(buf[24], ==, (uint8_t)(2 + 1024));
    g_assert_cmpint(blk_pwrite(blk, 0, buf, 10, 0), ==, -EPERM);
    bt_end();
}

/* Raw by guess: what would make it another format is refused. */
static void test_probed_raw(void)
{
    static const uint8_t qcow2[512] = {'Q', 'F', 'I', 0xfb, 0, 0, 0, 3};
    uint8_t plain[512] = {1, 2, 3};
    bt_begin();
    g_autofree char *p = make_raw("a", 8192);
    g_autofree char *json = g_strdup_printf("{'file': '%s'}", p);
    BlockBackend *blk = bt_drive(json, NULL);
    g_assert_cmpint(blk_pwrite(blk, 0, plain, 512, 0), ==, 0);
    g_assert_cmpint(blk_pwrite(blk, 0, qcow2, 512, 0), ==, -EPERM);
    g_assert_cmpint(blk_pwrite(blk, 4096, qcow2, 512, 0), ==, 0);
    g_assert_cmpint(blk_pwrite(blk, 0, qcow2, 2, 0), ==, 0);
    g_assert_cmpint(blk_pwrite(blk, 2, qcow2 + 2, 6, 0), ==, -EPERM);
    bt_end();
}

static void test_snapshot_on(void)
{
    bt_begin();
    g_autofree char *p = make_raw("a", 1 << 20), *before = NULL, *after = NULL;
    gsize len;
    g_assert_true(g_file_get_contents(p, &before, &len, NULL));
    BlockBackend *blk = open_raw(p, ", 'snapshot': 'on'");
    uint8_t buf[4096], got[4096];
    memset(buf, 0xab, sizeof(buf));
    for (uint64_t off = 512; off < (1 << 20) - 4096; off += 100000) {
        g_assert_cmpint(blk_pwrite(blk, off, buf, sizeof(buf), 0), ==, 0);
        g_assert_cmpint(blk_pread(blk, off, got, sizeof(got)), ==, 0);
        g_assert_cmpmem(buf, sizeof(buf), got, sizeof(got));
    }
    g_assert_cmpint(blk_pread(blk, 8192, got, 512), ==, 0);
    g_assert_cmpmem(got, 512, before + 8192, 512);
    bt_graph_free();
    g_assert_true(g_file_get_contents(p, &after, &len, NULL));
    g_assert_cmpmem(before, len, after, len);
    bt_end();
}

/* ---- locks ---- */

static void test_locks(void)
{
    bt_begin();
    g_autofree char *p = make_raw("a", 4096);
    BlockBackend *blk = open_raw(p, "");
    int dev;
    Error *err = NULL;
    g_assert_true(blk_attach(blk, &dev, "dev", NULL, true, false, bt->loop, NULL));
    g_assert_false(blk_attach(blk, &dev, "other", NULL, true, false, bt->loop, &err));
    g_assert_nonnull(strstr(error_message(err), "already used by 'dev'"));
    error_free(err);
    err = NULL;
    /* The same file a second time: the lock is ours, and the message says so. */
    g_autofree char *json = g_strdup_printf("{'format': 'raw', 'file': '%s', 'id': 'e'}", p);
    BlockBackend *again = bt_drive(json, NULL);
    g_assert_false(blk_attach(again, &dev, "other", NULL, true, false, bt->loop, &err));
    g_assert_nonnull(strstr(error_message(err), "in use by this process"));
    error_free(err);
    err = NULL;
    if (bt_have("qemu-io")) {
        g_assert_cmpint(bt_sh("qemu-io -f raw -c 'write 0 512' a"), !=, 0);
        g_assert_cmpint(bt_sh("qemu-img info -U a"), ==, 0);
    }
    blk_detach(blk);
    if (bt_have("qemu-io")) {
        g_assert_cmpint(bt_sh("qemu-io -f raw -c 'write 0 512' a"), ==, 0);
        /* And the other way round: theirs is seen here. */
        bt_sh("sleep 3 | qemu-io -f raw a & echo $! > pid; sleep 1");
        g_assert_false(blk_attach(blk, &dev, "dev", NULL, true, false, bt->loop, &err));
        g_assert_nonnull(strstr(error_message(err), "(qemu-io)"));
        error_free(err);
    }
    bt_end();
}

/* ---- requests ---- */

typedef struct Counter {
    int left, ok;
} Counter;

static void counted(void *opaque, int result)
{
    Counter *c = opaque;
    c->left--;
    c->ok += result == 0;
}

static void test_served_loop(void)
{
    bt_begin();
    g_autofree char *p = make_raw("a", 1 << 20);
    BlockBackend *blk = open_raw(p, "");
    static uint8_t buf[64][4096];
    struct iovec one[64];
    IoVec v[64];
    Counter c = {0};
    g_assert_true(loop_start_thread(bt->loop, NULL));
    for (int round = 0; round < 20; round++) {
        loop_lock(bt->loop);
        for (int i = 0; i < 64; i++) {
            one[i] = (struct iovec){buf[i], 4096};
            v[i] = (IoVec){.iov = &one[i], .n = 1, .size = 4096};
            c.left++;
            if (i % 2) {
                blk_aio_preadv(blk, (uint64_t)i * 4096, &v[i], counted, &c);
            } else {
                blk_aio_pwritev(blk, (uint64_t)i * 4096, &v[i], 0, counted, &c);
            }
            g_assert_cmpint(c.left, >, 0); /* never from within the call */
        }
        loop_unlock(bt->loop);
        uint8_t b[512];
        g_assert_cmpint(blk_pread(blk, 512, b, 512), ==, 0);
        blk_drain_begin(blk);
        g_assert_cmpint(c.left, ==, 0);
        loop_lock(bt->loop);
        c.left++;
        BlkRequest *req = blk_aio_flush(blk, counted, &c);
        c.left++;
        blk_aio_flush(blk, counted, &c);
        blk_aio_cancel(req); /* still waiting: -ECANCELED */
        loop_unlock(bt->loop);
        g_usleep(100);
        blk_drain_end(blk);
        blk_drain_begin(blk);
        blk_drain_end(blk);
    }
    int64_t end = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
    while (__atomic_load_n(&c.left, __ATOMIC_SEQ_CST) && g_get_monotonic_time() < end) {
        g_usleep(1000);
    }
    g_assert_cmpint(c.left, ==, 0);
    g_assert_cmpint(c.ok, ==, 20 * 65);
    loop_stop_thread(bt->loop);
    bt_end();
}

/* A protocol that only takes aligned requests, as O_DIRECT does. */
static bool strict_open(BlockNode *n, BlockOpts *o, Error **errp)
{
    n->limits.request_align = 4096;
    n->limits.mem_align = 512;
    return mem_open(n, o, errp);
}

static void check_aligned(uint64_t off, const IoVec *v)
{
    g_assert_cmpint(off % 4096, ==, 0);
    g_assert_cmpint(v->size % 4096, ==, 0);
    for (unsigned i = 0; i < v->n; i++) {
        g_assert_cmpint((uintptr_t)v->iov[i].iov_base % 512, ==, 0);
    }
}

static int strict_preadv(BlockNode *n, uint64_t off, const IoVec *v)
{
    check_aligned(off, v);
    return mem_preadv(n, off, v);
}

static int strict_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    check_aligned(off, v);
    return mem_pwritev(n, off, v, flags);
}

static const BlockDriver strict_driver = {
    .name = "strict",
    .protocol = true,
    .no_file = true,
    .state_size = 1,
    .open = strict_open,
    .preadv = strict_preadv,
    .pwritev = strict_pwritev,
    .flush = mem_flush,
};

static void test_alignment(void)
{
    enum { SIZE = 64 << 10 };
    bt_begin();
    bt->mem.shuffle = true;
    mem_reserve(&bt->mem, SIZE);
    block_graph_add_driver(bt->graph, &strict_driver);
    BlockBackend *blk = bt_drive("{'driver': 'strict'}", NULL);
    uint8_t *shadow = g_malloc0(SIZE), *buf = g_malloc0(SIZE), *src = g_malloc(SIZE);
    GRand *rng = g_rand_new_with_seed(1);
    for (int round = 0; round < 100; round++) {
        struct iovec one[8];
        IoVec v[8];
        Counter c = {0};
        /* Neighbours within one block, at the same time: none may undo another. */
        for (uint64_t i = 0; i < 8; i++) {
            uint64_t off = i * 1024 + (uint64_t)g_rand_int_range(rng, 0, 2) * 512 + 700;
            uint64_t len = (uint64_t)g_rand_int_range(rng, 1, 500);
            memset(src + off, g_rand_int_range(rng, 0, 255), len);
            memcpy(shadow + off, src + off, len);
            one[i] = (struct iovec){src + off, len};
            v[i] = (IoVec){.iov = &one[i], .n = 1, .size = len};
            c.left++;
            loop_lock(bt->loop);
            blk_aio_pwritev(blk, off, &v[i], 0, counted, &c);
            loop_unlock(bt->loop);
        }
        bt_run(&c.left);
        g_assert_cmpint(c.ok, ==, 8);
        g_assert_cmpint(blk_pread(blk, 0, buf, SIZE), ==, 0);
        g_assert_cmpmem(buf, SIZE, shadow, SIZE);
        uint64_t off = (uint64_t)g_rand_int_range(rng, 0, SIZE - 9000);
        g_assert_cmpint(blk_pread(blk, off, buf, 9000), ==, 0);
        g_assert_cmpmem(buf, 9000, shadow + off, 9000);
    }
    g_rand_free(rng);
    g_free(shadow);
    g_free(buf);
    g_free(src);
    bt_end();
}

/*
 * Files with O_DIRECT on each engine: requests that are not aligned, neighbours at the same time,
 * in memory that is not aligned either; what the file holds in the end.
 */
static void engine(const char *aio)
{
    enum { SIZE = 64 << 10, ROUNDS = 30 };
    g_autofree char *p = make_raw("a", SIZE), *now = NULL;
    g_autofree char *json = g_strdup_printf("{'format': 'raw', 'file': '%s', 'cache': 'none', "
                                            "'aio': '%s'}",
                                            p, aio);
    char *message = NULL;
    BlockBackend *blk = bt_drive(json, &message);
    if (!blk) {
        g_test_message("%s: %s", aio, message);
        g_free(message);
        return; /* no O_DIRECT here, or no such engine */
    }
    g_autofree uint8_t *shadow = g_malloc(SIZE), *src = g_malloc(SIZE);
    g_autoptr(GRand) rng = g_rand_new_with_seed(2);
    g_assert_cmpint(blk_pread(blk, 0, shadow, SIZE), ==, 0);
    for (int round = 0; round < ROUNDS; round++) {
        struct iovec one[8];
        IoVec v[8];
        Counter c = {.left = 9};
        loop_lock(bt->loop);
        for (uint64_t i = 0; i < 8; i++) {
            uint64_t off = i * 8192 + (uint64_t)g_rand_int_range(rng, 0, 4000);
            uint64_t len = (uint64_t)g_rand_int_range(rng, 1, 4192);
            memset(src + off, g_rand_int_range(rng, 0, 255), len);
            memcpy(shadow + off, src + off, len);
            one[i] = (struct iovec){src + off, len};
            v[i] = (IoVec){.iov = &one[i], .n = 1, .size = len};
            blk_aio_pwritev(blk, off, &v[i], i % 2 ? BLK_FUA : 0, counted, &c);
        }
        blk_aio_flush(blk, counted, &c);
        loop_unlock(bt->loop);
        bt_run(&c.left);
        g_assert_cmpint(c.ok, ==, 9);
    }
    gsize size;
    g_assert_true(g_file_get_contents(p, &now, &size, NULL));
    g_assert_cmpmem(now, size, shadow, SIZE);
}

static void test_engines(void)
{
    static const char *const engines[] = {"io_uring", "native", "threads"};
    for (size_t i = 0; i < G_N_ELEMENTS(engines); i++) {
        bt_begin();
        engine(engines[i]);
        bt_end();
    }
}

/* ---- errors, nodes, queries ---- */

static void test_error_policy(void)
{
    bt_begin();
    BlockBackend *blk =
        bt_drive("{'driver': 'null-co', 'rerror': 'stop', 'werror': 'ignore'}", NULL);
    g_assert_cmpint(blk_error_action(blk, true, EIO), ==, BLK_ERROR_STOP);
    g_assert_cmpint(blk_error_action(blk, false, EIO), ==, BLK_ERROR_IGNORE);
    blk = bt_drive("{'driver': 'null-co', 'id': 'x'}", NULL);
    g_assert_cmpint(blk_error_action(blk, true, EIO), ==, BLK_ERROR_REPORT);
    g_assert_cmpint(blk_error_action(blk, false, ENOSPC), ==, BLK_ERROR_STOP);
    g_assert_cmpint(blk_error_action(blk, false, EIO), ==, BLK_ERROR_REPORT);
    bt_end();
}

static bool add_node(const char *json, Error **errp)
{
    g_autoptr(Json) o = bt_json(json);
    return block_open(bt->graph, o, errp) != NULL;
}

static void test_nodes(void)
{
    bt_begin();
    g_autofree char *p = make_raw("a", 4096);
    g_autofree char *proto =
        g_strdup_printf("{'driver': 'file', 'filename': '%s', 'node-name': 'proto'}", p);
    Error *err = NULL;
    int dev;
    g_assert_true(add_node(proto, NULL));
    g_assert_true(add_node("{'driver': 'raw', 'file': 'proto', 'node-name': 'fmt'}", NULL));
    g_assert_false(add_node("{'driver': 'raw', 'file': 'proto', 'node-name': 'fmt'}", NULL));
    g_assert_false(add_node("{'driver': 'raw', 'file': 'nix', 'node-name': 'b'}", NULL));
    g_assert_false(add_node("{'driver': 'raw', 'file': 'proto', 'node-name': '1b'}", NULL));
    g_assert_false(block_close(bt->graph, "proto", NULL)); /* fmt needs it */
    BlockBackend *blk = blk_find(bt->graph, "fmt", NULL);
    g_assert_nonnull(blk);
    g_assert_true(blk_attach(blk, &dev, "dev", NULL, true, false, bt->loop, NULL));
    g_assert_false(block_close(bt->graph, "fmt", &err));
    g_assert_nonnull(strstr(error_message(err), "'dev'"));
    error_free(err);
    g_autoptr(Json) q = block_query(bt->graph, false);
    g_assert_cmpint(json_length(q), ==, 1);
    Json *ins = json_get(json_at(q, 0), "inserted");
    g_assert_cmpstr(json_get_str(ins, "node-name"), ==, "fmt");
    g_assert_cmpstr(json_get_str(ins, "file"), ==, p);
    g_autoptr(Json) nodes = block_query_named_nodes(bt->graph, false);
    g_assert_cmpint(json_length(nodes), ==, 2);
    GString *text = g_string_new(NULL);
    block_print_info(bt->graph, text, true);
    g_assert_nonnull(strstr(text->str, "Attached to:      dev"));
    g_string_free(text, TRUE);
    blk_detach(blk);
    g_assert_true(block_close(bt->graph, "fmt", NULL));
    g_assert_true(block_close(bt->graph, "proto", NULL));
    g_assert_null(bt->graph->nodes);
    bt_end();
}

static void test_geometry(void)
{
    bt_begin();
    g_autofree char *p = make_raw("a", 16 << 20);
    BlockBackend *blk = open_raw(p, "");
    DiskGeometry g;
    bool lba;
    blk_guess_geometry(blk, &g, &lba);
    g_assert_cmpint(g.cylinders, ==, 32);
    g_assert_cmpint(g.heads, ==, 16);
    g_assert_false(lba);
    uint8_t mbr[512] = {0};
    mbr[510] = 0x55;
    mbr[511] = 0xaa;
    mbr[0x1be + 5] = 7;   /* 8 heads */
    mbr[0x1be + 6] = 32;  /* 32 sectors */
    mbr[0x1be + 12] = 10; /* some length */
    g_assert_cmpint(blk_pwrite(blk, 0, mbr, 512, 0), ==, 0);
    blk_guess_geometry(blk, &g, &lba);
    g_assert_cmpint(g.cylinders, ==, 128);
    g_assert_cmpint(g.heads, ==, 8);
    g_assert_cmpint(g.sectors, ==, 32);
    bt_end();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    report_set_program("test-block");
    g_test_add_func("/block/drive/mistakes", test_drive_mistakes);
    g_test_add_func("/block/drive/places", test_drive_places);
    g_test_add_func("/block/raw", test_raw);
    g_test_add_func("/block/probed-raw", test_probed_raw);
    g_test_add_func("/block/snapshot-on", test_snapshot_on);
    g_test_add_func("/block/locks", test_locks);
    g_test_add_func("/block/served-loop", test_served_loop);
    g_test_add_func("/block/alignment", test_alignment);
    g_test_add_func("/block/engines", test_engines);
    g_test_add_func("/block/error-policy", test_error_policy);
    g_test_add_func("/block/nodes", test_nodes);
    g_test_add_func("/block/geometry", test_geometry);
    return g_test_run();
}
