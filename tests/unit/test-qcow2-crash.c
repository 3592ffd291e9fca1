/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2, whatever fails: every request to the image file and every allocation whose size an image
 * decides fails in turn during every kind of operation, and the machine stops at every write, with
 * what was not flushed lost in part.
 * The image must open, have leaks at most, and hold what was written and flushed.
 *
 * RHEA_CRASH_ROUNDS=N: more rounds, with other seeds; RHEA_CRASH_SECONDS=N: rounds for so long with
 * each shape, from a random seed on (the long run).
 */
#include "block/bitmap.h"
#include "tests/unit/crash-test.h"

#define MAX_DISK (3u << 20)

typedef struct Shape {
    const char *name;
    unsigned version, cluster_bits;
    int order;
    uint64_t size;
    bool extended;
} Shape;

static const Shape shapes[] = {
    {"v3-512", 3, 9, 4, 96 << 10, false},
    {"v2-1k", 2, 10, 4, 200 << 10, false},
    {"v3-4k-refcount8", 3, 12, 3, 512 << 10, false},
    {"v3-16k-extended", 3, 14, 4, 1 << 20, true},
    {"v3-64k-refcount64", 3, 16, 6, 1 << 20, false},
};

static BlockNode *node; /* the image under test */

static BlockNode *open_image(unsigned check, Error **errp)
{
    g_autoptr(Json) o =
        bt_json("{'driver': 'qcow2', 'file': {'driver': 'mem'}, 'discard': 'unmap', "
                "'pass-discard-other': true}");
    BlockOpenFlags f = {.check = check, .no_backing = true};
    return node_open(bt->graph, o, &f, errp);
}

static void make_image(const Shape *sh)
{
    Error *err = NULL;
    Qcow2CreateOptions c = {.size = sh->size,
                            .version = sh->version,
                            .cluster_bits = sh->cluster_bits,
                            .refcount_order = sh->order,
                            .refcount_order_set = true,
                            .extended_l2 = sh->extended};
    BlockNode *n = bt_node("{'driver': 'mem'}", &err);
    g_assert_true(qcow2_create(n, &c, &err));
    node_unref(n);
    node = open_image(0, &err);
    g_assert_nonnull(node);
}

static void close_image(void)
{
    node_unref(node);
    node = NULL;
}

/* ---- operations ---- */

/* The disk as it must read; `touched`: sectors whose contents are open since the last flush. */
typedef struct Model {
    uint8_t disk[MAX_DISK];
    uint8_t touched[MAX_DISK / 512];
    uint8_t ever[MAX_DISK / 4096]; /* what the dirty bitmap must have: written at any time */
    uint64_t size;
} Model;

static Model *model;

static void touch(uint64_t off, uint64_t len)
{
    for (uint64_t s = off / 512; s < DIV_ROUND_UP(off + len, 512); s++) {
        model->touched[s] = 1;
    }
}

static void mark_ever(uint64_t off, uint64_t len)
{
    for (uint64_t g = off / 4096; g < DIV_ROUND_UP(off + len, 4096); g++) {
        model->ever[g] = 1;
    }
}

static void random_range(GRand *rng, uint64_t *off, uint64_t *len)
{
    uint64_t sectors = model->size / 512;
    uint64_t max = MIN(MAX((3ull << ((Qcow2 *)node->s)->cluster_bits) / 512, 8), sectors);
    *off = (uint64_t)g_rand_int_range(rng, 0, (int)sectors) * 512;
    *len = (uint64_t)g_rand_int_range(rng, 1, (int)max + 1) * 512;
    *len = MIN(*len, model->size - *off);
}

static int op_write(GRand *rng)
{
    uint64_t off, len;
    random_range(rng, &off, &len);
    g_autofree uint8_t *buf = g_malloc(len);
    for (uint64_t i = 0; i < len; i += 512) {
        memset(buf + i, g_rand_int_range(rng, 1, 256), 512);
    }
    touch(off, len);
    int ret = node_pwrite(node, off, buf, len, g_rand_int_range(rng, 0, 8) ? 0 : BLK_FUA);
    if (ret == 0) {
        memcpy(model->disk + off, buf, len);
        mark_ever(off, len);
    }
    return ret;
}

static int op_zero(GRand *rng)
{
    uint64_t off, len;
    random_range(rng, &off, &len);
    touch(off, len);
    int ret = node_zero(node, off, len, g_rand_boolean(rng) ? BLK_MAY_UNMAP : 0);
    if (ret == 0) {
        memset(model->disk + off, 0, len);
        mark_ever(off, len);
    }
    return ret;
}

