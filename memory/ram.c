/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * RAM blocks: host memory that guests see, in all the ways a host can give it.
 */
#include "memory/internal.h"
#include "util/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MFD_HUGE_SHIFT
#define MFD_HUGE_SHIFT 26
#endif

#define THP_SIZE (2 * MiB)

/* ---- where the memory comes from ---- */

static bool open_memfd(RamBlock *b, const RamOptions *o, Error **errp)
{
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;

    if (o->huge) {
        flags |= MFD_HUGETLB;
        if (o->huge_page_size) {
            flags |= (unsigned)__builtin_ctzll(o->huge_page_size) << MFD_HUGE_SHIFT;
        }
    }
    b->fd = memfd_create(b->name, flags);
    if (b->fd < 0) {
        error_set_errno(errp, errno, "cannot create a memory file for '%s'", b->name);
        return false;
    }
    if (ftruncate(b->fd, (off_t)b->size) < 0) {
        error_set_errno(errp, errno, "cannot give the memory file of '%s' %" PRIu64 " bytes",
                        b->name, b->size);
        return false;
    }
    if (o->seal && fcntl(b->fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0) {
        error_set_errno(errp, errno, "cannot seal the memory file of '%s'", b->name);
        return false;
    }
    return true;
}

static int open_in_directory(const char *dir, const char *name)
{
    g_autofree char *path = g_strdup_printf("%s/rhea-ram-%s-XXXXXX", dir, name);
    int fd;

    for (char *p = path + strlen(dir) + 1; *p; p++) {
        if (*p == '/') {
            *p = '_';
        }
    }
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0) {
        unlink(path);
    }
    return fd;
}

/* Makes the file large enough; a file that holds something already must be so. */
static bool size_file(RamBlock *b, const RamOptions *o, bool fresh, Error **errp)
{
    uint64_t need = o->fd_offset + b->size;
    struct stat st;

    if (fstat(b->fd, &st) < 0) {
        error_set_errno(errp, errno, "cannot look at memory file '%s'", o->path);
        return false;
    }
    if (S_ISREG(st.st_mode) && (fresh || st.st_size == 0) && !o->readonly) {
        if (ftruncate(b->fd, (off_t)need) < 0) {
            error_set_errno(errp, errno, "cannot give memory file '%s' %" PRIu64 " bytes", o->path,
                            need);
            return false;
        }
    } else if (S_ISREG(st.st_mode) && (uint64_t)st.st_size < need) {
        error_set(errp,
                  "memory file '%s' is too small: it has %" PRIu64 " bytes, %" PRIu64 " are needed",
                  o->path, (uint64_t)st.st_size, need);
        return false;
    }
    return true;
}

static bool open_path(RamBlock *b, const RamOptions *o, Error **errp)
{
    struct stat st;
    struct statfs fs;
    bool fresh = false;

    if (stat(o->path, &st) == 0 && S_ISDIR(st.st_mode)) {
        fresh = true;
        b->fd = open_in_directory(o->path, b->name);
    } else if (o->readonly) {
        b->fd = open(o->path, O_RDONLY | O_CLOEXEC);
    } else {
        b->fd = open(o->path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    }
    if (b->fd < 0) {
        error_set_errno(errp, errno, "cannot open memory file '%s'", o->path);
        return false;
    }
    if (fstatfs(b->fd, &fs) == 0 && (unsigned long)fs.f_type == HUGETLBFS_MAGIC) {
        b->page_size = (size_t)fs.f_bsize;
    }
    if (!IS_ALIGNED(b->size, b->page_size) || !IS_ALIGNED(o->fd_offset, b->page_size)) {
        error_set(errp, "size and offset of '%s' must be multiples of %zu, the page size of '%s'",
                  b->name, b->page_size, o->path);
        return false;
    }
    b->fd_offset = o->fd_offset;
    return size_file(b, o, fresh, errp);
}

/* ---- mapping ---- */

/* Maps `size` bytes at an address aligned to `align` (a power of two). */
static void *map_aligned(RamBlock *b, const RamOptions *o, size_t align)
{
    int prot = o->rom ? PROT_READ : PROT_READ | PROT_WRITE;
    int flags = (b->shared ? MAP_SHARED : MAP_PRIVATE) | (b->fd < 0 ? MAP_ANONYMOUS : 0) |
                (o->reserve ? 0 : MAP_NORESERVE);
    size_t room;
    uint8_t *area, *p;

    if (__builtin_add_overflow(b->size, align, &room)) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    /* Reserve more than is needed, put the memory where it is aligned, give back the rest. */
    area = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED) {
        return area;
    }
    p = (uint8_t *)ALIGN_UP((uintptr_t)area, align);
    if (mmap(p, b->size, prot, flags | MAP_FIXED, b->fd, (off_t)b->fd_offset) == MAP_FAILED) {
        int err = errno;

        munmap(area, room);
        errno = err;
        return MAP_FAILED;
    }
    if (p > area) {
        munmap(area, (size_t)(p - area));
    }
    if (area + room > p + b->size) {
        munmap(p + b->size, (size_t)(area + room - (p + b->size)));
    }
    return p;
}

