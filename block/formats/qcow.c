/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The format "qcow", the first of its name: two levels of tables, big-endian, no reference counts,
 * clusters that may be compressed; kept for old images.
 *
 * New clusters are filled first.  The tables that point to them are written at a flush: data, L2
 * tables and the L1 table in that order, with a flush between them.
 */
#include "block/formats/format.h"
#include "crypto/cipher.h"
#include "crypto/secret.h"

#include <errno.h>
#include <inttypes.h>
#include <zlib.h>

#define MAGIC 0x514649fbu /* "QFI\xfb" */
#define HEADER 48u
#define PACKED (1ull << 63)
#define MAX_L1 (128u << 20)
#define MAX_NAME 1023u
#define MAX_RUN (2u << 20) /* bytes of one request, and of new clusters written together */
#define CACHED_TABLES 64u

typedef struct QcowTable {
    uint64_t offset; /* 0: free */
    uint64_t *entries;
    bool dirty;
    uint64_t used;
} QcowTable;

typedef struct Qcow {
    BlockNode *n;
    unsigned cluster_bits, l2_bits;
    uint64_t cluster, l2_entries, l1_entries, l1_at, meta_end;
    uint64_t *l1;
    uint64_t l1_first, l1_end; /* entries to be written, if first < end */
    QcowTable cache[CACHED_TABLES];
    uint64_t clock, next_free;
    FiberMutex lock; /* tables, next_free; held while new clusters are filled */
    char *backing;
    bool encrypted;
    Cipher *aes;
} Qcow;

static int qcow_probe(const uint8_t *buf, size_t len)
{
    return len >= HEADER && ld_be32(buf) == MAGIC && ld_be32(buf + 4) == 1 ? 100 : 0;
}

/* ---- opening ---- */

static bool check_header(BlockNode *n, const uint8_t *h, Error **errp)
{
    Qcow *s = n->s;
    uint32_t crypt = ld_be32(h + 36);
    uint64_t size = ld_be64(h + 24);
    s->cluster_bits = h[32];
    s->l2_bits = h[33];
    s->l1_at = ld_be64(h + 40);
    if (ld_be32(h) != MAGIC) {
        return format_bad_field(n, "qcow", errp, "magic", "is %#x", ld_be32(h));
    }
    if (ld_be32(h + 4) != 1) {
        return format_bad_field(n, "qcow", errp, "version", "is %u", ld_be32(h + 4));
    }
    if (s->cluster_bits < 9 || s->cluster_bits > 16) {
        return format_bad_field(n, "qcow", errp, "cluster_bits", "is %u", s->cluster_bits);
    }
    if (s->l2_bits < 6 || s->l2_bits > 13) {
        return format_bad_field(n, "qcow", errp, "l2_bits", "is %u", s->l2_bits);
    }
    if (size < BLOCK_SECTOR || size > INT64_MAX / 2) {
        return format_bad_field(n, "qcow", errp, "size", "is %" PRIu64, size);
    }
    if (crypt > 1) {
        return format_bad_field(n, "qcow", errp, "crypt_method", "is %u", crypt);
    }
    s->encrypted = crypt;
    s->cluster = 1ull << s->cluster_bits;
    s->l2_entries = 1ull << s->l2_bits;
    s->l1_entries = DIV_ROUND_UP(size, s->cluster * s->l2_entries);
    if (s->l1_entries > MAX_L1 / 8) {
        return format_bad_field(n, "qcow", errp, "size", "is %" PRIu64 ": its tables are too large",
                                size);
    }
    if (s->l1_at < HEADER || s->l1_at > INT64_MAX / 2) {
        return format_bad_field(n, "qcow", errp, "l1_table_offset", "is %#" PRIx64, s->l1_at);
    }
    s->meta_end = s->l1_at + s->l1_entries * 8;
    n->length = ALIGN_DOWN(size, (uint64_t)BLOCK_SECTOR);
    return true;
}

static bool open_backing(BlockNode *n, const uint8_t *h, Error **errp)
{
    Qcow *s = n->s;
    uint64_t at = ld_be64(h + 8);
    uint32_t len = ld_be32(h + 16);
    if (!at) {
        return true;
    }
    if (len > MAX_NAME || at > INT64_MAX / 2) {
        return format_bad_field(n, "qcow", errp, "backing_file_size", "is %u at %#" PRIx64, len,
                                at);
    }
    s->backing = g_malloc0(len + 1);
    int ret = node_pread(n->file, at, s->backing, len);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot read the header of '%s'", node_filename(n));
    }
    return ret == 0 && (n->flags.no_backing || format_open_backing(n, s->backing, NULL, errp));
}

