/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VNC server's sockets and handshake: RFC 6143, sections 7.1 to 7.3. */
#include "ui/des-module.h"
#include "ui/vnc-internal.h"
#include "util/bits.h"
#include "util/option.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- output ---- */

void vnc_put(VncClient *c, const void *p, size_t len)
{
    g_byte_array_append(c->out, p, (guint)len);
}

void vnc_put8(VncClient *c, uint8_t v)
{
    vnc_put(c, &v, 1);
}

void vnc_put16(VncClient *c, uint16_t v)
{
    uint8_t b[2];
    st_be16(b, v);
    vnc_put(c, b, 2);
}

void vnc_put32(VncClient *c, uint32_t v)
{
    uint8_t b[4];
    st_be32(b, v);
    vnc_put(c, b, 4);
}

static void client_free(VncClient *c)
{
    VncServer *v = c->server;
    v->clients = g_list_remove(v->clients, c);
    vnc_release_input(c);
    loop_watch_fd(v->control, c->fd, NULL, NULL, NULL);
    close(c->fd);
    if (c->zlib_ready) {
        deflateEnd(&c->zlib);
    }
    pixman_region_fini(&c->dirty);
    g_byte_array_free(c->in, TRUE);
    g_byte_array_free(c->out, TRUE);
    g_byte_array_free(c->tile_buf, TRUE);
    g_free(c->peer);
    g_free(c);
    if (!v->clients && v->listener.console) {
        console_unlisten(&v->listener); /* nobody looks: draw no more */
    }
}

static void client_readable(void *opaque);
static void client_writable(void *opaque);

static void watch(VncClient *c, bool write)
{
    c->write_watched = write;
    loop_watch_fd(c->server->control, c->fd, client_readable, write ? client_writable : NULL, c);
}

/* Sends what the socket takes; keeps the rest. */
static void flush(VncClient *c)
{
    size_t sent = 0;
    while (sent < c->out->len && !c->dead) {
        ssize_t n =
            send(c->fd, c->out->data + sent, c->out->len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            sent += (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            break;
        } else if (n >= 0 || errno != EINTR) {
            c->dead = true;
        }
    }
    g_byte_array_remove_range(c->out, 0, (guint)sent);
    c->dead = c->dead || c->out->len > VNC_OUT_MAX;
    if (!c->dead && c->write_watched != (c->out->len > 0)) {
        watch(c, c->out->len > 0);
    }
}

/* After anything that may have produced output or ended the client. */
static void settle(VncClient *c)
{
    if (!c->dead) {
        vnc_try_update(c);
        flush(c);
    }
    if (c->dead) {
        client_free(c);
    }
}

static void client_writable(void *opaque)
{
    VncClient *c = opaque;
    flush(c);
    settle(c);
}

static void client_readable(void *opaque)
{
    VncClient *c = opaque;
    uint8_t buf[16384];
    ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);
    if (n > 0) {
        g_byte_array_append(c->in, buf, (guint)n);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        c->dead = true;
    }
    size_t used = 0, step;
    while (!c->dead && used < c->in->len &&
           (step = c->handle(c, c->in->data + used, c->in->len - used)) > 0) {
        used += step;
    }
    g_byte_array_remove_range(c->in, 0, (guint)used);
    settle(c);
}

/* ---- handshake ---- */

/* RFC 6143 7.2.2: DES with each key byte's bits mirrored. */
static bool vnc_des(const char *password, const uint8_t in[16], uint8_t out[16])
{
    const DesModule *des = module_load("des", NULL); /* it was there when passwords were chosen */
    uint8_t key[8] = {0};
    size_t len = strlen(password);
    for (size_t i = 0; i < 8 && i < len; i++) {
        for (int b = 0; b < 8; b++) {
            key[i] |= (uint8_t)(((password[i] >> b) & 1) << (7 - b));
        }
    }
    if (des) {
        des->encrypt(key, in, out, 16);
    }
    return des != NULL;
}

/* A failed handshake: result, and from 3.8 on the reason. */
static void refuse(VncClient *c, const char *why)
{
    vnc_put32(c, 1);
    if (c->minor >= 8) {
        vnc_put32(c, (uint32_t)strlen(why));
        vnc_put(c, why, strlen(why));
    }
    flush(c);
    c->dead = true;
}

