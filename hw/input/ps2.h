/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/input/ps2.h: PS/2 keyboard and mouse: the devices at the end of the wires.
 *
 * IBM PS/2 Hardware Interface Technical Reference ("Keyboard", "Mouse"), with
 * Microsoft's IntelliMouse (wheel) and IntelliMouse Explorer (5 buttons)
 * extensions.  The controller (hw/input/i8042.h) embeds both.
 */
#ifndef RHEA_HW_INPUT_PS2_H
#define RHEA_HW_INPUT_PS2_H

#include "state/state.h"
#include "ui/console.h"

#define PS2_QUEUE 256

/* What the device has said and the controller has not yet taken. */
typedef struct Ps2Queue {
    uint8_t data[PS2_QUEUE];
    uint32_t head, count;
    uint32_t replies; /* the first so many are answers to commands: never dropped */
} Ps2Queue;

typedef struct Ps2Device Ps2Device;
struct Ps2Device {
    Ps2Queue queue;
    void (*ready)(void *opaque);   /* there is (or no longer is) a byte to take */
    void (*drained)(Ps2Device *d); /* a byte was taken; or NULL */
    void *opaque;
    const char *name;
    UiContext *ui; /* or NULL: no input ever comes */
    InputHandler input;
    int32_t pending; /* command that waits for its argument, or -1 */
    uint8_t last;    /* for "resend" */
};

typedef struct Ps2Keyboard {
    Ps2Device ps2;
    uint8_t scan_set; /* 1-3 */
    uint8_t leds, rate;
    bool enabled;
    uint8_t modifiers;     /* shift, control and alt keys that are down */
    uint8_t key_mode[256]; /* set 3, by its codes: what the key sends */
} Ps2Keyboard;

typedef struct Ps2Mouse {
    Ps2Device ps2;
    uint8_t status;     /* scaling, enabled, remote */
    uint8_t resolution; /* 0-3 */
    uint8_t rate;       /* samples a second */
    uint8_t wrap;
    uint8_t type; /* 0, 3 (wheel) or 4 (explorer): the ID it answers */
    uint8_t knock;
    int32_t dx, dy, dz;
    uint8_t buttons;
    bool changed; /* a button changed since the last packet */
} Ps2Mouse;

void ps2_keyboard_init(Ps2Keyboard *k, UiContext *ui, EventLoop *loop, void (*ready)(void *),
                       void *opaque);
void ps2_mouse_init(Ps2Mouse *m, UiContext *ui, EventLoop *loop, void (*ready)(void *),
                    void *opaque);
void ps2_fini(Ps2Device *d);
void ps2_keyboard_reset(Ps2Keyboard *k);
void ps2_mouse_reset(Ps2Mouse *m);
/* A byte from the controller. */
void ps2_keyboard_write(Ps2Keyboard *k, uint8_t v);
void ps2_mouse_write(Ps2Mouse *m, uint8_t v);
bool ps2_has_data(const Ps2Device *d);
/* The byte that comes next answers a command: it needs no pause before it. */
bool ps2_next_is_reply(const Ps2Device *d);
uint8_t ps2_take(Ps2Device *d);
extern const StateDesc ps2_keyboard_state, ps2_mouse_state;

#endif
