/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * util/sanitize.h: what the race detector cannot see by itself.
 *
 * ThreadSanitizer knows no fences and does not look into libraries.  In its builds
 * (configure --sanitize=thread) a fence is an exchange on a word of its own, which orders
 * all who make one, and handing over is said with tsan_release() and tsan_acquire().
 * In every other build these are the bare fences, and nothing.
 */
#ifndef RHEA_UTIL_SANITIZE_H
#define RHEA_UTIL_SANITIZE_H

#include "util/bits.h"

#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>

extern unsigned tsan_fence_word; /* sanitize.c */
static inline void atomic_fence_full(void)
{
    __atomic_fetch_add(&tsan_fence_word, 1, __ATOMIC_SEQ_CST);
}
static inline void atomic_fence_acquire(void)
{
    atomic_fence_full();
}
static inline void atomic_fence_release(void)
{
    atomic_fence_full();
}
/* Everything done before the release of `p` is seen after its acquire elsewhere. */
static inline void tsan_release(void *p)
{
    __tsan_release(p);
}
static inline void tsan_acquire(void *p)
{
    __tsan_acquire(p);
}
/* Accesses of the guest's memory, in one piece: its CPUs may race with each other. */
uint64_t guest_ld(const void *p, unsigned size);
void guest_st(void *p, unsigned size, uint64_t v);
#define GUEST_LD(p, size) guest_ld(p, size)
#define GUEST_ST(p, size, v) guest_st(p, size, v)
#else
#define GUEST_LD(p, size) ld_le(p, size)
#define GUEST_ST(p, size, v) st_le(p, size, v)
static inline void atomic_fence_full(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
static inline void atomic_fence_acquire(void)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
}
static inline void atomic_fence_release(void)
{
    __atomic_thread_fence(__ATOMIC_RELEASE);
}
static inline void tsan_release(void *p)
{
}
static inline void tsan_acquire(void *p)
{
}
#endif

#endif
