/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine types: pc-i440fx-11.1 ("pc") and pc-q35-11.1 ("q35").
 */
#include "accel/accel.h"
#include "hw/i386/southbridge.h"
#include "hw/i386/vmlinux.h"

#define LOW_RAM_I440FX (3584 * MiB)
#define LOW_RAM_I440FX_BIG (3 * GiB)
#define LOW_RAM_Q35 (2816 * MiB)
#define LOW_RAM_Q35_BIG (2 * GiB)

static const char *const entry_points[] = {"auto", "32", "64", NULL};

static bool check_options(PcMachine *pc, Error **errp)
{
    if (pc->vmport == ON_OFF_ON) {
        error_set(errp, "vmport=on: this machine has no VMware port");
        return false;
    }
    if (pc->m.usb) {
        error_set(errp, "usb=on: this machine has no USB controller of its own");
        return false;
    }
    if (pc->oem_id && strlen(pc->oem_id) > 6) {
        error_set(errp, "x-oem-id='%s' has more than 6 characters", pc->oem_id);
        return false;
    }
    if (pc->oem_table_id && strlen(pc->oem_table_id) > 8) {
        error_set(errp, "x-oem-table-id='%s' has more than 8 characters", pc->oem_table_id);
        return false;
    }
    return true;
}

/* Makes function slot.fn; *out (or NULL) is it. */
static bool add_function(PcMachine *pc, int devfn, const char *type, bool multi, PciDevice **out,
                         Error **errp)
{
    PciBus *bus = PCI_BUS(pc->m.root_bus);
    PciDevice *d = pci_create(bus, devfn, multi, type);

    if (!pci_realize(d, bus, errp)) {
        return false;
    }
    if (out) {
        *out = d;
    }
    return true;
}

static void intercept_irqs(Machine *m, IrqTap *tap, void *opaque)
{
    gsi_intercept(&PC_MACHINE(m)->gsi, tap, opaque);
}

static void inject_nmi(Machine *m)
{
    apic_bus_nmi(PC_MACHINE(m)->apics);
}

static void sync_apic(Vcpu *v, void *opaque)
{
    vcpu_sync_out(v, NULL);
}

static void print_irqs(Machine *m, GString *out)
{
    PcMachine *pc = PC_MACHINE(m);

    for (guint i = 0; i < m->cpus->len; i++) {
        Vcpu *v = m->cpus->pdata[i];

        if (v->cpu.apic) {
            vcpu_run_on(v, sync_apic, NULL);
            apic_print(v->cpu.apic, out);
        }
    }
    ioapic_print(pc->ioapic, out);
    i8259_print(pc->i8259, out);
}

static void print_irq_counts(Machine *m, GString *out)
{
    PcMachine *pc = PC_MACHINE(m);

    ioapic_print_counts(pc->ioapic, out);
    i8259_print_counts(pc->i8259, out);
}

/* Memory, processors, host bridge, firmware: what comes before any south bridge. */
static bool init_north(PcMachine *pc, const char *host, uint64_t limit, uint64_t big, Error **errp)
{
    Device *dev;

    gsi_init(&pc->gsi);
    pc->m.irq_intercept = intercept_irqs;
    pc->m.inject_nmi = inject_nmi;
    pc->m.print_irqs = print_irqs;
    pc->m.print_irq_counts = print_irq_counts;
    pc->sci_irq = PC_ACPI_SCI_IRQ;
    if (!check_options(pc, errp) || !pc_memory_init(pc, limit, big, errp) ||
        !pc_cpus_init(pc, errp)) {
        return false;
    }
    dev = device_new(host);
    pc->host = PCI_HOST(dev);
    return device_realize(dev, &pc->m, NULL, errp) &&
           pc_firmware_init(pc, &pc->host->pci_mem, errp);
}

/* With all bridges there: ISA chips, fw_cfg, what the command line adds. */
static bool init_rest(PcMachine *pc, Error **errp)
{
    return pc_isa_init(pc, errp) && pc_floppy_init(pc, errp) && pc_fw_cfg_init(pc, errp) &&
           pc_pci_devices_init(pc, errp);
}

static bool init_i440fx(Machine *m, Error **errp)
{
    PcMachine *pc = PC_MACHINE(m);
    PciDevice *pm;

    if (!init_north(pc, TYPE_I440FX_HOST, LOW_RAM_I440FX, LOW_RAM_I440FX_BIG, errp) ||
        !add_function(pc, PCI_DEVFN(1, 0), TYPE_PIIX3, true, &pc->isa_bridge, errp) ||
        !pc_intc_init(pc, errp) ||
        !add_function(pc, PCI_DEVFN(1, 1), "piix3-ide", false, &pc->ide, errp)) {
        return false;
    }
    if (pc_auto(pc->acpi, true)) {
        if (!add_function(pc, PCI_DEVFN(1, 3), TYPE_PIIX4_PM, false, &pm, errp)) {
            return false;
        }
        pc->pm = piix4_pm_acpi(pm);
    }
    return init_rest(pc, errp);
}

