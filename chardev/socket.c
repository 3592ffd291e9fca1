/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Unix and TCP sockets, as server or client; the telnet protocol (RFC 854, 856-858). */
#include "chardev/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

typedef enum TelnetState {
    TELNET_DATA,
    TELNET_IAC,
    TELNET_OPTION,
    TELNET_SUB,
    TELNET_SUB_IAC
} TelnetState;

typedef struct SocketChardev {
    FdChardev f;
    int listen_fd, fd; /* -1: none */
    bool server, telnet, connecting, nodelay;
    uint64_t reconnect_ms;
    Timer retry;
    TelnetState telnet_state;
    char *path;    /* unix socket to unlink at the end */
    char *address; /* for messages: "unix:/x", "tcp:127.0.0.1:4444" */
    struct sockaddr_storage sa;
    socklen_t sa_len;
} SocketChardev;

/* ---- names ---- */
static char *describe_sockaddr(const struct sockaddr *sa, socklen_t len)
{
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (sa->sa_family == AF_UNIX) {
        return g_strdup_printf("unix:%s", ((const struct sockaddr_un *)sa)->sun_path);
    }
    if (getnameinfo(sa, len, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV)) {
        return g_strdup("?");
    }
    return g_strdup_printf(strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

static void update_filename(SocketChardev *s)
{
    const char *server = s->server ? ",server=on" : "";
    if (s->fd < 0 || s->connecting) {
        char_set_filename(&s->f.chr, "disconnected:%s%s", s->address, server);
        return;
    }
    struct sockaddr_storage peer = {0};
    socklen_t len = sizeof(peer);
    if (s->sa.ss_family != AF_UNIX && getpeername(s->fd, (struct sockaddr *)&peer, &len) == 0) {
        g_autofree char *other = describe_sockaddr((struct sockaddr *)&peer, len);
        char_set_filename(&s->f.chr, "%s%s <-> %s", s->address, server, other);
    } else {
        char_set_filename(&s->f.chr, "%s%s", s->address, server);
    }
}

/* ---- telnet ---- */
enum { IAC = 255, DONT = 254, DO = 253, WONT = 252, WILL = 251, SB = 250, SE = 240, BRK = 243 };
enum { OPT_BINARY = 0, OPT_ECHO = 1, OPT_SGA = 3 };

static void telnet_greet(int fd)
{
    /* We echo, no go-aheads, eight bits both ways. */
    static const uint8_t hello[] = {IAC, WILL, OPT_ECHO,   IAC, WILL, OPT_SGA,
                                    IAC, WILL, OPT_BINARY, IAC, DO,   OPT_BINARY};
    ssize_t n G_GNUC_UNUSED = send(fd, hello, sizeof(hello), MSG_NOSIGNAL);
}

/* Takes the protocol out of the data; the peer's answers to our offers need none. */
static size_t telnet_filter(FdChardev *f, uint8_t *buf, size_t len)
{
    SocketChardev *s = (SocketChardev *)f;
    size_t out = 0;
    for (size_t i = 0; i < len; i++) {
        uint8_t c = buf[i];
        switch (s->telnet_state) {
        case TELNET_DATA:
            if (c == IAC) {
                s->telnet_state = TELNET_IAC;
            } else {
                buf[out++] = c;
            }
            break;
        case TELNET_IAC:
            s->telnet_state = c >= WILL && c <= DONT ? TELNET_OPTION
                              : c == SB              ? TELNET_SUB
                                                     : TELNET_DATA;
            if (c == IAC) {
                buf[out++] = c;
            } else if (c == BRK) {
                char_port_event(&f->chr, 0, CHAR_EVENT_BREAK);
            }
            break;
        case TELNET_OPTION:
            s->telnet_state = TELNET_DATA;
            break;
        case TELNET_SUB:
            s->telnet_state = c == IAC ? TELNET_SUB_IAC : TELNET_SUB;
            break;
        case TELNET_SUB_IAC:
            s->telnet_state = c == SE ? TELNET_DATA : TELNET_SUB;
            break;
        }
    }
    return out;
}

/* ---- connections ---- */
static void socket_listen(SocketChardev *s, bool on);

static void socket_connected(SocketChardev *s, int fd)
{
    int one = 1;
    s->fd = fd;
    s->connecting = false;
    s->telnet_state = TELNET_DATA;
    if (s->sa.ss_family != AF_UNIX && s->nodelay) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    }
    if (s->telnet) {
        telnet_greet(fd);
    }
    fd_chardev_set(&s->f, fd, fd);
    update_filename(s);
    char_set_open(&s->f.chr, true);
    fd_chardev_update(&s->f.chr);
}

static void schedule_retry(SocketChardev *s)
{
    if (s->reconnect_ms) {
        timer_mod(&s->retry, clock_now(loop_clocks(s->f.chr.loop), CLOCK_RT) +
                                 (int64_t)s->reconnect_ms * NS_PER_MS);
    }
}

static void socket_hangup(FdChardev *f)
{
    SocketChardev *s = (SocketChardev *)f;
    int fd = s->fd;
    if (fd < 0) {
        return;
    }
    s->fd = -1;
    fd_chardev_set(f, -1, -1);
    fd_chardev_update(&f->chr); /* stops watching while the number is still ours */
    update_filename(s);
    char_set_open(&f->chr, false);
    close(fd);
    if (s->server) {
        socket_listen(s, true);
    } else {
        schedule_retry(s);
    }
}

static void socket_accept(void *opaque)
{
    SocketChardev *s = opaque;
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        socket_listen(s, false); /* one at a time; others wait in the backlog */
        socket_connected(s, fd);
    }
}

