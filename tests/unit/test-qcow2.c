/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: random requests against a shadow, failures, crashes, foreign and broken images. */
#include "tests/unit/crash-test.h"

#define SLOTS 8

typedef struct Format {
    unsigned version, cluster_bits;
    int order;
    bool backing, discard;
    uint64_t size;
    bool extended;
} Format;

/* ---- random requests ---- */

typedef struct Random {
    const Format *f;
    BlockBackend *blk;
    uint8_t *shadow;
    GRand *rng;
    int left;    /* requests in flight */
    bool faults; /* failures are expected */
    int failed;
    bool open; /* a failure or a discard: what reads give is not known before it is settled */
    struct Slot {
        struct Random *r;
        int op; /* 0 idle, 1 read, 2 write, 3 zero, 4 discard, 5 flush */
        uint64_t off, len;
        uint8_t *buf;
        struct iovec one;
        IoVec v;
    } slot[SLOTS];
} Random;

static void read_back(Random *r, uint64_t off, uint64_t len)
{
    /* What a discard or a failed request left is either the old or the new contents;
     * from now on it must stay what it is. */
    g_assert_cmpint(blk_pread(r->blk, off, r->shadow + off, len), ==, 0);
}

static void slot_done(void *opaque, int result)
{
    struct Slot *s = opaque;
    Random *r = s->r;
    if (!r->faults) {
        g_assert_cmpint(result, ==, 0);
    }
    r->open |= result < 0 || s->op == 4;
    if (result == 0 && s->op == 1 && !r->open) {
        g_assert_cmpmem(s->buf, s->len, r->shadow + s->off, s->len);
    } else if (result == 0 && s->op == 2) {
        memcpy(r->shadow + s->off, s->buf, s->len);
    } else if (result == 0 && s->op == 3) {
        memset(r->shadow + s->off, 0, s->len);
    }
    r->failed += result < 0;
    g_free(s->buf);
    s->buf = NULL;
    s->op = 0;
    r->left--;
}

static bool overlaps(Random *r, uint64_t off, uint64_t len)
{
    for (int i = 0; i < SLOTS; i++) {
        struct Slot *s = &r->slot[i];
        if (s->op && s->op != 5 && off < s->off + s->len && s->off < off + len) {
            return true;
        }
    }
    return false;
}

static void submit(Random *r, struct Slot *s)
{
    uint64_t sectors = r->f->size / 512;
    uint64_t max = MAX((3ull << r->f->cluster_bits) / 512, 8);
    s->len = (1 + (uint64_t)g_rand_int_range(r->rng, 0, (int)MIN(max, sectors / 2))) * 512;
    s->off = (uint64_t)g_rand_int_range(r->rng, 0, (int)sectors) * 512;
    s->len = MIN(s->len, r->f->size - s->off);
    if (overlaps(r, s->off, s->len)) {
        return;
    }
    int dice = g_rand_int_range(r->rng, 0, 100);
    s->op = dice < 30 ? 1 : dice < 80 ? 2 : dice < 90 ? 3 : dice < 97 ? 4 : 5;
    s->r = r;
    s->buf = g_malloc(s->len);
    memset(s->buf, g_rand_int_range(r->rng, 1, 256), s->len);
    s->one = (struct iovec){s->buf, s->len};
    s->v = (IoVec){.iov = &s->one, .n = 1, .size = s->len};
    r->left++;
    loop_lock(bt->loop);
    switch (s->op) {
    case 1:
        blk_aio_preadv(r->blk, s->off, &s->v, slot_done, s);
        break;
    case 2:
        blk_aio_pwritev(r->blk, s->off, &s->v, dice % 7 ? 0 : BLK_FUA, slot_done, s);
        break;
    case 3:
        blk_aio_zero(r->blk, s->off, s->len, dice % 2 ? BLK_MAY_UNMAP : 0, slot_done, s);
        break;
    case 4:
        blk_aio_discard(r->blk, s->off, s->len, slot_done, s);
        break;
    default:
        blk_aio_flush(r->blk, slot_done, s);
        break;
    }
    loop_unlock(bt->loop);
}

