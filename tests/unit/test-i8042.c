/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The keyboard controller with keyboard and mouse. */
#include "chips-test.h"
#include "hw/input/i8042.h"
#include "ui/console.h"

#include <stdio.h>

static int a20 = -1;

static void a20_set(void *opaque, int n, int level)
{
    a20 = level;
}

static Board *kbd_new(void)
{
    Board *b = board_new();

    b->m->ui = ui_new(b->m->control);
    g_assert_true(i8042_new(b->m, &b->isa, (IrqLine){.set = a20_set}, NULL));
    return b;
}

static void key(Board *b, int code, bool down)
{
    InputEvent ev = {.kind = INPUT_KEY, .code = code, .down = down};

    input_send(b->m->ui, &ev, 1);
}

static void command(Board *b, int cmd, int data)
{
    outb(b, 0x64, (uint8_t)cmd);
    if (data >= 0) {
        outb(b, 0x60, (uint8_t)data);
    }
}

/* All bytes that come, one after another, as hex text. */
static const char *drain(Board *b)
{
    static char text[400];
    int n = 0;

    text[0] = 0;
    for (int i = 0; i < 40; i++) {
        while (inb(b, 0x64) & 1) {
            bool aux = inb(b, 0x64) & 0x20;
            uint8_t v = inb(b, 0x60);

            n += snprintf(text + n, sizeof(text) - (size_t)n, "%s%s%02x", n ? " " : "",
                          aux ? "m" : "", v);
        }
        step(b, NS_PER_MS);
    }
    return text;
}

static void test_controller(void)
{
    Board *b = kbd_new();

    g_assert_cmphex(inb(b, 0x64) & 0x15, ==, 0x10);
    command(b, 0xaa, -1);
    g_assert_true(b->level[1]);
    g_assert_cmphex(inb(b, 0x60), ==, 0x55);
    g_assert_false(b->level[1]);
    g_assert_cmphex(inb(b, 0x64) & 0x05, ==, 0x04);
    command(b, 0x60, 0x47);
    command(b, 0x20, -1);
    g_assert_cmphex(inb(b, 0x60), ==, 0x47);
    command(b, 0x65, 0x99);
    command(b, 0x25, -1);
    g_assert_cmphex(inb(b, 0x60), ==, 0x99);
    command(b, 0xab, -1);
    command(b, 0xa9, -1);
    g_assert_cmpstr(drain(b), ==, "00 00");
    command(b, 0xd1, 0xdd);
    g_assert_cmpint(a20, ==, 0);
    command(b, 0xd0, -1);
    g_assert_cmphex(inb(b, 0x60) & 0x03, ==, 0x01);
    command(b, 0xdf, -1);
    g_assert_cmpint(a20, ==, 1);
    command(b, 0xdd, -1);
    g_assert_cmpint(a20, ==, 0);
    g_assert_cmpint(b->resets, ==, 0);
    command(b, 0xfe, -1);
    g_assert_cmpint(b->resets, ==, 1);
    command(b, 0xd2, 0x5a);
    g_assert_true(b->level[1]);
    g_assert_cmphex(inb(b, 0x60), ==, 0x5a);
    command(b, 0xd3, 0x5b);
    g_assert_true(b->level[12]);
    g_assert_cmphex(inb(b, 0x64) & 0x21, ==, 0x21);
    g_assert_cmphex(inb(b, 0x60), ==, 0x5b);
    board_free(b);
}

static void test_keys(void)
{
    Board *b = kbd_new();

    command(b, 0x60, 0x45); /* translated, keyboard interrupt */
    key(b, KEY_CODE_A, true);
    g_assert_true(b->level[1]);
    key(b, KEY_CODE_A, false);
    g_assert_cmphex(inb(b, 0x60), ==, 0x1e);
    g_assert_cmphex(inb(b, 0x60), ==, 0x1e); /* read twice: the same byte still */
    g_assert_cmpstr(drain(b), ==, "9e");
    key(b, KEY_CODE_RIGHT, true);
    key(b, KEY_CODE_RIGHT, false);
    g_assert_cmpstr(drain(b), ==, "e0 4d e0 cd");
    key(b, KEY_CODE_F7, true);
    key(b, KEY_CODE_F7, false);
    g_assert_cmpstr(drain(b), ==, "41 c1");
    key(b, KEY_CODE_PAUSE, true);
    key(b, KEY_CODE_PAUSE, false);
    g_assert_cmpstr(drain(b), ==, "e1 1d 45 e1 9d c5");
    key(b, KEY_CODE_PRINT, true);
    key(b, KEY_CODE_PRINT, false);
    g_assert_cmpstr(drain(b), ==, "e0 2a e0 37 e0 b7 e0 aa");
    command(b, 0x60, 0x05); /* as it comes: set 2 */
    key(b, KEY_CODE_A, true);
    key(b, KEY_CODE_A, false);
    g_assert_cmpstr(drain(b), ==, "1c f0 1c");
    outb(b, 0x60, 0xf0);
    outb(b, 0x60, 0x01);
    g_assert_cmpstr(drain(b), ==, "fa fa");
    key(b, KEY_CODE_DELETE, true);
    key(b, KEY_CODE_DELETE, false);
    g_assert_cmpstr(drain(b), ==, "e0 53 e0 d3");
    outb(b, 0x60, 0xf0);
    outb(b, 0x60, 0x03);
    drain(b);
    key(b, KEY_CODE_A, true);
    key(b, KEY_CODE_A, false); /* typematic: no break code */
    key(b, KEY_CODE_SHIFT, true);
    key(b, KEY_CODE_SHIFT, false);
    g_assert_cmpstr(drain(b), ==, "1c 12 f0 12");
    outb(b, 0x60, 0xf0);
    outb(b, 0x60, 0x00);
    g_assert_cmpstr(drain(b), ==, "fa fa 03");
    board_free(b);
}

