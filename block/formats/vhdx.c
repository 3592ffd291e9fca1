/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The format "vhdx" (Microsoft's [MS-VHDX]); what is left in a log is replayed in vhdx-log.c. */
#include "block/formats/vhdx.h"

#include <errno.h>
#include <inttypes.h>

#define HEADER_1 (64 * KiB)
#define HEADER_2 (128 * KiB)
#define REGION_1 (192 * KiB)
#define REGION_2 (256 * KiB)
#define MAX_REGIONS 2047u
#define MAX_METADATA 2047u
#define BAT_STATE 7ull
#define BAT_NOT_PRESENT 0u
#define BAT_ZEROED 2u
#define BAT_UNMAPPED 3u
#define BAT_PRESENT 6u
#define BAT_OFFSET (~(MiB - 1))
#define MAX_SIZE (64ull << 40)

/* GUIDs, as bytes in the file. */
static const uint8_t region_bat[16] = {0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42,
                                       0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08};
static const uint8_t region_metadata[16] = {0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
                                            0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e};
static const uint8_t item_parameters[16] = {0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d,
                                            0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b};
static const uint8_t item_size[16] = {0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48,
                                      0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8};
static const uint8_t item_page83[16] = {0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45,
                                        0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46};
static const uint8_t item_logical[16] = {0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47,
                                         0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f};
static const uint8_t item_physical[16] = {0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44,
                                          0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56};

typedef struct Vhdx {
    Bat bat;
    uint8_t header[4096];
    unsigned current; /* 0 or 1: which header counts */
    uint64_t bat_at, bat_len, meta_at, meta_len;
    uint64_t chunk_ratio; /* payload entries between sector bitmap entries */
    uint32_t logical_sector;
    uint64_t size_at; /* where the disk's size lies in the file */
    bool fixed;
    bool broken; /* a failure has left open which table counts: no more writes */
} Vhdx;

uint32_t vhdx_crc(const uint8_t *p, size_t len, size_t zero_at)
{
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < len; i++) {
        crc ^= i >= zero_at && i < zero_at + 4 ? 0 : p[i];
        for (int k = 0; k < 8; k++) {
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
        }
    }
    return ~crc;
}

static int vhdx_probe(const uint8_t *buf, size_t len)
{
    return len >= 8 && !memcmp(buf, "vhdxfile", 8) ? 100 : 0;
}

/* ---- headers and regions ---- */

static bool header_valid(const uint8_t *h)
{
    return !memcmp(h, "head", 4) && vhdx_crc(h, 4096, 4) == ld_le32(h + 4) && ld_le16(h + 66) == 1;
}

static bool read_headers(BlockNode *n, Error **errp)
{
    Vhdx *s = n->s;
    uint8_t h[2][4096], id[8];
    int ret = node_pread(n->file, 0, id, 8);
    ret = ret < 0 ? ret : node_pread(n->file, HEADER_1, h[0], 4096);
    ret = ret < 0 ? ret : node_pread(n->file, HEADER_2, h[1], 4096);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot read the headers of '%s'", node_filename(n));
        return false;
    }
    if (memcmp(id, "vhdxfile", 8)) {
        return format_bad_field(n, "VHDX", errp, "signature", "is not 'vhdxfile'");
    }
    bool ok[2] = {header_valid(h[0]), header_valid(h[1])};
    if (!ok[0] && !ok[1]) {
        return format_bad_field(n, "VHDX", errp, "header", "is damaged in both copies");
    }
    s->current = ok[0] && ok[1] ? ld_le64(h[1] + 8) > ld_le64(h[0] + 8) : ok[1];
    memcpy(s->header, h[s->current], 4096);
    return true;
}

static bool region_table_valid(const uint8_t *t)
{
    return !memcmp(t, "regi", 4) && vhdx_crc(t, 64 * KiB, 4) == ld_le32(t + 4) &&
           ld_le32(t + 8) <= MAX_REGIONS;
}

