/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/unit/machine-fixture.h: a whole machine inside a test program: no CPU
 * runs, the clock is the test's, the loops turn when the test says so.
 */
#ifndef RHEA_TESTS_MACHINE_FIXTURE_H
#define RHEA_TESTS_MACHINE_FIXTURE_H

#include "block/block.h"
#include "hw/core/device.h"
#include "hw/core/machine.h"
#include "ui/console.h"

typedef struct Fixture {
    Object *root;
    ClockSet *clocks;
    EventLoop *control, *platform;
    MemorySystem *memsys;
    Accel *accel;
    UiContext *ui;
    BlockGraph *block;
    Machine *m;
    unsigned backends; /* made so far: a number in their names */
    unsigned resets, shutdowns;
} Fixture;

/* `type`: "pc" or "q35". NULL and the reason if this host lacks what the board needs. */
Fixture *fixture_new(const char *type, uint64_t ram, Error **errp);
void fixture_free(Fixture *f);
/*
 * What a device of this type is to be made of: "driver", and, where it has such properties, a
 * drive of nothing but zeroes and a character device that swallows everything.
 */
Json *fixture_options(Fixture *f, const TypeInfo *t);
/* Adds one of every type that users can add; those this board has no place for are left out. */
void fixture_add_all(Fixture *f);
/* Lets `ns` of guest time pass, then whatever the loops have to do. */
void fixture_step(Fixture *f, int64_t ns);
/* Turns the loops until they are idle. */
void fixture_settle(Fixture *f);
/* The map, the devices and the host's descriptors as text: equal before and after means clean. */
char *fixture_picture(Fixture *f);

#endif
