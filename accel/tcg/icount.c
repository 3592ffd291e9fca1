/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -icount: turns, budgets, and the clock that is made of them. */
#include "accel/tcg/icount.h"

#include <inttypes.h>
#include <time.h>

#define SLICE_INSNS 50000   /* of a CPU, when there are several */
#define SLICE_SPREAD 997    /* slices differ, so that no loop keeps step with them */
#define BUDGET_MAX 10000000 /* instructions until somebody looks at the host's clock */
#define ADJUST_EVERY (100 * NS_PER_MS)
#define WOBBLE (20 * NS_PER_MS) /* shift=auto: how far the two clocks may be apart */
#define ALIGN_MIN (3 * NS_PER_MS)
#define COMPARE_EVERY (10 * NS_PER_MS) /* of the guest's time */
#define SHIFT_MAX 10
#define SHIFT_AUTO_START 3

struct Icount {
    Tcg *tcg;
    ClockSet *clocks;
    IcountConfig cfg;
    pthread_mutex_t lock; /* turns; not held while timers run or a vCPU executes */
    pthread_cond_t cond;
    TcgCpu *turn, *last; /* who executes; who did before */
    unsigned turns;
    uint32_t changes; /* kicks */
    TcgCpu *idler;    /* waits for the next timer on behalf of all */
    /*
     * The clock, read under a sequence lock: virtual time is base_ns at base_insns, and
     * `limit` instructions will have been executed when the turn's icount_left is 0.
     */
    uint32_t seq;
    unsigned shift;
    int64_t base_ns;
    uint64_t base_insns, limit;
    const TcgCpu *counting; /* whose icount_left counts, or NULL */
    /* against the host's clock */
    int64_t start_rt, adjusted_rt;
    bool started;
    int64_t max_late, max_ahead;
};

static int64_t host_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

/* ---- the clock ---- */
static uint64_t count_now(const Icount *ic)
{
    const TcgCpu *tc = __atomic_load_n(&ic->counting, __ATOMIC_RELAXED);
    uint64_t limit = __atomic_load_n(&ic->limit, __ATOMIC_RELAXED);
    return tc ? limit - (uint64_t)__atomic_load_n(&tc->icount_left, __ATOMIC_RELAXED) : limit;
}

static uint32_t read_begin(const Icount *ic)
{
    uint32_t seq;
    while ((seq = __atomic_load_n(&ic->seq, __ATOMIC_ACQUIRE)) & 1) {
        __builtin_ia32_pause();
    }
    return seq;
}

static bool read_retry(const Icount *ic, uint32_t seq)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __atomic_load_n(&ic->seq, __ATOMIC_RELAXED) != seq;
}

