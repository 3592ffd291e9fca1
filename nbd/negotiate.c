/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The handshake: options until one of them begins the transmission. */
#include "crypto/tls.h"
#include "nbd/internal.h"
#include "util/trace.h"

#include <errno.h>
#include <string.h>

TRACE_EVENT(nbd_tls_refused, "%s")
TRACE_EVENT(nbd_option, "option %u length %u")

typedef struct Option {
    uint32_t type, len;
    uint8_t *data; /* len bytes and a zero */
} Option;

static bool reply(NbdClient *c, const Option *o, uint32_t type, const void *data, size_t len)
{
    uint8_t head[20];
    st_be64(head, NBD_OPT_REPLY_MAGIC);
    st_be32(head + 8, o->type);
    st_be32(head + 12, type);
    st_be32(head + 16, (uint32_t)len);
    struct iovec iov[2] = {{head, sizeof(head)}, {(void *)data, len}};
    return io_channel_writev(c->ch, iov, len ? 2 : 1) == 0;
}

static bool refuse(NbdClient *c, const Option *o, uint32_t why, const char *text)
{
    return reply(c, o, why, text, strlen(text));
}

/* ---- reading within an option ---- */

typedef struct Cursor {
    const uint8_t *p;
    size_t left;
} Cursor;

static bool get_u32(Cursor *k, uint32_t *v)
{
    if (k->left < 4) {
        return false;
    }
    *v = ld_be32(k->p);
    k->p += 4;
    k->left -= 4;
    return true;
}

/* A length and that many bytes; caller frees. */
static char *get_string(Cursor *k)
{
    uint32_t len;
    if (!get_u32(k, &len) || len > k->left || len > NBD_MAX_STRING) {
        return NULL;
    }
    char *s = g_strndup((const char *)k->p, len);
    k->p += len;
    k->left -= len;
    return s;
}

/* ---- options ---- */

static bool send_list(NbdClient *c, const Option *o)
{
    if (o->len) {
        return refuse(c, o, NBD_REP_ERR_INVALID, "LIST takes no data");
    }
    /* While a reply waits for the client, exports may come and go. */
    g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func((GDestroyNotify)g_byte_array_unref);
    for (NbdExport *e = NULL; (e = nbd_export_next(c->server->graph, e));) {
        GByteArray *b = g_byte_array_new();
        uint8_t len[4];
        st_be32(len, (uint32_t)strlen(e->name));
        g_byte_array_append(b, len, 4);
        g_byte_array_append(b, (const guint8 *)e->name, (guint)strlen(e->name));
        if (e->description) {
            g_byte_array_append(b, (const guint8 *)e->description, (guint)strlen(e->description));
        }
        g_ptr_array_add(all, b);
    }
    for (guint i = 0; i < all->len; i++) {
        const GByteArray *b = all->pdata[i];
        if (!reply(c, o, NBD_REP_SERVER, b->data, b->len)) {
            return false;
        }
    }
    return reply(c, o, NBD_REP_ACK, NULL, 0);
}

static bool enter_export(NbdClient *c, NbdExport *e)
{
    if (e->base.closing || (e->shared && (int)e->clients >= e->shared)) {
        return false;
    }
    c->export = e;
    e->clients++;
    return true;
}

static bool send_text_info(NbdClient *c, const Option *o, uint16_t kind, const char *text)
{
    size_t len = strlen(text);
    g_autofree uint8_t *b = g_malloc(len + 2);
    st_be16(b, kind);
    memcpy(b + 2, text, len);
    return reply(c, o, NBD_REP_INFO, b, len + 2);
}

static bool send_info(NbdClient *c, const Option *o, NbdExport *e, bool name, bool description)
{
    uint8_t b[14];
    st_be16(b, NBD_INFO_EXPORT);
    st_be64(b + 2, nbd_export_size(e));
    st_be16(b + 10, nbd_export_flags(e, c));
    bool ok = (!name || send_text_info(c, o, NBD_INFO_NAME, e->name)) &&
              (!description || !e->description ||
               send_text_info(c, o, NBD_INFO_DESCRIPTION, e->description));
    ok = ok && reply(c, o, NBD_REP_INFO, b, 12);
    st_be16(b, NBD_INFO_BLOCK_SIZE);
    /* Whoever does not ask for block sizes may ignore them: we take any request. */
    st_be32(b + 2, 1);
    st_be32(b + 6, 4096);
    st_be32(b + 10, NBD_MAX_PAYLOAD);
    return ok && reply(c, o, NBD_REP_INFO, b, 14) && reply(c, o, NBD_REP_ACK, NULL, 0);
}