static void run_requests(Random *r, int n)
{
    for (int i = 0; i < n; i++) {
        struct Slot *s = &r->slot[g_rand_int_range(r->rng, 0, SLOTS)];
        if (!s->op) {
            submit(r, s);
        }
        bool wait = g_rand_int_range(r->rng, 0, 3) == 0;
        if (wait) {
            loop_poll(bt->loop, 0);
        }
        /* Discards leave the contents open: settle them now and then. */
        if (i % 16 == 15) {
            bt_run(&r->left);
            if (!r->faults) {
                uint8_t *now = g_malloc(r->f->size);
                g_assert_cmpint(blk_pread(r->blk, 0, now, r->f->size), ==, 0);
                memcpy(r->shadow, now, r->f->size);
                g_free(now);
                r->open = false;
            }
        }
    }
    bt_run(&r->left);
}

/* All contents are checked; discards, whose outcome is open, are settled one by one. */
static void run_strict(Random *r, int n)
{
    for (int i = 0; i < n; i++) {
        struct Slot *s = &r->slot[g_rand_int_range(r->rng, 0, SLOTS)];
        if (!s->op) {
            submit(r, s);
            if (s->op == 4) {
                bt_run(&r->left);
                read_back(r, s->off, s->len);
                r->open = false;
            }
        }
        if (g_rand_int_range(r->rng, 0, 3) == 0) {
            loop_poll(bt->loop, 0);
        }
    }
    bt_run(&r->left);
}

static void dump(const char *name, const uint8_t *data, uint64_t len)
{
    g_autofree char *p = bt_path(name);
    g_assert_true(g_file_set_contents(p, (const char *)data, (gssize)len, NULL));
}

/* A new image in memory, opened as a drive. */
static BlockBackend *new_image(const Format *f)
{
    Error *err = NULL;
    g_autofree char *base = bt_path("base.raw");
    Qcow2CreateOptions c = {.size = f->size,
                            .version = f->version,
                            .cluster_bits = f->cluster_bits,
                            .refcount_order = f->order,
                            .refcount_order_set = true,
                            .extended_l2 = f->extended,
                            .backing_file = f->backing ? base : NULL,
                            .backing_format = f->backing ? "raw" : NULL};
    BlockNode *n = bt_node("{'driver': 'mem'}", &err);
    g_assert_true(qcow2_create(n, &c, &err));
    node_unref(n);
    return bt_drive(f->discard ? "{'driver': 'qcow2', 'file': {'driver': 'mem'}, "
                                 "'discard': 'unmap', 'id': 'd'}"
                               : "{'driver': 'qcow2', 'file': {'driver': 'mem'}, 'id': 'd'}",
                    NULL);
}

static void make_base(const Format *f, uint8_t *shadow)
{
    uint64_t len = f->size * 3 / 4 / 512 * 512; /* shorter than the overlay */
    for (uint64_t i = 0; i < len; i++) {
        shadow[i] = (uint8_t)(i / 512 * 7 + 1);
    }
    dump("base.raw", shadow, len);
}

/* `leaks`: they are allowed. */
static void check_image(const char *name, bool leaks)
{
    if (!bt_have("qemu-img")) {
        return;
    }
    int st = bt_sh("qemu-img check -f qcow2 %s", name);
    if (st != 0 && !(leaks && st == 3)) {
        bt_show_output();
        g_test_message("qemu-img check %s: status %d", name, st);
        g_assert_not_reached();
    }
}

static void compare_image(const char *name)
{
    if (bt_have("qemu-img") && bt_sh("qemu-img compare -f qcow2 -F raw %s shadow.raw", name)) {
        bt_show_output();
        g_assert_not_reached();
    }
}

static void test_random(gconstpointer data)
{
    const Format *f = data;
    bt_begin();
    bt->mem.shuffle = true;
    Random r = {.f = f, .shadow = g_malloc0(f->size)};
    r.rng = g_rand_new_with_seed(f->cluster_bits * 100u + (unsigned)f->order);
    if (f->backing) {
        make_base(f, r.shadow);
    }
    for (int round = 0; round < 2; round++) {
        r.blk = round ? bt_drive("{'driver': 'qcow2', 'file': {'driver': 'mem'}, 'id': 'd'}", NULL)
                      : new_image(f);
        run_strict(&r, 500);
        bt_graph_free();
        dump("image", bt->mem.data, bt->mem.size);
        dump("shadow.raw", r.shadow, f->size);
        check_image("image", false);
        compare_image("image");
        bt_graph_new();
    }
    g_rand_free(r.rng);
    g_free(r.shadow);
    bt_end();
}

