/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The format "vdi" of VirtualBox: a header, a table of blocks of 1 MiB, the blocks. */
#include "block/formats/bat.h"

#include <errno.h>
#include <inttypes.h>

#define SIGNATURE 0xbeda107fu
#define VERSION 0x00010001u
#define TYPE_DYNAMIC 1u
#define TYPE_STATIC 2u
#define BLOCK_SIZE (1u << 20)
#define UNALLOCATED 0xffffffffu
#define DISCARDED 0xfffffffeu
#define MAX_BLOCKS (0x3fffffffu / 4)

/* Offsets in the header. */
#define H_SIGNATURE 64
#define H_VERSION 68
#define H_HEADER_SIZE 72
#define H_TYPE 76
#define H_MAP 340
#define H_DATA 344
#define H_SECTOR_SIZE 360
#define H_DISK_SIZE 368
#define H_BLOCK_SIZE 376
#define H_BLOCKS 384
#define H_ALLOCATED 388
#define H_UUID 392
#define H_UUID_SNAPSHOT 408
#define H_UUID_LINK 424
#define H_UUID_PARENT 440

typedef struct Vdi {
    Bat bat;
    uint32_t data, allocated, type;
    uint8_t header[512];
    bool header_dirty;
    bool broken;     /* a failure has left open which table counts: no more writes */
    FiberMutex lock; /* one that changes the size */
} Vdi;

static int vdi_probe(const uint8_t *buf, size_t len)
{
    return len >= 512 && ld_le32(buf + H_SIGNATURE) == SIGNATURE ? 100 : 0;
}

static bool is_zero_uuid(const uint8_t *p)
{
    return buffer_is_zero(p, 16);
}

static bool check_header(BlockNode *n, const uint8_t *h, Error **errp)
{
    uint64_t size = ld_le64(h + H_DISK_SIZE), blocks = ld_le32(h + H_BLOCKS);
    if (ld_le32(h + H_SIGNATURE) != SIGNATURE) {
        return format_bad_field(n, "VDI", errp, "signature", "is %#x", ld_le32(h + H_SIGNATURE));
    }
    if (ld_le32(h + H_VERSION) != VERSION) {
        return format_bad_field(n, "VDI", errp, "version", "is %u.%u; 1.1 is supported",
                                ld_le16(h + H_VERSION + 2), ld_le16(h + H_VERSION));
    }
    if (ld_le32(h + H_TYPE) != TYPE_DYNAMIC && ld_le32(h + H_TYPE) != TYPE_STATIC) {
        return format_bad_field(n, "VDI", errp, "image type",
                                "is %u; 1 (dynamic) and 2 (static) are supported",
                                ld_le32(h + H_TYPE));
    }
    if (ld_le32(h + H_SECTOR_SIZE) != 512) {
        return format_bad_field(n, "VDI", errp, "sector size", "is %u, not 512",
                                ld_le32(h + H_SECTOR_SIZE));
    }
    if (ld_le32(h + H_BLOCK_SIZE) != BLOCK_SIZE) {
        return format_bad_field(n, "VDI", errp, "block size", "is %u, not 1 MiB",
                                ld_le32(h + H_BLOCK_SIZE));
    }
    if (blocks > MAX_BLOCKS || size > blocks * BLOCK_SIZE) {
        return format_bad_field(n, "VDI", errp, "disk size",
                                "is %" PRIu64 ", which %" PRIu64 " blocks do not cover", size,
                                blocks);
    }
    if (ld_le32(h + H_MAP) % 512 || ld_le32(h + H_MAP) < 512) {
        return format_bad_field(n, "VDI", errp, "block map offset", "is %u", ld_le32(h + H_MAP));
    }
    if (ld_le32(h + H_DATA) % 512 || ld_le32(h + H_DATA) < ld_le32(h + H_MAP) + blocks * 4) {
        return format_bad_field(n, "VDI", errp, "data offset", "is %u", ld_le32(h + H_DATA));
    }
    if (!is_zero_uuid(h + H_UUID_LINK) || !is_zero_uuid(h + H_UUID_PARENT)) {
        return format_bad_field(n, "VDI", errp, "link UUID",
                                "names a parent image, which is not supported");
    }
    return true;
}

