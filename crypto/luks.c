/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "crypto/luks.h"

#include "crypto/cipher.h"
#include "util/bits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define STRIPES 4000u
#define SLOT_ON 0x00ac71f3u
#define SLOT_OFF 0x0000deadu
#define DIGEST 20u
#define SALT 32u
#define MIN_ITERS 1000u
/* A header that asks for more wants to keep the reader busy: minutes of work. */
#define MAX_ITERS (64u << 20)
#define FIRST_SLOT_SECTOR 8u

/* Offsets of fields; all numbers are big-endian. */
#define H_VERSION 6
#define H_CIPHER 8
#define H_MODE 40
#define H_HASH 72
#define H_PAYLOAD 104
#define H_KEY_BYTES 108
#define H_DIGEST 112
#define H_DIGEST_SALT 132
#define H_DIGEST_ITERS 164
#define H_UUID 168
#define H_SLOT(i) (208 + 48 * (size_t)(i))
#define S_ACTIVE 0
#define S_ITERS 4
#define S_SALT 8
#define S_OFFSET 40
#define S_STRIPES 44

static const uint8_t magic[6] = {'L', 'U', 'K', 'S', 0xba, 0xbe};
static const char *const cipher_names[] = {"aes-128", "aes-192", "aes-256", NULL};
static const char *const mode_names[] = {"xts", "cbc", NULL};
static const char *const iv_names[] = {"plain", "plain64", "essiv", NULL};
static const char *const hash_names[] = {"sha1", "sha256", "sha512", NULL};

typedef struct Spec {
    CipherMode mode;
    CipherIv iv;
    HashAlg hash;
    size_t key_bytes; /* of the master key: xts has two keys */
} Spec;

struct Luks {
    Spec spec;
    Cipher *cipher;
    uint8_t key[64];
};

static int word_index(const char *const *names, const char *word)
{
    for (int i = 0; names[i]; i++) {
        if (!strcmp(names[i], word)) {
            return i;
        }
    }
    return -1;
}

/* ---- options ---- */

static int choose(const char *what, const char *const *names, const char *given, int def,
                  GString *wrong)
{
    int i = given ? word_index(names, given) : def;
    if (i < 0) {
        g_autofree char *all = g_strjoinv("', '", (char **)names);
        const char *near = nearest_word(given, names);
        g_string_append_printf(wrong, "  '%s' cannot be '%s'%s%s%s (possible: '%s')\n", what, given,
                               near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "",
                               all);
    }
    return i;
}

static bool spec_of_options(const LuksOptions *o, Spec *s, Error **errp)
{
    g_autoptr(GString) wrong = g_string_new(NULL);
    int cipher = choose("cipher-alg", cipher_names, o->cipher_alg, 2, wrong);
    int mode = choose("cipher-mode", mode_names, o->cipher_mode, 0, wrong);
    int iv = choose("ivgen-alg", iv_names, o->ivgen_alg, 1, wrong);
    int hash = choose("hash-alg", hash_names, o->hash_alg, 1, wrong);
    if (iv == 2 && g_strcmp0(o->ivgen_hash_alg ? o->ivgen_hash_alg : "sha256", "sha256")) {
        g_string_append_printf(wrong, "  'ivgen-hash-alg' must be 'sha256' for 'essiv'\n");
    } else if (iv >= 0 && iv != 2 && o->ivgen_hash_alg) {
        g_string_append_printf(wrong, "  'ivgen-hash-alg' is for 'ivgen-alg' 'essiv' only\n");
    }
    if (wrong->len) {
        error_set(errp, "the encryption options are wrong");
        error_detail(errp, "%s", wrong->str);
        return false;
    }
    s->mode = mode == 0 ? CIPHER_XTS : CIPHER_CBC;
    s->iv = iv == 0 ? CIPHER_IV_PLAIN : iv == 1 ? CIPHER_IV_PLAIN64 : CIPHER_IV_ESSIV;
    s->hash = (HashAlg)hash;
    s->key_bytes = (size_t)(16 + 8 * cipher) * (s->mode == CIPHER_XTS ? 2 : 1);
    return true;
}

