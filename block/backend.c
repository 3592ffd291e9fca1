/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Backends: what devices hold; claiming, media, error policy, draining. */
#include "block/backend.h"

#include "block/throttle.h"
#include "util/fault.h"

#include <errno.h>

const char *const blk_on_error_names[] = {"auto", "report", "ignore", "stop", "enospc", NULL};

static void blk_finalize(Object *obj)
{
    BlockBackend *blk = (BlockBackend *)obj;
    if (blk->graph) {
        blk->graph->backends = g_list_remove(blk->graph->backends, blk);
    }
    throttle_group_unref(blk->throttle);
    node_unref(blk->node);
    g_free(blk->id);
    g_free(blk->dev_name);
    g_free(blk->dev_path);
    g_free(blk->qdev);
    histogram_set(&blk->rd_times, NULL);
    histogram_set(&blk->wr_times, NULL);
    histogram_set(&blk->flush_times, NULL);
}

OBJECT_TYPE(block_backend_type, .name = TYPE_BLOCK_BACKEND, .parent = "object",
            .help = "a disk as a device sees it", .size = sizeof(BlockBackend),
            .finalize = blk_finalize, .container = "/block-backends")

/* ---- life ---- */

static BlockBackend *find_by_id(BlockGraph *g, const char *id)
{
    for (GList *l = g->backends; l; l = l->next) {
        BlockBackend *blk = l->data;
        if (!g_strcmp0(blk->id, id)) {
            return blk;
        }
    }
    return NULL;
}

bool blk_name_taken(BlockGraph *g, const char *id)
{
    return find_by_id(g, id) != NULL;
}

BlockBackend *blk_new(BlockGraph *g, const char *id, Error **errp)
{
    if (id && find_by_id(g, id)) {
        error_set(errp, "there is already a drive or block node '%s'", id);
        return NULL;
    }
    BlockBackend *blk = (BlockBackend *)object_new(TYPE_BLOCK_BACKEND);
    blk->graph = g;
    blk->id = g_strdup(id);
    blk->owned = true;
    blk->loop = g->loop;
    blk->write_cache = true;
    blk->rerror = BLK_ON_ERROR_REPORT;
    blk->werror = BLK_ON_ERROR_ENOSPC;
    g_queue_init(&blk->waiting);
    g->backends = g_list_append(g->backends, blk);
    if (id) {
        object_ref(&blk->obj); /* the tree's */
        object_add_child(block_graph_container(g), id, &blk->obj);
    }
    return blk;
}

BlockBackend *blk_new_anonymous(BlockGraph *g)
{
    BlockBackend *blk = blk_new(g, NULL, NULL);
    blk->owned = false;
    return blk;
}

void blk_mark_implicit(BlockBackend *blk)
{
    blk->implicit = true;
}

void blk_insert_node(BlockBackend *blk, BlockNode *n)
{
    blk->node = node_ref(n);
}

/* Devices may still hold references: they find an empty drive. */
void blk_close(BlockBackend *blk)
{
    if (blk->attached) {
        blk_detach(blk);
    }
    node_unref(blk->node);
    blk->node = NULL;
    blk->graph->backends = g_list_remove(blk->graph->backends, blk);
    blk->graph = NULL;
    if (blk->obj.parent) {
        object_unparent(&blk->obj);
    }
    if (blk->owned) {
        object_unref(&blk->obj);
    }
}

BlockBackend *blk_find(BlockGraph *g, const char *name, Error **errp)
{
    BlockBackend *blk = find_by_id(g, name);
    BlockNode *n = block_node_find(g, name);
    /* A node's own backend may have moved on to an overlay together with its device. */
    if (blk && !(n && blk->implicit && blk->node != n)) {
        return blk;
    }
    if (n) {
        blk = blk_new(g, NULL, errp);
        blk_insert_node(blk, n);
        return blk;
    }
    error_set(errp, "there is no drive or block node '%s'", name);
    return NULL;
}

const char *blk_name(const BlockBackend *blk)
{
    return blk->id ? blk->id : "";
}

bool blk_is_implicit(const BlockBackend *blk)
{
    return blk->implicit || !blk->id;
}

const char *blk_device_path(const BlockBackend *blk)
{
    const char *path = blk->dev_path ? blk->dev_path : blk->dev_name;
    return blk->attached && path ? path : "";
}

