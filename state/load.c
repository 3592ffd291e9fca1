/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loading: everything is decoded and checked on a scratch copy first; only when
 * the last byte has been found good are the values moved into the object.
 */
#include "state/internal.h"
#include "util/bits.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

typedef struct Loader {
    const uint8_t *p;
    size_t left;
    GByteArray *there;  /* the presence bytes met, in order, for the second walk */
    guint replay;       /* position in `there` of the second walk */
    GPtrArray *scratch; /* scratch copies of pointed-at structs */
    GPtrArray *buffers; /* new buffers; freed unless the load succeeds */
    const char *name;   /* of the outermost description */
} Loader;

/* ---- decoding into the scratch copy ---- */

static bool take(Loader *l, const StateField *f, void *to, size_t len, Error **errp)
{
    if (l->left < len) {
        error_set(errp, "state of '%s' ends in the middle of field '%s'", l->name,
                  f ? f->name : "(header)");
        return false;
    }
    memcpy(to, l->p, len);
    l->p += len;
    l->left -= len;
    return true;
}

static bool take_uint(Loader *l, const StateField *f, unsigned size, uint64_t *v, Error **errp)
{
    uint8_t bytes[8];

    if (!take(l, f, bytes, size, errp)) {
        return false;
    }
    *v = ld_le(bytes, size);
    return true;
}

static bool take_flag(Loader *l, const char *name, bool *flag, Error **errp)
{
    StateField f = {.name = name};
    uint64_t v;

    if (!take_uint(l, &f, 1, &v, errp)) {
        return false;
    }
    if (v > 1) {
        error_set(errp, "state of '%s': field '%s' has the impossible switch value %" PRIu64,
                  l->name, name, v);
        return false;
    }
    *flag = v;
    return true;
}

static bool take_presence(Loader *l, const char *name, bool *there, Error **errp)
{
    uint8_t byte;

    if (!take_flag(l, name, there, errp)) {
        return false;
    }
    byte = *there;
    g_byte_array_append(l->there, &byte, 1);
    return true;
}

static bool in_bounds(const StateField *f, uint64_t v)
{
    if (!f->min && !f->max) {
        return true;
    }
    if (f->kind == STATE_INT) {
        int64_t s = (int64_t)(v << (64 - 8 * f->size)) >> (64 - 8 * f->size);

        return s >= (int64_t)f->min && s <= (int64_t)f->max;
    }
    return v >= f->min && v <= f->max;
}

static bool load_integer(Loader *l, const StateField *f, void *p, Error **errp)
{
    uint64_t v;

    if (!take_uint(l, f, (unsigned)f->size, &v, errp)) {
        return false;
    }
    if (!in_bounds(f, v)) {
        error_set(errp, "state of '%s': field '%s' has the impossible value %" PRIu64, l->name,
                  f->name, v);
        return false;
    }
    switch (f->size) {
    case 1:
        *(uint8_t *)p = (uint8_t)v;
        break;
    case 2:
        *(uint16_t *)p = (uint16_t)v;
        break;
    case 4:
        *(uint32_t *)p = (uint32_t)v;
        break;
    default:
        memcpy(p, &v, 8);
    }
    return true;
}

static bool load_buffer(Loader *l, const StateField *f, void *base, Error **errp)
{
    uint64_t len;
    uint32_t len32;
    uint8_t *bytes;

    if (!take_uint(l, f, 4, &len, errp)) {
        return false;
    }
    if (len > f->max || len > l->left) {
        error_set(errp, "state of '%s': field '%s' has the impossible length %" PRIu64, l->name,
                  f->name, len);
        return false;
    }
    bytes = len ? g_malloc(len) : NULL;
    if (bytes) {
        g_ptr_array_add(l->buffers, bytes);
        take(l, f, bytes, len, NULL);
    }
    *(uint8_t **)state_element(f, base, 0) = bytes;
    len32 = (uint32_t)len;
    memcpy((char *)base + f->count_offset, &len32, sizeof(len32));
    return true;
}

static bool load_struct(Loader *l, const StateDesc *d, void *base, Error **errp);

static bool load_pointed(Loader *l, const StateField *f, void *element, Error **errp)
{
    void *copy;

    if (!*(void **)element) {
        error_set(errp, "state of '%s' has '%s', which this device lacks", l->name, f->name);
        return false;
    }
    copy = g_malloc(f->size);
    memcpy(copy, *(void **)element, f->size);
    g_ptr_array_add(l->scratch, copy);
    *(void **)element = copy;
    return load_struct(l, f->desc, copy, errp);
}

