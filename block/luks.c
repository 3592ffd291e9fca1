/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The format "luks": a header with key slots, then encrypted sectors; and what qcow2 shares. */
#include "block/luks.h"

#include "block/alloc.h"
#include "crypto/cipher.h"
#include "crypto/secret.h"

#include <errno.h>

/* Encrypting takes longer than going to another thread from here on. */
#define WORKER_BYTES (64u << 10)
#define CHUNK (1u << 20)

typedef struct CryptWork {
    const Luks *luks;
    uint64_t sector;
    uint8_t *buf;
    size_t len;
    bool encrypt;
} CryptWork;

static int crypt_work(void *opaque)
{
    CryptWork *w = opaque;
    if (w->encrypt) {
        luks_encrypt(w->luks, w->sector, w->buf, w->len);
    } else {
        luks_decrypt(w->luks, w->sector, w->buf, w->len);
    }
    return 0;
}

static void run_crypt(BlockNode *n, CryptWork *w)
{
    if (w->len >= WORKER_BYTES) {
        node_run_blocking(n, crypt_work, w);
    } else {
        crypt_work(w);
    }
}

static int move(const Luks *l, BlockNode *file, uint64_t at, uint64_t iv_at, const IoVec *v,
                bool write)
{
    size_t chunk = MIN(v->size, CHUNK);
    uint8_t *buf = g_try_malloc(MAX(chunk, 1));
    int ret = buf ? 0 : -ENOMEM;
    if ((at | iv_at | v->size) % LUKS_SECTOR) {
        ret = -EINVAL;
    }
    for (size_t pos = 0; ret == 0 && pos < v->size; pos += chunk) {
        size_t now = MIN(chunk, v->size - pos);
        CryptWork w = {l, (iv_at + pos) / LUKS_SECTOR, buf, now, write};
        if (write) {
            iov_to_buf(v->iov, v->n, pos, buf, now);
            run_crypt(file, &w);
            ret = node_pwrite(file, at + pos, buf, now, 0);
        } else {
            ret = node_pread(file, at + pos, buf, now);
            if (ret == 0) {
                run_crypt(file, &w);
                iov_from_buf(v->iov, v->n, pos, buf, now);
            }
        }
    }
    g_free(buf);
    return ret;
}

int luks_preadv(const Luks *l, BlockNode *file, uint64_t at, uint64_t iv_at, const IoVec *v)
{
    return move(l, file, at, iv_at, v, false);
}

int luks_pwritev(const Luks *l, BlockNode *file, uint64_t at, uint64_t iv_at, const IoVec *v)
{
    return move(l, file, at, iv_at, v, true);
}

/* ---- headers ---- */

Luks *luks_open_node(BlockNode *file, uint64_t at, uint64_t max, const char *key_secret,
                     uint8_t **header, size_t *len, Error **errp)
{
    uint8_t first[LUKS_HEADER_BYTES];
    int ret = node_pread(file, at, first, sizeof(first));
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot read the encryption header of '%s'",
                        node_filename(file));
        return NULL;
    }
    uint64_t size = luks_header_size(first, errp);
    if (size == 0 || size > max) {
        if (size) {
            error_set(errp, "field 'payload-offset' of the LUKS header passes the place it has");
        }
        error_prefix(errp, "'%s': ", node_filename(file));
        return NULL;
    }
    if (!key_secret) {
        error_set(errp, "'%s' is encrypted: 'key-secret' must name a secret with its password",
                  node_filename(file));
        error_hint(errp, "--object secret,id=sec0,file=FILE makes a secret");
        return NULL;
    }
    size_t password_len;
    const uint8_t *password = secret_lookup(file->graph->root, key_secret, &password_len, errp);
    uint8_t *h = password ? g_try_malloc(size) : NULL;
    Luks *l = NULL;
    ret = h ? node_pread(file, at, h, size) : password ? -ENOMEM : 0;
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot read the encryption header of '%s'",
                        node_filename(file));
    } else if (h) {
        l = luks_open(h, size, password, password_len, errp);
        error_prefix(errp, "'%s': ", node_filename(file));
    }
    if (l && header) {
        *header = h;
        *len = size;
    } else {
        g_free(h);
    }
    return l;
}

