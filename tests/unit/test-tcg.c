/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The TCG engine by hand-made code: modes, self-modifying code, page crossing,
 * faults in the middle of instructions, string instructions.
 */
#include "target/i386/decode.h"
#include "tcg-harness.h"

#include <string.h>

#define RAM (64 * MiB)
#define TABLES 0x100000
#define CODE 0x10000
#define DATA 0x20000
#define STACK 0x30000
#define IDT 0x40000

static Harness *long_mode(void)
{
    Harness *h = harness_new(RAM);
    harness_long_mode(h, TABLES);
    h->cpu->regs[R_RSP] = STACK;
    return h;
}

static RunExit run_code(Harness *h, const void *code, size_t len)
{
    harness_write(h, CODE, code, len);
    h->cpu->rip = CODE;
    return harness_run(h);
}
#define RUN(h, ...)                                   \
    ({                                                \
        static const uint8_t code_[] = {__VA_ARGS__}; \
        run_code(h, code_, sizeof(code_));            \
    })

static uint64_t mem64(Harness *h, uint64_t addr)
{
    return ld_le64(h->ram->host + addr);
}

/* A 64-bit interrupt gate for `vector`, and a handler that halts. */
static void set_gate(Harness *h, unsigned vector, uint64_t handler)
{
    static const uint8_t hlt[] = {0xf4};
    uint64_t gate[2] = {(handler & 0xffff) | 8 << 16 | 0x8e00ull << 32 |
                            (handler & 0xffff0000) << 32,
                        handler >> 32};
    /* The code segment of selector 8, in a GDT just after the IDT. */
    static const uint64_t gdt[] = {0, 0x00af9b000000ffff, 0x00cf93000000ffff};
    harness_write(h, IDT + vector * 16, gate, 16);
    harness_write(h, IDT + 0x1000, gdt, sizeof(gdt));
    harness_write(h, handler, hlt, 1);
    h->cpu->idtr = (TableReg){.base = IDT, .limit = 0xfff};
    h->cpu->gdtr = (TableReg){.base = IDT + 0x1000, .limit = 23};
}

/* ---- arithmetic and flow ---- */

static void test_loop(void)
{
    Harness *h = long_mode();
    /* mov ecx,1000; xor eax,eax; 1: add rax,rcx; dec ecx; jnz 1b; hlt */
    g_assert_cmpint(
        RUN(h, 0xb9, 0xe8, 3, 0, 0, 0x31, 0xc0, 0x48, 0x01, 0xc8, 0xff, 0xc9, 0x75, 0xf9, 0xf4), ==,
        RUN_EXIT_HALTED);
    g_assert_cmpuint(h->cpu->regs[R_RAX], ==, 500500);
    g_assert_cmpuint(h->cpu->rip, ==, CODE + 15);
    harness_free(h);
}

static void test_call_ret(void)
{
    Harness *h = long_mode();
    /* call f; hlt; f: mov eax,[rsp]; push 7; pop rbx; ret */
    g_assert_cmpint(RUN(h, 0xe8, 1, 0, 0, 0, 0xf4, 0x8b, 0x04, 0x24, 0x6a, 0x07, 0x5b, 0xc3), ==,
                    RUN_EXIT_HALTED);
    g_assert_cmpuint(h->cpu->regs[R_RAX], ==, CODE + 5);
    g_assert_cmpuint(h->cpu->regs[R_RBX], ==, 7);
    g_assert_cmpuint(h->cpu->regs[R_RSP], ==, STACK);
    harness_free(h);
}

static void test_high_bytes(void)
{
    Harness *h = long_mode();
    h->cpu->regs[R_RAX] = 0x1122334455667788;
    /* add ah, al; mov bl, ah; movzx ecx, ah; hlt */
    RUN(h, 0x00, 0xc4, 0x88, 0xe3, 0x0f, 0xb6, 0xcc, 0xf4);
    g_assert_cmphex(h->cpu->regs[R_RAX], ==, 0x112233445566ff88);
    g_assert_cmphex(h->cpu->regs[R_RBX] & 0xff, ==, 0xff);
    g_assert_cmphex(h->cpu->regs[R_RCX], ==, 0xff);
    harness_free(h);
}

/* ---- code that changes ---- */

