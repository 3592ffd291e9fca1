/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The module "rbd": an image of a Ceph cluster, by librbd.
 *
 * The library has threads of its own and repeats what is not answered for as long as it takes;
 * it cannot take a request back.  So data go through memory of this module: a request that is
 * given up leaves the guest's memory alone, and as long as such a one may still be carried out,
 * none that follows is begun.
 */
#include "block/remote/module.h"
#include "config.h"

#include <errno.h>
#include <rados/librados.h>
#include <rbd/features.h>
#include <rbd/librbd.h>
#include <stdarg.h>
#include <string.h>

#define MAX_TRANSFER (16u << 20)
/* No request has ended for so long: it is told; and what waits in vain is given up. */
#define SILENT_S 10
#define GIVE_UP_S (2 * REMOTE_DRAIN_SECONDS)
/* How long closing may take before a thread is left to it. */
#define CLOSE_S 10
/* The same for an operation on snapshots that makes no progress. */
#define SNAPSHOT_S 30
#define SECOND G_USEC_PER_SEC
#define STOP_ITERATING (-9000)

typedef struct Rbd {
    rados_t cluster;
    rados_ioctx_t io;
    rbd_image_t image;
    bool has_cluster, has_io, has_image;
    bool read_only, status;
    uint64_t object_size;
    char *osd_timeout; /* the user's, for when the image is open */
    char *image_name;
    const RemoteHost *host; /* NULL: closing */
    GThread *watcher;
    GMutex lock; /* guards what follows */
    GCond cond;
    GQueue ops;  /* Op*, with the library */
    GQueue held; /* Op*, which wait for those that were given up */
    unsigned abandoned;
    bool stop, silent, snapping; /* snapping: such an operation is with the library */
    int64_t last_answer, drain_since;
} Rbd;

typedef struct Op {
    Rbd *s;
    RemoteRequest *r; /* NULL: given up */
    RemoteOp op;
    unsigned flags;
    uint64_t off, len;
    char *buf;
    bool flushing;
    GList link;
    /* STATUS */
    uint64_t first, end; /* of the first extent that holds data */
    bool found;
} Op;

static void G_GNUC_PRINTF(2, 3) fail(char **why, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_free(*why);
    *why = g_strdup_vprintf(fmt, ap);
    va_end(ap);
}

static void G_GNUC_PRINTF(2, 3) tell(const RemoteHost *host, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    if (host) {
        host->report(text);
    }
}

/* ---- requests ---- */

static void op_start(Op *op);

static void op_free(Op *op)
{
    g_free(op->buf);
    g_free(op);
}

static void copy(const RemoteRequest *r, char *buf, bool from_request)
{
    for (unsigned i = 0; i < r->niov; i++) {
        const struct iovec *v = &r->iov[i];
        memcpy(from_request ? buf : v->iov_base, from_request ? v->iov_base : buf, v->iov_len);
        buf += v->iov_len;
    }
}

/* Under the lock, which it drops: what was given up has ended; after the last one, what was held
 * may begin. */
static void let_go(Rbd *s)
{
    GQueue ready = G_QUEUE_INIT;
    GList *i;
    if (--s->abandoned == 0) {
        ready = s->held;
        g_queue_init(&s->held);
    }
    while ((i = g_queue_pop_head_link(&ready))) {
        g_queue_push_tail_link(&s->ops, i);
        g_mutex_unlock(&s->lock);
        op_start(i->data);
        g_mutex_lock(&s->lock);
    }
}

/* The library, or what could not be begun, is through with it. */
static void op_end(Op *op, int ret)
{
    Rbd *s = op->s;
    g_mutex_lock(&s->lock);
    g_queue_unlink(&s->ops, &op->link);
    RemoteRequest *r = op->r;
    s->last_answer = g_get_monotonic_time();
    bool back = s->silent;
    s->silent = false;
    const RemoteHost *host = s->host;
    if (back && host) {
        tell(host, "'%s': the cluster answers again", host->what);
    }
    if (!r) {
        let_go(s);
    }
    g_cond_broadcast(&s->cond);
    g_mutex_unlock(&s->lock);
    if (r) {
        if (ret >= 0 && op->op == REMOTE_READ) {
            copy(r, op->buf, false);
        }
        r->result = MIN(ret, 0);
        r->done(r);
    }
    op_free(op);
}

