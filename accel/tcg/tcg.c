/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine "tcg": creation, the vCPU's run loop, events between blocks.
 *
 * Exceptions unwind by siglongjmp to run_loop(), which delivers them; everything
 * that happens between two instructions (interrupts, SMI, INIT, halts, requests of
 * other threads) is handled in handle_events().
 */
#include "accel/tcg/icount.h"
#include "accel/tcg/internal.h"
#include "accel/tcg/interp.h"
#include "accel/tcg/jit.h"
#include "accel/tcg/perfmap.h"
#include "target/i386/tcg/helper.h"
#include "target/i386/tcg/svm.h"
#include "util/log.h"

#include <inttypes.h>

/* The default: an eighth of the guest's memory beyond a small guest's, in these limits. */
#define TB_SIZE_MIN 16u
#define TB_SIZE_AUTO 512u
#define TB_SIZE_SMALL (128 * MiB)
/* So often a block is interpreted before it is translated. */
#define HEAT_LIMIT 16u
#define TB_SIZE_MAX 2047u

typedef enum TcgEngine { ENGINE_INTERP, ENGINE_JIT } TcgEngine;
typedef enum TcgThread { THREAD_MULTI, THREAD_SINGLE } TcgThread;
static const char *const engine_names[] = {"interp", "jit", NULL};
static const char *const thread_names[] = {"multi", "single", NULL};

typedef struct TcgAccel {
    Accel parent;
    int thread, engine;
    uint32_t tb_size, heat;
    bool one_insn, split_wx;
} TcgAccel;

/* ---- events ---- */

static bool is_bsp(const CPUX86 *cpu)
{
    if (cpu->apic_ops && cpu->apic_ops->get_base) {
        return cpu->apic_ops->get_base(cpu->apic) >> 8 & 1;
    }
    return cpu->index == 0;
}

static bool deliver(CPUX86 *cpu, EventKind kind, int vector)
{
    return x86_deliver(cpu, kind, vector, false, 0, cpu->rip);
}

static void take_init(CPUX86 *cpu)
{
    cpu_init_signal(cpu, is_bsp(cpu));
    mmu_flush(cpu);
    mmu_context_changed(cpu);
}

static void rest_for_exclusive(TcgCpu *tc)
{
    tcg_cpu_leave(tc);
    tcg_cpu_enter(tc);
}

/* Requests of other threads; nothing architectural. */
static void handle_requests(TcgCpu *tc, uint32_t irq)
{
    CPUX86 *cpu = tc->cpu;
    if (irq & IRQ_TLB_FLUSH) {
        cpu_interrupt_clear(cpu, IRQ_TLB_FLUSH);
        tcg_memory_changed(tc);
        mmu_context_changed(cpu);
    }
    if (irq & IRQ_POLL) {
        cpu_interrupt_clear(cpu, IRQ_POLL);
        rest_for_exclusive(tc);
    }
}

/* The most important event that can be served now (SDM vol. 3, 6.9). false: triple fault. */
static bool serve_event(CPUX86 *cpu, uint32_t irq)
{
    if ((cpu->hflags & HF_SVM_GUEST) && svm_event(cpu, irq)) {
        return true;
    }
    if (irq & IRQ_MCE) {
        cpu_interrupt_clear(cpu, IRQ_MCE);
        bool shutdown = cpu->mce_again || !(cpu->cr4 & CR4_MCE);
        cpu->mce_again = false;
        return !shutdown && deliver(cpu, EVENT_EXCEPTION, EXC_MC);
    }
    if (irq & IRQ_SMI) {
        cpu_interrupt_clear(cpu, IRQ_SMI);
        cpu->halted = false;
        x86_enter_smm(cpu);
    } else if (irq & IRQ_INIT) {
        cpu_interrupt_clear(cpu, IRQ_INIT);
        take_init(cpu);
    } else if (irq & IRQ_SIPI) {
        cpu_interrupt_clear(cpu, IRQ_SIPI);
        cpu_sipi(cpu, cpu->sipi_vector);
        mmu_flush(cpu);
        mmu_context_changed(cpu);
    } else if (irq & IRQ_NMI) {
        cpu_interrupt_clear(cpu, IRQ_NMI);
        cpu->nmi_masked = true;
        return deliver(cpu, EVENT_EXTERNAL, EXC_NMI);
    } else if (irq & IRQ_HARD) {
        int vector = cpu->apic_ops ? cpu->apic_ops->ack_interrupt(cpu->apic) : -1;
        if (vector < 0) {
            if (!cpu->apic_ops) {
                cpu_interrupt_clear(cpu, IRQ_HARD);
            }
            return true;
        }
        return deliver(cpu, EVENT_EXTERNAL, vector);
    } else if (irq & IRQ_VIRT) {
        return svm_deliver_virtual(cpu);
    }
    return true;
}

