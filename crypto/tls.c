/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "crypto/tls.h"

#include "crypto/authz.h"
#include "crypto/secret.h"
#include "crypto/tls-module.h"

#include <errno.h>

typedef struct TlsCreds {
    Object obj;
    char *dir, *priority, *username, *passwordid;
    int endpoint;
    bool verify_peer, sanity_check;
    const TlsModule *module;
    void *creds;
} TlsCreds;

static const char *const endpoints[] = {"client", "server", NULL};

static bool complete(TlsCreds *t, TlsKind kind, Error **errp)
{
    TlsCredsSpec spec = {.kind = kind,
                         .server = t->endpoint == 1,
                         .verify_peer = t->verify_peer,
                         .dir = t->dir,
                         .priority = t->priority,
                         .username = t->username};
    if (!t->dir && kind != TLS_ANON) {
        error_set(errp, "%s: property 'dir' is missing", t->obj.type->name);
        return false;
    }
    if (t->passwordid) {
        spec.key_password =
            secret_lookup_text(t->obj.scope ? t->obj.scope : &t->obj, t->passwordid, errp);
        if (!spec.key_password) {
            return false;
        }
    }
    t->module = module_load("tls", errp);
    if (!t->module) {
        return false;
    }
    g_autofree char *why = NULL;
    t->creds = t->module->creds_new(&spec, &why);
    if (!t->creds) {
        error_set(errp, "%s", why);
    }
    return t->creds != NULL;
}

static bool complete_x509(Object *obj, Error **errp)
{
    return complete((TlsCreds *)obj, TLS_X509, errp);
}

static bool complete_psk(Object *obj, Error **errp)
{
    return complete((TlsCreds *)obj, TLS_PSK, errp);
}

static bool complete_anon(Object *obj, Error **errp)
{
    return complete((TlsCreds *)obj, TLS_ANON, errp);
}

static void finalize(Object *obj)
{
    TlsCreds *t = (TlsCreds *)obj;
    if (t->creds) {
        t->module->creds_free(t->creds);
    }
}

#define COMMON_PROPS                                                                      \
    PROPERTY_STRING("dir", TlsCreds, dir, "folder of the keys and certificates"),         \
        PROPERTY_ENUM("endpoint", TlsCreds, endpoint, endpoints, 0, "which end this is"), \
        PROPERTY_STRING("priority", TlsCreds, priority, "gnutls priority string"),        \
        PROPERTY_BOOL("verify-peer", TlsCreds, verify_peer, true, "check the peer's certificate")

static const Property x509_props[] = {
    COMMON_PROPS,
    PROPERTY_BOOL("sanity-check", TlsCreds, sanity_check, true, "check own certificates early"),
    PROPERTY_STRING("passwordid", TlsCreds, passwordid, "secret that opens the key file"),
    {0},
};
static const Property psk_props[] = {
    COMMON_PROPS,
    PROPERTY_STRING("username", TlsCreds, username, "whose key a client uses (default: qemu)"),
    {0},
};
static const Property anon_props[] = {COMMON_PROPS, {0}};

OBJECT_TYPE(tls_creds_type, .name = TYPE_TLS_CREDS, .parent = "object", .help = "TLS credentials",
            .size = sizeof(TlsCreds), .finalize = finalize, .abstract = true,
            .container = "/objects")
OBJECT_TYPE(tls_x509_type, .name = "tls-creds-x509", .parent = TYPE_TLS_CREDS,
            .help = "TLS with certificates", .props = x509_props, .complete = complete_x509,
            .user_creatable = true)
OBJECT_TYPE(tls_psk_type, .name = "tls-creds-psk", .parent = TYPE_TLS_CREDS,
            .help = "TLS with keys that both ends have", .props = psk_props,
            .complete = complete_psk, .user_creatable = true)
OBJECT_TYPE(tls_anon_type, .name = "tls-creds-anon", .parent = TYPE_TLS_CREDS,
            .help = "TLS without knowing the peer", .props = anon_props, .complete = complete_anon,
            .user_creatable = true)

Object *tls_creds_find(Object *any, const char *id, bool server, Error **errp)
{
    g_autofree char *path = g_strconcat("/objects/", id, NULL);
    Object *o = object_resolve(object_root(any), path);
    if (!o || !object_is_a(o, TYPE_TLS_CREDS)) {
        error_set(errp,
                  o ? "Object with id '%s' is not TLS credentials"
                    : "No TLS credentials "
                      "with id '%s'",
                  id);
        return NULL;
    }
    if ((((TlsCreds *)o)->endpoint == 1) != server) {
        error_set(errp, "Expected TLS credentials for a %s endpoint", server ? "server" : "client");
        return NULL;
    }
    return o;
}

static bool may_come_in(const TlsModule *m, void *session, Object *authz, Error **errp)
{
    g_autofree char *name = authz ? m->peer_name(session) : NULL;
    if (authz && !authz_allows(authz, name)) {
        error_set(errp, "the TLS client '%s' may not come in, as '%s' says",
                  name ? name : "(without a name)", authz->name ? authz->name : "");
        return false;
    }
    return true;
}

static bool shake_hands(IoChannel *c, Object *creds, const char *hostname, Object *authz,
                        Error **errp)
{
    TlsCreds *t = (TlsCreds *)creds;
    g_autofree char *why = NULL;
    void *s = t->module->session_new(t->creds, io_channel_fd(c), hostname, &why);
    if (!s) {
        error_set(errp, "%s", why);
        return false;
    }
    for (;;) {
        bool want_write = false;
        int ret = t->module->handshake(s, &want_write, &why);
        if (ret == 0 && may_come_in(t->module, s, authz, errp)) {
            io_channel_set_cipher(c, &t->module->cipher, s);
            return true;
        }
        if (ret == -EAGAIN) {
            ret = io_channel_wait(c, want_write);
            if (ret == 0) {
                continue;
            }
            error_set_errno(errp, -ret, "the TLS handshake was cut off");
        } else if (ret < 0) {
            error_set(errp, "%s", why);
        }
        t->module->cipher.free(s);
        return false;
    }
}

bool tls_start(IoChannel *c, Object *creds, const char *hostname, Error **errp)
{
    return shake_hands(c, creds, hostname, NULL, errp);
}

bool tls_accept(IoChannel *c, Object *creds, Object *authz, Error **errp)
{
    return shake_hands(c, creds, NULL, authz, errp);
}
