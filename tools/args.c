/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command lines of the tools. */
#include "tools/tool.h"

#include <inttypes.h>
#include <stdio.h>

typedef struct Given {
    const ToolOption *option;
    const char *value;
} Given;

struct ToolArgs {
    const ToolOption *options;
    GArray *given;    /* Given, in their order */
    GPtrArray *words; /* const char* */
    GPtrArray *mistakes;
};

void tool_args_free(ToolArgs *a)
{
    if (a) {
        g_array_free(a->given, TRUE);
        g_ptr_array_free(a->words, TRUE);
        g_ptr_array_free(a->mistakes, TRUE);
        g_free(a);
    }
}

void tool_mistake(ToolArgs *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_ptr_array_add(a->mistakes, g_strdup_vprintf(fmt, ap));
    va_end(ap);
}

static const ToolOption *by_letter(const ToolArgs *a, char c)
{
    for (const ToolOption *o = a->options; o->name; o++) {
        if (o->letter == c) {
            return o;
        }
    }
    for (const ToolOption *o = a->options; o->name; o++) {
        if (o->other == c) {
            return o;
        }
    }
    return NULL;
}

/* Exact, or the only one that begins so. */
static const ToolOption *by_name(const ToolArgs *a, const char *name, size_t len)
{
    const ToolOption *found = NULL;
    unsigned n = 0;
    for (const ToolOption *o = a->options; o->name; o++) {
        if (!strncmp(o->name, name, len)) {
            if (strlen(o->name) == len) {
                return o;
            }
            found = o;
            n++;
        }
    }
    return n == 1 ? found : NULL;
}

static void give(ToolArgs *a, const ToolOption *o, const char *value)
{
    Given g = {o, value};
    g_array_append_val(a->given, g);
}

static void unknown_long(ToolArgs *a, const char *name, size_t len)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    g_autofree char *word = g_strndup(name, len);
    for (const ToolOption *o = a->options; o->name; o++) {
        g_ptr_array_add(names, (gpointer)o->name);
    }
    g_ptr_array_add(names, NULL);
    const char *near = nearest_word(word, (const char *const *)names->pdata);
    if (near) {
        tool_mistake(a, "there is no option '--%s'; did you mean '--%s'?", word, near);
    } else {
        tool_mistake(a, "there is no option '--%s'", word);
    }
}

/* "--name", "--name=value" or "--name value"; *i is the index in argv. */
static void parse_long(ToolArgs *a, int argc, char **argv, int *i)
{
    const char *name = argv[*i] + 2, *eq = strchr(name, '=');
    size_t len = eq ? (size_t)(eq - name) : strlen(name);
    const ToolOption *o = by_name(a, name, len);
    if (!o) {
        unknown_long(a, name, len);
    } else if (!o->arg && eq) {
        tool_mistake(a, "'--%s' takes no argument", o->name);
    } else if (!o->arg) {
        give(a, o, NULL);
    } else if (eq) {
        give(a, o, eq + 1);
    } else if (*i + 1 < argc) {
        give(a, o, argv[++*i]);
    } else {
        tool_mistake(a, "'--%s' needs an argument (%s)", o->name, o->arg);
    }
}

/* A bundle of letters, of which the last may have an argument. */
static void parse_short(ToolArgs *a, int argc, char **argv, int *i)
{
    for (const char *p = argv[*i] + 1; *p; p++) {
        const ToolOption *o = by_letter(a, *p);
        if (!o) {
            tool_mistake(a, "there is no option '-%c'", *p);
        } else if (!o->arg) {
            give(a, o, NULL);
        } else if (p[1]) {
            give(a, o, p + 1);
            return;
        } else if (*i + 1 < argc) {
            give(a, o, argv[++*i]);
            return;
        } else {
            tool_mistake(a, "'-%c' needs an argument (%s)", *p, o->arg);
        }
    }
}

static bool report_mistakes(ToolArgs *a, Error **errp)
{
    if (!a->mistakes->len) {
        return true;
    }
    if (a->mistakes->len == 1) {
        error_set(errp, "%s", (char *)a->mistakes->pdata[0]);
    } else {
        error_set(errp, "%u mistakes", a->mistakes->len);
        for (guint i = 0; i < a->mistakes->len; i++) {
            error_detail(errp, "  %s\n", (char *)a->mistakes->pdata[i]);
        }
    }
    return false;
}

