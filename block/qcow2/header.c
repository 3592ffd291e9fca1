/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The header: every field is checked before anything is believed. */
#include "block/qcow2/qcow2.h"
#include "util/module.h"

#include <errno.h>
#include <inttypes.h>

#define EXT_END 0u

/* What Rhea understands; all else in the incompatible field is refused. */
#define SUPPORTED_INCOMPAT                                                        \
    (QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT | QCOW2_INCOMPAT_COMPRESSION | \
     QCOW2_INCOMPAT_DATA_FILE | QCOW2_INCOMPAT_EXTL2)

int qcow2_corrupt(Qcow2 *s, const char *fmt, ...)
{
    if (s->corrupt) {
        return -EIO;
    }
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *what = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    s->corrupt = true;
    report_error("'%s' is corrupt: %s; it will not be written any more (rhea-img check can repair "
                 "it)",
                 node_filename(s->n), what);
    if (s->version >= 3 && !s->n->flags.read_only && !s->n->flags.check) {
        qcow2_write_incompat(s, s->incompat | QCOW2_INCOMPAT_CORRUPT);
    }
    return -EIO;
}

static int write_feature(Qcow2 *s, unsigned at, uint64_t value)
{
    uint8_t be[8];
    st_be64(be, value);
    int ret = node_pwrite(s->n->file, at, be, 8, 0);
    return ret < 0 ? ret : node_flush(s->n->file);
}

int qcow2_write_incompat(Qcow2 *s, uint64_t value)
{
    int ret = write_feature(s, QCOW2_HDR_INCOMPAT, value);
    if (ret == 0) {
        s->incompat = value;
    }
    return ret;
}

int qcow2_write_autoclear(Qcow2 *s, uint64_t value)
{
    int ret = write_feature(s, QCOW2_HDR_AUTOCLEAR, value);
    if (ret == 0) {
        s->autoclear = value;
    }
    return ret;
}

/* "'disk.qcow2': header field 'NAME' …" */
static bool bad_field(Qcow2 *s, Error **errp, const char *field, const char *fmt, ...)
    G_GNUC_PRINTF(4, 5);
static bool bad_field(Qcow2 *s, Error **errp, const char *field, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *why = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    error_set(errp, "'%s' is not a valid qcow2 image: field '%s' %s", node_filename(s->n), field,
              why);
    return false;
}

/* ---- extensions ---- */

typedef struct FeatureNames {
    uint8_t *table; /* entries of 48 bytes: type, bit, name */
    unsigned n;
} FeatureNames;

static char *feature_name(const FeatureNames *f, unsigned bit)
{
    static const char *const known[] = {"dirty", "corrupt", "external data file",
                                        "compression type", "extended L2 entries"};
    for (unsigned i = 0; i < f->n; i++) {
        const uint8_t *e = f->table + i * 48;
        if (e[0] == 0 && e[1] == bit) {
            char *name = g_strndup((const char *)e + 2, 46);
            for (char *c = name; *c; c++) {
                *c = g_ascii_isprint(*c) ? *c : '?'; /* the image's text is not to be trusted */
            }
            return name;
        }
    }
    return bit < ARRAY_LEN(known) ? g_strdup(known[bit]) : g_strdup_printf("bit %u", bit);
}

static bool read_crypto(Qcow2 *s, const uint8_t *data, uint32_t len, Error **errp)
{
    s->crypto_offset = len == 16 ? ld_be64(data) : 0;
    s->crypto_length = len == 16 ? ld_be64(data + 8) : 0;
    if (len != 16 || !IS_ALIGNED(s->crypto_offset, s->cluster_size) || !s->crypto_offset ||
        s->crypto_offset > INT64_MAX || s->crypto_length < 592 || s->crypto_length > 64 * MiB) {
        return bad_field(s, errp, "encryption header",
                         "has a length of %u and says %#" PRIx64 " bytes at %#" PRIx64, len,
                         s->crypto_length, s->crypto_offset);
    }
    return true;
}

