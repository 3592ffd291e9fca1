/* SPDX-License-Identifier: GPL-2.0-or-later */
/* New VMDK images: the description and its extents. */
#include "block/formats/vmdk.h"

#include <errno.h>
#include <inttypes.h>

#define GRAIN_SECTORS 128u
#define DESC_SECTORS 20u
#define TWO_GB 0x80000000ull

static const char *const subformats[] = {"monolithicSparse",     "monolithicFlat",
                                         "twoGbMaxExtentSparse", "twoGbMaxExtentFlat",
                                         "streamOptimized",      NULL};
enum { MONO_SPARSE, MONO_FLAT, TWO_SPARSE, TWO_FLAT, STREAM };

const BlockCreateOption vmdk_create_options[] = {
    {"size", "size", "bytes"},
    {"subformat",
     "monolithicSparse|monolithicFlat|twoGbMaxExtentSparse|twoGbMaxExtentFlat|streamOptimized",
     "how the image is stored"},
    {"adapter_type", "ide|buslogic|lsilogic|legacyESX", "disk controller it is for"},
    {"hwversion", "str", "version of the virtual hardware (default: 4)"},
    {"backing_file", "str", "file name of the backing image"},
    {"backing_fmt", "str", "its format: vmdk"},
    {NULL},
};

typedef struct VmdkPlan {
    BlockGraph *g;
    uint64_t size;
    int subformat;
    const char *adapter, *hwversion, *backing;
    uint32_t cid, parent_cid;
    char *stem; /* the file's name without its ending and folder */
    char *path; /* of the description */
} VmdkPlan;

/* A directory: where its tables are, one after the other from `first`. */
static int write_directory(BlockNode *file, uint64_t at, uint64_t first, uint64_t tables)
{
    uint64_t gt_sectors = VMDK_GTES * 4 / 512;
    size_t len = ALIGN_UP(tables * 4, 512);
    g_autofree uint8_t *b = g_try_malloc0(MAX(len, 1));
    if (!b) {
        return -ENOMEM;
    }
    for (uint64_t i = 0; i < tables; i++) {
        st_le32(b + i * 4, (uint32_t)(first + i * gt_sectors));
    }
    int ret = node_pwrite(file, at * 512, b, len, 0);
    /* The tables themselves are empty. */
    return ret < 0 ? ret : node_zero(file, first * 512, tables * gt_sectors * 512, BLK_MAY_UNMAP);
}

/* Header, directories, and tables that are all empty. */
static int write_sparse(BlockNode *file, uint64_t size, bool compressed, const char *desc)
{
    uint64_t grains = DIV_ROUND_UP(size, GRAIN_SECTORS * 512ull);
    uint64_t tables = DIV_ROUND_UP(grains, VMDK_GTES), gt_sectors = VMDK_GTES * 4 / 512;
    uint64_t gd_sectors = DIV_ROUND_UP(tables * 4, 512);
    uint64_t rgd = 1 + DESC_SECTORS, rgt = rgd + gd_sectors;
    uint64_t gd = rgt + tables * gt_sectors, gt = gd + gd_sectors;
    uint64_t overhead = ALIGN_UP(gt + tables * gt_sectors, (uint64_t)GRAIN_SECTORS);
    uint8_t b[(1 + DESC_SECTORS) * 512] = {0};
    if (desc && strlen(desc) > DESC_SECTORS * 512) {
        return -ENAMETOOLONG;
    }
    if (gt + tables * gt_sectors > UINT32_MAX) {
        return -EFBIG;
    }
    st_le32(b, VMDK_MAGIC);
    st_le32(b + VMDK_H_VERSION, compressed ? 3 : 1);
    st_le32(b + VMDK_H_FLAGS,
            (uint32_t)(1 | VMDK_REDUNDANT | (compressed ? VMDK_COMPRESSED | VMDK_MARKERS : 0)));
    st_le64(b + VMDK_H_CAPACITY, ALIGN_UP(size / 512, (uint64_t)1));
    st_le64(b + VMDK_H_GRAIN, GRAIN_SECTORS);
    st_le64(b + VMDK_H_DESC, desc ? 1 : 0);
    st_le64(b + VMDK_H_DESC_SIZE, desc ? DESC_SECTORS : 0);
    st_le32(b + VMDK_H_GTES, VMDK_GTES);
    st_le64(b + VMDK_H_RGD, rgd);
    st_le64(b + VMDK_H_GD, gd);
    st_le64(b + VMDK_H_OVERHEAD, overhead);
    memcpy(b + VMDK_H_CHECK, "\n \r\n", 4);
    st_le16(b + VMDK_H_COMPRESS, compressed ? 1 : 0);
    if (desc) {
        memcpy(b + 512, desc, strlen(desc));
    }
    int ret = node_truncate(file, overhead * 512, NULL);
    ret = ret < 0 ? ret : write_directory(file, rgd, rgt, tables);
    ret = ret < 0 ? ret : write_directory(file, gd, gt, tables);
    return ret < 0 ? ret : node_pwrite(file, 0, b, sizeof(b), 0);
}

