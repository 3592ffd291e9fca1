/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/i386/pam.h: programmable attribute map: what a CPU finds from C0000h to
 * FFFFFh: RAM or the PCI bus, apart for reads and writes (Intel 82441FX, 3.2.18;
 * Q35 data sheet, 5.1.16).
 */
#ifndef RHEA_HW_I386_PAM_H
#define RHEA_HW_I386_PAM_H

#include "hw/core/machine.h"

#define PAM_SEGMENTS 13

typedef struct Pam {
    Machine *machine;
    /* Each segment has its RAM below; one of these covers it, or none does. */
    Region to_pci[PAM_SEGMENTS], read_only[PAM_SEGMENTS], write_only[PAM_SEGMENTS];
    uint8_t mode[PAM_SEGMENTS];
    /*
     * What the PCI bus showed when a segment became write-only: reads come from here, writes
     * go to RAM.  The bus has nothing but ROM there.
     */
    RamBlock *copy;
    Region copy_region;
} Pam;

/* false: nothing is left behind. `pci`: the PCI memory space; `ram`: the machine's RAM from address 0. */
bool pam_init(Pam *p, Device *owner, Region *pci, Region *ram, Error **errp);
void pam_fini(Pam *p);
/* `regs`: the seven PAM registers as they stand in config space. */
void pam_update(Pam *p, const uint8_t regs[7]);

#endif
