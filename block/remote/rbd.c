/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The protocol "rbd": an image of a Ceph cluster. */
#include "block/image.h"
#include "block/remote/remote.h"
#include "crypto/secret.h"

#include <errno.h>

typedef struct RbdState {
    Remote remote;
    FiberMutex grow; /* who makes the image larger */
} RbdState;

static const char *const rbd_encryption_names[] = {"none", "luks", "luks2", NULL};

/* ---- names: rbd:pool[/namespace]/image[@snapshot][:key=value]…, '\' takes the next as it is ---- */

/* Up to one of `ends`, or the end; *rest is what follows that, NULL if nothing ended it. */
static char *take_word(const char *s, const char *ends, const char **rest, char *end)
{
    GString *out = g_string_new(NULL);
    while (*s && !strchr(ends, *s)) {
        if (*s == '\\' && s[1]) {
            s++;
        }
        g_string_append_c(out, *s++);
    }
    *end = *s;
    *rest = *s ? s + 1 : NULL;
    return g_string_free(out, FALSE);
}

static bool take_pairs(Json *o, const char *rest, const char *name, Error **errp)
{
    Json *pairs = NULL;
    char end;
    while (rest) {
        g_autofree char *key = take_word(rest, "=", &rest, &end);
        if (!rest || !*key) {
            error_set(errp, "'%s': '%s' has no value", name, key);
            json_unref(pairs);
            return false;
        }
        g_autofree char *value = take_word(rest, ":", &rest, &end);
        if (!strcmp(key, "id")) {
            json_put_string(o, "user", value);
        } else if (!strcmp(key, "conf")) {
            json_put_string(o, "conf", value);
        } else {
            pairs = pairs ? pairs : json_array();
            json_append(pairs, json_string(key));
            json_append(pairs, json_string(value));
        }
    }
    if (pairs) {
        json_put(o, "=keyvalue-pairs", pairs);
    }
    return true;
}

Json *rbd_filename(const char *name, Error **errp)
{
    const char *rest;
    char end;
    g_autoptr(Json) o = json_object();
    g_autofree char *pool = take_word(name + strlen("rbd:"), "/:@", &rest, &end);
    if (end != '/' || !*pool) {
        error_set(errp, "'%s' is not the name of an RBD image", name);
        error_hint(errp, "expected rbd:pool[/namespace]/image[@snapshot][:key=value]…");
        return NULL;
    }
    json_put_string(o, "driver", "rbd");
    json_put_string(o, "pool", pool);
    g_autofree char *word = take_word(rest, "/@:", &rest, &end);
    g_autofree char *image = NULL;
    if (end == '/') {
        json_put_string(o, "namespace", word);
        image = take_word(rest, "@:", &rest, &end);
    } else {
        image = g_strdup(word);
    }
    json_put_string(o, "image", image);
    if (end == '@') {
        g_autofree char *snapshot = take_word(rest, ":", &rest, &end);
        json_put_string(o, "snapshot", snapshot);
    }
    if (!*image) {
        error_set(errp, "'%s' names no image", name);
        return NULL;
    }
    return take_pairs(o, rest, name, errp) ? g_steal_pointer(&o) : NULL;
}

/* ---- options ---- */

/* What a spec borrows from. */
typedef struct RbdOptions {
    RbdSpec spec;
    char *what, *auth, *mon_host, *key;
    GPtrArray *pairs;
    const char *key_secret, *pass_secret;
    bool aes128;
} RbdOptions;

static void options_clear(RbdOptions *x)
{
    g_free(x->what);
    g_free(x->auth);
    g_free(x->mon_host);
    g_free(x->key);
    if (x->pairs) {
        g_ptr_array_free(x->pairs, TRUE);
    }
}

/* [{host, port}, …] becomes "host:port;…" */
static void take_servers(RbdOptions *x, BlockOpts *o)
{
    const Json *list = block_opts_take(o, "server");
    if (!list) {
        return;
    }
    GString *out = g_string_new(NULL);
    size_t n = json_type(list) == JSON_ARRAY ? json_length(list) : 0;
    for (size_t i = 0; i < n; i++) {
        const Json *e = json_at(list, i);
        const char *host = json_type(e) == JSON_OBJECT ? json_get_str(e, "host") : NULL;
        const char *port = host ? json_get_str(e, "port") : NULL;
        if (!host || !port || strpbrk(host, ";, ")) {
            n = 0;
            break;
        }
        bool v6 = strchr(host, ':') && host[0] != '[';
        g_string_append_printf(out, "%s%s%s%s:%s", i ? ";" : "", v6 ? "[" : "", host, v6 ? "]" : "",
                               port);
    }
    if (!n) {
        block_opts_mistake(o, "'server' must be a list of {host, port}");
    }
    x->mon_host = g_string_free(out, FALSE);
    x->spec.mon_host = x->mon_host;
}

