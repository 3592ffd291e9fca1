/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/timer/mc146818.h: real-time clock with 128 bytes of battery-backed RAM.
 *
 * Motorola MC146818A data sheet; century at 32h as in PIIX/ICH.  Type
 * "mc146818rtc" (properties irq, iobase, base_year, lost_tick_policy, date).
 * Ports iobase (index) and iobase+1 (data).
 * Guest time is the machine's rtc_clock + rtc_offset_ns (`-rtc`).
 */
#ifndef RHEA_HW_TIMER_MC146818_H
#define RHEA_HW_TIMER_MC146818_H

#include "hw/isa/isa.h"

#define TYPE_MC146818 "mc146818rtc"

typedef struct Mc146818 Mc146818;

/* On the bus; `irq`: {0} for ISA line 8, else e.g. hpet_legacy_input(…, 1). */
Mc146818 *mc146818_new(Machine *m, IsaBus *bus, IrqLine irq, Error **errp);
/* CMOS contents, as the machine type fills them in; index 0-127. */
void mc146818_set(Mc146818 *s, unsigned index, uint8_t value);
uint8_t mc146818_get(Mc146818 *s, unsigned index);
/* Called when an alarm interrupt is raised, also with IRQs masked: ACPI's RTC_STS. */
void mc146818_set_alarm_line(Mc146818 *s, IrqLine alarm);

#endif
