/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PS/2 keyboard: scan code sets 1, 2 and 3.  Repeats of a key that is held
 * come from whoever sends the input (a viewer's own keyboard), as more presses.
 */
#include "hw/input/ps2_int.h"
#include "util/bits.h"
#include "util/log.h"
#include "util/trace.h"

#include <string.h>

TRACE_EVENT(ps2_keyboard_write, "0x%02x")
TRACE_EVENT(ps2_keyboard_key, "code %d down %d")

/* Besides those that both devices know (PS2_CMD_*). */
enum {
    CMD_LEDS = 0xed,
    CMD_ECHO = 0xee,
    CMD_SCAN_SET = 0xf0,
    CMD_ALL_TYPEMATIC = 0xf7,
    CMD_ALL_MAKE_BREAK = 0xf8,
    CMD_ALL_MAKE = 0xf9,
    CMD_ALL_EVERYTHING = 0xfa,
    CMD_KEY_TYPEMATIC = 0xfb,
    CMD_KEY_MAKE_BREAK = 0xfc,
    CMD_KEY_MAKE = 0xfd,
};

/* Set 3: what a key sends besides its make code. */
#define KEY_REPEATS 1u
#define KEY_BREAKS 2u

#define MOD_SHIFT 0x03u /* left, right */
#define MOD_CTRL 0x0cu
#define MOD_ALT 0x30u

/* Set 1 code (what the 8042 makes of it) to the set 2 code of the key. */
static const uint8_t set1_to_set2[128] = {
    0x00, 0x76, 0x16, 0x1e, 0x26, 0x25, 0x2e, 0x36, 0x3d, 0x3e, 0x46, 0x45, 0x4e, 0x55, 0x66, 0x0d,
    0x15, 0x1d, 0x24, 0x2d, 0x2c, 0x35, 0x3c, 0x43, 0x44, 0x4d, 0x54, 0x5b, 0x5a, 0x14, 0x1c, 0x1b,
    0x23, 0x2b, 0x34, 0x33, 0x3b, 0x42, 0x4b, 0x4c, 0x52, 0x0e, 0x12, 0x5d, 0x1a, 0x22, 0x21, 0x2a,
    0x32, 0x31, 0x3a, 0x41, 0x49, 0x4a, 0x59, 0x7c, 0x11, 0x29, 0x58, 0x05, 0x06, 0x04, 0x0c, 0x03,
    0x0b, 0x83, 0x0a, 0x01, 0x09, 0x77, 0x7e, 0x6c, 0x75, 0x7d, 0x7b, 0x6b, 0x73, 0x74, 0x79, 0x69,
    0x72, 0x7a, 0x70, 0x71, 0x84, 0x60, 0x61, 0x78, 0x07, 0x0f, 0x17, 0x1f, 0x27, 0x2f, 0x37, 0x3f,
    0x47, 0x4f, 0x56, 0x5e, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0x40, 0x48, 0x50, 0x57, 0x6f,
    0x13, 0x19, 0x39, 0x51, 0x53, 0x5c, 0x5f, 0x62, 0x63, 0x64, 0x65, 0x67, 0x68, 0x6a, 0x6d, 0x6e,
};

/* Set 1 code to set 3 code (IBM PS/2 reference, "Scan Code Set 3"). */
static const uint8_t set1_to_set3[128] = {
    0x00, 0x08, 0x16, 0x1e, 0x26, 0x25, 0x2e, 0x36, 0x3d, 0x3e, 0x46, 0x45, 0x4e, 0x55, 0x66,
    0x0d, 0x15, 0x1d, 0x24, 0x2d, 0x2c, 0x35, 0x3c, 0x43, 0x44, 0x4d, 0x54, 0x5b, 0x5a, 0x11,
    0x1c, 0x1b, 0x23, 0x2b, 0x34, 0x33, 0x3b, 0x42, 0x4b, 0x4c, 0x52, 0x0e, 0x12, 0x5c, 0x1a,
    0x22, 0x21, 0x2a, 0x32, 0x31, 0x3a, 0x41, 0x49, 0x4a, 0x59, 0x7e, 0x19, 0x29, 0x14, 0x07,
    0x0f, 0x17, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x47, 0x4f, 0x76, 0x5f, 0x6c, 0x75, 0x7d, 0x84,
    0x6b, 0x73, 0x74, 0x7c, 0x69, 0x72, 0x7a, 0x70, 0x71, 0x57, 0x00, 0x13, 0x56, 0x5e,
};

/* Of the keys that sets 1 and 2 prefix with E0. */
static uint8_t set3_extended(uint8_t xt)
{
    static const uint8_t pairs[][2] = {
        {0x1c, 0x79}, {0x1d, 0x58}, {0x35, 0x77}, {0x37, 0x57}, {0x38, 0x39}, {0x47, 0x6e},
        {0x48, 0x63}, {0x49, 0x6f}, {0x4b, 0x61}, {0x4d, 0x6a}, {0x4f, 0x65}, {0x50, 0x60},
        {0x51, 0x6d}, {0x52, 0x67}, {0x53, 0x64}, {0x5b, 0x8b}, {0x5c, 0x8c}, {0x5d, 0x8d},
    };

    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        if (pairs[i][0] == xt) {
            return pairs[i][1];
        }
    }
    return 0;
}

