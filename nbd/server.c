/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Listening, and the life of clients. */
#include "nbd/internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

NbdServer *nbd_server_of(BlockGraph *g)
{
    return g->nbd;
}

unsigned nbd_server_clients(BlockGraph *g)
{
    return g->nbd ? g->nbd->n_clients : 0;
}

/* ---- clients ---- */

static void update_listening(NbdServer *s);

/* On the control loop: the client's fibers have ended. */
static void client_gone(void *opaque)
{
    NbdClient *c = opaque;
    NbdServer *s = c->server;
    timer_fini(&c->deadline);
    if (c->export) {
        nbd_export_client_gone(c->export);
    }
    io_channel_free(c->ch);
    fiber_mutex_destroy(&c->send);
    g_free(c->meta_export);
    s->clients = g_list_remove(s->clients, c);
    g_free(c);
    s->n_clients--;
    if (!s->stopping) {
        update_listening(s);
        if (s->p.changed) {
            s->p.changed(s->p.opaque, s->n_clients);
        }
    }
}

static void transmit_fiber(void *opaque)
{
    NbdClient *c = opaque;
    nbd_transmit(c);
    loop_defer(c->server->graph->control, client_gone, c);
}

static void start_transmit(void *opaque)
{
    fiber_enter(fiber_new(transmit_fiber, opaque));
}

static void stop_deadline(void *opaque)
{
    timer_fini(&((NbdClient *)opaque)->deadline);
}

static void negotiate_fiber(void *opaque)
{
    NbdClient *c = opaque;
    EventLoop *control = c->server->graph->control;
    if (nbd_negotiate(c)) {
        stop_deadline(c);
        c->loop = c->export->base.loop;
        io_channel_set_loop(c->ch, c->loop);
        loop_defer(c->loop, start_transmit, c);
    } else {
        loop_defer(control, client_gone, c);
    }
}

static void too_late(void *opaque)
{
    io_channel_shutdown(((NbdClient *)opaque)->ch);
}

static void accept_one(NbdServer *s, int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* fails where it means nothing */
    socket_widen(fd);
    NbdClient *c = g_new0(NbdClient, 1);
    EventLoop *control = s->graph->control;
    c->server = s;
    c->ch = io_channel_new(fd, control);
    fiber_queue_init(&c->room);
    fiber_mutex_init(&c->send);
    timer_init(&c->deadline, control, CLOCK_RT, too_late, c);
    if (s->p.handshake_seconds) {
        timer_mod(&c->deadline,
                  clock_now(loop_clocks(control), CLOCK_RT) + s->p.handshake_seconds * NS_PER_SEC);
    }
    s->clients = g_list_append(s->clients, c);
    s->n_clients++;
    update_listening(s);
    if (s->p.changed) {
        s->p.changed(s->p.opaque, s->n_clients);
    }
    fiber_enter(fiber_new(negotiate_fiber, c));
}

static void incoming(void *opaque)
{
    NbdServer *s = opaque;
    for (guint i = 0; i < s->fds->len; i++) {
        int fd = accept4(g_array_index(s->fds, int, i), NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) {
            accept_one(s, fd);
            if (!s->listening) {
                return;
            }
        }
    }
}

/* Whoever comes while there are as many clients as may be waits in the socket's queue. */
static void update_listening(NbdServer *s)
{
    bool on = !s->p.max_connections || s->n_clients < s->p.max_connections;
    if (on != s->listening) {
        s->listening = on;
        for (guint i = 0; i < s->fds->len; i++) {
            loop_watch_fd(s->graph->control, g_array_index(s->fds, int, i), on ? incoming : NULL,
                          NULL, s);
        }
    }
}

void nbd_server_add_client(BlockGraph *g, int fd)
{
    accept_one(g->nbd, fd);
}

/* ---- the server ---- */

NbdServer *nbd_server_start(BlockGraph *g, const NbdServerParams *p, Error **errp)
{
    if (g->nbd) {
        error_set(errp, "NBD server already running");
        return NULL;
    }
    GArray *fds = p->fds ? g_array_ref(p->fds) : g_array_new(FALSE, FALSE, sizeof(int));
    if (!p->fds) {
        int backlog = p->max_connections ? (int)MIN(p->max_connections, 128u) : 128;
        int fd = socket_listen(&p->addr, backlog, errp);
        if (fd < 0) {
            g_array_unref(fds);
            return NULL;
        }
        g_array_append_val(fds, fd);
    }
    NbdServer *s = g_new0(NbdServer, 1);
    s->graph = g;
    s->p = *p;
    s->p.addr = (SocketSpec){.type = p->addr.type,
                             .path = g_strdup(p->addr.path),
                             .abstract_name = p->addr.abstract_name};
    s->p.tls_creds = p->tls_creds ? object_ref(p->tls_creds) : NULL;
    s->p.tls_authz = p->tls_authz ? object_ref(p->tls_authz) : NULL;
    s->fds = fds;
    g->nbd = s;
    g->stop_exports = nbd_server_stop;
    update_listening(s);
    return s;
}

void nbd_server_stop_listening(BlockGraph *g)
{
    NbdServer *s = g->nbd;
    for (guint i = 0; s && i < s->fds->len; i++) {
        int fd = g_array_index(s->fds, int, i);
        loop_watch_fd(g->control, fd, NULL, NULL, NULL);
        close(fd);
    }
    if (s) {
        g_array_set_size(s->fds, 0);
    }
}

void nbd_server_stop(BlockGraph *g)
{
    NbdServer *s = g->nbd;
    if (!s) {
        return;
    }
    s->stopping = true;
    nbd_server_stop_listening(g);
    if (s->p.addr.type == SOCKET_UNIX && s->p.addr.path && !s->p.addr.abstract_name) {
        unlink(s->p.addr.path);
    }
    for (GList *l = s->clients; l; l = l->next) {
        io_channel_shutdown(((NbdClient *)l->data)->ch);
    }
    block_exports_stop(g, &nbd_export_driver);
    while (s->n_clients) { /* their last steps are calls on this loop */
        loop_poll(g->control, 10 * NS_PER_MS);
        if (g->loop != g->control && !loop_is_served(g->loop)) {
            loop_poll(g->loop, 0);
        }
    }
    g->nbd = NULL;
    object_unref(s->p.tls_creds);
    object_unref(s->p.tls_authz);
    socket_spec_clear(&s->p.addr);
    g_array_unref(s->fds);
    g_free(s);
}