/* Where the directory of persistent bitmaps lies; its contents are looked at when needed. */
static bool read_bitmaps(Qcow2 *s, const uint8_t *data, uint32_t len, Error **errp)
{
    if (len != 24 || !(s->autoclear & QCOW2_AUTOCLEAR_BITMAPS)) {
        return true; /* somebody wrote without keeping them up: they mean nothing any more */
    }
    s->n_bitmaps = ld_be32(data);
    s->bitmaps_bytes = ld_be64(data + 8);
    s->bitmaps_offset = ld_be64(data + 16);
    if (!s->n_bitmaps || s->n_bitmaps > 65535 || s->bitmaps_bytes > 64 * MiB ||
        s->bitmaps_bytes < s->n_bitmaps * 24ull ||
        !IS_ALIGNED(s->bitmaps_offset, s->cluster_size) || !s->bitmaps_offset ||
        s->bitmaps_offset > INT64_MAX - s->bitmaps_bytes) {
        return bad_field(s, errp, "bitmaps extension",
                         "says %u bitmaps in %" PRIu64 " bytes at %#" PRIx64, s->n_bitmaps,
                         s->bitmaps_bytes, s->bitmaps_offset);
    }
    return true;
}

static bool read_extension(Qcow2 *s, uint32_t magic, const uint8_t *data, uint32_t len,
                           FeatureNames *f, Error **errp)
{
    Qcow2Extension kept = {magic, len, NULL};
    switch (magic) {
    case QCOW2_EXT_BACKING_FORMAT:
        if (len > 15) {
            return bad_field(s, errp, "backing format", "is longer than 15 characters");
        }
        g_free(s->backing_format);
        s->backing_format = g_strndup((const char *)data, len);
        return true;
    case QCOW2_EXT_FEATURE_NAMES:
        f->n = len / 48;
        g_free(f->table);
        f->table = g_memdup2(data, MAX(f->n * 48, 1));
        return true;
    case QCOW2_EXT_CRYPTO:
        return read_crypto(s, data, len, errp);
    case QCOW2_EXT_DATA_FILE:
        g_free(s->data_file);
        s->data_file = g_strndup((const char *)data, len);
        return true;
    case QCOW2_EXT_BITMAPS:
        return read_bitmaps(s, data, len, errp);
    default:
        kept.data = g_memdup2(data, MAX(len, 1));
        g_array_append_val(s->extensions, kept);
        return true;
    }
}

/* Reads what the extensions [pos, end) of the header say. */
static bool read_extensions(Qcow2 *s, const uint8_t *h, uint64_t pos, uint64_t end, FeatureNames *f,
                            Error **errp)
{
    while (end - pos >= 8) {
        uint32_t magic = ld_be32(h + pos), len = ld_be32(h + pos + 4);
        pos += 8;
        if (magic == EXT_END) {
            return true;
        }
        if (len > end - pos) {
            return bad_field(s, errp, "header extension",
                             "%#x has a length of %u bytes and passes the first cluster", magic,
                             len);
        }
        if (!read_extension(s, magic, h + pos, len, f, errp)) {
            return false;
        }
        pos += ALIGN_UP((uint64_t)len, 8ull);
        if (pos > end) {
            break;
        }
    }
    return true;
}

static bool check_features(Qcow2 *s, const FeatureNames *f, Error **errp)
{
    uint64_t unknown = s->incompat & ~SUPPORTED_INCOMPAT;
    if (unknown) {
        GString *names = g_string_new(NULL);
        for (unsigned bit = 0; bit < 64; bit++) {
            if (unknown & BIT(bit)) {
                g_autofree char *name = feature_name(f, bit);
                g_string_append_printf(names, "%s%s", names->len ? ", " : "", name);
            }
        }
        error_set(errp, "'%s' needs qcow2 features that are not supported: %s", node_filename(s->n),
                  names->str);
        g_string_free(names, TRUE);
        return false;
    }
    if ((s->incompat & QCOW2_INCOMPAT_CORRUPT) && !s->n->flags.read_only && !s->n->flags.check) {
        error_set(errp, "'%s' is marked corrupt and cannot be opened for writing",
                  node_filename(s->n));
        error_hint(errp, "'rhea-img check -r all' repairs it; read-only=on reads it as it is");
        return false;
    }
    if ((s->incompat & QCOW2_INCOMPAT_EXTL2) && s->cluster_bits < 14) {
        return bad_field(s, errp, "cluster_bits",
                         "is %u, but extended L2 entries need clusters of 16 KiB at least",
                         s->cluster_bits);
    }
    bool other = s->incompat & QCOW2_INCOMPAT_COMPRESSION;
    if (other != (s->compression != 0) || s->compression > 1) {
        return bad_field(s, errp, "compression type", "is %u and does not fit the feature bit",
                         s->compression);
    }
    if (s->compression == 1 && !module_load("zstd", errp)) {
        error_prefix(errp, "'%s' is compressed with zstd: ", node_filename(s->n));
        return false;
    }
    return true;
}

