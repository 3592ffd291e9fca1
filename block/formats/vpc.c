/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The format "vpc" (VHD, "Virtual Hard Disk Image Format Specification" 1.0): dynamic and fixed. */
#include "block/formats/bat.h"

#include <errno.h>
#include <inttypes.h>
#include <time.h>

#define FOOTER 512u
#define TYPE_FIXED 2u
#define TYPE_DYNAMIC 3u
#define UNUSED 0xffffffffu
#define DEFAULT_BLOCK (2u << 20)
#define MAX_ENTRIES (1u << 25)
#define EPOCH 946684800 /* 2000-01-01 */
#define MAX_SECTORS (65535ull * 16 * 255)

/* Offsets in the footer and in the dynamic header; all is big-endian. */
#define F_DATA_OFFSET 16
#define F_TIME 24
#define F_CREATOR 28
#define F_ORIGINAL 40
#define F_SIZE 48
#define F_CYLINDERS 56
#define F_HEADS 58
#define F_SECTORS 59
#define F_TYPE 60
#define F_CHECKSUM 64
#define F_UUID 68
#define D_TABLE 16
#define D_ENTRIES 28
#define D_BLOCK 32
#define D_CHECKSUM 36

typedef struct Vpc {
    Bat bat;
    uint32_t type;
    uint64_t bitmap_size; /* before each block */
    uint64_t next;        /* where the footer lies, and the next block goes */
    bool footer_dirty;
    bool broken; /* a failure has left open which table counts: no more writes */
    FiberMutex resize_lock;
    uint8_t footer[FOOTER];
} Vpc;

static int vpc_probe(const uint8_t *buf, size_t len)
{
    return len >= 8 && !memcmp(buf, "conectix", 8) ? 100 : 0;
}

static uint32_t checksum(const uint8_t *p, size_t len, size_t at)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < len; i++) {
        sum += i >= at && i < at + 4 ? 0 : p[i];
    }
    return ~sum;
}

/* Who writes sizes that are to be believed; others mean their geometry. */
static bool size_counts(const uint8_t *f)
{
    static const char *const exact[] = {"win ", "qem2", "d2v ", "tap\0", "vs  ", "wa  ", "rhea"};
    for (size_t i = 0; i < ARRAY_LEN(exact); i++) {
        if (!memcmp(f + F_CREATOR, exact[i], 4)) {
            return true;
        }
    }
    return false;
}

static uint64_t disk_sectors(const uint8_t *f)
{
    uint64_t chs = (uint64_t)ld_be16(f + F_CYLINDERS) * f[F_HEADS] * f[F_SECTORS];
    uint64_t size = ld_be64(f + F_SIZE) / 512;
    return size_counts(f) || chs == MAX_SECTORS || chs == 0 ? size : chs;
}

static bool open_dynamic(BlockNode *n, Error **errp)
{
    Vpc *s = n->s;
    uint8_t d[1024];
    uint64_t at = ld_be64(s->footer + F_DATA_OFFSET);
    int ret = at % 512 || at > INT64_MAX - 1024 ? -EINVAL : node_pread(n->file, at, d, sizeof(d));
    if (ret < 0 || memcmp(d, "cxsparse", 8)) {
        return format_bad_field(n, "VPC", errp, "data offset",
                                "is %#" PRIx64 ", where no dynamic header lies", at);
    }
    uint64_t block = ld_be32(d + D_BLOCK), entries = ld_be32(d + D_ENTRIES);
    uint64_t table = ld_be64(d + D_TABLE);
    if (!IS_POWER_OF_2(block) || block < 4096 || block > 256 * MiB) {
        return format_bad_field(n, "VPC", errp, "block size", "is %" PRIu64, block);
    }
    if (entries > MAX_ENTRIES || entries < DIV_ROUND_UP(n->length, block)) {
        return format_bad_field(n, "VPC", errp, "max table entries",
                                "is %" PRIu64 ", but the disk needs %" PRIu64, entries,
                                DIV_ROUND_UP(n->length, block));
    }
    if (table % 512 || table > INT64_MAX - entries * 4) {
        return format_bad_field(n, "VPC", errp, "table offset", "is %#" PRIx64, table);
    }
    s->bat.block_size = block;
    s->bitmap_size = ALIGN_UP(block / 512 / 8, 512ull);
    n->limits.opt_io = (uint32_t)block;
    if (!bat_load(&s->bat, n, table, entries, 4, true, errp)) {
        return false;
    }
    s->next = ALIGN_UP(table + entries * 4, 512ull);
    for (uint64_t i = 0; i < entries; i++) {
        if (s->bat.entries[i] != UNUSED) {
            s->next = MAX(s->next, s->bat.entries[i] * 512 + s->bitmap_size + block);
        }
    }
    return true;
}

