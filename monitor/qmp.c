/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP sessions: greeting, negotiation, commands, events. */
#include "config.h"
#include "monitor/internal.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi.h"
#include "util/trace.h"

#include <string.h>

TRACE_EVENT(qmp_command, "%s")

static void send_json(Monitor *mon, const Json *j)
{
    g_autofree char *text = json_print(j, mon->pretty);
    g_autofree char *line = g_strconcat(text, "\r\n", NULL);
    char_write_all(&mon->fe, (const uint8_t *)line, strlen(line));
}

static Json *version(void)
{
    g_autoptr(Error) err = NULL;
    QVersionInfo *v = NULL;
    qmp_query_version(NULL, &v, &err);
    Json *j = QVersionInfo_to_json(v);
    QVersionInfo_free(v);
    return j;
}

static void greet(Monitor *mon)
{
    g_autoptr(Json) hello = json_object();
    Json *q = json_object();
    json_put(q, "version", version());
    json_put(q, "capabilities", json_array()); /* commands run one after the other: no oob */
    json_put(hello, "QMP", q);
    send_json(mon, hello);
}

void qmp_session_event(Monitor *mon, const char *name, const Json *data)
{
    g_autoptr(Json) ev = json_object();
    Json *ts = json_object();
    int64_t now = g_get_real_time();
    json_put_int(ts, "seconds", now / 1000000);
    json_put_int(ts, "microseconds", now % 1000000);
    json_put(ev, "timestamp", ts);
    json_put_string(ev, "event", name);
    if (data) {
        json_put(ev, "data", json_ref((Json *)data));
    }
    send_json(mon, ev);
}

static void answer_error(Monitor *mon, const Json *id, Error *err)
{
    g_autoptr(Json) reply = json_object();
    Json *e = json_object();
    json_put_string(e, "class", error_class_name(error_class(err)));
    json_put_string(e, "desc", error_message(err));
    json_put(reply, "error", e);
    if (id) {
        json_put(reply, "id", json_ref((Json *)id));
    }
    send_json(mon, reply);
    error_free(err);
}

/* The command's name, after the shape of the request was checked. */
static const char *check_request(const Json *req, Error **errp)
{
    const char *name = NULL;
    if (json_type(req) != JSON_OBJECT) {
        error_set(errp, "QMP input must be a JSON object");
        return NULL;
    }
    for (size_t i = 0; i < json_length(req); i++) {
        const char *key = json_key_at(req, i);
        const Json *v = json_value_at(req, i);
        if (!strcmp(key, "execute")) {
            name = json_get_string(v);
            if (!name) {
                error_set(errp, "QMP input member 'execute' must be a string");
                return NULL;
            }
        } else if (!strcmp(key, "exec-oob")) {
            error_set(errp, "Out-of-band execution ('exec-oob') is not supported");
            return NULL;
        } else if (!strcmp(key, "arguments")) {
            if (json_type(v) != JSON_OBJECT) {
                error_set(errp, "QMP input member 'arguments' must be an object");
                return NULL;
            }
        } else if (strcmp(key, "id")) {
            error_set(errp, "QMP input member '%s' is unexpected", key);
            return NULL;
        }
    }
    if (!name) {
        error_set(errp, "QMP input lacks member 'execute'");
    }
    return name;
}

static const QmpCommand *find_command(Monitor *mon, const char *name, Error **errp)
{
    bool negotiation = !strcmp(name, "qmp_capabilities");
    if (!mon->negotiated && !negotiation) {
        error_set_class(errp, ERROR_CLASS_COMMAND_NOT_FOUND,
                        "Expecting capabilities negotiation with 'qmp_capabilities'");
        return NULL;
    }
    if (mon->negotiated && negotiation) {
        error_set_class(errp, ERROR_CLASS_COMMAND_NOT_FOUND,
                        "Capabilities negotiation is already complete, command ignored");
        return NULL;
    }
    const QmpCommand *cmd = qmp_command_find(name);
    const MonitorSubset *subset = monitor_subset(mon->root);
    if (cmd && subset && !subset->allowed(name)) {
        cmd = NULL;
    }
    if (!cmd) {
        error_set_class(errp, ERROR_CLASS_COMMAND_NOT_FOUND, "The command %s has not been found",
                        name);
    }
    return cmd && monitor_allows(mon->root, cmd, errp) ? cmd : NULL;
}

