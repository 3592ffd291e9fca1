/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Image formats: random requests against a shadow, and images that were tampered with: nothing may
 * crash, hang or take memory without bounds, and what is refused is refused with a reason.
 *
 * RHEA_FUZZ_SECONDS=N: tamper for so long (under ASan and UBSan), with other seeds each time.
 */
#include "block/image.h"
#include "crypto/secret.h"
#include "tests/unit/block-test.h"
#include "util/module.h"

#define DISK (4u << 20)

typedef struct Kind {
    const char *name, *format, *create, *open; /* JSON members, or "" */
} Kind;

static const Kind kinds[] = {
    {"qcow2-v2", "qcow2", "'compat': '0.10'", ""},
    {"qcow2-v3", "qcow2", "'cluster_size': 4096", ""},
    {"qcow2-extended", "qcow2", "'extended_l2': true", ""},
    {"vdi", "vdi", "", ""},
    {"vdi-static", "vdi", "'static': true", ""},
    {"vpc", "vpc", "'force_size': true", ""},
    {"vpc-fixed", "vpc", "'force_size': true, 'subformat': 'fixed'", ""},
    {"vhdx", "vhdx", "'block_size': '1M'", ""},
    {"vhdx-fixed", "vhdx", "'block_size': '1M', 'subformat': 'fixed'", ""},
    {"vmdk", "vmdk", "", ""},
    {"vmdk-stream", "vmdk", "'subformat': 'streamOptimized'", ""},
    {"qed", "qed", "", ""},
    {"qcow", "qcow", "", ""},
    {"qed-small", "qed", "'cluster_size': 4096, 'table_size': 1", ""},
    {"luks", "luks", "'key-secret': 'sec', 'iter-time': 1", "'key-secret': 'sec'"},
    {"luks-cbc", "luks",
     "'key-secret': 'sec', 'iter-time': 1, 'cipher-mode': 'cbc', 'ivgen-alg': 'essiv'",
     "'key-secret': 'sec'"},
    {"qcow2-luks", "qcow2", "'encrypt': {'format': 'luks', 'key-secret': 'sec', 'iter-time': 1}",
     "'encrypt': {'format': 'luks', 'key-secret': 'sec'}"},
};

static void add_secret(void)
{
    Object *o = object_new(TYPE_SECRET);
    Error *err = NULL;
    g_assert_true(object_set_string(o, "data", "pass", &err));
    object_add_child(object_container(bt->root, "/objects"), "sec", o);
    g_assert_true(object_complete(o, &err));
}

static bool usable(const Kind *k)
{
    g_autoptr(Error) err = NULL;
    return !strstr(k->create, "sec") || module_load("cipher", &err);
}

static void create(const Kind *k)
{
    Error *err = NULL;
    BlockNode *file = bt_node("{'driver': 'mem'}", &err);
    g_autofree char *json =
        g_strdup_printf("{'size': %u%s%s}", DISK, *k->create ? ", " : "", k->create);
    g_autoptr(Json) o = bt_json(json);
    g_autoptr(BlockOpts) opts = block_opts_new(o, k->format);
    const BlockDriver *drv = block_driver_find(bt->graph, k->format);
    if (!drv->create(bt->graph, file, opts, &err)) {
        g_error("%s: %s", k->name, error_message(err));
    }
    node_unref(file);
}

static BlockNode *open_kind(const Kind *k, bool read_only, Error **errp)
{
    g_autofree char *json =
        g_strdup_printf("{'driver': '%s', 'file': {'driver': 'mem'}, 'read-only': %s%s%s}",
                        k->format, read_only ? "true" : "false", *k->open ? ", " : "", k->open);
    return bt_node(json, errp);
}

/* ---- random requests ---- */

