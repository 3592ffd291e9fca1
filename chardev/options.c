/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making backends from option objects and from the short forms. */
#include "chardev/backend.h"
#include "util/option.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- taking options ---- */
struct CharOptions {
    Json *values;     /* a copy; what is taken is removed */
    GPtrArray *asked; /* names that somebody asked for */
    GPtrArray *kept;  /* Json whose strings were handed out */
    GString *mistakes;
    unsigned n_mistakes;
};

CharOptions *char_options_new(const Json *options)
{
    CharOptions *o = g_new0(CharOptions, 1);
    o->values = json_copy(options);
    o->asked = g_ptr_array_new();
    o->kept = g_ptr_array_new_with_free_func((GDestroyNotify)json_unref);
    o->mistakes = g_string_new(NULL);
    return o;
}

void char_options_free(CharOptions *o)
{
    if (o) {
        json_unref(o->values);
        g_ptr_array_free(o->asked, TRUE);
        g_ptr_array_free(o->kept, TRUE);
        g_string_free(o->mistakes, TRUE);
        g_free(o);
    }
}

void char_option_mistake(CharOptions *o, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (o->n_mistakes++) {
        g_string_append(o->mistakes, "; ");
    }
    g_string_append_vprintf(o->mistakes, fmt, ap);
    va_end(ap);
}

/* The value, taken out of the object; kept alive until the options are freed. */
static Json *take(CharOptions *o, const char *key)
{
    g_ptr_array_add(o->asked, (gpointer)key);
    Json *v = json_get(o->values, key);
    if (v) {
        g_ptr_array_add(o->kept, json_ref(v));
        json_remove(o->values, key);
    }
    return v;
}

bool char_option_has(CharOptions *o, const char *key)
{
    return json_get(o->values, key) != NULL;
}

const char *char_option_string(CharOptions *o, const char *key, const char *def)
{
    Json *v = take(o, key);
    if (!v) {
        return def;
    }
    const char *s = json_get_string(v);
    if (!s) {
        char_option_mistake(o, "'%s' must be a string", key);
    }
    return s ? s : def;
}

const char *char_option_required(CharOptions *o, const char *key)
{
    if (!char_option_has(o, key)) {
        g_ptr_array_add(o->asked, (gpointer)key);
        char_option_mistake(o, "'%s' is missing", key);
        return "";
    }
    return char_option_string(o, key, "");
}

bool char_option_bool(CharOptions *o, const char *key, bool def)
{
    Json *v = take(o, key);
    bool b = def;
    if (v && !json_get_bool(v, &b) && !(json_get_string(v) && parse_bool(json_get_string(v), &b))) {
        char_option_mistake(o, "'%s' must be on or off", key);
        return def;
    }
    return b;
}

uint64_t char_option_uint(CharOptions *o, const char *key, uint64_t def, uint64_t max)
{
    Json *v = take(o, key);
    uint64_t n = def;
    bool ok =
        !v || json_get_uint(v, &n) || (json_get_string(v) && parse_uint(json_get_string(v), &n));
    if (!ok || (v && n > max)) {
        char_option_mistake(o, "'%s' must be a number from 0 to %" PRIu64, key, max);
        return def;
    }
    return n;
}

uint64_t char_option_size(CharOptions *o, const char *key, uint64_t def)
{
    Json *v = take(o, key);
    uint64_t n = def;
    if (v && !json_get_uint(v, &n) &&
        !(json_get_string(v) && parse_size(json_get_string(v), 'B', &n))) {
        char_option_mistake(o, "'%s' must be a size such as 64K", key);
        return def;
    }
    return n;
}

bool char_options_check(CharOptions *o, Error **errp)
{
    g_ptr_array_add(o->asked, NULL);
    for (size_t i = 0; i < json_length(o->values); i++) {
        const char *key = json_key_at(o->values, i);
        const char *near = nearest_word(key, (const char *const *)o->asked->pdata);
        if (near) {
            char_option_mistake(o, "there is no option '%s', did you mean '%s'?", key, near);
        } else {
            char_option_mistake(o, "there is no option '%s'", key);
        }
    }
    g_ptr_array_set_size(o->asked, (gint)o->asked->len - 1);
    if (o->n_mistakes) {
        error_set(errp, "%s", o->mistakes->str);
        return false;
    }
    return true;
}

