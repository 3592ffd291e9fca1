/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * chardev/backend.h: for those who implement a character backend.
 *
 * A backend is a type below "chardev" whose class table is a ChardevClass.  Its
 * ports are where frontends sit: one, or several for a mux.  Input is read on the
 * control loop into the port's small buffer and delivered on the frontend's loop;
 * output is written where it arises, under the backend's leaf lock.
 */
#ifndef RHEA_CHARDEV_BACKEND_H
#define RHEA_CHARDEV_BACKEND_H

#include "chardev/chardev.h"

#include <pthread.h>

#define CHAR_PORT_BUFFER 4096
#define CHAR_MAX_PORTS 8
#define CHAR_OUT_LIMIT (1024 * 1024)

typedef struct CharPort {
    Chardev *chr;
    CharFrontend *fe; /* NULL: free */
    /* Guarded by the backend's lock: */
    uint8_t in[CHAR_PORT_BUFFER]; /* [in_pos, in_len) waits for the frontend */
    unsigned in_pos, in_len;
    uint8_t events[16]; /* CharEvent, in order */
    unsigned n_events;
    bool scheduled; /* a delivery is on its way to the frontend's loop */
} CharPort;

struct Chardev {
    Object obj; /* its name below /chardevs is the id */
    EventLoop *loop;
    pthread_mutex_t lock; /* a leaf: guards what follows, and the class's write() */
    CharPort *ports;
    unsigned n_ports;
    bool open;          /* somebody is at the other end; else output is lost */
    bool want_write;    /* something waits until the other side has room */
    bool update_queued; /* control_update() is on its way to the control loop */
    GByteArray *out;    /* rest of char_write_all() */
    int log_fd;         /* logfile=, or -1 */
    char *filename;     /* for info chardev */
};
#define CHARDEV(o) OBJECT_CAST(Chardev, o, TYPE_CHARDEV)

typedef struct CharOptions CharOptions;

typedef struct ChardevClass {
    /* Takes its options and opens; control thread. Sets chr->open if usable at once. */
    bool (*open)(Chardev *chr, CharOptions *o, Error **errp);
    void (*close)(Chardev *chr); /* control thread; also after a failed open */
    /*
     * Writes without blocking: bytes taken, 0 if there is no room now.  Errors of the
     * other side take everything.  Any thread, lock held.
     */
    size_t (*write)(Chardev *chr, const uint8_t *buf, size_t len);
    /* chr->want_write or the room in a port's buffer changed. Control loop, no lock. */
    void (*update)(Chardev *chr);
    /* A frontend has sat down at the port. Lock held. */
    void (*attached)(Chardev *chr, unsigned port);
    void (*send_break)(Chardev *chr);
    void (*set_serial)(Chardev *chr, const CharSerialParams *p);
    unsigned ports; /* 0: one */
} ChardevClass;
static inline const ChardevClass *chardev_class(const Chardev *chr)
{
    return object_class(&chr->obj);
}

/* ---- what backends call (control loop, no lock held) ---- */
size_t char_input_room(Chardev *chr, unsigned port);
/* At most what char_input_room() said. */
void char_input(Chardev *chr, unsigned port, const uint8_t *buf, size_t len);
/* To the frontend of one port. */
void char_port_event(Chardev *chr, unsigned port, CharEvent ev);
/* The other side came or went: sets chr->open, tells the frontends. */
void char_set_open(Chardev *chr, bool open);
/* The other side has room again: flushes, and tells who waits. */
void char_writable(Chardev *chr);
void char_set_filename(Chardev *chr, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

/* ---- options: members are taken one by one; what nobody took is a mistake ---- */
CharOptions *char_options_new(const Json *options);
const char *char_option_string(CharOptions *o, const char *key, const char *def);
/* Like the above; its absence is a mistake. */
const char *char_option_required(CharOptions *o, const char *key);
bool char_option_bool(CharOptions *o, const char *key, bool def);
uint64_t char_option_uint(CharOptions *o, const char *key, uint64_t def, uint64_t max);
uint64_t char_option_size(CharOptions *o, const char *key, uint64_t def);
bool char_option_has(CharOptions *o, const char *key);
void char_option_mistake(CharOptions *o, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* false with all mistakes in one error. Call before touching the world. */
bool char_options_check(CharOptions *o, Error **errp);
void char_options_free(CharOptions *o);

/* ---- backends over descriptors ---- */
typedef struct FdChardev {
    Chardev chr;
    int fd_in, fd_out; /* -1: none; may be the same */
    bool blocking;     /* fd_out may not be made non-blocking (it is shared): ask first */
    bool eof;
    int watched_in, watched_out; /* what the loop watches now, or -1 */
    /* The end of the input, or an error; NULL: CHAR_EVENT_CLOSED and no more reading. */
    void (*hangup)(struct FdChardev *f);
    /* Looks at input before it is delivered, in place; returns the new length. */
    size_t (*filter)(struct FdChardev *f, uint8_t *buf, size_t len);
} FdChardev;
void fd_chardev_init(FdChardev *f, int fd_in, int fd_out);
/* Exchanges the descriptors while others may be writing. */
void fd_chardev_set(FdChardev *f, int fd_in, int fd_out);
void fd_chardev_update(Chardev *chr);
size_t fd_chardev_write(Chardev *chr, const uint8_t *buf, size_t len);
/* Stops watching; closes what is above 2. */
void fd_chardev_close(Chardev *chr);

/* ---- process-wide things of one machine, below its root ---- */
#define TYPE_CHARDEV_MANAGER "chardev-manager"
typedef struct ChardevManager {
    Object obj;
    void (*quit)(void *opaque);
    bool (*save)(void *opaque, Error **errp);
    void *escape_opaque; /* of both */
    uint8_t escape;      /* -echr; Ctrl-A */
} ChardevManager;
ChardevManager *chardev_manager(Object *root);
/* Wraps `base` (an opened backend that nobody uses yet). */
bool chardev_mux_connect(Chardev *mux, Chardev *base, Error **errp);

#endif