static bool vpc_open(BlockNode *n, BlockOpts *o, Error **errp)
{
    Vpc *s = n->s;
    fiber_mutex_init(&s->resize_lock);
    if (!block_opts_finish(o, errp)) {
        return false;
    }
    int ret = node_pread(n->file, 0, s->footer, FOOTER);
    if (ret == 0 && memcmp(s->footer, "conectix", 8) && n->file->length >= FOOTER) {
        /* Fixed images have it at the end only; there it may be 511 bytes. */
        ret = node_pread(n->file, n->file->length - FOOTER, s->footer, FOOTER);
    }
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot read the footer of '%s'", node_filename(n));
        return false;
    }
    if (memcmp(s->footer, "conectix", 8)) {
        return format_bad_field(n, "VPC", errp, "cookie", "is not 'conectix'");
    }
    if (checksum(s->footer, FOOTER, F_CHECKSUM) != ld_be32(s->footer + F_CHECKSUM)) {
        return format_bad_field(n, "VPC", errp, "checksum", "is wrong: the footer is damaged");
    }
    s->type = ld_be32(s->footer + F_TYPE);
    uint64_t sectors = disk_sectors(s->footer);
    if (sectors > INT64_MAX / 512 / 2) {
        return format_bad_field(n, "VPC", errp, "current size", "is %" PRIu64,
                                ld_be64(s->footer + F_SIZE));
    }
    n->length = sectors * 512;
    if (s->type == TYPE_DYNAMIC) {
        return open_dynamic(n, errp);
    }
    if (s->type != TYPE_FIXED) {
        return format_bad_field(n, "VPC", errp, "disk type",
                                "is %u; 2 (fixed) and 3 (dynamic) are supported", s->type);
    }
    if (n->length + FOOTER > ALIGN_UP(n->file->length, 512ull)) {
        return format_bad_field(n, "VPC", errp, "current size",
                                "is %" PRIu64 ", but the file has %" PRIu64 " bytes", n->length,
                                n->file->length);
    }
    return true;
}

static BatKind vpc_kind(BlockNode *n, uint64_t index, uint64_t *host)
{
    Vpc *s = n->s;
    uint64_t e = index < s->bat.count ? s->bat.entries[index] : UNUSED;
    *host = e * 512 + s->bitmap_size;
    return e == UNUSED ? BAT_ZERO : BAT_DATA;
}

/* All sectors of a block count as written: its bitmap has all bits set. */
static int vpc_allocate(BlockNode *n, uint64_t index, uint64_t *host)
{
    Vpc *s = n->s;
    if (s->next / 512 >= UNUSED || index >= s->bat.count || s->broken) {
        return s->broken ? -EIO : -EFBIG;
    }
    g_autofree uint8_t *bitmap = g_try_malloc(s->bitmap_size);
    if (!bitmap) {
        return -ENOMEM;
    }
    memset(bitmap, 0xff, s->bitmap_size);
    *host = s->next + s->bitmap_size;
    int ret = node_pwrite(n->file, s->next, bitmap, s->bitmap_size, 0);
    if (ret == 0 && s->next < n->file->length) {
        /* The old footer was here; what is left of it is no data. */
        uint64_t len = MIN((uint64_t)FOOTER, s->bat.block_size);
        g_autofree uint8_t *zero = g_malloc0(len);
        ret = node_pwrite(n->file, *host, zero, len, 0);
    }
    return ret;
}

static void vpc_publish(BlockNode *n, uint64_t index, uint64_t host)
{
    Vpc *s = n->s;
    bat_set(&s->bat, index, (host - s->bitmap_size) / 512);
    s->next = host + s->bat.block_size;
    s->footer_dirty = true;
}

