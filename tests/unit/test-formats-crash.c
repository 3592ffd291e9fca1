/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The formats other than qcow2, whatever fails: every request to the image file and every allocation
 * in turn during writes, flushes, resizes and checks; and the machine stops at every write, with
 * what was not flushed lost in part.  The image opens, `check` finds leaks at most, and what was
 * flushed is there.
 *
 * RHEA_CRASH_SECONDS=N: crashes for so long with each kind, from a random seed on.
 */
#include "tests/unit/crash-test.h"

#define MAX_SECTORS (12u << 11) /* 12 MiB */

typedef struct Kind {
    const char *name, *format, *create; /* JSON members */
    bool shrinks;
} Kind;

static const Kind kinds[] = {
    {"vdi", "vdi", "'size': '3M'", true},
    {"vdi-static", "vdi", "'size': '3M', 'static': true", true},
    {"vpc", "vpc", "'size': '5M', 'force_size': true", true},
    {"vpc-fixed", "vpc", "'size': '3M', 'subformat': 'fixed', 'force_size': true", true},
    {"vhdx", "vhdx", "'size': '3M', 'block_size': '1M'", true},
    {"vhdx-fixed", "vhdx", "'size': '3M', 'block_size': '1M', 'subformat': 'fixed'", true},
    {"vmdk", "vmdk", "'size': '3M'", true},
    {"qed", "qed", "'size': '3M'", false},
    {"qcow", "qcow", "'size': '3M'", false},
    {"qed-small", "qed", "'size': '3M', 'cluster_size': 4096, 'table_size': 1", false},
};

/* A sector is full of one byte. */
typedef struct Model {
    uint8_t disk[MAX_SECTORS], touched[MAX_SECTORS];
    uint32_t sectors;
} Model;

static BlockNode *node;
static Model *model;
static const Kind *kind;

static BlockNode *open_image(unsigned check, Error **errp)
{
    g_autofree char *text =
        g_strdup_printf("{'driver': '%s', 'file': {'driver': 'mem'}}", kind->format);
    g_autoptr(Json) o = bt_json(text);
    BlockOpenFlags f = {.check = check};
    return node_open(bt->graph, o, &f, errp);
}

static void make_image(void)
{
    Error *err = NULL;
    g_autofree char *text = g_strdup_printf("{%s}", kind->create);
    g_autoptr(Json) o = bt_json(text);
    g_autoptr(BlockOpts) opts = block_opts_new(o, kind->format);
    BlockNode *file = bt_node("{'driver': 'mem'}", &err);
    const BlockDriver *drv = block_driver_find(bt->graph, kind->format);
    g_assert_true(drv->create(bt->graph, file, opts, &err));
    node_unref(file);
    node = open_image(0, &err);
    g_assert_nonnull(node);
    model = g_new0(Model, 1);
    model->sectors = (uint32_t)(node->length / 512);
}

static void expect_sound(const char *when)
{
    if (block_driver_find(bt->graph, kind->format)->check) {
        crash_expect_sound(open_image, !strcmp(kind->format, "qed"), when);
    }
}

/* ---- operations ---- */

static void touch(uint32_t from, uint32_t to)
{
    memset(model->touched + from, 1, MIN(to, MAX_SECTORS) - from);
}

static int op_write(GRand *rng)
{
    uint32_t n = (uint32_t)g_rand_int_range(rng, 1, 100);
    uint32_t first = (uint32_t)g_rand_int_range(rng, 0, (int)(model->sectors - n));
    int byte = g_rand_int_range(rng, 0, 256);
    g_autofree uint8_t *buf = g_malloc(n * 512);
    memset(buf, byte, n * 512);
    touch(first, first + n);
    int ret =
        node_pwrite(node, first * 512ull, buf, n * 512, g_rand_int_range(rng, 0, 8) ? 0 : BLK_FUA);
    if (ret == 0) {
        memset(model->disk + first, byte, n);
    }
    return ret;
}

static int op_flush(GRand *rng)
{
    return node_flush(node);
}

