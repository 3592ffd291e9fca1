/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/intc/i8259.h: the pair of 8259A interrupt controllers of a PC.
 *
 * Intel 8259A data sheet (231468-003); edge/level control registers (ELCR) as in
 * the PIIX3 and ICH9 data sheets.  Each chip is a device of type "isa-i8259"
 * (properties iobase, elcr_addr, elcr_mask, master); the pair has one lock, which
 * is a leaf: inputs and acknowledge cycles may come from any thread.
 */
#ifndef RHEA_HW_INTC_I8259_H
#define RHEA_HW_INTC_I8259_H

#include "hw/isa/isa.h"

#define TYPE_I8259 "isa-i8259"

typedef struct I8259 I8259;

/*
 * Makes master (20h, ELCR 4d0h, lines 0-7) and slave (a0h, ELCR 4d1h, lines 8-15)
 * on the bus.  `out` is the master's INT output (usually apic_bus_extint()).
 * Returns the master, or NULL and nothing made.
 */
I8259 *i8259_new_pair(Machine *m, IsaBus *bus, IrqLine out, Error **errp);
/* Input n, 0-15, of the pair; line 2 is the cascade and ignored. Any thread. */
IrqLine i8259_input(I8259 *master, unsigned n);
/* An INTA cycle: the vector (a spurious IR7 if nothing is there any more). Any thread. */
int i8259_ack(void *master);
/* The INT output. Any thread. */
bool i8259_pending(I8259 *master);
/* For `info pic`. */
void i8259_print(I8259 *master, GString *out);
void i8259_print_counts(I8259 *master, GString *out); /* info irq */

#endif
