/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The protocol "nfs": a file of an NFS server, without mounting it. */
#include "block/image.h"
#include "block/remote/remote.h"

#include <errno.h>

#define MAX_READAHEAD (1u << 20)
#define MAX_PAGE_CACHE (8u << 20)

/* Names in a URL's query, and the driver's. */
static const char *const query_names[][2] = {
    {"uid", "user"},
    {"gid", "group"},
    {"tcp-syncnt", "tcp-syn-count"},
    {"readahead", "readahead-size"},
    {"pagecache", "page-cache-size"},
    {"debug", "debug"},
    {"timeout", "timeout"},
};

static bool take_query(Json *o, const char *query, const char *name, Error **errp)
{
    g_autoptr(GError) gerr = NULL;
    GUriParamsIter i;
    char *key, *value;
    g_uri_params_iter_init(&i, query, -1, "&", G_URI_PARAMS_NONE);
    while (g_uri_params_iter_next(&i, &key, &value, &gerr)) {
        const char *to = NULL;
        for (size_t k = 0; k < G_N_ELEMENTS(query_names); k++) {
            to = strcmp(key, query_names[k][0]) ? to : query_names[k][1];
        }
        if (to) {
            json_put_string(o, to, value);
        } else {
            error_set(errp, "'%s': there is no NFS parameter '%s'", name, key);
            error_hint(errp, "known: uid, gid, tcp-syncnt, readahead, pagecache, debug, timeout");
        }
        g_free(key);
        g_free(value);
        if (!to) {
            return false;
        }
    }
    if (gerr) {
        error_set(errp, "'%s' is not a URI: %s", name, gerr->message);
    }
    return !gerr;
}

Json *nfs_filename(const char *name, Error **errp)
{
    g_autoptr(GError) gerr = NULL;
    g_autoptr(GUri) uri = g_uri_parse(name, G_URI_FLAGS_NONE, &gerr);
    const char *host = uri ? g_uri_get_host(uri) : NULL, *path = uri ? g_uri_get_path(uri) : "";
    if (!uri || !host || !*host || path[0] != '/' || !path[1] || g_uri_get_port(uri) > 0 ||
        g_uri_get_userinfo(uri)) {
        error_set(errp, "'%s' is not the name of a file of an NFS server", name);
        error_hint(errp, "expected nfs://host/folder/file[?uid=n&gid=n]");
        return NULL;
    }
    Json *o = json_object(), *server = json_object();
    json_put_string(o, "driver", "nfs");
    json_put(o, "server", server);
    json_put_string(server, "type", "inet");
    json_put_string(server, "host", host);
    json_put_string(o, "path", path);
    if (g_uri_get_query(uri) && !take_query(o, g_uri_get_query(uri), name, errp)) {
        json_unref(o);
        return NULL;
    }
    return o;
}

/* `*what`: the name for messages; freed by the caller. */
static void take_spec(BlockOpts *o, NfsSpec *spec, char **what)
{
    const Json *server = block_opts_take(o, "server");
    bool object = server && json_type(server) == JSON_OBJECT;
    const char *type = object ? json_get_str(server, "type") : NULL;
    *spec = (NfsSpec){
        .server = object ? json_get_str(server, "host") : NULL,
        .path = block_opts_string(o, "path", NULL),
        .tcp_syncount = (unsigned)block_opts_uint(o, "tcp-syn-count", 0, 0, 127),
        .readahead = (uint32_t)block_opts_uint(o, "readahead-size", 0, 0, MAX_READAHEAD),
        .page_cache = (uint32_t)block_opts_uint(o, "page-cache-size", 0, 0, MAX_PAGE_CACHE),
        .debug = (unsigned)block_opts_uint(o, "debug", 0, 0, 2),
        .timeout_s = (unsigned)block_opts_uint(o, "timeout", 0, 0, 86400),
    };
    spec->user =
        block_opts_has(o, "user") ? (int64_t)block_opts_uint(o, "user", 0, 0, INT32_MAX) : -1;
    spec->group =
        block_opts_has(o, "group") ? (int64_t)block_opts_uint(o, "group", 0, 0, INT32_MAX) : -1;
    if (!spec->server || !*spec->server || (type && strcmp(type, "inet"))) {
        block_opts_mistake(o, "'server' must be {type: inet, host: …}");
    }
    if (!spec->path || spec->path[0] != '/' || g_str_has_suffix(spec->path, "/")) {
        block_opts_mistake(o, "'path' must be a file's, from the root: /folder/file");
    }
    *what = g_strdup_printf("nfs://%s%s", spec->server ? spec->server : "",
                            spec->path ? spec->path : "");
}

