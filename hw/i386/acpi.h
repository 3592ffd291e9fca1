/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/i386/acpi.h: the ACPI tables of a PC (ACPI 6.3, chapter 5).
 */
#ifndef RHEA_HW_I386_ACPI_H
#define RHEA_HW_I386_ACPI_H

#include "hw/acpi/aml.h"
#include "hw/i386/pc.h"

/* dsdt.c: the terms of the DSDT. */
Aml *pc_dsdt(PcMachine *pc);
/* dsdt_pci.c: the root bridge's device with its resources, interrupt routing and what is on ISA. */
void pc_dsdt_pci(PcMachine *pc, Aml *dsdt);
void pc_dsdt_isa(PcMachine *pc, Aml *dsdt);
/* acpi.c: puts tables, RSDP and script into fw_cfg; they are made anew when firmware reads them. */
bool pc_acpi_init(PcMachine *pc, Error **errp);
/* Where PM1 and GPE0 are, for the FADT; before firmware has set PMBASE, where it will. */
uint16_t pc_acpi_pm_base(const PcMachine *pc);

#endif
