/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * crypto/tls.h: TLS on a channel, and the objects that hold its credentials
 * (`-object tls-creds-x509`, `tls-creds-psk`, `tls-creds-anon`).  gnutls does the work (module
 * "tls").
 *
 * Files have QEMU's names in the folder dir=: ca-cert.pem, ca-crl.pem, server-cert.pem,
 * server-key.pem, client-cert.pem, client-key.pem; keys.psk.
 */
#ifndef RHEA_CRYPTO_TLS_H
#define RHEA_CRYPTO_TLS_H

#include "io/channel.h"
#include "qom/object.h"

#define TYPE_TLS_CREDS "tls-creds"

/* The object `id` below /objects, which must be credentials for this end; borrowed. */
Object *tls_creds_find(Object *any, const char *id, bool server, Error **errp);
/*
 * Shakes hands and puts TLS on the channel; waits as the channel does.  `hostname`: what the
 * server's certificate must be for (clients), NULL: this end is the server, or it does not matter.
 */
bool tls_start(IoChannel *c, Object *creds, const char *hostname, Error **errp);
/* The server's side; `authz` (crypto/authz.h, or NULL: all) says by its name whether the client may
 * come in. */
bool tls_accept(IoChannel *c, Object *creds, Object *authz, Error **errp);

#endif