static void test_keyboard_commands(void)
{
    Board *b = kbd_new();

    command(b, 0x60, 0x04);
    outb(b, 0x60, 0xff);
    g_assert_cmpstr(drain(b), ==, "fa aa");
    outb(b, 0x60, 0xf2);
    g_assert_cmpstr(drain(b), ==, "fa ab 83");
    outb(b, 0x60, 0xee);
    g_assert_cmpstr(drain(b), ==, "ee");
    outb(b, 0x60, 0xed);
    outb(b, 0x60, 0x05);
    g_assert_cmpstr(drain(b), ==, "fa fa");
    outb(b, 0x60, 0xf5);
    key(b, KEY_CODE_A, true);
    g_assert_cmpstr(drain(b), ==, "fa");
    outb(b, 0x60, 0xf4);
    key(b, KEY_CODE_B, true);
    g_assert_cmpstr(drain(b), ==, "fa 32");
    outb(b, 0x60, 0x11);
    g_assert_cmpstr(drain(b), ==, "fe");
    /* Disabled by the controller: the byte waits. */
    command(b, 0xad, -1);
    key(b, KEY_CODE_C, true);
    g_assert_cmpstr(drain(b), ==, "");
    command(b, 0xae, -1);
    g_assert_cmpstr(drain(b), ==, "21");
    /* More keys than fit are lost whole; answers are not. */
    command(b, 0xad, -1);
    for (int i = 0; i < 1000; i++) {
        key(b, KEY_CODE_LEFT, i & 1);
    }
    outb(b, 0x60, 0xee);
    g_assert_cmphex(inb(b, 0x60), ==, 0xee);
    board_free(b);
}

static void mouse(Board *b, int v)
{
    command(b, 0xd4, v);
}

static void move(Board *b, int dx, int dy)
{
    InputEvent ev[2] = {{.kind = INPUT_REL, .code = 0, .value = dx},
                        {.kind = INPUT_REL, .code = 1, .value = dy}};

    input_send(b->m->ui, ev, 2);
}

static void button(Board *b, int code, bool down)
{
    InputEvent ev = {.kind = INPUT_BUTTON, .code = code, .down = down};

    input_send(b->m->ui, &ev, 1);
}

static void test_mouse(void)
{
    Board *b = kbd_new();

    command(b, 0x60, 0x47);
    mouse(b, 0xff);
    g_assert_cmpstr(drain(b), ==, "mfa maa m00");
    move(b, 10, 10);
    g_assert_cmpstr(drain(b), ==, "");
    mouse(b, 0xf4);
    g_assert_cmpstr(drain(b), ==, "mfa");
    move(b, 10, 5);
    g_assert_true(b->level[12]);
    g_assert_cmpstr(drain(b), ==, "m28 m0a mfb");
    move(b, -300, 0);
    g_assert_cmpstr(drain(b), ==, "m18 m81 m00 m18 m81 m00 m18 md2 m00");
    button(b, INPUT_BUTTON_LEFT, true);
    button(b, INPUT_BUTTON_LEFT, false);
    g_assert_cmpstr(drain(b), ==, "m09 m00 m00 m08 m00 m00");
    for (int i = 0; i < 3; i++) {
        mouse(b, 0xf3);
        mouse(b, (const int[]){200, 100, 80}[i]);
    }
    drain(b);
    mouse(b, 0xf2);
    g_assert_cmpstr(drain(b), ==, "mfa m03");
    button(b, INPUT_BUTTON_WHEEL_UP, true);
    button(b, INPUT_BUTTON_WHEEL_UP, false);
    g_assert_cmpstr(drain(b), ==, "m08 m00 m00 mff");
    for (int i = 0; i < 3; i++) {
        mouse(b, 0xf3);
        mouse(b, (const int[]){200, 200, 80}[i]);
    }
    drain(b);
    mouse(b, 0xf2);
    g_assert_cmpstr(drain(b), ==, "mfa m04");
    button(b, INPUT_BUTTON_SIDE, true);
    g_assert_cmpstr(drain(b), ==, "m08 m00 m00 m10");
    button(b, INPUT_BUTTON_SIDE, false);
    drain(b);
    mouse(b, 0xe9);
    g_assert_cmpstr(drain(b), ==, "mfa m20 m02 m50");
    mouse(b, 0xf0);
    move(b, 3, -4);
    mouse(b, 0xeb);
    g_assert_cmpstr(drain(b), ==, "mfa mfa m08 m03 m04 m00");
    mouse(b, 0xee);
    mouse(b, 0x55);
    mouse(b, 0xec);
    g_assert_cmpstr(drain(b), ==, "mfa m55 mfa");
    board_free(b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/i8042/controller", test_controller);
    g_test_add_func("/i8042/keys", test_keys);
    g_test_add_func("/i8042/keyboard-commands", test_keyboard_commands);
    g_test_add_func("/i8042/mouse", test_mouse);
    return g_test_run();
}
