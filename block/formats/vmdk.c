/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/formats/vmdk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define MAX_DESCRIPTION (1u << 20)
#define MAX_EXTENTS 4096u

static int vmdk_probe(const uint8_t *buf, size_t len)
{
    if (len >= 4 && ld_le32(buf) == VMDK_MAGIC) {
        return 100;
    }
    /* A description alone. */
    g_autofree char *text = g_strndup((const char *)buf, MIN(len, 512));
    return strstr(text, "# Disk DescriptorFile") ? 100 : 0;
}

/* ---- sparse extents ---- */

static bool load_directory(BlockNode *n, VmdkExtent *e, uint64_t at, uint32_t **out, Error **errp)
{
    uint64_t bytes = e->n_tables * 4;
    *out = g_try_malloc0(MAX(bytes, 4));
    int ret = *out ? node_pread(e->file, at, *out, bytes) : -ENOMEM;
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot read a grain directory of '%s'", node_filename(n));
        return false;
    }
    for (uint64_t i = 0; i < e->n_tables; i++) {
        (*out)[i] = BITS_LE32((*out)[i]);
    }
    return true;
}

static bool open_sparse(BlockNode *n, VmdkExtent *e, const uint8_t *first, Error **errp)
{
    uint8_t h[512];
    memcpy(h, first, 512);
    if (ld_le64(h + VMDK_H_GD) == VMDK_GD_AT_END && e->file->length >= 1536) {
        /* Written in one go: what counts is the footer before the end marker. */
        if (node_pread(e->file, e->file->length - 1024, h, 512) < 0 || ld_le32(h) != VMDK_MAGIC) {
            return format_bad_field(n, "VMDK", errp, "gdOffset", "says footer, but there is none");
        }
    }
    uint32_t version = ld_le32(h + VMDK_H_VERSION), flags = ld_le32(h + VMDK_H_FLAGS);
    uint64_t capacity = ld_le64(h + VMDK_H_CAPACITY), grain = ld_le64(h + VMDK_H_GRAIN);
    uint64_t gd = ld_le64(h + VMDK_H_GD), rgd = ld_le64(h + VMDK_H_RGD);
    if (version < 1 || version > 3) {
        return format_bad_field(n, "VMDK", errp, "version", "is %u; 1 to 3 are supported", version);
    }
    if (!IS_POWER_OF_2(grain) || grain < 8 || grain > 65536) {
        return format_bad_field(n, "VMDK", errp, "grainSize", "is %" PRIu64 " sectors", grain);
    }
    if (ld_le32(h + VMDK_H_GTES) != VMDK_GTES) {
        return format_bad_field(n, "VMDK", errp, "numGTEsPerGT", "is %u, not 512",
                                ld_le32(h + VMDK_H_GTES));
    }
    if (capacity > (1ull << 40) || gd == 0 || gd > INT64_MAX / 1024 || rgd > INT64_MAX / 1024) {
        return format_bad_field(n, "VMDK", errp, capacity > (1ull << 40) ? "capacity" : "gdOffset",
                                "is %" PRIu64 " sectors", capacity > (1ull << 40) ? capacity : gd);
    }
    uint16_t method = ld_le16(h + VMDK_H_COMPRESS);
    e->compressed = flags & VMDK_COMPRESSED;
    if (e->compressed && method != 1) {
        return format_bad_field(n, "VMDK", errp, "compressAlgorithm", "is %u, not 1 (deflate)",
                                method);
    }
    e->gd_at = gd * 512;
    e->rgd_at = (flags & VMDK_REDUNDANT) && rgd ? rgd * 512 : 0;
    e->zero_gte = flags & VMDK_ZERO_GTE;
    e->grain = grain * 512;
    e->n_tables = DIV_ROUND_UP(capacity, grain * VMDK_GTES);
    if (e->n_tables * 4 > 32 * MiB) {
        return format_bad_field(n, "VMDK", errp, "capacity", "is %" PRIu64 " sectors", capacity);
    }
    if (e->end == e->start) {
        e->end = e->start + capacity * 512;
    }
    if (e->end - e->start > capacity * 512) {
        return format_bad_field(n, "VMDK", errp, "capacity", "is less than the description says");
    }
    e->tables = g_try_new0(uint32_t *, MAX(e->n_tables, 1));
    e->dirty = g_try_malloc0(MAX(e->n_tables, 1));
    if (!e->tables || !e->dirty) {
        error_set_errno(errp, ENOMEM, "cannot open '%s'", node_filename(n));
        return false;
    }
    e->next = ALIGN_UP(e->file->length, 512ull);
    return load_directory(n, e, gd * 512, &e->gd, errp) &&
           (!e->rgd_at || load_directory(n, e, e->rgd_at, &e->rgd, errp));
}

