/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/i386/smbus.h: the SMBus host controller of Intel's south bridges
 * (82371AB, 7.2; ICH9 data sheet, 19.2).  Nothing is connected to its bus:
 * every transaction ends with "device error", as for an address that nobody
 * acknowledges.
 */
#ifndef RHEA_HW_I386_SMBUS_H
#define RHEA_HW_I386_SMBUS_H

#include "hw/core/device.h"

typedef struct SmBus {
    Region io;
    IrqLine irq; /* for transactions with interrupt enable */
    uint8_t status, control, command, address, data0, data1;
    uint8_t block[32], aux_control;
    uint32_t block_index;
} SmBus;

/* Makes the region `io` of `size` bytes (a power of two from 16); the owner maps it. */
void smbus_init(SmBus *s, Device *owner, unsigned size);
void smbus_fini(SmBus *s);
void smbus_reset(SmBus *s);
extern const StateDesc smbus_state;

#endif
