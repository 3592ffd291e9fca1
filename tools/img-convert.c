/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rhea-img convert and dd. */
#include "tools/img-copy.h"
#include "tools/img.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const ToolOption convert_options[] = {
    IMG_OPT_HELP,
    {"source-format", 'f', 0, "SRC_FMT", "format of the sources (default: looked at)"},
    IMG_OPT_IMAGE_OPTS,
    {"source-cache", 'T', 0, "SRC_CACHE", "cache mode of the sources (default: writeback)"},
    {"snapshot", 'l', 0, "SNAPSHOT", "convert this snapshot of the source"},
    {"bitmaps", 0, 0, NULL, "copy persistent bitmaps, too"},
    {"skip-broken-bitmaps", 0, 0, NULL, "but not those that are inconsistent"},
    {"salvage", 0, 0, NULL, "what cannot be read becomes zeroes"},
    {"target-format", 'O', 0, "TGT_FMT", "format of the target (default: raw)"},
    {"target-image-opts", 0, 0, NULL, "the target's name is a list of options (with -n)"},
    {"target-format-options", 'o', 0, "TGT_FMT_OPTS", "options of the target; 'help' lists them"},
    {"target-cache", 't', 0, "TGT_CACHE", "cache mode of the target (default: unsafe)"},
    {"backing", 'b', 'B', "BACKING_FILE", "backing file of the target"},
    {"backing-format", 'F', 0, "BACKING_FMT", "its format"},
    {"sparse-size", 'S', 0, "SIZE", "runs of zeroes this long become holes (default: 4k; 0: none)"},
    {"no-create", 'n', 0, NULL, "write to a target that is there"},
    {"target-is-zero", 0, 0, NULL, "and reads as zeroes"},
    {"compress", 'c', 0, NULL, "compress the target"},
    IMG_OPT_FORCE_SHARE,
    {"rate-limit", 'r', 0, "RATE", "bytes per second"},
    {"parallel", 'm', 0, "NUM", "requests at a time: 1 to 16 (default: 4 to 8)"},
    {"copy-range-offloading", 'C', 0, NULL, "let the host copy where it can"},
    {"oob-writes", 'W', 0, NULL, "write out of order"},
    IMG_OPT_PROGRESS,
    IMG_OPT_QUIET,
    IMG_OPT_OBJECT,
    {NULL},
};

typedef struct Convert {
    Tool *t;
    ToolArgs *a;
    ImgCopy copy;
    GPtrArray *sources; /* BlockNode* */
    BlockNode *target;
    const char *name, *format;
    bool created, existed;
    struct stat was; /* the target before */
} Convert;

/* ---- opening ---- */

static bool open_sources(Convert *c, Error **errp)
{
    unsigned n = tool_n_words(c->a) - 1;
    ToolOpen o = {.format = tool_get(c->a, "source-format"),
                  .image_opts = tool_has(c->a, "image-opts"),
                  .cache = tool_get(c->a, "source-cache"),
                  .force_share = tool_has(c->a, "force-share")};
    for (unsigned i = 0; i < n; i++) {
        BlockNode *s = tool_open(c->t, tool_word(c->a, i), &o, errp);
        if (!s) {
            return false;
        }
        g_ptr_array_add(c->sources, s);
        c->copy.total += s->length;
        if (!img_show_snapshot(s, tool_get(c->a, "snapshot"), errp)) {
            return false;
        }
    }
    c->copy.total = 0;
    for (unsigned i = 0; i < n; i++) {
        c->copy.total += ((BlockNode *)c->sources->pdata[i])->length;
    }
    return true;
}

static bool same_as_source(const Convert *c, Error **errp)
{
    struct stat t, s;
    if (stat(c->name, &t) < 0 || !S_ISREG(t.st_mode)) {
        return false;
    }
    for (guint i = 0; i < c->sources->len; i++) {
        for (const BlockNode *n = c->sources->pdata[i]; n; n = n->backing) {
            if (stat(node_filename(n), &s) == 0 && s.st_dev == t.st_dev && s.st_ino == t.st_ino) {
                error_set(errp, "'%s' cannot be its own source", c->name);
                return true;
            }
        }
    }
    return false;
}

