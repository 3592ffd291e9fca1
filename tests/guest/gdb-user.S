/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The only process of a Linux guest: system calls and a variable, for a debugger.
 * Linked at an address that nothing else in the guest uses.
 */
        .text
        .global _start, user_syscall, user_after, user_store, user_watched
_start:
        movl    $39, %eax               /* getpid */
user_syscall:
        syscall
user_after:
        movl    %eax, %ebx
        leaq    user_watched(%rip), %rdi
user_store:
        incq    (%rdi)
        movl    $24, %eax               /* sched_yield */
        syscall
        jmp     _start
        .data
        .balign 8
user_watched:
        .quad   0
