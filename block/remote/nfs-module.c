/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The module "nfs": one file of an NFS server (version 3, RFC 1813), by libnfs.
 *
 * Writes are unstable until a COMMIT.  A server that was started anew may have lost them, and
 * says so by another write verifier: the next flush fails then, as a disk's would.
 */
#include "block/remote/link.h"
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/time.h>

/* Each needs what is before it. */
/* clang-format off */
#include <nfsc/libnfs.h>
#include <nfsc/libnfs-raw.h>
#include <nfsc/libnfs-raw-nfs.h>
/* clang-format on */

#define MAX_STEP (1u << 20)
#define CONNECT_S 10
#define STALL_S 60

typedef struct Nfs {
    char *server, *folder, *file;
    NfsSpec spec;
    const RemoteHost *host;
    Link *link;
    struct nfs_context *ctx;
    struct nfsfh *fh;
    bool create, read_only, known;
    uint64_t create_size;
    uint64_t length, max_read, max_write;
    int64_t allocated; /* atomic */
    char verifier[NFS3_WRITEVERFSIZE];
    bool has_verifier;
    uint64_t written; /* writes that have ended; what was committed is below */
    uint64_t committed;
    bool lost; /* the server has forgotten writes: the next flush tells */
} Nfs;

/* ---- calls while connecting ---- */

typedef struct Call {
    bool ended;
    int result;
    void *data;
    Nfs *s;
} Call;

static void call_ended(int err, struct nfs_context *ctx, void *data, void *opaque)
{
    Call *c = opaque;
    c->ended = true;
    c->result = err;
    c->data = data;
    if (err >= 0 && c->s) { /* a stat: only valid in here */
        struct nfs_stat_64 *st = data;
        c->s->length = st->nfs_size;
        __atomic_store_n(&c->s->allocated, (int64_t)MIN(st->nfs_used, INT64_MAX), __ATOMIC_RELAXED);
        c->result = (st->nfs_mode & S_IFMT) == S_IFREG ? 0 : -EISDIR;
    }
}

static void forget(Nfs *s);

/* Waits for a call that was begun; -errno and a text. */
static int finish_call(Nfs *s, Link *l, Call *c, int begun, const char *what, char **why)
{
    const char *text = NULL;
    if (begun == 0 && !link_wait(l, &c->ended, CONNECT_S)) {
        c->result = -ETIMEDOUT;
    } else if (begun != 0) {
        c->result = -EIO;
    }
    if (c->result < 0) {
        text = begun != 0 || c->ended ? nfs_get_error(s->ctx) : "no answer";
        link_fail(why, "%s: %s", what, text && *text ? text : g_strerror(-c->result));
    }
    if (begun == 0 && !c->ended) {
        forget(s); /* it must not come back to a stack that is gone */
    }
    return c->result;
}

static int open_file(Nfs *s, Link *l, int flags, char **why)
{
    Call c = {0};
    int ret = finish_call(s, l, &c, nfs_open_async(s->ctx, s->file, flags, call_ended, &c),
                          "the file cannot be opened", why);
    if (ret >= 0) {
        s->fh = c.data;
    }
    return ret;
}

static int create_file(Nfs *s, Link *l, char **why)
{
    Call c = {0}, t = {0};
    int ret = finish_call(s, l, &c, nfs_creat_async(s->ctx, s->file, 0644, call_ended, &c),
                          "the file cannot be made", why);
    if (ret < 0) {
        return ret;
    }
    s->fh = c.data;
    return finish_call(s, l, &t, nfs_ftruncate_async(s->ctx, s->fh, s->create_size, call_ended, &t),
                       "the file does not get its size", why);
}

static bool mount_it(Nfs *s, Link *l, char **why)
{
    Call c = {0};
    s->ctx = nfs_init_context();
    if (!s->ctx) {
        link_fail(why, "no memory for a connection");
        return false;
    }
    nfs_set_autoreconnect(s->ctx, 0); /* link.c does it */
    if (s->spec.tcp_syncount) {
        nfs_set_tcp_syncnt(s->ctx, (int)s->spec.tcp_syncount);
    }
    if (s->spec.user >= 0) {
        nfs_set_uid(s->ctx, (int)s->spec.user);
    }
    if (s->spec.group >= 0) {
        nfs_set_gid(s->ctx, (int)s->spec.group);
    }
    if (s->spec.readahead) {
        nfs_set_readahead(s->ctx, s->spec.readahead);
    }
    if (s->spec.page_cache) {
        nfs_set_pagecache(s->ctx, (s->spec.page_cache + 4095) / 4096);
    }
    nfs_set_debug(s->ctx, (int)s->spec.debug);
    int begun = nfs_mount_async(s->ctx, s->server, s->folder, call_ended, &c);
    if (finish_call(s, l, &c, begun, "the folder cannot be mounted", why) < 0) {
        return false;
    }
    s->max_read = nfs_get_readmax(s->ctx);
    s->max_write = nfs_get_writemax(s->ctx);
    s->max_read = s->max_read ? MIN(s->max_read, MAX_STEP) : 32768;
    s->max_write = s->max_write ? MIN(s->max_write, MAX_STEP) : 32768;
    return true;
}

