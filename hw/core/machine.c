/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The base of all machine types: the configuration they share, the hooks into
 * system/, global properties and reset.
 */
#include "hw/core/machine.h"

#include "accel/accel.h"
#include "util/bits.h"

#include <string.h>

static void global_free(gpointer p)
{
    GlobalProperty *g = p;

    g_free(g->driver);
    g_free(g->property);
    g_free(g->value);
    g_free(g);
}

static void machine_init(Object *obj)
{
    Machine *m = (Machine *)obj;

    m->ram_size = 128 * MiB;
    m->smp = (SmpTopology){
        .cpus = 1, .max_cpus = 1, .sockets = 1, .dies = 1, .clusters = 1, .cores = 1, .threads = 1};
    m->numa = g_array_new(FALSE, TRUE, sizeof(NumaNode));
    m->boot.splash_time = m->boot.reboot_timeout = -1;
    m->globals = g_ptr_array_new_with_free_func(global_free);
    m->cpus = g_ptr_array_new();
    m->boot_devices = g_ptr_array_new();
    m->serials = g_ptr_array_new();
    m->parallels = g_ptr_array_new();
    m->nics = g_ptr_array_new();
    m->rtc_clock = CLOCK_HOST;
}

static void nic_free(NicConfig *n)
{
    g_free(n->model);
    g_free(n->netdev);
    g_free(n->id);
    g_free(n->addr);
    g_free(n);
}

static void machine_finalize(Object *obj)
{
    Machine *m = (Machine *)obj;

    for (guint i = 0; i < m->numa->len; i++) {
        NumaNode *n = &g_array_index(m->numa, NumaNode, i);

        if (n->cpus) {
            g_array_free(n->cpus, TRUE);
        }
        g_free(n->memdev);
    }
    g_array_free(m->numa, TRUE);
    g_ptr_array_free(m->globals, TRUE);
    g_ptr_array_free(m->cpus, TRUE);
    g_ptr_array_free(m->boot_devices, TRUE);
    g_ptr_array_free(m->serials, TRUE);
    g_ptr_array_free(m->parallels, TRUE);
    for (guint i = 0; i < m->nics->len; i++) {
        nic_free(m->nics->pdata[i]);
    }
    g_ptr_array_free(m->nics, TRUE);
    g_free(m->boot.order);
    g_free(m->boot.once);
    g_free(m->boot.splash);
    g_free(m->cpu_type);
    g_strfreev(m->data_dirs);
    g_free(m->vga);
    g_free(m->name);
    json_unref(m->smbios);
    json_unref(m->acpitables);
}

static const Property machine_props[] = {
    PROPERTY_STRING("kernel", Machine, kernel, "Linux kernel or multiboot image"),
    PROPERTY_STRING("initrd", Machine, initrd, "its initial RAM disk"),
    PROPERTY_STRING("append", Machine, append, "its command line"),
    PROPERTY_STRING("firmware", Machine, firmware, "firmware image"),
    PROPERTY_STRING("memory-backend", Machine, ram_backend_id, "id of the object that is the RAM"),
    PROPERTY_BOOL("usb", Machine, usb, false, "have the board's USB controller"),
    PROPERTY_BOOL("graphics", Machine, graphics, true, "have a picture"),
    PROPERTY_BOOL("mem-merge", Machine, mem_merge, true,
                  "let the host share identical pages of RAM"),
    PROPERTY_BOOL("dump-guest-core", Machine, dump_guest_core, true,
                  "include RAM in core dumps of this process"),
    {0},
};

OBJECT_TYPE(machine_type, .name = TYPE_MACHINE, .parent = "object", .help = "a machine",
            .size = sizeof(Machine), .abstract = true, .init = machine_init,
            .finalize = machine_finalize, .props = machine_props)

Machine *machine_of(Object *obj)
{
    for (;; obj = obj->parent) {
        if (object_is_a(obj, TYPE_MACHINE)) {
            return (Machine *)obj;
        }
        if (!obj->parent) {
            Object *m = obj->children ? g_hash_table_lookup(obj->children, "machine") : NULL;

            return m && object_is_a(m, TYPE_MACHINE) ? (Machine *)m : NULL;
        }
    }
}

/* ---- hooks ---- */

void machine_request_reset(Machine *m, ResetReason why)
{
    if (m->hooks && m->hooks->reset) {
        m->hooks->reset(m, why);
    }
}

void machine_request_shutdown(Machine *m, ShutdownReason why, int exit_code)
{
    if (m->hooks && m->hooks->shutdown) {
        m->hooks->shutdown(m, why, exit_code);
    }
}

void machine_event(Machine *m, const char *name, Json *data)
{
    if (m->hooks && m->hooks->event) {
        m->hooks->event(m, name, data);
    } else {
        json_unref(data);
    }
}

void machine_watchdog_expired(Machine *m)
{
    if (m->hooks && m->hooks->watchdog) {
        m->hooks->watchdog(m);
    } else {
        machine_request_reset(m, RESET_GUEST);
    }
}

/* ---- globals ---- */

void machine_add_global(Machine *m, const char *driver, const char *property, const char *value)
{
    GlobalProperty *g = g_new0(GlobalProperty, 1);

    g->driver = g_strdup(driver);
    g->property = g_strdup(property);
    g->value = g_strdup(value);
    g_ptr_array_add(m->globals, g);
}

void machine_check_globals(Machine *m)
{
    for (guint i = 0; i < m->globals->len; i++) {
        GlobalProperty *g = m->globals->pdata[i];
        const TypeInfo *t = type_find(g->driver);

        if (!t || !type_is_a(t, TYPE_DEVICE)) {
            report_warning("global %s.%s has invalid class name", g->driver, g->property);
        } else if (!g->used && !m->ready) {
            report_warning("global %s.%s=%s not used", g->driver, g->property, g->value);
        }
    }
}

/* ---- reset ---- */

void machine_reset_cpus(Machine *m)
{
    for (guint i = 0; i < m->cpus->len; i++) {
        Vcpu *v = m->cpus->pdata[i];

        cpu_reset(&v->cpu, i == 0);
        vcpu_sync_in(v, NULL);
    }
}

void machine_reset(Machine *m)
{
    const MachineClass *k = machine_class(m);

    loop_allow_long(m->platform);
    if (k && k->reset) {
        k->reset(m);
        return;
    }
    machine_reset_devices(m);
    machine_reset_cpus(m);
}