/* Old and weak: for getting at the data only. */
static bool open_encryption(BlockNode *n, const char *key_secret, Error **errp)
{
    Qcow *s = n->s;
    uint8_t key[16] = {0};
    size_t len;
    if (!s->encrypted || n->flags.no_io) {
        if (!s->encrypted && key_secret) {
            error_set(errp, "'%s' is not encrypted, but 'encrypt' was given", node_filename(n));
        }
        return s->encrypted || !key_secret;
    }
    if (!n->flags.read_only || !n->graph->tool) {
        error_set(errp, "'%s' is encrypted with the old method AES, which is insecure and %s",
                  node_filename(n),
                  n->graph->tool ? "can only be read" : "not supported in machines");
        error_hint(errp, "'rhea-img convert' makes another image of it");
        return false;
    }
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
    n->limits.request_align = BLOCK_SECTOR;
    return true;
}

static bool take_options(BlockOpts *o, const char **key_secret, Error **errp)
{
    Json *e = block_opts_take(o, "encrypt");
    *key_secret = NULL;
    if (e) {
        static const char *const formats[] = {"aes", NULL};
        g_autoptr(BlockOpts) sub = block_opts_new(e, "encrypt");
        block_opts_enum(sub, "format", formats, 0);
        *key_secret = block_opts_string(sub, "key-secret", NULL);
        if (!block_opts_finish(sub, errp)) {
            return false;
        }
    }
    return block_opts_finish(o, errp);
}

static bool qcow_open(BlockNode *n, BlockOpts *o, Error **errp)
{
    Qcow *s = n->s;
    uint8_t h[HEADER];
    const char *key_secret;
    s->n = n;
    fiber_mutex_init(&s->lock);
    if (!take_options(o, &key_secret, errp)) {
        return false;
    }
    int ret = node_pread(n->file, 0, h, sizeof(h));
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot read the header of '%s'", node_filename(n));
        return false;
    }
    if (!check_header(n, h, errp)) {
        return false;
    }
    s->l1 = g_try_new(uint64_t, s->l1_entries);
    ret = s->l1 ? node_pread(n->file, s->l1_at, s->l1, s->l1_entries * 8) : -ENOMEM;
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot read the L1 table of '%s'", node_filename(n));
        return false;
    }
    s->next_free = ALIGN_UP(MAX(n->file->length, s->meta_end), s->cluster);
    n->limits.opt_io = (uint32_t)s->cluster;
    return open_encryption(n, key_secret, errp) && open_backing(n, h, errp);
}

/* ---- tables ---- */

static int write_table(Qcow *s, QcowTable *t)
{
    int ret = t->dirty ? node_pwrite(s->n->file, t->offset, t->entries, s->l2_entries * 8, 0) : 0;
    t->dirty = t->dirty && ret < 0;
    return ret;
}

/* Data, L2 tables, L1 table. Under the lock. */
static int write_all(Qcow *s)
{
    int ret = node_flush(s->n->file);
    bool any = false;
    for (unsigned i = 0; ret == 0 && i < CACHED_TABLES; i++) {
        any |= s->cache[i].dirty;
        ret = write_table(s, &s->cache[i]);
    }
    bool more = s->l1_first < s->l1_end;
    if (ret == 0 && (any || more)) {
        ret = node_flush(s->n->file);
    }
    if (ret == 0 && more) {
        ret = node_pwrite(s->n->file, s->l1_at + s->l1_first * 8, s->l1 + s->l1_first,
                          (s->l1_end - s->l1_first) * 8, 0);
        ret = ret < 0 ? ret : node_flush(s->n->file);
        s->l1_end = ret < 0 ? s->l1_end : 0;
    }
    return ret;
}

/* A place in the cache: the one used least recently. */
static int take_slot(Qcow *s, QcowTable **out)
{
    QcowTable *t = &s->cache[0];
    for (unsigned i = 1; i < CACHED_TABLES; i++) {
        t = s->cache[i].used < t->used ? &s->cache[i] : t;
    }
    int ret = t->dirty ? write_all(s) : 0;
    if (ret < 0) {
        return ret;
    }
    t->entries = t->entries ? t->entries : g_try_new(uint64_t, s->l2_entries);
    t->offset = 0;
    *out = t;
    return t->entries ? 0 : -ENOMEM;
}

/* May a table or a cluster lie there?  What is beyond the file's end reads as zeroes. */
static bool sane(const Qcow *s, uint64_t at)
{
    return at >= HEADER && at <= INT64_MAX / 2 && (at >= s->meta_end || at < s->l1_at);
}