static int op_discard(GRand *rng)
{
    uint64_t off, len;
    random_range(rng, &off, &len);
    touch(off, len);
    int ret = node_discard(node, off, len);
    /* Either contents: from now on they are what they are. */
    return ret < 0 ? ret : node_pread(node, off, model->disk + off, len);
}

static int op_packed(GRand *rng)
{
    Qcow2 *s = node->s;
    uint64_t clusters = model->size >> s->cluster_bits;
    uint64_t off = (uint64_t)g_rand_int_range(rng, 0, (int)clusters) << s->cluster_bits;
    uint64_t len = s->cluster_size;
    g_autofree uint8_t *buf = g_malloc(len);
    memset(buf, g_rand_int_range(rng, 1, 256), len);
    struct iovec one = {buf, len};
    IoVec v = {.iov = &one, .n = 1, .size = len};
    touch(off, len);
    int ret = node_pwritev(node, off, &v, BLK_COMPRESSED);
    if (ret == 0) {
        memcpy(model->disk + off, buf, len);
        mark_ever(off, len);
    }
    return ret;
}

static int op_flush(GRand *rng)
{
    return node_flush(node);
}

static int op_snapshot(GRand *rng)
{
    BlockSnapshot s = {.name = (char *)"s", .icount = UINT64_MAX};
    Error *err = NULL;
    if (((Qcow2 *)node->s)->n_snapshots >= 3) {
        return 0;
    }
    int ret = image_snapshot_create(node, &s, &err);
    error_free(err);
    return ret;
}

static int op_delete(GRand *rng)
{
    Qcow2 *s = node->s;
    Error *err = NULL;
    if (!s->n_snapshots) {
        return 0;
    }
    g_autofree char *id = g_strdup(s->snapshots[g_rand_int_range(rng, 0, (int)s->n_snapshots)].id);
    int ret = image_snapshot_delete(node, id, &err);
    error_free(err);
    return ret;
}

static int op_apply(GRand *rng)
{
    Qcow2 *s = node->s;
    Error *err = NULL;
    if (!s->n_snapshots) {
        return 0;
    }
    g_autofree char *id = g_strdup(s->snapshots[g_rand_int_range(rng, 0, (int)s->n_snapshots)].id);
    touch(0, MAX_DISK);
    int ret = image_snapshot_apply(node, id, &err);
    error_free(err);
    model->size = node->length;
    memset(model->disk, 0, sizeof(model->disk));
    return ret < 0 ? ret : node_pread(node, 0, model->disk, model->size);
}

static int op_grow(GRand *rng)
{
    Error *err = NULL;
    Qcow2 *s = node->s;
    uint64_t size = model->size + (uint64_t)g_rand_int_range(rng, 1, 64) * 512;
    if (size > MAX_DISK || (s->n_snapshots && s->version < 3)) {
        return 0;
    }
    touch(model->size, size - model->size);
    int ret = node_resize(node, size,
                          g_rand_int_range(rng, 0, 4) ? PREALLOC_OFF : PREALLOC_METADATA, &err);
    error_free(err);
    if (ret == 0) {
        memset(model->disk + model->size, 0, size - model->size);
        model->size = size;
    }
    return ret;
}

static int op_shrink(GRand *rng)
{
    Error *err = NULL;
    uint64_t size = model->size - (uint64_t)g_rand_int_range(rng, 1, 40) * 512;
    if (((Qcow2 *)node->s)->n_snapshots || size < (64 << 10) || size > model->size) {
        return 0;
    }
    touch(size, model->size - size);
    int ret = node_truncate(node, size, &err);
    error_free(err);
    model->size = node->length;
    return ret;
}

static int op_amend(GRand *rng)
{
    static const int widths[] = {8, 16, 32, 64};
    Error *err = NULL;
    if (((Qcow2 *)node->s)->version < 3) {
        return 0;
    }
    g_autoptr(Json) o = json_object();
    json_put_int(o, "refcount_bits", widths[g_rand_int_range(rng, 0, 4)]);
    int ret = image_amend(node, o, false, NULL, &err);
    error_free(err);
    return ret;
}

