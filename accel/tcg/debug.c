/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a debugger asks of the engine: breakpoints, watchpoints, single steps.
 *
 * A breakpoint begins a block of its own kind (BLOCK_BREAK), which only the run loop
 * executes.  A watched page is slow in the TLB; an access to the watched bytes from within a
 * longer block abandons the instruction and has it executed again alone, after which the CPU
 * stops: so code beside the watched bytes runs at full speed.
 */
#include "accel/tcg/internal.h"

bool tcg_alone(TcgCpu *tc)
{
    CPUX86 *cpu = tc->cpu;
    if (tc->current && (tc->current->flags & BLOCK_STEP)) {
        return true;
    }
    if (tc->no_retry || cpu->unwind != tc->run_env) {
        return false;
    }
    cpu->exception_vector = TCG_RETRY;
    siglongjmp(*cpu->unwind, 1);
}

void tcg_debug_update(TcgCpu *tc)
{
    /* Without long mode there are task switches, which cannot be started again half-way. */
    bool alone = tc->stepping || (tc->tcg->n_watch && !(tc->cpu->efer & EFER_LMA));
    tc->debug_flags = alone ? BLOCK_ALONE : 0;
}

static unsigned copy_kind(Tcg *t, const GArray *from, bool exec, unsigned at)
{
    unsigned n = 0;
    for (unsigned i = 0; i < from->len; i++) {
        const DebugPoint *p = &g_array_index(from, DebugPoint, i);
        if ((p->kind == DEBUG_EXEC) == exec) {
            t->points[at + n++] = *p;
        }
    }
    return n;
}

void tcg_debug_changed(Accel *a)
{
    Tcg *t = a->data;
    if (!t) {
        return;
    }
    bool watched = t->n_watch != 0;
    g_free(t->points);
    t->points = g_new(DebugPoint, a->debug_points->len);
    t->n_exec = copy_kind(t, a->debug_points, true, 0);
    t->n_watch = copy_kind(t, a->debug_points, false, t->n_exec);
    tcg_drop_blocks(t);
    if (watched || t->n_watch) {
        pthread_mutex_lock(&t->cpus_lock);
        for (unsigned i = 0; i < t->cpus->len; i++) {
            cpu_interrupt(((TcgCpu *)g_ptr_array_index(t->cpus, i))->cpu, IRQ_TLB_FLUSH);
        }
        pthread_mutex_unlock(&t->cpus_lock);
    }
}

bool tcg_break_slow(const Tcg *t, uint64_t linear)
{
    for (unsigned i = 0; i < t->n_exec; i++) {
        if (t->points[i].addr == linear) {
            return true;
        }
    }
    return false;
}

static bool overlap(const DebugPoint *p, uint64_t addr, uint64_t len)
{
    return addr - p->addr < p->len || p->addr - addr < len;
}

bool tcg_watch_on_page(const Tcg *t, uint64_t page)
{
    for (unsigned i = 0; i < t->n_watch; i++) {
        if (overlap(&t->points[t->n_exec + i], page, TCG_PAGE_SIZE)) {
            return true;
        }
    }
    return false;
}

static const DebugPoint *find_watch(const Tcg *t, uint64_t lin, uint64_t size, bool write)
{
    for (unsigned i = 0; i < t->n_watch; i++) {
        const DebugPoint *p = &t->points[t->n_exec + i];
        bool kind = p->kind == DEBUG_ACCESS || (p->kind == DEBUG_WRITE) == write;
        if (kind && overlap(p, lin, size)) {
            return p;
        }
    }
    return NULL;
}

void tcg_note_stop(TcgCpu *tc, DebugReason why, const DebugPoint *p, uint64_t addr)
{
    DebugStop *s = &((Vcpu *)tc->cpu->vcpu)->debug_stop;
    if (s->why == DEBUG_STOP_NONE || (s->why == DEBUG_STOP_STEP && p)) {
        *s = (DebugStop){.why = why};
        if (p) {
            s->point = *p;
            s->point.addr = addr;
        }
    }
}

void tcg_watch_access(TcgCpu *tc, uint64_t lin, uint64_t size, bool write)
{
    const DebugPoint *p = find_watch(tc->tcg, lin, size, write);
    if (p) {
        (void)tcg_alone(tc);
        /* The address that gdb knows is the watchpoint's, or within it. */
        tcg_note_stop(tc, DEBUG_STOP_POINT, p, lin - p->addr < p->len ? lin : p->addr);
        tc->hit = true;
    }
}

void tcg_watch_probe(TcgCpu *tc, uint64_t lin, uint64_t size, bool write)
{
    if (find_watch(tc->tcg, lin, size, write)) {
        (void)tcg_alone(tc);
    }
}