/* ---- making one ---- */
const char **chardev_backends(void)
{
    g_autofree const TypeInfo **types = type_list(TYPE_CHARDEV, false);
    GPtrArray *names = g_ptr_array_new();
    for (unsigned i = 0; types && types[i]; i++) {
        const char *name = types[i]->name + strlen("chardev-");
        if (strcmp(name, "mux")) { /* made by mux=on */
            g_ptr_array_add(names, (gpointer)name);
        }
    }
    g_ptr_array_add(names, NULL);
    return (const char **)g_ptr_array_free(names, FALSE);
}

static bool id_is_good(const char *id)
{
    if (!isalpha((unsigned char)*id)) {
        return false;
    }
    for (; *id; id++) {
        if (!isalnum((unsigned char)*id) && !strchr("-._", *id)) {
            return false;
        }
    }
    return true;
}

static const TypeInfo *find_backend(const char *backend, Error **errp)
{
    g_autofree char *type_name = g_strdup_printf("chardev-%s", backend);
    const TypeInfo *t = type_find(type_name);
    if (t && type_is_a(t, TYPE_CHARDEV) && !t->abstract && strcmp(backend, "mux")) {
        return t;
    }
    g_autofree const char **names = chardev_backends();
    g_autofree char *list = g_strjoinv(", ", (char **)names);
    const char *near = nearest_word(backend, names);
    error_set(errp, "There is no character backend '%s'", backend);
    if (near) {
        error_hint(errp, "did you mean '%s'?", near);
    }
    error_hint(errp, "there are: %s", list);
    return NULL;
}

static bool open_log(Chardev *chr, const char *path, bool append, Error **errp)
{
    if (path) {
        int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : O_TRUNC);
        chr->log_fd = open(path, flags, 0666);
        if (chr->log_fd < 0) {
            error_set_errno(errp, errno, "Could not open the log file '%s'", path);
            return false;
        }
    }
    return true;
}

static Chardev *make(const TypeInfo *type, EventLoop *control, CharOptions *o, const char *logfile,
                     bool append, Error **errp)
{
    Chardev *chr = (Chardev *)object_new(type->name);
    chr->loop = control;
    char_set_filename(chr, "%s", type->name + strlen("chardev-"));
    const ChardevClass *k = chardev_class(chr);
    if (!(k->open ? k->open(chr, o, errp) : char_options_check(o, errp)) ||
        !open_log(chr, logfile, append, errp)) {
        object_unref(&chr->obj);
        return NULL;
    }
    return chr;
}

/* Below /chardevs; a mux takes the id, and what it wraps is "ID-base". */
static Chardev *publish(Object *root, const char *id, Chardev *chr, bool mux, Error **errp)
{
    Object *dir = object_container(root, "/chardevs");
    if (!mux) {
        object_add_child(dir, id, &chr->obj);
        return chr;
    }
    g_autofree char *base_id = g_strdup_printf("%s-base", id);
    Chardev *m = (Chardev *)object_new("chardev-mux");
    m->loop = chr->loop;
    object_add_child(dir, base_id, &chr->obj);
    object_add_child(dir, id, &m->obj);
    if (!chardev_mux_connect(m, chr, errp)) {
        object_unparent(&m->obj);
        object_unparent(&chr->obj);
        return NULL;
    }
    return m;
}