/* The i-th of a round; `shadow` is what the disk must hold. */
static void random_request(BlockNode *n, GRand *rng, int round, int i, uint8_t *shadow,
                           uint8_t *buf)
{
    bool stream = n->limits.compressed_only;
    uint64_t off = (uint64_t)g_rand_int_range(rng, 0, DISK / 512) * 512;
    uint64_t len = (uint64_t)g_rand_int_range(rng, 1, 200) * 512;
    len = MIN(len, DISK - off);
    int what = g_rand_int_range(rng, 0, 10);
    memset(buf, g_rand_int_range(rng, 1, 256), len);
    if (what < 6 && !stream) {
        g_assert_cmpint(node_pwrite(n, off, buf, len, what ? 0 : BLK_FUA), ==, 0);
        memcpy(shadow + off, buf, len);
    } else if (what == 6 && !stream) {
        g_assert_cmpint(node_zero(n, off, len, 0), ==, 0);
        memset(shadow + off, 0, len);
    } else if (stream && round == 0 && (unsigned)i * 65536 < DISK) {
        memset(buf, i + 1, 65536);
        g_assert_cmpint(node_pwrite(n, (uint64_t)i * 65536, buf, 65536, BLK_COMPRESSED), ==, 0);
        memcpy(shadow + i * 65536, buf, 65536);
    } else {
        g_assert_cmpint(node_pread(n, off, buf, len), ==, 0);
        g_assert_cmpmem(buf, len, shadow + off, len);
    }
}

static void expect_disk(BlockNode *n, const uint8_t *shadow, uint8_t *buf)
{
    Error *err = NULL;
    BlockCheck c;
    g_assert_cmpint(node_pread(n, 0, buf, DISK), ==, 0);
    g_assert_cmpmem(buf, DISK, shadow, DISK);
    if (n->drv->check) {
        g_assert_cmpint(image_check(n, 0, NULL, &c, &err), ==, 0);
        g_assert_cmpint(c.corruptions + c.leaks + c.check_errors, ==, 0);
    }
}

static void test_random(gconstpointer data)
{
    const Kind *k = data;
    bt_begin();
    add_secret();
    if (!usable(k)) {
        g_test_skip("the module cipher is not there");
        bt_end();
        return;
    }
    create(k);
    Error *err = NULL;
    GRand *rng = g_rand_new_with_seed(11);
    g_autofree uint8_t *shadow = g_malloc0(DISK), *buf = g_malloc(DISK);
    BlockNode *n = open_kind(k, false, &err);
    g_assert_nonnull(n);
    g_assert_cmpint(n->length, ==, DISK);
    if (block_driver_find(bt->graph, k->format)->new_is_garbage) {
        g_assert_cmpint(node_zero(n, 0, DISK, 0), ==, 0);
    }
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 150; i++) {
            random_request(n, rng, round, i, shadow, buf);
        }
        g_assert_cmpint(node_flush(n), ==, 0);
        node_unref(n);
        n = open_kind(k, round == 1, &err);
        g_assert_nonnull(n);
        expect_disk(n, shadow, buf);
        if (round == 1) {
            node_unref(n);
            n = open_kind(k, false, &err);
        }
    }
    node_unref(n);
    g_rand_free(rng);
    bt_end();
}

/* ---- tampering ---- */

/* Values that are at some border. */
static uint64_t evil(GRand *rng)
{
    static const uint64_t values[] = {
        0,         1,          511,         512,         4096,
        65536,     0x7fffffff, 0x80000000u, 0xffffffffu, 0x100000000ull,
        INT64_MAX, UINT64_MAX};
    return g_rand_boolean(rng) ? values[g_rand_int_range(rng, 0, ARRAY_LEN(values))]
                               : (uint64_t)g_rand_int_range(rng, 0, 256) * 512;
}

static void tamper(GRand *rng, uint64_t size)
{
    int n = g_rand_int_range(rng, 1, 5);
    for (int i = 0; i < n; i++) {
        /* Mostly where metadata are: at the start. */
        uint64_t room = g_rand_boolean(rng) ? MIN(size, 600) : MIN(size, 400000);
        uint64_t at = (uint64_t)g_rand_int_range(rng, 0, (int)MAX(room - 8, 1));
        uint64_t v = evil(rng);
        switch (g_rand_int_range(rng, 0, 6)) {
        case 0:
            bt->mem.data[at] = (uint8_t)v;
            break;
        case 1:
            st_be32(bt->mem.data + (at & ~3ull), (uint32_t)v);
            break;
        case 2:
            st_le32(bt->mem.data + (at & ~3ull), (uint32_t)v);
            break;
        case 3:
            st_be64(bt->mem.data + (at & ~7ull), v);
            break;
        case 4:
            st_le64(bt->mem.data + (at & ~7ull), v);
            break;
        default:
            bt->mem.data[at] ^= (uint8_t)(1u << g_rand_int_range(rng, 0, 8));
            break;
        }
    }
    if (g_rand_int_range(rng, 0, 20) == 0) {
        bt->mem.size = (uint64_t)g_rand_int_range(rng, 0, (int)size); /* cut off */
    }
}

