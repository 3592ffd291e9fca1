/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's states, and what devices, signals and managers ask for. */
#include "monitor/monitor.h"
#include "system/gdbstub.h"
#include "system/vm.h"
#include "util/log.h"
#include "util/trace.h"

#include <errno.h>
#include <stdlib.h>

TRACE_EVENT(vm_state, "%s -> %s")

static void set_state(Vm *vm, QRunState state)
{
    trace(vm_state, QRunState_names[vm->state], QRunState_names[state]);
    vm->state = state;
}

static void emit(Vm *vm, const char *name, Json *data)
{
    monitor_event(&vm->obj, name, data);
}

static Json *cause(QShutdownCause why)
{
    Json *data = json_object();
    bool guest = why == Q_SHUTDOWN_CAUSE_GUEST_SHUTDOWN || why == Q_SHUTDOWN_CAUSE_GUEST_RESET ||
                 why == Q_SHUTDOWN_CAUSE_GUEST_PANIC;
    json_put_bool(data, "guest", guest);
    json_put_string(data, "reason", QShutdownCause_names[why]);
    return data;
}

/* ---- running and pausing ---- */
static void tell_engine(Vm *vm, bool run)
{
    if (accel_class(vm->accel)->running) {
        accel_class(vm->accel)->running(vm->accel, run);
    }
}

static void run_cpus(Vm *vm, GPtrArray *cpus, bool clock)
{
    vm->running = true;
    clock_virtual_enable(vm->clocks, clock);
    if (clock) {
        tell_engine(vm, true);
    }
    if (cpus->len) {
        vcpus_resume(cpus);
    }
}

static void pause_cpus(Vm *vm)
{
    vm->running = false;
    if (vm->machine->cpus->len) {
        vcpus_pause(vm->machine->cpus);
    }
    tell_engine(vm, false);
    clock_virtual_enable(vm->clocks, false);
}

bool vm_start(Vm *vm, Error **errp)
{
    return vm_start_some(vm, vm->machine->cpus, true, errp);
}

bool vm_start_some(Vm *vm, GPtrArray *vcpus, bool clock, Error **errp)
{
    if (vm->running) {
        return true;
    }
    if (vm->state == Q_RUN_STATE_SHUTDOWN || vm->state == Q_RUN_STATE_INTERNAL_ERROR) {
        error_set(errp, "Resetting the Virtual Machine is required");
        error_hint(errp, "system_reset, then cont");
        return false;
    }
    if (vm->state == Q_RUN_STATE_SUSPENDED) {
        return true; /* the guest sleeps; system_wakeup wakes it */
    }
    block_retry_all(vm->block);
    set_state(vm, Q_RUN_STATE_RUNNING);
    emit(vm, "RESUME", NULL);
    run_cpus(vm, vcpus, clock);
    return true;
}

static void one_round(void *opaque)
{
}

void vm_stop(Vm *vm, QRunState state)
{
    if (!vm->running) {
        if (state != Q_RUN_STATE_PAUSED) {
            set_state(vm, state);
        }
        return;
    }
    pause_cpus(vm);
    /* Doorbells that the CPUs have rung by eventfd are heard before anything is drained. */
    for (int rounds = 0; rounds < 3; rounds++) {
        loop_call(vm->platform, one_round, NULL);
    }
    set_state(vm, state);
    emit(vm, "STOP", NULL);
    block_drain_all(vm->block);
    block_flush_all(vm->block);
    if (vm->gdb) {
        gdb_server_stopped(vm->gdb);
    }
}

/* ---- reset ---- */
/* -boot once= was for the first start only. */
static void end_boot_once(Machine *m)
{
    if (m->boot.once) {
        g_free(m->boot.once);
        m->boot.once = NULL;
        if (machine_class(m)->boot_changed) {
            machine_class(m)->boot_changed(m);
        }
    }
}

void vm_reset(Vm *vm, QShutdownCause why)
{
    GPtrArray *cpus = vm->machine->cpus;
    bool was_running = vm->running;
    if (was_running && cpus->len) {
        vcpus_pause(cpus);
    }
    loop_lock(vm->platform);
    machine_reset(vm->machine);
    if (why != Q_SHUTDOWN_CAUSE_NONE) {
        end_boot_once(vm->machine);
    }
    loop_unlock(vm->platform);
    if (why != Q_SHUTDOWN_CAUSE_NONE) {
        emit(vm, "RESET", cause(why));
    }
    if (vm->state == Q_RUN_STATE_SUSPENDED) {
        set_state(vm, Q_RUN_STATE_RUNNING);
        run_cpus(vm, cpus, true);
    } else if (was_running) {
        if (cpus->len) {
            vcpus_resume(cpus);
        }
    } else if (vm->state != Q_RUN_STATE_PRELAUNCH) {
        set_state(vm, Q_RUN_STATE_PAUSED);
    }
}

