/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A firmware image of 64 KiB that crashes at once as Windows does: it says why in Hyper-V's crash
 * registers P0 to P4 (40000100h to 40000104h) and that it is over in the last one (40000105h).
 */
        .code16
        .text
        .org 0
crash:
        movl    $0x40000100, %ecx
        movl    $0x11, %eax
        movl    $0x80000000, %edx
1:      wrmsr
        addl    $0x11, %eax
        xorl    %edx, %edx
        incl    %ecx
        cmpl    $0x40000105, %ecx
        jne     1b
        movl    $0x80000000, %edx
        wrmsr
2:      hlt
        jmp     2b
        .org 0xfff0             /* where a CPU begins */
        jmp     crash
        .org 0x10000
