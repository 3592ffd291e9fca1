/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * util/iov.h: scatter-gather lists.  All functions clamp to the list's length
 * and say how many bytes they handled.
 */
#ifndef RHEA_UTIL_IOV_H
#define RHEA_UTIL_IOV_H

#include <glib.h>
#include <stdint.h>
#include <sys/uio.h>

size_t iov_length(const struct iovec *iov, unsigned n);
size_t iov_to_buf(const struct iovec *iov, unsigned n, size_t offset, void *buf, size_t len);
size_t iov_from_buf(const struct iovec *iov, unsigned n, size_t offset, const void *buf,
                    size_t len);
size_t iov_memset(const struct iovec *iov, unsigned n, size_t offset, int byte, size_t len);

/* A growable list. Entries are borrowed memory. */
typedef struct IoVec {
    struct iovec *iov;
    unsigned n, alloc;
    size_t size; /* sum of lengths */
} IoVec;
#define IOVEC_INIT \
    {              \
        0          \
    }
void iovec_init_buf(IoVec *v, void *buf, size_t len); /* one element */
void iovec_add(IoVec *v, void *base, size_t len);
/* Appends the bytes [offset, offset + len) of `src`. */
void iovec_concat(IoVec *v, const IoVec *src, size_t offset, size_t len);
void iovec_reset(IoVec *v);
void iovec_free(IoVec *v);

#endif
