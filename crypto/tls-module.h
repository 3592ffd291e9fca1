/* SPDX-License-Identifier: GPL-2.0-or-later */
/* crypto/tls-module.h: what crypto/tls.c asks of gnutls (module "tls"). */
#ifndef RHEA_CRYPTO_TLS_MODULE_H
#define RHEA_CRYPTO_TLS_MODULE_H

#include "io/channel.h"
#include "util/module.h"

typedef enum TlsKind { TLS_X509, TLS_PSK, TLS_ANON } TlsKind;
typedef struct TlsCredsSpec {
    TlsKind kind;
    bool server, verify_peer;
    const char *dir, *priority, *username, *key_password;
} TlsCredsSpec;

/* Failures leave a text in *why, which the caller frees with g_free(). */
typedef struct TlsModule {
    ModuleHead head;
    void *(*creds_new)(const TlsCredsSpec *spec, char **why);
    void (*creds_free)(void *creds);
    void *(*session_new)(void *creds, int fd, const char *hostname, char **why);
    /* 0: done; -EAGAIN; else an error. */
    int (*handshake)(void *session, bool *want_write, char **why);
    /* After that: the name in the peer's certificate, or the user of its key; NULL: none. */
    char *(*peer_name)(void *session);
    IoCipher cipher;
} TlsModule;

#endif