static void put_all(Ps2Keyboard *k, const uint8_t *bytes, unsigned n)
{
    /* A whole sequence or nothing: half of one would be another key. */
    if (!ps2_room(&k->ps2, n)) {
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        ps2_put(&k->ps2, bytes[i]);
    }
    ps2_ready(&k->ps2);
}

/* Pause has no break code; it sends make and break at once (sets 1 and 2). */
static void send_pause(Ps2Keyboard *k, bool down)
{
    static const uint8_t set1[] = {0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5};
    static const uint8_t set2[] = {0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77};
    static const uint8_t break1[] = {0xe0, 0x46, 0xe0, 0xc6};
    static const uint8_t break2[] = {0xe0, 0x7e, 0xe0, 0xf0, 0x7e};

    if (!down) {
        return;
    }
    if (k->modifiers & MOD_CTRL) { /* the key is Break then */
        if (k->scan_set == 1) {
            put_all(k, break1, sizeof(break1));
        } else {
            put_all(k, break2, sizeof(break2));
        }
    } else if (k->scan_set == 1) {
        put_all(k, set1, sizeof(set1));
    } else {
        put_all(k, set2, sizeof(set2));
    }
}

/* Print Screen comes with a shift of its own, or is SysRq with Alt. */
static void send_print(Ps2Keyboard *k, bool down)
{
    static const uint8_t make1[] = {0xe0, 0x2a, 0xe0, 0x37}, break1[] = {0xe0, 0xb7, 0xe0, 0xaa};
    static const uint8_t make2[] = {0xe0, 0x12, 0xe0, 0x7c};
    static const uint8_t break2[] = {0xe0, 0xf0, 0x7c, 0xe0, 0xf0, 0x12};
    bool set1 = k->scan_set == 1;

    if (k->modifiers & MOD_ALT) {
        uint8_t sysrq1 = down ? 0x54 : 0xd4, sysrq2[] = {0xf0, 0x84};

        if (set1) {
            put_all(k, &sysrq1, 1);
        } else {
            put_all(k, down ? sysrq2 + 1 : sysrq2, down ? 1 : 2);
        }
    } else if (k->modifiers & (MOD_SHIFT | MOD_CTRL)) { /* without the extra shift */
        if (set1) {
            put_all(k, down ? make1 + 2 : break1, 2);
        } else {
            put_all(k, down ? make2 + 2 : break2, down ? 2 : 3);
        }
    } else if (set1) {
        put_all(k, down ? make1 : break1, 4);
    } else {
        put_all(k, down ? make2 : break2, down ? 4 : 6);
    }
}

