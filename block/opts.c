/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/node.h"
#include "util/option.h"

#include <inttypes.h>

/*
 * Values come as strings (-drive) or typed (-blockdev, QMP): both are taken.
 */
struct BlockOpts {
    const Json *options;
    const char *what;
    GPtrArray *known; /* keys somebody asked for; interned */
    GPtrArray *mistakes;
};

BlockOpts *block_opts_new(const Json *options, const char *what)
{
    BlockOpts *o = g_new0(BlockOpts, 1);
    o->options = options;
    o->what = what;
    o->known = g_ptr_array_new();
    o->mistakes = g_ptr_array_new_with_free_func(g_free);
    return o;
}

void block_opts_free(BlockOpts *o)
{
    if (!o) {
        return;
    }
    g_ptr_array_free(o->known, TRUE);
    g_ptr_array_free(o->mistakes, TRUE);
    g_free(o);
}

static void note_known(BlockOpts *o, const char *key)
{
    for (guint i = 0; i < o->known->len; i++) {
        if (!strcmp(o->known->pdata[i], key)) {
            return;
        }
    }
    g_ptr_array_add(o->known, (gpointer)g_intern_string(key));
}

bool block_opts_has(const BlockOpts *o, const char *key)
{
    return json_get(o->options, key) != NULL;
}

Json *block_opts_take(BlockOpts *o, const char *key)
{
    note_known(o, key);
    return json_get(o->options, key);
}

void block_opts_mistake(BlockOpts *o, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_ptr_array_add(o->mistakes, g_strdup_vprintf(fmt, ap));
    va_end(ap);
}

const char *block_opts_string(BlockOpts *o, const char *key, const char *def)
{
    Json *v = block_opts_take(o, key);
    if (!v) {
        return def;
    }
    const char *s = json_get_string(v);
    if (!s) {
        block_opts_mistake(o, "'%s' must be a string, not %s", key, json_type_name(json_type(v)));
        return def;
    }
    return s;
}

bool block_opts_bool(BlockOpts *o, const char *key, bool def)
{
    Json *v = block_opts_take(o, key);
    bool b;
    if (!v) {
        return def;
    }
    const char *s = json_get_string(v);
    if (json_get_bool(v, &b) || (s && parse_bool(s, &b))) {
        return b;
    }
    block_opts_mistake(o, "'%s' must be 'on' or 'off'", key);
    return def;
}

uint64_t block_opts_uint(BlockOpts *o, const char *key, uint64_t def, uint64_t min, uint64_t max)
{
    Json *v = block_opts_take(o, key);
    uint64_t n;
    if (!v) {
        return def;
    }
    const char *s = json_get_string(v);
    if ((json_get_uint(v, &n) || (s && parse_uint(s, &n))) && n >= min && n <= max) {
        return n;
    }
    block_opts_mistake(o, "'%s' must be a number from %" PRIu64 " to %" PRIu64, key, min, max);
    return def;
}

uint64_t block_opts_size(BlockOpts *o, const char *key, uint64_t def)
{
    Json *v = block_opts_take(o, key);
    uint64_t n;
    if (!v) {
        return def;
    }
    const char *s = json_get_string(v);
    if ((json_get_uint(v, &n) || (s && parse_size(s, 'B', &n))) && n <= INT64_MAX) {
        return n;
    }
    block_opts_mistake(o, "'%s' must be a size, such as 1048576 or 1M", key);
    return def;
}

int block_opts_enum(BlockOpts *o, const char *key, const char *const *names, int def)
{
    const char *s = block_opts_string(o, key, NULL);
    if (!s) {
        return def;
    }
    for (int i = 0; names[i]; i++) {
        if (!strcmp(names[i], s)) {
            return i;
        }
    }
    g_autofree char *all = g_strjoinv("', '", (char **)names);
    const char *near = nearest_word(s, names);
    if (near) {
        block_opts_mistake(o, "'%s' cannot be '%s'; did you mean '%s'? (possible: '%s')", key, s,
                           near, all);
    } else {
        block_opts_mistake(o, "'%s' cannot be '%s' (possible: '%s')", key, s, all);
    }
    return def;
}

/* Option groups QEMU has and Rhea does not: named as such, not as typing errors. */
static const char *unsupported_reason(const char *key)
{
    static const struct {
        const char *key, *what;
    } known[] = {
        {"throttling", "I/O throttling is not supported"},
        {"copy-on-read", "copy-on-read is not supported"},
        {"lazy-refcounts", "reference counts are always kept exact"},
        {"overlap-check", "overlaps are always checked for"},
        {"cache-clean-interval", "caches are never emptied while idle"},
        {"pr-manager", "persistent reservations are not supported"},
        {"stats-account-invalid", "I/O statistics options are not supported"},
        {"stats-account-failed", "I/O statistics options are not supported"},
        {"stats-intervals", "I/O statistics options are not supported"},
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (!strcmp(key, known[i].key)) {
            return known[i].what;
        }
    }
    return NULL;
}

static void note_untaken(BlockOpts *o)
{
    g_ptr_array_add(o->known, NULL);
    for (size_t i = 0; i < json_length(o->options); i++) {
        const char *key = json_key_at(o->options, i);
        bool taken = false;
        for (guint k = 0; k + 1 < o->known->len && !taken; k++) {
            taken = !strcmp(o->known->pdata[k], key);
        }
        if (taken) {
            continue;
        }
        const char *why = unsupported_reason(key);
        const char *near = nearest_word(key, (const char *const *)o->known->pdata);
        if (why) {
            block_opts_mistake(o, "'%s': %s", key, why);
        } else if (near) {
            block_opts_mistake(o, "there is no option '%s' here; did you mean '%s'?", key, near);
        } else {
            block_opts_mistake(o, "there is no option '%s' here", key);
        }
    }
    g_ptr_array_set_size(o->known, (gint)o->known->len - 1);
}

bool block_opts_finish(BlockOpts *o, Error **errp)
{
    note_untaken(o);
    if (o->mistakes->len == 0) {
        return true;
    }
    if (o->mistakes->len == 1) {
        error_set(errp, "%s: %s", o->what, (char *)o->mistakes->pdata[0]);
        return false;
    }
    error_set(errp, "%s: %u mistakes", o->what, o->mistakes->len);
    for (guint i = 0; i < o->mistakes->len; i++) {
        error_detail(errp, "  %s\n", (char *)o->mistakes->pdata[i]);
    }
    return false;
}
