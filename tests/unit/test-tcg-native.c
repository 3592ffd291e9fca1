/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host CPU as the oracle: random integer instructions are executed natively and
 * by the TCG engine from the same state; registers, flags and memory must agree.
 *
 * Memory operands lie in a window that has the same addresses on both sides.
 * RHEA_NATIVE_ROUNDS sets the number of rounds for a longer run.
 */
#include "tcg-harness.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifdef __x86_64__

#define WINDOW 0x10000000ull
#define WINDOW_SIZE 0x4000ull
#define CODE 0x10100000ull
#define STATE 0x10200000ull
#define TABLES 0x1000ull
#define RAM (288 * MiB)

/* At a fixed address below 2 GiB, so that the thunk reaches it by absolute operands. */
typedef struct NativeState {
    uint64_t regs[16];
    uint64_t flags;
    uint64_t host_rsp;
} NativeState;

typedef struct Code {
    uint8_t b[512];
    unsigned n;
} Code;

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

/* mov r,[abs32] or mov [abs32],r */
static void emit_abs(Code *c, uint8_t opcode, unsigned reg, uint64_t addr)
{
    emit(c, (uint8_t)(0x48 | (reg >> 3) << 2));
    emit(c, opcode);
    emit(c, (uint8_t)(4 | (reg & 7) << 3));
    emit(c, 0x25);
    emit_n(c, addr, 4);
}

static void emit_bytes(Code *c, const char *bytes, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        emit(c, (uint8_t)bytes[i]);
    }
}

static const unsigned saved[] = {3, 5, 12, 13, 14, 15};

static void make_thunk(Code *c, const Code *test)
{
    emit(c, 0x9c); /* pushfq */
    for (unsigned i = 0; i < ARRAY_LEN(saved); i++) {
        if (saved[i] >= 8) {
            emit(c, 0x41);
        }
        emit(c, (uint8_t)(0x50 | (saved[i] & 7)));
    }
    emit_abs(c, 0x89, 4, STATE + offsetof(NativeState, host_rsp));
    emit_bytes(c, "\xff\x34\x25", 3); /* push [flags]; popfq */
    emit_n(c, STATE + offsetof(NativeState, flags), 4);
    emit(c, 0x9d);
    for (unsigned r = 0; r < 16; r++) {
        emit_abs(c, 0x8b, r, STATE + r * 8);
    }
    emit_bytes(c, (const char *)test->b, test->n);
    for (unsigned r = 0; r < 16; r++) {
        emit_abs(c, 0x89, r, STATE + r * 8);
    }
    emit_abs(c, 0x8b, 4, STATE + offsetof(NativeState, host_rsp));
    emit_bytes(c, "\x9c\x8f\x04\x25", 4); /* pushfq; pop [flags] */
    emit_n(c, STATE + offsetof(NativeState, flags), 4);
    emit(c, 0xfc); /* cld */
    for (unsigned i = ARRAY_LEN(saved); i-- > 0;) {
        if (saved[i] >= 8) {
            emit(c, 0x41);
        }
        emit(c, (uint8_t)(0x58 | (saved[i] & 7)));
    }
    emit(c, 0x9d);
    emit(c, 0xc3);
}

/* ---- random instructions ---- */

typedef struct Gen {
    GRand *rand;
    Code code;
    uint64_t undefined; /* flags that the last instructions left undefined */
} Gen;

static unsigned pick(Gen *g, unsigned n)
{
    return (unsigned)g_rand_int_range(g->rand, 0, (int)n);
}

/* RBX points into the window, R12 too; RSP is its stack; the rest is free. */
static unsigned any_reg(Gen *g)
{
    static const uint8_t regs[] = {0, 1, 2, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15};
    return regs[pick(g, sizeof(regs))];
}

/* Prefix, REX, opcode and ModRM of one instruction; size 1, 2, 4, 8. */
typedef struct Enc {
    unsigned size;
    unsigned reg, rm;
    bool mem, lock;
    unsigned map; /* 0: one byte, 1: 0F, 2: 0F38 */
    uint8_t pfx;
    uint8_t op;
} Enc;

