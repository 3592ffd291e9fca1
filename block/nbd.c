/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The protocol "nbd": a disk of a server.
 *
 * One connection carries many requests.  Those that begin in one round of the loop are sent
 * together, with one system call; the answers are read by whichever waiting fiber is first, which
 * hands each to whom it belongs.  When the
 * connection breaks, requests wait for up to reconnect-delay seconds for a new one and are then
 * sent again (all of them can be repeated), else they fail with EIO.
 */
#include "block/nbd-client.h"
#include "block/node.h"
#include "crypto/tls.h"

#include <errno.h>

#define MAX_REQUESTS 64u
#define MAX_TRANSFER NBD_MAX_PAYLOAD

typedef struct NbdRequest {
    uint64_t cookie, off, len;
    uint16_t type, flags;
    const IoVec *data; /* written, or read into */
    /* the answer */
    bool done, lost;
    int result;
    uint64_t got;    /* bytes of a read that came */
    uint64_t extent; /* block status: length and flags of the first extent */
    uint32_t state;
    bool has_extent;
    bool unsent;  /* it waits to be sent */
    bool sending; /* its data are being sent: they must stay */
    Fiber *fiber; /* sleeps until it is done, or until it may read answers */
} NbdRequest;

typedef struct Nbd {
    BlockNode *n;
    SocketSpec addr;
    char *export, *context, *tls_hostname;
    Object *tls;
    NbdLink link;
    bool connected, connecting;
    int64_t reconnect_ns, down_since;
    uint64_t next_cookie;
    GList *requests; /* NbdRequest*, sent and not answered */
    unsigned in_flight;
    bool reading;  /* some fiber reads answers */
    bool sending;  /* some fiber sends */
    bool planned;  /* send_later() will come */
    GQueue unsent; /* NbdRequest*, among `requests`, too */
    FiberQueue room, waiting;
} Nbd;

/* ---- the connection ---- */

static bool connect_now(Nbd *s, Error **errp)
{
    int fd = socket_connect(&s->addr, 10000, errp);
    if (fd < 0) {
        return false;
    }
    socket_widen(fd);
    NbdLink l = {.ch = io_channel_new(fd, s->n->loop)};
    if (!nbd_link_greet(&l, s->tls, s->tls_hostname, true, errp) ||
        !nbd_link_go(&l, s->export, s->context, errp)) {
        io_channel_free(l.ch);
        return false;
    }
    s->link = l;
    s->connected = true;
    s->down_since = 0;
    return true;
}

/* Everything under way is lost; each fiber decides what to do. */
static void disconnect(Nbd *s)
{
    if (!s->connected) {
        return;
    }
    s->connected = false;
    s->down_since = clock_now(loop_clocks(s->n->loop), CLOCK_RT);
    io_channel_shutdown(s->link.ch);
    for (GList *l = s->requests; l; l = l->next) {
        NbdRequest *r = l->data;
        r->done = r->lost = true;
        r->unsent = false;
    }
    g_queue_clear(&s->unsent);
}

typedef struct Reconnect {
    Nbd *s;
    int fd;
} Reconnect;

static int reconnect_work(void *opaque)
{
    Reconnect *r = opaque;
    r->fd = socket_connect(&r->s->addr, 5000, NULL);
    return 0;
}

static void resume(void *opaque)
{
    fiber_enter(opaque);
}

static void sleep_fired(void *opaque)
{
    fiber_enter(opaque);
}

static void fiber_sleep(Nbd *s, int64_t ns)
{
    Timer t;
    memset(&t, 0, sizeof(t));
    timer_init(&t, s->n->loop, CLOCK_RT, sleep_fired, fiber_self());
    timer_mod(&t, clock_now(loop_clocks(s->n->loop), CLOCK_RT) + ns);
    fiber_yield();
    timer_fini(&t);
}

