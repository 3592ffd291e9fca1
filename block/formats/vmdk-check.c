/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VMDK images: what `check` looks at, and changing of the size. */
#include "block/alloc.h"
#include "block/formats/vmdk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define TABLE_BYTES (VMDK_GTES * 4u)

/* ---- check ---- */

typedef struct VmdkChecker {
    BlockNode *n;
    VmdkExtent *e;
    unsigned fix;
    const BlockProgress *p;
    BlockCheck *out;
    FormatPlaces places;
    uint64_t end; /* of the extent's file */
} VmdkChecker;

/* An entry that points behind the file's end; true: it may become 0, there is nothing to lose. */
static bool lies_outside(VmdkChecker *k, const char *what, uint64_t index, uint64_t at)
{
    if (at < k->end) {
        return false;
    }
    bool repair = (k->fix & BLOCK_FIX_ERRORS) && !k->e->compressed;
    block_progress_message(k->p, "%s %s %" PRIu64 ": it points to %#" PRIx64,
                           repair ? "Repairing" : "ERROR:", what, index, at);
    *(repair ? &k->out->corruptions_fixed : &k->out->corruptions) += 1;
    return true;
}

/* The redundant copy of table `i` says the same; where it does not, it is written anew. */
static int compare_copy(VmdkChecker *k, uint64_t i, const uint32_t *t)
{
    VmdkExtent *e = k->e;
    uint32_t copy[VMDK_GTES];
    if (!e->rgd || !e->rgd[i] || e->rgd[i] * 512ull >= k->end) {
        return 0;
    }
    format_place_add(&k->places, "redundant table", i, e->rgd[i] * 512ull, TABLE_BYTES);
    int ret = node_pread(e->file, e->rgd[i] * 512ull, copy, sizeof(copy));
    bool same = true;
    for (unsigned j = 0; ret == 0 && j < VMDK_GTES; j++) {
        same = same && BITS_LE32(copy[j]) == t[j];
    }
    if (ret < 0 || same) {
        return ret;
    }
    bool repair = k->fix & BLOCK_FIX_LEAKS;
    block_progress_message(k->p, "%s table %" PRIu64 " differs from its redundant copy",
                           repair ? "Repairing:" : "Leaked:", i);
    *(repair ? &k->out->leaks_fixed : &k->out->leaks) += 1;
    if (repair) {
        e->dirty[i] = MAX(e->dirty[i], 1);
        e->any_dirty = true;
    }
    return 0;
}

static int check_table(VmdkChecker *k, uint64_t i)
{
    VmdkExtent *e = k->e;
    uint64_t covers = e->grain * VMDK_GTES;
    uint32_t *t;
    if (!e->gd[i]) {
        return 0;
    }
    if (lies_outside(k, "grain table", i, e->gd[i] * 512ull)) {
        return 0; /* without its table nobody can say what is lost: it is left as it is */
    }
    format_place_add(&k->places, "grain table", i, e->gd[i] * 512ull, TABLE_BYTES);
    int ret = vmdk_get_table(e, i * covers, &t);
    for (unsigned j = 0; ret == 0 && j < VMDK_GTES; j++) {
        uint64_t index = i * VMDK_GTES + j;
        if (t[j] == 0 || (t[j] == 1 && e->zero_gte)) {
            continue;
        }
        if (lies_outside(k, "grain", index, t[j] * 512ull)) {
            if ((k->fix & BLOCK_FIX_ERRORS) && !e->compressed) {
                t[j] = 0;
                e->dirty[i] = MAX(e->dirty[i], 1);
                e->any_dirty = true;
            }
            continue;
        }
        k->out->allocated++;
        /* How long a compressed one is only its own bytes say. */
        format_place_add(&k->places, "grain", index, t[j] * 512ull, e->compressed ? 1 : e->grain);
    }
    return ret < 0 ? ret : compare_copy(k, i, t);
}

static int check_extent(VmdkChecker *k)
{
    VmdkExtent *e = k->e;
    int ret = 0;
    k->end = e->file->length;
    if (e->flat) {
        if (e->flat_offset + (e->end - e->start) > ALIGN_UP(k->end, 512ull)) {
            block_progress_message(k->p, "ERROR: a flat extent is shorter than described");
            k->out->corruptions++;
        }
        return 0;
    }
    k->out->total += DIV_ROUND_UP(e->end - e->start, e->grain);
    format_place_add(&k->places, "header", 0, 0, 512);
    format_place_add(&k->places, "grain directory", 0, e->gd_at, e->n_tables * 4);
    if (e->rgd_at) {
        format_place_add(&k->places, "grain directory", 1, e->rgd_at, e->n_tables * 4);
    }
    for (uint64_t i = 0; ret == 0 && i < e->n_tables; i++) {
        ret = check_table(k, i);
        if (ret == 0 && !block_progress(k->p, i, e->n_tables)) {
            ret = -ECANCELED;
        }
    }
    int found = format_places_check(&k->places, k->end + e->grain, k->p, k->out);
    return ret < 0 ? ret : found;
}