#define IRQ_ARCHITECTURAL (IRQ_VIRT | IRQ_HARD | IRQ_NMI | IRQ_SMI | IRQ_INIT | IRQ_SIPI | IRQ_MCE)

static uint32_t serviceable(CPUX86 *cpu)
{
    uint32_t irq = __atomic_load_n(&cpu->irq_pending, __ATOMIC_SEQ_CST);
    if ((irq & (IRQ_SIPI | IRQ_INIT)) == IRQ_SIPI && !cpu->wait_for_sipi) {
        cpu_interrupt_clear(cpu, IRQ_SIPI); /* nobody waited for it: lost, as on the chip */
    }
    irq &= tcg_irq_mask(cpu);
    const TcgCpu *tc = tcg_cpu(cpu);
    if (tc->stepping && !((Vcpu *)cpu->vcpu)->step_irqs && !cpu->halted) {
        irq &= ~(uint32_t)(IRQ_HARD | IRQ_NMI | IRQ_SMI | IRQ_MCE);
    }
    if (cpu->wait_for_sipi) {
        irq &= ~(uint32_t)(IRQ_HARD | IRQ_NMI | IRQ_SMI | IRQ_MCE);
    }
    return irq;
}

/* An instruction or the delivery of an event is done, which is what a debugger's step is. */
static void note_step(TcgCpu *tc)
{
    if (tc->stepping) {
        tcg_note_stop(tc, DEBUG_STOP_STEP, NULL, 0);
        tc->hit = true;
    }
}

bool tcg_has_work(TcgCpu *tc)
{
    const CPUX86 *cpu = tc->cpu;
    uint32_t irq = __atomic_load_n(&cpu->irq_pending, __ATOMIC_SEQ_CST);
    if (!cpu->halted && !cpu->wait_for_sipi) {
        return true;
    }
    irq &= tcg_irq_mask(cpu);
    return irq & (cpu->wait_for_sipi ? IRQ_SIPI | IRQ_INIT : IRQ_ARCHITECTURAL);
}

/* true: go on executing; else *exit says why not. */
static bool handle_events(TcgCpu *tc, RunExit *exit)
{
    CPUX86 *cpu = tc->cpu;
    for (;;) {
        uint32_t irq = serviceable(cpu);
        handle_requests(tc, irq);
        if (irq & (IRQ_EXIT | IRQ_RESET)) {
            *exit = RUN_EXIT_INTERRUPTED;
            return false;
        }
        if (tc->hit) {
            *exit = RUN_EXIT_DEBUG;
            return false;
        }
        if (!(irq & IRQ_ARCHITECTURAL)) {
            break;
        }
        tc->no_retry = true;
        bool ok = serve_event(cpu, irq);
        tc->no_retry = false;
        if (!ok) {
            *exit = RUN_EXIT_SHUTDOWN;
            return false;
        }
        note_step(tc);
    }
    *exit = RUN_EXIT_HALTED;
    return !cpu->halted && !cpu->wait_for_sipi;
}

/* ---- the run loop ---- */

/* One instruction with EFLAGS.TF or breakpoints enabled. */
static void step(CPUX86 *cpu, Block *b)
{
    TcgCpu *tc = tcg_cpu(cpu);
    bool trap = cpu->rflags & FLAG_TF, resumed = cpu->rflags & FLAG_RF;
    if (b->flags & HF_CODE_BP) {
        x86_check_code_bp(cpu, b->cs_base + cpu->rip);
    }
    tc->no_step = false;
    uint64_t before = cpu->rip;
    cpu_interrupt(cpu, IRQ_POLL); /* back here after the instruction */
    tcg_interpret(cpu, b);
    /* A REP prefix repeats under RF; IRET may just have loaded it for the next instruction. */
    if (resumed && cpu->rip != before) {
        cpu->rflags &= ~(uint64_t)FLAG_RF;
    }
    tcg_debug_update(tc);
    note_step(tc);
    if (!tc->no_step) {
        x86_single_step(cpu, trap);
    }
}

