/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's memory, as the front-end hands it over. */
#include "block/export/vhost.h"
#include "util/sigbus.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static bool overlap(uint64_t a, uint64_t b, uint64_t a_len, uint64_t b_len)
{
    return a < b ? b - a < a_len : a - b < b_len;
}

static bool plausible(const VhostMem *m, const VhostRegion *r, Error **errp)
{
    uint64_t end;
    if (!r->size || __builtin_add_overflow(r->gpa, r->size - 1, &end) ||
        __builtin_add_overflow(r->uva, r->size - 1, &end) ||
        __builtin_add_overflow(r->offset, r->size, &end) || end > (uint64_t)INT64_MAX) {
        error_set(errp, "a memory region is empty or wraps around");
        return false;
    }
    if (m->n == VHOST_REGIONS_MAX) {
        error_set(errp, "more than %u memory regions", VHOST_REGIONS_MAX);
        return false;
    }
    for (unsigned i = 0; i < m->n; i++) {
        const VhostRegion *o = &m->regions[i];
        if (overlap(r->gpa, o->gpa, r->size, o->size) ||
            overlap(r->uva, o->uva, r->size, o->size)) {
            error_set(errp, "memory regions overlap");
            return false;
        }
    }
    return true;
}

bool vhost_mem_add(VhostMem *m, const VhostRegion *r, int fd, Error **errp)
{
    struct stat st;
    if (!plausible(m, r, errp)) {
        return false;
    }
    /* Beyond the end of the file lies SIGBUS. */
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size < r->offset + r->size) {
        error_set(errp, "a memory region is larger than its file");
        return false;
    }
    VhostRegion *n = &m->regions[m->n];
    *n = *r;
    /* From its start: pages may be huge, and only the front-end knows how huge. */
    n->map_len = r->offset + r->size;
    n->map = mmap(NULL, n->map_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (n->map == MAP_FAILED) {
        error_set(errp, "a memory region cannot be mapped");
        return false;
    }
    madvise(n->map, n->map_len, MADV_DONTDUMP); /* a courtesy */
    if (!sigbus_guard(n->map, n->map_len)) {    /* the file can become shorter any time */
        munmap(n->map, n->map_len);
        error_set(errp, "too much memory is shared");
        return false;
    }
    m->n++;
    return true;
}

static void unmap(VhostRegion *r)
{
    sigbus_unguard(r->map);
    munmap(r->map, r->map_len);
}

bool vhost_mem_remove(VhostMem *m, const VhostRegion *r)
{
    for (unsigned i = 0; i < m->n; i++) {
        VhostRegion *o = &m->regions[i];
        if (o->gpa == r->gpa && o->uva == r->uva && o->size == r->size) {
            unmap(o);
            m->n--;
            memmove(o, o + 1, (m->n - i) * sizeof(*o));
            return true;
        }
    }
    return false;
}

void vhost_mem_clear(VhostMem *m)
{
    for (unsigned i = 0; i < m->n; i++) {
        unmap(&m->regions[i]);
    }
    m->n = 0;
}

void *vhost_mem_front(const VhostMem *m, uint64_t addr, uint64_t len)
{
    for (unsigned i = 0; i < m->n; i++) {
        const VhostRegion *r = &m->regions[i];
        if (addr >= r->uva && addr - r->uva < r->size && len <= r->size - (addr - r->uva)) {
            return (uint8_t *)r->map + r->offset + (addr - r->uva);
        }
    }
    return NULL;
}

void *vhost_mem_guest(const VhostMem *m, uint64_t gpa, size_t *len)
{
    for (unsigned i = 0; i < m->n; i++) {
        const VhostRegion *r = &m->regions[i];
        if (gpa >= r->gpa && gpa - r->gpa < r->size) {
            *len = (size_t)MIN((uint64_t)*len, r->size - (gpa - r->gpa));
            return (uint8_t *)r->map + r->offset + (gpa - r->gpa);
        }
    }
    return NULL;
}

bool vhost_mem_where(const VhostMem *m, const void *p, uint64_t *gpa)
{
    for (unsigned i = 0; i < m->n; i++) {
        const VhostRegion *r = &m->regions[i];
        uint64_t at = (uintptr_t)p - (uintptr_t)r->map - r->offset;
        if ((uintptr_t)p >= (uintptr_t)r->map + r->offset && at < r->size) {
            *gpa = r->gpa + at;
            return true;
        }
    }
    return false;
}