/* In a fiber: one attempt. The server's disk must be the same as before. */
static bool try_reconnect(Nbd *s)
{
    Reconnect r = {s, -1};
    node_run_blocking(s->n, reconnect_work, &r);
    if (r.fd < 0) {
        return false;
    }
    socket_widen(r.fd);
    NbdLink l = {.ch = io_channel_new(r.fd, s->n->loop)};
    Error *err = NULL;
    bool ok = nbd_link_greet(&l, s->tls, s->tls_hostname, true, &err) &&
              nbd_link_go(&l, s->export, s->context, &err) && l.size >= s->n->length &&
              (s->n->flags.read_only || !(l.flags & NBD_FLAG_READ_ONLY));
    error_free(err);
    if (!ok) {
        io_channel_free(l.ch);
        return false;
    }
    /* Nobody may still be in the old channel. */
    while (s->reading || s->sending) {
        fiber_sleep(s, NS_PER_MS);
    }
    io_channel_free(s->link.ch);
    s->link = l;
    s->connected = true;
    return true;
}

/* Returns when there is a connection (true), or no hope for one. */
static bool wait_connection(Nbd *s)
{
    while (!s->connected) {
        if (s->connecting) {
            fiber_queue_wait(&s->waiting);
            continue;
        }
        int64_t now = clock_now(loop_clocks(s->n->loop), CLOCK_RT);
        bool last = now - s->down_since >= s->reconnect_ns;
        s->connecting = true;
        bool ok = fiber_in() && try_reconnect(s);
        s->connecting = false;
        fiber_queue_wake_all(&s->waiting);
        if (ok) {
            break;
        }
        if (last) {
            return false;
        }
        fiber_sleep(s, 200 * NS_PER_MS);
    }
    return true;
}

/* ---- answers ---- */

static NbdRequest *find_request(Nbd *s, uint64_t cookie)
{
    for (GList *l = s->requests; l; l = l->next) {
        NbdRequest *r = l->data;
        if (r->cookie == cookie && !r->done && !r->unsent) {
            return r;
        }
    }
    return NULL;
}

static int error_from(uint32_t e)
{
    switch (e) {
    case NBD_SUCCESS:
        return 0;
    case NBD_EPERM:
        return -EPERM;
    case NBD_ENOMEM:
        return -ENOMEM;
    case NBD_EINVAL:
    case NBD_EOVERFLOW:
        return -EINVAL;
    case NBD_ENOSPC:
        return -ENOSPC;
    case NBD_ENOTSUP:
        return -ENOTSUP;
    default:
        return -EIO;
    }
}

static int read_into(Nbd *s, NbdRequest *r, uint64_t at, uint64_t len)
{
    IoVec part;
    if (r->type != NBD_CMD_READ || at > r->len || len > r->len - at) {
        return -EPROTO;
    }
    iovec_slice(&part, r->data, (size_t)at, (size_t)len);
    int ret = io_channel_readv(s->link.ch, &part);
    iovec_free(&part);
    r->got += len;
    return ret > 0 ? 0 : -EPIPE;
}

static int skip(Nbd *s, uint64_t len)
{
    uint8_t buf[1024];
    while (len) {
        size_t n = (size_t)MIN(len, (uint64_t)sizeof(buf));
        if (io_channel_read(s->link.ch, buf, n) <= 0) {
            return -EPIPE;
        }
        len -= n;
    }
    return 0;
}

static int status_chunk(Nbd *s, NbdRequest *r, bool ext, uint64_t len)
{
    uint8_t b[24];
    size_t head = ext ? 8 : 4, each = ext ? 16 : 8;
    if (len < head + each || len > 1u << 20) {
        return -EPROTO;
    }
    if (io_channel_read(s->link.ch, b, head + each) <= 0) {
        return -EPIPE;
    }
    uint32_t id = ld_be32(b);
    uint32_t want = s->link.has_context ? s->link.context_id : s->link.allocation_id;
    if (id == want) {
        r->extent = ext ? ld_be64(b + 8) : ld_be32(b + 4);
        r->state = ext ? (uint32_t)ld_be64(b + 16) : ld_be32(b + 8);
        r->has_extent = r->extent > 0;
    }
    return skip(s, len - head - each);
}

