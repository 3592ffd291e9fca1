/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * util/rcu.h: read-copy-update for structures that are read on hot paths
 * (flat views, the code map, the block graph).
 *
 * Readers bracket their accesses with rcu_read_lock()/rcu_read_unlock() (they
 * nest and never block).  Writers publish with rcu_assign_pointer() and free
 * the old version with rcu_call(), which runs `fn` on the reclaimer thread
 * after every reader that might see it has left.  A long-running reader (a
 * vCPU) leaves and re-enters its section at least every few milliseconds.
 */
#ifndef RHEA_UTIL_RCU_H
#define RHEA_UTIL_RCU_H

#include <stdbool.h>

typedef struct RcuHead {
    struct RcuHead *next;
    void (*fn)(struct RcuHead *head);
} RcuHead;

void rcu_read_lock(void);
void rcu_read_unlock(void);
bool rcu_read_locked(void);

/* Waits until all readers that are now inside have left. Not within a reader. */
void rcu_synchronize(void);
/* Calls fn(head) after a grace period, on the reclaimer thread. Any thread. */
void rcu_call(RcuHead *head, void (*fn)(RcuHead *head));
/* Waits until every rcu_call() made so far has run: for tests and shut-down. */
void rcu_barrier(void);

#define rcu_dereference(p) __atomic_load_n(&(p), __ATOMIC_CONSUME)
#define rcu_assign_pointer(p, v) __atomic_store_n(&(p), (v), __ATOMIC_RELEASE)

#endif
