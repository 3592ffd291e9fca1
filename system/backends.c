/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making what devices stand on: objects, character devices, disks, networks, monitors. */
#include "monitor/monitor.h"
#include "net/net.h"
#include "qapi/qapi-commands.h"
#include "system/setup.h"

#include <string.h>

/* Prefixes with the option as it was given, and notes it. */
static void note(Cmdline *c, const GivenOption *g, Error *err)
{
    if (err) {
        error_prefix(&err, "-%s %s: ", g->def->name, g->arg ? g->arg : "");
        cmdline_error(c, err);
    }
}

/* ---- objects ---- */
static void make_objects(Vm *vm, Cmdline *c)
{
    CMDLINE_EACH(c, OPT_OBJECT, g)
    {
        Error *err = NULL;
        qmp_object_add(&vm->obj, option_values(g->text), &err);
        note(c, g, err);
    }
}

/* -mem-path, -mem-prealloc: an object that is the machine's memory. */
static void make_memory_object(Vm *vm, const Config *cfg, Cmdline *c)
{
    if (!cfg->mem_path && !cfg->mem_prealloc) {
        return;
    }
    g_autoptr(Json) o = json_object();
    Error *err = NULL;
    json_put_string(o, "qom-type", cfg->mem_path ? "memory-backend-file" : "memory-backend-ram");
    json_put_string(o, "id", "pc.ram");
    json_put(o, "size", json_uint(cfg->ram_size));
    if (cfg->mem_path) {
        json_put_string(o, "mem-path", cfg->mem_path);
    }
    if (cfg->mem_prealloc) {
        json_put_bool(o, "prealloc", true);
    }
    if (json_get(cfg->machine_props, "memory-backend")) {
        error_set(&err, "-mem-path and -mem-prealloc exclude -machine memory-backend=");
    } else if (qmp_object_add(&vm->obj, o, &err)) {
        json_put_string(cfg->machine_props, "memory-backend", "pc.ram");
    }
    error_prefix(&err, "-mem-path: ");
    cmdline_error(c, err);
}

/* ---- disks ---- */
static const char *default_drive_if(const Config *cfg)
{
    const TypeInfo *t = machine_type_find(cfg->machine_type, NULL);
    const MachineClass *k = t ? type_class(t) : NULL;
    return k && k->default_disk_if ? k->default_disk_if : "ide";
}

static void add_drive(Vm *vm, const Config *cfg, Cmdline *c, Json *o, const GivenOption *g)
{
    Error *err = NULL;
    bool empty = !json_get(o, "file") && !json_get(o, "format") && !json_get(o, "driver");
    if (cfg->snapshot && !empty && !json_get(o, "snapshot")) {
        json_put_string(o, "snapshot", "on");
    }
    DriveIf def = !strcmp(default_drive_if(cfg), "virtio") ? DRIVE_IF_VIRTIO : DRIVE_IF_IDE;
    drive_new(vm->block, o, def, &err);
    if (g) {
        note(c, g, err);
    } else {
        cmdline_error(c, err);
    }
}

static void add_short_drive(Vm *vm, const Config *cfg, Cmdline *c, const GivenOption *g,
                            const char *interface, int index, const char *media)
{
    g_autoptr(Json) o = json_object();
    if (interface) {
        json_put_string(o, "if", interface);
    }
    g_autofree char *n = g_strdup_printf("%d", index);
    json_put_string(o, "index", n);
    if (media) {
        json_put_string(o, "media", media);
    }
    if (g) {
        json_put_string(o, "file", g->arg);
    }
    add_drive(vm, cfg, c, o, g);
}

static bool device_given(Cmdline *c, const char *const *drivers)
{
    CMDLINE_EACH(c, OPT_DEVICE, g)
    {
        const char *d = json_get_str(option_values(g->text), "driver");
        for (unsigned i = 0; d && drivers[i]; i++) {
            if (!strcmp(d, drivers[i])) {
                return true;
            }
        }
    }
    return false;
}

