/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hw/core/datafile.h"

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const system_dirs[] = {
    RHEA_DATADIR,           "/usr/share/seabios", "/usr/share/qemu", "/usr/lib/ipxe/qemu",
    "/usr/share/ipxe/qemu", "/usr/share/vgabios", "/usr/share/OVMF", NULL,
};

/* `name` in `dir` if it is there, else NULL. */
static char *try_dir(const char *dir, const char *name)
{
    char *path = g_build_filename(dir, name, NULL);

    if (access(path, R_OK) == 0) {
        return path;
    }
    g_free(path);
    return NULL;
}

char *datafile_find(Machine *m, const char *name, Error **errp)
{
    g_autoptr(GString) places = g_string_new(NULL);

    if (strchr(name, '/') || access(name, R_OK) == 0) {
        return g_strdup(name);
    }
    for (char **dir = m->data_dirs; dir && *dir; dir++) {
        char *path = try_dir(*dir, name);

        if (path) {
            return path;
        }
        g_string_append_printf(places, "%s%s", places->len ? ", " : "", *dir);
    }
    for (const char *const *dir = system_dirs; *dir; dir++) {
        char *path = try_dir(*dir, name);

        if (path) {
            return path;
        }
        g_string_append_printf(places, "%s%s", places->len ? ", " : "", *dir);
    }
    error_set(errp, "firmware file '%s' was not found in %s", name, places->str);
    return NULL;
}

/* Opens a regular file of at most `max` bytes; its descriptor and size, or -1. */
static int open_limited(const char *path, size_t max, size_t *size, Error **errp)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0) {
        error_set_errno(errp, errno, "cannot open '%s'", path);
    } else if (!S_ISREG(st.st_mode)) {
        error_set(errp, "'%s' is not a regular file", path);
    } else if ((uint64_t)st.st_size > max) {
        error_set(errp, "'%s' has %lld bytes; at most %zu fit", path, (long long)st.st_size, max);
    } else {
        *size = (size_t)st.st_size;
        return fd;
    }
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

/* A mapping's bounds, for its end. */
typedef struct Mapping {
    void *addr;
    size_t len;
} Mapping;

static void unmap(gpointer opaque)
{
    Mapping *m = opaque;

    munmap(m->addr, m->len);
    g_free(m);
}

GBytes *datafile_map(const char *path, size_t max, Error **errp)
{
    Mapping m;
    int fd = open_limited(path, max, &m.len, errp);

    if (fd < 0) {
        return NULL;
    }
    if (!m.len) {
        close(fd);
        return g_bytes_new(NULL, 0);
    }
    m.addr = mmap(NULL, m.len, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (m.addr == MAP_FAILED) {
        error_set_errno(errp, errno, "cannot map '%s'", path);
        close(fd);
        return NULL;
    }
    close(fd);
    return g_bytes_new_with_free_func(m.addr, m.len, unmap, g_memdup2(&m, sizeof(m)));
}

uint8_t *datafile_read(const char *path, size_t max, size_t *len, Error **errp)
{
    size_t size, got = 0;
    int fd = open_limited(path, max, &size, errp);
    uint8_t *buf;

    if (fd < 0) {
        return NULL;
    }
    buf = g_malloc(size + 1);
    while (got < size) {
        ssize_t n = read(fd, buf + got, size - got);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            error_set_errno(errp, errno, "cannot read '%s'", path);
            g_clear_pointer(&buf, g_free);
        }
        if (n <= 0) {
            break;
        }
        got += (size_t)n;
    }
    close(fd);
    *len = got;
    return buf;
}