static void encode(Gen *g, const Enc *e)
{
    Code *c = &g->code;
    if (e->lock) {
        emit(c, 0xf0);
    }
    if (e->size == 2) {
        emit(c, 0x66);
    }
    if (e->pfx) {
        emit(c, e->pfx);
    }
    unsigned base = pick(g, 2) ? 3 : 12, rm = e->mem ? base : e->rm;
    unsigned rex = 0x40 | (e->size == 8) << 3 | (e->reg >> 3) << 2 | rm >> 3;
    /* Without REX the byte registers 4-7 are AH … BH: all variants are wanted. */
    bool high = e->size == 1 && rex == 0x40 && pick(g, 2);
    bool need = rex != 0x40 || (e->size == 1 && !high && (e->reg >= 4 || (!e->mem && rm >= 4)));
    if (high && (e->reg == 7 || (!e->mem && rm == 7))) {
        need = true; /* BH would change the window's pointer */
    }
    if (need) {
        emit(c, (uint8_t)rex);
    }
    if (e->map) {
        emit(c, 0x0f);
    }
    if (e->map == 2) {
        emit(c, 0x38);
    }
    emit(c, e->op);
    if (!e->mem) {
        emit(c, (uint8_t)(0xc0 | (e->reg & 7) << 3 | (rm & 7)));
        return;
    }
    /* [base + disp8]; R12 needs a SIB byte. */
    emit(c, (uint8_t)(0x40 | (e->reg & 7) << 3 | (rm & 7)));
    if ((rm & 7) == 4) {
        emit(c, 0x24);
    }
    emit(c, (uint8_t)pick(g, 256));
}

static unsigned any_size(Gen *g)
{
    return 1u << pick(g, 4);
}

static Enc any_enc(Gen *g)
{
    return (Enc){.size = any_size(g), .reg = any_reg(g), .rm = any_reg(g), .mem = pick(g, 3) == 0};
}

static void imm(Gen *g, unsigned size)
{
    uint64_t v = (uint64_t)g_rand_int(g->rand);
    if (pick(g, 2)) {
        v = (uint64_t)(int64_t)((int)pick(g, 5) - 2);
    }
    emit_n(&g->code, v, size > 4 ? 4 : size);
}

static void gen_arith(Gen *g)
{
    Enc e = any_enc(g);
    unsigned kind = pick(g, 8);
    switch (pick(g, 4)) {
    case 0: /* op r/m, r */
        e.op = (uint8_t)(kind << 3 | (e.size > 1));
        e.lock = e.mem && kind != 7 && pick(g, 4) == 0;
        encode(g, &e);
        break;
    case 1: /* op r, r/m */
        e.op = (uint8_t)(kind << 3 | 2 | (e.size > 1));
        encode(g, &e);
        break;
    case 2: /* op r/m, imm */
        e.op = e.size > 1 ? 0x81 : 0x80;
        e.reg = kind;
        encode(g, &e);
        imm(g, e.size);
        break;
    default: /* op r/m, simm8 */
        e.size = e.size == 1 ? 4 : e.size;
        e.op = 0x83;
        e.reg = kind;
        encode(g, &e);
        imm(g, 1);
        break;
    }
    g->undefined = kind == 1 || kind == 4 || kind == 6 ? FLAG_AF : 0;
}

static void gen_unary(Gen *g)
{
    Enc e = any_enc(g);
    unsigned kind = pick(g, 5);
    if (kind < 2) { /* inc, dec */
        e.op = e.size > 1 ? 0xff : 0xfe;
        e.reg = kind;
    } else if (kind < 4) { /* not, neg */
        e.op = e.size > 1 ? 0xf7 : 0xf6;
        e.reg = kind;
    } else { /* test r/m, r */
        e.op = e.size > 1 ? 0x85 : 0x84;
        g->undefined = FLAG_AF;
    }
    encode(g, &e);
}

