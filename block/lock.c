/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/lock.h"

#include "util/bits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define BYTE_PERM 100
#define BYTE_DENIED 200
#define PERM_BITS 5

static int ofd_lock(int fd, int cmd, short type, off_t byte)
{
    struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    int ret;
    do {
        ret = fcntl(fd, cmd, &fl);
    } while (ret < 0 && errno == EINTR);
    if (ret < 0) {
        return -errno;
    }
    return cmd == F_OFD_GETLK && fl.l_type != F_UNLCK ? -EAGAIN : 0;
}

bool image_lock_supported(int fd)
{
    return ofd_lock(fd, F_OFD_GETLK, F_RDLCK, BYTE_PERM) != -EINVAL;
}

/* Does `pid` have the file open with a lock on one of our bytes? */
static bool process_holds(const char *pid, const struct stat *file)
{
    g_autofree char *dir = g_strdup_printf("/proc/%s/fd", pid);
    GDir *d = g_dir_open(dir, 0, NULL);
    bool holds = false;
    for (const char *fd; d && !holds && (fd = g_dir_read_name(d));) {
        g_autofree char *path = g_strdup_printf("%s/%s", dir, fd);
        struct stat st;
        if (stat(path, &st) < 0 || st.st_ino != file->st_ino || st.st_dev != file->st_dev) {
            continue;
        }
        g_autofree char *info = g_strdup_printf("/proc/%s/fdinfo/%s", pid, fd);
        g_autofree char *text = NULL;
        holds = g_file_get_contents(info, &text, NULL, NULL) && strstr(text, "lock:");
    }
    if (d) {
        g_dir_close(d);
    }
    return holds;
}

char *image_lock_holder(int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        return NULL;
    }
    /* OFD locks carry no process id in /proc/locks; fdinfo shows them per process. */
    GDir *proc = g_dir_open("/proc", 0, NULL);
    char *found = NULL;
    char self[32];
    snprintf(self, sizeof(self), "%ld", (long)getpid());
    for (const char *pid; proc && !found && (pid = g_dir_read_name(proc));) {
        if (!g_ascii_isdigit(pid[0]) || !strcmp(pid, self) || !process_holds(pid, &st)) {
            continue;
        }
        g_autofree char *path = g_strdup_printf("/proc/%s/comm", pid);
        g_autofree char *comm = NULL;
        if (g_file_get_contents(path, &comm, NULL, NULL)) {
            found = g_strdup_printf("process %s (%s)", pid, g_strstrip(comm));
        } else {
            found = g_strdup_printf("process %s", pid);
        }
    }
    if (proc) {
        g_dir_close(proc);
    }
    if (!found && process_holds(self, &st)) {
        found = g_strdup("this process");
    }
    return found;
}

static void report_conflict(int fd, const char *path, bool want_write, Error **errp)
{
    g_autofree char *holder = image_lock_holder(fd);
    error_set(errp, "'%s' is in use by %s", path, holder ? holder : "another process");
    if (want_write) {
        error_hint(errp, "end that process, use another image, or add snapshot=on if only reading "
                         "is needed");
    } else {
        error_hint(errp, "end that process, or add force-share=on to read the image while it "
                         "changes");
    }
}

/* Takes the bits of `add`, or drops those of `drop`. */
static int change_bits(int fd, off_t base, uint32_t add, uint32_t drop)
{
    for (unsigned i = 0; i < PERM_BITS; i++) {
        int ret = 0;
        if (add & BIT(i)) {
            ret = ofd_lock(fd, F_OFD_SETLK, F_RDLCK, base + (off_t)i);
        } else if (drop & BIT(i)) {
            ret = ofd_lock(fd, F_OFD_SETLK, F_UNLCK, base + (off_t)i);
        }
        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

static int find_conflict(int fd, uint32_t perms, uint32_t denied)
{
    for (unsigned i = 0; i < PERM_BITS; i++) {
        int ret = 0;
        if (perms & BIT(i)) {
            ret = ofd_lock(fd, F_OFD_GETLK, F_WRLCK, BYTE_DENIED + (off_t)i);
        }
        if (ret == 0 && (denied & BIT(i))) {
            ret = ofd_lock(fd, F_OFD_GETLK, F_WRLCK, BYTE_PERM + (off_t)i);
        }
        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

static bool somebody_gone(int fd)
{
    g_autofree char *holder = image_lock_holder(fd);
    return !holder || !strcmp(holder, "this process");
}

bool image_lock_set(ImageLock *l, int fd, const char *path, uint32_t perms, uint32_t denied,
                    Error **errp)
{
    uint32_t add_p = perms & ~l->perms, add_d = denied & ~l->denied;
    int ret = change_bits(fd, BYTE_PERM, add_p, 0);
    if (ret == 0) {
        ret = change_bits(fd, BYTE_DENIED, add_d, 0);
    }
    if (ret == 0) {
        ret = find_conflict(fd, add_p, add_d);
    }
    /*
     * The kernel may still be at work on requests of a process that was killed: its locks stay for
     * some milliseconds, and nobody has them.
     */
    for (int i = 0; ret == -EAGAIN && i < 25 && somebody_gone(fd); i++) {
        g_usleep(20000);
        ret = find_conflict(fd, add_p, add_d);
    }
    if (ret < 0) {
        change_bits(fd, BYTE_PERM, 0, add_p);
        change_bits(fd, BYTE_DENIED, 0, add_d);
        if (ret == -EAGAIN || ret == -EACCES) {
            report_conflict(fd, path, (perms & IMAGE_PERM_WRITE) != 0, errp);
        } else {
            error_set_errno(errp, -ret, "cannot lock '%s'", path);
        }
        return false;
    }
    change_bits(fd, BYTE_PERM, 0, l->perms & ~perms);
    change_bits(fd, BYTE_DENIED, 0, l->denied & ~denied);
    l->perms = perms;
    l->denied = denied;
    return true;
}
