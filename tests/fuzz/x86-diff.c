/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x86-diff: random sequences of instructions are executed on the host's CPU and by
 * Rhea's engines from the same state, and all state is compared.  docs/fuzzing.md
 * says how to use it.
 */
#include "tests/fuzz/fuzz-engine.h"
#include "tests/fuzz/fuzz-gen.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* Engines that exist: values of -accel tcg,engine=. */
static const char *const engine_list[] = {"interp", "jit"};

typedef struct Fuzz {
    /* options */
    uint64_t seed, first;
    double million;
    int64_t rounds;
    int insns, repeat, max_failures;
    char *only, *engines;
    gboolean no_native, keep_going, verbose, transcendental, alignment;
    /* the run */
    FzBatch *b;
    int memfd;
    pid_t native;
    int request, answer;
    Engine *engine[4];
    unsigned n_engines;
    Gen gen;
    FzResult *reference, *got; /* scratch */
    uint64_t insns_done, cases, events, round;
    unsigned failures;
} Fuzz;

/* For signal handlers: the CPU that runs, and since how many ticks. */
static struct {
    CPUX86 *cpu;
    volatile uint64_t number;
    uint64_t seen;
    unsigned ticks;
    const Fuzz *f;
} watch;

static void on_tick(int sig)
{
    if (watch.seen != watch.number) {
        watch.seen = watch.number;
        watch.ticks = 0;
    } else if (++watch.ticks >= 5 && watch.cpu) {
        cpu_interrupt(watch.cpu, IRQ_EXIT);
    }
}

static void on_crash(int sig)
{
    char text[200];
    int n = snprintf(text, sizeof(text),
                     "x86-diff: signal %d in round %llu: --seed %llu --first %llu --rounds 1\n",
                     sig, (unsigned long long)watch.f->round, (unsigned long long)watch.f->seed,
                     (unsigned long long)watch.f->round);
    if (write(2, text, (size_t)n) != n) {
        _exit(3);
    }
    signal(sig, SIG_DFL);
    raise(sig);
}

/* ---- the host's CPU ---- */

static bool start_native(Fuzz *f)
{
    int request[2], answer[2];
    char a[3][16];
    g_autofree char *dir = g_path_get_dirname("/proc/self/exe");
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_free(dir);
    dir = g_path_get_dirname(self ? self : ".");
    g_autofree char *path = g_build_filename(dir, "x86-native", NULL);
    if (pipe(request) || pipe(answer)) {
        return false;
    }
    f->native = fork();
    if (f->native < 0) {
        return false;
    }
    if (!f->native) {
        close(request[1]);
        close(answer[0]);
        snprintf(a[0], sizeof(a[0]), "%d", f->memfd);
        snprintf(a[1], sizeof(a[1]), "%d", request[0]);
        snprintf(a[2], sizeof(a[2]), "%d", answer[1]);
        execl(path, path, a[0], a[1], a[2], (char *)NULL);
        perror(path);
        _exit(1);
    }
    close(request[0]);
    close(answer[1]);
    f->request = request[1];
    f->answer = answer[0];
    return true;
}

static void stop_native(Fuzz *f)
{
    if (f->native > 0) {
        kill(f->native, SIGKILL);
        waitpid(f->native, NULL, 0);
        close(f->request);
        close(f->answer);
        f->native = 0;
    }
}

static void print_code(const Fuzz *f, const FzSeq *s)
{
    for (unsigned i = 0; i + 1 < s->n; i++) {
        const uint8_t *code = f->b->code + (s->start - FZ_CODE) + s->starts[i];
        unsigned len = (unsigned)(s->starts[i + 1] - s->starts[i]);
        if (code[0] == 0x90 && code[len - 1] == 0x90) {
            continue;
        }
        DecodedInsn in;
        char text[160] = "?";
        if (gen_decode(&f->gen.opt, code, len, &in)) {
            x86_decode_print(&in, s->start + s->starts[i], text, sizeof(text));
        }
        printf("  %lx:", (unsigned long)(s->start + s->starts[i]));
        for (unsigned b = 0; b < len; b++) {
            printf(" %02x", code[b]);
        }
        printf("%*s %s\n", len < 12 ? (int)(12 - len) * 3 : 1, "", text);
    }
}

