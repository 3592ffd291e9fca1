/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/iov.h"

#include <string.h>

size_t iov_length(const struct iovec *iov, unsigned n)
{
    size_t len = 0;
    for (unsigned i = 0; i < n; i++) {
        len += iov[i].iov_len;
    }
    return len;
}

/* Visits the bytes [offset, offset + len); `buf` advances with them. */
typedef void SpanFn(void *mem, size_t len, void *buf, int byte);

static size_t each_span(const struct iovec *iov, unsigned n, size_t offset, size_t len, SpanFn *fn,
                        void *buf, int byte)
{
    size_t done = 0;
    for (unsigned i = 0; i < n && done < len; i++) {
        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        size_t span = MIN(iov[i].iov_len - offset, len - done);
        fn((char *)iov[i].iov_base + offset, span, buf ? (char *)buf + done : NULL, byte);
        done += span;
        offset = 0;
    }
    return done;
}

static void span_out(void *mem, size_t len, void *buf, int byte)
{
    memcpy(buf, mem, len);
}

static void span_in(void *mem, size_t len, void *buf, int byte)
{
    memcpy(mem, buf, len);
}

static void span_set(void *mem, size_t len, void *buf, int byte)
{
    memset(mem, byte, len);
}

size_t iov_to_buf(const struct iovec *iov, unsigned n, size_t offset, void *buf, size_t len)
{
    return each_span(iov, n, offset, len, span_out, buf, 0);
}

size_t iov_from_buf(const struct iovec *iov, unsigned n, size_t offset, const void *buf, size_t len)
{
    return each_span(iov, n, offset, len, span_in, (void *)buf, 0);
}

size_t iov_memset(const struct iovec *iov, unsigned n, size_t offset, int byte, size_t len)
{
    return each_span(iov, n, offset, len, span_set, NULL, byte);
}

void iovec_add(IoVec *v, void *base, size_t len)
{
    if (!len) {
        return;
    }
    if (v->n == v->alloc) {
        v->alloc = v->alloc ? v->alloc * 2 : 8;
        v->iov = g_renew(struct iovec, v->iov, v->alloc);
    }
    v->iov[v->n++] = (struct iovec){base, len};
    v->size += len;
}

void iovec_init_buf(IoVec *v, void *buf, size_t len)
{
    *v = (IoVec)IOVEC_INIT;
    iovec_add(v, buf, len);
}

void iovec_concat(IoVec *v, const IoVec *src, size_t offset, size_t len)
{
    for (unsigned i = 0; i < src->n && len; i++) {
        if (offset >= src->iov[i].iov_len) {
            offset -= src->iov[i].iov_len;
            continue;
        }
        size_t span = MIN(src->iov[i].iov_len - offset, len);
        iovec_add(v, (char *)src->iov[i].iov_base + offset, span);
        len -= span;
        offset = 0;
    }
}

void iovec_reset(IoVec *v)
{
    v->n = 0;
    v->size = 0;
}

void iovec_free(IoVec *v)
{
    g_free(v->iov);
    *v = (IoVec)IOVEC_INIT;
}