/* The L2 table of guest offset `off`; NULL: none, unless `make`. Under the lock. */
static int get_table(Qcow *s, uint64_t off, bool make, QcowTable **out)
{
    uint64_t i = off >> (s->cluster_bits + s->l2_bits), at = BITS_BE64(s->l1[i]);
    *out = NULL;
    if (at && !sane(s, at)) {
        return -EIO;
    }
    for (unsigned k = 0; at && k < CACHED_TABLES; k++) {
        if (s->cache[k].offset == at) {
            *out = &s->cache[k];
            (*out)->used = ++s->clock;
            return 0;
        }
    }
    if (!at && !make) {
        return 0;
    }
    QcowTable *t;
    int ret = take_slot(s, &t);
    if (ret == 0 && at) {
        ret = node_pread(s->n->file, at, t->entries, s->l2_entries * 8);
    } else if (ret == 0) {
        memset(t->entries, 0, s->l2_entries * 8);
        at = s->next_free;
        s->next_free += ALIGN_UP(s->l2_entries * 8, s->cluster);
        t->dirty = true;
        s->l1[i] = BITS_BE64(at);
        s->l1_first = s->l1_end ? MIN(s->l1_first, i) : i;
        s->l1_end = MAX(s->l1_end, i + 1);
    }
    if (ret == 0) {
        t->offset = at;
        t->used = ++s->clock;
        *out = t;
    }
    return ret;
}

/* What holds from a guest offset on. */
typedef struct QcowRun {
    uint64_t entry; /* of its first cluster: 0: nothing; PACKED: that one only */
    uint64_t host;  /* of the offset, if neither */
    uint64_t len;
} QcowRun;

/* Under the lock. */
static int find_run(Qcow *s, uint64_t off, uint64_t len, QcowRun *out)
{
    QcowTable *t;
    uint64_t in = off & (s->cluster - 1), i = off >> s->cluster_bits & (s->l2_entries - 1);
    uint64_t n = 1, most = MIN(s->l2_entries - i, DIV_ROUND_UP(in + len, s->cluster));
    int ret = get_table(s, off, false, &t);
    if (ret < 0) {
        return ret;
    }
    uint64_t entry = t ? BITS_BE64(t->entries[i]) : 0;
    bool plain = entry && !(entry & PACKED);
    if (plain && !sane(s, entry)) {
        return -EIO;
    }
    while (n < most && !(entry & PACKED) &&
           (!t || BITS_BE64(t->entries[i + n]) == (plain ? entry + n * s->cluster : 0))) {
        n++;
    }
    *out = (QcowRun){entry, plain ? entry + in : 0, MIN(n * s->cluster - in, len)};
    return 0;
}

static int look_up(Qcow *s, uint64_t off, uint64_t len, QcowRun *out)
{
    fiber_mutex_lock(&s->lock);
    int ret = find_run(s, off, len, out);
    fiber_mutex_unlock(&s->lock);
    return ret;
}

/* ---- reading ---- */

/* A compressed cluster into `out`: raw deflate with a window of 4 KiB. */
static int unpack(Qcow *s, uint64_t entry, uint8_t *out)
{
    unsigned shift = 63 - s->cluster_bits;
    uint64_t at = entry & ((1ull << shift) - 1), len = entry >> shift & (s->cluster - 1);
    g_autofree uint8_t *in = g_try_malloc(MAX(len, 1));
    if (!len || !sane(s, at)) {
        return -EIO;
    }
    int ret = in ? node_pread(s->n->file, at, in, len) : -ENOMEM;
    z_stream z = {
        .next_in = in, .avail_in = (uInt)len, .next_out = out, .avail_out = (uInt)s->cluster};
    if (ret == 0 && inflateInit2(&z, -12) != Z_OK) {
        ret = -ENOMEM;
    } else if (ret == 0) {
        int end = inflate(&z, Z_FINISH);
        ret = z.avail_out == 0 && (end == Z_STREAM_END || end == Z_BUF_ERROR) ? 0 : -EIO;
        inflateEnd(&z);
    }
    return ret;
}

static int read_packed(Qcow *s, uint64_t off, uint64_t entry, const IoVec *v)
{
    g_autofree uint8_t *buf = g_try_malloc(s->cluster);
    int ret = buf ? unpack(s, entry, buf) : -ENOMEM;
    if (ret == 0) {
        iov_from_buf(v->iov, v->n, 0, buf + (off & (s->cluster - 1)), v->size);
    }
    return ret;
}