/* ---- requests: noted anywhere, served on the control thread ---- */
static void serve(void *opaque);

/* Lock held. */
static void want_service(Vm *vm)
{
    if (!vm->serving) {
        vm->serving = true;
        loop_defer(vm->control, serve, vm);
    }
}

void vm_request_shutdown(Vm *vm, QShutdownCause why, int exit_code)
{
    vcpu_stop_current();
    pthread_mutex_lock(&vm->lock);
    if (!vm->shutdown_wanted) {
        vm->shutdown_wanted = true;
        vm->shutdown_why = why;
        vm->shutdown_code = exit_code;
    }
    want_service(vm);
    pthread_mutex_unlock(&vm->lock);
}

static void request_reset(Vm *vm, ResetReason why)
{
    vcpu_stop_current();
    pthread_mutex_lock(&vm->lock);
    vm->reset_wanted = true;
    vm->reset_why = why;
    want_service(vm);
    pthread_mutex_unlock(&vm->lock);
}

void vm_request_reset(Vm *vm, QShutdownCause why)
{
    request_reset(vm, why == Q_SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET ? RESET_HOST : RESET_GUEST);
}

void vm_request_stop(Vm *vm, QRunState state)
{
    pthread_mutex_lock(&vm->lock);
    vm->stop_wanted = true;
    vm->stop_state = state;
    want_service(vm);
    pthread_mutex_unlock(&vm->lock);
}

static void serve_shutdown(Vm *vm, QShutdownCause why, int code)
{
    emit(vm, "SHUTDOWN", cause(why));
    bool host = why == Q_SHUTDOWN_CAUSE_HOST_QMP_QUIT || why == Q_SHUTDOWN_CAUSE_HOST_SIGNAL ||
                why == Q_SHUTDOWN_CAUSE_HOST_UI;
    if (vm->on_shutdown == Q_SHUTDOWN_ACTION_PAUSE && !host && code == 0) {
        vm_stop(vm, Q_RUN_STATE_SHUTDOWN);
        return;
    }
    vm->exit_code = code;
    vm->quit = true;
}

static void serve_reset(Vm *vm, ResetReason why)
{
    if (vm->on_reboot == Q_REBOOT_ACTION_SHUTDOWN && vm->state != Q_RUN_STATE_SUSPENDED) {
        serve_shutdown(vm,
                       why == RESET_HOST ? Q_SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET
                                         : Q_SHUTDOWN_CAUSE_GUEST_RESET,
                       0);
        return;
    }
    vm_reset(vm, vm->state == Q_RUN_STATE_SUSPENDED ? Q_SHUTDOWN_CAUSE_NONE
                 : why == RESET_HOST                ? Q_SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET
                                                    : Q_SHUTDOWN_CAUSE_GUEST_RESET);
}

static void serve_panic(Vm *vm, Json *info)
{
    Json *data = json_object();
    bool pause =
        vm->on_panic == Q_PANIC_ACTION_PAUSE ||
        (vm->on_panic == Q_PANIC_ACTION_SHUTDOWN && vm->on_shutdown == Q_SHUTDOWN_ACTION_PAUSE);
    bool end = !pause && vm->on_panic != Q_PANIC_ACTION_NONE;
    json_put_string(data, "action", pause ? "pause" : end ? "poweroff" : "run");
    if (info) {
        g_autofree char *text = json_print(info, false);
        LOG(LOG_GUEST_ERROR, "Guest crashed: %s\n", text);
        json_put(data, "info", info);
    }
    emit(vm, "GUEST_PANICKED", data);
    if (pause || end) {
        vm_stop(vm, Q_RUN_STATE_GUEST_PANICKED);
    }
    if (end) {
        int code = vm->on_panic == Q_PANIC_ACTION_EXIT_FAILURE ? EXIT_FAILURE : 0;
        serve_shutdown(vm, Q_SHUTDOWN_CAUSE_GUEST_PANIC, code);
    }
}

static void serve_suspend(Vm *vm)
{
    if (vm->state == Q_RUN_STATE_RUNNING) {
        /* The guest's time goes on: its alarm clock must be able to wake it. */
        if (vm->machine->cpus->len) {
            vcpus_pause(vm->machine->cpus);
        }
        vm->running = false;
        set_state(vm, Q_RUN_STATE_SUSPENDED);
        emit(vm, "SUSPEND", NULL);
    }
}

