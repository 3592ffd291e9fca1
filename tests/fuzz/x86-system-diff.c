/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x86-system-diff: random sequences in every mode, ring 0 included, on two engines:
 * paging, segments, exceptions through the tables, returns from them, code that changes
 * itself.  All state and all memory must agree.  docs/fuzzing.md says how to use it.
 */
#include "tests/fuzz/fuzz-engine.h"
#include "tests/fuzz/fuzz-gen.h"
#include "tests/fuzz/fuzz-system.h"
#include "tests/fuzz/fuzz-undefined.h"
#include "tests/unit/x86-guest.h"
#include "util/bits.h"
#include "util/rcu.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define RAM (256 * KiB)
#define AT_RO (AT_DATA + FZ_RW_SIZE)
#define AT_COUNTER 0xe7f0u
#define AT_RETURN 0x4400u /* IRET, with which handlers end */
#define PAGE 4096u

/* What can be compared; the first that there are two of are. */
static const struct {
    const char *name, *engine;
    bool one_insn, walk;
} engine_list[] = {{"interp", "interp", false, false},
                   {"jit", "jit", false, false},
                   {"single", "interp", true, false},
                   {"walk", "interp", true, true}};

static const struct {
    const char *name;
    GuestMode mode;
    unsigned bits;
    bool paged, code16;
} modes[] = {
    {"real", GUEST_REAL, 16, false, false},         {"prot16", GUEST_PROT32, 16, false, true},
    {"prot32", GUEST_PROT32, 32, false, false},     {"paged32", GUEST_PROT32, 32, true, false},
    {"user32", GUEST_USER32, 32, true, false},      {"v86", GUEST_V86, 16, true, false},
    {"long", GUEST_LONG, 64, true, false},          {"user64", GUEST_LONG_USER, 64, true, false},
    {"compat", GUEST_COMPAT_USER, 32, true, false},
};
#define MODES G_N_ELEMENTS(modes)

static bool ring0_paged(unsigned m)
{
    return modes[m].paged && (modes[m].mode == GUEST_LONG || modes[m].mode == GUEST_PROT32);
}

typedef struct Side {
    const char *name;
    Guest *g;
    CPUX86 start[MODES];
    uint8_t *ram[MODES]; /* as a sequence finds it, but for code and data */
    bool walk;           /* the TLB is emptied before each instruction: nothing can be stale */
    /* of the last run */
    FzEvent events[FZ_EVENTS];
    unsigned n_events;
    bool hung, lost;
    /* An engine that counts instructions (side 0 always does): how many, and how many it may. */
    EventLoop *loop;
    uint64_t executed, limit;
    Timer wake, nothing; /* wakes a CPU that has halted, or stops it; uses up its budgets */
    unsigned period;     /* of the latter; 0: not */
    unsigned fired;
    uint64_t nmis;         /* non-maskable interrupts */
    DebugPoint watched[4]; /* --watch */
    uint64_t stops;
} Side;
#define INSNS_MAX 50000u /* of a case: so that which ones are given up depends on nothing else */

typedef struct Case {
    unsigned mode;
    FzSeq seq;
    uint8_t code[FZ_SLOT];
    FzState state;
    FzMemory mem;
} Case;

/* What is in flags without a defined value. */
typedef enum Flags { FLAGS_ASIS, FLAGS_ZERO, FLAGS_ONE } Flags;
#define STEPS_MAX (4 * INSNS_MAX)

typedef struct Fuzz {
    uint64_t seed, first, round;
    double million;
    int64_t rounds;
    int insns, repeat, max_failures;
    char *only, *only_mode, *engines;
    gboolean verbose, icount, watch;
    Side side[2];
    Gen gen[MODES];
    Case c;
    uint64_t insns_done, cases, events, hung, undefined;
    unsigned failures;
} Fuzz;

/* For signal handlers. */
static struct {
    CPUX86 *cpu;
    volatile uint64_t number;
    uint64_t seen;
    unsigned ticks, limit;
    const Fuzz *f;
    const Side *nmi; /* may be interrupted; or NULL */
} watch;

static void on_tick(int sig)
{
    if (watch.seen != watch.number) {
        watch.seen = watch.number;
        watch.ticks = 0;
    } else if (++watch.ticks >= watch.limit && watch.cpu) {
        cpu_interrupt(watch.cpu, IRQ_EXIT);
    }
}

