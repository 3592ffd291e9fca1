/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dirty bitmaps in memory. */
#include "block/bitmap.h"

#include <errno.h>

static uint64_t bits_for(uint64_t size, unsigned shift)
{
    return (size >> shift) + ((size & ((1ull << shift) - 1)) != 0);
}

static size_t words_for(uint64_t n_bits)
{
    return (size_t)DIV_ROUND_UP(n_bits, 64u);
}

uint32_t bitmap_default_granularity(const BlockNode *n)
{
    return n->limits.opt_io ? MAX(n->limits.opt_io, 4096u) : 65536u;
}

static BlockBitmap *make(uint64_t size, unsigned shift)
{
    BlockBitmap *b = g_new0(BlockBitmap, 1);
    b->shift = shift;
    b->size = size;
    b->n_bits = bits_for(size, shift);
    b->room = MAX(words_for(b->n_bits), 1);
    b->words = g_try_new0(uint64_t, b->room);
    if (!b->words) {
        g_free(b);
        return NULL;
    }
    b->enabled = true;
    return b;
}

BlockBitmap *bitmap_new(BlockNode *n, const char *name, uint64_t granularity, Error **errp)
{
    if (!granularity) {
        granularity = bitmap_default_granularity(n);
    }
    if (granularity < BITMAP_GRANULARITY_MIN || granularity > BITMAP_GRANULARITY_MAX ||
        !IS_POWER_OF_2(granularity)) {
        error_set(errp,
                  "granularity %" G_GUINT64_FORMAT " is not a power of two from 512 to 2147483648",
                  granularity);
        return NULL;
    }
    if (name && (!*name || strlen(name) > BITMAP_NAME_MAX)) {
        error_set(errp, "a bitmap's name has 1 to %u characters", BITMAP_NAME_MAX);
        return NULL;
    }
    if (name && bitmap_find(n, name)) {
        error_set(errp, "Bitmap already exists: %s", name);
        return NULL;
    }
    BlockBitmap *b = make(n->length, (unsigned)__builtin_ctzll(granularity));
    if (!b) {
        error_set(errp, "there is no memory for a bitmap of %" G_GUINT64_FORMAT " bits",
                  bits_for(n->length, (unsigned)__builtin_ctzll(granularity)));
        return NULL;
    }
    b->node = n;
    b->name = g_strdup(name);
    n->bitmaps = g_list_append(n->bitmaps, b);
    return b;
}

void bitmap_free(BlockBitmap *b)
{
    if (!b) {
        return;
    }
    if (b->node) {
        b->node->bitmaps = g_list_remove(b->node->bitmaps, b);
    }
    g_free(b->name);
    g_free(b->words);
    g_free(b);
}

void bitmaps_free(BlockNode *n)
{
    while (n->bitmaps) {
        bitmap_free(n->bitmaps->data);
    }
}

BlockBitmap *bitmap_find(BlockNode *n, const char *name)
{
    for (GList *l = n->bitmaps; l; l = l->next) {
        BlockBitmap *b = l->data;
        if (b->name && !strcmp(b->name, name)) {
            return b;
        }
    }
    return NULL;
}

bool bitmap_get(const BlockBitmap *b, uint64_t off)
{
    uint64_t i = off >> b->shift;
    return i < b->n_bits && (b->words[i / 64] >> (i % 64) & 1);
}

/* Bits [first, end) become `on`, word by word. */
static void fill(BlockBitmap *b, uint64_t first, uint64_t end, bool on)
{
    while (first < end) {
        uint64_t w = first / 64, upto = MIN(end, (w + 1) * 64);
        uint64_t mask = ~0ull << (first % 64);
        if (upto % 64) {
            mask &= (1ull << (upto % 64)) - 1;
        }
        uint64_t old = b->words[w], now = on ? old | mask : old & ~mask;
        b->count += (uint64_t)__builtin_popcountll(now);
        b->count -= (uint64_t)__builtin_popcountll(old);
        b->words[w] = now;
        first = upto;
    }
}

void bitmap_set(BlockBitmap *b, uint64_t off, uint64_t len)
{
    if (len && off < b->size) {
        len = MIN(len, b->size - off);
        fill(b, off >> b->shift, MIN(((off + len - 1) >> b->shift) + 1, b->n_bits), true);
    }
}

void bitmap_clear(BlockBitmap *b, uint64_t off, uint64_t len)
{
    if (!len || off >= b->size) {
        return;
    }
    len = MIN(len, b->size - off);
    uint64_t end = off + len == b->size ? b->n_bits : (off + len) >> b->shift;
    fill(b, bits_for(off, b->shift), end, false);
}

void bitmap_clear_all(BlockBitmap *b)
{
    memset(b->words, 0, words_for(b->n_bits) * 8);
    b->count = 0;
}

/* The first bit from `i` on whose value is not `skip`; n_bits: none. */
static uint64_t next_bit(const BlockBitmap *b, uint64_t i, bool skip)
{
    uint64_t flip = skip ? ~0ull : 0;
    while (i < b->n_bits) {
        uint64_t w = (b->words[i / 64] ^ flip) >> (i % 64);
        if (w) {
            return MIN(i + (unsigned)__builtin_ctzll(w), b->n_bits);
        }
        i = (i / 64 + 1) * 64;
    }
    return b->n_bits;
}

