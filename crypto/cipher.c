/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "crypto/cipher-module.h"

#include <string.h>

bool cipher_available(Error **errp)
{
    return module_load("cipher", errp) != NULL;
}

/* Loaded by whoever asked cipher_available() first. */
static const CipherModule *module(void)
{
    return module_load("cipher", NULL);
}

void wipe(void *p, size_t len)
{
    memset(p, 0, len);
    __asm__ volatile("" : : "r"(p) : "memory");
}

size_t hash_size(HashAlg alg)
{
    static const size_t sizes[] = {20, 32, 64};
    return sizes[alg];
}

void hash_bytes(HashAlg alg, const uint8_t *data, size_t len, uint8_t *out)
{
    module()->hash(alg, data, len, out);
}

void hash_pbkdf2(HashAlg alg, const uint8_t *password, size_t password_len, uint32_t iterations,
                 const uint8_t *salt, size_t salt_len, uint8_t *out, size_t out_len)
{
    module()->derive(alg, password, password_len, iterations, salt, salt_len, out, out_len);
}

Cipher *cipher_new(CipherMode mode, CipherIv iv, const uint8_t *key, size_t key_len)
{
    return module()->create(mode, iv, key, key_len);
}

void cipher_free(Cipher *c)
{
    if (c) {
        module()->destroy(c);
    }
}

void cipher_encrypt(const Cipher *c, uint64_t sector, uint8_t *buf, size_t len)
{
    module()->encrypt(c, sector, buf, len);
}

void cipher_decrypt(const Cipher *c, uint64_t sector, uint8_t *buf, size_t len)
{
    module()->decrypt(c, sector, buf, len);
}

void cipher_cbc_decrypt(const uint8_t key[32], const uint8_t iv[16], uint8_t *buf, size_t len)
{
    module()->open_cbc(key, iv, buf, len);
}