static int chunk(Nbd *s, NbdRequest *r, uint16_t type, uint64_t len)
{
    uint8_t b[16];
    switch (type) {
    case NBD_CHUNK_NONE:
        return len ? -EPROTO : 0;
    case NBD_CHUNK_DATA:
        if (len <= 8 || io_channel_read(s->link.ch, b, 8) <= 0 || ld_be64(b) < r->off) {
            return -EPROTO;
        }
        return read_into(s, r, ld_be64(b) - r->off, len - 8);
    case NBD_CHUNK_HOLE: {
        if (len != 12 || io_channel_read(s->link.ch, b, 12) <= 0 || ld_be64(b) < r->off) {
            return -EPROTO;
        }
        uint64_t at = ld_be64(b) - r->off, n = ld_be32(b + 8);
        if (r->type != NBD_CMD_READ || at > r->len || n > r->len - at) {
            return -EPROTO;
        }
        iov_memset(r->data->iov, r->data->n, (size_t)at, 0, (size_t)n);
        r->got += n;
        return 0;
    }
    case NBD_CHUNK_STATUS:
    case NBD_CHUNK_STATUS_EXT:
        return r->type == NBD_CMD_BLOCK_STATUS
                   ? status_chunk(s, r, type == NBD_CHUNK_STATUS_EXT, len)
                   : -EPROTO;
    default:
        if (!(type & 0x8000) || len < 6 || len > NBD_MAX_STRING + 14 ||
            io_channel_read(s->link.ch, b, 4) <= 0) {
            return -EPROTO;
        }
        r->result = error_from(ld_be32(b));
        r->result = r->result ? r->result : -EIO;
        return skip(s, len - 4);
    }
}

/* One message of the server; -errno: the connection is of no more use. */
static int read_answer(Nbd *s)
{
    uint8_t h[32];
    IoChannel *ch = s->link.ch;
    if (io_channel_read(ch, h, 4) <= 0) {
        return -EPIPE;
    }
    uint32_t magic = ld_be32(h);
    if (magic == NBD_SIMPLE_MAGIC && !s->link.extended) {
        if (io_channel_read(ch, h, 12) <= 0) {
            return -EPIPE;
        }
        NbdRequest *r = find_request(s, ld_be64(h + 4));
        if (!r || (r->type == NBD_CMD_READ && s->link.structured)) {
            return -EPROTO;
        }
        r->result = error_from(ld_be32(h));
        int ret = r->result == 0 && r->type == NBD_CMD_READ ? read_into(s, r, 0, r->len) : 0;
        r->done = ret == 0;
        return ret;
    }
    bool ext = s->link.extended;
    if (magic != (ext ? NBD_EXT_MAGIC : NBD_CHUNK_MAGIC) || !s->link.structured) {
        return -EPROTO;
    }
    if (io_channel_read(ch, h, ext ? 28 : 16) <= 0) {
        return -EPIPE;
    }
    uint16_t flags = ld_be16(h), type = ld_be16(h + 2);
    NbdRequest *r = find_request(s, ld_be64(h + 4));
    uint64_t len = ext ? ld_be64(h + 20) : ld_be32(h + 12);
    if (!r || len > MAX_TRANSFER + 1024) {
        return -EPROTO;
    }
    int ret = chunk(s, r, type, len);
    if (ret == 0 && (flags & NBD_CHUNK_DONE)) {
        if (r->type == NBD_CMD_READ && r->result == 0 && r->got != r->len) {
            return -EPROTO;
        }
        r->done = true;
    }
    return ret;
}

