/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The format "qed": two levels of tables, no reference counts; kept for old images. */
#include "block/formats/format.h"

#include <errno.h>
#include <inttypes.h>

#define MAGIC 0x00444551u /* "QED\0" */
#define FEATURE_BACKING 1u
#define FEATURE_NEED_CHECK 2u
#define FEATURE_BACKING_RAW 4u
#define ZERO_CLUSTER 1u
#define MAX_TABLE (16u << 20)
#define CACHED_TABLES 64u

typedef struct QedTable {
    uint64_t offset; /* 0: free */
    uint64_t *entries;
    bool dirty;
    uint64_t used;
} QedTable;

typedef struct Qed {
    BlockNode *n;
    uint64_t cluster, table_bytes, table_entries, l1_at;
    uint64_t features;
    uint64_t *l1;
    bool l1_dirty;
    QedTable cache[CACHED_TABLES];
    uint64_t clock, next_free;
    FiberMutex lock;
    char *backing;
} Qed;

static int qed_probe(const uint8_t *buf, size_t len)
{
    return len >= 64 && ld_le32(buf) == MAGIC ? 100 : 0;
}

static bool check_header(BlockNode *n, const uint8_t *h, Error **errp)
{
    Qed *s = n->s;
    uint32_t table = ld_le32(h + 8);
    s->cluster = ld_le32(h + 4);
    s->features = ld_le64(h + 16);
    s->l1_at = ld_le64(h + 40);
    n->length = ld_le64(h + 48);
    if (ld_le32(h) != MAGIC) {
        return format_bad_field(n, "QED", errp, "magic", "is %#x", ld_le32(h));
    }
    if (!IS_POWER_OF_2(s->cluster) || s->cluster < 4096 || s->cluster > 64 * MiB) {
        return format_bad_field(n, "QED", errp, "cluster_size", "is %" PRIu64, s->cluster);
    }
    if (!IS_POWER_OF_2(table) || table > 16) {
        return format_bad_field(n, "QED", errp, "table_size", "is %u", table);
    }
    if (s->features & ~7ull) {
        return format_bad_field(n, "QED", errp, "features", "is %#" PRIx64 ": some are unknown",
                                s->features);
    }
    s->table_bytes = s->cluster * table;
    if (s->table_bytes > MAX_TABLE) {
        return format_bad_field(n, "QED", errp, "table_size", "is %u clusters of %" PRIu64 " bytes",
                                table, s->cluster);
    }
    s->table_entries = s->table_bytes / 8;
    uint64_t covers = s->table_entries * s->table_entries;
    if (covers < DIV_ROUND_UP(n->length, s->cluster) || n->length > INT64_MAX / 2 ||
        n->length % 512) {
        return format_bad_field(n, "QED", errp, "image_size", "is %" PRIu64, n->length);
    }
    if (!IS_ALIGNED(s->l1_at, s->cluster) || !s->l1_at || s->l1_at > INT64_MAX / 2) {
        return format_bad_field(n, "QED", errp, "l1_table_offset", "is %#" PRIx64, s->l1_at);
    }
    return true;
}

static bool open_backing(BlockNode *n, const uint8_t *h, Error **errp)
{
    Qed *s = n->s;
    uint32_t at = ld_le32(h + 56), len = ld_le32(h + 60);
    if (!(s->features & FEATURE_BACKING)) {
        return true;
    }
    if (len > 1023 || at > s->cluster || len > s->cluster - at) {
        return format_bad_field(n, "QED", errp, "backing_filename_size", "is %u at %u", len, at);
    }
    s->backing = g_malloc0(len + 1);
    int ret = node_pread(n->file, at, s->backing, len);
    if (ret < 0 || n->flags.no_backing) {
        return ret == 0;
    }
    return format_open_backing(n, s->backing, s->features & FEATURE_BACKING_RAW ? "raw" : NULL,
                               errp);
}

static int qed_check(BlockNode *n, unsigned fix, const BlockProgress *p, BlockCheck *out,
                     Error **errp);

