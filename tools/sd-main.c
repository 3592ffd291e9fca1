/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rhea-storage-daemon: block nodes, jobs and exports without a machine, managed by QMP. */
#include "config.h"
#include "monitor/monitor.h"
#include "nbd/nbd.h"
#include "qapi/qapi-commands.h"
#include "tools/tool.h"
#include "util/trace.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const ToolOption options[] = {
    {"help", 'h', 0, NULL, "print this help"},
    {"version", 'V', 0, NULL, "print the version"},
    {"trace", 'T', 0, "PATTERN", "print trace events"},
    {"blockdev", 0, 0, "DRIVER,node-name=N,...", "a node, as for blockdev-add"},
    {"chardev", 0, 0, "BACKEND,id=ID,...", "a character backend for --monitor"},
    {"daemonize", 0, 0, NULL, "go to the background when everything is ready"},
    {"export", 0, 0, "TYPE,id=ID,node-name=N,...",
     "an export, as for block-export-add (nbd, vhost-user-blk, fuse)"},
    {"monitor", 0, 0, "ID[,pretty=on]", "QMP on the character backend ID"},
    {"nbd-server", 0, 0, "addr.type=T,...", "an NBD server, as for nbd-server-start"},
    {"object", 0, 0, "TYPE,id=ID,...", "an object such as secret or throttle-group"},
    {"pidfile", 0, 0, "PATH", "write the process id to PATH"},
    {NULL},
};

/* The commands that make sense without a machine. */
static const char *const commands[] = {"block-",
                                       "block_resize",
                                       "blockdev-add",
                                       "blockdev-backup",
                                       "blockdev-create",
                                       "blockdev-del",
                                       "blockdev-mirror",
                                       "blockdev-reopen",
                                       "blockdev-snapshot",
                                       "chardev-",
                                       "drive-",
                                       "job-",
                                       "nbd-server-",
                                       "object-add",
                                       "object-del",
                                       "qmp_capabilities",
                                       "query-block",
                                       "query-chardev",
                                       "query-commands",
                                       "query-jobs",
                                       "query-named-block-nodes",
                                       "query-qmp-schema",
                                       "query-version",
                                       "qom-get",
                                       "qom-list",
                                       "qom-set",
                                       "quit",
                                       "transaction",
                                       NULL};

typedef struct Daemon {
    Tool tool;
    ToolArgs *args;
    MonitorSubset subset;
    bool ended;
    int ready; /* tells the parent of --daemonize, or -1 */
} Daemon;

static bool allowed(const char *name)
{
    for (size_t i = 0; commands[i]; i++) {
        if (g_str_has_prefix(name, commands[i])) {
            return true;
        }
    }
    return false;
}

static bool own(void *opaque, const char *name)
{
    Daemon *d = opaque;
    if (!strcmp(name, "quit")) {
        d->ended = true;
    }
    return d->ended;
}

/* ---- events: told from the loop, not from within a request ---- */

typedef struct Told {
    Daemon *d;
    char *name;
    Json *data;
} Told;

static void tell(void *opaque)
{
    Told *t = opaque;
    monitor_event(t->d->tool.root, t->name, t->data);
    g_free(t->name);
    g_free(t);
}

static void on_event(void *opaque, const char *name, Json *data)
{
    Daemon *d = opaque;
    Told *t = g_new0(Told, 1);
    *t = (Told){d, g_strdup(name), data};
    loop_defer(d->tool.loop, tell, t);
}

/* ---- options, in the order they were given ---- */

static bool add_monitor(Daemon *d, const Json *o, Error **errp)
{
    g_autoptr(BlockOpts) b = block_opts_new(o, "--monitor");
    static const char *const modes[] = {"control", NULL};
    const char *id = block_opts_string(b, "chardev", NULL);
    bool pretty = block_opts_bool(b, "pretty", false);
    block_opts_enum(b, "mode", modes, 0);
    block_opts_take(b, "id");
    if (!id) {
        block_opts_mistake(b, "'chardev' is missing");
    }
    Chardev *chr = block_opts_finish(b, errp) ? chardev_find(d->tool.root, id, errp) : NULL;
    return chr && monitor_new(d->tool.root, chr, MONITOR_CONTROL, pretty, d->tool.loop, errp);
}