static bool read_regions(BlockNode *n, Error **errp)
{
    Vhdx *s = n->s;
    g_autofree uint8_t *t = g_malloc(64 * KiB);
    int ret = node_pread(n->file, REGION_1, t, 64 * KiB);
    if (ret == 0 && !region_table_valid(t)) {
        ret = node_pread(n->file, REGION_2, t, 64 * KiB);
    }
    if (ret < 0 || !region_table_valid(t)) {
        return format_bad_field(n, "VHDX", errp, "region table", "is damaged in both copies");
    }
    for (uint32_t i = 0; i < ld_le32(t + 8); i++) {
        const uint8_t *e = t + 16 + i * 32;
        uint64_t at = ld_le64(e + 16), len = ld_le32(e + 24);
        if (at % MiB || at < MiB || at > INT64_MAX / 2 || len % MiB || len == 0) {
            return format_bad_field(n, "VHDX", errp, "region entry",
                                    "%u lies at %#" PRIx64 " with %#" PRIx64 " bytes", i, at, len);
        }
        if (!memcmp(e, region_bat, 16)) {
            s->bat_at = at;
            s->bat_len = len;
        } else if (!memcmp(e, region_metadata, 16)) {
            s->meta_at = at;
            s->meta_len = len;
        } else if (ld_le32(e + 28) & 1) {
            return format_bad_field(n, "VHDX", errp, "region entry",
                                    "%u is required, but its kind is unknown", i);
        }
    }
    if (!s->bat_at || !s->meta_at) {
        return format_bad_field(n, "VHDX", errp, "region table", "lacks %s",
                                s->bat_at ? "the metadata" : "the block table");
    }
    return true;
}

static bool known_item(BlockNode *n, const uint8_t *id, const uint8_t *data, uint32_t len,
                       bool required, Error **errp)
{
    Vhdx *s = n->s;
    if (!memcmp(id, item_parameters, 16) && len >= 8) {
        uint32_t block = ld_le32(data), flags = ld_le32(data + 4);
        if (!IS_POWER_OF_2(block) || block < MiB || block > 256 * MiB) {
            return format_bad_field(n, "VHDX", errp, "BlockSize", "is %u", block);
        }
        if (flags & 2) {
            return format_bad_field(n, "VHDX", errp, "HasParent",
                                    "is set: differencing images are not supported");
        }
        s->bat.block_size = block;
        s->fixed = flags & 1;
    } else if (!memcmp(id, item_size, 16) && len >= 8) {
        n->length = ld_le64(data);
        if (n->length > MAX_SIZE || n->length % 512) {
            return format_bad_field(n, "VHDX", errp, "VirtualDiskSize", "is %" PRIu64, n->length);
        }
    } else if (!memcmp(id, item_logical, 16) && len >= 4) {
        s->logical_sector = ld_le32(data);
        if (s->logical_sector != 512 && s->logical_sector != 4096) {
            return format_bad_field(n, "VHDX", errp, "LogicalSectorSize", "is %u",
                                    s->logical_sector);
        }
    } else if (memcmp(id, item_page83, 16) && memcmp(id, item_physical, 16) && required) {
        return format_bad_field(n, "VHDX", errp, "metadata", "has a required item of unknown kind");
    }
    return true;
}

static bool read_metadata(BlockNode *n, Error **errp)
{
    Vhdx *s = n->s;
    g_autofree uint8_t *t = g_malloc(64 * KiB);
    int ret = node_pread(n->file, s->meta_at, t, 64 * KiB);
    if (ret < 0 || memcmp(t, "metadata", 8) || ld_le16(t + 10) > MAX_METADATA) {
        return format_bad_field(n, "VHDX", errp, "metadata table", "is damaged");
    }
    for (unsigned i = 0; i < ld_le16(t + 10); i++) {
        const uint8_t *e = t + 32 + i * 32;
        uint32_t at = ld_le32(e + 16), len = ld_le32(e + 20);
        uint8_t data[8] = {0};
        if (at > s->meta_len || len > s->meta_len - at || (len && at < 64 * KiB)) {
            return format_bad_field(n, "VHDX", errp, "metadata entry", "%u lies at %#x", i, at);
        }
        if (node_pread(n->file, s->meta_at + at, data, MIN(len, sizeof(data))) < 0) {
            return format_bad_field(n, "VHDX", errp, "metadata entry", "%u cannot be read", i);
        }
        if (!known_item(n, e, data, len, ld_le32(e + 24) & 4, errp)) {
            return false;
        }
        s->size_at = memcmp(e, item_size, 16) ? s->size_at : s->meta_at + at;
    }
    if (!s->bat.block_size || !s->logical_sector || !s->size_at) {
        return format_bad_field(n, "VHDX", errp, "metadata", "lacks the %s",
                                !s->bat.block_size   ? "block size"
                                : !s->logical_sector ? "sector size"
                                                     : "disk size");
    }
    return true;
}

