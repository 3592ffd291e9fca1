/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The last step of making a PC, when every device of the command line is there:
 * what describes them all, and what boots.
 */
#include "hw/i386/acpi.h"
#include "hw/i386/kernel.h"
#include "hw/i386/smbios.h"

bool pc_machine_done(Machine *m, Error **errp)
{
    PcMachine *pc = PC_MACHINE(m);

    pc_cmos_init(pc);
    fw_cfg_machine_done(m->fw_cfg, m);
    return pc_acpi_init(pc, errp) && pc_smbios_init(pc, errp) && pc_kernel_init(pc, errp);
}
