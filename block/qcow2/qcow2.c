/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The format "qcow2": opening, closing, size, what it says of itself. */
#include "block/qcow2/qcow2.h"

#include "block/luks.h"
#include "crypto/cipher.h"
#include "crypto/secret.h"

#include <errno.h>

#define SLICE 4096u
#define L2_CACHE_BYTES (8ull << 20) /* maps 64 GiB of disk with clusters of 64 KiB */
#define REFCOUNT_CACHE_BYTES (1ull << 20)

static int qcow2_probe(const uint8_t *buf, size_t len)
{
    return len >= 8 && ld_be32(buf) == QCOW2_MAGIC && ld_be32(buf + 4) >= 2 ? 100 : 0;
}

/* ---- opening ---- */

typedef struct Qcow2Opts {
    Json *backing, *data_file;
    const char *key_secret;
    uint64_t l2_cache, rb_cache, slice;
} Qcow2Opts;

/* encrypt: {format: luks, key-secret: ID} */
static void take_encrypt(BlockOpts *o, Qcow2Opts *q)
{
    Json *e = block_opts_take(o, "encrypt");
    if (!e) {
        return;
    }
    g_autoptr(BlockOpts) sub = block_opts_new(e, "encrypt");
    const char *format = block_opts_string(sub, "format", "luks");
    q->key_secret = block_opts_string(sub, "key-secret", NULL);
    if (strcmp(format, "luks") && strcmp(format, "aes")) {
        block_opts_mistake(sub, "'format' cannot be '%s' (possible: 'luks', 'aes')", format);
    }
    Error *err = NULL;
    if (!block_opts_finish(sub, &err)) {
        block_opts_mistake(o, "%s", error_message(err));
        error_free(err);
    }
}

static bool take_options(BlockNode *n, BlockOpts *o, Qcow2Opts *q, Error **errp)
{
    Qcow2 *s = n->s;
    q->backing = block_opts_take(o, "backing");
    q->data_file = block_opts_take(o, "data-file");
    take_encrypt(o, q);
    uint64_t all = block_opts_size(o, "cache-size", 0);
    q->rb_cache = block_opts_size(o, "refcount-cache-size",
                                  all ? MIN(all / 4, REFCOUNT_CACHE_BYTES) : REFCOUNT_CACHE_BYTES);
    q->l2_cache =
        block_opts_size(o, "l2-cache-size", all > q->rb_cache ? all - q->rb_cache : L2_CACHE_BYTES);
    q->slice = block_opts_size(o, "l2-cache-entry-size", SLICE);
    if (!IS_POWER_OF_2(q->slice) || q->slice < 512) {
        block_opts_mistake(o, "'l2-cache-entry-size' must be a power of two, at least 512");
    }
    if (all && q->l2_cache + q->rb_cache > all) {
        block_opts_mistake(o, "'l2-cache-size' and 'refcount-cache-size' exceed 'cache-size'");
    }
    s->pass_request = block_opts_bool(o, "pass-discard-request", n->flags.discard_unmap);
    s->pass_other = block_opts_bool(o, "pass-discard-other", false);
    if (q->backing && json_type(q->backing) != JSON_NULL && !json_get_string(q->backing) &&
        json_type(q->backing) != JSON_OBJECT) {
        block_opts_mistake(o, "'backing' must be a node-name, an object or null");
    }
    return block_opts_finish(o, errp);
}

static bool open_backing(BlockNode *n, const Json *given, Error **errp)
{
    Qcow2 *s = n->s;
    BlockOpenFlags f = n->flags;
    f.read_only = true;
    f.discard_unmap = false;
    f.probed = false;
    f.depth++;
    if (given && json_type(given) == JSON_NULL) {
        return true;
    }
    if (given) {
        n->backing = node_open(n->graph, given, &f, errp);
    } else if (s->backing_file) {
        g_autofree char *name = filename_combine(node_filename(n->file), s->backing_file);
        n->backing = node_open_filename(n->graph, name, s->backing_format, &f, errp);
        if (!n->backing) {
            error_prefix(errp, "the backing file of '%s': ", node_filename(n->file));
        }
    } else {
        return true;
    }
    return n->backing && node_take(n->backing, n, n->name, false, n->flags.force_share, errp);
}

