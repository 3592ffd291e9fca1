/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -object iothread: a device loop with a thread of its own. */
#include "hw/core/iothread.h"

#include "hw/core/machine.h"

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
    io->loop = loop_new(obj->name ? obj->name : "iothread", machine_of(obj)->clocks, errp);
    if (!io->loop || !loop_start_thread(io->loop, errp)) {
        return false;
    }
    loop_call(io->loop, note_tid, io);
    return true;
}

static void iothread_finalize(Object *obj)
{
    loop_free(((IoThread *)obj)->loop);
}

OBJECT_TYPE(iothread_type, .name = TYPE_IOTHREAD, .parent = "object",
            .help = "a thread for devices (iothread=ID)", .size = sizeof(IoThread),
            .props = iothread_props, .complete = iothread_complete, .finalize = iothread_finalize,
            .user_creatable = true, .container = "/objects")
