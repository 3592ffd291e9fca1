/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/unit/test-simd.c: every MMX and SSE row of the decoder's tables against the
 * host: the instruction is encoded from its row, run natively and by its function, with
 * the host's arithmetic and the software's, and all it can change is compared.
 */
#include "target/i386/decode.h"
#include "target/i386/simd.h"
#include "tests/unit/rng.h"
#include "util/bits.h"

#include <glib.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>

#ifdef __x86_64__

#include <sys/mman.h>
#include <sys/ucontext.h>

/* What an instruction can read or write. Offsets are used by the assembly below. */
typedef struct State {
    alignas(16) uint64_t xmm[3][2]; /* 0 */
    alignas(16) uint64_t mem[2];    /* 48 */
    uint64_t mmx[3];                /* 64 */
    uint64_t rax, rcx, rdx;         /* 88, 96, 104 */
    uint64_t flags;                 /* 112 */
    uint32_t mxcsr;                 /* 120 */
    uint32_t host_mxcsr;            /* 124 */
} State;

/* The registers every encoding uses: reg = 1, rm = 2, or memory at [rsi]. */
#define REG 1
#define RM 2

static void run_native(const uint8_t *code, State *s)
{
    __asm__ volatile("sub $128, %%rsp\n\t"
                     "ldmxcsr 120(%[s])\n\t"
                     "movaps 0(%[s]), %%xmm0\n\tmovaps 16(%[s]), %%xmm1\n\t"
                     "movaps 32(%[s]), %%xmm2\n\t"
                     "movq 64(%[s]), %%mm0\n\tmovq 72(%[s]), %%mm1\n\tmovq 80(%[s]), %%mm2\n\t"
                     "mov 88(%[s]), %%rax\n\tmov 96(%[s]), %%rcx\n\tmov 104(%[s]), %%rdx\n\t"
                     "lea 48(%[s]), %%rsi\n\t"
                     "push 112(%[s])\n\tpopfq\n\t"
                     "call *%[c]\n\t"
                     "pushfq\n\tpop 112(%[s])\n\t"
                     "mov %%rax, 88(%[s])\n\tmov %%rcx, 96(%[s])\n\tmov %%rdx, 104(%[s])\n\t"
                     "movaps %%xmm0, 0(%[s])\n\tmovaps %%xmm1, 16(%[s])\n\t"
                     "movaps %%xmm2, 32(%[s])\n\t"
                     "movq %%mm0, 64(%[s])\n\tmovq %%mm1, 72(%[s])\n\tmovq %%mm2, 80(%[s])\n\t"
                     "emms\n\tstmxcsr 120(%[s])\n\tldmxcsr 124(%[s])\n\t"
                     "add $128, %%rsp\n\tcld"
                     :
                     : [s] "b"(s), [c] "r"(code)
                     : "memory", "cc", "rax", "rcx", "rdx", "rsi", "xmm0", "xmm1", "xmm2", "mm0",
                       "mm1", "mm2");
}

static sigjmp_buf fpe_jump;
static uint32_t fpe_mxcsr;

static void on_fpe(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    fpe_mxcsr = uc->uc_mcontext.fpregs->mxcsr;
    siglongjmp(fpe_jump, 1);
}

/* True: it raised #XM; only MXCSR is known then. */
static bool run_native_guarded(const uint8_t *code, State *s)
{
    struct sigaction sa = {.sa_sigaction = on_fpe, .sa_flags = SA_SIGINFO}, old;
    sigaction(SIGFPE, &sa, &old);
    bool raised = sigsetjmp(fpe_jump, 1);
    if (!raised) {
        run_native(code, s);
    } else {
        s->mxcsr = fpe_mxcsr;
    }
    sigaction(SIGFPE, &old, NULL);
    return raised;
}

/* ---- operands ---- */

static uint64_t special64(Rng *r)
{
    static const uint64_t v[] = {0,
                                 0x8000000000000000,
                                 0x7ff0000000000000,
                                 0xfff0000000000000,
                                 0x7ff8000000000001,
                                 0x7ff0000000000001,
                                 1,
                                 0x000fffffffffffff,
                                 0x0010000000000000,
                                 0x7fefffffffffffff,
                                 0x3ff0000000000000,
                                 0xbff8000000000000,
                                 0x41dfffffffc00000,
                                 0xc1e0000000000000,
                                 0x43e0000000000000,
                                 0x3fdfffffffffffff,
                                 0x36a0000000000001};
    switch (next(r) % 4) {
    case 0:
        return v[next(r) % G_N_ELEMENTS(v)] | next(r) << 63;
    case 1:
        return (next(r) & 0x800fffffffffffff) | (uint64_t)(1023 - 30 + next(r) % 100) << 52;
    case 2:
        return (next(r) & 0x800fffffffffffff) | (uint64_t)(1023 - 160 + next(r) % 320) << 52;
    default:
        return next(r);
    }
}

