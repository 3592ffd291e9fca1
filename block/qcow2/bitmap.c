/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dirty bitmaps that are kept in the image.
 *
 * What the image says is a superset at any time: before data are written where the image says
 * "clean", 256 granules around are marked there, durably.  So a crash loses nothing, the bitmap
 * needs no "in use" mark while it is open, and other programs may read it at any time.  Closing
 * writes the exact bits.
 */
#include "block/bitmap.h"

#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <inttypes.h>

#define FLAG_IN_USE 1u
#define FLAG_AUTO 2u
#define FLAG_EXTRA_COMPATIBLE 4u
#define TYPE_DIRTY 1u
#define ENTRY_HEADER 24u
#define ALL_ONES 1u
#define CHUNK 32u /* bytes of bitmap that are marked together */
#define MAX_TABLE (8u << 20)

struct Qcow2Bitmap {
    BlockBitmap *b;    /* NULL: of a kind that is only kept */
    uint8_t *raw;      /* its directory entry, when b is NULL or inconsistent */
    uint64_t table_at; /* 0: not stored yet */
    uint32_t n;        /* entries of the table */
    uint64_t *table;   /* host order */
    uint8_t *disk;     /* what the image says: n * cluster_size bytes */
    uint32_t flags;    /* as stored */
};

static void bitmap_record_free(gpointer p)
{
    Qcow2Bitmap *q = p;
    g_free(q->raw);
    g_free(q->table);
    g_free(q->disk);
    g_free(q);
}

static Qcow2Bitmap *record_of(Qcow2 *s, const BlockBitmap *b)
{
    for (guint i = 0; s->bitmaps && i < s->bitmaps->len; i++) {
        Qcow2Bitmap *q = s->bitmaps->pdata[i];
        if (q->b == b) {
            return q;
        }
    }
    return NULL;
}

static uint64_t bytes_for(const BlockBitmap *b)
{
    return DIV_ROUND_UP(b->n_bits, 8);
}

static uint32_t table_for(const Qcow2 *s, const BlockBitmap *b)
{
    return (uint32_t)DIV_ROUND_UP(bytes_for(b), s->cluster_size);
}

/* The same for a disk of `size` bytes. */
static uint64_t table_for_size(const Qcow2 *s, const BlockBitmap *b, uint64_t size)
{
    uint64_t bits = DIV_ROUND_UP(size, bitmap_granularity(b));
    return DIV_ROUND_UP(DIV_ROUND_UP(bits, 8), s->cluster_size);
}

/* ---- loading ---- */

static void load_bits(BlockBitmap *b, const uint8_t *bits)
{
    uint64_t g = bitmap_granularity(b);
    for (uint64_t i = 0; i < b->n_bits;) {
        if (!(bits[i / 8] & (1u << i % 8))) {
            i += i % 8 == 0 && !bits[i / 8] ? 8 : 1;
            continue;
        }
        uint64_t first = i;
        while (i < b->n_bits && (bits[i / 8] & (1u << i % 8))) {
            i++;
        }
        bitmap_set(b, first * g, MIN(i * g, b->size) - first * g);
    }
}

static int load_contents(Qcow2 *s, Qcow2Bitmap *q)
{
    q->table = g_try_new0(uint64_t, MAX(q->n, 1));
    q->disk = g_try_malloc0(MAX((uint64_t)q->n << s->cluster_bits, 1));
    int ret =
        q->table && q->disk ? node_pread(s->n->file, q->table_at, q->table, q->n * 8ull) : -ENOMEM;
    for (uint32_t i = 0; ret == 0 && i < q->n; i++) {
        uint64_t e = q->table[i] = BITS_BE64(q->table[i]);
        uint8_t *part = q->disk + ((uint64_t)i << s->cluster_bits);
        if (!IS_ALIGNED(e & QCOW2_L2_OFFSET_MASK, s->cluster_size)) {
            ret = -EINVAL;
        } else if (e & QCOW2_L2_OFFSET_MASK) {
            ret = node_pread(s->n->file, e & QCOW2_L2_OFFSET_MASK, part, s->cluster_size);
        } else if (e & ALL_ONES) {
            memset(part, 0xff, s->cluster_size);
        }
    }
    return ret;
}

