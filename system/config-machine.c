/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -machine, -accel, -smp, -m, -boot, -rtc, and the machine types' names. */
#include "config.h"
#include "system/setup.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

/* ---- machine types ---- */
char *machine_type_name(const TypeInfo *t)
{
    size_t n = strlen(t->name), s = strlen("-machine");
    return g_strndup(t->name, n > s && !strcmp(t->name + n - s, "-machine") ? n - s : n);
}

const TypeInfo *machine_type_find(const char *name, Error **errp)
{
    g_autofree const TypeInfo **types = type_list(TYPE_MACHINE, false);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    for (unsigned i = 0; types[i]; i++) {
        const MachineClass *k = type_class(types[i]);
        g_autofree char *own = machine_type_name(types[i]);
        if (name ? !strcmp(name, own) || (k->alias && !strcmp(name, k->alias)) : k->is_default) {
            return types[i];
        }
        g_ptr_array_add(names, g_strdup(own));
        if (k->alias) {
            g_ptr_array_add(names, g_strdup(k->alias));
        }
    }
    g_ptr_array_add(names, NULL);
    const char *near = name ? nearest_word(name, (const char *const *)names->pdata) : NULL;
    error_set(errp, "There is no machine type '%s'", name ? name : "(default)");
    if (near) {
        error_hint(errp, "did you mean '%s'?", near);
    }
    error_hint(errp, "'-machine help' lists them");
    return NULL;
}

static void finish(const GivenOption *g, Cmdline *c)
{
    Error *err = NULL;
    option_finish(g->text, &err);
    cmdline_error(c, err);
}

/* ---- engines ---- */
static void add_accel(Config *cfg, const char *name, OptionText *text)
{
    AccelChoice *a = g_new0(AccelChoice, 1);
    a->name = g_strdup(name);
    a->text = text;
    g_ptr_array_add(cfg->accels, a);
}

/* Properties of the engine that may be said with -machine: noted in the text of -accel kvm. */
static void move_kvm_props(Config *cfg)
{
    static const char *const names[] = {"kernel-irqchip", "kvm-shadow-mem", NULL};
    for (unsigned i = 0; names[i]; i++) {
        g_autofree char *under = g_strdelimit(g_strdup(names[i]), "-", '_');
        const char *key = json_get(cfg->machine_props, names[i]) ? names[i] : under;
        const Json *v = json_get(cfg->machine_props, key);
        if (v) {
            if (!cfg->kvm_props) {
                cfg->kvm_props = json_object();
            }
            json_put(cfg->kvm_props, names[i], json_ref((Json *)v));
            json_remove(cfg->machine_props, key);
        }
    }
}

static void read_accels(Config *cfg, Cmdline *c)
{
    move_kvm_props(cfg);
    const char *list = json_get_str(cfg->machine_props, "accel");
    if (list) {
        g_auto(GStrv) names = g_strsplit(list, ":", 0);
        for (char **n = names; *n; n++) {
            add_accel(cfg, *n, NULL);
        }
        json_remove(cfg->machine_props, "accel");
    }
    CMDLINE_EACH(c, OPT_ACCEL, g)
    {
        const char *name = option_take_string(g->text, "accel", NULL);
        if (name && !option_wants_help(g->text)) {
            add_accel(cfg, name, g->text);
        }
    }
    if (cmdline_last(c, OPT_ENABLE_KVM)) {
        add_accel(cfg, "kvm", NULL);
    }
    if (!cfg->accels->len) {
        add_accel(cfg, "tcg", NULL);
    }
}

static void read_machine_option(Config *cfg, Cmdline *c)
{
    CMDLINE_EACH(c, OPT_MACHINE, g)
    {
        Json *v = option_values(g->text);
        if (option_wants_help(g->text)) {
            continue;
        }
        cfg->machine_option = g;
        for (size_t i = 0; i < json_length(v); i++) {
            const char *key = json_key_at(v, i);
            if (!strcmp(key, "type")) {
                cfg->machine_type = json_get_string(json_value_at(v, i));
            } else {
                json_put(cfg->machine_props, key, json_ref(json_value_at(v, i)));
            }
        }
    }
    Error *err = NULL;
    if (!machine_type_find(cfg->machine_type, &err)) {
        error_prefix(&err, "-machine: ");
        cmdline_error(c, err);
    }
}

