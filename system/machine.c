/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making the machine: configuration, engine, board, devices. */
#include "accel/qtest/qtest.h"
#include "hw/nvram/fw_cfg.h"
#include "memory/backend.h"
#include "system/gdbstub.h"
#include "system/setup.h"
#include "ui/vnc.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* ---- the object and its values ---- */
static void apply_config(Machine *m, const Config *cfg)
{
    m->ram_size = cfg->ram_size;
    m->max_ram_size = cfg->max_ram_size;
    m->smp = cfg->smp;
    m->boot = cfg->boot;
    m->boot.order = g_strdup(cfg->boot.order);
    m->boot.once = g_strdup(cfg->boot.once);
    m->boot.splash = g_strdup(cfg->boot.splash);
    g_free(m->cpu_type);
    m->cpu_type = g_strdup(cfg->cpu);
    m->name = g_strdup(cfg->name);
    memcpy(m->uuid, cfg->uuid, sizeof(m->uuid));
    m->uuid_set = cfg->uuid_set;
    m->rtc_offset_ns = cfg->rtc_offset_ns;
    m->rtc_start_ns = cfg->rtc_start_ns;
    int64_t start = cfg->rtc_start_ns ? cfg->rtc_start_ns : clock_now(m->clocks, CLOCK_HOST);
    clock_guest_wall_set(m->clocks, cfg->rtc_clock, start - clock_now(m->clocks, cfg->rtc_clock));
    m->rtc_clock = cfg->rtc_clock;
    m->rtc_localtime = cfg->rtc_localtime;
    m->rtc_driftfix_slew = cfg->rtc_slew;
    m->nodefaults = cfg->nodefaults;
    m->graphics = m->graphics && !cfg->nographic;
    m->usb |= cfg->usb;
}

static void set_text(Machine *m, const char *prop, const char *value, Cmdline *c)
{
    Error *err = NULL;
    if (value) {
        object_set_string(&m->obj, prop, value, &err);
        cmdline_error(c, err);
    }
}

static void set_vga(Machine *m, const Config *cfg, Cmdline *c)
{
    static const char *const cards[] = {"VGA",        "secondary-vga", "cirrus-vga",
                                        "virtio-vga", "bochs-display", NULL};
    const char *vga = cfg->vga;
    CMDLINE_EACH(c, OPT_DEVICE, g)
    {
        const char *d = json_get_str(option_values(g->text), "driver");
        for (unsigned i = 0; d && cards[i] && !vga; i++) {
            vga = !strcmp(d, cards[i]) ? "none" : NULL;
        }
    }
    if (!vga && cfg->nodefaults) {
        vga = "none";
    }
    g_free(m->vga);
    m->vga = g_strdup(vga);
}

static void read_globals(Machine *m, Cmdline *c)
{
    CMDLINE_EACH(c, OPT_GLOBAL, g)
    {
        const char *dot = strchr(g->arg, '.'), *eq = strchr(g->arg, '=');
        if (dot && eq && dot < eq) { /* driver.property=value */
            g_autofree char *driver = g_strndup(g->arg, (gsize)(dot - g->arg));
            g_autofree char *prop = g_strndup(dot + 1, (gsize)(eq - dot - 1));
            machine_add_global(m, driver, prop, eq + 1);
            continue;
        }
        Json *v = option_values(g->text);
        const char *driver = json_get_str(v, "driver"), *prop = json_get_str(v, "property"),
                   *value = json_get_str(v, "value");
        if (driver && prop && value) {
            machine_add_global(m, driver, prop, value);
        } else {
            Error *err = NULL;
            error_set(&err, "-global %s: this is no DRIVER.PROPERTY=VALUE", g->arg);
            cmdline_error(c, err);
        }
    }
}

static Json *collect(Cmdline *c, OptionId id)
{
    Json *list = NULL;
    CMDLINE_EACH(c, id, g)
    {
        list = list ? list : json_array();
        json_append(list, json_ref(option_values(g->text)));
    }
    return list;
}

static void read_data_dirs(Machine *m, Cmdline *c)
{
    GPtrArray *dirs = g_ptr_array_new();
    CMDLINE_EACH(c, OPT_L, g)
    {
        g_ptr_array_add(dirs, g_strdup(g->arg));
    }
    g_ptr_array_add(dirs, NULL);
    m->data_dirs = (char **)g_ptr_array_free(dirs, FALSE);
}