/* ---- failures ---- */

static void fail_at(const Format *f, int at, bool on)
{
    bt_begin();
    Random r = {.f = f, .shadow = g_malloc0(f->size), .faults = true};
    r.rng = g_rand_new_with_seed(42);
    if (f->backing) {
        make_base(f, r.shadow);
    }
    r.blk = new_image(f);
    bt->mem.ops = 0;
    bt->mem.fail_at = at;
    bt->mem.fail_on = on;
    run_requests(&r, 60);
    bt->mem.fail_at = 0;
    r.faults = false;
    /* After the failure the image works on, unless it had to stop itself. */
    if (!((Qcow2 *)r.blk->node->s)->corrupt) {
        read_back(&r, 0, f->size);
        g_assert_cmpint(blk_flush(r.blk), ==, 0);
        dump("shadow.raw", r.shadow, f->size);
    }
    bt_graph_free();
    dump("image", bt->mem.data, bt->mem.size);
    check_image("image", true);
    compare_image("image");
    g_rand_free(r.rng);
    g_free(r.shadow);
    bt_end();
}

static void test_faults(gconstpointer data)
{
    int step = bt_have("qemu-img") && !g_test_thorough() ? 9 : 1;
    for (int at = 1; at < 400; at += step) {
        fail_at(data, at, at % 2);
    }
}

/* ---- crashes ---- */

static void test_crash(gconstpointer data)
{
    const Format *f = data;
    if (!bt_have("qemu-img")) {
        g_test_skip("qemu-img is not installed");
        return;
    }
    bt_begin();
    Random r = {.f = f, .shadow = g_malloc0(f->size)};
    r.rng = g_rand_new_with_seed(7);
    if (f->backing) {
        make_base(f, r.shadow);
    }
    r.blk = new_image(f);
    uint64_t start_size;
    g_autofree uint8_t *start = crash_log_begin(&start_size);
    run_requests(&r, 120);
    bt_graph_free();
    guint step = MAX(bt->mem.log->len / 40, 1);
    for (guint at = 1; at <= bt->mem.log->len; at += step) {
        uint64_t size;
        g_autofree uint8_t *img = crash_image_at(at, r.rng, start, start_size, &size);
        dump("image", img, size);
        check_image("image", true);
    }
    g_rand_free(r.rng);
    g_free(r.shadow);
    bt_end();
}

/* ---- qemu-img's images ---- */

static void fill_raw(const char *name, uint64_t size)
{
    g_autofree uint8_t *data = g_malloc0(size);
    for (uint64_t i = 0; i < size; i += 512) {
        if ((i / 4096) % 3) {
            memset(data + i, (int)(i / 512 * 13 + 1), 512);
        }
    }
    dump(name, data, size);
}

static void expect_same(const char *json, const char *raw)
{
    g_autofree char *p = bt_path(raw), *want = NULL;
    gsize len;
    g_assert_true(g_file_get_contents(p, &want, &len, NULL));
    BlockBackend *blk = bt_drive(json, NULL);
    g_assert_cmpint(blk_length(blk), ==, (int64_t)len);
    g_autofree char *got = g_malloc(len);
    g_assert_cmpint(blk_pread(blk, 0, got, len), ==, 0);
    g_assert_cmpmem(got, len, want, len);
    /* And in small pieces, across clusters. */
    for (gsize off = 0; off + 1536 <= len; off += 101 * 512) {
        g_assert_cmpint(blk_pread(blk, off, got, 1536), ==, 0);
        g_assert_cmpmem(got, 1536, want + off, 1536);
    }
}

