/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Management commands about disks. */
#include "block/backend.h"
#include "block/image.h"
#include "block/job.h"
#include "block/throttle.h"
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
    *out = block_query(block_graph_of(root), has_flat && flat);
    return true;
}

bool qmp_query_named_block_nodes(Object *root, bool has_flat, bool flat, Json **out, Error **errp)
{
    *out = block_query_named_nodes(block_graph_of(root), has_flat && flat);
    return true;
}

bool qmp_query_blockstats(Object *root, bool has_query_nodes, bool query_nodes, Json **out,
                          Error **errp)
{
    *out = block_query_stats(block_graph_of(root), has_query_nodes && query_nodes);
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
    for (GList *l = block_graph_of(root)->backends; l; l = l->next) {
        BlockBackend *b = l->data;
        if (b->attached && (!g_strcmp0(b->qdev, id) || !g_strcmp0(b->dev_path, id))) {
            return b; /* by the name that query-block gives it */
        }
    }
    Device *dev = device_find(machine_of(root), id, errp);
    if (!dev) {
        return NULL;
    }
    g_autoptr(Json) drive = object_get(&dev->obj, "drive", NULL);
    const char *path = drive ? json_get_string(drive) : NULL;
    Object *blk = path && *path ? object_resolve(root, path) : NULL;
    for (GList *l = block_graph_of(root)->backends; l; l = l->next) {
        BlockBackend *b = l->data;
        if (&b->obj == blk || (b->attached && b->dev == dev)) {
            return b;
        }
    }
    error_set(errp, "Device '%s' has no drive", id);
    return NULL;
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

bool qmp_blockdev_reopen(Object *root, const Json *args, Error **errp)
{
    return block_reopen(block_graph_of(root), json_get(args, "options"), errp);
}

/* ---- trays ---- */

bool qmp_blockdev_open_tray(Object *root, const char *device, const char *id, bool has_force,
                            bool force, Error **errp)
{
    BlockBackend *blk = find(root, id, device, errp);
    return blk && blk_open_tray(blk, has_force && force, errp);
}

bool qmp_blockdev_close_tray(Object *root, const char *device, const char *id, Error **errp)
{
    BlockBackend *blk = find(root, id, device, errp);
    return blk && blk_close_tray(blk, errp);
}

static bool tray_open(BlockBackend *blk, const char *id, Error **errp)
{
    if (!blk_has_tray(blk)) {
        error_set(errp, "Device '%s' is not removable", id);
        return false;
    }
    if (blk->attached && blk->ops->tray_open && !blk->ops->tray_open(blk->dev)) {
        error_set(errp, "Tray of device '%s' is not open", id);
        return false;
    }
    return true;
}

bool qmp_blockdev_remove_medium(Object *root, const char *id, Error **errp)
{
    BlockBackend *blk = find(root, id, NULL, errp);
    if (!blk || !tray_open(blk, id, errp) || (blk->node && !node_check_free(blk->node, errp))) {
        return false;
    }
    blk_remove_medium(blk);
    return true;
}

bool qmp_blockdev_insert_medium(Object *root, const char *id, const char *node_name, Error **errp)
{
    BlockGraph *g = block_graph_of(root);
    BlockBackend *blk = find(root, id, NULL, errp);
    if (!blk || !tray_open(blk, id, errp)) {
        return false;
    }
    BlockNode *n = block_node_find(g, node_name);
    if (!n) {
        error_set(errp, "Node '%s' not found", node_name);
        return false;
    }
    return blk_insert_medium(blk, n, errp);
}

/* ---- limits ---- */

bool qmp_block_set_write_threshold(Object *root, const char *node_name, uint64_t threshold,
                                   Error **errp)
{
    BlockNode *n = block_node_find(block_graph_of(root), node_name);
    if (!n) {
        error_set(errp, "Device '%s' not found", node_name);
        return false;
    }
    LOOP_LOCK_GUARD(n->loop);
    n->write_threshold = threshold;
    return true;
}

bool qmp_block_latency_histogram_set(Object *root, const Json *args, Error **errp)
{
    BlockBackend *blk = find(root, json_get_str(args, "id"), NULL, errp);
    const Json *all = json_get(args, "boundaries"), *rd = json_get(args, "boundaries-read"),
               *wr = json_get(args, "boundaries-write"),
               *flush = json_get(args, "boundaries-flush");
    g_autoptr(Json) none = json_array();
    if (!all && !rd && !wr && !flush) {
        all = none;
    }
    return blk && histogram_check(all, "boundaries", errp) &&
           blk_set_histograms(blk, rd ? rd : all, wr ? wr : all, flush ? flush : all, errp);
}

bool qmp_block_set_io_throttle(Object *root, const Json *args, Error **errp)
{
    BlockBackend *blk = find(root, json_get_str(args, "id"), json_get_str(args, "device"), errp);
    ThrottleConfig c;
    throttle_config_init(&c);
    for (int i = 0; blk && i < THROTTLE_LIMITS; i++) {
        const char *name = throttle_qmp_names[i];
        g_autofree char *max = g_strconcat(name, "_max", NULL);
        g_autofree char *length = g_strconcat(max, "_length", NULL);
        json_get_uint(json_get(args, name), &c.limit[i].avg);
        if (json_get(args, max)) {
            json_get_uint(json_get(args, max), &c.limit[i].max);
        }
        if (json_get(args, length)) {
            json_get_uint(json_get(args, length), &c.limit[i].length);
        }
        int64_t v;
        if ((json_get_int(json_get(args, name), &v) && v < 0) ||
            (json_get(args, max) && json_get_int(json_get(args, max), &v) && v < 0)) {
            error_set(errp, "bps/iops/max values must be within [0, 1000000000000000]");
            return false;
        }
    }
    if (!blk) {
        return false;
    }
    if (json_get(args, "iops_size")) {
        json_get_uint(json_get(args, "iops_size"), &c.iops_size);
    }
    if (!throttle_config_check(&c, errp)) {
        return false;
    }
    const char *group = json_get_str(args, "group");
    if (!group && blk->throttle) {
        group = throttle_group_name(blk->throttle);
    }
    blk_set_throttle(blk, &c, group ? group : blk->dev_name);
    return true;
}

/* ---- blockdev-create ---- */

typedef struct CreateJob {
    Job job;
    const BlockDriver *drv;
    BlockNode *file;
    Json *options;
} CreateJob;

/* What blocks does so on worker threads: the monitor goes on. */
static int create_run(Job *job, Error **errp)
{
    CreateJob *c = (CreateJob *)job;
    g_autoptr(BlockOpts) o = block_opts_new(c->options, "blockdev-create");
    return c->drv->create(job->graph, c->file, o, errp) ? 0 : -EIO;
}

static void create_clean(Job *job)
{
    CreateJob *c = (CreateJob *)job;
    if (c->file) {
        node_release(c->file, job->graph);
        if (!c->file->users->len) {
            node_set_loop(c->file, job->graph->loop);
        }
        node_unref(c->file);
    }
    json_unref(c->options);
}

static const JobDriver create_job = {
    .type = "create",
    .size = sizeof(CreateJob),
    .run = create_run,
    .clean = create_clean,
};

/* QMP's names of creation options are the tools', except for these. */
static void translate_options(Json *o)
{
    static const char *const names[][2] = {{"version", "compat"},
                                           {"backing-file", "backing_file"},
                                           {"backing-fmt", "backing_fmt"},
                                           {"cluster-size", "cluster_size"},
                                           {"refcount-bits", "refcount_bits"},
                                           {"lazy-refcounts", "lazy_refcounts"},
                                           {"compression-type", "compression_type"},
                                           {"extended-l2", "extended_l2"},
                                           {"data-file-raw", "data_file_raw"},
                                           {"log-size", "log_size"},
                                           {"block-size", "block_size"}};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        Json *v = json_get(o, names[i][0]);
        if (v) {
            const char *s = json_get_string(v);
            if (i == 0 && s) {
                json_put_string(o, "compat", !strcmp(s, "v2") ? "0.10" : "1.1");
            } else {
                json_put(o, names[i][1], json_ref(v));
            }
            json_remove(o, names[i][0]);
        }
    }
}

