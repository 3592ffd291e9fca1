/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/formats/bat.h"

#include <errno.h>
#include <inttypes.h>

bool bat_load(Bat *b, BlockNode *n, uint64_t offset, uint64_t count, unsigned entry_size,
              bool big_endian, Error **errp)
{
    b->n = n;
    b->offset = offset;
    b->count = count;
    b->entry_size = entry_size;
    b->big_endian = big_endian;
    fiber_mutex_init(&b->lock);
    /* What a few bytes of header claim must be there: it costs memory and time. */
    if (offset + count * entry_size > ALIGN_UP(n->file->length, MiB)) {
        error_set(errp,
                  "'%s' is not valid: its block table of %" PRIu64 " entries lies beyond the end "
                  "of the file",
                  node_filename(n), count);
        return false;
    }
    g_autofree uint8_t *raw = g_try_malloc(MAX(count, 1) * entry_size);
    b->entries = g_try_new(uint64_t, MAX(count, 1));
    b->dirty = g_try_malloc0(count * entry_size / 512 + 2);
    if (!raw || !b->entries || !b->dirty) {
        error_set(errp, "'%s': not enough memory for its block table", node_filename(n));
        return false;
    }
    int ret = count ? node_pread(n->file, offset, raw, count * entry_size) : 0;
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot read the block table of '%s'", node_filename(n));
        return false;
    }
    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *p = raw + i * entry_size;
        b->entries[i] = entry_size == 4 ? big_endian ? ld_be32(p) : ld_le32(p)
                        : big_endian ? ld_be64(p)
                                        : ld_le64(p);
    }
    return true;
}

void bat_free(Bat *b)
{
    if (b->n) {
        fiber_mutex_destroy(&b->lock);
    }
    g_free(b->entries);
    g_free(b->dirty);
}

void bat_set(Bat *b, uint64_t index, uint64_t value)
{
    b->entries[index] = value;
    b->dirty[index * b->entry_size / 512] = 1;
    b->any_dirty = true;
}

static void encode(const Bat *b, uint64_t from, uint64_t n, uint8_t *out)
{
    for (uint64_t i = 0; i < n; i++) {
        uint8_t *p = out + i * b->entry_size;
        uint64_t v = b->entries[from + i];
        if (b->entry_size == 4) {
            b->big_endian ? st_be32(p, (uint32_t)v) : st_le32(p, (uint32_t)v);
        } else {
            b->big_endian ? st_be64(p, v) : st_le64(p, v);
        }
    }
}

bool bat_grow(Bat *b, uint64_t count, uint64_t value)
{
    uint64_t *entries = g_try_new(uint64_t, MAX(count, 1));
    uint8_t *dirty = g_try_malloc0(count * b->entry_size / 512 + 2);
    if (!entries || !dirty) {
        g_free(entries);
        g_free(dirty);
        return false;
    }
    memcpy(entries, b->entries, MIN(count, b->count) * 8);
    memcpy(dirty, b->dirty, MIN(count, b->count) * b->entry_size / 512 + 1);
    for (uint64_t i = b->count; i < count; i++) {
        entries[i] = value;
    }
    g_free(b->entries);
    g_free(b->dirty);
    b->entries = entries;
    b->dirty = dirty;
    b->count = count;
    return true;
}

int bat_write_at(const Bat *b, uint64_t offset, uint64_t from)
{
    int ret = 0;
    uint8_t buf[4096];
    uint64_t per = sizeof(buf) / b->entry_size;
    for (uint64_t i = from; ret == 0 && i < b->count; i += per) {
        uint64_t n = MIN(per, b->count - i);
        encode(b, i, n, buf);
        ret = node_pwrite(b->n->file, offset + i * b->entry_size, buf, n * b->entry_size, 0);
    }
    return ret < 0 ? ret : node_flush(b->n->file);
}

/* Under the lock. */
static int write_dirty(Bat *b)
{
    uint64_t per = 512 / b->entry_size;
    int ret = 0;
    for (uint64_t s = 0; ret == 0 && s * per < b->count; s++) {
        uint8_t buf[512];
        uint64_t n = MIN(per, b->count - s * per);
        if (!b->dirty[s]) {
            continue;
        }
        encode(b, s * per, n, buf);
        ret = node_pwrite(b->n->file, b->offset + s * 512, buf, n * b->entry_size, 0);
        if (ret == 0) {
            b->dirty[s] = 0;
        }
    }
    b->any_dirty = ret < 0;
    return ret;
}

int bat_flush(Bat *b)
{
    BlockNode *file = b->n->file;
    int ret = node_flush(file);
    if (ret == 0 && b->any_dirty) {
        fiber_mutex_lock(&b->lock);
        ret = node_flush(file); /* what was written while this one waited for the lock */
        ret = ret < 0 ? ret : write_dirty(b);
        fiber_mutex_unlock(&b->lock);
        ret = ret < 0 ? ret : node_flush(file);
    }
    return ret;
}

