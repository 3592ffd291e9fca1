/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor's `info` commands. */
#include "accel/accel.h"
#include "block/block.h"
#include "config.h"
#include "hw/pci/pci.h"
#include "monitor/internal.h"
#include "net/net.h"
#include "qapi/qapi-commands.h"
#include "ui/console.h"

#include <string.h>

static bool flag(const Hmp *h, const char *f)
{
    for (unsigned i = 0; hmp_arg(h, i); i++) {
        if (!strcmp(hmp_arg(h, i), f)) {
            return true;
        }
    }
    return false;
}

static void print_registers(Hmp *h, CPUX86 *cpu, void *opaque)
{
    hmp_printf(h, "\nCPU#%u\n", cpu->index);
    cpu_print(cpu, h->out, true);
}

static bool info_registers(Hmp *h, Error **errp)
{
    if (!flag(h, "-a")) {
        return hmp_with_cpu(h, print_registers, NULL, errp);
    }
    for (unsigned i = 0; h->machine && i < h->machine->cpus->len; i++) {
        int64_t cpu = i;
        Hmp each = *h;
        each.cpu = &cpu;
        if (!hmp_with_cpu(&each, print_registers, NULL, errp)) {
            return false;
        }
    }
    return true;
}

static bool info_cpus(Hmp *h, Error **errp)
{
    for (unsigned i = 0; i < h->machine->cpus->len; i++) {
        const Vcpu *v = h->machine->cpus->pdata[i];
        hmp_printf(h, "%c CPU #%u: thread_id=%d\n", i == (*h->cpu < 0 ? 0 : *h->cpu) ? '*' : ' ', i,
                   v->tid);
    }
    return true;
}

static bool info_pic(Hmp *h, Error **errp)
{
    if (!h->machine->print_irqs) {
        error_set(errp, "this machine has no interrupt controllers to show");
        return false;
    }
    h->machine->print_irqs(h->machine, h->out);
    return true;
}

static bool info_irq(Hmp *h, Error **errp)
{
    if (!h->machine->print_irq_counts) {
        error_set(errp, "this machine has no interrupt controllers to show");
        return false;
    }
    h->machine->print_irq_counts(h->machine, h->out);
    return true;
}

static bool info_roms(Hmp *h, Error **errp)
{
    memory_print_roms(h->machine->as_memory, h->out);
    return true;
}

static bool info_mtree(Hmp *h, Error **errp)
{
    memory_print_tree(h->machine->memsys, h->out, flag(h, "-f"), flag(h, "-o"));
    return true;
}

static bool info_pci(Hmp *h, Error **errp)
{
    LOOP_LOCK_GUARD(h->machine->platform);
    pci_print_info(h->machine, h->out);
    return true;
}

static bool info_qtree(Hmp *h, Error **errp)
{
    LOOP_LOCK_GUARD(h->machine->platform);
    device_print_qtree(h->machine, h->out);
    return true;
}

static bool info_status(Hmp *h, Error **errp)
{
    QStatusInfo *s = NULL;
    if (!qmp_query_status(h->root, &s, errp)) {
        return false;
    }
    hmp_printf(h, "VM status: %s", s->running ? "running" : "paused");
    if (!s->running && s->status != Q_RUN_STATE_PAUSED) {
        hmp_printf(h, " (%s)", QRunState_names[s->status]);
    }
    hmp_printf(h, "\n");
    QStatusInfo_free(s);
    return true;
}

static bool info_block(Hmp *h, Error **errp)
{
    block_print_info(block_graph_of(h->root), h->out, flag(h, "-v"));
    return true;
}

static bool info_network(Hmp *h, Error **errp)
{
    LOOP_LOCK_GUARD(h->machine->platform);
    net_print_info(h->root, h->out);
    return true;
}

static bool info_version(Hmp *h, Error **errp)
{
    hmp_printf(h, "Rhea " RHEA_VERSION "\n");
    return true;
}

static bool info_name(Hmp *h, Error **errp)
{
    if (h->machine->name) {
        hmp_printf(h, "%s\n", h->machine->name);
    }
    return true;
}

static bool info_uuid(Hmp *h, Error **errp)
{
    QUuidInfo *u = NULL;
    if (!qmp_query_uuid(h->root, &u, errp)) {
        return false;
    }
    hmp_printf(h, "%s\n", u->UUID);
    QUuidInfo_free(u);
    return true;
}

static bool print_chardev(Object *obj, void *opaque)
{
    if (object_is_a(obj, TYPE_CHARDEV)) {
        hmp_printf(opaque, "%s: filename=%s\n", obj->name, chardev_filename((Chardev *)obj));
    }
    return true;
}

static bool info_chardev(Hmp *h, Error **errp)
{
    object_each_child(object_container(h->root, "/chardevs"), print_chardev, h);
    return true;
}

static bool info_jit(Hmp *h, Error **errp)
{
    QHumanReadableText *t = NULL;
    if (!qmp_x_query_jit(h->root, &t, errp)) {
        return false;
    }
    g_string_append(h->out, t->human_readable_text);
    QHumanReadableText_free(t);
    return true;
}

static bool info_kvm(Hmp *h, Error **errp)
{
    QKvmInfo *k = NULL;
    if (!qmp_query_kvm(h->root, &k, errp)) {
        return false;
    }
    hmp_printf(h, "kvm support: %s\n",
               !k->present  ? "not compiled"
               : k->enabled ? "enabled"
                            : "disabled");
    QKvmInfo_free(k);
    return true;
}

