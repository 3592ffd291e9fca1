/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The module "tls": gnutls. */
#include "crypto/tls-module.h"

#include "config.h"

#include <errno.h>
#include <glib.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

/* The program's own functions are out of a module's reach: it makes the error of this. */
static void G_GNUC_PRINTF(2, 3) fail(char **why, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    *why = g_strdup_vprintf(fmt, ap);
    va_end(ap);
}

typedef struct Creds {
    TlsKind kind;
    bool server, verify;
    char *priority;
    gnutls_certificate_credentials_t x509;
    gnutls_psk_server_credentials_t psk_server;
    gnutls_psk_client_credentials_t psk_client;
    gnutls_anon_server_credentials_t anon_server;
    gnutls_anon_client_credentials_t anon_client;
} Creds;

typedef struct Session {
    gnutls_session_t s;
    Creds *creds;
    char *hostname;
} Session;

static bool failed(int ret, const char *what, const char *file, char **why)
{
    if (ret < 0) {
        fail(why, "%s%s%s%s: %s", what, file ? " '" : "", file ? file : "", file ? "'" : "",
             gnutls_strerror(ret));
    }
    return ret < 0;
}

static void creds_free(void *opaque)
{
    Creds *c = opaque;
    if (c->x509) {
        gnutls_certificate_free_credentials(c->x509);
    }
    if (c->psk_server) {
        gnutls_psk_free_server_credentials(c->psk_server);
    }
    if (c->psk_client) {
        gnutls_psk_free_client_credentials(c->psk_client);
    }
    if (c->anon_server) {
        gnutls_anon_free_server_credentials(c->anon_server);
    }
    if (c->anon_client) {
        gnutls_anon_free_client_credentials(c->anon_client);
    }
    g_free(c->priority);
    g_free(c);
}

/* ---- credentials ---- */

static bool load_x509(Creds *c, const TlsCredsSpec *spec, char **why)
{
    const char *me = spec->server ? "server" : "client";
    g_autofree char *ca = g_build_filename(spec->dir, "ca-cert.pem", NULL);
    g_autofree char *crl = g_build_filename(spec->dir, "ca-crl.pem", NULL);
    g_autofree char *cert = g_strdup_printf("%s/%s-cert.pem", spec->dir, me);
    g_autofree char *key = g_strdup_printf("%s/%s-key.pem", spec->dir, me);
    bool has_ca = access(ca, R_OK) == 0, has_cert = access(cert, R_OK) == 0;
    gnutls_certificate_allocate_credentials(&c->x509);
    if (!has_ca && (spec->verify_peer || !spec->server)) {
        fail(why, "cannot read the certificate of the authority '%s'", ca);
        return false;
    }
    if (!has_cert && spec->server) {
        fail(why, "cannot read the server's certificate '%s'", cert);
        return false;
    }
    if (has_ca && failed(gnutls_certificate_set_x509_trust_file(c->x509, ca, GNUTLS_X509_FMT_PEM),
                         "cannot load", ca, why)) {
        return false;
    }
    if (has_cert && failed(gnutls_certificate_set_x509_key_file2(
                               c->x509, cert, key, GNUTLS_X509_FMT_PEM, spec->key_password, 0),
                           "cannot load the key of", cert, why)) {
        return false;
    }
    return access(crl, R_OK) != 0 ||
           !failed(gnutls_certificate_set_x509_crl_file(c->x509, crl, GNUTLS_X509_FMT_PEM),
                   "cannot load", crl, why);
}

/* The hexadecimal key of `user` in a file of lines "user:key". */
static char *psk_key(const char *file, const char *user, char **why)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) gerr = NULL;
    if (!g_file_get_contents(file, &text, NULL, &gerr)) {
        fail(why, "cannot read '%s': %s", file, gerr->message);
        return NULL;
    }
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    size_t n = strlen(user);
    for (char **l = lines; *l; l++) {
        if (!strncmp(*l, user, n) && (*l)[n] == ':') {
            return g_strdup(g_strchomp(*l + n + 1));
        }
    }
    fail(why, "there is no key of user '%s' in '%s'", user, file);
    return NULL;
}