static void send_set3(Ps2Keyboard *k, uint8_t code, bool down)
{
    uint8_t seq[] = {0xf0, code};

    if (!code) {
        return;
    }
    if (down) {
        put_all(k, seq + 1, 1);
    } else if (k->key_mode[code] & KEY_BREAKS) {
        put_all(k, seq, 2);
    }
}

static void send_plain(Ps2Keyboard *k, int xt, bool down)
{
    uint8_t seq[3], base = (uint8_t)(xt & 0x7f);
    unsigned n = 0;

    if (k->scan_set == 3) {
        send_set3(k, xt & 0x80 ? set3_extended(base) : set1_to_set3[base], down);
        return;
    }
    if (xt & 0x80) {
        seq[n++] = 0xe0;
    }
    if (k->scan_set == 1) {
        seq[n++] = (uint8_t)(base | (down ? 0 : 0x80));
    } else {
        if (!down) {
            seq[n++] = 0xf0;
        }
        seq[n++] = set1_to_set2[base];
    }
    put_all(k, seq, n);
}

static uint8_t modifier_bit(int code)
{
    switch (code) {
    case KEY_CODE_SHIFT:
        return 0x01;
    case KEY_CODE_SHIFT_R:
        return 0x02;
    case KEY_CODE_CTRL:
        return 0x04;
    case KEY_CODE_CTRL_R:
        return 0x08;
    case KEY_CODE_ALT:
        return 0x10;
    case KEY_CODE_ALT_R:
        return 0x20;
    default:
        return 0;
    }
}

static void key_event(void *opaque, const InputEvent *ev)
{
    Ps2Keyboard *k = opaque;
    uint8_t mod = modifier_bit(ev->code);
    int xt;

    if (ev->kind != INPUT_KEY) {
        return;
    }
    trace(ps2_keyboard_key, ev->code, ev->down);
    k->modifiers = ev->down ? k->modifiers | mod : k->modifiers & ~mod;
    if (!k->enabled) {
        return;
    }
    if (ev->code == KEY_CODE_PAUSE) {
        if (k->scan_set == 3) {
            send_set3(k, 0x62, ev->down);
        } else {
            send_pause(k, ev->down);
        }
    } else if (ev->code == KEY_CODE_PRINT && k->scan_set != 3) {
        send_print(k, ev->down);
    } else {
        xt = keycode_to_xt(ev->code);
        if (xt > 0) {
            send_plain(k, xt, ev->down);
        }
    }
}

/* ---- commands ---- */

static void set_all_modes(Ps2Keyboard *k, uint8_t mode)
{
    memset(k->key_mode, mode, sizeof(k->key_mode));
}

static void set_leds(Ps2Keyboard *k, uint8_t leds)
{
    k->leds = leds & 7;
    if (k->ps2.ui) {
        input_set_leds(k->ps2.ui, k->leds); /* same bits: scroll, num, caps */
    }
}

static void defaults(Ps2Keyboard *k)
{
    static const uint8_t make_break[] = {0x11, 0x12, 0x14, 0x19, 0x39, 0x58, 0x59};

    k->rate = 0x2b; /* 10.9 a second after 500 ms */
    set_all_modes(k, KEY_REPEATS);
    for (size_t i = 0; i < sizeof(make_break); i++) {
        k->key_mode[make_break[i]] = KEY_BREAKS;
    }
}

void ps2_keyboard_reset(Ps2Keyboard *k)
{
    ps2_queue_clear(&k->ps2);
    k->ps2.pending = -1;
    k->scan_set = 2;
    k->enabled = true;
    defaults(k);
    set_leds(k, 0);
}

static void argument(Ps2Keyboard *k, int cmd, uint8_t v)
{
    Ps2Device *d = &k->ps2;

    d->pending = -1;
    switch (cmd) {
    case CMD_LEDS:
        set_leds(k, v);
        break;
    case PS2_CMD_RATE:
        k->rate = v & 0x7f;
        break;
    case CMD_SCAN_SET:
        if (v > 3) {
            ps2_reply(d, PS2_RESEND);
            return;
        }
        ps2_reply(d, PS2_ACK);
        if (v) {
            k->scan_set = v;
        } else {
            ps2_reply(d, k->scan_set);
        }
        return;
    default: /* set 3: keys, until something that is a command comes */
        k->key_mode[v] = cmd == CMD_KEY_TYPEMATIC    ? KEY_REPEATS
                         : cmd == CMD_KEY_MAKE_BREAK ? KEY_BREAKS
                                                     : 0;
        d->pending = cmd;
        break;
    }
    ps2_reply(d, PS2_ACK);
}