/* Is all there that the interrupt needs? Sequences may destroy anything. */
static bool can_take_nmi(const Side *s)
{
    static const struct {
        unsigned at, size;
    } parts[] = {{AT_GDT, GDT_SIZE}, {AT_IDT + 2 * 16, 16}, {AT_TSS, 0x68},
                 {AT_HANDLERS, 12},  {AT_RETURN, 2},        {AT_PT, 8 * 8}};
    const CPUX86 *cpu = s->g->cpu, *start = &s->start[watch.f->c.mode];
    bool ok = !memcmp(&cpu->idtr, &start->idtr, sizeof(cpu->idtr)) &&
              !memcmp(&cpu->gdtr, &start->gdtr, sizeof(cpu->gdtr)) &&
              cpu->tr.base == start->tr.base && !((cpu->cr3 ^ start->cr3) & 0xfffff000);
    for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++) {
        ok = ok && !memcmp(s->g->ram->host + parts[i].at, s->ram[watch.f->c.mode] + parts[i].at,
                           parts[i].size);
    }
    return ok;
}

static void on_nmi_tick(int sig)
{
    if (watch.cpu && watch.nmi && can_take_nmi(watch.nmi)) {
        cpu_interrupt(watch.cpu, IRQ_NMI);
    }
}

static void on_crash(int sig)
{
    char text[200];
    int n = snprintf(text, sizeof(text),
                     "x86-system-diff: signal %d: --seed %llu --first %llu --rounds 1 (%s)\n", sig,
                     (unsigned long long)watch.f->seed, (unsigned long long)watch.f->round,
                     modes[watch.f->c.mode].name);
    if (write(2, text, (size_t)n) != n) {
        _exit(3);
    }
    signal(sig, SIG_DFL);
    raise(sig);
}

/* ---- the machine ---- */

static void protect(Guest *g, bool wide, bool ring0)
{
    for (unsigned p = PAGE; p < AT_CODE; p += PAGE) { /* used by interrupts: A and D are set */
        guest_st(g, AT_PT + (p >> 12) * (wide ? 8u : 4u), p | 0x67, wide ? 8 : 4);
    }
    for (unsigned p = 0; ring0 && p < RAM; p += PAGE) { /* one page remains the user's */
        guest_st(g, AT_PT + (p >> 12) * (wide ? 8u : 4u),
                 p | (p < AT_CODE           ? 0x63
                      : p == AT_DATA + PAGE ? 7
                                            : 3),
                 wide ? 8 : 4);
    }
    uint64_t ro = AT_PT + (AT_RO >> 12) * (wide ? 8u : 4u);
    uint64_t gone = AT_PT + ((AT_RO + PAGE) >> 12) * (wide ? 8u : 4u);
    guest_st(g, ro, AT_RO | (ring0 ? 1 : 5), wide ? 8 : 4);
    guest_st(g, gone, 0, wide ? 8 : 4);
}

static void prepare_mode(Side *s, unsigned m)
{
    Guest *g = s->g;
    CPUX86 *cpu = g->cpu;
    bool wide = modes[m].mode >= GUEST_LONG;
    guest_enter(g, modes[m].mode);
    if (modes[m].paged) {
        if (!wide) {
            guest_paging(g, false);
        }
        protect(g, wide, ring0_paged(m));
    }
    if (wide) { /* a stack of its own, so that a sequence need not notice it */
        guest_gate(g, AT_IDT + 2 * 16, SEL_CODE64, AT_HANDLERS + 2 * 4, 14, 0, 1, true);
    }
    if (modes[m].code16) {
        guest_load(g, SEG_CS, SEL_CODE16);
        guest_load(g, SEG_SS, SEL_DATA16);
    }
    guest_st(g, AT_RETURN, wide ? 0xcf48 : 0xcf, 2);
    cpu->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT;
    if (cpu_has(cpu, FEAT_1_ECX, 1u << 26)) {
        cpu->cr4 |= CR4_OSXSAVE;
        cpu->xcr0 = cpu_has(cpu, FEAT_1_ECX, 1u << 28) ? 7 : 3;
    }
    if (wide && cpu_has(cpu, FEAT_7_0_EBX, 1)) {
        cpu->cr4 |= CR4_FSGSBASE;
    }
    cpu_update_hflags(cpu);
    s->start[m] = *cpu;
    s->ram[m] = g_memdup2(g->ram->host, RAM);
}

static void restore_memory(Side *s, const Case *c, bool code)
{
    uint8_t *ram = s->g->ram->host;
    uint8_t *wanted = s->ram[c->mode];
    memcpy(wanted + AT_CODE, c->code, FZ_SLOT);
    memcpy(wanted + AT_DATA, c->mem.rw, FZ_RW_SIZE);
    memcpy(wanted + AT_RO, c->mem.area, FZ_RO_SIZE);
    for (unsigned p = 0; p < RAM; p += PAGE) {
        if (memcmp(ram + p, wanted + p, PAGE)) {
            memcpy(ram + p, wanted + p, PAGE);
            ram_mark_dirty(s->g->ram, p, PAGE);
        }
    }
}

