/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Management commands about disks. */
#include "block/block.h"
#include "hw/core/machine.h"
#include "qapi/qapi-commands.h"

bool qmp_blockdev_add(Object *root, const Json *args, Error **errp)
{
    g_autoptr(Json) none = json_object();
    return block_open(block_graph_of(root), args ? args : none, errp) != NULL;
}

bool qmp_blockdev_del(Object *root, const char *node_name, Error **errp)
{
    return block_close(block_graph_of(root), node_name, errp);
}

bool qmp_query_block(Object *root, bool has_flat, bool flat, Json **out, Error **errp)
{
    *out = block_query(block_graph_of(root));
    return true;
}

bool qmp_query_named_block_nodes(Object *root, bool has_flat, bool flat, Json **out, Error **errp)
{
    *out = block_query_named_nodes(block_graph_of(root));
    return true;
}

bool qmp_query_blockstats(Object *root, bool has_query_nodes, bool query_nodes, Json **out,
                          Error **errp)
{
    *out = block_query_stats(block_graph_of(root));
    return true;
}

/* The drive of a device's id (or path), or a drive's own name. */
static BlockBackend *find(Object *root, const char *id, const char *device, Error **errp)
{
    if (!id == !device) {
        error_set(errp, "Need exactly one of 'device' and 'id'");
        return NULL;
    }
    if (device) {
        return blk_find(block_graph_of(root), device, errp);
    }
    Device *dev = device_find(machine_of(root), id, errp);
    if (!dev) {
        return NULL;
    }
    g_autoptr(Json) drive = object_get(&dev->obj, "drive", NULL);
    const char *name = drive ? json_get_string(drive) : NULL;
    if (!name || !*name) {
        error_set(errp, "Device '%s' has no drive", id);
        return NULL;
    }
    return blk_find(block_graph_of(root), name, errp);
}

bool qmp_eject(Object *root, const char *device, const char *id, bool has_force, bool force,
               Error **errp)
{
    BlockBackend *blk = find(root, id, device, errp);
    if (!blk || !blk_open_tray(blk, has_force && force, errp)) {
        return false;
    }
    blk_remove_medium(blk);
    return true;
}

bool qmp_blockdev_change_medium(Object *root, const char *device, const char *id,
                                const char *filename, const char *format, bool has_force,
                                bool force, bool has_mode, QBlockdevChangeReadOnlyMode mode,
                                Error **errp)
{
    BlockBackend *blk = find(root, id, device, errp);
    int read_only = !has_mode || mode == Q_BLOCKDEV_CHANGE_READ_ONLY_MODE_RETAIN
                        ? -1
                        : mode == Q_BLOCKDEV_CHANGE_READ_ONLY_MODE_READ_ONLY;
    return blk && blk_change_medium(blk, filename, format, read_only, has_force && force, errp);
}

bool qmp_block_resize(Object *root, const char *device, const char *node_name, int64_t size,
                      Error **errp)
{
    const char *name = device ? device : node_name;
    if (!device == !node_name) {
        error_set(errp, "Need exactly one of 'device' and 'node-name'");
        return false;
    }
    if (size < 0) {
        error_set(errp, "Parameter 'size' expects a >0 size");
        return false;
    }
    BlockBackend *blk = blk_find(block_graph_of(root), name, errp);
    return blk && blk_resize(blk, (uint64_t)size, errp);
}
