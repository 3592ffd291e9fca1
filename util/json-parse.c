/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The JSON reader (RFC 8259, with QEMU's single-quoted strings), and its form
 * for streams, which cuts the input into values before parsing them.
 */
#include "util/json.h"

#include <errno.h>
#include <string.h>

#define MAX_DEPTH 256
#define MAX_TOTAL (64u << 20)

typedef struct Parser {
    const char *start, *p, *end;
    unsigned depth;
    Error **errp;
} Parser;

static Json *parse_value(Parser *s);

static Json *fail(Parser *s, const char *what)
{
    if (s->errp && !*s->errp) {
        error_set(s->errp, "JSON parse error, %s at offset %zu", what, (size_t)(s->p - s->start));
    }
    return NULL;
}

static void skip_space(Parser *s)
{
    while (s->p < s->end && strchr(" \t\r\n", *s->p) && *s->p) {
        s->p++;
    }
}

static bool parse_hex4(Parser *s, unsigned *out)
{
    if (s->end - s->p < 4) {
        return false;
    }
    unsigned v = 0;
    for (int i = 0; i < 4; i++) {
        int d = g_ascii_xdigit_value(s->p[i]);
        if (d < 0) {
            return false;
        }
        v = v * 16 + (unsigned)d;
    }
    s->p += 4;
    *out = v;
    return true;
}

/* After "\u": a code point, with its surrogate pair if it is one half of one. */
static bool parse_unicode(Parser *s, GString *out)
{
    unsigned c, lo;
    if (!parse_hex4(s, &c)) {
        return false;
    }
    if (c >= 0xd800 && c < 0xdc00) {
        if (s->end - s->p < 2 || s->p[0] != '\\' || s->p[1] != 'u') {
            return false;
        }
        s->p += 2;
        if (!parse_hex4(s, &lo) || lo < 0xdc00 || lo > 0xdfff) {
            return false;
        }
        c = 0x10000 + ((c - 0xd800) << 10) + (lo - 0xdc00);
    }
    if (!c || (c >= 0xdc00 && c < 0xe000)) {
        return false; /* strings end at NUL here, as everywhere in C */
    }
    g_string_append_unichar(out, c);
    return true;
}

static bool parse_escape(Parser *s, GString *out)
{
    static const char from[] = "\"'\\/bfnrt", to[] = "\"'\\/\b\f\n\r\t";
    if (s->p >= s->end) {
        return false;
    }
    char c = *s->p++;
    if (c == 'u') {
        return parse_unicode(s, out);
    }
    const char *at = c ? strchr(from, c) : NULL;
    if (!at) {
        return false;
    }
    g_string_append_c(out, to[at - from]);
    return true;
}

static char *parse_string(Parser *s)
{
    char quote = *s->p++;
    g_autoptr(GString) out = g_string_new(NULL);
    while (s->p < s->end && *s->p != quote) {
        char c = *s->p++;
        if (c == '\\') {
            if (!parse_escape(s, out)) {
                fail(s, "invalid escape sequence in a string");
                return NULL;
            }
        } else if ((unsigned char)c < 0x20) {
            fail(s, "control character in a string");
            return NULL;
        } else {
            g_string_append_c(out, c);
        }
    }
    if (s->p >= s->end) {
        fail(s, "string without an end");
        return NULL;
    }
    s->p++;
    if (!g_utf8_validate(out->str, (gssize)out->len, NULL)) {
        fail(s, "string is not valid UTF-8");
        return NULL;
    }
    return g_strndup(out->str, out->len);
}

static Json *parse_number(Parser *s)
{
    const char *from = s->p;
    bool real = false;
    if (s->p < s->end && *s->p == '-') {
        s->p++;
    }
    if (s->p >= s->end || !g_ascii_isdigit(*s->p)) {
        return fail(s, "number without digits");
    }
    while (s->p < s->end && (g_ascii_isdigit(*s->p) || (*s->p && strchr("+-.eE", *s->p)))) {
        real |= !g_ascii_isdigit(*s->p);
        s->p++;
    }
    g_autofree char *text = g_strndup(from, (gsize)(s->p - from));
    char *end;
    errno = 0;
    if (!real) {
        if (*text == '-') {
            int64_t v = g_ascii_strtoll(text, &end, 10);
            if (!errno) {
                return json_int(v);
            }
        } else {
            uint64_t v = g_ascii_strtoull(text, &end, 10);
            if (!errno) {
                return json_uint(v);
            }
        }
    }
    double d = g_ascii_strtod(text, &end);
    return *end ? fail(s, "malformed number") : json_double(d);
}

static Json *parse_array(Parser *s)
{
    g_autoptr(Json) a = json_array();
    s->p++;
    skip_space(s);
    if (s->p < s->end && *s->p == ']') {
        s->p++;
        return g_steal_pointer(&a);
    }
    for (;;) {
        Json *v = parse_value(s);
        if (!v) {
            return NULL;
        }
        json_append(a, v);
        skip_space(s);
        if (s->p < s->end && *s->p == ',') {
            s->p++;
        } else if (s->p < s->end && *s->p == ']') {
            s->p++;
            return g_steal_pointer(&a);
        } else {
            return fail(s, "expected ',' or ']'");
        }
    }
}

static bool parse_member(Parser *s, Json *o)
{
    skip_space(s);
    if (s->p >= s->end || (*s->p != '"' && *s->p != '\'')) {
        return fail(s, "expected a member name") != NULL;
    }
    g_autofree char *key = parse_string(s);
    if (!key) {
        return false;
    }
    if (json_get(o, key)) {
        return fail(s, "duplicate member name") != NULL;
    }
    skip_space(s);
    if (s->p >= s->end || *s->p != ':') {
        return fail(s, "expected ':'") != NULL;
    }
    s->p++;
    Json *v = parse_value(s);
    if (v) {
        json_put(o, key, v);
    }
    return v != NULL;
}

static Json *parse_object(Parser *s)
{
    g_autoptr(Json) o = json_object();
    s->p++;
    skip_space(s);
    if (s->p < s->end && *s->p == '}') {
        s->p++;
        return g_steal_pointer(&o);
    }
    for (;;) {
        if (!parse_member(s, o)) {
            return NULL;
        }
        skip_space(s);
        if (s->p < s->end && *s->p == ',') {
            s->p++;
        } else if (s->p < s->end && *s->p == '}') {
            s->p++;
            return g_steal_pointer(&o);
        } else {
            return fail(s, "expected ',' or '}'");
        }
    }
}

static Json *parse_word(Parser *s)
{
    static const struct {
        const char *word;
        int value;
    } words[] = {{"true", 1}, {"false", 0}, {"null", -1}};
    for (unsigned i = 0; i < G_N_ELEMENTS(words); i++) {
        size_t n = strlen(words[i].word);
        if ((size_t)(s->end - s->p) >= n && !memcmp(s->p, words[i].word, n)) {
            s->p += n;
            return words[i].value < 0 ? json_null() : json_bool(words[i].value);
        }
    }
    return fail(s, "unexpected character");
}

static Json *parse_value(Parser *s)
{
    Json *v;
    skip_space(s);
    if (s->p >= s->end) {
        return fail(s, "value missing");
    }
    if (++s->depth > MAX_DEPTH) {
        return fail(s, "values nested too deeply");
    }
    switch (*s->p) {
    case '{':
        v = parse_object(s);
        break;
    case '[':
        v = parse_array(s);
        break;
    case '"':
    case '\'': {
        g_autofree char *str = parse_string(s);
        v = str ? json_string(str) : NULL;
        break;
    }
    default:
        v = *s->p == '-' || g_ascii_isdigit(*s->p) ? parse_number(s) : parse_word(s);
        break;
    }
    s->depth--;
    return v;
}

static Json *parse_span(const char *text, size_t len, Error **errp)
{
    Error *local = NULL;
    Parser s = {.start = text, .p = text, .end = text + len, .errp = &local};
    Json *v = parse_value(&s);
    if (v) {
        skip_space(&s);
        if (s.p != s.end) {
            json_unref(v);
            v = fail(&s, "text after the value");
        }
    }
    error_propagate(errp, local);
    return v;
}

Json *json_parse(const char *text, Error **errp)
{
    return parse_span(text, strlen(text), errp);
}

/* ---- streams ---- */

struct JsonStream {
    JsonStreamFn *fn;
    void *opaque;
    GString *buf;
    unsigned depth;
    char quote; /* inside a string: its quote */
    bool escape;
    bool skipping; /* too long: drop until the next line */
};

JsonStream *json_stream_new(JsonStreamFn *fn, void *opaque)
{
    JsonStream *s = g_new0(JsonStream, 1);
    s->fn = fn;
    s->opaque = opaque;
    s->buf = g_string_new(NULL);
    return s;
}

static void stream_reset(JsonStream *s)
{
    g_string_truncate(s->buf, 0);
    s->depth = 0;
    s->quote = 0;
    s->escape = false;
}

static void stream_emit(JsonStream *s)
{
    g_autoptr(GString) text = s->buf;
    s->buf = g_string_new(NULL);
    stream_reset(s);
    Error *err = NULL;
    Json *v = parse_span(text->str, text->len, &err);
    s->fn(s->opaque, v, err);
}

static void stream_fail(JsonStream *s, const char *why)
{
    Error *err = NULL;
    error_set(&err, "JSON parse error, %s", why);
    stream_reset(s);
    s->skipping = true;
    s->fn(s->opaque, NULL, err);
}

/* One byte at depth 0: starts a value, is blank, or makes a bare word. */
static void stream_outer(JsonStream *s, char c)
{
    if (g_ascii_isspace(c)) {
        if (s->buf->len) {
            stream_emit(s); /* a bare word or number ends here */
        }
        return;
    }
    g_string_append_c(s->buf, c);
    if (c == '{' || c == '[') {
        s->depth++;
    } else if (c == '"' || c == '\'') {
        s->quote = c;
    } else if (c == '}' || c == ']') {
        stream_emit(s); /* unbalanced: the parser says so */
    }
}

static void stream_inner(JsonStream *s, char c)
{
    g_string_append_c(s->buf, c);
    if (s->quote) {
        if (s->escape) {
            s->escape = false;
        } else if (c == '\\') {
            s->escape = true;
        } else if (c == s->quote) {
            s->quote = 0;
        }
    } else if (c == '"' || c == '\'') {
        s->quote = c;
    } else if (c == '{' || c == '[') {
        s->depth++;
    } else if (c == '}' || c == ']') {
        s->depth--;
    }
    if (!s->depth && !s->quote) {
        stream_emit(s);
    }
}

void json_stream_feed(JsonStream *s, const char *buf, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (s->skipping) {
            s->skipping = buf[i] != '\n';
        } else if ((unsigned char)buf[i] == 0xff) {
            stream_reset(s); /* QMP clients resynchronize with this byte */
        } else if (s->depth || s->quote) {
            stream_inner(s, buf[i]);
        } else {
            stream_outer(s, buf[i]);
        }
        if (s->buf->len > MAX_TOTAL) {
            stream_fail(s, "value too long");
        } else if (s->depth > MAX_DEPTH) {
            stream_fail(s, "values nested too deeply");
        }
    }
}

void json_stream_free(JsonStream *s)
{
    if (s) {
        g_string_free(s->buf, TRUE);
        g_free(s);
    }
}