static const BatOps vpc_ops = {vpc_kind, vpc_allocate, vpc_publish};

static int vpc_preadv(BlockNode *n, uint64_t off, const IoVec *v)
{
    Vpc *s = n->s;
    return s->type == TYPE_FIXED ? node_preadv(n->file, off, v)
                                 : bat_preadv(&s->bat, &vpc_ops, off, v);
}

/* The footer moved to the end comes before the table; its copy at the start never changes. */
static int vpc_flush(BlockNode *n)
{
    Vpc *s = n->s;
    int ret = 0;
    if (s->type == TYPE_FIXED) {
        return node_flush(n->file);
    }
    if (s->footer_dirty) {
        fiber_mutex_lock(&s->bat.lock);
        s->footer_dirty = false;
        ret = node_pwrite(n->file, s->next, s->footer, FOOTER, 0);
        s->footer_dirty |= ret < 0;
        fiber_mutex_unlock(&s->bat.lock);
    }
    return ret < 0 ? ret : bat_flush(&s->bat);
}

static int vpc_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    Vpc *s = n->s;
    if (s->type == TYPE_FIXED) {
        return node_pwritev(n->file, off, v, flags);
    }
    int ret = bat_pwritev(&s->bat, &vpc_ops, off, v, 0);
    return ret == 0 && (flags & BLK_FUA) ? vpc_flush(n) : ret;
}

static int vpc_map(BlockNode *n, uint64_t off, uint64_t len, BlockMap *out)
{
    Vpc *s = n->s;
    if (s->type == TYPE_FIXED) {
        *out = (BlockMap){BLOCK_MAP_DATA | BLOCK_MAP_OFFSET | BLOCK_MAP_RECURSE, len, off, NULL};
        return 0;
    }
    int ret = bat_map(&s->bat, &vpc_ops, off, len, out);
    out->flags &= ~BLOCK_MAP_RECURSE;
    return ret;
}

static void vpc_close(BlockNode *n)
{
    Vpc *s = n->s;
    if (s->bat.n && !n->flags.read_only && (s->bat.any_dirty || s->footer_dirty)) {
        format_closing(n, vpc_flush(n));
    }
    bat_free(&s->bat);
    fiber_mutex_destroy(&s->resize_lock);
}

/* The geometry of the specification's appendix for so many sectors. */
static void geometry(uint64_t sectors, uint32_t *c, uint32_t *h, uint32_t *s)
{
    uint64_t t = MIN(sectors, MAX_SECTORS), ch;
    if (t > 65535ull * 16 * 63) {
        *s = 255;
        *h = 16;
        ch = t / *s;
    } else {
        *s = 17;
        ch = t / *s;
        *h = (uint32_t)((ch + 1023) / 1024);
        *h = MAX(*h, 4);
        if (ch >= *h * 1024ull || *h > 16) {
            *s = 31;
            *h = 16;
            ch = t / *s;
        }
        if (ch >= *h * 1024ull) {
            *s = 63;
            *h = 16;
            ch = t / *s;
        }
    }
    *c = (uint32_t)(ch / *h);
}

/* ---- sizes ---- */

/* The footer says so many sectors; where its geometry cannot, the size is what counts. */
static void footer_size(uint8_t *f, uint64_t sectors)
{
    uint32_t c, h, s;
    geometry(sectors, &c, &h, &s);
    if ((uint64_t)c * h * s != sectors && !size_counts(f)) {
        memcpy(f + F_CREATOR, "qem2", 4);
    }
    st_be64(f + F_SIZE, sectors * 512);
    st_be16(f + F_CYLINDERS, (uint16_t)c);
    f[F_HEADS] = (uint8_t)h;
    f[F_SECTORS] = (uint8_t)s;
    st_be32(f + F_CHECKSUM, checksum(f, FOOTER, F_CHECKSUM));
}

/* The new footer first; then what lay where the old one was is zeroes, or the file ends there. */
static int resize_fixed(BlockNode *n, uint64_t size, const uint8_t *footer)
{
    uint64_t old = n->length;
    static const uint8_t zero[FOOTER];
    int ret = node_pwrite(n->file, size, footer, FOOTER, 0);
    ret = ret < 0 ? ret : node_flush(n->file);
    if (ret == 0 && size > old) {
        ret = node_pwrite(n->file, old, zero, MIN(size - old, (uint64_t)FOOTER), 0);
    } else if (ret == 0) {
        ret = node_truncate(n->file, size + FOOTER, NULL);
    }
    return ret < 0 ? ret : node_flush(n->file);
}

