/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PS/2 mouse, with the wheel of the IntelliMouse (ID 3) and the five buttons
 * of the IntelliMouse Explorer (ID 4), which a driver asks for by a knock: three
 * sample rates in a row.
 */
#include "hw/input/ps2_int.h"
#include "util/log.h"
#include "util/trace.h"

#include <glib.h>

TRACE_EVENT(ps2_mouse_write, "0x%02x")
TRACE_EVENT(ps2_mouse_packet, "dx %d dy %d dz %d buttons 0x%x")

/* Besides those that both devices know (PS2_CMD_*). */
enum {
    CMD_SCALE_1_1 = 0xe6,
    CMD_SCALE_2_1 = 0xe7,
    CMD_RESOLUTION = 0xe8,
    CMD_STATUS = 0xe9,
    CMD_STREAM = 0xea,
    CMD_READ = 0xeb,
    CMD_END_WRAP = 0xec,
    CMD_WRAP = 0xee,
    CMD_REMOTE = 0xf0,
};

#define STATUS_REMOTE 0x40
#define STATUS_ENABLED 0x20
#define STATUS_SCALE_2_1 0x10

/* Motion that has not been reported by then is lost, as a real counter overflows. */
#define MAX_DELTA 4096

/* In stream mode with scaling 2:1 (IBM PS/2 reference, "Scaling"). */
static int scale(const Ps2Mouse *m, int v)
{
    static const int8_t table[] = {0, 1, 1, 3, 6, 9};
    int a = ABS(v);

    if (!(m->status & STATUS_SCALE_2_1) || (m->status & STATUS_REMOTE)) {
        return v;
    }
    a = a < 6 ? table[a] : 2 * a;
    return v < 0 ? -a : a;
}

static int take(int32_t *delta, int min, int max)
{
    int v = CLAMP(*delta, min, max);

    *delta -= v;
    return v;
}

static void put_packet(Ps2Mouse *m, void (*put)(Ps2Device *, uint8_t))
{
    Ps2Device *d = &m->ps2;
    int dx = scale(m, take(&m->dx, -127, 127));
    int dy = scale(m, take(&m->dy, -127, 127));
    int dz = take(&m->dz, -8, 7);

    m->changed = false;
    trace(ps2_mouse_packet, dx, dy, dz, m->buttons);
    put(d, (uint8_t)(0x08 | (m->buttons & 7) | (dx < 0 ? 0x10 : 0) | (dy < 0 ? 0x20 : 0)));
    put(d, (uint8_t)dx);
    put(d, (uint8_t)dy);
    if (m->type == 3) {
        put(d, (uint8_t)dz);
    } else if (m->type == 4) {
        put(d, (uint8_t)((dz & 0x0f) | (m->buttons & 0x18) << 1));
    } else {
        m->dz = 0; /* a mouse without a wheel */
    }
}

static bool something_new(const Ps2Mouse *m)
{
    return m->dx || m->dy || (m->dz && m->type) || m->changed;
}

static bool streaming(const Ps2Mouse *m)
{
    return (m->status & STATUS_ENABLED) && !(m->status & STATUS_REMOTE) && !m->wrap;
}

/* Motion waits in the counters while a packet is on its way; buttons never wait. */
static void stream(Ps2Mouse *m)
{
    if (!streaming(m) || !something_new(m)) {
        return;
    }
    if (ps2_has_data(&m->ps2) && !m->changed) {
        return;
    }
    if (ps2_room(&m->ps2, 4)) {
        put_packet(m, ps2_put);
        ps2_ready(&m->ps2);
    }
}

static void drained(Ps2Device *d)
{
    Ps2Mouse *m = (Ps2Mouse *)d;

    if (!ps2_has_data(d) && streaming(m) && something_new(m)) {
        put_packet(m, ps2_put);
    }
}

