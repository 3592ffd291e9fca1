/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -drive: translated into nodes and a backend. */
#include "block/backend.h"
#include "block/ops.h"
#include "block/qcow2/qcow2.h"
#include "block/throttle.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static const char *const if_names[] = {"default", "none", "ide", "scsi",   "floppy",
                                       "pflash",  "mtd",  "sd",  "virtio", NULL};
/* Units of one bus of each interface; 0: there is only one bus. */
static const int if_units[] = {0, 0, 2, 7, 0, 0, 0, 0, 0};

/* Keys that are taken here; all others belong to the format node. */
static const char *const drive_keys[] = {
    "file", "format",   "if",       "index",  "bus",    "unit",   "id",     "media",      "cache",
    "aio",  "snapshot", "readonly", "rerror", "werror", "serial", "driver", "throttling", NULL,
};
/* Keys of nodes: for "did you mean". */
static const char *const node_keys[] = {
    "node-name",
    "discard",
    "read-only",
    "auto-read-only",
    "force-share",
    "backing",
    "detect-zeroes",
    "offset",
    "size",
    "filename",
    "locking",
    "lazy-refcounts",
    "pass-discard-request",
    "pass-discard-snapshot",
    "pass-discard-other",
    "cache-size",
    "l2-cache-size",
    "l2-cache-entry-size",
    "refcount-cache-size",
    "cache-clean-interval",
    "overlap-check",
    "read-zeroes",
    "copy-on-read",
    NULL,
};

typedef struct DriveOpts {
    const char *format, *aio, *serial, *id;
    Json *file;
    int interface, index, bus, unit;
    bool cdrom, snapshot, writeback;
    int rerror, werror;
    ThrottleConfig throttle;
    const char *throttle_group;
    bool copy_on_read;
    BlockOpenFlags flags;
    Json *rest;  /* options of the format node; owned */
    Json *below; /* "file.KEY" beside a file name; owned */
} DriveOpts;

static void drive_opts_clear(DriveOpts *d)
{
    json_unref(d->rest);
    json_unref(d->below);
}

/* ---- taking the options apart ---- */