static void serve_wakeup(Vm *vm, const char *why)
{
    Machine *m = vm->machine;
    if (vm->state == Q_RUN_STATE_SUSPENDED && m->wake) {
        emit(vm, "WAKEUP", NULL);
        loop_lock(vm->platform);
        m->wake(m->power_opaque, why); /* asks for the reset in turn */
        loop_unlock(vm->platform);
    }
}

static void serve(void *opaque)
{
    Vm *vm = opaque;
    pthread_mutex_lock(&vm->lock);
    bool reset = vm->reset_wanted, shutdown = vm->shutdown_wanted, suspend = vm->suspend_wanted;
    bool wakeup = vm->wakeup_wanted, panic = vm->panic_wanted, stop = vm->stop_wanted;
    ResetReason reset_why = vm->reset_why;
    QShutdownCause why = vm->shutdown_why;
    QRunState stop_state = vm->stop_state;
    int code = vm->shutdown_code;
    Json *info = g_steal_pointer(&vm->panic_info);
    g_autofree char *wakeup_why = g_steal_pointer(&vm->wakeup_why);
    vm->serving = vm->reset_wanted = vm->shutdown_wanted = vm->suspend_wanted = false;
    vm->wakeup_wanted = vm->panic_wanted = vm->stop_wanted = false;
    bool debug = vm->debug_wanted;
    vm->debug_wanted = false;
    pthread_mutex_unlock(&vm->lock);
    if (suspend) {
        serve_suspend(vm);
    }
    if (panic) {
        serve_panic(vm, info);
    }
    if (shutdown) {
        serve_shutdown(vm, why, code);
    }
    if (stop && !vm->quit) {
        vm_stop(vm, stop_state);
    }
    if (debug && vm->running) {
        vm_stop(vm, Q_RUN_STATE_DEBUG);
    }
    if (reset && !vm->quit) {
        serve_reset(vm, reset_why);
    }
    if (wakeup && !vm->quit) {
        serve_wakeup(vm, wakeup_why);
    }
    if (vm->quit) {
        loop_quit(vm->control);
    }
}

void vm_powerdown(Vm *vm)
{
    Machine *m = vm->machine;
    emit(vm, "POWERDOWN", NULL);
    if (m->power_button) {
        loop_lock(vm->platform);
        m->power_button(m->power_opaque);
        loop_unlock(vm->platform);
    }
}

static void watchdog(void *opaque)
{
    Vm *vm = opaque;
    Json *data = json_object();
    json_put_string(data, "action", QWatchdogAction_names[vm->on_watchdog]);
    emit(vm, "WATCHDOG", data);
    switch (vm->on_watchdog) {
    case Q_WATCHDOG_ACTION_RESET:
        request_reset(vm, RESET_GUEST);
        break;
    case Q_WATCHDOG_ACTION_SHUTDOWN:
        vm_powerdown(vm);
        break;
    case Q_WATCHDOG_ACTION_POWEROFF:
        vm_request_shutdown(vm, Q_SHUTDOWN_CAUSE_HOST_QMP_QUIT, 0);
        break;
    case Q_WATCHDOG_ACTION_PAUSE:
        vm_request_stop(vm, Q_RUN_STATE_WATCHDOG);
        break;
    case Q_WATCHDOG_ACTION_INJECT_NMI:
        for (unsigned i = 0; i < vm->machine->cpus->len; i++) {
            vcpu_interrupt(vm->machine->cpus->pdata[i], IRQ_NMI);
        }
        break;
    default: /* none; debug: the event has said it */
        break;
    }
}

/* ---- the machine's hooks ---- */
static void hook_reset(Machine *m, ResetReason why)
{
    request_reset(m->hooks_opaque, why);
}

static void hook_shutdown(Machine *m, ShutdownReason why, int exit_code)
{
    static const QShutdownCause causes[] = {
        [SHUTDOWN_GUEST] = Q_SHUTDOWN_CAUSE_GUEST_SHUTDOWN,
        [SHUTDOWN_GUEST_RESET] = Q_SHUTDOWN_CAUSE_GUEST_RESET,
        [SHUTDOWN_HOST_QMP] = Q_SHUTDOWN_CAUSE_HOST_QMP_QUIT,
        [SHUTDOWN_HOST_SIGNAL] = Q_SHUTDOWN_CAUSE_HOST_SIGNAL,
        [SHUTDOWN_HOST_UI] = Q_SHUTDOWN_CAUSE_HOST_UI,
        [SHUTDOWN_PANIC] = Q_SHUTDOWN_CAUSE_GUEST_PANIC,
    };
    vm_request_shutdown(m->hooks_opaque, causes[why], exit_code);
}

/* One more thing to serve; `text`, NULL or a member that says more about it, is `value` then. */
static void note(Vm *vm, bool *flag, char **text, const char *value)
{
    pthread_mutex_lock(&vm->lock);
    *flag = true;
    if (text) {
        g_free(*text);
        *text = g_strdup(value);
    }
    want_service(vm);
    pthread_mutex_unlock(&vm->lock);
}