static int op_grow(GRand *rng)
{
    Error *err = NULL;
    uint32_t now = model->sectors + (uint32_t)g_rand_int_range(rng, 1, 3000);
    if (now > MAX_SECTORS || !node->drv->truncate) {
        return 0;
    }
    touch(model->sectors, now);
    int ret = node_truncate(node, now * 512ull, &err);
    error_free(err);
    if (ret == 0) {
        memset(model->disk + model->sectors, 0, now - model->sectors);
        model->sectors = now;
    }
    return ret;
}

/* So much larger that every table needs another place; nothing more is written there. */
static int op_grow_much(GRand *rng)
{
    Error *err = NULL;
    uint64_t size = kind->format[0] == 'q' ? 300ull << 20 : 20ull << 30;
    int ret = strstr(kind->name, "static") || strstr(kind->name, "fixed") || !node->drv->truncate
                  ? 0
                  : node_truncate(node, size, &err);
    error_free(err);
    return ret;
}

static int op_shrink(GRand *rng)
{
    Error *err = NULL;
    uint32_t now = model->sectors - (uint32_t)g_rand_int_range(rng, 1, 2500);
    if (!kind->shrinks || now < 2000 || now > model->sectors) {
        return 0;
    }
    touch(now, model->sectors);
    int ret = node_truncate(node, now * 512ull, &err);
    error_free(err);
    model->sectors = (uint32_t)(node->length / 512);
    return ret;
}

static int op_check(GRand *rng)
{
    Error *err = NULL;
    BlockCheck c;
    if (!node->drv->check) {
        return 0;
    }
    int ret = image_check(node, BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS, NULL, &c, &err);
    error_free(err);
    return ret;
}

typedef struct Op {
    const char *name;
    int (*run)(GRand *rng);
    int weight;
} Op;
static const Op ops[] = {{"write", op_write, 60}, {"flush", op_flush, 10},
                         {"grow", op_grow, 8},    {"shrink", op_shrink, 8},
                         {"check", op_check, 2},  {"grow much", op_grow_much, 0}};

static const Op *choose(GRand *rng)
{
    int at = g_rand_int_range(rng, 0, 88);
    for (size_t i = 0;; i++) {
        at -= ops[i].weight;
        if (at < 0) {
            return &ops[i];
        }
    }
}

static void close_image(void)
{
    node_unref(node);
    node = NULL;
}

static void expect_data(const uint8_t *disk, const uint8_t *touched, uint32_t sectors,
                        const char *when)
{
    Error *err = NULL;
    BlockNode *n = open_image(0, &err);
    g_assert_nonnull(n);
    uint8_t buf[64 * 512], want[512];
    for (uint32_t s = 0; s < MIN(sectors, n->length / 512); s += 64) {
        uint32_t now = (uint32_t)MIN(64, n->length / 512 - s);
        g_assert_cmpint(node_pread(n, s * 512ull, buf, now * 512), ==, 0);
        for (uint32_t i = 0; i < now && s + i < sectors; i++) {
            memset(want, disk[s + i], 512);
            if (!touched[s + i] && memcmp(buf + i * 512, want, 512)) {
                g_error("%s: sector %u is %02x, was flushed as %02x", when, s + i, buf[i * 512],
                        disk[s + i]);
            }
        }
    }
    node_unref(n);
}

/* ---- failures ---- */

static bool fail_once(const Op *op, Fault fault, int at, bool on)
{
    bt_begin();
    make_image();
    GRand *rng = g_rand_new_with_seed(3);
    for (int i = 0; i < 12; i++) {
        g_assert_cmpint(op_write(rng), ==, 0);
    }
    g_assert_cmpint(node_flush(node), ==, 0);
    memset(model->touched, 0, sizeof(model->touched));
    g_autofree uint8_t *disk = g_memdup2(model->disk, MAX_SECTORS);
    uint32_t sectors = model->sectors;
    crash_arm(fault, at, on);
    op->run(rng);
    node_flush(node);
    bool reached = crash_disarm(at);
    g_autofree char *what = crash_fault_text(fault, at, on);
    g_autofree char *when = g_strdup_printf("%s: %s with %s", kind->name, op->name, what);
    if ((op_write(rng) < 0 || node_flush(node) < 0) && fault == FAULT_MEMORY &&
        op->run != op_grow_much) {
        g_error("%s: the disk does not go on", when);
    }
    close_image();
    expect_sound(when);
    expect_data(disk, model->touched, sectors, when);
    g_rand_free(rng);
    g_free(model);
    bt_end();
    return reached;
}

