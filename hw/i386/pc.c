/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What `pc` and `q35` have in common: memory, processors, interrupt controllers,
 * the chips of the ISA bus, firmware.
 */
#include "hw/i386/pc.h"

#include "accel/accel.h"
#include "hw/char/serial.h"
#include "hw/core/datafile.h"
#include "hw/input/i8042.h"
#include "hw/isa/ferr.h"
#include "hw/isa/i8237.h"
#include "hw/isa/port92.h"
#include "hw/misc/pcspk.h"
#include "hw/timer/i8254.h"
#include "memory/backend.h"
#include "target/i386/model.h"

#include <assert.h>
#include <inttypes.h>

#define BIOS_DEFAULT "bios-256k.bin"
#define BIOS_MAX (16 * MiB)
#define HPET_INTCAP_PC 0x4u
#define HPET_INTCAP_Q35 0xff0104u

bool pc_is_q35(const PcMachine *pc)
{
    return ((const PcMachineClass *)machine_class(&pc->m))->q35;
}

bool pc_smm_enabled(const PcMachine *pc)
{
    return pc_auto(pc->smm, !pc->m.accel || !pc->m.accel->no_smm);
}

void pc_smi(PcMachine *pc, bool all)
{
    if (pc_smm_enabled(pc)) {
        apic_bus_smi(pc->apics, all);
    }
}

/* ---- memory ---- */
static bool ram_split(PcMachine *pc, uint64_t limit, uint64_t big, Error **errp)
{
    uint64_t size = pc->m.ram_size, low = limit;

    if (size < 1 * MiB || !IS_ALIGNED(size, 4 * KiB)) {
        error_set(errp,
                  "a PC needs at least 1 MiB of memory in pages of 4 KiB, not %" PRIu64 " bytes",
                  size);
        return false;
    }
    if (pc->max_ram_below_4g) {
        if (pc->max_ram_below_4g > 4 * GiB - 256 * MiB || pc->max_ram_below_4g < 1 * MiB) {
            error_set(errp,
                      "max-ram-below-4g=%" PRIu64 " must be from 1M to 3840M: above that "
                      "are devices",
                      pc->max_ram_below_4g);
            return false;
        }
        low = MIN(low, ALIGN_DOWN(pc->max_ram_below_4g, 4 * KiB));
    } else if (size >= limit) {
        low = big;
    }
    pc->below_4g = MIN(size, low);
    pc->above_4g = size - pc->below_4g;
    return true;
}

/* All RAM is one backend's, or the machine's own. */
static bool ram_single(PcMachine *pc, Error **errp)
{
    Machine *m = &pc->m;
    RamOptions o = {.merge = m->mem_merge, .dump = m->dump_guest_core, .huge = true};
    MemoryBackend *b;

    if (!m->ram_backend_id) {
        m->ram = ram_block_new(m->memsys, "pc.ram", m->ram_size, &o, errp);
        if (!m->ram) {
            error_hint(errp, "give the guest less memory with -m, or this host more");
        }
    } else {
        b = memory_backend_find(object_root(&m->obj), m->ram_backend_id, errp);
        if (b && b->size != m->ram_size) {
            error_set(errp,
                      "memory-backend=%s has %" PRIu64 " bytes, but the machine has %" PRIu64
                      " (-m)",
                      m->ram_backend_id, b->size, m->ram_size);
            return false;
        }
        m->ram = b ? memory_backend_claim(b, m->memsys, errp) : NULL;
    }
    if (m->ram) {
        region_init_ram(&pc->ram_all, "pc.ram", m->ram);
    }
    return m->ram != NULL;
}

/* Each NUMA node has a backend of its own; they follow one another. */
static bool ram_nodes(PcMachine *pc, Error **errp)
{
    Machine *m = &pc->m;
    uint64_t at = 0;

    region_init_container(&pc->ram_all, "pc.ram", m->ram_size);
    pc->node_ram = g_new0(Region, m->numa->len);
    for (guint i = 0; i < m->numa->len; i++) {
        NumaNode *n = &g_array_index(m->numa, NumaNode, i);
        MemoryBackend *b;
        RamBlock *ram;

        if (!n->memdev) {
            continue;
        }
        b = memory_backend_find(object_root(&m->obj), n->memdev, errp);
        ram = b ? memory_backend_claim(b, m->memsys, errp) : NULL;
        if (!ram) {
            return false;
        }
        region_init_ram(&pc->node_ram[i], n->memdev, ram);
        region_add(&pc->ram_all, at, &pc->node_ram[i]);
        n->mem = b->size;
        at += b->size;
        if (!m->ram) {
            m->ram = ram_block_ref(ram);
        }
        ram_block_unref(ram);
    }
    if (at != m->ram_size || m->ram->size < 1 * MiB) {
        error_set(errp,
                  "the NUMA nodes' memory is %" PRIu64 " bytes together, but the machine has "
                  "%" PRIu64 " (-m)",
                  at, m->ram_size);
        return false;
    }
    return true;
}