static void send_server_init(VncClient *c)
{
    static const char name[] = "Rhea";
    uint8_t format[16];
    const Surface *s = c->server->surface;
    c->width = surface_width(s);
    c->height = surface_height(s);
    vnc_default_format(c, format);
    vnc_put16(c, (uint16_t)c->width);
    vnc_put16(c, (uint16_t)c->height);
    vnc_put(c, format, 16);
    vnc_put32(c, sizeof(name) - 1);
    vnc_put(c, name, sizeof(name) - 1);
    c->size_changed = false;
    pixman_region_clear(&c->dirty); /* the client asks for all of it first */
    c->ready = true;
    c->handle = vnc_handle_message;
}

static size_t handle_client_init(VncClient *c, const uint8_t *data, size_t len)
{
    VncServer *v = c->server;
    c->shared = data[0];
    bool alone = !c->shared && v->share == 0;
    if (alone) { /* an exclusive client takes over */
        for (GList *e = v->clients, *next; e; e = next) {
            next = e->next;
            if (e->data != c) {
                client_free(e->data);
            }
        }
    } else if (!c->shared && v->share == 1) {
        c->dead = true;
        return 1;
    }
    send_server_init(c);
    return 1;
}

static void auth_ok(VncClient *c, bool send_result)
{
    if (send_result) {
        vnc_put32(c, 0);
    }
    c->handle = handle_client_init;
}

static size_t handle_auth(VncClient *c, const uint8_t *data, size_t len)
{
    uint8_t expected[16], differ = 0;
    if (len < 16) {
        return 0;
    }
    if (!c->server->password) {
        refuse(c, "no password has been set");
        return 16;
    }
    if (!vnc_des(c->server->password, c->challenge, expected)) {
        refuse(c, "passwords cannot be checked here");
        return 16;
    }
    for (int i = 0; i < 16; i++) {
        differ |= (uint8_t)(expected[i] ^ data[i]);
    }
    if (differ) {
        refuse(c, "wrong password");
    } else {
        auth_ok(c, true);
    }
    return 16;
}

static void start_auth(VncClient *c)
{
    if (getrandom(c->challenge, sizeof(c->challenge), 0) != sizeof(c->challenge)) {
        c->dead = true;
        return;
    }
    vnc_put(c, c->challenge, sizeof(c->challenge));
    c->handle = handle_auth;
}

static size_t handle_security(VncClient *c, const uint8_t *data, size_t len)
{
    uint8_t offered = c->server->password_on ? 2 : 1;
    if (data[0] != offered) {
        refuse(c, "this security type was not offered");
    } else if (offered == 2) {
        start_auth(c);
    } else {
        auth_ok(c, c->minor >= 8);
    }
    return 1;
}

static size_t handle_version(VncClient *c, const uint8_t *data, size_t len)
{
    char text[13] = {0};
    int major, minor;
    if (len < 12) {
        return 0;
    }
    memcpy(text, data, 12);
    if (sscanf(text, "RFB %03d.%03d\n", &major, &minor) != 2 || major != 3) {
        c->dead = true;
        return 12;
    }
    c->minor = minor >= 8 ? 8 : minor == 7 ? 7 : 3; /* others mean 3.3 */
    uint8_t type = c->server->password_on ? 2 : 1;
    if (c->minor == 3) {
        vnc_put32(c, type);
        if (type == 2) {
            start_auth(c);
        } else {
            auth_ok(c, false);
        }
    } else {
        vnc_put8(c, 1);
        vnc_put8(c, type);
        c->handle = handle_security;
    }
    return 12;
}

/* ---- the console's side ---- */

static void on_surface(ConsoleListener *l, Surface *s)
{
    VncServer *v = l->opaque;
    surface_unref(v->surface);
    v->surface = surface_ref(s);
    for (GList *e = v->clients, *next; e; e = next) {
        next = e->next;
        VncClient *c = e->data;
        c->size_changed = c->width != surface_width(s) || c->height != surface_height(s);
        pixman_region_fini(&c->dirty);
        pixman_region_init_rect(&c->dirty, 0, 0, (unsigned)surface_width(s),
                                (unsigned)surface_height(s));
        settle(c);
    }
}