/* ---- the description ---- */

/* key=value or key="value" of the text; freed by the caller. */
static char *desc_value(const char *text, const char *key)
{
    g_auto(GStrv) lines = g_strsplit_set(text, "\r\n", -1);
    for (char **l = lines; *l; l++) {
        char *eq = strchr(*l, '=');
        if (!eq) {
            continue;
        }
        g_autofree char *name = g_strstrip(g_strndup(*l, (size_t)(eq - *l)));
        if (!strcmp(name, key)) {
            char *v = g_strstrip(g_strdup(eq + 1));
            size_t len = strlen(v);
            if (len >= 2 && v[0] == '"' && v[len - 1] == '"') {
                memmove(v, v + 1, len - 2);
                v[len - 2] = 0;
            }
            return v;
        }
    }
    return NULL;
}

static bool add_extent(BlockNode *n, const char *line, uint64_t *start, Error **errp)
{
    Vmdk *s = n->s;
    char access[12], type[12], name[512] = "";
    int64_t sectors, offset = 0;
    int got = sscanf(line, "%11s %" SCNd64 " %11s \"%511[^\"]\" %" SCNd64, access, &sectors, type,
                     name, &offset);
    if (got < 3 || sectors < 0 || sectors > (1ll << 40) || offset < 0 || offset > (1ll << 40)) {
        return format_bad_field(n, "VMDK", errp, "extent", "cannot be understood: '%s'", line);
    }
    if (strcmp(access, "RW") && strcmp(access, "RDONLY")) {
        return format_bad_field(n, "VMDK", errp, "extent", "has the access '%s'", access);
    }
    VmdkExtent e = {.start = *start, .end = *start + (uint64_t)sectors * 512};
    *start = e.end;
    bool flat = !strcmp(type, "FLAT") || !strcmp(type, "VMFS");
    if (!strcmp(type, "ZERO")) {
        g_array_append_val(s->extents, e);
        return true;
    }
    if ((!flat && strcmp(type, "SPARSE")) || got < 4) {
        return format_bad_field(n, "VMDK", errp, "extent", "has the type '%s'", type);
    }
    BlockOpenFlags f = n->flags;
    f.probed = false;
    f.depth++;
    g_autofree char *path = filename_combine(node_filename(n->file), name);
    g_autoptr(Json) o = json_object();
    json_put_string(o, "driver", "file");
    json_put_string(o, "filename", path);
    e.file = node_open(n->graph, o, &f, errp);
    if (!e.file) {
        error_prefix(errp, "an extent of '%s': ", node_filename(n));
        return false;
    }
    e.flat = flat;
    e.flat_offset = (uint64_t)offset * 512;
    g_array_append_val(s->extents, e);
    VmdkExtent *mine = &g_array_index(s->extents, VmdkExtent, s->extents->len - 1);
    if (!node_take(e.file, n, n->name, !n->flags.read_only, n->flags.force_share, errp)) {
        return false;
    }
    if (flat) {
        return true;
    }
    uint8_t h[512];
    if (node_pread(e.file, 0, h, 512) < 0 || ld_le32(h) != VMDK_MAGIC) {
        return format_bad_field(n, "VMDK", errp, "extent", "'%s' is no sparse extent", name);
    }
    return open_sparse(n, mine, h, errp);
}

static bool open_description(BlockNode *n, const char *text, bool embedded, Error **errp)
{
    Vmdk *s = n->s;
    g_autofree char *cid = desc_value(text, "CID");
    s->create_type = desc_value(text, "createType");
    s->parent = desc_value(text, "parentFileNameHint");
    s->cid = cid ? (uint32_t)g_ascii_strtoull(cid, NULL, 16) : 0;
    if (s->parent) {
        g_autofree char *parent_cid = desc_value(text, "parentCID");
        if (!parent_cid || !g_ascii_strcasecmp(parent_cid, "ffffffff")) {
            g_clear_pointer(&s->parent, g_free);
        }
    }
    if (embedded) {
        return true;
    }
    g_auto(GStrv) lines = g_strsplit_set(text, "\r\n", -1);
    uint64_t start = 0;
    for (char **l = lines; *l; l++) {
        if ((g_str_has_prefix(*l, "RW ") || g_str_has_prefix(*l, "RDONLY ")) &&
            (s->extents->len >= MAX_EXTENTS || !add_extent(n, *l, &start, errp))) {
            return false;
        }
    }
    if (!s->extents->len) {
        return format_bad_field(n, "VMDK", errp, "extent", "is missing in the description");
    }
    n->length = start;
    return true;
}

static bool open_backing(BlockNode *n, Error **errp)
{
    Vmdk *s = n->s;
    if (!s->parent || n->flags.no_backing) {
        return true;
    }
    return format_open_backing(n, s->parent, "vmdk", errp);
}