/* INFO and GO. *go: the transmission begins. */
static bool info(NbdClient *c, const Option *o, bool *go)
{
    Cursor k = {o->data, o->len};
    g_autofree char *name = get_string(&k);
    bool want_name = false, want_description = false;
    if (!name || k.left < 2 || k.left != 2 + 2u * ld_be16(k.p)) {
        return refuse(c, o, NBD_REP_ERR_INVALID, "malformed request");
    }
    for (unsigned i = ld_be16(k.p); i; i--) {
        uint16_t kind = ld_be16(k.p + 2 * i);
        want_name |= kind == NBD_INFO_NAME;
        want_description |= kind == NBD_INFO_DESCRIPTION;
    }
    NbdExport *e = nbd_export_find(c->server->graph, name);
    if (!e) {
        return refuse(c, o, NBD_REP_ERR_UNKNOWN, "there is no such export");
    }
    if (o->type == NBD_OPT_GO && !enter_export(c, e)) {
        return refuse(c, o, NBD_REP_ERR_POLICY, "the export has as many clients as it may");
    }
    nbd_export_pin(e);
    bool ok = send_info(c, o, e, want_name, want_description);
    nbd_export_unpin(e);
    *go = ok && o->type == NBD_OPT_GO;
    return ok;
}

static bool export_name(NbdClient *c, const Option *o)
{
    uint8_t b[10 + 124] = {0};
    NbdExport *e = nbd_export_find(c->server->graph, (const char *)o->data);
    if (!e || !enter_export(c, e)) {
        return false; /* this option has no way to say why */
    }
    st_be64(b, nbd_export_size(e));
    st_be16(b + 8, nbd_export_flags(e, c));
    return io_channel_write(c->ch, b, c->no_zeroes ? 10 : sizeof(b)) == 0;
}

/* ---- metadata contexts ---- */

static void add_context(NbdContext *list, unsigned *n, NbdContextKind kind, unsigned bitmap)
{
    for (unsigned i = 0; i < *n; i++) {
        if (list[i].kind == kind && list[i].bitmap == bitmap) {
            return;
        }
    }
    if (*n < NBD_MAX_CONTEXTS) {
        list[(*n)++] = (NbdContext){kind, bitmap};
    }
}

/* What a query means; in LIST "base:" and "qemu:" stand for all of theirs. */
static void match_query(const NbdExport *e, const char *q, bool list, NbdContext *out, unsigned *n)
{
    static const char bitmaps[] = "qemu:dirty-bitmap:";
    bool all_qemu = list && !strcmp(q, "qemu:");
    if (!strcmp(q, "base:allocation") || (list && !strcmp(q, "base:"))) {
        add_context(out, n, NBD_CTX_ALLOCATION, 0);
    }
    if (e->depth_context && (!strcmp(q, "qemu:allocation-depth") || all_qemu)) {
        add_context(out, n, NBD_CTX_DEPTH, 0);
    }
    for (unsigned i = 0; i < e->n_bitmaps; i++) {
        if (all_qemu || (list && !strcmp(q, bitmaps)) ||
            (g_str_has_prefix(q, bitmaps) &&
             !strcmp(q + sizeof(bitmaps) - 1, e->bitmaps[i]->name))) {
            add_context(out, n, NBD_CTX_BITMAP, i);
        }
    }
}

static void all_contexts(const NbdExport *e, NbdContext *out, unsigned *n)
{
    match_query(e, "base:", true, out, n);
    match_query(e, "qemu:", true, out, n);
}

static bool send_contexts(NbdClient *c, const Option *o, const NbdExport *e,
                          const NbdContext *found, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        g_autofree char *text = nbd_context_name(e, &found[i]);
        size_t len = strlen(text);
        g_autofree uint8_t *b = g_malloc(len + 4);
        st_be32(b, o->type == NBD_OPT_LIST_META ? 0 : i + 1);
        memcpy(b + 4, text, len);
        if (!reply(c, o, NBD_REP_META, b, len + 4)) {
            return false;
        }
    }
    return true;
}

static bool meta(NbdClient *c, const Option *o)
{
    bool list = o->type == NBD_OPT_LIST_META;
    Cursor k = {o->data, o->len};
    uint32_t queries;
    NbdContext found[NBD_MAX_CONTEXTS];
    unsigned n = 0;
    if (!c->structured) {
        return refuse(c, o, NBD_REP_ERR_INVALID, "structured replies come first");
    }
    g_autofree char *name = get_string(&k);
    if (!name || !get_u32(&k, &queries)) {
        return refuse(c, o, NBD_REP_ERR_INVALID, "malformed request");
    }
    NbdExport *e = nbd_export_find(c->server->graph, name);
    if (!e) {
        return refuse(c, o, NBD_REP_ERR_UNKNOWN, "there is no such export");
    }
    if (list && !queries) {
        all_contexts(e, found, &n);
    }
    for (; queries; queries--) {
        g_autofree char *q = get_string(&k);
        if (!q) {
            return refuse(c, o, NBD_REP_ERR_INVALID, "malformed query");
        }
        match_query(e, q, list, found, &n);
    }
    if (k.left) {
        return refuse(c, o, NBD_REP_ERR_INVALID, "more data than queries");
    }
    nbd_export_pin(e);
    bool ok = send_contexts(c, o, e, found, n);
    if (ok && !list) {
        memcpy(c->contexts, found, sizeof(found[0]) * n);
        c->n_contexts = n;
        g_free(c->meta_export);
        c->meta_export = g_strdup(e->name);
    }
    nbd_export_unpin(e);
    return ok && reply(c, o, NBD_REP_ACK, NULL, 0);
}