static void hook_suspend(Machine *m)
{
    Vm *vm = m->hooks_opaque;
    note(vm, &vm->suspend_wanted, NULL, NULL);
}

static void hook_wakeup(Machine *m, const char *why)
{
    Vm *vm = m->hooks_opaque;
    note(vm, &vm->wakeup_wanted, &vm->wakeup_why, why);
}

static void hook_panicked(Machine *m, Json *info)
{
    Vm *vm = m->hooks_opaque;
    pthread_mutex_lock(&vm->lock);
    json_unref(vm->panic_info);
    vm->panic_info = info;
    vm->panic_wanted = true;
    want_service(vm);
    pthread_mutex_unlock(&vm->lock);
}

static void hook_internal_error(Machine *m)
{
    vm_request_stop(m->hooks_opaque, Q_RUN_STATE_INTERNAL_ERROR);
}

static void hook_watchdog(Machine *m)
{
    loop_defer(m->control, watchdog, m->hooks_opaque);
}

static void hook_debug(Machine *m)
{
    Vm *vm = m->hooks_opaque;
    note(vm, &vm->debug_wanted, NULL, NULL);
}

static bool hook_gdbserver(Machine *m, const char *device, Error **errp)
{
    return gdb_server_open(m->hooks_opaque, device, errp);
}

typedef struct EventCall {
    Vm *vm;
    char *name;
    Json *data;
} EventCall;

static void deliver_event(void *opaque)
{
    EventCall *c = opaque;
    monitor_event(&c->vm->obj, c->name, c->data);
    g_free(c->name);
    g_free(c);
}

static void hook_event(Machine *m, const char *name, Json *data)
{
    EventCall *c = g_new0(EventCall, 1);
    *c = (EventCall){m->hooks_opaque, g_strdup(name), data};
    loop_defer(m->control, deliver_event, c);
}

const MachineHooks vm_hooks = {
    .reset = hook_reset,
    .shutdown = hook_shutdown,
    .suspend = hook_suspend,
    .wakeup = hook_wakeup,
    .panicked = hook_panicked,
    .internal_error = hook_internal_error,
    .watchdog = hook_watchdog,
    .event = hook_event,
    .debug = hook_debug,
    .gdbserver = hook_gdbserver,
};

/* ---- disks ---- */
static void disk_error(void *opaque, BlockBackend *blk, BlkErrorAction a, bool is_read, int err)
{
    static const char *const actions[] = {
        [BLK_ERROR_REPORT] = "report", [BLK_ERROR_IGNORE] = "ignore", [BLK_ERROR_STOP] = "stop"};
    Vm *vm = opaque;
    Json *data = json_object();
    BlockNode *n = blk_node(blk);
    json_put_string(data, "device", blk_is_implicit(blk) ? "" : blk_name(blk));
    json_put_string(data, "qom-path", blk_device_path(blk));
    if (n) {
        json_put_string(data, "node-name", block_node_name(n));
    }
    json_put_string(data, "operation", is_read ? "read" : "write");
    json_put_string(data, "action", actions[a]);
    json_put_bool(data, "nospace", err == ENOSPC);
    json_put_string(data, "reason", g_strerror(err));
    hook_event(vm->machine, "BLOCK_IO_ERROR", data);
    if (a == BLK_ERROR_STOP) {
        vm_request_stop(vm, Q_RUN_STATE_IO_ERROR);
    }
}

static void tray_moved(void *opaque, BlockBackend *blk, bool open)
{
    Vm *vm = opaque;
    Json *data = json_object();
    const char *name = blk_name(blk);
    json_put_string(data, "device", name ? name : "");
    json_put_string(data, "id", name ? name : "");
    json_put_bool(data, "tray-open", open);
    hook_event(vm->machine, "DEVICE_TRAY_MOVED", data);
}

/* Jobs, exports and nodes have something to tell. */
static void block_event_hook(void *opaque, const char *name, Json *data)
{
    hook_event(((Vm *)opaque)->machine, name, data);
}

void vm_watch_disks(Vm *vm)
{
    block_graph_set_event_hook(vm->block, block_event_hook, vm);
    block_graph_set_error_hook(vm->block, disk_error, vm);
    block_graph_set_tray_hook(vm->block, tray_moved, vm);
}

int vm_main_loop(Vm *vm)
{
    if (!vm->quit) {
        loop_run(vm->control);
    }
    vm_stop(vm, vm->state == Q_RUN_STATE_RUNNING ? Q_RUN_STATE_SHUTDOWN : vm->state);
    return vm->exit_code;
}
