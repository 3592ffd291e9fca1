/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/option.h"

#include "util/bits.h"

#include <string.h>

/* Where a value stood: [start, start + len) of the text. */
typedef struct Span {
    char *key;
    size_t start, len;
} Span;

typedef struct Mistake {
    size_t start, len; /* len 0: the option as a whole */
    char *message;
} Mistake;

struct OptionText {
    char *option, *text;
    Json *values;
    GArray *spans;     /* Span */
    GPtrArray *asked;  /* char*: keys a consumer looked for */
    GHashTable *taken; /* key -> itself */
    GArray *mistakes;  /* Mistake */
    bool help;
};

static void span_clear(gpointer p)
{
    g_free(((Span *)p)->key);
}

static void mistake_clear(gpointer p)
{
    g_free(((Mistake *)p)->message);
}

static OptionText *option_new(const char *option, const char *text)
{
    OptionText *o = g_new0(OptionText, 1);
    o->option = g_strdup(option);
    o->text = g_strdup(text);
    o->spans = g_array_new(FALSE, FALSE, sizeof(Span));
    g_array_set_clear_func(o->spans, span_clear);
    o->asked = g_ptr_array_new_with_free_func(g_free);
    o->taken = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    o->mistakes = g_array_new(FALSE, FALSE, sizeof(Mistake));
    g_array_set_clear_func(o->mistakes, mistake_clear);
    return o;
}

void option_free(OptionText *o)
{
    if (!o) {
        return;
    }
    g_free(o->option);
    g_free(o->text);
    json_unref(o->values);
    g_array_free(o->spans, TRUE);
    g_ptr_array_free(o->asked, TRUE);
    g_hash_table_destroy(o->taken);
    g_array_free(o->mistakes, TRUE);
    g_free(o);
}

static bool all_digits(const char *s)
{
    return *s && strspn(s, "0123456789") == strlen(s);
}

/*
 * Puts a value at a dotted key.  Nested objects are made on the way; those with
 * only numeric members become arrays in the end.  false: the key contradicts an
 * earlier one ("a=1,a.b=2").
 */
static bool put_dotted(Json *root, const char *key, Json *v)
{
    g_auto(GStrv) parts = g_strsplit(key, ".", -1);
    Json *at = root;
    unsigned i;
    for (i = 0; parts[i] && parts[i + 1]; i++) {
        Json *next = json_get(at, parts[i]);
        if (!next) {
            next = json_object();
            json_put(at, parts[i], next);
        } else if (json_type(next) != JSON_OBJECT) {
            json_unref(v);
            return false;
        }
        at = next;
    }
    Json *old = json_get(at, parts[i]);
    if (old && json_type(old) == JSON_OBJECT) {
        json_unref(v);
        return false;
    }
    json_put(at, parts[i], v); /* a repeated key: the last one counts */
    return true;
}

/*
 * "-drive file=NAME,file.locking=off": the one place where QEMU lets a value and
 * keys below it stand side by side.  Such keys keep their dots.
 */
static bool beside_file_name(const OptionText *o, const char *key)
{
    return !strcmp(o->option, "-drive") && g_str_has_prefix(key, "file.") &&
           json_get_str(o->values, "file");
}

/* Turns {"0": a, "1": b} into [a, b], bottom-up; the root stays an object. */
static Json *fold_arrays(Json *v, bool root)
{
    if (json_type(v) != JSON_OBJECT) {
        return v;
    }
    size_t n = json_length(v);
    bool numeric = n > 0 && !root;
    for (size_t i = 0; i < n; i++) {
        Json *child = json_value_at(v, i);
        Json *folded = fold_arrays(child, false);
        if (folded != child) {
            json_put(v, json_key_at(v, i), folded);
        }
        numeric = numeric && all_digits(json_key_at(v, i));
    }
    if (!numeric) {
        return v;
    }
    Json *a = json_array();
    for (size_t i = 0; i < n; i++) {
        char index[24];
        g_snprintf(index, sizeof(index), "%zu", i);
        Json *e = json_get(v, index);
        if (!e) {
            json_unref(a);
            return v; /* not 0…n-1: stays an object */
        }
        json_append(a, json_ref(e));
    }
    return a;
}

/* The element from `p`: up to a single comma; doubled ones are undone. */
static char *take_element(const char **p)
{
    GString *out = g_string_new(NULL);
    while (**p) {
        if (**p == ',') {
            if ((*p)[1] != ',') {
                break;
            }
            (*p)++;
        }
        g_string_append_c(out, **p);
        (*p)++;
    }
    return g_string_free(out, FALSE);
}

static void add_span(OptionText *o, const char *key, size_t start, size_t len)
{
    Span s = {g_strdup(key), start, len};
    g_array_append_val(o->spans, s);
}