static bool bind_nodes(RamBlock *b, const RamOptions *o, Error **errp)
{
    unsigned long mask[64] = {0}; /* 4096 nodes */
    unsigned max = 0;

    if (!o->numa_policy && !(o->host_nodes && *o->host_nodes != 0xffff)) {
        return true;
    }
    for (const uint16_t *n = o->host_nodes; n && *n != 0xffff; n++) {
        if (*n >= sizeof(mask) * 8) {
            error_set(errp, "memory '%s': there is no host node %u", b->name, *n);
            return false;
        }
        mask[*n / 64] |= 1ul << (*n % 64);
        max = max > *n + 1u ? max : *n + 1u;
    }
    /* The kernel takes the number of bits plus one. */
    if (syscall(SYS_mbind, b->host, b->size, o->numa_policy, max ? mask : NULL, max ? max + 1 : 0,
                0) < 0) {
        error_set_errno(errp, errno, "cannot bind memory '%s' to host nodes", b->name);
        return false;
    }
    return true;
}

typedef struct Populate {
    uint8_t *start;
    size_t len;
    int error;
} Populate;

static gpointer populate(gpointer opaque)
{
    Populate *p = opaque;

    if (p->len && madvise(p->start, p->len, MADV_POPULATE_WRITE) < 0) {
        p->error = errno;
    }
    return NULL;
}

static bool prealloc(RamBlock *b, const RamOptions *o, Error **errp)
{
    unsigned n = CLAMP(o->prealloc_threads, 1, 64);
    g_autofree Populate *parts = g_new0(Populate, n);
    g_autofree GThread **threads = g_new0(GThread *, n);
    size_t step = ALIGN_UP(b->size / n, b->page_size);
    int error = 0;

    for (unsigned i = 0; i < n; i++) {
        size_t from = step * i < b->size ? step * i : b->size;
        size_t to = i == n - 1 || from + step > b->size ? b->size : from + step;

        parts[i] = (Populate){.start = b->host + from, .len = to - from};
        if (i) {
            threads[i] = g_thread_new("prealloc", populate, &parts[i]);
        }
    }
    populate(&parts[0]);
    for (unsigned i = 0; i < n; i++) {
        if (threads[i]) {
            g_thread_join(threads[i]);
        }
        error = parts[i].error ? parts[i].error : error;
    }
    if (error == EINVAL) {
        /* Kernels before 5.14: touch every page. */
        for (size_t at = 0; at < b->size; at += b->page_size) {
            volatile uint8_t *p = b->host + at;
            *p = *p;
        }
    } else if (error) {
        error_set_errno(errp, error, "cannot allocate all of memory '%s' (%" PRIu64 " bytes) now",
                        b->name, b->size);
        error_hint(errp, "give the guest less memory, or leave out prealloc=on");
        return false;
    }
    return true;
}

static void advise(RamBlock *b, const RamOptions *o)
{
    /* Advice that the kernel does not take changes nothing that anybody relies on. */
    if (b->fd < 0 && b->size >= THP_SIZE) {
        madvise(b->host, b->size, MADV_HUGEPAGE);
    }
    if (o->merge) {
        madvise(b->host, b->size, MADV_MERGEABLE);
    }
    if (!o->dump) {
        madvise(b->host, b->size, MADV_DONTDUMP);
    }
}

static bool map_block(RamBlock *b, const RamOptions *o, Error **errp)
{
    size_t align = o->align > b->page_size ? o->align : b->page_size;
    void *p;

    if (!IS_POWER_OF_2(align)) {
        error_set(errp, "memory '%s': align=%" PRIu64 " is not a power of two", b->name, o->align);
        return false;
    }
    if (b->size >= THP_SIZE && align < THP_SIZE) {
        align = THP_SIZE;
    }
    p = map_aligned(b, o, align);
    if (p == MAP_FAILED) {
        g_autofree char *size = g_format_size_full(b->size, G_FORMAT_SIZE_IEC_UNITS);

        error_set_errno(errp, errno, "cannot map %s of memory for '%s'", size, b->name);
        error_hint(errp, "give the guest less memory (-m)");
        return false;
    }
    b->host = p;
    advise(b, o);
    return bind_nodes(b, o, errp) && (!o->prealloc || prealloc(b, o, errp));
}

