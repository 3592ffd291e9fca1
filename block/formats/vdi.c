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
    if (s->allocated >= MAX_BLOCKS || index >= s->bat.count) {
        return -EFBIG;
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
    int ret = 0;
    if (s->header_dirty) {
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
        int ret = vdi_flush(n);
        if (ret < 0) {
            report_error("'%s': cannot write metadata while closing: %s", node_filename(n),
                         g_strerror(-ret));
        }
    }
    bat_free(&s->bat);
}

static int vdi_check(BlockNode *n, unsigned fix, const BlockProgress *p, BlockCheck *out,
                     Error **errp)
{
    Vdi *s = n->s;
    uint64_t used = 0, highest = 0;
    g_autofree uint8_t *seen = g_try_malloc0(s->bat.count / 8 + 1);
    if (!seen) {
        error_set(errp, "not enough memory to check '%s'", node_filename(n));
        return -ENOMEM;
    }
    out->total = s->bat.count;
    for (uint64_t i = 0; i < s->bat.count; i++) {
        uint64_t e = s->bat.entries[i];
        if (e == UNALLOCATED || e == DISCARDED) {
            continue;
        }
        used++;
        highest = MAX(highest, e + 1);
        bool twice = e < s->bat.count && seen[e / 8] & (1u << e % 8);
        if (e >= s->bat.count || twice) {
            out->corruptions++;
            block_progress_message(p, "ERROR: block index %" PRIu64 " %s", i,
                                   twice ? "is also used by another one" : "out of range");
        } else {
            seen[e / 8] |= (uint8_t)(1u << e % 8);
        }
    }
    out->allocated = used;
    out->image_end = s->data + highest * BLOCK_SIZE;
    if (used != s->allocated) {
        out->corruptions++;
        block_progress_message(p, "ERROR: block count mismatch, is %" PRIu64 ", should be %u", used,
                               s->allocated);
    }
    return 0;
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
    g_autofree uint8_t *h = g_malloc0(data);
    put_header(h, size, blocks, is_static, data);
    for (uint32_t i = 0; i < blocks; i++) {
        st_le32(h + 512 + i * 4, is_static ? i : UNALLOCATED);
    }
    int ret = node_truncate(file, 0, errp);
    if (ret < 0) {
        return false;
    }
    ret = node_pwrite(file, 0, h, data, 0);
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
    .check = vdi_check,
    .create_options = vdi_create_options,
    .create = vdi_create,
};
