/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Slices of L2 tables and refcount blocks, written back by qcow2_sync(). */
#include "block/alloc.h"
#include "block/qcow2/qcow2.h"

#include <errno.h>

typedef struct Slice {
    uint64_t offset;
    uint64_t version; /* of the last change: is a copy still the newest? */
    bool dirty;
    GList link; /* in lru, most recently used first */
    uint8_t data[];
} Slice;

struct Qcow2Cache {
    Qcow2 *s;
    unsigned kind; /* QCOW2_META_*: what the slices are parts of */
    size_t slice;
    unsigned max, n_dirty;
    uint64_t clock;     /* of changes, over all slices: a slice made anew gets a new version */
    GHashTable *slices; /* &Slice.offset -> Slice */
    GQueue lru;
};

typedef struct SliceCopy {
    uint64_t offset, version;
    uint8_t *data;
} SliceCopy;

Qcow2Cache *qcow2_cache_new(Qcow2 *s, unsigned kind, size_t slice, size_t max_bytes)
{
    Qcow2Cache *c = g_new0(Qcow2Cache, 1);
    c->s = s;
    c->kind = kind;
    c->slice = slice;
    c->max = (unsigned)MAX(max_bytes / slice, 8);
    c->slices = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
    g_queue_init(&c->lru);
    return c;
}

void qcow2_cache_free(Qcow2Cache *c)
{
    if (c) {
        g_hash_table_destroy(c->slices);
        g_free(c);
    }
}

size_t qcow2_cache_slice(const Qcow2Cache *c)
{
    return c->slice;
}

static Slice *find(Qcow2Cache *c, uint64_t offset)
{
    return g_hash_table_lookup(c->slices, &offset);
}

static void remove_slice(Qcow2Cache *c, Slice *e)
{
    g_queue_unlink(&c->lru, &e->link);
    c->n_dirty -= e->dirty;
    g_hash_table_remove(c->slices, &e->offset);
}

/* Makes room by dropping the oldest clean slice; if all are dirty the cache grows. */
static void make_room(Qcow2Cache *c)
{
    unsigned looked = 0;
    for (GList *l = c->lru.tail; l && c->lru.length >= c->max && looked < 64; looked++) {
        Slice *e = l->data;
        l = l->prev;
        if (!e->dirty) {
            remove_slice(c, e);
        }
    }
}

/* Not in the cache yet; its data are whatever they are. NULL: no memory. */
static Slice *new_slice(Qcow2Cache *c, uint64_t offset)
{
    make_room(c);
    Slice *e = g_try_malloc(sizeof(Slice) + c->slice);
    if (e) {
        *e = (Slice){.offset = offset, .link.data = e};
    }
    return e;
}

static void add(Qcow2Cache *c, Slice *e)
{
    g_hash_table_insert(c->slices, &e->offset, e);
    g_queue_push_head_link(&c->lru, &e->link);
}

int qcow2_cache_get(Qcow2Cache *c, uint64_t offset, void **data)
{
    Slice *e = find(c, offset);
    if (e) {
        if (c->lru.head != &e->link) {
            g_queue_unlink(&c->lru, &e->link);
            g_queue_push_head_link(&c->lru, &e->link);
        }
        *data = e->data;
        return 0;
    }
    e = new_slice(c, offset);
    node_event(c->s->n->file, c->kind == QCOW2_META_L2 ? BLKEV_L2_LOAD : BLKEV_REFBLOCK_LOAD);
    int ret = e ? node_pread(c->s->n->file, offset, e->data, c->slice) : -ENOMEM;
    if (ret < 0) {
        g_free(e);
        return ret;
    }
    add(c, e);
    *data = e->data;
    return 0;
}

static void mark_dirty(Qcow2Cache *c, Slice *e)
{
    e->version = ++c->clock;
    if (!e->dirty) {
        e->dirty = true;
        c->n_dirty++;
    }
}