static void restore_cpu(Side *s, const Case *c)
{
    CPUX86 *cpu = s->g->cpu;
    *cpu = s->start[c->mode];
    bool wide = modes[c->mode].bits == 64;
    for (unsigned i = 0; i < 16; i++) {
        cpu->regs[i] = wide ? c->state.gpr[i] : i < 8 ? (uint32_t)c->state.gpr[i] : 0;
    }
    for (unsigned i = 0; i < 16; i++) { /* pointers, elsewhere than on the host */
        if (c->state.gpr[i] - FZ_RW < FZ_RW_SIZE) {
            cpu->regs[i] = c->state.gpr[i] - FZ_RW + AT_DATA;
        }
    }
    fz_load_vectors(cpu, c->state.xsave);
    cpu->rflags |= c->state.rflags & (FLAGS_ARITH | FLAG_DF | FLAG_TF);
    cpu->rip = c->seq.start;
    cpu_update_hflags(cpu);
    cpu_interrupt(cpu, IRQ_TLB_FLUSH);
}

/* ---- a run ---- */

static uint64_t undefined_at(const FzSeq *s, uint64_t rip)
{
    for (unsigned i = 0; i < s->n; i++) {
        if (s->start + s->starts[i] == rip) {
            return s->undefined[i];
        }
    }
    return FZ_ARITH;
}

static uint64_t resume_at(const FzSeq *s, unsigned vector, uint64_t rip)
{
    if (rip == s->end) {
        return 0;
    }
    bool trap = vector == 1 || vector == 2 || vector == 3 || vector == 4 || vector >= 0x20;
    return trap ? fz_resume(s, 1, rip) : fz_resume(s, 0, rip);
}

/* A handler has halted: notes why, and makes it return. false: the sequence ends here. */
static bool handle(Side *s, const Case *c, unsigned vector)
{
    CPUX86 *cpu = s->g->cpu;
    uint8_t *ram = s->g->ram->host;
    bool real = !(cpu->hflags & HF_PE), wide = cpu->hflags & HF_CS64;
    bool error = !real && (vector == 8 || (vector >= 10 && vector <= 14) || vector == 17);
    unsigned size = real ? 2 : wide ? 8 : 4;
    uint64_t sp = cpu->regs[R_RSP] & (cpu->hflags & HF_SS32 || wide ? ~0ull : 0xffff);
    uint64_t linear = cpu->segs[SEG_SS].base + sp, end;
    hwaddr at;
    if (!cpu_debug_translate(cpu, linear, &at) ||
        !cpu_debug_translate(cpu, linear + 6 * size - 1, &end) || end != at + 6 * size - 1 ||
        end >= RAM) {
        return false;
    }
    FzEvent *e = &s->events[s->n_events++];
    *e = (FzEvent){.vector = vector};
    if (error) {
        e->error = (uint32_t)ld_le(ram + at, size);
        at += size;
        cpu->regs[R_RSP] += size;
    }
    e->rip = ld_le(ram + at, size);
    e->addr = vector == EXC_PF ? cpu->cr2 : 0;
    uint64_t flags = ld_le(ram + at + 2 * size, size) & ~undefined_at(&c->seq, e->rip);
    uint64_t resume = resume_at(&c->seq, vector, e->rip);
    if (resume && resume != e->rip) {
        flags &= ~(uint64_t)FZ_ARITH;
    }
    st_le(ram + at + 2 * size, size, flags);
    e->rflags = flags;
    if (!resume || s->n_events == FZ_EVENTS ||
        (uint16_t)ld_le(ram + at + size, 2) != s->start[c->mode].segs[SEG_CS].selector) {
        return false;
    }
    st_le(ram + at, size, resume);
    cpu->rip = AT_RETURN;
    cpu->halted = false;
    return true;
}

static void on_wake(void *opaque)
{
    cpu_interrupt(opaque, IRQ_EXIT);
}

static void on_nothing(void *opaque)
{
    Side *s = opaque;
    if (!s->g->cpu->halted) {
        if (++s->fired % 3 == 0) {
            s->nmis++;
            cpu_interrupt(s->g->cpu, IRQ_NMI);
        }
        timer_mod(&s->nothing, clock_virtual(s->g->clocks) + s->period);
    }
}

