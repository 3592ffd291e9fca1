/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A client's handshake, and listing. */
#include "block/nbd-client.h"

#include "block/nbd-list.h"
#include "crypto/tls.h"
#include "util/bits.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

typedef struct Reply {
    uint32_t type, len;
    uint8_t *data; /* len bytes and a zero */
} Reply;

static bool lost(int ret, Error **errp)
{
    if (ret <= 0) {
        error_set(errp, "the NBD server closed the connection%s%s", ret < 0 ? ": " : "",
                  ret < 0 ? g_strerror(-ret) : "");
    }
    return ret <= 0;
}

static bool send_option(NbdLink *l, uint32_t type, const void *data, size_t len, Error **errp)
{
    uint8_t head[16];
    st_be64(head, NBD_OPTS_MAGIC);
    st_be32(head + 8, type);
    st_be32(head + 12, (uint32_t)len);
    struct iovec iov[2] = {{head, sizeof(head)}, {(void *)data, len}};
    int ret = io_channel_writev(l->ch, iov, len ? 2 : 1);
    return !lost(ret < 0 ? ret : 1, errp);
}

static bool read_reply(NbdLink *l, uint32_t option, Reply *r, Error **errp)
{
    uint8_t head[20];
    r->data = NULL;
    if (lost(io_channel_read(l->ch, head, sizeof(head)), errp)) {
        return false;
    }
    r->type = ld_be32(head + 12);
    r->len = ld_be32(head + 16);
    if (ld_be64(head) != NBD_OPT_REPLY_MAGIC || ld_be32(head + 8) != option ||
        r->len > NBD_MAX_STRING * 16) {
        error_set(errp, "the NBD server's answer makes no sense");
        return false;
    }
    r->data = g_malloc0(r->len + 1);
    if (r->len && lost(io_channel_read(l->ch, r->data, r->len), errp)) {
        g_free(r->data);
        r->data = NULL;
        return false;
    }
    return true;
}

static void describe_refusal(const Reply *r, const char *what, Error **errp)
{
    const char *why = r->type == NBD_REP_ERR_UNSUP      ? "it does not know how"
                      : r->type == NBD_REP_ERR_POLICY   ? "it does not allow that"
                      : r->type == NBD_REP_ERR_TLS_REQD ? "it wants TLS"
                      : r->type == NBD_REP_ERR_UNKNOWN  ? "there is no such export"
                      : r->type == NBD_REP_ERR_SHUTDOWN ? "it is shutting down"
                                                        : "it refused";
    error_set(errp, "the NBD server was asked %s, but %s%s%s", what, why, r->len ? ": " : "",
              r->len ? (const char *)r->data : "");
    if (r->type == NBD_REP_ERR_TLS_REQD) {
        error_hint(errp, "give credentials with tls-creds=ID");
    }
}

/* An option that is answered by ACK. 1: done, 0: not supported, -1: error. */
static int ask(NbdLink *l, uint32_t option, const char *what, bool optional, Error **errp)
{
    Reply r;
    if (!send_option(l, option, NULL, 0, errp) || !read_reply(l, option, &r, errp)) {
        return -1;
    }
    bool tls = r.type == NBD_REP_ERR_TLS_REQD;
    int ret = r.type == NBD_REP_ACK ? 1 : optional && !tls ? 0 : -1;
    if (ret < 0) {
        describe_refusal(&r, what, errp);
    }
    g_free(r.data);
    return ret;
}

bool nbd_link_greet(NbdLink *l, Object *tls, const char *hostname, bool extended, Error **errp)
{
    uint8_t b[18], flags[4];
    if (lost(io_channel_read(l->ch, b, sizeof(b)), errp)) {
        return false;
    }
    if (ld_be64(b) != NBD_MAGIC || ld_be64(b + 8) != NBD_OPTS_MAGIC) {
        error_set(errp, ld_be64(b) == NBD_MAGIC && ld_be64(b + 8) == NBD_OLD_MAGIC
                            ? "the NBD server speaks the old protocol, which is not supported"
                            : "this is not an NBD server");
        return false;
    }
    uint16_t f = ld_be16(b + 16);
    if (!(f & NBD_FIXED_NEWSTYLE)) {
        error_set(errp, "the NBD server does not speak the fixed newstyle protocol");
        return false;
    }
    l->no_zeroes = f & NBD_NO_ZEROES;
    st_be32(flags, NBD_FIXED_NEWSTYLE | (f & NBD_NO_ZEROES));
    int ret = io_channel_write(l->ch, flags, sizeof(flags));
    if (lost(ret < 0 ? ret : 1, errp)) {
        return false;
    }
    if (tls && (ask(l, NBD_OPT_STARTTLS, "for TLS", false, errp) < 0 ||
                !tls_start(l->ch, tls, hostname, errp))) {
        return false;
    }
    ret = extended ? ask(l, NBD_OPT_EXTENDED, "for extended headers", true, errp) : 0;
    if (ret < 0) {
        return false;
    }
    l->extended = l->structured = ret > 0;
    if (!l->structured) {
        ret = ask(l, NBD_OPT_STRUCTURED, "for structured replies", true, errp);
        l->structured = ret > 0;
    }
    return ret >= 0;
}

