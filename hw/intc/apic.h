/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/intc/apic.h: local APICs, and the bus on which their messages travel.
 *
 * Intel SDM vol. 3, chapter "Advanced Programmable Interrupt Controller"; x2APIC
 * included.  One ApicBus a machine; one device of type "apic" a CPU.
 *
 * Threads: an APIC's own registers belong to its vCPU's thread.  Requests come
 * from any thread: IRR and TMR are atomic words, the CPU is told by
 * vcpu_interrupt(IRQ_HARD).  IRQ_HARD means "look": ack_interrupt() says -1 if
 * there turns out to be nothing (the CPU then stays halted if it was).
 * CPUX86.apic_ops: read_msr/write_msr take 800h-8ffh and also
 * IA32_TSC_DEADLINE (6e0h), write_msr KVM's 4b564d04h; false means #GP.
 */
#ifndef RHEA_HW_INTC_APIC_H
#define RHEA_HW_INTC_APIC_H

#include "accel/accel.h"
#include "hw/core/device.h"
#include "hw/core/machine.h"

#define TYPE_APIC "apic"
#define APIC_DEFAULT_BASE 0xfee00000ull
#define APIC_REGION_SIZE 0x100000ull

typedef struct ApicBus ApicBus;
typedef struct Apic Apic;

typedef enum ApicDelivery {
    APIC_FIXED,
    APIC_LOWEST,
    APIC_SMI,
    APIC_RESERVED3,
    APIC_NMI,
    APIC_INIT,
    APIC_STARTUP,
    APIC_EXTINT,
} ApicDelivery;

typedef struct ApicMessage {
    uint32_t dest;
    bool logical;
    ApicDelivery mode;
    uint8_t vector;
    bool level;  /* trigger mode */
    bool assert; /* only INIT level de-assert has it false */
} ApicMessage;

/* Any thread may deliver; the bus lives as long as the machine. */
ApicBus *apic_bus_new(Machine *m);
void apic_bus_free(ApicBus *bus);
/*
 * 1 MiB at APIC_DEFAULT_BASE, to be added to the machine's memory: a CPU sees
 * its own APIC in it, everybody else's writes are MSIs.
 */
Region *apic_bus_region(ApicBus *bus);
/* Who gives the vector of an ExtINT: i8259_ack(), master. Before the CPUs run. */
void apic_bus_set_extint(ApicBus *bus, int (*ack)(void *opaque), bool (*pending)(void *opaque),
                         void *opaque);
/* The 8259's INT output: LINT0 of all CPUs (or straight to the first one if its APIC is off). */
IrqLine apic_bus_extint(ApicBus *bus);
void apic_bus_deliver(ApicBus *bus, const ApicMessage *msg);
/* An MSI as PCI writes it: SDM vol. 3, "Message Signalled Interrupts". */
void apic_bus_msi(ApicBus *bus, uint64_t address, uint32_t data);
/* NMI button, watchdog, SERR: the LINT1 pin of every CPU. */
void apic_bus_nmi(ApicBus *bus);
/* An SMI to every CPU (south bridge's SMI#), or to the one that caused it. */
void apic_bus_smi(ApicBus *bus, bool all);
/* I/O APICs hear of level EOIs. */
typedef void ApicEoiFn(void *opaque, uint8_t vector);
void apic_bus_add_eoi(ApicBus *bus, ApicEoiFn *fn, void *opaque);
void apic_bus_del_eoi(ApicBus *bus, void *opaque);

/*
 * The local APIC of one vCPU: a device below the machine; sets cpu.apic and
 * cpu.apic_ops.  APIC ID from cpu.config.apic_id.  The vCPU must not run yet.
 */
Apic *apic_new(ApicBus *bus, Machine *m, Vcpu *v, Error **errp);
uint32_t apic_id(const Apic *a);
void apic_print(Apic *a, GString *out); /* info pic */

#endif