/* Whoever wrote it before did not close it: tables may point to what was never written. */
static bool repair_first(BlockNode *n, Error **errp)
{
    Qed *s = n->s;
    BlockCheck out = {0};
    if (!(s->features & FEATURE_NEED_CHECK) || n->flags.read_only || n->flags.check) {
        return true;
    }
    int ret = qed_check(n, BLOCK_FIX_ERRORS, NULL, &out, errp);
    if (ret == 0 && out.corruptions) {
        error_set(errp, "'%s' was not closed properly and has %" PRIu64 " errors", node_filename(n),
                  out.corruptions);
        error_hint(errp, "'rhea-img check -r all' may help");
        ret = -EIO;
    }
    return ret == 0;
}

static bool qed_open(BlockNode *n, BlockOpts *o, Error **errp)
{
    Qed *s = n->s;
    uint8_t h[64];
    s->n = n;
    fiber_mutex_init(&s->lock);
    if (!block_opts_finish(o, errp)) {
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
    s->l1 = g_try_malloc(s->table_bytes);
    ret = s->l1 ? node_pread(n->file, s->l1_at, s->l1, s->table_bytes) : -ENOMEM;
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot read the L1 table of '%s'", node_filename(n));
        return false;
    }
    s->next_free = ALIGN_UP(n->file->length, s->cluster);
    n->limits.opt_io = (uint32_t)s->cluster;
    return open_backing(n, h, errp) && repair_first(n, errp);
}

/* ---- tables ---- */

static int write_table(Qed *s, QedTable *t)
{
    int ret = t->dirty ? node_pwrite(s->n->file, t->offset, t->entries, s->table_bytes, 0) : 0;
    t->dirty = t->dirty && ret < 0;
    return ret;
}

/* Data, L2 tables, L1 table. Under the lock. */
static int write_all(Qed *s)
{
    int ret = node_flush(s->n->file);
    bool any = false;
    for (unsigned i = 0; ret == 0 && i < CACHED_TABLES; i++) {
        any |= s->cache[i].dirty;
        ret = write_table(s, &s->cache[i]);
    }
    if (ret == 0 && (any || s->l1_dirty)) {
        ret = node_flush(s->n->file);
    }
    if (ret == 0 && s->l1_dirty) {
        ret = node_pwrite(s->n->file, s->l1_at, s->l1, s->table_bytes, 0);
        ret = ret < 0 ? ret : node_flush(s->n->file);
        s->l1_dirty = ret < 0;
    }
    return ret;
}

/* A place in the cache: the one used least recently. */
static int take_slot(Qed *s, QedTable **out)
{
    QedTable *t = &s->cache[0];
    for (unsigned i = 1; i < CACHED_TABLES; i++) {
        t = s->cache[i].used < t->used ? &s->cache[i] : t;
    }
    int ret = t->dirty ? write_all(s) : 0;
    if (ret == 0 && !t->entries) {
        t->entries = g_try_malloc(s->table_bytes);
        ret = t->entries ? 0 : -ENOMEM;
    }
    t->offset = 0;
    *out = t;
    return ret;
}