ToolArgs *tool_args_parse(int argc, char **argv, const ToolOption *options, Error **errp)
{
    ToolArgs *a = g_new0(ToolArgs, 1);
    a->options = options;
    a->given = g_array_new(FALSE, FALSE, sizeof(Given));
    a->words = g_ptr_array_new();
    a->mistakes = g_ptr_array_new_with_free_func(g_free);
    bool only_words = false;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (only_words || arg[0] != '-' || !arg[1] || g_ascii_isdigit(arg[1])) {
            g_ptr_array_add(a->words, (gpointer)arg);
        } else if (!strcmp(arg, "--")) {
            only_words = true;
        } else if (arg[1] == '-') {
            parse_long(a, argc, argv, &i);
        } else {
            parse_short(a, argc, argv, &i);
        }
    }
    return a;
}

bool tool_has(const ToolArgs *a, const char *name)
{
    for (guint i = 0; i < a->given->len; i++) {
        if (!strcmp(g_array_index(a->given, Given, i).option->name, name)) {
            return true;
        }
    }
    return false;
}

const char *tool_get(const ToolArgs *a, const char *name)
{
    for (guint i = a->given->len; i-- > 0;) {
        const Given *g = &g_array_index(a->given, Given, i);
        if (!strcmp(g->option->name, name)) {
            return g->value;
        }
    }
    return NULL;
}

GPtrArray *tool_all(const ToolArgs *a, const char *name)
{
    GPtrArray *all = g_ptr_array_new();
    for (guint i = 0; i < a->given->len; i++) {
        const Given *g = &g_array_index(a->given, Given, i);
        if (!strcmp(g->option->name, name)) {
            g_ptr_array_add(all, (gpointer)g->value);
        }
    }
    return all;
}

const char *tool_nth(const ToolArgs *a, unsigned i, const char **value)
{
    if (i >= a->given->len) {
        return NULL;
    }
    *value = g_array_index(a->given, Given, i).value;
    return g_array_index(a->given, Given, i).option->name;
}

unsigned tool_n_words(const ToolArgs *a)
{
    return a->words->len;
}

const char *tool_word(const ToolArgs *a, unsigned i)
{
    return i < a->words->len ? a->words->pdata[i] : NULL;
}

uint64_t tool_size(ToolArgs *a, const char *name, uint64_t def)
{
    const char *s = tool_get(a, name);
    uint64_t v = def;
    if (s && (!parse_size(s, 'B', &v) || v > INT64_MAX)) {
        tool_mistake(a, "'--%s %s': a size was expected, such as 65536, 64k, 1.5G", name, s);
    }
    return v;
}

uint64_t tool_uint(ToolArgs *a, const char *name, uint64_t def, uint64_t min, uint64_t max)
{
    const char *s = tool_get(a, name);
    uint64_t v = def;
    if (s && (!parse_uint(s, &v) || v < min || v > max)) {
        tool_mistake(a, "'--%s %s': a number from %" PRIu64 " to %" PRIu64 " was expected", name, s,
                     min, max);
    }
    return v;
}

int tool_enum(ToolArgs *a, const char *name, const char *const *words, int def)
{
    const char *s = tool_get(a, name);
    if (!s) {
        return def;
    }
    for (int i = 0; words[i]; i++) {
        if (!strcmp(words[i], s)) {
            return i;
        }
    }
    g_autofree char *all = g_strjoinv("', '", (char **)words);
    const char *near = nearest_word(s, words);
    tool_mistake(a, "'--%s' cannot be '%s'%s%s%s (possible: '%s')", name, s,
                 near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "", all);
    return def;
}

bool tool_args_finish(ToolArgs *a, unsigned min, unsigned max, const char *what, Error **errp)
{
    if (a->words->len < min) {
        tool_mistake(a, "%s expected", what);
    } else if (a->words->len > max) {
        tool_mistake(a, "'%s' is one argument too many (%s expected)", (char *)a->words->pdata[max],
                     what);
    }
    return report_mistakes(a, errp);
}

void tool_print_options(const ToolOption *options)
{
    for (const ToolOption *o = options; o->name; o++) {
        g_autofree char *left =
            o->letter
                ? g_strdup_printf("-%c, --%s%s%s", o->letter, o->name, o->arg ? " " : "",
                                  o->arg ? o->arg : "")
                : g_strdup_printf("    --%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
        printf("  %-34s %s\n", left, o->help);
    }
}
