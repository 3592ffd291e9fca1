/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/i386/smram.h: system-management RAM at A0000h, behind the video memory, and
 * (q35) at the top of low RAM (Intel 82441FX, 3.2.19; Q35 data sheet, 5.1.17).
 */
#ifndef RHEA_HW_I386_SMRAM_H
#define RHEA_HW_I386_SMRAM_H

#include "hw/i386/pc.h"

#define SMRAM_C_BASE_SEG_MASK 0x07
#define SMRAM_C_BASE_SEG 0x02
#define SMRAM_G_SMRAME 0x08
#define SMRAM_D_LCK 0x10
#define SMRAM_D_CLS 0x20
#define SMRAM_D_OPEN 0x40
#define ESMRAMC_T_EN 0x01
#define ESMRAMC_TSEG_SZ_MASK 0x06
#define ESMRAMC_H_SMRAME 0x80

typedef struct Smram {
    PcMachine *pc;
    Region video;     /* PCI at A0000h over RAM, for everybody unless SMRAM is open */
    Region low;       /* RAM at A0000h in the SMM view */
    Region high;      /* the same at FEDA0000h */
    Region tseg;      /* RAM at the top, in the SMM view */
    Region blackhole; /* over it for everybody else */
} Smram;

/* `pci`: the PCI memory space. */
void smram_init(Smram *s, Device *owner, PcMachine *pc, Region *pci);
void smram_fini(Smram *s);
/* Registers as they stand; tseg_size 0: none. */
void smram_update(Smram *s, uint8_t smram, uint8_t esmramc, uint64_t tseg_size);

#endif
