/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Management commands about the run state. */
#include "qapi/qapi-commands.h"
#include "system/vm.h"

bool qmp_query_status(Object *root, QStatusInfo **out, Error **errp)
{
    Vm *vm = vm_of(root);
    *out = g_new0(QStatusInfo, 1);
    (*out)->running = vm->running;
    (*out)->status = vm->state;
    return true;
}

bool qmp_stop(Object *root, Error **errp)
{
    vm_stop(vm_of(root), Q_RUN_STATE_PAUSED);
    return true;
}

bool qmp_cont(Object *root, Error **errp)
{
    return vm_start(vm_of(root), errp);
}

bool qmp_quit(Object *root, Error **errp)
{
    vm_request_shutdown(vm_of(root), Q_SHUTDOWN_CAUSE_HOST_QMP_QUIT, 0);
    return true;
}

bool qmp_system_reset(Object *root, Error **errp)
{
    vm_request_reset(vm_of(root), Q_SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET);
    return true;
}

bool qmp_system_powerdown(Object *root, Error **errp)
{
    vm_powerdown(vm_of(root));
    return true;
}

bool qmp_system_wakeup(Object *root, Error **errp)
{
    Vm *vm = vm_of(root);
    if (!vm->machine->wake) {
        error_set(errp, "wake-up from suspend is not supported by this guest");
        return false;
    }
    if (vm->state != Q_RUN_STATE_SUSPENDED) {
        error_set(errp, "Unable to wake up: guest is not in suspended state");
        return false;
    }
    vm_hooks.wakeup(vm->machine, "other");
    return true;
}

bool qmp_set_action(Object *root, bool has_reboot, QRebootAction reboot, bool has_shutdown,
                    QShutdownAction shutdown, bool has_panic, QPanicAction panic, bool has_watchdog,
                    QWatchdogAction watchdog, Error **errp)
{
    Vm *vm = vm_of(root);
    vm->on_reboot = has_reboot ? reboot : vm->on_reboot;
    vm->on_shutdown = has_shutdown ? shutdown : vm->on_shutdown;
    vm->on_panic = has_panic ? panic : vm->on_panic;
    vm->on_watchdog = has_watchdog ? watchdog : vm->on_watchdog;
    return true;
}

bool qmp_watchdog_set_action(Object *root, QWatchdogAction action, Error **errp)
{
    vm_of(root)->on_watchdog = action;
    return true;
}