static bool ram_init(PcMachine *pc, Error **errp)
{
    for (guint i = 0; i < pc->m.numa->len; i++) {
        if (g_array_index(pc->m.numa, NumaNode, i).memdev) {
            return ram_nodes(pc, errp);
        }
    }
    return ram_single(pc, errp);
}

bool pc_memory_init(PcMachine *pc, uint64_t limit, uint64_t big, Error **errp)
{
    Machine *m = &pc->m;

    if (!ram_split(pc, limit, big, errp)) {
        return false;
    }
    if (!ram_init(pc, errp)) {
        return false;
    }
    region_init_container(&m->memory, "system", MEMORY_WHOLE);
    region_init_container(&m->io, "io", 64 * KiB);
    m->as_memory = address_space_new(m->memsys, &m->memory, "memory");
    m->as_io = address_space_new(m->memsys, &m->io, "I/O");
    region_init_alias(&pc->ram_below, "ram-below-4g", &pc->ram_all, 0, pc->below_4g);
    region_add(&m->memory, 0, &pc->ram_below);
    if (pc->above_4g) {
        region_init_alias(&pc->ram_above, "ram-above-4g", &pc->ram_all, pc->below_4g, pc->above_4g);
        region_add(&m->memory, 4 * GiB, &pc->ram_above);
    }
    region_init_container(&pc->smm_root, "smm", MEMORY_WHOLE);
    region_init_alias(&pc->smm_memory, "smm-memory", &m->memory, 0, MEMORY_WHOLE);
    region_add(&pc->smm_root, 0, &pc->smm_memory);
    region_init_container(&pc->smram, "smram", MEMORY_WHOLE);
    region_add_overlap(&pc->smm_root, 0, &pc->smram, 1);
    pc->as_smm = address_space_new(m->memsys, &pc->smm_root, "cpu-smm");
    return true;
}

static bool firmware_load(PcMachine *pc, const char *name, Error **errp)
{
    g_autofree char *path = datafile_find(&pc->m, name, errp);
    g_autofree uint8_t *data = NULL;
    size_t len;

    if (!path) {
        if (!pc->m.firmware) {
            error_hint(errp, "install SeaBIOS (Debian's package \"seabios\"), or name a firmware "
                             "image with -bios or its folder with -L");
        }
        return false;
    }
    data = datafile_read(path, BIOS_MAX, &len, errp);
    if (!data) {
        return false;
    }
    if (len == 0 || len % (64 * KiB)) {
        error_set(errp, "'%s' is no PC firmware: its size, %zu bytes, is not a multiple of 64 KiB",
                  path, len);
        return false;
    }
    pc->bios = ram_block_new(pc->m.memsys, "pc.bios", len, NULL, errp);
    if (!pc->bios) {
        return false;
    }
    memcpy(pc->bios->host, data, len);
    return true;
}

/* At the end of the first 4 GiB, and its last 128 KiB below 1 MiB for real mode. */
bool pc_firmware_init(PcMachine *pc, Region *pci, Error **errp)
{
    uint64_t size, low;

    if (!firmware_load(pc, pc->m.firmware ? pc->m.firmware : BIOS_DEFAULT, errp)) {
        return false;
    }
    /* Where the PCI bus has nothing, reads see ones and not the RAM behind it. */
    region_init_reserved(&pc->legacy_hole, "pci-legacy", 384 * KiB);
    region_add_overlap(pci, 640 * KiB, &pc->legacy_hole, -10);
    size = pc->bios->size;
    low = MIN(size, 128 * KiB);
    region_init_rom(&pc->bios_rom, "pc.bios", pc->bios);
    region_add_overlap(pci, 4 * GiB - size, &pc->bios_rom, 1);
    region_init_alias(&pc->bios_isa, "isa-bios", &pc->bios_rom, size - low, low);
    region_add_overlap(pci, 1 * MiB - low, &pc->bios_isa, 1);
    return true;
}

/* ---- processors ---- */
static void cpu_shutdown(void *opaque, Vcpu *v)
{
    /* A triple fault ends in a reset, on a PC. */
    machine_request_reset(opaque, RESET_GUEST);
}

static void cpu_error(void *opaque, Vcpu *v)
{
    Machine *m = opaque;

    if (m->hooks && m->hooks->internal_error) {
        m->hooks->internal_error(m);
    } else {
        machine_request_shutdown(m, SHUTDOWN_HOST_QMP, 1);
    }
}