/* ---- the fields ---- */

/* A table of `n` elements of `size` bytes at `offset`: is there such a place? */
static bool valid_table(const Qcow2 *s, uint64_t offset, uint64_t n, uint64_t size)
{
    return IS_ALIGNED(offset, s->cluster_size) && offset <= INT64_MAX &&
           n <= (INT64_MAX - offset) / size;
}

static bool read_basic(Qcow2 *s, const uint8_t *h, Error **errp)
{
    s->version = ld_be32(h + 4);
    s->cluster_bits = ld_be32(h + 20);
    s->n->length = ld_be64(h + 24);
    uint32_t crypt = ld_be32(h + 32);
    if (ld_be32(h) != QCOW2_MAGIC) {
        error_set(errp, "'%s' is not a qcow2 image: it does not start with 'QFI\\xfb'",
                  node_filename(s->n));
        return false;
    }
    if (s->version != 2 && s->version != 3) {
        return bad_field(s, errp, "version", "is %u; 2 and 3 are supported", s->version);
    }
    if (s->cluster_bits < 9 || s->cluster_bits > 21) {
        return bad_field(s, errp, "cluster_bits", "is %u; 9 (512 bytes) to 21 (2 MiB) are possible",
                         s->cluster_bits);
    }
    s->cluster_size = BIT(s->cluster_bits);
    s->crypt_method = crypt;
    if (crypt == 1 && (!s->n->graph->tool || !s->n->flags.read_only)) {
        error_set(errp, "'%s' is encrypted with the old method AES, which is insecure and %s",
                  node_filename(s->n),
                  s->n->graph->tool ? "can only be read" : "not supported in machines");
        error_hint(errp,
                   "'rhea-img convert -O qcow2 -o encrypt.format=luks' makes a LUKS image of it");
        return false;
    }
    if (crypt > 2) {
        return bad_field(s, errp, "crypt_method", "is %u; 0 (none), 1 (AES) and 2 (LUKS) are known",
                         crypt);
    }
    if (s->n->length > INT64_MAX - s->cluster_size) {
        return bad_field(s, errp, "size", "is too large: %" PRIu64, s->n->length);
    }
    return true;
}

static bool read_version3(Qcow2 *s, const uint8_t *h, Error **errp)
{
    s->refcount_order = 4;
    s->header_length = 72;
    if (s->version >= 3) {
        s->incompat = ld_be64(h + 72);
        s->compat = ld_be64(h + 80);
        s->autoclear = ld_be64(h + 88);
        s->refcount_order = ld_be32(h + 96);
        s->header_length = ld_be32(h + 100);
        if (s->header_length < 104 || s->header_length % 8) {
            return bad_field(s, errp, "header_length", "is %u", s->header_length);
        }
        if (s->header_length > s->cluster_size) {
            return bad_field(s, errp, "header_length", "is %u, more than a cluster",
                             s->header_length);
        }
        if (s->refcount_order > 6) {
            return bad_field(s, errp, "refcount_order", "is %u; at most 6 (64 bits) is possible",
                             s->refcount_order);
        }
        s->compression = s->header_length > 104 ? h[104] : 0;
    }
    bool extended = s->incompat & QCOW2_INCOMPAT_EXTL2;
    s->entry_size = extended ? 16 : 8;
    s->subclusters = extended ? 32 : 1;
    s->subcluster_bits = s->cluster_bits - (extended ? 5 : 0);
    s->l2_entries = s->cluster_size / s->entry_size;
    s->refcount_max = UINT64_MAX >> (64 - (1u << s->refcount_order));
    s->rb_entries = s->cluster_size * 8 >> s->refcount_order;
    return true;
}

