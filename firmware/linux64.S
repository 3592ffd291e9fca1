/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the setup code of a Linux bzImage starts in place of the kernel's own unpacker
 * when Rhea has unpacked the kernel already: from the 32-bit to the 64-bit boot
 * protocol (Documentation/arch/x86/boot.rst), then to the kernel.
 *
 * It runs where it is loaded, with ESI at the boot parameters; the words `entry` and `cr4` and
 * the page tables at the next page are filled in by the loader (hw/i386/vmlinux.c).
 */
        .section .rodata
        .balign 16
        .global rhea_linux64, rhea_linux64_entry, rhea_linux64_cr4, rhea_linux64_end
        .code32
rhea_linux64:
        cli
        cld
        leal    0x1e8(%esi), %esp       /* the scratch word of the boot parameters */
        call    1f
1:      popl    %ebp
        subl    $1b - rhea_linux64, %ebp
        leal    gdt - rhea_linux64(%ebp), %eax
        movl    %eax, gdt_pointer + 2 - rhea_linux64(%ebp)
        lgdt    gdt_pointer - rhea_linux64(%ebp)
        leal    0x1000(%ebp), %eax
        movl    %eax, %cr3
        movl    %cr4, %eax
        orl     rhea_linux64_cr4 - rhea_linux64(%ebp), %eax
        movl    %eax, %cr4
        movl    $0xc0000080, %ecx
        rdmsr
        orl     $0x100, %eax            /* LME */
        wrmsr
        leal    stack - rhea_linux64(%ebp), %esp
        leal    long_mode - rhea_linux64(%ebp), %eax
        movl    %eax, -8(%esp)
        movl    $0x10, -4(%esp)
        subl    $8, %esp
        movl    %cr0, %eax
        orl     $0x80000001, %eax
        movl    %eax, %cr0
        lretl
        .code64
long_mode:
        movl    $0x18, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        xorl    %eax, %eax
        movl    %eax, %fs
        movl    %eax, %gs
        lldt    %ax
        movl    %ebp, %ebp
        movl    %esi, %esi
        movl    rhea_linux64_entry - rhea_linux64(%rbp), %eax
        jmp     *%rax

        .balign 8
gdt:    .quad   0, 0
        .quad   0x00af9a000000ffff      /* 10: code */
        .quad   0x00cf92000000ffff      /* 18: data */
gdt_pointer:
        .word   . - gdt - 1
        .long   0
        .balign 8
rhea_linux64_entry:
        .long   0
rhea_linux64_cr4:
        .long   0                       /* PAE, perhaps LA57 */
        .skip   32
stack:
rhea_linux64_end:
        .section .note.GNU-stack, "", @progbits