static void test_foreign(void)
{
    static const char *const how[] = {
        "-o compat=0.10",
        "-o cluster_size=512",
        "-o cluster_size=4k,refcount_bits=1",
        "-o cluster_size=2M,refcount_bits=64",
        "-c",
        "-c -o cluster_size=4k",
        "-c -o compression_type=zstd",
        "-o preallocation=metadata",
        "-o extended_l2=on",
        "-o extended_l2=on,cluster_size=16k,preallocation=metadata",
        "-o data_file=ext",
        "-o data_file=ext,data_file_raw=on",
    };
    if (!bt_have("qemu-img")) {
        g_test_skip("qemu-img is not installed");
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(how); i++) {
        bt_begin();
        fill_raw("raw", 3 << 20);
        g_assert_cmpint(bt_sh("qemu-img convert -f raw -O qcow2 %s raw img", how[i]), ==, 0);
        g_autofree char *p = bt_path("img");
        g_autofree char *json = g_strdup_printf("{'format': 'qcow2', 'file': '%s'}", p);
        expect_same(json, "raw");
        bt_end();
    }
}

static void test_chain(void)
{
    if (!bt_have("qemu-img") || !bt_have("qemu-io")) {
        g_test_skip("qemu-img is not installed");
        return;
    }
    bt_begin();
    fill_raw("raw", 2 << 20);
    g_assert_cmpint(bt_sh("qemu-img convert -O qcow2 raw base && "
                          "qemu-img create -q -f qcow2 -b base -F qcow2 mid 3M && "
                          "qemu-io -c 'write -P 5 100k 200k' -c 'write -z 1M 128k' mid && "
                          "qemu-img create -q -f qcow2 -b mid -F qcow2 top && "
                          "qemu-io -c 'write -P 9 2900k 50k' top && "
                          "qemu-img convert -O raw top flat"),
                    ==, 0);
    g_autofree char *p = bt_path("top");
    g_autofree char *json = g_strdup_printf("{'file': '%s'}", p);
    expect_same(json, "flat");
    bt_end();
}

static void expect_refused(const char *make, const char *word)
{
    char *message = NULL;
    bt_begin();
    if (bt_sh("%s", make) == 0) {
        g_autofree char *p = bt_path("img");
        g_autofree char *json = g_strdup_printf("{'format': 'qcow2', 'file': '%s'}", p);
        g_assert_null(bt_drive(json, &message));
        if (!strstr(message, word)) {
            g_test_message("%s does not say %s", message, word);
            g_assert_not_reached();
        }
    }
    g_free(message);
    bt_end();
}

static void test_refused(void)
{
    if (!bt_have("qemu-img")) {
        g_test_skip("qemu-img is not installed");
        return;
    }
    expect_refused("qemu-img create -f qcow2 -o data_file=ext img 1M && rm ext", "data file");
    expect_refused("qemu-img create -f qcow2 --object secret,id=s,data=x "
                   "-o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 img 1M",
                   "encrypted");
    expect_refused("printf xxxxxxxx > img", "QFI");
    expect_refused("qemu-img create -f qcow2 img 1M && qemu-img create -f qcow2 -u -b img -F qcow2 "
                   "img 1M",
                   "chain");
}

static void test_snapshots_kept(void)
{
    if (!bt_have("qemu-img")) {
        g_test_skip("qemu-img is not installed");
        return;
    }
    bt_begin();
    fill_raw("shadow.raw", 2 << 20);
    g_assert_cmpint(bt_sh("qemu-img convert -O qcow2 shadow.raw img && qemu-img snapshot -c s img"),
                    ==, 0);
    g_autofree char *p = bt_path("img");
    g_autofree char *json =
        g_strdup_printf("{'format': 'qcow2', 'file': '%s', 'discard': 'unmap'}", p);
    BlockBackend *blk = bt_drive(json, NULL);
    uint8_t buf[5000];
    memset(buf, 0xee, sizeof(buf));
    for (uint64_t off = 0; off + sizeof(buf) < 2 << 20; off += 70000) {
        g_assert_cmpint(blk_pwrite(blk, off, buf, sizeof(buf), 0), ==, 0);
    }
    g_assert_cmpint(node_discard(blk_node(blk), 1 << 20, 512 << 10), ==, 0);
    bt_graph_free();
    check_image("img", false);
    g_assert_cmpint(bt_sh("qemu-img snapshot -a s img"), ==, 0);
    check_image("img", false);
    compare_image("img");
    bt_end();
}