/* ---- opening ---- */

/* Writing has begun: new GUIDs, in the header that did not count so far. */
static int claim_header(BlockNode *n)
{
    Vhdx *s = n->s;
    int ret = 0;
    for (int i = 0; ret == 0 && i < 2; i++) {
        s->current = !s->current;
        st_le64(s->header + 8, ld_le64(s->header + 8) + 1);
        format_new_uuid(s->header + 16);
        format_new_uuid(s->header + 32);
        memset(s->header + 48, 0, 16); /* no log */
        st_le32(s->header + 4, vhdx_crc(s->header, 4096, 4));
        ret = node_pwrite(n->file, s->current ? HEADER_2 : HEADER_1, s->header, 4096, 0);
        ret = ret < 0 ? ret : node_flush(n->file);
    }
    return ret;
}

static bool replay_log(BlockNode *n, Error **errp)
{
    Vhdx *s = n->s;
    VhdxLog l = {
        .file = n->file, .offset = ld_le64(s->header + 72), .len = ld_le32(s->header + 68)};
    memcpy(l.guid, s->header + 48, 16);
    if (buffer_is_zero(l.guid, 16)) {
        return true;
    }
    if (l.offset % MiB || l.len % MiB || !l.len || l.len > 256 * MiB || l.offset > INT64_MAX / 2) {
        return format_bad_field(n, "VHDX", errp, "LogOffset", "is %#" PRIx64 " with %u bytes",
                                l.offset, l.len);
    }
    if (n->flags.read_only) {
        error_set(errp, "'%s' was not closed properly, and its log must be replayed first",
                  node_filename(n));
        error_hint(errp, "'rhea-img check -r all' does that");
        return false;
    }
    int ret = vhdx_replay(&l);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot replay the log of '%s'", node_filename(n));
    }
    return ret == 0;
}

/* Entries of the table with those for sector bitmaps. */
static uint64_t table_index(const Vhdx *s, uint64_t block)
{
    return block + block / s->chunk_ratio;
}

static bool load_bat(BlockNode *n, Error **errp)
{
    Vhdx *s = n->s;
    uint64_t blocks = DIV_ROUND_UP(n->length, s->bat.block_size);
    s->chunk_ratio = (8ull << 20) * s->logical_sector / s->bat.block_size;
    uint64_t count = blocks ? table_index(s, blocks - 1) + 1 : 0;
    if (count * 8 > s->bat_len) {
        return format_bad_field(n, "VHDX", errp, "block table",
                                "has %" PRIu64 " bytes, but %" PRIu64 " blocks need %" PRIu64,
                                s->bat_len, blocks, count * 8);
    }
    if (!bat_load(&s->bat, n, s->bat_at, count, 8, false, errp)) {
        return false;
    }
    s->bat.next_free = ALIGN_UP(n->file->length, MiB);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t e = s->bat.entries[i];
        if ((e & BAT_STATE) == BAT_PRESENT && (e & BAT_OFFSET) < MiB) {
            return format_bad_field(n, "VHDX", errp, "block table",
                                    "entry %" PRIu64 " is %#" PRIx64, i, e);
        }
    }
    return true;
}

static bool vhdx_open(BlockNode *n, BlockOpts *o, Error **errp)
{
    Vhdx *s = n->s;
    if (!block_opts_finish(o, errp) || !read_headers(n, errp) || !replay_log(n, errp) ||
        !read_regions(n, errp) || !read_metadata(n, errp) || !load_bat(n, errp)) {
        return false;
    }
    n->limits.opt_io = (uint32_t)s->bat.block_size;
    int ret = n->flags.read_only ? 0 : claim_header(n);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot write the header of '%s'", node_filename(n));
    }
    return ret == 0;
}

