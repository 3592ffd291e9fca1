/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Boots the Linux kernel of -kernel: an option ROM whose boot entry copies
 * setup code, command line, kernel and initial RAM disk to where the machine has
 * decided, and starts the setup code in real mode (Linux boot protocol,
 * "Running the Kernel").  Linked into Rhea as data.
 */
#include "fw_cfg.inc"

        .section .rodata
        .balign 16
        .global rhea_rom_linuxboot, rhea_rom_linuxboot_end
rhea_rom_linuxboot:
        .code16
        rom_header boot, "Linux kernel"

boot:
        cld
        READ_BLOCK(KERNEL)
        READ_BLOCK(INITRD)
        READ_BLOCK(CMDLINE)
        READ_BLOCK(SETUP)

        /* The stack goes right below the command line, in the segment of the setup code. */
        movw    $CMDLINE_ADDR, %ax
        call    read_u32
        movl    %eax, %esi
        movw    $SETUP_ADDR, %ax
        call    read_u32
        subl    %eax, %esi
        subl    $16, %esi
        shrl    $4, %eax
        cli
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %fs
        movw    %ax, %gs
        movw    %ax, %ss
        movl    %esi, %esp
        addw    $0x20, %ax              /* the code starts after the first sector */
        pushw   %ax
        pushw   $0
        xorl    %ebx, %ebx
        xorl    %ecx, %ecx
        xorl    %edx, %edx
        xorl    %edi, %edi
        xorl    %ebp, %ebp
        lret

        fw_cfg_reader
rom_end:
rhea_rom_linuxboot_end:
        .section .note.GNU-stack, "", @progbits
