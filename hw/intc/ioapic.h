/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/intc/ioapic.h: the I/O APIC: 24 pins, each with a redirection entry.
 *
 * Intel 82093AA data sheet (290566) with the version 20h additions (EOI
 * register) of ICH-class south bridges.  Type "ioapic"; the machine maps
 * ioapic_region() at fec00000h.  A leaf of the lock order.
 */
#ifndef RHEA_HW_INTC_IOAPIC_H
#define RHEA_HW_INTC_IOAPIC_H

#include "hw/core/device.h"
#include "hw/intc/apic.h"

#define TYPE_IOAPIC "ioapic"
#define IOAPIC_PINS 24
#define IOAPIC_DEFAULT_BASE 0xfec00000ull

typedef struct IoApic IoApic;

/* Makes it, realizes it below the machine and connects it to the APIC bus (EOIs). */
IoApic *ioapic_new(Machine *m, ApicBus *bus, Error **errp);
Region *ioapic_region(IoApic *s); /* 4 KiB */
/* Pin n, 0-23; levels: 1 is asserted whatever the entry's polarity says. Any thread. */
IrqLine ioapic_input(IoApic *s, unsigned n);
void ioapic_print(IoApic *s, GString *out);        /* info pic */
void ioapic_print_counts(IoApic *s, GString *out); /* info irq */

#endif
