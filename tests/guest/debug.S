/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A Multiboot kernel to look at with a debugger: 64-bit, two CPUs, a user program
 * that makes system calls, variables that are read and written.
 */
        .set    LAPIC, 0xfee00000
        .set    TABLES, 0x200000        /* PML4, PDPT, four PDs */
        .set    TRAMPOLINE, 0x8000
        .text
        .code32
        .global _start
        .balign 4
header: .long   0x1badb002, 3, -(0x1badb002 + 3)

_start:
        cld
        movl    $TABLES, %edi
        xorl    %eax, %eax
        movl    $6 * 1024, %ecx
        rep stosl
        movl    $TABLES + 0x1007, TABLES
        movl    $4, %ecx                /* PDPT */
        movl    $TABLES + 0x2007, %eax
        movl    $TABLES + 0x1000, %edi
1:      movl    %eax, (%edi)
        addl    $0x1000, %eax
        addl    $8, %edi
        loop    1b
        movl    $2048, %ecx             /* pages of 2 MiB, for all rings */
        movl    $0x87, %eax
        movl    $TABLES + 0x2000, %edi
2:      movl    %eax, (%edi)
        addl    $0x200000, %eax
        addl    $8, %edi
        loop    2b
        movl    $ap_start, %esi
        movl    $TRAMPOLINE, %edi
        movl    $ap_end - ap_start, %ecx
        rep movsb
        lgdt    gdt_pointer
        movl    $long_mode, %ebx
        jmp     enter_long

/* Both CPUs: from protected mode to long mode, to the address in ebx. */
enter_long:
        movl    $TABLES, %eax
        movl    %eax, %cr3
        movl    $0x620, %eax            /* PAE, OSFXSR, OSXMMEXCPT */
        movl    %eax, %cr4
        movl    $0xc0000080, %ecx
        movl    $0x101, %eax            /* LME, SCE */
        xorl    %edx, %edx
        wrmsr
        movl    $0x80000013, %eax
        movl    %eax, %cr0
        ljmp    $8, $3f
        .code64
3:      movl    $0x10, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        jmp     *%rbx

        .global long_mode, user_code, user_syscall, user_after, syscall_entry, store_site
        .global load_site, after_load, ap_loop, ap_count, watched, counted, calls
long_mode:
        movl    $0xc0000081, %ecx       /* STAR, LSTAR, SFMASK */
        xorl    %eax, %eax
        movl    $0x00130008, %edx
        wrmsr
        incl    %ecx
        movl    $syscall_entry, %eax
        xorl    %edx, %edx
        wrmsr
        movl    $0xc0000084, %ecx
        xorl    %eax, %eax
        wrmsr
        movl    $LAPIC, %edi
        orl     $0x100, 0xf0(%rdi)
        movl    $0xc4500, 0x300(%rdi)   /* INIT, then SIPI, to all others */
        movl    $0x10000, %ecx
4:      pause
        loop    4b
        movl    $0xc4600 | TRAMPOLINE >> 12, 0x300(%rdi)
        movl    $user_code, %ecx
        movl    $2, %r11d
        sysretq

user_code:
        movl    $7, %eax
user_syscall:
        syscall
user_after:
        movl    $watched, %ebx
        movl    (%rbx), %edx
store_site:
        incl    (%rbx)
        movl    $counted, %edi
        movl    $64, %ecx
        movb    $0x55, %al
        rep stosb
        movl    $counted, %edi
load_site:
        movl    (%rdi), %eax
after_load:
        jmp     user_code

syscall_entry:
        movl    $calls, %edx
        addq    %rax, (%rdx)
        sysretq

ap_long:
        xorl    %eax, %eax
        movl    $ap_count, %ebx
ap_loop:
        incq    (%rbx)
        incl    %eax
        pause
        jmp     ap_loop

        .code16
ap_start:
        cli
        xorw    %ax, %ax
        movw    %ax, %ds
        lgdtl   gdt_pointer_low - ap_start + TRAMPOLINE
        movl    $0x11, %eax
        movl    %eax, %cr0
        ljmpl   $0x28, $ap_protected
gdt_pointer_low:
        .word   gdt_end - gdt - 1
        .long   gdt
ap_end:
        .code32
ap_protected:
        movl    $ap_long, %ebx
        jmp     enter_long

        .balign 16
gdt:    .quad   0
        .quad   0x00af9b000000ffff      /* 08: kernel code */
        .quad   0x00cf93000000ffff      /* 10: kernel data */
        .quad   0x00cff3000000ffff      /* 18: user data */
        .quad   0x00affb000000ffff      /* 20: user code */
        .quad   0x00cf9b000000ffff      /* 28: 32-bit code */
gdt_end:
gdt_pointer:
        .word   gdt_end - gdt - 1
        .long   gdt
        .balign 64
watched: .quad  0
calls:  .quad   0
ap_count: .quad 0
        .balign 64
counted: .skip  64
        .section .note.GNU-stack, "", @progbits