/* A breakpoint at the block's start; a step goes past it. */
static bool stop_at(TcgCpu *tc, const Block *b)
{
    if (!(b->flags & BLOCK_BREAK) || tc->stepping) {
        return false;
    }
    uint64_t linear = b->cs_base + tc->cpu->rip;
    DebugPoint p = {.kind = DEBUG_EXEC, .addr = linear, .len = 1};
    tcg_note_stop(tc, DEBUG_STOP_POINT, &p, linear);
    return true;
}

/* What was raised to the run loop. false: triple fault. */
static bool take_exception(TcgCpu *tc)
{
    CPUX86 *cpu = tc->cpu;
    while (tc->excl_depth) {
        mmu_exclusive_end(cpu);
    }
    tcg_cancel_translation(tc);
    if (tc->icount_on) {
        /* An exception is worth an instruction: nobody lives on exceptions outside of time. */
        if (tc->current) {
            icount_leave(tc, icount_insns_before(tc->current, cpu->rip - *ir_reg(cpu, IR_PC)));
        }
        tc->icount_left -= cpu->exception_vector != TCG_RETRY;
    }
    tc->leave = false;
    tc->no_retry = false;
    tc->current = NULL;
    tc->jit_ret = 0;
    tcg_debug_update(tc);
    if (cpu->exception_vector == TCG_RETRY) {
        cpu->exception_vector = -1;
        tc->debug_flags |= BLOCK_ALONE;
        return true;
    }
    note_step(tc);
    if (cpu->exception_vector == SVM_EXIT) {
        svm_leave_guest(cpu);
        return true;
    }
    if (cpu->exception_vector == SVM_INJECT) {
        return svm_inject(cpu);
    }
    return x86_deliver(cpu, EVENT_EXCEPTION, cpu->exception_vector, cpu->exception_has_error,
                       cpu->exception_error, cpu->rip);
}

/* Is there something that run_loop() must look at? */
static bool wanted(CPUX86 *cpu)
{
    /* First forget, then look: a request in between sets it again. */
    __atomic_store_n(&cpu->attention, 0, __ATOMIC_SEQ_CST);
    tcg_stack_drop(tcg_cpu(cpu));
    return (__atomic_load_n(&cpu->irq_pending, __ATOMIC_SEQ_CST) & tcg_irq_mask(cpu)) ||
           cpu->halted || cpu->wait_for_sipi;
}

/* From `b` on, translated or interpreted, until the run loop is needed. */
static void execute(TcgCpu *tc, Block *b)
{
    CPUX86 *cpu = tc->cpu;
    Tcg *t = tc->tcg;
    if (!t->jit) {
        tcg_interpret(cpu, b);
        return;
    }
    Block *from = NULL;
    unsigned slot = 0;
    uint64_t seq = t->n_flushes;
    do {
        bool native = !(log_mask & (LOG_EXEC | LOG_CPU)) && tcg_heat_block(cpu, b);
        if (t->n_flushes != seq) {
            return; /* b is gone */
        }
        if (native) {
            if (from) {
                tcg_link(t, from, slot, b, seq);
            }
            from = jit_run(t->jit, cpu, b, &slot);
        } else {
            from = NULL;
            (void)block_heat(b);
            tcg_interpret(cpu, b);
        }
        if (wanted(cpu)) {
            return;
        }
        seq = t->n_flushes;
        b = tcg_next_block(cpu);
        if (tc->icount_on && tc->icount_left < b->n_insns) {
            return; /* the end of the budget */
        }
    } while (!(b->flags & BLOCK_STEP));
}

static RunExit run_loop(TcgCpu *tc)
{
    CPUX86 *cpu = tc->cpu;
    sigjmp_buf env;
    RunExit exit;
    cpu->unwind = tc->run_env = &env;
    if (sigsetjmp(env, 0) && !take_exception(tc)) {
        return RUN_EXIT_SHUTDOWN;
    }
    while (handle_events(tc, &exit)) {
        bool again;
        if (tc->icount_on && (!icount_prepare(tc, &again) || again)) {
            if (tc->icount_over) {
                return RUN_EXIT_INTERRUPTED;
            }
            continue;
        }
        tc->no_stack = false;
        Block *b = tcg_next_block(cpu);
        if (tc->icount_on && tc->icount_left < b->n_insns) {
            tc->debug_flags |= BLOCK_ALONE; /* up to the end of the budget one by one */
            b = tcg_find_block(cpu);
        }
        if (b->flags & BLOCK_STEP) {
            if (stop_at(tc, b)) {
                return RUN_EXIT_DEBUG;
            }
            step(cpu, b);
        } else {
            execute(tc, b);
        }
    }
    return exit;
}

