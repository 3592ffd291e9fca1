/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rhea-img create, resize, amend, measure. */
#include "tools/img.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* ---- create ---- */

static const ToolOption create_options[] = {
    IMG_OPT_HELP,
    {"format", 'f', 0, "FMT", "format of the new image (default: raw)"},
    {"options", 'o', 0, "FMT_OPTS", "options of the format; 'help' lists them"},
    {"backing", 'b', 0, "BACKING_FILE", "file name of the backing image"},
    {"backing-format", 'B', 'F', "BACKING_FMT", "its format"},
    {"backing-unsafe", 'u', 0, NULL, "do not look at the backing image"},
    IMG_OPT_QUIET,
    IMG_OPT_OBJECT,
    {NULL},
};

/* QEMU's line: the options that count, in the order of the format's table. */
static void print_formatting(const char *name, const BlockDriver *drv, const Json *o)
{
    static const struct {
        const char *name, *value;
    } defaults[] = {
        {"cluster_size", "65536"}, {"extended_l2", "off"},  {"compression_type", "zlib"},
        {"lazy_refcounts", "off"}, {"refcount_bits", "16"},
    };
    printf("Formatting '%s', fmt=%s", name, drv->name);
    for (const BlockCreateOption *c = drv->create_options; c && c->name; c++) {
        const Json *v = json_get(o, c->name);
        g_autofree char *text = v && !json_get_string(v) ? json_print(v, false) : NULL;
        const char *shown = v ? text ? text : json_get_string(v) : NULL;
        for (size_t i = 0; !shown && !strcmp(drv->name, "qcow2") && i < ARRAY_LEN(defaults); i++) {
            shown = strcmp(c->name, defaults[i].name) ? NULL : defaults[i].value;
        }
        if (shown) {
            printf(" %s=%s", c->name, shown);
        }
    }
    printf("\n");
    fflush(stdout);
}

static bool put_size(Json *o, const char *text, Error **errp)
{
    uint64_t size;
    if (!parse_size(text, 'B', &size) || size > INT64_MAX) {
        error_set(errp, "'%s' is no size of an image", text);
        error_hint(errp, "sizes are bytes, or have a suffix: 512k, 20G, 1.5T");
        return false;
    }
    json_put(o, "size", json_uint(size));
    return true;
}

static int run_create(Tool *t, ToolArgs *a)
{
    Error *err = NULL;
    const char *format = tool_get(a, "format") ? tool_get(a, "format") : "raw";
    if (tool_options_help(t, a, "options", format, false)) {
        return 0;
    }
    if (!tool_args_finish(a, 1, 2, "the image's file name, and its size", &err)) {
        return img_fail(err);
    }
    const char *name = tool_word(a, 0), *backing = tool_get(a, "backing");
    const BlockDriver *drv = image_format_find(t->graph, format, true, &err);
    g_autoptr(Json) o = drv ? tool_create_options(a, "options", &err) : NULL;
    if (!o || (tool_word(a, 1) && !put_size(o, tool_word(a, 1), &err))) {
        return img_fail(err);
    }
    if (!tool_word(a, 1) && json_get_str(o, "size") &&
        !put_size(o, json_get_str(o, "size"), &err)) {
        return img_fail(err);
    }
    if (backing) {
        json_put_string(o, "backing_file", backing);
    }
    if (tool_get(a, "backing-format")) {
        json_put_string(o, "backing_fmt", tool_get(a, "backing-format"));
    }
    if (json_get(o, "backing_file") && !json_get(o, "backing_fmt") &&
        !tool_has(a, "backing-unsafe")) {
        error_set(&err, "the format of the backing file is missing");
        error_hint(&err, "-B FMT says it; a guess could be a trap that the guest set up");
        return img_fail(err);
    }
    if (!json_get(o, "size") && !json_get(o, "backing_file")) {
        error_set(&err, "the size of the image is missing");
        error_hint(&err, "for example: rhea-img create -f %s %s 20G", format, name);
        return img_fail(err);
    }
    if (!img_quiet(a)) {
        print_formatting(name, drv, o);
    }
    return image_create(t->graph, name, format, o, tool_has(a, "backing-unsafe"), &err)
               ? 0
               : img_fail(err);
}

