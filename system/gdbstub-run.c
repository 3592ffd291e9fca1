/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The gdb server: making CPUs go on, and telling why they stopped. */
#include "system/gdbstub-internal.h"

#include <inttypes.h>
#include <string.h>

#define SIG_QUIT 3
#define SIG_ABRT 6
#define SIG_ALRM 14
#define SIG_STOP 17 /* gdb's own numbers */

static unsigned n_cpus(const GdbServer *s)
{
    return s->vm->machine->cpus->len;
}

/* ---- threads ---- */
bool gdb_parse_thread(const GdbServer *s, const char **p, int *cpu)
{
    uint64_t id;
    if (g_str_has_prefix(*p, "-1")) {
        *p += 2;
        *cpu = -1;
        return true;
    }
    if (!gdb_parse_hex(p, &id) || id > n_cpus(s)) {
        return false;
    }
    *cpu = id ? (int)id - 1 : (int)s->cpu; /* 0: any */
    return true;
}

/* ---- why it stopped ---- */
static void append_reason(const GdbServer *s, const DebugStop *d, GString *out)
{
    static const char *const watches[] = {
        [DEBUG_WRITE] = "watch", [DEBUG_READ] = "rwatch", [DEBUG_ACCESS] = "awatch"};
    if (d->why != DEBUG_STOP_POINT) {
        return;
    }
    if (d->point.kind != DEBUG_EXEC) {
        g_string_append_printf(out, "%s:%" PRIx64 ";", watches[d->point.kind], d->point.addr);
    } else if (s->swbreak) {
        g_string_append(out, "swbreak:;");
    }
}

void gdb_reply_stop(GdbServer *s, int signal)
{
    const DebugStop *d = &gdb_cpu(s, s->cpu)->debug_stop;
    g_autoptr(GString) out = g_string_new(NULL);
    g_string_printf(out, "T%02xthread:%02x;", (unsigned)signal, s->cpu + 1);
    if (signal == GDB_SIGTRAP) {
        append_reason(s, d, out);
    }
    s->waiting = false;
    gdb_reply(s, out->str);
}

/* The CPU that has something to tell; a watchpoint before the others, as it shows only once. */
static int stopped_cpu(const GdbServer *s)
{
    int found = -1;
    for (unsigned i = 0; i < n_cpus(s); i++) {
        const DebugStop *d = &gdb_cpu(s, i)->debug_stop;
        if (d->why == DEBUG_STOP_POINT && d->point.kind != DEBUG_EXEC) {
            return (int)i;
        }
        if (d->why != DEBUG_STOP_NONE && found < 0) {
            found = (int)i;
        }
    }
    return found;
}

static int signal_of_state(QRunState state)
{
    switch (state) {
    case Q_RUN_STATE_DEBUG:
        return GDB_SIGTRAP;
    case Q_RUN_STATE_PAUSED:
        return GDB_SIGINT;
    case Q_RUN_STATE_SHUTDOWN:
    case Q_RUN_STATE_GUEST_PANICKED:
        return SIG_QUIT;
    case Q_RUN_STATE_IO_ERROR:
        return SIG_STOP;
    case Q_RUN_STATE_WATCHDOG:
        return SIG_ALRM;
    case Q_RUN_STATE_INTERNAL_ERROR:
        return SIG_ABRT;
    default: /* for a moment only */
        return 0;
    }
}

void gdb_server_stopped(GdbServer *s)
{
    int signal = signal_of_state(s->vm->state);
    if (!s->waiting || !signal) {
        return;
    }
    if (signal == GDB_SIGTRAP) {
        int cpu = stopped_cpu(s);
        if (cpu >= 0) {
            s->cpu = s->cont_cpu = (unsigned)cpu;
        }
    }
    gdb_reply_stop(s, signal);
    gdb_cpu(s, s->cpu)->debug_stop.why = DEBUG_STOP_NONE;
}

