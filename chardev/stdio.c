/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Standard input and output, with the terminal in raw mode.  The terminal is the
 * process's, not a machine's, hence the one static structure here.
 */
#include "chardev/backend.h"

#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static struct {
    bool in_use; /* by a backend */
    bool is_raw; /* `saved` must be restored */
    struct termios saved, raw;
} terminal;

void chardev_cleanup_terminal(void)
{
    if (terminal.is_raw) {
        terminal.is_raw = false;
        tcsetattr(STDIN_FILENO, TCSANOW, &terminal.saved);
    }
}

/* Back in the foreground after Ctrl-Z or `fg`: the shell has changed the modes. */
static void continued(int sig)
{
    if (terminal.is_raw) {
        tcsetattr(STDIN_FILENO, TCSANOW, &terminal.raw);
    }
}

static void make_raw(bool signals)
{
    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &terminal.saved) < 0) {
        return;
    }
    struct termios t = terminal.saved;
    t.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    t.c_oflag |= OPOST;
    t.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN);
    if (!signals) {
        t.c_lflag &= ~(tcflag_t)ISIG;
    }
    t.c_cflag &= ~(tcflag_t)(CSIZE | PARENB);
    t.c_cflag |= CS8;
    t.c_cc[VMIN] = 1;
    t.c_cc[VTIME] = 0;
    terminal.raw = t;
    terminal.is_raw = true;
    struct sigaction sa = {.sa_handler = continued, .sa_flags = SA_RESTART};
    sigaction(SIGCONT, &sa, NULL);
    tcsetattr(STDIN_FILENO, TCSANOW, &t);
}

static bool stdio_open(Chardev *chr, CharOptions *o, Error **errp)
{
    FdChardev *f = (FdChardev *)chr;
    bool signals = char_option_bool(o, "signal", true);
    if (!char_options_check(o, errp)) {
        return false;
    }
    if (terminal.in_use) {
        error_set(errp, "Standard input and output are in use by another character device");
        error_hint(errp, "-serial mon:stdio (or a chardev with mux=on) shares them");
        return false;
    }
    fd_chardev_init(f, STDIN_FILENO, STDOUT_FILENO);
    f->blocking = true; /* the shell's descriptors: their flags are not ours to change */
    terminal.in_use = true;
    make_raw(signals);
    chr->open = true;
    return true;
}

static void stdio_close(Chardev *chr)
{
    if (((FdChardev *)chr)->fd_in >= 0) {
        terminal.in_use = false;
        chardev_cleanup_terminal();
    }
    fd_chardev_close(chr);
}

static const ChardevClass stdio_class = {.open = stdio_open,
                                         .close = stdio_close,
                                         .write = fd_chardev_write,
                                         .update = fd_chardev_update};
OBJECT_TYPE(stdio_type, .name = "chardev-stdio", .parent = "chardev-fd",
            .help = "standard input and output", .klass = &stdio_class)