static void wake(Nbd *s, NbdRequest *r)
{
    Fiber *f = r->fiber;
    r->fiber = NULL;
    if (f) {
        loop_defer(s->n->loop, resume, f);
    }
}

/* Wakes whoever's answer has come, and one who will read on. */
static void pass_on(Nbd *s)
{
    NbdRequest *next = NULL;
    for (GList *l = s->requests; l; l = l->next) {
        NbdRequest *r = l->data;
        if (r->done && !r->sending) {
            wake(s, r);
        } else if (!r->done && r->fiber && !next) {
            next = r;
        }
    }
    if (next && !s->reading) {
        wake(s, next);
    }
}

static void wait_answer(Nbd *s, NbdRequest *r)
{
    while (!r->done || r->sending) {
        if (s->reading || r->done) {
            r->fiber = fiber_self();
            fiber_yield();
            continue;
        }
        s->reading = true;
        int ret = 0;
        while (!r->done && ret == 0) {
            ret = read_answer(s);
            if (ret == 0 && !r->done) {
                pass_on(s); /* somebody else's came */
            }
        }
        s->reading = false;
        if (ret < 0) {
            disconnect(s);
        }
        pass_on(s);
    }
    pass_on(s);
}

/* ---- requests ---- */

#define HEADER 32u
#define BATCH 32u /* requests sent with one call */
#define PIECES 64u

static size_t put_header(const Nbd *s, const NbdRequest *r, uint8_t *h)
{
    bool ext = s->link.extended, write = r->type == NBD_CMD_WRITE;
    st_be32(h, ext ? NBD_REQUEST_EXT_MAGIC : NBD_REQUEST_MAGIC);
    st_be16(h + 4, r->flags | (ext && write ? NBD_CMD_PAYLOAD_LEN : 0));
    st_be16(h + 6, r->type);
    st_be64(h + 8, r->cookie);
    st_be64(h + 16, r->off);
    if (ext) {
        st_be64(h + 24, r->len);
    } else {
        st_be32(h + 24, (uint32_t)r->len);
    }
    return ext ? HEADER : 28;
}

/* As many of those that wait as go into one call, at least one. */
static int send_batch(Nbd *s)
{
    uint8_t headers[BATCH][HEADER];
    struct iovec iov[PIECES];
    NbdRequest *sent[BATCH], *r;
    unsigned count = 0, pieces = 0;
    const IoVec *rest = NULL; /* data that did not go into `iov` */
    while (count < BATCH && !rest && (r = g_queue_peek_head(&s->unsent))) {
        unsigned n = r->type == NBD_CMD_WRITE ? r->data->n : 0;
        if (count && pieces + 1 + n > PIECES) {
            break;
        }
        iov[pieces++] = (struct iovec){headers[count], put_header(s, r, headers[count])};
        if (pieces + n > PIECES) {
            rest = r->data;
        } else if (n) {
            memcpy(iov + pieces, r->data->iov, n * sizeof(*iov));
            pieces += n;
        }
        r->unsent = false;
        r->sending = true;
        sent[count++] = r;
        g_queue_pop_head(&s->unsent);
    }
    int ret = io_channel_writev(s->link.ch, iov, pieces);
    if (ret == 0 && rest) {
        ret = io_channel_writev(s->link.ch, rest->iov, rest->n);
    }
    for (unsigned i = 0; i < count; i++) {
        sent[i]->sending = false;
        if (sent[i]->done) { /* the answer was faster, or the connection has broken */
            wake(s, sent[i]);
        }
    }
    return ret;
}

static void send_all(void *opaque)
{
    Nbd *s = opaque;
    s->sending = true;
    while (s->connected && !g_queue_is_empty(&s->unsent)) {
        if (send_batch(s) < 0) {
            disconnect(s);
            pass_on(s);
        }
    }
    s->sending = false;
}

