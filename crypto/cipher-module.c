/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The module "cipher": nettle does the mathematics. */
#include "crypto/cipher-module.h"

#include "config.h"
#include "util/bits.h"

#include <glib.h>
#include <nettle/aes.h>
#include <nettle/cbc.h>
#include <nettle/hmac.h>
#include <nettle/pbkdf2.h>
#include <nettle/sha1.h>
#include <nettle/sha2.h>
#include <nettle/xts.h>
#include <string.h>

#define SECTOR 512u

static void wipe_bytes(void *p, size_t len)
{
    memset(p, 0, len);
    __asm__ volatile("" : : "r"(p) : "memory");
}

/* ---- hashes ---- */

static void do_hash_bytes(HashAlg alg, const uint8_t *data, size_t len, uint8_t *out)
{
    union {
        struct sha1_ctx sha1;
        struct sha256_ctx sha256;
        struct sha512_ctx sha512;
    } c;
    switch (alg) {
    case HASH_SHA1:
        sha1_init(&c.sha1);
        sha1_update(&c.sha1, len, data);
        sha1_digest(&c.sha1, SHA1_DIGEST_SIZE, out);
        break;
    case HASH_SHA256:
        sha256_init(&c.sha256);
        sha256_update(&c.sha256, len, data);
        sha256_digest(&c.sha256, SHA256_DIGEST_SIZE, out);
        break;
    case HASH_SHA512:
        sha512_init(&c.sha512);
        sha512_update(&c.sha512, len, data);
        sha512_digest(&c.sha512, SHA512_DIGEST_SIZE, out);
        break;
    }
    wipe_bytes(&c, sizeof(c));
}

static void do_hash_pbkdf2(HashAlg alg, const uint8_t *password, size_t password_len,
                           uint32_t iterations, const uint8_t *salt, size_t salt_len, uint8_t *out,
                           size_t out_len)
{
    union {
        struct hmac_sha1_ctx sha1;
        struct hmac_sha256_ctx sha256;
        struct hmac_sha512_ctx sha512;
    } c;
    switch (alg) {
    case HASH_SHA1:
        hmac_sha1_set_key(&c.sha1, password_len, password);
        pbkdf2(&c, (nettle_hash_update_func *)hmac_sha1_update,
               (nettle_hash_digest_func *)hmac_sha1_digest, SHA1_DIGEST_SIZE, iterations, salt_len,
               salt, out_len, out);
        break;
    case HASH_SHA256:
        hmac_sha256_set_key(&c.sha256, password_len, password);
        pbkdf2(&c, (nettle_hash_update_func *)hmac_sha256_update,
               (nettle_hash_digest_func *)hmac_sha256_digest, SHA256_DIGEST_SIZE, iterations,
               salt_len, salt, out_len, out);
        break;
    case HASH_SHA512:
        hmac_sha512_set_key(&c.sha512, password_len, password);
        pbkdf2(&c, (nettle_hash_update_func *)hmac_sha512_update,
               (nettle_hash_digest_func *)hmac_sha512_digest, SHA512_DIGEST_SIZE, iterations,
               salt_len, salt, out_len, out);
        break;
    }
    wipe_bytes(&c, sizeof(c));
}

/* ---- sectors ---- */

typedef union AesKey {
    struct aes128_ctx k128;
    struct aes192_ctx k192;
    struct aes256_ctx k256;
} AesKey;

struct Cipher {
    CipherMode mode;
    CipherIv iv;
    nettle_cipher_func *encrypt, *decrypt;
    AesKey enc, dec, tweak;
    struct aes256_ctx essiv;
};

static void set_key(AesKey *enc, AesKey *dec, const uint8_t *key, size_t len)
{
    switch (len) {
    case 16:
        aes128_set_encrypt_key(&enc->k128, key);
        aes128_set_decrypt_key(&dec->k128, key);
        break;
    case 24:
        aes192_set_encrypt_key(&enc->k192, key);
        aes192_set_decrypt_key(&dec->k192, key);
        break;
    default:
        aes256_set_encrypt_key(&enc->k256, key);
        aes256_set_decrypt_key(&dec->k256, key);
        break;
    }
}

