/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "accel/tcg/perfmap.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

struct PerfMap {
    FILE *file;
};

PerfMap *perfmap_open(Error **errp)
{
    g_autofree char *path = g_strdup_printf("/tmp/perf-%d.map", (int)getpid());
    /* Others may write to /tmp, too: no links. */
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    if (!f) {
        error_set_errno(errp, errno, "-perfmap: could not write %s", path);
        if (fd >= 0) {
            close(fd);
        }
        return NULL;
    }
    setvbuf(f, NULL, _IOLBF, 0);
    PerfMap *m = g_new(PerfMap, 1);
    m->file = f;
    return m;
}

void perfmap_close(PerfMap *m)
{
    if (m) {
        fclose(m->file);
        g_free(m);
    }
}

void perfmap_add(PerfMap *m, const void *code, size_t size, uint64_t rip, const char *name)
{
    if (m && name) {
        fprintf(m->file, "%" PRIxPTR " %zx rhea-%s\n", (uintptr_t)code, size, name);
    } else if (m) {
        fprintf(m->file, "%" PRIxPTR " %zx guest-0x%" PRIx64 "\n", (uintptr_t)code, size, rip);
    }
}
