/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/i386/pc.h: what the machines `pc` and `q35` have in common: memory below
 * and above 4 GiB, processors, the chips of the ISA bus, firmware, and what
 * firmware is told about all that.
 */
#ifndef RHEA_HW_I386_PC_H
#define RHEA_HW_I386_PC_H

#include "hw/acpi/pm.h"
#include "hw/block/fdc.h"
#include "hw/core/machine.h"
#include "hw/i386/gsi.h"
#include "hw/intc/apic.h"
#include "hw/intc/i8259.h"
#include "hw/intc/ioapic.h"
#include "hw/isa/isa.h"
#include "hw/nvram/fw_cfg.h"
#include "hw/pci/host.h"
#include "hw/timer/hpet.h"
#include "hw/timer/mc146818.h"

#define PC_ACPI_SCI_IRQ 9

typedef struct PcMachine {
    Machine m;

    /* properties */
    int smm, acpi, pit, pic, vmport; /* OnOffAuto */
    bool hpet, i8042, sata, smbus, fd_bootchk;
    uint64_t max_ram_below_4g; /* 0: the board's own */
    char *oem_id, *oem_table_id;
    int smbios_entry_point; /* index in pc_smbios_entry_points */

    /* memory */
    uint64_t below_4g, above_4g;
    struct Vmlinux *vmlinux;              /* the unpacked kernel of -kernel, or NULL */
    Region ram_all, ram_below, ram_above; /* the latter are aliases of parts of the first */
    Region *node_ram; /* what ram_all consists of if NUMA nodes have backends of their own */
    RamBlock *bios;
    Region bios_rom, bios_isa, legacy_hole;
    /*
     * What CPUs see in system-management mode: everything, with SMRAM open. `smram` holds what
     * the host bridge opens there.
     */
    Region smm_root, smm_memory, smram;
    AddressSpace *as_smm;

    /* the board's parts */
    Gsi gsi;
    ApicBus *apics;
    I8259 *i8259;
    IoApic *ioapic;
    Hpet *hpet_dev;
    Mc146818 *rtc;
    IsaFdc *fdc;
    PciHost *host;
    AcpiPm *pm;
    PciDevice *ide;        /* PIIX3 IDE or ICH9 AHCI */
    PciDevice *isa_bridge; /* PIIX3 or ICH9-LPC */
    /* pc: disks (not CD-ROMs) that if=ide placed on ide.0 and ide.1, for the CMOS */
    uint8_t pci_gsi[4]; /* unused by q35 */

    /* what the tables describe */
    uint16_t pm_base;              /* where firmware put it; 0: not yet */
    uint64_t ecam_base, ecam_size; /* size 0: off */
    uint16_t sci_irq;
    GPtrArray *user_tables; /* GByteArray*: whole ACPI tables of -acpitable; or NULL */
} PcMachine;
#define TYPE_PC_MACHINE "generic-pc-machine"
#define PC_MACHINE(o) OBJECT_CAST(PcMachine, o, TYPE_PC_MACHINE)

typedef struct PcMachineClass {
    MachineClass machine;
    bool q35;
} PcMachineClass;

/* pc.c: in this order, from a board's init. */
bool pc_cpus_init(PcMachine *pc, Error **errp);
/* `limit`: where RAM below 4 GiB ends at most; `big`: the limit if there is more than that. */
bool pc_memory_init(PcMachine *pc, uint64_t limit, uint64_t big, Error **errp);
bool pc_firmware_init(PcMachine *pc, Region *pci, Error **errp);
bool pc_intc_init(PcMachine *pc, Error **errp);
/* The chips of the ISA bus; with the bus and the host bridge there. */
bool pc_isa_init(PcMachine *pc, Error **errp);
/* pc_drives.c: the floppy controller with its drives, where the board has one or -fda asks. */
bool pc_floppy_init(PcMachine *pc, Error **errp);
/* Network cards, PCI disks and the display adapter that the command line asks of the board. */
bool pc_pci_devices_init(PcMachine *pc, Error **errp);
/* pc_done.c, MachineClass.done: tables, boot order, kernel. */
bool pc_machine_done(Machine *m, Error **errp);
void pc_machine_fini(PcMachine *pc);
bool pc_smm_enabled(const PcMachine *pc);
bool pc_is_q35(const PcMachine *pc);
/* An SMI from the south bridge: to the CPU that caused it, or to all. */
void pc_smi(PcMachine *pc, bool all);

static inline bool pc_auto(int on_off_auto, bool when_auto)
{
    return on_off_auto == ON_OFF_AUTO ? when_auto : on_off_auto == ON_OFF_ON;
}
/* The APIC ID of CPU `index`, from the topology (SDM vol. 3, 9.9). */
uint32_t pc_apic_id(const SmpTopology *t, unsigned index);

/* cmos.c */
void pc_cmos_init(PcMachine *pc);
void pc_boot_changed(Machine *m);
/*
 * Is this reset the end of a suspend to RAM?  Then the firmware's copy of itself is kept in
 * place: it looks there for whether it has run before.
 */
static inline bool pc_waking(const PcMachine *pc)
{
    return pc->pm && acpi_pm_waking(pc->pm);
}
/* The machine wakes from suspend to RAM: firmware is to resume, not to start. */
void pc_woken(PcMachine *pc);
/* fwcfg.c: what does not depend on devices; and what does. */
bool pc_fw_cfg_init(PcMachine *pc, Error **errp);

#endif
