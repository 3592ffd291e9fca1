/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The protocols "http", "https", "ftp" and "ftps": a file of a server, read by ranges.  What is
 * asked for is rounded up to the read-ahead, and the last such piece is kept.
 */
#include "block/curl-module.h"
#include "block/node.h"
#include "crypto/secret.h"

#include <errno.h>

typedef struct CurlState {
    const CurlModule *module;
    void *remote;
    uint64_t readahead;
    FiberMutex lock; /* of the piece */
    uint8_t *piece;
    uint64_t piece_off, piece_len;
} CurlState;

static bool curl_open(BlockNode *n, BlockOpts *o, Error **errp)
{
    CurlState *s = n->s;
    fiber_mutex_init(&s->lock);
    CurlSpec spec = {.url = block_opts_string(o, "url", NULL),
                     .username = block_opts_string(o, "username", NULL),
                     .cookie = block_opts_string(o, "cookie", NULL),
                     .verify = block_opts_bool(o, "sslverify", true),
                     .timeout_s = (unsigned)block_opts_uint(o, "timeout", 5, 1, 10000)};
    const char *secret = block_opts_string(o, "password-secret", NULL);
    const char *cookie = block_opts_string(o, "cookie-secret", NULL);
    s->readahead = block_opts_size(o, "readahead", 256 << 10);
    if (!spec.url) {
        block_opts_mistake(o, "'url' is missing");
    }
    if (s->readahead % 512 || s->readahead > 64 << 20) {
        block_opts_mistake(o, "'readahead' must be a multiple of 512, at most 64M");
    }
    if (!block_opts_finish(o, errp)) {
        return false;
    }
    n->filename = g_strdup(spec.url);
    if (!n->flags.read_only) {
        if (!n->flags.auto_read_only) {
            error_set(errp, "'%s' can only be read: read-only=on", spec.url);
            return false;
        }
        n->flags.read_only = true;
    }
    spec.password = secret ? secret_lookup_text(n->graph->root, secret, errp) : NULL;
    spec.cookie = cookie ? secret_lookup_text(n->graph->root, cookie, errp) : spec.cookie;
    if ((secret && !spec.password) || (cookie && !spec.cookie)) {
        return false;
    }
    s->module = module_load("curl", errp);
    if (!s->module) {
        return false;
    }
    g_autofree char *why = NULL;
    s->remote = s->module->open(&spec, &n->length, &why);
    if (!s->remote) {
        error_set(errp, "%s", why);
    }
    return s->remote != NULL;
}

static void curl_close(BlockNode *n)
{
    CurlState *s = n->s;
    if (s->remote) {
        s->module->close(s->remote);
    }
    fiber_mutex_destroy(&s->lock);
    g_free(s->piece);
}

typedef struct Fetch {
    CurlState *s;
    uint64_t off;
    uint8_t *buf;
    size_t len;
} Fetch;

static int fetch(void *opaque)
{
    Fetch *f = opaque;
    return f->s->module->pread(f->s->remote, f->off, f->buf, f->len);
}

/* Makes the piece hold `off`. Under the lock. */
static int load_piece(BlockNode *n, uint64_t off, uint64_t len)
{
    CurlState *s = n->s;
    Fetch f = {.s = s, .off = off, .len = (size_t)MIN(MAX(len, s->readahead), n->length - off)};
    f.buf = g_try_malloc(f.len);
    if (!f.buf) {
        return -ENOMEM;
    }
    int ret = node_run_blocking(n, fetch, &f);
    if (ret < 0) {
        g_free(f.buf);
        return ret;
    }
    g_free(s->piece);
    s->piece = f.buf;
    s->piece_off = off;
    s->piece_len = f.len;
    return 0;
}

static int curl_preadv(BlockNode *n, uint64_t off, const IoVec *v)
{
    CurlState *s = n->s;
    size_t done = 0;
    int ret = 0;
    while (done < v->size && ret == 0) {
        uint64_t at = off + done;
        if (at >= n->length) {
            iov_memset(v->iov, v->n, done, 0, v->size - done);
            break;
        }
        fiber_mutex_lock(&s->lock);
        if (!s->piece || at < s->piece_off || at >= s->piece_off + s->piece_len) {
            ret = load_piece(n, at, MIN(v->size - done, 8u << 20));
        }
        if (ret == 0) {
            size_t have = (size_t)MIN(s->piece_off + s->piece_len - at, v->size - done);
            iov_from_buf(v->iov, v->n, done, s->piece + (at - s->piece_off), have);
            done += have;
        }
        fiber_mutex_unlock(&s->lock);
    }
    return ret;
}

const BlockDriver block_driver_curl = {
    .name = "http",
    .alias = "https",
    .help = "a file of a web server (http, https, ftp, ftps)",
    .state_size = sizeof(CurlState),
    .protocol = true,
    .remote = true,
    .open = curl_open,
    .close = curl_close,
    .preadv = curl_preadv,
};