/* With -icount a CPU that halts stays in the engine until a timer calls it out. */
static RunExit run_engine(Side *s)
{
    CPUX86 *cpu = s->g->cpu;
    uint64_t before = fz_executed(s->g->accel);
    if (s->loop) {
        int64_t now = clock_virtual(s->g->clocks);
        timer_mod(&s->wake, now + (int64_t)(s->limit - MIN(s->limit, s->executed)) + 1);
    }
    bool noticed = s->loop || s->g->v->step || modes[watch.f->c.mode].mode < GUEST_LONG;
    watch.nmi = noticed ? NULL : s;
    watch.cpu = cpu;
    watch.number++;
    rcu_read_lock();
    RunExit r = accel_class(s->g->accel)->run(s->g->v);
    rcu_read_unlock();
    watch.cpu = NULL;
    if (s->loop && r == RUN_EXIT_INTERRUPTED && cpu->halted) {
        cpu_interrupt_clear(cpu, IRQ_EXIT);
        r = RUN_EXIT_HALTED;
    }
    s->executed += fz_executed(s->g->accel) - before;
    return r;
}

/* The handler of an NMI that came at any time (on_nmi_tick()) has halted: goes on as if nothing had been. */
static bool forget_nmi(Side *s, const Case *c, int vector)
{
    CPUX86 *cpu = s->g->cpu;
    if (vector != 2 || s->loop || !cpu->nmi_masked) {
        return false;
    }
    s->nmis++;
    if (ld_le64(s->g->ram->host + AT_IST - 40) == c->seq.end + 1) { /* out of the last HLT */
        st_le64(s->g->ram->host + AT_IST - 40, c->seq.end);
    }
    cpu->rip = AT_RETURN;
    cpu->halted = false;
    /* A return to ring 3 makes selectors 1 to 3 zero, which a sequence would see. */
    Segment segs[SEG_COUNT];
    memcpy(segs, cpu->segs, sizeof(segs));
    s->g->v->step = true;
    (void)run_engine(s);
    s->g->v->step = false;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        if (i != SEG_CS && i != SEG_SS && segs[i].selector < 4) {
            cpu->segs[i].selector = segs[i].selector;
        }
    }
    return true;
}

/* To the next halt, or (FLAGS_ZERO, FLAGS_ONE) there in single steps. */
static RunExit run_on(Side *s, const Case *c, Flags flags)
{
    Vcpu *v = s->g->v;
    RunExit r;
    unsigned n = 0;
    Undefined u = {.flags = (uint16_t)undefined_at(&c->seq, s->g->cpu->rip)};
    v->step = flags != FLAGS_ASIS || s->walk;
    if (s->period) {
        timer_mod(&s->nothing, clock_virtual(s->g->clocks) + s->period);
    }
    do {
        if (s->walk) {
            cpu_interrupt(s->g->cpu, IRQ_TLB_FLUSH);
        }
        if (flags != FLAGS_ASIS) {
            undefined_step(&u, s->g->cpu, flags == FLAGS_ONE);
        }
        r = run_engine(s);
        s->stops += r == RUN_EXIT_DEBUG && !v->step;
    } while (r == RUN_EXIT_DEBUG && ++n < STEPS_MAX);
    s->lost = s->lost || u.lost;
    return r == RUN_EXIT_DEBUG ? RUN_EXIT_INTERRUPTED : r;
}

static void run_side(Side *s, const Case *c, Flags flags)
{
    CPUX86 *cpu = s->g->cpu;
    restore_memory(s, c, false);
    restore_cpu(s, c);
    s->n_events = 0;
    s->hung = s->lost = false;
    s->executed = s->fired = 0;
    s->limit = flags == FLAGS_ASIS ? INSNS_MAX : 100 * (uint64_t)STEPS_MAX;
    for (;;) {
        RunExit r = run_on(s, c, flags);
        s->g->exit = r;
        if (r == RUN_EXIT_INTERRUPTED) {
            cpu_interrupt_clear(cpu, IRQ_EXIT);
            s->hung = true;
            return;
        }
        int vector = guest_vector(s->g);
        if (r == RUN_EXIT_HALTED && forget_nmi(s, c, vector)) {
            continue;
        }
        if (r != RUN_EXIT_HALTED || vector < 0 || !handle(s, c, (unsigned)vector)) {
            return;
        }
    }
}

/* ---- comparing ---- */

typedef struct Field {
    const char *name;
    size_t offset, size;
} Field;

#define F(member)                                                        \
    {                                                                    \
#member, offsetof(CPUX86, member), sizeof(((CPUX86 *)0)->member) \
    }
static const Field fields[] = {
    F(regs),         F(rip),
    F(segs[0]),      F(segs[1]),
    F(segs[2]),      F(segs[3]),
    F(segs[4]),      F(segs[5]),
    F(ldtr),         F(tr),
    F(gdtr.base),    F(gdtr.limit),
    F(idtr.base),    F(idtr.limit),
    F(cr0),          F(cr2),
    F(cr3),          F(cr4),
    F(xcr0),         F(dr),
    F(efer),         F(star),
    F(lstar),        F(cstar),
    F(sfmask),       F(kernel_gs_base),
    F(sysenter_cs),  F(sysenter_esp),
    F(sysenter_eip), F(pat),
    F(tsc_aux),      F(halted),
    F(hflags),
};

