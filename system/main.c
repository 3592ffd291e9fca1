/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rhea-system-x86_64: from the command line to a running machine, and out again. */
#include "block/ops.h"
#include "chardev/chardev.h"
#include "system/setup.h"
#include "util/log.h"
#include "util/trace.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static void quit_by_escape(void *opaque)
{
    vm_request_shutdown(opaque, Q_SHUTDOWN_CAUSE_HOST_UI, 0);
}

static bool save_by_escape(void *opaque, Error **errp)
{
    Vm *vm = opaque;

    return block_commit_all(block_graph_of(&vm->obj), errp);
}

/* -d, -D, -trace: what they say must be right before a file is made. */
static void setup_logging(Cmdline *c)
{
    Error *err = NULL;
    const GivenOption *d = cmdline_last(c, OPT_D), *file = cmdline_last(c, OPT_LOGFILE);
    const char *path = file ? file->arg : NULL;
    if (d) {
        log_set_items(d->arg, &err);
        error_prefix(&err, "-d %s: ", d->arg);
        cmdline_error(c, err);
    }
    const GivenOption *filter = cmdline_last(c, OPT_DFILTER);
    if (filter) {
        err = NULL;
        log_set_filter(filter->arg, &err);
        error_prefix(&err, "-dfilter %s: ", filter->arg);
        cmdline_error(c, err);
    }
    CMDLINE_EACH(c, OPT_TRACE, g)
    {
        const char *pattern = option_take_string(g->text, "enable", NULL);
        const char *events = option_take_string(g->text, "events", NULL);
        path = option_take_string(g->text, "file", path);
        err = NULL;
        if (pattern) {
            trace_enable(pattern, &err);
        }
        if (events && !err) {
            trace_enable_file(events, &err);
        }
        if (!err) {
            option_finish(g->text, &err);
        }
        cmdline_error(c, err);
    }
    if (path && !c->errors->len) {
        err = NULL;
        log_set_file(path, &err);
        cmdline_error(c, err);
    }
}

static _Noreturn void fail(Cmdline *c)
{
    cmdline_report(c);
    chardev_cleanup_terminal();
    pidfile_remove();
    _exit(1);
}

static void stop_if_wrong(Cmdline *c)
{
    if (c->errors->len) {
        fail(c);
    }
}

/* Every step notes all its mistakes; a later step needs what the earlier ones made. */
static void build(Vm *vm, Config *cfg, Cmdline *c)
{
    setup_machine(vm, cfg, c);
    setup_backends(vm, cfg, c);
    stop_if_wrong(c);
    setup_devices(vm, cfg, c);
    stop_if_wrong(c);
    setup_displays(vm, cfg, c);
    stop_if_wrong(c);
}

static void start(Vm *vm, Config *cfg, Cmdline *c)
{
    Error *err = NULL;
    vm->on_reboot = cfg->on_reboot;
    vm->on_shutdown = cfg->on_shutdown;
    vm->on_panic = cfg->on_panic;
    vm->on_watchdog = cfg->on_watchdog;
    chardev_set_escape_handlers(&vm->obj, quit_by_escape, save_by_escape, vm);
    vm_reset(vm, Q_SHUTDOWN_CAUSE_NONE);
    if (cfg->pidfile) {
        pidfile_write(cfg->pidfile, &err);
        cmdline_error(c, g_steal_pointer(&err));
    }
    if (!c->errors->len && (cfg->user || cfg->chroot_dir)) {
        rights_drop(cfg->user, cfg->chroot_dir, &err);
        cmdline_error(c, g_steal_pointer(&err));
    }
    stop_if_wrong(c);
    if (cfg->sandbox.on) {
        sandbox_enter(&cfg->sandbox, &err);
        cmdline_error(c, g_steal_pointer(&err));
        stop_if_wrong(c);
    }
    if (!cfg->stopped) {
        vm_start(vm, NULL);
    }
    daemon_ready();
}

int main(int argc, char **argv)
{
    Error *err = NULL;
    report_set_program("rhea-system-x86_64");
    signal(SIGPIPE, SIG_IGN);
    Cmdline *c = cmdline_new();
    Config cfg;
    cmdline_parse(c, argc, argv);
    config_init(&cfg);
    if (print_help_if_asked(c)) {
        cmdline_free(c);
        config_free(&cfg);
        return 0;
    }
    config_read(&cfg, c);
    check_options(&cfg, c);
    if (!c->errors->len) {
        setup_logging(c);
    }
    stop_if_wrong(c);
    if (cfg.process_name) {
        prctl(PR_SET_NAME, cfg.process_name);
    }
    if (cfg.daemonize && !daemon_start(&err)) {
        error_report(err);
        return 1;
    }
    Vm *vm = vm_new(&err);
    if (!vm || !signals_setup(vm, &err)) {
        error_report(err);
        return 1;
    }
    build(vm, &cfg, c);
    start(vm, &cfg, c);
    int status = vm_main_loop(vm);
    vm_free(vm);
    pidfile_remove();
    cmdline_free(c);
    config_free(&cfg);
    return status;
}