static void test_failures(gconstpointer data)
{
    unsigned n[2] = {0, 0};
    kind = data;
    for (size_t o = 0; o < ARRAY_LEN(ops); o++) {
        for (int how = 0; how < 4; how++) {
            Fault fault = how & 1 ? FAULT_MEMORY : FAULT_REQUEST;
            for (int at = 1; fail_once(&ops[o], fault, at, how & 2); at++) {
                n[fault]++;
            }
        }
    }
    g_test_message("%u failures of requests, %u of allocations", n[0], n[1]);
}

/* ---- crashes ---- */

typedef struct Point {
    guint log_len;
    bool flushed;
    Model model;
} Point;

static void note_point(GPtrArray *points, bool flushed)
{
    Point *p = g_new(Point, 1);
    p->log_len = bt->mem.log->len;
    p->flushed = flushed;
    p->model = *model;
    g_ptr_array_add(points, p);
}

static void judge_cut(const GPtrArray *points, guint cut, const char *when)
{
    const Point *flushed = NULL;
    Model open_question = {.sectors = UINT32_MAX};
    for (guint i = 0; i < points->len; i++) {
        const Point *p = points->pdata[i];
        if (p->log_len <= cut && p->flushed) {
            flushed = p;
            open_question = (Model){.sectors = p->model.sectors};
        } else if (flushed) {
            for (uint32_t s = 0; s < MAX_SECTORS; s++) {
                open_question.touched[s] |= p->model.touched[s];
            }
            open_question.sectors = MIN(open_question.sectors, p->model.sectors);
            if (p->log_len > cut) {
                break;
            }
        }
    }
    if (flushed) {
        expect_data(flushed->model.disk, open_question.touched, open_question.sectors, when);
    }
    expect_sound(when);
}

static unsigned crash_round(const void *what, unsigned seed)
{
    kind = what;
    bt_begin();
    make_image();
    GRand *rng = g_rand_new_with_seed(seed);
    g_autoptr(GPtrArray) points = g_ptr_array_new_with_free_func(g_free);
    uint64_t start_size, size;
    g_autofree uint8_t *start = crash_log_begin(&start_size);
    note_point(points, true);
    for (unsigned i = 0; i < 40; i++) {
        const Op *op = choose(rng);
        int ret = op->run(rng);
        if (ret < 0) {
            g_error("%s: %s: %s", kind->name, op->name, g_strerror(-ret));
        }
        bool flushed = op->run == op_flush;
        note_point(points, flushed);
        if (flushed) {
            memset(model->touched, 0, sizeof(model->touched));
        }
    }
    close_image();
    GArray *log = bt->mem.log;
    guint n = log->len;
    for (guint cut = 0; cut <= n; cut++) {
        g_autofree char *when =
            g_strdup_printf("%s, seed %u, cut at %u of %u", kind->name, seed, cut, n);
        g_autofree uint8_t *img = crash_image_at(cut, rng, start, start_size, &size);
        crash_put(img, size);
        bt->mem.log = NULL;
        judge_cut(points, cut, when);
        bt->mem.log = log;
    }
    g_rand_free(rng);
    g_free(model);
    bt_end();
    return n + 1;
}

static void test_crashes(gconstpointer data)
{
    crash_rounds(1, crash_round, data);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    report_set_program("test-formats-crash");
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        g_autofree char *a = g_strdup_printf("/formats/failures/%s", kinds[i].name);
        g_autofree char *b = g_strdup_printf("/formats/crashes/%s", kinds[i].name);
        g_test_add_data_func(a, &kinds[i], test_failures);
        g_test_add_data_func(b, &kinds[i], test_crashes);
    }
    return g_test_run();
}
