/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Properties of an image that can be changed afterwards. */
#include "block/luks.h"
#include "block/qcow2/rebuild.h"

#include <errno.h>
#include <inttypes.h>

/* ---- backing file ---- */

int qcow2_change_backing(BlockNode *n, const char *file, const char *format, Error **errp)
{
    Qcow2 *s = n->s;
    char *old_file = s->backing_file, *old_format = s->backing_format;
    if (file && *file && (s->autoclear & QCOW2_AUTOCLEAR_DATA_RAW)) {
        error_set(errp, "'%s' has a raw data file and can have no backing file", node_filename(n));
        return -EINVAL;
    }
    if (file && strlen(file) > 1023) {
        error_set(errp, "the backing file's name is longer than 1023 bytes");
        return -EINVAL;
    }
    s->backing_file = file && *file ? g_strdup(file) : NULL;
    s->backing_format = s->backing_file ? g_strdup(format) : NULL;
    int ret = qcow2_write_header(s);
    if (ret < 0) {
        g_free(s->backing_file);
        g_free(s->backing_format);
        s->backing_file = old_file;
        s->backing_format = old_format;
        if (ret == -ENOSPC) {
            error_set(errp, "the backing file's name does not fit into the first cluster of '%s'",
                      node_filename(n));
        } else {
            error_set_errno(errp, -ret, "cannot write the header of '%s'", node_filename(n));
        }
        return ret;
    }
    g_free(old_file);
    g_free(old_format);
    return 0;
}

/* ---- the width of reference counts ---- */

typedef struct Widen {
    Qcow2 *s;
    int error;
} Widen;

static uint64_t old_count(void *opaque, uint64_t c)
{
    Widen *w = opaque;
    uint64_t v = 0;
    /* The old structures themselves go. */
    unsigned kind = qcow2_meta_kind(w->s, c);
    if (kind && !(kind & ~(unsigned)(QCOW2_META_REFTABLE | QCOW2_META_REFBLOCK))) {
        return 0;
    }
    int ret = qcow2_refcount_get(w->s, c, &v);
    w->error = w->error ? w->error : ret;
    return v;
}

static bool never_empty(void *opaque, uint64_t c)
{
    return false;
}

static int change_width(Qcow2 *s, unsigned order)
{
    Widen w = {s, 0};
    Qcow2Rebuild r = {s->n->file, s->cluster_bits, order, old_count, never_empty, &w};
    Qcow2Table fresh = {0};
    Qcow2HeaderEdit edit;
    uint64_t old_at = s->rt.offset, per = s->cluster_size * 8 >> order;
    uint32_t clusters, old_clusters = s->rt_clusters;
    int ret = qcow2_sync(s);
    ret = ret < 0 ? ret : qcow2_sync(s); /* nothing waits to be released */
    if (ret < 0 || order == s->refcount_order) {
        return ret;
    }
    fiber_mutex_lock(&s->lock);
    ret = qcow2_rebuild_write(&r, &fresh, &clusters);
    fiber_mutex_unlock(&s->lock);
    ret = ret == 0 && w.error ? w.error : ret;
    ret = ret < 0 ? ret : qcow2_header_prepare(s, &edit);
    if (ret < 0) {
        qcow2_table_free(&fresh);
        return ret;
    }
    /* Width and table change in one write, which is within the first sector. */
    uint32_t had_order = s->refcount_order;
    s->refcount_order = order;
    s->rt.offset = fresh.offset;
    s->rt_clusters = clusters;
    ret = qcow2_header_commit(s, &edit);
    s->rt.offset = old_at;
    if (ret < 0) {
        s->refcount_order = had_order;
        s->rt_clusters = old_clusters;
        s->corrupt = true; /* which of the two the header names cannot be known */
        qcow2_table_free(&fresh);
        return ret;
    }
    s->refcount_max = UINT64_MAX >> (64 - (1u << order));
    s->rb_entries = per;
    fiber_mutex_lock(&s->lock);
    Qcow2Table old = s->rt;
    s->rt = (Qcow2Table){0};
    qcow2_adopt_refcounts(s, &fresh, clusters);
    fiber_mutex_unlock(&s->lock);
    /* The old structures are not counted by the new ones: they are free already. */
    if (s->pass_other) {
        for (uint64_t i = 0; i < old.n; i++) {
            if (old.entries[i] & ~511ull) {
                node_discard(s->n->file, old.entries[i] & ~511ull, s->cluster_size);
            }
        }
        node_discard(s->n->file, old_at, (uint64_t)old_clusters << s->cluster_bits);
    }
    qcow2_table_free(&old);
    return 0;
}

/* ---- version ---- */