Chardev *chardev_new(Object *root, const char *id, Json *options, EventLoop *control, Error **errp)
{
    CharOptions *o = char_options_new(options);
    const char *backend = char_option_string(o, "backend", NULL);
    const char *own_id = char_option_string(o, "id", NULL);
    const char *logfile = char_option_string(o, "logfile", NULL);
    bool append = char_option_bool(o, "logappend", false);
    bool mux = char_option_bool(o, "mux", false);
    Error *err = NULL;
    const TypeInfo *type = NULL;
    Chardev *chr = NULL;
    id = id ? id : own_id;
    g_autofree char *path = g_strdup_printf("/chardevs/%s", id ? id : "");
    if (!id) {
        error_set(&err, "'id' is missing");
    } else if (!id_is_good(id)) {
        error_set(&err, "'%s' is no valid id", id);
        error_hint(&err, "an id starts with a letter and has letters, digits, '-', '.', '_'");
    } else if (object_resolve(root, path)) {
        error_set(&err, "There is a character device '%s' already", id);
    } else if (!backend) {
        error_set(&err, "'backend' is missing");
    } else {
        type = find_backend(backend, &err);
    }
    if (type) {
        chardev_manager(root);
        chr = make(type, control, o, logfile, append, &err);
        if (!chr) {
            error_prefix(&err, "Character device '%s' (%s): ", id, backend);
        } else {
            chr = publish(root, id, chr, mux, &err);
        }
    }
    if (chr && !strcmp(type->name, "chardev-pty")) {
        /* Scripts that start us read the terminal's name here. */
        printf("char device redirected to %s (label %s)\n",
               strchr(chardev_filename(chr), ':') ? strchr(chardev_filename(chr), ':') + 1 : "?",
               id);
        fflush(stdout);
    }
    char_options_free(o);
    error_propagate(errp, err);
    return chr;
}

Chardev *chardev_find(Object *root, const char *id, Error **errp)
{
    g_autofree char *path = g_strdup_printf("/chardevs/%s", id);
    Object *obj = strchr(id, '/') ? NULL : object_resolve(root, path);
    if (!obj || !object_is_a(obj, TYPE_CHARDEV)) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "There is no character device '%s'",
                        id);
        return NULL;
    }
    return (Chardev *)obj;
}

static bool collect(Object *obj, void *list)
{
    g_ptr_array_add(list, obj);
    return true;
}

void chardev_remove_all(Object *root)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new();
    object_each_child(object_container(root, "/chardevs"), collect, all);
    for (unsigned i = 0; i < all->len; i++) {
        object_unparent(all->pdata[i]);
    }
}

/* ---- short forms ---- */
/* "host:port" of a short form; IPv6 addresses stand in brackets. */
static bool split_host_port(const char *s, char **host, char **port)
{
    const char *colon;
    if (*s == '[') {
        const char *end = strchr(s, ']');
        if (!end || end[1] != ':') {
            return false;
        }
        *host = g_strndup(s + 1, (gsize)(end - s - 1));
        colon = end + 1;
    } else {
        colon = strrchr(s, ':');
        if (!colon) {
            return false;
        }
        *host = g_strndup(s, (gsize)(colon - s));
    }
    *port = g_strdup(colon + 1);
    return **port != 0;
}

static bool short_socket(Json *o, const char *text, bool telnet, Error **errp)
{
    const char *rest = strchr(text, ':') + 1;
    g_autofree char *addr = g_strndup(rest, strcspn(rest, ","));
    if (g_str_has_prefix(text, "unix:")) {
        json_put_string(o, "path", addr);
    } else {
        g_autofree char *host = NULL, *port = NULL;
        if (!split_host_port(addr, &host, &port)) {
            error_set(errp, "'%s' is no HOST:PORT", addr);
            return false;
        }
        json_put_string(o, "host", host);
        json_put_string(o, "port", port);
        if (telnet) {
            json_put_string(o, "telnet", "on");
        }
    }
    json_put_string(o, "backend", "socket");
    return true;
}

/* ",server=on,wait=off" behind a short form. */
static bool short_rest(Json *o, const char *text, Error **errp)
{
    const char *comma = strchr(text, ',');
    if (!comma) {
        return true;
    }
    g_autoptr(OptionText) more = option_parse("", comma + 1, NULL, errp);
    if (!more) {
        return false;
    }
    Json *v = option_values(more);
    for (size_t i = 0; i < json_length(v); i++) {
        json_put(o, json_key_at(v, i), json_ref(json_value_at(v, i)));
    }
    return true;
}

