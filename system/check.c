/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What can be said against the options before anything is made: names and values of the
 * properties of machine, engine, devices, objects and networks.  So that a wrong line is
 * told all its mistakes at once, not stage by stage.
 */
#include "accel/accel.h"
#include "net/net.h"
#include "system/setup.h"

#include <string.h>

static void check_device(const GivenOption *g, Error **errp)
{
    device_check(option_values(g->text), g->text, errp);
}

static void check_object(const GivenOption *g, Error **errp)
{
    static const char *const own[] = {"qom-type", "id", NULL};
    Json *v = option_values(g->text);
    const char *name = json_get_str(v, "qom-type");
    const TypeInfo *t = name ? object_type_for_users(name, errp) : NULL;
    if (t) {
        object_check_from(t, v, own, g->text, errp);
    }
}

static void check_network(const GivenOption *g, Error **errp)
{
    /* -nic and -net describe card and backend in one. */
    static const char *const card[] = {"type", "id",      "model", "mac", "macaddr",
                                       "addr", "vectors", "name",  NULL};
    static const char *const own[] = {"type", "id", NULL};
    Json *v = option_values(g->text);
    const char *kind = json_get_str(v, "type");
    bool both = g->def->id != OPT_NETDEV;
    if (!kind || (both && (!strcmp(kind, "none") || !strcmp(kind, "nic")))) {
        return;
    }
    const TypeInfo *t = netdev_find_type(kind, errp);
    if (t) {
        object_check_from(t, v, both ? card : own, g->text, errp);
    }
}

static void check_accel(const GivenOption *g, Error **errp)
{
    static const char *const own[] = {"accel", NULL};
    Json *v = option_values(g->text);
    const char *name = json_get_str(v, "accel");
    g_autofree char *full = g_strconcat(name ? name : "", "-accel", NULL);
    const TypeInfo *t = type_find(full);
    if (t && type_is_a(t, TYPE_ACCEL)) { /* else another engine may be tried: see make_accel() */
        object_check_from(t, v, own, g->text, errp);
    }
}

void check_options(const Config *cfg, Cmdline *c)
{
    static const struct {
        OptionId id;
        void (*check)(const GivenOption *g, Error **errp);
    } checks[] = {
        {OPT_ACCEL, check_accel}, {OPT_OBJECT, check_object}, {OPT_NETDEV, check_network},
        {OPT_NIC, check_network}, {OPT_NET, check_network},   {OPT_DEVICE, check_device},
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(checks); i++) {
        CMDLINE_EACH(c, checks[i].id, g)
        {
            Error *err = NULL;
            checks[i].check(g, &err);
            if (err && !strstr(error_message(err), g->arg)) {
                error_prefix(&err, "-%s %s: ", g->def->name, g->arg);
            }
            cmdline_error(c, err);
        }
    }
    /* The machine's properties come from several options; a single one is underlined. */
    static const char *const none[] = {NULL};
    const TypeInfo *t = machine_type_find(cfg->machine_type, NULL);
    const GivenOption *g = cfg->machine_option;
    if (t && g && g == cmdline_next(c, OPT_MACHINE, NULL)) {
        Error *err = NULL;
        object_check_from(t, cfg->machine_props, none, g->text, &err);
        cmdline_error(c, err);
    }
}
