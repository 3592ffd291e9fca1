/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/i386/gsi.h: the board's 24 interrupt wires, to the 8259 pair and the I/O
 * APIC.  Several sources may hold up one wire; it is high while any does.  A
 * leaf of the lock order.
 */
#ifndef RHEA_HW_I386_GSI_H
#define RHEA_HW_I386_GSI_H

#include "hw/core/irq.h"

#include <pthread.h>
#include <stdint.h>

#define GSI_COUNT 24

typedef enum GsiSource { GSI_ISA, GSI_PIRQ, GSI_SCI, GSI_HPET, GSI_SOURCES } GsiSource;

typedef struct Gsi {
    pthread_mutex_t lock;
    uint8_t held[GSI_COUNT]; /* bit per source */
    IrqLine pic[16];         /* unconnected without 8259s */
    IrqLine ioapic[GSI_COUNT];
    IrqTap *tap; /* qtest: sees the inputs of the I/O APIC instead of it */
    void *tap_opaque;
} Gsi;

void gsi_init(Gsi *g);
void gsi_fini(Gsi *g);
/* From now on `tap` gets what the I/O APIC would. */
void gsi_intercept(Gsi *g, IrqTap *tap, void *opaque);
/* The end of wire n that belongs to a source. Any thread. */
IrqLine gsi_line(Gsi *g, unsigned n, GsiSource source);

/*
 * A south bridge's PCI interrupt router: up to eight PIRQ lines, each with a register that
 * says which ISA line it drives (bit 7: none).  All under the root bus's interrupt lock.
 */
#define PIRQ_OFF 0x80u
typedef struct PirqRouter {
    uint8_t levels;   /* of the PIRQ lines */
    uint8_t route[8]; /* the registers */
    uint16_t told;    /* what the ISA lines were told */
} PirqRouter;
/* Sets each ISA line to the OR of the PIRQs that are routed to it. */
void pirq_update(PirqRouter *r, Gsi *g);
/* One PIRQ has changed. */
void pirq_set(PirqRouter *r, Gsi *g, int line, int level);

#endif