static bool info_mice(Hmp *h, Error **errp)
{
    GPtrArray *mice = NULL;
    if (!qmp_query_mice(h->root, &mice, errp)) {
        return false;
    }
    for (unsigned i = 0; i < mice->len; i++) {
        const QMouseInfo *m = mice->pdata[i];
        hmp_printf(h, "%c Mouse #%d: %s%s\n", m->current ? '*' : ' ', (int)m->index, m->name,
                   m->absolute ? " (absolute)" : "");
    }
    if (!mice->len) {
        hmp_printf(h, "No mouse devices connected\n");
    }
    qapi_array_free(&QMouseInfo_type, mice);
    return true;
}

static bool info_vnc(Hmp *h, Error **errp)
{
    Json *v = NULL;
    if (!qmp_query_vnc(h->root, &v, errp)) {
        return false;
    }
    g_autofree char *text = json_print(v, true);
    hmp_printf(h, "%s\n", text);
    json_unref(v);
    return true;
}

static bool info_numa(Hmp *h, Error **errp)
{
    GArray *numa = h->machine->numa;
    hmp_printf(h, "%u nodes\n", numa->len);
    for (unsigned i = 0; i < numa->len; i++) {
        const NumaNode *n = &g_array_index(numa, NumaNode, i);
        hmp_printf(h, "node %u cpus:", i);
        for (unsigned k = 0; n->cpus && k < n->cpus->len; k++) {
            hmp_printf(h, " %u", g_array_index(n->cpus, unsigned, k));
        }
        hmp_printf(h, "\nnode %u size: %u MB\n", i, (unsigned)(n->mem / MiB));
    }
    return true;
}

static bool info_memory_size(Hmp *h, Error **errp)
{
    hmp_printf(h, "base memory: %" G_GUINT64_FORMAT "\nplugged memory: 0\n", h->machine->ram_size);
    return true;
}

static void print_tree(Hmp *h, Object *obj, unsigned depth);

typedef struct TreeWalk {
    Hmp *h;
    unsigned depth;
} TreeWalk;

static bool print_child(Object *obj, void *opaque)
{
    TreeWalk *w = opaque;
    print_tree(w->h, obj, w->depth);
    return true;
}

static void print_tree(Hmp *h, Object *obj, unsigned depth)
{
    hmp_printf(h, "%*s/%s (%s)\n", (int)(2 * depth), "", obj->name ? obj->name : "",
               obj->type->name);
    TreeWalk w = {h, depth + 1};
    if (depth < 50) {
        object_each_child(obj, print_child, &w);
    }
}

static bool info_qom_tree(Hmp *h, Error **errp)
{
    Object *obj = object_resolve(h->root, hmp_arg(h, 0) ? hmp_arg(h, 0) : "/machine");
    if (!obj) {
        error_set(errp, "There is no object '%s'", hmp_arg(h, 0) ? hmp_arg(h, 0) : "/machine");
        return false;
    }
    print_tree(h, obj, 0);
    return true;
}

static bool info_ramblock(Hmp *h, Error **errp)
{
    g_autoptr(GList) blocks = g_list_copy(memory_ram_blocks(h->machine->memsys));
    for (GList *l = blocks; l; l = l->next) {
        const RamBlock *b = l->data;
        hmp_printf(h, "%-24s 0x%016" G_GINT64_MODIFIER "x %s\n", b->name, b->size,
                   b->shared ? "shared" : "private");
    }
    return true;
}

const HmpCommand hmp_info_commands[] = {
    {"block", "[-v]", "the disks", info_block, NULL},
    {"chardev", "", "the character devices", info_chardev, NULL},
    {"cpus", "", "the CPUs", info_cpus, NULL},
    {"irq", "", "how often each interrupt came", info_irq, NULL},
    {"jit", "", "what the translator has done", info_jit, NULL},
    {"kvm", "", "is KVM used?", info_kvm, NULL},
    {"mem", "", "the ranges that the page tables map", hmp_info_mem, NULL},
    {"memory_size_summary", "", "how much memory there is", info_memory_size, NULL},
    {"mice", "", "the pointing devices", info_mice, NULL},
    {"mtree", "[-f][-o]", "the memory map (-f: flat)", info_mtree, NULL},
    {"name", "", "the machine's name", info_name, NULL},
    {"network", "", "the network", info_network, NULL},
    {"numa", "", "the NUMA nodes", info_numa, NULL},
    {"pci", "", "the PCI functions", info_pci, NULL},
    {"pic", "", "the interrupt controllers", info_pic, NULL},
    {"qom-tree", "[path]", "the objects", info_qom_tree, NULL},
    {"qtree", "", "the devices", info_qtree, NULL},
    {"ramblock", "", "the blocks of RAM and ROM", info_ramblock, NULL},
    {"registers", "[-a]", "the CPU's registers (-a: of all)", info_registers, NULL},
    {"roms", "", "the ROM that the CPU sees", info_roms, NULL},
    {"status", "", "does the machine run?", info_status, NULL},
    {"tlb", "", "the pages that the page tables map", hmp_info_tlb, NULL},
    {"uuid", "", "the machine's UUID", info_uuid, NULL},
    {"version", "", "the version", info_version, NULL},
    {"vnc", "", "the VNC server", info_vnc, NULL},
    {0},
};
