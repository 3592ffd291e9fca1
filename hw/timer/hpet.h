/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/timer/hpet.h: the high precision event timers.
 *
 * IA-PC HPET specification 1.0a.  Type "hpet" (properties timers, msi,
 * hpet-intcap); 100 MHz, 64-bit main counter.
 */
#ifndef RHEA_HW_TIMER_HPET_H
#define RHEA_HW_TIMER_HPET_H

#include "hw/core/device.h"
#include "hw/core/machine.h"

#define TYPE_HPET "hpet"
#define HPET_BASE 0xfed00000ull
#define HPET_IRQS 32

typedef struct Hpet Hpet;

/*
 * Makes it with the routing mask `intcap` (bit n: interrupt n of the I/O APIC can
 * be chosen) and realizes it.  gsi: HPET_IRQS lines, unconnected where there is
 * none; isa0, isa8: where the PIT's and the RTC's interrupts go.
 */
Hpet *hpet_new(Machine *m, uint32_t intcap, const IrqLine *gsi, IrqLine isa0, IrqLine isa8,
               Error **errp);
Region *hpet_region(Hpet *s); /* 1 KiB, to be mapped at HPET_BASE */
/*
 * With an HPET the PIT's output goes into input 0 and the RTC's into input 1; they
 * are passed on to isa0 and isa8 unless the guest chose legacy replacement.
 */
IrqLine hpet_legacy_input(Hpet *s, unsigned n);
/* High while the guest has chosen legacy replacement: for a PIT that does not come this way. */
void hpet_set_replaced_line(Hpet *s, IrqLine line);
uint32_t hpet_event_block_id(const Hpet *s); /* for the ACPI table */

#endif
