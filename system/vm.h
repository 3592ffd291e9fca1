/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * system/vm.h: one virtual machine as a process runs it: its loops, clocks, machine,
 * and the state it is in.
 *
 * The Vm is the root of the composition tree, so that whoever has the root (every
 * management command) has it.  Everything here is for the control thread, unless said
 * otherwise; devices ask through the machine's hooks, from any thread, and are served
 * on the control thread a moment later.
 */
#ifndef RHEA_SYSTEM_VM_H
#define RHEA_SYSTEM_VM_H

#include "accel/accel.h"
#include "block/block.h"
#include "hw/core/machine.h"
#include "qapi/qapi-types.h"
#include "ui/console.h"

typedef struct Vm {
    Object obj;
    ClockSet *clocks;
    EventLoop *control, *platform;
    MemorySystem *memsys;
    BlockGraph *block;
    UiContext *ui;
    Accel *accel;
    Machine *machine;

    QRunState state;
    bool running; /* the vCPUs may run */
    QRebootAction on_reboot;
    QShutdownAction on_shutdown;
    QPanicAction on_panic;
    QWatchdogAction on_watchdog;

    /* what devices and signals asked for: guarded by `lock`, served on the control thread */
    pthread_mutex_t lock;
    bool reset_wanted, shutdown_wanted, suspend_wanted, wakeup_wanted, panic_wanted, stop_wanted;
    bool serving;
    ResetReason reset_why;
    QShutdownCause shutdown_why;
    int shutdown_code;
    QRunState stop_state;
    char *wakeup_why;
    Json *panic_info;

    bool quit;
    int exit_code;
    bool debug_wanted;         /* guarded by `lock`: a vCPU is at a breakpoint */
    struct GdbServer *gdb;     /* or NULL */
    struct QtestServer *qtest; /* or NULL */
    struct VncServer *vnc;     /* or NULL */
} Vm;
#define TYPE_VM "vm"

/* Loops, clocks, memory, disks, pictures; no machine yet. Marks the caller's as control thread. */
Vm *vm_new(Error **errp);
/* Unplugs everything, flushes disks, ends threads, frees all of it. Not from a callback. */
void vm_free(Vm *vm);
/* By way of the root; asserts that there is one. */
Vm *vm_of(Object *any);

/* ---- run state (runstate.c) ---- */
extern const MachineHooks vm_hooks;
/* Runs, or resumes; an error if the state does not allow it. */
bool vm_start(Vm *vm, Error **errp);
/* The same for some vCPUs only (Vcpu*), and with the guest's time standing or going. */
bool vm_start_some(Vm *vm, GPtrArray *vcpus, bool clock, Error **errp);
/* Pauses with the given state; the disks are flushed. */
void vm_stop(Vm *vm, QRunState state);
void vm_reset(Vm *vm, QShutdownCause why);
/* From any thread, also for signals (by way of an eventfd): as if a device had asked. */
void vm_request_shutdown(Vm *vm, QShutdownCause why, int exit_code);
void vm_request_reset(Vm *vm, QShutdownCause why);
void vm_request_stop(Vm *vm, QRunState state);
void vm_powerdown(Vm *vm);
/* Errors and moving trays of the disks become events; an error may stop the machine. */
void vm_watch_disks(Vm *vm);
/* Runs the control loop until the machine is shut down; the process' exit status. */
int vm_main_loop(Vm *vm);

#endif