static bool load_psk(Creds *c, const TlsCredsSpec *spec, char **why)
{
    g_autofree char *file = g_build_filename(spec->dir, "keys.psk", NULL);
    const char *user = spec->username ? spec->username : "qemu";
    if (spec->server) {
        gnutls_psk_allocate_server_credentials(&c->psk_server);
        return !failed(gnutls_psk_set_server_credentials_file(c->psk_server, file), "cannot load",
                       file, why);
    }
    g_autofree char *key = psk_key(file, user, why);
    if (!key) {
        return false;
    }
    gnutls_datum_t d = {(unsigned char *)key, (unsigned)strlen(key)};
    gnutls_psk_allocate_client_credentials(&c->psk_client);
    return !failed(gnutls_psk_set_client_credentials(c->psk_client, user, &d, GNUTLS_PSK_KEY_HEX),
                   "cannot use the key in", file, why);
}

static bool load_anon(Creds *c, const TlsCredsSpec *spec, char **why)
{
    if (spec->server) {
        gnutls_anon_allocate_server_credentials(&c->anon_server);
        gnutls_anon_set_server_known_dh_params(c->anon_server, GNUTLS_SEC_PARAM_MEDIUM);
    } else {
        gnutls_anon_allocate_client_credentials(&c->anon_client);
    }
    return true;
}

static void *creds_new(const TlsCredsSpec *spec, char **why)
{
    static const char *const extra[] = {"", ":+ECDHE-PSK:+DHE-PSK:+PSK",
                                        ":+ANON-DH:+ANON-ECDH:-VERS-TLS1.3"};
    Creds *c = g_new0(Creds, 1);
    c->kind = spec->kind;
    c->server = spec->server;
    c->verify = spec->verify_peer;
    c->priority = g_strconcat(spec->priority ? spec->priority : "NORMAL", extra[spec->kind], NULL);
    bool ok = spec->kind == TLS_X509  ? load_x509(c, spec, why)
              : spec->kind == TLS_PSK ? load_psk(c, spec, why)
                                      : load_anon(c, spec, why);
    if (!ok) {
        creds_free(c);
        return NULL;
    }
    return c;
}

/* ---- sessions ---- */

static void session_free(void *opaque)
{
    Session *s = opaque;
    gnutls_deinit(s->s);
    g_free(s->hostname);
    g_free(s);
}

static void *session_new(void *opaque, int fd, const char *hostname, char **why)
{
    Creds *c = opaque;
    Session *s = g_new0(Session, 1);
    unsigned flags = GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL;
    const char *pos = NULL;
    s->creds = c;
    s->hostname = g_strdup(hostname);
    gnutls_init(&s->s, flags | (c->server ? GNUTLS_SERVER : GNUTLS_CLIENT));
    if (failed(gnutls_priority_set_direct(s->s, c->priority, &pos), "the TLS priority", c->priority,
               why)) {
        session_free(s);
        return NULL;
    }
    if (c->kind == TLS_X509) {
        gnutls_credentials_set(s->s, GNUTLS_CRD_CERTIFICATE, c->x509);
        if (c->server) {
            gnutls_certificate_server_set_request(s->s, c->verify ? GNUTLS_CERT_REQUIRE
                                                                  : GNUTLS_CERT_IGNORE);
        } else if (hostname) {
            gnutls_server_name_set(s->s, GNUTLS_NAME_DNS, hostname, strlen(hostname));
        }
    } else if (c->kind == TLS_PSK) {
        gnutls_credentials_set(s->s, GNUTLS_CRD_PSK,
                               c->server ? (void *)c->psk_server : (void *)c->psk_client);
    } else {
        gnutls_credentials_set(s->s, GNUTLS_CRD_ANON,
                               c->server ? (void *)c->anon_server : (void *)c->anon_client);
    }
    gnutls_transport_set_int(s->s, fd);
    gnutls_handshake_set_timeout(s->s, 0);
    return s;
}