/* ---- the write verifier ---- */

static int begin_commit(Nfs *s, rpc_cb cb, void *opaque)
{
    /* The library's own type of a handle has this shape. */
    const struct nfs_fh3 *fh = (const struct nfs_fh3 *)nfs_get_fh(s->fh);
    struct COMMIT3args args = {.file = *fh};
    return rpc_nfs3_commit_async(nfs_get_rpc_context(s->ctx), cb, &args, opaque);
}

/* 0, or -errno of the server's; a new verifier: what was not committed may be gone. */
static int commit_answer(Nfs *s, const struct COMMIT3res *res)
{
    if (res->status != NFS3_OK) {
        return res->status == NFS3ERR_NOSPC || res->status == NFS3ERR_DQUOT ? -ENOSPC : -EIO;
    }
    const char *v = res->COMMIT3res_u.resok.verf;
    if (s->has_verifier && memcmp(v, s->verifier, sizeof(s->verifier)) &&
        s->written > s->committed) {
        s->lost = true;
    }
    memcpy(s->verifier, v, sizeof(s->verifier));
    s->has_verifier = true;
    return 0;
}

static void commit_ended(struct rpc_context *rpc, int status, void *data, void *opaque)
{
    Call *c = opaque;
    c->ended = true;
    c->result = status == RPC_STATUS_SUCCESS ? commit_answer(c->s, data) : -EIO;
}

/* ---- the connection ---- */

static void closed(int err, struct nfs_context *ctx, void *data, void *opaque)
{
}

static void forget(Nfs *s)
{
    struct nfs_context *ctx = s->ctx;
    if (ctx) {
        if (s->fh) {
            nfs_close_async(ctx, s->fh, closed, NULL);
        }
        s->fh = NULL;
        s->ctx = NULL;
        nfs_destroy_context(ctx); /* which ends all calls as cancelled */
    }
}

static bool look(Nfs *s, Link *l, char **why)
{
    uint64_t before = s->length;
    Call c = {.s = s}, v = {.s = s};
    int begun = nfs_fstat64_async(s->ctx, s->fh, call_ended, &c);
    if (finish_call(s, l, &c, begun, "it is not a plain file", why) < 0) {
        return false;
    }
    if (s->length > INT64_MAX || (s->known && s->length < before)) {
        link_fail(why, "the file's size (%" G_GUINT64_FORMAT ") makes no sense%s",
                  (guint64)s->length, s->known ? ": it has become shorter" : "");
        s->length = before;
        return false;
    }
    /* A server that cannot tell has no verifier, and nothing is compared. */
    return s->read_only || begin_commit(s, commit_ended, &v) != 0 ||
           link_wait(l, &v.ended, CONNECT_S);
}

static bool nfs_connect_all(void *opaque, Link *l, char **why)
{
    Nfs *s = opaque;
    s->link = l;
    bool ok = mount_it(s, l, why);
    if (ok && s->create) {
        ok = create_file(s, l, why) >= 0;
    } else if (ok) {
        int ret = open_file(s, l, s->read_only ? O_RDONLY : O_RDWR, why);
        if (!s->known && !s->read_only && (ret == -EROFS || ret == -EACCES || ret == -EPERM)) {
            s->read_only = true;
            ret = open_file(s, l, O_RDONLY, why);
        }
        ok = ret >= 0;
    }
    ok = ok && look(s, l, why);
    if (!ok) {
        forget(s);
    }
    s->known |= ok;
    if (ok && s->lost) {
        link_report(s->host,
                    "'%s': the server was started anew and may have lost what was written since "
                    "the last flush: the next one fails",
                    s->host->what);
    }
    return ok;
}

static void nfs_drop(void *opaque)
{
    forget(opaque);
}

static int nfs_fd(void *opaque)
{
    Nfs *s = opaque;
    return s->ctx ? nfs_get_fd(s->ctx) : -1;
}