/* The L2 table of guest offset `off`; NULL: none, unless `make`. Under the lock. */
static int get_table(Qed *s, uint64_t off, bool make, QedTable **out)
{
    uint64_t i = off / s->cluster / s->table_entries, at = BITS_LE64(s->l1[i]);
    *out = NULL;
    if ((at && !IS_ALIGNED(at, s->cluster)) || at > INT64_MAX / 2) {
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
    QedTable *t;
    int ret = take_slot(s, &t);
    if (ret == 0 && at) {
        ret = node_pread(s->n->file, at, t->entries, s->table_bytes);
    } else if (ret == 0) {
        memset(t->entries, 0, s->table_bytes);
        at = s->next_free;
        s->next_free += s->table_bytes;
        t->dirty = true;
        s->l1[i] = BITS_LE64(at);
        s->l1_dirty = true;
    }
    if (ret == 0) {
        t->offset = at;
        t->used = ++s->clock;
        *out = t;
    }
    return ret;
}

/* The entry of a cluster. Under the lock. */
static int get_entry(Qed *s, uint64_t off, uint64_t *entry)
{
    QedTable *t;
    int ret = get_table(s, off, false, &t);
    *entry = t ? BITS_LE64(t->entries[off / s->cluster % s->table_entries]) : 0;
    if (ret == 0 && *entry > ZERO_CLUSTER &&
        (!IS_ALIGNED(*entry, s->cluster) || *entry > INT64_MAX / 2)) {
        ret = -EIO;
    }
    return ret;
}

static int look_up(Qed *s, uint64_t off, uint64_t *entry)
{
    fiber_mutex_lock(&s->lock);
    int ret = get_entry(s, off, entry);
    fiber_mutex_unlock(&s->lock);
    return ret;
}

/* ---- requests ---- */

static uint64_t room(BlockNode *n, uint64_t off)
{
    const Qed *s = n->s;
    return s->cluster - (off & (s->cluster - 1));
}

/* Within one cluster. */
static int read_part(BlockNode *n, uint64_t off, const IoVec *v)
{
    Qed *s = n->s;
    uint64_t entry;
    int ret = look_up(s, off, &entry);
    if (ret < 0 || entry > ZERO_CLUSTER) {
        return ret < 0 ? ret : node_preadv(n->file, entry + (off & (s->cluster - 1)), v);
    }
    if (entry == ZERO_CLUSTER) {
        iov_memset(v->iov, v->n, 0, 0, v->size);
        return 0;
    }
    return format_read_below(n, off, v);
}

static int qed_preadv(BlockNode *n, uint64_t off, const IoVec *v)
{
    return format_in_parts(n, off, v, room, read_part);
}

/* A new cluster, filled, then pointed to. Under the lock. */
static int write_new(Qed *s, uint64_t at, const IoVec *v, uint64_t old)
{
    uint64_t in = at & (s->cluster - 1), start = at - in, host = s->next_free;
    g_autofree uint8_t *buf = g_try_malloc0(s->cluster);
    QedTable *t;
    int ret = buf ? 0 : -ENOMEM;
    if (ret == 0 && old != ZERO_CLUSTER) {
        struct iovec one = {buf, s->cluster};
        ret = format_read_below(s->n, start, &(IoVec){.iov = &one, .n = 1, .size = s->cluster});
    }
    if (ret == 0) {
        iov_to_buf(v->iov, v->n, 0, buf + in, v->size);
        s->next_free += s->cluster;
        ret = node_pwrite(s->n->file, host, buf, s->cluster, 0);
    }
    ret = ret < 0 ? ret : get_table(s, at, true, &t);
    if (ret == 0) {
        t->entries[at / s->cluster % s->table_entries] = BITS_LE64(host);
        t->dirty = true;
    }
    return ret;
}

static int qed_flush(BlockNode *n)
{
    Qed *s = n->s;
    fiber_mutex_lock(&s->lock);
    int ret = write_all(s);
    fiber_mutex_unlock(&s->lock);
    return ret;
}

static int write_part(BlockNode *n, uint64_t off, const IoVec *v)
{
    Qed *s = n->s;
    uint64_t entry;
    fiber_mutex_lock(&s->lock);
    int ret = get_entry(s, off, &entry);
    if (ret == 0 && entry <= ZERO_CLUSTER) {
        ret = write_new(s, off, v, entry);
        entry = 0;
    }
    fiber_mutex_unlock(&s->lock);
    return ret < 0 || !entry ? ret : node_pwritev(n->file, entry + (off & (s->cluster - 1)), v, 0);
}

static int qed_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    int ret = format_in_parts(n, off, v, room, write_part);
    return ret == 0 && (flags & BLK_FUA) ? qed_flush(n) : ret;
}

