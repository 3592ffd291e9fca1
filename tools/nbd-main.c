/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rhea-nbd: serves a disk image over the network. */
#include "block/backend.h"
#include "block/nbd-list.h"
#include "config.h"
#include "crypto/authz.h"
#include "crypto/tls.h"
#include "nbd/nbd.h"
#include "tools/nbd-device.h"
#include "tools/tool.h"
#include "util/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const ToolOption options[] = {
    {"help", 'h', 0, NULL, "print this help"},
    {"version", 'V', 0, NULL, "print the version"},
    {"port", 'p', 0, "PORT", "port to listen on (default: 10809)"},
    {"bind", 'b', 0, "IFACE", "address to bind to (default: all)"},
    {"socket", 'k', 0, "PATH", "listen on a Unix socket"},
    {"shared", 'e', 0, "NUM", "clients at once; 0: any number (default: 1)"},
    {"persistent", 't', 0, NULL, "go on when the last client is gone"},
    {"verbose", 'v', 0, NULL, "say who comes and goes"},
    {"export-name", 'x', 0, "NAME", "name of the export (default: empty)"},
    {"description", 'D', 0, "TEXT", "what clients are told about the export"},
    {"handshake-limit", 0, 0, "N", "seconds for a client's handshake; 0: no limit (default: 10)"},
    {"offset", 'o', 0, "OFFSET", "the export begins at this byte of the image"},
    {"allocation-depth", 'A', 0, NULL, "offer the context qemu:allocation-depth"},
    {"bitmap", 'B', 0, "NAME", "offer the dirty bitmap NAME (several times)"},
    {"connect", 'c', 0, "DEV",
     "make the image the device DEV (/dev/nbd0) of this host, by its kernel"},
    {"disconnect", 'd', 0, NULL, "end that: the one argument is the device"},
    {"list", 'L', 0, NULL, "list the exports of another server"},
    {"object", 0, 0, "TYPE,id=ID,...", "an object such as tls-creds-x509 or secret"},
    {"tls-creds", 0, 0, "ID", "TLS with the credentials of the object ID"},
    {"tls-authz", 0, 0, "ID", "the object ID (authz-list, ...) says which TLS clients may come in"},
    {"tls-hostname", 0, 0, "NAME", "name that the server's certificate must have (-L)"},
    {"trace", 'T', 0, "PATTERN", "print trace events"},
    {"fork", 0, 0, NULL, "go to the background when clients can connect"},
    {"pid-file", 0, 0, "PATH", "write the process id to PATH"},
    {"format", 'f', 0, "FORMAT", "format of the image (default: looked at)"},
    {"read-only", 'r', 0, NULL, "clients can only read"},
    {"snapshot", 's', 0, NULL, "writes go to a temporary file"},
    {"load-snapshot", 'l', 0, "SNAPSHOT", "serve an internal snapshot, by id or name"},
    {"nocache", 'n', 0, NULL, "the same as --cache=none"},
    {"cache", 0, 0, "MODE", "cache mode (default: writeback)"},
    {"aio", 0, 0, "MODE", "threads, native or io_uring"},
    {"discard", 0, 0, "MODE", "unmap: discards free space (default: unmap)"},
    {"detect-zeroes", 0, 0, "MODE", "off, on or unmap"},
    {"image-opts", 0, 0, NULL, "the image's name is a list of options"},
    {NULL},
};

typedef struct Server {
    Tool tool;
    ToolArgs *args;
    bool persistent, verbose, ended, had_client, failed;
    NbdDevice *device; /* -c */
    int ready;         /* told when clients can connect, or -1 */
} Server;

static int fail(Error *err)
{
    error_report(err);
    return 1;
}

static void changed(void *opaque, unsigned clients)
{
    Server *s = opaque;
    if (s->verbose) {
        fprintf(stderr, "rhea-nbd: %u client%s\n", clients, clients == 1 ? "" : "s");
    }
    s->had_client |= clients > 0;
    if (!clients && s->had_client && !s->persistent) {
        s->ended = true;
    }
}

/* ---- the image ---- */