static void test_dirty_repaired(void)
{
    if (!bt_have("qemu-io")) {
        g_test_skip("qemu-io is not installed");
        return;
    }
    bt_begin();
    fill_raw("shadow.raw", 1 << 20);
    g_assert_cmpint(bt_sh("qemu-img create -f qcow2 -o lazy_refcounts=on img 64M"), ==, 0);
    bt_sh("ulimit -c 0; qemu-io -c 'write -P 3 0 5M' -c 'write -P 4 40M 1M' -c flush -c abort img");
    g_autofree char *p = bt_path("img");
    g_autofree char *json = g_strdup_printf("{'format': 'qcow2', 'file': '%s'}", p);
    BlockBackend *blk = bt_drive(json, NULL);
    uint8_t buf[512];
    g_assert_cmpint(blk_pread(blk, 40 << 20, buf, 512), ==, 0);
    g_assert_cmpint(buf[0], ==, 4);
    g_assert_cmpint(blk_pwrite(blk, 50 << 20, buf, 512, 0), ==, 0);
    bt_graph_free();
    check_image("img", false);
    bt_end();
}

/* ---- size ---- */

static void test_grow(void)
{
    static const Format f = {3, 9, 4, true, false, 64 << 10};
    bt_begin();
    uint8_t *shadow = g_malloc0(8 << 20);
    make_base(&f, shadow);
    BlockBackend *blk = new_image(&f);
    Error *err = NULL;
    g_assert_true(blk_resize(blk, 8 << 20, &err));
    g_assert_cmpint(blk_length(blk), ==, 8 << 20);
    uint8_t buf[3000];
    memset(buf, 0x77, sizeof(buf));
    for (uint64_t off = 1000; off < (8 << 20) - sizeof(buf); off += 400000) {
        g_assert_cmpint(blk_pwrite(blk, off, buf, sizeof(buf), 0), ==, 0);
        memcpy(shadow + off, buf, sizeof(buf));
    }
    bt_graph_free();
    dump("image", bt->mem.data, bt->mem.size);
    dump("shadow.raw", shadow, 8 << 20);
    check_image("image", false);
    compare_image("image");
    g_free(shadow);
    bt_end();
}

/* The refcount table of one cluster is outgrown. */
static void test_grow_refcounts(void)
{
    static const Format f = {3, 9, 6, false, false, 4 << 20};
    bt_begin();
    BlockBackend *blk = new_image(&f);
    uint8_t *shadow = g_malloc(f.size);
    for (uint64_t i = 0; i < f.size; i++) {
        shadow[i] = (uint8_t)(i / 512 + 1);
    }
    for (uint64_t off = 0; off < f.size; off += 64 << 10) {
        g_assert_cmpint(blk_pwrite(blk, off, shadow + off, 64 << 10, 0), ==, 0);
    }
    bt_graph_free();
    dump("image", bt->mem.data, bt->mem.size);
    dump("shadow.raw", shadow, f.size);
    check_image("image", false);
    compare_image("image");
    g_free(shadow);
    bt_end();
}

/* ---- broken images ---- */

static void test_headers(void)
{
    static const Format f = {3, 12, 4, false, false, 1 << 20};
    static const uint8_t values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    bt_begin();
    new_image(&f);
    bt_graph_free();
    uint64_t size = bt->mem.size;
    g_autofree uint8_t *good = g_memdup2(bt->mem.data, size);
    uint8_t buf[4096];
    for (unsigned at = 0; at < 160; at++) {
        for (size_t v = 0; v < ARRAY_LEN(values); v++) {
            bt_graph_new();
            memset(bt->mem.data, 0, bt->mem.room);
            memcpy(bt->mem.data, good, size);
            bt->mem.size = size;
            bt->mem.data[at] = values[v];
            char *message = NULL;
            BlockBackend *blk = bt_drive("{'driver': 'qcow2', 'file': {'driver': 'mem'}, "
                                         "'read-only': true}",
                                         &message);
            if (blk && blk_length(blk) >= 4096) {
                blk_pread(blk, 0, buf, sizeof(buf)); /* may fail, must not crash */
            } else if (!blk) {
                g_assert_nonnull(strchr(message, '\'')); /* names the image or a field */
            }
            g_free(message);
            bt_graph_free();
        }
    }
    bt_end();
}