/* ---- -numa ---- */
static NumaNode *numa_node(Machine *m, unsigned id)
{
    if (m->numa->len <= id) {
        g_array_set_size(m->numa, id + 1);
    }
    return &g_array_index(m->numa, NumaNode, id);
}

static void numa_cpus(NumaNode *n, OptionText *t, const char *range, unsigned max)
{
    char *end;
    uint64_t first = g_ascii_strtoull(range, &end, 10), last = first;
    if (*end == '-') {
        last = g_ascii_strtoull(end + 1, &end, 10);
    }
    if (*end || end == range || last < first || last >= max) {
        option_mistake(t, "cpus", "CPUs are numbered 0 to %u: FIRST or FIRST-LAST", max - 1);
        return;
    }
    for (unsigned i = (unsigned)first; i <= last; i++) {
        g_array_append_val(n->cpus, i);
    }
}

static void numa_add_node(Machine *m, OptionText *t)
{
    uint64_t id = option_take_uint(t, "nodeid", m->numa->len, 0, 127);
    const char *memdev = option_take_string(t, "memdev", NULL);
    NumaNode *n = numa_node(m, (unsigned)id);
    if (n->present) {
        option_mistake(t, "nodeid", "node %u was given already", (unsigned)id);
        return;
    }
    n->present = true;
    n->cpus = g_array_new(FALSE, FALSE, sizeof(unsigned));
    n->memdev = g_strdup(memdev);
    n->mem = option_take_size(t, "mem", 0, 'M');
    Json *cpus = json_get(option_values(t), "cpus");
    if (cpus && json_type(cpus) == JSON_ARRAY) {
        for (size_t i = 0; i < json_length(cpus); i++) {
            const char *s = json_get_string(json_at(cpus, i));
            numa_cpus(n, t, s ? s : "", m->smp.cpus);
        }
        json_remove(option_values(t), "cpus");
    } else {
        const char *range = option_take_string(t, "cpus", NULL);
        if (range) {
            numa_cpus(n, t, range, m->smp.cpus);
        }
    }
}

static void numa_set_cpu(Machine *m, OptionText *t)
{
    uint64_t node = option_take_uint(t, "node-id", 0, 0, 127);
    uint64_t socket = option_take_uint(t, "socket-id", 0, 0, m->smp.sockets - 1);
    uint64_t die = option_take_uint(t, "die-id", 0, 0, m->smp.dies - 1);
    bool all_cores = !option_has(t, "core-id"), all_threads = !option_has(t, "thread-id");
    uint64_t core = option_take_uint(t, "core-id", 0, 0, m->smp.cores - 1);
    uint64_t thread = option_take_uint(t, "thread-id", 0, 0, m->smp.threads - 1);
    if (node >= m->numa->len || !numa_node(m, (unsigned)node)->present) {
        option_mistake(t, "node-id", "there is no such node before this option");
        return;
    }
    for (uint64_t k = 0; k < m->smp.cores; k++) {
        for (uint64_t h = 0; h < m->smp.threads; h++) {
            if ((all_cores || k == core) && (all_threads || h == thread)) {
                unsigned i =
                    (unsigned)(((socket * m->smp.dies + die) * m->smp.cores + k) * m->smp.threads +
                               h);
                g_array_append_val(numa_node(m, (unsigned)node)->cpus, i);
            }
        }
    }
}

static void numa_distance(Machine *m, OptionText *t)
{
    uint64_t src = option_take_uint(t, "src", 0, 0, 127),
             dst = option_take_uint(t, "dst", 0, 0, 127);
    uint64_t val = option_take_uint(t, "val", 10, 10, 255);
    if (src >= m->numa->len || dst >= m->numa->len) {
        option_mistake(t, src >= m->numa->len ? "src" : "dst", "there is no such node");
        return;
    }
    if ((src == dst) != (val == 10)) {
        option_mistake(t, "val", "10 is the distance of a node to itself, others are greater");
        return;
    }
    numa_node(m, (unsigned)src)->distance[dst] = (uint8_t)val;
    if (!numa_node(m, (unsigned)dst)->distance[src]) {
        numa_node(m, (unsigned)dst)->distance[src] = (uint8_t)val;
    }
}