/* What a PC has without being asked: a CD-ROM drive, a floppy drive. */
static void default_drives(Vm *vm, const Config *cfg, Cmdline *c)
{
    static const char *const cds[] = {"ide-cd", "scsi-cd", NULL};
    static const char *const floppies[] = {"isa-fdc", "floppy", NULL};
    const TypeInfo *t = machine_type_find(cfg->machine_type, NULL);
    const MachineClass *k = t ? type_class(t) : NULL;
    bool cd = false, floppy = false, third = false;
    if (cfg->nodefaults || !k) {
        return;
    }
    GPtrArray *drives = drive_list(vm->block);
    for (unsigned i = 0; i < drives->len; i++) {
        DriveInfo *d = drives->pdata[i];
        cd |= d->cdrom;
        floppy |= d->interface == DRIVE_IF_FLOPPY;
        third |= d->interface == DRIVE_IF_IDE && d->index == 2;
    }
    if (k->has_cdrom && !cd && !third && !device_given(c, cds)) {
        add_short_drive(vm, cfg, c, NULL, "ide", 2, "cdrom");
    }
    if (k->has_floppy && !floppy && !device_given(c, floppies)) {
        add_short_drive(vm, cfg, c, NULL, "floppy", 0, NULL);
    }
}

/* Targets know the machine by its name or UUID, unless -iscsi says otherwise. */
static void read_iscsi(Vm *vm, Cmdline *c)
{
    const GivenOption *name = cmdline_last(c, OPT_NAME), *uuid = cmdline_last(c, OPT_UUID);
    const char *id = name && name->text ? json_get_str(option_values(name->text), "guest") : NULL;
    id = id ? id : uuid ? uuid->arg : NULL;
    if (id) {
        g_autoptr(Json) o = json_object();
        g_autofree char *iqn = g_strconcat("iqn.2008-11.org.linux-kvm:", id, NULL);
        json_put_string(o, "initiator-name", iqn);
        block_set_iscsi(vm->block, o, NULL);
    }
    CMDLINE_EACH(c, OPT_ISCSI, g)
    {
        Error *err = NULL;
        block_set_iscsi(vm->block, option_values(g->text), &err);
        note(c, g, err);
    }
}

static void make_disks(Vm *vm, const Config *cfg, Cmdline *c)
{
    read_iscsi(vm, c);
    CMDLINE_EACH(c, OPT_BLOCKDEV, g)
    {
        Error *err = NULL;
        block_open(vm->block, option_values(g->text), &err);
        note(c, g, err);
    }
    CMDLINE_EACH(c, OPT_DRIVE, g)
    {
        add_drive(vm, cfg, c, option_values(g->text), g);
    }
    CMDLINE_EACH(c, OPT_HD, g)
    {
        add_short_drive(vm, cfg, c, g, NULL, g->def->n, "disk");
    }
    CMDLINE_EACH(c, OPT_CDROM, g)
    {
        add_short_drive(vm, cfg, c, g, NULL, 2, "cdrom");
    }
    CMDLINE_EACH(c, OPT_FD, g)
    {
        add_short_drive(vm, cfg, c, g, "floppy", g->def->n, NULL);
    }
    CMDLINE_EACH(c, OPT_PFLASH, g)
    {
        g_autoptr(Json) o = json_object();
        json_put_string(o, "if", "pflash");
        json_put_string(o, "file", g->arg);
        json_put_string(o, "format", "raw");
        add_drive(vm, cfg, c, o, g);
    }
    default_drives(vm, cfg, c);
}

/* ---- networks ---- */
/* Everything but the card's own keys goes to the backend. */
static Json *backend_part(const Json *all, const char *type, const char *id)
{
    static const char *const card[] = {"model",   "mac", "macaddr", "addr",
                                       "vectors", "id",  "type",    "name"};
    Json *o = json_object();
    json_put_string(o, "type", type);
    json_put_string(o, "id", id);
    for (size_t i = 0; i < json_length(all); i++) {
        const char *key = json_key_at(all, i);
        bool mine = false;
        for (unsigned k = 0; k < G_N_ELEMENTS(card); k++) {
            mine |= !strcmp(key, card[k]);
        }
        if (!mine) {
            json_put(o, key, json_ref(json_value_at(all, i)));
        }
    }
    return o;
}