static void use(BlockNode *n, GRand *rng, bool read_only)
{
    uint8_t buf[8192];
    for (int i = 0; i < 6; i++) {
        uint64_t sectors = MIN(n->length, DISK) / 512;
        uint64_t off =
            sectors > 16 ? (uint64_t)g_rand_int_range(rng, 0, (int)sectors - 16) * 512 : 0;
        size_t len = MIN(sizeof(buf), n->length - MIN(off, n->length));
        node_pread(n, off, buf, len);
        if (!read_only && bt->mem.room < 64u << 20) {
            node_pwrite(n, off, buf, len, 0);
        }
    }
    BlockMap m;
    for (uint64_t off = 0, k = 0; off < n->length && k < 100; k++) {
        if (node_map(n, off, n->length - off, &m) < 0) {
            break;
        }
        g_assert_cmpint(m.len, >, 0);
        off += m.len;
    }
    if (n->drv->check && bt->mem.size < 64u << 20) {
        BlockCheck c;
        Error *err = NULL;
        image_check(n, read_only ? 0 : BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS, NULL, &c, &err);
        error_free(err);
    }
    if (!read_only && n->drv->truncate && g_rand_boolean(rng) && bt->mem.size < 32u << 20) {
        Error *err = NULL;
        uint64_t size = (uint64_t)g_rand_int_range(rng, 0, 64) * 131072;
        node_truncate(n, size, &err);
        error_free(err);
    }
    json_unref(image_info(n));
    g_ptr_array_unref(image_snapshot_list(n));
    node_flush(n);
}

static void test_tampered(gconstpointer data)
{
    const Kind *k = data;
    const char *long_run = g_getenv("RHEA_FUZZ_SECONDS");
    gint64 end = long_run ? g_get_monotonic_time() + atoi(long_run) * G_USEC_PER_SEC : 0;
    GRand *rng = long_run ? g_rand_new() : g_rand_new_with_seed(23);
    bool slow = strstr(k->create, "sec");
    bt_begin();
    add_secret();
    if (!usable(k)) {
        g_test_skip("the module cipher is not there");
        bt_end();
        g_rand_free(rng);
        return;
    }
    create(k);
    Error *err = NULL;
    BlockNode *n = open_kind(k, false, &err);
    g_assert_nonnull(n);
    if (!n->limits.compressed_only) {
        uint8_t buf[70000];
        memset(buf, 0x5a, sizeof(buf));
        for (uint64_t off = 0; off + 70144 < DISK; off += 600 * 512) {
            g_assert_cmpint(node_pwrite(n, off, buf, 69632, 0), ==, 0);
        }
    }
    node_unref(n);
    uint64_t size = bt->mem.size;
    g_autofree uint8_t *good = g_memdup2(bt->mem.data, size);
    unsigned opened = 0, refused = 0;
    for (int i = 0; long_run ? g_get_monotonic_time() < end : i < (slow ? 25 : 200); i++) {
        memset(bt->mem.data, 0, bt->mem.room);
        memcpy(bt->mem.data, good, size);
        bt->mem.size = size;
        tamper(rng, size);
        bool read_only = g_rand_int_range(rng, 0, 3) == 0;
        err = NULL;
        n = open_kind(k, read_only, &err);
        if (n) {
            opened++;
            use(n, rng, read_only);
            node_unref(n);
        } else {
            refused++;
            /* It says which image, or which field. */
            g_assert_nonnull(strchr(error_message(err), '\''));
            error_free(err);
        }
    }
    g_test_message("%u opened, %u refused", opened, refused);
    g_rand_free(rng);
    bt_end();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    report_set_program("test-formats");
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        g_autofree char *a = g_strdup_printf("/formats/random/%s", kinds[i].name);
        g_autofree char *b = g_strdup_printf("/formats/tampered/%s", kinds[i].name);
        g_test_add_data_func(a, &kinds[i], test_random);
        g_test_add_data_func(b, &kinds[i], test_tampered);
    }
    return g_test_run();
}