static void gen_shift(Gen *g)
{
    Enc e = any_enc(g);
    unsigned kind = pick(g, 8), form = pick(g, 3);
    e.reg = kind;
    e.op = (uint8_t)((form == 0 ? 0xd0 : form == 1 ? 0xc0 : 0xd2) | (e.size > 1));
    encode(g, &e);
    if (form == 1) {
        emit(&g->code, (uint8_t)pick(g, 70));
    }
    /* OF is defined for counts of one only, CF not beyond the width. */
    g->undefined = FLAG_AF | FLAG_OF;
    if (kind >= 4 && e.size < 4) {
        g->undefined |= FLAG_CF;
    }
    if (form == 0) {
        g->undefined = FLAG_AF;
    }
    if (kind < 4) {
        g->undefined &= FLAG_OF;
    }
}

static void gen_double_shift(Gen *g)
{
    Enc e = any_enc(g);
    e.size = e.size < 4 ? 4 : e.size;
    e.map = 1;
    bool cl = pick(g, 2);
    e.op = (uint8_t)((pick(g, 2) ? 0xa4 : 0xac) | cl);
    encode(g, &e);
    if (!cl) {
        emit(&g->code, (uint8_t)pick(g, 70));
    }
    g->undefined = FLAG_AF | FLAG_OF;
}

static void gen_mul(Gen *g)
{
    Enc e = any_enc(g);
    switch (pick(g, 3)) {
    case 0: /* mul, imul */
        e.op = e.size > 1 ? 0xf7 : 0xf6;
        e.reg = 4 + pick(g, 2);
        encode(g, &e);
        break;
    case 1:
        e.size = e.size == 1 ? 4 : e.size;
        e.map = 1;
        e.op = 0xaf;
        encode(g, &e);
        break;
    default:
        e.size = e.size == 1 ? 4 : e.size;
        e.op = 0x69;
        encode(g, &e);
        imm(g, e.size);
        break;
    }
    g->undefined = FLAG_SF | FLAG_ZF | FLAG_AF | FLAG_PF;
}

/* Operands such that the quotient fits: rDX = 0 (or AH = 0), divisor not 0. */
static void gen_div(Gen *g)
{
    unsigned size = any_size(g);
    bool sign = pick(g, 2);
    Code *c = &g->code;
    if (size == 1) {
        emit_bytes(c, "\x83\xe0\x7f", 3); /* and eax, 0x7f */
    } else {
        emit_bytes(c, "\x48\xd1\xe8\x31\xd2", 5); /* shr rax,1; xor edx,edx */
        if (sign) {
            emit_bytes(c, "\x83\xe0\x7f", 3);
        }
    }
    emit_bytes(c, "\x80\xc9\x01\x80\xe1\x7f", 6); /* or cl,1; and cl,0x7f */
    Enc e = {.size = size, .reg = sign ? 7 : 6, .rm = 1, .op = size > 1 ? 0xf7 : 0xf6};
    encode(g, &e);
    g->undefined = FLAGS_ARITH;
}

static void gen_bits(Gen *g)
{
    Enc e = any_enc(g);
    e.size = e.size == 1 ? 8 : e.size;
    e.map = 1;
    switch (pick(g, 4)) {
    case 0: /* bt* r/m, imm */
        e.op = 0xba;
        e.reg = 4 + pick(g, 4);
        e.lock = e.mem && e.reg > 4 && pick(g, 4) == 0;
        encode(g, &e);
        emit(&g->code, (uint8_t)pick(g, 256));
        g->undefined = FLAG_OF | FLAG_SF | FLAG_AF | FLAG_PF;
        break;
    case 1: /* bt* r/m, reg: the bit number bounded */
        emit_bytes(&g->code, "\x0f\xbf\xc9\x66\xc1\xf9\x04", 7); /* movsx ecx,cx; sar cx,4 */
        emit_bytes(&g->code, "\x48\x0f\xbf\xc9", 4);             /* movsx rcx,cx */
        e.op = (uint8_t)(0xa3 | pick(g, 4) << 3);
        e.reg = 1;
        e.lock = e.mem && e.op != 0xa3 && pick(g, 4) == 0;
        encode(g, &e);
        g->undefined = FLAG_OF | FLAG_SF | FLAG_AF | FLAG_PF;
        break;
    case 2: /* bsf, bsr: a zero source would leave the destination undefined */
        e.mem = false;
        emit(&g->code, (uint8_t)(0x48 | e.rm >> 3));
        emit(&g->code, 0x83);
        emit(&g->code, (uint8_t)(0xc8 | (e.rm & 7)));
        emit(&g->code, 1 << 4 | 1);
        e.op = (uint8_t)(0xbc + pick(g, 2));
        encode(g, &e);
        g->undefined = FLAGS_ARITH & ~FLAG_ZF;
        break;
    default: /* popcnt */
        e.pfx = 0xf3;
        e.op = 0xb8;
        encode(g, &e);
        break;
    }
}

