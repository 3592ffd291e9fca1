/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/isa/i8237.h: the pair of DMA controllers with their page registers.
 *
 * Intel 8237A data sheet (231466); page registers 80h-8fh and high pages 480h-
 * 48fh as in the PIIX3 data sheet.  Each chip is a device of type "i8257" (the
 * name is QEMU's; properties base, dshift, page-base, pageh-base).
 */
#ifndef RHEA_HW_ISA_I8237_H
#define RHEA_HW_ISA_I8237_H

#include "hw/isa/isa.h"

#define TYPE_I8237 "i8257"

/* Makes both chips and sets bus->dma; page register 80h stays free for POST codes. */
bool i8237_new_pair(Machine *m, IsaBus *bus, Error **errp);

#endif