/* ---- -smp ---- */
static void read_smp(Config *cfg, Cmdline *c)
{
    const GivenOption *g = cmdline_last(c, OPT_SMP);
    if (!g) {
        return;
    }
    OptionText *t = g->text;
    uint64_t cpus = option_take_uint(t, "cpus", 0, 0, 4096);
    uint64_t max = option_take_uint(t, "maxcpus", 0, 0, 4096);
    uint64_t sockets = option_take_uint(t, "sockets", 0, 0, 4096);
    uint64_t dies = option_take_uint(t, "dies", 1, 1, 4096);
    uint64_t clusters = option_take_uint(t, "clusters", 1, 1, 4096);
    uint64_t modules = option_take_uint(t, "modules", 1, 1, 1);
    uint64_t cores = option_take_uint(t, "cores", 0, 0, 4096);
    uint64_t threads = option_take_uint(t, "threads", 0, 0, 4096);
    option_take_uint(t, "drawers", 1, 1, 1);
    option_take_uint(t, "books", 1, 1, 1);
    uint64_t fixed = dies * clusters * modules;
    if (!cpus && !max) {
        sockets = sockets ? sockets : 1;
        cores = cores ? cores : 1;
        threads = threads ? threads : 1;
        max = cpus = sockets * fixed * cores * threads;
    } else {
        max = max ? max : cpus;
        /* What is missing is computed; cores are preferred over sockets over threads. */
        if (!cores) {
            sockets = sockets ? sockets : 1;
            threads = threads ? threads : 1;
            cores = max / (sockets * fixed * threads);
        } else if (!sockets) {
            threads = threads ? threads : 1;
            sockets = max / (fixed * cores * threads);
        } else if (!threads) {
            threads = max / (sockets * fixed * cores);
        }
        cpus = cpus ? cpus : max;
    }
    uint64_t product = sockets * fixed * cores * threads;
    if (product != max || cpus > max || !cpus) {
        option_mistake(t, NULL,
                       "sockets (%" PRIu64 ") * dies (%" PRIu64 ") * clusters (%" PRIu64
                       ") * cores (%" PRIu64 ") * threads (%" PRIu64 ") must be maxcpus (%" PRIu64
                       "), and cpus (%" PRIu64 ") at most that",
                       sockets, dies, clusters, cores, threads, max, cpus);
    } else if (cpus != max) {
        option_mistake(t, "maxcpus", "CPUs cannot be plugged in yet: maxcpus must be %" PRIu64,
                       cpus);
    }
    cfg->smp = (SmpTopology){.cpus = (unsigned)cpus,
                             .max_cpus = (unsigned)max,
                             .sockets = (unsigned)sockets,
                             .dies = (unsigned)dies,
                             .clusters = (unsigned)clusters,
                             .cores = (unsigned)(cores * clusters),
                             .threads = (unsigned)threads};
    finish(g, c);
}

/* ---- -m, -boot ---- */
static void read_memory(Config *cfg, Cmdline *c)
{
    CMDLINE_EACH(c, OPT_M, g)
    {
        cfg->ram_size = option_take_size(g->text, "size", cfg->ram_size, 'M');
        cfg->ram_slots = option_take_uint(g->text, "slots", 0, 0, 256);
        cfg->max_ram_size = option_take_size(g->text, "maxmem", 0, 'M');
        if (cfg->ram_slots || (cfg->max_ram_size && cfg->max_ram_size != cfg->ram_size)) {
            option_mistake(g->text, cfg->ram_slots ? "slots" : "maxmem",
                           "memory cannot be plugged in yet");
        }
        if (cfg->ram_size % 4096) {
            cfg->ram_size = ALIGN_UP(cfg->ram_size, 4096);
        }
        finish(g, c);
    }
    cfg->max_ram_size = cfg->max_ram_size ? cfg->max_ram_size : cfg->ram_size;
}

static void check_order(const GivenOption *g, const char *key, const char *order)
{
    if (order && strspn(order, "abcdefghijklmnop") != strlen(order)) {
        option_mistake(g->text, key, "drives are letters: a floppy, c disk, d CD-ROM, n network");
    }
}