static int nfs_events(void *opaque)
{
    Nfs *s = opaque;
    return s->ctx ? nfs_which_events(s->ctx) : 0;
}

static bool nfs_serve(void *opaque, int revents)
{
    Nfs *s = opaque;
    return s->ctx && nfs_service(s->ctx, revents) >= 0;
}

static const char *nfs_text(void *opaque)
{
    Nfs *s = opaque;
    return s->ctx ? nfs_get_error(s->ctx) : NULL;
}

/* ---- requests ---- */

typedef struct Task { /* RemoteRequest.priv */
    Nfs *s;
    char *gathered; /* a write whose memory is in pieces */
    uint64_t step;
    uint64_t written; /* COMMIT: what it covers */
} Task;

static bool begin(Nfs *s, RemoteRequest *r);

static void task_free(RemoteRequest *r)
{
    Task *t = r->priv;
    g_free(t->gathered);
    g_free(t);
    r->priv = NULL;
}

/* Copies to (or from) the request's memory at r->pos; NULL: zeroes. */
static void copy_part(RemoteRequest *r, char *buf, uint64_t len, bool from_request)
{
    uint64_t skip = r->pos;
    for (unsigned i = 0; i < r->niov && len; i++) {
        const struct iovec *v = &r->iov[i];
        if (skip >= v->iov_len) {
            skip -= v->iov_len;
            continue;
        }
        char *at = (char *)v->iov_base + skip;
        size_t n = (size_t)MIN(v->iov_len - skip, len);
        skip = 0;
        len -= n;
        if (!buf) {
            memset(at, 0, n);
            continue;
        }
        memcpy(from_request ? buf : at, from_request ? at : buf, n);
        buf += n;
    }
}

/* The next step of a request that goes on, or its end. */
static void go_on(Nfs *s, RemoteRequest *r, int ret)
{
    task_free(r);
    if (ret != 1) {
        link_finish(s->link, r, ret);
    } else if (!begin(s, r)) {
        link_retry(s->link, r, 0);
    }
}

/* The library's way to say that no answer came. */
static bool no_answer(int err)
{
    return err == -EFAULT || err == -EINTR || err == -ETIMEDOUT || err == -ECONNRESET;
}

static int read_answer(RemoteRequest *r, Task *t, int got, void *data)
{
    if (got < 0) {
        return got;
    }
    if ((uint64_t)got > t->step) {
        return -EIO;
    }
    if (got == 0) { /* the end of the file */
        copy_part(r, NULL, r->len - r->pos, false);
        return 0;
    }
    copy_part(r, data, (uint64_t)got, false);
    r->pos += (uint64_t)got;
    return r->pos < r->len;
}

static int write_answer(Nfs *s, RemoteRequest *r, Task *t, int got)
{
    if (got <= 0 || (uint64_t)got > t->step) {
        return got < 0 ? got : -EIO;
    }
    s->written++;
    r->pos += (uint64_t)got;
    if (r->pos < r->len) {
        return 1;
    }
    s->length = MAX(s->length, r->off + r->len);
    r->step = 1;
    return (r->flags & REMOTE_FUA) != 0;
}

static void step_ended(int err, struct nfs_context *ctx, void *data, void *opaque)
{
    RemoteRequest *r = opaque;
    Task *t = r->priv;
    Nfs *s = t->s;
    int ret = err;
    if (no_answer(err)) {
        task_free(r);
        link_lost(s->link, r);
        return;
    }
    switch (r->op) {
    case REMOTE_READ:
        ret = read_answer(r, t, err, data);
        break;
    case REMOTE_WRITE:
        ret = write_answer(s, r, t, err);
        break;
    default: /* RESIZE */
        if (err >= 0) {
            s->length = r->extent = r->len;
            ret = 0;
        }
        break;
    }
    go_on(s, r, ret);
}

static void flush_ended(struct rpc_context *rpc, int status, void *data, void *opaque)
{
    RemoteRequest *r = opaque;
    Task *t = r->priv;
    Nfs *s = t->s;
    if (status != RPC_STATUS_SUCCESS) {
        task_free(r);
        link_lost(s->link, r);
        return;
    }
    uint64_t written = t->written;
    int ret = commit_answer(s, data);
    if (ret == 0) {
        ret = s->lost ? -EIO : 0;
        s->lost = false;
        s->committed = MAX(s->committed, written);
    }
    go_on(s, r, ret);
}