static void read_numa(Machine *m, Cmdline *c)
{
    static const char *const types[] = {"node", "dist", "cpu", NULL};
    CMDLINE_EACH(c, OPT_NUMA, g)
    {
        Error *err = NULL;
        switch (option_take_enum(g->text, "type", types, 0)) {
        case 0:
            numa_add_node(m, g->text);
            break;
        case 1:
            numa_distance(m, g->text);
            break;
        case 2:
            numa_set_cpu(m, g->text);
            break;
        }
        option_finish(g->text, &err);
        cmdline_error(c, err);
    }
    uint64_t sum = 0;
    unsigned with_mem = 0;
    for (unsigned i = 0; i < m->numa->len; i++) {
        sum += numa_node(m, i)->mem;
        with_mem += numa_node(m, i)->mem != 0 || numa_node(m, i)->memdev;
    }
    if (m->numa->len && !with_mem) { /* evenly, in steps of 8 MiB */
        uint64_t each = ALIGN_DOWN(m->ram_size / m->numa->len, 8 * MiB);
        for (unsigned i = 0; i < m->numa->len; i++) {
            numa_node(m, i)->mem =
                i + 1 < m->numa->len ? each : m->ram_size - each * (m->numa->len - 1);
        }
    } else if (sum && sum != m->ram_size) {
        Error *err = NULL;
        error_set(&err,
                  "-numa: the nodes have %" G_GUINT64_FORMAT " bytes of memory together, "
                  "-m says %" G_GUINT64_FORMAT,
                  sum, m->ram_size);
        cmdline_error(c, err);
    }
}

static void apply_machine_props(Machine *m, const Config *cfg, Cmdline *c)
{
    /* Of a single -machine, every mistake is underlined where it stands. */
    const GivenOption *g = cmdline_next(c, OPT_MACHINE, NULL);
    bool single = g && g == cfg->machine_option && !cmdline_next(c, OPT_MACHINE, g);
    Error *err = NULL;
    object_set_from(&m->obj, cfg->machine_props, NULL, single ? g->text : NULL, &err);
    if (err && cfg->machine_option && !single) {
        error_prefix(&err, "-%s %s: ", cfg->machine_option->def->name, cfg->machine_option->arg);
    }
    cmdline_error(c, err);
}

/* ---- the engine ---- */
static Accel *try_accel(Vm *vm, const Config *cfg, const AccelChoice *choice, Error **errp)
{
    static const char *const ignore[] = {"accel", NULL};
    Accel *a = accel_new(choice->name, errp);
    if (!a) {
        return NULL;
    }
    a->clocks = vm->clocks;
    a->mem = vm->memsys;
    a->icount = cfg->icount;
    a->perfmap = cfg->perfmap;
    a->ram_size = cfg->ram_size;
    if (cfg->perfmap && strcmp(accel_class(a)->name, "tcg")) {
        error_set(errp, "this engine translates no code (-perfmap)");
        object_unref(&a->obj);
        return NULL;
    }
    if (cfg->icount.on && !accel_class(a)->has_icount) {
        error_set(errp, "this engine cannot count the guest's instructions (-icount)");
        error_hint(errp, "use -accel tcg");
        object_unref(&a->obj);
        return NULL;
    }
    if ((cfg->kvm_props && !strcmp(choice->name, "kvm") &&
         !object_set_from(&a->obj, cfg->kvm_props, NULL, NULL, errp)) ||
        (choice->text &&
         !object_set_from(&a->obj, option_values(choice->text), ignore, NULL, errp)) ||
        !accel_class(a)->create(a, vm->memsys, errp)) {
        object_unref(&a->obj);
        return NULL;
    }
    return a;
}

static void make_accel(Vm *vm, const Config *cfg, Cmdline *c)
{
    Error *err = NULL;
    for (unsigned i = 0; i < cfg->accels->len; i++) {
        const AccelChoice *choice = cfg->accels->pdata[i];
        Error *e = NULL;
        vm->accel = try_accel(vm, cfg, choice, &e);
        if (vm->accel) {
            if (err) {
                report_warning("falling back to %s: %s", choice->name, error_message(err));
                error_free(err);
            }
            object_add_child(&vm->obj, "accel", object_ref(&vm->accel->obj));
            if (accel_class(vm->accel)->manual_clock) {
                clock_virtual_manual(vm->clocks, true);
            }
            return;
        }
        error_prefix(&e, "-accel %s: ", choice->name);
        if (err) {
            error_free(e);
        } else {
            err = e;
        }
    }
    cmdline_error(c, err);
}