void blk_set_device_path(BlockBackend *blk, const Object *device, const char *id, const char *part)
{
    g_autofree char *path = object_path(device);
    g_free(blk->dev_path);
    g_free(blk->qdev);
    blk->dev_path = g_strconcat(path, part, NULL);
    blk->qdev = g_strdup(id ? id : blk->dev_path);
}

const char *block_node_name(const BlockNode *n)
{
    return n->name;
}

BlockNode *blk_node(const BlockBackend *blk)
{
    return blk->node;
}

const char *blk_user(const BlockBackend *blk)
{
    return blk->attached ? blk->dev_name : NULL;
}

/* ---- claiming ---- */

/* What messages and query-block call it. */
static const char *user_name(const BlockBackend *blk)
{
    return blk->dev_name ? blk->dev_name : blk_name(blk);
}

/*
 * Is `n`, or a node below it, held in another loop than `loop` by somebody else than `me` and the
 * nodes below `top`?
 */
static bool is_held(BlockNode *top, BlockNode *n, const void *me, const EventLoop *loop)
{
    const char *role;
    BlockNode **c;
    bool held = n->loop != loop && n->busy;
    for (guint i = 0; !held && n->loop != loop && i < n->users->len; i++) {
        const void *user = g_array_index(n->users, NodeUser, i).user;
        held = user != me && !node_contains(top, user);
    }
    for (unsigned i = 0; !held && (c = node_child(n, i, &role)); i++) {
        held = *c && is_held(top, *c, me, loop);
    }
    return held;
}

static bool claim_node(BlockBackend *blk, Error **errp)
{
    BlockNode *n = blk->node;
    if (!node_take(n, blk, user_name(blk), blk->writable && !n->flags.read_only, blk->share_rw,
                   errp)) {
        return false;
    }
    if (is_held(n, n, blk, blk->loop)) {
        node_release(n, blk);
        error_set(errp, "block node '%s' is used by devices of another I/O thread", n->name);
        return false;
    }
    node_set_loop(n, blk->loop);
    return true;
}

bool blk_attach(BlockBackend *blk, void *dev, const char *dev_name, const BlockDevOps *ops,
                bool writable, bool share_rw, EventLoop *loop, Error **errp)
{
    if (fault_here("blk_attach", errp)) {
        return false;
    }
    if (blk->attached) {
        error_set(errp, "drive '%s' is already used by '%s'",
                  blk->id     ? blk->id
                  : blk->node ? blk->node->name
                              : "",
                  user_name(blk));
        return false;
    }
    if (!blk->graph) {
        error_set(errp, "the drive has been removed");
        return false;
    }
    blk->dev_name = g_strdup(dev_name);
    blk->writable = writable;
    blk->share_rw = share_rw;
    blk->loop = loop ? loop : blk->graph->loop;
    if (blk->node && !claim_node(blk, errp)) {
        g_free(blk->dev_name);
        blk->dev_name = NULL;
        return false;
    }
    blk->attached = true;
    blk->dev = dev;
    blk->ops = ops;
    return true;
}

void blk_detach(BlockBackend *blk)
{
    if (!blk->attached) {
        return;
    }
    if (blk->node) {
        blk_wait_idle(blk);
        blk_flush(blk); /* while drained it would wait for ever */
        blk_drain_begin(blk);
        blk_drain_end(blk);
        node_release(blk->node, blk);
        /* The device's thread may go; whoever comes next brings its own. */
        if (blk->graph && !is_held(blk->node, blk->node, blk, blk->graph->loop)) {
            node_set_loop(blk->node, blk->graph->loop);
        }
    }
    if (blk->graph) {
        blk->loop = blk->graph->loop;
    }
    blk->attached = false;
    blk->dev = NULL;
    blk->ops = NULL;
    blk->locked = false;
    g_clear_pointer(&blk->dev_name, g_free);
    g_clear_pointer(&blk->dev_path, g_free);
    g_clear_pointer(&blk->qdev, g_free);
}

/* ---- the medium ---- */

bool blk_present(const BlockBackend *blk)
{
    return blk->node != NULL;
}

bool blk_writable(const BlockBackend *blk)
{
    return blk->node && !blk->node->flags.read_only;
}

int64_t blk_length(const BlockBackend *blk)
{
    return blk->node ? (int64_t)blk->node->length : -ENOMEDIUM;
}

uint32_t blk_request_alignment(const BlockBackend *blk)
{
    return blk->node ? MAX(blk->node->limits.request_align, 1) : 1;
}