static uint32_t special32(Rng *r)
{
    static const uint32_t v[] = {0,          0x7f800000, 0x7fc00001, 0x7f800001, 1,
                                 0x007fffff, 0x00800000, 0x7f7fffff, 0x3f800000, 0x3fc00000,
                                 0x4f000000, 0x4effffff, 0x5f000000, 0x3effffff};
    switch (next(r) % 4) {
    case 0:
        return v[next(r) % G_N_ELEMENTS(v)] | (uint32_t)(next(r) << 31);
    case 1:
        return (uint32_t)((next(r) & 0x807fffff) | (127 - 30 + next(r) % 100) << 23);
    default:
        return (uint32_t)next(r);
    }
}

static uint64_t random_word(Rng *r, unsigned style)
{
    static const uint16_t edges[] = {0, 1, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff};
    uint64_t v = 0;
    switch (style) {
    case 0:
        return special64(r);
    case 1:
        return special32(r) | (uint64_t)special32(r) << 32;
    case 2: /* saturation */
        for (unsigned i = 0; i < 4; i++) {
            v = v << 16 | edges[next(r) % G_N_ELEMENTS(edges)];
        }
        return v;
    case 3: /* few values: equal elements, short strings */
        for (unsigned i = 0; i < 8; i++) {
            v = v << 8 | next(r) % 4;
        }
        return v;
    case 4: /* small: shift counts, masks */
        return next(r) % 80;
    default:
        return next(r);
    }
}

static void random_state(Rng *r, State *s, bool unmask)
{
    unsigned style = next(r) % 6;
    memset(s, 0, sizeof(*s));
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned k = 0; k < 2; k++) {
            s->xmm[i][k] = random_word(r, style);
        }
        s->mmx[i] = random_word(r, style);
    }
    s->mem[0] = random_word(r, style);
    s->mem[1] = random_word(r, style);
    s->rax = next(r) & 1 ? next(r) : next(r) % 40 - 20;
    s->rdx = next(r) & 1 ? next(r) : next(r) % 40 - 20;
    s->rcx = next(r);
    s->flags = 0x202 | (next(r) & FLAGS_ARITH);
    s->mxcsr = (uint32_t)(0x1f80 | (next(r) & 0x6000) | (next(r) % 4 == 0 ? 0x40 : 0) |
                          (next(r) % 4 == 0 ? 0x8000 : 0) | (next(r) & 1 ? next(r) & 0x3f : 0));
    if (next(r) % 3 == 0) { /* as compilers leave it after a while */
        s->mxcsr = (uint32_t)(0x1fa0 | (next(r) & 0x1f));
    }
    if (unmask) {
        s->mxcsr &= ~(uint32_t)((next(r) & 0x1f80) | 0x3f);
    }
    s->host_mxcsr = 0x1f80;
}

/* ---- the function's side: what decode.h says the translator does ---- */

static Vec fetch(CPUX86 *cpu, const State *s, const Operand *o)
{
    Vec v = {{0}};
    switch (o->kind) {
    case OK_MEM:
        memcpy(&v, s->mem, o->size);
        break;
    case OK_REG:
        memcpy(&v, &cpu->regs[o->reg], o->size);
        break;
    case OK_MMX:
        v.u64[0] = cpu->x87.r[o->reg].mant;
        break;
    default:
        v = cpu->vec[o->reg];
        break;
    }
    return v;
}

static void store(CPUX86 *cpu, State *s, const Operand *o, const Vec *v)
{
    switch (o->kind) {
    case OK_MEM:
        memcpy(s->mem, v, o->size);
        break;
    case OK_REG:
        cpu->regs[o->reg] = o->size == 8 ? v->u64[0] : v->u32[0];
        break;
    case OK_MMX:
        cpu->x87.r[o->reg].mant = v->u64[0];
        break;
    default:
        memcpy(&cpu->vec[o->reg], v, 16);
        break;
    }
}

