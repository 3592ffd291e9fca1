/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Long mode, ring 3: port and MMIO accesses, and timer interrupts.  Says on COM1 what it saw
 * and ends the machine through isa-debug-exit (port 501h).
 *
 * Built as a Multiboot ELF at 1 MiB, or with -DROM as a 64 KiB firmware image that copies
 * itself there, so that a slow engine need not run a firmware first.  The two words after the
 * header are for the host to change: what to do, and how often.
 *
 * With -DC_MAIN ring 3 is a C function, main(), whose result is written to isa-debug-exit; all
 * interrupts but the timer's call interrupt(vector) in ring 0.
 *
 * No vector instructions: the engines it is for may not have them in ring 0.
 */
#define COM1 0x3f8
#define SCRATCH 0x3ff           /* COM1's register without a meaning */
#define HPET 0xfed00000
#define USER_CS (0x18 | 3)
#define USER_DS (0x20 | 3)
#define TASK 0x28
#define PAGES 0x200000          /* page tables: PML4, PDPT, four directories */
#define STACK0 0x300000
#define STACK3 0x310000

        .code32
        .text
        .global _start
image:
#ifndef ROM
        .balign 4
        .long   0x1badb002, 3, -(0x1badb002 + 3)
#else
        .ascii  "RING"
#endif
mode:   .long   0               /* 0: all and report; 1: ports; 2: memory */
count:  .long   1000

_start:
        cli
        movl    $STACK0, %esp
        /* Everything below 4 GiB, 2 MiB pages, for ring 3. */
        movl    $PAGES, %edi
        xorl    %eax, %eax
        movl    $0x6000 / 4, %ecx
        rep stosl
        movl    $PAGES + 0x1007, PAGES
        movl    $PAGES + 0x2007, PAGES + 0x1000
        movl    $PAGES + 0x3007, PAGES + 0x1008
        movl    $PAGES + 0x4007, PAGES + 0x1010
        movl    $PAGES + 0x5007, PAGES + 0x1018
        movl    $PAGES + 0x2000, %edi
        movl    $0x87, %eax
1:      movl    %eax, (%edi)
        addl    $0x200000, %eax
        addl    $8, %edi
        cmpl    $PAGES + 0x6000, %edi
        jb      1b
        movl    $PAGES, %eax
        movl    %eax, %cr3
        movl    %cr4, %eax
#ifdef C_MAIN
        orl     $0x40, %eax             /* machine checks */
#endif
        orl     $0x20, %eax
        movl    %eax, %cr4
        movl    $0xc0000080, %ecx
        rdmsr
        orl     $0x100, %eax
        wrmsr
        movl    %cr0, %eax
        orl     $0x80010001, %eax
        movl    %eax, %cr0
        lgdt    gdt_pointer
        ljmp    $8, $long_mode

        .code64
long_mode:
#ifdef BROKEN
        /* Nothing that emulates instructions has this one, whose operand is no memory. */
        .global broken
        movl    $HPET, %ebx
broken: fldt    (%rbx)
#endif
        movl    $0x10, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    $STACK0, %esp
        /* The task: its stack for ring 0, and a map that allows ring 3 all ports. */
        movl    $tss, %eax
        movl    $STACK0, 4(%rax)
        movw    $0x68, 0x66(%rax)
        movb    $0xff, 0x2068(%rax)
        movw    %ax, gdt + TASK + 2
        shrl    $16, %eax
        movb    %al, gdt + TASK + 4
        movb    %ah, gdt + TASK + 7
        movl    $TASK, %eax
        ltr     %ax
        /* Vector 20h: the timer. All others are mistakes. */
        movl    $idt, %edi
        movl    $256, %ecx
2:      movl    $mistake, %eax
        cmpl    $256 - 0x20, %ecx
        jne     3f
        movl    $timer, %eax
3:
#ifdef C_MAIN
        /* Vectors from 21h on: an entry of eight bytes each. */
        cmpl    $256 - 0x20, %ecx
        jae     0f
        movl    $256, %eax
        subl    %ecx, %eax
        leal    entries - 0x21 * 8(, %rax, 8), %eax
0:      cmpl    $256 - 2, %ecx          /* NMI and machine check */
        jne     0f
        movl    $entry_nmi, %eax
0:      cmpl    $256 - 18, %ecx
        jne     0f
        movl    $entry_mc, %eax
0:
#endif
        movw    %ax, (%rdi)
        movw    $8, 2(%rdi)
        movw    $0x8e00, 4(%rdi)
        shrl    $16, %eax
        movw    %ax, 6(%rdi)
        movq    $0, 8(%rdi)
        addl    $16, %edi
        loop    2b
        lidt    idt_pointer
        /* 8259s: vectors 20h and 28h, only line 0 open. */
        movb    $0x11, %al
        outb    %al, $0x20
        outb    %al, $0xa0
        movb    $0x20, %al
        outb    %al, $0x21
        movb    $0x28, %al
        outb    %al, $0xa1
        movb    $4, %al
        outb    %al, $0x21
        movb    $2, %al
        outb    %al, $0xa1
        movb    $1, %al
        outb    %al, $0x21
        outb    %al, $0xa1
        movb    $0xff, %al
        outb    %al, $0xa1
        outb    %al, $0x21
        cmpl    $0, mode
        jne     4f
        movb    $0xfe, %al
        outb    %al, $0x21
        /* Counter 0: 100 Hz. */
        movb    $0x34, %al
        outb    %al, $0x43
        movb    $0x9c, %al
        outb    %al, $0x40
        movb    $0x2e, %al
        outb    %al, $0x40