static BatKind vhdx_kind(BlockNode *n, uint64_t index, uint64_t *host)
{
    Vhdx *s = n->s;
    uint64_t i = table_index(s, index), e = i < s->bat.count ? s->bat.entries[i] : 0;
    *host = e & BAT_OFFSET;
    return (e & BAT_STATE) == BAT_PRESENT ? BAT_DATA : BAT_ZERO;
}

static int vhdx_allocate(BlockNode *n, uint64_t index, uint64_t *host)
{
    Vhdx *s = n->s;
    if (table_index(s, index) >= s->bat.count || s->broken) {
        return -EIO;
    }
    *host = s->bat.next_free;
    return 0;
}

static void vhdx_publish(BlockNode *n, uint64_t index, uint64_t host)
{
    Vhdx *s = n->s;
    bat_set(&s->bat, table_index(s, index), host | BAT_PRESENT);
    s->bat.next_free = ALIGN_UP(host + s->bat.block_size, MiB);
}

static const BatOps vhdx_ops = {vhdx_kind, vhdx_allocate, vhdx_publish};

static int vhdx_preadv(BlockNode *n, uint64_t off, const IoVec *v)
{
    return bat_preadv(&((Vhdx *)n->s)->bat, &vhdx_ops, off, v);
}

static int vhdx_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    return bat_pwritev(&((Vhdx *)n->s)->bat, &vhdx_ops, off, v, flags);
}

static int vhdx_flush(BlockNode *n)
{
    return bat_flush(&((Vhdx *)n->s)->bat);
}

static int vhdx_map(BlockNode *n, uint64_t off, uint64_t len, BlockMap *out)
{
    return bat_map(&((Vhdx *)n->s)->bat, &vhdx_ops, off, len, out);
}

static void vhdx_close(BlockNode *n)
{
    Vhdx *s = n->s;
    if (s->bat.n && !n->flags.read_only && s->bat.any_dirty && !s->broken) {
        format_closing(n, bat_flush(&s->bat));
    }
    bat_free(&s->bat);
}

/* ---- sizes ---- */

/* The region tables name another place for the block table, one after the other. */
static int write_regions(BlockNode *n, uint64_t bat_at, uint64_t bat_len)
{
    g_autofree uint8_t *t = g_try_malloc(64 * KiB);
    int ret = t ? node_pread(n->file, REGION_1, t, 64 * KiB) : -ENOMEM;
    if (ret == 0 && !region_table_valid(t)) {
        ret = node_pread(n->file, REGION_2, t, 64 * KiB);
    }
    if (ret < 0) {
        return ret;
    }
    for (uint32_t i = 0; i < ld_le32(t + 8); i++) {
        uint8_t *e = t + 16 + i * 32;
        if (!memcmp(e, region_bat, 16)) {
            st_le64(e + 16, bat_at);
            st_le32(e + 24, (uint32_t)bat_len);
        }
    }
    st_le32(t + 4, vhdx_crc(t, 64 * KiB, 4));
    for (int i = 0; ret == 0 && i < 2; i++) {
        ret = node_pwrite(n->file, i ? REGION_2 : REGION_1, t, 64 * KiB, 0);
        ret = ret < 0 ? ret : node_flush(n->file);
    }
    return ret;
}

/* The table has `count` entries: where it is, if there is room, else behind all there is. */
static int lengthen_table(BlockNode *n, uint64_t count)
{
    Vhdx *s = n->s;
    uint64_t old = s->bat.count, len = ALIGN_UP(count * 8, MiB), at = s->bat.next_free;
    if (count <= old) {
        return 0;
    }
    if (!bat_grow(&s->bat, count, BAT_NOT_PRESENT)) {
        return -ENOMEM;
    }
    if (count * 8 <= s->bat_len) {
        int ret = bat_write_at(&s->bat, s->bat_at, old); /* old entries may be left there */
        s->bat.count = ret < 0 ? old : count;
        return ret;
    }
    int ret = len > UINT32_MAX ? -EFBIG : bat_write_at(&s->bat, at, 0);
    if (ret < 0) {
        s->bat.count = old;
        return ret;
    }
    s->bat.next_free = ALIGN_UP(at + len, MiB);
    s->bat.offset = s->bat_at = at;
    s->bat_len = len;
    ret = node_truncate(n->file, MAX(n->file->length, at + len), NULL);
    ret = ret < 0 ? ret : write_regions(n, at, len);
    s->broken = ret < 0;
    return ret;
}

