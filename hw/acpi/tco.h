/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/acpi/tco.h: the watchdog of ICH south bridges (ICH9 data sheet, 13.9): a
 * timer of 0.6 s ticks that, when it runs out twice in a row, resets the machine.
 */
#ifndef RHEA_HW_ACPI_TCO_H
#define RHEA_HW_ACPI_TCO_H

#include "hw/core/device.h"
#include "hw/core/machine.h"

typedef struct Tco {
    Machine *machine;
    /* Both may be NULL: raise TCO's SMI; is a reboot forbidden (GCS.NO_REBOOT)? */
    void (*smi)(void *opaque);
    bool (*no_reboot)(void *opaque);
    void *opaque;
    uint16_t rld, sts1, sts2, cnt1, cnt2, tmr;
    uint8_t dat_in, dat_out, msg1, msg2, wdcnt, irq_gen;
    uint8_t timeouts; /* in a row */
    Timer timer;
    Region io;
} Tco;

void tco_init(Tco *t, Device *owner); /* makes the region `io`, 32 bytes */
void tco_fini(Tco *t);
void tco_reset(Tco *t);
extern const StateDesc tco_state;

#endif