static bool vdi_open(BlockNode *n, BlockOpts *o, Error **errp)
{
    Vdi *s = n->s;
    fiber_mutex_init(&s->lock);
    if (!block_opts_finish(o, errp)) {
        return false;
    }
    int ret = node_pread(n->file, 0, s->header, sizeof(s->header));
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot read the header of '%s'", node_filename(n));
        return false;
    }
    if (!check_header(n, s->header, errp)) {
        return false;
    }
    s->type = ld_le32(s->header + H_TYPE);
    s->data = ld_le32(s->header + H_DATA);
    s->allocated = ld_le32(s->header + H_ALLOCATED);
    n->length = ALIGN_UP(ld_le64(s->header + H_DISK_SIZE), 512ull);
    n->limits.opt_io = BLOCK_SIZE;
    s->bat.block_size = BLOCK_SIZE;
    return bat_load(&s->bat, n, ld_le32(s->header + H_MAP), ld_le32(s->header + H_BLOCKS), 4, false,
                    errp);
}

static BatKind vdi_kind(BlockNode *n, uint64_t index, uint64_t *host)
{
    Vdi *s = n->s;
    uint64_t e = index < s->bat.count ? s->bat.entries[index] : UNALLOCATED;
    *host = s->data + e * BLOCK_SIZE;
    return e == UNALLOCATED || e == DISCARDED ? BAT_ZERO : BAT_DATA;
}

static int vdi_allocate(BlockNode *n, uint64_t index, uint64_t *host)
{
    Vdi *s = n->s;
    if (s->allocated >= MAX_BLOCKS || index >= s->bat.count || s->broken) {
        return s->broken ? -EIO : -EFBIG;
    }
    *host = s->data + (uint64_t)s->allocated * BLOCK_SIZE;
    return 0;
}

static void vdi_publish(BlockNode *n, uint64_t index, uint64_t host)
{
    Vdi *s = n->s;
    bat_set(&s->bat, index, (host - s->data) / BLOCK_SIZE);
    s->allocated++;
    st_le32(s->header + H_ALLOCATED, s->allocated);
    s->header_dirty = true;
}

static const BatOps vdi_ops = {vdi_kind, vdi_allocate, vdi_publish};

static int vdi_preadv(BlockNode *n, uint64_t off, const IoVec *v)
{
    return bat_preadv(&((Vdi *)n->s)->bat, &vdi_ops, off, v);
}

/* The count of blocks comes before the entries that use them. */
static int vdi_flush(BlockNode *n)
{
    Vdi *s = n->s;
    int ret = s->broken ? -EIO : 0;
    if (ret == 0 && s->header_dirty) {
        s->header_dirty = false;
        ret = node_pwrite(n->file, 0, s->header, sizeof(s->header), 0);
        s->header_dirty |= ret < 0;
    }
    return ret < 0 ? ret : bat_flush(&s->bat);
}

static int vdi_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    int ret = bat_pwritev(&((Vdi *)n->s)->bat, &vdi_ops, off, v, 0);
    return ret == 0 && (flags & BLK_FUA) ? vdi_flush(n) : ret;
}

static int vdi_map(BlockNode *n, uint64_t off, uint64_t len, BlockMap *out)
{
    Vdi *s = n->s;
    int ret = bat_map(&s->bat, &vdi_ops, off, len, out);
    if (ret == 0 && s->type != TYPE_STATIC) {
        out->flags &= ~BLOCK_MAP_RECURSE;
    }
    return ret;
}

static void vdi_close(BlockNode *n)
{
    Vdi *s = n->s;
    if (s->bat.n && !n->flags.read_only && (s->bat.any_dirty || s->header_dirty)) {
        format_closing(n, vdi_flush(n));
    }
    bat_free(&s->bat);
    fiber_mutex_destroy(&s->lock);
}

/* ---- sizes, and what check finds ---- */

static int write_header(BlockNode *n)
{
    Vdi *s = n->s;
    st_le32(s->header + H_ALLOCATED, s->allocated);
    int ret = node_pwrite(n->file, 0, s->header, sizeof(s->header), 0);
    ret = ret < 0 ? ret : node_flush(n->file);
    s->header_dirty = ret < 0;
    return ret;
}

static bool used(uint64_t e)
{
    return e != UNALLOCATED && e != DISCARDED;
}

static uint64_t count_used(const Vdi *s)
{
    uint64_t n = 0;
    for (uint64_t i = 0; i < s->bat.count; i++) {
        n += used(s->bat.entries[i]);
    }
    return n;
}