static void test_own_next_instruction(void)
{
    Harness *h = long_mode();
    /* mov byte [rip+1], 0x42 (the imm8 of the next); mov al, 0; hlt */
    RUN(h, 0xc6, 0x05, 1, 0, 0, 0, 0x42, 0xb0, 0x00, 0xf4);
    g_assert_cmphex(h->cpu->regs[R_RAX] & 0xff, ==, 0x42);
    harness_free(h);
}

/* What comes next is a NOP, of which translated code has nothing, until it is rewritten. */
static void test_own_next_nop(void)
{
    Harness *h = long_mode();
    h->cpu->regs[R_RAX] = 0;
    /* mov word [rip + 0], 0xc0ff; nop; nop; hlt -- which becomes inc eax */
    g_assert_cmpint(
        RUN(h, 0x66, 0xc7, 0x05, 0, 0, 0, 0, 0xff, 0xc0, 0x90, 0x90, 0x90, 0x83, 0xc0, 16, 0xf4),
        ==, RUN_EXIT_HALTED);
    g_assert_cmpuint(h->cpu->regs[R_RAX], ==, 17);
    harness_free(h);
}

static void test_modified_loop(void)
{
    Harness *h = long_mode();
    /* xor ebx,ebx; mov ecx,5; 1: mov eax,0 (imm at +8); add ebx,eax; inc dword [rip-12];
     * dec ecx; jnz 1b; hlt */
    RUN(h, 0x31, 0xdb, 0xb9, 5, 0, 0, 0, 0xb8, 0, 0, 0, 0, 0x01, 0xc3, 0xff, 0x05, 0xf4, 0xff, 0xff,
        0xff, 0xff, 0xc9, 0x75, 0xef, 0xf4);
    g_assert_cmpuint(h->cpu->regs[R_RBX], ==, 0 + 1 + 2 + 3 + 4);
    harness_free(h);
}

static void test_rewritten_between_runs(void)
{
    Harness *h = long_mode();
    for (unsigned i = 0; i < 20; i++) {
        uint8_t code[] = {0xb8, (uint8_t)i, 0, 0, 0, 0xf4}; /* mov eax,i; hlt */
        run_code(h, code, sizeof(code));
        g_assert_cmpuint(h->cpu->regs[R_RAX], ==, i);
    }
    harness_free(h);
}

static void test_data_beside_code(void)
{
    Harness *h = long_mode();
    /* mov ecx,100; 1: inc qword [rip+0x100]; dec ecx; jnz 1b; hlt */
    RUN(h, 0xb9, 100, 0, 0, 0, 0x48, 0xff, 0x05, 0, 1, 0, 0, 0xff, 0xc9, 0x75, 0xf5, 0xf4);
    g_assert_cmpuint(mem64(h, CODE + 0x10c), ==, 100);
    harness_free(h);
}

/* ---- pages ---- */

static void test_crossing_data(void)
{
    Harness *h = long_mode();
    h->cpu->regs[R_RBX] = DATA + 0xffd;
    h->cpu->regs[R_RAX] = 0x1122334455667788;
    /* mov [rbx],rax; mov rcx,[rbx]; hlt */
    RUN(h, 0x48, 0x89, 0x03, 0x48, 0x8b, 0x0b, 0xf4);
    g_assert_cmphex(h->cpu->regs[R_RCX], ==, 0x1122334455667788);
    harness_free(h);
}

static void test_crossing_code(void)
{
    Harness *h = long_mode();
    static const uint8_t code[] = {0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, 0xf4}; /* mov rax,imm64 */
    harness_write(h, CODE + 0xffb, code, sizeof(code));
    h->cpu->rip = CODE + 0xffb;
    harness_run(h);
    g_assert_cmphex(h->cpu->regs[R_RAX], ==, 0x0807060504030201);
    /* The part on the second page changes. */
    static const uint8_t byte = 0xff;
    harness_write(h, CODE + 0x1001, &byte, 1);
    h->cpu->rip = CODE + 0xffb;
    harness_run(h);
    g_assert_cmphex(h->cpu->regs[R_RAX], ==, 0x080706ff04030201);
    harness_free(h);
}