void luks_take_options(BlockOpts *o, LuksOptions *out)
{
    out->cipher_alg = block_opts_string(o, "cipher-alg", NULL);
    out->cipher_mode = block_opts_string(o, "cipher-mode", NULL);
    out->ivgen_alg = block_opts_string(o, "ivgen-alg", NULL);
    out->ivgen_hash_alg = block_opts_string(o, "ivgen-hash-alg", NULL);
    out->hash_alg = block_opts_string(o, "hash-alg", NULL);
    out->iter_time_ms = block_opts_uint(o, "iter-time", 2000, 1, 3600000);
}

uint8_t *luks_create_header(BlockGraph *g, const LuksOptions *o, const char *key_secret,
                            size_t *len, Luks **luks, Error **errp)
{
    size_t password_len;
    if (!key_secret) {
        error_set(errp, "'key-secret' is missing: it names a secret with the password");
        return NULL;
    }
    const uint8_t *password = secret_lookup(g->root, key_secret, &password_len, errp);
    return password ? luks_create(o, password, password_len, len, luks, errp) : NULL;
}

Json *luks_info_json(const uint8_t *header)
{
    LuksInfo i;
    luks_info(header, &i);
    Json *o = json_object(), *slots = json_array();
    json_put_string(o, "ivgen-alg", i.ivgen_alg);
    if (*i.ivgen_hash_alg) {
        json_put_string(o, "ivgen-hash-alg", i.ivgen_hash_alg);
    }
    json_put_string(o, "hash-alg", i.hash_alg);
    json_put_string(o, "cipher-alg", i.cipher_alg);
    json_put_string(o, "uuid", i.uuid);
    json_put_string(o, "cipher-mode", i.cipher_mode);
    for (unsigned s = 0; s < LUKS_SLOTS; s++) {
        Json *e = json_object();
        json_put_bool(e, "active", i.slot[s].active);
        if (i.slot[s].active) {
            json_put_int(e, "iters", (int64_t)i.slot[s].iters);
        }
        json_put_int(e, "key-offset", (int64_t)i.slot[s].key_offset);
        if (i.slot[s].active) {
            json_put_int(e, "stripes", (int64_t)i.slot[s].stripes);
        }
        json_append(slots, e);
    }
    json_put(o, "slots", slots);
    json_put_int(o, "payload-offset", (int64_t)i.payload_offset);
    json_put_int(o, "master-key-iters", (int64_t)i.master_iters);
    return o;
}

/* ---- key slots ---- */

static bool slot_active(const uint8_t *header, int slot)
{
    LuksInfo i;
    luks_info(header, &i);
    return i.slot[slot].active;
}

static unsigned active_slots(const uint8_t *header)
{
    unsigned n = 0;
    for (int i = 0; i < (int)LUKS_SLOTS; i++) {
        n += slot_active(header, i);
    }
    return n;
}

static bool deactivate(BlockNode *n, Luks *l, uint8_t *header, size_t len, int slot,
                       const char *old_secret, bool force, Error **errp)
{
    size_t old_len;
    const uint8_t *old =
        old_secret ? secret_lookup(n->graph->root, old_secret, &old_len, errp) : NULL;
    if (old_secret && !old) {
        return false;
    }
    if (slot < 0 && !old) {
        error_set(errp, "state=inactive needs 'keyslot' or 'old-secret'");
        return false;
    }
    if (slot < 0) {
        slot = luks_find_slot(header, len, old, old_len);
        if (slot < 0) {
            error_set(errp, "the old secret opens none of the key slots");
            return false;
        }
    }
    if (active_slots(header) == 1 && slot_active(header, slot) && !force) {
        error_set(errp, "this is the last key slot: without it all data are lost for ever");
        error_hint(errp, "--force does it nevertheless");
        return false;
    }
    return luks_set_slot(l, header, len, slot, NULL, 0, 0, errp);
}