static bool bad_entry(Qcow2 *s, unsigned i, const char *what, Error **errp)
{
    error_set(errp, "'%s' is not a valid qcow2 image: bitmap directory entry %u has a bad %s",
              node_filename(s->n), i, what);
    return false;
}

static bool load_entry(Qcow2 *s, unsigned i, const uint8_t *e, uint64_t len, Error **errp)
{
    uint32_t flags = ld_be32(e + 12), extra = ld_be32(e + 20);
    uint16_t name_len = ld_be16(e + 18);
    Qcow2Bitmap *q = g_new0(Qcow2Bitmap, 1);
    g_ptr_array_add(s->bitmaps, q);
    q->table_at = ld_be64(e);
    q->n = ld_be32(e + 8);
    q->flags = flags;
    q->raw = g_memdup2(e, len);
    g_autofree char *name = g_strndup((const char *)e + ENTRY_HEADER + extra, name_len);
    if (!name_len || name_len > BITMAP_NAME_MAX || e[17] < 9 || e[17] > 31) {
        return bad_entry(s, i, name_len ? "granularity" : "name", errp);
    }
    if (e[16] != TYPE_DIRTY || (extra && !(flags & FLAG_EXTRA_COMPATIBLE))) {
        return true; /* kept as it is */
    }
    BlockBitmap *b = bitmap_new(s->n, name, BIT(e[17]), errp);
    if (!b) {
        return false;
    }
    q->b = b;
    b->persistent = true;
    b->enabled = flags & FLAG_AUTO;
    b->readonly = s->n->flags.read_only;
    /* A table that is too long is left from a resize that was cut off: it says enough. */
    if ((flags & FLAG_IN_USE) || q->n < table_for(s, b)) {
        b->inconsistent = true;
        return true;
    }
    int ret = load_contents(s, q);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot load the bitmap '%s' of '%s'", name,
                        node_filename(s->n));
        return false;
    }
    load_bits(b, q->disk);
    return true;
}

bool qcow2_bitmaps_load(Qcow2 *s, Error **errp)
{
    s->bitmaps = g_ptr_array_new_with_free_func(bitmap_record_free);
    fiber_mutex_init(&s->bitmap_lock);
    if (!s->n_bitmaps) {
        return true;
    }
    g_autofree uint8_t *dir = g_try_malloc(s->bitmaps_bytes);
    int ret = dir ? node_pread(s->n->file, s->bitmaps_offset, dir, s->bitmaps_bytes) : -ENOMEM;
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot read the bitmap directory of '%s'",
                        node_filename(s->n));
        return false;
    }
    uint64_t pos = 0;
    for (uint32_t i = 0; i < s->n_bitmaps; i++) {
        const uint8_t *e = dir + pos;
        uint64_t left = s->bitmaps_bytes - pos;
        uint64_t len =
            left < ENTRY_HEADER
                ? UINT64_MAX
                : ALIGN_UP(ENTRY_HEADER + (uint64_t)ld_be32(e + 20) + ld_be16(e + 18), 8ull);
        if (len > left) {
            return bad_entry(s, i, "length", errp);
        }
        if (ld_be32(e + 8) > MAX_TABLE / 8 || !IS_ALIGNED(ld_be64(e), s->cluster_size) ||
            ld_be64(e) > INT64_MAX - MAX_TABLE) {
            return bad_entry(s, i, "table", errp);
        }
        if (!load_entry(s, i, e, len, errp)) {
            return false;
        }
        pos += len;
    }
    return true;
}

void qcow2_bitmaps_free(Qcow2 *s)
{
    if (s->bitmaps) {
        g_ptr_array_free(s->bitmaps, TRUE);
        fiber_mutex_destroy(&s->bitmap_lock);
        s->bitmaps = NULL;
    }
}

/* ---- the directory ---- */

