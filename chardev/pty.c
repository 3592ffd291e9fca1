/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A pseudo-terminal: whoever opens its other end is connected. */
#include "chardev/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

typedef struct PtyChardev {
    FdChardev f;
    int master;
    Timer poll; /* the kernel does not tell when the other end is opened */
    char *link; /* path= */
} PtyChardev;

#define PTY_POLL (200 * NS_PER_MS)

static void pty_set(PtyChardev *p, bool open)
{
    int fd = open ? p->master : -1;
    fd_chardev_set(&p->f, fd, fd);
    char_set_open(&p->f.chr, open);
    fd_chardev_update(&p->f.chr);
    if (!open) {
        timer_mod(&p->poll, clock_now(loop_clocks(p->f.chr.loop), CLOCK_RT) + PTY_POLL);
    }
}

static void pty_look(void *opaque)
{
    PtyChardev *p = opaque;
    struct pollfd pfd = {.fd = p->master, .events = POLLIN};
    bool there = poll(&pfd, 1, 0) >= 0 && !(pfd.revents & POLLHUP);
    pty_set(p, there);
}

static void pty_hangup(FdChardev *f)
{
    pty_set((PtyChardev *)f, false);
}

static bool pty_fail(int fd, Error **errp)
{
    error_set_errno(errp, errno, "Could not make a pseudo-terminal");
    if (fd >= 0) {
        close(fd);
    }
    return false;
}

static bool pty_open(Chardev *chr, CharOptions *o, Error **errp)
{
    PtyChardev *p = (PtyChardev *)chr;
    const char *link_path = char_option_string(o, "path", NULL);
    char name[128];
    if (!char_options_check(o, errp)) {
        return false;
    }
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || grantpt(fd) < 0 || unlockpt(fd) < 0 || ptsname_r(fd, name, sizeof(name))) {
        return pty_fail(fd, errp);
    }
    /* Opened and closed once: raw mode sticks, and the other end counts as hung up. */
    int slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct termios t;
    if (slave < 0 || tcgetattr(slave, &t) < 0) {
        return pty_fail(fd, errp);
    }
    cfmakeraw(&t);
    tcsetattr(slave, TCSANOW, &t);
    close(slave);
    p->master = fd;
    if (link_path) {
        if (symlink(name, link_path) < 0) {
            error_set_errno(errp, errno, "Could not make the symbolic link '%s'", link_path);
            return false;
        }
        p->link = g_strdup(link_path);
    }
    p->f.hangup = pty_hangup;
    char_set_filename(chr, "pty:%s", name);
    timer_init(&p->poll, chr->loop, CLOCK_RT, pty_look, p);
    pty_look(p);
    return true;
}

static void pty_close(Chardev *chr)
{
    PtyChardev *p = (PtyChardev *)chr;
    timer_fini(&p->poll);
    if (p->link) {
        unlink(p->link);
        g_free(p->link);
    }
    p->f.fd_in = p->f.fd_out = p->master;
    fd_chardev_close(chr);
}

static void pty_init(Object *obj)
{
    ((PtyChardev *)obj)->master = -1;
}

static const ChardevClass pty_class = {
    .open = pty_open, .close = pty_close, .write = fd_chardev_write, .update = fd_chardev_update};
OBJECT_TYPE(pty_type, .name = "chardev-pty", .parent = "chardev-fd", .size = sizeof(PtyChardev),
            .help = "a pseudo-terminal", .init = pty_init, .klass = &pty_class)