static void aio_ended(rbd_completion_t c, void *opaque)
{
    Op *op = opaque;
    ssize_t ret = rbd_aio_get_return_value(c);
    rbd_aio_release(c);
    if (op->op == REMOTE_READ && ret >= 0 && (uint64_t)ret < op->len) {
        memset(op->buf + ret, 0, op->len - (uint64_t)ret); /* it was made shorter meanwhile */
    }
    bool again = ret >= 0 && !op->flushing && (op->flags & REMOTE_FUA);
    if (again) {
        op->flushing = true;
        op_start(op);
        return;
    }
    op_end(op, (int)MAX(ret, INT_MIN));
}

/* ---- what the library only does while one waits ---- */

static int note_extent(uint64_t off, size_t len, int exists, void *opaque)
{
    Op *op = opaque;
    if (!exists || !len || off + len <= op->off) {
        return 0;
    }
    if (!op->found) {
        op->found = true;
        op->first = MAX(off, op->off);
        op->end = off + len;
        return 0;
    }
    if (off > op->end) {
        return STOP_ITERATING;
    }
    op->end = MAX(op->end, off + len);
    return 0;
}

static int find_status(Op *op)
{
    Rbd *s = op->s;
    /* Whole objects: the library's answer for parts of one is not to be trusted. */
    uint64_t start = op->off - op->off % s->object_size, end = op->off + op->len;
    int ret = rbd_diff_iterate2(s->image, NULL, start, end - start, 1, 1, note_extent, op);
    return ret == STOP_ITERATING ? 0 : ret;
}

static gpointer slow_work(gpointer opaque)
{
    Op *op = opaque;
    Rbd *s = op->s;
    int ret = op->op == REMOTE_RESIZE ? rbd_resize(s->image, op->len) : find_status(op);
    g_mutex_lock(&s->lock);
    RemoteRequest *r = op->r;
    if (r && ret >= 0 && op->op == REMOTE_RESIZE) {
        r->extent = op->len;
    } else if (r && ret >= 0) {
        bool data = op->found && op->first <= op->off;
        uint64_t end = op->off + op->len;
        r->state = data ? REMOTE_STATE_DATA : REMOTE_STATE_ZERO;
        r->extent = (data ? MIN(op->end, end) : op->found ? MIN(op->first, end) : end) - op->off;
    }
    g_mutex_unlock(&s->lock);
    op_end(op, ret);
    return NULL;
}

static int begin_aio(Op *op, rbd_completion_t c)
{
    Rbd *s = op->s;
    if (op->flushing) {
        return rbd_aio_flush(s->image, c);
    }
    switch (op->op) {
    case REMOTE_READ:
        return rbd_aio_read(s->image, op->off, (size_t)op->len, op->buf, c);
    case REMOTE_WRITE:
        return rbd_aio_write(s->image, op->off, (size_t)op->len, op->buf, c);
    case REMOTE_DISCARD:
        return rbd_aio_discard(s->image, op->off, op->len, c);
    case REMOTE_ZERO:
        return rbd_aio_write_zeroes(
            s->image, op->off, (size_t)op->len, c,
            op->flags & REMOTE_MAY_UNMAP ? 0 : RBD_WRITE_ZEROES_FLAG_THICK_PROVISION, 0);
    default:
        return -ENOTSUP;
    }
}

static void op_start(Op *op)
{
    rbd_completion_t c;
    if (op->op == REMOTE_RESIZE || op->op == REMOTE_STATUS) {
        g_thread_unref(g_thread_new("rbd", slow_work, op));
        return;
    }
    int ret = rbd_aio_create_completion(op, aio_ended, &c);
    if (ret < 0) {
        op_end(op, ret);
        return;
    }
    ret = begin_aio(op, c);
    if (ret < 0) {
        rbd_aio_release(c);
        op_end(op, ret);
    }
}