/* ---- the loop ---- */

static bool start_tls(NbdClient *c, const Option *o)
{
    Error *err = NULL;
    if (o->len) {
        return refuse(c, o, NBD_REP_ERR_INVALID, "STARTTLS takes no data");
    }
    if (!c->server->p.tls_creds) {
        return refuse(c, o, NBD_REP_ERR_POLICY, "TLS is not configured");
    }
    if (io_channel_has_cipher(c->ch)) {
        return refuse(c, o, NBD_REP_ERR_INVALID, "TLS has begun already");
    }
    if (!reply(c, o, NBD_REP_ACK, NULL, 0)) {
        return false;
    }
    bool ok = tls_accept(c->ch, c->server->p.tls_creds, c->server->p.tls_authz, &err);
    if (!ok) {
        trace(nbd_tls_refused, error_message(err));
    }
    error_free(err);
    /* What was agreed in the clear does not count. */
    c->structured = c->extended = false;
    c->n_contexts = 0;
    return ok;
}

static bool read_option(NbdClient *c, Option *o)
{
    uint8_t head[16];
    if (io_channel_read(c->ch, head, sizeof(head)) <= 0 || ld_be64(head) != NBD_OPTS_MAGIC) {
        return false;
    }
    o->type = ld_be32(head + 8);
    o->len = ld_be32(head + 12);
    if (o->len > NBD_MAX_STRING * 64 || ++c->options > NBD_MAX_OPTIONS) {
        return false;
    }
    o->data = g_malloc0(o->len + 1);
    return o->len == 0 || io_channel_read(c->ch, o->data, o->len) > 0;
}

static bool simple_switch(NbdClient *c, const Option *o, bool *what)
{
    if (o->len) {
        return refuse(c, o, NBD_REP_ERR_INVALID, "this option takes no data");
    }
    if (*what) {
        return refuse(c, o, NBD_REP_ERR_INVALID, "this has been agreed already");
    }
    *what = true;
    return reply(c, o, NBD_REP_ACK, NULL, 0);
}

/* One option; false: the connection ends. */
static bool serve_option(NbdClient *c, const Option *o, bool *go)
{
    trace(nbd_option, o->type, o->len);
    if (c->server->p.tls_creds && !io_channel_has_cipher(c->ch) && o->type != NBD_OPT_STARTTLS &&
        o->type != NBD_OPT_ABORT) {
        return o->type != NBD_OPT_EXPORT_NAME &&
               refuse(c, o, NBD_REP_ERR_TLS_REQD, "this server wants TLS first");
    }
    switch (o->type) {
    case NBD_OPT_EXPORT_NAME:
        *go = export_name(c, o);
        return *go;
    case NBD_OPT_ABORT:
        reply(c, o, NBD_REP_ACK, NULL, 0);
        return false;
    case NBD_OPT_LIST:
        return send_list(c, o);
    case NBD_OPT_STARTTLS:
        return start_tls(c, o);
    case NBD_OPT_INFO:
    case NBD_OPT_GO:
        return info(c, o, go);
    case NBD_OPT_STRUCTURED:
        if (c->extended) {
            return refuse(c, o, NBD_REP_ERR_EXT_REQD, "extended headers are agreed already");
        }
        return simple_switch(c, o, &c->structured);
    case NBD_OPT_EXTENDED: {
        bool ok = simple_switch(c, o, &c->extended);
        c->structured |= c->extended; /* they imply structured replies */
        return ok;
    }
    case NBD_OPT_LIST_META:
    case NBD_OPT_SET_META:
        return meta(c, o);
    default:
        return refuse(c, o, NBD_REP_ERR_UNSUP, "this option is not known here");
    }
}

bool nbd_negotiate(NbdClient *c)
{
    uint8_t hello[18], flags[4];
    st_be64(hello, NBD_MAGIC);
    st_be64(hello + 8, NBD_OPTS_MAGIC);
    st_be16(hello + 16, NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES);
    if (io_channel_write(c->ch, hello, sizeof(hello)) < 0 ||
        io_channel_read(c->ch, flags, sizeof(flags)) <= 0) {
        return false;
    }
    uint32_t f = ld_be32(flags);
    if (!(f & NBD_FIXED_NEWSTYLE) || (f & ~(NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES))) {
        return false;
    }
    c->no_zeroes = f & NBD_NO_ZEROES;
    for (;;) {
        Option o = {0};
        bool go = false;
        bool ok = read_option(c, &o) && serve_option(c, &o, &go);
        g_free(o.data);
        if (!ok) {
            return false;
        }
        if (go) {
            /* Contexts belong to the export that they were chosen for. */
            if (g_strcmp0(c->meta_export, c->export->name)) {
                c->n_contexts = 0;
            }
            return true;
        }
    }
}