static void socket_listen(SocketChardev *s, bool on)
{
    loop_watch_fd(s->f.chr.loop, s->listen_fd, on ? socket_accept : NULL, NULL, s);
}

static void connect_done(void *opaque)
{
    SocketChardev *s = opaque;
    int err = 0, fd = s->fd;
    socklen_t len = sizeof(err);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);
    loop_watch_fd(s->f.chr.loop, fd, NULL, NULL, NULL);
    if (err == 0) {
        socket_connected(s, fd);
    } else {
        s->fd = -1;
        s->connecting = false;
        close(fd);
        schedule_retry(s);
    }
}

static void connect_start(void *opaque)
{
    SocketChardev *s = opaque;
    int fd = socket(s->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        schedule_retry(s);
    } else if (connect(fd, (struct sockaddr *)&s->sa, s->sa_len) == 0) {
        socket_connected(s, fd);
    } else if (errno == EINPROGRESS) {
        s->fd = fd;
        s->connecting = true;
        loop_watch_fd(s->f.chr.loop, fd, NULL, connect_done, s);
    } else {
        close(fd);
        schedule_retry(s);
    }
}

/* ---- opening ---- */
static bool resolve_unix(SocketChardev *s, const char *path, bool abstract, bool tight,
                         Error **errp)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&s->sa;
    size_t n = strlen(path), max = sizeof(un->sun_path) - (abstract ? 1 : 0);
    if (n >= max) {
        error_set(errp, "The socket path '%s' is too long (at most %zu bytes)", path, max - 1);
        return false;
    }
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path + abstract, path, n);
    s->sa_len = abstract && tight ? (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n)
                                  : (socklen_t)sizeof(*un);
    s->address = g_strdup_printf("unix:%s%s", path, abstract ? ",abstract=on" : "");
    return true;
}

static int listen_at(SocketChardev *s)
{
    int one = 1;
    int fd = socket(s->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    if (s->sa.ss_family != AF_UNIX) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    }
    if (bind(fd, (struct sockaddr *)&s->sa, s->sa_len) < 0 || listen(fd, 4) < 0) {
        int e = errno;
        close(fd);
        return -e;
    }
    return fd;
}

/* A socket file that nobody listens at any more is a leftover and may go. */
static bool remove_leftover(SocketChardev *s, const char *path)
{
    struct stat st;
    if (!path || lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode)) {
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool dead =
        fd >= 0 && connect(fd, (struct sockaddr *)&s->sa, s->sa_len) < 0 && errno == ECONNREFUSED;
    if (fd >= 0) {
        close(fd);
    }
    return dead && unlink(path) == 0;
}

static void wait_for_client(SocketChardev *s)
{
    report_info("waiting for a connection on %s", s->address);
    struct pollfd p = {.fd = s->listen_fd, .events = POLLIN};
    sigset_t none;
    sigemptyset(&none); /* Ctrl-C ends the waiting, and us */
    while (ppoll(&p, 1, NULL, &none) < 0 && errno == EINTR) {
    }
    socket_accept(s);
}