/* A longer table behind all blocks; one sector of the dynamic header makes it count. */
static int move_table(BlockNode *n, uint64_t entries)
{
    Vpc *s = n->s;
    uint8_t d[1024];
    uint64_t at = s->next, header = ld_be64(s->footer + F_DATA_OFFSET), old = s->bat.count;
    uint64_t end = ALIGN_UP(at + entries * 4, 512ull);
    int ret = node_pread(n->file, header, d, sizeof(d));
    ret = ret < 0 || entries <= MAX_ENTRIES ? ret : -EFBIG;
    ret = ret < 0 || bat_grow(&s->bat, entries, UNUSED) ? ret : -ENOMEM;
    /* The file ends with a footer at any time. */
    ret = ret < 0 ? ret : node_pwrite(n->file, end, s->footer, FOOTER, 0);
    ret = ret < 0 ? ret : bat_write_at(&s->bat, at, 0);
    if (ret < 0) {
        s->bat.count = MIN(s->bat.count, old);
        return ret;
    }
    st_be64(d + D_TABLE, at);
    st_be32(d + D_ENTRIES, (uint32_t)entries);
    st_be32(d + D_CHECKSUM, checksum(d, sizeof(d), D_CHECKSUM));
    s->next = end;
    s->bat.offset = at; /* both tables say the same, whichever the header names */
    ret = node_pwrite(n->file, header, d, 512, 0);
    ret = ret < 0 ? ret : node_flush(n->file);
    s->broken = ret < 0;
    return ret;
}

static int resize_dynamic(BlockNode *n, uint64_t size, const uint8_t *footer)
{
    Vpc *s = n->s;
    uint64_t block = s->bat.block_size, blocks = DIV_ROUND_UP(size, block);
    uint64_t in = n->length % block, host, end = MIN(ALIGN_UP(n->length, block), size);
    int ret = s->broken ? -EIO : vpc_flush(n);
    if (ret == 0 && end > n->length && vpc_kind(n, n->length / block, &host) == BAT_DATA) {
        ret = node_zero(n->file, host + in, end - n->length, 0); /* old bytes */
    }
    if (ret == 0 && blocks > s->bat.count) {
        ret = move_table(n, blocks);
    }
    for (uint64_t i = blocks; ret == 0 && i < s->bat.count; i++) {
        if (s->bat.entries[i] != UNUSED) {
            bat_set(&s->bat, i, UNUSED);
        }
    }
    ret = ret < 0 ? ret : bat_flush(&s->bat);
    ret = ret < 0 ? ret : node_pwrite(n->file, 0, footer, FOOTER, 0);
    return ret < 0 ? ret : node_flush(n->file);
}

static int vpc_truncate(BlockNode *n, uint64_t size, BlockPrealloc prealloc, Error **errp)
{
    Vpc *s = n->s;
    if (prealloc != PREALLOC_OFF || size % BLOCK_SECTOR || size / 512 > 0xff000000ull) {
        error_set(errp, "cannot resize '%s': %s", node_filename(n),
                  prealloc != PREALLOC_OFF ? "space cannot be reserved in this format"
                  : size % BLOCK_SECTOR    ? "the size must be a multiple of 512"
                                           : "a VPC image can have 2040 GiB");
        return -ENOTSUP;
    }
    uint8_t footer[FOOTER];
    memcpy(footer, s->footer, FOOTER);
    footer_size(footer, size / 512);
    bool fixed = s->type == TYPE_FIXED;
    if (!fixed) {
        fiber_mutex_lock(&s->resize_lock);
    }
    int ret = fixed ? resize_fixed(n, size, footer) : resize_dynamic(n, size, footer);
    if (ret == 0) {
        memcpy(s->footer, footer, FOOTER);
        n->length = size;
        s->footer_dirty = !fixed;
        ret = vpc_flush(n);
    }
    if (!fixed) {
        fiber_mutex_unlock(&s->resize_lock);
    }
    return format_resized(n, ret, errp);
}

