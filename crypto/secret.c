/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "crypto/secret.h"

#include "crypto/cipher.h"

#include <string.h>

typedef struct Secret {
    Object obj;
    char *data, *file, *format, *keyid, *iv;
    uint8_t *bytes; /* with a zero byte after them */
    size_t len;
} Secret;

/* A secret is no file to be read whole at any size. */
#define MAX_SECRET (1u << 20)

static const Property secret_props[] = {
    PROPERTY_STRING("data", Secret, data, "the secret itself (seen by all: for tests)"),
    PROPERTY_STRING("file", Secret, file, "a file that holds it"),
    PROPERTY_STRING("format", Secret, format, "raw or base64"),
    PROPERTY_STRING("keyid", Secret, keyid, "the secret it is encrypted with"),
    PROPERTY_STRING("iv", Secret, iv, "initial vector of that, in base64"),
    {0},
};

static void forget(uint8_t *p, size_t len)
{
    if (p) {
        wipe(p, len);
        g_free(p);
    }
}

static bool decode_base64(const char *what, const uint8_t *in, uint8_t **out, size_t *len,
                          Error **errp)
{
    gsize n = 0;
    uint8_t *bytes = g_base64_decode((const char *)in, &n);
    if (!bytes || (n == 0 && *in)) {
        error_set(errp, "%s is not valid base64", what);
        g_free(bytes);
        return false;
    }
    *out = g_realloc(bytes, n + 1);
    (*out)[n] = 0;
    *len = n;
    return true;
}

static bool decrypt(Secret *s, Error **errp)
{
    size_t key_len, iv_len;
    uint8_t *iv = NULL;
    const uint8_t *key = secret_lookup(&s->obj, s->keyid, &key_len, errp);
    if (!key || !cipher_available(errp)) {
        return false;
    }
    if (!s->iv) {
        error_set(errp, "'iv' is missing: a secret with 'keyid' needs it");
        return false;
    }
    if (!decode_base64("'iv'", (const uint8_t *)s->iv, &iv, &iv_len, errp)) {
        return false;
    }
    bool ok = false;
    if (key_len != 32 || iv_len != 16) {
        error_set(errp, "%s has %zu bytes, not %u", key_len != 32 ? "the key" : "'iv'",
                  key_len != 32 ? key_len : iv_len, key_len != 32 ? 32 : 16);
    } else if (s->len == 0 || s->len % 16) {
        error_set(errp, "the encrypted secret has %zu bytes, which is no multiple of 16", s->len);
    } else {
        cipher_cbc_decrypt(key, iv, s->bytes, s->len);
        uint8_t pad = s->bytes[s->len - 1];
        ok = pad >= 1 && pad <= 16;
        if (ok) {
            s->len -= pad;
            s->bytes[s->len] = 0;
        } else {
            error_set(errp, "the secret cannot be decrypted: wrong key or initial vector");
        }
    }
    g_free(iv);
    return ok;
}

static bool load(Secret *s, Error **errp)
{
    if (s->data) {
        s->len = strlen(s->data);
        s->bytes = (uint8_t *)g_strdup(s->data);
        return true;
    }
    GError *gerr = NULL;
    char *text = NULL;
    gsize len = 0;
    if (!g_file_get_contents(s->file, &text, &len, &gerr)) {
        error_set(errp, "cannot read the secret: %s", gerr->message);
        g_error_free(gerr);
        return false;
    }
    s->bytes = (uint8_t *)text;
    s->len = len;
    if (len > MAX_SECRET) {
        error_set(errp, "the secret in '%s' is longer than 1 MiB", s->file);
        return false;
    }
    return true;
}

static bool secret_complete(Object *obj, Error **errp)
{
    Secret *s = (Secret *)obj;
    bool base64 = !g_strcmp0(s->format, "base64");
    if (!s->data == !s->file) {
        error_set(errp, "a secret needs one of 'data' and 'file'");
        return false;
    }
    if (s->format && !base64 && strcmp(s->format, "raw")) {
        error_set(errp, "'format' cannot be '%s' (possible: 'raw', 'base64')", s->format);
        return false;
    }
    if (!load(s, errp)) {
        return false;
    }
    if (base64 || s->keyid) {
        uint8_t *out;
        size_t len;
        if (base64) {
            if (!decode_base64("the secret", s->bytes, &out, &len, errp)) {
                return false;
            }
            forget(s->bytes, s->len);
            s->bytes = out;
            s->len = len;
        }
        return !s->keyid || decrypt(s, errp);
    }
    return true;
}

static void secret_finalize(Object *obj)
{
    Secret *s = (Secret *)obj;
    forget(s->bytes, s->len);
}

OBJECT_TYPE(secret_type, .name = TYPE_SECRET, .parent = "object",
            .help = "a password or key that others name by its id", .size = sizeof(Secret),
            .props = secret_props, .complete = secret_complete, .finalize = secret_finalize,
            .user_creatable = true, .container = "/objects")

const uint8_t *secret_lookup(Object *any, const char *id, size_t *len, Error **errp)
{
    g_autofree char *path = g_strdup_printf("/objects/%s", id);
    Object *from = !any->parent && any->scope ? any->scope : any;
    Object *o = object_resolve(object_root(from), path);
    if (!o || !object_is_a(o, TYPE_SECRET) || !((Secret *)o)->bytes) {
        error_set(errp, "there is no secret with the id '%s'", id);
        error_hint(errp, "--object secret,id=%s,file=… makes one", id);
        return NULL;
    }
    *len = ((Secret *)o)->len;
    return ((Secret *)o)->bytes;
}

const char *secret_lookup_text(Object *any, const char *id, Error **errp)
{
    size_t len;
    const uint8_t *bytes = secret_lookup(any, id, &len, errp);
    if (bytes && memchr(bytes, 0, len)) {
        error_set(errp, "the secret '%s' has a zero byte in it and is no text", id);
        return NULL;
    }
    return (const char *)bytes;
}