static GByteArray *build_directory(Qcow2 *s, uint32_t *n)
{
    GByteArray *d = g_byte_array_new();
    static const uint8_t zeroes[8];
    *n = 0;
    for (guint i = 0; i < s->bitmaps->len; i++) {
        Qcow2Bitmap *q = s->bitmaps->pdata[i];
        if (!q->table_at && q->n) {
            continue;
        }
        ++*n;
        if (!q->b || q->b->inconsistent) {
            uint64_t len = ENTRY_HEADER + (uint64_t)ld_be32(q->raw + 20) + ld_be16(q->raw + 18);
            g_byte_array_append(d, q->raw, (guint)ALIGN_UP(len, 8ull));
            continue;
        }
        uint8_t e[ENTRY_HEADER] = {0};
        size_t name_len = strlen(q->b->name);
        q->flags = q->b->enabled ? FLAG_AUTO : 0;
        st_be64(e, q->table_at);
        st_be32(e + 8, q->n);
        st_be32(e + 12, q->flags);
        e[16] = TYPE_DIRTY;
        e[17] = (uint8_t)q->b->shift;
        st_be16(e + 18, (uint16_t)name_len);
        g_byte_array_append(d, e, sizeof(e));
        g_byte_array_append(d, (const uint8_t *)q->b->name, (guint)name_len);
        g_byte_array_append(d, zeroes, (guint)(ALIGN_UP(d->len, 8u) - d->len));
    }
    return d;
}

static int place(Qcow2 *s, uint64_t bytes, uint64_t *at)
{
    fiber_mutex_lock(&s->lock);
    int64_t got = qcow2_alloc_exact(s, qcow2_clusters(s, bytes));
    fiber_mutex_unlock(&s->lock);
    *at = (uint64_t)got;
    return got < 0 ? (int)got : 0;
}

static void give_up(Qcow2 *s, uint64_t at, uint64_t bytes)
{
    fiber_mutex_lock(&s->lock);
    qcow2_release(s, at, bytes, s->pass_other);
    fiber_mutex_unlock(&s->lock);
}

/* A new directory, and the header that points to it; the old one is given up. */
static int publish_directory(Qcow2 *s)
{
    uint64_t old = s->bitmaps_offset, old_bytes = s->bitmaps_bytes, at = 0,
             autoclear = s->autoclear;
    uint32_t n, old_n = s->n_bitmaps;
    GByteArray *d = build_directory(s, &n);
    int ret = n ? place(s, d->len, &at) : 0;
    if (ret == 0 && n) {
        ret = node_pwrite(s->n->file, at, d->data, d->len, 0);
    }
    ret = ret < 0 ? ret : qcow2_sync(s);
    if (ret == 0) {
        s->n_bitmaps = n;
        s->bitmaps_offset = at;
        s->bitmaps_bytes = n ? d->len : 0;
        s->autoclear =
            (s->autoclear & ~QCOW2_AUTOCLEAR_BITMAPS) | (n ? QCOW2_AUTOCLEAR_BITMAPS : 0);
        ret = qcow2_write_header(s);
        if (ret < 0) {
            s->n_bitmaps = old_n;
            s->bitmaps_offset = old;
            s->bitmaps_bytes = old_bytes;
            s->autoclear = autoclear;
        }
    }
    g_byte_array_free(d, TRUE);
    if (ret < 0) {
        return ret; /* the new directory leaks; the header may name either */
    }
    fiber_mutex_lock(&s->lock);
    if (old_n) {
        qcow2_meta_del(s, old, old_bytes, QCOW2_META_BITMAPS);
        qcow2_release(s, old, old_bytes, s->pass_other);
    }
    if (n) {
        qcow2_meta_add(s, at, s->bitmaps_bytes, QCOW2_META_BITMAPS);
    }
    fiber_mutex_unlock(&s->lock);
    return 0;
}

/* ---- contents ---- */

