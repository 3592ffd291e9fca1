/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * chardev/chardev.h: character backends: where a serial line, a monitor or a
 * debug console leads.  Knows nothing of devices.
 *
 * A Chardev is an Object below /chardevs ("chardev-stdio", "-socket", "-pty",
 * "-file", "-null", …).  One frontend at a time uses it, through a CharFrontend
 * (with mux=on: several, switched by the escape character).  Backends live on
 * the control loop; a frontend on another loop gets its callbacks there.
 */
#ifndef RHEA_CHARDEV_CHARDEV_H
#define RHEA_CHARDEV_CHARDEV_H

#include "event/loop.h"
#include "qom/object.h"

#define TYPE_CHARDEV "chardev"

typedef struct Chardev Chardev;

typedef enum CharEvent {
    CHAR_EVENT_OPENED,
    CHAR_EVENT_CLOSED,
    CHAR_EVENT_BREAK,
    CHAR_EVENT_MUX_IN, /* this frontend has the keyboard now */
    CHAR_EVENT_MUX_OUT,
} CharEvent;

typedef struct CharHandlers {
    /* How many bytes can be taken now; 0 stops the flow until char_accept_input(). */
    size_t (*can_receive)(void *opaque);
    void (*receive)(void *opaque, const uint8_t *buf, size_t len);
    void (*event)(void *opaque, CharEvent ev);
} CharHandlers;

typedef struct CharFrontend {
    Chardev *chr; /* NULL: nothing connected; all calls are fine and do nothing */
    const CharHandlers *handlers;
    void *opaque;
    EventLoop *loop;
    unsigned tag;                   /* the mux's */
    void (*writable)(void *opaque); /* of char_when_writable() */
    void *writable_opaque;
} CharFrontend;

/* Connects; fails if the backend already has its (only) frontend. */
bool char_attach(CharFrontend *fe, Chardev *chr, const CharHandlers *h, void *opaque,
                 EventLoop *loop, Error **errp);
void char_detach(CharFrontend *fe);
/*
 * Writes what fits without blocking; returns the number of bytes taken, 0 when
 * the other side is full (call again from the char_when_writable() callback, which comes once).
 * Without a backend, and while nobody is connected, everything is taken and lost.
 * Any thread.
 */
size_t char_write(CharFrontend *fe, const uint8_t *buf, size_t len);
/* Buffers what does not fit at once (bounded at 1 MiB): consoles, monitors. */
void char_write_all(CharFrontend *fe, const uint8_t *buf, size_t len);
void char_when_writable(CharFrontend *fe, void (*fn)(void *opaque), void *opaque);
void char_accept_input(CharFrontend *fe);
bool char_connected(const CharFrontend *fe);
void char_send_break(CharFrontend *fe);
/* On a mux: gives this frontend the keyboard. Control loop. */
void chardev_mux_take_focus(CharFrontend *fe);
/* Serial line parameters and modem lines; ignored by backends without them. */
typedef struct CharSerialParams {
    int speed, data_bits, stop_bits;
    char parity; /* 'N', 'E', 'O' */
} CharSerialParams;
void char_set_serial(CharFrontend *fe, const CharSerialParams *p);

/*
 * Makes a backend under /chardevs from an option object ("backend", "id", …:
 * QEMU's -chardev), or from the short forms of -serial and -monitor ("stdio",
 * "mon:stdio", "pty", "file:x", "unix:path,server=on,wait=off",
 * "tcp:host:port,…", "telnet:…", "null", "none", "vc", "chardev:id").
 * *none is set for "none".
 */
Chardev *chardev_new(Object *root, const char *id, Json *options, EventLoop *control, Error **errp);
Chardev *chardev_new_short(Object *root, const char *id, const char *text, EventLoop *control,
                           bool *none, bool *with_monitor, Error **errp);
Chardev *chardev_find(Object *root, const char *id, Error **errp);
/* Closes and removes all that nobody uses any more: at the end of a machine. */
void chardev_remove_all(Object *root);
/* Restores the terminal; flushes. Called at exit, also after an error. */
void chardev_cleanup_terminal(void);
/* "disconnected:unix:/x,server=on": for info chardev and query-chardev. Owned by chr. */
const char *chardev_filename(const Chardev *chr);
void chardev_set_escape(Object *root, uint8_t escape); /* -echr; default Ctrl-A */
/* Reads and empties a ringbuf; NULL if `chr` is none. Caller frees. */
GByteArray *chardev_ringbuf_read(Chardev *chr, size_t max);
/* The backends' names ("socket"), NULL-terminated, for help; g_free it. */
const char **chardev_backends(void);
/*
 * What a mux calls, on its loop's thread: `quit` at `Ctrl-A x`; `save` at `Ctrl-A s`, which writes
 * the disks' temporary changes to their images (an error is shown there).  Set by system/.
 */
void chardev_set_escape_handlers(Object *root, void (*quit)(void *opaque),
                                 bool (*save)(void *opaque, Error **errp), void *opaque);

#endif
