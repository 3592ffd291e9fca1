/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/input/i8042.h: the keyboard controller, ports 60h and 64h, with a PS/2
 * keyboard and a wheel mouse behind it.
 *
 * IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary
 * Device Controller".  Type "i8042" (properties kbd-irq, mouse-irq).
 */
#ifndef RHEA_HW_INPUT_I8042_H
#define RHEA_HW_INPUT_I8042_H

#include "hw/isa/isa.h"

#define TYPE_I8042 "i8042"

/* `a20`: output port bit 1, usually a20_line(m). */
bool i8042_new(Machine *m, IsaBus *bus, IrqLine a20, Error **errp);

#endif