static void on_damage(ConsoleListener *l, int x, int y, int w, int h)
{
    VncServer *v = l->opaque;
    for (GList *e = v->clients, *next; e; e = next) {
        next = e->next;
        VncClient *c = e->data;
        pixman_region_union_rect(&c->dirty, &c->dirty, x, y, (unsigned)w, (unsigned)h);
        settle(c);
    }
}

static const ConsoleListenerOps listener_ops = {.surface = on_surface, .damage = on_damage};

/* ---- connections ---- */

static char *peer_name(int fd)
{
    struct sockaddr_storage a;
    socklen_t len = sizeof(a);
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (getpeername(fd, (struct sockaddr *)&a, &len) < 0 || a.ss_family == AF_UNIX ||
        getnameinfo((struct sockaddr *)&a, len, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV)) {
        return g_strdup("unix");
    }
    return g_strdup_printf("%s:%s", host, port);
}

static void accept_client(void *opaque)
{
    VncServer *v = opaque;
    int fd = accept4(v->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        return;
    }
    Console *console = ui_console(v->ui, 0);
    if (g_list_length(v->clients) >= VNC_CLIENTS_MAX) {
        close(fd);
        return;
    }
    VncClient *c = g_new0(VncClient, 1);
    c->server = v;
    c->fd = fd;
    c->peer = peer_name(fd);
    c->in = g_byte_array_new();
    c->out = g_byte_array_new();
    c->tile_buf = g_byte_array_new();
    c->handle = handle_version;
    c->last_x = c->last_y = -1;
    pixman_region_init(&c->dirty);
    v->clients = g_list_append(v->clients, c);
    if (console && !v->listener.console) {
        console_listen(console, &v->listener);
    } else if (!v->surface) {
        v->surface = surface_new(640, 480); /* a machine without a display */
    }
    vnc_put(c, "RFB 003.008\n", 12);
    watch(c, false);
    settle(c);
}

static bool listen_unix(VncServer *v, const char *path, Error **errp)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(a.sun_path)) {
        error_set(errp, "-vnc unix:%s: the path is longer than %zu bytes", path,
                  sizeof(a.sun_path) - 1);
        return false;
    }
    strcpy(a.sun_path, path);
    unlink(path);
    v->family = AF_UNIX;
    v->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (v->listen_fd < 0 || bind(v->listen_fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
        listen(v->listen_fd, 8) < 0) {
        error_set_errno(errp, errno, "-vnc unix:%s: can't listen", path);
        return false;
    }
    v->unix_path = g_strdup(path);
    v->address = g_strdup(path);
    return true;
}

/* One try at host:port. */
static bool listen_port(VncServer *v, const char *host, unsigned port)
{
    char service[16];
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    g_snprintf(service, sizeof(service), "%u", port);
    if (getaddrinfo(*host ? host : "0.0.0.0", service, &hints, &list)) {
        errno = EADDRNOTAVAIL;
        return false;
    }
    for (struct addrinfo *a = list; a && v->listen_fd < 0; a = a->ai_next) {
        int one = 1;
        int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (fd >= 0 && bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, 8) == 0) {
            v->listen_fd = fd;
            v->family = a->ai_family;
        } else if (fd >= 0) {
            int saved = errno;
            close(fd);
            errno = saved;
        }
    }
    freeaddrinfo(list);
    if (v->listen_fd >= 0) {
        v->host = g_strdup(*host ? host : "0.0.0.0");
        v->service = g_strdup(service);
        v->address = g_strdup_printf("%s:%s", v->host, service);
    }
    return v->listen_fd >= 0;
}

