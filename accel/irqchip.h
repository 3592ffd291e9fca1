/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * accel/irqchip.h: interrupt controllers that an engine brings along.
 *
 * KVM can serve local APICs, the 8259 pair and the I/O APIC in the kernel.  The
 * board's devices are there all the same: they hold the state for reset, snapshots
 * and the monitor, and pass lines and messages on through this table.  Formats of
 * chips' states are those of <linux/kvm.h>.
 *
 * Threads: lines and messages from any thread; the rest with the vCPUs paused.
 */
#ifndef RHEA_ACCEL_IRQCHIP_H
#define RHEA_ACCEL_IRQCHIP_H

#include "util/error.h"

#include <stdbool.h>
#include <stdint.h>

struct Accel;
struct kvm_irqchip;
struct kvm_pit_state2;

typedef struct AccelIrqchip {
    /* The 8259 pair and the I/O APIC are the engine's, too (else only local APICs). */
    bool board;
    /* A level at pin `gsi` of the I/O APIC (0-15: the 8259s see it as well, 2 as their line 0). */
    void (*set_gsi)(struct Accel *a, unsigned gsi, int level);
    /* A message to the local APICs, as PCI writes it. */
    void (*msi)(struct Accel *a, uint64_t address, uint32_t data);
    /* chip_id says which; false: the kernel refuses. */
    bool (*get_chip)(struct Accel *a, struct kvm_irqchip *chip);
    bool (*set_chip)(struct Accel *a, const struct kvm_irqchip *chip);
    /*
     * Without `board`: what pin `gsi` of the I/O APIC would send, so that the engine knows whose
     * EOIs are of interest; and whom to tell of them.
     */
    void (*set_route)(struct Accel *a, unsigned gsi, uint64_t address, uint32_t data, bool on);
    void (*set_eoi)(struct Accel *a, void (*eoi)(void *opaque, uint8_t vector), void *opaque);
    /*
     * With `board`: an 8254 of the engine's (NULL: it has none); reinject: ticks that the guest
     * misses come later.  `running` is told, on the control thread, when the machine goes on (true,
     * before any vCPU runs) or stands still.
     */
    bool (*pit_create)(struct Accel *a, bool reinject, void (*running)(void *opaque, bool run),
                       void *opaque, Error **errp);
    bool (*get_pit)(struct Accel *a, struct kvm_pit_state2 *state);
    bool (*set_pit)(struct Accel *a, const struct kvm_pit_state2 *state);
    /*
     * An eventfd that sends a message: a route (or -1: no room), to be changed with msi_update(),
     * and the descriptor connected to it.
     */
    int (*msi_route)(struct Accel *a);
    bool (*msi_update)(struct Accel *a, int route, uint64_t address, uint32_t data);
    void (*msi_free)(struct Accel *a, int route);
    bool (*irqfd)(struct Accel *a, int route, int fd, bool connect);
} AccelIrqchip;

#endif