bool luks_check_options(const LuksOptions *o, Error **errp)
{
    Spec s;
    return spec_of_options(o, &s, errp);
}

/* ---- fields ---- */

static uint64_t material_sectors(size_t key_bytes)
{
    return DIV_ROUND_UP((uint64_t)key_bytes * STRIPES, LUKS_SECTOR);
}

static uint64_t slot_distance(size_t key_bytes)
{
    return ALIGN_UP(material_sectors(key_bytes), (uint64_t)FIRST_SLOT_SECTOR);
}

bool luks_probe(const uint8_t *buf, size_t len)
{
    return len >= 8 && !memcmp(buf, magic, 6) && ld_be16(buf + H_VERSION) >= 1 &&
           ld_be16(buf + H_VERSION) <= 2;
}

/* A word of 32 bytes that must end. */
static bool field_word(const uint8_t *h, size_t at, char out[33])
{
    memcpy(out, h + at, 32);
    out[32] = 0;
    for (const char *c = out; *c; c++) {
        if (!g_ascii_isprint(*c)) {
            return false;
        }
    }
    return h[at + 31] == 0;
}

static bool bad(Error **errp, const char *field, const char *fmt, ...) G_GNUC_PRINTF(3, 4);
static bool bad(Error **errp, const char *field, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *why = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    error_set(errp, "not a valid LUKS header: field '%s' %s", field, why);
    return false;
}

static bool spec_of_mode(Spec *s, const char *mode, Error **errp)
{
    g_auto(GStrv) part = g_strsplit(mode, "-", 2);
    int m = part[0] ? word_index(mode_names, part[0]) : -1;
    if (m < 0 || !part[1]) {
        return bad(errp, "cipher-mode", "is '%s', which is not supported (xts-… and cbc-… are)",
                   mode);
    }
    s->mode = m == 0 ? CIPHER_XTS : CIPHER_CBC;
    if (!strcmp(part[1], "plain")) {
        s->iv = CIPHER_IV_PLAIN;
    } else if (!strcmp(part[1], "plain64")) {
        s->iv = CIPHER_IV_PLAIN64;
    } else if (!strcmp(part[1], "essiv:sha256")) {
        s->iv = CIPHER_IV_ESSIV;
    } else {
        return bad(errp, "cipher-mode", "is '%s', which is not supported", mode);
    }
    return true;
}

static bool spec_of_header(const uint8_t *h, Spec *s, Error **errp)
{
    char cipher[33], mode[33], hash[33];
    if (memcmp(h, magic, 6)) {
        return bad(errp, "magic", "is not that of LUKS");
    }
    if (ld_be16(h + H_VERSION) == 2) {
        error_set(errp, "LUKS version 2 is not supported, version 1 is");
        error_hint(errp,
                   "'cryptsetup convert --type luks1' changes the header, if its keys allow it");
        return false;
    }
    if (ld_be16(h + H_VERSION) != 1) {
        return bad(errp, "version", "is %u; 1 is supported", ld_be16(h + H_VERSION));
    }
    if (!field_word(h, H_CIPHER, cipher) || strcmp(cipher, "aes")) {
        return bad(errp, "cipher-name", "is not 'aes', the one that is supported");
    }
    if (!field_word(h, H_MODE, mode)) {
        return bad(errp, "cipher-mode", "has no end");
    }
    if (!field_word(h, H_HASH, hash) || word_index(hash_names, hash) < 0) {
        return bad(errp, "hash-spec", "is none of sha1, sha256, sha512");
    }
    s->hash = (HashAlg)word_index(hash_names, hash);
    if (!spec_of_mode(s, mode, errp)) {
        return false;
    }
    s->key_bytes = ld_be32(h + H_KEY_BYTES);
    size_t half = s->mode == CIPHER_XTS ? s->key_bytes / 2 : s->key_bytes;
    if ((half != 16 && half != 24 && half != 32) || (s->mode == CIPHER_XTS && s->key_bytes % 2)) {
        return bad(errp, "key-bytes", "is %zu", s->key_bytes);
    }
    if (s->mode == CIPHER_XTS && half == 24) {
        return bad(errp, "key-bytes", "is 48: aes-192 with xts is not supported");
    }
    return true;
}