static void execute(CPUX86 *cpu, State *s, const DecodedInsn *in, bool soft)
{
    const Operand *d = &in->operand[0], *src = d;
    if (in->operand[1].kind != OK_NONE && in->operand[1].kind != OK_IMM) {
        src = &in->operand[1];
    }
    Vec b = fetch(cpu, s, src);
    if (!in->row->fn) {
        Vec v = {{0}};
        memcpy(&v, &b, MIN(d->size, src->size ? src->size : 16));
        store(cpu, s, d, &v);
        return;
    }
    SimdCtl ctl = {
        .len = in->vlen, .imm = (uint8_t)in->imm, .w = !!(in->rex & REX_W), .soft = soft};
    bool temporary = d->kind == OK_MEM || d->kind == OK_REG;
    Vec dst = {{0}}, a = b;
    if (!temporary) {
        a = dst = fetch(cpu, s, d);
    }
    in->row->fn(cpu, d->kind == OK_VEC ? &cpu->vec[d->reg] : &dst, &a, &b, ctl);
    if (d->kind != OK_VEC) {
        store(cpu, s, d, &dst);
    }
}

static void load_cpu(CPUX86 *cpu, const State *s)
{
    for (unsigned i = 0; i < 3; i++) {
        memset(&cpu->vec[i], 0x5a, sizeof(Vec));
        memcpy(&cpu->vec[i], s->xmm[i], 16);
        cpu->x87.r[i].mant = s->mmx[i];
    }
    cpu->regs[R_RAX] = s->rax;
    cpu->regs[R_RCX] = s->rcx;
    cpu->regs[R_RDX] = s->rdx;
    cpu->rflags = s->flags;
    cpu->mxcsr = s->mxcsr;
}

static void save_cpu(const CPUX86 *cpu, State *s)
{
    for (unsigned i = 0; i < 3; i++) {
        memcpy(s->xmm[i], &cpu->vec[i], 16);
        s->mmx[i] = cpu->x87.r[i].mant;
        for (unsigned k = 16; k < sizeof(Vec); k++) { /* beyond XMM nothing changes */
            g_assert_cmphex(cpu->vec[i].u8[k], ==, 0x5a);
        }
    }
    s->rax = cpu->regs[R_RAX];
    s->rcx = cpu->regs[R_RCX];
    s->rdx = cpu->regs[R_RDX];
    s->flags = cpu->rflags;
    s->mxcsr = cpu->mxcsr;
}

/* True: raised. */
static bool run_emulated(CPUX86 *cpu, State *s, const DecodedInsn *in, bool soft)
{
    sigjmp_buf unwind;
    load_cpu(cpu, s);
    cpu->unwind = &unwind;
    bool raised = sigsetjmp(unwind, 0);
    if (!raised) {
        execute(cpu, s, in, soft);
    }
    save_cpu(cpu, s);
    return raised;
}

/* ---- encoding ---- */

static unsigned encode(uint8_t *p, OpcodeMap map, uint8_t opcode, const InsnRow *row, unsigned pfx,
                       bool mem, bool w, uint8_t imm)
{
    unsigned n = 0;
    if (pfx != PFX_NP) {
        p[n++] = pfx == PFX_66 ? 0x66 : pfx == PFX_F3 ? 0xf3 : 0xf2;
    }
    if (w) {
        p[n++] = 0x48;
    }
    p[n++] = 0x0f;
    if (map != MAP_0F) {
        p[n++] = map == MAP_0F38 ? 0x38 : 0x3a;
    }
    p[n++] = opcode;
    unsigned reg = row->reg1 ? row->reg1 - 1u : REG;
    p[n++] = (uint8_t)(reg << 3 | (mem ? 6 : 0xc0 | RM));
    for (unsigned i = 0; i < 4; i++) {
        if (OPERAND_FORM(row->operand[i]) == OF_I) {
            p[n++] = imm;
        }
    }
    p[n] = 0xc3;
    return n;
}

typedef struct Bytes {
    const uint8_t *p;
    unsigned n;
} Bytes;

static bool fetch_byte(void *opaque, unsigned pos, uint8_t *byte)
{
    Bytes *b = opaque;
    *byte = pos < b->n ? b->p[pos] : 0;
    return pos < b->n;
}

static bool takes(const InsnRow *row, bool mem)
{
    for (unsigned i = 0; i < 4; i++) {
        OperandForm f = OPERAND_FORM(row->operand[i]);
        if ((f == OF_M && !mem) || ((f == OF_N || f == OF_U) && mem)) {
            return false;
        }
    }
    return !(row->mod == MOD_MEM && !mem) && !(row->mod == MOD_REG && mem);
}

