/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/i386/kernel.h: -kernel: Linux bzImages (Documentation/arch/x86/boot.rst) and
 * Multiboot 1 kernels, started by boot ROMs of ours (firmware/) that the
 * firmware runs like a boot device.
 */
#ifndef RHEA_HW_I386_KERNEL_H
#define RHEA_HW_I386_KERNEL_H

#include "hw/i386/pc.h"

/* Highest address, exclusive, for images: firmware keeps tables at the end of low RAM. */
#define KERNEL_FIRMWARE_RESERVE (1 * MiB)

/* Loads what -kernel, -initrd and -append name, if anything, and makes it the first to boot. */
bool pc_kernel_init(PcMachine *pc, Error **errp);

/* multiboot.c: does the image have a Multiboot header? Its offset, or -1. */
int64_t multiboot_find(const uint8_t *image, size_t len);
bool multiboot_load(PcMachine *pc, const uint8_t *image, size_t len, Error **errp);

/* kernel.c: a boot ROM from `start` to `end` (its own parts), under "genroms/NAME". */
bool kernel_add_rom(PcMachine *pc, const char *name, const uint8_t *start, const uint8_t *end,
                    Error **errp);

#endif