static void send_later(void *opaque)
{
    Nbd *s = opaque;
    s->planned = false;
    if (!s->sending && !g_queue_is_empty(&s->unsent)) {
        fiber_enter(fiber_new(send_all, s));
    }
}

/* A lone request goes at once; among others it waits for those that begin in this round, too. */
static void submit(Nbd *s, NbdRequest *r)
{
    s->requests = g_list_append(s->requests, r);
    g_queue_push_tail(&s->unsent, r);
    r->unsent = true;
    if (s->sending || (s->planned && fiber_in())) {
        return;
    }
    if (s->in_flight > 1 && fiber_in()) {
        s->planned = true;
        loop_defer(s->n->loop, send_later, s);
    } else {
        send_all(s);
    }
}

static int transact(Nbd *s, NbdRequest *r)
{
    while (s->in_flight >= MAX_REQUESTS) {
        fiber_queue_wait(&s->room);
    }
    s->in_flight++;
    do {
        if (!s->connected && (!fiber_in() || !wait_connection(s))) {
            r->result = -EIO;
            break;
        }
        r->cookie = ++s->next_cookie;
        r->done = r->lost = r->has_extent = false;
        r->result = 0;
        r->got = 0;
        submit(s, r);
        wait_answer(s, r);
        s->requests = g_list_remove(s->requests, r);
        if (r->lost) {
            r->result = -EIO;
        }
    } while (r->lost && s->reconnect_ns);
    if (--s->in_flight == 0 && s->planned) { /* what was to be sent is lost */
        loop_defer_cancel(s->n->loop, s);
        s->planned = false;
    }
    fiber_queue_wake(&s->room);
    return r->result;
}

static int nbd_preadv(BlockNode *n, uint64_t off, const IoVec *v)
{
    Nbd *s = n->s;
    /* Formats may read beyond the end of their file: zeroes. */
    uint64_t have = off < n->length ? MIN(v->size, n->length - off) : 0;
    IoVec part = *v;
    if (have < v->size) {
        iov_memset(v->iov, v->n, (size_t)have, 0, v->size - (size_t)have);
        if (!have) {
            return 0;
        }
        iovec_slice(&part, v, 0, (size_t)have);
    }
    NbdRequest r = {.type = NBD_CMD_READ, .off = off, .len = have, .data = &part};
    int ret = transact(s, &r);
    if (have < v->size) {
        iovec_free(&part);
    }
    return ret;
}

static int nbd_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    Nbd *s = n->s;
    bool fua = (flags & BLK_FUA) && (s->link.flags & NBD_FLAG_FUA);
    if (off + v->size > n->length) {
        return -ENOSPC; /* an export does not grow */
    }
    NbdRequest r = {.type = NBD_CMD_WRITE,
                    .off = off,
                    .len = v->size,
                    .data = v,
                    .flags = fua ? NBD_CMD_FUA : 0};
    int ret = transact(s, &r);
    if (ret == 0 && (flags & BLK_FUA) && !fua) {
        NbdRequest f = {.type = NBD_CMD_FLUSH};
        ret = transact(s, &f);
    }
    return ret;
}

static int nbd_flush(BlockNode *n)
{
    Nbd *s = n->s;
    NbdRequest r = {.type = NBD_CMD_FLUSH};
    return s->link.flags & NBD_FLAG_FLUSH ? transact(s, &r) : 0;
}

static uint64_t longest(const Nbd *s)
{
    return s->link.extended ? INT64_MAX : UINT32_MAX & ~0xffffu;
}

static int nbd_discard(BlockNode *n, uint64_t off, uint64_t len)
{
    Nbd *s = n->s;
    int ret = 0;
    if (!(s->link.flags & NBD_FLAG_TRIM)) {
        return -ENOTSUP;
    }
    while (len && ret == 0) {
        NbdRequest r = {.type = NBD_CMD_TRIM, .off = off, .len = MIN(len, longest(s))};
        ret = transact(s, &r);
        off += r.len;
        len -= r.len;
    }
    return ret;
}

