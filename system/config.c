/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options that are mere values: names, actions, files, switches. */
#include "system/setup.h"

#include <string.h>

void config_init(Config *cfg)
{
    *cfg = (Config){
        .machine_props = json_object(),
        .accels = g_ptr_array_new(),
        .smp = {.cpus = 1,
                .max_cpus = 1,
                .sockets = 1,
                .dies = 1,
                .clusters = 1,
                .cores = 1,
                .threads = 1},
        .ram_size = 128 * MiB,
        .boot = {.splash_time = -1, .reboot_timeout = -1},
        .rtc_clock = CLOCK_HOST,
        .on_reboot = Q_REBOOT_ACTION_RESET,
        .on_shutdown = Q_SHUTDOWN_ACTION_POWEROFF,
        .on_panic = Q_PANIC_ACTION_SHUTDOWN,
        .on_watchdog = Q_WATCHDOG_ACTION_RESET,
        .fd_bootchk = true,
        .escape = 1,
    };
}

void config_free(Config *cfg)
{
    json_unref(cfg->machine_props);
    if (cfg->kvm_props) {
        json_unref(cfg->kvm_props);
    }
    for (unsigned i = 0; i < cfg->accels->len; i++) {
        AccelChoice *a = cfg->accels->pdata[i];
        g_free(a->name);
        g_free(a);
    }
    g_ptr_array_free(cfg->accels, TRUE);
    g_free(cfg->boot.order);
    g_free(cfg->boot.once);
    g_free(cfg->boot.splash);
    g_free(cfg->cpu);
    g_free(cfg->name);
    g_free(cfg->process_name);
    g_free(cfg->chroot_dir);
    g_free(cfg->user);
}

/* Ends the taking from an option: what is left over is a mistake. */
static void finish(const GivenOption *g, Cmdline *c)
{
    Error *err = NULL;
    option_finish(g->text, &err);
    cmdline_error(c, err);
}

static char *take_dup(const GivenOption *g, const char *key, char *old)
{
    const char *v = option_take_string(g->text, key, NULL);
    if (!v) {
        return old;
    }
    g_free(old);
    return g_strdup(v);
}

static void read_actions(Config *cfg, Cmdline *c)
{
    if (cmdline_last(c, OPT_NO_REBOOT)) {
        cfg->on_reboot = Q_REBOOT_ACTION_SHUTDOWN;
    }
    if (cmdline_last(c, OPT_NO_SHUTDOWN)) {
        cfg->on_shutdown = Q_SHUTDOWN_ACTION_PAUSE;
    }
    CMDLINE_EACH(c, OPT_ACTION, g)
    {
        cfg->on_reboot = option_take_enum(g->text, "reboot", QRebootAction_names, cfg->on_reboot);
        cfg->on_shutdown =
            option_take_enum(g->text, "shutdown", QShutdownAction_names, cfg->on_shutdown);
        cfg->on_panic = option_take_enum(g->text, "panic", QPanicAction_names, cfg->on_panic);
        cfg->on_watchdog =
            option_take_enum(g->text, "watchdog", QWatchdogAction_names, cfg->on_watchdog);
        finish(g, c);
    }
    const GivenOption *w = cmdline_last(c, OPT_WATCHDOG_ACTION);
    if (w) {
        int a = qapi_enum_find(QWatchdogAction_names, w->arg);
        if (a >= 0) {
            cfg->on_watchdog = a;
        } else {
            Error *err = NULL;
            g_autofree char *all = g_strjoinv(", ", (char **)QWatchdogAction_names);
            error_set(&err, "-watchdog-action %s: there is no such action", w->arg);
            error_hint(&err, "there are: %s", all);
            cmdline_error(c, err);
        }
    }
}