static NicConfig *nic_config(const Json *o, Error **errp)
{
    NicConfig *n = g_new0(NicConfig, 1);
    const char *mac = json_get_str(o, "mac");
    mac = mac ? mac : json_get_str(o, "macaddr");
    n->model = g_strdup(json_get_str(o, "model"));
    n->addr = g_strdup(json_get_str(o, "addr"));
    if (mac) {
        n->mac_set = parse_mac(mac, n->mac);
        if (!n->mac_set) {
            error_set(errp, "'%s' is no Ethernet address such as 52:54:00:12:34:56", mac);
        }
    }
    return n;
}

static void add_backend(Vm *vm, Cmdline *c, const GivenOption *g, Json *o, const char *id)
{
    Error *err = NULL;
    loop_lock(vm->platform);
    netdev_new(&vm->obj, id, o, vm->platform, &err);
    loop_unlock(vm->platform);
    if (g) {
        note(c, g, err);
    } else {
        cmdline_error(c, err);
    }
}

static void make_nics(Vm *vm, GPtrArray *nics, Cmdline *c)
{
    unsigned n = 0;
    CMDLINE_EACH(c, OPT_NIC, g)
    {
        Json *o = option_values(g->text);
        const char *type = json_get_str(o, "type");
        Error *err = NULL;
        if (!type || !strcmp(type, "none")) {
            continue;
        }
        g_autofree char *id = g_strdup(json_get_str(o, "id"));
        if (!id) {
            id = g_strdup_printf("__org.qemu.nic%u", n);
        }
        n++;
        NicConfig *nic = nic_config(o, &err);
        nic->netdev = g_strdup(id);
        g_ptr_array_add(nics, nic);
        note(c, g, err);
        g_autoptr(Json) backend = backend_part(o, type, id);
        add_backend(vm, c, g, backend, id);
    }
}

/* -net nic and -net user: the first card with the first backend, and so on. */
static void make_old_nets(Vm *vm, GPtrArray *nics, Cmdline *c)
{
    g_autoptr(GPtrArray) ids = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) cards = g_ptr_array_new();
    const GivenOption *last = NULL;
    CMDLINE_EACH(c, OPT_NET, g)
    {
        Json *o = option_values(g->text);
        const char *type = json_get_str(o, "type");
        Error *err = NULL;
        last = g;
        if (type && !strcmp(type, "nic")) {
            NicConfig *nic = nic_config(o, &err);
            nic->netdev = g_strdup(json_get_str(o, "netdev"));
            g_ptr_array_add(nics, nic);
            if (!nic->netdev) {
                g_ptr_array_add(cards, nic);
            }
            note(c, g, err);
        } else if (type && strcmp(type, "none")) {
            char *id = g_strdup_printf("__org.qemu.net%u", ids->len);
            g_autoptr(Json) backend = backend_part(o, type, id);
            g_ptr_array_add(ids, id);
            add_backend(vm, c, g, backend, id);
        }
    }
    if (ids->len > cards->len) {
        Error *err = NULL;
        error_set(&err, "there is a backend without a network card");
        error_hint(&err, "-net pairs cards and backends in order; -nic user,model=… has both");
        note(c, last, err);
    }
    for (unsigned i = 0; i < ids->len && i < cards->len; i++) {
        ((NicConfig *)cards->pdata[i])->netdev = g_strdup(ids->pdata[i]);
    }
}

/* Nobody has asked for it: without the module there is a card with its cable unplugged. */
static void add_default_network(Vm *vm, GPtrArray *nics)
{
    g_autoptr(Json) o = json_parse("{'type': 'user', 'id': '__org.qemu.net0'}", NULL);
    NicConfig *nic = g_new0(NicConfig, 1);
    Error *err = NULL;
    loop_lock(vm->platform);
    if (netdev_new(&vm->obj, "__org.qemu.net0", o, vm->platform, &err)) {
        nic->netdev = g_strdup("__org.qemu.net0");
    } else {
        report_warning("there is no default network: %s", error_message(err));
        error_free(err);
    }
    loop_unlock(vm->platform);
    g_ptr_array_add(nics, nic);
}