/* Where guest data lie, if not in the image itself. */
static bool open_data_file(BlockNode *n, const Json *given, Error **errp)
{
    Qcow2 *s = n->s;
    bool external = s->incompat & QCOW2_INCOMPAT_DATA_FILE;
    if (!external) {
        if (given) {
            error_set(errp, "'%s' has no external data file, but 'data-file' was given",
                      node_filename(n));
            return false;
        }
        return true;
    }
    BlockOpenFlags f = n->flags;
    f.probed = false;
    f.depth++;
    if (given) {
        s->external = node_open(n->graph, given, &f, errp);
    } else if (!s->data_file) {
        error_set(errp, "'%s' has an external data file that it does not name: 'data-file' must",
                  node_filename(n));
        return false;
    } else {
        g_autofree char *name = filename_combine(node_filename(n->file), s->data_file);
        g_autoptr(Json) o = filename_to_options(name, errp);
        s->external = o ? node_open(n->graph, o, &f, errp) : NULL;
    }
    if (!s->external) {
        error_prefix(errp, "the data file of '%s': ", node_filename(n->file));
        return false;
    }
    return node_take(s->external, n, n->name, !n->flags.read_only, n->flags.force_share, errp);
}

/* The key is the password itself: its first 16 bytes, or zeroes behind it. */
static bool open_aes(BlockNode *n, const char *key_secret, Error **errp)
{
    Qcow2 *s = n->s;
    uint8_t key[16] = {0};
    size_t len;
    if (!key_secret) {
        error_set(errp,
                  "'%s' is encrypted: 'encrypt.key-secret' must name a secret with its password",
                  node_filename(n));
        return false;
    }
    const uint8_t *password = secret_lookup(n->graph->root, key_secret, &len, errp);
    if (!password || !cipher_available(errp)) {
        return false;
    }
    memcpy(key, password, MIN(len, sizeof(key)));
    s->aes = cipher_new(CIPHER_CBC, CIPHER_IV_PLAIN64, key, sizeof(key));
    wipe(key, sizeof(key));
    return true;
}

static bool open_encryption(BlockNode *n, const char *key_secret, Error **errp)
{
    Qcow2 *s = n->s;
    if (s->crypt_method == 1) {
        n->limits.request_align = BLOCK_SECTOR;
        return n->flags.no_io || open_aes(n, key_secret, errp);
    }
    if (!s->crypto_length) {
        if (key_secret) {
            error_set(errp, "'%s' is not encrypted, but 'encrypt' was given", node_filename(n));
            return false;
        }
        return true;
    }
    n->limits.request_align = BLOCK_SECTOR;
    if (n->flags.no_io) {
        return true; /* only what the header says is wanted */
    }
    s->luks =
        luks_open_node(n->file, s->crypto_offset, s->crypto_length, key_secret, NULL, NULL, errp);
    return s->luks != NULL;
}

static BlockNode **qcow2_child(BlockNode *n, unsigned i, const char **role)
{
    Qcow2 *s = n->s;
    if (i > 0 || !s || !s->external) {
        return NULL;
    }
    *role = "data-file";
    return &s->external;
}

static bool load_tables(Qcow2 *s, Error **errp)
{
    if (!qcow2_table_load(s, &s->l1, "L1 table", errp) ||
        !qcow2_table_load(s, &s->rt, "refcount table", errp) || !qcow2_read_snapshots(s, errp)) {
        return false;
    }
    qcow2_meta_build(s);
    s->high_water = qcow2_clusters(s, s->n->file->length);
    return true;
}

