/* SPDX-License-Identifier: GPL-2.0-or-later */
/* crypto/cipher-module.h: what crypto/cipher.h offers, by nettle (module "cipher"). */
#ifndef RHEA_CRYPTO_CIPHER_MODULE_H
#define RHEA_CRYPTO_CIPHER_MODULE_H

#include "crypto/cipher.h"
#include "util/module.h"

typedef struct CipherModule {
    ModuleHead head;
    void (*hash)(HashAlg alg, const uint8_t *data, size_t len, uint8_t *out);
    void (*derive)(HashAlg alg, const uint8_t *password, size_t password_len, uint32_t iterations,
                   const uint8_t *salt, size_t salt_len, uint8_t *out, size_t out_len);
    Cipher *(*create)(CipherMode mode, CipherIv iv, const uint8_t *key, size_t key_len);
    void (*destroy)(Cipher *c);
    void (*encrypt)(const Cipher *c, uint64_t sector, uint8_t *buf, size_t len);
    void (*decrypt)(const Cipher *c, uint64_t sector, uint8_t *buf, size_t len);
    void (*open_cbc)(const uint8_t key[32], const uint8_t iv[16], uint8_t *buf, size_t len);
} CipherModule;

#endif