static void take_auth(RbdOptions *x, BlockOpts *o)
{
    const Json *list = block_opts_take(o, "auth-client-required");
    if (!list) {
        return;
    }
    GString *out = g_string_new(NULL);
    size_t n = json_type(list) == JSON_ARRAY ? json_length(list) : 0;
    for (size_t i = 0; i < n; i++) {
        const char *s = json_get_string(json_at(list, i));
        if (!s || (strcmp(s, "cephx") && strcmp(s, "none"))) {
            n = 0;
            break;
        }
        g_string_append_printf(out, "%s%s", i ? ";" : "", s);
    }
    if (!n) {
        block_opts_mistake(o, "'auth-client-required' must be a list of cephx, none");
    }
    x->auth = g_string_free(out, FALSE);
    x->spec.auth = x->auth;
}

static void take_extra(RbdOptions *x, BlockOpts *o)
{
    const Json *list = block_opts_take(o, "=keyvalue-pairs");
    size_t n = list && json_type(list) == JSON_ARRAY ? json_length(list) : 0;
    if (list && (!n || n % 2)) {
        block_opts_mistake(o, "'=keyvalue-pairs' must be a list of keys and values");
        return;
    }
    x->pairs = g_ptr_array_new();
    for (size_t i = 0; i < n; i++) {
        const char *s = json_get_string(json_at(list, i));
        g_ptr_array_add(x->pairs, (gpointer)(s ? s : ""));
    }
    g_ptr_array_add(x->pairs, NULL);
    x->spec.keypairs = (const char *const *)x->pairs->pdata;
}

static void take_encryption(RbdOptions *x, BlockOpts *o, const char *key, bool create)
{
    const Json *e = block_opts_take(o, key);
    if (!e) {
        return;
    }
    if (json_type(e) != JSON_OBJECT) {
        block_opts_mistake(o, "'%s' must be an object with 'format' and 'key-secret'", key);
        return;
    }
    g_autoptr(BlockOpts) in = block_opts_new(e, key);
    Error *err = NULL;
    const char *format = block_opts_string(in, "format", "");
    for (int i = 1; rbd_encryption_names[i]; i++) {
        x->spec.encryption = strcmp(format, rbd_encryption_names[i]) ? x->spec.encryption : i;
    }
    x->pass_secret = block_opts_string(in, "key-secret", NULL);
    if (create) {
        const char *alg = block_opts_string(in, "cipher-alg", "aes-256");
        x->aes128 = !strcmp(alg, "aes-128");
        if (!x->aes128 && strcmp(alg, "aes-256")) {
            block_opts_mistake(in, "'cipher-alg' must be aes-128 or aes-256, not '%s'", alg);
        }
    }
    if (!x->spec.encryption) {
        block_opts_mistake(in, "'format' must be luks or luks2, not '%s'", format);
    }
    if (!x->pass_secret) {
        block_opts_mistake(in, "'key-secret' is missing");
    }
    if (!block_opts_finish(in, &err)) {
        block_opts_mistake(o, "%s", error_message(err));
        error_free(err);
    }
}

static void take_options(RbdOptions *x, BlockOpts *o)
{
    RbdSpec *s = &x->spec;
    s->pool = block_opts_string(o, "pool", NULL);
    s->nspace = block_opts_string(o, "namespace", NULL);
    s->image = block_opts_string(o, "image", NULL);
    s->snapshot = block_opts_string(o, "snapshot", NULL);
    s->conf = block_opts_string(o, "conf", NULL);
    s->user = block_opts_string(o, "user", NULL);
    x->key_secret = block_opts_string(o, "key-secret", NULL);
    take_servers(x, o);
    take_auth(x, o);
    take_extra(x, o);
    if (!s->pool || !*s->pool) {
        block_opts_mistake(o, "'pool' is missing");
    }
    if (!s->image || !*s->image) {
        block_opts_mistake(o, "'image' is missing");
    }
    x->what = g_strdup_printf("rbd:%s%s%s/%s%s%s", s->pool ? s->pool : "", s->nspace ? "/" : "",
                              s->nspace ? s->nspace : "", s->image ? s->image : "",
                              s->snapshot ? "@" : "", s->snapshot ? s->snapshot : "");
}

static bool take_secrets(RbdOptions *x, BlockGraph *g, Error **errp)
{
    size_t len;
    if (x->key_secret) {
        const uint8_t *key = secret_lookup(g->root, x->key_secret, &len, errp);
        if (!key) {
            return false;
        }
        x->key = g_base64_encode(key, len);
        x->spec.key = x->key;
    }
    if (x->pass_secret) {
        x->spec.passphrase = secret_lookup(g->root, x->pass_secret, &len, errp);
        x->spec.passphrase_len = len;
        return x->spec.passphrase != NULL;
    }
    return true;
}