/* false: the process died or hung, as a stray access of the tested code can make it. */
static bool run_native(Fuzz *f)
{
    char byte = 0;
    if (f->no_native) {
        return true;
    }
    if (!f->native && !start_native(f)) {
        return false;
    }
    struct pollfd p = {.fd = f->answer, .events = POLLIN};
    int n = -1;
    if (write(f->request, &byte, 1) == 1) {
        int64_t end = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
        do {
            n = poll(&p, 1, 10000);
        } while (n < 0 && errno == EINTR && g_get_monotonic_time() < end);
    }
    if (n == 1 && read(f->answer, &byte, 1) == 1) {
        return true;
    }
    printf("# round %lu: the native process was lost in case %u\n", (unsigned long)f->round,
           f->b->now);
    if (f->b->now < FZ_CASES && f->verbose) {
        print_code(f, &f->b->seq[f->b->cases[f->b->now].seq]);
    }
    stop_native(f);
    return false;
}

/* ---- comparing ---- */

static uint64_t undefined_at(const FzSeq *s, uint64_t rip)
{
    for (unsigned i = 0; i < s->n; i++) {
        if (s->start + s->starts[i] == rip) {
            return s->undefined[i];
        }
    }
    return rip < s->start || rip >= s->end ? 0xffff & FZ_ARITH : 0;
}

static uint32_t event_error(const FzEvent *e)
{
    /* Linux says of addresses that are not user mode's that they are protected, as it must. */
    bool kernel = e->vector == 14 && e->addr >= 0x7ffffffff000;
    return e->error | (kernel ? 1 : 0);
}

static bool same_event(const FzSeq *s, const FzEvent *a, const FzEvent *b)
{
    uint64_t ignore = undefined_at(s, a->rip) | FLAG_RF;
    return a->vector == b->vector && a->rip == b->rip && a->addr == b->addr &&
           event_error(a) == event_error(b) && !((a->rflags ^ b->rflags) & ~ignore);
}

/* What chips keep differently: C1, pointers to the last instruction, reserved bytes. */
static void blank_state(uint8_t *x)
{
    x[3] &= (uint8_t)~2; /* C1 */
    memset(x + 5, 0, 19);
    memset(x + 28, 0, 4);
    for (unsigned i = 0; i < 8; i++) {
        memset(x + 42 + 16 * i, 0, 6);
    }
    memset(x + 416, 0, 160);
}

static bool same(const FzSeq *s, FzResult *a, FzResult *b)
{
    blank_state(a->state.xsave);
    blank_state(b->state.xsave);
    if (a->n_events != b->n_events) {
        return false;
    }
    for (unsigned i = 0; i < a->n_events; i++) {
        if (!same_event(s, &a->events[i], &b->events[i])) {
            return false;
        }
    }
    if (a->n_events == FZ_EVENTS) { /* perhaps between a state image and its correction */
        memset(a->mem.area + FZ_SAVE, 0, FZ_AREA_SIZE - FZ_SAVE);
        memset(b->mem.area + FZ_SAVE, 0, FZ_AREA_SIZE - FZ_SAVE);
    }
    return !memcmp(a->state.gpr, b->state.gpr, sizeof(a->state.gpr)) &&
           a->state.gs_base == b->state.gs_base &&
           !memcmp(a->state.xsave, b->state.xsave, FZ_XSAVE_SIZE) &&
           !memcmp(&a->mem, &b->mem, sizeof(a->mem));
}

/* ---- reporting ---- */

static void print_pair(const char *what, unsigned n, uint64_t in, uint64_t a, uint64_t b)
{
    if (a != b) {
        printf("  %s%u: before %016lx, %016lx, %016lx\n", what, n, (unsigned long)in,
               (unsigned long)a, (unsigned long)b);
    }
}

static void print_bytes(const char *what, const uint8_t *in, const uint8_t *a, const uint8_t *b,
                        unsigned n)
{
    unsigned shown = 0;
    for (unsigned i = 0; i < n && shown < 12; i += 8) {
        if (memcmp(a + i, b + i, 8)) {
            uint64_t v[3];
            memcpy(&v[0], in + i, 8);
            memcpy(&v[1], a + i, 8);
            memcpy(&v[2], b + i, 8);
            printf("  %s+%03x: before %016lx, %016lx, %016lx\n", what, i, (unsigned long)v[0],
                   (unsigned long)v[1], (unsigned long)v[2]);
            shown++;
        }
    }
}

static void print_events(const FzSeq *s, const FzResult *a, const FzResult *b)
{
    for (unsigned i = 0; i < a->n_events || i < b->n_events; i++) {
        const FzEvent *e[2] = {&a->events[i], &b->events[i]};
        if (i < a->n_events && i < b->n_events && same_event(s, e[0], e[1])) {
            continue;
        }
        for (unsigned k = 0; k < 2; k++) {
            if (i < (k ? b : a)->n_events) {
                printf("  event %u %s: vector %d error %x at %lx address %lx flags %lx\n", i,
                       k ? "there" : "here ", (int)e[k]->vector, e[k]->error,
                       (unsigned long)e[k]->rip, (unsigned long)e[k]->addr,
                       (unsigned long)e[k]->rflags);
            }
        }
        break;
    }
}