/* The exact bits, as they are in the image: n * cluster_size bytes. */
static uint8_t *exact_bits(const Qcow2 *s, const Qcow2Bitmap *q)
{
    const BlockBitmap *b = q->b;
    uint64_t total = (uint64_t)q->n << s->cluster_bits, g = bitmap_granularity(b);
    uint8_t *bits = g_try_malloc0(MAX(total, 1));
    for (uint64_t off = 0; bits && (off = bitmap_next_dirty(b, off)) != UINT64_MAX;) {
        uint64_t end = bitmap_next_clean(b, off);
        uint64_t last = end == UINT64_MAX ? b->n_bits : end / g;
        for (uint64_t i = off / g; i < last; i++) {
            bits[i / 8] |= (uint8_t)(1u << i % 8);
        }
        if (end == UINT64_MAX) {
            break;
        }
        off = end;
    }
    return bits;
}

/* A table of `q->n` entries, empty. */
static int make_table(Qcow2 *s, Qcow2Bitmap *q)
{
    q->n = table_for(s, q->b);
    q->table_at = 0;
    g_free(q->table); /* of an attempt that failed */
    g_free(q->disk);
    q->table = g_try_new0(uint64_t, MAX(q->n, 1));
    q->disk = g_try_malloc0(MAX((uint64_t)q->n << s->cluster_bits, 1));
    g_autofree uint8_t *zeroes = g_try_malloc0(MAX(q->n, 1) * 8ull);
    if (!q->table || !q->disk || !zeroes) {
        return -ENOMEM;
    }
    if (!q->n) {
        return 0;
    }
    int ret = place(s, q->n * 8ull, &q->table_at);
    ret = ret < 0 ? ret : node_pwrite(s->n->file, q->table_at, zeroes, q->n * 8ull, 0);
    if (ret < 0) {
        q->table_at = 0;
    }
    return ret;
}

/* A cluster for part `i`, filled with `data`, then pointed to. */
static int make_cluster(Qcow2 *s, Qcow2Bitmap *q, uint32_t i, const uint8_t *data)
{
    uint64_t at;
    uint8_t be[8];
    int ret = place(s, s->cluster_size, &at);
    ret = ret < 0 ? ret : node_pwrite(s->n->file, at, data, s->cluster_size, 0);
    ret = ret < 0 ? ret : qcow2_sync(s);
    st_be64(be, at);
    ret = ret < 0 ? ret : node_pwrite(s->n->file, q->table_at + i * 8ull, be, 8, 0);
    if (ret == 0) {
        q->table[i] = at;
    }
    return ret;
}

/* The image gets `bits`, which may say less than it does now. */
static int write_contents(Qcow2 *s, Qcow2Bitmap *q, const uint8_t *bits)
{
    int ret = 0;
    for (uint32_t i = 0; ret == 0 && i < q->n; i++) {
        const uint8_t *now = bits + ((uint64_t)i << s->cluster_bits);
        uint8_t *disk = q->disk + ((uint64_t)i << s->cluster_bits);
        uint64_t at = q->table[i] & QCOW2_L2_OFFSET_MASK;
        if (!memcmp(now, disk, s->cluster_size)) {
            continue;
        }
        if (at) {
            ret = node_pwrite(s->n->file, at, now, s->cluster_size, 0);
        } else {
            ret = make_cluster(s, q, i, now);
        }
        if (ret == 0) {
            memcpy(disk, now, s->cluster_size);
        }
    }
    return ret < 0 ? ret : node_flush(s->n->file);
}

/* A table of another length beside the one in use, with what both have in common. */
typedef struct NewTable {
    uint64_t at;
    uint32_t n;
    uint64_t *table;
    uint8_t *disk;
} NewTable;

static void new_table_free(NewTable *t)
{
    g_free(t->table);
    g_free(t->disk);
}