static int nbd_zero(BlockNode *n, uint64_t off, uint64_t len, unsigned flags)
{
    Nbd *s = n->s;
    int ret = 0;
    if (!(s->link.flags & NBD_FLAG_WRITE_ZEROES) ||
        ((flags & BLK_NO_FALLBACK) && !(s->link.flags & NBD_FLAG_FAST_ZERO))) {
        return -ENOTSUP;
    }
    if (off + len > n->length) {
        return -ENOSPC;
    }
    while (len && ret == 0) {
        NbdRequest r = {.type = NBD_CMD_WRITE_ZEROES, .off = off, .len = MIN(len, longest(s))};
        r.flags = (flags & BLK_MAY_UNMAP ? 0 : NBD_CMD_NO_HOLE) |
                  ((flags & BLK_FUA) && (s->link.flags & NBD_FLAG_FUA) ? NBD_CMD_FUA : 0) |
                  (flags & BLK_NO_FALLBACK ? NBD_CMD_FAST_ZERO : 0);
        ret = transact(s, &r);
        off += r.len;
        len -= r.len;
    }
    return ret;
}

static int nbd_map(BlockNode *n, uint64_t off, uint64_t len, BlockMap *out)
{
    Nbd *s = n->s;
    bool bitmap = s->link.has_context;
    *out = (BlockMap){.flags = BLOCK_MAP_DATA | BLOCK_MAP_OFFSET, .len = len, .host = off};
    if ((!s->link.has_allocation && !bitmap) || off >= n->length) {
        return 0;
    }
    NbdRequest r = {.type = NBD_CMD_BLOCK_STATUS,
                    .off = off,
                    .len = MIN(MIN(len, n->length - off), longest(s)),
                    .flags = NBD_CMD_REQ_ONE};
    int ret = transact(s, &r);
    if (ret == 0 && r.has_extent) {
        out->len = MIN(len, r.extent);
        if (bitmap) { /* x-dirty-bitmap: dirty parts show as holes that are not zero */
            out->flags = r.state & 1 ? 0 : BLOCK_MAP_DATA | BLOCK_MAP_OFFSET;
        } else {
            out->flags = BLOCK_MAP_OFFSET | (r.state & NBD_STATE_HOLE ? 0 : BLOCK_MAP_DATA) |
                         (r.state & NBD_STATE_ZERO ? BLOCK_MAP_ZERO : 0);
        }
    }
    return ret;
}

static int nbd_truncate(BlockNode *n, uint64_t size, BlockPrealloc prealloc, Error **errp)
{
    if (size > n->length) {
        error_set(errp, "an NBD export cannot be made larger");
        return -ENOTSUP;
    }
    return 0; /* what is beyond simply is not used */
}

/* ---- life ---- */

/* server={type:…}, or host=, port=, path= as file names have them. */
static bool take_address(Nbd *s, BlockOpts *o, Error **errp)
{
    Json *server = block_opts_take(o, "server");
    const char *host = block_opts_string(o, "host", NULL);
    const char *port = block_opts_string(o, "port", NULL);
    const char *path = block_opts_string(o, "path", NULL);
    g_autoptr(Json) made = json_object();
    if (!server) {
        json_put_string(made, "type", path ? "unix" : "inet");
        if (path) {
            json_put_string(made, "path", path);
        } else if (host) {
            json_put_string(made, "host", host);
            json_put_string(made, "port", port ? port : NBD_DEFAULT_PORT);
        }
        server = made;
    }
    return socket_spec_from_json(&s->addr, server, errp);
}

