/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine of device tests: no CPU runs, and the guest's time stands still
 * until the test moves it.
 */
#include "accel/accel.h"

static bool qtest_create(Accel *a, MemorySystem *mem, Error **errp)
{
    a->mem = mem;
    clock_virtual_manual(a->clocks, true);
    return true;
}

static const AccelClass qtest_class = {
    .name = "qtest",
    .create = qtest_create,
    .manual_clock = true,
};

OBJECT_TYPE(qtest_accel_type, .name = "qtest-accel", .parent = TYPE_ACCEL,
            .help = "no CPU runs; devices are driven over a socket", .size = sizeof(Accel),
            .klass = &qtest_class)