static int qed_map(BlockNode *n, uint64_t off, uint64_t len, BlockMap *out)
{
    Qed *s = n->s;
    uint64_t in = off & (s->cluster - 1), entry, next;
    int ret = look_up(s, off, &entry);
    uint64_t got = s->cluster - in;
    while (ret == 0 && got < len) {
        ret = look_up(s, off + got, &next);
        if (ret < 0 || (entry > ZERO_CLUSTER ? next != entry + in + got : next != entry)) {
            break;
        }
        got += s->cluster;
    }
    *out = (BlockMap){.len = MIN(got, len)};
    if (entry > ZERO_CLUSTER) {
        out->flags = BLOCK_MAP_DATA | BLOCK_MAP_OFFSET;
        out->host = entry + in;
    } else if (entry == ZERO_CLUSTER) {
        out->flags = BLOCK_MAP_ZERO;
    }
    return ret;
}

static void qed_close(BlockNode *n)
{
    Qed *s = n->s;
    if (s->l1 && !n->flags.read_only) {
        format_closing(n, qed_flush(n));
    }
    for (unsigned i = 0; i < CACHED_TABLES; i++) {
        g_free(s->cache[i].entries);
    }
    g_free(s->l1);
    g_free(s->backing);
    if (s->n) {
        fiber_mutex_destroy(&s->lock);
    }
}

/* ---- check, and sizes ---- */

static bool in_file(const Qed *s, uint64_t at, uint64_t len)
{
    return IS_ALIGNED(at, s->cluster) && at >= s->cluster && at < s->n->file->length &&
           len <= ALIGN_UP(s->n->file->length, s->cluster) - at;
}

typedef struct QedChecker {
    Qed *s;
    unsigned fix;
    const BlockProgress *p;
    BlockCheck *out;
    FormatPlaces places;
} QedChecker;

/* An entry that points nowhere; true: it becomes 0. */
static bool bad_entry(QedChecker *k, const char *what, uint64_t index, uint64_t value)
{
    bool repair = k->fix & BLOCK_FIX_ERRORS;
    block_progress_message(k->p, "%s %s %" PRIu64 ": it points to %#" PRIx64,
                           repair ? "Repairing" : "ERROR:", what, index, value);
    *(repair ? &k->out->corruptions_fixed : &k->out->corruptions) += 1;
    return repair;
}

static int check_table(QedChecker *k, uint64_t i)
{
    Qed *s = k->s;
    QedTable *t;
    int ret = get_table(s, i * s->table_entries * s->cluster, false, &t);
    for (uint64_t j = 0; ret == 0 && j < s->table_entries; j++) {
        uint64_t e = BITS_LE64(t->entries[j]), index = i * s->table_entries + j;
        if (e <= ZERO_CLUSTER) {
            continue;
        }
        if (in_file(s, e, 1)) {
            k->out->allocated++;
            format_place_add(&k->places, "cluster", index, e, s->cluster);
        } else if (bad_entry(k, "cluster", index, e)) {
            t->entries[j] = 0;
            t->dirty = true;
        }
    }
    return ret;
}

/* Clusters of the file that nothing points to: those at its end are given back. */
static int find_leaks(QedChecker *k)
{
    Qed *s = k->s;
    uint64_t clusters = DIV_ROUND_UP(s->n->file->length, s->cluster), used = 1, end = 1;
    for (size_t i = 0; i < k->places.n; i++) {
        const FormatPlace *q = &k->places.all[i];
        used += q->len / s->cluster;
        end = MAX(end, (q->start + q->len) / s->cluster);
    }
    uint64_t leaks = clusters - MIN(clusters, used), tail = clusters - MIN(clusters, end);
    int ret = 0;
    if (leaks && tail && (k->fix & BLOCK_FIX_LEAKS) && !k->out->corruptions) {
        ret = node_truncate(s->n->file, end * s->cluster, NULL);
        if (ret == 0) {
            k->out->leaks_fixed += MIN(tail, leaks);
            leaks -= MIN(tail, leaks);
            s->next_free = end * s->cluster;
        }
    }
    k->out->leaks += leaks;
    return ret;
}