static BlockNode *open_plain(Server *s, const char *name, Error **errp)
{
    const ToolArgs *a = s->args;
    g_autoptr(Json) o = json_object();
    static const char *const pass[] = {"aio", "detect-zeroes"};
    json_put_string(o, "file", name);
    json_put_string(o, "if", "none");
    json_put_string(o, "id", "image");
    json_put_string(o, "discard", tool_get(a, "discard") ? tool_get(a, "discard") : "unmap");
    json_put_bool(o, "readonly", tool_has(a, "read-only") || tool_has(a, "load-snapshot"));
    json_put_bool(o, "snapshot", tool_has(a, "snapshot"));
    for (size_t i = 0; i < ARRAY_LEN(pass); i++) {
        if (tool_get(a, pass[i])) {
            json_put_string(o, pass[i], tool_get(a, pass[i]));
        }
    }
    if (tool_get(a, "format")) {
        json_put_string(o, "format", tool_get(a, "format"));
    }
    if (tool_get(a, "cache") || tool_has(a, "nocache")) {
        json_put_string(o, "cache", tool_has(a, "nocache") ? "none" : tool_get(a, "cache"));
    }
    DriveInfo *d = drive_new(s->tool.graph, o, DRIVE_IF_NONE, errp);
    return d ? blk_node(d->blk) : NULL;
}

/* The node stays the graph's; nothing has to be given back. */
static BlockNode *open_image(Server *s, const char *name, Error **errp)
{
    BlockNode *n;
    if (tool_has(s->args, "image-opts")) {
        if (tool_has(s->args, "snapshot")) {
            error_set(errp, "--snapshot and --image-opts exclude each other");
            return NULL;
        }
        ToolOpen o = {
            .image_opts = true, .write = !tool_has(s->args, "read-only"), .discard = true};
        n = tool_open(&s->tool, name, &o, errp);
        if (n) {
            node_release(n, &s->tool); /* the export is its user */
        }
    } else {
        n = open_plain(s, name, errp);
    }
    const char *snapshot = tool_get(s->args, "load-snapshot");
    if (n && snapshot) {
        const char *which = strchr(snapshot, '=') ? strchr(snapshot, '=') + 1 : snapshot;
        if (image_snapshot_show(node_skip_filters(n), which, errp) < 0) {
            return NULL;
        }
    }
    return n;
}

/* ---- serving ---- */

static bool address(Server *s, SocketSpec *spec, Error **errp)
{
    const char *path = tool_get(s->args, "socket"), *host = tool_get(s->args, "bind");
    const char *port = tool_get(s->args, "port");
    g_autoptr(Json) o = json_object();
    if (path && (host || port)) {
        error_set(errp, "--socket excludes --bind and --port");
        return false;
    }
    if (tool_has(s->args, "connect") && (path || host || port || tool_has(s->args, "tls-creds"))) {
        error_set(errp, "--connect excludes --socket, --bind, --port and --tls-creds");
        return false;
    }
    json_put_string(o, "type", path ? "unix" : "inet");
    if (path) {
        json_put_string(o, "path", path);
    } else {
        json_put_string(o, "host", host ? host : "");
        json_put_string(o, "port", port ? port : "10809");
    }
    return socket_spec_from_json(spec, o, errp);
}

/* Sockets that systemd has opened for us. */
static GArray *activated(void)
{
    const char *pid = g_getenv("LISTEN_PID"), *n = g_getenv("LISTEN_FDS");
    if (!pid || !n || atoi(pid) != (int)getpid() || atoi(n) < 1) {
        return NULL;
    }
    GArray *fds = g_array_new(FALSE, FALSE, sizeof(int));
    for (int fd = 3; fd < 3 + MIN(atoi(n), 16); fd++) {
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        g_array_append_val(fds, fd);
    }
    g_unsetenv("LISTEN_PID");
    g_unsetenv("LISTEN_FDS");
    return fds;
}