static void button(Ps2Mouse *m, int code, bool down)
{
    static const uint8_t bits[] = {
        [INPUT_BUTTON_LEFT] = 0x01, [INPUT_BUTTON_RIGHT] = 0x02, [INPUT_BUTTON_MIDDLE] = 0x04,
        [INPUT_BUTTON_SIDE] = 0x08, [INPUT_BUTTON_EXTRA] = 0x10,
    };
    uint8_t bit;

    if (code == INPUT_BUTTON_WHEEL_UP || code == INPUT_BUTTON_WHEEL_DOWN) {
        if (down) {
            m->dz = CLAMP(m->dz + (code == INPUT_BUTTON_WHEEL_UP ? -1 : 1), -127, 127);
        }
        return;
    }
    if (code < 0 || code > INPUT_BUTTON_EXTRA) {
        return; /* a wheel to the side, which these mice do not have */
    }
    bit = bits[code];
    if (!(m->buttons & bit) == down) {
        /* Two changes are two packets, or a double click would be one. */
        if (m->changed) {
            stream(m);
        }
        m->buttons ^= bit;
        m->changed = true;
    }
}

static void mouse_event(void *opaque, const InputEvent *ev)
{
    Ps2Mouse *m = opaque;

    if (!(m->status & STATUS_ENABLED) && !(m->status & STATUS_REMOTE)) {
        return;
    }
    if (ev->kind == INPUT_BUTTON) {
        button(m, ev->code, ev->down);
    } else if (ev->kind == INPUT_REL && ev->code == 0) {
        m->dx = CLAMP(m->dx + CLAMP(ev->value, -MAX_DELTA, MAX_DELTA), -MAX_DELTA, MAX_DELTA);
    } else if (ev->kind == INPUT_REL) {
        m->dy = CLAMP(m->dy - CLAMP(ev->value, -MAX_DELTA, MAX_DELTA), -MAX_DELTA, MAX_DELTA);
    }
}

static void mouse_sync(void *opaque)
{
    stream(opaque);
}

/* ---- commands ---- */

static void defaults(Ps2Mouse *m)
{
    m->status = 0;
    m->resolution = 2; /* 4 counts a millimetre */
    m->rate = 100;
    m->wrap = 0;
    m->knock = 0;
    m->dx = m->dy = m->dz = 0;
    m->changed = false;
}

void ps2_mouse_reset(Ps2Mouse *m)
{
    ps2_queue_clear(&m->ps2);
    m->ps2.pending = -1;
    m->type = 0;
    m->buttons = 0;
    defaults(m);
}

/* 200, 100, 80 asks for the wheel; 200, 200, 80 for five buttons. */
static void set_rate(Ps2Mouse *m, uint8_t v)
{
    m->rate = v;
    if (v == 200) {
        m->knock = m->knock == 1 ? 2 : 1;
    } else if (v == 100 && m->knock == 1) {
        m->knock = 3;
    } else {
        if (v == 80 && m->knock == 3) {
            m->type = 3;
        } else if (v == 80 && m->knock == 2) {
            m->type = 4;
        }
        m->knock = 0;
    }
}

/* Commands that are only heard: false: it is none of them. */
static bool obey(Ps2Mouse *m, uint8_t v)
{
    switch (v) {
    case CMD_SCALE_1_1:
        m->status &= ~STATUS_SCALE_2_1;
        return true;
    case CMD_SCALE_2_1:
        m->status |= STATUS_SCALE_2_1;
        return true;
    case CMD_STREAM:
        m->status &= ~STATUS_REMOTE;
        return true;
    case CMD_REMOTE:
        m->status |= STATUS_REMOTE;
        return true;
    case CMD_RESOLUTION:
    case PS2_CMD_RATE:
        m->ps2.pending = v;
        return true;
    case CMD_WRAP:
        m->wrap = 1;
        return true;
    case CMD_END_WRAP:
        return true;
    case PS2_CMD_ENABLE:
        m->status |= STATUS_ENABLED;
        return true;
    case PS2_CMD_DISABLE:
        m->status &= ~STATUS_ENABLED;
        ps2_queue_clear(&m->ps2);
        return true;
    case PS2_CMD_DEFAULTS:
        defaults(m);
        ps2_queue_clear(&m->ps2);
        return true;
    default:
        return false;
    }
}