static bool open_single(BlockNode *n, const uint8_t *h, Error **errp)
{
    Vmdk *s = n->s;
    VmdkExtent e = {.file = n->file};
    uint64_t at = ld_le64(h + VMDK_H_DESC) * 512, len = ld_le64(h + VMDK_H_DESC_SIZE) * 512;
    if (at && len && len <= MAX_DESCRIPTION && at < INT64_MAX / 2) {
        g_autofree char *text = g_malloc0(len + 1);
        if (node_pread(n->file, at, text, len) < 0 || !open_description(n, text, true, errp)) {
            return false;
        }
    }
    g_array_append_val(s->extents, e);
    VmdkExtent *mine = &g_array_index(s->extents, VmdkExtent, 0);
    if (!open_sparse(n, mine, h, errp)) {
        return false;
    }
    n->length = mine->end;
    n->limits.opt_io = (uint32_t)mine->grain;
    n->limits.compressed_only = mine->compressed;
    return true;
}

static bool vmdk_open(BlockNode *n, BlockOpts *o, Error **errp)
{
    Vmdk *s = n->s;
    uint8_t h[512];
    s->extents = g_array_new(FALSE, FALSE, sizeof(VmdkExtent));
    fiber_mutex_init(&s->lock);
    if (!block_opts_finish(o, errp)) {
        return false;
    }
    int ret = node_pread(n->file, 0, h, sizeof(h));
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot read the header of '%s'", node_filename(n));
        return false;
    }
    bool ok;
    if (ld_le32(h) == VMDK_MAGIC) {
        ok = open_single(n, h, errp);
    } else {
        size_t len = (size_t)MIN(n->file->length, (uint64_t)MAX_DESCRIPTION);
        g_autofree char *text = g_malloc0(len + 1);
        if (node_pread(n->file, 0, text, len) < 0 || !strstr(text, "createType")) {
            return format_bad_field(n, "VMDK", errp, "description", "has no createType");
        }
        ok = open_description(n, text, false, errp);
    }
    return ok && open_backing(n, errp);
}

static void vmdk_close(BlockNode *n)
{
    Vmdk *s = n->s;
    if (!s->extents) {
        return;
    }
    format_closing(n, n->flags.read_only ? 0 : vmdk_flush(n));
    for (guint i = 0; i < s->extents->len; i++) {
        VmdkExtent *e = &g_array_index(s->extents, VmdkExtent, i);
        for (uint64_t k = 0; e->tables && k < e->n_tables; k++) {
            g_free(e->tables[k]);
        }
        g_free(e->tables);
        g_free(e->dirty);
        g_free(e->gd);
        g_free(e->rgd);
        if (e->file && e->file != n->file) {
            node_release(e->file, n);
            node_unref(e->file);
        }
    }
    g_array_free(s->extents, TRUE);
    fiber_mutex_destroy(&s->lock);
    g_free(s->unpacked);
    g_free(s->create_type);
    g_free(s->parent);
}

static BlockNode **vmdk_child(BlockNode *n, unsigned i, const char **role)
{
    Vmdk *s = n->s;
    for (guint k = 0; s && s->extents && k < s->extents->len; k++) {
        VmdkExtent *e = &g_array_index(s->extents, VmdkExtent, k);
        if (e->file && e->file != n->file && i-- == 0) {
            *role = "extent";
            return &e->file;
        }
    }
    return NULL;
}

static void vmdk_info(BlockNode *n, Json *image)
{
    Vmdk *s = n->s;
    Json *data = json_object(), *specific = json_object();
    if (n->limits.opt_io) {
        json_put_int(image, "cluster-size", n->limits.opt_io);
    }
    json_put_int(data, "cid", s->cid);
    json_put_string(data, "create-type", s->create_type ? s->create_type : "");
    json_put_string(specific, "type", "vmdk");
    json_put(specific, "data", data);
    json_put(image, "format-specific", specific);
    if (s->parent) {
        json_put_string(image, "backing-filename", s->parent);
    }
}

const BlockDriver block_driver_vmdk = {
    .name = "vmdk",
    .help = "VMware",
    .state_size = sizeof(Vmdk),
    .probe = vmdk_probe,
    .open = vmdk_open,
    .close = vmdk_close,
    .preadv = vmdk_preadv,
    .pwritev = vmdk_pwritev,
    .flush = vmdk_flush,
    .map = vmdk_map,
    .truncate = vmdk_truncate,
    .check = vmdk_check,
    .child = vmdk_child,
    .info = vmdk_info,
    .supports_backing = true,
    .supports_compressed = true,
    .create_options = vmdk_create_options,
    .create = vmdk_create,
};
