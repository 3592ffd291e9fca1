/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/input/ps2_int.h: shared by the PS/2 keyboard and mouse.  Not for others.
 */
#ifndef RHEA_HW_INPUT_PS2_INT_H
#define RHEA_HW_INPUT_PS2_INT_H

#include "hw/input/ps2.h"

#define PS2_ACK 0xfa
#define PS2_RESEND 0xfe

/* Commands of both. */
enum {
    PS2_CMD_GET_ID = 0xf2,
    PS2_CMD_RATE = 0xf3,
    PS2_CMD_ENABLE = 0xf4,
    PS2_CMD_DISABLE = 0xf5,
    PS2_CMD_DEFAULTS = 0xf6,
    PS2_CMD_RESEND = 0xfe,
    PS2_CMD_RESET = 0xff,
};

/* Sets up what both share and registers `d->input`, whose functions are filled in. */
void ps2_init(Ps2Device *d, const char *name, UiContext *ui, EventLoop *loop, void (*ready)(void *),
              void *opaque);
/* Is there room for n more bytes that are not answers? */
bool ps2_room(const Ps2Device *d, unsigned n);
void ps2_put(Ps2Device *d, uint8_t v);
void ps2_reply(Ps2Device *d, uint8_t v);
/* The answer to PS2_CMD_RESET. */
void ps2_reply_self_test(Ps2Device *d);
/* What is left of the commands: says the last byte again, or refuses what does not exist. */
void ps2_other_command(Ps2Device *d, uint8_t cmd);
void ps2_queue_clear(Ps2Device *d);
/* Tells the controller, after one or more of the above. */
void ps2_ready(Ps2Device *d);
extern const StateDesc ps2_device_state;

#endif