static void cpu_debug(void *opaque, Vcpu *v)
{
    Machine *m = opaque;
    if (m->hooks && m->hooks->debug) {
        m->hooks->debug(m);
    }
}

static void cpu_crashed(void *opaque, Vcpu *v, Json *info)
{
    Machine *m = opaque;

    if (m->hooks && m->hooks->panicked) {
        m->hooks->panicked(m, info);
    } else {
        json_unref(info);
    }
}

static const VcpuHooks cpu_hooks = {
    .shutdown = cpu_shutdown, .debug = cpu_debug, .error = cpu_error, .crashed = cpu_crashed};

static bool cpu_new(PcMachine *pc, unsigned index, const CpuConfig *model, Error **errp)
{
    Machine *m = &pc->m;
    const SmpTopology *t = &m->smp;
    CpuConfig config = *model;
    Vcpu *v;

    cpu_config_set_topology(&config, t->sockets, t->dies, t->cores, t->threads, index);
    v = vcpu_new(m->accel, index, &config, &cpu_hooks, m, errp);
    if (!v) {
        return false;
    }
    v->cpu.as = m->as_memory;
    v->cpu.as_io = m->as_io;
    v->cpu.as_smm = pc_smm_enabled(pc) ? pc->as_smm : m->as_memory;
    v->cpu.clocks = m->clocks;
    g_ptr_array_add(m->cpus, v);
    return apic_new(pc->apics, m, v, errp) != NULL;
}

bool pc_cpus_init(PcMachine *pc, Error **errp)
{
    Machine *m = &pc->m;
    CpuEngineInfo engine;
    CpuConfig model;

    if (m->smp.cpus > machine_class(m)->max_cpus) {
        error_set(errp, "machine '%s' has at most %u CPUs, not %u", m->obj.type->name,
                  machine_class(m)->max_cpus, m->smp.cpus);
        return false;
    }
    if (pc->smm == ON_OFF_ON && m->accel->no_smm) {
        error_set(errp, "smm=on: %s", m->accel->no_smm);
        error_hint(errp, "smm=auto leaves it out; -accel tcg has it");
        return false;
    }
    if (!accel_class(m->accel)->cpu_engine) {
        cpu_engine_tcg(&engine);
    } else if (!accel_class(m->accel)->cpu_engine(m->accel, &engine, errp)) {
        return false;
    }
    if (!cpu_model_parse(m->cpu_type, &engine, &model, errp)) {
        return false;
    }
    m->accel->as_memory = m->as_memory;
    m->accel->as_io = m->as_io;
    m->accel->as_smm = pc_smm_enabled(pc) ? pc->as_smm : m->as_memory;
    pc->apics = apic_bus_new(m);
    region_add_overlap(&m->memory, APIC_DEFAULT_BASE, apic_bus_region(pc->apics), 0x1000);
    for (unsigned i = 0; i < m->smp.cpus; i++) {
        if (!cpu_new(pc, i, &model, errp)) {
            return false;
        }
    }
    return true;
}

uint32_t pc_apic_id(const SmpTopology *t, unsigned index)
{
    return cpu_topology_apic_id(t->dies, t->cores, t->threads, index);
}

/* ---- interrupt controllers ---- */
static bool extint_pending(void *opaque)
{
    return i8259_pending(opaque);
}

bool pc_intc_init(PcMachine *pc, Error **errp)
{
    Machine *m = &pc->m;

    if (pc_auto(pc->pic, true)) {
        pc->i8259 = i8259_new_pair(m, m->isa, apic_bus_extint(pc->apics), errp);
        if (!pc->i8259) {
            return false;
        }
        apic_bus_set_extint(pc->apics, i8259_ack, extint_pending, pc->i8259);
    }
    pc->ioapic = ioapic_new(m, pc->apics, errp);
    if (!pc->ioapic) {
        return false;
    }
    region_add_overlap(&m->memory, IOAPIC_DEFAULT_BASE, ioapic_region(pc->ioapic), 1);
    for (unsigned n = 0; n < GSI_COUNT; n++) {
        /* An engine with an 8259 of its own hears of all lines by way of the I/O APIC's. */
        if (n < 16 && pc->i8259 && !(m->accel->irqchip && m->accel->irqchip->board)) {
            pc->gsi.pic[n] = i8259_input(pc->i8259, n);
        }
        pc->gsi.ioapic[n] = ioapic_input(pc->ioapic, n);
    }
    return true;
}