static void read_identity(Config *cfg, Cmdline *c)
{
    CMDLINE_EACH(c, OPT_NAME, g)
    {
        cfg->name = take_dup(g, "guest", cfg->name);
        cfg->process_name = take_dup(g, "process", cfg->process_name);
        option_take_bool(g->text, "debug-threads", true); /* threads always have names */
        finish(g, c);
    }
    const GivenOption *u = cmdline_last(c, OPT_UUID);
    if (u) {
        cfg->uuid_set = parse_uuid(u->arg, cfg->uuid);
        if (!cfg->uuid_set) {
            Error *err = NULL;
            error_set(&err, "-uuid %s: this is no UUID", u->arg);
            error_hint(&err, "a UUID looks like 550e8400-e29b-41d4-a716-446655440000");
            cmdline_error(c, err);
        }
    }
}

static void refuse(Cmdline *c, const GivenOption *g, const char *why)
{
    Error *err = NULL;
    error_set(&err, "-%s %s: %s", g->def->name, g->arg ? g->arg : "", why);
    cmdline_error(c, err);
}

static void read_sandbox(Config *cfg, const GivenOption *g)
{
    static const char *const words[] = {"allow", "deny", "children", NULL};
    static const char *const keys[] = {"obsolete", "elevateprivileges", "spawn", "resourcecontrol"};
    int how[G_N_ELEMENTS(keys)];
    bool on = option_take_bool(g->text, "enable", false);

    for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
        how[i] = option_take_enum(g->text, keys[i], words, i == 0); /* the obsolete: denied */
        if (how[i] == 2 && i != 1) {
            option_mistake(g->text, keys[i], "'children' is a word of elevateprivileges alone");
        }
        if (!on && option_has(g->text, keys[i])) {
            option_mistake(g->text, keys[i], "it says something of -sandbox on only");
        }
    }
    cfg->sandbox = (SandboxRules){.on = on,
                                  .allow_obsolete = how[0] == 0,
                                  .deny_rights = how[1] == 1,
                                  .deny_rights_of_children = how[1] == 2,
                                  .deny_spawn = how[2] == 1,
                                  .deny_resources = how[3] == 1};
}

static void read_process(Config *cfg, Cmdline *c)
{
    CMDLINE_EACH(c, OPT_RUN_WITH, g)
    {
        cfg->chroot_dir = take_dup(g, "chroot", cfg->chroot_dir);
        cfg->user = take_dup(g, "user", cfg->user);
        if (option_take_bool(g->text, "async-teardown", false)) {
            option_mistake(g->text, "async-teardown", "not supported");
        }
        finish(g, c);
    }
    CMDLINE_EACH(c, OPT_SANDBOX, g)
    {
        read_sandbox(cfg, g);
        finish(g, c);
    }
    CMDLINE_EACH(c, OPT_OVERCOMMIT, g)
    {
        cfg->mem_lock = option_take_bool(g->text, "mem-lock", cfg->mem_lock);
        if (option_take_bool(g->text, "cpu-pm", false)) {
            option_mistake(g->text, "cpu-pm", "not supported");
        }
        finish(g, c);
    }
    CMDLINE_EACH(c, OPT_MSG, g)
    {
        report_set_timestamps(option_take_bool(g->text, "timestamp", true));
        if (option_take_bool(g->text, "guest-name", false)) {
            option_mistake(g->text, "guest-name", "not supported");
        }
        finish(g, c);
    }
    CMDLINE_EACH(c, OPT_COMPAT, g)
    {
        static const char *const input[] = {"accept", "reject", NULL};
        static const char *const output[] = {"accept", "hide", NULL};
        cfg->refuse_deprecated =
            option_take_enum(g->text, "deprecated-input", input, cfg->refuse_deprecated) == 1;
        cfg->refuse_unstable =
            option_take_enum(g->text, "unstable-input", input, cfg->refuse_unstable) == 1;
        /* No event and no member of an answer is marked: both policies are true of that. */
        option_take_enum(g->text, "deprecated-output", output, 0);
        option_take_enum(g->text, "unstable-output", output, 0);
        finish(g, c);
    }
}

static const char *last_arg(Cmdline *c, OptionId id)
{
    const GivenOption *g = cmdline_last(c, id);
    return g ? g->arg : NULL;
}

