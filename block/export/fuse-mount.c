/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/export/fuse-mount.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEVICE "/dev/fuse"
#define HELPER "fusermount3"

static const char *others(bool allow_other)
{
    return allow_other ? ",allow_other,default_permissions" : "";
}

/* -1 with errno set. */
static int mount_directly(const char *path, bool allow_other)
{
    int fd = open(DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return -1;
    }
    g_autofree char *data =
        g_strdup_printf("fd=%d,rootmode=100000,user_id=%u,group_id=%u%s", fd, (unsigned)getuid(),
                        (unsigned)getgid(), others(allow_other));
    if (mount("rhea", path, "fuse.rhea", MS_NOSUID | MS_NODEV | MS_NOATIME, data) == 0) {
        return fd;
    }
    int err = errno;
    close(fd);
    errno = err;
    return -1;
}

/* ---- the helper: it sends the descriptor over a socket that it inherits ---- */

static int receive_fd(int sock)
{
    union {
        char buf[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    char byte;
    struct iovec iov = {&byte, 1};
    struct msghdr h = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.buf,
                       .msg_controllen = sizeof(control.buf)};
    int fd = -1;
    if (recvmsg(sock, &h, MSG_CMSG_CLOEXEC) > 0) {
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
            c->cmsg_len == CMSG_LEN(sizeof(int))) {
            memcpy(&fd, CMSG_DATA(c), sizeof(int));
        }
    }
    return fd;
}

/* Exit status 0?  `said`: what it wrote to its standard error. */
static bool run_helper(char **argv, char **envp, char **said)
{
    g_autoptr(GError) gerr = NULL;
    int status = -1;
    bool ok = g_spawn_sync(NULL, argv, envp, G_SPAWN_SEARCH_PATH | G_SPAWN_LEAVE_DESCRIPTORS_OPEN,
                           NULL, NULL, NULL, said, &status, &gerr);
    if (!ok) {
        *said = g_strdup(gerr->message);
    } else {
        g_strchomp(*said);
    }
    return ok && status == 0;
}

static int mount_by_helper(const char *path, bool allow_other, char **said)
{
    int s[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) < 0) {
        *said = g_strdup(g_strerror(errno));
        return -1;
    }
    fcntl(s[0], F_SETFD, 0);
    g_autofree char *options = g_strdup_printf("fsname=rhea,subtype=rhea%s", others(allow_other));
    g_autofree char *number = g_strdup_printf("%d", s[0]);
    char *argv[] = {(char *)HELPER, (char *)"-o", options, (char *)"--", (char *)path, NULL};
    g_auto(GStrv) envp = g_environ_setenv(g_get_environ(), "_FUSE_COMMFD", number, TRUE);
    int fd = -1;
    bool ok = run_helper(argv, envp, said);
    close(s[0]);
    if (ok) {
        fd = receive_fd(s[1]);
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    }
    close(s[1]);
    return fd;
}

int fuse_mount(const char *path, bool allow_other, Error **errp)
{
    int fd = mount_directly(path, allow_other);
    if (fd >= 0) {
        return fd;
    }
    int err = errno;
    if (err != EPERM && err != EACCES) {
        error_set_errno(errp, err, "cannot mount a FUSE file system over '%s'", path);
        if (err == ENOENT || err == ENODEV || err == ENXIO) {
            error_hint(errp, "this host has no FUSE (" DEVICE ")");
        }
        return -1;
    }
    g_autofree char *said = NULL;
    fd = mount_by_helper(path, allow_other, &said);
    if (fd < 0) {
        error_set(errp, "cannot mount a FUSE file system over '%s': %s", path,
                  said ? said : g_strerror(err));
        error_hint(errp, "it takes root, or the package fuse3 with its helper " HELPER);
    }
    return fd;
}

void fuse_unmount(const char *path)
{
    if (umount2(path, UMOUNT_NOFOLLOW | MNT_DETACH) == 0 || errno != EPERM) {
        return;
    }
    g_autofree char *said = NULL;
    char *argv[] = {(char *)HELPER, (char *)"-u", (char *)"-z", (char *)"-q",
                    (char *)"--",   (char *)path, NULL};
    run_helper(argv, NULL, &said);
}
