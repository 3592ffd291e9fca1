/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/bits.h"
#include "util/rcu.h"
#include "util/threadpool.h"

#include <glib.h>

typedef struct Thing {
    RcuHead rcu;
    int alive; /* 1 until reclaimed */
} Thing;

static Thing *shared;
static int stop, freed;

static void reclaim(RcuHead *head)
{
    Thing *t = container_of(head, Thing, rcu);
    __atomic_store_n(&t->alive, 0, __ATOMIC_RELAXED);
    __atomic_add_fetch(&freed, 1, __ATOMIC_RELAXED);
    g_free(t);
}

static gpointer reader(gpointer opaque)
{
    guint64 reads = 0;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        rcu_read_lock();
        rcu_read_lock();
        Thing *t = rcu_dereference(shared);
        for (int i = 0; i < 50; i++) {
            g_assert_cmpint(__atomic_load_n(&t->alive, __ATOMIC_RELAXED), ==, 1);
        }
        rcu_read_unlock();
        rcu_read_unlock();
        reads++;
    }
    return GSIZE_TO_POINTER(reads);
}

static Thing *thing_new(void)
{
    Thing *t = g_new0(Thing, 1);
    t->alive = 1;
    return t;
}

static void test_reclaim(void)
{
    shared = thing_new();
    GThread *r[2];
    for (int i = 0; i < 2; i++) {
        r[i] = g_thread_new("reader", reader, NULL);
    }
    for (int i = 0; i < 2000; i++) {
        Thing *old = shared;
        rcu_assign_pointer(shared, thing_new());
        rcu_call(&old->rcu, reclaim);
        if (i % 100 == 0) {
            rcu_synchronize();
        }
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 2; i++) {
        g_thread_join(r[i]);
    }
    rcu_barrier();
    g_assert_cmpint(freed, ==, 2000);
    g_free(shared);
}

static int work(void *opaque)
{
    return GPOINTER_TO_INT(opaque) * 2;
}

static int sum;

static void work_done(void *opaque, int result)
{
    __atomic_add_fetch(&sum, result, __ATOMIC_RELAXED);
}

static void test_pool(void)
{
    ThreadPool *p = thread_pool_new(3);
    for (int i = 1; i <= 100; i++) {
        thread_pool_submit(p, work, work_done, GINT_TO_POINTER(i));
    }
    thread_pool_free(p);
    g_assert_cmpint(sum, ==, 100 * 101);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rcu/reclaim", test_reclaim);
    g_test_add_func("/threadpool", test_pool);
    return g_test_run();
}