static void read_display(Config *cfg, Cmdline *c)
{
    cfg->nographic = cmdline_last(c, OPT_NOGRAPHIC) != NULL;
    CMDLINE_EACH(c, OPT_DISPLAY, g)
    {
        if (g_str_has_prefix(g->arg, "vnc=")) {
            cfg->vnc = g->arg + strlen("vnc=");
        } else if (!strcmp(g->arg, "none")) {
            cfg->display_none = true;
        } else if (strcmp(g->arg, "help")) {
            Error *err = NULL;
            error_set(&err, "-display %s: there is no such display", g->arg);
            error_hint(&err, "there are: none, vnc=:N");
            cmdline_error(c, err);
        }
    }
    CMDLINE_EACH(c, OPT_VNC, g)
    {
        cfg->vnc = g->arg;
    }
    if (cfg->vnc && !strcmp(cfg->vnc, "none")) {
        cfg->vnc = NULL;
        cfg->display_none = true;
    }
    const GivenOption *k = cmdline_last(c, OPT_K);
    if (k && strcmp(k->arg, "en-us")) {
        Error *err = NULL;
        error_set(&err, "-k %s: there is no such keyboard layout", k->arg);
        error_hint(&err, "there is: en-us; viewers that send key codes need none");
        cmdline_error(c, err);
    }
    cfg->vga = last_arg(c, OPT_VGA);
    const GivenOption *e = cmdline_last(c, OPT_ECHR);
    uint64_t code;
    if (e && !(parse_uint(e->arg, &code) && code < 256)) {
        refuse(c, e, "a character code from 0 to 255 is expected");
    } else if (e) {
        cfg->escape = (uint8_t)code;
    }
}

void config_read(Config *cfg, Cmdline *c)
{
    read_actions(cfg, c);
    read_identity(cfg, c);
    read_process(cfg, c);
    read_display(cfg, c);
    cfg->nodefaults = cmdline_last(c, OPT_NODEFAULTS) != NULL;
    cfg->snapshot = cmdline_last(c, OPT_SNAPSHOT) != NULL;
    cfg->stopped = cmdline_last(c, OPT_S) != NULL;
    cfg->daemonize = cmdline_last(c, OPT_DAEMONIZE) != NULL;
    cfg->perfmap = cmdline_last(c, OPT_PERFMAP) != NULL;
    cfg->usb = cmdline_last(c, OPT_USB) != NULL;
    cfg->fd_bootchk = !cmdline_last(c, OPT_NO_FD_BOOTCHK);
    cfg->mem_prealloc = cmdline_last(c, OPT_MEM_PREALLOC) != NULL;
    cfg->mem_path = last_arg(c, OPT_MEM_PATH);
    cfg->kernel = last_arg(c, OPT_KERNEL);
    cfg->initrd = last_arg(c, OPT_INITRD);
    cfg->append = last_arg(c, OPT_APPEND);
    cfg->bios = last_arg(c, OPT_BIOS);
    cfg->pidfile = last_arg(c, OPT_PIDFILE);
    cfg->cpu = g_strdup(last_arg(c, OPT_CPU));
    const GivenOption *q = cmdline_last(c, OPT_QTEST_LOG);
    if (q && !cmdline_last(c, OPT_QTEST)) {
        refuse(c, q, "there is no -qtest whose protocol could be logged");
    }
    cfg->qtest_log = q && strcmp(q->arg, "none") ? q->arg : NULL;
    if (cfg->daemonize && cfg->nographic) {
        Error *err = NULL;
        error_set(&err, "-daemonize and -nographic exclude each other: a daemon has no terminal");
        error_hint(&err, "use -display none with -serial and -monitor");
        cmdline_error(c, err);
    }
    if (!cfg->kernel && (cfg->initrd || cfg->append)) {
        Error *err = NULL;
        error_set(&err, "-initrd and -append are for a -kernel, and there is none");
        cmdline_error(c, err);
    }
    config_read_machine(cfg, c);
}
