/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mux=on: several frontends on one backend.  All write to it; the keyboard belongs to
 * one of them, and the escape character (Ctrl-A) hands it on.
 */
#include "chardev/backend.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

typedef struct MuxChardev {
    Chardev chr;
    CharFrontend base;
    unsigned focus;
    bool escaped; /* the escape character came */
    /* Under the lock: */
    bool timestamps, line_start;
    int64_t t0;
} MuxChardev;

static void mux_print(MuxChardev *m, const char *text)
{
    char_write_all(&m->base, (const uint8_t *)text, strlen(text));
}

static char *escape_name(uint8_t c)
{
    return c >= 1 && c <= 26 ? g_strdup_printf("C-%c", 'a' + c - 1) : g_strdup_printf("0x%02x", c);
}

static void mux_help(MuxChardev *m, uint8_t escape)
{
    g_autofree char *e = escape_name(escape);
    g_autofree char *text = g_strdup_printf("\r\n"
                                            "%s h    print this help\r\n"
                                            "%s x    exit emulator\r\n"
                                            "%s s    save disk data back to file (if -snapshot)\r\n"
                                            "%s t    toggle console timestamps\r\n"
                                            "%s b    send break (magic sysrq)\r\n"
                                            "%s c    switch between console and monitor\r\n"
                                            "%s %s  sends %s\r\n",
                                            e, e, e, e, e, e, e, e, e);
    mux_print(m, text);
}

static void mux_save(MuxChardev *m, ChardevManager *mgr)
{
    Error *err = NULL;

    if (mgr->save && !mgr->save(mgr->escape_opaque, &err)) {
        g_autofree char *text = g_strdup_printf("\r\ncommit: %s\r\n", error_message(err));

        mux_print(m, text);
        error_free(err);
    }
}

static void mux_set_focus(MuxChardev *m, unsigned port)
{
    if (port != m->focus) {
        char_port_event(&m->chr, m->focus, CHAR_EVENT_MUX_OUT);
    }
    m->focus = port;
    char_port_event(&m->chr, port, CHAR_EVENT_MUX_IN);
}

static void mux_next(MuxChardev *m)
{
    for (unsigned i = 1; i <= m->chr.n_ports; i++) {
        unsigned port = (m->focus + i) % m->chr.n_ports;
        if (m->chr.ports[port].fe) {
            if (port != m->focus) {
                mux_set_focus(m, port);
            }
            return;
        }
    }
}

/* The character behind the escape. true: it goes to the frontend as well. */
static bool mux_command(MuxChardev *m, uint8_t c)
{
    ChardevManager *mgr = chardev_manager(object_root(&m->chr.obj));
    if (c == mgr->escape) {
        return true;
    }
    switch (tolower(c)) {
    case 'x':
        mux_print(m, "\r\nTerminated\r\n");
        if (mgr->quit) {
            mgr->quit(mgr->escape_opaque);
        }
        break;
    case 's':
        mux_save(m, mgr);
        break;
    case 'b':
        char_port_event(&m->chr, m->focus, CHAR_EVENT_BREAK);
        break;
    case 'c':
        mux_next(m);
        break;
    case 't':
        pthread_mutex_lock(&m->chr.lock);
        m->timestamps = !m->timestamps;
        m->t0 = clock_now(loop_clocks(m->chr.loop), CLOCK_RT);
        m->line_start = false;
        pthread_mutex_unlock(&m->chr.lock);
        break;
    case 'h':
    case '?':
        mux_help(m, mgr->escape);
        break;
    }
    return false;
}

/* ---- towards the base ---- */
static size_t mux_can_receive(void *opaque)
{
    MuxChardev *m = opaque;
    /* With nobody there, keys are still looked at for escapes. */
    return m->chr.ports[m->focus].fe ? char_input_room(&m->chr, m->focus) : CHAR_PORT_BUFFER;
}

static void mux_receive(void *opaque, const uint8_t *buf, size_t len)
{
    MuxChardev *m = opaque;
    uint8_t escape = chardev_manager(object_root(&m->chr.obj))->escape;
    for (size_t i = 0; i < len; i++) {
        if (m->escaped) {
            m->escaped = false;
            if (!mux_command(m, buf[i])) {
                continue;
            }
        } else if (buf[i] == escape && escape) {
            m->escaped = true;
            continue;
        }
        char_input(&m->chr, m->focus, &buf[i], 1);
    }
}

