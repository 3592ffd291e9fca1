/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all character backends share: ports, delivery of input, output that waits. */
#include "chardev/backend.h"
#include "util/fault.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

/* ---- the control loop's side ---- */
static void control_update(void *opaque)
{
    Chardev *chr = opaque;
    pthread_mutex_lock(&chr->lock);
    chr->update_queued = false;
    pthread_mutex_unlock(&chr->lock);
    chardev_class(chr)->update(chr);
}

/* Lock held. */
static void queue_update(Chardev *chr)
{
    if (!chr->update_queued && chardev_class(chr)->update) {
        chr->update_queued = true;
        loop_defer(chr->loop, control_update, chr);
    }
}

/* ---- delivery to a frontend, on its loop ---- */
static bool next_event(CharPort *p, CharEvent *ev)
{
    pthread_mutex_lock(&p->chr->lock);
    bool any = p->n_events > 0;
    if (any) {
        *ev = p->events[0];
        memmove(p->events, p->events + 1, --p->n_events);
    }
    pthread_mutex_unlock(&p->chr->lock);
    return any;
}

static void deliver(CharPort *p)
{
    Chardev *chr = p->chr;
    pthread_mutex_lock(&chr->lock);
    p->scheduled = false;
    pthread_mutex_unlock(&chr->lock);
    CharEvent ev;
    while (p->fe && next_event(p, &ev)) {
        if (p->fe->handlers->event) {
            p->fe->handlers->event(p->fe->opaque, ev);
        }
    }
    while (p->fe) {
        const CharHandlers *h = p->fe->handlers;
        size_t room = h->receive ? h->can_receive ? h->can_receive(p->fe->opaque) : 512 : SIZE_MAX;
        uint8_t buf[512];
        pthread_mutex_lock(&chr->lock);
        size_t n = MIN(MIN(room, sizeof(buf)), p->in_len - p->in_pos);
        memcpy(buf, p->in + p->in_pos, n);
        p->in_pos += n;
        if (n && p->in_pos == p->in_len) {
            p->in_pos = p->in_len = 0;
            queue_update(chr);
        }
        pthread_mutex_unlock(&chr->lock);
        if (!n) {
            break;
        }
        if (h->receive) {
            h->receive(p->fe->opaque, buf, n);
        }
    }
}

static void deliver_deferred(void *opaque)
{
    deliver(opaque);
}

/* Lock held. Deliveries are always deferred, so that no callback runs inside another. */
static void schedule(CharPort *p)
{
    if (p->fe && !p->scheduled) {
        p->scheduled = true;
        loop_defer(p->fe->loop, deliver_deferred, p);
    }
}

/* ---- for backends ---- */
size_t char_input_room(Chardev *chr, unsigned port)
{
    CharPort *p = &chr->ports[port];
    pthread_mutex_lock(&chr->lock);
    size_t room = p->fe ? sizeof(p->in) - p->in_len : 0;
    pthread_mutex_unlock(&chr->lock);
    return room;
}

void char_input(Chardev *chr, unsigned port, const uint8_t *buf, size_t len)
{
    CharPort *p = &chr->ports[port];
    pthread_mutex_lock(&chr->lock);
    len = MIN(len, sizeof(p->in) - p->in_len);
    memcpy(p->in + p->in_len, buf, len);
    p->in_len += len;
    bool here = p->fe && p->fe->loop == chr->loop && loop_is_current(chr->loop);
    if (!here) {
        schedule(p);
    }
    pthread_mutex_unlock(&chr->lock);
    if (here) {
        deliver(p);
    }
}

static void port_event_locked(CharPort *p, CharEvent ev)
{
    if (!p->fe) {
        return;
    }
    if (ev == CHAR_EVENT_MUX_OUT && p->n_events &&
        p->events[p->n_events - 1] == CHAR_EVENT_MUX_IN) {
        p->n_events--; /* it came and went before anybody looked */
        return;
    }
    if (p->n_events < sizeof(p->events)) {
        p->events[p->n_events++] = ev;
    }
    schedule(p);
}

void char_port_event(Chardev *chr, unsigned port, CharEvent ev)
{
    pthread_mutex_lock(&chr->lock);
    port_event_locked(&chr->ports[port], ev);
    pthread_mutex_unlock(&chr->lock);
}

void char_set_open(Chardev *chr, bool open)
{
    pthread_mutex_lock(&chr->lock);
    if (chr->open != open) {
        chr->open = open;
        if (!open) {
            g_byte_array_set_size(chr->out, 0);
        }
        for (unsigned i = 0; i < chr->n_ports; i++) {
            port_event_locked(&chr->ports[i], open ? CHAR_EVENT_OPENED : CHAR_EVENT_CLOSED);
        }
    }
    pthread_mutex_unlock(&chr->lock);
    if (!open) {
        char_writable(chr); /* whoever waited for room has it: everything is lost now */
    }
}

