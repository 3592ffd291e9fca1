/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is done with whole images: the parts that are the same for all drivers. */
#include "block/image.h"

#include "util/option.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

bool block_progress(const BlockProgress *p, uint64_t done, uint64_t total)
{
    return !p || !p->report || p->report(p->opaque, done, total);
}

void block_progress_message(const BlockProgress *p, const char *fmt, ...)
{
    if (!p || !p->message) {
        return;
    }
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    p->message(p->opaque, text);
}

void block_snapshot_free(BlockSnapshot *s)
{
    if (s) {
        g_free(s->id);
        g_free(s->name);
        g_free(s);
    }
}

GPtrArray *block_snapshot_array(void)
{
    return g_ptr_array_new_with_free_func((GDestroyNotify)block_snapshot_free);
}

/* ---- making ---- */

const BlockDriver *image_format_find(BlockGraph *g, const char *format, bool for_create,
                                     Error **errp)
{
    const BlockDriver *drv = block_driver_find(g, format);
    if (drv && (!for_create || drv->create)) {
        return drv;
    }
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (guint i = 0; i < g->drivers->len; i++) {
        const BlockDriver *d = g->drivers->pdata[i];
        if (!for_create || (d->create && !d->protocol)) {
            g_ptr_array_add(names, (gpointer)d->name);
        }
    }
    g_ptr_array_add(names, NULL);
    g_autofree char *all = g_strjoinv(", ", (char **)names->pdata);
    const char *near = nearest_word(format, (const char *const *)names->pdata);
    if (drv) {
        error_set(errp, "the driver '%s' cannot make images", format);
    } else if (near) {
        error_set(errp, "there is no image format '%s'; did you mean '%s'?", format, near);
    } else {
        error_set(errp, "there is no image format '%s'", format);
    }
    error_hint(errp, "%s: %s", for_create ? "formats that can be made" : "known", all);
    return NULL;
}

/* The backing image's size for an image that is given none. */
static bool size_from_backing(BlockGraph *g, const char *filename, Json *o, Error **errp)
{
    const char *backing = json_get_str(o, "backing_file");
    g_autofree char *name = filename_combine(filename, backing);
    BlockOpenFlags f = {.read_only = true, .force_share = true};
    BlockNode *b = node_open_filename(g, name, json_get_str(o, "backing_fmt"), &f, errp);
    if (!b) {
        error_prefix(errp, "the backing file '%s' of '%s': ", backing, filename);
        error_hint(errp, "an image whose backing file is not there yet is made with -u and a size");
        return false;
    }
    if (!json_get(o, "size")) {
        json_put(o, "size", json_uint(b->length));
    }
    if (!json_get(o, "backing_fmt")) {
        json_put_string(o, "backing_fmt", b->drv->name);
    }
    node_unref(b);
    return true;
}

static bool same_file(const char *filename, const char *backing)
{
    struct stat a, b;
    g_autofree char *full = filename_combine(filename, backing);
    return !strcmp(full, filename) || (stat(filename, &a) == 0 && stat(full, &b) == 0 &&
                                       a.st_dev == b.st_dev && a.st_ino == b.st_ino);
}

/* Makes the file itself; *node: it, open for writing. */
static bool create_protocol(BlockGraph *g, Json *where, BlockNode **node, Error **errp)
{
    const char *name = json_get_str(where, "driver");
    const BlockDriver *proto = name ? block_driver_find(g, name) : NULL;
    if (!proto || !proto->protocol) {
        error_set(errp, "images are made in what a protocol names, and '%s' is none",
                  name ? name : "");
        return false;
    }
    if (proto->create) {
        g_autoptr(Json) given = json_copy(where);
        json_remove(given, "driver");
        g_autoptr(BlockOpts) o = block_opts_new(given, proto->name);
        if (!proto->create(g, NULL, o, errp)) {
            return false;
        }
        for (const BlockCreateOption *p = proto->create_options; p && p->name; p++) {
            json_remove(where, p->name); /* opening does not know them */
        }
    }
    BlockOpenFlags f = {.discard_unmap = true};
    *node = node_open(g, where, &f, errp);
    return *node && node_take(*node, g, "image creation", true, false, errp);
}