bool luks_amend_slots(BlockNode *n, BlockOpts *o, Luks *l, uint8_t *header, size_t len, bool force,
                      Error **errp)
{
    static const char *const states[] = {"active", "inactive", NULL};
    bool has_state = block_opts_has(o, "state"), has_slot = block_opts_has(o, "keyslot");
    int state = block_opts_enum(o, "state", states, 0);
    int slot = (int)block_opts_uint(o, "keyslot", 0, 0, LUKS_SLOTS - 1);
    const char *old_secret = block_opts_string(o, "old-secret", NULL);
    const char *new_secret = block_opts_string(o, "new-secret", NULL);
    uint64_t iter_time = block_opts_uint(o, "iter-time", 2000, 1, 3600000);
    if (!has_state) {
        block_opts_mistake(o, "'state' is missing");
    } else if (state == 0 && !new_secret) {
        block_opts_mistake(o, "'new-secret' is missing");
    }
    if (!block_opts_finish(o, errp)) {
        return false;
    }
    if (state == 1) {
        return deactivate(n, l, header, len, has_slot ? slot : -1, old_secret, force, errp);
    }
    size_t new_len;
    const uint8_t *password = secret_lookup(n->graph->root, new_secret, &new_len, errp);
    if (password && has_slot && slot_active(header, slot) && !force) {
        error_set(errp, "key slot %d is in use", slot);
        error_hint(errp, "--force overwrites it");
        return false;
    }
    return password &&
           luks_set_slot(l, header, len, has_slot ? slot : -1, password, new_len, iter_time, errp);
}

/* ---- the format ---- */

typedef struct LuksState {
    Luks *luks;
    uint8_t *header;
    size_t header_len;
} LuksState;

static int luks_probe_image(const uint8_t *buf, size_t len)
{
    return luks_probe(buf, len) ? 100 : 0;
}

static bool luks_open_image(BlockNode *n, BlockOpts *o, Error **errp)
{
    LuksState *s = n->s;
    const char *key = block_opts_string(o, "key-secret", NULL);
    if (!block_opts_finish(o, errp)) {
        return false;
    }
    s->luks = luks_open_node(n->file, 0, UINT64_MAX, key, &s->header, &s->header_len, errp);
    if (!s->luks) {
        return false;
    }
    if (n->file->length < s->header_len) {
        error_set(errp, "'%s' is shorter than its LUKS header says ('payload-offset')",
                  node_filename(n));
        return false;
    }
    n->length = ALIGN_DOWN(n->file->length - s->header_len, (uint64_t)LUKS_SECTOR);
    n->limits.request_align = LUKS_SECTOR;
    return true;
}

static void luks_close_image(BlockNode *n)
{
    LuksState *s = n->s;
    luks_free(s->luks);
    g_free(s->header);
}

static int luks_preadv_image(BlockNode *n, uint64_t off, const IoVec *v)
{
    LuksState *s = n->s;
    return luks_preadv(s->luks, n->file, s->header_len + off, off, v);
}

static int luks_pwritev_image(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    LuksState *s = n->s;
    int ret = luks_pwritev(s->luks, n->file, s->header_len + off, off, v);
    return ret == 0 && (flags & BLK_FUA) ? node_flush(n->file) : ret;
}

static int luks_truncate(BlockNode *n, uint64_t size, BlockPrealloc prealloc, Error **errp)
{
    LuksState *s = n->s;
    if (size > INT64_MAX - s->header_len) {
        error_set(errp, "cannot resize '%s': the size is too large", node_filename(n));
        return -EFBIG;
    }
    int ret = node_resize(n->file, s->header_len + size, prealloc, errp);
    if (ret == 0) {
        n->length = size;
    }
    return ret;
}

static void luks_image_info(BlockNode *n, Json *image)
{
    LuksState *s = n->s;
    Json *specific = json_object();
    json_put_bool(image, "encrypted", true);
    json_put_string(specific, "type", "luks");
    json_put(specific, "data", luks_info_json(s->header));
    json_put(image, "format-specific", specific);
}

static const BlockCreateOption luks_create_options[] = {
    {"size", "size", "bytes"},
    {"key-secret", "str", "id of the secret with the password"},
    {"cipher-alg", "aes-128|aes-192|aes-256", "cipher"},
    {"cipher-mode", "xts|cbc", "its mode"},
    {"ivgen-alg", "plain|plain64|essiv", "how initial vectors are made"},
    {"ivgen-hash-alg", "sha256", "hash for that, with essiv"},
    {"hash-alg", "sha1|sha256|sha512", "hash of the key derivation"},
    {"iter-time", "num", "milliseconds that a guess of the password shall take"},
    {"preallocation", "off|falloc|full", "space that is reserved"},
    {NULL},
};