static int op_vmstate(GRand *rng)
{
    uint8_t buf[3000];
    struct iovec one = {buf, sizeof(buf)};
    IoVec v = {.iov = &one, .n = 1, .size = sizeof(buf)};
    memset(buf, 0x77, sizeof(buf));
    return image_vmstate_pwritev(node, (uint64_t)g_rand_int_range(rng, 0, 20) * 1000, &v);
}

typedef struct Op {
    const char *name;
    int (*run)(GRand *rng);
    int weight;
    bool durable; /* when it succeeds all before it is */
} Op;

/* A second bitmap comes and goes. */
static int op_store(GRand *rng)
{
    Error *err = NULL;
    if (((Qcow2 *)node->s)->version < 3) {
        return 0;
    }
    BlockBitmap *b = bitmap_new(node, "kept", 4096, &err);
    bool ok = b && node->drv->bitmap_store(node, b, &err), stays = false;
    if (ok) {
        b->persistent = true;
        op_write(rng);
        ok = node->drv->bitmap_remove(node, b, &err);
        stays = !ok; /* it is still the image's */
    }
    if (!stays) {
        bitmap_free(b);
    }
    error_free(err);
    return ok ? 0 : -EIO;
}

static const Op ops[] = {
    {"write", op_write, 40, false},     {"zero", op_zero, 10, false},
    {"discard", op_discard, 10, false}, {"compressed", op_packed, 10, false},
    {"flush", op_flush, 12, true},      {"snapshot", op_snapshot, 5, true},
    {"delete", op_delete, 4, true},     {"apply", op_apply, 3, true},
    {"grow", op_grow, 3, false},        {"shrink", op_shrink, 2, true},
    {"amend", op_amend, 1, true},       {"vmstate", op_vmstate, 2, false},
    {"bitmap", op_store, 3, true},
};

static const Op *choose(GRand *rng)
{
    int sum = 0, at;
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        sum += ops[i].weight;
    }
    at = g_rand_int_range(rng, 0, sum);
    for (size_t i = 0;; i++) {
        at -= ops[i].weight;
        if (at < 0) {
            return &ops[i];
        }
    }
}

/* ---- operations that only fail, and do not crash ---- */

/* Clusters that nothing uses are found and given back. */
static int op_check(GRand *rng)
{
    Qcow2 *s = node->s;
    Error *err = NULL;
    BlockCheck c;
    uint64_t got;
    qcow2_alloc(s, 3, &got);
    int ret = image_check(node, BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS, NULL, &c, &err);
    error_free(err);
    return ret;
}

static int op_empty(GRand *rng)
{
    Error *err = NULL;
    int ret = image_make_empty(node, &err);
    error_free(err);
    return ret;
}

static int op_downgrade(GRand *rng)
{
    Error *err = NULL;
    Qcow2 *s = node->s;
    while (s->n_snapshots && op_delete(rng) == 0) {
    }
    g_autoptr(Json) o = json_object();
    json_put_string(o, "compat", s->version < 3 ? "1.1" : "0.10");
    int ret = image_amend(node, o, false, NULL, &err);
    error_free(err);
    return ret;
}

static int op_rename(GRand *rng)
{
    Error *err = NULL;
    int ret = image_change_backing(node, "other", "raw", &err);
    ret = ret < 0 ? ret : image_change_backing(node, NULL, NULL, &err);
    error_free(err);
    return ret;
}

static int op_show(GRand *rng)
{
    return node_pread(node, 0, model->disk, model->size);
}

static const Op more_ops[] = {
    {"check", op_check}, {"empty", op_empty},         {"backing", op_rename},
    {"read", op_show},   {"downgrade", op_downgrade},
};

/* ---- failures ---- */

/* An image with some of everything in it. */
static void prepare(const Shape *sh, GRand *rng)
{
    make_image(sh);
    model->size = sh->size;
    for (int i = 0; i < 30; i++) {
        op_write(rng);
    }
    op_packed(rng);
    op_packed(rng);
    op_snapshot(rng);
    for (int i = 0; i < 10; i++) {
        op_write(rng);
        op_zero(rng);
    }
    op_snapshot(rng);
    g_assert_cmpint(node_flush(node), ==, 0);
}