const ImgCommand img_create = {"create", "FILE [SIZE]", "make a new image", create_options,
                               run_create};

/* ---- resize ---- */

static const ToolOption resize_options[] = {
    IMG_OPT_HELP,
    IMG_OPT_FORMAT,
    IMG_OPT_IMAGE_OPTS,
    {"shrink", 0, 0, NULL, "yes, lose what lies beyond the new end"},
    {"preallocation", 0, 0, "PREALLOC", "off, metadata, falloc or full"},
    IMG_OPT_QUIET,
    IMG_OPT_OBJECT,
    {NULL},
};

/* "20G", "+1G", "-512M". */
static bool new_size(const char *text, uint64_t now, uint64_t *size, Error **errp)
{
    uint64_t v;
    char sign = *text == '+' || *text == '-' ? *text : 0;
    if (!parse_size(text + (sign != 0), 'B', &v) || v > INT64_MAX) {
        error_set(errp, "'%s' is no size: 20G, or +1G, or -512M was expected", text);
        return false;
    }
    if (sign == '-' && v > now) {
        error_set(errp, "the image has %" PRIu64 " bytes: it cannot have %s", now, text);
        return false;
    }
    *size = sign == '+' ? now + v : sign == '-' ? now - v : v;
    return true;
}

static bool resize(BlockNode *n, ToolArgs *a, const char *text, BlockPrealloc prealloc,
                   Error **errp)
{
    uint64_t size, old = n->length;
    if (!new_size(text, n->length, &size, errp)) {
        return false;
    }
    if (size < n->length && !tool_has(a, "shrink")) {
        error_set(errp, "the image would become smaller, and data may be lost");
        error_hint(errp, "--shrink says that this is wanted; make the guest's file systems and "
                         "partitions smaller first");
        return false;
    }
    if (size < n->length && prealloc != PREALLOC_OFF) {
        error_set(errp, "--preallocation is for images that become larger");
        return false;
    }
    size = ALIGN_UP(size, (uint64_t)BLOCK_SECTOR);
    if (node_resize(n, size, prealloc, errp) < 0) {
        return false;
    }
    if (size == old && !img_quiet(a)) {
        printf("The image has that size already.\n");
    }
    return true;
}

static int run_resize(Tool *t, ToolArgs *a)
{
    Error *err = NULL;
    int prealloc = tool_enum(a, "preallocation", block_prealloc_names, PREALLOC_OFF);
    /* "-512M" looks like an option and is the new size. */
    if (!tool_args_finish(a, 2, 2, "the image's file name and its new size", &err)) {
        return img_fail(err);
    }
    ToolOpen o = {.write = true, .discard = true};
    BlockNode *n = img_open_word(t, a, 0, &o, &err);
    bool ok = n && resize(n, a, tool_word(a, 1), (BlockPrealloc)prealloc, &err);
    if (!tool_close_checked(t, n, ok ? &err : NULL) || !ok) {
        return img_fail(err);
    }
    if (!img_quiet(a)) {
        printf("Image resized.\n");
    }
    return 0;
}

const ImgCommand img_resize = {"resize", "FILE [+|-]SIZE", "change the size of an image",
                               resize_options, run_resize};

/* ---- amend ---- */

static const ToolOption amend_options[] = {
    IMG_OPT_HELP,
    {"options", 'o', 0, "FMT_OPTS", "what to change; 'help' lists it"},
    IMG_OPT_FORMAT,
    IMG_OPT_IMAGE_OPTS,
    {"cache", 't', 0, "CACHE", "cache mode (default: writeback)"},
    {"force", 0, 0, NULL, "do what may lose data"},
    IMG_OPT_PROGRESS,
    IMG_OPT_QUIET,
    IMG_OPT_OBJECT,
    {NULL},
};

static bool report_progress(void *opaque, uint64_t done, uint64_t total)
{
    return tool_progress(opaque, done, total);
}