static void command(Ps2Mouse *m, uint8_t v)
{
    Ps2Device *d = &m->ps2;

    if (obey(m, v)) {
        ps2_reply(d, PS2_ACK);
        return;
    }
    switch (v) {
    case CMD_STATUS:
        ps2_reply(d, PS2_ACK);
        ps2_reply(d, (uint8_t)(m->status | (m->buttons & 1) << 2 | (m->buttons & 4) >> 1 |
                               (m->buttons & 2) >> 1));
        ps2_reply(d, m->resolution);
        ps2_reply(d, m->rate);
        break;
    case CMD_READ:
        ps2_reply(d, PS2_ACK);
        put_packet(m, ps2_reply);
        break;
    case PS2_CMD_GET_ID:
        ps2_reply(d, PS2_ACK);
        ps2_reply(d, m->type);
        break;
    case PS2_CMD_RESET:
        ps2_mouse_reset(m);
        ps2_reply_self_test(d);
        ps2_reply(d, 0x00);
        break;
    default:
        ps2_other_command(d, v);
        break;
    }
}

void ps2_mouse_write(Ps2Mouse *m, uint8_t v)
{
    Ps2Device *d = &m->ps2;
    int cmd = d->pending;

    trace(ps2_mouse_write, v);
    if (m->wrap && v != PS2_CMD_RESET && v != CMD_END_WRAP) {
        ps2_reply(d, v); /* everything comes back */
    } else if (cmd >= 0) {
        d->pending = -1;
        if (cmd == PS2_CMD_RATE) {
            set_rate(m, v);
        } else {
            m->resolution = v & 3;
        }
        ps2_reply(d, PS2_ACK);
    } else {
        m->wrap = 0;
        command(m, v);
    }
    ps2_ready(d);
}

void ps2_mouse_init(Ps2Mouse *m, UiContext *ui, EventLoop *loop, void (*ready)(void *),
                    void *opaque)
{
    m->ps2.input.mask = 1u << INPUT_BUTTON | 1u << INPUT_REL;
    m->ps2.input.event = mouse_event;
    m->ps2.input.sync = mouse_sync;
    m->ps2.drained = drained;
    ps2_init(&m->ps2, "PS/2 mouse", ui, loop, ready, opaque);
    ps2_mouse_reset(m);
}

static bool mouse_check(const void *obj, Error **errp)
{
    const Ps2Mouse *m = obj;

    if (m->type != 0 && m->type != 3 && m->type != 4) {
        error_set(errp, "ps2-mouse: type %u does not exist", m->type);
        return false;
    }
    return true;
}

const StateDesc ps2_mouse_state = {
    .name = "ps2-mouse",
    .version = 1,
    .fields =
        (const StateField[]){
            STATE_F_STRUCT(Ps2Mouse, ps2, ps2_device_state),
            STATE_F_UINT_MAX(Ps2Mouse, status, 0x70),
            STATE_F_UINT_MAX(Ps2Mouse, resolution, 3),
            STATE_F_UINT(Ps2Mouse, rate),
            STATE_F_UINT_MAX(Ps2Mouse, wrap, 1),
            STATE_F_UINT_MAX(Ps2Mouse, type, 4),
            STATE_F_UINT_MAX(Ps2Mouse, knock, 3),
            STATE_F_INT_RANGE(Ps2Mouse, dx, -MAX_DELTA, MAX_DELTA),
            STATE_F_INT_RANGE(Ps2Mouse, dy, -MAX_DELTA, MAX_DELTA),
            STATE_F_INT_RANGE(Ps2Mouse, dz, -127, 127),
            STATE_F_UINT_MAX(Ps2Mouse, buttons, 0x1f),
            STATE_F_BOOL(Ps2Mouse, changed),
            {0},
        },
    .check = mouse_check,
};
