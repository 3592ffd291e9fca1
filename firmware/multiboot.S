/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Boots the multiboot kernel of -kernel (Multiboot Specification 0.6.96): copies
 * image and boot information, fills in what only the firmware knows (memory
 * sizes and map), and enters the kernel in protected mode.  Linked into Rhea as
 * data.
 */
#include "fw_cfg.inc"

/* The information structure, as hw/i386/multiboot.c has begun it. */
#define MBI_MEM_LOWER 4
#define MBI_MEM_UPPER 8
#define MBI_MMAP_LENGTH 44
#define MBI_MMAP_ADDR 48
#define MMAP_ENTRY 24
#define MMAP_MAX 60
#define SMAP 0x534d4150

        .section .rodata
        .balign 16
        .global rhea_rom_multiboot, rhea_rom_multiboot_end
rhea_rom_multiboot:
        .code16
        rom_header boot, "Multiboot kernel"

boot:
        cld
        READ_BLOCK(KERNEL)
        READ_BLOCK(INITRD)
        /* The structure itself, the command lines and the memory map lie in low memory. */
        READ_BLOCK(CMDLINE)
        movw    $CMDLINE_ADDR, %ax
        call    read_u32
        movl    %eax, %ebp              /* linear address of the structure */
        shrl    $4, %eax
        movw    %ax, %ds
        movw    %ax, %es

        /* Memory map: entries begin with their size, which does not count itself. */
        movl    MBI_MMAP_ADDR, %edi
        subl    %ebp, %edi
        xorl    %ebx, %ebx
        movw    $MMAP_MAX, %si
1:      pushl   %edi
        pushw   %si
        addw    $4, %di
        movl    $0xe820, %eax
        movl    $SMAP, %edx
        movl    $20, %ecx
        int     $0x15
        popw    %si
        popl    %edi
        jc      2f
        cmpl    $SMAP, %eax
        jne     2f
        movl    $20, (%di)
        addw    $MMAP_ENTRY, %di
        decw    %si
        jz      2f
        testl   %ebx, %ebx
        jnz     1b
2:      movzwl  %di, %eax
        addl    %ebp, %eax
        subl    MBI_MMAP_ADDR, %eax
        movl    %eax, MBI_MMAP_LENGTH

        /* Memory below 640 KiB, and from 1 MiB up, in KiB. */
        int     $0x12
        movzwl  %ax, %eax
        movl    %eax, MBI_MEM_LOWER
        xorl    %ecx, %ecx
        xorl    %edx, %edx
        movw    $0xe801, %ax
        int     $0x15
        jc      3f
        testw   %cx, %cx
        jz      4f
        movw    %cx, %ax
        movw    %dx, %bx
4:      movzwl  %ax, %eax
        movzwl  %bx, %ebx
        shll    $6, %ebx                /* 64 KiB units above 16 MiB */
        addl    %ebx, %eax
        movl    %eax, MBI_MEM_UPPER

3:      movw    $KERNEL_ENTRY, %ax
        call    read_u32
        movl    %eax, %ecx

        /* A table with flat segments goes onto the stack; its address must be linear. */
        cli
        pushl   $0x00cf9200             /* 0x10: data, 4 GiB */
        pushl   $0x0000ffff
        pushl   $0x00cf9a00             /* 0x08: code, 4 GiB */
        pushl   $0x0000ffff
        pushl   $0
        pushl   $0
        movzwl  %sp, %eax
        movw    %ss, %bx
        movzwl  %bx, %ebx
        shll    $4, %ebx
        addl    %ebx, %eax
        pushl   %eax
        pushw   $23
        movw    %sp, %bx
        lgdtl   %ss:(%bx)

        /* Far pointer to the 32-bit part below, by the linear address of this ROM. */
        movw    %cs, %ax
        movzwl  %ax, %eax
        shll    $4, %eax
        addl    $(protected - rom_start), %eax
        pushw   $8
        pushl   %eax
        movw    %sp, %bx
        movl    %cr0, %eax
        orl     $1, %eax
        movl    %eax, %cr0
        ljmpl   *%ss:(%bx)

        .code32
protected:
        movw    $0x10, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %fs
        movw    %ax, %gs
        movw    %ax, %ss
        movl    %ebp, %ebx
        movl    $0x2badb002, %eax
        jmp     *%ecx

        .code16
        fw_cfg_reader
rom_end:
rhea_rom_multiboot_end:
        .section .note.GNU-stack, "", @progbits