static void remove_rubbish(const Json *where)
{
    struct stat st;
    const char *path = json_get_str(where, "filename");
    if (path && !g_strcmp0(json_get_str(where, "driver"), "file") && stat(path, &st) == 0 &&
        S_ISREG(st.st_mode)) {
        unlink(path);
    }
}

static bool is_there(const Json *where)
{
    const char *path = json_get_str(where, "filename");
    return !path || access(path, F_OK) == 0;
}

/* What only the protocol knows of the options goes to it; "size" is the format's. */
static void take_protocol_options(BlockGraph *g, const BlockDriver *drv, Json *where, Json *o)
{
    const char *name = json_get_str(where, "driver");
    const BlockDriver *proto = name ? block_driver_find(g, name) : NULL;
    const BlockCreateOption *p = proto && proto->create ? proto->create_options : NULL;
    for (; p && p->name; p++) {
        const BlockCreateOption *own = drv->create_options;
        while (own && own->name && strcmp(own->name, p->name)) {
            own++;
        }
        bool taken = own && own->name && strcmp(p->name, "nocow");
        if (!taken && json_get(o, p->name)) {
            json_put(where, p->name, json_copy(json_get(o, p->name)));
            json_remove(o, p->name);
        }
    }
}

bool image_create(BlockGraph *g, const char *filename, const char *format, const Json *options,
                  bool unsafe, Error **errp)
{
    const BlockDriver *drv = image_format_find(g, format, true, errp);
    g_autoptr(Json) where = drv ? filename_to_options(filename, errp) : NULL;
    if (!where) {
        return false;
    }
    g_autoptr(Json) o = options ? json_copy(options) : json_object();
    const char *backing = json_get_str(o, "backing_file");
    if (backing && !*backing) {
        json_remove(o, "backing_file");
        backing = NULL;
    }
    if (backing && !drv->supports_backing) {
        error_set(errp, "images of format '%s' cannot have a backing file", format);
        return false;
    }
    if (backing && same_file(filename, backing)) {
        error_set(errp, "'%s' cannot be its own backing file", filename);
        return false;
    }
    if (backing && (!unsafe || !json_get(o, "size")) && !size_from_backing(g, filename, o, errp)) {
        return false;
    }
    take_protocol_options(g, drv, where, o);
    bool existed = is_there(where);
    BlockNode *file = NULL;
    bool ok = create_protocol(g, where, &file, errp);
    bool made = ok || file;
    if (ok) {
        g_autoptr(BlockOpts) opts = block_opts_new(o, format);
        ok = drv->create(g, file, opts, errp);
    }
    if (file) {
        node_release(file, g);
        node_unref(file);
    }
    if (!ok && made && !existed) {
        remove_rubbish(where);
    }
    return ok;
}

bool image_measure(BlockGraph *g, const char *format, BlockNode *src, const Json *options,
                   BlockMeasure *out, Error **errp)
{
    const BlockDriver *drv = image_format_find(g, format, true, errp);
    if (drv && !drv->measure) {
        error_set(errp, "the size of images of format '%s' cannot be foretold", format);
        drv = NULL;
    }
    if (!drv) {
        return false;
    }
    g_autoptr(BlockOpts) o = block_opts_new(options, format);
    *out = (BlockMeasure){0};
    return drv->measure(src, o, out, errp);
}

/* ---- what only some drivers can ---- */

static int cannot(const BlockNode *n, Error **errp, const char *what)
{
    error_set(errp, "'%s': the format '%s' %s", node_filename(n), n->drv->name, what);
    return -ENOTSUP;
}

int image_check(BlockNode *n, unsigned fix, const BlockProgress *p, BlockCheck *out, Error **errp)
{
    *out = (BlockCheck){0};
    return n->drv->check ? n->drv->check(n, fix, p, out, errp)
                         : cannot(n, errp, "has nothing that could be checked");
}