/* An instruction over two linear pages that are one page of RAM, which it then changes. */
static void test_crossing_alias(void)
{
    Harness *h = long_mode();
    /* 4 KiB pages for the 2 MiB at 0x800000, all of them onto DATA. */
    uint64_t table = TABLES + 12288, e = table | 3;
    harness_write(h, TABLES + 8192 + 4 * 8, &e, 8);
    for (unsigned i = 0; i < 512; i++) {
        e = DATA | 3;
        harness_write(h, table + i * 8, &e, 8);
    }
    /* At the page's end: mov eax, imm32 with its last bytes at the page's start; then
     * inc byte [rip-?] of the same bytes; hlt. */
    static const uint8_t tail[] = {0x03, 0x04, 0xfe, 0x05, 0xf8, 0xff, 0xff, 0xff, 0xf4};
    static const uint8_t head[] = {0xb8, 0x01, 0x02};
    for (unsigned i = 0; i < 3; i++) {
        harness_write(h, DATA, tail, sizeof(tail));
        harness_write(h, DATA + 0xffd, head, sizeof(head));
        h->cpu->rip = 0x800ffd;
        g_assert_cmpint(harness_run(h), ==, RUN_EXIT_HALTED);
        g_assert_cmphex(h->cpu->regs[R_RAX], ==, 0x04030201);
        g_assert_cmphex(h->ram->host[DATA], ==, 0x04);
    }
    harness_free(h);
}

/* Unmaps the 2 MiB page that holds `addr`. */
static void unmap(Harness *h, uint64_t addr)
{
    uint64_t zero = 0;
    harness_write(h, TABLES + 8192 + (addr >> 21) * 8, &zero, 8);
}

static void test_fault_state(void)
{
    Harness *h = long_mode();
    set_gate(h, 14, 0x50000);
    unmap(h, 0x600000);
    h->cpu->regs[R_RBX] = 0x600000 - 4;
    h->cpu->regs[R_RAX] = ~0ull;
    h->cpu->rflags = FLAG_ONE | FLAG_CF;
    st_le64(h->ram->host + 0x600000 - 8, 0x5555555555555555);
    /* add rbx,0 (flags known); add [rbx],rax: second half missing; hlt */
    RunExit r = RUN(h, 0x48, 0x83, 0xc3, 0, 0x48, 0x01, 0x03, 0xf4);
    g_assert_cmpint(r, ==, RUN_EXIT_HALTED);
    g_assert_cmphex(h->cpu->rip, ==, 0x50001);
    g_assert_cmphex(h->cpu->cr2, ==, 0x600000);
    /* error code, rip, cs, rflags */
    uint64_t sp = h->cpu->regs[R_RSP];
    g_assert_cmphex(mem64(h, sp), ==, 2);
    g_assert_cmphex(mem64(h, sp + 8), ==, CODE + 4);
    g_assert_cmphex(mem64(h, sp + 24) & FLAGS_ARITH, ==, FLAG_PF);
    g_assert_cmphex(mem64(h, 0x600000 - 8), ==, 0x5555555555555555);
    harness_free(h);
}

static void test_divide_error(void)
{
    Harness *h = long_mode();
    set_gate(h, 0, 0x50000);
    h->cpu->regs[R_RCX] = 0;
    RUN(h, 0xf7, 0xf1, 0xf4); /* div ecx */
    g_assert_cmphex(h->cpu->rip, ==, 0x50001);
    g_assert_cmphex(mem64(h, h->cpu->regs[R_RSP]), ==, CODE);
    harness_free(h);
}

static void test_triple_fault(void)
{
    Harness *h = long_mode();
    h->cpu->idtr = (TableReg){.base = 0, .limit = 0};
    g_assert_cmpint(RUN(h, 0x0f, 0x0b), ==, RUN_EXIT_SHUTDOWN);
    harness_free(h);
}

static void test_single_step(void)
{
    Harness *h = long_mode();
    set_gate(h, 1, 0x50000);
    h->cpu->rflags = FLAG_ONE | FLAG_TF;
    cpu_update_hflags(h->cpu);
    RUN(h, 0xb0, 1, 0xb0, 2, 0xf4); /* mov al,1; mov al,2 */
    g_assert_cmphex(h->cpu->rip, ==, 0x50001);
    g_assert_cmphex(mem64(h, h->cpu->regs[R_RSP]), ==, CODE + 2);
    g_assert_cmphex(h->cpu->regs[R_RAX] & 0xff, ==, 1);
    harness_free(h);
}

/* ---- strings ---- */