static void put_string(GByteArray *a, const char *s)
{
    uint8_t len[4];
    st_be32(len, (uint32_t)strlen(s));
    g_byte_array_append(a, len, 4);
    g_byte_array_append(a, (const guint8 *)s, (guint)strlen(s));
}

/* SET or LIST of metadata contexts; each answer goes to fn. */
static bool contexts(NbdLink *l, uint32_t option, const char *export, const char *const *queries,
                     void (*fn)(void *opaque, uint32_t id, const char *name), void *opaque,
                     Error **errp)
{
    g_autoptr(GByteArray) a = g_byte_array_new();
    uint8_t n[4];
    uint32_t count = 0;
    while (queries[count]) {
        count++;
    }
    put_string(a, export);
    st_be32(n, count);
    g_byte_array_append(a, n, 4);
    for (uint32_t i = 0; i < count; i++) {
        put_string(a, queries[i]);
    }
    if (!send_option(l, option, a->data, a->len, errp)) {
        return false;
    }
    for (unsigned rounds = 0; rounds < 4096; rounds++) {
        Reply r;
        if (!read_reply(l, option, &r, errp)) {
            return false;
        }
        uint32_t type = r.type;
        if (type == NBD_REP_META && r.len >= 4) {
            fn(opaque, ld_be32(r.data), (const char *)r.data + 4);
        }
        g_free(r.data);
        if (type != NBD_REP_META) {
            return true; /* an error only means that there are none */
        }
    }
    error_set(errp, "the NBD server's list of contexts has no end");
    return false;
}

typedef struct Wanted {
    NbdLink *l;
    const char *context;
} Wanted;

static void take_context(void *opaque, uint32_t id, const char *name)
{
    Wanted *w = opaque;
    if (!strcmp(name, "base:allocation")) {
        w->l->allocation_id = id;
        w->l->has_allocation = true;
    } else if (w->context && !strcmp(name, w->context)) {
        w->l->context_id = id;
        w->l->has_context = true;
    }
}

static bool take_info(NbdLink *l, const Reply *r, Error **errp)
{
    if (r->len < 2) {
        error_set(errp, "the NBD server's answer is too short");
        return false;
    }
    uint16_t kind = ld_be16(r->data);
    if (kind == NBD_INFO_EXPORT && r->len == 12) {
        l->size = ld_be64(r->data + 2);
        l->flags = ld_be16(r->data + 10);
        if (l->size > INT64_MAX) {
            error_set(errp, "the NBD export is too large");
            return false;
        }
    } else if (kind == NBD_INFO_BLOCK_SIZE && r->len == 14) {
        l->min_block = ld_be32(r->data + 2);
        l->max_block = ld_be32(r->data + 10);
        if (!l->min_block || !IS_POWER_OF_2(l->min_block) || l->min_block > 65536 ||
            l->max_block < l->min_block) {
            error_set(errp, "the NBD server's block sizes make no sense");
            return false;
        }
    }
    return true;
}

/* INFO or GO. 1: done; 0: the option is not known; -1: error. */
static int info_or_go(NbdLink *l, uint32_t option, const char *export, Error **errp)
{
    g_autoptr(GByteArray) a = g_byte_array_new();
    uint8_t tail[4];
    put_string(a, export);
    st_be16(tail, 1);
    st_be16(tail + 2, NBD_INFO_BLOCK_SIZE);
    g_byte_array_append(a, tail, 4);
    if (!send_option(l, option, a->data, a->len, errp)) {
        return -1;
    }
    for (unsigned rounds = 0; rounds < 64; rounds++) {
        Reply r;
        if (!read_reply(l, option, &r, errp)) {
            return -1;
        }
        int ret = 2;
        if (r.type == NBD_REP_INFO) {
            ret = take_info(l, &r, errp) ? 2 : -1;
        } else if (r.type == NBD_REP_ACK) {
            ret = 1;
        } else {
            ret = r.type == NBD_REP_ERR_UNSUP ? 0 : -1;
            if (ret < 0) {
                g_autofree char *what = g_strdup_printf("for export '%s'", export);
                describe_refusal(&r, what, errp);
            }
        }
        g_free(r.data);
        if (ret != 2) {
            return ret;
        }
    }
    error_set(errp, "the NBD server's answer has no end");
    return -1;
}

