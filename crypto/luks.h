/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * crypto/luks.h: LUKS version 1 ("LUKS On-Disk Format Specification" 1.2): the header with its
 * key slots, and the sectors it protects.  The mathematics is nettle's.
 *
 * The header is handled as bytes in memory, so that it may lie in an image of any format; the
 * caller reads and writes it.  Sectors have 512 bytes.  Nothing of a key is ever printed, and
 * memory that held one is wiped.
 */
#ifndef RHEA_CRYPTO_LUKS_H
#define RHEA_CRYPTO_LUKS_H

#include "util/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct Luks Luks;

#define LUKS_SECTOR 512u
#define LUKS_SLOTS 8u
#define LUKS_HEADER_BYTES 592u

/* What can be chosen; NULL or 0: QEMU's defaults (aes-256, xts, plain64, sha256). */
typedef struct LuksOptions {
    const char *cipher_alg;     /* aes-128, aes-192, aes-256 */
    const char *cipher_mode;    /* xts, cbc */
    const char *ivgen_alg;      /* plain, plain64, essiv */
    const char *ivgen_hash_alg; /* for essiv: sha1, sha256, sha512 */
    const char *hash_alg;       /* sha1, sha256, sha512 */
    uint64_t iter_time_ms;      /* how long a guess shall take; 0: 2000 */
} LuksOptions;
/* Checks the words; notes every mistake. false and one error if there was any. */
bool luks_check_options(const LuksOptions *o, Error **errp);

/* Is this the start of a LUKS 1 header? */
bool luks_probe(const uint8_t *buf, size_t len);
/*
 * How many bytes the header with its key material has, from its first LUKS_HEADER_BYTES, all of
 * whose fields are checked; 0 and a message that names the field.
 */
uint64_t luks_header_size(const uint8_t *first, Error **errp);
/* Bytes that luks_create() will make for these options. */
uint64_t luks_size_for(const LuksOptions *o);

/* Opens with a password; `header`: luks_header_size() bytes. Slow by design. */
Luks *luks_open(const uint8_t *header, size_t len, const uint8_t *password, size_t password_len,
                Error **errp);
/*
 * A new header (g_free() it; *len bytes) with one key slot, payload beginning at its end, and its
 * Luks.  NULL on error.
 */
uint8_t *luks_create(const LuksOptions *o, const uint8_t *password, size_t password_len,
                     size_t *len, Luks **luks, Error **errp);
void luks_free(Luks *l); /* NULL is fine */

/* Sets (password) or empties (NULL) a key slot of the open volume in `header`; slot -1: a free one. */
bool luks_set_slot(Luks *l, uint8_t *header, size_t len, int slot, const uint8_t *password,
                   size_t password_len, uint64_t iter_time_ms, Error **errp);
/* Which slot does the password open? -1: none. */
int luks_find_slot(const uint8_t *header, size_t len, const uint8_t *password, size_t password_len);

/* `len` bytes (whole sectors) in place; `sector`: number of the first, for the IV. Any thread. */
void luks_encrypt(const Luks *l, uint64_t sector, uint8_t *buf, size_t len);
void luks_decrypt(const Luks *l, uint64_t sector, uint8_t *buf, size_t len);

/* QEMU's ImageInfoSpecificLUKS members, from a header. */
typedef struct LuksInfo {
    char cipher_alg[16], cipher_mode[8], ivgen_alg[12], ivgen_hash_alg[12], hash_alg[12], uuid[41];
    uint64_t payload_offset, master_iters;
    struct {
        bool active;
        uint64_t iters, stripes, key_offset;
    } slot[LUKS_SLOTS];
} LuksInfo;
void luks_info(const uint8_t *header, LuksInfo *out);

#endif