static Cipher *do_cipher_new(CipherMode mode, CipherIv iv, const uint8_t *key, size_t key_len)
{
    Cipher *c = g_new0(Cipher, 1);
    size_t one = mode == CIPHER_XTS ? key_len / 2 : key_len;
    AesKey unused;
    c->mode = mode;
    c->iv = iv;
    set_key(&c->enc, &c->dec, key, one);
    if (mode == CIPHER_XTS) {
        set_key(&c->tweak, &unused, key + one, one);
        wipe_bytes(&unused, sizeof(unused));
    }
    if (iv == CIPHER_IV_ESSIV) {
        uint8_t digest[HASH_MAX];
        do_hash_bytes(HASH_SHA256, key, key_len, digest);
        aes256_set_encrypt_key(&c->essiv, digest);
        wipe_bytes(digest, sizeof(digest));
    }
    c->encrypt = one == 16   ? (nettle_cipher_func *)aes128_encrypt
                 : one == 24 ? (nettle_cipher_func *)aes192_encrypt
                             : (nettle_cipher_func *)aes256_encrypt;
    c->decrypt = one == 16   ? (nettle_cipher_func *)aes128_decrypt
                 : one == 24 ? (nettle_cipher_func *)aes192_decrypt
                             : (nettle_cipher_func *)aes256_decrypt;
    return c;
}

static void do_cipher_free(Cipher *c)
{
    if (c) {
        wipe_bytes(c, sizeof(*c));
        g_free(c);
    }
}

static void cbc_decrypt_buffer(const uint8_t key[32], const uint8_t iv[16], uint8_t *buf,
                               size_t len)
{
    struct aes256_ctx c;
    uint8_t v[16];
    memcpy(v, iv, sizeof(v));
    aes256_set_decrypt_key(&c, key);
    cbc_decrypt(&c, (nettle_cipher_func *)aes256_decrypt, 16, v, len, buf, buf);
    wipe_bytes(&c, sizeof(c));
}

static void make_iv(const Cipher *c, uint64_t sector, uint8_t iv[16])
{
    memset(iv, 0, 16);
    if (c->iv == CIPHER_IV_PLAIN) {
        st_le32(iv, (uint32_t)sector);
        return;
    }
    st_le64(iv, sector);
    if (c->iv == CIPHER_IV_ESSIV) {
        aes256_encrypt(&c->essiv, 16, iv, iv);
    }
}

static void do_cipher_encrypt(const Cipher *c, uint64_t sector, uint8_t *buf, size_t len)
{
    uint8_t iv[16];
    for (size_t at = 0; at < len; at += SECTOR, sector++) {
        make_iv(c, sector, iv);
        if (c->mode == CIPHER_XTS) {
            xts_encrypt_message(&c->enc, &c->tweak, c->encrypt, iv, SECTOR, buf + at, buf + at);
        } else {
            cbc_encrypt(&c->enc, c->encrypt, 16, iv, SECTOR, buf + at, buf + at);
        }
    }
}

static void do_cipher_decrypt(const Cipher *c, uint64_t sector, uint8_t *buf, size_t len)
{
    uint8_t iv[16];
    for (size_t at = 0; at < len; at += SECTOR, sector++) {
        make_iv(c, sector, iv);
        if (c->mode == CIPHER_XTS) {
            xts_decrypt_message(&c->dec, &c->tweak, c->decrypt, c->encrypt, iv, SECTOR, buf + at,
                                buf + at);
        } else {
            cbc_decrypt(&c->dec, c->decrypt, 16, iv, SECTOR, buf + at, buf + at);
        }
    }
}

MODULE_TABLE(CipherModule) = {
    .head = {RHEA_VERSION},
    .hash = do_hash_bytes,
    .derive = do_hash_pbkdf2,
    .create = do_cipher_new,
    .destroy = do_cipher_free,
    .encrypt = do_cipher_encrypt,
    .decrypt = do_cipher_decrypt,
    .open_cbc = cbc_decrypt_buffer,
};
