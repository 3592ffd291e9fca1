/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Saving: the schema as text, then the values in its order.
 */
#include "state/internal.h"
#include "util/bits.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <zlib.h>

/* ---- schema ---- */

static const char *kind_name(StateKind k)
{
    switch (k) {
    case STATE_BOOL:
        return "bool";
    case STATE_UINT:
        return "uint";
    case STATE_INT:
        return "int";
    case STATE_BYTES:
        return "bytes";
    case STATE_BUFFER:
        return "buffer";
    case STATE_TIMER:
        return "timer";
    case STATE_POINTER:
    case STATE_QUEUE:
    case STATE_STRUCT:
        return "struct";
    case STATE_END:
        break;
    }
    return "?";
}

static void print_desc(GString *s, const StateDesc *d, unsigned depth, const char *what);

static void print_field(GString *s, const StateField *f, unsigned depth)
{
    g_string_append_printf(s, "%*s%s %s", (int)depth * 2, "", f->name, kind_name(f->kind));
    if (f->kind == STATE_UINT || f->kind == STATE_INT) {
        g_string_append_printf(s, "%zu", f->size * 8);
    } else if (f->kind == STATE_BYTES) {
        g_string_append_printf(s, " %zu", f->size);
    }
    if (f->count) {
        g_string_append_printf(s, "[%s%u]", f->counted ? "up to " : "", f->count);
    }
    if (f->present) {
        g_string_append(s, " optional");
    }
    g_string_append_c(s, '\n');
    if (f->desc) {
        print_desc(s, f->desc, depth + 1, "struct");
    }
}

static void print_desc(GString *s, const StateDesc *d, unsigned depth, const char *what)
{
    g_string_append_printf(s, "%*s%s %s version %u\n", (int)depth * 2, "", what, d->name,
                           d->version);
    for (const StateField *f = d->fields; f && f->name; f++) {
        print_field(s, f, depth + 1);
    }
    for (const StateDesc *const *sub = d->subsections; sub && *sub; sub++) {
        print_desc(s, *sub, depth + 1, "subsection");
    }
}

char *state_schema(const StateDesc *d)
{
    GString *s = g_string_new(NULL);

    print_desc(s, d, 0, "state");
    return g_string_free(s, FALSE);
}

/* ---- values ---- */

typedef struct Saver {
    GByteArray *out;
    size_t wanted; /* state_field_at(): the position that is looked for; 0: none */
    char *found;
} Saver;

static void put(GByteArray *out, uint64_t v, unsigned size)
{
    uint8_t bytes[8];

    st_le(bytes, size, v);
    g_byte_array_append(out, bytes, size);
}

static uint64_t load_uint(const void *p, size_t size)
{
    uint64_t v = 0;

    switch (size) {
    case 1:
        return *(const uint8_t *)p;
    case 2:
        return *(const uint16_t *)p;
    case 4:
        return *(const uint32_t *)p;
    case 8:
        memcpy(&v, p, 8);
        return v;
    default:
        g_assert_not_reached();
    }
}

static void save_struct(Saver *s, const StateDesc *d, void *base);

static void save_buffer(GByteArray *out, const StateField *f, const void *base)
{
    uint32_t len = state_u32_at(base, f->count_offset);
    const uint8_t *bytes = *(uint8_t *const *)state_element(f, base, 0);

    assert(len <= f->max);
    put(out, len, 4);
    if (len) {
        g_byte_array_append(out, bytes, len);
    }
}

static void save_element(Saver *s, const StateField *f, void *base, unsigned i)
{
    GByteArray *out = s->out;
    void *p = state_element(f, base, i);

    switch (f->kind) {
    case STATE_BOOL:
        put(out, *(const bool *)p, 1);
        break;
    case STATE_UINT:
    case STATE_INT:
        put(out, load_uint(p, f->size), (unsigned)f->size);
        break;
    case STATE_BYTES:
        g_byte_array_append(out, p, (guint)f->size);
        break;
    case STATE_BUFFER:
        save_buffer(out, f, base);
        break;
    case STATE_TIMER:
        put(out, (uint64_t)timer_expire(p), 8);
        break;
    case STATE_STRUCT:
    case STATE_QUEUE:
    case STATE_POINTER:
        save_struct(s, f->desc, state_struct_at(f, base, i));
        break;
    case STATE_END:
        break;
    }
}

/* Notes the name of what was just written if it is the innermost that has the wanted byte. */
static void locate(Saver *s, size_t from, const StateDesc *d, const char *name)
{
    if (s->wanted && !s->found && from <= s->wanted && s->wanted < s->out->len) {
        s->found = g_strdup_printf("%s.%s", d->name, name);
    }
}

static void save_struct(Saver *s, const StateDesc *d, void *base)
{
    GByteArray *out = s->out;

    if (d->pre_save) {
        d->pre_save(base);
    }
    for (const StateField *f = d->fields; f && f->name; f++) {
        size_t from = out->len;
        unsigned n;

        if (f->present) {
            bool there = f->present(base);

            put(out, there, 1);
            if (!there) {
                continue;
            }
        }
        n = state_elements(f, base);
        for (unsigned i = 0; i < n; i++) {
            save_element(s, f, base, i);
        }
        locate(s, from, d, f->name);
    }
    for (const StateDesc *const *sub = d->subsections; sub && *sub; sub++) {
        bool needed = !(*sub)->needed || (*sub)->needed(base);

        put(out, needed, 1);
        if (needed) {
            save_struct(s, *sub, base);
        }
    }
}

static GByteArray *save_all(Saver *s, const StateDesc *d, void *obj)
{
    GByteArray *out = s->out = g_byte_array_new();
    g_autofree char *schema = state_schema(d);
    guint at;

    g_byte_array_append(out, (const uint8_t *)STATE_MAGIC, 4);
    put(out, strlen(schema), 4);
    g_byte_array_append(out, (const uint8_t *)schema, (guint)strlen(schema));
    at = out->len;
    put(out, 0, 4);
    save_struct(s, d, obj);
    st_le32(out->data + at, out->len - at - 4);
    put(out, crc32(0, out->data, out->len), 4);
    return out;
}

GByteArray *state_save(const StateDesc *d, void *obj)
{
    Saver s = {0};

    return save_all(&s, d, obj);
}

char *state_field_at(const StateDesc *d, void *obj, size_t position)
{
    Saver s = {.wanted = position};

    g_byte_array_unref(save_all(&s, d, obj));
    return s.found ? s.found : g_strdup("(frame)");
}
