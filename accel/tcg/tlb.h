/* SPDX-License-Identifier: GPL-2.0-or-later */
/* accel/tcg/tlb.h: software TLB services for string instructions; vCPU thread. */
#ifndef RHEA_ACCEL_TCG_TLB_H
#define RHEA_ACCEL_TCG_TLB_H

#include "accel/tcg/softmmu.h"

/*
 * Host address of guest memory at `linear`, good to the end of its page for plain
 * loads (stores); NULL when each access must be made on its own (I/O, watched or
 * code pages).  Raises like an access.
 */
void *tcg_host_span(CPUX86 *cpu, uint64_t linear, bool write, MmuMode mode);

#endif