static bool parse_keyval(OptionText *o, const char *implied, const char *const *lists)
{
    const char *p = o->text;
    bool first = true;
    o->values = json_object();
    while (*p) {
        const char *start = p;
        /* A key ends at '='; a comma before it makes a bare word. */
        size_t klen = strcspn(p, "=,");
        g_autofree char *key = NULL;
        Json *v;
        if (p[klen] == '=' && klen && !(first && implied && memchr(p, '/', klen))) {
            key = g_strndup(p, klen);
            p += klen + 1;
            g_autofree char *value = take_element(&p);
            v = json_string(value);
        } else {
            g_autofree char *word = take_element(&p);
            if (!strcmp(word, "help") || !strcmp(word, "?")) {
                o->help = true;
            }
            if (first && implied) {
                key = g_strdup(implied);
                v = json_string(word);
            } else {
                key = g_steal_pointer(&word);
                v = json_string("on");
            }
        }
        add_span(o, key, (size_t)(start - o->text), (size_t)(p - start));
        if (!*key || *key == '.' || *key == '=' || strstr(key, "..") ||
            g_str_has_suffix(key, ".")) {
            json_unref(v);
            option_mistake(o, key, *key && *key != '=' ? "malformed key" : "a key is missing here");
        } else if (lists && g_strv_contains(lists, key)) {
            Json *list = json_get(o->values, key);
            if (!list) {
                list = json_array();
                json_put(o->values, key, list);
            }
            json_append(list, v);
        } else if (beside_file_name(o, key)) {
            json_put(o->values, key, v);
        } else if (!put_dotted(o->values, key, v)) {
            option_mistake(o, key, "contradicts an earlier key");
        }
        first = false;
        if (*p == ',') {
            p++;
        }
    }
    o->values = fold_arrays(o->values, true);
    return o->mistakes->len == 0;
}

OptionText *option_parse(const char *option, const char *text, const char *implied, Error **errp)
{
    return option_parse_lists(option, text, implied, NULL, errp);
}

OptionText *option_parse_lists(const char *option, const char *text, const char *implied,
                               const char *const *lists, Error **errp)
{
    OptionText *o = option_new(option, text);
    if (*text == '{') {
        o->values = json_parse(text, errp);
        if (!o->values) {
            error_prefix(errp, "%s %s: ", option, text);
            option_free(o);
            return NULL;
        }
        return o;
    }
    if (!parse_keyval(o, implied, lists)) {
        option_check(o, errp);
        option_free(o);
        return NULL;
    }
    return o;
}

Json *option_values(OptionText *o)
{
    return o->values;
}

const char *option_name(const OptionText *o)
{
    return o->option;
}

const char *option_source(const OptionText *o)
{
    return o->text;
}

bool option_wants_help(const OptionText *o)
{
    return o->help;
}

/* The span of a key, or of the first key below or above it. */
static const Span *find_span(const OptionText *o, const char *key)
{
    const Span *near = NULL;
    for (guint i = 0; i < o->spans->len; i++) {
        const Span *s = &g_array_index(o->spans, Span, i);
        size_t n = strlen(s->key), k = strlen(key);
        if (!strcmp(s->key, key)) {
            return s;
        }
        if (!near && ((n > k && s->key[k] == '.' && !strncmp(s->key, key, k)) ||
                      (k > n && key[n] == '.' && !strncmp(s->key, key, n)))) {
            near = s;
        }
    }
    return near;
}

/* In JSON text the quoted name is what can be pointed at. */
static void locate_in_json(const OptionText *o, const char *key, Mistake *m)
{
    const char *last = strrchr(key, '.');
    g_autofree char *quoted = g_strdup_printf("\"%s\"", last ? last + 1 : key);
    const char *at = strstr(o->text, quoted);
    if (at) {
        m->start = (size_t)(at - o->text);
        m->len = strlen(quoted);
    }
}

void option_mistake(OptionText *o, const char *key, const char *fmt, ...)
{
    Mistake m = {0};
    va_list ap;
    va_start(ap, fmt);
    m.message = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    if (key) {
        const Span *s = find_span(o, key);
        if (s) {
            m.start = s->start;
            m.len = s->len;
        } else {
            locate_in_json(o, key, &m);
        }
    }
    g_array_append_val(o->mistakes, m);
}

