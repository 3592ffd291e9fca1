/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/misc/pcspk.h: port 61h: speaker gate, counter 2's output, refresh toggle.
 * Type "isa-pcspk" (properties iobase, pit).
 */
#ifndef RHEA_HW_MISC_PCSPK_H
#define RHEA_HW_MISC_PCSPK_H

#include "hw/isa/isa.h"
#include "hw/timer/i8254.h"

#define TYPE_PCSPK "isa-pcspk"

bool pcspk_new(Machine *m, IsaBus *bus, I8254 *pit, Error **errp);

#endif