static void test_overlapping_copy(void)
{
    Harness *h = long_mode();
    h->ram->host[DATA] = 0x77;
    h->cpu->regs[R_RSI] = DATA;
    h->cpu->regs[R_RDI] = DATA + 1;
    h->cpu->regs[R_RCX] = 9000;
    RUN(h, 0xf3, 0xa4, 0xf4); /* rep movsb */
    for (unsigned i = 0; i <= 9000; i++) {
        g_assert_cmphex(h->ram->host[DATA + i], ==, 0x77);
    }
    g_assert_cmpuint(h->cpu->regs[R_RCX], ==, 0);
    g_assert_cmphex(h->cpu->regs[R_RDI], ==, DATA + 9001);
    harness_free(h);
}

static void test_rep_fault(void)
{
    Harness *h = long_mode();
    set_gate(h, 14, 0x50000);
    unmap(h, 0x600000);
    h->cpu->regs[R_RDI] = 0x600000 - 100;
    h->cpu->regs[R_RCX] = 200;
    h->cpu->regs[R_RAX] = 0xab;
    RUN(h, 0xf3, 0xaa, 0xf4); /* rep stosb */
    g_assert_cmphex(h->cpu->rip, ==, 0x50001);
    g_assert_cmpuint(h->cpu->regs[R_RCX], ==, 100);
    g_assert_cmphex(h->cpu->regs[R_RDI], ==, 0x600000);
    g_assert_cmphex(h->ram->host[0x600000 - 1], ==, 0xab);
    harness_free(h);
}

static void test_scas(void)
{
    Harness *h = long_mode();
    memcpy(h->ram->host + DATA, "hello, world", 13);
    h->cpu->regs[R_RDI] = DATA;
    h->cpu->regs[R_RCX] = ~0ull;
    h->cpu->regs[R_RAX] = 0;
    RUN(h, 0xf2, 0xae, 0xf4); /* repne scasb */
    g_assert_cmpuint(~h->cpu->regs[R_RCX], ==, 13);
    g_assert_true(h->cpu->rflags & FLAG_ZF);
    harness_free(h);
}

/* ---- other modes ---- */

static void test_real_mode(void)
{
    Harness *h = harness_new(RAM);
    harness_real_mode(h, 0x1000, 0);
    h->cpu->regs[R_RSP] = 0x100;
    h->cpu->segs[SEG_SS].base = 0x30000;
    h->cpu->segs[SEG_DS].base = 0x20000;
    /* mov ax,0x1234; push ax; pop bx; mov [0xfffe],ax; mov cx,3; 1: loop 1b; hlt */
    static const uint8_t code[] = {0xb8, 0x34, 0x12, 0x50, 0x5b, 0xa3, 0xfe,
                                   0xff, 0xb9, 3,    0,    0xe2, 0xfe, 0xf4};
    harness_write(h, 0x10000, code, sizeof(code));
    g_assert_cmpint(harness_run(h), ==, RUN_EXIT_HALTED);
    g_assert_cmphex(h->cpu->regs[R_RBX] & 0xffff, ==, 0x1234);
    g_assert_cmphex(ld_le16(h->ram->host + 0x2fffe), ==, 0x1234);
    g_assert_cmphex(ld_le16(h->ram->host + 0x300fe), ==, 0x1234);
    g_assert_cmphex(h->cpu->regs[R_RCX] & 0xffff, ==, 0);
    harness_free(h);
}

static void test_real_limit(void)
{
    Harness *h = harness_new(RAM);
    harness_real_mode(h, 0x1000, 0);
    h->cpu->regs[R_RSP] = 0x100;
    h->cpu->segs[SEG_SS].base = 0x30000;
    h->cpu->segs[SEG_DS].base = 0x20000;
    /* mov [0xffff],ax: two bytes do not fit; #GP through the vector table */
    static const uint8_t code[] = {0xa3, 0xff, 0xff, 0xf4}, hlt[] = {0xf4};
    static const uint8_t vector[] = {0, 0, 0, 0x50};
    harness_write(h, 0x10000, code, sizeof(code));
    harness_write(h, 13 * 4, vector, 4);
    harness_write(h, 0x50000, hlt, 1);
    g_assert_cmpint(harness_run(h), ==, RUN_EXIT_HALTED);
    g_assert_cmphex(h->cpu->segs[SEG_CS].selector, ==, 0x5000);
    g_assert_cmphex(ld_le16(h->ram->host + 0x300fa), ==, 0); /* ip of the instruction */
    harness_free(h);
}