static Json *target_options(Convert *c, Error **errp)
{
    ToolArgs *a = c->a;
    Json *o = tool_create_options(a, "target-format-options", errp);
    if (!o) {
        return NULL;
    }
    if (!json_get(o, "size")) {
        json_put(o, "size", json_uint(c->copy.total));
    }
    if (tool_get(a, "backing")) {
        json_put_string(o, "backing_file", tool_get(a, "backing"));
    }
    if (tool_get(a, "backing-format")) {
        json_put_string(o, "backing_fmt", tool_get(a, "backing-format"));
    }
    if (json_get(o, "backing_file") && !json_get(o, "backing_fmt")) {
        error_set(errp, "the format of the backing file is missing");
        error_hint(errp, "-F FMT says it");
        json_unref(o);
        return NULL;
    }
    return o;
}

/* Of a target with encryption: what opens it again. */
static BlockNode *open_created(Convert *c, const Json *o, Error **errp)
{
    ToolArgs *a = c->a;
    const char *cache = tool_get(a, "target-cache") ? tool_get(a, "target-cache") : "unsafe";
    const Json *enc = json_get(o, "encrypt");
    BlockOpenFlags f = {.discard_unmap = true};
    bool writethrough;
    if (!tool_cache_flags(cache, &f, &writethrough, errp)) {
        return NULL;
    }
    g_autoptr(Json) extra = json_object(), file = filename_to_options(c->name, errp);
    const char *key = enc ? json_get_str(enc, "key-secret") : json_get_str(o, "key-secret");
    if (key && !strcmp(c->format, "qcow2")) {
        Json *e = json_object();
        json_put_string(e, "format", "luks");
        json_put_string(e, "key-secret", key);
        json_put(extra, "encrypt", e);
    } else if (key) {
        json_put_string(extra, "key-secret", key);
    }
    BlockNode *n = file ? node_open_format(c->t->graph, file, c->format, extra, &f, errp) : NULL;
    if (n && !node_take(n, c->t, "this program", true, false, errp)) {
        node_unref(n);
        n = NULL;
    }
    return n;
}

static bool create_target(Convert *c, Error **errp)
{
    const BlockDriver *drv = image_format_find(c->t->graph, c->format, true, errp);
    g_autoptr(Json) o = drv ? target_options(c, errp) : NULL;
    if (!o || same_as_source(c, errp)) {
        return false;
    }
    if (c->copy.compress && !drv->supports_compressed) {
        error_set(errp, "images of format '%s' cannot be compressed", c->format);
        return false;
    }
    c->existed = stat(c->name, &c->was) == 0;
    if (!image_create(c->t->graph, c->name, c->format, o, false, errp)) {
        return false;
    }
    c->created = true;
    c->copy.target_has_backing = json_get(o, "backing_file") != NULL;
    c->target = open_created(c, o, errp);
    /* A new image reads as zeroes where nobody writes; a device has old contents. */
    c->copy.target_zero = !c->copy.target_has_backing && c->target && !drv->new_is_garbage &&
                          (!c->existed || S_ISREG(c->was.st_mode));
    return c->target != NULL;
}

static bool open_target(Convert *c, Error **errp)
{
    ToolArgs *a = c->a;
    ToolOpen o = {.format = tool_has(a, "target-image-opts") ? NULL : c->format,
                  .image_opts = tool_has(a, "target-image-opts"),
                  .cache = tool_get(a, "target-cache") ? tool_get(a, "target-cache") : "unsafe",
                  .write = true,
                  .discard = true};
    if (tool_has(a, "target-format-options")) {
        error_set(errp, "-o is for targets that are made, and -n makes none");
        return false;
    }
    if (same_as_source(c, errp)) {
        return false;
    }
    c->target = tool_open(c->t, c->name, &o, errp);
    if (!c->target) {
        return false;
    }
    if (c->target->length < c->copy.total) {
        error_set(errp, "the target has %" PRIu64 " bytes, but the source needs %" PRIu64,
                  c->target->length, c->copy.total);
        return false;
    }
    if (c->copy.compress && !c->target->drv->supports_compressed) {
        error_set(errp, "images of format '%s' cannot be compressed", c->target->drv->name);
        return false;
    }
    c->copy.target_zero = tool_has(a, "target-is-zero");
    c->copy.target_has_backing = c->target->backing != NULL;
    return true;
}

/* ---- running ---- */