static void read_boot(Config *cfg, Cmdline *c)
{
    BootConfig *b = &cfg->boot;
    CMDLINE_EACH(c, OPT_BOOT, g)
    {
        const char *order = option_take_string(g->text, "order", NULL);
        const char *once = option_take_string(g->text, "once", NULL);
        const char *splash = option_take_string(g->text, "splash", NULL);
        check_order(g, "order", order);
        check_order(g, "once", once);
        if (order) {
            g_free(b->order);
            b->order = g_strdup(order);
        }
        if (once) {
            g_free(b->once);
            b->once = g_strdup(once);
        }
        if (splash) {
            g_free(b->splash);
            b->splash = g_strdup(splash);
        }
        b->menu = option_take_bool(g->text, "menu", b->menu);
        b->strict = option_take_bool(g->text, "strict", b->strict);
        if (option_has(g->text, "splash-time")) {
            b->splash_time = (int64_t)option_take_uint(g->text, "splash-time", 0, 0, 0xffff);
        }
        if (option_has(g->text, "reboot-timeout")) {
            const char *v = option_take_string(g->text, "reboot-timeout", "-1");
            if (!parse_int(v, &b->reboot_timeout) || b->reboot_timeout < -1 ||
                b->reboot_timeout > 0xffff) {
                option_mistake(g->text, "reboot-timeout", "milliseconds from -1 to 65535");
            }
        }
        finish(g, c);
    }
}

/* ---- -rtc ---- */
static void read_rtc(Config *cfg, Cmdline *c)
{
    static const char *const clocks[] = {"host", "rt", "vm", NULL};
    static const char *const fixes[] = {"none", "slew", NULL};
    CMDLINE_EACH(c, OPT_RTC, g)
    {
        const char *base = option_take_string(g->text, "base", "utc");
        static const ClockType types[] = {CLOCK_HOST, CLOCK_RT, CLOCK_VIRTUAL};
        cfg->rtc_clock = types[option_take_enum(g->text, "clock", clocks, 0)];
        cfg->rtc_slew = option_take_enum(g->text, "driftfix", fixes, 0) == 1;
        cfg->rtc_localtime = !strcmp(base, "localtime");
        time_t now = time(NULL);
        struct tm tm = {0};
        if (cfg->rtc_localtime) {
            localtime_r(&now, &tm);
            cfg->rtc_offset_ns = tm.tm_gmtoff * NS_PER_SEC;
        } else if (strcmp(base, "utc")) {
            const char *end = strptime(base, "%Y-%m-%dT%H:%M:%S", &tm);
            if (!end) {
                end = strptime(base, "%Y-%m-%d", &tm);
            }
            if (end && !*end) {
                cfg->rtc_start_ns = timegm(&tm) * NS_PER_SEC;
            } else {
                option_mistake(g->text, "base",
                               "utc, localtime, or a date such as 2006-06-17T16:01:21");
            }
        }
        finish(g, c);
    }
}

/* ---- -icount ---- */
#define ICOUNT_SHIFT_MAX 10

static void read_icount(Config *cfg, Cmdline *c)
{
    const GivenOption *g = cmdline_last(c, OPT_ICOUNT);
    Error *err = NULL;
    uint64_t shift = 0;
    if (!g) {
        return;
    }
    IcountConfig *ic = &cfg->icount;
    const char *text = option_take_string(g->text, "shift", NULL);
    ic->on = true;
    ic->adaptive = text && !strcmp(text, "auto");
    ic->align = option_take_bool(g->text, "align", false);
    ic->sleep = option_take_bool(g->text, "sleep", true);
    if (!text) {
        option_mistake(g->text, NULL, "'shift' is missing: a number or auto");
    } else if (!ic->adaptive && (!parse_uint(text, &shift) || shift > ICOUNT_SHIFT_MAX)) {
        option_mistake(g->text, "shift", "a number from 0 to %d or auto is expected",
                       ICOUNT_SHIFT_MAX);
    }
    ic->shift = (unsigned)shift;
    if (ic->align && (ic->adaptive || !ic->sleep)) {
        option_mistake(g->text, "align", "it needs a fixed shift and sleep=on");
    } else if (ic->adaptive && !ic->sleep) {
        option_mistake(g->text, "sleep", "shift=auto follows the host's time: it needs sleep=on");
    }
    static const char *const replay[] = {"rr", "rrfile", "rrsnapshot", NULL};
    for (unsigned i = 0; replay[i]; i++) {
        if (option_take_string(g->text, replay[i], NULL)) {
            option_mistake(g->text, replay[i], "recording and replaying are not supported");
        }
    }
    option_finish(g->text, &err);
    cmdline_error(c, err);
}

void config_read_machine(Config *cfg, Cmdline *c)
{
    read_machine_option(cfg, c);
    read_accels(cfg, c);
    read_smp(cfg, c);
    read_memory(cfg, c);
    read_boot(cfg, c);
    read_rtc(cfg, c);
    read_icount(cfg, c);
}