static void test_protected_mode(void)
{
    Harness *h = harness_new(RAM);
    harness_protected_mode(h);
    h->cpu->regs[R_RSP] = STACK;
    h->cpu->regs[R_RBX] = DATA;
    /* pusha; mov [ebx+4],esp; popa; mov al,0x15; daa; enter 16,0; leave; bswap ebx; hlt */
    RUN(h, 0x60, 0x89, 0x63, 4, 0x61, 0xb0, 0x3c, 0x27, 0xc8, 16, 0, 0, 0xc9, 0x0f, 0xcb, 0xf4);
    g_assert_cmphex(ld_le32(h->ram->host + DATA + 4), ==, STACK - 32);
    g_assert_cmphex(h->cpu->regs[R_RAX] & 0xff, ==, 0x42);
    g_assert_cmphex(h->cpu->regs[R_RSP], ==, STACK);
    g_assert_cmphex(h->cpu->regs[R_RBX], ==, 0x00000200);
    harness_free(h);
}

static void test_address_wrap32(void)
{
    Harness *h = harness_new(RAM);
    harness_protected_mode(h);
    h->cpu->regs[R_RBX] = 0xfffffff0;
    st_le32(h->ram->host + 0x10, 0xcafe);
    RUN(h, 0x8b, 0x43, 0x20, 0xf4); /* mov eax,[ebx+0x20] */
    g_assert_cmphex(h->cpu->regs[R_RAX], ==, 0xcafe);
    harness_free(h);
}

static void test_sse(void)
{
    Harness *h = long_mode();
    h->cpu->regs[R_RBX] = DATA;
    for (unsigned i = 0; i < 4; i++) {
        st_le32(h->ram->host + DATA + i * 4, i + 1);
    }
    /* movdqa xmm0,[rbx]; paddd xmm0,xmm0; movdqu [rbx+16],xmm0; movd eax,xmm0;
     * movq mm0,[rbx]; paddd mm0,mm0; movq [rbx+32],mm0; emms; hlt */
    RunExit r = RUN(h, 0x66, 0x0f, 0x6f, 0x03, 0x66, 0x0f, 0xfe, 0xc0, 0xf3, 0x0f, 0x7f, 0x43, 16,
                    0x66, 0x0f, 0x7e, 0xc0, 0x0f, 0x6f, 0x03, 0x0f, 0xfe, 0xc0, 0x0f, 0x7f, 0x43,
                    32, 0x0f, 0x77, 0xf4);
    g_assert_cmpint(r, ==, RUN_EXIT_HALTED);
    g_assert_cmphex(mem64(h, DATA + 16), ==, 0x0000000400000002);
    g_assert_cmphex(mem64(h, DATA + 24), ==, 0x0000000800000006);
    g_assert_cmphex(h->cpu->regs[R_RAX], ==, 2);
    g_assert_cmphex(mem64(h, DATA + 32), ==, 0x0000000400000002);
    harness_free(h);
}

static void test_sse_alignment(void)
{
    Harness *h = long_mode();
    set_gate(h, 13, 0x50000);
    h->cpu->regs[R_RBX] = DATA + 8;
    RUN(h, 0x0f, 0x28, 0x03, 0xf4); /* movaps xmm0,[rbx] */
    g_assert_cmphex(h->cpu->rip, ==, 0x50001);
    harness_free(h);
}

static void test_x87(void)
{
    Harness *h = long_mode();
    h->cpu->regs[R_RBX] = DATA;
    st_le32(h->ram->host + DATA, 20);
    /* fninit; fild dword [rbx]; fadd st0,st0; fistp dword [rbx]; hlt */
    RUN(h, 0xdb, 0xe3, 0xdb, 0x03, 0xd8, 0xc0, 0xdb, 0x1b, 0xf4);
    g_assert_cmpuint(ld_le32(h->ram->host + DATA), ==, 40);
    harness_free(h);
}

/* ---- decoder ---- */

typedef struct Bytes {
    const uint8_t *p;
    size_t n;
} Bytes;

static bool fetch(void *opaque, unsigned pos, uint8_t *byte)
{
    const Bytes *b = opaque;
    if (pos >= b->n) {
        return false;
    }
    *byte = b->p[pos];
    return true;
}

