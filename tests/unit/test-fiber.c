/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/fiber.h"
#include "util/iov.h"

#include <string.h>

static GString *order;

static void step(void *opaque)
{
    const char *name = opaque;
    for (int i = 0; i < 3; i++) {
        g_string_append_printf(order, "%s%d ", name, i);
        fiber_yield();
    }
}

static void test_switch(void)
{
    order = g_string_new(NULL);
    Fiber *a = fiber_new(step, "a"), *b = fiber_new(step, "b");
    for (int i = 0; i < 4; i++) {
        fiber_enter(a);
        fiber_enter(b);
    }
    g_assert_cmpstr(order->str, ==, "a0 b0 a1 b1 a2 b2 ");
    g_assert_false(fiber_in());
    g_string_free(order, TRUE);
}

static void nested_inner(void *opaque)
{
    int *n = opaque;
    char big[32 * 1024];
    memset(big, *n, sizeof(big));
    fiber_yield();
    *n += big[100];
}

static void nested_outer(void *opaque)
{
    Fiber *f = fiber_new(nested_inner, opaque);
    fiber_enter(f);
    fiber_yield();
    fiber_enter(f);
}

static void test_nested(void)
{
    for (int i = 0; i < 200; i++) { /* more than the pool holds, one after another */
        int n = 5;
        Fiber *f = fiber_new(nested_outer, &n);
        fiber_enter(f);
        fiber_enter(f);
        g_assert_cmpint(n, ==, 10);
    }
}

static FiberMutex mutex;
static int inside, done;

static void locker(void *opaque)
{
    fiber_mutex_lock(&mutex);
    g_assert_cmpint(inside++, ==, 0);
    fiber_yield();
    inside--;
    done++;
    fiber_mutex_unlock(&mutex);
}

static void test_mutex(void)
{
    fiber_mutex_init(&mutex);
    Fiber *a = fiber_new(locker, NULL), *b = fiber_new(locker, NULL);
    fiber_enter(a);
    fiber_enter(b); /* waits */
    fiber_enter(a); /* unlocks: b runs up to its yield */
    g_assert_cmpint(done, ==, 1);
    fiber_enter(b);
    g_assert_cmpint(done, ==, 2);
    fiber_mutex_destroy(&mutex);
}

static void waiter(void *opaque)
{
    fiber_queue_wait(opaque);
    done++;
}

static void test_queue(void)
{
    FiberQueue q;
    fiber_queue_init(&q);
    done = 0;
    g_assert_false(fiber_queue_wake(&q));
    for (int i = 0; i < 3; i++) {
        fiber_enter(fiber_new(waiter, &q));
    }
    g_assert_true(fiber_queue_wake(&q));
    g_assert_cmpint(done, ==, 1);
    fiber_queue_wake_all(&q);
    g_assert_cmpint(done, ==, 3);
}

static void test_iov(void)
{
    char a[4] = {'a', 'b', 'c', 'd'}, b[6] = {'e', 'f', 'g', 'h', 'i', 'j'}, out[16] = {0};
    IoVec v = IOVEC_INIT, part = IOVEC_INIT;
    iovec_add(&v, a, 4);
    iovec_add(&v, b, 6);
    iovec_add(&v, b, 0);
    g_assert_cmpuint(v.n, ==, 2);
    g_assert_cmpuint(iov_to_buf(v.iov, v.n, 2, out, 16), ==, 8);
    g_assert_cmpmem(out, 8, "cdefghij", 8);
    iovec_concat(&part, &v, 3, 4);
    g_assert_cmpuint(part.size, ==, 4);
    g_assert_cmpuint(iov_from_buf(part.iov, part.n, 0, "WXYZ", 4), ==, 4);
    g_assert_cmpmem(b, 6, "XYZhij", 6);
    g_assert_cmpuint(iov_memset(v.iov, v.n, 9, 0, 100), ==, 1);
    iovec_free(&v);
    iovec_free(&part);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fiber/switch", test_switch);
    g_test_add_func("/fiber/nested", test_nested);
    g_test_add_func("/fiber/mutex", test_mutex);
    g_test_add_func("/fiber/queue", test_queue);
    g_test_add_func("/iov", test_iov);
    return g_test_run();
}