static int clear_need_check(Qed *s)
{
    uint8_t le[8];
    int ret = write_all(s);
    if (ret == 0 && (s->features & FEATURE_NEED_CHECK)) {
        st_le64(le, s->features & ~(uint64_t)FEATURE_NEED_CHECK);
        ret = node_pwrite(s->n->file, 16, le, sizeof(le), 0);
        ret = ret < 0 ? ret : node_flush(s->n->file);
        s->features &= ret < 0 ? UINT64_MAX : ~(uint64_t)FEATURE_NEED_CHECK;
    }
    return ret;
}

static int check_all(QedChecker *k)
{
    Qed *s = k->s;
    int ret = s->n->flags.read_only ? 0 : write_all(s);
    format_place_add(&k->places, "L1 table", 0, s->l1_at, s->table_bytes);
    for (uint64_t i = 0; ret == 0 && i < s->table_entries; i++) {
        uint64_t at = BITS_LE64(s->l1[i]);
        if (at && in_file(s, at, s->table_bytes)) {
            format_place_add(&k->places, "L2 table", i, at, s->table_bytes);
            ret = check_table(k, i);
        } else if (at && bad_entry(k, "L2 table", i, at)) {
            s->l1[i] = 0;
            s->l1_dirty = true;
        }
        if (ret == 0 && !block_progress(k->p, i, s->table_entries)) {
            ret = -ECANCELED;
        }
    }
    ret = ret == 0 && k->places.no_memory ? -ENOMEM : ret; /* what is not listed is in use */
    ret = ret < 0 ? ret : find_leaks(k);
    int found = format_places_check(&k->places, UINT64_MAX, k->p, k->out);
    ret = ret < 0 ? ret : found;
    if (ret == 0 && (k->fix & BLOCK_FIX_ERRORS) && !k->out->corruptions) {
        ret = clear_need_check(s);
    }
    return ret;
}

static int qed_check(BlockNode *n, unsigned fix, const BlockProgress *p, BlockCheck *out,
                     Error **errp)
{
    Qed *s = n->s;
    QedChecker k = {.s = s, .fix = fix, .p = p, .out = out};
    out->total = DIV_ROUND_UP(n->length, s->cluster);
    fiber_mutex_lock(&s->lock);
    int ret = check_all(&k);
    fiber_mutex_unlock(&s->lock);
    if (ret < 0 && ret != -ECANCELED) {
        error_set_errno(errp, -ret, "cannot check '%s'", node_filename(n));
    }
    return ret;
}

/* Old bytes behind the disk's end in its last cluster, which a longer disk shows. */
static int clear_tail(Qed *s, uint64_t size)
{
    uint64_t old = s->n->length, end = MIN(ALIGN_UP(old, s->cluster), size), entry = 0;
    int ret = end > old ? look_up(s, old, &entry) : 0;
    if (ret == 0 && entry > ZERO_CLUSTER) {
        ret = node_zero(s->n->file, entry + (old & (s->cluster - 1)), end - old, 0);
    }
    return ret;
}

static int qed_truncate(BlockNode *n, uint64_t size, BlockPrealloc prealloc, Error **errp)
{
    Qed *s = n->s;
    uint8_t le[8];
    const char *why = prealloc != PREALLOC_OFF ? "space cannot be reserved in this format"
                      : size < n->length       ? "a QED image cannot be made smaller"
                      : size % BLOCK_SECTOR    ? "the size must be a multiple of 512"
                      : DIV_ROUND_UP(size, s->cluster) > s->table_entries * s->table_entries
                          ? "its tables do not cover that size"
                      : n->backing && n->backing->length > n->length
                          ? "its backing file is longer, and would be seen behind the old end"
                          : NULL;
    if (why) {
        error_set(errp, "cannot resize '%s': %s", node_filename(n), why);
        return -ENOTSUP;
    }
    int ret = clear_tail(s, size);
    ret = ret < 0 ? ret : qed_flush(n);
    st_le64(le, size);
    ret = ret < 0 ? ret : node_pwrite(n->file, 48, le, sizeof(le), 0);
    ret = ret < 0 ? ret : node_flush(n->file);
    if (ret == 0) {
        n->length = size;
    }
    return format_resized(n, ret, errp);
}