/* Blocks that lie in [from, to) go to the places from `dest` on, durably. */
static int move_blocks(Vdi *s, uint64_t from, uint64_t to, uint64_t dest)
{
    BlockNode *file = s->bat.n->file;
    int ret = 0;
    for (uint64_t i = 0; ret == 0 && i < s->bat.count; i++) {
        uint64_t e = s->bat.entries[i];
        if (used(e) && e >= from && e < to) {
            ret = format_copy(file, s->data + e * BLOCK_SIZE, s->data + dest * BLOCK_SIZE,
                              BLOCK_SIZE);
            if (ret == 0) {
                bat_set(&s->bat, i, dest++);
            }
        }
    }
    return ret < 0 ? ret : bat_flush(&s->bat);
}

/*
 * The table gets a new place, where the first blocks were: they move to the end, and the data begin
 * later.  One write of the header's sector makes all of that true.
 */
static int move_table(BlockNode *n, uint64_t size, uint64_t blocks)
{
    Vdi *s = n->s;
    uint64_t k = DIV_ROUND_UP(blocks * 4, BLOCK_SIZE), dest = MAX(k, s->allocated);
    uint32_t old_data = s->data;
    if (old_data + k * BLOCK_SIZE > UINT32_MAX) {
        return -EFBIG;
    }
    s->allocated = (uint32_t)(dest + k); /* until it is done, the file is longer than it must be */
    int ret = write_header(n);
    ret = ret < 0 ? ret : move_blocks(s, 0, k, dest);
    Bat *b = &s->bat;
    if (ret < 0 || !bat_grow(b, blocks, UNALLOCATED)) {
        return ret < 0 ? ret : -ENOMEM;
    }
    uint64_t highest = 0;
    for (uint64_t i = 0; i < b->count; i++) {
        b->entries[i] -= used(b->entries[i]) ? k : 0;
        highest = used(b->entries[i]) ? MAX(highest, b->entries[i] + 1) : highest;
    }
    s->data = (uint32_t)(old_data + k * BLOCK_SIZE);
    b->offset = old_data;
    ret = bat_write_at(b, old_data, 0);
    s->allocated = (uint32_t)highest;
    st_le32(s->header + H_MAP, old_data);
    st_le32(s->header + H_DATA, s->data);
    st_le32(s->header + H_BLOCKS, (uint32_t)blocks);
    st_le64(s->header + H_DISK_SIZE, size);
    ret = ret < 0 ? ret : write_header(n);
    if (ret < 0) {
        s->broken = true; /* which table counts is not known */
    }
    return ret;
}

static int lengthen_table(BlockNode *n, uint64_t size, uint64_t blocks)
{
    Vdi *s = n->s;
    uint64_t old = s->bat.count;
    if (blocks > old) {
        int ret = bat_grow(&s->bat, blocks, UNALLOCATED) ? 0 : -ENOMEM;
        ret = ret < 0 ? ret : bat_write_at(&s->bat, s->bat.offset, old);
        if (ret < 0) {
            s->bat.count = old;
            return ret;
        }
    }
    st_le32(s->header + H_BLOCKS, (uint32_t)blocks);
    st_le64(s->header + H_DISK_SIZE, size);
    return write_header(n);
}

/* A static image has all its blocks. */
static int fill_static(BlockNode *n, uint64_t first)
{
    Vdi *s = n->s;
    uint64_t at = s->allocated;
    int ret = node_truncate(n->file, s->data + (at + s->bat.count - first) * BLOCK_SIZE, NULL);
    for (uint64_t i = first; ret == 0 && i < s->bat.count; i++) {
        bat_set(&s->bat, i, at++);
    }
    s->allocated = (uint32_t)at;
    ret = ret < 0 ? ret : write_header(n);
    return ret < 0 ? ret : bat_flush(&s->bat);
}

/* No places are unused: the last blocks go there, and the file ends after them. */
static int compact(BlockNode *n)
{
    Vdi *s = n->s;
    Bat *b = &s->bat;
    uint64_t n_used = count_used(s), hole = 0;
    g_autofree uint8_t *taken = g_try_malloc0(n_used + 1);
    int ret = taken ? 0 : -ENOMEM;
    for (uint64_t i = 0; ret == 0 && i < b->count; i++) {
        if (used(b->entries[i]) && b->entries[i] < n_used) {
            taken[b->entries[i]] = 1;
        }
    }
    for (uint64_t i = 0; ret == 0 && i < b->count; i++) {
        if (used(b->entries[i]) && b->entries[i] >= n_used) {
            while (taken[hole]) {
                hole++;
            }
            ret = format_copy(n->file, s->data + b->entries[i] * BLOCK_SIZE,
                              s->data + hole * BLOCK_SIZE, BLOCK_SIZE);
            if (ret == 0) {
                bat_set(b, i, hole++);
            }
        }
    }
    ret = ret < 0 ? ret : bat_flush(b);
    if (ret == 0) {
        s->allocated = (uint32_t)n_used;
        ret = write_header(n);
    }
    uint64_t end = s->data + n_used * BLOCK_SIZE;
    if (ret == 0 && n->file->length > end) {
        ret = node_truncate(n->file, end, NULL);
    }
    return ret == -ENOTSUP ? 0 : ret;
}