static void gen_move(Gen *g)
{
    Enc e = any_enc(g);
    switch (pick(g, 9)) {
    case 0:
        e.op = e.size > 1 ? 0x89 : 0x88;
        break;
    case 1:
        e.op = e.size > 1 ? 0x8b : 0x8a;
        break;
    case 2: { /* movzx, movsx; no AH … BH with 8-bit sources needed here */
        static const uint8_t ops[] = {0xb6, 0xb7, 0xbe, 0xbf};
        e.map = 1;
        e.size = e.size == 1 ? 4 : e.size;
        e.op = ops[pick(g, 4)];
        if (!e.mem && !(e.op & 1) && (e.rm & 7) == 7 && e.size != 8 && e.rm < 8) {
            e.rm = 0;
        }
        break;
    }
    case 3: /* movsxd */
        e.size = 8;
        e.op = 0x63;
        break;
    case 4: /* cmov */
        e.map = 1;
        e.size = e.size == 1 ? 4 : e.size;
        e.op = (uint8_t)(0x40 + pick(g, 16));
        break;
    case 5: /* setcc */
        e.map = 1;
        e.size = 1;
        e.reg = 0;
        e.op = (uint8_t)(0x90 + pick(g, 16));
        break;
    case 6: /* xchg */
        e.op = e.size > 1 ? 0x87 : 0x86;
        break;
    case 7: /* lea */
        e.size = e.size == 1 ? 8 : e.size;
        e.mem = true;
        e.op = 0x8d;
        break;
    default: /* movbe or mov imm */
        if (e.mem) {
            e.map = 2;
            e.size = e.size == 1 ? 4 : e.size;
            e.op = (uint8_t)(0xf0 + pick(g, 2));
        } else {
            e.reg = 0;
            e.op = e.size > 1 ? 0xc7 : 0xc6;
            encode(g, &e);
            imm(g, e.size);
            return;
        }
        break;
    }
    encode(g, &e);
}

static void gen_exchange(Gen *g)
{
    Enc e = any_enc(g);
    e.map = 1;
    switch (pick(g, 4)) {
    case 0: /* xadd */
        e.op = e.size > 1 ? 0xc1 : 0xc0;
        e.lock = e.mem && pick(g, 2);
        encode(g, &e);
        break;
    case 1: /* cmpxchg */
        e.op = e.size > 1 ? 0xb1 : 0xb0;
        e.lock = e.mem && pick(g, 2);
        if (pick(g, 2) && e.mem) { /* mov rax,[mem] of another place: sometimes equal */
            Enc m = {.size = 8, .reg = 0, .mem = true, .op = 0x8b};
            encode(g, &m);
        }
        encode(g, &e);
        break;
    case 2: /* cmpxchg8b */
        e = (Enc){.size = 4, .reg = 1, .mem = true, .map = 1, .op = 0xc7, .lock = pick(g, 2)};
        encode(g, &e);
        break;
    default: /* bswap */
        emit(&g->code, (uint8_t)(0x40 | pick(g, 2) << 3 | e.reg >> 3));
        emit(&g->code, 0x0f);
        emit(&g->code, (uint8_t)(0xc8 | (e.reg & 7)));
        break;
    }
}