static void image(const CPUX86 *cpu, uint8_t *x)
{
    fz_save_vectors(cpu, x);
    x[3] &= (uint8_t)~2; /* C1, for which engines may ask different sources */
}

/* Prints what differs to `out`, if that is not NULL; returns whether anything does. */
static bool differs(Side *a, Side *b, const Case *c, FILE *out)
{
    if (!b->loop) { /* what NMIs have left there */
        memset(a->g->ram->host + AT_IST - 40, 0, 40);
        memset(b->g->ram->host + AT_IST - 40, 0, 40);
    }
    const uint8_t *p = (const uint8_t *)a->g->cpu, *q = (const uint8_t *)b->g->cpu;
    bool any = a->hung != b->hung || a->g->exit != b->g->exit || a->n_events != b->n_events;
    if (any && out) {
        fprintf(out, "  exits %d%s and %d%s, %u and %u events\n", a->g->exit,
                a->hung ? " (hung)" : "", b->g->exit, b->hung ? " (hung)" : "", a->n_events,
                b->n_events);
    }
    if (a->executed != b->executed && b->loop) {
        any = true;
        if (out) {
            fprintf(out, "  %lu and %lu instructions\n", (unsigned long)a->executed,
                    (unsigned long)b->executed);
        }
    }
    for (unsigned i = 0; i < MIN(a->n_events, b->n_events); i++) {
        const FzEvent *e = &a->events[i], *f = &b->events[i];
        if (memcmp(e, f, sizeof(*e))) {
            any = true;
            if (out) {
                fprintf(out,
                        "  event %u: vector %u error %x at %lx address %lx flags %lx\n"
                        "      and: vector %u error %x at %lx address %lx flags %lx\n",
                        i, e->vector, e->error, (unsigned long)e->rip, (unsigned long)e->addr,
                        (unsigned long)e->rflags, f->vector, f->error, (unsigned long)f->rip,
                        (unsigned long)f->addr, (unsigned long)f->rflags);
                break;
            }
        }
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(fields); i++) {
        for (unsigned o = 0; o < fields[i].size; o += 8) {
            size_t n = MIN(8, fields[i].size - o);
            if (memcmp(p + fields[i].offset + o, q + fields[i].offset + o, n)) {
                any = true;
                if (out) {
                    fprintf(out, "  %s+%u: %lx, %lx\n", fields[i].name, o,
                            (unsigned long)ld_le(p + fields[i].offset + o, (unsigned)n),
                            (unsigned long)ld_le(q + fields[i].offset + o, (unsigned)n));
                }
            }
        }
    }
    uint64_t ignore = undefined_at(&c->seq, a->g->cpu->rip - 1);
    if ((a->g->cpu->rflags ^ b->g->cpu->rflags) & ~ignore) {
        any = true;
        if (out) {
            fprintf(out, "  rflags: %lx, %lx (undefined %lx)\n", (unsigned long)a->g->cpu->rflags,
                    (unsigned long)b->g->cpu->rflags, (unsigned long)ignore);
        }
    }
    uint8_t x[FZ_XSAVE_SIZE], y[FZ_XSAVE_SIZE];
    image(a->g->cpu, x);
    image(b->g->cpu, y);
    for (unsigned i = 0; i < FZ_XSAVE_SIZE; i += 8) {
        if (memcmp(x + i, y + i, 8)) {
            any = true;
            if (out) {
                fprintf(out, "  xsave+%03x: %lx, %lx\n", i, (unsigned long)ld_le64(x + i),
                        (unsigned long)ld_le64(y + i));
            }
        }
    }
    unsigned shown = 0;
    for (unsigned i = 0; i < RAM; i += 8) {
        uint64_t v = ld_le64(a->g->ram->host + i), w = ld_le64(b->g->ram->host + i);
        if (v != w) {
            any = true;
            if (!out) {
                break;
            }
            if (++shown <= 40) {
                fprintf(out, "  memory %x: %lx, %lx\n", i, (unsigned long)v, (unsigned long)w);
            }
        }
    }
    return any;
}

/*
 * Does it depend on flags without a defined value what the case comes to?  They are in the frames
 * of interrupts, which may be anything else to what comes then.  Both sides run in single
 * steps: with the same flags to the same end, with others to another one.
 */
static bool left_undefined(Fuzz *f, const Case *c)
{
    run_side(&f->side[0], c, FLAGS_ZERO);
    if (f->side[0].lost) {
        return true;
    }
    run_side(&f->side[1], c, FLAGS_ZERO);
    if (differs(&f->side[0], &f->side[1], c, NULL)) {
        return false;
    }
    run_side(&f->side[1], c, FLAGS_ONE);
    return differs(&f->side[0], &f->side[1], c, NULL);
}