bool option_check(OptionText *o, Error **errp)
{
    guint n = o->mistakes->len;
    if (!n) {
        return true;
    }
    const Mistake *first = &g_array_index(o->mistakes, Mistake, 0);
    if (n == 1) {
        error_set(errp, "%s %s: %s", o->option, o->text, first->message);
    } else {
        error_set(errp, "%s %s: %u mistakes", o->option, o->text, n);
    }
    error_detail(errp, "  %s %s", o->option, o->text);
    for (guint i = 0; i < n; i++) {
        const Mistake *m = &g_array_index(o->mistakes, Mistake, i);
        if (m->len) {
            g_autofree char *line = g_strnfill(m->len, '~');
            line[0] = '^';
            error_detail(errp, "  %*s%s %s", (int)(strlen(o->option) + 1 + m->start), "", line,
                         m->message);
        } else if (n > 1) {
            error_detail(errp, "  %s", m->message);
        }
    }
    return false;
}

/* ---- taking members out ---- */

static const Json *look_up(OptionText *o, const char *key)
{
    g_ptr_array_add(o->asked, g_strdup(key));
    g_hash_table_add(o->taken, g_strdup(key));
    const Json *at = o->values;
    g_auto(GStrv) parts = g_strsplit(key, ".", -1);
    for (char **p = parts; *p && at; p++) {
        at = json_type(at) == JSON_OBJECT ? json_get(at, *p) : NULL;
    }
    return at;
}

bool option_has(const OptionText *o, const char *key)
{
    return json_get(o->values, key) != NULL;
}

const char *option_take_string(OptionText *o, const char *key, const char *def)
{
    const Json *v = look_up(o, key);
    if (!v) {
        return def;
    }
    const char *s = json_get_string(v);
    if (!s) {
        option_mistake(o, key, "expected a string, not %s", json_type_name(json_type(v)));
        return def;
    }
    return s;
}

bool option_take_bool(OptionText *o, const char *key, bool def)
{
    const Json *v = look_up(o, key);
    bool b = def;
    if (v && !json_get_bool(v, &b) &&
        (!json_get_string(v) || !parse_bool(json_get_string(v), &b))) {
        option_mistake(o, key, "expected on or off");
        return def;
    }
    return b;
}

uint64_t option_take_uint(OptionText *o, const char *key, uint64_t def, uint64_t min, uint64_t max)
{
    const Json *v = look_up(o, key);
    uint64_t n = def;
    if (!v) {
        return def;
    }
    if (!json_get_uint(v, &n) && (!json_get_string(v) || !parse_uint(json_get_string(v), &n))) {
        option_mistake(o, key, "expected a number");
        return def;
    }
    if (n < min || n > max) {
        option_mistake(o, key, "expected a number from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT,
                       (guint64)min, (guint64)max);
        return def;
    }
    return n;
}

uint64_t option_take_size(OptionText *o, const char *key, uint64_t def, char default_suffix)
{
    const Json *v = look_up(o, key);
    uint64_t n = def;
    if (v && !json_get_uint(v, &n) &&
        (!json_get_string(v) || !parse_size(json_get_string(v), default_suffix, &n))) {
        option_mistake(o, key, "expected a size such as 512M or 2G");
        return def;
    }
    return n;
}

int option_take_enum(OptionText *o, const char *key, const char *const *names, int def)
{
    const Json *v = look_up(o, key);
    const char *s = json_get_string(v);
    if (!v) {
        return def;
    }
    for (int i = 0; s && names[i]; i++) {
        if (!strcmp(names[i], s)) {
            return i;
        }
    }
    g_autofree char *all = g_strjoinv(", ", (char **)names);
    const char *near = s ? nearest_word(s, names) : NULL;
    if (near) {
        option_mistake(o, key, "did you mean \"%s\"? (accepted: %s)", near, all);
    } else {
        option_mistake(o, key, "expected one of: %s", all);
    }
    return def;
}

/* Was the member at `key`, something below it, or something above it taken? */
static bool was_taken(const OptionText *o, const char *key)
{
    GHashTableIter it;
    gpointer k;
    g_hash_table_iter_init(&it, o->taken);
    while (g_hash_table_iter_next(&it, &k, NULL)) {
        const char *t = k;
        size_t n = strlen(t), len = strlen(key);
        if (!strcmp(t, key) || (n > len && t[len] == '.' && !strncmp(t, key, len))) {
            return true;
        }
    }
    return false;
}

bool option_finish(OptionText *o, Error **errp)
{
    g_ptr_array_add(o->asked, NULL);
    for (size_t i = 0; i < json_length(o->values); i++) {
        const char *key = json_key_at(o->values, i);
        if (was_taken(o, key)) {
            continue;
        }
        const char *near = nearest_word(key, (const char *const *)o->asked->pdata);
        if (near) {
            option_mistake(o, key, "there is no \"%s\" here; did you mean \"%s\"?", key, near);
        } else {
            option_mistake(o, key, "there is no \"%s\" here", key);
        }
    }
    g_ptr_array_set_size(o->asked, (int)o->asked->len - 1);
    return option_check(o, errp);
}
