/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Replaying the log of a VHDX image that was not closed ([MS-VHDX] 2.3). */
#include "block/formats/vhdx.h"

#include <errno.h>

#define SECTOR 4096u
#define E_CHECKSUM 4
#define E_LENGTH 8
#define E_TAIL 12
#define E_SEQUENCE 16
#define E_DESCRIPTORS 24
#define E_GUID 32
#define E_FLUSHED 48
#define E_LAST 56
#define ENTRY_HEADER 64u
#define DESCRIPTOR 32u

/* The bytes [at, at + len) of the ring. */
static int read_ring(const VhdxLog *l, uint64_t at, uint8_t *buf, uint64_t len)
{
    uint64_t first = MIN(len, l->len - at);
    int ret = node_pread(l->file, l->offset + at, buf, first);
    return ret < 0 || first == len ? ret : node_pread(l->file, l->offset, buf + first, len - first);
}

/* A whole, right entry at `at` (freed by the caller), or NULL. */
static uint8_t *read_entry(const VhdxLog *l, uint64_t at)
{
    uint8_t h[ENTRY_HEADER];
    if (read_ring(l, at, h, sizeof(h)) < 0 || memcmp(h, "loge", 4) ||
        memcmp(h + E_GUID, l->guid, 16)) {
        return NULL;
    }
    uint32_t len = ld_le32(h + E_LENGTH), n = ld_le32(h + E_DESCRIPTORS);
    if (len % SECTOR || !len || len > l->len || n > len / DESCRIPTOR ||
        ld_le32(h + E_TAIL) % SECTOR || ld_le32(h + E_TAIL) >= l->len) {
        return NULL;
    }
    uint8_t *e = g_try_malloc(len);
    if (e && (read_ring(l, at, e, len) < 0 || vhdx_crc(e, len, E_CHECKSUM) != ld_le32(e + 4))) {
        g_free(e);
        e = NULL;
    }
    return e;
}

/* Do the entries from `tail` on lead, one number after the other, to the one at `head`? */
static bool leads_to(const VhdxLog *l, uint64_t tail, uint64_t head, uint64_t head_sequence)
{
    uint64_t at = tail, walked = 0, expected = 0;
    while (walked <= l->len) {
        g_autofree uint8_t *e = read_entry(l, at);
        if (!e || (expected && ld_le64(e + E_SEQUENCE) != expected)) {
            return false;
        }
        if (at == head) {
            return ld_le64(e + E_SEQUENCE) == head_sequence;
        }
        expected = ld_le64(e + E_SEQUENCE) + 1;
        walked += ld_le32(e + E_LENGTH);
        at = (at + ld_le32(e + E_LENGTH)) % l->len;
    }
    return false;
}

static int do_descriptor(const VhdxLog *l, const uint8_t *d, uint64_t sequence,
                         const uint8_t **data, const uint8_t *end)
{
    uint64_t at = ld_le64(d + 16);
    if (ld_le64(d + 24) != sequence || at % SECTOR || at > INT64_MAX / 2) {
        return -EINVAL;
    }
    if (!memcmp(d, "zero", 4)) {
        uint64_t len = ld_le64(d + 8);
        return len % SECTOR || len > INT64_MAX / 2 ? -EINVAL : node_zero(l->file, at, len, 0);
    }
    const uint8_t *s = *data;
    if (memcmp(d, "desc", 4) || (size_t)(end - s) < SECTOR || memcmp(s, "data", 4) ||
        ld_le32(s + 4) != (uint32_t)(sequence >> 32) ||
        ld_le32(s + SECTOR - 4) != (uint32_t)sequence) {
        return -EINVAL;
    }
    uint8_t sector[SECTOR];
    memcpy(sector, d + 8, 8); /* leading bytes, replaced by the mark in the log */
    memcpy(sector + 8, s + 8, SECTOR - 12);
    memcpy(sector + SECTOR - 4, d + 4, 4);
    *data = s + SECTOR;
    return node_pwrite(l->file, at, sector, SECTOR, 0);
}

static int do_entry(const VhdxLog *l, const uint8_t *e)
{
    uint32_t n = ld_le32(e + E_DESCRIPTORS), len = ld_le32(e + E_LENGTH);
    uint64_t start = ALIGN_UP(ENTRY_HEADER + (uint64_t)n * DESCRIPTOR, (uint64_t)SECTOR);
    const uint8_t *data = e + MIN(start, len);
    int ret = 0;
    for (uint32_t i = 0; ret == 0 && i < n; i++) {
        ret = do_descriptor(l, e + ENTRY_HEADER + i * DESCRIPTOR, ld_le64(e + E_SEQUENCE), &data,
                            e + len);
    }
    uint64_t last = ld_le64(e + E_LAST);
    if (ret == 0 && last > l->file->length && last <= INT64_MAX / 2) {
        ret = node_truncate(l->file, last, NULL);
    }
    return ret;
}

static int do_sequence(const VhdxLog *l, uint64_t tail, uint64_t head)
{
    int ret = 0;
    for (uint64_t at = tail; ret == 0;) {
        g_autofree uint8_t *e = read_entry(l, at);
        ret = e ? do_entry(l, e) : -EIO;
        if (at == head) {
            break;
        }
        at = e ? (at + ld_le32(e + E_LENGTH)) % l->len : at;
    }
    return ret < 0 ? ret : node_flush(l->file);
}

int vhdx_replay(const VhdxLog *l)
{
    /* The newest entry whose sequence is whole; older ones were done already. */
    uint64_t limit = UINT64_MAX;
    for (unsigned tries = 0; tries < 64; tries++) {
        uint64_t best = 0, head = 0, tail = 0;
        for (uint64_t at = 0; at < l->len; at += SECTOR) {
            g_autofree uint8_t *e = read_entry(l, at);
            uint64_t sequence = e ? ld_le64(e + E_SEQUENCE) : 0;
            if (e && sequence >= best && sequence < limit) {
                best = sequence;
                head = at;
                tail = ld_le32(e + E_TAIL);
            }
        }
        if (!best) {
            return 0;
        }
        if (leads_to(l, tail, head, best)) {
            return do_sequence(l, tail, head);
        }
        limit = best;
    }
    return -EIO;
}
