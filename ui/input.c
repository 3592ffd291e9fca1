/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Input events on their way from listeners and monitors to the devices. */
#include "ui/ui-internal.h"

#include <string.h>

/* One step of a typed key sequence. */
typedef struct KeyAction {
    int code;
    bool down;
    unsigned wait_ms; /* before the next step */
} KeyAction;

void input_add(UiContext *ui, InputHandler *h)
{
    g_mutex_lock(&ui->input_guard);
    ui->handlers = g_list_prepend(ui->handlers, h);
    g_mutex_unlock(&ui->input_guard);
}

void input_remove(UiContext *ui, InputHandler *h)
{
    g_mutex_lock(&ui->input_guard);
    ui->handlers = g_list_remove(ui->handlers, h);
    g_mutex_unlock(&ui->input_guard);
}

void input_activate(UiContext *ui, InputHandler *h)
{
    g_mutex_lock(&ui->input_guard);
    GList *link = g_list_find(ui->handlers, h);
    if (link) {
        ui->handlers = g_list_remove_link(ui->handlers, link);
        ui->handlers = g_list_concat(link, ui->handlers);
    }
    g_mutex_unlock(&ui->input_guard);
}

static InputHandler *find_handler(UiContext *ui, unsigned mask)
{
    for (GList *e = ui->handlers; e; e = e->next) {
        InputHandler *h = e->data;
        if (h->mask & mask) {
            return h;
        }
    }
    return NULL;
}

/* Buttons belong to the pointer in use: the one that takes the motion. */
static InputHandler *handler_for(UiContext *ui, InputKind kind)
{
    if (kind == INPUT_BUTTON) {
        InputHandler *h = find_handler(ui, 1u << INPUT_REL | 1u << INPUT_ABS);
        if (h && (h->mask & (1u << INPUT_BUTTON))) {
            return h;
        }
    }
    return find_handler(ui, 1u << kind);
}

void input_send(UiContext *ui, const InputEvent *ev, unsigned n)
{
    g_mutex_lock(&ui->input_guard);
    for (unsigned i = 0; i < n; i++) {
        InputHandler *h = handler_for(ui, ev[i].kind);
        if (!h) {
            continue;
        }
        loop_lock(h->loop);
        h->event(h->opaque, &ev[i]);
        bool last = i + 1 == n || handler_for(ui, ev[i + 1].kind) != h;
        if (last && h->sync) {
            h->sync(h->opaque);
        }
        loop_unlock(h->loop);
    }
    g_mutex_unlock(&ui->input_guard);
}

bool input_is_absolute(UiContext *ui)
{
    g_mutex_lock(&ui->input_guard);
    InputHandler *h = find_handler(ui, 1u << INPUT_REL | 1u << INPUT_ABS);
    bool absolute = h && (h->mask & (1u << INPUT_ABS));
    g_mutex_unlock(&ui->input_guard);
    return absolute;
}

/* ---- typed keys ---- */

static void run_script(void *opaque)
{
    UiContext *ui = opaque;
    for (;;) {
        g_autofree KeyAction *a = g_queue_pop_head(&ui->key_script);
        if (!a) {
            return;
        }
        InputEvent ev = {.kind = INPUT_KEY, .code = a->code, .down = a->down};
        input_send(ui, &ev, 1);
        if (a->wait_ms) {
            timer_mod(&ui->key_timer,
                      clock_now(loop_clocks(ui->control), CLOCK_RT) + a->wait_ms * NS_PER_MS);
            return;
        }
    }
}

static void add_step(UiContext *ui, int code, bool down, unsigned wait_ms)
{
    KeyAction *a = g_new(KeyAction, 1);
    *a = (KeyAction){code, down, wait_ms};
    g_queue_push_tail(&ui->key_script, a);
}

void input_send_keys(UiContext *ui, const int *keycodes, unsigned n, unsigned hold_ms)
{
    bool idle = g_queue_is_empty(&ui->key_script) && !timer_pending(&ui->key_timer);
    for (unsigned i = 0; i < n; i++) {
        add_step(ui, keycodes[i], true, i + 1 < n ? 0 : hold_ms ? hold_ms : 100);
    }
    /* A pause after the release keeps two equal keys in a row apart. */
    for (unsigned i = n; i-- > 0;) {
        add_step(ui, keycodes[i], false, i ? 0 : 10);
    }
    if (idle) {
        run_script(ui);
    }
}

void input_set_leds(UiContext *ui, unsigned leds)
{
    __atomic_store_n(&ui->leds, leds, __ATOMIC_RELAXED);
}

void ui_input_init(UiContext *ui)
{
    g_mutex_init(&ui->input_guard);
    g_queue_init(&ui->key_script);
    timer_init(&ui->key_timer, ui->control, CLOCK_RT, run_script, ui);
}

void ui_input_fini(UiContext *ui)
{
    timer_fini(&ui->key_timer);
    g_queue_clear_full(&ui->key_script, g_free);
    g_list_free(ui->handlers);
    g_mutex_clear(&ui->input_guard);
}