/* One extent's file beside the description. */
typedef struct Extent {
    BlockGraph *g;
    char *path;
    uint64_t size;
    bool flat;
    BlockNode *file; /* of a sparse one */
    Error **errp;
} Extent;

static int open_extent(void *opaque)
{
    Extent *e = opaque;
    g_autoptr(Json) o = json_object();
    json_put(o, "size", json_uint(e->size));
    if (!image_create(e->g, e->path, "raw", o, false, e->errp)) {
        return -EIO;
    }
    if (e->flat) {
        return 0;
    }
    BlockOpenFlags f = {0};
    g_autoptr(Json) where = json_object();
    json_put_string(where, "driver", "file");
    json_put_string(where, "filename", e->path);
    e->file = node_open(e->g, where, &f, e->errp);
    if (!e->file) {
        return -EIO;
    }
    node_set_loop(e->file, e->g->control ? e->g->control : e->g->loop);
    return 0;
}

static int close_extent(void *opaque)
{
    Extent *e = opaque;
    node_unref(e->file);
    return 0;
}

static bool make_extent(const VmdkPlan *p, const char *name, uint64_t size, bool flat, Error **errp)
{
    g_autofree char *path = filename_combine(p->path, name);
    Extent e = {.g = p->g, .path = path, .size = flat ? size : 0, .flat = flat, .errp = errp};
    int ret = block_run_outside(p->g, open_extent, &e);
    if (ret == 0 && e.file) {
        ret = write_sparse(e.file, size, false, NULL);
        if (ret < 0) {
            error_set_errno(errp, -ret, "cannot write '%s'", path);
        }
    }
    block_run_outside(p->g, close_extent, &e);
    return ret == 0;
}

/* The lines of the extents, which are made on the way. */
static bool make_extents(const VmdkPlan *p, GString *lines, Error **errp)
{
    bool flat = p->subformat == MONO_FLAT || p->subformat == TWO_FLAT;
    bool split = p->subformat == TWO_FLAT || p->subformat == TWO_SPARSE;
    if (p->subformat == MONO_SPARSE || p->subformat == STREAM) {
        g_autofree char *base = g_path_get_basename(p->path);
        g_string_append_printf(lines, "RW %" PRIu64 " SPARSE \"%s\"\n", p->size / 512, base);
        return true;
    }
    uint64_t left = p->size;
    for (unsigned i = 1; left || i == 1; i++) {
        uint64_t now = split ? MIN(left, TWO_GB) : left;
        g_autofree char *name =
            split ? g_strdup_printf("%s-%c%03u.vmdk", p->stem, flat ? 'f' : 's', i)
                  : g_strdup_printf("%s-flat.vmdk", p->stem);
        if (!make_extent(p, name, now, flat, errp)) {
            return false;
        }
        g_string_append_printf(lines, "RW %" PRIu64 " %s \"%s\"%s\n", now / 512,
                               flat ? "FLAT" : "SPARSE", name, flat ? " 0" : "");
        left -= now;
    }
    return true;
}

