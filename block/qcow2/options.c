/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Images made and measured by QEMU's option names. */
#include "block/luks.h"
#include "block/qcow2/qcow2.h"
#include "util/module.h"

#include <errno.h>

const BlockCreateOption qcow2_create_options[] = {
    {"cluster_size", "size", "512 to 2M (default 64k)"},
    {"extended_l2", "bool", "clusters are allocated in 32 parts"},
    {"compression_type", "zlib|zstd", "of compressed clusters"},
    {"size", "size", "bytes"},
    {"compat", "0.10|1.1|v2|v3", "version of the format"},
    {"backing_file", "str", "file name of the backing image"},
    {"backing_fmt", "str", "its format"},
    {"data_file", "str", "file of its own for the guest's data"},
    {"data_file_raw", "bool", "that file is a raw image by itself"},
    {"encrypt.format", "luks", "encrypt the guest's data"},
    {"encrypt.key-secret", "str", "id of the secret with the password"},
    {"encrypt.cipher-alg", "aes-128|aes-192|aes-256", "cipher"},
    {"encrypt.cipher-mode", "xts|cbc", "its mode"},
    {"encrypt.ivgen-alg", "plain|plain64|essiv", "how initial vectors are made"},
    {"encrypt.ivgen-hash-alg", "sha256", "hash for that, with essiv"},
    {"encrypt.hash-alg", "sha1|sha256|sha512", "hash of the key derivation"},
    {"encrypt.iter-time", "num", "milliseconds that a guess of the password shall take"},
    {"preallocation", "off|metadata|falloc|full", "space that is reserved"},
    {"lazy_refcounts", "bool", "reference counts may be stale after a crash"},
    {"refcount_bits", "num", "1, 2, 4, 8, 16, 32 or 64"},
    {"nocow", "bool", "turn off copy-on-write of the file system (btrfs)"},
    {NULL},
};

const BlockCreateOption qcow2_amend_options[] = {
    {"compat", "0.10|1.1|v2|v3", "version of the format"},
    {"backing_file", "str", "file name of the backing image"},
    {"backing_fmt", "str", "its format"},
    {"data_file", "str", "file of its own for the guest's data: the name alone"},
    {"data_file_raw", "bool", "that file is a raw image by itself"},
    {"encrypt.state", "active|inactive", "of the key slots concerned"},
    {"encrypt.keyslot", "num", "number of the slot"},
    {"encrypt.old-secret", "str", "secret that opens the slot to empty"},
    {"encrypt.new-secret", "str", "secret for the new slot"},
    {"encrypt.iter-time", "num", "milliseconds that a guess of the password shall take"},
    {"size", "size", "bytes"},
    {"lazy_refcounts", "bool", "reference counts may be stale after a crash"},
    {"refcount_bits", "num", "1, 2, 4, 8, 16, 32 or 64"},
    {NULL},
};

typedef struct Wanted {
    Qcow2CreateOptions c;
    int prealloc;
    const char *data_file, *key_secret;
    bool encrypt;
    LuksOptions luks;
} Wanted;

static unsigned log2_of(uint64_t v)
{
    return 63 - (unsigned)__builtin_clzll(v);
}

static void take_encryption(BlockOpts *o, Wanted *w, Error **errp)
{
    Json *e = block_opts_take(o, "encrypt");
    if (block_opts_bool(o, "encryption", false)) {
        block_opts_mistake(o,
                           "'encryption' means the insecure method AES; use encrypt.format=luks");
    }
    if (!e) {
        return;
    }
    if (json_type(e) != JSON_OBJECT) {
        block_opts_mistake(o, "'encrypt' has parts: encrypt.format, encrypt.key-secret, …");
        return;
    }
    g_autoptr(BlockOpts) sub = block_opts_new(e, "encrypt");
    const char *format = block_opts_string(sub, "format", NULL);
    w->encrypt = true;
    w->key_secret = block_opts_string(sub, "key-secret", NULL);
    luks_take_options(sub, &w->luks);
    if (!format) {
        block_opts_mistake(sub, "'format' is missing");
    } else if (strcmp(format, "luks")) {
        block_opts_mistake(sub, "'format' cannot be '%s' (possible: 'luks')", format);
    }
    Error *err = NULL;
    if (!block_opts_finish(sub, &err) || !luks_check_options(&w->luks, &err)) {
        block_opts_mistake(o, "%s%s%s", error_message(err), *error_details(err) ? "\n" : "",
                           error_details(err));
        error_free(err);
    }
}

