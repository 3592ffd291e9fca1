/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host CPU as the oracle for floating point and vectors: random sequences of x87,
 * MMX and SSE instructions between an FXRSTOR and an FXSAVE are executed natively and by
 * the TCG engine; registers, flags and memory (with the saved area in it) must agree.
 */
#include "target/i386/decode.h"
#include "tests/unit/tcg-native.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifdef __x86_64__

/* The same addresses on both sides. The areas of FXRSTOR and FXSAVE lie in the window. */
#define WINDOW_SIZE 0x2000ull
#define AREA_IN (WINDOW + 0x1000)
#define AREA_OUT (WINDOW + 0x1400)

typedef struct Code {
    uint8_t b[512];
    unsigned n;
} Code;

typedef struct Gen {
    GRand *rand;
    Code code;
    const InsnRow **rows; /* candidates: NULL-terminated, with their maps and opcodes */
    const uint16_t *opcodes;
    unsigned row_count;
} Gen;

static void emit(Code *c, uint8_t byte)
{
    g_assert_cmpuint(c->n, <, sizeof(c->b));
    c->b[c->n++] = byte;
}

static void emit_n(Code *c, uint64_t v, unsigned n)
{
    while (n--) {
        emit(c, (uint8_t)v);
        v >>= 8;
    }
}

static unsigned pick(Gen *g, unsigned n)
{
    return (unsigned)g_rand_int_range(g->rand, 0, (int)n);
}

/* ---- instructions ---- */

/* ModRM, with memory at [rbx + disp8], a multiple of 16. */
static void emit_modrm(Gen *g, unsigned reg, unsigned rm, bool mem)
{
    if (mem) {
        emit(&g->code, (uint8_t)(0x43 | (reg & 7) << 3));
        emit(&g->code, (uint8_t)(pick(g, 8) * 16));
    } else {
        emit(&g->code, (uint8_t)(0xc0 | (reg & 7) << 3 | (rm & 7)));
    }
}

static bool is_gpr(uint16_t o)
{
    OperandForm f = OPERAND_FORM(o);
    return f == OF_E || f == OF_G || f == OF_R;
}

static bool is_mmx(uint16_t o)
{
    OperandForm f = OPERAND_FORM(o);
    return f == OF_P || f == OF_Q || f == OF_N;
}

static bool is_rm(uint16_t o)
{
    OperandForm f = OPERAND_FORM(o);
    return f == OF_E || f == OF_R || f == OF_Q || f == OF_N || f == OF_W || f == OF_U || f == OF_M;
}

/* A register for operand o: general ones exclude RBX (window), RSP, RBP, RDI and r12-r15. */
static unsigned choose(Gen *g, uint16_t o)
{
    static const uint8_t gpr[] = {0, 1, 2, 6, 8, 9, 10, 11};
    return is_gpr(o) ? gpr[pick(g, sizeof(gpr))] : pick(g, is_mmx(o) ? 8 : 16);
}

static bool memory_form(Gen *g, const InsnRow *row)
{
    for (unsigned i = 0; i < 4; i++) {
        OperandForm f = OPERAND_FORM(row->operand[i]);
        if (f == OF_M || f == OF_N || f == OF_U || f == OF_R) {
            return f == OF_M;
        }
    }
    return row->mod == MOD_MEM || (row->mod != MOD_REG && pick(g, 2));
}

static bool sized_y(const InsnRow *row)
{
    for (unsigned i = 0; i < 4; i++) {
        if (OPERAND_SIZE(row->operand[i]) == SZ_Y) {
            return true;
        }
    }
    return row->flags & RF_GPR;
}