/* ---- dirty bitmaps ---- */

static size_t bitmap_bytes(const RamBlock *b)
{
    uint64_t pages = DIV_ROUND_UP(b->size, 1ull << RAM_DIRTY_PAGE_BITS);

    return DIV_ROUND_UP(pages, 64) * 8;
}

static bool make_bitmaps(RamBlock *b, Error **errp)
{
    for (int c = 0; c < DIRTY_CLIENTS; c++) {
        b->dirty[c] = g_try_malloc(bitmap_bytes(b));
        if (!b->dirty[c]) {
            error_set(errp, "out of memory for the dirty bitmaps of '%s'", b->name);
            return false;
        }
        memset(b->dirty[c], 0xff, bitmap_bytes(b));
    }
    return true;
}

/* ---- life ---- */

static void block_free(RamBlock *b)
{
    if (b->host) {
        if (b->discard && b->fd >= 0) {
            fallocate(b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)b->fd_offset,
                      (off_t)b->size);
        }
        munmap(b->host, b->size);
    }
    if (b->fd >= 0) {
        close(b->fd);
    }
    for (int c = 0; c < DIRTY_CLIENTS; c++) {
        g_free(b->dirty[c]);
    }
    g_free(b->name);
    g_free(b);
}

RamBlock *ram_block_new(MemorySystem *sys, const char *name, uint64_t size, const RamOptions *o,
                        Error **errp)
{
    static const RamOptions plain = {.dump = true, .reserve = true};
    RamBlock *b = g_new0(RamBlock, 1);
    bool ok = true;

    if (fault_here("ram_block_new", errp)) {
        g_free(b);
        return NULL;
    }
    o = o ? o : &plain;
    b->name = g_strdup(name);
    b->fd = -1;
    b->refs = 1;
    b->page_size = (size_t)sysconf(_SC_PAGESIZE);
    b->shared = o->share;
    b->mergeable = o->merge;
    b->discard = o->discard;
    if (o->memfd && o->huge && o->huge_page_size) {
        b->page_size = o->huge_page_size;
    }
    b->size = ALIGN_UP(size, (uint64_t)b->page_size);
    if (!size || b->size < size || b->size > (uint64_t)INT64_MAX) {
        error_set(errp, "memory '%s': %" PRIu64 " bytes is no possible size", name, size);
        ok = false;
    } else if (o->path) {
        ok = open_path(b, o, errp);
    } else if (o->memfd || o->share) {
        ok = open_memfd(b, o, errp);
    }
    if (!ok || !map_block(b, o, errp) || !make_bitmaps(b, errp)) {
        block_free(b);
        return NULL;
    }
    if (sys) {
        ram_block_attach(b, sys);
    }
    return b;
}

void ram_block_attach(RamBlock *b, MemorySystem *sys)
{
    PtrList *old;

    g_assert(!b->sys);
    b->sys = sys;
    pthread_mutex_lock(&sys->block_lock);
    old = sys->blocks;
    rcu_assign_pointer(sys->blocks, ptr_list_with(old, b, old->n));
    pthread_mutex_unlock(&sys->block_lock);
    ptr_list_free_later(old);
}

RamBlock *ram_block_ref(RamBlock *b)
{
    __atomic_fetch_add(&b->refs, 1, __ATOMIC_RELAXED);
    return b;
}

static void block_reclaim(RcuHead *head)
{
    block_free(container_of(head, RamBlock, rcu));
}

void ram_block_unref(RamBlock *b)
{
    if (!b || __atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL) > 0) {
        return;
    }
    if (b->sys) {
        MemorySystem *sys = b->sys;
        PtrList *old;

        pthread_mutex_lock(&sys->block_lock);
        old = sys->blocks;
        rcu_assign_pointer(sys->blocks, ptr_list_without(old, b));
        pthread_mutex_unlock(&sys->block_lock);
        ptr_list_free_later(old);
    }
    rcu_call(&b->rcu, block_reclaim);
}

void ram_block_detach_all(MemorySystem *sys)
{
    for (unsigned i = 0; i < sys->blocks->n; i++) {
        ((RamBlock *)sys->blocks->v[i])->sys = NULL;
    }
}

GList *memory_ram_blocks(MemorySystem *sys)
{
    GList *list = NULL;

    pthread_mutex_lock(&sys->block_lock);
    for (unsigned i = sys->blocks->n; i-- > 0;) {
        list = g_list_prepend(list, sys->blocks->v[i]);
    }
    pthread_mutex_unlock(&sys->block_lock);
    return list;
}