static bool take_arguments(Convert *c, Error **errp)
{
    ToolArgs *a = c->a;
    ImgCopy *k = &c->copy;
    k->compress = tool_has(a, "compress");
    k->salvage = tool_has(a, "salvage");
    k->offload = tool_has(a, "copy-range-offloading");
    k->unordered = tool_has(a, "oob-writes");
    k->sparse = tool_size(a, "sparse-size", 4096);
    k->rate = tool_size(a, "rate-limit", 0);
    k->parallel = (unsigned)tool_uint(a, "parallel", 0, 1, 16);
    k->quiet = img_quiet(a);
    c->format = tool_get(a, "target-format") ? tool_get(a, "target-format") : "raw";
    if (tool_has(a, "target-is-zero") && !tool_has(a, "no-create")) {
        tool_mistake(a, "'--target-is-zero' needs '-n'");
    }
    if (tool_has(a, "target-image-opts") && !tool_has(a, "no-create")) {
        tool_mistake(a, "'--target-image-opts' needs '-n'");
    }
    if (k->compress && k->offload) {
        tool_mistake(a, "'-c' and '-C' exclude each other");
    }
    if (k->sparse % 512) {
        tool_mistake(a, "'-S' must be a multiple of 512");
    }
    if (k->offload && tool_has(a, "sparse-size")) {
        tool_mistake(a, "'-C' and '-S' exclude each other");
    }
    if (k->compress && tool_has(a, "sparse-size") && !k->sparse) {
        tool_mistake(a, "'-c' and '-S 0' exclude each other");
    }
    if (tool_get(a, "snapshot") && tool_n_words(a) > 2) {
        tool_mistake(a, "'-l' is for one source");
    }
    if (tool_has(a, "skip-broken-bitmaps") && !tool_has(a, "bitmaps")) {
        tool_mistake(a, "'--skip-broken-bitmaps' needs '--bitmaps'");
    }
    return tool_args_finish(a, 2, UINT_MAX, "the sources' and the target's file names", errp);
}

/* A target that was being made is no image yet: it goes. */
static void remove_target(Convert *c)
{
    struct stat st;
    g_autoptr(Json) o = c->created ? filename_to_options(c->name, NULL) : NULL;
    const char *path = o ? json_get_str(o, "filename") : NULL;
    if (path && stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
        unlink(path);
    }
}

static bool convert(Convert *c, Error **errp)
{
    ToolArgs *a = c->a;
    tool_catch_signals(); /* from here on there may be something to remove */
    if (!(tool_has(a, "no-create") ? open_target(c, errp) : create_target(c, errp))) {
        return false;
    }
    c->copy.sources = (BlockNode **)c->sources->pdata;
    c->copy.n_sources = c->sources->len;
    c->copy.target = c->target;
    c->copy.compress |= c->target->limits.compressed_only;
    tool_progress_start(&c->copy.progress, tool_has(a, "progress") && !img_quiet(a));
    bool ok = img_copy(c->t, &c->copy, errp);
    tool_progress_end(&c->copy.progress);
    if (ok && tool_has(a, "bitmaps")) {
        ok = img_copy_bitmaps(c->sources->pdata[0], c->target, tool_has(a, "skip-broken-bitmaps"),
                              errp);
    }
    return ok;
}

static int run_convert(Tool *t, ToolArgs *a)
{
    Convert c = {.t = t, .a = a, .sources = g_ptr_array_new()};
    Error *err = NULL;
    const char *format = tool_get(a, "target-format") ? tool_get(a, "target-format") : "raw";
    if (tool_options_help(t, a, "target-format-options", format, false)) {
        g_ptr_array_free(c.sources, TRUE);
        return 0;
    }
    bool ok = take_arguments(&c, &err);
    if (ok) {
        c.name = tool_word(a, tool_n_words(a) - 1);
        ok = open_sources(&c, &err) && convert(&c, &err);
    }
    bool closed = tool_close_checked(t, c.target, ok ? &err : NULL);
    for (guint i = 0; i < c.sources->len; i++) {
        tool_close(t, c.sources->pdata[i]);
    }
    g_ptr_array_free(c.sources, TRUE);
    ok = ok && closed && !tool_interrupted();
    if (!ok) {
        remove_target(&c);
    }
    return ok ? 0 : img_fail(err);
}

