/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/tool.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* ---- the graph ---- */

bool tool_start(Tool *t, Error **errp)
{
    t->clocks = clock_set_new();
    t->loop = loop_new("tool", t->clocks, errp);
    if (!t->loop) {
        clock_set_free(t->clocks);
        return false;
    }
    loop_set_control(t->loop);
    t->root = object_new("container");
    t->graph = block_graph_new(t->root, t->loop);
    t->graph->tool = true;
    return true;
}

void tool_stop(Tool *t)
{
    block_graph_free(t->graph);
    object_unref(t->root);
    loop_free(t->loop);
    clock_set_free(t->clocks);
}

static bool add_object(Tool *t, const Json *o, Error **errp)
{
    const char *type = json_get_str(o, "qom-type"), *id = json_get_str(o, "id");
    const TypeInfo *info = type ? type_find(type) : NULL;
    if (!type || !id) {
        error_set(errp, "'%s' is missing", type ? "id" : "qom-type");
        return false;
    }
    if (!info || !info->user_creatable) {
        error_set(errp, "there is no object type '%s'", type);
        return false;
    }
    Object *dir = object_container(t->root, "/objects"), *obj = object_new(type);
    object_set_scope(obj, t->root);
    bool ok = true;
    for (size_t i = 0; ok && i < json_length(o); i++) {
        const char *key = json_key_at(o, i);
        if (strcmp(key, "qom-type") && strcmp(key, "id")) {
            ok = object_set(obj, key, json_value_at(o, i), errp);
        }
    }
    if (ok && dir->children && g_hash_table_lookup(dir->children, id)) {
        error_set(errp, "the id '%s' is in use", id);
        ok = false;
    }
    if (!ok) {
        object_unref(obj);
        return false;
    }
    object_add_child(dir, id, obj);
    return object_complete(obj, errp);
}

bool tool_add_objects(Tool *t, const ToolArgs *a, Error **errp)
{
    g_autoptr(GPtrArray) all = tool_all(a, "object");
    for (guint i = 0; i < all->len; i++) {
        g_autoptr(OptionText) o = option_parse("--object", all->pdata[i], "qom-type", errp);
        if (!o || !add_object(t, option_values(o), errp)) {
            error_prefix(errp, "--object: ");
            return false;
        }
    }
    return true;
}

bool tool_cache_flags(const char *cache, BlockOpenFlags *f, bool *writethrough, Error **errp)
{
    static const char *const words[] = {"writeback",  "none",         "unsafe", "off",
                                        "directsync", "writethrough", NULL};
    *writethrough = false;
    if (!cache || !strcmp(cache, "writeback")) {
        return true;
    }
    if (!strcmp(cache, "none") || !strcmp(cache, "off")) {
        f->direct = true;
    } else if (!strcmp(cache, "unsafe")) {
        f->no_flush = true;
    } else if (!strcmp(cache, "directsync") || !strcmp(cache, "writethrough")) {
        f->direct = *cache == 'd';
        *writethrough = true;
    } else {
        const char *near = nearest_word(cache, words);
        error_set(errp, "there is no cache mode '%s'%s%s%s", cache, near ? "; did you mean '" : "",
                  near ? near : "", near ? "'?" : "");
        error_hint(errp, "possible: none, writeback, writethrough, directsync, unsafe");
        return false;
    }
    return true;
}

/* "file.filename=x" alone means the protocol that the name tells. */
static void infer_protocol(Json *o)
{
    Json *file = json_get(o, "file");
    if (!file || json_type(file) != JSON_OBJECT || json_get(file, "driver")) {
        return;
    }
    const char *name = json_get_str(file, "filename");
    g_autoptr(Json) inferred = name ? filename_to_options(name, NULL) : NULL;
    for (size_t i = 0; inferred && i < json_length(inferred); i++) {
        json_put(file, json_key_at(inferred, i), json_copy(json_value_at(inferred, i)));
    }
}

/* Options of a whole image: with a format, or the protocol's below which a format is found. */
static BlockNode *open_options(Tool *t, const char *text, const BlockOpenFlags *f, Error **errp)
{
    g_autoptr(OptionText) o = option_parse("--image-opts", text, NULL, errp);
    if (!o) {
        return NULL;
    }
    Json *values = option_values(o);
    infer_protocol(values);
    if (json_get(values, "driver")) {
        return node_open(t->graph, values, f, errp);
    }
    Json *file = json_get(values, "file");
    if (!file) {
        error_set(errp, "--image-opts: '%s' has neither 'driver' nor 'file'", text);
        return NULL;
    }
    g_autoptr(Json) rest = json_copy(values), below = json_copy(file);
    json_remove(rest, "file");
    return node_open_format(t->graph, below, NULL, rest, f, errp);
}

static BlockNode *open_with_aio(Tool *t, const char *name, const ToolOpen *o,
                                const BlockOpenFlags *f, Error **errp)
{
    g_autoptr(Json) file = filename_to_options(name, errp);
    if (!file) {
        return NULL;
    }
    json_put_string(file, "aio", o->aio);
    return node_open_format(t->graph, file, o->format, NULL, f, errp);
}