/* Bits that writing makes untrue, and counts that a crash has left behind. */
static bool prepare_writing(Qcow2 *s, Error **errp)
{
    uint64_t keep = QCOW2_AUTOCLEAR_DATA_RAW | (s->n_bitmaps ? QCOW2_AUTOCLEAR_BITMAPS : 0);
    if (s->n->flags.read_only) {
        return true;
    }
    if (s->autoclear & ~keep) {
        int ret = qcow2_write_autoclear(s, s->autoclear & keep);
        if (ret < 0) {
            error_set_errno(errp, -ret, "cannot write the header of '%s'", node_filename(s->n));
            return false;
        }
    }
    return !(s->incompat & QCOW2_INCOMPAT_DIRTY) || s->n->flags.check ||
           qcow2_repair_refcounts(s, errp);
}

static bool qcow2_open(BlockNode *n, BlockOpts *o, Error **errp)
{
    Qcow2 *s = n->s;
    Qcow2Opts q = {0};
    s->n = n;
    fiber_mutex_init(&s->lock);
    fiber_mutex_init(&s->sync_lock);
    fiber_queue_init(&s->range_wait);
    g_queue_init(&s->ranges);
    s->release = g_array_new(FALSE, FALSE, sizeof(Qcow2Release));
    s->extensions = g_array_new(FALSE, FALSE, sizeof(Qcow2Extension));
    if (!take_options(n, o, &q, errp) || !qcow2_read_header(s, errp)) {
        return false;
    }
    size_t slice = (size_t)MIN(q.slice, s->cluster_size);
    s->l2_cache = qcow2_cache_new(s, QCOW2_META_L2, slice, q.l2_cache);
    s->rb_cache_bytes = q.rb_cache;
    s->rb_cache =
        qcow2_cache_new(s, QCOW2_META_REFBLOCK, MIN(SLICE, (size_t)s->cluster_size), q.rb_cache);
    n->limits.opt_io = (uint32_t)s->cluster_size;
    n->limits.discard_align = MIN((uint32_t)s->cluster_size, 65536u);
    return open_data_file(n, q.data_file, errp) && open_encryption(n, q.key_secret, errp) &&
           load_tables(s, errp) && prepare_writing(s, errp) &&
           ((n->flags.check && !n->flags.no_io) || qcow2_bitmaps_load(s, errp)) &&
           (n->flags.no_backing || open_backing(n, q.backing, errp));
}

/* Two rounds: the second writes the counts of what the first released. */
static void write_back(Qcow2 *s)
{
    for (int i = 0; i < 3; i++) {
        if (!s->release->len && !s->l1.any_dirty && !s->rt.any_dirty &&
            !qcow2_cache_any_dirty(s->l2_cache) && !qcow2_cache_any_dirty(s->rb_cache)) {
            return;
        }
        int ret = qcow2_sync(s);
        if (ret < 0) {
            report_error("'%s': cannot write metadata while closing: %s", node_filename(s->n),
                         g_strerror(-ret));
            return;
        }
    }
}

static void store_bitmaps(Qcow2 *s)
{
    int ret = s->bitmaps ? qcow2_bitmaps_store_all(s) : 0;
    if (ret < 0) {
        report_warning("'%s': the exact bits of its bitmaps cannot be written: %s",
                       node_filename(s->n), g_strerror(-ret));
    }
}

static void qcow2_close(BlockNode *n)
{
    Qcow2 *s = n->s;
    if (!s->release) {
        return; /* open() was not reached */
    }
    if (s->meta && !n->flags.read_only && !s->corrupt) {
        store_bitmaps(s);
        write_back(s);
    }
    qcow2_bitmaps_free(s);
    qcow2_cache_free(s->l2_cache);
    qcow2_cache_free(s->rb_cache);
    qcow2_table_free(&s->l1);
    qcow2_table_free(&s->rt);
    if (s->meta) {
        g_hash_table_destroy(s->meta);
    }
    g_array_free(s->release, TRUE);
    qcow2_snapshots_free(s);
    for (guint i = 0; i < s->extensions->len; i++) {
        g_free(g_array_index(s->extensions, Qcow2Extension, i).data);
    }
    g_array_free(s->extensions, TRUE);
    luks_free(s->luks);
    cipher_free(s->aes);
    g_free(s->data_file);
    if (s->external) {
        node_release(s->external, n);
        node_unref(s->external);
    }
    for (size_t i = 0; i < ARRAY_LEN(s->unpacked); i++) {
        g_free(s->unpacked[i].data);
    }
    g_free(s->backing_file);
    g_free(s->backing_format);
    fiber_mutex_destroy(&s->lock);
    fiber_mutex_destroy(&s->sync_lock);
}

