/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Backends over descriptors: the common part, and files, pipes, host serial ports, null. */
#include "chardev/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

/* ---- the common part ---- */
void fd_chardev_init(FdChardev *f, int fd_in, int fd_out)
{
    f->fd_in = fd_in;
    f->fd_out = fd_out;
    f->watched_in = f->watched_out = -1;
    f->eof = false;
}

void fd_chardev_set(FdChardev *f, int fd_in, int fd_out)
{
    pthread_mutex_lock(&f->chr.lock);
    f->fd_in = fd_in;
    f->fd_out = fd_out;
    f->eof = false;
    pthread_mutex_unlock(&f->chr.lock);
}

static void fd_ended(FdChardev *f)
{
    if (f->hangup) {
        f->hangup(f);
    } else if (!f->eof) {
        f->eof = true;
        char_port_event(&f->chr, 0, CHAR_EVENT_CLOSED);
    }
    fd_chardev_update(&f->chr);
}

static void fd_readable(void *opaque)
{
    FdChardev *f = opaque;
    uint8_t buf[CHAR_PORT_BUFFER];
    size_t room = char_input_room(&f->chr, 0);
    if (!room || f->fd_in < 0) {
        fd_chardev_update(&f->chr);
        return;
    }
    ssize_t n = read(f->fd_in, buf, MIN(room, sizeof(buf)));
    if (n > 0) {
        size_t len = f->filter ? f->filter(f, buf, (size_t)n) : (size_t)n;
        if (len) {
            char_input(&f->chr, 0, buf, len);
        }
        fd_chardev_update(&f->chr);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        fd_ended(f);
    }
}

static void fd_writable(void *opaque)
{
    FdChardev *f = opaque;
    char_writable(&f->chr);
    fd_chardev_update(&f->chr);
}

void fd_chardev_update(Chardev *chr)
{
    FdChardev *f = (FdChardev *)chr;
    bool in = f->fd_in >= 0 && !f->eof && char_input_room(chr, 0) > 0;
    bool out = f->fd_out >= 0 && __atomic_load_n(&chr->want_write, __ATOMIC_RELAXED);
    int want_in = in ? f->fd_in : -1, want_out = out ? f->fd_out : -1;
    if (want_in == f->watched_in && want_out == f->watched_out) {
        return;
    }
    if (f->watched_in >= 0 && f->watched_in != want_in && f->watched_in != want_out) {
        loop_watch_fd(chr->loop, f->watched_in, NULL, NULL, NULL);
    }
    if (f->watched_out >= 0 && f->watched_out != want_in && f->watched_out != want_out) {
        loop_watch_fd(chr->loop, f->watched_out, NULL, NULL, NULL);
    }
    if (in) {
        loop_watch_fd(chr->loop, f->fd_in, fd_readable, want_out == want_in ? fd_writable : NULL,
                      f);
    }
    if (out && want_out != want_in) {
        loop_watch_fd(chr->loop, f->fd_out, NULL, fd_writable, f);
    }
    f->watched_in = want_in;
    f->watched_out = want_out;
}

size_t fd_chardev_write(Chardev *chr, const uint8_t *buf, size_t len)
{
    FdChardev *f = (FdChardev *)chr;
    size_t done = 0;
    while (done < len && f->fd_out >= 0) {
        size_t n = len - done;
        if (f->blocking) {
            /* A terminal or pipe that reports room takes this much without waiting. */
            struct pollfd p = {.fd = f->fd_out, .events = POLLOUT};
            if (poll(&p, 1, 0) == 0) {
                return done;
            }
            n = MIN(n, 512);
        }
        ssize_t r = write(f->fd_out, buf + done, n);
        if (r >= 0) {
            done += (size_t)r;
        } else if (errno == EAGAIN) {
            return done;
        } else if (errno != EINTR) {
            return len; /* nobody will ever read it */
        }
    }
    return len;
}

void fd_chardev_close(Chardev *chr)
{
    FdChardev *f = (FdChardev *)chr;
    if (f->watched_in >= 0) {
        loop_watch_fd(chr->loop, f->watched_in, NULL, NULL, NULL);
    }
    if (f->watched_out >= 0 && f->watched_out != f->watched_in) {
        loop_watch_fd(chr->loop, f->watched_out, NULL, NULL, NULL);
    }
    if (f->fd_out > 2 && f->fd_out != f->fd_in) {
        close(f->fd_out);
    }
    if (f->fd_in > 2) {
        close(f->fd_in);
    }
    fd_chardev_init(f, -1, -1);
}

static void fd_type_init(Object *obj)
{
    fd_chardev_init((FdChardev *)obj, -1, -1);
}

OBJECT_TYPE(fd_type, .name = "chardev-fd", .parent = TYPE_CHARDEV, .size = sizeof(FdChardev),
            .help = "a descriptor", .init = fd_type_init, .abstract = true)

/* ---- null ---- */
static size_t null_write(Chardev *chr, const uint8_t *buf, size_t len)
{
    return len;
}

static bool null_open(Chardev *chr, CharOptions *o, Error **errp)
{
    chr->open = true;
    return char_options_check(o, errp);
}

static const ChardevClass null_class = {.open = null_open, .write = null_write};
OBJECT_TYPE(null_type, .name = "chardev-null", .parent = TYPE_CHARDEV, .help = "takes everything",
            .klass = &null_class)

/* ---- file ---- */
static int open_path(const char *path, int flags, Error **errp)
{
    int fd;
    do {
        fd = open(path, flags | O_CLOEXEC, 0666);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        error_set_errno(errp, errno, "Could not open '%s'", path);
    }
    return fd;
}

