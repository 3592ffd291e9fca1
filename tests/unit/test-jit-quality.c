/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the JIT makes of small pieces of code must not become worse: the instructions on the
 * likely way through each, flags that are saved, calls of C.  jit-quality.inc has the bounds.
 */
#include "accel/tcg/internal.h"
#include "accel/tcg/jit.h"
#include "target/i386/decode.h"
#include "tcg-harness.h"

#include <string.h>

#define RAM (4 * MiB)
#define TABLES 0x100000
#define CODE 0x10000
#define AFTER 0x40 /* where the snippets go on, with a HLT */
#define DATA 0x20000
#define STACK 0x30000

typedef struct Snippet {
    const char *name, *text;
    const char *code; /* in hexadecimal */
    unsigned insns;   /* of the host's, at most */
    unsigned saves;   /* of flags */
    unsigned calls;   /* of stubs or C */
    enum { ANY, AVX, FMA, BMI } host;
} Snippet;

typedef struct Cost {
    unsigned insns, saves, calls;
} Cost;

static const Snippet snippets[] = {
#include "jit-quality.inc"
};

/* ---- the code that the JIT made ---- */
static bool fetch(void *opaque, unsigned pos, uint8_t *byte)
{
    *byte = ((const uint8_t *)opaque)[pos];
    return true;
}

static void decode(const uint8_t *at, DecodedInsn *in)
{
    const DecodeMode mode = {.bits = 64, .protected_mode = true};
    memset(in, 0, sizeof(*in));
    g_assert_cmpint(x86_decode(fetch, (void *)(uintptr_t)at, &mode, in), ==, DECODE_OK);
}

/* From the block's start to the first jump that is always taken, or back to the start. */
static Cost measure(const Block *b, GString *listing)
{
    const uint8_t *start = b->host_start, *p = start;
    Cost c = {0};
    for (;;) {
        DecodedInsn in;
        char text[160];
        g_assert_cmpuint(p - start, <, b->host_size);
        decode(p, &in);
        x86_decode_print(&in, (uintptr_t)p, text, sizeof(text));
        g_string_append_printf(listing, "#     %s\n", text);
        p += in.length;
        bool one = in.map == MAP_1;
        bool nop = (one && in.opcode == 0x90) || (in.map == MAP_0F && in.opcode == 0x1f);
        c.insns += !nop;                     /* they align, depending on addresses */
        c.saves += one && in.opcode == 0x9f; /* LAHF */
        if (one && in.opcode == 0xe8) {
            const uint8_t *to = p + (int64_t)in.imm;
            bool frame = to > p && to < start + b->host_size; /* jit-return.c: on there */
            p = frame ? to : p;
            c.calls += !frame;
        }
        bool jcc = (one && in.opcode >> 4 == 7) || (in.map == MAP_0F && in.opcode >> 4 == 8);
        if ((jcc && p + (int64_t)in.imm == start) || (one && (in.opcode | 2) == 0xeb) ||
            (one && in.opcode == 0xff && in.reg == 4) || (one && in.opcode == 0xc3)) {
            return c;
        }
    }
}

/* ---- a snippet ---- */
static bool host_has(const Snippet *s)
{
    __builtin_cpu_init();
    switch (s->host) {
    case AVX:
        return __builtin_cpu_supports("avx");
    case FMA:
        return __builtin_cpu_supports("fma");
    case BMI:
        return __builtin_cpu_supports("bmi");
    default:
        return true;
    }
}

static size_t parse(const char *hex, uint8_t *out)
{
    size_t n = 0;
    for (; *hex; hex += 2) {
        out[n++] = (uint8_t)(g_ascii_xdigit_value(hex[0]) << 4 | g_ascii_xdigit_value(hex[1]));
    }
    return n;
}

static void prepare(CPUX86 *cpu)
{
    for (unsigned i = 0; i < 16; i++) {
        cpu->regs[i] = i;
    }
    cpu->regs[R_RDI] = DATA;
    cpu->regs[R_RSI] = DATA + 0x100;
    cpu->regs[R_RCX] = 4;
    cpu->regs[R_RDX] = 0;
    cpu->regs[R_RSP] = cpu->regs[R_RBP] = STACK;
    cpu->rip = CODE;
    cpu->x87.cw = 0x37f;
    cpu->halted = false;
}

static void test_snippet(gconstpointer data)
{
    const Snippet *s = data;
    uint8_t code[AFTER + 1] = {0};
    if (!host_has(s)) {
        g_test_skip("the host's CPU has no such instruction");
        return;
    }
    Harness *h = harness_new_engine(RAM, 16, "jit", NULL);
    g_assert_nonnull(h);
    harness_long_mode(h, TABLES);
    h->cpu->cr4 |= CR4_OSXSAVE;
    h->cpu->xcr0 = 7;
    size_t n = parse(s->code, code);
    code[n] = 0xe9;
    st_le32(code + n + 1, (uint32_t)(AFTER - n - 5));
    code[AFTER] = 0xf4;
    harness_write(h, CODE, code, sizeof(code));
    for (unsigned i = 0; i < 3; i++) {
        prepare(h->cpu);
        cpu_update_hflags(h->cpu);
        g_assert_cmpint(harness_run(h), ==, RUN_EXIT_HALTED);
    }
    prepare(h->cpu);
    const Block *b = tcg_find_block(h->cpu);
    g_assert_nonnull(b);
    g_assert_nonnull(b->host_start);
    g_autoptr(GString) listing = g_string_new(NULL);
    Cost c = measure(b, listing);
    g_test_message("%-17s %3u instructions (%u), %u saves, %u calls: %s", s->name, c.insns,
                   s->insns, c.saves, c.calls, s->text);
    if (c.insns > s->insns || c.saves > s->saves || c.calls > s->calls || g_test_verbose()) {
        g_print("%s", listing->str);
    }
    g_assert_cmpuint(c.insns, <=, s->insns);
    g_assert_cmpuint(c.saves, <=, s->saves);
    g_assert_cmpuint(c.calls, <=, s->calls);
    harness_free(h);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; jit_available() && i < G_N_ELEMENTS(snippets); i++) {
        g_autofree char *name = g_strdup_printf("/jit-quality/%s", snippets[i].name);
        g_test_add_data_func(name, &snippets[i], test_snippet);
    }
    return g_test_run();
}