static bool has_y(const InsnRow *row)
{
    for (unsigned i = 0; i < 4; i++) {
        if (OPERAND_SIZE(row->operand[i]) == SZ_Y) {
            return true;
        }
    }
    return row->flags & RF_GPR;
}

static bool approximation(const InsnRow *row)
{
    return g_str_has_prefix(row->name, "rcp") || g_str_has_prefix(row->name, "rsqrt");
}

/* ---- comparison ---- */

static bool close32(uint32_t a, uint32_t b)
{
    float x, y;
    memcpy(&x, &a, 4);
    memcpy(&y, &b, 4);
    if (a == b) {
        return true;
    }
    float d = x > y ? x - y : y - x, m = y < 0 ? -y : y;
    return d <= m * (3.0f / 4096) || m < 2.4e-38f;
}

static bool same_xmm(const State *a, const State *b, bool approx)
{
    const uint32_t *x = (const uint32_t *)a->xmm, *y = (const uint32_t *)b->xmm;
    for (unsigned i = 0; i < 12; i++) {
        if (approx ? !close32(x[i], y[i]) : x[i] != y[i]) {
            return false;
        }
    }
    return true;
}

static bool same_state(const State *a, const State *b, bool approx)
{
    return same_xmm(a, b, approx) && !memcmp(a->mem, b->mem, sizeof(a->mem)) &&
           !memcmp(a->mmx, b->mmx, sizeof(a->mmx)) && a->rax == b->rax && a->rcx == b->rcx &&
           a->rdx == b->rdx && ((a->flags ^ b->flags) & FLAGS_ARITH) == 0 && a->mxcsr == b->mxcsr;
}

static void dump(const char *what, const State *s)
{
    g_printerr("%-7s mxcsr %04x flags %03x rax %" PRIx64 " rcx %" PRIx64 " rdx %" PRIx64 "\n", what,
               s->mxcsr, (unsigned)s->flags, s->rax, s->rcx, s->rdx);
    for (unsigned i = 0; i < 3; i++) {
        g_printerr("   xmm%u %016" PRIx64 " %016" PRIx64 "  mm%u %016" PRIx64 "\n", i, s->xmm[i][1],
                   s->xmm[i][0], i, s->mmx[i]);
    }
    g_printerr("   mem  %016" PRIx64 " %016" PRIx64 "\n", s->mem[1], s->mem[0]);
}

typedef struct Run {
    CPUX86 *cpu;
    uint8_t *code;
    Rng rng;
    unsigned bad, done;
    bool unmask;
} Run;

static void one(Run *t, const InsnRow *row, const DecodedInsn *in)
{
    State start, want, got;
    random_state(&t->rng, &start, t->unmask);
    want = start;
    bool raised = run_native_guarded(t->code, &want);
    for (unsigned soft = 0; soft < 2; soft++) {
        got = start;
        bool here = run_emulated(t->cpu, &got, in, soft);
        t->done++;
        if (here != raised || (raised && t->cpu->exception_vector != EXC_XM) ||
            (raised ? got.mxcsr != want.mxcsr || !same_xmm(&got, &start, false)
                    : !same_state(&got, &want, approximation(row)))) {
            g_printerr("%s (%s): raised %d, host %d; imm %#x len %u\n", row->name,
                       soft ? "software" : "host unit", here, raised, (unsigned)in->imm,
                       in->length);
            dump("before", &start);
            dump("here", &got);
            dump("host", &want);
            t->bad++;
            return;
        }
    }
}

static void one_encoding(Run *t, OpcodeMap map, uint8_t opcode, const InsnRow *row, unsigned pfx,
                         bool mem, bool w, unsigned rounds)
{
    static const uint32_t all[FEATURE_WORDS] = {[0 ... FEATURE_WORDS - 1] = ~0u};
    DecodeMode mode = {.bits = 64, .protected_mode = true, .features = all};
    for (unsigned i = 0; i < rounds; i++) {
        uint8_t imm = (uint8_t)next(&t->rng);
        if (opcode == 0xc2 && map == MAP_0F) {
            imm &= 7;
        }
        Bytes b = {t->code, encode(t->code, map, opcode, row, pfx, mem, w, imm)};
        DecodedInsn in;
        g_assert_cmpint(x86_decode(fetch_byte, &b, &mode, &in), ==, DECODE_OK);
        g_assert_cmpuint(in.length, ==, b.n);
        if (in.row != row) {
            return; /* another row of the same opcode goes first */
        }
        unsigned bad = t->bad;
        one(t, row, &in);
        if (t->bad != bad) {
            return;
        }
    }
}

