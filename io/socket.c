/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "io/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void socket_spec_clear(SocketSpec *s)
{
    g_free(s->host);
    g_free(s->port);
    g_free(s->path);
    memset(s, 0, sizeof(*s));
}

static char *text_of(const Json *o, const char *key)
{
    Json *v = json_get(o, key);
    int64_t n;
    if (v && json_get_int(v, &n)) {
        return g_strdup_printf("%" G_GINT64_FORMAT, n);
    }
    return v ? g_strdup(json_get_string(v)) : NULL;
}

static bool flag(const Json *o, const char *key, bool def)
{
    Json *v = json_get(o, key);
    const char *s = v ? json_get_string(v) : NULL;
    bool b = def;
    if (s) {
        return !strcmp(s, "on") || !strcmp(s, "true") || !strcmp(s, "yes");
    }
    return v && json_get_bool(v, &b) ? b : def;
}

bool socket_spec_from_json(SocketSpec *s, const Json *j, Error **errp)
{
    memset(s, 0, sizeof(*s));
    const char *type = json_type(j) == JSON_OBJECT ? json_get_str(j, "type") : NULL;
    const Json *data = type ? json_get(j, "data") : NULL;
    data = data ? data : j;
    if (!type) {
        error_set(errp, "an address is an object with 'type' (inet or unix)");
        return false;
    }
    s->family = AF_UNSPEC;
    if (!strcmp(type, "inet")) {
        s->type = SOCKET_INET;
        s->host = text_of(data, "host");
        s->port = text_of(data, "port");
        s->keep_alive = flag(data, "keep-alive", false);
        bool v4 = flag(data, "ipv4", true), v6 = flag(data, "ipv6", true);
        s->family = v4 == v6 ? AF_UNSPEC : v4 ? AF_INET : AF_INET6;
        if (!s->host || !s->port) {
            error_set(errp, "an address of type inet needs 'host' and 'port'");
            socket_spec_clear(s);
            return false;
        }
        return true;
    }
    if (!strcmp(type, "unix")) {
        s->type = SOCKET_UNIX;
        s->path = text_of(data, "path");
        s->abstract_name = flag(data, "abstract", false);
        if (!s->path || !*s->path ||
            strlen(s->path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
            error_set(errp,
                      s->path && *s->path ? "the path '%s' of a Unix socket is too long"
                                          : "an address of type unix needs 'path'%s",
                      s->path && *s->path ? s->path : "");
            socket_spec_clear(s);
            return false;
        }
        return true;
    }
    if (!strcmp(type, "fd")) {
        s->type = SOCKET_FD;
        s->path = text_of(data, "str");
        if (s->path && g_ascii_isdigit(*s->path)) {
            return true;
        }
        error_set(errp, "an address of type fd needs the number of a descriptor in 'str'");
        socket_spec_clear(s);
        return false;
    }
    error_set(errp, "an address of type '%s' is not supported: inet, unix or fd", type);
    return false;
}

char *socket_spec_text(const SocketSpec *s)
{
    if (s->type == SOCKET_INET) {
        return g_strdup_printf(strchr(s->host, ':') ? "[%s]:%s" : "%s:%s", s->host, s->port);
    }
    return g_strdup(s->path);
}

static socklen_t unix_address(const SocketSpec *s, struct sockaddr_un *un)
{
    memset(un, 0, sizeof(*un));
    un->sun_family = AF_UNIX;
    if (s->abstract_name) {
        strcpy(un->sun_path + 1, s->path);
        return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(s->path));
    }
    strcpy(un->sun_path, s->path);
    return sizeof(*un);
}

