/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/unit/alloc-fail.h: the allocations that may fail (block/alloc.h) fail when a test says so.
 *
 * The program's own g_try_malloc() and so on take the place of the library's.  One source file of
 * a test includes this.
 */
#ifndef RHEA_TESTS_ALLOC_FAIL_H
#define RHEA_TESTS_ALLOC_FAIL_H

#include <errno.h>
#include <glib.h>
#include <stdint.h>
#include <stdlib.h>

static struct {
    int n, fail_at; /* fail_at: number of the allocation that fails, 0: none */
    bool fail_on;   /* and all after it */
} alloc_fault;

static bool alloc_denied(void)
{
    int n = ++alloc_fault.n, at = alloc_fault.fail_at;
    return at && (n == at || (alloc_fault.fail_on && n > at));
}

static bool alloc_too_much(gsize n, gsize size)
{
    return size && n > SIZE_MAX / size;
}

gpointer g_try_malloc(gsize n)
{
    return alloc_denied() || !n ? NULL : malloc(n);
}

gpointer g_try_malloc0(gsize n)
{
    return alloc_denied() || !n ? NULL : calloc(1, n);
}

gpointer g_try_malloc_n(gsize n, gsize size)
{
    return alloc_too_much(n, size) ? NULL : g_try_malloc(n * size);
}

gpointer g_try_malloc0_n(gsize n, gsize size)
{
    return alloc_too_much(n, size) ? NULL : g_try_malloc0(n * size);
}

gpointer g_try_realloc(gpointer p, gsize n)
{
    return alloc_denied() || !n ? NULL : realloc(p, n);
}

gpointer g_try_realloc_n(gpointer p, gsize n, gsize size)
{
    return alloc_too_much(n, size) ? NULL : g_try_realloc(p, n * size);
}

int posix_memalign(void **p, size_t align, size_t size)
{
    if (alloc_denied()) {
        return ENOMEM;
    }
    *p = aligned_alloc(align, (size + align - 1) / align * align);
    return *p ? 0 : ENOMEM;
}

#endif
