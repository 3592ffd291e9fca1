/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * crypto/authz.h: who may come in: objects that say yes or no to an identity (the name in a
 * client's certificate, or the user of its key).
 *
 * `authz-simple,identity=X`: X and nobody else.  `authz-list,policy=deny,rules.0.match=…`: the first
 * rule that matches decides (format=exact or glob), else the policy.  `authz-list-file,
 * filename=F`: the same from a JSON file, read again when it has changed (refresh=on).
 *
 * Control thread.
 */
#ifndef RHEA_CRYPTO_AUTHZ_H
#define RHEA_CRYPTO_AUTHZ_H

#include "qom/object.h"

#define TYPE_AUTHZ "authz"

/* The object `id` below /objects, which must be of one of these types; borrowed. */
Object *authz_find(Object *any, const char *id, Error **errp);
/* NULL: somebody without a name, who may never come in. */
bool authz_allows(Object *authz, const char *identity);

#endif
