/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/timer/i8254.h: the programmable interval timer.
 *
 * Intel 82C54 data sheet (231244).  Type "isa-pit" (property iobase, default
 * 40h).  Counter 0's output goes to `irq`; counter 2's gate and output belong to
 * port 61h (hw/misc/pcspk.h).
 *
 * Type "kvm-pit" (below isa-pit; property lost_tick_policy) holds the state of a timer in the
 * kernel, which then interrupts by itself.
 */
#ifndef RHEA_HW_TIMER_I8254_H
#define RHEA_HW_TIMER_I8254_H

#include "hw/isa/isa.h"

#define TYPE_I8254 "isa-pit"
#define TYPE_KVM_PIT "kvm-pit"
#define I8254_HZ 1193182

typedef struct I8254 I8254;

/* On the bus; `irq`: counter 0's output (ISA line 0, or hpet_legacy_input(…, 0)). */
I8254 *i8254_new(Machine *m, IsaBus *bus, IrqLine irq, Error **errp);
/*
 * To be told when the HPET takes counter 0's place, whose output it cannot hold back where the
 * kernel makes it.
 */
IrqLine i8254_legacy_line(I8254 *s);
/* Platform loop's lock held for all of these. */
void i8254_set_gate(I8254 *s, unsigned counter, bool level);
bool i8254_gate(I8254 *s, unsigned counter);
bool i8254_out(I8254 *s, unsigned counter);
/* The counter's period for a speaker, in Hz; 0 if it makes no square wave. */
unsigned i8254_frequency(I8254 *s, unsigned counter);

#endif
