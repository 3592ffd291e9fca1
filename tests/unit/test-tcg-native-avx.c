/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host CPU as the oracle for VEX-encoded instructions: random sequences of every row
 * of the VEX maps (and of SSE rows between them) run natively and by the TCG engine;
 * general and vector registers, flags, MXCSR and memory must agree.  A second test asks the
 * host about every encoding: is it an instruction?
 */
#include "target/i386/decode.h"
#include "tests/unit/tcg-native.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifdef __x86_64__

#include <cpuid.h>
#include <signal.h>

/* The same addresses on both sides: operands, then tables, then the registers in and out. */
#define WINDOW_SIZE 0x3000ull
#define INDEX32 0x600u /* small indexes for gathers */
#define INDEX64 0x640u
#define AREA_IN (WINDOW + 0x1000)
#define AREA_OUT (WINDOW + 0x2000)
#define AREA_MXCSR 0x200

typedef struct Code {
    uint8_t b[2048];
    unsigned n;
} Code;

typedef struct Gen {
    GRand *rand;
    Code code;
    const InsnRow **rows; /* candidates with their maps and opcodes */
    const uint16_t *opcodes;
    unsigned row_count;
    uint64_t undefined; /* flags left undefined */
} Gen;

static void emit(Code *c, unsigned byte)
{
    g_assert_cmpuint(c->n, <, sizeof(c->b));
    c->b[c->n++] = (uint8_t)byte;
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

/* ---- which rows ---- */

static bool host_has(uint16_t feature)
{
    unsigned a = 0, b = 0, c = 0, d = 0, f = feature - 1u, v;
    if (!feature) {
        return true;
    }
    switch (f >> 5) {
    case FEAT_1_EDX:
    case FEAT_1_ECX:
        __cpuid(1, a, b, c, d);
        v = f >> 5 == FEAT_1_EDX ? d : c;
        break;
    case FEAT_7_0_EBX:
    case FEAT_7_0_ECX:
        __cpuid_count(7, 0, a, b, c, d);
        v = f >> 5 == FEAT_7_0_EBX ? b : c;
        break;
    case FEAT_7_1_EAX:
        __cpuid_count(7, 1, a, b, c, d);
        v = a;
        break;
    default:
        v = 0;
        break;
    }
    return v >> (f & 31) & 1;
}

static bool comparable(const InsnRow *row, unsigned map, unsigned op)
{
    if (!host_has(row->feature) || ((row->flags & RF_256_AVX2) && !host_has(F_AVX2))) {
        return false;
    }
    bool of_0f = map == MAP_0F || map == MAP_VEX_0F;
    if ((of_0f && (op == 0x52 || op == 0x53)) || row->op == OP_LDMXCSR) {
        return false; /* approximations; MXCSR must not be unmasked */
    }
    if (map >= MAP_VEX_0F) {
        return true;
    }
    for (unsigned i = 0; i < 4; i++) {
        OperandForm f = OPERAND_FORM(row->operand[i]);
        if (f == OF_P || f == OF_Q || f == OF_N) {
            return false;
        }
    }
    return row->op == OP_SIMD;
}

static void collect_rows(Gen *g, bool legacy)
{
    GPtrArray *rows = g_ptr_array_new();
    GArray *opcodes = g_array_new(FALSE, FALSE, sizeof(uint16_t));
    for (unsigned map = legacy ? MAP_0F : MAP_VEX_0F; map <= MAP_VEX_0F3A; map++) {
        for (unsigned op = 0; op < 256; op++) {
            const InsnRow *row = decode_rows((OpcodeMap)map, (uint8_t)op);
            for (; row && row->op; row++) {
                if (comparable(row, map, op)) {
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

/* ---- instructions ---- */

typedef struct Choice {
    unsigned reg, rm, vvvv, is4;
    bool mem, w, l;
} Choice;

static unsigned choose(Gen *g, OperandForm f)
{
    static const uint8_t gpr[] = {0, 1, 2, 6, 8, 9, 10, 11};
    bool general = f == OF_E || f == OF_G || f == OF_R || f == OF_B;
    return general ? gpr[pick(g, sizeof(gpr))] : pick(g, 16);
}

static Choice make_choice(Gen *g, const InsnRow *row)
{
    Choice c = {.mem = row->mod == MOD_MEM || (row->mod != MOD_REG && pick(g, 2))};
    for (unsigned i = 0; i < 4 && row->operand[i]; i++) {
        OperandForm f = OPERAND_FORM(row->operand[i]);
        switch (f) {
        case OF_V:
        case OF_G:
            c.reg = choose(g, f);
            break;
        case OF_H:
        case OF_B:
            c.vvvv = choose(g, f);
            break;
        case OF_L:
            c.is4 = choose(g, f);
            break;
        case OF_I:
        case OF_DI:
            break;
        default:
            c.mem = f == OF_M || (c.mem && f != OF_U && f != OF_R);
            c.rm = choose(g, f);
            break;
        }
    }
    if (row->reg1) {
        c.reg = row->reg1 - 1u;
    }
    c.w = row->flags & RF_W1 || (!(row->flags & RF_W0) && pick(g, 2));
    c.l = row->flags & RF_L1 || (!(row->flags & RF_L0) && pick(g, 2));
    return c;
}

static void emit_vex(Gen *g, const InsnRow *row, unsigned map, const Choice *c, bool x)
{
    unsigned pp = row->pfx & PFX_66 ? 1 : row->pfx & PFX_F3 ? 2 : row->pfx & PFX_F2 ? 3 : 0;
    unsigned last = (~c->vvvv & 15) << 3 | (unsigned)c->l << 2 | pp;
    bool b = !c->mem && c->rm >= 8;
    if (map == MAP_VEX_0F && !b && !x && !c->w && pick(g, 2)) {
        emit(&g->code, 0xc5);
        emit(&g->code, (c->reg >= 8 ? 0 : 0x80) | last);
        return;
    }
    emit(&g->code, 0xc4);
    emit(&g->code,
         (c->reg >= 8 ? 0 : 0x80) | (x ? 0 : 0x40) | (b ? 0 : 0x20) | (map - MAP_VEX_0F + 1));
    emit(&g->code, (c->w ? 0x80u : 0) | last);
}

static void emit_legacy(Gen *g, const InsnRow *row, unsigned map, const Choice *c)
{
    bool w = false;
    for (unsigned i = 0; i < 4; i++) {
        w |= OPERAND_SIZE(row->operand[i]) == SZ_Y;
    }
    if (row->pfx & (PFX_66 | PFX_F3 | PFX_F2)) {
        emit(&g->code, row->pfx & PFX_66 ? 0x66 : row->pfx & PFX_F3 ? 0xf3 : 0xf2);
    }
    unsigned rex = (w && c->w ? 8u : 0) | c->reg >> 3 << 2 | (c->mem ? 0 : c->rm >> 3);
    if (rex) {
        emit(&g->code, 0x40 | rex);
    }
    emit(&g->code, 0x0f);
    if (map != MAP_0F) {
        emit(&g->code, map == MAP_0F38 ? 0x38 : 0x3a);
    }
}

/* Distinct registers, an index register with small numbers, [rbx + index * scale + disp8]. */
static void gen_gather(Gen *g, const InsnRow *row, unsigned map, unsigned op)
{
    Choice c = make_choice(g, row);
    unsigned index = (c.reg + 1 + pick(g, 15)) % 16;
    c.vvvv = (c.reg + 1 + pick(g, 15)) % 16;
    if (c.vvvv == index) {
        return;
    }
    Code *code = &g->code;
    emit(code, 0xc5); /* vmovdqu index, [rbx + table] */
    emit(code, (index >= 8 ? 0 : 0x80) | 0x7e);
    emit(code, 0x6f);
    emit(code, 0x83 | (index & 7) << 3);
    emit_n(code, row->arg & GATHER_INDEX64 ? INDEX64 : INDEX32, 4);
    emit_vex(g, row, map, &c, index >= 8);
    emit(code, op);
    emit(code, 0x44 | (c.reg & 7) << 3);
    emit(code, pick(g, 4) << 6 | (index & 7) << 3 | 3);
    emit(code, 0x60 + pick(g, 0x20));
}

/* Memory at [rbx + disp8]. */
static void emit_modrm(Gen *g, const InsnRow *row, unsigned map, const Choice *c)
{
    if (!c->mem) {
        emit(&g->code, 0xc0 | (c->reg & 7) << 3 | (c->rm & 7));
        return;
    }
    bool aligned = map < MAP_VEX_0F || !row->fn;
    emit(&g->code, 0x43 | (c->reg & 7) << 3);
    emit(&g->code, aligned ? pick(g, 4) * 32 : pick(g, 128));
}

static void note_flags(Gen *g, const InsnRow *row)
{
    if (row->flags & RF_FLAGS) {
        g->undefined = 0;
    }
    switch (row->op) {
    case OP_ANDN:
    case OP_BLSR:
    case OP_BLSMSK:
    case OP_BLSI:
    case OP_BZHI:
        g->undefined = FLAG_AF | FLAG_PF;
        break;
    case OP_BEXTR:
        g->undefined = FLAG_AF | FLAG_PF | FLAG_SF;
        break;
    default:
        break;
    }
}

static void gen_insn(Gen *g)
{
    unsigned n = pick(g, g->row_count), map = g->opcodes[n] >> 8, op = g->opcodes[n] & 255;
    const InsnRow *row = g->rows[n];
    if (row->op == OP_GATHER) {
        gen_gather(g, row, map, op);
        return;
    }
    if (row->op == OP_MASKMOV) {
        emit_n(&g->code, 0xdf8948, 3); /* mov rdi,rbx */
    }
    Choice c = make_choice(g, row);
    if (map >= MAP_VEX_0F) {
        emit_vex(g, row, map, &c, false);
    } else {
        emit_legacy(g, row, map, &c);
    }
    emit(&g->code, op);
    if (row->op != OP_VZERO) {
        emit_modrm(g, row, map, &c);
    }
    for (unsigned i = 0; i < 4; i++) {
        OperandForm f = OPERAND_FORM(row->operand[i]);
        if (f == OF_I) {
            bool compare = map == MAP_0F && op == 0xc2;
            emit(&g->code, pick(g, compare ? 8 : 256));
        } else if (f == OF_L) {
            emit(&g->code, c.is4 << 4 | pick(g, 16));
        }
    }
    note_flags(g, row);
}

/* ---- the frame: all registers from one area, to another ---- */

static void emit_absolute(Code *c, unsigned reg, uint64_t addr)
{
    emit(c, 4 | (reg & 7) << 3);
    emit(c, 0x25);
    emit_n(c, addr, 4);
}

static void emit_ymm_moves(Code *c, unsigned opcode, uint64_t area)
{
    for (unsigned i = 0; i < 16; i++) {
        emit(c, 0xc5);
        emit(c, (i >= 8 ? 0 : 0x80) | 0x7e);
        emit(c, opcode);
        emit_absolute(c, i, area + i * 32);
    }
}

static void begin(Gen *g)
{
    g->code.n = 0;
    g->undefined = 0;
    emit_n(&g->code, 0xae0f, 2); /* ldmxcsr */
    emit_absolute(&g->code, 2, AREA_IN + AREA_MXCSR);
    emit_ymm_moves(&g->code, 0x6f, AREA_IN);
}

static void end(Gen *g)
{
    emit_ymm_moves(&g->code, 0x7f, AREA_OUT);
    emit_n(&g->code, 0xae0f, 2); /* stmxcsr */
    emit_absolute(&g->code, 3, AREA_OUT + AREA_MXCSR);
    emit_n(&g->code, 0x77f8c5, 3); /* vzeroupper */
    emit(&g->code, 0xc3);
}

static void random_window(GRand *rand)
{
    uint8_t *w = (uint8_t *)WINDOW;
    for (unsigned a = 0; a < WINDOW_SIZE; a += 8) {
        st_le64(w + a, native_random64(rand));
    }
    for (unsigned i = 0; i < 8; i++) {
        st_le32(w + INDEX32 + i * 4, (uint32_t)g_rand_int_range(rand, -8, 100));
        st_le64(w + INDEX64 + i * 8, (uint64_t)(int64_t)g_rand_int_range(rand, -8, 100));
    }
    st_le32((uint8_t *)AREA_IN + AREA_MXCSR,
            0x1f80 | (g_rand_int(rand) & 0x603f) | (g_rand_int(rand) % 4 == 0 ? 0x8040 : 0));
}

static void print_failure(const Code *c, const Regs *want, const Regs *got, const uint8_t *mem)
{
    GString *s = g_string_new("code:");
    for (unsigned i = 16 * 9 + 8; i + 16 * 9 + 12 < c->n; i++) {
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
    const uint8_t *in = (const uint8_t *)AREA_IN;
    g_string_append_printf(s, "\nmxcsr %x", ld_le32(in + AREA_MXCSR));
    for (unsigned i = 0; i < 16; i++) {
        g_string_append_printf(s, "\nymm%u %016lx %016lx %016lx %016lx", i,
                               ld_le64(in + i * 32 + 24), ld_le64(in + i * 32 + 16),
                               ld_le64(in + i * 32 + 8), ld_le64(in + i * 32));
    }
    g_printerr("%s\n", s->str);
    g_string_free(s, TRUE);
}

static bool one_round(Harness *h, Gen *g, unsigned insns)
{
    begin(g);
    for (unsigned i = 0; i < insns; i++) {
        gen_insn(g);
    }
    end(g);
    memcpy((void *)CODE, g->code.b, g->code.n);
    random_window(g->rand);
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
    want.flags &= FLAGS_ARITH & ~g->undefined;
    got.flags &= FLAGS_ARITH & ~g->undefined;
    bool ok = r == RUN_EXIT_HALTED && !memcmp(&want, &got, sizeof(want)) &&
              !memcmp(mem, (void *)WINDOW, WINDOW_SIZE);
    if (!ok) {
        print_failure(&g->code, &want, &got, mem);
    }
    return ok;
}

static bool native_map(void)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    void *w = mmap((void *)WINDOW, WINDOW_SIZE, PROT_READ | PROT_WRITE, flags, -1, 0);
    void *c = mmap((void *)CODE, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, flags, -1, 0);
    return w == (void *)WINDOW && c == (void *)CODE;
}

static void native_unmap(void)
{
    munmap((void *)WINDOW, WINDOW_SIZE);
    munmap((void *)CODE, 4096);
}

static void run_rounds(const void *data)
{
    bool legacy = data != NULL;
    const char *env = g_getenv("RHEA_NATIVE_ROUNDS");
    unsigned rounds = env ? (unsigned)atoi(env) : 12000, bad = 0;
    if (!__builtin_cpu_supports("avx") || !native_map()) {
        g_test_skip("needs a host with AVX, and the fixed addresses of this test");
        return;
    }
    Harness *h = harness_new(RAM);
    Gen g = {.rand = g_rand_new_with_seed(legacy)};
    collect_rows(&g, legacy);
    harness_long_mode(h, TABLES);
    h->cpu->cr4 |= CR4_OSXSAVE;
    h->cpu->xcr0 = 7;
    for (unsigned i = 0; i < rounds && bad < 5; i++) {
        bad += !one_round(h, &g, 1 + i % 2 * 7);
    }
    g_rand_free(g.rand);
    g_free(g.rows);
    g_free((void *)(uintptr_t)g.opcodes);
    harness_free(h);
    native_unmap();
    g_assert_cmpuint(bad, ==, 0);
}

/* ---- software arithmetic: the same as the host's unit ---- */

static Vec random_vec(GRand *rand)
{
    Vec v;
    for (unsigned i = 0; i < 8; i++) {
        v.u64[i] = native_random64(rand);
    }
    return v;
}

static bool software_agrees(CPUX86 *cpu, GRand *rand, const InsnRow *row, bool legacy)
{
    Vec a = random_vec(rand), b = random_vec(rand), old = random_vec(rand), x = random_vec(rand);
    Vec r[2];
    SimdCtl ctl = {.len = legacy || row->flags & RF_LIG || g_rand_boolean(rand) ? 16 : 32};
    uint32_t start = 0x1f80 | (g_rand_int(rand) & 0xe07f), mxcsr[2];
    ctl.imm = row->arg ? row->arg : (uint8_t)g_rand_int(rand);
    if (row->feature == F_FMA) {
        ctl.imm = row->arg;
    }
    uint64_t flags[2];
    for (unsigned soft = 0; soft < 2; soft++) {
        r[soft] = old;
        cpu->vec[0] = x;
        cpu->mxcsr = start;
        cpu->rflags = 0;
        ctl.soft = soft;
        row->fn(cpu, &r[soft], &a, &b, ctl);
        mxcsr[soft] = cpu->mxcsr;
        flags[soft] = cpu->rflags;
    }
    if (!memcmp(&r[0], &r[1], sizeof(r[0])) && mxcsr[0] == mxcsr[1] && flags[0] == flags[1]) {
        return true;
    }
    g_printerr("%s len %u imm %x mxcsr %x: host %x, software %x\n", row->name, ctl.len, ctl.imm,
               start, mxcsr[0], mxcsr[1]);
    for (unsigned i = 0; i < ctl.len / 8u; i++) {
        g_printerr("  dst %016lx a %016lx b %016lx: host %016lx software %016lx\n", old.u64[i],
                   a.u64[i], b.u64[i], r[0].u64[i], r[1].u64[i]);
    }
    return false;
}

static void test_software(void)
{
    Gen g = {0};
    GRand *rand = g_rand_new_with_seed(7);
    CPUX86 *cpu = g_aligned_alloc0(1, sizeof(CPUX86), 64);
    unsigned bad = 0;
    collect_rows(&g, true);
    for (unsigned i = 0; i < g.row_count && bad < 5; i++) {
        for (unsigned k = 0; k < 600 && g.rows[i]->fn; k++) {
            bad += !software_agrees(cpu, rand, g.rows[i], g.opcodes[i] >> 8 < MAP_VEX_0F);
        }
    }
    g_rand_free(rand);
    g_free(g.rows);
    g_free((void *)(uintptr_t)g.opcodes);
    g_aligned_free(cpu);
    g_assert_cmpuint(bad, ==, 0);
}

/* ---- which encodings are instructions ---- */

static sigjmp_buf probe_jump;

static void probe_handler(int sig)
{
    siglongjmp(probe_jump, sig);
}

/* 0: runs (or faults on memory, or divides); SIGILL: #UD. */
static int probe(const uint8_t *code, unsigned n)
{
    Regs regs = {.flags = FLAG_ONE | FLAG_IF};
    uint64_t *r = (uint64_t *)&regs;
    for (unsigned i = 0; i < 8; i++) {
        r[i] = WINDOW + 64;
    }
    memset((void *)CODE, 0xc3, 32);
    memcpy((void *)CODE, code, n);
    int sig = sigsetjmp(probe_jump, 1);
    if (!sig) {
        native_run(&regs);
    }
    return sig == SIGILL ? sig : 0;
}

static bool fetch_array(void *opaque, unsigned pos, uint8_t *byte)
{
    *byte = pos < 16 ? ((const uint8_t *)opaque)[pos] : 0;
    return true;
}

/* Mask registers (AVX-512's VEX forms), AMX and what else the host may have and Rhea not. */
static bool beyond(unsigned map, unsigned op, const InsnRow *rows)
{
    if (map == MAP_VEX_0F) {
        return (op >= 0x41 && op <= 0x4b) || (op >= 0x90 && op <= 0x99);
    }
    if (map == MAP_VEX_0F3A) {
        /* AMD's chips run VPERMQ and VPERMPD with W = 0, against the manuals. */
        return op <= 1 || (op >= 0x30 && op <= 0x33) || (op >= 0x5c && op <= 0x7f && !rows) ||
               op == 0x48 || op == 0x49 || op == 0xde;
    }
    return op == 0x49 || op == 0x4b || (op >= 0x50 && op <= 0x53) || (op >= 0x5c && op <= 0x5e) ||
           (op >= 0xb4 && op <= 0xb5) || (op >= 0xb0 && op <= 0xb1) || op == 0x72 ||
           (op >= 0xcb && op <= 0xcd) || op >= 0xd2;
}

static unsigned check_encodings(unsigned map, unsigned op)
{
    unsigned bad = 0;
    DecodeMode mode = {.bits = 64, .protected_mode = true};
    uint32_t features[FEATURE_WORDS];
    for (unsigned w = 0; w < FEATURE_WORDS; w++) {
        features[w] = 0;
        for (unsigned b = 0; b < 32; b++) {
            features[w] |= (uint32_t)host_has(FEATURE(w, b)) << b;
        }
    }
    mode.features = features;
    for (unsigned i = 0; i < 4 * 2 * 2 * 2 * 8 * 2; i++) {
        unsigned pp = i & 3, w = i >> 2 & 1, l = i >> 3 & 1, vvvv = i >> 4 & 1 ? 15 : 4;
        unsigned reg = i >> 5 & 7, modrm = (i >> 8 & 1 ? 0xc2 : 0x02) | reg << 3;
        if (vvvv != 15 && reg > 1) {
            continue; /* two will do */
        }
        /* [rdx], and a SIB byte and immediate that do no harm */
        uint8_t code[16] = {0xc4, (uint8_t)(0xe0 | (map - MAP_VEX_0F + 1)),
                            (uint8_t)(w << 7 | vvvv << 3 | l << 2 | pp), (uint8_t)op,
                            (uint8_t)modrm};
        DecodedInsn in;
        DecodeResult r = x86_decode(fetch_array, code, &mode, &in);
        unsigned n = r == DECODE_OK ? in.length : 6;
        bool native = probe(code, n) == 0;
        if (native != (r == DECODE_OK)) {
            g_printerr("map %u opcode %02x pp %u w %u l %u vvvv %u modrm %02x: native %d\n",
                       map - MAP_VEX_0F + 1, op, pp, w, l, vvvv, modrm, native);
            bad++;
        }
    }
    return bad;
}

static void test_encodings(void)
{
    unsigned bad = 0;
    if (!__builtin_cpu_supports("avx2") || !native_map()) {
        g_test_skip("needs a host with AVX2, and the fixed addresses of this test");
        return;
    }
    /* An instruction may write RSP. */
    static uint8_t stack[65536];
    stack_t alt = {.ss_sp = stack, .ss_size = sizeof(stack)}, old_alt;
    sigaltstack(&alt, &old_alt);
    struct sigaction sa = {.sa_handler = probe_handler, .sa_flags = SA_ONSTACK}, old[5];
    static const int signals[5] = {SIGILL, SIGSEGV, SIGBUS, SIGFPE, SIGTRAP};
    for (unsigned i = 0; i < ARRAY_LEN(signals); i++) {
        sigaction(signals[i], &sa, &old[i]);
    }
    for (unsigned map = MAP_VEX_0F; map <= MAP_VEX_0F3A; map++) {
        for (unsigned op = 0; op < 256; op++) {
            if (!beyond(map, op, decode_rows((OpcodeMap)map, (uint8_t)op))) {
                bad += check_encodings(map, op);
            }
        }
    }
    for (unsigned i = 0; i < ARRAY_LEN(signals); i++) {
        sigaction(signals[i], &old[i], NULL);
    }
    sigaltstack(&old_alt, NULL);
    native_unmap();
    g_assert_cmpuint(bad, ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/tcg-native-avx/vex", NULL, run_rounds);
    g_test_add_data_func("/tcg-native-avx/mixed", GUINT_TO_POINTER(1), run_rounds);
    g_test_add_func("/tcg-native-avx/software", test_software);
    g_test_add_func("/tcg-native-avx/encodings", test_encodings);
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
    g_test_add_func("/tcg-native-avx/none", test_skip);
    return g_test_run();
}

#endif