/* ---- life ---- */

static bool rbd_open(BlockNode *n, BlockOpts *o, Error **errp)
{
    RbdOptions x = {0};
    RbdState *s = n->s;
    fiber_mutex_init(&s->grow);
    take_options(&x, o);
    take_encryption(&x, o, "encrypt", false);
    n->filename = g_strdup(x.what);
    x.spec.read_only = n->flags.read_only;
    x.spec.cache = !n->flags.direct;
    bool ok = block_opts_finish(o, errp) && take_secrets(&x, n->graph, errp) &&
              remote_open(n, "rbd", &x.spec, errp);
    s->remote.grows = true;
    options_clear(&x);
    return ok;
}

static void rbd_close(BlockNode *n)
{
    RbdState *s = n->s;
    remote_close(n);
    fiber_mutex_destroy(&s->grow);
}

static int resize(BlockNode *n, uint64_t size)
{
    RemoteRequest r = {.op = REMOTE_RESIZE, .len = size};
    int ret = remote_run(n, &r);
    n->length = ret == 0 ? size : n->length;
    return ret;
}

/* Formats write beyond the end of their file. */
static int grow(BlockNode *n, uint64_t end)
{
    RbdState *s = n->s;
    if (end <= n->length) {
        return 0;
    }
    fiber_mutex_lock(&s->grow);
    int ret = end > n->length ? resize(n, end) : 0;
    fiber_mutex_unlock(&s->grow);
    return ret;
}

static int rbd_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    int ret = grow(n, off + v->size);
    return ret < 0 ? ret : remote_pwritev(n, off, v, flags);
}

static int rbd_zero(BlockNode *n, uint64_t off, uint64_t len, unsigned flags)
{
    int ret = grow(n, off + len);
    return ret < 0 ? ret : remote_zero(n, off, len, flags);
}

static int rbd_truncate(BlockNode *n, uint64_t size, BlockPrealloc prealloc, Error **errp)
{
    if (prealloc != PREALLOC_OFF) {
        error_set(errp, "cannot resize '%s': preallocation mode '%s' is not for RBD", n->filename,
                  block_prealloc_names[prealloc]);
        return -ENOTSUP;
    }
    int ret = resize(n, size);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot resize '%s'", n->filename);
    }
    return ret;
}

/* ---- making ---- */

static const BlockCreateOption rbd_create_options[] = {
    {"size", "size", "bytes"},
    {"cluster_size", "size", "the objects' size, a power of two from 4K to 32M"},
    {NULL},
};

typedef struct RbdCreate {
    const RbdModule *m;
    const RbdOptions *x;
    uint64_t size;
    unsigned order;
    char *why;
} RbdCreate;

static int create_work(void *opaque)
{
    RbdCreate *c = opaque;
    return c->m->create(&c->x->spec, c->x->what, c->size, c->order, c->x->aes128, &c->why) ? 0
                                                                                           : -EIO;
}

static bool rbd_create(BlockGraph *g, BlockNode *file, BlockOpts *o, Error **errp)
{
    RbdOptions x = {0};
    uint64_t size = block_opts_size(o, "size", 0);
    uint64_t object = block_opts_size(o, "cluster_size", 0);
    const Json *location = block_opts_take(o, "location");
    g_autoptr(BlockOpts) inner = location ? block_opts_new(location, "location") : NULL;
    unsigned order = 0;
    take_options(&x, inner ? inner : o);
    take_encryption(&x, o, "encrypt", true);
    if (object && (object < 4096 || object > 32 << 20 || !IS_POWER_OF_2(object))) {
        block_opts_mistake(o, "'cluster_size' must be a power of two from 4K to 32M");
    }
    if (x.spec.snapshot) {
        block_opts_mistake(o, "'snapshot' cannot be given for a new image");
    }
    while (object && (1ull << order) < object) {
        order++;
    }
    const RbdModule *m = NULL;
    if ((!inner || block_opts_finish(inner, errp)) && block_opts_finish(o, errp) &&
        take_secrets(&x, g, errp)) {
        m = module_load("rbd", errp);
    }
    RbdCreate c = {m, &x, size, order, NULL};
    if (m && block_run_blocking(g, create_work, &c) < 0) {
        remote_error(c.why, errp);
        m = NULL;
    }
    options_clear(&x);
    return m != NULL;
}

/* ---- snapshots ---- */

