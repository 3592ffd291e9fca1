/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/formats/format.h"

#include "block/alloc.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/random.h>

bool format_bad_field(const BlockNode *n, const char *format, Error **errp, const char *field,
                      const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *why = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    error_set(errp, "'%s' is not a valid %s image: field '%s' %s", node_filename(n), format, field,
              why);
    return false;
}

void format_new_uuid(uint8_t out[16])
{
    if (getrandom(out, 16, 0) != 16) {
        for (int i = 0; i < 16; i++) {
            out[i] = (uint8_t)g_random_int();
        }
    }
    out[6] = (uint8_t)((out[6] & 0x0f) | 0x40);
    out[8] = (uint8_t)((out[8] & 0x3f) | 0x80);
}

int format_read_below(BlockNode *n, uint64_t off, const IoVec *v)
{
    BlockNode *below = n->backing;
    size_t have = below && off < below->length ? (size_t)MIN(v->size, below->length - off) : 0;
    int ret = 0;
    if (have) {
        IoVec part;
        iovec_slice(&part, v, 0, have);
        ret = node_preadv(below, off, &part);
        iovec_free(&part);
    }
    iov_memset(v->iov, v->n, have, 0, v->size - have);
    return ret;
}

bool format_open_backing(BlockNode *n, const char *name, const char *driver, Error **errp)
{
    BlockOpenFlags f = n->flags;
    f.read_only = true;
    f.discard_unmap = f.probed = false;
    f.depth++;
    g_autofree char *path = filename_combine(node_filename(n->file), name);
    n->backing = node_open_filename(n->graph, path, driver, &f, errp);
    error_prefix(errp, "the backing file of '%s': ", node_filename(n->file));
    return n->backing && node_take(n->backing, n, n->name, false, n->flags.force_share, errp);
}

void format_closing(const BlockNode *n, int ret)
{
    if (ret < 0) {
        report_error("'%s': cannot write metadata while closing: %s", node_filename(n),
                     g_strerror(-ret));
    }
}

int format_resized(const BlockNode *n, int ret, Error **errp)
{
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot resize '%s'", node_filename(n));
    }
    return ret;
}

int format_in_parts(BlockNode *n, uint64_t off, const IoVec *v, FormatRoom *room, FormatPart *part)
{
    int ret = 0;
    for (size_t pos = 0; ret == 0 && pos < v->size;) {
        size_t len = (size_t)MIN((uint64_t)(v->size - pos), room(n, off + pos));
        IoVec now;
        iovec_slice(&now, v, pos, len);
        ret = part(n, off + pos, &now);
        iovec_free(&now);
        pos += len;
    }
    return ret;
}

int format_copy(BlockNode *file, uint64_t from, uint64_t to, uint64_t len)
{
    size_t chunk = (size_t)MIN(len, (uint64_t)MiB);
    g_autofree uint8_t *buf = g_try_malloc(MAX(chunk, 1));
    int ret = buf ? 0 : -ENOMEM;
    for (uint64_t pos = 0; ret == 0 && pos < len; pos += chunk) {
        size_t now = (size_t)MIN((uint64_t)chunk, len - pos);
        ret = node_pread(file, from + pos, buf, now);
        ret = ret < 0 ? ret : node_pwrite(file, to + pos, buf, now, 0);
    }
    return ret;
}

/* ---- check ---- */

void format_place_add(FormatPlaces *p, const char *what, uint64_t index, uint64_t start,
                      uint64_t len)
{
    if (p->n == p->room && !p->no_memory) {
        size_t room = MAX(p->room * 2, 64);
        FormatPlace *more = g_try_renew(FormatPlace, p->all, room);
        p->no_memory = !more;
        p->all = more ? more : p->all;
        p->room = more ? room : p->room;
    }
    if (!p->no_memory) {
        p->all[p->n++] = (FormatPlace){start, len, index, what};
    }
}

static int by_start(const void *a, const void *b)
{
    const FormatPlace *x = a, *y = b;
    return x->start < y->start ? -1 : x->start > y->start;
}

int format_places_check(FormatPlaces *p, uint64_t end, const BlockProgress *progress,
                        BlockCheck *out)
{
    const FormatPlace *before = NULL;
    if (p->n) {
        qsort(p->all, p->n, sizeof(*p->all), by_start);
    }
    for (size_t i = 0; i < p->n && !p->no_memory; i++) {
        const FormatPlace *q = &p->all[i];
        if (q->start > end || q->len > end - q->start) {
            out->corruptions++;
            block_progress_message(
                progress, "ERROR: %s %" PRIu64 " at %#" PRIx64 " lies beyond the end of the file",
                q->what, q->index, q->start);
            continue;
        }
        if (before && q->start < before->start + before->len) {
            out->corruptions++;
            block_progress_message(progress,
                                   "ERROR: %s %" PRIu64 " at %#" PRIx64 " lies on %s %" PRIu64,
                                   q->what, q->index, q->start, before->what, before->index);
        }
        out->image_end = MAX(out->image_end, q->start + q->len);
        before = !before || q->start + q->len > before->start + before->len ? q : before;
    }
    bool no_memory = p->no_memory;
    g_free(p->all);
    *p = (FormatPlaces){0};
    return no_memory ? -ENOMEM : 0;
}