int image_amend(BlockNode *n, const Json *options, bool force, const BlockProgress *p, Error **errp)
{
    if (!n->drv->amend) {
        return cannot(n, errp, "has no options that can be changed");
    }
    g_autoptr(BlockOpts) o = block_opts_new(options, n->drv->name);
    return n->drv->amend(n, o, force, p, errp);
}

int image_change_backing(BlockNode *n, const char *file, const char *format, Error **errp)
{
    return n->drv->change_backing ? n->drv->change_backing(n, file, format, errp)
                                  : cannot(n, errp, "has no backing files");
}

int image_make_empty(BlockNode *n, Error **errp)
{
    return n->drv->make_empty ? n->drv->make_empty(n, errp) : cannot(n, errp, "cannot be emptied");
}

/* Filters and raw hand down what they do not have. */
static BlockNode *snapshot_node(BlockNode *n)
{
    while (!n->drv->snapshot_list && n->drv->filter && n->file && n->file->length == n->length) {
        n = n->file;
    }
    return n;
}

/* What lies between the users' node and the one that has the snapshots is as long as that. */
static int same_length(BlockNode *n, BlockNode *below, int ret)
{
    for (; n != below; n = n->file) {
        n->length = below->length;
    }
    return ret;
}

GPtrArray *image_snapshot_list(BlockNode *n)
{
    n = snapshot_node(n);
    GPtrArray *a = n->drv->snapshot_list ? n->drv->snapshot_list(n) : NULL;
    return a ? a : block_snapshot_array();
}

#define NO_SNAPSHOTS "has no snapshots inside images"

bool image_has_snapshots(BlockNode *n)
{
    return snapshot_node(n)->drv->snapshot_create != NULL;
}

int image_snapshot_create(BlockNode *n, const BlockSnapshot *s, Error **errp)
{
    BlockNode *b = snapshot_node(n);
    return b->drv->snapshot_create ? b->drv->snapshot_create(b, s, errp)
                                   : cannot(n, errp, NO_SNAPSHOTS);
}

int image_snapshot_apply(BlockNode *n, const char *which, Error **errp)
{
    BlockNode *b = snapshot_node(n);
    return b->drv->snapshot_apply ? same_length(n, b, b->drv->snapshot_apply(b, which, errp))
                                  : cannot(n, errp, NO_SNAPSHOTS);
}

int image_snapshot_delete(BlockNode *n, const char *which, Error **errp)
{
    BlockNode *b = snapshot_node(n);
    return b->drv->snapshot_delete ? b->drv->snapshot_delete(b, which, errp)
                                   : cannot(n, errp, NO_SNAPSHOTS);
}

int image_snapshot_show(BlockNode *n, const char *which, Error **errp)
{
    BlockNode *b = snapshot_node(n);
    return b->drv->snapshot_show ? same_length(n, b, b->drv->snapshot_show(b, which, errp))
                                 : cannot(n, errp, NO_SNAPSHOTS);
}

int image_vmstate_preadv(BlockNode *n, uint64_t off, const IoVec *v)
{
    return n->drv->vmstate_preadv ? n->drv->vmstate_preadv(n, off, v) : -ENOTSUP;
}

int image_vmstate_pwritev(BlockNode *n, uint64_t off, const IoVec *v)
{
    return n->drv->vmstate_pwritev ? n->drv->vmstate_pwritev(n, off, v) : -ENOTSUP;
}

/* ---- fibers of tools ---- */

typedef struct FiberRun {
    FiberFn *fn;
    void *opaque;
    bool ended;
} FiberRun;

static void fiber_body(void *opaque)
{
    FiberRun *r = opaque;
    r->fn(r->opaque);
    r->ended = true;
}

static void fiber_start(void *opaque)
{
    fiber_enter(fiber_new(fiber_body, opaque));
}

void block_run_fiber(BlockGraph *g, FiberFn *fn, void *opaque)
{
    FiberRun r = {fn, opaque, false};
    loop_defer(g->loop, fiber_start, &r);
    loop_run_until(g->loop, &r.ended);
}
