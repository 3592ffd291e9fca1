/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/bufpool.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SMALLEST ((size_t)64 << 10)

/* The class whose buffers have room for len; BUFFER_CLASSES: none; -1: too small for one. */
static int class_of(size_t len)
{
    if (len <= SMALLEST / 2) {
        return -1;
    }
    int c = 0;
    while (c < BUFFER_CLASSES && SMALLEST << c < len) {
        c++;
    }
    return c;
}

void buffer_pool_init(BufferPool *p, size_t max)
{
    memset(p, 0, sizeof(*p));
    p->max = max;
}

void buffer_pool_fini(BufferPool *p)
{
    for (int c = 0; c < BUFFER_CLASSES; c++) {
        while (p->kept[c]) {
            void *buf = p->kept[c];
            p->kept[c] = *(void **)buf;
            munmap(buf, SMALLEST << c);
        }
    }
    p->bytes = 0;
}

void *buffer_take(BufferPool *p, size_t len)
{
    int c = class_of(len);
    if (c < 0 || c == BUFFER_CLASSES) {
        void *buf;
        return posix_memalign(&buf, 4096, len) ? NULL : buf;
    }
    void *buf = p->kept[c];
    if (buf) {
        p->kept[c] = *(void **)buf;
        p->bytes -= SMALLEST << c;
        return buf;
    }
    buf = mmap(NULL, SMALLEST << c, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return buf == MAP_FAILED ? NULL : buf;
}

void buffer_give(BufferPool *p, void *buf, size_t len)
{
    int c = class_of(len);
    if (!buf || c < 0 || c == BUFFER_CLASSES) {
        free(buf);
        return;
    }
    if (p->bytes + (SMALLEST << c) > p->max) {
        munmap(buf, SMALLEST << c);
        return;
    }
    *(void **)buf = p->kept[c];
    p->kept[c] = buf;
    p->bytes += SMALLEST << c;
}
