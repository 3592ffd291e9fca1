/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The log of written pages: shared with the front-end, which clears what it has sent. */
#include "block/export/vhost.h"
#include "util/sigbus.h"

#include <sys/mman.h>
#include <sys/stat.h>

#define LOG_PAGE 4096u

void vhost_log_clear(VhostLog *l)
{
    if (l->map) {
        sigbus_unguard(l->map);
        munmap(l->map, l->map_len);
    }
    *l = (VhostLog){0};
}

bool vhost_log_set(VhostLog *l, int fd, uint64_t len, uint64_t offset)
{
    struct stat st;
    uint64_t end;
    vhost_log_clear(l);
    if (!len || __builtin_add_overflow(offset, len, &end) || fstat(fd, &st) < 0 ||
        !S_ISREG(st.st_mode) || (uint64_t)st.st_size < end) {
        return false;
    }
    void *p = mmap(NULL, end, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (p == MAP_FAILED) {
        return false;
    }
    if (!sigbus_guard(p, end)) {
        munmap(p, end);
        return false;
    }
    *l = (VhostLog){p, end, (uint8_t *)p + offset, len};
    return true;
}

void vhost_log_mark(VhostLog *l, uint64_t gpa, uint64_t len)
{
    uint64_t last = len ? (gpa + (len - 1)) / LOG_PAGE : 0;
    for (uint64_t page = gpa / LOG_PAGE; len && page <= last && page / 8 < l->len; page++) {
        uint8_t bit = (uint8_t)(1u << page % 8);
        if (!(__atomic_load_n(&l->bits[page / 8], __ATOMIC_RELAXED) & bit)) {
            __atomic_fetch_or(&l->bits[page / 8], bit, __ATOMIC_SEQ_CST);
        }
    }
}