/* Runs `op` with the at-th request or allocation failing; true if it was reached. */
static bool fail_once(const Shape *sh, const Op *op, Fault fault, int at, bool on)
{
    bt_begin();
    model = g_new0(Model, 1);
    GRand *rng = g_rand_new_with_seed(5);
    prepare(sh, rng);
    if (op->run == op_shrink) {
        while (((Qcow2 *)node->s)->n_snapshots) {
            op_delete(rng);
        }
    }
    crash_arm(fault, at, on);
    op->run(rng);
    node_flush(node);
    bool reached = crash_disarm(at);
    g_autofree char *what = crash_fault_text(fault, at, on);
    g_autofree char *when = g_strdup_printf("%s: %s with %s", sh->name, op->name, what);
    /* It goes on working, or has stopped itself. */
    int ret = op_write(rng);
    if (fault == FAULT_MEMORY && (ret < 0 || op_write(rng) < 0 || node_flush(node) < 0)) {
        g_error("%s: the disk does not go on", when);
    }
    op_write(rng);
    close_image();
    crash_expect_sound(open_image, false, when);
    g_rand_free(rng);
    g_free(model);
    bt_end();
    return reached;
}

static void test_failures(gconstpointer data)
{
    const Shape *sh = data;
    unsigned n[2] = {0, 0};
    for (size_t o = 0; o < ARRAY_LEN(ops) + ARRAY_LEN(more_ops); o++) {
        const Op *op = o < ARRAY_LEN(ops) ? &ops[o] : &more_ops[o - ARRAY_LEN(ops)];
        for (int kind = 0; kind < 4; kind++) {
            Fault fault = kind & 1 ? FAULT_MEMORY : FAULT_REQUEST;
            for (int at = 1; fail_once(sh, op, fault, at, kind & 2); at++) {
                n[fault]++;
            }
        }
    }
    g_test_message("%u failures of requests, %u of allocations", n[0], n[1]);
}

/* Opening with every request and allocation failing: it works, or says why not. */
static void test_open(gconstpointer data)
{
    unsigned opened = 0, refused = 0;
    for (int kind = 0; kind < 4; kind++) {
        bool reached = true;
        for (int at = 1; reached; at++) {
            bt_begin();
            model = g_new0(Model, 1);
            GRand *rng = g_rand_new_with_seed(5);
            prepare(data, rng);
            close_image();
            Error *err = NULL;
            crash_arm(kind & 1 ? FAULT_MEMORY : FAULT_REQUEST, at, kind & 2);
            node = open_image(0, &err);
            reached = crash_disarm(at);
            g_assert_true((node != NULL) != (err != NULL));
            opened += node != NULL;
            refused += node == NULL;
            error_free(err);
            if (node) {
                close_image();
            }
            crash_expect_sound(open_image, false, "opening fails");
            g_rand_free(rng);
            g_free(model);
            bt_end();
        }
    }
    g_test_message("%u opened, %u refused", opened, refused);
}

/* ---- crashes ---- */

/* What must be there when the log has this length. */
typedef struct Point {
    guint log_len;
    uint8_t *disk;    /* when a flush had ended; else NULL */
    uint8_t *ever;    /* 4 KiB parts that the bitmap must have, when a flush had ended */
    uint8_t *touched; /* sectors that requests since the last flush may have changed */
    uint64_t size;
} Point;

static void note_point(GArray *points, bool flushed)
{
    Point p = {bt->mem.log->len, flushed ? g_memdup2(model->disk, MAX_DISK) : NULL,
               flushed ? g_memdup2(model->ever, sizeof(model->ever)) : NULL,
               g_memdup2(model->touched, sizeof(model->touched)), model->size};
    g_array_append_val(points, p);
}

/* What was flushed and not touched since reads as it did. */
static void expect_data(const GArray *points, guint cut, const char *when, unsigned *bitmaps)
{
    const Point *flushed = NULL, *now = NULL;
    for (guint i = 0; i < points->len; i++) {
        const Point *p = &g_array_index(points, Point, i);
        if (p->log_len <= cut && p->disk) {
            flushed = p;
        }
        /* Requests up to the first that began after the cut may have had an effect. */
        now = now && now->log_len >= cut ? now : p;
    }
    Error *err = NULL;
    BlockNode *n = flushed ? open_image(0, &err) : NULL;
    if (!n) {
        return;
    }
    /* It is there at any time, also while the disk changes its size, and a superset. */
    BlockBitmap *b = bitmap_find(n, "b");
    for (uint64_t g = 0; b && g * 4096 < MIN(flushed->size, MIN(now->size, b->size)); g++) {
        if (b->inconsistent || (flushed->ever[g] && !bitmap_get(b, g * 4096))) {
            g_error("%s: the bitmap does not say that part %u was written", when, (unsigned)g);
        }
    }
    if (!b && ((Qcow2 *)n->s)->version >= 3) {
        g_error("%s: the bitmap is lost", when);
    }
    *bitmaps += b != NULL;
    uint8_t buf[512];
    for (uint64_t s = 0; s < MIN(MIN(flushed->size, now->size), n->length) / 512; s++) {
        bool open_question = now->touched[s];
        /* `touched` is cleared at each flush: look at all points in between. */
        for (const Point *p = flushed + 1; p <= now && !open_question; p++) {
            open_question = p->touched[s];
        }
        if (open_question) {
            continue;
        }
        g_assert_cmpint(node_pread(n, s * 512, buf, 512), ==, 0);
        if (memcmp(buf, flushed->disk + s * 512, 512)) {
            g_error("%s: sector %u is %02x, was flushed as %02x", when, (unsigned)s, buf[0],
                    flushed->disk[s * 512]);
        }
    }
    node_unref(n);
}