static int build_table(Qcow2 *s, const Qcow2Bitmap *q, uint32_t n, NewTable *t)
{
    uint32_t common = MIN(n, q->n);
    g_autofree uint64_t *be = g_try_new0(uint64_t, MAX(n, 1));
    *t = (NewTable){.n = n,
                    .table = g_try_new0(uint64_t, MAX(n, 1)),
                    .disk = g_try_malloc0(MAX((uint64_t)n << s->cluster_bits, 1))};
    if (!be || !t->table || !t->disk) {
        return -ENOMEM;
    }
    memcpy(t->disk, q->disk, (uint64_t)common << s->cluster_bits);
    for (uint32_t i = 0; i < n; i++) {
        bool ones = i >= common && q->b->enabled;
        t->table[i] = i < common ? q->table[i] : ones ? ALL_ONES : 0;
        be[i] = BITS_BE64(t->table[i]);
        if (ones) {
            memset(t->disk + ((uint64_t)i << s->cluster_bits), 0xff, s->cluster_size);
        }
    }
    int ret = n ? place(s, n * 8ull, &t->at) : 0;
    return ret < 0 || !n ? ret : node_pwrite(s->n->file, t->at, be, n * 8ull, 0);
}

/* The bitmap gets a table of `n` entries: published first, then the old one is given up. */
static int change_table(Qcow2 *s, Qcow2Bitmap *q, uint32_t n)
{
    NewTable t;
    int ret = build_table(s, q, n, &t);
    if (ret < 0) {
        new_table_free(&t);
        return ret;
    }
    NewTable old = {q->table_at, q->n, q->table, q->disk};
    q->table_at = t.at;
    q->n = t.n;
    q->table = t.table;
    q->disk = t.disk;
    ret = publish_directory(s);
    if (ret < 0) {
        q->table_at = old.at;
        q->n = old.n;
        q->table = old.table;
        q->disk = old.disk;
        new_table_free(&t);
        return ret;
    }
    for (uint32_t i = n; i < old.n; i++) {
        if (old.table[i] & QCOW2_L2_OFFSET_MASK) {
            give_up(s, old.table[i] & QCOW2_L2_OFFSET_MASK, s->cluster_size);
        }
    }
    if (old.n) {
        give_up(s, old.at, old.n * 8ull);
    }
    new_table_free(&old);
    return 0;
}

static int store(Qcow2 *s, Qcow2Bitmap *q)
{
    bool fresh = !q->table_at;
    int ret = 0;
    if (fresh) {
        ret = make_table(s, q);
    } else if (q->n != table_for(s, q->b)) { /* left by a resize */
        ret = change_table(s, q, table_for(s, q->b));
    }
    g_autofree uint8_t *bits = ret == 0 ? exact_bits(s, q) : NULL;
    if (ret == 0) {
        ret = bits ? write_contents(s, q, bits) : -ENOMEM;
    }
    uint32_t flags = q->b->enabled ? FLAG_AUTO : 0;
    if (ret == 0 && (fresh || flags != q->flags)) {
        ret = publish_directory(s);
    }
    return ret;
}

static void drop_contents(Qcow2 *s, Qcow2Bitmap *q)
{
    for (uint32_t i = 0; q->table && i < q->n; i++) {
        if (q->table[i] & QCOW2_L2_OFFSET_MASK) {
            give_up(s, q->table[i] & QCOW2_L2_OFFSET_MASK, s->cluster_size);
        }
    }
    if (q->table_at && q->n) {
        give_up(s, q->table_at, q->n * 8ull);
    }
    g_clear_pointer(&q->table, g_free);
    g_clear_pointer(&q->disk, g_free);
    q->table_at = 0;
}

/* ---- what the generic code asks for ---- */