int vmdk_check(BlockNode *n, unsigned fix, const BlockProgress *p, BlockCheck *out, Error **errp)
{
    Vmdk *s = n->s;
    int ret = n->flags.read_only ? 0 : vmdk_flush(n);
    for (guint i = 0; ret == 0 && i < s->extents->len; i++) {
        VmdkChecker k = {
            .n = n, .e = &g_array_index(s->extents, VmdkExtent, i), .fix = fix, .p = p, .out = out};
        fiber_mutex_lock(&s->lock);
        ret = k.e->file ? check_extent(&k) : 0;
        fiber_mutex_unlock(&s->lock);
    }
    if (s->extents->len > 1) {
        out->image_end = 0; /* there is no one file that it would be in */
    }
    ret = ret < 0 || !fix ? ret : vmdk_flush(n);
    if (ret < 0 && ret != -ECANCELED) {
        error_set_errno(errp, -ret, "cannot check '%s'", node_filename(n));
    }
    return ret;
}

/* ---- sizes ---- */

/* The description with another number of sectors in its only extent. */
static char *describe_again(const char *text, uint64_t sectors)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    GString *out = g_string_new(NULL);
    uint64_t heads = strstr(text, "ddb.geometry.heads = \"255\"") ? 255 : 16;
    for (char **l = lines; *l; l++) {
        char access[12];
        int at = 0;
        if (sscanf(*l, "%11s %*u%n", access, &at) == 1 && at &&
            (!strcmp(access, "RW") || !strcmp(access, "RDONLY"))) {
            g_string_append_printf(out, "%s %" PRIu64 "%s", access, sectors, *l + at);
        } else if (g_str_has_prefix(*l, "ddb.geometry.cylinders")) {
            g_string_append_printf(out, "ddb.geometry.cylinders = \"%" PRIu64 "\"",
                                   sectors / (63 * heads));
        } else {
            g_string_append(out, *l);
        }
        if (l[1]) {
            g_string_append_c(out, '\n');
        }
    }
    return g_string_free(out, FALSE);
}

/* Rewrites the description that has `room` bytes at `at`. */
static int update_description(BlockNode *n, uint64_t at, uint64_t room, uint64_t size)
{
    g_autofree char *text = g_try_malloc0(room + 1);
    int ret = text ? node_pread(n->file, at, text, room) : -ENOMEM;
    if (ret < 0) {
        return ret;
    }
    g_autofree char *now = describe_again(text, size / 512);
    size_t len = strlen(now), had = strlen(text);
    if (len > room) {
        return -ENOSPC;
    }
    g_autofree char *padded = g_try_malloc0(MAX(len, had) + 1);
    if (!padded) {
        return -ENOMEM;
    }
    memcpy(padded, now, len);
    ret = node_pwrite(n->file, at, padded, MAX(len, had), 0);
    if (ret == 0 && !at) {
        ret = node_truncate(n->file, len, NULL); /* the file is the description */
    }
    return ret < 0 ? ret : node_flush(n->file);
}

static int resize_flat(BlockNode *n, VmdkExtent *e, uint64_t size)
{
    uint64_t room = MAX(n->file->length, 1024) + 64; /* a few digits more */
    int ret = 0;
    if (size > n->length) {
        ret = node_truncate(e->file, e->flat_offset + size, NULL);
        ret = ret < 0 ? ret : node_flush(e->file);
    }
    ret = ret < 0 ? ret : update_description(n, 0, room, size);
    if (ret == 0 && size < n->length) {
        ret = node_truncate(e->file, e->flat_offset + size, NULL);
    }
    return ret;
}

/* Directories that are longer, with all their tables, behind the end of the file. */
static int more_tables(VmdkExtent *e, uint64_t count, uint8_t *header)
{
    uint64_t dir = ALIGN_UP(count * 4, 512ull), fresh = count - e->n_tables;
    uint64_t copies = e->rgd ? 2 : 1, at = e->next, tables = at + copies * dir;
    uint64_t bytes = copies * (dir + fresh * TABLE_BYTES);
    if ((at + bytes) / 512 > UINT32_MAX || count * 4 > 32 * MiB) {
        return -EFBIG;
    }
    g_autofree uint32_t *gd = g_try_new0(uint32_t, count), *rgd = g_try_new0(uint32_t, count);
    uint32_t **loaded = g_try_new0(uint32_t *, count);
    uint8_t *dirty = g_try_malloc0(count);
    g_autofree uint8_t *raw = g_try_malloc0(bytes);
    int ret = gd && rgd && loaded && dirty && raw ? 0 : -ENOMEM;
    for (uint64_t i = 0; ret == 0 && i < count; i++) {
        bool old = i < e->n_tables;
        uint64_t place = (tables + (i - e->n_tables) * TABLE_BYTES) / 512;
        gd[i] = old ? e->gd[i] : (uint32_t)place;
        rgd[i] = !e->rgd ? 0 : old ? e->rgd[i] : (uint32_t)(place + fresh * TABLE_BYTES / 512);
        st_le32(raw + i * 4, gd[i]);
        if (e->rgd) {
            st_le32(raw + dir + i * 4, rgd[i]);
        }
    }
    ret = ret < 0 ? ret : node_pwrite(e->file, at, raw, bytes, 0);
    ret = ret < 0 ? ret : node_flush(e->file);
    if (ret < 0) {
        g_free(loaded);
        g_free(dirty);
        return ret;
    }
    memcpy(loaded, e->tables, e->n_tables * sizeof(*loaded));
    g_free(e->tables);
    g_free(e->dirty);
    e->tables = loaded;
    e->dirty = dirty;
    g_free(e->gd);
    e->gd = g_steal_pointer(&gd);
    if (e->rgd) {
        g_free(e->rgd);
        e->rgd = g_steal_pointer(&rgd);
        e->rgd_at = at + dir;
        st_le64(header + VMDK_H_RGD, e->rgd_at / 512);
    }
    e->gd_at = at;
    st_le64(header + VMDK_H_GD, at / 512);
    e->n_tables = count;
    e->next = at + bytes;
    return 0;
}