/* What does not go with version 2. */
static void check_version(BlockOpts *o, const Wanted *w)
{
    const struct {
        bool used;
        const char *what;
    } news[] = {
        {w->c.lazy_refcounts, "lazy_refcounts"},
        {w->c.refcount_order != 4, "refcount_bits other than 16"},
        {w->c.zstd, "compression_type=zstd"},
        {w->c.extended_l2, "extended_l2"},
        {w->data_file != NULL, "data_file"},
    };
    for (size_t i = 0; w->c.version < 3 && i < ARRAY_LEN(news); i++) {
        if (news[i].used) {
            block_opts_mistake(o, "'%s' needs compat=1.1", news[i].what);
        }
    }
}

static void take_geometry(BlockOpts *o, Wanted *w)
{
    uint64_t cluster = block_opts_size(o, "cluster_size", 65536);
    uint64_t bits = block_opts_uint(o, "refcount_bits", 16, 1, 64);
    w->c.extended_l2 = block_opts_bool(o, "extended_l2", false);
    if (!IS_POWER_OF_2(cluster) || cluster < 512 || cluster > 2 * MiB) {
        block_opts_mistake(o, "'cluster_size' must be a power of two from 512 to 2M");
        cluster = 65536;
    }
    if (!IS_POWER_OF_2(bits)) {
        block_opts_mistake(o, "'refcount_bits' must be 1, 2, 4, 8, 16, 32 or 64");
        bits = 16;
    }
    if (w->c.extended_l2 && cluster < 16384) {
        block_opts_mistake(o, "'extended_l2' needs a cluster_size of 16k at least");
    }
    w->c.cluster_bits = log2_of(cluster);
    w->c.refcount_order = (int)log2_of(bits);
    w->c.refcount_order_set = true;
}

static bool take_wanted(BlockOpts *o, Wanted *w, bool need_size, Error **errp)
{
    static const char *const compats[] = {"0.10", "v2", "1.1", "v3", NULL};
    static const char *const compressions[] = {"zlib", "zstd", NULL};
    *w = (Wanted){0};
    bool sized = block_opts_has(o, "size");
    uint64_t size = block_opts_size(o, "size", 0);
    w->c.size = ALIGN_UP(size, (uint64_t)BLOCK_SECTOR);
    w->c.version = block_opts_enum(o, "compat", compats, 2) < 2 ? 2 : 3;
    take_geometry(o, w);
    w->c.backing_file = block_opts_string(o, "backing_file", NULL);
    w->c.backing_format = block_opts_string(o, "backing_fmt", NULL);
    w->c.lazy_refcounts = block_opts_bool(o, "lazy_refcounts", false);
    w->c.zstd = block_opts_enum(o, "compression_type", compressions, 0) == 1;
    w->data_file = block_opts_string(o, "data_file", NULL);
    w->c.data_file_raw = block_opts_bool(o, "data_file_raw", false);
    w->prealloc = block_opts_enum(o, "preallocation", block_prealloc_names, PREALLOC_OFF);
    take_encryption(o, w, errp);
    check_version(o, w);
    if (w->c.data_file_raw && !w->data_file) {
        block_opts_mistake(o, "'data_file_raw' needs 'data_file'");
    }
    if (w->c.data_file_raw && w->c.backing_file) {
        block_opts_mistake(o, "a backing file and data_file_raw=on exclude each other");
    }
    if (w->c.backing_file && w->prealloc != PREALLOC_OFF && !w->c.extended_l2) {
        block_opts_mistake(o, "with a backing file, 'preallocation' needs extended_l2=on");
    }
    if (w->c.data_file_raw && w->prealloc == PREALLOC_OFF) {
        w->prealloc = PREALLOC_METADATA; /* readers of the raw file alone must see all of it */
    }
    if (need_size && !sized) {
        block_opts_mistake(o, "'size' is missing");
    }
    return block_opts_finish(o, errp) && (!w->c.zstd || module_load("zstd", errp));
}

/* ---- making ---- */

/* The data file, empty or longer than before; a name relative to the image's folder. */
static bool make_data_file(BlockGraph *g, BlockNode *file, const Wanted *w, Error **errp)
{
    g_autofree char *name = filename_combine(node_filename(file), w->data_file);
    g_autoptr(Json) o = json_object();
    json_put(o, "size", json_uint(w->c.size));
    if (!image_create(g, name, "raw", o, false, errp)) {
        error_prefix(errp, "the data file: ");
        return false;
    }
    return true;
}