static bool open_server(SocketChardev *s, const char *unlink_path, bool wait, Error **errp)
{
    int fd = listen_at(s);
    if (fd == -EADDRINUSE && remove_leftover(s, unlink_path)) {
        fd = listen_at(s);
    }
    if (fd < 0) {
        error_set_errno(errp, -fd, "Could not listen on %s", s->address);
        if (fd == -EADDRINUSE) {
            error_hint(errp, "another process listens there");
        }
        return false;
    }
    s->listen_fd = fd;
    s->path = g_strdup(unlink_path);
    if (s->sa.ss_family != AF_UNIX) { /* port=0: say which one it became */
        struct sockaddr_storage sa = {0};
        socklen_t len = sizeof(sa);
        getsockname(fd, (struct sockaddr *)&sa, &len);
        g_autofree char *a = describe_sockaddr((struct sockaddr *)&sa, len);
        g_free(s->address);
        s->address = g_strdup_printf("%s:%s", s->telnet ? "telnet" : "tcp", a);
    }
    update_filename(s);
    if (wait) {
        wait_for_client(s);
    }
    if (s->fd < 0) {
        socket_listen(s, true);
    }
    return true;
}

/* A socket that whoever started us has opened. */
static bool open_fd(SocketChardev *s, int fd, bool wait, Error **errp)
{
    int listening = 0;
    socklen_t len = sizeof(listening);
    s->sa_len = sizeof(s->sa);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0 ||
        getsockname(fd, (struct sockaddr *)&s->sa, &s->sa_len) < 0) {
        error_set_errno(errp, errno, "Descriptor %d is no socket", fd);
        return false;
    }
    if (!!listening != s->server) {
        error_set(errp, "Descriptor %d is %s, which needs server=%s", fd,
                  listening ? "listening" : "a connection", listening ? "on" : "off");
        return false;
    }
    s->address = g_strdup_printf("fd=%d", fd);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    if (!s->server) {
        socket_connected(s, fd);
        return true;
    }
    s->listen_fd = fd;
    update_filename(s);
    if (wait) {
        wait_for_client(s);
    }
    if (s->fd < 0) {
        socket_listen(s, true);
    }
    return true;
}

static bool open_client(SocketChardev *s, Error **errp)
{
    if (s->reconnect_ms) {
        connect_start(s);
        update_filename(s);
        return true;
    }
    int fd = socket(s->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&s->sa, s->sa_len) < 0) {
        error_set_errno(errp, errno, "Could not connect to %s", s->address);
        error_hint(errp, "server=on listens there, reconnect-ms=N keeps trying");
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    socket_connected(s, fd);
    return true;
}

/* The addresses of host:port one after the other, until one opens. */
static bool open_inet(SocketChardev *s, const char *host, const char *port, int family, bool wait,
                      Error **errp)
{
    struct addrinfo hints = {.ai_family = family,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = s->server ? AI_PASSIVE : 0},
                    *list;
    int e = getaddrinfo(*host ? host : NULL, port, &hints, &list);
    if (e) {
        error_set(errp, "Could not resolve '%s:%s': %s", host, port, gai_strerror(e));
        return false;
    }
    Error *err = NULL;
    bool ok = false;
    for (struct addrinfo *a = list; a && !ok; a = a->ai_next) {
        error_free(err);
        err = NULL;
        g_free(s->address);
        memcpy(&s->sa, a->ai_addr, a->ai_addrlen);
        s->sa_len = a->ai_addrlen;
        g_autofree char *text = describe_sockaddr(a->ai_addr, a->ai_addrlen);
        s->address = g_strdup_printf("%s:%s", s->telnet ? "telnet" : "tcp", text);
        ok = s->server ? open_server(s, NULL, wait, &err) : open_client(s, &err);
    }
    freeaddrinfo(list);
    error_propagate(errp, err);
    return ok;
}

typedef struct SocketOptions {
    int fd; /* inherited: listening (server=on) or connected; -1: none */
    const char *path, *host, *port;
    bool abstract, tight, wait, ipv4, ipv6;
} SocketOptions;