/* ---- check ---- */

/* The copy at the start is what counts; this one is for the case that it is damaged. */
static bool ends_with_footer(BlockNode *n)
{
    Vpc *s = n->s;
    uint64_t end = ALIGN_UP(n->file->length, 512ull);
    uint8_t last[FOOTER];
    return node_pread(n->file, end - MIN(end, (uint64_t)FOOTER), last, FOOTER) == 0 &&
           !memcmp(last, s->footer, FOOTER);
}

/* Behind the last block; what lies there, of a block that never came into the table, goes. */
static bool end_with_footer(BlockNode *n)
{
    Vpc *s = n->s;
    s->footer_dirty = true;
    return vpc_flush(n) == 0 && (n->file->length <= s->next + FOOTER ||
                                 node_truncate(n->file, s->next + FOOTER, NULL) == 0);
}

static int vpc_check(BlockNode *n, unsigned fix, const BlockProgress *p, BlockCheck *out,
                     Error **errp)
{
    Vpc *s = n->s;
    FormatPlaces places = {0};
    uint64_t span = s->bitmap_size + s->bat.block_size;
    if (s->type == TYPE_FIXED) {
        out->image_end = n->length + FOOTER;
        return 0;
    }
    int ret = n->flags.read_only ? 0 : vpc_flush(n);
    uint64_t end = ALIGN_UP(n->file->length, 512ull);
    out->total = DIV_ROUND_UP(n->length, s->bat.block_size);
    format_place_add(&places, "footer copy", 0, 0, FOOTER);
    format_place_add(&places, "dynamic header", 0, ld_be64(s->footer + F_DATA_OFFSET), 1024);
    format_place_add(&places, "block table", 0, s->bat.offset, s->bat.count * 4);
    for (uint64_t i = 0; i < s->bat.count; i++) {
        uint64_t at = s->bat.entries[i] * 512;
        if (s->bat.entries[i] == UNUSED) {
            continue;
        }
        out->allocated++;
        if (at >= end && (fix & BLOCK_FIX_ERRORS)) {
            /* There is nothing to lose. */
            block_progress_message(p, "Repairing block %" PRIu64 ": it lay beyond the end", i);
            bat_set(&s->bat, i, UNUSED);
            out->corruptions_fixed++;
        } else {
            format_place_add(&places, "block", i, at, span);
        }
    }
    int found = format_places_check(&places, end + span - 512, p, out);
    ret = ret < 0 ? ret : found;
    if (ret == 0 && !ends_with_footer(n)) {
        bool repaired = (fix & BLOCK_FIX_LEAKS) && end_with_footer(n);
        block_progress_message(p, "%s: the file does not end with its footer",
                               repaired ? "Repaired" : "Leaked");
        *(repaired ? &out->leaks_fixed : &out->leaks) += 1;
    }
    ret = ret < 0 || !fix ? ret : vpc_flush(n);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot check '%s'", node_filename(n));
    }
    return ret;
}

static void vpc_info(BlockNode *n, Json *image)
{
    Vpc *s = n->s;
    if (s->type == TYPE_DYNAMIC) {
        json_put_int(image, "cluster-size", (int64_t)s->bat.block_size);
    }
}

/* ---- making ---- */

static void put_footer(uint8_t *f, uint64_t sectors, bool fixed, bool exact)
{
    uint32_t c, h, s;
    geometry(sectors, &c, &h, &s);
    memcpy(f, "conectix", 8);
    st_be32(f + 8, 2);
    st_be32(f + 12, 0x00010000);
    st_be64(f + F_DATA_OFFSET, fixed ? UINT64_MAX : FOOTER);
    st_be32(f + F_TIME, (uint32_t)(time(NULL) - EPOCH));
    memcpy(f + F_CREATOR, exact ? "qem2" : "qemu", 4);
    st_be16(f + 32, 5);
    st_be16(f + 34, 3);
    memcpy(f + 36, "Wi2k", 4);
    st_be64(f + F_ORIGINAL, sectors * 512);
    st_be64(f + F_SIZE, sectors * 512);
    st_be16(f + F_CYLINDERS, (uint16_t)c);
    f[F_HEADS] = (uint8_t)h;
    f[F_SECTORS] = (uint8_t)s;
    st_be32(f + F_TYPE, fixed ? TYPE_FIXED : TYPE_DYNAMIC);
    format_new_uuid(f + F_UUID);
    st_be32(f + F_CHECKSUM, checksum(f, FOOTER, F_CHECKSUM));
}