static void disk_submit(void *opaque, RemoteRequest *r)
{
    Rbd *s = opaque;
    Op *op = g_new0(Op, 1);
    *op = (Op){.s = s,
               .r = r,
               .op = r->op,
               .flags = r->op == REMOTE_WRITE || r->op == REMOTE_ZERO ? r->flags : 0,
               .off = r->off,
               .len = r->len,
               .flushing = r->op == REMOTE_FLUSH,
               .link = {.data = op}};
    if (r->op == REMOTE_READ || r->op == REMOTE_WRITE) {
        op->buf = g_try_malloc(MAX(r->len, 1));
        if (!op->buf) {
            g_free(op);
            r->result = -ENOMEM;
            r->done(r);
            return;
        }
        if (r->op == REMOTE_WRITE) {
            copy(r, op->buf, true);
        }
    }
    r->deadline = r->limit_s ? g_get_monotonic_time() + r->limit_s * SECOND : 0;
    g_mutex_lock(&s->lock);
    if (!s->ops.length) {
        s->last_answer = g_get_monotonic_time();
    }
    bool hold = s->abandoned != 0;
    g_queue_push_tail_link(hold ? &s->held : &s->ops, &op->link);
    g_cond_broadcast(&s->cond);
    g_mutex_unlock(&s->lock);
    if (!hold) {
        op_start(op);
    }
}

/* ---- the watcher ---- */

/* Under the lock: moves what must not wait any longer to `out`; `now` 0: everything. */
static void give_up(Rbd *s, int64_t now, GQueue *out)
{
    for (GList *i = s->ops.head; i; i = i->next) {
        Op *op = i->data;
        if (op->r && (!now || (op->r->deadline && now >= op->r->deadline))) {
            g_queue_push_tail(out, op->r);
            op->r = NULL;
            s->abandoned++;
        }
    }
    for (GList *i = s->held.head, *next; i; i = next) {
        Op *op = i->data;
        next = i->next;
        if (!now || (op->r->deadline && now >= op->r->deadline)) {
            g_queue_push_tail(out, op->r);
            g_queue_unlink(&s->held, i);
            op_free(op);
        }
    }
}

static void look_around(Rbd *s, GQueue *out)
{
    int64_t now = g_get_monotonic_time();
    bool drain = __atomic_load_n(s->host->draining, __ATOMIC_SEQ_CST) != 0;
    s->drain_since = !drain ? 0 : s->drain_since ? s->drain_since : now;
    int64_t quiet = now - s->last_answer;
    if (!s->silent && quiet > SILENT_S * SECOND) {
        s->silent = true;
        tell(s->host, "'%s': the cluster does not answer; requests wait until it does",
             s->host->what);
    }
    if (drain && (s->abandoned || (now - s->drain_since > REMOTE_DRAIN_SECONDS * SECOND &&
                                   quiet > GIVE_UP_S * SECOND))) {
        give_up(s, 0, out);
    }
    give_up(s, now, out);
    if (out->length) {
        tell(s->host, "'%s': the cluster still does not answer: %u requests have failed",
             s->host->what, out->length);
    }
}