static bool add_export(Server *s, BlockNode *n, uint64_t offset, int shared, Error **errp)
{
    const ToolArgs *a = s->args;
    g_autoptr(GPtrArray) names = tool_all(a, "bitmap");
    g_autoptr(Json) bitmaps = json_array();
    for (guint i = 0; i < names->len; i++) {
        json_append(bitmaps, json_string(names->pdata[i]));
    }
    if (offset >= n->length && offset) {
        error_set(errp, "--offset=%" PRIu64 " lies beyond the image, which has %" PRIu64 " bytes",
                  offset, n->length);
        return false;
    }
    const char *cache = tool_get(a, "cache");
    NbdExportParams p = {.common = {.id = "export",
                                    .node_name = n->name,
                                    .writable = !n->flags.read_only,
                                    .writethrough = cache && (!strcmp(cache, "writethrough") ||
                                                              !strcmp(cache, "directsync"))},
                         .name = tool_get(a, "export-name") ? tool_get(a, "export-name") : "",
                         .description = tool_get(a, "description"),
                         .allocation_depth = tool_has(a, "allocation-depth"),
                         .bitmaps = bitmaps,
                         .offset = offset,
                         .shared = shared};
    return nbd_export_add(s->tool.graph, &p, errp) != NULL;
}

static bool write_pid(const char *path, Error **errp)
{
    g_autofree char *text = g_strdup_printf("%d\n", (int)getpid());
    g_autoptr(GError) gerr = NULL;
    if (path && !g_file_set_contents(path, text, -1, &gerr)) {
        error_set(errp, "cannot write '%s': %s", path, gerr->message);
        return false;
    }
    return true;
}

/* Clients can connect, or the device is there. */
static void is_ready(Server *s)
{
    if (s->ready < 0) {
        return;
    }
    ssize_t done = write(s->ready, "r", 1);
    close(s->ready);
    s->ready = -1;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (done == 1 && null >= 0 && !s->verbose) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
    }
}

static void device_connected(void *opaque, Error *err)
{
    Server *s = opaque;
    if (err) {
        error_report(err);
        s->ended = s->failed = true;
        return;
    }
    if (s->verbose) {
        fprintf(stderr, "rhea-nbd: connected\n");
    }
    is_ready(s);
}

/* The kernel is the one client. */
static bool connect_device(Server *s, Error **errp)
{
    int pair[2];
    if (!s->device) {
        is_ready(s);
        return true;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        error_set_errno(errp, errno, "cannot make a socket");
        return false;
    }
    nbd_server_add_client(s->tool.graph, pair[0]);
    return nbd_device_connect(s->device, pair[1], s->tool.loop, device_connected, s, errp);
}

/* What the command line says of TLS and the device. */
static bool find_peers(Server *s, NbdServerParams *p, Error **errp)
{
    const ToolArgs *a = s->args;
    const char *creds = tool_get(a, "tls-creds"), *authz = tool_get(a, "tls-authz");
    const char *device = tool_get(a, "connect");
    if (authz && !creds) {
        error_set(errp, "--tls-authz needs --tls-creds");
        return false;
    }
    p->tls_creds = creds ? tls_creds_find(s->tool.root, creds, true, errp) : NULL;
    if (creds && !p->tls_creds) {
        return false;
    }
    p->tls_authz = authz ? authz_find(s->tool.root, authz, errp) : NULL;
    if (authz && !p->tls_authz) {
        return false;
    }
    s->device = device ? nbd_device_open(device, errp) : NULL;
    if (device) {
        p->fds = g_array_new(FALSE, FALSE, sizeof(int)); /* it does not listen */
    }
    return !device || s->device;
}