static void print_state(const FzState *s)
{
    for (unsigned i = 0; i < 16; i++) {
        printf("%s%-3u %016lx", i % 4 ? "  " : "\n  r", i, (unsigned long)s->gpr[i]);
    }
    uint16_t cw, sw;
    uint32_t mxcsr;
    memcpy(&cw, s->xsave, 2);
    memcpy(&sw, s->xsave + 2, 2);
    memcpy(&mxcsr, s->xsave + 24, 4);
    printf("\n  flags %lx mxcsr %x cw %x sw %x tags %x\n", (unsigned long)s->rflags, mxcsr, cw, sw,
           s->xsave[4]);
}

static void print_difference(const Fuzz *f, const FzCase *c, const FzResult *a, const FzResult *b)
{
    const FzSeq *s = &f->b->seq[c->seq];
    print_code(f, s);
    print_state(&c->in);
    print_events(s, a, b);
    for (unsigned i = 0; i < 16; i++) {
        print_pair("r", i, c->in.gpr[i], a->state.gpr[i], b->state.gpr[i]);
    }
    print_pair("gs.base", 0, c->in.gs_base, a->state.gs_base, b->state.gs_base);
    print_bytes("xsave", c->in.xsave, a->state.xsave, b->state.xsave, FZ_XSAVE_SIZE);
    const FzMemory *m = &f->b->pool[c->pool];
    print_bytes("rw", m->rw, a->mem.rw, b->mem.rw, FZ_RW_SIZE);
    print_bytes("area", m->area, a->mem.area, b->mem.area, FZ_AREA_SIZE);
}

/* ---- rounds ---- */

static void run_engine(Fuzz *f, Engine *e, const FzCase *c, FzResult *r)
{
    watch.cpu = e->h->cpu;
    watch.number++;
    engine_run(e, f->b, c, r);
    watch.cpu = NULL;
}

/* Runs case c everywhere again; true: engine `n` still differs from the reference. */
static bool differs(Fuzz *f, FzCase *c, unsigned n)
{
    f->b->cases[0] = *c;
    f->b->n_cases = 1;
    if (!run_native(f)) {
        return false;
    }
    *f->reference = f->b->cases[0].native;
    /* A block may be translated only after it has run a few times. */
    for (int i = 0; i < f->repeat + 1; i++) {
        if (f->no_native) {
            if (i == 0) {
                engine_load(f->engine[0], f->b);
            }
            run_engine(f, f->engine[0], c, f->reference);
        }
        if (i == 0) {
            engine_load(f->engine[n], f->b);
        }
        run_engine(f, f->engine[n], c, f->got);
        if (!same(&f->b->seq[c->seq], f->reference, f->got)) {
            return true;
        }
    }
    return false;
}

/* Units are replaced by NOPs as long as the difference stays. */
static void minimise(Fuzz *f, FzCase *c, unsigned n)
{
    FzSeq *s = &f->b->seq[c->seq];
    uint64_t slot = FZ_CODE + (uint64_t)c->seq * FZ_SLOT;
    uint8_t *code = f->b->code + (uint64_t)c->seq * FZ_SLOT;
    g_autofree uint8_t *before = g_malloc(FZ_SLOT);
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned u = s->unit[s->n - 1] + 1u; u-- > 0;) {
            memcpy(before, code, FZ_SLOT);
            if (gen_blank_unit(s, code, slot, u) && !differs(f, c, n)) {
                memcpy(code, before, FZ_SLOT);
            }
        }
    }
}

static void report(Fuzz *f, unsigned number, unsigned n)
{
    FzCase c = f->b->cases[number];
    FzCase first = f->b->cases[0];
    f->failures++;
    printf("DIFFERENCE: %s and %s: --seed %lu --first %lu --rounds 1 (case %u)\n",
           f->no_native ? f->engine[0]->name : "native", f->engine[n]->name, (unsigned long)f->seed,
           (unsigned long)f->round, number);
    uint32_t cases = f->b->n_cases;
    if (differs(f, &c, n)) {
        minimise(f, &c, n);
        differs(f, &c, n);
    } else {
        printf("  (not again when it runs alone)\n");
    }
    print_difference(f, &c, f->reference, f->got);
    fflush(stdout);
    f->b->cases[0] = first;
    f->b->n_cases = cases;
}