static bool short_path(Json *o, const char *backend, const char *text, Error **errp)
{
    const char *path = strchr(text, ':') + 1;
    g_autofree char *p = g_strndup(path, strcspn(path, ","));
    json_put_string(o, "backend", backend);
    json_put_string(o, "path", p);
    return short_rest(o, text, errp);
}

/* NULL on error; the options of a long form otherwise. */
static Json *expand_short(const char *text, Error **errp)
{
    g_autoptr(Json) o = json_object();
    bool ok = true;
    if (!strcmp(text, "null") || !strcmp(text, "pty") || !strcmp(text, "stdio")) {
        json_put_string(o, "backend", text);
    } else if (g_str_has_prefix(text, "stdio,") || g_str_has_prefix(text, "null,") ||
               g_str_has_prefix(text, "pty,")) {
        g_autofree char *name = g_strndup(text, strcspn(text, ","));
        json_put_string(o, "backend", name);
        ok = short_rest(o, text, errp);
    } else if (g_str_has_prefix(text, "file:")) {
        ok = short_path(o, "file", text, errp);
    } else if (g_str_has_prefix(text, "pipe:")) {
        ok = short_path(o, "pipe", text, errp);
    } else if (g_str_has_prefix(text, "pty:")) {
        ok = short_path(o, "pty", text, errp);
    } else if (g_str_has_prefix(text, "unix:") || g_str_has_prefix(text, "tcp:")) {
        ok = short_socket(o, text, false, errp) && short_rest(o, text, errp);
    } else if (g_str_has_prefix(text, "telnet:")) {
        ok = short_socket(o, text, true, errp) && short_rest(o, text, errp);
    } else if (g_str_has_prefix(text, "/dev/")) {
        json_put_string(o, "backend", "serial");
        json_put_string(o, "path", text);
    } else if (!strcmp(text, "vc") || g_str_has_prefix(text, "vc:")) {
        error_set(errp, "Text consoles in the display window ('vc') are not supported");
        error_hint(errp, "use stdio, pty, file:PATH, unix:PATH,server=on or null");
        return NULL;
    } else {
        static const char *const forms[] = {"stdio", "pty",     "null", "none",   "file",
                                            "unix",  "pipe",    "tcp",  "telnet", "mon",
                                            "vc",    "chardev", NULL};
        g_autofree char *word = g_strndup(text, strcspn(text, ":,"));
        const char *near = nearest_word(word, forms);
        error_set(errp, "'%s' is no character device", text);
        if (near && strcmp(near, word)) {
            error_hint(errp, "did you mean '%s'?", near);
        }
        error_hint(errp, "use stdio, pty, null, none, file:PATH, pipe:PATH, unix:PATH, "
                         "tcp:HOST:PORT, telnet:HOST:PORT, mon:… or chardev:ID");
        return NULL;
    }
    return ok ? g_steal_pointer(&o) : NULL;
}

Chardev *chardev_new_short(Object *root, const char *id, const char *text, EventLoop *control,
                           bool *none, bool *with_monitor, Error **errp)
{
    *none = false;
    bool mon = g_str_has_prefix(text, "mon:");
    if (with_monitor) {
        *with_monitor = mon;
    }
    if (mon) {
        text += strlen("mon:");
    }
    if (g_str_has_prefix(text, "chardev:")) {
        return chardev_find(root, text + strlen("chardev:"), errp);
    }
    if (!strcmp(text, "none")) {
        *none = true;
        return NULL;
    }
    g_autoptr(Json) o = expand_short(text, errp);
    if (!o) {
        return NULL;
    }
    if (mon) {
        json_put_string(o, "mux", "on");
        const char *backend = json_get_str(o, "backend");
        if (!strcmp(backend, "stdio") && !json_get(o, "signal")) {
            json_put_string(o, "signal", "off"); /* Ctrl-C is for the guest */
        }
    }
    return chardev_new(root, id, o, control, errp);
}
