/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/isa/port92.h: the small ports of a PC's south bridge: system control port A
 * (92h: fast A20 gate and reset), the A20 line itself, and the POST code and
 * delay ports 80h and edh.
 */
#ifndef RHEA_HW_ISA_PORT92_H
#define RHEA_HW_ISA_PORT92_H

#include "hw/isa/isa.h"

#define TYPE_PORT92 "port92"
#define TYPE_ISA_DELAY_PORTS "isa-delay-ports"

/*
 * The A20 line of all CPUs of `m`: level 0 forces address bit 20 to zero.  The
 * last writer wins (not the OR of the sources that some chip sets have), so that
 * software which knows only one way can always close the gate.
 */
IrqLine a20_line(Machine *m);
bool port92_new(Machine *m, IsaBus *bus, Error **errp);
bool isa_delay_ports_new(Machine *m, IsaBus *bus, Error **errp);

#endif