uint32_t blk_discard_granularity(const BlockBackend *blk)
{
    if (!blk->node) {
        return BLOCK_SECTOR;
    }
    return MAX(MAX(blk->node->limits.discard_align, blk->node->limits.request_align), BLOCK_SECTOR);
}

bool blk_write_cache(const BlockBackend *blk)
{
    return blk->write_cache;
}

void blk_set_write_cache(BlockBackend *blk, bool on)
{
    blk->write_cache = on;
}

void blk_set_locked(BlockBackend *blk, bool locked)
{
    blk->locked = locked;
}

void blk_remove_medium(BlockBackend *blk)
{
    if (!blk->node) {
        return;
    }
    blk_wait_idle(blk);
    blk_flush(blk);
    blk_drain_begin(blk);
    BlockNode *n = blk->node;
    if (blk->attached) {
        node_release(n, blk);
    }
    blk->node = NULL;
    blk_drain_end(blk);
    node_unref(n);
}

bool blk_insert_medium(BlockBackend *blk, BlockNode *n, Error **errp)
{
    if (blk->node) {
        error_set(errp, "there is a medium in drive '%s' already", blk_name(blk));
        return false;
    }
    blk_insert_node(blk, n);
    if (blk->attached && !claim_node(blk, errp)) {
        node_unref(n);
        blk->node = NULL;
        return false;
    }
    return true;
}

static bool tray_is_open(BlockBackend *blk)
{
    return blk->ops && blk->ops->tray_open && blk->ops->tray_open(blk->dev);
}

bool blk_has_tray(const BlockBackend *blk)
{
    return !blk->attached || (blk->ops && blk->ops->media_changed);
}

bool blk_open_tray(BlockBackend *blk, bool force, Error **errp)
{
    if (!blk_has_tray(blk)) {
        error_set(errp, "the medium of drive '%s' cannot be removed", blk_name(blk));
        return false;
    }
    LOOP_LOCK_GUARD(blk->loop);
    if (!blk->attached || tray_is_open(blk)) {
        return true;
    }
    if (blk->locked && blk->ops->eject_request) {
        blk->ops->eject_request(blk->dev, force);
        if (!force) {
            error_set(errp,
                      "drive '%s' is locked by the guest, which has been asked to open it; try "
                      "again, or use force",
                      blk_name(blk));
            return false;
        }
    }
    blk->ops->media_changed(blk->dev, false);
    return true;
}

bool blk_close_tray(BlockBackend *blk, Error **errp)
{
    if (!blk_has_tray(blk)) {
        error_set(errp, "drive '%s' has no tray", blk_name(blk));
        return false;
    }
    LOOP_LOCK_GUARD(blk->loop);
    if (blk->attached) {
        blk->ops->media_changed(blk->dev, true);
    }
    return true;
}

bool blk_change_medium(BlockBackend *blk, const char *filename, const char *format, int read_only,
                       bool force, Error **errp)
{
    if (!blk_has_tray(blk)) {
        error_set(errp, "the medium of drive '%s' cannot be changed", blk_name(blk));
        return false;
    }
    BlockOpenFlags f = {.read_only = blk->attached && !blk->writable};
    if (blk->node) {
        f = blk->node->flags;
        f.probed = false;
    }
    if (read_only >= 0) {
        f.read_only = read_only;
    }
    BlockNode *n = node_open_filename(blk->graph, filename, format, &f, errp);
    if (!n) {
        return false;
    }
    bool ok = blk_open_tray(blk, force, errp);
    if (ok) {
        blk_remove_medium(blk);
        ok = blk_insert_medium(blk, n, errp) && blk_close_tray(blk, errp);
    }
    node_unref(n);
    return ok;
}

/* The guest moved the tray: what remains to be done here is to tell the world. */
void blk_eject(BlockBackend *blk, bool open)
{
    BlockGraph *g = blk->graph;
    if (g && g->tray_hook) {
        g->tray_hook(g->tray_hook_opaque, blk, open);
    }
}

void block_graph_set_tray_hook(BlockGraph *g, BlkTrayHook *hook, void *opaque)
{
    g->tray_hook = hook;
    g->tray_hook_opaque = opaque;
}

