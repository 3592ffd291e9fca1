/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The DSDT of a PC: sleep states, processors, timers; and by way of dsdt_pci.c
 * everything below the PCI root bridge.
 */
#include "hw/i386/acpi.h"

/* SLP_TYP of PM1a and PM1b. */
static Aml *sleep_package(unsigned type)
{
    Aml *p = aml_package();

    aml_append(p, aml_int(type));
    aml_append(p, aml_int(type));
    aml_append(p, aml_int(0));
    aml_append(p, aml_int(0));
    return p;
}

static void sleep_states(PcMachine *pc, Aml *dsdt)
{
    if (pc->pm && !pc->pm->disable_s3) {
        aml_append(dsdt, aml_name("\\_S3", sleep_package(1)));
    }
    if (pc->pm && !pc->pm->disable_s4) {
        aml_append(dsdt, aml_name("\\_S4", sleep_package(pc->pm->s4_val)));
    }
    aml_append(dsdt, aml_name("\\_S5", sleep_package(0)));
}

static void processors(PcMachine *pc, Aml *sb)
{
    Aml *cpus = aml_device("CPUS");

    aml_append(cpus, aml_name("_HID", aml_string("ACPI0010")));
    aml_append(cpus, aml_name("_CID", aml_eisaid("PNP0A05")));
    for (unsigned i = 0; i < pc->m.smp.cpus; i++) {
        g_autofree char *name = g_strdup_printf("C%03X", i);
        Aml *cpu = aml_device(name);

        aml_append(cpu, aml_name("_HID", aml_string("ACPI0007")));
        aml_append(cpu, aml_name("_UID", aml_int(i)));
        aml_append(cpu, aml_name("_STA", aml_int(0xf)));
        aml_append(cpus, cpu);
    }
    aml_append(sb, cpus);
}

static void hpet(PcMachine *pc, Aml *sb)
{
    Aml *dev, *crs;

    if (!pc->hpet_dev) {
        return;
    }
    dev = aml_device("HPET");
    aml_append(dev, aml_name("_HID", aml_eisaid("PNP0103")));
    aml_append(dev, aml_name("_UID", aml_int(0)));
    crs = aml_resources();
    aml_append(crs, aml_memory32(HPET_BASE, 0x400, false));
    aml_append(dev, aml_name("_CRS", crs));
    aml_append(sb, dev);
}

Aml *pc_dsdt(PcMachine *pc)
{
    Aml *dsdt = aml_block(), *sb = aml_scope("\\_SB"), *gpe = aml_scope("\\_GPE");

    processors(pc, sb);
    hpet(pc, sb);
    aml_append(dsdt, sb);
    pc_dsdt_pci(pc, dsdt);
    pc_dsdt_isa(pc, dsdt);
    aml_append(gpe, aml_name("_HID", aml_string("ACPI0006")));
    aml_append(dsdt, gpe);
    sleep_states(pc, dsdt);
    return dsdt;
}