static int read_aes(Qcow *s, uint64_t off, uint64_t host, const IoVec *v)
{
    g_autofree uint8_t *buf = g_try_malloc(v->size);
    int ret = buf ? node_pread(s->n->file, host, buf, v->size) : -ENOMEM;
    if (ret == 0) {
        cipher_decrypt(s->aes, off / BLOCK_SECTOR, buf, v->size);
        iov_from_buf(v->iov, v->n, 0, buf, v->size);
    }
    return ret;
}

static int read_run(BlockNode *n, uint64_t off, const QcowRun *r, const IoVec *v)
{
    Qcow *s = n->s;
    return !r->entry           ? format_read_below(n, off, v)
           : r->entry & PACKED ? read_packed(s, off, r->entry, v)
           : s->aes            ? read_aes(s, off, r->host, v)
                               : node_preadv(n->file, r->host, v);
}

static int qcow_preadv(BlockNode *n, uint64_t off, const IoVec *v)
{
    int ret = 0;
    QcowRun r = {0};
    for (size_t pos = 0; ret == 0 && pos < v->size; pos += r.len) {
        ret = look_up(n->s, off + pos, MIN(v->size - pos, MAX_RUN), &r);
        if (ret == 0) {
            IoVec part;
            iovec_slice(&part, v, pos, (size_t)r.len);
            ret = read_run(n, off + pos, &r, &part);
            iovec_free(&part);
        }
    }
    return ret;
}

/* ---- writing ---- */

/* What the edges of new clusters hold that the request leaves alone. */
static int fill_edge(Qcow *s, uint64_t off, uint64_t entry, uint8_t *buf)
{
    struct iovec one = {buf, s->cluster};
    IoVec v = {.iov = &one, .n = 1, .size = s->cluster};
    return entry ? unpack(s, entry, buf) : format_read_below(s->n, off, &v);
}

/* New clusters for a run without any (or a packed one): filled, then pointed to. Under the lock. */
static int write_new(Qcow *s, uint64_t off, const QcowRun *r, const IoVec *v)
{
    uint64_t in = off & (s->cluster - 1), start = off - in, end = off + v->size;
    uint64_t len = ALIGN_UP(in + v->size, s->cluster), last = start + len - s->cluster;
    g_autofree uint8_t *buf = g_try_malloc(len);
    QcowTable *t;
    int ret = buf ? 0 : -ENOMEM;
    if (ret == 0 && (in || (last == start && end % s->cluster))) {
        ret = fill_edge(s, start, r->entry, buf);
    }
    if (ret == 0 && last != start && end % s->cluster) {
        ret = fill_edge(s, last, r->entry, buf + (last - start));
    }
    if (ret == 0) {
        iov_to_buf(v->iov, v->n, 0, buf + in, v->size);
        ret = get_table(s, off, true, &t);
    }
    uint64_t host = s->next_free;
    if (ret == 0) {
        s->next_free += len;
        ret = node_pwrite(s->n->file, host, buf, len, 0);
    }
    for (uint64_t i = 0; ret == 0 && i < len >> s->cluster_bits; i++) {
        uint64_t at = (start >> s->cluster_bits & (s->l2_entries - 1)) + i;
        t->entries[at] = BITS_BE64(host + i * s->cluster);
        t->dirty = true;
    }
    return ret;
}

static int write_part(BlockNode *n, uint64_t off, const IoVec *v, size_t pos, size_t *done)
{
    Qcow *s = n->s;
    QcowRun r;
    IoVec part = IOVEC_INIT;
    fiber_mutex_lock(&s->lock);
    int ret = find_run(s, off, MIN(v->size - pos, MAX_RUN), &r);
    if (ret == 0) {
        iovec_slice(&part, v, pos, (size_t)r.len);
        ret = r.host ? 0 : write_new(s, off, &r, &part);
    }
    fiber_mutex_unlock(&s->lock);
    if (ret == 0 && r.host) {
        ret = node_pwritev(n->file, r.host, &part, 0);
    }
    iovec_free(&part);
    *done = ret == 0 ? (size_t)r.len : 0;
    return ret;
}

static int qcow_flush(BlockNode *n)
{
    Qcow *s = n->s;
    fiber_mutex_lock(&s->lock);
    int ret = write_all(s);
    fiber_mutex_unlock(&s->lock);
    return ret;
}

static int qcow_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    int ret = 0;
    size_t now = 0;
    for (size_t pos = 0; ret == 0 && pos < v->size; pos += now) {
        ret = write_part(n, off + pos, v, pos, &now);
    }
    return ret == 0 && (flags & BLK_FUA) ? qcow_flush(n) : ret;
}