static char *describe(const VmdkPlan *p, const char *extents)
{
    bool ide = !strcmp(p->adapter, "ide");
    uint64_t heads = ide ? 16 : 255;
    g_autofree char *parent =
        p->backing ? g_strdup_printf("parentFileNameHint=\"%s\"\n", p->backing) : g_strdup("");
    return g_strdup_printf("# Disk DescriptorFile\n"
                           "version=1\n"
                           "CID=%08x\n"
                           "parentCID=%08x\n"
                           "createType=\"%s\"\n"
                           "%s"
                           "\n"
                           "# Extent description\n"
                           "%s"
                           "\n"
                           "# The Disk Data Base\n"
                           "#DDB\n"
                           "\n"
                           "ddb.virtualHWVersion = \"%s\"\n"
                           "ddb.geometry.cylinders = \"%" PRIu64 "\"\n"
                           "ddb.geometry.heads = \"%" PRIu64 "\"\n"
                           "ddb.geometry.sectors = \"63\"\n"
                           "ddb.adapterType = \"%s\"\n",
                           p->cid, p->parent_cid, subformats[p->subformat], parent, extents,
                           p->hwversion, p->size / (63 * heads * 512), heads, p->adapter);
}

typedef struct Parent {
    VmdkPlan *p;
    char *name;
    Error **errp;
} Parent;

static int look_at_parent(void *opaque)
{
    Parent *w = opaque;
    BlockOpenFlags f = {.read_only = true, .force_share = true, .no_backing = true};
    BlockNode *b = node_open_filename(w->p->g, w->name, "vmdk", &f, w->errp);
    if (b) {
        w->p->parent_cid = ((Vmdk *)b->s)->cid;
        node_unref(b);
    }
    return b ? 0 : -EIO;
}

static bool read_parent(VmdkPlan *p, Error **errp)
{
    p->parent_cid = UINT32_MAX;
    if (!p->backing) {
        return true;
    }
    g_autofree char *name = filename_combine(p->path, p->backing);
    Parent w = {p, name, errp};
    return block_run_outside(p->g, look_at_parent, &w) == 0;
}

static bool take_plan(BlockOpts *o, VmdkPlan *p, Error **errp)
{
    static const char *const adapters[] = {"ide", "buslogic", "lsilogic", "legacyESX", NULL};
    bool sized = block_opts_has(o, "size");
    p->size = ALIGN_UP(block_opts_size(o, "size", 0), 512ull);
    p->subformat = block_opts_enum(o, "subformat", subformats, MONO_SPARSE);
    p->adapter = adapters[block_opts_enum(o, "adapter_type", adapters, 0)];
    p->hwversion = block_opts_string(o, "hwversion", "4");
    p->backing = block_opts_string(o, "backing_file", NULL);
    const char *format = block_opts_string(o, "backing_fmt", NULL);
    if (!sized) {
        block_opts_mistake(o, "'size' is missing");
    } else if (p->size > (1ull << 46)) {
        block_opts_mistake(o, "'size' is more than 64 TiB");
    }
    if (format && strcmp(format, "vmdk")) {
        block_opts_mistake(o, "'backing_fmt' must be 'vmdk'");
    }
    if (p->backing && (p->subformat == MONO_FLAT || p->subformat == TWO_FLAT)) {
        block_opts_mistake(o, "flat images cannot have a backing file");
    }
    return block_opts_finish(o, errp);
}

bool vmdk_create(BlockGraph *g, BlockNode *file, BlockOpts *o, Error **errp)
{
    VmdkPlan p = {.g = g, .cid = g_random_int()};
    if (!take_plan(o, &p, errp)) {
        return false;
    }
    p.path = (char *)node_filename(file);
    g_autofree char *base = g_path_get_basename(p.path);
    g_autoptr(GString) extents = g_string_new(NULL);
    if (g_str_has_suffix(base, ".vmdk")) {
        base[strlen(base) - 5] = 0;
    }
    p.stem = base;
    if (!read_parent(&p, errp) || !make_extents(&p, extents, errp)) {
        return false;
    }
    g_autofree char *desc = describe(&p, extents->str);
    int ret = node_truncate(file, 0, errp);
    if (ret < 0) {
        return false;
    }
    ret = p.subformat == MONO_SPARSE || p.subformat == STREAM
              ? write_sparse(file, p.size, p.subformat == STREAM, desc)
              : node_pwrite(file, 0, desc, strlen(desc), 0);
    ret = ret < 0 ? ret : node_flush(file);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot create an image in '%s'", node_filename(file));
    }
    return ret == 0;
}