/* ---- requests ---- */

int bat_preadv(Bat *b, const BatOps *ops, uint64_t off, const IoVec *v)
{
    int ret = 0;
    for (size_t pos = 0; ret == 0 && pos < v->size;) {
        uint64_t at = off + pos, in = at % b->block_size, host;
        size_t len = (size_t)MIN(v->size - pos, b->block_size - in);
        IoVec part;
        iovec_slice(&part, v, pos, len);
        switch (ops->kind(b->n, at / b->block_size, &host)) {
        case BAT_DATA:
            ret = node_preadv(b->n->file, host + in, &part);
            break;
        case BAT_HOLE:
            ret = format_read_below(b->n, at, &part);
            break;
        case BAT_ZERO:
            iov_memset(part.iov, part.n, 0, 0, len);
            break;
        }
        iovec_free(&part);
        pos += len;
    }
    return ret;
}

/* A block that was none: its place, the bytes around the write, and the entry. Under the lock. */
static int write_new(Bat *b, const BatOps *ops, uint64_t at, const IoVec *v, BatKind kind)
{
    uint64_t index = at / b->block_size, in = at % b->block_size, host;
    uint64_t start = index * b->block_size;
    uint64_t tail = b->block_size - in - v->size;
    int ret = ops->allocate(b->n, index, &host);
    if (ret < 0) {
        return ret;
    }
    bool below = kind == BAT_HOLE && b->n->backing && start < b->n->backing->length;
    bool fresh = host >= b->n->file->length;
    if (!below) {
        /* Beyond the file's end there are zeroes already; the length is what is missing. */
        if (!fresh) {
            ret = in ? node_zero(b->n->file, host, in, 0) : 0;
            ret = ret < 0 || !tail ? ret : node_zero(b->n->file, host + in + v->size, tail, 0);
        } else if (tail) {
            uint8_t zero[512] = {0};
            size_t last = (size_t)MIN(tail, sizeof(zero));
            ret = node_pwrite(b->n->file, host + b->block_size - last, zero, last, 0);
        }
        ret = ret < 0 ? ret : node_pwritev(b->n->file, host + in, v, 0);
    } else {
        g_autofree uint8_t *buf = g_try_malloc(b->block_size);
        struct iovec one = {buf, b->block_size};
        IoVec all = {.iov = &one, .n = 1, .size = b->block_size};
        ret = buf ? format_read_below(b->n, start, &all) : -ENOMEM;
        if (ret == 0) {
            iov_to_buf(v->iov, v->n, 0, buf + in, v->size);
            ret = node_pwritev(b->n->file, host, &all, 0);
        }
    }
    if (ret == 0) {
        ops->publish(b->n, index, host);
    }
    return ret;
}

int bat_pwritev(Bat *b, const BatOps *ops, uint64_t off, const IoVec *v, unsigned flags)
{
    int ret = 0;
    for (size_t pos = 0; ret == 0 && pos < v->size;) {
        uint64_t at = off + pos, in = at % b->block_size, host;
        size_t len = (size_t)MIN(v->size - pos, b->block_size - in);
        IoVec part;
        iovec_slice(&part, v, pos, len);
        BatKind kind = ops->kind(b->n, at / b->block_size, &host);
        if (kind != BAT_DATA) {
            fiber_mutex_lock(&b->lock);
            kind = ops->kind(b->n, at / b->block_size, &host); /* somebody may have been faster */
            if (kind != BAT_DATA) {
                ret = write_new(b, ops, at, &part, kind);
                kind = BAT_HOLE;
            }
            fiber_mutex_unlock(&b->lock);
        }
        if (kind == BAT_DATA) {
            ret = node_pwritev(b->n->file, host + in, &part, 0);
        }
        iovec_free(&part);
        pos += len;
    }
    return ret == 0 && (flags & BLK_FUA) ? bat_flush(b) : ret;
}

int bat_map(Bat *b, const BatOps *ops, uint64_t off, uint64_t len, BlockMap *out)
{
    uint64_t host, next, in = off % b->block_size, index = off / b->block_size;
    BatKind kind = ops->kind(b->n, index, &host);
    uint64_t got = b->block_size - in;
    while (got < len) {
        BatKind k = ops->kind(b->n, ++index, &next);
        if (k != kind || (k == BAT_DATA && next != host + in + got)) {
            break;
        }
        got += b->block_size;
    }
    *out = (BlockMap){.len = MIN(got, len)};
    if (kind == BAT_DATA) {
        out->flags = BLOCK_MAP_DATA | BLOCK_MAP_OFFSET | BLOCK_MAP_RECURSE;
        out->host = host + in;
    } else if (kind == BAT_ZERO) {
        out->flags = BLOCK_MAP_ZERO;
    }
    return 0;
}