void *qcow2_cache_new_slice(Qcow2Cache *c, uint64_t offset)
{
    Slice *e = find(c, offset);
    if (!e) {
        e = new_slice(c, offset);
        if (!e) {
            return NULL;
        }
        add(c, e);
    }
    memset(e->data, 0, c->slice);
    mark_dirty(c, e);
    return e->data;
}

void qcow2_cache_dirty(Qcow2Cache *c, uint64_t offset)
{
    mark_dirty(c, find(c, offset));
}

void qcow2_cache_drop(Qcow2Cache *c, uint64_t offset, uint64_t len)
{
    for (uint64_t o = offset; o < offset + len; o += c->slice) {
        Slice *e = find(c, o);
        if (e) {
            remove_slice(c, e);
        }
    }
}

bool qcow2_cache_crowded(const Qcow2Cache *c)
{
    return c->n_dirty > c->max / 2;
}

bool qcow2_cache_any_dirty(const Qcow2Cache *c)
{
    return c->n_dirty > 0;
}

static gint by_offset(gconstpointer a, gconstpointer b)
{
    const SliceCopy *x = a, *y = b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

int qcow2_cache_copy_dirty(Qcow2Cache *c, GArray **out)
{
    GArray *copies = g_array_new(FALSE, FALSE, sizeof(SliceCopy));
    *out = NULL;
    for (GList *l = c->lru.head; l && c->n_dirty; l = l->next) {
        Slice *e = l->data;
        if (e->dirty) {
            SliceCopy sc = {e->offset, e->version, try_dup(e->data, c->slice)};
            if (!sc.data) {
                qcow2_cache_copies_free(copies);
                return -ENOMEM;
            }
            g_array_append_val(copies, sc);
        }
    }
    g_array_sort(copies, by_offset);
    *out = copies;
    return 0;
}

int qcow2_cache_write_copies(Qcow2Cache *c, GArray *copies)
{
    const char *what = c->kind == QCOW2_META_L2 ? "an L2 table" : "a refcount block";
    for (guint i = 0; i < copies->len;) {
        /* Neighbours go in one request. */
        IoVec v = IOVEC_INIT;
        uint64_t start = g_array_index(copies, SliceCopy, i).offset;
        for (; i < copies->len && v.n < 64; i++) {
            SliceCopy *sc = &g_array_index(copies, SliceCopy, i);
            if (sc->offset != start + v.size) {
                break;
            }
            iovec_add(&v, sc->data, c->slice);
        }
        int ret = qcow2_check_overlap(c->s, start, v.size, c->kind, what);
        if (ret == 0) {
            node_event(c->s->n->file,
                       c->kind == QCOW2_META_L2 ? BLKEV_L2_UPDATE : BLKEV_REFBLOCK_UPDATE);
            ret = node_pwritev(c->s->n->file, start, &v, 0);
        }
        iovec_free(&v);
        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

void qcow2_cache_copies_done(Qcow2Cache *c, GArray *copies)
{
    for (guint i = 0; i < copies->len; i++) {
        SliceCopy *sc = &g_array_index(copies, SliceCopy, i);
        Slice *e = find(c, sc->offset);
        if (e && e->dirty && e->version == sc->version) {
            e->dirty = false;
            c->n_dirty--;
        }
    }
}

void qcow2_cache_copies_free(GArray *copies)
{
    if (copies) {
        for (guint i = 0; i < copies->len; i++) {
            g_free(g_array_index(copies, SliceCopy, i).data);
        }
        g_array_free(copies, TRUE);
    }
}

int qcow2_cache_write_dirty(Qcow2Cache *c)
{
    GArray *copies;
    int ret = qcow2_cache_copy_dirty(c, &copies);
    ret = ret < 0 ? ret : qcow2_cache_write_copies(c, copies);
    if (ret == 0) {
        qcow2_cache_copies_done(c, copies);
    }
    qcow2_cache_copies_free(copies);
    return ret;
}