/* One writer at a time: who has the turn, or the idler. */
static void write_begin(Icount *ic)
{
    __atomic_store_n(&ic->seq, ic->seq + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

static void write_end(Icount *ic)
{
    __atomic_store_n(&ic->seq, ic->seq + 1, __ATOMIC_RELEASE);
}

static int64_t virtual_now(void *opaque)
{
    const Icount *ic = opaque;
    uint32_t seq;
    int64_t ns;
    do {
        seq = read_begin(ic);
        ns = ic->base_ns + (int64_t)((count_now(ic) - ic->base_insns) << ic->shift);
    } while (read_retry(ic, seq));
    return ns;
}

uint64_t icount_executed(const Icount *ic)
{
    uint32_t seq;
    uint64_t n;
    do {
        seq = read_begin(ic);
        n = count_now(ic);
    } while (read_retry(ic, seq));
    return n;
}

/* Takes what was executed out of the budget; afterwards it is empty. */
static void settle(Icount *ic, TcgCpu *tc)
{
    write_begin(ic);
    ic->limit -= (uint64_t)tc->icount_left;
    tc->icount_slice += tc->icount_left;
    tc->icount_left = 0;
    ic->counting = NULL;
    write_end(ic);
}

static void skip_time(Icount *ic, int64_t ns)
{
    write_begin(ic);
    ic->base_ns += ns;
    write_end(ic);
}

/* ---- the host's clock beside it ---- */
/* shift=auto: fewer or more nanoseconds an instruction, to keep up with the host's clock. */
static void adjust(Icount *ic, int64_t ahead)
{
    unsigned shift = ic->shift;
    if (ahead > WOBBLE && shift > 0) {
        shift--;
    } else if (ahead < -WOBBLE && shift < SHIFT_MAX) {
        shift++;
    }
    if (shift != ic->shift) {
        write_begin(ic);
        ic->base_ns += (int64_t)((ic->limit - ic->base_insns) << ic->shift);
        ic->base_insns = ic->limit;
        ic->shift = shift;
        write_end(ic);
    }
}

/* The budget is settled. */
static void compare_clocks(Icount *ic)
{
    int64_t rt = host_ns();
    if (!ic->cfg.adaptive && !ic->cfg.align) {
        return;
    }
    if (!ic->started) {
        ic->started = true;
        ic->start_rt = rt - virtual_now(ic);
        ic->adjusted_rt = rt;
    }
    int64_t ahead = virtual_now(ic) - (rt - ic->start_rt);
    ic->max_ahead = MAX(ic->max_ahead, ahead);
    ic->max_late = MAX(ic->max_late, -ahead);
    if (ic->cfg.adaptive && rt - ic->adjusted_rt >= ADJUST_EVERY) {
        ic->adjusted_rt = rt;
        adjust(ic, ahead);
    }
    if (ic->cfg.align && ahead > ALIGN_MIN) {
        struct timespec ts = {.tv_sec = ahead / NS_PER_SEC, .tv_nsec = ahead % NS_PER_SEC};
        nanosleep(&ts, NULL);
    }
}

/* ---- turns ---- */
static bool wanted_elsewhere(const TcgCpu *tc)
{
    return __atomic_load_n(&tc->cpu->irq_pending, __ATOMIC_SEQ_CST) & (IRQ_EXIT | IRQ_RESET);
}

static bool stands_still(const TcgCpu *tc)
{
    return __atomic_load_n(&((Vcpu *)tc->cpu->vcpu)->stop, __ATOMIC_SEQ_CST);
}

/* The next CPU after `last` that has something to do. Lock held. */
static TcgCpu *choose(Icount *ic)
{
    Tcg *t = ic->tcg;
    TcgCpu *found = NULL;
    pthread_mutex_lock(&t->cpus_lock);
    unsigned n = t->cpus->len, from = 0;
    for (unsigned i = 0; i < n; i++) {
        from = g_ptr_array_index(t->cpus, i) == ic->last ? i + 1 : from;
    }
    for (unsigned i = 0; i < n && !found; i++) {
        TcgCpu *tc = g_ptr_array_index(t->cpus, (from + i) % n);
        found = tcg_has_work(tc) && !stands_still(tc) ? tc : NULL;
    }
    pthread_mutex_unlock(&t->cpus_lock);
    return found;
}

static void give_turn(Icount *ic, TcgCpu *tc)
{
    ic->turn = tc;
    if (tc) {
        ic->last = tc;
        tc->icount_slice = SLICE_INSNS + ic->turns++ * 61 % SLICE_SPREAD;
        pthread_cond_broadcast(&ic->cond);
    }
}

static void sleep_until(Icount *ic, int64_t rt)
{
    struct timespec ts = {.tv_sec = rt / NS_PER_SEC, .tv_nsec = rt % NS_PER_SEC};
    pthread_cond_timedwait(&ic->cond, &ic->lock, &ts);
}

/*
 * All CPUs wait: until the next timer is due, the host's time passes (or not, with
 * sleep=off), and the guest's with it; then to the nanosecond as if it had. Lock held.
 */
static void idle(Icount *ic, TcgCpu *tc)
{
    ic->idler = tc;
    pthread_mutex_unlock(&ic->lock);
    int64_t deadline = clock_virtual_deadline(ic->clocks), now = virtual_now(ic);
    pthread_mutex_lock(&ic->lock);
    int64_t begin = host_ns(), left = deadline < 0 ? INT64_MAX : deadline - now;
    while (left > 0 && !wanted_elsewhere(tc) && !choose(ic)) {
        if (deadline < 0) {
            pthread_cond_wait(&ic->cond, &ic->lock);
            break; /* a timer may have been set */
        }
        int64_t passed = ic->cfg.sleep ? host_ns() - begin : left;
        if (passed >= left) {
            skip_time(ic, left);
            left = 0;
            break;
        }
        uint32_t changes = ic->changes;
        sleep_until(ic, begin + left);
        if (ic->changes != changes) { /* something from outside: time is as long as it took */
            break;
        }
    }
    if (left > 0 && deadline >= 0 && ic->cfg.sleep) {
        skip_time(ic, MIN(left - 1, host_ns() - begin));
    }
    pthread_mutex_unlock(&ic->lock);
    clock_virtual_run(ic->clocks);
    pthread_mutex_lock(&ic->lock);
    ic->idler = NULL;
    pthread_cond_broadcast(&ic->cond);
}

/* Waits until it is this CPU's turn; false: its thread is wanted elsewhere. */
static bool wait_turn(Icount *ic, TcgCpu *tc)
{
    bool mine = false;
    pthread_mutex_lock(&ic->lock);
    while (!wanted_elsewhere(tc)) {
        if (ic->turn && ic->turn != tc && stands_still(ic->turn)) {
            give_turn(ic, NULL); /* a debugger lets only some CPUs go on */
        }
        if (!ic->turn && !ic->idler) {
            give_turn(ic, choose(ic));
        }
        mine = ic->turn == tc;
        if (mine) {
            break;
        }
        if (!ic->turn && !ic->idler) {
            idle(ic, tc);
        } else {
            pthread_cond_wait(&ic->cond, &ic->lock);
        }
    }
    pthread_mutex_unlock(&ic->lock);
    return mine;
}

static void pass_turn(Icount *ic)
{
    pthread_mutex_lock(&ic->lock);
    give_turn(ic, NULL);
    give_turn(ic, choose(ic));
    pthread_cond_broadcast(&ic->cond);
    pthread_mutex_unlock(&ic->lock);
}

void icount_kick(Icount *ic)
{
    pthread_mutex_lock(&ic->lock);
    ic->changes++;
    pthread_cond_broadcast(&ic->cond);
    pthread_mutex_unlock(&ic->lock);
}

RunExit icount_run(TcgCpu *tc, RunExit (*loop)(TcgCpu *tc))
{
    Icount *ic = tc->tcg->icount;
    while (wait_turn(ic, tc)) {
        tcg_cpu_enter(tc);
        tc->icount_over = false;
        RunExit r = loop(tc);
        settle(ic, tc);
        tcg_cpu_leave(tc);
        if (r == RUN_EXIT_HALTED || tc->icount_over) {
            clock_virtual_run(ic->clocks);
            pass_turn(ic);
        } else if (r != RUN_EXIT_INTERRUPTED || wanted_elsewhere(tc)) {
            return r;
        }
    }
    return RUN_EXIT_INTERRUPTED;
}

/* ---- budgets ---- */
/* Instructions until `deadline`, rounded up; at least one. */
static int64_t insns_until(const Icount *ic, int64_t deadline)
{
    int64_t ns = deadline - virtual_now((void *)ic);
    int64_t one = (int64_t)1 << ic->shift;
    return ns <= 0 ? 1 : ns / one + (ns % one != 0);
}

bool icount_prepare(TcgCpu *tc, bool *again)
{
    Icount *ic = tc->tcg->icount;
    *again = false;
    if (tc->icount_left > 0 && !tc->icount_exact && !tc->icount_yield) {
        return true;
    }
    settle(ic, tc);
    if (tc->icount_yield) {
        tc->icount_slice = 0;
    }
    tc->icount_exact = tc->icount_yield = false;
    *again = clock_virtual_run(ic->clocks);
    if (tc->icount_slice <= 0) {
        tc->icount_slice = SLICE_INSNS;
        if (tc->tcg->cpus->len > 1) {
            tc->icount_over = true;
            return false;
        }
    }
    compare_clocks(ic);
    int64_t budget = tc->tcg->cpus->len > 1 ? tc->icount_slice : BUDGET_MAX;
    if (ic->cfg.adaptive || ic->cfg.align) {
        budget = MIN(budget, COMPARE_EVERY >> ic->shift);
    }
    int64_t deadline = clock_virtual_deadline(ic->clocks);
    if (deadline >= 0) {
        budget = MIN(budget, insns_until(ic, deadline));
    }
    write_begin(ic);
    tc->icount_left = budget;
    tc->icount_slice -= budget;
    ic->limit += (uint64_t)budget;
    ic->counting = tc;
    write_end(ic);
    return true;
}

unsigned icount_insns_before(const Block *b, uint64_t rip)
{
    uint64_t off = rip - b->rip;
    const uint16_t *starts = block_starts(b);
    for (unsigned i = 0; i < b->n_insns; i++) {
        if (starts[i] >= off) {
            return i;
        }
    }
    return b->n_insns;
}

/* ---- life ---- */
Icount *icount_new(Tcg *t, const IcountConfig *cfg)
{
    Icount *ic = g_new0(Icount, 1);
    pthread_condattr_t attr;
    ic->tcg = t;
    ic->clocks = t->accel->clocks;
    ic->cfg = *cfg;
    ic->shift = cfg->adaptive ? SHIFT_AUTO_START : cfg->shift;
    pthread_mutex_init(&ic->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&ic->cond, &attr);
    pthread_condattr_destroy(&attr);
    clock_virtual_source(ic->clocks, virtual_now, ic);
    return ic;
}

void icount_free(Icount *ic)
{
    if (ic) {
        clock_virtual_source(ic->clocks, NULL, NULL);
        pthread_mutex_destroy(&ic->lock);
        pthread_cond_destroy(&ic->cond);
        g_free(ic);
    }
}

void icount_info(const Icount *ic, GString *out)
{
    g_string_append_printf(out, "instructions        %" PRIu64 "\n", icount_executed(ic));
    g_string_append_printf(out, "ns an instruction   %u\n", 1u << ic->shift);
    if (ic->cfg.adaptive || ic->cfg.align) {
        g_string_append_printf(out,
                               "Max guest delay     %"
                               "lld ms\n",
                               ic->max_late / NS_PER_MS);
        g_string_append_printf(out,
                               "Max guest advance   %"
                               "lld ms\n",
                               ic->max_ahead / NS_PER_MS);
    }
}
