/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * crypto/secret.h: `-object secret,id=…`: passwords and keys that others name by their id, so
 * that they stand neither on the command line of whoever uses them nor in a log.
 *
 * data= holds the secret itself (good for tests only: everybody sees a command line); file= names
 * a file; format=base64 says how it is written; keyid= names another secret (a 32-byte key) with
 * which this one is encrypted (AES-256-CBC, iv= in base64, PKCS#7 padding).
 */
#ifndef RHEA_CRYPTO_SECRET_H
#define RHEA_CRYPTO_SECRET_H

#include "qom/object.h"

#define TYPE_SECRET "secret"

/*
 * The bytes of the secret `id` below /objects of the tree that `any` belongs to; borrowed, valid as
 * long as the object.  NULL and a message if there is none.
 */
const uint8_t *secret_lookup(Object *any, const char *id, size_t *len, Error **errp);
/* The same as text: NULL and a message if a zero byte is in it. */
const char *secret_lookup_text(Object *any, const char *id, Error **errp);

#endif