const ImgCommand img_convert = {"convert", "SOURCE… TARGET", "copy an image, in another format",
                                convert_options, run_convert};

/* ---- dd ---- */

static const ToolOption dd_options[] = {
    IMG_OPT_HELP,
    IMG_OPT_FORMAT,
    IMG_OPT_IMAGE_OPTS,
    {"output-format", 'O', 0, "OUTPUT_FMT", "format of the target (default: raw)"},
    IMG_OPT_FORCE_SHARE,
    IMG_OPT_OBJECT,
    {NULL},
};

typedef struct Dd {
    const char *in, *out;
    uint64_t bs, count, skip;
    bool has_count;
} Dd;

static bool take_dd(ToolArgs *a, Dd *d, Error **errp)
{
    static const char *const keys[] = {"bs", "count", "if", "of", "skip", NULL};
    *d = (Dd){.bs = 512};
    for (unsigned i = 0; i < tool_n_words(a); i++) {
        const char *w = tool_word(a, i), *eq = strchr(w, '=');
        g_autofree char *key = eq ? g_strndup(w, (size_t)(eq - w)) : g_strdup(w);
        uint64_t v = 0;
        if (!eq || !g_strv_contains(keys, key)) {
            const char *near = nearest_word(key, keys);
            tool_mistake(a, "there is no operand '%s'%s%s%s (possible: bs= count= if= of= skip=)",
                         key, near ? "; did you mean '" : "", near ? near : "", near ? "='?" : "");
        } else if (!strcmp(key, "if")) {
            d->in = eq + 1;
        } else if (!strcmp(key, "of")) {
            d->out = eq + 1;
        } else if (!parse_size(eq + 1, 'B', &v) || v > INT64_MAX) {
            tool_mistake(a, "'%s' is no number", w);
        } else if (!strcmp(key, "bs")) {
            d->bs = v;
        } else if (!strcmp(key, "skip")) {
            d->skip = v;
        } else {
            d->count = v;
            d->has_count = true;
        }
    }
    if (!d->in || !d->out) {
        tool_mistake(a, "%s is missing", d->in ? "'of='" : "'if='");
    }
    if (d->bs == 0 || d->bs > 1 * GiB) {
        tool_mistake(a, "'bs=' must be from 1 to 1G");
    }
    return tool_args_finish(a, 0, UINT_MAX, "", errp);
}

static int run_dd(Tool *t, ToolArgs *a)
{
    Error *err = NULL;
    Dd d;
    const char *format = tool_get(a, "output-format") ? tool_get(a, "output-format") : "raw";
    if (!take_dd(a, &d, &err)) {
        return img_fail(err);
    }
    ToolOpen o = {.format = tool_get(a, "format"),
                  .image_opts = tool_has(a, "image-opts"),
                  .force_share = tool_has(a, "force-share")};
    BlockNode *src = tool_open(t, d.in, &o, &err), *dst = NULL;
    struct stat st;
    bool existed = stat(d.out, &st) == 0, ok = src != NULL, made = false;
    tool_catch_signals();
    if (ok) {
        uint64_t from = d.skip > src->length / d.bs ? src->length : d.skip * d.bs;
        uint64_t size = src->length - from;
        if (d.has_count && d.count < DIV_ROUND_UP(size, d.bs)) {
            size = d.count * d.bs;
        }
        g_autoptr(Json) options = json_object();
        json_put(options, "size", json_uint(size));
        ok = made = image_create(t->graph, d.out, format, options, false, &err);
        ToolOpen w = {.format = format, .write = true, .discard = true};
        dst = ok ? tool_open(t, d.out, &w, &err) : NULL;
        ImgCopy c = {.sources = &src, .n_sources = 1, .target = dst, .from = from, .total = size};
        c.sparse = 4096;
        c.target_zero = !existed || S_ISREG(st.st_mode);
        ok = dst && img_copy(t, &c, &err);
    }
    bool closed = tool_close_checked(t, dst, ok ? &err : NULL);
    tool_close(t, src);
    ok = ok && closed && !tool_interrupted();
    if (!ok && made && !existed) {
        unlink(d.out);
    }
    return ok ? 0 : img_fail(err);
}

const ImgCommand img_dd = {"dd", "[bs=N] [count=N] [skip=N] if=SOURCE of=TARGET",
                           "copy a part of an image", dd_options, run_dd};