bool qcow2_bitmap_store(BlockNode *n, struct BlockBitmap *b, Error **errp)
{
    Qcow2 *s = n->s;
    Qcow2Bitmap *q = record_of(s, b);
    if (s->version < 3) {
        error_set(errp, "'%s' is version 2 of qcow2, which cannot keep bitmaps", node_filename(n));
        error_hint(errp, "'rhea-img amend -o compat=1.1' makes it version 3");
        return false;
    }
    if (table_for(s, b) > MAX_TABLE / 8) {
        error_set(errp, "the bitmap '%s' is too large to be kept in '%s'", b->name,
                  node_filename(n));
        error_hint(errp, "a larger granularity makes it smaller");
        return false;
    }
    bool fresh = !q;
    if (fresh) {
        q = g_new0(Qcow2Bitmap, 1);
        q->b = b;
        g_ptr_array_add(s->bitmaps, q);
    }
    fiber_mutex_lock(&s->bitmap_lock);
    int ret = store(s, q);
    if (ret < 0 && fresh) {
        /* What it had leaks: the header may point to it nevertheless. */
        g_ptr_array_remove(s->bitmaps, q);
    }
    fiber_mutex_unlock(&s->bitmap_lock);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot keep the bitmap '%s' in '%s'", b->name,
                        node_filename(n));
    }
    return ret == 0;
}

bool qcow2_bitmap_remove(BlockNode *n, struct BlockBitmap *b, Error **errp)
{
    Qcow2 *s = n->s;
    Qcow2Bitmap *q = record_of(s, b);
    if (!q) {
        return true;
    }
    fiber_mutex_lock(&s->bitmap_lock);
    /* An inconsistent one was not loaded: its table says what goes. */
    int ret = !q->table && q->table_at ? load_contents(s, q) : 0;
    guint index = 0;
    while (s->bitmaps->pdata[index] != q) {
        index++;
    }
    g_ptr_array_steal_index(s->bitmaps, index);
    ret = publish_directory(s);
    if (ret == 0) {
        drop_contents(s, q);
        ret = qcow2_sync(s);
        bitmap_record_free(q);
    } else {
        g_ptr_array_add(s->bitmaps, q);
    }
    fiber_mutex_unlock(&s->bitmap_lock);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot remove the bitmap '%s' from '%s'", b->name,
                        node_filename(n));
    }
    return ret == 0;
}

/* The sectors of part `i` in which chunks [first, last] lie. */
static int mark_part(Qcow2 *s, Qcow2Bitmap *q, uint32_t i, uint64_t from, uint64_t to)
{
    uint8_t *disk = q->disk + ((uint64_t)i << s->cluster_bits);
    uint64_t at = q->table[i] & QCOW2_L2_OFFSET_MASK;
    memset(disk + from, 0xff, to - from);
    if (!at) {
        return make_cluster(s, q, i, disk);
    }
    from = ALIGN_DOWN(from, 512ull);
    to = ALIGN_UP(to, 512ull);
    return node_pwrite(s->n->file, at + from, disk + from, to - from, 0);
}

static bool all_ones(const uint8_t *p, uint64_t len)
{
    for (uint64_t i = 0; i < len; i++) {
        if (p[i] != 0xff) {
            return false;
        }
    }
    return true;
}

int qcow2_bitmap_dirty(BlockNode *n, struct BlockBitmap *b, uint64_t off, uint64_t len)
{
    Qcow2 *s = n->s;
    Qcow2Bitmap *q = record_of(s, b);
    uint64_t g = bitmap_granularity(b);
    if (!q || b->inconsistent || len == 0 || off >= b->size) {
        return 0;
    }
    uint64_t end = MIN(off + len, b->size);
    uint64_t from = ALIGN_DOWN(off / g / 8, (uint64_t)CHUNK);
    uint64_t to = ALIGN_UP((end - 1) / g / 8 + 1, (uint64_t)CHUNK);
    if (q->disk && to <= (uint64_t)q->n << s->cluster_bits && all_ones(q->disk + from, to - from) &&
        !s->bitmap_lock.locked) {
        return 0; /* the common case: it says so already, durably */
    }
    fiber_mutex_lock(&s->bitmap_lock);
    bool any = false;
    int ret = 0;
    for (uint64_t pos = from; ret == 0 && pos < to;) {
        uint32_t i = (uint32_t)(pos >> s->cluster_bits);
        uint64_t in = pos & (s->cluster_size - 1);
        uint64_t now = MIN(to - pos, s->cluster_size - in);
        if (!all_ones(q->disk + pos, now)) {
            any = true;
            ret = mark_part(s, q, i, in, in + now);
            if (ret < 0) {
                memset(q->disk + pos, 0, now); /* it must be tried again */
            }
        }
        pos += now;
    }
    if (ret == 0 && any) {
        ret = node_flush(s->n->file);
    }
    fiber_mutex_unlock(&s->bitmap_lock);
    return ret;
}