uint64_t luks_header_size(const uint8_t *h, Error **errp)
{
    Spec s;
    if (!spec_of_header(h, &s, errp)) {
        return 0;
    }
    uint64_t payload = ld_be32(h + H_PAYLOAD), end = 8;
    uint32_t iters = ld_be32(h + H_DIGEST_ITERS);
    if (iters == 0 || iters > MAX_ITERS) {
        bad(errp, "mk-digest-iterations", "is %u", iters);
        return 0;
    }
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        const uint8_t *slot = h + H_SLOT(i);
        uint32_t active = ld_be32(slot + S_ACTIVE), first = ld_be32(slot + S_OFFSET);
        if (active != SLOT_ON && active != SLOT_OFF) {
            bad(errp, "active", "of key slot %u is %#x", i, active);
            return 0;
        }
        if (ld_be32(slot + S_STRIPES) != STRIPES) {
            bad(errp, "stripes", "of key slot %u is %u, not 4000", i, ld_be32(slot + S_STRIPES));
            return 0;
        }
        uint64_t past = first + material_sectors(s.key_bytes);
        if (first < DIV_ROUND_UP(LUKS_HEADER_BYTES, LUKS_SECTOR) || past > 1u << 16) {
            bad(errp, "key-material-offset", "of key slot %u is %u sectors", i, first);
            return 0;
        }
        if (active == SLOT_ON &&
            (ld_be32(slot + S_ITERS) == 0 || ld_be32(slot + S_ITERS) > MAX_ITERS)) {
            bad(errp, "iterations", "of key slot %u is %u", i, ld_be32(slot + S_ITERS));
            return 0;
        }
        end = MAX(end, past);
    }
    if (payload < end || payload > 1u << 17) {
        bad(errp, "payload-offset", "is %" PRIu64 " sectors, but the key material needs %" PRIu64,
            payload, end);
        return 0;
    }
    return payload * LUKS_SECTOR;
}

static uint64_t size_of_spec(const Spec *s)
{
    return (FIRST_SLOT_SECTOR + LUKS_SLOTS * slot_distance(s->key_bytes)) * LUKS_SECTOR;
}

uint64_t luks_size_for(const LuksOptions *o)
{
    Spec s;
    if (!spec_of_options(o, &s, NULL)) {
        return 0;
    }
    return size_of_spec(&s);
}

/* ---- the anti-forensic splitter ---- */

/* Each hash-sized part of `block` becomes its digest with its number before it. */
static void diffuse(HashAlg alg, uint8_t *block, size_t len)
{
    size_t digest = hash_size(alg);
    for (uint32_t i = 0; (size_t)i * digest < len; i++) {
        size_t now = MIN(digest, len - i * digest);
        uint8_t in[4 + HASH_MAX], out[HASH_MAX];
        st_be32(in, i);
        memcpy(in + 4, block + i * digest, now);
        hash_bytes(alg, in, 4 + now, out);
        memcpy(block + i * digest, out, now);
    }
}

static bool random_bytes(uint8_t *buf, size_t len, Error **errp)
{
    while (len) {
        ssize_t got = getrandom(buf, MIN(len, 256), 0);
        if (got < 0 && errno != EINTR) {
            error_set_errno(errp, errno, "cannot get random bytes for a key");
            return false;
        }
        if (got > 0) {
            buf += got;
            len -= (size_t)got;
        }
    }
    return true;
}

static bool split(HashAlg alg, const uint8_t *key, size_t len, uint8_t *out, Error **errp)
{
    uint8_t block[64] = {0};
    if (!random_bytes(out, len * (STRIPES - 1), errp)) {
        return false;
    }
    for (unsigned i = 0; i + 1 < STRIPES; i++) {
        for (size_t k = 0; k < len; k++) {
            block[k] ^= out[i * len + k];
        }
        diffuse(alg, block, len);
    }
    for (size_t k = 0; k < len; k++) {
        out[(STRIPES - 1) * len + k] = block[k] ^ key[k];
    }
    wipe(block, sizeof(block));
    return true;
}