/* Sectors that a geometry can say exactly: as few more as possible. */
static uint64_t round_to_geometry(uint64_t sectors)
{
    for (uint64_t i = 0;; i++) {
        uint32_t c, h, s;
        geometry(sectors + i, &c, &h, &s);
        if ((uint64_t)c * h * s >= sectors) {
            return (uint64_t)c * h * s;
        }
    }
}

static int create_dynamic(BlockNode *file, const uint8_t *footer, uint64_t sectors)
{
    uint32_t entries = (uint32_t)DIV_ROUND_UP(sectors * 512, DEFAULT_BLOCK);
    uint64_t table = ALIGN_UP(entries * 4ull, 512ull), total = FOOTER + 1024 + table + FOOTER;
    g_autofree uint8_t *all = g_try_malloc0(total);
    if (!all) {
        return -ENOMEM;
    }
    uint8_t *d = all + FOOTER;
    memcpy(all, footer, FOOTER);
    memcpy(d, "cxsparse", 8);
    st_be64(d + 8, UINT64_MAX);
    st_be64(d + D_TABLE, FOOTER + 1024);
    st_be32(d + 24, 0x00010000);
    st_be32(d + D_ENTRIES, entries);
    st_be32(d + D_BLOCK, DEFAULT_BLOCK);
    st_be32(d + D_CHECKSUM, checksum(d, 1024, D_CHECKSUM));
    memset(all + FOOTER + 1024, 0xff, table);
    memcpy(all + FOOTER + 1024 + table, footer, FOOTER);
    return node_pwrite(file, 0, all, total, 0);
}

static const BlockCreateOption vpc_create_options[] = {
    {"size", "size", "bytes"},
    {"subformat", "dynamic|fixed", "blocks are made when needed, or all are there"},
    {"force_size", "bool", "exactly this size, not the next one that a geometry can say"},
    {NULL},
};

static bool vpc_create(BlockGraph *g, BlockNode *file, BlockOpts *o, Error **errp)
{
    static const char *const subformats[] = {"dynamic", "fixed", NULL};
    bool sized = block_opts_has(o, "size");
    uint64_t size = block_opts_size(o, "size", 0);
    bool fixed = block_opts_enum(o, "subformat", subformats, 0) == 1;
    bool exact = block_opts_bool(o, "force_size", false);
    uint64_t sectors = DIV_ROUND_UP(size, 512);
    if (!sized) {
        block_opts_mistake(o, "'size' is missing");
    } else if (sectors > 0xff000000ull || (!exact && sectors > MAX_SECTORS)) {
        block_opts_mistake(o, "'size' is more than a VPC image can have%s",
                           exact ? "" : " (force_size=on allows 2040 GiB)");
    }
    if (!block_opts_finish(o, errp)) {
        return false;
    }
    uint8_t footer[FOOTER] = {0};
    sectors = exact ? sectors : round_to_geometry(sectors);
    put_footer(footer, sectors, fixed, exact);
    int ret = node_truncate(file, 0, errp);
    if (ret < 0) {
        return false;
    }
    ret = fixed ? node_pwrite(file, sectors * 512, footer, FOOTER, 0)
                : create_dynamic(file, footer, sectors);
    ret = ret < 0 ? ret : node_flush(file);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot create an image in '%s'", node_filename(file));
    }
    return ret == 0;
}

const BlockDriver block_driver_vpc = {
    .name = "vpc",
    .help = "VHD of Virtual PC and Hyper-V",
    .alias = "vhd",
    .state_size = sizeof(Vpc),
    .probe = vpc_probe,
    .open = vpc_open,
    .close = vpc_close,
    .preadv = vpc_preadv,
    .pwritev = vpc_pwritev,
    .flush = vpc_flush,
    .map = vpc_map,
    .truncate = vpc_truncate,
    .check = vpc_check,
    .info = vpc_info,
    .create_options = vpc_create_options,
    .create = vpc_create,
};