static bool file_open(Chardev *chr, CharOptions *o, Error **errp)
{
    FdChardev *f = (FdChardev *)chr;
    const char *path = char_option_required(o, "path");
    const char *input = char_option_string(o, "input-path", NULL);
    bool append = char_option_bool(o, "append", false);
    if (!char_options_check(o, errp)) {
        return false;
    }
    /* The input first: a mistake there must not empty the output. */
    int in = input ? open_path(input, O_RDONLY | O_NONBLOCK, errp) : -1;
    if (input && in < 0) {
        return false;
    }
    int out = open_path(path, O_WRONLY | O_CREAT | (append ? O_APPEND : O_TRUNC), errp);
    if (out < 0) {
        if (in >= 0) {
            close(in);
        }
        return false;
    }
    fd_chardev_init(f, in, out);
    chr->open = true;
    return true;
}

static const ChardevClass file_class = {.open = file_open,
                                        .close = fd_chardev_close,
                                        .write = fd_chardev_write,
                                        .update = fd_chardev_update};
OBJECT_TYPE(file_type, .name = "chardev-file", .parent = "chardev-fd",
            .help = "output to a file, input from another", .klass = &file_class)

/* ---- pipe ---- */
static bool pipe_open(Chardev *chr, CharOptions *o, Error **errp)
{
    FdChardev *f = (FdChardev *)chr;
    const char *path = char_option_required(o, "path");
    if (!char_options_check(o, errp)) {
        return false;
    }
    g_autofree char *name_in = g_strdup_printf("%s.in", path);
    g_autofree char *name_out = g_strdup_printf("%s.out", path);
    /* Read-write, so that a pipe without a peer opens and does not end. */
    int in = open(name_in, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    int out = open(name_out, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (in < 0 || out < 0) {
        if (in >= 0) {
            close(in);
        }
        if (out >= 0) {
            close(out);
        }
        in = out = open_path(path, O_RDWR | O_NONBLOCK, errp);
        if (in < 0) {
            error_hint(errp, "make the two pipes first: mkfifo %s %s", name_in, name_out);
            return false;
        }
    }
    fd_chardev_init(f, in, out);
    chr->open = true;
    return true;
}

static const ChardevClass pipe_class = {.open = pipe_open,
                                        .close = fd_chardev_close,
                                        .write = fd_chardev_write,
                                        .update = fd_chardev_update};
OBJECT_TYPE(pipe_type, .name = "chardev-pipe", .parent = "chardev-fd",
            .help = "two named pipes, PATH.in and PATH.out", .klass = &pipe_class)

/* ---- a serial port of the host ---- */
static void serial_send_break(Chardev *chr)
{
    tcsendbreak(((FdChardev *)chr)->fd_out, 0);
}

static void serial_params(Chardev *chr, const CharSerialParams *p)
{
    static const struct {
        int rate;
        speed_t code;
    } rates[] = {{50, B50},       {75, B75},         {110, B110},       {150, B150},
                 {300, B300},     {600, B600},       {1200, B1200},     {2400, B2400},
                 {4800, B4800},   {9600, B9600},     {19200, B19200},   {38400, B38400},
                 {57600, B57600}, {115200, B115200}, {230400, B230400}, {0, B9600}};
    static const tcflag_t sizes[] = {CS5, CS6, CS7, CS8};
    FdChardev *f = (FdChardev *)chr;
    struct termios t;
    if (f->fd_in < 0 || tcgetattr(f->fd_in, &t) < 0) {
        return;
    }
    cfmakeraw(&t);
    unsigned i = 0;
    while (rates[i].rate && rates[i].rate < p->speed * 95 / 100) {
        i++;
    }
    cfsetspeed(&t, rates[i].code);
    t.c_cflag &= ~(tcflag_t)(CSIZE | PARENB | PARODD | CSTOPB);
    t.c_cflag |=
        CLOCAL | CREAD | sizes[p->data_bits >= 5 && p->data_bits <= 8 ? p->data_bits - 5 : 3];
    t.c_cflag |= p->parity == 'E' ? PARENB : p->parity == 'O' ? PARENB | PARODD : 0;
    t.c_cflag |= p->stop_bits == 2 ? CSTOPB : 0;
    tcsetattr(f->fd_in, TCSANOW, &t);
}

static bool serial_open(Chardev *chr, CharOptions *o, Error **errp)
{
    const char *path = char_option_required(o, "path");
    if (!char_options_check(o, errp)) {
        return false;
    }
    int fd = open_path(path, O_RDWR | O_NOCTTY | O_NONBLOCK, errp);
    if (fd < 0) {
        return false;
    }
    fd_chardev_init((FdChardev *)chr, fd, fd);
    if (!isatty(fd)) {
        error_set(errp, "'%s' is no serial port", path);
        return false;
    }
    serial_params(chr, &(CharSerialParams){115200, 8, 1, 'N'});
    chr->open = true;
    return true;
}

static const char *const serial_aliases[] = {"chardev-tty", NULL};
static const ChardevClass serial_class = {.open = serial_open,
                                          .close = fd_chardev_close,
                                          .write = fd_chardev_write,
                                          .update = fd_chardev_update,
                                          .send_break = serial_send_break,
                                          .set_serial = serial_params};
OBJECT_TYPE(serial_type, .name = "chardev-serial", .parent = "chardev-fd",
            .help = "a serial port of the host", .klass = &serial_class, .aliases = serial_aliases)