static void merge(HashAlg alg, const uint8_t *in, size_t len, uint8_t *key)
{
    uint8_t block[64] = {0};
    for (unsigned i = 0; i + 1 < STRIPES; i++) {
        for (size_t k = 0; k < len; k++) {
            block[k] ^= in[i * len + k];
        }
        diffuse(alg, block, len);
    }
    for (size_t k = 0; k < len; k++) {
        key[k] = in[(STRIPES - 1) * len + k] ^ block[k];
    }
    wipe(block, sizeof(block));
}

/* ---- slots ---- */

static void digest_of(const Spec *s, const uint8_t *h, const uint8_t *key, uint8_t out[DIGEST])
{
    hash_pbkdf2(s->hash, key, s->key_bytes, ld_be32(h + H_DIGEST_ITERS), h + H_DIGEST_SALT, SALT,
                out, DIGEST);
}

/* Does the password open slot `i`?  Then *key is the master key. */
static bool try_slot(const Spec *s, const uint8_t *h, size_t len, unsigned i,
                     const uint8_t *password, size_t password_len, uint8_t key[64])
{
    const uint8_t *slot = h + H_SLOT(i);
    size_t at = (size_t)ld_be32(slot + S_OFFSET) * LUKS_SECTOR;
    size_t bytes = (size_t)material_sectors(s->key_bytes) * LUKS_SECTOR;
    if (ld_be32(slot + S_ACTIVE) != SLOT_ON || at + bytes > len) {
        return false;
    }
    uint8_t slot_key[64], digest[DIGEST];
    hash_pbkdf2(s->hash, password, password_len, ld_be32(slot + S_ITERS), slot + S_SALT, SALT,
                slot_key, s->key_bytes);
    Cipher *c = cipher_new(s->mode, s->iv, slot_key, s->key_bytes);
    uint8_t *material = g_memdup2(h + at, bytes);
    cipher_decrypt(c, 0, material, bytes);
    merge(s->hash, material, s->key_bytes, key);
    digest_of(s, h, key, digest);
    wipe(material, bytes);
    wipe(slot_key, sizeof(slot_key));
    g_free(material);
    cipher_free(c);
    return !memcmp(digest, h + H_DIGEST, DIGEST);
}

static int find_slot(const Spec *s, const uint8_t *h, size_t len, const uint8_t *password,
                     size_t password_len, uint8_t key[64])
{
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        if (try_slot(s, h, len, i, password, password_len, key)) {
            return (int)i;
        }
    }
    return -1;
}

int luks_find_slot(const uint8_t *header, size_t len, const uint8_t *password, size_t password_len)
{
    Spec s;
    uint8_t key[64];
    if (!spec_of_header(header, &s, NULL)) {
        return -1;
    }
    int i = find_slot(&s, header, len, password, password_len, key);
    wipe(key, sizeof(key));
    return i;
}

static Luks *luks_new(const Spec *s, const uint8_t *key)
{
    Luks *l = g_new0(Luks, 1);
    l->spec = *s;
    memcpy(l->key, key, s->key_bytes);
    l->cipher = cipher_new(s->mode, s->iv, key, s->key_bytes);
    return l;
}

void luks_free(Luks *l)
{
    if (l) {
        cipher_free(l->cipher);
        wipe(l, sizeof(*l));
        g_free(l);
    }
}

Luks *luks_open(const uint8_t *header, size_t len, const uint8_t *password, size_t password_len,
                Error **errp)
{
    Spec s;
    uint8_t key[64];
    if (!luks_header_size(header, errp) || !spec_of_header(header, &s, errp) ||
        !cipher_available(errp)) {
        return NULL;
    }
    if (find_slot(&s, header, len, password, password_len, key) < 0) {
        error_set(errp, "the password opens none of the key slots");
        return NULL;
    }
    Luks *l = luks_new(&s, key);
    wipe(key, sizeof(key));
    return l;
}