static bool read_tables(Qcow2 *s, const uint8_t *h, Error **errp)
{
    s->l1.n = ld_be32(h + QCOW2_HDR_L1);
    s->l1.offset = ld_be64(h + QCOW2_HDR_L1 + 4);
    s->rt.offset = ld_be64(h + QCOW2_HDR_REFTABLE);
    s->rt_clusters = ld_be32(h + QCOW2_HDR_REFTABLE + 8);
    s->n_snapshots = ld_be32(h + 60);
    s->snapshots_offset = ld_be64(h + 64);
    uint64_t covers = s->cluster_size * s->l2_entries;
    uint64_t needed = DIV_ROUND_UP(s->n->length, covers);
    if (s->l1.n * 8 > QCOW2_MAX_L1_BYTES) {
        return bad_field(s, errp, "l1_size", "is %" PRIu64 ": more than 32 MiB of table", s->l1.n);
    }
    if (s->l1.n < needed) {
        return bad_field(s, errp, "l1_size",
                         "is %" PRIu64 ", but a disk of %" PRIu64 " bytes needs %" PRIu64, s->l1.n,
                         s->n->length, needed);
    }
    if (s->l1.n && (!s->l1.offset || !valid_table(s, s->l1.offset, s->l1.n, 8))) {
        return bad_field(s, errp, "l1_table_offset", "is %#" PRIx64, s->l1.offset);
    }
    if (s->rt_clusters == 0 ||
        s->rt_clusters > MAX(QCOW2_MAX_REFTABLE_BYTES >> s->cluster_bits, 1u)) {
        return bad_field(s, errp, "refcount_table_clusters", "is %u", s->rt_clusters);
    }
    s->rt.n = (uint64_t)s->rt_clusters * (s->cluster_size / 8);
    if (!s->rt.offset || !valid_table(s, s->rt.offset, s->rt.n, 8)) {
        return bad_field(s, errp, "refcount_table_offset", "is %#" PRIx64, s->rt.offset);
    }
    if (s->n_snapshots > QCOW2_MAX_SNAPSHOTS) {
        return bad_field(s, errp, "nb_snapshots", "is %u", s->n_snapshots);
    }
    if (s->n_snapshots && !valid_table(s, s->snapshots_offset, s->n_snapshots, 40)) {
        return bad_field(s, errp, "snapshots_offset", "is %#" PRIx64, s->snapshots_offset);
    }
    return true;
}

static bool read_backing_name(Qcow2 *s, const uint8_t *h, uint64_t *ext_end, Error **errp)
{
    uint64_t off = ld_be64(h + 8);
    uint32_t len = ld_be32(h + 16);
    *ext_end = s->cluster_size;
    if (!off) {
        return true;
    }
    if (len > 1023 || off > s->cluster_size || len > s->cluster_size - off) {
        return bad_field(s, errp, "backing_file_size",
                         "is %u at %#" PRIx64 ": a name has at most "
                         "1023 bytes and lies in the first cluster",
                         len, off);
    }
    s->backing_file = g_strndup((const char *)h + off, len);
    *ext_end = MIN(*ext_end, off);
    return true;
}

bool qcow2_read_header(Qcow2 *s, Error **errp)
{
    uint8_t first[112] = {0};
    int ret = node_pread(s->n->file, 0, first, sizeof(first));
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot read the header of '%s'", node_filename(s->n));
        return false;
    }
    if (!read_basic(s, first, errp)) {
        return false;
    }
    g_autofree uint8_t *h = g_try_malloc0(s->cluster_size);
    ret = h ? node_pread(s->n->file, 0, h, s->cluster_size) : -ENOMEM;
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot read the header of '%s'", node_filename(s->n));
        return false;
    }
    FeatureNames f = {0};
    uint64_t ext_end;
    bool ok = read_basic(s, h, errp) && read_version3(s, h, errp) &&
              read_backing_name(s, h, &ext_end, errp);
    if (ok && ext_end > s->header_length) {
        ok = read_extensions(s, h, s->header_length, ext_end, &f, errp);
    }
    /* Features come first: an unknown one may change what the tables mean. */
    ok = ok && check_features(s, &f, errp) && read_tables(s, h, errp);
    if (ok && (s->crypt_method == 2) != (s->crypto_length != 0)) {
        ok = bad_field(s, errp, "crypt_method", "is %u and does not fit the header's extensions",
                       s->crypt_method);
    }
    g_free(f.table);
    return ok;
}