bool blk_resize(BlockBackend *blk, uint64_t size, Error **errp)
{
    if (!blk->node) {
        error_set(errp, "there is no medium in drive '%s'", blk_name(blk));
        return false;
    }
    /* Not only this backend's requests: whoever else uses the node waits as well. */
    BlockGraph *g = blk->graph;
    block_quiesce(g);
    int ret = node_truncate(blk->node, size, errp);
    block_unquiesce(g);
    for (GList *l = g->backends; ret == 0 && l; l = l->next) {
        BlockBackend *b = l->data;
        if (b->node == blk->node && b->ops && b->ops->resized) {
            LOOP_LOCK_GUARD(b->loop);
            b->ops->resized(b->dev);
        }
    }
    return ret == 0;
}

/* ---- errors ---- */

void blk_set_throttle(BlockBackend *blk, const ThrottleConfig *c, const char *group)
{
    ThrottleGroup *t = NULL;
    if (throttle_config_any(c)) {
        t = throttle_group_get(blk->graph, group ? group : blk_name(blk), true, NULL);
        throttle_group_set(t, c);
    }
    blk_drain_begin(blk);
    throttle_group_unref(blk->throttle);
    blk->throttle = t;
    blk_drain_end(blk);
}

void blk_set_on_error(BlockBackend *blk, BlkOnError rerror, BlkOnError werror)
{
    if (rerror != BLK_ON_ERROR_AUTO) {
        blk->rerror = rerror;
    }
    if (werror != BLK_ON_ERROR_AUTO) {
        blk->werror = werror;
    }
}

bool blk_apply_conf(BlockBackend *blk, const BlockConf *conf, Error **errp)
{
    if (conf->rerror == BLK_ON_ERROR_ENOSPC) {
        error_set(errp, "rerror=enospc makes no sense for reading: report, ignore or stop");
        return false;
    }
    blk_set_on_error(blk, (BlkOnError)conf->rerror, (BlkOnError)conf->werror);
    if (conf->write_cache != ON_OFF_AUTO) {
        blk_set_write_cache(blk, conf->write_cache == ON_OFF_ON);
    }
    return true;
}

BlkErrorAction blk_error_action(BlockBackend *blk, bool is_read, int error)
{
    BlkErrorAction a = BLK_ERROR_REPORT;
    switch (is_read ? blk->rerror : blk->werror) {
    case BLK_ON_ERROR_IGNORE:
        a = BLK_ERROR_IGNORE;
        break;
    case BLK_ON_ERROR_STOP:
        a = BLK_ERROR_STOP;
        break;
    case BLK_ON_ERROR_ENOSPC:
        a = error == ENOSPC ? BLK_ERROR_STOP : BLK_ERROR_REPORT;
        break;
    case BLK_ON_ERROR_AUTO:
    case BLK_ON_ERROR_REPORT:
        break;
    }
    if (a == BLK_ERROR_STOP) {
        blk->iostatus = error == ENOSPC ? IOSTATUS_NOSPACE : IOSTATUS_FAILED;
    }
    if (blk->graph && blk->graph->error_hook) {
        blk->graph->error_hook(blk->graph->error_hook_opaque, blk, a, is_read, error);
    }
    return a;
}

void blk_iostatus_reset(BlockBackend *blk)
{
    blk->iostatus = IOSTATUS_OK;
}

/* ---- geometry ---- */

void blk_guess_geometry(BlockBackend *blk, DiskGeometry *g, bool *lba_translation)
{
    uint8_t mbr[BLOCK_SECTOR];
    int64_t len = blk_length(blk);
    uint64_t sectors = len < 0 ? 0 : (uint64_t)len / BLOCK_SECTOR;
    bool large = false;
    *g = (DiskGeometry){(uint32_t)CLAMP(sectors / (16 * 63), 2, 16383), 16, 63};
    if (sectors && blk_pread(blk, 0, mbr, sizeof(mbr)) == 0 && mbr[510] == 0x55 &&
        mbr[511] == 0xaa) {
        for (int i = 0; i < 4; i++) {
            const uint8_t *p = mbr + 0x1be + 16 * i;
            uint32_t count = ld_le32(p + 12), heads = p[5] + 1u, spt = p[6] & 63u;
            if (!count || !p[5] || !spt) {
                continue;
            }
            uint64_t cyls = sectors / (heads * spt);
            if (cyls < 1 || cyls > 16383) {
                continue;
            }
            /* More heads than the interface has: the BIOS translated when it was made. */
            large = heads > 16;
            if (!large) {
                *g = (DiskGeometry){(uint32_t)cyls, heads, spt};
            }
            break;
        }
    }
    if (lba_translation) {
        *lba_translation = large || g->cylinders > 1024;
    }
}