/* Blocks [from, to) of a fixed image. */
static int fill_fixed(BlockNode *n, uint64_t from, uint64_t to)
{
    Vhdx *s = n->s;
    uint64_t host;
    int ret = node_truncate(n->file, s->bat.next_free + (to - from) * s->bat.block_size, NULL);
    for (uint64_t i = from; ret == 0 && i < to; i++) {
        if (vhdx_kind(n, i, &host) != BAT_DATA) {
            vhdx_publish(n, i, s->bat.next_free);
        }
    }
    return ret < 0 ? ret : bat_flush(&s->bat);
}

static int drop_blocks(BlockNode *n, uint64_t from, uint64_t to)
{
    Vhdx *s = n->s;
    uint64_t host;
    for (uint64_t i = from; i < to; i++) {
        if (vhdx_kind(n, i, &host) == BAT_DATA) {
            bat_set(&s->bat, table_index(s, i), BAT_NOT_PRESENT);
        }
    }
    return bat_flush(&s->bat);
}

static int resize(BlockNode *n, uint64_t size)
{
    Vhdx *s = n->s;
    uint64_t block = s->bat.block_size, old = n->length, host;
    uint64_t had = DIV_ROUND_UP(old, block), blocks = DIV_ROUND_UP(size, block);
    uint64_t end = MIN(ALIGN_UP(old, block), size);
    int ret = s->broken ? -EIO : bat_flush(&s->bat);
    if (ret == 0 && end > old && vhdx_kind(n, old / block, &host) == BAT_DATA) {
        ret = node_zero(n->file, host + old % block, end - old, 0); /* old bytes */
    }
    ret = ret < 0 || !blocks ? ret : lengthen_table(n, table_index(s, blocks - 1) + 1);
    ret = ret < 0 ? ret : drop_blocks(n, blocks, had);
    if (ret == 0 && s->fixed && blocks > had) {
        ret = fill_fixed(n, had, blocks);
    }
    uint8_t le[8];
    st_le64(le, size);
    ret = ret < 0 ? ret : node_pwrite(n->file, s->size_at, le, 8, 0);
    ret = ret < 0 ? ret : node_flush(n->file);
    if (ret == 0) {
        n->length = size;
    }
    return ret;
}

static int vhdx_truncate(BlockNode *n, uint64_t size, BlockPrealloc prealloc, Error **errp)
{
    Vhdx *s = n->s;
    if (prealloc != PREALLOC_OFF || size % s->logical_sector || size > MAX_SIZE) {
        error_set(errp, "cannot resize '%s': %s", node_filename(n),
                  prealloc != PREALLOC_OFF ? "space cannot be reserved in this format"
                  : size > MAX_SIZE        ? "a VHDX image can have 64 TiB"
                                           : "the size must be a multiple of its sectors");
        return -ENOTSUP;
    }
    return format_resized(n, resize(n, size), errp);
}

static int vhdx_check(BlockNode *n, unsigned fix, const BlockProgress *p, BlockCheck *out,
                      Error **errp)
{
    Vhdx *s = n->s;
    FormatPlaces places = {0};
    uint64_t blocks = DIV_ROUND_UP(n->length, s->bat.block_size), host;
    uint64_t log = ld_le64(s->header + 72);
    out->total = blocks;
    format_place_add(&places, "header section", 0, 0, MiB);
    format_place_add(&places, "log", 0, log, ld_le32(s->header + 68));
    format_place_add(&places, "block table", 0, s->bat_at, s->bat_len);
    format_place_add(&places, "metadata region", 0, s->meta_at, s->meta_len);
    for (uint64_t i = 0; i < blocks; i++) {
        if (vhdx_kind(n, i, &host) != BAT_DATA) {
            continue;
        }
        out->allocated++;
        if (host >= n->file->length && (fix & BLOCK_FIX_ERRORS)) {
            /* There is nothing to lose. */
            block_progress_message(p, "Repairing block %" PRIu64 ": it lay beyond the end", i);
            bat_set(&s->bat, table_index(s, i), BAT_NOT_PRESENT);
            out->corruptions_fixed++;
        } else {
            format_place_add(&places, "block", i, host, s->bat.block_size);
        }
    }
    int ret = format_places_check(&places, ALIGN_UP(n->file->length, MiB), p, out);
    ret = ret < 0 || !fix ? ret : bat_flush(&s->bat);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot check '%s'", node_filename(n));
    }
    return ret;
}

