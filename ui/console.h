/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ui/console.h: pictures out of, and input into, a machine.
 *
 * A display device owns a Console and publishes Surfaces with damage; listeners
 * (VNC, screendump, SDL …) read them.  Keyboards and mice register an
 * InputHandler; listeners and monitors send them events.
 *
 * Threads: a display device works under its loop's lock; it is asked for a fresh
 * picture by `update` (called with that lock, from the control loop).  Surfaces
 * are reference-counted and may be read on the control thread while the device
 * holds nothing: a torn line is repaired by the next damage.
 */
#ifndef RHEA_UI_CONSOLE_H
#define RHEA_UI_CONSOLE_H

#include "event/loop.h"
#include "qom/object.h"
#include "ui/keycodes.h"

#include <pixman.h>

typedef struct Console Console;
typedef struct UiContext UiContext; /* consoles and input handlers of one machine */

/* ---- surfaces ---- */
typedef struct Surface {
    pixman_image_t *image; /* usually PIXMAN_x8r8g8b8 */
    int refs;
} Surface;
Surface *surface_new(int width, int height); /* x8r8g8b8, black */
/* Over foreign memory (video RAM) that outlives the surface. */
Surface *surface_new_from(int width, int height, pixman_format_code_t format, int stride,
                          void *data);
Surface *surface_ref(Surface *s);
void surface_unref(Surface *s);
int surface_width(const Surface *s);
int surface_height(const Surface *s);
int surface_stride(const Surface *s);
uint8_t *surface_data(const Surface *s);
pixman_format_code_t surface_format(const Surface *s);

typedef struct Cursor {
    int width, height, hot_x, hot_y;
    int refs;
    uint32_t pixels[]; /* ARGB, not premultiplied */
} Cursor;
Cursor *cursor_new(int width, int height);
void cursor_unref(Cursor *c);

/* ---- devices' side ---- */
typedef struct ConsoleOps {
    /* Bring the surface up to date, calling console_damage(). Device lock held. */
    void (*update)(void *opaque);
    /* Forget what was drawn: the next update redraws everything. */
    void (*invalidate)(void *opaque);
    /* The text on screen, for consoles in text mode; rows end in \n; or NULL. */
    char *(*text)(void *opaque);
    /* A viewer would like this size. */
    void (*ui_resize)(void *opaque, int width, int height);
} ConsoleOps;
Console *console_new(UiContext *ui, const ConsoleOps *ops, void *opaque, EventLoop *loop,
                     const char *name, Object *device);
void console_free(Console *c);
/* Takes over the reference. The picture's size may have changed. */
void console_set_surface(Console *c, Surface *s);
Surface *console_surface(Console *c); /* borrowed by the device */
void console_damage(Console *c, int x, int y, int w, int h);
void console_set_cursor(Console *c, Cursor *cursor); /* takes over; NULL: none */
void console_move_cursor(Console *c, int x, int y, bool visible);

/* ---- listeners' side (control loop) ---- */
typedef struct ConsoleListener ConsoleListener;
typedef struct ConsoleListenerOps {
    void (*surface)(ConsoleListener *l, Surface *s); /* new surface; take a ref to keep */
    void (*damage)(ConsoleListener *l, int x, int y, int w, int h);
    void (*cursor)(ConsoleListener *l, Cursor *c);
    void (*cursor_moved)(ConsoleListener *l, int x, int y, bool visible);
} ConsoleListenerOps;
struct ConsoleListener {
    const ConsoleListenerOps *ops;
    void *opaque;
    Console *console;
    unsigned interval_ms; /* wish for refreshes; 0: none */
};
void console_listen(Console *c, ConsoleListener *l);
void console_unlisten(ConsoleListener *l);
/* Asks the device for a fresh picture now; returns a referenced surface. */
Surface *console_refresh(Console *c);
char *console_text(Console *c); /* caller frees; NULL in graphics modes */

UiContext *ui_new(EventLoop *control);
void ui_free(UiContext *ui);
Console *ui_console(UiContext *ui, unsigned index); /* NULL beyond the last */
Console *ui_console_of(UiContext *ui, const char *device_id, unsigned head, Error **errp);
/* screendump: by the name's ending or `format` "ppm"/"png". */
bool ui_screendump(UiContext *ui, Console *c, const char *path, const char *format, Error **errp);

/* ---- input ---- */
typedef enum InputButton {
    INPUT_BUTTON_LEFT,
    INPUT_BUTTON_MIDDLE,
    INPUT_BUTTON_RIGHT,
    INPUT_BUTTON_WHEEL_UP,
    INPUT_BUTTON_WHEEL_DOWN,
    INPUT_BUTTON_SIDE,
    INPUT_BUTTON_EXTRA,
    INPUT_BUTTON_WHEEL_LEFT,
    INPUT_BUTTON_WHEEL_RIGHT,
} InputButton;
#define INPUT_ABS_MAX 0x7fff
typedef enum InputKind { INPUT_KEY, INPUT_BUTTON, INPUT_REL, INPUT_ABS } InputKind;
typedef struct InputEvent {
    InputKind kind;
    bool down; /* KEY, BUTTON */
    int code;  /* KEY: KeyCode (ui/keycodes.h); BUTTON; REL and ABS: axis 0 x, 1 y */
    int value; /* REL: delta; ABS: 0…INPUT_ABS_MAX */
} InputEvent;
typedef struct InputHandler {
    const char *name;
    unsigned mask;                                     /* of 1 << InputKind */
    void (*event)(void *opaque, const InputEvent *ev); /* on `loop`, locked */
    void (*sync)(void *opaque);                        /* end of a group of events */
    void *opaque;
    EventLoop *loop;
} InputHandler;
void input_add(UiContext *ui, InputHandler *h); /* newest of a kind gets the events */
void input_activate(UiContext *ui, InputHandler *h);
void input_remove(UiContext *ui, InputHandler *h);
/* Control thread. Events are queued in order and delivered on the handler's loop. */
void input_send(UiContext *ui, const InputEvent *ev, unsigned n);
bool input_is_absolute(UiContext *ui);
/* Presses all, waits hold_ms (0: 100), releases in reverse: sendkey, send-key. */
void input_send_keys(UiContext *ui, const int *keycodes, unsigned n, unsigned hold_ms);
/* Keyboard LEDs, as the guest sets them: for VNC. */
#define INPUT_LED_SCROLL 1u
#define INPUT_LED_NUM 2u
#define INPUT_LED_CAPS 4u
void input_set_leds(UiContext *ui, unsigned leds);

#endif