static gpointer watch(gpointer opaque)
{
    Rbd *s = opaque;
    g_mutex_lock(&s->lock);
    while (!s->stop) {
        GQueue out = G_QUEUE_INIT;
        RemoteRequest *r;
        if (!s->ops.length && !s->held.length) {
            s->drain_since = 0;
            g_cond_wait(&s->cond, &s->lock);
            continue;
        }
        look_around(s, &out);
        if (!out.length) {
            g_cond_wait_until(&s->cond, &s->lock, g_get_monotonic_time() + SECOND / 4);
            continue;
        }
        g_mutex_unlock(&s->lock);
        while ((r = g_queue_pop_head(&out))) {
            r->result = -ETIMEDOUT;
            r->done(r);
        }
        g_mutex_lock(&s->lock);
    }
    g_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- the cluster ---- */

static bool set(Rbd *s, const char *key, const char *value, char **why)
{
    int ret = rados_conf_set(s->cluster, key, value);
    if (ret < 0) {
        fail(why, "the cluster's setting '%s' does not take that value: %s", key, g_strerror(-ret));
    }
    return ret >= 0;
}

static bool configure(Rbd *s, const RbdSpec *spec, char **why)
{
    char text[32];
    g_snprintf(text, sizeof(text), "%d", REMOTE_CONNECT_SECONDS);
    /* What the file says goes before these. */
    set(s, "client_mount_timeout", text, why);
    set(s, "rados_mon_op_timeout", text, why);
    int ret = rados_conf_read_file(s->cluster, spec->conf);
    if (ret < 0 && spec->conf) {
        fail(why, "the file '%s' cannot be read: %s", spec->conf, g_strerror(-ret));
        return false;
    }
    for (unsigned i = 0; spec->keypairs && spec->keypairs[i]; i += 2) {
        if (!set(s, spec->keypairs[i], spec->keypairs[i + 1], why)) {
            return false;
        }
    }
    if ((spec->mon_host && !set(s, "mon_host", spec->mon_host, why)) ||
        (spec->auth && !set(s, "auth_client_required", spec->auth, why)) ||
        (spec->key && !set(s, "key", spec->key, why)) ||
        !set(s, "rbd_cache", spec->cache ? "true" : "false", why)) {
        return false;
    }
    /* Opening must come to an end. */
    char old[32] = "0";
    rados_conf_get(s->cluster, "rados_osd_op_timeout", old, sizeof(old));
    s->osd_timeout = g_strdup(old);
    return g_ascii_strtod(old, NULL) > 0 || set(s, "rados_osd_op_timeout", text, why);
}

static bool connect_cluster(Rbd *s, const RbdSpec *spec, char **why)
{
    int ret = rados_create(&s->cluster, spec->user);
    if (ret < 0) {
        fail(why, "no client: %s", g_strerror(-ret));
        return false;
    }
    s->has_cluster = true;
    if (!configure(s, spec, why)) {
        return false;
    }
    ret = rados_connect(s->cluster);
    if (ret < 0) {
        fail(why, "no connection to the cluster: %s", g_strerror(-ret));
        return false;
    }
    ret = rados_ioctx_create(s->cluster, spec->pool, &s->io);
    if (ret < 0) {
        fail(why, "the pool '%s' cannot be opened: %s", spec->pool, g_strerror(-ret));
        return false;
    }
    s->has_io = true;
    if (spec->nspace) {
        rados_ioctx_set_namespace(s->io, spec->nspace);
    }
    return true;
}

static void disconnect(Rbd *s)
{
    if (s->has_image) {
        rbd_close(s->image);
    }
    if (s->has_io) {
        rados_ioctx_destroy(s->io);
    }
    if (s->has_cluster) {
        rados_shutdown(s->cluster);
    }
    g_mutex_clear(&s->lock);
    g_cond_clear(&s->cond);
    g_free(s->osd_timeout);
    g_free(s->image_name);
    g_free(s);
}

static Rbd *rbd_new(const RbdSpec *spec)
{
    Rbd *s = g_new0(Rbd, 1);
    g_mutex_init(&s->lock);
    g_cond_init(&s->cond);
    s->image_name = g_strdup(spec->image);
    return s;
}

/* ---- encryption ---- */

static int with_encryption(Rbd *s, const RbdSpec *spec, bool format, bool aes128)
{
    int alg = aes128 ? RBD_ENCRYPTION_ALGORITHM_AES128 : RBD_ENCRYPTION_ALGORITHM_AES256;
    rbd_encryption_luks1_format_options_t one = {
        .alg = (rbd_encryption_algorithm_t)alg,
        .passphrase = (const char *)spec->passphrase,
        .passphrase_size = spec->passphrase_len,
    };
    rbd_encryption_luks2_format_options_t two = {
        .alg = (rbd_encryption_algorithm_t)alg,
        .passphrase = (const char *)spec->passphrase,
        .passphrase_size = spec->passphrase_len,
    };
    bool first = spec->encryption == 1;
    rbd_encryption_format_t kind =
        first ? RBD_ENCRYPTION_FORMAT_LUKS1 : RBD_ENCRYPTION_FORMAT_LUKS2;
    void *options = first ? (void *)&one : (void *)&two;
    size_t size = first ? sizeof(one) : sizeof(two);
    return format ? rbd_encryption_format(s->image, kind, options, size)
                  : rbd_encryption_load(s->image, kind, options, size);
}

/* ---- the image ---- */

static int open_image(Rbd *s, const RbdSpec *spec, bool read_only)
{
    int ret = read_only ? rbd_open_read_only(s->io, spec->image, &s->image, spec->snapshot)
                        : rbd_open(s->io, spec->image, &s->image, spec->snapshot);
    s->has_image = ret >= 0;
    s->read_only = read_only;
    return ret;
}

static bool prepare(Rbd *s, const RbdSpec *spec, RemoteInfo *info, char **why)
{
    rbd_image_info_t st;
    uint64_t features = 0, flags = 0, length = 0;
    int ret = open_image(s, spec, spec->read_only || spec->snapshot);
    if (!s->read_only && (ret == -EROFS || ret == -EPERM || ret == -EACCES)) {
        ret = open_image(s, spec, true);
    }
    if (ret < 0) {
        fail(why, "the image '%s' cannot be opened: %s", spec->image, g_strerror(-ret));
        return false;
    }
    ret = spec->encryption ? with_encryption(s, spec, false, false) : 0;
    if (ret < 0) {
        fail(why, "the encrypted image '%s' cannot be opened: %s", spec->image,
             ret == -EPERM ? "the key does not fit" : g_strerror(-ret));
        return false;
    }
    ret = rbd_stat(s->image, &st, sizeof(st));
    ret = ret < 0 ? ret : rbd_get_size(s->image, &length);
    if (ret < 0 || length > INT64_MAX || st.obj_size < 512 || st.obj_size > 1u << 30 ||
        (st.obj_size & (st.obj_size - 1))) {
        fail(why, "what the cluster says of the image '%s' makes no sense", spec->image);
        return false;
    }
    s->object_size = st.obj_size;
    s->status = !spec->encryption && rbd_get_features(s->image, &features) >= 0 &&
                (features & RBD_FEATURE_FAST_DIFF) && rbd_get_flags(s->image, &flags) >= 0 &&
                !(flags & RBD_FLAG_FAST_DIFF_INVALID);
    *info = (RemoteInfo){
        .length = length,
        .block = spec->encryption ? 4096 : 1,
        .opt_io = (uint32_t)st.obj_size,
        .max_transfer = MAX_TRANSFER,
        .read_only = s->read_only,
        .discard = true,
        .zero = true,
        .status = s->status,
    };
    return true;
}

static void *disk_open(const void *opaque, const RemoteHost *host, RemoteInfo *info, char **why)
{
    const RbdSpec *spec = opaque;
    Rbd *s = rbd_new(spec);
    char *text = NULL;
    if (!connect_cluster(s, spec, &text) || !prepare(s, spec, info, &text)) {
        fail(why, "cannot open '%s': %s", host->what, text);
        g_free(text);
        disconnect(s);
        return NULL;
    }
    rados_conf_set(s->cluster, "rados_osd_op_timeout", s->osd_timeout);
    s->host = host;
    s->watcher = g_thread_new("rbd-watch", watch, s);
    return s;
}

typedef struct Closing {
    Rbd *s;
    GMutex lock;
    GCond cond;
    bool done;
    int refs; /* atomic */
} Closing;

static void closing_unref(Closing *c)
{
    if (g_atomic_int_dec_and_test(&c->refs)) {
        g_mutex_clear(&c->lock);
        g_cond_clear(&c->cond);
        g_free(c);
    }
}

static gpointer close_work(gpointer opaque)
{
    Closing *c = opaque;
    Rbd *s = c->s;
    g_mutex_lock(&s->lock);
    while (s->ops.length || s->snapping) { /* given up, but still with the library */
        g_cond_wait(&s->cond, &s->lock);
    }
    g_mutex_unlock(&s->lock);
    disconnect(s);
    g_mutex_lock(&c->lock);
    c->done = true;
    g_cond_signal(&c->cond);
    g_mutex_unlock(&c->lock);
    closing_unref(c);
    return NULL;
}

static void disk_close(void *opaque)
{
    Rbd *s = opaque;
    g_mutex_lock(&s->lock);
    s->stop = true;
    const RemoteHost *host = s->host;
    s->host = NULL;
    bool hopeless = s->abandoned || s->snapping;
    g_cond_broadcast(&s->cond);
    g_mutex_unlock(&s->lock);
    g_thread_join(s->watcher);
    Closing *c = g_new0(Closing, 1);
    g_mutex_init(&c->lock);
    g_cond_init(&c->cond);
    c->s = s;
    c->refs = 2;
    g_thread_unref(g_thread_new("rbd-close", close_work, c));
    int64_t until = g_get_monotonic_time() + (hopeless ? 1 : CLOSE_S) * SECOND;
    g_mutex_lock(&c->lock);
    while (!c->done && g_cond_wait_until(&c->cond, &c->lock, until)) {
    }
    if (!c->done) {
        tell(host, "'%s': the cluster does not answer: closing goes on without waiting for it",
             host->what);
    }
    g_mutex_unlock(&c->lock);
    closing_unref(c);
}

/* ---- making ---- */

static bool make(Rbd *s, const RbdSpec *spec, uint64_t size, unsigned order, bool aes128,
                 char **why)
{
    rbd_image_options_t o;
    rbd_image_options_create(&o);
    if (order) {
        rbd_image_options_set_uint64(o, RBD_IMAGE_OPTION_ORDER, order);
    }
    int ret = rbd_create4(s->io, spec->image, size, o);
    rbd_image_options_destroy(o);
    if (ret < 0) {
        fail(why, "%s", ret == -EEXIST ? "there is an image of that name" : g_strerror(-ret));
        return false;
    }
    if (!spec->encryption) {
        return true;
    }
    ret = open_image(s, spec, false);
    ret = ret < 0 ? ret : with_encryption(s, spec, true, aes128);
    if (s->has_image) {
        rbd_close(s->image);
        s->has_image = false;
    }
    if (ret < 0) {
        fail(why, "the encryption cannot be set up: %s", g_strerror(-ret));
        rbd_remove(s->io, spec->image);
    }
    return ret >= 0;
}

static bool disk_create(const RbdSpec *spec, const char *what, uint64_t size, unsigned order,
                        bool aes128, char **why)
{
    Rbd *s = rbd_new(spec);
    char *text = NULL;
    bool ok = connect_cluster(s, spec, &text) && make(s, spec, size, order, aes128, &text);
    if (!ok) {
        fail(why, "cannot make '%s': %s", what, text);
        g_free(text);
    }
    disconnect(s);
    return ok;
}

/* ---- snapshots ---- */

static void snapshots_free(RbdSnapshot *list, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        g_free(list[i].name);
    }
    g_free(list);
}