static bool qcow2_reopen(BlockNode *n, bool read_only, Error **errp)
{
    Qcow2 *s = n->s;
    if (read_only) {
        store_bitmaps(s);
        write_back(s);
        return true;
    }
    if ((s->incompat & QCOW2_INCOMPAT_CORRUPT) || s->corrupt || s->shown_length) {
        error_set(errp, "'%s' is %s and cannot be written", node_filename(n),
                  s->shown_length ? "a snapshot" : "marked corrupt");
        return false;
    }
    if (s->external && (!node_reopen(s->external, false, errp) ||
                        !node_take(s->external, n, n->name, true, n->flags.force_share, errp))) {
        return false;
    }
    n->flags.read_only = false; /* what is prepared is written already */
    bool ok = prepare_writing(s, errp);
    n->flags.read_only = true;
    return ok;
}

static int qcow2_flush(BlockNode *n)
{
    return qcow2_sync(n->s);
}

/* ---- information ---- */

static int qcow2_map_node(BlockNode *n, uint64_t off, uint64_t len, BlockMap *out)
{
    Qcow2 *s = n->s;
    Qcow2Map m;
    fiber_mutex_lock(&s->lock);
    int ret = qcow2_map(s, off, len, &m);
    fiber_mutex_unlock(&s->lock);
    if (ret < 0) {
        return ret;
    }
    *out = (BlockMap){.len = m.len, .host = m.host, .file = qcow2_data(s)};
    switch (m.kind) {
    case QCOW2_UNALLOCATED:
        out->flags = 0;
        break;
    case QCOW2_ZERO_PLAIN:
        out->flags = BLOCK_MAP_ZERO;
        break;
    case QCOW2_ZERO_ALLOC:
        out->flags = BLOCK_MAP_ZERO | BLOCK_MAP_OFFSET;
        break;
    case QCOW2_NORMAL:
        out->flags = BLOCK_MAP_DATA | (s->crypt_method ? 0 : BLOCK_MAP_OFFSET);
        if (qcow2_has_data_file(s) || s->sparse_data) {
            out->flags |= BLOCK_MAP_RECURSE;
        }
        break;
    case QCOW2_PACKED:
        out->flags = BLOCK_MAP_DATA | BLOCK_MAP_COMPRESSED;
        break;
    }
    return 0;
}

static Json *snapshots_info(const Qcow2 *s)
{
    Json *a = json_array();
    for (uint32_t i = 0; i < s->n_snapshots; i++) {
        const Qcow2Snapshot *sn = &s->snapshots[i];
        Json *o = json_object();
        json_put_string(o, "id", sn->id);
        json_put_string(o, "name", sn->name);
        json_put_int(o, "vm-state-size", (int64_t)sn->vm_state_size);
        json_put_int(o, "date-sec", sn->date_sec);
        json_put_int(o, "date-nsec", sn->date_nsec);
        json_put_int(o, "vm-clock-sec", (int64_t)(sn->vm_clock_ns / 1000000000u));
        json_put_int(o, "vm-clock-nsec", (int64_t)(sn->vm_clock_ns % 1000000000u));
        json_append(a, o);
    }
    return a;
}