static const BlockCreateOption luks_amend_options[] = {
    {"state", "active|inactive", "of the key slots concerned"},
    {"keyslot", "num", "number of the slot"},
    {"old-secret", "str", "secret that opens the slot to empty"},
    {"new-secret", "str", "secret for the new slot"},
    {"iter-time", "num", "milliseconds that a guess of the password shall take"},
    {NULL},
};

static bool luks_create_image(BlockGraph *g, BlockNode *file, BlockOpts *o, Error **errp)
{
    LuksOptions lo;
    bool sized = block_opts_has(o, "size");
    uint64_t size = ALIGN_UP(block_opts_size(o, "size", 0), (uint64_t)LUKS_SECTOR);
    const char *key = block_opts_string(o, "key-secret", NULL);
    int prealloc = block_opts_enum(o, "preallocation", block_prealloc_names, PREALLOC_OFF);
    luks_take_options(o, &lo);
    if (!sized) {
        block_opts_mistake(o, "'size' is missing");
    }
    if (prealloc == PREALLOC_METADATA) {
        block_opts_mistake(o, "'preallocation' cannot be 'metadata': luks images have none");
    }
    size_t len;
    Luks *l = NULL;
    if (!block_opts_finish(o, errp)) {
        return false;
    }
    g_autofree uint8_t *h = luks_create_header(g, &lo, key, &len, &l, errp);
    if (!h) {
        return false;
    }
    luks_free(l);
    bool ok = node_resize(file, len + size, (BlockPrealloc)prealloc, errp) == 0;
    int ret = ok ? node_pwrite(file, 0, h, len, 0) : 0;
    ret = ret < 0 ? ret : node_flush(file);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot write the LUKS header of '%s'", node_filename(file));
    }
    return ok && ret == 0;
}

static bool luks_measure(BlockNode *src, BlockOpts *o, BlockMeasure *out, Error **errp)
{
    LuksOptions lo;
    uint64_t size = block_opts_size(o, "size", src ? src->length : 0);
    block_opts_string(o, "key-secret", NULL);
    luks_take_options(o, &lo);
    if (!block_opts_finish(o, errp) || !luks_check_options(&lo, errp)) {
        return false;
    }
    out->required = out->fully_allocated =
        luks_size_for(&lo) + ALIGN_UP(size, (uint64_t)LUKS_SECTOR);
    return true;
}

static int luks_amend(BlockNode *n, BlockOpts *o, bool force, const BlockProgress *p, Error **errp)
{
    LuksState *s = n->s;
    g_autofree uint8_t *h = try_dup(s->header, s->header_len);
    if (!h) {
        error_set_errno(errp, ENOMEM, "cannot change the LUKS header of '%s'", node_filename(n));
        return -ENOMEM;
    }
    if (!luks_amend_slots(n, o, s->luks, h, s->header_len, force, errp)) {
        return -EINVAL;
    }
    /* The key material first, then the slot that makes it count. */
    int ret = node_pwrite(n->file, 4096, h + 4096, s->header_len - 4096, 0);
    ret = ret < 0 ? ret : node_flush(n->file);
    ret = ret < 0 ? ret : node_pwrite(n->file, 0, h, 4096, 0);
    ret = ret < 0 ? ret : node_flush(n->file);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot write the LUKS header of '%s'", node_filename(n));
        return ret;
    }
    memcpy(s->header, h, s->header_len);
    return 0;
}

const BlockDriver block_driver_luks = {
    .name = "luks",
    .help = "encrypted, as by cryptsetup (version 1)",
    .state_size = sizeof(LuksState),
    .probe = luks_probe_image,
    .open = luks_open_image,
    .close = luks_close_image,
    .preadv = luks_preadv_image,
    .pwritev = luks_pwritev_image,
    .truncate = luks_truncate,
    .info = luks_image_info,
    .create_options = luks_create_options,
    .create = luks_create_image,
    .new_is_garbage = true,
    .measure = luks_measure,
    .amend_options = luks_amend_options,
    .amend = luks_amend,
};