/*
 * The library does these while one waits, for as long as the cluster takes.  So a thread calls it,
 * and when nothing is heard for too long the call is left to that thread.  Until it has ended
 * there is no other, and after one that changes what the image shows, no request begins.
 */
typedef struct SnapCall {
    Rbd *s;
    int (*work)(struct SnapCall *c);
    char *name;
    bool changes; /* what the image shows */
    /* the result */
    int ret;
    uint64_t size;
    RbdSnapshot *list;
    unsigned count;
    bool done, left; /* under the lock of `s`, as is what follows */
    int64_t heard;
} SnapCall;

static int work_list(SnapCall *c)
{
    Rbd *s = c->s;
    int max = 64, ret;
    rbd_snap_info_t *info;
    do {
        info = g_new0(rbd_snap_info_t, max);
        ret = rbd_snap_list(s->image, info, &max);
        if (ret < 0) {
            g_free(info);
        }
    } while (ret == -ERANGE && max > 0 && (unsigned)max <= REMOTE_MAX_SNAPSHOTS);
    if (ret < 0) {
        return ret;
    }
    c->count = (unsigned)ret;
    c->list = g_new0(RbdSnapshot, ret);
    for (int i = 0; i < ret; i++) {
        struct timespec t = {0};
        rbd_snap_get_timestamp(s->image, info[i].id, &t);
        c->list[i] = (RbdSnapshot){.id = info[i].id,
                                   .size = info[i].size,
                                   .date = t.tv_sec,
                                   .name = g_strdup(info[i].name)};
    }
    rbd_snap_list_end(info);
    g_free(info);
    return 0;
}