static void call_writable(void *opaque)
{
    CharFrontend *fe = opaque;
    void (*fn)(void *) = fe->writable;
    fe->writable = NULL;
    if (fn) {
        fn(fe->writable_opaque);
    }
}

/* Writes what waits. Lock held. true: nothing is left. */
static bool flush_out(Chardev *chr)
{
    if (chr->out->len) {
        size_t n = chr->open ? chardev_class(chr)->write(chr, chr->out->data, chr->out->len)
                             : chr->out->len;
        if (n) {
            g_byte_array_remove_range(chr->out, 0, n);
        }
    }
    return chr->out->len == 0;
}

void char_writable(Chardev *chr)
{
    pthread_mutex_lock(&chr->lock);
    if (flush_out(chr)) {
        chr->want_write = false;
        for (unsigned i = 0; i < chr->n_ports; i++) {
            CharFrontend *fe = chr->ports[i].fe;
            if (fe && fe->writable) {
                loop_defer(fe->loop, call_writable, fe);
            }
        }
    }
    queue_update(chr);
    pthread_mutex_unlock(&chr->lock);
}

void char_set_filename(Chardev *chr, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_free(chr->filename);
    chr->filename = g_strdup_vprintf(fmt, ap);
    va_end(ap);
}

/* ---- for frontends ---- */
bool char_attach(CharFrontend *fe, Chardev *chr, const CharHandlers *h, void *opaque,
                 EventLoop *loop, Error **errp)
{
    *fe = (CharFrontend){.handlers = h, .opaque = opaque, .loop = loop};
    if (!chr) {
        return true;
    }
    if (fault_here("char_attach", errp)) {
        return false;
    }
    pthread_mutex_lock(&chr->lock);
    unsigned i = 0;
    while (i < chr->n_ports && chr->ports[i].fe) {
        i++;
    }
    if (i == chr->n_ports) {
        pthread_mutex_unlock(&chr->lock);
        error_set(errp, "The character device '%s' is in use already", chr->obj.name);
        error_hint(errp,
                   chr->n_ports > 1 ? "a mux has room for %u users"
                                    : "mux=on lets several share it (at most %u)",
                   CHAR_MAX_PORTS);
        return false;
    }
    CharPort *p = &chr->ports[i];
    p->fe = fe;
    p->in_pos = p->in_len = p->n_events = 0;
    fe->chr = chr;
    fe->tag = i;
    object_ref(&chr->obj);
    if (chardev_class(chr)->attached) {
        chardev_class(chr)->attached(chr, i);
    }
    if (chr->open) {
        port_event_locked(p, CHAR_EVENT_OPENED);
    }
    queue_update(chr);
    pthread_mutex_unlock(&chr->lock);
    return true;
}

void char_detach(CharFrontend *fe)
{
    Chardev *chr = fe->chr;
    if (!chr) {
        return;
    }
    loop_lock(fe->loop);
    pthread_mutex_lock(&chr->lock);
    CharPort *p = &chr->ports[fe->tag];
    p->fe = NULL;
    p->scheduled = false;
    p->in_pos = p->in_len = 0;
    fe->chr = NULL;
    fe->writable = NULL;
    queue_update(chr);
    pthread_mutex_unlock(&chr->lock);
    loop_defer_cancel(fe->loop, p);
    loop_defer_cancel(fe->loop, fe);
    loop_unlock(fe->loop);
    object_unref(&chr->obj);
}

static void write_log(Chardev *chr, const uint8_t *buf, size_t len)
{
    while (chr->log_fd >= 0 && len) {
        ssize_t n = write(chr->log_fd, buf, len);
        if (n <= 0) {
            if (n < 0 && errno == EINTR) {
                continue;
            }
            return; /* a full disk must not stop the guest's console */
        }
        buf += n;
        len -= (size_t)n;
    }
}

size_t char_write(CharFrontend *fe, const uint8_t *buf, size_t len)
{
    Chardev *chr = fe->chr;
    if (!chr || !len) {
        return len;
    }
    pthread_mutex_lock(&chr->lock);
    size_t n = len;
    if (chr->open) {
        n = flush_out(chr) ? chardev_class(chr)->write(chr, buf, len) : 0;
        if (n < len) {
            chr->want_write = true;
            queue_update(chr);
        }
    }
    write_log(chr, buf, n);
    pthread_mutex_unlock(&chr->lock);
    return n;
}

