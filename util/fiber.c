/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/fiber.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define FIBER_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#define FIBER_TSAN 1
#endif

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#define STACK_SIZE (256 * 1024)
#define POOL_MAX 64

struct Fiber {
    FiberFn *fn;
    void *opaque;
    Fiber *caller; /* who entered us; NULL when not running */
    void *stack;   /* mapping with a guard page below */
    bool ended;
#if defined(__x86_64__)
    void *sp;
#else
    ucontext_t ctx;
#endif
#ifdef FIBER_ASAN
    void *fake_stack;
    const void *asan_bottom;
    size_t asan_size;
#endif
#ifdef FIBER_TSAN
    void *tsan;
#endif
    Fiber *next; /* in the pool */
};

/* The thread's own context stands for "outside of any fiber". */
static __thread Fiber thread_fiber;
static __thread Fiber *current;
static __thread Fiber *pool;
static __thread unsigned pool_size;
#ifdef FIBER_ASAN
static __thread Fiber *came_from; /* whose stack was left last: ASan tells us its bounds */
#endif
static pthread_key_t pool_key;
static pthread_once_t pool_once = PTHREAD_ONCE_INIT;

#if defined(__x86_64__)
/*
 * Saves the callee-saved registers on the current stack, its pointer in *from,
 * and continues on stack `to`.  MXCSR and the x87 control word belong to the
 * calling convention too.
 */
void fiber_switch(void **from, void *to);
__asm__(".text\n"
        ".globl fiber_switch\n"
        ".hidden fiber_switch\n"
        ".type fiber_switch,@function\n"
        "fiber_switch:\n"
        "    pushq %rbp\n    pushq %rbx\n    pushq %r12\n    pushq %r13\n"
        "    pushq %r14\n    pushq %r15\n"
        "    subq $8, %rsp\n    stmxcsr (%rsp)\n    fnstcw 4(%rsp)\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    ldmxcsr (%rsp)\n    fldcw 4(%rsp)\n    addq $8, %rsp\n"
        "    popq %r15\n    popq %r14\n    popq %r13\n    popq %r12\n"
        "    popq %rbx\n    popq %rbp\n"
        "    ret\n"
        ".size fiber_switch,.-fiber_switch\n");
#endif

static void pool_destroy(void *head)
{
    for (Fiber *f = head; f;) {
        Fiber *next = f->next;
        munmap(f->stack, STACK_SIZE);
        g_free(f);
        f = next;
    }
    pool = NULL;
    pool_size = 0;
}

static void pool_make_key(void)
{
    pthread_key_create(&pool_key, pool_destroy);
}

static void switch_to(Fiber *from, Fiber *to)
{
#ifdef FIBER_ASAN
    came_from = from;
    __sanitizer_start_switch_fiber(from->ended ? NULL : &from->fake_stack, to->asan_bottom,
                                   to->asan_size);
#endif
#ifdef FIBER_TSAN
    if (!from->tsan) {
        from->tsan = __tsan_get_current_fiber();
    }
    __tsan_switch_to_fiber(to->tsan, 0);
#endif
#if defined(__x86_64__)
    fiber_switch(&from->sp, to->sp);
#else
    swapcontext(&from->ctx, &to->ctx);
#endif
#ifdef FIBER_ASAN
    __sanitizer_finish_switch_fiber(from->fake_stack, &came_from->asan_bottom,
                                    &came_from->asan_size);
#endif
}

static void fiber_main(void)
{
    Fiber *f = current;
#ifdef FIBER_ASAN
    __sanitizer_finish_switch_fiber(NULL, &came_from->asan_bottom, &came_from->asan_size);
#endif
    for (;;) {
        f->fn(f->opaque);
        f->ended = true;
        fiber_yield();
    }
}

static void prepare_stack(Fiber *f)
{
    char *top = (char *)f->stack + STACK_SIZE;
#if defined(__x86_64__)
    /* As fiber_switch() leaves it: control words, six registers, return address;
     * the entry sees a stack aligned as after a call. */
    uint64_t *sp = (uint64_t *)top - 1;
    *sp = 0;
    *--sp = (uintptr_t)fiber_main;
    sp -= 6;
    for (int i = 0; i < 6; i++) {
        sp[i] = 0;
    }
    sp--;
    uint32_t mxcsr;
    uint16_t cw;
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr), "=m"(cw));
    *sp = mxcsr | ((uint64_t)cw << 32);
    f->sp = sp;
