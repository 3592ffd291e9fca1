/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * crypto/cipher.h: disk sectors by AES, hashes and key derivation, with nettle underneath.
 * Contexts are constant once made and may be used by many threads at a time.
 */
#ifndef RHEA_CRYPTO_CIPHER_H
#define RHEA_CRYPTO_CIPHER_H

#include "util/error.h"

#include <stddef.h>
#include <stdint.h>

/* The mathematics is a module: everything but wipe() needs this to have succeeded. */
bool cipher_available(Error **errp);

typedef enum HashAlg { HASH_SHA1, HASH_SHA256, HASH_SHA512 } HashAlg;
#define HASH_MAX 64
size_t hash_size(HashAlg alg);
void hash_bytes(HashAlg alg, const uint8_t *data, size_t len, uint8_t *out);
/* PBKDF2 (RFC 8018) with HMAC. */
void hash_pbkdf2(HashAlg alg, const uint8_t *password, size_t password_len, uint32_t iterations,
                 const uint8_t *salt, size_t salt_len, uint8_t *out, size_t out_len);

typedef enum CipherMode { CIPHER_XTS, CIPHER_CBC } CipherMode;
/* How the number of a sector becomes an initial vector. */
typedef enum CipherIv { CIPHER_IV_PLAIN, CIPHER_IV_PLAIN64, CIPHER_IV_ESSIV } CipherIv;
typedef struct Cipher Cipher;
/* `key_len`: 16, 24, 32 bytes; for XTS twice 16 or 32. ESSIV uses SHA-256. */
Cipher *cipher_new(CipherMode mode, CipherIv iv, const uint8_t *key, size_t key_len);
void cipher_free(Cipher *c); /* wipes it; NULL is fine */
/* Whole sectors of 512 bytes in place, numbered from `sector` on. */
void cipher_encrypt(const Cipher *c, uint64_t sector, uint8_t *buf, size_t len);
void cipher_decrypt(const Cipher *c, uint64_t sector, uint8_t *buf, size_t len);

/* A buffer of whole 16-byte blocks by AES-256 in CBC mode. */
void cipher_cbc_decrypt(const uint8_t key[32], const uint8_t iv[16], uint8_t *buf, size_t len);

/* memset(0) that is not optimized away. */
void wipe(void *p, size_t len);

#endif