static bool verify_peer(Session *s, char **why)
{
    unsigned status = 0;
    if (s->creds->kind != TLS_X509 || !s->creds->verify) {
        return true;
    }
    int ret =
        gnutls_certificate_verify_peers3(s->s, s->creds->server ? NULL : s->hostname, &status);
    if (failed(ret, "cannot verify the peer's certificate", NULL, why)) {
        return false;
    }
    if (status) {
        gnutls_datum_t text = {0};
        gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0);
        fail(why, "the peer's certificate is not accepted: %s",
             text.data ? (const char *)text.data : "");
        gnutls_free(text.data);
    }
    return status == 0;
}

static int handshake(void *opaque, bool *want_write, char **why)
{
    Session *s = opaque;
    int ret = gnutls_handshake(s->s);
    if (ret == GNUTLS_E_AGAIN || (ret < 0 && !gnutls_error_is_fatal(ret))) {
        *want_write = gnutls_record_get_direction(s->s);
        return -EAGAIN;
    }
    if (failed(ret, "the TLS handshake failed", NULL, why)) {
        return -EPROTO;
    }
    return verify_peer(s, why) ? 0 : -EACCES;
}

static char *certificate_name(Session *s)
{
    unsigned n = 0;
    const gnutls_datum_t *list = gnutls_certificate_get_peers(s->s, &n);
    gnutls_x509_crt_t cert;
    char name[1024];
    size_t len = sizeof(name);
    if (!list || !n || gnutls_x509_crt_init(&cert) < 0) {
        return NULL;
    }
    bool ok = gnutls_x509_crt_import(cert, &list[0], GNUTLS_X509_FMT_DER) >= 0 &&
              gnutls_x509_crt_get_dn(cert, name, &len) >= 0;
    gnutls_x509_crt_deinit(cert);
    return ok ? g_strdup(name) : NULL;
}

/* A name that nobody has verified is none. */
static char *peer_name(void *opaque)
{
    Session *s = opaque;
    if (s->creds->kind == TLS_X509) {
        return s->creds->verify ? certificate_name(s) : NULL;
    }
    return s->creds->kind == TLS_PSK && s->creds->server
               ? g_strdup(gnutls_psk_server_get_username(s->s))
               : NULL;
}

static ssize_t result(Session *s, ssize_t ret, bool *want_write)
{
    if (ret >= 0) {
        return ret;
    }
    if (ret == GNUTLS_E_AGAIN) {
        *want_write = gnutls_record_get_direction(s->s);
        return -EAGAIN;
    }
    return ret == GNUTLS_E_INTERRUPTED             ? -EINTR
           : ret == GNUTLS_E_PREMATURE_TERMINATION ? 0
                                                   : -ECONNABORTED;
}

static ssize_t tls_recv(void *opaque, void *buf, size_t len, bool *want_write)
{
    Session *s = opaque;
    return result(s, gnutls_record_recv(s->s, buf, len), want_write);
}

static ssize_t tls_send(void *opaque, const void *buf, size_t len, bool *want_write)
{
    Session *s = opaque;
    return result(s, gnutls_record_send(s->s, buf, len), want_write);
}

static void bye(void *opaque)
{
    gnutls_bye(((Session *)opaque)->s, GNUTLS_SHUT_WR);
}

MODULE_TABLE(TlsModule) = {
    .head = {RHEA_VERSION},
    .creds_new = creds_new,
    .creds_free = creds_free,
    .session_new = session_new,
    .handshake = handshake,
    .peer_name = peer_name,
    .cipher = {.recv = tls_recv, .send = tls_send, .bye = bye, .free = session_free},
};