static void command(Ps2Keyboard *k, uint8_t v)
{
    Ps2Device *d = &k->ps2;

    switch (v) {
    case CMD_LEDS:
    case PS2_CMD_RATE:
    case CMD_SCAN_SET:
    case CMD_KEY_TYPEMATIC:
    case CMD_KEY_MAKE_BREAK:
    case CMD_KEY_MAKE:
        d->pending = v;
        ps2_reply(d, PS2_ACK);
        break;
    case CMD_ECHO:
        ps2_reply(d, CMD_ECHO);
        break;
    case PS2_CMD_GET_ID:
        ps2_reply(d, PS2_ACK);
        ps2_reply(d, 0xab);
        ps2_reply(d, 0x83);
        break;
    case PS2_CMD_ENABLE:
    case PS2_CMD_DISABLE:
    case PS2_CMD_DEFAULTS:
        ps2_queue_clear(d);
        if (v != PS2_CMD_ENABLE) {
            defaults(k);
        }
        k->enabled = v != PS2_CMD_DISABLE;
        ps2_reply(d, PS2_ACK);
        break;
    case CMD_ALL_TYPEMATIC:
    case CMD_ALL_MAKE_BREAK:
    case CMD_ALL_MAKE:
    case CMD_ALL_EVERYTHING:
        set_all_modes(k, v == CMD_ALL_TYPEMATIC    ? KEY_REPEATS
                         : v == CMD_ALL_MAKE_BREAK ? KEY_BREAKS
                         : v == CMD_ALL_MAKE       ? 0
                                                   : KEY_REPEATS | KEY_BREAKS);
        ps2_reply(d, PS2_ACK);
        break;
    case PS2_CMD_RESET:
        ps2_keyboard_reset(k);
        ps2_reply_self_test(d);
        break;
    default:
        ps2_other_command(d, v);
        break;
    }
}

void ps2_keyboard_write(Ps2Keyboard *k, uint8_t v)
{
    int cmd = k->ps2.pending;

    trace(ps2_keyboard_write, v);
    /* A command instead of the argument ends the command before. */
    if (cmd >= 0 && v < 0xed) {
        argument(k, cmd, v);
    } else {
        k->ps2.pending = -1;
        command(k, v);
    }
    ps2_ready(&k->ps2);
}

void ps2_keyboard_init(Ps2Keyboard *k, UiContext *ui, EventLoop *loop, void (*ready)(void *),
                       void *opaque)
{
    k->ps2.input.mask = 1u << INPUT_KEY;
    k->ps2.input.event = key_event;
    ps2_init(&k->ps2, "PS/2 keyboard", ui, loop, ready, opaque);
    ps2_keyboard_reset(k);
}

static void keyboard_loaded(void *obj)
{
    set_leds(obj, ((Ps2Keyboard *)obj)->leds);
}

const StateDesc ps2_keyboard_state = {
    .name = "ps2-kbd",
    .version = 1,
    .fields =
        (const StateField[]){
            STATE_F_STRUCT(Ps2Keyboard, ps2, ps2_device_state),
            STATE_FIELD_(Ps2Keyboard, scan_set, STATE_UINT, .min = 1, .max = 3),
            STATE_F_UINT_MAX(Ps2Keyboard, leds, 7),
            STATE_F_UINT(Ps2Keyboard, rate),
            STATE_F_BOOL(Ps2Keyboard, enabled),
            STATE_F_UINT(Ps2Keyboard, modifiers),
            STATE_F_UINT_ARRAY(Ps2Keyboard, key_mode),
            {0},
        },
    .loaded = keyboard_loaded,
};