static int upgrade(Qcow2 *s)
{
    s->version = 3;
    s->header_length = 112;
    int ret = qcow2_write_header(s);
    if (ret < 0) {
        s->version = 2;
    }
    return ret;
}

/* Version 2 cannot say "zeroes": such clusters become holes or are written. */
static int expand_zeroes(Qcow2 *s, const BlockProgress *p)
{
    BlockNode *n = s->n;
    int ret = 0;
    for (uint64_t off = 0; ret == 0 && off < n->length;) {
        Qcow2Map m;
        fiber_mutex_lock(&s->lock);
        ret = qcow2_map(s, off, n->length - off, &m);
        fiber_mutex_unlock(&s->lock);
        if (ret == 0 && (m.kind == QCOW2_ZERO_PLAIN || m.kind == QCOW2_ZERO_ALLOC)) {
            bool hole = !n->backing || off >= n->backing->length;
            if (hole) {
                ret = qcow2_make_hole(s, off, m.len);
            } else {
                m.len = MIN(m.len, 1 * MiB);
                g_autofree uint8_t *zeroes = g_try_malloc0(m.len);
                struct iovec one = {zeroes, m.len};
                IoVec v = {.iov = &one, .n = 1, .size = m.len};
                ret = zeroes ? qcow2_pwritev(n, off, &v, 0) : -ENOMEM;
            }
        }
        off += m.len;
        if (!block_progress(p, off, n->length)) {
            ret = -ECANCELED;
        }
    }
    return ret < 0 ? ret : qcow2_sync(s);
}

static int downgrade(Qcow2 *s, const BlockProgress *p, Error **errp)
{
    const char *why = NULL;
    if (s->incompat & ~(QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT)) {
        why = "it uses features of version 3";
    } else if (s->n_bitmaps) {
        why = "it has persistent bitmaps";
    } else if (s->n_snapshots) {
        why = "it has snapshots, which may hold zero clusters";
    } else if (s->refcount_order != 4) {
        why = "its reference counts do not have 16 bits";
    } else if (s->luks) {
        why = "it is encrypted";
    }
    if (why) {
        error_set(errp, "'%s' cannot become version 2: %s", node_filename(s->n), why);
        return -ENOTSUP;
    }
    int ret = expand_zeroes(s, p);
    if (ret == 0) {
        uint64_t compat = s->compat, autoclear = s->autoclear;
        s->version = 2;
        s->header_length = 72;
        s->compat = s->autoclear = 0;
        ret = qcow2_write_header(s);
        if (ret < 0) {
            s->version = 3;
            s->compat = compat;
            s->autoclear = autoclear;
        }
    }
    return ret;
}

/* ---- encryption ---- */

static int amend_encryption(Qcow2 *s, const Json *e, bool force, Error **errp)
{
    BlockNode *file = s->n->file;
    if (!s->luks) {
        error_set(errp, "'%s' is not encrypted", node_filename(s->n));
        return -EINVAL;
    }
    size_t len = s->crypto_length;
    g_autofree uint8_t *h = g_try_malloc(len);
    int ret = h ? node_pread(file, s->crypto_offset, h, len) : -ENOMEM;
    g_autoptr(Json) rest = json_copy(e);
    json_remove(rest, "format");
    g_autoptr(BlockOpts) o = block_opts_new(rest, "encrypt");
    if (ret == 0 && !luks_amend_slots(s->n, o, s->luks, h, len, force, errp)) {
        return -EINVAL;
    }
    /* The key material first, then the slot that makes it count. */
    ret = ret < 0 ? ret : node_pwrite(file, s->crypto_offset + 4096, h + 4096, len - 4096, 0);
    ret = ret < 0 ? ret : node_flush(file);
    ret = ret < 0 ? ret : node_pwrite(file, s->crypto_offset, h, 4096, 0);
    ret = ret < 0 ? ret : node_flush(file);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot change the encryption header of '%s'",
                        node_filename(s->n));
    }
    return ret;
}

/* ---- all together ---- */

typedef struct Changes {
    int compat; /* -1: as it is */
    int lazy, data_raw;
    unsigned order;
    uint64_t size;
    const char *data_file;
    const Json *encrypt;
    const char *backing_file, *backing_format;
    bool has_backing;
} Changes;