static void one_row(Run *t, OpcodeMap map, uint8_t opcode, const InsnRow *row, unsigned rounds)
{
    static const uint8_t prefixes[] = {PFX_NP, PFX_66, PFX_F3, PFX_F2};
    for (unsigned k = 0; k < G_N_ELEMENTS(prefixes); k++) {
        if (row->pfx && !(row->pfx & prefixes[k])) {
            continue;
        }
        for (unsigned mem = 0; mem < 2; mem++) {
            for (unsigned w = 0; takes(row, mem) && w < (has_y(row) ? 2 : 1); w++) {
                one_encoding(t, map, opcode, row, prefixes[k], mem, w, rounds);
            }
        }
    }
}

static bool floating(const InsnRow *row)
{
    static const char *const stems[] = {"add",  "sub",   "mul",   "div",   "min",  "max",
                                        "sqrt", "cmp",   "round", "hadd",  "hsub", "cvt",
                                        "dp",   "comis", "ucom",  "addsub"};
    for (unsigned i = 0; i < G_N_ELEMENTS(stems); i++) {
        if (g_str_has_prefix(row->name, stems[i])) {
            return true;
        }
    }
    return false;
}

static bool host_can(const InsnRow *row, bool unmask)
{
    /* At which of DPPS's steps an unmasked exception ends it is the chip's choice. */
    if (unmask && g_str_has_prefix(row->name, "dpp") && !__builtin_cpu_is("amd")) {
        return false;
    }
    switch (row->feature) {
    case F_AES:
        return __builtin_cpu_supports("aes");
    case F_PCLMULQDQ:
        return __builtin_cpu_supports("pclmul");
    default:
        return __builtin_cpu_supports("sse4.2");
    }
}

static void all_rows(bool unmask, unsigned rounds)
{
    Run t = {.rng = {unmask ? 0x55667788 : 0x11223344}, .unmask = unmask};
    t.code =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (t.code == MAP_FAILED) {
        g_test_skip("no executable memory");
        return;
    }
    t.cpu = g_aligned_alloc0(1, sizeof(CPUX86), 64);
    t.cpu->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT;
    t.cpu->hflags = HF_PE | HF_LMA | HF_CS64;
    unsigned rows = 0;
    for (unsigned map = MAP_0F; map <= MAP_0F3A; map++) {
        for (unsigned op = 0; op < 256; op++) {
            const InsnRow *row = decode_rows((OpcodeMap)map, (uint8_t)op);
            for (; row && row->op && t.bad < 5; row++) {
                if (row->op == OP_SIMD && host_can(row, unmask) && (!unmask || floating(row))) {
                    one_row(&t, (OpcodeMap)map, (uint8_t)op, row, rounds);
                    rows++;
                }
            }
        }
    }
    g_assert_cmpuint(t.bad, ==, 0);
    g_assert_cmpuint(rows, >, unmask ? 60 : 300);
    g_test_message("%u rows, %u runs", rows, t.done);
    munmap(t.code, 4096);
    g_aligned_free(t.cpu);
}

static void test_masked(void)
{
    all_rows(false, 600);
}

static void test_unmasked(void)
{
    all_rows(true, 400);
}

/* CR4.OSXMMEXCPT = 0: #UD instead. */
static void test_no_xmmexcpt(void)
{
    sigjmp_buf unwind;
    CPUX86 *cpu = g_aligned_alloc0(1, sizeof(CPUX86), 64);
    cpu->unwind = &unwind;
    cpu->mxcsr = 0x1f80 & ~0x200u;
    Vec one = {.u64 = {0x3ff0000000000000}}, zero = {{0}}, dst = one;
    if (!sigsetjmp(unwind, 0)) {
        simd_divsd(cpu, &dst, &one, &zero, (SimdCtl){.len = 16});
        g_assert_not_reached();
    }
    g_assert_cmpint(cpu->exception_vector, ==, EXC_UD);
    g_assert_cmphex(cpu->mxcsr & 0x3f, ==, 4);
    g_assert_cmphex(dst.u64[0], ==, one.u64[0]);
    g_aligned_free(cpu);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/simd/masked", test_masked);
    g_test_add_func("/simd/unmasked", test_unmasked);
    g_test_add_func("/simd/no-osxmmexcpt", test_no_xmmexcpt);
    return g_test_run();
}

#else

int main(void)
{
    return 77; /* nothing to compare with */
}

#endif