static int serve(Server *s)
{
    Error *err = NULL;
    ToolArgs *a = s->args;
    NbdServerParams p = {.opaque = s, .changed = changed};
    uint64_t offset = tool_size(a, "offset", 0);
    p.max_connections = (unsigned)tool_uint(a, "shared", 1, 0, 1u << 20);
    p.handshake_seconds = (unsigned)tool_uint(a, "handshake-limit", 10, 0, 1u << 30);
    p.fds = activated();
    bool ok = tool_args_finish(a, 1, 1, "an image", &err) && address(s, &p.addr, &err) &&
              find_peers(s, &p, &err);
    BlockNode *n = ok ? open_image(s, tool_word(a, 0), &err) : NULL;
    ok = n && add_export(s, n, offset, (int)p.max_connections, &err) &&
         nbd_server_start(s->tool.graph, &p, &err) && write_pid(tool_get(a, "pid-file"), &err) &&
         connect_device(s, &err);
    socket_spec_clear(&p.addr);
    if (!ok) {
        nbd_device_free(s->device);
        return fail(err);
    }
    while (!s->ended && !tool_interrupted()) {
        loop_poll(s->tool.loop, NS_PER_SEC);
    }
    nbd_device_free(s->device);
    nbd_server_stop(s->tool.graph);
    if (tool_get(a, "pid-file")) {
        unlink(tool_get(a, "pid-file"));
    }
    return s->failed;
}

/* The child serves; the parent ends when it is ready, with its status if it never is. */
static int in_background(int *ready)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0) {
        return -1;
    }
    pid_t pid = fork();
    if (pid < 0) {
        return -1;
    }
    if (pid == 0) {
        close(fds[0]);
        setsid();
        *ready = fds[1];
        return 0;
    }
    char c;
    int status;
    close(fds[1]);
    if (read(fds[0], &c, 1) == 1) {
        _exit(0);
    }
    _exit(waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

static int list(Server *s)
{
    Error *err = NULL;
    SocketSpec spec;
    const char *creds = tool_get(s->args, "tls-creds");
    bool ok = tool_args_finish(s->args, 0, 0, "no image", &err) && address(s, &spec, &err);
    if (!ok) {
        return fail(err);
    }
    if (spec.type == SOCKET_INET && !*spec.host) {
        g_free(spec.host);
        spec.host = g_strdup("localhost");
    }
    Object *tls = creds ? tls_creds_find(s->tool.root, creds, false, &err) : NULL;
    const char *host = tool_get(s->args, "tls-hostname");
    ok = (!creds || tls) &&
         nbd_list(&spec, tls, host ? host : spec.host, s->tool.loop, stdout, &err);
    socket_spec_clear(&spec);
    return ok ? 0 : fail(err);
}

static int disconnect(ToolArgs *a)
{
    Error *err = NULL;
    bool ok =
        tool_args_finish(a, 1, 1, "a device", &err) && nbd_device_disconnect(tool_word(a, 0), &err);
    return ok ? 0 : fail(err);
}

static void help(void)
{
    printf("Usage: rhea-nbd [OPTIONS] FILE\n"
           "  or:  rhea-nbd -L [OPTIONS]\n"
           "  or:  rhea-nbd -d DEVICE\n"
           "Serves a disk image to NBD clients; options are those of qemu-nbd.\n\n");
    tool_print_options(options);
}

int main(int argc, char **argv)
{
    Error *err = NULL;
    Server s = {.ready = -1};
    report_set_program("rhea-nbd");
    g_autoptr(ToolArgs) a = tool_args_parse(argc, argv, options, &err);
    if (!a) {
        return fail(err);
    }
    if (tool_has(a, "help")) {
        help();
        return 0;
    }
    if (tool_has(a, "version")) {
        printf("rhea-nbd %s\n", RHEA_VERSION);
        return 0;
    }
    if (tool_get(a, "trace") && !trace_enable(tool_get(a, "trace"), &err)) {
        return fail(err);
    }
    if (tool_has(a, "disconnect")) {
        return disconnect(a);
    }
    /* A device goes on when the command has returned, as with qemu-nbd. */
    bool fork = tool_has(a, "fork") || (tool_has(a, "connect") && !tool_has(a, "verbose"));
    if (fork && in_background(&s.ready) < 0) {
        report_error("cannot go to the background");
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    tool_catch_signals();
    s.args = a;
    s.persistent = tool_has(a, "persistent");
    s.verbose = tool_has(a, "verbose");
    if (!tool_start(&s.tool, &err)) {
        return fail(err);
    }
    int status = tool_add_objects(&s.tool, a, &err) ? 0 : fail(err);
    if (!status) {
        status = tool_has(a, "list") ? list(&s) : serve(&s);
    }
    tool_stop(&s.tool);
    return status;
}