static void vhdx_info(BlockNode *n, Json *image)
{
    json_put_int(image, "cluster-size", (int64_t)((Vhdx *)n->s)->bat.block_size);
}

/* ---- making ---- */

static const BlockCreateOption vhdx_create_options[] = {
    {"size", "size", "bytes"},
    {"log_size", "size", "of the log (default: 1M)"},
    {"block_size", "size", "1M to 256M (default: by the disk's size)"},
    {"subformat", "dynamic|fixed", "blocks are made when needed, or all are there"},
    {NULL},
};

typedef struct VhdxPlan {
    uint64_t size, block, log, bat_len, data_at, entries, ratio, blocks;
    bool fixed;
} VhdxPlan;

static void put_item(uint8_t *t, uint8_t *items, unsigned *i, uint32_t *at, const uint8_t id[16],
                     const void *data, uint32_t len, uint32_t flags)
{
    uint8_t *e = t + 32 + *i * 32;
    memcpy(e, id, 16);
    st_le32(e + 16, (uint32_t)(64 * KiB) + *at);
    st_le32(e + 20, len);
    st_le32(e + 24, flags);
    memcpy(items + *at, data, len);
    *at += (uint32_t)ALIGN_UP(len, 8u);
    *i += 1;
}

static int write_metadata(BlockNode *file, const VhdxPlan *p, uint64_t at)
{
    g_autofree uint8_t *t = g_malloc0(128 * KiB);
    uint8_t *items = t + 64 * KiB, data[16];
    unsigned n = 0;
    uint32_t pos = 0;
    memcpy(t, "metadata", 8);
    st_le32(data, (uint32_t)p->block);
    st_le32(data + 4, p->fixed ? 1 : 0);
    put_item(t, items, &n, &pos, item_parameters, data, 8, 4);
    st_le64(data, p->size);
    put_item(t, items, &n, &pos, item_size, data, 8, 6);
    format_new_uuid(data);
    put_item(t, items, &n, &pos, item_page83, data, 16, 6);
    st_le32(data, 512);
    put_item(t, items, &n, &pos, item_logical, data, 4, 6);
    put_item(t, items, &n, &pos, item_physical, data, 4, 6);
    st_le16(t + 10, (uint16_t)n);
    return node_pwrite(file, at, t, 128 * KiB, 0);
}

static int write_start(BlockNode *file, const VhdxPlan *p)
{
    static const char creator[] = "R\0h\0e\0a\0";
    g_autofree uint8_t *b = g_malloc0(MiB);
    memcpy(b, "vhdxfile", 8);
    memcpy(b + 8, creator, 8);
    for (unsigned i = 0; i < 2; i++) {
        uint8_t *h = b + (i ? HEADER_2 : HEADER_1);
        memcpy(h, "head", 4);
        st_le64(h + 8, i + 1);
        format_new_uuid(h + 16);
        format_new_uuid(h + 32);
        st_le16(h + 66, 1);
        st_le32(h + 68, (uint32_t)p->log);
        st_le64(h + 72, MiB);
        st_le32(h + 4, vhdx_crc(h, 4096, 4));
        uint8_t *t = b + (i ? REGION_2 : REGION_1);
        memcpy(t, "regi", 4);
        st_le32(t + 8, 2);
        memcpy(t + 16, region_bat, 16);
        st_le64(t + 32, 2 * MiB + p->log);
        st_le32(t + 40, (uint32_t)p->bat_len);
        st_le32(t + 44, 1);
        memcpy(t + 48, region_metadata, 16);
        st_le64(t + 64, MiB + p->log);
        st_le32(t + 72, (uint32_t)MiB);
        st_le32(t + 76, 1);
        st_le32(t + 4, vhdx_crc(t, 64 * KiB, 4));
    }
    return node_pwrite(file, 0, b, MiB, 0);
}