static uint64_t next_byte(const BlockBitmap *b, uint64_t off, bool skip)
{
    if (off >= b->size) {
        return UINT64_MAX;
    }
    uint64_t i = next_bit(b, off >> b->shift, skip);
    return i >= b->n_bits ? UINT64_MAX : MAX(off, i << b->shift);
}

uint64_t bitmap_next_dirty(const BlockBitmap *b, uint64_t off)
{
    return b->count ? next_byte(b, off, false) : UINT64_MAX;
}

uint64_t bitmap_next_clean(const BlockBitmap *b, uint64_t off)
{
    return next_byte(b, off, true);
}

uint64_t bitmap_dirty_bytes(const BlockBitmap *b)
{
    return b->count << b->shift;
}

bool bitmap_merge(BlockBitmap *dst, const BlockBitmap *src, Error **errp)
{
    if (dst->size != src->size) {
        error_set(errp,
                  "the bitmaps cover different sizes, %" G_GUINT64_FORMAT " and %" G_GUINT64_FORMAT
                  " bytes",
                  dst->size, src->size);
        return false;
    }
    for (uint64_t off = 0; (off = bitmap_next_dirty(src, off)) != UINT64_MAX;) {
        uint64_t end = MIN(bitmap_next_clean(src, off), src->size);
        bitmap_set(dst, off, end - off);
        off = end;
    }
    return true;
}

BlockBitmap *bitmap_copy_bits(const BlockBitmap *b)
{
    BlockBitmap *c = make(b->size, b->shift);
    if (c) {
        memcpy(c->words, b->words, words_for(b->n_bits) * 8);
        c->count = b->count;
    }
    return c;
}

bool bitmap_check(const BlockBitmap *b, bool allow_inconsistent, Error **errp)
{
    const char *node = b->node->name;
    if (b->busy) {
        error_set(errp, "Bitmap '%s' of node '%s' is currently in use by %s and cannot be used",
                  b->name, node, b->busy);
        return false;
    }
    if (b->readonly) {
        error_set(errp, "Bitmap '%s' of node '%s' is readonly and cannot be modified", b->name,
                  node);
        return false;
    }
    if (b->inconsistent && !allow_inconsistent) {
        error_set(errp, "Bitmap '%s' of node '%s' is inconsistent and cannot be used", b->name,
                  node);
        error_hint(errp, "block-dirty-bitmap-remove deletes it");
        return false;
    }
    return true;
}

/* ---- writes ---- */

int bitmaps_before_write(BlockNode *n, uint64_t off, uint64_t len)
{
    for (GList *l = n->bitmaps; l; l = l->next) {
        BlockBitmap *b = l->data;
        if (b->persistent && b->enabled && !b->inconsistent && n->drv->bitmap_dirty) {
            int ret = n->drv->bitmap_dirty(n, b, off, len);
            if (ret < 0) {
                return ret;
            }
        }
    }
    return 0;
}

void bitmaps_after_write(BlockNode *n, uint64_t off, uint64_t len)
{
    for (GList *l = n->bitmaps; l; l = l->next) {
        BlockBitmap *b = l->data;
        if (b->enabled) {
            bitmap_set(b, off, len);
        }
    }
}

static bool reserve(const BlockNode *n, uint64_t size)
{
    for (GList *l = n->bitmaps; l; l = l->next) {
        BlockBitmap *b = l->data;
        size_t words = MAX(words_for(bits_for(size, b->shift)), 1);
        if (words <= b->room) {
            continue;
        }
        uint64_t *more = g_try_renew(uint64_t, b->words, words);
        if (!more) {
            return false;
        }
        memset(more + b->room, 0, (words - b->room) * 8);
        b->words = more;
        b->room = words;
    }
    return true;
}

bool bitmaps_reserve(BlockNode *n, uint64_t size)
{
    bool ok = reserve(n, size);
    for (GList *l = n->graph->nodes; ok && l; l = l->next) {
        BlockNode *p = l->data;
        ok = p->file != n || !p->drv->transparent || bitmaps_reserve(p, size);
    }
    return ok;
}

void bitmaps_resize(BlockNode *n)
{
    for (GList *l = n->bitmaps; l; l = l->next) {
        BlockBitmap *b = l->data;
        uint64_t old = b->n_bits, now = bits_for(n->length, b->shift);
        if (now < old) {
            fill(b, now, old, false);
        }
        g_assert(words_for(now) <= b->room);
        b->n_bits = now;
        uint64_t was = b->size;
        b->size = n->length;
        if (b->enabled && b->size > was && b->name) {
            bitmap_set(b, was, b->size - was); /* what is new was never backed up */
        }
    }
}

Json *bitmaps_query(BlockNode *n)
{
    Json *a = NULL;
    for (GList *l = n->bitmaps; l; l = l->next) {
        BlockBitmap *b = l->data;
        if (!b->name) {
            continue;
        }
        Json *o = json_object();
        json_put_string(o, "name", b->name);
        json_put(o, "count", json_uint(MIN(bitmap_dirty_bytes(b), b->size)));
        json_put_int(o, "granularity", bitmap_granularity(b));
        json_put_bool(o, "recording", b->enabled && !b->inconsistent);
        json_put_bool(o, "busy", b->busy != NULL);
        json_put_bool(o, "persistent", b->persistent);
        if (b->inconsistent) {
            json_put_bool(o, "inconsistent", true);
        }
        a = a ? a : json_array();
        json_append(a, o);
    }
    return a;
}