static bool nbd_open(BlockNode *n, BlockOpts *o, Error **errp)
{
    Nbd *s = n->s;
    s->n = n;
    g_queue_init(&s->unsent);
    fiber_queue_init(&s->room);
    fiber_queue_init(&s->waiting);
    bool ok = take_address(s, o, errp);
    const char *export = block_opts_string(o, "export", "");
    const char *creds = block_opts_string(o, "tls-creds", NULL);
    const char *hostname = block_opts_string(o, "tls-hostname", NULL);
    const char *context = block_opts_string(o, "x-dirty-bitmap", NULL);
    s->reconnect_ns = (int64_t)block_opts_uint(o, "reconnect-delay", 0, 0, 86400) * NS_PER_SEC;
    uint64_t open_timeout = block_opts_uint(o, "open-timeout", 0, 0, 86400);
    if (strlen(export) > NBD_MAX_STRING) {
        block_opts_mistake(o, "'export' is too long");
    }
    if (!ok || !block_opts_finish(o, errp)) {
        return false;
    }
    s->export = g_strdup(export);
    s->context = g_strdup(context);
    s->tls_hostname = g_strdup(hostname                      ? hostname
                               : s->addr.type == SOCKET_INET ? s->addr.host
                                                             : NULL);
    if (creds) {
        Object *t = tls_creds_find(n->graph->root, creds, false, errp);
        if (!t) {
            return false;
        }
        s->tls = object_ref(t);
    }
    g_autofree char *where = socket_spec_text(&s->addr);
    n->filename = s->addr.type == SOCKET_UNIX
                      ? g_strdup_printf("nbd+unix:///%s?socket=%s", export, where)
                      : g_strdup_printf("nbd://%s/%s", where, export);
    gint64 until = g_get_monotonic_time() + (gint64)open_timeout * G_USEC_PER_SEC;
    for (;;) {
        Error *err = NULL;
        if (connect_now(s, &err)) {
            break;
        }
        if (g_get_monotonic_time() >= until) {
            error_prefix(&err, "'%s': ", n->filename);
            error_propagate(errp, err);
            return false;
        }
        error_free(err);
        g_usleep(200000);
    }
    if ((s->link.flags & NBD_FLAG_READ_ONLY) && !n->flags.read_only) {
        if (!n->flags.auto_read_only) {
            error_set(errp, "'%s' is read-only: the server does not allow writing", n->filename);
            return false;
        }
        n->flags.read_only = true;
    }
    n->length = s->link.size;
    n->limits.request_align = MAX(s->link.min_block, 1u);
    n->limits.max_transfer =
        MIN(s->link.max_block ? s->link.max_block : MAX_TRANSFER, MAX_TRANSFER);
    n->limits.max_transfer = MAX(n->limits.max_transfer, n->limits.request_align);
    return true;
}

static void nbd_close(BlockNode *n)
{
    Nbd *s = n->s;
    if (s->connected) {
        uint8_t h[32] = {0};
        st_be32(h, s->link.extended ? NBD_REQUEST_EXT_MAGIC : NBD_REQUEST_MAGIC);
        st_be16(h + 6, NBD_CMD_DISC);
        io_channel_write(s->link.ch, h, s->link.extended ? 32 : 28);
    }
    io_channel_free(s->link.ch);
    object_unref(s->tls);
    socket_spec_clear(&s->addr);
    g_free(s->export);
    g_free(s->context);
    g_free(s->tls_hostname);
}

static void nbd_loop_changed(BlockNode *n)
{
    Nbd *s = n->s;
    if (s->link.ch) {
        io_channel_set_loop(s->link.ch, n->loop);
    }
}

const BlockDriver block_driver_nbd = {
    .name = "nbd",
    .help = "a disk served over the network (NBD)",
    .state_size = sizeof(Nbd),
    .protocol = true,
    .remote = true,
    .open = nbd_open,
    .close = nbd_close,
    .preadv = nbd_preadv,
    .pwritev = nbd_pwritev,
    .flush = nbd_flush,
    .discard = nbd_discard,
    .zero = nbd_zero,
    .map = nbd_map,
    .truncate = nbd_truncate,
    .loop_changed = nbd_loop_changed,
};