/* ---- ISA ---- */
static bool timers_init(PcMachine *pc, bool q35, I8254 **pit, Error **errp)
{
    Machine *m = &pc->m;
    IsaBus *isa = m->isa;
    IrqLine lines[HPET_IRQS] = {{0}}, pit_irq = isa->irqs[0], rtc_irq = {0};

    if (pc->hpet) {
        for (unsigned n = 0; n < GSI_COUNT; n++) {
            lines[n] = gsi_line(&pc->gsi, n, GSI_HPET);
        }
        pc->hpet_dev = hpet_new(m, q35 ? HPET_INTCAP_Q35 : HPET_INTCAP_PC, lines, isa->irqs[0],
                                isa->irqs[8], errp);
        if (!pc->hpet_dev) {
            return false;
        }
        region_add_overlap(&m->memory, HPET_BASE, hpet_region(pc->hpet_dev), 1);
        pit_irq = hpet_legacy_input(pc->hpet_dev, 0);
        rtc_irq = hpet_legacy_input(pc->hpet_dev, 1);
    }
    pc->rtc = mc146818_new(m, isa, rtc_irq, errp);
    if (!pc->rtc) {
        return false;
    }
    if (pc->pm) {
        mc146818_set_alarm_line(pc->rtc, acpi_pm_rtc_line(pc->pm));
    }
    *pit = NULL;
    if (pc_auto(pc->pit, true)) {
        *pit = i8254_new(m, isa, pit_irq, errp);
        if (!*pit || !pcspk_new(m, isa, *pit, errp)) {
            return false;
        }
        if (pc->hpet_dev) {
            hpet_set_replaced_line(pc->hpet_dev, i8254_legacy_line(*pit));
        }
    }
    return true;
}

static bool ports_init(PcMachine *pc, Error **errp)
{
    Machine *m = &pc->m;

    for (guint i = 0; i < m->serials->len && i < 4; i++) {
        if (m->serials->pdata[i] && !isa_serial_new(m, m->isa, i, m->serials->pdata[i], errp)) {
            return false;
        }
    }
    for (guint i = 0; i < m->parallels->len && i < 3; i++) {
        if (m->parallels->pdata[i] &&
            !isa_parallel_new(m, m->isa, i, m->parallels->pdata[i], errp)) {
            return false;
        }
    }
    if (m->serials->len > 4 || m->parallels->len > 3) {
        error_set(errp, "a PC has at most 4 serial and 3 parallel ports on its board");
        error_hint(errp, "add more as devices: -device isa-serial,iobase=…,irq=…");
        return false;
    }
    return true;
}

bool pc_isa_init(PcMachine *pc, Error **errp)
{
    Machine *m = &pc->m;
    I8254 *pit;

    return i8237_new_pair(m, m->isa, errp) && timers_init(pc, pc_is_q35(pc), &pit, errp) &&
           port92_new(m, m->isa, errp) && isa_delay_ports_new(m, m->isa, errp) &&
           isa_ferr_new(m, m->isa, errp) &&
           (!pc->i8042 || i8042_new(m, m->isa, a20_line(m), errp)) && ports_init(pc, errp);
}

/* ---- end: every device has been unrealized ---- */
void pc_machine_fini(PcMachine *pc)
{
    Machine *m = &pc->m;

    if (!m->as_memory) {
        return;
    }

    for (guint i = 0; i < m->cpus->len; i++) {
        vcpu_free(m->cpus->pdata[i]);
    }
    g_ptr_array_set_size(m->cpus, 0);
    if (pc->apics) {
        region_del(&m->memory, apic_bus_region(pc->apics));
        apic_bus_free(pc->apics);
    }
    region_fini(&pc->bios_isa);
    region_fini(&pc->bios_rom);
    region_fini(&pc->legacy_hole);
    region_fini(&pc->ram_below);
    region_fini(&pc->ram_above);
    region_fini(&pc->ram_all);
    for (guint i = 0; pc->node_ram && i < m->numa->len; i++) {
        region_fini(&pc->node_ram[i]);
    }
    g_free(pc->node_ram);
    address_space_free(pc->as_smm);
    address_space_free(m->as_memory);
    address_space_free(m->as_io);
    m->as_memory = m->as_io = pc->as_smm = NULL;
    region_fini(&pc->smram);
    region_fini(&pc->smm_memory);
    region_fini(&pc->smm_root);
    region_fini(&m->memory);
    region_fini(&m->io);
    if (pc->bios) {
        ram_block_unref(pc->bios);
    }
    ram_block_unref(m->ram);
    if (pc->user_tables) {
        g_ptr_array_free(pc->user_tables, TRUE);
    }
    gsi_fini(&pc->gsi);
}