static bool make_batch(Fuzz *f)
{
    FzBatch *b = f->b;
    Rng r = {f->seed * 0x9e3779b97f4a7c15 ^ f->round * 0xd1342543de82ef95};
    bool avx = engine_features(f->engine[0])[FEAT_1_ECX] >> 28 & 1;
    for (unsigned i = 0; i < FZ_POOLS; i++) {
        gen_memory(&r, &b->pool[i], avx);
    }
    for (unsigned i = 0; i < FZ_SLOTS; i++) {
        if (!gen_sequence(&f->gen, rng64(&r), &b->seq[i], b->code + i * FZ_SLOT,
                          FZ_CODE + (uint64_t)i * FZ_SLOT)) {
            return false;
        }
    }
    b->n_cases = 0;
    for (int k = 0; k < f->repeat; k++) {
        for (unsigned i = 0; i < FZ_SLOTS; i++) {
            FzCase *c = &b->cases[b->n_cases++];
            c->seq = i;
            c->pool = rng(&r, FZ_POOLS);
            gen_state(&r, &c->in, avx, f->gen.opt.alignment);
            c->in.rip = b->seq[i].start;
        }
    }
    return true;
}

static bool one_round(Fuzz *f)
{
    FzBatch *b = f->b;
    if (!make_batch(f)) {
        fprintf(stderr, "x86-diff: no instruction is called %s\n", f->only);
        return false;
    }
    if (!run_native(f)) {
        return true; /* nothing to compare with */
    }
    for (unsigned n = 0; n < f->n_engines; n++) {
        engine_load(f->engine[n], b);
        fz_set_heat(f->engine[n]->h->accel, f->round & 1 ? 0 : (uint32_t)(f->round >> 1 & 3));
    }
    for (unsigned i = 0; i < b->n_cases; i++) {
        FzCase *c = &b->cases[i];
        const FzSeq *s = &b->seq[c->seq];
        FzResult *reference = f->no_native ? f->reference : &c->native;
        for (unsigned n = 0; n < f->n_engines; n++) {
            bool first = f->no_native && n == 0;
            run_engine(f, f->engine[n], c, first ? reference : f->got);
            if (!first && !same(s, reference, f->got)) {
                report(f, i, n);
                return true;
            }
        }
        f->cases++;
        f->insns_done += s->n_body;
        f->events += reference->n_events - 1;
    }
    return true;
}

/* ---- start ---- */

static bool start_engines(Fuzz *f)
{
    g_auto(GStrv) names = g_strsplit(f->engines ? f->engines : "interp,jit", ",", 4);
    for (unsigned i = 0; names[i]; i++) {
        Error *err = NULL;
        const char *name = NULL;
        for (unsigned k = 0; k < G_N_ELEMENTS(engine_list); k++) {
            name = strcmp(engine_list[k], names[i]) ? name : engine_list[k];
        }
        Engine *e = name ? engine_new(name, &err) : NULL;
        if (!e && !f->engines) {
            error_free(err);
            continue; /* by default, those that there are */
        }
        if (!e) {
            fprintf(stderr, "x86-diff: engine %s: %s\n", names[i],
                    err ? error_message(err) : "there is none such");
            return false;
        }
        f->engine[f->n_engines++] = e;
    }
    return f->n_engines > (f->no_native ? 1 : 0);
}