static struct addrinfo *resolve(const SocketSpec *s, bool passive, Error **errp)
{
    struct addrinfo hints = {
        .ai_family = s->family, .ai_socktype = SOCK_STREAM, .ai_flags = passive ? AI_PASSIVE : 0};
    struct addrinfo *list = NULL;
    int err = getaddrinfo(*s->host ? s->host : NULL, s->port, &hints, &list);
    if (err) {
        error_set(errp, "address resolution failed for %s:%s: %s", s->host, s->port,
                  gai_strerror(err));
        return NULL;
    }
    return list;
}

int socket_listen(const SocketSpec *s, int backlog, Error **errp)
{
    g_autofree char *text = socket_spec_text(s);
    int fd = -1, err = 0, one = 1;
    if (s->type == SOCKET_FD) {
        fd = (int)g_ascii_strtoll(s->path, NULL, 10);
        err = listen(fd, backlog) < 0 ? errno : 0;
    } else if (s->type == SOCKET_UNIX) {
        struct sockaddr_un un;
        socklen_t len = unix_address(s, &un);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (!s->abstract_name) {
            unlink(s->path);
        }
        err = fd < 0 || bind(fd, (struct sockaddr *)&un, len) < 0 || listen(fd, backlog) < 0 ? errno
                                                                                             : 0;
    } else {
        struct addrinfo *list = resolve(s, true, errp);
        if (!list) {
            return -1;
        }
        for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
            fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, a->ai_protocol);
            if (fd < 0) {
                err = errno;
                continue;
            }
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
            if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, backlog) < 0) {
                err = errno;
                close(fd);
                fd = -1;
            }
        }
        freeaddrinfo(list);
        err = fd >= 0 ? 0 : err;
    }
    if (err) {
        error_set_errno(errp, err, "Failed to listen on '%s'", text);
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return fd;
}

/* Connects with a limit of time; 0 or errno. */
static int connect_within(int fd, const struct sockaddr *sa, socklen_t len, unsigned timeout_ms)
{
    int flags = fcntl(fd, F_GETFL), err = 0;
    socklen_t size = sizeof(err);
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    if (connect(fd, sa, len) < 0) {
        if (errno != EINPROGRESS && errno != EAGAIN) {
            return errno;
        }
        if (errno == EAGAIN) { /* a Unix socket whose queue is full: once more, patiently */
            fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
            return connect(fd, sa, len) < 0 ? errno : 0;
        }
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        int n = poll(&p, 1, timeout_ms ? (int)timeout_ms : -1);
        if (n == 0) {
            return ETIMEDOUT;
        }
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size) < 0) {
            return errno;
        }
    }
    return err;
}

int socket_connect(const SocketSpec *s, unsigned timeout_ms, Error **errp)
{
    g_autofree char *text = socket_spec_text(s);
    int fd = -1, err = 0, one = 1;
    if (s->type == SOCKET_FD) {
        return (int)g_ascii_strtoll(s->path, NULL, 10);
    }
    if (s->type == SOCKET_UNIX) {
        struct sockaddr_un un;
        socklen_t len = unix_address(s, &un);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        err = fd < 0 ? errno : connect_within(fd, (struct sockaddr *)&un, len, timeout_ms);
    } else {
        struct addrinfo *list = resolve(s, false, errp);
        if (!list) {
            return -1;
        }
        for (struct addrinfo *a = list; a; a = a->ai_next) {
            fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, a->ai_protocol);
            err = fd < 0 ? errno : connect_within(fd, a->ai_addr, a->ai_addrlen, timeout_ms);
            if (!err) {
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
                if (s->keep_alive) {
                    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
                }
                break;
            }
            if (fd >= 0) {
                close(fd);
                fd = -1;
            }
        }
        freeaddrinfo(list);
    }
    if (err) {
        error_set_errno(errp, err, "Failed to connect to '%s'", text);
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    return fd;
}

/* The kernel's own limit (net.core.wmem_max) is often less, and it doubles what it gets. */
#define WIDE (512 * 1024)

void socket_widen(int fd)
{
    int domain = 0, size = WIDE;
    socklen_t len = sizeof(domain);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX) {
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    }
}
