/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/i386/vmlinux.h: the kernel within a bzImage, unpacked by the host.
 *
 * A guest spends much of its boot on unpacking its kernel.  Instead, the setup code of the
 * bzImage runs as always (so the kernel learns of memory, screen and disks from the
 * firmware), and what it then starts is a small program that goes to 64-bit mode and enters
 * the unpacked kernel at the address it was linked for.  The kernel is therefore not moved
 * to a random address.
 */
#ifndef RHEA_HW_I386_VMLINUX_H
#define RHEA_HW_I386_VMLINUX_H

#include "hw/nvram/fw_cfg.h"

typedef struct Vmlinux Vmlinux;

/*
 * NULL: this kernel is to unpack itself, because it is no 64-bit one, its format or packing
 * is not known (or the library for it is not there), or memory ends below `limit` too early.
 * `bytes` is the file, referenced; setup_len the part before the 32-bit code.
 * la57: the CPU has five levels of page tables; a kernel that knows them starts with them.
 */
Vmlinux *vmlinux_new(GBytes *bytes, size_t setup_len, uint64_t limit, bool la57);
void vmlinux_free(Vmlinux *v);
/* Where it is to be loaded and started, and the end of the memory that it will use. */
uint32_t vmlinux_addr(const Vmlinux *v);
uint64_t vmlinux_end(const Vmlinux *v);
/* Adds FW_CFG_KERNEL_*; keeps the unpacked kernel only until the guest has read it. */
void vmlinux_publish(Vmlinux *v, FwCfg *f);

#endif