static bool take_changes(Qcow2 *s, BlockOpts *o, Changes *c, Error **errp)
{
    static const char *const compats[] = {"0.10", "v2", "1.1", "v3", NULL};
    c->compat = block_opts_has(o, "compat") ? block_opts_enum(o, "compat", compats, 2) / 2 + 2 : -1;
    uint64_t bits = block_opts_uint(o, "refcount_bits", 1u << s->refcount_order, 1, 64);
    c->lazy =
        block_opts_has(o, "lazy_refcounts") ? block_opts_bool(o, "lazy_refcounts", false) : -1;
    c->data_raw =
        block_opts_has(o, "data_file_raw") ? block_opts_bool(o, "data_file_raw", false) : -1;
    c->size = block_opts_size(o, "size", s->n->length);
    c->data_file = block_opts_string(o, "data_file", NULL);
    c->encrypt = block_opts_take(o, "encrypt");
    c->has_backing = block_opts_has(o, "backing_file") || block_opts_has(o, "backing_fmt");
    c->backing_file = block_opts_string(o, "backing_file", s->backing_file);
    c->backing_format = block_opts_string(o, "backing_fmt", s->backing_format);
    unsigned version = c->compat > 0 ? (unsigned)c->compat : s->version;
    if (!IS_POWER_OF_2(bits)) {
        block_opts_mistake(o, "'refcount_bits' must be 1, 2, 4, 8, 16, 32 or 64");
        bits = 16;
    }
    c->order = 63 - (unsigned)__builtin_clzll(bits);
    if (version < 3 && c->order != 4) {
        block_opts_mistake(o, "'refcount_bits' other than 16 needs compat=1.1");
    }
    if (version < 3 && c->lazy == 1) {
        block_opts_mistake(o, "'lazy_refcounts' needs compat=1.1");
    }
    if (c->data_file && !qcow2_has_data_file(s)) {
        block_opts_mistake(o, "'data_file' cannot be given to an image that has none");
    }
    if (c->data_raw == 1 && !(s->autoclear & QCOW2_AUTOCLEAR_DATA_RAW)) {
        block_opts_mistake(o, "'data_file_raw' can be turned off, but not on afterwards");
    }
    if (c->encrypt && json_type(c->encrypt) != JSON_OBJECT) {
        block_opts_mistake(o, "'encrypt' has parts: encrypt.state, encrypt.new-secret, …");
    }
    return block_opts_finish(o, errp);
}

static int write_simple(Qcow2 *s, const Changes *c)
{
    uint64_t compat = s->compat, autoclear = s->autoclear;
    char *data_file = s->data_file;
    if (c->lazy >= 0) {
        s->compat = (s->compat & ~QCOW2_COMPAT_LAZY_REFCOUNTS) |
                    (c->lazy ? QCOW2_COMPAT_LAZY_REFCOUNTS : 0);
    }
    if (c->data_raw == 0) {
        s->autoclear &= ~QCOW2_AUTOCLEAR_DATA_RAW;
    }
    if (c->data_file) {
        s->data_file = *c->data_file ? g_strdup(c->data_file) : NULL;
    }
    int ret = qcow2_write_header(s);
    if (ret < 0) {
        s->compat = compat;
        s->autoclear = autoclear;
        if (c->data_file) {
            g_free(s->data_file);
            s->data_file = data_file;
        }
    } else if (c->data_file) {
        g_free(data_file);
    }
    return ret;
}

static int amend(Qcow2 *s, const Changes *c, bool force, const BlockProgress *p, Error **errp)
{
    int ret = 0;
    if (c->compat == 3 && s->version < 3) {
        ret = upgrade(s);
    }
    if (ret == 0 && c->order != s->refcount_order) {
        ret = change_width(s, c->order);
        if (ret == -EOVERFLOW) {
            error_set(errp, "'%s' has reference counts that do not fit into %u bits",
                      node_filename(s->n), 1u << c->order);
            return ret;
        }
    }
    if (ret == 0 && c->encrypt) {
        ret = amend_encryption(s, c->encrypt, force, errp);
        if (ret < 0) {
            return ret;
        }
    }
    ret = ret < 0 ? ret : write_simple(s, c);
    if (ret == 0 && c->has_backing) {
        ret = qcow2_change_backing(s->n, c->backing_file, c->backing_format, errp);
        if (ret < 0) {
            return ret;
        }
    }
    if (ret == 0 && c->size != s->n->length) {
        ret = node_truncate(s->n, c->size, errp);
        if (ret < 0) {
            return ret;
        }
    }
    if (ret == 0 && c->compat == 2 && s->version == 3) {
        ret = downgrade(s, p, errp);
        if (ret == -ENOTSUP) {
            return ret;
        }
    }
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot change '%s'", node_filename(s->n));
    }
    return ret;
}

int qcow2_amend(BlockNode *n, BlockOpts *o, bool force, const BlockProgress *p, Error **errp)
{
    Changes c = {0};
    if (!take_changes(n->s, o, &c, errp)) {
        return -EINVAL;
    }
    return amend(n->s, &c, force, p, errp);
}
