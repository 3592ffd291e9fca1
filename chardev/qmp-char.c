/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Management commands about character devices. */
#include "chardev/backend.h"
#include "qapi/qapi-commands.h"

#include <string.h>

static bool add_info(Object *obj, void *list)
{
    if (object_is_a(obj, TYPE_CHARDEV)) {
        Chardev *chr = (Chardev *)obj;
        QChardevInfo *i = g_new0(QChardevInfo, 1);
        i->label = g_strdup(obj->name);
        i->filename = g_strdup(chardev_filename(chr));
        for (unsigned k = 0; k < chr->n_ports; k++) {
            i->frontend_open |= chr->ports[k].fe != NULL;
        }
        g_ptr_array_add(list, i);
    }
    return true;
}

bool qmp_query_chardev(Object *root, GPtrArray **out, Error **errp)
{
    *out = g_ptr_array_new();
    object_each_child(object_container(root, "/chardevs"), add_info, *out);
    return true;
}

bool qmp_query_chardev_backends(Object *root, GPtrArray **out, Error **errp)
{
    g_autofree const char **names = chardev_backends();
    *out = g_ptr_array_new();
    for (unsigned i = 0; names[i]; i++) {
        QChardevBackendInfo *b = g_new0(QChardevBackendInfo, 1);
        b->name = g_strdup(names[i]);
        g_ptr_array_add(*out, b);
    }
    return true;
}

static void put_string(Json *o, const char *key, const char *v)
{
    if (v) {
        json_put_string(o, key, v);
    }
}

static void put_common(Json *o, const QChardevCommon *c)
{
    put_string(o, "logfile", c->logfile);
    if (c->has_logappend) {
        json_put_bool(o, "logappend", c->logappend);
    }
}

static bool put_socket(Json *o, const QChardevSocket *s, Error **errp)
{
    const struct {
        const char *key;
        bool has, value;
    } flags[] = {{"server", true, !s->has_server || s->server},
                 {"wait", s->has_wait, s->wait},
                 {"nodelay", s->has_nodelay, s->nodelay},
                 {"telnet", s->has_telnet, s->telnet}};
    for (unsigned i = 0; i < G_N_ELEMENTS(flags); i++) {
        if (flags[i].has) {
            json_put_bool(o, flags[i].key, flags[i].value);
        }
    }
    if (!s->has_wait) {
        json_put_bool(o, "wait", false); /* a manager must not hang here */
    }
    if (s->has_reconnect_ms) {
        json_put_int(o, "reconnect-ms", s->reconnect_ms);
    }
    if (s->has_server && !s->server) {
        json_remove(o, "wait");
    }
    if (s->addr->type == Q_SOCKET_ADDRESS_TYPE_UNIX) {
        const QUnixSocketAddress *u = s->addr->u.q_unix->data;
        json_put_string(o, "path", u->path);
        if (u->has_abstract) {
            json_put_bool(o, "abstract", u->abstract);
        }
        return true;
    }
    if (s->addr->type == Q_SOCKET_ADDRESS_TYPE_INET) {
        json_put_string(o, "host", s->addr->u.inet->data->host);
        json_put_string(o, "port", s->addr->u.inet->data->port);
        return true;
    }
    error_set(errp, "Socket addresses of type '%s' are not supported",
              QSocketAddressType_names[s->addr->type]);
    return false;
}

/* The flat options of the command line from the nested ones here. */
static Json *flatten(const QChardevBackend *b, Error **errp)
{
    g_autoptr(Json) o = json_object();
    json_put_string(o, "backend", QChardevBackendKind_names[b->type]);
    switch (b->type) {
    case Q_CHARDEV_BACKEND_KIND_FILE: {
        const QChardevFile *f = b->u.file->data;
        put_common(o, (const QChardevCommon *)f);
        json_put_string(o, "path", f->out);
        put_string(o, "input-path", f->in);
        if (f->has_append) {
            json_put_bool(o, "append", f->append);
        }
        break;
    }
    case Q_CHARDEV_BACKEND_KIND_SERIAL:
    case Q_CHARDEV_BACKEND_KIND_PIPE: {
        const QChardevHostdev *d =
            b->type == Q_CHARDEV_BACKEND_KIND_PIPE ? b->u.pipe->data : b->u.serial->data;
        put_common(o, (const QChardevCommon *)d);
        json_put_string(o, "path", d->device);
        break;
    }
    case Q_CHARDEV_BACKEND_KIND_SOCKET:
        put_common(o, (const QChardevCommon *)b->u.socket->data);
        if (!put_socket(o, b->u.socket->data, errp)) {
            return NULL;
        }
        break;
    case Q_CHARDEV_BACKEND_KIND_PTY:
        put_common(o, (const QChardevCommon *)b->u.pty->data);
        put_string(o, "path", b->u.pty->data->path);
        break;
    case Q_CHARDEV_BACKEND_KIND_STDIO:
        put_common(o, (const QChardevCommon *)b->u.stdio->data);
        if (b->u.stdio->data->has_signal) {
            json_put_bool(o, "signal", b->u.stdio->data->signal);
        }
        break;
    case Q_CHARDEV_BACKEND_KIND_RINGBUF:
    case Q_CHARDEV_BACKEND_KIND_MEMORY:
        put_common(o, (const QChardevCommon *)b->u.ringbuf->data);
        if (b->u.ringbuf->data->has_size) {
            json_put_int(o, "size", b->u.ringbuf->data->size);
        }
        break;
    default:
        put_common(o, b->u.null->data);
        break;
    }
    return g_steal_pointer(&o);
}

bool qmp_chardev_add(Object *root, const char *id, const QChardevBackend *backend,
                     QChardevReturn **out, Error **errp)
{
    g_autoptr(Json) o = flatten(backend, errp);
    Chardev *chr = o ? chardev_new(root, id, o, loop_current(), errp) : NULL;
    if (!chr) {
        return false;
    }
    *out = g_new0(QChardevReturn, 1);
    if (backend->type == Q_CHARDEV_BACKEND_KIND_PTY) {
        (*out)->pty = g_strdup(chardev_filename(chr) + strlen("pty:"));
    }
    return true;
}

bool qmp_chardev_remove(Object *root, const char *id, Error **errp)
{
    Chardev *chr = chardev_find(root, id, errp);
    if (!chr) {
        return false;
    }
    for (unsigned k = 0; k < chr->n_ports; k++) {
        if (chr->ports[k].fe) {
            error_set(errp, "Chardev '%s' is busy", id);
            return false;
        }
    }
    object_unparent(&chr->obj);
    return true;
}

bool qmp_chardev_send_break(Object *root, const char *id, Error **errp)
{
    Chardev *chr = chardev_find(root, id, errp);
    if (chr) {
        for (unsigned k = 0; k < chr->n_ports; k++) {
            char_port_event(chr, k, CHAR_EVENT_BREAK);
        }
    }
    return chr != NULL;
}

bool qmp_ringbuf_read(Object *root, const char *device, int64_t size, bool has_format,
                      QDataFormat format, char **out, Error **errp)
{
    Chardev *chr = chardev_find(root, device, errp);
    if (!chr) {
        return false;
    }
    if (size <= 0) {
        error_set(errp, "size must be greater than zero");
        return false;
    }
    g_autoptr(GByteArray) data = chardev_ringbuf_read(chr, (size_t)size);
    if (!data) {
        error_set(errp, "%s is not a ringbuf device", device);
        return false;
    }
    *out = has_format && format == Q_DATA_FORMAT_BASE64
               ? g_base64_encode(data->data, data->len)
               : g_utf8_make_valid((const char *)data->data, data->len);
    return true;
}
