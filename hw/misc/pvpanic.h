/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/misc/pvpanic.h: the guest says that it has panicked, crash-loaded or shut
 * down.  QEMU's published specification docs/specs/pvpanic.rst.  Types "pvpanic"
 * (ISA: ioport=0x505, events) and "pvpanic-pci" (1b36:0011, BAR 0).
 */
#ifndef RHEA_HW_MISC_PVPANIC_H
#define RHEA_HW_MISC_PVPANIC_H

#include "hw/isa/isa.h"

#define TYPE_PVPANIC_ISA "pvpanic"
#define TYPE_PVPANIC_PCI "pvpanic-pci"

#define PVPANIC_PANICKED 1u
#define PVPANIC_CRASH_LOADED 2u
#define PVPANIC_SHUTDOWN 4u

#endif
