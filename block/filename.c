/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File names of images as users and backing-file fields write them. */
#include "block/remote/remote.h"

#include <sys/stat.h>

/* Length of a leading "protocol:", or 0: "a:b" is one, "./a:b" and "/a:b" are not. */
static size_t protocol_length(const char *name)
{
    size_t i = 0;
    while (g_ascii_isalnum(name[i]) || (i && strchr("+-.", name[i]) && name[i])) {
        i++;
    }
    return i && name[i] == ':' ? i : 0;
}

static bool is_device(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && (S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode));
}

static Json *file_options(const char *path)
{
    Json *o = json_object();
    json_put_string(o, "driver", is_device(path) ? "host_device" : "file");
    json_put_string(o, "filename", path);
    return o;
}

/* nbd://host:port/export, nbd+unix:///export?socket=path; nbds is for tls-creds. */
static Json *nbd_uri(const char *name, Error **errp)
{
    g_autoptr(GError) gerr = NULL;
    g_autoptr(GUri) uri = g_uri_parse(name, G_URI_FLAGS_NONE, &gerr);
    if (!uri) {
        error_set(errp, "'%s' is not a URI: %s", name, gerr->message);
        return NULL;
    }
    const char *scheme = g_uri_get_scheme(uri), *path = g_uri_get_path(uri);
    const char *query = g_uri_get_query(uri);
    bool is_unix = g_str_has_suffix(scheme, "+unix");
    if (g_str_has_prefix(scheme, "nbds")) {
        error_set(errp, "'%s': TLS needs credentials: driver=nbd,…,tls-creds=ID", name);
        return NULL;
    }
    Json *o = json_object(), *server = json_object();
    json_put_string(o, "driver", "nbd");
    json_put(o, "server", server);
    json_put_string(server, "type", is_unix ? "unix" : "inet");
    if (is_unix) {
        g_autoptr(GHashTable) q =
            query ? g_uri_parse_params(query, -1, "&", G_URI_PARAMS_NONE, NULL) : NULL;
        const char *socket = q ? g_hash_table_lookup(q, "socket") : NULL;
        json_put_string(server, "path", socket ? socket : "");
    } else {
        const char *host = g_uri_get_host(uri);
        json_put_string(server, "host", host && *host ? host : "localhost");
        json_put_int(server, "port", g_uri_get_port(uri) > 0 ? g_uri_get_port(uri) : 10809);
    }
    json_put_string(o, "export", *path == '/' ? path + 1 : path);
    return o;
}

/* nbd:host:port[:exportname=name], nbd:unix:path[:exportname=name] */
static Json *nbd_plain(const char *name, Error **errp)
{
    const char *rest = name + 4, *export = strstr(rest, ":exportname=");
    g_autofree char *where = export ? g_strndup(rest, (gsize)(export - rest)) : g_strdup(rest);
    Json *o = json_object(), *server = json_object();
    json_put_string(o, "driver", "nbd");
    json_put(o, "server", server);
    json_put_string(o, "export", export ? export + strlen(":exportname=") : "");
    char *colon = strrchr(where, ':');
    if (g_str_has_prefix(where, "unix:")) {
        json_put_string(server, "type", "unix");
        json_put_string(server, "path", where + 5);
        return o;
    }
    if (!colon) {
        error_set(errp, "'%s': expected nbd:HOST:PORT or nbd:unix:PATH", name);
        json_unref(o);
        return NULL;
    }
    *colon = 0;
    json_put_string(server, "type", "inet");
    json_put_string(server, "host", where);
    json_put_string(server, "port", colon + 1);
    return o;
}

/* Names of disks that are served by others; NULL without an error: it is none. */
static Json *network_options(const char *name, Error **errp)
{
    static const char *const by_curl[] = {"http://", "https://", "ftp://", "ftps://"};
    if (g_str_has_prefix(name, "nbd://") || g_str_has_prefix(name, "nbd+unix://") ||
        g_str_has_prefix(name, "nbds")) {
        return nbd_uri(name, errp);
    }
    if (g_str_has_prefix(name, "nbd:")) {
        return nbd_plain(name, errp);
    }
    if (g_str_has_prefix(name, "iscsi:") || g_str_has_prefix(name, "iser:")) {
        return iscsi_filename(name, errp);
    }
    if (g_str_has_prefix(name, "rbd:")) {
        return rbd_filename(name, errp);
    }
    if (g_str_has_prefix(name, "nfs:")) {
        return nfs_filename(name, errp);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(by_curl); i++) {
        if (g_str_has_prefix(name, by_curl[i])) {
            Json *o = json_object();
            json_put_string(o, "driver", "http");
            json_put_string(o, "url", name);
            return o;
        }
    }
    return NULL;
}

Json *filename_to_options(const char *filename, Error **errp)
{
    struct stat st;
    if (g_str_has_prefix(filename, "json:")) {
        Json *o = json_parse(filename + 5, errp);
        if (o && json_type(o) != JSON_OBJECT) {
            error_set(errp, "'json:' must be followed by an object: '%s'", filename);
            json_unref(o);
            o = NULL;
        }
        return o;
    }
    size_t plen = protocol_length(filename);
    if (plen == 4 && !strncmp(filename, "file", 4)) {
        const char *path = filename + 5;
        return file_options(g_str_has_prefix(path, "///") ? path + 2 : path);
    }
    if (plen == 11 && !strncmp(filename, "host_device", 11)) {
        return file_options(filename + 12);
    }
    if (g_str_has_prefix(filename, "null-co://")) {
        Json *o = json_object();
        json_put_string(o, "driver", "null-co");
        return o;
    }
    Error *err = NULL;
    Json *network = plen ? network_options(filename, &err) : NULL;
    if (network || err) {
        error_propagate(errp, err);
        return network;
    }
    if (plen && stat(filename, &st) < 0) {
        error_set(errp, "cannot open '%s': the protocol '%.*s' is not supported", filename,
                  (int)plen, filename);
        error_hint(errp, "for a file of that name write './%s'", filename);
        return NULL;
    }
    if (!*filename) {
        error_set(errp, "the file name of a disk image is empty");
        return NULL;
    }
    return file_options(filename);
}

char *filename_combine(const char *base, const char *name)
{
    if (!base || name[0] == '/' || protocol_length(name)) {
        return g_strdup(name);
    }
    const char *slash = strrchr(base, '/');
    if (!slash) {
        return g_strdup(name);
    }
    return g_strdup_printf("%.*s/%s", (int)(slash - base), base, name);
}