/* Opens the new image for what needs its tables. */
static bool preallocate_new(BlockGraph *g, BlockNode *file, const Wanted *w, Error **errp)
{
    BlockOpenFlags f = {.discard_unmap = true};
    g_autoptr(Json) o = json_object();
    json_put_string(o, "driver", "qcow2");
    json_put_string(o, "file", file->name);
    json_put(o, "backing", json_null());
    if (w->encrypt) {
        Json *e = json_object();
        json_put_string(e, "format", "luks");
        json_put_string(e, "key-secret", w->key_secret);
        json_put(o, "encrypt", e);
    }
    node_release(file, g); /* the format wants it for itself */
    BlockNode *n = node_open(g, o, &f, errp);
    if (n) {
        node_set_loop(n, file->loop); /* this may be a fiber of that one */
    }
    int ret = n ? qcow2_preallocate(n->s, 0, n->length, (BlockPrealloc)w->prealloc) : 0;
    ret = n && ret == 0 ? node_flush(n) : ret;
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot reserve space for '%s'", node_filename(file));
    }
    bool ok = n && ret == 0;
    node_unref(n);
    return ok;
}

bool qcow2_create_image(BlockGraph *g, BlockNode *file, BlockOpts *o, Error **errp)
{
    Wanted w;
    Luks *luks = NULL;
    size_t header_len = 0;
    g_autofree uint8_t *header = NULL;
    Error *err = NULL;
    if (!take_wanted(o, &w, true, errp)) {
        return false;
    }
    if (w.encrypt) {
        header = luks_create_header(g, &w.luks, w.key_secret, &header_len, &luks, errp);
        luks_free(luks);
        if (!header) {
            return false;
        }
    }
    w.c.crypto_header = header;
    w.c.crypto_length = header_len;
    w.c.data_file = w.data_file;
    if ((w.data_file && !make_data_file(g, file, &w, errp)) || !qcow2_create(file, &w.c, &err)) {
        error_propagate(errp, err);
        return false;
    }
    return w.prealloc == PREALLOC_OFF || preallocate_new(g, file, &w, errp);
}

/* ---- measuring ---- */

/* Clusters of `src` that hold data, in clusters of the new image. */
static int count_needed(BlockNode *src, const Wanted *w, uint64_t size, uint64_t *needed)
{
    uint64_t cluster = BIT(w->c.cluster_bits), last = UINT64_MAX;
    *needed = 0;
    for (uint64_t pos = 0; pos < MIN(size, src->length);) {
        BlockMap m;
        int ret = node_map_chain(src, NULL, pos, MIN(size, src->length) - pos, &m, NULL);
        if (ret < 0) {
            return ret;
        }
        if (!(m.flags & BLOCK_MAP_ZERO) && (m.flags & BLOCK_MAP_ALLOCATED)) {
            uint64_t a = pos / cluster, b = (pos + m.len - 1) / cluster;
            a = a == last ? a + 1 : a;
            *needed += b + 1 - MIN(a, b + 1);
            last = b;
        }
        pos += m.len;
    }
    *needed <<= w->c.cluster_bits;
    return 0;
}

static uint64_t metadata_size(const Wanted *w, uint64_t data)
{
    uint64_t cs = BIT(w->c.cluster_bits), entry = w->c.extended_l2 ? 16 : 8;
    uint64_t l2 = DIV_ROUND_UP(DIV_ROUND_UP(w->c.size, cs) * entry, cs);
    uint64_t l1 = MAX(DIV_ROUND_UP(l2 * 8, cs), 1);
    uint64_t others = 1 + l2 + l1 + DIV_ROUND_UP(luks_size_for(&w->luks) * w->encrypt, cs);
    uint64_t blocks = 1, table = 1;
    for (;;) {
        uint64_t total = others + DIV_ROUND_UP(data, cs) + blocks + table;
        uint64_t b = DIV_ROUND_UP(total, cs * 8 >> w->c.refcount_order);
        uint64_t t = DIV_ROUND_UP(b * 8, cs);
        if (b <= blocks && t <= table) {
            return (others + blocks + table) * cs;
        }
        blocks = b;
        table = t;
    }
}

bool qcow2_measure(BlockNode *src, BlockOpts *o, BlockMeasure *out, Error **errp)
{
    Wanted w;
    if (!take_wanted(o, &w, !src, errp)) {
        return false;
    }
    if (src) {
        w.c.size = ALIGN_UP(src->length, (uint64_t)BLOCK_SECTOR);
    }
    uint64_t all = ALIGN_UP(w.c.size, BIT(w.c.cluster_bits)), needed = 0;
    if (w.prealloc == PREALLOC_FALLOC || w.prealloc == PREALLOC_FULL) {
        needed = all;
    } else if (src) {
        int ret = count_needed(src, &w, w.c.size, &needed);
        if (ret < 0) {
            error_set_errno(errp, -ret, "cannot find out what '%s' holds", node_filename(src));
            return false;
        }
    }
    uint64_t meta = metadata_size(&w, all);
    out->fully_allocated = meta + (w.data_file ? 0 : all);
    out->required = meta + (w.data_file ? 0 : MIN(needed, all));
    return true;
}