/* ---- going on ---- */
/* A watchpoint on another CPU was hit at the same time and not told yet. */
static bool tell_pending(GdbServer *s)
{
    for (unsigned i = 0; i < n_cpus(s); i++) {
        DebugStop *d = &gdb_cpu(s, i)->debug_stop;
        if (d->why == DEBUG_STOP_POINT && d->point.kind != DEBUG_EXEC) {
            s->cpu = s->cont_cpu = i;
            gdb_reply_stop(s, GDB_SIGTRAP);
            d->why = DEBUG_STOP_NONE;
            return true;
        }
        d->why = DEBUG_STOP_NONE;
    }
    return false;
}

/* action[i]: 'c', 's', or 0: CPU i stands still. */
static void resume(GdbServer *s, const char *actions)
{
    g_autoptr(GPtrArray) run = g_ptr_array_new();
    bool clock = !(s->step_flags & GDB_STEP_NOTIMER);
    if (tell_pending(s)) {
        return;
    }
    for (unsigned i = 0; i < n_cpus(s); i++) {
        Vcpu *v = gdb_cpu(s, i);
        v->step = actions[i] == 's' && (s->step_flags & GDB_STEP_ENABLE);
        v->step_irqs = !(s->step_flags & GDB_STEP_NOIRQ);
        if (actions[i]) {
            g_ptr_array_add(run, v);
            /* A halted CPU waits for an interrupt, which may be a timer's. */
            clock |= !v->step || v->cpu.halted;
        }
    }
    Error *err = NULL;
    s->waiting = true;
    if (!vm_start_some(s->vm, run, clock, &err)) {
        error_free(err);
        s->waiting = false;
        gdb_reply_error(s, 22);
    }
}

void gdb_continue(GdbServer *s, bool step)
{
    g_autofree char *actions = g_malloc(n_cpus(s));
    memset(actions, 'c', n_cpus(s));
    if (step) { /* the others stand still, as with vCont and gdb's scheduler-locking */
        memset(actions, 0, n_cpus(s));
        actions[s->cont_cpu] = 's';
    }
    resume(s, actions);
}

void gdb_vcont(GdbServer *s, const char *text)
{
    g_autofree char *actions = g_malloc0(n_cpus(s));
    const char *p = text;
    while (*p == ';') {
        uint64_t signal;
        int cpu = -1;
        char what = *++p ? g_ascii_tolower(*p) : 0;
        bool with_signal = *p == 'C' || *p == 'S';
        p += what != 0;
        /* A PC's threads have no signals to be given. */
        if ((what != 'c' && what != 's') || (with_signal && !gdb_parse_hex(&p, &signal))) {
            gdb_reply_error(s, 22);
            return;
        }
        if (*p == ':') {
            p++;
            if (!gdb_parse_thread(s, &p, &cpu)) {
                gdb_reply_error(s, 22);
                return;
            }
        }
        for (unsigned i = 0; i < n_cpus(s); i++) { /* the leftmost action counts */
            if ((cpu < 0 || (unsigned)cpu == i) && !actions[i]) {
                actions[i] = what;
            }
        }
    }
    if (*p || p == text) {
        gdb_reply_error(s, 22);
        return;
    }
    resume(s, actions);
}

void gdb_remove_all(Vm *vm)
{
    if (vm->running) {
        vcpus_pause(vm->machine->cpus);
    }
    accel_debug_clear(vm->accel);
    for (unsigned i = 0; vm->machine && i < vm->machine->cpus->len; i++) {
        Vcpu *v = vm->machine->cpus->pdata[i];
        v->step = false;
        v->debug_stop.why = DEBUG_STOP_NONE;
    }
    if (vm->running) {
        vcpus_resume(vm->machine->cpus);
    }
}

void gdb_detach(GdbServer *s)
{
    gdb_remove_all(s->vm);
    s->waiting = false;
    vm_start(s->vm, NULL);
}