static int shrink(BlockNode *n, uint64_t size, uint64_t blocks)
{
    Vdi *s = n->s;
    for (uint64_t i = blocks; i < s->bat.count; i++) {
        if (used(s->bat.entries[i])) {
            bat_set(&s->bat, i, UNALLOCATED);
        }
    }
    int ret = bat_flush(&s->bat);
    ret = ret < 0 ? ret : compact(n);
    return ret < 0 ? ret : lengthen_table(n, size, blocks);
}

/* Bytes behind the disk's end in its last block, which a longer disk shows. */
static int clear_tail(BlockNode *n, uint64_t size)
{
    uint64_t end = MIN(ALIGN_UP(n->length, BLOCK_SIZE), size), host, in = n->length % BLOCK_SIZE;
    if (end == n->length || vdi_kind(n, n->length / BLOCK_SIZE, &host) != BAT_DATA) {
        return 0;
    }
    int ret = node_zero(n->file, host + in, end - n->length, 0);
    return ret < 0 ? ret : node_flush(n->file);
}

static int resize(BlockNode *n, uint64_t size)
{
    Vdi *s = n->s;
    uint64_t blocks = DIV_ROUND_UP(size, BLOCK_SIZE), old = s->bat.count;
    uint64_t room = s->data > s->bat.offset ? (s->data - s->bat.offset) / 4 : old;
    if (blocks > MAX_BLOCKS || s->broken) {
        return s->broken ? -EIO : -EFBIG;
    }
    int ret = vdi_flush(n);
    ret = ret < 0 || size <= n->length ? ret : clear_tail(n, size);
    if (ret == 0 && size < n->length) {
        ret = shrink(n, size, blocks);
    } else if (ret == 0) {
        ret = blocks <= room ? lengthen_table(n, size, blocks) : move_table(n, size, blocks);
        if (ret == 0 && s->type == TYPE_STATIC && blocks > old) {
            ret = fill_static(n, old);
        }
    }
    if (ret == 0) {
        n->length = size;
        s->bat.count = blocks;
    }
    return ret;
}

static int vdi_truncate(BlockNode *n, uint64_t size, BlockPrealloc prealloc, Error **errp)
{
    Vdi *s = n->s;
    if (prealloc != PREALLOC_OFF || size % BLOCK_SECTOR) {
        error_set(errp, "cannot resize '%s': %s", node_filename(n),
                  prealloc != PREALLOC_OFF ? "space cannot be reserved in this format"
                                           : "the size must be a multiple of 512");
        return -ENOTSUP;
    }
    fiber_mutex_lock(&s->lock);
    int ret = resize(n, size);
    fiber_mutex_unlock(&s->lock);
    return format_resized(n, ret, errp);
}

static int vdi_check(BlockNode *n, unsigned fix, const BlockProgress *p, BlockCheck *out,
                     Error **errp)
{
    Vdi *s = n->s;
    FormatPlaces places = {0};
    uint64_t n_used = count_used(s), highest = 0;
    out->total = s->bat.count;
    out->allocated = n_used;
    for (uint64_t i = 0; i < s->bat.count; i++) {
        uint64_t e = s->bat.entries[i];
        if (used(e)) {
            highest = MAX(highest, e + 1);
            format_place_add(&places, "block", i, s->data + e * BLOCK_SIZE, BLOCK_SIZE);
        }
    }
    /* The last block may be missing from the file in part. */
    int ret = format_places_check(&places, n->file->length + BLOCK_SIZE - 1, p, out);
    bool short_count = highest > s->allocated;
    if (ret == 0 && n_used != s->allocated) {
        /* A count that is too high costs space; one that is too low lets new data lie on old. */
        bool repair = fix & (short_count ? BLOCK_FIX_ERRORS : BLOCK_FIX_LEAKS);
        uint64_t lost = short_count ? 1 : s->allocated - MIN(n_used, s->allocated);
        block_progress_message(p, "%s: block count mismatch, is %" PRIu64 ", should be %u",
                               repair        ? "Repairing"
                               : short_count ? "ERROR"
                                             : "Leaked",
                               n_used, s->allocated);
        if (repair && !out->corruptions) {
            ret = compact(n);
            *(short_count ? &out->corruptions_fixed : &out->leaks_fixed) += lost;
        } else {
            *(short_count ? &out->corruptions : &out->leaks) += lost;
        }
    }
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot check '%s'", node_filename(n));
    }
    return ret;
}

