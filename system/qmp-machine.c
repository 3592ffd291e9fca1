/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Management commands about the machine as a whole. */
#include "qapi/qapi-commands.h"
#include "system/setup.h"
#include "ui/vnc.h"
#include "util/trace.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- what it is ---- */
bool qmp_query_name(Object *root, QNameInfo **out, Error **errp)
{
    *out = g_new0(QNameInfo, 1);
    (*out)->name = g_strdup(vm_of(root)->machine->name);
    return true;
}

bool qmp_query_uuid(Object *root, QUuidInfo **out, Error **errp)
{
    const uint8_t *u = vm_of(root)->machine->uuid;
    *out = g_new0(QUuidInfo, 1);
    (*out)->UUID = g_strdup_printf(
        "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1], u[2],
        u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
    return true;
}

bool qmp_query_target(Object *root, QTargetInfo **out, Error **errp)
{
    *out = g_new0(QTargetInfo, 1);
    (*out)->arch = Q_SYS_EMU_TARGET_X86_64;
    return true;
}

bool qmp_query_machines(Object *root, bool has_compat_props, bool compat_props, GPtrArray **out,
                        Error **errp)
{
    g_autofree const TypeInfo **types = type_list(TYPE_MACHINE, false);
    *out = g_ptr_array_new();
    for (unsigned i = 0; types[i]; i++) {
        const MachineClass *k = type_class(types[i]);
        QMachineInfo *m = g_new0(QMachineInfo, 1);
        m->name = machine_type_name(types[i]);
        m->alias = g_strdup(k->alias);
        m->has_is_default = m->is_default = k->is_default;
        m->cpu_max = k->max_cpus;
        m->numa_mem_supported = true;
        m->default_cpu_type = g_strdup_printf("%s-x86_64-cpu", k->default_cpu);
        m->default_ram_id = g_strdup("pc.ram");
        m->acpi = true;
        g_ptr_array_add(*out, m);
    }
    return true;
}

bool qmp_query_current_machine(Object *root, QCurrentMachineParams **out, Error **errp)
{
    *out = g_new0(QCurrentMachineParams, 1);
    (*out)->wakeup_suspend_support = vm_of(root)->machine->wake != NULL;
    return true;
}

static int accel_index(Vm *vm)
{
    int i = vm->accel ? qapi_enum_find(QAccelerator_names, accel_class(vm->accel)->name) : -1;
    return i < 0 ? Q_ACCELERATOR_TCG : i;
}

bool qmp_query_kvm(Object *root, QKvmInfo **out, Error **errp)
{
    *out = g_new0(QKvmInfo, 1);
    (*out)->present = type_find("kvm-accel") != NULL;
    (*out)->enabled = accel_index(vm_of(root)) == Q_ACCELERATOR_KVM;
    return true;
}

bool qmp_query_accelerators(Object *root, QAcceleratorInfo **out, Error **errp)
{
    g_autofree const TypeInfo **types = type_list(TYPE_ACCEL, false);
    *out = g_new0(QAcceleratorInfo, 1);
    (*out)->enabled = accel_index(vm_of(root));
    (*out)->present = g_array_new(FALSE, FALSE, sizeof(int64_t));
    for (unsigned i = 0; types[i]; i++) {
        const AccelClass *k = type_class(types[i]);
        int64_t n = qapi_enum_find(QAccelerator_names, k->name);
        if (n >= 0) {
            g_array_append_val((*out)->present, n);
        }
    }
    return true;
}

/* ---- CPUs ---- */
static QCpuInstanceProperties *cpu_props(const SmpTopology *t, unsigned index)
{
    QCpuInstanceProperties *p = g_new0(QCpuInstanceProperties, 1);
    p->has_thread_id = p->has_core_id = p->has_die_id = p->has_socket_id = true;
    p->thread_id = index % t->threads;
    p->core_id = index / t->threads % t->cores;
    p->die_id = index / t->threads / t->cores % t->dies;
    p->socket_id = index / t->threads / t->cores / t->dies;
    return p;
}

bool qmp_query_cpus_fast(Object *root, GPtrArray **out, Error **errp)
{
    Machine *m = vm_of(root)->machine;
    *out = g_ptr_array_new();
    for (unsigned i = 0; i < m->cpus->len; i++) {
        Vcpu *v = m->cpus->pdata[i];
        QCpuInfoFast *c = g_new0(QCpuInfoFast, 1);
        c->cpu_index = i;
        c->thread_id = v->tid;
        g_autofree char *model = g_strndup(m->cpu_type ? m->cpu_type : "qemu64",
                                           strcspn(m->cpu_type ? m->cpu_type : "qemu64", ","));
        c->qom_type = g_strdup_printf("%s-x86_64-cpu", model);
        c->qom_path = v->device ? object_path(v->device)
                                : g_strdup_printf("/machine/unattached/device[%u]", i);
        c->props = cpu_props(&m->smp, i);
        c->target = Q_SYS_EMU_TARGET_X86_64;
        g_ptr_array_add(*out, c);
    }
    return true;
}

bool qmp_inject_nmi(Object *root, Error **errp)
{
    Machine *m = vm_of(root)->machine;
    if (!m->inject_nmi) {
        error_set(errp, "this machine has no NMI button");
        return false;
    }
    m->inject_nmi(m);
    return true;
}

/* ---- memory ---- */
bool qmp_query_memory_size_summary(Object *root, QMemoryInfo **out, Error **errp)
{
    *out = g_new0(QMemoryInfo, 1);
    (*out)->base_memory = vm_of(root)->machine->ram_size;
    (*out)->has_plugged_memory = true;
    return true;
}

static bool flag_of(Object *obj, const char *name)
{
    g_autoptr(Json) v = object_get(obj, name, NULL);
    bool b = false;
    return v && json_get_bool(v, &b) && b;
}

static bool add_memdev(Object *obj, void *list)
{
    if (object_is_a(obj, "memory-backend")) {
        QMemdev *d = g_new0(QMemdev, 1);
        g_autoptr(Json) size = object_get(obj, "size", NULL);
        d->id = g_strdup(obj->name);
        if (size) {
            json_get_uint(size, &d->size);
        }
        d->merge = flag_of(obj, "merge");
        d->dump = flag_of(obj, "dump");
        d->prealloc = flag_of(obj, "prealloc");
        d->share = flag_of(obj, "share");
        d->host_nodes = g_array_new(FALSE, FALSE, sizeof(int64_t));
        g_autoptr(Json) policy = object_get(obj, "policy", NULL);
        const char *p = policy ? json_get_string(policy) : NULL;
        int n = p ? qapi_enum_find(QHostMemPolicy_names, p) : 0;
        d->policy = n < 0 ? 0 : n;
        g_ptr_array_add(list, d);
    }
    return true;
}

bool qmp_query_memdev(Object *root, GPtrArray **out, Error **errp)
{
    *out = g_ptr_array_new();
    object_each_child(object_container(root, "/objects"), add_memdev, *out);
    return true;
}

static bool add_iothread(Object *obj, void *list)
{
    if (object_is_a(obj, "iothread")) {
        QIOThreadInfo *i = g_new0(QIOThreadInfo, 1);
        g_autoptr(Json) tid = object_get(obj, "thread-id", NULL);
        i->id = g_strdup(obj->name);
        if (tid) {
            json_get_int(tid, &i->thread_id);
        }
        g_autoptr(Json) batch = object_get(obj, "aio-max-batch", NULL);
        if (batch) {
            json_get_int(batch, &i->aio_max_batch);
        }
        g_ptr_array_add(list, i);
    }
    return true;
}

bool qmp_query_iothreads(Object *root, GPtrArray **out, Error **errp)
{
    *out = g_ptr_array_new();
    object_each_child(object_container(root, "/objects"), add_iothread, *out);
    return true;
}

/* Writes [addr, addr + size) to a file, a piece at a time, by `read`. */
static bool save_memory(const char *filename, uint64_t addr, uint64_t size,
                        bool (*read)(void *opaque, uint64_t addr, void *buf, size_t len),
                        void *opaque, Error **errp)
{
    uint8_t buf[4096];
    bool ok = true;
    FILE *f = fopen(filename, "wbe");
    if (!f) {
        error_set_errno(errp, errno, "Could not open '%s'", filename);
        return false;
    }
    while (size && ok) {
        size_t n = MIN(size, sizeof(buf) - (addr & (sizeof(buf) - 1)));
        if (!read(opaque, addr, buf, n)) {
            error_set(errp, "Invalid addr 0x%016" G_GINT64_MODIFIER "x/size %zu specified", addr,
                      n);
            ok = false;
        } else if (fwrite(buf, 1, n, f) != n) {
            error_set_errno(errp, errno, "Could not write '%s'", filename);
            ok = false;
        }
        addr += n;
        size -= n;
    }
    if (fclose(f) && ok) {
        error_set_errno(errp, errno, "Could not write '%s'", filename);
        ok = false;
    }
    return ok;
}

static bool read_physical(void *opaque, uint64_t addr, void *buf, size_t len)
{
    Machine *m = opaque;
    return address_space_read(m->as_memory, addr, MEM_ATTRS_NONE, buf, len) == MEM_OK;
}

bool qmp_pmemsave(Object *root, uint64_t val, uint64_t size, const char *filename, Error **errp)
{
    memory_settle(vm_of(root)->machine->memsys);
    return save_memory(filename, val, size, read_physical, vm_of(root)->machine, errp);
}

typedef struct LinearRead {
    Vcpu *vcpu;
    uint64_t addr;
    void *buf;
    size_t len;
    bool ok;
} LinearRead;

static void read_on_vcpu(Vcpu *v, void *opaque)
{
    LinearRead *r = opaque;
    vcpu_sync_out(v, NULL);
    r->ok = cpu_debug_rw(&v->cpu, r->addr, r->buf, r->len, false);
}

static bool read_linear(void *opaque, uint64_t addr, void *buf, size_t len)
{
    LinearRead *r = opaque;
    r->addr = addr;
    r->buf = buf;
    r->len = len;
    vcpu_run_on(r->vcpu, read_on_vcpu, r);
    return r->ok;
}

bool qmp_memsave(Object *root, uint64_t val, uint64_t size, const char *filename,
                 bool has_cpu_index, int64_t cpu_index, Error **errp)
{
    GPtrArray *cpus = vm_of(root)->machine->cpus;
    int64_t n = has_cpu_index ? cpu_index : 0;
    if (n < 0 || n >= cpus->len) {
        error_set(errp, "Invalid parameter 'cpu-index': there are %u CPUs", cpus->len);
        return false;
    }
    LinearRead r = {.vcpu = cpus->pdata[n]};
    return save_memory(filename, val, size, read_linear, &r, errp);
}

/* ---- others ---- */
bool qmp_x_query_jit(Object *root, QHumanReadableText **out, Error **errp)
{
    Vm *vm = vm_of(root);
    if (!vm->accel || !accel_class(vm->accel)->info) {
        error_set(errp, "JIT information is only available with accel=tcg");
        return false;
    }
    GString *text = g_string_new(NULL);
    accel_class(vm->accel)->info(vm->accel, text);
    *out = g_new0(QHumanReadableText, 1);
    (*out)->human_readable_text = g_string_free(text, FALSE);
    return true;
}

bool qmp_query_vnc(Object *root, Json **out, Error **errp)
{
    *out = vnc_query(vm_of(root)->vnc);
    return true;
}

bool qmp_change_vnc_password(Object *root, const char *password, Error **errp)
{
    VncServer *v = vm_of(root)->vnc;
    if (!v || !vnc_wants_password(v)) {
        error_set(errp, "There is no VNC server that asks for a password");
        error_hint(errp, "start one with -vnc DISPLAY,password=on");
        return false;
    }
    vnc_set_password(v, password);
    return true;
}

bool qmp_set_password(Object *root, QDisplayProtocol protocol, const char *password,
                      bool has_connected, QSetPasswordAction connected, Error **errp)
{
    if (has_connected && connected != Q_SET_PASSWORD_ACTION_KEEP) {
        error_set(errp, "VNC viewers that are connected can only be kept: connected=keep");
        return false;
    }
    return qmp_change_vnc_password(root, password, errp);
}

bool qmp_query_command_line_options(Object *root, const char *option, Json **out, Error **errp)
{
    *out = json_array();
    for (const OptionDef *d = option_table; d->name || d->help; d++) {
        if (!d->name || d->arg != ARG_KEYS || (option && strcmp(option, d->name))) {
            continue;
        }
        Json *e = json_object(), *params = json_array();
        for (unsigned i = 0; d->params && d->params[i]; i++) {
            g_auto(GStrv) word = g_strsplit(d->params[i], ":", 2);
            Json *p = json_object();
            json_put_string(p, "name", word[0]);
            json_put_string(p, "type", word[1]);
            json_append(params, p);
        }
        json_put_string(e, "option", d->name);
        json_put(e, "parameters", params);
        json_append(*out, e);
    }
    if (option && !json_length(*out)) {
        json_unref(*out);
        *out = NULL;
        error_set(errp, "invalid option name: %s", option);
        return false;
    }
    return true;
}

bool qmp_trace_event_set_state(Object *root, const char *name, bool enable,
                               bool has_ignore_unavailable, bool ignore_unavailable, Error **errp)
{
    g_autofree char *pattern = g_strdup_printf("%s%s", enable ? "" : "-", name);
    return trace_enable(pattern, errp);
}
