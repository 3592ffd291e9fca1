/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The protocol "iscsi": a logical unit of an iSCSI target (RFC 7143). */
#include "block/remote/remote.h"
#include "crypto/secret.h"

#include <errno.h>

#define DEFAULT_INITIATOR "iqn.2008-11.org.linux-kvm"
#define MAX_TEXT 255u /* the library's */

static const char *const iscsi_transport_names[] = {"tcp", "iser", NULL};
static const char *const iscsi_digest_names[] = {"crc32c", "none", "crc32c-none", "none-crc32c",
                                                 NULL};

static char *decoded(const char *text, size_t len)
{
    char *s = g_uri_unescape_segment(text, text + len, NULL);
    return s ? s : g_strndup(text, len);
}

/* [user[%password]@]host[:port]/target/lun */
static bool split_uri(Json *o, const char *rest)
{
    const char *slash = strchr(rest, '/'),
               *at = slash ? memchr(rest, '@', (size_t)(slash - rest)) : NULL;
    const char *lun = slash ? strrchr(slash, '/') : NULL;
    if (!lun || lun == slash || lun == slash + 1) {
        return false;
    }
    if (at) {
        const char *percent = memchr(rest, '%', (size_t)(at - rest));
        g_autofree char *user = g_strndup(rest, (size_t)((percent ? percent : at) - rest));
        json_put_string(o, "user", user);
        if (percent) {
            g_autofree char *password = g_strndup(percent + 1, (size_t)(at - percent - 1));
            json_put_string(o, "password", password);
        }
        rest = at + 1;
    }
    g_autofree char *portal = g_strndup(rest, (size_t)(slash - rest));
    g_autofree char *target = decoded(slash + 1, (size_t)(lun - slash - 1));
    json_put_string(o, "portal", portal);
    json_put_string(o, "target", target);
    json_put_string(o, "lun", lun + 1);
    return *portal && *target && lun[1];
}

Json *iscsi_filename(const char *name, Error **errp)
{
    Json *o = json_object();
    bool iser = g_str_has_prefix(name, "iser");
    json_put_string(o, "driver", "iscsi");
    json_put_string(o, "transport", iser ? "iser" : "tcp");
    const char *rest = strstr(name, "://");
    if (!rest || !split_uri(o, rest + 3)) {
        error_set(errp, "'%s' is not the name of an iSCSI disk", name);
        error_hint(errp, "expected iscsi://[user[%%password]@]host[:port]/target/lun");
        json_unref(o);
        return NULL;
    }
    return o;
}

/* ---- -iscsi ---- */

static const char *const default_keys[] = {"user",           "password",      "password-secret",
                                           "initiator-name", "header-digest", "timeout"};

static void check_digest(BlockOpts *o, const char *text, int *digest)
{
    for (int i = 0; text && iscsi_digest_names[i]; i++) {
        if (!strcmp(text, iscsi_digest_names[i])) {
            *digest = i;
            return;
        }
    }
    if (text) {
        block_opts_mistake(
            o, "'header-digest' must be crc32c, none, crc32c-none or none-crc32c, not '%s'", text);
    }
}

bool block_set_iscsi(BlockGraph *g, const Json *options, Error **errp)
{
    g_autoptr(BlockOpts) o = block_opts_new(options, "-iscsi");
    const char *id = block_opts_string(o, "id", "");
    const char *value[G_N_ELEMENTS(default_keys)];
    int digest;
    for (unsigned i = 0; i < G_N_ELEMENTS(default_keys); i++) {
        value[i] = block_opts_string(o, default_keys[i], NULL);
        if (value[i] && (!*value[i] || strlen(value[i]) > MAX_TEXT)) {
            block_opts_mistake(o, "'%s' has 1 to %u characters", default_keys[i], MAX_TEXT);
        }
    }
    check_digest(o, value[4], &digest);
    block_opts_uint(o, "timeout", 0, 0, 86400);
    if (value[1] && value[2]) {
        block_opts_mistake(o, "'password' and 'password-secret' are both given");
    }
    if (!block_opts_finish(o, errp)) {
        return false;
    }
    g->iscsi = g->iscsi ? g->iscsi : json_object();
    if (!json_get(g->iscsi, id)) {
        json_put(g->iscsi, id, json_object());
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(default_keys); i++) {
        if (value[i]) {
            json_put_string(json_get(g->iscsi, id), default_keys[i], value[i]);
        }
    }
    return true;
}

/* The option, else what -iscsi says about the target, or about all of them. */
static const char *take(BlockNode *n, BlockOpts *o, const char *target, const char *key)
{
    const char *given = block_opts_string(o, key, NULL);
    for (unsigned i = 0; !given && i < 2 && n->graph->iscsi; i++) {
        const Json *group = json_get(n->graph->iscsi, i == 0 && target ? target : "");
        given = group ? json_get_str(group, key) : NULL;
    }
    return given;
}