/* How many iterations make a guess take `ms`. */
static uint32_t calibrate(HashAlg alg, size_t out_len, uint64_t ms)
{
    uint8_t salt[SALT] = {0}, out[64];
    uint32_t n = 1 << 12;
    for (;;) {
        struct timespec a, b;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
        hash_pbkdf2(alg, (const uint8_t *)"password", 8, n, salt, SALT, out, out_len);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
        uint64_t us =
            (uint64_t)(b.tv_sec - a.tv_sec) * 1000000u + (uint64_t)((b.tv_nsec - a.tv_nsec) / 1000);
        if (us > 20000 || n >= MAX_ITERS / 4) {
            uint64_t want = (uint64_t)n * ms * 1000 / MAX(us, 1);
            return (uint32_t)CLAMP(want, MIN_ITERS, MAX_ITERS);
        }
        n *= 4;
    }
}

bool luks_set_slot(Luks *l, uint8_t *header, size_t len, int slot, const uint8_t *password,
                   size_t password_len, uint64_t iter_time_ms, Error **errp)
{
    const Spec *s = &l->spec;
    for (unsigned i = 0; slot < 0 && i < LUKS_SLOTS; i++) {
        slot = ld_be32(header + H_SLOT(i)) == SLOT_OFF ? (int)i : -1;
    }
    if (slot < 0 || slot >= (int)LUKS_SLOTS) {
        error_set(errp, "all key slots are in use");
        return false;
    }
    uint8_t *h = header + H_SLOT(slot);
    size_t at = (size_t)ld_be32(h + S_OFFSET) * LUKS_SECTOR;
    size_t bytes = (size_t)material_sectors(s->key_bytes) * LUKS_SECTOR;
    if (at + bytes > len) {
        error_set(errp, "key slot %d lies beyond the header", slot);
        return false;
    }
    if (!password) {
        st_be32(h + S_ACTIVE, SLOT_OFF);
        st_be32(h + S_ITERS, 0);
        memset(h + S_SALT, 0, SALT);
        return random_bytes(header + at, bytes, errp);
    }
    uint8_t slot_key[64];
    memset(header + at, 0, bytes);
    if (!random_bytes(h + S_SALT, SALT, errp) ||
        !split(s->hash, l->key, s->key_bytes, header + at, errp)) {
        return false;
    }
    uint32_t iters = calibrate(s->hash, s->key_bytes, iter_time_ms ? iter_time_ms : 2000);
    hash_pbkdf2(s->hash, password, password_len, iters, h + S_SALT, SALT, slot_key, s->key_bytes);
    Cipher *c = cipher_new(s->mode, s->iv, slot_key, s->key_bytes);
    cipher_encrypt(c, 0, header + at, bytes);
    cipher_free(c);
    wipe(slot_key, sizeof(slot_key));
    st_be32(h + S_ITERS, iters);
    st_be32(h + S_ACTIVE, SLOT_ON);
    return true;
}

static void put_uuid(uint8_t *h)
{
    uint8_t r[16] = {0};
    random_bytes(r, sizeof(r), NULL);
    r[6] = (uint8_t)((r[6] & 0x0f) | 0x40);
    r[8] = (uint8_t)((r[8] & 0x3f) | 0x80);
    snprintf((char *)h + H_UUID, 40,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", r[0], r[1],
             r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13], r[14],
             r[15]);
}

