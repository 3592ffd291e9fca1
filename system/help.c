/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the "help" of each option prints. */
#include "chardev/chardev.h"
#include "config.h"
#include "system/setup.h"
#include "target/i386/model.h"
#include "util/log.h"
#include "util/trace.h"

#include <string.h>

static void machine_help(void)
{
    g_autofree const TypeInfo **types = type_list(TYPE_MACHINE, false);
    printf("Supported machines are:\n");
    for (unsigned i = 0; types[i]; i++) {
        const MachineClass *k = type_class(types[i]);
        g_autofree char *name = machine_type_name(types[i]);
        if (k->alias) {
            printf("%-20s %s (alias of %s)\n", k->alias, k->desc, name);
        }
        printf("%-20s %s%s\n", name, k->desc, k->is_default ? " (default)" : "");
    }
}

static bool print_property(const Property *p, void *opaque)
{
    g_autofree char *line = property_describe(p);
    printf("%s\n", line);
    return true;
}

/* "-machine q35,help", "-object iothread,help". */
static bool type_help(const TypeInfo *t, const char *what)
{
    printf("%s options:\n", what);
    type_each_property(t, print_property, NULL);
    return true;
}

static void object_help(void)
{
    g_autofree const TypeInfo **types = type_list("object", false);
    printf("List of user creatable objects:\n");
    for (unsigned i = 0; types[i]; i++) {
        if (types[i]->user_creatable) {
            printf("  %-24s %s\n", types[i]->name, types[i]->help ? types[i]->help : "");
        }
    }
}

static void accel_help(void)
{
    g_autofree const TypeInfo **types = type_list(TYPE_ACCEL, false);
    printf("Accelerators supported:\n");
    for (unsigned i = 0; types[i]; i++) {
        printf("%s\n", ((const AccelClass *)type_class(types[i]))->name);
    }
}

static void chardev_help(void)
{
    g_autofree const char **names = chardev_backends();
    printf("Available chardev backend types:\n");
    for (unsigned i = 0; names[i]; i++) {
        g_autofree char *type = g_strdup_printf("chardev-%s", names[i]);
        printf("  %-10s %s\n", names[i], type_find(type)->help);
    }
}

static void netdev_help(void)
{
    g_autofree const TypeInfo **types = type_list("netdev", false);
    printf("Available netdev backend types:\n");
    for (unsigned i = 0; types[i]; i++) {
        printf("  %-10s %s\n", types[i]->name + strlen("netdev-"),
               types[i]->help ? types[i]->help : "");
    }
}

static bool is_help(const char *s)
{
    return !strcmp(s, "help") || !strcmp(s, "?");
}

static bool device_help(const GivenOption *g)
{
    g_autoptr(GString) out = g_string_new(NULL);
    const char *driver = json_get_str(option_values(g->text), "driver");
    Error *err = NULL;
    if (!device_print_help(driver && !is_help(driver) ? driver : NULL, out, &err)) {
        error_report(err);
        exit(1);
    }
    fputs(out->str, stdout);
    return true;
}

/* The type behind a backend's short name, or NULL: "user" is a "netdev-user". */
static const TypeInfo *backend_type(const char *prefix, const char *name, const char *suffix)
{
    g_autofree char *full = g_strconcat(prefix, name, suffix, NULL);
    return name && !is_help(name) ? type_find(full) : NULL;
}

static bool keys_help(const GivenOption *g)
{
    Json *v = option_values(g->text);
    const char *name;
    const TypeInfo *t;
    switch (g->def->id) {
    case OPT_DEVICE:
        return device_help(g);
    case OPT_MACHINE:
        name = json_get_str(v, "type");
        t = name ? machine_type_find(name, NULL) : NULL;
        if (t) {
            return type_help(t, name);
        }
        machine_help();
        return true;
    case OPT_OBJECT:
        name = json_get_str(v, "qom-type");
        t = name ? type_find(name) : NULL;
        if (t) {
            return type_help(t, name);
        }
        object_help();
        return true;
    case OPT_ACCEL:
        name = json_get_str(v, "accel");
        t = backend_type("", name, "-accel");
        if (t) {
            return type_help(t, name);
        }
        accel_help();
        return true;
    case OPT_CHARDEV:
        chardev_help();
        return true;
    case OPT_NETDEV:
    case OPT_NIC:
    case OPT_NET:
        name = json_get_str(v, "type");
        t = backend_type("netdev-", name, "");
        if (t) {
            return type_help(t, name);
        }
        netdev_help();
        return true;
    case OPT_TRACE:
        trace_list(stdout);
        return true;
    default:
        printf("-%s %s\n    %s\n", g->def->name, g->def->form, g->def->help);
        return true;
    }
}

static bool text_help(const GivenOption *g)
{
    g_autoptr(GString) out = g_string_new(NULL);
    switch (g->def->id) {
    case OPT_CPU:
        cpu_model_print_help(out);
        fputs(out->str, stdout);
        break;
    case OPT_D:
        log_print_help(stdout);
        break;
    case OPT_DISPLAY:
        printf("Available display backend types:\nnone\nvnc\n");
        break;
    default:
        printf("-%s %s\n    %s\n", g->def->name, g->def->form, g->def->help);
    }
    return true;
}

bool print_help_if_asked(Cmdline *c)
{
    for (unsigned i = 0; i < c->given->len; i++) {
        const GivenOption *g = c->given->pdata[i];
        if (g->def->id == OPT_HELP) {
            print_option_help(stdout);
            return true;
        }
        if (g->def->id == OPT_VERSION) {
            printf("Rhea emulator version %s\n"
                   "Copyright (c) the Rhea developers, GPL-2.0-or-later\n",
                   RHEA_VERSION);
            return true;
        }
        if (g->text && option_wants_help(g->text)) {
            return keys_help(g);
        }
        static const OptionId with_help[] = {
            OPT_CPU, OPT_D, OPT_DISPLAY, OPT_VGA, OPT_WATCHDOG_ACTION, OPT_K};
        for (unsigned k = 0; k < G_N_ELEMENTS(with_help); k++) {
            if (g->def->id == with_help[k] && is_help(g->arg)) {
                return text_help(g);
            }
        }
    }
    return false;
}
