/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block/alloc.h: memory whose size an image or a guest decides.
 *
 * It may be refused, and then the request fails with -ENOMEM; the image stays right and the
 * machine goes on.  Besides what is here, g_try_malloc() and its like are for that.  Small
 * structures of our own come from g_new(), which ends the program when there is nothing left.
 *
 * tests/unit/alloc-fail.h makes these functions fail.
 */
#ifndef RHEA_BLOCK_ALLOC_H
#define RHEA_BLOCK_ALLOC_H

#include <glib.h>
#include <stdlib.h>
#include <string.h>

/* A copy, to be freed by g_free(); NULL: no memory. */
static inline void *try_dup(const void *p, size_t len)
{
    void *copy = g_try_malloc(MAX(len, 1));
    if (copy && len) {
        memcpy(copy, p, len);
    }
    return copy;
}

/* `align` is a power of two and at least sizeof(void *); free() it; NULL: no memory. */
static inline void *try_aligned(size_t align, size_t len)
{
    void *p = NULL;
    return posix_memalign(&p, align, MAX(len, 1)) ? NULL : p;
}

#endif
