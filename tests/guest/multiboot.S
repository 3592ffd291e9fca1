/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A Multiboot kernel that says on COM1 what it was told, and ends the machine
 * through isa-debug-exit.  Built as ELF, and with -DKLUDGE as a flat file with
 * its addresses in the header.
 */
#ifdef KLUDGE
#define FLAGS 0x00010003
#else
#define FLAGS 0x00000003
#endif
        .text
        .global _start
image:
        .balign 4
header: .long   0x1badb002, FLAGS, -(0x1badb002 + FLAGS)
#ifdef KLUDGE
        .long   header, image, image_end, bss_end, _start
#endif

_start:
        movl    $stack_top, %esp
        movl    %eax, %edi
        movl    %ebx, %ebp
        movl    $text_magic, %esi
        movl    %edi, %eax
        call    line
        movl    $text_flags, %esi
        movl    (%ebp), %eax
        call    line
        movl    $text_lower, %esi
        movl    4(%ebp), %eax
        call    line
        movl    $text_upper, %esi
        movl    8(%ebp), %eax
        call    line
        movl    $text_cmdline, %esi
        call    print
        movl    16(%ebp), %esi
        call    print
        call    newline

        /* Each module: its text, and its first four bytes. */
        movl    20(%ebp), %edi
        movl    24(%ebp), %ebx
1:      testl   %edi, %edi
        jz      2f
        movl    $text_module, %esi
        call    print
        movl    8(%ebx), %esi
        call    print
        movl    $space, %esi
        movl    (%ebx), %eax
        movl    (%eax), %eax
        call    line
        movl    $text_length, %esi
        movl    4(%ebx), %eax
        subl    (%ebx), %eax
        call    line
        addl    $16, %ebx
        decl    %edi
        jmp     1b

        /* The memory map. */
2:      movl    48(%ebp), %ebx
        movl    44(%ebp), %edi
        addl    %ebx, %edi
3:      cmpl    %edi, %ebx
        jae     4f
        movl    $text_range, %esi
        movl    4(%ebx), %eax
        call    number
        movl    12(%ebx), %eax
        movl    $space, %esi
        call    number
        movl    20(%ebx), %eax
        movl    $space, %esi
        call    line
        movl    (%ebx), %eax
        leal    4(%ebx, %eax), %ebx
        jmp     3b

4:      movl    $text_bss, %esi
        movl    bss_word, %eax
        call    line
        movw    $0x501, %dx
        movb    $0x10, %al
        outb    %al, %dx
5:      hlt
        jmp     5b

/* esi: text, eax: number in eight digits. */
line:   call    number
newline:
        movb    $'\n', %al
        jmp     putc
number: pushl   %ecx
        pushl   %eax
        call    print
        popl    %eax
        movl    $8, %ecx
6:      roll    $4, %eax
        pushl   %eax
        andb    $15, %al
        addb    $'0', %al
        cmpb    $'9', %al
        jbe     7f
        addb    $'a' - '9' - 1, %al
7:      call    putc
        popl    %eax
        loop    6b
        popl    %ecx
        ret
print:  lodsb
        testb   %al, %al
        jz      8f
        call    putc
        jmp     print
8:      ret
putc:   pushl   %edx
        movw    $0x3f8, %dx
        outb    %al, %dx
        popl    %edx
        ret

text_magic:     .asciz "magic "
text_flags:     .asciz "flags "
text_lower:     .asciz "lower "
text_upper:     .asciz "upper "
text_cmdline:   .asciz "cmdline "
text_module:    .asciz "module "
text_length:    .asciz "length "
text_range:     .asciz "range "
text_bss:       .asciz "bss "
space:          .asciz " "
image_end:
        .bss
        .balign 16
bss_word:
        .skip   4
        .skip   4096
stack_top:
bss_end:
        .section .note.GNU-stack, "", @progbits
