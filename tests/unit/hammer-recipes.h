/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/unit/hammer-recipes.h: half-sensible use of the devices that read rings
 * and tables from RAM.  Single random writes hardly ever get a queue to run; a
 * recipe sets one up and fills it with garbage of the right shape.
 */
#ifndef RHEA_TESTS_HAMMER_RECIPES_H
#define RHEA_TESTS_HAMMER_RECIPES_H

#include "hw/pci/pci.h"
#include "tests/unit/machine-fixture.h"

/* Picks a function of the machine or a port device and runs the recipe for it, if there is one. */
void hammer_recipe(Fixture *f, GRand *rng);

#endif