static void make_networks(Vm *vm, GPtrArray *nics, const Config *cfg, Cmdline *c)
{
    CMDLINE_EACH(c, OPT_NETDEV, g)
    {
        Json *o = option_values(g->text);
        const char *id = json_get_str(o, "id");
        if (!id) {
            Error *err = NULL;
            error_set(&err, "'id' is missing");
            note(c, g, err);
            continue;
        }
        add_backend(vm, c, g, o, id);
    }
    make_nics(vm, nics, c);
    make_old_nets(vm, nics, c);
    bool asked =
        cmdline_last(c, OPT_NETDEV) || cmdline_last(c, OPT_NIC) || cmdline_last(c, OPT_NET);
    if (!asked && !cfg->nodefaults && type_find("netdev-user")) {
        add_default_network(vm, nics);
    }
}

/* ---- characters ---- */
static Chardev *short_chardev(Vm *vm, Cmdline *c, const char *option, const char *id,
                              const char *text, bool *none, bool *monitor)
{
    Error *err = NULL;
    Chardev *chr = chardev_new_short(&vm->obj, id, text, vm->control, none, monitor, &err);
    error_prefix(&err, "-%s %s: ", option, text);
    cmdline_error(c, err);
    return chr;
}

static void add_monitor(Vm *vm, Cmdline *c, Chardev *chr, MonitorMode mode, bool pretty)
{
    Error *err = NULL;
    if (chr) {
        monitor_new(&vm->obj, chr, mode, pretty, vm->control, &err);
        cmdline_error(c, err);
    }
}

/* Serial or parallel ports; "mon:" puts a monitor on the same terminal. */
static void make_ports(Vm *vm, Cmdline *c, OptionId option, const char *name, GPtrArray *ports)
{
    unsigned n = 0;
    CMDLINE_EACH(c, option, g)
    {
        g_autofree char *id = g_strdup_printf("%s%u", name, n++);
        bool none, monitor;
        Chardev *chr = short_chardev(vm, c, name, id, g->arg, &none, &monitor);
        if (chr && monitor) {
            add_monitor(vm, c, chr, MONITOR_READLINE, false);
        }
        g_ptr_array_add(ports, chr);
    }
}

/* Nothing refers to a monitor by its name; as everywhere, it must be a name and the only one. */
static void check_monitor_id(const GivenOption *g, GHashTable *names)
{
    const char *id = option_take_string(g->text, "id", NULL);
    if (id && !parse_id(id)) {
        option_mistake(g->text, "id", "an id is a letter, then letters, digits, '-', '.', '_'");
    } else if (id && !g_hash_table_add(names, g_strdup(id))) {
        option_mistake(g->text, "id", "there is a monitor '%s' already", id);
    }
}

static void make_monitors(Vm *vm, const Config *cfg, Cmdline *c)
{
    static const struct {
        OptionId id;
        const char *name;
        MonitorMode mode;
        bool pretty;
    } kinds[] = {{OPT_MONITOR, "monitor", MONITOR_READLINE, false},
                 {OPT_QMP, "qmp", MONITOR_CONTROL, false},
                 {OPT_QMP_PRETTY, "qmp-pretty", MONITOR_CONTROL, true}};
    unsigned n = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        CMDLINE_EACH(c, kinds[i].id, g)
        {
            bool none;
            g_autofree char *id = g_strdup_printf("compat_monitor%u", n++);
            Chardev *chr = short_chardev(vm, c, kinds[i].name, id, g->arg, &none, NULL);
            add_monitor(vm, c, chr, kinds[i].mode, kinds[i].pretty);
        }
    }
    g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    monitor_set_policy(&vm->obj, cfg->refuse_deprecated, cfg->refuse_unstable);
    CMDLINE_EACH(c, OPT_MON, g)
    {
        static const char *const modes[] = {"readline", "control", NULL};
        Error *err = NULL;
        const char *id = option_take_string(g->text, "chardev", NULL);
        int mode = option_take_enum(g->text, "mode", modes, 0);
        bool pretty = option_take_bool(g->text, "pretty", false);
        if (pretty && mode == 0) {
            option_mistake(g->text, "pretty", "only monitors with mode=control have it");
        }
        check_monitor_id(g, names);
        if (!id) {
            option_mistake(g->text, NULL, "'chardev' is missing");
        }
        Chardev *chr = id ? chardev_find(&vm->obj, id, &err) : NULL;
        if (id && !chr) {
            option_mistake(g->text, "chardev", "%s", error_message(err));
            error_free(err);
            err = NULL;
        }
        if (option_finish(g->text, &err)) {
            add_monitor(vm, c, chr, mode == 1 ? MONITOR_CONTROL : MONITOR_READLINE, pretty);
        }
        cmdline_error(c, err);
    }
}