/* What lies behind the new end goes; in the last grain it becomes zeroes when the disk grows. */
static int drop_grains(VmdkExtent *e, uint64_t size)
{
    int ret = 0;
    for (uint64_t in = ALIGN_UP(size, e->grain); ret == 0 && in < e->end - e->start;) {
        uint64_t i = in / e->grain / VMDK_GTES;
        uint32_t *t;
        ret = vmdk_get_table(e, in, &t);
        if (ret == 0 && t) {
            t[in / e->grain % VMDK_GTES] = 0;
            e->dirty[i] = MAX(e->dirty[i], 1);
            e->any_dirty = true;
        }
        in = t ? in + e->grain : (i + 1) * e->grain * VMDK_GTES;
    }
    return ret;
}

static int clear_tail(VmdkExtent *e, uint64_t size)
{
    uint64_t old = e->end - e->start, end = MIN(ALIGN_UP(old, e->grain), size);
    uint32_t *t;
    if (end == old) {
        return 0;
    }
    int ret = vmdk_get_table(e, old, &t);
    uint32_t sector = t ? t[old / e->grain % VMDK_GTES] : 0;
    if (ret == 0 && sector > 1) {
        ret = node_zero(e->file, sector * 512ull + old % e->grain, end - old, 0);
    }
    return ret;
}

static int resize_sparse(BlockNode *n, VmdkExtent *e, uint64_t size)
{
    Vmdk *s = n->s;
    uint8_t h[512];
    uint64_t count = DIV_ROUND_UP(size, e->grain * VMDK_GTES), old = n->length;
    int ret = vmdk_flush(n);
    fiber_mutex_lock(&s->lock);
    ret = ret < 0 ? ret : node_pread(e->file, 0, h, sizeof(h));
    ret = ret < 0 ? ret : size > old ? clear_tail(e, size) : drop_grains(e, size);
    fiber_mutex_unlock(&s->lock);
    ret = ret < 0 ? ret : vmdk_flush(n);
    ret = ret < 0 || count <= e->n_tables ? ret : more_tables(e, count, h);
    st_le64(h + VMDK_H_CAPACITY, size / 512);
    ret = ret < 0 ? ret : node_pwrite(e->file, 0, h, sizeof(h), 0);
    ret = ret < 0 ? ret : node_flush(e->file);
    uint64_t at = ld_le64(h + VMDK_H_DESC) * 512, room = ld_le64(h + VMDK_H_DESC_SIZE) * 512;
    if (ret == 0 && at && room && room <= MiB) {
        ret = update_description(n, at, room, size);
    }
    if (ret == 0) {
        e->end = e->start + size;
    }
    return ret;
}

int vmdk_truncate(BlockNode *n, uint64_t size, BlockPrealloc prealloc, Error **errp)
{
    Vmdk *s = n->s;
    VmdkExtent *e = &g_array_index(s->extents, VmdkExtent, 0);
    const char *why = prealloc != PREALLOC_OFF ? "space cannot be reserved in this format"
                      : size % BLOCK_SECTOR    ? "the size must be a multiple of 512"
                      : s->extents->len != 1 || !e->file || (!e->flat && e->file != n->file)
                          ? "it lies in several files"
                      : e->compressed ? "streamOptimized images are written once"
                      : size > n->length && n->backing && n->backing->length > n->length
                          ? "its parent is longer, and would be seen behind the old end"
                          : NULL;
    if (why) {
        error_set(errp, "cannot resize '%s': %s", node_filename(n), why);
        error_hint(errp, "'rhea-img convert' makes an image of another kind");
        return -ENOTSUP;
    }
    int ret = e->flat ? resize_flat(n, e, size) : resize_sparse(n, e, size);
    if (ret == 0) {
        e->end = e->start + size;
        n->length = size;
    }
    return format_resized(n, ret, errp);
}