uint8_t *luks_create(const LuksOptions *o, const uint8_t *password, size_t password_len,
                     size_t *len, Luks **luks, Error **errp)
{
    Spec s;
    uint8_t key[64];
    if (!spec_of_options(o, &s, errp) || !cipher_available(errp)) {
        return NULL;
    }
    if (s.mode == CIPHER_XTS && s.key_bytes == 48) {
        error_set(errp, "aes-192 cannot be used with xts");
        return NULL;
    }
    static const char *const ivs[] = {"plain", "plain64", "essiv:sha256"};
    *len = (size_t)size_of_spec(&s);
    uint8_t *h = g_malloc0(*len);
    memcpy(h, magic, 6);
    h[H_VERSION + 1] = 1;
    strcpy((char *)h + H_CIPHER, "aes");
    snprintf((char *)h + H_MODE, 32, "%s-%s", s.mode == CIPHER_XTS ? "xts" : "cbc", ivs[s.iv]);
    strcpy((char *)h + H_HASH, hash_names[s.hash]);
    st_be32(h + H_PAYLOAD, (uint32_t)(*len / LUKS_SECTOR));
    st_be32(h + H_KEY_BYTES, (uint32_t)s.key_bytes);
    put_uuid(h);
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        uint8_t *slot = h + H_SLOT(i);
        st_be32(slot + S_ACTIVE, SLOT_OFF);
        st_be32(slot + S_OFFSET, (uint32_t)(FIRST_SLOT_SECTOR + i * slot_distance(s.key_bytes)));
        st_be32(slot + S_STRIPES, STRIPES);
    }
    bool ok = random_bytes(key, s.key_bytes, errp) && random_bytes(h + H_DIGEST_SALT, SALT, errp);
    Luks *l = ok ? luks_new(&s, key) : NULL;
    if (ok) {
        uint64_t ms = o->iter_time_ms ? o->iter_time_ms : 2000;
        st_be32(h + H_DIGEST_ITERS, MAX(calibrate(s.hash, DIGEST, ms) / 8, MIN_ITERS));
        digest_of(&s, h, key, h + H_DIGEST);
        ok = luks_set_slot(l, h, *len, 0, password, password_len, ms, errp);
    }
    wipe(key, sizeof(key));
    if (!ok) {
        luks_free(l);
        g_free(h);
        return NULL;
    }
    *luks = l;
    return h;
}

void luks_encrypt(const Luks *l, uint64_t sector, uint8_t *buf, size_t len)
{
    cipher_encrypt(l->cipher, sector, buf, len);
}

void luks_decrypt(const Luks *l, uint64_t sector, uint8_t *buf, size_t len)
{
    cipher_decrypt(l->cipher, sector, buf, len);
}

void luks_info(const uint8_t *h, LuksInfo *out)
{
    static const char *const ivs[] = {"plain", "plain64", "essiv"};
    Spec s;
    memset(out, 0, sizeof(*out));
    if (!spec_of_header(h, &s, NULL)) {
        return;
    }
    size_t half = s.mode == CIPHER_XTS ? s.key_bytes / 2 : s.key_bytes;
    snprintf(out->cipher_alg, sizeof(out->cipher_alg), "aes-%zu", half * 8);
    snprintf(out->cipher_mode, sizeof(out->cipher_mode), "%s",
             s.mode == CIPHER_XTS ? "xts" : "cbc");
    snprintf(out->ivgen_alg, sizeof(out->ivgen_alg), "%s", ivs[s.iv]);
    snprintf(out->ivgen_hash_alg, sizeof(out->ivgen_hash_alg), "%s",
             s.iv == CIPHER_IV_ESSIV ? "sha256" : "");
    snprintf(out->hash_alg, sizeof(out->hash_alg), "%s", hash_names[s.hash]);
    memcpy(out->uuid, h + H_UUID, 40);
    out->payload_offset = (uint64_t)ld_be32(h + H_PAYLOAD) * LUKS_SECTOR;
    out->master_iters = ld_be32(h + H_DIGEST_ITERS);
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        const uint8_t *slot = h + H_SLOT(i);
        out->slot[i].active = ld_be32(slot + S_ACTIVE) == SLOT_ON;
        out->slot[i].iters = ld_be32(slot + S_ITERS);
        out->slot[i].stripes = ld_be32(slot + S_STRIPES);
        out->slot[i].key_offset = (uint64_t)ld_be32(slot + S_OFFSET) * LUKS_SECTOR;
    }
}