static bool init_q35(Machine *m, Error **errp)
{
    PcMachine *pc = PC_MACHINE(m);

    if (!init_north(pc, TYPE_Q35_HOST, LOW_RAM_Q35, LOW_RAM_Q35_BIG, errp) ||
        !add_function(pc, PCI_DEVFN(31, 0), TYPE_ICH9_LPC, true, &pc->isa_bridge, errp) ||
        !pc_intc_init(pc, errp)) {
        return false;
    }
    pc->pm = ich9_lpc_acpi(pc->isa_bridge);
    if (pc->sata && !add_function(pc, PCI_DEVFN(31, 2), "ich9-ahci", true, &pc->ide, errp)) {
        return false;
    }
    if (pc->smbus && !add_function(pc, PCI_DEVFN(31, 3), TYPE_ICH9_SMB, true, NULL, errp)) {
        return false;
    }
    return init_rest(pc, errp);
}

static void pc_finalize(Object *obj)
{
    PcMachine *pc = (PcMachine *)obj;

    pc_machine_fini(pc);
    vmlinux_free(pc->vmlinux);
}

static const Property pc_props[] = {
    PROPERTY_ON_OFF_AUTO("acpi", PcMachine, acpi, ON_OFF_AUTO, "ACPI tables (pc: and hardware)"),
    PROPERTY_ON_OFF_AUTO("smm", PcMachine, smm, ON_OFF_AUTO, "system-management mode"),
    PROPERTY_ON_OFF_AUTO("pit", PcMachine, pit, ON_OFF_AUTO, "8254 timer"),
    PROPERTY_ON_OFF_AUTO("pic", PcMachine, pic, ON_OFF_AUTO, "8259 interrupt controllers"),
    PROPERTY_ON_OFF_AUTO("vmport", PcMachine, vmport, ON_OFF_AUTO, "VMware port: not there"),
    PROPERTY_BOOL("hpet", PcMachine, hpet, true, "high precision event timers"),
    PROPERTY_BOOL("i8042", PcMachine, i8042, true, "PS/2 keyboard controller"),
    PROPERTY_BOOL("sata", PcMachine, sata, true, "q35: AHCI controller on the board"),
    PROPERTY_BOOL("smbus", PcMachine, smbus, true, "q35: SMBus controller on the board"),
    PROPERTY_BOOL("fd-bootchk", PcMachine, fd_bootchk, true,
                  "look for a boot signature on floppies"),
    PROPERTY_SIZE("max-ram-below-4g", PcMachine, max_ram_below_4g, 0,
                  "where RAM below 4 GiB ends at most; 0: the board's own limit"),
    PROPERTY_STRING("x-oem-id", PcMachine, oem_id, "OEM ID in ACPI tables"),
    PROPERTY_STRING("x-oem-table-id", PcMachine, oem_table_id, "OEM table ID in ACPI tables"),
    PROPERTY_ENUM("smbios-entry-point-type", PcMachine, smbios_entry_point, entry_points, 0,
                  "SMBIOS entry point: 32 or 64 bits"),
    {0},
};

OBJECT_TYPE(pc_type, .name = TYPE_PC_MACHINE, .parent = TYPE_MACHINE, .help = "a PC",
            .size = sizeof(PcMachine), .props = pc_props, .finalize = pc_finalize, .abstract = true)

static const PcMachineClass i440fx_class = {
    .machine = {.desc = "Standard PC (i440FX + PIIX, 1996)",
                .alias = "pc",
                .is_default = true,
                .max_cpus = 255,
                .default_cpu = "qemu64",
                .default_nic = "e1000",
                .default_display = "std",
                .has_floppy = true,
                .has_cdrom = true,
                .default_disk_if = "ide",
                .init = init_i440fx,
                .done = pc_machine_done,
                .boot_changed = pc_boot_changed},
};

OBJECT_TYPE(i440fx_machine, .name = "pc-i440fx-11.1-machine", .parent = TYPE_PC_MACHINE,
            .help = "Standard PC (i440FX + PIIX, 1996)", .klass = &i440fx_class)

static const PcMachineClass q35_class = {
    .machine = {.desc = "Standard PC (Q35 + ICH9, 2009)",
                .alias = "q35",
                .max_cpus = 255,
                .default_cpu = "qemu64",
                .default_nic = "e1000",
                .default_display = "std",
                .has_cdrom = true,
                .default_disk_if = "ide",
                .pcie = true,
                .init = init_q35,
                .done = pc_machine_done,
                .boot_changed = pc_boot_changed},
    .q35 = true,
};

OBJECT_TYPE(q35_machine, .name = "pc-q35-11.1-machine", .parent = TYPE_PC_MACHINE,
            .help = "Standard PC (Q35 + ICH9, 2009)", .klass = &q35_class)