/* Marks what bits there are in the image for [from, to) of the disk, which it need not have yet. */
static int mark_ahead(Qcow2 *s, Qcow2Bitmap *q, uint64_t from, uint64_t to)
{
    uint64_t g = bitmap_granularity(q->b);
    uint64_t first = from / g / 8,
             end = MIN(DIV_ROUND_UP(DIV_ROUND_UP(to, g), 8), (uint64_t)q->n << s->cluster_bits);
    int ret = 0;
    for (uint64_t pos = first; ret == 0 && pos < end;) {
        uint64_t in = pos & (s->cluster_size - 1), now = MIN(end - pos, s->cluster_size - in);
        if (!all_ones(q->disk + pos, now)) {
            ret = mark_part(s, q, (uint32_t)(pos >> s->cluster_bits), in, in + now);
            if (ret < 0) {
                memset(q->disk + pos, 0, now); /* what the image says is not known */
            }
        }
        pos += now;
    }
    return ret;
}

int qcow2_bitmaps_before_growing(Qcow2 *s, uint64_t size)
{
    int ret = 0;
    fiber_mutex_lock(&s->bitmap_lock);
    for (guint i = 0; ret == 0 && s->bitmaps && i < s->bitmaps->len; i++) {
        Qcow2Bitmap *q = s->bitmaps->pdata[i];
        if (!q->b || q->b->inconsistent || (!q->table_at && q->n)) {
            continue;
        }
        uint64_t n = table_for_size(s, q->b, size);
        if (n > MAX_TABLE / 8) {
            ret = -EFBIG;
        } else if (q->b->enabled) {
            ret = mark_ahead(s, q, s->n->length, size);
        }
        if (ret == 0 && n > q->n) {
            ret = change_table(s, q, (uint32_t)n);
        }
    }
    ret = ret < 0 ? ret : qcow2_sync(s);
    fiber_mutex_unlock(&s->bitmap_lock);
    return ret;
}

int qcow2_bitmaps_after_shrinking(Qcow2 *s)
{
    int ret = 0;
    fiber_mutex_lock(&s->bitmap_lock);
    for (guint i = 0; ret == 0 && s->bitmaps && i < s->bitmaps->len; i++) {
        Qcow2Bitmap *q = s->bitmaps->pdata[i];
        if (q->b && !q->b->inconsistent && q->table_at) {
            uint64_t n = table_for_size(s, q->b, s->n->length);
            ret = n < q->n ? change_table(s, q, (uint32_t)n) : 0;
        }
    }
    fiber_mutex_unlock(&s->bitmap_lock);
    return ret;
}

Json *qcow2_bitmaps_info(const Qcow2 *s)
{
    Json *a = NULL;
    for (guint i = 0; s->bitmaps && i < s->bitmaps->len; i++) {
        const Qcow2Bitmap *q = s->bitmaps->pdata[i];
        if (!q->b) {
            continue;
        }
        Json *o = json_object(), *flags = json_array();
        if (q->b->inconsistent) {
            json_append(flags, json_string("in-use"));
        }
        if (q->b->enabled) {
            json_append(flags, json_string("auto"));
        }
        json_put(o, "flags", flags);
        json_put_string(o, "name", q->b->name);
        json_put_int(o, "granularity", bitmap_granularity(q->b));
        a = a ? a : json_array();
        json_append(a, o);
    }
    return a;
}

int qcow2_bitmaps_store_all(Qcow2 *s)
{
    int ret = 0;
    for (guint i = 0; ret == 0 && s->bitmaps && i < s->bitmaps->len; i++) {
        Qcow2Bitmap *q = s->bitmaps->pdata[i];
        if (q->b && !q->b->inconsistent) {
            ret = store(s, q);
        }
    }
    return ret;
}