#else
    getcontext(&f->ctx);
    f->ctx.uc_stack.ss_sp = f->stack;
    f->ctx.uc_stack.ss_size = STACK_SIZE;
    makecontext(&f->ctx, fiber_main, 0);
#endif
#ifdef FIBER_ASAN
    f->asan_bottom = f->stack;
    f->asan_size = (size_t)(top - (char *)f->stack);
#endif
#ifdef FIBER_TSAN
    f->tsan = __tsan_create_fiber(0);
#endif
}

Fiber *fiber_new(FiberFn *fn, void *opaque)
{
    Fiber *f = pool;
    if (f) {
        pool = f->next;
        pool_size--;
        pthread_setspecific(pool_key, pool);
    } else {
        f = g_new0(Fiber, 1);
        f->stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
        if (f->stack == MAP_FAILED) {
            g_error("out of memory for a fiber's stack");
        }
        mprotect(f->stack, (size_t)sysconf(_SC_PAGESIZE), PROT_NONE);
    }
    f->fn = fn;
    f->opaque = opaque;
    f->caller = NULL;
    f->ended = false;
    prepare_stack(f);
    return f;
}

static void recycle(Fiber *f)
{
#ifdef FIBER_TSAN
    __tsan_destroy_fiber(f->tsan);
#endif
    if (pool_size >= POOL_MAX) {
        munmap(f->stack, STACK_SIZE);
        g_free(f);
        return;
    }
    pthread_once(&pool_once, pool_make_key);
    f->next = pool;
    pool = f;
    pool_size++;
    pthread_setspecific(pool_key, pool);
}

void fiber_enter(Fiber *f)
{
    g_assert(!f->caller);
    Fiber *from = current ? current : &thread_fiber;
    f->caller = from;
    current = f;
    switch_to(from, f);
    current = from == &thread_fiber ? NULL : from;
    if (f->ended) {
        recycle(f);
    }
}

void fiber_yield(void)
{
    Fiber *f = current;
    g_assert(f);
    Fiber *to = f->caller;
    f->caller = NULL;
    switch_to(f, to);
}

Fiber *fiber_self(void)
{
    return current;
}

bool fiber_in(void)
{
    return current != NULL;
}

void fiber_mutex_init(FiberMutex *m)
{
    m->locked = false;
    g_queue_init(&m->waiters);
    g_mutex_init(&m->guard);
}

void fiber_mutex_destroy(FiberMutex *m)
{
    g_assert(!m->locked && g_queue_is_empty(&m->waiters));
    g_mutex_clear(&m->guard);
}

void fiber_mutex_lock(FiberMutex *m)
{
    g_mutex_lock(&m->guard);
    if (!m->locked) {
        m->locked = true;
        g_mutex_unlock(&m->guard);
        return;
    }
    g_queue_push_tail(&m->waiters, fiber_self());
    g_mutex_unlock(&m->guard);
    fiber_yield(); /* the unlocker hands the mutex over to us */
}

void fiber_mutex_unlock(FiberMutex *m)
{
    g_mutex_lock(&m->guard);
    g_assert(m->locked);
    Fiber *next = g_queue_pop_head(&m->waiters);
    if (!next) {
        m->locked = false;
    }
    g_mutex_unlock(&m->guard);
    if (next) {
        fiber_enter(next);
    }
}

void fiber_queue_init(FiberQueue *q)
{
    g_queue_init(&q->waiters);
}

void fiber_queue_wait(FiberQueue *q)
{
    g_queue_push_tail(&q->waiters, fiber_self());
    fiber_yield();
}

bool fiber_queue_wake(FiberQueue *q)
{
    Fiber *f = g_queue_pop_head(&q->waiters);
    if (f) {
        fiber_enter(f);
    }
    return f != NULL;
}

void fiber_queue_wake_all(FiberQueue *q)
{
    /* Only those who wait now: a woken fiber may queue up again. */
    for (guint n = g_queue_get_length(&q->waiters); n && fiber_queue_wake(q); n--) {
    }
}
