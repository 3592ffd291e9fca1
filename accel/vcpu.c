/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vCPU threads: creation, the run loop, halt, pause, and work from others.
 *
 * A thread is in one of three places: in the engine's run(), asleep in rest(),
 * or between the two, where it runs queued work and looks at `stop` and `quit`.
 * Whoever wants its attention sets IRQ_EXIT (which ends run() between two
 * instructions) and kicks it.
 */
#include "accel/accel.h"
#include "util/blocking.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct Work {
    void (*fn)(Vcpu *v, void *opaque);
    void *opaque;
    bool *done; /* guarded by the vCPU's lock; NULL: nobody waits */
} Work;

/* Which vCPU this thread is: a property of threads, not of machines. */
static __thread Vcpu *current;

Vcpu *vcpu_current(void)
{
    return current;
}

/* ---- attention ---- */

void vcpu_kick(Vcpu *v)
{
    const AccelClass *k = accel_class(v->accel);

    /* Pairs with rest(): either it sees `kicked`, or we see `waiting`. */
    __atomic_store_n(&v->kicked, true, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&v->waiting, __ATOMIC_SEQ_CST)) {
        pthread_mutex_lock(&v->lock);
        pthread_cond_signal(&v->wake);
        pthread_mutex_unlock(&v->lock);
    }
    if (k->kick) {
        k->kick(v);
    }
}

/* Out of run(), so that the thread looks at its queue and flags. */
static void call_out(Vcpu *v)
{
    cpu_interrupt(&v->cpu, IRQ_EXIT);
    vcpu_kick(v);
}

/* Sleeps until kicked. Lock held. */
static void rest(Vcpu *v)
{
    __atomic_store_n(&v->waiting, true, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&v->kicked, __ATOMIC_SEQ_CST)) {
        pthread_cond_wait(&v->wake, &v->lock);
    }
    __atomic_store_n(&v->waiting, false, __ATOMIC_SEQ_CST);
}

void vcpu_stop_current(void)
{
    if (current) {
        pthread_mutex_lock(&current->lock);
        current->stop = true;
        pthread_mutex_unlock(&current->lock);
        cpu_interrupt(&current->cpu, IRQ_EXIT);
    }
}

/* ---- work from other threads ---- */

static void queue_work(Vcpu *v, void (*fn)(Vcpu *v, void *opaque), void *opaque, bool *done)
{
    Work *w = g_new(Work, 1);

    *w = (Work){.fn = fn, .opaque = opaque, .done = done};
    pthread_mutex_lock(&v->lock);
    g_queue_push_tail(&v->work, w);
    pthread_mutex_unlock(&v->lock);
    call_out(v);
}

/* Lock held on entry and exit, not while the work runs. */
static void run_work(Vcpu *v)
{
    Work *w;

    while ((w = g_queue_pop_head(&v->work))) {
        pthread_mutex_unlock(&v->lock);
        w->fn(v, w->opaque);
        pthread_mutex_lock(&v->lock);
        if (w->done) {
            *w->done = true;
            pthread_cond_broadcast(&v->stopped_cond);
        }
        g_free(w);
    }
}

void vcpu_run_on(Vcpu *v, void (*fn)(Vcpu *v, void *opaque), void *opaque)
{
    bool done = false;

    if (v == current) {
        fn(v, opaque);
        return;
    }
    blocking_call("vcpu_run_on()");
    queue_work(v, fn, opaque, &done);
    pthread_mutex_lock(&v->lock);
    while (!done) {
        pthread_cond_wait(&v->stopped_cond, &v->lock);
    }
    pthread_mutex_unlock(&v->lock);
}

void vcpu_run_on_async(Vcpu *v, void (*fn)(Vcpu *v, void *opaque), void *opaque)
{
    queue_work(v, fn, opaque, NULL);
}

/* ---- the thread ---- */