static void gen_vector(Gen *g)
{
    unsigned n = pick(g, g->row_count), reg = 0, rm = 0;
    const InsnRow *row = g->rows[n];
    Code *c = &g->code;
    bool mem = memory_form(g, row);
    for (unsigned i = 0; i < 4 && row->operand[i]; i++) {
        if (is_rm(row->operand[i])) {
            rm = choose(g, row->operand[i]);
        } else if (OPERAND_FORM(row->operand[i]) != OF_I) {
            reg = choose(g, row->operand[i]);
        }
    }
    if (row->reg1) {
        reg = row->reg1 - 1u;
    }
    if (row->pfx & (PFX_66 | PFX_F3 | PFX_F2)) {
        emit(c, row->pfx & PFX_66 ? 0x66 : row->pfx & PFX_F3 ? 0xf3 : 0xf2);
    }
    bool w = sized_y(row) && pick(g, 2);
    unsigned rex = (w ? 8u : 0) | reg >> 3 << 2 | (mem ? 0 : rm >> 3);
    if (rex) {
        emit(c, (uint8_t)(0x40 | rex));
    }
    emit(c, 0x0f);
    if (g->opcodes[n] >> 8 != MAP_0F) {
        emit(c, g->opcodes[n] >> 8 == MAP_0F38 ? 0x38 : 0x3a);
    }
    emit(c, (uint8_t)g->opcodes[n]);
    emit_modrm(g, reg, rm, mem);
    for (unsigned i = 0; i < 4; i++) {
        if (OPERAND_FORM(row->operand[i]) == OF_I) {
            bool compare = g->opcodes[n] == (MAP_0F << 8 | 0xc2);
            emit(c, (uint8_t)pick(g, compare ? 8 : 256));
        }
    }
}

/* Are results exact and the same on all chips, and does nothing get unmasked? */
static bool x87_comparable(unsigned esc, unsigned modrm)
{
    unsigned reg = modrm >> 3 & 7;
    if (modrm < 0xc0) {
        static const uint8_t odd[8] = {[1] = 0xf2, [3] = 0x50, [5] = 0xf0};
        return !(odd[esc] >> reg & 1);
    }
    switch (esc) {
    case 1:
        return modrm < 0xd1 || modrm == 0xe0 || modrm == 0xe1 || modrm == 0xe4 || modrm == 0xe5 ||
               (modrm >= 0xe8 && modrm < 0xef) ||
               (modrm >= 0xf4 && modrm < 0xf8 && modrm != 0xf5) || modrm == 0xfa || modrm == 0xfc ||
               modrm == 0xfd;
    case 2:
        return reg < 4 || modrm == 0xe9;
    case 3:
        return reg < 4 || reg == 5 || reg == 6 || modrm == 0xe2;
    case 5:
        return reg < 6;
    case 6:
        return reg != 3 || modrm == 0xd9;
    case 7:
        return reg < 4 || reg == 5 || reg == 6;
    default:
        return true;
    }
}

static void gen_x87(Gen *g)
{
    unsigned esc, modrm;
    do {
        esc = pick(g, 8);
        modrm = pick(g, 2) ? 0xc0 | pick(g, 64) : pick(g, 8) << 3;
    } while (!x87_comparable(esc, modrm) ||
             (modrm >= 0xd0 && modrm < 0xd8 && esc == 1 && modrm != 0xd0));
    emit(&g->code, (uint8_t)(0xd8 + esc));
    emit_modrm(g, modrm >> 3 & 7, modrm & 7, modrm < 0xc0);
}

static void gen_special(Gen *g)
{
    Code *c = &g->code;
    switch (pick(g, 4)) {
    case 0:
        emit_n(c, 0x770f, 2); /* emms */
        break;
    case 1: /* stmxcsr */
        emit_n(c, 0xae0f, 2);
        emit_modrm(g, 3, 0, true);
        break;
    case 2:
        emit_n(c, 0xdf8948, 3); /* mov rdi,rbx; maskmovdqu */
        emit_n(c, 0xf70f66, 3);
        emit_modrm(g, pick(g, 8), pick(g, 8), false);
        break;
    default:
        emit_n(c, 0xdf8948, 3); /* mov rdi,rbx; maskmovq */
        emit_n(c, 0xf70f, 2);
        emit_modrm(g, pick(g, 8), pick(g, 8), false);
        break;
    }
}

/* FXRSTOR or FXSAVE at an absolute address. */
static void emit_area(Code *c, unsigned reg, uint64_t addr)
{
    emit_n(c, 0xae0f, 2);
    emit(c, (uint8_t)(4 | reg << 3));
    emit(c, 0x25);
    emit_n(c, addr, 4);
}