static bool begin_write(Nfs *s, RemoteRequest *r, Task *t)
{
    t->step = MIN(r->len - r->pos, s->max_write);
    char *data;
    if (r->niov == 1) {
        data = (char *)r->iov[0].iov_base + r->pos;
    } else {
        data = t->gathered = g_try_malloc(t->step);
        if (!data) {
            return false;
        }
        copy_part(r, data, t->step, true);
    }
    return nfs_pwrite_async(s->ctx, s->fh, r->off + r->pos, t->step, data, step_ended, r) == 0;
}

static bool begin(Nfs *s, RemoteRequest *r)
{
    if (!s->ctx || !s->fh) {
        return false;
    }
    Task *t = g_new0(Task, 1);
    bool ok;
    t->s = s;
    r->priv = t;
    if (r->op == REMOTE_FLUSH || r->step) {
        t->written = s->written;
        ok = begin_commit(s, flush_ended, r) == 0;
    } else if (r->op == REMOTE_READ) {
        t->step = MIN(r->len - r->pos, s->max_read);
        ok = nfs_pread_async(s->ctx, s->fh, r->off + r->pos, t->step, step_ended, r) == 0;
    } else if (r->op == REMOTE_WRITE) {
        ok = begin_write(s, r, t);
    } else {
        ok = nfs_ftruncate_async(s->ctx, s->fh, r->len, step_ended, r) == 0;
    }
    if (!ok) {
        task_free(r);
    }
    return ok;
}

static bool start(void *opaque, RemoteRequest *r)
{
    Nfs *s = opaque;
    if (r->op == REMOTE_DISCARD || r->op == REMOTE_ZERO || r->op == REMOTE_STATUS) {
        link_finish(s->link, r, -ENOTSUP); /* version 3 has none of them */
        return true;
    }
    return begin(s, r);
}

/* ---- the file ---- */

static const LinkDriver link_driver = {
    .connect = nfs_connect_all,
    .drop = nfs_drop,
    .start = start,
    .fd = nfs_fd,
    .events = nfs_events,
    .service = nfs_serve,
    .error = nfs_text,
    .stall_s = STALL_S,
};

static void nfs_free(Nfs *s)
{
    g_free(s->server);
    g_free(s->folder);
    g_free(s->file);
    g_free(s);
}

static Nfs *nfs_new(const NfsSpec *spec, const RemoteHost *host)
{
    Nfs *s = g_new0(Nfs, 1);
    const char *slash = strrchr(spec->path, '/');
    s->spec = *spec;
    s->server = g_strdup(spec->server);
    s->folder =
        slash == spec->path ? g_strdup("/") : g_strndup(spec->path, (gsize)(slash - spec->path));
    s->file = g_strdup(slash);
    s->host = host;
    s->read_only = spec->read_only;
    return s;
}

static bool nfs_begin(Nfs *s, const char *what, char **why)
{
    char *text = NULL;
    if (!link_new(&link_driver, s, s->host, s->spec.timeout_s, &text)) {
        link_fail(why, "cannot %s '%s': %s", what, s->host->what, text);
        g_free(text);
        nfs_free(s);
        return false;
    }
    return true;
}

static void *disk_open(const void *opaque, const RemoteHost *host, RemoteInfo *info, char **why)
{
    Nfs *s = nfs_new(opaque, host);
    if (!nfs_begin(s, "open", why)) {
        return NULL;
    }
    *info = (RemoteInfo){
        .length = s->length,
        .block = 1,
        .max_transfer = 16u << 20,
        .read_only = s->read_only,
    };
    return s;
}

static bool disk_create(const NfsSpec *spec, const RemoteHost *host, uint64_t size, char **why)
{
    Nfs *s = nfs_new(spec, host);
    s->create = true;
    s->create_size = size;
    if (!nfs_begin(s, "make", why)) {
        return false;
    }
    link_free(s->link);
    nfs_free(s);
    return true;
}

static void disk_submit(void *opaque, RemoteRequest *r)
{
    link_submit(((Nfs *)opaque)->link, r);
}

static void disk_close(void *opaque)
{
    Nfs *s = opaque;
    link_free(s->link);
    nfs_free(s);
}

static int64_t disk_allocated(void *opaque)
{
    Nfs *s = opaque;
    return __atomic_load_n(&s->allocated, __ATOMIC_RELAXED);
}

MODULE_TABLE(NfsModule) = {
    .remote = {.head = {RHEA_VERSION},
               .open = disk_open,
               .submit = disk_submit,
               .close = disk_close},
    .create = disk_create,
    .allocated = disk_allocated,
};