/* A chardev of -chardev that a -mon uses is no serial port; see whether stdio is taken. */
static void default_ports(Vm *vm, const Config *cfg, Cmdline *c, GPtrArray *serials)
{
    static const char *const uarts[] = {"isa-serial", "pci-serial", NULL};
    bool want_serial = !cmdline_last(c, OPT_SERIAL) && !device_given(c, uarts);
    bool want_monitor = !cmdline_last(c, OPT_MONITOR) && !cmdline_last(c, OPT_QMP) &&
                        !cmdline_last(c, OPT_QMP_PRETTY) && !cmdline_last(c, OPT_MON);
    bool none, mon;
    if (cfg->nodefaults) {
        return;
    }
    if (cfg->nographic) {
        if (want_serial) {
            const char *text = want_monitor ? "mon:stdio" : "stdio";
            Chardev *chr = short_chardev(vm, c, "nographic", "serial0", text, &none, &mon);
            if (chr && want_monitor) {
                add_monitor(vm, c, chr, MONITOR_READLINE, false);
            }
            g_ptr_array_add(serials, chr);
        } else if (want_monitor) {
            /* -serial may have stdio already: "mon:stdio" has brought its own monitor */
            Error *err = NULL;
            g_autoptr(Json) o = json_parse("{'backend':'stdio','signal':'off'}", NULL);
            Chardev *chr = chardev_new(&vm->obj, "compat_monitor0", o, vm->control, &err);
            error_free(err);
            add_monitor(vm, c, chr, MONITOR_READLINE, false);
        }
    } else if (want_serial) {
        g_ptr_array_add(serials, short_chardev(vm, c, "serial", "serial0", "null", &none, &mon));
    }
}

static void make_chardevs(Vm *vm, Cmdline *c)
{
    CMDLINE_EACH(c, OPT_CHARDEV, g)
    {
        Error *err = NULL;
        if (!option_wants_help(g->text)) {
            chardev_new(&vm->obj, NULL, option_values(g->text), vm->control, &err);
            note(c, g, err);
        }
    }
}

void setup_backends(Vm *vm, const Config *cfg, Cmdline *c)
{
    Machine *m = vm->machine;
    /* First what only reads; files are made and sockets opened when all that was right. */
    make_objects(vm, c);
    make_memory_object(vm, cfg, c);
    make_disks(vm, cfg, c);
    make_networks(vm, m->nics, cfg, c);
    if (c->errors->len) {
        return;
    }
    chardev_set_escape(&vm->obj, cfg->escape);
    make_chardevs(vm, c);
    make_monitors(vm, cfg, c);
    make_ports(vm, c, OPT_SERIAL, "serial", m->serials);
    make_ports(vm, c, OPT_PARALLEL, "parallel", m->parallels);
    default_ports(vm, cfg, c, m->serials);
    const GivenOption *d = cmdline_last(c, OPT_DEBUGCON);
    if (d) {
        bool none;
        short_chardev(vm, c, "debugcon", "debugcon", d->arg, &none, NULL);
    }
}
