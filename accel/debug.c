/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The debugger's list of break- and watchpoints. */
#include "accel/accel.h"

static void changed(Accel *a)
{
    const AccelClass *k = accel_class(a);
    if (k->debug_changed) {
        k->debug_changed(a);
    }
}

static int find(const Accel *a, DebugPoint p)
{
    for (unsigned i = 0; a->debug_points && i < a->debug_points->len; i++) {
        const DebugPoint *q = &g_array_index(a->debug_points, DebugPoint, i);
        if (q->kind == p.kind && q->addr == p.addr && (p.kind == DEBUG_EXEC || q->len == p.len)) {
            return (int)i;
        }
    }
    return -1;
}

bool accel_debug_add(Accel *a, DebugPoint p, Error **errp)
{
    if (!accel_class(a)->debug_changed) {
        error_set(errp, "the engine '%s' has no breakpoints", accel_class(a)->name);
        return false;
    }
    if (!p.len) {
        error_set(errp, "a watchpoint needs a length");
        return false;
    }
    if (find(a, p) >= 0) {
        return true;
    }
    if (!a->debug_points) {
        a->debug_points = g_array_new(FALSE, FALSE, sizeof(DebugPoint));
    }
    if (a->debug_points->len >= DEBUG_POINTS_MAX) {
        error_set(errp, "there are %u breakpoints already", DEBUG_POINTS_MAX);
        return false;
    }
    g_array_append_val(a->debug_points, p);
    if (accel_class(a)->debug_check && !accel_class(a)->debug_check(a, errp)) {
        g_array_set_size(a->debug_points, a->debug_points->len - 1);
        return false;
    }
    changed(a);
    return true;
}

void accel_debug_remove(Accel *a, DebugPoint p)
{
    int i = find(a, p);
    if (i >= 0) {
        g_array_remove_index(a->debug_points, (unsigned)i);
        changed(a);
    }
}

void accel_debug_clear(Accel *a)
{
    if (a->debug_points && a->debug_points->len) {
        g_array_set_size(a->debug_points, 0);
        changed(a);
    }
}