static bool take_options(SocketChardev *s, CharOptions *o, SocketOptions *so, Error **errp)
{
    s->server = char_option_bool(o, "server", false);
    bool has_wait = char_option_has(o, "wait");
    so->wait = char_option_bool(o, "wait", s->server);
    s->telnet = char_option_bool(o, "telnet", false);
    s->nodelay = char_option_bool(o, "nodelay", !char_option_bool(o, "delay", true));
    s->reconnect_ms = char_option_uint(o, "reconnect-ms", 0, 1000000);
    s->reconnect_ms += char_option_uint(o, "reconnect", 0, 1000) * 1000;
    so->path = char_option_string(o, "path", NULL);
    so->abstract = so->path && char_option_bool(o, "abstract", false);
    so->tight = so->path ? char_option_bool(o, "tight", true) : true;
    static const char *const refused[] = {"tls-creds", "tls-authz", "websocket", "tn3270"};
    for (unsigned i = 0; i < G_N_ELEMENTS(refused); i++) {
        if (char_option_has(o, refused[i])) {
            char_option_string(o, refused[i], NULL);
            char_option_mistake(o, "'%s' is not supported", refused[i]);
        }
    }
    so->fd = char_option_has(o, "fd") ? (int)char_option_uint(o, "fd", 0, 1 << 20) : -1;
    if (so->fd >= 0 && fcntl(so->fd, F_GETFD) < 0) {
        char_option_mistake(o, "there is no descriptor %d", so->fd);
    }
    if (so->path || so->fd >= 0) {
        so->host = so->port = NULL;
    } else {
        so->host = char_option_string(o, "host", "");
        so->port = char_option_required(o, "port");
        so->ipv4 = char_option_bool(o, "ipv4", false);
        so->ipv6 = char_option_bool(o, "ipv6", false);
    }
    if (has_wait && so->wait && !s->server) {
        char_option_mistake(o, "'wait' is for server=on");
    }
    if (s->reconnect_ms && s->server) {
        char_option_mistake(o, "'reconnect-ms' is not for server=on");
    }
    return char_options_check(o, errp);
}

static bool socket_open(Chardev *chr, CharOptions *o, Error **errp)
{
    SocketChardev *s = (SocketChardev *)chr;
    SocketOptions so = {0};
    if (!take_options(s, o, &so, errp)) {
        return false;
    }
    s->f.hangup = socket_hangup;
    s->f.filter = s->telnet ? telnet_filter : NULL;
    timer_init(&s->retry, chr->loop, CLOCK_RT, connect_start, s);
    if (so.fd >= 0) {
        return open_fd(s, so.fd, so.wait, errp);
    }
    if (!so.path) {
        int family = so.ipv4 == so.ipv6 ? AF_UNSPEC : so.ipv4 ? AF_INET : AF_INET6;
        return open_inet(s, so.host, so.port, family, so.wait, errp);
    }
    if (!resolve_unix(s, so.path, so.abstract, so.tight, errp)) {
        return false;
    }
    return s->server ? open_server(s, so.abstract ? NULL : so.path, so.wait, errp)
                     : open_client(s, errp);
}

static void socket_close(Chardev *chr)
{
    SocketChardev *s = (SocketChardev *)chr;
    timer_fini(&s->retry);
    if (s->listen_fd >= 0) {
        socket_listen(s, false);
        close(s->listen_fd);
    }
    if (s->path) {
        unlink(s->path);
    }
    if (s->connecting && s->fd >= 0) {
        loop_watch_fd(chr->loop, s->fd, NULL, NULL, NULL);
        close(s->fd);
    }
    fd_chardev_close(chr);
    g_free(s->path);
    g_free(s->address);
}

static void socket_init(Object *obj)
{
    SocketChardev *s = (SocketChardev *)obj;
    s->listen_fd = s->fd = -1;
}

static size_t send_some(const FdChardev *f, const uint8_t *buf, size_t len)
{
    ssize_t n;
    do {
        n = f->fd_out >= 0 ? send(f->fd_out, buf, len, MSG_NOSIGNAL) : (ssize_t)len;
    } while (n < 0 && errno == EINTR);
    /* Errors show up as the end of the input, too; that is where they are handled. */
    return n >= 0 ? (size_t)n : errno == EAGAIN ? 0 : len;
}

static size_t socket_write(Chardev *chr, const uint8_t *buf, size_t len)
{
    const SocketChardev *s = (const SocketChardev *)chr;
    if (!s->telnet || !memchr(buf, IAC, len)) {
        return send_some(&s->f, buf, len);
    }
    size_t done = 0;
    while (done < len) {
        static const uint8_t twice[] = {IAC, IAC};
        const uint8_t *next = memchr(buf + done, IAC, len - done);
        size_t plain = next ? (size_t)(next - buf) - done : len - done;
        size_t n = plain ? send_some(&s->f, buf + done, plain) : 0;
        done += n;
        if (n < plain || (next && send_some(&s->f, twice, 2) == 0)) {
            break;
        }
        done += next != NULL;
    }
    return done;
}

static const ChardevClass socket_class = {
    .open = socket_open, .close = socket_close, .write = socket_write, .update = fd_chardev_update};
OBJECT_TYPE(socket_type, .name = "chardev-socket", .parent = "chardev-fd",
            .size = sizeof(SocketChardev), .help = "a Unix or TCP socket", .init = socket_init,
            .klass = &socket_class)