static int write_bat(BlockNode *file, const VhdxPlan *p)
{
    if (!p->fixed) {
        return 0; /* zeroes: not present */
    }
    g_autofree uint8_t *t = g_try_malloc0(p->bat_len);
    if (!t) {
        return -ENOMEM;
    }
    for (uint64_t i = 0; i < p->blocks; i++) {
        st_le64(t + (i + i / p->ratio) * 8, (p->data_at + i * p->block) | BAT_PRESENT);
    }
    return node_pwrite(file, 2 * MiB + p->log, t, p->bat_len, 0);
}

static bool take_plan(BlockOpts *o, VhdxPlan *p, Error **errp)
{
    static const char *const subformats[] = {"dynamic", "fixed", NULL};
    bool sized = block_opts_has(o, "size");
    p->size = ALIGN_UP(block_opts_size(o, "size", 0), 512ull);
    p->log = block_opts_size(o, "log_size", MiB);
    p->block = block_opts_size(o, "block_size", 0);
    p->fixed = block_opts_enum(o, "subformat", subformats, 0) == 1;
    if (!sized) {
        block_opts_mistake(o, "'size' is missing");
    } else if (p->size > MAX_SIZE) {
        block_opts_mistake(o, "'size' is more than 64 TiB");
    }
    if (p->log % MiB || !p->log || p->log > 256 * MiB) {
        block_opts_mistake(o, "'log_size' must be a multiple of 1M, at most 256M");
    }
    if (!p->block) {
        p->block = p->size > (1ull << 40)     ? 64 * MiB
                   : p->size > (100ull << 30) ? 32 * MiB
                   : p->size > (32ull << 30)  ? 16 * MiB
                                              : 8 * MiB;
    } else if (!IS_POWER_OF_2(p->block) || p->block < MiB || p->block > 256 * MiB) {
        block_opts_mistake(o, "'block_size' must be a power of two from 1M to 256M");
        p->block = 8 * MiB;
    }
    p->ratio = (8ull << 20) * 512 / p->block;
    p->blocks = DIV_ROUND_UP(p->size, p->block);
    p->entries = p->blocks ? p->blocks + (p->blocks - 1) / p->ratio : 0;
    p->bat_len = MAX(ALIGN_UP(p->entries * 8, MiB), MiB);
    p->data_at = 2 * MiB + p->log + p->bat_len;
    return block_opts_finish(o, errp);
}

static bool vhdx_create(BlockGraph *g, BlockNode *file, BlockOpts *o, Error **errp)
{
    VhdxPlan p = {0};
    if (!take_plan(o, &p, errp) || node_truncate(file, 0, errp) < 0) {
        return false;
    }
    int ret = write_metadata(file, &p, MiB + p.log);
    ret = ret < 0 ? ret : write_bat(file, &p);
    if (ret == 0) {
        ret = node_truncate(file, p.data_at + (p.fixed ? p.blocks * p.block : 0), NULL);
    }
    ret = ret < 0 ? ret : write_start(file, &p);
    ret = ret < 0 ? ret : node_flush(file);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot create an image in '%s'", node_filename(file));
    }
    return ret == 0;
}

const BlockDriver block_driver_vhdx = {
    .name = "vhdx",
    .help = "VHDX of Hyper-V",
    .state_size = sizeof(Vhdx),
    .probe = vhdx_probe,
    .open = vhdx_open,
    .close = vhdx_close,
    .preadv = vhdx_preadv,
    .pwritev = vhdx_pwritev,
    .flush = vhdx_flush,
    .map = vhdx_map,
    .info = vhdx_info,
    .truncate = vhdx_truncate,
    .check = vhdx_check,
    .create_options = vhdx_create_options,
    .create = vhdx_create,
};
