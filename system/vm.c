/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making and unmaking the parts that every machine stands on. */
#include "system/vm.h"

#include "accel/qtest/qtest.h"
#include "monitor/monitor.h"
#include "system/gdbstub.h"
#include "ui/vnc.h"
#include "util/rcu.h"

#include <assert.h>

static void vm_init(Object *obj)
{
    Vm *vm = (Vm *)obj;
    vm->state = Q_RUN_STATE_PRELAUNCH;
    vm->on_reboot = Q_REBOOT_ACTION_RESET;
    vm->on_shutdown = Q_SHUTDOWN_ACTION_POWEROFF;
    vm->on_panic = Q_PANIC_ACTION_SHUTDOWN;
    vm->on_watchdog = Q_WATCHDOG_ACTION_RESET;
    pthread_mutex_init(&vm->lock, NULL);
}

static void vm_finalize(Object *obj)
{
    Vm *vm = (Vm *)obj;
    g_free(vm->wakeup_why);
    json_unref(vm->panic_info);
    pthread_mutex_destroy(&vm->lock);
}

OBJECT_TYPE(vm_type, .name = TYPE_VM, .parent = "container", .help = "a virtual machine",
            .size = sizeof(Vm), .init = vm_init, .finalize = vm_finalize)

Vm *vm_of(Object *any)
{
    Object *root = object_root(any);
    assert(object_is_a(root, TYPE_VM));
    return (Vm *)root;
}

Vm *vm_new(Error **errp)
{
    Vm *vm = (Vm *)object_new(TYPE_VM);
    vm->clocks = clock_set_new();
    vm->control = loop_new("control", vm->clocks, errp);
    if (!vm->control) {
        return NULL;
    }
    loop_set_control(vm->control);
    vm->platform = loop_new("platform", vm->clocks, errp);
    if (!vm->platform || !loop_start_thread(vm->platform, errp)) {
        return NULL;
    }
    vm->memsys = memory_system_new();
    vm->ui = ui_new(vm->control);
    vm->block = block_graph_new(&vm->obj, vm->platform);
    block_graph_set_control(vm->block, vm->control);
    return vm;
}

/* What devices stand on goes when the last of them has gone; the root takes the rest along. */
static void free_parts(Vm *vm)
{
    ClockSet *clocks = vm->clocks;
    EventLoop *control = vm->control, *platform = vm->platform;
    MemorySystem *memsys = vm->memsys;
    UiContext *ui = vm->ui;
    if (vm->machine) {
        object_unparent(&vm->machine->obj);
        vm->machine = NULL;
    }
    chardev_remove_all(&vm->obj);
    chardev_cleanup_terminal();
    if (vm->accel) {
        object_unref(&vm->accel->obj);
    }
    object_unref(&vm->obj);
    ui_free(ui);
    rcu_barrier();
    memory_system_free(memsys);
    loop_free(platform);
    loop_unlock(control);
    loop_free(control);
    clock_set_free(clocks);
}

void vm_free(Vm *vm)
{
    Machine *m = vm->machine;
    if (m && m->cpus->len) {
        vcpus_pause(m->cpus);
    }
    /* The control loop runs no more: whoever needs its lock first has it from here on. */
    loop_lock(vm->control);
    monitor_close_all(&vm->obj);
    gdb_server_close(vm);
    if (vm->vnc) {
        vnc_free(vm->vnc);
    }
    if (m) {
        loop_lock(vm->platform);
        loop_allow_long(vm->platform);
        machine_unrealize_all(m);
        loop_unlock(vm->platform);
    }
    /* Jobs that end now have nobody to tell. */
    block_graph_set_event_hook(vm->block, NULL, NULL);
    block_graph_free(vm->block);
    vm->block = NULL;
    loop_stop_thread(vm->platform);
    if (vm->qtest) { /* it listens to interrupt lines until the last device is gone */
        qtest_server_free(vm->qtest);
    }
    free_parts(vm);
}