/* ---- state ---- */

static void random_area(GRand *rand, uint8_t *a)
{
    memset(a, 0, 512);
    st_le16(a, (uint16_t)(0x7f | (g_rand_int(rand) & 0xc00) |
                          (g_rand_int(rand) % 3 == 0 ? 0x200 : 0x300)));
    st_le16(a + 2, (uint16_t)(g_rand_int(rand) & 0x7f7f));
    a[4] = g_rand_int(rand) % 3 ? 0xff : (uint8_t)g_rand_int(rand);
    st_le32(a + 24,
            0x1f80 | (g_rand_int(rand) & 0x603f) | (g_rand_int(rand) % 4 == 0 ? 0x8040 : 0));
    for (unsigned i = 0; i < 8; i++) {
        uint16_t e = (uint16_t)(0x3fff - 20 + g_rand_int(rand) % 40);
        e = g_rand_int(rand) % 6 ? e : g_rand_int(rand) % 2 ? 0x7fff : 0;
        st_le64(a + 32 + 16 * i, native_random64(rand) | (e ? BIT(63) : 0));
        st_le16(a + 40 + 16 * i, (uint16_t)(e | (g_rand_int(rand) & 0x8000)));
    }
    for (unsigned i = 0; i < 32; i++) {
        st_le64(a + 160 + 8 * i, native_random64(rand));
    }
}

/* FXSAVE's fields that chips treat differently: last instruction, MXCSR mask, C1. */
static void mask_area(uint8_t *window)
{
    uint8_t *a = window + (AREA_OUT - WINDOW);
    memset(a + 6, 0, 18);
    memset(a + 28, 0, 4);
    a[3] &= (uint8_t)~2;
}

static void print_failure(const Code *c, const Regs *want, const Regs *got, const uint8_t *mem)
{
    GString *s = g_string_new("code:");
    for (unsigned i = 8; i < c->n - 9; i++) {
        g_string_append_printf(s, " %02x", c->b[i]);
    }
    const uint64_t *w = (const uint64_t *)want, *h = (const uint64_t *)got;
    for (unsigned i = 0; i < 9; i++) {
        if (w[i] != h[i]) {
            g_string_append_printf(s, "\nregister %u: native %lx tcg %lx", i, w[i], h[i]);
        }
    }
    for (unsigned i = 0; i < WINDOW_SIZE; i += 8) {
        uint64_t x = ld_le64((const uint8_t *)WINDOW + i), y = ld_le64(mem + i);
        if (x != y) {
            g_string_append_printf(s, "\n+%x: native %016lx tcg %016lx", i, x, y);
        }
    }
    g_printerr("%s\n", s->str);
    g_string_free(s, TRUE);
}

typedef enum Kind { KIND_X87 = 1, KIND_VECTOR = 2, KIND_MIXED = 3 } Kind;

static bool one_round(Harness *h, Gen *g, Kind kind, unsigned insns)
{
    g->code.n = 0;
    emit_area(&g->code, 1, AREA_IN);
    for (unsigned i = 0; i < insns; i++) {
        if (pick(g, 20) == 0) {
            gen_special(g);
        } else if (kind == KIND_X87 || (kind == KIND_MIXED && pick(g, 2))) {
            gen_x87(g);
        } else {
            gen_vector(g);
        }
    }
    emit_area(&g->code, 0, AREA_OUT);
    emit(&g->code, 0xc3);
    memcpy((void *)CODE, g->code.b, g->code.n);
    for (uint64_t a = 0; a < WINDOW_SIZE; a += 8) {
        st_le64((void *)(WINDOW + a), native_random64(g->rand));
    }
    random_area(g->rand, (uint8_t *)AREA_IN);
    uint8_t *mem = h->ram->host + WINDOW;
    memcpy(mem, (void *)WINDOW, WINDOW_SIZE);

    Regs want, got;
    uint64_t *w = (uint64_t *)&want;
    for (unsigned i = 0; i < 8; i++) {
        w[i] = native_random64(g->rand);
    }
    want.flags = (g_rand_int(g->rand) & FLAGS_ARITH) | FLAG_ONE | FLAG_IF;
    got = want;
    native_run(&want);

    g->code.b[g->code.n - 1] = 0xf4;
    harness_write(h, CODE, g->code.b, g->code.n);
    native_load_guest(h->cpu, &got);
    RunExit r = harness_run(h);
    native_save_guest(h->cpu, &got);
    mask_area(mem);
    mask_area((uint8_t *)WINDOW);
    want.flags &= FLAGS_ARITH;
    got.flags &= FLAGS_ARITH;
    bool ok = r == RUN_EXIT_HALTED && !memcmp(&want, &got, sizeof(want)) &&
              !memcmp(mem, (void *)WINDOW, WINDOW_SIZE);
    if (!ok) {
        print_failure(&g->code, &want, &got, mem);
    }
    return ok;
}