static bool by_export_name(NbdLink *l, const char *export, Error **errp)
{
    uint8_t b[10 + 124];
    if (!send_option(l, NBD_OPT_EXPORT_NAME, export, strlen(export), errp)) {
        return false;
    }
    if (lost(io_channel_read(l->ch, b, l->no_zeroes ? 10 : sizeof(b)), errp)) {
        error_prefix(errp, "export '%s': ", export);
        return false;
    }
    l->size = ld_be64(b);
    l->flags = ld_be16(b + 8);
    if (l->size > INT64_MAX) {
        error_set(errp, "the NBD export is too large");
    }
    return l->size <= INT64_MAX;
}

bool nbd_link_go(NbdLink *l, const char *export, const char *context, Error **errp)
{
    Wanted w = {l, context};
    const char *queries[] = {"base:allocation", context, NULL};
    if (l->structured && !contexts(l, NBD_OPT_SET_META, export, queries, take_context, &w, errp)) {
        return false;
    }
    if (context && !l->has_context) {
        error_set(errp, "the NBD server does not offer '%s' for export '%s'", context, export);
        return false;
    }
    int ret = info_or_go(l, NBD_OPT_GO, export, errp);
    return ret > 0 || (ret == 0 && by_export_name(l, export, errp));
}

/* ---- listing ---- */

static void print_context(void *opaque, uint32_t id, const char *name)
{
    fprintf(opaque, "   %s\n", name);
}

static void print_export(NbdLink *l, const char *name, const char *description, FILE *out)
{
    static const char *const names[] = {NULL,         "readonly", "flush",  "fua",
                                        "rotational", "trim",     "zeroes", "df",
                                        "multi",      "resize",   "cache",  "fast-zero"};
    Error *err = NULL;
    const char *none[] = {NULL};
    fprintf(out, " export: '%s'\n", name);
    if (*description) {
        fprintf(out, "  description: %s\n", description);
    }
    l->size = l->flags = l->min_block = l->max_block = 0;
    if (info_or_go(l, NBD_OPT_INFO, name, &err) <= 0) {
        error_free(err);
        return;
    }
    fprintf(out, "  size:  %" PRIu64 "\n  flags: 0x%x (", l->size, l->flags);
    for (unsigned i = 1; i < ARRAY_LEN(names); i++) {
        if (l->flags & BIT(i)) {
            fprintf(out, " %s", names[i]);
        }
    }
    fprintf(out, " )\n");
    if (l->min_block) {
        fprintf(out, "  min block: %u\n  max block: %u\n", l->min_block, l->max_block);
    }
    if (l->structured) {
        fprintf(out, "  available meta contexts:\n");
        contexts(l, NBD_OPT_LIST_META, name, none, print_context, out, NULL);
    }
}

bool nbd_list(const SocketSpec *addr, Object *tls, const char *hostname, EventLoop *loop, FILE *out,
              Error **errp)
{
    NbdLink l = {0};
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
    int fd = socket_connect(addr, 0, errp);
    if (fd < 0) {
        return false;
    }
    l.ch = io_channel_new(fd, loop);
    bool ok = nbd_link_greet(&l, tls, hostname, false, errp) &&
              send_option(&l, NBD_OPT_LIST, NULL, 0, errp);
    bool more = ok;
    while (more && names->len < 10000) {
        Reply r;
        ok = read_reply(&l, NBD_OPT_LIST, &r, errp);
        more = ok && r.type == NBD_REP_SERVER;
        if (more && r.len >= 4 && ld_be32(r.data) <= r.len - 4) {
            uint32_t n = ld_be32(r.data);
            g_ptr_array_add(names, g_strndup((char *)r.data + 4, n));
            g_ptr_array_add(texts, g_strdup((char *)r.data + 4 + n));
        } else if (ok && r.type != NBD_REP_ACK) {
            describe_refusal(&r, "for its exports", errp);
            ok = more = false;
        }
        g_free(ok ? r.data : NULL);
    }
    if (ok) {
        fprintf(out, "exports available: %u\n", names->len);
        for (guint i = 0; i < names->len; i++) {
            print_export(&l, names->pdata[i], texts->pdata[i], out);
        }
        send_option(&l, NBD_OPT_ABORT, NULL, 0, NULL);
    }
    io_channel_free(l.ch);
    return ok;
}
