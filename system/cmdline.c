/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Splitting the command line. */
#include "system/cmdline.h"

#include <stdio.h>
#include <string.h>

Cmdline *cmdline_new(void)
{
    Cmdline *c = g_new0(Cmdline, 1);
    c->given = g_ptr_array_new();
    c->errors = g_ptr_array_new();
    return c;
}

void cmdline_free(Cmdline *c)
{
    for (unsigned i = 0; i < c->given->len; i++) {
        GivenOption *g = c->given->pdata[i];
        option_free(g->text);
        g_free((char *)g->arg);
        g_free(g);
    }
    for (unsigned i = 0; i < c->errors->len; i++) {
        error_free(c->errors->pdata[i]);
    }
    g_ptr_array_free(c->given, TRUE);
    g_ptr_array_free(c->errors, TRUE);
    g_free(c);
}

void cmdline_error(Cmdline *c, Error *err)
{
    if (err) {
        g_ptr_array_add(c->errors, err);
    }
}

bool cmdline_report(Cmdline *c)
{
    for (unsigned i = 0; i < c->errors->len; i++) {
        error_print(c->errors->pdata[i]);
    }
    return c->errors->len == 0;
}

const GivenOption *cmdline_next(const Cmdline *c, OptionId id, const GivenOption *after)
{
    bool found = after == NULL;
    for (unsigned i = 0; i < c->given->len; i++) {
        const GivenOption *g = c->given->pdata[i];
        if (found && g->def->id == id) {
            return g;
        }
        found |= g == after;
    }
    return NULL;
}

const GivenOption *cmdline_last(const Cmdline *c, OptionId id)
{
    const GivenOption *last = NULL;
    CMDLINE_EACH(c, id, g)
    {
        last = g;
    }
    return last;
}

static const OptionDef *find(const char *name)
{
    for (const OptionDef *d = option_table; d->name || d->help; d++) {
        if (d->name && !strcmp(d->name, name)) {
            return d;
        }
    }
    return NULL;
}

static void add(Cmdline *c, const OptionDef *def, const char *arg)
{
    GivenOption *g = g_new0(GivenOption, 1);
    g->def = def;
    g->arg = g_strdup(arg);
    if (def->arg == ARG_KEYS) {
        Error *err = NULL;
        g_autofree char *name = g_strdup_printf("-%s", def->name);
        g->text = option_parse_lists(name, arg, def->implied, def->lists, &err);
        if (!g->text) {
            cmdline_error(c, err);
            g_free((char *)g->arg);
            g_free(g);
            return;
        }
    }
    g_ptr_array_add(c->given, g);
}

/* An option that is none: refused by name, or with the nearest one. true: skip its argument. */
static bool unknown(Cmdline *c, const char *name)
{
    Error *err = NULL;
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (const RefusedOption *r = refused_options; r->name; r++) {
        if (!strcmp(r->name, name)) {
            error_set(&err, "-%s is not supported", name);
            if (r->why) {
                error_hint(&err, "%s", r->why);
            }
            cmdline_error(c, err);
            return r->has_arg;
        }
    }
    for (const OptionDef *d = option_table; d->name || d->help; d++) {
        if (d->name) {
            g_ptr_array_add(names, (gpointer)d->name);
        }
    }
    g_ptr_array_add(names, NULL);
    const char *near = nearest_word(name, (const char *const *)names->pdata);
    error_set(&err, "-%s: there is no such option", name);
    if (near) {
        error_hint(&err, "did you mean -%s?", near);
    }
    cmdline_error(c, err);
    return false;
}

void cmdline_add(Cmdline *c, const char *option, const char *arg)
{
    const OptionDef *def = find(option);
    if (def) {
        add(c, def, arg);
    } else {
        unknown(c, option);
    }
}

/* ---- -readconfig ---- */
/* The key that a section's [kind "id"] stands for. */
static const char *id_key(const char *kind)
{
    return !strcmp(kind, "blockdev") ? "node-name" : "id";
}

static void append_value(GString *arg, const char *key, const char *value)
{
    g_string_append_printf(arg, "%s%s=", arg->len ? "," : "", key);
    for (; *value; value++) { /* a comma in a value is doubled in option syntax */
        g_string_append_c(arg, *value);
        if (*value == ',') {
            g_string_append_c(arg, ',');
        }
    }
}

static void flush_section(Cmdline *c, char **kind, GString *arg)
{
    if (*kind) {
        cmdline_add(c,
                    !strcmp(*kind, "memory")      ? "m"
                    : !strcmp(*kind, "smp-opts")  ? "smp"
                    : !strcmp(*kind, "boot-opts") ? "boot"
                                                  : *kind,
                    arg->str);
    }
    g_free(*kind);
    *kind = NULL;
    g_string_truncate(arg, 0);
}

/* One line; false if it is neither a section nor a value. */
static bool config_line(Cmdline *c, char *line, char **kind, GString *arg)
{
    char name[64], id[64], key[64];
    int n = 0;
    if (sscanf(line, "[%63s \"%63[^\"]\"]%n", name, id, &n) == 2 && n) {
        flush_section(c, kind, arg);
        *kind = g_strdup(name);
        append_value(arg, id_key(name), id);
        return line[n] == 0;
    }
    if (sscanf(line, "[%63[^]]]%n", name, &n) == 1 && n) {
        flush_section(c, kind, arg);
        *kind = g_strdup(name);
        return line[n] == 0;
    }
    if (*kind && sscanf(line, "%63[^ \t=] = %n", key, &n) == 1 && n && line[n] == '"') {
        char *value = line + n + 1, *end = strrchr(value, '"');
        if (end && !end[1]) {
            *end = 0;
            append_value(arg, key, value);
            return true;
        }
    }
    return false;
}

void cmdline_read_config(Cmdline *c, const char *path)
{
    g_autofree char *text = NULL;
    g_autoptr(GString) arg = g_string_new(NULL);
    GError *gerr = NULL;
    Error *err = NULL;
    char *kind = NULL;
    if (!g_file_get_contents(path, &text, NULL, &gerr)) {
        error_set(&err, "-readconfig %s: %s", path, gerr->message);
        cmdline_error(c, err);
        g_error_free(gerr);
        return;
    }
    g_auto(GStrv) lines = g_strsplit(text, "\n", 0);
    for (unsigned i = 0; lines[i]; i++) {
        char *line = g_strstrip(lines[i]);
        if (*line && *line != '#' && !config_line(c, line, &kind, arg)) {
            error_set(&err,
                      "-readconfig %s: line %u is neither [section \"id\"] nor key = \"value\"",
                      path, i + 1);
            cmdline_error(c, err);
            err = NULL;
        }
    }
    flush_section(c, &kind, arg);
}

void cmdline_parse(Cmdline *c, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (word[0] != '-' || !word[1]) {
            add(c, find("hda"), word); /* a disk image */
            continue;
        }
        const char *name = word + 1 + (word[1] == '-');
        const OptionDef *def = find(name);
        if (!def) {
            if (unknown(c, name) && i + 1 < argc) {
                i++;
            }
            continue;
        }
        if (def->arg == ARG_NONE) {
            add(c, def, NULL);
        } else if (i + 1 < argc && def->id == OPT_READCONFIG) {
            cmdline_read_config(c, argv[++i]);
        } else if (i + 1 < argc) {
            add(c, def, argv[++i]);
        } else {
            Error *err = NULL;
            error_set(&err, "-%s: an argument is missing", name);
            error_hint(&err, "its form is -%s %s", name, def->form);
            cmdline_error(c, err);
        }
    }
}
