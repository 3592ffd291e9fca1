/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/isa/ferr.h: how a PC hears of x87 errors when CR0.NE is 0: the CPU's FERR# raises
 * IRQ 13, and the handler's write to port F0h takes the interrupt back and holds IGNNE#
 * until FERR# is gone (Intel SDM vol. 1, appendix D.2; 82371SB datasheet, "coprocessor
 * error register").
 */
#ifndef RHEA_HW_ISA_FERR_H
#define RHEA_HW_ISA_FERR_H

#include "hw/isa/isa.h"

#define TYPE_ISA_FERR "isa-coprocessor-error"

/* Makes the device and connects the FERR# of all CPUs of `m`, which exist already. */
bool isa_ferr_new(Machine *m, IsaBus *bus, Error **errp);

#endif