static int work_create(SnapCall *c)
{
    return rbd_snap_create(c->s->image, c->name);
}

static int work_delete(SnapCall *c)
{
    return rbd_snap_remove(c->s->image, c->name);
}

static int size_now(SnapCall *c, int ret)
{
    ret = ret < 0 ? ret : rbd_get_size(c->s->image, &c->size);
    return ret >= 0 && c->size > INT64_MAX ? -EIO : ret;
}

static int progress(uint64_t done, uint64_t total, void *opaque)
{
    SnapCall *c = opaque;
    g_mutex_lock(&c->s->lock);
    c->heard = g_get_monotonic_time();
    g_mutex_unlock(&c->s->lock);
    return 0;
}

static int work_apply(SnapCall *c)
{
    return size_now(c, rbd_snap_rollback_with_progress(c->s->image, c->name, progress, c));
}

static int work_show(SnapCall *c)
{
    return size_now(c, rbd_snap_set(c->s->image, c->name));
}

static void call_free(SnapCall *c)
{
    snapshots_free(c->list, c->count);
    g_free(c->name);
    g_free(c);
}

static gpointer call_work(gpointer opaque)
{
    SnapCall *c = opaque;
    Rbd *s = c->s;
    int ret = c->work(c);
    g_mutex_lock(&s->lock);
    c->ret = ret;
    c->done = true;
    bool left = c->left;
    if (left && c->changes) {
        let_go(s);
    }
    s->snapping = false;
    g_cond_broadcast(&s->cond);
    g_mutex_unlock(&s->lock);
    if (left) {
        call_free(c);
    }
    return NULL;
}