static void gen_small(Gen *g)
{
    static const char *const ops[] = {
        "\xf8", "\xf9", "\xf5",     "\x98",     "\x48\x98", "\x66\x98", "\x99", "\x48\x99",
        "\x9e", "\x9f", "\x66\x99", "\x50\x5d", "\x55\x58", "\x9c\x58", "\xc9", "\x66\x50",
    };
    const char *op = ops[pick(g, ARRAY_LEN(ops))];
    if (op[0] == '\xc9') { /* leave, from the window: mov rbp,rbx; leave; restore rsp */
        emit_bytes(&g->code, "\x49\x89\xe6\x48\x89\xdd\xc9\x4c\x89\xf4", 10);
        return;
    }
    emit_bytes(&g->code, op, (unsigned)strlen(op));
    if (op[0] == '\x66' && op[1] == '\x50') {
        emit_bytes(&g->code, "\x66\x59", 2);
    }
}

static void gen_string(Gen *g)
{
    static const uint8_t ops[] = {0xa4, 0xa6, 0xaa, 0xac, 0xae};
    Code *c = &g->code;
    unsigned op = ops[pick(g, 5)];
    /* mov rsi,rbx; mov rdi,r12; mov ecx,n; [std]; [rep] op; cld */
    emit_bytes(c, "\x48\x89\xde\x4c\x89\xe7\xb9", 7);
    emit_n(c, pick(g, 40), 4);
    bool down = pick(g, 4) == 0;
    if (down) {
        emit(c, 0xfd);
    }
    unsigned size = any_size(g);
    if (size == 2) {
        emit(c, 0x66);
    }
    if (pick(g, 3)) {
        emit(c, (uint8_t)(0xf2 + pick(g, 2)));
    }
    if (size == 8) {
        emit(c, 0x48);
    }
    emit(c, (uint8_t)(op | (size > 1)));
    emit(c, 0xfc);
}

static void gen_crc32(Gen *g)
{
    Enc e = any_enc(g);
    e.map = 2;
    e.pfx = 0xf2;
    e.op = e.size > 1 ? 0xf1 : 0xf0;
    encode(g, &e);
}

static void gen_insn(Gen *g)
{
    g->undefined = 0;
    switch (pick(g, 16)) {
    case 0 ... 4:
        gen_arith(g);
        break;
    case 5:
        gen_unary(g);
        break;
    case 6:
    case 7:
        gen_shift(g);
        break;
    case 8:
        gen_mul(g);
        break;
    case 9:
        pick(g, 2) ? gen_div(g) : gen_double_shift(g);
        break;
    case 10:
        gen_bits(g);
        break;
    case 11:
    case 12:
        gen_move(g);
        break;
    case 13:
        gen_exchange(g);
        break;
    case 14:
        pick(g, 3) ? gen_small(g) : gen_crc32(g);
        break;
    default:
        gen_string(g);
        break;
    }
}

/* ---- rounds ---- */

static NativeState *native_map(void)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    void *w = mmap((void *)WINDOW, WINDOW_SIZE, PROT_READ | PROT_WRITE, flags, -1, 0);
    void *c = mmap((void *)CODE, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, flags, -1, 0);
    void *s = mmap((void *)STATE, 4096, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (w != (void *)WINDOW || c != (void *)CODE || s != (void *)STATE) {
        return NULL;
    }
    return s;
}

static void random_state(GRand *rand, NativeState *s)
{
    for (unsigned i = 0; i < 16; i++) {
        uint64_t v = (uint64_t)g_rand_int(rand) << 32 | g_rand_int(rand);
        switch (g_rand_int_range(rand, 0, 6)) {
        case 0:
            v = (uint64_t)(int64_t)(int8_t)v;
            break;
        case 1:
            v = (uint64_t)(int64_t)(int32_t)v;
            break;
        case 2:
            v &= 0xff;
            break;
        case 3:
            v = 1ull << (v & 63);
            break;
        default:
            break;
        }
        s->regs[i] = v;
    }
    s->regs[3] = WINDOW + 0x1000 + (g_rand_int(rand) & 0x3f) * 8;
    s->regs[12] = WINDOW + 0x1000 + (g_rand_int(rand) & 0x7fe);
    s->regs[4] = WINDOW + 0x3800;
    s->flags = (g_rand_int(rand) & FLAGS_ARITH) | FLAG_ONE | FLAG_IF;
}

