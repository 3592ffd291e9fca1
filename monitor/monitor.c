/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The list of a machine's sessions. */
#include "monitor/internal.h"
#include "qapi/visit.h"

#include <assert.h>
#include <string.h>

#define TYPE_MONITOR_REGISTRY "monitor-registry"
typedef struct Registry {
    Object obj;
    GPtrArray *monitors;
    bool refuse_deprecated, refuse_unstable;
    const MonitorSubset *subset;
} Registry;

static void registry_init(Object *obj)
{
    ((Registry *)obj)->monitors = g_ptr_array_new();
}

static void registry_finalize(Object *obj)
{
    g_ptr_array_free(((Registry *)obj)->monitors, TRUE);
}

OBJECT_TYPE(registry_type, .name = TYPE_MONITOR_REGISTRY, .parent = "object",
            .help = "the monitors of a machine", .size = sizeof(Registry), .init = registry_init,
            .finalize = registry_finalize)

static Registry *registry(Object *root)
{
    Object *r = object_resolve(root, "/monitors");
    if (!r) {
        r = object_new(TYPE_MONITOR_REGISTRY);
        object_add_child(root, "monitors", r);
    }
    return (Registry *)r;
}

void monitor_set_policy(Object *root, bool refuse_deprecated, bool refuse_unstable)
{
    Registry *r = registry(root);
    r->refuse_deprecated = refuse_deprecated;
    r->refuse_unstable = refuse_unstable;
}

void monitor_set_subset(Object *root, const MonitorSubset *s)
{
    registry(root)->subset = s;
}

const MonitorSubset *monitor_subset(Object *root)
{
    return registry(root)->subset;
}

bool monitor_allows(Object *root, const QmpCommand *cmd, Error **errp)
{
    Registry *r = registry(root);
    const char *what = cmd->deprecated && r->refuse_deprecated ? "Deprecated"
                       : cmd->unstable && r->refuse_unstable   ? "Unstable"
                                                               : NULL;
    if (what) {
        error_set_class(errp, ERROR_CLASS_COMMAND_NOT_FOUND, "%s command %s disabled by policy",
                        what, cmd->name);
    }
    return !what;
}

Monitor *monitor_new(Object *root, Chardev *chr, MonitorMode mode, bool pretty, EventLoop *control,
                     Error **errp)
{
    Monitor *mon = g_new0(Monitor, 1);
    mon->root = root;
    mon->mode = mode;
    mon->pretty = pretty;
    mon->loop = control;
    if (mode == MONITOR_CONTROL) {
        qmp_session_init(mon);
    } else {
        hmp_session_init(mon);
    }
    if (!char_attach(&mon->fe, chr, mode == MONITOR_CONTROL ? &qmp_handlers : &hmp_handlers, mon,
                     control, errp)) {
        mode == MONITOR_CONTROL ? qmp_session_fini(mon) : hmp_session_fini(mon);
        g_free(mon);
        return NULL;
    }
    g_ptr_array_add(registry(root)->monitors, mon);
    return mon;
}

static const QapiEvent *find_event(const char *name)
{
    for (const QapiEvent *e = qapi_events; e->name; e++) {
        if (!strcmp(e->name, name)) {
            return e;
        }
    }
    return NULL;
}

void monitor_event(Object *root, const char *name, Json *data)
{
    const QapiEvent *e = find_event(name);
    assert(e); /* the schema knows every event */
#ifndef NDEBUG
    Error *err = NULL;
    if (e->data ? !qapi_check(e->data, data, &err) : data != NULL) {
        report_error("event %s does not fit the schema: %s", name,
                     err ? error_message(err) : "it has data");
        error_free(err);
    }
#endif
    GPtrArray *all = registry(root)->monitors;
    for (unsigned i = 0; i < all->len; i++) {
        Monitor *mon = all->pdata[i];
        if (mon->mode == MONITOR_CONTROL && mon->negotiated) {
            qmp_session_event(mon, name, data);
        }
    }
    json_unref(data);
}

void monitor_close_all(Object *root)
{
    GPtrArray *all = registry(root)->monitors;
    for (unsigned i = 0; i < all->len; i++) {
        Monitor *mon = all->pdata[i];
        char_detach(&mon->fe);
        mon->mode == MONITOR_CONTROL ? qmp_session_fini(mon) : hmp_session_fini(mon);
        g_free(mon);
    }
    g_ptr_array_set_size(all, 0);
}