4:      pushq   $USER_DS
        pushq   $STACK3
        pushq   $0x202          /* interrupts on */
        pushq   $USER_CS
        pushq   $user
        iretq

timer:  pushq   %rax
        incl    ticks
        movb    $0x20, %al
        outb    %al, $0x20
        popq    %rax
        iretq

#ifdef C_MAIN
        .balign 8
entries:
        .set    vector, 0x21
        .rept   256 - 0x21
        .balign 8
        pushq   $(vector - 128) /* two bytes for every vector */
        jmp     entry
        .set    vector, vector + 1
        .endr
entry_nmi:
        pushq   $(2 - 128)
        jmp     entry
entry_mc:
        pushq   $(18 - 128)
entry:  pushq   %rax
        pushq   %rcx
        pushq   %rdx
        pushq   %rsi
        pushq   %rdi
        pushq   %r8
        pushq   %r9
        pushq   %r10
        pushq   %r11
        movl    72(%rsp), %edi
        addl    $128, %edi
        call    interrupt
        popq    %r11
        popq    %r10
        popq    %r9
        popq    %r8
        popq    %rdi
        popq    %rsi
        popq    %rdx
        popq    %rcx
        popq    %rax
        addq    $8, %rsp
        iretq
#endif

mistake:
        movl    $text_mistake, %esi
        call    print
        movb    $0x7f, %al
        jmp     end

        /* ---- ring 3 ---- */
user:   movb    $'G', %al
        call    putc
#ifdef C_MAIN
        call    main
        jmp     end
#endif
        movl    mode, %eax
        cmpl    $2, %eax
        je      5f
        call    ports
        cmpl    $0, mode
        jne     6f
5:      call    memory
6:      movb    $'D', %al
        call    putc
        cmpl    $0, mode
        jne     8f
        /* Interrupts: the loop of ring 3 is left and found again. */
7:      cmpl    $3, ticks
        jb      7b
        movl    $text_ok, %esi
        call    print
        movw    %cs, %ax
        andb    $3, %al
        addb    $'0', %al
        call    putc
8:      movb    $'\n', %al
        call    putc
        movb    $0x10, %al
end:    movw    $0x501, %dx
        outb    %al, %dx
9:      jmp     9b

ports:  movl    count, %ecx
        movw    $SCRATCH, %dx
1:      movb    %cl, %al
        outb    %al, %dx
        inb     %dx, %al
        cmpb    %cl, %al
        jne     wrong
        subl    $1, %ecx
        ja      1b
        ret

memory: movl    count, %ecx
        movl    $HPET, %ebx
1:      movl    4(%rbx), %eax   /* its period in femtoseconds */
        cmpl    $10000000, %eax
        jne     wrong
        subl    $1, %ecx
        ja      1b
        ret

wrong:  movl    $text_wrong, %esi
        call    print
        movb    $0x7e, %al
        jmp     end

        .global print
print:  lodsb
        testb   %al, %al
        jz      1f
        call    putc
        jmp     print
1:      ret
putc:   movw    $COM1, %dx
        outb    %al, %dx
        ret

text_ok:        .asciz "RING3-OK in ring "
text_wrong:     .asciz "WRONG VALUE\n"
text_mistake:   .asciz "UNEXPECTED EXCEPTION\n"
        .balign 8
gdt:    .quad   0
        .quad   0x00af9a000000ffff      /* 08: ring 0, 64-bit */
        .quad   0x00cf92000000ffff      /* 10 */
        .quad   0x00affa000000ffff      /* 18: ring 3, 64-bit */
        .quad   0x00cff2000000ffff      /* 20 */
        .quad   0x0000890000002068, 0   /* 28: task */
gdt_pointer:
        .word   . - gdt - 1
        .quad   gdt
idt_pointer:
        .word   0xfff
        .quad   idt
        .balign 8
        .global ticks
ticks:  .long   0
#ifdef ROM
image_end:
        /* Reset: CS is based at ffff0000h, where this image lies. */
        .org    image + 0xff00
        .code16
reset:  cli
        lgdtl   %cs:0xff80
        movl    %cr0, %eax
        orl     $1, %eax
        movl    %eax, %cr0
        ljmpl   $8, $0xffffff40
        .org    image + 0xff40
        .code32
        movl    $0x10, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    $0xffff0000, %esi
        movl    $image, %edi
        movl    $(image_end - image + 3) / 4, %ecx
        cld
        rep movsl
        movl    $_start, %eax
        jmp     *%eax
        .org    image + 0xff80
        .word   23
        .long   0xffffff88
        .org    image + 0xff88
        /* Accessed already: nobody can note that in ROM. */
        .quad   0, 0x00cf9b000000ffff, 0x00cf93000000ffff
        .org    image + 0xfff0
        .code16
        /* The first instruction tells the host that it runs. */
#ifdef SIGNAL
        outb    %al, $0xe9
#endif
        jmp     reset
        .org    image + 0x10000
idt = 0x320000
tss = 0x322000
#else
        .bss
        .balign 4096
idt:    .skip   4096
tss:    .skip   0x3000
#endif
        .section .note.GNU-stack, "", @progbits