/* NULL: it did not succeed; *ret and *why say it. */
static SnapCall *call(Rbd *s, int (*work)(SnapCall *c), const char *name, bool changes, int *ret,
                      char **why)
{
    SnapCall *c = g_new0(SnapCall, 1);
    *c = (SnapCall){.s = s, .work = work, .name = g_strdup(name), .changes = changes};
    g_mutex_lock(&s->lock);
    if (s->snapping) {
        g_mutex_unlock(&s->lock);
        call_free(c);
        fail(why, "an earlier operation on its snapshots still waits for the cluster");
        *ret = -EBUSY;
        return NULL;
    }
    s->snapping = true;
    c->heard = g_get_monotonic_time();
    g_thread_unref(g_thread_new("rbd-snap", call_work, c));
    while (!c->done && g_get_monotonic_time() - c->heard < SNAPSHOT_S * SECOND) {
        g_cond_wait_until(&s->cond, &s->lock, c->heard + SNAPSHOT_S * SECOND);
    }
    bool done = c->done;
    *ret = done ? MIN(c->ret, 0) : -ETIMEDOUT;
    if (!done) {
        c->left = true;
        s->abandoned += changes;
    }
    g_mutex_unlock(&s->lock);
    if (!done) {
        fail(why, "the cluster does not answer; the operation may still be carried out");
        return NULL;
    }
    if (*ret < 0) {
        call_free(c);
        return NULL;
    }
    return c;
}

/* One about a snapshot; `size` (may be NULL): of the image, then. */
static int told(Rbd *s, int (*work)(SnapCall *c), const char *name, const char *what,
                uint64_t *size, char **why)
{
    int ret;
    char *text = NULL;
    SnapCall *c = call(s, work, name, size != NULL, &ret, &text);
    if (!c) {
        fail(why, "the snapshot '%s' %s: %s", name, what,
             text            ? text
             : ret == -EBUSY ? "it is protected or in use"
                             : g_strerror(-ret));
        g_free(text);
        return ret;
    }
    if (size) {
        *size = c->size;
    }
    call_free(c);
    return 0;
}

static int snapshots(void *opaque, RbdSnapshot **list, unsigned *n, char **why)
{
    int ret;
    char *text = NULL;
    SnapCall *c = call(opaque, work_list, NULL, false, &ret, &text);
    if (!c) {
        fail(why, "the snapshots cannot be listed: %s", text ? text : g_strerror(-ret));
        g_free(text);
        return ret;
    }
    *list = g_steal_pointer(&c->list);
    *n = c->count;
    c->count = 0;
    call_free(c);
    return 0;
}

static int snapshot_create(void *opaque, const char *name, char **why)
{
    return told(opaque, work_create, name, "cannot be made", NULL, why);
}

static int snapshot_delete(void *opaque, const char *name, char **why)
{
    return told(opaque, work_delete, name, "cannot be deleted", NULL, why);
}

static int snapshot_apply(void *opaque, const char *name, uint64_t *size, char **why)
{
    return told(opaque, work_apply, name, "cannot be gone back to", size, why);
}

static int snapshot_show(void *opaque, const char *name, uint64_t *size, char **why)
{
    return told(opaque, work_show, name, "cannot be read", size, why);
}

MODULE_TABLE(RbdModule) = {
    .remote = {.head = {RHEA_VERSION},
               .open = disk_open,
               .submit = disk_submit,
               .close = disk_close},
    .create = disk_create,
    .snapshots = snapshots,
    .snapshots_free = snapshots_free,
    .snapshot_create = snapshot_create,
    .snapshot_delete = snapshot_delete,
    .snapshot_apply = snapshot_apply,
    .snapshot_show = snapshot_show,
};