/* Tables that point to themselves, to each other, to nowhere. */
static void test_hostile_tables(void)
{
    static const Format f = {3, 9, 4, false, false, 1 << 20};
    bt_begin();
    new_image(&f);
    bt_graph_free();
    uint64_t size = bt->mem.size;
    g_autofree uint8_t *good = g_memdup2(bt->mem.data, size);
    GRand *rng = g_rand_new_with_seed(3);
    uint8_t buf[4096];
    for (int i = 0; i < 300; i++) {
        bt_graph_new();
        memset(bt->mem.data, 0, bt->mem.room);
        memcpy(bt->mem.data, good, size);
        bt->mem.size = size;
        for (int k = 0; k < 20; k++) {
            uint64_t at = 512 + (uint64_t)g_rand_int_range(rng, 0, (int)(size - 520) / 8) * 8;
            uint64_t v = (uint64_t)g_rand_int_range(rng, 0, 64) * 512;
            v |= (uint64_t)(g_rand_int(rng) & 0xc0000001u) << 32 & (BIT(63) | BIT(62));
            st_be64(bt->mem.data + at, g_rand_int_range(rng, 0, 8) ? v : g_rand_int(rng));
        }
        BlockBackend *blk =
            bt_drive("{'driver': 'qcow2', 'file': {'driver': 'mem'}, 'discard': 'unmap'}", NULL);
        memset(buf, 0x5a, sizeof(buf));
        for (int k = 0; k < 20; k++) {
            uint64_t off = (uint64_t)g_rand_int_range(rng, 0, 2000) * 512;
            blk_pwrite(blk, off, buf, sizeof(buf), 0);
            blk_pread(blk, off, buf, sizeof(buf));
            node_discard(blk_node(blk), off, sizeof(buf));
        }
        blk_flush(blk);
        bt_graph_free();
    }
    g_rand_free(rng);
    bt_end();
}

int main(int argc, char **argv)
{
    static const Format formats[] = {
        {2, 9, 4, false, true, 256 << 10},     {3, 9, 0, false, true, 256 << 10},
        {3, 10, 1, true, true, 300 << 10},     {3, 12, 2, false, false, 1 << 20},
        {2, 12, 4, true, true, 1 << 20},       {3, 12, 3, true, true, 1 << 20},
        {3, 16, 4, true, true, 4 << 20},       {3, 16, 5, false, true, 4 << 20},
        {3, 9, 6, true, true, 256 << 10},      {3, 21, 4, false, true, 16 << 20},
        {3, 14, 4, true, true, 2 << 20, true}, {3, 16, 4, false, true, 4 << 20, true},
    };
    g_test_init(&argc, &argv, NULL);
    report_set_program("test-qcow2");
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        const Format *f = &formats[i];
        g_autofree char *name = g_strdup_printf(
            "v%u-cluster%u-refcount%d%s%s", f->version, 1u << f->cluster_bits, 1 << f->order,
            f->backing ? "-backing" : "", f->extended ? "-extended" : "");
        g_autofree char *a = g_strdup_printf("/qcow2/random/%s", name);
        g_test_add_data_func(a, f, test_random);
        if (i == 1 || i == 4 || i == 6 || i == 10) {
            g_autofree char *b = g_strdup_printf("/qcow2/faults/%s", name);
            g_test_add_data_func(b, f, test_faults);
        }
        if (i == 2 || i == 5 || i == 10) {
            g_autofree char *c = g_strdup_printf("/qcow2/crash/%s", name);
            g_test_add_data_func(c, f, test_crash);
        }
    }
    g_test_add_func("/qcow2/foreign", test_foreign);
    g_test_add_func("/qcow2/chain", test_chain);
    g_test_add_func("/qcow2/refused", test_refused);
    g_test_add_func("/qcow2/snapshots-kept", test_snapshots_kept);
    g_test_add_func("/qcow2/dirty-repaired", test_dirty_repaired);
    g_test_add_func("/qcow2/grow", test_grow);
    g_test_add_func("/qcow2/grow-refcounts", test_grow_refcounts);
    g_test_add_func("/qcow2/headers", test_headers);
    g_test_add_func("/qcow2/hostile-tables", test_hostile_tables);
    return g_test_run();
}