typedef struct SnapshotWork {
    BlockNode *n;
    int (*run)(struct SnapshotWork *w);
    const char *name;
    char *why;
    uint64_t size;
    RbdSnapshot *list;
    unsigned count;
} SnapshotWork;

static const RbdModule *module_of(const SnapshotWork *w)
{
    const Remote *s = w->n->s;
    return (const RbdModule *)s->module;
}

static void *disk_of(const SnapshotWork *w)
{
    return ((const Remote *)w->n->s)->disk;
}

static int work_list(SnapshotWork *w)
{
    return module_of(w)->snapshots(disk_of(w), &w->list, &w->count, &w->why);
}

static int work_create(SnapshotWork *w)
{
    return module_of(w)->snapshot_create(disk_of(w), w->name, &w->why);
}

static int work_delete(SnapshotWork *w)
{
    return module_of(w)->snapshot_delete(disk_of(w), w->name, &w->why);
}

static int work_apply(SnapshotWork *w)
{
    return module_of(w)->snapshot_apply(disk_of(w), w->name, &w->size, &w->why);
}

static int work_show(SnapshotWork *w)
{
    return module_of(w)->snapshot_show(disk_of(w), w->name, &w->size, &w->why);
}

static int work_run(void *opaque)
{
    SnapshotWork *w = opaque;
    return w->run(w);
}

/* The library does these while one waits. */
static int do_work(SnapshotWork *w, Error **errp)
{
    int ret = node_run_blocking(w->n, work_run, w);
    if (ret < 0) {
        error_set(errp, "'%s': %s", w->n->filename, w->why ? w->why : g_strerror(-ret));
    }
    g_free(w->why);
    return ret;
}

static GPtrArray *rbd_snapshot_list(BlockNode *n)
{
    SnapshotWork w = {.n = n, .run = work_list};
    GPtrArray *out = block_snapshot_array();
    Error *err = NULL;
    if (do_work(&w, &err) < 0) {
        error_report(err);
        return out;
    }
    for (unsigned i = 0; i < w.count; i++) {
        BlockSnapshot *s = g_new0(BlockSnapshot, 1);
        s->id = g_strdup(w.list[i].name); /* as QEMU does: others know them by name only */
        s->name = g_strdup(w.list[i].name);
        s->disk_size = w.list[i].size;
        s->date_sec = (uint32_t)CLAMP(w.list[i].date, 0, UINT32_MAX);
        s->icount = UINT64_MAX;
        g_ptr_array_add(out, s);
    }
    module_of(&w)->snapshots_free(w.list, w.count);
    return out;
}

static int rbd_snapshot_create(BlockNode *n, const BlockSnapshot *snapshot, Error **errp)
{
    SnapshotWork w = {.n = n, .run = work_create, .name = snapshot->name};
    if (!w.name || !*w.name || strpbrk(w.name, "@/")) {
        error_set(errp, "'%s': a snapshot needs a name without '@' and '/'", n->filename);
        return -EINVAL;
    }
    int ret = node_flush(n);
    if (ret < 0) {
        error_set_errno(errp, -ret, "'%s': what was written cannot be stored", n->filename);
        return ret;
    }
    return do_work(&w, errp);
}

static int rbd_snapshot_delete(BlockNode *n, const char *which, Error **errp)
{
    SnapshotWork w = {.n = n, .run = work_delete, .name = which};
    return do_work(&w, errp);
}

static int sized_work(SnapshotWork *w, Error **errp)
{
    int ret = do_work(w, errp);
    w->n->length = ret == 0 ? w->size : w->n->length;
    return ret;
}

static int rbd_snapshot_apply(BlockNode *n, const char *which, Error **errp)
{
    SnapshotWork w = {.n = n, .run = work_apply, .name = which};
    return sized_work(&w, errp);
}

static int rbd_snapshot_show(BlockNode *n, const char *which, Error **errp)
{
    SnapshotWork w = {.n = n, .run = work_show, .name = which};
    return sized_work(&w, errp);
}

const BlockDriver block_driver_rbd = {
    .name = "rbd",
    .help = "an image of a Ceph cluster",
    .state_size = sizeof(RbdState),
    .protocol = true,
    .remote = true,
    .open = rbd_open,
    .close = rbd_close,
    .preadv = remote_preadv,
    .pwritev = rbd_pwritev,
    .flush = remote_flush,
    .discard = remote_discard,
    .zero = rbd_zero,
    .map = remote_map,
    .truncate = rbd_truncate,
    .create_options = rbd_create_options,
    .create = rbd_create,
    .snapshot_list = rbd_snapshot_list,
    .snapshot_create = rbd_snapshot_create,
    .snapshot_apply = rbd_snapshot_apply,
    .snapshot_delete = rbd_snapshot_delete,
    .snapshot_show = rbd_snapshot_show,
};