/* The node moves to the control loop, where the job runs. */
static bool take_file(CreateJob *c, BlockNode *file, Error **errp)
{
    EventLoop *control = c->job.graph->control;
    BlockGraph *g = c->job.graph; /* the user that create() expects */
    if (!node_check_free(file, errp) || !node_take(file, g, c->job.id, true, false, errp)) {
        return false;
    }
    if (file->users->len > 1 && file->loop != control) {
        node_release(file, g);
        error_set(errp, "block node '%s' is in use: no image can be made in it", file->name);
        return false;
    }
    c->file = node_ref(file);
    job_claim(&c->job, file);
    node_set_loop(file, control);
    return true;
}

bool qmp_blockdev_create(Object *root, const char *job_id, const Json *options, Error **errp)
{
    BlockGraph *g = block_graph_of(root);
    const char *driver = json_type(options) == JSON_OBJECT ? json_get_str(options, "driver") : NULL;
    const BlockDriver *drv = driver ? block_driver_find(g, driver) : NULL;
    if (!drv || !drv->create) {
        error_set(errp, "Block driver '%s' does not support image creation", driver ? driver : "");
        return false;
    }
    BlockNode *file = NULL;
    if (!drv->protocol) {
        const char *name = json_get_str(options, "file");
        file = name ? block_node_find(g, name) : NULL;
        if (!file) {
            error_set(errp, "'file' must be the name of a node, not '%s'", name ? name : "");
            return false;
        }
    }
    JobParams p = {.id = job_id, .manual_dismiss = true, .loop = g->control};
    Job *job = job_new(g, &create_job, NULL, &p, errp);
    if (!job) {
        return false;
    }
    CreateJob *c = (CreateJob *)job;
    c->drv = drv;
    c->options = json_copy(options);
    json_remove(c->options, "driver");
    if (file) {
        json_remove(c->options, "file");
        if (!take_file(c, file, errp)) {
            create_clean(job);
            job_discard(job);
            return false;
        }
    }
    translate_options(c->options);
    job_start(job);
    return true;
}