static bool load_element(Loader *l, const StateField *f, void *base, unsigned i, Error **errp)
{
    void *p = state_element(f, base, i);

    switch (f->kind) {
    case STATE_BOOL:
        return take_flag(l, f->name, p, errp);
    case STATE_UINT:
    case STATE_INT:
        return load_integer(l, f, p, errp);
    case STATE_BYTES:
        return take(l, f, p, f->size, errp);
    case STATE_BUFFER:
        return load_buffer(l, f, base, errp);
    case STATE_TIMER: {
        uint64_t v;

        if (!take_uint(l, f, 8, &v, errp)) {
            return false;
        }
        if ((int64_t)v < -1) {
            error_set(errp, "state of '%s': timer '%s' has an impossible time", l->name, f->name);
            return false;
        }
        ((Timer *)p)->expire = (int64_t)v;
        return true;
    }
    case STATE_STRUCT:
    case STATE_QUEUE:
        return load_struct(l, f->desc, p, errp);
    case STATE_POINTER:
        return load_pointed(l, f, p, errp);
    case STATE_END:
        break;
    }
    return true;
}

static bool load_field(Loader *l, const StateField *f, void *base, Error **errp)
{
    bool there = true;

    if (f->present && !take_presence(l, f->name, &there, errp)) {
        return false;
    }
    if (!there) {
        return true;
    }
    if (f->counted && state_u32_at(base, f->count_offset) > f->count) {
        error_set(errp, "state of '%s': field '%s' cannot have %u elements", l->name, f->name,
                  state_u32_at(base, f->count_offset));
        return false;
    }
    for (unsigned i = 0, n = state_elements(f, base); i < n; i++) {
        if (!load_element(l, f, base, i, errp)) {
            return false;
        }
    }
    return true;
}

static bool run_check(const StateDesc *d, const void *base, Error **errp)
{
    if (d->check && !d->check(base, errp)) {
        /* A check need not say more than no. */
        if (errp && !*errp) {
            error_set(errp, "the values of '%s' contradict each other", d->name);
        }
        return false;
    }
    return true;
}

static bool load_struct(Loader *l, const StateDesc *d, void *base, Error **errp)
{
    for (const StateField *f = d->fields; f && f->name; f++) {
        if (!load_field(l, f, base, errp)) {
            return false;
        }
    }
    for (const StateDesc *const *sub = d->subsections; sub && *sub; sub++) {
        bool there;

        if (!take_presence(l, (*sub)->name, &there, errp) ||
            (there && !load_struct(l, *sub, base, errp))) {
            return false;
        }
    }
    if (!run_check(d, base, errp)) {
        error_prefix(errp, "state of '%s': ", l->name);
        return false;
    }
    return true;
}

/* ---- moving into the object ---- */

static bool replay_presence(Loader *l)
{
    assert(l->replay < l->there->len);
    return l->there->data[l->replay++];
}

static void apply_struct(Loader *l, const StateDesc *d, void *from, void *to);

static void apply_buffer(Loader *l, const StateField *f, void *from, void *to)
{
    uint8_t **have = state_element(f, to, 0);
    guint at;

    g_free(*have);
    *have = *(uint8_t **)state_element(f, from, 0);
    if (*have && g_ptr_array_find(l->buffers, *have, &at)) {
        g_ptr_array_steal_index_fast(l->buffers, at); /* it is the object's now */
    }
    memcpy((char *)to + f->count_offset, (char *)from + f->count_offset, sizeof(uint32_t));
}

static void apply_element(Loader *l, const StateField *f, void *from, void *to, unsigned i)
{
    void *src = state_element(f, from, i), *dst = state_element(f, to, i);

    switch (f->kind) {
    case STATE_BOOL:
        *(bool *)dst = *(bool *)src;
        break;
    case STATE_UINT:
    case STATE_INT:
    case STATE_BYTES:
        memcpy(dst, src, f->size);
        break;
    case STATE_BUFFER:
        apply_buffer(l, f, from, to);
        break;
    case STATE_TIMER:
        if (((Timer *)src)->expire < 0) {
            timer_del(dst);
        } else {
            timer_mod(dst, ((Timer *)src)->expire);
        }
        break;
    case STATE_STRUCT:
    case STATE_QUEUE:
    case STATE_POINTER:
        apply_struct(l, f->desc, state_struct_at(f, from, i), state_struct_at(f, to, i));
        break;
    case STATE_END:
        break;
    }
}

static void apply_struct(Loader *l, const StateDesc *d, void *from, void *to)
{
    for (const StateField *f = d->fields; f && f->name; f++) {
        if (f->present && !replay_presence(l)) {
            continue;
        }
        for (unsigned i = 0, n = state_elements(f, from); i < n; i++) {
            apply_element(l, f, from, to, i);
        }
    }
    for (const StateDesc *const *sub = d->subsections; sub && *sub; sub++) {
        if (replay_presence(l)) {
            apply_struct(l, *sub, from, to);
        }
    }
}

/* Inner structs first, so that an outer hook finds its parts ready. */
static void call_loaded(Loader *l, const StateDesc *d, void *obj)
{
    for (const StateField *f = d->fields; f && f->name; f++) {
        if (f->present && !replay_presence(l)) {
            continue;
        }
        for (unsigned i = 0, n = state_elements(f, obj); state_is_struct(f) && i < n; i++) {
            call_loaded(l, f->desc, state_struct_at(f, obj, i));
        }
    }
    for (const StateDesc *const *sub = d->subsections; sub && *sub; sub++) {
        if (replay_presence(l)) {
            call_loaded(l, *sub, obj);
        }
    }
    if (d->loaded) {
        d->loaded(obj);
    }
}