static void request(void *opaque, Json *value, Error *err)
{
    Monitor *mon = opaque;
    g_autoptr(Json) req = value;
    if (!req) {
        answer_error(mon, NULL, err);
        return;
    }
    Json *id = json_type(req) == JSON_OBJECT ? json_get(req, "id") : NULL;
    const char *name = check_request(req, &err);
    const QmpCommand *cmd = name ? find_command(mon, name, &err) : NULL;
    Json *ret = NULL;
    if (cmd) {
        trace(qmp_command, name);
    }
    const MonitorSubset *subset = monitor_subset(mon->root);
    if (cmd && subset && subset->own(subset->opaque, name)) {
        ret = json_object();
    } else if (!cmd || !cmd->run(mon->root, json_get(req, "arguments"), &ret, &err)) {
        answer_error(mon, id, err);
        return;
    }
    if (!strcmp(name, "qmp_capabilities")) {
        mon->negotiated = true;
    }
    g_autoptr(Json) reply = json_object();
    json_put(reply, "return", ret);
    if (id) {
        json_put(reply, "id", json_ref(id));
    }
    send_json(mon, reply);
}

static size_t can_receive(void *opaque)
{
    return 4096;
}

static void receive(void *opaque, const uint8_t *buf, size_t len)
{
    Monitor *mon = opaque;
    json_stream_feed(mon->parser, (const char *)buf, len);
}

static void event(void *opaque, CharEvent ev)
{
    Monitor *mon = opaque;
    if (ev == CHAR_EVENT_OPENED) {
        mon->negotiated = false;
        json_stream_free(mon->parser);
        mon->parser = json_stream_new(request, mon);
        greet(mon);
    } else if (ev == CHAR_EVENT_CLOSED) {
        mon->negotiated = false;
    }
}

const CharHandlers qmp_handlers = {can_receive, receive, event};

void qmp_session_init(Monitor *mon)
{
    mon->parser = json_stream_new(request, mon);
}

void qmp_session_fini(Monitor *mon)
{
    json_stream_free(mon->parser);
}

/* ---- commands about the interface itself ---- */
bool qmp_qmp_capabilities(Object *root, GArray *enable, Error **errp)
{
    if (enable && enable->len) {
        error_set(errp, "Capability '%s' is not available",
                  QMPCapability_names[g_array_index(enable, int64_t, 0)]);
        return false;
    }
    return true;
}

bool qmp_query_version(Object *root, QVersionInfo **out, Error **errp)
{
    /* Managers choose what they use by this number: the interface's, see docs/qmp.md. */
    *out = g_new0(QVersionInfo, 1);
    (*out)->qemu = g_new0(QVersionTriple, 1);
    (*out)->qemu->major = 11;
    (*out)->qemu->minor = 1;
    (*out)->qemu->micro = 3;
    (*out)->package = g_strdup("Rhea " RHEA_VERSION);
    return true;
}

bool qmp_query_commands(Object *root, GPtrArray **out, Error **errp)
{
    *out = g_ptr_array_new();
    const MonitorSubset *subset = monitor_subset(root);
    for (const QmpCommand *c = qmp_commands; c->name; c++) {
        if (subset && !subset->allowed(c->name)) {
            continue;
        }
        QCommandInfo *i = g_new0(QCommandInfo, 1);
        i->name = g_strdup(c->name);
        g_ptr_array_add(*out, i);
    }
    return true;
}

bool qmp_query_qmp_schema(Object *root, Json **out, Error **errp)
{
    *out = qmp_schema();
    return true;
}

bool qmp_human_monitor_command(Object *root, const char *command_line, bool has_cpu_index,
                               int64_t cpu_index, char **out, Error **errp)
{
    *out = monitor_human_command(root, command_line, has_cpu_index ? cpu_index : -1);
    return true;
}
