/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ui/ui-internal.h: what the files of ui/ share and nobody else sees.
 */
#ifndef RHEA_UI_INTERNAL_H
#define RHEA_UI_INTERNAL_H

#include "ui/console.h"

struct UiContext {
    EventLoop *control;
    GPtrArray *consoles; /* Console*, in order of creation */
    /* input.c */
    GMutex input_guard; /* the list of handlers; taken before any device lock */
    GList *handlers;    /* InputHandler*, the one to use first in front */
    GQueue key_script;  /* KeyAction: presses and releases to come */
    Timer key_timer;
    unsigned leds;
};

void ui_input_init(UiContext *ui);
void ui_input_fini(UiContext *ui);

#endif