static void begin_bitmap(void)
{
    Error *err = NULL;
    BlockBitmap *b = bitmap_new(node, "b", 4096, &err);
    b->persistent = true;
    g_assert_true(node->drv->bitmap_store(node, b, &err));
}

static void random_ops(const Shape *sh, GRand *rng, unsigned n, GArray *points)
{
    note_point(points, true);
    for (unsigned i = 0; i < n; i++) {
        const Op *op = choose(rng);
        int ret = op->run(rng);
        if (ret < 0 && ret != -EOVERFLOW && ret != -EFBIG) {
            g_error("%s: %s: %s", sh->name, op->name, g_strerror(-ret));
        }
        bool flushed = op->durable && ret == 0;
        if (flushed) {
            node_flush(node);
        }
        note_point(points, flushed);
        if (flushed) {
            memset(model->touched, 0, sizeof(model->touched));
        }
    }
}

static void free_points(GArray *points)
{
    for (guint i = 0; i < points->len; i++) {
        g_free(g_array_index(points, Point, i).disk);
        g_free(g_array_index(points, Point, i).ever);
        g_free(g_array_index(points, Point, i).touched);
    }
    g_array_free(points, TRUE);
}

static unsigned crash_round(const void *shape, unsigned seed)
{
    const Shape *sh = shape;
    bt_begin();
    model = g_new0(Model, 1);
    GRand *rng = g_rand_new_with_seed(seed);
    GArray *points = g_array_new(FALSE, FALSE, sizeof(Point));
    make_image(sh);
    model->size = sh->size;
    uint64_t start_size;
    g_autofree uint8_t *start = crash_log_begin(&start_size);
    if (sh->version >= 3) {
        begin_bitmap();
    }
    random_ops(sh, rng, 120, points);
    close_image();
    GArray *log = bt->mem.log;
    guint n = log->len;
    unsigned bitmaps = 0;
    for (guint cut = 0; cut <= n; cut++) {
        uint64_t size;
        g_autofree uint8_t *img = crash_image_at(cut, rng, start, start_size, &size);
        g_autofree char *when =
            g_strdup_printf("%s, seed %u, cut at %u of %u", sh->name, seed, cut, n);
        bt->mem.log = NULL;
        crash_put(img, size);
        expect_data(points, cut, when, &bitmaps);
        crash_put(img, size);
        crash_expect_sound(open_image, false, when);
        bt->mem.log = log;
    }
    free_points(points);
    g_assert_true(sh->version < 3 || bitmaps > n / 8);
    g_rand_free(rng);
    g_free(model);
    bt_end();
    return n + 1;
}

static void test_crashes(gconstpointer data)
{
    const char *rounds = g_getenv("RHEA_CRASH_ROUNDS");
    crash_rounds(rounds ? (unsigned)atoi(rounds) : 2, crash_round, data);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    report_set_program("test-qcow2-crash");
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        g_autofree char *a = g_strdup_printf("/qcow2/failures/%s", shapes[i].name);
        g_autofree char *b = g_strdup_printf("/qcow2/crashes/%s", shapes[i].name);
        g_test_add_data_func(a, &shapes[i], test_failures);
        g_test_add_data_func(b, &shapes[i], test_crashes);
        g_autofree char *c = g_strdup_printf("/qcow2/opening/%s", shapes[i].name);
        g_test_add_data_func(c, &shapes[i], test_open);
    }
    return g_test_run();
}