static void check_decode(unsigned bits, const char *text, const uint8_t *code, size_t n)
{
    DecodeMode mode = {.bits = (uint8_t)bits, .protected_mode = true};
    DecodedInsn in;
    Bytes b = {code, n};
    char buf[128];
    DecodeResult r = x86_decode(fetch, &b, &mode, &in);
    if (!text) {
        g_assert_cmpint(r, !=, DECODE_OK);
        return;
    }
    g_assert_cmpint(r, ==, DECODE_OK);
    g_assert_cmpuint(in.length, ==, n);
    x86_decode_print(&in, 0x1000, buf, sizeof(buf));
    g_assert_cmpstr(buf, ==, text);
}
#define DECODES(bits, text, ...)                        \
    do {                                                \
        static const uint8_t code_[] = {__VA_ARGS__};   \
        check_decode(bits, text, code_, sizeof(code_)); \
    } while (0)

static void test_decoder(void)
{
    DECODES(64, "add eax, m32 ds:[rbx+rcx*4+0x10]", 0x03, 0x44, 0x8b, 0x10);
    DECODES(64, "mov r8, 0x1122334455667788", 0x49, 0xb8, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22,
            0x11);
    DECODES(16, "mov ax, m16 ss:[bp+si*1-0x2]", 0x8b, 0x42, 0xfe);
    DECODES(32, "mov m8 fs:[eax+0x0], ah", 0x64, 0x88, 0x20);
    DECODES(64, "mov m8 ds:[rax+0x0], spl", 0x40, 0x88, 0x20);
    DECODES(64, "lock add m32 ds:[rax+0x0], ecx", 0xf0, 0x01, 0x08);
    DECODES(64, NULL, 0xf0, 0x01, 0xc8); /* lock on a register */
    DECODES(64, NULL, 0x06);             /* push es */
    DECODES(64, NULL, 0xf0, 0x90);       /* lock nop */
    DECODES(64, "movaps xmm1, m128 ds:[rax+0x0]", 0x0f, 0x28, 0x08);
    /* 15 bytes are the longest. */
    DECODES(64, "nop ax", 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
            0x0f, 0x1f, 0xc0);
}

/* Every row with a ModRM condition must be reachable: no earlier row shadows it wholly. */
static void test_tables(void)
{
    unsigned rows = 0;
    for (unsigned m = 0; m < MAP_COUNT; m++) {
        for (unsigned op = 0; op < 256; op++) {
            const InsnRow *r = decode_rows((OpcodeMap)m, (uint8_t)op);
            for (; r && r->op; r++) {
                g_assert_nonnull(r->name);
                g_assert_cmpuint(r->op, <, OP_COUNT);
                g_assert_cmpuint(r->reg1, <=, 8);
                rows++;
            }
        }
    }
    g_assert_cmpuint(rows, >, 700);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tcg/decoder", test_decoder);
    g_test_add_func("/tcg/tables", test_tables);
    g_test_add_func("/tcg/loop", test_loop);
    g_test_add_func("/tcg/call-ret", test_call_ret);
    g_test_add_func("/tcg/high-bytes", test_high_bytes);
    g_test_add_func("/tcg/smc/next-instruction", test_own_next_instruction);
    g_test_add_func("/tcg/smc/next-nop", test_own_next_nop);
    g_test_add_func("/tcg/smc/loop", test_modified_loop);
    g_test_add_func("/tcg/smc/runs", test_rewritten_between_runs);
    g_test_add_func("/tcg/smc/data-beside-code", test_data_beside_code);
    g_test_add_func("/tcg/pages/data", test_crossing_data);
    g_test_add_func("/tcg/pages/code", test_crossing_code);
    g_test_add_func("/tcg/pages/alias", test_crossing_alias);
    g_test_add_func("/tcg/fault/state", test_fault_state);
    g_test_add_func("/tcg/fault/divide", test_divide_error);
    g_test_add_func("/tcg/fault/triple", test_triple_fault);
    g_test_add_func("/tcg/fault/single-step", test_single_step);
    g_test_add_func("/tcg/string/overlap", test_overlapping_copy);
    g_test_add_func("/tcg/string/fault", test_rep_fault);
    g_test_add_func("/tcg/string/scas", test_scas);
    g_test_add_func("/tcg/mode/real", test_real_mode);
    g_test_add_func("/tcg/mode/real-limit", test_real_limit);
    g_test_add_func("/tcg/mode/protected", test_protected_mode);
    g_test_add_func("/tcg/mode/wrap32", test_address_wrap32);
    g_test_add_func("/tcg/vector/sse", test_sse);
    g_test_add_func("/tcg/vector/alignment", test_sse_alignment);
    g_test_add_func("/tcg/vector/x87", test_x87);
    return g_test_run();
}