/* ---- snapshots ---- */

void qcow2_snapshots_free(Qcow2 *s)
{
    for (uint32_t i = 0; s->snapshots && i < s->n_snapshots; i++) {
        g_free(s->snapshots[i].id);
        g_free(s->snapshots[i].name);
        g_free(s->snapshots[i].extra);
    }
    g_free(s->snapshots);
    s->snapshots = NULL;
}

/* What follows the fixed part: VM state size in 64 bits, disk size, instruction count. */
static void read_snapshot_extra(Qcow2 *s, Qcow2Snapshot *sn, const uint8_t *extra, uint32_t len)
{
    uint32_t known = len >= 24 ? 24 : len >= 16 ? 16 : len >= 8 ? 8 : 0;
    sn->disk_size = s->n->length;
    sn->icount = UINT64_MAX;
    if (len >= 8) {
        sn->vm_state_size = ld_be64(extra);
    }
    if (len >= 16) {
        sn->disk_size = ld_be64(extra + 8);
    }
    if (len >= 24) {
        sn->icount = ld_be64(extra + 16);
    }
    sn->extra_len = len - known;
    sn->extra = sn->extra_len ? g_memdup2(extra + known, sn->extra_len) : NULL;
}

bool qcow2_read_snapshots(Qcow2 *s, Error **errp)
{
    uint64_t pos = s->snapshots_offset;
    s->snapshots = g_try_new0(Qcow2Snapshot, MAX(s->n_snapshots, 1));
    g_autofree uint8_t *rest = g_try_malloc(1024 + 2 * 65536);
    if (!s->snapshots || !rest) {
        error_set(errp, "not enough memory for the snapshots of '%s'", node_filename(s->n));
        return false;
    }
    for (uint32_t i = 0; i < s->n_snapshots; i++) {
        Qcow2Snapshot *sn = &s->snapshots[i];
        uint8_t h[40];
        int ret = node_pread(s->n->file, pos, h, sizeof(h));
        uint32_t id_len = ld_be16(h + 12), name_len = ld_be16(h + 14), extra = ld_be32(h + 36);
        uint64_t len = sizeof(h) + (uint64_t)extra + id_len + name_len;
        if (ret == 0 &&
            (extra > 1024 || pos + len - s->snapshots_offset > QCOW2_MAX_SNAPSHOT_BYTES)) {
            error_set(errp, "'%s' is not a valid qcow2 image: snapshot %u has a bad length",
                      node_filename(s->n), i);
            return false;
        }
        if (ret == 0) {
            ret = node_pread(s->n->file, pos + sizeof(h), rest, extra + id_len + name_len);
        }
        if (ret < 0) {
            error_set_errno(errp, -ret, "cannot read the snapshots of '%s'", node_filename(s->n));
            return false;
        }
        sn->l1_offset = ld_be64(h);
        sn->l1_size = ld_be32(h + 8);
        sn->date_sec = ld_be32(h + 16);
        sn->date_nsec = ld_be32(h + 20);
        sn->vm_clock_ns = ld_be64(h + 24);
        sn->vm_state_size = ld_be32(h + 32);
        read_snapshot_extra(s, sn, rest, extra);
        sn->id = g_strndup((char *)rest + extra, id_len);
        sn->name = g_strndup((char *)rest + extra + id_len, name_len);
        if (sn->l1_size * 8ull > QCOW2_MAX_L1_BYTES || sn->disk_size > INT64_MAX ||
            !valid_table(s, sn->l1_offset, sn->l1_size, 8)) {
            error_set(errp, "'%s' is not a valid qcow2 image: snapshot %u has a bad L1 table",
                      node_filename(s->n), i);
            return false;
        }
        pos += ALIGN_UP(len, 8ull);
    }
    s->snapshots_bytes = pos - s->snapshots_offset;
    return true;
}