/* Runs the case a few times, as code may be translated only when it has run before. */
static bool run_case(Fuzz *f, const Case *c)
{
    for (int i = 0; i < f->repeat; i++) {
        watch.limit = 15; /* 0.3 s: a string instruction of 4 GiB counts as one */
        run_side(&f->side[0], c, FLAGS_ASIS);
        watch.limit = 200;
        if (f->side[0].hung) {
            f->hung++;
            return false;
        }
        run_side(&f->side[1], c, FLAGS_ASIS);
        if (differs(&f->side[0], &f->side[1], c, NULL)) {
            return true;
        }
    }
    return false;
}

static bool try_case(Fuzz *f, const Case *c)
{
    return run_case(f, c) && !left_undefined(f, c);
}

static void print_code(const Fuzz *f, const Case *c)
{
    const FzSeq *s = &c->seq;
    for (unsigned i = 0; i + 1 < s->n; i++) {
        const uint8_t *code = c->code + (s->start - AT_CODE) + s->starts[i];
        unsigned len = (unsigned)(s->starts[i + 1] - s->starts[i]);
        if (code[0] == 0x90 && code[len - 1] == 0x90) {
            continue;
        }
        DecodedInsn in;
        char text[160] = "?";
        if (gen_decode(&f->gen[c->mode].opt, code, len, &in)) {
            x86_decode_print(&in, s->start + s->starts[i], text, sizeof(text));
        }
        printf("  %lx:", (unsigned long)(s->start + s->starts[i]));
        for (unsigned b = 0; b < len; b++) {
            printf(" %02x", code[b]);
        }
        printf("%*s %s\n", len < 12 ? (int)(12 - len) * 3 : 1, "", text);
    }
}

/* found: what differed then */
static void report(Fuzz *f, const char *found)
{
    Case *c = &f->c;
    g_autofree Case *before = g_new(Case, 1);
    f->failures++;
    printf("DIFFERENCE: %s and %s, %s: --seed %lu --first %lu --rounds 1\n", f->side[0].name,
           f->side[1].name, modes[c->mode].name, (unsigned long)f->seed, (unsigned long)f->round);
    if (!try_case(f, c)) {
        printf("  (not again when it runs alone)\n%s", found);
    } else {
        for (unsigned pass = 0; pass < 2; pass++) {
            for (unsigned u = c->seq.unit[c->seq.n - 1] + 1u; u-- > 0;) {
                *before = *c;
                if (gen_blank_unit(&c->seq, c->code, AT_CODE, u) && !try_case(f, c)) {
                    *c = *before;
                }
            }
        }
    }
    run_case(f, c);
    print_code(f, c);
    printf("  from %lx to %lx, flags %lx", (unsigned long)c->seq.start, (unsigned long)c->seq.end,
           (unsigned long)c->state.rflags);
    for (unsigned i = 0; i < 16; i++) {
        printf("%s%016lx", i % 4 ? " " : "\n  ", (unsigned long)c->state.gpr[i]);
    }
    printf("\n");
    differs(&f->side[0], &f->side[1], c, stdout);
}

/* Watchpoints in what the sequences use; these go on whenever they are stopped. */
static void watch_data(Side *s, Rng *r)
{
    Accel *a = s->g->accel;
    for (unsigned i = 0; i < G_N_ELEMENTS(s->watched); i++) {
        DebugPoint *p = &s->watched[i];
        if (p->len) {
            accel_debug_remove(a, *p);
        }
        *p = (DebugPoint){.kind = rng(r, 2) ? DEBUG_ACCESS : DEBUG_WRITE,
                          .addr = AT_DATA + rng(r, FZ_RW_SIZE),
                          .len = 1 + rng(r, 200)};
        accel_debug_add(a, *p, NULL);
    }
}