static int qcow_map(BlockNode *n, uint64_t off, uint64_t len, BlockMap *out)
{
    Qcow *s = n->s;
    QcowRun r;
    int ret = look_up(s, off, len, &r);
    *out = (BlockMap){.len = ret < 0 ? 1 : r.len, .host = ret < 0 ? 0 : r.host};
    if (ret == 0 && r.entry) {
        out->flags = BLOCK_MAP_DATA | (r.entry & PACKED ? BLOCK_MAP_COMPRESSED
                                       : s->encrypted   ? 0
                                                        : BLOCK_MAP_OFFSET);
    }
    return ret;
}

static void qcow_close(BlockNode *n)
{
    Qcow *s = n->s;
    if (s->l1 && !n->flags.read_only) {
        format_closing(n, qcow_flush(n));
    }
    for (unsigned i = 0; i < CACHED_TABLES; i++) {
        g_free(s->cache[i].entries);
    }
    cipher_free(s->aes);
    g_free(s->l1);
    g_free(s->backing);
    if (s->n) {
        fiber_mutex_destroy(&s->lock);
    }
}

static void qcow_info(BlockNode *n, Json *image)
{
    Qcow *s = n->s;
    json_put_int(image, "cluster-size", (int64_t)s->cluster);
    if (s->encrypted) {
        json_put_bool(image, "encrypted", true);
    }
    if (s->backing) {
        json_put_string(image, "backing-filename", s->backing);
    }
}

/* ---- making ---- */

static const BlockCreateOption qcow_create_options[] = {
    {"size", "size", "bytes"},
    {"backing_file", "str", "file name of the backing image"},
    {"backing_fmt", "str", "its format, which must be one that is recognized: it is not stored"},
    {NULL},
};

static int write_image(BlockNode *file, uint64_t size, const char *backing)
{
    /* Small clusters on top of another image: little is copied for a small write. */
    unsigned cluster_bits = backing ? 9 : 12, l2_bits = backing ? 12 : 9;
    size_t name = backing ? strlen(backing) : 0, at = ALIGN_UP(HEADER + name, 8);
    uint64_t entries = DIV_ROUND_UP(size, 1ull << (cluster_bits + l2_bits));
    g_autofree uint8_t *h = g_malloc0(at);
    st_be32(h, MAGIC);
    st_be32(h + 4, 1);
    if (name) {
        st_be64(h + 8, HEADER);
        st_be32(h + 16, (uint32_t)name);
        memcpy(h + HEADER, backing, name);
    }
    st_be64(h + 24, size);
    h[32] = (uint8_t)cluster_bits;
    h[33] = (uint8_t)l2_bits;
    st_be64(h + 40, at);
    int ret = node_truncate(file, ALIGN_UP(at + entries * 8, 512), NULL);
    ret = ret < 0 ? ret : node_zero(file, at, entries * 8, 0);
    ret = ret < 0 ? ret : node_pwrite(file, 0, h, at, 0);
    return ret < 0 ? ret : node_flush(file);
}

static bool qcow_create(BlockGraph *g, BlockNode *file, BlockOpts *o, Error **errp)
{
    uint64_t size = ALIGN_UP(block_opts_size(o, "size", 0), (uint64_t)BLOCK_SECTOR);
    const char *backing = block_opts_string(o, "backing_file", NULL);
    const char *format = block_opts_string(o, "backing_fmt", NULL);
    if (!size) {
        block_opts_mistake(o, "'size' is missing, or zero");
    }
    if (size / (2 * MiB) > MAX_L1 / 8) {
        block_opts_mistake(o, "'size' is more than %u TiB", MAX_L1 / 8 / (512 * 1024));
    }
    if (backing && strlen(backing) > MAX_NAME) {
        block_opts_mistake(o, "'backing_file' is longer than %u bytes", MAX_NAME);
    }
    if (backing && !g_strcmp0(format, "raw")) {
        block_opts_mistake(o, "'backing_fmt' cannot be 'raw': the format is not stored, and raw "
                              "images cannot be told from others");
    }
    if (!block_opts_finish(o, errp) || node_truncate(file, 0, errp) < 0) {
        return false;
    }
    int ret = write_image(file, size, backing);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot create an image in '%s'", node_filename(file));
    }
    return ret == 0;
}

const BlockDriver block_driver_qcow = {
    .name = "qcow",
    .help = "the first version of QEMU's format",
    .state_size = sizeof(Qcow),
    .probe = qcow_probe,
    .open = qcow_open,
    .close = qcow_close,
    .preadv = qcow_preadv,
    .pwritev = qcow_pwritev,
    .flush = qcow_flush,
    .map = qcow_map,
    .info = qcow_info,
    .supports_backing = true,
    .create_options = qcow_create_options,
    .create = qcow_create,
};
