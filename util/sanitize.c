/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/sanitize.h"

#ifdef __SANITIZE_THREAD__
unsigned tsan_fence_word;

#define UNSEEN __attribute__((no_sanitize_thread, noinline))
UNSEEN uint64_t guest_ld(const void *p, unsigned size)
{
    uint64_t v = 0;
    switch (size) {
    case 1:
        __builtin_memcpy(&v, p, 1);
        break;
    case 2:
        __builtin_memcpy(&v, p, 2);
        break;
    case 4:
        __builtin_memcpy(&v, p, 4);
        break;
    default:
        __builtin_memcpy(&v, p, 8);
        break;
    }
    return v;
}

UNSEEN void guest_st(void *p, unsigned size, uint64_t v)
{
    switch (size) {
    case 1:
        __builtin_memcpy(p, &v, 1);
        break;
    case 2:
        __builtin_memcpy(p, &v, 2);
        break;
    case 4:
        __builtin_memcpy(p, &v, 4);
        break;
    default:
        __builtin_memcpy(p, &v, 8);
        break;
    }
}
#endif
