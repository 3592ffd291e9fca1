/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * system/gdbstub.h: the server of GDB's remote serial protocol, on a character device.
 *
 * gdb sees one process whose threads are the CPUs, numbered from 1.  It stops the machine
 * when it connects, and the machine's run state is its own: `stop`, `cont` and a paused
 * guest's other reasons show up as signals.  Memory is the linear memory of the CPU that gdb
 * looks at (or physical memory, "maintenance packet Qqemu.PhyMemMode:1").
 *
 * Everything here is for the control thread.
 */
#ifndef RHEA_SYSTEM_GDBSTUB_H
#define RHEA_SYSTEM_GDBSTUB_H

#include "system/vm.h"

typedef struct GdbServer GdbServer;

/*
 * -gdb, gdbserver: `device` is "tcp::PORT", "unix:PATH" (which listen by themselves), another
 * short form, or the id of a -chardev; "none" ends the present server.  Replaces vm->gdb.
 */
bool gdb_server_open(Vm *vm, const char *device, Error **errp);
/* Tells gdb that the machine ends. */
void gdb_server_close(Vm *vm);
/* The machine has stopped; vm->state says why. */
void gdb_server_stopped(GdbServer *s);

#endif