static bool one_round(Fuzz *f)
{
    Rng r = {f->seed * 0x9e3779b97f4a7c15 ^ f->round * 0xd1342543de82ef95};
    Case *c = &f->c;
    do {
        c->mode = rng(&r, MODES);
    } while (f->only_mode && strcmp(f->only_mode, modes[c->mode].name));
    if (!gen_sequence(&f->gen[c->mode], rng64(&r), &c->seq, c->code, AT_CODE)) {
        fprintf(stderr, "x86-system-diff: no instruction of this mode is called %s\n", f->only);
        return false;
    }
    for (int i = 0; i < 2; i++) {
        f->side[i].period = f->icount ? 20 + (unsigned)(f->round % 300) : 0;
        if (f->watch && i && f->round % 16 == 0) {
            watch_data(&f->side[i], &r);
        }
        fz_set_heat(f->side[i].g->accel, f->round & 1 ? 0 : (uint32_t)(f->round >> 1 & 3));
    }
    for (int i = 0; i < 2; i++) {
        gen_state(&r, &c->state, true, false);
        gen_memory(&r, &c->mem, true);
        if (run_case(f, c)) {
            char *found = NULL; /* an interrupt's chance may never come again */
            size_t size;
            FILE *out = open_memstream(&found, &size);
            differs(&f->side[0], &f->side[1], c, out);
            fclose(out);
            bool real = !left_undefined(f, c);
            if (real) {
                report(f, found);
            }
            free(found);
            if (real) {
                break;
            }
            f->undefined++;
        }
        f->cases++;
        f->insns_done += c->seq.n_body * (unsigned)f->repeat;
        f->events += f->side[0].n_events;
    }
    return true;
}

/* ---- start ---- */

static bool start_sides(Fuzz *f)
{
    g_auto(GStrv) names = g_strsplit(f->engines ? f->engines : "interp,jit,single", ",", 3);
    unsigned n = 0;
    for (unsigned i = 0; names[i] && n < 2; i++) {
        for (unsigned k = 0; k < G_N_ELEMENTS(engine_list); k++) {
            if (strcmp(engine_list[k].name, names[i]) || n == 2) {
                continue;
            }
            Error *err = NULL;
            Guest *g = (f->icount || !n ? guest_new_icount : guest_new_engine)(
                "max", engine_list[k].engine, engine_list[k].one_insn, RAM, &err);
            if (!g && f->engines) {
                fprintf(stderr, "x86-system-diff: %s\n", error_message(err));
            }
            error_free(err);
            if (g) {
                Side *s = &f->side[n++];
                *s = (Side){.name = engine_list[k].name, .g = g, .walk = engine_list[k].walk};
                if (g->accel->icount.on) {
                    s->loop = loop_new("timers", g->clocks, NULL);
                    timer_init(&s->wake, s->loop, CLOCK_VIRTUAL, on_wake, g->cpu);
                    timer_init(&s->nothing, s->loop, CLOCK_VIRTUAL, on_nothing, s);
                }
            }
        }
    }
    for (unsigned i = 0; i < n; i++) {
        fz_limit_features(&f->side[i].g->cpu->config);
        for (unsigned m = 0; m < MODES; m++) {
            prepare_mode(&f->side[i], m);
        }
    }
    return n == 2;
}

static bool parse(Fuzz *f, int argc, char **argv)
{
    g_autofree char *seed = NULL, *first = NULL;
    gboolean tap = FALSE;
    const GOptionEntry entries[] = {
        {"seed", 's', 0, G_OPTION_ARG_STRING, &seed, "seed of the whole run [1]", "N"},
        {"first", 0, 0, G_OPTION_ARG_STRING, &first, "number of the first round [0]", "N"},
        {"rounds", 0, 0, G_OPTION_ARG_INT64, &f->rounds, "rounds to run", "N"},
        {"count", 'c', 0, G_OPTION_ARG_DOUBLE, &f->million, "millions of instructions [0.3]", "N"},
        {"insns", 'i', 0, G_OPTION_ARG_INT, &f->insns, "instructions of a sequence [24]", "N"},
        {"repeat", 'r', 0, G_OPTION_ARG_INT, &f->repeat, "runs of each case [2]", "N"},
        {"only", 'o', 0, G_OPTION_ARG_STRING, &f->only, "only these instructions", "MNEMONIC[*]"},
        {"mode", 'm', 0, G_OPTION_ARG_STRING, &f->only_mode,
         "real prot16 prot32 paged32 user32 v86 long user64 compat", "MODE"},
        {"engines", 'e', 0, G_OPTION_ARG_STRING, &f->engines,
         "two of interp,jit,single (interp, an instruction at a time),walk (the same without a "
         "TLB)",
         "LIST"},
        {"icount", 0, 0, G_OPTION_ARG_NONE, &f->icount,
         "with -icount: instructions are counted, and compared", NULL},
        {"watch", 'w', 0, G_OPTION_ARG_NONE, &f->watch,
         "the second engine stops at accesses to data, as for a debugger", NULL},
        {"failures", 'f', 0, G_OPTION_ARG_INT, &f->max_failures, "stop after so many [1]", "N"},
        {"verbose", 'v', 0, G_OPTION_ARG_NONE, &f->verbose, "print progress", NULL},
        {"tap", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_NONE, &tap, "", NULL},
        {NULL}};
    g_autoptr(GOptionContext) c = g_option_context_new("- compare engines in all modes");
    g_autoptr(GError) err = NULL;
    g_option_context_add_main_entries(c, entries, NULL);
    if (!g_option_context_parse(c, &argc, &argv, &err) || argc > 1) {
        fprintf(stderr, "x86-system-diff: %s\n",
                err ? err->message : "arguments without a meaning");
        return false;
    }
    f->seed = seed ? strtoull(seed, NULL, 0) : 1;
    f->first = first ? strtoull(first, NULL, 0) : 0;
    bool mode = !f->only_mode;
    for (unsigned i = 0; i < MODES; i++) {
        mode = mode || !strcmp(f->only_mode, modes[i].name);
    }
    if (f->insns < 1 || f->insns > 64 || f->repeat < 1 || !mode) {
        fprintf(stderr, "x86-system-diff: --insns is 1 to 64, --repeat at least 1, --mode known\n");
        return false;
    }
    return true;
}