void setup_machine(Vm *vm, const Config *cfg, Cmdline *c)
{
    const TypeInfo *t = machine_type_find(cfg->machine_type, NULL);
    Machine *m = (Machine *)object_new(t->name);
    vm->machine = m;
    m->clocks = vm->clocks;
    m->control = vm->control;
    m->platform = vm->platform;
    m->memsys = vm->memsys;
    m->ui = vm->ui;
    m->block = vm->block;
    m->hooks = &vm_hooks;
    m->hooks_opaque = vm;
    object_add_child(&vm->obj, "machine", &m->obj);
    apply_machine_props(m, cfg, c);
    apply_config(m, cfg);
    set_text(m, "kernel", cfg->kernel, c);
    set_text(m, "initrd", cfg->initrd, c);
    set_text(m, "append", cfg->append, c);
    set_text(m, "firmware", cfg->bios, c);
    if (!cfg->fd_bootchk && type_property(t, "fd-bootchk")) {
        object_set_bool(&m->obj, "fd-bootchk", false);
    }
    set_vga(m, cfg, c);
    read_globals(m, c);
    read_data_dirs(m, c);
    read_numa(m, c);
    m->smbios = collect(c, OPT_SMBIOS);
    m->acpitables = collect(c, OPT_ACPITABLE);
    vm_watch_disks(vm);
    make_accel(vm, cfg, c);
    m->accel = vm->accel;
}

/* ---- memory that an object is ---- */
/* Without -m, the size of -machine memory-backend= is the machine's; the board claims it. */
static void adopt_ram_size(Machine *m, Cmdline *c)
{
    Error *err = NULL;
    if (!m->ram_backend_id || cmdline_last(c, OPT_M)) {
        return;
    }
    MemoryBackend *b = memory_backend_find(&m->obj, m->ram_backend_id, &err);
    if (b) {
        m->ram_size = m->max_ram_size = b->size;
    }
    error_prefix(&err, "-machine memory-backend=%s: ", m->ram_backend_id);
    cmdline_error(c, err);
}

/* ---- devices ---- */
static void add_fw_cfg_files(Machine *m, Cmdline *c)
{
    CMDLINE_EACH(c, OPT_FW_CFG, g)
    {
        Error *err = NULL;
        const char *name = option_take_string(g->text, "name", NULL);
        const char *file = option_take_string(g->text, "file", NULL);
        const char *text = option_take_string(g->text, "string", NULL);
        if (!name || !file == !text) {
            option_mistake(g->text, NULL, "a name and either file= or string= are needed");
        }
        if (!m->fw_cfg) {
            option_mistake(g->text, NULL, "this machine has no fw_cfg");
        }
        if (option_finish(g->text, &err)) {
            g_autofree char *data = NULL;
            GError *gerr = NULL;
            gsize len = text ? strlen(text) : 0;
            if (file && !g_file_get_contents(file, &data, &len, &gerr)) {
                error_set(&err, "-fw_cfg %s: %s", g->arg, gerr->message);
                g_error_free(gerr);
            } else {
                fw_cfg_add_file(m->fw_cfg, name, text ? text : data, len, &err);
            }
        }
        cmdline_error(c, err);
    }
}

static void add_debugcon(Vm *vm, Cmdline *c)
{
    if (!cmdline_last(c, OPT_DEBUGCON) || !object_resolve(&vm->obj, "/chardevs/debugcon")) {
        return;
    }
    Error *err = NULL;
    g_autoptr(Json) o =
        json_parse("{'driver': 'isa-debugcon', 'iobase': 233, 'chardev': 'debugcon'}", NULL);
    device_add(vm->machine, o, NULL, &err);
    cmdline_error(c, err);
}

