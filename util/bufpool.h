/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * util/bufpool.h: page-aligned buffers for data that pass through, kept for the next one.  Memory
 * that comes fresh from the kernel for each request costs more (a fault and zeroes for each page)
 * than the copying it is for.  A pool belongs to one thread or lock.
 */
#ifndef RHEA_UTIL_BUFPOOL_H
#define RHEA_UTIL_BUFPOOL_H

#include <stddef.h>

#define BUFFER_CLASSES 10 /* 64 KiB to 32 MiB, in powers of two; others are not kept */

typedef struct BufferPool {
    void *kept[BUFFER_CLASSES]; /* lists: a free buffer begins with the pointer to the next */
    size_t bytes, max;
} BufferPool;

/* `max`: bytes that are kept at most. */
void buffer_pool_init(BufferPool *p, size_t max);
/* Frees what is kept; buffers that are out must have come back. */
void buffer_pool_fini(BufferPool *p);
/* Contents are whatever was there.  NULL: out of memory.  len > 0. */
void *buffer_take(BufferPool *p, size_t len);
/* The same `len`; `buf` may be NULL. */
void buffer_give(BufferPool *p, void *buf, size_t len);

#endif