static bool nfs_open(BlockNode *n, BlockOpts *o, Error **errp)
{
    NfsSpec spec;
    take_spec(o, &spec, &n->filename);
    if (!block_opts_finish(o, errp)) {
        return false;
    }
    if (n->flags.direct && (spec.readahead || spec.page_cache)) {
        error_set(errp, "'%s': cache.direct=on excludes readahead-size and page-cache-size",
                  n->filename);
        return false;
    }
    spec.read_only = n->flags.read_only;
    ((Remote *)n->s)->grows = true;
    return remote_open(n, "nfs", &spec, errp);
}

static int nfs_truncate(BlockNode *n, uint64_t size, BlockPrealloc prealloc, Error **errp)
{
    if (prealloc != PREALLOC_OFF) {
        error_set(errp, "cannot resize '%s': preallocation mode '%s' is not for NFS", n->filename,
                  block_prealloc_names[prealloc]);
        return -ENOTSUP;
    }
    RemoteRequest r = {.op = REMOTE_RESIZE, .len = size};
    int ret = remote_run(n, &r);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot resize '%s'", n->filename);
        return ret;
    }
    n->length = size;
    return 0;
}

static int64_t nfs_allocated(BlockNode *n)
{
    Remote *s = n->s;
    return ((const NfsModule *)s->module)->allocated(s->disk);
}

/* ---- making ---- */

static const BlockCreateOption nfs_create_options[] = {
    {"size", "size", "bytes"},
    {NULL},
};

static void report_create(const char *text)
{
    report_warning("%s", text);
}

typedef struct NfsCreate {
    const NfsModule *m;
    const NfsSpec *spec;
    const RemoteHost *host;
    uint64_t size;
    char *why;
} NfsCreate;

static int create_work(void *opaque)
{
    NfsCreate *c = opaque;
    return c->m->create(c->spec, c->host, c->size, &c->why) ? 0 : -EIO;
}

static bool nfs_create(BlockGraph *g, BlockNode *file, BlockOpts *o, Error **errp)
{
    static const unsigned hurry = 1; /* nothing waits for its server to come back */
    uint64_t size = block_opts_size(o, "size", 0);
    const Json *location = block_opts_take(o, "location");
    g_autoptr(BlockOpts) inner = location ? block_opts_new(location, "location") : NULL;
    g_autofree char *what = NULL;
    NfsSpec spec;
    take_spec(inner ? inner : o, &spec, &what);
    if ((inner && !block_opts_finish(inner, errp)) || !block_opts_finish(o, errp)) {
        return false;
    }
    const NfsModule *m = module_load("nfs", errp);
    RemoteHost host = {.what = what, .report = report_create, .draining = &hurry};
    NfsCreate c = {m, &spec, &host, size, NULL};
    if (m && block_run_blocking(g, create_work, &c) < 0) {
        remote_error(c.why, errp);
        m = NULL;
    }
    return m != NULL;
}

const BlockDriver block_driver_nfs = {
    .name = "nfs",
    .help = "a file of an NFS server",
    .state_size = sizeof(Remote),
    .protocol = true,
    .remote = true,
    .open = nfs_open,
    .close = remote_close,
    .preadv = remote_preadv,
    .pwritev = remote_pwritev,
    .flush = remote_flush,
    .map = remote_map,
    .truncate = nfs_truncate,
    .allocated = nfs_allocated,
    .create_options = nfs_create_options,
    .create = nfs_create,
};