static void qed_info(BlockNode *n, Json *image)
{
    Qed *s = n->s;
    json_put_int(image, "cluster-size", (int64_t)s->cluster);
    if (s->backing) {
        json_put_string(image, "backing-filename", s->backing);
        if (s->features & FEATURE_BACKING_RAW) {
            json_put_string(image, "backing-filename-format", "raw");
        }
    }
}

static const BlockCreateOption qed_create_options[] = {
    {"size", "size", "bytes"},
    {"backing_file", "str", "file name of the backing image"},
    {"backing_fmt", "str", "its format"},
    {"cluster_size", "size", "4k to 64M (default: 64k)"},
    {"table_size", "num", "clusters of a table: 1 to 16 (default: 4)"},
    {NULL},
};

static bool qed_create(BlockGraph *g, BlockNode *file, BlockOpts *o, Error **errp)
{
    bool sized = block_opts_has(o, "size");
    uint64_t size = ALIGN_UP(block_opts_size(o, "size", 0), 512ull);
    uint64_t cluster = block_opts_size(o, "cluster_size", 65536);
    uint64_t table = block_opts_uint(o, "table_size", 4, 1, 16);
    const char *backing = block_opts_string(o, "backing_file", NULL);
    const char *format = block_opts_string(o, "backing_fmt", NULL);
    if (!sized) {
        block_opts_mistake(o, "'size' is missing");
    }
    if (!IS_POWER_OF_2(cluster) || cluster < 4096 || cluster > 64 * MiB) {
        block_opts_mistake(o, "'cluster_size' must be a power of two from 4k to 64M");
        cluster = 65536;
    }
    if (!IS_POWER_OF_2(table) || cluster * table > MAX_TABLE) {
        block_opts_mistake(o, "'table_size' must be 1, 2, 4, 8 or 16, and a table 16M at most");
    }
    uint64_t entries = cluster * table / 8;
    if (size / cluster > entries * entries) {
        block_opts_mistake(o, "'size' is more than these clusters and tables cover");
    }
    if (backing && strlen(backing) > 1023) {
        block_opts_mistake(o, "'backing_file' is longer than 1023 bytes");
    }
    if (!block_opts_finish(o, errp) || node_truncate(file, 0, errp) < 0) {
        return false;
    }
    g_autofree uint8_t *h = g_malloc0(cluster);
    bool raw = backing && !g_strcmp0(format, "raw");
    st_le32(h, MAGIC);
    st_le32(h + 4, (uint32_t)cluster);
    st_le32(h + 8, (uint32_t)table);
    st_le32(h + 12, 1);
    st_le64(h + 16, (backing ? FEATURE_BACKING : 0) | (raw ? FEATURE_BACKING_RAW : 0));
    st_le64(h + 40, cluster);
    st_le64(h + 48, size);
    if (backing) {
        st_le32(h + 56, 64);
        st_le32(h + 60, (uint32_t)strlen(backing));
        memcpy(h + 64, backing, strlen(backing));
    }
    int ret = node_truncate(file, cluster * (1 + table), NULL);
    ret = ret < 0 ? ret : node_pwrite(file, 0, h, cluster, 0);
    ret = ret < 0 ? ret : node_flush(file);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot create an image in '%s'", node_filename(file));
    }
    return ret == 0;
}

const BlockDriver block_driver_qed = {
    .name = "qed",
    .help = "an old format of QEMU's",
    .state_size = sizeof(Qed),
    .probe = qed_probe,
    .open = qed_open,
    .close = qed_close,
    .preadv = qed_preadv,
    .pwritev = qed_pwritev,
    .flush = qed_flush,
    .map = qed_map,
    .info = qed_info,
    .truncate = qed_truncate,
    .check = qed_check,
    .supports_backing = true,
    .create_options = qed_create_options,
    .create = qed_create,
};