static void take_cache_word(DriveOpts *d, BlockOpts *o, const char *word)
{
    static const char *const modes[] = {"none", "writeback", "writethrough", "unsafe", "directsync",
                                        "off",  NULL};
    for (int i = 0; modes[i]; i++) {
        if (strcmp(modes[i], word)) {
            continue;
        }
        d->flags.direct = i == 0 || i == 4 || i == 5;
        d->flags.no_flush = i == 3;
        d->writeback = i != 2 && i != 4;
        return;
    }
    const char *near = nearest_word(word, modes);
    block_opts_mistake(o,
                       "'cache' cannot be '%s'%s%s%s (possible: none, writeback, writethrough, "
                       "unsafe, directsync)",
                       word, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static void take_cache(DriveOpts *d, BlockOpts *o)
{
    Json *cache = block_opts_take(o, "cache");
    d->writeback = true;
    if (!cache) {
        return;
    }
    if (json_get_string(cache)) {
        take_cache_word(d, o, json_get_string(cache));
        return;
    }
    if (json_type(cache) != JSON_OBJECT) {
        block_opts_mistake(o, "'cache' must be a word or have members");
        return;
    }
    g_autoptr(BlockOpts) c = block_opts_new(cache, "cache");
    Error *err = NULL;
    d->writeback = block_opts_bool(c, "writeback", true);
    d->flags.direct = block_opts_bool(c, "direct", false);
    d->flags.no_flush = block_opts_bool(c, "no-flush", false);
    if (!block_opts_finish(c, &err)) {
        block_opts_mistake(o, "%s", error_message(err));
        error_free(err);
    }
}

static int take_number(BlockOpts *o, const char *key)
{
    return block_opts_has(o, key) ? (int)block_opts_uint(o, key, 0, 0, 255) : -1;
}

static void take_place(DriveOpts *d, BlockOpts *o, DriveIf default_if)
{
    static const char *const media[] = {"disk", "cdrom", NULL};
    d->interface = block_opts_enum(o, "if", if_names, DRIVE_IF_DEFAULT);
    if (d->interface == DRIVE_IF_DEFAULT) {
        d->interface = default_if;
    }
    d->index = take_number(o, "index");
    d->bus = take_number(o, "bus");
    d->unit = take_number(o, "unit");
    d->cdrom = block_opts_enum(o, "media", media, 0) == 1;
    if (d->index >= 0 && (d->bus >= 0 || d->unit >= 0)) {
        block_opts_mistake(o, "'index' cannot be used together with 'bus' and 'unit'");
    }
    int max = if_units[d->interface];
    if (max && d->unit >= max) {
        block_opts_mistake(o, "'unit' is %d, but a bus of interface '%s' has units 0 to %d",
                           d->unit, if_names[d->interface], max - 1);
    }
    if (d->cdrom && (d->interface == DRIVE_IF_VIRTIO || d->interface == DRIVE_IF_FLOPPY)) {
        block_opts_mistake(o, "media=cdrom does not go with if=%s", if_names[d->interface]);
    }
}

/* Everything else goes on to the format node; here only spelling is looked at. */
static void take_rest(DriveOpts *d, BlockOpts *o, const Json *options)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new();
    for (size_t i = 0; drive_keys[i]; i++) {
        g_ptr_array_add(all, (gpointer)drive_keys[i]);
    }
    for (size_t i = 0; throttle_old_names[i]; i++) {
        g_ptr_array_add(all, (gpointer)throttle_old_names[i]);
    }
    for (size_t i = 0; node_keys[i]; i++) {
        g_ptr_array_add(all, (gpointer)node_keys[i]);
    }
    g_ptr_array_add(all, NULL);
    const char *const *names = (const char *const *)all->pdata;
    d->rest = json_object();
    d->below = json_object();
    for (size_t i = 0; i < json_length(options); i++) {
        const char *key = json_key_at(options, i);
        if (g_str_has_prefix(key, "file.")) {
            block_opts_take(o, key);
            json_put(d->below, key + 5, json_ref(json_value_at(options, i)));
        } else if (g_strv_contains(node_keys, key)) {
            block_opts_take(o, key);
            json_put(d->rest, key, json_ref(json_value_at(options, i)));
        } else if (!g_strv_contains(names, key)) {
            const char *near = nearest_word(key, names);
            block_opts_take(o, key);
            if (near) {
                block_opts_mistake(o, "there is no option '%s'; did you mean '%s'?", key, near);
            } else {
                block_opts_mistake(o, "there is no option '%s'", key);
            }
        }
    }
    if (json_get(d->rest, "copy-on-read")) {
        d->copy_on_read = block_opts_bool(o, "copy-on-read", false);
        json_remove(d->rest, "copy-on-read");
    }
}

/* throttling.iops-total=…, and the older names of the same: iops=, bps_rd_max=. */
static void take_throttle(DriveOpts *d, BlockOpts *o)
{
    throttle_config_init(&d->throttle);
    d->throttle_group = NULL;
    Json *t = block_opts_take(o, "throttling");
    Error *err = NULL;
    if (t && json_type(t) != JSON_OBJECT) {
        block_opts_mistake(o, "'throttling' has members, such as throttling.iops-total");
    } else if (t) {
        g_autoptr(BlockOpts) to = block_opts_new(t, "throttling");
        throttle_config_take(&d->throttle, to, "");
        d->throttle_group = block_opts_string(to, "group", NULL);
        if (!block_opts_finish(to, &err)) {
            block_opts_mistake(o, "%s", error_message(err));
            error_free(err);
            err = NULL;
        }
    }
    throttle_config_take_old(&d->throttle, o);
    if (!throttle_config_check(&d->throttle, &err)) {
        block_opts_mistake(o, "%s", error_message(err));
        error_free(err);
    }
}

static bool take_all(DriveOpts *d, const Json *options, DriveIf default_if, Error **errp)
{
    g_autoptr(BlockOpts) o = block_opts_new(options, "-drive");
    take_place(d, o, default_if);
    take_cache(d, o);
    take_throttle(d, o);
    take_rest(d, o, options);
    d->file = block_opts_take(o, "file");
    const char *driver = block_opts_string(o, "driver", NULL);
    d->format = block_opts_string(o, "format", driver);
    if (driver && strcmp(driver, d->format)) {
        block_opts_mistake(o, "'format' and 'driver' are the same and cannot differ");
    }
    d->id = block_opts_string(o, "id", NULL);
    d->serial = block_opts_string(o, "serial", NULL);
    d->aio = block_opts_string(o, "aio", NULL);
    d->snapshot = block_opts_bool(o, "snapshot", false);
    bool ro = block_opts_bool(o, "readonly", d->cdrom);
    d->flags.read_only = block_opts_bool(o, "read-only", ro);
    json_remove(d->rest, "read-only");
    d->rerror = block_opts_enum(o, "rerror", blk_on_error_names, BLK_ON_ERROR_AUTO);
    d->werror = block_opts_enum(o, "werror", blk_on_error_names, BLK_ON_ERROR_AUTO);
    if (d->rerror == BLK_ON_ERROR_ENOSPC) {
        block_opts_mistake(o, "'rerror' cannot be 'enospc': report, ignore or stop");
    }
    bool nothing = !d->file && !d->format;
    if (nothing && (json_length(d->rest) || d->snapshot)) {
        block_opts_mistake(o, "'file' is missing");
    } else if (nothing && !d->cdrom && d->interface != DRIVE_IF_FLOPPY &&
               d->interface != DRIVE_IF_NONE) {
        block_opts_mistake(o, "'file' is missing: only CD-ROM and floppy drives can be empty");
    }
    return block_opts_finish(o, errp);
}

/* ---- opening ---- */

static void merge(Json *into, const Json *from)
{
    for (size_t i = 0; i < json_length(from); i++) {
        json_put(into, json_key_at(from, i), json_ref(json_value_at(from, i)));
    }
}

/* The protocol node's options, whichever way the file was given. */
static Json *file_options(const DriveOpts *d, Error **errp)
{
    Json *o = NULL;
    const char *name = d->file ? json_get_string(d->file) : NULL;
    if (name) {
        o = filename_to_options(name, errp);
    } else if (d->file && json_type(d->file) == JSON_OBJECT) {
        o = json_copy(d->file);
        if (!json_get(o, "driver")) {
            json_put_string(o, "driver", "file");
        }
    } else {
        error_set(errp, "-drive: 'file' is missing");
    }
    if (!o) {
        return NULL;
    }
    merge(o, d->below);
    if (d->aio && !json_get(o, "aio") && json_get(o, "filename")) {
        json_put_string(o, "aio", d->aio);
    }
    return o;
}

static BlockNode *open_image(BlockGraph *g, const DriveOpts *d, const BlockOpenFlags *flags,
                             Error **errp)
{
    const BlockDriver *drv = d->format ? block_driver_find(g, d->format) : NULL;
    if (drv && drv->protocol) {
        g_autoptr(Json) o = drv->no_file ? json_object() : file_options(d, errp);
        if (!o) {
            return NULL;
        }
        merge(o, d->rest);
        json_put_string(o, "driver", drv->name);
        return node_open(g, o, flags, errp);
    }
    g_autoptr(Json) file = file_options(d, errp);
    if (!file) {
        return NULL;
    }
    const char *file_driver = json_get_str(file, "driver");
    const BlockDriver *fd = file_driver ? block_driver_find(g, file_driver) : NULL;
    if (!d->format && fd && !fd->protocol) {
        merge(file, d->rest); /* json: with a format */
        return node_open(g, file, flags, errp);
    }
    return node_open_format(g, file, d->format, d->rest, flags, errp);
}

/* A new, already unlinked file for writes that are to be forgotten. */
static int temporary_file(char **path, Error **errp)
{
    const char *dir = g_getenv("TMPDIR");
    *path = g_strdup_printf("%s/rhea-snapshot-XXXXXX", dir && *dir ? dir : "/var/tmp");
    int fd = mkostemp(*path, O_CLOEXEC);
    if (fd < 0) {
        error_set_errno(errp, errno, "cannot make a temporary file '%s' for snapshot=on", *path);
        error_hint(errp, "TMPDIR names the folder for it");
    }
    return fd;
}

static BlockNode *add_overlay(BlockGraph *g, BlockNode *base, Error **errp)
{
    g_autofree char *path = NULL;
    int fd = temporary_file(&path, errp);
    if (fd < 0) {
        return NULL;
    }
    Json *file = json_object();
    json_put_string(file, "driver", "file");
    json_put_string(file, "filename", path);
    json_put_string(file, "locking", "off");
    g_autoptr(Json) o = json_object();
    json_put_string(o, "driver", "qcow2");
    json_put(o, "file", file);
    json_put_string(o, "backing", base->name);
    Qcow2CreateOptions c = {.size = base->length, .version = 3};
    BlockOpenFlags f = {.no_flush = true, .discard_unmap = true};
    BlockNode *n = NULL;
    BlockNode *proto = node_open(g, file, &f, errp);
    if (proto && qcow2_create(proto, &c, errp)) {
        node_unref(proto);
        proto = NULL;
        n = node_open(g, o, &f, errp);
    }
    node_unref(proto);
    unlink(path);
    close(fd);
    return n;
}

static BlockNode *open_drive(BlockGraph *g, const DriveOpts *d, Error **errp)
{
    if (!d->snapshot) {
        return open_image(g, d, &d->flags, errp);
    }
    BlockOpenFlags f = d->flags;
    f.read_only = true;
    BlockNode *base = open_image(g, d, &f, errp);
    if (!base) {
        return NULL;
    }
    BlockNode *n = add_overlay(g, base, errp);
    node_unref(base); /* the overlay has its own reference */
    return n;
}

/* copy-on-read=on: the filter goes on top. */
static bool add_cor(BlockGraph *g, BlockNode **n, Error **errp)
{
    if ((*n)->flags.read_only) {
        error_set(errp, "copy-on-read=on needs a drive that can be written");
        return false;
    }
    g_autoptr(Json) o = json_object();
    json_put_string(o, "driver", "copy-on-read");
    json_put_string(o, "file", (*n)->name);
    BlockNode *filter = node_open(g, o, &(*n)->flags, errp);
    if (filter) {
        filter->implicit = true;
        node_unref(*n); /* the filter has its own reference */
        *n = filter;
    }
    return filter != NULL;
}

/* ---- placing ---- */

static DriveInfo *find_drive(BlockGraph *g, int interface, int bus, int unit)
{
    for (guint i = 0; i < g->drives->len; i++) {
        DriveInfo *d = g->drives->pdata[i];
        if ((int)d->interface == interface && d->placed_bus == bus && d->placed_unit == unit) {
            return d;
        }
    }
    return NULL;
}

static bool place(BlockGraph *g, DriveOpts *d, Error **errp)
{
    int max = if_units[d->interface];
    if (d->index >= 0) {
        d->bus = max ? d->index / max : 0;
        d->unit = max ? d->index % max : d->index;
    }
    d->bus = MAX(d->bus, 0);
    if (d->unit < 0) {
        d->unit = 0;
        while (find_drive(g, d->interface, d->bus, d->unit)) {
            if (++d->unit >= max && max) {
                d->unit = 0;
                d->bus++;
            }
        }
    } else if (d->interface != DRIVE_IF_NONE && find_drive(g, d->interface, d->bus, d->unit)) {
        error_set(errp, "-drive: there is already a drive at if=%s, bus %d, unit %d",
                  if_names[d->interface], d->bus, d->unit);
        return false;
    }
    return true;
}

/* QEMU's names: ide0-hd0, ide1-cd0, floppy0, virtio0, none0. */
static char *default_id(const DriveOpts *d)
{
    const char *media = "";
    if (d->interface == DRIVE_IF_IDE || d->interface == DRIVE_IF_SCSI) {
        media = d->cdrom ? "-cd" : "-hd";
    }
    if (if_units[d->interface]) {
        return g_strdup_printf("%s%d%s%d", if_names[d->interface], d->bus, media, d->unit);
    }
    return g_strdup_printf("%s%s%d", if_names[d->interface], media, d->unit);
}

DriveInfo *drive_new(BlockGraph *g, Json *options, DriveIf default_if, Error **errp)
{
    DriveOpts d = {0}, given;
    BlockNode *n = NULL;
    BlockBackend *blk = NULL;
    g_autofree char *id = NULL;
    bool ok = take_all(&d, options, default_if, errp);
    given = d;
    if (!ok || !place(g, &d, errp)) {
        goto out;
    }
    id = d.id ? g_strdup(d.id) : default_id(&d);
    if (d.file || d.format) {
        n = open_drive(g, &d, errp);
        if (!n || (d.copy_on_read && !add_cor(g, &n, errp))) {
            goto out;
        }
    }
    blk = blk_new(g, id, errp);
    if (!blk) {
        goto out;
    }
    if (n) {
        blk_insert_node(blk, n);
    }
    blk_set_write_cache(blk, d.writeback);
    blk_set_on_error(blk, (BlkOnError)d.rerror, (BlkOnError)d.werror);
    blk_set_throttle(blk, &d.throttle, d.throttle_group);
out:
    node_unref(n);
    DriveInfo *info = NULL;
    if (blk) {
        info = g_new0(DriveInfo, 1);
        info->id = g_strdup(id);
        info->interface = (DriveIf)d.interface;
        info->bus = given.bus;
        info->unit = given.unit;
        info->index = given.index;
        info->placed_bus = d.bus;
        info->placed_unit = d.unit;
        info->cdrom = d.cdrom;
        info->serial = g_strdup(d.serial);
        info->blk = blk;
        g_ptr_array_add(g->drives, info);
    }
    drive_opts_clear(&d);
    return info;
}