static void mux_base_event(void *opaque, CharEvent ev)
{
    MuxChardev *m = opaque;
    switch (ev) {
    case CHAR_EVENT_OPENED:
        char_set_open(&m->chr, true);
        break;
    case CHAR_EVENT_CLOSED:
        if (!m->base.chr->open) { /* else only its input ended */
            char_set_open(&m->chr, false);
        } else {
            char_port_event(&m->chr, m->focus, CHAR_EVENT_CLOSED);
        }
        break;
    case CHAR_EVENT_BREAK:
        char_port_event(&m->chr, m->focus, ev);
        break;
    default:
        break;
    }
}

static const CharHandlers mux_handlers = {mux_can_receive, mux_receive, mux_base_event};

bool chardev_mux_connect(Chardev *mux, Chardev *base, Error **errp)
{
    MuxChardev *m = (MuxChardev *)mux;
    mux->open = base->open;
    char_set_filename(mux, "mux");
    return char_attach(&m->base, base, &mux_handlers, m, mux->loop, errp);
}

/* ---- the class ---- */
static void mux_writable(void *opaque)
{
    char_writable(&((MuxChardev *)opaque)->chr);
}

static void mux_update(Chardev *chr)
{
    MuxChardev *m = (MuxChardev *)chr;
    /* A newcomer gets the keyboard if its owner has gone. */
    if (!chr->ports[m->focus].fe) {
        mux_next(m);
    }
    char_accept_input(&m->base);
    if (__atomic_load_n(&chr->want_write, __ATOMIC_RELAXED)) {
        char_when_writable(&m->base, mux_writable, m);
    }
}

static void stamp(MuxChardev *m)
{
    int64_t ms = (clock_now(loop_clocks(m->chr.loop), CLOCK_RT) - m->t0) / NS_PER_MS;
    g_autofree char *text =
        g_strdup_printf("[%02d:%02d:%02d.%03d] ", (int)(ms / 3600000), (int)(ms / 60000 % 60),
                        (int)(ms / 1000 % 60), (int)(ms % 1000));
    mux_print(m, text);
}

static size_t mux_write(Chardev *chr, const uint8_t *buf, size_t len)
{
    MuxChardev *m = (MuxChardev *)chr;
    if (!m->timestamps) {
        return char_write(&m->base, buf, len);
    }
    for (size_t i = 0; i < len; i++) {
        if (m->line_start && buf[i] != '\r') {
            m->line_start = false;
            stamp(m);
        }
        if (!char_write(&m->base, &buf[i], 1)) {
            return i;
        }
        if (buf[i] == '\n') {
            m->line_start = true;
        }
    }
    return len;
}

static void mux_close(Chardev *chr)
{
    char_detach(&((MuxChardev *)chr)->base);
}

/* The newest has the keyboard: of a monitor and the serial line made after it, the latter. */
static void mux_attached(Chardev *chr, unsigned port)
{
    ((MuxChardev *)chr)->focus = port;
}

static void mux_send_break(Chardev *chr)
{
    char_send_break(&((MuxChardev *)chr)->base);
}

static void mux_set_serial(Chardev *chr, const CharSerialParams *p)
{
    char_set_serial(&((MuxChardev *)chr)->base, p);
}

void chardev_mux_take_focus(CharFrontend *fe)
{
    if (fe->chr && object_is_a(&fe->chr->obj, "chardev-mux")) {
        mux_set_focus((MuxChardev *)fe->chr, fe->tag);
    }
}

static const ChardevClass mux_class = {.close = mux_close,
                                       .write = mux_write,
                                       .update = mux_update,
                                       .attached = mux_attached,
                                       .send_break = mux_send_break,
                                       .set_serial = mux_set_serial,
                                       .ports = CHAR_MAX_PORTS};
OBJECT_TYPE(mux_type, .name = "chardev-mux", .parent = TYPE_CHARDEV, .size = sizeof(MuxChardev),
            .help = "several users of one backend", .klass = &mux_class)