static void vdi_info(BlockNode *n, Json *image)
{
    json_put_int(image, "cluster-size", BLOCK_SIZE);
}

static const BlockCreateOption vdi_create_options[] = {
    {"size", "size", "bytes"},
    {"static", "bool", "all blocks are there from the beginning"},
    {"preallocation", "off|metadata", "metadata: the same as static"},
    {NULL},
};

static void put_header(uint8_t *h, uint64_t size, uint32_t blocks, bool is_static, uint32_t data)
{
    strcpy((char *)h, "<<< QEMU VM Virtual Disk Image >>>\n");
    st_le32(h + H_SIGNATURE, SIGNATURE);
    st_le32(h + H_VERSION, VERSION);
    st_le32(h + H_HEADER_SIZE, 0x180);
    st_le32(h + H_TYPE, is_static ? TYPE_STATIC : TYPE_DYNAMIC);
    st_le32(h + H_MAP, 512);
    st_le32(h + H_DATA, data);
    st_le32(h + H_SECTOR_SIZE, 512);
    st_le64(h + H_DISK_SIZE, size);
    st_le32(h + H_BLOCK_SIZE, BLOCK_SIZE);
    st_le32(h + H_BLOCKS, blocks);
    st_le32(h + H_ALLOCATED, is_static ? blocks : 0);
    format_new_uuid(h + H_UUID);
    format_new_uuid(h + H_UUID_SNAPSHOT);
}

static bool vdi_create(BlockGraph *g, BlockNode *file, BlockOpts *o, Error **errp)
{
    bool sized = block_opts_has(o, "size");
    uint64_t size = block_opts_size(o, "size", 0);
    bool is_static = block_opts_bool(o, "static", false);
    int prealloc = block_opts_enum(o, "preallocation", block_prealloc_names, PREALLOC_OFF);
    is_static |= prealloc == PREALLOC_METADATA;
    if (prealloc > PREALLOC_METADATA) {
        block_opts_mistake(o, "'preallocation' can be 'off' or 'metadata'");
    }
    if (!sized) {
        block_opts_mistake(o, "'size' is missing");
    } else if (size > (uint64_t)MAX_BLOCKS * BLOCK_SIZE) {
        block_opts_mistake(o, "'size' is more than a VDI image can have");
    }
    if (!block_opts_finish(o, errp)) {
        return false;
    }
    uint32_t blocks = (uint32_t)DIV_ROUND_UP(size, BLOCK_SIZE);
    uint32_t map = (uint32_t)ALIGN_UP(blocks * 4ull, 512ull), data = 512 + map;
    g_autofree uint8_t *h = g_try_malloc0(data);
    if (h) {
        put_header(h, size, blocks, is_static, data);
    }
    for (uint32_t i = 0; h && i < blocks; i++) {
        st_le32(h + 512 + i * 4, is_static ? i : UNALLOCATED);
    }
    int ret = node_truncate(file, 0, errp);
    if (ret < 0) {
        return false;
    }
    ret = h ? node_pwrite(file, 0, h, data, 0) : -ENOMEM;
    if (ret == 0 && is_static) {
        ret = node_truncate(file, data + (uint64_t)blocks * BLOCK_SIZE, NULL);
    }
    ret = ret < 0 ? ret : node_flush(file);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot create an image in '%s'", node_filename(file));
    }
    return ret == 0;
}

const BlockDriver block_driver_vdi = {
    .name = "vdi",
    .help = "VirtualBox",
    .state_size = sizeof(Vdi),
    .probe = vdi_probe,
    .open = vdi_open,
    .close = vdi_close,
    .preadv = vdi_preadv,
    .pwritev = vdi_pwritev,
    .flush = vdi_flush,
    .map = vdi_map,
    .info = vdi_info,
    .truncate = vdi_truncate,
    .check = vdi_check,
    .create_options = vdi_create_options,
    .create = vdi_create,
};