static RunExit tcg_run(Vcpu *v)
{
    TcgCpu *tc = tcg_cpu(&v->cpu);
    /* Somebody (reset, a loaded snapshot, gdb) may have changed the state meanwhile. */
    if (tc->run_cr3 != v->cpu.cr3) {
        mmu_flush(&v->cpu);
    }
    mmu_context_changed(&v->cpu);
    tc->stepping = v->step;
    tc->hit = false;
    tcg_debug_update(tc);
    RunExit r;
    if (tc->icount_on) {
        r = icount_run(tc, run_loop);
    } else {
        tcg_cpu_enter(tc);
        r = run_loop(tc);
        tcg_cpu_leave(tc);
    }
    tcg_stack_drop(tc);
    v->cpu.unwind = NULL;
    tc->run_cr3 = v->cpu.cr3;
    return r;
}

/* The state was loaded from elsewhere: nothing that was cached holds. */
static bool tcg_sync_in(Vcpu *v, Error **errp)
{
    if (v->cpu.engine) {
        mmu_flush(&v->cpu);
        mmu_context_changed(&v->cpu);
    }
    return true;
}

/* ---- memory listener ---- */

static Tcg *listener_tcg(MemoryListener *l)
{
    return container_of(l, Tcg, listener);
}

static void map_changed(MemoryListener *l)
{
    Tcg *t = listener_tcg(l);
    __atomic_fetch_add(&t->map_seq, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_lock(&t->cpus_lock);
    for (unsigned i = 0; i < t->cpus->len; i++) {
        TcgCpu *tc = g_ptr_array_index(t->cpus, i);
        cpu_interrupt(tc->cpu, IRQ_TLB_FLUSH);
    }
    pthread_mutex_unlock(&t->cpus_lock);
}

static void page_cleaned(MemoryListener *l, RamBlock *b, uint64_t offset, uint64_t len)
{
    Tcg *t = listener_tcg(l);
    if (b->engine) {
        pthread_mutex_lock(&t->cpus_lock);
        tcg_protect_ram(t, b, offset, len);
        pthread_mutex_unlock(&t->cpus_lock);
    }
}

static void code_written(MemoryListener *l, RamBlock *b, uint64_t offset, uint64_t len)
{
    if (b->engine) {
        tcg_invalidate_range(listener_tcg(l), b, offset, len, NULL, true);
    }
}

/* ---- life ---- */

static bool check_options(const TcgAccel *a, Error **errp)
{
    if (a->engine == ENGINE_JIT && !jit_available()) {
        error_set(errp, "engine=jit needs an x86-64 host");
        error_hint(errp, "use engine=interp");
        return false;
    }
    if (a->thread == THREAD_SINGLE) {
        error_set(errp, "thread=single is not supported: every CPU has its own thread");
        error_hint(errp, "use thread=multi");
        return false;
    }
    if (!a->split_wx) {
        error_set(errp, "split-wx=off is not supported: translated code is never "
                        "writable where it is executable");
        return false;
    }
    if (a->parent.perfmap && a->engine != ENGINE_JIT) {
        error_set(errp, "-perfmap needs engine=jit; the interpreter makes no code");
        return false;
    }
    if (a->tb_size > TB_SIZE_MAX) {
        error_set(errp, "tb-size=%u is more than %u MiB", a->tb_size, TB_SIZE_MAX);
        return false;
    }
    return true;
}

static bool tcg_create(Accel *accel, MemorySystem *mem, Error **errp)
{
    TcgAccel *a = (TcgAccel *)accel;
    if (!check_options(a, errp)) {
        return false;
    }
    if (!a->tb_size) { /* larger guests run larger programs */
        uint64_t beyond = accel->ram_size - MIN(accel->ram_size, TB_SIZE_SMALL);
        a->tb_size = (uint32_t)CLAMP(beyond / (8 * MiB), TB_SIZE_MIN, TB_SIZE_AUTO);
    }
    PerfMap *perfmap = NULL;
    if (accel->perfmap && !(perfmap = perfmap_open(errp))) {
        return false;
    }
    Tcg *t = g_new0(Tcg, 1);
    t->perfmap = perfmap;
    t->accel = accel;
    pthread_mutex_init(&t->lock, NULL);
    pthread_mutex_init(&t->cpus_lock, NULL);
    pthread_mutex_init(&t->excl_lock, NULL);
    pthread_cond_init(&t->excl_cond, NULL);
    t->cpus = g_ptr_array_new();
    t->one_insn = a->one_insn;
    if (!tcg_cache_init(t, (size_t)a->tb_size * MiB, errp)) {
        g_ptr_array_unref(t->cpus);
        perfmap_close(t->perfmap);
        g_free(t);
        return false;
    }
    t->heat_limit = UINT32_MAX;
    if (a->engine == ENGINE_JIT) {
        t->heat_limit = a->heat;
        t->jit = jit_new((size_t)a->tb_size * MiB, accel->icount.on, errp);
        if (!t->jit) {
            tcg_cache_fini(t);
            g_ptr_array_unref(t->cpus);
            g_free(t);
            return false;
        }
    }
    accel->data = t;
    accel->mem = mem;
    if (accel->icount.on) {
        t->icount = icount_new(t, &accel->icount);
    }
    t->listener = (MemoryListener){
        .name = "tcg", .commit = map_changed, .clean = page_cleaned, .code_written = code_written};
    memory_listener_add(mem, &t->listener);
    return true;
}

static void tcg_destroy(Accel *accel)
{
    Tcg *t = accel->data;
    if (!t) {
        return;
    }
    g_assert(t->cpus->len == 0);
    memory_listener_del(accel->mem, &t->listener);
    tcg_cache_fini(t);
    icount_free(t->icount);
    g_free(t->points);
    perfmap_close(t->perfmap);
    jit_free(t->jit);
    g_ptr_array_unref(t->cpus);
    pthread_mutex_destroy(&t->lock);
    pthread_mutex_destroy(&t->cpus_lock);
    pthread_mutex_destroy(&t->excl_lock);
    pthread_cond_destroy(&t->excl_cond);
    g_free(t);
    accel->data = NULL;
}

/* The list of vCPUs is read under excl_lock (vCPU threads) or cpus_lock (others). */
static void list_cpu(Tcg *t, TcgCpu *tc, bool add)
{
    pthread_mutex_lock(&t->excl_lock);
    pthread_mutex_lock(&t->cpus_lock);
    pthread_mutex_lock(&t->lock);
    if (add) {
        tc->map_seq = t->map_seq;
        g_ptr_array_add(t->cpus, tc);
    } else {
        g_ptr_array_remove(t->cpus, tc);
    }
    pthread_mutex_unlock(&t->lock);
    pthread_mutex_unlock(&t->cpus_lock);
    pthread_mutex_unlock(&t->excl_lock);
}

static bool tcg_vcpu_create(Accel *accel, Vcpu *v, Error **errp)
{
    TcgCpu *tc = (TcgCpu *)((char *)v + VCPU_ENGINE_OFFSET);
    tc->cpu = &v->cpu;
    tc->host_mxcsr = MXCSR_MASKS;
    tc->tcg = accel->data;
    tc->icount_on = tc->tcg->icount != NULL;
    tc->scratch = g_new(IrOp, BLOCK_MAX_OPS);
    memset(v->cpu.engine_tmp, 0, sizeof(v->cpu.engine_tmp));
    v->cpu.engine = tc;
    tcg_tlb_init(tc);
    if (tc->tcg->jit) {
        jit_init_returns(tc->tcg->jit, tc);
    }
    list_cpu(tc->tcg, tc, true);
    return true;
}

static void tcg_vcpu_destroy(Vcpu *v)
{
    TcgCpu *tc = tcg_cpu(&v->cpu);
    if (tc) {
        tcg_cancel_translation(tc);
        list_cpu(tc->tcg, tc, false);
        g_free(tc->scratch);
        g_free(tc->uncached);
        v->cpu.engine = NULL;
    }
}

/* Who waits for its turn must be told; who executes looks by itself. */
static void tcg_kick(Vcpu *v)
{
    const Tcg *t = v->accel->data;
    if (t && t->icount) {
        icount_kick(t->icount);
    }
}

static void tcg_info(Accel *accel, GString *out)
{
    Tcg *t = accel->data;
    uint64_t lookups = 0, fills = 0, flushes = 0, slow = 0;
    pthread_mutex_lock(&t->cpus_lock);
    for (unsigned i = 0; i < t->cpus->len; i++) {
        const TcgCpu *tc = g_ptr_array_index(t->cpus, i);
        lookups += tc->n_lookups;
        fills += tc->n_tlb_fills;
        flushes += tc->n_flushes;
        slow += tc->n_slow;
    }
    pthread_mutex_unlock(&t->cpus_lock);
    pthread_mutex_lock(&t->lock);
    g_string_append_printf(out, "Translation buffer state:\n");
    g_string_append_printf(out, "engine              %s\n", t->jit ? "jit" : "interp");
    if (t->jit) {
        size_t used, size;
        jit_usage(t->jit, &used, &size);
        g_string_append_printf(out, "host code size      %zu/%zu\n", used, size);
    }
    g_string_append_printf(out, "gen code size       %zu/%zu\n", t->arena_used, t->arena_size);
    g_string_append_printf(out, "TB count            %" PRIu64 "\n", t->n_blocks);
    g_string_append_printf(out, "guest instructions  %" PRIu64 " (%.1f a TB)\n", t->n_insns,
                           t->n_blocks ? (double)t->n_insns / (double)t->n_blocks : 0.0);
    g_string_append_printf(out, "IR operations       %" PRIu64 " (%.1f an instruction)\n", t->n_ops,
                           t->n_insns ? (double)t->n_ops / (double)t->n_insns : 0.0);
    g_string_append_printf(out, "\nStatistics:\n");
    g_string_append_printf(out, "TB flush count      %" PRIu64 "\n", t->n_flushes);
    g_string_append_printf(out, "TB invalidate count %" PRIu64 "\n", t->n_invalidations);
    g_string_append_printf(out, "TB slow lookups     %" PRIu64 "\n", lookups);
    g_string_append_printf(out, "TLB fills           %" PRIu64 "\n", fills);
    g_string_append_printf(out, "TLB full flushes    %" PRIu64 "\n", flushes);
    g_string_append_printf(out, "slow accesses       %" PRIu64 "\n", slow);
    pthread_mutex_unlock(&t->lock);
    if (t->icount) {
        icount_info(t->icount, out);
    }
}

static void tcg_accel_init(Object *obj)
{
    TcgAccel *a = (TcgAccel *)obj;
    a->heat = HEAT_LIMIT;
    a->split_wx = true;
    a->engine = jit_available() ? ENGINE_JIT : ENGINE_INTERP;
}

static const Property tcg_props[] = {
    PROPERTY_ENUM("engine", TcgAccel, engine, engine_names, ENGINE_JIT,
                  "how guest code is executed: jit, or interp (the reference, and slow)"),
    PROPERTY_BOOL("one-insn-per-tb", TcgAccel, one_insn, false,
                  "translate one instruction at a time, for debugging"),
    PROPERTY_BOOL("split-wx", TcgAccel, split_wx, true,
                  "map translated code twice, writable and executable; cannot be off"),
    PROPERTY_U32("tb-size", TcgAccel, tb_size, 0,
                 "size of the cache of translated code in MiB; 0: by the guest's memory"),
    PROPERTY_U32("x-heat", TcgAccel, heat, HEAT_LIMIT,
                 "how often a block is interpreted before it becomes host code (engine=jit)"),
    PROPERTY_ENUM("thread", TcgAccel, thread, thread_names, THREAD_MULTI,
                  "threads that run CPUs: multi, one for each"),
    {0},
};

static const AccelClass tcg_class = {
    .name = "tcg",
    .create = tcg_create,
    .destroy = tcg_destroy,
    .vcpu_create = tcg_vcpu_create,
    .vcpu_destroy = tcg_vcpu_destroy,
    .run = tcg_run,
    .sync_in = tcg_sync_in,
    .info = tcg_info,
    .kick = tcg_kick,
    .has_icount = true,
    .debug_changed = tcg_debug_changed,
    .vcpu_data_size = sizeof(TcgCpu),
};

OBJECT_TYPE(tcg_accel_type, .name = "tcg-accel", .parent = TYPE_ACCEL,
            .help = "executes guest code in software", .size = sizeof(TcgAccel),
            .klass = &tcg_class, .props = tcg_props, .init = tcg_accel_init)
