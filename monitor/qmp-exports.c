/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Management commands about exports. */
#include "crypto/authz.h"
#include "crypto/tls.h"
#include "nbd/nbd.h"
#include "qapi/qapi-commands.h"

bool qmp_nbd_server_start(Object *root, const Json *addr, bool has_handshake_max_seconds,
                          int64_t handshake_max_seconds, const char *tls_creds,
                          const char *tls_authz, bool has_max_connections, int64_t max_connections,
                          Error **errp)
{
    NbdServerParams p = {.handshake_seconds =
                             has_handshake_max_seconds ? (unsigned)handshake_max_seconds : 10,
                         .max_connections = has_max_connections ? (unsigned)max_connections : 100};
    if (tls_authz && !tls_creds) {
        error_set(errp, "'tls-authz' needs 'tls-creds'");
        return false;
    }
    if (!socket_spec_from_json(&p.addr, addr, errp)) {
        return false;
    }
    if (tls_creds) {
        p.tls_creds = tls_creds_find(root, tls_creds, true, errp);
    }
    if (tls_authz && p.tls_creds) {
        p.tls_authz = authz_find(root, tls_authz, errp);
    }
    bool ok = (!tls_creds || p.tls_creds) && (!tls_authz || p.tls_authz) &&
              nbd_server_start(block_graph_of(root), &p, errp);
    socket_spec_clear(&p.addr);
    return ok;
}

static bool running(BlockGraph *g, Error **errp)
{
    if (!nbd_server_of(g)) {
        error_set(errp, "NBD server not running");
        return false;
    }
    return true;
}

bool qmp_nbd_server_stop(Object *root, Error **errp)
{
    BlockGraph *g = block_graph_of(root);
    if (!running(g, errp)) {
        return false;
    }
    nbd_server_stop(g);
    return true;
}

bool qmp_nbd_server_add(Object *root, const char *device, const char *name, const char *description,
                        bool has_writable, bool writable, const char *bitmap, Error **errp)
{
    BlockGraph *g = block_graph_of(root);
    g_autoptr(Json) bitmaps = bitmap ? json_array() : NULL;
    if (bitmap) {
        json_append(bitmaps, json_string(bitmap));
    }
    const char *export = name ? name : device;
    NbdExportParams p = {
        .common = {.id = export, .node_name = device, .writable = has_writable && writable},
        .name = export,
        .description = description,
        .bitmaps = bitmaps};
    return running(g, errp) && nbd_export_add(g, &p, errp);
}

static bool del(BlockExport *e, const char *name, bool has_mode, QBlockExportRemoveMode mode,
                Error **errp)
{
    if (!e) {
        error_set(errp, "Export '%s' is not found", name);
        return false;
    }
    return block_export_del(e, has_mode && mode == Q_BLOCK_EXPORT_REMOVE_MODE_HARD, errp);
}

bool qmp_nbd_server_remove(Object *root, const char *name, bool has_mode,
                           QBlockExportRemoveMode mode, Error **errp)
{
    BlockGraph *g = block_graph_of(root);
    if (!running(g, errp)) {
        return false;
    }
    NbdExport *e = nbd_export_find(g, name);
    return del(e ? nbd_export_base(e) : NULL, name, has_mode, mode, errp);
}

bool qmp_block_export_add(Object *root, const Json *args, Error **errp)
{
    static const BlockExportDriver *const types[] = {
        &nbd_export_driver, &vhost_user_blk_export_driver, &fuse_export_driver};
    const char *type = json_get_str(args, "type");
    for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
        if (!g_strcmp0(type, types[i]->type)) {
            return block_export_add(block_graph_of(root), types[i], args, errp);
        }
    }
    error_set(errp, "there is no export type '%s': nbd, vhost-user-blk and fuse", type ? type : "");
    return false;
}

bool qmp_block_export_del(Object *root, const char *id, bool has_mode, QBlockExportRemoveMode mode,
                          Error **errp)
{
    return del(block_export_find(block_graph_of(root), id), id, has_mode, mode, errp);
}

bool qmp_query_block_exports(Object *root, Json **out, Error **errp)
{
    *out = block_exports_query(block_graph_of(root));
    return true;
}