static bool listen_display(VncServer *v, OptionText *o, const char *spec, Error **errp)
{
    const char *colon = strrchr(spec, ':');
    uint64_t display, to = option_take_uint(o, "to", 0, 0, 65535 - 5900);
    if (!colon || !parse_uint(colon + 1, &display) || display > 65535 - 5900) {
        option_mistake(o, "vnc", "expected host:display, unix:path or none");
        return option_check(o, errp);
    }
    g_autofree char *host = g_strndup(spec, (gsize)(colon - spec));
    for (uint64_t d = display; d <= MAX(display, to); d++) {
        if (listen_port(v, host, (unsigned)(5900 + d))) {
            return true;
        }
    }
    error_set_errno(errp, errno, "-vnc %s: can't listen on port %u", spec,
                    (unsigned)(5900 + display));
    error_hint(errp, "is display %u taken? try another one, or to=99", (unsigned)display);
    return false;
}

VncServer *vnc_new(UiContext *ui, EventLoop *control, const char *text, Error **errp)
{
    static const char *const share[] = {"allow-exclusive", "force-shared", "ignore", NULL};
    g_autoptr(OptionText) o = option_parse("-vnc", text, "vnc", errp);
    if (!o) {
        return NULL;
    }
    VncServer *v = g_new0(VncServer, 1);
    v->ui = ui;
    v->control = control;
    v->listen_fd = -1;
    v->listener = (ConsoleListener){.ops = &listener_ops, .opaque = v, .interval_ms = 30};
    const char *spec = option_take_string(o, "vnc", "");
    v->password_on = option_take_bool(o, "password", false);
    v->share = option_take_enum(o, "share", share, 0);
    bool ok = !v->password_on || module_load("des", errp);
    if (!ok) {
        error_prefix(errp, "VNC passwords: ");
    } else if (g_str_has_prefix(spec, "unix:")) {
        ok = option_finish(o, errp) && listen_unix(v, spec + 5, errp);
    } else {
        (void)option_take_uint(o, "to", 0, 0, 65535 - 5900);
        ok = option_finish(o, errp) && listen_display(v, o, spec, errp);
    }
    if (!ok) {
        vnc_free(v);
        return NULL;
    }
    loop_watch_fd(control, v->listen_fd, accept_client, NULL, v);
    return v;
}

void vnc_free(VncServer *v)
{
    if (!v) {
        return;
    }
    while (v->clients) {
        client_free(v->clients->data);
    }
    if (v->listen_fd >= 0) {
        loop_watch_fd(v->control, v->listen_fd, NULL, NULL, NULL);
        close(v->listen_fd);
    }
    if (v->unix_path) {
        unlink(v->unix_path);
    }
    if (v->password) {
        explicit_bzero(v->password, strlen(v->password));
    }
    surface_unref(v->surface);
    g_free(v->password);
    g_free(v->address);
    g_free(v->unix_path);
    g_free(v->host);
    g_free(v->service);
    g_free(v);
}

bool vnc_wants_password(const VncServer *v)
{
    return v->password_on;
}

void vnc_set_password(VncServer *v, const char *password)
{
    if (v->password) {
        explicit_bzero(v->password, strlen(v->password));
        g_free(v->password);
    }
    v->password = g_strdup(password);
}

const char *vnc_address(const VncServer *v)
{
    return v->address;
}

Json *vnc_query(const VncServer *v)
{
    Json *info = json_object(), *clients = json_array();
    json_put_bool(info, "enabled", v != NULL);
    if (v) {
        json_put_string(info, "host", v->unix_path ? v->unix_path : v->host);
        json_put_string(info, "service", v->unix_path ? "" : v->service);
        json_put_string(info, "family",
                        v->family == AF_UNIX    ? "unix"
                        : v->family == AF_INET6 ? "ipv6"
                                                : "ipv4");
        json_put_string(info, "auth", v->password_on ? "vnc" : "none");
    }
    for (GList *e = v ? v->clients : NULL; e; e = e->next) {
        const VncClient *c = e->data;
        g_auto(GStrv) parts = g_strsplit(c->peer, ":", 2);
        Json *j = json_object();
        json_put_string(j, "host", parts[0]);
        json_put_string(j, "service", parts[1] ? parts[1] : "");
        json_put_string(j, "family", v->family == AF_UNIX ? "unix" : "ipv4");
        json_put_bool(j, "websocket", false);
        json_append(clients, j);
    }
    json_put(info, "clients", clients);
    return info;
}