static void qcow2_info(BlockNode *n, Json *image)
{
    Qcow2 *s = n->s;
    json_put_int(image, "cluster-size", (int64_t)s->cluster_size);
    json_put_bool(image, "dirty-flag", (s->incompat & QCOW2_INCOMPAT_DIRTY) != 0);
    if (s->backing_file) {
        json_put_string(image, "backing-filename", s->backing_file);
    }
    if (s->backing_format) {
        json_put_string(image, "backing-filename-format", s->backing_format);
    }
    if (s->n_snapshots) {
        json_put(image, "snapshots", snapshots_info(s));
    }
    Json *data = json_object(), *specific = json_object();
    json_put_string(data, "compat", s->version >= 3 ? "1.1" : "0.10");
    json_put_string(data, "compression-type", s->compression ? "zstd" : "zlib");
    if (s->version >= 3) {
        json_put_bool(data, "lazy-refcounts", (s->compat & QCOW2_COMPAT_LAZY_REFCOUNTS) != 0);
        json_put_int(data, "refcount-bits", 1 << s->refcount_order);
        json_put_bool(data, "corrupt", (s->incompat & QCOW2_INCOMPAT_CORRUPT) != 0 || s->corrupt);
        json_put_bool(data, "extended-l2", qcow2_extended(s));
    }
    if (s->version < 3) {
        json_put_int(data, "refcount-bits", 1 << s->refcount_order);
    }
    Json *bitmaps = qcow2_bitmaps_info(s);
    if (bitmaps) {
        json_put(data, "bitmaps", bitmaps);
    }
    if (s->data_file) {
        json_put_string(data, "data-file", s->data_file);
    }
    if (qcow2_has_data_file(s)) {
        json_put_bool(data, "data-file-raw", (s->autoclear & QCOW2_AUTOCLEAR_DATA_RAW) != 0);
    }
    if (s->crypt_method == 1) {
        Json *e = json_object();
        json_put_bool(image, "encrypted", true);
        json_put_string(e, "format", "aes");
        json_put(data, "encrypt", e);
    }
    if (s->crypto_length) {
        g_autofree uint8_t *h = g_try_malloc(s->crypto_length);
        json_put_bool(image, "encrypted", true);
        if (h && node_pread(n->file, s->crypto_offset, h, s->crypto_length) == 0) {
            Json *e = luks_info_json(h);
            json_put_string(e, "format", "luks");
            json_put(data, "encrypt", e);
        }
    }
    json_put_string(specific, "type", "qcow2");
    json_put(specific, "data", data);
    json_put(image, "format-specific", specific);
}

const BlockDriver block_driver_qcow2 = {
    .name = "qcow2",
    .help = "QEMU's copy-on-write format, versions 2 and 3",
    .state_size = sizeof(Qcow2),
    .probe = qcow2_probe,
    .open = qcow2_open,
    .close = qcow2_close,
    .reopen = qcow2_reopen,
    .preadv = qcow2_preadv,
    .pwritev = qcow2_pwritev,
    .flush = qcow2_flush,
    .discard = qcow2_discard,
    .zero = qcow2_zero,
    .truncate = qcow2_truncate,
    .map = qcow2_map_node,
    .info = qcow2_info,
    .child = qcow2_child,
    .bitmap_dirty = qcow2_bitmap_dirty,
    .bitmap_store = qcow2_bitmap_store,
    .bitmap_remove = qcow2_bitmap_remove,
    .create_options = qcow2_create_options,
    .create = qcow2_create_image,
    .measure = qcow2_measure,
    .amend_options = qcow2_amend_options,
    .amend = qcow2_amend,
    .check = qcow2_check,
    .supports_backing = true,
    .supports_compressed = true,
    .change_backing = qcow2_change_backing,
    .make_empty = qcow2_make_empty,
    .snapshot_list = qcow2_snapshot_list,
    .snapshot_create = qcow2_snapshot_create,
    .snapshot_apply = qcow2_snapshot_apply,
    .snapshot_delete = qcow2_snapshot_delete,
    .snapshot_show = qcow2_snapshot_show,
    .vmstate_preadv = qcow2_vmstate_preadv,
    .vmstate_pwritev = qcow2_vmstate_pwritev,
};