static int run_amend(Tool *t, ToolArgs *a)
{
    Error *err = NULL;
    const char *format = tool_get(a, "format");
    if (tool_options_help(t, a, "options", format ? format : "qcow2", true)) {
        return 0;
    }
    if (!tool_has(a, "options")) {
        tool_mistake(a, "'-o' is missing: it says what to change");
    }
    if (!tool_args_finish(a, 1, 1, "the image's file name", &err)) {
        return img_fail(err);
    }
    g_autoptr(Json) o = tool_create_options(a, "options", &err);
    ToolOpen open = {.write = true};
    BlockNode *n = o ? img_open_word(t, a, 0, &open, &err) : NULL;
    if (!n) {
        return img_fail(err);
    }
    ToolProgress progress;
    BlockProgress p = {.report = report_progress, .opaque = &progress};
    tool_catch_signals();
    tool_progress_start(&progress, tool_has(a, "progress") && !img_quiet(a));
    int ret = image_amend(n, o, tool_has(a, "force"), &p, &err);
    tool_progress_end(&progress);
    bool closed = tool_close_checked(t, n, ret == 0 ? &err : NULL);
    return ret == 0 && closed ? 0 : img_fail(err);
}

const ImgCommand img_amend = {"amend", "FILE", "change options of an image", amend_options,
                              run_amend};

/* ---- measure ---- */

static const ToolOption measure_options[] = {
    IMG_OPT_HELP,
    IMG_OPT_FORMAT,
    IMG_OPT_IMAGE_OPTS,
    {"snapshot", 'l', 0, "SNAPSHOT", "measure this snapshot of the image"},
    {"target-format", 'O', 0, "TARGET_FMT", "format to be (default: raw)"},
    {"target-format-options", 'o', 0, "TARGET_FMT_OPTS", "its options"},
    {"output", 0, 0, "human|json", "how to print it"},
    IMG_OPT_FORCE_SHARE,
    {"size", 's', 0, "SIZE", "measure an image of this size instead of a file"},
    IMG_OPT_OBJECT,
    {NULL},
};

static void print_measure(const BlockMeasure *m, bool json)
{
    if (json) {
        g_autoptr(Json) j = json_object();
        json_put(j, "required", json_uint(m->required));
        json_put(j, "fully-allocated", json_uint(m->fully_allocated));
        if (m->has_bitmaps) {
            json_put(j, "bitmaps", json_uint(m->bitmaps));
        }
        img_print_json(j);
        return;
    }
    printf("required size: %" PRIu64 "\nfully allocated size: %" PRIu64 "\n", m->required,
           m->fully_allocated);
    if (m->has_bitmaps) {
        printf("bitmaps size: %" PRIu64 "\n", m->bitmaps);
    }
}

static int run_measure(Tool *t, ToolArgs *a)
{
    static const char *const outputs[] = {"human", "json", NULL};
    Error *err = NULL;
    const char *format = tool_get(a, "target-format") ? tool_get(a, "target-format") : "raw";
    bool sized = tool_has(a, "size");
    uint64_t size = tool_size(a, "size", 0);
    int output = tool_enum(a, "output", outputs, 0);
    if (tool_options_help(t, a, "target-format-options", format, false)) {
        return 0;
    }
    if (sized && tool_n_words(a)) {
        tool_mistake(a, "'--size' and a file name exclude each other");
    }
    if (!tool_args_finish(a, sized ? 0 : 1, 1, "an image's file name or --size", &err)) {
        return img_fail(err);
    }
    g_autoptr(Json) o = tool_create_options(a, "target-format-options", &err);
    BlockNode *n = NULL;
    BlockMeasure m;
    bool ok = o != NULL;
    if (ok && sized) {
        json_put(o, "size", json_uint(size));
    } else if (ok) {
        ToolOpen open = {0};
        n = img_open_word(t, a, 0, &open, &err);
        ok = n && img_show_snapshot(n, tool_get(a, "snapshot"), &err);
    }
    ok = ok && image_measure(t->graph, format, n, o, &m, &err);
    tool_close(t, n);
    if (!ok) {
        return img_fail(err);
    }
    print_measure(&m, output == 1);
    return 0;
}

const ImgCommand img_measure = {"measure", "[FILE]", "tell how much space an image would need",
                                measure_options, run_measure};
