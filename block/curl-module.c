/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The module "curl": ranges of files by HTTP, HTTPS and FTP. */
#include "block/curl-module.h"

#include "config.h"

#include <curl/curl.h>
#include <errno.h>
#include <glib.h>
#include <stdarg.h>
#include <string.h>

/* The program's own functions are out of a module's reach: it makes the error of this. */
static void G_GNUC_PRINTF(2, 3) fail(char **why, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    *why = g_strdup_vprintf(fmt, ap);
    va_end(ap);
}

typedef struct Remote {
    char *url, *user, *password, *cookie;
    bool verify, http;
    unsigned timeout;
    GMutex lock;
    GQueue idle; /* CURL*, with their connections */
} Remote;

typedef struct Sink {
    char *buf;
    size_t got, len;
    bool accept_ranges;
} Sink;

static size_t take_body(char *data, size_t size, size_t n, void *opaque)
{
    Sink *s = opaque;
    size_t bytes = size * n;
    if (bytes > s->len - s->got) {
        return 0; /* more than was asked for: the server ignores ranges */
    }
    memcpy(s->buf + s->got, data, bytes);
    s->got += bytes;
    return bytes;
}

static size_t take_header(char *data, size_t size, size_t n, void *opaque)
{
    Sink *s = opaque;
    size_t len = size * n;
    static const char key[] = "accept-ranges: bytes";
    if (len >= sizeof(key) - 1 && !g_ascii_strncasecmp(data, key, sizeof(key) - 1)) {
        s->accept_ranges = true;
    }
    return len;
}

static CURL *handle(Remote *r)
{
    g_mutex_lock(&r->lock);
    CURL *c = g_queue_pop_head(&r->idle);
    g_mutex_unlock(&r->lock);
    if (c) {
        return c;
    }
    c = curl_easy_init();
    if (!c) {
        return NULL;
    }
    curl_easy_setopt(c, CURLOPT_URL, r->url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https,ftp,ftps");
    curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "http,https,ftp,ftps");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(c, CURLOPT_MAXREDIRS, 10L);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)r->timeout);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)r->timeout);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, r->verify ? 1L : 0L);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, r->verify ? 2L : 0L);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "rhea/" RHEA_VERSION);
    if (r->user) {
        curl_easy_setopt(c, CURLOPT_USERNAME, r->user);
    }
    if (r->password) {
        curl_easy_setopt(c, CURLOPT_PASSWORD, r->password);
    }
    if (r->cookie) {
        curl_easy_setopt(c, CURLOPT_COOKIE, r->cookie);
    }
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, take_header);
    return c;
}

static void put_back(Remote *r, CURL *c, bool good)
{
    g_mutex_lock(&r->lock);
    if (good && r->idle.length < 8) {
        g_queue_push_head(&r->idle, c);
        c = NULL;
    }
    g_mutex_unlock(&r->lock);
    if (c) {
        curl_easy_cleanup(c);
    }
}

static void remote_close(void *opaque)
{
    Remote *r = opaque;
    CURL *c;
    while ((c = g_queue_pop_head(&r->idle))) {
        curl_easy_cleanup(c);
    }
    g_mutex_clear(&r->lock);
    g_free(r->url);
    g_free(r->user);
    g_free(r->password);
    g_free(r->cookie);
    g_free(r);
}

static void *remote_open(const CurlSpec *spec, uint64_t *size, char **why)
{
    static gsize once;
    if (g_once_init_enter(&once)) {
        curl_global_init(CURL_GLOBAL_ALL);
        g_once_init_leave(&once, 1);
    }
    Remote *r = g_new0(Remote, 1);
    g_mutex_init(&r->lock);
    g_queue_init(&r->idle);
    r->url = g_strdup(spec->url);
    r->user = g_strdup(spec->username);
    r->password = g_strdup(spec->password);
    r->cookie = g_strdup(spec->cookie);
    r->verify = spec->verify;
    r->timeout = spec->timeout_s;
    r->http = g_str_has_prefix(spec->url, "http");
    CURL *c = handle(r);
    Sink s = {0};
    char text[CURL_ERROR_SIZE] = "";
    curl_off_t length = -1;
    curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, &s);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &s);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, text);
    CURLcode code = curl_easy_perform(c);
    curl_easy_getinfo(c, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    curl_easy_cleanup(c);
    if (code != CURLE_OK) {
        fail(why, "cannot open '%s': %s", spec->url, *text ? text : curl_easy_strerror(code));
    } else if (length < 0) {
        fail(why, "cannot open '%s': the server does not say how long it is", spec->url);
    } else if (r->http && !s.accept_ranges) {
        fail(why, "cannot open '%s': the server cannot send parts of it (no byte ranges)",
             spec->url);
    } else {
        *size = (uint64_t)length;
        return r;
    }
    remote_close(r);
    return NULL;
}

static int remote_pread(void *opaque, uint64_t off, void *buf, size_t len)
{
    Remote *r = opaque;
    CURL *c = handle(r);
    if (!c) {
        return -ENOMEM;
    }
    Sink s = {.buf = buf, .len = len};
    g_autofree char *range =
        g_strdup_printf("%" G_GUINT64_FORMAT "-%" G_GUINT64_FORMAT, off, (guint64)(off + len - 1));
    curl_easy_setopt(c, CURLOPT_NOBODY, 0L);
    curl_easy_setopt(c, CURLOPT_HTTPGET, 1L);
    curl_easy_setopt(c, CURLOPT_RANGE, range);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &s);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, &s);
    CURLcode code = curl_easy_perform(c);
    bool good = code == CURLE_OK && s.got == len;
    put_back(r, c, good);
    return good ? 0 : code == CURLE_OPERATION_TIMEDOUT ? -ETIMEDOUT : -EIO;
}

MODULE_TABLE(CurlModule) = {
    .head = {RHEA_VERSION},
    .open = remote_open,
    .pread = remote_pread,
    .close = remote_close,
};