static bool host_can(const InsnRow *row)
{
    if (row->feature == F_AES || row->feature == F_PCLMULQDQ) {
        return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
    }
    return __builtin_cpu_supports("sse4.2");
}

static void collect_rows(Gen *g)
{
    GPtrArray *rows = g_ptr_array_new();
    GArray *opcodes = g_array_new(FALSE, FALSE, sizeof(uint16_t));
    for (unsigned map = MAP_0F; map <= MAP_0F3A; map++) {
        for (unsigned op = 0; op < 256; op++) {
            const InsnRow *row = decode_rows((OpcodeMap)map, (uint8_t)op);
            for (; row && row->op; row++) {
                bool approx = map == MAP_0F && (op == 0x52 || op == 0x53);
                /* CVTPI2PS from memory: do MMX registers come into use? Chips differ. */
                bool vague = map == MAP_0F && op == 0x2a && row->mod == MOD_MEM;
                if (row->op == OP_SIMD && !approx && !vague && host_can(row)) {
                    uint16_t code = (uint16_t)(map << 8 | op);
                    g_ptr_array_add(rows, (void *)(uintptr_t)row);
                    g_array_append_val(opcodes, code);
                }
            }
        }
    }
    g->row_count = rows->len;
    g->rows = (const InsnRow **)g_ptr_array_free(rows, FALSE);
    g->opcodes = (uint16_t *)(void *)g_array_free(opcodes, FALSE);
}

static bool native_map(void)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    void *w = mmap((void *)WINDOW, WINDOW_SIZE, PROT_READ | PROT_WRITE, flags, -1, 0);
    void *c = mmap((void *)CODE, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, flags, -1, 0);
    return w == (void *)WINDOW && c == (void *)CODE;
}

static void run_rounds(const void *data)
{
    Kind kind = (Kind)GPOINTER_TO_UINT(data);
    const char *env = g_getenv("RHEA_NATIVE_ROUNDS");
    unsigned rounds = env ? (unsigned)atoi(env) : 3000, bad = 0;
    if (!native_map()) {
        g_test_skip("the fixed addresses of this test are taken");
        return;
    }
    Harness *h = harness_new(RAM);
    Gen g = {.rand = g_rand_new_with_seed(kind)};
    collect_rows(&g);
    harness_long_mode(h, TABLES);
    for (unsigned i = 0; i < rounds && bad < 5; i++) {
        bad += !one_round(h, &g, kind, 1 + i % 2 * 7);
    }
    g_rand_free(g.rand);
    g_free(g.rows);
    g_free((void *)(uintptr_t)g.opcodes);
    harness_free(h);
    munmap((void *)WINDOW, WINDOW_SIZE);
    munmap((void *)CODE, 4096);
    g_assert_cmpuint(bad, ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/tcg-native-fp/x87", GUINT_TO_POINTER(KIND_X87), run_rounds);
    g_test_add_data_func("/tcg-native-fp/vector", GUINT_TO_POINTER(KIND_VECTOR), run_rounds);
    g_test_add_data_func("/tcg-native-fp/mixed", GUINT_TO_POINTER(KIND_MIXED), run_rounds);
    return g_test_run();
}

#else

static void test_skip(void)
{
    g_test_skip("needs an x86-64 host");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tcg-native-fp/none", test_skip);
    return g_test_run();
}

#endif