BlockNode *tool_open(Tool *t, const char *name, const ToolOpen *o, Error **errp)
{
    BlockOpenFlags f = {.read_only = !o->write,
                        .force_share = o->force_share,
                        .no_backing = o->no_backing,
                        .no_io = o->no_io,
                        .check = o->check,
                        .discard_unmap = o->discard};
    bool writethrough;
    BlockNode *n;
    if (!tool_cache_flags(o->cache, &f, &writethrough, errp)) {
        return NULL;
    }
    if (o->image_opts) {
        if (o->format) {
            error_set(errp, "--image-opts and a format exclude each other");
            return NULL;
        }
        n = open_options(t, name, &f, errp);
    } else {
        if (o->format && !image_format_find(t->graph, o->format, false, errp)) {
            return NULL;
        }
        n = o->aio ? open_with_aio(t, name, o, &f, errp)
                   : node_open_filename(t->graph, name, o->format, &f, errp);
    }
    if (n && !node_take(n, t, "this program", o->write, o->force_share || !o->write, errp)) {
        node_unref(n);
        n = NULL;
    }
    return n;
}

bool tool_close_checked(Tool *t, BlockNode *n, Error **errp)
{
    if (!n) {
        return true;
    }
    int ret = n->flags.read_only ? 0 : node_flush(n);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot write back '%s'", node_filename(n));
    }
    node_release(n, t);
    node_unref(n);
    return ret == 0;
}

void tool_close(Tool *t, BlockNode *n)
{
    Error *err = NULL;
    if (!tool_close_checked(t, n, &err)) {
        error_report(err);
    }
}

/* ---- options of images ---- */

Json *tool_create_options(const ToolArgs *a, const char *name, Error **errp)
{
    g_autoptr(GPtrArray) all = tool_all(a, name);
    g_autoptr(GString) text = g_string_new(NULL);
    for (guint i = 0; i < all->len; i++) {
        g_string_append_printf(text, "%s%s", i ? "," : "", (char *)all->pdata[i]);
    }
    g_autoptr(OptionText) o = option_parse("-o", text->str, NULL, errp);
    return o ? json_copy(option_values(o)) : NULL;
}

bool tool_options_help(Tool *t, const ToolArgs *a, const char *name, const char *format, bool amend)
{
    g_autoptr(GPtrArray) all = tool_all(a, name);
    bool asked = false;
    for (guint i = 0; i < all->len; i++) {
        g_auto(GStrv) part = g_strsplit(all->pdata[i], ",", -1);
        for (char **p = part; *p; p++) {
            asked |= !strcmp(*p, "help") || !strcmp(*p, "?");
        }
    }
    const BlockDriver *drv = asked ? block_driver_find(t->graph, format) : NULL;
    if (!drv) {
        return false;
    }
    const BlockCreateOption *o = amend ? drv->amend_options : drv->create_options;
    printf(amend ? "Amend options for '%s':\n" : "Supported options:\n", format);
    for (; o && o->name; o++) {
        const char *type = strchr(o->type, '|') || !strpbrk(o->type, "sbn") ? "str" : o->type;
        g_autofree char *left = g_strdup_printf("%s=<%s>", o->name, type);
        printf("  %-23s - %s%s%s%s\n", left, o->help, strchr(o->type, '|') ? " (" : "",
               strchr(o->type, '|') ? o->type : "", strchr(o->type, '|') ? ")" : "");
    }
    return true;
}

/* ---- signals ---- */

static volatile sig_atomic_t caught, asked_for_progress;

static void on_signal(int sig)
{
    caught = sig;
}

static void on_usr1(int sig)
{
    asked_for_progress = 1;
}

void tool_catch_signals(void)
{
    struct sigaction a = {.sa_handler = on_signal}, u = {.sa_handler = on_usr1};
    u.sa_flags = SA_RESTART;
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    sigaction(SIGHUP, &a, NULL);
    sigaction(SIGUSR1, &u, NULL);
}

bool tool_interrupted(void)
{
    return caught;
}

void tool_die_of_signal(void)
{
    int sig = caught ? caught : SIGTERM;
    signal(sig, SIG_DFL);
    raise(sig);
}

/* ---- progress ---- */

void tool_progress_start(ToolProgress *p, bool shown)
{
    *p = (ToolProgress){.shown = shown, .terminal = isatty(STDOUT_FILENO)};
    p->started = g_get_monotonic_time();
    if (shown) {
        printf("    (0.00/100%%)\r");
        fflush(stdout);
    }
}

static void print_line(ToolProgress *p, char end)
{
    double percent = p->total ? 100.0 * (double)p->done / (double)p->total : 100;
    printf("    (%.2f/100%%)", percent);
    int64_t us = g_get_monotonic_time() - p->started;
    if (p->terminal && us > G_USEC_PER_SEC / 2 && p->done) {
        double rate = (double)p->done * 1e6 / (double)us;
        g_autofree char *text = tool_human_size((uint64_t)rate);
        uint64_t left = (uint64_t)((double)(p->total - MIN(p->done, p->total)) / rate);
        printf("  %s/s  %" PRIu64 ":%02" PRIu64 " left   ", text, left / 60, left % 60);
    }
    putchar(end);
    fflush(stdout);
}

bool tool_progress(ToolProgress *p, uint64_t done, uint64_t total)
{
    p->done = done;
    p->total = total;
    int64_t now = g_get_monotonic_time();
    if (asked_for_progress) {
        asked_for_progress = 0;
        print_line(p, '\n');
    } else if (p->shown && now - p->printed > G_USEC_PER_SEC / 5) {
        p->printed = now;
        print_line(p, '\r');
    }
    return !caught;
}

void tool_progress_end(ToolProgress *p)
{
    if (p->shown) {
        if (!caught) {
            p->done = p->total;
        }
        print_line(p, '\n');
    }
}

char *tool_human_size(uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)bytes;
    unsigned u = 0;
    while (v >= 1000 && u + 1 < G_N_ELEMENTS(units)) {
        v /= 1024;
        u++;
    }
    return g_strdup_printf("%0.3g %s", v, units[u]);
}