void setup_devices(Vm *vm, const Config *cfg, Cmdline *c)
{
    Machine *m = vm->machine;
    Error *err = NULL;
    adopt_ram_size(m, c);
    if (c->errors->len) {
        return;
    }
    LOOP_LOCK_GUARD(vm->platform);
    loop_allow_long(vm->platform);
    if (!machine_class(m)->init(m, &err)) {
        cmdline_error(c, err);
        return;
    }
    add_debugcon(vm, c);
    CMDLINE_EACH(c, OPT_DEVICE, g)
    {
        if (!device_add(m, option_values(g->text), g->text, &err)) {
            if (!strstr(error_message(err), g->arg)) {
                error_prefix(&err, "-device %s: ", g->arg);
            }
            cmdline_error(c, err);
            err = NULL;
        }
    }
    add_fw_cfg_files(m, c);
    GPtrArray *drives = drive_list(vm->block);
    for (unsigned i = 0; i < drives->len; i++) {
        DriveInfo *d = drives->pdata[i];
        if (!d->claimed && d->interface != DRIVE_IF_NONE) {
            error_set(&err, "drive '%s': this machine has no place for it", d->id);
            error_hint(&err, "if=none with -device …,drive=%s says which device uses it", d->id);
            cmdline_error(c, err);
            err = NULL;
        }
    }
    if (c->errors->len) {
        return;
    }
    if (machine_class(m)->done && !machine_class(m)->done(m, &err)) {
        cmdline_error(c, err);
        return;
    }
    machine_check_globals(m);
    m->ready = true;
    if (cfg->mem_lock && mlockall(MCL_CURRENT | MCL_FUTURE) < 0) {
        error_set_errno(&err, errno, "-overcommit mem-lock=on: could not lock all memory");
        cmdline_error(c, err);
    }
}

/* ---- what listens to the world ---- */
/* Boards let the inputs of their I/O APIC be watched; tests know it by this name or a path. */
static bool qtest_intercept(void *opaque, const char *path, const char *name, bool out,
                            QtestIrqFn *fn, void *fn_opaque, Error **errp)
{
    Machine *m = opaque;
    const char *last = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    if (out || strcmp(last, "ioapic") || !m->irq_intercept) {
        error_set(errp, "only the inputs of the ioapic can be intercepted, not '%s'", path);
        return false;
    }
    m->irq_intercept(m, fn, fn_opaque);
    return true;
}

static void start_qtest(Vm *vm, const Config *cfg, Cmdline *c, const GivenOption *q)
{
    Error *err = NULL;
    bool none;
    FILE *log = NULL;
    QtestTarget t = {.control = vm->control,
                     .platform = vm->platform,
                     .clocks = vm->clocks,
                     .as_memory = vm->machine->as_memory,
                     .as_io = vm->machine->as_io,
                     .intercept = qtest_intercept,
                     .opaque = vm->machine};
    if (cfg->qtest_log && !(log = fopen(cfg->qtest_log, "we"))) {
        error_set_errno(&err, errno, "-qtest-log: could not write '%s'", cfg->qtest_log);
        cmdline_error(c, err);
        return;
    }
    Chardev *chr = chardev_new_short(&vm->obj, "qtest", q->arg, vm->control, &none, NULL, &err);
    if (chr) {
        vm->qtest = qtest_server_new(&t, chr, &err);
    }
    if (log && vm->qtest) {
        qtest_server_log(vm->qtest, log);
    } else if (log) {
        fclose(log);
    }
    error_prefix(&err, "-qtest %s: ", q->arg);
    cmdline_error(c, err);
}

static void setup_debugger(Vm *vm, Cmdline *c)
{
    const GivenOption *gdb = cmdline_last(c, OPT_GDB);
    const char *device = cmdline_last(c, OPT_GDB_DEFAULT) ? "tcp::1234" : NULL;
    device = gdb ? gdb->arg : device;
    Error *err = NULL;
    if (device && !gdb_server_open(vm, device, &err)) {
        error_prefix(&err, "-gdb %s: ", device);
        cmdline_error(c, err);
    }
}

void setup_displays(Vm *vm, const Config *cfg, Cmdline *c)
{
    Error *err = NULL;
    const GivenOption *q = cmdline_last(c, OPT_QTEST);
    if (q) {
        start_qtest(vm, cfg, c, q);
    }
    setup_debugger(vm, c);
    bool asked = cfg->vnc || cfg->display_none || cfg->nographic;
    if (cfg->vnc || (!asked && !cfg->nodefaults && ui_console(vm->ui, 0))) {
        vm->vnc = vnc_new(vm->ui, vm->control, cfg->vnc ? cfg->vnc : "localhost:0,to=99", &err);
        if (vm->vnc && !cfg->vnc) {
            report_info("the picture is shown by VNC at %s", vnc_address(vm->vnc));
        }
        cmdline_error(c, err);
    }
}