static void print_failure(const Code *test, const NativeState *before, const NativeState *want,
                          const CPUX86 *cpu, uint64_t mask)
{
    GString *s = g_string_new("code:");
    for (unsigned i = 0; i < test->n; i++) {
        g_string_append_printf(s, " %02x", test->b[i]);
    }
    for (unsigned i = 0; i < 16; i++) {
        if (want->regs[i] != cpu->regs[i] || before->regs[i] != want->regs[i]) {
            g_string_append_printf(s, "\nr%u: before %016lx native %016lx tcg %016lx%s", i,
                                   before->regs[i], want->regs[i], cpu->regs[i],
                                   want->regs[i] == cpu->regs[i] ? "" : " <--");
        }
    }
    g_string_append_printf(s, "\nflags: before %04lx native %04lx tcg %04lx mask %04lx",
                           before->flags & FLAGS_ARITH, want->flags & FLAGS_ARITH,
                           cpu->rflags & FLAGS_ARITH, mask);
    g_test_message("%s", s->str);
    g_printerr("%s\n", s->str);
    g_string_free(s, TRUE);
}

static bool one_round(Harness *h, GRand *rand, NativeState *s, unsigned insns)
{
    Gen g = {.rand = rand};
    uint64_t undefined = 0;
    for (unsigned i = 0; i < insns; i++) {
        gen_insn(&g);
        undefined = g.undefined;
        if (undefined && i + 1 < insns) {
            emit_bytes(&g.code, "\x49\x83\xc2\x01", 4); /* add r10,1: all flags known again */
            undefined = 0;
        }
    }
    Code thunk = {.n = 0};
    make_thunk(&thunk, &g.code);
    memcpy((void *)CODE, thunk.b, thunk.n);

    random_state(rand, s);
    for (uint64_t a = 0; a < WINDOW_SIZE; a += 4) {
        uint32_t v = a & 32 ? g_rand_int(rand) : 0x80u << (a & 7);
        st_le32((void *)(WINDOW + a), v);
    }
    NativeState before = *s;
    memcpy(h->ram->host + WINDOW, (void *)WINDOW, WINDOW_SIZE);
    ((void (*)(void))CODE)();

    CPUX86 *cpu = h->cpu;
    Code guest = g.code;
    emit(&guest, 0xf4);
    harness_write(h, CODE, guest.b, guest.n);
    memcpy(cpu->regs, before.regs, sizeof(cpu->regs));
    cpu->rflags = before.flags;
    cpu->rip = CODE;
    cpu_update_hflags(cpu);
    RunExit r = harness_run(h);
    uint64_t mask = FLAGS_ARITH & ~undefined;
    bool ok = r == RUN_EXIT_HALTED && !memcmp(cpu->regs, s->regs, sizeof(cpu->regs)) &&
              !((cpu->rflags ^ s->flags) & mask) &&
              !memcmp(h->ram->host + WINDOW, (void *)WINDOW, WINDOW_SIZE);
    if (!ok) {
        print_failure(&g.code, &before, s, cpu, mask);
    }
    return ok;
}

static void run_rounds(unsigned insns, unsigned seed)
{
    const char *env = g_getenv("RHEA_NATIVE_ROUNDS");
    unsigned rounds = env ? (unsigned)atoi(env) : 4000, bad = 0;
    NativeState *s = native_map();
    if (!s) {
        g_test_skip("the fixed addresses of this test are taken");
        return;
    }
    Harness *h = harness_new(RAM);
    GRand *rand = g_rand_new_with_seed(seed);
    harness_long_mode(h, TABLES);
    for (unsigned i = 0; i < rounds && bad < 8; i++) {
        bad += !one_round(h, rand, s, insns);
    }
    g_rand_free(rand);
    harness_free(h);
    munmap((void *)WINDOW, WINDOW_SIZE);
    munmap((void *)CODE, 4096);
    munmap((void *)STATE, 4096);
    g_assert_cmpuint(bad, ==, 0);
}

static void test_single(void)
{
    run_rounds(1, 1);
}

static void test_sequences(void)
{
    run_rounds(8, 2);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tcg-native/single", test_single);
    g_test_add_func("/tcg-native/sequences", test_sequences);
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
    g_test_add_func("/tcg-native/none", test_skip);
    return g_test_run();
}

#endif