void char_write_all(CharFrontend *fe, const uint8_t *buf, size_t len)
{
    size_t n = char_write(fe, buf, len);
    Chardev *chr = fe->chr;
    if (n == len || !chr) {
        return;
    }
    pthread_mutex_lock(&chr->lock);
    size_t room = CHAR_OUT_LIMIT - MIN(chr->out->len, CHAR_OUT_LIMIT);
    g_byte_array_append(chr->out, buf + n, MIN(room, len - n));
    write_log(chr, buf + n, len - n);
    chr->want_write = true;
    queue_update(chr);
    pthread_mutex_unlock(&chr->lock);
}

void char_when_writable(CharFrontend *fe, void (*fn)(void *opaque), void *opaque)
{
    Chardev *chr = fe->chr;
    if (!chr) {
        return;
    }
    pthread_mutex_lock(&chr->lock);
    fe->writable = fn;
    fe->writable_opaque = opaque;
    if (!chr->want_write) {
        loop_defer(fe->loop, call_writable, fe); /* room came meanwhile */
    }
    pthread_mutex_unlock(&chr->lock);
}

void char_accept_input(CharFrontend *fe)
{
    Chardev *chr = fe->chr;
    if (chr) {
        pthread_mutex_lock(&chr->lock);
        CharPort *p = &chr->ports[fe->tag];
        if (p->in_len > p->in_pos) {
            schedule(p);
        } else {
            queue_update(chr); /* a mux asks can_receive itself */
        }
        pthread_mutex_unlock(&chr->lock);
    }
}

bool char_connected(const CharFrontend *fe)
{
    return fe->chr && __atomic_load_n(&fe->chr->open, __ATOMIC_RELAXED);
}

void char_send_break(CharFrontend *fe)
{
    if (fe->chr && chardev_class(fe->chr)->send_break) {
        chardev_class(fe->chr)->send_break(fe->chr);
    }
}

void char_set_serial(CharFrontend *fe, const CharSerialParams *p)
{
    if (fe->chr && chardev_class(fe->chr)->set_serial) {
        chardev_class(fe->chr)->set_serial(fe->chr, p);
    }
}

const char *chardev_filename(const Chardev *chr)
{
    return chr->filename ? chr->filename : "";
}

/* ---- the type ---- */
static void chardev_init(Object *obj)
{
    Chardev *chr = (Chardev *)obj;
    const ChardevClass *k = chardev_class(chr);
    pthread_mutex_init(&chr->lock, NULL);
    chr->n_ports = k->ports ? k->ports : 1;
    chr->ports = g_new0(CharPort, chr->n_ports);
    for (unsigned i = 0; i < chr->n_ports; i++) {
        chr->ports[i].chr = chr;
    }
    chr->out = g_byte_array_new();
    chr->log_fd = -1;
}

static void chardev_finalize(Object *obj)
{
    Chardev *chr = (Chardev *)obj;
    const ChardevClass *k = chardev_class(chr);
    if (k->close) {
        k->close(chr);
    }
    if (chr->loop) {
        loop_defer_cancel(chr->loop, chr);
    }
    if (chr->log_fd >= 0) {
        close(chr->log_fd);
    }
    g_byte_array_free(chr->out, TRUE);
    g_free(chr->ports);
    g_free(chr->filename);
    pthread_mutex_destroy(&chr->lock);
}

OBJECT_TYPE(chardev_type, .name = TYPE_CHARDEV, .parent = "object", .help = "character backend",
            .size = sizeof(Chardev), .init = chardev_init, .finalize = chardev_finalize,
            .abstract = true, .container = "/chardevs")

/* ---- the manager ---- */
static void manager_init(Object *obj)
{
    ((ChardevManager *)obj)->escape = 0x01;
}

OBJECT_TYPE(manager_type, .name = TYPE_CHARDEV_MANAGER, .parent = "object",
            .help = "what the muxes of a machine share", .size = sizeof(ChardevManager),
            .init = manager_init)

ChardevManager *chardev_manager(Object *root)
{
    Object *m = object_resolve(root, "/chardev-manager");
    if (!m) {
        m = object_new(TYPE_CHARDEV_MANAGER);
        object_add_child(root, "chardev-manager", m);
    }
    return (ChardevManager *)m;
}

void chardev_set_escape_handlers(Object *root, void (*quit)(void *opaque),
                                 bool (*save)(void *opaque, Error **errp), void *opaque)
{
    ChardevManager *m = chardev_manager(root);
    m->quit = quit;
    m->save = save;
    m->escape_opaque = opaque;
}

void chardev_set_escape(Object *root, uint8_t escape)
{
    chardev_manager(root)->escape = escape;
}
