/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -object iothread: a device loop with a thread of its own. */
#include "block/iothread.h"

#include "block/backend.h"
#include "block/job.h"

#include <sys/syscall.h>
#include <unistd.h>

static bool get_none(Object *obj, const Property *p, const Json *v, Error **errp)
{
    error_set(errp, "'%s' cannot be set", p->name);
    return false;
}

static Json *get_tid(Object *obj, const Property *p)
{
    return json_int(((IoThread *)obj)->tid);
}

static const Property iothread_props[] = {
    PROP_FIELD(IoThread, max_batch, PROP_U32, "aio-max-batch",
               "requests handed to the kernel at once (0: the engine decides)", .max = INT32_MAX),
    {.name = "thread-id",
     .kind = PROP_CUSTOM,
     .help = "the thread's id on the host",
     .read_only = true,
     .set = get_none,
     .get = get_tid,
     .type_name = "int"},
    {0},
};

static void note_tid(void *opaque)
{
    ((IoThread *)opaque)->tid = (int)syscall(SYS_gettid);
}

static bool iothread_complete(Object *obj, Error **errp)
{
    IoThread *io = (IoThread *)obj;
    BlockGraph *g = block_graph_of(obj->scope ? obj->scope : obj);
    io->loop = loop_new(obj->name ? obj->name : "iothread", loop_clocks(g->control), errp);
    if (!io->loop || !loop_start_thread(io->loop, errp)) {
        return false;
    }
    loop_set_aio_batch(io->loop, io->max_batch);
    loop_call(io->loop, note_tid, io);
    return true;
}

static void iothread_finalize(Object *obj)
{
    loop_free(((IoThread *)obj)->loop);
}

static void in_use(const Object *obj, Error **errp, const char *kind, const char *name)
{
    error_set(errp, "object '%s' is in use, can not be deleted", obj->name);
    error_hint(errp, "%s '%s' runs in this thread", kind, name);
}

/* Devices, exports and jobs that run there need it; nodes that were left there go home. */
static bool iothread_may_delete(Object *obj, Error **errp)
{
    EventLoop *loop = ((IoThread *)obj)->loop;
    BlockGraph *g = block_graph_of(obj);
    for (GList *l = g->backends; l; l = l->next) {
        const BlockBackend *blk = l->data;
        if (blk->loop == loop) {
            in_use(obj, errp, "the device or export",
                   blk_user(blk) ? blk_user(blk) : blk_name(blk));
            return false;
        }
    }
    for (GList *l = g->jobs; l; l = l->next) {
        const Job *job = l->data;
        if (job->loop == loop) {
            in_use(obj, errp, "the job", job->id ? job->id : job->drv->type);
            return false;
        }
    }
    for (GList *l = g->nodes; l; l = l->next) {
        BlockNode *n = l->data;
        if (n->loop == loop) {
            node_set_loop(n, g->loop);
        }
    }
    return true;
}

IoThread *iothread_find(Object *any, const char *id, Error **errp)
{
    g_autofree char *path = g_strconcat("/objects/", id, NULL);
    Object *o = object_resolve(object_root(any), path);
    if (!o || !object_is_a(o, TYPE_IOTHREAD)) {
        error_set(errp, "iothread \"%s\" not found", id);
        return NULL;
    }
    return (IoThread *)o;
}

OBJECT_TYPE(iothread_type, .name = TYPE_IOTHREAD, .parent = "object",
            .help = "a thread for devices (iothread=ID)", .size = sizeof(IoThread),
            .props = iothread_props, .complete = iothread_complete, .finalize = iothread_finalize,
            .may_delete = iothread_may_delete, .user_creatable = true, .container = "/objects")