static bool parse(Fuzz *f, int argc, char **argv)
{
    g_autofree char *seed = NULL, *first = NULL;
    gboolean tap = FALSE;
    const GOptionEntry entries[] = {
        {"seed", 's', 0, G_OPTION_ARG_STRING, &seed, "seed of the whole run [1]", "N"},
        {"first", 0, 0, G_OPTION_ARG_STRING, &first, "number of the first round [0]", "N"},
        {"rounds", 0, 0, G_OPTION_ARG_INT64, &f->rounds, "rounds to run", "N"},
        {"count", 'c', 0, G_OPTION_ARG_DOUBLE, &f->million, "millions of instructions [1]", "N"},
        {"insns", 'i', 0, G_OPTION_ARG_INT, &f->insns, "instructions of a sequence [32]", "N"},
        {"repeat", 'r', 0, G_OPTION_ARG_INT, &f->repeat, "states for each sequence, 1-4 [4]", "N"},
        {"only", 'o', 0, G_OPTION_ARG_STRING, &f->only, "only these instructions", "MNEMONIC[*]"},
        {"engines", 'e', 0, G_OPTION_ARG_STRING, &f->engines, "of interp,jit [all]", "LIST"},
        {"no-native", 0, 0, G_OPTION_ARG_NONE, &f->no_native,
         "compare engines with the first of them", NULL},
        {"transcendental", 0, 0, G_OPTION_ARG_NONE, &f->transcendental,
         "also what chips compute differently", NULL},
        {"alignment", 0, 0, G_OPTION_ARG_NONE, &f->alignment, "also with EFLAGS.AC set", NULL},
        {"failures", 'f', 0, G_OPTION_ARG_INT, &f->max_failures, "stop after so many [1]", "N"},
        {"verbose", 'v', 0, G_OPTION_ARG_NONE, &f->verbose, "print progress", NULL},
        {"tap", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_NONE, &tap, "", NULL},
        {NULL}};
    g_autoptr(GOptionContext) c = g_option_context_new("- compare engines with the host's CPU");
    g_autoptr(GError) err = NULL;
    g_option_context_add_main_entries(c, entries, NULL);
    if (!g_option_context_parse(c, &argc, &argv, &err) || argc > 1) {
        fprintf(stderr, "x86-diff: %s\n", err ? err->message : "arguments without a meaning");
        return false;
    }
    f->seed = seed ? strtoull(seed, NULL, 0) : 1;
    f->first = first ? strtoull(first, NULL, 0) : 0;
    if (f->insns < 1 || f->insns > 64 || f->repeat < 1 || f->repeat > 4) {
        fprintf(stderr, "x86-diff: --insns is 1 to 64, --repeat 1 to 4\n");
        return false;
    }
    return true;
}

static bool make_memory(Fuzz *f)
{
    f->memfd = memfd_create("x86-diff", 0);
    if (f->memfd < 0 || ftruncate(f->memfd, sizeof(FzBatch)) < 0) {
        return false;
    }
    f->b = mmap(NULL, sizeof(FzBatch), PROT_READ | PROT_WRITE, MAP_SHARED, f->memfd, 0);
    if (f->b == MAP_FAILED) {
        return false;
    }
    Rng r = {1};
    for (unsigned i = 0; i < FZ_RO_SIZE; i += 8) {
        uint64_t v = rng64(&r);
        memcpy(f->b->ro + i, &v, 8);
    }
    f->reference = g_new0(FzResult, 1);
    f->got = g_new0(FzResult, 1);
    return true;
}

static void catch_signals(const Fuzz *f)
{
    struct itimerval tick = {{1, 0}, {1, 0}};
    watch.f = f;
    signal(SIGPROF, on_tick);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGSEGV, on_crash);
    signal(SIGABRT, on_crash);
    signal(SIGFPE, on_crash);
    signal(SIGILL, on_crash);
    signal(SIGBUS, on_crash);
    setitimer(ITIMER_PROF, &tick, NULL);
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
            fflush(stdout);
        }
    }
    printf("# %lu instructions in %lu cases with %lu faults and traps: %u differences, %.1f s\n",
           (unsigned long)f->insns_done, (unsigned long)f->cases, (unsigned long)f->events,
           f->failures, (double)(g_get_monotonic_time() - start) / 1e6);
}

int main(int argc, char **argv)
{
    Fuzz f = {.million = 1, .insns = 32, .repeat = 4, .max_failures = 1};
    if (!parse(&f, argc, argv)) {
        return 2;
    }
    if (!make_memory(&f) || !start_engines(&f)) {
        printf("1..0 # SKIP nothing to compare with\n");
        return 0;
    }
    GenOptions o = {.features = engine_features(f.engine[0]),
                    .bits = 64,
                    .protected_mode = true,
                    .at = {FZ_RW, FZ_AREA + FZ_COUNTER},
                    .only = f.only,
                    .insns = (unsigned)f.insns,
                    .alignment = f.alignment,
                    .transcendental = f.transcendental};
    gen_init(&f.gen, &o);
    setvbuf(stdout, NULL, _IOLBF, 0);
    catch_signals(&f);
    printf("1..1\n# x86-diff --seed %lu\n", (unsigned long)f.seed);
    run_rounds(&f);
    printf("%sok 1 - x86-diff\n", f.failures ? "not " : "");
    stop_native(&f);
    gen_fini(&f.gen);
    for (unsigned i = 0; i < f.n_engines; i++) {
        engine_free(f.engine[i]);
    }
    g_free(f.reference);
    g_free(f.got);
    munmap(f.b, sizeof(FzBatch));
    close(f.memfd);
    g_free(f.only);
    g_free(f.engines);
    return f.failures ? 1 : 0;
}