/* ---- opening ---- */

static void check_text(BlockOpts *o, const char *key, const char *text, bool needed)
{
    if (needed && (!text || !*text)) {
        block_opts_mistake(o, "'%s' is missing", key);
    } else if (text && strlen(text) > MAX_TEXT) {
        block_opts_mistake(o, "'%s' is longer than %u characters", key, MAX_TEXT);
    }
}

/* All but the password itself. */
static const char *take_options(BlockNode *n, BlockOpts *o, IscsiSpec *spec)
{
    spec->user = take(n, o, spec->target, "user");
    spec->password = take(n, o, spec->target, "password");
    spec->initiator = take(n, o, spec->target, "initiator-name");
    spec->initiator = spec->initiator ? spec->initiator : DEFAULT_INITIATOR;
    spec->digest = 3;
    check_digest(o, take(n, o, spec->target, "header-digest"), &spec->digest);
    const char *secret = take(n, o, spec->target, "password-secret"), *timeout = NULL;
    if (block_opts_has(o, "timeout")) {
        spec->timeout_s = (unsigned)block_opts_uint(o, "timeout", 0, 0, 86400);
    } else if ((timeout = take(n, o, spec->target, "timeout"))) {
        spec->timeout_s = (unsigned)g_ascii_strtoull(timeout, NULL, 10); /* was checked */
    }
    check_text(o, "portal", spec->portal, true);
    check_text(o, "target", spec->target, true);
    check_text(o, "initiator-name", spec->initiator, true);
    check_text(o, "user", spec->user, false);
    if (secret && block_opts_has(o, "password")) {
        block_opts_mistake(o, "'password' and 'password-secret' are both given");
    }
    if ((secret || spec->password) && !spec->user) {
        block_opts_mistake(o, "there is a password, but 'user' is missing");
    }
    return secret;
}

static bool iscsi_open(BlockNode *n, BlockOpts *o, Error **errp)
{
    IscsiSpec spec = {
        .iser = block_opts_enum(o, "transport", iscsi_transport_names, 0) == 1,
        .portal = block_opts_string(o, "portal", NULL),
        .target = block_opts_string(o, "target", NULL),
        .lun = (unsigned)block_opts_uint(o, "lun", 0, 0, 16383),
        .read_only = n->flags.read_only,
    };
    const char *secret = take_options(n, o, &spec);
    if (!block_opts_finish(o, errp)) {
        return false;
    }
    if (secret && !(spec.password = secret_lookup_text(n->graph->root, secret, errp))) {
        return false;
    }
    if (spec.password && strlen(spec.password) > MAX_TEXT) {
        error_set(errp, "the password for '%s' is longer than %u characters", spec.target,
                  MAX_TEXT);
        return false;
    }
    n->filename = g_strdup_printf("%s://%s/%s/%u", spec.iser ? "iser" : "iscsi", spec.portal,
                                  spec.target, spec.lun);
    return remote_open(n, "iscsi", &spec, errp);
}

/* A unit has the size that its target gives it; the target may have changed that. */
static int iscsi_truncate(BlockNode *n, uint64_t size, BlockPrealloc prealloc, Error **errp)
{
    if (prealloc != PREALLOC_OFF) {
        error_set(errp, "cannot resize '%s': preallocation mode '%s' is not for iSCSI", n->filename,
                  block_prealloc_names[prealloc]);
        return -ENOTSUP;
    }
    RemoteRequest r = {.op = REMOTE_RESIZE, .len = size};
    int ret = remote_run(n, &r);
    if (ret < 0) {
        error_set_errno(errp, -ret, "cannot ask for the size of '%s'", n->filename);
        return ret;
    }
    n->length = r.extent;
    if (size > n->length) {
        error_set(errp, "cannot make '%s' larger: it has %" G_GUINT64_FORMAT " bytes", n->filename,
                  (guint64)n->length);
        error_hint(errp, "a unit's size is changed at the target");
        return -ENOTSUP;
    }
    return 0; /* what is beyond simply is not used */
}

const BlockDriver block_driver_iscsi = {
    .name = "iscsi",
    .alias = "iser",
    .help = "a unit of an iSCSI target",
    .state_size = sizeof(Remote),
    .protocol = true,
    .remote = true,
    .open = iscsi_open,
    .close = remote_close,
    .preadv = remote_preadv,
    .pwritev = remote_pwritev,
    .flush = remote_flush,
    .discard = remote_discard,
    .zero = remote_zero,
    .map = remote_map,
    .truncate = iscsi_truncate,
};