static void run_rounds(Fuzz *f)
{
    int64_t start = g_get_monotonic_time(), told = start;
    for (f->round = f->first; (int)f->failures < f->max_failures; f->round++) {
        if (f->rounds ? f->round - f->first >= (uint64_t)f->rounds
                      : (double)f->insns_done >= f->million * 1e6) {
            break;
        }
        if (!one_round(f)) {
            f->failures++;
            break;
        }
        if (f->verbose && g_get_monotonic_time() - told > 10000000) {
            told = g_get_monotonic_time();
            printf("# %.1f million instructions, round %lu, %.0f s\n", (double)f->insns_done / 1e6,
                   (unsigned long)f->round, (double)(told - start) / 1e6);
        }
    }
    if (f->watch) {
        printf("# %lu stops at watchpoints\n", (unsigned long)f->side[1].stops);
    }
    printf("# %lu interrupts\n", (unsigned long)f->side[1].nmis);
    printf("# %lu instructions in %lu cases with %lu exceptions, %lu endless, %lu undefined: "
           "%u differences, %.1f s\n",
           (unsigned long)f->insns_done, (unsigned long)f->cases, (unsigned long)f->events,
           (unsigned long)f->hung, (unsigned long)f->undefined, f->failures,
           (double)(g_get_monotonic_time() - start) / 1e6);
}

int main(int argc, char **argv)
{
    static Fuzz f = {.million = 0.3, .insns = 24, .repeat = 2, .max_failures = 1};
    if (!parse(&f, argc, argv)) {
        return 2;
    }
    if (!start_sides(&f)) {
        printf("1..0 # SKIP no two engines\n");
        return 0;
    }
    for (unsigned m = 0; m < MODES; m++) {
        GenOptions o = {.features = f.side[0].g->cpu->config.features,
                        .bits = modes[m].bits,
                        .protected_mode = m != GUEST_REAL && modes[m].mode != GUEST_V86,
                        .ring0_paged = ring0_paged(m),
                        /* NMIs to one side alone fill its TLB, too */
                        .no_stale = f.side[0].walk || f.side[1].walk ||
                                    (ring0_paged(m) && modes[m].bits == 64),
                        .at = {AT_DATA, AT_COUNTER},
                        .allowed = system_allowed,
                        .special = system_unit,
                        .constant = system_constant,
                        .code_changes = system_code_changes,
                        .only = f.only,
                        .insns = (unsigned)f.insns};
        gen_init(&f.gen[m], &o);
    }
    struct itimerval tick = {{0, 20000}, {0, 20000}}, often = {{0, 150}, {0, 150}};
    setvbuf(stdout, NULL, _IOLBF, 0);
    watch.f = &f;
    watch.limit = 200; /* 4 s of the CPU's time: it hangs */
    signal(SIGPROF, on_tick);
    signal(SIGALRM, on_nmi_tick);
    signal(SIGSEGV, on_crash);
    signal(SIGABRT, on_crash);
    signal(SIGFPE, on_crash);
    signal(SIGILL, on_crash);
    signal(SIGBUS, on_crash);
    setitimer(ITIMER_PROF, &tick, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    printf("1..1\n# x86-system-diff --seed %lu: %s and %s\n", (unsigned long)f.seed, f.side[0].name,
           f.side[1].name);
    run_rounds(&f);
    printf("%sok 1 - x86-system-diff\n", f.failures ? "not " : "");
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned m = 0; m < MODES; m++) {
            g_free(f.side[i].ram[m]);
        }
        if (f.side[i].loop) {
            timer_fini(&f.side[i].wake);
            timer_fini(&f.side[i].nothing);
            loop_free(f.side[i].loop);
        }
        guest_free(f.side[i].g);
    }
    for (unsigned m = 0; m < MODES; m++) {
        gen_fini(&f.gen[m]);
    }
    g_free(f.only);
    g_free(f.only_mode);
    g_free(f.engines);
    return f.failures ? 1 : 0;
}
