/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/misc/debugexit.h: a port whose write ends the process with status 2v + 1:
 * for test programs.  Type "isa-debug-exit" (iobase=0x501, iosize=2).
 */
#ifndef RHEA_HW_MISC_DEBUGEXIT_H
#define RHEA_HW_MISC_DEBUGEXIT_H

#define TYPE_ISA_DEBUG_EXIT "isa-debug-exit"

#endif
