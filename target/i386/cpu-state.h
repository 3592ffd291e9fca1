/* SPDX-License-Identifier: GPL-2.0-or-later */
/* target/i386/cpu-state.h: the state description of CPUX86, for snapshots and migration. */
#ifndef RHEA_TARGET_I386_CPU_STATE_H
#define RHEA_TARGET_I386_CPU_STATE_H

#include "state/state.h"

extern const StateDesc cpu_state_desc; /* of CPUX86 */

#endif