/* ---- the frame ---- */

static char *line_at(const char *text, size_t len, size_t n)
{
    g_autofree char *copy = g_strndup(text, len);
    g_auto(GStrv) lines = g_strsplit(copy, "\n", -1);

    return g_strstrip(g_strdup(n < g_strv_length(lines) && *lines[n] ? lines[n] : "nothing"));
}

static void report_difference(const char *name, const char *ours, const char *theirs, size_t len,
                              Error **errp)
{
    size_t line = 0;
    g_autofree char *here = NULL;
    g_autofree char *there = NULL;
    g_autofree char *safe = NULL;

    for (size_t i = 0; i < len && ours[i] && ours[i] == theirs[i]; i++) {
        line += ours[i] == '\n';
    }
    here = line_at(ours, strlen(ours), line);
    there = line_at(theirs, len, line);
    safe = g_strescape(there, NULL);
    error_set(errp, "state of '%s' is of another make: it has '%.200s' where '%s' is expected",
              name, safe, here);
}

/* Magic, checksum and schema; leaves the loader at the values. */
static bool load_frame(Loader *l, const StateDesc *d, const uint8_t *data, size_t len, Error **errp)
{
    g_autofree char *ours = state_schema(d);
    uint64_t n;
    char magic[4];

    l->p = data;
    l->left = len;
    if (!take(l, NULL, magic, 4, errp)) {
        return false;
    }
    if (memcmp(magic, STATE_MAGIC, 4) != 0) {
        error_set(errp, "this is no device state (it does not begin with " STATE_MAGIC ")");
        return false;
    }
    if (len < 8 || crc32(0, data, (uInt)(len - 4)) != ld_le32(data + len - 4)) {
        error_set(errp, "state of '%s' is damaged: the checksum is wrong", d->name);
        return false;
    }
    l->left -= 4;
    if (!take_uint(l, NULL, 4, &n, errp)) {
        return false;
    }
    if (n > l->left) {
        error_set(errp, "state of '%s' ends in the middle of its schema", d->name);
        return false;
    }
    if (n != strlen(ours) || memcmp(l->p, ours, n) != 0) {
        report_difference(d->name, ours, (const char *)l->p, n, errp);
        return false;
    }
    l->p += n;
    l->left -= n;
    if (!take_uint(l, NULL, 4, &n, errp)) {
        return false;
    }
    if (n != l->left) {
        error_set(errp, "state of '%s' has %zu bytes of values instead of %" PRIu64, d->name,
                  l->left, n);
        return false;
    }
    return true;
}

bool state_load(const StateDesc *d, void *obj, size_t obj_size, const uint8_t *data, size_t len,
                Error **errp)
{
    Loader l = {.name = d->name};
    void *scratch = NULL;
    bool ok;

    if (len > G_MAXUINT / 2) {
        error_set(errp, "state of '%s' is too large", d->name);
        return false;
    }
    if (!load_frame(&l, d, data, len, errp)) {
        return false;
    }
    /* As well aligned as any object. */
    scratch = aligned_alloc(64, ALIGN_UP(obj_size, (size_t)64));
    if (!scratch) {
        error_set(errp, "out of memory for the state of '%s'", d->name);
        return false;
    }
    memcpy(scratch, obj, obj_size);
    l.there = g_byte_array_new();
    l.scratch = g_ptr_array_new_with_free_func(g_free);
    l.buffers = g_ptr_array_new_with_free_func(g_free);
    ok = load_struct(&l, d, scratch, errp);
    if (ok && l.left) {
        error_set(errp, "state of '%s' goes on for %zu bytes too many", d->name, l.left);
        ok = false;
    }
    if (ok) {
        apply_struct(&l, d, scratch, obj);
        l.replay = 0;
        call_loaded(&l, d, obj);
    }
    g_ptr_array_free(l.buffers, TRUE);
    g_ptr_array_free(l.scratch, TRUE);
    g_byte_array_free(l.there, TRUE);
    free(scratch);
    return ok;
}

bool state_check_all(const StateDesc *d, const void *obj, Error **errp)
{
    for (const StateField *f = d->fields; f && f->name; f++) {
        if (f->present && !f->present(obj)) {
            continue;
        }
        for (unsigned i = 0, n = state_elements(f, obj); state_is_struct(f) && i < n; i++) {
            if (!state_check_all(f->desc, state_struct_at(f, obj, i), errp)) {
                return false;
            }
        }
    }
    for (const StateDesc *const *sub = d->subsections; sub && *sub; sub++) {
        if ((!(*sub)->needed || (*sub)->needed(obj)) && !state_check_all(*sub, obj, errp)) {
            return false;
        }
    }
    return run_check(d, obj, errp);
}