static bool create_on_thread(Vcpu *v)
{
    const AccelClass *k = accel_class(v->accel);
    bool ok = !k->vcpu_create || k->vcpu_create(v->accel, v, &v->create_error);

    pthread_mutex_lock(&v->lock);
    v->created = true;
    v->failed = !ok;
    pthread_cond_broadcast(&v->stopped_cond);
    pthread_mutex_unlock(&v->lock);
    return ok;
}

/* Runs guest code once; true if the thread may come back here without being kicked. */
static bool run_once(Vcpu *v, bool *parked)
{
    const AccelClass *k = accel_class(v->accel);
    const VcpuHooks *h = v->hooks;
    void (*tell)(void *opaque, Vcpu *v) = NULL;

    switch (k->run(v)) {
    case RUN_EXIT_INTERRUPTED:
        return true;
    case RUN_EXIT_HALTED:
        return false;
    case RUN_EXIT_SHUTDOWN:
        tell = h ? h->shutdown : NULL;
        break;
    case RUN_EXIT_DEBUG:
        tell = h ? h->debug : NULL;
        break;
    case RUN_EXIT_ERROR:
        tell = h ? h->error : NULL;
        break;
    }
    /* Not another instruction before somebody has stopped us and let us go again. */
    *parked = true;
    if (tell) {
        tell(v->hooks_opaque, v);
    }
    return false;
}

static void thread_body(Vcpu *v)
{
    const AccelClass *k = accel_class(v->accel);
    bool parked = false;

    pthread_mutex_lock(&v->lock);
    while (!v->quit) {
        bool again;

        __atomic_store_n(&v->kicked, false, __ATOMIC_SEQ_CST);
        cpu_interrupt_clear(&v->cpu, IRQ_EXIT);
        run_work(v);
        if (v->quit) {
            break;
        }
        if (v->stop) {
            parked = false;
            if (!v->stopped) {
                v->stopped = true;
                pthread_cond_broadcast(&v->stopped_cond);
            }
        }
        if (v->stop || parked || !k->run) {
            rest(v);
            continue;
        }
        v->stopped = false;
        pthread_mutex_unlock(&v->lock);
        again = run_once(v, &parked);
        pthread_mutex_lock(&v->lock);
        if (!again) {
            rest(v);
        }
    }
    pthread_mutex_unlock(&v->lock);
}

/* Whoever frees us may be about to reach for what the engine has for this CPU. */
static void wait_for_last_kick(Vcpu *v)
{
    pthread_mutex_lock(&v->lock);
    while (!v->let_go) {
        pthread_cond_wait(&v->wake, &v->lock);
    }
    pthread_mutex_unlock(&v->lock);
}

static void *thread_main(void *opaque)
{
    Vcpu *v = opaque;
    const AccelClass *k = accel_class(v->accel);
    g_autofree char *engine = g_ascii_strup(k->name, -1);
    char name[16];

    current = v;
    v->tid = (int)syscall(SYS_gettid);
    snprintf(name, sizeof(name), "CPU %u/%s", v->cpu.index, engine);
    pthread_setname_np(pthread_self(), name);
    if (create_on_thread(v)) {
        thread_body(v);
        wait_for_last_kick(v);
        if (k->vcpu_destroy) {
            k->vcpu_destroy(v);
        }
    }
    return NULL;
}

/* ---- life ---- */

static void vcpu_release(Vcpu *v)
{
    pthread_mutex_destroy(&v->lock);
    pthread_cond_destroy(&v->wake);
    pthread_cond_destroy(&v->stopped_cond);
    g_queue_clear_full(&v->work, g_free);
    error_free(v->create_error);
    vcpu_deallocate(v);
}

/* Signals are the main thread's business; an engine unblocks its own kick. */
static int start_thread(Vcpu *v)
{
    sigset_t all, before;
    int err;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    err = pthread_create(&v->thread, NULL, thread_main, v);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

Vcpu *vcpu_allocate(const Accel *a)
{
    size_t size = VCPU_ENGINE_OFFSET + ALIGN_UP(accel_class(a)->vcpu_data_size, (size_t)64);
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        return NULL;
    }
    Vcpu *v = p;
    v->allocated = size;
    return v;
}