static bool start_server(Daemon *d, const Json *o, Error **errp)
{
    uint64_t limit = 10, max = 100;
    g_autoptr(BlockOpts) b = block_opts_new(o, "--nbd-server");
    Json *addr = block_opts_take(b, "addr");
    limit = block_opts_uint(b, "handshake-max-seconds", 10, 0, UINT32_MAX);
    max = block_opts_uint(b, "max-connections", 100, 0, UINT32_MAX);
    const char *creds = block_opts_string(b, "tls-creds", NULL);
    const char *authz = block_opts_string(b, "tls-authz", NULL);
    if (!addr) {
        block_opts_mistake(b, "'addr' is missing");
    }
    return block_opts_finish(b, errp) &&
           qmp_nbd_server_start(d->tool.root, addr, true, (int64_t)limit, creds, authz, true,
                                (int64_t)max, errp);
}

static bool apply(Daemon *d, const char *name, const char *value, Error **errp)
{
    static const struct {
        const char *name, *implied;
    } known[] = {{"blockdev", "driver"}, {"chardev", "backend"}, {"export", "type"},
                 {"monitor", "chardev"}, {"nbd-server", NULL},   {"object", "qom-type"}};
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strcmp(name, known[i].name)) {
            continue;
        }
        g_autofree char *option = g_strconcat("--", name, NULL);
        g_autoptr(OptionText) t = option_parse(option, value, known[i].implied, errp);
        Json *o = t ? option_values(t) : NULL;
        return o && (i == 0   ? block_open(d->tool.graph, o, errp) != NULL
                     : i == 1 ? chardev_new(d->tool.root, NULL, o, d->tool.loop, errp) != NULL
                     : i == 2 ? qmp_block_export_add(d->tool.root, o, errp)
                     : i == 3 ? add_monitor(d, o, errp)
                     : i == 4 ? start_server(d, o, errp)
                              : qmp_object_add(d->tool.root, o, errp));
    }
    return true; /* one of the others */
}

static bool apply_all(Daemon *d, Error **errp)
{
    const char *name, *value;
    for (unsigned i = 0; (name = tool_nth(d->args, i, &value)); i++) {
        if (!apply(d, name, value, errp)) {
            return false;
        }
    }
    const char *pid = tool_get(d->args, "pidfile");
    g_autofree char *text = g_strdup_printf("%d\n", (int)getpid());
    g_autoptr(GError) gerr = NULL;
    if (pid && !g_file_set_contents(pid, text, -1, &gerr)) {
        error_set(errp, "cannot write '%s': %s", pid, gerr->message);
        return false;
    }
    return true;
}

static void in_background(Daemon *d)
{
    int fds[2];
    char c;
    if (pipe2(fds, O_CLOEXEC) < 0) {
        return;
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        setsid();
        d->ready = fds[1];
        return;
    }
    close(fds[1]);
    _exit(pid > 0 && read(fds[0], &c, 1) == 1 ? 0 : 1);
}

static void is_ready(Daemon *d)
{
    int null = d->ready >= 0 ? open("/dev/null", O_RDWR | O_CLOEXEC) : -1;
    if (d->ready >= 0 && write(d->ready, "r", 1) == 1 && null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
    }
}

int main(int argc, char **argv)
{
    Error *err = NULL;
    Daemon d = {.ready = -1};
    report_set_program("rhea-storage-daemon");
    g_autoptr(ToolArgs) a = tool_args_parse(argc, argv, options, &err);
    if (!a || !tool_args_finish(a, 0, 0, "nothing", &err)) {
        error_report(err);
        return 1;
    }
    if (tool_has(a, "help")) {
        printf("Usage: rhea-storage-daemon [OPTIONS]\nServes disk images and runs jobs on them; "
               "options are those of qemu-storage-daemon, taken in order.\n\n");
        tool_print_options(options);
        return 0;
    }
    if (tool_has(a, "version")) {
        printf("rhea-storage-daemon %s\n", RHEA_VERSION);
        return 0;
    }
    d.args = a;
    if (tool_has(a, "daemonize")) {
        in_background(&d);
    }
    signal(SIGPIPE, SIG_IGN);
    tool_catch_signals();
    if ((tool_get(a, "trace") && !trace_enable(tool_get(a, "trace"), &err)) ||
        !tool_start(&d.tool, &err)) {
        error_report(err);
        return 1;
    }
    d.subset = (MonitorSubset){allowed, own, &d};
    monitor_set_subset(d.tool.root, &d.subset);
    block_graph_set_event_hook(d.tool.graph, on_event, &d);
    bool ok = apply_all(&d, &err);
    if (!ok) {
        error_report(err);
    } else {
        is_ready(&d);
        while (!d.ended && !tool_interrupted()) {
            loop_poll(d.tool.loop, NS_PER_SEC);
        }
    }
    block_graph_set_event_hook(d.tool.graph, NULL, NULL);
    monitor_close_all(d.tool.root);
    if (tool_get(a, "pidfile")) {
        unlink(tool_get(a, "pidfile"));
    }
    tool_stop(&d.tool);
    return ok ? 0 : 1;
}