void vcpu_deallocate(Vcpu *v)
{
    munmap(v, v->allocated);
}

Vcpu *vcpu_new(Accel *a, unsigned index, const CpuConfig *config, const VcpuHooks *hooks,
               void *opaque, Error **errp)
{
    Vcpu *v = vcpu_allocate(a);
    int err;

    if (!v) {
        error_set(errp, "out of memory for CPU %u", index);
        return NULL;
    }
    v->accel = a;
    v->hooks = hooks;
    v->hooks_opaque = opaque;
    v->cpu.index = index;
    if (config) {
        v->cpu.config = *config;
    }
    v->cpu.as = v->cpu.as_smm = a->as_memory;
    v->cpu.as_io = a->as_io;
    v->cpu.clocks = a->clocks;
    v->cpu.exception_vector = v->cpu.injected_vector = -1;
    v->cpu.vcpu = v;
    v->stop = true;
    pthread_mutex_init(&v->lock, NULL);
    pthread_cond_init(&v->wake, NULL);
    pthread_cond_init(&v->stopped_cond, NULL);
    g_queue_init(&v->work);
    err = start_thread(v);
    if (err) {
        error_set_errno(errp, err, "cannot start the thread of CPU %u", index);
        vcpu_release(v);
        return NULL;
    }
    pthread_mutex_lock(&v->lock);
    while (!v->created) {
        pthread_cond_wait(&v->stopped_cond, &v->lock);
    }
    pthread_mutex_unlock(&v->lock);
    if (v->failed) {
        pthread_join(v->thread, NULL);
        if (v->create_error) {
            error_propagate(errp, g_steal_pointer(&v->create_error));
        } else {
            error_set(errp, "cannot create CPU %u", index);
        }
        vcpu_release(v);
        return NULL;
    }
    return v;
}

void vcpu_free(Vcpu *v)
{
    if (!v) {
        return;
    }
    assert(v != current);
    pthread_mutex_lock(&v->lock);
    v->quit = true;
    pthread_mutex_unlock(&v->lock);
    call_out(v);
    pthread_mutex_lock(&v->lock);
    v->let_go = true;
    pthread_cond_signal(&v->wake);
    pthread_mutex_unlock(&v->lock);
    pthread_join(v->thread, NULL);
    vcpu_release(v);
}

/* ---- all together ---- */

void vcpus_pause(GPtrArray *vcpus)
{
    assert(!current);
    blocking_call("vcpus_pause()");
    for (guint i = 0; i < vcpus->len; i++) {
        Vcpu *v = vcpus->pdata[i];

        pthread_mutex_lock(&v->lock);
        v->stop = true;
        pthread_mutex_unlock(&v->lock);
        call_out(v);
    }
    for (guint i = 0; i < vcpus->len; i++) {
        Vcpu *v = vcpus->pdata[i];

        pthread_mutex_lock(&v->lock);
        while (!v->stopped) {
            pthread_cond_wait(&v->stopped_cond, &v->lock);
        }
        pthread_mutex_unlock(&v->lock);
    }
}

void vcpus_resume(GPtrArray *vcpus)
{
    for (guint i = 0; i < vcpus->len; i++) {
        Vcpu *v = vcpus->pdata[i];

        pthread_mutex_lock(&v->lock);
        v->stop = false;
        v->stopped = false;
        pthread_mutex_unlock(&v->lock);
        call_out(v);
    }
}

bool vcpu_sync_out(Vcpu *v, Error **errp)
{
    const AccelClass *k = accel_class(v->accel);

    return !k->sync_out || k->sync_out(v, errp);
}

bool vcpu_sync_in(Vcpu *v, Error **errp)
{
    const AccelClass *k = accel_class(v->accel);

    return !k->sync_in || k->sync_in(v, errp);
}
